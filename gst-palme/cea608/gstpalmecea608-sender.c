/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecea608-sender.c - which byte pair of CEA-608 goes into which frame.
 */
#include "gstpalmecea608-sender.h"

#include "gstpalmecea608-encode.h"

#include <string.h>

/* Captions of which one ends where the other starts may be parted by a rounded frame. */
#define SEAM 1

/* Pairs of the code that clears the screen. */
#define CLEARING 2

typedef struct
{
  gchar *text;
  guint64 first, end;
  gboolean continues;           /* a further page of the one before */
  GArray *pairs;                /* pop-on: all but the code that shows them */
} Caption;

static void
caption_free (gpointer data)
{
  Caption *caption = data;

  g_free (caption->text);
  g_array_unref (caption->pairs);
  g_free (caption);
}

void
gst_palme_cea608_sender_reset (GstPalmeCea608Sender * sender,
    gboolean clear_screen)
{
  g_queue_clear_full (&sender->waiting, caption_free);
  g_clear_pointer (&sender->current, caption_free);
  g_clear_pointer (&sender->shown_text, g_free);
  sender->sent = 0;
  sender->repeat = 0;
  sender->shown = clear_screen;
  sender->clear = 0;
}

/* ---- Adding ----------------------------------------------------------------------------------- */

/* Lines at the bottom of the screen, each in its middle. */
static void
append_pop_on (GArray * pairs, guint channel, gchar ** lines, guint count)
{
  guint i;

  gst_palme_cea608_append_control (pairs, channel,
      GST_PALME_CEA608_RESUME_CAPTION_LOADING);
  gst_palme_cea608_append_control (pairs, channel,
      GST_PALME_CEA608_ERASE_NON_DISPLAYED_MEMORY);
  for (i = 0; i < count; i++) {
    guint width = (guint) g_utf8_strlen (lines[i], -1);

    gst_palme_cea608_append_position (pairs, channel,
        GST_PALME_CEA608_ROWS + 1 - count + i,
        (GST_PALME_CEA608_COLUMNS - width) / 2);
    gst_palme_cea608_append_line (pairs, channel, lines[i]);
  }
}

/* Lines that come in at the bottom and move the ones before up. */
static void
append_roll_up (GArray * pairs, guint channel, guint rows, gchar ** lines,
    guint count)
{
  guint i;

  gst_palme_cea608_append_control (pairs, channel,
      (GstPalmeCea608Control) (GST_PALME_CEA608_ROLL_UP_2 + rows - 2));
  for (i = 0; i < count; i++) {
    gst_palme_cea608_append_control (pairs, channel,
        GST_PALME_CEA608_CARRIAGE_RETURN);
    gst_palme_cea608_append_position (pairs, channel, GST_PALME_CEA608_ROWS, 0);
    gst_palme_cea608_append_line (pairs, channel, lines[i]);
  }
}

/* Pages of at most `rows` lines. Each is seen for its part of the time. */
static void
add_pages (GstPalmeCea608Sender * sender, const gchar * text, gchar ** lines,
    guint64 first, guint64 end)
{
  guint count = g_strv_length (lines);
  guint rows = sender->roll_up ? count : CLAMP (sender->rows, 1,
      GST_PALME_CEA608_LINES);
  guint pages = (count + rows - 1) / rows, page;
  guint64 duration = end == GST_PALME_CEA608_NEVER ? 0 : end - first;

  for (page = 0; page < pages; page++) {
    Caption *caption = g_new0 (Caption, 1);
    guint begin = page * rows, lines_here = MIN (rows, count - begin);

    caption->text = g_strdup (text);
    caption->continues = page > 0;
    caption->pairs = g_array_new (FALSE, FALSE, sizeof (guint16));
    if (sender->roll_up)
      append_roll_up (caption->pairs, sender->channel, CLAMP (sender->rows, 2,
              GST_PALME_CEA608_LINES), lines, count);
    else
      append_pop_on (caption->pairs, sender->channel, lines + begin,
          lines_here);
    /* Where the end is unknown, each page follows as soon as it is loaded. */
    caption->first = first + duration / pages * page;
    caption->end = page + 1 == pages ? end : first + duration / pages * (page +
        1);
    g_queue_push_tail (&sender->waiting, caption);
  }
}

/* Where the end of the newest caption is kept, and its text; NULL if it is off the screen. */
static guint64 *
newest_end (GstPalmeCea608Sender * sender, const gchar ** text)
{
  Caption *newest = g_queue_peek_tail (&sender->waiting);

  if (!newest)
    newest = sender->current;
  *text = newest ? newest->text : sender->shown_text;
  if (newest)
    return &newest->end;
  return sender->shown && sender->shown_text ? &sender->clear : NULL;
}

void
gst_palme_cea608_sender_add (GstPalmeCea608Sender * sender,
    const gchar * text, guint64 first, guint64 end)
{
  gchar **lines = gst_palme_cea608_wrap (text);
  const gchar *newest;
  guint64 *newest_ends = newest_end (sender, &newest);

  end = MAX (end, first + 1);
  if (!lines[0]) {
    if (newest_ends)
      *newest_ends = MIN (*newest_ends, first);
  } else if (newest_ends && g_strcmp0 (text, newest) == 0
      && (*newest_ends == GST_PALME_CEA608_NEVER
          || first <= *newest_ends + SEAM)) {
    *newest_ends = MAX (*newest_ends, end);
  } else {
    add_pages (sender, text, lines, first, end);
  }
  g_strfreev (lines);
}

void
gst_palme_cea608_sender_end (GstPalmeCea608Sender * sender, guint64 end)
{
  const gchar *text;
  guint64 *ends = newest_end (sender, &text);

  if (ends && *ends == GST_PALME_CEA608_NEVER)
    *ends = end;
}

/* ---- Sending ---------------------------------------------------------------------------------- */

/* The first frame for a caption's pairs, so that the last one is sent before its first frame even if the
 * code that clears the screen has to go between them. */
static guint64
begin_of (const GstPalmeCea608Sender * sender, const Caption * caption)
{
  guint64 needed = sender->roll_up ? 0 : caption->pairs->len + CLEARING;

  return caption->first - MIN (needed, caption->first);
}

/* Whether the screen has to be cleared at sender->clear: not if the next caption replaces it then. */
static gboolean
has_to_clear (const GstPalmeCea608Sender * sender)
{
  const Caption *next = sender->current;

  if (!sender->shown || sender->clear == GST_PALME_CEA608_NEVER)
    return FALSE;
  if (!next)
    next = g_queue_peek_head ((GQueue *) & sender->waiting);
  return !next || next->first > sender->clear + SEAM;
}

guint64
gst_palme_cea608_sender_due (const GstPalmeCea608Sender * sender, guint64 frame)
{
  const Caption *current = sender->current;
  const Caption *next = g_queue_peek_head ((GQueue *) & sender->waiting);
  guint64 due = GST_PALME_CEA608_NEVER;

  if (sender->repeat || (current && sender->sent < current->pairs->len))
    return frame;
  if (current)
    due = current->first;
  else if (next)
    due = begin_of (sender, next);
  if (has_to_clear (sender))
    due = MIN (due, sender->clear);
  return MAX (due, frame);
}

/* The first page of the caption that follows the one that waits; NULL if there is none. */
static const Caption *
following (const GstPalmeCea608Sender * sender)
{
  const GList *link = sender->waiting.head;

  for (link = link ? link->next : NULL; link; link = link->next)
    if (!((const Caption *) link->data)->continues)
      return link->data;
  return NULL;
}

/* Drops captions that come too late: those whose successor should be on its way by now. */
static void
drop_stale (GstPalmeCea608Sender * sender, guint64 frame)
{
  const Caption *next;

  while ((next = following (sender)) && frame >= begin_of (sender, next)
      && frame > begin_of (sender, g_queue_peek_head (&sender->waiting))) {
    Caption *caption = g_queue_pop_head (&sender->waiting);

    if (!caption->continues)
      sender->dropped++;
    caption_free (caption);
  }
}

/* A control code, whose repetition the next frame carries. */
static guint16
send_control (GstPalmeCea608Sender * sender, GstPalmeCea608Control code)
{
  GArray *pairs = g_array_sized_new (FALSE, FALSE, sizeof (guint16), 2);
  guint16 pair;

  gst_palme_cea608_append_control (pairs, sender->channel, code);
  pair = g_array_index (pairs, guint16, 0);
  g_array_unref (pairs);
  sender->repeat = pair;
  return pair;
}

/* The caption's text is on the screen from this frame on. One that is late keeps its time. */
static void
show (GstPalmeCea608Sender * sender, Caption * caption, guint64 frame)
{
  guint64 late = frame > caption->first ? frame - caption->first : 0;

  sender->shown = TRUE;
  sender->clear = caption->end >= GST_PALME_CEA608_NEVER - late ?
      GST_PALME_CEA608_NEVER : caption->end + late;
  g_free (sender->shown_text);
  sender->shown_text = g_strdup (caption->text);
  caption_free (caption);
  sender->current = NULL;
  sender->sent = 0;
}

static guint16
send_pair (GstPalmeCea608Sender * sender, guint64 frame)
{
  Caption *caption = sender->current;
  guint16 pair = g_array_index (caption->pairs, guint16, sender->sent);

  if (gst_palme_cea608_is_control (pair)) {
    sender->repeat = pair;
    sender->sent++;
  }
  sender->sent++;
  if (sender->roll_up && sender->sent >= caption->pairs->len)
    show (sender, caption, frame);
  return pair;
}

guint16
gst_palme_cea608_sender_next (GstPalmeCea608Sender * sender, guint64 frame)
{
  guint16 repeat = sender->repeat;
  Caption *current;

  sender->repeat = 0;
  if (repeat)
    return repeat;
  if (has_to_clear (sender) && frame >= sender->clear
      && !(sender->roll_up && sender->current)) {
    sender->shown = FALSE;
    g_clear_pointer (&sender->shown_text, g_free);
    return send_control (sender, GST_PALME_CEA608_ERASE_DISPLAYED_MEMORY);
  }
  if (!sender->current) {
    drop_stale (sender, frame);
    sender->current = g_queue_pop_head (&sender->waiting);
    sender->sent = 0;
  }
  current = sender->current;
  g_return_val_if_fail (current, 0);
  if (sender->sent < current->pairs->len)
    return send_pair (sender, frame);
  show (sender, current, frame);
  return send_control (sender, GST_PALME_CEA608_END_OF_CAPTION);
}
