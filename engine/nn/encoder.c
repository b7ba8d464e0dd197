/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * encoder.c - the ViT: patches of a picture (or the features of the stem) become visual tokens.
 *
 * The order is that of the class Encoder in models/palme.py: patch vector, norm, linear, norm; class tokens in front;
 * positions, norm; then layers of self-attention and feed-forward, each with its norm; a last norm.
 */
#include "nn/model.h"
#include "base/util.h"

#include <string.h>

/* ---- Loading ------------------------------------------------------------------------------ */

void palme_encoder_load(struct palme_loader *l, struct palme_encoder *encoder)
{
    const struct palme_config *config = l->config;
    const struct palme_stack *stack = &config->encoder;
    int dim = stack->dim, values = palme_config_patch_values(config);
    struct palme_encoder_layer unplaced, *layers;

    palme_stem_load(l, &encoder->stem);
    palme_load_norm(l, &encoder->patch_input_norm, "encoder.patch.input_norm", values, config->patch_input_norm);
    palme_load_linear(l, &encoder->patch, "encoder.patch", dim, values,
                      PALME_LOAD_MANY | (config->patch_bias ? PALME_LOAD_BIAS : 0), PALME_ACTIVATION_NONE);
    palme_load_norm(l, &encoder->patch_output_norm, "encoder.patch.output_norm", dim, config->patch_output_norm);
    if (config->class_tokens)
        encoder->class_tokens =
            palme_load_values(l, "encoder.class.weight", 0, (int64_t[]){ config->class_tokens, dim }, 2,
                              (size_t)config->class_tokens * (size_t)dim);
    if (stack->positions)
        encoder->positions = palme_load_positions(l, "encoder.positions.weight", stack->position_offset,
                                                  palme_config_image_tokens(config), dim);
    palme_load_norm(l, &encoder->first_norm, "encoder.first_norm", dim, stack->first_norm);
    layers = palme_loader_take(l, (size_t)stack->depth, sizeof *layers);
    encoder->layers = layers;
    for (int i = 0; i < stack->depth && l->status == PALME_OK; i++) {
        struct palme_encoder_layer *layer = layers ? &layers[i] : &unplaced;

        palme_attention_load(l, &layer->attention, stack, palme_name("encoder.%d.attn", i).text, PALME_LOAD_MANY, dim,
                             PALME_LOAD_MANY);
        palme_mlp_load(l, &layer->mlp, stack, palme_name("encoder.%d.mlp", i).text, PALME_LOAD_MANY);
    }
    palme_load_norm(l, &encoder->final_norm, "encoder.final_norm", dim, stack->final_norm);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static int patch_count(const struct palme_model *model, int height, int width)
{
    int p = model->config.patch_size;

    return height / p * (width / p);
}

/* What the encoder works on. */
struct work {
    float *features;         /* [patches][values]; done with before block.wide begins, at the same place */
    struct palme_arena stem; /* the stem's scratch, done with before the block's other buffers begin */
    struct palme_block_work block;
    void *workspace; /* inputs of the linear layers in their precision */
};

static size_t workspace_of(const struct palme_model *model, int tokens)
{
    const struct palme_encoder *encoder = &model->weights.encoder;
    size_t most = max_size(palme_attention_workspace(model->threads, model->config.encoder.head_dim),
                           palme_linear_workspace(&model->kernels, &encoder->patch, tokens));

    for (int l = 0; l < model->config.encoder.depth; l++) {
        most = max_size(most, palme_attention_block_room(&model->kernels, &encoder->layers[l].attention, tokens));
        most = max_size(most, palme_mlp_block_room(&model->kernels, &encoder->layers[l].mlp, tokens));
    }
    return most;
}

static void lay_out(struct work *work, struct palme_arena *arena, const struct palme_model *model, int height,
                    int width)
{
    const struct palme_config *config = &model->config;
    int patches = patch_count(model, height, width), tokens = config->class_tokens + patches;
    size_t mark, end;

    work->workspace = palme_arena_take(arena, workspace_of(model, tokens), 1);
    mark = arena->used;
    work->features =
        palme_arena_take(arena, (size_t)patches, (size_t)palme_config_patch_values(config) * sizeof(float));
    end = arena->used;
    palme_arena_rewind(arena, mark);
    work->block.wide = palme_arena_take(arena, (size_t)tokens, (size_t)config->encoder.mlp_dim * sizeof(float));
    palme_arena_forward(arena, end);

    work->stem = *arena;
    if (config->stem != PALME_STEM_NONE)
        palme_stem_reserve(arena, model, height, width);
    palme_block_lay_out(&work->block, arena, &config->encoder, tokens);
}

void palme_encoder_reserve(struct palme_arena *arena, const struct palme_model *model, int height, int width)
{
    size_t mark = arena->used;
    struct work work;

    lay_out(&work, arena, model, height, width);
    palme_arena_rewind(arena, mark);
}

/* ---- Running ------------------------------------------------------------------------------ */

/* features[patches][p * p * 3]: patch (gy, gx) is row gy * (width / p) + gx; inside a patch the order is
 * row, column, channel. */
static void patches(float *features, const float *pixels, int height, int width, int p)
{
    size_t run = (size_t)p * 3;

    for (int top = 0; top < height; top += p)
        for (int left = 0; left < width; left += p)
            for (int y = 0; y < p; y++, features += run)
                memcpy(features, pixels + ((size_t)(top + y) * width + left) * 3, run * sizeof *pixels);
}

/* out[tokens][E] = the class tokens and the patches of features[patches][values], which it changes. */
static void embed(const struct palme_model *model, struct palme_compute *c, float *out, float *features, int patches)
{
    const struct palme_config *config = &model->config;
    const struct palme_stack *stack = &config->encoder;
    const struct palme_encoder *e = &model->weights.encoder;
    int count = config->class_tokens, values = palme_config_patch_values(config);
    float *to = out + (size_t)count * (size_t)stack->dim;

    if (count)
        memcpy(out, e->class_tokens, (size_t)count * (size_t)stack->dim * sizeof *out);
    if (e->patch_input_norm.w)
        palme_layernorm(c, features, features, e->patch_input_norm.w, e->patch_input_norm.b, patches, values,
                        stack->norm_eps);
    palme_linear(c, to, features, &e->patch, patches);
    palme_norm_run(c, stack, to, to, &e->patch_output_norm, patches);
    if (e->positions)
        palme_add(c, out, e->positions, count + patches, stack->dim);
    palme_norm_run(c, stack, out, out, &e->first_norm, count + patches);
}

/* Every token sees all others. */
struct self {
    struct palme_compute *c;
    const struct palme_stack *stack;
    int tokens;
    int rounded;
};

static void mix(void *user, const struct palme_block_work *work)
{
    const struct self *self = user;
    const struct palme_stack *stack = self->stack;
    struct palme_attend shape = {
        .rows = self->tokens,
        .keys = self->tokens,
        .visible = self->tokens,
        .scale = (float)stack->attention_scale,
        .rounded = self->rounded,
    };

    if (stack->qk_norm) {
        palme_normalize(self->c, work->q, self->tokens * stack->heads, stack->head_dim);
        palme_normalize(self->c, work->k, self->tokens * stack->heads, stack->head_dim);
        shape.scale = PALME_QK_NORM_SCALE;
    }
    palme_heads_run(self->c, stack, work->o, work->q, work->k, work->v, shape, NULL);
}

int palme_encode(const struct palme_model *model, struct palme_compute *c, float *out, float *pooled,
                 const float *pixels, int height, int width, struct palme_arena *scratch)
{
    const struct palme_config *config = &model->config;
    const struct palme_stack *stack = &config->encoder;
    const struct palme_encoder *e = &model->weights.encoder;
    int count = patch_count(model, height, width), tokens = config->class_tokens + count;
    struct self self = { c, stack, tokens, 0 };
    size_t mark = scratch->used;
    struct work work;

    lay_out(&work, scratch, model, height, width);
    if (config->stem == PALME_STEM_NONE)
        patches(work.features, pixels, height, width, config->patch_size);
    else
        palme_stem_run(model, c, work.features, pixels, height, width, &work.stem);
    if (pooled)
        palme_labels_pool(pooled, work.features, count);
    c->workspace = work.workspace;

    embed(model, c, out, work.features, count);
    for (int l = 0; l < stack->depth; l++) {
        self.rounded = palme_linear_rounds(c->kernels, &e->layers[l].attention.out);
        palme_attention_run(c, stack, &e->layers[l].attention, out, &work.block, tokens,
                            &(struct palme_mix){ mix, &self, 0 });
        palme_mlp_run(c, stack, &e->layers[l].mlp, out, &work.block, tokens);
    }
    palme_norm_run(c, stack, out, out, &e->final_norm, tokens);
    palme_arena_rewind(scratch, mark);
    return palme_compute_cancelled(c) ? PALME_ERROR_CANCELLED : tokens;
}
