/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels.h - the inner loops and their contracts, as a table that is filled at run time.
 *
 * kernels.c has the reference of each in plain C with double accumulators. A level of an instruction set
 * overwrites the entries that it improves. All levels with vectors sum in the same order and so give the same bits,
 * but for products of pairs of bf16; with plain C they share those of whole numbers and of pictures. No kernel
 * allocates, fails, threads, logs or knows a model. Names of sizes: rows (of a matrix of activations), in and out
 * (columns of a linear layer), n (elements of a vector). Outputs come first. Buffers do not overlap unless a contract
 * says so.
 */
#ifndef PALME_KERNELS_H
#define PALME_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu.h"

enum {
    PALME_HEAD = 64,            /* dimensions of most attention heads, for which there are loops of their own */
    PALME_MOST_HEAD_DIM = 256,  /* and of any */
    PALME_ATTEND_ROWS = 198,    /* that attention takes through its keys together */
    PALME_PANEL = 16,           /* outputs of a linear layer that are stored together */
    PALME_INT8_GROUP = 4,       /* consecutive int8 weights of an output that are stored together */
    PALME_INT8_MOST = 65536,    /* inputs of a layer in int8: its sums, of any level, stay within 32 bits */
    PALME_INT4_GROUP = 32,      /* consecutive weights of 4 bits that have a scale */
    PALME_INT4_UNIT = 64,       /* inputs of such weights that are stored together: two groups */
    PALME_INTERLEAVED_ROWS = 4, /* rows of a map of bytes that stand together */
    PALME_TAPS_STEP = 8,        /* the taps of a filter are padded to a multiple of it */
    PALME_ROTARY = 16           /* rotary frequencies: dimensions k and k + 16 of a head are a pair */
};

/* What becomes of a layer's sums before they are stored. */
enum palme_activation {
    PALME_ACTIVATION_NONE,
    PALME_ACTIVATION_RELU6,      /* min(max(x, 0), 6) */
    PALME_ACTIVATION_ADD,        /* none, and what stands in y already is added: a residual */
    PALME_ACTIVATION_GELU,       /* that of `gelu`; products leave it and the following to layers.c */
    PALME_ACTIVATION_GELU_TANH,  /* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    PALME_ACTIVATION_QUICK_GELU, /* x / (1 + exp(-1.702 x)) */
};

/* A row of activations in int8: what its whole numbers are multiplied with, and what a level has to add to its sums
 * of products, since its instructions want numbers other than these. */
struct palme_quantization {
    float scale;
    int32_t offset;
};

/* Rows whose largest value is below this count as zero. */
#define PALME_QUANTIZATION_MIN 1e-30f

/* Bytes from a quantised row of `in` values to the next, a size_t: up to two for each, whole vectors of them, and an
 * odd number of cache lines, since rows some powers of two apart share few sets of the nearest cache. */
#define PALME_QUANTIZED_BYTES(in) (64 * ((2 * (((in) + 15) & ~(size_t)15) + 63) / 64 | 1))

/* A row x[n] in int8 is x / scale, rounded to the nearest whole number, halves to the even one: -127..127. Returns
 * the scale, the largest |x| / 127, and the factor to multiply x with, which is what is rounded. Of a row that counts
 * as zero both are 0. Of a row with NaN or infinity the scale is NaN, and all numbers are 0. */
float palme_quantization_scale(float *factor, const float *x, int n);
int8_t palme_quantize_value(float x, float factor);
/* The same for x[n]. */
void palme_quantize_values(int8_t *q, const float *x, int n, float factor);

/* Weights of 4 bits. A panel (16 outputs) has a unit for every 64 inputs, the last one padded with what adds nothing. A
 * unit is two groups of 32 inputs, [2][4][16][4] bytes, and then their scales, bf16 [16][2]. Byte [g][j][o][i] is of
 * output o and group g: its low half is the weight of input 8 j + i plus 8, its high half that of input 8 j + 4 + i. */
#define PALME_INT4_UNIT_BYTES (PALME_PANEL * (PALME_INT4_UNIT / 2 + 2 * 2))
#define PALME_INT4_PADDED(in) (((in) + PALME_INT4_UNIT - 1) / PALME_INT4_UNIT * PALME_INT4_UNIT)
#define PALME_INT4_PANEL_BYTES(in) ((size_t)(PALME_INT4_PADDED(in) / PALME_INT4_UNIT) * PALME_INT4_UNIT_BYTES)

/* Rows of activations for them: for each group its 32 numbers and then, an int32_t, -8 times their sum. Bytes from such
 * a row to the next, as with PALME_QUANTIZED_BYTES. */
#define PALME_INT4_GROUP_BYTES (PALME_INT4_GROUP + 4)
#define PALME_INT4_ROW_BYTES(in)                                                                                       \
    (64 * (((size_t)(PALME_INT4_PADDED(in) / PALME_INT4_GROUP) * PALME_INT4_GROUP_BYTES + 63) / 64 | 1))

/* q[32] = w[32] / scale in -8..7; the scale is a bf16, may be below 0, and has a small squared error. Returns it: 0 for
 * what counts as zero, NaN where w has NaN or infinity. */
float palme_int4_round(int8_t q[PALME_INT4_GROUP], const float w[PALME_INT4_GROUP]);
/* Puts row[in], the weights of output o of a panel, to its place in it; and such a weight as it is then. */
void palme_int4_pack(uint8_t *panel, int o, const float *row, int in);
float palme_int4_weight(const uint8_t *panel, int o, int k);

/* What ReLU6 leaves, 0..6, as a byte: the whole number nearest to x * PALME_BYTE_FACTOR, halves to the even one,
 * limited to 0..127; NaN is 0. Seven bits, so that two products with weights of eight fit into 16. */
#define PALME_BYTE_FACTOR (127 / 6.0f)
#define PALME_BYTE_SCALE (6 / 127.0f) /* what a byte is multiplied with */

static inline float palme_bf16_widen(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest bf16, halves to the even one; NaN stays NaN. */
static inline uint16_t palme_bf16_round(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* One attention head over some rows of queries. Row i of the queries is at position first + i among the
 * keys; it sees key j if j < visible or j <= first + i. */
struct palme_attend {
    int rows, keys;
    int first, visible;
    int width;                                          /* of the head, 1..PALME_MOST_HEAD_DIM */
    ptrdiff_t out_stride, q_stride, k_stride, v_stride; /* floats from a row to the next */
    float scale;                                        /* of q.k */
    float slope;                                        /* ALiBi: -slope * |distance|; 0 is none */
    int rounded;     /* attention.c: not this one but attend_int16, for rows that it is for */
    void *workspace; /* PALME_ATTEND_WORKSPACE(width) bytes of the kernel's own, at a multiple of 64 */
};

/* What the widest vectors need for the rows that wait and a tile of keys, a size_t: too much for the stack of a host's
 * thread. */
#define PALME_ATTEND_WORKSPACE(width) (80 * 1024 + (((size_t)(width) + 31) & ~(size_t)31) * 4160)

/* Attention in whole numbers of 16 bits: keys of a tile, and the largest numbers. Sums stay within 32 bits: those of
 * PALME_MOST_HEAD_DIM products of a query and a key, and those of the values of a tile by their weights. */
#define PALME_INT16_KEYS 128
#define PALME_INT16_ROWS 600 /* that go through the keys together */
#define PALME_INT16_KEY_MOST 2896.0f
#define PALME_INT16_VALUE_MOST 1023.0f
#define PALME_INT16_WEIGHT_MOST 16383.0f
#define PALME_INT16_LOWEST -15.0f /* exponent of 2 whose weight is 0 */

/* One row of a depthwise convolution, of some of the channels that its maps have. */
struct palme_depthwise {
    int width, in_width, left; /* pixels of the output, of the input, and of padding before that */
    int channels;
    int size, stride;                       /* 3 or 5; 1 or 2 */
    ptrdiff_t y_stride, x_stride, w_stride; /* channels from a pixel, or a tap, to the next */
};

/* The input of such a row as bytes. Four rows of a map stand together, [pixels][channels][PALME_INTERLEAVED_ROWS],
 * row r of the map at place r % 4, so that the taps of a column are neighbours as the products of int8 want them. */
struct palme_depthwise_window {
    const uint8_t *rows[2]; /* the rows under the first tap, and the next four */
    int first;              /* the place of the first tap in rows[0] */
    unsigned inside;        /* bit ky: row ky is in the map; the others are zeros, whatever is there */
};

struct palme_kernels {
    const char *level;
    const struct palme_blas *blas; /* for products of many rows (compute.h), or NULL; compute.c sets it */

    /* Whether weights in int8, or in bf16, make a model faster than those in f32 do by the same table: not in plain C,
     * and int8 only where an instruction multiplies bytes. Without one, NEON takes 6 instructions for 16 products that
     * it makes with 4 in f32. */
    int int8_pays, bf16_pays;

    /* y[n] = (x - mean) / sqrt(variance + eps) * w + b, biased variance. y may be x. */
    void (*layernorm)(float *y, const float *x, const float *w, const float *b, int n, double eps);

    /* x[n] = 0.5 x (1 + erf(x / sqrt 2)), the exact form; and the other two of enum palme_activation. */
    void (*gelu)(float *x, int n);
    void (*gelu_tanh)(float *x, int n);
    void (*quick_gelu)(float *x, int n);

    /* x[n] += y[n] */
    void (*add)(float *x, const float *y, int n);

    /* x[n] = min(max(x, 0), 6) */
    void (*relu6)(float *x, int n);

    /* x[n] = x / max(||x||, 1e-12) */
    void (*normalize)(float *x, int n);

    /* log(sum exp x[n]); NaN entries count as absent, all absent gives -infinity. */
    double (*log_sum_exp)(const float *x, int n);

    /* The index of the largest x[n], the first of them; NaN and -infinity do not count, and -1 if nothing does. */
    int (*argmax)(const float *x, int n);

    /* Rotary xpos on one head of 64 (rotate in models/palme.py): for k < 16,
     * x'[k] = (x[k] cos - x[k+16] sin) g, x'[k+16] = (x[k+16] cos + x[k] sin) g, the rest stays. */
    void (*rotate)(float *x, const float *cos, const float *sin, const float *gain);

    /* y[rows][out] = f(x[rows][in] W^T + b), f the activation, for the weights of `panels` consecutive panels. A
     * panel is [in][16]: w[k * 16 + o] belongs to output o; the last one is padded with zeros. b is NULL or has 16
     * values a panel. `out` is the number of outputs that are written (at most 16 * panels). Row strides in floats.
     * Each row is summed in the same order whatever `rows` is. */
    void (*linear)(float *y, const float *x, const float *w, const float *b, int rows, int in, int out,
                   ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation);

    /* A row of activations for linear_int8 of the same table: x[n] in the numbers and with the scale that
     * palme_quantization_scale speaks of, bit for bit, in the level's own form of PALME_QUANTIZED_BYTES(n) bytes.
     * What is behind the n values counts as zero. n <= PALME_INT8_MOST. */
    void (*quantize)(int8_t *q, struct palme_quantization *quantization, const float *x, int n);

    /* y[rows][out] = f(fma(sum, quantization.scale * scale[out], b)), where sum is that of the whole numbers of a
     * quantised row and of an output, exactly, turned into a float, and a missing b counts as 0: all levels give
     * the same bits. A panel is [ceil(in / 4)][16][4] int8, padded with zeros; scale and b have 16 values a
     * panel. */
    void (*linear_int8)(float *y, const int8_t *x, const struct palme_quantization *quantization, const int8_t *w,
                        const float *scale, const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                        enum palme_activation activation);

    /* A row of activations for linear_int4, the same bytes at all levels: x[n] in the numbers and with the scale that
     * palme_quantization_scale speaks of, PALME_INT4_ROW_BYTES(n); the quantization's offset is 0. */
    void (*quantize_int4)(int8_t *q, struct palme_quantization *quantization, const float *x, int n);

    /* y[rows][out] = f(fma(sum, quantization.scale, b)), where the sum begins at 0 and becomes fma(s, scale, sum) with
     * each group, s being the exact sum of the group's products as a float: all levels give the same bits. */
    void (*linear_int4)(float *y, const int8_t *x, const struct palme_quantization *quantization, const uint8_t *w,
                        const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                        enum palme_activation activation);

    /* linear_int8 with ReLU6, as bytes, for rows of a map that stand together: y[pixels][out][4] receives what 1..4
     * lines of pixels give, line 1 beginning line_stride rows after line 0. A byte is fma(sum, quantization.scale *
     * (scale[out] * PALME_BYTE_FACTOR), b[out] * PALME_BYTE_FACTOR), rounded and limited. What stands for lines that
     * there are not means nothing. y_stride counts outputs. */
    void (*linear_int8_to_bytes)(uint8_t *y, const int8_t *x, const struct palme_quantization *quantization,
                                 const int8_t *w, const float *scale, const float *b, int lines, int line_stride,
                                 int pixels, int in, int out, ptrdiff_t y_stride);

    /* y[rows][out] = f(fma(sum, PALME_BYTE_SCALE * scale[out], b)) for rows of bytes, which are read up to a multiple
     * of 4, x_stride bytes apart; the rest as in linear_int8. */
    void (*linear_bytes)(float *y, const uint8_t *x, const int8_t *w, const float *scale, const float *b, int rows,
                         int in, int out, ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation);

    /* `depthwise` from bytes to bytes, y[width][channels]: of the whole number that the taps make of the input,
     * exactly, fma(sum, scale[channel], b[channel] * PALME_BYTE_FACTOR), rounded and limited. w[ky /
     * 4][kx][channels][ky % 4], zeros behind the last tap. */
    void (*depthwise_bytes)(uint8_t *y, const struct palme_depthwise_window *x, const int8_t *w, const float *scale,
                            const float *b, const struct palme_depthwise *shape);

    /* y[rows][out] = f(x W^T + b) with weights in bf16. A panel is [ceil(in / 2)][16][2], padded with zeros. x are
     * floats, x_stride of them a row, where `to_bf16` is NULL, and each row is then summed in the order of `linear`;
     * else they are what `to_bf16` made of each row of n floats: bf16, n rounded up to a multiple of 2. */
    void (*linear_bf16)(float *y, const void *x, const uint16_t *w, const float *b, int rows, int in, int out,
                        ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation);
    void (*to_bf16)(uint16_t *q, const float *x, int n);

    /* linear_bf16 of floats at every level: the numbers of x are never rounded, so that all levels with vectors give
     * the same bits. */
    void (*linear_widened)(float *y, const void *x, const uint16_t *w, const float *b, int rows, int in, int out,
                           ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation);

    /* Keys or values of a head, rows x[count][width] that are `stride` floats apart, in bf16 as the weights of such a
     * layer: keys with `width` inputs and `count` outputs, so that it gives q k^T, values with `count` inputs and
     * `width` outputs. width <= PALME_MOST_HEAD_DIM. */
    void (*pack_keys)(uint16_t *to, const float *x, ptrdiff_t stride, int count, int width);
    void (*pack_values)(uint16_t *to, const float *x, ptrdiff_t stride, int count, int width);

    /* x[n] = softmax(scale x[n]), one sum over all; zeros if all are -infinity or NaN, or one is infinity. */
    void (*softmax)(float *x, int n, float scale);

    /* out[rows][width] = softmax(mask(scale q k^T - slope |distance|)) v, online over tiles of keys: memory
     * does not grow with the number of keys. A row that sees no key gives zeros. */
    void (*attend)(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape);

    /* The same of rows that all see all keys, and without a slope, with products of whole numbers of 16 bits: `first`,
     * `visible` and `slope` are not looked at. A query and a key are rounded to PALME_INT16_KEY_MOST parts of their
     * largest value, a dimension of up to PALME_INT16_KEYS values to PALME_INT16_VALUE_MOST parts of that of them, and
     * weights to PALME_INT16_WEIGHT_MOST parts of the largest one so far, of which those below a half of a part are 0.
     * A query or a key that is not finite counts as absent; a tile whose keys are all absent, or have a score that
     * overflows, is left out. All levels with vectors give the same bits. */
    void (*attend_int16)(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape);

    /* One output row of the stem's first convolution: 3x3, stride 2, 3 channels to `out`, bias and ReLU6.
     * y[width][out]; x[ky] is an input row [in_width][3] or NULL for a padded row of zeros; the first tap
     * of output pixel i is input column 2 i - left. w[ky][kx][ci][out]. */
    void (*conv_rgb)(float *y, const float *const x[3], const float *w, const float *b, int width, int in_width,
                     int left, int out);

    /* One output row of a depthwise convolution, size x size, bias and ReLU6. y[width][channels]; x[ky] is
     * [in_width][channels] or NULL for zeros; the first tap of output pixel i is input column
     * stride * i - left; taps outside of the row are zeros. w[ky][kx][channels]. */
    void (*depthwise)(float *y, const float *const x[], const float *w, const float *b,
                      const struct palme_depthwise *shape);

    /* Rows of pictures (pixels.c), in single precision, in the order that is said: all levels give the same bits, so
     * that a picture becomes the same square of bytes everywhere. Inputs are read to their last element and not past
     * it. */

    /* y[n] = sum of w[k] * x[k][n] over k < rows, one fused multiply-add after the other, from y[n] on if `more`. */
    void (*filter_vertical)(float *y, const uint8_t *const x[], const float *w, int rows, int n, int more);

    /* y[c][n] = x[n][channels] for each c < channels, 2..4; a y[c] that is NULL is not wanted. */
    void (*deinterleave)(float *const y[], const float *x, int channels, int n);

    /* y[i] = sum of w[i][taps] * x[first[i] + k] over k < taps, a multiple of PALME_TAPS_STEP: as many sums, of every
     * PALME_TAPS_STEP-th product, by fused multiply-adds, then the sums of neighbours, then those of neighbouring
     * sums, ... */
    void (*filter_horizontal)(float *y, const float *x, const float *w, const int *first, int taps, int n);

    /* Non-zero if the alpha of all of x[n][4] is 255. `alpha` is its byte, 0 or 3. */
    int (*opaque)(const uint8_t *x, int alpha, int n);

    /* out[n][4] = x[n][4] as it looks over white: a colour v with alpha a is (a v + (255 - a) 255) / 255, rounded, or
     * v + 255 - a, at most 255, where v is premultiplied. All levels give the same bytes. What stands at the alpha's
     * place means nothing afterwards. `out` and x do not overlap. */
    void (*over_white)(uint8_t *out, const uint8_t *x, int alpha, int premultiplied, int n);

    /* out[n][3] = m[3][4] (x[0][n], x[1][n], x[2][n], 1), the last term first, by fused multiply-adds; kept in 0..255
     * and rounded, halves to the even one. */
    void (*colour)(uint8_t *out, const float *const x[3], const float m[3][4], int n);
};

/* The plain C table, overwritten by what each level improves that `level` stands on, lowest first, and then by
 * its own kernels. Levels that this machine lacks bring nothing. */
void palme_kernels_init(struct palme_kernels *kernels, enum palme_cpu_level level);

#endif
