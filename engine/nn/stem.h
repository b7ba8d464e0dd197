/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stem.h - the optional convolutional stem: an EfficientNet-Lite trunk in front of the ViT.
 */
#ifndef PALME_STEM_H
#define PALME_STEM_H

#include "base/arena.h"
#include "nn/layers.h"

struct palme_loader;
struct palme_model;

/* One inverted-residual block of the stem (StemBlock in models/palme.py). */
struct palme_stem_block {
    int in, middle, out, size, stride, skip; /* channels; kernel size; 1 or 2; non-zero: adds its input */
    struct palme_linear expand;              /* [middle, in]; w NULL where middle == in */
    const float *depthwise, *depthwise_bias; /* [size][size][middle], NULL in bytes; [middle] */
    /* In int8 what ReLU6 leaves is bytes; the taps as depthwise_bytes wants them, and their scales. NULL elsewhere. */
    const int8_t *taps;
    const float *taps_scale;
    struct palme_linear project; /* [out, middle] */
};

enum { PALME_STEM_BLOCKS = 21, PALME_STEM_FIRST = 32 };

struct palme_stem {
    int blocks;
    const float *conv, *conv_bias; /* [3][3][3][32] (ky, kx, channel, out), [32] */
    struct palme_stem_block block[PALME_STEM_BLOCKS];
    struct palme_linear head; /* [1280, 320 or 352] */
};

void palme_stem_load(struct palme_loader *l, struct palme_stem *stem);

/* What a picture of height x width takes of the scratch. `arena` is where it was before, and `most` has grown. */
void palme_stem_reserve(struct palme_arena *arena, const struct palme_model *model, int height, int width);

/* features[height/32 * width/32][1280] from pixels[height][width][3], values 0..1. */
void palme_stem_run(const struct palme_model *model, struct palme_compute *c, float *features, const float *pixels,
                    int height, int width, struct palme_arena *scratch);

#endif
