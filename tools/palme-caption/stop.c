/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stop.c - the signals that end a run.
 */
#include "stop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static gint the_signal; /* atomic; 0: none so far; -1: the run ends by itself */
static int event = -1;

/* Wakes those who poll. */
static void wake(void)
{
    guint64 one = 1;

    while (event >= 0 && write(event, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

/* Ends the process by the signal's default. */
static void end_by(int number)
{
    sigset_t set;

    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
}

/* The first signal ends the run, a second one the process: something may block for ever. All other threads block these
 * signals, so this one waits for both. */
static gpointer wait_for_signals(gpointer user)
{
    sigset_t *set = user;
    int number;

    if (sigwait(set, &number) != 0)
        return NULL;
    g_atomic_int_set(&the_signal, number);
    wake();
    if (sigwait(set, &number) == 0)
        end_by(number);
    return NULL;
}

void caption_stop_watch(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    static sigset_t set;
    gboolean any = FALSE;

    sigemptyset(&set);
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        struct sigaction action;

        /* What nohup, or a shell for what it puts into the background, ignores stays ignored. */
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            sigaddset(&set, numbers[i]);
            any = TRUE;
        }
    }
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!any)
        return;
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    g_thread_unref(g_thread_new("signals", wait_for_signals, &set));
}

gboolean caption_stopped(void)
{
    return g_atomic_int_get(&the_signal) != 0;
}

void caption_stop(void)
{
    g_atomic_int_compare_and_exchange(&the_signal, 0, -1);
    wake();
}

gboolean caption_stop_wait(int fd)
{
    struct pollfd wait[] = { { .fd = fd, .events = POLLIN }, { .fd = event, .events = POLLIN } };
    int got;

    do
        got = poll(wait, 2, -1); /* a descriptor below zero is left out */
    while (got < 0 && errno == EINTR && !caption_stopped());
    return !caption_stopped();
}

void caption_stop_end(void)
{
    int number = g_atomic_int_get(&the_signal);

    if (number > 0)
        end_by(number);
}
