/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * captiontext.h - how palme-caption writes a line: escaping and the name of a frame.
 *
 * Everything is appended to a GString; nothing fails.
 */
#ifndef CAPTIONTEXT_H
#define CAPTIONTEXT_H

#include <glib.h>

enum caption_format { CAPTION_TSV, CAPTION_TEXT, CAPTION_JSON };

/* Appends one output line, the newline included. `source` is the name as the user gave it, in whatever
 * encoding; `time` is in ns, or -1 for a photo; `caption` is sanitised here. */
void caption_append_result(GString *out, enum caption_format format, const char *source, gint64 time,
                           const char *caption, double score);

#endif
