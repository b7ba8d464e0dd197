/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_attend_int16.c - attention in whole numbers of 16 bits, each level of this machine.
 *
 *     check_attend_int16 [--bench] [SEED]
 *
 * Like check_kernels: buffers end at a page that cannot be touched. Levels with vectors must have the bits of the
 * lowest of them; the lowest is compared with plain C, whose rounded numbers are the same and whose weights may be off
 * by a unit, and plain C with attention in double precision. With --bench it prints times beside those of `attend`.
 */
#include "support/check.h"
#include "build_config.h"
#include "support/kernelhost.h"
#include "kernels/kernels.h"

static const struct palme_kernels *truth, *lowest, *tried;
static _Alignas(64) char workspace[PALME_ATTEND_WORKSPACE(PALME_MOST_HEAD_DIM)];

struct attention {
    struct palme_attend shape;
    struct buffer q, k, v;
};

static struct buffer floats(size_t n, double scale)
{
    struct buffer b = buffer_of_bytes(n * sizeof(float));

    for (size_t i = 0; i < n; i++)
        b.data[i] = (float)(random_unit() * scale);
    return b;
}

static struct attention attention_new(int rows, int keys, int width, int gap, float scale)
{
    ptrdiff_t stride = width + gap;
    struct attention a = { .shape = { .rows = rows,
                                      .keys = keys,
                                      .visible = keys,
                                      .width = width,
                                      .out_stride = stride,
                                      .q_stride = stride,
                                      .k_stride = stride,
                                      .v_stride = stride,
                                      .scale = scale,
                                      .workspace = workspace } };

    a.q = floats((size_t)((rows - 1) * stride + width), 1);
    a.k = floats((size_t)((keys - 1) * stride + width), 1);
    a.v = floats((size_t)((keys - 1) * stride + width), 1);
    return a;
}

static void attention_free(struct attention *a)
{
    buffer_free(&a->q), buffer_free(&a->k), buffer_free(&a->v);
}

static struct buffer run(const struct palme_kernels *kernels, const struct attention *a)
{
    struct buffer out = buffer_of_bytes(a->q.bytes);

    memset(out.data, 0, out.bytes);
    kernels->attend_int16(out.data, a->q.data, a->k.data, a->v.data, &a->shape);
    return out;
}

/* By how much an output may differ from that of plain C, of values that are at most 1. A level's scores have some
 * roundings of their size s, at most `width` times the scale here, and its powers of 2 are off by 1.01e-4; that is
 * relative. A weight that is rounded the other way is off by one part of the largest: there is one at least. */
static double allowed(const struct attention *a)
{
    double score = a->shape.width * a->shape.scale, relative = 1.01e-4 + 8 * EPS * (1 + score);

    return 2 * (relative + a->shape.keys / (double)PALME_INT16_WEIGHT_MOST) + 8 * EPS;
}

static void check_one(const struct attention *a, const char *what)
{
    struct buffer found = run(tried, a), wanted = run(tried == lowest ? truth : lowest, a);
    const struct palme_attend *shape = &a->shape;
    int wrong = 0;

    if (tried != lowest)
        wrong = memcmp(found.data, wanted.data, found.bytes) != 0;
    else
        for (int r = 0; r < shape->rows; r++)
            for (int d = 0; d < shape->width; d++) {
                ptrdiff_t at = r * shape->out_stride + d;

                wrong += !(fabs((double)found.data[at] - wanted.data[at]) <= allowed(a)) &&
                         !(isnan(found.data[at]) && isnan(wanted.data[at]));
            }
    for (int r = 0; r + 1 < shape->rows; r++) /* what lies between rows */
        for (int d = shape->width; d < shape->out_stride; d++)
            wrong += found.data[r * shape->out_stride + d] != 0;
    CHECK_MESSAGE(wrong == 0 && buffer_guarded(&found),
                  "%s attend_int16, %s, %d rows of %d keys, %d wide: %d are wrong", tried->level, what, shape->rows,
                  shape->keys, shape->width, wrong);
    /* A row does not depend on those beside it. */
    struct attention one = *a;
    int row = shape->rows / 2;
    struct buffer alone = buffer_of_bytes((size_t)shape->width * sizeof(float));

    one.shape.rows = 1;
    tried->attend_int16(alone.data, a->q.data + row * shape->q_stride, a->k.data, a->v.data, &one.shape);
    CHECK_MESSAGE(memcmp(alone.data, found.data + row * shape->out_stride, alone.bytes) == 0,
                  "%s attend_int16, %s, %d keys, %d wide: a row alone is another", tried->level, what, shape->keys,
                  shape->width);
    buffer_free(&alone), buffer_free(&found), buffer_free(&wanted);
}

/* Plain C beside attention that rounds nothing. A number is off by half a part of the largest in its row, a product of
 * `width` such numbers by that of both sides, which exp makes relative; a value by half a part, a weight too. */
static void check_close(const struct attention *a)
{
    struct buffer found = run(truth, a), wanted = buffer_of_bytes(a->q.bytes);
    double score = a->shape.width * (0.5 / PALME_INT16_KEY_MOST) * (2 + 0.5 / PALME_INT16_KEY_MOST) * a->shape.scale;
    double limit = (2 * expm1(2 * score) + 0.5 / PALME_INT16_VALUE_MOST +
                    a->shape.keys / (double)PALME_INT16_WEIGHT_MOST + 16 * EPS);
    int wrong = 0;

    truth->attend(wanted.data, a->q.data, a->k.data, a->v.data, &a->shape);
    for (int r = 0; r < a->shape.rows; r++)
        for (int d = 0; d < a->shape.width; d++) {
            ptrdiff_t at = r * a->shape.out_stride + d;

            wrong += !(fabs((double)found.data[at] - wanted.data[at]) <= limit);
        }
    CHECK_MESSAGE(wrong == 0, "attend_int16, %d rows of %d keys, %d wide: %d are not near to attend", a->shape.rows,
                  a->shape.keys, a->shape.width, wrong);
    buffer_free(&found), buffer_free(&wanted);
}

static void check_sizes(void)
{
    static const int keys[] = { 1, 2, 3, 15, 16, 17, 64, 65, 127, 128, 129, 200, 257 },
                     rows[] = { 1, 2, 5, 6, 7, 13, 199 };
    static const int widths[] = { 64, 32, 48, 64, 80, 1, 7, 31, 33, 96, 128, 255, 256, 20 };
    int next = 0;

    for (size_t i = 0; i < sizeof keys / sizeof *keys * sizeof rows / sizeof *rows; i++) {
        int k = keys[i % (sizeof keys / sizeof *keys)], n = rows[i / (sizeof keys / sizeof *keys)];
        int width = widths[next++ % (int)(sizeof widths / sizeof *widths)];
        struct attention a = attention_new(n, k, width, next % 3 * 4, next % 2 ? 0.125f : 2);

        check_one(&a, "random");
        if (tried == lowest)
            check_close(&a);
        for (int j = 0; j < k; j++) /* the highest score moves from tile to tile, and values have other sizes */
            for (int d = 0; d < width; d++) {
                a.k.data[j * a.shape.k_stride + d] *= (float)(1 + j) / (float)k;
                a.v.data[j * a.shape.v_stride + d] *= d % 3 ? 1e-3f : 1;
            }
        check_one(&a, "growing");
        attention_free(&a);
    }
}

/* The largest numbers that there may be, all of one sign: no sum leaves its 32 bits. The weighted mean of equal values
 * is that value. */
static void check_largest(void)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct attention a = attention_new(7, 300, PALME_MOST_HEAD_DIM, 0, 1e-3f);
        struct buffer out;
        int wrong = 0;

        for (size_t i = 0; i < a.k.bytes / sizeof(float); i++) {
            a.k.data[i] = 5;
            a.v.data[i] = (float)sign * 3;
        }
        for (size_t i = 0; i < a.q.bytes / sizeof(float); i++)
            a.q.data[i] = (float)sign * 7;
        out = run(tried, &a);
        for (size_t i = 0; i < out.bytes / sizeof(float); i++)
            wrong += !(fabs(out.data[i] - sign * 3.0) <= 3 * 4 * EPS);
        CHECK_MESSAGE(wrong == 0, "%s attend_int16: %d of the largest sums are wrong", tried->level, wrong);
        buffer_free(&out);
        attention_free(&a);
    }
}

/* What is not finite, in a query, a key or a value, stays in its row, is left out, or spoils its dimension. */
static void check_broken(void)
{
    static const float broken[] = { NAN, INFINITY, -INFINITY };

    for (int i = 0; i < 3; i++) {
        struct attention a = attention_new(8, 140, 64, 0, 0.125f), without = attention_new(8, 139, 64, 0, 0.125f);
        int finite = 1, zero = 1, nan = 1;

        without.shape.keys = 139;
        a.k.data[139 * 64 + 7] = broken[i]; /* the last key */
        a.q.data[3 * 64 + 5] = broken[i];
        memcpy(without.q.data, a.q.data, a.q.bytes);
        memcpy(without.k.data, a.k.data, without.k.bytes);
        for (int d = 0; d < 64; d++) /* of no size: it does not change the scale of the others */
            a.v.data[139 * 64 + d] = 0;
        memcpy(without.v.data, a.v.data, without.v.bytes);
        struct buffer with = run(tried, &a), out = run(tried, &without);

        CHECK_MESSAGE(memcmp(with.data, out.data, out.bytes) == 0, "%s attend_int16: a key that is not finite counts",
                      tried->level);
        buffer_free(&with);
        a.v.data[2 * 64 + 9] = broken[i];
        with = run(tried, &a);
        for (int r = 0; r < 8; r++)
            for (int d = 0; d < 64; d++) {
                float y = with.data[r * 64 + d];

                zero &= r != 3 || y == 0;
                finite &= d == 9 || isfinite(y);
                nan &= d != 9 || r == 3 || isnan(y);
            }
        CHECK_MESSAGE(zero && finite && nan, "%s attend_int16: what is not finite spoils others", tried->level);
        buffer_free(&with), buffer_free(&out);
        attention_free(&a), attention_free(&without);
    }
}

/* A row leaves out a tile whose keys are all absent, or have a score that overflows: the first, one in the middle or
 * the last, whatever its values are. The others count as if it were not there. */
static void check_tiles_left_out(void)
{
    enum { ROWS = 7, KEYS = 2 * PALME_INT16_KEYS + 44, WIDTH = 48, TILES = 3 };

    for (int i = 0; i < 2 * TILES; i++) {
        int first = i / 2 * PALME_INT16_KEYS, end = first + PALME_INT16_KEYS < KEYS ? first + PALME_INT16_KEYS : KEYS;
        int overflows = i % 2, wrong = 0;
        struct attention a = attention_new(ROWS, KEYS, WIDTH, 0, 1),
                         without = attention_new(ROWS, KEYS - (end - first), WIDTH, 0, 1);

        for (int d = 0; overflows && d < WIDTH; d++)
            a.q.data[4 * WIDTH + d] = a.k.data[(end - 1) * WIDTH + d] = 1e30f;
        for (int j = first; !overflows && j < end; j++)
            a.k.data[j * WIDTH + j % WIDTH] = NAN;
        for (int j = first; j < end; j++)
            a.v.data[j * WIDTH + j % WIDTH] = j % 2 ? INFINITY : NAN;
        memcpy(without.q.data, a.q.data, a.q.bytes);
        for (int j = 0, to = 0; j < KEYS; j++)
            if (j < first || j >= end) {
                memcpy(without.k.data + to * WIDTH, a.k.data + j * WIDTH, WIDTH * sizeof(float));
                memcpy(without.v.data + to++ * WIDTH, a.v.data + j * WIDTH, WIDTH * sizeof(float));
            }
        struct buffer with = run(tried, &a), out = run(tried, &without), plain = run(truth, &a);

        for (int r = 0; r < ROWS; r++)
            for (int d = 0; (!overflows || r == 4) && d < WIDTH; d++) {
                float y = with.data[r * WIDTH + d];

                wrong += y != out.data[r * WIDTH + d] || !(fabs((double)y - plain.data[r * WIDTH + d]) <= allowed(&a));
            }
        CHECK_MESSAGE(wrong == 0, "%s attend_int16: %d are wrong beside a tile that is left out", tried->level, wrong);
        buffer_free(&with), buffer_free(&out), buffer_free(&plain);
        attention_free(&a), attention_free(&without);
    }
}

/* Scores that overflow weigh nothing; numbers of no size, all alike. */
static void check_extremes(void)
{
    struct attention a = attention_new(6, 70, 64, 0, 1);
    int wrong = 0;

    for (size_t i = 0; i < 6 * 64; i++)
        a.q.data[i] = i / 64 == 2 ? 1e30f : 1e-35f;
    for (int d = 0; d < 64; d++)
        a.k.data[3 * 64 + d] = 1e30f;
    struct buffer out = run(tried, &a);

    for (int r = 0; r < 6; r++)
        for (int d = 0; d < 64; d++) {
            double mean = 0;

            for (int j = 0; j < 70; j++)
                mean += a.v.data[j * 64 + d] / 70;
            wrong += r == 2 ? out.data[r * 64 + d] != 0 : !(fabs(out.data[r * 64 + d] - mean) <= 1e-3);
        }
    CHECK_MESSAGE(wrong == 0, "%s attend_int16: %d numbers of the least or largest size are wrong", tried->level,
                  wrong);
    buffer_free(&out);
    attention_free(&a);
}

/* ---- The bench ------------------------------------------------------------------------------ */

static float pool_q[198 * 128], pool_k[577 * 128], pool_v[577 * 128], pool_out[198 * 128];
static const struct palme_kernels *benched;
static struct palme_attend bench_shape;

static void bench_attend(void)
{
    benched->attend(pool_out, pool_q, pool_k, pool_v, &bench_shape);
}

static void bench_int16(void)
{
    benched->attend_int16(pool_out, pool_q, pool_k, pool_v, &bench_shape);
}

static void bench(const struct palme_kernels *level)
{
    static const int sizes[][3] = { { 198, 577, 64 }, { 99, 197, 64 }, { 198, 577, 48 }, { 198, 577, 128 } };

    for (int i = 0; i < 198 * 128; i++)
        pool_q[i] = (float)random_unit();
    for (int i = 0; i < 577 * 128; i++)
        pool_k[i] = (float)random_unit(), pool_v[i] = (float)random_unit();
    benched = level;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int rows = sizes[i][0], keys = sizes[i][1], width = sizes[i][2];

        bench_shape =
            (struct palme_attend){ rows, keys, 0, keys, width, width, width, width, width, 0.125f, 0, 0, workspace };
        double floats = seconds(bench_attend), whole = seconds(bench_int16), flops = 4.0 * rows * keys * width;

        printf("%d x %d, %d wide, %-7s attend %8.0f ns, %6.1f GFLOP/s; attend_int16 %8.0f ns, %6.1f, %4.2f times\n",
               rows, keys, width, level->level, floats * 1e9, flops / floats * 1e-9, whole * 1e9, flops / whole * 1e-9,
               floats / whole);
    }
}

int main(int argc, char **argv)
{
    static struct palme_kernels c, first;
    int with_bench = argc > 1 && strcmp(argv[1], "--bench") == 0;

    random_state = argc > 1 + with_bench ? strtoull(argv[1 + with_bench], NULL, 0) : 1;
    printf("seed %llu\n", (unsigned long long)random_state);
    palme_kernels_init(&c, PALME_CPU_C);
    truth = &c;
    for (int l = PALME_CPU_C + 1; l < PALME_CPU_LEVELS; l++) {
        struct palme_kernels level;
        uint64_t seed = random_state;

        if (!palme_cpu_has((enum palme_cpu_level)l)) {
            printf("%s: not run here, this machine or this build lacks it\n", palme_cpu_name((enum palme_cpu_level)l));
            continue;
        }
        palme_kernels_init(&level, (enum palme_cpu_level)l);
        tried = &level;
        if (!lowest) {
            first = level;
            tried = lowest = &first;
        }
        printf("%s\n", level.level);
        check_sizes();
        check_largest();
        check_broken();
        check_tiles_left_out();
        check_extremes();
        random_state = seed;
        if (with_bench)
            bench(&level);
    }
    return lowest ? check_done() : CHECK_SKIP;
}
