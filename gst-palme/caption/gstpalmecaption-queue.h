/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-queue.h - items that wait to be pushed on the text pad, and which of them are
 * dropped when there are too many. No lock; the caller guards it.
 */
#ifndef GST_PALME_CAPTION_QUEUE_H
#define GST_PALME_CAPTION_QUEUE_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Zeroed memory is an empty queue. */
typedef struct
{
  GQueue items;                 /* GstBuffer (cue) and GstEvent, each a reference */
  guint64 drops;                /* cues that were dropped */
} GstPalmeCaptionQueue;

/* Appends an item, takes it. Consecutive GAPs merge, and so do consecutive segments. Above 4096
 * items the oldest cue is dropped, or the oldest GAP if there is no cue. */
void gst_palme_caption_queue_push (GstPalmeCaptionQueue * queue, gpointer item);

/* Drops waiting cues with the same text as this one. */
void gst_palme_caption_queue_drop_slices (GstPalmeCaptionQueue * queue, GstBuffer * cue);

/* Drops all items without counting them. */
void gst_palme_caption_queue_clear (GstPalmeCaptionQueue * queue);

G_END_DECLS

#endif
