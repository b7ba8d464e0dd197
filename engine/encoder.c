/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * encoder.c - the ViT: patches of a picture (or the features of the stem) become visual tokens.
 *
 * The order is that of the class Encoder in models/palme.py: patch vector, norm, linear, norm, positions; then
 * layers of self-attention and feed-forward, each behind its norm; a last norm.
 */
#include "model.h"
#include "util.h"

#include <string.h>

static int token_count(const struct palme_model *model, int height, int width)
{
    int p = model->params.patch_size;

    return height / p * (width / p);
}

/* What the encoder works on. */
struct work {
    float *features;         /* [tokens][values]; done with before `wide` begins */
    float *wide;             /* [tokens][4 E], at the same place */
    struct palme_arena stem; /* the stem's scratch, done with before the following begin */
    float *y;                /* [tokens][E] */
    float *q, *k, *v, *o;    /* [tokens][Ie] */
    void *room;              /* inputs of the linear layers in their precision */
};

static size_t room_of(const struct palme_model *model, int tokens)
{
    const struct palme_weights *w = &model->weights;
    size_t most = palme_linear_room(&model->kernels, &w->patch, tokens);

    for (int l = 0; l < model->params.encoder_depth; l++) {
        const struct palme_attention_block *attention = &w->encoder[l].attention;
        const struct palme_mlp_block *mlp = &w->encoder[l].mlp;
        const struct palme_linear *layers[] = { &attention->q, &attention->out, &mlp->up, &mlp->down };

        for (int i = 0; i < 4; i++)
            most = max_size(most, palme_linear_room(&model->kernels, layers[i], tokens));
    }
    return most;
}

static void lay_out(struct work *work, struct palme_arena *arena, const struct palme_model *model, int height, int width)
{
    const struct palme_params *params = &model->params;
    size_t tokens = (size_t)token_count(model, height, width), dim = (size_t)params->encoder_dim * sizeof(float);
    size_t inner = (size_t)params->encoder_heads * PALME_HEAD * sizeof(float), mark, end;

    work->room = palme_arena_take(arena, room_of(model, (int)tokens), 1);
    mark = arena->used;
    work->features = palme_arena_take(arena, tokens, (size_t)palme_params_patch_values(params) * sizeof(float));
    end = arena->used;
    palme_arena_rewind(arena, mark);
    work->wide = palme_arena_take(arena, tokens, 4 * dim);
    palme_arena_forward(arena, end);

    work->stem = *arena;
    if (params->stem != PALME_STEM_NONE)
        palme_stem_reserve(arena, model, height, width);
    work->y = palme_arena_take(arena, tokens, dim);
    work->q = palme_arena_take(arena, tokens, inner);
    work->k = palme_arena_take(arena, tokens, inner);
    work->v = palme_arena_take(arena, tokens, inner);
    work->o = palme_arena_take(arena, tokens, inner);
}

void palme_encoder_reserve(struct palme_arena *arena, const struct palme_model *model, int height, int width)
{
    size_t mark = arena->used;
    struct work work;

    lay_out(&work, arena, model, height, width);
    palme_arena_rewind(arena, mark);
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
                            const struct work *work, int tokens, int dim, int heads)
{
    float *y = work->y, *q = work->q, *k = work->k, *v = work->v, *o = work->o;
    int inner = heads * PALME_HEAD;
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
                 int height, int width, struct palme_arena *scratch)
{
    const struct palme_params *params = &model->params;
    const struct palme_weights *w = &model->weights;
    int dim = params->encoder_dim, tokens = token_count(model, height, width);
    int values = palme_params_patch_values(params);
    size_t mark = scratch->used;
    struct work work;

    lay_out(&work, scratch, model, height, width);
    if (params->stem == PALME_STEM_NONE)
        patches(work.features, pixels, height, width, params->patch_size);
    else
        palme_stem_run(model, c, work.features, pixels, height, width, &work.stem);
    c->room = work.room;

    palme_layernorm(c, work.features, work.features, w->patch_norm.w, w->patch_norm.b, tokens, values);
    palme_linear(c, out, work.features, &w->patch, tokens);
    palme_layernorm(c, out, out, w->embedding_norm.w, w->embedding_norm.b, tokens, dim);
    palme_add(c, out, w->encoder_positions, tokens, dim);

    for (int l = 0; l < params->encoder_depth; l++) {
        attention_block(c, &w->encoder[l].attention, out, &work, tokens, dim, params->encoder_heads);
        mlp_block(c, &w->encoder[l].mlp, out, work.y, work.wide, tokens, dim);
    }
    palme_layernorm(c, out, out, w->encoder_norm.w, w->encoder_norm.b, tokens, dim);
    palme_arena_rewind(scratch, mark);
    return palme_compute_stopped(c) ? PALME_ERROR_STOPPED : tokens;
}
