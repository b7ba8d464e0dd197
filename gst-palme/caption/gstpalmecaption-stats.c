/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-stats.c - the counters behind the property `stats`. They take the same memory after
 * days as after a minute.
 */
#include "gstpalmecaption-stats.h"

#include <stdlib.h>
#include <string.h>

void
gst_palme_caption_stats_reset (GstPalmeCaptionStats * stats, gint64 now)
{
  memset (stats, 0, sizeof *stats);
  stats->started = now / G_USEC_PER_SEC;
}

void
gst_palme_caption_stats_resized (GstPalmeCaptionStats * stats,
    GstClockTime time)
{
  stats->resizes++;
  stats->resize_sum += time;
}

void
gst_palme_caption_stats_caption (GstPalmeCaptionStats * stats,
    const GstPalmeCaptionTimes * times, guint tokens, gint64 now)
{
  gint64 second = now / G_USEC_PER_SEC;
  guint sample, slot;

  sample =
      stats->counts[GST_PALME_CAPTION_COUNT_CAPTIONS] %
      GST_PALME_CAPTION_STATS_SAMPLES;
  stats->counts[GST_PALME_CAPTION_COUNT_CAPTIONS]++;
  stats->counts[GST_PALME_CAPTION_COUNT_TOKENS] += tokens;
  stats->latency[sample] = times->latency;
  stats->encode[sample] = times->encode;
  stats->decode[sample] = times->decode;
  stats->latency_last = times->latency;
  stats->latency_max = MAX (stats->latency_max, times->latency);
  stats->latency_sum += times->latency;
  stats->queue_sum += times->queue;
  stats->encode_sum += times->encode;
  stats->decode_sum += times->decode;

  slot = second % GST_PALME_CAPTION_STATS_SECONDS;
  if (stats->seconds[slot] != second) {
    stats->seconds[slot] = second;
    stats->bucket[slot] = 0;
  }
  stats->bucket[slot]++;
}

static gint
compare (const void *a, const void *b)
{
  GstClockTime x = *(const GstClockTime *) a, y = *(const GstClockTime *) b;

  return (x > y) - (x < y);
}

static guint64
percentile_99 (const GstClockTime * samples, guint64 captions)
{
  GstClockTime sorted[GST_PALME_CAPTION_STATS_SAMPLES];
  guint n = MIN (captions, GST_PALME_CAPTION_STATS_SAMPLES);

  if (n == 0)
    return 0;
  memcpy (sorted, samples, n * sizeof *sorted);
  qsort (sorted, n, sizeof *sorted, compare);
  return sorted[(n * 99 + 99) / 100 - 1];
}

static gdouble
captions_per_second (const GstPalmeCaptionStats * stats, gint64 now)
{
  gint64 second = now / G_USEC_PER_SEC;
  gint64 span =
      CLAMP (second - stats->started, 1, GST_PALME_CAPTION_STATS_SECONDS);
  guint i, n = 0;

  for (i = 0; i < GST_PALME_CAPTION_STATS_SECONDS; i++) {
    if (second - stats->seconds[i] < GST_PALME_CAPTION_STATS_SECONDS)
      n += stats->bucket[i];
  }
  return (gdouble) n / span;
}

/* The share of the captions that were not made, because the picture had not changed. */
static gdouble
work_saved (const guint64 * counts)
{
  gdouble kept = counts[GST_PALME_CAPTION_COUNT_KEPT];

  return kept / MAX (kept + counts[GST_PALME_CAPTION_COUNT_CAPTIONS], 1);
}

GstStructure *
gst_palme_caption_stats_describe (const GstPalmeCaptionStats * stats,
    gint64 now)
{
  const guint64 *counts = stats->counts;
  guint64 captions = counts[GST_PALME_CAPTION_COUNT_CAPTIONS];
  gdouble n = MAX (captions, 1), resizes = MAX (stats->resizes, 1);

  return gst_structure_new ("palme-stats",
      "frames", G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_FRAMES],
      "due", G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_DUE],
      "captions", G_TYPE_UINT64, captions,
      "tokens", G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_TOKENS],
      "captions-per-second", G_TYPE_DOUBLE, captions_per_second (stats, now),
      "skipped-busy", G_TYPE_UINT64,
      counts[GST_PALME_CAPTION_COUNT_SKIPPED_BUSY], "skipped-no-pts",
      G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_SKIPPED_NO_PTS],
      "skipped-unmappable", G_TYPE_UINT64,
      counts[GST_PALME_CAPTION_COUNT_SKIPPED_UNMAPPABLE], "stale",
      G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_STALE], "errors",
      G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_ERRORS], "scene-cuts",
      G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_SCENE_CUTS], "kept",
      G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_KEPT], "held",
      G_TYPE_UINT64, counts[GST_PALME_CAPTION_COUNT_HELD], "work-saved",
      G_TYPE_DOUBLE, work_saved (counts), "latency-last", G_TYPE_UINT64,
      stats->latency_last, "latency-mean", G_TYPE_UINT64,
      (guint64) (stats->latency_sum / n), "latency-max", G_TYPE_UINT64,
      stats->latency_max, "latency-p99", G_TYPE_UINT64,
      percentile_99 (stats->latency, captions), "queue-mean", G_TYPE_UINT64,
      (guint64) (stats->queue_sum / n), "resize-mean", G_TYPE_UINT64,
      (guint64) (stats->resize_sum / resizes), "encode-mean", G_TYPE_UINT64,
      (guint64) (stats->encode_sum / n), "encode-p99", G_TYPE_UINT64,
      percentile_99 (stats->encode, captions), "decode-mean", G_TYPE_UINT64,
      (guint64) (stats->decode_sum / n), "decode-p99", G_TYPE_UINT64,
      percentile_99 (stats->decode, captions), NULL);
}
