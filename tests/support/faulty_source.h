/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * faulty_source.h - a model file in memory, one read of which fails.
 */
#ifndef PALME_FAULTY_SOURCE_H
#define PALME_FAULTY_SOURCE_H

#include <stdint.h>

#include "palme.h"

struct faulty {
    const unsigned char *bytes; /* the caller's */
    uint64_t size;
    int reads;   /* so far */
    int fails;   /* the one that fails, from 0 on; -1: none */
    int result;  /* of that one, as of palme_source.read_at */
    int outside; /* reads that went past the end */
};

/* The source reads from `faulty`, which stays the caller's. */
struct palme_source faulty_source(struct faulty *faulty);

#endif
