/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * words.h - what GStreamer's messages mean to somebody who wanted a caption.
 */
#ifndef CAPTIONWORDS_H
#define CAPTIONWORDS_H

#include <gst/gst.h>

/* What a pipeline has said so far. Zero is nothing. */
struct caption_words {
    char *missing;   /* the decoder or source that GStreamer would need, as it calls it */
    char *package;   /* the Debian package that may have it, or NULL */
    char *headline;  /* of the message that says most so far */
    int weight;      /* how much that one says */
    gboolean failed; /* there was an error */
};

/* Takes note of a message of the bus: errors, warnings and missing plugins; others are ignored. */
void caption_words_note(struct caption_words *words, GstMessage *message);

/* The sentence about what went wrong; free it with g_free. */
char *caption_words_sentence(const struct caption_words *words);

/* Whether the fault is that nothing installed decodes the format. */
gboolean caption_words_is_unknown(const struct caption_words *words);

void caption_words_clear(struct caption_words *words);

#endif
