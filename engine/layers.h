/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * layers.h - whole layers over many rows.
 */
#ifndef PALME_LAYERS_H
#define PALME_LAYERS_H

#include "compute.h"

/* What the weights of linear layers are stored as, slowest first. */
enum palme_precision { PALME_F32, PALME_BF16, PALME_INT8, PALME_PRECISIONS };

/* Whether there are kernels for it. */
int palme_precision_built(enum palme_precision precision);
/* Its name, and the precision of a name: 0, or -1 if no precision has it. */
const char *palme_precision_name(enum palme_precision precision);
int palme_precision_find(enum palme_precision *precision, const char *name);

/* y = f(x W^T + b). Precision and layout are data here, not other functions. */
enum palme_layout {
    PALME_LAYOUT_ROWS,  /* w[out][in], for BLAS: products of many rows */
    PALME_LAYOUT_PANELS /* w[ceil(out / 16)][in][16], for the own kernels */
};

struct palme_linear {
    enum palme_layout layout;
    int in, out;
    const float *w;
    const float *b; /* [out] padded to a multiple of 16, or NULL */
    enum palme_activation activation; /* f */
};

/* The layout in which a linear layer wants its weights: rows for BLAS, which is asked for (`blas`) for layers
 * that always see many rows only, and panels for the own kernels, also where BLAS is not built in. */
enum palme_layout palme_linear_layout(int blas);
/* Floats that the weights of such a layer take. */
size_t palme_linear_size(enum palme_layout layout, int out, int in);
/* Puts rows first..first+count-1 of W, given as w[count][in], to their place. */
void palme_linear_pack(float *packed, enum palme_layout layout, const float *w, int first, int count,
                       int out, int in);

/* y[rows][out] = f(x[rows][in] W^T + b) */
void palme_linear(struct palme_compute *c, float *y, const float *x, const struct palme_linear *l,
                  int rows);

/* The outputs first..first+count-1 of some rows of such a layer, in the calling thread: y[rows][y_stride] receives
 * them from its first column on. Layout panels only; `first` is a multiple of 16. For stages that cut their work
 * themselves. */
void palme_linear_part(const struct palme_kernels *kernels, float *y, const float *x,
                       const struct palme_linear *l, int rows, int first, int count, ptrdiff_t y_stride);

/* y[rows][n] = LN(x[rows][n]); y may be x. */
void palme_layernorm(struct palme_compute *c, float *y, const float *x, const float *w, const float *b,
                     int rows, int n);

void palme_gelu(struct palme_compute *c, float *x, int rows, int n);
void palme_add(struct palme_compute *c, float *x, const float *y, int rows, int n);
void palme_relu6(struct palme_compute *c, float *x, int rows, int n);

/* All heads of one attention. Head h reads columns 64 h.. of q and out, and k + h * k_head, v + h * v_head.
 * slopes is NULL or [heads]. */
void palme_attention(struct palme_compute *c, float *out, const float *q, const float *k, const float *v,
                     const struct palme_attend *shape, int heads, ptrdiff_t k_head, ptrdiff_t v_head,
                     const float *slopes);

#endif
