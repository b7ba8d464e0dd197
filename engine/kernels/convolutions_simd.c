/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * convolutions_simd.c - the stem's convolutions in vector operations, compiled once per level like kernels_simd.c.
 *
 * Several output pixels are made at a time, so that each weight that is loaded serves all of them and their sums
 * hide each other's latency. What lies outside of the picture is left out rather than multiplied with zero, and
 * the order of a pixel's sum does not depend on the pixels that are made with it.
 */
#include "kernels/filters.h"

enum { RGB_PIXELS = 6 }; /* by two vectors of outputs: twelve sums, as in a tile of a linear layer */

/* ---- The first convolution ------------------------------------------------------------------ */

/* Some output pixels from pixel i on, in some vectors of outputs, the last of which has n lanes. `pixels`,
 * `vectors` and `inside` are constants where this is called; `inside`: all columns are in the picture. */
static inline __attribute__((always_inline)) void rgb_pixels(float *y, const float *const x[3], const float *w,
                                                             const float *b, int i, int in_width, int left, int out,
                                                             const int pixels, const int vectors, int n,
                                                             const int inside)
{
    vf sum[RGB_PIXELS][2];

    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++)
            sum[p][v] = vf_load_n(b + v * VF, v + 1 < vectors ? VF : n);
    for (int ky = 0; ky < 3; ky++) {
        if (!x[ky])
            continue;
        for (int t = 0; t < 9; t++) { /* three columns of three channels */
            const float *taps = w + (ky * 9 + t) * (ptrdiff_t)out;
            int column = 2 * i - left + t / 3;
            vf tap[2];

            if (!inside && (column < 0 || column >= in_width))
                continue;
            for (int v = 0; v < vectors; v++)
                tap[v] = vf_load_n(taps + v * VF, v + 1 < vectors ? VF : n);
            for (int p = 0; p < pixels; p++) {
                vf value = vf_set(x[ky][(2 * (i + p) - left) * 3 + t]);

                for (int v = 0; v < vectors; v++)
                    sum[p][v] = vf_fma(value, tap[v], sum[p][v]);
            }
        }
    }
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++)
            vf_store_n(y + (i + p) * (ptrdiff_t)out + v * VF, vf_relu6(sum[p][v]), v + 1 < vectors ? VF : n);
}

/* All pixels of a row in some vectors of outputs. The last whole block of those inside begins early enough to be
 * one: some pixels are made twice. */
static inline __attribute__((always_inline)) void rgb_row(float *y, const float *const x[3], const float *w,
                                                          const float *b, int width, int in_width, int left, int out,
                                                          const int vectors, int n)
{
    int begin = (left + 1) / 2, end = (in_width - 3 + left) / 2 + 1, i = 0;

    if (end > width)
        end = width;
    if (in_width < 3 || end - begin < RGB_PIXELS)
        begin = end = width;
    for (; i < begin; i++)
        rgb_pixels(y, x, w, b, i, in_width, left, out, 1, vectors, n, 0);
    for (; i < end; i += RGB_PIXELS)
        rgb_pixels(y, x, w, b, i + RGB_PIXELS <= end ? i : end - RGB_PIXELS, in_width, left, out, RGB_PIXELS, vectors,
                   n, 1);
    for (i = end; i < width; i++)
        rgb_pixels(y, x, w, b, i, in_width, left, out, 1, vectors, n, 0);
}

static void conv_rgb(float *y, const float *const x[3], const float *w, const float *b, int width, int in_width,
                     int left, int out)
{
    int o = 0;

    for (; out - o >= 2 * VF; o += 2 * VF)
        rgb_row(y + o, x, w + o, b + o, width, in_width, left, out, 2, VF);
    for (; o < out; o += VF)
        rgb_row(y + o, x, w + o, b + o, width, in_width, left, out, 1, out - o < VF ? out - o : VF);
}

/* ---- Depthwise convolutions ----------------------------------------------------------------- */

/* Some output pixels of a row, `pixels` of them from pixel i on, in one vector of channels: their sums stay in
 * registers, and of the weights those of one row of taps. `pixels`, `size`, `stride` and `inside` are constants
 * where this is called; `inside`: all columns are in the picture. The vector has n lanes. */
static inline __attribute__((always_inline)) void depthwise_pixels(float *y, const float *const x[], const float *w,
                                                                   const float *b, const struct palme_depthwise *shape,
                                                                   int i, int c, int n, const int pixels,
                                                                   const int size, const int stride, const int inside)
{
    int column = stride * i - shape->left;
    vf sum[DEPTHWISE_PIXELS], bias = vf_load_n(b + c, n);

    for (int p = 0; p < pixels; p++)
        sum[p] = bias;
    for (int ky = 0; ky < size; ky++) {
        const float *taps = w + (ky * size * shape->w_stride + c);
        vf tap[5];

        if (!x[ky])
            continue;
        VEC_UNROLL
        for (int kx = 0; kx < size; kx++)
            tap[kx] = vf_load_n(taps + kx * shape->w_stride, n);
        VEC_UNROLL
        for (int j = 0; j < (pixels - 1) * stride + size; j++) {
            if (!inside && (column + j < 0 || column + j >= shape->in_width))
                continue;
            vf value = vf_load_n(x[ky] + ((column + j) * shape->x_stride + c), n);

            VEC_UNROLL
            for (int kx = 0; kx < size; kx++)
                if (j >= kx && (j - kx) % stride == 0 && (j - kx) / stride < pixels)
                    sum[(j - kx) / stride] = vf_fma(value, tap[kx], sum[(j - kx) / stride]);
        }
    }
    for (int p = 0; p < pixels; p++)
        vf_store_n(y + ((i + p) * shape->y_stride + c), vf_relu6(sum[p]), n);
}

#define PIXELS(i, c, n, pixels, size, stride, inside)                                                                  \
    depthwise_pixels(y, x, w, b, shape, i, c, n, pixels, size, stride, inside)
DEPTHWISE_FUNCTIONS(PIXELS, float *y, const float *const x[], const float *w, const float *b)
#undef PIXELS

static void depthwise(float *y, const float *const x[], const float *w, const float *b,
                      const struct palme_depthwise *shape)
{
    DEPTHWISE_BY_SHAPE(shape, y, x, w, b);
}

/* ---- The level ------------------------------------------------------------------------------ */

void VEC_NAME(palme_convolutions_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_convolutions_init)(struct palme_kernels *kernels)
{
    kernels->conv_rgb = conv_rgb;
    kernels->depthwise = depthwise;
}
