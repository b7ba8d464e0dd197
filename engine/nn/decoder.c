/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decoder.c - the text decoder with its caches: rows of tokens in, rows of logits out.
 *
 * The class Decoder of models/palme.py. Keys and values of self-attention are stored after rotation and
 * scaling, so a new token computes one row; those of cross-attention are computed once per
 * picture. All products go through the own kernels, in which a row's sum does not depend on how many rows go
 * with it: prefill, single steps, beams and batches give the same bits.
 */
#include <math.h>
#include <string.h>

#include "nn/model.h"
#include "io/safetensors.h"
#include "base/util.h"

/* ---- Loading ------------------------------------------------------------------------------ */

static void load_layer(struct palme_loader *l, struct palme_decoder_layer *layer, int index)
{
    const struct palme_stack *stack = &l->config->decoder;

    memset(layer, 0, sizeof *layer);
    palme_attention_load(l, &layer->self, stack, palme_name("decoder.%d.self", index).text, PALME_LOAD_INT4, stack->dim,
                         PALME_LOAD_INT4);
    if (l->config->cross_attend)
        palme_attention_load(l, &layer->cross, stack, palme_name("decoder.%d.cross", index).text, PALME_LOAD_INT4,
                             palme_config_image_dim(l->config), PALME_LOAD_MANY);
    palme_mlp_load(l, &layer->mlp, stack, palme_name("decoder.%d.mlp", index).text, PALME_LOAD_INT4);
}

/* Tied logits are the embedding once more, packed as a linear layer. */
static void load_logits(struct palme_loader *l, struct palme_decoder *decoder)
{
    const struct palme_config *config = l->config;
    const char *name = config->tied_logits ? "decoder.embedding" : "decoder.logits";
    int dim = config->decoder.dim;

    if (config->bert_head)
        palme_load_linear(l, &decoder->head, "decoder.head", dim, dim, PALME_LOAD_BIAS | PALME_LOAD_INT4,
                          config->decoder.activation);
    palme_load_norm(l, &decoder->head_norm, "decoder.head.norm", dim, config->bert_head);
    palme_load_linear(l, &decoder->logits, name, config->vocabulary, dim, 0, PALME_ACTIVATION_NONE);
    if (config->logits_bias)
        decoder->logits.b = palme_load_bias(l, "decoder.logits.bias", config->vocabulary);
}

/* A rotary buffer replaces the computed values if it is F32. Of another type it is ignored, as it
 * would be less exact; broken values are too, for the right ones are known. */
static void load_buffer(struct palme_loader *l, float out[PALME_ROTARY], const char *name)
{
    struct palme_tensor *tensor = palme_loader_find(l, name);
    float values[PALME_ROTARY];

    if (!tensor)
        return;
    tensor->used = 1;
    if (tensor->dtype != PALME_DTYPE_F32)
        return;
    if (tensor->rank != 1 || tensor->shape[0] != PALME_ROTARY) {
        l->status = palme_loader_wrong_shape(l, tensor, (int64_t[]){ PALME_ROTARY }, 1);
        return;
    }
    if (!l->arena.base)
        return;
    l->status = palme_tensor_read(l->file, values, tensor, 0, PALME_ROTARY, l->log);
    for (int k = 0; k < PALME_ROTARY && l->status == PALME_OK; k++)
        if (!isfinite(values[k]) || values[k] <= 0) {
            palme_log_message(l->log, PALME_LOG_WARNING, "tensor %s: value %d is %g; all of it is computed instead",
                              tensor->name, k, values[k]);
            return;
        }
    if (l->status == PALME_OK)
        memcpy(out, values, sizeof values);
}

static void load_rotary(struct palme_loader *l, struct palme_decoder *decoder)
{
    for (int k = 0; k < PALME_ROTARY; k++) {
        decoder->inv_freq[k] = 1.0f / powf(10000.0f, (float)(2 * k) / 32.0f);
        decoder->xpos_scale[k] = ((float)(2 * k) + 12.8f) / 44.8f;
    }
    if (!l->config->rotary_xpos)
        return;
    load_buffer(l, decoder->inv_freq, "decoder.rotary.inv_freq");
    load_buffer(l, decoder->xpos_scale, "decoder.rotary.scale");
}

/* 2^(-8 (h + 1) / m), h counted from 0, is the h-th slope of m heads where m is a power of two. */
static float slope_of(int h, int m)
{
    return (float)exp2(-8.0 * (h + 1) / m);
}

/* Of any other number of heads, the first have the slopes of the largest power of two below it, the
 * rest every second one of the next power. Heads beyond alibi_heads have none. */
static void load_slopes(struct palme_loader *l, struct palme_decoder *decoder)
{
    int heads = l->config->decoder.heads, alibi = l->config->alibi_heads, power = 1;
    float *slopes = palme_loader_take(l, (size_t)heads, sizeof *slopes);

    decoder->slopes = slopes;
    if (!slopes)
        return;
    while (2 * power <= alibi)
        power *= 2;
    for (int h = 0; h < heads; h++)
        slopes[h] = h >= alibi ? 0 : h < power ? slope_of(h, power) : slope_of(2 * (h - power), 2 * power);
}

void palme_decoder_load(struct palme_loader *l, struct palme_decoder *decoder)
{
    const struct palme_config *config = l->config;
    const struct palme_stack *stack = &config->decoder;
    struct palme_decoder_layer unplaced, *layers;

    if (palme_config_projects(config))
        palme_load_linear(l, &decoder->projection, "projection", stack->dim, config->encoder.dim,
                          PALME_LOAD_MANY | (config->projection_bias ? PALME_LOAD_BIAS : 0), PALME_ACTIVATION_NONE);
    palme_load_norm(l, &decoder->projection_norm, "projection.norm", stack->dim,
                    palme_config_projects(config) && config->projection_norm);
    palme_load_table(l, &decoder->embedding, "decoder.embedding.weight", config->vocabulary, stack->dim,
                     config->tied_logits ? &decoder->logits : NULL);
    if (stack->positions)
        decoder->positions = palme_load_positions(l, "decoder.positions.weight", stack->position_offset,
                                                  palme_config_positions(config), stack->dim);
    palme_load_norm(l, &decoder->first_norm, "decoder.first_norm", stack->dim, stack->first_norm);
    layers = palme_loader_take(l, (size_t)stack->depth, sizeof *layers);
    decoder->layers = layers;
    for (int i = 0; i < stack->depth && l->status == PALME_OK; i++)
        load_layer(l, layers ? &layers[i] : &unplaced, i);
    palme_load_norm(l, &decoder->final_norm, "decoder.final_norm", stack->dim, stack->final_norm);
    load_logits(l, decoder);
    load_rotary(l, decoder);
    load_slopes(l, decoder);
}

/* ---- Positions ---------------------------------------------------------------------------- */

void palme_rotary_fill(struct palme_rotary *rotary, const struct palme_decoder *decoder, int center)
{
    for (int i = 0; i < rotary->positions; i++) {
        float power = (float)(i - center) / 512;

        for (int k = 0; k < PALME_ROTARY; k++) {
            size_t at = (size_t)i * PALME_ROTARY + k;
            float angle = (float)i * decoder->inv_freq[k]; /* rounded to single precision, as trained */

            rotary->cos[at] = (float)cos(angle);
            rotary->sin[at] = (float)sin(angle);
            rotary->gain[at] = (float)pow(decoder->xpos_scale[k], power);
            rotary->anti[at] = (float)pow(decoder->xpos_scale[k], -power);
        }
    }
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* What one call works on. */
struct pass {
    const struct palme_model *model;
    struct palme_compute *c;
    const struct palme_row *rows;
    int count, layer;
    float *x; /* [rows][D] */
    struct palme_block_work block;
    void *workspace; /* inputs of the linear layers in their precision, and what attention works on */
};

static size_t workspace_of(const struct palme_model *model, int rows)
{
    size_t most = max_size(palme_attention_workspace(model->threads, model->config.decoder.head_dim),
                           palme_picture_workspace(model, palme_config_image_tokens(&model->config)));

    for (int l = 0; l < model->config.decoder.depth; l++) {
        const struct palme_decoder_layer *layer = &model->weights.decoder.layers[l];

        most = max_size(most, palme_attention_block_room(&model->kernels, &layer->self, rows));
        most = max_size(most, palme_attention_block_room(&model->kernels, &layer->cross, rows));
        most = max_size(most, palme_mlp_block_room(&model->kernels, &layer->mlp, rows));
    }
    return most;
}

static void lay_out(struct pass *pass, struct palme_arena *arena, const struct palme_model *model, int rows)
{
    const struct palme_stack *stack = &model->config.decoder;

    pass->workspace = palme_arena_take(arena, workspace_of(model, rows), 1);
    pass->x = palme_arena_take(arena, (size_t)rows, (size_t)stack->dim * sizeof(float));
    pass->block.wide = palme_arena_take(arena, (size_t)rows, (size_t)stack->mlp_dim * sizeof(float));
    palme_block_lay_out(&pass->block, arena, stack, rows);
}

/* For a picture of so many tokens: the context in the decoder's width, the inputs of the layers that read it, and the
 * keys and values of a layer as rows, [2][tokens][Id]. */
static float *lay_out_see(void **workspace, float **rows, struct palme_arena *arena, const struct palme_model *model,
                          int tokens)
{
    const struct palme_decoder *decoder = &model->weights.decoder;
    size_t inner = model->config.cross_attend ? (size_t)palme_stack_inner(&model->config.decoder) : 0;
    size_t bytes = palme_linear_workspace(&model->kernels, &decoder->projection, tokens);

    for (int l = 0; l < model->config.decoder.depth; l++)
        bytes = max_size(bytes, palme_linear_workspace(&model->kernels, &decoder->layers[l].cross.k, tokens));
    *workspace = palme_arena_take(arena, bytes, 1);
    *rows = palme_arena_take(arena, 2 * (size_t)tokens, inner * sizeof(float));
    return palme_arena_take(arena, (size_t)tokens, (size_t)model->config.decoder.dim * sizeof(float));
}

/* For logits of so many rows: what a head makes of them, and the inputs of its layer and of that of the logits. */
static float *lay_out_logits(void **workspace, struct palme_arena *arena, const struct palme_model *model, int rows)
{
    const struct palme_decoder *decoder = &model->weights.decoder;
    size_t dim = decoder->head.w ? (size_t)model->config.decoder.dim : 0;

    *workspace = palme_arena_take(arena,
                                  max_size(palme_linear_workspace(&model->kernels, &decoder->head, rows),
                                           palme_linear_workspace(&model->kernels, &decoder->logits, rows)),
                                  1);
    return palme_arena_take(arena, (size_t)rows, dim * sizeof(float));
}

void palme_decoder_reserve(struct palme_arena *arena, const struct palme_model *model, int rows, int tokens)
{
    size_t mark = arena->used;
    struct pass pass;
    void *workspace;
    float *keys;

    lay_out_see(&workspace, &keys, arena, model, tokens);
    palme_arena_rewind(arena, mark);
    lay_out(&pass, arena, model, rows);
    lay_out_logits(&workspace, arena, model, rows); /* palme_decode has both at once */
    palme_arena_rewind(arena, mark);
}

/* ---- Running ------------------------------------------------------------------------------ */

void palme_decoder_see(const struct palme_model *model, struct palme_compute *c, struct palme_picture *picture,
                       float *mapped, const float *context, int tokens, struct palme_arena *scratch)
{
    const struct palme_config *config = &model->config;
    const struct palme_decoder *decoder = &model->weights.decoder;
    size_t inner = (size_t)palme_stack_inner(&config->decoder), mark = scratch->used;
    float *keys, *own = lay_out_see(&c->workspace, &keys, scratch, model, tokens);

    palme_arena_rewind(scratch, mark); /* nobody else takes from it during this call */
    if (decoder->projection.w) {
        float *to = mapped ? mapped : own;

        palme_linear(c, to, context, &decoder->projection, tokens);
        if (decoder->projection_norm.w)
            palme_layernorm(c, to, to, decoder->projection_norm.w, decoder->projection_norm.b, tokens,
                            config->decoder.dim, config->encoder.norm_eps);
        context = to;
    } else if (mapped && config->encoder.dim == config->decoder.dim) {
        memcpy(mapped, context, (size_t)tokens * (size_t)config->decoder.dim * sizeof *mapped);
    }
    picture->tokens = tokens;
    if (!config->cross_attend)
        return;
    for (int l = 0; l < config->decoder.depth; l++) {
        const struct palme_attention_block *cross = &decoder->layers[l].cross;
        float *values = keys + (size_t)tokens * inner;

        palme_linear_multi(c, (struct palme_linear_op[]){ { keys, &cross->k, NULL }, { values, &cross->v, NULL } }, 2,
                           context, tokens);
        palme_picture_put(model, c, picture, l, keys);
    }
}

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

/* Embeddings and positions of all rows. Image tokens that are not embedded have no position, and text behind them
 * counts from 0. */
static void embed(const struct pass *pass)
{
    const struct palme_decoder *decoder = &pass->model->weights.decoder;
    int dim = pass->model->config.decoder.dim, plain = !pass->model->config.embed_prefix;

    for (int first = 0, n; first < pass->count; first += n) {
        n = same_cache(pass, first);
        for (int i = 0; i < n; i++) {
            const struct palme_row *row = &pass->rows[first + i];
            float *x = pass->x + (size_t)(first + i) * dim;

            if (row->embedding)
                memcpy(x, row->embedding, (size_t)dim * sizeof *x);
            else
                palme_table_row(x, &decoder->embedding, (size_t)row->token, dim);
            if (decoder->positions && !(plain && row->embedding)) {
                int at = row->cache->length + i - (plain ? row->cache->visible : 0);
                const float *position = decoder->positions + (size_t)at * dim;

                for (int d = 0; d < dim; d++)
                    x[d] += position[d];
            }
        }
    }
}

/* The first norm, of all rows but those of image tokens that are not embedded. */
static void norm_first(const struct pass *pass)
{
    const struct palme_config *config = &pass->model->config;

    for (int first = 0, n; first < pass->count; first += n) {
        int image = !config->embed_prefix && pass->rows[first].embedding;
        float *x = pass->x + (size_t)first * (size_t)config->decoder.dim;

        for (n = 1; first + n < pass->count; n++)
            if ((!config->embed_prefix && pass->rows[first + n].embedding) != image)
                break;
        if (!image)
            palme_norm_run(pass->c, &config->decoder, x, x, &pass->model->weights.decoder.first_norm, n);
    }
}

/* Normalises and rotates the heads of one row and stores its key and value. Without `asks` it has no query. */
static void remember(const struct pass *pass, int row, int position, int asks)
{
    const struct palme_stack *stack = &pass->model->config.decoder;
    const struct palme_kernels *kernels = pass->c->kernels;
    const struct palme_rotary *rotary = pass->rows[row].rotary;
    struct palme_cache *cache = pass->rows[row].cache;
    size_t inner = (size_t)palme_stack_inner(stack), part = (size_t)cache->capacity * inner,
           width = (size_t)stack->head_dim;
    float *q = pass->block.q + (size_t)row * inner, *k = pass->block.k + (size_t)row * inner;
    float *v = pass->block.v + (size_t)row * inner;
    float *to = cache->kv + 2 * (size_t)pass->layer * part + (size_t)position * inner;

    if (stack->qk_norm) {
        for (size_t h = 0; h < inner; h += width) {
            if (asks)
                kernels->normalize(q + h, stack->head_dim);
            kernels->normalize(k + h, stack->head_dim);
        }
    }
    if (pass->model->config.rotary_xpos) {
        size_t at = (size_t)position * PALME_ROTARY;
        const float *cosine = rotary->cos + at, *sine = rotary->sin + at;

        for (size_t h = 0; h < inner; h += width) {
            if (asks)
                kernels->rotate(q + h, cosine, sine, rotary->gain + at);
            kernels->rotate(k + h, cosine, sine, rotary->anti + at);
            kernels->rotate(v + h, cosine, sine, rotary->anti + at);
        }
    }
    memcpy(to, k, inner * sizeof *to);
    memcpy(to + part, v, inner * sizeof *to);
}

/* Rows of one sentence from `first` on see their keys, from `keys` on. */
static void attend_rows(const struct pass *pass, const struct palme_block_work *work, int first,
                        struct palme_attend shape)
{
    const struct palme_stack *stack = &pass->model->config.decoder;
    const struct palme_cache *cache = pass->rows[first].cache;
    size_t inner = (size_t)palme_stack_inner(stack), part = (size_t)cache->capacity * inner, at = (size_t)first * inner;
    const float *keys = cache->kv + 2 * (size_t)pass->layer * part;

    shape.visible = cache->visible;
    shape.scale = stack->qk_norm ? PALME_QK_NORM_SCALE : (float)stack->attention_scale;
    palme_heads_run(pass->c, stack, work->o + at, work->q + at, keys, keys + part, shape,
                    pass->model->weights.decoder.slopes);
}

/* Self-attention: the rows of each sentence see those before them, which are in its cache. The tokens of a picture see
 * one another, as in the encoder, and are treated as there. */
static void mix_self(void *user, const struct palme_block_work *work)
{
    const struct pass *pass = user;
    const struct palme_model *model = pass->model;
    const struct palme_linear *reader = &model->weights.decoder.layers[pass->layer].self.out;
    int rounded = palme_linear_rounds(pass->c->kernels, reader) && !model->config.alibi_heads;

    for (int first = 0, n; first < pass->count; first += n) {
        const struct palme_cache *cache = pass->rows[first].cache;
        int length = cache->length;

        n = same_cache(pass, first); /* all of a picture, or none */
        for (int i = 0; i < n; i++)
            remember(pass, first + i, length + i, 1);
        struct palme_attend shape = { .rows = n, .keys = length + n, .first = length };
        shape.rounded = rounded && shape.keys <= cache->visible;
        attend_rows(pass, work, first, shape);
    }
}

/* The last layer where no row is wanted: later ones see keys and values, and nobody reads the rest. */
static void remember_last(const struct pass *pass, const struct palme_attention_block *self)
{
    palme_attention_keys(pass->c, &pass->model->config.decoder, self, pass->x, &pass->block, pass->count);
    for (int first = 0, n; first < pass->count && !pass->c->cancelled; first += n) {
        n = same_cache(pass, first);
        for (int i = 0; i < n; i++)
            remember(pass, first + i, pass->rows[first].cache->length + i, 0);
    }
}

/* Cross-attention: every row sees all of its picture. */
static void mix_cross(void *user, const struct palme_block_work *work)
{
    const struct pass *pass = user;
    size_t inner = (size_t)palme_stack_inner(&pass->model->config.decoder);

    for (int first = 0, n; first < pass->count; first += n) {
        n = same_picture(pass, first);
        palme_picture_attend(pass->model, pass->c, work->o + (size_t)first * inner, work->q + (size_t)first * inner,
                             pass->rows[first].picture, pass->layer, n);
    }
}

/* Rows first..count-1 after the final norm: out[count - first][D], or pass->block.y if out is NULL. The caches'
 * lengths stay as they are. */
static void run(struct pass *pass, float *out, int first)
{
    const struct palme_config *config = &pass->model->config;
    const struct palme_stack *stack = &config->decoder;
    const struct palme_decoder *decoder = &pass->model->weights.decoder;
    struct palme_compute *c = pass->c;

    c->workspace = pass->workspace;
    embed(pass);
    norm_first(pass);
    for (pass->layer = 0; pass->layer < stack->depth; pass->layer++) {
        const struct palme_decoder_layer *layer = &decoder->layers[pass->layer];

        if (palme_compute_cancelled(c))
            return;
        if (first == pass->count && pass->layer == stack->depth - 1) {
            remember_last(pass, &layer->self);
            return;
        }
        palme_attention_run(c, stack, &layer->self, pass->x, &pass->block, pass->count,
                            &(struct palme_mix){ mix_self, pass, 0 });
        if (config->cross_attend)
            palme_attention_run(c, stack, &layer->cross, pass->x, &pass->block, pass->count,
                                &(struct palme_mix){ mix_cross, pass, 1 });
        palme_mlp_run(c, stack, &layer->mlp, pass->x, &pass->block, pass->count);
    }
    if (first < pass->count)
        palme_norm_run(c, stack, out ? out : pass->block.y, pass->x + (size_t)first * (size_t)stack->dim,
                       &decoder->final_norm, pass->count - first);
}

static void lengthen(const struct palme_row *rows, int count)
{
    for (int i = 0; i < count; i++)
        rows[i].cache->length++;
}

void palme_decode(const struct palme_model *model, struct palme_compute *c, float *logits, const struct palme_row *rows,
                  int count, int first, struct palme_arena *scratch)
{
    struct pass pass = { .model = model, .c = c, .rows = rows, .count = count };
    size_t mark = scratch->used;

    lay_out(&pass, scratch, model, count);
    run(&pass, NULL, first);
    if (first < count)
        palme_decode_logits(model, c, logits, pass.block.y, count - first, scratch);
    palme_arena_rewind(scratch, mark);
    if (!c->cancelled) /* else the caches are as before, so the caller may ask again */
        lengthen(rows, count);
}

void palme_decode_rows(const struct palme_model *model, struct palme_compute *c, float *hidden,
                       const struct palme_row *rows, int count, int first, struct palme_arena *scratch)
{
    struct pass pass = { .model = model, .c = c, .rows = rows, .count = count };
    size_t mark = scratch->used;

    lay_out(&pass, scratch, model, count);
    run(&pass, hidden, first);
    palme_arena_rewind(scratch, mark);
    if (!c->cancelled)
        lengthen(rows, count);
}

void palme_decode_logits(const struct palme_model *model, struct palme_compute *c, float *logits, const float *hidden,
                         int rows, struct palme_arena *scratch)
{
    const struct palme_decoder *decoder = &model->weights.decoder;
    size_t mark = scratch->used;
    float *y = lay_out_logits(&c->workspace, scratch, model, rows);

    if (decoder->head.w) {
        palme_linear(c, y, hidden, &decoder->head, rows);
        palme_norm_run(c, &model->config.decoder, y, y, &decoder->head_norm, rows);
        hidden = y;
    }
    palme_linear(c, logits, hidden, &decoder->logits, rows);
    palme_arena_rewind(scratch, mark);
}
