/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * preprocess.c - pictures become a model's square, by the model's rule, in a session or without one.
 */
#include "image/preprocess.h"

#include "compute/floats.h"
#include "base/util.h"

#include <stdlib.h>

/* ---- The rule ----------------------------------------------------------------------------- */

const char *const palme_resize_names[] = { "squash", "crop", NULL };
const char *const palme_filter_names[] = { "triangle", "bilinear", "bicubic", NULL };

void palme_preprocess_reserve(struct palme_arena *arena, const struct palme_scaling *scaling)
{
    palme_image_reserve(arena, scaling);
}

int palme_preprocess_run(struct palme_compute *compute, uint8_t *out, const struct palme_image *image,
                         const struct palme_scaling *scaling, struct palme_arena *scratch)
{
    return palme_image_resize(compute, out, image, scaling, scratch);
}

/* ---- Without a session -------------------------------------------------------------------- */

struct palme_preprocessor {
    struct palme_kernels kernels;
    struct palme_compute compute; /* no threads, no cancel callback */
    struct palme_scaling scaling;
    struct palme_arena scratch; /* behind the struct */
};

static int usable(const struct palme_scaling *scaling)
{
    return scaling->size >= 1 && scaling->side >= scaling->size && scaling->side <= PALME_MAX_SQUARE &&
           (int)scaling->filter >= PALME_FILTER_TRIANGLE && scaling->filter <= PALME_FILTER_BICUBIC &&
           (int)scaling->rule >= PALME_RESIZE_SQUASH && scaling->rule <= PALME_RESIZE_CROP;
}

static int open_scaling(palme_preprocessor **preprocessor, const struct palme_scaling *scaling, const char *level)
{
    const size_t own = round_up(sizeof(struct palme_preprocessor), PALME_ARENA_ALIGNMENT);
    struct palme_arena arena = { 0 };
    struct palme_preprocessor *p;
    enum palme_cpu_level best;

    if (!preprocessor)
        return PALME_ERROR_ARGUMENT;
    *preprocessor = NULL;
    if (!usable(scaling) || palme_cpu_choose(&best, level) < 0)
        return PALME_ERROR_ARGUMENT;
    palme_preprocess_reserve(&arena, scaling);
    if (!(p = aligned_alloc(PALME_ARENA_ALIGNMENT, own + arena.most)))
        return PALME_ERROR_MEMORY;
    p->scratch = palme_arena_over((char *)p + own, arena.most);
    palme_kernels_init(&p->kernels, best);
    p->compute = (struct palme_compute){ .kernels = &p->kernels };
    p->scaling = *scaling;
    *preprocessor = p;
    return PALME_OK;
}

int palme_preprocessor_open(palme_preprocessor **preprocessor, int size, enum palme_resize rule, const char *level)
{
    const struct palme_scaling scaling = { size, rule, PALME_FILTER_TRIANGLE, size };

    if (rule == PALME_RESIZE_SQUASH)
        return open_scaling(preprocessor, &scaling, level);
    if (preprocessor)
        *preprocessor = NULL;
    return PALME_ERROR_ARGUMENT;
}

int palme_preprocessor_open_info(palme_preprocessor **preprocessor, const struct palme_info *info, const char *level)
{
    static const struct palme_scaling none;
    const struct palme_scaling scaling =
        info ? (struct palme_scaling){ info->image_size, info->resize, info->filter, info->resize_side } : none;

    return open_scaling(preprocessor, &scaling, level);
}

void palme_preprocessor_close(palme_preprocessor **preprocessor)
{
    if (!preprocessor)
        return;
    free(*preprocessor);
    *preprocessor = NULL;
}

int palme_preprocess(palme_preprocessor *preprocessor, uint8_t *out, const struct palme_image *image)
{
    if (!preprocessor || !out || palme_image_problem(image))
        return PALME_ERROR_ARGUMENT;
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status =
        palme_preprocess_run(&preprocessor->compute, out, image, &preprocessor->scaling, &preprocessor->scratch);
    palme_floats_leave(&floats);
    return status;
}
