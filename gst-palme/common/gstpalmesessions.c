/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmesessions.c - the sessions of a model: what gstpalmesessions.h promises.
 *
 * Sessions are opened and closed without the lock; the place in the table is marked as taken meanwhile.
 */
#include "gstpalmesessions.h"

struct _GstPalmeTurn
{
  palme_session *session;       /* NULL: not open yet */
  gint beams;                   /* it was opened with */
  gconstpointer user;           /* the last one */
  guint64 used;                 /* when, in turns */
  gboolean taken;
};

/* On the stack of a thread that waits. */
typedef struct
{
  gint64 since;
  GCond ready;
} Waiter;

struct _GstPalmeSessions
{
  const palme_model *model;
  guint most;

  GMutex lock;                  /* of what follows */
  guint users;
  GPtrArray *turns;             /* of GstPalmeTurn */
  GQueue waiting;               /* of Waiter, the oldest picture first */
  guint64 used;                 /* turns so far */
};

GstPalmeSessions *
gst_palme_sessions_new (const palme_model * model, guint most)
{
  GstPalmeSessions *sessions = g_new0 (GstPalmeSessions, 1);

  sessions->model = model;
  sessions->most = MAX (most, 1);
  g_mutex_init (&sessions->lock);
  g_queue_init (&sessions->waiting);
  sessions->turns = g_ptr_array_new ();
  return sessions;
}

static void
free_turn (GstPalmeTurn * turn)
{
  if (turn == NULL)
    return;
  palme_session_close (&turn->session);
  g_free (turn);
}

void
gst_palme_sessions_free (GstPalmeSessions * sessions)
{
  guint i;

  if (sessions == NULL)
    return;
  for (i = 0; i < sessions->turns->len; i++)
    free_turn (g_ptr_array_index (sessions->turns, i));
  g_ptr_array_free (sessions->turns, TRUE);
  g_mutex_clear (&sessions->lock);
  g_free (sessions);
}

/* ---- With the lock held ---------------------------------------------------------------------- */

static guint
wanted (const GstPalmeSessions * sessions)
{
  return MIN (sessions->users, sessions->most);
}

static void
wake_first (GstPalmeSessions * sessions)
{
  Waiter *first = g_queue_peek_head (&sessions->waiting);

  if (first != NULL)
    g_cond_signal (&first->ready);
}

static GstPalmeTurn *
add_turn (GstPalmeSessions * sessions, gconstpointer user)
{
  GstPalmeTurn *turn = g_new0 (GstPalmeTurn, 1);

  turn->user = user;
  turn->taken = TRUE;
  g_ptr_array_add (sessions->turns, turn);
  return turn;
}

/* The free one of these that was used longest ago; NULL: none is free. */
static GstPalmeTurn *
find_free (GstPalmeSessions * sessions, gconstpointer user, gint beams)
{
  GstPalmeTurn *best = NULL;
  guint i;

  for (i = 0; i < sessions->turns->len; i++) {
    GstPalmeTurn *turn = g_ptr_array_index (sessions->turns, i);

    if (!turn->taken && turn->beams >= beams
        && (user == NULL || turn->user == user)
        && (best == NULL || turn->used < best->used))
      best = turn;
  }
  return best;
}

static GstPalmeTurn *
choose (GstPalmeSessions * sessions, gconstpointer user, gint beams)
{
  GstPalmeTurn *turn = find_free (sessions, user, 0);

  if (turn == NULL && sessions->turns->len < wanted (sessions))
    return add_turn (sessions, user);
  if (turn == NULL)
    turn = find_free (sessions, NULL, beams);
  if (turn == NULL)
    turn = find_free (sessions, NULL, 0);
  if (turn != NULL) {
    turn->taken = TRUE;
    turn->user = user;
  }
  return turn;
}

static gint
compare_ages (gconstpointer a, gconstpointer b, gpointer data)
{
  const Waiter *x = a, *y = b;

  (void) data;
  return x->since < y->since ? -1 : x->since > y->since;
}

static gboolean
is_cancelled (const struct palme_options *options)
{
  return options->cancel != NULL && options->cancel (options->cancel_user);
}

/* Waits for its turn. NULL: cancelled. */
static GstPalmeTurn *
wait_for_turn (GstPalmeSessions * sessions, gconstpointer user, gint64 since,
    const struct palme_options *options, gint beams)
{
  Waiter own = {.since = since };
  GstPalmeTurn *turn = NULL;

  g_cond_init (&own.ready);
  g_queue_insert_sorted (&sessions->waiting, &own, compare_ages, NULL);
  while (!is_cancelled (options)) {
    if (g_queue_peek_head (&sessions->waiting) == &own)
      turn = choose (sessions, user, beams);
    if (turn != NULL)
      break;
    g_cond_wait (&own.ready, &sessions->lock);
  }
  g_queue_remove (&sessions->waiting, &own);
  wake_first (sessions);
  g_cond_clear (&own.ready);
  return turn;
}

/* ---- Without it ------------------------------------------------------------------------------ */

static gint
beams_of (const GstPalmeSessions * sessions,
    const struct palme_options *options)
{
  struct palme_info info;

  if (options->beams > 0)
    return options->beams;
  palme_model_info (sessions->model, &info);
  return MAX (info.beams, 1);
}

/* The session of a turn, opened wide enough. It does not become narrower, so that a number of beams
 * that goes up and down does not reopen it each time. If that fails the old one stays. */
static gint
open_session (GstPalmeSessions * sessions, GstPalmeTurn * turn,
    const struct palme_options *options, gint beams)
{
  struct palme_options wide = *options;
  palme_session *session;
  gint status;

  if (turn->session != NULL && beams <= turn->beams)
    return PALME_OK;
  wide.beams = MAX (beams, turn->beams);
  status = palme_session_open (&session, sessions->model, &wide);
  if (status < 0)
    return status;
  palme_session_close (&turn->session);
  turn->session = session;
  turn->beams = wide.beams;
  return PALME_OK;
}

void
gst_palme_sessions_give (GstPalmeSessions * sessions, GstPalmeTurn * turn)
{
  g_mutex_lock (&sessions->lock);
  turn->taken = FALSE;
  turn->used = ++sessions->used;
  if (turn->session == NULL || sessions->turns->len > wanted (sessions))
    g_ptr_array_remove_fast (sessions->turns, turn);
  else
    turn = NULL;
  wake_first (sessions);
  g_mutex_unlock (&sessions->lock);
  free_turn (turn);
}

gint
gst_palme_sessions_join (GstPalmeSessions * sessions, gconstpointer user,
    const struct palme_options *options)
{
  GstPalmeTurn *turn = NULL;
  gint status = PALME_OK;

  g_mutex_lock (&sessions->lock);
  sessions->users++;
  if (sessions->turns->len < wanted (sessions))
    turn = add_turn (sessions, user);
  g_mutex_unlock (&sessions->lock);
  if (turn == NULL)
    return PALME_OK;
  status = open_session (sessions, turn, options, beams_of (sessions, options));
  if (status < 0) {
    g_mutex_lock (&sessions->lock);
    sessions->users--;
    g_mutex_unlock (&sessions->lock);
  }
  gst_palme_sessions_give (sessions, turn);
  return status;
}

void
gst_palme_sessions_leave (GstPalmeSessions * sessions, gconstpointer user)
{
  GstPalmeTurn *turn = NULL;

  g_mutex_lock (&sessions->lock);
  sessions->users--;
  if (sessions->turns->len > wanted (sessions)) {
    turn = find_free (sessions, user, 0);
    if (turn == NULL)
      turn = find_free (sessions, NULL, 0);
    /* If all are taken, the next one that is given back goes. */
    if (turn != NULL)
      g_ptr_array_remove_fast (sessions->turns, turn);
  }
  g_mutex_unlock (&sessions->lock);
  free_turn (turn);
}

gint
gst_palme_sessions_take (GstPalmeSessions * sessions, gconstpointer user,
    gint64 since, const struct palme_options *options, GstPalmeTurn ** out,
    palme_session ** session)
{
  gint beams = beams_of (sessions, options), status;
  GstPalmeTurn *turn;

  *out = NULL;
  *session = NULL;
  g_mutex_lock (&sessions->lock);
  turn = wait_for_turn (sessions, user, since, options, beams);
  g_mutex_unlock (&sessions->lock);
  if (turn == NULL)
    return PALME_ERROR_CANCELLED;
  status = open_session (sessions, turn, options, beams);
  if (status >= 0)
    status = palme_session_set_options (turn->session, options);
  if (status < 0) {
    gst_palme_sessions_give (sessions, turn);
    return status;
  }
  *out = turn;
  *session = turn->session;
  return PALME_OK;
}

void
gst_palme_sessions_wake (GstPalmeSessions * sessions)
{
  GList *item;

  g_mutex_lock (&sessions->lock);
  for (item = sessions->waiting.head; item != NULL; item = item->next)
    g_cond_signal (&((Waiter *) item->data)->ready);
  g_mutex_unlock (&sessions->lock);
}

guint
gst_palme_sessions_count (GstPalmeSessions * sessions)
{
  guint count;

  g_mutex_lock (&sessions->lock);
  count = sessions->turns->len;
  g_mutex_unlock (&sessions->lock);
  return count;
}
