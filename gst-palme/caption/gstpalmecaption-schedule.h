/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-schedule.h - which frame is due: a grid of time, not a count of frames, because
 * frame rates of 0/1 and variable ones are normal. It belongs to the streaming thread and knows no
 * buffers.
 */
#ifndef GST_PALME_CAPTION_SCHEDULE_H
#define GST_PALME_CAPTION_SCHEDULE_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Zeroed memory is the start: the next frame is due. */
typedef struct
{
  gboolean running;             /* FALSE: the next frame is due, whatever its time */
  GstClockTime last;            /* the grid point of the last frame that was taken */
  gdouble lead;                 /* the next frame is due earlier by this part of an interval, once */
  gboolean waiting;             /* a frame was due and not taken: its turn is the next frame's */
  guint64 turn;                 /* which turn that is */
} GstPalmeCaptionSchedule;

/* The next frame is due again. */
void gst_palme_caption_schedule_reset (GstPalmeCaptionSchedule * schedule);

/* TRUE if the frame of this time is due. If it is not taken the next one is due. */
gboolean gst_palme_caption_schedule_is_due (const GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval);

/* A frame that is due begins a turn (TRUE), or continues one that an earlier frame handed on. A
 * turn that waits ends when another one begins. */
gboolean gst_palme_caption_schedule_begin_turn (GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval);

/* The frame is not taken: the next one gets its turn. FALSE if that has a turn of its own anyway,
 * as every frame has with an interval of 0. */
gboolean gst_palme_caption_schedule_hand_on (GstPalmeCaptionSchedule * schedule,
    GstClockTime interval);

/* The frame is taken: the grid advances by one interval, or restarts at `time` after a jump of more
 * than an interval. */
void gst_palme_caption_schedule_take (GstPalmeCaptionSchedule * schedule, GstClockTime time,
    GstClockTime interval);

/* The next turn comes earlier by this part of an interval, 0 <= part < 1, and those behind it are an interval
 * apart again. */
void gst_palme_caption_schedule_lead (GstPalmeCaptionSchedule * schedule,
    gdouble part);

/* The time from which a frame is due; GST_CLOCK_TIME_NONE if no frame was taken yet. */
GstClockTime gst_palme_caption_schedule_next (const GstPalmeCaptionSchedule * schedule,
    GstClockTime interval);

G_END_DECLS

#endif
