/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecues.c - which frame starts a cue, and where the cue ends.
 *
 * A cue is pushed when it starts, because a muxer or an overlay waits for it. So its end is a
 * prediction about frames that have not come yet, which is exact if frames keep to a grid. A caption
 * that comes before the end of the current cue waits in a queue; while captions wait cues are shorter,
 * so that the queue drains.
 *
 * Consumers that only read one text after the other do not need a cue before it ends. For them a
 * caption can be held until its end is known.
 */
#include "gstpalmecues.h"

#include <string.h>

/* The shortest cue; subtitle files count milliseconds. */
#define SHORTEST GST_MSECOND

static GstClockTime
add (GstClockTime a, GstClockTime b)
{
  return a > GST_CLOCK_TIME_NONE - 1 - b ? GST_CLOCK_TIME_NONE - 1 : a + b;
}

void
gst_palme_cues_forget_captions (GstPalmeCues * cues)
{
  g_clear_pointer (&cues->held, g_free);
  g_clear_pointer (&cues->newest, g_free);
  g_queue_clear_full (&cues->waiting, g_free);
}

void
gst_palme_cues_reset (GstPalmeCues * cues)
{
  cues->start = cues->end = cues->frame_end = GST_CLOCK_TIME_NONE;
  gst_palme_cues_forget_captions (cues);
}

/* TRUE if frames come on the grid of their durations (some may be missing), so that the start of a
 * later frame can be predicted. Many files count milliseconds: there two times in a row may be off by half a
 * millisecond each. */
static gboolean
on_grid (const GstPalmeCues * cues, GstClockTime pts, GstClockTime duration)
{
  GstClockTime slack =
      MAX (duration / 1024, MIN (GST_MSECOND, duration / 8)) + 1;

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

/* Where a cue from `start` on ends, which is on the frame or a moment later. On a grid it ends with
 * a frame: an end inside of one leaves a hole up to the next cue, or moves it. Off the grid it
 * rather ends early, because a late end moves the next caption. */
static GstClockTime
end_of_cue (const GstPalmeCues * cues, GstClockTime start,
    const GstPalmeCuesFrame * frame, gboolean grid)
{
  GstClockTime length = cues->longest, end = GST_CLOCK_TIME_NONE - 1, share;
  gboolean known = GST_CLOCK_TIME_IS_VALID (frame->next)
      && frame->next > frame->start;
  guint waiting = g_queue_get_length ((GQueue *) & cues->waiting);

  if (length == 0 && !known)
    length = GST_SECOND;
  if (length)
    end = add (start, grid ? whole_frames (length, frame->duration) : length);
  if (known) {
    GstClockTime next =
        grid ? frame_at (frame->start, frame->duration, frame->next)
        : MAX (frame->next, add (frame->start, frame->duration / 2));

    end = MIN (end, next);
  }
  if (end <= start)
    end = add (start, frame->duration);
  if (waiting == 0)
    return end;
  share = (end - start) / (waiting + 1);
  if (grid)
    return add (start, MAX (whole_frames (share, frame->duration),
            frame->duration));
  return add (start, MAX (share, SHORTEST));
}

/* A cue that reaches over the end of the segment ends there. */
static GstBuffer *
make_cue (GstPalmeCues * cues, const gchar * caption, GstClockTime start,
    GstClockTime end, GstClockTime limit)
{
  GstBuffer *cue = gst_buffer_new_memdup (caption, strlen (caption));

  if (GST_CLOCK_TIME_IS_VALID (limit) && start < limit)
    end = MIN (end, limit);
  GST_BUFFER_PTS (cue) = start;
  GST_BUFFER_DURATION (cue) = end - start;
  cues->start = start;
  cues->end = end;
  return cue;
}

static GstBuffer *
release_held (GstPalmeCues * cues, GstClockTime end, GstClockTime limit)
{
  gchar *caption = g_steal_pointer (&cues->held);
  GstBuffer *cue = NULL;

  if (caption)
    cue = make_cue (cues, caption, cues->held_start,
        MAX (end, add (cues->held_start, SHORTEST)), limit);
  g_free (caption);
  return cue;
}

/* Where a cue may start for this frame: after the last one. */
static GstClockTime
free_from (const GstPalmeCues * cues, const GstPalmeCuesFrame * frame)
{
  return GST_CLOCK_TIME_IS_VALID (cues->end) ? MAX (cues->end,
      frame->start) : frame->start;
}

/* The cue that ends with this frame, or NULL. The next one is held from here on. */
static GstBuffer *
hold (GstPalmeCues * cues, const GstPalmeCuesFrame * frame)
{
  GstBuffer *cue = NULL;

  if (cues->held && strcmp (cues->held, frame->caption) != 0)
    cue = release_held (cues, frame->start, frame->limit);
  if (!cues->held && *frame->caption) {
    cues->held = g_strdup (frame->caption);
    cues->held_start = free_from (cues, frame);
  }
  return cue;
}

/* The cue that this frame starts, or NULL. */
static GstBuffer *
start_cue (GstPalmeCues * cues, const GstPalmeCuesFrame * frame, gboolean grid)
{
  GstClockTime start, end;
  GstBuffer *cue;
  gchar *caption;

  if (g_strcmp0 (frame->caption, cues->newest) != 0) {
    g_free (cues->newest);
    cues->newest = g_strdup (frame->caption);
    /* An empty caption has no cue, but those that wait keep theirs. */
    if (*frame->caption)
      g_queue_push_tail (&cues->waiting, g_strdup (frame->caption));
  }
  if (!*cues->newest && g_queue_is_empty (&cues->waiting))
    return NULL;
  /* No cue starts during another. A frame that comes a little before its end counts as on its edge. */
  start = free_from (cues, frame);
  if (start - frame->start > frame->duration / 2)
    return NULL;
  caption = g_queue_pop_head (&cues->waiting);
  end = end_of_cue (cues, start, frame, grid);
  if (end <= start) {           /* at the end of the time range */
    g_free (caption);
    return NULL;
  }
  if (!caption)
    caption = g_strdup (cues->newest);
  cue = make_cue (cues, caption, start, end, frame->limit);
  g_free (caption);
  return cue;
}

/* The source has jumped back: cues of the time before do not limit this one. */
static gboolean
is_before (const GstPalmeCuesFrame * frame, GstClockTime start)
{
  return GST_CLOCK_TIME_IS_VALID (start)
      && add (frame->start, frame->duration) < start;
}

guint
gst_palme_cues_frame (GstPalmeCues * cues,
    GstMiniObject * items[GST_PALME_CUES_MAX], const GstPalmeCuesFrame * frame)
{
  gboolean grid = on_grid (cues, frame->start, frame->duration);
  GstBuffer *cue = NULL;
  guint count = 0;

  if (cues->held && (!cues->hold || is_before (frame, cues->held_start))) {
    cue =
        release_held (cues, cues->hold ? cues->frame_end : frame->start,
        frame->limit);
    items[count++] = GST_MINI_OBJECT_CAST (cue);
  }
  if (is_before (frame, cues->start))
    cues->start = cues->end = GST_CLOCK_TIME_NONE;
  cues->frame_end = add (frame->start, frame->duration);
  cue = NULL;
  if (frame->caption && cues->hold) {
    cue = hold (cues, frame);
    if (cue)
      items[count++] = GST_MINI_OBJECT_CAST (cue);
    cue = NULL;
  } else if (frame->caption) {
    cue = start_cue (cues, frame, grid);
  }
  if (cue)
    items[count++] = GST_MINI_OBJECT_CAST (cue);
  else
    items[count++] =
        GST_MINI_OBJECT_CAST (gst_event_new_gap (frame->start,
            frame->duration));
  return count;
}

GList *
gst_palme_cues_finish (GstPalmeCues * cues, gboolean end_of_stream)
{
  GstBuffer *held = release_held (cues, cues->frame_end, GST_CLOCK_TIME_NONE);
  GList *list = held ? g_list_prepend (NULL, held) : NULL;
  guint waiting = g_queue_get_length (&cues->waiting);
  GstClockTime length = cues->longest ? cues->longest : GST_SECOND;
  gchar *caption;

  /* Otherwise the last caption of a short video, or one that was waited for at EOS, is lost. */
  while (end_of_stream && (caption = g_queue_pop_head (&cues->waiting)) != NULL) {
    GstClockTime end = add (cues->end, MAX (length / waiting, SHORTEST));

    list =
        g_list_append (list, make_cue (cues, caption, cues->end, end,
            GST_CLOCK_TIME_NONE));
    g_free (caption);
  }
  return list;
}
