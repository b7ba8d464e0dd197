/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * roofline.h - what this machine can do at most, measured now: single-precision multiply-adds from registers
 * and bytes read from memory. It knows nothing of models.
 */
#ifndef PALME_ROOFLINE_H
#define PALME_ROOFLINE_H

#include <stddef.h>
#include <stdint.h>

/* The loops of a level. roofline_simd.c brings them for each level that the build has. */
struct roofline_loops {
    const char *level;
    /* `rounds` rounds of independent multiply-adds, from registers only; returns how many FLOP those were.
     * *sink receives a value that depends on all of them; start[2] holds two small numbers that the compiler
     * cannot know. */
    double (*multiply)(float *sink, const float *start, long rounds);
    /* The same for the products of int8 of this level, with weights from the first cache: `rounds` rounds, returns how
     * many operations those were, two for each product. NULL: there is no such loop. */
    double (*dot)(float *sink, const int8_t *numbers, long rounds);
    /* The same for pairs of whole numbers of 16 bits, of which `numbers` has as many bytes. */
    double (*dot_int16)(float *sink, const int16_t *numbers, long rounds);
    /* The same for the products of pairs of bf16, from registers; `start` holds four of them. NULL: the level has
     * none. */
    double (*pairs)(float *sink, const uint16_t *start, long rounds);
    /* Reads x[n], n a multiple of 1024, once, as `streams` (1 or 4) parts in turns. Returns a sum of it. */
    float (*read)(const float *x, size_t n, int streams);
};

/* The most FLOP per second that `threads` threads reach together in the best of some tries, over all levels
 * that this machine has; *level (may be NULL) receives the name of the best one. A refused thread
 * ends the program. */
double roofline_multiply(int threads, int tries, const char **level);

/* The most operations per second on whole numbers of 8 and 16 bits and on bf16, in the same way: a multiplication and
 * an addition are two. Levels without such instructions count with their multiply-adds. */
double roofline_int8(int threads, int tries);
double roofline_int16(int threads, int tries);
double roofline_bf16(int threads, int tries);

/* The most bytes per second that `threads` threads read together, each from its part of a working set of
 * `bytes` (at least 64 KiB are taken), in the best of some tries. The memory asks for huge pages. 0 without
 * memory. */
double roofline_read(size_t bytes, int threads, int tries);

/* Now, in nanoseconds of a clock that only goes forward. */
double roofline_now(void);

#endif
