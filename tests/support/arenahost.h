/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * arenahost.h - scratch memory for tests that run a stage of the engine by itself: free(arena.base) when done.
 */
#ifndef PALME_ARENAHOST_H
#define PALME_ARENAHOST_H

#include <stdlib.h>

#include "image/image.h"
#include "nn/model.h"

static inline struct palme_arena arena_of_bytes(size_t bytes)
{
    void *memory = aligned_alloc(PALME_ARENA_ALIGNMENT, bytes + PALME_ARENA_ALIGNMENT);

    if (!memory)
        exit(1);
    return palme_arena_over(memory, bytes);
}

/* A square of this size from the whole picture, by the triangle filter. */
#define SQUASH(size) (&(struct palme_scaling){ size, PALME_RESIZE_SQUASH, PALME_FILTER_TRIANGLE, size })

/* Enough to make squares of `size`. */
static inline struct palme_arena scratch_for_image(int size)
{
    struct palme_arena arena = { 0 };

    palme_image_reserve(&arena, SQUASH(size));
    return arena_of_bytes(arena.most);
}

/* Enough for all stages of a model, with passes of up to `rows` rows. */
static inline struct palme_arena scratch_for_model(const struct palme_model *model, int rows)
{
    struct palme_arena arena = { 0 };

    palme_scratch_take(&arena, model, rows);
    return arena_of_bytes(arena.most);
}

/* Zeroed memory for what the decoder knows of a picture of up to so many tokens; kv is the caller's to free. */
static inline struct palme_picture picture_for_model(const struct palme_model *model, int tokens)
{
    struct palme_arena measured = { 0 };
    struct palme_picture picture;

    palme_picture_lay_out(&picture, &measured, model, tokens);
    picture.tokens = 0;
    picture.kv = calloc(1, measured.most + 1);
    return picture;
}

#endif
