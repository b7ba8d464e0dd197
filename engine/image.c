/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * image.c - scales a picture to a square by a separable triangle filter, row by row: a row of the
 * picture is scaled in width once, as it comes, and added to the rows of the square that it belongs
 * to. Packed RGB only; the YUV formats are not read here yet.
 */
#include "image.h"

#include <stdint.h>
#include <string.h>

enum {
    MAX_SIDE = 32768,
    OPEN_ROWS = 4 /* more than the rows of the square that a row of the picture adds to */
};

/* Where the red, green and blue bytes of a pixel are. */
struct layout {
    int bytes; /* of a pixel */
    int red, green, blue;
};

static const struct layout layouts[] = {
    [PALME_FORMAT_RGB] = { 3, 0, 1, 2 },  [PALME_FORMAT_RGBX] = { 4, 0, 1, 2 },
    [PALME_FORMAT_BGRX] = { 4, 2, 1, 0 }, [PALME_FORMAT_XRGB] = { 4, 1, 2, 3 },
    [PALME_FORMAT_XBGR] = { 4, 3, 2, 1 }, [PALME_FORMAT_BGR] = { 3, 2, 1, 0 },
    [PALME_FORMAT_GRAY8] = { 1, 0, 0, 0 },
};

const char *palme_image_problem(const struct palme_image *image)
{
    ptrdiff_t row, limit = PTRDIFF_MAX / MAX_SIDE;

    if (!image)
        return "there is no picture";
    switch (image->format) {
    case PALME_FORMAT_I420: return "the format I420 is not read yet: convert to RGB";
    case PALME_FORMAT_NV12: return "the format NV12 is not read yet: convert to RGB";
    case PALME_FORMAT_YUY2: return "the format YUY2 is not read yet: convert to RGB";
    default: break;
    }
    if ((int)image->format < 0 || (size_t)image->format >= sizeof layouts / sizeof layouts[0])
        return "the pixel format is unknown";
    if (image->width < 1 || image->height < 1)
        return "the picture's width or height is below 1";
    if (image->width > MAX_SIDE || image->height > MAX_SIDE)
        return "the picture's width or height is above 32768";
    if (!image->planes[0])
        return "the picture's first plane is NULL";
    row = (ptrdiff_t)image->width * layouts[image->format].bytes;
    if (image->height > 1 && image->strides[0] < row && image->strides[0] > -row)
        return "the picture's stride is shorter than its rows";
    if (image->strides[0] > limit || image->strides[0] < -limit)
        return "the picture's stride is too large";
    return NULL;
}

/* One side of the filter: how n places on the square see `length` pixels. */
struct axis {
    double step;    /* pixels of the picture for one of the square */
    double support; /* reach of the triangle in pixels of the picture */
    int length;
};

static struct axis axis_of(int length, int size)
{
    double step = (double)length / size;
    return (struct axis){ step, step > 1 ? step : 1, length };
}

/* The pixels first..end-1 that place i sees; there is always one. */
static void window(int *first, int *end, const struct axis *axis, int i)
{
    double centre = (i + 0.5) * axis->step;
    double low = centre - axis->support + 0.5, high = centre + axis->support + 0.5;
    *first = low > 0 ? (int)low : 0;
    *end = high < axis->length ? (int)high : axis->length;
}

/* Weight of pixel k at place i, before the weights of a place are divided by their sum. */
static double weight(const struct axis *axis, int i, int k)
{
    double distance = (k + 0.5 - (i + 0.5) * axis->step) / axis->support;
    if (distance < 0)
        distance = -distance;
    return distance < 1 ? 1 - distance : 0;
}

static double weight_sum(const struct axis *axis, int i)
{
    int first, end;
    double sum = 0;
    window(&first, &end, axis, i);
    for (int k = first; k < end; k++)
        sum += weight(axis, i, k);
    return sum;
}

/* A window spans at most 2 * support + 1 pixels, so those of all places together span at most
 * max(2 * length, 2 * size) + size. */
static size_t most_weights(int size)
{
    return 2 * (size_t)MAX_SIDE + 3 * (size_t)size;
}

/* The scratch, cut into pieces. */
struct work {
    double *sums[OPEN_ROWS]; /* each [size * 3]: rows of the square */
    float *rows[2];          /* each [size * 3]: rows of the picture, scaled in width */
    float *weights;          /* of place 0, of place 1, ... */
    int *first, *taps;       /* [size]: the window of each place */
};

static size_t lay_out(struct work *work, void *scratch, int size)
{
    size_t n = (size_t)size, used = 0;
    char *base = scratch;
    if (work) {
        for (int i = 0; i < OPEN_ROWS; i++)
            work->sums[i] = (double *)base + (size_t)i * n * 3;
    }
    used += OPEN_ROWS * n * 3 * sizeof(double);
    if (work) {
        work->rows[0] = (float *)(base + used);
        work->rows[1] = work->rows[0] + n * 3;
    }
    used += 2 * n * 3 * sizeof(float);
    if (work)
        work->weights = (float *)(base + used);
    used += most_weights(size) * sizeof(float);
    if (work) {
        work->first = (int *)(base + used);
        work->taps = work->first + n;
    }
    return used + 2 * n * sizeof(int);
}

size_t palme_image_scratch(int size)
{
    return lay_out(NULL, NULL, size);
}

static void prepare_columns(struct work *work, const struct axis *axis, int size)
{
    float *w = work->weights;
    for (int i = 0; i < size; i++) {
        double sum = weight_sum(axis, i);
        int end;
        window(&work->first[i], &end, axis, i);
        work->taps[i] = end - work->first[i];
        for (int k = work->first[i]; k < end; k++)
            *w++ = (float)(weight(axis, i, k) / sum);
    }
}

/* out[size][3] = one row of the picture, scaled in width. The sums are in double: a window may have
 * 32768 pixels. */
static void scale_row(float *out, const struct work *work, const uint8_t *row,
                      const struct layout *layout, int size)
{
    const float *w = work->weights;
    const int bytes = layout->bytes;
    for (int i = 0; i < size; i++, out += 3) {
        const uint8_t *red = row + (ptrdiff_t)work->first[i] * bytes + layout->red;
        const uint8_t *green = red + (layout->green - layout->red);
        const uint8_t *blue = red + (layout->blue - layout->red);
        double r = 0, g = 0, b = 0;
        ptrdiff_t at = 0;
        for (int k = work->taps[i]; k > 0; k--, at += bytes, w++) {
            r += (double)*w * red[at];
            g += (double)*w * green[at];
            b += (double)*w * blue[at];
        }
        out[0] = (float)r;
        out[1] = (float)g;
        out[2] = (float)b;
    }
}

static void add_row(double *sums, const float *row, double w, int count)
{
    for (int i = 0; i < count; i++)
        sums[i] += w * (double)row[i];
}

static void round_row(uint8_t *out, const double *sums, int count)
{
    for (int i = 0; i < count; i++) {
        double v = sums[i] + 0.5;
        out[i] = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
    }
}

void palme_image_resize(uint8_t *out, const struct palme_image *image, int size, void *scratch)
{
    const struct layout *layout = &layouts[image->format];
    const struct axis across = axis_of(image->width, size), down = axis_of(image->height, size);
    const size_t count = (size_t)size * 3;
    double sum[OPEN_ROWS];
    struct work work;
    int begun = 0, done = 0; /* rows done..begun-1 of the square are being added to */

    lay_out(&work, scratch, size);
    prepare_columns(&work, &across, size);
    for (int y = 0; y < image->height; y++) {
        float *row = work.rows[y & 1];
        int first, end;

        scale_row(row, &work, image->planes[0] + y * image->strides[0], layout, size);
        if (down.step <= 1) {
            /* Enlarged: a row of the square sees at most two rows, this one and the one before. */
            for (; done < size; done++) {
                window(&first, &end, &down, done);
                if (end > y + 1)
                    break;
                memset(work.sums[0], 0, count * sizeof(double));
                for (int k = first; k < end; k++)
                    add_row(work.sums[0], work.rows[k & 1],
                            weight(&down, done, k) / weight_sum(&down, done), (int)count);
                round_row(out + (size_t)done * count, work.sums[0], (int)count);
            }
            continue;
        }
        /* Reduced: this row adds to two rows of the square, or three where rounding has it so. */
        for (; begun < size && begun - done < OPEN_ROWS; begun++) {
            window(&first, &end, &down, begun);
            if (first > y)
                break;
            memset(work.sums[begun % OPEN_ROWS], 0, count * sizeof(double));
            sum[begun % OPEN_ROWS] = weight_sum(&down, begun);
        }
        for (int i = done; i < begun; i++)
            add_row(work.sums[i % OPEN_ROWS], row, weight(&down, i, y) / sum[i % OPEN_ROWS],
                    (int)count);
        for (; done < begun; done++) {
            window(&first, &end, &down, done);
            if (end > y + 1)
                break;
            round_row(out + (size_t)done * count, work.sums[done % OPEN_ROWS], (int)count);
        }
    }
}
