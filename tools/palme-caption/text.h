/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * text.h - how palme-caption writes a line: escaping and the name of a frame.
 *
 * Everything is appended to a GString; nothing fails.
 */
#ifndef CAPTIONTEXT_H
#define CAPTIONTEXT_H

#include <glib.h>

enum caption_format { CAPTION_TSV, CAPTION_TEXT, CAPTION_JSON };

/* Appends a name, in whatever encoding, as text that breaks no line and drives no terminal. What is not
 * printable UTF-8 becomes \t, \n, \r, \xHH (a byte that is no UTF-8) or \u{HHHH} (a control, a format or
 * direction mark, a line separator, what is not assigned), a backslash \\; everything else stands as it
 * is. No two names become the same text. */
void caption_append_name(GString *out, const char *name);

struct caption_label {
    const char *name;
    double probability;
};

/* What is known of a picture. */
struct caption_result {
    const char *source; /* the name as the user gave it, in whatever encoding */
    gint64 time;        /* ns, or -1 for a photo */
    const char *caption;
    double score;
    const struct caption_label *labels; /* most likely first; NULL: the model has none */
    int label_count;
    gboolean unsure; /* the labels or the score do not confirm what the model said first */
};

/* Appends one output line, the newline included; caption and labels are sanitised here. In TSV a photo that
 * is called like a frame, "a@0:00:01.000", has its @ written as \u{40}; `labels` asks for a third column, "dog
 * 0.93, person 0.41". In JSON "source" is the name itself; of one that is no UTF-8, which JSON cannot hold, the
 * bytes are in "source_base64" beside it. */
void caption_append_result(GString *out, enum caption_format format, gboolean labels,
                           const struct caption_result *result);

#endif
