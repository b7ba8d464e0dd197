/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * log.c - one sentence for the caller's log, made fit to be shown: valid UTF-8 on one line. A
 * message may carry a file name and names out of a file, and neither is to be trusted.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 512, SUBJECT_BYTES = 1024, SHOWN_BYTES = 120 };

/* Bytes of the well-formed UTF-8 character at s[0..length-1] that a person can be shown, or 0:
 * controls (C0, DEL, C1), line separators and the marks that change the direction of text are no
 * such characters. */
static size_t character(const unsigned char *s, size_t length)
{
    unsigned value;
    size_t n;

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        n = 2, value = s[0] & 0x1fu;
    else if ((s[0] & 0xf0) == 0xe0)
        n = 3, value = s[0] & 0x0fu;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        n = 4, value = s[0] & 0x07u;
    else
        return 0;
    if (n > length)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3fu);
    }
    if ((n == 3 && value < 0x800) || (n == 4 && (value < 0x10000 || value > 0x10ffff)) ||
        (value >= 0xd800 && value <= 0xdfff))
        return 0;
    if (value < 0xa0 || value == 0x200e || value == 0x200f || (value >= 0x2028 && value <= 0x202e) ||
        (value >= 0x2066 && value <= 0x2069) || value == 0xfeff)
        return 0;
    return n;
}

/* Copies whole characters while they fit in capacity - 1 bytes, the rest as '?'; ends with a NUL.
 */
static size_t copy_shown(char *out, size_t capacity, const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;

    for (size_t i = 0; i < length;) {
        size_t n = character(s + i, length - i);

        if (used + (n ? n : 1) >= capacity)
            break;
        if (n)
            memcpy(out + used, s + i, n);
        else
            out[used] = '?';
        used += n ? n : 1;
        i += n ? n : 1;
    }
    out[used] = '\0';
    return used;
}

const char *palme_show(struct palme_shown *out, const char *name, size_t length)
{
    copy_shown(out->text, SHOWN_BYTES + 1, name, length);
    return out->text;
}

static void send(const struct palme_log *log, enum palme_log_level level, const char *format, va_list arguments)
{
    char message[MESSAGE_BYTES], line[SUBJECT_BYTES + MESSAGE_BYTES + 4];
    size_t used = 0;

    if (!log || !log->function)
        return;
    if (vsnprintf(message, sizeof message, format, arguments) < 0)
        message[0] = '\0';
    if (log->subject) {
        used = copy_shown(line, SUBJECT_BYTES, log->subject, strlen(log->subject));
        line[used++] = ':';
        line[used++] = ' ';
    }
    copy_shown(line + used, sizeof line - used, message, strlen(message));
    log->function(log->user, level, line);
}

int palme_fail(const struct palme_log *log, int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    send(log, PALME_LOG_ERROR, format, arguments);
    va_end(arguments);
    return status;
}

void palme_log_message(const struct palme_log *log, enum palme_log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    send(log, level, format, arguments);
    va_end(arguments);
}
