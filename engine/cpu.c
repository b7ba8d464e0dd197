/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu.c - what this machine can compute with.
 */
#include "cpu.h"

#include "config.h"

#include <string.h>

static const char *const names[PALME_CPU_LEVELS] = { "c", "avx2" };

enum palme_cpu_level palme_cpu_detect(void)
{
#if PALME_HAVE_AVX2
    /* The compiler's builtin asks CPUID, and XGETBV for the registers that the system saves. */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return PALME_CPU_AVX2;
#endif
    return PALME_CPU_C;
}

int palme_cpu_has_wider(void)
{
#if PALME_HAVE_AVX2
    __builtin_cpu_init();
    return !!__builtin_cpu_supports("avx512f");
#else
    return 0;
#endif
}

const char *palme_cpu_name(enum palme_cpu_level level)
{
    return level >= PALME_CPU_C && level < PALME_CPU_LEVELS ? names[level] : names[PALME_CPU_C];
}

int palme_cpu_choose(enum palme_cpu_level *level, const char *name)
{
    int named = 0;

    *level = palme_cpu_detect();
    if (!name)
        return 0;
    while (named < PALME_CPU_LEVELS && strcmp(name, names[named]) != 0)
        named++;
    if (named == PALME_CPU_LEVELS)
        return -1;
    if (named < (int)*level)
        *level = (enum palme_cpu_level)named;
    return 0;
}
