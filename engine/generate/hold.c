/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * hold.c - what each token of a caption costs, by what the picture's labels say of the word that ends with it.
 */
#include "generate/hold.h"

#include "base/util.h"

#include <math.h>
#include <string.h>

static const double least_probability = 1e-4; /* a word costs no more than one whose labels have this */

void palme_hold_lay_out(struct palme_hold *hold, struct palme_arena *arena, const struct palme_words *words)
{
    hold->words = words;
    hold->labels = palme_arena_take(arena, (size_t)words->config->count, sizeof(float));
    hold->costs = palme_arena_take(arena, (size_t)words->config->word_count, sizeof(float));
    hold->single = palme_arena_take(arena, (size_t)words->ender_count, sizeof(float));
    hold->now = palme_arena_take(arena, (size_t)words->ender_count, sizeof(float));
    hold->wanted = palme_arena_take(arena, (size_t)words->config->count, sizeof(int));
}

/* Nats of a label of this probability; NaN is as unlikely as can be. */
static double cost_of(const struct palme_label_config *config, double p, double weight)
{
    if (p >= config->floor)
        return 0;
    return weight * log(config->floor / (p > least_probability ? p : least_probability));
}

/* Nats of a word: those of its likeliest label. */
static float cost_of_word(const struct palme_hold *hold, const struct palme_label_word *word)
{
    float least = hold->labels[word->labels[0]];

    for (int i = 1; i < word->count; i++)
        least = hold->labels[word->labels[i]] < least ? hold->labels[word->labels[i]] : least;
    return least;
}

int palme_hold_begin(struct palme_hold *hold, const double *probabilities, double weight, double require)
{
    const struct palme_words *words = hold->words;
    const struct palme_label_config *config = words->config;
    int any = 0;

    memset(hold->single, 0, (size_t)words->ender_count * sizeof *hold->single);
    for (int l = 0; l < config->count; l++)
        hold->labels[l] = (float)cost_of(config, probabilities[l], weight);
    for (int i = 0; i < config->word_count; i++) {
        hold->costs[i] = cost_of_word(hold, &config->words[i]);
        any |= hold->costs[i] > 0;
        if (words->word[i].count == 1)
            hold->single[words->word[i].ender] = hold->costs[i];
    }
    hold->require = (float)require;
    hold->wanted_count = 0;
    for (int l = 0; l < config->count && require > 0; l++)
        if (*config->phrases[l] && probabilities[l] >= config->sure && words->first[l] < words->first[l + 1])
            hold->wanted[hold->wanted_count++] = l;
    return any || hold->wanted_count;
}

static int contains(const int *text, int length, const struct palme_word *word)
{
    for (int i = 0; i + word->count <= length; i++)
        if (memcmp(text + i, word->ids, (size_t)word->count * sizeof *text) == 0)
            return 1;
    return 0;
}

static int speaks_of(const struct palme_words *words, int label, const int *text, int length)
{
    for (int i = words->first[label]; i < words->first[label + 1]; i++)
        if (contains(text, length, &words->word[words->of_label[i]]))
            return 1;
    return 0;
}

void palme_hold_apply(const struct palme_hold *hold, float *logits, const int *text, int length, int eos)
{
    const struct palme_words *words = hold->words;
    int found;

    memcpy(hold->now, hold->single, (size_t)words->ender_count * sizeof *hold->now);
    for (int count = 2; count <= min_int(words->longest, length + 1); count++) { /* the longest word comes last */
        const struct palme_word *const *word = palme_words_behind(words, count, text, length, &found);

        for (int i = 0; i < found; i++)
            hold->now[word[i]->ender] = hold->costs[word[i]->number];
    }
    for (int i = 0; i < words->ender_count; i++)
        logits[words->enders[i]] -= hold->now[i];
    for (int i = 0; i < hold->wanted_count; i++)
        if (!speaks_of(words, hold->wanted[i], text, length))
            logits[eos] -= hold->require;
}
