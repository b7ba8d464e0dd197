/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecea608-encode.h - text to the byte pairs of CEA-608 (ANSI/CTA-608-E). No pads, no clocks.
 *
 * A pair is a guint16: the byte that is sent first in the high half, both with odd parity. Field 1 of
 * a frame carries one pair. Control codes are sent twice, as the standard demands.
 */
#ifndef GST_PALME_CEA608_ENCODE_H
#define GST_PALME_CEA608_ENCODE_H

#include <glib.h>

G_BEGIN_DECLS

#define GST_PALME_CEA608_COLUMNS 32
#define GST_PALME_CEA608_ROWS 15        /* the lowest row is 15 */
#define GST_PALME_CEA608_LINES 4        /* most lines that are shown at a time */

/* Second bytes of the miscellaneous control codes. */
typedef enum
{
  GST_PALME_CEA608_RESUME_CAPTION_LOADING = 0x20,
  GST_PALME_CEA608_ROLL_UP_2 = 0x25,    /* 3 and 4 rows follow */
  GST_PALME_CEA608_ERASE_DISPLAYED_MEMORY = 0x2c,
  GST_PALME_CEA608_CARRIAGE_RETURN = 0x2d,
  GST_PALME_CEA608_ERASE_NON_DISPLAYED_MEMORY = 0x2e,
  GST_PALME_CEA608_END_OF_CAPTION = 0x2f,
} GstPalmeCea608Control;

/* Breaks a text into lines of at most GST_PALME_CEA608_COLUMNS characters, between words where it
 * can. What CEA-608 has no character for is replaced: by its letter without accents, by a similar
 * punctuation mark, or, for a run of other characters (emoji, Chinese), by one question mark. The
 * array ends with NULL, and is empty for a text without characters; free it with g_strfreev(). */
gchar **gst_palme_cea608_wrap (const gchar * text);

/* Appends a control code, twice. `channel` is 1 (CC1) or 2 (CC2). */
void gst_palme_cea608_append_control (GArray * pairs, guint channel, GstPalmeCea608Control code);

/* Appends the address of a row, 1 to GST_PALME_CEA608_ROWS, and a column, from 0 on. */
void gst_palme_cea608_append_position (GArray * pairs, guint channel, guint row, guint column);

/* Appends a line that gst_palme_cea608_wrap() made. */
void gst_palme_cea608_append_line (GArray * pairs, guint channel, const gchar * line);

/* Whether a pair is a control code, which must not be parted from its repetition. */
gboolean gst_palme_cea608_is_control (guint16 pair);

G_END_DECLS

#endif
