/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecea608-sender.h - which byte pair of CEA-608 goes into which frame. No pads, no clocks, no
 * lock: time is the number of a frame.
 *
 * A frame carries one pair, two characters, so a caption of 60 characters takes more than a second.
 * Pop-on captions are loaded invisibly and then shown at once; where the caller knows them early
 * enough, they are loaded before their first frame. Roll-up captions are written while one watches.
 */
#ifndef GST_PALME_CEA608_SENDER_H
#define GST_PALME_CEA608_SENDER_H

#include <glib.h>

G_BEGIN_DECLS

/* A frame that never comes. */
#define GST_PALME_CEA608_NEVER G_MAXUINT64

typedef struct
{
  /* The caller's settings; they count for captions that are added later. */
  guint channel;                /* 1 or 2 */
  guint rows;                   /* lines at a time: 1 to 4; 2 to 4 in roll-up */
  gboolean roll_up;

  guint64 dropped;              /* captions that had no time before the next one */

  /* The sender's own. */
  GQueue waiting;               /* of captions */
  gpointer current;             /* the caption that is being sent; NULL for none */
  guint sent;                   /* pairs of it */
  guint16 repeat;               /* a control code that is due once more; 0 for none */
  gboolean shown;               /* something is on the screen */
  gchar *shown_text;            /* what it is, if this sender put it there */
  guint64 clear;                /* when it leaves the screen */
} GstPalmeCea608Sender;

/* Forgets all captions. On zeroed memory it is the constructor; it leaves nothing to free. With
 * `clear_screen` the first thing that is sent takes old captions off the screen. */
void gst_palme_cea608_sender_reset (GstPalmeCea608Sender * sender, gboolean clear_screen);

/* Adds a caption that is to be seen from the frame `first` until before the frame `end`, which may be
 * NEVER: until the next one. Captions come in order. The text of the one before continues it; a text
 * without characters ends it. A long text becomes several captions that share the time. */
void gst_palme_cea608_sender_add (GstPalmeCea608Sender * sender, const gchar * text,
    guint64 first, guint64 end);

/* No further caption comes: what would be seen for ever ends at `end`. */
void gst_palme_cea608_sender_end (GstPalmeCea608Sender * sender, guint64 end);

/* The next frame, from `frame` on, that has a pair to carry, or NEVER. */
guint64 gst_palme_cea608_sender_due (const GstPalmeCea608Sender * sender, guint64 frame);

/* The pair for a frame that is due. */
guint16 gst_palme_cea608_sender_next (GstPalmeCea608Sender * sender, guint64 frame);

G_END_DECLS

#endif
