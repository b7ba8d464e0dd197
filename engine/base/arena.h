/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * arena.h - one block of memory that is handed out part by part, and measured first by the same code.
 *
 * A function that lays out buffers takes them from an arena. With an arena that has no memory it gets NULL for each,
 * and the arena then knows how much it takes; with one that has that much it gets the buffers. So each size is
 * written once.
 *
 *     struct palme_arena arena = { 0 };                 measures
 *     lay_out(&buffers, &arena);
 *     memory = aligned_alloc(PALME_ARENA_ALIGNMENT, arena.most);
 *     arena = palme_arena_over(memory, arena.most);     hands out
 *     lay_out(&buffers, &arena);
 *
 * Buffers that are not in use at the same time may share memory: note `used` as a mark, take the first ones, go back
 * to the mark with palme_arena_rewind, take the others. `most` remembers the larger of both. A copy of the struct is
 * an arena of its own over the rest of the memory.
 */
#ifndef PALME_ARENA_H
#define PALME_ARENA_H

#include <stddef.h>

enum { PALME_ARENA_ALIGNMENT = 64 };

struct palme_arena {
    unsigned char *base; /* aligned to PALME_ARENA_ALIGNMENT; NULL: the arena measures */
    size_t size;         /* bytes at base */
    size_t used;         /* bytes that are handed out, a multiple of the alignment */
    size_t most;         /* the largest that `used` has been */
    int overflow;        /* something did not fit into `size`, or, while it measured, into a size_t */
};

struct palme_arena palme_arena_over(void *memory, size_t size);

/* The next `count` things of `size` bytes each, aligned to PALME_ARENA_ALIGNMENT and not cleared; NULL while the arena
 * measures, and where they do not fit, which sets `overflow`. */
void *palme_arena_take(struct palme_arena *arena, size_t count, size_t size);

/* Gives back all that was taken since `used` was `mark`. */
void palme_arena_rewind(struct palme_arena *arena, size_t mark);

/* Goes on behind what ended at `end`, if that is further: behind the longest of several things that share memory. */
void palme_arena_forward(struct palme_arena *arena, size_t end);

#endif
