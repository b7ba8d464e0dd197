/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * wordpiece.h - WordPiece behind BERT's normalizer. One of the kinds of tokenizer.c.
 */
#ifndef PALME_WORDPIECE_H
#define PALME_WORDPIECE_H

#include "text/bert_normalize.h"
#include "text/bpe.h"

struct palme_wordpiece {
    struct palme_token *tokens; /* [count], `bytes` without the prefix */
    unsigned char *continues;   /* [count] the token had the prefix */
    int count;
    size_t longest; /* bytes, the prefix included */
    size_t prefix;  /* bytes of the prefix, which stands in front of those tokens' bytes */
    char *arena;
    struct palme_word *words[2]; /* [word_count]: tokens that begin a word, and those that go on with one */
    size_t word_count[2];
    char *normal;                /* added tokens as they stand in normalised text */
    struct palme_word *added[2]; /* [added_count]: those found in the text, and those found in normalised text */
    size_t added_count[2];
    int unknown;         /* its id */
    int most_characters; /* a longer word is unknown */
    int cleanup;         /* when text is made of tokens, no space stands before a full stop and the like */
    struct palme_bert_normalizer normalizer;
};

/* Reads a tokenizers JSON whose model.type is WordPiece. Returns PALME_OK or PALME_ERROR_{FORMAT, MEMORY}; then
 * *wordpiece is NULL. */
int palme_wordpiece_load(struct palme_wordpiece **wordpiece, const struct palme_json *root, int vocabulary,
                         const struct palme_log *log);
void palme_wordpiece_close(struct palme_wordpiece **wordpiece);

/* As palme_tokenizer_scratch, palme_tokenizer_encode and palme_tokenizer_bytes; the text is valid UTF-8. */
size_t palme_wordpiece_scratch(size_t bytes);
int palme_wordpiece_encode(const struct palme_wordpiece *wordpiece, int *ids, int capacity, const char *text,
                           size_t length, void *scratch);
const char *palme_wordpiece_bytes(const struct palme_wordpiece *wordpiece, int id, int first, int *space,
                                  size_t *length);

#endif
