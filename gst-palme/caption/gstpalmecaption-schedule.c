/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-schedule.c - which frame is due.
 *
 * The grid point of the last frame is kept, not that of the next one, so that a new interval takes
 * effect at once. Sums saturate, so times never wrap around.
 */
#include "gstpalmecaption-schedule.h"

static GstClockTime
add (GstClockTime a, GstClockTime b)
{
  /* The largest time is one below GST_CLOCK_TIME_NONE. */
  const GstClockTime max = G_MAXUINT64 - 1;

  return b >= max || a >= max - b ? max : a + b;
}

/* From the last grid point to the next turn. */
static GstClockTime
until_next (const GstPalmeCaptionSchedule * schedule, GstClockTime interval)
{
  GstClockTime whole = MIN (interval, G_MAXINT64);

  return interval - (GstClockTime) ((gdouble) whole * schedule->lead);
}

void
gst_palme_caption_schedule_lead (GstPalmeCaptionSchedule * schedule,
    gdouble part)
{
  schedule->lead = part;
}

void
gst_palme_caption_schedule_reset (GstPalmeCaptionSchedule * schedule)
{
  schedule->running = schedule->waiting = FALSE;
  schedule->last = schedule->turn = 0;
  schedule->lead = 0.0;
}

gboolean
gst_palme_caption_schedule_is_due (const GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval)
{
  if (!schedule->running)
    return TRUE;
  if (time < schedule->last)    /* small steps back are jitter, not a seek */
    return schedule->last - time > interval;
  return time - schedule->last >= until_next (schedule, interval);
}

gboolean
gst_palme_caption_schedule_begin_turn (GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval)
{
  guint64 turn = 0;

  if (schedule->running && interval > 0)
    turn = time < schedule->last ? G_MAXUINT64
        : (time - schedule->last) / interval;
  if (schedule->waiting && turn == schedule->turn)
    return FALSE;
  schedule->turn = turn;
  schedule->waiting = FALSE;
  return TRUE;
}

gboolean
gst_palme_caption_schedule_hand_on (GstPalmeCaptionSchedule * schedule,
    GstClockTime interval)
{
  schedule->waiting = interval > 0;
  return schedule->waiting;
}

void
gst_palme_caption_schedule_take (GstPalmeCaptionSchedule * schedule,
    GstClockTime time, GstClockTime interval)
{
  GstClockTime next = add (schedule->last, interval);

  /* caption-now takes frames early; then the grid restarts too. */
  if (!schedule->running || time < next || time - next > interval)
    schedule->last = time;
  else
    schedule->last = next;
  schedule->running = TRUE;
  schedule->waiting = FALSE;
  schedule->lead = 0.0;
}

GstClockTime
gst_palme_caption_schedule_next (const GstPalmeCaptionSchedule * schedule,
    GstClockTime interval)
{
  return schedule->running ? add (schedule->last, until_next (schedule,
          interval)) : GST_CLOCK_TIME_NONE;
}
