/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * int8_simd.c - the loops of precision.c with numbers of 8 bits, in vector words. The build compiles this file once per
 * level, as it does with kernels_simd.c. Sums of whole numbers are exact: any order gives the same.
 */
#include "tiles.h"

#include <math.h>
#include <string.h>

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

/* ---- The level ------------------------------------------------------------------------------- */

void VEC_NAME(palme_int8_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_int8_init)(struct palme_kernels *kernels)
{
    kernels->quantize = quantize;
    kernels->linear_int8 = linear_int8;
}
