/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-frame.c - what palmecaption does with each frame.
 *
 * In async mode a caption that is ready is published first. Then, if the frame is due and the worker
 * is idle, the small picture is drawn and handed over. Last, the caption in effect goes onto the
 * buffer and to the text pad. In sync mode a frame that is due is handed over first and waits for its
 * own caption. Text buffers leave through the queue of the text pad, never from here.
 */
#include "gstpalmecaption-private.h"

#include <math.h>
#include <string.h>

#include "gstpalmemeta.h"

#define GST_CAT_DEFAULT gst_palme_caption_debug

/* Flags of frames that are not a new picture, or not to be shown. */
#define NOT_A_PICTURE (GST_BUFFER_FLAG_GAP | GST_BUFFER_FLAG_CORRUPTED \
    | GST_BUFFER_FLAG_DECODE_ONLY)

/* After so many of them without a caption, none is likely to come: ten seconds of most videos. */
#define MANY_NO_PICTURES 300

/* So many pixels a second are looked at for cuts. Of formats that the engine reads that is a few rows of every frame,
 * whatever its size; those that take a conversion are drawn whole, each pixel at about eight times the cost: every
 * frame up to 480x270 at 30 frames a second, two a second of 1920x1080. */
#define LOOK_RATE (32 * 1000 * 1000)

/* The duration; if it is unknown that of the frame rate, else 1/30 s. */
static GstClockTime
duration_or (GstPalmeCaption * self, GstClockTime duration)
{
  const GstVideoInfo *info = &self->picture.in;

  if (GST_CLOCK_TIME_IS_VALID (duration) && duration > 0)
    return duration;
  if (self->picture.known && GST_VIDEO_INFO_FPS_N (info) > 0
      && GST_VIDEO_INFO_FPS_D (info) > 0)
    return gst_util_uint64_scale_int (GST_SECOND, GST_VIDEO_INFO_FPS_D (info),
        GST_VIDEO_INFO_FPS_N (info));
  return GST_SECOND / 30;
}

static void
locate (GstPalmeCaption * self, GstPalmeCaptionPlace * place, GstClockTime pts,
    GstClockTime duration)
{
  const GstSegment *segment = &self->segment;

  place->pts = pts;
  place->duration = duration_or (self, duration);
  place->number = self->frames;
  place->stream_time = gst_palme_caption_stream_time (segment, pts);
  if (GST_CLOCK_TIME_IS_VALID (pts)) {
    place->running_time = gst_palme_caption_running_time (segment, pts);
    place->shown = gst_palme_caption_span (segment, pts, place->duration);
  } else {
    place->running_time =
        gst_palme_caption_arrivals_now (&self->clock, GST_ELEMENT (self));
    place->shown.start = place->running_time;
    place->shown.duration = place->duration;
  }
}

void
gst_palme_caption_frame_forget (GstPalmeCaption * self)
{
  gst_palme_caption_schedule_reset (&self->schedule);
  gst_palme_caption_schedule_reset (&self->arrivals);
  memset (&self->clock, 0, sizeof self->clock);
  self->frame_shown.start = self->handed = GST_CLOCK_TIME_NONE;
  gst_palme_caption_scenes_reset (&self->scenes);
  self->looked = self->taken = self->cut_at = GST_CLOCK_TIME_NONE;
  self->cut_aborted = FALSE;
  gst_palme_caption_publish_none (self);
}

/* ---- Which frame, and how -------------------------------------------------------------------- */

static void
decide_mode (GstPalmeCaption * self)
{
  GstQuery *query = gst_query_new_latency ();
  GstPalmeMode mode;
  gboolean live = FALSE;

  if (gst_pad_peer_query (GST_BASE_TRANSFORM_SINK_PAD (self), query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);

  GST_OBJECT_LOCK (self);
  mode = self->settings.mode;
  self->sync = mode == GST_PALME_MODE_SYNC
      || (mode == GST_PALME_MODE_AUTO && !live);
  GST_OBJECT_UNLOCK (self);
  self->live = live;
  self->decided = TRUE;
  if (!self->sync && self->place == 0)
    self->place = gst_palme_caption_spread_enter ();
  gst_palme_caption_textpad_set_exact (self->text, self->sync);
  GST_INFO_OBJECT (self, "mode is %s, upstream is %slive",
      self->sync ? "sync" : "async", live ? "" : "not ");
}

static void
warn_unmappable (GstPalmeCaption * self, GstBuffer * buffer,
    const gchar * reason)
{
  GstMemory *memory =
      gst_buffer_n_memory (buffer) > 0 ? gst_buffer_peek_memory (buffer, 0) :
      NULL;

  gst_palme_caption_worker_count (self->worker,
      GST_PALME_CAPTION_COUNT_SKIPPED_UNMAPPABLE);
  if (self->warned_unmappable)
    return;
  self->warned_unmappable = TRUE;
  GST_ELEMENT_WARNING (self, STREAM, FORMAT,
      ("A frame cannot be read and passes without a caption: %s.", reason),
      ("memory \"%s\", %" G_GSIZE_FORMAT " bytes", memory
          && memory->allocator ? memory->allocator->mem_type : "none",
          gst_buffer_get_size (buffer)));
}

/* The property, or what the model's author recommends. Object lock held. */
static gdouble
min_score_of (GstPalmeCaption * self)
{
  const struct palme_info *info = gst_palme_model_get_info (self->model);

  if (self->settings.min_score <= 0.0)
    return self->settings.min_score;
  return info->has_min_score ? info->min_score : -INFINITY;
}

/* Takes the model and the settings as they are now. */
static void
prepare_job (GstPalmeCaption * self, GstPalmeCaptionJob * job,
    GstBuffer * buffer, const GstPalmeCaptionPlace * place,
    const GstPalmeCaptionSteadying * steadying)
{
  job->frame.pts = place->pts;
  job->frame.duration = GST_BUFFER_DURATION (buffer);
  job->frame.stream_time = place->stream_time;
  job->frame.running_time = place->running_time;
  job->frame.number = place->number;
  GST_OBJECT_LOCK (self);
  job->model = gst_palme_model_ref (self->model);
  gst_palme_caption_options (self, self->model, &job->options);
  job->prompt = g_strdup (self->settings.prompt);
  job->blocklist = g_strdup (self->settings.blocked);
  job->include_prompt = self->settings.include_prompt;
  job->partial = self->settings.partial && !self->sync;
  job->background = !self->sync;
  job->time_limit = self->settings.time_limit;
  job->min_score = min_score_of (self);
  job->when_unsure = self->settings.when_unsure;
  GST_OBJECT_UNLOCK (self);
  if (!job->replace && steadying->margin > 0.0 && self->caption != NULL
      && self->caption[0] != '\0')
    job->shown = g_strdup (self->caption_words);
}

/* TRUE if so much time has passed since `since`, or no such time is known, or the stream jumped back. */
static gboolean
has_passed (GstClockTime since, GstClockTime now, GstClockTime least)
{
  return !GST_CLOCK_TIME_IS_VALID (since) || now < since
      || now - since >= least;
}

static gboolean
is_steadied (const GstPalmeCaptionSteadying * steadying)
{
  return steadying->scene_threshold > 0.0 || steadying->cut_threshold > 0.0;
}

/* The scene was cut. A caption of the old scene in the making is of no use, but at least one comes
 * between two that are given up, or a strobe light would end them all. */
static void
note_cut (GstPalmeCaption * self, const GstPalmeCaptionPlace * place)
{
  gst_palme_caption_worker_count (self->worker,
      GST_PALME_CAPTION_COUNT_SCENE_CUTS);
  GST_DEBUG_OBJECT (self, "cut at %" GST_TIME_FORMAT,
      GST_TIME_ARGS (place->pts));
  if (!GST_CLOCK_TIME_IS_VALID (self->cut_at))
    self->cut_at = place->running_time;
  if (self->cut_aborted || !gst_palme_caption_worker_is_busy (self->worker))
    return;
  gst_palme_caption_worker_abort (self->worker);
  self->cut_aborted = TRUE;
}

/* Draws the small picture. FALSE if the frame cannot be read; the stream goes on. */
static gboolean
draw (GstPalmeCaption * self, GstBuffer * buffer, const struct palme_info *info)
{
  const gchar *reason = "out of memory for the small picture";
  gint size = info->image_size;

  gst_palme_caption_picture_set_rule (&self->picture, info);
  if (gst_palme_caption_pixels_resize (&self->drawn, size)
      && gst_palme_caption_picture_take (&self->picture, self->drawn.rgb, size,
          buffer, &reason))
    return TRUE;
  warn_unmappable (self, buffer, reason);
  if (self->sync)
    gst_palme_caption_publish_none (self);
  return FALSE;
}

/* Draws the frame and looks whether the scene was cut: with a threshold of 0 it was not. */
static gboolean
look (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place,
    const GstPalmeCaptionSteadying * steadying, gdouble cut_threshold)
{
  gint64 start = g_get_monotonic_time ();
  struct palme_info info;

  GST_OBJECT_LOCK (self);
  info = *gst_palme_model_get_info (self->model);
  GST_OBJECT_UNLOCK (self);
  if (!draw (self, buffer, &info))
    return FALSE;
  self->drawing = (g_get_monotonic_time () - start) * GST_USECOND;
  if (!is_steadied (steadying)) {
    gst_palme_caption_scenes_reset (&self->scenes);
    return TRUE;
  }
  if (gst_palme_caption_scenes_look (&self->scenes, self->drawn.rgb,
          info.image_size, cut_threshold))
    note_cut (self, place);
  return TRUE;
}

/* Looks whether the scene was cut, at a few rows first where that is possible. Rows that are left out can hide
 * what fine stripes are, so the whole picture has the last word. *drawn: it was drawn. FALSE if the frame cannot be
 * read. */
static gboolean
watch (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place,
    const GstPalmeCaptionSteadying * steadying, gboolean * drawn)
{
  const gint size = GST_PALME_CAPTION_PICTURE_GLIMPSE;
  guint8 rgb[GST_PALME_CAPTION_PICTURE_GLIMPSE *
      GST_PALME_CAPTION_PICTURE_GLIMPSE * 3];

  if (gst_palme_caption_picture_glimpse (&self->picture, rgb, buffer)
      && !gst_palme_caption_scenes_glimpse (&self->scenes, rgb, size,
          steadying->cut_threshold))
    return TRUE;
  *drawn = look (self, buffer, place, steadying, steadying->cut_threshold);
  return *drawn;
}

/* Hands over the frame that was drawn; the worker is idle. FALSE if the frame cannot be read. */
static gboolean
hand_over (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place,
    const GstPalmeCaptionSteadying * steadying)
{
  GstPalmeCaptionPixels pixels;
  const struct palme_info *info;
  GstPalmeCaptionJob job;

  memset (&job, 0, sizeof job);
  job.replace = self->scenes.cut || g_atomic_int_get (&self->caption_now);
  if (g_atomic_int_compare_and_exchange (&self->renew, TRUE, FALSE))
    job.replace = TRUE;
  prepare_job (self, &job, buffer, place, steadying);
  info = gst_palme_model_get_info (job.model);
  /* The model may have been changed since. */
  if (gst_palme_caption_picture_set_rule (&self->picture, info)
      && !draw (self, buffer, info)) {
    gst_palme_caption_worker_cancel (self->worker, &job);
    return FALSE;
  }
  job.picture = self->drawn.rgb;
  if (gst_palme_caption_worker_submit (self->worker, &job, self->drawing)) {
    pixels = self->captioned;
    self->captioned = self->drawn;
    self->drawn = pixels;
    gst_palme_caption_scenes_hand_over (&self->scenes);
  }
  return TRUE;
}

/* Is the caption in effect that of a picture which looks the same? */
static gboolean
is_to_keep (GstPalmeCaption * self, const GstPalmeCaptionSteadying * steadying)
{
  return self->caption != NULL && !g_atomic_int_get (&self->caption_now)
      && !g_atomic_int_get (&self->renew)
      && !gst_palme_caption_steady_is_waiting (&self->steady)
      && gst_palme_caption_scenes_is_same (&self->scenes,
      steadying->scene_threshold);
}

/* The frame is taken: its turn is over, whether it is handed over or not. */
static void
end_turn (GstPalmeCaption * self, GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval)
{
  gboolean first = !schedule->running;

  gst_palme_caption_schedule_take (schedule, time, interval);
  if (first)
    gst_palme_caption_schedule_lead (schedule,
        gst_palme_caption_spread_part (self->place));
  /* If only some frames have timestamps, a caption counts for both schedules. */
  if (schedule == &self->schedule)
    gst_palme_caption_schedule_take (&self->arrivals,
        gst_palme_caption_arrivals_now (&self->clock, GST_ELEMENT (self)),
        interval);
  g_atomic_int_set (&self->caption_now, FALSE);
}

/* Counts a turn of the interval once, even if it passes from frame to frame. */
static void
count_turn (GstPalmeCaption * self, GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval)
{
  gboolean waiting = schedule->waiting;

  if (!gst_palme_caption_schedule_begin_turn (schedule, time, interval))
    return;
  gst_palme_caption_worker_count (self->worker, GST_PALME_CAPTION_COUNT_DUE);
  if (waiting)
    gst_palme_caption_worker_count (self->worker,
        GST_PALME_CAPTION_COUNT_SKIPPED_BUSY);
}

/* A frame that is due: hands it over, in sync mode waits for its caption. If it shows what the last
 * captioned one shows, it keeps that caption. */
static GstFlowReturn
take_frame (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place, GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval,
    const GstPalmeCaptionSteadying * steadying, gboolean drawn)
{
  GstPalmeCaptionResult result;
  gboolean handed;

  count_turn (self, schedule, time, interval);
  if (!gst_palme_caption_worker_begin (self->worker, self->sync)) {
    if (self->sync)
      return GST_FLOW_FLUSHING;
    if (!gst_palme_caption_schedule_hand_on (schedule, interval))
      gst_palme_caption_worker_count (self->worker,
          GST_PALME_CAPTION_COUNT_SKIPPED_BUSY);
    return GST_FLOW_OK;
  }
  handed = drawn || look (self, buffer, place, steadying, 0.0);
  if (handed && is_to_keep (self, steadying)) {
    gst_palme_caption_worker_count (self->worker, GST_PALME_CAPTION_COUNT_KEPT);
    end_turn (self, schedule, time, interval);
    /* A flash looks like two cuts. */
    self->scenes.cut = FALSE;
    self->cut_at = GST_CLOCK_TIME_NONE;
    return GST_FLOW_OK;
  }
  handed = handed && hand_over (self, buffer, place, steadying);
  end_turn (self, schedule, time, interval);
  self->handed = place->shown.start;
  self->taken = time;
  if (!handed || !self->sync)
    return GST_FLOW_OK;

  if (!gst_palme_caption_worker_take (self->worker, GST_CLOCK_TIME_NONE,
          &result))
    return GST_FLOW_FLUSHING;
  return gst_palme_caption_publish (self, &result,
      place) ? GST_FLOW_OK : GST_FLOW_ERROR;
}

/* Is it time to look for a cut? Looking costs as much as the pixels that are read, so where those are many not
 * every frame is looked at. */
static gboolean
may_look (GstPalmeCaption * self, GstClockTime time)
{
  const GstVideoInfo *info = &self->picture.in;
  guint64 rate = self->picture.direct ? LOOK_RATE : LOOK_RATE / 8;
  guint64 pixels = GST_VIDEO_INFO_WIDTH (info);

  if (!self->picture.known)
    return FALSE;
  pixels *= self->picture.direct ?
      MIN (GST_VIDEO_INFO_HEIGHT (info), 2 * GST_PALME_CAPTION_PICTURE_GLIMPSE)
      : GST_VIDEO_INFO_HEIGHT (info);
  return has_passed (self->looked, time,
      gst_util_uint64_scale (pixels, GST_SECOND, rate));
}

/* Is a frame due because the scene was cut? */
static gboolean
is_due_by_cut (GstPalmeCaption * self, GstClockTime time, gdouble max_rate)
{
  gdouble least = max_rate > 0.0 ? GST_SECOND / max_rate : 0.0;

  return self->scenes.cut && has_passed (self->taken, time,
      (GstClockTime) MIN (least, (gdouble) G_MAXINT64));
}

static GstFlowReturn
take_if_due (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place, GstClockTime interval)
{
  GstPalmeCaptionSchedule *schedule = &self->schedule;
  GstPalmeCaptionSteadying steadying;
  gboolean drawn = FALSE, due;
  GstClockTime time;

  if (GST_CLOCK_TIME_IS_VALID (place->pts)) {
    time = gst_palme_caption_media_time (&self->segment, place->pts);
  } else {
    schedule = &self->arrivals;
    time = place->running_time;
  }
  GST_OBJECT_LOCK (self);
  gst_palme_caption_settings_steadying (&self->settings, self->sync,
      &steadying);
  GST_OBJECT_UNLOCK (self);
  due = gst_palme_caption_schedule_is_due (schedule, time, interval)
      || g_atomic_int_get (&self->caption_now);
  if (steadying.cut_threshold > 0.0 && (due || may_look (self, time))) {
    self->looked = time;
    if (!watch (self, buffer, place, &steadying, &drawn))
      return GST_FLOW_OK;
  }
  if (!due && !is_due_by_cut (self, time, steadying.max_rate))
    return GST_FLOW_OK;
  return take_frame (self, buffer, place, schedule, time, interval, &steadying,
      drawn);
}

/* Takes words away that are of the scene before a cut, if no new ones have come in time. */
static void
clear_old_words (GstPalmeCaption * self, const GstPalmeCaptionPlace * place)
{
  GstPalmeCaptionSteadying steadying;

  if (!GST_CLOCK_TIME_IS_VALID (self->cut_at))
    return;
  GST_OBJECT_LOCK (self);
  gst_palme_caption_settings_steadying (&self->settings, self->sync,
      &steadying);
  GST_OBJECT_UNLOCK (self);
  if (steadying.hold == 0
      || !has_passed (self->cut_at, place->running_time, steadying.hold))
    return;
  self->cut_at = GST_CLOCK_TIME_NONE;
  if (self->caption != NULL)
    gst_palme_caption_publish_empty (self, place);
}

/* Picks up a caption that is ready. FALSE if the stream is to stop. */
static gboolean
collect (GstPalmeCaption * self, const GstPalmeCaptionPlace * place)
{
  GstPalmeCaptionResult result;

  if (!gst_palme_caption_worker_take (self->worker, 0, &result))
    return TRUE;
  return gst_palme_caption_publish (self, &result, place);
}

static void
attach (GstPalmeCaption * self, GstBuffer * buffer)
{
  GstPalmeMetaValues values = {
    .text = self->caption,
    .timestamp = self->caption_pts,
    .fresh = self->meta_fresh,
    .latency = self->caption_latency,
    .has_score = TRUE,
    .score = self->caption_score,
    .model = self->caption_model,
    .prompt = self->caption_prompt,
    .labels = self->labels,
  };
  gchar *name;

  if (self->caption == NULL)
    return;
  name = gst_object_get_name (GST_OBJECT (self));
  values.source = name;
  gst_palme_meta_set (buffer, &values);
  self->meta_fresh = FALSE;
  g_free (name);
}

static GstClockTime
add (GstClockTime a, GstClockTime b)
{
  return a < GST_CLOCK_TIME_NONE - 1 - b ? a + b : GST_CLOCK_TIME_NONE - 1;
}

/* When a frame is due next, in running time. NONE if that is after the segment's end, or unknown. */
static GstClockTime
next_due (GstPalmeCaption * self, const GstPalmeCaptionPlace * place,
    GstClockTime interval)
{
  const GstSegment *segment = &self->segment;
  GstClockTime next;

  if (!GST_CLOCK_TIME_IS_VALID (place->pts)) {
    next = gst_palme_caption_schedule_next (&self->arrivals, interval);
    /* With an interval of 0 it is the next frame. */
    return GST_CLOCK_TIME_IS_VALID (next) ?
        MAX (next, add (place->shown.start, place->duration)) : next;
  }
  next = gst_palme_caption_schedule_next (&self->schedule, interval);
  if (!GST_CLOCK_TIME_IS_VALID (next))
    return next;
  return gst_palme_caption_span (segment, gst_palme_caption_media_time (segment,
          next), 0).start;
}

/* The time of the first frame at `time` or later, if frames keep coming as this one did. */
static GstClockTime
frame_after (const GstPalmeCaptionPlace * place, GstClockTime time)
{
  GstClockTime now = place->shown.start, length = place->shown.duration;
  guint64 frames;

  if (time <= now)
    return now;
  frames = (time - now - 1) / length + 1;
  return frames < (GST_CLOCK_TIME_NONE - 1 - now) / length ?
      now + frames * length : time;
}

/* When the next caption is expected, in running time. Cues end there, so that it need not wait. In
 * sync mode that is where the next frame is due. In async mode it is later by the time that the
 * last caption took, and never on the due frame itself. A caption that is late is expected again
 * and again in short steps, which grow. */
static GstClockTime
next_caption (GstPalmeCaption * self, const GstPalmeCaptionPlace * place,
    GstClockTime interval)
{
  const GstSegment *segment = &self->segment;
  GstClockTime now = place->shown.start;
  GstClockTime latency = MAX (self->last_latency, place->shown.duration / 2);
  GstClockTime next, every;

  if (!GST_CLOCK_TIME_IS_VALID (now))
    return now;
  next = next_due (self, place, interval);

  if (self->sync)
    return GST_CLOCK_TIME_IS_VALID (next) ? MAX (next, now + 1) : next;
  if (gst_palme_caption_worker_is_busy (self->worker)
      && GST_CLOCK_TIME_IS_VALID (self->handed))
    next = add (self->handed, latency);
  else if (GST_CLOCK_TIME_IS_VALID (next))
    next = add (frame_after (place, next), latency);
  if (next > now)
    return next;
  every = MAX (gst_palme_caption_played (segment, interval), latency);
  return add (now, MAX (every / 4, now - next));
}

static void
send_text (GstPalmeCaption * self, const GstPalmeCaptionPlace * place,
    gboolean picture, GstClockTime next)
{
  const GstSegment *segment = &self->segment;
  GstPalmeCuesFrame frame = {
    .start = place->shown.start,
    .duration = place->shown.duration,
    .next = next,
    .limit = GST_CLOCK_TIME_NONE,
  };

  if (!GST_CLOCK_TIME_IS_VALID (frame.start))
    return;
  if (segment->rate > 0.0)
    frame.limit = gst_palme_caption_running_time (segment, segment->stop);
  /* A frame that is not a picture is a GAP and leaves the cue in effect. Backwards the video has no
   * cues. */
  if (picture)
    frame.caption = self->caption && segment->rate > 0.0 ? self->caption : "";
  gst_palme_caption_textpad_frame (self->text, &frame);
  if (picture)
    self->text_fresh = FALSE;
}

/* Frames that their source flags as damaged, or as not new, are never due. */
static void
note_no_picture (GstPalmeCaption * self, GstBuffer * buffer, gboolean picture)
{
  self->no_pictures = picture ? 0 : MIN (self->no_pictures, G_MAXUINT - 1) + 1;
  if (self->no_pictures != MANY_NO_PICTURES || self->caption != NULL)
    return;
  GST_ELEMENT_WARNING (self, STREAM, DECODE,
      ("There are no captions, because the source or the decoder marks every "
          "frame as damaged or as no new picture. Such frames pass without a "
          "caption."), ("%d frames in a row; the last one has the flags 0x%x",
          MANY_NO_PICTURES, (guint) GST_BUFFER_FLAGS (buffer)));
}

/* Raw video is in presentation order, so a DTS can stand in for a missing PTS. */
static GstClockTime
timestamp_of (GstBuffer * buffer)
{
  return GST_BUFFER_PTS_IS_VALID (buffer) ? GST_BUFFER_PTS (buffer) :
      GST_BUFFER_DTS (buffer);
}

GstFlowReturn
gst_palme_caption_frame_process (GstPalmeCaption * self, GstBuffer * buffer)
{
  gboolean picture = !GST_BUFFER_FLAG_IS_SET (buffer, NOT_A_PICTURE);
  GstFlowReturn flow = GST_FLOW_OK;
  GstClockTime interval;
  GstPalmeCaptionPlace place;

  if (!self->decided)
    decide_mode (self);
  gst_palme_caption_worker_count (self->worker, GST_PALME_CAPTION_COUNT_FRAMES);
  locate (self, &place, timestamp_of (buffer), GST_BUFFER_DURATION (buffer));
  self->frames++;
  if (GST_CLOCK_TIME_IS_VALID (place.stream_time))
    gst_object_sync_values (GST_OBJECT (self), place.stream_time);
  GST_OBJECT_LOCK (self);
  interval = self->settings.interval;
  GST_OBJECT_UNLOCK (self);

  if (!self->sync && !collect (self, &place))
    return GST_FLOW_ERROR;
  if (!self->sync)
    gst_palme_caption_publish_partial (self);
  note_no_picture (self, buffer, picture);
  if (picture)
    flow = take_if_due (self, buffer, &place, interval);
  clear_old_words (self, &place);
  if (flow != GST_FLOW_OK)
    return flow;

  attach (self, buffer);
  send_text (self, &place, picture, next_caption (self, &place, interval));
  if (GST_CLOCK_TIME_IS_VALID (place.shown.start))
    self->frame_shown = place.shown;
  return GST_FLOW_OK;
}

/* ---- Without a frame ------------------------------------------------------------------------- */

void
gst_palme_caption_frame_gap (GstPalmeCaption * self, GstEvent * event)
{
  gboolean async = self->decided && !self->sync;
  GstClockTime pts, duration;
  GstPalmeCaptionPlace place;

  gst_event_parse_gap (event, &pts, &duration);
  locate (self, &place, pts, duration);
  /* An error is posted already; the event passes. */
  if (async)
    collect (self, &place);
  send_text (self, &place, async && self->text_fresh, GST_CLOCK_TIME_NONE);
}

void
gst_palme_caption_frame_drain (GstPalmeCaption * self)
{
  const GstSegment *segment = &self->segment;
  GstPalmeCaptionResult result;
  GstClockTime timeout, end, limit;
  GstPalmeCaptionPlace place = { 0 };

  if (!self->decided || self->sync
      || !gst_palme_caption_worker_is_busy (self->worker))
    return;
  GST_OBJECT_LOCK (self);
  timeout = self->settings.drain_timeout;
  GST_OBJECT_UNLOCK (self);

  GST_DEBUG_OBJECT (self, "waiting for the last caption, at most %"
      GST_TIME_FORMAT, GST_TIME_ARGS (timeout));
  if (!gst_palme_caption_worker_take (self->worker, timeout, &result)) {
    GST_INFO_OBJECT (self, "the last caption did not come in time");
    gst_palme_caption_worker_abort (self->worker);
    return;
  }

  /* The caption appears after the last frame, or on it if nothing is shown later. */
  place.number = self->frames;
  place.shown = self->frame_shown;
  if (GST_CLOCK_TIME_IS_VALID (place.shown.start)) {
    end = add (place.shown.start, place.shown.duration);
    limit = segment->rate > 0.0 ?
        gst_palme_caption_running_time (segment,
        segment->stop) : GST_CLOCK_TIME_NONE;
    if (end < limit)            /* which NONE is as well */
      place.shown.start = end;
  }
  place.running_time = place.shown.start;
  if (gst_palme_caption_publish (self, &result, &place) && self->text_fresh)
    send_text (self, &place, TRUE, GST_CLOCK_TIME_NONE);
}
