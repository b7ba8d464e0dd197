/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * allocations.c - the counter behind allocations.h.
 */
#include "support/allocations.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

long allocations, failing_allocation;
long long allocated_bytes;

static int fails(size_t bytes)
{
    __atomic_add_fetch(&allocated_bytes, (long long)bytes, __ATOMIC_RELAXED);
    return __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) == failing_allocation;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *user);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *user);

void *__wrap_malloc(size_t size)
{
    return fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(count * size) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails(size) ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(size) ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails(0) ? NULL : __real_strdup(text);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *user)
{
    return fails(0) ? EAGAIN : __real_pthread_create(thread, how, start, user);
}
