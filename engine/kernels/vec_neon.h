/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vec_neon.h - the vector operations of vec.h for AArch64's NEON: 4 floats, 32 registers.
 */
#ifndef PALME_VEC_NEON_H
#define PALME_VEC_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF 4
#define VEC_REGISTERS 32

typedef float32x4_t vf;

static inline vf vf_load(const float *p)
{
    return vld1q_f32(p);
}
static inline vf vf_held(vf a)
{
    __asm__("" : "+w"(a));
    return a;
}
static inline void vf_store(float *p, vf a)
{
    vst1q_f32(p, a);
}
static inline vf vf_set(float a)
{
    return vdupq_n_f32(a);
}

static inline vf vf_load_n(const float *p, int n)
{
    const vf none = vdupq_n_f32(0);

    switch (n) {
    case 0: return none;
    case 1: return vld1q_lane_f32(p, none, 0);
    case 2: return vcombine_f32(vld1_f32(p), vget_low_f32(none));
    case 3: return vcombine_f32(vld1_f32(p), vld1_lane_f32(p + 2, vget_low_f32(none), 0));
    default: return vld1q_f32(p);
    }
}

static inline void vf_store_n(float *p, vf a, int n)
{
    if (n == VF) {
        vst1q_f32(p, a);
        return;
    }
    if (n & 2)
        vst1_f32(p, vget_low_f32(a));
    if (n == 1)
        vst1q_lane_f32(p, a, 0);
    else if (n == 3)
        vst1q_lane_f32(p + 2, a, 2);
}

static inline vf vf_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}
/* Those that prefer a number to a NaN. */
static inline vf vf_min(vf a, vf b)
{
    return vminnmq_f32(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return vmaxnmq_f32(a, b);
}
static inline vf vf_abs(vf a)
{
    return vabsq_f32(a);
}
static inline vf vf_less(vf x, vf y, vf a, vf b)
{
    return vbslq_f32(vcltq_f32(x, y), a, b);
}
static inline vf vf_zero_if_less(vf x, vf y, vf a)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), vcltq_f32(x, y)));
}

static inline vf vf_keep_n(vf a, int n, float other)
{
    static const int32_t count_up[VF] = { 0, 1, 2, 3 };

    return vbslq_f32(vcltq_s32(vld1q_s32(count_up), vdupq_n_s32(n)), a, vdupq_n_f32(other));
}

static inline float vf_sum(vf a)
{
    float32x2_t s = vadd_f32(vget_low_f32(a), vget_high_f32(a));

    return vget_lane_f32(vpadd_f32(s, s), 0);
}

static inline float vf_sum_lanes(const vf a[4])
{
    return vf_sum(vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3])));
}

static inline float vf_largest(vf a)
{
    return vmaxnmvq_f32(a);
}

static inline vf vf_maximum(vf a, vf b)
{
    return vmaxq_f32(a, b);
}
static inline float vf_highest(vf a)
{
    return vmaxvq_f32(a);
}

static inline double vf_sum_lanes_double(const vf a[4])
{
    float64x2_t s0 = vaddq_f64(vcvt_f64_f32(vget_low_f32(a[0])), vcvt_f64_f32(vget_low_f32(a[2])));
    float64x2_t s1 = vaddq_f64(vcvt_high_f64_f32(a[0]), vcvt_high_f64_f32(a[2]));
    float64x2_t s2 = vaddq_f64(vcvt_f64_f32(vget_low_f32(a[1])), vcvt_f64_f32(vget_low_f32(a[3])));
    float64x2_t s3 = vaddq_f64(vcvt_high_f64_f32(a[1]), vcvt_high_f64_f32(a[3]));

    return vaddvq_f64(vaddq_f64(vaddq_f64(s0, s2), vaddq_f64(s1, s3)));
}

/* First the first halves of all rows. */
static inline int vf_eights_row(int i, int r)
{
    return i % VF + r;
}
static inline vf vf_load_eights(const float *const p[1], int i)
{
    return vld1q_f32(p[0] + i / VF * VF);
}

static inline vf vf_load_eight(const float *p, int i)
{
    return vld1q_f32(p + i / VF * VF);
}

static inline vf vf_sum_eights(const vf a[8])
{
    return vaddq_f32(vpaddq_f32(vpaddq_f32(a[0], a[1]), vpaddq_f32(a[2], a[3])),
                     vpaddq_f32(vpaddq_f32(a[4], a[5]), vpaddq_f32(a[6], a[7])));
}

static inline void vf_load_transposed(vf y[VF], const float *const x[VF], int at)
{
    vf a = vld1q_f32(x[0] + at), b = vld1q_f32(x[1] + at), c = vld1q_f32(x[2] + at), d = vld1q_f32(x[3] + at);
    float64x2_t even_ab = vreinterpretq_f64_f32(vtrn1q_f32(a, b)), odd_ab = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    float64x2_t even_cd = vreinterpretq_f64_f32(vtrn1q_f32(c, d)), odd_cd = vreinterpretq_f64_f32(vtrn2q_f32(c, d));

    y[0] = vreinterpretq_f32_f64(vtrn1q_f64(even_ab, even_cd));
    y[1] = vreinterpretq_f32_f64(vtrn1q_f64(odd_ab, odd_cd));
    y[2] = vreinterpretq_f32_f64(vtrn2q_f64(even_ab, even_cd));
    y[3] = vreinterpretq_f32_f64(vtrn2q_f64(odd_ab, odd_cd));
}

static inline vf vf_exponent(vf n, vf x, vf low) /* the power of 2 */
{
    return vf_zero_if_less(x, low,
                           vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)));
}

static inline vf vf_scaled(vf a, vf e)
{
    return vmulq_f32(a, e);
}

static inline vf vf_round(vf a)
{
    return vrndnq_f32(a);
}

/* ---- Weights of 16 and 8 bits */

static inline vf vf_load_even(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(p)), 16));
}

static inline vf vf_load_odd(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u16(vld1q_u16(p)), vdupq_n_u32(0xffff0000)));
}

/* The nearest bf16 in the upper half of each lane; NaN stays NaN. */
static inline uint32x4_t vec_half(vf x)
{
    uint32x4_t bits = vreinterpretq_u32_f32(x), last = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(last, vdupq_n_u32(0x7fff)));

    return vbslq_u32(vceqq_f32(x, x), rounded, vorrq_u32(bits, vdupq_n_u32(0x400000)));
}

static inline void vf_store_halves(uint16_t *p, vf even, vf odd)
{
    vst1q_u16(
        p, vreinterpretq_u16_u32(vbslq_u32(vdupq_n_u32(0xffff0000), vec_half(odd), vshrq_n_u32(vec_half(even), 16))));
}

#ifndef __ARM_FEATURE_DOTPROD
#define VEC_INT8_PAYS 0
#endif
#define VEC_INT8_SUMS 24
#define VEC_INT8_BYTES 4

typedef int32x4_t vi;
typedef int8x16_t vw;
typedef int8x16_t vq;

static inline void vq_store(int8_t *q, vf x)
{
    int16x4_t half = vmovn_s32(vcvtnq_s32_f32(x));
    int8x8_t bytes = vmovn_s16(vcombine_s16(half, half));

    vst1_lane_s32((int32_t *)(void *)q, vreinterpret_s32_s8(bytes), 0);
}

/* Both sides have signs. */
static inline vf vq_missing(vf x)
{
    (void)x;
    return vf_set(0);
}
static inline int32_t vq_offset(float sum)
{
    (void)sum;
    return 0;
}

static inline vq vq_load(const int8_t *q)
{
    int32_t four;

    memcpy(&four, q, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

static inline vw vw_load(const int8_t *w)
{
    return vld1q_s8(w);
}
static inline vi vi_zero(void)
{
    return vdupq_n_s32(0);
}

static inline vi vi_dot(vi sum, vw w, vq q)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(sum, w, q);
#else
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(q)));
    int32x4_t high = vpaddlq_s16(vmull_high_s8(w, q));

    return vaddq_s32(sum, vpaddq_s32(low, high));
#endif
}

static inline vi vi_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}

static inline vf vi_to_float(vi sum, int32_t offset)
{
    return vcvtq_f32_s32(vaddq_s32(sum, vdupq_n_s32(offset)));
}

/* ---- Pairs of 16 bits. The products of a pair are added up at the end, in vs_wide. */

#define VEC_INT16_SUMS 12

typedef int16x8_t vh;
typedef struct {
    int32x4_t low, high;
} vs;

static inline vh vh_load(const int16_t *p)
{
    return vld1q_s16(p);
}

static inline vh vh_set(const int16_t *p)
{
    int32_t two;

    memcpy(&two, p, sizeof two);
    return vreinterpretq_s16_s32(vdupq_n_s32(two));
}

static inline void vh_store(int16_t *p, vf a, vf b)
{
    vst1q_s16(p, vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a)), vmovn_s32(vcvtnq_s32_f32(b))));
}

static inline void vh_store_pairs(int16_t *p, vf even, vf odd)
{
    int16x4_t a = vmovn_s32(vcvtnq_s32_f32(even)), b = vmovn_s32(vcvtnq_s32_f32(odd));

    vst2_s16(p, (int16x4x2_t){ { a, b } });
}

static inline vs vs_zero(void)
{
    return (vs){ vdupq_n_s32(0), vdupq_n_s32(0) };
}

static inline vs vs_dot(vs sum, vh a, vh b)
{
    return (vs){ vmlal_s16(sum.low, vget_low_s16(a), vget_low_s16(b)), vmlal_high_s16(sum.high, a, b) };
}

static inline vi vs_wide(vs sum)
{
    return vpaddq_s32(sum.low, sum.high);
}

typedef int8x16_t vb; /* bytes below 128 may have a sign */

static inline vb vb_load(const void *p)
{
    return vld1q_s8(p);
}

static inline vb vb_load_n(const void *p, int n)
{
    int8_t groups[16] = { 0 };

    if (n == VF)
        return vb_load(p);
    memcpy(groups, p, (size_t)(4 * n));
    return vb_load(groups);
}

static inline vb vb_fill(uint32_t x)
{
    return vreinterpretq_s8_u32(vdupq_n_u32(x));
}

static inline vb vb_set(const void *p)
{
    uint32_t four;

    memcpy(&four, p, sizeof four);
    return vb_fill(four);
}

static inline vb vb_and(vb a, vb b)
{
    return vandq_s8(a, b);
}

static inline vb vb_behind(vb a, int n)
{
    return vreinterpretq_s8_u32(vshlq_u32(vreinterpretq_u32_s8(a), vdupq_n_s32(-8 * n)));
}

static inline vb vb_after(vb a, vb b, int n)
{
    return vorrq_s8(vb_behind(a, n), vb_behind(b, n - 4)); /* by 32 bits nothing is left */
}

static inline vi vi_dot_bytes(vi sum, vb a, vb w)
{
    return vi_dot(sum, w, a);
}

static inline vb vb_low(vb a)
{
    return vandq_s8(a, vdupq_n_s8(15));
}
static inline vb vb_high(vb a)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(a), 4));
}

typedef vi vn;

static inline vn vn_zero(void)
{
    return vi_zero();
}
static inline vn vn_dot(vn sum, vb a, vb w)
{
    return vi_dot_bytes(sum, a, w);
}
static inline vi vn_wide(vn sum)
{
    return sum;
}

static inline uint8x8_t vb_limited(vf low, vf high) /* a conversion limits too, and makes NaN 0 */
{
    int16x8_t whole = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(low)), vqmovn_s32(vcvtnq_s32_f32(high)));

    return vmin_u8(vqmovun_s16(whole), vdup_n_u8(127));
}

static inline void vb_store_n(uint8_t *p, vf x, int n)
{
    uint8_t bytes[8];

    vst1_u8(bytes, vb_limited(x, x));
    memcpy(p, bytes, (size_t)n);
}

static inline void vb_store_4_n(uint8_t *p, const vf x[4], int n)
{
    static const uint8_t turned[16] = { 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15 };
    uint8x16_t groups = vcombine_u8(vb_limited(x[0], x[1]), vb_limited(x[2], x[3]));
    uint8_t bytes[16];

    groups = vqtbl1q_u8(groups, vld1q_u8(turned));
    if (n == VF) {
        vst1q_u8(p, groups);
    } else {
        vst1q_u8(bytes, groups);
        memcpy(p, bytes, (size_t)(4 * n));
    }
}

/* ---- Pictures */

static inline vf vf_load_bytes_n(const uint8_t *p, int n)
{
    uint8_t bytes[8] = { 0 };

    memcpy(bytes, p, (size_t)n);
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vld1_u8(bytes)))));
}

static inline vf vf_load_bytes(const uint8_t *p)
{
    return vf_load_bytes_n(p, VF);
}

static inline void vf_store_colours_n(uint8_t *p, vf r, vf g, vf b, int n)
{
    static const uint8_t close[16] = { 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255 };
    uint32x4_t colours =
        vorrq_u32(vcvtnq_u32_f32(r), vorrq_u32(vshlq_n_u32(vcvtnq_u32_f32(g), 8), vshlq_n_u32(vcvtnq_u32_f32(b), 16)));
    uint8_t bytes[16];

    vst1q_u8(bytes, vqtbl1q_u8(vreinterpretq_u8_u32(colours), vld1q_u8(close)));
    if (n == VF)
        memcpy(p, bytes, 3 * VF);
    else
        memcpy(p, bytes, 3 * (size_t)n);
}

static inline void vf_deinterleave_2(vf y[2], const vf x[2])
{
    y[0] = vuzp1q_f32(x[0], x[1]);
    y[1] = vuzp2q_f32(x[0], x[1]);
}

static inline void vf_deinterleave_3(vf y[3], const vf x[3])
{
    static const uint8_t start[16] = { 0, 1, 2, 3, 12, 13, 14, 15, 24, 25, 26, 27, 36, 37, 38, 39 };
    const uint8x16x3_t bytes = { { vreinterpretq_u8_f32(x[0]), vreinterpretq_u8_f32(x[1]),
                                   vreinterpretq_u8_f32(x[2]) } };

    for (int c = 0; c < 3; c++)
        y[c] = vreinterpretq_f32_u8(vqtbl3q_u8(bytes, vaddq_u8(vld1q_u8(start), vdupq_n_u8((uint8_t)(4 * c)))));
}

#endif
