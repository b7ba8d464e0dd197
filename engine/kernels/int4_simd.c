/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * int4_simd.c - the loops of int4.c in vector operations. The build compiles this file once per level, as it does with
 * int8_simd.c.
 *
 * A weight plus 8 is a byte 0..15, and the products of 32 of them with a row's numbers fit into sums of 16 bits where
 * the instructions make those. A row of activations is stored plainly, with what the 8 has to be taken back of.
 */
#include "kernels/tiles.h"

#include <math.h>
#include <string.h>

enum {
    GROUP = PALME_INT4_GROUP,
    LINE = 64,
    QUAD_PAIR_BYTES = PALME_PANEL * 4, /* two quads of all outputs of a panel: the low halves of bytes, and the high */
    QUAD_PAIRS = GROUP / 8,
    INT4_ROWS = VEC_REGISTERS > 16 ? 5 : 4, /* of a tile of one panel */
    INT4_WIDE = 2                           /* panels of a single row */
};

static void quantize_int4(int8_t *q, struct palme_quantization *quantization, const float *x, int n)
{
    const float whole = 12582912; /* as in palme_quantize_value */
    vf best = vf_set(0);
    int first = 0;

    for (int i = 0; i < n; i += VF)
        best = vf_maximum(best, vf_abs(vf_load_n(x + i, vf_left(n, i))));
    float most = vf_highest(best), factor = 0;

    *quantization = (struct palme_quantization){ 0, 0 };
    if (!(most < INFINITY))
        quantization->scale = NAN;
    else if (most >= PALME_QUANTIZATION_MIN) {
        quantization->scale = most / 127;
        factor = 127 / most;
    }
    for (; factor > 0 && n - first >= GROUP; first += GROUP, q += PALME_INT4_GROUP_BYTES) {
        int32_t numbers[GROUP], offset = 0;

        for (int i = 0; i < GROUP; i++)
            numbers[i] = (int32_t)((x[first + i] * factor + whole) - whole);
        for (int i = 0; i < GROUP; i++)
            offset -= 8 * numbers[i];
        for (int i = 0; i < GROUP; i++)
            q[i] = (int8_t)numbers[i];
        memcpy(q + GROUP, &offset, sizeof offset);
    }
    for (; first < PALME_INT4_PADDED(n); first += GROUP, q += PALME_INT4_GROUP_BYTES) {
        int32_t offset = 0;

        for (int i = 0; i < GROUP; i++) {
            q[i] = first + i < n ? palme_quantize_value(x[first + i], factor) : 0;
            offset -= 8 * q[i];
        }
        memcpy(q + GROUP, &offset, sizeof offset);
    }
}

struct product {
    float *y;
    const int8_t *x;
    const struct palme_quantization *quantization;
    const uint8_t *w;
    const float *b;
    int units;
    size_t x_stride, panel; /* bytes from a row to the next, and from a panel of a tile */
    ptrdiff_t y_stride;
    enum palme_activation activation;
    int apart; /* panels from one of a tile to the next */
};

/* The sums of a group, [rows][panels][PARTS], times its scales are added to those of the rows. `odd`: it is the second
 * group of a unit. All numbers are constants where this is called. */
static inline __attribute__((always_inline)) void add_group(vf *all, const struct product *p, const int8_t *x,
                                                            const uint8_t *w, const int odd, const int rows,
                                                            const int panels)
{
    vn sum[MOST_ROWS * MOST_PANELS * PARTS];

    VEC_UNROLL
    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = vn_zero();
    for (int j = 0; j < QUAD_PAIRS; j++) {
        vb low[MOST_PANELS * PARTS], high[MOST_PANELS * PARTS];
        const uint8_t *at = w + (odd * QUAD_PAIRS + j) * QUAD_PAIR_BYTES;

        if (rows < INT4_ROWS)
            vec_prefetch(at, panels, p->panel, SIZE_MAX);
        VEC_UNROLL
        for (int i = 0; i < panels * PARTS; i++) {
            vb both = vb_load(at + (size_t)(i / PARTS) * p->panel + i % PARTS * (4 * VF));

            low[i] = vb_low(both);
            high[i] = vb_high(both);
        }
        VEC_UNROLL
        for (int r = 0; r < rows; r++) {
            const int8_t *quads = x + (size_t)r * p->x_stride + j * 8;
            vb first = vb_set(quads), second = vb_set(quads + 4);

            VEC_UNROLL
            for (int i = 0; i < panels * PARTS; i++) {
                vn *s = &sum[r * panels * PARTS + i];

                *s = vn_dot(vn_dot(*s, low[i], first), high[i], second);
            }
        }
    }
    VEC_UNROLL
    for (int r = 0; r < rows; r++) {
        int32_t offset;

        memcpy(&offset, x + (size_t)r * p->x_stride + GROUP, sizeof offset);
        VEC_UNROLL
        for (int i = 0; i < panels * PARTS; i++) {
            const uint16_t *scales =
                (const uint16_t *)(const void *)(w + 2 * QUAD_PAIRS * QUAD_PAIR_BYTES + (size_t)(i / PARTS) * p->panel);
            vf scale = odd ? vf_load_odd(scales + i % PARTS * (2 * VF)) : vf_load_even(scales + i % PARTS * (2 * VF));

            all[r * panels * PARTS + i] =
                vf_fma(vi_to_float(vn_wide(sum[r * panels * PARTS + i]), offset), scale, all[r * panels * PARTS + i]);
        }
    }
}

static inline __attribute__((always_inline)) void tile(const struct product *p, int row, int first, int outs,
                                                       const int rows, const int panels)
{
    const uint8_t *w = p->w + (size_t)(first / PALME_PANEL) * (p->panel / (size_t)p->apart);
    const int8_t *x = p->x + (size_t)row * p->x_stride;
    vf sum[MOST_ROWS * MOST_PANELS * PARTS];

    VEC_UNROLL
    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = vf_set(0);
    for (int u = 0; u < p->units; u++) {
        add_group(sum, p, x, w, 0, rows, panels);
        add_group(sum, p, x + PALME_INT4_GROUP_BYTES, w, 1, rows, panels);
        x += 2 * PALME_INT4_GROUP_BYTES;
        w += PALME_INT4_UNIT_BYTES;
    }
    VEC_UNROLL
    for (int r = 0; r < rows; r++) {
        vf scale = vf_set(p->quantization[row + r].scale);

        VEC_UNROLL
        for (int i = 0; i < panels * PARTS; i++) {
            int at = first + i * VF + i / PARTS * (p->apart - 1) * PALME_PANEL;

            if (i * VF < outs)
                store_activated(p->y + (row + r) * p->y_stride + at,
                                vf_fma(sum[r * panels * PARTS + i], scale, p->b ? vf_load(p->b + at) : vf_set(0)),
                                vf_left(outs, i * VF), p->activation);
        }
    }
}

#define TILE_FUNCTION(name, rows, panels)                                                                              \
    static __attribute__((noinline)) void name(const struct product *p, int row, int first, int outs)                  \
    {                                                                                                                  \
        tile(p, row, first, outs, rows, panels);                                                                       \
    }
TILE_FUNCTION(full_int4, INT4_ROWS, 1)
TILE_FUNCTION(wide_int4, 1, INT4_WIDE)

static void panel_of_rows(const struct product *p, int rows, int first, int outs)
{
#define TILE(n) tile(p, row, first, outs, n, 1)
    int row = 0;

    for (; rows - row >= INT4_ROWS; row += INT4_ROWS)
        full_int4(p, row, first, outs);
    REST_OF_ROWS(rows - row, INT4_ROWS, TILE)
#undef TILE
}

static void linear_int4(float *y, const int8_t *x, const struct palme_quantization *quantization, const uint8_t *w,
                        const float *b, int rows, int in, int out, ptrdiff_t y_stride, enum palme_activation activation)
{
    int apart = panel_stride(rows, out, INT4_WIDE), first = 0;
    struct product p = { .y = y,
                         .x = x,
                         .quantization = quantization,
                         .w = w,
                         .b = b,
                         .units = PALME_INT4_PADDED(in) / PALME_INT4_UNIT,
                         .x_stride = PALME_INT4_ROW_BYTES(in),
                         .panel = (size_t)apart * PALME_INT4_PANEL_BYTES(in),
                         .y_stride = y_stride,
                         .activation = activation,
                         .apart = apart };

    for (int panel = 0; panel < apart; panel++)
        wide_int4(&p, 0, panel * PALME_PANEL, INT4_WIDE * PALME_PANEL);
    p.apart = 1;
    p.panel = PALME_INT4_PANEL_BYTES(in);
    for (first = apart * INT4_WIDE * PALME_PANEL; first < out; first += PALME_PANEL)
        panel_of_rows(&p, rows, first, out - first < PALME_PANEL ? out - first : PALME_PANEL);
}

void VEC_NAME(palme_int4_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_int4_init)(struct palme_kernels *kernels)
{
    kernels->quantize_int4 = quantize_int4;
    kernels->linear_int4 = linear_int4;
}
