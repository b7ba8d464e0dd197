/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_space.c - little address space: whatever a process may have, a model, a session and a caption are made, or
 * one message says "out of memory". Processes of their own are given a little more each time until one has enough.
 *
 *     check_space MODEL
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/told.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define INSTRUMENTED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define INSTRUMENTED 1
#endif
#endif

enum { TOLD = 0, REFUSED = 3, WRONG = 4 }; /* how a child ends */

static int errors, about_memory;

static void hear(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    if (level != PALME_LOG_ERROR)
        return;
    errors++;
    about_memory += strstr(message, "out of memory") != NULL;
}

/* Bytes of address space that this process has. */
static size_t space_in_use(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int try(const char *path, const struct palme_setup *setup, const struct told *wanted, size_t space)
{
    const struct palme_options options = { .beams = 3, .max_length = 3, .log = hear };
    const struct rlimit limit = { space, space };
    struct told told;

    alarm(60);
    if (setrlimit(RLIMIT_AS, &limit) < 0)
        return WRONG;
    told = told_from(path, setup, &options, NULL);
    if (told.status == PALME_OK)
        return errors == 0 && told_alike(&told, wanted) ? TOLD : WRONG;
    return told.status == PALME_ERROR_MEMORY && errors == 1 && about_memory == 1 ? REFUSED : WRONG;
}

static void check(const char *path, const char *precision)
{
    const struct palme_options options = { .beams = 3, .max_length = 3 };
    const struct palme_setup setup = { .threads = 2, .precision = precision, .log = hear };
    const struct palme_setup quiet = { .threads = 1, .precision = precision };
    /* First, in another process: what it leaves behind in this one would be memory that the others find. */
    struct told wanted;
    int refused = 0, told = 0, pipes[2];
    size_t in_use;

    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    if (child == 0) {
        wanted = told_from(path, &quiet, &options, NULL);
        _exit(write(pipes[1], &wanted, sizeof wanted) == sizeof wanted ? 0 : 1);
    }
    close(pipes[1]);
    CHECK(read(pipes[0], &wanted, sizeof wanted) == sizeof wanted);
    close(pipes[0]);
    waitpid(child, NULL, 0);
    CHECK_INT(wanted.status, PALME_OK);
    in_use = space_in_use();
    for (size_t more = 0; more < (size_t)256 << 20 && told < 2; more += (size_t)5 << 20) {
        int status = 0;

        if ((child = fork()) == 0)
            _exit(try(path, &setup, &wanted, in_use + more));
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        int end = WIFEXITED(status) ? WEXITSTATUS(status) : WRONG;
        CHECK_MESSAGE(end == TOLD || end == REFUSED, "%s, %zu MiB more: status %d, signal %d", precision, more >> 20,
                      end, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        refused += end == REFUSED;
        told += end == TOLD;
    }
    CHECK_MESSAGE(refused > 2 && told == 2, "%s: %d refused, %d told", precision, refused, told);
}

int main(int count, char **arguments)
{
#ifdef INSTRUMENTED
    printf("a sanitizer takes address space of its own: not run\n");
    return CHECK_SKIP;
#endif
    if (count != 2)
        return 2;
    check(arguments[1], "f32");
    check(arguments[1], "int8");
    return check_done();
}
