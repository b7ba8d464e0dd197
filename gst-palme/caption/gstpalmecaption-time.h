/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-time.h - where a frame is in time: in the stream, in running time, and by its
 * arrival if it has no timestamp. It uses segments and clocks, and knows nothing of the element.
 */
#ifndef GST_PALME_CAPTION_TIME_H
#define GST_PALME_CAPTION_TIME_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* An interval of running time. */
typedef struct
{
  GstClockTime start;           /* NONE: nothing of it is played */
  GstClockTime duration;        /* above 0 */
} GstPalmeCaptionSpan;

/* gst_segment_to_running_time() and gst_segment_to_stream_time() for TIME. They return NONE if the
 * segment gives no answer: another format, a time outside, an invalid rate, or a segment that is
 * played backwards from an end that is unknown or before its offset, for which GStreamer's own
 * functions log a critical. */
GstClockTime gst_palme_caption_running_time (const GstSegment * segment,
    GstClockTime time);
GstClockTime gst_palme_caption_stream_time (const GstSegment * segment,
    GstClockTime time);

/* When [time, time + duration) of the stream is played: the part inside the segment, in running
 * time. If the segment has no running time (see above) timestamps are taken as they are. */
GstPalmeCaptionSpan gst_palme_caption_span (const GstSegment * segment, GstClockTime time,
    GstClockTime duration);

/* A time that increases while the stream is played: the timestamp, or its mirror image in a segment
 * that is played backwards. Applied twice it gives the timestamp again. */
GstClockTime gst_palme_caption_media_time (const GstSegment * segment,
    GstClockTime time);

/* The running time that a duration of media time takes: shorter at higher rates. */
GstClockTime gst_palme_caption_played (const GstSegment * segment,
    GstClockTime duration);

/* Frames without timestamps get the running time at which they arrive. Zeroed memory is the start. */
typedef struct
{
  gboolean running;             /* a frame arrived without a clock */
  gint64 origin;                /* ... the first one; monotonic, us */
  GstClockTime last;            /* the last answer */
} GstPalmeCaptionArrivals;

/* The running time now by the element's clock. In PAUSED it does not advance. An element without a
 * clock counts from its first arrival. */
GstClockTime gst_palme_caption_arrivals_now (GstPalmeCaptionArrivals * arrivals,
    GstElement * element);

G_END_DECLS

#endif
