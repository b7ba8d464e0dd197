/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * texthost.c - what texthost.h promises.
 */
#include "support/texthost.h"

#include <string.h>

typedef struct
{
  GstElementClass parent;
} TextHostClass;

G_DEFINE_TYPE (TextHost, text_host, GST_TYPE_ELEMENT)
     static GstStaticPadTemplate sink_template =
         GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK,
    GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
     static GstStaticPadTemplate src_template =
         GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC,
    GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
     static GstStaticPadTemplate text_template =
         GST_STATIC_PAD_TEMPLATE ("text", GST_PAD_SRC,
    GST_PAD_REQUEST, GST_STATIC_CAPS ("text/x-raw, format=utf8"));

     static GstPad *request_new_pad (GstElement * element,
    GstPadTemplate * templ, const gchar * name, const GstCaps * caps)
{
  (void) name;
  (void) caps;
  return gst_palme_caption_textpad_request_pad (((TextHost *) element)->text,
      templ);
}

static void
release_pad (GstElement * element, GstPad * pad)
{
  gst_palme_caption_textpad_release_pad (((TextHost *) element)->text, pad);
}

static GstStateChangeReturn
change_state (GstElement * element, GstStateChange transition)
{
  TextHost *host = (TextHost *) element;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED)
    gst_palme_caption_textpad_start (host->text);
  else if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    gst_palme_caption_textpad_stop (host->text);
  return GST_ELEMENT_CLASS (text_host_parent_class)->change_state (element,
      transition);
}

static void
finalize (GObject * object)
{
  gst_palme_caption_textpad_free (((TextHost *) object)->text);
  G_OBJECT_CLASS (text_host_parent_class)->finalize (object);
}

static void
text_host_class_init (TextHostClass * class)
{
  GstElementClass *element = GST_ELEMENT_CLASS (class);

  G_OBJECT_CLASS (class)->finalize = finalize;
  element->request_new_pad = request_new_pad;
  element->release_pad = release_pad;
  element->change_state = change_state;
  gst_element_class_add_static_pad_template (element, &sink_template);
  gst_element_class_add_static_pad_template (element, &src_template);
  gst_element_class_add_static_pad_template (element, &text_template);
  gst_element_class_set_static_metadata (element, "text host", "Test", "test",
      "test");
}

static void
text_host_init (TextHost * host)
{
  host->sink = gst_pad_new_from_static_template (&sink_template, "sink");
  host->src = gst_pad_new_from_static_template (&src_template, "src");
  gst_element_add_pad (GST_ELEMENT (host), host->sink);
  gst_element_add_pad (GST_ELEMENT (host), host->src);
  host->text = gst_palme_caption_textpad_new (GST_ELEMENT (host));
}

TextHost *
host_new (GstState state)
{
  TextHost *host = g_object_new (text_host_get_type (), NULL);
  GstElement *pipeline = gst_pipeline_new (NULL);

  gst_bin_add (GST_BIN (pipeline), GST_ELEMENT (host));
  host_set_state (host, state);
  return host;
}

void
host_free (TextHost * host)
{
  GstElement *pipeline = GST_ELEMENT (gst_element_get_parent (host));

  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  gst_object_unref (pipeline);
}

void
host_set_state (TextHost * host, GstState state)
{
  fail_if (gst_element_set_state (GST_ELEMENT (GST_OBJECT_PARENT (host)), state)
      == GST_STATE_CHANGE_FAILURE);
}

GstFlowReturn
host_wait_error (TextHost * host, guint ms)
{
  GstBus *bus = gst_element_get_bus (GST_ELEMENT (GST_OBJECT_PARENT (host)));
  GstMessage *message =
      gst_bus_timed_pop_filtered (bus, ms * GST_MSECOND, GST_MESSAGE_ERROR);
  const GstStructure *details = NULL;
  gint flow = GST_FLOW_OK;

  gst_object_unref (bus);
  if (!message)
    return GST_FLOW_OK;
  fail_unless (GST_MESSAGE_SRC (message) == GST_OBJECT (host));
  gst_message_parse_error_details (message, &details);
  fail_unless (details
      && gst_structure_get_int (details, "flow-return", &flow));
  gst_message_unref (message);
  return flow;
}

void
host_event (TextHost * host, GstEvent * event)
{
  gst_palme_caption_textpad_event (host->text, event);
  gst_event_unref (event);
}

void
host_stream_start (TextHost * host, const gchar * id)
{
  GstEvent *event = gst_event_new_stream_start (id);

  gst_event_set_group_id (event, 7);
  gst_palme_caption_textpad_event (host->text, event);
  /* The pad keeps it once the handler has returned. */
  if (GST_PAD_MODE (host->sink) != GST_PAD_MODE_NONE)
    gst_pad_store_sticky_event (host->sink, event);
  gst_event_unref (event);
}

void
host_segment (TextHost * host, const GstSegment * segment)
{
  host_event (host, gst_event_new_segment (segment));
}

void
host_default_segment (TextHost * host)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  host_segment (host, &segment);
}

/* --- the consumer -------------------------------------------------------------------------- */

static void
record (Consumer * consumer, gpointer item)
{
  g_mutex_lock (&consumer->lock);
  g_queue_push_tail (&consumer->items, item);
  g_cond_broadcast (&consumer->cond);
  g_mutex_unlock (&consumer->lock);
}

static GstFlowReturn
consumer_chain (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  Consumer *consumer = gst_pad_get_element_private (pad);
  GstFlowReturn flow;

  (void) parent;
  if (consumer->poke) {
    gst_palme_caption_textpad_get_drops (consumer->poke->text);
    fail_unless (gst_palme_caption_textpad_is_linked (consumer->poke->text));
  }
  g_mutex_lock (&consumer->lock);
  consumer->calls++;
  g_cond_broadcast (&consumer->cond);
  while (consumer->blocked) {
    consumer->inside = TRUE;
    g_cond_broadcast (&consumer->cond);
    g_cond_wait (&consumer->cond, &consumer->lock);
  }
  consumer->inside = FALSE;
  flow = consumer->flow;
  g_mutex_unlock (&consumer->lock);
  if (flow == GST_FLOW_OK)
    record (consumer, buffer);
  else
    gst_buffer_unref (buffer);
  return flow;
}

static gboolean
consumer_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  Consumer *consumer = gst_pad_get_element_private (pad);
  gboolean flush = GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START;

  (void) parent;
  record (consumer, event);
  if (flush) {
    /* As in an element: the chain function returns. */
    g_mutex_lock (&consumer->lock);
    consumer->blocked = FALSE;
    g_cond_broadcast (&consumer->cond);
    g_mutex_unlock (&consumer->lock);
  }
  return TRUE;
}

Consumer *
consumer_new (void)
{
  static GstStaticPadTemplate templ =
      GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK,
      GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
  Consumer *consumer = g_new0 (Consumer, 1);

  g_mutex_init (&consumer->lock);
  g_cond_init (&consumer->cond);
  g_queue_init (&consumer->items);
  consumer->pad = gst_pad_new_from_static_template (&templ, "consumer");
  gst_object_ref_sink (consumer->pad);
  gst_pad_set_element_private (consumer->pad, consumer);
  gst_pad_set_chain_function (consumer->pad, consumer_chain);
  gst_pad_set_event_function (consumer->pad, consumer_event);
  gst_pad_set_active (consumer->pad, TRUE);
  return consumer;
}

void
consumer_link (Consumer * consumer, GstPad * src)
{
  fail_unless_equals_int (gst_pad_link (src, consumer->pad), GST_PAD_LINK_OK);
}

void
consumer_free (Consumer * consumer)
{
  GstPad *peer = gst_pad_get_peer (consumer->pad);

  consumer_block (consumer, FALSE);
  if (peer) {
    gst_pad_unlink (peer, consumer->pad);
    gst_object_unref (peer);
  }
  gst_pad_set_active (consumer->pad, FALSE);
  consumer_clear (consumer);
  gst_object_unref (consumer->pad);
  g_mutex_clear (&consumer->lock);
  g_cond_clear (&consumer->cond);
  g_free (consumer);
}

void
consumer_block (Consumer * consumer, gboolean blocked)
{
  g_mutex_lock (&consumer->lock);
  consumer->blocked = blocked;
  g_cond_broadcast (&consumer->cond);
  g_mutex_unlock (&consumer->lock);
}

void
consumer_wait_inside (Consumer * consumer)
{
  gint64 end = g_get_monotonic_time () + 5 * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;

  g_mutex_lock (&consumer->lock);
  while (ok && !consumer->inside)
    ok = g_cond_wait_until (&consumer->cond, &consumer->lock, end);
  g_mutex_unlock (&consumer->lock);
  fail_unless (ok, "no push came");
}

void
consumer_wait_calls (Consumer * consumer, gint calls)
{
  gint64 end = g_get_monotonic_time () + 5 * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;

  g_mutex_lock (&consumer->lock);
  while (ok && consumer->calls < calls)
    ok = g_cond_wait_until (&consumer->cond, &consumer->lock, end);
  g_mutex_unlock (&consumer->lock);
  fail_unless (ok, "no push came");
}

gpointer
consumer_pop (Consumer * consumer)
{
  gint64 end = g_get_monotonic_time () + 5 * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;
  gpointer item;

  g_mutex_lock (&consumer->lock);
  while (ok && g_queue_is_empty (&consumer->items))
    ok = g_cond_wait_until (&consumer->cond, &consumer->lock, end);
  item = g_queue_pop_head (&consumer->items);
  g_mutex_unlock (&consumer->lock);
  fail_unless (item != NULL, "nothing came");
  return item;
}

guint
consumer_settle (Consumer * consumer, guint ms)
{
  guint before, now = 0;

  do {
    before = now;
    g_usleep (ms * 1000);
    g_mutex_lock (&consumer->lock);
    now = g_queue_get_length (&consumer->items);
    g_mutex_unlock (&consumer->lock);
  } while (now != before);
  return now;
}

void
consumer_clear (Consumer * consumer)
{
  g_mutex_lock (&consumer->lock);
  g_queue_clear_full (&consumer->items, (GDestroyNotify) gst_mini_object_unref);
  g_mutex_unlock (&consumer->lock);
}

static void
append_time (GString * string, GstClockTime time)
{
  gsize length;

  if (!GST_CLOCK_TIME_IS_VALID (time)) {
    g_string_append (string, " none");
    return;
  }
  g_string_append_printf (string, " %" G_GUINT64_FORMAT ".%09" G_GUINT64_FORMAT,
      time / GST_SECOND, time % GST_SECOND);
  length = string->len;
  while (string->str[length - 1] == '0' && string->str[length - 2] != '.')
    length--;
  g_string_truncate (string, length);
}

gchar *
consumer_describe (Consumer * consumer)
{
  gpointer item = consumer_pop (consumer);
  GString *string = g_string_new (NULL);
  GstClockTime start, duration;
  GstMapInfo map;

  if (GST_IS_BUFFER (item)) {
    g_string_append (string, "cue");
    append_time (string, GST_BUFFER_PTS (item));
    append_time (string, GST_BUFFER_DURATION (item));
    fail_unless (gst_buffer_map (item, &map, GST_MAP_READ));
    g_string_append_c (string, ' ');
    g_string_append_len (string, (gchar *) map.data, map.size);
    gst_buffer_unmap (item, &map);
  } else {
    g_string_append (string, GST_EVENT_TYPE_NAME (item));
    if (GST_EVENT_TYPE (item) == GST_EVENT_GAP) {
      gst_event_parse_gap (item, &start, &duration);
      append_time (string, start);
      append_time (string, duration);
    }
  }
  gst_mini_object_unref (item);
  return g_string_free (string, FALSE);
}
