/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * log.h - how the engine says what went wrong: one sentence to the caller's log, one status.
 */
#ifndef PALME_LOG_H
#define PALME_LOG_H

#include "palme.h"

/* Where messages go. `subject` (a file name) is put before each message when it is not NULL. */
struct palme_log {
    palme_log_fn function; /* may be NULL */
    void *user;
    const char *subject;
};

/* Sends "SUBJECT: message" at PALME_LOG_ERROR and returns `status`. A log of NULL is silent. Messages
 * are cut at about 500 bytes; bytes of a file that are shown must come through palme_show. */
int palme_fail(const struct palme_log *log, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a warning or a remark. */
void palme_log_message(const struct palme_log *log, enum palme_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies a name out of a file into `out` for showing: at most 120 bytes, whole UTF-8 characters, each
 * control or invalid byte as '?'. Returns out. */
struct palme_shown {
    char text[128];
};
const char *palme_show(struct palme_shown *out, const char *name, size_t length);

#endif
