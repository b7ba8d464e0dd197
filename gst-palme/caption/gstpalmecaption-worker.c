/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-worker.c - the thread that makes the captions.
 *
 * The serial makes results worthless: a flush, another segment and a stop raise it, the engine asks
 * for it while it computes, and a result with an old serial is dropped. The engine is never called with
 * the lock held, and the stop question takes no lock: serial and halt are read as atomics there, and
 * written under the lock as well, so that no thread misses the wake-up.
 *
 * The pictures of a job are captioned one after the other, and each result can be taken as soon as it is there. The
 * slot is empty again when the last one was taken: so no picture of a frame is left behind by the next frame. Each
 * picture takes a turn at a session, and the next one of the job queues up behind those that wait by then: so a frame
 * with many regions does not keep other elements waiting for all of them.
 *
 * Closing a model takes time, so the worker's thread also drops the models of jobs that are never run.
 */
#include "gstpalmecaption-worker.h"

#include <string.h>
#include <sys/resource.h>

/* A caption keeps a processor busy for many milliseconds, and whoever has a processor keeps it for some of them
 * when a thread of the pipeline wakes. So much nicer than the others the worker's thread gives way sooner, and still
 * has a third of what another one has where the processors do not suffice. */
#define NICER 5

typedef enum
{
  SLOT_EMPTY,
  SLOT_FILLED,
  SLOT_RUNNING,
  SLOT_DONE                     /* the last results wait to be taken */
} Slot;

struct _GstPalmeCaptionWorker
{
  GMutex lock;
  GCond work;                   /* the slot was filled, or halt */
  GCond news;                   /* the slot changed otherwise, abort, halt */

  /* under the lock */
  Slot slot;
  gint job_serial;              /* of the job in the slot */
  gint begin_serial;            /* at the last begin */
  GstPalmeCaptionJob job;
  GQueue results;               /* of GstPalmeCaptionResult */
  GstPalmeCaptionStats stats;
  gboolean flushing;
  GString *partial;             /* the running caption with its prompt, "" if nothing is new */
  GstPalmeCaptionFrame partial_frame;
  GstPalmeMetaRegion partial_area;
  GQueue discarded;             /* of GstPalmeModel, a reference each: of jobs that will not run */

  /* atomic */
  gint serial;
  gint halted;

  /* the worker's own while it runs */
  gint running_serial;
  gboolean nicer;               /* the thread is */
  GstPalmeCaptionSession session;       /* but for wake */

  /* constant while the thread runs */
  GThread *thread;
};

static gint is_cancelled (void *user);
static void note_growth (gpointer user, const GstPalmeCaptionJob * job,
    const GstPalmeCaptionView * view, const gchar * text);

GstPalmeCaptionWorker *
gst_palme_caption_worker_new (GstObject * owner)
{
  GstPalmeCaptionWorker *worker = g_new0 (GstPalmeCaptionWorker, 1);

  g_mutex_init (&worker->lock);
  g_cond_init (&worker->work);
  g_cond_init (&worker->news);
  g_queue_init (&worker->discarded);
  worker->partial = g_string_new (NULL);
  g_queue_init (&worker->results);
  gst_palme_caption_session_init (&worker->session, owner, is_cancelled,
      note_growth, worker);
  worker->halted = TRUE;
  gst_palme_caption_stats_reset (&worker->stats, g_get_monotonic_time ());
  return worker;
}

void
gst_palme_caption_worker_free (GstPalmeCaptionWorker * worker)
{
  if (worker == NULL)
    return;
  gst_palme_caption_worker_stop (worker);
  gst_palme_caption_session_clear (&worker->session);
  g_mutex_clear (&worker->lock);
  g_cond_clear (&worker->work);
  g_cond_clear (&worker->news);
  g_string_free (worker->partial, TRUE);
  g_free (worker);
}

/* ---- The engine's side: the worker thread -------------------------------------------------- */

/* The stop question. */
static gint
is_cancelled (void *user)
{
  GstPalmeCaptionWorker *worker = user;

  return g_atomic_int_get (&worker->halted)
      || g_atomic_int_get (&worker->serial) != worker->running_serial;
}

/* Only stores: the streaming thread looks by itself. */
static void
note_growth (gpointer user, const GstPalmeCaptionJob * job,
    const GstPalmeCaptionView * view, const gchar * text)
{
  GstPalmeCaptionWorker *worker = user;

  g_mutex_lock (&worker->lock);
  g_string_assign (worker->partial, text);
  worker->partial_frame = job->frame;
  worker->partial_area = view->area;
  g_mutex_unlock (&worker->lock);
}

/* Lock held. So many captions are of no use any more. */
static void
count_stale (GstPalmeCaptionWorker * worker, guint captions)
{
  worker->stats.counts[GST_PALME_CAPTION_COUNT_STALE] += captions;
}

static void
free_result (gpointer data)
{
  gst_palme_caption_result_clear (data);
  g_free (data);
}

/* Lock held. The job is not run. */
static void
discard_job (GstPalmeCaptionWorker * worker, GstPalmeCaptionJob * job)
{
  gst_palme_caption_job_clear (job);
  if (job->model == NULL)
    return;
  g_queue_push_tail (&worker->discarded, g_steal_pointer (&job->model));
  g_cond_signal (&worker->work);
}

/* Lock held, but not while a model is closed. */
static void
drop_discarded (GstPalmeCaptionWorker * worker)
{
  GstPalmeModel *model;

  while ((model = g_queue_pop_head (&worker->discarded)) != NULL) {
    g_mutex_unlock (&worker->lock);
    gst_palme_model_unref (model);
    g_mutex_lock (&worker->lock);
  }
}

/* Stores a result, or drops it. Lock held. */
static void
finish_view (GstPalmeCaptionWorker * worker, GstPalmeCaptionResult * result,
    gint64 submitted, gint64 now)
{
  result->times.latency = (now - submitted) * GST_USECOND;
  g_string_truncate (worker->partial, 0);
  if (is_cancelled (worker)) {
    count_stale (worker, 1);
    free_result (result);
    return;
  }
  if (result->status >= 0)
    gst_palme_caption_stats_caption (&worker->stats, &result->times,
        result->tokens, now);
  else
    worker->stats.counts[GST_PALME_CAPTION_COUNT_ERRORS]++;
  g_queue_push_tail (&worker->results, result);
}

static void
end_job (GstPalmeCaptionJob * job)
{
  gst_palme_caption_job_clear (job);
  g_clear_pointer (&job->model, gst_palme_model_unref);
}

/* On Linux process 0 is the calling thread. That it fails is no harm. */
static void
become_nicer (GstPalmeCaptionWorker * worker)
{
  if (!worker->nicer)
    setpriority (PRIO_PROCESS, 0, getpriority (PRIO_PROCESS, 0) + NICER);
  worker->nicer = TRUE;
}

/* Runs the job in the slot, one picture after the other. Lock held, but not while the engine computes. */
static void
run_job (GstPalmeCaptionWorker * worker)
{
  GstPalmeCaptionJob job = worker->job;
  gint64 submitted = job.submitted, since = submitted;
  guint next = 0, left;
  gboolean last;

  memset (&worker->job, 0, sizeof worker->job);
  worker->slot = SLOT_RUNNING;
  worker->running_serial = worker->job_serial;
  do {
    GstPalmeCaptionResult *result = g_new0 (GstPalmeCaptionResult, 1);

    g_mutex_unlock (&worker->lock);
    if (job.background)
      become_nicer (worker);
    gst_palme_caption_session_run (&worker->session, &job, &job.views[next++],
        since, result);
    since = g_get_monotonic_time ();
    left = job.n_views - next;
    last = left == 0 || is_cancelled (worker);
    /* A model takes its time to close, and whoever has the last result finds the worker idle. */
    if (last)
      end_job (&job);
    g_mutex_lock (&worker->lock);
    finish_view (worker, result, submitted, since);
    if (last) {
      count_stale (worker, left);
      worker->slot =
          g_queue_is_empty (&worker->results) ? SLOT_EMPTY : SLOT_DONE;
    }
    g_cond_broadcast (&worker->news);
  } while (!last);
}

static gpointer
run (gpointer data)
{
  GstPalmeCaptionWorker *worker = data;

  g_mutex_lock (&worker->lock);
  while (!g_atomic_int_get (&worker->halted)) {
    if (!g_queue_is_empty (&worker->discarded))
      drop_discarded (worker);
    else if (worker->slot == SLOT_FILLED)
      run_job (worker);
    else
      g_cond_wait (&worker->work, &worker->lock);
  }
  g_mutex_unlock (&worker->lock);
  return NULL;
}

/* ---- Start and stop ------------------------------------------------------------------------ */

gchar *
gst_palme_caption_worker_start (GstPalmeCaptionWorker * worker,
    GstPalmeModel * model, const struct palme_options *options,
    const gchar * name)
{
  GError *error = NULL;
  gchar *reason;

  gst_palme_caption_worker_stop (worker);

  reason = gst_palme_caption_session_open (&worker->session, model, options);
  if (reason != NULL)
    return reason;
  g_mutex_lock (&worker->lock);
  g_atomic_int_set (&worker->halted, FALSE);
  worker->flushing = FALSE;
  gst_palme_caption_stats_reset (&worker->stats, g_get_monotonic_time ());
  g_mutex_unlock (&worker->lock);
  worker->nicer = FALSE;
  worker->thread = g_thread_try_new (name, run, worker, &error);
  if (worker->thread == NULL) {
    reason = g_strdup_printf ("no thread can be started: %s", error->message);
    g_clear_error (&error);
    gst_palme_caption_worker_stop (worker);
  }
  return reason;
}

void
gst_palme_caption_worker_halt (GstPalmeCaptionWorker * worker)
{
  g_mutex_lock (&worker->lock);
  g_atomic_int_set (&worker->halted, TRUE);
  g_cond_broadcast (&worker->work);
  g_cond_broadcast (&worker->news);
  gst_palme_caption_session_wake (&worker->session);
  g_mutex_unlock (&worker->lock);
}

void
gst_palme_caption_worker_stop (GstPalmeCaptionWorker * worker)
{
  gst_palme_caption_worker_halt (worker);
  if (worker->thread != NULL) {
    g_thread_join (worker->thread);
    worker->thread = NULL;
  }
  gst_palme_caption_session_close (&worker->session);
  g_mutex_lock (&worker->lock);
  worker->slot = SLOT_EMPTY;
  discard_job (worker, &worker->job);
  drop_discarded (worker);
  g_queue_clear_full (&worker->results, free_result);
  g_mutex_unlock (&worker->lock);
}

/* ---- The element's side --------------------------------------------------------------------- */

static void
abort_locked (GstPalmeCaptionWorker * worker)
{
  g_atomic_int_inc (&worker->serial);
  count_stale (worker, g_queue_get_length (&worker->results));
  g_queue_clear_full (&worker->results, free_result);
  if (worker->slot == SLOT_FILLED) {
    count_stale (worker, worker->job.n_views);
    discard_job (worker, &worker->job);
  }
  if (worker->slot != SLOT_RUNNING)
    worker->slot = SLOT_EMPTY;
  g_cond_broadcast (&worker->news);
  gst_palme_caption_session_wake (&worker->session);
}

void
gst_palme_caption_worker_abort (GstPalmeCaptionWorker * worker)
{
  g_mutex_lock (&worker->lock);
  abort_locked (worker);
  g_mutex_unlock (&worker->lock);
}

void
gst_palme_caption_worker_set_flushing (GstPalmeCaptionWorker * worker,
    gboolean flushing)
{
  g_mutex_lock (&worker->lock);
  worker->flushing = flushing;
  if (flushing)
    abort_locked (worker);
  g_mutex_unlock (&worker->lock);
}

/* TRUE unless an abort, flush or halt came since this serial. */
static gboolean
is_current (GstPalmeCaptionWorker * worker, gint serial)
{
  return !worker->flushing && !g_atomic_int_get (&worker->halted)
      && serial == g_atomic_int_get (&worker->serial);
}

gboolean
gst_palme_caption_worker_begin (GstPalmeCaptionWorker * worker, gboolean wait)
{
  gboolean idle;

  g_mutex_lock (&worker->lock);
  worker->begin_serial = g_atomic_int_get (&worker->serial);
  while (wait && worker->slot != SLOT_EMPTY
      && is_current (worker, worker->begin_serial))
    g_cond_wait (&worker->news, &worker->lock);
  idle = worker->slot == SLOT_EMPTY
      && is_current (worker, worker->begin_serial);
  g_mutex_unlock (&worker->lock);
  return idle;
}

gboolean
gst_palme_caption_worker_submit (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionJob * job)
{
  gboolean current;

  g_mutex_lock (&worker->lock);
  current = is_current (worker, worker->begin_serial);
  if (current) {
    worker->job = *job;
    worker->job_serial = worker->begin_serial;
    worker->job.submitted = g_get_monotonic_time ();
    worker->slot = SLOT_FILLED;
    memset (job, 0, sizeof *job);
    g_cond_signal (&worker->work);
  } else {
    count_stale (worker, job->n_views);
    discard_job (worker, job);
  }
  g_mutex_unlock (&worker->lock);
  return current;
}

void
gst_palme_caption_worker_cancel (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionJob * job)
{
  g_mutex_lock (&worker->lock);
  discard_job (worker, job);
  g_mutex_unlock (&worker->lock);
}

gboolean
gst_palme_caption_worker_take (GstPalmeCaptionWorker * worker,
    GstClockTime timeout, GstPalmeCaptionResult * result)
{
  gint64 now = g_get_monotonic_time (), deadline = G_MAXINT64;
  GstPalmeCaptionResult *ready;
  gint serial;

  if (timeout / 1000 < (guint64) (G_MAXINT64 - now))
    deadline = now + (gint64) (timeout / 1000);

  g_mutex_lock (&worker->lock);
  /* A flush between the hand-over and this call has increased the serial already, so the serial of
   * the hand-over counts. */
  serial = timeout > 0 ? worker->begin_serial :
      g_atomic_int_get (&worker->serial);
  while (timeout > 0 && g_queue_is_empty (&worker->results)
      && (worker->slot == SLOT_FILLED || worker->slot == SLOT_RUNNING)
      && is_current (worker, serial)) {
    if (deadline == G_MAXINT64)
      g_cond_wait (&worker->news, &worker->lock);
    else if (!g_cond_wait_until (&worker->news, &worker->lock, deadline))
      break;
  }
  ready = is_current (worker, serial) ?
      g_queue_pop_head (&worker->results) : NULL;
  if (ready != NULL) {
    *result = *ready;
    g_free (ready);
    if (worker->slot == SLOT_DONE && g_queue_is_empty (&worker->results))
      worker->slot = SLOT_EMPTY;
  }
  g_mutex_unlock (&worker->lock);
  return ready != NULL;
}

gchar *
gst_palme_caption_worker_peek (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionFrame * frame, GstPalmeMetaRegion * area)
{
  gchar *text = NULL;

  g_mutex_lock (&worker->lock);
  if (worker->partial->len > 0
      && worker->job_serial == g_atomic_int_get (&worker->serial)) {
    text = g_strdup (worker->partial->str);
    *frame = worker->partial_frame;
    *area = worker->partial_area;
    g_string_truncate (worker->partial, 0);
  }
  g_mutex_unlock (&worker->lock);
  return text;
}

gboolean
gst_palme_caption_worker_is_busy (GstPalmeCaptionWorker * worker)
{
  gboolean busy;

  g_mutex_lock (&worker->lock);
  busy = worker->slot != SLOT_EMPTY;
  g_mutex_unlock (&worker->lock);
  return busy;
}

void
gst_palme_caption_worker_count (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionCount count)
{
  g_mutex_lock (&worker->lock);
  worker->stats.counts[count]++;
  g_mutex_unlock (&worker->lock);
}

GstStructure *
gst_palme_caption_worker_describe (GstPalmeCaptionWorker * worker)
{
  GstStructure *structure;

  g_mutex_lock (&worker->lock);
  structure = gst_palme_caption_stats_describe (&worker->stats,
      g_get_monotonic_time ());
  g_mutex_unlock (&worker->lock);
  return structure;
}
