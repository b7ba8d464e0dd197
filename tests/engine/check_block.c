/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_block.c - attention and feed-forward blocks with each choice that a stack has, against their formulas in
 * double.
 */
#include "nn/block.h"
#include "support/check.h"
#include "base/util.h"

enum { ROWS = 5, DIM = 20, MLP = 44, MOST = 6 * 65 };

static uint64_t state = 1;

static float value(void) /* -1 .. 1 */
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(state >> 40) / 8388608 - 1);
}

static float *values(size_t n, double scale)
{
    float *out = malloc(n * sizeof *out);

    for (size_t i = 0; i < n; i++)
        out[i] = (float)(value() * scale);
    return out;
}

/* A layer as the engine packs it, and as it is written in a paper. */
struct layer {
    float *w, *b;
    void *packed;
};

static struct layer layer_new(struct palme_linear *l, int out, int in, int bias, enum palme_activation activation)
{
    struct layer layer = { values((size_t)out * (size_t)in, 1 / sqrt(in)),
                           values(round_up((size_t)out, PALME_PANEL), 1), NULL };

    *l = (struct palme_linear){ .layout = PALME_LAYOUT_PANELS, .in = in, .out = out, .activation = activation };
    layer.packed = aligned_alloc(64, round_up(palme_linear_size(l), 64));
    palme_linear_pack(l, layer.packed, NULL, layer.w, 0, out);
    l->w = layer.packed;
    l->b = bias ? layer.b : NULL;
    return layer;
}

static void layer_free(struct layer *layer)
{
    free(layer->w), free(layer->b), free(layer->packed);
}

static void linear(double *y, const double *x, const struct layer *layer, const struct palme_linear *l, int rows)
{
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < l->out; o++) {
            y[r * l->out + o] = l->b ? layer->b[o] : 0;
            for (int i = 0; i < l->in; i++)
                y[r * l->out + o] += (double)layer->w[o * l->in + i] * x[r * l->in + i];
        }
}

static void norm(double *x, const struct palme_norm *n, double eps)
{
    for (int r = 0; r < ROWS; r++, x += DIM) {
        double mean = 0, square = 0;

        for (int i = 0; i < DIM; i++)
            mean += x[i] / DIM;
        for (int i = 0; i < DIM; i++)
            square += (x[i] - mean) * (x[i] - mean) / DIM;
        for (int i = 0; i < DIM; i++)
            x[i] = (x[i] - mean) / sqrt(square + eps) * n->w[i] + n->b[i];
    }
}

static double activated(double x, enum palme_activation activation)
{
    if (activation == PALME_ACTIVATION_GELU)
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    if (activation == PALME_ACTIVATION_GELU_TANH)
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    return x / (1 + exp(-1.702 * x));
}

/* Rows see those before them and the first two, with a slope. */
static void attend(double *o, const double *q, const double *k, const double *v, const struct palme_stack *stack,
                   const float *slopes)
{
    int inner = palme_stack_inner(stack), width = stack->head_dim;

    for (int r = 0; r < ROWS; r++)
        for (int h = 0; h < stack->heads; h++) {
            double weights[ROWS] = { 0 }, all = 0;

            for (int j = 0; j < ROWS; j++) {
                double sum = 0;

                for (int d = 0; d < width; d++)
                    sum += q[r * inner + h * width + d] * k[j * inner + h * width + d];
                weights[j] = j < 2 || j <= r ? exp(sum * stack->attention_scale - slopes[h] * abs(r - j)) : 0;
                all += weights[j];
            }
            for (int d = 0; d < width; d++) {
                o[r * inner + h * width + d] = 0;
                for (int j = 0; j < ROWS; j++)
                    o[r * inner + h * width + d] += weights[j] / all * v[j * inner + h * width + d];
            }
        }
}

struct mixer {
    struct palme_compute *c;
    const struct palme_stack *stack;
    const float *slopes;
};

static void mix(void *user, const struct palme_block_work *work)
{
    const struct mixer *m = user;

    palme_heads_run(
        m->c, m->stack, work->o, work->q, work->k, work->v,
        (struct palme_attend){ .rows = ROWS, .keys = ROWS, .visible = 2, .scale = (float)m->stack->attention_scale },
        m->slopes);
}

/* Sums of up to 390 terms of size 1 in single precision, three of them behind each other, are off by less than 390
 * roundings of 2^-24 each: 1e-4 of values of size 1. What the choices change is of size 0.1 and more. */
static void compare(const char *what, const struct palme_stack *stack, const float *found, const double *wanted)
{
    double worst = 0;

    for (int i = 0; i < ROWS * DIM; i++)
        worst = fmax(worst, fabs(found[i] - wanted[i]));
    CHECK_MESSAGE(worst < 1e-4, "%s, %d heads of %d, order %d, eps %g, activation %d: off by %g", what, stack->heads,
                  stack->head_dim, (int)stack->norm_order, stack->norm_eps, (int)stack->activation, worst);
}

static void check_attention(struct palme_compute *c, const struct palme_stack *stack,
                            const struct palme_block_work *work)
{
    int inner = palme_stack_inner(stack);
    struct palme_attention_block block = { .norm = { values(DIM, 1), values(DIM, 1) } };
    struct layer q = layer_new(&block.q, inner, DIM, stack->qkv_bias, PALME_ACTIVATION_NONE);
    struct layer k = layer_new(&block.k, inner, DIM, stack->qkv_bias, PALME_ACTIVATION_NONE);
    struct layer v = layer_new(&block.v, inner, DIM, stack->qkv_bias, PALME_ACTIVATION_NONE);
    struct layer out = layer_new(&block.out, DIM, inner, stack->out_bias, PALME_ACTIVATION_NONE);
    float *x = values(ROWS * DIM, 2), slopes[6] = { 0.5f, 0, 0.25f, 1, 0.125f, 0.75f };
    double in[ROWS * DIM], sum[ROWS * DIM], parts[4][ROWS * MOST];

    for (int i = 0; i < ROWS * DIM; i++)
        in[i] = sum[i] = x[i];
    if (stack->norm_order == PALME_NORM_PRE)
        norm(in, &block.norm, stack->norm_eps);
    linear(parts[0], in, &q, &block.q, ROWS);
    linear(parts[1], in, &k, &block.k, ROWS);
    linear(parts[2], in, &v, &block.v, ROWS);
    attend(parts[3], parts[0], parts[1], parts[2], stack, slopes);
    linear(in, parts[3], &out, &block.out, ROWS);
    for (int i = 0; i < ROWS * DIM; i++)
        sum[i] += in[i];
    if (stack->norm_order == PALME_NORM_POST)
        norm(sum, &block.norm, stack->norm_eps);
    palme_attention_run(c, stack, &block, x, work, ROWS,
                        &(struct palme_mix){ mix, &(struct mixer){ c, stack, slopes }, 0 });
    compare("attention", stack, x, sum);
    layer_free(&q), layer_free(&k), layer_free(&v), layer_free(&out);
    free(x), free((void *)block.norm.w), free((void *)block.norm.b);
}

static void check_mlp(struct palme_compute *c, const struct palme_stack *stack, const struct palme_block_work *work)
{
    struct palme_mlp_block block = { .norm = { values(DIM, 1), values(DIM, 1) } };
    struct layer up = layer_new(&block.up, MLP, DIM, stack->mlp_bias, stack->activation);
    struct layer down = layer_new(&block.down, DIM, MLP, stack->mlp_bias, PALME_ACTIVATION_NONE);
    float *x = values(ROWS * DIM, 2);
    double in[ROWS * DIM], sum[ROWS * DIM], wide[ROWS * MLP];

    for (int i = 0; i < ROWS * DIM; i++)
        in[i] = sum[i] = x[i];
    if (stack->norm_order == PALME_NORM_PRE)
        norm(in, &block.norm, stack->norm_eps);
    linear(wide, in, &up, &block.up, ROWS);
    for (int i = 0; i < ROWS * MLP; i++)
        wide[i] = activated(wide[i], stack->activation);
    linear(in, wide, &down, &block.down, ROWS);
    for (int i = 0; i < ROWS * DIM; i++)
        sum[i] += in[i];
    if (stack->norm_order == PALME_NORM_POST)
        norm(sum, &block.norm, stack->norm_eps);
    palme_mlp_run(c, stack, &block, x, work, ROWS);
    compare("feed-forward", stack, x, sum);
    layer_free(&up), layer_free(&down);
    free(x), free((void *)block.norm.w), free((void *)block.norm.b);
}

static void check_stack(const struct palme_kernels *kernels, const struct palme_stack *stack)
{
    struct palme_compute c = { .kernels = kernels };
    struct palme_block_work work;
    struct palme_arena arena = { 0 };

    for (int pass = 0; pass < 2; pass++) {
        if (pass)
            arena = palme_arena_over(aligned_alloc(64, arena.most), arena.most);
        c.workspace = palme_arena_take(&arena, 65536 + palme_attention_workspace(1, stack->head_dim), 1);
        work.wide = palme_arena_take(&arena, ROWS, MLP * sizeof(float));
        palme_block_lay_out(&work, &arena, stack, ROWS);
    }
    check_attention(&c, stack, &work);
    check_mlp(&c, stack, &work);
    free(arena.base);
}

int main(void)
{
    static const int widths[][2] = { { 2, 64 }, { 3, 24 }, { 1, 1 }, { 2, 80 }, { 6, 65 } };
    static const enum palme_activation activations[] = { PALME_ACTIVATION_GELU, PALME_ACTIVATION_GELU_TANH,
                                                         PALME_ACTIVATION_QUICK_GELU };

    for (int l = 0; l < PALME_CPU_LEVELS; l++) {
        struct palme_kernels kernels;

        if (!palme_cpu_has((enum palme_cpu_level)l))
            continue;
        palme_kernels_init(&kernels, (enum palme_cpu_level)l);
        for (int trial = 0; trial < 5 * 3 * 2; trial++) {
            struct palme_stack stack = {
                .dim = DIM,
                .depth = 1,
                .heads = widths[trial % 5][0],
                .head_dim = widths[trial % 5][1],
                .mlp_dim = MLP,
                .norm_order = trial % 2 ? PALME_NORM_POST : PALME_NORM_PRE,
                .norm_eps = trial % 4 < 2 ? 1e-12 : 0.5,
                .activation = activations[trial % 3],
                .qkv_bias = trial % 2,
                .out_bias = trial % 3 == 0,
                .mlp_bias = trial % 4 == 0,
                .attention_scale = 1 / sqrt(widths[trial % 5][1]),
            };

            check_stack(&kernels, &stack);
        }
    }
    return check_done();
}
