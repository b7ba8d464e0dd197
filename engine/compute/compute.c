/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * compute.c - threads, BLAS and the cancel callback.
 *
 * Work goes out in tasks that idle threads fetch one by one; a task never splits a sum, so our own
 * kernels give the same bits for any number of threads. Threads wait asleep, but for the first moment: in a
 * pipeline something else always wants the processors, and a thread that spins takes them from the very work it
 * waits for. That is why the default is a small pool of our own; OpenMP (meson's option threads=openmp) spins for
 * long after each region, which only the environment could change, and it ends the process when a thread is refused.
 *
 * BLAS computes single tasks in the thread that fetched them and never threads by itself: the OpenMP
 * flavour of OpenBLAS follows the OpenMP setting of the calling thread, which is set to 1 for the task.
 *
 * OpenBLAS is loaded where it computes, not linked: its constructor starts threads and maps memory for them, turns
 * for ever where it gets none, and runs instructions that some old processors lack. Most processes never need it.
 */
#include "compute/compute.h"

#include "build_config.h"
#include "compute/floats.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if PALME_THREADS_OPENMP
#include <omp.h>
#endif
#if PALME_HAVE_BLAS
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#endif

enum {
    MOST_THREADS = 64,
    PATIENCE = 30000 /* nanoseconds that a thread waits awake before it sleeps */
};

int palme_compute_cancelled(struct palme_compute *c)
{
    if (!c->cancelled && c->cancel && c->cancel(c->cancel_user))
        c->cancelled = 1;
    return c->cancelled;
}

/* What all threads of a job share. */
struct job {
    void (*body)(void *user, int i);
    void *user;
    int count;
    atomic_int next, cancelled;
};

struct palme_pool {
    int threads;        /* the caller included */
    atomic_int process; /* whose threads these are: a child of fork() has the pool without them */
#if PALME_THREADS_POOL
    int64_t patience;      /* nanoseconds that a thread waits awake */
    pthread_mutex_t owner; /* held by the session that computes with the pool */
    struct job *job;       /* belongs to those that joined, and to the owner while nobody may join */
    atomic_uint state;     /* how many joined, whether one may, and the number of the job: see below */
    atomic_int quit;
    atomic_int sleeping, waiting; /* threads that sleep or are about to; whether the owner does */
    pthread_mutex_t lock;         /* for falling asleep and waking up */
    pthread_cond_t work, done;
    int created;
    pthread_t thread[MOST_THREADS];
#endif
};

int palme_compute_threads(const struct palme_compute *c)
{
    return c->pool ? c->pool->threads : 1;
}

/* ---- The pool ----------------------------------------------------------------------------- */

#if PALME_THREADS_POOL
static void fetch(struct job *job)
{
    int i;

    while (!atomic_load_explicit(&job->cancelled, memory_order_relaxed) &&
           (i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->count)
        job->body(job->user, i);
}

/* The parts of `state`. A thread joins a job by adding 1 to a state that it saw open, so none can join after the owner
 * closed it, and it joins each job once because it knows the number of its last one. */
enum { JOINED = 0xff, OPEN = 0x100, NUMBER = 0x200 };

static int work_came(const struct palme_pool *pool, unsigned last)
{
    unsigned state = atomic_load(&pool->state);

    return atomic_load(&pool->quit) || ((state & OPEN) && state / NUMBER != last);
}

static int all_left(const struct palme_pool *pool, unsigned last)
{
    (void)last;
    return !(atomic_load(&pool->state) & JOINED);
}

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* Waits awake, for a moment. Between two layers of a decoder's step are a few microseconds, and to fall asleep and be
 * woken takes longer than the layer. */
static int soon(const struct palme_pool *pool, int (*over)(const struct palme_pool *pool, unsigned last), unsigned last)
{
    int64_t end = now() + pool->patience;

    while (!over(pool, last)) {
        relax();
        if (now() >= end)
            return 0;
    }
    return 1;
}

/* The atomic operations are all sequentially consistent: who falls asleep says so before it looks a last time, and who
 * has news looks for sleepers after it said them. */
static void *pool_thread(void *user)
{
    struct palme_pool *pool = user;
    struct palme_floats floats;
    unsigned last = 0;

    palme_floats_enter(&floats); /* a new thread has the environment of the one that started it */
    for (;;) {
        if (!soon(pool, work_came, last)) {
            pthread_mutex_lock(&pool->lock);
            atomic_fetch_add(&pool->sleeping, 1);
            while (!work_came(pool, last))
                pthread_cond_wait(&pool->work, &pool->lock);
            atomic_fetch_sub(&pool->sleeping, 1);
            pthread_mutex_unlock(&pool->lock);
        }
        if (atomic_load(&pool->quit))
            return NULL;
        unsigned state = atomic_load(&pool->state);

        if (!(state & OPEN) || !atomic_compare_exchange_strong(&pool->state, &state, state + 1))
            continue;
        last = state / NUMBER;
        fetch(pool->job);
        state = atomic_fetch_sub(&pool->state, 1);
        if ((state & (OPEN | JOINED)) == 1 && atomic_load(&pool->waiting)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

/* Free locks, and as many threads as the system gives, up to `wanted`. */
static void start(struct palme_pool *pool, int wanted)
{
    sigset_t all, before;

    pool->created = 0;
    atomic_store(&pool->state, 0);
    atomic_store(&pool->sleeping, 0);
    atomic_store(&pool->waiting, 0);
    pthread_mutex_init(&pool->owner, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    /* The host's signals are for the host's threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->created < wanted - 1 && pool->created < MOST_THREADS - 1 &&
           pthread_create(&pool->thread[pool->created], NULL, pool_thread, pool) == 0)
        pool->created++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pool->threads = pool->created + 1;
}

int palme_pool_open(struct palme_pool **out, int wanted, int *usable)
{
    struct palme_pool *pool = calloc(1, sizeof *pool);
    int processors = palme_processors();

    *out = pool;
    *usable = 1;
    if (!pool)
        return PALME_ERROR_MEMORY;
    if (wanted <= 0)
        wanted = processors;
    if (wanted <= processors)
        pool->patience = PATIENCE;
    start(pool, wanted);
    *usable = pool->threads;
    atomic_store(&pool->process, (int)getpid());
    return PALME_OK;
}

/* In a child of fork() the first caller starts threads anew, since the locks and the state of the parent mean nothing
 * here. Callers that come meanwhile compute alone. */
struct palme_pool *palme_pool_here(struct palme_pool *pool)
{
    enum { STARTING = -1 };
    int here = (int)getpid(), process = pool ? atomic_load(&pool->process) : here;

    if (process == here)
        return pool;
    if (process == STARTING || !atomic_compare_exchange_strong(&pool->process, &process, STARTING))
        return NULL;
    start(pool, pool->threads);
    atomic_store(&pool->process, here);
    return pool;
}

void palme_pool_close(struct palme_pool **out)
{
    struct palme_pool *pool = *out;

    if (!pool)
        return;
    if (atomic_load(&pool->process) == (int)getpid()) {
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->quit, 1);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
        for (int i = 0; i < pool->created; i++)
            pthread_join(pool->thread[i], NULL);
        pthread_cond_destroy(&pool->work);
        pthread_cond_destroy(&pool->done);
        pthread_mutex_destroy(&pool->lock);
        pthread_mutex_destroy(&pool->owner);
    } /* else the threads are the parent's, and locks that they hold or wait for cannot be destroyed */
    free(pool);
    *out = NULL;
}

static int parallel(struct palme_compute *c, struct job *job, int each)
{
    struct palme_pool *pool = c->pool;
    int own = 0, i;

    if (pthread_mutex_trylock(&pool->owner) != 0)
        return 0;
    pool->job = job;
    atomic_store(&pool->state, (atomic_load(&pool->state) / NUMBER + 1) * NUMBER | OPEN);
    if (atomic_load(&pool->sleeping)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }

    while ((i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->count) {
        job->body(job->user, i);
        if (++own % each == 0 && palme_compute_cancelled(c)) {
            atomic_store_explicit(&job->cancelled, 1, memory_order_relaxed);
            break;
        }
    }

    atomic_fetch_and(&pool->state, ~(unsigned)OPEN); /* a thread that wakes up late has missed it */
    if (!soon(pool, all_left, 0)) {
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->waiting, 1);
        while (!all_left(pool, 0))
            pthread_cond_wait(&pool->done, &pool->lock);
        atomic_store(&pool->waiting, 0);
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->owner);
    return 1;
}

#else /* OpenMP, or no threads at all */

#if PALME_THREADS_OPENMP
static void *nothing(void *user)
{
    return user;
}
#endif

int palme_pool_open(struct palme_pool **out, int wanted, int *usable)
{
    struct palme_pool *pool = calloc(1, sizeof *pool);

    *out = pool;
    *usable = 1;
    if (!pool)
        return PALME_ERROR_MEMORY;
    pool->threads = 1;
#if PALME_THREADS_OPENMP
    /* libgomp ends the process when it cannot create a thread, so the first to ask is not libgomp. */
    pthread_t thread[MOST_THREADS];
    int created = 0;

    if (wanted <= 0)
        wanted = palme_processors();
    while (created < wanted - 1 && created < MOST_THREADS - 1 &&
           pthread_create(&thread[created], NULL, nothing, NULL) == 0)
        created++;
    for (int i = 0; i < created; i++)
        pthread_join(thread[i], NULL);
    pool->threads = *usable = created + 1;
#else
    (void)wanted;
#endif
    atomic_store(&pool->process, (int)getpid());
    return PALME_OK;
}

/* libgomp waits for ever for threads that stayed in the parent. */
struct palme_pool *palme_pool_here(struct palme_pool *pool)
{
    return pool && atomic_load(&pool->process) == (int)getpid() ? pool : NULL;
}

void palme_pool_close(struct palme_pool **pool)
{
    free(*pool);
    *pool = NULL;
}

static int parallel(struct palme_compute *c, struct job *job, int each)
{
#if PALME_THREADS_OPENMP
    if (omp_in_parallel())
        return 0;
#pragma omp parallel num_threads(c->pool->threads)
    {
        struct palme_floats floats;
        int own = 0;

        palme_floats_enter(&floats); /* the threads are as old as the host's first parallel region */
#pragma omp for schedule(dynamic)
        for (int i = 0; i < job->count; i++) {
            if (omp_get_thread_num() == 0 && ++own % each == 0 && palme_compute_cancelled(c))
                atomic_store_explicit(&job->cancelled, 1, memory_order_relaxed);
            if (!atomic_load_explicit(&job->cancelled, memory_order_relaxed))
                job->body(job->user, i);
        }
        palme_floats_leave(&floats);
    }
    return 1;
#else
    (void)c;
    (void)job;
    (void)each;
    return 0;
#endif
}
#endif

void palme_parallel(struct palme_compute *c, int count, double flops, void (*body)(void *user, int i), void *user)
{
    struct job job = { .body = body, .user = user, .count = count };
    double task = flops / (count > 0 ? count : 1), since = 0;

    if (palme_compute_cancelled(c))
        return;
    if (c->pool && c->pool->threads > 1 && count > 1 && flops >= 2 * PALME_TASK_FLOPS) {
        int each = (int)(PALME_CANCEL_FLOPS / 2 / (task > 1 ? task : 1));

        if (parallel(c, &job, each > 1 ? each : 1))
            return;
    }
    for (int i = 0; i < count; i++) {
        body(user, i);
        since += task;
        if (since + task / 2 >= PALME_CANCEL_FLOPS) { /* nearer to it than after one more */
            since = 0;
            if (i + 1 < count && palme_compute_cancelled(c))
                return;
        }
    }
}

/* ---- BLAS --------------------------------------------------------------------------------- */

int palme_blas(void)
{
    return PALME_HAVE_BLAS;
}

#if PALME_HAVE_BLAS
/* What cblas.h calls these. */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

/* What OpenBLAS's constructor may map: buffers, and stacks and heaps of its threads. */
#define BLAS_BYTES ((size_t)512 << 20)
#define BLAS_BYTES_EACH ((size_t)128 << 20) /* of the machine's processors */

/* Where the address space is limited the constructor would turn for ever over memory that it does not get. */
static int space_for_blas(void)
{
    struct rlimit limit;
    long processors = sysconf(_SC_NPROCESSORS_CONF);
    size_t bytes = BLAS_BYTES + BLAS_BYTES_EACH * (size_t)(processors > 0 ? processors : 1);
    void *probe;

    if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return 1;
    probe = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED)
        return 0;
    munmap(probe, bytes);
    return 1;
}

/* On processors older than these OpenBLAS may choose instructions that they, or those who emulate them, do not have. */
static int processor_for_blas(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
#else
    return 1;
#endif
}

static void *load_blas(void)
{
    static const char *const names[] = { "libopenblas.so.0", "libopenblas.so.3" };
    void *library = NULL;
    sigset_t all, before;

    /* The host's signals are for the host's threads, not for those of BLAS. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return library;
}

/* The dynamic linker counts who has loaded it and guards itself; it is never unloaded, since its threads go on. */
int palme_blas_open(struct palme_blas *blas, enum palme_cpu_level level, const struct palme_log *log)
{
    const char *why = NULL;
    void *library;

    memset(blas, 0, sizeof *blas);
    if (level != PALME_CPU_C)
        return 0;
    if (!processor_for_blas())
        why = "this processor is too old";
    else if (!space_for_blas())
        why = "the address space is limited";
    else if (!(library = load_blas()))
        why = "it is not installed";
    else if (!(blas->sgemm = (palme_sgemm_fn)dlsym(library, "cblas_sgemm")))
        why = "it has no cblas_sgemm";
    if (why) {
        palme_log_message(log, PALME_LOG_INFO, "computes without OpenBLAS, for %s", why);
        return 0;
    }
    /* There are these where BLAS has an OpenMP, whichever that is. */
    blas->set_threads = (void (*)(int))dlsym(library, "omp_set_num_threads");
    blas->get_threads = (int (*)(void))dlsym(library, "omp_get_max_threads");
    palme_log_message(log, PALME_LOG_INFO, "OpenBLAS computes the products of many rows");
    return 1;
}

struct blas_job {
    const struct palme_blas *blas;
    float *y;
    const float *x, *w, *b;
    int rows, in, out, row_step, column_step, column_parts;
    int threads; /* of each task */
};

static void blas_part(void *user, int i)
{
    const struct blas_job *job = user;
    const struct palme_blas *blas = job->blas;
    int row = i / job->column_parts * job->row_step, first = i % job->column_parts * job->column_step;
    int rows = job->rows - row < job->row_step ? job->rows - row : job->row_step;
    int columns = job->out - first < job->column_step ? job->out - first : job->column_step;
    float *y = job->y + (size_t)row * job->out + first;
    int before = blas->get_threads ? blas->get_threads() : 1;

    if (job->b)
        for (int r = 0; r < rows; r++)
            memcpy(y + (size_t)r * job->out, job->b + first, (size_t)columns * sizeof *y);
    if (blas->set_threads)
        blas->set_threads(job->threads);
    blas->sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, rows, columns, job->in, 1, job->x + (size_t)row * job->in, job->in,
                job->w + (size_t)first * job->in, job->in, job->b ? 1 : 0, y, job->out);
    if (blas->set_threads)
        blas->set_threads(before);
}

static int at_least(double value, int least, int most, int multiple)
{
    int steps = value >= most ? most : (int)value / multiple * multiple;

    return steps < least ? (least < most ? least : most) : steps;
}

void palme_blas_linear(struct palme_compute *c, float *y, const float *x, const float *w, const float *b, int rows,
                       int in, int out)
{
    int threads = c->pool ? c->pool->threads : 1;
    struct blas_job job = {
        c->kernels->blas, y, x, w, b, rows, in, out, rows, out, 1, PALME_THREADS_OPENMP ? threads : 1
    };
    double flops = 2.0 * rows * in * out, parts = flops / (PALME_CANCEL_FLOPS / 2);

    /* As few tasks as the cancel callback and the threads allow, because BLAS packs its operands anew in
     * each. It packs all of W for every task of rows and all rows for every task of columns: split
     * the longer side. */
    if (threads > 1 && parts < threads && flops >= 2 * PALME_TASK_FLOPS)
        parts = threads;
    if (parts > 1 && rows > out)
        job.row_step = at_least(rows / parts + 1, 64, rows, 16);
    else if (parts > 1)
        job.column_step = at_least(out / parts + 1, 64, out, 16);
    job.column_parts = (out + job.column_step - 1) / job.column_step;
    int count = (rows + job.row_step - 1) / job.row_step * job.column_parts;
#if PALME_THREADS_OPENMP
    /* Nested in a parallel region BLAS could deadlock, so here it threads by itself, task by task. */
    for (int i = 0; i < count && !palme_compute_cancelled(c); i++)
        blas_part(&job, i);
#else
    palme_parallel(c, count, flops, blas_part, &job);
#endif
}
#else
int palme_blas_open(struct palme_blas *blas, enum palme_cpu_level level, const struct palme_log *log)
{
    (void)level, (void)log;
    memset(blas, 0, sizeof *blas);
    return 0;
}

void palme_blas_linear(struct palme_compute *c, float *y, const float *x, const float *w, const float *b, int rows,
                       int in, int out)
{
    (void)c, (void)y, (void)x, (void)w, (void)b, (void)rows, (void)in, (void)out;
}
#endif
