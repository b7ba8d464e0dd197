/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vec_avx512.h - the vector operations of vec.h for AVX-512 (F, BW, DQ, VL): 16 floats, 32 registers, lanes chosen by
 * mask registers.
 */
#ifndef PALME_VEC_AVX512_H
#define PALME_VEC_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF 16
#define VEC_REGISTERS 32

typedef __m512 vf;

static inline __mmask16 vec_mask(int n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline vf vf_held(vf a)
{
    __asm__("" : "+v"(a));
    return a;
}
static inline void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
/* A store with a mask is not handed on to a load that follows it, so only rests have one. */
static inline vf vf_load_n(const float *p, int n)
{
    return n == VF ? vf_load(p) : _mm512_maskz_loadu_ps(vec_mask(n), p);
}
static inline void vf_store_n(float *p, vf a, int n)
{
    if (n == VF)
        vf_store(p, a);
    else
        _mm512_mask_storeu_ps(p, vec_mask(n), a);
}
static inline vf vf_set(float a)
{
    return _mm512_set1_ps(a);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf vf_abs(vf a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}
static inline vf vf_less(vf x, vf y, vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}
static inline vf vf_zero_if_less(vf x, vf y, vf a)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, y, _CMP_NLT_UQ), a);
}

static inline vf vf_keep_n(vf a, int n, float other)
{
    return _mm512_mask_blend_ps(vec_mask(n), _mm512_set1_ps(other), a);
}

/* Not the compiler's reduction, to which it may give any order. */
static inline float vf_sum(vf a)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float vf_sum_lanes(const vf a[1])
{
    return vf_sum(a[0]);
}

static inline float vf_largest(vf a)
{
    return _mm512_reduce_max_ps(a);
}

/* Without signs, floats are in the order of their bits, NaN behind infinity. */
static inline vf vf_maximum(vf a, vf b)
{
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}

static inline float vf_highest(vf a)
{
    int32_t bits = _mm512_reduce_max_epi32(_mm512_castps_si512(a));
    float highest;

    memcpy(&highest, &bits, sizeof highest);
    return highest;
}

static inline double vf_sum_lanes_double(const vf a[1])
{
    __m512d whole =
        _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(a[0])), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a[0], 1)));
    __m256d s = _mm256_add_pd(_mm512_castpd512_pd256(whole), _mm512_extractf64x4_pd(whole, 1));
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));

    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

/* In each quarter, lane i is the sum of the lanes of a[i] in that quarter, neighbours first. */
static inline vf vec_quarter_sums(const vf a[4])
{
    vf s01 = _mm512_add_ps(_mm512_shuffle_ps(a[0], a[1], 0x88), _mm512_shuffle_ps(a[0], a[1], 0xDD));
    vf s23 = _mm512_add_ps(_mm512_shuffle_ps(a[2], a[3], 0x88), _mm512_shuffle_ps(a[2], a[3], 0xDD));

    return _mm512_add_ps(_mm512_shuffle_ps(s01, s23, 0x88), _mm512_shuffle_ps(s01, s23, 0xDD));
}

/* Two rows to a vector, one in each half: 0 and 4, 1 and 5, 2 and 6, 3 and 7, 8 and 12, ... */
static inline int vf_eights_row(int i, int r)
{
    return (i < 4 ? i : i + 4) + 4 * r;
}

static inline vf vf_load_eights(const float *const p[2], int i)
{
    (void)i;
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(p[0])), _mm256_loadu_ps(p[1]), 1);
}

static inline vf vf_load_eight(const float *p, int i)
{
    (void)i;
    return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
}

static inline vf vf_sum_eights(const vf a[8])
{
    vf low = vec_quarter_sums(a), high = vec_quarter_sums(a + 4);

    return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xDD));
}

static inline void vf_load_transposed(vf y[VF], const float *const x[VF], int at)
{
    for (int d = 0; d < VF; d += 4) {
        vf a[4], b[4];

        for (int i = 0; i < 4; i++) {
            a[i] = _mm512_castps128_ps512(_mm_loadu_ps(x[i] + at + d));
            a[i] = _mm512_insertf32x4(a[i], _mm_loadu_ps(x[i + 4] + at + d), 1);
            a[i] = _mm512_insertf32x4(a[i], _mm_loadu_ps(x[i + 8] + at + d), 2);
            a[i] = _mm512_insertf32x4(a[i], _mm_loadu_ps(x[i + 12] + at + d), 3);
        }
        b[0] = _mm512_unpacklo_ps(a[0], a[1]);
        b[1] = _mm512_unpackhi_ps(a[0], a[1]);
        b[2] = _mm512_unpacklo_ps(a[2], a[3]);
        b[3] = _mm512_unpackhi_ps(a[2], a[3]);
        y[d] = _mm512_shuffle_ps(b[0], b[2], 0x44);
        y[d + 1] = _mm512_shuffle_ps(b[0], b[2], 0xEE);
        y[d + 2] = _mm512_shuffle_ps(b[1], b[3], 0x44);
        y[d + 3] = _mm512_shuffle_ps(b[1], b[3], 0xEE);
    }
}

static inline vf vf_exponent(vf n, vf x, vf low)
{
    return vf_less(x, low, _mm512_set1_ps(-1000), n);
}

static inline vf vf_scaled(vf a, vf e)
{
    return _mm512_scalef_ps(a, e);
}

static inline vf vf_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* ---- Weights of 16 and 8 bits */

static inline vf vf_load_even(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

static inline vf vf_load_odd(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000)));
}

/* The nearest bf16 in the upper half of each lane; NaN stays NaN. */
static inline __m512i vec_half(vf x)
{
    __m512i bits = _mm512_castps_si512(x), last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff)));

    return _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
}

static inline void vf_store_halves(uint16_t *p, vf even, vf odd)
{
    _mm512_storeu_si512(p, _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(vec_half(even), 16), vec_half(odd)));
}

#ifdef __AVX512BF16__

#define VEC_PAIRS 1

typedef __m512bh vp;

static inline void vp_store_n(uint16_t *p, vf a, int n)
{
    _mm256_mask_storeu_epi16(p, vec_mask(n), (__m256i)_mm512_cvtneps_pbh(a));
}

static inline vp vp_load(const uint16_t *p)
{
    return (__m512bh)_mm512_loadu_si512(p);
}

static inline vp vp_set(const uint16_t *p)
{
    int32_t two;

    memcpy(&two, p, sizeof two);
    return (__m512bh)_mm512_set1_epi32(two);
}

static inline vf vf_dot_pairs(vf sum, vp a, vp b)
{
    return _mm512_dpbf16_ps(sum, a, b);
}

#endif

typedef __m512i vi;
typedef __m512i vw;

#ifdef __AVX512VNNI__

/* As in vec_avx2.h: weights plus 128 are the side without a sign. */
#define VEC_INT8_SUMS 24
#define VEC_INT8_BYTES 4

typedef __m512i vq;

static inline void vq_store(int8_t *q, vf x)
{
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

static inline vf vq_missing(vf x)
{
    return x;
}
static inline int32_t vq_offset(float sum)
{
    return -128 * (int32_t)sum;
}

#define VEC_STORES_4

/* Sixteen numbers at a time are added up by the instruction that multiplies them. */
static inline void vq_store_4(int8_t *q, const vf x[4], vf missing[4])
{
    const __m512i turned = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i low = _mm512_packs_epi32(_mm512_cvtps_epi32(x[0]), _mm512_cvtps_epi32(x[1]));
    __m512i high = _mm512_packs_epi32(_mm512_cvtps_epi32(x[2]), _mm512_cvtps_epi32(x[3]));
    __m512i whole = _mm512_permutexvar_epi32(turned, _mm512_packs_epi16(low, high)), sums = _mm512_setzero_si512();

    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(_mm512_set1_epi8(1)), "v"(whole)); /* as in vi_dot */
    missing[0] = vf_add(missing[0], _mm512_cvtepi32_ps(sums));
    _mm512_storeu_si512(q, whole);
}

static inline vq vq_load(const int8_t *q)
{
    int32_t four;

    memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}

static inline vw vw_load(const int8_t *w)
{
    return _mm512_xor_si512(_mm512_loadu_si512(w), _mm512_set1_epi8(-128));
}

static inline vi vi_dot(vi sum, vw w, vq q)
{
    /* Not the intrinsic: gcc 12 copies a register for each of those. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(q));
    return sum;
}

static inline vi vi_dot_bytes(vi sum, __m512i a, __m512i w)
{
    return vi_dot(sum, a, w);
}

#else

/* As in vec_avx2.h: sizes of the row's numbers and masks of the negative ones. */
#define VEC_INT8_SUMS 20
#define VEC_INT8_BYTES 8

typedef struct {
    __m512i size, negative;
} vq;

static inline void vq_store(int8_t *q, vf x)
{
    __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x));
    __m128i sizes = _mm_abs_epi8(bytes), negative = _mm_cmpgt_epi8(_mm_setzero_si128(), bytes);

    _mm_storeu_si128((__m128i *)(void *)q, _mm_unpacklo_epi32(sizes, negative));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm_unpackhi_epi32(sizes, negative));
}

static inline vf vq_missing(vf x)
{
    return vf_max(vf_sub(vf_set(0), x), vf_set(0));
}
static inline int32_t vq_offset(float sum)
{
    return (int32_t)sum;
}

static inline vq vq_load(const int8_t *q)
{
    int32_t size, negative;

    memcpy(&size, q, sizeof size);
    memcpy(&negative, q + 4, sizeof negative);
    return (vq){ _mm512_set1_epi32(size), _mm512_set1_epi32(negative) };
}

static inline vw vw_load(const int8_t *w)
{
    return _mm512_loadu_si512(w);
}

static inline vi vi_dot(vi sum, vw w, vq q)
{
    __m512i pairs = _mm512_maddubs_epi16(q.size, _mm512_xor_si512(w, q.negative));

    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

static inline vi vi_dot_bytes(vi sum, __m512i a, __m512i w)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, w), _mm512_set1_epi16(1)));
}

#endif

static inline vi vi_zero(void)
{
    return _mm512_setzero_si512();
}

static inline vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

static inline vf vi_to_float(vi sum, int32_t offset)
{
    return _mm512_cvtepi32_ps(_mm512_add_epi32(sum, _mm512_set1_epi32(offset)));
}

/* ---- Pairs of 16 bits */

#define VEC_INT16_SUMS 24

typedef __m512i vh;
typedef __m512i vs;

static inline vh vh_load(const int16_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline vh vh_set(const int16_t *p)
{
    int32_t two;

    memcpy(&two, p, sizeof two);
    return _mm512_set1_epi32(two);
}

static inline void vh_store(int16_t *p, vf a, vf b)
{
    __m512i whole = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));

    _mm512_storeu_si512(p, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), whole));
}

static inline void vh_store_pairs(int16_t *p, vf even, vf odd)
{
    _mm512_storeu_si512(p, _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_cvtps_epi32(even),
                                                   _mm512_slli_epi32(_mm512_cvtps_epi32(odd), 16)));
}

static inline vs vs_zero(void)
{
    return _mm512_setzero_si512();
}

static inline vs vs_dot(vs sum, vh a, vh b)
{
#ifdef __AVX512VNNI__
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); /* as in vi_dot */
    return sum;
#else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#endif
}

static inline vi vs_wide(vs sum)
{
    return sum;
}

typedef __m512i vb;

static inline vb vb_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
static inline vb vb_load_n(const void *p, int n)
{
    return _mm512_maskz_loadu_epi32(vec_mask(n), p);
}
static inline vb vb_fill(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline vb vb_set(const void *p)
{
    uint32_t four;

    memcpy(&four, p, sizeof four);
    return vb_fill(four);
}

static inline vb vb_low(vb a)
{
    return _mm512_and_si512(a, _mm512_set1_epi8(15));
}
static inline vb vb_high(vb a)
{
    return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}

typedef __m512i vn;

static inline vn vn_zero(void)
{
    return _mm512_setzero_si512();
}

#ifdef __AVX512VNNI__
static inline vn vn_dot(vn sum, vb a, vb w)
{
    return vi_dot_bytes(sum, a, w);
}
static inline vi vn_wide(vn sum)
{
    return sum;
}
#else /* as in vec_avx2.h */
static inline vn vn_dot(vn sum, vb a, vb w)
{
    return _mm512_add_epi16(sum, _mm512_maddubs_epi16(a, w));
}
static inline vi vn_wide(vn sum)
{
    return _mm512_madd_epi16(sum, _mm512_set1_epi16(1));
}
#endif

static inline vb vb_and(vb a, vb b)
{
    return _mm512_and_si512(a, b);
}
static inline vb vb_behind(vb a, int n)
{
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128(8 * n));
}

static inline vb vb_after(vb a, vb b, int n)
{
    return _mm512_or_si512(vb_behind(a, n), _mm512_sll_epi32(b, _mm_cvtsi32_si128(32 - 8 * n)));
}

/* Beyond 2^31 a float gives the least whole number, and NaN too. */
static inline __m512i vb_whole(vf x)
{
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(127), x));
}

static inline void vb_store_n(uint8_t *p, vf x, int n)
{
    __m512i whole = _mm512_max_epi32(vb_whole(x), _mm512_setzero_si512());

    _mm512_mask_cvtepi32_storeu_epi8(p, vec_mask(n), whole);
}

static inline void vb_store_4_n(uint8_t *p, const vf x[4], int n)
{
    const __m512i turned = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i groups = _mm512_packus_epi16(_mm512_packs_epi32(vb_whole(x[0]), vb_whole(x[1])),
                                         _mm512_packs_epi32(vb_whole(x[2]), vb_whole(x[3])));

    groups = _mm512_shuffle_epi8(groups, turned);
    if (n == VF)
        _mm512_storeu_si512(p, groups);
    else
        _mm512_mask_storeu_epi32(p, vec_mask(n), groups);
}

/* ---- Pictures */

static inline vf vf_load_bytes(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

static inline vf vf_load_bytes_n(const uint8_t *p, int n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(vec_mask(n), p)));
}

static inline void vf_store_colours_n(uint8_t *p, vf r, vf g, vf b, int n)
{
    const __m512i close = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m512i together = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
    __m512i colours =
        _mm512_or_si512(_mm512_cvtps_epi32(r), _mm512_or_si512(_mm512_slli_epi32(_mm512_cvtps_epi32(g), 8),
                                                               _mm512_slli_epi32(_mm512_cvtps_epi32(b), 16)));

    colours = _mm512_permutexvar_epi32(together, _mm512_shuffle_epi8(colours, close));
    _mm512_mask_storeu_epi8(p, ((__mmask64)1 << 3 * n) - 1, colours);
}

static inline void vf_deinterleave_2(vf y[2], const vf x[2])
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));

    y[0] = _mm512_permutex2var_ps(x[0], even, x[1]);
    y[1] = _mm512_permutex2var_ps(x[0], odd, x[1]);
}

static inline void vf_deinterleave_3(vf y[3], const vf x[3])
{
    /* Element 3 i + c: the first eleven or ten from x[0] and x[1], the others from x[2]. */
    const __m512i first = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 1, 4, 7, 10, 13);
    const __m512i second = _mm512_setr_epi32(1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 2, 5, 8, 11, 14);
    const __m512i third = _mm512_setr_epi32(2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 3, 6, 9, 12, 15);
    vf a = _mm512_permutex2var_ps(x[0], first, x[1]), b = _mm512_permutex2var_ps(x[0], second, x[1]);
    vf c = _mm512_permutex2var_ps(x[0], third, x[1]);

    y[0] = _mm512_mask_permutexvar_ps(a, 0xF800, first, x[2]);
    y[1] = _mm512_mask_permutexvar_ps(b, 0xF800, second, x[2]);
    y[2] = _mm512_mask_permutexvar_ps(c, 0xFC00, third, x[2]);
}

#endif
