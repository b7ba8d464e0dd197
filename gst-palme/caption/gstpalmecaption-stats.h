/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-stats.h - the counters behind the property `stats`. They have no lock of their own:
 * the worker's lock guards them.
 */
#ifndef GST_PALME_CAPTION_STATS_H
#define GST_PALME_CAPTION_STATS_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_PALME_CAPTION_STATS_SECONDS 30      /* the period of captions-per-second */
#define GST_PALME_CAPTION_STATS_SAMPLES 256     /* percentiles are of so many newest captions */

typedef enum
{
  GST_PALME_CAPTION_COUNT_FRAMES,
  GST_PALME_CAPTION_COUNT_DUE,
  GST_PALME_CAPTION_COUNT_CAPTIONS,
  GST_PALME_CAPTION_COUNT_TOKENS,
  GST_PALME_CAPTION_COUNT_SKIPPED_BUSY,
  GST_PALME_CAPTION_COUNT_SKIPPED_NO_PTS,       /* always 0; kept because version 0.1 counted them */
  GST_PALME_CAPTION_COUNT_SKIPPED_UNMAPPABLE,
  GST_PALME_CAPTION_COUNT_STALE,
  GST_PALME_CAPTION_COUNT_ERRORS,
  GST_PALME_CAPTION_COUNT_SCENE_CUTS,
  GST_PALME_CAPTION_COUNT_KEPT, /* pictures of due frames that show what the captioned one shows */
  GST_PALME_CAPTION_COUNT_HELD, /* captions that did not replace the shown one */
  GST_PALME_CAPTION_COUNT_LAST
} GstPalmeCaptionCount;

/* Where the time of one caption went, ns. */
typedef struct
{
  GstClockTime resize;          /* until hand-over: the picture is drawn */
  GstClockTime queue;           /* from hand-over to the start of the engine */
  GstClockTime encode;
  GstClockTime decode;
  GstClockTime latency;         /* from hand-over to result: the sum of the other three */
} GstPalmeCaptionTimes;

/* The times of one kind. */
typedef struct
{
  gdouble sum;
  GstClockTime newest[GST_PALME_CAPTION_STATS_SAMPLES];
} GstPalmeCaptionSamples;

typedef struct
{
  guint64 counts[GST_PALME_CAPTION_COUNT_LAST];
  GstClockTime latency_last, latency_max;
  GstPalmeCaptionSamples resize, queue, encode, decode, latency;
  gint64 started;               /* monotonic second of the reset */
  gint64 seconds[GST_PALME_CAPTION_STATS_SECONDS];      /* which second each bucket counts */
  guint bucket[GST_PALME_CAPTION_STATS_SECONDS];
} GstPalmeCaptionStats;

/* All zero; `now` is the monotonic time in us, as in the other calls. */
void gst_palme_caption_stats_reset (GstPalmeCaptionStats * stats, gint64 now);

/* A finished caption. */
void gst_palme_caption_stats_caption (GstPalmeCaptionStats * stats,
    const GstPalmeCaptionTimes * times, guint tokens, gint64 now);

/* A new structure with all fields, the caller's. */
GstStructure *gst_palme_caption_stats_describe (const GstPalmeCaptionStats * stats,
    gint64 now);

G_END_DECLS

#endif
