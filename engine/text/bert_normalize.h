/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bert_normalize.h - BERT's normalizer: control characters go, all spaces are plain ones, ideographs stand alone,
 * accents and capitals go where that is wanted.
 */
#ifndef PALME_BERT_NORMALIZE_H
#define PALME_BERT_NORMALIZE_H

#include <stddef.h>
#include <stdint.h>

struct palme_bert_normalizer {
    int ideographs;    /* a space before and behind each of them */
    int strip_accents; /* characters fall into their parts, and marks go */
    int lowercase;
};

/* Bytes that `bytes` bytes of text may become. */
size_t palme_bert_normalized_size(size_t bytes);

/* out[palme_bert_normalized_size(length)] = the text, which is valid UTF-8; both are. Returns the bytes written. */
size_t palme_bert_normalize(const struct palme_bert_normalizer *normalizer, char *out, const char *text, size_t length);

/* Length of the first word of a normalized text that is not empty: a single space, a single punctuation mark, or what
 * stands between those. *characters: how many it has. */
size_t palme_bert_word(const char *text, size_t length, int *is_space, int *characters);

/* ---- The tables (bert_tables.c), in order of their characters -------------------------------- */

enum palme_bert_class {
    PALME_BERT_DROPPED = 1,
    PALME_BERT_SPACE = 2,
    PALME_BERT_PUNCTUATION = 4,
    PALME_BERT_MARK = 8, /* goes with the accents */
    PALME_BERT_IDEOGRAPH = 16
};

struct palme_bert_range {
    uint32_t first, last;
    uint32_t classes;
};

struct palme_bert_mapping {
    uint32_t from;
    uint32_t to[3]; /* zeros behind the last */
};

extern const struct palme_bert_range palme_bert_ranges[];
extern const int palme_bert_range_count;
/* Canonical parts without the marks among them; those of Korean syllables are computed. */
extern const struct palme_bert_mapping palme_bert_parts[];
extern const int palme_bert_parts_count;
extern const struct palme_bert_mapping palme_bert_small[];
extern const int palme_bert_small_count;

#endif
