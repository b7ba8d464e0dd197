/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * words.h - the words that speak of a model's labels, as tokens and as text: tables that are made once, when the model
 * is opened.
 */
#ifndef PALME_WORDS_H
#define PALME_WORDS_H

#include "nn/labels.h"
#include "text/tokenizer.h"

/* A word as the tokenizer has it. */
struct palme_word {
    int *ids;   /* [count] */
    int count;  /* at least 1 */
    int ender;  /* place of its last id in palme_words.enders */
    int number; /* its place in the configuration's `words` */
};

struct palme_words {
    const struct palme_label_config *config; /* the model's */
    struct palme_word *word;                 /* [config->word_count] in the order of the configuration */
    int *enders;                             /* [ender_count] the ids that end a word, each once, rising */
    int ender_count;
    const struct palme_word **longer; /* [longer_count] words of several ids, the shorter first, then by ids */
    int longer_count;
    int longest;                             /* most ids of a word */
    const struct palme_label_word **by_text; /* [config->word_count] rising */
    int longest_phrase;                      /* most words of a phrase */
    int *of_label;                           /* words of label l: of_label[first[l]]..of_label[first[l + 1] - 1] */
    int *first;                              /* [L + 1] */
};

/* Encodes the words of `config`, which outlives them. A word that the tokenizer cannot say is an error. Returns
 * PALME_OK or PALME_ERROR_{FORMAT, MEMORY} with a message; then *words is NULL. */
int palme_words_open(struct palme_words **words, const struct palme_label_config *config,
                     const struct palme_tokenizer *tokenizer, const struct palme_log *log);
void palme_words_close(struct palme_words **words);

/* The words of several ids whose ids but the last are those at the end of text[length]: `count` of them. Returns the
 * first, in `longer`, and how many there are. */
const struct palme_word *const *palme_words_behind(const struct palme_words *words, int count, const int *text,
                                                   int length, int *found);

/* Whether a text names a thing, a label with a phrase, of at least the probability `confirm` of the labels, and none
 * below `deny`. The longest phrase counts: a hot dog is no dog. `scratch` has the size of the text and is
 * overwritten. */
int palme_words_confirm(const struct palme_words *words, const double *probabilities, const char *text, char *scratch);

#endif
