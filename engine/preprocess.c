/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * preprocess.c - the model's square of pixels, made away from any session.
 */
#include "floats.h"
#include "image.h"
#include "util.h"

#include <stdlib.h>

enum { MAX_SIZE = 4096 };

struct palme_preprocessor {
    struct palme_kernels kernels;
    struct palme_compute compute; /* no threads, no cancel callback */
    int size;
    struct palme_arena scratch; /* behind the struct */
};

int palme_preprocessor_open(palme_preprocessor **preprocessor, int size, const char *level)
{
    enum palme_cpu_level best;
    const size_t own = round_up(sizeof(struct palme_preprocessor), PALME_ARENA_ALIGNMENT);
    struct palme_arena arena = { 0 };
    struct palme_preprocessor *s;

    if (!preprocessor)
        return PALME_ERROR_ARGUMENT;
    *preprocessor = NULL;
    if (size < 1 || size > MAX_SIZE || palme_cpu_choose(&best, level) < 0)
        return PALME_ERROR_ARGUMENT;
    palme_image_reserve(&arena, size);
    if (!(s = aligned_alloc(PALME_ARENA_ALIGNMENT, own + arena.most)))
        return PALME_ERROR_MEMORY;
    s->scratch = palme_arena_over((char *)s + own, arena.most);
    palme_kernels_init(&s->kernels, best);
    s->compute = (struct palme_compute){ .kernels = &s->kernels };
    s->size = size;
    *preprocessor = s;
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
    int status = palme_image_resize(&preprocessor->compute, out, image, preprocessor->size, &preprocessor->scratch);
    palme_floats_leave(&floats);
    return status;
}
