/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attend_keys.h - products of queries with keys, for attend_simd.c: of one row with keys where they are, and of a group
 * of rows with a tile of keys that is turned over. Both sum a product in the same order.
 */
#ifndef PALME_ATTEND_KEYS_H
#define PALME_ATTEND_KEYS_H

#include "kernels/vec.h"

#include "kernels/kernels.h"

#include <math.h>

enum {
    HEAD = PALME_HEAD / VF,
    KEY_TILE = 64,
    GROUP = 6,       /* interleaved rows */
    GROUP_LEAST = 3, /* rows that are filled up to a group where the keys are turned over anyway */
    QUERY = 8,       /* values of a dimension in the queries of a group: those of its rows, and padding */
    STEP_WIDTH = 2,  /* vectors of keys or values that a group takes at a time */
    BLOCK = STEP_WIDTH * VF,
    LANES = 2, /* lanes of a product that are summed side by side; so many sums stay in registers: */
    GROUP_PART = VEC_REGISTERS < 32 ? 3 : GROUP,                 /* by LANES by STEP_WIDTH, of rows */
    SUMS = GROUP * STEP_WIDTH > HEAD ? GROUP *STEP_WIDTH : HEAD, /* of a group's or of one row's values */
    GROUPS = PALME_ATTEND_ROWS / GROUP,
    EIGHT = 8 /* dimensions that go to different sums of a product */
};

_Static_assert(PALME_ATTEND_ROWS % GROUP == 0, "rows that wait are whole groups");

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

/* A tile for groups, in the order in which they read it. */
struct tile_of_keys {
    float *turned; /* [KEY_TILE / BLOCK][padded][BLOCK] keys */
    float *values; /* [ceil(padded / BLOCK)][KEY_TILE][BLOCK] */
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
    const ptrdiff_t k_stride = shape->k_stride, v_stride = shape->v_stride;
    float *turned = tile->turned, *values = tile->values;

    tile->count = count;
    for (int j = 0; j < count; j += VF) {
        float *to = turned + j / BLOCK * padded(width) * BLOCK + j % BLOCK;
        const float *key[VF];

        for (int i = 0; i < VF; i++)
            key[i] = k + (j + i < count ? j + i : j) * k_stride;
        for (int d = 0; d < padded(width); d += VF) {
            vf column[VF];

            turn(column, key, d, width);
            VEC_UNROLL
            for (int i = 0; i < VF; i++)
                vf_store(to + (d + i) * BLOCK, column[i]);
        }
    }
    for (int j = 0; j < count; j++, v += v_stride, values += BLOCK)
        for (int d = 0; d < padded(width); d += BLOCK)
            for (int i = 0; i < BLOCK && d + i < padded(width); i += VF)
                vf_store(values + d * KEY_TILE + i, load_left(v + d + i, width - d - i));
}

/* sum[LANES][rows][STEP_WIDTH] = what every eighth dimension from `lane` on, and from the next lane on, adds to the
 * products of rows with a block of keys. */
static inline __attribute__((always_inline)) void lanes_of_products(vf sum[LANES][SUMS], const float *queries,
                                                                    const int rows, const float *keys, int lane,
                                                                    const int width)
{
    VEC_UNROLL
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < rows * STEP_WIDTH; i++)
            sum[l][i] = vf_mul(vf_set(queries[(lane + l) * QUERY + i / STEP_WIDTH]),
                               vf_load(keys + (lane + l) * BLOCK + i % STEP_WIDTH * VF));
    VEC_ROLLED
    for (int d = lane + EIGHT; d < eights(width) * EIGHT; d += EIGHT) {
        VEC_UNROLL
        for (int l = 0; l < LANES; l++) {
            vf key[STEP_WIDTH];

            for (int i = 0; i < STEP_WIDTH; i++)
                key[i] = vf_held(vf_load(keys + (d + l) * BLOCK + i * VF));
            for (int r = 0; r < rows; r++) {
                vf value = vf_set(queries[(d + l) * QUERY + r]);

                for (int i = 0; i < STEP_WIDTH; i++)
                    sum[l][r * STEP_WIDTH + i] = vf_fma(value, key[i], sum[l][r * STEP_WIDTH + i]);
            }
        }
    }
}

/* y[rows][KEY_TILE] = the products of rows with a block of keys, times `scale`: eight lanes as in `products`, added up
 * in pairs. best[rows]: the highest ones so far. */
static inline __attribute__((always_inline)) void products_with_block(float *y, vf *best, const float *queries,
                                                                      const int rows, const float *keys, float scale,
                                                                      const int width)
{
    vf early[SUMS], late[SUMS]; /* of lanes 0..3 and of lanes 4.. so far */

    VEC_UNROLL
    for (int lane = 0; lane < EIGHT; lane += LANES) {
        vf sum[LANES][SUMS];

        lanes_of_products(sum, queries, rows, keys, lane, width);
        VEC_UNROLL
        for (int i = 0; i < rows * STEP_WIDTH; i++) {
            vf pair = vf_add(sum[0][i], sum[1][i]);

            if (lane == 0)
                early[i] = pair;
            else if (lane == 2)
                early[i] = vf_add(early[i], pair);
            else if (lane == 4)
                late[i] = pair;
            else
                late[i] = vf_mul(vf_add(early[i], vf_add(late[i], pair)), vf_set(scale));
        }
    }
    VEC_UNROLL
    for (int i = 0; i < rows * STEP_WIDTH; i++) {
        vf_store(y + i / STEP_WIDTH * KEY_TILE + i % STEP_WIDTH * VF, late[i]);
        best[i / STEP_WIDTH] = vf_max(late[i], best[i / STEP_WIDTH]);
    }
}

/* The same of interleaved rows with a tile: y[rows][KEY_TILE] and best[rows], which may also have what is behind the
 * tile. */
static inline __attribute__((always_inline)) void products_with_tile(float *y, vf *best, const float *queries,
                                                                     const int rows, const struct tile_of_keys *tile,
                                                                     int count, float scale, const int width)
{
    const int part = rows < GROUP_PART ? rows : GROUP_PART;

    for (int r = 0; r < rows; r++)
        best[r] = vf_set(-INFINITY);
    for (int r = 0; r < rows; r += part)
        for (int j = 0; j < count; j += BLOCK)
            products_with_block(y + r * KEY_TILE + j, best + r, queries + r, part, tile->turned + j * padded(width),
                                scale, width);
}

#endif
