/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-frame.c - what palmecaption does with each frame.
 *
 * In async mode captions that are ready are published first. Then, if the frame is due and the worker
 * is idle, its pictures are drawn and handed over (gstpalmecaption-take.c). Last, the captions in effect go onto
 * the buffer and to the text pad. In sync mode a frame that is due is handed over first and waits for its
 * own captions. Text buffers leave through the queue of the text pad, never from here.
 */
#include "gstpalmecaption-private.h"

#include <string.h>

#include "gstpalmeanalytics.h"
#include "gstpalmemeta.h"

#define GST_CAT_DEFAULT gst_palme_caption_debug

/* Flags of frames that are not a new picture, or not to be shown. */
#define NOT_A_PICTURE (GST_BUFFER_FLAG_GAP | GST_BUFFER_FLAG_CORRUPTED \
    | GST_BUFFER_FLAG_DECODE_ONLY)

/* After so many of them without a caption, none is likely to come: ten seconds of most videos. */
#define MANY_NO_PICTURES 300

/* After so many frames without a region of interest one is told that there are none. */
#define MANY_WITHOUT_REGIONS 300
#define NO_REGIONS "There are no captions yet, because no frame has had a region of interest, which regions=roi asks " \
    "for. They come from a detector in front of palmecaption, as GstVideoRegionOfInterestMeta."

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
  gst_palme_caption_scenes_reset (&self->whole.scenes);
  self->looked = self->taken = self->cut_at = GST_CLOCK_TIME_NONE;
  self->cut_aborted = FALSE;
  gst_palme_caption_publish_none (self);
}

/* ---- The mode -------------------------------------------------------------------- */

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

/* ---- Which regions --------------------------------------------------------------------------- */

static void
warn_outside (GstPalmeCaption * self,
    const GstVideoRegionOfInterestMeta * meta, gint width, gint height)
{
  if (self->warned_outside)
    return;
  self->warned_outside = TRUE;
  GST_ELEMENT_WARNING (self, STREAM, FORMAT,
      ("A region of interest gets no caption, because none of it lies in the "
          "frame or in the property \"region\". An element that scales the "
          "video behind the detector may not scale its regions."),
      ("%ux%u at %u, %u in a frame of %dx%d", meta->w, meta->h, meta->x,
          meta->y, width, height));
}

/* A detector that runs and sees nothing cannot be told from none, so this is no warning. Of an INFO message
 * gst-launch-1.0 prints the debug string alone. */
static void
note_no_regions (GstPalmeCaption * self, guint count)
{
  if (count > 0)
    self->without_regions = G_MAXUINT;
  if (self->without_regions == G_MAXUINT
      || ++self->without_regions < MANY_WITHOUT_REGIONS)
    return;
  self->without_regions = G_MAXUINT;
  GST_ELEMENT_INFO (self, STREAM, FORMAT, (NO_REGIONS), (NO_REGIONS));
}

static void
find_regions (GstPalmeCaption * self, GstBuffer * buffer,
    const GstVideoRectangle * bounds, gint width, gint height, GstClockTime now)
{
  GstPalmeMetaRegion areas[GST_PALME_CAPTION_REGIONS_MAX];
  gpointer state = NULL;
  guint count = 0;
  GstMeta *meta;

  while (count < GST_PALME_CAPTION_REGIONS_MAX
      && (meta = gst_buffer_iterate_meta_filtered (buffer, &state,
              GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE)) != NULL) {
    const GstVideoRegionOfInterestMeta *found = (gpointer) meta;
    GstPalmeMetaRegion *area = &areas[count];

    if (!gst_palme_caption_rect_clip (&area->rect, found->x, found->y,
            found->w, found->h, bounds)) {
      warn_outside (self, found, width, height);
      continue;
    }
    area->whole = FALSE;
    area->of_interest = TRUE;
    area->id = found->id;
    area->type = g_quark_to_string (found->roi_type);
    count++;
  }
  gst_palme_caption_regions_follow (&self->regions, areas, count, now);
  note_no_regions (self, count);
}

/* Another part of the frame, or regions in place of the frame. */
static void
change_regions (GstPalmeCaption * self, gboolean roi,
    const GstPalmeCaptionPart * part)
{
  if (roi != self->roi) {
    gst_palme_caption_worker_abort (self->worker);
    self->roi = roi;
    self->without_regions = 0;
    gst_palme_caption_publish_none (self);
  }
  self->part = *part;
  self->warned_unmappable = self->warned_outside = FALSE;
  gst_palme_caption_scenes_reset (&self->whole.scenes);
  self->cut_at = GST_CLOCK_TIME_NONE;
}

static void
find_what_to_caption (GstPalmeCaption * self, GstBuffer * buffer,
    const GstPalmeCaptionPlace * place)
{
  GstPalmeCaptionPart part;
  GstVideoRectangle bounds = { 0, 0, 0, 0 };
  gint width, height;
  gboolean roi;

  GST_OBJECT_LOCK (self);
  roi = self->settings.regions == GST_PALME_REGIONS_ROI;
  part = self->settings.part;
  GST_OBJECT_UNLOCK (self);
  if (roi != self->roi || !gst_palme_caption_part_is_equal (&part, &self->part))
    change_regions (self, roi, &part);
  gst_palme_caption_picture_get_size (&self->picture, &width, &height);
  self->outside = !gst_palme_caption_part_resolve (&self->part, width, height,
      &bounds);
  if (roi) {
    find_regions (self, buffer, &bounds, width, height, place->running_time);
    gst_palme_caption_publish_regions (self);
  } else {
    self->whole.area.whole = !self->part.set;
    self->whole.area.rect = bounds;
  }
}

/* ---- The captions ------------------------------------------------------------------------------ */

/* Picks up captions that are ready. FALSE if the stream is to stop. */
static gboolean
collect (GstPalmeCaption * self, const GstPalmeCaptionPlace * place)
{
  GstPalmeCaptionResult result;

  while (gst_palme_caption_worker_take (self->worker, 0, &result))
    if (!gst_palme_caption_publish (self, &result, place))
      return FALSE;
  return TRUE;
}

static void
attach_region (GstBuffer * buffer, GstPalmeCaptionRegion * region,
    const gchar * source, gboolean analytics)
{
  GstPalmeCaptionShown *shown = &region->shown;
  GstPalmeMetaValues values = {
    .text = shown->text,
    .timestamp = shown->pts,
    .fresh = shown->fresh,
    .latency = shown->latency,
    .has_score = TRUE,
    .score = shown->score,
    .model = shown->model,
    .prompt = shown->prompt,
    .source = source,
    .labels = shown->labels,
    .region = &region->area,
  };

  if (shown->text == NULL)
    return;
  gst_palme_meta_add (buffer, &values);
#ifdef GST_PALME_HAVE_ANALYTICS
  if (analytics && shown->fresh)
    gst_palme_analytics_add (buffer, &values);
#else
  (void) analytics;
#endif
  shown->fresh = FALSE;
}

/* Captions that are on the buffer already, of another palmecaption, are replaced. */
static void
attach (GstPalmeCaption * self, GstBuffer * buffer)
{
  gboolean analytics;
  gchar *name;
  guint i;

  if (self->caption == NULL)
    return;
  GST_OBJECT_LOCK (self);
  analytics = self->settings.analytics_meta;
  GST_OBJECT_UNLOCK (self);
  name = gst_object_get_name (GST_OBJECT (self));
  gst_palme_meta_clear (buffer);
  if (!self->roi)
    attach_region (buffer, &self->whole, name, analytics);
  for (i = 0; self->roi && i < self->regions.n_here; i++)
    attach_region (buffer, self->regions.here[i], name, analytics);
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
  GstClockTime interval, next;
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

  find_what_to_caption (self, buffer, &place);
  if (!self->sync && !collect (self, &place))
    return GST_FLOW_ERROR;
  /* The property names no part of this frame, so words of earlier frames are not about it. */
  if (!self->roi && self->outside && self->whole.shown.text != NULL)
    gst_palme_caption_publish_none (self);
  if (!self->sync)
    gst_palme_caption_publish_partial (self);
  note_no_picture (self, buffer, picture);
  if (picture)
    flow = gst_palme_caption_take_if_due (self, buffer, &place);
  gst_palme_caption_drop_old_words (self, &place);
  if (flow != GST_FLOW_OK)
    return flow;

  attach (self, buffer);
  next = next_caption (self, &place, interval);
  /* Then an empty caption comes, if no other one does before. NONE is later than any time. */
  send_text (self, &place, picture, MIN (next,
          gst_palme_caption_old_words_end (self)));
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

/* The captions of the last frame appear after it, or on it if nothing is shown later. */
static void
locate_last (GstPalmeCaption * self, GstPalmeCaptionPlace * place)
{
  const GstSegment *segment = &self->segment;
  GstClockTime end, limit;

  memset (place, 0, sizeof *place);
  place->number = self->frames;
  place->shown = self->frame_shown;
  if (GST_CLOCK_TIME_IS_VALID (place->shown.start)) {
    end = add (place->shown.start, place->shown.duration);
    limit = segment->rate > 0.0 ?
        gst_palme_caption_running_time (segment,
        segment->stop) : GST_CLOCK_TIME_NONE;
    if (end < limit)            /* which NONE is as well */
      place->shown.start = end;
  }
  place->running_time = place->shown.start;
}

/* What is left of the timeout, which began at `start`; at least a moment, in which nothing is waited for. */
static GstClockTime
time_left (GstClockTime timeout, gint64 start)
{
  GstClockTime passed = (g_get_monotonic_time () - start) * GST_USECOND;

  if (!GST_CLOCK_TIME_IS_VALID (timeout))
    return timeout;
  return timeout > passed ? timeout - passed : 0;
}

void
gst_palme_caption_frame_drain (GstPalmeCaption * self)
{
  gint64 start = g_get_monotonic_time ();
  GstPalmeCaptionResult result;
  GstPalmeCaptionPlace place;
  GstClockTime timeout;
  gboolean ok = TRUE;

  if (!self->decided || self->sync
      || !gst_palme_caption_worker_is_busy (self->worker))
    return;
  GST_OBJECT_LOCK (self);
  timeout = self->settings.drain_timeout;
  GST_OBJECT_UNLOCK (self);

  GST_DEBUG_OBJECT (self, "waiting for the last captions, at most %"
      GST_TIME_FORMAT, GST_TIME_ARGS (timeout));
  locate_last (self, &place);
  while (ok && gst_palme_caption_worker_is_busy (self->worker)) {
    if (!gst_palme_caption_worker_take (self->worker, time_left (timeout,
                start), &result)) {
      GST_INFO_OBJECT (self, "the last caption did not come in time");
      gst_palme_caption_worker_abort (self->worker);
      break;
    }
    ok = gst_palme_caption_publish (self, &result, &place);
  }
  if (ok && self->text_fresh)
    send_text (self, &place, TRUE, GST_CLOCK_TIME_NONE);
}
