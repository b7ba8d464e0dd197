/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_blas.c - OpenBLAS is loaded where it computes and nowhere else: by plain C in f32, where it is installed and
 * has the address space that its constructor wants. Everywhere else captions are made without.
 *
 *     check_blas MODEL
 */
#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "nn/model.h"
#include "support/told.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define INSTRUMENTED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define INSTRUMENTED 1
#endif
#endif

static const char *path;

/* Whether the process has the library in its memory. */
static int is_loaded(void)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_NOLOAD);

    if (library)
        dlclose(library);
    return library != NULL;
}

/* Opens the model; returns whether it computes with BLAS. */
static int uses_blas(const char *level, const char *precision)
{
    const struct palme_setup setup = { .threads = 2, .level = level, .precision = precision };
    palme_model *model;
    palme_session *session;
    int uses;

    if (palme_model_open(&model, path, &setup) < 0 || palme_session_open(&session, model, NULL) < 0)
        return -1;
    uses = model->kernels.blas != NULL;
    CHECK_INT(model->weights.encoder.patch.layout == PALME_LAYOUT_ROWS, uses);
    struct told told = told_by(session, NULL);
    CHECK_INT(told.status, PALME_OK);
    palme_session_close(&session);
    palme_model_close(&model);
    return uses;
}

#ifndef INSTRUMENTED
/* In a process of its own with 300 MB of address space, which OpenBLAS's constructor would never leave. */
static void check_little_space(void)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        const struct rlimit limit = { 300 << 20, 300 << 20 };

        alarm(60);
        _exit(setrlimit(RLIMIT_AS, &limit) == 0 && uses_blas("c", "f32") == 0 && !is_loaded() && !check_failed_ ? 0
                                                                                                                : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_MESSAGE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "with little address space: status %d, signal %d",
                  WEXITSTATUS(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}
#endif

int main(int count, char **arguments)
{
    if (count != 2)
        return 2;
    path = arguments[1];
    CHECK(!is_loaded());
#ifndef INSTRUMENTED
    check_little_space();
#endif
    CHECK_INT(uses_blas("c", "int8"), 0);
    for (int i = 1; told_levels[i]; i++)
        if (told_has_level(told_levels[i]))
            CHECK_INT(uses_blas(told_levels[i], "f32"), 0);
    CHECK(!is_loaded());
    int uses = uses_blas("c", "f32");
    CHECK_INT(uses, is_loaded());
    if (!uses)
        printf("OpenBLAS is not installed or not built in, or this processor is too old for it: not run\n");
    return check_done();
}
