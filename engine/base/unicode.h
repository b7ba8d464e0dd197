/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * unicode.h - the three classes of characters that byte-level BPE splits words by, and what is UTF-8.
 */
#ifndef PALME_UNICODE_H
#define PALME_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum palme_char_class {
    PALME_CHAR_OTHER = 0,
    PALME_CHAR_LETTER, /* general category L */
    PALME_CHAR_NUMBER, /* general category N */
    PALME_CHAR_SPACE   /* property White_Space */
};

/* The class of any code point; numbers beyond Unicode are PALME_CHAR_OTHER. */
enum palme_char_class palme_char_class(uint32_t code_point);

/* Whether `length` bytes are UTF-8 (detokenize.c). NUL is a character like others. */
int palme_utf8_valid(const char *text, size_t length);

#endif
