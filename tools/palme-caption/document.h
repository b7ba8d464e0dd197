/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * document.h - a file of captions as text: its beginning, its lines or cues, its end. It knows nothing of files.
 */
#ifndef CAPTIONDOCUMENT_H
#define CAPTIONDOCUMENT_H

#include "text.h"

struct caption_document {
    enum caption_format format;
    gboolean labels; /* a last column of them, in TSV and CSV */
    gboolean filled; /* it has a line or a cue */

    /* VTT and SRT: the cue that waits for its end */
    char *held; /* or NULL */
    gint64 held_start, last;
    guint cues; /* written so far */
};

/* What a document begins with, which may be nothing. */
void caption_document_begin(struct caption_document *document, GString *out);

/* A picture's line. In VTT and SRT equal captions in a row become one cue, which lasts until a frame says something
 * else, and a caption of "" is a gap; a result without a time must not be given. Times are cut to milliseconds, so that
 * a cue never begins behind its frame, nor reaches into the next one. */
void caption_document_add(struct caption_document *document, GString *out, const struct caption_result *result);

/* The end of an input, whose last frame ends at `end` ns; -1: that is not known. Ends the cue that waits. */
void caption_document_end_input(struct caption_document *document, GString *out, gint64 end);

/* What a document ends with. CAPTION_ARRAY: the text that takes the place of the last *replaced bytes of what was
 * written, those between two objects. */
void caption_document_end(struct caption_document *document, GString *out, gsize *replaced);

void caption_document_clear(struct caption_document *document);

/* Whether a format has cues, and so needs a video. */
gboolean caption_format_is_subtitle(enum caption_format format);

#endif
