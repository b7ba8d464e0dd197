/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * session.c - a session's memory and options.
 *
 * All memory is one block, taken when the session is opened; look, prompt and next allocate nothing. The
 * caches are sized for the longest context, but pages that no caption has reached are never touched, so the
 * system does not give them.
 */
#include "session.h"

#include "floats.h"
#include "util.h"

#include <math.h>
#include <stdlib.h>

/* ---- Memory ------------------------------------------------------------------------------- */

static void lay_out(struct palme_session *s, struct palme_arena *arena)
{
    const struct palme_config *config = &s->model->config;
    size_t side = (size_t)config->image_size, patches = (size_t)palme_config_patches(config);
    size_t inner = (size_t)palme_stack_inner(&config->decoder), depth = (size_t)config->decoder.depth;
    size_t capacity = (size_t)s->capacity, width = (size_t)s->width_capacity;
    size_t vocabulary = (size_t)config->vocabulary, prefix = (size_t)palme_config_prefix(config);
    size_t rows = max_size(prefix, PALME_PREFILL_ROWS);

    s->square = palme_arena_take(arena, side * side, 3);
    s->pixels = palme_arena_take(arena, side * side * 3, sizeof(float));
    s->context = palme_arena_take(arena, patches * (size_t)config->encoder.dim, sizeof(float));
    s->mapped = palme_arena_take(arena, prefix * (size_t)config->decoder.dim, sizeof(float));
    s->scratch = palme_scratch_take(arena, s->model, (int)rows);
    s->picture.capacity = (int)patches;
    s->picture.kv = palme_arena_take(arena, config->cross_attend ? 2 * depth * patches : 0, inner * sizeof(float));
    s->rotary.positions = config->rotary_xpos ? s->capacity : 0;
    s->rotary.cos = palme_arena_take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.sin = palme_arena_take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.gain = palme_arena_take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.anti = palme_arena_take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->cache = palme_arena_take(arena, width, sizeof *s->cache);
    for (size_t b = 0; b < width; b++) {
        float *kv = palme_arena_take(arena, 2 * depth * capacity, inner * sizeof(float));

        if (arena->base)
            s->cache[b] = (struct palme_cache){ .kv = kv, .capacity = s->capacity };
    }
    s->rows = palme_arena_take(arena, max_size(rows, width), sizeof *s->rows);
    s->hidden = palme_arena_take(arena, PALME_PREFILL_ROWS * (size_t)config->decoder.dim, sizeof(float));
    s->logits_capacity = max_int(s->width_capacity, PALME_LOGITS_ROWS);
    s->logits = palme_arena_take(arena, (size_t)s->logits_capacity * vocabulary, sizeof(float));
    s->joint_hidden = palme_arena_take(arena, PALME_PREFILL_ROWS * (size_t)config->decoder.dim, sizeof(float));
    s->joint_logits = palme_arena_take(arena, PALME_JOINT_ROWS * vocabulary, sizeof(float));
    s->probabilities = palme_arena_take(arena, vocabulary, sizeof(float));
    s->kept = palme_arena_take(arena, vocabulary, sizeof(int));
    s->text = palme_arena_take(arena, capacity + 1, sizeof(int));
    s->draft.tokens = palme_arena_take(arena, capacity + 1, sizeof(int));
    s->encode_scratch = palme_arena_take(arena, palme_tokenizer_scratch(s->model->tokenizer, PALME_MAX_PROMPT_BYTES), 1);
    s->piece = palme_arena_take(arena, 3 * (palme_tokenizer_longest(s->model->tokenizer) + 4) + 16, 1);
    if (width > 1) {
        s->beams.width = s->width_capacity;
        s->beams.capacity = s->capacity + 1;
        s->beams.beam = palme_arena_take(arena, width, sizeof *s->beams.beam);
        s->beams.next = palme_arena_take(arena, width, sizeof *s->beams.next);
        s->beams.best = palme_arena_take(arena, capacity + 2, sizeof(int));
        s->beams.candidates = palme_arena_take(arena, 2 * width, sizeof *s->beams.candidates);
        for (size_t b = 0; b < width; b++) {
            int *tokens = palme_arena_take(arena, capacity + 1, sizeof(int));
            int *next = palme_arena_take(arena, capacity + 1, sizeof(int));

            if (arena->base) {
                s->beams.beam[b].tokens = tokens;
                s->beams.next[b].tokens = next;
            }
        }
    }
}

/* ---- Options ------------------------------------------------------------------------------ */

static int usable_options(const palme_model *model, const struct palme_options *o)
{
    const char *wrong = NULL;

    if (o->max_length < 0)
        wrong = "max_length is below 0";
    else if (o->beams < 0 || o->beams > PALME_MAX_BEAMS)
        wrong = "beams is not in 0..16";
    else if (!(o->temperature >= 0) || isinf(o->temperature))
        wrong = "temperature is not 0 or a finite positive number";
    else if (o->top_k < 0)
        wrong = "top_k is below 0";
    else if (!(o->top_p >= 0))
        wrong = "top_p is below 0 or not a number";
    else if (!(o->length_penalty >= 0) || isinf(o->length_penalty))
        wrong = "length_penalty is not 0 or a finite positive number";
    else if (o->no_repeat_ngram < -1)
        wrong = "no_repeat_ngram is below -1";
    else if (o->min_length < 0)
        wrong = "min_length is below 0";
    if (wrong)
        return palme_fail(&model->report, PALME_ERROR_ARGUMENT, "the option %s", wrong);
    return PALME_OK;
}

int palme_session_width(const palme_model *model, const struct palme_options *o)
{
    if (o->temperature > 0)
        return 1;
    return o->beams ? o->beams : model->config.default_beams;
}

static int set_options(palme_session *session, const struct palme_options *options)
{
    static const struct palme_options none;

    if (!session)
        return PALME_ERROR_ARGUMENT;
    if (!options)
        options = &none;
    int status = usable_options(session->model, options);
    if (status < 0)
        return status;
    if (palme_session_width(session->model, options) > session->width_capacity)
        return palme_fail(&session->model->report, PALME_ERROR_ARGUMENT,
                          "%d beams are asked of a session that was opened for %d",
                          palme_session_width(session->model, options), session->width_capacity);
    session->options = *options;
    session->compute.cancel = options->cancel;
    session->compute.cancel_user = options->cancel_user;
    session->state = PALME_STATE_NO_PICTURE; /* a caption is made under one set of options */
    return PALME_OK;
}

int palme_session_set_options(palme_session *session, const struct palme_options *options)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = set_options(session, options);
    palme_floats_leave(&floats);
    return status;
}

/* ---- Opening and closing ------------------------------------------------------------------ */

static int open_session(palme_session **session, const palme_model *model, const struct palme_options *options)
{
    static const struct palme_options none;
    struct palme_arena arena = { 0 };
    int status;

    if (!session)
        return PALME_ERROR_ARGUMENT;
    *session = NULL;
    if (!model || !model->tokenizer)
        return PALME_ERROR_ARGUMENT;
    if (!options)
        options = &none;
    if ((status = usable_options(model, options)) < 0)
        return status;

    palme_session *s = calloc(1, sizeof *s);
    if (!s)
        return palme_fail(&model->report, PALME_ERROR_MEMORY, "out of memory for a session");
    s->model = model;
    s->compute = (struct palme_compute){ .kernels = &model->kernels, .pool = model->pool };
    s->width_capacity = palme_session_width(model, options);
    if (options->beams > s->width_capacity)
        s->width_capacity = options->beams;
    s->capacity = model->config.context;
    lay_out(s, &arena);
    if (!arena.overflow)
        s->memory = aligned_alloc(PALME_ARENA_ALIGNMENT, arena.most);
    if (!s->memory) {
        status = palme_fail(&model->report, PALME_ERROR_MEMORY, "out of memory for a session of %zu MiB",
                            arena.most >> 20);
        palme_session_close(&s);
        return status;
    }
    arena = palme_arena_over(s->memory, arena.most);
    lay_out(s, &arena);
    s->draft.trust = PALME_PREFILL_ROWS;
    palme_rotary_fill(&s->rotary, &model->weights.decoder, model->config.xpos_center);
    if ((status = set_options(s, options)) < 0) {
        palme_session_close(&s);
        return status;
    }
    *session = s;
    return PALME_OK;
}

int palme_session_open(palme_session **session, const palme_model *model, const struct palme_options *options)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = open_session(session, model, options);
    palme_floats_leave(&floats);
    return status;
}

void palme_session_close(palme_session **session)
{
    if (!session || !*session)
        return;
    free((*session)->memory);
    free(*session);
    *session = NULL;
}
