/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which frame starts a cue on the text pad, and where the cue ends: the arithmetic of
 * gstpalmecaption-textpad.h. No pads, no threads, no lock; the caller guards the state.
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
  /* In effect on this frame: "" shows nothing from here on, NULL leaves things as they are. */
  const gchar *caption;
  GstClockTime next;            /* when the next caption is expected; NONE if nobody knows */
  GstClockTime limit;           /* the end of the video's segment, or NONE */
} GstPalmeCuesFrame;

typedef struct
{
  /* The caller's settings. */
  GstClockTime longest;         /* of one cue, at most G_MAXINT64; 0: up to the next caption */
  gboolean hold;                /* cues are told when they end, and equal captions are one */

  /* NONE where there was no such thing in this stream. */
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

/* Forgets what is still to be said, not when the last cue ends. */
void gst_palme_cues_forget_captions (GstPalmeCues * cues);

/* What a frame puts on the pad, in order: returns the number of items, each a reference for the
 * caller, a GstBuffer (cue) or a GstEvent (GAP). */
guint gst_palme_cues_frame (GstPalmeCues * cues, GstMiniObject * items[GST_PALME_CUES_MAX],
    const GstPalmeCuesFrame * frame);

/* What is still to be said after the last frame, the caller's: the held cue, which ends with that
 * frame, and, at the end of the stream, the captions that wait for the end of the last cue. */
GList *gst_palme_cues_finish (GstPalmeCues * cues, gboolean end_of_stream);

G_END_DECLS

#endif
