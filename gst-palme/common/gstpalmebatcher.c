/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmebatcher.c - generates the captions of several sessions in common passes of the decoder.
 *
 * A step of the decoder costs what reading the weights costs, for one caption as for several. So the
 * thread that came first leads: each of its passes takes along every request that is waiting, and when
 * its own caption is complete another thread takes over. No thread is woken for a single token, and
 * none waits for an encoder: those run beside each other.
 */
#include "gstpalmebatcher.h"

/* One caption in the making. It lives on the stack of its thread, which waits for `complete`. */
typedef struct
{
  GList link;
  palme_session *session;
  GString *raw;
  gsize max_bytes;
  gint64 deadline;
  GstPalmeBatcherGrown grown;
  gpointer user;
  gint status;
  gboolean complete;            /* under the lock */
} Request;

struct _GstPalmeBatcher
{
  GMutex lock;
  GCond changed;                /* a request is complete, or the leader has left */
  GQueue waiting;               /* of Request, without those in the running pass */
  gboolean has_leader;
};

GstPalmeBatcher *
gst_palme_batcher_new (void)
{
  GstPalmeBatcher *batcher = g_new0 (GstPalmeBatcher, 1);

  g_mutex_init (&batcher->lock);
  g_cond_init (&batcher->changed);
  g_queue_init (&batcher->waiting);
  return batcher;
}

void
gst_palme_batcher_free (GstPalmeBatcher * batcher)
{
  if (batcher == NULL)
    return;
  g_mutex_clear (&batcher->lock);
  g_cond_clear (&batcher->changed);
  g_free (batcher);
}

/* Takes the result of a step. TRUE if that was the last one. */
static gboolean
take_piece (Request * request, gint status, const char *piece)
{
  if (status != PALME_OK) {
    request->status = status == PALME_END ? PALME_OK : status;
    return TRUE;
  }
  if (request->raw->len < request->max_bytes && piece[0] != '\0') {
    g_string_append (request->raw, piece);
    if (request->grown != NULL)
      request->grown (request->user, request->raw->str);
  }
  return FALSE;
}

/* The same; the leader does it for all. A caption whose time is up ends with what there is, which takes no pass. */
static gboolean
take_step (Request * request, gint status, const char *piece)
{
  gboolean complete = take_piece (request, status, piece);

  if (complete || g_get_monotonic_time () < request->deadline)
    return complete;
  palme_finish (request->session);
  while (!complete) {
    status = palme_next (request->session, &piece);
    complete = take_piece (request, status, piece);
  }
  return TRUE;
}

/* One pass with all requests that wait, in turns if there are too many. Called and left with the lock
 * held; during the pass it is not held. */
static void
run_pass (GstPalmeBatcher * batcher)
{
  Request *requests[PALME_MAX_BATCH];
  palme_session *sessions[PALME_MAX_BATCH];
  const char *pieces[PALME_MAX_BATCH];
  int statuses[PALME_MAX_BATCH];
  gboolean complete[PALME_MAX_BATCH], any = FALSE;
  gint i, count = 0, status;

  while (count < PALME_MAX_BATCH && batcher->waiting.head != NULL) {
    requests[count] = g_queue_pop_head_link (&batcher->waiting)->data;
    sessions[count] = requests[count]->session;
    count++;
  }
  g_mutex_unlock (&batcher->lock);
  status = palme_next_batch (sessions, count, pieces, statuses);
  for (i = 0; i < count; i++)
    complete[i] =
        take_step (requests[i], status < 0 ? status : statuses[i], pieces[i]);
  g_mutex_lock (&batcher->lock);
  /* A complete request may be gone as soon as its thread can see that. */
  for (i = 0; i < count; i++) {
    requests[i]->complete = complete[i];
    any |= complete[i];
    if (!complete[i])
      g_queue_push_tail_link (&batcher->waiting, &requests[i]->link);
  }
  if (any)
    g_cond_broadcast (&batcher->changed);
}

gint
gst_palme_batcher_generate (GstPalmeBatcher * batcher,
    palme_session * session, GString * raw, gsize max_bytes, gint64 deadline,
    GstPalmeBatcherGrown grown, gpointer user)
{
  Request own = {.session = session,.raw = raw,.max_bytes = max_bytes,
    .deadline = deadline,.grown = grown,.user = user,.status = PALME_OK
  };

  own.link.data = &own;
  g_mutex_lock (&batcher->lock);
  g_queue_push_tail_link (&batcher->waiting, &own.link);
  while (!own.complete) {
    if (batcher->has_leader) {
      g_cond_wait (&batcher->changed, &batcher->lock);
      continue;
    }
    batcher->has_leader = TRUE;
    while (!own.complete)
      run_pass (batcher);
    batcher->has_leader = FALSE;
    g_cond_broadcast (&batcher->changed);
  }
  g_mutex_unlock (&batcher->lock);
  return own.status;
}
