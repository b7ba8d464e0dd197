/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tokenizer.h - text to token ids, by the tokenizer that is in a model file (a Hugging Face tokenizers JSON).
 */
#ifndef PALME_TOKENIZER_H
#define PALME_TOKENIZER_H

#include "palme.h"
#include "base/log.h"

struct palme_tokenizer;

/* Reads the JSON (not NUL-terminated, `length` bytes). `vocabulary` is V. The ids are 0..T-1, each once,
 * added tokens included, with T <= V: a vocabulary may be padded, and the ids from T on have no token. What
 * is not implemented (a normalizer, another pre-tokenizer, an option) is an error that names its key. Returns
 * PALME_OK or PALME_ERROR_{FORMAT, MEMORY}. */
int palme_tokenizer_open(struct palme_tokenizer **tokenizer, const char *json, size_t length, int vocabulary,
                         const struct palme_log *log);
void palme_tokenizer_close(struct palme_tokenizer **tokenizer);

/* T, the number of tokens. */
int palme_tokenizer_count(const struct palme_tokenizer *tokenizer);

/* Bytes of scratch that palme_tokenizer_encode needs for a text of up to `bytes` bytes: about 50 a
 * byte. */
size_t palme_tokenizer_scratch(const struct palme_tokenizer *tokenizer, size_t bytes);

/* Encodes `length` bytes of UTF-8 as tokenizers does with encode_special_tokens=True and
 * add_special_tokens=False: special tokens never arise from plain text. Allocates nothing. Writes
 * at most `capacity` ids; `scratch` is aligned for double. Returns the number of ids,
 * PALME_ERROR_TEXT for invalid UTF-8, or PALME_ERROR_CONTEXT if they do not fit. */
int palme_tokenizer_encode(const struct palme_tokenizer *tokenizer, int *ids, int capacity, const char *text,
                           size_t length, void *scratch);

/* The bytes that a token stands for, valid as long as the tokenizer; not NUL-terminated, may be part of a
 * UTF-8 character. None for a special token, which is never text, and for an id without a token. id >= 0.
 * `first` says that no text stands before it; *space, that a space comes in front of its bytes. */
const char *palme_tokenizer_bytes(const struct palme_tokenizer *tokenizer, int id, int first, int *space,
                                  size_t *length);

/* Longest token in bytes, without that space. */
size_t palme_tokenizer_longest(const struct palme_tokenizer *tokenizer);

#endif
