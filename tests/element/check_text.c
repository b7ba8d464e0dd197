/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_text.c - the request pad `text`: its life, its task, what it pushes and in which order.
 * gstpalmecaption-textpad.c is driven directly, by a bare element; which frame starts a cue is tested by
 * check_cues.c, and the whole element by check_burnin.c.
 */
#include "support/texthost.h"

#include <string.h>

#define MS GST_MSECOND
#define NONE GST_CLOCK_TIME_NONE

static GstPad *
request (TextHost * host)
{
  return gst_element_request_pad_simple (GST_ELEMENT (host), "text");
}

static void
release (TextHost * host, GstPad * pad)
{
  gst_element_release_request_pad (GST_ELEMENT (host), pad);
  gst_object_unref (pad);
}

static void
frame_at (TextHost * host, GstClockTime start, GstClockTime duration,
    const gchar * caption)
{
  const GstPalmeCuesFrame frame = { start, duration, caption, NONE, NONE };

  gst_palme_caption_textpad_frame (host->text, &frame);
}

/* Frame i of 10 fps. */
static void
frame (TextHost * host, guint i, const gchar * caption)
{
  frame_at (host, i * 100 * MS, 100 * MS, caption);
}

/* A host in PLAYING with a linked pad, stream and segment; the three events are taken. */
static TextHost *
playing (Consumer ** consumer, GstPad ** pad)
{
  TextHost *host = host_new (GST_STATE_READY);

  *pad = request (host);
  fail_unless (*pad != NULL);
  *consumer = consumer_new ();
  consumer_link (*consumer, *pad);
  host_set_state (host, GST_STATE_PLAYING);
  host_stream_start (host, "video");
  host_default_segment (host);
  expect (*consumer, "stream-start");
  expect (*consumer, "caps");
  expect (*consumer, "segment");
  return host;
}

static void
done (TextHost * host, Consumer * consumer, GstPad * pad)
{
  host_free (host);
  gst_object_unref (pad);
  consumer_free (consumer);
}

/* Stream-start, caps, segment, in this order; their content. */
GST_START_TEST (test_sticky_events)
{
  TextHost *host = host_new (GST_STATE_NULL);
  Consumer *consumer = consumer_new ();
  GstPad *pad = request (host);
  GstEvent *event;
  GstStreamFlags flags;
  const GstSegment *segment;
  const gchar *id;
  GstSegment wanted, running;
  GstEvent *segment_event;
  guint32 seqnum;
  GstCaps *caps;
  guint group;
  gchar *string;

  consumer_link (consumer, pad);
  host_set_state (host, GST_STATE_PAUSED);
  host_stream_start (host, "video-1");
  gst_segment_init (&wanted, GST_FORMAT_TIME);
  wanted.start = 3 * GST_SECOND;
  wanted.base = GST_SECOND;
  wanted.rate = -2.0;
  gst_segment_init (&running, GST_FORMAT_TIME);
  segment_event = gst_event_new_segment (&wanted);
  seqnum = gst_event_get_seqnum (segment_event);
  host_event (host, segment_event);

  event = consumer_pop (consumer);
  fail_unless (GST_EVENT_TYPE (event) == GST_EVENT_STREAM_START);
  gst_event_parse_stream_start (event, &id);
  fail_unless_equals_string (id, "video-1/text");
  gst_event_parse_stream_flags (event, &flags);
  fail_unless (flags == GST_STREAM_FLAG_SPARSE);
  fail_unless (gst_event_parse_group_id (event, &group) && group == 7);
  gst_event_unref (event);

  event = consumer_pop (consumer);
  fail_unless (GST_EVENT_TYPE (event) == GST_EVENT_CAPS);
  gst_event_parse_caps (event, &caps);
  string = gst_caps_to_string (caps);
  fail_unless_equals_string (string, "text/x-raw, format=(string)utf8");
  g_free (string);
  gst_event_unref (event);

  event = consumer_pop (consumer);
  fail_unless (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT);
  gst_event_parse_segment (event, &segment);
  fail_unless (gst_segment_is_equal (segment, &running));
  fail_unless_equals_int (gst_event_get_seqnum (event), seqnum);
  gst_event_unref (event);

  /* Caps and tags of the video are not the text's. */
  caps = gst_caps_new_empty_simple ("video/x-raw");
  host_event (host, gst_event_new_caps (caps));
  gst_caps_unref (caps);
  host_event (host, gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, "x",
              NULL)));
  frame_at (host, 3 * GST_SECOND, 100 * MS, NULL);
  expect (consumer, "gap 3.0 0.1");

  /* A later stream starts anew, also on the consumer's side. */
  host_event (host, gst_event_new_eos ());
  expect (consumer, "eos");
  host_stream_start (host, "video-2");
  host_segment (host, &wanted);
  event = consumer_pop (consumer);
  fail_unless (GST_EVENT_TYPE (event) == GST_EVENT_STREAM_START);
  gst_event_parse_stream_start (event, &id);
  fail_unless_equals_string (id, "video-2/text");
  gst_event_unref (event);
  expect (consumer, "caps");
  expect (consumer, "segment");
  frame_at (host, 3 * GST_SECOND, 100 * MS, "a");
  expect (consumer, "cue 3.0 1.0 a");
  done (host, consumer, pad);
}

GST_END_TEST
/* Each frame is one item: a cue or a GAP. Upstream's GAP is a frame without a word. */
GST_START_TEST (test_cue_or_gap)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  guint i;

  consumer->poke = host;
  for (i = 0; i < 45; i++) {
    gchar *wanted =
        g_strdup_printf (i % 10 == 5 ? "cue %u.%u 1.0 %s" : "gap %u.%u 0.1",
        i / 10, i % 10, i < 19 ? "one" : "two");

    if (i % 10 == 0) {
      g_free (wanted);
      wanted = g_strdup_printf ("gap %u.0 0.1", i / 10);
    }
    frame (host, i, i < 5 ? NULL : i < 19 ? "one" : "two");
    expect (consumer, wanted);
    g_free (wanted);
  }
  frame_at (host, 9 * GST_SECOND, GST_SECOND, NULL);
  expect (consumer, "gap 9.0 1.0");
  frame_at (host, NONE, 100 * MS, "x");
  frame_at (host, 10 * GST_SECOND, NONE, "");
  expect (consumer, "gap 10.0 0.033333333");
  fail_unless_equals_int (consumer_settle (consumer, 20), 0);
  fail_unless_equals_uint64 (gst_palme_caption_textpad_get_drops (host->text),
      0);
  done (host, consumer, pad);
}

GST_END_TEST
/* Async: one slice of a caption waits, the newest; GAPs merge; the video is not held. */
GST_START_TEST (test_async_drops)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  guint i;

  consumer_block (consumer, TRUE);
  frame (host, 0, "a");
  consumer_wait_inside (consumer);
  for (i = 1; i < 45; i++)
    frame (host, i, "b");
  fail_unless_equals_uint64 (gst_palme_caption_textpad_get_drops (host->text),
      3);
  consumer_block (consumer, FALSE);
  expect (consumer, "cue 0.0 1.0 a");
  expect (consumer, "gap 0.1 3.9");
  expect (consumer, "cue 4.0 1.0 b");
  expect (consumer, "gap 4.1 0.4");
  /* But every caption does. */
  consumer_block (consumer, TRUE);
  frame (host, 50, "b");
  consumer_wait_inside (consumer);
  frame (host, 60, "c");
  frame (host, 70, "c");
  frame (host, 80, "d");
  consumer_block (consumer, FALSE);
  expect (consumer, "cue 5.0 1.0 b");
  expect (consumer, "cue 7.0 1.0 c");
  expect (consumer, "cue 8.0 1.0 d");
  fail_unless_equals_uint64 (gst_palme_caption_textpad_get_drops (host->text),
      4);
  fail_unless_equals_int (consumer_settle (consumer, 20), 0);
  done (host, consumer, pad);
}

GST_END_TEST
/* Sync: all wait, up to 4096 items; then the oldest cue goes and is counted. */
GST_START_TEST (test_sync_keeps_all)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  guint i;

  gst_palme_caption_textpad_set_exact (host->text, TRUE);
  gst_palme_caption_textpad_set_cue_duration (host->text, 100 * MS);
  consumer_block (consumer, TRUE);
  frame (host, 0, "a");
  consumer_wait_inside (consumer);
  for (i = 1; i <= 4100; i++)
    frame (host, i, i == 5 ? NULL : "b");
  fail_unless_equals_uint64 (gst_palme_caption_textpad_get_drops (host->text),
      4);
  consumer_block (consumer, FALSE);
  expect (consumer, "cue 0.0 0.1 a");
  expect (consumer, "gap 0.5 0.1");     /* 0.1 to 0.4 were dropped */
  for (i = 6; i <= 4100; i++) {
    gchar *wanted = g_strdup_printf ("cue %u.%u 0.1 b", i / 10, i % 10);

    expect (consumer, wanted);
    g_free (wanted);
  }
  done (host, consumer, pad);
}

GST_END_TEST
/* A caption that is held goes on over a segment, as running time does, and ends with the stream. */
GST_START_TEST (test_hold)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  GstSegment segment;

  gst_palme_caption_textpad_set_cue_duration (host->text, 0);
  frame (host, 0, "a");
  expect (consumer, "gap 0.0 0.1");
  frame (host, 1, "a");
  expect (consumer, "gap 0.1 0.1");
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.base = GST_SECOND;
  host_segment (host, &segment);
  expect (consumer, "segment");
  frame (host, 2, "a");
  expect (consumer, "gap 0.2 0.1");
  frame (host, 7, "b");
  expect (consumer, "cue 0.0 0.7 a");
  expect (consumer, "gap 0.7 0.1");
  host_event (host, gst_event_new_eos ());
  expect (consumer, "cue 0.7 0.1 b");
  expect (consumer, "eos");
  done (host, consumer, pad);
}

GST_END_TEST
/* A segment waits behind the cues that were before it. */
GST_START_TEST (test_segment_in_order)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  GstSegment segment;

  gst_palme_caption_textpad_set_exact (host->text, TRUE);
  consumer_block (consumer, TRUE);
  frame (host, 0, "a");
  consumer_wait_inside (consumer);
  frame (host, 10, "b");
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.base = 2 * GST_SECOND;
  host_segment (host, &segment);
  frame (host, 0, "c");
  consumer_block (consumer, FALSE);
  expect (consumer, "cue 0.0 1.0 a");
  expect (consumer, "cue 1.0 1.0 b");
  expect (consumer, "segment");
  expect (consumer, "cue 0.0 1.0 c");
  done (host, consumer, pad);
}

GST_END_TEST
GST_START_TEST (test_flush)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  gint64 start;

  frame (host, 0, "a");
  expect (consumer, "cue 0.0 1.0 a");
  consumer_block (consumer, TRUE);
  frame (host, 10, "b");
  consumer_wait_inside (consumer);
  frame (host, 20, "c");
  start = g_get_monotonic_time ();
  host_event (host, gst_event_new_flush_start ());
  GST_INFO ("flush took %" G_GINT64_FORMAT " us",
      g_get_monotonic_time () - start);
  frame (host, 21, "d");        /* late, from before the flush: dropped */
  host_event (host, gst_event_new_flush_stop (TRUE));
  host_default_segment (host);
  frame (host, 3, "e");
  expect (consumer, "flush-start");
  /* "b" was inside when the flush came, and its chain function returned then. */
  expect (consumer, "cue 1.0 1.0 b");
  expect (consumer, "flush-stop");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  expect (consumer, "cue 0.3 1.0 e");

  /* After EOS, too. */
  host_event (host, gst_event_new_eos ());
  expect (consumer, "eos");
  host_event (host, gst_event_new_flush_start ());
  host_event (host, gst_event_new_flush_stop (TRUE));
  expect (consumer, "flush-start");
  expect (consumer, "flush-stop");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  host_default_segment (host);
  frame (host, 3, "f");
  expect (consumer, "segment");
  expect (consumer, "cue 0.3 1.0 f");
  fail_unless_equals_int (consumer_settle (consumer, 20), 0);
  done (host, consumer, pad);
}

GST_END_TEST
/* A push that hangs in a consumer that has lost its place: what it returns ends nothing. */
GST_START_TEST (test_late_result)
{
  Consumer *consumer, *other = consumer_new ();
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);

  consumer_block (consumer, TRUE);
  frame (host, 0, "a");
  consumer_wait_inside (consumer);
  gst_pad_unlink (pad, consumer->pad);
  consumer_link (other, pad);
  frame (host, 5, "b");
  g_mutex_lock (&consumer->lock);
  consumer->flow = GST_FLOW_ERROR;
  g_mutex_unlock (&consumer->lock);
  consumer_block (consumer, FALSE);
  expect (other, "stream-start");
  expect (other, "caps");
  expect (other, "segment");
  expect (other, "cue 0.5 1.0 b");
  frame (host, 6, "b");
  expect (other, "gap 0.6 0.1");
  fail_unless_equals_int (host_wait_error (host, 0), GST_FLOW_OK);
  consumer_free (consumer);
  done (host, other, pad);
}

GST_END_TEST static GstPadProbeReturn
block_probe (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  (void) pad;
  (void) info;
  g_atomic_int_set ((gint *) data, TRUE);
  return GST_PAD_PROBE_OK;
}

static gulong
block_pad (GstPad * pad, gint * reached)
{
  return gst_pad_add_probe (pad,
      GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER |
      GST_PAD_PROBE_TYPE_BUFFER_LIST, block_probe, reached, NULL);
}

static void
wait_flag (gint * flag)
{
  guint i;

  for (i = 0; i < 5000 && !g_atomic_int_get (flag); i++)
    g_usleep (1000);
  fail_unless (g_atomic_int_get (flag));
}

/* EOS while a probe blocks the pad: it comes when the pad is free, behind the cue. A flush and a
 * stop end the blocking. */
GST_START_TEST (test_blocked_pad)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  gint reached = FALSE;
  gulong probe = block_pad (pad, &reached);

  frame (host, 0, "a");
  wait_flag (&reached);
  host_event (host, gst_event_new_eos ());
  fail_unless_equals_int (consumer_settle (consumer, 20), 0);
  gst_pad_remove_probe (pad, probe);
  expect (consumer, "cue 0.0 1.0 a");
  expect (consumer, "eos");

  host_event (host, gst_event_new_flush_start ());
  host_event (host, gst_event_new_flush_stop (TRUE));
  expect (consumer, "flush-start");
  expect (consumer, "flush-stop");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  reached = FALSE;
  probe = block_pad (pad, &reached);
  host_default_segment (host);
  frame (host, 0, "a");
  wait_flag (&reached);
  host_event (host, gst_event_new_flush_start ());
  gst_pad_remove_probe (pad, probe);
  host_event (host, gst_event_new_flush_stop (TRUE));
  host_default_segment (host);
  frame (host, 5, "b");
  expect (consumer, "segment");
  expect (consumer, "flush-start");
  expect (consumer, "flush-stop");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  expect (consumer, "cue 0.5 1.0 b");

  reached = FALSE;
  block_pad (pad, &reached);
  frame (host, 20, "c");
  wait_flag (&reached);
  host_set_state (host, GST_STATE_READY);
  fail_unless_equals_int (consumer_settle (consumer, 20), 0);
  done (host, consumer, pad);
}

GST_END_TEST
/* Stopped while the consumer holds the push; then again in PLAYING with a new stream. */
GST_START_TEST (test_stop_while_blocked)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  guint i;

  for (i = 0; i < 3; i++) {
    gint64 start;

    consumer_block (consumer, TRUE);
    frame (host, 0, "a");
    consumer_wait_inside (consumer);
    frame (host, 10, "b");
    start = g_get_monotonic_time ();
    host_set_state (host, GST_STATE_READY);
    GST_INFO ("stop took %" G_GINT64_FORMAT " us",
        g_get_monotonic_time () - start);
    consumer_block (consumer, FALSE);
    expect (consumer, "cue 0.0 1.0 a");
    fail_unless_equals_uint64 (gst_palme_caption_textpad_get_drops (host->text),
        0);
    host_set_state (host, GST_STATE_PLAYING);
    host_stream_start (host, "video");
    host_default_segment (host);
    expect (consumer, "stream-start");
    expect (consumer, "caps");
    expect (consumer, "segment");
  }
  done (host, consumer, pad);
}

GST_END_TEST
/* Counts cues and GAPs that are pushed, into the void too. */
static GstPadProbeReturn
count_probe (GstPad * pad, GstPadProbeInfo * info, gpointer count)
{
  (void) pad;
  if ((info->type & GST_PAD_PROBE_TYPE_BUFFER)
      || GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_GAP)
    g_atomic_int_inc ((gint *) count);
  return GST_PAD_PROBE_OK;
}

/* Until one more item was pushed, and a moment for the push to return. */
static void
wait_pushed (gint * count, gint before)
{
  guint i;

  for (i = 0; i < 5000 && g_atomic_int_get (count) == before; i++)
    g_usleep (1000);
  fail_unless (g_atomic_int_get (count) > before);
  g_usleep (20000);
}

static void
count_pad (GstElement * element, GstPad * pad, gint * count)
{
  (void) element;
  (void) pad;
  g_atomic_int_inc (count);
}

/* In every state a request gives one pad, a second request NULL, and a release takes it away. */
GST_START_TEST (test_request_in_every_state)
{
  TextHost *host = host_new (GST_STATE_NULL);
  GstState state;
  gint added = 0, removed = 0;

  g_signal_connect (host, "pad-added", G_CALLBACK (count_pad), &added);
  g_signal_connect (host, "pad-removed", G_CALLBACK (count_pad), &removed);
  for (state = GST_STATE_NULL; state <= GST_STATE_PLAYING; state++) {
    GstPad *pad;
    guint i;

    host_set_state (host, state);
    for (i = 0; i < 3; i++) {
      pad = request (host);
      fail_unless (pad != NULL);
      fail_unless_equals_string (GST_PAD_NAME (pad), "text");
      fail_unless (gst_pad_is_active (pad) == (state >= GST_STATE_PAUSED));
      fail_if (gst_palme_caption_textpad_is_linked (host->text));
      fail_unless (gst_element_request_pad (GST_ELEMENT (host),
              gst_element_get_pad_template (GST_ELEMENT (host), "text"), NULL,
              NULL) == NULL);
      release (host, pad);
    }
  }
  fail_unless_equals_int (added, 12);
  fail_unless_equals_int (removed, 12);
  /* A pad that is there goes with the element. */
  gst_object_unref (request (host));
  host_free (host);
}

GST_END_TEST
/* Requested in PLAYING: active, with the sticky events on it, before anything is linked. */
GST_START_TEST (test_request_in_playing)
{
  TextHost *host = host_new (GST_STATE_PLAYING);
  static const GstEventType types[] =
      { GST_EVENT_STREAM_START, GST_EVENT_CAPS, GST_EVENT_SEGMENT };
  Consumer *consumer = consumer_new ();
  gint pushed = 0, before;
  GstPad *pad;
  guint i;

  host_stream_start (host, "video");
  host_default_segment (host);
  frame (host, 0, "a");
  pad = request (host);
  for (i = 0; i < G_N_ELEMENTS (types); i++) {
    GstEvent *event = gst_pad_get_sticky_event (pad, types[i], 0);

    fail_unless (event != NULL);
    gst_event_unref (event);
  }
  gst_pad_add_probe (pad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      count_probe, &pushed, NULL);
  before = g_atomic_int_get (&pushed);
  frame (host, 1, NULL);        /* not linked: the task stops, nothing is said */
  wait_pushed (&pushed, before);
  frame (host, 1, "a");
  consumer_link (consumer, pad);
  fail_unless (gst_palme_caption_textpad_is_linked (host->text));
  frame (host, 2, "a");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  expect (consumer, "cue 0.2 1.0 a");
  fail_unless_equals_int (host_wait_error (host, 0), GST_FLOW_OK);

  /* Another consumer in its place begins the same way, with a cue of its own. */
  gst_pad_unlink (pad, consumer->pad);
  before = g_atomic_int_get (&pushed);
  frame (host, 3, "a");
  wait_pushed (&pushed, before);
  consumer_free (consumer);
  consumer = consumer_new ();
  consumer_link (consumer, pad);
  frame (host, 4, "a");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  expect (consumer, "cue 0.4 1.0 a");

  /* And a pad requested after the end carries the end. */
  host_event (host, gst_event_new_eos ());
  expect (consumer, "eos");
  release (host, pad);
  consumer_free (consumer);
  consumer = consumer_new ();
  pad = request (host);
  consumer_link (consumer, pad);
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  expect (consumer, "eos");
  done (host, consumer, pad);
}

GST_END_TEST
/* Everybody has given the pad back but us; the task may need a moment. */
    static void
only_ours (GstPad * pad)
{
  guint i;

  for (i = 0; i < 5000 && GST_OBJECT_REFCOUNT_VALUE (pad) > 1; i++)
    g_usleep (1000);
  ASSERT_OBJECT_REFCOUNT (pad, "text pad", 1);
}

/* Released while a push blocks: by a probe on the pad, and inside of a consumer that nobody
 * wakes. Neither hangs, and the next pad works while the old push still does. */
GST_START_TEST (test_release_while_blocked)
{
  Consumer *consumer, *other;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  gint reached = FALSE;
  gint64 start;

  block_pad (pad, &reached);
  frame (host, 0, "a");
  wait_flag (&reached);
  gst_element_release_request_pad (GST_ELEMENT (host), pad);
  fail_if (gst_pad_is_active (pad));
  only_ours (pad);
  gst_object_unref (pad);
  fail_unless_equals_int (consumer_settle (consumer, 20), 0);
  consumer_free (consumer);

  consumer = consumer_new ();
  pad = request (host);
  consumer_link (consumer, pad);
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  consumer_block (consumer, TRUE);
  frame (host, 0, "a");
  consumer_wait_inside (consumer);
  start = g_get_monotonic_time ();
  release (host, pad);
  GST_INFO ("release took %" G_GINT64_FORMAT " us",
      g_get_monotonic_time () - start);

  other = consumer_new ();
  pad = request (host);
  consumer_link (other, pad);
  expect (other, "stream-start");
  expect (other, "caps");
  expect (other, "segment");
  frame (host, 1, "b");
  expect (other, "cue 0.1 1.0 b");
  consumer_block (consumer, FALSE);
  expect (consumer, "cue 0.0 1.0 a");
  frame (host, 2, "b");
  expect (other, "gap 0.2 0.1");
  consumer_free (consumer);
  done (host, other, pad);
}

GST_END_TEST static GstPadProbeReturn
release_probe (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  TextHost *host = (TextHost *) gst_pad_get_parent_element (pad);

  (void) info;
  gst_element_release_request_pad (GST_ELEMENT (host), pad);
  gst_object_unref (host);
  g_atomic_int_set ((gint *) data, TRUE);
  return GST_PAD_PROBE_DROP;
}

/* Released from the task itself. */
GST_START_TEST (test_release_in_probe)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  gint reached = FALSE;

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, release_probe, &reached,
      NULL);
  frame (host, 0, "a");
  wait_flag (&reached);
  gst_object_unref (pad);
  pad = request (host);
  fail_unless (pad != NULL);
  done (host, consumer, pad);
}

GST_END_TEST
/* What the consumer returns: NOT_LINKED, FLUSHING and EOS end the pushing and say nothing, worse
 * ends the pipeline. A flush or a new link begins again. */
GST_START_TEST (test_flows)
{
  static const GstFlowReturn flows[] =
      { GST_FLOW_NOT_LINKED, GST_FLOW_FLUSHING, GST_FLOW_EOS,
    GST_FLOW_NOT_NEGOTIATED, GST_FLOW_ERROR, GST_FLOW_CUSTOM_ERROR,
    GST_FLOW_CUSTOM_SUCCESS
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (flows); i++) {
    gboolean error = flows[i] < GST_FLOW_EOS, ends = flows[i] < GST_FLOW_OK;
    Consumer *consumer;
    GstPad *pad;
    TextHost *host = playing (&consumer, &pad);

    consumer->flow = flows[i];
    frame (host, 0, "a");
    consumer_wait_calls (consumer, 1);
    fail_unless_equals_int (host_wait_error (host, error ? 5000 : 50),
        error ? flows[i] : GST_FLOW_OK);
    g_mutex_lock (&consumer->lock);
    consumer->flow = GST_FLOW_OK;
    g_mutex_unlock (&consumer->lock);
    frame (host, 10, "b");
    if (!ends)
      expect (consumer, "cue 1.0 1.0 b");
    fail_unless_equals_int (consumer_settle (consumer, 20), 0);

    host_event (host, gst_event_new_flush_start ());
    host_event (host, gst_event_new_flush_stop (TRUE));
    host_default_segment (host);
    frame (host, 20, "c");
    expect (consumer, "flush-start");
    expect (consumer, "flush-stop");
    expect (consumer, "stream-start");
    expect (consumer, "caps");
    expect (consumer, "segment");
    expect (consumer, "cue 2.0 1.0 c");
    done (host, consumer, pad);
  }
}

GST_END_TEST
/* So does a new stream. */
GST_START_TEST (test_new_stream_after_eos)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);

  consumer->flow = GST_FLOW_EOS;
  frame (host, 0, "a");
  consumer_wait_calls (consumer, 1);
  g_mutex_lock (&consumer->lock);
  consumer->flow = GST_FLOW_OK;
  g_mutex_unlock (&consumer->lock);
  host_stream_start (host, "next");
  host_default_segment (host);
  frame (host, 20, "b");
  expect (consumer, "stream-start");
  expect (consumer, "caps");
  expect (consumer, "segment");
  expect (consumer, "cue 2.0 1.0 b");
  done (host, consumer, pad);
}

GST_END_TEST static gint seeks, qos;

static gboolean
src_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  (void) pad;
  (void) parent;
  seeks += GST_EVENT_TYPE (event) == GST_EVENT_SEEK;
  qos += GST_EVENT_TYPE (event) == GST_EVENT_QOS;
  gst_event_unref (event);
  return TRUE;
}

static gboolean
src_query (GstPad * pad, GstObject * parent, GstQuery * query)
{
  (void) pad;
  (void) parent;
  if (GST_QUERY_TYPE (query) == GST_QUERY_LATENCY)
    gst_query_set_latency (query, TRUE, 40 * MS, 70 * MS);
  return TRUE;
}

/* Upstream: seeks and the latency query take the video's way, QoS ends here. */
GST_START_TEST (test_upstream)
{
  Consumer *consumer;
  GstPad *pad;
  TextHost *host = playing (&consumer, &pad);
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min, max;
  gboolean live;
  GstCaps *caps;

  seeks = qos = 0;
  gst_pad_set_event_function (host->src, src_event);
  gst_pad_set_query_function (host->src, src_query);
  fail_unless (gst_pad_push_event (consumer->pad, gst_event_new_seek (1.0,
              GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0,
              GST_SEEK_TYPE_NONE, 0)));
  fail_unless (gst_pad_push_event (consumer->pad,
          gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 2.0, 0, 0)));
  fail_unless_equals_int (seeks, 1);
  fail_unless_equals_int (qos, 0);
  fail_unless (gst_pad_peer_query (consumer->pad, query));
  gst_query_parse_latency (query, &live, &min, &max);
  fail_unless (live && min == 40 * MS && max == 70 * MS);
  gst_query_unref (query);
  caps = gst_pad_peer_query_caps (consumer->pad, NULL);
  fail_unless (gst_caps_get_size (caps) == 1);
  fail_unless (gst_structure_has_name (gst_caps_get_structure (caps, 0),
          "text/x-raw"));
  gst_caps_unref (caps);
  done (host, consumer, pad);
}

GST_END_TEST
/* One cue per caption is held for a consumer of text alone, and sent when it starts to one that joins
 * streams, however far downstream and inside of whatever bin. */
GST_START_TEST (test_joins)
{
  static const gchar *const lines[] =
      { "identity name=i ! fakesink async=false",
    "bin.( identity name=i ! queue ) ! identity ! fakesink async=false",
    "identity name=i ! tee name=t ! queue ! fakesink async=false  t. ! fakesink async=false",
    "identity name=i ! funnel name=f ! fakesink async=false  identity ! f.",
    "identity name=i ! queue ! bin.( identity ! funnel name=f ! fakesink async=false  identity ! f. )",
    "identity name=i ! tee name=t ! fakesink async=false  t. ! funnel name=f ! fakesink async=false  identity ! f."
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (lines); i++) {
    gboolean joins = i >= 3;
    TextHost *host = host_new (GST_STATE_READY);
    GstElement *pipeline = GST_ELEMENT (gst_element_get_parent (host));
    GstElement *tail = gst_parse_bin_from_description (lines[i], FALSE, NULL);
    GstElement *identity = gst_bin_get_by_name (GST_BIN (tail), "i");
    GstPad *entry =
        gst_element_get_static_pad (identity, "sink"), *ghost, *pad =
        request (host);
    gint pushed = 0;

    fail_unless (gst_bin_add (GST_BIN (pipeline), tail));
    ghost = gst_ghost_pad_new ("sink", entry);
    gst_element_add_pad (tail, ghost);
    fail_unless_equals_int (gst_pad_link_full (pad, ghost,
            GST_PAD_LINK_CHECK_NOTHING), GST_PAD_LINK_OK);
    gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count_probe, &pushed,
        NULL);
    gst_palme_caption_textpad_set_cue_duration (host->text, 0);
    host_set_state (host, GST_STATE_PLAYING);
    host_stream_start (host, "video");
    host_default_segment (host);
    frame (host, 0, "a");
    frame (host, 1, "a");
    if (joins)
      wait_pushed (&pushed, 0);
    else
      g_usleep (20000);
    fail_unless (g_atomic_int_get (&pushed) == joins, "%s: %d cues", lines[i],
        pushed);
    gst_object_unref (pad);
    gst_object_unref (entry);
    gst_object_unref (identity);
    gst_object_unref (pipeline);
    host_free (host);
  }
}

GST_END_TEST static gpointer
frames_thread (gpointer data)
{
  TextHost *host = data;
  guint i;

  for (i = 0; i < 20000; i++) {
    frame (host, i, i % 30 < 3 ? "" : "stress");
    if (i % 997 == 0) {
      host_event (host, gst_event_new_flush_start ());
      host_event (host, gst_event_new_flush_stop (TRUE));
      host_default_segment (host);
    }
    if (i % 1511 == 0)
      host_stream_start (host, i % 2 ? "one" : "two");
  }
  return NULL;
}

/* Requested, linked, unlinked, relinked, released while frames flow. */
GST_START_TEST (test_stress)
{
  TextHost *host = host_new (GST_STATE_PLAYING);
  Consumer *consumer = consumer_new ();
  GThread *thread;
  guint i;

  host_stream_start (host, "video");
  host_default_segment (host);
  thread = g_thread_new ("frames", frames_thread, host);
  for (i = 0; i < 300; i++) {
    GstPad *pad = request (host);

    fail_unless (pad != NULL);
    consumer_link (consumer, pad);
    gst_palme_caption_textpad_is_linked (host->text);
    if (i % 3 == 0) {
      gst_pad_unlink (pad, consumer->pad);
      consumer_link (consumer, pad);
    }
    if (i % 2)
      g_usleep (200);
    gst_palme_caption_textpad_set_cue_duration (host->text, (i % 3) * 100 * MS);
    gst_palme_caption_textpad_get_drops (host->text);
    release (host, pad);
    consumer_clear (consumer);
  }
  g_thread_join (thread);
  host_free (host);
  consumer_free (consumer);
}

GST_END_TEST
/* States up and down while frames flow and a consumer is slow. */
GST_START_TEST (test_state_cycles)
{
  TextHost *host = host_new (GST_STATE_NULL);
  Consumer *consumer = consumer_new ();
  GstPad *pad = request (host);
  guint i, j;

  consumer_link (consumer, pad);
  for (i = 0; i < 200; i++) {
    host_set_state (host, i % 2 ? GST_STATE_PLAYING : GST_STATE_PAUSED);
    host_stream_start (host, "video");
    host_default_segment (host);
    for (j = 0; j < i % 7; j++)
      frame (host, j * 10, "a");
    if (i % 3 == 0)
      host_event (host, gst_event_new_eos ());
    host_set_state (host, i % 5 ? GST_STATE_READY : GST_STATE_NULL);
    consumer_clear (consumer);
  }
  done (host, consumer, pad);
}

GST_END_TEST static Suite *
text_suite (void)
{
  Suite *suite = suite_create ("text");
  TCase *tcase = tcase_create ("text");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_sticky_events);
  tcase_add_test (tcase, test_cue_or_gap);
  tcase_add_test (tcase, test_async_drops);
  tcase_add_test (tcase, test_sync_keeps_all);
  tcase_add_test (tcase, test_hold);
  tcase_add_test (tcase, test_segment_in_order);
  tcase_add_test (tcase, test_flush);
  tcase_add_test (tcase, test_late_result);
  tcase_add_test (tcase, test_blocked_pad);
  tcase_add_test (tcase, test_stop_while_blocked);
  tcase_add_test (tcase, test_request_in_every_state);
  tcase_add_test (tcase, test_request_in_playing);
  tcase_add_test (tcase, test_release_while_blocked);
  tcase_add_test (tcase, test_release_in_probe);
  tcase_add_test (tcase, test_flows);
  tcase_add_test (tcase, test_new_stream_after_eos);
  tcase_add_test (tcase, test_upstream);
  tcase_add_test (tcase, test_joins);
  tcase_add_test (tcase, test_stress);
  tcase_add_test (tcase, test_state_cycles);
  return suite;
}

GST_CHECK_MAIN (text);
