/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * block.h - the two blocks of a transformer layer, attention and feed-forward, for encoder and decoder. What differs
 * from model to model, the order of the norms, their eps, the activation, biases and widths, is data of the stack.
 */
#ifndef PALME_BLOCK_H
#define PALME_BLOCK_H

#include "base/arena.h"
#include "nn/config.h"
#include "nn/layers.h"
#include "nn/loader.h"

struct palme_attention_block {
    struct palme_norm norm;
    struct palme_linear q, k, v; /* [inner, dim]; k and v of cross-attention [inner, kv_dim] */
    struct palme_linear out;     /* [dim, inner] */
};

struct palme_mlp_block {
    struct palme_norm norm;
    struct palme_linear up;   /* [mlp_dim, dim] */
    struct palme_linear down; /* [dim, mlp_dim] */
};

/* The factor of q.k where both are normalised. */
#define PALME_QK_NORM_SCALE 10.0f

/* NAME.norm, .q, .k, .v, .out, and NAME.norm, .up, .down. The flags are those of palme_load_linear. k and v of
 * cross-attention read something else, of another width kv_dim, and a whole picture of it at once, where q and out may
 * see few rows. */
void palme_attention_load(struct palme_loader *l, struct palme_attention_block *block, const struct palme_stack *stack,
                          const char *name, int flags, int kv_dim, int kv_flags);
void palme_mlp_load(struct palme_loader *l, struct palme_mlp_block *block, const struct palme_stack *stack,
                    const char *name, int flags);

/* What both blocks work on. `wide` is laid out by the caller, who may have a use for its memory before. */
struct palme_block_work {
    float *wide;          /* [rows][mlp_dim] */
    float *y;             /* [rows][dim] */
    float *q, *k, *v, *o; /* [rows][inner] */
};
void palme_block_lay_out(struct palme_block_work *work, struct palme_arena *arena, const struct palme_stack *stack,
                         int rows);

/* Bytes of compute->workspace for so many rows. */
size_t palme_attention_block_room(const struct palme_kernels *kernels, const struct palme_attention_block *block,
                                  int rows);
size_t palme_mlp_block_room(const struct palme_kernels *kernels, const struct palme_mlp_block *block, int rows);

/* What happens between the projections of attention: from work->q, and work->k and v, to work->o. */
struct palme_mix {
    void (*run)(void *user, const struct palme_block_work *work);
    void *user;
    int has_keys; /* keys and values are there already, of something else: none are made of x */
};

/* x[rows][dim] += out(mix(q, k, v of x)) with the norm before, or behind it. */
void palme_attention_run(struct palme_compute *c, const struct palme_stack *stack,
                         const struct palme_attention_block *block, float *x, const struct palme_block_work *work,
                         int rows, const struct palme_mix *mix);

/* Only the keys and values of x, with the norm before: what the last layer of rows is asked for that are never read. */
void palme_attention_keys(struct palme_compute *c, const struct palme_stack *stack,
                          const struct palme_attention_block *block, const float *x,
                          const struct palme_block_work *work, int rows);

/* x[rows][dim] += down(f(up(x))), the same. */
void palme_mlp_run(struct palme_compute *c, const struct palme_stack *stack, const struct palme_mlp_block *block,
                   float *x, const struct palme_block_work *work, int rows);

/* y[rows][dim] = norm(x[rows][dim]) with the stack's eps; y may be x. Without weights it is a copy. */
void palme_norm_run(struct palme_compute *c, const struct palme_stack *stack, float *y, const float *x,
                    const struct palme_norm *norm, int rows);

/* All heads over keys and values whose rows are [inner]; shape's width and strides are not looked at.
 * slopes is NULL or [heads]. */
void palme_heads_run(struct palme_compute *c, const struct palme_stack *stack, float *out, const float *q,
                     const float *k, const float *v, struct palme_attend shape, const float *slopes);

#endif
