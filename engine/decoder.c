/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decoder.c - the text decoder with its caches: rows of tokens in, rows of logits out.
 *
 * The class Decoder of models/palme.py. Keys and values of self-attention are stored after rotation and
 * scaling, so a new token computes one row; those of cross-attention are computed once per
 * picture. All products go through the own kernels, in which a row's sum does not depend on how many rows go
 * with it: prefill, single steps, beams and batches give the same bits.
 */
#include "model.h"

#include <math.h>
#include <string.h>

void palme_rotary_fill(struct palme_rotary *rotary, const struct palme_weights *weights, int center)
{
    for (int i = 0; i < rotary->positions; i++) {
        float power = (float)(i - center) / 512;

        for (int k = 0; k < PALME_ROTARY; k++) {
            size_t at = (size_t)i * PALME_ROTARY + k;
            float angle = (float)i * weights->inv_freq[k]; /* rounded to single precision, as trained */

            rotary->cos[at] = (float)cos(angle);
            rotary->sin[at] = (float)sin(angle);
            rotary->gain[at] = (float)pow(weights->xpos_scale[k], power);
            rotary->anti[at] = (float)pow(weights->xpos_scale[k], -power);
        }
    }
}

static size_t inner_width(const struct palme_params *params)
{
    return (size_t)params->decoder_heads * PALME_HEAD;
}

/* The scratch: x, y [rows][D], wide [rows][4 D], q, k, v, o [rows][Id]. */
size_t palme_decoder_scratch(const struct palme_model *model, int rows)
{
    return (size_t)rows * (6 * (size_t)model->params.decoder_dim + 4 * inner_width(&model->params));
}

size_t palme_decoder_room(const struct palme_model *model, int rows)
{
    const struct palme_params *params = &model->params;
    size_t widest = 4 * (size_t)params->decoder_dim, inner = inner_width(params), dim = (size_t)params->encoder_dim;

    widest = widest > inner ? widest : inner;
    widest = widest > dim ? widest : dim;
    size_t linear = palme_linear_room(&model->kernels, model->precision, (int)widest, (size_t)rows);
    size_t attention = palme_attention_room(model->threads);

    return linear > attention ? linear : attention;
}

void palme_decoder_see(const struct palme_model *model, struct palme_compute *c,
                       struct palme_picture *picture, float *mapped, const float *context, int tokens,
                       float *scratch)
{
    const struct palme_params *params = &model->params;
    size_t inner = inner_width(params), part = (size_t)picture->capacity * inner;
    size_t size = (size_t)tokens * params->decoder_dim;

    if (model->weights.encoder_to_decoder.w) {
        float *to = mapped ? mapped : scratch;

        palme_linear(c, to, context, &model->weights.encoder_to_decoder, tokens);
        context = to;
    } else if (mapped) {
        memcpy(mapped, context, size * sizeof *mapped);
    }
    picture->tokens = tokens;
    if (!params->cross_attend)
        return;
    for (int l = 0; l < params->decoder_depth; l++) {
        const struct palme_attention_block *cross = &model->weights.decoder[l].cross;
        float *k = picture->kv + 2 * (size_t)l * part;

        palme_products(c, (struct palme_product[]){ { k, &cross->k, NULL }, { k + part, &cross->v, NULL } }, 2,
                       context, tokens);
    }
}

/* What one call works on. */
struct pass {
    const struct palme_model *model;
    struct palme_compute *c;
    const struct palme_row *rows;
    int count;
    float *x, *y, *wide, *q, *k, *v, *o;
};

/* The number of rows from `first` on that share the cache (or the picture) of that row. */
static int same_cache(const struct pass *pass, int first)
{
    int end = first + 1;

    while (end < pass->count && pass->rows[end].cache == pass->rows[first].cache)
        end++;
    return end - first;
}

static int same_picture(const struct pass *pass, int first)
{
    int end = first + 1;

    while (end < pass->count && pass->rows[end].picture == pass->rows[first].picture)
        end++;
    return end - first;
}

static void embed(const struct pass *pass)
{
    const struct palme_weights *w = &pass->model->weights;
    int dim = pass->model->params.decoder_dim;
    float scale = (float)(1 / sqrt(dim));

    for (int first = 0, n; first < pass->count; first += n) {
        n = same_cache(pass, first);
        for (int i = 0; i < n; i++) {
            const struct palme_row *row = &pass->rows[first + i];
            float *x = pass->x + (size_t)(first + i) * dim;

            if (row->embedding)
                memcpy(x, row->embedding, (size_t)dim * sizeof *x);
            else
                palme_table_row(x, &w->token_embedding, (size_t)row->token, dim);
            if (w->decoder_positions) {
                const float *position = w->decoder_positions + (size_t)(row->cache->length + i) * dim;

                for (int d = 0; d < dim; d++)
                    x[d] += position[d] * scale;
            }
        }
    }
}

/* Normalises and rotates the heads of one row and stores its key and value. */
static void remember(const struct pass *pass, int layer, int row, int position)
{
    const struct palme_params *params = &pass->model->params;
    const struct palme_kernels *kernels = pass->c->kernels;
    const struct palme_rotary *rotary = pass->rows[row].rotary;
    struct palme_cache *cache = pass->rows[row].cache;
    size_t inner = inner_width(params), part = (size_t)cache->capacity * inner;
    float *q = pass->q + (size_t)row * inner, *k = pass->k + (size_t)row * inner;
    float *v = pass->v + (size_t)row * inner;
    float *to = cache->kv + 2 * (size_t)layer * part + (size_t)position * inner;

    if (params->qk_norm) {
        for (size_t h = 0; h < inner; h += PALME_HEAD) {
            kernels->normalize(q + h, PALME_HEAD);
            kernels->normalize(k + h, PALME_HEAD);
        }
    }
    if (params->rotary_xpos) {
        size_t at = (size_t)position * PALME_ROTARY;
        const float *cosine = rotary->cos + at, *sine = rotary->sin + at;

        for (size_t h = 0; h < inner; h += PALME_HEAD) {
            kernels->rotate(q + h, cosine, sine, rotary->gain + at);
            kernels->rotate(k + h, cosine, sine, rotary->anti + at);
            kernels->rotate(v + h, cosine, sine, rotary->anti + at);
        }
    }
    memcpy(to, k, inner * sizeof *to);
    memcpy(to + part, v, inner * sizeof *to);
}

static void self_attention(const struct pass *pass, int layer)
{
    const struct palme_params *params = &pass->model->params;
    const struct palme_attention_block *block = &pass->model->weights.decoder[layer].self;
    int inner = (int)inner_width(params), dim = params->decoder_dim;

    palme_layernorm(pass->c, pass->y, pass->x, block->norm.w, block->norm.b, pass->count, dim);
    palme_products(pass->c, (struct palme_product[]){ { pass->q, &block->q, NULL }, { pass->k, &block->k, NULL },
                                                      { pass->v, &block->v, NULL } }, 3, pass->y, pass->count);
    if (pass->c->stopped)
        return;
    for (int first = 0, n; first < pass->count; first += n) {
        const struct palme_cache *cache = pass->rows[first].cache;
        size_t part = (size_t)cache->capacity * inner;
        const float *keys = cache->kv + 2 * (size_t)layer * part;

        n = same_cache(pass, first);
        for (int i = 0; i < n; i++)
            remember(pass, layer, first + i, cache->length + i);
        struct palme_attend shape = {
            .rows = n, .keys = cache->length + n, .first = cache->length, .visible = cache->visible,
            .out_stride = inner, .q_stride = inner, .k_stride = inner, .v_stride = inner,
            .scale = params->qk_norm ? 10.0f : 0.125f,
        };
        palme_attention(pass->c, pass->o + (size_t)first * inner, pass->q + (size_t)first * inner, keys,
                        keys + part, &shape, params->decoder_heads, PALME_HEAD, PALME_HEAD,
                        pass->model->weights.slopes);
    }
    palme_products(pass->c, &(struct palme_product){ pass->y, &block->out, pass->x }, 1, pass->o, pass->count);
}

static void cross_attention(const struct pass *pass, int layer)
{
    const struct palme_params *params = &pass->model->params;
    const struct palme_attention_block *block = &pass->model->weights.decoder[layer].cross;
    int inner = (int)inner_width(params), dim = params->decoder_dim;

    palme_layernorm(pass->c, pass->y, pass->x, block->norm.w, block->norm.b, pass->count, dim);
    palme_linear(pass->c, pass->q, pass->y, &block->q, pass->count);
    for (int first = 0, n; first < pass->count; first += n) {
        const struct palme_picture *picture = pass->rows[first].picture;
        size_t part = (size_t)picture->capacity * inner;
        const float *keys = picture->kv + 2 * (size_t)layer * part;

        n = same_picture(pass, first);
        struct palme_attend shape = {
            .rows = n, .keys = picture->tokens, .visible = picture->tokens,
            .out_stride = inner, .q_stride = inner, .k_stride = inner, .v_stride = inner,
            .scale = 0.125f,
        };
        palme_attention(pass->c, pass->o + (size_t)first * inner, pass->q + (size_t)first * inner, keys,
                        keys + part, &shape, params->decoder_heads, PALME_HEAD, PALME_HEAD, NULL);
    }
    palme_products(pass->c, &(struct palme_product){ pass->y, &block->out, pass->x }, 1, pass->o, pass->count);
}

static void mlp(const struct pass *pass, int layer)
{
    const struct palme_mlp_block *block = &pass->model->weights.decoder[layer].mlp;
    int dim = pass->model->params.decoder_dim;

    palme_layernorm(pass->c, pass->y, pass->x, block->norm.w, block->norm.b, pass->count, dim);
    palme_linear(pass->c, pass->wide, pass->y, &block->up, pass->count);
    palme_products(pass->c, &(struct palme_product){ pass->y, &block->down, pass->x }, 1, pass->wide, pass->count);
}

/* Rows first..count-1 after the final norm: out[count - first][D]. The caches' lengths stay as they are. */
static void run(const struct palme_model *model, struct palme_compute *c, float *out,
                const struct palme_row *rows, int count, int first, float *scratch)
{
    const struct palme_params *params = &model->params;
    const struct palme_norm *norm = &model->weights.decoder_norm;
    size_t dim = (size_t)params->decoder_dim, inner = inner_width(params), n = (size_t)count;
    struct pass pass = { .model = model, .c = c, .rows = rows, .count = count };

    pass.x = scratch;
    pass.y = pass.x + n * dim;
    pass.wide = pass.y + n * dim;
    pass.q = pass.wide + n * 4 * dim;
    pass.k = pass.q + n * inner;
    pass.v = pass.k + n * inner;
    pass.o = pass.v + n * inner;

    embed(&pass);
    for (int l = 0; l < params->decoder_depth; l++) {
        if (palme_compute_stopped(c))
            return;
        self_attention(&pass, l);
        if (params->cross_attend)
            cross_attention(&pass, l);
        mlp(&pass, l);
    }
    if (first < count)
        palme_layernorm(c, out, pass.x + (size_t)first * dim, norm->w, norm->b, count - first, (int)dim);
}

static void lengthen(const struct palme_row *rows, int count)
{
    for (int i = 0; i < count; i++)
        rows[i].cache->length++;
}

void palme_decode(const struct palme_model *model, struct palme_compute *c, float *logits,
                  const struct palme_row *rows, int count, int first, float *scratch)
{
    float *out = scratch + (size_t)count * (size_t)model->params.decoder_dim; /* y is free by then */

    run(model, c, out, rows, count, first, scratch);
    if (first < count)
        palme_decode_logits(model, c, logits, out, count - first);
    if (!c->stopped) /* else the caches are as before, so the caller may ask again */
        lengthen(rows, count);
}

void palme_decode_rows(const struct palme_model *model, struct palme_compute *c, float *hidden,
                       const struct palme_row *rows, int count, int first, float *scratch)
{
    run(model, c, hidden, rows, count, first, scratch);
    if (!c->stopped)
        lengthen(rows, count);
}

void palme_decode_logits(const struct palme_model *model, struct palme_compute *c, float *logits,
                         const float *hidden, int rows)
{
    palme_linear(c, logits, hidden, &model->weights.logits, rows);
}
