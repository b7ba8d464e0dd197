/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-publish.c - publishes a caption: stores it for the buffers that follow, posts the
 * message, emits the signal, notifies the property, and warns of captions that are late or failed.
 * gstpalmecaption-decide.c decides what is published.
 *
 * Everything here runs on the streaming thread. Nothing is posted, emitted or notified under a lock.
 */
#include "gstpalmecaption-private.h"

#include <math.h>

#include "gstpalmecaption-decide.h"
#include "gstpalmemeta.h"

#define GST_CAT_DEFAULT gst_palme_caption_debug

/* With interval=0 there is no interval to fall behind; then a caption is late if it is older than
 * this. */
#define LATE (1 * GST_SECOND)

/* Stores the caption in effect; NULL means that there is none. TRUE if it changed. */
static gboolean
set_caption (GstPalmeCaption * self, const gchar * text)
{
  gboolean changed = g_strcmp0 (self->caption, text) != 0;
  gchar *old = NULL;

  if (changed) {
    GST_OBJECT_LOCK (self);
    old = self->caption;
    self->caption = g_strdup (text);
    GST_OBJECT_UNLOCK (self);
    g_free (old);
  }
  return changed;
}

/* Takes over what is told of the labels; NULL: nothing. */
static void
set_labels (GstPalmeCaption * self, GstStructure * labels)
{
  GstStructure *old;

  GST_OBJECT_LOCK (self);
  old = self->labels;
  self->labels = self->settings.labels ? g_steal_pointer (&labels) : NULL;
  GST_OBJECT_UNLOCK (self);
  g_clear_pointer (&old, gst_structure_free);
  g_clear_pointer (&labels, gst_structure_free);
}

void
gst_palme_caption_publish_none (GstPalmeCaption * self)
{
  self->meta_fresh = self->text_fresh = FALSE;
  gst_palme_caption_steady_reset (&self->steady);
  set_labels (self, NULL);
  if (set_caption (self, NULL))
    g_object_notify_by_pspec (G_OBJECT (self),
        gst_palme_caption_pspec (PROP_CAPTION));
}

void
gst_palme_caption_publish_empty (GstPalmeCaption * self,
    const GstPalmeCaptionPlace * place)
{
  if (!set_caption (self, ""))
    return;
  gst_palme_caption_steady_reset (&self->steady);
  self->scenes.captioned.valid = FALSE;
  set_labels (self, NULL);
  self->caption_pts = place->pts;
  self->meta_fresh = self->text_fresh = TRUE;
  g_object_notify_by_pspec (G_OBJECT (self),
      gst_palme_caption_pspec (PROP_CAPTION));
}

/* What every message has. */
static GstStructure *
new_message (const GstPalmeCaptionFrame * frame, const gchar * text,
    gboolean partial)
{
  gchar *markup = g_markup_escape_text (text, -1);
  GstStructure *structure = gst_structure_new ("palmecaption",
      "text", G_TYPE_STRING, text,
      "markup", G_TYPE_STRING, markup,
      "partial", G_TYPE_BOOLEAN, partial,
      "timestamp", G_TYPE_UINT64, frame->pts,
      "stream-time", G_TYPE_UINT64, frame->stream_time,
      "running-time", G_TYPE_UINT64, frame->running_time,
      "duration", G_TYPE_UINT64, frame->duration, NULL);

  g_free (markup);
  return structure;
}

static void
post (GstPalmeCaption * self, GstStructure * structure)
{
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_element (GST_OBJECT (self), structure));
}

static void
post_caption (GstPalmeCaption * self, const GstPalmeCaptionResult * result,
    const gchar * text)
{
  GstStructure *structure = new_message (&result->frame, text, FALSE);

  gst_structure_set (structure,
      "prompt", G_TYPE_STRING, self->caption_prompt ? self->caption_prompt : "",
      "latency", G_TYPE_UINT64, result->times.latency,
      "score", G_TYPE_DOUBLE, result->score, NULL);
  gst_palme_meta_copy_labels (structure, self->labels);
  post (self, structure);
}

void
gst_palme_caption_publish_partial (GstPalmeCaption * self)
{
  GstPalmeCaptionFrame frame;
  gboolean post_messages;
  gchar *text = gst_palme_caption_worker_peek (self->worker, &frame);

  if (text == NULL)
    return;
  GST_OBJECT_LOCK (self);
  post_messages = self->settings.post_messages;
  GST_OBJECT_UNLOCK (self);
  if (post_messages)
    post (self, new_message (&frame, text, TRUE));
  gst_palme_caption_emit_partial (self, text, frame.pts, frame.running_time);
  g_free (text);
}

static gboolean
is_doubled (GstPalmeCaption * self, GstClockTime delay)
{
  if (self->warned_delay > 0 && delay / 2 < self->warned_delay)
    return FALSE;
  self->warned_delay = delay;
  return TRUE;
}

/* Warns when captions fall behind, again only when it is twice as bad. A slow source is not a
 * reason: there a caption waits for the next frame to appear on. */
static void
warn_if_late (GstPalmeCaption * self, const GstPalmeCaptionResult * result,
    GstClockTime delay, guint64 frames, GstClockTime interval)
{
  GstClockTime latency = result->times.latency;

  if (self->sync) {
    if (!self->live || interval == 0 || latency <= interval
        || !is_doubled (self, latency))
      return;
    GST_ELEMENT_WARNING (self, CORE, CLOCK,
        ("Captions delay the live video: a caption takes %" GST_TIME_FORMAT
            ", the interval is %" GST_TIME_FORMAT ". Use mode=async, a larger "
            "\"interval\" or more \"threads\".", GST_TIME_ARGS (latency),
            GST_TIME_ARGS (interval)), (NULL));
  } else {
    if (frames < 2 || delay <= (interval > 0 ? interval : LATE)
        || !is_doubled (self, delay))
      return;
    GST_ELEMENT_WARNING (self, CORE, CLOCK,
        ("Captions fall behind: this one came %" GST_TIME_FORMAT
            " after its frame, it took %" GST_TIME_FORMAT ", the interval is %"
            GST_TIME_FORMAT ". A larger \"interval\" or more \"threads\" help; "
            "for exact captions of a file use mode=sync.",
            GST_TIME_ARGS (delay), GST_TIME_ARGS (latency),
            GST_TIME_ARGS (interval)), (NULL));
  }
}

static void
note_times (GstPalmeCaption * self, const GstPalmeCaptionResult * result,
    GstClockTime delay)
{
  gboolean grew, latency_grew = FALSE;

  GST_OBJECT_LOCK (self);
  self->last_latency = result->times.latency;
  grew = delay > self->max_delay;
  if (grew)
    self->max_delay = delay;
  if (self->sync && self->live && result->times.latency > self->live_latency) {
    self->live_latency = result->times.latency;
    latency_grew = TRUE;
  }
  GST_OBJECT_UNLOCK (self);

  g_object_notify_by_pspec (G_OBJECT (self),
      gst_palme_caption_pspec (PROP_LAST_LATENCY));
  if (grew)
    g_object_notify_by_pspec (G_OBJECT (self),
        gst_palme_caption_pspec (PROP_MAX_OBSERVED_DELAY));
  if (latency_grew)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_latency (GST_OBJECT (self)));
}

/* Reports a failed caption. FALSE if it stops the stream. */
static gboolean
fail (GstPalmeCaption * self, const GstPalmeCaptionResult * result)
{
  GstPalmeOnError on_error;

  GST_OBJECT_LOCK (self);
  on_error = self->settings.on_error;
  GST_OBJECT_UNLOCK (self);

  if (self->sync)
    gst_palme_caption_publish_none (self);

  if (on_error == GST_PALME_ON_ERROR_ERROR) {
    GST_ELEMENT_ERROR (self, STREAM, DECODE,
        ("A frame could not be captioned: %s. With on-error=warn the video "
            "goes on.", result->reason), ("status %d: %s", result->status,
            palme_strerror (result->status)));
    return FALSE;
  }
  GST_ELEMENT_WARNING (self, STREAM, DECODE,
      ("A frame could not be captioned: %s. The video goes on.",
          result->reason), ("status %d: %s", result->status,
          palme_strerror (result->status)));
  return TRUE;
}

/* How late the caption is on a frame at this place, in running time. */
static GstClockTime
delay_of (const GstPalmeCaptionFrame * frame,
    const GstPalmeCaptionPlace * place)
{
  if (!GST_CLOCK_TIME_IS_VALID (place->running_time)
      || !GST_CLOCK_TIME_IS_VALID (frame->running_time)
      || place->running_time <= frame->running_time)
    return 0;
  return place->running_time - frame->running_time;
}

/* Stores the caption for the buffers and cues that follow. */
static void
store (GstPalmeCaption * self, GstPalmeCaptionResult * result,
    const gchar * text)
{
  self->caption_pts = result->frame.pts;
  self->caption_latency = result->times.latency;
  self->caption_score = result->score;
  self->caption_unsure = result->unsure;
  g_clear_pointer (&self->caption_model, g_ref_string_release);
  self->caption_model = g_steal_pointer (&result->model);
  g_free (self->caption_prompt);
  self->caption_prompt = g_steal_pointer (&result->prompt);
  g_free (self->caption_words);
  self->caption_words = g_steal_pointer (&result->words);
  set_labels (self, g_steal_pointer (&result->labels));
  self->meta_fresh = self->text_fresh = TRUE;
  set_caption (self, text);
}

/* What is shown of the decision: its text, or still the caption in effect, which `result` then has the
 * score of. */
static void
keep_steady (GstPalmeCaption * self, GstPalmeCaptionResult * result,
    const GstPalmeCaptionPlace * place, const GstPalmeCaptionPolicy * policy,
    const GstPalmeCaptionSteadying * steadying,
    GstPalmeCaptionDecision * decision)
{
  gboolean doubtful = decision->text[0] == '\0' || result->unsure;
  GstPalmeCaptionNews news = {
    .text = decision->text,
    .score = doubtful ? policy->min_score : result->score,
    .shown = self->caption,
    .compared = result->compared,
    .shown_score = result->shown_score,
    .replace = result->replace,
    .now = place->shown.start,
    .margin = steadying->margin,
    .hold = steadying->hold,
  };

  /* Silence, and a sentence that stands in for a caption, are as good as the least score. */
  if (self->caption != NULL && (self->caption[0] == '\0'
          || self->caption_unsure)) {
    news.compared = TRUE;
    news.shown_score = policy->min_score;
  }
  if (gst_palme_caption_steady_take (&self->steady, &news))
    return;
  gst_palme_caption_worker_count (self->worker, GST_PALME_CAPTION_COUNT_HELD);
  GST_LOG_OBJECT (self, "\"%s\", score %g, is held back: \"%s\" has %g",
      news.text, news.score, news.shown,
      news.compared ? news.shown_score : NAN);
  /* The words that are shown stay those that the next caption is compared with. */
  g_free (result->words);
  g_free (result->prompt);
  result->words = g_strdup (self->caption_words);
  result->prompt = g_strdup (self->caption_prompt);
  decision->text = self->caption;
  result->unsure = self->caption_unsure;
  decision->changed = FALSE;
  decision->announce = !policy->only_on_change;
  result->score = news.compared ? news.shown_score : self->caption_score;
}

/* Tells whoever expects to see captions why there are none. An application that reads messages or metadata
 * cannot be told apart, so this is no warning. */
static void
tell_if_not_shown (GstPalmeCaption * self)
{
  gboolean wanted;

  if (self->told_not_shown)
    return;
  self->told_not_shown = TRUE;
  GST_OBJECT_LOCK (self);
  wanted = self->settings.auto_overlay;
  GST_OBJECT_UNLOCK (self);
  if (!wanted || gst_palme_caption_overlay_is_used (self->overlay)
      || gst_palme_caption_textpad_is_linked (self->text)
      || gst_palme_caption_is_listened_to (self))
    return;
  GST_ELEMENT_INFO (self, RESOURCE, NOT_FOUND,
      ("Captions are in messages and metadata only: there is no textoverlay "
          "downstream whose text is free, and nothing is linked to the text "
          "pad. Put \"textoverlay\" behind palmecaption to see them, or set "
          "auto-overlay=false."), (NULL));
}

gboolean
gst_palme_caption_publish (GstPalmeCaption * self,
    GstPalmeCaptionResult * result, const GstPalmeCaptionPlace * place)
{
  const GstPalmeCaptionFrame *frame = &result->frame;
  GstPalmeCaptionPolicy policy = {
    .min_score = result->min_score,
    .judged = result->judged
  };
  GstPalmeCaptionSteadying steadying;
  GstPalmeCaptionDecision decision;
  GstClockTime interval, delay;
  gboolean post_messages, ok;

  if (result->status < 0) {
    ok = fail (self, result);
    gst_palme_caption_result_clear (result);
    return ok;
  }

  GST_OBJECT_LOCK (self);
  post_messages = self->settings.post_messages;
  policy.only_on_change = self->settings.only_on_change;
  interval = self->settings.interval;
  gst_palme_caption_settings_steadying (&self->settings, self->sync,
      &steadying);
  GST_OBJECT_UNLOCK (self);

  /* The streaming thread alone writes the caption, so it reads it without the lock. */
  decision = gst_palme_caption_decide (&policy, self->caption, result->text,
      result->score);
  GST_LOG_OBJECT (self, "caption of frame %" GST_TIME_FORMAT " after %"
      GST_TIME_FORMAT ", score %g%s", GST_TIME_ARGS (frame->pts),
      GST_TIME_ARGS (result->times.latency), result->score,
      decision.text != result->text ? ", below min-score" : "");
  keep_steady (self, result, place, &policy, &steadying, &decision);
  gst_palme_caption_scenes_captioned (&self->scenes);
  self->cut_aborted = FALSE;
  /* A caption of before the cut does not count. */
  if (GST_CLOCK_TIME_IS_VALID (self->cut_at)
      && frame->running_time >= self->cut_at)
    self->cut_at = GST_CLOCK_TIME_NONE;
  store (self, result, decision.text);
  tell_if_not_shown (self);
  if (decision.announce) {
    if (post_messages)
      post_caption (self, result, decision.text);
    gst_palme_caption_emit (self, decision.text, frame->pts,
        frame->running_time, result->times.latency);
  }
  if (decision.changed)
    g_object_notify_by_pspec (G_OBJECT (self),
        gst_palme_caption_pspec (PROP_CAPTION));
  delay = delay_of (frame, place);
  note_times (self, result, delay);
  warn_if_late (self, result, delay, place->number - frame->number, interval);

  gst_palme_caption_result_clear (result);
  return TRUE;
}
