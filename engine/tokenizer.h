/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tokenizer.h - bytes <-> token ids: byte-level BPE read from a Hugging Face tokenizers JSON.
 */
#ifndef PALME_TOKENIZER_H
#define PALME_TOKENIZER_H

#include "palme.h"
#include "report.h"

struct palme_tokenizer;

/* Reads the JSON (not NUL-terminated, `length` bytes). `vocabulary` is V: the ids must be 0..V-1,
 * each once, added tokens included. What is not implemented (a normalizer, another pre-tokenizer, a
 * BPE option) is an error that names its key. Returns PALME_OK or PALME_ERROR_{FORMAT, MEMORY}. */
int palme_tokenizer_open(struct palme_tokenizer **tokenizer, const char *json, size_t length,
                         int vocabulary, const struct palme_report *report);
void palme_tokenizer_close(struct palme_tokenizer **tokenizer);

/* Bytes of scratch that palme_tokenizer_encode needs for a text of up to `bytes` bytes: about 50 a
 * byte. */
size_t palme_tokenizer_scratch(const struct palme_tokenizer *tokenizer, size_t bytes);

/* Encodes `length` bytes of UTF-8 as tokenizers does with encode_special_tokens=True and
 * add_special_tokens=False: special tokens never arise from plain text. Allocates nothing. Writes
 * at most `capacity` ids; `scratch` is aligned for double. Returns the number of ids,
 * PALME_ERROR_TEXT for invalid UTF-8, or PALME_ERROR_CONTEXT if they do not fit. */
int palme_tokenizer_encode(const struct palme_tokenizer *tokenizer, int *ids, int capacity,
                           const char *text, size_t length, void *scratch);

/* The bytes that a token stands for (a special token: none; it is never text), valid as long as the
 * tokenizer; not NUL-terminated, may be part of a UTF-8 character. 0 <= id < V. */
const char *palme_tokenizer_bytes(const struct palme_tokenizer *tokenizer, int id, size_t *length);

/* Longest token in bytes. */
size_t palme_tokenizer_longest(const struct palme_tokenizer *tokenizer);

/* Turns token bytes into whole UTF-8 characters: holds back an incomplete one until it is complete,
 * replaces what can never become one by U+FFFD (as a lossy decoder does: one for each maximal
 * invalid part). All zero is empty. */
struct palme_utf8 {
    unsigned char held[4];
    int count;
};

/* Feeds `length` bytes; writes whole characters and a NUL to out, which has room for
 * 3 * (length + 4) + 1 bytes. NUL bytes become U+FFFD. Returns the bytes written, the NUL not
 * counted. */
size_t palme_utf8_feed(struct palme_utf8 *state, char *out, const char *bytes, size_t length);

/* The end of the text: what is held becomes U+FFFD. out has room for 13 bytes. */
size_t palme_utf8_finish(struct palme_utf8 *state, char *out);

#endif
