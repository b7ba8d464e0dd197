/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * block.c - the two blocks of a transformer layer.
 */
#include "nn/block.h"

#include <string.h>

#include "base/util.h"

/* ---- Loading ------------------------------------------------------------------------------ */

void palme_attention_load(struct palme_loader *l, struct palme_attention_block *block, const struct palme_stack *stack,
                          const char *name, int flags, int kv_dim, int kv_flags)
{
    int inner = palme_stack_inner(stack), dim = stack->dim, bias = stack->qkv_bias ? PALME_LOAD_BIAS : 0;
    int out_bias = stack->out_bias ? PALME_LOAD_BIAS : 0;

    palme_load_norm(l, &block->norm, palme_name("%s.norm", name).text, dim, 1);
    palme_load_linear(l, &block->q, palme_name("%s.q", name).text, inner, dim, flags | bias, PALME_ACTIVATION_NONE);
    palme_load_linear(l, &block->k, palme_name("%s.k", name).text, inner, kv_dim, kv_flags | bias,
                      PALME_ACTIVATION_NONE);
    palme_load_linear(l, &block->v, palme_name("%s.v", name).text, inner, kv_dim, kv_flags | bias,
                      PALME_ACTIVATION_NONE);
    palme_load_linear(l, &block->out, palme_name("%s.out", name).text, dim, inner, flags | out_bias,
                      PALME_ACTIVATION_NONE);
}

void palme_mlp_load(struct palme_loader *l, struct palme_mlp_block *block, const struct palme_stack *stack,
                    const char *name, int flags)
{
    int dim = stack->dim, wide = stack->mlp_dim;

    flags |= stack->mlp_bias ? PALME_LOAD_BIAS : 0;
    palme_load_norm(l, &block->norm, palme_name("%s.norm", name).text, dim, 1);
    palme_load_linear(l, &block->up, palme_name("%s.up", name).text, wide, dim, flags, stack->activation);
    palme_load_linear(l, &block->down, palme_name("%s.down", name).text, dim, wide, flags, PALME_ACTIVATION_NONE);
}

/* ---- Memory ------------------------------------------------------------------------------- */

void palme_block_lay_out(struct palme_block_work *work, struct palme_arena *arena, const struct palme_stack *stack,
                         int rows)
{
    size_t n = (size_t)rows, inner = (size_t)palme_stack_inner(stack) * sizeof(float);

    work->y = palme_arena_take(arena, n, (size_t)stack->dim * sizeof(float));
    work->q = palme_arena_take(arena, n, inner);
    work->k = palme_arena_take(arena, n, inner);
    work->v = palme_arena_take(arena, n, inner);
    work->o = palme_arena_take(arena, n, inner);
}

size_t palme_attention_block_room(const struct palme_kernels *kernels, const struct palme_attention_block *block,
                                  int rows)
{
    return max_size(palme_linear_workspace(kernels, &block->q, rows),
                    palme_linear_workspace(kernels, &block->out, rows));
}

size_t palme_mlp_block_room(const struct palme_kernels *kernels, const struct palme_mlp_block *block, int rows)
{
    return max_size(palme_linear_workspace(kernels, &block->up, rows),
                    palme_linear_workspace(kernels, &block->down, rows));
}

/* ---- The blocks --------------------------------------------------------------------------- */

void palme_norm_run(struct palme_compute *c, const struct palme_stack *stack, float *y, const float *x,
                    const struct palme_norm *norm, int rows)
{
    if (norm->w)
        palme_layernorm(c, y, x, norm->w, norm->b, rows, stack->dim, stack->norm_eps);
    else if (y != x)
        memcpy(y, x, (size_t)rows * (size_t)stack->dim * sizeof *y);
}

/* Products of what a block reads: of x, or of y, which is then x behind the block's norm. */
static void products_of(struct palme_compute *c, const struct palme_stack *stack, const struct palme_norm *norm,
                        const struct palme_linear_op *products, int count, float *y, const float *x, int rows)
{
    const struct palme_row_norm first = { .y = y, .w = norm->w, .b = norm->b, .eps = stack->norm_eps };

    palme_linear_multi_normed(c, products, count, x, rows,
                              stack->norm_order == PALME_NORM_PRE && norm->w ? &first : NULL);
}

void palme_attention_run(struct palme_compute *c, const struct palme_stack *stack,
                         const struct palme_attention_block *block, float *x, const struct palme_block_work *work,
                         int rows, const struct palme_mix *mix)
{
    const struct palme_linear_op products[] = { { work->q, &block->q, NULL },
                                                { work->k, &block->k, NULL },
                                                { work->v, &block->v, NULL } };

    products_of(c, stack, &block->norm, products, mix->has_keys ? 1 : 3, work->y, x, rows);
    if (c->cancelled)
        return;
    mix->run(mix->user, work);
    palme_linear_multi(c, &(struct palme_linear_op){ work->y, &block->out, x }, 1, work->o, rows);
    if (stack->norm_order == PALME_NORM_POST)
        palme_norm_run(c, stack, x, x, &block->norm, rows);
}

void palme_attention_keys(struct palme_compute *c, const struct palme_stack *stack,
                          const struct palme_attention_block *block, const float *x,
                          const struct palme_block_work *work, int rows)
{
    const struct palme_linear_op products[] = { { work->k, &block->k, NULL }, { work->v, &block->v, NULL } };

    products_of(c, stack, &block->norm, products, 2, work->y, x, rows);
}

void palme_mlp_run(struct palme_compute *c, const struct palme_stack *stack, const struct palme_mlp_block *block,
                   float *x, const struct palme_block_work *work, int rows)
{
    products_of(c, stack, &block->norm, &(struct palme_linear_op){ work->wide, &block->up, NULL }, 1, work->y, x, rows);
    palme_linear_multi(c, &(struct palme_linear_op){ work->y, &block->down, x }, 1, work->wide, rows);
    if (stack->norm_order == PALME_NORM_POST)
        palme_norm_run(c, stack, x, x, &block->norm, rows);
}

/* ---- Heads ------------------------------------------------------------------------------- */

void palme_heads_run(struct palme_compute *c, const struct palme_stack *stack, float *out, const float *q,
                     const float *k, const float *v, struct palme_attend shape, const float *slopes)
{
    shape.width = stack->head_dim;
    shape.out_stride = shape.q_stride = shape.k_stride = shape.v_stride = palme_stack_inner(stack);
    palme_attention(c, out, q, k, v, &shape, stack->heads, stack->head_dim, stack->head_dim, slopes);
}
