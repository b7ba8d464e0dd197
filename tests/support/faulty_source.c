/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * faulty_source.c - a model file in memory, one read of which fails.
 */
#include "support/faulty_source.h"

#include <string.h>

static int read_faulty(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    struct faulty *f = user;

    if (offset > f->size || bytes > f->size - offset) {
        f->outside++;
        return -1;
    }
    if (f->reads++ == f->fails)
        return f->result;
    memcpy(buffer, f->bytes + offset, bytes);
    return 0;
}

struct palme_source faulty_source(struct faulty *faulty)
{
    return (struct palme_source){ .size = faulty->size, .read_at = read_faulty, .user = faulty };
}
