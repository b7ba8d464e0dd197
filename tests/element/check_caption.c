/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_caption.c - what palmecaption says and how: metadata, message, signal, property, in both
 * modes, with the options that reach the engine. Frames of all kinds are in check_frames.c, states
 * and faults in check_states.c. It is long because each test is a short story of its own; none
 * knows another.
 */
#include <string.h>

#include "support/captionhost.h"

/* ---- Video in place ------------------------------------------------------------------------- */

GST_START_TEST (test_in_place)
{
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstBuffer *in, *out, *other;
  GstMemory *memory;
  GstMapInfo map;
  gint i;

  in = caption_frame (0, 77);
  memory = gst_buffer_peek_memory (in, 0);
  fail_unless_equals_int (gst_harness_push (h, in), GST_FLOW_OK);
  out = gst_harness_pull (h);
  fail_unless (out == in, "a writable buffer is the same buffer");
  fail_unless (gst_buffer_peek_memory (out, 0) == memory);
  fail_unless_equals_int (gst_buffer_n_memory (out), 1);
  gst_buffer_unref (out);

  /* Somebody else holds the buffer, as a tee does: it stays as it is. */
  other = caption_frame (1, 78);
  memory = gst_buffer_peek_memory (other, 0);
  fail_unless_equals_int (gst_harness_push (h, gst_buffer_ref (other)),
      GST_FLOW_OK);
  out = gst_harness_pull (h);
  fail_unless (out != other);
  fail_unless (gst_buffer_peek_memory (out, 0) == memory);
  fail_unless (gst_buffer_get_custom_meta (other,
          "GstPalmeCaptionMeta") == NULL);
  fail_unless (gst_buffer_get_custom_meta (out, "GstPalmeCaptionMeta") != NULL);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (out), FRAME_TIME);
  fail_unless_equals_uint64 (GST_BUFFER_DURATION (out), FRAME_TIME);
  fail_unless (gst_buffer_map (out, &map, GST_MAP_READ));
  fail_unless_equals_int (map.size, 8 * 8 * 3);
  for (i = 0; i < 8 * 8 * 3; i++)
    fail_unless_equals_int (map.data[i], 78);
  gst_buffer_unmap (out, &map);
  gst_buffer_unref (out);
  gst_buffer_unref (other);
  caption_harness_end (h);
}

GST_END_TEST;

static const GstStructure *
meta_of (GstBuffer * buffer)
{
  GstCustomMeta *meta =
      gst_buffer_get_custom_meta (buffer, "GstPalmeCaptionMeta");

  fail_unless (meta != NULL);
  return gst_custom_meta_get_structure (meta);
}

static void
expect_meta (GstBuffer * buffer, const gchar * text, GstClockTime timestamp,
    gboolean fresh)
{
  const GstStructure *s = meta_of (buffer);
  guint64 stamp, latency;
  gboolean is_fresh;
  gdouble score;
  gint version;

  fail_unless_equals_string (gst_structure_get_string (s, "text"), text);
  fail_unless (gst_structure_get_uint64 (s, "timestamp", &stamp));
  fail_unless_equals_uint64 (stamp, timestamp);
  fail_unless (gst_structure_get_boolean (s, "fresh", &is_fresh));
  fail_unless (is_fresh == fresh);
  fail_unless (gst_structure_get_uint64 (s, "latency", &latency));
  fail_unless (latency > 0 && latency < 20 * GST_SECOND);
  fail_unless (gst_structure_get_double (s, "score", &score));
  fail_unless_equals_float (score, -0.25);
  fail_unless_equals_string (gst_structure_get_string (s, "model"), "tiny");
  fail_unless_equals_string (gst_structure_get_string (s, "source"), "cap");
  fail_unless (gst_structure_get_int (s, "version", &version));
  fail_unless_equals_int (version, 1);
}

GST_START_TEST (test_meta)
{
  GstHarness *h = caption_harness ("name=tiny\nscore=-0.25\nlook_ms=2\n",
      "mode=sync interval=200000000 name=cap");
  GstBuffer *b, *copy;
  gpointer state = NULL;
  GstMeta *meta;
  gint i, n;

  for (i = 0; i < 5; i++) {
    gchar *text = g_strdup_printf ("caption %d", i / 2);

    b = caption_pass (h, i);
    expect_meta (b, text, (i / 2) * 2 * FRAME_TIME, i % 2 == 0);
    copy = gst_buffer_copy_deep (b);
    expect_meta (copy, text, (i / 2) * 2 * FRAME_TIME, i % 2 == 0);
    gst_buffer_unref (copy);
    gst_buffer_unref (b);
    g_free (text);
  }

  /* What is there already is replaced: a buffer that comes again has one caption. */
  b = caption_frame (6, 1);
  gst_custom_meta_get_structure (gst_buffer_add_custom_meta (b,
          "GstPalmeCaptionMeta"));
  fail_unless_equals_int (gst_harness_push (h, b), GST_FLOW_OK);
  b = gst_harness_pull (h);
  expect_meta (b, "caption 3", 6 * FRAME_TIME, TRUE);
  /* Beside metadata for analytics, where GStreamer has it. */
  for (n = 0; (meta = gst_buffer_iterate_meta (b, &state)) != NULL;)
    n += meta->info == gst_meta_get_info ("GstPalmeCaptionMeta");
  fail_unless_equals_int (n, 1);
  gst_buffer_unref (b);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Modes ----------------------------------------------------------------------------------- */

GST_START_TEST (test_sync)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=1000000000");
  guint i;

  for (i = 0; i < 40; i++) {
    gchar *text = g_strdup_printf ("caption %u", i / 10);

    caption_expect (h, i, text);
    g_free (text);
  }
  fail_unless_equals_uint64 (caption_stat (h->element, "frames"), 40);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 4);
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 4);
  fail_unless_equals_uint64 (caption_stat (h->element, "skipped-busy"), 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* Frames pass while the engine works; the caption appears on the first frame after it is ready. */
GST_START_TEST (test_async)
{
  GstHarness *h;
  GstBuffer *b;
  guint i;

  caption_hold ();
  h = caption_harness ("hold=@/hold\nname=tiny\nscore=-0.25\n",
      "mode=async interval=0 name=cap");
  for (i = 0; i < 10; i++)
    caption_expect (h, i, NULL);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 10);
  fail_unless_equals_uint64 (caption_stat (h->element, "skipped-busy"), 9);
  caption_release ();
  caption_wait (h->element, "captions", 1);
  b = caption_pass (h, 10);
  expect_meta (b, "caption 0", 0, TRUE);
  gst_buffer_unref (b);
  /* The slot was empty again on frame 10, which nobody waited in front of. */
  caption_wait (h->element, "captions", 2);
  b = caption_pass (h, 11);
  expect_meta (b, "caption 1", 10 * FRAME_TIME, TRUE);
  gst_buffer_unref (b);
  caption_harness_end (h);
}

GST_END_TEST;

/* With an interval, a due frame that met a busy worker hands its turn to the next one. */
GST_START_TEST (test_async_next_is_due)
{
  GstHarness *h;
  guint i;

  caption_hold ();
  h = caption_harness ("hold=@/hold\njournal=@/journal\n",
      "mode=async interval=1000000000");
  caption_expect (h, 0, NULL);
  caption_expect (h, 9, NULL);
  caption_expect (h, 10, NULL); /* due and busy */
  caption_expect (h, 11, NULL); /* due and busy */
  caption_release ();
  caption_wait (h->element, "captions", 1);
  caption_expect (h, 12, "caption 0");  /* due and idle */
  caption_wait (h->element, "captions", 2);
  caption_expect (h, 13, "caption 1");
  caption_expect (h, 19, "caption 1");
  fail_unless_equals_int (caption_journal ("look"), 2);
  caption_expect (h, 20, "caption 1");  /* the grid did not move */
  caption_wait (h->element, "captions", 3);
  /* A turn that is handed on is one, and was not skipped. */
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 3);
  fail_unless_equals_uint64 (caption_stat (h->element, "skipped-busy"), 0);
  /* One that is overtaken by the next was: of 30, 40 and 50 the last one has a caption. */
  caption_hold ();
  caption_expect (h, 21, "caption 2");
  g_signal_emit_by_name (h->element, "caption-now");
  caption_expect (h, 22, "caption 2");  /* a turn of its own */
  for (i = 23; i < 55; i++)
    caption_expect (h, i, "caption 2");
  caption_release ();
  caption_wait (h->element, "captions", 4);
  caption_expect (h, 55, "caption 3");
  caption_wait (h->element, "captions", 5);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 7);
  fail_unless_equals_uint64 (caption_stat (h->element, "skipped-busy"), 2);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_auto)
{
  GstHarness *h;
  guint live;

  for (live = 0; live < 2; live++) {
    caption_hold ();
    h = caption_harness ("hold=@/hold\n", NULL);
    gst_harness_set_live (h, live);
    if (live) {
      caption_expect (h, 0, NULL);      /* it does not wait */
      caption_release ();
    } else {
      caption_release ();
      caption_expect (h, 0, "caption 0");
    }
    caption_harness_end (h);
  }
}

GST_END_TEST;

GST_START_TEST (test_caption_now)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=1000000000");

  caption_expect (h, 0, "caption 0");
  caption_expect (h, 1, "caption 0");
  g_signal_emit_by_name (h->element, "caption-now");
  caption_expect (h, 2, "caption 1");
  caption_expect (h, 3, "caption 1");
  caption_expect (h, 10, "caption 1");  /* the grid begins at frame 2 now */
  caption_expect (h, 12, "caption 2");
  caption_harness_end (h);

  /* In async mode the turn is kept until the worker is idle. */
  caption_hold ();
  h = caption_harness ("hold=@/hold\n", "mode=async interval=1000000000");
  caption_expect (h, 0, NULL);
  g_signal_emit_by_name (h->element, "caption-now");
  caption_expect (h, 1, NULL);
  caption_release ();
  caption_wait (h->element, "captions", 1);
  caption_expect (h, 2, "caption 0");
  caption_wait (h->element, "captions", 2);
  caption_expect (h, 3, "caption 1");
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_interval_in_playing)
{
  GstHarness *h = caption_harness (NULL,
      "mode=sync interval=18446744073709551615");

  caption_expect (h, 0, "caption 0");
  caption_expect (h, 100, "caption 0");
  caption_expect (h, 36000, "caption 0");
  g_object_set (h->element, "interval", GST_SECOND, NULL);
  caption_expect (h, 36001, "caption 1");
  caption_expect (h, 36002, "caption 1");
  g_object_set (h->element, "interval", (guint64) 0, NULL);
  caption_expect (h, 36003, "caption 2");
  caption_expect (h, 36004, "caption 3");
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Message, signal, notify
 * -------------------------------------------------------------------- */

typedef struct
{
  guint signals, notifies, delays;
  gchar *text;
  guint64 pts, running_time, latency;
} Heard;

static void
on_caption (GstElement * element, const gchar * text, guint64 pts,
    guint64 running_time, guint64 latency, Heard * heard)
{
  GstStructure *stats;
  gchar *current;

  /* No lock is held, so anything may be asked for and set. */
  g_object_get (element, "caption", &current, NULL);
  fail_unless_equals_string (current, text);
  g_free (current);
  g_object_get (element, "stats", &stats, NULL);
  gst_structure_free (stats);
  g_object_set (element, "temperature", 0.0, "prompt", NULL, NULL);
  GST_OBJECT_LOCK (element);
  GST_OBJECT_UNLOCK (element);
  heard->signals++;
  g_free (heard->text);
  heard->text = g_strdup (text);
  heard->pts = pts;
  heard->running_time = running_time;
  heard->latency = latency;
}

static void
on_notify (GstElement * element, GParamSpec * pspec, guint * count)
{
  (void) pspec;
  GST_OBJECT_LOCK (element);
  GST_OBJECT_UNLOCK (element);
  (*count)++;
}

static guint64
field (GstMessage * message, const gchar * name)
{
  guint64 value;

  fail_unless (gst_structure_get_uint64 (gst_message_get_structure (message),
          name, &value), "no field %s", name);
  return value;
}

GST_START_TEST (test_message)
{
  GstElement *element = caption_element ("text=a <b> & {n}\nscore=-1.5\n",
      "mode=sync interval=100000000");
  GstHarness *h;
  GstSegment segment;
  GstMessage *message;
  Heard heard = { 0 };
  const GstStructure *s;
  guint64 last;
  gdouble score;

  g_signal_connect (element, "new-caption", G_CALLBACK (on_caption), &heard);
  g_signal_connect (element, "notify::caption", G_CALLBACK (on_notify),
      &heard.notifies);
  g_signal_connect (element, "notify::last-latency", G_CALLBACK (on_notify),
      &heard.delays);
  h = gst_harness_new_with_element (element, "sink", "src");
  gst_object_unref (element);
  gst_harness_set_src_caps_str (h, CAPS_RGB);
  /* Stream time and running time are not the timestamp. */
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = 2.0;
  segment.start = GST_SECOND;
  segment.time = 10 * GST_SECOND;
  segment.base = 5 * GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));

  caption_expect (h, 20, "a <b> & 0");
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless (message != NULL);
  s = gst_message_get_structure (message);
  fail_unless_equals_string (gst_structure_get_string (s, "text"), "a <b> & 0");
  fail_unless_equals_string (gst_structure_get_string (s, "markup"),
      "a &lt;b&gt; &amp; 0");
  fail_unless_equals_uint64 (field (message, "timestamp"), 2 * GST_SECOND);
  fail_unless_equals_uint64 (field (message, "stream-time"), 11 * GST_SECOND);
  fail_unless_equals_uint64 (field (message, "running-time"),
      5 * GST_SECOND + GST_SECOND / 2);
  fail_unless_equals_uint64 (field (message, "duration"), FRAME_TIME);
  g_object_get (h->element, "last-latency", &last, NULL);
  fail_unless_equals_uint64 (field (message, "latency"), last);
  fail_unless (gst_structure_get_double (s, "score", &score));
  fail_unless_equals_float (score, -1.5);
  gst_message_unref (message);

  fail_unless_equals_int (heard.signals, 1);
  fail_unless_equals_string (heard.text, "a <b> & 0");
  fail_unless_equals_uint64 (heard.pts, 2 * GST_SECOND);
  fail_unless_equals_uint64 (heard.running_time,
      5 * GST_SECOND + GST_SECOND / 2);
  fail_unless_equals_uint64 (heard.latency, last);
  fail_unless_equals_int (heard.notifies, 1);
  fail_unless_equals_int (heard.delays, 1);

  caption_expect (h, 21, "a <b> & 1");
  fail_unless_equals_int (heard.signals, 2);
  fail_unless_equals_int (heard.notifies, 2);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      1);

  g_object_set (h->element, "post-messages", FALSE, NULL);
  caption_expect (h, 22, "a <b> & 2");
  fail_unless_equals_int (heard.signals, 3);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      0);
  caption_harness_end (h);
  g_free (heard.text);
}

GST_END_TEST;

GST_START_TEST (test_only_on_change)
{
  GstHarness *h = caption_harness ("text=the same\n", "mode=sync interval=0");
  Heard heard = { 0 };

  g_signal_connect (h->element, "new-caption", G_CALLBACK (on_caption), &heard);
  g_signal_connect (h->element, "notify::caption", G_CALLBACK (on_notify),
      &heard.notifies);
  caption_expect (h, 0, "the same");
  caption_expect (h, 1, "the same");
  fail_unless_equals_int (heard.signals, 2);
  fail_unless_equals_int (heard.notifies, 1);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      2);
  g_object_set (h->element, "only-on-change", TRUE, NULL);
  caption_expect (h, 2, "the same");
  caption_expect (h, 3, "the same");
  fail_unless_equals_int (heard.signals, 2);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      0);
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 4);
  caption_harness_end (h);
  g_free (heard.text);
}

GST_END_TEST;

/* Every output has the sanitised text. */
GST_START_TEST (test_hostile_text)
{
  GstHarness *h = caption_harness ("piece=1\ntext=\\xEF\\xBB\\xBF a\\n\\n1\\n"
      "00:00 --> 00:01\\n\\x1b[2J<span>caf\\xC3\\xA9\\xE2\\x80\\xAE\\xFF {n}\n",
      "mode=sync interval=0");
  const gchar *wanted = "a 1 00:00 -> 00:01 [2J<span>caf\xc3\xa9\xef\xbf\xbd 0";
  GstMessage *message;
  gchar *text;

  caption_expect (h, 0, wanted);
  g_object_get (h->element, "caption", &text, NULL);
  fail_unless_equals_string (text, wanted);
  g_free (text);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless_equals_string (gst_structure_get_string
      (gst_message_get_structure (message), "text"), wanted);
  gst_message_unref (message);
  caption_harness_end (h);

  /* Nothing to say is a caption too: "" means "no caption". */
  h = caption_harness ("text=\\n \\x07\n", "mode=sync interval=0");
  caption_expect (h, 0, "");
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- The text pad of the whole element
 * ------------------------------------------------------------ */

static void
expect_event (GstHarness * t, GstEventType type, GstClockTime gap)
{
  GstEvent *event = gst_harness_pull_event (t);
  GstClockTime pts;

  fail_unless (event != NULL);
  fail_unless (GST_EVENT_TYPE (event) == type, "%s, not %s",
      GST_EVENT_TYPE_NAME (event), gst_event_type_get_name (type));
  if (type == GST_EVENT_GAP) {
    gst_event_parse_gap (event, &pts, NULL);
    fail_unless_equals_uint64 (pts, gap);
  }
  gst_event_unref (event);
}

/* Cues end where the next frame is due; each frame that starts none is a GAP, a flagged one as
 * well. */
GST_START_TEST (test_text_pad)
{
  GstElement *element = caption_element (NULL, "mode=sync interval=300000000");
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  GstHarness *t = gst_harness_new_with_element (element, NULL, "text");
  GstBuffer *frame, *cue;
  GstMapInfo map;
  guint i;

  gst_harness_set_src_caps_str (h, CAPS_RGB);
  for (i = 0; i < 7; i++) {
    frame = caption_frame (i, 1);
    if (i == 1)
      GST_BUFFER_FLAG_SET (frame, GST_BUFFER_FLAG_GAP);
    fail_unless_equals_int (gst_harness_push (h, frame), GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
    if (i == 0) {
      expect_event (t, GST_EVENT_STREAM_START, 0);
      expect_event (t, GST_EVENT_CAPS, 0);
      expect_event (t, GST_EVENT_SEGMENT, 0);
    }
    /* One by one: GAPs that wait become one. */
    if (i % 3 == 0) {
      gchar *text = g_strdup_printf ("caption %u", i / 3);

      cue = gst_harness_pull (t);
      fail_unless (cue != NULL);
      fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), i * FRAME_TIME);
      fail_unless_equals_uint64 (GST_BUFFER_DURATION (cue), 3 * FRAME_TIME);
      gst_buffer_map (cue, &map, GST_MAP_READ);
      fail_unless (map.size >= strlen (text)
          && memcmp (map.data, text, strlen (text)) == 0);
      gst_buffer_unmap (cue, &map);
      gst_buffer_unref (cue);
      g_free (text);
    } else {
      expect_event (t, GST_EVENT_GAP, i * FRAME_TIME);
    }
  }
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  expect_event (t, GST_EVENT_EOS, 0);
  gst_harness_teardown (t);
  gst_object_unref (element);
  caption_harness_end (h);
}

GST_END_TEST;

/* Pushes frame n, which is captioned with a score of -1.5. All outputs say the same, and "" where the
 * caption is empty: a GAP is that on the text pad. */
static void
expect_scored (GstHarness * h, GstHarness * t, const Heard * heard, guint n,
    const gchar * wanted)
{
  GstBuffer *buffer = caption_pass (h, n), *cue;
  GstMessage *message;
  gboolean fresh;
  gdouble score;
  gchar *text;

  fail_unless_equals_string (gst_structure_get_string (meta_of (buffer),
          "text"), wanted);
  fail_unless (gst_structure_get_boolean (meta_of (buffer), "fresh", &fresh)
      && fresh);
  fail_unless (gst_structure_get_double (meta_of (buffer), "score", &score));
  fail_unless_equals_float (score, -1.5);
  gst_buffer_unref (buffer);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless (message != NULL);
  fail_unless_equals_string (gst_structure_get_string
      (gst_message_get_structure (message), "text"), wanted);
  fail_unless_equals_string (gst_structure_get_string
      (gst_message_get_structure (message), "markup"), wanted);
  fail_unless (gst_structure_get_double (gst_message_get_structure (message),
          "score", &score));
  fail_unless_equals_float (score, -1.5);
  gst_message_unref (message);
  fail_unless_equals_string (heard->text, wanted);
  g_object_get (h->element, "caption", &text, NULL);
  fail_unless_equals_string (text, wanted);
  g_free (text);
  if (wanted[0] == '\0') {
    expect_event (t, GST_EVENT_GAP, n * FRAME_TIME);
    return;
  }
  cue = gst_harness_pull (t);
  fail_unless (cue != NULL);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), n * FRAME_TIME);
  fail_unless (gst_buffer_memcmp (cue, 0, wanted, strlen (wanted)) == 0);
  gst_buffer_unref (cue);
}

/* The limit is the model's, or another one, or none; it may change while frames flow. */
GST_START_TEST (test_min_score)
{
  GstElement *element = caption_element ("text=words\nscore=-1.5\n"
      "min_score=-1\n", "mode=sync interval=0");
  GstHarness *h, *t;
  Heard heard = { 0 };
  GstStructure *info;
  gdouble value;

  g_signal_connect (element, "new-caption", G_CALLBACK (on_caption), &heard);
  g_signal_connect (element, "notify::caption", G_CALLBACK (on_notify),
      &heard.notifies);
  h = gst_harness_new_with_element (element, "sink", "src");
  t = gst_harness_new_with_element (element, NULL, "text");
  gst_harness_set_src_caps_str (h, CAPS_RGB);
  gst_buffer_unref (caption_pass (h, 0));
  expect_event (t, GST_EVENT_STREAM_START, 0);
  expect_event (t, GST_EVENT_CAPS, 0);
  expect_event (t, GST_EVENT_SEGMENT, 0);
  expect_event (t, GST_EVENT_GAP, 0);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      1);

  expect_scored (h, t, &heard, 1, "");
  gst_util_set_object_arg (G_OBJECT (element), "min-score", "-2");
  expect_scored (h, t, &heard, 2, "words");
  gst_util_set_object_arg (G_OBJECT (element), "min-score", "-1.5");
  expect_scored (h, t, &heard, 3, "words");
  gst_util_set_object_arg (G_OBJECT (element), "min-score", "-1.25");
  expect_scored (h, t, &heard, 4, "");
  gst_util_set_object_arg (G_OBJECT (element), "min-score", "-inf");
  expect_scored (h, t, &heard, 5, "words");
  gst_util_set_object_arg (G_OBJECT (element), "min-score", "1");
  expect_scored (h, t, &heard, 6, "");
  /* From none to "", then four changes. */
  fail_unless_equals_int (heard.notifies, 5);
  fail_unless_equals_int (heard.signals, 7);
  g_object_get (element, "model-info", &info, NULL);
  fail_unless (gst_structure_get_double (info, "min-score", &value));
  fail_unless_equals_float (value, -1);
  gst_structure_free (info);
  g_free (heard.text);
  gst_harness_teardown (t);
  gst_object_unref (element);
  caption_harness_end (h);

  /* A model that recommends nothing has no limit. */
  h = caption_harness ("text=words\nscore=-1000\n", "mode=sync interval=0");
  caption_expect (h, 0, "words");
  g_object_get (h->element, "model-info", &info, "min-score", &value, NULL);
  fail_if (gst_structure_has_field (info, "min-score"));
  fail_unless (value > 0);
  gst_structure_free (info);
  caption_harness_end (h);
}

GST_END_TEST;

/* In async mode the last caption is a cue before EOS. */
GST_START_TEST (test_text_drain)
{
  GstElement *element = caption_element ("look_ms=30\n", "mode=async");
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  GstHarness *t = gst_harness_new_with_element (element, NULL, "text");
  GstBuffer *cue;

  gst_harness_set_src_caps_str (h, CAPS_RGB);
  gst_buffer_unref (caption_pass (h, 0));
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  cue = gst_harness_pull (t);
  fail_unless (cue != NULL);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), FRAME_TIME);
  gst_buffer_unref (cue);
  gst_harness_teardown (t);
  gst_object_unref (element);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Options that reach the engine
 * ---------------------------------------------------------------- */

GST_START_TEST (test_options)
{
  GstHarness *h =
      caption_harness ("text={max_length} {temperature} {top_k} {top_p} "
      "{seed} {beams} {width}x{height} [{prompt}]\nimage_size=21\n",
      "mode=sync interval=0");

  caption_expect (h, 0, "0 0 0 100 0 0 21x21 []");
  g_object_set (h->element, "max-length", 12, "temperature", 0.75, "top-k", 40,
      "top-p", 0.5, "seed", (guint64) 123456789012, "beams", 1, "prompt",
      "a photo of", NULL);
  caption_expect (h, 1, "12 75 40 50 123456789012 1 21x21 [a photo of]");
  g_object_set (h->element, "prompt", "", "top-k", G_MAXUINT, NULL);
  caption_expect (h, 2, "12 75 2147483647 50 123456789012 1 21x21 []");
  g_object_set (h->element, "prompt", NULL, "max-length", 1024, NULL);
  /* The stand-in's context has 64 tokens, the begin token included. */
  caption_expect (h, 3, "63 75 2147483647 50 123456789012 1 21x21 []");
  caption_harness_end (h);
}

GST_END_TEST;

/* More beams open another session between two captions; less does not, nor does a longer text. */
GST_START_TEST (test_reopen)
{
  GstHarness *h = caption_harness ("text={beams} {opened}\nbeams=2\n"
      "journal=@/journal\n", "mode=sync interval=0 max-length=20");

  caption_expect (h, 0, "0 1");
  fail_unless_equals_int (caption_journal ("session 2"), 1);
  g_object_set (h->element, "beams", 1, NULL);
  caption_expect (h, 1, "1 1");
  g_object_set (h->element, "beams", 4, NULL);
  caption_expect (h, 2, "4 2");
  g_object_set (h->element, "beams", 0, "max-length", 10, NULL);
  caption_expect (h, 3, "0 2");
  g_object_set (h->element, "beams", 4, "max-length", 20, NULL);
  caption_expect (h, 4, "4 2");
  g_object_set (h->element, "max-length", 21, NULL);
  caption_expect (h, 5, "4 2");
  g_object_set (h->element, "beams", 8, NULL);
  caption_expect (h, 6, "8 3");
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_time_limit)
{
  /* Three words, each of which takes 50 ms: the limit is over after the first. */
  GstHarness *h = caption_harness ("text=one two three\nnext_ms=50\n",
      "mode=sync interval=0 time-limit=1000000");

  caption_expect (h, 0, "one");
  g_object_set (h->element, "time-limit", G_MAXUINT64, NULL);
  caption_expect (h, 1, "one two three");
  caption_harness_end (h);

  /* What the engine has decided on by then, as with beams, is the rest of the caption. */
  h = caption_harness ("text=one two three\nfinish= with hope\nnext_ms=50\n",
      "mode=sync interval=0 time-limit=1000000");
  caption_expect (h, 0, "one with hope");
  caption_harness_end (h);
}

GST_END_TEST;

/* gst-launch-1.0 sets properties before anybody listens. */
GST_START_TEST (test_refused_in_null)
{
  GstElement *element = gst_element_factory_make ("palmecaption", NULL);
  GstBus *bus = gst_bus_new ();
  gchar *text;

  g_object_set (element, "model", caption_model ("text=x\n"), NULL);
  g_object_set (element, "region", "0.5,0,0.5,1", "blocklist", "@/none", NULL);
  gst_element_set_bus (element, bus);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  text = caption_expect_issue (element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "\"region\" was not set to \"0.5,0,0.5,1\"")
      && strstr (text, "one pixel"), "%s", text);
  g_free (text);
  text = caption_expect_issue (element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "\"blocklist\" was not set to \"@/none\""), "%s",
      text);
  g_free (text);
  /* They are told once. */
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_state (element, GST_STATE_READY);
  fail_unless_equals_int (caption_messages (element, GST_MESSAGE_WARNING), 0);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_refused)
{
  GstHarness *h = caption_harness ("text=[{prompt}]\n",
      "mode=sync interval=0 prompt=old");
  gchar *text, *large = g_strnfill (4097, 'x');
  const gchar *fixed[] = { "threads", "precision", "mode", "auto-overlay" };
  guint i;

  g_object_set (h->element, "prompt", "\xff\xfe", NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "prompt") && strstr (text, "UTF-8"));
  g_free (text);
  g_object_set (h->element, "prompt", large, NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "prompt") && strstr (text, "4096"));
  g_free (text);
  caption_expect (h, 0, "[old]");
  large[4096] = '\0';
  g_object_set (h->element, "prompt", large, NULL);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);

  g_object_set (h->element, "threads", 7, NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "threads") && strstr (text, "7")
      && strstr (text, "READY"));
  g_free (text);
  for (i = 0; i < G_N_ELEMENTS (fixed); i++) {
    GValue value = G_VALUE_INIT;
    GParamSpec *pspec = g_object_class_find_property (G_OBJECT_GET_CLASS
        (h->element), fixed[i]);

    g_value_init (&value, pspec->value_type);
    g_object_get_property (G_OBJECT (h->element), fixed[i], &value);
    g_object_set_property (G_OBJECT (h->element), fixed[i], &value);
    g_value_unset (&value);
    fail_unless_equals_int (caption_messages (h->element,
            GST_MESSAGE_WARNING), 1);
  }
  g_free (large);
  caption_harness_end (h);
}

GST_END_TEST;

/* Every property of ours that can be written says when, and takes each of its extremes in PLAYING. */
GST_START_TEST (test_properties)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GParamSpec **pspecs;
  guint i, n, ours = 0, frame = 0;

  pspecs = g_object_class_list_properties (G_OBJECT_GET_CLASS (h->element), &n);
  for (i = 0; i < n; i++) {
    GParamSpec *p = pspecs[i];
    GValue value = G_VALUE_INIT;
    gint end;

    if (p->owner_type != G_OBJECT_TYPE (h->element))
      continue;
    ours++;
    fail_unless (p->flags & G_PARAM_STATIC_STRINGS);
    fail_unless (g_param_spec_get_blurb (p) != NULL);
    if (!(p->flags & G_PARAM_WRITABLE))
      continue;
    fail_unless (p->flags & (GST_PARAM_MUTABLE_READY
            | GST_PARAM_MUTABLE_PLAYING), "%s has no mutability", p->name);
    /* There is no default model here. */
    if (!(p->flags & GST_PARAM_MUTABLE_PLAYING)
        || strcmp (p->name, "model") == 0)
      continue;
    for (end = 0; end < 2; end++) {
      g_value_init (&value, p->value_type);
      if (G_IS_PARAM_SPEC_UINT (p))
        g_value_set_uint (&value, end ? G_PARAM_SPEC_UINT (p)->maximum :
            G_PARAM_SPEC_UINT (p)->minimum);
      else if (G_IS_PARAM_SPEC_UINT64 (p))
        g_value_set_uint64 (&value, end ? G_PARAM_SPEC_UINT64 (p)->maximum :
            G_PARAM_SPEC_UINT64 (p)->minimum);
      else if (G_IS_PARAM_SPEC_DOUBLE (p))
        g_value_set_double (&value, end ? G_PARAM_SPEC_DOUBLE (p)->maximum :
            G_PARAM_SPEC_DOUBLE (p)->minimum);
      else
        g_param_value_set_default (p, &value);
      g_object_set_property (G_OBJECT (h->element), p->name, &value);
      gst_buffer_unref (caption_pass (h, frame++));
      g_value_unset (&value);
      g_value_init (&value, p->value_type);
      g_param_value_set_default (p, &value);
      g_object_set_property (G_OBJECT (h->element), p->name, &value);
      g_value_unset (&value);
    }
  }
  g_free (pspecs);
#ifdef GST_PALME_HAVE_ANALYTICS
  fail_unless_equals_int (ours, 45);
#else
  fail_unless_equals_int (ours, 44);
#endif
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
}

GST_END_TEST;

static guint
sharers (GstElement * element)
{
  GstStructure *info;
  guint elements;

  g_object_get (element, "model-info", &info, NULL);
  fail_unless (gst_structure_get_uint (info, "elements", &elements));
  gst_structure_free (info);
  return elements;
}

static void
expect_precision (GstElement * element, const gchar * wanted)
{
  GstStructure *info;

  g_object_get (element, "model-info", &info, NULL);
  fail_unless (info != NULL);
  fail_unless_equals_string (gst_structure_get_string (info, "precision"),
      wanted);
  gst_structure_free (info);
}

static void
count_notify (GObject * object, GParamSpec * pspec, guint * count)
{
  (void) object;
  (void) pspec;
  ++*count;
}

GST_START_TEST (test_precision)
{
  static const gchar *const asked[] = { "auto", "f32", "bf16", "int8", NULL };
  static const gchar *const given[] = { "bf16", "f32", "bf16", "int8" };
  GstElement *element = caption_element ("precisions=f32 int8 bf16\n", NULL);
  guint i, notified = 0;
  gchar *text;
  gint value;

  g_object_get (element, "precision", &value, NULL);
  fail_unless_equals_int (value, 0);
  g_signal_connect (element, "notify::precision", G_CALLBACK (count_notify),
      &notified);
  for (i = 0; asked[i] != NULL; i++) {
    gst_util_set_object_arg (G_OBJECT (element), "precision", asked[i]);
    fail_unless_equals_int (notified, i + 1);
    fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
        GST_STATE_CHANGE_SUCCESS);
    expect_precision (element, given[i]);
    gst_element_set_state (element, GST_STATE_NULL);
  }

  /* Set in READY, it is loaded anew on the way to PAUSED. */
  gst_element_set_state (element, GST_STATE_READY);
  expect_precision (element, "int8");
  gst_util_set_object_arg (G_OBJECT (element), "precision", "f32");
  fail_unless (gst_element_set_state (element, GST_STATE_PAUSED) !=
      GST_STATE_CHANGE_FAILURE);
  expect_precision (element, "f32");
  gst_element_set_state (element, GST_STATE_NULL);

  /* What the engine does not compute in is an error that says so. */
  g_object_set (element, "model", caption_model ("precisions=f32\n"), NULL);
  gst_util_set_object_arg (G_OBJECT (element), "precision", "int8");
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_FAILURE);
  text = caption_expect_issue (element, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "precision") && strstr (text, "auto"), "%s", text);
  g_free (text);
  gst_element_set_state (element, GST_STATE_NULL);
  caption_element_end (element);
}

GST_END_TEST;

GST_START_TEST (test_model_info)
{
  GstElement *element = caption_element ("name=tiny\nprecisions=int8 f32\n",
      "threads=2");
  GstElement *second = caption_element (NULL, NULL);
  GstElement *third = caption_element (NULL, NULL);
  GstElement *fourth = caption_element (NULL, NULL);
  GstStructure *info;
  gchar *path;
  guint64 parameters;
  gint threads;

  g_object_get (element, "model-info", &info, NULL);
  fail_unless (info == NULL);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  g_object_get (element, "model-info", &info, NULL);
  fail_unless_equals_string (gst_structure_get_string (info, "name"), "tiny");
  fail_unless_equals_string (gst_structure_get_string (info, "precision"),
      "f32");
  fail_unless (gst_structure_get_uint64 (info, "parameters", &parameters));
  fail_unless_equals_uint64 (parameters, 1000);
  fail_unless (gst_structure_get_int (info, "threads", &threads));
  fail_unless_equals_int (threads, 2);
  gst_structure_free (info);
  fail_unless_equals_uint64 (caption_stat (element, "model-bytes"), 4000);

  /* Another one that wants the same shares it, which both can see; one with other threads or another
   * precision does not. */
  g_object_get (element, "model", &path, NULL);
  g_object_set (second, "model", path, "threads", 2, NULL);
  g_object_set (third, "model", path, "threads", 1, NULL);
  g_object_set (fourth, "model", path, "threads", 2, NULL);
  gst_util_set_object_arg (G_OBJECT (fourth), "precision", "int8");
  g_free (path);
  gst_element_set_state (second, GST_STATE_READY);
  gst_element_set_state (third, GST_STATE_READY);
  gst_element_set_state (fourth, GST_STATE_READY);
  fail_unless_equals_int (sharers (element), 2);
  fail_unless_equals_int (sharers (second), 2);
  fail_unless_equals_int (sharers (third), 1);
  fail_unless_equals_int (sharers (fourth), 1);
  caption_element_end (second);
  caption_element_end (third);
  caption_element_end (fourth);
  fail_unless_equals_int (sharers (element), 1);
  gst_element_set_state (element, GST_STATE_NULL);
  g_object_get (element, "model-info", &info, NULL);
  fail_unless (info == NULL);
  caption_element_end (element);
}

GST_END_TEST;

GST_START_TEST (test_stats)
{
  GstHarness *h = caption_harness ("text=one two\nlook_ms=2\nnext_ms=1\n",
      "mode=sync interval=200000000");
  guint i;

  for (i = 0; i < 4; i++)
    gst_buffer_unref (caption_pass (h, i));
  fail_unless_equals_uint64 (caption_stat (h->element, "tokens"), 2 * 3);
  /* The clocks of both sides are cut to microseconds. */
  fail_unless (caption_stat (h->element, "latency-mean") >= 4 * GST_MSECOND);
  fail_unless (caption_stat (h->element, "latency-max")
      >= caption_stat (h->element, "latency-last"));
  fail_unless_equals_uint64 (caption_stat (h->element, "latency-p99"),
      caption_stat (h->element, "latency-max"));
  fail_unless (caption_stat (h->element, "encode-mean") >= GST_MSECOND);
  fail_unless (caption_stat (h->element, "decode-mean") >= 2 * GST_MSECOND);
  fail_unless (caption_stat (h->element, "resize-mean") > 0);
  fail_unless_equals_uint64 (caption_stat (h->element, "stale"), 0);
  fail_unless_equals_uint64 (caption_stat (h->element, "errors"), 0);
  caption_harness_end (h);
}

GST_END_TEST;

static Suite *
caption_suite (void)
{
  Suite *suite = suite_create ("caption");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_in_place);
  tcase_add_test (tcase, test_meta);
  tcase_add_test (tcase, test_sync);
  tcase_add_test (tcase, test_async);
  tcase_add_test (tcase, test_async_next_is_due);
  tcase_add_test (tcase, test_auto);
  tcase_add_test (tcase, test_caption_now);
  tcase_add_test (tcase, test_interval_in_playing);
  tcase_add_test (tcase, test_message);
  tcase_add_test (tcase, test_only_on_change);
  tcase_add_test (tcase, test_hostile_text);
  tcase_add_test (tcase, test_text_pad);
  tcase_add_test (tcase, test_min_score);
  tcase_add_test (tcase, test_text_drain);
  tcase_add_test (tcase, test_options);
  tcase_add_test (tcase, test_reopen);
  tcase_add_test (tcase, test_time_limit);
  tcase_add_test (tcase, test_refused);
  tcase_add_test (tcase, test_refused_in_null);
  tcase_add_test (tcase, test_properties);
  tcase_add_test (tcase, test_precision);
  tcase_add_test (tcase, test_model_info);
  tcase_add_test (tcase, test_stats);
  return suite;
}

GST_CHECK_MAIN (caption);
