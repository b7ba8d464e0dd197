/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * roofline.c - what this machine can do at most, measured with loops that do nothing else.
 */
#include "bench/roofline.h"

#include "build_config.h"
#include "kernels/cpu.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum {
    MOST_THREADS = 64,
    LANES = 48,           /* values that the plain loop keeps in registers, whatever their width */
    ROUNDS = 1000000,     /* of multiply-adds in a try: some 2 to 20 ms */
    DOT_ROUNDS = 20000,   /* of products of int8 */
    NUMBERS = 65536,      /* of 8 bits */
    READ_LEAST = 1 << 28, /* bytes that a try reads */
    HUGE_PAGE = 1 << 21
};

double roofline_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- Plain loops -------------------------------------------------------------------------- */

static double multiply_c(float *sink, const float *start, long rounds)
{
    float a = start[0], b = start[1], sum[LANES], all = 0;

    for (int i = 0; i < LANES; i++)
        sum[i] = (float)i;
    for (long round = 0; round < rounds; round++)
        for (int i = 0; i < LANES; i++)
            sum[i] = sum[i] * a + b;
    for (int i = 0; i < LANES; i++)
        all += sum[i];
    *sink = all;
    return 2.0 * LANES * (double)rounds;
}

static float read_c(const float *x, size_t n, int streams)
{
    size_t part = n / (size_t)streams;
    float sum[16] = { 0 };

    for (size_t at = 0; at < part; at += 16)
        for (int s = 0; s < streams; s++)
            for (size_t i = 0; i < 16; i++)
                sum[i] += x[(size_t)s * part + at + i];
    for (int i = 1; i < 16; i++)
        sum[0] += sum[i];
    return sum[0];
}

/* roofline_simd.c, once for each level that it is compiled for. */
void roofline_loops_avx2(struct roofline_loops *loops);
void roofline_loops_avx512(struct roofline_loops *loops);
void roofline_loops_avxvnni(struct roofline_loops *loops);
void roofline_loops_vnni(struct roofline_loops *loops);
void roofline_loops_bf16(struct roofline_loops *loops);
void roofline_loops_neon(struct roofline_loops *loops);
void roofline_loops_dotprod(struct roofline_loops *loops);

/* The loops of each level that the build and the machine have, lowest first; returns how many. */
static int loops_here(struct roofline_loops list[PALME_CPU_LEVELS])
{
    int count = 0;

    list[count++] = (struct roofline_loops){ palme_cpu_name(PALME_CPU_C), multiply_c, NULL, NULL, NULL, read_c };
#if PALME_HAVE_NEON
    if (palme_cpu_has(PALME_CPU_NEON)) {
        list[count].level = palme_cpu_name(PALME_CPU_NEON);
        roofline_loops_neon(&list[count++]);
    }
#endif
#if PALME_HAVE_AVX2
    if (palme_cpu_has(PALME_CPU_AVX2)) {
        list[count].level = palme_cpu_name(PALME_CPU_AVX2);
        roofline_loops_avx2(&list[count++]);
    }
#endif
#if PALME_HAVE_AVX512
    if (palme_cpu_has(PALME_CPU_AVX512)) {
        list[count].level = palme_cpu_name(PALME_CPU_AVX512);
        roofline_loops_avx512(&list[count++]);
    }
#endif
/* These have another loop for int8, or one for bf16. */
#if PALME_HAVE_DOTPROD
    if (palme_cpu_has(PALME_CPU_DOTPROD)) {
        list[count].level = palme_cpu_name(PALME_CPU_DOTPROD);
        roofline_loops_dotprod(&list[count++]);
    }
#endif
#if PALME_HAVE_AVXVNNI
    if (palme_cpu_has(PALME_CPU_AVXVNNI)) {
        list[count].level = palme_cpu_name(PALME_CPU_AVXVNNI);
        roofline_loops_avxvnni(&list[count++]);
    }
#endif
#if PALME_HAVE_VNNI
    if (palme_cpu_has(PALME_CPU_VNNI)) {
        list[count].level = palme_cpu_name(PALME_CPU_VNNI);
        roofline_loops_vnni(&list[count++]);
    }
#endif
#if PALME_HAVE_BF16
    if (palme_cpu_has(PALME_CPU_BF16)) {
        list[count].level = palme_cpu_name(PALME_CPU_BF16);
        roofline_loops_bf16(&list[count++]);
    }
#endif
    return count;
}

/* ---- Threads ------------------------------------------------------------------------------ */

enum loop { MULTIPLY, PAIRS, DOT, DOT_INT16, READ };

struct task {
    const struct roofline_loops *loops;
    pthread_barrier_t *barrier;
    enum loop loop;
    long rounds;
    const float *x; /* READ: [n], in so many streams */
    size_t n;
    int streams;
    double begun, ended, done; /* done: FLOP or bytes */
    volatile float sink;
};

static void *work(void *user)
{
    static const int8_t numbers[NUMBERS];
    static const int16_t wider[NUMBERS / 2];
    struct task *task = user;
    const volatile float small[2] = { 0.5f, 0.0009765625f };
    const float start[2] = { small[0], small[1] };
    const volatile uint16_t half = 0x3f00; /* 0.5 in bf16 */
    const uint16_t halves[4] = { half, half, half, half };
    float sink = 0;

    pthread_barrier_wait(task->barrier);
    task->begun = roofline_now();
    switch (task->loop) {
    case MULTIPLY: task->done = task->loops->multiply(&sink, start, task->rounds); break;
    case PAIRS: task->done = task->loops->pairs(&sink, halves, task->rounds); break;
    case DOT: task->done = task->loops->dot(&sink, numbers, task->rounds); break;
    case DOT_INT16: task->done = task->loops->dot_int16(&sink, wider, task->rounds); break;
    case READ:
        for (long i = 0; i < task->rounds; i++)
            sink += task->loops->read(task->x, task->n, task->streams);
        task->done = (double)task->n * sizeof *task->x * (double)task->rounds;
        break;
    }
    task->ended = roofline_now();
    task->sink = sink;
    return NULL;
}

/* What `threads` tasks like this one do per second while they run together; x is cut into equal parts. */
static double rate(const struct task *like, int threads)
{
    struct task task[MOST_THREADS];
    pthread_t thread[MOST_THREADS];
    pthread_barrier_t barrier;
    double begun = 0, ended = 0, done = 0;
    int created = 0;

    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads) != 0)
        return 0;
    for (int i = 0; i < threads; i++) {
        task[i] = *like;
        task[i].barrier = &barrier;
        if (like->loop == READ)
            task[i].x = like->x + (size_t)i * like->n;
    }
    for (; created < threads - 1; created++)
        if (pthread_create(&thread[created], NULL, work, &task[created + 1]) != 0) {
            fprintf(stderr, "the system refuses %d threads\n", threads);
            exit(1); /* those that exist wait at the barrier for ever */
        }
    work(&task[0]);
    for (int i = 0; i < created; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&barrier);
    for (int i = 0; i < threads; i++) {
        begun = i == 0 || task[i].begun < begun ? task[i].begun : begun;
        ended = task[i].ended > ended ? task[i].ended : ended;
        done += task[i].done;
    }
    return ended > begun ? done / (ended - begun) * 1e9 : 0;
}

/* ---- The roofs ---------------------------------------------------------------------------- */

static int has_loop(const struct roofline_loops *loops, enum loop loop)
{
    switch (loop) {
    case PAIRS: return loops->pairs != NULL;
    case DOT: return loops->dot != NULL;
    case DOT_INT16: return loops->dot_int16 != NULL;
    default: return 1;
    }
}

/* The best rate of a loop over all levels that have it. */
static double best_rate(enum loop loop, int threads, int tries, const char **level)
{
    struct roofline_loops loops[PALME_CPU_LEVELS];
    int count = loops_here(loops);
    double best = 0;

    if (threads < 1 || threads > MOST_THREADS)
        return 0;
    for (int t = 0; t < tries; t++) {
        for (int l = 0; l < count; l++) {
            const int in_turns = loop == DOT || loop == DOT_INT16;
            const struct task like = { .loops = &loops[l], .loop = loop, .rounds = in_turns ? DOT_ROUNDS : ROUNDS };
            double found = has_loop(&loops[l], loop) ? rate(&like, threads) : 0;

            if (found > best) {
                best = found;
                if (level)
                    *level = loops[l].level;
            }
        }
    }
    return best;
}

double roofline_multiply(int threads, int tries, const char **level)
{
    return best_rate(MULTIPLY, threads, tries, level);
}

double roofline_int8(int threads, int tries)
{
    return fmax(best_rate(MULTIPLY, threads, tries, NULL), best_rate(DOT, threads, tries, NULL));
}

double roofline_int16(int threads, int tries)
{
    return fmax(best_rate(MULTIPLY, threads, tries, NULL), best_rate(DOT_INT16, threads, tries, NULL));
}

double roofline_bf16(int threads, int tries)
{
    return fmax(best_rate(MULTIPLY, threads, tries, NULL), best_rate(PAIRS, threads, tries, NULL));
}

double roofline_read(size_t bytes, int threads, int tries)
{
    struct roofline_loops loops[PALME_CPU_LEVELS];
    int count = loops_here(loops);
    double best = 0;

    if (threads < 1 || threads > MOST_THREADS)
        return 0;
    size_t each = (bytes < 65536 ? 65536 : bytes) / sizeof(float) / (size_t)threads / 1024 * 1024;
    each = each ? each : 1024;
    size_t all = each * (size_t)threads, size = all * sizeof(float);
    size_t mapped = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    float *x = aligned_alloc(HUGE_PAGE, mapped);

    if (!x)
        return 0;
    madvise(x, mapped, MADV_HUGEPAGE); /* a wish: what the machine can do is the roof */
    for (size_t i = 0; i < all; i++)   /* written, since pages of zeros may be one and the same page */
        x[i] = (float)(i & 7);
    long rounds = (long)((READ_LEAST + size - 1) / size);
    for (int t = 0; t < tries; t++) {
        for (int streams = 1; streams <= 4; streams += 3) {
            double found = rate(
                &(struct task){
                    .loops = &loops[count - 1], .loop = READ, .x = x, .n = each, .rounds = rounds, .streams = streams },
                threads);

            best = found > best ? found : best;
        }
    }
    free(x);
    return best;
}
