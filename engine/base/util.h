/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * util.h - smaller, larger and rounding up, for whole numbers that are known to fit.
 */
#ifndef PALME_UTIL_H
#define PALME_UTIL_H

#include <stddef.h>

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}

static inline int max_int(int a, int b)
{
    return a > b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up; a >= 0, b > 0 */
static inline int div_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* The smallest multiple of `unit` that is not below n. */
static inline size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Whether all bytes are 0, as those of reserved members have to be. */
static inline int all_zero(const void *bytes, size_t count)
{
    const unsigned char *b = bytes;

    for (size_t i = 0; i < count; i++)
        if (b[i])
            return 0;
    return 1;
}

#endif
