/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * arena.c - one block of memory that is handed out part by part.
 */
#include "base/arena.h"

struct palme_arena palme_arena_over(void *memory, size_t size)
{
    return (struct palme_arena){ .base = memory, .size = size };
}

void *palme_arena_take(struct palme_arena *arena, size_t count, size_t size)
{
    size_t start = arena->used, bytes, end;

    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, (size_t)PALME_ARENA_ALIGNMENT - 1, &bytes) ||
        __builtin_add_overflow(start, bytes & ~((size_t)PALME_ARENA_ALIGNMENT - 1), &end) ||
        (arena->base && end > arena->size)) {
        arena->overflow = 1;
        return NULL;
    }
    palme_arena_forward(arena, end);
    return arena->base ? arena->base + start : NULL;
}

void palme_arena_rewind(struct palme_arena *arena, size_t mark)
{
    arena->used = mark;
}

void palme_arena_forward(struct palme_arena *arena, size_t end)
{
    if (end > arena->used)
        arena->used = end;
    if (arena->used > arena->most)
        arena->most = arena->used;
}
