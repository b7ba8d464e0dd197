/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-queue.h - what waits to be pushed on the text pad, and what goes when it is too much. No
 * lock; the caller guards it.
 */
#ifndef GST_PALME_CAPTION_QUEUE_H
#define GST_PALME_CAPTION_QUEUE_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* All zero is an empty one. */
typedef struct
{
  GQueue items;                 /* GstBuffer (cue) and GstEvent, each a reference */
  guint64 drops;                /* cues that went */
} GstPalmeCaptionQueue;

/* Appends an item, takes it. GAPs that wait merge, and so do segments with nothing between. Above
 * 4096 items the oldest cue goes, or the oldest GAP if no cue waits. */
void gst_palme_caption_queue_push (GstPalmeCaptionQueue * queue, gpointer item);

/* Drops the cues that wait and say the same as this one. */
void gst_palme_caption_queue_drop_slices (GstPalmeCaptionQueue * queue, GstBuffer * cue);

/* Drops all, and does not count it. */
void gst_palme_caption_queue_clear (GstPalmeCaptionQueue * queue);

G_END_DECLS

#endif
