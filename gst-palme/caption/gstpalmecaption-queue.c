/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-queue.c - items that wait to be pushed on the text pad.
 */
#include "gstpalmecaption-queue.h"

/* The maximum number of items: the pad is far behind then, and old cues are of no use. */
#define MAX_ITEMS 4096

static gboolean
item_is_event (gconstpointer item, GstEventType type)
{
  return item && GST_IS_EVENT (item) && GST_EVENT_TYPE (item) == type;
}

/* Merges two GAPs: from the start of the first to the end of the second, or the second alone if it
 * does not follow the first. Takes both. */
static GstEvent *
merge_gaps (GstEvent * first, GstEvent * second)
{
  GstClockTime a, a_duration, b, b_duration;
  GstEvent *merged = second;

  gst_event_parse_gap (first, &a, &a_duration);
  gst_event_parse_gap (second, &b, &b_duration);
  if (b > a && GST_CLOCK_TIME_IS_VALID (b_duration)) {
    merged = gst_event_new_gap (a, b - a + b_duration);
    gst_event_set_seqnum (merged, gst_event_get_seqnum (second));
    gst_event_unref (second);
  }
  gst_event_unref (first);
  return merged;
}

/* Appends an item, takes it. Consecutive GAPs merge, and so do consecutive segments. */
static void
append (GstPalmeCaptionQueue * queue, gpointer item)
{
  gpointer tail = g_queue_peek_tail (&queue->items);

  if (item_is_event (tail, GST_EVENT_GAP)
      && item_is_event (item, GST_EVENT_GAP)) {
    item = merge_gaps (g_queue_pop_tail (&queue->items), item);
  } else if (item_is_event (tail, GST_EVENT_SEGMENT)
      && item_is_event (item, GST_EVENT_SEGMENT)) {
    gst_event_unref (g_queue_pop_tail (&queue->items));
  }
  g_queue_push_tail (&queue->items, item);
}

/* Removes an item, and merges its neighbours if they are of one kind. */
static void
drop_item (GstPalmeCaptionQueue * queue, GList * link)
{
  GList *before = link->prev, *after = link->next;

  if (GST_IS_BUFFER (link->data))
    queue->drops++;
  gst_mini_object_unref (link->data);
  g_queue_delete_link (&queue->items, link);
  if (!before || !after)
    return;
  if (item_is_event (before->data, GST_EVENT_GAP)
      && item_is_event (after->data, GST_EVENT_GAP)) {
    after->data = merge_gaps (before->data, after->data);
    g_queue_delete_link (&queue->items, before);
  } else if (item_is_event (before->data, GST_EVENT_SEGMENT)
      && item_is_event (after->data, GST_EVENT_SEGMENT)) {
    gst_event_unref (before->data);
    g_queue_delete_link (&queue->items, before);
  }
}

static gboolean
has_same_text (GstBuffer * a, GstBuffer * b)
{
  GstMapInfo map;
  gboolean same;

  if (gst_buffer_get_size (a) != gst_buffer_get_size (b)
      || !gst_buffer_map (b, &map, GST_MAP_READ))
    return FALSE;
  same = gst_buffer_memcmp (a, 0, map.data, map.size) == 0;
  gst_buffer_unmap (b, &map);
  return same;
}

void
gst_palme_caption_queue_drop_slices (GstPalmeCaptionQueue * queue,
    GstBuffer * cue)
{
  GList *link, *next;

  for (link = queue->items.head; link; link = next) {
    next = link->next;
    if (GST_IS_BUFFER (link->data) && has_same_text (link->data, cue))
      drop_item (queue, link);
  }
}

/* Keeps the queue bounded when the consumer is stuck: the oldest cue goes, else the oldest GAP. */
static void
drop_oldest (GstPalmeCaptionQueue * queue)
{
  GList *link, *gap = NULL;

  for (link = queue->items.head; link && !GST_IS_BUFFER (link->data);
      link = link->next) {
    if (!gap && item_is_event (link->data, GST_EVENT_GAP))
      gap = link;
  }
  if (link || gap)
    drop_item (queue, link ? link : gap);
}

void
gst_palme_caption_queue_push (GstPalmeCaptionQueue * queue, gpointer item)
{
  append (queue, item);
  if (g_queue_get_length (&queue->items) > MAX_ITEMS)
    drop_oldest (queue);
}

void
gst_palme_caption_queue_clear (GstPalmeCaptionQueue * queue)
{
  g_queue_clear_full (&queue->items, (GDestroyNotify) gst_mini_object_unref);
}
