/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stem.c - the optional convolutional stem: an EfficientNet-Lite trunk in front of the ViT.
 *
 * Maps are [height][width][channels], so that a 1x1 convolution is a linear layer over the pixels and the
 * inner loop of a depthwise one runs over channels. Batch norm is folded into the weights; activations are
 * ReLU6; padding is TensorFlow's SAME, which for stride 2 is asymmetric.
 */
#include "model.h"

/* Padding before the first pixel for `size` taps over m pixels in steps of `stride`. */
static int same_before(int m, int size, int stride)
{
    int total = ((m + stride - 1) / stride - 1) * stride + size - m;

    return total > 0 ? total / 2 : 0;
}

static int steps(int m, int stride)
{
    return (m + stride - 1) / stride;
}

/* The largest of each kind of map for this picture, in floats: what goes from block to block (two of
 * those), what `expand` makes, and what `depthwise` makes. */
struct maps {
    size_t block, expanded, narrow;
};

static void grow(size_t *most, int height, int width, int channels)
{
    size_t size = (size_t)height * (size_t)width * (size_t)channels;

    if (size > *most)
        *most = size;
}

static struct maps largest_maps(const struct palme_stem *stem, int height, int width)
{
    struct maps maps = { 0, 0, 0 };

    grow(&maps.expanded, height, width, 3);
    height = steps(height, 2);
    width = steps(width, 2);
    grow(&maps.block, height, width, PALME_STEM_FIRST);
    for (int i = 0; i < stem->blocks; i++) {
        const struct palme_stem_block *block = &stem->block[i];

        if (block->expand.w)
            grow(&maps.expanded, height, width, block->middle);
        height = steps(height, block->stride);
        width = steps(width, block->stride);
        grow(&maps.narrow, height, width, block->middle);
        grow(&maps.block, height, width, block->out);
    }
    return maps;
}

size_t palme_stem_scratch(const struct palme_model *model, int height, int width)
{
    if (model->params.stem == PALME_STEM_NONE)
        return 0;
    struct maps maps = largest_maps(&model->weights.stem, height, width);
    return 2 * maps.block + maps.expanded + maps.narrow;
}

struct conv_job {
    const struct palme_kernels *kernels;
    float *y;
    const float *x, *w, *b;
    int height, width, channels; /* of the input */
    int out_width, out_channels;
    int size, stride, top, left;
};

/* The input rows that output row i reads; NULL for padding. */
static void input_rows(const float *rows[5], const struct conv_job *job, int i)
{
    for (int ky = 0; ky < job->size; ky++) {
        int row = i * job->stride - job->top + ky;

        rows[ky] = row < 0 || row >= job->height
                       ? NULL : job->x + (size_t)row * job->width * job->channels;
    }
}

static void conv_rgb_row(void *user, int i)
{
    const struct conv_job *job = user;
    const float *rows[5];

    input_rows(rows, job, i);
    job->kernels->conv_rgb(job->y + (size_t)i * job->out_width * job->out_channels, rows, job->w, job->b,
                           job->out_width, job->width, job->left, job->out_channels);
}

static void depthwise_row(void *user, int i)
{
    const struct conv_job *job = user;
    const float *rows[5];

    input_rows(rows, job, i);
    job->kernels->depthwise(job->y + (size_t)i * job->out_width * job->out_channels, rows, job->w, job->b,
                            job->out_width, job->width, job->left, job->channels, job->size, job->stride);
}

static void convolve(struct palme_compute *c, struct conv_job *job, void (*row)(void *user, int i))
{
    int out_height = steps(job->height, job->stride);
    double taps = (double)job->size * job->size * (row == conv_rgb_row ? 3 : 1);

    job->kernels = c->kernels;
    job->out_width = steps(job->width, job->stride);
    job->top = same_before(job->height, job->size, job->stride);
    job->left = same_before(job->width, job->size, job->stride);
    palme_parallel(c, out_height, 2 * taps * out_height * job->out_width * job->out_channels, row, job);
}

void palme_stem_run(const struct palme_model *model, struct palme_compute *c, float *features,
                    const float *pixels, int height, int width, float *scratch)
{
    const struct palme_stem *stem = &model->weights.stem;
    struct maps maps = largest_maps(stem, height, width);
    float *x = scratch, *next = x + maps.block, *expanded = next + maps.block;
    float *narrow = expanded + maps.expanded;

    for (size_t i = 0; i < (size_t)height * width * 3; i++)
        expanded[i] = (255 * pixels[i] - 127) / 128;
    convolve(c, &(struct conv_job){ .y = x, .x = expanded, .w = stem->conv, .b = stem->conv_bias,
                                    .height = height, .width = width, .channels = 3,
                                    .out_channels = PALME_STEM_FIRST, .size = 3, .stride = 2 },
             conv_rgb_row);
    height = steps(height, 2);
    width = steps(width, 2);

    for (int i = 0; i < stem->blocks; i++) {
        const struct palme_stem_block *block = &stem->block[i];
        const float *wide = x;

        if (block->expand.w) {
            palme_linear(c, expanded, x, &block->expand, height * width);
            wide = expanded;
        }
        convolve(c, &(struct conv_job){ .y = narrow, .x = wide, .w = block->depthwise,
                                        .b = block->depthwise_bias, .height = height, .width = width,
                                        .channels = block->middle, .out_channels = block->middle,
                                        .size = block->size, .stride = block->stride },
                 depthwise_row);
        height = steps(height, block->stride);
        width = steps(width, block->stride);
        palme_linear(c, next, narrow, &block->project, height * width);
        if (block->skip)
            palme_add(c, next, x, height * width, block->out);

        float *swap = x;
        x = next;
        next = swap;
    }
    palme_linear(c, features, x, &stem->head, height * width);
}
