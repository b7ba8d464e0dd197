/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * generate.c - one session's way from logits to the pieces of a caption: what it waits for, what it chooses,
 * what it gives out. It does not run the decoder: batch.c does that, for several sessions at once.
 */
#include "generate/session.h"

#include "base/util.h"
#include "compute/floats.h"

#include <math.h>
#include <string.h>

/* ---- The caption's course ----------------------------------------------------------------- */

void palme_generate_forget(palme_session *s)
{
    s->hypotheses.state = PALME_STATE_NO_PICTURE;
}

void palme_generate_clear(palme_session *s, int tokens)
{
    for (int b = 0; b < s->beams_capacity; b++) {
        s->hypotheses.cache[b].length = 0;
        s->hypotheses.cache[b].visible = s->model->config.cross_attend ? 0 : tokens;
    }
}

static int is_greedy(const palme_session *s)
{
    return !(s->options.temperature > 0) && palme_session_width(s->model, &s->options) == 1;
}

void palme_generate_picture(palme_session *s)
{
    struct palme_hypotheses *h = &s->hypotheses;

    h->generated = 0;
    h->score = 0;
    h->pending = -1;
    palme_draft_begin(&h->draft, &h->text, is_greedy(s) && !s->options.no_draft);
    h->random.state = s->options.seed;
    palme_detokenizer_begin(&h->detokenizer, s->model->tokenizer);
    h->state = PALME_STATE_PICTURE;
}

void palme_generate_rewind(palme_session *s, int length)
{
    s->hypotheses.cache[0].length = length;
}

void palme_generate_prompted(palme_session *s, int shared, int most)
{
    struct palme_hypotheses *h = &s->hypotheses;

    h->most = most;
    h->shared = shared;
    h->filled = 1;
    h->undecided = 0;
    h->emitted = 0;
    if (palme_session_width(s->model, &s->options) > 1)
        palme_beams_begin(&h->beams);
    h->state = PALME_STATE_GENERATING;
}

/* Gives out a token; begin and padding tokens are no text. */
static void emit(palme_session *s, const char **piece, int token)
{
    struct palme_hypotheses *h = &s->hypotheses;
    int silent = token == s->model->config.pad_token || token == s->model->config.bos_token;

    palme_detokenizer_token(&h->detokenizer, h->piece, silent ? -1 : token);
    *piece = h->piece;
}

/* The end: what is held of a character comes as a last piece. */
static int finish(palme_session *s, const char **piece)
{
    struct palme_hypotheses *h = &s->hypotheses;

    h->state = PALME_STATE_ENDED;
    if (is_greedy(s) && h->generated)
        palme_draft_finish(&h->draft, h->generated - (h->text[h->generated - 1] == s->model->config.eos_token));
    if (!palme_detokenizer_finish(&h->detokenizer, h->piece))
        return PALME_END;
    *piece = h->piece;
    return PALME_OK;
}

/* ---- What the decoder has to do ----------------------------------------------------------- */

int palme_generate_rows(const palme_session *s, struct palme_row *rows)
{
    const struct palme_row row = { .picture = &s->view.picture, .rotary = &s->rotary };
    const struct palme_hypotheses *h = &s->hypotheses;
    int count = h->undecided      ? h->beams.open
                : h->pending >= 0 ? 1 + palme_draft_propose(&h->draft, h->generated, h->most - 1 - h->generated)
                                  : 0;

    for (int i = 0; i < count && rows; i++) {
        const struct palme_beam *beam = h->undecided ? &h->beams.beam[i] : NULL;

        rows[i] = row;
        rows[i].cache = &h->cache[beam ? beam->slot : 0];
        rows[i].token = beam ? beam->tokens[h->beams.length - 1]
                        : i  ? h->draft.tokens[h->generated + i - 1]
                             : h->pending;
    }
    return count;
}

void palme_generate_rows_done(palme_session *s, int count)
{
    palme_window_rows(&s->window, count);
    s->hypotheses.pending = -1;
    s->hypotheses.undecided = 0;
}

/* ---- A single sentence -------------------------------------------------------------------- */

static struct palme_search search_of(const palme_session *s)
{
    const struct palme_options *o = &s->options;
    const struct palme_config *config = &s->model->config;
    int theirs = config->search_rules == PALME_SEARCH_TRANSFORMERS, least = config->min_length;

    /* transformers counts begin token and prompt in min_length, for which min_new_tokens stands in where it is set; and
     * in neither the token that ends the caption. */
    if (theirs)
        least = (config->min_new_tokens ? config->min_new_tokens : max_int(least - s->prompt.count, 0)) + 1;
    return (struct palme_search){
        .width = palme_session_width(s->model, o),
        .max_length = s->hypotheses.most,
        .tokens = palme_tokenizer_count(s->model->tokenizer),
        .eos = config->eos_token,
        .min_length = o->min_length ? o->min_length : least,
        .ngram = o->no_repeat_ngram < 0 ? 0
                 : o->no_repeat_ngram   ? o->no_repeat_ngram
                                        : config->no_repeat_ngram,
        .length_penalty = o->length_penalty > 0 ? o->length_penalty : config->length_penalty,
        .blocklist = o->blocklist,
        .tokenizer = s->model->tokenizer,
        .rules = config->search_rules,
        .early_stopping = config->early_stopping,
        .front = s->prompt.tokens + s->seen.id_count,
        .front_length = theirs ? s->prompt.count - s->seen.id_count : 0,
        .hold = s->seen.holds ? &s->seen.hold : NULL,
        .first = s->prompt.count - s->seen.id_count == 1 ? config->forced_bos : -1,
        .last = config->forced_eos,
    };
}

/* The largest logit's token, or one that is drawn; -1 where none is a number. */
static int choose_any(palme_session *s, const float *logits, int tokens)
{
    const struct palme_options *o = &s->options;
    float *probabilities = s->work.probabilities;
    int token = s->model->kernels.argmax(logits, tokens), kept;

    if (token < 0 || !(o->temperature > 0))
        return token;
    kept = palme_filter(probabilities, s->work.kept, logits, tokens, o->temperature, o->top_k,
                        o->top_p > 0 ? o->top_p : 1);
    return palme_draw(probabilities, s->work.kept, kept, &s->hypotheses.random);
}

/* Chooses the next token of a single sentence from logits[V]; -1 where none is a number. A vocabulary may be
 * padded beyond the tokens that there are: its whole distribution gives the score, but padding is never
 * chosen. */
static int choose(palme_session *s, float *logits)
{
    const struct palme_kernels *kernels = &s->model->kernels;
    const struct palme_search search = search_of(s);
    struct palme_hypotheses *h = &s->hypotheses;
    float *probabilities = s->work.probabilities;
    int token;
    double all = kernels->log_sum_exp(logits, s->model->config.vocabulary);

    if (search.hold)
        palme_hold_apply(search.hold, logits, h->text, h->generated, search.eos);
    memcpy(probabilities, logits, (size_t)search.tokens * sizeof *logits); /* the raw ones give the score */
    palme_forbid_repeats(logits, search.tokens, search.front, search.front_length, h->text, h->generated, search.ngram);
    if (h->generated + 1 < search.min_length)
        logits[search.eos] = -INFINITY;
    int forced = palme_search_forced(&search, h->text, h->generated);

    token = forced >= 0 ? forced : choose_any(s, logits, search.tokens);
    while (token >= 0 && forced < 0 &&
           palme_blocklist_forbids(search.blocklist, search.tokenizer, h->text, h->generated, token)) {
        if (!(logits[token] > -INFINITY)) /* no token is left */
            return -1;
        logits[token] = -INFINITY;
        token = choose_any(s, logits, search.tokens);
    }
    if (token < 0)
        return token;
    float raw = s->options.temperature > 0 && forced < 0 ? logits[token] : probabilities[token];
    if (!isnan(raw - all)) /* weights of a damaged model may be infinite */
        h->score += raw - all;
    return token;
}

static int next_single(palme_session *s, const char **piece)
{
    struct palme_window *window = &s->window;
    struct palme_hypotheses *h = &s->hypotheses;
    size_t at = (size_t)(window->row - window->first) * (size_t)s->model->config.vocabulary;
    int token = choose(s, window->logits + at);

    if (token < 0)
        return finish(s, piece);
    if (palme_draft_verify(&h->draft, h->generated, token, window->rows_run - 1 - window->row)) {
        palme_window_next(window);
    } else {
        h->cache[0].length -= palme_window_cut(window);
        h->pending = token;
    }
    h->text[h->generated++] = token;
    if (token == s->model->config.eos_token)
        return finish(s, piece);
    emit(s, piece, token);
    return PALME_OK;
}

/* ---- Beam search -------------------------------------------------------------------------- */

/* Gives each open beam a cache of its own with its parent's contents. The first child of a parent keeps the
 * parent's cache; only further children cost a copy, into the cache of a beam that died. */
static void move_caches(palme_session *s, const int *parent_slot)
{
    const struct palme_config *config = &s->model->config;
    struct palme_hypotheses *h = &s->hypotheses;
    size_t inner = (size_t)palme_stack_inner(&config->decoder);
    unsigned taken = 0;

    for (int b = 0; b < h->beams.open; b++) {
        unsigned bit = 1u << parent_slot[b];

        h->beams.beam[b].slot = taken & bit ? -1 : parent_slot[b];
        taken |= bit;
    }
    for (int b = 0; b < h->beams.open; b++) {
        int slot = 0;

        if (h->beams.beam[b].slot >= 0)
            continue;
        while (taken & (1u << slot))
            slot++;
        taken |= 1u << slot;
        h->beams.beam[b].slot = slot;

        const struct palme_cache *from = &h->cache[parent_slot[b]];
        struct palme_cache *to = &h->cache[slot];
        /* Image tokens and prompt are the same in all caches and are copied once. */
        size_t first = h->filled & (1u << slot) ? (size_t)h->shared : 0;

        for (int part = 0; part < 2 * config->decoder.depth; part++) {
            size_t at = ((size_t)part * s->capacity + first) * inner;

            memcpy(to->kv + at, from->kv + at, ((size_t)from->length - first) * inner * sizeof *to->kv);
        }
        to->length = from->length;
        h->filled |= 1u << slot;
    }
}

static void decide(palme_session *s)
{
    struct palme_hypotheses *h = &s->hypotheses;

    h->generated = h->beams.best_length;
    h->score = h->beams.best_score;
    h->state = PALME_STATE_DECIDED;
}

static int step_beams(palme_session *s)
{
    const struct palme_search search = search_of(s);
    struct palme_hypotheses *h = &s->hypotheses;
    int parent[PALME_MAX_BEAMS], slots[PALME_MAX_BEAMS];

    h->undecided = 1;
    if (palme_beams_step(&h->beams, &s->model->kernels, parent, s->window.logits, s->model->config.vocabulary,
                         &search)) {
        decide(s);
        return PALME_OK;
    }
    h->generated = h->beams.length;
    for (int b = 0; b < h->beams.open; b++)
        slots[b] = h->beams.beam[b].slot;
    move_caches(s, slots);
    return PALME_OK;
}

static int next_decided(palme_session *s, const char **piece)
{
    struct palme_hypotheses *h = &s->hypotheses;

    if (palme_session_width(s->model, &s->options) > 1 && h->emitted < h->beams.best_length) {
        int token = h->beams.best[h->emitted++];

        if (token != s->model->config.eos_token) {
            emit(s, piece, token);
            return PALME_OK;
        }
    }
    return finish(s, piece);
}

/* ---- palme_next --------------------------------------------------------------------------- */

int palme_generate_begin(palme_session *s, const char **piece)
{
    struct palme_hypotheses *h = &s->hypotheses;
    int status;

    *piece = "";
    if (h->state == PALME_STATE_NO_PICTURE)
        return PALME_ERROR_ARGUMENT;
    if (h->state == PALME_STATE_PICTURE && (status = palme_prompt(s, NULL)) < 0)
        return status;
    palme_session_enter(s);
    if (h->state == PALME_STATE_ENDED)
        return PALME_END;
    if (palme_compute_cancelled(&s->compute))
        return PALME_ERROR_CANCELLED;
    if (h->state == PALME_STATE_DECIDED)
        return next_decided(s, piece);
    if (h->pending >= 0 && (h->cache[0].length >= s->capacity || h->generated >= h->most))
        return finish(s, piece);
    return PALME_STEP;
}

int palme_generate_token(palme_session *s, const char **piece)
{
    return palme_session_width(s->model, &s->options) > 1 ? step_beams(s) : next_single(s, piece);
}

int palme_finish(palme_session *session)
{
    struct palme_hypotheses *h = session ? &session->hypotheses : NULL;

    if (!h || h->state == PALME_STATE_NO_PICTURE || h->state == PALME_STATE_PICTURE)
        return PALME_ERROR_ARGUMENT;
    if (h->state != PALME_STATE_GENERATING)
        return PALME_OK;
    if (palme_session_width(session->model, &session->options) > 1) {
        palme_beams_finish(&h->beams);
        decide(session);
    } else {
        h->state = PALME_STATE_DECIDED; /* no more than the rest of a character is given out */
    }
    return PALME_OK;
}

/* ---- What was generated ------------------------------------------------------------------- */

const int *palme_caption_tokens(const palme_session *session, int *count)
{
    const struct palme_hypotheses *h = &session->hypotheses;

    *count = h->generated;
    if (palme_session_width(session->model, &session->options) == 1)
        return h->text;
    return h->beams.best_length ? h->beams.best : h->beams.beam[0].tokens;
}

int palme_caption_accepted(const palme_session *session)
{
    return session ? session->hypotheses.draft.accepted : 0;
}

int palme_caption_length(const palme_session *session)
{
    return session ? session->hypotheses.generated : 0;
}

double palme_caption_score(const palme_session *session)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    double score =
        session && session->hypotheses.generated ? session->hypotheses.score / session->hypotheses.generated : 0;
    palme_floats_leave(&floats);
    return score;
}
