/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * hold.h - words are held to the labels: what each token of a caption costs, by what the picture's labels say of the
 * word that ends with it (Held in models/search.py; section 7.4 of models/FORMAT.md).
 */
#ifndef PALME_HOLD_H
#define PALME_HOLD_H

#include "base/arena.h"
#include "generate/words.h"

/* What words cost in captions of one picture. The tables are filled once a picture; a step changes `now` alone. */
struct palme_hold {
    const struct palme_words *words;
    float *labels; /* [L] nats of a word that speaks of this label alone */
    float *costs;  /* [words] nats of each word */
    float *single; /* [enders] nats of an id that is a word by itself, else 0 */
    float *now;    /* [enders] nats of each ender behind the text at hand */
    int *wanted;   /* [wanted_count] of [L]: labels that a caption must not leave out */
    int wanted_count;
    float require; /* nats of each that is left out */
};

void palme_hold_lay_out(struct palme_hold *hold, struct palme_arena *arena, const struct palme_words *words);

/* Fills the tables from the labels' probabilities. Returns non-zero if anything may cost anything. */
int palme_hold_begin(struct palme_hold *hold, const double *probabilities, double weight, double require);

/* Takes from logits[V] what each token costs behind text[length], the caption so far. */
void palme_hold_apply(const struct palme_hold *hold, float *logits, const int *text, int length, int eos);

#endif
