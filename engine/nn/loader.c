/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * loader.c - tensors out of a model file into the model's memory.
 */
#include "nn/loader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nn/format1.h"
#include "nn/least.h"
#include "io/safetensors.h"
#include "base/util.h"

/* A 1x1 convolution of fewer weights whose inputs are floats stays in f32 whatever the model's precision: it is one
 * of the stem's first, whose maps are the largest, and to bring its inputs to another takes longer than that saves. */
enum { FEW = 4096 };

struct palme_name palme_name(const char *format, ...)
{
    struct palme_name name;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name.text, sizeof name.text, format, arguments);
    va_end(arguments);
    return name;
}

/* ---- Requiring a tensor --------------------------------------------------------------------- */

struct shape_text {
    char text[PALME_MAX_RANK * 21 + 8];
};

static const char *show_shape(struct shape_text *out, const int64_t *shape, int rank)
{
    size_t used = 0;

    out->text[used++] = '[';
    for (int i = 0; i < rank && i < PALME_MAX_RANK; i++)
        used +=
            (size_t)snprintf(out->text + used, sizeof out->text - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(out->text + used, sizeof out->text - used, "%s]", rank > PALME_MAX_RANK ? ", ..." : "");
    return out->text;
}

int palme_loader_wrong_shape(const struct palme_loader *l, const struct palme_tensor *tensor, const int64_t *shape,
                             int rank)
{
    struct shape_text wanted, found;

    return palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s: wanted shape %s and found %s", tensor->name,
                      show_shape(&wanted, shape, rank), show_shape(&found, tensor->shape, tensor->rank));
}

/* What the file calls a tensor. */
static struct palme_name file_name(const struct palme_loader *l, const char *name)
{
    return l->version == 1 ? palme_format1_name(l->config, name) : palme_name("%s", name);
}

struct palme_tensor *palme_loader_find(struct palme_loader *l, const char *name)
{
    struct palme_name found = file_name(l, name);
    struct palme_tensor *tensor = NULL;

    if (l->status < 0)
        return NULL;
    if (l->version != 1)
        return palme_safetensors_find(l->file, found.text);
    l->status = palme_format1_find(&tensor, l->file, found.text, l->log);
    return l->status == PALME_OK ? tensor : NULL;
}

/* Finds the scales of an I8 tensor and judges their shape; their values are judged when they are
 * read. */
static struct palme_tensor *find_scale(struct palme_loader *l, const struct palme_tensor *tensor)
{
    struct palme_name name = palme_name("%s.scale", tensor->name);
    struct palme_tensor *scale = palme_safetensors_find(l->file, name.text);
    struct shape_text found;

    if (!scale) {
        l->status = palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s is I8, and its scales %s are missing",
                               tensor->name, name.text);
        return NULL;
    }
    if (scale->dtype != PALME_DTYPE_F32) {
        l->status = palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s: is %s, and F32 is wanted", name.text,
                               palme_dtype_name(scale->dtype));
        return NULL;
    }
    if (scale->rank != 1 || scale->shape[0] != tensor->shape[0]) {
        l->status = palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s: wanted shape [%lld] and found %s", name.text,
                               (long long)tensor->shape[0], show_shape(&found, scale->shape, scale->rank));
        return NULL;
    }
    scale->used = 1;
    return scale;
}

struct palme_source_tensor palme_loader_require(struct palme_loader *l, const char *name, int is_weight,
                                                const int64_t *shape, int rank)
{
    struct palme_source_tensor source = { .factor = 1 };
    struct palme_tensor *tensor = palme_loader_find(l, name);
    struct shape_text wanted;
    int64_t led[5] = { 1 };

    if (l->version == 1) {
        source.factor = palme_format1_factor(l->config, name);
        if (palme_format1_has_leading(name)) {
            memcpy(led + 1, shape, (size_t)rank++ * sizeof *shape);
            shape = led;
        }
    }
    if (!tensor) {
        if (l->status == PALME_OK)
            l->status = palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s is missing; wanted shape %s",
                                   file_name(l, name).text, show_shape(&wanted, shape, rank));
        return source;
    }
    if (tensor->rank != rank || memcmp(tensor->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        l->status = palme_loader_wrong_shape(l, tensor, shape, rank);
        return source;
    }
    if (tensor->dtype > PALME_DTYPE_I8 || (tensor->dtype == PALME_DTYPE_I8 && !is_weight)) {
        l->status = palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s: wanted F32, F16%s and found %s", tensor->name,
                               is_weight ? ", BF16 or I8" : " or BF16", palme_dtype_name(tensor->dtype));
        return source;
    }
    source.rows = rank == 1 ? 1 : shape[0];
    source.columns = tensor->count / source.rows;
    /* Only where addresses have 32 bits can packing, which rounds rows up to a panel, overflow. */
    if ((uint64_t)tensor->count + (uint64_t)source.columns * PALME_PANEL > SIZE_MAX / 8) {
        l->status = palme_fail(l->log, PALME_ERROR_MEMORY, "out of memory: tensor %s does not fit", tensor->name);
        return source;
    }
    if (tensor->dtype == PALME_DTYPE_I8 && !(source.scale = find_scale(l, tensor)))
        return source;
    source.tensor = tensor;
    if (!l->arena.base && !tensor->used)
        l->parameters += (uint64_t)tensor->count;
    tensor->used = 1;
    if (l->widest < (size_t)source.columns)
        l->widest = (size_t)source.columns;
    return source;
}

/* ---- Memory and data ---------------------------------------------------------------------- */

void *palme_loader_take(struct palme_loader *l, size_t count, size_t size)
{
    void *part = l->status == PALME_OK ? palme_arena_take(&l->arena, count, size) : NULL;

    if (l->arena.overflow && l->status == PALME_OK)
        l->status = palme_fail(l->log, PALME_ERROR_MEMORY, "out of memory: its weights do not fit");
    return part;
}

/* l->scales = those of rows first..first+count-1 of an I8 tensor; they are numbers above 0. */
static void read_scales(struct palme_loader *l, const struct palme_source_tensor *source, int64_t first, int64_t count)
{
    l->status = palme_tensor_read(l->file, l->scales, source->scale, first, count, l->log);
    for (int64_t row = 0; row < count && l->status == PALME_OK; row++)
        if (!isfinite(l->scales[row]) || l->scales[row] <= 0)
            l->status = palme_fail(l->log, PALME_ERROR_FORMAT, "tensor %s: scale %lld is %g, not a number above 0",
                                   source->scale->name, (long long)(first + row), l->scales[row]);
}

static void note_broken(struct palme_loader *l, const struct palme_tensor *tensor, size_t broken)
{
    if (broken && !l->broken)
        l->first_broken = tensor->name;
    l->broken += broken;
}

static void count_broken(struct palme_loader *l, const struct palme_tensor *tensor, const float *values, size_t count)
{
    size_t broken = 0;

    for (size_t i = 0; i < count; i++)
        broken += !isfinite(values[i]);
    note_broken(l, tensor, broken);
}

void palme_loader_read_rows(struct palme_loader *l, float *out, const struct palme_source_tensor *source, int64_t first,
                            int64_t count)
{
    int64_t columns = source->columns;

    l->status = palme_tensor_read(l->file, out, source->tensor, first * columns, count * columns, l->log);
    if (source->scale && l->status == PALME_OK)
        read_scales(l, source, first, count);
    if (l->status < 0)
        return;
    for (int64_t row = 0; source->scale && row < count; row++)
        for (int64_t i = 0; i < columns; i++)
            out[row * columns + i] *= l->scales[row];
    for (int64_t i = 0; source->factor != 1 && i < count * columns; i++)
        out[i] *= source->factor;
    count_broken(l, source->tensor, out, (size_t)(count * columns));
}

static void count_broken_bf16(struct palme_loader *l, const struct palme_tensor *tensor, const uint16_t *values,
                              size_t count)
{
    size_t broken = 0;

    for (size_t i = 0; i < count; i++)
        broken += (values[i] & 0x7f80) == 0x7f80;
    note_broken(l, tensor, broken);
}

/* Whether a tensor is stored in this precision, and so need not go through floats, which would cost time and, in int8,
 * the last bit. */
static int stored_in(const struct palme_source_tensor *source, enum palme_precision precision)
{
    return source->tensor && ((precision == PALME_INT8 && source->scale) ||
                              (precision == PALME_BF16 && source->tensor->dtype == PALME_DTYPE_BF16));
}

/* Rows first..first+count-1 of a tensor in I8 or BF16 as they are, into the memory of l->rows; the scales of I8 into
 * l->scales. Returns NULL on failure. */
static const void *read_stored(struct palme_loader *l, const struct palme_source_tensor *source, int64_t first,
                               int64_t count)
{
    l->status = palme_tensor_read_raw(l->file, l->rows, source->tensor, first * source->columns,
                                      count * source->columns, l->log);
    if (l->status == PALME_OK && source->scale)
        read_scales(l, source, first, count);
    if (l->status == PALME_OK && !source->scale)
        count_broken_bf16(l, source->tensor, (const uint16_t *)(const void *)l->rows,
                          (size_t)(count * source->columns));
    return l->status == PALME_OK ? l->rows : NULL;
}

/* How many rows are read at once: whole panels where they fit. */
static int64_t rows_per_read(const struct palme_source_tensor *source)
{
    int64_t rows = PALME_LOADER_FLOATS / source->columns;

    if (rows > PALME_LOADER_ROWS)
        rows = PALME_LOADER_ROWS;
    return rows >= PALME_PANEL ? rows - rows % PALME_PANEL : rows > 0 ? rows : 1;
}

const float *palme_load_values(struct palme_loader *l, const char *name, int is_weight, const int64_t *shape, int rank,
                               size_t size)
{
    struct palme_source_tensor source = palme_loader_require(l, name, is_weight, shape, rank);
    float *out = palme_loader_take(l, size, sizeof *out);
    int64_t part;

    if (l->status < 0 || !out)
        return NULL;
    for (int64_t row = 0; row < source.rows && l->status == PALME_OK; row += part) {
        part = source.rows - row < rows_per_read(&source) ? source.rows - row : rows_per_read(&source);
        palme_loader_read_rows(l, out + row * source.columns, &source, row, part);
    }
    for (size_t i = (size_t)source.tensor->count; i < size; i++)
        out[i] = 0;
    return out;
}

const float *palme_load_bias(struct palme_loader *l, const char *name, int n)
{
    return palme_load_values(l, name, 0, (int64_t[]){ n }, 1, round_up((size_t)n, PALME_PANEL));
}

const float *palme_load_positions(struct palme_loader *l, const char *name, int offset, int rows, int dim)
{
    int all = offset + rows;
    const float *values = palme_load_values(l, name, 0, (int64_t[]){ all, dim }, 2, (size_t)all * (size_t)dim);

    return values ? values + (size_t)offset * (size_t)dim : NULL;
}

void palme_load_norm(struct palme_loader *l, struct palme_norm *norm, const char *name, int n, int wanted)
{
    *norm = (struct palme_norm){ NULL, NULL };
    if (!wanted)
        return;
    norm->w = palme_load_values(l, palme_name("%s.weight", name).text, 0, (int64_t[]){ n }, 1, (size_t)n);
    norm->b = palme_load_values(l, palme_name("%s.bias", name).text, 0, (int64_t[]){ n }, 1, (size_t)n);
}

void palme_load_linear(struct palme_loader *l, struct palme_linear *linear, const char *name, int out, int in,
                       int flags, enum palme_activation activation)
{
    int64_t shape[4] = { out, in, 1, 1 };
    struct palme_source_tensor source =
        palme_loader_require(l, palme_name("%s.weight", name).text, 1, shape, flags & PALME_LOAD_POINTWISE ? 4 : 2);
    int64_t part;
    float *scale = NULL;
    void *w;

    /* Logits that are tied are the only linear layer that reads the embedding: they have a name of their own. */
    const char *layer = strcmp(name, "decoder.embedding") == 0 ? "decoder.logits" : name;
    enum palme_precision wanted = l->precision == PALME_INT4 && !(flags & PALME_LOAD_INT4) ? PALME_INT8 : l->precision;
    linear->precision = palme_linear_precision(palme_least_of(l->config->least, layer, wanted), in);
    if (flags & PALME_LOAD_POINTWISE && in * out < FEW &&
        !(flags & PALME_LOAD_BYTES && linear->precision == PALME_INT8))
        linear->precision = PALME_F32;
    linear->layout = palme_linear_layout(l->blas && flags & PALME_LOAD_MANY && linear->precision == PALME_F32);
    linear->in = in;
    linear->out = out;
    linear->activation = activation;
    w = palme_loader_take(l, palme_linear_size(linear), 1);
    linear->w = w;
    if (linear->precision == PALME_INT8)
        scale = palme_loader_take(l, palme_linear_outputs(linear), sizeof *scale);
    linear->scale = scale;
    for (int64_t row = 0; w && row < source.rows && l->status == PALME_OK; row += part) {
        part = source.rows - row < rows_per_read(&source) ? source.rows - row : rows_per_read(&source);
        if (stored_in(&source, linear->precision)) {
            const void *rows = read_stored(l, &source, row, part);

            if (rows)
                palme_linear_pack_stored(linear, w, scale, rows, l->scales, (int)row, (int)part);
            continue;
        }
        palme_loader_read_rows(l, l->rows, &source, row, part);
        if (l->status == PALME_OK)
            palme_linear_pack(linear, w, scale, l->rows, (int)row, (int)part);
    }
    linear->b = flags & PALME_LOAD_BIAS ? palme_load_bias(l, palme_name("%s.bias", name).text, out) : NULL;
}

void palme_load_table(struct palme_loader *l, struct palme_table *table, const char *name, int count, int n,
                      const struct palme_linear *tied)
{
    struct palme_source_tensor source = palme_loader_require(l, name, 1, (int64_t[]){ count, n }, 2);
    enum palme_precision wanted = l->precision == PALME_INT4 ? PALME_INT8 : l->precision;
    enum palme_precision precision = palme_least_of(l->config->least, name, wanted);
    size_t size = palme_table_row_size(precision, n);
    int64_t part;
    float *scale = NULL;
    char *rows;

    *table = (struct palme_table){ .precision = precision };
    if (tied && palme_linear_precision(palme_least_of(l->config->least, "decoder.logits", wanted), n) == precision) {
        table->tied = tied;
        return;
    }
    rows = palme_loader_take(l, (size_t)count, size);
    table->rows = rows;
    if (precision == PALME_INT8)
        scale = palme_loader_take(l, (size_t)count, sizeof *scale);
    table->scale = scale;
    for (int64_t at = 0; rows && at < source.rows && l->status == PALME_OK; at += part) {
        part = source.rows - at < rows_per_read(&source) ? source.rows - at : rows_per_read(&source);
        if (stored_in(&source, table->precision)) {
            const void *found = read_stored(l, &source, at, part);

            if (found)
                memcpy(rows + (size_t)at * size, found, (size_t)part * size);
            if (found && scale)
                memcpy(scale + at, l->scales, (size_t)part * sizeof *scale);
            continue;
        }
        palme_loader_read_rows(l, l->rows, &source, at, part);
        for (int64_t i = 0; i < part && l->status == PALME_OK; i++)
            palme_table_pack(rows + (size_t)(at + i) * size, scale ? &scale[at + i] : NULL, precision, l->rows + i * n,
                             n);
    }
}
