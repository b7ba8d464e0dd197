/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * image.h - a frame of any size becomes the model's square of pixels.
 */
#ifndef PALME_IMAGE_H
#define PALME_IMAGE_H

#include "base/arena.h"
#include "compute/compute.h"
#include "palme.h"

/* Non-NULL if the picture cannot be read: a sentence fragment that says why. Checks format, sizes
 * (1..32768), planes, strides and, for YUV, matrix and range. */
const char *palme_image_problem(const struct palme_image *image);

/* How a picture becomes a square. */
struct palme_scaling {
    int size; /* of the square, 1..PALME_MAX_SQUARE */
    enum palme_resize rule;
    enum palme_filter filter;
    int side; /* that is scaled to; the middle `size` of it are the square */
};

/* What palme_image_resize takes from its scratch for pictures up to 32768 pixels wide and high, whatever their
 * size: the work goes by rows, so this does not grow with the picture's area. `arena` is where it was before, and `most`
 * has grown. */
void palme_image_reserve(struct palme_arena *arena, const struct palme_scaling *scaling);

/* out[size][size][3], RGB, 0..255: the picture scaled by a separable filter with half-pixel centres, support max(1,
 * reduction factor) or for the cubic one twice that, weights normalised at the edges. A picture of size x size
 * is copied exactly. The triangle filter works in float and rounds to 8 bits once at the end (as models/palme.py; PIL's
 * antialiased bilinear within one step). The two others are PIL's, which scales
 * in width first, or in height where that leaves less to do, and rounds to 8 bits in between; weights are multiples of
 * 2^-22. With PALME_RESIZE_CROP the longer side is side * longer / shorter pixels,
 * rounded down; what is cut off in front is half of what is too much, rounded down.
 * YUV is converted as palme.h says; colours out of RGB's range are cut off at the end only, so they average
 * out before it. A format with alpha is seen over white, each pixel in 8 bits before any is averaged: the bytes are
 * those of the opaque picture that one would see, and of PALME_FORMAT_RGBX where all alpha is 255. `scratch` has
 * room for palme_image_reserve(scaling). The image has passed palme_image_problem. Works on the calling thread and asks
 * the cancel callback between rows.
 * Returns PALME_OK or PALME_ERROR_CANCELLED; then `out` is undefined. */
int palme_image_resize(struct palme_compute *compute, uint8_t *out, const struct palme_image *image,
                       const struct palme_scaling *scaling, struct palme_arena *scratch);

#endif
