/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attend_simd.c - attention in vector operations: a softmax over tiles of keys that keeps no more than one tile of
 * scores. The build compiles this file once per level; everything but the level's init is static.
 *
 * Keys are taken a tile at a time and rows some at a time: a tile of keys and values is read into the nearest
 * cache once for all of these rows, and what a row has summed so far waits in memory meanwhile. Six rows go
 * through a tile interleaved and share its loads; for them the keys are turned over, so that the lanes of a vector are
 * keys. A row is summed in one order, alone or interleaved.
 *
 * A head may be of any width. The loops are compiled for 64, a constant, and once more for all others. In memory of
 * our own a head is padded with zeros, which add nothing; that of the caller is read to a head's last value and not
 * past it.
 */
#include "kernels/vec.h"

#include "kernels/kernels.h"

#include <math.h>

enum {
    HEAD = PALME_HEAD / VF,
    KEY_TILE = 64,
    INTERLEAVED = 6,      /* interleaved rows, and vectors of each of them: sums that stay in registers */
    REST_INTERLEAVED = 4, /* where no six are left and the keys are turned over anyway: 64 is 10 * 6 + 4 */
    STEP_WIDTH = 2,
    SUMS = INTERLEAVED * STEP_WIDTH > HEAD ? INTERLEAVED *STEP_WIDTH : HEAD, /* of interleaved rows, or of one row */
    ROWS_WAITING = PALME_ATTEND_ROWS,
    QUERIES = ROWS_WAITING + 16, /* a line more, or every eighth dimension would share a set of the nearest cache */
    COLUMNS = STEP_WIDTH * VF,   /* dimensions whose sums interleaved rows have in registers */
    EIGHT = 8                    /* dimensions that go to different sums of a product */
};

/* Dimensions of a head in memory of our own, and those that its products have. */
static inline int padded(int width)
{
    enum { UNIT = VF > EIGHT ? VF : EIGHT };

    return (width + UNIT - 1) / UNIT * UNIT;
}

static inline int eights(int width)
{
    return (width + EIGHT - 1) / EIGHT;
}

/* Up to VF values, zeros behind them. */
static inline vf load_left(const float *p, int left)
{
    return left >= VF ? vf_load(p) : left > 0 ? vf_load_n(p, left) : vf_set(0);
}

/* What one row has of the keys so far: sum and total are those of exp(score - top). */
struct attended {
    int position, end; /* among the keys; it sees those before `end` */
    float top;
    const float *query;
    vf total[LANE_VECTORS], sum[]; /* [padded / VF] */
};

static inline size_t attended_bytes(int width)
{
    return sizeof(struct attended) + (size_t)padded(width) * sizeof(float);
}

static inline struct attended *row_at(struct attended *row, int r, int width)
{
    return (struct attended *)(void *)((char *)row + (size_t)r * attended_bytes(width));
}

/* y[count] = the products of one row with as many keys, whose width is a multiple of EIGHT; behind them it writes what
 * means nothing, up to a multiple of VF. A product is eight sums, those of every eighth dimension, which vf_sum_eights
 * adds up in pairs. */
static inline __attribute__((always_inline)) void products(float *y, const float *query, const float *k,
                                                           ptrdiff_t stride, int count, const int width)
{
    vf q[PALME_HEAD / EIGHT][EIGHT];

    VEC_UNROLL
    for (int d = 0; d < PALME_HEAD / EIGHT; d++)
        for (int i = 0; i < EIGHT; i += EIGHTS)
            q[d][i] = width == PALME_HEAD ? vf_load_eight(query + d * EIGHT, i) : vf_set(0);
    for (int j = 0; j < count; j += VF) {
        vf dot[EIGHT];

        VEC_UNROLL
        for (int i = 0; i < EIGHT; i++) {
            const float *key[EIGHTS_ROWS];
            const int at_query = i / EIGHTS * EIGHTS;

            for (int r = 0; r < EIGHTS_ROWS; r++) {
                int at = j + vf_eights_row(i, r);

                key[r] = k + (at < count ? at : j) * stride; /* a key that exists */
            }
            dot[i] =
                vf_mul(width == PALME_HEAD ? q[0][at_query] : vf_load_eight(query, at_query), vf_load_eights(key, i));
            if (width == PALME_HEAD) {
                VEC_UNROLL
                for (int d = 1; d < PALME_HEAD / EIGHT; d++) {
                    for (int r = 0; r < EIGHTS_ROWS; r++)
                        key[r] += EIGHT;
                    dot[i] = vf_fma(q[d][at_query], vf_load_eights(key, i), dot[i]);
                }
            } else {
                for (int d = 1; d < eights(width); d++) {
                    for (int r = 0; r < EIGHTS_ROWS; r++)
                        key[r] += EIGHT;
                    dot[i] = vf_fma(vf_load_eight(query + d * EIGHT, at_query), vf_load_eights(key, i), dot[i]);
                }
            }
        }
        vf_store(y + j, vf_sum_eights(dot));
    }
}

/* A tile for interleaved rows. */
struct tile_of_keys {
    float *turned; /* [padded][KEY_TILE] keys */
    float *values; /* [ceil(padded / COLUMNS)][KEY_TILE][COLUMNS], in the order in which they are read */
    int count;
};

/* column[VF] = dimensions at.. of VF keys, turned over. */
static inline __attribute__((always_inline)) void turn(vf column[VF], const float *const key[VF], int at,
                                                       const int width)
{
    if (width - at >= VF) {
        vf_load_transposed(column, key, at);
    } else {
        float part[VF][VF];
        const float *of[VF];

        for (int i = 0; i < VF; i++) {
            vf_store(part[i], load_left(key[i] + at, width - at));
            of[i] = part[i];
        }
        vf_load_transposed(column, of, 0);
    }
}

/* The tile of `count` keys; turned, up to a multiple of VF as above. */
static inline __attribute__((always_inline)) void tile_fill(struct tile_of_keys *tile, const float *k, const float *v,
                                                            const struct palme_attend *shape, int count,
                                                            const int width)
{
    const ptrdiff_t stride = shape->k_stride;

    tile->count = count;
    for (int j = 0; j < count; j += VF) {
        const float *key[VF];

        for (int i = 0; i < VF; i++)
            key[i] = k + (j + i < count ? j + i : j) * stride;
        for (int d = 0; d < padded(width); d += VF) {
            vf column[VF];

            turn(column, key, d, width);
            for (int i = 0; i < VF; i++)
                vf_store(tile->turned + (d + i) * KEY_TILE + j, column[i]);
        }
    }
    for (int j = 0; j < count; j++)
        for (int d = 0; d < padded(width); d += VF)
            vf_store(tile->values + (d / COLUMNS * KEY_TILE + j) * COLUMNS + d % COLUMNS,
                     load_left(v + j * shape->v_stride + d, width - d));
}

/* sum[rows][STEP_WIDTH] = what every eighth dimension from `lane` on adds to the products of interleaved rows. */
static inline __attribute__((always_inline)) void lane_interleaved(vf *sum, const float *queries, const int rows,
                                                                   const float *turned, int lane, const int width)
{
    for (int i = 0; i < rows * STEP_WIDTH; i++)
        sum[i] = vf_mul(vf_set(queries[lane * QUERIES + i / STEP_WIDTH]),
                        vf_load(turned + lane * KEY_TILE + i % STEP_WIDTH * VF));
    for (int d = lane + EIGHT; d < eights(width) * EIGHT; d += EIGHT) {
        vf key[STEP_WIDTH];

        for (int i = 0; i < STEP_WIDTH; i++)
            key[i] = vf_load(turned + d * KEY_TILE + i * VF);
        for (int r = 0; r < rows; r++) {
            vf value = vf_set(queries[d * QUERIES + r]);

            for (int i = 0; i < STEP_WIDTH; i++)
                sum[r * STEP_WIDTH + i] = vf_fma(value, key[i], sum[r * STEP_WIDTH + i]);
        }
    }
}

/* The same products for interleaved rows: y[rows][KEY_TILE]. */
static inline __attribute__((always_inline)) void products_interleaved(float (*y)[KEY_TILE], const float *queries,
                                                                       const int rows, const struct tile_of_keys *tile,
                                                                       int count, const int width)
{
    enum { PAIRINGS = 3 }; /* 8 lanes make 4, 2 and 1 */

    for (int j = 0; j < count; j += STEP_WIDTH * VF) {
        vf open[PAIRINGS + 1][SUMS]; /* open[n]: the sum of 2^n lanes, waiting for that of the next 2^n */
        int n = 0;

        for (int lane = 0; lane < EIGHT; lane++) {
            vf sum[SUMS];

            lane_interleaved(sum, queries, rows, tile->turned + j, lane, width);
            for (n = 0; lane >> n & 1; n++)
                for (int i = 0; i < rows * STEP_WIDTH; i++)
                    sum[i] = vf_add(open[n][i], sum[i]);
            for (int i = 0; i < rows * STEP_WIDTH; i++)
                open[n][i] = sum[i];
        }
        for (int i = 0; i < rows * STEP_WIDTH; i++)
            vf_store(y[i / STEP_WIDTH] + j + i % STEP_WIDTH * VF, open[n][i]);
    }
}

/* Products become the weights of keys first..first+count-1, and what the row has, `vectors` of sums, is brought to
 * their scale. Returns 0 if
 * nothing can be weighed: there was only -infinity so far, or a sum overflowed. */
static int weigh(float *weights, struct attended *row, const struct palme_attend *shape, int first, int count,
                 int vectors)
{
    static const float count_up[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    vf best = vf_set(row->top), scale = vf_set(shape->scale), slope = vf_set(-shape->slope);

    for (int j = 0; j < count; j += VF) {
        vf s = vf_mul(vf_load(weights + j), scale);

        if (shape->slope != 0) {
            vf distance = vf_sub(vf_set((float)(row->position - first - j)), vf_load(count_up));

            s = vf_fma(vf_abs(distance), slope, s);
        }
        if (count - j < VF)
            s = vf_keep_n(s, count - j, -INFINITY);
        best = vf_max(s, best);
        vf_store(weights + j, s);
    }
    float high = vf_largest(best);
    if (isinf(high))
        return 0;
    if (high != row->top) {
        vf shrink = vf_exp(vf_sub(vf_set(row->top), vf_set(high)));

        for (int p = 0; p < LANE_VECTORS; p++)
            row->total[p] = vf_mul(row->total[p], shrink);
        for (int d = 0; d < vectors; d++)
            row->sum[d] = vf_mul(row->sum[d], shrink);
        row->top = high;
    }
    int j = 0;

    for (; count - j > (VEC_INTERLEAVED - 1) * VF; j += VEC_INTERLEAVED * VF) {
        vf weight[VEC_INTERLEAVED];

        VEC_UNROLL
        for (int i = 0; i < VEC_INTERLEAVED; i++)
            weight[i] = vf_sub(vf_load(weights + j + i * VF), vf_set(high));
        vf_exps(weight, VEC_INTERLEAVED);
        VEC_UNROLL
        for (int i = 0; i < VEC_INTERLEAVED; i++) {
            row->total[i % LANE_VECTORS] = vf_add(row->total[i % LANE_VECTORS], weight[i]);
            vf_store(weights + j + i * VF, weight[i]);
        }
    }
    for (int i = 0; j < count; i++, j += VF) {
        vf weight = vf_exp(vf_sub(vf_load(weights + j), vf_set(high)));

        row->total[i % LANE_VECTORS] = vf_add(row->total[i % LANE_VECTORS], weight);
        vf_store(weights + j, weight);
    }
    return 1;
}

/* Adds count weighted values to the sums of rows, to `take` vectors of them from `part` on, of which the last may have
 * fewer values that exist: width - part * VF in all. */
static inline __attribute__((always_inline)) void add_part(struct attended *row, const int rows, int part,
                                                           const int take, float (*weights)[KEY_TILE], const float *v,
                                                           ptrdiff_t stride, int count, const int width,
                                                           const int whole)
{
    const float *value = v;
    int left = width - (part + take - 1) * VF; /* values of the last vector */
    vf sum[SUMS];

    for (int i = 0; i < rows * take; i++)
        sum[i] = row_at(row, i / take, width)->sum[part + i % take];
    for (int j = 0; j < count; j++, value += stride) {
        vf a[HEAD];

        for (int i = 0; i < take; i++)
            a[i] = whole || i < take - 1 ? vf_load(value + i * VF) : load_left(value + i * VF, left);
        for (int r = 0; r < rows; r++) {
            vf weight = vf_set(weights[r][j]);

            for (int i = 0; i < take; i++)
                sum[r * take + i] = vf_fma(weight, a[i], sum[r * take + i]);
        }
    }
    for (int i = 0; i < rows * take; i++)
        row_at(row, i / take, width)->sum[part + i % take] = sum[i];
}

/* All of them: interleaved rows from a tile, which is padded. */
static inline __attribute__((always_inline)) void add_values_interleaved(struct attended *row, const int rows,
                                                                         float (*weights)[KEY_TILE],
                                                                         const struct tile_of_keys *tile, int count,
                                                                         const int width)
{
    int part = 0, vectors = padded(width) / VF;

    for (; vectors - part >= STEP_WIDTH; part += STEP_WIDTH)
        add_part(row, rows, part, STEP_WIDTH, weights, tile->values + part * KEY_TILE * VF, COLUMNS, count, width, 1);
    if (width != PALME_HEAD && part < vectors)
        add_part(row, rows, part, 1, weights, tile->values + part * KEY_TILE * VF, COLUMNS, count, width, 1);
}

/* And one row, from where the values are. */
static inline __attribute__((always_inline)) void add_values(struct attended *row, float (*weights)[KEY_TILE],
                                                             const float *v, ptrdiff_t stride, int count,
                                                             const int width)
{
    int part = 0, vectors = (width + VF - 1) / VF;
    const int whole = width == PALME_HEAD;

    for (; vectors - part >= HEAD; part += HEAD)
        add_part(row, 1, part, HEAD, weights, v + part * VF, stride, count, width, whole);
    if (width == PALME_HEAD)
        return;
    for (; vectors - part >= HEAD / 2; part += HEAD / 2)
        add_part(row, 1, part, HEAD / 2, weights, v + part * VF, stride, count, width, whole);
    for (; part < vectors; part++)
        add_part(row, 1, part, 1, weights, v + part * VF, stride, count, width, whole);
}

/* Takes keys first..first+count-1, all of which the row sees, into account. */
static inline __attribute__((always_inline)) void attend_row(struct attended *row, const float *k, const float *v,
                                                             const struct palme_attend *shape, int first, int count,
                                                             const int width)
{
    _Alignas(64) float weights[1][KEY_TILE];

    products(weights[0], row->query, k, shape->k_stride, count, width);
    if (weigh(weights[0], row, shape, first, count, padded(width) / VF))
        add_values(row, weights, v, shape->v_stride, count, width);
}

/* The same for interleaved rows. */
static inline __attribute__((always_inline)) void attend_interleaved(struct attended *row, const float *queries,
                                                                     const int rows, const struct tile_of_keys *tile,
                                                                     const struct palme_attend *shape, int first,
                                                                     int count, const int width)
{
    _Alignas(64) float weights[INTERLEAVED][KEY_TILE];
    unsigned weighed = 0;

    products_interleaved(weights, queries, rows, tile, count, width);
    for (int r = 0; r < rows; r++)
        weighed |= (unsigned)weigh(weights[r], row_at(row, r, width), shape, first, count, padded(width) / VF) << r;
    if (weighed == (1u << rows) - 1)
        add_values_interleaved(row, rows, weights, tile, count, width);
    else
        for (int r = 0; r < rows; r++)
            if (weighed & 1u << r)
                add_values_interleaved(row_at(row, r, width), 1, weights + r, tile, count, width);
}

/* The keys of a tile that a row sees. */
static int seen(const struct attended *row, int tile)
{
    return row->end - tile < KEY_TILE ? row->end - tile : KEY_TILE;
}

/* Whether the first `wanted` of the rows see as many keys of this tile. */
static inline int alike(struct attended *row, int rows, int wanted, int tile, int width)
{
    int n = 1;

    while (n < rows && n < wanted && seen(row_at(row, n, width), tile) == seen(row, tile))
        n++;
    return n == wanted;
}

/* Takes a tile into account for rows that stand together. A row alone reads keys where they are, in whole eights. */
static inline __attribute__((always_inline)) void attend_tile(struct attended *row, const float *queries, int rows,
                                                              struct tile_of_keys *turned, const float *k,
                                                              const float *v, const struct palme_attend *shape,
                                                              int tile, const int width)
{
    for (int n; rows > 0; row = row_at(row, n, width), queries += n, rows -= n) {
        int count = seen(row, tile);

        n = 1;
        if (count <= 0)
            continue;
        if (alike(row, rows, INTERLEAVED, tile, width))
            n = INTERLEAVED;
        else if (turned->count >= count && alike(row, rows, REST_INTERLEAVED, tile, width))
            n = REST_INTERLEAVED;
        if ((n > 1 || width % EIGHT != 0) && turned->count < count)
            tile_fill(turned, k, v, shape, count, width);
        if (n == INTERLEAVED)
            attend_interleaved(row, queries, INTERLEAVED, turned, shape, tile, count, width);
        else if (n == REST_INTERLEAVED)
            attend_interleaved(row, queries, REST_INTERLEAVED, turned, shape, tile, count, width);
        else if (width % EIGHT != 0)
            attend_interleaved(row, queries, 1, turned, shape, tile, count, width);
        else
            attend_row(row, k, v, shape, tile, count, width);
    }
}

static __attribute__((noinline)) void attend_tile_64(struct attended *row, const float *queries, int rows,
                                                     struct tile_of_keys *turned, const float *k, const float *v,
                                                     const struct palme_attend *shape, int tile)
{
    attend_tile(row, queries, rows, turned, k, v, shape, tile, PALME_HEAD);
}

static __attribute__((noinline)) void attend_tile_any(struct attended *row, const float *queries, int rows,
                                                      struct tile_of_keys *turned, const float *k, const float *v,
                                                      const struct palme_attend *shape, int tile)
{
    attend_tile(row, queries, rows, turned, k, v, shape, tile, shape->width);
}

/* What is too large for the stack: rows, their queries turned over as keys are, and a tile. */
_Static_assert(ROWS_WAITING *(sizeof(struct attended) + PALME_HEAD * sizeof(float)) +
                       (QUERIES + 2 * KEY_TILE) * PALME_HEAD * sizeof(float) <=
                   PALME_ATTEND_WORKSPACE(PALME_HEAD),
               "the workspace of attention is too small");

/* Queries of `rows` rows, turned over. What stands for rows that there are not means nothing. */
static void turn_queries(float *queries, const float *q, ptrdiff_t stride, int rows, int width)
{
    for (int r = 0; r < rows; r += VF) {
        const float *query[VF];

        for (int i = 0; i < VF; i++)
            query[i] = q + (r + i < rows ? r + i : r) * stride;
        for (int d = 0; d < padded(width); d += VF) {
            vf column[VF];

            turn(column, query, d, width);
            for (int i = 0; i < VF; i++)
                vf_store(queries + (d + i) * QUERIES + r, column[i]);
        }
    }
}

/* Returns where the row's keys end. */
static int row_begin(struct attended *row, const float *q, const struct palme_attend *shape, int position)
{
    int width = shape->width, last = position < shape->visible ? shape->visible : position + 1;

    row->query = q;
    row->position = position;
    row->end = last < shape->keys ? last : shape->keys;
    row->top = -INFINITY;
    for (int p = 0; p < LANE_VECTORS; p++)
        row->total[p] = vf_set(0);
    for (int d = 0; d < padded(width) / VF; d++)
        row->sum[d] = vf_set(0);
    return row->end;
}

static void row_end(float *out, const struct attended *row, int width)
{
    float all = vf_sum_lanes(row->total);
    vf factor = vf_set(all > 0 ? 1 / all : 0);

    for (int d = 0; d < width; d += VF)
        vf_store_n(out + d, vf_mul(row->sum[d / VF], factor), vf_left(width, d));
}

/* Rows first..first+rows-1 over all of their keys. */
static void attend_rows(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape,
                        int first, int rows)
{
    const int width = shape->width;
    struct attended *row = shape->workspace;
    float *queries = (float *)(void *)row_at(row, ROWS_WAITING, width);
    struct tile_of_keys turned = { .turned = queries + padded(width) * QUERIES };
    int end = 0;

    turned.values = turned.turned + padded(width) * KEY_TILE;
    for (int r = 0; r < rows; r++) {
        int sees = row_begin(row_at(row, r, width), q + (first + r) * shape->q_stride, shape, shape->first + first + r);

        end = sees > end ? sees : end;
    }
    if (rows >= INTERLEAVED || width % EIGHT != 0)
        turn_queries(queries, q + first * shape->q_stride, shape->q_stride, rows, width);
    for (int tile = 0; tile < end; tile += KEY_TILE) {
        const float *key = k + tile * shape->k_stride, *value = v + tile * shape->v_stride;

        turned.count = 0;
        if (width == PALME_HEAD)
            attend_tile_64(row, queries, rows, &turned, key, value, shape, tile);
        else
            attend_tile_any(row, queries, rows, &turned, key, value, shape, tile);
    }
    for (int r = 0; r < rows; r++)
        row_end(out + (first + r) * shape->out_stride, row_at(row, r, width), width);
}

static void attend(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape)
{
    for (int first = 0; first < shape->rows; first += ROWS_WAITING)
        attend_rows(out, q, k, v, shape, first,
                    shape->rows - first < ROWS_WAITING ? shape->rows - first : ROWS_WAITING);
}

void VEC_NAME(palme_attend_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_attend_init)(struct palme_kernels *kernels)
{
    kernels->attend = attend;
}
