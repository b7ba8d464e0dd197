/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model_builder.h - makes model files for tests, whole or wrong on purpose. It has its own list of the
 * tensors that a configuration demands, so that it can judge the loader's. What fails ends the program.
 */
#ifndef PALME_MODEL_BUILDER_H
#define PALME_MODEL_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "palme.h"

struct built_tensor {
    char *name;
    char dtype[8];
    int rank;
    long long shape[8];
    size_t count;
    float *values;        /* [count] what a reader must see: rounded to the dtype; I8 without its scale */
    unsigned char *bytes; /* [size] as they stand in the file */
    size_t size;
};

struct builder {
    json_t *config;   /* written as the metadata's "config", unless that is set by builder_metadata */
    json_t *metadata; /* strings */
    struct built_tensor *tensors;
    size_t count;
    uint64_t random;
};

/* A whole valid model with seeded random weights in F32. `config` is JSON whose keys replace those of a very
 * small model: image 4x4 in patches of 2, widths 6 and 6, 1 + 1 layers, one head each, 40 tokens, context 24.
 * The tensors follow the configuration, the stem included. */
struct builder *builder_new(const char *config, uint64_t seed);
void builder_free(struct builder *b);

/* Changes a key of the config without changing the tensors; value is JSON, NULL removes the key. */
void builder_config(struct builder *b, const char *key, const char *value);
/* Sets a key of the metadata to a string; NULL removes it. */
void builder_metadata(struct builder *b, const char *key, const char *value);

struct built_tensor *builder_find(struct builder *b, const char *name); /* ends the program if absent */
struct built_tensor *builder_add(struct builder *b, const char *name, const char *dtype, int rank,
                                 const long long *shape, const float *values); /* NULL: random */
void builder_remove(struct builder *b, const char *name);
/* Replaces the beginning of each name that begins with `from`; returns how many there were. */
int builder_rename(struct builder *b, const char *from, const char *to);
/* Rounds a tensor to F16, BF16, I8 (adding NAME.scale) or back to F32. */
void builder_convert(struct builder *b, const char *name, const char *dtype);
/* The same for all tensors; with I8, those that must not be I8 become F16. */
void builder_convert_all(struct builder *b, const char *dtype);
/* A tensor that is given another shape with new random values. */
void builder_reshape(struct builder *b, const char *name, int rank, const long long *shape);
/* Writes a value over the file's bytes of one element. */
void builder_poison(struct builder *b, const char *name, size_t index, float value);

/* The file's bytes, to be freed; *header, if not NULL, is the length of the header. */
unsigned char *builder_bytes(struct builder *b, size_t *length, size_t *header);
void builder_write(struct builder *b, const char *path);
/* The model opened by the engine, which the caller closes. */
palme_model *builder_open(struct builder *b, int threads, const char *precision);

/* A tokenizers JSON of `tokens` byte-level tokens: <pad>, <bos>, <eos>, then letters and pairs. */
char *builder_tokenizer(int tokens);

/* ---- What tests of files share ------------------------------------------------------------ */

void write_bytes(const char *path, const void *bytes, size_t length);
/* A name inside a temporary folder that is removed, with the files in it, when the program ends. */
const char *temporary(const char *name);

/* A log that remembers. */
struct heard {
    int errors, warnings, remarks;
    char error[2048];    /* the last one */
    char warning[16384]; /* all, a line each */
};
void heard_log(void *user, enum palme_log_level level, const char *message);

#endif
