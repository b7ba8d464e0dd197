/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmeschedule.c - which frame is due.
 *
 * The grid point of the last frame is kept, not that of the next one, so that a new interval counts
 * at once. Times near the largest value add with saturation: they never wrap into the past.
 */
#include "gstpalmeschedule.h"

static GstClockTime
add (GstClockTime a, GstClockTime b)
{
  /* The largest time is one below GST_CLOCK_TIME_NONE. */
  const GstClockTime max = G_MAXUINT64 - 1;

  return b >= max || a >= max - b ? max : a + b;
}

void
gst_palme_schedule_reset (GstPalmeSchedule * schedule)
{
  schedule->running = FALSE;
  schedule->last = 0;
}

gboolean
gst_palme_schedule_is_due (const GstPalmeSchedule * schedule,
    GstClockTime time, GstClockTime interval)
{
  if (!schedule->running)
    return TRUE;
  if (time < schedule->last)    /* small steps back are jitter, not a jump */
    return schedule->last - time > interval;
  return time - schedule->last >= interval;
}

void
gst_palme_schedule_take (GstPalmeSchedule * schedule, GstClockTime time,
    GstClockTime interval)
{
  GstClockTime next = add (schedule->last, interval);

  /* caption-now takes frames before they are due; the grid starts anew there as well. */
  if (!schedule->running || time < next || time - next > interval)
    schedule->last = time;
  else
    schedule->last = next;
  schedule->running = TRUE;
}

GstClockTime
gst_palme_schedule_next (const GstPalmeSchedule * schedule,
    GstClockTime interval)
{
  return schedule->running ? add (schedule->last,
      interval) : GST_CLOCK_TIME_NONE;
}
