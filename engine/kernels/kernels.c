/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels.c - the reference of every inner loop, in plain C. Sums are kept in double: these loops are meant
 * to be right, not quick, and every faster one is measured against them. Never deleted.
 */
#include "kernels/plain.h"

#include "build_config.h"

#include <math.h>
#include <string.h>

enum { KEY_TILE = 64 };

static void layernorm_c(float *y, const float *x, const float *w, const float *b, int n, double eps)
{
    double sum = 0, square = 0;

    for (int i = 0; i < n; i++)
        sum += x[i];
    double mean = sum / n;
    for (int i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    double factor = 1 / sqrt(square / n + eps);
    for (int i = 0; i < n; i++)
        y[i] = (float)((x[i] - mean) * factor * w[i] + b[i]);
}

static void gelu_c(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)(0.5 * x[i] * (1 + erf(x[i] * 0.70710678118654752440)));
}

static void gelu_tanh_c(float *x, int n)
{
    for (int i = 0; i < n; i++) {
        double z = 0.79788456080286535588 * (x[i] + 0.044715 * x[i] * x[i] * x[i]);

        x[i] = (float)(x[i] / (1 + exp(-2 * z)));
    }
}

static void quick_gelu_c(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)(x[i] / (1 + exp(-1.702 * x[i])));
}

static void add_c(float *x, const float *y, int n)
{
    for (int i = 0; i < n; i++)
        x[i] += y[i];
}

static void relu6_c(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = relu6(x[i]);
}

static void normalize_c(float *x, int n)
{
    double square = 0;

    for (int i = 0; i < n; i++)
        square += (double)x[i] * x[i];
    double norm = sqrt(square);
    if (norm < 1e-12)
        norm = 1e-12;
    for (int i = 0; i < n; i++)
        x[i] = (float)(x[i] / norm);
}

static double log_sum_exp_c(const float *x, int n)
{
    double sum = 0;
    float top = -INFINITY;

    for (int i = 0; i < n; i++)
        if (x[i] > top)
            top = x[i];
    if (isinf(top))
        return top;
    for (int i = 0; i < n; i++)
        if (x[i] > -INFINITY)
            sum += exp((double)x[i] - top);
    return top + log(sum);
}

static void softmax_c(float *x, int n, float scale)
{
    float top = -INFINITY;
    double sum = 0;

    for (int i = 0; i < n; i++)
        if ((x[i] *= scale) > top)
            top = x[i];
    for (int i = 0; i < n; i++)
        sum += isnan(x[i]) ? 0 : exp((double)x[i] - top);
    for (int i = 0; i < n; i++)
        x[i] = isinf(top) || isnan(x[i]) ? 0 : (float)(exp((double)x[i] - top) / sum);
}

static int argmax_c(const float *x, int n)
{
    int best = -1;

    for (int i = 0; i < n; i++)
        if (x[i] > -INFINITY && (best < 0 || x[i] > x[best]))
            best = i;
    return best;
}

static void rotate_c(float *x, const float *cosine, const float *sine, const float *gain)
{
    for (int k = 0; k < PALME_ROTARY; k++) {
        double a = x[k], b = x[k + PALME_ROTARY];

        x[k] = (float)((a * cosine[k] - b * sine[k]) * gain[k]);
        x[k + PALME_ROTARY] = (float)((b * cosine[k] + a * sine[k]) * gain[k]);
    }
}

static void linear_c(float *y, const float *x, const float *w, const float *b, int rows, int in, int out,
                     ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    for (int first = 0; first < out; first += PALME_PANEL) {
        int outs = out - first < PALME_PANEL ? out - first : PALME_PANEL;

        for (int row = 0; row < rows; row++) {
            const float *xr = x + row * x_stride;
            double sum[PALME_PANEL] = { 0 };

            for (int k = 0; k < in; k++)
                for (int o = 0; o < PALME_PANEL; o++)
                    sum[o] += (double)xr[k] * w[(size_t)k * PALME_PANEL + o];
            for (int o = 0; o < outs; o++)
                store_activated(&y[row * y_stride + first + o], (float)(sum[o] + (b ? b[first + o] : 0)), activation);
        }
        w += (size_t)in * PALME_PANEL;
    }
}

/* One query over all keys. Scores are taken a tile at a time; when a tile brings a larger maximum, what was
 * summed before is scaled down to it, so the softmax needs no second pass and no memory for all scores. */
static void attend_row(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape,
                       int position)
{
    double sum[PALME_MOST_HEAD_DIM] = { 0 }, total = 0, top = -INFINITY;
    int last = position < shape->visible ? shape->visible : position + 1;
    int end = last < shape->keys ? last : shape->keys;

    for (int tile = 0; tile < end; tile += KEY_TILE) {
        int count = end - tile < KEY_TILE ? end - tile : KEY_TILE;
        double score[KEY_TILE], high = top;

        for (int j = 0; j < count; j++) {
            const float *key = k + (tile + j) * shape->k_stride;
            double dot = 0;

            for (int d = 0; d < shape->width; d++)
                dot += (double)q[d] * key[d];
            int distance = position - (tile + j);
            score[j] = dot * shape->scale - (double)shape->slope * (distance < 0 ? -distance : distance);
            if (score[j] > high)
                high = score[j];
        }
        if (isinf(high)) /* only -infinity so far, or a sum that overflowed: nothing can be weighed */
            continue;
        double shrink = exp(top - high);
        total *= shrink;
        for (int d = 0; d < shape->width; d++)
            sum[d] *= shrink;
        top = high;
        for (int j = 0; j < count; j++) {
            const float *value = v + (tile + j) * shape->v_stride;
            double weight = exp(score[j] - top);

            total += weight;
            for (int d = 0; d < shape->width; d++)
                sum[d] += weight * value[d];
        }
    }
    for (int d = 0; d < shape->width; d++)
        out[d] = total > 0 ? (float)(sum[d] / total) : 0;
}

static void attend_c(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape)
{
    for (int i = 0; i < shape->rows; i++)
        attend_row(out + i * shape->out_stride, q + i * shape->q_stride, k, v, shape, shape->first + i);
}

static void conv_rgb_c(float *y, const float *const x[3], const float *w, const float *b, int width, int in_width,
                       int left, int out)
{
    enum { MOST = 64 };

    for (int i = 0; i < width; i++) {
        for (int first = 0; first < out; first += MOST) {
            int outs = out - first < MOST ? out - first : MOST;
            double sum[MOST];

            for (int o = 0; o < outs; o++)
                sum[o] = b[first + o];
            for (int ky = 0; ky < 3; ky++) {
                for (int kx = 0; kx < 3; kx++) {
                    int column = 2 * i - left + kx;

                    if (!x[ky] || column < 0 || column >= in_width)
                        continue;
                    for (int c = 0; c < 3; c++) {
                        const float *tap = w + (size_t)((ky * 3 + kx) * 3 + c) * out + first;
                        double value = x[ky][column * 3 + c];

                        for (int o = 0; o < outs; o++)
                            sum[o] += value * tap[o];
                    }
                }
            }
            for (int o = 0; o < outs; o++)
                y[(size_t)i * out + first + o] = relu6((float)sum[o]);
        }
    }
}

static void depthwise_c(float *y, const float *const x[], const float *w, const float *b,
                        const struct palme_depthwise *shape)
{
    enum { MOST = 64 };

    for (int i = 0; i < shape->width; i++) {
        for (int first = 0; first < shape->channels; first += MOST) {
            int count = shape->channels - first < MOST ? shape->channels - first : MOST;
            double sum[MOST];

            for (int c = 0; c < count; c++)
                sum[c] = b[first + c];
            for (int ky = 0; ky < shape->size; ky++) {
                for (int kx = 0; kx < shape->size; kx++) {
                    int column = shape->stride * i - shape->left + kx;

                    if (!x[ky] || column < 0 || column >= shape->in_width)
                        continue;
                    const float *tap = w + (ky * shape->size + kx) * shape->w_stride + first;
                    const float *pixel = x[ky] + column * shape->x_stride + first;
                    for (int c = 0; c < count; c++)
                        sum[c] += (double)pixel[c] * tap[c];
                }
            }
            for (int c = 0; c < count; c++)
                y[i * shape->y_stride + first + c] = relu6((float)sum[c]);
        }
    }
}

void palme_pixels_init_c(struct palme_kernels *kernels);    /* pixels.c */
void palme_precision_init_c(struct palme_kernels *kernels); /* precision.c */
void palme_int4_init_c(struct palme_kernels *kernels);      /* int4.c */

/* What the sources named *_simd.c bring on each level that they are compiled for. */
#define LEVEL_INIT(level)                                                                                              \
    void palme_kernels_init_##level(struct palme_kernels *kernels);                                                    \
    void palme_attend_init_##level(struct palme_kernels *kernels);                                                     \
    void palme_attend_int16_init_##level(struct palme_kernels *kernels);                                               \
    void palme_convolutions_init_##level(struct palme_kernels *kernels);                                               \
    void palme_pixels_init_##level(struct palme_kernels *kernels);                                                     \
    void palme_int8_init_##level(struct palme_kernels *kernels);                                                       \
    void palme_int4_init_##level(struct palme_kernels *kernels);                                                       \
    void palme_bf16_init_##level(struct palme_kernels *kernels)
LEVEL_INIT(avx2);
LEVEL_INIT(avxvnni);
LEVEL_INIT(avx512);
LEVEL_INIT(vnni);
LEVEL_INIT(bf16);
LEVEL_INIT(neon);
LEVEL_INIT(dotprod);

#define OVERWRITE_ALL(level)                                                                                           \
    do {                                                                                                               \
        palme_kernels_init_##level(kernels);                                                                           \
        palme_attend_init_##level(kernels);                                                                            \
        palme_attend_int16_init_##level(kernels);                                                                      \
        palme_convolutions_init_##level(kernels);                                                                      \
        palme_pixels_init_##level(kernels);                                                                            \
        palme_int8_init_##level(kernels);                                                                              \
        palme_int4_init_##level(kernels);                                                                              \
        palme_bf16_init_##level(kernels);                                                                              \
    } while (0)

/* Products of whole numbers alone. */
#define OVERWRITE_WHOLE(level)                                                                                         \
    do {                                                                                                               \
        palme_int8_init_##level(kernels);                                                                              \
        palme_int4_init_##level(kernels);                                                                              \
        palme_attend_int16_init_##level(kernels);                                                                      \
    } while (0)

/* The kernels of this level alone; returns 0 if there are none on this machine. */
static int overwrite(struct palme_kernels *kernels, enum palme_cpu_level level)
{
    switch (palme_cpu_has(level) ? level : PALME_CPU_LEVELS) {
    case PALME_CPU_C:
        *kernels = (struct palme_kernels){
            .layernorm = layernorm_c,
            .gelu = gelu_c,
            .gelu_tanh = gelu_tanh_c,
            .quick_gelu = quick_gelu_c,
            .add = add_c,
            .relu6 = relu6_c,
            .normalize = normalize_c,
            .log_sum_exp = log_sum_exp_c,
            .softmax = softmax_c,
            .argmax = argmax_c,
            .rotate = rotate_c,
            .linear = linear_c,
            .attend = attend_c,
            .conv_rgb = conv_rgb_c,
            .depthwise = depthwise_c,
        };
        palme_pixels_init_c(kernels);
        palme_precision_init_c(kernels);
        palme_int4_init_c(kernels);
        return 1;
#if PALME_HAVE_NEON
    case PALME_CPU_NEON: OVERWRITE_ALL(neon); return 1;
#endif
#if PALME_HAVE_DOTPROD
    case PALME_CPU_DOTPROD: OVERWRITE_WHOLE(dotprod); return 1;
#endif
#if PALME_HAVE_AVX2
    case PALME_CPU_AVX2: OVERWRITE_ALL(avx2); return 1;
#endif
#if PALME_HAVE_AVXVNNI
    case PALME_CPU_AVXVNNI: OVERWRITE_WHOLE(avxvnni); return 1;
#endif
#if PALME_HAVE_AVX512
    case PALME_CPU_AVX512: OVERWRITE_ALL(avx512); return 1;
#endif
#if PALME_HAVE_VNNI
    case PALME_CPU_VNNI: OVERWRITE_WHOLE(vnni); return 1;
#endif
#if PALME_HAVE_BF16
    case PALME_CPU_BF16: palme_bf16_init_bf16(kernels); return 1;
#endif
    default: return 0;
    }
}

void palme_kernels_init(struct palme_kernels *kernels, enum palme_cpu_level level)
{
    if (level != PALME_CPU_C)
        palme_kernels_init(kernels, palme_cpu_below(level));
    if (overwrite(kernels, level))
        kernels->level = palme_cpu_name(level);
}
