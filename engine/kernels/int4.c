/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * int4.c - weights of 4 bits: how a row of floats becomes groups of them, and the plain-C reference of their kernels.
 *
 * Sums of a group are whole numbers and exact; what is done to them in floats is written down operation by operation in
 * kernels.h. So every level gives the bits of these loops.
 */
#include "kernels/plain.h"

#include <math.h>
#include <string.h>

enum {
    GROUP = PALME_INT4_GROUP,
    QUAD = 4,
    QUAD_PAIR_BYTES = PALME_PANEL * QUAD,               /* two quads of all outputs of a panel */
    NIBBLES_BYTES = GROUP / QUAD / 2 * QUAD_PAIR_BYTES, /* of a group */
    LANES = 8
};

/* ---- Packing ------------------------------------------------------------------------------- */

/* q[GROUP] = w / scale in -8..7. Returns the sum of w q and, in *squares, of q q. */
static float round_group(float q[GROUP], const float w[GROUP], float scale, float *squares)
{
    const float whole = 12582912; /* as in palme_quantize_value */
    float factor = 1 / scale, products[LANES] = { 0 }, squared[LANES] = { 0 };

    for (int i = 0; i < GROUP; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float x = w[i + l] * factor;

            x = x < -8 ? -8 : x > 7 ? 7 : x;
            q[i + l] = (x + whole) - whole;
            products[l] += w[i + l] * q[i + l];
            squared[l] += q[i + l] * q[i + l];
        }
    for (int l = 1; l < LANES; l++)
        products[0] += products[l], squared[0] += squared[l];
    *squares = squared[0];
    return products[0];
}

static float error_of(const float q[GROUP], const float w[GROUP], float scale)
{
    float errors[LANES] = { 0 };

    for (int i = 0; i < GROUP; i += LANES)
        for (int l = 0; l < LANES; l++)
            errors[l] += (w[i + l] - scale * q[i + l]) * (w[i + l] - scale * q[i + l]);
    for (int l = 1; l < LANES; l++)
        errors[0] += errors[l];
    return errors[0];
}

static float as_bf16(float x)
{
    return palme_bf16_widen(palme_bf16_round(x));
}

float palme_int4_round(int8_t q[GROUP], const float w[GROUP])
{
    /* What the largest weight becomes at first: beyond the -8, where others may gain, or 7. */
    static const float ends[] = { -8, -8.5f, -9, 7 };
    float most = 0, best = INFINITY, scale = 0, tried[GROUP], sized[GROUP];

    memset(q, 0, GROUP);
    for (int i = 0; i < GROUP; i++) {
        if (!isfinite(w[i]))
            return NAN;
        if (fabsf(w[i]) > fabsf(most))
            most = w[i];
    }
    if (fabsf(most) < PALME_QUANTIZATION_MIN)
        return 0;
    for (int i = 0; i < GROUP; i++) /* squares of all sizes are numbers */
        sized[i] = w[i] / most;
    for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
        float squares, products = round_group(tried, sized, 1 / ends[e], &squares);
        float fitted = as_bf16(products / squares * most), error = error_of(tried, sized, fitted / most);

        if (error < best) {
            best = error;
            scale = fitted;
            for (int i = 0; i < GROUP; i++)
                q[i] = (int8_t)tried[i];
        }
    }
    return scale;
}

/* Where input k of output o is in its panel: its byte, and the place of its group's scale. */
static size_t byte_of(int k, int o)
{
    int unit = k / PALME_INT4_UNIT, group = k / GROUP % 2, quad = k % GROUP / QUAD;

    return (size_t)unit * PALME_INT4_UNIT_BYTES +
           (size_t)(group * NIBBLES_BYTES + quad / 2 * QUAD_PAIR_BYTES + o * QUAD + k % QUAD);
}

static size_t scale_of(int group, int o)
{
    return (size_t)(group / 2) * PALME_INT4_UNIT_BYTES + 2 * NIBBLES_BYTES + (size_t)(2 * o + group % 2) * 2;
}

void palme_int4_pack(uint8_t *panel, int o, const float *row, int in)
{
    for (int first = 0; first < PALME_INT4_PADDED(in); first += GROUP) {
        float w[GROUP] = { 0 };
        int8_t q[GROUP];

        if (first < in)
            memcpy(w, row + first, (size_t)(in - first < GROUP ? in - first : GROUP) * sizeof *w);
        uint16_t scale = palme_bf16_round(palme_int4_round(q, w));

        memcpy(panel + scale_of(first / GROUP, o), &scale, sizeof scale);
        for (int i = 0; i < GROUP; i += i % QUAD == QUAD - 1 ? 1 + QUAD : 1) /* a quad, and over the next one */
            panel[byte_of(first + i, o)] = (uint8_t)((q[i] + 8) | (q[i + QUAD] + 8) << 4);
    }
}

float palme_int4_weight(const uint8_t *panel, int o, int k)
{
    uint16_t scale;

    memcpy(&scale, panel + scale_of(k / GROUP, o), sizeof scale);
    int nibble = panel[byte_of(k, o)] >> 4 * (k / QUAD % 2) & 15;

    return (float)(nibble - 8) * palme_bf16_widen(scale);
}

/* ---- The kernels --------------------------------------------------------------------------- */

static void quantize_int4_c(int8_t *q, struct palme_quantization *quantization, const float *x, int n)
{
    float factor;

    *quantization = (struct palme_quantization){ palme_quantization_scale(&factor, x, n), 0 };
    for (int first = 0; first < PALME_INT4_PADDED(n); first += GROUP, q += PALME_INT4_GROUP_BYTES) {
        int32_t offset = 0;

        for (int i = 0; i < GROUP; i++) {
            q[i] = first + i < n ? palme_quantize_value(x[first + i], factor) : 0;
            offset -= 8 * q[i];
        }
        memcpy(q + GROUP, &offset, sizeof offset);
    }
}

static void linear_int4_c(float *y, const int8_t *x, const struct palme_quantization *quantization, const uint8_t *w,
                          const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                          enum palme_activation activation)
{
    int groups = PALME_INT4_PADDED(in) / GROUP;

    for (int o = 0; o < out; o++) {
        const uint8_t *panel = w + (size_t)(o / PALME_PANEL) * PALME_INT4_PANEL_BYTES(in);

        for (int row = 0; row < rows; row++) {
            const int8_t *values = x + (size_t)row * PALME_INT4_ROW_BYTES(in);
            float sum = 0;

            for (int g = 0; g < groups; g++, values += PALME_INT4_GROUP_BYTES) {
                uint16_t scale;
                int32_t whole;

                memcpy(&scale, panel + scale_of(g, o % PALME_PANEL), sizeof scale);
                memcpy(&whole, values + GROUP, sizeof whole);
                for (int i = 0; i < GROUP; i++)
                    whole += values[i] * (panel[byte_of(g * GROUP + i, o % PALME_PANEL)] >> 4 * (i / QUAD % 2) & 15);
                sum = fmaf((float)whole, palme_bf16_widen(scale), sum);
            }
            sum = fmaf(sum, quantization[row].scale, b ? b[o] : 0);
            store_activated(&y[row * y_stride + o], sum, activation);
        }
    }
}

void palme_int4_init_c(struct palme_kernels *kernels); /* kernels.c calls it */

void palme_int4_init_c(struct palme_kernels *kernels)
{
    kernels->quantize_int4 = quantize_int4_c;
    kernels->linear_int4 = linear_int4_c;
}
