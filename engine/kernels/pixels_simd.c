/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pixels_simd.c - the loops of pixels.c in vector operations, compiled once per level like kernels_simd.c.
 * Everything but the level's init is static.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/vec.h"

_Static_assert(PALME_TAPS_STEP == 8, "a span has the lanes of a short row");

/* Masked stores are slow on some machines, so only the last vector of a row has one. */
static inline void store_left(float *y, vf a, int count)
{
    if (count == VF)
        vf_store(y, a);
    else
        vf_store_n(y, a, count);
}

static void filter_vertical(float *y, const uint8_t *const x[], const float *w, int rows, int n, int more)
{
    enum { WIDE = 4 }; /* vectors whose sums stay in registers */
    int i = 0;

    for (; n - i >= WIDE * VF; i += WIDE * VF) {
        vf sum[WIDE];

        for (int v = 0; v < WIDE; v++)
            sum[v] = more ? vf_load(y + i + v * VF) : vf_set(0);
        for (int k = 0; k < rows; k++) {
            vf weight = vf_set(w[k]);

            for (int v = 0; v < WIDE; v++)
                sum[v] = vf_fma(vf_load_bytes(x[k] + i + v * VF), weight, sum[v]);
        }
        for (int v = 0; v < WIDE; v++)
            vf_store(y + i + v * VF, sum[v]);
    }
    for (; i < n; i += VF) {
        int count = vf_left(n, i);
        vf sum = more ? vf_load_n(y + i, count) : vf_set(0);

        for (int k = 0; k < rows; k++)
            sum = vf_fma(count == VF ? vf_load_bytes(x[k] + i) : vf_load_bytes_n(x[k] + i, count), vf_set(w[k]), sum);
        vf_store_n(y + i, sum, count);
    }
}

/* `channels` is a constant where this is called. */
static inline __attribute__((always_inline)) void unzip_by(float *const y[], const float *x, const int channels, int n)
{
    for (int i = 0; i < n; i += VF) {
        vf in[4], out[4];
        int count = vf_left(n, i);

        for (int v = 0; v < channels; v++) {
            int rest = count * channels - v * VF;

            in[v] = count == VF ? vf_load(x + (ptrdiff_t)i * channels + v * VF)
                                : vf_load_n(x + (ptrdiff_t)i * channels + (rest > 0 ? v * VF : 0), rest < 0    ? 0
                                                                                                   : rest < VF ? rest
                                                                                                               : VF);
        }
        if (channels == 2)
            vf_deinterleave_2(out, in);
        else if (channels == 3)
            vf_deinterleave_3(out, in);
        else
            vf_deinterleave_4(out, in);
        for (int c = 0; c < channels; c++)
            if (y[c])
                store_left(y[c] + i, out[c], count);
    }
}

static void deinterleave(float *const y[], const float *x, int channels, int n)
{
    if (channels == 2)
        unzip_by(y, x, 2, n);
    else if (channels == 3)
        unzip_by(y, x, 3, n);
    else
        unzip_by(y, x, 4, n);
}

/* `steps` is a constant where this is called and small; 0: any number. */
static inline __attribute__((always_inline)) void spans_by(float *y, const float *x, const float *w, const int *first,
                                                           const int steps, int taps, int n)
{
    const int end = steps ? steps * PALME_TAPS_STEP : taps;

    for (int i = 0; i < n; i += VF) {
        vf sum[8];

        VEC_UNROLL
        for (int j = 0; j < 8; j++) {
            const float *from[EIGHTS_ROWS], *weight[EIGHTS_ROWS];

            for (int r = 0; r < EIGHTS_ROWS; r++) {
                int place = i + vf_eights_row(j, r);

                place = place < n ? place : n - 1; /* one that exists, whose sum is dropped */
                from[r] = x + first[place];
                weight[r] = w + (ptrdiff_t)place * end;
            }
            sum[j] = vf_mul(vf_load_eights(weight, j), vf_load_eights(from, j));
            for (int k = PALME_TAPS_STEP; k < end; k += PALME_TAPS_STEP) {
                for (int r = 0; r < EIGHTS_ROWS; r++) {
                    from[r] += PALME_TAPS_STEP;
                    weight[r] += PALME_TAPS_STEP;
                }
                sum[j] = vf_fma(vf_load_eights(weight, j), vf_load_eights(from, j), sum[j]);
            }
        }
        store_left(y + i, vf_sum_eights(sum), vf_left(n, i));
    }
}

static void filter_horizontal(float *y, const float *x, const float *w, const int *first, int taps, int n)
{
    switch (taps / PALME_TAPS_STEP) {
    case 1: spans_by(y, x, w, first, 1, taps, n); break;
    case 2: spans_by(y, x, w, first, 2, taps, n); break;
    case 3: spans_by(y, x, w, first, 3, taps, n); break;
    case 4: spans_by(y, x, w, first, 4, taps, n); break;
    default: spans_by(y, x, w, first, 0, taps, n); break;
    }
}

/* The compiler makes vectors of the loops over pixels: a pixel is a word, its first byte the lowest. */

static inline uint32_t load_pixel(const uint8_t *x)
{
    uint32_t pixel;

    memcpy(&pixel, x, sizeof pixel);
    return pixel;
}

static int opaque(const uint8_t *x, int alpha, int n)
{
    uint32_t all = 0xFFFFFFFF;

    for (int i = 0; i < n; i++)
        all &= load_pixel(x + (ptrdiff_t)i * 4);
    return (all >> 8 * alpha & 0xFF) == 0xFF;
}

/* Two bytes of a pixel, 16 bits apart, over white: 255 - a (255 - v) / 255. The quotient is rounded exactly: with t =
 * p + 128 it is (t + t / 256) / 256 for each product p of two bytes. */
static inline uint32_t straight_over_white(uint32_t two, uint32_t a)
{
    uint32_t t = (two ^ 0x00FF00FF) * a + 0x00800080;

    return ((t + (t >> 8 & 0x00FF00FF)) >> 8 & 0x00FF00FF) ^ 0x00FF00FF;
}

/* v + 255 - a; a sum that has reached the ninth bit is 255. */
static inline uint32_t premultiplied_over_white(uint32_t two, uint32_t a)
{
    uint32_t sum = two + (255 - a) * 0x00010001;

    return (sum | (sum >> 8 & 0x00010001) * 255) & 0x00FF00FF;
}

/* `premultiplied` is a constant where this is called. */
static inline __attribute__((always_inline)) void over_white_by(uint8_t *restrict out, const uint8_t *restrict x,
                                                                int alpha, const int premultiplied, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t pixel = load_pixel(x + (ptrdiff_t)i * 4), a = pixel >> 8 * alpha & 0xFF;
        uint32_t even = pixel & 0x00FF00FF, odd = pixel >> 8 & 0x00FF00FF;

        even = premultiplied ? premultiplied_over_white(even, a) : straight_over_white(even, a);
        odd = premultiplied ? premultiplied_over_white(odd, a) : straight_over_white(odd, a);
        pixel = even | odd << 8;
        memcpy(out + (ptrdiff_t)i * 4, &pixel, sizeof pixel);
    }
}

static void over_white(uint8_t *out, const uint8_t *x, int alpha, int premultiplied, int n)
{
    if (premultiplied)
        over_white_by(out, x, alpha, 1, n);
    else
        over_white_by(out, x, alpha, 0, n);
}

static void colour(uint8_t *out, const float *const x[3], const float m[3][4], int n)
{
    for (int i = 0; i < n; i += VF) {
        vf a = vf_load_n(x[0] + i, vf_left(n, i)), b = vf_load_n(x[1] + i, vf_left(n, i));
        vf c = vf_load_n(x[2] + i, vf_left(n, i)), v[3];

        for (int to = 0; to < 3; to++) {
            v[to] = vf_fma(vf_set(m[to][2]), c, vf_set(m[to][3]));
            v[to] = vf_fma(vf_set(m[to][0]), a, vf_fma(vf_set(m[to][1]), b, v[to]));
            v[to] = vf_min(vf_max(v[to], vf_set(0)), vf_set(255));
        }
        vf_store_colours_n(out + (ptrdiff_t)i * 3, v[0], v[1], v[2], vf_left(n, i));
    }
}

void VEC_NAME(palme_pixels_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_pixels_init)(struct palme_kernels *kernels)
{
    kernels->filter_vertical = filter_vertical;
    kernels->deinterleave = deinterleave;
    kernels->filter_horizontal = filter_horizontal;
    kernels->opaque = opaque;
    kernels->over_white = over_white;
    kernels->colour = colour;
}
