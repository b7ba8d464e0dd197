/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tsan_glib.c - tells the thread sanitizer about GLib's locks. They are futexes inside a library
 * that is not instrumented, so without this every access that they order is called a race. It is
 * linked into the test programs of a build with b_sanitize=thread and is nothing to anybody else.
 *
 * The functions here stand before GLib's for the whole process and call them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>

#define REAL(name)                                                                                                     \
    static __typeof__(&name) real;                                                                                     \
    if (!__atomic_load_n(&real, __ATOMIC_RELAXED))                                                                     \
    __atomic_store_n(&real, (__typeof__(&name))dlsym(RTLD_NEXT, #name), __ATOMIC_RELAXED)

#define LOCK(name, type)                                                                                               \
    void(name)(type * lock)                                                                                            \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        real(lock);                                                                                                    \
        __tsan_acquire(lock);                                                                                          \
    }
#define UNLOCK(name, type)                                                                                             \
    void(name)(type * lock)                                                                                            \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        __tsan_release(lock);                                                                                          \
        real(lock);                                                                                                    \
    }
#define TRYLOCK(name, type)                                                                                            \
    gboolean(name)(type * lock)                                                                                        \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        gboolean ok = real(lock);                                                                                      \
        if (ok)                                                                                                        \
            __tsan_acquire(lock);                                                                                      \
        return ok;                                                                                                     \
    }

LOCK(g_mutex_lock, GMutex)
UNLOCK(g_mutex_unlock, GMutex)
TRYLOCK(g_mutex_trylock, GMutex)
LOCK(g_rec_mutex_lock, GRecMutex)
UNLOCK(g_rec_mutex_unlock, GRecMutex)
TRYLOCK(g_rec_mutex_trylock, GRecMutex)

void(g_cond_wait)(GCond *cond, GMutex *mutex)
{
    REAL(g_cond_wait);
    __tsan_release(mutex);
    real(cond, mutex);
    __tsan_acquire(mutex);
}

gboolean(g_cond_wait_until)(GCond *cond, GMutex *mutex, gint64 end)
{
    REAL(g_cond_wait_until);
    __tsan_release(mutex);
    gboolean ok = real(cond, mutex, end);
    __tsan_acquire(mutex);
    return ok;
}

/* Reference counts are atomic operations that the sanitizer does not see either: what happened
 * before a thread gave its reference away happens before the object is freed. */
#define REFCOUNT(name)                                                                                                 \
    void(name)(gpointer object)                                                                                        \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        __tsan_release(object);                                                                                        \
        __tsan_acquire(object);                                                                                        \
        real(object);                                                                                                  \
    }

REFCOUNT(g_object_unref)

void gst_object_unref(gpointer object);
void gst_mini_object_unref(gpointer object);
REFCOUNT(gst_object_unref)
REFCOUNT(gst_mini_object_unref)
