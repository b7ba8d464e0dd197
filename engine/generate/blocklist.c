/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * blocklist.c - words that are never said. A model says a word in tokens, which may be parts of it and may begin with
 * the blank before it. So the text decides: a token is not chosen if the text that it makes has a blocked word.
 *
 * Whether a word goes on is not known when its last letter comes: with "dog" blocked, "doghouse" cannot be said by a
 * model whose tokens are "dog" and "house", but by one that has a token for it. The other way round "do" would have to
 * go on as some word that begins with "dog", which is worse.
 */
#include "nn/model.h"
#include "text/tokenizer.h"

#include <string.h>

enum { MOST = PALME_MAX_BLOCKED_BYTES, ROOM = 4 * MOST };

static int is_letter(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 'a' - 'A') : c;
}

/* The next entry of a list, without blanks around it; its length, 0 at the end of the list. */
static size_t next_entry(const char **list, const char **entry)
{
    size_t length;

    *list += strspn(*list, ", \t\r\n");
    *entry = *list;
    length = strcspn(*list, ",\r\n");
    *list += length;
    while (length && ((*entry)[length - 1] == ' ' || (*entry)[length - 1] == '\t'))
        length--;
    return length;
}

int palme_blocklist_is_usable(const char *list)
{
    const char *entry;
    size_t length;

    while (list && (length = next_entry(&list, &entry)) > 0)
        if (length > MOST)
            return 0;
    return 1;
}

/* Whether text[at..] is this entry, as whole words. */
static int is_entry(const unsigned char *text, size_t at, size_t count, const char *entry, size_t length)
{
    if (at + length > count || (at && is_letter(text[at - 1]) && is_letter((unsigned char)entry[0])))
        return 0;
    for (size_t i = 0; i < length; i++)
        if (lower(text[at + i]) != lower((unsigned char)entry[i]))
            return 0;
    return at + length == count || !is_letter(text[at + length]) || !is_letter((unsigned char)entry[length - 1]);
}

/* Puts bytes in front of what is in text[ROOM] from `at` on, as many as there is room for. Returns the new start. */
static size_t put_before(unsigned char *text, size_t at, const char *bytes, size_t length)
{
    size_t most = length < at ? length : at;

    if (most)
        memcpy(text + at - most, bytes + length - most, most);
    return at - most;
}

/* The same for the bytes of a token, with the space that parts it from those before. */
static size_t put_token_before(unsigned char *text, size_t at, const struct palme_tokenizer *tokenizer, int token,
                               int first)
{
    size_t length;
    int space;
    const char *bytes = palme_tokenizer_bytes(tokenizer, token, first, &space, &length);

    at = put_before(text, at, bytes, length);
    return space ? put_before(text, at, " ", 1) : at;
}

int palme_blocklist_forbids(const char *list, const struct palme_tokenizer *tokenizer, const int *tokens, int length,
                            int token)
{
    unsigned char text[ROOM];
    const char *entry;
    size_t count, at, fresh;

    if (!list || !list[0])
        return 0;
    at = put_token_before(text, ROOM, tokenizer, token, length == 0);
    fresh = ROOM - at; /* bytes that this token adds */
    if (!fresh)
        return 0;
    while (length-- > 0 && ROOM - at < fresh + MOST + 1 && at)
        at = put_token_before(text, at, tokenizer, tokens[length], length == 0);
    while ((count = next_entry(&list, &entry)) > 0)
        /* A word that ended before is none of this token's; one that ends where it begins was not known to. */
        for (size_t i = at; i + count <= ROOM; i++)
            if (i + count > ROOM - fresh && is_entry(text + at, i - at, ROOM - at, entry, count))
                return 1;
    return 0;
}
