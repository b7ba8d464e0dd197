/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernelhost.h - what the tests of kernels share: numbers from a seed, buffers that end at a page which cannot be
 * touched, and a clock.
 */
#ifndef PALME_KERNELHOST_H
#define PALME_KERNELHOST_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CANARY = 0xA5, GUARD = 64 };

static const double EPS = 5.9604644775390625e-08; /* half a unit in the last place of 1 */

static uint64_t random_state; /* main sets it */

static inline uint64_t random_bits(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline double random_unit(void) /* -1 .. 1 */
{
    return (double)(random_bits() >> 11) * 0x1p-52 - 1;
}

struct buffer {
    unsigned char *map;
    size_t mapped;
    float *data; /* its last byte is the last of a page; aligned as that comes */
    size_t bytes;
};

static inline struct buffer buffer_of_bytes(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct buffer b = { .bytes = bytes };

    b.mapped = (bytes + GUARD + page - 1) / page * page + page;
    b.map = mmap(NULL, b.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.map == MAP_FAILED || mprotect(b.map + b.mapped - page, page, PROT_NONE) < 0)
        exit(1);
    memset(b.map, CANARY, b.mapped - page);
    b.data = (float *)(void *)(b.map + b.mapped - page - bytes);
    return b;
}

/* Whether the bytes before the buffer are untouched. */
static inline int buffer_guarded(const struct buffer *b)
{
    for (int i = 1; i <= GUARD; i++)
        if (((unsigned char *)b->data)[-i] != CANARY)
            return 0;
    return 1;
}

static inline void buffer_free(struct buffer *b)
{
    munmap(b->map, b->mapped);
}

/* What stands in an output before a product, which may be added to it. */
static inline float stood(int column)
{
    return (float)(column % 5) - 1.5f;
}

static inline void stand(float *y, int rows, int columns, size_t stride)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < columns; i++)
            y[(size_t)r * stride + (size_t)i] = stood(i);
}

/* The least time of a run, in seconds, of several tries of 10 ms. */
static inline double seconds(void (*run)(void))
{
    double best = 1e9;

    for (int repeat = 0; repeat < 7; repeat++) {
        struct timespec a, b;
        double taken = 0;
        long count = 0;

        clock_gettime(CLOCK_MONOTONIC, &a);
        do {
            run();
            count++;
            clock_gettime(CLOCK_MONOTONIC, &b);
            taken = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
        } while (taken < 0.01);
        if (taken / (double)count < best)
            best = taken / (double)count;
    }
    return best;
}

#endif
