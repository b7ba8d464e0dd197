/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_cues.c - which frame starts a cue and where it ends: gstpalmecues.c alone, on made-up
 * frames. The pad that pushes them is check_text.c's.
 */
#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstpalmecues.h"

#define MS GST_MSECOND
#define NONE GST_CLOCK_TIME_NONE

/* A cue that came out, and the number of GAPs since the one before. */
typedef struct
{
  GstClockTime pts, end;
  guint gaps;
  gchar text[24];
} Cue;

typedef struct
{
  GstPalmeCues cues;
  GstClockTime limit;
  Cue out[4096];
  guint n, gaps, items;
} Run;

static Run *
run_new (gboolean hold, GstClockTime longest)
{
  Run *run = g_new0 (Run, 1);

  gst_palme_cues_reset (&run->cues);
  run->cues.hold = hold;
  run->cues.longest = longest;
  run->limit = NONE;
  return run;
}

static void
run_free (Run * run)
{
  gst_palme_cues_reset (&run->cues);
  g_free (run);
}

static void
take (Run * run, GstMiniObject * item)
{
  if (GST_IS_BUFFER (item)) {
    Cue *cue = &run->out[run->n++];

    fail_unless (run->n < G_N_ELEMENTS (run->out));
    fail_unless (GST_BUFFER_PTS_IS_VALID (item)
        && GST_BUFFER_DURATION_IS_VALID (item));
    cue->pts = GST_BUFFER_PTS (item);
    cue->end = cue->pts + GST_BUFFER_DURATION (item);
    cue->gaps = run->gaps;
    run->gaps = 0;
    gst_buffer_extract (GST_BUFFER (item), 0, cue->text, sizeof cue->text - 1);
  } else {
    fail_unless (GST_EVENT_TYPE (item) == GST_EVENT_GAP);
    run->gaps++;
  }
  gst_mini_object_unref (item);
}

static void
frame (Run * run, GstClockTime pts, GstClockTime duration,
    const gchar * caption, GstClockTime next)
{
  const GstPalmeCuesFrame frame = { pts, duration, caption, next, run->limit };
  GstMiniObject *items[GST_PALME_CUES_MAX];
  guint i, n = gst_palme_cues_frame (&run->cues, items, &frame);

  fail_unless (n >= 1 && n <= GST_PALME_CUES_MAX);
  run->items += n;
  for (i = 0; i < n; i++)
    take (run, items[i]);
}

/* What is still to be said; the number of cues. */
static guint
finish (Run * run, gboolean end_of_stream)
{
  GList *list = gst_palme_cues_finish (&run->cues, end_of_stream), *link;
  guint n = g_list_length (list);

  for (link = list; link; link = link->next)
    take (run, link->data);
  g_list_free (list);
  return n;
}

#define is_cue(cue_, pts_, end_, text_)                                \
  G_STMT_START {                                                       \
    fail_unless_equals_uint64 ((cue_).pts, (pts_));                    \
    fail_unless_equals_uint64 ((cue_).end, (end_));                    \
    fail_unless_equals_string ((cue_).text, (text_));                  \
  } G_STMT_END

static void
no_overlap (Run * run)
{
  guint i;

  for (i = 1; i < run->n; i++)
    fail_unless (run->out[i].pts >= run->out[i - 1].end, "cue %u overlaps", i);
}

/* Frames at a rate, a due frame each interval, the caption is the number of the due frame: what
 * the element does in sync mode. */
static void
sync_run (Run * run, guint num, guint den, guint frames, GstClockTime interval)
{
  GstClockTime next_due = 0, duration =
      gst_util_uint64_scale_int (GST_SECOND, den, num);
  gint number = -1;
  guint i;

  for (i = 0; i < frames; i++) {
    GstClockTime pts =
        gst_util_uint64_scale (i, (guint64) GST_SECOND * den, num);
    gboolean due = pts >= next_due;
    gchar text[24];

    if (due) {
      number++;
      next_due = MAX (next_due + interval, pts + 1);
    }
    g_snprintf (text, sizeof text, "%d", number);
    frame (run, pts, duration, text, next_due);
  }
}

GST_START_TEST (test_sync_ten_fps)
{
  Run *run = run_new (FALSE, GST_SECOND);
  guint i;
  gchar text[8];

  sync_run (run, 10, 1, 40, GST_SECOND);
  fail_unless_equals_int (run->n, 4);
  for (i = 0; i < 4; i++) {
    g_snprintf (text, sizeof text, "%u", i);
    is_cue (run->out[i], i * GST_SECOND, (i + 1) * GST_SECOND, text);
  }
  fail_unless_equals_int (run->out[1].gaps, 9);
  fail_unless_equals_int (run->items, 40);
  run_free (run);
}

GST_END_TEST
/* Every slice rate and frame rate: the cues cover the video without a hole of more than a rounding
 * error, never overlap, never last longer than asked for, and a due frame starts its own cue. */
GST_START_TEST (test_sync_rates)
{
  static const guint rates[][2] =
      { {10, 1}, {24, 1}, {25, 1}, {30, 1}, {60, 1}, {30000, 1001},
  {24000, 1001}, {60000, 1001}, {15, 2}, {1, 1}, {1, 3}, {7, 1}, {1000, 1}
  };
  static const GstClockTime longest[] =
      { 500 * MS, GST_SECOND, 333 * MS, 4 * GST_SECOND, 0, 10 * MS };
  static const GstClockTime intervals[] =
      { GST_SECOND, 2 * GST_SECOND, 4 * GST_SECOND, 300 * MS, 1 };
  guint r, l, v, i;

  for (r = 0; r < G_N_ELEMENTS (rates); r++)
    for (l = 0; l < G_N_ELEMENTS (longest); l++)
      for (v = 0; v < G_N_ELEMENTS (intervals); v++) {
        guint num = rates[r][0], den = rates[r][1];
        guint frames = MAX (8, num / den * 8);
        GstClockTime duration =
            gst_util_uint64_scale_int (GST_SECOND, den, num);
        GstClockTime next_due = 0;
        Run *run;
        gint number = -1;
        guint c = 0;

        if (frames > 4000)
          frames = 4000;
        run = run_new (FALSE, longest[l]);
        sync_run (run, num, den, frames, intervals[v]);
        no_overlap (run);
        fail_unless_equals_int (run->items, frames);
        for (i = 0; i < run->n; i++) {
          /* Shorter than a frame is not possible without a hole, so there may be one. */
          if (longest[l])
            fail_unless (run->out[i].end - run->out[i].pts <= longest[l]);
          if (i && (longest[l] == 0 || longest[l] >= duration + 1))
            fail_unless (run->out[i].pts - run->out[i - 1].end <= frames,
                "%u/%u longest %" G_GUINT64_FORMAT " interval %"
                G_GUINT64_FORMAT " cue %u: hole of %" G_GUINT64_FORMAT, num,
                den, longest[l], intervals[v], i,
                run->out[i].pts - run->out[i - 1].end);
        }
        for (i = 0; i < frames; i++) {
          GstClockTime pts =
              gst_util_uint64_scale (i, (guint64) GST_SECOND * den, num);

          if (pts < next_due)
            continue;
          number++;
          next_due = MAX (next_due + intervals[v], pts + 1);
          while (c < run->n && run->out[c].pts < pts)
            c++;
          fail_unless (c < run->n
              && run->out[c].pts == pts, "due frame %d has no cue", number);
          fail_unless_equals_int (atoi (run->out[c].text), number);
        }
        run_free (run);
      }
}

GST_END_TEST
/* A camera: frames up to 4 ms off the grid and now and then one missing. A due frame starts its own
 * cue; where frames kept to the grid by chance, an old cue may reach into it by the jitter. */
GST_START_TEST (test_sync_jitter)
{
  Run *run = run_new (FALSE, 500 * MS);
  GRand *random = g_rand_new_with_seed (5);
  GstClockTime next_due = 0, duration = 33333333;
  GstClockTime due_pts[64];
  gint number = -1;
  guint i, c = 0, late = 0;

  for (i = 0; i < 600; i++) {
    GstClockTime pts =
        5 * MS + i * duration + g_rand_int_range (random, -4 * (gint) MS,
        4 * MS);
    gchar text[24];
    gboolean due = pts >= next_due;

    if (g_rand_int_range (random, 0, 10) == 0)
      continue;
    if (due) {
      number++;
      due_pts[number] = pts;
      next_due = MAX (next_due + GST_SECOND, pts + 1);
    }
    g_snprintf (text, sizeof text, "%d", number);
    frame (run, pts, duration, text, next_due);
  }
  no_overlap (run);
  for (i = 0; i <= (guint) number; i++) {
    while (c < run->n && atoi (run->out[c].text) < (gint) i)
      c++;
    fail_unless (c < run->n);
    fail_unless_equals_int (atoi (run->out[c].text), i);
    fail_unless (run->out[c].pts >= due_pts[i]
        && run->out[c].pts <= due_pts[i] + duration / 2);
    late += run->out[c].pts > due_pts[i];
  }
  fail_unless (number >= 15 && late <= 1, "%u of %d late", late, number);
  g_rand_free (random);
  run_free (run);
}

GST_END_TEST
/* Files that count milliseconds: every frame has its cue, and between two of them is no more than the rounding. */
GST_START_TEST (test_milliseconds)
{
  static const guint rates[][2] = {
    {24, 1}, {25, 1}, {30000, 1001}, {30, 1}, {50, 1}, {60, 1}, {120, 1}
  };
  guint r, i;

  for (r = 0; r < G_N_ELEMENTS (rates); r++) {
    Run *run = run_new (FALSE, GST_SECOND);
    guint64 second = GST_SECOND * rates[r][1];
    GstClockTime duration = second / rates[r][0];

    for (i = 0; i < 600; i++) {
      GstClockTime exact = gst_util_uint64_scale (i, second, rates[r][0]);
      GstClockTime pts = (exact + MS / 2) / MS * MS;

      frame (run, pts, duration, i / 100 % 2 ? "a" : "b", pts + 1);
      fail_unless_equals_int (run->n, i + 1);
    }
    no_overlap (run);
    for (i = 1; i < run->n; i++)
      fail_unless (run->out[i].pts <= run->out[i - 1].end + MS,
          "a hole of %" G_GUINT64_FORMAT " ns at frame %u of %u/%u a second",
          run->out[i].pts - run->out[i - 1].end, i, rates[r][0], rates[r][1]);
    run_free (run);
  }
}

GST_END_TEST
/* Async: slices repeat; a new caption waits for the edge of the slice; no cue lies in the past. */
GST_START_TEST (test_async)
{
  Run *run = run_new (FALSE, GST_SECOND);
  guint i;

  for (i = 0; i < 40; i++)
    frame (run, i * 100 * MS, 100 * MS, i < 3 ? "" : i < 17 ? "one" : "two",
        NONE);
  fail_unless_equals_int (run->n, 4);
  is_cue (run->out[0], 300 * MS, 1300 * MS, "one");
  is_cue (run->out[1], 1300 * MS, 2300 * MS, "one");
  is_cue (run->out[2], 2300 * MS, 3300 * MS, "two");
  is_cue (run->out[3], 3300 * MS, 4300 * MS, "two");
  fail_unless_equals_int (run->out[0].gaps, 3);
  fail_unless_equals_int (run->items, 40);
  run_free (run);
}

GST_END_TEST
GST_START_TEST (test_empty_and_null)
{
  Run *run = run_new (FALSE, 300 * MS);
  guint i;

  /* NULL changes nothing and starts nothing; "" ends the caption. */
  for (i = 0; i < 12; i++)
    frame (run, i * 100 * MS, 100 * MS, i == 3 ? NULL : i < 6 ? "a" : "", NONE);
  fail_unless_equals_int (run->n, 2);
  is_cue (run->out[0], 0, 300 * MS, "a");
  is_cue (run->out[1], 400 * MS, 700 * MS, "a");
  fail_unless_equals_int (run->items, 12);
  run_free (run);
}

GST_END_TEST
/* One cue per caption: up to where the next one is expected, or told when it ends. */
GST_START_TEST (test_one_cue_per_caption)
{
  Run *run = run_new (FALSE, 0);
  guint i;

  sync_run (run, 10, 1, 80, 4 * GST_SECOND);
  fail_unless_equals_int (run->n, 2);
  is_cue (run->out[0], 0, 4 * GST_SECOND, "0");
  is_cue (run->out[1], 4 * GST_SECOND, 8 * GST_SECOND, "1");
  run_free (run);

  /* Nobody knows when the next one comes, and a cue is needed now. */
  run = run_new (FALSE, 0);
  frame (run, 0, 100 * MS, "a", NONE);
  is_cue (run->out[0], 0, GST_SECOND, "a");
  run_free (run);

  run = run_new (TRUE, 0);
  for (i = 0; i < 50; i++)
    frame (run, i * 100 * MS, 100 * MS,
        i < 2 ? NULL : i < 30 ? "a" : i < 37 ? "b" : i < 40 ? "" : "c",
        i * 100 * MS + 1);
  fail_unless_equals_int (run->n, 2);
  is_cue (run->out[0], 200 * MS, 3000 * MS, "a");
  is_cue (run->out[1], 3000 * MS, 3700 * MS, "b");
  fail_unless_equals_int (run->items, 52);
  fail_unless_equals_int (finish (run, FALSE), 1);
  is_cue (run->out[2], 4 * GST_SECOND, 5 * GST_SECOND, "c");
  fail_unless_equals_int (finish (run, FALSE), 0);
  /* Not held any more: the cue that was ends, and slices begin. */
  frame (run, 5 * GST_SECOND, 100 * MS, "d", NONE);
  fail_unless_equals_int (run->n, 3);
  run->cues.hold = FALSE;
  run->cues.longest = GST_SECOND;
  frame (run, 5100 * MS, 100 * MS, "d", NONE);
  fail_unless_equals_int (run->n, 5);
  is_cue (run->out[3], 5 * GST_SECOND, 5100 * MS, "d");
  is_cue (run->out[4], 5100 * MS, 6100 * MS, "d");
  run_free (run);
}

GST_END_TEST
/* A still picture, captioned every second for 75 s: one cue. */
GST_START_TEST (test_equal_captions)
{
  Run *run = run_new (TRUE, 0);
  guint i;

  for (i = 0; i < 750; i++)
    frame (run, i * 100 * MS, 100 * MS, "still", (i / 10 + 1) * GST_SECOND);
  fail_unless_equals_int (run->n, 0);
  fail_unless_equals_int (finish (run, TRUE), 1);
  is_cue (run->out[0], 0, 75 * GST_SECOND, "still");
  run_free (run);

  /* Captions at one and the same time each get a cue, one after the other. */
  run = run_new (TRUE, 0);
  frame (run, GST_SECOND, 40 * MS, "a", NONE);
  frame (run, GST_SECOND, 40 * MS, "b", NONE);
  frame (run, GST_SECOND, 40 * MS, "c", NONE);
  fail_unless_equals_int (finish (run, TRUE), 1);
  fail_unless_equals_int (run->n, 3);
  no_overlap (run);
  is_cue (run->out[0], GST_SECOND, GST_SECOND + MS, "a");
  is_cue (run->out[2], GST_SECOND + 2 * MS, GST_SECOND + 40 * MS, "c");
  /* The source jumps back: the cue ends with the frame before. */
  frame (run, 9 * GST_SECOND, 40 * MS, "d", NONE);
  frame (run, 2 * GST_SECOND, 40 * MS, "d", NONE);
  fail_unless_equals_int (run->n, 4);
  is_cue (run->out[3], 9 * GST_SECOND, 9 * GST_SECOND + 40 * MS, "d");
  fail_unless_equals_int (finish (run, TRUE), 1);
  is_cue (run->out[4], 2 * GST_SECOND, 2 * GST_SECOND + 40 * MS, "d");
  run_free (run);
}

GST_END_TEST
/* Async, captions come faster than slices end, by surprise or on time: none is lost, they come in
 * their order, and the row of those that wait does not grow. */
GST_START_TEST (test_none_is_lost)
{
  static const GstClockTime steps[] = { 1, 2, 3, 7, 8 };        /* frames of 33 ms from caption to caption */
  guint s, told, i;

  for (told = 0; told < 3; told++)
    for (s = 0; s < G_N_ELEMENTS (steps); s++) {
      Run *run = run_new (FALSE, GST_SECOND);
      const GstClockTime duration = 33333333;
      guint step = steps[s], n = 0, seen = 0;
      gchar text[24];

      for (i = 0; i < 300; i++) {
        GstClockTime pts = i * duration;

        n = i / step;
        g_snprintf (text, sizeof text, "%u", n);
        /* 0: nothing is told. 1: the truth. 2: twice as long, so that all are early. */
        frame (run, pts, duration, text,
            told ? told * (n + 1) * step * duration : NONE);
        fail_unless (g_queue_get_length (&run->cues.waiting) <= 30 / step + 1);
      }
      finish (run, TRUE);
      no_overlap (run);
      for (i = 0; i < run->n; i++) {
        guint number = atoi (run->out[i].text);

        fail_unless (number == seen || (i > 0
                && number == seen - 1), "step %u: %u follows %u", step, number,
            seen);
        seen = number + 1;
        if (told == 1) {
          /* On time to a nanosecond a frame, which durations are short of. */
          fail_unless (run->out[i].pts >= number * step * duration);
          fail_unless (run->out[i].pts <= number * step * duration + 300);
        }
      }
      fail_unless_equals_int (seen, n + 1);
      run_free (run);
    }
}

GST_END_TEST
/* A caption that waits for the edge of a slice when the stream ends is said after that slice. */
GST_START_TEST (test_last_caption)
{
  Run *run = run_new (FALSE, GST_SECOND);
  guint i;

  for (i = 0; i < 16; i++)
    frame (run, i * 100 * MS, 100 * MS, i < 14 ? "a" : "b", NONE);
  fail_unless_equals_int (run->n, 2);
  is_cue (run->out[1], 1000 * MS, 2000 * MS, "a");
  fail_unless_equals_int (finish (run, TRUE), 1);
  is_cue (run->out[2], 2000 * MS, 3000 * MS, "b");
  fail_unless_equals_int (finish (run, TRUE), 0);

  /* Two that wait share the time of one. Not in the middle of a stream. An empty caption after
   * them has no cue, and takes none away. */
  frame (run, 3000 * MS, 100 * MS, "c", NONE);
  frame (run, 3100 * MS, 100 * MS, "d", NONE);
  frame (run, 3200 * MS, 100 * MS, "e", NONE);
  fail_unless_equals_int (finish (run, FALSE), 0);
  fail_unless_equals_int (finish (run, TRUE), 2);
  is_cue (run->out[4], 4000 * MS, 4500 * MS, "d");
  is_cue (run->out[5], 4500 * MS, 5000 * MS, "e");
  frame (run, 5000 * MS, 100 * MS, "f", NONE);
  frame (run, 5100 * MS, 100 * MS, "g", NONE);
  frame (run, 5200 * MS, 100 * MS, "", NONE);
  fail_unless_equals_int (finish (run, TRUE), 1);
  is_cue (run->out[7], 6000 * MS, 7000 * MS, "g");
  run_free (run);
}

GST_END_TEST
/* Cues end with the video's segment, but for what comes after it. */
GST_START_TEST (test_limit)
{
  Run *run = run_new (FALSE, GST_SECOND);
  guint i;

  run->limit = 1500 * MS;
  for (i = 0; i < 15; i++)
    frame (run, i * 100 * MS, 100 * MS, "a", NONE);
  fail_unless_equals_int (run->n, 2);
  is_cue (run->out[0], 0, 1000 * MS, "a");
  is_cue (run->out[1], 1000 * MS, 1500 * MS, "a");
  frame (run, 1500 * MS, 100 * MS, "b", NONE);
  is_cue (run->out[2], 1500 * MS, 2500 * MS, "b");
  /* A cue that was shown still ends before the next one starts. */
  run->limit = NONE;
  frame (run, 1600 * MS, 100 * MS, "c", NONE);
  frame (run, 2500 * MS, 100 * MS, "c", NONE);
  fail_unless_equals_int (run->n, 4);
  is_cue (run->out[3], 2500 * MS, 3500 * MS, "c");
  run_free (run);
}

GST_END_TEST
/* Times from bad sources: no overflow, no endless wait, no burst. */
GST_START_TEST (test_odd_times)
{
  Run *run = run_new (FALSE, G_MAXINT64);
  const GstClockTime year = (GstClockTime) 365 * 24 * 3600 * GST_SECOND, last =
      NONE - 1;
  guint i;

  frame (run, last - 5, 100 * MS, "end", last);
  frame (run, last, 100 * MS, "end", last);
  frame (run, last, NONE - 1, "end", last);
  fail_unless (run->n <= 1);
  run_free (run);

  run = run_new (FALSE, GST_SECOND);
  frame (run, 0, 100 * MS, "a", NONE);
  frame (run, year, 100 * MS, "a", NONE);
  frame (run, 200 * MS, 100 * MS, "a", NONE);   /* back: it does not wait for a year */
  frame (run, 200 * MS, 100 * MS, "a", NONE);   /* again the same */
  frame (run, 100 * MS, 100 * MS, "a", NONE);   /* a little back: no second cue */
  fail_unless_equals_int (run->n, 3);
  is_cue (run->out[1], year, year + GST_SECOND, "a");
  is_cue (run->out[2], 200 * MS, 1200 * MS, "a");
  run_free (run);

  /* Frames of a nanosecond and of a year. */
  run = run_new (FALSE, GST_SECOND);
  for (i = 0; i < 20; i++)
    frame (run, i, 1, "a", 10 + i / 10 * 10);
  frame (run, GST_SECOND, year, "b", 2 * GST_SECOND);
  no_overlap (run);
  is_cue (run->out[0], 0, 10, "a");
  is_cue (run->out[1], 10, 20, "a");
  is_cue (run->out[2], GST_SECOND, 2 * GST_SECOND, "b");
  fail_unless_equals_int (run->n, 3);
  run_free (run);
}

GST_END_TEST
/* An empty caption, as one that scores too low, ends what is shown; captions that wait for their cue before
 * it are not lost. */
GST_START_TEST (test_empty_after_waiting)
{
  Run *run = run_new (FALSE, GST_SECOND);
  guint i;

  for (i = 0; i < 40; i++)
    frame (run, i * 100 * MS, 100 * MS,
        i < 3 ? "a" : i < 6 ? "b" : i < 30 ? "" : "b", NONE);
  fail_unless_equals_int (run->n, 3);
  is_cue (run->out[0], 0, GST_SECOND, "a");
  is_cue (run->out[1], GST_SECOND, 2 * GST_SECOND, "b");
  /* Nothing is shown for a second; the same words after that are a new caption. */
  is_cue (run->out[2], 3 * GST_SECOND, 4 * GST_SECOND, "b");
  fail_unless_equals_int (finish (run, TRUE), 0);
  run_free (run);
}

GST_END_TEST;

static Suite *
cues_suite (void)
{
  Suite *suite = suite_create ("cues");
  TCase *tcase = tcase_create ("cues");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_empty_after_waiting);
  tcase_add_test (tcase, test_sync_ten_fps);
  tcase_add_test (tcase, test_sync_rates);
  tcase_add_test (tcase, test_sync_jitter);
  tcase_add_test (tcase, test_milliseconds);
  tcase_add_test (tcase, test_async);
  tcase_add_test (tcase, test_empty_and_null);
  tcase_add_test (tcase, test_one_cue_per_caption);
  tcase_add_test (tcase, test_last_caption);
  tcase_add_test (tcase, test_equal_captions);
  tcase_add_test (tcase, test_none_is_lost);
  tcase_add_test (tcase, test_limit);
  tcase_add_test (tcase, test_odd_times);
  return suite;
}

GST_CHECK_MAIN (cues);
