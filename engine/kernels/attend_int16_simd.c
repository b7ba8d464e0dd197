/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attend_int16_simd.c - attention whose products are those of whole numbers of 16 bits, in vector operations. The build
 * compiles this file once per level, as it does with kernels_simd.c. Sums of whole numbers are exact, and what is done
 * to them in floats is the same everywhere: all levels give the same bits.
 *
 * A tile of keys and values is rounded and turned over for many rows. They go through it in groups: products, the
 * softmax of what came so far, the sum of values, all while the group is in the nearest cache. What a row has summed
 * waits in memory from tile to tile.
 */
#include "kernels/vec.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum {
    GROUP = 6,                       /* rows that share the loads of keys and values */
    ACROSS = VEC_INT16_SUMS / GROUP, /* vectors of keys, or of values, whose sums stay in registers */
    TILE = PALME_INT16_KEYS,
    PAIRS = TILE / 2
};

static const float LN_2 = 0.69314718f, LOG2_E = 1.44269504f;

_Static_assert(TILE % (ACROSS * VF) == 0, "a tile is whole blocks of keys");
_Static_assert(PALME_INT16_ROWS % GROUP == 0, "rows that wait are whole groups");

/* Dimensions of a head in memory of our own: whole vectors of pairs. */
static inline int padded(int width)
{
    return (width + 2 * VF - 1) / (2 * VF) * (2 * VF);
}

/* What is in a workspace; `padded` is that of the head's width. */
struct attending {
    float *sum;                  /* [rows][padded], the values by their weights */
    int16_t *queries;            /* [rows][padded] */
    int16_t *keys;               /* [TILE / VF][padded / 2][VF][2] */
    int16_t *values;             /* [padded / VF][PAIRS][VF][2] */
    int16_t *rounded;            /* [VF][padded]: keys that are not turned over yet */
    int16_t *weights;            /* [GROUP][TILE] */
    float *scores;               /* [GROUP][TILE] */
    float *value_scale;          /* [padded], not finite where a value is not */
    float *key_scale;            /* [TILE], NaN where there is no key */
    float *factor, *top, *total; /* [rows]: from products to powers of 2; the highest of them; the sum of weights */
    int count;                   /* keys of the tile */
    int weighed[GROUP];          /* whether a row of the group has weights for this tile */
};

/* x[width], rounded to whole numbers of which the largest is `most`, or no number at all where x is not finite; zeros
 * behind them. Returns what they are multiplied with. */
static inline __attribute__((always_inline)) float round_row(int16_t *to, const float *x, float most, const int width)
{
    vf highest = vf_set(0), factor;
    float scale = 0, up = 0, high;

    for (int d = 0; d < width; d += VF)
        highest = vf_maximum(highest, vf_abs(vf_load_n(x + d, vf_left(width, d))));
    high = vf_highest(highest);
    if (!(high < INFINITY)) {
        memset(to, 0, (size_t)padded(width) * sizeof *to);
        return NAN;
    }
    if (high >= PALME_QUANTIZATION_MIN) {
        up = most / high;
        scale = high / most;
    }
    factor = vf_set(up);
    for (int d = 0; d < padded(width); d += 2 * VF) {
        vf low = d < width ? vf_load_n(x + d, vf_left(width, d)) : vf_set(0);
        vf next = d + VF < width ? vf_load_n(x + d + VF, vf_left(width, d + VF)) : vf_set(0);

        vh_store(to + d, vf_mul(low, factor), vf_mul(next, factor));
    }
    return scale;
}

/* VF keys turned over, from `first` of the tile on. */
static inline __attribute__((always_inline)) void fill_keys(struct attending *a, const float *k, ptrdiff_t stride,
                                                            int first, const int width)
{
    const float *row[VF];
    int16_t *to = a->keys + first * padded(width);

    for (int j = 0; j < VF; j++) {
        int16_t *at = a->rounded + j * padded(width);

        row[j] = (const float *)(const void *)at;
        a->key_scale[first + j] = NAN;
        if (first + j < a->count)
            a->key_scale[first + j] = round_row(at, k + (first + j) * stride, PALME_INT16_KEY_MOST, width);
        else
            memset(at, 0, (size_t)padded(width) * sizeof *at);
    }
    for (int pair = 0; pair < padded(width) / 2; pair += VF) {
        vf column[VF]; /* pairs, which are only moved */

        vf_load_transposed(column, row, pair);
        VEC_UNROLL
        for (int i = 0; i < VF; i++)
            vf_store((float *)(void *)(to + (pair + i) * 2 * VF), column[i]);
    }
}

/* VF dimensions of the values, in pairs of keys. A dimension has one scale, not finite where a value is not. */
static inline __attribute__((always_inline)) void fill_values(struct attending *a, const float *v, ptrdiff_t stride,
                                                              int d, int left)
{
    int16_t *to = a->values + d * TILE;
    vf high = vf_set(0);

    for (int j = 0; j < a->count; j++)
        high = vf_maximum(high, vf_abs(vf_load_n(v + j * stride + d, left)));
    vf factor = vf_less(high, vf_set(PALME_QUANTIZATION_MIN), vf_set(0), vf_div(vf_set(PALME_INT16_VALUE_MOST), high));

    vf_store(a->value_scale + d, vf_mul(high, vf_set(1 / PALME_INT16_VALUE_MOST)));
    for (int j = 0; j < a->count; j += 2) {
        vf even = vf_load_n(v + j * stride + d, left), odd = vf_set(0);

        if (j + 1 < a->count)
            odd = vf_load_n(v + (j + 1) * stride + d, left);
        vh_store_pairs(to + j * VF, vf_mul(even, factor), vf_mul(odd, factor));
    }
}

static inline __attribute__((always_inline)) void fill_tile(struct attending *a, const float *k, const float *v,
                                                            const struct palme_attend *shape, const int width)
{
    for (int first = 0; first < a->count; first += VF)
        fill_keys(a, k, shape->k_stride, first, width);
    for (int d = 0; d < width; d += VF)
        fill_values(a, v, shape->v_stride, d, vf_left(width, d));
}

/* The products of a group with `across` vectors of keys, from the vector `at` on, become scores: the exponents of 2
 * that the softmax is made of. best[GROUP]: the highest ones so far. */
static inline __attribute__((always_inline)) void products(struct attending *a, vf *best, int row, int at,
                                                           const int across, const int width)
{
    const int16_t *queries = a->queries + row * padded(width), *keys = a->keys + at * VF * padded(width);
    vs sum[GROUP * ACROSS];

    VEC_UNROLL
    for (int i = 0; i < GROUP * across; i++)
        sum[i] = vs_zero();
    VEC_ROLLED
    for (int pair = 0; pair < (width + 1) / 2; pair++, queries += 2, keys += 2 * VF) {
        vh key[ACROSS];

        VEC_UNROLL
        for (int i = 0; i < across; i++)
            key[i] = vh_load(keys + i * VF * padded(width));
        VEC_UNROLL
        for (int r = 0; r < GROUP; r++) {
            vh query = vh_set(queries + r * padded(width));

            VEC_UNROLL
            for (int i = 0; i < across; i++)
                sum[r * across + i] = vs_dot(sum[r * across + i], key[i], query);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < across; i++) {
        vf scale = vf_load(a->key_scale + (at + i) * VF);

        VEC_UNROLL
        for (int r = 0; r < GROUP; r++) {
            vf score = vf_mul(vf_mul(vi_to_float(vs_wide(sum[r * across + i]), 0), scale), vf_set(a->factor[row + r]));

            best[r] = vf_max(score, best[r]); /* which leaves out what is NaN */
            vf_store(a->scores + r * TILE + (at + i) * VF, score);
        }
    }
}

/* Scores of a row become its weights, 2^(score - top) times PALME_INT16_WEIGHT_MOST as whole numbers. Returns their
 * sum. What is NaN has none. */
static inline float weigh(int16_t *weights, const float *scores, float top, int count)
{
    /* A polynomial for 2^x, |x| <= 1/2, exact at 0, of the least relative error, 1.01e-4; times the largest weight. */
    static const float power[] = { 0.05500893f * PALME_INT16_WEIGHT_MOST, 0.242211f * PALME_INT16_WEIGHT_MOST,
                                   0.69328293f * PALME_INT16_WEIGHT_MOST, PALME_INT16_WEIGHT_MOST };
    static const int16_t ones[2] = { 1, 1 };
    const vf low = vf_set(PALME_INT16_LOWEST), high = vf_set(top);
    vs total = vs_zero();

    for (int j = 0; j < count; j += VEC_INTERLEAVED * VF) {
        vf x[VEC_INTERLEAVED], n[VEC_INTERLEAVED], y[VEC_INTERLEAVED];

        VEC_UNROLL
        for (int i = 0; i < VEC_INTERLEAVED; i++) {
            x[i] = vf_max(vf_sub(vf_load(scores + j + i * VF), high), low);
            n[i] = vf_round(x[i]);
            x[i] = vf_sub(x[i], n[i]);
            n[i] = vf_exponent(n[i], n[i], low);
        }
        vf_polynomials(y, x, power, sizeof power / sizeof *power, VEC_INTERLEAVED);
        VEC_UNROLL
        for (int i = 0; i < VEC_INTERLEAVED; i += 2) {
            int16_t *to = weights + j + i * VF;

            vh_store(to, vf_scaled(y[i], n[i]), vf_scaled(y[i + 1], n[i + 1]));
            total = vs_dot(total, vh_load(to), vh_set(ones));
        }
    }
    return vf_sum(vi_to_float(vs_wide(total), 0));
}

/* The scores of a group become its weights; shrink[GROUP]: what the tile's highest scores make of all before. A row
 * that sees no key of the tile, or a score that overflowed, leaves it out. */
static inline void weigh_group(struct attending *a, float *shrink, const vf *best, int row)
{
    float falls[(GROUP + VF - 1) / VF * VF] = { 0 };

    for (int r = 0; r < GROUP; r++) {
        float top = a->top[row + r], found = vf_largest(best[r]), high = found > top ? found : top;

        a->weighed[r] = !isinf(found);
        falls[r] = a->weighed[r] ? (top - high) * LN_2 : 0;
        a->top[row + r] = a->weighed[r] ? high : top;
    }
    for (int r = 0; r < GROUP; r += VF)
        vf_store(falls + r, vf_exp(vf_load(falls + r)));
    for (int r = 0; r < GROUP; r++) {
        float total = 0;

        if (a->weighed[r])
            total = weigh(a->weights + r * TILE, a->scores + r * TILE, a->top[row + r], a->count);
        else
            memset(a->weights + r * TILE, 0, TILE * sizeof *a->weights);
        shrink[r] = falls[r];
        a->total[row + r] = fmaf(a->total[row + r], falls[r], total);
    }
}

/* Adds the tile's values by the weights of a group to its sums: `across` vectors of dimensions, from d on. */
static inline __attribute__((always_inline)) void add_values(const struct attending *a, const float *shrink, int row,
                                                             int d, const int across, const int width)
{
    const int16_t *weights = a->weights, *values = a->values + d * TILE;
    vs sum[GROUP * ACROSS];

    VEC_UNROLL
    for (int i = 0; i < GROUP * across; i++)
        sum[i] = vs_zero();
    VEC_ROLLED
    for (int j = 0; j < a->count; j += 2, weights += 2, values += 2 * VF) {
        vh value[ACROSS];

        VEC_UNROLL
        for (int i = 0; i < across; i++)
            value[i] = vh_load(values + i * VF * TILE);
        VEC_UNROLL
        for (int r = 0; r < GROUP; r++) {
            vh weight = vh_set(weights + r * TILE);

            VEC_UNROLL
            for (int i = 0; i < across; i++)
                sum[r * across + i] = vs_dot(sum[r * across + i], value[i], weight);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < across; i++) {
        vf scale = vf_load(a->value_scale + d + i * VF);

        VEC_UNROLL
        for (int r = 0; r < GROUP; r++) {
            float *to = a->sum + (row + r) * padded(width) + d + i * VF;
            vf before = vf_mul(vf_load(to), vf_set(shrink[r]));

            if (a->weighed[r]) /* else 0 times a scale that is not finite would spoil the sum */
                vf_store(to, vf_fma(vi_to_float(vs_wide(sum[r * across + i]), 0), scale, before));
        }
    }
}

/* Takes a tile into account for a group. */
static inline __attribute__((always_inline)) void attend_group(struct attending *a, int row, const int width)
{
    int vectors = (a->count + VF - 1) / VF, at = 0, d = 0;
    vf best[GROUP];
    float shrink[GROUP];

    VEC_UNROLL
    for (int r = 0; r < GROUP; r++)
        best[r] = vf_set(-INFINITY);
    for (; vectors - at >= ACROSS; at += ACROSS)
        products(a, best, row, at, ACROSS, width);
    for (; at < vectors; at++)
        products(a, best, row, at, 1, width);
    for (; at % VEC_INTERLEAVED != 0; at++) /* up to where weights are made of */
        for (int r = 0; r < GROUP; r++)
            vf_store(a->scores + r * TILE + at * VF, vf_set(NAN));
    weigh_group(a, shrink, best, row);
    for (; width - d > (ACROSS - 1) * VF; d += ACROSS * VF)
        add_values(a, shrink, row, d, ACROSS, width);
    for (; d < width; d += VF)
        add_values(a, shrink, row, d, 1, width);
}

/* What takes the time is a function of its own for the usual head, whose width is a constant there. */
static __attribute__((noinline)) void attend_group_64(struct attending *a, int row)
{
    attend_group(a, row, PALME_HEAD);
}

static __attribute__((noinline)) void attend_group_any(struct attending *a, int row, int width)
{
    attend_group(a, row, width);
}

/* What is too large for the stack, at multiples of 64 bytes. */
static struct attending lay_out(void *workspace, int width)
{
    size_t dims = (size_t)padded(width), rows = PALME_INT16_ROWS;
    struct attending a;
    char *at = workspace;

#define TAKE(pointer, count) ((pointer) = (void *)at, at += ((size_t)(count) * sizeof *(pointer) + 63) / 64 * 64)
    TAKE(a.sum, rows * dims);
    TAKE(a.queries, rows * dims);
    TAKE(a.keys, TILE * dims);
    TAKE(a.values, TILE * dims);
    TAKE(a.rounded, VF * dims);
    TAKE(a.weights, GROUP * TILE);
    TAKE(a.scores, GROUP * TILE);
    TAKE(a.value_scale, dims);
    TAKE(a.key_scale, TILE);
    TAKE(a.factor, rows);
    TAKE(a.top, rows);
    TAKE(a.total, rows);
#undef TAKE
    return a;
}

/* What is taken above for heads of 32 and more dimensions, in the widest vectors. */
#define TAKEN(dims)                                                                                                    \
    (PALME_INT16_ROWS * (6 * (dims) + 12) + 2 * 2 * TILE * (dims) + 2 * 16 * (dims) + 6 * GROUP * TILE + 4 * (dims) +  \
     4 * TILE + 12 * 64)
_Static_assert(TAKEN(32) <= PALME_ATTEND_WORKSPACE(32) &&
                   TAKEN(PALME_MOST_HEAD_DIM) <= PALME_ATTEND_WORKSPACE(PALME_MOST_HEAD_DIM),
               "the workspace of attention is too small");

/* The rows first..first+rows-1 over all keys. Of a group's rows that there are not they are the last one's. */
static inline __attribute__((always_inline)) void attend_rows(float *out, const float *q, const float *k,
                                                              const float *v, const struct palme_attend *shape,
                                                              int first, int rows, const int width)
{
    const int groups = (rows + GROUP - 1) / GROUP;
    struct attending a = lay_out(shape->workspace, width);

    memset(a.sum, 0, (size_t)(groups * GROUP * padded(width)) * sizeof *a.sum);
    for (int r = 0; r < groups * GROUP; r++) {
        const float *query = q + (first + (r < rows ? r : rows - 1)) * shape->q_stride;
        float scale = round_row(a.queries + r * padded(width), query, PALME_INT16_KEY_MOST, width);

        a.factor[r] = scale * (shape->scale * LOG2_E);
        a.top[r] = -INFINITY;
        a.total[r] = 0;
    }
    for (int tile = 0; tile < shape->keys; tile += TILE) {
        a.count = shape->keys - tile < TILE ? shape->keys - tile : TILE;
        fill_tile(&a, k + tile * shape->k_stride, v + tile * shape->v_stride, shape, width);
        for (int group = 0; group < groups; group++) {
            if (width == PALME_HEAD)
                attend_group_64(&a, group * GROUP);
            else
                attend_group_any(&a, group * GROUP, width);
        }
    }
    for (int r = 0; r < rows; r++) {
        vf factor = vf_set(a.total[r] > 0 ? 1 / a.total[r] : 0);

        for (int d = 0; d < width; d += VF)
            vf_store_n(out + (first + r) * shape->out_stride + d,
                       vf_mul(vf_load(a.sum + r * padded(width) + d), factor), vf_left(width, d));
    }
}

static void attend_int16(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape)
{
    for (int first = 0; first < shape->rows; first += PALME_INT16_ROWS) {
        int rows = shape->rows - first < PALME_INT16_ROWS ? shape->rows - first : PALME_INT16_ROWS;

        if (shape->width == PALME_HEAD)
            attend_rows(out, q, k, v, shape, first, rows, PALME_HEAD);
        else
            attend_rows(out, q, k, v, shape, first, rows, shape->width);
    }
}

void VEC_NAME(palme_attend_int16_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_attend_int16_init)(struct palme_kernels *kernels)
{
    kernels->attend_int16 = attend_int16;
}
