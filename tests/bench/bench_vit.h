/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_vit.h - one layer of the encoder ViT-B, part by part, beside the machine's own limits.
 */
#ifndef PALME_BENCH_VIT_H
#define PALME_BENCH_VIT_H

#include "kernels/cpu.h"

/* Measures `precision`, or f32, bf16 and int8 where it is NULL, with `threads` threads, or with 1 and with 2 where it
 * is 0, at so many tokens, with the kernels of a level, and prints a table for each; only the parts that have `only`
 * in their name. Returns the exit status. */
int bench_vit(int tokens, const char *precision, enum palme_cpu_level level, int threads, int reps, const char *only);

#endif
