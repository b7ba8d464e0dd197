/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu.h - what this machine can compute with, in levels that machines really have.
 */
#ifndef PALME_CPU_H
#define PALME_CPU_H

/* Each level implies those before it. The names are those of palme_setup.level. */
enum palme_cpu_level {
    PALME_CPU_C,    /* plain C, everywhere */
    PALME_CPU_AVX2, /* AVX2 with FMA and F16C */
    PALME_CPU_LEVELS
};

/* The highest level of this machine that this build has kernels for. The system's consent to wide registers
 * is part of the question. */
enum palme_cpu_level palme_cpu_detect(void);

/* Whether the machine has wider registers than the highest level has kernels for. */
int palme_cpu_has_wider(void);

const char *palme_cpu_name(enum palme_cpu_level level);

/* The level to compute with: that of `name`, but at most the machine's, which is also what NULL asks for. Returns 0,
 * or -1 if no level has this name. */
int palme_cpu_choose(enum palme_cpu_level *level, const char *name);

#endif
