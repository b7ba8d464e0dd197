/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * picture.h - what the decoder knows of a picture: keys and values of cross-attention, made once and read by every
 * step.
 */
#ifndef PALME_PICTURE_H
#define PALME_PICTURE_H

#include "base/arena.h"
#include "nn/layers.h"

struct palme_model;

/* Keys and values of every layer, head by head, so that a step reads them in long runs: f32, rows
 * [2][heads][capacity][head_dim] of which `tokens` are there, or bf16, [heads] times keys and values as pack_keys and
 * pack_values (kernels.h) make them. Unused by a prefix decoder. */
struct palme_picture {
    int tokens;
    void *kv; /* [decoder_depth] */
    int capacity;
};

/* Whether those of a layer are in bf16: they are where the layer that makes them is not in f32, and where those of all
 * layers are so many that steps wait for them. It is half of what steps read then, and the unit roundoff of bf16, 2^-9,
 * is no more than that of weights and activations. */
int palme_picture_is_packed(const struct palme_model *model, int layer);

/* Takes the memory for pictures of up to `tokens` tokens. */
void palme_picture_lay_out(struct palme_picture *picture, struct palme_arena *arena, const struct palme_model *model,
                           int tokens);

/* Puts rows[2][tokens][Id], keys and then values of a layer, to their place; picture->tokens is set. */
void palme_picture_put(const struct palme_model *model, struct palme_compute *c, struct palme_picture *picture,
                       int layer, const float *rows);

/* Bytes of compute->workspace for attention to a picture of so many tokens. */
size_t palme_picture_workspace(const struct palme_model *model, int tokens);

/* out[rows][Id] = attention of q[rows][Id] to the keys and values of a layer; every row sees all of them, and its
 * result does not depend on the other rows. */
void palme_picture_attend(const struct palme_model *model, struct palme_compute *c, float *out, const float *q,
                          const struct palme_picture *picture, int layer, int rows);

#endif
