/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmeshared.c - models that elements share.
 *
 * A step of the decoder costs what reading the weights costs, for one caption as for several. So
 * captions are told by whoever came first, the leader: with each pass it takes everybody along who
 * is there, and it hands the lead on when its own caption is over. Nobody is woken for a word, and
 * nobody waits for one who thinks about a picture: encoders run beside each other.
 */
#include "gstpalmeshared.h"

#include <string.h>
#include <sys/stat.h>

/* What palme_next_together() takes. */
#define MOST_TOGETHER 16

/* What makes two wishes the same. */
typedef struct
{
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec modified;
  gint threads, verify;
  gchar *level, *precision;     /* may be NULL */
} Key;

/* One caption while it is told; it lives on the stack of its thread, which waits for `over`. */
typedef struct
{
  GList link;
  palme_session *session;
  GString *raw;
  gsize most;
  gint64 deadline;
  gint status;
  gboolean over;                /* under the lock */
} Telling;

struct _GstPalmeShared
{
  /* constant once it is loaded */
  palme_model *model;
  Key key;

  /* under table_lock */
  guint users;
  gboolean loading;

  GMutex lock;
  GCond news;                   /* somebody's caption is over, or the lead is free */
  GQueue waiting;               /* of Telling, those in the running pass left out */
  gboolean led;
};

static GMutex table_lock;
static GCond table_news;        /* a load has ended */
static GSList *table;           /* of GstPalmeShared */

/* ---- The log -------------------------------------------------------------------------------- */

static _Thread_local struct
{
  palme_log_fn log;
  void *user;
} listener;

void
gst_palme_shared_listen (palme_log_fn log, void *user)
{
  listener.log = log;
  listener.user = user;
}

static void
pass_on (void *user, enum palme_log_level level, const char *message)
{
  (void) user;
  if (listener.log != NULL)
    listener.log (listener.user, level, message);
}

/* ---- The table ------------------------------------------------------------------------------ */

static gboolean
read_key (Key * key, const gchar * path, const struct palme_setup *setup)
{
  struct stat file;

  memset (key, 0, sizeof *key);
  if (stat (path, &file) != 0)
    return FALSE;
  key->device = file.st_dev;
  key->inode = file.st_ino;
  key->size = file.st_size;
  key->modified = file.st_mtim;
  key->threads = setup->threads;
  key->verify = setup->verify;
  key->level = g_strdup (setup->level);
  key->precision = g_strdup (setup->precision);
  return TRUE;
}

static void
clear_key (Key * key)
{
  g_free (key->level);
  g_free (key->precision);
  memset (key, 0, sizeof *key);
}

static gboolean
is_same (const Key * a, const Key * b)
{
  return a->device == b->device && a->inode == b->inode && a->size == b->size
      && a->modified.tv_sec == b->modified.tv_sec
      && a->modified.tv_nsec == b->modified.tv_nsec
      && a->threads == b->threads && a->verify == b->verify
      && g_strcmp0 (a->level, b->level) == 0
      && g_strcmp0 (a->precision, b->precision) == 0;
}

static GstPalmeShared *
find (const Key * key)
{
  GSList *item;

  for (item = table; item != NULL; item = item->next) {
    GstPalmeShared *shared = item->data;

    if (is_same (&shared->key, key))
      return shared;
  }
  return NULL;
}

static void
destroy (GstPalmeShared * shared)
{
  palme_model_close (&shared->model);
  clear_key (&shared->key);
  g_mutex_clear (&shared->lock);
  g_cond_clear (&shared->news);
  g_free (shared);
}

/* Joins those who have it open. Otherwise, with an entry of our own in the table, NULL: then it is
 * our turn to load. */
static GstPalmeShared *
join (GstPalmeShared * own)
{
  GstPalmeShared *other;

  g_mutex_lock (&table_lock);
  while ((other = find (&own->key)) != NULL && other->loading)
    g_cond_wait (&table_news, &table_lock);
  if (other != NULL)
    other->users++;
  else
    table = g_slist_prepend (table, own);
  g_mutex_unlock (&table_lock);
  return other;
}

gint
gst_palme_shared_open (GstPalmeShared ** out, const gchar * path,
    const struct palme_setup *setup)
{
  GstPalmeShared *shared = g_new0 (GstPalmeShared, 1), *other = NULL;
  struct palme_setup own = *setup;
  Key after;
  gboolean known;
  gint status;

  *out = NULL;
  g_mutex_init (&shared->lock);
  g_cond_init (&shared->news);
  g_queue_init (&shared->waiting);
  shared->users = 1;
  shared->loading = TRUE;
  known = read_key (&shared->key, path, setup);
  if (known && (other = join (shared)) != NULL) {
    destroy (shared);
    *out = other;
    return PALME_OK;
  }

  own.log = pass_on;
  own.log_user = NULL;
  status = palme_model_open (&shared->model, path, &own);

  if (known) {
    gboolean same = read_key (&after, path, setup)
        && is_same (&after, &shared->key);

    clear_key (&after);
    g_mutex_lock (&table_lock);
    shared->loading = FALSE;
    /* If the file was replaced meanwhile nobody knows which of the two was read. */
    if (status < 0 || !same)
      table = g_slist_remove (table, shared);
    g_cond_broadcast (&table_news);
    g_mutex_unlock (&table_lock);
  }
  if (status < 0)
    destroy (shared);
  else
    *out = shared;
  return status;
}

void
gst_palme_shared_close (GstPalmeShared ** out)
{
  GstPalmeShared *shared = out != NULL ? *out : NULL;
  gboolean last;

  if (shared == NULL)
    return;
  *out = NULL;
  g_mutex_lock (&table_lock);
  last = --shared->users == 0;
  if (last)
    table = g_slist_remove (table, shared);
  g_mutex_unlock (&table_lock);
  if (last)
    destroy (shared);
}

palme_model *
gst_palme_shared_model (const GstPalmeShared * shared)
{
  return shared->model;
}

guint
gst_palme_shared_users (GstPalmeShared * shared)
{
  guint users;

  g_mutex_lock (&table_lock);
  users = shared->users;
  g_mutex_unlock (&table_lock);
  return users;
}

/* ---- Telling captions together --------------------------------------------------------------- */

/* What a step gave; the thread that leads does it for all. Returns whether that was the end. */
static gboolean
take_piece (Telling * telling, gint status, const char *piece)
{
  if (status != PALME_OK) {
    telling->status = status == PALME_END ? PALME_OK : status;
    return TRUE;
  }
  if (telling->raw->len < telling->most)
    g_string_append (telling->raw, piece);
  return g_get_monotonic_time () >= telling->deadline;
}

/* One pass with everybody who waits, in turns where there are too many. Called and left with the
 * lock held, which nobody needs to wait for during the pass. */
static void
pass (GstPalmeShared * shared)
{
  Telling *telling[MOST_TOGETHER];
  palme_session *sessions[MOST_TOGETHER];
  const char *pieces[MOST_TOGETHER];
  int statuses[MOST_TOGETHER];
  gboolean over[MOST_TOGETHER], any = FALSE;
  gint i, count = 0, status;

  while (count < MOST_TOGETHER && shared->waiting.head != NULL) {
    telling[count] = g_queue_pop_head_link (&shared->waiting)->data;
    sessions[count] = telling[count]->session;
    count++;
  }
  g_mutex_unlock (&shared->lock);
  status = palme_next_together (sessions, count, pieces, statuses);
  for (i = 0; i < count; i++)
    over[i] =
        take_piece (telling[i], status < 0 ? status : statuses[i], pieces[i]);
  g_mutex_lock (&shared->lock);
  /* Whose caption is over may be gone as soon as it can see that. */
  for (i = 0; i < count; i++) {
    telling[i]->over = over[i];
    any |= over[i];
    if (!over[i])
      g_queue_push_tail_link (&shared->waiting, &telling[i]->link);
  }
  if (any)
    g_cond_broadcast (&shared->news);
}

gint
gst_palme_shared_tell (GstPalmeShared * shared, palme_session * session,
    GString * raw, gsize most, gint64 deadline)
{
  Telling own = {.session = session,.raw = raw,.most = most,
    .deadline = deadline,.status = PALME_OK
  };

  own.link.data = &own;
  g_mutex_lock (&shared->lock);
  g_queue_push_tail_link (&shared->waiting, &own.link);
  while (!own.over) {
    if (shared->led) {
      g_cond_wait (&shared->news, &shared->lock);
      continue;
    }
    shared->led = TRUE;
    while (!own.over)
      pass (shared);
    shared->led = FALSE;
    g_cond_broadcast (&shared->news);
  }
  g_mutex_unlock (&shared->lock);
  return own.status;
}
