/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-worker.c - the thread that makes the captions.
 *
 * The serial makes results worthless: a flush, another segment and a stop raise it, the engine asks
 * for it while it computes, and a result with an old serial is dropped. The engine is never called with
 * the lock held, and the stop question takes no lock: serial and halt are read as atomics there, and
 * written under the lock as well, so that no thread misses the wake-up.
 *
 * A job brings the model that it was prepared for, and takes a turn at one of its sessions. If that is
 * another model than the last one, the worker becomes a user of its sessions, so a model can change
 * between two captions. Closing a model takes time, so the worker's thread also drops the models of
 * jobs that are never run.
 */
#include "gstpalmecaption-worker.h"

#include <string.h>
#include <sys/resource.h>

#include "gstpalmecaption-picture.h"
#include "gstpalmesanitize.h"

GST_DEBUG_CATEGORY_EXTERN (gst_palme_caption_debug);

/* A caption is cut to GST_PALME_TEXT_MAX characters later; a model with huge tokens must not
 * collect megabytes first. */
#define MAX_RAW_TEXT 65536

/* A caption keeps a processor busy for many milliseconds, and whoever has a processor keeps it for some of them
 * when a thread of the pipeline wakes. So much nicer than the others the worker's thread gives way sooner, and still
 * has a third of what another one has where the processors do not suffice. */
#define NICER 5

typedef enum
{
  SLOT_EMPTY,
  SLOT_FILLED,
  SLOT_RUNNING,
  SLOT_DONE
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
  gint64 submitted;             /* monotonic, us */
  GstPalmeCaptionJob job;
  GstPalmeCaptionResult result; /* when done */
  GstPalmeCaptionStats stats;
  gboolean flushing;
  GString *partial;             /* the running caption with its prompt, "" if nothing is new */
  GstPalmeCaptionFrame partial_frame;
  GQueue discarded;             /* of GstPalmeModel, a reference each: of jobs that will not run */
  GstPalmeSessions *waited_for; /* by the thread, which may be waiting for a turn */

  /* atomic */
  gint serial;
  gint halted;

  /* the worker's own while it runs */
  gint running_serial;
  gboolean nicer;               /* the thread is */
  GstPalmeModel *model;         /* a reference: it is a user of its sessions */
  GstPalmeTurn *turn;           /* while a job runs */
  palme_session *session;       /* ... that of the turn */
  GstPalmeLog log;

  /* constant while the thread runs */
  GThread *thread;
};

void
gst_palme_caption_result_clear (GstPalmeCaptionResult * result)
{
  g_free (result->text);
  g_free (result->prompt);
  g_free (result->words);
  g_clear_pointer (&result->model, g_ref_string_release);
  g_clear_pointer (&result->labels, gst_structure_free);
  g_free (result->reason);
  memset (result, 0, sizeof *result);
}

static void
clear_texts (GstPalmeCaptionJob * job)
{
  g_clear_pointer (&job->prompt, g_free);
  g_clear_pointer (&job->blocklist, g_free);
  g_clear_pointer (&job->shown, g_free);
}

GstPalmeCaptionWorker *
gst_palme_caption_worker_new (GstObject * owner)
{
  GstPalmeCaptionWorker *worker = g_new0 (GstPalmeCaptionWorker, 1);

  g_mutex_init (&worker->lock);
  g_cond_init (&worker->work);
  g_cond_init (&worker->news);
  g_queue_init (&worker->discarded);
  worker->partial = g_string_new (NULL);
  gst_palme_log_init (&worker->log, owner, gst_palme_caption_debug);
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

static void
leave_model (GstPalmeCaptionWorker * worker)
{
  if (worker->model == NULL)
    return;
  gst_palme_sessions_leave (gst_palme_model_get_sessions (worker->model),
      worker);
  g_clear_pointer (&worker->model, gst_palme_model_unref);
}

/* Becomes a user of the model's sessions. On failure it stays one of the old model's. */
static gint
join_model (GstPalmeCaptionWorker * worker, GstPalmeModel * model,
    const struct palme_options *options)
{
  gint status;

  if (model == worker->model)
    return PALME_OK;
  status = gst_palme_sessions_join (gst_palme_model_get_sessions (model),
      worker, options);
  if (status < 0)
    return status;
  leave_model (worker);
  worker->model = gst_palme_model_ref (model);
  return PALME_OK;
}

/* The options as a job brought or an element has them, with the worker's callbacks. */
static void
complete_options (GstPalmeCaptionWorker * worker, struct palme_options *options)
{
  options->cancel = is_cancelled;
  options->cancel_user = worker;
  options->log = gst_palme_log_engine;
  options->log_user = &worker->log;
}

static void
set_waited_for (GstPalmeCaptionWorker * worker, GstPalmeSessions * sessions)
{
  g_mutex_lock (&worker->lock);
  worker->waited_for = sessions;
  g_mutex_unlock (&worker->lock);
}

/* Takes a turn at a session of the job's model: the oldest picture of all elements comes first. */
static gint
begin_turn (GstPalmeCaptionWorker * worker, GstPalmeCaptionJob * job,
    gint64 submitted)
{
  GstPalmeSessions *sessions = gst_palme_model_get_sessions (job->model);
  struct palme_options options = job->options;
  gint status;

  complete_options (worker, &options);
  /* Nothing reads it once the caption is complete. */
  options.blocklist = job->blocklist;
  status = join_model (worker, job->model, &options);
  if (status < 0)
    return status;
  set_waited_for (worker, sessions);
  status = gst_palme_sessions_take (sessions, worker, submitted, &options,
      &worker->turn, &worker->session);
  set_waited_for (worker, NULL);
  return status;
}

static void
end_turn (GstPalmeCaptionWorker * worker)
{
  if (worker->turn == NULL)
    return;
  gst_palme_sessions_give (gst_palme_model_get_sessions (worker->model),
      worker->turn);
  worker->turn = NULL;
  worker->session = NULL;
}

static gchar *
describe_failure (const GstPalmeCaptionWorker * worker, gint status)
{
  const gchar *message = worker->log.last;

  if (message[0] == '\0')
    message = palme_strerror (status);
  return gst_palme_sanitize (message, strlen (message));
}

/* The score of the text that is shown, if it is asked for and is another one. A caption that was cut off
 * by the time limit cannot be compared. */
static void
compare (GstPalmeCaptionWorker * worker, const GstPalmeCaptionJob * job,
    GstPalmeCaptionResult * result)
{
  if (job->shown != NULL && strcmp (job->shown, result->words) != 0)
    result->compared = palme_score (worker->session, job->shown,
        &result->shown_score) == PALME_OK;
}

/* The prompt that the job's caption goes on from. */
static const gchar *
prompt_of (const GstPalmeCaptionJob * job)
{
  return job->prompt != NULL ? job->prompt :
      gst_palme_model_get_info (job->model)->default_prompt;
}

/* The text of a caption: blanks at the seam are those of prompt and words. */
static gchar *
text_of (const GstPalmeCaptionJob * job, const gchar * words)
{
  gchar *whole, *text;

  if (!job->include_prompt)
    return gst_palme_sanitize (words, strlen (words));
  whole = g_strconcat (prompt_of (job), words, NULL);
  text = gst_palme_sanitize (whole, strlen (whole));
  g_free (whole);
  return text;
}

typedef struct
{
  GstPalmeCaptionWorker *worker;
  const GstPalmeCaptionJob *job;
} Growth;

/* Only stores: the streaming thread looks by itself. */
static void
note_growth (gpointer user, const gchar * words)
{
  const Growth *growth = user;
  GstPalmeCaptionWorker *worker = growth->worker;
  gchar *text = text_of (growth->job, words);

  g_mutex_lock (&worker->lock);
  g_string_assign (worker->partial, text);
  worker->partial_frame = growth->job->frame;
  g_mutex_unlock (&worker->lock);
  g_free (text);
}

/* The labels of the picture, and what they make of the caption. */
static void
judge (GstPalmeCaptionWorker * worker, const GstPalmeCaptionJob * job,
    GstPalmeCaptionResult * result)
{
  if (gst_palme_model_get_info (job->model)->labels == 0)
    return;
  result->labels = gst_palme_caption_labels_describe (worker->session);
  result->judged = TRUE;
  result->unsure = gst_palme_caption_labels_judge (worker->session,
      job->min_score, job->when_unsure, &result->text, &result->score)
      && job->when_unsure != GST_PALME_WHEN_UNSURE_CAPTION;
  if (result->unsure) {
    g_free (result->words);
    result->words = g_strdup (result->text);
  }
}

static void
fill_result (GstPalmeCaptionWorker * worker, const GstPalmeCaptionJob * job,
    GstPalmeCaptionResult * result, const gchar * words)
{
  const gchar *prompt = prompt_of (job);

  result->text = text_of (job, words);
  result->prompt = gst_palme_sanitize (prompt, strlen (prompt));
  result->words = g_strdup (words);
  result->score = palme_caption_score (worker->session);
  judge (worker, job, result);
  compare (worker, job, result);
}

/* The caption of the job's picture, in the session that the worker has. */
static gint
generate (GstPalmeCaptionWorker * worker, const GstPalmeCaptionJob * job,
    GString * raw, gint64 start, gint64 * looked)
{
  gint size = gst_palme_model_get_info (job->model)->image_size;
  struct palme_image image = {.format = PALME_FORMAT_RGB };
  Growth growth = { worker, job };
  gint64 deadline = G_MAXINT64;
  gint status;

  if (job->time_limit > 0
      && job->time_limit / 1000 < (guint64) (G_MAXINT64 - start))
    deadline = start + (gint64) (job->time_limit / 1000);
  image.width = image.height = size;
  image.planes[0] = job->picture;
  image.strides[0] = (ptrdiff_t) gst_palme_caption_picture_stride (size);
  status = palme_look (worker->session, &image);
  *looked = g_get_monotonic_time ();
  /* The model's own prompt is asked for here as well, so that the others need not wait for it. */
  if (status >= 0)
    status = palme_prompt (worker->session, job->prompt);
  if (status >= 0)
    status =
        gst_palme_batcher_generate (gst_palme_model_get_batcher (job->model),
        worker->session, raw, MAX_RAW_TEXT, deadline,
        job->partial ? note_growth : NULL, &growth);
  return status;
}

/* Makes one caption of the job, which is used up. *tokens is set on success. */
static void
run_job (GstPalmeCaptionWorker * worker, GstPalmeCaptionJob * job,
    GstPalmeCaptionResult * result, gint64 submitted, guint * tokens)
{
  GString *raw = g_string_new (NULL);
  gint64 start, looked;
  gint status;

  worker->log.last[0] = '\0';
  status = begin_turn (worker, job, submitted);
  start = looked = g_get_monotonic_time ();
  if (status >= 0)
    status = generate (worker, job, raw, start, &looked);

  result->status = status;
  result->times.queue = (start - submitted) * GST_USECOND;
  result->times.encode = (looked - start) * GST_USECOND;
  result->times.decode = (g_get_monotonic_time () - looked) * GST_USECOND;
  result->model = g_ref_string_acquire (gst_palme_model_get_name (job->model));
  if (status >= 0) {
    fill_result (worker, job, result, raw->str);
    *tokens = MAX (palme_caption_length (worker->session), 0);
  } else {
    result->reason = describe_failure (worker, status);
  }
  end_turn (worker);
  g_string_free (raw, TRUE);
  clear_texts (job);
  g_clear_pointer (&job->model, gst_palme_model_unref);
}

/* Lock held. The job is not run. */
static void
discard_job (GstPalmeCaptionWorker * worker, GstPalmeCaptionJob * job)
{
  clear_texts (job);
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

/* On Linux process 0 is the calling thread. That it fails is no harm. */
static void
become_nicer (GstPalmeCaptionWorker * worker)
{
  if (!worker->nicer)
    setpriority (PRIO_PROCESS, 0, getpriority (PRIO_PROCESS, 0) + NICER);
  worker->nicer = TRUE;
}

static gpointer
run (gpointer data)
{
  GstPalmeCaptionWorker *worker = data;
  GstPalmeCaptionResult result;
  GstPalmeCaptionJob job;
  gint64 submitted, now;
  guint tokens;

  g_mutex_lock (&worker->lock);
  while (!g_atomic_int_get (&worker->halted)) {
    if (!g_queue_is_empty (&worker->discarded)) {
      drop_discarded (worker);
      continue;
    }
    if (worker->slot != SLOT_FILLED) {
      g_cond_wait (&worker->work, &worker->lock);
      continue;
    }
    memset (&result, 0, sizeof result);
    job = worker->job;
    result.frame = job.frame;
    result.min_score = job.min_score;
    result.replace = job.replace;
    worker->job.prompt = worker->job.shown = worker->job.blocklist = NULL;
    worker->job.model = NULL;
    worker->slot = SLOT_RUNNING;
    worker->running_serial = worker->job_serial;
    submitted = worker->submitted;
    g_mutex_unlock (&worker->lock);

    tokens = 0;
    if (job.background)
      become_nicer (worker);
    run_job (worker, &job, &result, submitted, &tokens);

    g_mutex_lock (&worker->lock);
    now = g_get_monotonic_time ();
    result.times.latency = (now - submitted) * GST_USECOND;
    g_string_truncate (worker->partial, 0);
    if (is_cancelled (worker)) {
      worker->stats.counts[GST_PALME_CAPTION_COUNT_STALE]++;
      worker->slot = SLOT_EMPTY;
      gst_palme_caption_result_clear (&result);
    } else {
      if (result.status >= 0)
        gst_palme_caption_stats_caption (&worker->stats, &result.times, tokens,
            now);
      else
        worker->stats.counts[GST_PALME_CAPTION_COUNT_ERRORS]++;
      worker->result = result;
      worker->slot = SLOT_DONE;
    }
    g_cond_broadcast (&worker->news);
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
  struct palme_options completed = *options;
  GError *error = NULL;
  gchar *reason = NULL;
  gint status;

  gst_palme_caption_worker_stop (worker);

  worker->log.last[0] = '\0';
  complete_options (worker, &completed);
  status = join_model (worker, model, &completed);
  if (status < 0) {
    gchar *failure = describe_failure (worker, status);

    reason = g_strdup_printf ("a session for %d beams cannot be opened: %s",
        options->beams > 0 ? options->beams :
        MAX (gst_palme_model_get_info (model)->beams, 1), failure);
    g_free (failure);
    return reason;
  }
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

/* Lock held. If the thread waits for a turn, it asks whether its job is still wanted. */
static void
wake_turn (GstPalmeCaptionWorker * worker)
{
  if (worker->waited_for != NULL)
    gst_palme_sessions_wake (worker->waited_for);
}

void
gst_palme_caption_worker_halt (GstPalmeCaptionWorker * worker)
{
  g_mutex_lock (&worker->lock);
  g_atomic_int_set (&worker->halted, TRUE);
  g_cond_broadcast (&worker->work);
  g_cond_broadcast (&worker->news);
  wake_turn (worker);
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
  leave_model (worker);
  g_mutex_lock (&worker->lock);
  worker->slot = SLOT_EMPTY;
  discard_job (worker, &worker->job);
  drop_discarded (worker);
  gst_palme_caption_result_clear (&worker->result);
  g_mutex_unlock (&worker->lock);
}

/* ---- The element's side --------------------------------------------------------------------- */

static void
abort_locked (GstPalmeCaptionWorker * worker)
{
  g_atomic_int_inc (&worker->serial);
  if (worker->slot == SLOT_FILLED || worker->slot == SLOT_DONE) {
    worker->stats.counts[GST_PALME_CAPTION_COUNT_STALE]++;
    discard_job (worker, &worker->job);
    gst_palme_caption_result_clear (&worker->result);
    worker->slot = SLOT_EMPTY;
  }
  g_cond_broadcast (&worker->news);
  wake_turn (worker);
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
    GstPalmeCaptionJob * job, GstClockTime resize)
{
  gboolean current;

  g_mutex_lock (&worker->lock);
  gst_palme_caption_stats_resized (&worker->stats, resize);
  current = is_current (worker, worker->begin_serial);
  if (current) {
    worker->job = *job;
    worker->job_serial = worker->begin_serial;
    worker->submitted = g_get_monotonic_time ();
    worker->slot = SLOT_FILLED;
    job->prompt = job->shown = job->blocklist = NULL;
    job->model = NULL;
    g_cond_signal (&worker->work);
  } else {
    worker->stats.counts[GST_PALME_CAPTION_COUNT_STALE]++;
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
  gboolean taken = FALSE;
  gint serial;

  if (timeout / 1000 < (guint64) (G_MAXINT64 - now))
    deadline = now + (gint64) (timeout / 1000);

  g_mutex_lock (&worker->lock);
  /* A flush between the hand-over and this call has increased the serial already, so the serial of
   * the hand-over counts. */
  serial = timeout > 0 ? worker->begin_serial :
      g_atomic_int_get (&worker->serial);
  while (timeout > 0
      && (worker->slot == SLOT_FILLED || worker->slot == SLOT_RUNNING)
      && is_current (worker, serial)) {
    if (deadline == G_MAXINT64)
      g_cond_wait (&worker->news, &worker->lock);
    else if (!g_cond_wait_until (&worker->news, &worker->lock, deadline))
      break;
  }
  if (worker->slot == SLOT_DONE && is_current (worker, serial)) {
    *result = worker->result;
    memset (&worker->result, 0, sizeof worker->result);
    worker->slot = SLOT_EMPTY;
    taken = TRUE;
  }
  g_mutex_unlock (&worker->lock);
  return taken;
}

gchar *
gst_palme_caption_worker_peek (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionFrame * frame)
{
  gchar *text = NULL;

  g_mutex_lock (&worker->lock);
  if (worker->partial->len > 0
      && worker->job_serial == g_atomic_int_get (&worker->serial)) {
    text = g_strdup (worker->partial->str);
    *frame = worker->partial_frame;
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
