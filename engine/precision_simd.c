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

static inline vf activated(vf x, enum palme_activation activation)
{
    return activation == PALME_ACTIVATION_RELU6 ? vf_min(vf_max(x, vf_set(0)), vf_set(6)) : x;
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

enum {
    PARTS = PALME_PANEL / VF,                     /* vectors of sums of a panel */
    MOST_ROWS = 6,                                /* of a tile */
    MOST_PANELS = 8 / PARTS > 4 ? 8 / PARTS : 4
};

/* The rows that are left below a tile of `most`: TILE(number), the number a constant. */
#define REST_OF_ROWS(rows, most, TILE)          \
    switch (rows) {                             \
    case 5: if ((most) > 5) TILE(5); break;     \
    case 4: if ((most) > 4) TILE(4); break;     \
    case 3: if ((most) > 3) TILE(3); break;     \
    case 2: if ((most) > 2) TILE(2); break;     \
    case 1: TILE(1); break;                     \
    default: break;                             \
    }

/* All outputs from `first` on: of a single row `wide` panels at a time, of several `panels` at a time, and what is
 * left one by one. `outs` is how many of these outputs exist. */
#define EACH_SHAPE(wide, panels, WIDE, TILES, TILE)                                                       \
    for (; rows == 1 && out - first > ((wide) - 1) * PALME_PANEL; first += (wide) * PALME_PANEL) {        \
        int outs = out - first < (wide) * PALME_PANEL ? out - first : (wide) * PALME_PANEL;               \
        WIDE;                                                                                             \
    }                                                                                                     \
    for (; (panels) > 1 && out - first > ((panels) - 1) * PALME_PANEL; first += (panels) * PALME_PANEL) { \
        int outs = out - first < (panels) * PALME_PANEL ? out - first : (panels) * PALME_PANEL;           \
        TILES;                                                                                            \
    }                                                                                                     \
    for (; first < out; first += PALME_PANEL) {                                                           \
        int outs = out - first < PALME_PANEL ? out - first : PALME_PANEL;                                 \
        TILE;                                                                                             \
    }

/* ---- int8 ------------------------------------------------------------------------------------ */

#ifndef VEC_ONLY_PAIRS

static void quantize(int8_t *q, struct palme_quantum *quantum, const float *x, int n)
{
    vf best = vf_set(0), broken = vf_set(0), sum = vf_set(0), size = vf_set(0);

    for (int i = 0; i < n; i += VF) {
        vf v = vf_load_n(x + i, vf_left(n, i));

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
        vf v = vf_round(vf_mul(vf_load_n(x + i, vf_left(n, i)), factor));

        sum = vf_add(sum, v); /* whole numbers below 2^24: exact */
        size = vf_add(size, vf_abs(v));
        vq_store(q + i / 4 * VEC_INT8_BYTES, v);
    }
    *quantum = (struct palme_quantum){ most / 127, vq_offset(vf_sum(sum), vf_sum(size)) };
}

enum {
    INT8_PANELS = VEC_REGISTERS / 8 > PARTS ? VEC_REGISTERS / 8 / PARTS : 1, /* of a tile */
    INT8_ROWS = VEC_INT8_SUMS / (INT8_PANELS * PARTS),                       /* whose sums stay in registers */
    INT8_WIDE = 8 / PARTS, /* panels of a single row: enough sums in flight to hide the latency */
    GROUP_BYTES = PALME_PANEL * PALME_INT8_GROUP
};

/* `rows`, `panels`, `positive` and `few` are constants where this is called, so that the sums are registers. `positive`:
 * no row has a negative number. `few`: no other tile has read these weights just before, as far as one can tell here. */
static inline __attribute__((always_inline)) void
tile_int8(float *y, const int8_t *x, const struct palme_quantum *quantum, const int8_t *w, const float *scale,
          const float *b, const int rows, const int panels, const int positive, const int few, int in,
          int out, ptrdiff_t y_stride, enum palme_activation activation)
{
    size_t groups = ((size_t)in + PALME_INT8_GROUP - 1) / PALME_INT8_GROUP, stride = PALME_QUANTIZED((size_t)in);
    size_t panel = groups * GROUP_BYTES;
    vi sum[MOST_ROWS * MOST_PANELS * PARTS]; /* [rows][panels][parts]; what is not used does not exist */

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = vi_zero();
    for (size_t k = groups; k > 0; k--, w += GROUP_BYTES, x += VEC_INT8_BYTES) {
        vw weight[MOST_PANELS * PARTS];

        for (int i = 0; i < panels * PARTS; i++)
            weight[i] = vw_load(w + (size_t)(i / PARTS) * panel + i % PARTS * (4 * VF));
        if (few)
            vec_prefetch(w, panels, panel, k);
        for (int r = 0; r < rows; r++) {
            vq value = vq_load(x + (size_t)r * stride);

            for (int i = 0; i < panels * PARTS; i++)
                sum[r * panels * PARTS + i] = positive ? vi_dot_positive(sum[r * panels * PARTS + i], weight[i], value)
                                                       : vi_dot(sum[r * panels * PARTS + i], weight[i], value);
        }
    }
    for (int r = 0; r < rows; r++) {
        vf row_scale = vf_set(quantum[r].scale);

        for (int i = 0; i < panels * PARTS && i * VF < out; i++) {
            vf s = vf_fma(vi_to_float(sum[r * panels * PARTS + i], quantum[r].offset),
                          vf_mul(row_scale, vf_load(scale + i * VF)), b ? vf_load(b + i * VF) : vf_set(0));

            vf_store_n(y + r * y_stride + i * VF, activated(s, activation), vf_left(out, i * VF));
        }
    }
}

/* The tiles in which the time goes are functions of their own: among others in one function the compiler keeps sums in
 * memory, though registers are free (gcc 12). */
#define INT8_TILE(name, rows, panels, positive, few)                                                            \
    static __attribute__((noinline)) void name(float *y, const int8_t *x, const struct palme_quantum *quantum,  \
                                               const int8_t *w, const float *scale, const float *b, int in,     \
                                               int out, ptrdiff_t y_stride, enum palme_activation activation)   \
    {                                                                                                           \
        tile_int8(y, x, quantum, w, scale, b, rows, panels, positive, few, in, out, y_stride, activation);      \
    }
INT8_TILE(full_int8, INT8_ROWS, INT8_PANELS, 0, 0)
INT8_TILE(few_int8, INT8_ROWS, INT8_PANELS, 0, 1)
INT8_TILE(wide_int8, 1, INT8_WIDE, 0, 1)
#if VEC_INT8_POSITIVE
INT8_TILE(positive_int8, INT8_ROWS, INT8_PANELS, 1, 0)

/* Whether none of these rows, as ReLU6 leaves them, has a negative number. */
static inline int never_negative(const struct palme_quantum *quantum, int rows)
{
    for (int r = 0; r < rows; r++)
        if (quantum[r].offset != 0)
            return 0;
    return 1;
}
#endif

/* All rows of `panels` panels, a constant where this is called. */
static inline __attribute__((always_inline)) void
tiles_int8(float *y, const int8_t *x, const struct palme_quantum *quantum, const int8_t *w, const float *scale,
           const float *b, int rows, const int panels, int in, int out, ptrdiff_t y_stride,
           enum palme_activation activation)
{
    size_t stride = PALME_QUANTIZED((size_t)in);

#define TILE(n) tile_int8(y, x, quantum, w, scale, b, n, panels, 0, 1, in, out, y_stride, activation)
    const int few = rows == INT8_ROWS;

    for (; rows >= INT8_ROWS; rows -= INT8_ROWS) {
#if VEC_INT8_POSITIVE
        if (panels == INT8_PANELS && never_negative(quantum, INT8_ROWS))
            positive_int8(y, x, quantum, w, scale, b, in, out, y_stride, activation);
        else
#endif
        if (panels == INT8_PANELS && few)
            few_int8(y, x, quantum, w, scale, b, in, out, y_stride, activation);
        else if (panels == INT8_PANELS)
            full_int8(y, x, quantum, w, scale, b, in, out, y_stride, activation);
        else
            TILE(INT8_ROWS);
        y += INT8_ROWS * y_stride;
        x += INT8_ROWS * stride;
        quantum += INT8_ROWS;
    }
    REST_OF_ROWS(rows, INT8_ROWS, TILE)
#undef TILE
}

static void linear_int8(float *y, const int8_t *x, const struct palme_quantum *quantum, const int8_t *w,
                        const float *scale, const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                        enum palme_activation activation)
{
    size_t each = ((size_t)in + PALME_INT8_GROUP - 1) / PALME_INT8_GROUP * PALME_INT8_GROUP; /* bytes of an output */
    int first = 0;

    EACH_SHAPE(INT8_WIDE, INT8_PANELS,
               wide_int8(y + first, x, quantum, w + (size_t)first * each, scale + first, b ? b + first : NULL, in,
                         outs, y_stride, activation),
               tiles_int8(y + first, x, quantum, w + (size_t)first * each, scale + first, b ? b + first : NULL, rows,
                          INT8_PANELS, in, outs, y_stride, activation),
               tiles_int8(y + first, x, quantum, w + (size_t)first * each, scale + first, b ? b + first : NULL, rows, 1,
                          in, outs, y_stride, activation))
}

#endif

/* ---- bf16 ------------------------------------------------------------------------------------ */

#ifndef VEC_ONLY_INT8

enum { PAIR = 2 * PALME_PANEL };

static inline __attribute__((always_inline)) void
store_tile(float *y, const vf *sum, const int rows, const int panels, int out, ptrdiff_t y_stride,
           enum palme_activation activation)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < panels * PARTS && i * VF < out; i++)
            vf_store_n(y + r * y_stride + i * VF, activated(sum[r * panels * PARTS + i], activation),
                       vf_left(out, i * VF));
}

#endif

/* ---- bf16, widened --------------------------------------------------------------------------- */

#if !defined(VEC_ONLY_PAIRS) && !defined(VEC_ONLY_INT8)

enum {
    BF16_ROWS = 5, /* rows whose sums stay in registers, beside a pair of weights */
    BF16_PANELS = VEC_REGISTERS / 8 > PARTS ? VEC_REGISTERS / 8 / PARTS : 1, /* of a tile */
    BF16_WIDE = 8 / PARTS /* panels of a single row: enough sums in flight to hide the latency */
};

/* One weight of each pair times the value at x of each row. Rows are found from two pointers: with one for each the
 * compiler runs out of registers for addresses. */
static inline __attribute__((always_inline)) void add_half(vf *sum, const float *x, const uint16_t *w, size_t panel,
                                                           const int rows, const int panels, const int odd,
                                                           ptrdiff_t x_stride)
{
    const float *low = x, *high = x + 3 * x_stride;
    vf weight[MOST_PANELS * PARTS];

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
    vf sum[MOST_ROWS * MOST_PANELS * PARTS];
    size_t panel = ((size_t)in + 1) / 2 * PAIR;

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = b ? vf_load(b + i % (panels * PARTS) * VF) : vf_set(0);
    for (int k = in / 2; k > 0; k--, x += 2, w += PAIR) {
        if (rows < BF16_ROWS)
            vec_prefetch(w, panels, panel * sizeof *w, (size_t)k);
        add_half(sum, x, w, panel, rows, panels, 0, x_stride);
        add_half(sum, x + 1, w, panel, rows, panels, 1, x_stride);
    }
    if (in % 2)
        add_half(sum, x, w, panel, rows, panels, 0, x_stride);
    store_tile(y, sum, rows, panels, out, y_stride, activation);
}

#define BF16_TILE(name, rows, panels)                                                                            \
    static __attribute__((noinline)) void name(float *y, const float *x, const uint16_t *w, const float *b,    \
                                               int in, int out, ptrdiff_t y_stride, ptrdiff_t x_stride,        \
                                               enum palme_activation activation)                                \
    {                                                                                                           \
        tile_bf16(y, x, w, b, rows, panels, in, out, y_stride, x_stride, activation);                           \
    }
BF16_TILE(full_bf16, BF16_ROWS, BF16_PANELS)
BF16_TILE(wide_bf16, 1, BF16_WIDE)

/* All rows of `panels` panels, a constant where this is called. */
static inline __attribute__((always_inline)) void
tiles_bf16(float *y, const float *x, const uint16_t *w, const float *b, int rows, const int panels, int in, int out,
           ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
#define TILE(n) tile_bf16(y, x, w, b, n, panels, in, out, y_stride, x_stride, activation)
    for (; rows >= BF16_ROWS; rows -= BF16_ROWS, y += BF16_ROWS * y_stride, x += BF16_ROWS * x_stride) {
        if (panels == BF16_PANELS)
            full_bf16(y, x, w, b, in, out, y_stride, x_stride, activation);
        else
            TILE(BF16_ROWS);
    }
    REST_OF_ROWS(rows, BF16_ROWS, TILE)
#undef TILE
}

static void linear_bf16(float *y, const void *values, const uint16_t *w, const float *b, int rows, int in, int out,
                        ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    const float *x = values;
    size_t each = ((size_t)in + 1) / 2 * 2; /* weights of an output */
    int first = 0;

    EACH_SHAPE(BF16_WIDE, BF16_PANELS,
               wide_bf16(y + first, x, w + (size_t)first * each, b ? b + first : NULL, in, outs, y_stride, x_stride,
                         activation),
               tiles_bf16(y + first, x, w + (size_t)first * each, b ? b + first : NULL, rows, BF16_PANELS, in, outs,
                          y_stride, x_stride, activation),
               tiles_bf16(y + first, x, w + (size_t)first * each, b ? b + first : NULL, rows, 1, in, outs, y_stride,
                          x_stride, activation))
}

#endif

/* ---- bf16, in pairs -------------------------------------------------------------------------- */

#ifdef VEC_ONLY_PAIRS

enum {
    PAIRS_ROWS = MOST_ROWS,
    PAIRS_PANELS = VEC_REGISTERS / 8 / PARTS,
    PAIRS_WIDE = 8 / PARTS
};

static void narrow(uint16_t *q, const float *x, int n)
{
    for (int i = 0; i < n; i += VF)
        vp_store_n(q + i, vf_load_n(x + i, vf_left(n, i)), vf_left((n + 1) / 2 * 2, i));
}

static inline __attribute__((always_inline)) void
tile_pairs(float *y, const uint16_t *x, const uint16_t *w, const float *b, const int rows, const int panels, int in,
           int out, ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    vf sum[MOST_ROWS * MOST_PANELS * PARTS];
    size_t panel = ((size_t)in + 1) / 2 * PAIR;

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = b ? vf_load(b + i % (panels * PARTS) * VF) : vf_set(0);
    for (int k = 0; k < in; k += 2, x += 2, w += PAIR) {
        vp weight[MOST_PANELS * PARTS];

        for (int i = 0; i < panels * PARTS; i++)
            weight[i] = vp_load(w + (size_t)(i / PARTS) * panel + i % PARTS * (2 * VF));
        if (rows < PAIRS_ROWS)
            vec_prefetch(w, panels, panel * sizeof *w, (size_t)(in - k + 1) / 2);
        for (int r = 0; r < rows; r++) {
            vp value = vp_set(x + r * x_stride);

            for (int i = 0; i < panels * PARTS; i++)
                sum[r * panels * PARTS + i] = vf_dot_pairs(sum[r * panels * PARTS + i], weight[i], value);
        }
    }
    store_tile(y, sum, rows, panels, out, y_stride, activation);
}

/* All rows of `panels` panels, a constant where this is called. */
static inline __attribute__((always_inline)) void
tiles_pairs(float *y, const uint16_t *x, const uint16_t *w, const float *b, int rows, const int panels, int in,
            int out, ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
#define TILE(n) tile_pairs(y, x, w, b, n, panels, in, out, y_stride, x_stride, activation)
    for (; rows >= PAIRS_ROWS; rows -= PAIRS_ROWS, y += PAIRS_ROWS * y_stride, x += PAIRS_ROWS * x_stride)
        TILE(PAIRS_ROWS);
    REST_OF_ROWS(rows, PAIRS_ROWS, TILE)
#undef TILE
}

static void linear_pairs(float *y, const void *values, const uint16_t *w, const float *b, int rows, int in, int out,
                         ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    const uint16_t *x = values;
    size_t each = ((size_t)in + 1) / 2 * 2; /* weights of an output */
    int first = 0;

    EACH_SHAPE(PAIRS_WIDE, PAIRS_PANELS,
               tile_pairs(y + first, x, w + (size_t)first * each, b ? b + first : NULL, 1, PAIRS_WIDE, in, outs,
                          y_stride, x_stride, activation),
               tiles_pairs(y + first, x, w + (size_t)first * each, b ? b + first : NULL, rows, PAIRS_PANELS, in, outs,
                           y_stride, x_stride, activation),
               tiles_pairs(y + first, x, w + (size_t)first * each, b ? b + first : NULL, rows, 1, in, outs, y_stride,
                           x_stride, activation))
}

#endif

/* ---- The level ------------------------------------------------------------------------------- */

void VEC_NAME(palme_precision_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_precision_init)(struct palme_kernels *kernels)
{
#ifndef VEC_ONLY_PAIRS
    kernels->quantize = quantize;
    kernels->linear_int8 = linear_int8;
#endif
#ifdef VEC_ONLY_PAIRS
    kernels->narrow = narrow;
    kernels->linear_bf16 = linear_pairs;
#elif !defined(VEC_ONLY_INT8)
    kernels->narrow = NULL;
    kernels->linear_bf16 = linear_bf16;
#endif
}
