/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_precision.c - the kernels that compute with int8 and bf16, each level of this machine.
 *
 *     check_precision [--bench] [SEED]
 *
 * Like check_kernels: inputs and outputs end at a page that cannot be touched, and bytes before the outputs are
 * compared. A product in int8 is compared with sums of whole numbers that this file makes itself from the contract,
 * and must have the same bits; plain C too. One in bf16 stays within roundings of the sum of the absolute terms.
 * With --bench it prints times, the ratio to plain C, and to the product in single precision.
 */
#include "support/check.h"
#include "build_config.h"
#include "support/kernelhost.h"
#include "kernels/kernels.h"

static const int sizes[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10,  11,  12,  13,
                             14, 15, 16, 17, 31, 33, 63, 64, 65, 127, 257, 1000 };
static const int rows_of[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 13 },
                 outs_of[] = { 1, 7, 15, 16, 17, 48, 49, 63, 64, 65, 130 };
enum {
    SIZES = sizeof sizes / sizeof *sizes,
    ROWS = sizeof rows_of / sizeof *rows_of,
    OUTS = sizeof outs_of / sizeof *outs_of
};

static const enum palme_activation activations[] = { PALME_ACTIVATION_NONE, PALME_ACTIVATION_RELU6,
                                                     PALME_ACTIVATION_ADD };
static const struct palme_kernels *truth, *tried;

static struct buffer floats(size_t n, double scale)
{
    struct buffer b = buffer_of_bytes(n * sizeof(float));

    for (size_t i = 0; i < n; i++)
        b.data[i] = (float)(random_unit() * scale);
    return b;
}

static int same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* ---- int8 ----------------------------------------------------------------------------------- */

/* The whole numbers and the scale of a row, from the contract alone. */
static float whole_numbers(int *q, const float *x, int n)
{
    float most = 0;
    int finite = 1;

    for (int i = 0; i < n; i++) {
        q[i] = 0;
        finite &= isfinite(x[i]) != 0;
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    }
    if (!finite)
        return NAN;
    if (most < PALME_QUANTIZATION_MIN)
        return 0;
    float factor = 127 / most;

    for (int i = 0; i < n; i++) {
        float value = x[i] * factor, low = floorf(value);

        q[i] = (int)low + (value - low > 0.5f || (value - low == 0.5f && (int)low % 2 != 0));
    }
    return most / 127;
}

enum kind { RANDOM, EXTREME, ZERO, TINY, GREAT, BROKEN, HALVES, KINDS };

static void fill_row(float *x, int n, enum kind kind)
{
    static const double scale[KINDS] = { 1, 1, 0, 1e-31, 1e37, 1, 1 };

    for (int i = 0; i < n; i++) {
        x[i] = (float)(random_unit() * scale[kind]);
        if (kind == EXTREME) /* all +-127: two neighbouring products are as large as they can be */
            x[i] = random_bits() % 4 ? -3 : 3;
        else if (kind == HALVES)
            x[i] = i == 0 ? 127 : (float)((int)(random_bits() % 255) - 127) + 0.5f;
    }
    if (kind == BROKEN)
        x[random_bits() % (uint64_t)n] = n % 2 ? NAN : -INFINITY;
}

static void check_int8_size(int in, int rows, int out, int trial)
{
    int gap = trial % 3, groups = (in + 3) / 4, panels = (out + 15) / 16, *q = malloc((size_t)in * sizeof *q);
    size_t stride = PALME_QUANTIZED_BYTES((size_t)in), y_stride = (size_t)(out + gap);
    struct buffer x = floats((size_t)in, 1), quantized = buffer_of_bytes((size_t)rows * stride);
    struct buffer w = buffer_of_bytes((size_t)(panels * groups * 64)), scale = floats((size_t)panels * 16, 0.01);
    struct buffer b = floats((size_t)panels * 16, 1),
                  y = buffer_of_bytes(((size_t)(rows - 1) * y_stride + (size_t)out) * 4);
    int8_t *weights = (int8_t *)w.data, *rows_8 = (int8_t *)quantized.data;
    int *whole = malloc((size_t)rows * (size_t)in * sizeof *whole);
    float *row_scale = malloc((size_t)rows * sizeof *row_scale);
    struct palme_quantization *quantization = calloc((size_t)rows, sizeof *quantization);
    enum palme_activation f = activations[trial % 3];
    const float *bias = trial / 2 % 2 ? b.data : NULL;
    int wrong = 0;

    memset(weights, 0, w.bytes);
    for (int o = 0; o < out; o++)
        for (int k = 0; k < in; k++) /* -128 too, which files may bring */
            weights[((o / 16 * groups + k / 4) * 16 + o % 16) * 4 + k % 4] =
                (int8_t)(trial % KINDS == EXTREME ? (o % 3 == 0   ? -128
                                                     : o % 3 == 1 ? 127
                                                                  : -127)
                                                  : (int)(random_bits() % 256) - 128);
    for (int r = 0; r < rows; r++) {
        fill_row(x.data, in, (enum kind)((trial + r) % KINDS));
        tried->quantize(rows_8 + (size_t)r * stride, &quantization[r], x.data, in);
        row_scale[r] = whole_numbers(whole + (size_t)r * (size_t)in, x.data, in);
        CHECK_MESSAGE(same(quantization[r].scale, row_scale[r]), "%s quantize, size %d: scale %.9g, wanted %.9g",
                      tried->level, in, quantization[r].scale, row_scale[r]);
    }
    CHECK_MESSAGE(buffer_guarded(&quantized), "%s quantize, size %d: wrote before its output", tried->level, in);
    stand(y.data, rows, out, y_stride);
    tried->linear_int8(y.data, rows_8, quantization, weights, scale.data, bias, rows, in, out, (ptrdiff_t)y_stride, f);
    for (int r = 0; r < rows; r++) {
        for (int o = 0; o < out; o++) {
            int64_t sum = 0;

            for (int k = 0; k < in; k++)
                sum += (int64_t)whole[r * in + k] * weights[((o / 16 * groups + k / 4) * 16 + o % 16) * 4 + k % 4];
            float wanted = fmaf((float)sum, row_scale[r] * scale.data[o], bias ? bias[o] : 0);
            if (f == PALME_ACTIVATION_RELU6)
                wanted = wanted < 0 ? 0 : wanted > 6 ? 6 : wanted;
            else if (f == PALME_ACTIVATION_ADD)
                wanted += stood(o);
            /* What a minimum makes of NaN is not said. */
            if (!(f == PALME_ACTIVATION_RELU6 && isnan(wanted)) &&
                !same(y.data[(size_t)r * y_stride + (size_t)o], wanted) && wrong++ == 0)
                CHECK_MESSAGE(0, "%s linear_int8 %d x %d x %d, row %d, output %d: %.9g, wanted %.9g", tried->level,
                              rows, in, out, r, o, y.data[(size_t)r * y_stride + (size_t)o], wanted);
        }
        for (int i = 0; r + 1 < rows && i < gap; i++)
            CHECK_MESSAGE(*(unsigned char *)&y.data[(size_t)r * y_stride + (size_t)(out + i)] == CANARY,
                          "%s linear_int8 %d x %d x %d: wrote between rows", tried->level, rows, in, out);
    }
    CHECK_MESSAGE(buffer_guarded(&y), "%s linear_int8, size %d: wrote before its output", tried->level, in);
    free(q), free(whole), free(row_scale), free(quantization);
    buffer_free(&x), buffer_free(&quantized), buffer_free(&w), buffer_free(&scale), buffer_free(&b), buffer_free(&y);
}

static void check_int8(void)
{
    int trial = 0;

    for (int s = 0; s < SIZES; s++)
        for (int r = 0; r < ROWS; r++)
            for (int o = 0; o < OUTS; o++)
                check_int8_size(sizes[s], rows_of[r], outs_of[o], trial++);
    /* The longest layer: every product as large as it can be. */
    for (int rows = 1; rows <= 5; rows += 4)
        check_int8_size(PALME_INT8_MOST, rows, 16, EXTREME);
}

/* ---- int4 ----------------------------------------------------------------------------------- */

/* The squared error is at most that of rounding with the largest weight / 7 as the scale, but for what rounding the
 * scale to bf16 adds. The scale s is the one of least squares for its q, so there is no first-order term, and |s q|, a
 * projection of w, is at most |w|: rounding s by up to 2^-8 of it adds up to 2^-16 of the weights' squares. */
static void check_int4_round(enum kind kind)
{
    float w[PALME_INT4_GROUP], most = 0;
    int8_t q[PALME_INT4_GROUP];
    double error = 0, plain = 0, squares = 0;

    fill_row(w, PALME_INT4_GROUP, kind);
    for (int i = 0; i < PALME_INT4_GROUP; i++)
        most = fmaxf(most, fabsf(w[i]));
    float scale = palme_int4_round(q, w);
    double other = most / 7.0;

    for (int i = 0; i < PALME_INT4_GROUP; i++) {
        CHECK_MESSAGE(q[i] >= -8 && q[i] <= 7, "int4: %d", q[i]);
        error += ((double)w[i] - (double)q[i] * scale) * ((double)w[i] - (double)q[i] * scale);
        plain += ((double)w[i] - round(w[i] / other) * other) * ((double)w[i] - round(w[i] / other) * other);
        squares += (double)w[i] * w[i];
    }
    if (kind == BROKEN)
        CHECK_MESSAGE(isnan(scale), "int4: the scale of NaN is %g", scale);
    else if (kind == ZERO || kind == TINY)
        CHECK_MESSAGE(scale == 0, "int4: the scale of zeros is %g", scale);
    else
        CHECK_MESSAGE(error <= (plain + 0x1p-16 * squares) * (1 + 1e-4),
                      "int4, kind %d: error %g, by the largest weight %g", kind, error, plain);
}

static void check_int4_size(int in, int rows, int out, int trial)
{
    int gap = trial % 3, groups = (in + 63) / 64 * 2, panels = (out + 15) / 16, wrong = 0;
    size_t stride = PALME_INT4_ROW_BYTES(in), panel = PALME_INT4_PANEL_BYTES(in), y_stride = (size_t)(out + gap);
    struct buffer x = floats((size_t)in, 1),
                  quantized = buffer_of_bytes((size_t)(rows - 1) * stride + (size_t)groups * 36);
    struct buffer w = buffer_of_bytes((size_t)panels * panel), b = floats((size_t)panels * 16, 1),
                  y = buffer_of_bytes(((size_t)(rows - 1) * y_stride + (size_t)out) * 4);
    int *whole = calloc((size_t)rows * (size_t)groups * 32, sizeof *whole);
    float *row_scale = malloc((size_t)rows * sizeof *row_scale);
    struct palme_quantization *quantization = calloc((size_t)rows, sizeof *quantization);
    enum palme_activation f = activations[trial % 3];
    const float *bias = trial / 2 % 2 ? b.data : NULL;
    uint8_t *weights = (uint8_t *)w.data;

    for (size_t i = 0; i < w.bytes; i++) /* the largest products too */
        weights[i] = trial % KINDS == EXTREME ? 0 : (uint8_t)random_bits();
    for (int o = 0; o < panels * 16; o++)
        for (int g = 0; g < groups; g++) {
            uint16_t scale = o < out ? palme_bf16_round((float)random_unit() / 100) : 0;

            memcpy(weights + (size_t)(o / 16) * panel + (size_t)(g / 2 * 576 + 512 + o % 16 * 4 + g % 2 * 2), &scale,
                   2);
        }
    for (int r = 0; r < rows; r++) {
        fill_row(x.data, in, (enum kind)((trial + r) % KINDS));
        tried->quantize_int4((int8_t *)quantized.data + (size_t)r * stride, &quantization[r], x.data, in);
        row_scale[r] = whole_numbers(whole + r * groups * 32, x.data, in);
        CHECK_MESSAGE(same(quantization[r].scale, row_scale[r]), "%s quantize_int4, size %d: scale %.9g, wanted %.9g",
                      tried->level, in, quantization[r].scale, row_scale[r]);
    }
    CHECK_MESSAGE(buffer_guarded(&quantized), "%s quantize_int4, size %d: wrote before its output", tried->level, in);
    stand(y.data, rows, out, y_stride);
    tried->linear_int4(y.data, (int8_t *)quantized.data, quantization, weights, bias, rows, in, out,
                       (ptrdiff_t)y_stride, f);
    for (int i = 0; i < rows * out; i++) {
        int r = i / out, o = i % out;
        float found = y.data[(size_t)r * y_stride + (size_t)o], sum = 0;

        for (int g = 0; g < groups; g++) {
            const uint8_t *unit = weights + (size_t)(o / 16) * panel + (size_t)(g / 2 * 576);
            int32_t exact = 0;
            uint16_t scale;

            memcpy(&scale, unit + 512 + o % 16 * 4 + g % 2 * 2, 2);
            for (int k = 0; k < 32; k++) {
                int byte = unit[g % 2 * 256 + k / 8 * 64 + o % 16 * 4 + k % 4];

                exact += whole[(r * groups + g) * 32 + k] * ((k % 8 < 4 ? byte & 15 : byte >> 4) - 8);
            }
            sum = fmaf((float)exact, palme_bf16_widen(scale), sum);
        }
        float wanted = fmaf(sum, row_scale[r], bias ? bias[o] : 0);
        if (f == PALME_ACTIVATION_RELU6)
            wanted = wanted < 0 ? 0 : wanted > 6 ? 6 : wanted;
        else if (f == PALME_ACTIVATION_ADD)
            wanted += stood(o);
        if (!(f == PALME_ACTIVATION_RELU6 && isnan(wanted)) && !same(found, wanted) && wrong++ == 0)
            CHECK_MESSAGE(0, "%s linear_int4 %d x %d x %d, row %d, output %d: %.9g, wanted %.9g", tried->level, rows,
                          in, out, r, o, found, wanted);
        for (int g = 0; o == out - 1 && r + 1 < rows && g < gap; g++)
            CHECK_MESSAGE(*(unsigned char *)&y.data[(size_t)r * y_stride + (size_t)(out + g)] == CANARY,
                          "%s linear_int4 %d x %d x %d: wrote between rows", tried->level, rows, in, out);
    }
    CHECK_MESSAGE(buffer_guarded(&y), "%s linear_int4, size %d: wrote before its output", tried->level, in);
    free(whole), free(row_scale), free(quantization);
    buffer_free(&x), buffer_free(&quantized), buffer_free(&w), buffer_free(&b), buffer_free(&y);
}

static void check_int4(void)
{
    int trial = 0;

    for (int s = 0; s < SIZES; s++)
        for (int r = 0; r < ROWS; r++)
            for (int o = 0; o < OUTS; o++)
                check_int4_size(sizes[s], rows_of[r], outs_of[o], trial++);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

/* A value as a byte, from the contract alone. */
static int byte_of(float x)
{
    float low = floorf(x);

    if (!(x > 0))
        return 0;
    return x >= 127 ? 127 : (int)low + (x - low > 0.5f || (x - low == 0.5f && (int)low % 2 != 0));
}

/* Panels of random weights, and one of them. */
static struct buffer panels_of_int8(int in, int out)
{
    int groups = (in + 3) / 4;
    struct buffer w = buffer_of_bytes((size_t)((out + 15) / 16 * groups * 64));

    memset(w.data, 0, w.bytes);
    for (int o = 0; o < out; o++)
        for (int k = 0; k < in; k++)
            ((int8_t *)w.data)[((o / 16 * groups + k / 4) * 16 + o % 16) * 4 + k % 4] =
                (int8_t)((int)(random_bits() % 256) - 128);
    return w;
}

static int weight_of(const struct buffer *w, int in, int o, int k)
{
    return ((const int8_t *)w->data)[((o / 16 * ((in + 3) / 4) + k / 4) * 16 + o % 16) * 4 + k % 4];
}

/* Scales and biases with which some values are in range, some beyond it, and some no numbers. */
static struct buffer scales(int n, double scale, int broken)
{
    struct buffer b = floats((size_t)n, scale);

    for (int i = 0; broken && i < n; i += 5)
        b.data[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : 3e30f;
    return b;
}

static void check_to_bytes_size(int in, int out, int lines, int pixels, int trial)
{
    int gap = trial % 3, apart = pixels + trial % 2, rows = (lines - 1) * apart + pixels, padded = (out + 15) / 16 * 16;
    int wrong = 0, *whole = malloc((size_t)(rows * in) * sizeof *whole);
    size_t stride = PALME_QUANTIZED_BYTES((size_t)in);
    struct buffer x = floats((size_t)in, 1), quantized = buffer_of_bytes((size_t)rows * stride),
                  w = panels_of_int8(in, out);
    struct buffer scale = scales(padded, 0.003, 0), b = scales(padded, 3, trial % 4 == 3);
    struct buffer y = buffer_of_bytes((size_t)((pixels - 1) * (out + gap) + out) * 4);
    struct palme_quantization *quantization = calloc((size_t)rows, sizeof *quantization);
    float *row_scale = malloc((size_t)rows * sizeof *row_scale);

    for (int r = 0; r < rows; r++) {
        fill_row(x.data, in, (enum kind)((trial + r) % KINDS));
        tried->quantize((int8_t *)quantized.data + (size_t)r * stride, &quantization[r], x.data, in);
        row_scale[r] = whole_numbers(whole + r * in, x.data, in);
    }
    tried->linear_int8_to_bytes((uint8_t *)y.data, (const int8_t *)quantized.data, quantization, (const int8_t *)w.data,
                                scale.data, trial % 5 ? b.data : NULL, lines, apart, pixels, in, out, out + gap);
    for (int i = 0; i < pixels * lines * out; i++) {
        int o = i % out, line = i / out % lines, pixel = i / out / lines, row = line * apart + pixel;
        const uint8_t *group = (const uint8_t *)y.data + (pixel * (out + gap) + o) * 4;
        int64_t sum = 0;

        for (int k = 0; k < in; k++)
            sum += whole[row * in + k] * weight_of(&w, in, o, k);
        int wanted = byte_of(fmaf((float)sum, row_scale[row] * (scale.data[o] * PALME_BYTE_FACTOR),
                                  trial % 5 ? b.data[o] * PALME_BYTE_FACTOR : 0));
        if (group[line] != wanted && wrong++ == 0)
            CHECK_MESSAGE(
                0, "%s linear_int8_to_bytes %d lines x %d x %d x %d, pixel %d, output %d, line %d: %d, wanted %d",
                tried->level, lines, pixels, in, out, pixel, o, line, group[line], wanted);
        for (int g = 0; o == out - 1 && pixel + 1 < pixels && g < 4 * gap; g++)
            CHECK_MESSAGE(group[4 + g] == CANARY, "%s linear_int8_to_bytes: wrote between pixels", tried->level);
    }
    CHECK_MESSAGE(buffer_guarded(&y), "%s linear_int8_to_bytes, size %d: wrote before its output", tried->level, in);
    free(whole), free(quantization), free(row_scale);
    buffer_free(&x), buffer_free(&quantized), buffer_free(&w), buffer_free(&scale), buffer_free(&b), buffer_free(&y);
}

static void check_from_bytes_size(int in, int out, int rows, int trial)
{
    int gap = trial % 3, padded = (out + 15) / 16 * 16, x_stride = (in + 3) / 4 * 4 + 4 * gap, wrong = 0;
    struct buffer x = buffer_of_bytes((size_t)((rows - 1) * x_stride + (in + 3) / 4 * 4)), w = panels_of_int8(in, out);
    struct buffer scale = scales(padded, 0.01, 0), b = scales(padded, 1, trial % 4 == 3);
    struct buffer y = buffer_of_bytes((size_t)((rows - 1) * (out + gap) + out) * 4);
    enum palme_activation f = activations[trial % 3];
    uint8_t *bytes = (uint8_t *)x.data;

    for (size_t i = 0; i < x.bytes; i++)
        bytes[i] = trial % 3 ? random_bits() % 128 : 127;
    stand(y.data, rows, out, (size_t)(out + gap));
    tried->linear_bytes(y.data, bytes, (const int8_t *)w.data, scale.data, trial % 5 ? b.data : NULL, rows, in, out,
                        out + gap, x_stride, f);
    for (int i = 0; i < rows * out; i++) {
        int o = i % out, row = i / out;
        float found = y.data[row * (out + gap) + o];
        int64_t sum = 0;

        for (int k = 0; k < in; k++)
            sum += bytes[row * x_stride + k] * weight_of(&w, in, o, k);
        float wanted = fmaf((float)sum, PALME_BYTE_SCALE * scale.data[o], trial % 5 ? b.data[o] : 0);
        if (f == PALME_ACTIVATION_RELU6)
            wanted = wanted < 0 ? 0 : wanted > 6 ? 6 : wanted;
        else if (f == PALME_ACTIVATION_ADD)
            wanted += stood(o);
        if (!(f == PALME_ACTIVATION_RELU6 && isnan(wanted)) && !same(found, wanted) && wrong++ == 0)
            CHECK_MESSAGE(0, "%s linear_bytes %d x %d x %d, row %d, output %d: %.9g, wanted %.9g", tried->level, rows,
                          in, out, row, o, found, wanted);
        for (int g = 0; o == out - 1 && row + 1 < rows && g < gap; g++)
            CHECK_MESSAGE(*(unsigned char *)&y.data[row * (out + gap) + out + g] == CANARY,
                          "%s linear_bytes %d x %d x %d: wrote between rows", tried->level, rows, in, out);
    }
    CHECK_MESSAGE(buffer_guarded(&y), "%s linear_bytes, size %d: wrote before its output", tried->level, in);
    buffer_free(&x), buffer_free(&w), buffer_free(&scale), buffer_free(&b), buffer_free(&y);
}

static void check_depthwise_size(int count, int in_width, int size, int stride, int trial)
{
    int gap = trial % 3 * 4, width = (in_width + stride - 1) / stride, total = (width - 1) * stride + size - in_width;
    int portions = (size + 3) / 4, wrong = 0;
    struct palme_depthwise shape = { .width = width,
                                     .in_width = in_width,
                                     .left = total > 0 ? total / 2 : 0,
                                     .channels = count,
                                     .size = size,
                                     .stride = stride,
                                     .x_stride = count + gap,
                                     .y_stride = count + 2 * gap,
                                     .w_stride = count + gap };
    struct buffer x[2], w = buffer_of_bytes((size_t)((portions * size - 1) * (count + gap) + count) * 4);
    struct buffer scale = scales(count, 0.004, 0), b = scales(count, 3, trial % 7 == 6);
    struct buffer y = buffer_of_bytes((size_t)((width - 1) * shape.y_stride + count));
    struct palme_depthwise_window under = { .first = trial % 4, .inside = 0 };

    for (int g = 0; g < 2; g++) {
        x[g] = buffer_of_bytes((size_t)((in_width - 1) * (count + gap) + count) * 4);
        under.rows[g] = (uint8_t *)x[g].data;
    }
    for (int ky = 0; ky < size; ky++)
        under.inside |= (unsigned)(trial % 5 == 0 || random_bits() % 4 > 0) << ky;
    for (size_t i = 0; i < 2 * x[0].bytes; i++) { /* what is outside may be anything */
        int place = (int)(i % 4 + i / x[0].bytes * 4), ky = place - under.first;

        ((uint8_t *)x[i / x[0].bytes].data)[i % x[0].bytes] =
            (uint8_t)(ky >= 0 && ky < size && under.inside >> ky & 1 ? (trial % 3 ? random_bits() % 128 : 127)
                                                                     : random_bits());
    }
    for (size_t i = 0; i < w.bytes; i++) {
        size_t ky = i / 4 / (size_t)(count + gap) / (size_t)size * 4 + i % 4;

        ((int8_t *)w.data)[i] = (int8_t)(ky < (size_t)size ? (trial % 3 ? (int)(random_bits() % 256) - 128 : -128) : 0);
    }
    tried->depthwise_bytes((uint8_t *)y.data, &under, (const int8_t *)w.data, scale.data, b.data, &shape);
    for (int i = 0; i < width * count; i++) {
        int c = i % count, pixel = i / count;
        const uint8_t *found = (const uint8_t *)y.data + pixel * shape.y_stride + c;
        int64_t sum = 0;

        for (int tap = 0; tap < size * size; tap++) {
            int ky = tap / size, kx = tap % size, column = pixel * stride - shape.left + kx, place = under.first + ky;

            if (column >= 0 && column < in_width && under.inside >> ky & 1)
                sum += under.rows[place / 4][(column * (count + gap) + c) * 4 + place % 4] *
                       ((const int8_t *)w.data)[((ky / 4 * size + kx) * (count + gap) + c) * 4 + ky % 4];
        }
        int wanted = byte_of(fmaf((float)sum, scale.data[c], b.data[c] * PALME_BYTE_FACTOR));
        if (*found != wanted && wrong++ == 0)
            CHECK_MESSAGE(0, "%s depthwise_bytes %dx%d/%d, %d x %d, pixel %d, channel %d: %d, wanted %d", tried->level,
                          size, size, stride, in_width, count, pixel, c, *found, wanted);
        for (int g = 1; c == count - 1 && pixel + 1 < width && g <= 2 * gap; g++)
            CHECK_MESSAGE(found[g] == CANARY, "%s depthwise_bytes %d x %d: wrote between pixels", tried->level,
                          in_width, count);
    }
    CHECK_MESSAGE(buffer_guarded(&y), "%s depthwise_bytes, %d channels: wrote before its output", tried->level, count);
    buffer_free(&x[0]), buffer_free(&x[1]), buffer_free(&w), buffer_free(&scale), buffer_free(&b), buffer_free(&y);
}

static void check_bytes(void)
{
    static const int channels[] = { 1, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 130 },
                     widths[] = { 1, 2, 3, 7, 8, 9, 11, 16, 17, 23, 40 };
    enum { CHANNELS = sizeof channels / sizeof *channels, WIDTHS = sizeof widths / sizeof *widths };
    int trial = 0;

    for (int s = 0; s < SIZES; s++)
        for (int o = 0; o < OUTS; o++, trial++) {
            check_to_bytes_size(sizes[s], outs_of[o], trial % 4 + 1, trial % 5 + 1, trial);
            check_from_bytes_size(sizes[s], outs_of[o], rows_of[trial % ROWS], trial);
        }
    for (int i = 0; i < CHANNELS * WIDTHS * 8; i++)
        check_depthwise_size(channels[i % CHANNELS], widths[i / CHANNELS % WIDTHS], i / CHANNELS / WIDTHS % 2 ? 5 : 3,
                             i / CHANNELS / WIDTHS / 2 % 2 + 1, i + i / CHANNELS);
}

/* ---- bf16 ----------------------------------------------------------------------------------- */

static void check_rounding(void)
{
    for (int i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)random_bits(), low = bits & 0xffff;
        float x, back;

        memcpy(&x, &bits, sizeof x);
        back = palme_bf16_widen(palme_bf16_round(x));
        if (isnan(x)) {
            CHECK(isnan(back));
            continue;
        }
        uint32_t down = bits & 0xffff0000,
                 wanted = low < 0x8000 || (low == 0x8000 && !(bits & 0x10000)) ? down : down + 0x10000;
        uint32_t found;
        memcpy(&found, &back, sizeof found);
        CHECK_MESSAGE(found == wanted, "%.9g as bf16 is %.9g", x, back);
    }
}

/* Narrowed or not, what linear_bf16 multiplies. */
static float as_read(float x)
{
    return tried->to_bf16 ? palme_bf16_widen(palme_bf16_round(x)) : x;
}

static void check_bf16_size(int in, int rows, int out, int trial)
{
    int gap = trial % 3, pairs = (in + 1) / 2, panels = (out + 15) / 16;
    size_t y_stride = (size_t)(out + gap), x_stride = (size_t)(tried->to_bf16 ? 2 * pairs : in + gap);
    size_t x_size = (size_t)(rows - 1) * x_stride + (tried->to_bf16 ? x_stride : (size_t)in);
    struct buffer x = floats((size_t)rows * (size_t)in, trial % 5 == 4 ? 1e4 : 1),
                  w = buffer_of_bytes((size_t)(panels * pairs * 64));
    struct buffer b = floats((size_t)panels * 16, 1),
                  y = buffer_of_bytes(((size_t)(rows - 1) * y_stride + (size_t)out) * 4);
    struct buffer put = buffer_of_bytes(x_size * (tried->to_bf16 ? 2 : 4)),
                  plain = floats((size_t)(panels * 16 * in), 0);
    struct buffer one = buffer_of_bytes((size_t)out * 4), twin = buffer_of_bytes(y.bytes);
    uint16_t *weights = (uint16_t *)(void *)w.data;
    enum palme_activation f = activations[trial % 3];
    const float *bias = trial / 2 % 2 ? b.data : NULL;
    int wrong = 0;

    memset(weights, 0, w.bytes);
    for (int o = 0; o < out; o++)
        for (int k = 0; k < in; k++) {
            uint16_t value = palme_bf16_round((float)random_unit());

            weights[((o / 16 * pairs + k / 2) * 16 + o % 16) * 2 + k % 2] = value;
            plain.data[(o / 16 * in + k) * 16 + o % 16] = palme_bf16_widen(value);
        }
    for (int r = 0; r < rows; r++) {
        if (tried->to_bf16)
            tried->to_bf16((uint16_t *)(void *)put.data + (size_t)r * x_stride, x.data + r * in, in);
        else
            memcpy(put.data + (size_t)r * x_stride, x.data + r * in, (size_t)in * sizeof(float));
    }
    stand(y.data, rows, out, y_stride), stand(one.data, 1, out, 0), stand(twin.data, rows, out, y_stride);
    tried->linear_bf16(y.data, put.data, weights, bias, rows, in, out, (ptrdiff_t)y_stride, (ptrdiff_t)x_stride, f);
    for (int r = 0; r < rows; r++) {
        for (int o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0, terms = fabs(sum);

            for (int k = 0; k < in; k++) {
                double term = (double)as_read(x.data[r * in + k]) * plain.data[(o / 16 * in + k) * 16 + o % 16];

                sum += term;
                terms += fabs(term);
            }
            if (f == PALME_ACTIVATION_RELU6)
                sum = sum < 0 ? 0 : sum > 6 ? 6 : sum;
            else if (f == PALME_ACTIVATION_ADD)
                sum += stood(o), terms += fabs(stood(o));
            /* Each of `in` additions rounds a partial sum, which the sum of the terms bounds; as in check_kernels
             * they are taken to add up like the root of their number. */
            double limit = 4 * sqrt((double)in + 4) * EPS * terms + 1e-37;
            if (!(fabs(y.data[(size_t)r * y_stride + (size_t)o] - sum) <= limit) && wrong++ == 0)
                CHECK_MESSAGE(0, "%s linear_bf16 %d x %d x %d, row %d, output %d: %.9g, wanted %.9g", tried->level,
                              rows, in, out, r, o, y.data[(size_t)r * y_stride + (size_t)o], sum);
        }
        for (int i = 0; r + 1 < rows && i < gap; i++)
            CHECK_MESSAGE(*(unsigned char *)&y.data[(size_t)r * y_stride + (size_t)(out + i)] == CANARY,
                          "%s linear_bf16 %d x %d x %d: wrote between rows", tried->level, rows, in, out);
    }
    CHECK_MESSAGE(buffer_guarded(&y), "%s linear_bf16, size %d: wrote before its output", tried->level, in);
    /* One row alone gives the same bits. */
    tried->linear_bf16(one.data, (const char *)put.data + (size_t)(rows - 1) * x_stride * (tried->to_bf16 ? 2 : 4),
                       weights, bias, 1, in, out, out, (ptrdiff_t)x_stride, f);
    CHECK_MESSAGE(memcmp(one.data, y.data + (size_t)(rows - 1) * y_stride, (size_t)out * 4) == 0,
                  "%s linear_bf16 %d x %d x %d: a row alone is another", tried->level, rows, in, out);
    /* And so does the product in single precision with the same weights, where no row is narrowed. */
    if (!tried->to_bf16) {
        tried->linear(twin.data, put.data, plain.data, bias, rows, in, out, (ptrdiff_t)y_stride, (ptrdiff_t)x_stride,
                      f);
        CHECK_MESSAGE(memcmp(twin.data, y.data, y.bytes) == 0, "%s linear_bf16 %d x %d x %d: differs from linear",
                      tried->level, rows, in, out);
    }
    buffer_free(&x), buffer_free(&w), buffer_free(&b), buffer_free(&y), buffer_free(&put), buffer_free(&plain);
    buffer_free(&one), buffer_free(&twin);
}

static void check_bf16(void)
{
    int trial = 0;

    for (int s = 0; s < SIZES; s++)
        for (int r = 0; r < ROWS; r++)
            for (int o = 0; o < OUTS; o++)
                check_bf16_size(sizes[s], rows_of[r], outs_of[o], trial++);
}

/* ---- Keys and values ------------------------------------------------------------------------ */

/* Rows of a head, `gap` floats apart, as the weights of a layer. Every level gives the same bits. */
static void check_pack_size(int count, int width, int gap)
{
    ptrdiff_t stride = width + gap;
    struct buffer x = floats((size_t)((count - 1) * stride + width), 3);
    int keys = (count + 15) / 16 * 16 * ((width + 1) / 2 * 2), values = (count + 1) / 2 * 2 * ((width + 15) / 16 * 16);
    struct buffer packed[2] = { buffer_of_bytes((size_t)keys * 2), buffer_of_bytes((size_t)values * 2) };

    static const uint32_t odd[] = {
        0x7fc00001, 0xff800001, 0x7f800000, 0x7f7fffff, 0x80000000, 0x3f808000, 0x3f818000
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        memcpy(&x.data[random_bits() % (x.bytes / 4)], &odd[i], 4);
    tried->pack_keys((uint16_t *)packed[0].data, x.data, stride, count, width);
    tried->pack_values((uint16_t *)packed[1].data, x.data, stride, count, width);
    for (int of_values = 0; of_values < 2; of_values++) {
        int ins = of_values ? count : width, outs = of_values ? width : count, pairs = (ins + 1) / 2, wrong = 0;

        for (int o = 0; o < (outs + 15) / 16 * 16; o++)
            for (int k = 0; k < 2 * pairs; k++) {
                int row = of_values ? k : o, d = of_values ? o : k;
                uint16_t wanted = o < outs && k < ins ? palme_bf16_round(x.data[row * stride + d]) : 0;

                wrong += ((uint16_t *)packed[of_values].data)[((o / 16 * pairs + k / 2) * 16 + o % 16) * 2 + k % 2] !=
                         wanted;
            }
        CHECK_MESSAGE(wrong == 0 && buffer_guarded(&packed[of_values]), "%s pack_%s %d x %d: %d numbers are wrong",
                      tried->level, of_values ? "values" : "keys", count, width, wrong);
        buffer_free(&packed[of_values]);
    }
    buffer_free(&x);
}

/* Attention as the decoder does it with these kernels, beside the plain one with the same rounded keys and values. */
static void check_packed_attention(int rows, int count, int width)
{
    size_t keys = (size_t)((count + 15) / 16 * 16 * ((width + 1) / 2 * 2));
    size_t values = (size_t)((count + 1) / 2 * 2 * ((width + 15) / 16 * 16));
    struct buffer q = floats((size_t)(rows * width), 1), k = floats((size_t)(count * width), 1),
                  v = floats((size_t)(count * width), 1), y = buffer_of_bytes((size_t)(rows * width) * 4),
                  wanted = buffer_of_bytes((size_t)(rows * width) * 4), one = buffer_of_bytes((size_t)width * 4),
                  scores = buffer_of_bytes((size_t)(rows * count) * 4);
    uint16_t *packed_keys = aligned_alloc(64, (keys * 2 + 63) / 64 * 64);
    uint16_t *packed_values = aligned_alloc(64, (values * 2 + 63) / 64 * 64);
    struct palme_attend shape = { .rows = rows,
                                  .keys = count,
                                  .visible = count,
                                  .width = width,
                                  .out_stride = width,
                                  .q_stride = width,
                                  .k_stride = width,
                                  .v_stride = width,
                                  .scale = 0.5f };
    int wrong = 0;

    for (int i = 0; i < count * width; i++) {
        k.data[i] = palme_bf16_widen(palme_bf16_round(k.data[i]));
        v.data[i] = palme_bf16_widen(palme_bf16_round(v.data[i]));
    }
    tried->pack_keys(packed_keys, k.data, width, count, width);
    tried->pack_values(packed_values, v.data, width, count, width);
    truth->attend(wanted.data, q.data, k.data, v.data, &shape);
    for (int r = 0; r < 2; r++) { /* all rows, and the last one alone */
        int n = r ? 1 : rows;

        tried->linear_widened(scores.data, q.data + (size_t)((rows - n) * width), packed_keys, NULL, n, width, count,
                              count, width, PALME_ACTIVATION_NONE);
        for (int i = 0; i < n; i++)
            tried->softmax(scores.data + (size_t)(i * count), count, shape.scale);
        tried->linear_widened(r ? one.data : y.data, scores.data, packed_values, NULL, n, count, width, width, count,
                              PALME_ACTIVATION_NONE);
    }
    /* A score is a sum of `width` terms below 1, so off by `width` roundings of its size at most; exp makes that
     * relative, and adds 3. The sums over keys have `count` roundings each, of what is at most 1. */
    double limit = 2 * (0.5 * width * (width + 2) + 3 + 2 * count) * EPS;
    for (int i = 0; i < rows * width; i++)
        wrong += !(fabs((double)y.data[i] - wanted.data[i]) <= limit);
    CHECK_MESSAGE(wrong == 0, "%s, packed attention of %d x %d x %d: %d numbers are wrong", tried->level, rows, count,
                  width, wrong);
    CHECK_MESSAGE(memcmp(one.data, y.data + (size_t)((rows - 1) * width), (size_t)width * 4) == 0,
                  "%s, packed attention of %d x %d x %d: a row alone is another", tried->level, rows, count, width);
    free(packed_keys), free(packed_values);
    buffer_free(&q), buffer_free(&k), buffer_free(&v), buffer_free(&y), buffer_free(&wanted), buffer_free(&one);
    buffer_free(&scores);
}

static void check_packed(void)
{
    static const int widths[] = { 1, 3, 8, 15, 16, 17, 33, 64, 72, 96, 255, 256 };

    for (int s = 0; s < SIZES; s++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            check_pack_size(sizes[s], widths[w], (int)w % 4 * 5);
            check_packed_attention(rows_of[w % ROWS], sizes[s], widths[w]);
        }
}

/* ---- The bench ------------------------------------------------------------------------------ */

enum { IN = 512, OUT = 2048, MANY = 64 };
static float pool_x[MANY * IN], pool_y[MANY * OUT], pool_scale[OUT], pool_w[IN * OUT];
static int8_t pool_q[MANY * PALME_QUANTIZED_BYTES((size_t)IN)], pool_w8[IN * OUT];
static int8_t pool_q4[MANY * PALME_INT4_ROW_BYTES(IN)];
static uint8_t pool_w4[OUT / PALME_PANEL * PALME_INT4_PANEL_BYTES(IN)];
static uint16_t pool_w16[IN * OUT], pool_x16[MANY * IN];
static struct palme_quantization pool_quantum[MANY];
static const struct palme_kernels *benched;
static int bench_rows;

static void bench_f32(void)
{
    benched->linear(pool_y, pool_x, pool_w, NULL, bench_rows, IN, OUT, OUT, IN, PALME_ACTIVATION_NONE);
}
static void bench_quantize(void)
{
    benched->quantize(pool_q, pool_quantum, pool_x, IN);
}

static void bench_bf16(void)
{
    benched->linear_bf16(pool_y, benched->to_bf16 ? (const void *)pool_x16 : pool_x, pool_w16, NULL, bench_rows, IN,
                         OUT, OUT, IN, PALME_ACTIVATION_NONE);
}

static void bench_int4(void)
{
    benched->linear_int4(pool_y, pool_q4, pool_quantum, pool_w4, NULL, bench_rows, IN, OUT, OUT, PALME_ACTIVATION_NONE);
}

static void bench_quantize_int4(void)
{
    benched->quantize_int4(pool_q4, pool_quantum, pool_x, IN);
}

static void bench_int8(void)
{
    benched->linear_int8(pool_y, pool_q, pool_quantum, pool_w8, pool_scale, NULL, bench_rows, IN, OUT, OUT,
                         PALME_ACTIVATION_NONE);
}

static void bench(const struct palme_kernels *c, const struct palme_kernels *level)
{
    static const struct {
        const char *name;
        void (*run)(void);
        double bytes; /* of a weight; 0: no product */
    } all[] = {
        { "linear", bench_f32, 4 },
        { "linear_bf16", bench_bf16, 2 },
        { "linear_int8", bench_int8, 1 },
        { "linear_int4", bench_int4, PALME_INT4_UNIT_BYTES / (double)(PALME_INT4_UNIT * PALME_PANEL) },
        { "quantize", bench_quantize, 0 },
        { "quantize_int4", bench_quantize_int4, 0 },
    };

    for (bench_rows = 1; bench_rows <= MANY; bench_rows *= 4) {
        double single = 0;

        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            benched = c;
            double plain = bench_rows == 1 ? seconds(all[i].run) : 0;
            benched = level;
            double fast = seconds(all[i].run);

            if (i == 0)
                single = fast;
            if (all[i].bytes > 0)
                printf("%-12s %2d x %d x %d %-5s %9.0f ns, %4.2f times linear, %6.1f GOP/s, %5.1f GB/s of weights",
                       all[i].name, bench_rows, IN, OUT, level->level, fast * 1e9, single / fast,
                       2e-9 * bench_rows * IN * OUT / fast, 1e-9 * IN * OUT * all[i].bytes / fast);
            else
                printf("%-12s %d %-5s %9.0f ns", all[i].name, IN, level->level, fast * 1e9);
            if (plain > 0)
                printf(", %5.1f times plain C", plain / fast);
            printf("\n");
        }
    }
}

static void check_level(const struct palme_kernels *level)
{
    printf("%s\n", level->level);
    tried = level;
    check_int8();
    check_int4();
    check_bytes();
    check_bf16();
    check_packed();
    for (int r = 0; r < MANY; r++)
        level->quantize(pool_q + (size_t)r * PALME_QUANTIZED_BYTES((size_t)IN), &pool_quantum[r], pool_x + r * IN, IN);
}

#if PALME_HAVE_AVX2
/* int8_simd.c in the words of AVX-VNNI, whose dot product is made of AVX2's. */
void palme_int8_init_avxvnni_emulated(struct palme_kernels *kernels);
void palme_int4_init_avxvnni_emulated(struct palme_kernels *kernels);
#endif

int main(int argc, char **argv)
{
    int with_bench = argc > 1 && strcmp(argv[1], "--bench") == 0;
    enum palme_cpu_level best = palme_cpu_detect();
    struct palme_kernels c, level;

    random_state = argc > 1 + with_bench ? strtoull(argv[1 + with_bench], NULL, 0) : 1;
    printf("seed %llu; this machine has the level %s\n", (unsigned long long)random_state, palme_cpu_name(best));
    palme_kernels_init(&c, PALME_CPU_C);
    truth = &c;
    check_rounding();
    for (int i = 0; i < 100 * KINDS; i++)
        check_int4_round((enum kind)(i % KINDS));
    for (int i = 0; i < IN * OUT; i++)
        pool_w8[i] = (int8_t)random_bits(), pool_w16[i] = palme_bf16_round((float)random_unit()),
        pool_w[i] = (float)random_unit();
    for (int i = 0; i < MANY * IN; i++)
        pool_x[i] = (float)random_unit();
    for (int l = PALME_CPU_C; l < PALME_CPU_LEVELS; l++) {
        struct palme_kernels below;

        if (!palme_cpu_has((enum palme_cpu_level)l)) {
            printf("%s: not run here, this machine or this build lacks it\n", palme_cpu_name((enum palme_cpu_level)l));
            continue;
        }
        palme_kernels_init(&level, (enum palme_cpu_level)l);
        palme_kernels_init(&below, palme_cpu_below((enum palme_cpu_level)l));
        CHECK_MESSAGE(l == PALME_CPU_C ||
                          (level.quantize != below.quantize && level.linear_int8 != below.linear_int8 &&
                           level.linear_int8_to_bytes != below.linear_int8_to_bytes &&
                           level.linear_bytes != below.linear_bytes &&
                           level.depthwise_bytes != below.depthwise_bytes) ||
                          level.linear_bf16 != below.linear_bf16,
                      "the level %s brings no product", level.level);
        check_level(&level);
        if (with_bench && l > PALME_CPU_C)
            bench(&c, &level);
    }
#if PALME_HAVE_AVX2
    if (palme_cpu_has(PALME_CPU_AVX2)) {
        palme_kernels_init(&level, PALME_CPU_AVX2);
        palme_int8_init_avxvnni_emulated(&level);
        palme_int4_init_avxvnni_emulated(&level);
        level.level = "avxvnni, its one word emulated";
        check_level(&level);
    }
#endif
    return check_done();
}
