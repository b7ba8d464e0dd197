/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * layers.c - whole layers over many rows: they cut the work into portions for the threads and leave the
 * numbers to the kernels. A portion is whole rows, whole panels of outputs or whole heads.
 */
#include "layers.h"

#include <string.h>

/* ---- Precisions --------------------------------------------------------------------------- */

static const char *const precisions[PALME_PRECISIONS] = { "f32", "bf16", "int8" };

int palme_precision_built(enum palme_precision precision)
{
    return precision == PALME_F32;
}

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

static int panels(int out)
{
    return (out + PALME_PANEL - 1) / PALME_PANEL;
}

size_t palme_linear_size(enum palme_layout layout, int out, int in)
{
    return (layout == PALME_LAYOUT_ROWS ? (size_t)out : (size_t)panels(out) * PALME_PANEL) * (size_t)in;
}

void palme_linear_pack(float *packed, enum palme_layout layout, const float *w, int first, int count,
                       int out, int in)
{
    if (layout == PALME_LAYOUT_ROWS) {
        memcpy(packed + (size_t)first * in, w, (size_t)count * in * sizeof *w);
        return;
    }
    for (int row = first; row < first + count; row++, w += in) {
        float *panel = packed + (size_t)(row / PALME_PANEL) * in * PALME_PANEL + row % PALME_PANEL;

        for (int k = 0; k < in; k++)
            panel[(size_t)k * PALME_PANEL] = w[k];
    }
    if (first + count == out && out % PALME_PANEL)
        for (int o = out % PALME_PANEL; o < PALME_PANEL; o++)
            for (int k = 0; k < in; k++)
                packed[((size_t)(out / PALME_PANEL) * in + k) * PALME_PANEL + o] = 0;
}

void palme_linear_part(const struct palme_kernels *kernels, float *y, const float *x,
                       const struct palme_linear *l, int rows, int first, int count, ptrdiff_t y_stride)
{
    kernels->linear(y, x, l->w + (size_t)first * l->in, l->b ? l->b + first : NULL, rows, l->in, count,
                    y_stride, l->in, l->activation);
}

struct linear_job {
    const struct palme_kernels *kernels;
    const struct palme_linear *l;
    float *y;
    const float *x;
    int rows, row_step, panel_step, panel_parts;
};

static void linear_part(void *user, int i)
{
    const struct linear_job *job = user;
    const struct palme_linear *l = job->l;
    int row = i / job->panel_parts * job->row_step;
    int rows = job->rows - row < job->row_step ? job->rows - row : job->row_step;
    int first = i % job->panel_parts * job->panel_step * PALME_PANEL;
    int most = job->panel_step * PALME_PANEL;
    int out = l->out - first < most ? l->out - first : most;

    palme_linear_part(job->kernels, job->y + (size_t)row * l->out + first, job->x + (size_t)row * l->in, l,
                      rows, first, out, l->out);
}

static void linear_panels(struct palme_compute *c, float *y, const float *x, const struct palme_linear *l,
                          int rows)
{
    struct linear_job job = { c->kernels, l, y, x, rows, rows < 64 ? rows : 64, 1, 1 };
    double panel_flops = 2.0 * job.row_step * l->in * PALME_PANEL;
    int all = panels(l->out);
    int step = (int)(PALME_PORTION_FLOPS / panel_flops) + 1;

    job.panel_step = step < all ? step : all;
    job.panel_parts = (all + job.panel_step - 1) / job.panel_step;
    palme_parallel(c, (rows + job.row_step - 1) / job.row_step * job.panel_parts,
                   2.0 * rows * l->in * l->out, linear_part, &job);
}

void palme_linear(struct palme_compute *c, float *y, const float *x, const struct palme_linear *l, int rows)
{
    if (c->stopped || rows <= 0)
        return;
    if (l->layout == PALME_LAYOUT_ROWS) {
        palme_blas_linear(c, y, x, l->w, l->b, rows, l->in, l->out);
        if (l->activation == PALME_ACTIVATION_RELU6)
            palme_relu6(c, y, rows, l->out);
    } else {
        linear_panels(c, y, x, l, rows);
    }
}

/* ---- Layers that go row by row ------------------------------------------------------------- */

struct rows_job {
    const struct palme_kernels *kernels;
    float *y;
    const float *x, *w, *b;
    int rows, n, step;
};

/* Runs body over portions of rows; `cost` is a guess of the FLOP per value. */
static void by_rows(struct palme_compute *c, struct rows_job *job, double cost,
                    void (*body)(void *user, int i))
{
    double step = PALME_PORTION_FLOPS / 4 / (cost * job->n);

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
        job->kernels->layernorm(job->y + at, job->x + at, job->w, job->b, job->n);
}

static void gelu_part(void *user, int i)
{
    const struct rows_job *job = user;
    size_t at;
    int count = rows_part(job, i, &at);

    job->kernels->gelu(job->y + at, count * job->n);
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

void palme_layernorm(struct palme_compute *c, float *y, const float *x, const float *w, const float *b,
                     int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = y, .x = x, .w = w, .b = b, .rows = rows, .n = n }, 8,
            layernorm_part);
}

void palme_gelu(struct palme_compute *c, float *x, int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = x, .rows = rows, .n = n }, 40, gelu_part);
}

void palme_add(struct palme_compute *c, float *x, const float *y, int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = x, .x = y, .rows = rows, .n = n }, 1, add_part);
}

void palme_relu6(struct palme_compute *c, float *x, int rows, int n)
{
    by_rows(c, &(struct rows_job){ .y = x, .rows = rows, .n = n }, 1, relu6_part);
}

/* ---- Attention ---------------------------------------------------------------------------- */

struct attention_job {
    const struct palme_kernels *kernels;
    const struct palme_attend *shape;
    float *out;
    const float *q, *k, *v, *slopes;
    ptrdiff_t k_head, v_head;
    int step, parts; /* query rows of a portion; portions of a head */
};

static void attention_part(void *user, int i)
{
    const struct attention_job *job = user;
    struct palme_attend shape = *job->shape;
    int head = i / job->parts, row = i % job->parts * job->step;

    shape.rows = job->shape->rows - row < job->step ? job->shape->rows - row : job->step;
    shape.first += row;
    if (job->slopes)
        shape.slope = job->slopes[head];
    job->kernels->attend(job->out + row * shape.out_stride + (ptrdiff_t)head * PALME_HEAD,
                         job->q + row * shape.q_stride + (ptrdiff_t)head * PALME_HEAD,
                         job->k + head * job->k_head, job->v + head * job->v_head, &shape);
}

void palme_attention(struct palme_compute *c, float *out, const float *q, const float *k, const float *v,
                     const struct palme_attend *shape, int heads, ptrdiff_t k_head, ptrdiff_t v_head,
                     const float *slopes)
{
    /* The kernel prepares keys for the rows of a call: fewer than LEAST would not pay for it. Beyond 2600 keys the
     * stop question waits for them a little longer than elsewhere. */
    enum { LEAST = 30, MOST = 64 };
    double row_flops = 4.0 * PALME_HEAD * shape->keys;
    double step = PALME_STOP_FLOPS / row_flops;
    struct attention_job job = { c->kernels, shape, out, q, k, v, slopes, k_head, v_head, 1, 1 };

    job.step = step < LEAST ? LEAST : step > MOST ? MOST : (int)step;
    job.parts = (shape->rows + job.step - 1) / job.step;
    palme_parallel(c, heads * job.parts, row_flops * shape->rows * heads, attention_part, &job);
}
