/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_vit.c - one layer of ViT-B, the encoder of most captioners: 768 wide, 12 heads of 64, 3072 in between. Its
 * weights are random, since only sizes matter. 197 tokens are a picture of 224 x 224 in patches of 16, 577 one of
 * 384 x 384.
 *
 * Parts are measured alone and as the encoder runs them. What has a bound is a product or attention; norms, GELU and
 * quantising count nothing in it. The last column is a part's share of the whole layer, so it shows what they cost.
 */
#include "bench/bench_vit.h"

#include "bench/bounds.h"
#include "nn/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 768, HEADS = 12, WIDE = 3072 };

static const struct palme_stack vit = { .dim = DIM,
                                        .depth = 1,
                                        .heads = HEADS,
                                        .head_dim = DIM / HEADS,
                                        .mlp_dim = WIDE,
                                        .norm_order = PALME_NORM_PRE,
                                        .norm_eps = 1e-12,
                                        .activation = PALME_ACTIVATION_GELU,
                                        .qkv_bias = 1,
                                        .out_bias = 1,
                                        .mlp_bias = 1,
                                        .attention_scale = 0.125 };

struct layer {
    struct palme_kernels kernels;
    struct palme_compute compute;
    struct palme_attention_block attention;
    struct palme_mlp_block mlp;
    struct palme_block_work work;
    float *x, *in; /* [tokens][DIM]: the residual, and what products read */
    int tokens;
};

static float *numbers(size_t count, float scale)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64);
    uint64_t state = count;

    for (size_t i = 0; x && i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = scale * ((float)(state >> 40) / (1 << 23) - 1);
    }
    return x;
}

/* Returns 0, or -1 without memory. */
static int linear_new(struct palme_linear *l, enum palme_precision precision, int out, int in,
                      enum palme_activation activation)
{
    *l = (struct palme_linear){
        .precision = precision, .layout = PALME_LAYOUT_PANELS, .in = in, .out = out, .activation = activation
    };
    void *w = aligned_alloc(64, (palme_linear_size(l) + 63) / 64 * 64);
    float *scale = aligned_alloc(64, palme_linear_outputs(l) * sizeof *scale), *rows = numbers((size_t)out * in, 0.05f);

    l->w = w;
    l->scale = scale;
    l->b = numbers(palme_linear_outputs(l), 0.1f);
    if (w && scale && rows)
        palme_linear_pack(l, w, precision == PALME_INT8 ? scale : NULL, rows, 0, out);
    free(rows);
    return w && scale && rows && l->b ? 0 : -1;
}

static void linear_free(const struct palme_linear *l)
{
    free((void *)l->w);
    free((void *)l->scale);
    free((void *)l->b);
}

static int layer_new(struct layer *layer, enum palme_precision precision, int tokens)
{
    struct palme_attention_block *a = &layer->attention;
    struct palme_mlp_block *m = &layer->mlp;
    struct palme_arena arena = { 0 };
    int missing = 0;

    missing |= linear_new(&a->q, precision, DIM, DIM, PALME_ACTIVATION_NONE);
    missing |= linear_new(&a->k, precision, DIM, DIM, PALME_ACTIVATION_NONE);
    missing |= linear_new(&a->v, precision, DIM, DIM, PALME_ACTIVATION_NONE);
    missing |= linear_new(&a->out, precision, DIM, DIM, PALME_ACTIVATION_NONE);
    missing |= linear_new(&m->up, precision, WIDE, DIM, vit.activation);
    missing |= linear_new(&m->down, precision, DIM, WIDE, PALME_ACTIVATION_NONE);
    a->norm = m->norm = (struct palme_norm){ numbers(DIM, 1), numbers(DIM, 0.1f) };
    layer->tokens = tokens;
    layer->x = numbers((size_t)tokens * DIM, 1);
    layer->in = numbers((size_t)tokens * WIDE, 1);
    if (missing || !layer->x || !layer->in || !a->norm.w || !a->norm.b)
        return -1;
    for (int pass = 0; pass < 2; pass++) {
        size_t room = palme_attention_workspace(palme_compute_threads(&layer->compute), vit.head_dim);
        size_t rooms[] = { palme_attention_block_room(&layer->kernels, a, tokens),
                           palme_mlp_block_room(&layer->kernels, m, tokens) };

        if (pass) {
            size_t size = arena.most;
            void *memory = aligned_alloc(PALME_ARENA_ALIGNMENT, size);

            if (!memory)
                return -1;
            memset(memory, 0, size);
            arena = palme_arena_over(memory, size);
        }
        for (int i = 0; i < 2; i++)
            room = rooms[i] > room ? rooms[i] : room;
        layer->compute.workspace = palme_arena_take(&arena, room, 1);
        layer->work.wide = palme_arena_take(&arena, (size_t)tokens, WIDE * sizeof(float));
        palme_block_lay_out(&layer->work, &arena, &vit, tokens);
    }
    memcpy(layer->work.q, layer->in, (size_t)tokens * DIM * sizeof(float));
    memcpy(layer->work.k, layer->in + (size_t)tokens * DIM, (size_t)tokens * DIM * sizeof(float));
    memcpy(layer->work.v, layer->in + (size_t)tokens * DIM * 2, (size_t)tokens * DIM * sizeof(float));
    return 0;
}

static void layer_free(struct layer *layer)
{
    const struct palme_linear *all[] = { &layer->attention.q,   &layer->attention.k, &layer->attention.v,
                                         &layer->attention.out, &layer->mlp.up,      &layer->mlp.down };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        linear_free(all[i]);
    free((void *)layer->mlp.norm.w), free((void *)layer->mlp.norm.b);
    free(layer->compute.workspace); /* the first thing in the arena */
    free(layer->x), free(layer->in);
}

/* ---- Parts -------------------------------------------------------------------------------- */

/* The layer without its activation. */
static void product(struct layer *layer, float *y, const struct palme_linear *with, float *into)
{
    struct palme_linear l = *with;

    l.activation = PALME_ACTIVATION_NONE;
    palme_linear_multi(&layer->compute, &(struct palme_linear_op){ y, &l, into }, 1, layer->in, layer->tokens);
}

static void run_qkv(void *user)
{
    struct layer *layer = user;
    const struct palme_linear_op products[] = { { layer->work.q, &layer->attention.q, NULL },
                                                { layer->work.k, &layer->attention.k, NULL },
                                                { layer->work.v, &layer->attention.v, NULL } };

    palme_linear_multi(&layer->compute, products, 3, layer->in, layer->tokens);
}

static void run_out(void *user)
{
    struct layer *layer = user;

    product(layer, layer->work.y, &layer->attention.out, NULL);
}

static void run_up(void *user)
{
    struct layer *layer = user;

    product(layer, layer->work.wide, &layer->mlp.up, NULL);
}

static void run_up_gelu(void *user)
{
    struct layer *layer = user;

    palme_linear(&layer->compute, layer->work.wide, layer->in, &layer->mlp.up, layer->tokens);
}

static void run_down(void *user)
{
    struct layer *layer = user;

    product(layer, layer->work.y, &layer->mlp.down, NULL);
}

static void run_heads(void *user)
{
    struct layer *layer = user;
    const struct palme_attend shape = {
        .rows = layer->tokens,
        .keys = layer->tokens,
        .visible = layer->tokens,
        .scale = (float)vit.attention_scale,
        .rounded = palme_linear_rounds(&layer->kernels, &layer->attention.out),
    };

    palme_heads_run(&layer->compute, &vit, layer->work.o, layer->work.q, layer->work.k, layer->work.v, shape, NULL);
}

static void run_norm(void *user)
{
    struct layer *layer = user;

    palme_norm_run(&layer->compute, &vit, layer->work.y, layer->x, &layer->mlp.norm, layer->tokens);
}

static void run_quantize(void *user)
{
    struct layer *layer = user;

    palme_quantize_rows(&layer->compute, layer->compute.workspace, layer->in, &layer->mlp.up, layer->tokens, NULL);
}

static void run_quantize_wide(void *user)
{
    struct layer *layer = user;

    palme_quantize_rows(&layer->compute, layer->compute.workspace, layer->in, &layer->mlp.down, layer->tokens, NULL);
}

static void mix(void *user, const struct palme_block_work *work)
{
    (void)work;
    run_heads(user);
}

/* The residual stays of one size: it is not added to itself again and again. */
static void run_layer(void *user)
{
    struct layer *layer = user;

    memcpy(layer->x, layer->in, (size_t)layer->tokens * DIM * sizeof *layer->x);
    palme_attention_run(&layer->compute, &vit, &layer->attention, layer->x, &layer->work, layer->tokens,
                        &(struct palme_mix){ mix, layer, 0 });
    palme_mlp_run(&layer->compute, &vit, &layer->mlp, layer->x, &layer->work, layer->tokens);
}

static double bound_out(const struct layer *layer, const struct roof *roof)
{
    return layer_bound(roof, layer->tokens, &layer->attention.out);
}

static double bound_qkv(const struct layer *layer, const struct roof *roof)
{
    return 3 * bound_out(layer, roof);
}

static double bound_up(const struct layer *layer, const struct roof *roof)
{
    return layer_bound(roof, layer->tokens, &layer->mlp.up);
}

static double bound_down(const struct layer *layer, const struct roof *roof)
{
    return layer_bound(roof, layer->tokens, &layer->mlp.down);
}

static double bound_heads(const struct layer *layer, const struct roof *roof)
{
    return attention_bound(roof, layer->tokens, layer->tokens, DIM,
                           palme_linear_rounds(&layer->kernels, &layer->attention.out));
}

static double bound_layer(const struct layer *layer, const struct roof *roof)
{
    return 4 * bound_out(layer, roof) + bound_up(layer, roof) + bound_down(layer, roof) + bound_heads(layer, roof);
}

static const struct part {
    const char *name;
    void (*run)(void *layer);
    double (*bound)(const struct layer *layer, const struct roof *roof); /* NULL: it has none */
} parts[] = {
    { "768 to q, k and v", run_qkv, bound_qkv },
    { "768 to 768", run_out, bound_out },
    { "768 to 3072", run_up, bound_up },
    { "768 to 3072, GELU", run_up_gelu, bound_up },
    { "3072 to 768", run_down, bound_down },
    { "12 heads of 64", run_heads, bound_heads },
    { "norm", run_norm, NULL },
    { "quantising 768", run_quantize, NULL },
    { "quantising 3072", run_quantize_wide, NULL },
    { "whole layer", run_layer, bound_layer },
};

enum { PARTS = sizeof parts / sizeof *parts };

/* ---- Measuring ---------------------------------------------------------------------------- */

static int bench_once(int tokens, enum palme_precision precision, enum palme_cpu_level level, int threads, int reps,
                      const char *only)
{
    struct layer layer = { .tokens = tokens };
    struct palme_pool *pool = NULL;
    struct roof roof = { .bytes = 0 };
    struct timing timings[PARTS], whole;
    const char *best = "?";
    int usable;

    palme_kernels_init(&layer.kernels, level);
    layer.compute.kernels = &layer.kernels;
    if (threads > 1 && palme_pool_open(&pool, threads, &usable) < 0)
        return 1;
    layer.compute.pool = palme_pool_here(pool);
    if (layer_new(&layer, precision, tokens) < 0) {
        fprintf(stderr, "no memory\n");
        return 1;
    }
    double bytes = (double)palme_linear_size(&layer.mlp.up);

    roof_look_up(&roof, bytes, threads, &best);
    for (int i = 0; i < PARTS; i++)
        if (strstr(parts[i].name, only))
            timings[i] = timing_of(parts[i].run, &layer, reps);
    whole = strstr(parts[PARTS - 1].name, only) ? timings[PARTS - 1] : timing_of(run_layer, &layer, reps);
    roof_look_up(&roof, bytes, threads, &best);

    printf("\n%d tokens, %d thread%s, %s, kernels %s: ", tokens, threads, threads > 1 ? "s" : "",
           palme_precision_name(precision), layer.kernels.level);
    roof_print(&roof, bytes, best);
    printf("%-22s %10s %10s %10s %9s %9s %9s\n", "", "median ms", "min ms", "bound ms", "of bound", "at min",
           "of layer");
    for (int i = 0; i < PARTS; i++) {
        double bound = parts[i].bound ? parts[i].bound(&layer, &roof) : 0;

        if (!strstr(parts[i].name, only))
            continue;
        printf("%-22s %10.3f %10.3f ", parts[i].name, timings[i].median * 1e3, timings[i].least * 1e3);
        if (bound > 0)
            printf("%10.3f %8.1f%% %8.1f%%", bound * 1e3, 100 * bound / timings[i].median,
                   100 * bound / timings[i].least);
        else
            printf("%10s %9s %9s", "-", "-", "-");
        printf(" %8.1f%%\n", 100 * timings[i].median / whole.median);
    }
    fflush(stdout);
    layer_free(&layer);
    palme_pool_close(&pool);
    return 0;
}

int bench_vit(int tokens, const char *precision, enum palme_cpu_level level, int threads, int reps, const char *only)
{
    int status = 0;

    print_machine();
    printf("one layer of ViT-B, %d repetitions\n", reps);
    for (int p = 0; p < PALME_PRECISIONS && status == 0; p++) {
        if (precision && strcmp(precision, palme_precision_name((enum palme_precision)p)) != 0)
            continue;
        for (int t = threads ? threads : 1; t <= (threads ? threads : 2) && status == 0; t++)
            status = bench_once(tokens, (enum palme_precision)p, level, t, reps, only);
    }
    return status;
}
