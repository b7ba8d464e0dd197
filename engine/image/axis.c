/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * axis.c - the triangle and the cubic filter (a = -0.5), widened where a picture is made smaller, as Pillow has them.
 */
#include "image/axis.h"

int palme_axis_samples(int pixels, int each)
{
    return (pixels + each - 1) / each;
}

struct palme_axis palme_axis_of(int length, int scaled, enum palme_filter filter)
{
    double step = (double)length / scaled, wide = step > 1 ? step : 1;

    return (struct palme_axis){ .filter = filter,
                                .step = step,
                                .support = filter == PALME_FILTER_BICUBIC ? 2 * wide : wide,
                                .slope = 1 / wide,
                                .length = length,
                                .scaled = scaled,
                                .block = 1 };
}

struct palme_axis palme_axis_in_blocks(struct palme_axis axis, int block)
{
    axis.block = block;
    return axis;
}

/* The pixels first..end-1 that place i sees; there is always one. */
static void pixels_seen(int *first, int *end, const struct palme_axis *axis, double centre)
{
    double low = centre - axis->support + 0.5, high = centre + axis->support + 0.5;
    *first = low > 0 ? (int)low : 0;
    *end = high < axis->length ? (int)high : axis->length;
}

double palme_axis_pixel_weight(const struct palme_axis *axis, double centre, int k)
{
    const double a = -0.5; /* of the cubic filter */
    double distance = (k + 0.5 - centre) * axis->slope;
    if (distance < 0)
        distance = -distance;
    if (axis->filter != PALME_FILTER_BICUBIC)
        return distance < 1 ? 1 - distance : 0;
    if (distance < 1)
        return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
    return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0;
}

struct palme_axis_window palme_axis_window_of(const struct palme_axis *axis, int i)
{
    struct palme_axis_window w = { .centre = (axis->skip + i + 0.5) * axis->step };
    pixels_seen(&w.first_pixel, &w.end_pixel, axis, w.centre);
    for (int k = w.first_pixel; k < w.end_pixel; k++)
        w.sum += palme_axis_pixel_weight(axis, w.centre, k);
    w.first = w.first_pixel / axis->block;
    w.end = palme_axis_samples(w.end_pixel, axis->block);
    return w;
}

double palme_axis_sample_weight(const struct palme_axis *axis, const struct palme_axis_window *w, int k)
{
    double sum = 0;
    for (int j = k * axis->block; j < (k + 1) * axis->block; j++)
        if (j >= w->first_pixel && j < w->end_pixel)
            sum += palme_axis_pixel_weight(axis, w->centre, j);
    return sum;
}

float palme_axis_part_of(double weight, enum palme_axis_part part)
{
    const double unit = 1 << 22, coarse = 1 << 11;
    double fine = round(weight * unit) / unit, high = round(fine * coarse) / coarse;

    return (float)(part == PALME_AXIS_WHOLE ? weight : part == PALME_AXIS_HIGH ? high : fine - high);
}
