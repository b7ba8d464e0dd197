/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check.h - what the engine's test programs share: a check that counts, names its line and goes on.
 */
#ifndef PALME_CHECK_H
#define PALME_CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_SKIP = 77 };

static int check_count_, check_failed_;

#define CHECK_MESSAGE(ok, ...)                                                                                         \
    do {                                                                                                               \
        check_count_++;                                                                                                \
        if (!(ok)) {                                                                                                   \
            check_failed_++;                                                                                           \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)

#define CHECK(condition) CHECK_MESSAGE(condition, "failed: %s", #condition)

#define CHECK_INT(found, wanted)                                                                                       \
    do {                                                                                                               \
        long long found_ = (long long)(found), wanted_ = (long long)(wanted);                                          \
        CHECK_MESSAGE(found_ == wanted_, "%s is %lld, wanted %lld", #found, found_, wanted_);                          \
    } while (0)

#define CHECK_STR(found, wanted)                                                                                       \
    do {                                                                                                               \
        const char *found_ = (found), *wanted_ = (wanted);                                                             \
        CHECK_MESSAGE(found_ &&wanted_ &&strcmp(found_, wanted_) == 0, "%s is \"%s\", wanted \"%s\"", #found,          \
                      found_ ? found_ : "(null)", wanted_ ? wanted_ : "(null)");                                       \
    } while (0)

#define CHECK_CLOSE(found, wanted, tolerance)                                                                          \
    do {                                                                                                               \
        double found_ = (found), wanted_ = (wanted), tolerance_ = (tolerance);                                         \
        CHECK_MESSAGE(fabs(found_ - wanted_) <= tolerance_, "%s is %.9g, wanted %.9g +- %.2g", #found, found_,         \
                      wanted_, tolerance_);                                                                            \
    } while (0)

/* Prints the count; the exit status of the program. A program that checked nothing has failed. */
static inline int check_done(void)
{
    printf("%d checks, %d failed\n", check_count_, check_failed_);
    return check_count_ == 0 || check_failed_ ? 1 : 0;
}

#endif
