/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_pixels.c - the kernels for rows of pictures, each level of this machine against plain C, bit for bit, and
 * against the sums themselves.
 *
 *     check_pixels [--bench] [SEED]
 *
 * Like check_kernels: inputs and outputs end at a page that cannot be touched, and bytes before the outputs are
 * compared. A result is off from the exact sum by its roundings, each at most EPS of a partial sum, which the sum of
 * the absolute terms bounds; the roundings are counted where they are compared, and one more stands for the products
 * of such errors. With --bench it prints times and ratios.
 */
#include "support/check.h"
#include "support/kernelhost.h"
#include "kernels/kernels.h"

static const int sizes[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,  12,  13,
                             14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 257, 1000 };
enum { SIZES = sizeof sizes / sizeof *sizes, MOST_ROWS = 40 };

static struct buffer floats(int n, double scale)
{
    struct buffer b = buffer_of_bytes((size_t)n * sizeof(float));

    for (int i = 0; i < n; i++)
        b.data[i] = (float)(random_unit() * scale);
    return b;
}

static const struct palme_kernels *truth, *tried;

/* found is wanted, bit for bit; and exact, unless it is NULL, to the limit. */
static void compare(const char *name, int n, int more, const struct buffer *found, const struct buffer *wanted,
                    const double *exact, double limit)
{
    double worst = 0;

    for (size_t i = 0; exact && i < wanted->bytes / sizeof(float); i++)
        worst = fabs(found->data[i] - exact[i]) <= worst ? worst : fabs(found->data[i] - exact[i]);
    CHECK_MESSAGE(worst <= limit, "%s %s, %d of %d: off by %g", tried->level, name, n, more, worst);
    CHECK_MESSAGE(memcmp(found->data, wanted->data, wanted->bytes) == 0, "%s %s, %d of %d: other bits than in plain C",
                  tried->level, name, n, more);
    CHECK_MESSAGE(buffer_guarded(found), "%s %s, %d of %d: wrote before its output", tried->level, name, n, more);
}

static void check_sum_rows(void)
{
    for (int s = 0; s < SIZES; s++)
        for (int rows = 1; rows <= MOST_ROWS; rows += rows < 5 ? 1 : 7)
            for (int more = 0; more < 2; more++) {
                const int n = sizes[s];
                struct buffer row[MOST_ROWS], w = floats(rows, 1);
                struct buffer found = floats(n, 300), wanted = buffer_of_bytes((size_t)n * sizeof(float));
                const uint8_t *x[MOST_ROWS];
                double *exact = malloc((size_t)n * sizeof *exact);

                memcpy(wanted.data, found.data, found.bytes);
                for (int k = 0; k < rows; k++) {
                    row[k] = buffer_of_bytes((size_t)n);
                    for (int i = 0; i < n; i++)
                        ((uint8_t *)row[k].data)[i] = (uint8_t)(s % 3 == 0 ? 255 : random_bits());
                    x[k] = (const uint8_t *)row[k].data;
                }
                for (int i = 0; i < n; i++) {
                    exact[i] = more ? found.data[i] : 0;
                    for (int k = 0; k < rows; k++)
                        exact[i] += (double)w.data[k] * x[k][i];
                }
                truth->filter_vertical(wanted.data, x, w.data, rows, n, more);
                tried->filter_vertical(found.data, x, w.data, rows, n, more);
                /* A rounding for each row. */
                compare("filter_vertical", n, rows, &found, &wanted, exact, (rows + 1) * EPS * (300 + 255.0 * rows));
                free(exact);
                for (int k = 0; k < rows; k++)
                    buffer_free(&row[k]);
                buffer_free(&w), buffer_free(&found), buffer_free(&wanted);
            }
}

static void check_unzip(void)
{
    for (int s = 0; s < SIZES; s++)
        for (int channels = 2; channels <= 4; channels++)
            for (int without = 0; without <= channels; without++) {
                const int n = sizes[s];
                struct buffer x = floats(n * channels, 1), found[4], wanted[4];
                float *to[4] = { NULL }, *truly[4] = { NULL };

                for (int c = 0; c < channels; c++) {
                    found[c] = buffer_of_bytes((size_t)n * sizeof(float));
                    wanted[c] = buffer_of_bytes((size_t)n * sizeof(float));
                    to[c] = c == without ? NULL : found[c].data;
                    truly[c] = c == without ? NULL : wanted[c].data;
                }
                truth->deinterleave(truly, x.data, channels, n);
                tried->deinterleave(to, x.data, channels, n);
                for (int c = 0; c < channels; c++) {
                    compare("deinterleave", n, channels, &found[c], &wanted[c], NULL, 0);
                    buffer_free(&found[c]), buffer_free(&wanted[c]);
                }
                buffer_free(&x);
            }
}

static void check_sum_spans(void)
{
    for (int s = 0; s < SIZES; s++)
        for (int taps = PALME_TAPS_STEP; taps <= 9 * PALME_TAPS_STEP; taps += PALME_TAPS_STEP) {
            const int n = sizes[s], length = taps + n / 2;
            struct buffer x = floats(length, 255), w = floats(taps * n, 1);
            struct buffer first = buffer_of_bytes((size_t)n * sizeof(int));
            struct buffer found = buffer_of_bytes((size_t)n * sizeof(float));
            struct buffer wanted = buffer_of_bytes((size_t)n * sizeof(float));

            for (int i = 0; i < n; i++)
                ((int *)(void *)first.data)[i] = (int)(random_bits() % (unsigned)(length - taps + 1));
            ((int *)(void *)first.data)[n - 1] = length - taps; /* up to the forbidden page */
            double *exact = calloc((size_t)n, sizeof *exact);
            for (int i = 0; i < n * taps; i++)
                exact[i / taps] += (double)w.data[i] * x.data[((int *)(void *)first.data)[i / taps] + i % taps];
            truth->filter_horizontal(wanted.data, x.data, w.data, (const int *)(void *)first.data, taps, n);
            tried->filter_horizontal(found.data, x.data, w.data, (const int *)(void *)first.data, taps, n);
            /* A product and fused multiply-adds in each of the PALME_TAPS_STEP sums, which three additions bring
             * together. */
            compare("filter_horizontal", n, taps, &found, &wanted, exact,
                    (taps / PALME_TAPS_STEP + 3 + 1) * EPS * 255 * taps);
            free(exact);
            buffer_free(&x), buffer_free(&w), buffer_free(&first), buffer_free(&found), buffer_free(&wanted);
        }
}

/* One pixel that is not opaque, at each place of each length, and none. */
static void check_opaque(void)
{
    for (int s = 0; s < SIZES; s++)
        for (int alpha = 0; alpha <= 3; alpha += 3) {
            const int n = sizes[s];
            struct buffer x = buffer_of_bytes((size_t)n * 4);
            uint8_t *bytes = (uint8_t *)x.data;
            int wrong = 0;

            for (int i = 0; i < 4 * n; i++)
                bytes[i] = i % 4 == alpha ? 255 : (uint8_t)random_bits();
            wrong += !tried->opaque(bytes, alpha, n);
            for (int i = 0; i < n; i++) {
                bytes[4 * i + alpha] = (uint8_t)(i % 2 ? 254 : 127);
                wrong += tried->opaque(bytes, alpha, n) != 0;
                bytes[4 * i + alpha] = 255;
            }
            CHECK_MESSAGE(wrong == 0, "%s opaque, %d: %d answers are wrong", tried->level, n, wrong);
            buffer_free(&x);
        }
}

/* All colours with all alphas, and each length, against the formula in whole numbers: 255 times the result is off by
 * at most half of 255. */
static void check_over_white(void)
{
    for (int s = -1; s < SIZES; s++)
        for (int how = 0; how < 4; how++) {
            const int n = s < 0 ? 65536 : sizes[s], alpha = how % 2 * 3, premultiplied = how / 2;
            struct buffer x = buffer_of_bytes((size_t)n * 4), found = buffer_of_bytes((size_t)n * 4);
            uint8_t *in = (uint8_t *)x.data, *out = (uint8_t *)found.data;
            int wrong = 0;

            for (int i = 0; i < n; i++)
                for (int c = 0; c < 4; c++)
                    in[4 * i + c] = (uint8_t)(s >= 0 ? (int)(random_bits() & 255) : c == alpha ? i >> 8 : i + 85 * c);
            tried->over_white(out, in, alpha, premultiplied, n);
            for (int i = 0; i < 4 * n; i++) {
                int a = in[i / 4 * 4 + alpha], v = in[i], sum = v + 255 - a;
                int off = 255 * out[i] - (a * v + (255 - a) * 255);

                if (i % 4 != alpha)
                    wrong += premultiplied ? out[i] != (sum < 255 ? sum : 255) : 2 * abs(off) > 255;
            }
            CHECK_MESSAGE(wrong == 0, "%s over_white, %d, alpha at %d, premultiplied %d: %d bytes are wrong",
                          tried->level, n, alpha, premultiplied, wrong);
            CHECK_MESSAGE(buffer_guarded(&found), "%s over_white, %d: wrote before its output", tried->level, n);
            buffer_free(&x), buffer_free(&found);
        }
}

static void check_colour(void)
{
    for (int s = 0; s < SIZES; s++)
        for (int identity = 0; identity < 2; identity++) {
            const int n = sizes[s];
            struct buffer x[3], found = buffer_of_bytes((size_t)n * 3), wanted = buffer_of_bytes((size_t)n * 3);
            const float *from[3];
            float m[3][4];
            double worst = 0;

            for (int c = 0; c < 3; c++) {
                x[c] = floats(n, 300);
                for (int i = 0; i < n; i += 3) /* halves of two bytes */
                    x[c].data[i] = floorf(x[c].data[i]) + 0.5f;
                from[c] = x[c].data;
                for (int k = 0; k < 4; k++)
                    m[c][k] =
                        identity ? c == k : (float)((double)(random_bits() >> 11) * 0x1p-51 - 2) * (k == 3 ? 200 : 1);
            }
            tried->colour((uint8_t *)found.data, from, (const float(*)[4])m, n);
            truth->colour((uint8_t *)wanted.data, from, (const float(*)[4])m, n);
            CHECK_MESSAGE(memcmp(found.data, wanted.data, wanted.bytes) == 0,
                          "%s colour, %d: other bytes than in plain C", tried->level, n);
            for (int i = 0; i < 3 * n; i++) {
                const float *row = m[i % 3];
                double v = (double)row[0] * from[0][i / 3] + (double)row[1] * from[1][i / 3] +
                           (double)row[2] * from[2][i / 3] + (double)row[3];

                v = v < 0 ? 0 : v > 255 ? 255 : v;
                worst = fmax(worst, fabs(v - ((uint8_t *)found.data)[i]));
            }
            /* Half a byte, and three roundings of terms that are up to 2 * 300 and once 2 * 200. */
            CHECK_MESSAGE(worst <= 0.5 + (3 + 1) * EPS * (3 * 2 * 300 + 400), "%s colour, %d: off by %g", tried->level,
                          n, worst);
            CHECK_MESSAGE(buffer_guarded(&found), "%s colour, %d: wrote before its output", tried->level, n);
            for (int c = 0; c < 3; c++)
                buffer_free(&x[c]);
            buffer_free(&found), buffer_free(&wanted);
        }
}

/* ---- Times: what one row of 256 out of a frame of 1920 x 1080 takes -------------------------------------- */

static const struct palme_kernels *benched;
static uint8_t pool_bytes[9 * 1920 * 3], pool_out[256 * 3], pool_flat[1920 * 4];
static float pool_a[16384], pool_b[16384];
static int pool_first[256];

static void bench_sum_rows(void)
{
    const uint8_t *x[9];

    for (int k = 0; k < 9; k++)
        x[k] = pool_bytes + k * 1920 * 3;
    benched->filter_vertical(pool_b, x, pool_a, 9, 1920 * 3, 0);
}

static void bench_unzip(void)
{
    float *to[3] = { pool_b, pool_b + 1920, pool_b + 3840 };

    benched->deinterleave(to, pool_a, 3, 1920);
}

static void bench_sum_spans(void)
{
    benched->filter_horizontal(pool_b, pool_a, pool_a, pool_first, 16, 256);
}

static void bench_opaque(void)
{
    pool_out[0] = (uint8_t)benched->opaque(pool_bytes, 3, 1920);
}

static void bench_over_white(void)
{
    benched->over_white(pool_flat, pool_bytes, 3, 0, 1920);
}

static void bench_colour(void)
{
    static const float m[3][4] = { { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, { 1, 1, 1, 1 } };
    const float *x[3] = { pool_a, pool_a + 256, pool_a + 512 };

    benched->colour(pool_out, x, m, 256);
}

static void bench(const struct palme_kernels *c, const struct palme_kernels *level)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {
        { "filter_vertical 9 x 5760", bench_sum_rows },    { "deinterleave 3 x 1920", bench_unzip },
        { "filter_horizontal 256 x 16", bench_sum_spans }, { "opaque 1920", bench_opaque },
        { "over_white 1920", bench_over_white },           { "colour 256", bench_colour },
    };

    for (int i = 0; i < 256; i++)
        pool_first[i] = (int)(i * 7.4);
    memset(pool_bytes, 255, sizeof pool_bytes);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        benched = c;
        double plain = seconds(all[i].run);
        benched = level;
        double fast = seconds(all[i].run);

        printf("%-20s %-5s %8.0f ns, %5.1f times plain C\n", all[i].name, level->level, fast * 1e9, plain / fast);
    }
}

int main(int argc, char **argv)
{
    int with_bench = argc > 1 && strcmp(argv[1], "--bench") == 0;
    enum palme_cpu_level best = palme_cpu_detect();
    struct palme_kernels c, level;

    random_state = argc > 1 + with_bench ? strtoull(argv[1 + with_bench], NULL, 0) : 1;
    printf("seed %llu; this machine has the level %s\n", (unsigned long long)random_state, palme_cpu_name(best));
    palme_kernels_init(&c, PALME_CPU_C);
    truth = &c;
    /* Plain C as well: its own reading stays within bounds, and colour is compared with the sum itself. */
    for (int l = PALME_CPU_C; l < PALME_CPU_LEVELS; l++) {
        if (!palme_cpu_has((enum palme_cpu_level)l)) {
            printf("%s: not run here, this machine or this build lacks it\n", palme_cpu_name((enum palme_cpu_level)l));
            continue;
        }
        palme_kernels_init(&level, (enum palme_cpu_level)l);
        tried = &level;
        CHECK_MESSAGE(l == PALME_CPU_C ||
                          (level.filter_vertical != c.filter_vertical && level.deinterleave != c.deinterleave &&
                           level.filter_horizontal != c.filter_horizontal && level.colour != c.colour &&
                           level.opaque != c.opaque && level.over_white != c.over_white),
                      "the level %s does not bring the six kernels", level.level);
        check_sum_rows();
        check_unzip();
        check_sum_spans();
        check_opaque();
        check_over_white();
        check_colour();
        if (with_bench && l > PALME_CPU_C)
            bench(&c, &level);
    }
    return check_done();
}
