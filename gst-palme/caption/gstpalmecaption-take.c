/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-take.c - which pictures of a frame are captioned, and how they are handed over.
 *
 * A frame has one picture, all of it or the part that the property `region` names, or with regions=roi one for
 * each region of interest. The pictures of a frame are drawn while it is mapped once, and go to the worker as one
 * job. The worker reads them there while the next frames are looked at, so those are drawn elsewhere.
 */
#include "gstpalmecaption-private.h"

#include <math.h>
#include <string.h>

#define GST_CAT_DEFAULT gst_palme_caption_debug

/* So many pixels a second are looked at for cuts. Of formats that the engine reads that is a few rows of every frame,
 * whatever its size; those that take a conversion are drawn whole, each pixel at about eight times the cost: every
 * frame up to 480x270 at 30 frames a second, two a second of 1920x1080. */
#define LOOK_RATE (32 * 1000 * 1000)

/* What is known of the frame that is being taken. */
typedef struct
{
  GstBuffer *buffer;
  const GstPalmeCaptionPlace *place;
  GstPalmeCaptionSteadying steadying;
  GstPalmeCaptionSchedule *schedule;
  GstClockTime time, interval;  /* in that schedule */
  guint most;                   /* regions */
  gboolean mapped;
  GstVideoFrame frame;
  GstClockTime drawing;         /* how long the last picture took */
} Turn;

/* ---- The pictures ---------------------------------------------------------------------------- */

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

/* Maps the frame, once. FALSE: *reason says why not. */
static gboolean
map_frame (GstPalmeCaption * self, Turn * turn, const gchar ** reason)
{
  if (!turn->mapped)
    turn->mapped = gst_palme_caption_picture_map (&self->picture, &turn->frame,
        turn->buffer, reason);
  return turn->mapped;
}

/* Draws a small picture of a rectangle, or of all of the frame. FALSE if the frame cannot be read; the
 * stream goes on. */
static gboolean
draw (GstPalmeCaption * self, Turn * turn, GstPalmeCaptionPixels * pixels,
    const GstPalmeMetaRegion * area, const struct palme_info *info)
{
  const gchar *reason = "out of memory for the small picture";
  gint64 start = g_get_monotonic_time ();
  gboolean ok;

  gst_palme_caption_picture_set_rule (&self->picture, info);
  ok = map_frame (self, turn, &reason)
      && gst_palme_caption_pixels_resize (pixels, info->image_size);
  if (ok && !area->whole && self->outside) {
    reason = "the property \"region\" names a part that lies outside of it";
    ok = FALSE;
  }
  ok = ok && gst_palme_caption_picture_draw (&self->picture, pixels->rgb,
      info->image_size, &turn->frame, area->whole ? NULL : &area->rect,
      &reason);
  turn->drawing = (g_get_monotonic_time () - start) * GST_USECOND;
  if (ok)
    return TRUE;
  warn_unmappable (self, turn->buffer, reason);
  if (self->sync)
    gst_palme_caption_publish_none (self);
  return FALSE;
}

static void
end_drawing (Turn * turn)
{
  if (turn->mapped)
    gst_video_frame_unmap (&turn->frame);
  turn->mapped = FALSE;
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

/* Draws the frame, or the part of it, and looks whether the scene was cut: with a threshold of 0 it was not. */
static gboolean
look (GstPalmeCaption * self, Turn * turn, gdouble cut_threshold)
{
  const GstPalmeCaptionSteadying *steadying = &turn->steadying;
  GstPalmeCaptionScenes *scenes = &self->whole.scenes;
  struct palme_info info;

  GST_OBJECT_LOCK (self);
  info = *gst_palme_model_get_info (self->model);
  GST_OBJECT_UNLOCK (self);
  if (!draw (self, turn, &self->drawn, &self->whole.area, &info))
    return FALSE;
  if (steadying->scene_threshold <= 0.0 && steadying->cut_threshold <= 0.0)
    gst_palme_caption_scenes_reset (scenes);
  else if (gst_palme_caption_scenes_look (scenes, self->drawn.rgb,
          info.image_size, cut_threshold))
    note_cut (self, turn->place);
  return TRUE;
}

/* Looks whether the scene was cut, at a few rows first where that is possible. Rows that are left out can hide
 * what fine stripes are, so the whole picture has the last word. *drawn: it was drawn. FALSE if the frame cannot be
 * read. */
static gboolean
watch (GstPalmeCaption * self, Turn * turn, gboolean * drawn)
{
  const gint size = GST_PALME_CAPTION_PICTURE_GLIMPSE;
  const GstPalmeMetaRegion *area = &self->whole.area;
  gdouble threshold = turn->steadying.cut_threshold;
  guint8 rgb[GST_PALME_CAPTION_PICTURE_GLIMPSE *
      GST_PALME_CAPTION_PICTURE_GLIMPSE * 3];
  const gchar *reason;

  if ((area->whole || !self->outside) && map_frame (self, turn, &reason)
      && gst_palme_caption_picture_glimpse (&self->picture, rgb, &turn->frame,
          area->whole ? NULL : &area->rect)
      && !gst_palme_caption_scenes_glimpse (&self->whole.scenes, rgb, size,
          threshold))
    return TRUE;
  *drawn = look (self, turn, threshold);
  return *drawn;
}

/* Is the caption in effect that of a picture which looks the same? */
static gboolean
is_to_keep (GstPalmeCaption * self, const GstPalmeCaptionRegion * region,
    const GstPalmeCaptionSteadying * steadying)
{
  return region->shown.text != NULL && !g_atomic_int_get (&self->caption_now)
      && region->edition == self->edition
      && !gst_palme_caption_steady_is_waiting (&region->steady)
      && gst_palme_caption_scenes_is_same (&region->scenes,
      steadying->scene_threshold);
}

/* ---- The hand-over --------------------------------------------------------------------------- */

/* The property, or what the model's author recommends. Object lock held. */
static gdouble
min_score_of (GstPalmeCaption * self)
{
  const struct palme_info *info = gst_palme_model_get_info (self->model);

  if (self->settings.min_score <= 0.0)
    return self->settings.min_score;
  return info->has_min_score ? info->min_score : -INFINITY;
}

/* Beam search has no words before its end. */
static void
warn_no_partial (GstPalmeCaption * self, const GstPalmeCaptionJob * job)
{
  gint beams = job->options.beams > 0 ? job->options.beams :
      gst_palme_model_get_info (job->model)->beams;

  if (!job->partial || beams < 2 || job->options.temperature > 0.0
      || self->warned_partial)
    return;
  self->warned_partial = TRUE;
  GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS,
      ("The property \"partial\" tells nothing with a search of %d beams. "
          "Set \"beams\" to 1.", beams), (NULL));
}

/* Takes the model and the settings as they are now. The job has no pictures yet. */
static void
prepare_job (GstPalmeCaption * self, const Turn * turn,
    GstPalmeCaptionJob * job)
{
  const GstPalmeCaptionPlace *place = turn->place;

  memset (job, 0, sizeof *job);
  job->frame.pts = place->pts;
  job->frame.duration = GST_BUFFER_DURATION (turn->buffer);
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
  warn_no_partial (self, job);
}

static void
add_view (GstPalmeCaption * self, const Turn * turn, GstPalmeCaptionJob * job,
    const GstPalmeCaptionRegion * region, const GstPalmeCaptionPixels * pixels)
{
  GstPalmeCaptionView view = {
    .region = region->serial,
    .area = region->area,
    .pixels = pixels->rgb,
    .resize = turn->drawing,
    .replace = region->scenes.cut || region->edition != self->edition
        || g_atomic_int_get (&self->caption_now),
  };

  if (!view.replace && turn->steadying.margin > 0.0
      && region->shown.text != NULL && region->shown.text[0] != '\0')
    view.shown = g_strdup (region->shown.words);
  gst_palme_caption_job_add (job, &view);
}

static void
note_handed (GstPalmeCaption * self, GstPalmeCaptionRegion * region)
{
  gst_palme_caption_scenes_hand_over (&region->scenes);
  region->edition = self->edition;
}

/* Hands over the picture that was drawn; the worker is idle. Returns how many were handed over: none if the
 * frame cannot be read. */
static guint
hand_over (GstPalmeCaption * self, Turn * turn)
{
  const struct palme_info *info;
  GstPalmeCaptionPixels pixels;
  GstPalmeCaptionJob job;

  prepare_job (self, turn, &job);
  info = gst_palme_model_get_info (job.model);
  /* The model may have been changed since. */
  if (gst_palme_caption_picture_set_rule (&self->picture, info)
      && !draw (self, turn, &self->drawn, &self->whole.area, info)) {
    gst_palme_caption_worker_cancel (self->worker, &job);
    return 0;
  }
  add_view (self, turn, &job, &self->whole, &self->drawn);
  if (gst_palme_caption_worker_submit (self->worker, &job)) {
    pixels = self->handed_pixels[0];
    self->handed_pixels[0] = self->drawn;
    self->drawn = pixels;
    note_handed (self, &self->whole);
  }
  return 1;
}

/* The same for the regions that have waited longest, without those that look as they did. */
static guint
hand_over_regions (GstPalmeCaption * self, Turn * turn)
{
  GstPalmeCaptionRegion *chosen[GST_PALME_CAPTION_MAX_REGIONS];
  guint i, handed = 0, count =
      gst_palme_caption_regions_choose (&self->regions, chosen, turn->most);
  const struct palme_info *info;
  GstPalmeCaptionJob job;

  prepare_job (self, turn, &job);
  info = gst_palme_model_get_info (job.model);
  for (i = 0; i < count; i++) {
    GstPalmeCaptionPixels *pixels = &self->handed_pixels[handed];

    if (!draw (self, turn, pixels, &chosen[i]->area, info)) {
      gst_palme_caption_worker_cancel (self->worker, &job);
      return 0;
    }
    if (turn->steadying.scene_threshold > 0.0)
      gst_palme_caption_scenes_look (&chosen[i]->scenes, pixels->rgb,
          info->image_size, 0.0);
    else
      gst_palme_caption_scenes_reset (&chosen[i]->scenes);
    if (is_to_keep (self, chosen[i], &turn->steadying)) {
      gst_palme_caption_worker_count (self->worker,
          GST_PALME_CAPTION_COUNT_KEPT);
      continue;
    }
    add_view (self, turn, &job, chosen[i], pixels);
    chosen[handed++] = chosen[i];
  }
  if (handed == 0) {
    gst_palme_caption_worker_cancel (self->worker, &job);
    return 0;
  }
  if (gst_palme_caption_worker_submit (self->worker, &job))
    for (i = 0; i < handed; i++)
      note_handed (self, chosen[i]);
  return handed;
}

/* ---- The turn -------------------------------------------------------------------------------- */

/* The frame is taken: its turn is over, whether it is handed over or not. */
static void
end_turn (GstPalmeCaption * self, const Turn * turn)
{
  gboolean first = !turn->schedule->running;

  gst_palme_caption_schedule_take (turn->schedule, turn->time, turn->interval);
  if (first)
    gst_palme_caption_schedule_lead (turn->schedule,
        gst_palme_caption_spread_part (self->place));
  /* If only some frames have timestamps, a caption counts for both schedules. */
  if (turn->schedule == &self->schedule)
    gst_palme_caption_schedule_take (&self->arrivals,
        gst_palme_caption_arrivals_now (&self->clock, GST_ELEMENT (self)),
        turn->interval);
  g_atomic_int_set (&self->caption_now, FALSE);
}

/* Counts a turn of the interval once, even if it passes from frame to frame. */
static void
count_turn (GstPalmeCaption * self, const Turn * turn)
{
  gboolean waiting = turn->schedule->waiting;

  if (!gst_palme_caption_schedule_begin_turn (turn->schedule, turn->time,
          turn->interval))
    return;
  gst_palme_caption_worker_count (self->worker, GST_PALME_CAPTION_COUNT_DUE);
  if (waiting)
    gst_palme_caption_worker_count (self->worker,
        GST_PALME_CAPTION_COUNT_SKIPPED_BUSY);
}

/* Waits for the captions of the frame and publishes them. */
static GstFlowReturn
wait_for_captions (GstPalmeCaption * self, const Turn * turn, guint count)
{
  GstPalmeCaptionResult result;

  for (; count > 0; count--) {
    if (!gst_palme_caption_worker_take (self->worker, GST_CLOCK_TIME_NONE,
            &result))
      return GST_FLOW_FLUSHING;
    if (!gst_palme_caption_publish (self, &result, turn->place))
      return GST_FLOW_ERROR;
  }
  return GST_FLOW_OK;
}

/* A frame that is due: hands it over, in sync mode waits for its captions. What shows the same as the last
 * captioned picture keeps its caption. `drawn` means that the picture is there. */
static GstFlowReturn
take_frame (GstPalmeCaption * self, Turn * turn, gboolean drawn)
{
  guint handed = 0;

  count_turn (self, turn);
  if (!gst_palme_caption_worker_begin (self->worker, self->sync)) {
    if (self->sync)
      return GST_FLOW_FLUSHING;
    if (!gst_palme_caption_schedule_hand_on (turn->schedule, turn->interval))
      gst_palme_caption_worker_count (self->worker,
          GST_PALME_CAPTION_COUNT_SKIPPED_BUSY);
    return GST_FLOW_OK;
  }
  if (self->roi) {
    handed = hand_over_regions (self, turn);
  } else if (drawn || look (self, turn, 0.0)) {
    if (is_to_keep (self, &self->whole, &turn->steadying)) {
      gst_palme_caption_worker_count (self->worker,
          GST_PALME_CAPTION_COUNT_KEPT);
      end_turn (self, turn);
      /* A flash looks like two cuts. */
      self->whole.scenes.cut = FALSE;
      self->cut_at = GST_CLOCK_TIME_NONE;
      return GST_FLOW_OK;
    }
    handed = hand_over (self, turn);
  }
  end_turn (self, turn);
  self->handed = turn->place->shown.start;
  self->taken = turn->time;
  return self->sync ? wait_for_captions (self, turn, handed) : GST_FLOW_OK;
}

/* TRUE if so much time has passed since `since`, or no such time is known, or the stream jumped back. */
static gboolean
has_passed (GstClockTime since, GstClockTime now, GstClockTime least)
{
  return !GST_CLOCK_TIME_IS_VALID (since) || now < since
      || now - since >= least;
}

/* Is it time to look for a cut? Looking costs as much as the pixels that are read, so where those are many not
 * every frame is looked at. What takes a conversion is converted in the whole width. */
static gboolean
may_look (GstPalmeCaption * self, GstClockTime time)
{
  const GstVideoRectangle *rect = &self->whole.area.rect;
  gboolean direct = self->picture.direct;
  guint64 pixels, rate = direct ? LOOK_RATE : LOOK_RATE / 8;

  if (!self->picture.known)
    return FALSE;
  if (direct)
    pixels = (guint64) rect->w *
        MIN (rect->h, 2 * GST_PALME_CAPTION_PICTURE_GLIMPSE);
  else
    pixels = (guint64) GST_VIDEO_INFO_WIDTH (&self->picture.in) * rect->h;
  return has_passed (self->looked, time,
      gst_util_uint64_scale (pixels, GST_SECOND, rate));
}

/* Is a frame due because the scene was cut? */
static gboolean
is_due_by_cut (GstPalmeCaption * self, GstClockTime time, gdouble max_rate)
{
  gdouble least = max_rate > 0.0 ? GST_SECOND / max_rate : 0.0;

  return self->whole.scenes.cut && has_passed (self->taken, time,
      (GstClockTime) MIN (least, (gdouble) G_MAXINT64));
}

/* Without regions there is nothing to take, and the turn is that of the next frame that has some. Frames that cannot
 * be read have none that are known. */
static GstFlowReturn
take_regions_if_due (GstPalmeCaption * self, Turn * turn, gboolean due)
{
  const gchar *reason;

  if (due && !self->picture.known
      && !gst_palme_caption_picture_map (&self->picture, &turn->frame,
          turn->buffer, &reason)) {
    warn_unmappable (self, turn->buffer, reason);
    return GST_FLOW_OK;
  }
  if (!due || self->regions.n_here == 0)
    return GST_FLOW_OK;
  return take_frame (self, turn, FALSE);
}

static GstFlowReturn
take_whole_if_due (GstPalmeCaption * self, Turn * turn, gboolean due)
{
  gboolean drawn = FALSE;

  if (turn->steadying.cut_threshold > 0.0 && (due
          || may_look (self, turn->time))) {
    self->looked = turn->time;
    if (!watch (self, turn, &drawn))
      return GST_FLOW_OK;
  }
  if (!due && !is_due_by_cut (self, turn->time, turn->steadying.max_rate))
    return GST_FLOW_OK;
  return take_frame (self, turn, drawn);
}

/* In sync mode captions are repeatable, which frames that are due by their arrival are not. */
static void
warn_no_timestamps (GstPalmeCaption * self, const Turn * turn)
{
  if (!self->sync || turn->interval == 0 || self->warned_no_timestamps)
    return;
  self->warned_no_timestamps = TRUE;
  GST_ELEMENT_WARNING (self, STREAM, FORMAT,
      ("Frames have no timestamps, so \"interval\" counts from their arrival, "
          "and which of them are captioned depends on how fast they come. "
          "With interval=0 every frame is captioned."), (NULL));
}

GstFlowReturn
gst_palme_caption_take_if_due (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place)
{
  Turn turn = {.buffer = buffer,.place = place,.schedule = &self->schedule };
  GstFlowReturn flow;
  gboolean due;

  GST_OBJECT_LOCK (self);
  gst_palme_caption_settings_steadying (&self->settings, self->sync,
      &turn.steadying);
  turn.interval = self->settings.interval;
  turn.most = self->settings.max_regions;
  GST_OBJECT_UNLOCK (self);
  if (GST_CLOCK_TIME_IS_VALID (place->pts)) {
    turn.time = gst_palme_caption_media_time (&self->segment, place->pts);
  } else {
    turn.schedule = &self->arrivals;
    turn.time = place->running_time;
    warn_no_timestamps (self, &turn);
  }
  if (g_atomic_int_compare_and_exchange (&self->renew, TRUE, FALSE))
    self->edition++;
  due = gst_palme_caption_schedule_is_due (turn.schedule, turn.time,
      turn.interval) || g_atomic_int_get (&self->caption_now);
  if (self->roi)
    flow = take_regions_if_due (self, &turn, due);
  else
    flow = take_whole_if_due (self, &turn, due);
  end_drawing (&turn);
  return flow;
}

/* ---- After a cut ----------------------------------------------------------------------------- */

GstClockTime
gst_palme_caption_old_words_end (GstPalmeCaption * self)
{
  GstPalmeCaptionSteadying steadying;

  if (!GST_CLOCK_TIME_IS_VALID (self->cut_at))
    return GST_CLOCK_TIME_NONE;
  GST_OBJECT_LOCK (self);
  gst_palme_caption_settings_steadying (&self->settings, self->sync,
      &steadying);
  GST_OBJECT_UNLOCK (self);
  if (steadying.hold == 0
      || steadying.hold >= GST_CLOCK_TIME_NONE - self->cut_at)
    return GST_CLOCK_TIME_NONE;
  return self->cut_at + steadying.hold;
}

void
gst_palme_caption_drop_old_words (GstPalmeCaption * self,
    const GstPalmeCaptionPlace * place)
{
  GstClockTime end = gst_palme_caption_old_words_end (self);

  /* After a jump back the cut means nothing any more. */
  if (!GST_CLOCK_TIME_IS_VALID (end) || (place->running_time < end
          && place->running_time >= self->cut_at))
    return;
  self->cut_at = GST_CLOCK_TIME_NONE;
  if (self->whole.shown.text != NULL)
    gst_palme_caption_publish_empty (self, place);
}
