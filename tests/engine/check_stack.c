/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_stack.c - a thread of 64 KiB stack opens models, captions and closes: at every level of this machine, in
 * every precision, with one sentence and with beams, with a prompt and without. It says what a thread with a usual
 * stack says.
 *
 *     check_stack MODEL
 */
#include <limits.h>
#include <pthread.h>

#include "support/check.h"
#include "support/model_builder.h"
#include "support/told.h"

/* Sanitizers make frames several times as large. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define INSTRUMENTED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define INSTRUMENTED 1
#endif
#endif

enum { STACK = 64 << 10 };

struct work {
    const char *path, *prompt;
    struct palme_setup setup;
    struct palme_options options;
    struct told told;
};

static void *work(void *user)
{
    struct work *w = user;

    w->told = told_from(w->path, &w->setup, &w->options, w->prompt);
    return NULL;
}

static void check(const char *path, const char *level, const char *precision, int beams, int threads,
                  const char *prompt)
{
    struct work usual = { .path = path,
                          .prompt = prompt,
                          .setup = { .threads = threads, .level = level, .precision = precision, .verify = 1 },
                          .options = { .beams = beams, .max_length = 3 } };
    pthread_attr_t attributes;
    pthread_t thread;

    work(&usual);                                  /* first, so that what the dynamic linker does once was done */
    if (usual.told.status == PALME_ERROR_FORMAT) { /* a model without a digest */
        usual.setup.verify = 0;
        work(&usual);
    }
    struct work small = usual;
    memset(&small.told, 0, sizeof small.told);
    pthread_attr_init(&attributes);
    CHECK_INT(pthread_attr_setstacksize(&attributes, STACK > PTHREAD_STACK_MIN ? STACK : PTHREAD_STACK_MIN), 0);
    int error = pthread_create(&thread, &attributes, work, &small);
    pthread_attr_destroy(&attributes);
    CHECK_INT(error, 0);
    if (!error)
        pthread_join(thread, NULL);
    CHECK_MESSAGE(told_alike(&usual.told, &small.told), "%s %s, %d beams: \"%s\" (%d), with little stack \"%s\" (%d)",
                  level, precision, beams, usual.told.line, usual.told.status, small.told.line, small.told.status);
}

int main(int count, char **arguments)
{
#ifdef INSTRUMENTED
    printf("a sanitizer makes frames larger: not run\n");
    return CHECK_SKIP;
#endif
    static const char *const precisions[] = { "f32", "bf16", "int8" };
    /* Raw patches and an image prefix of many tokens, in widths as large as the default configuration's. */
    struct builder *b = builder_new("{\"image_size\":128,\"patch_size\":16,\"encoder_dim\":512,\"encoder_heads\":8,"
                                    "\"decoder_dim\":512,\"decoder_heads\":8,\"cross_attend\":false,"
                                    "\"max_seq_len\":130}",
                                    24);
    const char *prefix = temporary("prefix.safetensors");

    if (count != 2)
        return 2;
    builder_write(b, prefix);
    builder_free(b);
    for (int i = 0; told_levels[i]; i++) {
        const char *level = told_levels[i];

        if (!told_has_level(level)) {
            printf("%s: not here, not run\n", level);
            continue;
        }
        for (int p = 0; p < 3; p++) {
            check(prefix, level, precisions[p], 1, 1, NULL);
            if (i == 0 && p > 0)
                continue; /* plain C is slow in these, and has no frames of its own for them */
            check(arguments[1], level, precisions[p], 3, 2, "a dog on the");
        }
    }
    return check_done();
}
