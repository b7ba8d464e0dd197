/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * detokenize.c - the bytes of tokens come in any pieces, whole UTF-8 characters go out. What is not UTF-8
 * becomes U+FFFD, one for each maximal part that a character could have begun with (Unicode, section 3.9).
 */
#include "text/detokenize.h"

#include <string.h>

#include "base/unicode.h"

/* Bytes of the character that a lead byte promises, or 0 if none begins with it. */
static int promised(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2)
        return 0;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
}

/* Whether `byte` may follow the `count` bytes held. The second byte has narrower bounds after some
 * leads: they exclude overlong forms, surrogates and what lies beyond U+10FFFF. */
static int may_follow(const unsigned char *held, int count, unsigned char byte)
{
    unsigned char low = 0x80, high = 0xBF;
    if (count == 1) {
        switch (held[0]) {
        case 0xE0: low = 0xA0; break;
        case 0xED: high = 0x9F; break;
        case 0xF0: low = 0x90; break;
        case 0xF4: high = 0x8F; break;
        }
    }
    return byte >= low && byte <= high;
}

int palme_utf8_valid(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        int count = promised(bytes[i]);
        if (count == 0 || (size_t)count > length - i)
            return 0;
        for (int k = 1; k < count; k++)
            if (!may_follow(bytes + i, k, bytes[i + (size_t)k]))
                return 0;
        i += (size_t)count;
    }
    return 1;
}

static size_t replace(char *out)
{
    memcpy(out, "\xEF\xBF\xBD", 3);
    return 3;
}

void palme_detokenizer_begin(struct palme_detokenizer *d, const struct palme_tokenizer *tokenizer)
{
    *d = (struct palme_detokenizer){ .tokenizer = tokenizer };
}

size_t palme_detokenizer_room(const struct palme_tokenizer *tokenizer)
{
    return 3 * (palme_tokenizer_longest(tokenizer) + 4) + 16;
}

size_t palme_detokenizer_bytes(struct palme_detokenizer *d, char *out, const char *bytes, size_t length)
{
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (d->count > 0) {
            if (may_follow(d->held, d->count, byte)) {
                d->held[d->count++] = byte;
                if (d->count == promised(d->held[0])) {
                    memcpy(out + written, d->held, (size_t)d->count);
                    written += (size_t)d->count;
                    d->count = 0;
                }
                continue;
            }
            written += replace(out + written);
            d->count = 0;
        }
        if (byte == 0 || promised(byte) == 0)
            written += replace(out + written);
        else if (byte < 0x80)
            out[written++] = (char)byte;
        else
            d->held[d->count++] = byte;
    }
    out[written] = '\0';
    return written;
}

size_t palme_detokenizer_token(struct palme_detokenizer *d, char *out, int id)
{
    size_t length = 0, written = 0;
    int space = 0;
    const char *bytes = id < 0 ? "" : palme_tokenizer_bytes(d->tokenizer, id, !d->begun, &space, &length);

    if (length || space)
        d->begun = 1;
    if (space)
        written = palme_detokenizer_bytes(d, out, " ", 1);
    return written + palme_detokenizer_bytes(d, out + written, bytes, length);
}

size_t palme_detokenizer_finish(struct palme_detokenizer *d, char *out)
{
    /* What is held is the beginning of one character, so it is one part. */
    size_t written = d->count > 0 ? replace(out) : 0;
    d->count = 0;
    out[written] = '\0';
    return written;
}
