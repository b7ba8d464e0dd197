/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-time.c - where a frame is in time.
 */
#include "gstpalmecaption-time.h"

#include <math.h>

/* The largest time, one below GST_CLOCK_TIME_NONE. */
#define LAST (GST_CLOCK_TIME_NONE - 1)

/* The end of a segment as GStreamer's own functions take it; NONE if it has none. */
static GstClockTime
end_of (const GstSegment * segment)
{
  if (segment->stop == GST_CLOCK_TIME_NONE
      && segment->duration != GST_CLOCK_TIME_NONE)
    return segment->start + segment->duration;
  return segment->stop;
}

static gboolean
is_usable (gdouble rate)
{
  return isfinite (rate) && rate != 0.0;
}

static gboolean
has_running_time (const GstSegment * segment)
{
  return segment->format == GST_FORMAT_TIME && is_usable (segment->rate)
      && (segment->rate > 0.0 || (end_of (segment) != GST_CLOCK_TIME_NONE
          && end_of (segment) >= segment->offset));
}

GstClockTime
gst_palme_caption_running_time (const GstSegment * segment, GstClockTime time)
{
  if (!GST_CLOCK_TIME_IS_VALID (time) || !has_running_time (segment))
    return GST_CLOCK_TIME_NONE;
  return gst_segment_to_running_time (segment, GST_FORMAT_TIME, time);
}

GstClockTime
gst_palme_caption_stream_time (const GstSegment * segment, GstClockTime time)
{
  if (!GST_CLOCK_TIME_IS_VALID (time) || segment->format != GST_FORMAT_TIME
      || !is_usable (segment->applied_rate)
      || (segment->applied_rate < 0.0
          && end_of (segment) == GST_CLOCK_TIME_NONE))
    return GST_CLOCK_TIME_NONE;
  return gst_segment_to_stream_time (segment, GST_FORMAT_TIME, time);
}

GstPalmeCaptionSpan
gst_palme_caption_span (const GstSegment * segment, GstClockTime time,
    GstClockTime duration)
{
  GstPalmeCaptionSpan span = { time, MAX (duration, 1) };
  GstClockTime end = duration < LAST - time ? time + duration : LAST;
  GstClockTime a, b;
  guint64 from, to;

  if (!has_running_time (segment))
    return span;
  span.start = GST_CLOCK_TIME_NONE;
  if (!gst_segment_clip (segment, GST_FORMAT_TIME, time, end, &from, &to))
    return span;
  a = gst_palme_caption_running_time (segment, from);
  b = gst_palme_caption_running_time (segment, to);
  /* Played backwards a frame begins with its end. */
  if (!GST_CLOCK_TIME_IS_VALID (a) || (segment->rate < 0.0
          && GST_CLOCK_TIME_IS_VALID (b)))
    span.start = b;
  else
    span.start = a;
  if (GST_CLOCK_TIME_IS_VALID (a) && GST_CLOCK_TIME_IS_VALID (b))
    span.duration = MAX (a > b ? a - b : b - a, 1);
  return span;
}

GstClockTime
gst_palme_caption_media_time (const GstSegment * segment, GstClockTime time)
{
  return segment->rate < 0.0 ? LAST - time : time;
}

GstClockTime
gst_palme_caption_played (const GstSegment * segment, GstClockTime duration)
{
  gdouble rate = fabs (segment->rate), played;

  if (segment->format != GST_FORMAT_TIME || !is_usable (rate) || rate == 1.0)
    return duration;
  played = duration / rate;
  return played < (gdouble) G_MAXINT64 ? (GstClockTime) played : LAST;
}

GstClockTime
gst_palme_caption_arrivals_now (GstPalmeCaptionArrivals * arrivals,
    GstElement * element)
{
  GstClock *clock = gst_element_get_clock (element);
  GstClockTime now = GST_CLOCK_TIME_NONE;

  if (clock == NULL) {
    gint64 time = g_get_monotonic_time ();

    if (!arrivals->running)
      arrivals->origin = time;
    arrivals->running = TRUE;
    now = (time - arrivals->origin) * GST_USECOND;
  } else if (GST_STATE (element) == GST_STATE_PLAYING) {
    now = gst_element_get_current_running_time (element);
  }
  gst_clear_object (&clock);
  if (GST_CLOCK_TIME_IS_VALID (now))
    arrivals->last = now;
  return arrivals->last;
}
