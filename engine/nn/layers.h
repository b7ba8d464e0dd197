/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * layers.h - whole layers over many rows.
 */
#ifndef PALME_LAYERS_H
#define PALME_LAYERS_H

#include "compute/compute.h"

/* What waits for memory costs as many FLOP as could be done in the time of a byte, on the machines that we know. */
#define PALME_READ_FLOPS 5.0

/* What the weights of linear layers are stored as, slowest first. */
enum palme_precision {
    PALME_F32,
    PALME_BF16,
    PALME_INT8,
    PALME_INT4, /* of the decoder's layers that see few rows; the rest is in int8 */
    PALME_PRECISIONS
};

/* Its name, and the precision of a name: 0, or -1 if no precision has it. */
const char *palme_precision_name(enum palme_precision precision);
int palme_precision_find(enum palme_precision *precision, const char *name);

/* y = f(x W^T + b). Precision and layout are data here, not other functions. */
enum palme_layout {
    PALME_LAYOUT_ROWS,  /* w[out][in], for BLAS: products of many rows */
    PALME_LAYOUT_PANELS /* w[ceil(out / 16)][in][16], for the own kernels */
};

struct palme_linear {
    enum palme_precision precision;
    enum palme_layout layout; /* of weights in f32 */
    int in, out;
    const void *w;                    /* f32: see the layout; the others: panels as in kernels.h */
    const float *scale;               /* int8: [out] padded to a multiple of 16 */
    const float *b;                   /* the same, or NULL */
    enum palme_activation activation; /* f */
};

/* The layout in which a linear layer wants its weights: rows for BLAS, which is asked for (`blas`) for layers
 * that always see many rows only, and panels for the own kernels, also where BLAS is not built in. */
enum palme_layout palme_linear_layout(int blas);
/* The precision that a layer of so many inputs has in a model of `wanted`: it itself, but for what would leave the
 * 32 bits of a sum. */
enum palme_precision palme_linear_precision(enum palme_precision wanted, int in);
/* Whether such a layer rounds its inputs; what they are made of may then be rounded as well. */
int palme_linear_rounds(const struct palme_kernels *kernels, const struct palme_linear *l);
/* Bytes that the weights of such a layer take, and how many outputs its scales and bias are padded to. */
size_t palme_linear_size(const struct palme_linear *l);
size_t palme_linear_outputs(const struct palme_linear *l);
/* Puts rows first..first+count-1 of W, given as rows[count][in], to their place, rounded to the layer's precision
 * (and in int8 their scales). What pads the last panel is put with the last row. */
void palme_linear_pack(const struct palme_linear *l, void *w, float *scale, const float *rows, int first, int count);
/* The same of rows that are in the layer's precision already, one behind the other; in int8 with scales. */
void palme_linear_pack_stored(const struct palme_linear *l, void *w, float *scale, const void *stored,
                              const float *scales, int first, int count);

/* Bytes that compute->workspace must have for products of up to `rows` rows with this layer, a multiple of 64; 0 for
 * a layer that there is not. */
size_t palme_linear_workspace(const struct palme_kernels *kernels, const struct palme_linear *l, int rows);

/* The same for attention by so many threads, with heads of this width. */
size_t palme_attention_workspace(int threads, int width);

/* y[rows][out] = f(x[rows][in] W^T + b). Or `into` [rows][out], if it is not NULL, has that added; f is then nothing,
 * and y means nothing afterwards. */
struct palme_linear_op {
    float *y;
    const struct palme_linear *l;
    float *into;
};

enum { PALME_LINEAR_MULTI_MAX = 4 };

/* Up to PALME_LINEAR_MULTI_MAX products of the same x, by layers of the same precision. x is brought to it once, and
 * the threads share the work of all. */
void palme_linear_multi(struct palme_compute *c, const struct palme_linear_op *products, int count, const float *x,
                        int rows);

/* A norm (layernorm in kernels.h) that rows of x have before a product; y[rows][in] receives what it gives. */
struct palme_row_norm {
    float *y;
    const float *w, *b; /* [in] */
    double eps;
};

/* The same of norm(x), which is brought to another precision row by row; norm == NULL: of x. */
void palme_linear_multi_normed(struct palme_compute *c, const struct palme_linear_op *products, int count,
                               const float *x, int rows, const struct palme_row_norm *norm);

/* One of them: y[rows][out] = f(x[rows][in] W^T + b) */
void palme_linear(struct palme_compute *c, float *y, const float *x, const struct palme_linear *l, int rows);

/* For stages that cut their work themselves: rows of inputs in the precision of a layer, which are the floats
 * themselves or stand in a workspace of palme_linear_workspace bytes. A layer in int8 also takes rows of what ReLU6
 * left, as bytes (PALME_BYTE_FACTOR in kernels.h). */
struct palme_rows {
    const char *values;
    size_t stride;                                 /* bytes from a row to the next */
    const struct palme_quantization *quantization; /* [rows], int8 only; NULL there: bytes */
};

/* palme_linear of rows that are in the precision of `l` already. */
void palme_linear_rows(struct palme_compute *c, float *y, const struct palme_rows *x, const struct palme_linear *l,
                       int rows);

/* Brings x[rows][in], or norm(x) if norm is not NULL, to the precision of `l`, by all threads; or x in the calling
 * one. */
struct palme_rows palme_quantize_rows(struct palme_compute *c, void *workspace, const float *x,
                                      const struct palme_linear *l, int rows, const struct palme_row_norm *norm);
struct palme_rows palme_quantize_rows_serial(const struct palme_kernels *kernels, void *workspace, const float *x,
                                             const struct palme_linear *l, int rows);

/* The outputs first..first+count-1 of `rows` such rows from `row` on, in the calling thread: y[rows][y_stride]
 * receives them from its first column on. Layout panels only; `first` is a multiple of 16. */
void palme_linear_part(const struct palme_kernels *kernels, float *y, const struct palme_rows *x, int row, int rows,
                       const struct palme_linear *l, int first, int count, ptrdiff_t y_stride);

/* The same of a layer in int8 that ends in ReLU6 and gives bytes, for 1..4 lines of `pixels` rows, the first of them
 * `row` and the next ones `line_stride` further on: y[pixels][y_stride][PALME_INTERLEAVED_ROWS] (linear_int8_to_bytes
 * in kernels.h). */
void palme_linear_part_to_bytes(const struct palme_kernels *kernels, uint8_t *y, const struct palme_rows *x, int row,
                                int lines, int line_stride, int pixels, const struct palme_linear *l, int first,
                                int count, ptrdiff_t y_stride);

/* Rows that are looked up one by one, in the precision of the model. */
struct palme_table {
    enum palme_precision precision;
    const void *rows;                /* [count][n] floats, bf16 or int8 */
    const float *scale;              /* int8: [count] */
    const struct palme_linear *tied; /* or NULL: the rows are the weights of its outputs, and not stored twice */
};

/* Bytes of a row, and how to put one to its place, with its scale in int8. */
size_t palme_table_row_size(enum palme_precision precision, int n);
void palme_table_pack(void *place, float *scale, enum palme_precision precision, const float *row, int n);
/* out[n] = a row of the table. */
void palme_table_row(float *out, const struct palme_table *table, size_t row, int n);

/* y[rows][n] = LN(x[rows][n]); y may be x. */
void palme_layernorm(struct palme_compute *c, float *y, const float *x, const float *w, const float *b, int rows, int n,
                     double eps);

/* x[rows][n], each row divided by its length. */
void palme_normalize(struct palme_compute *c, float *x, int rows, int n);
void palme_gelu(struct palme_compute *c, float *x, int rows, int n);
void palme_add(struct palme_compute *c, float *x, const float *y, int rows, int n);
void palme_relu6(struct palme_compute *c, float *x, int rows, int n);

/* All heads of one attention. Head h reads columns shape->width * h.. of q and out, and k + h * k_head, v + h * v_head.
 * slopes is NULL or [heads]. shape->workspace is not looked at: that of each thread is in compute->workspace. */
void palme_attention(struct palme_compute *c, float *out, const float *q, const float *k, const float *v,
                     const struct palme_attend *shape, int heads, ptrdiff_t k_head, ptrdiff_t v_head,
                     const float *slopes);

#endif
