/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * detokenize.h - token ids in, whole UTF-8 characters out. A token may be a part of a character: an
 * incomplete one is held back until it is complete, and what can never become one is replaced by U+FFFD, as a
 * lossy decoder does it: one for each maximal invalid part.
 */
#ifndef PALME_DETOKENIZE_H
#define PALME_DETOKENIZE_H

#include "text/tokenizer.h"

struct palme_detokenizer {
    const struct palme_tokenizer *tokenizer;
    unsigned char held[4]; /* an incomplete character */
    int count;
    int begun; /* a token with text was there */
};

/* A text begins. */
void palme_detokenizer_begin(struct palme_detokenizer *d, const struct palme_tokenizer *tokenizer);

/* Bytes that `out` of the calls below needs, for any token. */
size_t palme_detokenizer_room(const struct palme_tokenizer *tokenizer);

/* The characters that a token completes, with a NUL behind them; a NUL in the token becomes U+FFFD. An id
 * below 0, or one that the tokenizer does not have (padding of the vocabulary), stands for no text. Returns
 * the bytes written without the NUL. */
size_t palme_detokenizer_token(struct palme_detokenizer *d, char *out, int id);

/* The same for bytes; out has at least 3 * (length + 4) + 1 bytes. */
size_t palme_detokenizer_bytes(struct palme_detokenizer *d, char *out, const char *bytes, size_t length);

/* The text ends: an incomplete character becomes U+FFFD. */
size_t palme_detokenizer_finish(struct palme_detokenizer *d, char *out);

#endif
