/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_serve.h - the benchmark as a servant: one line in, one line out.
 */
#ifndef PALME_BENCH_SERVE_H
#define PALME_BENCH_SERVE_H

#include "support/enginehost.h"

/* Answers the lines on stdin until "quit" or the end; the commands stand in bench_serve.c. Models are opened in
 * `precision` with kernels up to `level` (NULL: the machine's best). Returns the exit status. */
int bench_serve(const struct host_precision *precision, const char *level);

#endif
