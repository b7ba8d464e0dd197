/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * precision_simd.c - the loops of precision.c in vector words. The build compiles this file once per level, as it
 * does with kernels_simd.c.
 *
 * A row of a product is summed in one order whatever the number of rows: with int8 any order gives the same, with
 * bf16 it is one fused multiply-add per weight in the order of the inputs, so a product with bf16 weights is bit
 * for bit the one in single precision with the same rounded weights.
 */
#include "vec.h"

#include "kernels.h"

#include <math.h>
#include <string.h>

static inline int left(int n, int i)
{
    return n - i < VF ? n - i : VF;
}

static inline vf activated(vf x, enum palme_activation activation)
{
    return activation == PALME_ACTIVATION_RELU6 ? vf_min(vf_max(x, vf_set(0)), vf_set(6)) : x;
}

/* ---- int8 ------------------------------------------------------------------------------------ */

static void quantize(int8_t *q, struct palme_quantum *quantum, const float *x, int n)
{
    vf best = vf_set(0), broken = vf_set(0), sum = vf_set(0), size = vf_set(0);

    for (int i = 0; i < n; i += VF) {
        vf v = vf_load_n(x + i, left(n, i));

        best = vf_max(vf_abs(v), best);
        broken = vf_fma(v, vf_set(0), broken); /* 0 unless a value is NaN or infinite, and then NaN */
    }
    float most = vf_largest(best);

    if (!(vf_sum(broken) == 0) || most < PALME_QUANTUM_LEAST) {
        memset(q, 0, PALME_QUANTIZED((size_t)n));
        *quantum = (struct palme_quantum){ vf_sum(broken) == 0 ? 0 : NAN, 0 };
        return;
    }
    vf factor = vf_set(127 / most);

    for (int i = 0; i < n; i += VF) {
        vf v = vf_round(vf_mul(vf_load_n(x + i, left(n, i)), factor));

        sum = vf_add(sum, v); /* whole numbers below 2^24: exact */
        size = vf_add(size, vf_abs(v));
        vq_store(q + i / 4 * VEC_INT8_BYTES, v);
    }
    *quantum = (struct palme_quantum){ most / 127, vq_offset(vf_sum(sum), vf_sum(size)) };
}

enum {
    PARTS = PALME_PANEL / VF,               /* vectors of sums of a panel */
    INT8_ROWS = VEC_INT8_SUMS / PARTS,      /* rows whose sums stay in registers, of one panel */
    INT8_WIDE = VEC_INT8_SUMS / PARTS,      /* panels of a single row */
    GROUP_BYTES = PALME_PANEL * PALME_INT8_GROUP
};

/* `rows` and `panels` are constants where this is called, so that the sums are registers. */
static inline __attribute__((always_inline)) void
tile_int8(float *y, const int8_t *x, const struct palme_quantum *quantum, const int8_t *w, const float *scale,
          const float *b, const int rows, const int panels, int in, int out, ptrdiff_t y_stride,
          enum palme_activation activation)
{
    size_t groups = ((size_t)in + PALME_INT8_GROUP - 1) / PALME_INT8_GROUP, stride = PALME_QUANTIZED((size_t)in);
    size_t panel = groups * GROUP_BYTES;
    vi sum[VEC_INT8_SUMS]; /* [rows][panels][parts]; what is not used does not exist */

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = vi_zero();
    for (size_t k = groups; k > 0; k--, w += GROUP_BYTES, x += VEC_INT8_BYTES) {
        vw weight[VEC_INT8_SUMS];

        for (int i = 0; i < panels * PARTS; i++)
            weight[i] = vw_load(w + (size_t)(i / PARTS) * panel + i % PARTS * (4 * VF));
        for (int r = 0; r < rows; r++) {
            vq value = vq_load(x + (size_t)r * stride);

            for (int i = 0; i < panels * PARTS; i++)
                sum[r * panels * PARTS + i] = vi_dot(sum[r * panels * PARTS + i], weight[i], value);
        }
    }
    for (int r = 0; r < rows; r++) {
        vf row_scale = vf_set(quantum[r].scale);

        for (int i = 0; i < panels * PARTS && i * VF < out; i++) {
            vf s = vf_fma(vi_to_float(sum[r * panels * PARTS + i], quantum[r].offset),
                          vf_mul(row_scale, vf_load(scale + i * VF)), b ? vf_load(b + i * VF) : vf_set(0));

            vf_store_n(y + r * y_stride + i * VF, activated(s, activation), left(out, i * VF));
        }
    }
}

static void linear_int8(float *y, const int8_t *x, const struct palme_quantum *quantum, const int8_t *w,
                        const float *scale, const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                        enum palme_activation activation)
{
    size_t groups = ((size_t)in + PALME_INT8_GROUP - 1) / PALME_INT8_GROUP, stride = PALME_QUANTIZED((size_t)in);
    int first = 0;

    if (rows == 1) {
        for (; out - first > (INT8_WIDE - 1) * PALME_PANEL; first += INT8_WIDE * PALME_PANEL)
            tile_int8(y + first, x, quantum, w + (size_t)first * groups * PALME_INT8_GROUP, scale + first,
                      b ? b + first : NULL, 1, INT8_WIDE, in,
                      out - first < INT8_WIDE * PALME_PANEL ? out - first : INT8_WIDE * PALME_PANEL, y_stride,
                      activation);
    }
    for (; first < out; first += PALME_PANEL) {
        const int8_t *panel = w + (size_t)first * groups * PALME_INT8_GROUP;
        const float *scales = scale + first, *bias = b ? b + first : NULL;
        int outs = out - first < PALME_PANEL ? out - first : PALME_PANEL, row = 0;

#define TILE(n)                                                                                               \
    tile_int8(y + row * y_stride + first, x + (size_t)row * stride, quantum + row, panel, scales, bias, n, 1, in, \
              outs, y_stride, activation)
        for (; rows - row >= INT8_ROWS; row += INT8_ROWS)
            TILE(INT8_ROWS);
        for (; rows - row >= 3; row += 3)
            TILE(3);
        if (rows - row == 2)
            TILE(2);
        else if (rows - row == 1)
            TILE(1);
#undef TILE
    }
}

/* ---- bf16 ------------------------------------------------------------------------------------ */

enum {
    BF16_ROWS = 5, /* rows whose sums stay in registers, of one panel, beside a pair of weights */
    BF16_WIDE = 4, /* panels of a single row: enough sums in flight to hide the latency */
    PAIR = 2 * PALME_PANEL
};

/* One weight of each pair times the value at x of each row. Rows are found from two pointers: with one for each the
 * compiler runs out of registers for addresses. */
static inline __attribute__((always_inline)) void add_half(vf *sum, const float *x, const uint16_t *w, size_t panel,
                                                           const int rows, const int panels, const int odd,
                                                           ptrdiff_t x_stride)
{
    const float *low = x, *high = x + 3 * x_stride;
    vf weight[BF16_WIDE * PARTS];

    for (int i = 0; i < panels * PARTS; i++) {
        const uint16_t *at = w + (size_t)(i / PARTS) * panel + i % PARTS * (2 * VF);

        weight[i] = odd ? vf_load_odd(at) : vf_load_even(at);
    }
    for (int r = 0; r < rows; r++) {
        vf value = vf_set(r < 3 ? low[r * x_stride] : high[(r - 3) * x_stride]);

        for (int i = 0; i < panels * PARTS; i++)
            sum[r * panels * PARTS + i] = vf_fma(value, weight[i], sum[r * panels * PARTS + i]);
    }
}

static inline __attribute__((always_inline)) void
tile_bf16(float *y, const float *x, const uint16_t *w, const float *b, const int rows, const int panels, int in,
          int out, ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    vf sum[BF16_ROWS * BF16_WIDE * PARTS];
    size_t panel = ((size_t)in + 1) / 2 * PAIR;

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = b ? vf_load(b + i % (panels * PARTS) * VF) : vf_set(0);
    for (int k = in / 2; k > 0; k--, x += 2, w += PAIR) {
        add_half(sum, x, w, panel, rows, panels, 0, x_stride);
        add_half(sum, x + 1, w, panel, rows, panels, 1, x_stride);
    }
    if (in % 2)
        add_half(sum, x, w, panel, rows, panels, 0, x_stride);
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < panels * PARTS && i * VF < out; i++) {
            vf_store_n(y + r * y_stride + i * VF, activated(sum[r * panels * PARTS + i], activation),
                       left(out, i * VF));
        }
    }
}

static void linear_bf16(float *y, const void *values, const uint16_t *w, const float *b, int rows, int in, int out,
                        ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    const float *x = values;
    size_t pairs = ((size_t)in + 1) / 2;
    int first = 0;

    if (rows == 1) {
        for (; out - first > (BF16_WIDE - 1) * PALME_PANEL; first += BF16_WIDE * PALME_PANEL)
            tile_bf16(y + first, x, w + (size_t)first * 2 * pairs, b ? b + first : NULL, 1, BF16_WIDE, in,
                      out - first < BF16_WIDE * PALME_PANEL ? out - first : BF16_WIDE * PALME_PANEL, y_stride,
                      x_stride, activation);
    }
    for (; first < out; first += PALME_PANEL) {
        const uint16_t *panel = w + (size_t)first * 2 * pairs;
        const float *bias = b ? b + first : NULL;
        int outs = out - first < PALME_PANEL ? out - first : PALME_PANEL, row = 0;

#define TILE(n)                                                                                             \
    tile_bf16(y + row * y_stride + first, x + row * x_stride, panel, bias, n, 1, in, outs, y_stride, x_stride, \
              activation)
        for (; rows - row >= BF16_ROWS; row += BF16_ROWS)
            TILE(BF16_ROWS);
        switch (rows - row) {
        case 4: TILE(4); break;
        case 3: TILE(3); break;
        case 2: TILE(2); break;
        case 1: TILE(1); break;
        default: break;
        }
#undef TILE
    }
}

/* ---- The level ------------------------------------------------------------------------------- */

void VEC_NAME(palme_precision_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_precision_init)(struct palme_kernels *kernels)
{
    kernels->quantize = quantize;
    kernels->linear_int8 = linear_int8;
    kernels->linear_bf16 = linear_bf16;
}
