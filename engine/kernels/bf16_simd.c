/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bf16_simd.c - the loops of precision.c with weights in bf16, in vector operations. The build compiles this file
 * once per level, as it does with kernels_simd.c.
 *
 * A row of a product is summed in one order whatever the number of rows: where weights are widened it is one fused
 * multiply-add per weight in the order of the inputs, so the product is bit for bit the one in single precision with
 * the same rounded weights.
 */
#include "kernels/tiles.h"

enum { PAIR = 2 * PALME_PANEL };

/* Where the vector i of a tile's outputs begins, whose panels are `apart` panels from each other. */
static inline int output_of(int i, int apart)
{
    return i * VF + i / PARTS * (apart - 1) * PALME_PANEL;
}

static inline __attribute__((always_inline)) void store_tile(float *y, const vf *sum, const int rows, const int panels,
                                                             int apart, int out, ptrdiff_t y_stride,
                                                             enum palme_activation activation)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < panels * PARTS && i * VF < out; i++)
            store_activated(y + r * y_stride + output_of(i, apart), sum[r * panels * PARTS + i], vf_left(out, i * VF),
                            activation);
}

/* ---- Widened --------------------------------------------------------------------------------- */

#if !VEC_PAIRS

typedef float bf16_input;

enum {
    BF16_ROWS =
        6, /* rows whose sums stay in registers, beside their weights: with 5 of them, where a multiply-add takes
                    * 5 cycles, each waits for the one before */
    BF16_PANELS = VEC_REGISTERS / 8 > PARTS ? VEC_REGISTERS / 8 / PARTS : 1, /* of a tile */
    BF16_WIDE = (VEC_STREAMS ? 4 : 8) / PARTS /* panels of a single row: sums enough to hide the latency */
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

static inline __attribute__((always_inline)) void tile_bf16(float *y, const float *x, const uint16_t *w, const float *b,
                                                            const int rows, const int panels, int apart, int in,
                                                            int out, ptrdiff_t y_stride, ptrdiff_t x_stride,
                                                            enum palme_activation activation)
{
    vf sum[MOST_ROWS * MOST_PANELS * PARTS];
    size_t panel = (size_t)apart * (((size_t)in + 1) / 2 * PAIR);

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = b ? vf_load(b + output_of(i % (panels * PARTS), apart)) : vf_set(0);
    for (int k = in / 2; k > 0; k--, x += 2, w += PAIR) {
        if (rows < BF16_ROWS)
            vec_prefetch(w, panels, panel * sizeof *w, apart > 1 ? SIZE_MAX : (size_t)k);
        add_half(sum, x, w, panel, rows, panels, 0, x_stride);
        add_half(sum, x + 1, w, panel, rows, panels, 1, x_stride);
    }
    if (in % 2)
        add_half(sum, x, w, panel, rows, panels, 0, x_stride);
    store_tile(y, sum, rows, panels, apart, out, y_stride, activation);
}

/* ---- In pairs -------------------------------------------------------------------------------- */

#else

typedef uint16_t bf16_input;

enum { BF16_ROWS = MOST_ROWS, BF16_PANELS = VEC_REGISTERS / 8 / PARTS, BF16_WIDE = VEC_STREAMS ? 2 : 8 / PARTS };

static void to_bf16(uint16_t *q, const float *x, int n)
{
    for (int i = 0; i < n; i += VF)
        vp_store_n(q + i, vf_load_n(x + i, vf_left(n, i)), vf_left((n + 1) / 2 * 2, i));
}

static inline __attribute__((always_inline)) void tile_bf16(float *y, const uint16_t *x, const uint16_t *w,
                                                            const float *b, const int rows, const int panels, int apart,
                                                            int in, int out, ptrdiff_t y_stride, ptrdiff_t x_stride,
                                                            enum palme_activation activation)
{
    vf sum[MOST_ROWS * MOST_PANELS * PARTS];
    size_t panel = (size_t)apart * (((size_t)in + 1) / 2 * PAIR);

    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = b ? vf_load(b + output_of(i % (panels * PARTS), apart)) : vf_set(0);
    for (int k = 0; k < in; k += 2, x += 2, w += PAIR) {
        vp weight[MOST_PANELS * PARTS];

        for (int i = 0; i < panels * PARTS; i++)
            weight[i] = vp_load(w + (size_t)(i / PARTS) * panel + i % PARTS * (2 * VF));
        if (rows < BF16_ROWS)
            vec_prefetch(w, panels, panel * sizeof *w, apart > 1 ? SIZE_MAX : (size_t)(in - k + 1) / 2);
        for (int r = 0; r < rows; r++) {
            vp value = vp_set(x + r * x_stride);

            for (int i = 0; i < panels * PARTS; i++)
                sum[r * panels * PARTS + i] = vf_dot_pairs(sum[r * panels * PARTS + i], weight[i], value);
        }
    }
    store_tile(y, sum, rows, panels, apart, out, y_stride, activation);
}

#endif

/* ---- Products, by either kind of tile ---------------------------------------------------------- */

#define BF16_TILE(name, rows, panels)                                                                                  \
    static __attribute__((noinline)) void name(float *y, const bf16_input *x, const uint16_t *w, const float *b,       \
                                               int apart, int in, int out, ptrdiff_t y_stride, ptrdiff_t x_stride,     \
                                               enum palme_activation activation)                                       \
    {                                                                                                                  \
        tile_bf16(y, x, w, b, rows, panels, apart, in, out, y_stride, x_stride, activation);                           \
    }
BF16_TILE(full_bf16, BF16_ROWS, BF16_PANELS)
BF16_TILE(wide_bf16, 1, BF16_WIDE)

/* All rows of `panels` panels, a constant where this is called. */
static inline __attribute__((always_inline)) void tiles_bf16(float *y, const bf16_input *x, const uint16_t *w,
                                                             const float *b, int rows, const int panels, int in,
                                                             int out, ptrdiff_t y_stride, ptrdiff_t x_stride,
                                                             enum palme_activation activation)
{
#define TILE(n) tile_bf16(y, x, w, b, n, panels, 1, in, out, y_stride, x_stride, activation)
    for (; rows >= BF16_ROWS; rows -= BF16_ROWS, y += BF16_ROWS * y_stride, x += BF16_ROWS * x_stride) {
        if (panels == BF16_PANELS)
            full_bf16(y, x, w, b, 1, in, out, y_stride, x_stride, activation);
        else
            TILE(BF16_ROWS);
    }
    REST_OF_ROWS(rows, BF16_ROWS, TILE)
#undef TILE
}

static void linear_bf16(float *y, const void *values, const uint16_t *w, const float *b, int rows, int in, int out,
                        ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    const bf16_input *x = values;
    size_t each = ((size_t)in + 1) / 2 * 2; /* weights of an output */
    int apart = panel_stride(rows, out, BF16_WIDE), first = 0;

    for (; first < apart * PALME_PANEL; first += PALME_PANEL)
        wide_bf16(y + first, x, w + (size_t)first * each, b ? b + first : NULL, apart, in, BF16_WIDE * PALME_PANEL,
                  y_stride, x_stride, activation);
    first = apart * BF16_WIDE * PALME_PANEL;
#define PANELS(n)                                                                                                      \
    tiles_bf16(y + first, x, w + (size_t)first * each, b ? b + first : NULL, rows, n, in, outs, y_stride, x_stride,    \
               activation)
    if (VEC_STREAMS && rows <= BF16_ROWS) {
        EACH_PANEL(2, PANELS(2), PANELS(1))
        return;
    }
    EACH_PANEL(BF16_PANELS, PANELS(BF16_PANELS), PANELS(1))
#undef PANELS
}

#if !VEC_PAIRS

/* ---- Keys and values -------------------------------------------------------------------------- */

/* Rows x[VF] turned over, dimensions at.. of them, of which `left` exist: pairs of them go to to[pair][PALME_PANEL]. */
static inline __attribute__((always_inline)) void pack_turned(uint16_t *to, const float *const x[VF], int at, int left)
{
    vf column[VF];

    if (left >= VF) {
        vf_load_transposed(column, x, at);
    } else {
        float part[VF][VF];
        const float *of[VF];

        for (int i = 0; i < VF; i++) {
            vf_store(part[i], vf_load_n(x[i] + at, left));
            of[i] = part[i];
        }
        vf_load_transposed(column, of, 0);
    }
    VEC_UNROLL
    for (int d = 0; d < VF; d += 2)
        if (d < left)
            vf_store_halves(to + d / 2 * PAIR, column[d], column[d + 1]);
}

static void pack_keys(uint16_t *to, const float *x, ptrdiff_t stride, int count, int width)
{
    static const float none[PALME_MOST_HEAD_DIM];
    size_t panel = (size_t)((width + 1) / 2) * PAIR;

    for (int at = 0; at < (count + PALME_PANEL - 1) / PALME_PANEL * PALME_PANEL; at += VF) {
        uint16_t *here = to + (size_t)(at / PALME_PANEL) * panel + (size_t)(at % PALME_PANEL) * 2;
        const float *row[VF];

        for (int i = 0; i < VF; i++)
            row[i] = at + i < count ? x + (at + i) * stride : none;
        for (int d = 0; d < width; d += VF)
            pack_turned(here + d / 2 * PAIR, row, d, width - d);
    }
}

static void pack_values(uint16_t *to, const float *x, ptrdiff_t stride, int count, int width)
{
    size_t panel = (size_t)((count + 1) / 2) * PAIR;

    for (int at = 0; at < count; at += 2) {
        const float *even = x + at * stride, *odd = even + (at + 1 < count ? stride : 0);

        for (int d = 0; d < (width + PALME_PANEL - 1) / PALME_PANEL * PALME_PANEL; d += VF) {
            int left = width - d < 0 ? 0 : vf_left(width, d);

            vf_store_halves(to + (size_t)(d / PALME_PANEL) * panel + (size_t)(at / 2 * PAIR + d % PALME_PANEL * 2),
                            vf_load_n(even + (left ? d : 0), left),
                            vf_load_n(odd + (left ? d : 0), at + 1 < count ? left : 0));
        }
    }
}

#endif

/* ---- The level ------------------------------------------------------------------------------- */

void VEC_NAME(palme_bf16_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_bf16_init)(struct palme_kernels *kernels)
{
    kernels->bf16_pays = 1;
    kernels->linear_bf16 = linear_bf16;
#if VEC_PAIRS
    kernels->to_bf16 = to_bf16;
#else
    kernels->to_bf16 = NULL;
    kernels->linear_widened = linear_bf16;
    kernels->pack_keys = pack_keys;
    kernels->pack_values = pack_values;
#endif
}
