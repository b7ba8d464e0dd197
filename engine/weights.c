/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * weights.c - which tensors the parameters demand, and how they are packed. The list of tensors is
 * written down once and walked twice: the first walk judges every name, shape and type and adds up
 * the sizes, the second one fills the single block of memory that was taken in between. So a file
 * that does not fit costs neither memory nor reading, and what is demanded is bounded by what the
 * file really has.
 * It is long because the list is: stem, encoder, decoder, buffers and slopes are one walk.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"
#include "safetensors.h"
#include "util.h"

enum {
    LARGE_PAGE = 1 << 21,
    PORTION = 1 << 18,   /* floats that are read before they are packed, unless one row is longer */
    PORTION_ROWS = 4096, /* rows of it at most, each with a scale */
    SHOWN_UNKNOWN = 5,   /* unknown tensors that are named before they are only counted */
    MAX_NAME = 160       /* of a demanded tensor; the longest has less than 80 bytes */
};

struct loader {
    struct palme_weights *weights;
    const struct palme_params *params;
    enum palme_precision precision;
    int blas; /* whether layers that see many rows are laid out for it */
    struct palme_safetensors *file;
    const struct palme_report *report;
    int status;               /* the first failure ends all further work */
    struct palme_arena arena; /* measures during the first walk */
    size_t widest;            /* floats in the longest row */
    float *rows, *scales;     /* [max(PORTION, widest)], [PORTION_ROWS]; second walk only */
    uint64_t broken;          /* NaN and infinite weights */
    const char *first_broken; /* the tensor that has the first of them */
};

/* A demanded tensor in the file, and the scales of its rows if it is I8. */
struct source {
    struct palme_tensor *tensor, *scale;
    int64_t rows, columns;
};

struct name {
    char text[MAX_NAME];
};

static struct name name_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct name name_of(const char *format, ...)
{
    struct name name;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name.text, sizeof name.text, format, arguments);
    va_end(arguments);
    return name;
}

/* ---- Judging a tensor --------------------------------------------------------------------- */

struct shape_text {
    char text[PALME_MAX_RANK * 21 + 8];
};

static const char *show_shape(struct shape_text *out, const int64_t *shape, int rank)
{
    size_t used = 0;

    out->text[used++] = '[';
    for (int i = 0; i < rank && i < PALME_MAX_RANK; i++)
        used += (size_t)snprintf(out->text + used, sizeof out->text - used, "%s%lld", i ? ", " : "",
                                 (long long)shape[i]);
    snprintf(out->text + used, sizeof out->text - used, "%s]", rank > PALME_MAX_RANK ? ", ..." : "");
    return out->text;
}

/* Finds a tensor under its name, and one of the decoder under either of its two names. NULL if
 * there is none, which is no failure, or if there are both, which is one. */
static struct palme_tensor *find(struct loader *l, const char *name)
{
    static const char long_form[] = "decoder.net.", short_form[] = "decoder.";
    struct palme_tensor *tensor = palme_safetensors_find(l->file, name), *other;
    struct name other_name;

    if (strncmp(name, long_form, sizeof long_form - 1) != 0)
        return tensor;
    other_name = name_of("%s%s", short_form, name + sizeof long_form - 1);
    other = palme_safetensors_find(l->file, other_name.text);
    if (tensor && other) {
        l->status = palme_fail(l->report, PALME_ERROR_FORMAT, "tensor %s is there twice, as %s too",
                               name, other_name.text);
        return NULL;
    }
    return tensor ? tensor : other;
}

/* Finds the scales of an I8 tensor and judges their shape; their values are judged when they are
 * read. */
static struct palme_tensor *find_scale(struct loader *l, const struct palme_tensor *tensor)
{
    struct name name = name_of("%s.scale", tensor->name);
    struct palme_tensor *scale = palme_safetensors_find(l->file, name.text);
    struct shape_text found;

    if (!scale) {
        l->status =
            palme_fail(l->report, PALME_ERROR_FORMAT,
                       "tensor %s is I8, and its scales %s are missing", tensor->name, name.text);
        return NULL;
    }
    if (scale->dtype != PALME_DTYPE_F32) {
        l->status = palme_fail(l->report, PALME_ERROR_FORMAT, "tensor %s: is %s, and F32 is wanted",
                               name.text, palme_dtype_name(scale->dtype));
        return NULL;
    }
    if (scale->rank != 1 || scale->shape[0] != tensor->shape[0]) {
        l->status = palme_fail(
            l->report, PALME_ERROR_FORMAT, "tensor %s: wanted shape [%lld] and found %s", name.text,
            (long long)tensor->shape[0], show_shape(&found, scale->shape, scale->rank));
        return NULL;
    }
    scale->used = 1;
    return scale;
}

/* Demands a tensor. Only what multiplies activations row by row (`is_weight`) may be I8. */
static struct source demand(struct loader *l, const char *name, int is_weight, const int64_t *shape,
                            int rank)
{
    struct source source = { 0 };
    struct shape_text wanted, found;
    struct palme_tensor *tensor;

    if (l->status < 0 || !(tensor = find(l, name))) {
        if (l->status == PALME_OK)
            l->status =
                palme_fail(l->report, PALME_ERROR_FORMAT, "tensor %s is missing; wanted shape %s",
                           name, show_shape(&wanted, shape, rank));
        return source;
    }
    if (tensor->rank != rank || memcmp(tensor->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        l->status = palme_fail(
            l->report, PALME_ERROR_FORMAT, "tensor %s: wanted shape %s and found %s", tensor->name,
            show_shape(&wanted, shape, rank), show_shape(&found, tensor->shape, tensor->rank));
        return source;
    }
    if (tensor->dtype > PALME_DTYPE_I8 || (tensor->dtype == PALME_DTYPE_I8 && !is_weight)) {
        l->status = palme_fail(
            l->report, PALME_ERROR_FORMAT, "tensor %s: wanted F32, F16%s and found %s",
            tensor->name, is_weight ? ", BF16 or I8" : " or BF16", palme_dtype_name(tensor->dtype));
        return source;
    }
    source.rows = rank == 1 ? 1 : shape[0];
    source.columns = tensor->count / source.rows;
    /* Only where addresses have 32 bits can packing, which rounds rows up to a panel, overflow. */
    if ((uint64_t)tensor->count + (uint64_t)source.columns * PALME_PANEL > SIZE_MAX / 8) {
        l->status = palme_fail(l->report, PALME_ERROR_MEMORY, "out of memory: tensor %s does not fit",
                               tensor->name);
        return source;
    }
    if (tensor->dtype == PALME_DTYPE_I8 && !(source.scale = find_scale(l, tensor)))
        return source;
    tensor->used = 1;
    source.tensor = tensor;
    if (!l->arena.base)
        l->weights->parameters += (uint64_t)tensor->count;
    if (l->widest < (size_t)source.columns)
        l->widest = (size_t)source.columns;
    return source;
}

/* ---- Memory and data ---------------------------------------------------------------------- */

/* The next `count` things of `size` bytes of the block, or NULL while it is still being measured.
 */
static void *reserve(struct loader *l, size_t count, size_t size)
{
    void *part = l->status == PALME_OK ? palme_arena_take(&l->arena, count, size) : NULL;

    if (l->arena.overflow && l->status == PALME_OK)
        l->status = palme_fail(l->report, PALME_ERROR_MEMORY, "out of memory: its weights do not fit");
    return part;
}

/* l->scales = those of rows first..first+count-1 of an I8 tensor; they are numbers above 0. */
static void read_scales(struct loader *l, const struct source *source, int64_t first, int64_t count)
{
    l->status = palme_tensor_read(l->file, l->scales, source->scale, first, count, l->report);
    for (int64_t row = 0; row < count && l->status == PALME_OK; row++)
        if (!isfinite(l->scales[row]) || l->scales[row] <= 0)
            l->status = palme_fail(l->report, PALME_ERROR_FORMAT,
                                   "tensor %s: scale %lld is %g, not a number above 0",
                                   source->scale->name, (long long)(first + row), l->scales[row]);
}

static void note_broken(struct loader *l, const struct palme_tensor *tensor, size_t broken)
{
    if (broken && !l->broken)
        l->first_broken = tensor->name;
    l->broken += broken;
}

static void count_broken(struct loader *l, const struct palme_tensor *tensor, const float *values,
                         size_t count)
{
    size_t broken = 0;

    for (size_t i = 0; i < count; i++)
        broken += !isfinite(values[i]);
    note_broken(l, tensor, broken);
}

/* out[count][columns] = rows first..first+count-1 of a demanded tensor; count <= PORTION_ROWS if
 * I8. */
static void read_rows(struct loader *l, float *out, const struct source *source, int64_t first,
                      int64_t count)
{
    int64_t columns = source->columns;

    l->status = palme_tensor_read(l->file, out, source->tensor, first * columns, count * columns,
                                  l->report);
    if (source->scale && l->status == PALME_OK)
        read_scales(l, source, first, count);
    if (l->status < 0)
        return;
    for (int64_t row = 0; source->scale && row < count; row++)
        for (int64_t i = 0; i < columns; i++)
            out[row * columns + i] *= l->scales[row];
    count_broken(l, source->tensor, out, (size_t)(count * columns));
}

static void count_broken_bf16(struct loader *l, const struct palme_tensor *tensor, const uint16_t *values,
                              size_t count)
{
    size_t broken = 0;

    for (size_t i = 0; i < count; i++)
        broken += (values[i] & 0x7f80) == 0x7f80;
    note_broken(l, tensor, broken);
}

/* Whether a tensor is stored in this precision, and so need not go through floats, which would cost time and, in int8,
 * the last bit. */
static int stored_in(const struct source *source, enum palme_precision precision)
{
    return source->tensor && ((precision == PALME_INT8 && source->scale) ||
                              (precision == PALME_BF16 && source->tensor->dtype == PALME_DTYPE_BF16));
}

/* Rows first..first+count-1 of a tensor in I8 or BF16 as they are, into the memory of l->rows; the scales of I8 into
 * l->scales. Returns NULL on failure. */
static const void *read_stored(struct loader *l, const struct source *source, int64_t first, int64_t count)
{
    l->status = palme_tensor_read_raw(l->file, l->rows, source->tensor, first * source->columns,
                                      count * source->columns, l->report);
    if (l->status == PALME_OK && source->scale)
        read_scales(l, source, first, count);
    if (l->status == PALME_OK && !source->scale)
        count_broken_bf16(l, source->tensor, (const uint16_t *)(const void *)l->rows, (size_t)(count * source->columns));
    return l->status == PALME_OK ? l->rows : NULL;
}

/* How many rows are read at once: whole panels where they fit. */
static int64_t portion_of(const struct source *source)
{
    int64_t rows = PORTION / source->columns;

    if (rows > PORTION_ROWS)
        rows = PORTION_ROWS;
    return rows >= PALME_PANEL ? rows - rows % PALME_PANEL : rows > 0 ? rows : 1;
}

/* A tensor as it is, with zeros behind it up to `size` floats. */
static const float *take_values(struct loader *l, const char *name, int is_weight,
                                const int64_t *shape, int rank, size_t size)
{
    struct source source = demand(l, name, is_weight, shape, rank);
    float *out = reserve(l, size, sizeof *out);
    int64_t part;

    if (l->status < 0 || !out)
        return NULL;
    for (int64_t row = 0; row < source.rows && l->status == PALME_OK; row += part) {
        part = source.rows - row < portion_of(&source) ? source.rows - row : portion_of(&source);
        read_rows(l, out + row * source.columns, &source, row, part);
    }
    for (size_t i = (size_t)source.tensor->count; i < size; i++)
        out[i] = 0;
    return out;
}

static const float *take_vector(struct loader *l, const char *name, int n)
{
    return take_values(l, name, 0, (int64_t[]){ n }, 1, (size_t)n);
}

static const float *take_bias(struct loader *l, const char *name, int n)
{
    return take_values(l, name, 0, (int64_t[]){ n }, 1,
                       ((size_t)n + PALME_PANEL - 1) / PALME_PANEL * PALME_PANEL);
}

static void take_norm(struct loader *l, struct palme_norm *norm, const char *name, int n)
{
    norm->w = take_vector(l, name_of("%s.weight", name).text, n);
    norm->b = take_vector(l, name_of("%s.bias", name).text, n);
}

enum linear_flags {
    BIAS = 1,      /* has one */
    MANY = 2,      /* always sees many rows */
    POINTWISE = 4, /* is stored as a 1x1 convolution */
    RELU6 = 8,     /* ends in one */
    GELU = 16,
    BYTES = 32 /* goes from or to bytes where it is in int8 */
};

static void take_linear(struct loader *l, struct palme_linear *linear, const char *name, int out,
                        int in, int flags)
{
    int64_t shape[4] = { out, in, 1, 1 };
    struct source source =
        demand(l, name_of("%s.weight", name).text, 1, shape, flags & POINTWISE ? 4 : 2);
    int64_t part;
    float *scale = NULL;
    void *w;

    linear->precision = palme_linear_precision(l->precision, in);
    if (flags & POINTWISE && in * out < PALME_STEM_FEW && !(flags & BYTES && linear->precision == PALME_INT8))
        linear->precision = PALME_F32;
    linear->layout = palme_linear_layout(l->blas && flags & MANY && linear->precision == PALME_F32);
    linear->in = in;
    linear->out = out;
    linear->activation = flags & RELU6  ? PALME_ACTIVATION_RELU6
                         : flags & GELU ? PALME_ACTIVATION_GELU : PALME_ACTIVATION_NONE;
    w = reserve(l, palme_linear_size(linear), 1);
    linear->w = w;
    if (linear->precision == PALME_INT8)
        scale = reserve(l, palme_linear_outputs(linear), sizeof *scale);
    linear->scale = scale;
    for (int64_t row = 0; w && row < source.rows && l->status == PALME_OK; row += part) {
        part = source.rows - row < portion_of(&source) ? source.rows - row : portion_of(&source);
        if (stored_in(&source, linear->precision)) {
            const void *rows = read_stored(l, &source, row, part);

            if (rows)
                palme_linear_pack_stored(linear, w, scale, rows, l->scales, (int)row, (int)part);
            continue;
        }
        read_rows(l, l->rows, &source, row, part);
        if (l->status == PALME_OK)
            palme_linear_pack(linear, w, scale, l->rows, (int)row, (int)part);
    }
    linear->b = flags & BIAS ? take_bias(l, name_of("%s.bias", name).text, out) : NULL;
}

static void take_table(struct loader *l, struct palme_table *table, const char *name, int count, int n)
{
    struct source source = demand(l, name, 1, (int64_t[]){ count, n }, 2);
    size_t size = palme_table_row_size(l->precision, n);
    int64_t part;
    float *scale = NULL;
    char *rows;

    table->precision = l->precision;
    rows = reserve(l, (size_t)count, size);
    table->rows = rows;
    if (l->precision == PALME_INT8)
        scale = reserve(l, (size_t)count, sizeof *scale);
    table->scale = scale;
    for (int64_t at = 0; rows && at < source.rows && l->status == PALME_OK; at += part) {
        part = source.rows - at < portion_of(&source) ? source.rows - at : portion_of(&source);
        if (stored_in(&source, table->precision)) {
            const void *found = read_stored(l, &source, at, part);

            if (found)
                memcpy(rows + (size_t)at * size, found, (size_t)part * size);
            if (found && scale)
                memcpy(scale + at, l->scales, (size_t)part * sizeof *scale);
            continue;
        }
        read_rows(l, l->rows, &source, at, part);
        for (int64_t i = 0; i < part && l->status == PALME_OK; i++)
            palme_table_pack(rows + (size_t)(at + i) * size, scale ? &scale[at + i] : NULL, l->precision,
                             l->rows + i * n, n);
    }
}

/* ---- The stem ----------------------------------------------------------------------------- */

/* Kernel [out][in][size][size] to [size][size][in][out], as conv_rgb and depthwise read it; a
 * depthwise one has `in` 1. It is small enough for one portion. */
static const float *take_kernel(struct loader *l, const char *name, int out, int in, int size)
{
    struct source source = demand(l, name, 1, (int64_t[]){ out, in, size, size }, 4);
    int taps = size * size;
    float *w = reserve(l, (size_t)out * (size_t)in * (size_t)taps, sizeof *w);

    if (l->status < 0 || !w)
        return NULL;
    read_rows(l, l->rows, &source, 0, out);
    for (int o = 0; o < out; o++)
        for (int i = 0; i < in; i++)
            for (int t = 0; t < taps; t++)
                w[(t * in + i) * out + o] = l->rows[(o * in + i) * taps + t];
    return w;
}

/* Kernel [channels][1][size][size] to what depthwise_bytes reads. */
static const int8_t *take_taps(struct loader *l, const char *name, int channels, int size, float **scale)
{
    struct source source = demand(l, name, 1, (int64_t[]){ channels, 1, size, size }, 4);
    size_t portions = ((size_t)size + PALME_ROWS_TOGETHER - 1) / PALME_ROWS_TOGETHER, taps = (size_t)size * (size_t)size;
    size_t bytes = portions * (size_t)size * (size_t)channels * PALME_ROWS_TOGETHER;
    int8_t *w = reserve(l, bytes, 1);
    float factor;

    *scale = reserve(l, (size_t)channels, sizeof **scale);
    if (l->status < 0 || !w)
        return NULL;
    read_rows(l, l->rows, &source, 0, channels);
    memset(w, 0, bytes);
    for (size_t c = 0; c < (size_t)channels; c++) {
        const float *kernel = l->rows + c * taps;

        (*scale)[c] = palme_quantum_scale(&factor, kernel, (int)taps);
        for (size_t t = 0; t < taps; t++) {
            size_t ky = t / (size_t)size, kx = t % (size_t)size;
            size_t at = (ky / PALME_ROWS_TOGETHER * (size_t)size + kx) * (size_t)channels + c;

            w[at * PALME_ROWS_TOGETHER + ky % PALME_ROWS_TOGETHER] = palme_quantum_round(kernel[t], factor);
        }
    }
    return w;
}

/* EfficientNet-Lite: what all sizes share, and channels and blocks of each stage. lite1 has the
 * channels of lite0 and the blocks of lite2. */
enum { STAGES = 7 };
static const struct {
    int expansion, size, stride, channels[2], blocks[2];
} stages[STAGES] = {
    { 1, 3, 1, { 16, 16 }, { 1, 1 } },   { 6, 3, 2, { 24, 24 }, { 2, 3 } },
    { 6, 5, 2, { 40, 48 }, { 2, 3 } },   { 6, 3, 2, { 80, 88 }, { 3, 4 } },
    { 6, 5, 1, { 112, 120 }, { 3, 4 } }, { 6, 5, 2, { 192, 208 }, { 4, 5 } },
    { 6, 3, 1, { 320, 352 }, { 1, 1 } },
};

static void take_stem_block(struct loader *l, struct palme_stem_block *block, int index)
{
    struct name base = name_of("encoder.stem.blocks.%d", index), kernel = name_of("%s.depthwise.weight", base.text);
    int expands = block->middle != block->in, bytes = expands ? BYTES : 0;
    float *scale = NULL;

    if (expands)
        take_linear(l, &block->expand, name_of("%s.expand", base.text).text, block->middle,
                    block->in, BIAS | POINTWISE | RELU6 | bytes);
    if (expands && block->expand.precision == PALME_INT8)
        block->taps = take_taps(l, kernel.text, block->middle, block->size, &scale);
    else
        block->depthwise = take_kernel(l, kernel.text, block->middle, 1, block->size);
    block->taps_scale = scale;
    block->depthwise_bias =
        take_bias(l, name_of("%s.depthwise.bias", base.text).text, block->middle);
    take_linear(l, &block->project, name_of("%s.project", base.text).text, block->out,
                block->middle, BIAS | POINTWISE | bytes);
}

static void take_stem(struct loader *l, struct palme_stem *stem, enum palme_stem_kind kind)
{
    int wide = kind == PALME_STEM_LITE2, deep = kind != PALME_STEM_LITE0, in = PALME_STEM_FIRST;

    stem->blocks = 0;
    if (kind == PALME_STEM_NONE)
        return;
    stem->conv = take_kernel(l, "encoder.stem.conv.weight", PALME_STEM_FIRST, 3, 3);
    stem->conv_bias = take_bias(l, "encoder.stem.conv.bias", PALME_STEM_FIRST);
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < stages[s].blocks[deep]; i++) {
            struct palme_stem_block *block = &stem->block[stem->blocks];

            block->in = in;
            block->middle = stages[s].expansion * in;
            block->out = stages[s].channels[wide];
            block->size = stages[s].size;
            block->stride = i == 0 ? stages[s].stride : 1;
            block->skip = block->stride == 1 && block->in == block->out;
            take_stem_block(l, block, stem->blocks);
            in = block->out;
            stem->blocks++;
        }
    take_linear(l, &stem->head, "encoder.stem.head", PALME_STEM_FEATURES, in,
                BIAS | MANY | POINTWISE | RELU6);
}

/* ---- Encoder and decoder ------------------------------------------------------------------ */

/* `name` is that of the block's entry in the list of layers. q and out may see few rows where k and
 * v see many: cross-attention reads a whole picture at once. */
static void take_attention(struct loader *l, struct palme_attention_block *block, const char *name,
                           int dim, int heads, int flags, int kv_flags)
{
    int inner = PALME_HEAD * heads;

    take_norm(l, &block->norm, name_of("%s.0.0", name).text, dim);
    take_linear(l, &block->q, name_of("%s.1.to_q", name).text, inner, dim, flags);
    take_linear(l, &block->k, name_of("%s.1.to_k", name).text, inner, dim, kv_flags);
    take_linear(l, &block->v, name_of("%s.1.to_v", name).text, inner, dim, kv_flags);
    take_linear(l, &block->out, name_of("%s.1.to_out", name).text, dim, inner, flags);
}

static void take_mlp(struct loader *l, struct palme_mlp_block *block, const char *name, int dim,
                     int flags)
{
    take_norm(l, &block->norm, name_of("%s.0.0", name).text, dim);
    take_linear(l, &block->up, name_of("%s.1.ff.0.0", name).text, 4 * dim, dim, flags | BIAS | GELU);
    take_linear(l, &block->down, name_of("%s.1.ff.2", name).text, dim, 4 * dim, flags | BIAS);
}

static void take_encoder(struct loader *l)
{
    const struct palme_params *params = l->params;
    struct palme_weights *w = l->weights;
    int dim = params->encoder_dim, values = palme_params_patch_values(params);
    int patches = palme_params_patches(params);
    struct palme_encoder_layer unplaced, *layers;

    take_stem(l, &w->stem, params->stem);
    take_norm(l, &w->patch_norm, "encoder.patch_to_embedding.0", values);
    take_linear(l, &w->patch, "encoder.patch_to_embedding.1", dim, values, BIAS | MANY);
    take_norm(l, &w->embedding_norm, "encoder.patch_to_embedding.2", dim);
    w->encoder_positions =
        take_values(l, "encoder.pos_embedding", 0, (int64_t[]){ 1, patches, dim }, 3,
                    (size_t)patches * (size_t)dim);
    layers = reserve(l, (size_t)params->encoder_depth, sizeof *layers);
    w->encoder = layers;
    for (int i = 0; i < params->encoder_depth && l->status == PALME_OK; i++) {
        struct palme_encoder_layer *layer = layers ? &layers[i] : &unplaced;
        struct name attention = name_of("encoder.attn_layers.layers.%d", 2 * i);
        struct name mlp = name_of("encoder.attn_layers.layers.%d", 2 * i + 1);

        take_attention(l, &layer->attention, attention.text, dim, params->encoder_heads, MANY,
                       MANY);
        take_mlp(l, &layer->mlp, mlp.text, dim, MANY);
    }
    take_norm(l, &w->encoder_norm, "encoder.attn_layers.final_norm", dim);
}

static void take_decoder_layer(struct loader *l, struct palme_decoder_layer *layer, int index)
{
    const struct palme_params *params = l->params;
    int dim = params->decoder_dim, heads = params->decoder_heads;
    int blocks = params->cross_attend ? 3 : 2, first = blocks * index;
    static const char form[] = "decoder.net.attn_layers.layers.%d";

    memset(layer, 0, sizeof *layer);
    take_attention(l, &layer->self, name_of(form, first).text, dim, heads, 0, 0);
    if (params->cross_attend)
        take_attention(l, &layer->cross, name_of(form, first + 1).text, dim, heads, 0, MANY);
    take_mlp(l, &layer->mlp, name_of(form, first + blocks - 1).text, dim, 0);
}

static void take_decoder(struct loader *l)
{
    const struct palme_params *params = l->params;
    struct palme_weights *w = l->weights;
    int dim = params->decoder_dim, tokens = params->num_tokens, length = params->max_seq_len;
    struct palme_decoder_layer unplaced, *layers;

    if (params->encoder_dim != dim)
        take_linear(l, &w->encoder_to_decoder, "encoder_to_decoder", dim, params->encoder_dim,
                    MANY);
    take_table(l, &w->token_embedding, "decoder.net.token_emb.emb.weight", tokens, dim);
    if (params->use_abs_pos_emb && !params->rotary_xpos)
        w->decoder_positions =
            take_values(l, "decoder.net.pos_emb.emb.weight", 0, (int64_t[]){ length, dim }, 2,
                        (size_t)length * (size_t)dim);
    layers = reserve(l, (size_t)params->decoder_depth, sizeof *layers);
    w->decoder = layers;
    for (int i = 0; i < params->decoder_depth && l->status == PALME_OK; i++)
        take_decoder_layer(l, layers ? &layers[i] : &unplaced, i);
    take_norm(l, &w->decoder_norm, "decoder.net.attn_layers.final_norm", dim);
    take_linear(l, &w->logits, "decoder.net.to_logits", tokens, dim, BIAS);
}

/* ---- What is computed --------------------------------------------------------------------- */

/* A rotary buffer replaces the computed values if it is F32. Of another type it is ignored, as it
 * would be less exact; broken values are too, for the right ones are known. */
static void take_buffer(struct loader *l, float out[PALME_ROTARY], const char *name)
{
    struct palme_tensor *tensor = l->status == PALME_OK ? find(l, name) : NULL;
    struct shape_text found;
    float values[PALME_ROTARY];

    if (!tensor)
        return;
    tensor->used = 1;
    if (tensor->dtype != PALME_DTYPE_F32)
        return;
    if (tensor->rank != 1 || tensor->shape[0] != PALME_ROTARY) {
        l->status =
            palme_fail(l->report, PALME_ERROR_FORMAT, "tensor %s: wanted shape [%d] and found %s",
                       tensor->name, PALME_ROTARY, show_shape(&found, tensor->shape, tensor->rank));
        return;
    }
    if (!l->arena.base)
        return;
    l->status = palme_tensor_read(l->file, values, tensor, 0, PALME_ROTARY, l->report);
    for (int k = 0; k < PALME_ROTARY && l->status == PALME_OK; k++)
        if (!isfinite(values[k]) || values[k] <= 0) {
            palme_say(l->report, PALME_LOG_WARNING,
                      "tensor %s: value %d is %g; all of it is computed instead", tensor->name, k,
                      values[k]);
            return;
        }
    if (l->status == PALME_OK)
        memcpy(out, values, sizeof values);
}

static void take_rotary(struct loader *l)
{
    struct palme_weights *w = l->weights;

    for (int k = 0; k < PALME_ROTARY; k++) {
        w->inv_freq[k] = 1.0f / powf(10000.0f, (float)(2 * k) / 32.0f);
        w->xpos_scale[k] = ((float)(2 * k) + 12.8f) / 44.8f;
    }
    if (!l->params->rotary_xpos)
        return;
    take_buffer(l, w->inv_freq, "decoder.net.attn_layers.rotary_pos_emb.inv_freq");
    take_buffer(l, w->xpos_scale, "decoder.net.attn_layers.rotary_pos_emb.scale");
}

/* 2^(-8 (h + 1) / m), h counted from 0, is the h-th slope of m heads where m is a power of two. */
static float slope_of(int h, int m)
{
    return (float)exp2(-8.0 * (h + 1) / m);
}

/* Of any other number of heads, the first have the slopes of the largest power of two below it, the
 * rest every second one of the next power. Heads beyond alibi_num_heads have none. */
static void take_slopes(struct loader *l)
{
    int heads = l->params->decoder_heads, alibi = l->params->alibi_num_heads, power = 1;
    float *slopes = reserve(l, (size_t)heads, sizeof *slopes);

    l->weights->slopes = slopes;
    if (!slopes)
        return;
    if (!l->params->alibi_pos_bias)
        alibi = 0;
    while (2 * power <= alibi)
        power *= 2;
    for (int h = 0; h < heads; h++)
        slopes[h] = h >= alibi  ? 0
                    : h < power ? slope_of(h, power)
                                : slope_of(2 * (h - power), 2 * power);
}

/* ---- For everyone ------------------------------------------------------------------------- */

static void walk(struct loader *l)
{
    take_encoder(l);
    take_decoder(l);
    take_rotary(l);
    take_slopes(l);
}

/* Every pass reads most of the weights once, in long runs: with large pages the processor looks up few addresses.
 * (Measured on Zen 3: a decoder step in int8 takes 0.85 times as long.) They are a wish, and small models do not
 * need them. */
static void *take_block(size_t bytes)
{
    size_t unit = bytes < 2 * LARGE_PAGE ? PALME_ARENA_ALIGNMENT : LARGE_PAGE;
    void *block = bytes <= SIZE_MAX - unit ? aligned_alloc(unit, round_up(bytes, unit)) : NULL;

    if (block && unit == LARGE_PAGE)
        madvise(block, bytes, MADV_HUGEPAGE);
    return block;
}

/* Takes the memory between the walks: the block, and room to read rows into. */
static void allocate(struct loader *l)
{
    size_t row = max_size(l->widest, PORTION), bytes = l->arena.most;

    if (row <= SIZE_MAX / sizeof *l->rows)
        l->rows = malloc(row * sizeof *l->rows);
    l->scales = malloc(PORTION_ROWS * sizeof *l->scales);
    if (l->rows && l->scales)
        l->weights->memory = take_block(bytes);
    if (!l->weights->memory)
        l->status = palme_fail(l->report, PALME_ERROR_MEMORY,
                               "out of memory: its weights take %llu bytes", (unsigned long long)bytes);
    l->weights->bytes = bytes;
    l->arena = palme_arena_over(l->weights->memory, bytes);
}

static void warn(const struct loader *l)
{
    size_t count, unknown = 0;
    const struct palme_tensor *tensors = palme_safetensors_list(l->file, &count);
    struct palme_shown shown;

    for (size_t i = 0; i < count; i++)
        if (!tensors[i].used && unknown++ < SHOWN_UNKNOWN)
            palme_say(l->report, PALME_LOG_WARNING, "tensor %s is unknown and ignored",
                      palme_show(&shown, tensors[i].name, strlen(tensors[i].name)));
    if (unknown > SHOWN_UNKNOWN)
        palme_say(l->report, PALME_LOG_WARNING, "%zu more unknown tensors are ignored",
                  unknown - SHOWN_UNKNOWN);
    if (l->broken)
        palme_say(l->report, PALME_LOG_WARNING,
                  "%llu of its weights are NaN or infinite, the first of them in tensor %s",
                  (unsigned long long)l->broken, l->first_broken);
}

int palme_weights_load(struct palme_weights *weights, const struct palme_params *params,
                       enum palme_precision precision, int blas, struct palme_safetensors *file,
                       const struct palme_report *report)
{
    struct loader l = { .weights = weights, .params = params, .precision = precision, .blas = blas, .file = file,
                        .report = report };

    memset(weights, 0, sizeof *weights);
    walk(&l);
    if (l.status == PALME_OK)
        allocate(&l);
    if (l.status == PALME_OK)
        walk(&l);
    free(l.rows);
    free(l.scales);
    if (l.status == PALME_OK)
        warn(&l);
    else
        palme_weights_clear(weights);
    return l.status;
}

void palme_weights_clear(struct palme_weights *weights)
{
    free(weights->memory);
    memset(weights, 0, sizeof *weights);
}
