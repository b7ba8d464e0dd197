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

/* Stores what stands for all captions in effect: NULL means that there is none. TRUE if it changed. */
static gboolean
store_text (GstPalmeCaption * self)
{
  gchar *text = self->roi ? gst_palme_caption_regions_text (&self->regions) :
      g_strdup (self->whole.shown.text);
  gboolean changed = g_strcmp0 (self->caption, text) != 0;

  if (changed) {
    gchar *old;

    GST_OBJECT_LOCK (self);
    old = self->caption;
    self->caption = text;
    GST_OBJECT_UNLOCK (self);
    text = old;
    self->text_fresh = TRUE;
  }
  g_free (text);
  return changed;
}

static void
notify_caption (GstPalmeCaption * self)
{
  g_object_notify_by_pspec (G_OBJECT (self),
      gst_palme_caption_pspec (PROP_CAPTION));
}

/* Takes over what the property tells of the labels of the last picture. */
static void
store_labels (GstPalmeCaption * self, const GstStructure * labels)
{
  GstStructure *taken = labels != NULL ? gst_structure_copy (labels) : NULL;
  GstStructure *old;

  GST_OBJECT_LOCK (self);
  old = self->labels;
  self->labels = taken;
  GST_OBJECT_UNLOCK (self);
  g_clear_pointer (&old, gst_structure_free);
}

void
gst_palme_caption_publish_regions (GstPalmeCaption * self)
{
  if (store_text (self))
    notify_caption (self);
}

void
gst_palme_caption_publish_none (GstPalmeCaption * self)
{
  gboolean changed;

  gst_palme_caption_steady_reset (&self->whole.steady);
  gst_palme_caption_shown_clear (&self->whole.shown);
  gst_palme_caption_regions_clear (&self->regions);
  store_labels (self, NULL);
  changed = store_text (self);
  self->text_fresh = FALSE;
  if (changed)
    notify_caption (self);
}

void
gst_palme_caption_publish_empty (GstPalmeCaption * self,
    const GstPalmeCaptionPlace * place)
{
  GstPalmeCaptionShown *shown = &self->whole.shown;

  if (shown->text != NULL && shown->text[0] == '\0')
    return;
  g_free (shown->text);
  shown->text = g_strdup ("");
  g_clear_pointer (&shown->labels, gst_structure_free);
  shown->pts = place->pts;
  shown->fresh = TRUE;
  gst_palme_caption_steady_reset (&self->whole.steady);
  self->whole.scenes.captioned.valid = FALSE;
  store_labels (self, NULL);
  gst_palme_caption_publish_regions (self);
}

/* What every message has. */
static GstStructure *
new_message (const GstPalmeCaptionFrame * frame,
    const GstPalmeMetaRegion * area, const gchar * text, gboolean partial)
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

  gst_palme_meta_describe_region (structure, area);
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
    const GstPalmeCaptionShown * shown)
{
  GstStructure *structure =
      new_message (&result->frame, &result->area, shown->text, FALSE);

  gst_structure_set (structure,
      "prompt", G_TYPE_STRING, shown->prompt ? shown->prompt : "",
      "latency", G_TYPE_UINT64, result->times.latency,
      "score", G_TYPE_DOUBLE, result->score, NULL);
  gst_palme_meta_copy_labels (structure, shown->labels);
  post (self, structure);
}

void
gst_palme_caption_publish_partial (GstPalmeCaption * self)
{
  GstPalmeCaptionFrame frame;
  GstPalmeMetaRegion area;
  gboolean post_messages;
  gchar *text = gst_palme_caption_worker_peek (self->worker, &frame, &area);

  if (text == NULL)
    return;
  GST_OBJECT_LOCK (self);
  post_messages = self->settings.post_messages;
  GST_OBJECT_UNLOCK (self);
  if (post_messages)
    post (self, new_message (&frame, &area, text, TRUE));
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

/* The region that the result is of; NULL if it is not followed any more. */
static GstPalmeCaptionRegion *
region_of (GstPalmeCaption * self, const GstPalmeCaptionResult * result)
{
  if (!self->roi)
    return &self->whole;
  return gst_palme_caption_regions_find (&self->regions, result->region);
}

/* In sync mode a frame that could not be captioned has no caption: the old one would be taken for its own. */
static void
forget_after_failure (GstPalmeCaption * self,
    const GstPalmeCaptionResult * result)
{
  GstPalmeCaptionRegion *region = region_of (self, result);

  if (!self->sync)
    return;
  if (!self->roi) {
    gst_palme_caption_publish_none (self);
  } else if (region != NULL) {
    gst_palme_caption_region_forget (region);
    gst_palme_caption_publish_regions (self);
  }
}

/* Reports a failed caption. FALSE if it stops the stream. */
static gboolean
fail (GstPalmeCaption * self, const GstPalmeCaptionResult * result)
{
  GstPalmeOnError on_error;

  GST_OBJECT_LOCK (self);
  on_error = self->settings.on_error;
  GST_OBJECT_UNLOCK (self);

  forget_after_failure (self, result);

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

/* Stores the caption of a region for the buffers and cues that follow. */
static void
store (GstPalmeCaption * self, GstPalmeCaptionShown * shown,
    GstPalmeCaptionResult * result, const gchar * text)
{
  gchar *stored = g_strdup (text);      /* it may be the text that is cleared now */
  gboolean told;

  GST_OBJECT_LOCK (self);
  told = self->settings.labels;
  GST_OBJECT_UNLOCK (self);
  gst_palme_caption_shown_clear (shown);
  shown->text = stored;
  shown->pts = result->frame.pts;
  shown->latency = result->times.latency;
  shown->score = result->score;
  shown->unsure = result->unsure;
  shown->model = g_steal_pointer (&result->model);
  shown->prompt = g_steal_pointer (&result->prompt);
  shown->words = g_steal_pointer (&result->words);
  if (told)
    shown->labels = g_steal_pointer (&result->labels);
  shown->fresh = TRUE;
  self->text_fresh = TRUE;
  store_labels (self, shown->labels);
}

/* What is shown of the decision: its text, or still the caption in effect, which `result` then has the
 * score of. */
static void
keep_steady (GstPalmeCaption * self, GstPalmeCaptionRegion * region,
    GstPalmeCaptionResult * result, const GstPalmeCaptionPlace * place,
    const GstPalmeCaptionPolicy * policy,
    const GstPalmeCaptionSteadying * steadying,
    GstPalmeCaptionDecision * decision)
{
  const GstPalmeCaptionShown *shown = &region->shown;
  gboolean doubtful = decision->text[0] == '\0' || result->unsure;
  GstPalmeCaptionNews news = {
    .text = decision->text,
    .score = doubtful ? policy->min_score : result->score,
    .shown = shown->text,
    .compared = result->compared,
    .shown_score = result->shown_score,
    .replace = result->replace,
    .now = place->shown.start,
    .margin = steadying->margin,
    .hold = steadying->hold,
  };

  /* Silence, and a sentence that stands in for a caption, are as good as the least score. */
  if (shown->text != NULL && (shown->text[0] == '\0' || shown->unsure)) {
    news.compared = TRUE;
    news.shown_score = policy->min_score;
  }
  if (gst_palme_caption_steady_take (&region->steady, &news))
    return;
  gst_palme_caption_worker_count (self->worker, GST_PALME_CAPTION_COUNT_HELD);
  GST_LOG_OBJECT (self, "\"%s\", score %g, is held back: \"%s\" has %g",
      news.text, news.score, news.shown,
      news.compared ? news.shown_score : NAN);
  /* The words that are shown stay those that the next caption is compared with. */
  g_free (result->words);
  g_free (result->prompt);
  result->words = g_strdup (shown->words);
  result->prompt = g_strdup (shown->prompt);
  decision->text = shown->text;
  result->unsure = shown->unsure;
  decision->changed = FALSE;
  decision->announce = !policy->only_on_change;
  result->score = news.compared ? news.shown_score : shown->score;
}

#define NOT_SHOWN "Captions are in messages and metadata only: there is no textoverlay downstream whose text is " \
    "free, and nothing is linked to the text pad. Put \"textoverlay\" behind palmecaption to see them, or set " \
    "auto-overlay=false."

/* Tells whoever expects to see captions why there are none. Whether somebody reads messages cannot be told, so
 * with messages this is no warning. Of an INFO message gst-launch-1.0 prints the debug string alone. */
static void
tell_if_not_shown (GstPalmeCaption * self)
{
  gboolean wanted, posted;

  if (self->told_not_shown)
    return;
  self->told_not_shown = TRUE;
  GST_OBJECT_LOCK (self);
  wanted = self->settings.auto_overlay;
  posted = self->settings.post_messages;
  GST_OBJECT_UNLOCK (self);
  if (!wanted || gst_palme_caption_overlay_is_used (self->overlay)
      || gst_palme_caption_textpad_is_linked (self->text)
      || gst_palme_caption_is_listened_to (self))
    return;
  if (posted)
    GST_ELEMENT_INFO (self, RESOURCE, NOT_FOUND, (NOT_SHOWN), (NOT_SHOWN));
  else
    GST_ELEMENT_WARNING (self, RESOURCE, NOT_FOUND,
        ("Captions are in metadata only: there is no textoverlay downstream "
            "whose text is free, nothing is linked to the text pad, nobody "
            "listens to signals, and post-messages is false. Put "
            "\"textoverlay\" behind palmecaption to see them, or set "
            "auto-overlay=false."), (NULL));
}

/* One line for each caption, with all that is measured of it. */
static void
log_caption (GstPalmeCaption * self, const GstPalmeCaptionResult * result,
    const gchar * shown, GstClockTime delay)
{
  const GstPalmeCaptionTimes *times = &result->times;
  const GstVideoRectangle *rect = &result->area.rect;

  GST_DEBUG_OBJECT (self, "caption of %" GST_TIME_FORMAT
      ", %dx%d at %d, %d: score %.3f, tokens %u, resize %.3f ms, queue %.3f ms, "
      "encode %.3f ms, decode %.3f ms, latency %.3f ms, delay %.3f ms, \"%s\"%s",
      GST_TIME_ARGS (result->frame.pts), rect->w, rect->h, rect->x, rect->y,
      result->score, result->tokens, times->resize / 1e6, times->queue / 1e6,
      times->encode / 1e6, times->decode / 1e6, times->latency / 1e6,
      delay / 1e6, result->text,
      g_strcmp0 (shown, result->text) == 0 ? "" : ", not shown");
}

/* Stores what is to be shown of the result, and tells it. The region is none of the element's if it is gone. */
static void
tell (GstPalmeCaption * self, GstPalmeCaptionRegion * region,
    GstPalmeCaptionResult * result, const GstPalmeCaptionPlace * place)
{
  const GstPalmeCaptionFrame *frame = &result->frame;
  GstPalmeCaptionPolicy policy = {
    .min_score = result->min_score,
    .judged = result->judged
  };
  GstPalmeCaptionSteadying steadying;
  GstPalmeCaptionDecision decision;
  gboolean post_messages, changed;

  GST_OBJECT_LOCK (self);
  post_messages = self->settings.post_messages;
  policy.only_on_change = self->settings.only_on_change;
  gst_palme_caption_settings_steadying (&self->settings, self->sync,
      &steadying);
  GST_OBJECT_UNLOCK (self);

  decision = gst_palme_caption_decide (&policy, region->shown.text,
      result->text, result->score);
  keep_steady (self, region, result, place, &policy, &steadying, &decision);
  log_caption (self, result, decision.text, delay_of (frame, place));
  gst_palme_caption_scenes_captioned (&region->scenes);
  store (self, &region->shown, result, decision.text);
  changed = store_text (self);
  tell_if_not_shown (self);
  if (decision.announce) {
    if (post_messages)
      post_caption (self, result, &region->shown);
    gst_palme_caption_emit (self, region->shown.text, &result->area,
        frame->pts, frame->running_time, result->times.latency);
  }
  if (changed)
    notify_caption (self);
}

gboolean
gst_palme_caption_publish (GstPalmeCaption * self,
    GstPalmeCaptionResult * result, const GstPalmeCaptionPlace * place)
{
  const GstPalmeCaptionFrame *frame = &result->frame;
  GstPalmeCaptionRegion *region = region_of (self, result), *gone = NULL;
  GstClockTime interval, delay;
  gboolean ok;

  if (result->status < 0) {
    ok = fail (self, result);
    gst_palme_caption_result_clear (result);
    return ok;
  }
  self->cut_aborted = FALSE;
  /* A caption of before the cut does not count. */
  if (GST_CLOCK_TIME_IS_VALID (self->cut_at)
      && frame->running_time >= self->cut_at)
    self->cut_at = GST_CLOCK_TIME_NONE;
  /* What has left the picture meanwhile is told of all the same. */
  if (region == NULL)
    region = gone = g_new0 (GstPalmeCaptionRegion, 1);
  tell (self, region, result, place);
  if (gone != NULL) {
    gst_palme_caption_region_forget (gone);
    g_free (gone);
  }
  GST_OBJECT_LOCK (self);
  interval = self->settings.interval;
  GST_OBJECT_UNLOCK (self);
  delay = delay_of (frame, place);
  note_times (self, result, delay);
  warn_if_late (self, result, delay, place->number - frame->number, interval);

  gst_palme_caption_result_clear (result);
  return TRUE;
}
