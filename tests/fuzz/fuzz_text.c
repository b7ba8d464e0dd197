/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fuzz_text.c - any bytes that tokens stand for become text that may be shown: the detokenizer makes whole characters
 * of them, the same wherever tokens end, and the sanitizer of the element takes out what must not be seen.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "gstpalmesanitize.h"
#include "text/detokenize.h"

/* The text of data[size] in pieces of `step` bytes; to be freed. */
static char *text_of(const uint8_t *data, size_t size, size_t step)
{
    struct palme_detokenizer d;
    char *text = malloc(6 * size + 64), *out = text;

    if (!text)
        abort();
    palme_detokenizer_begin(&d, NULL);
    for (size_t at = 0; at < size; at += step)
        out += palme_detokenizer_bytes(&d, out, (const char *)data + at, size - at < step ? size - at : step);
    out += palme_detokenizer_finish(&d, out);
    *out = 0;
    FUZZ_HOLDS(strlen(text) == (size_t)(out - text));
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *whole, *pieces, *shown, *again;

    if (size < 1 || size > 4096)
        return 0;
    whole = text_of(data + 1, size - 1, size);
    pieces = text_of(data + 1, size - 1, 1 + data[0] % 7);
    FUZZ_HOLDS(g_utf8_validate(whole, -1, NULL));
    FUZZ_HOLDS(strcmp(whole, pieces) == 0);

    shown = gst_palme_sanitize(whole, strlen(whole));
    FUZZ_HOLDS(shown && g_utf8_validate(shown, -1, NULL));
    for (const char *c = shown; *c; c = g_utf8_next_char(c))
        FUZZ_HOLDS(!g_unichar_iscntrl(g_utf8_get_char(c)));
    again = gst_palme_sanitize(shown, strlen(shown));
    FUZZ_HOLDS(strcmp(shown, again) == 0);
    g_free(again);
    g_free(shown);
    free(pieces);
    free(whole);
    return 0;
}
