/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_floats.c - the host's floating-point environment: with other rounding, with subnormals flushed to zero, with
 * every trap, a caption and its score are the same to the last bit, at every level of this machine, in every
 * precision, with one thread and two; and the host finds its environment as it left it.
 *
 *     check_floats MODEL
 */
#include <fenv.h>
#if defined __x86_64__ || defined __i386__
#include <xmmintrin.h>
#endif

#include "support/check.h"
#include "support/told.h"

enum { ALL_TRAPS = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW | FE_INEXACT };

static const char *path;

static void usual(void)
{
    fesetenv(FE_DFL_ENV);
}

static void upward(void)
{
    fesetround(FE_UPWARD);
}

static void toward_zero(void)
{
    fesetround(FE_TOWARDZERO);
    feraiseexcept(FE_DIVBYZERO);
}

/* Subnormals are zeros, as inputs and as results. */
static void flushing(void)
{
#if defined __x86_64__ || defined __i386__
    _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined __aarch64__
    __asm__ volatile("msr fpcr, %0" : : "r"(1UL << 24));
#endif
}

static void trapping(void)
{
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(ALL_TRAPS);
}

static const struct {
    const char *name;
    void (*set)(void);
} environments[] = {
    { "upward", upward }, { "toward zero", toward_zero }, { "flushing", flushing }, { "trapping", trapping }
};

/* Everything that a host calls, scores included, under an environment; *kept: it was found again. */
static struct told tell(void (*set)(void), const struct palme_setup *setup, int beams, int *kept)
{
    const struct palme_options options = { .beams = beams, .max_length = 3, .length_penalty = 0.3 };
    unsigned char square[40 * 40 * 3];
    static const unsigned char pixels[50 * 30 * 3] = { 7, 200 };
    const struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = 50, .height = 30, .planes = { pixels }, .strides = { 150 }
    };
    palme_preprocessor *preprocessor = NULL;
    fenv_t before, after;
    struct told told;

    set();
    fegetenv(&before);
    told = told_from(path, setup, &options, "a dog");
    palme_preprocessor_open(&preprocessor, 40, PALME_RESIZE_SQUASH, setup->level);
    palme_preprocess(preprocessor, square, &image);
    palme_preprocessor_close(&preprocessor);
    fegetenv(&after);
    usual();
#if defined __x86_64__ || defined __i386__
    *kept = before.__control_word == after.__control_word && before.__status_word == after.__status_word &&
            before.__mxcsr == after.__mxcsr;
#else
    *kept = memcmp(&before, &after, sizeof before) == 0;
#endif
    return told;
}

int main(int count, char **arguments)
{
    static const char *const precisions[] = { "f32", "bf16", "int8" };

    if (count != 2)
        return 2;
    path = arguments[1];
    for (int l = 0; told_levels[l]; l++) {
        if (!told_has_level(told_levels[l])) {
            printf("%s: not here, not run\n", told_levels[l]);
            continue;
        }
        for (int p = 0; p < 3; p++) {
            struct palme_setup setup = { .threads = 1 + (l + p) % 2,
                                         .level = told_levels[l],
                                         .precision = precisions[p] };
            int beams = 1 + p % 2, kept;

            if (l == 0 && p == 1)
                continue; /* plain C in bf16 is f32 with other weights, and slow */
            struct told wanted = tell(usual, &setup, beams, &kept);
            for (size_t e = 0; e < sizeof environments / sizeof environments[0]; e++) {
                struct told found = tell(environments[e].set, &setup, beams, &kept);

                CHECK_MESSAGE(told_alike(&found, &wanted), "%s %s %s: \"%s\" (%d), wanted \"%s\"", environments[e].name,
                              setup.level, setup.precision, found.line, found.status, wanted.line);
                CHECK_MESSAGE(kept, "%s %s %s: the host's environment is another", environments[e].name, setup.level,
                              setup.precision);
            }
        }
    }
    return check_done();
}
