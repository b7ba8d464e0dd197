/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bpe.h - byte-level byte pair encoding, as GPT-2 has it: bpe_load.c fills the tables, bpe.c encodes with
 * them. One of the kinds of tokenizer.c.
 */
#ifndef PALME_BPE_H
#define PALME_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "io/json.h"
#include "base/log.h"

/* Two neighbouring tokens that become one. */
struct palme_merge {
    uint32_t left, right; /* ids */
    uint32_t rank;        /* the lowest goes first */
    uint32_t result;      /* id */
};

struct palme_word {
    const char *bytes; /* not NUL-terminated, in the arena */
    size_t length;
    int id;
    int special;
};

struct palme_token {
    const char *bytes; /* in the arena */
    size_t length;     /* 0 for a special token */
    unsigned char known, special;
    unsigned char exact; /* from model.vocab, and each character of it stands for one byte */
};

/* Added tokens are looked for in two rounds: those that match the text as it is, then, in what is
 * left, those that match normalized text. Without a normalizer both see the same text. */
enum { PALME_ROUNDS = 2 };

struct palme_bpe {
    struct palme_token *tokens; /* [count] */
    int count;
    size_t longest;             /* bytes */
    char *arena;                /* bytes of all tokens; the added tokens as they stand in text */
    int byte_ids[256];          /* the token of a single byte; -1: none, the byte is dropped */
    struct palme_merge *merges; /* [merge_count], sorted by left, then right; each pair once */
    size_t merge_count;
    struct palme_word *words;               /* [word_count], sorted by bytes: words that are tokens as */
    size_t word_count;                      /* they are; none unless ignore_merges is set */
    struct palme_word *added[PALME_ROUNDS]; /* [added_count], sorted by bytes */
    size_t added_count[PALME_ROUNDS];       /* 0 too if all are special: those match nothing */
    int add_prefix_space;                   /* a text that begins with no space gets one */
    int use_regex;                          /* split into words before merging */
};

/* Reads a tokenizers JSON whose model.type is BPE. Returns PALME_OK or PALME_ERROR_{FORMAT, MEMORY}; then
 * *bpe is NULL. */
int palme_bpe_load(struct palme_bpe **bpe, const struct palme_json *root, int vocabulary, const struct palme_log *log);
void palme_bpe_close(struct palme_bpe **bpe);

/* As palme_tokenizer_scratch and palme_tokenizer_encode; the text is valid UTF-8. */
size_t palme_bpe_scratch(size_t bytes);
int palme_bpe_encode(const struct palme_bpe *bpe, int *ids, int capacity, const char *text, size_t length,
                     void *scratch);

/* The longest of words[count], sorted by bytes, that the text begins with, or NULL. */
const struct palme_word *palme_word_longest(const struct palme_word *words, size_t count, const char *text,
                                            size_t length);

/* For qsort. Words go by their bytes, a shorter one before those that it begins. */
int palme_word_compare(const void *a, const void *b);
/* Merges go by left, right, rank. */
int palme_merge_compare(const void *a, const void *b);

#endif
