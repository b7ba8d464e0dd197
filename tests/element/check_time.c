/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_time.c - palmecaption and time: frames without timestamps, segments of all kinds, played
 * backwards, and what the text pad says when. Criticals are fatal here.
 */
#include <math.h>
#include <string.h>

#include "support/captionhost.h"

#define MS GST_MSECOND
#define NONE GST_CLOCK_TIME_NONE

/* A frame with these times; NONE leaves one out. */
static GstBuffer *
frame_at (GstClockTime pts, GstClockTime dts, GstClockTime duration)
{
  GstBuffer *buffer = caption_frame (0, 100);

  GST_BUFFER_PTS (buffer) = pts;
  GST_BUFFER_DTS (buffer) = dts;
  GST_BUFFER_DURATION (buffer) = duration;
  return buffer;
}

/* Pushes it and gives the caption that it leaves with, freed by the caller. */
static gchar *
pass (GstHarness * h, GstBuffer * buffer)
{
  gchar *text;

  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_try_pull (h);
  fail_unless (buffer != NULL);
  text = caption_of (buffer);
  gst_buffer_unref (buffer);
  return text;
}

#define expect_pass(h, buffer, wanted)                                  \
  G_STMT_START {                                                        \
    gchar *text_ = pass (h, buffer);                                    \
    fail_unless_equals_string (text_, wanted);                          \
    g_free (text_);                                                     \
  } G_STMT_END

static guint64
field (GstMessage * message, const gchar * name)
{
  guint64 value;

  fail_unless (gst_structure_get_uint64 (gst_message_get_structure (message),
          name, &value), "no field %s", name);
  return value;
}

/* ---- Without timestamps ---------------------------------------------------------------------- */

/* By arrival, in running time, by the clock of the element; the message says that time. */
GST_START_TEST (test_arrival)
{
  static const gchar *const modes[] = { "sync", "auto" };
  static const struct
  {
    guint ms;
    const gchar *wanted;
  } frames[] = {
    {5000, "caption 0"}, {5100, "caption 0"}, {5999, "caption 0"}, {6000,
        "caption 1"},
    {6001, "caption 1"}, {9000, "caption 2"}, {9999, "caption 2"}, {10000,
        "caption 3"},
  };
  guint i, m;

  for (m = 0; m < G_N_ELEMENTS (modes); m++) {
    gchar *properties = g_strdup_printf ("mode=%s", modes[m]);
    GstHarness *h = caption_harness (NULL, properties);
    GstMessage *message;
    gchar *text;

    gst_harness_set_live (h, FALSE);
    gst_harness_use_testclock (h);
    for (i = 0; i < G_N_ELEMENTS (frames); i++) {
      fail_unless (gst_harness_set_time (h, frames[i].ms * MS));
      expect_pass (h, frame_at (NONE, NONE, i % 2 ? NONE : FRAME_TIME),
          frames[i].wanted);
    }
    message = caption_message (h->element, GST_MESSAGE_ELEMENT);
    fail_unless_equals_uint64 (field (message, "timestamp"), NONE);
    fail_unless_equals_uint64 (field (message, "stream-time"), NONE);
    fail_unless_equals_uint64 (field (message, "running-time"), 5 * GST_SECOND);
    gst_message_unref (message);
    fail_unless_equals_uint64 (caption_stat (h->element, "due"), 4);
    fail_unless_equals_uint64 (caption_stat (h->element, "skipped-no-pts"), 0);
    /* Upstream is not live: both are sync, which is repeatable otherwise. */
    text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
        GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT);
    fail_unless (strstr (text, "timestamps") != NULL, "%s", text);
    g_free (text);
    fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
        0);
    caption_harness_end (h);
    g_free (properties);
  }
}

GST_END_TEST;

/* Without a clock as well; each frame with an interval of 0, the first one with any. */
GST_START_TEST (test_arrival_without_clock)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");

  gst_element_set_clock (h->element, NULL);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 0");
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 1");
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 2");
  g_object_set (h->element, "interval", 1000 * GST_SECOND, NULL);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 2");
  g_object_set (h->element, "interval", 10 * MS, NULL);
  g_usleep (11000);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 3");
  g_signal_emit_by_name (h->element, "caption-now");
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 4");
  caption_harness_end (h);

  h = caption_harness (NULL, "mode=async interval=0");
  expect_pass (h, frame_at (NONE, NONE, NONE), NULL);
  caption_wait (h->element, "captions", 1);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 0");
  caption_harness_end (h);
}

GST_END_TEST;

/* In PAUSED running time stands still, however long that lasts; after a flush it begins anew. */
GST_START_TEST (test_arrival_paused)
{
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstSegment segment;

  gst_harness_use_testclock (h);
  gst_harness_set_time (h, 2000 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 0");
  gst_element_set_state (h->element, GST_STATE_PAUSED);
  gst_harness_set_time (h, 60000 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 0");
  gst_element_set_base_time (h->element, 58000 * MS);
  gst_element_set_state (h->element, GST_STATE_PLAYING);
  gst_harness_set_time (h, 60900 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 0");
  gst_harness_set_time (h, 61000 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 1");

  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  gst_element_set_base_time (h->element, 61000 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 2");
  gst_harness_set_time (h, 61999 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 2");
  gst_harness_set_time (h, 62000 * MS);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 3");
  caption_harness_end (h);
}

GST_END_TEST;

/* Another clock, whose time has nothing to do with that of the first; a clock that jumps by a year: a
 * caption each, no burst and no wait. */
GST_START_TEST (test_arrival_clock_changes)
{
  static const GstClockTime year = (GstClockTime) 365 * 86400 * GST_SECOND;
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstClock *other = gst_test_clock_new_with_start_time (20 * GST_SECOND);

  gst_harness_use_testclock (h);
  gst_harness_set_time (h, 100 * GST_SECOND);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 0");
  gst_element_set_clock (h->element, other);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 1");
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 1");
  gst_test_clock_set_time (GST_TEST_CLOCK (other), 21 * GST_SECOND);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 2");
  gst_test_clock_set_time (GST_TEST_CLOCK (other), year);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 3");
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 3");
  gst_element_set_clock (h->element, NULL);
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 4");
  expect_pass (h, frame_at (NONE, NONE, NONE), "caption 4");
  gst_object_unref (other);
  caption_harness_end (h);
}

GST_END_TEST;

/* Frames of which none will ever be due are not passed over in silence. */
GST_START_TEST (test_no_pictures)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GstBuffer *buffer;
  gchar *text;
  guint i;

  for (i = 0; i < 1000; i++) {
    buffer = caption_frame (i, 1);
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_CORRUPTED);
    expect_pass (h, buffer, NULL);
  }
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      0);
  text =
      caption_expect_issue (h->element, GST_MESSAGE_WARNING, GST_STREAM_ERROR,
      GST_STREAM_ERROR_DECODE);
  fail_unless (strstr (text, "no captions") != NULL);
  g_free (text);
  /* Once; and not where there was a caption. */
  expect_pass (h, caption_frame (1000, 1), "caption 0");
  for (i = 0; i < 400; i++) {
    buffer = caption_frame (1001 + i, 1);
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_GAP);
    expect_pass (h, buffer, "caption 0");
  }
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  caption_harness_end (h);
}

GST_END_TEST;

/* The DTS stands in for a PTS that is missing, because raw video is in the order of both. */
GST_START_TEST (test_dts)
{
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstMessage *message;
  guint i;

  for (i = 0; i < 40; i++) {
    gchar *wanted = g_strdup_printf ("caption %u", i / 10);

    expect_pass (h, frame_at (i % 3 ? NONE : i * FRAME_TIME, i * FRAME_TIME,
            NONE), wanted);
    g_free (wanted);
  }
  gst_message_unref (caption_message (h->element, GST_MESSAGE_ELEMENT));
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless_equals_uint64 (field (message, "timestamp"), GST_SECOND);
  fail_unless_equals_uint64 (field (message, "running-time"), GST_SECOND);
  gst_message_unref (message);
  caption_harness_end (h);
}

GST_END_TEST;

/* Timestamps on every other frame, on none any more, and on all again: a caption an interval. */
GST_START_TEST (test_some_have_timestamps)
{
  GstHarness *h = caption_harness (NULL, "mode=sync");
  guint i;

  gst_harness_use_testclock (h);
  for (i = 0; i < 90; i++) {
    gboolean without = i < 30 ? i % 2 : i < 60;
    gchar *wanted = g_strdup_printf ("caption %u", i / 10);

    gst_harness_set_time (h, i * FRAME_TIME);
    expect_pass (h, frame_at (without ? NONE : i * FRAME_TIME, NONE,
            FRAME_TIME), wanted);
    g_free (wanted);
  }
  caption_harness_end (h);

  /* Faster than time goes: those without come by time all the same. */
  h = caption_harness (NULL, "mode=sync");
  gst_harness_use_testclock (h);
  for (i = 0; i < 40; i++) {
    gchar *wanted = g_strdup_printf ("caption %u", i / 10);

    gst_harness_set_time (h, i * MS);
    expect_pass (h, frame_at (i % 2 ? NONE : i * FRAME_TIME, NONE, FRAME_TIME),
        wanted);
    g_free (wanted);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Segments ------------------------------------------------------------------------------- */

/* Played backwards, from an end that the segment names or does not: every interval. */
GST_START_TEST (test_backwards)
{
  guint with_stop, i, n;

  for (with_stop = 0; with_stop < 2; with_stop++) {
    GstHarness *h = caption_harness (NULL, "mode=sync");
    GstSegment segment;
    GstMessage *message;

    gst_segment_init (&segment, GST_FORMAT_TIME);
    segment.rate = -1.0;
    if (with_stop)
      segment.stop = 6 * GST_SECOND;
    fail_unless (gst_harness_push_event (h, gst_event_new_segment (&segment)));
    for (i = 0; i < 60; i++) {
      gchar *wanted = g_strdup_printf ("caption %u", i / 10);

      expect_pass (h, frame_at ((59 - i) * FRAME_TIME, NONE, FRAME_TIME),
          wanted);
      g_free (wanted);
    }
    for (n = 0;
        (message = caption_message (h->element, GST_MESSAGE_ELEMENT)) != NULL;
        n++) {
      fail_unless_equals_uint64 (field (message, "timestamp"),
          (59 - n * 10) * FRAME_TIME);
      fail_unless_equals_uint64 (field (message, "running-time"),
          with_stop ? (1 + n * 10) * FRAME_TIME : NONE);
      gst_message_unref (message);
    }
    fail_unless_equals_int (n, 6);
    caption_harness_end (h);
  }
}

GST_END_TEST;

/* Fields of a segment and times of a frame that no sane source has, in all combinations, in both
 * modes and with somebody at the text pad: the first frame has a caption, and nothing complains. */
GST_START_TEST (test_odd_segments)
{
  static const gdouble rates[] =
      { 1.0, -1.0, 2.5, -0.001, 1e300, -1e300, 1e-300, INFINITY, NAN };
  static const guint64 starts[] = { 0, GST_SECOND, G_MAXUINT64 - 1 };
  static const guint64 stops[] = { NONE, 0, 10 * GST_SECOND };
  static const guint64 bases[] = { 0, 5 * GST_SECOND, G_MAXUINT64 - 1 };
  static const guint64 offsets[] = { 0, GST_SECOND, G_MAXINT64 };
  static const GstFormat formats[] =
      { GST_FORMAT_TIME, GST_FORMAT_BYTES, GST_FORMAT_DEFAULT };
  static const GstClockTime times[] = { 0, 1500 * MS, NONE - 1, NONE };
  const guint sizes[] =
      { G_N_ELEMENTS (rates), G_N_ELEMENTS (starts), G_N_ELEMENTS (stops),
    G_N_ELEMENTS (bases), G_N_ELEMENTS (offsets), G_N_ELEMENTS (formats), 3
  };
  GstElement *element =
      caption_element (NULL, __i__ ? "mode=async" : "mode=sync");
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  GstHarness *t = gst_harness_new_with_element (element, NULL, "text");
  guint all = 1, n, d;
  guint64 captions = 0;

  gst_harness_set_src_caps_str (h, CAPS_RGB);
  gst_harness_set_drop_buffers (h, TRUE);
  gst_harness_set_drop_buffers (t, TRUE);
  g_object_set (element, "interval", NONE - 1, "post-messages", FALSE, NULL);
  for (d = 0; d < G_N_ELEMENTS (sizes); d++)
    all *= sizes[d];
  for (n = 0; n < all; n++) {
    guint at[G_N_ELEMENTS (sizes)], rest = n, i;
    GstSegment segment;

    for (d = 0; d < G_N_ELEMENTS (sizes); d++) {
      at[d] = rest % sizes[d];
      rest /= sizes[d];
    }
    gst_segment_init (&segment, formats[at[5]]);
    segment.rate = rates[at[0]];
    segment.applied_rate = at[6] == 1 ? -2.0 : 1.0;
    segment.start = starts[at[1]];
    segment.stop = stops[at[2]];
    segment.base = bases[at[3]];
    segment.offset = offsets[at[4]];
    segment.time = at[6] == 2 ? NONE : 0;
    gst_pad_push_event (h->srcpad, gst_event_new_segment (&segment));
    for (i = 0; i < G_N_ELEMENTS (times); i++)
      fail_unless_equals_int (gst_pad_push (h->srcpad, frame_at (times[i], NONE,
                  (n + i) % 2 ? NONE - 1 : 0)), GST_FLOW_OK);
    gst_pad_push_event (h->srcpad, gst_event_new_gap (GST_SECOND, NONE));
    if (__i__ == 0) {
      fail_unless (caption_stat (element, "captions") > captions,
          "no caption in segment %u", n);
      captions = caption_stat (element, "captions");
    }
  }
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  fail_unless (caption_stat (element, "captions") > 0);
  fail_unless_equals_int (caption_messages (element, GST_MESSAGE_ERROR), 0);
  gst_harness_teardown (t);
  gst_object_unref (element);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- The text pad ---------------------------------------------------------------------------- */

typedef struct
{
  GMutex lock;
  GString *said;                /* "start+duration text; " for each cue, in ms */
  GstClockTime end, first_gap;
  guint cues, gaps;
  gboolean eos, overlap;
} Heard;

static GstPadProbeReturn
on_text (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  Heard *heard = data;
  GstClockTime start;
  GstMapInfo map;

  (void) pad;
  g_mutex_lock (&heard->lock);
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    GstBuffer *cue = GST_PAD_PROBE_INFO_BUFFER (info);

    heard->overlap |= heard->cues > 0 && GST_BUFFER_PTS (cue) < heard->end;
    heard->end = GST_BUFFER_PTS (cue) + GST_BUFFER_DURATION (cue);
    heard->cues++;
    gst_buffer_map (cue, &map, GST_MAP_READ);
    g_string_append_printf (heard->said,
        "%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " %.*s; ",
        GST_BUFFER_PTS (cue) / MS, GST_BUFFER_DURATION (cue) / MS,
        (gint) map.size, (gchar *) map.data);
    gst_buffer_unmap (cue, &map);
  } else if (GST_EVENT_TYPE (info->data) == GST_EVENT_GAP) {
    gst_event_parse_gap (info->data, &start, NULL);
    if (heard->gaps++ == 0)
      heard->first_gap = start;
  } else if (GST_EVENT_TYPE (info->data) == GST_EVENT_EOS) {
    heard->eos = TRUE;
  } else if (GST_EVENT_TYPE (info->data) == GST_EVENT_SEGMENT) {
    const GstSegment *segment;
    GstSegment wanted;

    gst_event_parse_segment (info->data, &segment);
    gst_segment_init (&wanted, GST_FORMAT_TIME);
    fail_unless (gst_segment_is_equal (segment, &wanted));
  }
  g_mutex_unlock (&heard->lock);
  return GST_PAD_PROBE_OK;
}

typedef struct
{
  GstElement *element;
  GstHarness *h, *t;
  Heard heard;
} Rig;

static void
rig_new (Rig * rig, const gchar * lines, const gchar * properties,
    const GstSegment * segment)
{
  GstPad *pad;

  memset (rig, 0, sizeof *rig);
  g_mutex_init (&rig->heard.lock);
  rig->heard.said = g_string_new (NULL);
  rig->element = caption_element (lines, properties);
  rig->h = gst_harness_new_with_element (rig->element, "sink", "src");
  rig->t = gst_harness_new_with_element (rig->element, NULL, "text");
  gst_harness_set_drop_buffers (rig->t, TRUE);
  pad = gst_element_get_static_pad (rig->element, "text");
  gst_pad_add_probe (pad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_text,
      &rig->heard, NULL);
  gst_object_unref (pad);
  gst_harness_set_src_caps_str (rig->h, CAPS_RGB);
  if (segment)
    gst_harness_push_event (rig->h, gst_event_new_segment (segment));
}

/* EOS, and what was said until then. */
static void
rig_end (Rig * rig, const gchar * wanted)
{
  gboolean eos = FALSE;
  guint i;

  fail_unless (gst_harness_push_event (rig->h, gst_event_new_eos ()));
  for (i = 0; i < 5000 && !eos; i++) {
    g_usleep (1000);
    g_mutex_lock (&rig->heard.lock);
    eos = rig->heard.eos;
    g_mutex_unlock (&rig->heard.lock);
  }
  fail_unless (eos);
  fail_if (rig->heard.overlap, "%s", rig->heard.said->str);
  if (wanted)
    fail_unless_equals_string (rig->heard.said->str, wanted);
}

static void
rig_free (Rig * rig)
{
  gst_harness_teardown (rig->t);
  gst_object_unref (rig->element);
  caption_harness_end (rig->h);
  g_string_free (rig->heard.said, TRUE);
  g_mutex_clear (&rig->heard.lock);
}

static void
expect_text (const gchar * properties, const GstSegment * segment,
    GstClockTime from, gint step, guint n, const gchar * wanted)
{
  Rig rig;
  guint i;

  rig_new (&rig, NULL, properties, segment);
  for (i = 0; i < n; i++)
    g_free (pass (rig.h,
            frame_at (from + (gint64) i * step * (gint64) FRAME_TIME, NONE,
                FRAME_TIME)));
  rig_end (&rig, wanted);
  rig_free (&rig);
}

/* Whatever the segment, the text is in running time: what a subtitle file has to say. */
GST_START_TEST (test_running_time)
{
  const gchar *two = "0+1000 caption 0; 1000+1000 caption 1; ";
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  expect_text ("mode=sync", &segment, 0, 1, 20, two);
  /* An edit list: the media begin at 3.5 s. */
  segment.start = segment.position = 3500 * MS;
  segment.time = 0;
  expect_text ("mode=sync", &segment, 3500 * MS, 1, 20, two);
  expect_text ("mode=sync cue-duration=0", &segment, 3500 * MS, 1, 20, two);
  /* Its end cuts the last cue; a frame that begins before its start is shown from there on. */
  segment.stop = 5000 * MS;
  expect_text ("mode=sync", &segment, 3450 * MS, 1, 15,
      "0+950 caption 0; 950+550 caption 1; ");
  segment.stop = NONE;
  /* After another one, and at twice the speed. */
  segment.base = 7 * GST_SECOND;
  expect_text ("mode=sync", &segment, 3500 * MS, 1, 20,
      "7000+1000 caption 0; 8000+1000 caption 1; ");
  segment.rate = 2.0;
  expect_text ("mode=sync", &segment, 3500 * MS, 1, 20,
      "7000+500 caption 0; 7500+500 caption 1; ");
  segment.rate = 0.5;
  expect_text ("mode=sync", &segment, 3500 * MS, 1, 10,
      "7000+1000 caption 0; 8000+1000 caption 0; ");
  /* Begun in the middle, as after a seek that keeps the rest of running time. */
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.offset = GST_SECOND;
  expect_text ("mode=sync", &segment, GST_SECOND, 1, 20, two);
  /* Bytes have no running time: the timestamps stand for it. */
  gst_segment_init (&segment, GST_FORMAT_BYTES);
  expect_text ("mode=sync", &segment, 3 * GST_SECOND, 1, 20,
      "3000+1000 caption 0; 4000+1000 caption 1; ");
  /* Backwards there are no words, and GAPs go on in running time. */
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = -1.0;
  segment.stop = 2 * GST_SECOND;
  {
    Rig rig;
    guint i;

    rig_new (&rig, NULL, "mode=sync", &segment);
    for (i = 0; i < 20; i++)
      g_free (pass (rig.h, frame_at ((19 - i) * FRAME_TIME, NONE, FRAME_TIME)));
    rig_end (&rig, NULL);
    fail_unless_equals_int (rig.heard.cues, 0);
    fail_unless (rig.heard.gaps > 0 && rig.heard.first_gap == 0);
    rig_free (&rig);
  }
}

GST_END_TEST;

/* After a flush the text begins where running time does, and nothing from before is said. */
GST_START_TEST (test_text_seek)
{
  GstSegment segment;
  Rig rig;
  guint i;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  rig_new (&rig, NULL, "mode=sync cue-duration=0", &segment);
  for (i = 0; i < 15; i++)
    g_free (pass (rig.h, frame_at (i * FRAME_TIME, NONE, FRAME_TIME)));
  gst_harness_push_event (rig.h, gst_event_new_flush_start ());
  gst_harness_push_event (rig.h, gst_event_new_flush_stop (TRUE));
  g_mutex_lock (&rig.heard.lock);
  g_string_truncate (rig.heard.said, 0);
  rig.heard.cues = 0;
  g_mutex_unlock (&rig.heard.lock);
  segment.start = segment.time = segment.position = 30 * GST_SECOND;
  gst_harness_push_event (rig.h, gst_event_new_segment (&segment));
  for (i = 0; i < 15; i++)
    g_free (pass (rig.h, frame_at (30 * GST_SECOND + i * FRAME_TIME, NONE,
                FRAME_TIME)));
  rig_end (&rig, NULL);
  fail_unless (g_str_has_suffix (rig.heard.said->str,
          "0+1000 caption 2; 1000+500 caption 3; "), "%s", rig.heard.said->str);
  rig_free (&rig);
}

GST_END_TEST;

/* Without timestamps the text comes by arrival as well; each caption has a cue, also where frames
 * come faster than any time goes. */
GST_START_TEST (test_text_arrival)
{
  GstSegment segment;
  Rig rig;
  guint i;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = 9 * GST_SECOND;
  rig_new (&rig, NULL, "mode=sync", &segment);
  gst_harness_use_testclock (rig.h);
  for (i = 0; i < 20; i++) {
    gst_harness_set_time (rig.h, GST_SECOND + i * FRAME_TIME);
    g_free (pass (rig.h, frame_at (NONE, NONE, FRAME_TIME)));
  }
  rig_end (&rig, "1000+1000 caption 0; 2000+1000 caption 1; ");
  rig_free (&rig);

  rig_new (&rig, NULL, "mode=sync interval=0", NULL);
  gst_harness_use_testclock (rig.h);
  for (i = 0; i < 50; i++)
    g_free (pass (rig.h, frame_at (NONE, NONE, NONE)));
  rig_end (&rig, NULL);
  fail_unless_equals_int (rig.heard.cues, 50);
  rig_free (&rig);
}

GST_END_TEST;

/* Async, and the interval is a quarter of the cue duration: every caption has a cue. Each result is
 * waited for, so that each due frame gives one. */
GST_START_TEST (test_none_is_lost)
{
  Rig rig;
  guint i, n = 0;

  rig_new (&rig, NULL, "mode=async interval=250000000", NULL);
  for (i = 0; i < 160; i++) {
    GstClockTime pts = gst_util_uint64_scale (i, GST_SECOND, 40);

    g_free (pass (rig.h, frame_at (pts, NONE, 25 * MS)));
    if (i % 10 == 0)
      caption_wait (rig.element, "captions", ++n);
  }
  rig_end (&rig, NULL);
  fail_unless_equals_int (n, 16);
  for (i = 0; i < n; i++) {
    gchar *text = g_strdup_printf (" caption %u;", i);

    fail_unless (strstr (rig.heard.said->str, text) != NULL, "no%s in %s", text,
        rig.heard.said->str);
    g_free (text);
  }
  fail_unless_equals_uint64 (caption_stat (rig.element, "text-drops"), 0);
  rig_free (&rig);
}

GST_END_TEST;

/* When the last cue with these words ends, in ms. */
static guint64
end_of (const gchar * said, const gchar * words)
{
  const gchar *at = g_strrstr (said, words), *start = at;
  gchar *rest;
  guint64 begin;

  while (start > said && start[-1] != ' ')
    start--;
  begin = g_ascii_strtoull (start, &rest, 10);
  return begin + g_ascii_strtoull (rest + 1, NULL, 10);
}

/* After a cut old words leave the text pad in time, and the new ones have a cue when they come. */
GST_START_TEST (test_old_words)
{
  guint one_cue, i, n;

  for (one_cue = 0; one_cue < 2; one_cue++) {
    gchar *properties = g_strdup_printf ("mode=async interval=0 "
        "cut-threshold=0.5 caption-hold=500000000%s",
        one_cue ? " cue-duration=0" : "");
    Rig rig;

    rig_new (&rig, "hold=@/hold\ntext={luma}", properties, NULL);
    for (i = 0; i < 40; i++) {
      if (i > 0 && i < 3)
        caption_wait (rig.element, "captions", i);
      if (i == 2)
        caption_hold ();
      g_free (pass (rig.h, caption_frame (i, i < 20 ? 10 : 250)));
    }
    caption_release ();
    /* The caption that the cut ended needs a moment to end, and none may be in the making before. */
    for (n = 0; n < 20 && i < 20000; i++) {
      n += caption_stat (rig.element, "captions") > 2;
      g_free (pass (rig.h, caption_frame (i, 250)));
      g_usleep (n > 0 ? 0 : 1000);
    }
    rig_end (&rig, NULL);
    /* Shown until half a second after the cut at two seconds; nothing then, until new words come. */
    fail_unless (rig.heard.gaps > 0, "%s", rig.heard.said->str);
    fail_unless (strstr (rig.heard.said->str, " 10; ") != NULL, "%s",
        rig.heard.said->str);
    fail_unless (strstr (rig.heard.said->str, " 250; ") != NULL, "%s",
        rig.heard.said->str);
    /* A slice of at most a second that began before the cut goes on to its end. */
    fail_unless (one_cue ? end_of (rig.heard.said->str, " 10; ") == 2500 :
        end_of (rig.heard.said->str, " 10; ") < 3000, "%s",
        rig.heard.said->str);
    rig_free (&rig);
    g_free (properties);
  }
}

GST_END_TEST;

/* Equal captions are one cue where one cue per caption is asked for, in both modes. */
GST_START_TEST (test_equal_captions)
{
  Rig rig;
  guint i, async;

  for (async = 0; async < 2; async++) {
    rig_new (&rig, "text=still\n",
        async ? "mode=async cue-duration=0" : "mode=sync cue-duration=0", NULL);
    for (i = 0; i < 750; i++) {
      g_free (pass (rig.h, frame_at (i * FRAME_TIME, NONE, FRAME_TIME)));
      if (i % 10 == 0)          /* else the last result may come at EOS, for after the video */
        caption_wait (rig.element, "captions", i / 10 + 1);
    }
    rig_end (&rig, NULL);
    fail_unless_equals_int (rig.heard.cues, 1);
    fail_unless (g_str_has_suffix (rig.heard.said->str,
            async ? "100+74900 still; " : "0+75000 still; "), "%s",
        rig.heard.said->str);
    rig_free (&rig);
  }
}

GST_END_TEST;

static Suite *
time_suite (void)
{
  Suite *suite = suite_create ("time");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_arrival);
  tcase_add_test (tcase, test_arrival_without_clock);
  tcase_add_test (tcase, test_arrival_paused);
  tcase_add_test (tcase, test_arrival_clock_changes);
  tcase_add_test (tcase, test_no_pictures);
  tcase_add_test (tcase, test_dts);
  tcase_add_test (tcase, test_some_have_timestamps);
  tcase_add_test (tcase, test_backwards);
  tcase_add_loop_test (tcase, test_odd_segments, 0, 2);
  tcase_add_test (tcase, test_running_time);
  tcase_add_test (tcase, test_text_seek);
  tcase_add_test (tcase, test_text_arrival);
  tcase_add_test (tcase, test_none_is_lost);
  tcase_add_test (tcase, test_old_words);
  tcase_add_test (tcase, test_equal_captions);
  return suite;
}

GST_CHECK_MAIN (time);
