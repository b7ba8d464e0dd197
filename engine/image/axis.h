/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * axis.h - the weights of a separable filter along one side of a picture.
 */
#ifndef PALME_AXIS_H
#define PALME_AXIS_H

#include "palme.h"

#include <math.h>
#include <stdint.h>

/* One side of the filter: how the places on the square see `length` pixels. */
struct palme_axis {
    enum palme_filter filter;
    double step;    /* pixels of the picture for one of the square */
    double support; /* reach of the filter in pixels of the picture */
    double slope;   /* 1 / what the filter is widened by */
    int length;
    int scaled, skip; /* places that the whole picture is scaled to; those in front of the square */
    int block;        /* pixels that a sample stands for */
};

/* Of `length` pixels that are scaled to so many places. */
struct palme_axis palme_axis_of(int length, int scaled, enum palme_filter filter);

/* The same where a sample stands for `block` pixels. */
struct palme_axis palme_axis_in_blocks(struct palme_axis axis, int block);

/* Samples that `pixels` have where each stands for `each` of them. */
int palme_axis_samples(int pixels, int each);

/* What place i sees: samples first..end-1, and the sum of the weights before they are divided by it. */
struct palme_axis_window {
    double centre, sum;
    int first, end;
    int first_pixel, end_pixel;
};

struct palme_axis_window palme_axis_window_of(const struct palme_axis *axis, int i);

/* Weight of pixel k, before the weights of a place are divided by their sum. */
double palme_axis_pixel_weight(const struct palme_axis *axis, double centre, int k);

/* Weight of sample k: that of all its pixels that the place sees. */
double palme_axis_sample_weight(const struct palme_axis *axis, const struct palme_axis_window *w, int k);

/* Pillow's weights are multiples of 2^-22, and it adds whole numbers, so that halves are frequent where a picture is
 * made larger, and are decided by the last bit of a weight. A float cannot hold such a sum. It can hold those with each
 * of two parts of the weights: the multiple of 2^-11 next to it, and the rest. */
enum palme_axis_part { PALME_AXIS_WHOLE, PALME_AXIS_HIGH, PALME_AXIS_LOW };

/* This part of a weight, whose magnitude is below 2. */
float palme_axis_part_of(double weight, enum palme_axis_part part);

/* The sum of both parts, rounded as Pillow rounds it, as a byte. */
static inline uint8_t palme_axis_byte_of(float high, float low)
{
    double sum = floor((double)high + low + 0.5);

    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

#endif
