/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which frame starts a cue, and where the cue ends: what gstpalmecues.h promises.
 *
 * A cue is pushed when it starts, because a muxer or an overlay waits for it; so its end is a
 * promise about frames that have not come. Where frames keep to a grid the promise is exact.
 */
#include "gstpalmecues.h"

#include <string.h>

static GstClockTime
add (GstClockTime a, GstClockTime b)
{
  return a > GST_CLOCK_TIME_NONE - 1 - b ? GST_CLOCK_TIME_NONE - 1 : a + b;
}

void
gst_palme_cues_reset (GstPalmeCues * cues)
{
  cues->start = cues->end = cues->frame_end = GST_CLOCK_TIME_NONE;
  g_clear_pointer (&cues->held, g_free);
  g_clear_pointer (&cues->unsaid, g_free);
}

/* TRUE if frames come on the grid that their durations promise (some may be missing), so that the
 * start of a later frame can be told. */
static gboolean
on_grid (const GstPalmeCues * cues, GstClockTime pts, GstClockTime duration)
{
  GstClockTime slack = duration / 1024 + 1;

  if (!GST_CLOCK_TIME_IS_VALID (cues->frame_end))
    return TRUE;
  if (add (pts, slack) < cues->frame_end)
    return FALSE;
  return (add (pts, slack) - cues->frame_end) % duration <= 2 * slack;
}

/* The length of the whole frames that fit, or `length` itself where they fill it. The duration of
 * a frame is cut to whole nanoseconds (33333333 for a 30th), so each may be one short. */
static GstClockTime
whole_frames (GstClockTime length, GstClockTime duration)
{
  guint64 slack = length / duration + 1;
  guint64 frames = (length + slack) / duration;

  if (frames == 0 || length <= frames * duration + frames)
    return length;
  return frames * duration;
}

/* Where the first frame at or after `due` starts, on the grid. */
static GstClockTime
frame_at (GstClockTime pts, GstClockTime duration, GstClockTime due)
{
  GstClockTime distance = MIN (due - pts, G_MAXINT64);
  guint64 frames = distance / duration;

  if (frames == 0 || distance - frames * duration > frames)
    frames++;
  return MAX (due, add (pts, frames * duration));
}

/* Where a cue from `start` on ends, which is on the frame at `pts` or a moment later. On a grid it
 * ends with a frame: an end inside of one leaves a hole up to the next cue, or moves it. Off the
 * grid it rather ends early, because a late end moves the next caption. */
static GstClockTime
end_of_cue (const GstPalmeCues * cues, GstClockTime start, GstClockTime pts,
    GstClockTime duration, gboolean grid, GstClockTime next_due)
{
  GstClockTime end = GST_CLOCK_TIME_NONE - 1;

  if (cues->longest)
    end = add (start, grid ? whole_frames (cues->longest, duration) : cues->longest);
  if (GST_CLOCK_TIME_IS_VALID (next_due) && next_due > pts) {
    GstClockTime due = grid ? frame_at (pts, duration, next_due)
        : MAX (next_due, add (pts, duration / 2));

    end = MIN (end, due);
  }
  return end;
}

/* NULL if nothing of the cue lies inside the segment. */
static GstBuffer *
make_cue (GstPalmeCues * cues, const GstSegment * segment, const gchar * caption,
    GstClockTime start, GstClockTime end)
{
  guint64 from, to;
  GstBuffer *cue;

  if (end <= start || !gst_segment_clip (segment, GST_FORMAT_TIME, start, end, &from, &to)
      || to <= from)
    return NULL;
  cue = gst_buffer_new_memdup (caption, strlen (caption));
  GST_BUFFER_PTS (cue) = from;
  GST_BUFFER_DURATION (cue) = to - from;
  cues->start = from;
  cues->end = to;
  g_clear_pointer (&cues->unsaid, g_free);
  return cue;
}

static GstBuffer *
release_held (GstPalmeCues * cues, const GstSegment * segment, GstClockTime end)
{
  gchar *caption = g_steal_pointer (&cues->held);
  GstBuffer *cue = NULL;

  if (caption && GST_CLOCK_TIME_IS_VALID (end))
    cue = make_cue (cues, segment, caption, cues->held_start, end);
  g_free (caption);
  return cue;
}

/* The cue that this frame starts, or NULL. */
static GstBuffer *
start_cue (GstPalmeCues * cues, const GstSegment * segment, GstClockTime pts,
    GstClockTime duration, const gchar * caption, gboolean grid, gboolean hold,
    GstClockTime next_due)
{
  GstClockTime start = pts;

  /* While a cue is shown no other starts. A frame that comes a little before its end is the one
   * on the edge. A frame from before the cue is another matter: the source has jumped back. */
  if (GST_CLOCK_TIME_IS_VALID (cues->end) && pts < cues->end
      && add (pts, duration) >= cues->start) {
    if (cues->end - pts > duration / 2)
      return NULL;
    start = cues->end;
  }
  if (hold) {
    if (!cues->held) {
      cues->held = g_strdup (caption);
      cues->held_start = start;
    }
    return NULL;
  }
  return make_cue (cues, segment, caption, start,
      end_of_cue (cues, start, pts, duration, grid, next_due));
}

guint
gst_palme_cues_frame (GstPalmeCues * cues, GstMiniObject * items[GST_PALME_CUES_MAX],
    const GstSegment * segment, GstClockTime pts, GstClockTime duration, const gchar * caption,
    gboolean fresh, GstClockTime next_due)
{
  gboolean grid = on_grid (cues, pts, duration);
  gboolean empty = caption && !*caption;
  /* One cue per caption, and nobody can tell how long it lasts: it waits for its end. */
  gboolean hold = cues->longest == 0 && !(cues->exact && GST_CLOCK_TIME_IS_VALID (next_due));
  GstBuffer *cue;
  guint count = 0;

  cues->frame_end = add (pts, duration);
  if (caption && cues->held && (fresh || empty || !hold)) {
    cue = release_held (cues, segment, pts);
    if (cue)
      items[count++] = GST_MINI_OBJECT_CAST (cue);
  }
  cue = NULL;
  if (caption && !empty && segment->rate > 0.0)
    cue = start_cue (cues, segment, pts, duration, caption, grid, hold, next_due);
  if (!cue && caption && (fresh || empty)) {
    g_free (cues->unsaid);
    cues->unsaid = empty || hold || segment->rate < 0.0 ? NULL : g_strdup (caption);
  }
  if (cue)
    items[count++] = GST_MINI_OBJECT_CAST (cue);
  else
    items[count++] = GST_MINI_OBJECT_CAST (gst_event_new_gap (pts, duration));
  return count;
}

GstBuffer *
gst_palme_cues_finish (GstPalmeCues * cues, const GstSegment * segment, gboolean end_of_stream)
{
  GstBuffer *cue = release_held (cues, segment, cues->frame_end);
  gchar *unsaid = g_steal_pointer (&cues->unsaid);

  /* Else the last caption of a short video, or the one that was waited for at EOS, is lost. */
  if (!cue && unsaid && end_of_stream && GST_CLOCK_TIME_IS_VALID (cues->end))
    cue = make_cue (cues, segment, unsaid, cues->end,
        add (cues->end, cues->longest ? cues->longest : GST_SECOND));
  g_free (unsaid);
  return cue;
}

void
gst_palme_cues_segment (GstPalmeCues * cues, const GstSegment * from, const GstSegment * to)
{
  GstClockTime end = cues->end;

  if (GST_CLOCK_TIME_IS_VALID (end) && from->format == GST_FORMAT_TIME
      && to->format == GST_FORMAT_TIME) {
    end = gst_segment_to_running_time (from, GST_FORMAT_TIME, end);
    if (GST_CLOCK_TIME_IS_VALID (end))
      end = gst_segment_position_from_running_time (to, GST_FORMAT_TIME, end);
  }
  gst_palme_cues_reset (cues);
  if (GST_CLOCK_TIME_IS_VALID (end)) {
    cues->start = 0;
    cues->end = end;
  }
}
