/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which frame starts a cue on the text pad, and where the cue ends: the arithmetic of
 * gstpalmetext.h. No pads, no threads, no lock; the caller guards the state.
 */
#ifndef GST_PALME_CUES_H
#define GST_PALME_CUES_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Items that one frame makes at most: a cue that was held, and a cue or a GAP. */
#define GST_PALME_CUES_MAX 2

typedef struct
{
  /* The caller's settings. */
  gboolean exact;               /* sync mode */
  GstClockTime longest;         /* of one cue; 0: one cue per caption; at most G_MAXINT64 */

  /* NONE where there was no such thing in this stream. */
  GstClockTime start, end;      /* of the last cue */
  GstClockTime frame_end;       /* of the last frame */
  gchar *held;                  /* a caption whose cue waits for its end to be known */
  GstClockTime held_start;
  gchar *unsaid;                /* a new caption that came while the cue of another was shown */
} GstPalmeCues;

/* Forgets the stream, not the settings. On zeroed memory it is the constructor; it leaves nothing
 * to free. */
void gst_palme_cues_reset (GstPalmeCues * cues);

/* What a frame of this segment (format TIME) puts on the pad, in order: returns the number of
 * items, each a reference for the caller, a GstBuffer (cue) or a GstEvent (GAP). The arguments are
 * those of gst_palme_text_frame(); pts is valid and duration above 0. */
guint gst_palme_cues_frame (GstPalmeCues * cues, GstMiniObject * items[GST_PALME_CUES_MAX],
    const GstSegment * segment, GstClockTime pts, GstClockTime duration, const gchar * caption,
    gboolean fresh, GstClockTime next_due);

/* What is still to be said after the last frame, or NULL: the held cue, which ends with that frame,
 * or, at the end of the stream, the caption that waits for the end of the last cue. */
GstBuffer *gst_palme_cues_finish (GstPalmeCues * cues, const GstSegment * segment,
    gboolean end_of_stream);

/* Moves from one segment to another: cues of the new one start after the last cue of the old. */
void gst_palme_cues_segment (GstPalmeCues * cues, const GstSegment * from, const GstSegment * to);

G_END_DECLS

#endif
