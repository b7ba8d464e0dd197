/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * encoder.h - the ViT: its weights, and pixels into image tokens.
 */
#ifndef PALME_ENCODER_H
#define PALME_ENCODER_H

#include "nn/block.h"
#include "nn/stem.h"

struct palme_encoder_layer {
    struct palme_attention_block attention;
    struct palme_mlp_block mlp;
};

struct palme_encoder {
    struct palme_stem stem;
    struct palme_norm patch_input_norm;  /* [3 p^2] or [1280] */
    struct palme_linear patch;           /* [E, 3 p^2] or [E, 1280] */
    struct palme_norm patch_output_norm; /* [E] */
    const float *class_tokens;           /* [class tokens][E], or NULL */
    const float *positions;              /* [class tokens + P][E], or NULL */
    struct palme_norm first_norm;        /* [E] */
    struct palme_encoder_layer *layers;  /* [depth] */
    struct palme_norm final_norm;        /* [E] */
};

void palme_encoder_load(struct palme_loader *l, struct palme_encoder *encoder);

/* What a picture of height x width takes of the scratch. `arena` is where it was before, and `most` has grown. */
void palme_encoder_reserve(struct palme_arena *arena, const struct palme_model *model, int height, int width);

/* out[tokens][E] = the encoder after its final norm: the class tokens, then (height/p) * (width/p) <= P patches.
 * pixels[height][width][3], values 0..1. `pooled`, if it is not NULL, receives what the labels read of the stem's
 * features (labels.h). Returns the number of tokens, or PALME_ERROR_CANCELLED. */
int palme_encode(const struct palme_model *model, struct palme_compute *compute, float *out, float *pooled,
                 const float *pixels, int height, int width, struct palme_arena *scratch);

#endif
