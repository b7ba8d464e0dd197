/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tsan_control.c - does the thread sanitizer see what it is to see? Two threads count together, under each of GLib's
 * locks: no report. Without a lock: one. tsan.sh runs both before it believes anything else.
 *
 *     tsan_control mutex|recursive|readers|condition|once|join|none
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 1000 };

static const char *kind;
static int count;
static GMutex mutex;
static GRecMutex recursive;
static GRWLock readers;
static GCond changed;
static int turn; /* under the mutex: the thread that counts next */
static GThread *other;

static void count_once(int me)
{
    if (strcmp(kind, "mutex") == 0) {
        g_mutex_lock(&mutex);
        count++;
        g_mutex_unlock(&mutex);
    } else if (strcmp(kind, "recursive") == 0) {
        g_rec_mutex_lock(&recursive);
        g_rec_mutex_lock(&recursive);
        count++;
        g_rec_mutex_unlock(&recursive);
        g_rec_mutex_unlock(&recursive);
    } else if (strcmp(kind, "readers") == 0) {
        g_rw_lock_writer_lock(&readers);
        count++;
        g_rw_lock_writer_unlock(&readers);
    } else if (strcmp(kind, "condition") == 0) {
        g_mutex_lock(&mutex);
        while (turn != me)
            g_cond_wait(&changed, &mutex);
        count++;
        turn = !me;
        g_cond_broadcast(&changed);
        g_mutex_unlock(&mutex);
    } else {
        count++;
    }
}

static gpointer work(gpointer me)
{
    for (int i = 0; i < ROUNDS; i++)
        count_once(GPOINTER_TO_INT(me));
    return NULL;
}

/* The first thread that comes makes a value, all others read it. */
static gpointer make_once(gpointer unused)
{
    static gsize value;
    static int made;

    (void)unused;
    if (g_once_init_enter(&value)) {
        made = 7;
        g_once_init_leave(&value, 1);
    }
    g_atomic_int_add(&count, made);
    return NULL;
}

int main(int argc, char **argv)
{
    GThreadFunc function = work;

    if (argc != 2) {
        fprintf(stderr, "usage: tsan_control mutex|recursive|readers|condition|once|join|none\n");
        return 2;
    }
    kind = argv[1];
    if (strcmp(kind, "once") == 0)
        function = make_once;
    other = g_thread_new("other", function, GINT_TO_POINTER(1));
    if (strcmp(kind, "join") == 0) {
        g_thread_join(other);
        function(GINT_TO_POINTER(0));
    } else {
        function(GINT_TO_POINTER(0));
        g_thread_join(other);
    }
    printf("%d\n", count);
    return 0;
}
