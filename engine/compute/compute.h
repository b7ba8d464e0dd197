/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * compute.h - threads, BLAS and the cancel callback. Only compute.c knows how any of them is done.
 */
#ifndef PALME_COMPUTE_H
#define PALME_COMPUTE_H

#include <stddef.h>

#include "kernels/kernels.h"
#include "palme.h"
#include "base/log.h"

/* The threads of a model, beside those that call it. They sleep while there is no work, but for a
 * moment after the last. */
struct palme_pool;

/* Makes a pool that computes with `wanted` threads, the caller included; 0: palme_processors(). *usable receives the
 * number that it got, which is smaller where the system refuses threads. Returns PALME_OK or PALME_ERROR_MEMORY. */
int palme_pool_open(struct palme_pool **pool, int wanted, int *usable);
void palme_pool_close(struct palme_pool **pool);

/* The pool as this process can use it, asked at the beginning of each call from outside: in a child of fork() it
 * has new threads from the first call on. NULL: the calling thread computes alone. `pool` may be NULL. */
struct palme_pool *palme_pool_here(struct palme_pool *pool);

/* Who computes: the model's kernels and threads, and the session's cancel callback. Once the answer was yes,
 * `cancelled` is set and every layer returns at once, leaving its output undefined. */
struct palme_compute {
    const struct palme_kernels *kernels;
    struct palme_pool *pool; /* NULL: the calling thread alone */
    palme_cancel_fn cancel;
    void *cancel_user;
    int cancelled;
    /* Linear layers put their inputs here in another precision or further apart; attention works in it (layers.h). */
    void *workspace;
};

/* How many threads compute, the calling one included. */
int palme_compute_threads(const struct palme_compute *c);

/* Calls the cancel callback. Returns non-zero if the work must end. */
int palme_compute_cancelled(struct palme_compute *c);

/* Work in FLOP between two calls of the cancel callback, and of a task that is worth a thread's attention. */
#define PALME_CANCEL_FLOPS 20e6
#define PALME_TASK_FLOPS 0.4e6

/* body(user, i) for i in 0..count-1, in any order, spread over the threads where `flops` (of the whole) is
 * worth it. The calling thread takes part and calls the cancel callback in between. If another session computes
 * with the pool at the moment, the calling thread does all of it. */
void palme_parallel(struct palme_compute *c, int count, double flops, void (*body)(void *user, int i), void *user);

/* Whether this build can use BLAS. */
int palme_blas(void);

typedef void (*palme_sgemm_fn)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                               const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* OpenBLAS, loaded. */
struct palme_blas {
    palme_sgemm_fn sgemm;
    void (*set_threads)(int threads); /* how many it may use when the calling thread calls it; NULL: it has no say */
    int (*get_threads)(void);
};

/* Loads OpenBLAS where it beats the own kernels of this level at the shapes of an encoder, which is plain C alone.
 * Returns 0 where it does not or cannot be loaded, which is no error: a remark says why.
 *
 * Measured at 64 rows with one thread on Zen 3 (fractions of the machine's peak of 103 GFLOP/s): OpenBLAS 0.3.21
 * reaches 76 % from 512 to 2048 and 72 % from 2048 to 512, the AVX2 kernel 92 % and 93 %, the plain one below 10 %.
 * Wider registers change nothing in that: a tile of 6 rows by 64 outputs in AVX-512 reached 97 % on Zen 4 where
 * OpenBLAS, which packs both operands again in every call, reached 60 to 78 %. */
int palme_blas_open(struct palme_blas *blas, enum palme_cpu_level level, const struct palme_log *log);

/* y[rows][out] = x[rows][in] W^T + b with W stored as [out][in], by c->kernels->blas: for layers that see many rows.
 * The sum of a row may depend on how many rows go with it. */
void palme_blas_linear(struct palme_compute *c, float *y, const float *x, const float *w, const float *b, int rows,
                       int in, int out);

#endif
