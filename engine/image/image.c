/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * image.c - scales a picture to a square by a separable filter, and makes RGB of it.
 *
 * A row of the square is the weighted sum of some rows of the picture, taken as the bytes stand in memory;
 * then it is scaled in width; then its few pixels become RGB. All three are linear, so their order does not
 * matter to the result, and this one does the least work: no picture of the full size is ever converted.
 * A colour sample that stands for several pixels has the sum of their weights, so that subsampled planes are
 * scaled as if each pixel had a copy of its sample.
 */
#include "image/image.h"

#include "base/util.h"
#include "image/axis.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    GROUP = PALME_ROWS_HELD, /* rows that are summed in one go */
    CHUNK = 512,             /* pixels of them that are put over white in one go: they stay in the first cache */
    MAX_PLANES = 3
};

/* How the bytes of a row become three rows of one colour each. */
enum kind {
    PACKED, /* samples of several bytes: red, green and blue are where `place` says */
    GRAY,   /* one plane, which is all three */
    PLANAR, /* a plane for each */
    PAIRED, /* the second plane alternates between the second and third colour */
    STRIPED /* Y U Y V */
};

/* What a sample of a plane is. */
struct plane {
    int bytes;
    int across, down; /* pixels that it stands for */
};

struct layout {
    enum kind kind;
    int yuv;
    int planes;
    struct plane plane[MAX_PLANES];
    int place[3];
    int alpha; /* its byte of a pixel, counted from 1; 0: the format has none */
};

static const struct layout layouts[] = {
    [PALME_FORMAT_RGB] = { PACKED, 0, 1, { { 3, 1, 1 } }, { 0, 1, 2 }, 0 },
    [PALME_FORMAT_RGBX] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 0, 1, 2 }, 0 },
    [PALME_FORMAT_BGRX] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 2, 1, 0 }, 0 },
    [PALME_FORMAT_XRGB] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 1, 2, 3 }, 0 },
    [PALME_FORMAT_XBGR] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 3, 2, 1 }, 0 },
    [PALME_FORMAT_BGR] = { PACKED, 0, 1, { { 3, 1, 1 } }, { 2, 1, 0 }, 0 },
    [PALME_FORMAT_GRAY8] = { GRAY, 0, 1, { { 1, 1, 1 } }, { 0 }, 0 },
    [PALME_FORMAT_I420] = { PLANAR, 1, 3, { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 2, 2 } }, { 0 }, 0 },
    [PALME_FORMAT_NV12] = { PAIRED, 1, 2, { { 1, 1, 1 }, { 2, 2, 2 } }, { 0 }, 0 },
    [PALME_FORMAT_YUY2] = { STRIPED, 1, 1, { { 4, 2, 1 } }, { 0 }, 0 },
    [PALME_FORMAT_RGBA] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 0, 1, 2 }, 4 },
    [PALME_FORMAT_BGRA] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 2, 1, 0 }, 4 },
    [PALME_FORMAT_ARGB] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 1, 2, 3 }, 1 },
    [PALME_FORMAT_ABGR] = { PACKED, 0, 1, { { 4, 1, 1 } }, { 3, 2, 1 }, 1 },
};

static const char *plane_problem(const struct palme_image *image, int p)
{
    const struct plane *plane = &layouts[image->format].plane[p];
    ptrdiff_t row = (ptrdiff_t)palme_axis_samples(image->width, plane->across) * plane->bytes;
    ptrdiff_t stride = image->strides[p], limit = PTRDIFF_MAX / PALME_MAX_SIDE;

    if (!image->planes[p])
        return p == 0   ? "the picture's first plane is NULL"
               : p == 1 ? "the picture's second plane is NULL"
                        : "the picture's third plane is NULL";
    if (palme_axis_samples(image->height, plane->down) > 1 && stride < row && stride > -row)
        return "the picture's stride is shorter than its rows";
    if (stride > limit || stride < -limit)
        return "the picture's stride is too large";
    return NULL;
}

const char *palme_image_problem(const struct palme_image *image)
{
    const char *problem = NULL;

    if (!image)
        return "there is no picture";
    if ((int)image->format < 0 || (size_t)image->format >= sizeof layouts / sizeof layouts[0])
        return "the pixel format is unknown";
    if (!all_zero(image->reserved, sizeof image->reserved))
        return "reserved members are not zero";
    if (image->width < 1 || image->height < 1)
        return "the picture's width or height is below 1";
    if (image->width > PALME_MAX_SIDE || image->height > PALME_MAX_SIDE)
        return "the picture's width or height is above 32768";
    if (image->row && layouts[image->format].planes > 1)
        return "a picture of several planes cannot be read by rows";
    for (int p = 0; p < layouts[image->format].planes && !problem && !image->row; p++)
        problem = plane_problem(image, p);
    if (problem || !layouts[image->format].yuv)
        return problem;
    if ((int)image->matrix < PALME_MATRIX_BT601 || image->matrix > PALME_MATRIX_BT2020)
        return "the colour matrix is unknown";
    if ((int)image->range < PALME_RANGE_LIMITED || image->range > PALME_RANGE_FULL)
        return "the colour range is unknown";
    return NULL;
}

/* ---- The filter ----------------------------------------------------------------------------- */

/* Both sides of a picture. Of the longer one a crop keeps the middle. */
static void axes_of(struct palme_axis *across, struct palme_axis *down, const struct palme_image *image,
                    const struct palme_scaling *scaling)
{
    int width = scaling->side, height = scaling->side;

    if (scaling->rule == PALME_RESIZE_CROP && image->width > image->height)
        width = (int)((int64_t)scaling->side * image->width / image->height);
    else if (scaling->rule == PALME_RESIZE_CROP)
        height = (int)((int64_t)scaling->side * image->height / image->width);
    *across = palme_axis_of(image->width, width, scaling->filter);
    *down = palme_axis_of(image->height, height, scaling->filter);
    across->skip = (width - scaling->size) / 2;
    down->skip = (height - scaling->size) / 2;
}

/* ---- Memory --------------------------------------------------------------------------------- */

/* The weights of all places in width: as many for each, zeros where it sees less. */
struct columns {
    float *weights; /* [size][taps], or their high parts */
    float *low;     /* [size][taps]: the rest of them */
    int *first;     /* [size] */
    int taps;
};

/* What a picture is scaled with. */
struct work {
    float *row;                /* [PALME_MAX_SIDE * 4]: a row of a plane as it stands in memory, summed */
    float *colour[3];          /* each [PALME_MAX_SIDE + 2 PALME_TAPS_STEP]: the same, one colour each */
    float *low[3];             /* the same as `colour`, with the low parts of weights */
    float *scaled[3];          /* each [size] */
    float *scaled_low;         /* [size] */
    struct columns columns[2]; /* for samples of one pixel and of two */
    uint8_t *flat;             /* [GROUP][CHUNK * 4]: pixels over white */
    uint8_t *ring;             /* [rows that a place sees][size][3] of a filter in two passes */
    float *sums, *sums_low;    /* each [3 size] */
};

static void lay_out(struct work *work, struct palme_arena *arena, const struct palme_scaling *scaling)
{
    size_t n = (size_t)scaling->size, wide = scaling->filter == PALME_FILTER_BICUBIC ? 2 : 1;
    int two = scaling->filter != PALME_FILTER_TRIANGLE;

    work->row = palme_arena_take(arena, 4 * PALME_MAX_SIDE, sizeof(float));
    for (int c = 0; c < 3; c++)
        work->colour[c] = palme_arena_take(arena, PALME_MAX_SIDE + 2 * PALME_TAPS_STEP, sizeof(float));
    for (int c = 0; c < 3; c++)
        work->low[c] = palme_arena_take(arena, two ? PALME_MAX_SIDE + 2 * PALME_TAPS_STEP : 0, sizeof(float));
    for (int c = 0; c < 3; c++)
        work->scaled[c] = palme_arena_take(arena, n, sizeof(float));
    work->scaled_low = palme_arena_take(arena, two ? n : 0, sizeof(float));
    for (int b = 0; b < 2; b++) {
        /* A window spans at most 2 * support + 1 pixels and no more than PALME_MAX_SIDE, one sample more than that
         * divided by the block, and is padded to whole steps: */
        size_t most = 2 * wide * PALME_MAX_SIDE + (2 + 2 * wide + PALME_TAPS_STEP) * n;

        work->columns[b].weights = palme_arena_take(arena, most, sizeof(float));
        /* Samples of two pixels are those of YUV, whose weights are whole. */
        work->columns[b].low = palme_arena_take(arena, two && b == 0 ? most : 0, sizeof(float));
        work->columns[b].first = palme_arena_take(arena, n, sizeof(int));
    }
    work->flat = palme_arena_take(arena, (size_t)GROUP * CHUNK * 4, 1);
    /* 2 * support + 1 rows, as many pixels as the step is for each of at least n places. */
    work->ring = palme_arena_take(arena, two ? 2 * wide * (PALME_MAX_SIDE + n) + 2 * n : 0, 3);
    work->sums = palme_arena_take(arena, two ? 3 * n : 0, sizeof(float));
    work->sums_low = palme_arena_take(arena, two ? 3 * n : 0, sizeof(float));
}

void palme_image_reserve(struct palme_arena *arena, const struct palme_scaling *scaling)
{
    size_t mark = arena->used;
    struct work work;

    lay_out(&work, arena, scaling);
    palme_arena_rewind(arena, mark);
}

/* ---- The work ------------------------------------------------------------------------------- */

static void prepare_columns(struct columns *columns, const struct palme_axis *axis, int size, int exact)
{
    int most = 0, count = palme_axis_samples(axis->length, axis->block);
    size_t at = 0;

    for (int i = 0; i < size; i++) {
        struct palme_axis_window window = palme_axis_window_of(axis, i);
        most = window.end - window.first > most ? window.end - window.first : most;
    }
    columns->taps = palme_axis_samples(most, PALME_TAPS_STEP) * PALME_TAPS_STEP;
    for (int i = 0; i < size; i++) {
        struct palme_axis_window window = palme_axis_window_of(axis, i);
        double factor = 1 / window.sum;
        int first = window.first < count - columns->taps ? window.first : count - columns->taps;

        /* Near the end of the row a span begins earlier, so that it ends with the row. */
        first = first > 0 ? first : 0;
        columns->first[i] = first;
        for (int k = first; k < first + columns->taps; k++, at++) {
            int seen = k >= window.first && k < window.end;
            double weight = seen ? palme_axis_sample_weight(axis, &window, k) * factor : 0;

            columns->weights[at] = palme_axis_part_of(weight, exact ? PALME_AXIS_HIGH : PALME_AXIS_WHOLE);
            if (exact)
                columns->low[at] = palme_axis_part_of(weight, PALME_AXIS_LOW);
        }
    }
}

/* kernels->filter_vertical for rows with alpha, seen over white. Pixels are put over it before anything is averaged, so
 * that the colour of what cannot be seen has no part in the result; where all are opaque nothing is done. */
static void sum_over_white(float *y, const struct work *work, const struct palme_kernels *kernels,
                           const struct palme_image *image, const uint8_t *const rows[], const float *weights,
                           int count, int more)
{
    const int alpha = layouts[image->format].alpha - 1;

    for (int x = 0; x < image->width; x += CHUNK) {
        const uint8_t *parts[GROUP];
        int n = image->width - x < CHUNK ? image->width - x : CHUNK;

        for (int k = 0; k < count; k++) {
            uint8_t *flat = work->flat + (size_t)k * CHUNK * 4;

            parts[k] = rows[k] + (ptrdiff_t)x * 4;
            if (kernels->opaque(parts[k], alpha, n))
                continue;
            kernels->over_white(flat, parts[k], alpha, image->premultiplied, n);
            parts[k] = flat;
        }
        kernels->filter_vertical(y + (ptrdiff_t)x * 4, parts, weights, count, n * 4, more);
    }
}

/* y[n] = the bytes of plane p at place i in height, with this part of the weights. Returns the work in FLOP. */
static double sum_plane(float *y, const struct work *work, const struct palme_kernels *kernels,
                        const struct palme_image *image, int p, const struct palme_axis *down, int i,
                        enum palme_axis_part part)
{
    const struct plane *plane = &layouts[image->format].plane[p];
    const int n = palme_axis_samples(image->width, plane->across) * plane->bytes;
    const struct palme_axis axis = palme_axis_in_blocks(*down, plane->down);
    struct palme_axis_window window = palme_axis_window_of(&axis, i);
    const double factor = 1 / window.sum;

    while (window.end > window.first + 1 && palme_axis_sample_weight(&axis, &window, window.end - 1) == 0)
        window.end--;
    for (int first = window.first; first < window.end; first += GROUP) {
        const uint8_t *rows[GROUP];
        float weights[GROUP];
        int count = window.end - first < GROUP ? window.end - first : GROUP;

        for (int k = 0; k < count; k++) {
            rows[k] = image->row ? image->row(image->row_user, first + k)
                                 : image->planes[p] + (first + k) * image->strides[p];
            weights[k] = palme_axis_part_of(palme_axis_sample_weight(&axis, &window, first + k) * factor, part);
        }
        if (layouts[image->format].alpha)
            sum_over_white(y, work, kernels, image, rows, weights, count, first > window.first);
        else
            kernels->filter_vertical(y, rows, weights, count, n, first > window.first);
    }
    return 2.0 * n * (window.end - window.first);
}

/* Row i of the square as three rows of one colour each, with this part of the weights; returns the work in FLOP. Only
 * rows of PACKED and GRAY have parts. */
static double sum_colours(float *colour[3], const struct work *work, const struct palme_kernels *kernels,
                          const struct palme_image *image, const struct palme_axis *down, int i,
                          enum palme_axis_part part)
{
    const struct layout *layout = &layouts[image->format];
    const int half = palme_axis_samples(image->width, 2);
    float *to[4] = { NULL };
    double flops;

    for (int c = 0; c < 3; c++)
        colour[c] = part == PALME_AXIS_LOW ? work->low[c] : work->colour[c];
    switch (layout->kind) {
    case PACKED:
        for (int c = 0; c < 3; c++)
            to[layout->place[c]] = colour[c];
        flops = sum_plane(work->row, work, kernels, image, 0, down, i, part);
        kernels->deinterleave(to, work->row, layout->plane[0].bytes, image->width);
        return flops;
    case PAIRED:
        to[0] = work->colour[1];
        to[1] = work->colour[2];
        flops = sum_plane(work->colour[0], work, kernels, image, 0, down, i, part);
        flops += sum_plane(work->row, work, kernels, image, 1, down, i, part);
        kernels->deinterleave(to, work->row, 2, half);
        return flops;
    case STRIPED:
        /* First Y from both others, then those from each other. */
        to[0] = work->colour[0];
        to[1] = work->colour[1];
        flops = sum_plane(work->row, work, kernels, image, 0, down, i, part);
        kernels->deinterleave(to, work->row, 2, 2 * half);
        to[0] = work->colour[2];
        to[1] = work->colour[2] + half + PALME_TAPS_STEP;
        kernels->deinterleave(to, work->colour[1], 2, half);
        colour[1] = to[0];
        colour[2] = to[1];
        return flops;
    default:
        flops = 0;
        for (int p = 0; p < layout->planes; p++)
            flops += sum_plane(colour[p], work, kernels, image, p, down, i, part);
        return flops;
    }
}

/* RGB = m (x, 1), all in 0..255. */
static void colours_of(float m[3][4], const struct palme_image *image)
{
    static const struct {
        double red, blue; /* their part in the luma */
    } matrices[] = {
        [PALME_MATRIX_BT601] = { 0.299, 0.114 },
        [PALME_MATRIX_BT709] = { 0.2126, 0.0722 },
        [PALME_MATRIX_BT2020] = { 0.2627, 0.0593 },
    };

    for (int c = 0; c < 3; c++)
        for (int k = 0; k < 4; k++)
            m[c][k] = c == k;
    if (!layouts[image->format].yuv)
        return;
    const double red = matrices[image->matrix].red, blue = matrices[image->matrix].blue;
    const double green = 1 - red - blue;
    const int limited = image->range == PALME_RANGE_LIMITED;
    const double luma = limited ? 255.0 / 219 : 1, chroma = limited ? 255.0 / 224 : 1;
    const double u[3] = { 0, -2 * blue * (1 - blue) / green * chroma, 2 * (1 - blue) * chroma };
    const double v[3] = { 2 * (1 - red) * chroma, -2 * red * (1 - red) / green * chroma, 0 };
    for (int c = 0; c < 3; c++) {
        m[c][0] = (float)luma;
        m[c][1] = (float)u[c];
        m[c][2] = (float)v[c];
        m[c][3] = (float)(-luma * (limited ? 16 : 0) - 128 * (u[c] + v[c]));
    }
}

/* What a picture becomes a square by. */
struct job {
    struct palme_compute *compute;
    const struct palme_image *image;
    struct work work;
    struct palme_axis across, down;
    float colours[3][4];
    int size, one; /* one: a single plane is all three colours */
    int exact;     /* Pillow's bytes: sums are of two parts, and rounded after each side */
    int rounding;  /* what was summed in height is rounded before it is in width, if exact */
    double flops;  /* since the cancel callback was asked */
};

/* Whether Pillow (13) scales in height first: it would leave so much less to do in width. */
static int height_first(const struct palme_axis *across, const struct palme_axis *down)
{
    return down->length > down->scaled && down->length - down->scaled > 2 * (across->length - across->scaled);
}

/* What is summed in height so far, rounded. */
static void round_colours(struct job *job, float *colour[3], const struct palme_axis *down, int i, int n)
{
    float *low[3];

    job->flops += sum_colours(low, &job->work, job->compute->kernels, job->image, down, i, PALME_AXIS_LOW);
    for (int c = 0; c < (job->one ? 1 : 3); c++)
        for (int x = 0; x < n; x++)
            colour[c][x] = palme_axis_byte_of(colour[c][x], low[c][x]);
}

/* Colour c of the picture's row, scaled in width with Pillow's weights, as bytes of out[size][3]. */
static void put_bytes(struct job *job, uint8_t *out, const float *row, int c)
{
    const struct palme_kernels *kernels = job->compute->kernels;
    const struct columns *columns = &job->work.columns[0];
    float *low = job->work.scaled_low;

    kernels->filter_horizontal(low, row, columns->low, columns->first, columns->taps, job->size);
    for (int x = 0; x < job->size; x++)
        out[3 * x + c] = palme_axis_byte_of(job->work.scaled[c][x], low[x]);
    for (int x = 0; x < job->size && job->one; x++)
        out[3 * x + 1] = out[3 * x + 2] = out[3 * x];
}

/* out[size][3] = row i of what the axis `down` makes of the picture, scaled in width. */
static void make_row(struct job *job, uint8_t *out, const struct palme_axis *down, int i)
{
    const struct palme_kernels *kernels = job->compute->kernels;
    const int subsampled = layouts[job->image->format].yuv;
    float *colour[3];

    job->flops +=
        sum_colours(colour, &job->work, kernels, job->image, down, i, job->exact ? PALME_AXIS_HIGH : PALME_AXIS_WHOLE);
    if (job->exact && job->rounding)
        round_colours(job, colour, down, i, job->image->width);
    for (int c = 0; c < (job->one ? 1 : 3); c++) {
        const struct columns *columns = &job->work.columns[subsampled && c > 0];
        int n = palme_axis_samples(job->image->width, subsampled && c > 0 ? 2 : 1);

        /* A row shorter than a span is read past its end, where weights are zero: what stands there must
         * not be NaN. */
        memset(colour[c] + n, 0, PALME_TAPS_STEP * sizeof(float));
        kernels->filter_horizontal(job->work.scaled[c], colour[c], columns->weights, columns->first, columns->taps,
                                   job->size);
        if (job->exact)
            put_bytes(job, out, colour[c], c);
    }
    if (!job->exact)
        kernels->colour(out, (const float *const *)job->work.scaled, (const float(*)[4])job->colours, job->size);
}

static int is_cancelled(struct job *job)
{
    if (job->flops < PALME_CANCEL_FLOPS)
        return 0;
    job->flops = 0;
    return palme_compute_cancelled(job->compute);
}

/* Row by row, each first in height. */
static int run_once(struct job *job, uint8_t *out)
{
    for (int i = 0; i < job->size; i++) {
        make_row(job, out + (size_t)i * (size_t)job->size * 3, &job->down, i);
        if (is_cancelled(job))
            return PALME_ERROR_CANCELLED;
    }
    return PALME_OK;
}

/* First all rows in width, each of them rounded, then the columns of those, as Pillow does it. A ring holds the rows
 * that the next place sees. */
static int run_twice(struct job *job, uint8_t *out)
{
    const struct palme_kernels *kernels = job->compute->kernels;
    const struct palme_axis same = palme_axis_of(job->image->height, job->image->height, PALME_FILTER_TRIANGLE);
    const size_t bytes = (size_t)job->size * 3;
    int capacity = 0, next = -1;

    for (int i = 0; i < job->size; i++) {
        struct palme_axis_window window = palme_axis_window_of(&job->down, i);
        capacity = window.end - window.first > capacity ? window.end - window.first : capacity;
    }
    for (int i = 0; i < job->size; i++, out += bytes) {
        struct palme_axis_window window = palme_axis_window_of(&job->down, i);

        for (next = next > window.first ? next : window.first; next < window.end; next++) {
            make_row(job, job->work.ring + (size_t)(next % capacity) * bytes, &same, next);
            if (is_cancelled(job))
                return PALME_ERROR_CANCELLED;
        }
        for (int first = window.first; first < window.end; first += GROUP) {
            const uint8_t *rows[GROUP];
            float high[GROUP], low[GROUP];
            int count = window.end - first < GROUP ? window.end - first : GROUP;

            for (int k = 0; k < count; k++) {
                double weight = palme_axis_pixel_weight(&job->down, window.centre, first + k) * (1 / window.sum);

                rows[k] = job->work.ring + (size_t)((first + k) % capacity) * bytes;
                high[k] = palme_axis_part_of(weight, PALME_AXIS_HIGH);
                low[k] = palme_axis_part_of(weight, PALME_AXIS_LOW);
            }
            kernels->filter_vertical(job->work.sums, rows, high, count, (int)bytes, first > window.first);
            kernels->filter_vertical(job->work.sums_low, rows, low, count, (int)bytes, first > window.first);
        }
        job->flops += 4.0 * (double)bytes * (window.end - window.first);
        for (size_t x = 0; x < bytes; x++)
            out[x] = palme_axis_byte_of(job->work.sums[x], job->work.sums_low[x]);
    }
    return PALME_OK;
}

int palme_image_resize(struct palme_compute *compute, uint8_t *out, const struct palme_image *image,
                       const struct palme_scaling *scaling, struct palme_arena *scratch)
{
    const size_t mark = scratch->used;
    struct job job = { .compute = compute, .image = image, .size = scaling->size };

    lay_out(&job.work, scratch, scaling);
    palme_arena_rewind(scratch, mark); /* nobody else takes from it during this call */
    job.one = layouts[image->format].kind == GRAY;
    if (job.one)
        job.work.scaled[1] = job.work.scaled[2] = job.work.scaled[0];
    colours_of(job.colours, image);
    /* What is a square already, perhaps by palme_preprocess, stays as it is. */
    if (image->width == scaling->size && image->height == scaling->size)
        axes_of(&job.across, &job.down, image,
                &(struct palme_scaling){ scaling->size, PALME_RESIZE_SQUASH, scaling->filter, scaling->size });
    else
        axes_of(&job.across, &job.down, image, scaling);
    /* Of other formats no one knows Pillow's bytes. */
    job.exact = scaling->filter != PALME_FILTER_TRIANGLE && !layouts[image->format].yuv;
    prepare_columns(&job.work.columns[0], &job.across, scaling->size, job.exact);
    if (layouts[image->format].yuv) {
        struct palme_axis halves = palme_axis_in_blocks(job.across, 2);

        prepare_columns(&job.work.columns[1], &halves, scaling->size, 0);
    }
    if (scaling->filter == PALME_FILTER_TRIANGLE)
        return run_once(&job, out);
    job.rounding = height_first(&job.across, &job.down);
    return job.rounding ? run_once(&job, out) : run_twice(&job, out);
}
