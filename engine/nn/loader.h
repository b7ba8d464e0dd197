/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * loader.h - tensors out of a model file into the model's memory: required, read, packed. encoder.c, decoder.c and
 * stem.c list what they need once, and the list is walked twice: the first walk checks every name, shape and type and
 * measures, the second one fills the memory. So a file that does not fit costs neither memory nor reading, and what
 * is required is bounded by what the file really has.
 */
#ifndef PALME_LOADER_H
#define PALME_LOADER_H

#include "base/arena.h"
#include "nn/config.h"
#include "nn/layers.h"
#include "base/log.h"

struct palme_safetensors;
struct palme_tensor;

struct palme_name {
    char text[160]; /* the longest has less than 80 bytes */
};

struct palme_name palme_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What is read at once before it is packed: floats, unless one row has more, and rows, each of which has a scale. */
enum { PALME_LOADER_FLOATS = 1 << 18, PALME_LOADER_ROWS = 4096 };

struct palme_loader {
    const struct palme_config *config;
    int version; /* of the file's format */
    enum palme_precision precision;
    int blas; /* whether layers that see many rows are laid out for it */
    struct palme_safetensors *file;
    const struct palme_log *log;
    int status;               /* the first failure ends all further work */
    struct palme_arena arena; /* measures during the first walk */
    size_t widest;            /* floats in the longest row */
    float *rows, *scales;     /* [max(PALME_LOADER_FLOATS, widest)], [PALME_LOADER_ROWS]; second walk only */
    uint64_t parameters;      /* weights that the file has of those that are required */
    uint64_t broken;          /* NaN and infinite weights */
    const char *first_broken; /* the tensor that has the first of them */
};

/* A required tensor in the file, and the scales of its rows if it is I8. */
struct palme_source_tensor {
    struct palme_tensor *tensor, *scale;
    int64_t rows, columns;
    float factor; /* of the values; 1 but for files of version 1 */
};

struct palme_norm {
    const float *w, *b; /* [dim] */
};

/* The next `count` things of `size` bytes of the model's memory, or NULL while it is still being measured, or after a
 * failure. */
void *palme_loader_take(struct palme_loader *l, size_t count, size_t size);

/* A tensor that may be missing: NULL. */
struct palme_tensor *palme_loader_find(struct palme_loader *l, const char *name);

/* Finds a tensor and checks its shape and type. Only what multiplies activations row by row (`is_weight`) may be I8.
 * After a failure, of this call or before, the tensor is NULL. */
struct palme_source_tensor palme_loader_require(struct palme_loader *l, const char *name, int is_weight,
                                                const int64_t *shape, int rank);
/* The failure of a tensor that has another shape than this. */
int palme_loader_wrong_shape(const struct palme_loader *l, const struct palme_tensor *tensor, const int64_t *shape,
                             int rank);
/* out[count][columns] = rows first..first+count-1 of it as floats. */
void palme_loader_read_rows(struct palme_loader *l, float *out, const struct palme_source_tensor *source, int64_t first,
                            int64_t count);

/* A tensor as floats, with zeros behind it up to `size` of them. */
const float *palme_load_values(struct palme_loader *l, const char *name, int is_weight, const int64_t *shape, int rank,
                               size_t size);
const float *palme_load_bias(struct palme_loader *l, const char *name, int n);
/* A table of positions [offset + rows][dim]; the row behind the offset is returned. */
const float *palme_load_positions(struct palme_loader *l, const char *name, int offset, int rows, int dim);
/* NAME.weight and NAME.bias; leaves it without both if it is not `wanted`. */
void palme_load_norm(struct palme_loader *l, struct palme_norm *norm, const char *name, int n, int wanted);

enum palme_load_flags {
    PALME_LOAD_BIAS = 1,      /* has one */
    PALME_LOAD_MANY = 2,      /* always sees many rows */
    PALME_LOAD_POINTWISE = 4, /* is stored as a 1x1 convolution */
    PALME_LOAD_BYTES = 8,     /* goes from or to bytes where it is in int8 */
    PALME_LOAD_INT4 = 16      /* is in 4 bits in a model of that precision, else in 8 */
};

/* NAME.weight and, with the flag, NAME.bias. */
void palme_load_linear(struct palme_loader *l, struct palme_linear *linear, const char *name, int out, int in,
                       int flags, enum palme_activation activation);
/* The table NAME, or, if it has the same precision as logits that are tied to it, the weights of those, which are a
 * layer of their own. tied: NULL without such. */
void palme_load_table(struct palme_loader *l, struct palme_table *table, const char *name, int count, int n,
                      const struct palme_linear *tied);

#endif
