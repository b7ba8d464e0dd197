/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * precision.c - the reference of the kernels that compute with bf16 and int8, in plain C.
 *
 * Integers are exact, so every level gives the same bits as these loops: the sums are the same whatever the order,
 * and what is done to them in floats is written down operation by operation in kernels.h. With bf16 only the
 * weights are rounded, and sums are kept in double, as in kernels.c.
 */
#include "kernels/plain.h"

#include <math.h>
#include <string.h>

float palme_quantization_scale(float *factor, const float *x, int n)
{
    int32_t largest = 0; /* the bits of |x| are in the order of |x|, NaN behind infinity */
    float most;

    *factor = 0;
    for (int i = 0; i < n; i++) {
        int32_t bits;

        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    memcpy(&most, &largest, sizeof most);
    if (!isfinite(most))
        return NAN;
    if (most < PALME_QUANTIZATION_MIN)
        return 0;
    *factor = 127 / most;
    return most / 127;
}

int8_t palme_quantize_value(float x, float factor)
{
    const float whole = 12582912; /* 1.5 * 2^23: its neighbours are whole numbers apart, halves go to the even one */
    float scaled = x * factor;

    return factor > 0 ? (int8_t)((scaled + whole) - whole) : 0;
}

void palme_quantize_values(int8_t *q, const float *x, int n, float factor)
{
    for (int i = 0; i < n; i++)
        q[i] = palme_quantize_value(x[i], factor);
}

static void quantize_c(int8_t *q, struct palme_quantization *quantization, const float *x, int n)
{
    float factor;

    *quantization = (struct palme_quantization){ palme_quantization_scale(&factor, x, n), 0 };
    memset(q, 0, PALME_QUANTIZED_BYTES((size_t)n));
    palme_quantize_values(q, x, n, factor);
}

/* The products of a row of numbers with the weights of an output. */
static int32_t sum_of(const int8_t *x, const int8_t *w, int in, int out)
{
    size_t groups = ((size_t)in + PALME_INT8_GROUP - 1) / PALME_INT8_GROUP;
    const int8_t *first =
        w + ((size_t)(out / PALME_PANEL) * groups * PALME_PANEL + (size_t)(out % PALME_PANEL)) * PALME_INT8_GROUP;
    int32_t sum = 0;

    for (int k = 0; k < in; k++)
        sum += x[k] * first[k / PALME_INT8_GROUP * PALME_PANEL * PALME_INT8_GROUP + k % PALME_INT8_GROUP];
    return sum;
}

static void linear_int8_c(float *y, const int8_t *x, const struct palme_quantization *quantization, const int8_t *w,
                          const float *scale, const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                          enum palme_activation activation)
{
    for (int row = 0; row < rows; row++) {
        for (int o = 0; o < out; o++) {
            int32_t sum =
                sum_of(x + (size_t)row * PALME_QUANTIZED_BYTES((size_t)in), w, in, o) + quantization[row].offset;

            store_activated(&y[row * y_stride + o], fmaf((float)sum, quantization[row].scale * scale[o], b ? b[o] : 0),
                            activation);
        }
    }
}

static uint8_t limited(float x)
{
    return x > 0 ? (uint8_t)palme_quantize_value(x < 127 ? x : 127, 1) : 0;
}

static void linear_int8_to_bytes_c(uint8_t *y, const int8_t *x, const struct palme_quantization *quantization,
                                   const int8_t *w, const float *scale, const float *b, int lines, int line_stride,
                                   int pixels, int in, int out, ptrdiff_t y_stride)
{
    for (int row = 0; row < pixels * lines; row++) {
        int line = row / pixels, pixel = row % pixels, from = line * line_stride + pixel;

        for (int o = 0; o < out; o++) {
            int32_t sum =
                sum_of(x + (size_t)from * PALME_QUANTIZED_BYTES((size_t)in), w, in, o) + quantization[from].offset;

            y[(pixel * y_stride + o) * PALME_INTERLEAVED_ROWS + line] =
                limited(fmaf((float)sum, quantization[from].scale * (scale[o] * PALME_BYTE_FACTOR),
                             b ? b[o] * PALME_BYTE_FACTOR : 0));
        }
    }
}

static void linear_bytes_c(float *y, const uint8_t *x, const int8_t *w, const float *scale, const float *b, int rows,
                           int in, int out, ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    for (int row = 0; row < rows; row++) {
        for (int o = 0; o < out; o++) {
            int32_t sum = sum_of((const int8_t *)x + row * x_stride, w, in, o);

            store_activated(&y[row * y_stride + o], fmaf((float)sum, PALME_BYTE_SCALE * scale[o], b ? b[o] : 0),
                            activation);
        }
    }
}

static void depthwise_bytes_c(uint8_t *y, const struct palme_depthwise_window *x, const int8_t *w, const float *scale,
                              const float *b, const struct palme_depthwise *shape)
{
    for (int i = 0; i < shape->width; i++) {
        for (int c = 0; c < shape->channels; c++) {
            int32_t sum = 0;

            for (int tap = 0; tap < shape->size * shape->size; tap++) {
                int ky = tap / shape->size, kx = tap % shape->size, column = shape->stride * i - shape->left + kx;
                int place = x->first + ky;

                if (column >= 0 && column < shape->in_width && x->inside >> ky & 1)
                    sum += x->rows[place / 4][(column * shape->x_stride + c) * 4 + place % 4] *
                           w[((ky / 4 * shape->size + kx) * shape->w_stride + c) * 4 + ky % 4];
            }
            y[i * shape->y_stride + c] = limited(fmaf((float)sum, scale[c], b[c] * PALME_BYTE_FACTOR));
        }
    }
}

static void linear_bf16_c(float *y, const void *x, const uint16_t *w, const float *b, int rows, int in, int out,
                          ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    size_t pairs = ((size_t)in + 1) / 2;

    for (int o = 0; o < out; o++) {
        const uint16_t *panel = w + (size_t)(o / PALME_PANEL) * pairs * PALME_PANEL * 2;

        for (int row = 0; row < rows; row++) {
            const float *values = (const float *)x + row * x_stride;
            double sum = 0;

            for (size_t k = 0; k < (size_t)in; k++)
                sum += (double)values[k] *
                       palme_bf16_widen(panel[(k / 2 * PALME_PANEL + (size_t)(o % PALME_PANEL)) * 2 + k % 2]);
            store_activated(&y[row * y_stride + o], (float)(sum + (b ? b[o] : 0)), activation);
        }
    }
}

static void pack_keys_c(uint16_t *to, const float *x, ptrdiff_t stride, int count, int width)
{
    int pairs = (width + 1) / 2;

    for (int at = 0; at < (count + PALME_PANEL - 1) / PALME_PANEL * PALME_PANEL; at++)
        for (int d = 0; d < 2 * pairs; d++)
            to[((at / PALME_PANEL * pairs + d / 2) * PALME_PANEL + at % PALME_PANEL) * 2 + d % 2] =
                at < count && d < width ? palme_bf16_round(x[at * stride + d]) : 0;
}

static void pack_values_c(uint16_t *to, const float *x, ptrdiff_t stride, int count, int width)
{
    int pairs = (count + 1) / 2;

    for (int d = 0; d < (width + PALME_PANEL - 1) / PALME_PANEL * PALME_PANEL; d++)
        for (int at = 0; at < 2 * pairs; at++)
            to[((d / PALME_PANEL * pairs + at / 2) * PALME_PANEL + d % PALME_PANEL) * 2 + at % 2] =
                at < count && d < width ? palme_bf16_round(x[at * stride + d]) : 0;
}

/* ---- Attention */

/* n values that stand `step` apart, rounded to whole numbers of which the largest is `most`; their scale, NaN if they
 * are not finite. */
static float rounded_to(int16_t *to, const float *x, ptrdiff_t step, int n, float most)
{
    float high = 0;

    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i * step]))
            return NAN;
        high = fmaxf(high, fabsf(x[i * step]));
    }
    for (int i = 0; i < n; i++)
        to[i] = high < PALME_QUANTIZATION_MIN ? 0 : (int16_t)lrintf(x[i * step] * (most / high));
    return high < PALME_QUANTIZATION_MIN ? 0 : high / most;
}

/* A tile of keys and values, rounded once for the rows that go through it together, and such a row. */
struct rounded_tile {
    int16_t key[PALME_INT16_KEYS][PALME_MOST_HEAD_DIM], value[PALME_MOST_HEAD_DIM][PALME_INT16_KEYS];
    float key_scale[PALME_INT16_KEYS], value_scale[PALME_MOST_HEAD_DIM];
    int count, width;
};

struct attending_row {
    int16_t query[PALME_MOST_HEAD_DIM];
    double scale, sum[PALME_MOST_HEAD_DIM], total, top; /* the scale is also that of q.k */
};

static void fill_tile(struct rounded_tile *tile, const float *k, const float *v, const struct palme_attend *shape)
{
    memset(tile->key, 0, sizeof tile->key);
    memset(tile->value, 0, sizeof tile->value);
    for (int j = 0; j < tile->count; j++)
        tile->key_scale[j] = rounded_to(tile->key[j], k + j * shape->k_stride, 1, tile->width, PALME_INT16_KEY_MOST);
    for (int d = 0; d < tile->width; d++)
        tile->value_scale[d] = rounded_to(tile->value[d], v + d, shape->v_stride, tile->count, PALME_INT16_VALUE_MOST);
}

/* Takes a tile into account for a row, as attend_row of kernels.c does it. */
static void attend_tile(struct attending_row *row, const struct rounded_tile *tile)
{
    double score[PALME_INT16_KEYS], high = -INFINITY, shrink;
    int32_t weight[PALME_INT16_KEYS];

    for (int j = 0; j < tile->count; j++) {
        int32_t dot = 0;

        for (int d = 0; d < tile->width; d++)
            dot += row->query[d] * tile->key[j][d];
        score[j] = (float)(dot * row->scale * tile->key_scale[j]); /* overflows as in floats */
        if (score[j] > high)
            high = score[j];
    }
    if (isinf(high))
        return;
    high = fmax(high, row->top);
    shrink = exp(row->top - high);
    row->top = high;
    row->total *= shrink;
    for (int j = 0; j < tile->count; j++) {
        weight[j] = isnan(score[j]) ? 0 : (int32_t)lrint(PALME_INT16_WEIGHT_MOST * exp(score[j] - high));
        row->total += weight[j];
    }
    for (int d = 0; d < tile->width; d++) {
        int32_t whole = 0;

        for (int j = 0; j < tile->count; j++)
            whole += weight[j] * tile->value[d][j];
        row->sum[d] = row->sum[d] * shrink + (double)whole * tile->value_scale[d];
    }
}

enum { ROWS_TOGETHER = 16 };

struct attending {
    struct rounded_tile tile;
    struct attending_row row[ROWS_TOGETHER];
};

_Static_assert(sizeof(struct attending) <= PALME_ATTEND_WORKSPACE(1), "the workspace of attention is too small");

static void attend_int16_c(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape)
{
    struct attending *a = shape->workspace;
    int width = a->tile.width = shape->width;

    for (int first = 0; first < shape->rows; first += ROWS_TOGETHER) {
        int rows = shape->rows - first < ROWS_TOGETHER ? shape->rows - first : ROWS_TOGETHER;

        for (int r = 0; r < rows; r++) {
            struct attending_row *row = &a->row[r];

            *row = (struct attending_row){ .top = -INFINITY };
            row->scale = (double)shape->scale *
                         rounded_to(row->query, q + (first + r) * shape->q_stride, 1, width, PALME_INT16_KEY_MOST);
        }
        for (int key = 0; key < shape->keys; key += PALME_INT16_KEYS) {
            a->tile.count = shape->keys - key < PALME_INT16_KEYS ? shape->keys - key : PALME_INT16_KEYS;
            fill_tile(&a->tile, k + key * shape->k_stride, v + key * shape->v_stride, shape);
            for (int r = 0; r < rows; r++)
                attend_tile(&a->row[r], &a->tile);
        }
        for (int r = 0; r < rows; r++)
            for (int d = 0; d < width; d++)
                out[(first + r) * shape->out_stride + d] =
                    a->row[r].total > 0 ? (float)(a->row[r].sum[d] / a->row[r].total) : 0;
    }
}

void palme_precision_init_c(struct palme_kernels *kernels); /* kernels.c calls it */

void palme_precision_init_c(struct palme_kernels *kernels)
{
    kernels->quantize = quantize_c;
    kernels->linear_int8 = linear_int8_c;
    kernels->linear_int8_to_bytes = linear_int8_to_bytes_c;
    kernels->linear_bytes = linear_bytes_c;
    kernels->depthwise_bytes = depthwise_bytes_c;
    kernels->to_bf16 = NULL;
    kernels->linear_bf16 = kernels->linear_widened = linear_bf16_c;
    kernels->pack_keys = pack_keys_c;
    kernels->pack_values = pack_values_c;
    kernels->attend_int16 = attend_int16_c;
}
