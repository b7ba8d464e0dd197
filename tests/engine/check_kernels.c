/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_kernels.c - each kernel of each level of this machine against the plain C one, at ugly sizes.
 *
 *     check_kernels [--bench] [SEED]
 *
 * Inputs and outputs end at a page that cannot be touched, and bytes around the outputs are compared. The tolerances
 * are counted, in roundings of EPS of what is rounded; plain C has one, of what it returns. All levels with vectors
 * give the same bits. With --bench it prints the time of each kernel and the ratio to plain C, from one run. A level
 * that brings no kernel fails.
 */
#include "support/check.h"
#include "support/kernelhost.h"
#include "kernels/kernels.h"

static const int sizes[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10,  11,  12,  13,
                             14, 15, 16, 17, 31, 33, 63, 64, 65, 127, 257, 768, 1000 };
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- Buffers of floats -------------------------------------------------------------------- */

static struct buffer buffer_new(size_t count)
{
    return buffer_of_bytes(count * sizeof(float));
}

static size_t count_of(const struct buffer *b)
{
    return b->bytes / sizeof(float);
}

enum kind { RANDOM, ZERO, TINY, HUGE_VALUES, KINDS };

static struct buffer buffer_filled(size_t count, enum kind kind)
{
    static const double scale[KINDS] = { 1, 0, 1e-30, 1e4 };
    struct buffer b = buffer_new(count);

    for (size_t i = 0; i < count; i++)
        b.data[i] = (float)(random_unit() * scale[kind]);
    return b;
}

/* ---- Comparing ---------------------------------------------------------------------------- */

static const struct palme_kernels *truth, *tried;
static int is_new; /* the pointer differs from the one of the level below */

/* |found - wanted| <= tolerance[i], or relative to the largest wanted where tolerance is NULL. */
static void compare(const char *name, int size, const struct buffer *found, const struct buffer *wanted,
                    const double *tolerance, double common)
{
    double worst = 0;
    size_t at = 0;

    for (size_t i = 0; i < count_of(wanted); i++) {
        double limit = tolerance ? tolerance[i] : common;
        double ratio = fabs((double)found->data[i] - wanted->data[i]) / (limit + 1e-37);

        if (!(ratio <= worst)) {
            worst = ratio;
            at = i;
        }
    }
    CHECK_MESSAGE(worst <= 1, "%s %s, size %d: element %zu is %.9g, wanted %.9g", tried->level, name, size, at,
                  at < count_of(found) ? found->data[at] : 0, at < count_of(wanted) ? wanted->data[at] : 0);
    CHECK_MESSAGE(buffer_guarded(found), "%s %s, size %d: wrote before its output", tried->level, name, size);
}

/* A mean has 8 additions in a lane and is rounded, off by 9 EPS of the largest value: `shift`. A deviation is off by
 * that and a rounding; the variance by 10 roundings, of which the root takes half, and by the square of the shift;
 * the factor and two products have one each, and plain C has one of all. */
static double *layernorm_tolerance(const struct buffer *x, const struct buffer *b, double eps)
{
    size_t n = count_of(x);
    double *tolerance = malloc(n * sizeof *tolerance), mean = 0, variance = 0, most = 0;

    for (size_t i = 0; i < n; i++) {
        mean += x->data[i] / (double)n;
        most = fmax(most, fabs(x->data[i]));
    }
    for (size_t i = 0; i < n; i++)
        variance += (x->data[i] - mean) * (x->data[i] - mean) / (double)n;
    double factor = 1 / sqrt(variance + eps), shift = 9 * EPS * most * factor;
    for (size_t i = 0; i < n; i++) {
        double value = fabs(x->data[i] - mean) * factor;

        tolerance[i] = shift + value * ((1 + 5 + 3 + 1) * EPS + shift * shift / 2) + 2 * EPS * fabs(b->data[i]);
    }
    return tolerance;
}

static void check_layernorm(void)
{
    static const double eps[] = { 1e-5, 1e-12, 1e-6, 0.5 };

    for (int s = 0; s < SIZES; s++) {
        for (int kind = 0; kind < KINDS; kind++) {
            size_t n = (size_t)sizes[s];
            struct buffer x = buffer_filled(n, kind), w = buffer_filled(n, RANDOM), b = buffer_filled(n, RANDOM);
            struct buffer found = buffer_new(n), wanted = buffer_new(n);
            double e = eps[kind == RANDOM ? s % 4 : 0];
            double *tolerance = layernorm_tolerance(&x, &b, e);

            truth->layernorm(wanted.data, x.data, w.data, b.data, sizes[s], e);
            tried->layernorm(found.data, x.data, w.data, b.data, sizes[s], e);
            compare("layernorm", sizes[s], &found, &wanted, tolerance, 0);
            free(tolerance);
            tried->layernorm(x.data, x.data, w.data, b.data, sizes[s], e);
            CHECK(memcmp(x.data, found.data, n * sizeof(float)) == 0);
            buffer_free(&x), buffer_free(&w), buffer_free(&b), buffer_free(&found), buffer_free(&wanted);
        }
    }
}

/* Kernels that change n values in place, value by value. */
static void check_values(const char *name, void (*t)(float *, int), void (*f)(float *, int), double scale,
                         double relative, double absolute)
{
    for (int s = 0; s < SIZES; s++) {
        for (int kind = 0; kind < KINDS; kind++) {
            size_t n = (size_t)sizes[s];
            struct buffer wanted = buffer_filled(n, kind), found = buffer_new(n);
            double *tolerance = malloc(n * sizeof *tolerance);

            for (size_t i = 0; i < n; i++)
                found.data[i] = wanted.data[i] *= (float)(kind == HUGE_VALUES ? 1 : scale);
            t(wanted.data, sizes[s]);
            f(found.data, sizes[s]);
            for (size_t i = 0; i < n; i++)
                tolerance[i] = relative * fabs(wanted.data[i]) + absolute;
            compare(name, sizes[s], &found, &wanted, tolerance, 0);
            free(tolerance);
            buffer_free(&wanted), buffer_free(&found);
        }
    }
}

/* x / (1 + e^-s): the exponential has some 5 roundings and passes those of s on, 2 or 6 of them by its two forms, times
 * s itself; the quotient takes of that what the exponential is of its denominator. */
static void check_logistic(void)
{
    for (int trial = 0; trial < 2 * SIZES * KINDS; trial++) {
        int tanh_form = trial % 2, size = sizes[trial / 2 % SIZES];
        size_t n = (size_t)size;
        struct buffer x = buffer_filled(n, (enum kind)(trial / 2 / SIZES)), found = buffer_new(n);
        struct buffer wanted = buffer_new(n);
        double *tolerance = malloc(n * sizeof *tolerance);

        for (size_t i = 0; i < n; i++)
            wanted.data[i] = found.data[i] = x.data[i] *= 6;
        (tanh_form ? truth->gelu_tanh : truth->quick_gelu)(wanted.data, size);
        (tanh_form ? tried->gelu_tanh : tried->quick_gelu)(found.data, size);
        for (size_t i = 0; i < n; i++) {
            double v = x.data[i], s = tanh_form ? 1.5957691216 * (v + 0.044715 * v * v * v) : 1.702 * v;
            double share = s < -80 ? 1 : exp(-s) / (1 + exp(-s));

            tolerance[i] = fabs(wanted.data[i]) * EPS * (4 + share * (5 + 6 * fabs(s))) + 1e-35;
        }
        compare(tanh_form ? "gelu_tanh" : "quick_gelu", size, &found, &wanted, tolerance, 0);
        free(tolerance);
        buffer_free(&x), buffer_free(&found), buffer_free(&wanted);
    }
}

static void check_add(void)
{
    for (int s = 0; s < SIZES; s++) {
        size_t n = (size_t)sizes[s];
        struct buffer wanted = buffer_filled(n, RANDOM), found = buffer_new(n), y = buffer_filled(n, HUGE_VALUES);

        memcpy(found.data, wanted.data, n * sizeof(float));
        truth->add(wanted.data, y.data, sizes[s]);
        tried->add(found.data, y.data, sizes[s]);
        compare("add", sizes[s], &found, &wanted, NULL, 0);
        buffer_free(&wanted), buffer_free(&found), buffer_free(&y);
    }
}

static void check_log_sum_exp(void)
{
    for (int s = 0; s < SIZES; s++) {
        for (int kind = 0; kind <= KINDS; kind++) {
            size_t n = (size_t)sizes[s];
            struct buffer x = buffer_filled(n, kind < KINDS ? kind : RANDOM);

            if (kind == KINDS) /* what a damaged model gives */
                for (size_t i = 0; i < n; i++)
                    x.data[i] = i % 3 ? x.data[i] * 20 : i % 2 ? NAN : -INFINITY;
            double wanted = truth->log_sum_exp(x.data, sizes[s]), found = tried->log_sum_exp(x.data, sizes[s]);
            /* A term is off by its argument's rounding and by 3 in the exponential, a lane by 8 additions; the
             * logarithm makes an absolute error of these relative ones. */
            CHECK_MESSAGE(found == wanted || fabs(found - wanted) <= (1 + 3 + 8) * EPS + 4 * 0x1p-53 * fabs(wanted),
                          "%s log_sum_exp, size %d kind %d: %.9g, wanted %.9g", tried->level, sizes[s], kind, found,
                          wanted);
            buffer_free(&x);
        }
    }
}

static void check_softmax(void)
{
    for (int s = 0; s < SIZES; s++) {
        for (int kind = 0; kind <= KINDS; kind++) {
            size_t n = (size_t)sizes[s], wrong = 0;
            struct buffer x = buffer_filled(n, kind < KINDS ? kind : RANDOM), wanted = buffer_of_bytes(n * 4);

            if (kind == KINDS)
                for (size_t i = 0; i < n; i++)
                    x.data[i] = i % 3 ? x.data[i] * 20 : i % 2 ? NAN : -INFINITY;
            memcpy(wanted.data, x.data, n * 4);
            truth->softmax(wanted.data, sizes[s], 0.3f);
            tried->softmax(x.data, sizes[s], 0.3f);
            /* As in log_sum_exp, and two more roundings; the argument's is of up to 87, below which all is 0. */
            for (size_t i = 0; i < n; i++)
                wrong += !(fabs((double)x.data[i] - wanted.data[i]) <=
                           (87 + 3 + 8 + 4 + (double)n / 16) * EPS * wanted.data[i] + 1e-37);
            CHECK_MESSAGE(wrong == 0 && buffer_guarded(&x), "%s softmax, size %d kind %d: %zu numbers are wrong",
                          tried->level, sizes[s], kind, wrong);
            buffer_free(&x), buffer_free(&wanted);
        }
    }
}

static void check_argmax(void)
{
    for (int s = 0; s < SIZES; s++) {
        for (int form = 0; form < 20; form++) {
            size_t n = (size_t)sizes[s];
            struct buffer x = buffer_filled(n, RANDOM);

            for (size_t i = 0; i < n; i++) /* ties, and what does not count */
                x.data[i] = form == 0                ? NAN
                            : form == 1              ? -INFINITY
                            : random_bits() % 5 == 0 ? NAN
                            : random_bits() % 5 == 0 ? -INFINITY
                            : form % 2               ? x.data[i]
                                                     : floorf(3 * x.data[i]);
            if (form > 15)
                x.data[n - 1] = form > 17 ? INFINITY : 9;
            int wanted = -1, found = tried->argmax(x.data, sizes[s]);
            for (int i = 0; i < sizes[s]; i++)
                if (x.data[i] > (wanted < 0 ? -INFINITY : x.data[wanted]))
                    wanted = i;
            CHECK_MESSAGE(found == wanted, "%s argmax, size %d form %d: %d, wanted %d", tried->level, sizes[s], form,
                          found, wanted);
            buffer_free(&x);
        }
    }
}

static void check_rotate(void)
{
    for (int i = 0; i < 50; i++) {
        struct buffer c = buffer_filled(16, RANDOM), s = buffer_filled(16, RANDOM), g = buffer_filled(16, RANDOM);
        struct buffer wanted = buffer_filled(64, RANDOM), found = buffer_new(64);

        memcpy(found.data, wanted.data, 64 * sizeof(float));
        truth->rotate(wanted.data, c.data, s.data, g.data);
        tried->rotate(found.data, c.data, s.data, g.data);
        /* Two products up to 1, their sum up to 2, its product with the gain, and plain C's rounding of that. */
        compare("rotate", 64, &found, &wanted, NULL, (1 + 1 + 2 + 2 + 2) * EPS);
        CHECK(memcmp(found.data + 32, wanted.data + 32, 32 * sizeof(float)) == 0);
        buffer_free(&c), buffer_free(&s), buffer_free(&g), buffer_free(&wanted), buffer_free(&found);
    }
}

static void check_linear(void)
{
    static const enum palme_activation activations[] = { PALME_ACTIVATION_NONE, PALME_ACTIVATION_RELU6,
                                                         PALME_ACTIVATION_ADD };
    static const int rows[] = { 1, 2, 3, 4, 5, 6, 7, 12, 13 }, outs[] = { 1, 7, 15, 16, 17, 48, 49, 63, 64, 65, 130 };

    for (int s = 0; s < SIZES; s++) {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++) {
                int in = sizes[s], out = outs[o], gap = s % 3, n = rows[r];
                size_t panels = (size_t)(out + 15) / 16, x_stride = (size_t)(in + gap), y_stride = (size_t)(out + gap);
                size_t x_size = (size_t)(n - 1) * x_stride + (size_t)in,
                       y_size = (size_t)(n - 1) * y_stride + (size_t)out;
                struct buffer x = buffer_filled(x_size, (s + (int)r) % KINDS),
                              w = buffer_filled(panels * 16 * (size_t)in, RANDOM);
                struct buffer b = buffer_filled(panels * 16, RANDOM), found = buffer_new(y_size),
                              wanted = buffer_new(y_size);
                const float *bias = o % 2 ? b.data : NULL;
                double *tolerance = calloc(y_size, sizeof *tolerance);
                enum palme_activation f = activations[(s + (int)o) % 3];
                int gaps = 1;

                stand(wanted.data, n, out, y_stride), stand(found.data, n, out, y_stride);
                truth->linear(wanted.data, x.data, w.data, bias, n, in, out, (ptrdiff_t)y_stride, (ptrdiff_t)x_stride,
                              f);
                tried->linear(found.data, x.data, w.data, bias, n, in, out, (ptrdiff_t)y_stride, (ptrdiff_t)x_stride,
                              f);
                for (int row = 0; row < n; row++) {
                    double terms = f == PALME_ACTIVATION_ADD ? 1 + 2.5 : 1;

                    for (int k = 0; k < in; k++)
                        terms += fabs(x.data[(size_t)row * x_stride + (size_t)k]);
                    for (int i = 0; i < out; i++) /* `in` roundings of partial sums, most of them small */
                        tolerance[(size_t)row * y_stride + (size_t)i] = 4 * sqrt((double)in + 4) * EPS * terms;
                    for (int i = 0; row + 1 < n && i < gap; i++) {
                        unsigned char *byte = (unsigned char *)&found.data[(size_t)row * y_stride + (size_t)(out + i)];

                        gaps &= *byte == CANARY;
                        wanted.data[(size_t)row * y_stride + (size_t)(out + i)] =
                            found.data[(size_t)row * y_stride + (size_t)(out + i)];
                    }
                }
                CHECK_MESSAGE(gaps, "%s linear %d x %d x %d: wrote between rows", tried->level, n, in, out);
                compare("linear", in, &found, &wanted, tolerance, 0);
                /* One row alone gives the same bits. */
                struct buffer one = buffer_new((size_t)out);
                stand(one.data, 1, out, 0);
                tried->linear(one.data, x.data + (size_t)(n - 1) * x_stride, w.data, bias, 1, in, out, out, in, f);
                CHECK_MESSAGE(memcmp(one.data, found.data + (size_t)(n - 1) * y_stride, (size_t)out * sizeof(float)) ==
                                  0,
                              "%s linear %d x %d x %d: a row alone is another", tried->level, n, in, out);
                free(tolerance);
                buffer_free(&x), buffer_free(&w), buffer_free(&b), buffer_free(&found), buffer_free(&wanted);
                buffer_free(&one);
            }
        }
    }
}

static _Alignas(64) char attend_workspace[PALME_ATTEND_WORKSPACE(PALME_MOST_HEAD_DIM)];

/* Rows that go through the keys together against plain C, and each against itself alone, bit for bit. */
static void check_attend_rows(const char *name, const struct palme_attend *shape, const struct buffer *q,
                              const struct buffer *k, const struct buffer *v)
{
    struct buffer found = buffer_filled(count_of(q), ZERO), wanted = buffer_filled(count_of(q), ZERO);
    size_t width = (size_t)shape->width;
    struct buffer one = buffer_new(width);
    double largest = 0;
    int alone = 1;

    truth->attend(wanted.data, q->data, k->data, v->data, shape);
    tried->attend(found.data, q->data, k->data, v->data, shape);
    /* A score of size s has an error of some roundings of the sum of its terms, 16 for 64 of them, which the
     * exponential passes on to the weights as a relative one. */
    for (size_t j = 0; j < count_of(k); j++)
        largest = fmax(largest, fabs(k->data[j]));
    compare(name, shape->keys, &found, &wanted, NULL,
            8 * EPS * (8 + shape->width / 4.0 * largest * shape->scale + shape->keys * shape->slope));
    for (int row = 0; row < shape->rows; row++) {
        struct palme_attend single = *shape;

        single.rows = 1;
        single.first += row;
        tried->attend(one.data, q->data + row * shape->q_stride, k->data, v->data, &single);
        alone &= memcmp(one.data, found.data + row * shape->out_stride, width * sizeof(float)) == 0;
    }
    CHECK_MESSAGE(alone, "%s %s, %d rows of %d keys, %d wide: a row alone is another", tried->level, name, shape->rows,
                  shape->keys, shape->width);
    buffer_free(&found), buffer_free(&wanted), buffer_free(&one);
}

static void check_attend(void)
{
    static const int keys[] = { 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 200 },
                     rows[] = { 1, 5, 6, 7, 12, 16, 64, 75, 135 };
    static const int widths[] = { 64, 32, 48, 64, 80, 96, 128, 64, 1, 4, 7, 20, 72, 256, 33 };
    int next = 0;

    for (size_t i = 0; i < sizeof keys / sizeof *keys * sizeof rows / sizeof *rows; i++) {
        for (int form = 0; form < 6; form++) {
            int n = keys[i / (sizeof rows / sizeof *rows)], most = rows[i % (sizeof rows / sizeof *rows)];
            int count = form == 0 || form == 4 || most < n ? most : n, extra = form % 3 * 8;
            int width = widths[next++ % (int)(sizeof widths / sizeof *widths)];
            struct palme_attend shape = {
                .rows = count,
                .keys = n,
                .first = form == 1 || form == 2 ? n - count
                         : form == 5            ? n
                                                : 0,
                .visible = form == 0   ? n
                           : form == 2 ? n / 2
                           : form == 5 ? 0
                           : form == 4 ? n
                                       : 0,
                .width = width,
                .out_stride = width + extra,
                .q_stride = width + extra,
                .k_stride = width + extra,
                .v_stride = width + extra,
                .scale = form == 3 ? 10 : 0.125f,
                .slope = form % 2 ? 0.25f : 0,
                .workspace = attend_workspace,
            };
            size_t stride = (size_t)shape.q_stride, k_size = (size_t)(n - 1) * stride + (size_t)width;
            struct buffer q = buffer_filled((size_t)(count - 1) * stride + (size_t)width, RANDOM);
            struct buffer k = buffer_filled(k_size, RANDOM), v = buffer_filled(k_size, RANDOM);

            if (form == 4) /* scores far apart: the maximum moves from tile to tile */
                for (size_t j = 0; j < k_size; j++)
                    k.data[j] *= (float)(1 + j / stride);
            check_attend_rows("attend", &shape, &q, &k, &v);
            buffer_free(&q), buffer_free(&k), buffer_free(&v);
        }
    }
}

/* A row whose scores overflow weighs nothing there, and spoils no row that goes beside it. */
static void check_attend_overflow(void)
{
    struct palme_attend shape = { .rows = 6,
                                  .keys = 70,
                                  .visible = 70,
                                  .width = 64,
                                  .out_stride = 64,
                                  .q_stride = 64,
                                  .k_stride = 64,
                                  .v_stride = 64,
                                  .scale = 0.125f,
                                  .workspace = attend_workspace };
    struct buffer q = buffer_filled(6 * 64, RANDOM), k = buffer_filled(70 * 64, RANDOM);
    struct buffer v = buffer_filled(70 * 64, RANDOM);

    for (int d = 0; d < 64; d++) {
        q.data[2 * 64 + d] = 1e30f;
        k.data[3 * 64 + d] = 1e30f;
        for (int row = 0; row < 6; row++) /* the others do not see how large that key is */
            q.data[row * 64 + d] = row == 2 ? 1e30f : (float)(row + 1) * 1e-30f;
    }
    struct buffer found = buffer_new(6 * 64), one = buffer_new(64);
    tried->attend(found.data, q.data, k.data, v.data, &shape);
    for (int row = 0; row < 6; row++) {
        struct palme_attend single = shape;
        int finite = 1;

        single.rows = 1;
        single.first = row;
        tried->attend(one.data, q.data + row * 64, k.data, v.data, &single);
        for (int d = 0; d < 64; d++)
            finite &= isfinite(found.data[row * 64 + d]) != 0;
        CHECK_MESSAGE(finite && memcmp(one.data, found.data + row * 64, 64 * sizeof(float)) == 0,
                      "%s attend: row %d suffers from a sum that overflows", tried->level, row);
    }
    buffer_free(&q), buffer_free(&k), buffer_free(&v), buffer_free(&found), buffer_free(&one);
}

/* A row of pixels of each map that a filter's row of taps reads; one in four is padding. */
static void rows_filled(struct buffer buffers[5], const float *rows[5], int size, size_t count, int form)
{
    for (int ky = 0; ky < size; ky++) {
        buffers[ky] = buffer_filled(count, form % KINDS);
        rows[ky] = (form + ky) % 4 == 3 ? NULL : buffers[ky].data;
    }
}

/* Padding before the first pixel, so that both ends of a row have some where there are enough taps. */
static int padding(int in_width, int width, int size, int stride)
{
    int total = (width - 1) * stride + size - in_width;

    return total > 0 ? total / 2 : 0;
}

static void check_conv_rgb(void)
{
    static const int channels[] = { 1, 3, 8, 16, 17, 32, 40, 96, 130 },
                     widths[] = { 1, 2, 3, 5, 8, 11, 12, 13, 31, 64 };

    for (int form = 0; form < 90; form++) {
        int count = channels[form % 9], in_width = widths[form / 9], width = (in_width + 1) / 2;
        int left = padding(in_width, width, 3, 2);
        struct buffer x[5], w = buffer_filled((size_t)(27 * count), RANDOM), b = buffer_filled((size_t)count, RANDOM);
        struct buffer found = buffer_new((size_t)(width * count)), wanted = buffer_new((size_t)(width * count));
        const float *rows[5];

        rows_filled(x, rows, 3, (size_t)in_width * 3, form);
        truth->conv_rgb(wanted.data, rows, w.data, b.data, width, in_width, left, count);
        tried->conv_rgb(found.data, rows, w.data, b.data, width, in_width, left, count);
        /* 27 roundings of partial sums of the bias and up to 27 products, whose root of the mean square is 1/3: such
         * a sum is about sqrt(27) / 3 and stays below 3. The same for the 9 or 25 taps of a filter below. */
        compare("conv_rgb", count, &found, &wanted, NULL, 28 * EPS * (1 + (form % KINDS == HUGE_VALUES ? 1e4 : 1) * 3));
        for (int ky = 0; ky < 3; ky++)
            buffer_free(&x[ky]);
        buffer_free(&w), buffer_free(&b), buffer_free(&found), buffer_free(&wanted);
    }
}

static void check_depthwise(void)
{
    static const int channels[] = { 1, 3, 7, 8, 9, 16, 17, 32, 130 };
    static const int widths[] = { 1, 2, 3, 4, 7, 8, 9, 11, 15, 16, 17, 23, 32, 33, 40 };
    enum { CHANNELS = sizeof channels / sizeof *channels, WIDTHS = sizeof widths / sizeof *widths };

    for (int form = 0; form < CHANNELS * WIDTHS * 4; form++) {
        int count = channels[form % CHANNELS], in_width = widths[form / CHANNELS % WIDTHS];
        int gap = form % 3 * 5; /* channels of the maps that are not wanted */
        int filter = form / CHANNELS / WIDTHS, size = filter % 2 ? 5 : 3, stride = filter / 2 ? 2 : 1;
        struct palme_depthwise shape = {
            .width = (in_width + stride - 1) / stride,
            .in_width = in_width,
            .channels = count,
            .size = size,
            .stride = stride,
            .x_stride = count + gap,
            .y_stride = count + 2 * gap,
            .w_stride = count + gap,
        };
        size_t x_size = (size_t)((in_width - 1) * shape.x_stride + count);
        size_t y_size = (size_t)((shape.width - 1) * shape.y_stride + count);
        struct buffer x[5], w = buffer_filled((size_t)((size * size - 1) * shape.w_stride + count), RANDOM);
        struct buffer b = buffer_filled((size_t)count, RANDOM), found = buffer_new(y_size), wanted = buffer_new(y_size);
        const float *rows[5];

        shape.left = padding(in_width, shape.width, size, stride);
        rows_filled(x, rows, size, x_size, form);
        memcpy(wanted.data, found.data, y_size * sizeof(float)); /* what lies between pixels stays what it was */
        truth->depthwise(wanted.data, rows, w.data, b.data, &shape);
        tried->depthwise(found.data, rows, w.data, b.data, &shape);
        for (int i = 0; i + 1 < shape.width; i++)
            for (int k = count; k < shape.y_stride; k++) {
                size_t at = (size_t)(i * shape.y_stride + k);

                CHECK_MESSAGE(memcmp(&found.data[at], &wanted.data[at], sizeof(float)) == 0,
                              "%s depthwise %d x %d: wrote between pixels", tried->level, in_width, count);
            }
        compare("depthwise", count, &found, &wanted, NULL,
                28 * EPS * (1 + (form % KINDS == HUGE_VALUES ? 1e4 : 1) * size));
        for (int ky = 0; ky < size; ky++)
            buffer_free(&x[ky]);
        buffer_free(&w), buffer_free(&b), buffer_free(&found), buffer_free(&wanted);
    }
}

/* ---- The same bits at all levels with vectors --------------------------------------------- */

static const struct palme_kernels *lowest; /* of the levels with vectors */

static void same(const char *name, int size, struct buffer *found, struct buffer *wanted)
{
    CHECK_MESSAGE(memcmp(found->data, wanted->data, wanted->bytes) == 0, "%s %s, size %d: other bits than at %s",
                  tried->level, name, size, lowest->level);
    buffer_free(found), buffer_free(wanted);
}

/* Runs `call` with the kernels k, once to `found` by those that are tried and once to `wanted` by the lowest; both have
 * `count` floats, which are those of `from` at first, if that is not NULL. */
#define SAME(name, size, count, from, call)                                                                            \
    do {                                                                                                               \
        struct buffer found = buffer_filled(count, ZERO), wanted = buffer_filled(count, ZERO), to;                     \
        const struct palme_kernels *k = tried;                                                                         \
        const float *from_ = (from);                                                                                   \
                                                                                                                       \
        if (from_)                                                                                                     \
            memcpy(found.data, from_, found.bytes), memcpy(wanted.data, from_, wanted.bytes);                          \
        to = found;                                                                                                    \
        call;                                                                                                          \
        k = lowest;                                                                                                    \
        to = wanted;                                                                                                   \
        call;                                                                                                          \
        same(name, size, &found, &wanted);                                                                             \
    } while (0)

static void check_same_rows(int n, enum kind kind)
{
    struct buffer x = buffer_filled((size_t)n, kind), w = buffer_filled((size_t)n, RANDOM),
                  b = buffer_filled((size_t)n, RANDOM);
    struct buffer panels = buffer_filled(2 * 16 * (size_t)n, RANDOM);

    SAME("layernorm", n, (size_t)n, NULL, k->layernorm(to.data, x.data, w.data, b.data, n, 1e-5));
    SAME("gelu", n, (size_t)n, x.data, k->gelu(to.data, n));
    SAME("gelu_tanh", n, (size_t)n, x.data, k->gelu_tanh(to.data, n));
    SAME("quick_gelu", n, (size_t)n, x.data, k->quick_gelu(to.data, n));
    SAME("normalize", n, (size_t)n, x.data, k->normalize(to.data, n));
    SAME("softmax", n, (size_t)n, x.data, k->softmax(to.data, n, 0.3f));
    SAME("linear", n, 20, NULL, k->linear(to.data, x.data, panels.data, NULL, 1, n, 20, 20, n, PALME_ACTIVATION_NONE));
    double found = tried->log_sum_exp(x.data, n), wanted = lowest->log_sum_exp(x.data, n);
    CHECK_MESSAGE(memcmp(&found, &wanted, sizeof found) == 0, "%s log_sum_exp, size %d: other bits than at %s",
                  tried->level, n, lowest->level);
    buffer_free(&x), buffer_free(&w), buffer_free(&b), buffer_free(&panels);
}

/* Rows alone and in step, some of which see part of a tile. */
static void check_same_attention(int rows, int keys, int width, float slope)
{
    struct palme_attend shape = { .rows = rows,
                                  .keys = keys,
                                  .first = keys > rows ? keys - rows : 0,
                                  .visible = keys / 3,
                                  .width = width,
                                  .out_stride = width,
                                  .q_stride = width,
                                  .k_stride = width,
                                  .v_stride = width,
                                  .scale = 0.7f,
                                  .slope = slope,
                                  .workspace = attend_workspace };
    struct buffer q = buffer_filled((size_t)rows * (size_t)width, RANDOM),
                  key = buffer_filled((size_t)keys * (size_t)width, RANDOM);
    struct buffer v = buffer_filled((size_t)keys * (size_t)width, RANDOM);

    SAME("attend", keys, (size_t)rows * (size_t)width, NULL, k->attend(to.data, q.data, key.data, v.data, &shape));
    buffer_free(&q), buffer_free(&key), buffer_free(&v);
}

static void check_same_filters(int channels, int width)
{
    struct buffer x[5], w = buffer_filled(27 * (size_t)channels, RANDOM), b = buffer_filled((size_t)channels, RANDOM);
    struct palme_depthwise shape = { .width = width,
                                     .in_width = width,
                                     .left = 1,
                                     .channels = channels,
                                     .size = 3,
                                     .stride = 1,
                                     .x_stride = channels,
                                     .y_stride = channels,
                                     .w_stride = channels };
    size_t count = (size_t)(width * channels);
    const float *rows[5];

    rows_filled(x, rows, 3, (size_t)(width * 3 > width * channels ? width * 3 : width * channels), 0);
    SAME("conv_rgb", channels, (size_t)((width + 1) / 2 * channels), NULL,
         k->conv_rgb(to.data, rows, w.data, b.data, (width + 1) / 2, width, 0, channels));
    SAME("depthwise", channels, count, NULL, k->depthwise(to.data, rows, w.data, b.data, &shape));
    for (int ky = 0; ky < 3; ky++)
        buffer_free(&x[ky]);
    buffer_free(&w), buffer_free(&b);
}

static void check_same(void)
{
    struct buffer turn = buffer_filled(48, RANDOM), head = buffer_filled(64, RANDOM);

    for (int s = 0; s < SIZES; s++)
        for (int kind = 0; kind < KINDS; kind++)
            check_same_rows(sizes[s], (enum kind)kind);
    for (int i = 0; i < 36; i++)
        check_same_attention((int[]){ 1, 3, 6, 10, 64, 70 }[i % 6], (int[]){ 1, 9, 31, 64, 77, 200 }[i / 6],
                             (int[]){ 64, 48, 64, 7, 96 }[i % 5], i % 2 ? 0.25f : 0);
    for (int i = 0; i < 20; i++)
        check_same_filters((int[]){ 3, 8, 17, 33 }[i % 4], (int[]){ 1, 7, 16, 23, 40 }[i / 4]);
    SAME("rotate", 64, 64, head.data, k->rotate(to.data, turn.data, turn.data + 16, turn.data + 32));
    buffer_free(&turn), buffer_free(&head);
}

/* ---- The bench ---------------------------------------------------------------------------- */

static float pool_a[1 << 20], pool_b[1 << 20], pool_c[1 << 20];
static const struct palme_kernels *benched;

static void bench_linear_1(void)
{
    benched->linear(pool_c, pool_a, pool_b, NULL, 1, 512, 2048, 2048, 512, PALME_ACTIVATION_NONE);
}
static void bench_linear_64(void)
{
    benched->linear(pool_c, pool_a, pool_b, NULL, 64, 512, 2048, 2048, 512, PALME_ACTIVATION_NONE);
}
static void bench_layernorm(void)
{
    benched->layernorm(pool_c, pool_a, pool_b, pool_b, 512, 1e-5);
}
static void bench_gelu(void)
{
    benched->gelu(pool_a, 2048);
}
static void bench_gelu_tanh(void)
{
    benched->gelu_tanh(pool_a, 2048);
}
static void bench_quick_gelu(void)
{
    benched->quick_gelu(pool_a, 2048);
}
static void bench_argmax(void)
{
    benched->argmax(pool_a, 20000);
}
static void bench_log_sum_exp(void)
{
    benched->log_sum_exp(pool_a, 20000);
}

static void bench_attend(void)
{
    struct palme_attend shape = { 16, 1024, 0, 1024, 64, 64, 64, 64, 64, 0.125f, 0, 0, attend_workspace };

    benched->attend(pool_c, pool_a, pool_b, pool_b + 65536, &shape);
}

/* The tokens of a picture of 384 pixels in patches of 16. */
static void bench_heads(int width)
{
    struct palme_attend shape = { 120, 577, 0, 577, width, width, width, width, width, 0.125f, 0, 0, attend_workspace };

    benched->attend(pool_c, pool_a, pool_b, pool_b + 577, &shape);
}

static void bench_attend_32(void)
{
    bench_heads(32);
}
static void bench_attend_48(void)
{
    bench_heads(48);
}
static void bench_attend_64(void)
{
    bench_heads(64);
}
static void bench_attend_80(void)
{
    bench_heads(80);
}
static void bench_attend_96(void)
{
    bench_heads(96);
}
static void bench_attend_128(void)
{
    bench_heads(128);
}

static void bench_filter(int size, int stride, int width, int channels)
{
    const float *rows[5] = { pool_a, pool_a + 20000, pool_a + 40000, pool_a + 60000, pool_a + 80000 };
    struct palme_depthwise shape = { width,    width * stride, (size - stride) / 2, channels, size, stride, channels,
                                     channels, channels };

    benched->depthwise(pool_c, rows, pool_b, pool_b, &shape);
}

static void bench_depthwise_3(void)
{
    bench_filter(3, 1, 64, 144);
}
static void bench_depthwise_3_2(void)
{
    bench_filter(3, 2, 64, 96);
}
static void bench_depthwise_5(void)
{
    bench_filter(5, 1, 32, 288);
}
static void bench_depthwise_5_2(void)
{
    bench_filter(5, 2, 32, 144);
}

static void bench_conv_rgb(void)
{
    const float *rows[3] = { pool_a, pool_a + 20000, pool_a + 40000 };

    benched->conv_rgb(pool_c, rows, pool_b, pool_b, 128, 256, 0, 32);
}

static void bench(const struct palme_kernels *c, const struct palme_kernels *level)
{
    static const struct {
        const char *name;
        void (*run)(void);
        double flops;
    } all[] = {
        { "linear 1 x 512 x 2048", bench_linear_1, 2.0 * 512 * 2048 },
        { "linear 64 x 512 x 2048", bench_linear_64, 2.0 * 64 * 512 * 2048 },
        { "attend 16 x 1024 keys", bench_attend, 4.0 * 16 * 1024 * 64 },
        { "attend 120 x 577, 32 wide", bench_attend_32, 4.0 * 120 * 577 * 32 },
        { "attend 120 x 577, 48 wide", bench_attend_48, 4.0 * 120 * 577 * 48 },
        { "attend 120 x 577, 64 wide", bench_attend_64, 4.0 * 120 * 577 * 64 },
        { "attend 120 x 577, 80 wide", bench_attend_80, 4.0 * 120 * 577 * 80 },
        { "attend 120 x 577, 96 wide", bench_attend_96, 4.0 * 120 * 577 * 96 },
        { "attend 120 x 577, 128 wide", bench_attend_128, 4.0 * 120 * 577 * 128 },
        { "conv_rgb 128 x 32", bench_conv_rgb, 2.0 * 27 * 128 * 32 },
        { "depthwise 3x3, 64 x 144", bench_depthwise_3, 2.0 * 9 * 64 * 144 },
        { "depthwise 3x3/2, 64 x 96", bench_depthwise_3_2, 2.0 * 9 * 64 * 96 },
        { "depthwise 5x5, 32 x 288", bench_depthwise_5, 2.0 * 25 * 32 * 288 },
        { "depthwise 5x5/2, 32 x 144", bench_depthwise_5_2, 2.0 * 25 * 32 * 144 },
        { "layernorm 512", bench_layernorm, 0 },
        { "gelu 2048", bench_gelu, 0 },
        { "gelu_tanh 2048", bench_gelu_tanh, 0 },
        { "quick_gelu 2048", bench_quick_gelu, 0 },
        { "log_sum_exp 20000", bench_log_sum_exp, 0 },
        { "argmax 20000", bench_argmax, 0 },
    };

    for (size_t i = 0; i < sizeof pool_a / sizeof *pool_a; i++) {
        pool_a[i] = (float)random_unit();
        pool_b[i] = (float)random_unit();
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        benched = c;
        double plain = seconds(all[i].run);
        benched = level;
        double fast = seconds(all[i].run);

        printf("%-26s %-5s %10.0f ns, %5.1f times plain C", all[i].name, level->level, fast * 1e9, plain / fast);
        if (all[i].flops > 0)
            printf(", %6.1f GFLOP/s", all[i].flops / fast * 1e-9);
        printf("\n");
    }
}

/* How many entries of the table differ, without its name. */
static int count_new(const struct palme_kernels *a, const struct palme_kernels *b)
{
    const size_t each = sizeof a->layernorm;
    int count = 0;

    for (size_t at = offsetof(struct palme_kernels, layernorm); at < sizeof *a; at += each)
        count += memcmp((const char *)a + at, (const char *)b + at, each) != 0;
    return count;
}

int main(int argc, char **argv)
{
    struct palme_kernels below, level;
    int with_bench = argc > 1 && strcmp(argv[1], "--bench") == 0;
    enum palme_cpu_level best = palme_cpu_detect();

    random_state = argc > 1 + with_bench ? strtoull(argv[1 + with_bench], NULL, 0) : 1;
    printf("seed %llu; this machine has the level %s\n", (unsigned long long)random_state, palme_cpu_name(best));

    static struct palme_kernels c, first;
    palme_kernels_init(&c, PALME_CPU_C);
    truth = &c;
    for (int l = PALME_CPU_C + 1; l < PALME_CPU_LEVELS; l++) {
        if (!palme_cpu_has((enum palme_cpu_level)l)) {
            printf("%s: not run here, this machine or this build lacks it\n", palme_cpu_name((enum palme_cpu_level)l));
            continue;
        }
        palme_kernels_init(&below, palme_cpu_below((enum palme_cpu_level)l));
        palme_kernels_init(&level, (enum palme_cpu_level)l);
        tried = &level;
        is_new = count_new(&level, &below);
        printf("%s: %d new kernels\n", level.level, is_new);
        CHECK_MESSAGE(is_new > 0, "the level %s brings no kernel", level.level);
        check_layernorm();
        /* x (1 - tail): a product, a difference and plain C's rounding of the whole, and x tail, which is at most
         * 0.17, has some 20 roundings: 2 of t, 9 in the polynomial, 5 of the exponential, 3 of products. */
        check_values("gelu", truth->gelu, tried->gelu, 6, 4 * EPS, 4 * EPS);
        check_logistic();
        check_values("relu6", truth->relu6, tried->relu6, 20, 0, 0);
        /* 8 multiply-adds in a lane, of which the root takes half, the factor, a product, and plain C's rounding */
        check_values("normalize", truth->normalize, tried->normalize, 1, (4 + 3) * EPS, 1e-30);
        check_add();
        check_softmax();
        check_log_sum_exp();
        check_argmax();
        check_rotate();
        check_linear();
        check_attend();
        check_attend_overflow();
        check_conv_rgb();
        check_depthwise();
        if (!lowest) {
            first = level;
            lowest = &first;
        }
        check_same();
        if (with_bench)
            bench(&c, &level);
    }
    return best == PALME_CPU_C ? CHECK_SKIP : check_done();
}
