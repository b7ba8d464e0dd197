/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_fork.c - a model that was opened before fork(), as gunicorn and multiprocessing do it: the child captions
 * by sessions of its parent and of its own, says what its parent says, and closes all of it.
 *
 *     check_fork MODEL
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/told.h"

static const struct palme_options options = { .beams = 1, .max_length = 6 };
static struct told wanted;

/* A process that hangs ends by a signal. */
static void wait_for(pid_t child, const char *what, int threads)
{
    int status = 0;

    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_MESSAGE(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "%s, %d threads: the child ended by status %d, signal %d", what, threads, WEXITSTATUS(status),
                  WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static int caption_anew(palme_model *model)
{
    palme_session *session;

    if (palme_session_open(&session, model, &options) < 0)
        return 0;
    struct told told = told_by(session, NULL);
    palme_session_close(&session);
    return told_alike(&told, &wanted);
}

static int captions(palme_model *model, palme_session *session)
{
    struct told told = session ? told_by(session, NULL) : wanted;

    return told_alike(&told, &wanted) && caption_anew(model);
}

static void close_and_exit(palme_model *model, palme_session *session, int good)
{
    palme_session_close(&session);
    palme_model_close(&model);
    _exit(good && !session && !model ? 0 : 1);
}

/* What a child does: with a session of its parent, if there is one, with one of its own, and as a parent itself. */
static void child(palme_model *model, palme_session *session)
{
    int good, status = 1;
    pid_t pid;

    alarm(60);
    good = captions(model, session);
    if ((pid = fork()) == 0) {
        alarm(60);
        close_and_exit(model, session, captions(model, session));
    }
    close_and_exit(model, session, good && waitpid(pid, &status, 0) == pid && status == 0);
}

/* A thread that computes without end while others fork. */
struct busy {
    palme_model *model;
    atomic_int stop, captions;
};

static void *compute(void *user)
{
    struct busy *busy = user;
    palme_session *session;

    if (palme_session_open(&session, busy->model, &options) < 0)
        return NULL;
    while (!atomic_load(&busy->stop)) {
        struct told told = told_by(session, NULL);

        if (told_alike(&told, &wanted))
            atomic_fetch_add(&busy->captions, 1);
    }
    palme_session_close(&session);
    return NULL;
}

static void check(const char *path, int threads)
{
    const struct palme_setup setup = { .threads = threads };
    struct busy busy = { .stop = 0 };
    palme_model *model = NULL;
    palme_session *session = NULL;
    pthread_t thread;
    pid_t pid;

    CHECK_INT(palme_model_open(&model, path, &setup), PALME_OK);
    CHECK_INT(palme_session_open(&session, model, &options), PALME_OK);
    if (!session)
        return;
    wanted = told_by(session, NULL);
    CHECK_INT(wanted.status, PALME_OK);

    if ((pid = fork()) == 0) { /* closes at once */
        alarm(60);
        close_and_exit(model, session, 1);
    }
    wait_for(pid, "closing", threads);
    if ((pid = fork()) == 0)
        child(model, session);
    wait_for(pid, "captions", threads);

    busy.model = model;
    CHECK_INT(pthread_create(&thread, NULL, compute, &busy), 0);
    for (int i = 0; i < 12; i++) {
        usleep(1000 * (unsigned)(1 + 3 * i)); /* at other places of its work */
        if ((pid = fork()) == 0)
            child(model, NULL);
        wait_for(pid, "captions while another thread computes", threads);
    }
    atomic_store(&busy.stop, 1);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&busy.captions) > 0);

    /* The parent is as it was. */
    struct told after = told_by(session, NULL);
    CHECK(told_alike(&after, &wanted));
    palme_session_close(&session);
    palme_model_close(&model);
}

int main(int count, char **arguments)
{
    if (count != 2)
        return 2;
    alarm(280);
    for (int threads = 1; threads <= 4; threads *= 2)
        check(arguments[1], threads);
    return check_done();
}
