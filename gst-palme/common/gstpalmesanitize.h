/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmesanitize.h - makes text of any origin fit to be shown: one line of valid UTF-8.
 */
#ifndef GST_PALME_SANITIZE_H
#define GST_PALME_SANITIZE_H

#include <glib.h>

G_BEGIN_DECLS

/* The longest caption, in characters. */
#define GST_PALME_TEXT_MAX 512

/* Reads `size` bytes, which may be anything, also NUL, and returns a new string: valid UTF-8 of at
 * most GST_PALME_TEXT_MAX characters, and of no more than there were, on one line, without "-->",
 * without spaces at its ends or two in a row; every space is U+0020. It has no invisible
 * characters: no control, format or private characters, no noncharacters, no fillers, nothing that
 * Unicode calls default ignorable, except one joiner (U+200C, U+200D) between two letters of
 * scripts that join or one U+200D between two pictographs, and one U+FE0E or U+FE0F after a symbol
 * that has both styles. Sanitising the result again changes nothing. It is not escaped for markup.
 * Free it with g_free(). */
gchar *gst_palme_sanitize (const gchar * text, gsize size);

G_END_DECLS

#endif
