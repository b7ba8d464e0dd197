/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * encoder.c - the ViT: patches of a picture (or the features of the stem) become visual tokens.
 *
 * The order is that of the class Encoder in models/palme.py: patch vector, norm, linear, norm, positions; then
 * layers of self-attention and feed-forward, each behind its norm; a last norm.
 */
#include "model.h"

#include <string.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t token_count(const struct palme_model *model, int height, int width)
{
    size_t p = (size_t)model->params.patch_size;

    return (size_t)height / p * ((size_t)width / p);
}

/* The scratch: features [tokens][values], which is done with before `wide` [tokens][4 E] begins, then
 * y [tokens][E] and q, k, v, o [tokens][Ie]. The stem has its maps behind the features. */
size_t palme_encoder_scratch(const struct palme_model *model, int height, int width)
{
    const struct palme_params *params = &model->params;
    size_t tokens = token_count(model, height, width);
    size_t values = (size_t)palme_params_patch_values(params), dim = (size_t)params->encoder_dim;
    size_t inner = (size_t)params->encoder_heads * PALME_HEAD;
    size_t layers = tokens * (dim + 4 * inner);

    return tokens * larger(values, 4 * dim) + larger(layers, palme_stem_scratch(model, height, width));
}

size_t palme_encoder_room(const struct palme_model *model, int height, int width)
{
    const struct palme_params *params = &model->params;
    size_t widest = larger((size_t)palme_params_patch_values(params), 4 * (size_t)params->encoder_dim);

    widest = larger(widest, (size_t)params->encoder_heads * PALME_HEAD);
    size_t linear = palme_linear_room(&model->kernels, model->precision, (int)widest, token_count(model, height, width));

    return larger(larger(linear, palme_stem_room(model, height, width)), palme_attention_room(model->threads));
}

/* features[tokens][p * p * 3]: patch (gy, gx) is token gy * (width / p) + gx; inside a patch the order is
 * row, column, channel. */
static void patches(float *features, const float *pixels, int height, int width, int p)
{
    size_t run = (size_t)p * 3;

    for (int top = 0; top < height; top += p)
        for (int left = 0; left < width; left += p)
            for (int y = 0; y < p; y++, features += run)
                memcpy(features, pixels + ((size_t)(top + y) * width + left) * 3, run * sizeof *pixels);
}

static void attention_block(struct palme_compute *c, const struct palme_attention_block *block, float *x,
                            float *y, float *qkv, int tokens, int dim, int heads)
{
    int inner = heads * PALME_HEAD;
    size_t step = (size_t)tokens * (size_t)inner;
    float *q = qkv, *k = q + step, *v = k + step, *o = v + step;
    struct palme_attend shape = {
        .rows = tokens, .keys = tokens, .visible = tokens,
        .out_stride = inner, .q_stride = inner, .k_stride = inner, .v_stride = inner,
        .scale = 0.125f,
    };

    palme_layernorm(c, y, x, block->norm.w, block->norm.b, tokens, dim);
    palme_products(c, (struct palme_product[]){ { q, &block->q, NULL }, { k, &block->k, NULL }, { v, &block->v, NULL } },
                   3, y, tokens);
    palme_attention(c, o, q, k, v, &shape, heads, PALME_HEAD, PALME_HEAD, NULL);
    palme_products(c, &(struct palme_product){ y, &block->out, x }, 1, o, tokens);
}

static void mlp_block(struct palme_compute *c, const struct palme_mlp_block *block, float *x, float *y,
                      float *wide, int tokens, int dim)
{
    palme_layernorm(c, y, x, block->norm.w, block->norm.b, tokens, dim);
    palme_linear(c, wide, y, &block->up, tokens);
    palme_products(c, &(struct palme_product){ y, &block->down, x }, 1, wide, tokens);
}

int palme_encode(const struct palme_model *model, struct palme_compute *c, float *out, const float *pixels,
                 int height, int width, float *scratch)
{
    const struct palme_params *params = &model->params;
    const struct palme_weights *w = &model->weights;
    int dim = params->encoder_dim, tokens = (int)token_count(model, height, width);
    int values = palme_params_patch_values(params);
    float *features = scratch, *wide = scratch;
    float *y = scratch + (size_t)tokens * larger((size_t)values, 4 * (size_t)dim);
    float *qkv = y + (size_t)tokens * dim;

    if (params->stem == PALME_STEM_NONE)
        patches(features, pixels, height, width, params->patch_size);
    else
        palme_stem_run(model, c, features, pixels, height, width, y);

    palme_layernorm(c, features, features, w->patch_norm.w, w->patch_norm.b, tokens, values);
    palme_linear(c, out, features, &w->patch, tokens);
    palme_layernorm(c, out, out, w->embedding_norm.w, w->embedding_norm.b, tokens, dim);
    palme_add(c, out, w->encoder_positions, tokens, dim);

    for (int l = 0; l < params->encoder_depth; l++) {
        attention_block(c, &w->encoder[l].attention, out, y, qkv, tokens, dim, params->encoder_heads);
        mlp_block(c, &w->encoder[l].mlp, out, y, wide, tokens, dim);
    }
    palme_layernorm(c, out, out, w->encoder_norm.w, w->encoder_norm.b, tokens, dim);
    return palme_compute_stopped(c) ? PALME_ERROR_STOPPED : tokens;
}
