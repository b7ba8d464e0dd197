/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * rows.c - rows of inputs as a layer reads them: in its precision, behind a norm if they have one, or moved apart.
 */
#include "nn/layers.h"

#include <string.h>

#include "base/arena.h"
#include "base/util.h"

/* A few rows that are a multiple of 1 KiB apart share sets of the nearest cache, and beside them the processor no
 * longer foresees where the weights come from: on a Zen 3 six rows of 1024 values in f32 times weights from the L3 make
 * 39 GFLOP/s, and 91 once they are a line further apart. Of many rows the weights are near. */
enum { CONFLICTING = 1024, CONFLICTING_MIN = 3, CONFLICTING_MAX = 16, LINE = 64 };

static size_t apart(size_t bytes)
{
    return bytes % CONFLICTING ? bytes : bytes + LINE;
}

/* Whether as many rows of f32 are better read from a copy. */
static int conflicting(const struct palme_linear *l, int rows)
{
    return rows >= CONFLICTING_MIN && rows <= CONFLICTING_MAX && (size_t)l->in * sizeof(float) % CONFLICTING == 0;
}

struct input {
    const struct palme_kernels *kernels;
    const float *x;
    int rows, in, step;
    void (*part)(void *user, int i); /* NULL: the kernels of the precision read x itself */
    void *workspace;
    void (*quantize)(int8_t *q, struct palme_quantization *quantization, const float *x, int n);
    struct palme_quantization *quantization;
    const struct palme_row_norm *norm; /* NULL, or that of the rows first */
    struct palme_rows result;
};

/* What becomes of a row, behind the norm while that is in the nearest cache. */
static const float *row_of(const struct input *input, int row)
{
    const struct palme_row_norm *norm = input->norm;
    size_t at = (size_t)row * (size_t)input->in;

    if (!norm)
        return input->x + at;
    input->kernels->layernorm(norm->y + at, input->x + at, norm->w, norm->b, input->in, norm->eps);
    return norm->y + at;
}

static void quantize_part(void *user, int i)
{
    const struct input *input = user;
    int row = i * input->step, end = input->rows - row < input->step ? input->rows : row + input->step;

    for (; row < end; row++)
        input->quantize((int8_t *)input->workspace + (size_t)row * input->result.stride, &input->quantization[row],
                        row_of(input, row), input->in);
}

static void to_bf16_part(void *user, int i)
{
    const struct input *input = user;
    int row = i * input->step, end = input->rows - row < input->step ? input->rows : row + input->step;

    for (; row < end; row++)
        input->kernels->to_bf16((uint16_t *)(void *)((char *)input->workspace + (size_t)row * input->result.stride),
                                row_of(input, row), input->in);
}

static void copy_part(void *user, int i)
{
    const struct input *input = user;
    int row = i * input->step, end = input->rows - row < input->step ? input->rows : row + input->step;

    for (; row < end; row++)
        memcpy((char *)input->workspace + (size_t)row * input->result.stride, row_of(input, row),
               (size_t)input->in * sizeof *input->x);
}

/* What a layer makes of its inputs first, and the memory that it takes for that. */
static struct input input_of(const struct palme_kernels *kernels, struct palme_arena *workspace, const float *x,
                             const struct palme_linear *l, int rows)
{
    struct input input = { .kernels = kernels,
                           .x = x,
                           .rows = rows,
                           .in = l->in,
                           .step = rows,
                           .result = { (const char *)x, (size_t)l->in * sizeof *x, NULL } };

    if (l->precision == PALME_INT8) {
        input.part = quantize_part;
        input.quantize = kernels->quantize;
        input.result.stride = PALME_QUANTIZED_BYTES((size_t)l->in);
    } else if (l->precision == PALME_INT4) {
        input.part = quantize_part;
        input.quantize = kernels->quantize_int4;
        input.result.stride = PALME_INT4_ROW_BYTES(l->in);
    } else if (l->precision == PALME_BF16 && kernels->to_bf16) {
        input.part = to_bf16_part;
        input.result.stride = apart(round_up((size_t)l->in, 2) * sizeof(uint16_t));
    } else if (conflicting(l, rows)) {
        input.part = copy_part;
        input.result.stride = apart(input.result.stride);
    } else {
        return input;
    }
    input.workspace = palme_arena_take(workspace, (size_t)rows, input.result.stride);
    input.result.values = input.workspace;
    if (input.quantize)
        input.result.quantization = input.quantization =
            palme_arena_take(workspace, (size_t)rows, sizeof *input.quantization);
    return input;
}

size_t palme_linear_workspace(const struct palme_kernels *kernels, const struct palme_linear *l, int rows)
{
    struct palme_arena arena = { 0 };

    if (!l->w || rows < 1)
        return 0;
    input_of(kernels, &arena, NULL, l, min_int(rows, CONFLICTING_MAX)); /* in f32 more rows take none */
    palme_arena_rewind(&arena, 0);
    input_of(kernels, &arena, NULL, l, rows);
    return arena.most;
}

struct palme_rows palme_quantize_rows_serial(const struct palme_kernels *kernels, void *workspace, const float *x,
                                             const struct palme_linear *l, int rows)
{
    struct palme_arena arena = palme_arena_over(workspace, SIZE_MAX);
    struct input input = input_of(kernels, &arena, x, l, rows);

    if (input.part)
        input.part(&input, 0);
    return input.result;
}

struct palme_rows palme_quantize_rows(struct palme_compute *c, void *workspace, const float *x,
                                      const struct palme_linear *l, int rows, const struct palme_row_norm *norm)
{
    enum { COST = 4, NORM_COST = 8 }; /* FLOP of a value or so */
    double cost = norm ? COST + NORM_COST : COST, step = PALME_TASK_FLOPS / 4 / (cost * l->in);
    struct palme_arena arena = palme_arena_over(workspace, SIZE_MAX);
    struct input input = input_of(c->kernels, &arena, x, l, rows);

    input.step = step < 1 ? 1 : step > rows ? rows : (int)step;
    if (input.part) {
        input.norm = norm;
        palme_parallel(c, (rows + input.step - 1) / input.step, cost * rows * l->in, input.part, &input);
    } else if (norm) {
        palme_layernorm(c, norm->y, x, norm->w, norm->b, rows, l->in, norm->eps);
        input.result.values = (const char *)norm->y;
    }
    return input.result;
}
