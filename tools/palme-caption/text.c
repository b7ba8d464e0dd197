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
    caption_append_key(out, CAPTION_JSON, result->source, FALSE);
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

/* ---- CSV ---------------------------------------------------------------------------------- */

static gboolean is_formula(const char *text)
{
    return *text && strchr("=+-@\t\r", *text) != NULL;
}

static void append_field(GString *out, const char *text)
{
    if (!strpbrk(text, "\",\r\n")) {
        g_string_append(out, text);
        return;
    }
    g_string_append_c(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            g_string_append_c(out, '"');
        g_string_append_c(out, *text);
    }
    g_string_append_c(out, '"');
}

static void append_csv(GString *out, const struct caption_result *result, gboolean labels, const char *line)
{
    GString *field = g_string_new(is_formula(line) ? "'" : "");

    caption_append_key(out, CAPTION_CSV, result->source, FALSE);
    g_string_append_c(out, ',');
    if (result->time >= 0)
        g_string_append_printf(out, "%" G_GINT64_FORMAT ".%03d", result->time / 1000000000,
                               (int)(result->time / 1000000 % 1000));
    g_string_append_c(out, ',');
    g_string_append(field, line);
    append_field(out, field->str);
    g_string_append_c(out, ',');
    append_number(out, result->score, "%.6f");
    if (labels) {
        g_string_assign(field, "");
        append_labels(field, result, FALSE);
        if (is_formula(field->str))
            g_string_prepend_c(field, '\'');
        g_string_append_c(out, ',');
        append_field(out, field->str);
    }
    g_string_append(out, "\r\n");
    g_string_free(field, TRUE);
}

/* ---- Lines -------------------------------------------------------------------------------- */

void caption_append_key(GString *out, enum caption_format format, const char *source, gboolean video)
{
    GString *name;

    switch (format) {
    case CAPTION_TSV:
        if (video)
            caption_append_name(out, source);
        else
            append_photo(out, source);
        break;
    case CAPTION_JSON:
    case CAPTION_ARRAY:
        g_string_append(out, "{\"source\": ");
        append_json(out, source);
        if (!g_utf8_validate(source, -1, NULL)) {
            char *bytes = g_base64_encode((const guchar *)source, strlen(source));

            g_string_append_printf(out, ", \"source_base64\": \"%s\"", bytes);
            g_free(bytes);
        }
        break;
    case CAPTION_CSV:
        /* "-" is the standard input and stays what it is. */
        name = g_string_new(is_formula(source) && source[1] ? "./" : "");
        caption_append_name(name, source);
        append_field(out, name->str);
        g_string_free(name, TRUE);
        break;
    case CAPTION_TEXT:
    case CAPTION_VTT:
    case CAPTION_SRT: break;
    }
}

/* The end of the first field of a line of CSV, or NULL. */
static const char *field_end(const char *line, gsize size)
{
    const char *end = line + size, *p = line;

    if (p == end || *p != '"')
        return memchr(line, ',', size);
    for (p++; p < end; p++) {
        if (*p != '"')
            continue;
        if (p + 1 == end || p[1] != '"')
            return p + 1 < end && p[1] == ',' ? p + 1 : NULL;
        p++;
    }
    return NULL;
}

gsize caption_key_length(enum caption_format format, const char *line, gsize size, gboolean *frame)
{
    static const char time[] = ", \"time\": ";
    const char *end = NULL, *at;
    char *name;
    gsize length = 0;

    *frame = FALSE;
    switch (format) {
    case CAPTION_TSV:
        if (!(end = memchr(line, '\t', size)))
            return 0;
        name = g_strndup(line, (gsize)(end - line));
        at = seeming_time(name);
        *frame = at != NULL;
        length = at ? (gsize)(at - name) : (gsize)(end - line);
        g_free(name);
        return length;
    case CAPTION_JSON:
    case CAPTION_ARRAY:
        /* A quote in a string stands behind a backslash, so no name holds this. */
        end = g_strstr_len(line, (gssize)size, time);
        if (!end || !g_str_has_prefix(line, "{\"source\": \""))
            return 0;
        *frame = g_ascii_isdigit(end[sizeof time - 1]);
        break;
    case CAPTION_CSV:
        if (!(end = field_end(line, size)))
            return 0;
        *frame = end + 1 < line + size && end[1] != ',';
        break;
    case CAPTION_TEXT:
    case CAPTION_VTT:
    case CAPTION_SRT: return 0;
    }
    return (gsize)(end - line);
}

gboolean caption_format_of(enum caption_format *format, const char *name)
{
    static const struct {
        const char *name;
        enum caption_format format;
    } formats[] = { { "tsv", CAPTION_TSV },    { "text", CAPTION_TEXT },  { "txt", CAPTION_TEXT },
                    { "json", CAPTION_ARRAY }, { "jsonl", CAPTION_JSON }, { "ndjson", CAPTION_JSON },
                    { "csv", CAPTION_CSV },    { "vtt", CAPTION_VTT },    { "srt", CAPTION_SRT } };

    for (gsize i = 0; i < G_N_ELEMENTS(formats); i++)
        if (g_ascii_strcasecmp(name, formats[i].name) == 0) {
            *format = formats[i].format;
            return TRUE;
        }
    return FALSE;
}

struct caption_result *caption_result_copy(const struct caption_result *result)
{
    struct caption_result *copy = g_memdup2(result, sizeof *result);
    struct caption_label *labels =
        result->labels ? g_memdup2(result->labels, (gsize)MAX(result->label_count, 1) * sizeof *labels) : NULL;

    for (int i = 0; i < result->label_count; i++)
        labels[i].name = g_strdup(result->labels[i].name);
    copy->labels = labels;
    copy->source = g_strdup(result->source);
    copy->caption = g_strdup(result->caption);
    return copy;
}

void caption_result_free(struct caption_result *result)
{
    for (int i = 0; i < result->label_count; i++)
        g_free((char *)result->labels[i].name);
    g_free((struct caption_label *)result->labels);
    g_free((char *)result->source);
    g_free((char *)result->caption);
    g_free(result);
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
    case CAPTION_JSON:
    case CAPTION_ARRAY: append_object(out, result, line); break;
    case CAPTION_CSV: append_csv(out, result, labels, line); break;
    case CAPTION_VTT:
    case CAPTION_SRT: break;
    }
    g_free(line);
}
