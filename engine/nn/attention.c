/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention.c - all heads of an attention: they are cut into tasks of whole rows of queries, and each task has a
 * workspace of its own. The arithmetic is the kernel's.
 */
#include "nn/layers.h"

#include <stdatomic.h>

#include "base/util.h"

struct attention_job {
    void (*attend)(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape);
    char *workspaces;     /* of the threads */
    atomic_ullong in_use; /* a bit for each */
    const struct palme_attend *shape;
    float *out;
    const float *q, *k, *v, *slopes;
    ptrdiff_t k_head, v_head;
    int step, parts; /* query rows of a task; tasks of a head */
};

/* At a multiple of 64 in whatever memory it is. */
static char *aligned(void *memory)
{
    return (char *)memory + (64 - (uintptr_t)memory % 64) % 64;
}

size_t palme_attention_workspace(int threads, int width)
{
    return 64 + (size_t)threads * PALME_ATTEND_WORKSPACE(width);
}

/* There is a workspace for each thread, so one is free. */
static int workspace_take(struct attention_job *job)
{
    unsigned long long before = atomic_load(&job->in_use);

    while (!atomic_compare_exchange_weak(&job->in_use, &before, before | (before + 1)))
        ;
    return __builtin_ctzll(~before);
}

static void workspace_give(struct attention_job *job, int workspace)
{
    atomic_fetch_and(&job->in_use, ~(1ULL << workspace));
}

static void attention_part(void *user, int i)
{
    struct attention_job *job = user;
    struct palme_attend shape = *job->shape;
    int head = i / job->parts, row = i % job->parts * job->step;

    shape.rows = job->shape->rows - row < job->step ? job->shape->rows - row : job->step;
    shape.first += row;
    if (job->slopes)
        shape.slope = job->slopes[head];
    int workspace = workspace_take(job);
    shape.workspace = job->workspaces + (size_t)workspace * PALME_ATTEND_WORKSPACE(shape.width);
    job->attend(job->out + row * shape.out_stride + (ptrdiff_t)head * shape.width,
                job->q + row * shape.q_stride + (ptrdiff_t)head * shape.width, job->k + head * job->k_head,
                job->v + head * job->v_head, &shape);
    workspace_give(job, workspace);
}

void palme_attention(struct palme_compute *c, float *out, const float *q, const float *k, const float *v,
                     const struct palme_attend *shape, int heads, ptrdiff_t k_head, ptrdiff_t v_head,
                     const float *slopes)
{
    /* The kernel prepares keys for the rows of a call: fewer than LEAST would not pay for it. Beyond 2600 keys, 5200 of
     * whole numbers, the cancel callback waits for them a little longer than elsewhere. A single row waits for keys and
     * values. */
    enum { TOGETHER = 6, LEAST = 5 * TOGETHER, TASKS_EACH = 4 };
    const double product = shape->rounded ? 0.5 : 1; /* of whole numbers, what it costs beside one of floats */
    const int most = (shape->rounded ? PALME_INT16_ROWS : PALME_ATTEND_ROWS) / TOGETHER * TOGETHER;
    double row_flops = product * 4 * shape->width * shape->keys,
           read = PALME_READ_FLOPS * 2.0 * sizeof(float) * shape->width * shape->keys;
    double step = PALME_CANCEL_FLOPS / row_flops;
    double share = (double)shape->rows * heads / (TASKS_EACH * palme_compute_threads(c)); /* every thread has some */
    struct attention_job job = { .attend = shape->rounded ? c->kernels->attend_int16 : c->kernels->attend,
                                 .workspaces = aligned(c->workspace),
                                 .shape = shape,
                                 .out = out,
                                 .q = q,
                                 .k = k,
                                 .v = v,
                                 .slopes = slopes,
                                 .k_head = k_head,
                                 .v_head = v_head };

    step = step < share ? step : share;
    job.step = step < LEAST ? LEAST : step > most ? most : (int)step;
    job.parts = (shape->rows + job.step - 1) / job.step;
    job.step = ((shape->rows + job.parts - 1) / job.parts + TOGETHER - 1) / TOGETHER * TOGETHER; /* parts alike */
    job.parts = (shape->rows + job.step - 1) / job.step;
    double cost = row_flops * shape->rows > read ? row_flops * shape->rows : read;

    palme_parallel(c, heads * job.parts, cost * heads, attention_part, &job);
}
