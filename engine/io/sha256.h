/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sha256.h - the digest of FIPS 180-4, in pieces: for the sum that a model file may carry.
 */
#ifndef PALME_SHA256_H
#define PALME_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct palme_sha256 {
    uint32_t state[8];
    uint64_t bytes; /* fed so far */
    unsigned char block[64];
};

void palme_sha256_start(struct palme_sha256 *sum);
void palme_sha256_feed(struct palme_sha256 *sum, const void *data, size_t length);
/* Ends the sum and writes it as 64 lower-case hex digits and a NUL. */
void palme_sha256_finish(struct palme_sha256 *sum, char hex[65]);

#endif
