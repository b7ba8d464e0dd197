/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * captiontext.c - what palme-caption prints, as text. It knows nothing of files, pictures or models.
 */
#include "captiontext.h"
#include "gstpalmesanitize.h"

#include <math.h>
#include <string.h>

/* A JSON string in quotes. */
static void append_json(GString *out, const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(out, '"');
    for (const char *p = valid; *p; p++) {
        if (*p == '"' || *p == '\\')
            g_string_append_printf(out, "\\%c", *p);
        else if ((guchar)*p < 0x20 || *p == 0x7F)
            g_string_append_printf(out, "\\u%04x", (unsigned)(guchar)*p);
        else
            g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
    g_free(valid);
}

/* The bytes of a name as they were given, but for the three that would break a line or a column. */
static void append_name(GString *out, const char *name)
{
    for (; *name; name++) {
        switch (*name) {
        case '\t': g_string_append(out, "\\t"); break;
        case '\n': g_string_append(out, "\\n"); break;
        case '\r': g_string_append(out, "\\r"); break;
        default: g_string_append_c(out, *name);
        }
    }
}

/* h:mm:ss.mmm, cut and not rounded: a frame is never named later than it is. */
static void append_time(GString *out, gint64 time)
{
    gint64 ms = time / 1000000;

    g_string_append_printf(out, "@%" G_GINT64_FORMAT ":%02d:%02d.%03d", ms / 3600000,
                           (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
}

void caption_append_result(GString *out, enum caption_format format, const char *source, gint64 time,
                           const char *caption, double score)
{
    char *line = gst_palme_sanitize(caption, strlen(caption));
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    switch (format) {
    case CAPTION_TSV:
        append_name(out, source);
        if (time >= 0)
            append_time(out, time);
        g_string_append_printf(out, "\t%s\n", line);
        break;
    case CAPTION_TEXT:
        g_string_append_printf(out, "%s\n", line);
        break;
    case CAPTION_JSON:
        g_string_append(out, "{\"source\": ");
        append_json(out, source);
        if (time >= 0)
            g_string_append_printf(out, ", \"time\": %" G_GINT64_FORMAT, time);
        else
            g_string_append(out, ", \"time\": null");
        g_string_append(out, ", \"caption\": ");
        append_json(out, line);
        /* JSON has no infinity, and its decimal point is a point in every language. */
        g_string_append_printf(out, ", \"score\": %s}\n",
                               isfinite(score)
                                   ? g_ascii_formatd(number, sizeof number, "%.6f", score)
                                   : "null");
        break;
    }
    g_free(line);
}
