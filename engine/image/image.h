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

/* What palme_image_resize takes from its scratch for pictures up to 32768 pixels wide and high, whatever their
 * size, for a square of `size` pixels: the work goes by rows, so this does not grow with the picture's area. `arena` is
 * where it was before, and `most` has grown. */
void palme_image_reserve(struct palme_arena *arena, int size);

/* out[size][size][3], RGB, 0..255: the whole picture scaled to size x size by the separable triangle filter
 * with half-pixel centres, support max(1, reduction factor), weights normalised at the edges, columns
 * and rows in float, rounded to 8 bits once at the end ("squash", as in models/palme.py; PIL's
 * antialiased bilinear within one step). A picture of size x size is copied exactly.
 * YUV is converted as palme.h says; colours out of RGB's range are cut off at the end only, so they average
 * out before it. A format with alpha is seen over white, each pixel in 8 bits before any is averaged: the bytes are
 * those of the opaque picture that one would see, and of PALME_FORMAT_RGBX where all alpha is 255. `scratch` has
 * room for palme_image_reserve(size). The image has passed palme_image_problem. Works on the calling thread and asks
 * the cancel callback between rows.
 * Returns PALME_OK or PALME_ERROR_CANCELLED; then `out` is undefined. */
int palme_image_resize(struct palme_compute *compute, uint8_t *out, const struct palme_image *image, int size,
                       struct palme_arena *scratch);

#endif
