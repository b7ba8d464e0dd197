/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmetextinput.c - what elements that take text read of its buffers and events.
 */
#include "gstpalmetextinput.h"

gchar *
gst_palme_text_input_read (GstBuffer * buffer)
{
  GstMapInfo map;
  gchar *text;

  if (!gst_buffer_map (buffer, &map, GST_MAP_READ))
    return NULL;
  /* An empty buffer has no data to point to. */
  text = g_strndup (map.size ? (const gchar *) map.data : "", map.size);
  gst_buffer_unmap (buffer, &map);
  return text;
}

GstClockTime
gst_palme_text_input_gap_end (GstEvent * event)
{
  GstClockTime begin, duration;

  gst_event_parse_gap (event, &begin, &duration);
  gst_event_unref (event);
  if (GST_CLOCK_TIME_IS_VALID (begin) && GST_CLOCK_TIME_IS_VALID (duration))
    begin += duration;
  return begin;
}
