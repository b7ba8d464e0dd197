/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * beam.c - beam search: several sentences grow at once, the best finished one wins. It chooses tokens only;
 * running the decoder and moving caches is the session's part.
 *
 * There are two sets of rules for what counts as finished and when a search is over: those of Palme.beam in
 * models/palme.py, and those of `generate` in Hugging Face transformers, by which captioners that come from there say
 * what they say there.
 */
#include "generate/hold.h"
#include "nn/model.h"

#include <math.h>
#include <string.h>

void palme_beams_begin(struct palme_beams *beams)
{
    beams->open = 1;
    beams->length = 0;
    beams->beam[0].slot = 0;
    beams->beam[0].score = 0;
    beams->best_length = 0;
    beams->best_value = -INFINITY;
    beams->best_score = 0;
    beams->finished_count = 0;
}

/* Keeps the `most` best of what it is given, best first. Candidates come with rising beam and token, so
 * among equals the earlier one stays in front. Returns the new count. */
static int offer(struct palme_candidate *list, int count, int most, const struct palme_candidate *c)
{
    int at = count;

    if (count == most && !(c->score > list[count - 1].score))
        return count;
    if (count == most)
        at--;
    for (; at > 0 && c->score > list[at - 1].score; at--)
        list[at] = list[at - 1];
    list[at] = *c;
    return count < most ? count + 1 : count;
}

int palme_search_forced(const struct palme_search *search, const int *tokens, int length)
{
    int token = length + 1 == search->max_length && search->last >= 0 ? search->last : length ? -1 : search->first;

    if (token >= 0 && palme_blocklist_forbids(search->blocklist, search->tokenizer, tokens, length, token))
        return -1;
    return token;
}

static int collect(struct palme_beams *beams, const struct palme_kernels *kernels, float *logits, int vocabulary,
                   const struct palme_search *search)
{
    int count = 0, most = 2 * search->width, empty = search->rules == PALME_SEARCH_PALME && !beams->length;

    for (int b = 0; b < beams->open; b++) {
        float *row = logits + (size_t)b * (size_t)vocabulary;
        int forced = palme_search_forced(search, beams->beam[b].tokens, beams->length);

        if (forced >= 0) {
            count = offer(beams->candidates, count, most, &(struct palme_candidate){ beams->beam[b].score, b, forced });
            continue;
        }
        double all = kernels->log_sum_exp(row, vocabulary);

        if (search->hold)
            palme_hold_apply(search->hold, row, beams->beam[b].tokens, beams->length, search->eos);
        palme_forbid_repeats(row, vocabulary, search->front, search->front_length, beams->beam[b].tokens, beams->length,
                             search->ngram);
        if (search->eos >= 0 && (empty || beams->length + 1 < search->min_length))
            row[search->eos] = -INFINITY;
        float least = -INFINITY; /* logits below it are no candidates */
        for (int t = 0; t < search->tokens; t++) {
            struct palme_candidate c = { beams->beam[b].score + (row[t] - all), b, t };

            if (!(row[t] > -INFINITY) || row[t] < least || isnan(c.score))
                continue;
            if (search->blocklist && (count < most || c.score > beams->candidates[count - 1].score) &&
                palme_blocklist_forbids(search->blocklist, search->tokenizer, beams->beam[b].tokens, beams->length, t))
                continue;
            count = offer(beams->candidates, count, most, &c);
            if (count == most && row[t] > least && beams->candidates[count - 1].score >= c.score)
                least = row[t]; /* it was no better than the worst of them, nor will a smaller one be */
        }
    }
    return count;
}

static void keep_best(struct palme_beams *beams, const int *tokens, int count, int last, double score, double value)
{
    if (beams->best_length && !(value > beams->best_value))
        return;
    memcpy(beams->best, tokens, (size_t)count * sizeof *tokens);
    if (last >= 0)
        beams->best[count++] = last;
    beams->best_length = count;
    beams->best_score = score;
    beams->best_value = value;
}

/* A sentence is complete by transformers' rules: the best `width` of them are remembered. */
static void keep_finished(struct palme_beams *beams, const struct palme_candidate *c, const struct palme_search *search)
{
    double value = c->score / pow(beams->length + 1, search->length_penalty);
    int at = beams->finished_count;

    if (at == search->width) {
        if (search->early_stopping == PALME_STOP_FIRST || !(value > beams->finished[at - 1]))
            return;
        at--;
    } else {
        beams->finished_count++;
    }
    for (; at > 0 && value > beams->finished[at - 1]; at--)
        beams->finished[at] = beams->finished[at - 1];
    beams->finished[at] = value;
    keep_best(beams, beams->beam[c->beam].tokens, beams->length, c->token, c->score, value);
}

/* Whether a candidate, the `rank`-th best, ends its sentence, which is then remembered. */
static int ends(struct palme_beams *beams, const struct palme_candidate *c, int rank, const struct palme_search *search)
{
    int end = c->token == search->eos;

    if (search->rules == PALME_SEARCH_PALME) {
        if (end)
            keep_best(beams, beams->beam[c->beam].tokens, beams->length, c->token, c->score,
                      c->score / pow(beams->length + 1, search->length_penalty));
        return end;
    }
    end |= beams->length + 1 == search->max_length;
    if (end && rank < search->width)
        keep_finished(beams, c, search);
    return end;
}

/* Whether no open beam is expected to become better than what is finished. */
static int is_over(const struct palme_beams *beams, const struct palme_search *search)
{
    int most = search->max_length;
    double best = beams->beam[0].score;

    if (search->rules == PALME_SEARCH_PALME)
        return beams->best_length && beams->best_value >= best / pow(most, search->length_penalty);
    if (beams->finished_count < search->width)
        return 0;
    if (search->early_stopping == PALME_STOP_FIRST)
        return 1;
    if (search->early_stopping == PALME_STOP_HEURISTIC || !(search->length_penalty > 0))
        most = beams->length;
    return !(best / pow(most, search->length_penalty) > beams->finished[search->width - 1]);
}

int palme_beams_step(struct palme_beams *beams, const struct palme_kernels *kernels, int *parent, float *logits,
                     int vocabulary, const struct palme_search *search)
{
    int count = collect(beams, kernels, logits, vocabulary, search);
    int length = beams->length + 1, open = 0;

    for (int i = 0; i < count; i++) {
        const struct palme_candidate *c = &beams->candidates[i];
        const struct palme_beam *from = &beams->beam[c->beam];

        if (ends(beams, c, i, search) || open == search->width)
            continue;
        memcpy(beams->next[open].tokens, from->tokens, (size_t)beams->length * sizeof *from->tokens);
        beams->next[open].tokens[beams->length] = c->token;
        beams->next[open].score = c->score;
        beams->next[open].slot = from->slot;
        parent[open++] = c->beam;
    }

    if (open) {
        struct palme_beam *swap = beams->beam;

        beams->beam = beams->next;
        beams->next = swap;
        beams->open = open;
        beams->length = length;
    }
    if (open && length < search->max_length && !is_over(beams, search))
        return 0;
    palme_beams_finish(beams);
    return 1;
}

void palme_beams_finish(struct palme_beams *beams)
{
    if (!beams->best_length) /* nothing has ended by itself: the best open sentence stands */
        keep_best(beams, beams->beam[0].tokens, beams->length, -1, beams->beam[0].score, 0);
}
