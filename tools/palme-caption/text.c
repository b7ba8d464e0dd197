/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * text.c - what palme-caption prints, as text. It knows nothing of files, pictures or models.
 */
#include "text.h"
#include "gstpalmesanitize.h"

#include <math.h>
#include <string.h>

/* Whether a character is seen where it stands and does nothing else. */
static gboolean is_plain(gunichar c)
{
    switch (g_unichar_type(c)) {
    case G_UNICODE_CONTROL:
    case G_UNICODE_FORMAT: /* direction marks, joiners, tags */
    case G_UNICODE_LINE_SEPARATOR:
    case G_UNICODE_PARAGRAPH_SEPARATOR:
    case G_UNICODE_PRIVATE_USE:
    case G_UNICODE_SURROGATE:
    case G_UNICODE_UNASSIGNED: return FALSE;
    default: return TRUE;
    }
}

/* A JSON string in quotes. */
static void append_json(GString *out, const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(out, '"');
    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (c == '"' || c == '\\')
            g_string_append_printf(out, "\\%c", (char)c);
        else if (is_plain(c))
            g_string_append_unichar(out, c);
        else if (c < 0x10000)
            g_string_append_printf(out, "\\u%04x", c);
        else
            g_string_append_printf(out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 0x3FF));
    }
    g_string_append_c(out, '"');
    g_free(valid);
}

void caption_append_name(GString *out, const char *name)
{
    while (*name) {
        gunichar c = g_utf8_get_char_validated(name, -1);

        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(out, "\\x%02X", (guchar)*name++);
            continue;
        }
        switch (c) {
        case '\t': g_string_append(out, "\\t"); break;
        case '\n': g_string_append(out, "\\n"); break;
        case '\r': g_string_append(out, "\\r"); break;
        case '\\': g_string_append(out, "\\\\"); break;
        default:
            if (is_plain(c))
                g_string_append_unichar(out, c);
            else
                g_string_append_printf(out, "\\u{%X}", c);
        }
        name = g_utf8_next_char(name);
    }
}

/* Where in a name a frame's time seems to begin, "@h:mm:ss.mmm" at its end; or NULL. */
static const char *seeming_time(const char *name)
{
    const char *at = strrchr(name, '@');
    const char *p = at ? at + 1 : "";
    const char *rest = ":dd:dd.ddd";

    if (!g_ascii_isdigit(*p))
        return NULL;
    while (g_ascii_isdigit(*p))
        p++;
    for (; *rest && (*rest == 'd' ? g_ascii_isdigit(*p) : *p == *rest); rest++)
        p++;
    return *rest || *p ? NULL : at;
}

/* The name of a photo. */
static void append_photo(GString *out, const char *name)
{
    const char *at = seeming_time(name);
    char *front;

    if (!at) {
        caption_append_name(out, name);
        return;
    }
    front = g_strndup(name, (gsize)(at - name));
    caption_append_name(out, front);
    g_string_append_printf(out, "\\u{40}%s", at + 1);
    g_free(front);
}

/* h:mm:ss.mmm, cut and not rounded: a frame is never named later than it is. */
static void append_time(GString *out, gint64 time)
{
    gint64 ms = time / 1000000;

    g_string_append_printf(out, "@%" G_GINT64_FORMAT ":%02d:%02d.%03d", ms / 3600000, (int)(ms / 60000 % 60),
                           (int)(ms / 1000 % 60), (int)(ms % 1000));
}

/* A number with so many digits and, in every language, a point; JSON has no infinity. */
static void append_number(GString *out, double value, const char *format)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    g_string_append(out, isfinite(value) ? g_ascii_formatd(number, sizeof number, format, value) : "null");
}

static void append_labels(GString *out, const struct caption_result *result, gboolean json)
{
    for (int i = 0; i < result->label_count; i++) {
        const struct caption_label *label = &result->labels[i];
        char *name = gst_palme_sanitize(label->name, strlen(label->name));

        if (i)
            g_string_append(out, ", ");
        if (json) {
            g_string_append(out, "{\"name\": ");
            append_json(out, name);
            g_string_append(out, ", \"probability\": ");
            append_number(out, label->probability, "%.6f");
            g_string_append_c(out, '}');
        } else {
            g_string_append_printf(out, "%s ", name);
            append_number(out, label->probability, "%.2f");
        }
        g_free(name);
    }
}

static void append_object(GString *out, const struct caption_result *result, const char *line)
{
    const char *source = result->source;

    g_string_append(out, "{\"source\": ");
    append_json(out, source);
    if (!g_utf8_validate(source, -1, NULL)) {
        char *bytes = g_base64_encode((const guchar *)source, strlen(source));

        g_string_append_printf(out, ", \"source_base64\": \"%s\"", bytes);
        g_free(bytes);
    }
    if (result->time >= 0)
        g_string_append_printf(out, ", \"time\": %" G_GINT64_FORMAT, result->time);
    else
        g_string_append(out, ", \"time\": null");
    g_string_append(out, ", \"caption\": ");
    append_json(out, line);
    g_string_append(out, ", \"score\": ");
    append_number(out, result->score, "%.6f");
    if (result->labels) {
        g_string_append_printf(out, ", \"unsure\": %s, \"labels\": [", result->unsure ? "true" : "false");
        append_labels(out, result, TRUE);
        g_string_append_c(out, ']');
    }
    g_string_append(out, "}\n");
}

void caption_append_result(GString *out, enum caption_format format, gboolean labels,
                           const struct caption_result *result)
{
    char *line = gst_palme_sanitize(result->caption, strlen(result->caption));

    switch (format) {
    case CAPTION_TSV:
        if (result->time >= 0) {
            caption_append_name(out, result->source);
            append_time(out, result->time);
        } else {
            append_photo(out, result->source);
        }
        g_string_append_printf(out, "\t%s", line);
        if (labels) {
            g_string_append_c(out, '\t');
            append_labels(out, result, FALSE);
        }
        g_string_append_c(out, '\n');
        break;
    case CAPTION_TEXT: g_string_append_printf(out, "%s\n", line); break;
    case CAPTION_JSON: append_object(out, result, line); break;
    }
    g_free(line);
}
