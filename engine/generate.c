/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * generate.c - one session's way from logits to pieces of a caption: what it waits for, what it chooses, what it
 * says. Running the decoder is not done here: batch.c does it for several sessions at once.
 */
#include "session.h"

#include <math.h>
#include <string.h>

/* The text of a token behind what is held of a character; "" for tokens that are no text. */
static void tell(palme_session *s, const char **piece, int token)
{
    size_t length = 0;
    const char *bytes = "";

    if (token != s->model->config.pad_token && token != s->model->config.bos_token)
        bytes = palme_tokenizer_bytes(s->model->tokenizer, token, &length);
    palme_utf8_feed(&s->utf8, s->piece, bytes, length);
    *piece = s->piece;
}

/* The end: what is held of a character comes as a last piece. */
static int finish(palme_session *s, const char **piece)
{
    s->state = PALME_STATE_ENDED;
    palme_draft_finish(s);
    if (!palme_utf8_finish(&s->utf8, s->piece))
        return PALME_END;
    *piece = s->piece;
    return PALME_OK;
}

static struct palme_search search_of(const palme_session *s)
{
    const struct palme_options *o = &s->options;
    const struct palme_config *config = &s->model->config;

    return (struct palme_search){
        .width = palme_session_width(s->model, o),
        .max_length = s->most,
        .eos = config->eos_token,
        .min_length = o->min_length ? o->min_length : config->min_length,
        .ngram = o->no_repeat_ngram < 0 ? 0 : o->no_repeat_ngram ? o->no_repeat_ngram
                                                                   : config->no_repeat_ngram,
        .length_penalty = o->length_penalty > 0 ? o->length_penalty : config->length_penalty,
    };
}

/* Chooses the next token of a single sentence from logits[V]; -1 where none is a number. */
static int choose(palme_session *s, float *logits)
{
    const struct palme_options *o = &s->options;
    const struct palme_search search = search_of(s);
    int n = s->model->config.vocabulary, token;
    double all = s->model->kernels.log_sum_exp(logits, n);

    memcpy(s->probabilities, logits, (size_t)n * sizeof *logits); /* the raw ones give the score */
    palme_forbid_repeats(logits, n, s->text, s->generated, search.ngram);
    if (s->generated + 1 < search.min_length)
        logits[search.eos] = -INFINITY;
    token = s->model->kernels.argmax(logits, n);
    float raw = token < 0 ? 0 : s->probabilities[token];
    if (token >= 0 && o->temperature > 0) {
        int kept = palme_filter(s->probabilities, s->kept, logits, n, o->temperature, o->top_k,
                                o->top_p > 0 ? o->top_p : 1);

        token = palme_draw(s->probabilities, s->kept, kept, &s->random);
        raw = logits[token];
    }
    if (token >= 0 && !isnan(raw - all)) /* weights of a damaged model may be infinite */
        s->score += raw - all;
    return token;
}

int palme_generate_rows(const palme_session *s, struct palme_row *rows)
{
    const struct palme_row row = { .picture = &s->picture, .rotary = &s->rotary };
    int count = s->undecided ? s->beams.open : s->pending >= 0 ? 1 + palme_draft_propose(s, s->generated) : 0;

    for (int i = 0; i < count && rows; i++) {
        const struct palme_beam *beam = s->undecided ? &s->beams.beam[i] : NULL;

        rows[i] = row;
        rows[i].cache = &s->cache[beam ? beam->slot : 0];
        rows[i].token = beam ? beam->tokens[s->beams.length - 1]
                        : i  ? s->draft.tokens[s->generated + i - 1]
                             : s->pending;
    }
    return count;
}

void palme_generate_rows_done(palme_session *s, int count)
{
    s->fed = count;
    s->row = s->first = s->standing = 0;
    s->pending = -1;
    s->undecided = 0;
}

int palme_generate_logits(const palme_session *s)
{
    int left = s->fed - s->row;

    if (s->row < s->first + s->standing)
        return 0;
    return left < s->logits_capacity ? left : s->logits_capacity;
}

void palme_generate_logits_done(palme_session *s, int count)
{
    s->first = s->row;
    s->standing = count;
}

static int next_single(palme_session *s, const char **piece)
{
    int vocabulary = s->model->config.vocabulary;
    int token = choose(s, s->logits + (size_t)(s->row - s->first) * (size_t)vocabulary);

    if (token < 0)
        return finish(s, piece);
    s->text[s->generated++] = token;
    if (!palme_draft_verify(s))
        s->pending = token;
    if (token == s->model->config.eos_token)
        return finish(s, piece);
    tell(s, piece, token);
    return PALME_OK;
}

/* Gives each open beam a cache of its own with its parent's contents. The first child of a parent keeps the
 * parent's cache; only further children cost a copy, into the cache of a beam that died. */
static void move_caches(palme_session *s, const int *parent_slot)
{
    const struct palme_config *config = &s->model->config;
    size_t inner = (size_t)palme_stack_inner(&config->decoder);
    unsigned taken = 0;

    for (int b = 0; b < s->beams.open; b++) {
        unsigned bit = 1u << parent_slot[b];

        s->beams.beam[b].slot = taken & bit ? -1 : parent_slot[b];
        taken |= bit;
    }
    for (int b = 0; b < s->beams.open; b++) {
        int slot = 0;

        if (s->beams.beam[b].slot >= 0)
            continue;
        while (taken & (1u << slot))
            slot++;
        taken |= 1u << slot;
        s->beams.beam[b].slot = slot;

        const struct palme_cache *from = &s->cache[parent_slot[b]];
        struct palme_cache *to = &s->cache[slot];
        /* Image tokens and prompt are the same in all caches and are copied once. */
        size_t first = s->filled & (1u << slot) ? (size_t)s->shared : 0;

        for (int part = 0; part < 2 * config->decoder.depth; part++) {
            size_t at = ((size_t)part * s->capacity + first) * inner;

            memcpy(to->kv + at, from->kv + at, ((size_t)from->length - first) * inner * sizeof *to->kv);
        }
        to->length = from->length;
        s->filled |= 1u << slot;
    }
}

static int step_beams(palme_session *s)
{
    const struct palme_search search = search_of(s);
    int parent[PALME_MAX_BEAMS], slots[PALME_MAX_BEAMS];
    int vocabulary = s->model->config.vocabulary;

    s->undecided = 1;
    if (palme_beams_step(&s->beams, &s->model->kernels, parent, s->logits, vocabulary, &search)) {
        s->generated = s->beams.best_length;
        s->score = s->beams.best_score;
        s->state = PALME_STATE_DECIDED;
        return PALME_OK;
    }
    s->generated = s->beams.length;
    for (int b = 0; b < s->beams.open; b++)
        slots[b] = s->beams.beam[b].slot;
    move_caches(s, slots);
    return PALME_OK;
}

static int next_told(palme_session *s, const char **piece)
{
    while (s->told < s->beams.best_length) {
        int token = s->beams.best[s->told++];

        if (token == s->model->config.eos_token)
            break;
        tell(s, piece, token);
        return PALME_OK;
    }
    return finish(s, piece);
}

int palme_generate_begin(palme_session *s, const char **piece)
{
    int status;

    *piece = "";
    if (s->state == PALME_STATE_NO_PICTURE)
        return PALME_ERROR_ARGUMENT;
    if (s->state == PALME_STATE_PICTURE && (status = palme_prompt(s, NULL)) < 0)
        return status;
    s->compute.pool = palme_pool_here(s->model->pool);
    s->compute.cancelled = 0;
    if (s->state == PALME_STATE_ENDED)
        return PALME_END;
    if (palme_compute_cancelled(&s->compute))
        return PALME_ERROR_CANCELLED;
    if (s->state == PALME_STATE_DECIDED)
        return next_told(s, piece);
    if (s->pending >= 0 && (s->cache[0].length >= s->capacity || s->generated >= s->most))
        return finish(s, piece);
    return PALME_STEP;
}

int palme_generate_token(palme_session *s, const char **piece)
{
    return palme_session_width(s->model, &s->options) > 1 ? step_beams(s) : next_single(s, piece);
}
