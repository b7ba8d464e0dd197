/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attend_simd.c - attention in vector operations: a softmax over tiles of keys that keeps no more than one tile of
 * scores. The build compiles this file once per level; everything but the level's init is static.
 *
 * Keys are taken a tile at a time and rows some at a time: a tile of keys and values is read into the nearest
 * cache once for all of these rows, and what a row has summed so far waits in memory meanwhile. Six rows go
 * through a tile interleaved and share its loads; for them the keys are turned over, so that the lanes of a vector are
 * keys. A row is summed in one order, alone or interleaved.
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
    ROWS_WAITING = 64
};

/* What one row has of the keys so far: sum and total are those of exp(score - top). */
struct attended {
    float query[PALME_HEAD];
    int position, end; /* among the keys; it sees those before `end` */
    float top;
    vf total[LANE_VECTORS], sum[HEAD];
};

/* y[count] = the products of one row with as many keys; behind them it writes what means nothing, up to a
 * multiple of VF. A product is eight sums, those of every eighth dimension, which vf_sum_eights adds up in pairs. */
static void products(float *y, const float *query, const float *k, ptrdiff_t stride, int count)
{
    vf q[PALME_HEAD / 8][8];

    VEC_UNROLL
    for (int d = 0; d < PALME_HEAD / 8; d++)
        for (int i = 0; i < 8; i += EIGHTS)
            q[d][i] = vf_load_eight(query + d * 8, i);
    for (int j = 0; j < count; j += VF) {
        vf dot[8];

        VEC_UNROLL
        for (int i = 0; i < 8; i++) {
            const float *key[EIGHTS_ROWS];

            for (int r = 0; r < EIGHTS_ROWS; r++) {
                int at = j + vf_eights_row(i, r);

                key[r] = k + (at < count ? at : j) * stride; /* a key that exists */
            }
            dot[i] = vf_mul(q[0][i / EIGHTS * EIGHTS], vf_load_eights(key, i));
            VEC_UNROLL
            for (int d = 1; d < PALME_HEAD / 8; d++) {
                for (int r = 0; r < EIGHTS_ROWS; r++)
                    key[r] += 8;
                dot[i] = vf_fma(q[d][i / EIGHTS * EIGHTS], vf_load_eights(key, i), dot[i]);
            }
        }
        vf_store(y + j, vf_sum_eights(dot));
    }
}

/* A tile for interleaved rows. */
struct tile_of_keys {
    float turned[PALME_HEAD][KEY_TILE]; /* keys */
    float values[KEY_TILE][PALME_HEAD]; /* close together: rows far apart by a power of two share few cache lines */
    int count;
};

/* The tile of `count` keys; turned, up to a multiple of VF as above. */
static void tile_fill(struct tile_of_keys *tile, const float *k, const float *v, const struct palme_attend *shape,
                      int count)
{
    const ptrdiff_t stride = shape->k_stride;

    tile->count = count;
    for (int j = 0; j < count; j += VF) {
        const float *key[VF];

        for (int i = 0; i < VF; i++)
            key[i] = k + (j + i < count ? j + i : j) * stride;
        for (int d = 0; d < PALME_HEAD; d += VF) {
            vf column[VF];

            vf_load_transposed(column, key, d);
            for (int i = 0; i < VF; i++)
                vf_store(&tile->turned[d + i][j], column[i]);
        }
    }
    for (int j = 0; j < count; j++)
        for (int d = 0; d < PALME_HEAD; d += VF)
            vf_store(&tile->values[j][d], vf_load(v + j * shape->v_stride + d));
}

/* sum[rows][STEP_WIDTH] = what every eighth dimension from `lane` on adds to the products of interleaved rows. */
static inline __attribute__((always_inline)) void lane_interleaved(vf *sum, const struct attended *row, const int rows,
                                                                   const float *turned, int lane)
{
    for (int i = 0; i < rows * STEP_WIDTH; i++)
        sum[i] =
            vf_mul(vf_set(row[i / STEP_WIDTH].query[lane]), vf_load(turned + lane * KEY_TILE + i % STEP_WIDTH * VF));
    for (int d = lane + 8; d < PALME_HEAD; d += 8) {
        vf key[STEP_WIDTH];

        for (int i = 0; i < STEP_WIDTH; i++)
            key[i] = vf_load(turned + d * KEY_TILE + i * VF);
        for (int r = 0; r < rows; r++) {
            vf value = vf_set(row[r].query[d]);

            for (int i = 0; i < STEP_WIDTH; i++)
                sum[r * STEP_WIDTH + i] = vf_fma(value, key[i], sum[r * STEP_WIDTH + i]);
        }
    }
}

/* The same products for interleaved rows: y[rows][KEY_TILE]. */
static inline __attribute__((always_inline)) void products_interleaved(float (*y)[KEY_TILE], const struct attended *row,
                                                                       const int rows, const struct tile_of_keys *tile,
                                                                       int count)
{
    enum { PAIRINGS = 3 }; /* 8 lanes make 4, 2 and 1 */

    for (int j = 0; j < count; j += STEP_WIDTH * VF) {
        vf open[PAIRINGS + 1][SUMS]; /* open[n]: the sum of 2^n lanes, waiting for that of the next 2^n */
        int n = 0;

        for (int lane = 0; lane < 8; lane++) {
            vf sum[SUMS];

            lane_interleaved(sum, row, rows, &tile->turned[0][j], lane);
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

/* Products become the weights of keys first..first+count-1, and what the row has is result to their scale. Returns 0 if
 * nothing can be weighed: there was only -infinity so far, or a sum overflowed. */
static int weigh(float *weights, struct attended *row, const struct palme_attend *shape, int first, int count)
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
        for (int d = 0; d < HEAD; d++)
            row->sum[d] = vf_mul(row->sum[d], shrink);
        row->top = high;
    }
    for (int j = 0; j < count; j += VEC_LANES) {
        VEC_UNROLL
        for (int p = 0, at = j; p < LANE_VECTORS && at < count; p++, at += VF) {
            vf weight = vf_exp(vf_sub(vf_load(weights + at), vf_set(high)));

            row->total[p] = vf_add(row->total[p], weight);
            vf_store(weights + at, weight);
        }
    }
    return 1;
}

/* Adds count weighted values to the sums of rows, `width` vectors at a time. */
static inline __attribute__((always_inline)) void add_values(struct attended *row, const int rows, const int width,
                                                             float (*weights)[KEY_TILE], const float *v,
                                                             ptrdiff_t stride, int count)
{
    for (int part = 0; part < HEAD; part += width) {
        const float *value = v + part * VF;
        vf sum[SUMS];

        for (int i = 0; i < rows * width; i++)
            sum[i] = row[i / width].sum[part + i % width];
        for (int j = 0; j < count; j++, value += stride) {
            vf a[HEAD];

            for (int i = 0; i < width; i++)
                a[i] = vf_load(value + i * VF);
            for (int r = 0; r < rows; r++) {
                vf weight = vf_set(weights[r][j]);

                for (int i = 0; i < width; i++)
                    sum[r * width + i] = vf_fma(weight, a[i], sum[r * width + i]);
            }
        }
        for (int i = 0; i < rows * width; i++)
            row[i / width].sum[part + i % width] = sum[i];
    }
}

/* Takes keys first..first+count-1, all of which the row sees, into account. */
static void attend_row(struct attended *row, const float *k, const float *v, const struct palme_attend *shape,
                       int first, int count)
{
    _Alignas(64) float weights[1][KEY_TILE];

    products(weights[0], row->query, k, shape->k_stride, count);
    if (weigh(weights[0], row, shape, first, count))
        add_values(row, 1, HEAD, weights, v, shape->v_stride, count);
}

/* The same for interleaved rows. */
static inline __attribute__((always_inline)) void attend_interleaved(struct attended *row, const int rows,
                                                                     const struct tile_of_keys *tile,
                                                                     const struct palme_attend *shape, int first,
                                                                     int count)
{
    _Alignas(64) float weights[INTERLEAVED][KEY_TILE];
    unsigned weighed = 0;

    products_interleaved(weights, row, rows, tile, count);
    for (int r = 0; r < rows; r++)
        weighed |= (unsigned)weigh(weights[r], &row[r], shape, first, count) << r;
    if (weighed == (1u << rows) - 1)
        add_values(row, rows, STEP_WIDTH, weights, tile->values[0], PALME_HEAD, count);
    else
        for (int r = 0; r < rows; r++)
            if (weighed & 1u << r)
                add_values(row + r, 1, HEAD, weights + r, tile->values[0], PALME_HEAD, count);
}

/* The keys of a tile that a row sees. */
static int seen(const struct attended *row, int tile)
{
    return row->end - tile < KEY_TILE ? row->end - tile : KEY_TILE;
}

/* Whether the first `wanted` of the rows see as many keys of this tile. */
static int alike(const struct attended *row, int rows, int wanted, int tile)
{
    int n = 1;

    while (n < rows && n < wanted && seen(&row[n], tile) == seen(row, tile))
        n++;
    return n == wanted;
}

/* Takes a tile into account for rows that stand together. */
static void attend_tile(struct attended *row, int rows, struct tile_of_keys *turned, const float *k, const float *v,
                        const struct palme_attend *shape, int tile)
{
    for (int n; rows > 0; row += n, rows -= n) {
        int count = seen(row, tile);

        n = 1;
        if (count <= 0)
            continue;
        if (alike(row, rows, INTERLEAVED, tile)) {
            if (turned->count < count)
                tile_fill(turned, k, v, shape, count);
            n = INTERLEAVED;
            attend_interleaved(row, INTERLEAVED, turned, shape, tile, count);
        } else if (turned->count >= count && alike(row, rows, REST_INTERLEAVED, tile)) {
            n = REST_INTERLEAVED;
            attend_interleaved(row, REST_INTERLEAVED, turned, shape, tile, count);
        } else {
            attend_row(row, k, v, shape, tile, count);
        }
    }
}

/* What is too large for the stack. */
struct attend_workspace {
    struct attended row[ROWS_WAITING];
    _Alignas(64) struct tile_of_keys turned;
};
_Static_assert(sizeof(struct attend_workspace) <= PALME_ATTEND_WORKSPACE, "the workspace of attention is too small");

/* Rows first..first+rows-1 over all of their keys. */
static void attend_rows(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape,
                        int first, int rows)
{
    struct attend_workspace *workspace = shape->workspace;
    struct attended *row = workspace->row;
    int end = 0;

    for (int r = 0; r < rows; r++) {
        int position = shape->first + first + r, last = position < shape->visible ? shape->visible : position + 1;

        row[r].position = position;
        row[r].end = last < shape->keys ? last : shape->keys;
        row[r].top = -INFINITY;
        for (int p = 0; p < LANE_VECTORS; p++)
            row[r].total[p] = vf_set(0);
        for (int d = 0; d < HEAD; d++) {
            vf_store(row[r].query + d * VF, vf_load(q + (first + r) * shape->q_stride + d * VF));
            row[r].sum[d] = vf_set(0);
        }
        end = row[r].end > end ? row[r].end : end;
    }
    for (int tile = 0; tile < end; tile += KEY_TILE) {
        workspace->turned.count = 0;
        attend_tile(row, rows, &workspace->turned, k + tile * shape->k_stride, v + tile * shape->v_stride, shape, tile);
    }
    for (int r = 0; r < rows; r++) {
        float all = vf_sum_lanes(row[r].total);
        vf factor = vf_set(all > 0 ? 1 / all : 0);

        for (int d = 0; d < HEAD; d++)
            vf_store(out + (first + r) * shape->out_stride + d * VF, vf_mul(row[r].sum[d], factor));
    }
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
