/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * picture.c - keys and values of a picture: stored as the precision of the layer wants them, and attended to.
 *
 * In bf16 they are stored as the weights of two linear layers, q to the products with all keys and their softmax to the
 * sum of values, so that attention is two products of the kernels that read weights in bf16. They widen and never round
 * q: the result is bit for bit the same at all levels with vectors, in int8 too.
 */
#include "nn/picture.h"

#include <string.h>

#include "base/util.h"
#include "nn/model.h"

enum {
    ROWS_AT_ONCE = 10, /* whose scores wait in the workspace: two tiles */
    LINE = 64,
    FEW_BYTES = 1 << 20 /* in f32, of all layers: they stay in a cache from step to step, and need not be rounded */
};

/* ---- Where they are ----------------------------------------------------------------------- */

int palme_picture_is_packed(const struct palme_model *model, int layer)
{
    const struct palme_config *config = &model->config;
    double values =
        2.0 * config->decoder.depth * palme_stack_inner(&config->decoder) * palme_config_image_tokens(config);

    return model->weights.decoder.layers[layer].cross.k.precision != PALME_F32 && values * sizeof(float) >= FEW_BYTES;
}

/* Bytes of a head's keys, or values, in bf16. */
static size_t keys_size(int tokens, int width)
{
    return round_up((size_t)tokens, PALME_PANEL) * round_up((size_t)width, 2) * sizeof(uint16_t);
}

static size_t values_size(int tokens, int width)
{
    return round_up((size_t)tokens, 2) * round_up((size_t)width, PALME_PANEL) * sizeof(uint16_t);
}

static size_t layer_size(const struct palme_model *model, int layer, int tokens)
{
    const struct palme_stack *stack = &model->config.decoder;

    return palme_picture_is_packed(model, layer)
               ? (size_t)stack->heads * (keys_size(tokens, stack->head_dim) + values_size(tokens, stack->head_dim))
               : 2 * (size_t)palme_stack_inner(stack) * (size_t)tokens * sizeof(float);
}

static char *place_of(const struct palme_model *model, const struct palme_picture *picture, int layer)
{
    char *place = picture->kv;

    for (int l = 0; l < layer; l++)
        place += layer_size(model, l, picture->capacity);
    return place;
}

void palme_picture_lay_out(struct palme_picture *picture, struct palme_arena *arena, const struct palme_model *model,
                           int tokens)
{
    size_t bytes = 0;

    for (int l = 0; model->config.cross_attend && l < model->config.decoder.depth; l++)
        bytes += layer_size(model, l, tokens);
    picture->capacity = tokens;
    picture->kv = palme_arena_take(arena, bytes, 1);
}

/* ---- Storing ------------------------------------------------------------------------------ */

struct put_job {
    const struct palme_kernels *kernels;
    char *to;
    const float *rows;
    int tokens, capacity, heads, width;
};

/* A head of the keys or of the values: its rows one behind the other. */
static void put_rows(void *user, int i)
{
    const struct put_job *job = user;
    size_t width = (size_t)job->width, inner = (size_t)job->heads * width;
    const float *from = job->rows + (size_t)(i / job->heads) * (size_t)job->tokens * inner;
    float *to = (float *)(void *)job->to + (size_t)i * (size_t)job->capacity * width;

    from += (size_t)(i % job->heads) * width;
    for (int t = 0; t < job->tokens; t++, from += inner, to += width)
        memcpy(to, from, width * sizeof *to);
}

static uint16_t *head_of(char *layer, int tokens, int width, int head)
{
    return (uint16_t *)(void *)(layer + (size_t)head * (keys_size(tokens, width) + values_size(tokens, width)));
}

/* The same in bf16. */
static void put_packed(void *user, int i)
{
    const struct put_job *job = user;
    int head = i % job->heads, of_values = i / job->heads;
    ptrdiff_t inner = (ptrdiff_t)job->heads * job->width;
    const float *from = job->rows + of_values * job->tokens * inner + (ptrdiff_t)head * job->width;
    uint16_t *to = head_of(job->to, job->tokens, job->width, head);

    if (of_values)
        job->kernels->pack_values(to + keys_size(job->tokens, job->width) / sizeof *to, from, inner, job->tokens,
                                  job->width);
    else
        job->kernels->pack_keys(to, from, inner, job->tokens, job->width);
}

void palme_picture_put(const struct palme_model *model, struct palme_compute *c, struct palme_picture *picture,
                       int layer, const float *rows)
{
    const struct palme_stack *stack = &model->config.decoder;
    struct put_job job = {
        c->kernels,     place_of(model, picture, layer), rows, picture->tokens, picture->capacity, stack->heads,
        stack->head_dim
    };

    palme_parallel(c, 2 * stack->heads,
                   PALME_READ_FLOPS * sizeof *rows * picture->tokens * (double)palme_stack_inner(stack),
                   palme_picture_is_packed(model, layer) ? put_packed : put_rows, &job);
}

/* ---- Attention ---------------------------------------------------------------------------- */

struct attend_job {
    const struct palme_kernels *kernels;
    char *layer;
    float *out, *scores; /* scores[heads][ROWS_AT_ONCE][scores_stride] */
    const float *q;
    ptrdiff_t inner, scores_stride;
    int rows, tokens, width;
    float scale;
};

static ptrdiff_t scores_stride(int tokens)
{
    return (ptrdiff_t)round_up((size_t)tokens, LINE / sizeof(float));
}

size_t palme_picture_workspace(const struct palme_model *model, int tokens)
{
    const struct palme_stack *stack = &model->config.decoder;

    if (!model->config.cross_attend)
        return 0;
    return max_size(palme_attention_workspace(model->threads, stack->head_dim),
                    (size_t)stack->heads * ROWS_AT_ONCE * (size_t)scores_stride(tokens) * sizeof(float));
}

/* A head of a few rows. */
static void attend_part(void *user, int head)
{
    const struct attend_job *job = user;
    const struct palme_kernels *kernels = job->kernels;
    const uint16_t *keys = head_of(job->layer, job->tokens, job->width, head);
    const uint16_t *values = keys + keys_size(job->tokens, job->width) / sizeof *keys;
    float *scores = job->scores + head * ROWS_AT_ONCE * job->scores_stride;
    ptrdiff_t at = (ptrdiff_t)head * job->width;

    kernels->linear_widened(scores, job->q + at, keys, NULL, job->rows, job->width, job->tokens, job->scores_stride,
                            job->inner, PALME_ACTIVATION_NONE);
    for (int r = 0; r < job->rows; r++)
        kernels->softmax(scores + r * job->scores_stride, job->tokens, job->scale);
    kernels->linear_widened(job->out + at, scores, values, NULL, job->rows, job->tokens, job->width, job->inner,
                            job->scores_stride, PALME_ACTIVATION_NONE);
}

static void attend_packed(struct palme_compute *c, const struct palme_stack *stack, struct attend_job *job, int rows)
{
    double elements = 2.0 * job->tokens * (double)job->inner;

    for (int first = 0; first < rows; first += job->rows) {
        job->rows = min_int(rows - first, ROWS_AT_ONCE);
        double cost = 2 * job->rows * elements, read = PALME_READ_FLOPS * sizeof(uint16_t) * elements;

        palme_parallel(c, stack->heads, cost > read ? cost : read, attend_part, job);
        job->out += ROWS_AT_ONCE * job->inner;
        job->q += ROWS_AT_ONCE * job->inner;
    }
}

void palme_picture_attend(const struct palme_model *model, struct palme_compute *c, float *out, const float *q,
                          const struct palme_picture *picture, int layer, int rows)
{
    const struct palme_stack *stack = &model->config.decoder;
    ptrdiff_t inner = palme_stack_inner(stack), width = stack->head_dim, head = (ptrdiff_t)picture->capacity * width;
    char *place = place_of(model, picture, layer);

    if (palme_picture_is_packed(model, layer)) {
        struct attend_job job = { .kernels = c->kernels,
                                  .layer = place,
                                  .out = out,
                                  .scores = c->workspace,
                                  .q = q,
                                  .inner = inner,
                                  .scores_stride = scores_stride(picture->tokens),
                                  .tokens = picture->tokens,
                                  .width = stack->head_dim,
                                  .scale = (float)stack->attention_scale };

        attend_packed(c, stack, &job, rows);
        return;
    }
    const float *keys = (const float *)(const void *)place;
    const struct palme_attend shape = {
        .rows = rows,
        .keys = picture->tokens,
        .visible = picture->tokens,
        .width = stack->head_dim,
        .out_stride = inner,
        .q_stride = inner,
        .k_stride = width,
        .v_stride = width,
        .scale = (float)stack->attention_scale,
    };

    palme_attention(c, out, q, keys, keys + head * stack->heads, &shape, stack->heads, head, head, NULL);
}
