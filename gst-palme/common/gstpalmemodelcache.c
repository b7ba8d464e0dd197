/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemodelcache.c - models in memory: what gstpalmemodelcache.h promises.
 *
 * The table holds models that have users. A model without users leaves it at once, and is closed when
 * the last reference is dropped.
 */
#include "gstpalmemodelcache.h"

#include <string.h>
#include <sys/stat.h>

#include "gstpalmesanitize.h"

/* Two opens with equal keys give the same model. */
typedef struct
{
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec modified;
  gint threads, verify;
  gchar *level, *precision;     /* may be NULL */
} Key;

struct _GstPalmeModel
{
  /* constant once it is loaded */
  palme_model *engine;
  struct palme_info info;
  gchar *name;                  /* a GRefString */
  GstPalmeBatcher *batcher;     /* has a lock of its own */
  GstPalmeSessions *sessions;   /* likewise */
  Key key;

  gint refs;                    /* atomic */

  /* under table_lock */
  guint users;
  gboolean loading;
};

static GMutex table_lock;
static GCond table_news;        /* a load has ended */
static GSList *table;           /* of GstPalmeModel */

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

static GstPalmeModel *
find (const Key * key)
{
  GSList *item;

  for (item = table; item != NULL; item = item->next) {
    GstPalmeModel *model = item->data;

    if (is_same (&model->key, key))
      return model;
  }
  return NULL;
}

/* Joins the users of an equal model. Returns NULL if there is none; then `own` is in the table, and
 * the caller loads it. */
static GstPalmeModel *
join (GstPalmeModel * own)
{
  GstPalmeModel *other;

  g_mutex_lock (&table_lock);
  while ((other = find (&own->key)) != NULL && other->loading)
    g_cond_wait (&table_news, &table_lock);
  if (other != NULL) {
    other->users++;
    gst_palme_model_ref (other);
  } else {
    table = g_slist_prepend (table, own);
  }
  g_mutex_unlock (&table_lock);
  return other;
}

static gint
load (GstPalmeModel * model, const gchar * path,
    const struct palme_setup *setup)
{
  gint status = palme_model_open (&model->engine, path, setup);

  if (status >= 0) {
    gchar *name;

    palme_model_info (model->engine, &model->info);
    model->sessions =
        gst_palme_sessions_new (model->engine, palme_processors () + 1);
    name = gst_palme_sanitize (model->info.name, strlen (model->info.name));
    model->name = g_ref_string_new (name);
    g_free (name);
  }
  return status;
}

gint
gst_palme_model_cache_open (GstPalmeModel ** out, const gchar * path,
    const struct palme_setup *setup)
{
  GstPalmeModel *model = g_new0 (GstPalmeModel, 1), *other = NULL;
  Key after;
  gboolean known;
  gint status;

  *out = NULL;
  model->refs = 1;
  model->users = 1;
  model->loading = TRUE;
  model->batcher = gst_palme_batcher_new ();
  known = read_key (&model->key, path, setup);
  if (known && (other = join (model)) != NULL) {
    gst_palme_model_unref (model);
    *out = other;
    return PALME_OK;
  }

  status = load (model, path, setup);
  if (known) {
    gboolean same = read_key (&after, path, setup)
        && is_same (&after, &model->key);

    clear_key (&after);
    g_mutex_lock (&table_lock);
    model->loading = FALSE;
    /* If the file was replaced meanwhile, it is unknown which of the two was read. */
    if (status < 0 || !same)
      table = g_slist_remove (table, model);
    g_cond_broadcast (&table_news);
    g_mutex_unlock (&table_lock);
  }
  if (status < 0)
    gst_palme_model_unref (model);
  else
    *out = model;
  return status;
}

void
gst_palme_model_cache_close (GstPalmeModel ** out)
{
  GstPalmeModel *model = out != NULL ? *out : NULL;

  if (model == NULL)
    return;
  *out = NULL;
  g_mutex_lock (&table_lock);
  if (--model->users == 0)
    table = g_slist_remove (table, model);
  g_mutex_unlock (&table_lock);
  gst_palme_model_unref (model);
}

/* ---- The model ------------------------------------------------------------------------------ */

GstPalmeModel *
gst_palme_model_ref (GstPalmeModel * model)
{
  g_atomic_int_inc (&model->refs);
  return model;
}

void
gst_palme_model_unref (GstPalmeModel * model)
{
  if (!g_atomic_int_dec_and_test (&model->refs))
    return;
  gst_palme_sessions_free (model->sessions);
  palme_model_close (&model->engine);
  gst_palme_batcher_free (model->batcher);
  g_clear_pointer (&model->name, g_ref_string_release);
  clear_key (&model->key);
  g_free (model);
}

const palme_model *
gst_palme_model_get_engine (const GstPalmeModel * model)
{
  return model->engine;
}

const struct palme_info *
gst_palme_model_get_info (const GstPalmeModel * model)
{
  return &model->info;
}

gchar *
gst_palme_model_get_name (const GstPalmeModel * model)
{
  return model->name;
}

GstPalmeBatcher *
gst_palme_model_get_batcher (const GstPalmeModel * model)
{
  return model->batcher;
}

GstPalmeSessions *
gst_palme_model_get_sessions (const GstPalmeModel * model)
{
  return model->sessions;
}

guint
gst_palme_model_get_users (const GstPalmeModel * model)
{
  guint users;

  g_mutex_lock (&table_lock);
  users = model->users;
  g_mutex_unlock (&table_lock);
  return users;
}
