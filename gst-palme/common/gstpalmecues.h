/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecues.h - which frame starts a cue on a text pad, and where the cue ends. No pads, no
 * threads, no lock; the caller guards the state.
 */
#ifndef GST_PALME_CUES_H
#define GST_PALME_CUES_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Items that one frame makes at most: a cue that was held, and a cue or a GAP. */
#define GST_PALME_CUES_MAX 2

/* A frame as the text pad sees it; all times are running times. */
typedef struct
{
  GstClockTime start, duration; /* valid; above 0 */
  /* In effect on this frame. "" shows nothing, after the cues of captions that wait; NULL changes
   * nothing. */
  const gchar *caption;
  GstClockTime next;            /* when the next caption is expected; NONE if unknown */
  GstClockTime limit;           /* the end of the video's segment, or NONE */
} GstPalmeCuesFrame;

typedef struct
{
  /* The caller's settings. */
  GstClockTime longest;         /* of one cue, at most G_MAXINT64; 0: up to the next caption */
  gboolean hold;                /* cues are sent when they end, and equal captions are one */

  /* NONE if there was none in this stream. */
  GstClockTime start, end;      /* of the last cue */
  GstClockTime frame_end;       /* of the last frame */
  gchar *held;                  /* a caption whose cue waits for its end to be known */
  GstClockTime held_start;
  gchar *newest;                /* the caption that came last */
  GQueue waiting;               /* gchar *: captions that wait for the end of the last cue */
} GstPalmeCues;

/* Forgets the stream, not the settings. On zeroed memory it is the constructor; it leaves nothing
 * to free. */
void gst_palme_cues_reset (GstPalmeCues * cues);

/* Forgets captions that have no cue yet, but not when the last cue ends. */
void gst_palme_cues_forget_captions (GstPalmeCues * cues);

/* Makes the items for a frame, in order. Returns their number; each is a reference for the caller,
 * a GstBuffer (cue) or a GstEvent (GAP). */
guint gst_palme_cues_frame (GstPalmeCues * cues, GstMiniObject * items[GST_PALME_CUES_MAX],
    const GstPalmeCuesFrame * frame);

/* Makes the cues that are left after the last frame, for the caller: the held cue, which ends with
 * that frame, and, at the end of the stream, those of captions that wait for the end of the last
 * cue. */
GList *gst_palme_cues_finish (GstPalmeCues * cues, gboolean end_of_stream);

G_END_DECLS

#endif
