/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * safetensors.h - the strict reader: one file, every byte of its header checked, tensors handed out.
 */
#ifndef PALME_SAFETENSORS_H
#define PALME_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "palme.h"
#include "base/log.h"
#include "io/source.h"

/* Those that are read. U8, I32 and I64 are for files of test data; a model never uses them. A tensor of another
 * legal type has a number behind these, and a name. */
enum palme_dtype {
    PALME_DTYPE_F32,
    PALME_DTYPE_F16,
    PALME_DTYPE_BF16,
    PALME_DTYPE_I8,
    PALME_DTYPE_U8,
    PALME_DTYPE_I32,
    PALME_DTYPE_I64
};

enum { PALME_MAX_RANK = 8 };

struct palme_tensor {
    const char *name;
    enum palme_dtype dtype;
    int rank;                      /* 0: a scalar */
    int64_t shape[PALME_MAX_RANK]; /* the first dimensions of a higher rank */
    int64_t count;                 /* product of the shape */
    uint64_t offset;               /* of the first byte, from the start of the file */
    uint64_t bytes;
    int used; /* set by the code that loads the tensor; the rest are reported as unknown */
};

struct palme_safetensors;

/* Opens a file and reads and checks its header (models/README.md). The descriptor
 * stays open, and nothing of the data is read, until palme_tensor_read asks for it: a file with a huge
 * tensor that is not used costs nothing. With `verify`, the metadata's sha256 is compared with the bytes
 * after the header; a file without one is PALME_ERROR_FORMAT then.
 * Returns PALME_OK or PALME_ERROR_{NOT_FOUND, OPEN, READ, KIND, FORMAT, MEMORY}. */
int palme_safetensors_open(struct palme_safetensors **file, const char *path, int verify, const struct palme_log *log);
/* The same of another source, which is asked until the file is closed. */
int palme_safetensors_open_source(struct palme_safetensors **file, const struct palme_source *source, int verify,
                                  const struct palme_log *log);
void palme_safetensors_close(struct palme_safetensors **file);

/* The value of a key of __metadata__, with its length, or NULL. NUL-terminated. */
const char *palme_safetensors_metadata(const struct palme_safetensors *file, const char *key, size_t *length);

/* A tensor by its name, or NULL, in logarithmic or constant time. */
struct palme_tensor *palme_safetensors_find(struct palme_safetensors *file, const char *name);

/* All tensors, in the order of their data. */
struct palme_tensor *palme_safetensors_list(struct palme_safetensors *file, size_t *count);

/* Reads elements first..first+count-1 of an F32, F16, BF16 or I8 tensor as float (I8 without its scale).
 * Returns PALME_OK or PALME_ERROR_READ, which names the tensor and the position. */
int palme_tensor_read(struct palme_safetensors *file, float *out, const struct palme_tensor *tensor, int64_t first,
                      int64_t count, const struct palme_log *log);

/* The same bytes as they are in the file, count elements of the tensor's own type. */
int palme_tensor_read_raw(struct palme_safetensors *file, void *out, const struct palme_tensor *tensor, int64_t first,
                          int64_t count, const struct palme_log *log);

const char *palme_dtype_name(enum palme_dtype dtype);
size_t palme_dtype_size(enum palme_dtype dtype);

#endif
