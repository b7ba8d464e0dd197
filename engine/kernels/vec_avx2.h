/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vec_avx2.h - the vector operations of vec.h for AVX2 with FMA: 8 floats, 16 registers.
 */
#ifndef PALME_VEC_AVX2_H
#define PALME_VEC_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF 8
#define VEC_REGISTERS 16

typedef __m256 vf;

static inline __m256i vec_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline vf vf_held(vf a)
{
    __asm__("" : "+x"(a));
    return a;
}
static inline void vf_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}
/* Masks cost more than the question whether there is one: a masked store takes some twenty operations on Zen 3. */
static inline vf vf_load_n(const float *p, int n)
{
    return n == VF ? vf_load(p) : _mm256_maskload_ps(p, vec_mask(n));
}
static inline void vf_store_n(float *p, vf a, int n)
{
    if (n == VF)
        vf_store(p, a);
    else
        _mm256_maskstore_ps(p, vec_mask(n), a);
}
static inline vf vf_set(float a)
{
    return _mm256_set1_ps(a);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
static inline vf vf_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf vf_less(vf x, vf y, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}
static inline vf vf_zero_if_less(vf x, vf y, vf a)
{
    return _mm256_andnot_ps(_mm256_cmp_ps(x, y, _CMP_LT_OQ), a);
}

static inline vf vf_keep_n(vf a, int n, float other)
{
    return _mm256_blendv_ps(_mm256_set1_ps(other), a, _mm256_castsi256_ps(vec_mask(n)));
}

static inline float vf_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float vf_sum_lanes(const vf a[2])
{
    return vf_sum(_mm256_add_ps(a[0], a[1]));
}

static inline float vf_largest(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* Without signs, floats are in the order of their bits, NaN behind infinity. */
static inline vf vf_maximum(vf a, vf b)
{
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}

static inline float vf_highest(vf a)
{
    __m256i bits = _mm256_castps_si256(a);
    __m128i s = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));

    s = _mm_max_epi32(s, _mm_unpackhi_epi64(s, s));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(s, _mm_shuffle_epi32(s, 1))));
}

static inline double vf_sum_lanes_double(const vf a[2])
{
    __m256d low =
        _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a[0])), _mm256_cvtps_pd(_mm256_castps256_ps128(a[1])));
    __m256d high =
        _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(a[0], 1)), _mm256_cvtps_pd(_mm256_extractf128_ps(a[1], 1)));
    __m256d s = _mm256_add_pd(low, high);
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));

    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

static inline int vf_eights_row(int i, int r)
{
    return i + r;
}
static inline vf vf_load_eights(const float *const p[1], int i)
{
    (void)i;
    return _mm256_loadu_ps(p[0]);
}
static inline vf vf_load_eight(const float *p, int i)
{
    (void)i;
    return _mm256_loadu_ps(p);
}

static inline vf vf_sum_eights(const vf a[8])
{
    __m256 s01 = _mm256_hadd_ps(a[0], a[1]), s23 = _mm256_hadd_ps(a[2], a[3]);
    __m256 s45 = _mm256_hadd_ps(a[4], a[5]), s67 = _mm256_hadd_ps(a[6], a[7]);
    __m256 low = _mm256_hadd_ps(s01, s23), high = _mm256_hadd_ps(s45, s67);

    return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

static inline void vf_load_transposed(vf y[VF], const float *const x[VF], int at)
{
    vf a[VF], b[VF];

    for (int i = 0; i < 4; i++) {
        a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x[i] + at)), _mm_loadu_ps(x[i + 4] + at), 1);
        a[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x[i] + at + 4)),
                                        _mm_loadu_ps(x[i + 4] + at + 4), 1);
    }
    for (int i = 0; i < VF; i += 4) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
        b[i + 2] = _mm256_unpacklo_ps(a[i + 2], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
        y[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        y[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
        y[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        y[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
    }
}

static inline vf vf_exponent(vf n, vf x, vf low) /* the power of 2 */
{
    __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);

    return vf_zero_if_less(x, low, _mm256_castsi256_ps(bits));
}

static inline vf vf_scaled(vf a, vf e)
{
    return _mm256_mul_ps(a, e);
}

static inline vf vf_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* ---- Weights of 16 and 8 bits */

static inline vf vf_load_even(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p), 16));
}

static inline vf vf_load_odd(const uint16_t *p)
{
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_set1_epi32((int)0xffff0000)));
}

/* The nearest bf16 in the upper half of each lane; NaN stays NaN. */
static inline __m256i vec_half(vf x)
{
    __m256i bits = _mm256_castps_si256(x), last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));

    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}

static inline void vf_store_halves(uint16_t *p, vf even, vf odd)
{
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm256_blend_epi16(_mm256_srli_epi32(vec_half(even), 16), vec_half(odd), 0xAA));
}

#if defined(__AVXVNNI__) || defined(VEC_EMULATES_AVXVNNI)

/* A dot product of four bytes without a sign and four with one, added in 32 bits: nothing saturates. Weights plus 128
 * are those without, which the row's offset takes back; in the longest row the sum is below 2^31. */
#define VEC_INT8_SUMS 12
#define VEC_INT8_BYTES 4

typedef __m256i vi;
typedef __m256i vw;
typedef __m256i vq;

static inline void vq_store(int8_t *q, vf x)
{
    __m256i whole = _mm256_cvtps_epi32(x);
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));

    _mm_storel_epi64((__m128i *)(void *)q, _mm_packs_epi16(half, half));
}

static inline vf vq_missing(vf x)
{
    return x;
}
static inline int32_t vq_offset(float sum)
{
    return -128 * (int32_t)sum;
}

static inline vq vq_load(const int8_t *q)
{
    int32_t four;

    memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline vw vw_load(const int8_t *w)
{
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)w), _mm256_set1_epi8(-128));
}

static inline vi vi_dot(vi sum, vw w, vq q)
{
#ifdef VEC_EMULATES_AVXVNNI /* for tests on machines without: the same sums from products of 16 bits */
    __m256i even =
        _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(q, 8));

    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
#else /* not the intrinsic: gcc 12 copies a register for each of those */
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(q));
    return sum;
#endif
}

static inline vi vi_dot_bytes(vi sum, __m256i a, __m256i w)
{
    return vi_dot(sum, a, w);
}

#else

/* The one instruction that multiplies bytes, maddubs, wants one side without a sign and adds two products in 16 bits.
 * So a row is stored as sizes, each group followed by masks of its negative numbers: w ^ mask is w, or -w - 1, and
 * two products with sizes up to 127 are at most 2 * 127 * 128 and fit. The row's offset gives back the sizes
 * that the -1 took. (Measured on Zen 3 at 64 rows: 1.18 times as fast as with psignb, which keeps the multipliers
 * busy, and 1.8 times as fast as with weights widened to 16 bits.) */
#define VEC_INT8_SUMS 8
#define VEC_INT8_BYTES 8

typedef __m256i vi;
typedef __m256i vw;
typedef struct {
    __m256i size, negative;
} vq;

static inline void vq_store(int8_t *q, vf x)
{
    __m256i whole = _mm256_cvtps_epi32(x);
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    __m128i bytes = _mm_packs_epi16(half, half);

    _mm_storeu_si128((__m128i *)(void *)q,
                     _mm_unpacklo_epi32(_mm_abs_epi8(bytes), _mm_cmpgt_epi8(_mm_setzero_si128(), bytes)));
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
    return (vq){ _mm256_set1_epi32(size), _mm256_set1_epi32(negative) };
}

static inline vw vw_load(const int8_t *w)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)w);
}

static inline vi vi_dot(vi sum, vw w, vq q)
{
    __m256i pairs = _mm256_maddubs_epi16(q.size, _mm256_xor_si256(w, q.negative));

    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline vi vi_dot_bytes(vi sum, __m256i a, __m256i w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, w), _mm256_set1_epi16(1)));
}

#endif

static inline vi vi_zero(void)
{
    return _mm256_setzero_si256();
}

static inline vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}

static inline vf vi_to_float(vi sum, int32_t offset)
{
    return _mm256_cvtepi32_ps(_mm256_add_epi32(sum, _mm256_set1_epi32(offset)));
}

/* ---- Pairs of 16 bits */

#define VEC_INT16_SUMS 12

typedef __m256i vh;
typedef __m256i vs;

static inline vh vh_load(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline vh vh_set(const int16_t *p)
{
    int32_t two;

    memcpy(&two, p, sizeof two);
    return _mm256_set1_epi32(two);
}

static inline void vh_store(int16_t *p, vf a, vf b)
{
    __m256i whole = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));

    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(whole, 0xD8));
}

static inline void vh_store_pairs(int16_t *p, vf even, vf odd)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_blend_epi16(_mm256_cvtps_epi32(even),
                                                                 _mm256_slli_epi32(_mm256_cvtps_epi32(odd), 16), 0xAA));
}

static inline vs vs_zero(void)
{
    return _mm256_setzero_si256();
}

static inline vs vs_dot(vs sum, vh a, vh b)
{
#if defined(__AVXVNNI__) && !defined(VEC_EMULATES_AVXVNNI)
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b)); /* as in vi_dot */
    return sum;
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}

static inline vi vs_wide(vs sum)
{
    return sum;
}

typedef __m256i vb;

static inline vb vb_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

static inline vb vb_load_n(const void *p, int n)
{
    return n == VF ? vb_load(p) : _mm256_maskload_epi32(p, vec_mask(n));
}

static inline vb vb_fill(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline vb vb_set(const void *p)
{
    uint32_t four;

    memcpy(&four, p, sizeof four);
    return vb_fill(four);
}

static inline vb vb_low(vb a)
{
    return _mm256_and_si256(a, _mm256_set1_epi8(15));
}
static inline vb vb_high(vb a)
{
    return _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(15));
}

typedef __m256i vn;

static inline vn vn_zero(void)
{
    return _mm256_setzero_si256();
}

#if defined(__AVXVNNI__) || defined(VEC_EMULATES_AVXVNNI)
static inline vn vn_dot(vn sum, vb a, vb w)
{
    return vi_dot_bytes(sum, a, w);
}
static inline vi vn_wide(vn sum)
{
    return sum;
}
#else /* sums of 16 bits: 8 times 2 * 15 * 127 is below 2^15 */
static inline vn vn_dot(vn sum, vb a, vb w)
{
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, w));
}
static inline vi vn_wide(vn sum)
{
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}
#endif

static inline vb vb_and(vb a, vb b)
{
    return _mm256_and_si256(a, b);
}
static inline vb vb_behind(vb a, int n)
{
    return _mm256_srl_epi32(a, _mm_cvtsi32_si128(8 * n));
}

static inline vb vb_after(vb a, vb b, int n)
{
    return _mm256_or_si256(vb_behind(a, n), _mm256_sll_epi32(b, _mm_cvtsi32_si128(32 - 8 * n)));
}

/* Beyond 2^31 a float gives the least whole number, and NaN too. */
static inline __m256i vb_whole(vf x)
{
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(127), x));
}

static inline void vb_store_n(uint8_t *p, vf x, int n)
{
    __m256i whole = vb_whole(x);
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(half, half));

    if (n == VF)
        memcpy(p, &bytes, VF);
    else
        memcpy(p, &bytes, (size_t)n);
}

static inline void vb_store_4_n(uint8_t *p, const vf x[4], int n)
{
    const __m256i turned =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m256i groups = _mm256_packus_epi16(_mm256_packs_epi32(vb_whole(x[0]), vb_whole(x[1])),
                                         _mm256_packs_epi32(vb_whole(x[2]), vb_whole(x[3])));

    groups = _mm256_shuffle_epi8(groups, turned);
    if (n == VF)
        _mm256_storeu_si256((__m256i *)(void *)p, groups);
    else
        _mm256_maskstore_epi32((int *)(void *)p, vec_mask(n), groups);
}

/* ---- Pictures */

static inline vf vf_load_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static inline vf vf_load_bytes_n(const uint8_t *p, int n)
{
    uint64_t bytes = 0;

    memcpy(&bytes, p, (size_t)n);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes)));
}

static inline void vf_store_colours_n(uint8_t *p, vf r, vf g, vf b, int n)
{
    const __m256i close = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5, 6, 8,
                                           9, 10, 12, 13, 14, -1, -1, -1, -1);
    __m256i colours =
        _mm256_or_si256(_mm256_cvtps_epi32(r), _mm256_or_si256(_mm256_slli_epi32(_mm256_cvtps_epi32(g), 8),
                                                               _mm256_slli_epi32(_mm256_cvtps_epi32(b), 16)));
    uint8_t bytes[28];

    colours = _mm256_shuffle_epi8(colours, close);
    _mm_storeu_si128((__m128i *)(void *)bytes, _mm256_castsi256_si128(colours));
    _mm_storeu_si128((__m128i *)(void *)(bytes + 12), _mm256_extracti128_si256(colours, 1));
    if (n == VF)
        memcpy(p, bytes, 3 * VF);
    else
        memcpy(p, bytes, 3 * (size_t)n);
}

static inline void vf_deinterleave_2(vf y[2], const vf x[2])
{
    __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(x[0], x[1], 0x88));
    __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(x[0], x[1], 0xDD));

    y[0] = _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xD8));
    y[1] = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xD8));
}

static inline void vf_deinterleave_3(vf y[3], const vf x[3])
{
    /* Element 3 i + c is in lane (3 i + c) % 8 of a vector that no other of the same c shares a lane with. */
    vf a = _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], 0x92), x[2], 0x24);
    vf b = _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], 0x24), x[2], 0x49);
    vf c = _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], 0x49), x[2], 0x92);

    y[0] = _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(0, 3, 6, 1, 4, 7, 2, 5));
    y[1] = _mm256_permutevar8x32_ps(b, _mm256_setr_epi32(1, 4, 7, 2, 5, 0, 3, 6));
    y[2] = _mm256_permutevar8x32_ps(c, _mm256_setr_epi32(2, 5, 0, 3, 6, 1, 4, 7));
}

#endif
