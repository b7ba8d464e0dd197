/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * complain.c - what palme-caption says on the standard error.
 */
#include "complain.h"
#include "gstpalmesanitize.h"
#include "text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

char *caption_shown(const char *name, glong longest)
{
    GString *out = g_string_new(NULL);

    caption_append_name(out, name);
    if (g_utf8_strlen(out->str, -1) > longest) {
        g_string_truncate(out, (gsize)(g_utf8_offset_to_pointer(out->str, longest - 3) - out->str));
        g_string_append(out, "...");
    }
    return g_string_free(out, FALSE);
}

void caption_complain(const char *what, const char *format, ...)
{
    char *text, *name, *clean;
    va_list arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    /* A data: URI would fill the screen. */
    name = caption_shown(what ? what : "", what && g_str_has_prefix(what, "data:") ? 64 : 4 * PATH_MAX);
    clean = gst_palme_sanitize(text, strlen(text));
    fprintf(stderr, "palme-caption: %s%s%s\n", name, what ? ": " : "", clean);
    g_free(text);
    g_free(name);
    g_free(clean);
}
