/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * layers.c - whole layers over many rows: they cut the work into tasks for the threads and leave the
 * numbers to the kernels. A task is whole rows or whole panels of outputs. Attention is in attention.c.
 */
#include "nn/layers.h"

#include <math.h>
#include <string.h>

#include "base/util.h"

/* ---- Precisions --------------------------------------------------------------------------- */

static const char *const precisions[PALME_PRECISIONS] = { "f32", "bf16", "int8", "int4" };

const char *palme_precision_name(enum palme_precision precision)
{
    return precisions[precision];
}

int palme_precision_find(enum palme_precision *precision, const char *name)
{
    for (int i = 0; i < PALME_PRECISIONS; i++) {
        if (strcmp(name, precisions[i]) == 0) {
            *precision = (enum palme_precision)i;
            return 0;
        }
    }
    return -1;
}

/* ---- Linear layers ------------------------------------------------------------------------ */

enum palme_layout palme_linear_layout(int blas)
{
    return blas && palme_blas() ? PALME_LAYOUT_ROWS : PALME_LAYOUT_PANELS;
}

enum palme_precision palme_linear_precision(enum palme_precision wanted, int in)
{
    return wanted == PALME_INT8 && in > PALME_INT8_MOST ? PALME_BF16 : wanted;
}

int palme_linear_rounds(const struct palme_kernels *kernels, const struct palme_linear *l)
{
    return l->precision >= PALME_INT8 || (l->precision == PALME_BF16 && kernels->to_bf16);
}

static size_t panels(const struct palme_linear *l)
{
    return ((size_t)l->out + PALME_PANEL - 1) / PALME_PANEL;
}

size_t palme_linear_outputs(const struct palme_linear *l)
{
    return panels(l) * PALME_PANEL;
}

/* Inputs of a panel, the padding included, and bytes of a weight; not of int4, whose panels kernels.h describes. */
static size_t padded_in(const struct palme_linear *l)
{
    size_t group = l->precision == PALME_INT8 ? PALME_INT8_GROUP : l->precision == PALME_BF16 ? 2 : 1;

    return ((size_t)l->in + group - 1) / group * group;
}

static size_t weight_bytes(const struct palme_linear *l)
{
    return l->precision == PALME_INT8 ? 1 : l->precision == PALME_BF16 ? 2 : 4;
}

static size_t panel_bytes(const struct palme_linear *l)
{
    return l->precision == PALME_INT4 ? PALME_INT4_PANEL_BYTES(l->in) : padded_in(l) * PALME_PANEL * weight_bytes(l);
}

size_t palme_linear_size(const struct palme_linear *l)
{
    if (l->precision == PALME_F32 && l->layout == PALME_LAYOUT_ROWS)
        return (size_t)l->out * (size_t)l->in * sizeof(float);
    return panels(l) * panel_bytes(l);
}

/* The last panel is zero before its rows come, and every panel has zeros behind the last input. */
static void clear_padding(const struct palme_linear *l, void *w, float *scale, int first, int count)
{
    size_t panel = panel_bytes(l);
    int begin = (first + PALME_PANEL - 1) / PALME_PANEL, end = (first + count - 1) / PALME_PANEL;

    for (int p = begin; p <= end; p++)
        if (l->in != (int)padded_in(l) || p == (l->out - 1) / PALME_PANEL)
            memset((char *)w + (size_t)p * panel, 0, panel);
    if (scale && first + count == l->out)
        for (size_t o = (size_t)l->out; o < palme_linear_outputs(l); o++)
            scale[o] = 0;
}

/* What a panel is made of: the inputs of a group of one output, four bytes in every precision. They are packed SOME at
 * a time, so that what is read, rounded and written stays in the nearest cache. */
enum { UNIT = 4, SOME = 64 };

struct units {
    uint32_t row[PALME_PANEL][SOME];
};

/* The place of the first unit of output `row`; the next one of it is PALME_PANEL units further on. */
static uint32_t *place_of(const struct palme_linear *l, void *w, int row)
{
    size_t panel = padded_in(l) * weight_bytes(l) / UNIT * PALME_PANEL;

    return (uint32_t *)w + (size_t)(row / PALME_PANEL) * panel + row % PALME_PANEL;
}

/* `count` units of `rows` rows to their places. By memcpy, since they are read as floats or smaller numbers. */
static void put_units(uint32_t *to, const struct units *units, int count, int rows)
{
    if (rows == PALME_PANEL) { /* a whole panel is written from its begin to its end */
        for (int k = 0; k < count; k++, to += PALME_PANEL)
            for (int r = 0; r < PALME_PANEL; r++)
                memcpy(to + r, &units->row[r][k], UNIT);
        return;
    }
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < count; k++)
            memcpy(to + (size_t)k * PALME_PANEL + (size_t)r, &units->row[r][k], UNIT);
}

/* How many rows from `row` on are packed together: a whole panel, or one. */
static int rows_together(int row, int end)
{
    return row % PALME_PANEL == 0 && end - row >= PALME_PANEL ? PALME_PANEL : 1;
}

void palme_linear_pack_stored(const struct palme_linear *l, void *w, float *scale, const void *stored,
                              const float *scales, int first, int count)
{
    const char *rows = stored;
    size_t bytes = (size_t)l->in * weight_bytes(l);

    if (l->precision == PALME_F32 && l->layout == PALME_LAYOUT_ROWS) {
        memcpy((char *)w + (size_t)first * bytes, rows, (size_t)count * bytes);
        return;
    }
    clear_padding(l, w, scale, first, count);
    if (scale)
        memcpy(scale + first, scales, (size_t)count * sizeof *scale);
    for (int row = first, n; row < first + count; row += n, rows += (size_t)n * bytes) {
        n = rows_together(row, first + count);
        for (size_t at = 0; at < bytes; at += SOME * UNIT) {
            size_t part = bytes - at < SOME * UNIT ? bytes - at : SOME * UNIT;
            struct units units;

            for (int r = 0; r < n; r++) {
                units.row[r][(part - 1) / UNIT] = 0;
                memcpy(units.row[r], rows + (size_t)r * bytes + at, part);
            }
            put_units(place_of(l, w, row) + at / UNIT * PALME_PANEL, &units, (int)((part + UNIT - 1) / UNIT), n);
        }
    }
}

/* Some weights of a row, rounded to bf16, or to int8 by the row's factor. */
static void round_units(uint32_t *units, enum palme_precision precision, const float *x, int n, float factor)
{
    size_t bytes = (size_t)n * weight_bytes(&(struct palme_linear){ .precision = precision });

    units[(bytes - 1) / UNIT] = 0;
    if (precision == PALME_BF16) {
        uint16_t values[SOME * 2];

        for (int i = 0; i < n; i++)
            values[i] = palme_bf16_round(x[i]);
        memcpy(units, values, bytes);
    } else {
        palme_quantize_values((int8_t *)units, x, n, factor);
    }
}

void palme_linear_pack(const struct palme_linear *l, void *w, float *scale, const float *rows, int first, int count)
{
    int group = UNIT / (int)weight_bytes(l), in = l->in;

    if (l->precision == PALME_F32) {
        palme_linear_pack_stored(l, w, NULL, rows, NULL, first, count);
        return;
    }
    clear_padding(l, w, scale, first, count);
    for (int row = first; l->precision == PALME_INT4 && row < first + count; row++, rows += in)
        palme_int4_pack((uint8_t *)w + (size_t)(row / PALME_PANEL) * panel_bytes(l), row % PALME_PANEL, rows, in);
    if (l->precision == PALME_INT4)
        return;
    for (int row = first, n; row < first + count; row += n, rows += (size_t)n * (size_t)in) {
        float factor[PALME_PANEL] = { 0 };

        n = rows_together(row, first + count);
        for (int r = 0; scale && r < n; r++)
            scale[row + r] = palme_quantization_scale(&factor[r], rows + (size_t)r * (size_t)in, in);
        for (int k = 0; k < in; k += SOME * group) {
            int part = in - k < SOME * group ? in - k : SOME * group;
            struct units units;

            for (int r = 0; r < n; r++)
                round_units(units.row[r], l->precision, rows + (size_t)r * (size_t)in + k, part, factor[r]);
            put_units(place_of(l, w, row) + (size_t)(k / group) * PALME_PANEL, &units, (part + group - 1) / group, n);
        }
    }
}

/* ---- Products */

void palme_linear_part(const struct palme_kernels *kernels, float *y, const struct palme_rows *x, int row, int rows,
                       const struct palme_linear *l, int first, int count, ptrdiff_t y_stride)
{
    const void *w = (const char *)l->w + (size_t)(first / PALME_PANEL) * panel_bytes(l);
    const void *values = x->values + (size_t)row * x->stride;
    const float *b = l->b ? l->b + first : NULL;

    if (l->precision == PALME_INT8 && !x->quantization)
        kernels->linear_bytes(y, values, w, l->scale + first, b, rows, l->in, count, y_stride, (ptrdiff_t)x->stride,
                              l->activation);
    else if (l->precision == PALME_INT8)
        kernels->linear_int8(y, values, x->quantization + row, w, l->scale + first, b, rows, l->in, count, y_stride,
                             l->activation);
    else if (l->precision == PALME_INT4)
        kernels->linear_int4(y, values, x->quantization + row, w, b, rows, l->in, count, y_stride, l->activation);
    else if (l->precision == PALME_BF16)
        kernels->linear_bf16(y, values, w, b, rows, l->in, count, y_stride,
                             (ptrdiff_t)(x->stride / (kernels->to_bf16 ? sizeof(uint16_t) : sizeof(float))),
                             l->activation);
    else
        kernels->linear(y, values, w, b, rows, l->in, count, y_stride, (ptrdiff_t)(x->stride / sizeof(float)),
                        l->activation);
}

void palme_linear_part_to_bytes(const struct palme_kernels *kernels, uint8_t *y, const struct palme_rows *x, int row,
                                int lines, int line_stride, int pixels, const struct palme_linear *l, int first,
                                int count, ptrdiff_t y_stride)
{
    const int8_t *w = (const int8_t *)l->w + (size_t)first * padded_in(l);
    const int8_t *values = (const int8_t *)x->values + (size_t)row * x->stride;

    kernels->linear_int8_to_bytes(y, values, x->quantization + row, w, l->scale + first, l->b ? l->b + first : NULL,
                                  lines, line_stride, pixels, l->in, count, y_stride);
}

static void activate_rows(struct palme_compute *c, float *x, int rows, int n, enum palme_activation activation);

struct part {
    const struct palme_linear_op *product;
    int panel_step, begin, end; /* tasks begin..end-1 of each block of rows are this product's */
};

struct product_job {
    const struct palme_kernels *kernels;
    struct palme_rows input;
    int rows;
    struct part part[PALME_LINEAR_MULTI_MAX];
    int row_step, parts; /* rows of a block; tasks of a block */
};

/* The activations of feed-forward blocks. */
static void activate(const struct palme_kernels *kernels, float *x, int n, enum palme_activation activation)
{
    if (activation == PALME_ACTIVATION_GELU)
        kernels->gelu(x, n);
    else if (activation == PALME_ACTIVATION_GELU_TANH)
        kernels->gelu_tanh(x, n);
    else if (activation == PALME_ACTIVATION_QUICK_GELU)
        kernels->quick_gelu(x, n);
}

static void product_part(void *user, int i)
{
    const struct product_job *job = user;
    const struct part *part = job->part;
    int row = i / job->parts * job->row_step, rest = i % job->parts;
    int rows = job->rows - row < job->row_step ? job->rows - row : job->row_step;

    while (rest >= part->end)
        part++;
    const struct palme_linear *l = part->product->l;
    int first = (rest - part->begin) * part->panel_step * PALME_PANEL, most = part->panel_step * PALME_PANEL;
    int out = l->out - first < most ? l->out - first : most;
    float *y = (part->product->into ? part->product->into : part->product->y) + (size_t)row * (size_t)l->out + first;
    struct palme_linear layer = *l;

    if (part->product->into)
        layer.activation = PALME_ACTIVATION_ADD;
    palme_linear_part(job->kernels, y, &job->input, row, rows, &layer, first, out, l->out);
    for (int r = 0; r < rows; r++, y += l->out) /* while they are still in the caches */
        activate(job->kernels, y, out, layer.activation);
}

/* The cost of a product in FLOP of single precision. */
static double cost_of(const struct palme_linear *l, int rows)
{
    double weights = (double)l->in * l->out, compute = 2 * rows * weights * (l->precision >= PALME_INT8 ? 0.6 : 1);
    double read = PALME_READ_FLOPS * (double)palme_linear_size(l);

    return compute > read ? compute : read;
}

/* Many rows are cut into blocks that the next cache holds beside some panels of weights. 60 is a whole number of tiles
 * of 4, 5 or 6 rows. */
enum { ROWS_AT_ONCE = 72, BLOCK_ROWS = 60 };

/* Cuts each product into tasks of about the same cost: enough of them that every thread has as many. */
static void products_in_panels(struct palme_compute *c, const struct palme_linear_op *products, int count,
                               const struct palme_rows *x, int rows)
{
    struct product_job job = {
        .kernels = c->kernels, .input = *x, .rows = rows, .row_step = rows <= ROWS_AT_ONCE ? rows : BLOCK_ROWS
    };
    int threads = palme_compute_threads(c), blocks = (rows + job.row_step - 1) / job.row_step;
    double all = 0;

    for (int p = 0; p < count; p++) {
        const struct palme_linear *l = products[p].l;
        double cost = cost_of(l, job.row_step), wanted = cost / PALME_TASK_FLOPS;
        int most = (int)panels(l), parts = wanted < 1 ? 1 : wanted > most ? most : (int)wanted;

        if (rows == 1) { /* the kernels read a task as some long streams, and few tasks are enough */
            int few = threads > 1 ? 2 * threads : 1, stops = (int)(cost / PALME_CANCEL_FLOPS);

            few = few > stops ? few : stops;
            parts = parts < few ? parts : few;
        }
        if (blocks == 1 && parts > 1)
            parts = (parts + threads - 1) / threads * threads;
        int step = (most + parts - 1) / parts;
        /* Of a single row the kernels do several panels at a time; of more rows two threads write the lines at the
         * border of two tasks. */
        if (rows == 1 || most >= 8 * threads)
            step = (step + 3) / 4 * 4;
        job.part[p] = (struct part){ &products[p], step, job.parts, job.parts + (most + step - 1) / step };
        job.parts = job.part[p].end;
        all += cost * blocks;
    }
    palme_parallel(c, blocks * job.parts, all, product_part, &job);
}

void palme_linear_multi(struct palme_compute *c, const struct palme_linear_op *products, int count, const float *x,
                        int rows)
{
    palme_linear_multi_normed(c, products, count, x, rows, NULL);
}

void palme_linear_multi_normed(struct palme_compute *c, const struct palme_linear_op *products, int count,
                               const float *x, int rows, const struct palme_row_norm *norm)
{
    if (c->cancelled || rows <= 0)
        return;
    if (products[0].l->precision != PALME_F32 || products[0].l->layout != PALME_LAYOUT_ROWS) {
        struct palme_rows result = palme_quantize_rows(c, c->workspace, x, products[0].l, rows, norm);

        products_in_panels(c, products, count, &result, rows);
        return;
    }
    if (norm) {
        palme_layernorm(c, norm->y, x, norm->w, norm->b, rows, products[0].l->in, norm->eps);
        x = norm->y;
    }
    for (int p = 0; p < count; p++) {
        const struct palme_linear *l = products[p].l;

        palme_blas_linear(c, products[p].y, x, l->w, l->b, rows, l->in, l->out);
        if (products[p].into)
            palme_add(c, products[p].into, products[p].y, rows, l->out);
        else if (l->activation == PALME_ACTIVATION_RELU6)
            palme_relu6(c, products[p].y, rows, l->out);
        else if (l->activation != PALME_ACTIVATION_NONE)
            activate_rows(c, products[p].y, rows, l->out, l->activation);
    }
}

void palme_linear(struct palme_compute *c, float *y, const float *x, const struct palme_linear *l, int rows)
{
    palme_linear_multi(c, &(struct palme_linear_op){ .y = y, .l = l }, 1, x, rows);
}

void palme_linear_rows(struct palme_compute *c, float *y, const struct palme_rows *x, const struct palme_linear *l,
                       int rows)
{
    products_in_panels(c, &(struct palme_linear_op){ .y = y, .l = l }, 1, x, rows);
}

/* ---- Tables -------------------------------------------------------------------------------- */

size_t palme_table_row_size(enum palme_precision precision, int n)
{
    return (size_t)n * weight_bytes(&(struct palme_linear){ .precision = precision });
}

void palme_table_pack(void *place, float *scale, enum palme_precision precision, const float *row, int n)
{
    float factor;

    if (precision == PALME_F32) {
        memcpy(place, row, (size_t)n * sizeof *row);
    } else if (precision == PALME_BF16) {
        for (int i = 0; i < n; i++)
            ((uint16_t *)place)[i] = palme_bf16_round(row[i]);
    } else {
        *scale = palme_quantization_scale(&factor, row, n);
        palme_quantize_values((int8_t *)place, row, n, factor);
    }
}

/* The weights of an output of a layer in panels. */
static void weights_of(float *out, const struct palme_linear *l, int row)
{
    int group = UNIT / (int)weight_bytes(l);
    const uint32_t *units = place_of(l, (void *)(uintptr_t)l->w, row);

    for (int k = 0; k < l->in; k++) {
        const char *unit = (const char *)(units + (size_t)(k / group) * PALME_PANEL);
        uint16_t half;

        if (l->precision == PALME_F32) {
            memcpy(&out[k], unit, sizeof out[k]);
        } else if (l->precision == PALME_BF16) {
            memcpy(&half, unit + k % group * 2, sizeof half);
            out[k] = palme_bf16_widen(half);
        } else {
            out[k] = (float)((const int8_t *)unit)[k % group] * l->scale[row];
        }
    }
}

void palme_table_row(float *out, const struct palme_table *table, size_t row, int n)
{
    size_t at = row * (size_t)n;

    if (table->tied)
        weights_of(out, table->tied, (int)row);
    else if (table->precision == PALME_F32) {
        memcpy(out, (const float *)table->rows + at, (size_t)n * sizeof *out);
    } else if (table->precision == PALME_BF16) {
        for (int i = 0; i < n; i++)
            out[i] = palme_bf16_widen(((const uint16_t *)table->rows)[at + (size_t)i]);
    } else {
        for (int i = 0; i < n; i++)
            out[i] = (float)((const int8_t *)table->rows)[at + (size_t)i] * table->scale[row];
    }
}

/* ---- Layers that go row by row ------------------------------------------------------------- */

struct rows_job {
    const struct palme_kernels *kernels;
    float *y;
    const float *x, *w, *b;
    double eps;
    enum palme_activation activation;
    int rows, n, step;
};

/* Runs body over tasks of rows; `cost` is a guess of the FLOP per value. */
static void by_rows(struct palme_compute *c, struct rows_job *job, double cost, void (*body)(void *user, int i))
{
    double step = PALME_TASK_FLOPS / 4 / (cost * job->n);

    job->kernels = c->kernels;
    job->step = step < 1 ? 1 : step > job->rows ? job->rows : (int)step;
    palme_parallel(c, (job->rows + job->step - 1) / job->step, cost * job->rows * job->n, body, job);
}

static int rows_part(const struct rows_job *job, int i, size_t *offset)
{
    int row = i * job->step;

    *offset = (size_t)row * job->n;
    return job->rows - row < job->step ? job->rows - row : job->step;
}

static void layernorm_part(void *user, int i)
{
    const struct rows_job *job = user;
    size_t at;

    for (int count = rows_part(job, i, &at); count > 0; count--, at += job->n)
        job->kernels->layernorm(job->y + at, job->x + at, job->w, job->b, job->n, job->eps);
}

static void normalize_part(void *user, int i)
{
    const struct rows_job *job = user;
    size_t at;

    for (int count = rows_part(job, i, &at); count > 0; count--, at += job->n)
        job->kernels->normalize(job->y + at, job->n);
}

static void activate_part(void *user, int i)
{
    const struct rows_job *job = user;
    size_t at;
    int count = rows_part(job, i, &at);

    activate(job->kernels, job->y + at, count * job->n, job->activation);
}

static void add_part(void *user, int i)
{
    const struct rows_job *job = user;
    size_t at;
    int count = rows_part(job, i, &at);

    job->kernels->add(job->y + at, job->x + at, count * job->n);
}

static void relu6_part(void *user, int i)
{
    const struct rows_job *job = user;
    size_t at;
    int count = rows_part(job, i, &at);

    job->kernels->relu6(job->y + at, count * job->n);
}

void palme_layernorm(struct palme_compute *c, float *y, const float *x, const float *w, const float *b, int rows, int n,
                     double eps)
{
    by_rows(c, &(struct rows_job){ .y = y, .x = x, .w = w, .b = b, .eps = eps, .rows = rows, .n = n }, 8,
            layernorm_part);
}

static void activate_rows(struct palme_compute *c, float *x, int rows, int n, enum palme_activation activation)
{
    by_rows(c, &(struct rows_job){ .y = x, .activation = activation, .rows = rows, .n = n }, 40, activate_part);
}

void palme_gelu(struct palme_compute *c, float *x, int rows, int n)
{
    activate_rows(c, x, rows, n, PALME_ACTIVATION_GELU);
}

void palme_normalize(struct palme_compute *c, float *x, int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = x, .rows = rows, .n = n }, 3, normalize_part);
}

void palme_add(struct palme_compute *c, float *x, const float *y, int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = x, .x = y, .rows = rows, .n = n }, 1, add_part);
}

void palme_relu6(struct palme_compute *c, float *x, int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = x, .rows = rows, .n = n }, 1, relu6_part);
}
