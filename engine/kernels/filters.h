/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * filters.h - how a row of a depthwise convolution is cut into blocks of pixels by vectors of channels. For files that
 * are compiled once per level.
 */
#ifndef PALME_FILTERS_H
#define PALME_FILTERS_H

#include "kernels/vec.h"

#include "kernels/kernels.h"

enum { DEPTHWISE_PIXELS = 8 }; /* of a block: by one vector of channels, their sums fit the registers of every level */

/* Defines depthwise_SIZE_STRIDE(..., shape) for both sizes and strides, `...` their other parameters. They call
 * PIXELS(i, c, n, pixels, size, stride, inside) for each block: `pixels` of them from pixel i on, n channels from c on;
 * the other four are constants, `inside` says that no tap is outside of the row. The last block of a row begins early
 * enough to be a whole one: some pixels are made twice. */
#define DEPTHWISE_FUNCTIONS(PIXELS, ...)                                                                               \
    DEPTHWISE_FUNCTION(PIXELS, 3, 1, __VA_ARGS__)                                                                      \
    DEPTHWISE_FUNCTION(PIXELS, 3, 2, __VA_ARGS__)                                                                      \
    DEPTHWISE_FUNCTION(PIXELS, 5, 1, __VA_ARGS__)                                                                      \
    DEPTHWISE_FUNCTION(PIXELS, 5, 2, __VA_ARGS__)

#define DEPTHWISE_FUNCTION(PIXELS, size, stride, ...)                                                                  \
    static void depthwise_##size##_##stride(__VA_ARGS__, const struct palme_depthwise *shape)                          \
    {                                                                                                                  \
        int width = shape->width, last = width - DEPTHWISE_PIXELS;                                                     \
                                                                                                                       \
        for (int i = 0; last >= 0 && i < width; i += DEPTHWISE_PIXELS)                                                 \
            DEPTHWISE_BLOCK(PIXELS, (i < last ? i : last), DEPTHWISE_PIXELS, size, stride)                             \
        for (int i = 0; last < 0 && i < width; i++)                                                                    \
            DEPTHWISE_BLOCK(PIXELS, i, 1, size, stride)                                                                \
    }

#define DEPTHWISE_BLOCK(PIXELS, from, pixels, size, stride)                                                            \
    {                                                                                                                  \
        int first = from, column = stride * first - shape->left, c = 0;                                                \
                                                                                                                       \
        if (column >= 0 && column + (pixels - 1) * stride + size <= shape->in_width)                                   \
            for (; shape->channels - c >= VF; c += VF)                                                                 \
                PIXELS(first, c, VF, pixels, size, stride, 1);                                                         \
        else                                                                                                           \
            for (; shape->channels - c >= VF; c += VF)                                                                 \
                PIXELS(first, c, VF, pixels, size, stride, 0);                                                         \
        for (int p = 0; c < shape->channels && p < pixels; p++)                                                        \
            PIXELS(first + p, c, shape->channels - c, 1, size, stride, 0);                                             \
    }

/* Calls the one of them that the shape wants. */
#define DEPTHWISE_BY_SHAPE(shape, ...)                                                                                 \
    do {                                                                                                               \
        if (shape->size == 3 && shape->stride == 1)                                                                    \
            depthwise_3_1(__VA_ARGS__, shape);                                                                         \
        else if (shape->size == 3)                                                                                     \
            depthwise_3_2(__VA_ARGS__, shape);                                                                         \
        else if (shape->stride == 1)                                                                                   \
            depthwise_5_1(__VA_ARGS__, shape);                                                                         \
        else                                                                                                           \
            depthwise_5_2(__VA_ARGS__, shape);                                                                         \
    } while (0)

#endif
