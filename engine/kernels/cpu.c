/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu.c - what this machine can compute with.
 */
#include "kernels/cpu.h"

#include "build_config.h"

#include <string.h>
#if PALME_HAVE_AVXVNNI || PALME_HAVE_BF16
#include <cpuid.h>
#endif
#if PALME_HAVE_DOTPROD
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const struct {
    const char *name;
    enum palme_cpu_level below;
} levels[PALME_CPU_LEVELS] = {
    [PALME_CPU_C] = { "c", PALME_CPU_C },
    [PALME_CPU_NEON] = { "neon", PALME_CPU_C },
    [PALME_CPU_DOTPROD] = { "dotprod", PALME_CPU_NEON },
    [PALME_CPU_AVX2] = { "avx2", PALME_CPU_C },
    [PALME_CPU_AVXVNNI] = { "avxvnni", PALME_CPU_AVX2 },
    [PALME_CPU_AVX512] = { "avx512", PALME_CPU_AVX2 },
    [PALME_CPU_VNNI] = { "vnni", PALME_CPU_AVX512 },
    [PALME_CPU_BF16] = { "bf16", PALME_CPU_VNNI },
};

#if PALME_HAVE_AVXVNNI || PALME_HAVE_BF16
/* A bit of EAX of CPUID's leaf 7, subleaf 1, which not every compiler's builtin knows by name. */
static int leaf_7_1(int bit)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> bit & 1);
}
#endif

int palme_cpu_has(enum palme_cpu_level level)
{
#if PALME_HAVE_AVX2
    /* The compiler's builtin asks CPUID, and XGETBV for the registers that the system saves. */
    __builtin_cpu_init();
#endif
    switch (level) {
    case PALME_CPU_C: return 1;
#if PALME_HAVE_NEON
    case PALME_CPU_NEON: /* no AArch64 is without */ return 1;
#endif
#if PALME_HAVE_DOTPROD
    case PALME_CPU_DOTPROD: return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
#if PALME_HAVE_AVX2
    case PALME_CPU_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if PALME_HAVE_AVXVNNI
    case PALME_CPU_AVXVNNI: return palme_cpu_has(PALME_CPU_AVX2) && leaf_7_1(4);
#endif
#if PALME_HAVE_AVX512
    case PALME_CPU_AVX512:
        return palme_cpu_has(PALME_CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
#if PALME_HAVE_VNNI
    case PALME_CPU_VNNI: return palme_cpu_has(PALME_CPU_AVX512) && __builtin_cpu_supports("avx512vnni");
#endif
#if PALME_HAVE_BF16
    case PALME_CPU_BF16: return palme_cpu_has(PALME_CPU_AVX512) && leaf_7_1(5);
#endif
    default: return 0;
    }
}

enum palme_cpu_level palme_cpu_detect(void)
{
    int level = PALME_CPU_LEVELS - 1;

    while (!palme_cpu_has((enum palme_cpu_level)level))
        level--;
    return (enum palme_cpu_level)level;
}

enum palme_cpu_level palme_cpu_below(enum palme_cpu_level level)
{
    return level >= PALME_CPU_C && level < PALME_CPU_LEVELS ? levels[level].below : PALME_CPU_C;
}

const char *palme_cpu_name(enum palme_cpu_level level)
{
    return level >= PALME_CPU_C && level < PALME_CPU_LEVELS ? levels[level].name : levels[PALME_CPU_C].name;
}

int palme_cpu_choose(enum palme_cpu_level *level, const char *name)
{
    int named = 0;

    *level = palme_cpu_detect();
    if (!name)
        return 0;
    while (named < PALME_CPU_LEVELS && strcmp(name, levels[named].name) != 0)
        named++;
    if (named == PALME_CPU_LEVELS)
        return -1;
    *level = (enum palme_cpu_level)named;
    while (!palme_cpu_has(*level))
        *level = levels[*level].below;
    return 0;
}
