/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pixels.c - the reference of the kernels for rows of pictures, in plain C. A square of pixels is bytes, and half a
 * unit in the last place decides which of two bytes a value becomes; so these loops do in single precision what
 * kernels.h says, operation by operation, and every level gives the same square. How far that is from the exact sums
 * is a question for tests/check_pixels and tests/check_image.
 */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* a b + c, rounded once. In double a product of two floats is exact and the sum is off by up to half a unit in its last
 * place, which matters only where it falls in the middle between two floats: there the part that was lost decides. */
static inline float fused(float a, float b, float c)
{
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    double product = (double)a * b, sum = product + c, rest, lost;
    uint64_t bits;

    memcpy(&bits, &sum, sizeof bits);
    if ((bits & 0x1fffffff) != 0x10000000)
        return (float)sum;
    rest = sum - product;
    lost = (product - (sum - rest)) + (c - rest);
    if (lost != 0) {
        bits += (lost > 0) == (sum > 0) ? 1 : (uint64_t)-1;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
#endif
}

static void sum_rows_c(float *y, const uint8_t *const x[], const float *w, int rows, int n, int more)
{
    for (int i = 0; i < n; i++) {
        float sum = more ? y[i] : 0;

        for (int k = 0; k < rows; k++)
            sum = fused(x[k][i], w[k], sum);
        y[i] = sum;
    }
}

static void unzip_c(float *const y[], const float *x, int channels, int n)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; y[c] && i < n; i++)
            y[c][i] = x[(ptrdiff_t)i * channels + c];
}

static void sum_spans_c(float *y, const float *x, const float *w, const int *first, int taps, int n)
{
    for (int i = 0; i < n; i++, w += taps) {
        const float *from = x + first[i];
        float lane[PALME_TAPS_STEP];

        for (int k = 0; k < PALME_TAPS_STEP; k++)
            lane[k] = w[k] * from[k];
        for (int k = PALME_TAPS_STEP; k < taps; k++)
            lane[k % PALME_TAPS_STEP] = fused(w[k], from[k], lane[k % PALME_TAPS_STEP]);
        for (int width = 1; width < PALME_TAPS_STEP; width *= 2)
            for (int l = 0; l < PALME_TAPS_STEP; l += 2 * width)
                lane[l] += lane[l + width];
        y[i] = lane[0];
    }
}

static int opaque_c(const uint8_t *x, int alpha, int n)
{
    for (int i = 0; i < n; i++)
        if (x[(ptrdiff_t)i * 4 + alpha] != 255)
            return 0;
    return 1;
}

static void over_white_c(uint8_t *out, const uint8_t *x, int alpha, int premultiplied, int n)
{
    for (int i = 0; i < n; i++, x += 4, out += 4)
        for (int c = 0; c < 4; c++) {
            int a = x[alpha], v = premultiplied ? x[c] + 255 - a : (a * x[c] + (255 - a) * 255 + 127) / 255;

            out[c] = v < 255 ? (uint8_t)v : 255;
        }
}

static void colour_c(uint8_t *out, const float *const x[3], const float m[3][4], int n)
{
    const float whole = 12582912; /* 1.5 * 2^23: its neighbours are whole numbers apart, halves go to the even one */

    for (int i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) {
            float v = fused(m[c][0], x[0][i], fused(m[c][1], x[1][i], fused(m[c][2], x[2][i], m[c][3])));

            v = v > 0 ? v : 0;
            v = v < 255 ? v : 255;
            *out++ = (uint8_t)((v + whole) - whole);
        }
    }
}

void palme_pixels_init_c(struct palme_kernels *kernels); /* kernels.c calls it */

void palme_pixels_init_c(struct palme_kernels *kernels)
{
    kernels->filter_vertical = sum_rows_c;
    kernels->deinterleave = unzip_c;
    kernels->filter_horizontal = sum_spans_c;
    kernels->opaque = opaque_c;
    kernels->over_white = over_white_c;
    kernels->colour = colour_c;
}
