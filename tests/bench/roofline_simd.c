/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * roofline_simd.c - the loops of roofline.c in vector words. The build compiles this file once per level with
 * that level's flags, as it does with the kernels.
 */
#include "kernels/vec.h"

#include "bench/roofline.h"

enum {
    SUMS = 12, /* more than the latency of a multiply-add times the units that do them, and 16 registers hold them */
    PARTS = 4  /* vectors of a stream that are read at a time */
};

static double multiply(float *sink, const float *start, long rounds)
{
    vf a = vf_set(start[0]), b = vf_set(start[1]), sum[SUMS], all = vf_set(0);

    for (int i = 0; i < SUMS; i++)
        sum[i] = vf_set((float)i);
    for (long round = 0; round < rounds; round++)
        for (int i = 0; i < SUMS; i++)
            sum[i] = vf_fma(a, b, sum[i]);
    for (int i = 0; i < SUMS; i++)
        all = vf_add(all, sum[i]);
    *sink = vf_sum(all);
    return 2.0 * VF * SUMS * (double)rounds;
}

enum {
    GROUPS = 64, /* of products in a row */
    SIDE = 2     /* weights that are held while values change, VEC_INT8_SUMS / SIDE of them */
};

/* As in a product whose operands never leave the first cache. */
static double dot(float *sink, const int8_t *numbers, long rounds)
{
    vi sum[VEC_INT8_SUMS];
    vf all = vf_set(0);

    for (int i = 0; i < VEC_INT8_SUMS; i++)
        sum[i] = vi_zero();
    for (long round = 0; round < rounds; round++) {
        const int8_t *w = numbers, *value = numbers;

        for (int k = GROUPS; k > 0; k--, w += SIDE * 4 * VF, value += VEC_INT8_BYTES) {
            vw weight[SIDE];

            for (int i = 0; i < SIDE; i++)
                weight[i] = vw_load(w + i * 4 * VF);
            for (int r = 0; r < VEC_INT8_SUMS / SIDE; r++) {
                vq row = vq_load(value + r * GROUPS * VEC_INT8_BYTES);

                for (int i = 0; i < SIDE; i++)
                    sum[r * SIDE + i] = vi_dot(sum[r * SIDE + i], weight[i], row);
            }
        }
    }
    for (int i = 0; i < VEC_INT8_SUMS; i++)
        all = vf_add(all, vi_to_float(sum[i], 0));
    *sink = vf_sum(all);
    return 2.0 * 4 * VF * VEC_INT8_SUMS * GROUPS * (double)rounds;
}

/* The same with pairs of whole numbers of 16 bits. */
static double dot_int16(float *sink, const int16_t *numbers, long rounds)
{
    enum { ROWS = VEC_INT16_SUMS / SIDE };
    vs sum[VEC_INT16_SUMS];
    vf all = vf_set(0);

    for (int i = 0; i < VEC_INT16_SUMS; i++)
        sum[i] = vs_zero();
    for (long round = 0; round < rounds; round++) {
        const int16_t *key = numbers, *value = numbers;

        for (int k = GROUPS; k > 0; k--, key += SIDE * 2 * VF, value += 2) {
            vh keys[SIDE];

            for (int i = 0; i < SIDE; i++)
                keys[i] = vh_load(key + i * 2 * VF);
            for (int r = 0; r < ROWS; r++) {
                vh row = vh_set(value + r * GROUPS * 2);

                for (int i = 0; i < SIDE; i++)
                    sum[r * SIDE + i] = vs_dot(sum[r * SIDE + i], keys[i], row);
            }
        }
    }
    for (int i = 0; i < VEC_INT16_SUMS; i++)
        all = vf_add(all, vi_to_float(vs_wide(sum[i]), 0));
    *sink = vf_sum(all);
    return 2.0 * 2 * VF * VEC_INT16_SUMS * GROUPS * (double)rounds;
}

#if VEC_PAIRS
static double pairs(float *sink, const uint16_t *start, long rounds)
{
    vp a = vp_set(start), b = vp_set(start + 2);
    vf sum[SUMS], all = vf_set(0);

    for (int i = 0; i < SUMS; i++)
        sum[i] = vf_set((float)i);
    for (long round = 0; round < rounds; round++)
        for (int i = 0; i < SUMS; i++)
            sum[i] = vf_dot_pairs(sum[i], a, b);
    for (int i = 0; i < SUMS; i++)
        all = vf_add(all, sum[i]);
    *sink = vf_sum(all);
    return 2.0 * 2 * VF * SUMS * (double)rounds;
}
#endif

/* `streams` is a constant where this is called. */
static inline __attribute__((always_inline)) float read_streams(const float *x, size_t n, const int streams)
{
    size_t part = n / (size_t)streams;
    vf sum[4 * PARTS], all = vf_set(0);

    for (int i = 0; i < streams * PARTS; i++)
        sum[i] = vf_set(0);
    for (size_t at = 0; at < part; at += PARTS * VF)
        for (int s = 0; s < streams; s++)
            for (int i = 0; i < PARTS; i++)
                sum[s * PARTS + i] = vf_add(sum[s * PARTS + i], vf_load(x + (size_t)s * part + at + i * VF));
    for (int i = 0; i < streams * PARTS; i++)
        all = vf_add(all, sum[i]);
    return vf_sum(all);
}

static float read_all(const float *x, size_t n, int streams)
{
    return streams == 4 ? read_streams(x, n, 4) : read_streams(x, n, 1);
}

void VEC_NAME(roofline_loops)(struct roofline_loops *loops);

void VEC_NAME(roofline_loops)(struct roofline_loops *loops)
{
    loops->multiply = multiply;
    loops->dot = dot;
    loops->dot_int16 = dot_int16;
#if VEC_PAIRS
    loops->pairs = pairs;
#else
    loops->pairs = NULL;
#endif
    loops->read = read_all;
}
