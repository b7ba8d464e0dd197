/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_utf8.c - whole characters out of bytes that come in any pieces. The measure is Table 3-7 of
 * the Unicode standard, read here in another way than the engine reads it: as a list of patterns.
 */
#include "support/check.h"
#include "text/detokenize.h"
#include "base/unicode.h"

#define REPLACED "\xEF\xBF\xBD"

/* Well-formed sequences: for each byte its lowest and highest value. */
static const struct pattern {
    int count;
    unsigned char bounds[4][2];
} patterns[] = {
    { 1, { { 0x01, 0x7F } } },
    { 2, { { 0xC2, 0xDF }, { 0x80, 0xBF } } },
    { 3, { { 0xE0, 0xE0 }, { 0xA0, 0xBF }, { 0x80, 0xBF } } },
    { 3, { { 0xE1, 0xEC }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { 3, { { 0xED, 0xED }, { 0x80, 0x9F }, { 0x80, 0xBF } } },
    { 3, { { 0xEE, 0xEF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { 4, { { 0xF0, 0xF0 }, { 0x90, 0xBF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { 4, { { 0xF1, 0xF3 }, { 0x80, 0xBF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    { 4, { { 0xF4, 0xF4 }, { 0x80, 0x8F }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
};

/* Longest beginning of `bytes` that is a beginning of a well-formed sequence; *whole if it is all
 * of one. */
static int longest_match(int *whole, const unsigned char *bytes, int length)
{
    int longest = 0;
    *whole = 0;
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        int i = 0;
        while (i < length && i < patterns[p].count && bytes[i] >= patterns[p].bounds[i][0] &&
               bytes[i] <= patterns[p].bounds[i][1])
            i++;
        if (i > longest) {
            longest = i;
            *whole = i == patterns[p].count;
        }
    }
    return longest;
}

static void expected(char *out, const unsigned char *bytes, int length)
{
    *out = '\0';
    for (int i = 0; i < length;) {
        int whole, n = longest_match(&whole, bytes + i, length - i);
        if (whole)
            strncat(out, (const char *)bytes + i, (size_t)n);
        else
            strcat(out, REPLACED);
        i += n ? n : 1;
    }
}

/* Feeds the bytes in pieces: bit i of `cuts` says that a piece ends after byte i. Each piece that
 * comes out must be whole characters, which is so if it is its own expectation. */
static void feed(char *out, const unsigned char *bytes, int length, unsigned cuts)
{
    struct palme_detokenizer state = { 0 };
    char piece[3 * (8 + 4) + 1], again[3 * sizeof piece];
    int start = 0;
    *out = '\0';
    for (int i = 0; i < length; i++) {
        size_t n;
        if (i + 1 < length && !(cuts >> i & 1))
            continue;
        memset(piece, 'x', sizeof piece);
        n = palme_detokenizer_bytes(&state, piece, (const char *)bytes + start, (size_t)(i + 1 - start));
        if (n != strlen(piece))
            CHECK_INT(n, strlen(piece));
        expected(again, (const unsigned char *)piece, (int)n);
        if (strcmp(again, piece) != 0)
            CHECK_STR(piece, again);
        strcat(out, piece);
        start = i + 1;
    }
    palme_detokenizer_finish(&state, piece);
    strcat(out, piece);
    if (state.count != 0)
        CHECK_INT(state.count, 0);
}

static void check_bytes(const unsigned char *bytes, int length)
{
    char wanted[64], found[64];
    int valid = palme_utf8_valid((const char *)bytes, (size_t)length), has_nul = 0;
    expected(wanted, bytes, length);
    for (unsigned cuts = 0; cuts < 1u << (length > 1 ? length - 1 : 0); cuts++) {
        feed(found, bytes, length, cuts);
        if (strcmp(found, wanted) != 0)
            CHECK_MESSAGE(0, "%02x %02x %02x %02x (%d), cuts %x: \"%s\", wanted \"%s\"", bytes[0], bytes[1], bytes[2],
                          bytes[3], length, cuts, found, wanted);
    }
    for (int i = 0; i < length; i++)
        has_nul |= bytes[i] == 0;
    if (!has_nul && valid != (strstr(wanted, REPLACED) == NULL))
        CHECK_MESSAGE(0, "%02x %02x %02x %02x (%d): valid is %d", bytes[0], bytes[1], bytes[2], bytes[3], length,
                      valid);
}

/* All sequences of up to four bytes out of those where a rule begins or ends. */
static void check_edges(void)
{
    static const unsigned char edges[] = {
        0x00, 0x01, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2,
        0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF
    };
    enum { N = sizeof edges };
    for (int length = 1; length <= 4; length++) {
        int total = 1;
        for (int i = 0; i < length; i++)
            total *= N;
        for (int which = 0; which < total; which++) {
            unsigned char bytes[4] = { 0 };
            for (int i = 0, rest = which; i < length; i++, rest /= N)
                bytes[i] = edges[rest % N];
            check_bytes(bytes, length);
        }
        CHECK_MESSAGE(check_failed_ == 0, "a sequence of %d bytes is wrong", length);
    }
}

/* Every code point, each byte on its own. */
static void check_all_characters(void)
{
    for (unsigned c = 1; c < 0x110000; c++) {
        unsigned char bytes[4];
        char found[64];
        int length;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        if (c < 0x80) {
            bytes[0] = (unsigned char)c, length = 1;
        } else if (c < 0x800) {
            bytes[0] = (unsigned char)(0xC0 | c >> 6), length = 2;
        } else if (c < 0x10000) {
            bytes[0] = (unsigned char)(0xE0 | c >> 12), length = 3;
        } else {
            bytes[0] = (unsigned char)(0xF0 | c >> 18), length = 4;
        }
        for (int i = 1; i < length; i++)
            bytes[i] = (unsigned char)(0x80 | (c >> 6 * (length - 1 - i) & 0x3F));
        feed(found, bytes, length, 0xF);
        if (strlen(found) != (size_t)length || memcmp(found, bytes, (size_t)length) != 0 ||
            !palme_utf8_valid((const char *)bytes, (size_t)length))
            CHECK_MESSAGE(0, "U+%04X does not come through", c);
    }
    CHECK_MESSAGE(check_failed_ == 0, "a character is wrong");
}

/* What other decoders say, so that the table above is not the only witness. */
static void check_known(void)
{
    static const struct {
        const char *bytes, *wanted;
    } known[] = {
        { "\xF0\x9F\x98"
          "a",
          REPLACED "a" },
        { "\xED\xA0\x80", REPLACED REPLACED REPLACED },
        { "\xF4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED },
        { "\xC0\xAF", REPLACED REPLACED },
        { "\xE0\x80\xAF", REPLACED REPLACED REPLACED },
        { "\xF0\x80\x80\xAF", REPLACED REPLACED REPLACED REPLACED },
        { "\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
          "A",
          REPLACED REPLACED REPLACED REPLACED "A" },
        { "\xC3\xA9\xC3", "\xC3\xA9" REPLACED },
        { "\x80\xBF", REPLACED REPLACED },
        { "\xFE\xFF", REPLACED REPLACED },
        { "\xE2\x82", REPLACED },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char found[64];
        for (unsigned cuts = 0; cuts < 256; cuts += 255) {
            feed(found, (const unsigned char *)known[i].bytes, (int)strlen(known[i].bytes), cuts);
            CHECK_STR(found, known[i].wanted);
        }
    }
    CHECK(palme_utf8_valid("", 0));
    CHECK(palme_utf8_valid("a\0b", 3));
    CHECK(!palme_utf8_valid("\xC3", 1));
}

int main(void)
{
    check_known();
    check_edges();
    check_all_characters();
    return check_done();
}
