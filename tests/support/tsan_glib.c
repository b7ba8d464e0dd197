/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tsan_glib.c - tells the thread sanitizer about GLib's locks. They are futexes inside a library
 * that is not instrumented, so without this every access that they order is called a race. It is
 * linked into the test programs of a build with b_sanitize=thread and is nothing to anybody else.
 * tsan.sh runs them, and tsan_control.c shows that it says neither too much nor too little.
 *
 * The functions here stand before GLib's for the whole process and call them. Locks of readers and writers
 * are those of pthread, which the sanitizer knows; recursive ones are too, but for how GLib makes them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>
#include <stdlib.h>

#define REAL(name)                                                                                                     \
    static __typeof__(&name) found;                                                                                    \
    __typeof__(&name) real = __atomic_load_n(&found, __ATOMIC_RELAXED);                                                \
    if (!real) {                                                                                                       \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                             \
        __atomic_store_n(&found, real, __ATOMIC_RELAXED);                                                              \
    }

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

/* Who finds the value made has what was made with it; the quick way is an atomic load in the caller. */
gboolean(g_once_init_enter)(volatile void *location)
{
    REAL(g_once_init_enter);
    gboolean first = real(location);
    __tsan_acquire((void *)location);
    return first;
}

void(g_once_init_leave)(volatile void *location, gsize result)
{
    REAL(g_once_init_leave);
    __tsan_release((void *)location);
    real(location, result);
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

/* What a thread that asks for a call has written is there for the thread that makes the call: GLib's pool of
 * threads hands it over. */
typedef struct {
    void (*call)(void *element, gpointer data);
    gpointer data;
    GDestroyNotify destroy;
} Call;

void gst_element_call_async(void *element, void (*call)(void *, gpointer), gpointer data, GDestroyNotify destroy);

static void make_call(void *element, gpointer data)
{
    Call *call = data;

    __tsan_acquire(call);
    call->call(element, call->data);
    __tsan_release(call);
}

static void end_call(gpointer data)
{
    Call *call = data;

    __tsan_acquire(call);
    if (call->destroy)
        call->destroy(call->data);
    free(call);
}

void gst_element_call_async(void *element, void (*function)(void *, gpointer), gpointer data, GDestroyNotify destroy)
{
    Call *call = malloc(sizeof *call);
    REAL(gst_element_call_async);

    *call = (Call){ function, data, destroy };
    __tsan_release(call);
    real(element, make_call, call, end_call);
}
