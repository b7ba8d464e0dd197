/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * preprocess.h - the rule by which a picture of any shape becomes the model's square.
 */
#ifndef PALME_PREPROCESS_H
#define PALME_PREPROCESS_H

#include "image/image.h"

/* The names of enum palme_resize and enum palme_filter in model files, by value, ended by NULL. */
extern const char *const palme_resize_names[], *const palme_filter_names[];

/* What palme_preprocess_run takes from its scratch for pictures of any shape. `arena` is where it was before, and
 * `most` has grown. */
void palme_preprocess_reserve(struct palme_arena *arena, const struct palme_scaling *scaling);

/* out[size][size][3], RGB: the picture by this rule. It has passed palme_image_problem. Returns PALME_OK or
 * PALME_ERROR_CANCELLED; then `out` is undefined. */
int palme_preprocess_run(struct palme_compute *compute, uint8_t *out, const struct palme_image *image,
                         const struct palme_scaling *scaling, struct palme_arena *scratch);

#endif
