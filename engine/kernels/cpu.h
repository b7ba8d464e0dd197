/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu.h - what this machine can compute with, in levels that machines really have.
 */
#ifndef PALME_CPU_H
#define PALME_CPU_H

/* A level is a set of kernels that stands on another level and overwrites some of its kernels. The names are those
 * of palme_setup.level. A higher number is the better choice where a machine has several. */
enum palme_cpu_level {
    PALME_CPU_C,       /* plain C, everywhere */
    PALME_CPU_NEON,    /* AArch64's NEON, on c */
    PALME_CPU_DOTPROD, /* dot products of NEON, on neon */
    PALME_CPU_AVX2,    /* AVX2 with FMA, on c */
    PALME_CPU_AVXVNNI, /* AVX-VNNI, on avx2: machines without AVX-512 have it too */
    PALME_CPU_AVX512,  /* AVX-512 F, BW, DQ and VL, on avx2 */
    PALME_CPU_VNNI,    /* AVX-512 VNNI, on avx512 */
    PALME_CPU_BF16,    /* AVX-512 BF16, on vnni, or on avx512 where a machine has no VNNI */
    PALME_CPU_LEVELS
};

/* Whether this machine can run the level's own instructions and this build has kernels for it. The system's
 * consent to wide registers is part of the question. */
int palme_cpu_has(enum palme_cpu_level level);

/* The best level of this machine. */
enum palme_cpu_level palme_cpu_detect(void);

/* The level that this one stands on; of c it is c. */
enum palme_cpu_level palme_cpu_below(enum palme_cpu_level level);

const char *palme_cpu_name(enum palme_cpu_level level);

/* The level to compute with: that of `name` or, where this machine lacks it, the nearest one below that it has;
 * NULL asks for the machine's best. Returns 0, or -1 if no level has this name. */
int palme_cpu_choose(enum palme_cpu_level *level, const char *name);

#endif
