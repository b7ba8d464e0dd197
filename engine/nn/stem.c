/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stem.c - the optional convolutional stem: an EfficientNet-Lite trunk in front of the ViT.
 *
 * Maps are [height][width][channels], so that a 1x1 convolution is a linear layer over the pixels and the
 * inner loop of a depthwise one runs over channels. Batch norm is folded into the weights; activations are
 * ReLU6; padding is TensorFlow's SAME, which for stride 2 is asymmetric.
 *
 * The map that `expand` makes is six times as wide as its input and never exists as a whole: a task of work
 * is a band of rows and a chunk of channels, and keeps a ring of the rows that the depthwise filter reads. The
 * ring moves down the band. Where maps are large and weights few, a chunk is all channels, the task goes on
 * to `project` while its rows are in the cache, and bands share the work at the price of computing the rows at
 * their borders twice. Where maps are small and weights many, a band is the whole map and chunks share the work:
 * no row is computed twice and each weight is read once. The numbers are the same either way.
 *
 * In int8 what ReLU6 leaves, between `expand` and `project`, is bytes, and the ring keeps four rows together, as
 * depthwise_bytes reads them (kernels.h). Blocks hand on floats.
 */
#include <string.h>

#include "base/arena.h"
#include "nn/loader.h"
#include "nn/model.h"
#include "io/safetensors.h"
#include "base/util.h"

/* ---- Loading ------------------------------------------------------------------------------ */

/* Kernel [out][in][size][size] to [size][size][in][out], as conv_rgb and depthwise read it; a
 * depthwise one has `in` 1. It is small enough for one task. */
static const float *load_kernel(struct palme_loader *l, const char *name, int out, int in, int size)
{
    struct palme_source_tensor source = palme_loader_require(l, name, 1, (int64_t[]){ out, in, size, size }, 4);
    int taps = size * size;
    float *w = palme_loader_take(l, (size_t)out * (size_t)in * (size_t)taps, sizeof *w);

    if (l->status < 0 || !w)
        return NULL;
    palme_loader_read_rows(l, l->rows, &source, 0, out);
    for (int o = 0; o < out; o++)
        for (int i = 0; i < in; i++)
            for (int t = 0; t < taps; t++)
                w[(t * in + i) * out + o] = l->rows[(o * in + i) * taps + t];
    return w;
}

/* Kernel [channels][1][size][size] to what depthwise_bytes reads. */
static const int8_t *load_taps(struct palme_loader *l, const char *name, int channels, int size, float **scale)
{
    struct palme_source_tensor source = palme_loader_require(l, name, 1, (int64_t[]){ channels, 1, size, size }, 4);
    size_t tasks = ((size_t)size + PALME_INTERLEAVED_ROWS - 1) / PALME_INTERLEAVED_ROWS,
           taps = (size_t)size * (size_t)size;
    size_t bytes = tasks * (size_t)size * (size_t)channels * PALME_INTERLEAVED_ROWS;
    int8_t *w = palme_loader_take(l, bytes, 1);
    float factor;

    *scale = palme_loader_take(l, (size_t)channels, sizeof **scale);
    if (l->status < 0 || !w)
        return NULL;
    palme_loader_read_rows(l, l->rows, &source, 0, channels);
    memset(w, 0, bytes);
    for (size_t c = 0; c < (size_t)channels; c++) {
        const float *kernel = l->rows + c * taps;

        (*scale)[c] = palme_quantization_scale(&factor, kernel, (int)taps);
        for (size_t t = 0; t < taps; t++) {
            size_t ky = t / (size_t)size, kx = t % (size_t)size;
            size_t at = (ky / PALME_INTERLEAVED_ROWS * (size_t)size + kx) * (size_t)channels + c;

            w[at * PALME_INTERLEAVED_ROWS + ky % PALME_INTERLEAVED_ROWS] = palme_quantize_value(kernel[t], factor);
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
    { 1, 3, 1, { 16, 16 }, { 1, 1 } },   { 6, 3, 2, { 24, 24 }, { 2, 3 } },   { 6, 5, 2, { 40, 48 }, { 2, 3 } },
    { 6, 3, 2, { 80, 88 }, { 3, 4 } },   { 6, 5, 1, { 112, 120 }, { 3, 4 } }, { 6, 5, 2, { 192, 208 }, { 4, 5 } },
    { 6, 3, 1, { 320, 352 }, { 1, 1 } },
};

static void load_block(struct palme_loader *l, struct palme_stem_block *block, int index)
{
    struct palme_name base = palme_name("stem.%d", index), kernel = palme_name("%s.depthwise.weight", base.text);
    int expands = block->middle != block->in;
    int flags = PALME_LOAD_BIAS | PALME_LOAD_POINTWISE | (expands ? PALME_LOAD_BYTES : 0);
    float *scale = NULL;

    if (expands)
        palme_load_linear(l, &block->expand, palme_name("%s.expand", base.text).text, block->middle, block->in, flags,
                          PALME_ACTIVATION_RELU6);
    if (expands && block->expand.precision == PALME_INT8)
        block->taps = load_taps(l, kernel.text, block->middle, block->size, &scale);
    else
        block->depthwise = load_kernel(l, kernel.text, block->middle, 1, block->size);
    block->taps_scale = scale;
    block->depthwise_bias = palme_load_bias(l, palme_name("%s.depthwise.bias", base.text).text, block->middle);
    palme_load_linear(l, &block->project, palme_name("%s.project", base.text).text, block->out, block->middle, flags,
                      PALME_ACTIVATION_NONE);
}

void palme_stem_load(struct palme_loader *l, struct palme_stem *stem)
{
    enum palme_stem_kind kind = l->config->stem;
    int wide = kind == PALME_STEM_LITE2, deep = kind != PALME_STEM_LITE0, in = PALME_STEM_FIRST;

    stem->blocks = 0;
    if (kind == PALME_STEM_NONE)
        return;
    stem->conv = load_kernel(l, "stem.conv.weight", PALME_STEM_FIRST, 3, 3);
    stem->conv_bias = palme_load_bias(l, "stem.conv.bias", PALME_STEM_FIRST);
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < stages[s].blocks[deep]; i++) {
            struct palme_stem_block *block = &stem->block[stem->blocks];

            block->in = in;
            block->middle = stages[s].expansion * in;
            block->out = stages[s].channels[wide];
            block->size = stages[s].size;
            block->stride = i == 0 ? stages[s].stride : 1;
            block->skip = block->stride == 1 && block->in == block->out;
            load_block(l, block, stem->blocks);
            in = block->out;
            stem->blocks++;
        }
    palme_load_linear(l, &stem->head, "stem.head", PALME_STEM_FEATURES, in,
                      PALME_LOAD_BIAS | PALME_LOAD_MANY | PALME_LOAD_POINTWISE, PALME_ACTIVATION_RELU6);
}

/* ---- Padding ------------------------------------------------------------------------------ */

/* Padding before the first pixel for `size` taps over m pixels in steps of `stride`. */
static int same_before(int m, int size, int stride)
{
    int total = ((m + stride - 1) / stride - 1) * stride + size - m;

    return total > 0 ? total / 2 : 0;
}

/* ---- How a block is cut ------------------------------------------------------------------- */

/* Sizes in floats of what stays in a cache, chosen by measurement on Zen 3 (L1 32 KiB, L2 512 KiB). */
enum {
    SMALL_MAP = 400000, /* an expanded map up to this is cut into chunks of channels, a larger one into bands */
    CHUNK_BYTES = 64,   /* channels of a chunk in bytes: a line, so that few lines are written by two threads */
    CHUNK_RING = 12288, /* the ring of a chunk: about the first cache */
    BAND_RING = 60000   /* the ring of a band: half of the second cache */
};

/* A block on a map of height x width. */
struct plan {
    int height, width, out_height, out_width;
    int bytes;                     /* what ReLU6 leaves is bytes */
    int fused;                     /* tasks go on to `project` */
    int bands, band;               /* how many, and output rows of one */
    int chunks, chunk;             /* how many, and channels of one */
    int step, ring;                /* output rows made at a time; expanded rows that are kept for this */
    size_t ring_size, narrow_size; /* floats of a task's ring; of all that `depthwise` makes in the scratch */
};

/* The most output rows at a time, at most `most`, whose expanded rows of `row` floats fit into `workspace`. */
static int steps_in(int workspace, int row, const struct palme_stem_block *block, int most)
{
    int step = (workspace / row - block->size) / block->stride + 1;

    return step < 1 ? 1 : min_int(step, most);
}

/* What the block multiplies and adds up to `depthwise`, and in `project`. */
static double flops_of(const struct plan *plan, const struct palme_stem_block *block, double *project)
{
    double pixels = (double)plan->height * plan->width, out = (double)plan->out_height * plan->out_width;
    int in = block->expand.w ? block->in : 27;

    *project = 2 * out * block->middle * block->out;
    return 2 * block->middle * (pixels * in + out * block->size * block->size);
}

/* Floats that as many values of a map take, of whole lines of channels. */
static size_t floats_of(const struct plan *plan, size_t values)
{
    return plan->bytes ? values / sizeof(float) : values;
}

static struct plan plan_of(const struct palme_stem_block *block, int height, int width, int threads)
{
    struct plan plan = { .height = height,
                         .width = width,
                         .out_height = div_up(height, block->stride),
                         .out_width = div_up(width, block->stride),
                         .bands = 1,
                         .chunks = 1,
                         .chunk = block->middle,
                         .bytes = block->taps != NULL };
    double project, flops = flops_of(&plan, block, &project);

    plan.fused = !block->expand.w || (double)height * width * block->middle > SMALL_MAP;
    if (plan.fused) {
        int bands = (int)((flops + project) / PALME_CANCEL_FLOPS) + 1;

        bands = min_int(bands > 2 * threads || threads < 2 ? bands : 2 * threads, plan.out_height);
        plan.band = div_up(plan.out_height, bands);
        plan.bands = div_up(plan.out_height, plan.band);
        plan.step = steps_in(BAND_RING, (int)floats_of(&plan, (size_t)(width * block->middle)), block, plan.band);
    } else {
        plan.band = plan.out_height;
        plan.chunk = min_int(plan.bytes ? CHUNK_BYTES : PALME_PANEL, block->middle);
        plan.chunks = div_up(block->middle, plan.chunk);
        plan.step = steps_in(CHUNK_RING, (int)floats_of(&plan, (size_t)(width * plan.chunk)), block, plan.band);
    }
    plan.ring = (plan.step - 1) * block->stride + block->size;
    if (plan.bytes) /* whole groups of rows, with rows before the first that is needed or behind the last */
        plan.ring = div_up(plan.ring + PALME_INTERLEAVED_ROWS - 1, PALME_INTERLEAVED_ROWS) * PALME_INTERLEAVED_ROWS;
    plan.ring_size = floats_of(&plan, (size_t)plan.ring * width * plan.chunk);
    plan.narrow_size = floats_of(&plan, (size_t)(plan.fused ? plan.bands * plan.step : plan.out_height) *
                                            plan.out_width * block->middle);
    return plan;
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* What one block works on, beside its input and its output. */
struct buffers {
    struct plan plan;
    float *rings;  /* [bands * chunks][ring_size] */
    float *narrow; /* [narrow_size]: what `depthwise` makes */
    float *mapped; /* [bands][3][picture's width][3]: rows of the picture, of the first block only */
    void *wide;    /* the block's input in the precision of `expand` */
    /* What `project` reads in its precision: all of it, or a part for each task that goes on to it. */
    char *workspace;
    size_t workspace_step; /* bytes of a task */
};

/* A picture's way through the stem. A block's buffers share memory with those of the other blocks. */
struct work {
    float *map[2]; /* what goes from block to block, by turns */
    struct buffers block[PALME_STEM_BLOCKS];
    void *head; /* the last map in the precision of the last layer */
};

static void lay_out_block(struct buffers *b, struct palme_arena *arena, const struct palme_model *model,
                          const struct palme_stem_block *block, int height, int width)
{
    const struct plan *plan = &b->plan;
    size_t tasks = (size_t)plan->bands * (size_t)plan->chunks;
    int pixels = (plan->fused ? plan->step : plan->out_height) * plan->out_width;

    b->rings = palme_arena_take(arena, tasks, plan->ring_size * sizeof(float));
    b->narrow = palme_arena_take(arena, plan->narrow_size, sizeof(float));
    b->mapped = palme_arena_take(arena, block->expand.w ? 0 : (size_t)plan->bands * 9, (size_t)width * sizeof(float));
    b->wide = palme_arena_take(arena, palme_linear_workspace(&model->kernels, &block->expand, height * plan->width), 1);
    b->workspace_step = plan->bytes ? 0 : palme_linear_workspace(&model->kernels, &block->project, pixels);
    b->workspace = palme_arena_take(arena, plan->fused ? (size_t)plan->bands : 1, b->workspace_step);
}

static void lay_out(struct work *work, struct palme_arena *arena, const struct palme_model *model, int height,
                    int width)
{
    const struct palme_stem *stem = &model->weights.encoder.stem;
    size_t map = 0, mark;
    int h = div_up(height, 2), w = div_up(width, 2);

    for (int i = 0; i < stem->blocks; i++) {
        struct plan *plan = &work->block[i].plan;

        *plan = plan_of(&stem->block[i], h, w, model->threads);
        h = plan->out_height;
        w = plan->out_width;
        map = max_size(map, (size_t)h * (size_t)w * (size_t)stem->block[i].out);
    }
    work->map[0] = palme_arena_take(arena, map, sizeof(float));
    work->map[1] = palme_arena_take(arena, map, sizeof(float));
    mark = arena->used;
    for (int i = 0; i < stem->blocks; i++) {
        lay_out_block(&work->block[i], arena, model, &stem->block[i], work->block[i].plan.height, width);
        palme_arena_rewind(arena, mark);
    }
    work->head = palme_arena_take(arena, palme_linear_workspace(&model->kernels, &stem->head, h * w), 1);
}

void palme_stem_reserve(struct palme_arena *arena, const struct palme_model *model, int height, int width)
{
    size_t mark = arena->used;
    struct work work;

    lay_out(&work, arena, model, height, width);
    palme_arena_rewind(arena, mark);
}

/* ---- A block ------------------------------------------------------------------------------ */

struct block_job {
    const struct palme_kernels *kernels;
    const struct palme_stem_block *block;
    const struct plan *plan;
    const struct buffers *buffers;
    float *y;       /* [out_height][out_width][out], where tasks go on to `project` */
    const float *x; /* [height][width][in], or of the first block the picture [pixel rows][pixel columns][3] */
    const struct palme_stem *stem; /* of the first block: its first convolution stands in for `expand` */
    int pixel_height, pixel_width;
    struct palme_rows wide; /* x in the precision of `expand` */
};

/* Row `row` of what the first convolution makes. */
static void conv_row(const struct block_job *job, float *y, int row, float *mapped)
{
    int width = job->pixel_width, first = row * 2 - same_before(job->pixel_height, 3, 2);
    const float *rows[3];

    for (int ky = 0; ky < 3; ky++) {
        const float *from = job->x + (size_t)(first + ky) * width * 3;
        float *to = mapped + (size_t)ky * width * 3;

        rows[ky] = NULL;
        if (first + ky < 0 || first + ky >= job->pixel_height)
            continue;
        for (int i = 0; i < width * 3; i++)
            to[i] = (255 * from[i] - 127) / 128;
        rows[ky] = to;
    }
    job->kernels->conv_rgb(y, rows, job->stem->conv, job->stem->conv_bias, job->plan->width, width,
                           same_before(width, 3, 2), job->block->middle);
}

/* The group of the ring that begins with row `row` of the map, a multiple of PALME_INTERLEAVED_ROWS and maybe one
 * before 0. */
static uint8_t *group_of(const struct plan *plan, uint8_t *ring, int row)
{
    int groups = plan->ring / PALME_INTERLEAVED_ROWS, group = (row / PALME_INTERLEAVED_ROWS + groups) % groups;

    return ring + (size_t)group * plan->width * plan->chunk * PALME_INTERLEAVED_ROWS;
}

/* Expanded rows of `count` channels from the channel `from` on, into their places in the ring: from `made` on, at least
 * up to `end`. Returns which one comes next. */
static int expand(const struct block_job *job, float *ring, int made, int end, int from, int count, float *mapped)
{
    const struct plan *plan = job->plan;
    int width = plan->width, rows;

    for (; made < end; made += rows) {
        int place = made % plan->ring;
        float *to = ring + (size_t)place * width * plan->chunk;

        rows = min_int(end - made, plan->ring - place);
        if (plan->bytes) {
            rows = PALME_INTERLEAVED_ROWS;
            palme_linear_part_to_bytes(job->kernels, group_of(plan, (uint8_t *)ring, made), &job->wide, made * width,
                                       min_int(rows, plan->height - made), width, width, &job->block->expand, from,
                                       count, plan->chunk);
        } else if (job->stem) {
            for (int row = 0; row < rows; row++)
                conv_row(job, to + (size_t)row * width * plan->chunk, made + row, mapped);
        } else {
            palme_linear_part(job->kernels, to, &job->wide, made * width, rows * width, &job->block->expand, from,
                              count, plan->chunk);
        }
    }
    return made;
}

/* The depthwise filter over the rows from `top` on, in floats. y receives some channels, the first of which is
 * `from`. */
static void filter(const struct block_job *job, float *y, const float *ring, int top, int from,
                   const struct palme_depthwise *shape)
{
    const struct plan *plan = job->plan;
    const float *x[5];

    for (int ky = 0; ky < shape->size; ky++)
        x[ky] = top + ky < 0 || top + ky >= plan->height
                    ? NULL
                    : ring + (size_t)((top + ky) % plan->ring) * plan->width * plan->chunk;
    job->kernels->depthwise(y, x, job->block->depthwise + from, job->block->depthwise_bias + from, shape);
}

/* The same in bytes. */
static void filter_bytes(const struct block_job *job, uint8_t *y, uint8_t *ring, int top, int from,
                         const struct palme_depthwise *shape)
{
    const struct palme_stem_block *block = job->block;
    int place = (top + PALME_INTERLEAVED_ROWS) % PALME_INTERLEAVED_ROWS, row = top - place;
    struct palme_depthwise_window x = {
        { group_of(job->plan, ring, row), group_of(job->plan, ring, row + PALME_INTERLEAVED_ROWS) }, place, 0
    };

    for (int ky = 0; ky < shape->size; ky++)
        x.inside |= (unsigned)(top + ky >= 0 && top + ky < job->plan->height) << ky;
    job->kernels->depthwise_bytes(y, &x, block->taps + (ptrdiff_t)from * PALME_INTERLEAVED_ROWS,
                                  block->taps_scale + from, block->depthwise_bias + from, shape);
}

/* What `project` reads, in bytes. */
static struct palme_rows bytes_of(const struct palme_stem_block *block, const float *narrow)
{
    return (struct palme_rows){ (const char *)narrow, (size_t)block->middle, NULL };
}

static void block_part(void *user, int i)
{
    const struct block_job *job = user;
    const struct plan *plan = job->plan;
    const struct palme_stem_block *block = job->block;
    int row = i / plan->chunks * plan->band, end = min_int(row + plan->band, plan->out_height);
    int from = i % plan->chunks * plan->chunk, count = min_int(block->middle - from, plan->chunk);
    int top = same_before(plan->height, block->size, block->stride), made = row * block->stride - top;
    float *ring = job->buffers->rings + i * plan->ring_size;
    float *mapped = job->stem ? job->buffers->mapped + (size_t)i * 9 * job->pixel_width : NULL;
    size_t out_row = (size_t)plan->out_width * block->middle;
    struct palme_depthwise shape = {
        .width = plan->out_width,
        .in_width = plan->width,
        .left = same_before(plan->width, block->size, block->stride),
        .channels = count,
        .size = block->size,
        .stride = block->stride,
        .y_stride = block->middle,
        .x_stride = plan->chunk,
        .w_stride = block->middle,
    };

    made = made < 0 ? 0 : plan->bytes ? made / PALME_INTERLEAVED_ROWS * PALME_INTERLEAVED_ROWS : made;
    for (; row < end; row += plan->step) {
        int rows = min_int(plan->step, end - row);
        int last = min_int((row + rows - 1) * block->stride - top + block->size, plan->height);
        float *narrow =
            job->buffers->narrow + floats_of(plan, (plan->fused ? (size_t)i * plan->step : (size_t)row) * out_row);

        made = expand(job, ring, made, last, from, count, mapped);
        for (int r = 0; r < rows; r++) {
            size_t at = r * out_row + from;
            int first = (row + r) * block->stride - top;

            if (plan->bytes)
                filter_bytes(job, (uint8_t *)narrow + at, (uint8_t *)ring, first, from, &shape);
            else
                filter(job, narrow + at, ring, first, from, &shape);
        }
        if (plan->fused) {
            size_t at = (size_t)row * plan->out_width * block->out;
            int pixels = rows * plan->out_width;
            char *workspace = job->buffers->workspace + i * job->buffers->workspace_step;
            struct palme_rows result =
                plan->bytes ? bytes_of(block, narrow)
                            : palme_quantize_rows_serial(job->kernels, workspace, narrow, &block->project, pixels);

            palme_linear_part(job->kernels, job->y + at, &result, 0, pixels, &block->project, 0, block->out,
                              block->out);
            if (block->skip)
                job->kernels->add(job->y + at, job->x + at, pixels * block->out);
        }
    }
}

static void run_block(struct palme_compute *c, struct block_job *job)
{
    const struct plan *plan = job->plan;
    const struct palme_stem_block *block = job->block;
    int pixels = plan->out_height * plan->out_width;
    double project, flops = flops_of(plan, block, &project);

    job->kernels = c->kernels;
    if (!job->stem)
        job->wide =
            palme_quantize_rows(c, job->buffers->wide, job->x, &block->expand, plan->height * plan->width, NULL);
    palme_parallel(c, plan->bands * plan->chunks, flops + (plan->fused ? project : 0), block_part, job);
    if (plan->fused)
        return;
    if (plan->bytes) {
        struct palme_rows narrow = bytes_of(block, job->buffers->narrow);

        palme_linear_rows(c, job->y, &narrow, &block->project, pixels);
    } else {
        c->workspace = job->buffers->workspace;
        palme_linear(c, job->y, job->buffers->narrow, &block->project, pixels);
    }
    if (block->skip)
        palme_add(c, job->y, job->x, pixels, block->out);
}

void palme_stem_run(const struct palme_model *model, struct palme_compute *c, float *features, const float *pixels,
                    int height, int width, struct palme_arena *scratch)
{
    const struct palme_stem *stem = &model->weights.encoder.stem;
    size_t mark = scratch->used;
    struct work work;

    lay_out(&work, scratch, model, height, width);
    for (int i = 0; i < stem->blocks; i++)
        run_block(c, &(struct block_job){ .block = &stem->block[i],
                                          .plan = &work.block[i].plan,
                                          .buffers = &work.block[i],
                                          .y = work.map[i % 2],
                                          .x = i == 0 ? pixels : work.map[1 - i % 2],
                                          .stem = i == 0 ? stem : NULL,
                                          .pixel_height = height,
                                          .pixel_width = width });
    const struct plan *last = &work.block[stem->blocks - 1].plan;

    c->workspace = work.head;
    palme_linear(c, features, work.map[(stem->blocks - 1) % 2], &stem->head, last->out_height * last->out_width);
    palme_arena_rewind(scratch, mark);
}
