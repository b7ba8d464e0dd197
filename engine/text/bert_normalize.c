/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bert_normalize.c - BERT's normalizer, character by character.
 */
#include "text/bert_normalize.h"

#include <string.h>

/* Korean syllables and their parts (Unicode, section 3.12). */
enum {
    SYLLABLE = 0xAC00,
    SYLLABLES = 11172,
    LEAD = 0x1100,
    VOWEL = 0x1161,
    TAIL = 0x11A7, /* before the first one */
    VOWELS = 21,
    TAILS = 28
};

enum { MOST_PARTS = 3 };

/* The character at *i, which moves past it. */
static uint32_t next_character(const char *text, size_t *i)
{
    const unsigned char *bytes = (const unsigned char *)text;
    uint32_t c = bytes[*i];
    int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;

    (*i)++;
    if (more)
        c &= 0x3Fu >> more;
    for (; more > 0; more--)
        c = c << 6 | (bytes[(*i)++] & 0x3Fu);
    return c;
}

static size_t put_character(char *out, uint32_t c)
{
    size_t count = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    for (size_t k = count; k-- > 1; c >>= 6)
        out[k] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(count == 1 ? c : (0xF00u >> count & 0xF0u) | c);
    return count;
}

static uint32_t classes_of(uint32_t c)
{
    int low = 0, high = palme_bert_range_count;

    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct palme_bert_range *range = &palme_bert_ranges[middle];

        if (c < range->first)
            high = middle;
        else if (c > range->last)
            low = middle + 1;
        else
            return range->classes;
    }
    return 0;
}

/* to[MOST_PARTS] = what a table makes of a character; it itself if it is not there. Returns how many. */
static int map(uint32_t *to, uint32_t c, const struct palme_bert_mapping *table, int count)
{
    int low = 0, high = count;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (table[middle].from == c) {
            memcpy(to, table[middle].to, sizeof table[middle].to);
            return to[2] ? 3 : to[1] ? 2 : 1;
        }
        if (table[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    *to = c;
    return 1;
}

static int parts_of(uint32_t *to, uint32_t c)
{
    if (classes_of(c) & PALME_BERT_MARK)
        return 0;
    if (c < SYLLABLE || c >= SYLLABLE + SYLLABLES)
        return map(to, c, palme_bert_parts, palme_bert_parts_count);
    c -= SYLLABLE;
    to[0] = LEAD + c / (VOWELS * TAILS);
    to[1] = VOWEL + c / TAILS % VOWELS;
    to[2] = TAIL + c % TAILS;
    return c % TAILS ? 3 : 2;
}

size_t palme_bert_normalized_size(size_t bytes)
{
    return 3 * bytes; /* what make_bert_tables.py holds; two spaces with an ideograph are less */
}

size_t palme_bert_normalize(const struct palme_bert_normalizer *normalizer, char *out, const char *text, size_t length)
{
    size_t written = 0;

    for (size_t i = 0; i < length;) {
        uint32_t c = next_character(text, &i), parts[MOST_PARTS], small[MOST_PARTS];
        uint32_t classes = classes_of(c);
        int alone = normalizer->ideographs && classes & PALME_BERT_IDEOGRAPH, count = 1;

        if (classes & PALME_BERT_DROPPED)
            continue;
        parts[0] = classes & PALME_BERT_SPACE ? ' ' : c;
        if (alone)
            out[written++] = ' ';
        if (normalizer->strip_accents)
            count = parts_of(parts, parts[0]);
        for (int p = 0; p < count; p++) {
            int n = normalizer->lowercase ? map(small, parts[p], palme_bert_small, palme_bert_small_count) : 1;

            if (!normalizer->lowercase)
                small[0] = parts[p];
            for (int k = 0; k < n; k++)
                written += put_character(out + written, small[k]);
        }
        if (alone)
            out[written++] = ' ';
    }
    return written;
}

size_t palme_bert_word(const char *text, size_t length, int *is_space, int *characters)
{
    size_t end = 0;
    uint32_t classes = classes_of(next_character(text, &end));

    *characters = 1;
    *is_space = (classes & PALME_BERT_SPACE) != 0;
    if (classes & (PALME_BERT_SPACE | PALME_BERT_PUNCTUATION))
        return end;
    for (size_t after = end; end < length; end = after, ++*characters)
        if (classes_of(next_character(text, &after)) & (PALME_BERT_SPACE | PALME_BERT_PUNCTUATION))
            break;
    return end;
}
