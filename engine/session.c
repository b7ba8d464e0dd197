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
#include "image.h"

#include <math.h>
#include <stdlib.h>

/* ---- Memory ------------------------------------------------------------------------------- */

/* Hands out parts of one block: first to add up the sizes (base NULL), then for good. */
struct arena {
    unsigned char *base;
    size_t used;
    int overflow;
};

static void *take(struct arena *arena, size_t count, size_t size)
{
    size_t bytes, end;

    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, 63, &bytes) ||
        __builtin_add_overflow(arena->used, bytes & ~(size_t)63, &end)) {
        arena->overflow = 1;
        return NULL;
    }
    void *part = arena->base ? arena->base + arena->used : NULL;
    arena->used = end;
    return part;
}

static int prefix_tokens(const struct palme_params *params)
{
    return params->cross_attend ? 0 : palme_params_patches(params);
}

static void lay_out(struct palme_session *s, struct arena *arena)
{
    const struct palme_params *params = &s->model->params;
    size_t side = (size_t)params->image_size, patches = (size_t)palme_params_patches(params);
    size_t inner = (size_t)params->decoder_heads * PALME_HEAD, depth = (size_t)params->decoder_depth;
    size_t capacity = (size_t)s->capacity, width = (size_t)s->width_capacity;
    size_t vocabulary = (size_t)params->num_tokens, prefix = (size_t)prefix_tokens(params);
    size_t rows = prefix > PALME_PREFILL_ROWS ? prefix : PALME_PREFILL_ROWS;
    size_t scratch = palme_encoder_scratch(s->model, params->image_size, params->image_size);
    size_t see = patches * (size_t)params->decoder_dim;
    size_t decode = palme_decoder_scratch(s->model, (int)rows);

    size_t room = palme_encoder_room(s->model, params->image_size, params->image_size);
    size_t decoder_room = palme_decoder_room(s->model, (int)(rows > patches ? rows : patches));

    scratch = scratch > decode ? scratch : decode;
    scratch = scratch > see ? scratch : see;
    s->square = take(arena, side * side, 3);
    s->image_scratch = take(arena, palme_image_scratch(params->image_size), 1);
    s->pixels = take(arena, side * side * 3, sizeof(float));
    s->context = take(arena, patches * (size_t)params->encoder_dim, sizeof(float));
    s->mapped = take(arena, prefix * (size_t)params->decoder_dim, sizeof(float));
    s->scratch = take(arena, scratch, sizeof(float));
    s->compute.room = take(arena, room > decoder_room ? room : decoder_room, 1);
    s->picture.capacity = (int)patches;
    s->picture.kv = take(arena, params->cross_attend ? 2 * depth * patches : 0, inner * sizeof(float));
    s->rotary.positions = params->rotary_xpos ? s->capacity : 0;
    s->rotary.cos = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.sin = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.gain = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.anti = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->cache = take(arena, width, sizeof *s->cache);
    for (size_t b = 0; b < width; b++) {
        float *kv = take(arena, 2 * depth * capacity, inner * sizeof(float));

        if (arena->base)
            s->cache[b] = (struct palme_cache){ .kv = kv, .capacity = s->capacity };
    }
    s->rows = take(arena, rows > width ? rows : width, sizeof *s->rows);
    s->hidden = take(arena, PALME_PREFILL_ROWS * (size_t)params->decoder_dim, sizeof(float));
    s->logits_capacity = s->width_capacity > PALME_LOGITS_ROWS ? s->width_capacity : PALME_LOGITS_ROWS;
    s->logits = take(arena, (size_t)s->logits_capacity * vocabulary, sizeof(float));
    s->joint_hidden = take(arena, PALME_PREFILL_ROWS * (size_t)params->decoder_dim, sizeof(float));
    s->joint_logits = take(arena, PALME_JOINT_ROWS * vocabulary, sizeof(float));
    s->probabilities = take(arena, vocabulary, sizeof(float));
    s->kept = take(arena, vocabulary, sizeof(int));
    s->text = take(arena, capacity + 1, sizeof(int));
    s->draft.tokens = take(arena, capacity + 1, sizeof(int));
    s->encode_scratch = take(arena, palme_tokenizer_scratch(s->model->tokenizer, PALME_PROMPT_BYTES), 1);
    s->piece = take(arena, 3 * (palme_tokenizer_longest(s->model->tokenizer) + 4) + 16, 1);
    if (width > 1) {
        s->beams.width = s->width_capacity;
        s->beams.capacity = s->capacity + 1;
        s->beams.beam = take(arena, width, sizeof *s->beams.beam);
        s->beams.next = take(arena, width, sizeof *s->beams.next);
        s->beams.best = take(arena, capacity + 2, sizeof(int));
        s->beams.candidates = take(arena, 2 * width, sizeof *s->beams.candidates);
        for (size_t b = 0; b < width; b++) {
            int *tokens = take(arena, capacity + 1, sizeof(int));
            int *next = take(arena, capacity + 1, sizeof(int));

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
    else if (o->beams < 0 || o->beams > PALME_MOST_BEAMS)
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
    return o->beams ? o->beams : model->params.default_beams;
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
    session->compute.stop = options->stop;
    session->compute.stop_user = options->stop_user;
    session->state = PALME_BLIND; /* a caption is made under one set of options */
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
    struct arena arena = { NULL, 0, 0 };
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
    s->capacity = model->params.max_seq_len;
    lay_out(s, &arena);
    if (!arena.overflow)
        s->memory = aligned_alloc(64, arena.used);
    if (!s->memory) {
        status = palme_fail(&model->report, PALME_ERROR_MEMORY, "out of memory for a session of %zu MiB",
                            arena.used >> 20);
        palme_session_close(&s);
        return status;
    }
    arena.base = s->memory;
    arena.used = 0;
    lay_out(s, &arena);
    s->draft.trust = PALME_PREFILL_ROWS;
    palme_rotary_fill(&s->rotary, &model->weights, model->params.xpos_center);
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
