/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vec.h - the vector operations that the kernels are written in, and which backend of them a file is compiled with.
 * The backends, vec_*.h, hold all intrinsics of the project: each has these operations for one instruction set. Several
 * levels may share one. The build names the level (PALME_LEVEL), and its flags choose the backend.
 *
 * VF              floats in a vector, a divisor of PALME_PANEL
 * VEC_REGISTERS   vectors that the machine's registers hold: what a tile of sums may use
 * vf              a vector of VF floats
 *
 * An operation whose name ends in _n takes the first n lanes only, 0 <= n <= VF: it never touches the memory of the
 * others, and a load gives zero there. Pointers need no alignment.
 *
 * vf_load(p), vf_load_n(p, n), vf_store(p, a), vf_store_n(p, a, n), vf_set(x)
 * vf_held(a)                 a, from a register: gcc 12 may load it anew for each of its uses
 * vf_add, vf_sub, vf_mul, vf_div, vf_abs
 * vf_fma(a, b, c)            a b + c, rounded once
 * vf_min(a, b), vf_max(a, b) vf_max is b where a is NaN
 * vf_less(x, y, a, b)        a where x < y, else b
 * vf_zero_if_less(x, y, a)   0 where x < y, else a
 * vf_keep_n(a, n, other)     the first n lanes of a, and `other` in the rest
 * vf_round(a)                to the nearest whole number, halves to the even one
 * vf_exponent(n, x, low)     what vf_scaled takes as n, a whole number in -126..127; where x < low one that makes 0
 * vf_scaled(a, e)            a 2^n for such an n
 * vf_sum(a), vf_largest(a)   over all lanes
 * vf_maximum(a, b)           the larger one where neither has a sign, and NaN where one is
 * vf_highest(a)              such a maximum over all lanes
 * vf_load_transposed(y, x, at)   y[d] = x[0][at + d], x[1][at + d], ...; VF of each
 * vf_left(n, i)              how many lanes are left of n at i, at most VF
 * vf_exp(x), vf_exps(x, count), vf_polynomials   see below
 *
 * A sum of many terms depends on its order, and all backends have the same one, so that all levels give the same
 * bits: the terms go to a number of lanes in turn, whatever VF is, and the lanes are added up at the end. Long rows
 * have VEC_LANES of them, in LANE_VECTORS vectors:
 *
 * vf_sum_lanes(a), vf_sum_lanes_double(a)   the sum of all lanes of a[LANE_VECTORS], in single or double precision: the
 *                            second half of them is added to the first, and so on
 *
 * Short rows, of which there are many, have eight lanes, and VF such rows always stand in eight vectors:
 *
 * vf_eights_row(i, r)        the row r of those that vector i has a part of, which are EIGHTS_ROWS
 * vf_load_eights(p, i)       vector i, of which those rows are at p[EIGHTS_ROWS]
 * vf_load_eight(p, i)        the same where all rows are the one at p; one of EIGHTS consecutive i's is enough
 * vf_sum_eights(a)           lane r is the sum of the eight lanes of row r: neighbours first, then neighbouring
 *                            sums, and so on; a[8]
 *
 * Pictures: bytes are 0..255 in memory and floats in a vector.
 *
 * vf_load_bytes(p), vf_load_bytes_n(p, n)
 * vf_store_colours_n(p, r, g, b, n)   p[n][3] = r, g, b, which are 0..255, rounded to the nearest
 * vf_deinterleave_2(y, x)                    y[c] = the elements c, c + 2, ... of x[0], x[1] in a row; so for 3 and 4
 *
 * Weights of 16 bits: p holds 2 VF of them, the upper halves of floats.
 *
 * vf_load_even(p), vf_load_odd(p)     the elements 0, 2, ... and 1, 3, ... of p as floats
 * vf_store_halves(p, even, odd)       the contrary: each rounded as palme_bf16_round does
 *
 * Products of whole numbers of 8 bits, in groups of four; PALME_INT8_GROUP in kernels.h. A backend stores of a row of
 * activations, numbers -127..127, what its products want.
 *
 * VEC_INT8_BYTES  of such a group of activations: 4 or 8
 * VEC_INT8_SUMS   vectors of sums that a tile may have, a multiple of the vectors of a panel
 * vi, vw, vq      VF sums of 32 bits; a group of VF outputs' weights; a group of a row, the same in all lanes
 * vq_store(q, x)                      stores VF whole numbers
 * vq_missing(x), vq_offset(sum)       what is missing in the sums of a row, by the sum of the first over its numbers
 * vq_store_4(q, x, missing)           both for x[4], which is rounded to the nearest whole numbers; missing[4] grows
 * vq_load(q), vw_load(w)              the group that begins there
 * vi_zero(), vi_add(a, b)
 * vi_dot(sum, w, q)                   adds the four products of each lane
 * vi_to_float(sum, offset)            sum + offset, rounded to the nearest float
 *
 * Products of pairs of whole numbers of 16 bits.
 *
 * VEC_INT16_SUMS  vectors of their sums that a tile may have, a multiple of 6
 * vh, vs          VF pairs; VF sums of 32 bits
 * vh_load(p)      2 VF numbers; vh_set(p) the pair at p in all places
 * vh_store(p, a, b)                   whole numbers of a and then of b, which were rounded to the nearest ones
 * vh_store_pairs(p, even, odd)        the same, a pair of one of each
 * vs_zero(), vs_dot(sum, a, b)        adds the two products of each pair to its lane
 * vs_wide(sum)                        the sums as a vi
 *
 * Bytes 0..127, which are plain in memory, and their products with weights; a missing offset is 0.
 *
 * vb              VF groups of four numbers of 8 bits
 * vb_load(p), vb_load_n(p, n)         groups, n of them
 * vb_set(p)                           the group at p in all places
 * vb_fill(x)                          the group whose bits are x, lowest byte first, in all places
 * vb_and(a, b)
 * vb_after(a, b, n)                   of each group of a and of b in a row, the four bytes after the first n, 0..3
 * vb_behind(a, n)                     the same of a alone, zeros behind
 * vi_dot_bytes(sum, a, w)             adds the four products of each lane, of bytes and of weights with a sign
 * vb_low(a), vb_high(a)               the halves of each byte as bytes 0..15
 * vn                                  sums of bytes 0..15 by numbers -127..127, of at most 8 groups
 * vn_zero(), vn_dot(sum, a, w)        as vi_zero and vi_dot_bytes
 * vn_wide(sum)                        the sums as a vi
 * vb_store_n(p, x, n)                 n lanes of x, rounded to the nearest whole number, halves to the even one,
 *                                     limited to 0..127, NaN to 0
 * vb_store_4_n(p, x, n)               the same of x[4]: n groups, of the lanes of each
 *
 * Products of pairs of bf16, where VEC_PAIRS is 1; not every backend has them.
 *
 * vp              2 VF numbers in bf16, lane i of a vf standing for the pair 2 i, 2 i + 1
 * vp_load(p)      2 VF of them; vp_set(p) the pair at p in all places
 * vp_store_n(p, a, n)                 the first n lanes of the vf a, rounded to the nearest bf16
 * vf_dot_pairs(sum, a, b)             adds the two products of each pair to its lane
 */
#ifndef PALME_VEC_H
#define PALME_VEC_H

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "kernels/vec_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "kernels/vec_avx2.h"
#elif defined(__aarch64__)
#include "kernels/vec_neon.h"
#else
#error "vec.h is for kernels that are compiled with the flags of a level"
#endif

/* Whether weights that few rows need are read as one or two long streams, panel behind panel, and without vec_prefetch:
 * where a panel is a vector. Measured on Zen 4, GB/s of int8 in a single row, eight panels that stand apart with
 * vec_prefetch, and a stream: 23 and 30 from memory, 52 and 65 from the L3, 79 and 110 from the L2. */
enum { VEC_STREAMS = VF == 16 };

#ifndef VEC_PAIRS
#define VEC_PAIRS 0
#endif

/* Lanes of a long sum and the vectors that they are in; and of short ones the vectors that have the same lanes of a
 * row. */
enum { VEC_LANES = 16, LANE_VECTORS = VEC_LANES / VF, EIGHTS_ROWS = VF > 8 ? VF / 8 : 1, EIGHTS = VF < 8 ? VF : 8 };

/* Whether vi_dot is made of instructions that multiply bytes and add the products up, and so beats vf_fma. */
#ifndef VEC_INT8_PAYS
#define VEC_INT8_PAYS 1
#endif

#ifndef VEC_STORES_4
static inline void vq_store_4(int8_t *q, const vf x[4], vf missing[4])
{
    for (int i = 0; i < 4; i++) {
        vf whole = vf_round(x[i]);

        missing[i] = vf_add(missing[i], vq_missing(whole));
        vq_store(q + i * VF / 4 * VEC_INT8_BYTES, whole);
    }
}
#endif

/* ReLU6, built of the operations above. */
static inline vf vf_relu6(vf a)
{
    return vf_min(vf_max(a, vf_set(0)), vf_set(6));
}

/* Stands before a loop with a constant count whose body must be repeated, since what it indexes are registers;
 * before one that is worth doing two rounds at a time; and before one that is not to be unrolled. */
#if defined(__clang__)
#define VEC_UNROLL _Pragma("unroll")
#define VEC_UNROLL_2 _Pragma("unroll 2")
#define VEC_ROLLED _Pragma("nounroll")
#else
#define VEC_UNROLL _Pragma("GCC unroll 32")
#define VEC_UNROLL_2 _Pragma("GCC unroll 2")
#define VEC_ROLLED _Pragma("GCC unroll 1")
#endif

/* The name of a level's own function: function_level. */
#define VEC_PASTE_2(function, level) function##_##level
#define VEC_PASTE(function, level) VEC_PASTE_2(function, level)
#define VEC_NAME(function) VEC_PASTE(function, PALME_LEVEL)

/* ---- Operations made of others, the same in every backend ------------------------------------------ */

/* How many lanes are left of n at i. */
static inline int vf_left(int n, int i)
{
    return n - i < VF ? n - i : VF;
}

/* Asks for weights that few rows will need, which wait for memory rather than for arithmetic: `panels` streams at w,
 * `panel` bytes apart, in which `left` steps of 64 bytes are to be read from here on, and behind which the next ones
 * follow; SIZE_MAX: the streams go on. A panel is 8 to 128 KiB long, and the processor's own prefetching begins anew at
 * each. Measured on Zen 3 with four neighbours in int8 out of 33 MiB (fractions of the bandwidth of the same run):
 * panels of 8 KiB 70 % without and 90 % with this, of 32 KiB 93 % and 100 %; a single stream of 8 KiB 55 % and 75 %. */
static inline void vec_prefetch(const void *w, const int panels, size_t panel, size_t left)
{
    enum { STEP = 64, STEPS = 16, ALONE = 64 }; /* steps ahead; a single stream needs more of them on their way */

    if (VEC_STREAMS)
        return;
    const char *at = (const char *)w + (panels > 1 ? STEPS : ALONE) * STEP;

    if (panels > 1 && left <= STEPS)
        at += (size_t)(panels - 1) * panel;
    for (int i = 0; i < panels; i++)
        __builtin_prefetch(at + (size_t)i * panel);
}

/* A chain of operations is many times as long as one of them: so many vectors go through it interleaved. */
enum { VEC_INTERLEAVED = 4 };

/* y[count] = a polynomial in x[count], its highest coefficient first. */
static inline __attribute__((always_inline)) void vf_polynomials(vf *y, const vf *x, const float *coefficients,
                                                                 const int terms, const int count)
{
    VEC_UNROLL
    for (int i = 0; i < count; i++)
        y[i] = vf_set(coefficients[0]);
    VEC_UNROLL
    for (int t = 1; t < terms; t++) {
        VEC_UNROLL
        for (int i = 0; i < count; i++)
            y[i] = vf_fma(y[i], x[i], vf_set(coefficients[t]));
    }
}

/* exp(x) of x[count], count <= VEC_INTERLEAVED, for x <= 88, 0 below -87.3: x = n ln 2 + r with |r| <= ln 2 / 2
 * and a polynomial for e^r (its coefficients are those of the Taylor series, whose rest is below half a unit in the
 * last place there). */
static inline __attribute__((always_inline)) void vf_exps(vf *x, const int count)
{
    static const float taylor[] = { 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1, 1 };
    const vf low = vf_set(-87.3f);
    vf exponent[VEC_INTERLEAVED], r[VEC_INTERLEAVED], y[VEC_INTERLEAVED];

    VEC_UNROLL
    for (int i = 0; i < count; i++) {
        r[i] = vf_max(x[i], low);
        vf n = vf_round(vf_mul(r[i], vf_set(1.44269504f)));

        exponent[i] = vf_exponent(n, x[i], low); /* now: then x and n need no register any more */
        /* ln 2 in two parts, so that n ln 2 is exact */
        r[i] = vf_fma(n, vf_set(-0.693145752f), r[i]);
        r[i] = vf_fma(n, vf_set(-1.42860677e-6f), r[i]);
    }
    vf_polynomials(y, r, taylor, 8, count);
    VEC_UNROLL
    for (int i = 0; i < count; i++)
        x[i] = vf_scaled(y[i], exponent[i]);
}

static inline vf vf_exp(vf x)
{
    vf_exps(&x, 1);
    return x;
}

static inline void vf_deinterleave_4(vf y[4], const vf x[4])
{
    vf low[2], high[2];

    vf_deinterleave_2(low, x);
    vf_deinterleave_2(high, x + 2);
    vf even[2] = { low[0], high[0] }, odd[2] = { low[1], high[1] }, part[2];
    vf_deinterleave_2(part, even);
    y[0] = part[0];
    y[2] = part[1];
    vf_deinterleave_2(part, odd);
    y[1] = part[0];
    y[3] = part[1];
}

#endif
