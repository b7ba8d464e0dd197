/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_engine.c - how long the parts of a caption take, and how near that is to what the machine can do.
 *
 *     bench_engine [--model FILE] [--precision P] [--cpu LEVEL] [--threads N] [--reps N] [--part TEXT]
 *     bench_engine --vit TOKENS [--precision P] [--cpu LEVEL] [--threads N] [--reps N] [--part TEXT]
 *     bench_engine --serve [--precision P] [--cpu LEVEL]
 *
 * First come single products, whose weights stay in the caches, then the parts of a caption.
 *
 * Without a model the default configuration with generated weights is measured, without --threads both 1 and 2,
 * and with --part only the parts that have TEXT in their name. The roofline is measured in the same run, before
 * and after the parts, and the better one counts. A part's bound is the sum over its products of the longer of two
 * times: its arithmetic at the measured peak, and reading its weights once at the measured bandwidth. Attention
 * counts with its arithmetic, the stem's convolutions too; norms, activations and caches count nothing, so the
 * bound cannot be reached quite. Bandwidth is that of a working set as large as the weights of one step.
 *
 * Last comes loading, beside reading the file and copying it.
 *
 * --vit measures one layer of ViT-B alone, in all precisions, see bench_vit.c. --serve answers lines, see
 * bench_serve.c.
 */
#include "bench/bench_serve.h"
#include "bench/bench_vit.h"
#include "bench/bounds.h"
#include "support/generated.h"
#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STEPS = 16,   /* tokens of a caption */
    TOGETHER = 4, /* captions at a time */
    PREFILL = 64, /* tokens of a prefill */
    PRODUCT_ROWS = 64,
    LONG = 4096,  /* tokens of the attention that is measured alone */
    STEP_REPS = 4 /* times as many repetitions for what is short */
};

/* ---- Bounds ------------------------------------------------------------------------------- */

static double stem_bound(const struct palme_stem *stem, const struct roof *roof, int side)
{
    double taps = 27.0 * PALME_STEM_FIRST;

    side = (side + 1) / 2;
    double seconds = 2 * taps * side * side / roof->ops[PALME_F32];
    for (int i = 0; i < stem->blocks; i++) {
        const struct palme_stem_block *block = &stem->block[i];

        if (block->expand.w)
            seconds += layer_bound(roof, (double)side * side, &block->expand);
        side = (side + block->stride - 1) / block->stride;
        taps = (double)block->size * block->size * block->middle;
        seconds += 2 * taps * side * side / roof->ops[block->taps ? PALME_INT8 : PALME_F32] +
                   layer_bound(roof, (double)side * side, &block->project);
    }
    return seconds + layer_bound(roof, (double)side * side, &stem->head);
}

static double encoder_bound(const palme_model *model, const struct roof *roof)
{
    const struct palme_config *p = &model->config;
    double tokens = palme_config_image_tokens(p);
    double seconds = layer_bound(roof, palme_config_patches(p), &model->weights.encoder.patch);

    if (p->stem != PALME_STEM_NONE)
        seconds += stem_bound(&model->weights.encoder.stem, roof, p->image_size);
    for (int l = 0; l < p->encoder.depth; l++) {
        const struct palme_encoder_layer *e = &model->weights.encoder.layers[l];

        seconds += layer_bound(roof, tokens, &e->attention.q) + layer_bound(roof, tokens, &e->attention.k) +
                   layer_bound(roof, tokens, &e->attention.v) + layer_bound(roof, tokens, &e->attention.out) +
                   layer_bound(roof, tokens, &e->mlp.up) + layer_bound(roof, tokens, &e->mlp.down) +
                   attention_bound(roof, tokens, tokens, palme_stack_inner(&p->encoder),
                                   palme_linear_rounds(&model->kernels, &e->attention.out));
    }
    return seconds;
}

static double see_bound(const palme_model *model, const struct roof *roof)
{
    const struct palme_config *p = &model->config;
    double tokens = palme_config_image_tokens(p);
    double seconds = layer_bound(roof, tokens, &model->weights.decoder.projection);

    for (int l = 0; p->cross_attend && l < p->decoder.depth; l++)
        seconds += layer_bound(roof, tokens, &model->weights.decoder.layers[l].cross.k) +
                   layer_bound(roof, tokens, &model->weights.decoder.layers[l].cross.v);
    return seconds;
}

/* A pass of `rows` rows that see `keys` keys each, on average, and of which `wanted` get logits. */
static double decode_bound(const palme_model *model, const struct roof *roof, double rows, double keys, double wanted)
{
    const struct palme_config *p = &model->config;
    const struct palme_decoder *decoder = &model->weights.decoder;
    int inner = palme_stack_inner(&p->decoder);
    double seconds =
        wanted > 0 ? layer_bound(roof, wanted, &decoder->head) + layer_bound(roof, wanted, &decoder->logits) : 0;

    for (int l = 0; l < p->decoder.depth; l++) {
        const struct palme_decoder_layer *d = &model->weights.decoder.layers[l];

        if (wanted <= 0 && l == p->decoder.depth - 1) {
            seconds += layer_bound(roof, rows, &d->self.k) + layer_bound(roof, rows, &d->self.v);
            continue;
        }
        seconds += layer_bound(roof, rows, &d->self.q) + layer_bound(roof, rows, &d->self.k) +
                   layer_bound(roof, rows, &d->self.v) + layer_bound(roof, rows, &d->self.out) +
                   layer_bound(roof, rows, &d->mlp.up) + layer_bound(roof, rows, &d->mlp.down) +
                   attention_bound(roof, rows, keys, inner, 0);
        if (p->cross_attend)
            seconds += layer_bound(roof, rows, &d->cross.q) + layer_bound(roof, rows, &d->cross.out) +
                       attention_bound(roof, rows, palme_config_image_tokens(p), inner, 0);
    }
    return seconds;
}

/* Bytes of weights that one step reads. */
static double step_bytes(const palme_model *model)
{
    const struct roof only_reading = { .ops = { 1e300, 1e300, 1e300, 1e300 }, .bytes = 1 };

    return decode_bound(model, &only_reading, 1, 1, 1);
}

/* ---- Parts -------------------------------------------------------------------------------- */

struct bench {
    struct host host;
    struct sentence sentences[TOGETHER];
    float *images;         /* [TOGETHER][3][S][S] */
    float *logits;         /* [TOGETHER][V] */
    float *features;       /* [P][1280] of a stem */
    float *pooled;         /* [PALME_LABEL_INPUTS] of them */
    double *probabilities; /* [L] of its labels */
    void *workspace;       /* of a product, and of attention */
    float *rows, *product; /* of PRODUCT_ROWS or of a picture: what goes into a product and what comes out */
    float *heads;          /* [4][image tokens][Ie]: queries, keys, values of the encoder and what comes out */
    float *tokens;         /* [4][LONG][64]: queries, keys, values and what comes out */
    int text[PREFILL], ids[TOGETHER * STEPS];
    int steps, prefill; /* as many of STEPS and PREFILL as the context holds */
    int filled;         /* positions before the text */
};

static void run_encoder(struct bench *b)
{
    host_encode(&b->host, b->images);
}

/* The stem alone, over whatever picture was encoded last; the features end in the encoder's scratch. */
static void run_stem(struct bench *b)
{
    const struct palme_config *p = &b->host.model->config;

    if (p->stem != PALME_STEM_NONE)
        palme_stem_run(b->host.model, &b->host.compute, b->features, b->host.pixels, p->image_size, p->image_size,
                       &b->host.scratch);
}

/* The labels of the features that are there. */
static void run_labels(struct bench *b)
{
    if (!b->host.model->config.labels)
        return;
    palme_labels_pool(b->pooled, b->features, palme_config_patches(&b->host.model->config));
    palme_labels_run(b->host.model, &b->host.compute, b->probabilities, b->pooled, &b->host.scratch);
}

static void run_see(struct bench *b)
{
    host_see(&b->host, &b->sentences[0]);
}
static void run_begin(struct bench *b)
{
    host_begin(&b->host, &b->sentences[0]);
}

static void run_prefill(struct bench *b)
{
    b->sentences[0].cache.length = b->filled;
    host_feed(&b->host, b->logits, &b->sentences[0], b->text, b->prefill, b->prefill - 1);
}

static void run_steps(struct bench *b, int count)
{
    int ids[TOGETHER];

    for (int i = 0; i < count; i++) {
        ids[i] = b->text[i];
        b->sentences[i].cache.length = b->filled + b->steps - 1; /* a caption's last step, whatever stands there */
    }
    host_step(&b->host, b->logits, b->sentences, ids, count);
}

static void run_step(struct bench *b)
{
    run_steps(b, 1);
}
static void run_steps_together(struct bench *b)
{
    run_steps(b, TOGETHER);
}

static void run_captions(struct bench *b, int count, int together)
{
    size_t side = (size_t)b->host.model->config.image_size;

    for (int i = 0; i < count; i += together)
        host_caption(&b->host, b->ids + i * b->steps, b->logits, b->sentences + i,
                     b->images + (size_t)i * 3 * side * side, together, b->text[0], b->steps);
}

static void run_caption(struct bench *b)
{
    run_captions(b, 1, 1);
}
static void run_captions_in_turn(struct bench *b)
{
    run_captions(b, TOGETHER, 1);
}
static void run_captions_together(struct bench *b)
{
    run_captions(b, TOGETHER, TOGETHER);
}

/* The products of one feed-forward layer alone, on the rows of the picture; the weights stay in the caches. */
static void run_product(struct bench *b, const struct palme_linear *l)
{
    b->host.compute.workspace = b->workspace;
    palme_linear(&b->host.compute, b->product, b->rows, l, PRODUCT_ROWS);
}

static const struct palme_encoder_layer *first_layer(const struct bench *b)
{
    return &b->host.model->weights.encoder.layers[0];
}

static int image_tokens(const struct bench *b)
{
    return palme_config_image_tokens(&b->host.model->config);
}

/* Products of all rows of a picture, one after the other as in the encoder, but with the weights of one layer. Without
 * activations, so that it is the products that are measured. */
static void run_picture(struct bench *b, const struct palme_linear *layer_)
{
    struct palme_linear l = *layer_;

    l.activation = PALME_ACTIVATION_NONE;
    b->host.compute.workspace = b->workspace;
    palme_linear(&b->host.compute, b->product, b->rows, &l, image_tokens(b));
}

static void run_picture_out(struct bench *b)
{
    run_picture(b, &first_layer(b)->attention.out);
}
static void run_picture_up(struct bench *b)
{
    run_picture(b, &first_layer(b)->mlp.up);
}
static void run_picture_down(struct bench *b)
{
    run_picture(b, &first_layer(b)->mlp.down);
}

/* One layer's heads over all rows of a picture. */
static void run_heads(struct bench *b)
{
    const struct palme_stack *stack = &b->host.model->config.encoder;
    int tokens = image_tokens(b);
    struct palme_attend shape = { .rows = tokens,
                                  .keys = tokens,
                                  .visible = tokens,
                                  .scale = 0.125f,
                                  .rounded =
                                      palme_linear_rounds(b->host.compute.kernels, &first_layer(b)->attention.out) };
    size_t step = (size_t)tokens * (size_t)palme_stack_inner(stack);

    b->host.compute.workspace = b->workspace;
    palme_heads_run(&b->host.compute, stack, b->heads + 3 * step, b->heads, b->heads + step, b->heads + 2 * step, shape,
                    NULL);
}

static double bound_heads(const struct bench *b, const struct roof *roof)
{
    return attention_bound(roof, image_tokens(b), image_tokens(b), palme_stack_inner(&b->host.model->config.encoder),
                           palme_linear_rounds(b->host.compute.kernels, &first_layer(b)->attention.out));
}
static double bound_picture_out(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, image_tokens(b), &first_layer(b)->attention.out);
}
static double bound_picture_up(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, image_tokens(b), &first_layer(b)->mlp.up);
}
static double bound_picture_down(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, image_tokens(b), &first_layer(b)->mlp.down);
}

static void run_encoder_up(struct bench *b)
{
    run_product(b, &b->host.model->weights.encoder.layers[0].mlp.up);
}
static void run_encoder_down(struct bench *b)
{
    run_product(b, &b->host.model->weights.encoder.layers[0].mlp.down);
}
static void run_decoder_up(struct bench *b)
{
    run_product(b, &b->host.model->weights.decoder.layers[0].mlp.up);
}
static void run_decoder_down(struct bench *b)
{
    run_product(b, &b->host.model->weights.decoder.layers[0].mlp.down);
}

/* One head of many tokens that all see each other, and one of them alone. */
static void run_tokens(struct bench *b, int rows)
{
    const struct palme_attend shape = {
        .rows = rows,
        .keys = LONG,
        .visible = LONG,
        .width = PALME_HEAD,
        .out_stride = PALME_HEAD,
        .q_stride = PALME_HEAD,
        .k_stride = PALME_HEAD,
        .v_stride = PALME_HEAD,
        .scale = 0.125f,
    };
    size_t step = (size_t)LONG * PALME_HEAD;

    b->host.compute.workspace = b->workspace;
    palme_attention(&b->host.compute, b->tokens + 3 * step, b->tokens, b->tokens + step, b->tokens + 2 * step, &shape,
                    1, 0, 0, NULL);
}

static void run_attention(struct bench *b)
{
    run_tokens(b, LONG);
}
static void run_attention_of_one(struct bench *b)
{
    run_tokens(b, 1);
}

static double bound_attention(const struct bench *b, const struct roof *roof)
{
    (void)b;
    return attention_bound(roof, LONG, LONG, PALME_HEAD, 0);
}

/* Keys and values are read once, from wherever they are. */
static double bound_attention_of_one(const struct bench *b, const struct roof *roof)
{
    (void)b;
    return attention_bound(roof, 1, LONG, PALME_HEAD, 0);
}

static double bound_encoder_up(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, PRODUCT_ROWS, &b->host.model->weights.encoder.layers[0].mlp.up);
}

static double bound_encoder_down(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, PRODUCT_ROWS, &b->host.model->weights.encoder.layers[0].mlp.down);
}

static double bound_decoder_up(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, PRODUCT_ROWS, &b->host.model->weights.decoder.layers[0].mlp.up);
}

static double bound_decoder_down(const struct bench *b, const struct roof *roof)
{
    return layer_bound(roof, PRODUCT_ROWS, &b->host.model->weights.decoder.layers[0].mlp.down);
}

static double bound_encoder(const struct bench *b, const struct roof *roof)
{
    return encoder_bound(b->host.model, roof);
}

static double bound_stem(const struct bench *b, const struct roof *roof)
{
    const struct palme_config *p = &b->host.model->config;

    return p->stem == PALME_STEM_NONE ? 0 : stem_bound(&b->host.model->weights.encoder.stem, roof, p->image_size);
}

static double bound_labels(const struct bench *b, const struct roof *roof)
{
    const struct palme_labels *labels = &b->host.model->weights.labels;

    return layer_bound(roof, 1, &labels->classes) + layer_bound(roof, 1, &labels->things);
}

static double bound_see(const struct bench *b, const struct roof *roof)
{
    return see_bound(b->host.model, roof);
}

static double bound_begin(const struct bench *b, const struct roof *roof)
{
    return b->filled ? decode_bound(b->host.model, roof, b->filled, b->filled, 0) : 0;
}

static double bound_prefill(const struct bench *b, const struct roof *roof)
{
    return decode_bound(b->host.model, roof, b->prefill, b->filled + (b->prefill + 1) / 2.0, 1);
}

static double bound_step(const struct bench *b, const struct roof *roof)
{
    return decode_bound(b->host.model, roof, 1, b->filled + b->steps, 1);
}

static double bound_steps_together(const struct bench *b, const struct roof *roof)
{
    return decode_bound(b->host.model, roof, TOGETHER, b->filled + b->steps, TOGETHER);
}

static double bound_captions(const struct bench *b, const struct roof *roof, int count)
{
    double seconds = count * (bound_encoder(b, roof) + bound_see(b, roof) + bound_begin(b, roof));

    for (int t = 0; t < b->steps; t++)
        seconds += decode_bound(b->host.model, roof, count, b->filled + t + 1, count);
    return seconds;
}

static double bound_caption(const struct bench *b, const struct roof *roof)
{
    return bound_captions(b, roof, 1);
}

static double bound_captions_in_turn(const struct bench *b, const struct roof *roof)
{
    return TOGETHER * bound_captions(b, roof, 1);
}

static double bound_captions_together(const struct bench *b, const struct roof *roof)
{
    return bound_captions(b, roof, TOGETHER);
}

static const struct part {
    const char *name;
    void (*run)(struct bench *b);
    double (*bound)(const struct bench *b, const struct roof *roof);
    int times; /* as many repetitions */
} parts[] = {
    { "encoder up, 64 rows", run_encoder_up, bound_encoder_up, STEP_REPS },
    { "encoder down, 64 rows", run_encoder_down, bound_encoder_down, STEP_REPS },
    { "decoder up, 64 rows", run_decoder_up, bound_decoder_up, STEP_REPS },
    { "decoder down, 64 rows", run_decoder_down, bound_decoder_down, STEP_REPS },
    { "out, picture's rows", run_picture_out, bound_picture_out, 1 },
    { "up, picture's rows", run_picture_up, bound_picture_up, 1 },
    { "down, picture's rows", run_picture_down, bound_picture_down, 1 },
    { "heads, picture's rows", run_heads, bound_heads, 1 },
    { "stem", run_stem, bound_stem, 1 },
    { "attention, 4096 tokens", run_attention, bound_attention, 1 },
    { "one row, 4096 keys", run_attention_of_one, bound_attention_of_one, STEP_REPS },
    { "encoder", run_encoder, bound_encoder, 1 },
    { "labels", run_labels, bound_labels, STEP_REPS },
    { "cross K/V", run_see, bound_see, STEP_REPS },
    { "picture as prefix", run_begin, bound_begin, 1 },
    { "prefill", run_prefill, bound_prefill, 1 },
    { "one step", run_step, bound_step, STEP_REPS },
    { "one step of 4", run_steps_together, bound_steps_together, STEP_REPS },
    { "one caption", run_caption, bound_caption, 1 },
    { "4 captions in turn", run_captions_in_turn, bound_captions_in_turn, 1 },
    { "4 captions together", run_captions_together, bound_captions_together, 1 },
};

enum { PARTS = sizeof parts / sizeof *parts };

/* ---- Measuring ---------------------------------------------------------------------------- */

struct run {
    struct bench *bench;
    const struct part *part;
};

static void run_part(void *user)
{
    const struct run *run = user;

    run->part->run(run->bench);
}

static void *room_of_layers(const struct bench *b)
{
    const struct palme_mlp_block *blocks[] = { &b->host.model->weights.encoder.layers[0].mlp,
                                               &b->host.model->weights.decoder.layers[0].mlp };
    const struct palme_kernels *kernels = &b->host.model->kernels;
    int width = b->host.model->config.encoder.head_dim, rows = max_int(PRODUCT_ROWS, image_tokens(b));
    size_t bytes = palme_attention_workspace(b->host.model->threads, max_int(width, PALME_HEAD));

    for (int i = 0; i < 2; i++) {
        bytes = max_size(bytes, palme_linear_workspace(kernels, &blocks[i]->up, rows));
        bytes = max_size(bytes, palme_linear_workspace(kernels, &blocks[i]->down, rows));
    }
    bytes = max_size(bytes, palme_linear_workspace(kernels, &first_layer(b)->attention.out, rows));
    return aligned_alloc(PALME_ARENA_ALIGNMENT, round_up(bytes, PALME_ARENA_ALIGNMENT));
}

static size_t widest_of(const struct palme_stack *stack)
{
    return (size_t)max_int(max_int(stack->dim, stack->mlp_dim), palme_stack_inner(stack));
}

static int bench_open(struct bench *b)
{
    const struct palme_config *p = &b->host.model->config;
    size_t size = 3 * (size_t)p->image_size * (size_t)p->image_size * TOGETHER;
    size_t widest = max_size(widest_of(&p->encoder), widest_of(&p->decoder)) *
                    (size_t)max_int(PRODUCT_ROWS, palme_config_image_tokens(p));
    size_t heads = (size_t)palme_config_image_tokens(p) * (size_t)palme_stack_inner(&p->encoder);
    int context = host_context(&b->host), missing = 0;

    b->steps = context < STEPS ? context : STEPS;
    b->prefill = context < PREFILL ? context : PREFILL;
    b->filled = host_prefix(&b->host);
    b->images = calloc(size, sizeof *b->images);
    b->logits = calloc(TOGETHER * (size_t)p->vocabulary, sizeof *b->logits);
    b->features = calloc((size_t)palme_config_patches(p) * PALME_STEM_FEATURES, sizeof *b->features);
    b->pooled = calloc(PALME_LABEL_INPUTS, sizeof *b->pooled);
    b->probabilities = calloc(p->labels ? (size_t)p->labels->count : 1, sizeof *b->probabilities);
    b->rows = calloc(widest, sizeof *b->rows);
    b->product = calloc(widest, sizeof *b->product);
    b->heads = calloc(4 * heads, sizeof *b->heads);
    b->workspace = room_of_layers(b);
    b->tokens = calloc(4 * (size_t)LONG * PALME_HEAD, sizeof *b->tokens);
    for (int i = 0; i < TOGETHER; i++)
        missing |= sentence_open(&b->sentences[i], &b->host, b->prefill > b->steps ? b->prefill : b->steps);
    if (missing || !b->images || !b->logits || !b->features || !b->pooled || !b->probabilities || !b->rows ||
        !b->product || !b->heads || !b->workspace || !b->tokens)
        return -1;
    for (size_t i = 0; i < widest; i++)
        b->rows[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    for (size_t i = 0; i < 4 * (size_t)LONG * PALME_HEAD; i++)
        b->tokens[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    for (size_t i = 0; i < 4 * heads; i++)
        b->heads[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    for (size_t i = 0; i < size; i++)
        b->images[i] = (float)(i * 2654435761u % 256) / 255;
    for (int i = 0; i < PREFILL; i++)
        b->text[i] = (7 * i + 3) % p->vocabulary;
    for (int i = 0; i < TOGETHER; i++) {
        host_encode(&b->host, b->images);
        host_see(&b->host, &b->sentences[i]);
        host_begin(&b->host, &b->sentences[i]);
    }
    return 0;
}

static void bench_close(struct bench *b)
{
    for (int i = 0; i < TOGETHER; i++)
        sentence_close(&b->sentences[i]);
    free(b->images);
    free(b->logits);
    free(b->features);
    free(b->pooled);
    free(b->probabilities);
    free(b->rows);
    free(b->product);
    free(b->heads);
    free(b->workspace);
    free(b->tokens);
    host_close(&b->host);
}

static void print_log(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    if (level != PALME_LOG_INFO)
        fprintf(stderr, "%s\n", message);
}

/* Measures one number of threads and prints its table. */
static int bench_threads(const char *path, const char *cpu, const struct host_precision *precision, int threads,
                         int reps, const char *only)
{
    struct bench b = { .steps = 0 };
    struct roof roof = { .bytes = 0 };
    struct timing timings[PARTS];
    const char *level = "?";

    if (host_open(&b.host, path, threads, cpu, precision, print_log, NULL) < 0)
        return 1;
    if (bench_open(&b) < 0) {
        fprintf(stderr, "no memory\n");
        bench_close(&b);
        return 1;
    }
    double bytes = step_bytes(b.host.model);

    roof_look_up(&roof, bytes, threads, &level);
    for (int i = 0; i < PARTS; i++)
        if (strstr(parts[i].name, only))
            timings[i] = timing_of(run_part, &(struct run){ &b, &parts[i] }, reps * parts[i].times);
    roof_look_up(&roof, bytes, threads, &level);

    printf("\n%d thread%s, %s, kernels %s: ", threads, threads > 1 ? "s" : "", precision->name,
           b.host.model->kernels.level);
    roof_print(&roof, bytes, level);
    printf("%-22s %10s %10s %10s %9s %9s\n", "", "median ms", "min ms", "bound ms", "of bound", "at min");
    for (int i = 0; i < PARTS; i++) {
        double bound = parts[i].bound(&b, &roof);

        if (bound > 0 && strstr(parts[i].name, only))
            printf("%-22s %10.3f %10.3f %10.3f %8.1f%% %8.1f%%\n", parts[i].name, timings[i].median * 1e3,
                   timings[i].least * 1e3, bound * 1e3, 100 * bound / timings[i].median,
                   100 * bound / timings[i].least);
    }
    fflush(stdout);
    bench_close(&b);
    return 0;
}

/* ---- Loading ------------------------------------------------------------------------------ */

/* A number of kB in /proc/self/status, as bytes; 0 where there is none. */
static double memory_of(const char *field)
{
    FILE *file = fopen("/proc/self/status", "r");
    size_t length = strlen(field);
    double kilobytes = 0;
    char line[256];

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            kilobytes = strtod(line + length + 1, NULL);
    if (file)
        fclose(file);
    return 1024 * kilobytes;
}

/* Lets the system forget the most memory that the process ever had. Returns 0, or -1 where it cannot. */
static int forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    int failed = !file || fputs("5", file) < 0;

    if (file && fclose(file) != 0)
        failed = 1;
    return failed ? -1 : 0;
}

/* Reads a file into new memory and copies it into new memory: what any loader does at least. Returns its size, or 0. */
static size_t read_and_copy(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t size = 0;
    long end;

    if (!file)
        return 0;
    setvbuf(file, NULL, _IONBF, 0);
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0) {
        char *bytes = malloc((size_t)end), *copy = malloc((size_t)end);

        rewind(file);
        if (bytes && copy && fread(bytes, 1, (size_t)end, file) == (size_t)end) {
            memcpy(copy, bytes, (size_t)end);
            size = copy[end - 1] == bytes[end - 1] ? (size_t)end : 0; /* so that the copy is not left out */
        }
        free(copy);
        free(bytes);
    }
    fclose(file);
    return size;
}

static int bench_load(const char *path, const char *cpu, const struct host_precision *precision, int reps)
{
    double loads = 0, copies = 0, peak = 0, size = 0;

    for (int r = 0; r < reps + 1; r++) { /* the first one is for the system's caches */
        struct host host;
        double before = forget_peak() == 0 ? memory_of("VmRSS") : 0, since = roofline_now();

        if (host_open(&host, path, 1, cpu, precision, print_log, NULL) < 0)
            return 1;
        double load = roofline_now() - since, most = memory_of("VmHWM");

        host_close(&host);
        since = roofline_now();
        size = (double)read_and_copy(path);
        double copy = roofline_now() - since;

        if (size == 0) {
            fprintf(stderr, "%s: cannot be read\n", path);
            return 1;
        }
        if (before > 0 && most - before > peak)
            peak = most - before;
        loads = r == 1 || (r > 1 && load < loads) ? load : loads;
        copies = r == 1 || (r > 1 && copy < copies) ? copy : copies;
    }
    printf("\nload, %s, 1 thread: min %.1f ms, %.1f times reading and copying the file (min %.1f ms, %.1f MB)",
           precision->name, loads / 1e6, loads / copies, copies / 1e6, size / 1e6);
    if (peak > 0)
        printf("; peak memory %.1f times the file", peak / size);
    printf("\n");
    return 0;
}

static int bench(const char *model, const char *cpu, const struct host_precision *precision, int threads, int reps,
                 const char *only)
{
    char generated[4096];
    int status;

    if (!precision->built) {
        fprintf(stderr, "the engine does not compute in %s\n", precision->name);
        return 1;
    }
    if (!model && generated_model(generated, sizeof generated, BENCH_FOLDER) < 0)
        return 1;
    print_machine();
    printf("%s, %d repetitions and more; caption: encoder and up to %d tokens; prefill: up to %d\n",
           model ? model : "the default configuration with generated weights", reps, STEPS, PREFILL);
    if (threads) {
        status = bench_threads(model ? model : generated, cpu, precision, threads, reps, only);
    } else {
        status = bench_threads(model ? model : generated, cpu, precision, 1, reps, only);
        if (status == 0)
            status = bench_threads(model ? model : generated, cpu, precision, 2, reps, only);
    }
    if (status == 0 && strstr("load", only))
        status = bench_load(model ? model : generated, cpu, precision, reps);
    if (!model)
        unlink(generated);
    return status;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--model FILE] [--precision auto|f32|bf16|int8] [--cpu LEVEL] [--threads 1..64] "
            "[--reps N] [--part TEXT]\n"
            "       %s --vit TOKENS [--precision auto|f32|bf16|int8] [--cpu LEVEL] [--threads 1..64] [--reps N] "
            "[--part TEXT]\n"
            "       %s --serve [--precision auto|f32|bf16|int8] [--cpu LEVEL]\n",
            program, program, program);
    return 2;
}

/* A whole number of 1..most, or 0. */
static int count_of(const char *word, int most)
{
    char *end;
    long value = strtol(word, &end, 10);

    return *word && !*end && value >= 1 && value <= most ? (int)value : 0;
}

int main(int argc, char **argv)
{
    const struct host_precision *precision = host_precision_find("auto");
    const char *model = NULL, *cpu = NULL, *only = "", *named = NULL;
    int serve = 0, vit = 0, threads = 0, reps = 11;
    enum palme_cpu_level level;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--serve") == 0) {
            serve = 1;
            continue;
        }
        if (!value)
            return usage(argv[0]);
        if (strcmp(argv[i], "--model") == 0)
            model = value;
        else if (strcmp(argv[i], "--cpu") == 0)
            cpu = value;
        else if (strcmp(argv[i], "--precision") == 0)
            precision = host_precision_find(named = value);
        else if (strcmp(argv[i], "--vit") == 0)
            vit = count_of(value, 100000) ? count_of(value, 100000) : -1;
        else if (strcmp(argv[i], "--threads") == 0)
            threads = count_of(value, 64) ? count_of(value, 64) : -1;
        else if (strcmp(argv[i], "--reps") == 0)
            reps = count_of(value, 100000);
        else if (strcmp(argv[i], "--part") == 0)
            only = value;
        else
            return usage(argv[0]);
        i++;
    }
    if (!precision || threads < 0 || vit < 0 || reps == 0 || (serve && (model || threads || vit)) || (vit && model) ||
        palme_cpu_choose(&level, cpu) < 0)
        return usage(argv[0]);
    if (vit)
        return bench_vit(vit, named && strcmp(named, "auto") != 0 ? named : NULL, level, threads, reps, only);
    return serve ? bench_serve(precision, cpu) : bench(model, cpu, precision, threads, reps, only);
}
