/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fuzz.h - what a fuzz target is, for libFuzzer and for driver.c.
 */
#ifndef PALME_FUZZ_H
#define PALME_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the program if a promise is broken; then the driver, like libFuzzer, leaves the input behind. */
#define FUZZ_HOLDS(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Tries one input; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
