/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-joins.c - whether a stream meets another one downstream.
 */
#include "gstpalmecaption-joins.h"

/* How far downstream the stream is followed. */
#define MAX_DEPTH 32

static gboolean joins_another (GstPad * src, guint depth);

static gboolean
look_on (GstElement * element, GstPad * pad, gpointer data)
{
  guint *depth = data;

  (void) element;
  if (!joins_another (pad, *depth))
    return TRUE;
  *depth = G_MAXUINT;           /* found: ends the iteration */
  return FALSE;
}

static gboolean
joins_another (GstPad * src, guint depth)
{
  GstPad *peer = gst_pad_get_peer (src), *inner;
  GstElement *element;
  gboolean joins = FALSE;

  if (!peer)
    return FALSE;
  if (GST_IS_PROXY_PAD (peer)) {        /* into a bin, or out of it */
    inner = GST_PAD (gst_proxy_pad_get_internal (GST_PROXY_PAD (peer)));
    if (inner) {
      joins = depth < MAX_DEPTH && joins_another (inner, depth + 1);
      gst_object_unref (inner);
    }
  } else if ((element = gst_pad_get_parent_element (peer)) != NULL) {
    guint next = depth + 1;

    GST_OBJECT_LOCK (element);
    joins = element->numsinkpads > 1;
    GST_OBJECT_UNLOCK (element);
    if (!joins && depth < MAX_DEPTH) {
      gst_element_foreach_src_pad (element, look_on, &next);
      joins = next == G_MAXUINT;
    }
    gst_object_unref (element);
  }
  gst_object_unref (peer);
  return joins;
}

gboolean
gst_palme_caption_joins_another (GstPad * src)
{
  return joins_another (src, 0);
}
