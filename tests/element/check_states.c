/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_states.c - palmecaption when things go wrong or stop: models that cannot be loaded,
 * captions that fail, flush, seek, EOS, state changes in the midst of a caption.
 *
 * Nothing here measures time: a caption is held by a file, and what would hang is ended by check's
 * own time-out. It is long because there are many of these; no test knows another.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gst/video/video.h>

#include "support/captionhost.h"

/* ---- Loading --------------------------------------------------------------------------------- */

static void
expect_no_load (GstElement * element, GQuark domain, gint code,
    const gchar * word, const gchar * other)
{
  gchar *text;

  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_FAILURE);
  text = caption_expect_issue (element, GST_MESSAGE_ERROR, domain, code);
  fail_unless (strstr (text, word) != NULL, "no \"%s\" in: %s", word, text);
  fail_unless (strstr (text, other) != NULL, "no \"%s\" in: %s", other, text);
  g_free (text);
  fail_unless_equals_int (caption_messages (element, GST_MESSAGE_ERROR), 0);
  gst_element_set_state (element, GST_STATE_NULL);
}

GST_START_TEST (test_load_errors)
{
  static const struct
  {
    gint status;
    gboolean stream;
    gint code;
    const gchar *remedy;
  } cases[] = {
    {-3, FALSE, GST_RESOURCE_ERROR_OPEN_READ, "regular file"},
    {-4, FALSE, GST_RESOURCE_ERROR_READ, "cut short"},
    {-5, TRUE, GST_STREAM_ERROR_WRONG_TYPE, "models/"},
    {-6, TRUE, GST_STREAM_ERROR_WRONG_TYPE, "models/"},
    {-7, TRUE, GST_STREAM_ERROR_WRONG_TYPE, "newer"},
    {-8, FALSE, GST_RESOURCE_ERROR_FAILED, "smaller model"},
  };
  GstElement *element = caption_element (NULL, NULL);
  const gchar *path;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    gchar *lines = g_strdup_printf ("open_status=%d\nmessage=the tensor x is "
        "bad\n", cases[i].status);

    path = caption_model (lines);
    g_object_set (element, "model", path, NULL);
    expect_no_load (element, cases[i].stream ? GST_STREAM_ERROR :
        GST_RESOURCE_ERROR, cases[i].code, path, "the tensor x is bad");
    expect_no_load (element, cases[i].stream ? GST_STREAM_ERROR :
        GST_RESOURCE_ERROR, cases[i].code, path, cases[i].remedy);
    g_free (lines);
  }

  path = caption_file ("none");
  g_object_set (element, "model", path, NULL);
  expect_no_load (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
      path, "No such file");
  g_object_set (element, "model", "file:///tmp/x", NULL);
  expect_no_load (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
      "file:///tmp/x", "not a URI");
  path = caption_file ("folder");
  fail_unless (g_mkdir (path, 0700) == 0);
  g_object_set (element, "model", path, NULL);
  expect_no_load (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ,
      path, "regular");
  path = caption_file ("fifo");
  fail_unless (mkfifo (path, 0600) == 0);
  g_object_set (element, "model", path, NULL);
  expect_no_load (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ,
      path, "regular");
  path = caption_file ("text");
  fail_unless (g_file_set_contents (path, "hello\n", -1, NULL));
  g_object_set (element, "model", path, NULL);
  expect_no_load (element, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE,
      path, "another kind");

  /* After all that a good one loads. */
  g_object_set (element, "model", caption_model (NULL), NULL);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  caption_element_end (element);
}

GST_END_TEST;

GST_START_TEST (test_default_model)
{
  GstElement *element = caption_element (NULL, NULL);
  const gchar *absent;
  GstStructure *info;

  g_object_set (element, "model", NULL, NULL);
  g_unsetenv ("PALME_MODEL");
  expect_no_load (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
      "PALME_MODEL", "installed");
  absent = caption_file ("absent");
  g_setenv ("PALME_MODEL", absent, TRUE);
  expect_no_load (element, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
      absent, "\"model\"");
  g_setenv ("PALME_MODEL", caption_model ("name=from-environment\n"), TRUE);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  g_object_get (element, "model-info", &info, NULL);
  fail_unless_equals_string (gst_structure_get_string (info, "name"),
      "from-environment");
  gst_structure_free (info);
  gst_element_set_state (element, GST_STATE_NULL);

  /* The property goes before the environment. */
  g_object_set (element, "model", caption_model ("name=from-property\n"), NULL);
  gst_element_set_state (element, GST_STATE_READY);
  g_object_get (element, "model-info", &info, NULL);
  fail_unless_equals_string (gst_structure_get_string (info, "name"),
      "from-property");
  gst_structure_free (info);
  gst_element_set_state (element, GST_STATE_NULL);
  g_unsetenv ("PALME_MODEL");
  caption_element_end (element);
}

GST_END_TEST;

GST_START_TEST (test_no_session)
{
  GstElement *element = caption_element ("session_status=-8\n", "beams=5");
  gchar *text;

  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_FAILURE);
  text = caption_expect_issue (element, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_FAILED);
  fail_unless (strstr (text, "5 beams") && strstr (text, "123 MiB"));
  g_free (text);
  caption_element_end (element);
}

GST_END_TEST;

/* A model that is set in READY is loaded on the way to PAUSED; other READY properties load
 * nothing. */
GST_START_TEST (test_reload)
{
  GstElement *element = caption_element ("name=a\njournal=@/journal\n", NULL);
  GstStructure *info;

  gst_element_set_state (element, GST_STATE_READY);
  gst_element_set_state (element, GST_STATE_PAUSED);
  gst_element_set_state (element, GST_STATE_READY);
  gst_util_set_object_arg (G_OBJECT (element), "mode", "sync");
  gst_element_set_state (element, GST_STATE_PAUSED);
  gst_element_set_state (element, GST_STATE_READY);
  fail_unless_equals_int (caption_journal ("open"), 1);
  g_object_set (element, "model",
      caption_model ("name=b\njournal=@/journal\n"), NULL);
  fail_unless_equals_int (caption_journal ("open"), 1);
  fail_unless (gst_element_set_state (element, GST_STATE_PAUSED)
      != GST_STATE_CHANGE_FAILURE);
  fail_unless_equals_int (caption_journal ("open"), 2);
  g_object_get (element, "model-info", &info, NULL);
  fail_unless_equals_string (gst_structure_get_string (info, "name"), "b");
  gst_structure_free (info);
  gst_element_set_state (element, GST_STATE_READY);
  g_object_set (element, "model", caption_file ("absent"), NULL);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_FAILURE);
  g_free (caption_expect_issue (element, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
          GST_RESOURCE_ERROR_NOT_FOUND));
  gst_element_set_state (element, GST_STATE_NULL);
  fail_unless_equals_int (caption_journal ("close"), 2);
  caption_element_end (element);
}

GST_END_TEST;

/* Once it is open, the file may go away. */
GST_START_TEST (test_file_goes)
{
  const gchar *path;
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");

  caption_expect (h, 0, "caption 0");
  g_object_get (h->element, "model", &path, NULL);
  fail_unless (g_remove (path) == 0);
  g_free ((gchar *) path);
  caption_expect (h, 1, "caption 1");
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Captions that fail
 * -------------------------------------------------------------------------- */

GST_START_TEST (test_failed_caption)
{
  GstHarness *h = caption_harness ("fail_look=2\n", "mode=sync interval=0");
  gchar *text;

  caption_expect (h, 0, "caption 0");
  caption_expect (h, 1, NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE);
  fail_unless (strstr (text, "the look was told to fail") != NULL);
  g_free (text);
  caption_expect (h, 2, "caption 1");
  fail_unless_equals_uint64 (caption_stat (h->element, "errors"), 1);
  gst_util_set_object_arg (G_OBJECT (h->element), "on-error", "error");
  fail_unless_equals_int (gst_harness_push (h, caption_frame (3, 1)),
      GST_FLOW_ERROR);
  g_free (caption_expect_issue (h->element, GST_MESSAGE_ERROR,
          GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE));
  caption_harness_end (h);

  /* In async mode the old caption stays: it never claimed to be this frame's. */
  h = caption_harness ("fail_look=2\n", "mode=async interval=0");
  caption_expect (h, 0, NULL);
  caption_wait (h->element, "captions", 1);
  caption_expect (h, 1, "caption 0");
  caption_wait (h->element, "errors", 1);
  caption_expect (h, 2, "caption 0");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      1);
  caption_harness_end (h);

  h = caption_harness ("fail_next=1\nfail_status=-9\n", "mode=sync interval=0");
  caption_expect (h, 0, NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE);
  fail_unless (strstr (text, "the context is full") != NULL);
  g_free (text);
  caption_harness_end (h);

  h = caption_harness ("prompt_status=-11\n", "mode=sync interval=0 prompt=x");
  caption_expect (h, 0, NULL);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      1);
  g_object_set (h->element, "prompt", NULL, NULL);
  caption_expect (h, 1, "caption 1");
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_behind)
{
  GstHarness *h;
  guint64 delay;
  gchar *text;
  guint i;

  caption_hold ();
  h = caption_harness ("hold=@/hold\n", "mode=async interval=200000000");
  for (i = 0; i < 5; i++)
    caption_expect (h, i, NULL);
  caption_release ();
  caption_wait (h->element, "captions", 1);
  caption_expect (h, 5, "caption 0");
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_CORE_ERROR, GST_CORE_ERROR_CLOCK);
  fail_unless (strstr (text, "interval") && strstr (text, "threads")
      && strstr (text, "0:00:00.500000000"));
  g_free (text);
  /* That frame began another caption. The same delay is not said again, twice the delay is. */
  caption_wait (h->element, "captions", 2);
  caption_hold ();
  caption_expect (h, 7, "caption 1");   /* held */
  for (i = 8; i < 12; i++)
    caption_expect (h, i, "caption 1");
  caption_release ();
  caption_wait (h->element, "captions", 3);
  caption_expect (h, 12, "caption 2");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  caption_wait (h->element, "captions", 4);
  caption_hold ();
  caption_expect (h, 14, "caption 3");  /* held */
  for (i = 15; i < 24; i++)
    caption_expect (h, i, "caption 3");
  caption_release ();
  caption_wait (h->element, "captions", 5);
  caption_expect (h, 24, "caption 4");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      1);
  g_object_get (h->element, "max-observed-delay", &delay, NULL);
  fail_unless_equals_uint64 (delay, GST_SECOND);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Flush, segments, EOS
 * ------------------------------------------------------------------------- */

typedef struct
{
  GstHarness *h;
  GstBuffer *buffer;
  GstEvent *event;
  GstFlowReturn flow;
} Push;

static gpointer
push (gpointer data)
{
  Push *p = data;

  if (p->event)
    gst_harness_push_event (p->h, p->event);
  else
    p->flow = gst_harness_push (p->h, p->buffer);
  return NULL;
}

GST_START_TEST (test_flush_sync)
{
  GstHarness *h;
  Push p = { 0 };
  GThread *thread;
  GstSegment segment;
  gchar *text;

  caption_hold ();
  h = caption_harness ("hold=@/hold\njournal=@/journal\n",
      "mode=sync interval=0");
  p.h = h;
  p.buffer = caption_frame (0, 1);
  thread = g_thread_new ("push", push, &p);
  caption_wait_journal ("look", 1);
  /* The engine would go on for ever: the flush ends it. */
  fail_unless (gst_harness_push_event (h, gst_event_new_flush_start ()));
  g_thread_join (thread);
  fail_unless_equals_int (p.flow, GST_FLOW_FLUSHING);
  caption_wait_journal ("stopped", 1);
  caption_wait (h->element, "stale", 1);
  caption_release ();
  fail_unless (gst_harness_push_event (h, gst_event_new_flush_stop (TRUE)));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  fail_unless (gst_harness_push_event (h, gst_event_new_segment (&segment)));
  caption_expect (h, 0, "caption 0");

  /* The caption from before a flush is gone after it, and the next frame is due. */
  g_object_set (h->element, "interval", 1000 * GST_SECOND, NULL);
  caption_expect (h, 1, "caption 0");
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  g_object_get (h->element, "caption", &text, NULL);
  fail_unless (text == NULL);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  caption_expect (h, 2, "caption 1");
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_flush_async)
{
  GstHarness *h;
  GstSegment segment;

  caption_hold ();
  h = caption_harness ("hold=@/hold\njournal=@/journal\n",
      "mode=async interval=0");
  caption_expect (h, 0, NULL);
  caption_wait_journal ("look", 1);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  caption_wait_journal ("stopped", 1);
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  caption_wait (h->element, "stale", 1);
  caption_release ();
  caption_expect (h, 1, NULL);
  caption_wait (h->element, "captions", 1);

  /* A result that waits is worthless after a flush as well. */
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  fail_unless_equals_uint64 (caption_stat (h->element, "stale"), 2);
  caption_expect (h, 2, NULL);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_segment)
{
  GstHarness *h = caption_harness (NULL, "mode=async interval=0");
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  caption_expect (h, 0, NULL);
  caption_wait (h->element, "captions", 1);
  /* The same again, but for the sender's position: the result stays good. */
  segment.position = GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  g_object_set (h->element, "interval", 1000 * GST_SECOND, NULL);
  caption_expect (h, 1, "caption 0");
  fail_unless_equals_uint64 (caption_stat (h->element, "stale"), 0);
  g_signal_emit_by_name (h->element, "caption-now");
  caption_expect (h, 2, "caption 0");
  caption_wait (h->element, "captions", 2);
  /* Another segment: the result belongs to the one before. The next frame is due. */
  segment.base = GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  fail_unless_equals_uint64 (caption_stat (h->element, "stale"), 1);
  caption_expect (h, 3, "caption 0");
  caption_wait (h->element, "captions", 3);
  caption_expect (h, 4, "caption 2");
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_drain)
{
  GstHarness *h;
  GThread *thread;
  GstMessage *message;
  Push p = { 0 };

  /* The last caption comes before EOS does. */
  caption_hold ();
  h = caption_harness ("hold=@/hold\njournal=@/journal\n",
      "mode=async drain-timeout=18446744073709551615");
  caption_expect (h, 0, NULL);
  caption_wait_journal ("look", 1);
  p.h = h;
  p.event = gst_event_new_eos ();
  thread = g_thread_new ("eos", push, &p);
  while (gst_harness_events_in_queue (h) > 0)
    gst_event_unref (gst_harness_pull_event (h));
  g_usleep (20000);
  fail_unless_equals_int (gst_harness_events_in_queue (h), 0);
  caption_release ();
  g_thread_join (thread);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless (message != NULL);
  gst_message_unref (message);
  fail_unless_equals_int (gst_harness_events_in_queue (h), 1);
  caption_harness_end (h);

  /* It is given up in time; the flush ends the wait too. */
  caption_hold ();
  h = caption_harness ("hold=@/hold\njournal=@/journal\n",
      "mode=async drain-timeout=1000000");
  caption_expect (h, 0, NULL);
  caption_wait_journal ("look", 2);
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  caption_wait (h->element, "stale", 1);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      0);
  caption_harness_end (h);

  h = caption_harness ("hold=@/hold\njournal=@/journal\n",
      "mode=async drain-timeout=18446744073709551615");
  caption_expect (h, 0, NULL);
  caption_wait_journal ("look", 3);
  p.h = h;
  p.event = gst_event_new_eos ();
  thread = g_thread_new ("eos", push, &p);
  g_usleep (10000);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  g_thread_join (thread);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_gap)
{
  GstHarness *h = caption_harness (NULL, "mode=async interval=0");
  GstEvent *event;
  gboolean seen = FALSE;

  caption_expect (h, 0, NULL);
  caption_wait (h->element, "captions", 1);
  fail_unless (gst_harness_push_event (h, gst_event_new_gap (FRAME_TIME,
              FRAME_TIME)));
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      1);
  while ((event = gst_harness_try_pull_event (h)) != NULL) {
    seen |= GST_EVENT_TYPE (event) == GST_EVENT_GAP;
    gst_event_unref (event);
  }
  fail_unless (seen);
  caption_expect (h, 2, "caption 0");
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Queries and flows
 * ---------------------------------------------------------------------------- */

static gboolean
query_latency (GstHarness * h, gboolean * live, GstClockTime * min)
{
  GstQuery *query = gst_query_new_latency ();
  gboolean ok = gst_pad_peer_query (h->sinkpad, query);

  gst_query_parse_latency (query, live, min, NULL);
  gst_query_unref (query);
  return ok;
}

GST_START_TEST (test_latency)
{
  GstHarness *h = caption_harness ("look_ms=5\n", "mode=async interval=0");
  GstClockTime min;
  guint64 last;
  gboolean live;

  gst_harness_set_upstream_latency (h, 7 * GST_MSECOND);
  gst_harness_set_live (h, TRUE);
  caption_expect (h, 0, NULL);
  caption_wait (h->element, "captions", 1);
  caption_expect (h, 1, "caption 0");
  fail_unless (query_latency (h, &live, &min));
  fail_unless (live);
  fail_unless_equals_uint64 (min, 7 * GST_MSECOND);
  caption_harness_end (h);

  h = caption_harness ("look_ms=5\n", "mode=sync interval=0");
  gst_harness_set_upstream_latency (h, 7 * GST_MSECOND);
  gst_harness_set_live (h, TRUE);
  caption_expect (h, 0, "caption 0");
  g_object_get (h->element, "last-latency", &last, NULL);
  fail_unless (query_latency (h, &live, &min));
  fail_unless_equals_uint64 (min, 7 * GST_MSECOND + last);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_LATENCY),
      1);
  caption_harness_end (h);

  h = caption_harness ("look_ms=5\n", "mode=sync interval=0");
  gst_harness_set_live (h, FALSE);
  caption_expect (h, 0, "caption 0");
  fail_unless (query_latency (h, &live, &min));
  fail_unless_equals_uint64 (min, 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* The pool of the sink serves upstream. */
GST_START_TEST (test_allocation)
{
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstAllocationParams params;
  GstQuery *query;
  GstCaps *caps = gst_caps_from_string (CAPS_RGB);

  gst_harness_add_propose_allocation_meta (h, GST_VIDEO_META_API_TYPE, NULL);
  gst_allocation_params_init (&params);
  params.align = 31;
  gst_harness_set_propose_allocator (h, NULL, &params);
  query = gst_query_new_allocation (caps, TRUE);
  fail_unless (gst_pad_peer_query (h->srcpad, query));
  fail_unless (gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE,
          NULL));
  gst_query_unref (query);
  gst_caps_unref (caps);
  caption_harness_end (h);
}

GST_END_TEST;

static GstFlowReturn wanted_flow;

static GstFlowReturn
refuse (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  (void) pad, (void) parent;
  gst_buffer_unref (buffer);
  return wanted_flow;
}

GST_START_TEST (test_flows)
{
  static const GstFlowReturn flows[] = { GST_FLOW_OK, GST_FLOW_ERROR,
    GST_FLOW_NOT_LINKED, GST_FLOW_FLUSHING, GST_FLOW_EOS,
    GST_FLOW_CUSTOM_ERROR, GST_FLOW_CUSTOM_SUCCESS_1
  };
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  guint i;

  gst_pad_set_chain_function (h->sinkpad, refuse);
  for (i = 0; i < G_N_ELEMENTS (flows); i++) {
    wanted_flow = flows[i];
    fail_unless_equals_int (gst_harness_push (h, caption_frame (i, 1)),
        flows[i]);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* Late frames are not dropped here, and what goes upstream passes. */
GST_START_TEST (test_upstream)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GstEvent *event;
  gboolean qos = FALSE, seek = FALSE, navigation = FALSE;

  caption_expect (h, 0, "caption 0");
  gst_harness_push_upstream_event (h,
      gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 0.1, 10 * GST_SECOND, 0));
  gst_harness_push_upstream_event (h, gst_event_new_seek (1.0,
          GST_FORMAT_TIME, GST_SEEK_FLAG_NONE, GST_SEEK_TYPE_SET, 0,
          GST_SEEK_TYPE_NONE, -1));
  gst_harness_push_upstream_event (h,
      gst_event_new_navigation (gst_structure_new_empty
          ("application/x-gst-navigation")));
  while ((event = gst_harness_try_pull_upstream_event (h)) != NULL) {
    qos |= GST_EVENT_TYPE (event) == GST_EVENT_QOS;
    seek |= GST_EVENT_TYPE (event) == GST_EVENT_SEEK;
    navigation |= GST_EVENT_TYPE (event) == GST_EVENT_NAVIGATION;
    gst_event_unref (event);
  }
  fail_unless (qos && seek && navigation);
  caption_expect (h, 1, "caption 1");
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- States
 * --------------------------------------------------------------------------------------- */

GST_START_TEST (test_stop)
{
  GstHarness *h;
  Push p = { 0 };
  GThread *thread;
  guint i;

  caption_hold ();
  /* The engine never ends by itself; stopping the element ends it. */
  for (i = 0; i < 10; i++) {
    h = caption_harness ("hold=@/hold\njournal=@/journal\n",
        i % 2 ? "mode=sync interval=0" : "mode=async interval=0");
    p.h = h;
    p.buffer = caption_frame (0, 1);
    thread = g_thread_new ("push", push, &p);
    caption_wait_journal ("look", i + 1);
    fail_unless_equals_int (gst_element_set_state (h->element,
            i % 3 ? GST_STATE_NULL : GST_STATE_READY),
        GST_STATE_CHANGE_SUCCESS);
    g_thread_join (thread);
    fail_unless (p.flow == GST_FLOW_FLUSHING || (p.flow == GST_FLOW_OK
            && i % 2 == 0));
    fail_unless_equals_int (caption_journal ("stopped"), i + 1);
    gst_element_set_state (h->element, GST_STATE_NULL);
    caption_harness_end (h);
  }
}

GST_END_TEST;

static guint
count_entries (const gchar * path)
{
  GDir *dir = g_dir_open (path, 0, NULL);
  guint n = 0;

  while (g_dir_read_name (dir) != NULL)
    n++;
  g_dir_close (dir);
  return n;
}

/* No more threads than these. One that was joined may be listed for a moment. */
static void
expect_threads (guint threads)
{
  guint i, now;

  for (i = 0; i < 60000 && count_entries ("/proc/self/task") > threads; i++)
    g_usleep (1000);
  now = count_entries ("/proc/self/task");
  fail_unless (now <= threads, "%u threads, %u before", now, threads);
}

/* 100 times up and down with the engine at work: threads and descriptors do not get more. */
GST_START_TEST (test_cycles)
{
  GstHarness *h = caption_harness ("look_ms=20\n", "mode=async interval=0");
  guint i, threads = 0, files = 0;

  for (i = 0; i < 100; i++) {
    GstSegment segment;
    GstCaps *caps = gst_caps_from_string (CAPS_RGB);

    gst_harness_push (h, caption_frame (i, 1));
    gst_element_set_state (h->element, i % 4 == 0 ? GST_STATE_NULL : i % 4 == 1
        ? GST_STATE_READY : GST_STATE_PAUSED);
    if (i % 4 == 0) {
      if (i == 4) {
        threads = count_entries ("/proc/self/task");
        files = count_entries ("/proc/self/fd");
      } else if (i > 4) {
        expect_threads (threads);
        fail_unless_equals_int (count_entries ("/proc/self/fd"), files);
      }
    }
    fail_unless (gst_element_set_state (h->element, GST_STATE_PLAYING)
        != GST_STATE_CHANGE_FAILURE);
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_pad_push_event (h->srcpad, gst_event_new_stream_start ("again"));
    gst_pad_push_event (h->srcpad, gst_event_new_caps (caps));
    gst_pad_push_event (h->srcpad, gst_event_new_segment (&segment));
    gst_caps_unref (caps);
    fail_unless_equals_int (gst_harness_push (h, caption_frame (i, 1)),
        GST_FLOW_OK);
  }
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* Making the element loads no model and starts no thread. */
GST_START_TEST (test_scan)
{
  guint threads = count_entries ("/proc/self/task");
  GstElement *element = caption_element ("journal=@/journal\n", NULL);

  fail_unless_equals_int (count_entries ("/proc/self/task"), threads);
  fail_unless_equals_int (caption_journal ("open"), 0);
  caption_element_end (element);
}

GST_END_TEST;

static gpointer
stop_from_thread (gpointer element)
{
  gst_element_set_state (element, GST_STATE_NULL);
  return NULL;
}

static void
stop_async (GstElement * element, gpointer user_data)
{
  (void) user_data;
  gst_element_set_state (element, GST_STATE_NULL);
}

static void
on_caption_stop (GstElement * element, const gchar * text, guint64 pts,
    guint64 running_time, guint64 latency, gpointer user_data)
{
  (void) text, (void) pts, (void) running_time, (void) latency;
  (void) user_data;
  gst_element_call_async (element, stop_async, NULL, NULL);
}

/* A handler on the streaming thread asks for the end, and another thread does. */
GST_START_TEST (test_stop_from_handler)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GThread *thread;
  GstState state;
  gint i;

  g_signal_connect (h->element, "new-caption", G_CALLBACK (on_caption_stop),
      NULL);
  gst_harness_push (h, caption_frame (0, 1));
  for (i = 0; i < 10000; i++) {
    gst_element_get_state (h->element, &state, NULL, GST_SECOND);
    if (state == GST_STATE_NULL)
      break;
    g_usleep (1000);
  }
  fail_unless_equals_int (state, GST_STATE_NULL);
  thread = g_thread_new ("stop", stop_from_thread, h->element);
  g_thread_join (thread);
  caption_harness_end (h);
}

GST_END_TEST;

/* An element that is dropped while it works. */
GST_START_TEST (test_dispose)
{
  GstElement *pipeline = gst_pipeline_new (NULL);
  GstElement *element = caption_element (NULL, NULL);

  gst_bin_add (GST_BIN (pipeline), element);
  gst_element_set_state (element, GST_STATE_READY);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (pipeline), element);
  gst_object_unref (pipeline);  /* its bus holds messages of the element */
  ASSERT_OBJECT_REFCOUNT (element, "palmecaption", 1);
  gst_object_unref (element);

  /* Never started at all, with a text pad. */
  element = caption_element (NULL, NULL);
  gst_object_unref (gst_element_request_pad_simple (element, "text"));
  gst_object_unref (element);
}

GST_END_TEST;

static Suite *
states_suite (void)
{
  Suite *suite = suite_create ("states");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_load_errors);
  tcase_add_test (tcase, test_default_model);
  tcase_add_test (tcase, test_no_session);
  tcase_add_test (tcase, test_reload);
  tcase_add_test (tcase, test_file_goes);
  tcase_add_test (tcase, test_failed_caption);
  tcase_add_test (tcase, test_behind);
  tcase_add_test (tcase, test_flush_sync);
  tcase_add_test (tcase, test_flush_async);
  tcase_add_test (tcase, test_segment);
  tcase_add_test (tcase, test_drain);
  tcase_add_test (tcase, test_gap);
  tcase_add_test (tcase, test_latency);
  tcase_add_test (tcase, test_allocation);
  tcase_add_test (tcase, test_flows);
  tcase_add_test (tcase, test_upstream);
  tcase_add_test (tcase, test_stop);
  tcase_add_test (tcase, test_cycles);
  tcase_add_test (tcase, test_scan);
  tcase_add_test (tcase, test_stop_from_handler);
  tcase_add_test (tcase, test_dispose);
  return suite;
}

GST_CHECK_MAIN (states);
