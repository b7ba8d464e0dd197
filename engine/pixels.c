/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pixels.c - the truth of the kernels for rows of pictures, in plain C. Sums are kept in double, as in
 * kernels.c.
 */
#include "kernels.h"

static void sum_rows_c(float *y, const uint8_t *const x[], const float *w, int rows, int n, int more)
{
    for (int i = 0; i < n; i++) {
        double sum = more ? (double)y[i] : 0;

        for (int k = 0; k < rows; k++)
            sum += (double)w[k] * x[k][i];
        y[i] = (float)sum;
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
        double sum = 0;

        for (int k = 0; k < taps; k++)
            sum += (double)w[k] * x[first[i] + k];
        y[i] = (float)sum;
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
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) {
            double v = (double)m[c][0] * x[0][i] + (double)m[c][1] * x[1][i] + (double)m[c][2] * x[2][i] +
                       (double)m[c][3] + 0.5;

            *out++ = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
        }
    }
}

void palme_pixels_init_c(struct palme_kernels *kernels); /* kernels.c calls it */

void palme_pixels_init_c(struct palme_kernels *kernels)
{
    kernels->sum_rows = sum_rows_c;
    kernels->unzip = unzip_c;
    kernels->sum_spans = sum_spans_c;
    kernels->opaque = opaque_c;
    kernels->over_white = over_white_c;
    kernels->colour = colour_c;
}
