/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * preprocess.c - pictures become a model's square, by the model's rule, in a session or without one. Another
 * rule (shortest side, centre crop) gets a value of enum palme_resize, a name here, and a case in
 * palme_preprocess_run.
 */
#include "image/preprocess.h"

#include "compute/floats.h"
#include "base/util.h"

#include <stdlib.h>

/* ---- The rule ----------------------------------------------------------------------------- */

const char *const palme_resize_names[] = { "squash", NULL };

void palme_preprocess_reserve(struct palme_arena *arena, int size)
{
    palme_image_reserve(arena, size);
}

int palme_preprocess_run(struct palme_compute *compute, uint8_t *out, const struct palme_image *image, int size,
                         enum palme_resize rule, struct palme_arena *scratch)
{
    switch (rule) {
    case PALME_RESIZE_SQUASH: return palme_image_resize(compute, out, image, size, scratch);
    }
    return PALME_ERROR_ARGUMENT;
}

/* ---- Without a session -------------------------------------------------------------------- */

struct palme_preprocessor {
    struct palme_kernels kernels;
    struct palme_compute compute; /* no threads, no cancel callback */
    int size;
    enum palme_resize rule;
    struct palme_arena scratch; /* behind the struct */
};

int palme_preprocessor_open(palme_preprocessor **preprocessor, int size, enum palme_resize rule, const char *level)
{
    const size_t own = round_up(sizeof(struct palme_preprocessor), PALME_ARENA_ALIGNMENT);
    struct palme_arena arena = { 0 };
    struct palme_preprocessor *p;
    enum palme_cpu_level best;

    if (!preprocessor)
        return PALME_ERROR_ARGUMENT;
    *preprocessor = NULL;
    if (size < 1 || size > PALME_MAX_SQUARE || rule != PALME_RESIZE_SQUASH || palme_cpu_choose(&best, level) < 0)
        return PALME_ERROR_ARGUMENT;
    palme_preprocess_reserve(&arena, size);
    if (!(p = aligned_alloc(PALME_ARENA_ALIGNMENT, own + arena.most)))
        return PALME_ERROR_MEMORY;
    p->scratch = palme_arena_over((char *)p + own, arena.most);
    palme_kernels_init(&p->kernels, best);
    p->compute = (struct palme_compute){ .kernels = &p->kernels };
    p->size = size;
    p->rule = rule;
    *preprocessor = p;
    return PALME_OK;
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
    int status = palme_preprocess_run(&preprocessor->compute, out, image, preprocessor->size, preprocessor->rule,
                                      &preprocessor->scratch);
    palme_floats_leave(&floats);
    return status;
}
