/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * text.h - how palme-caption writes a line: escaping and the name of a frame.
 *
 * Everything is appended to a GString; nothing fails.
 */
#ifndef CAPTIONTEXT_H
#define CAPTIONTEXT_H

#include <glib.h>

/* CAPTION_JSON is an object a line, CAPTION_ARRAY one array of such lines (document.h). */
enum caption_format { CAPTION_TSV, CAPTION_TEXT, CAPTION_JSON, CAPTION_ARRAY, CAPTION_CSV, CAPTION_VTT, CAPTION_SRT };

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

/* Appends one output line, the newline included; caption and labels are sanitised here. `labels` asks for a last
 * column, "dog 0.93, person 0.41", in TSV and CSV. VTT and SRT have no such lines (document.h).
 *
 * In TSV a photo that is called like a frame, "a@0:00:01.000", has its @ written as \u{40}. In JSON "source" is the
 * name itself; of one that is no UTF-8, which JSON cannot hold, the bytes are in "source_base64" beside it. CSV is
 * that of RFC 4180, with names as in TSV and seconds in a column of their own. No field of it begins as a formula of a
 * spreadsheet does: a name gets ./ in front, a caption an apostrophe. */
void caption_append_result(GString *out, enum caption_format format, gboolean labels,
                           const struct caption_result *result);

/* The copy of a result, to be freed with caption_result_free. */
struct caption_result *caption_result_copy(const struct caption_result *result);
void caption_result_free(struct caption_result *result);

/* Appends what the lines of an input begin with, in a format that names its inputs: its key. The frames of a video have
 * another one than a photo of its name in TSV. */
void caption_append_key(GString *out, enum caption_format format, const char *source, gboolean video);

/* How long the key is that a line of `size` bytes begins with, without its newline, and whether the line is that of a
 * video's frame. 0: no line of this format. */
gsize caption_key_length(enum caption_format format, const char *line, gsize size, gboolean *frame);

/* Which format a name stands for, "vtt", or the ending of a file's; FALSE: none. "json" is CAPTION_ARRAY. */
gboolean caption_format_of(enum caption_format *format, const char *name);

#endif
