/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bounds.h - how long products and attention take at least on this machine, by its roofline, and how long something
 * took.
 */
#ifndef PALME_BOUNDS_H
#define PALME_BOUNDS_H

#include "bench/roofline.h"
#include "nn/layers.h"

/* What the machine did at most, per second, on some number of threads. */
struct roof {
    double bytes;
    double int16;                 /* multiplications and additions of whole numbers of 16 bits */
    double ops[PALME_PRECISIONS]; /* multiplications and additions; in bf16 where pairs of it are multiplied */
};

/* Measures it once more, the bandwidth with so many bytes; the better one counts. *level receives the level that was
 * best in single precision. */
void roof_look_up(struct roof *roof, double bytes, int threads, const char **level);
/* One line: the roof. */
void roof_print(const struct roof *roof, double bytes, const char *level);

/* Seconds of a product of `rows` rows: the longer of its arithmetic and of reading its weights once. 0 for a layer that
 * there is not. */
double layer_bound(const struct roof *roof, double rows, const struct palme_linear *l);
/* Seconds of q k^T and of the weighted sum of v, with `inner` columns; `rounded`: as attend_int16 does it. */
double attention_bound(const struct roof *roof, double rows, double keys, int inner, int rounded);

struct timing {
    double median, least; /* seconds */
};

/* `reps` runs, behind one that warms up. Zeros without memory. */
struct timing timing_of(void (*run)(void *user), void *user, int reps);

/* Prints the name that the system has for the processor, and how many there are. */
void print_machine(void);

#endif
