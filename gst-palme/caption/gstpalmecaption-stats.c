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

static void
add_sample (GstPalmeCaptionSamples * samples, guint64 captions,
    GstClockTime time)
{
  samples->newest[captions % GST_PALME_CAPTION_STATS_SAMPLES] = time;
  samples->sum += time;
}

void
gst_palme_caption_stats_caption (GstPalmeCaptionStats * stats,
    const GstPalmeCaptionTimes * times, guint tokens, gint64 now)
{
  guint64 captions = stats->counts[GST_PALME_CAPTION_COUNT_CAPTIONS]++;
  gint64 second = now / G_USEC_PER_SEC;
  guint slot;

  stats->counts[GST_PALME_CAPTION_COUNT_TOKENS] += tokens;
  add_sample (&stats->resize, captions, times->resize);
  add_sample (&stats->queue, captions, times->queue);
  add_sample (&stats->encode, captions, times->encode);
  add_sample (&stats->decode, captions, times->decode);
  add_sample (&stats->latency, captions, times->latency);
  stats->latency_last = times->latency;
  stats->latency_max = MAX (stats->latency_max, times->latency);

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
percentile_99 (const GstPalmeCaptionSamples * samples, guint64 captions)
{
  GstClockTime sorted[GST_PALME_CAPTION_STATS_SAMPLES];
  guint n = MIN (captions, GST_PALME_CAPTION_STATS_SAMPLES);

  if (n == 0)
    return 0;
  memcpy (sorted, samples->newest, n * sizeof *sorted);
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

/* The fields NAME-mean, of all captions, and NAME-p99, of the newest. */
static void
describe_samples (GstStructure * structure, const gchar * name,
    const GstPalmeCaptionSamples * samples, guint64 captions)
{
  gchar *mean = g_strconcat (name, "-mean", NULL);
  gchar *p99 = g_strconcat (name, "-p99", NULL);

  gst_structure_set (structure,
      mean, G_TYPE_UINT64, (guint64) (samples->sum / MAX (captions, 1)),
      p99, G_TYPE_UINT64, percentile_99 (samples, captions), NULL);
  g_free (mean);
  g_free (p99);
}

GstStructure *
gst_palme_caption_stats_describe (const GstPalmeCaptionStats * stats,
    gint64 now)
{
  static const struct
  {
    const gchar *name;
    GstPalmeCaptionCount count;
  } counters[] = {
    {"frames", GST_PALME_CAPTION_COUNT_FRAMES},
    {"due", GST_PALME_CAPTION_COUNT_DUE},
    {"captions", GST_PALME_CAPTION_COUNT_CAPTIONS},
    {"tokens", GST_PALME_CAPTION_COUNT_TOKENS},
    {"skipped-busy", GST_PALME_CAPTION_COUNT_SKIPPED_BUSY},
    {"skipped-no-pts", GST_PALME_CAPTION_COUNT_SKIPPED_NO_PTS},
    {"skipped-unmappable", GST_PALME_CAPTION_COUNT_SKIPPED_UNMAPPABLE},
    {"stale", GST_PALME_CAPTION_COUNT_STALE},
    {"errors", GST_PALME_CAPTION_COUNT_ERRORS},
    {"scene-cuts", GST_PALME_CAPTION_COUNT_SCENE_CUTS},
    {"kept", GST_PALME_CAPTION_COUNT_KEPT},
    {"held", GST_PALME_CAPTION_COUNT_HELD},
  };
  GstStructure *structure = gst_structure_new_empty ("palme-stats");
  guint64 captions = stats->counts[GST_PALME_CAPTION_COUNT_CAPTIONS];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (counters); i++)
    gst_structure_set (structure, counters[i].name, G_TYPE_UINT64,
        stats->counts[counters[i].count], NULL);
  gst_structure_set (structure,
      "captions-per-second", G_TYPE_DOUBLE, captions_per_second (stats, now),
      "work-saved", G_TYPE_DOUBLE, work_saved (stats->counts),
      "latency-last", G_TYPE_UINT64, stats->latency_last,
      "latency-max", G_TYPE_UINT64, stats->latency_max, NULL);
  describe_samples (structure, "resize", &stats->resize, captions);
  describe_samples (structure, "queue", &stats->queue, captions);
  describe_samples (structure, "encode", &stats->encode, captions);
  describe_samples (structure, "decode", &stats->decode, captions);
  describe_samples (structure, "latency", &stats->latency, captions);
  return structure;
}
