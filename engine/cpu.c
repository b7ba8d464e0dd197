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

int palme_cpu_level(const char *name)
{
    for (int level = 0; level < PALME_CPU_LEVELS; level++)
        if (strcmp(name, names[level]) == 0)
            return level;
    return -1;
}
