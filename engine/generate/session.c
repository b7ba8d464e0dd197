/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * session.c - a session's memory and options.
 *
 * All memory is one block, taken when the session is opened; look, prompt, next and score allocate nothing.
 * The caches are sized for the longest context, but pages that no caption has reached are never touched, so
 * the system does not give them.
 */
#include "generate/session.h"

#include "compute/floats.h"
#include "base/util.h"

#include <math.h>
#include <stdlib.h>

/* ---- Memory ------------------------------------------------------------------------------- */

static void lay_out_view(struct palme_view *view, struct palme_arena *arena, const struct palme_model *model)
{
    const struct palme_config *config = &model->config;
    size_t side = (size_t)config->image_size, tokens = (size_t)palme_config_image_tokens(config);

    view->square = palme_arena_take(arena, side * side, 3);
    view->pixels = palme_arena_take(arena, side * side * 3, sizeof(float));
    view->context = palme_arena_take(arena, tokens * (size_t)config->encoder.dim, sizeof(float));
    view->mapped =
        palme_arena_take(arena, (size_t)palme_config_prefix(config) * (size_t)config->decoder.dim, sizeof(float));
    palme_picture_lay_out(&view->picture, arena, model, (int)tokens);
}

static void lay_out_beams(struct palme_beams *beams, struct palme_arena *arena, int width, int capacity)
{
    size_t tokens = (size_t)capacity + 1;

    beams->width = width;
    beams->capacity = capacity + 1;
    beams->beam = palme_arena_take(arena, (size_t)width, sizeof *beams->beam);
    beams->next = palme_arena_take(arena, (size_t)width, sizeof *beams->next);
    beams->best = palme_arena_take(arena, tokens + 1, sizeof(int));
    beams->candidates = palme_arena_take(arena, 2 * (size_t)width, sizeof *beams->candidates);
    for (int b = 0; b < width; b++) {
        int *here = palme_arena_take(arena, tokens, sizeof(int)), *next = palme_arena_take(arena, tokens, sizeof(int));

        if (arena->base) {
            beams->beam[b].tokens = here;
            beams->next[b].tokens = next;
        }
    }
}

static void lay_out_hypotheses(struct palme_session *s, struct palme_arena *arena)
{
    const struct palme_config *config = &s->model->config;
    struct palme_hypotheses *h = &s->hypotheses;
    size_t inner = (size_t)palme_stack_inner(&config->decoder), depth = (size_t)config->decoder.depth;
    size_t capacity = (size_t)s->capacity, width = (size_t)s->beams_capacity;

    h->cache = palme_arena_take(arena, width, sizeof *h->cache);
    for (size_t b = 0; b < width; b++) {
        float *kv = palme_arena_take(arena, 2 * depth * capacity, inner * sizeof(float));

        if (arena->base)
            h->cache[b] = (struct palme_cache){ .kv = kv, .capacity = s->capacity };
    }
    h->text = palme_arena_take(arena, capacity + 1, sizeof(int));
    h->draft.tokens = palme_arena_take(arena, capacity + 1, sizeof(int));
    h->piece = palme_arena_take(arena, palme_detokenizer_room(s->model->tokenizer), 1);
    if (width > 1)
        lay_out_beams(&h->beams, arena, s->beams_capacity, s->capacity);
}

static void lay_out(struct palme_session *s, struct palme_arena *arena)
{
    const struct palme_config *config = &s->model->config;
    size_t capacity = (size_t)s->capacity, angles = capacity * PALME_ROTARY;
    size_t vocabulary = (size_t)config->vocabulary, dim = (size_t)config->decoder.dim;
    size_t rows = max_size((size_t)palme_config_prefix(config), PALME_PREFILL_ROWS);
    struct palme_window *window = &s->window;
    struct palme_work *work = &s->work;

    lay_out_view(&s->view, arena, s->model);
    palme_seen_lay_out(&s->seen, arena, s->model);
    s->rotary.positions = config->rotary_xpos ? s->capacity : 0;
    s->rotary.cos = palme_arena_take(arena, angles, sizeof(float));
    s->rotary.sin = palme_arena_take(arena, angles, sizeof(float));
    s->rotary.gain = palme_arena_take(arena, angles, sizeof(float));
    s->rotary.anti = palme_arena_take(arena, angles, sizeof(float));
    s->prompt.tokens = palme_arena_take(arena, capacity + 1, sizeof(int));
    lay_out_hypotheses(s, arena);
    window->hidden = palme_arena_take(arena, PALME_PREFILL_ROWS * dim, sizeof(float));
    window->logits_capacity = max_int(s->beams_capacity, PALME_LOGITS_ROWS);
    window->logits = palme_arena_take(arena, (size_t)window->logits_capacity * vocabulary, sizeof(float));
    work->scratch = palme_scratch_take(arena, s->model, (int)rows);
    work->rows = palme_arena_take(arena, max_size(rows, (size_t)s->beams_capacity), sizeof *work->rows);
    work->hidden = palme_arena_take(arena, PALME_PREFILL_ROWS * dim, sizeof(float));
    work->logits = palme_arena_take(arena, PALME_JOINT_ROWS * vocabulary, sizeof(float));
    work->probabilities = palme_arena_take(arena, vocabulary, sizeof(float));
    work->kept = palme_arena_take(arena, vocabulary, sizeof(int));
    work->encode = palme_arena_take(arena, palme_tokenizer_scratch(s->model->tokenizer, PALME_MAX_PROMPT_BYTES), 1);
}

/* ---- Options ------------------------------------------------------------------------------ */

static const struct palme_options no_options;

static int usable_options(const struct palme_options *o, const struct palme_log *log)
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
    else if (isnan(o->label_weight) || o->label_weight == INFINITY)
        wrong = "label_weight is not a number or infinite";
    else if (!palme_blocklist_is_usable(o->blocklist))
        wrong = "blocklist has an entry of more than 64 bytes";
    else if (!all_zero(o->reserved, sizeof o->reserved))
        wrong = "reserved is not zero: it was not initialised, or this library is older than the program's "
                "header";
    if (wrong)
        return palme_fail(log, PALME_ERROR_ARGUMENT, "the option %s", wrong);
    return PALME_OK;
}

int palme_session_width(const palme_model *model, const struct palme_options *o)
{
    if (o->temperature > 0)
        return 1;
    return o->beams ? o->beams : model->config.default_beams;
}

static struct palme_log report_of(const palme_model *model, const struct palme_options *options)
{
    return (struct palme_log){ options->log, options->log_user, model->path };
}

static int set_options(palme_session *s, const struct palme_options *options)
{
    if (!s)
        return PALME_ERROR_ARGUMENT;
    if (!options)
        options = &no_options;
    const struct palme_log log = report_of(s->model, options);
    int status = usable_options(options, &log), width = palme_session_width(s->model, options);

    if (status < 0)
        return status;
    if (width > s->beams_capacity)
        return palme_fail(&log, PALME_ERROR_ARGUMENT, "%d beams are asked of a session that was opened for %d", width,
                          s->beams_capacity);
    s->options = *options;
    s->log = log;
    s->compute.cancel = options->cancel;
    s->compute.cancel_user = options->cancel_user;
    palme_generate_forget(s); /* a caption is made under one set of options */
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

void palme_session_enter(palme_session *s)
{
    s->compute.pool = palme_pool_here(s->model->pool);
    s->compute.cancelled = 0;
}

static int open_session(palme_session **session, const palme_model *model, const struct palme_options *options)
{
    struct palme_arena arena = { 0 };
    int status;

    if (!session)
        return PALME_ERROR_ARGUMENT;
    *session = NULL;
    if (!model || !model->tokenizer)
        return PALME_ERROR_ARGUMENT;
    if (!options)
        options = &no_options;
    const struct palme_log log = report_of(model, options);
    if ((status = usable_options(options, &log)) < 0)
        return status;

    palme_session *s = calloc(1, sizeof *s);
    if (!s)
        return palme_fail(&log, PALME_ERROR_MEMORY, "out of memory for a session");
    s->model = model;
    s->compute = (struct palme_compute){ .kernels = &model->kernels, .pool = model->pool };
    s->beams_capacity = max_int(palme_session_width(model, options), options->beams);
    s->capacity = model->config.context;
    lay_out(s, &arena);
    if (!arena.overflow)
        s->memory = aligned_alloc(PALME_ARENA_ALIGNMENT, arena.most);
    if (!s->memory) {
        status = palme_fail(&log, PALME_ERROR_MEMORY, "out of memory for a session of %zu MiB", arena.most >> 20);
        palme_session_close(&s);
        return status;
    }
    arena = palme_arena_over(s->memory, arena.most);
    lay_out(s, &arena);
    s->hypotheses.draft.limit = PALME_PREFILL_ROWS;
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
