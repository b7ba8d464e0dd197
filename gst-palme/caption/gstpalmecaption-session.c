/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-session.c - makes results of jobs with a session of the engine.
 *
 * A job brings the model that it was prepared for, and each of its pictures takes a turn at one of the model's
 * sessions, which all elements with this model share. If that is another model than the last one, this becomes a user
 * of its sessions, so a model can change between two captions.
 */
#include "gstpalmecaption-session.h"

#include <string.h>

#include "gstpalmecaption-picture.h"
#include "gstpalmesanitize.h"

GST_DEBUG_CATEGORY_EXTERN (gst_palme_caption_debug);

/* A caption is cut to GST_PALME_TEXT_MAX characters later; a model with huge tokens must not
 * collect megabytes first. */
#define MAX_RAW_TEXT 65536

void
gst_palme_caption_job_add (GstPalmeCaptionJob * job,
    const GstPalmeCaptionView * view)
{
  job->views = g_renew (GstPalmeCaptionView, job->views, job->n_views + 1);
  job->views[job->n_views++] = *view;
}

void
gst_palme_caption_job_clear (GstPalmeCaptionJob * job)
{
  g_clear_pointer (&job->prompt, g_free);
  g_clear_pointer (&job->blocklist, g_free);
  while (job->n_views > 0)
    g_free (job->views[--job->n_views].shown);
  g_clear_pointer (&job->views, g_free);
}

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

void
gst_palme_caption_session_init (GstPalmeCaptionSession * session,
    GstObject * owner, gint (*cancel) (void *user), GstPalmeCaptionGrown grown,
    gpointer user)
{
  memset (session, 0, sizeof *session);
  session->cancel = cancel;
  session->grown = grown;
  session->user = user;
  g_mutex_init (&session->lock);
  gst_palme_log_init (&session->log, owner, gst_palme_caption_debug);
}

void
gst_palme_caption_session_clear (GstPalmeCaptionSession * session)
{
  gst_palme_caption_session_close (session);
  g_mutex_clear (&session->lock);
}

/* ---- The turns ------------------------------------------------------------------------------- */

void
gst_palme_caption_session_close (GstPalmeCaptionSession * session)
{
  if (session->model == NULL)
    return;
  gst_palme_sessions_leave (gst_palme_model_get_sessions (session->model),
      session);
  g_clear_pointer (&session->model, gst_palme_model_unref);
}

/* The options as a job brought or an element has them, with the callbacks. */
static void
add_callbacks (GstPalmeCaptionSession * session, struct palme_options *options)
{
  options->cancel = session->cancel;
  options->cancel_user = session->user;
  options->log = gst_palme_log_engine;
  options->log_user = &session->log;
}

/* Becomes a user of the model's sessions. On failure it stays one of the old model's. */
static gint
join_model (GstPalmeCaptionSession * session, GstPalmeModel * model,
    const struct palme_options *options)
{
  gint status;

  if (model == session->model)
    return PALME_OK;
  status = gst_palme_sessions_join (gst_palme_model_get_sessions (model),
      session, options);
  if (status < 0)
    return status;
  gst_palme_caption_session_close (session);
  session->model = gst_palme_model_ref (model);
  return PALME_OK;
}

static void
set_waited_for (GstPalmeCaptionSession * session, GstPalmeSessions * sessions)
{
  g_mutex_lock (&session->lock);
  session->waited_for = sessions;
  g_mutex_unlock (&session->lock);
}

void
gst_palme_caption_session_wake (GstPalmeCaptionSession * session)
{
  g_mutex_lock (&session->lock);
  if (session->waited_for != NULL)
    gst_palme_sessions_wake (session->waited_for);
  g_mutex_unlock (&session->lock);
}

/* Takes a turn at a session of the job's model. */
static gint
begin_turn (GstPalmeCaptionSession * session, const GstPalmeCaptionJob * job,
    gint64 since)
{
  GstPalmeSessions *sessions = gst_palme_model_get_sessions (job->model);
  struct palme_options options = job->options;
  gint status;

  add_callbacks (session, &options);
  /* Nothing reads it once the caption is complete. */
  options.blocklist = job->blocklist;
  status = join_model (session, job->model, &options);
  if (status < 0)
    return status;
  set_waited_for (session, sessions);
  status = gst_palme_sessions_take (sessions, session, since, &options,
      &session->turn, &session->session);
  set_waited_for (session, NULL);
  return status;
}

static void
end_turn (GstPalmeCaptionSession * session)
{
  if (session->turn == NULL)
    return;
  gst_palme_sessions_give (gst_palme_model_get_sessions (session->model),
      session->turn);
  session->turn = NULL;
  session->session = NULL;
}

/* ---- The captions ---------------------------------------------------------------------------- */

static gchar *
describe_failure (const GstPalmeCaptionSession * session, gint status)
{
  const gchar *message = session->log.last;

  if (message[0] == '\0')
    message = palme_strerror (status);
  return gst_palme_sanitize (message, strlen (message));
}

gchar *
gst_palme_caption_session_open (GstPalmeCaptionSession * session,
    GstPalmeModel * model, const struct palme_options *options)
{
  struct palme_options completed = *options;
  gchar *failure, *reason;
  gint status;

  session->log.last[0] = '\0';
  add_callbacks (session, &completed);
  status = join_model (session, model, &completed);
  if (status >= 0)
    return NULL;
  failure = describe_failure (session, status);
  reason = g_strdup_printf ("a session for %d beams cannot be opened: %s",
      options->beams > 0 ? options->beams :
      MAX (gst_palme_model_get_info (model)->beams, 1), failure);
  g_free (failure);
  return reason;
}

/* The score of the text that is shown, if it is asked for and is another one. A caption that was cut off
 * by the time limit cannot be compared. */
static void
compare (GstPalmeCaptionSession * session, const GstPalmeCaptionView * view,
    GstPalmeCaptionResult * result)
{
  if (view->shown != NULL && strcmp (view->shown, result->words) != 0)
    result->compared = palme_score (session->session, view->shown,
        &result->shown_score) == PALME_OK;
}

/* The prompt that the job's captions go on from. */
static const gchar *
prompt_of (const GstPalmeCaptionJob * job)
{
  return job->prompt != NULL ? job->prompt :
      gst_palme_model_get_info (job->model)->default_prompt;
}

/* Blanks at the seam are those of prompt and words. */
static gchar *
sentence_of (const GstPalmeCaptionJob * job, const gchar * words)
{
  return g_strconcat (prompt_of (job), words, NULL);
}

/* The text of a caption. */
static gchar *
text_of (const GstPalmeCaptionJob * job, const gchar * words)
{
  gchar *whole, *text;

  if (!job->include_prompt)
    return gst_palme_sanitize (words, strlen (words));
  whole = sentence_of (job, words);
  text = gst_palme_sanitize (whole, strlen (whole));
  g_free (whole);
  return text;
}

typedef struct
{
  GstPalmeCaptionSession *session;
  const GstPalmeCaptionJob *job;
  const GstPalmeCaptionView *view;
} Growth;

static void
note_growth (gpointer user, const gchar * words)
{
  const Growth *growth = user;
  gchar *text = text_of (growth->job, words);

  growth->session->grown (growth->session->user, growth->job, growth->view,
      text);
  g_free (text);
}

/* The labels of the picture, and what they make of the caption. */
static void
judge (GstPalmeCaptionSession * session, const GstPalmeCaptionJob * job,
    GstPalmeCaptionResult * result)
{
  gchar *sentence;

  if (gst_palme_model_get_info (job->model)->labels == 0)
    return;
  result->labels = gst_palme_caption_labels_describe (session->session);
  result->judged = TRUE;
  /* The words alone may name nothing: "two dogs" goes on with "are running". */
  sentence = sentence_of (job, result->words);
  result->unsure = gst_palme_caption_labels_judge (session->session, sentence,
      job->min_score, job->when_unsure, &result->text, &result->score)
      && job->when_unsure != GST_PALME_WHEN_UNSURE_CAPTION;
  g_free (sentence);
  if (result->unsure) {
    g_free (result->words);
    result->words = g_strdup (result->text);
  }
}

static void
fill_result (GstPalmeCaptionSession * session, const GstPalmeCaptionJob * job,
    const GstPalmeCaptionView * view, GstPalmeCaptionResult * result,
    const gchar * words)
{
  const gchar *prompt = prompt_of (job);

  result->text = text_of (job, words);
  result->prompt = gst_palme_sanitize (prompt, strlen (prompt));
  result->words = g_strdup (words);
  result->score = palme_caption_score (session->session);
  judge (session, job, result);
  compare (session, view, result);
  result->tokens = MAX (palme_caption_length (session->session), 0);
}

/* Looks at the picture and generates its caption into `raw`, in the session that the turn has; *looked is the time in
 * between. */
static gint
generate (GstPalmeCaptionSession * session, const GstPalmeCaptionJob * job,
    const GstPalmeCaptionView * view, GString * raw, gint64 start,
    gint64 * looked)
{
  gint size = gst_palme_model_get_info (job->model)->image_size;
  struct palme_image image = {.format = PALME_FORMAT_RGB };
  Growth growth = { session, job, view };
  gint64 deadline = G_MAXINT64;
  gint status;

  if (job->time_limit > 0
      && job->time_limit / 1000 < (guint64) (G_MAXINT64 - start))
    deadline = start + (gint64) (job->time_limit / 1000);
  image.width = image.height = size;
  image.planes[0] = view->pixels;
  image.strides[0] = (ptrdiff_t) gst_palme_caption_picture_stride (size);
  status = palme_look (session->session, &image);
  *looked = g_get_monotonic_time ();
  /* The model's own prompt is asked for here as well, so that the others need not wait for it. */
  if (status >= 0)
    status = palme_prompt (session->session, job->prompt);
  if (status >= 0)
    status =
        gst_palme_batcher_generate (gst_palme_model_get_batcher (job->model),
        session->session, raw, MAX_RAW_TEXT, deadline,
        job->partial ? note_growth : NULL, &growth);
  return status;
}

void
gst_palme_caption_session_run (GstPalmeCaptionSession * session,
    const GstPalmeCaptionJob * job, const GstPalmeCaptionView * view,
    gint64 since, GstPalmeCaptionResult * result)
{
  GString *raw = g_string_new (NULL);
  gint64 start, looked;
  gint status;

  session->log.last[0] = '\0';
  status = begin_turn (session, job, since);
  start = looked = g_get_monotonic_time ();
  if (status >= 0)
    status = generate (session, job, view, raw, start, &looked);
  result->frame = job->frame;
  result->region = view->region;
  result->area = view->area;
  result->replace = view->replace;
  result->min_score = job->min_score;
  result->status = status;
  result->times.resize = view->resize;
  result->times.queue = (start - job->submitted) * GST_USECOND;
  result->times.encode = (looked - start) * GST_USECOND;
  result->times.decode = (g_get_monotonic_time () - looked) * GST_USECOND;
  result->model = g_ref_string_acquire (gst_palme_model_get_name (job->model));
  if (status >= 0)
    fill_result (session, job, view, result, raw->str);
  else
    result->reason = describe_failure (session, status);
  end_turn (session);
  g_string_free (raw, TRUE);
}
