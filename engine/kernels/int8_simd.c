/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * int8_simd.c - the loops of precision.c with numbers of 8 bits, in vector operations. The build compiles this file
 * once per level, as it does with kernels_simd.c. Sums of whole numbers are exact: any order gives the same.
 */
#include "kernels/filters.h"
#include "kernels/tiles.h"

#include <math.h>
#include <string.h>

_Static_assert(VEC_INTERLEAVED == 4, "as many as vq_store_4 takes");
_Static_assert(!VEC_STREAMS || PARTS == 1, "stream_panel has a vector for a panel");

/* The largest |x[n]|, NaN behind infinity. */
static float largest(const float *x, int n)
{
    vf best[VEC_INTERLEAVED];
    int i = 0;

    VEC_UNROLL
    for (int p = 0; p < VEC_INTERLEAVED; p++)
        best[p] = vf_set(0);
    for (; n - i >= VEC_INTERLEAVED * VF; i += VEC_INTERLEAVED * VF) {
        VEC_UNROLL
        for (int p = 0; p < VEC_INTERLEAVED; p++)
            best[p] = vf_maximum(best[p], vf_abs(vf_load(x + i + p * VF)));
    }
    for (; i < n; i += VF)
        best[0] = vf_maximum(best[0], vf_abs(vf_load_n(x + i, vf_left(n, i))));
    VEC_UNROLL
    for (int p = 1; p < VEC_INTERLEAVED; p++)
        best[0] = vf_maximum(best[0], best[p]);
    return vf_highest(best[0]);
}

static void quantize(int8_t *q, struct palme_quantization *quantization, const float *x, int n)
{
    const float most = largest(x, n);
    vf missing[VEC_INTERLEAVED];
    int i = 0;

    if (!(most < INFINITY) || most < PALME_QUANTIZATION_MIN) {
        memset(q, 0, PALME_QUANTIZED_BYTES((size_t)n));
        *quantization = (struct palme_quantization){ most < INFINITY ? 0 : NAN, 0 };
        return;
    }
    const vf factor = vf_set(127 / most);

    VEC_UNROLL
    for (int p = 0; p < VEC_INTERLEAVED; p++)
        missing[p] = vf_set(0);
    for (; n - i >= VEC_INTERLEAVED * VF; i += VEC_INTERLEAVED * VF) {
        vf v[VEC_INTERLEAVED];

        VEC_UNROLL
        for (int p = 0; p < VEC_INTERLEAVED; p++)
            v[p] = vf_mul(vf_load(x + i + p * VF), factor);
        vq_store_4(q + i / 4 * VEC_INT8_BYTES, v, missing); /* whole numbers below 2^24: exact in any order */
    }
    for (; i < n; i += VF) {
        vf v = vf_round(vf_mul(vf_load_n(x + i, vf_left(n, i)), factor));

        missing[0] = vf_add(missing[0], vq_missing(v));
        vq_store(q + i / 4 * VEC_INT8_BYTES, v);
    }
    VEC_UNROLL
    for (int p = 1; p < VEC_INTERLEAVED; p++)
        missing[0] = vf_add(missing[0], missing[p]);
    *quantization = (struct palme_quantization){ most / 127, vq_offset(vf_sum(missing[0])) };
}

/* ---- Products -------------------------------------------------------------------------------- */

enum {
    INT8_PANELS = VEC_REGISTERS / 8 > PARTS ? VEC_REGISTERS / 8 / PARTS : 1, /* of a tile */
    INT8_ROWS = VEC_INT8_SUMS / (INT8_PANELS * PARTS),                       /* whose sums stay in registers */
    INT8_WIDE = 8 / PARTS, /* panels of a single row: enough sums in flight to hide the latency */
    GROUP_BYTES = PALME_PANEL * PALME_INT8_GROUP,
    MOST_STEPS = 8, /* of a panel that few rows read as a stream */
    LINES = PALME_INTERLEAVED_ROWS,
    PIXELS = PARTS < 2 ? 2 : 1 /* of a tile of a single panel to bytes: enough sums in flight */
};

/* What goes in and what comes out: quantised rows and floats, quantised rows and bytes, bytes and floats. */
enum form { PLAIN, TO_BYTES, FROM_BYTES };

/* Where a tile's weights are: another tile has read them just before; in memory, as far as one can tell here, so it
 * asks ahead for them; or in memory and the panels apart. */
enum weights { NEAR, FAR, FAR_APART };

struct product {
    void *y;
    const void *x;
    const struct palme_quantization *quantization; /* not FROM_BYTES */
    const int8_t *w;
    const float *scale, *b;
    size_t groups;   /* of inputs */
    size_t x_stride; /* bytes */
    ptrdiff_t y_stride;
    enum palme_activation activation; /* not TO_BYTES */
    ptrdiff_t line[LINES];            /* TO_BYTES: rows from the first line to each */
    size_t line_at[LINES];            /* and bytes */
    int apart;                        /* FAR_APART: panels from one to the next */
};

static size_t groups_of(int in)
{
    return ((size_t)in + PALME_INT8_GROUP - 1) / PALME_INT8_GROUP;
}

/* Vectors of sums as what the layer gives, of outputs `at` and on. */
static inline __attribute__((always_inline)) vf given(const struct product *p, vi sum, int32_t offset, vf row_scale,
                                                      int at, const enum form form)
{
    vf scale = vf_load(p->scale + at), b = p->b ? vf_load(p->b + at) : vf_set(0);

    if (form == TO_BYTES) {
        scale = vf_mul(scale, vf_set(PALME_BYTE_FACTOR));
        b = vf_mul(b, vf_set(PALME_BYTE_FACTOR));
    }
    return vf_fma(vi_to_float(sum, offset), vf_mul(row_scale, scale), b);
}

/* The sums of a tile go to rows row.. and outputs first..first+outs-1. */
static inline __attribute__((always_inline)) void put(const struct product *p, const vi *sum, int row, int first,
                                                      int outs, const int rows, const int panels,
                                                      const enum weights weights, const enum form form)
{
    const int apart = weights == FAR_APART ? (p->apart - 1) * PALME_PANEL : 0;

    VEC_UNROLL
    for (int r = 0; r < rows; r++) {
        float *y = (float *)p->y + (row + r) * p->y_stride + first;
        vf row_scale = vf_set(form == FROM_BYTES ? PALME_BYTE_SCALE : p->quantization[row + r].scale);
        int32_t offset = form == FROM_BYTES ? 0 : p->quantization[row + r].offset;

        VEC_UNROLL
        for (int i = 0; i < panels * PARTS; i++) {
            int at = i * VF + i / PARTS * apart;

            if (i * VF < outs)
                store_activated(y + at, given(p, sum[r * panels * PARTS + i], offset, row_scale, first + at, form),
                                vf_left(outs, i * VF), p->activation);
        }
    }
}

/* The same of a pixel of each line, sum[LINES][panels][PARTS]. */
static inline __attribute__((always_inline)) void put_lines(const struct product *p, const vi *sum, int pixel,
                                                            int first, int outs, const int panels)
{
    uint8_t *y = (uint8_t *)p->y + (pixel * p->y_stride + first) * LINES;
    int32_t offset[LINES];
    vf row_scale[LINES];

    VEC_UNROLL
    for (int l = 0; l < LINES; l++) {
        row_scale[l] = vf_set(p->quantization[pixel + p->line[l]].scale);
        offset[l] = p->quantization[pixel + p->line[l]].offset;
    }
    VEC_UNROLL
    for (int i = 0; i < panels * PARTS; i++) {
        vf given_4[LINES];

        VEC_UNROLL
        for (int l = 0; l < LINES; l++)
            given_4[l] = given(p, sum[l * panels * PARTS + i], offset[l], row_scale[l], first + i * VF, TO_BYTES);
        if (i * VF < outs)
            vb_store_4_n(y + i * VF * LINES, given_4, vf_left(outs, i * VF));
    }
}

/* `rows`, `panels`, `weights` and `form` are constants where this is called, so that the sums are registers. TO_BYTES:
 * `row` is a pixel, and the rows are those of it and maybe the next one in each line. */
static inline __attribute__((always_inline)) void tile(const struct product *p, int row, int first, int outs,
                                                       const int rows, const int panels, const enum weights weights,
                                                       const enum form form)
{
    size_t panel = (weights == FAR_APART ? (size_t)p->apart : 1) * p->groups * GROUP_BYTES;
    size_t stride = p->x_stride, k = p->groups;
    const int8_t *w = p->w + (size_t)first * p->groups * PALME_INT8_GROUP;
    const int8_t *x = (const int8_t *)p->x + (size_t)row * stride;
    const int8_t *line[LINES];
    /* The tiles of the first rows ask for the panels behind these, a line at a time each. Row 0 is few_int8's. */
    const int may_ask = weights == NEAR && form == PLAIN && VEC_STREAMS, asks = may_ask && row <= rows * panels;
    const int8_t *ahead = w + (asks ? (size_t)(panels + row / rows - 1) * panel : 0);
    const ptrdiff_t ahead_step = asks ? GROUP_BYTES : 0;
    vi sum[MOST_ROWS * MOST_PANELS * PARTS]; /* [rows][panels][parts]; what is not used does not exist */

    VEC_UNROLL
    for (int i = 0; i < rows * panels * PARTS; i++)
        sum[i] = vi_zero();
    VEC_UNROLL
    for (int l = 0; l < LINES; l++)
        line[l] = form == TO_BYTES ? x + p->line_at[l] : x;
    do {
        if (may_ask) {
            __builtin_prefetch(ahead, 0, 2);
            ahead += ahead_step;
        }
        if (weights != NEAR)
            vec_prefetch(w, panels, panel, weights == FAR ? k : SIZE_MAX);
        if (form == FROM_BYTES) {
            vb weight[MOST_PANELS * PARTS];

            for (int i = 0; i < panels * PARTS; i++)
                weight[i] = vb_load(w + (size_t)(i / PARTS) * panel + i % PARTS * (4 * VF));
            for (int r = 0; r < rows; r++) {
                vb value = vb_set(x + (size_t)r * stride);

                for (int i = 0; i < panels * PARTS; i++)
                    sum[r * panels * PARTS + i] = vi_dot_bytes(sum[r * panels * PARTS + i], value, weight[i]);
            }
            x += PALME_INT8_GROUP;
        } else {
            vw weight[MOST_PANELS * PARTS];

            for (int i = 0; i < panels * PARTS; i++)
                weight[i] = vw_load(w + (size_t)(i / PARTS) * panel + i % PARTS * (4 * VF));
            for (int r = 0; r < rows; r++) {
                vq value =
                    vq_load(form == TO_BYTES ? line[r % LINES] + (size_t)(r / LINES) * stride : x + (size_t)r * stride);

                for (int i = 0; i < panels * PARTS; i++)
                    sum[r * panels * PARTS + i] = vi_dot(sum[r * panels * PARTS + i], weight[i], value);
            }
            x += VEC_INT8_BYTES;
            for (int l = 0; l < LINES; l++)
                line[l] += VEC_INT8_BYTES;
        }
        w += GROUP_BYTES;
    } while (--k > 0);
    if (form != TO_BYTES)
        put(p, sum, row, first, outs, rows, panels, weights, form);
    for (int pixel = 0; form == TO_BYTES && pixel < rows / LINES; pixel++)
        put_lines(p, sum + pixel * LINES * panels * PARTS, row + pixel, first, outs, panels);
}

/* The tiles in which the time goes are functions of their own: among others in one function the compiler keeps sums in
 * memory, though registers are free (gcc 12). */
#define TILE_FUNCTION(name, rows, panels, weights, form)                                                               \
    static __attribute__((noinline)) void name(const struct product *p, int row, int first, int outs)                  \
    {                                                                                                                  \
        tile(p, row, first, outs, rows, panels, weights, form);                                                        \
    }
TILE_FUNCTION(full_int8, INT8_ROWS, INT8_PANELS, NEAR, PLAIN)
TILE_FUNCTION(few_int8, INT8_ROWS, INT8_PANELS, FAR, PLAIN)
TILE_FUNCTION(wide_int8, 1, INT8_WIDE, FAR_APART, PLAIN)
TILE_FUNCTION(full_from_bytes, INT8_ROWS, INT8_PANELS, NEAR, FROM_BYTES)
TILE_FUNCTION(panels_to_bytes, LINES, INT8_PANELS, NEAR, TO_BYTES)
TILE_FUNCTION(panel_to_bytes, PIXELS *LINES, 1, NEAR, TO_BYTES)
TILE_FUNCTION(pixel_to_bytes, LINES, 1, NEAR, TO_BYTES)

/* A panel of a vector by few rows: `steps` groups at a time, each with sums of its own, whose latency is hidden so. */
static inline __attribute__((always_inline)) void stream_panel(const struct product *p, int first, int outs,
                                                               const int rows, const int steps)
{
    const int8_t *w = p->w + (size_t)first * p->groups * PALME_INT8_GROUP, *x = p->x;
    vi sum[MOST_ROWS * MOST_STEPS];
    size_t left = p->groups;

    VEC_UNROLL
    for (int i = 0; i < rows * steps; i++)
        sum[i] = vi_zero();
    for (; left >= (size_t)steps; left -= (size_t)steps) {
        VEC_UNROLL
        for (int s = 0; s < steps; s++, w += GROUP_BYTES, x += VEC_INT8_BYTES) {
            vw weight = vw_load(w);

            VEC_UNROLL
            for (int r = 0; r < rows; r++)
                sum[s * rows + r] = vi_dot(sum[s * rows + r], weight, vq_load(x + (size_t)r * p->x_stride));
        }
    }
    for (; left > 0; left--, w += GROUP_BYTES, x += VEC_INT8_BYTES) {
        vw weight = vw_load(w);

        VEC_UNROLL
        for (int r = 0; r < rows; r++)
            sum[r] = vi_dot(sum[r], weight, vq_load(x + (size_t)r * p->x_stride));
    }
    VEC_UNROLL
    for (int i = rows; i < rows * steps; i++)
        sum[i % rows] = vi_add(sum[i % rows], sum[i]);
    put(p, sum, 0, first, outs, rows, 1, NEAR, PLAIN);
}

/* All panels by up to MOST_ROWS rows. */
static void stream(const struct product *p, int rows, int out)
{
#define STREAM(rows, steps)                                                                                            \
    case rows:                                                                                                         \
        for (int first = 0; first < out; first += PALME_PANEL)                                                         \
            stream_panel(p, first, out - first < PALME_PANEL ? out - first : PALME_PANEL, rows, steps);                \
        break
    switch (rows) {
        STREAM(1, MOST_STEPS);
        STREAM(2, 4);
        STREAM(3, 2);
        STREAM(4, 2);
        STREAM(5, 1);
        STREAM(6, 1);
    default: break;
    }
#undef STREAM
}

/* All rows of `panels` panels; `panels` and `form` are constants where this is called. */
static inline __attribute__((always_inline)) void tiles(const struct product *p, int all, int first, int outs,
                                                        const int panels, const enum form form)
{
#define TILE(n) tile(p, row, first, outs, n, panels, form == PLAIN ? FAR : NEAR, form)
    int row = 0;

    for (; all - row >= INT8_ROWS; row += INT8_ROWS) {
        if (panels != INT8_PANELS)
            TILE(INT8_ROWS);
        else if (form == FROM_BYTES)
            full_from_bytes(p, row, first, outs);
        else if (row == 0)
            few_int8(p, row, first, outs);
        else
            full_int8(p, row, first, outs);
    }
    REST_OF_ROWS(all - row, INT8_ROWS, TILE)
#undef TILE
}

static void linear_int8(float *y, const int8_t *x, const struct palme_quantization *quantization, const int8_t *w,
                        const float *scale, const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                        enum palme_activation activation)
{
    const struct product p = { .y = y,
                               .x = x,
                               .quantization = quantization,
                               .w = w,
                               .scale = scale,
                               .b = b,
                               .groups = groups_of(in),
                               .x_stride = PALME_QUANTIZED_BYTES((size_t)in),
                               .y_stride = y_stride,
                               .activation = activation,
                               .apart = panel_stride(rows, out, INT8_WIDE) };
    int first = 0;

    if (VEC_STREAMS && rows <= MOST_ROWS) {
        stream(&p, rows, out);
        return;
    }
    for (int panel = 0; panel < p.apart; panel++)
        wide_int8(&p, 0, panel * PALME_PANEL, INT8_WIDE * PALME_PANEL);
    first = p.apart * INT8_WIDE * PALME_PANEL;
    EACH_PANEL(INT8_PANELS, tiles(&p, rows, first, outs, INT8_PANELS, PLAIN), tiles(&p, rows, first, outs, 1, PLAIN))
}

static void linear_int8_to_bytes(uint8_t *y, const int8_t *x, const struct palme_quantization *quantization,
                                 const int8_t *w, const float *scale, const float *b, int lines, int line_stride,
                                 int pixels, int in, int out, ptrdiff_t y_stride)
{
    struct product p = { .y = y,
                         .x = x,
                         .quantization = quantization,
                         .w = w,
                         .scale = scale,
                         .b = b,
                         .groups = groups_of(in),
                         .x_stride = PALME_QUANTIZED_BYTES((size_t)in),
                         .y_stride = y_stride };
    int first = 0;

    for (int l = 0; l < LINES; l++) {
        p.line[l] = (ptrdiff_t)(l < lines ? l : 0) * line_stride;
        p.line_at[l] = (size_t)p.line[l] * p.x_stride;
    }
#define PANELS                                                                                                         \
    for (int pixel = 0; pixel < pixels; pixel++)                                                                       \
    panels_to_bytes(&p, pixel, first, outs)
#define PANEL                                                                                                          \
    int pixel = 0;                                                                                                     \
    for (; pixels - pixel >= PIXELS; pixel += PIXELS)                                                                  \
        panel_to_bytes(&p, pixel, first, outs);                                                                        \
    for (; pixel < pixels; pixel++)                                                                                    \
    pixel_to_bytes(&p, pixel, first, outs)
    EACH_PANEL(INT8_PANELS, PANELS, PANEL)
#undef PANELS
#undef PANEL
}

static void linear_bytes(float *y, const uint8_t *x, const int8_t *w, const float *scale, const float *b, int rows,
                         int in, int out, ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    const struct product p = { .y = y,
                               .x = x,
                               .w = w,
                               .scale = scale,
                               .b = b,
                               .groups = groups_of(in),
                               .x_stride = (size_t)x_stride,
                               .y_stride = y_stride,
                               .activation = activation };
    int first = 0;

    EACH_PANEL(INT8_PANELS, tiles(&p, rows, first, outs, INT8_PANELS, FROM_BYTES),
               tiles(&p, rows, first, outs, 1, FROM_BYTES))
}

/* ---- Depthwise convolutions ------------------------------------------------------------------ */

/* Some output pixels, `pixels` of them from pixel i on, in one vector of n channels from c on. The rows under the
 * taps are result together so that a group is the taps of a column. `pixels`, `size`, `stride` and `inside` are
 * constants where this is called; `inside`: all columns are in the picture. */
static inline __attribute__((always_inline)) void depthwise_pixels(uint8_t *y, const struct palme_depthwise_window *x,
                                                                   const int8_t *w, const float *scale, const float *b,
                                                                   const struct palme_depthwise *shape, int i, int c,
                                                                   int n, const int pixels, const int size,
                                                                   const int stride, const int inside)
{
    static const uint32_t bits[16] = { 0,          0x7f,       0x7f00,     0x7f7f,     0x7f0000,   0x7f007f,
                                       0x7f7f00,   0x7f7f7f,   0x7f000000, 0x7f00007f, 0x7f007f00, 0x7f007f7f,
                                       0x7f7f0000, 0x7f7f007f, 0x7f7f7f00, 0x7f7f7f7f };
    const vb upper = vb_fill(bits[x->inside & 15]), lower = vb_fill(bits[x->inside >> 4 & 1]);
    const int8_t *upper_taps = w + c * PALME_INTERLEAVED_ROWS;
    const int8_t *lower_taps = upper_taps + size * shape->w_stride * PALME_INTERLEAVED_ROWS;
    int column = stride * i - shape->left;
    vi sum[DEPTHWISE_PIXELS];

    for (int p = 0; p < pixels; p++)
        sum[p] = vi_zero();
    VEC_UNROLL
    for (int j = 0; j < (pixels - 1) * stride + size; j++) {
        if (!inside && (column + j < 0 || column + j >= shape->in_width))
            continue;
        ptrdiff_t at = ((column + j) * shape->x_stride + c) * PALME_INTERLEAVED_ROWS;
        vb near = vb_load_n(x->rows[0] + at, n), next = vb_load_n(x->rows[1] + at, n);
        vb above = vb_and(vb_after(near, next, x->first), upper), below = vb_and(vb_behind(next, x->first), lower);

        VEC_UNROLL
        for (int kx = 0; kx < size; kx++) {
            if (j < kx || (j - kx) % stride != 0 || (j - kx) / stride >= pixels)
                continue;
            const int p = (j - kx) / stride;
            ptrdiff_t tap = kx * shape->w_stride * PALME_INTERLEAVED_ROWS;

            sum[p] = vi_dot_bytes(sum[p], above, vb_load_n(upper_taps + tap, n));
            if (size > PALME_INTERLEAVED_ROWS)
                sum[p] = vi_dot_bytes(sum[p], below, vb_load_n(lower_taps + tap, n));
        }
    }
    vf factor = vf_load_n(scale + c, n), bias = vf_mul(vf_load_n(b + c, n), vf_set(PALME_BYTE_FACTOR));
    for (int p = 0; p < pixels; p++)
        vb_store_n(y + ((i + p) * shape->y_stride + c), vf_fma(vi_to_float(sum[p], 0), factor, bias), n);
}

#define PIXELS(i, c, n, pixels, size, stride, inside)                                                                  \
    depthwise_pixels(y, x, w, scale, b, shape, i, c, n, pixels, size, stride, inside)
DEPTHWISE_FUNCTIONS(PIXELS, uint8_t *y, const struct palme_depthwise_window *x, const int8_t *w, const float *scale,
                    const float *b)
#undef PIXELS

static void depthwise_bytes(uint8_t *y, const struct palme_depthwise_window *x, const int8_t *w, const float *scale,
                            const float *b, const struct palme_depthwise *shape)
{
    DEPTHWISE_BY_SHAPE(shape, y, x, w, scale, b);
}

/* ---- The level ------------------------------------------------------------------------------- */

void VEC_NAME(palme_int8_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_int8_init)(struct palme_kernels *kernels)
{
    kernels->int8_pays = VEC_INT8_PAYS;
    kernels->quantize = quantize;
    kernels->linear_int8 = linear_int8;
    kernels->linear_int8_to_bytes = linear_int8_to_bytes;
    kernels->linear_bytes = linear_bytes;
    kernels->depthwise_bytes = depthwise_bytes;
}
