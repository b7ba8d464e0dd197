/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * document.c - a file of captions as text.
 */
#include "document.h"
#include "gstpalmesanitize.h"

#include <string.h>

#define MS (G_GINT64_CONSTANT(1000000))

gboolean caption_format_is_subtitle(enum caption_format format)
{
    return format == CAPTION_VTT || format == CAPTION_SRT;
}

void caption_document_begin(struct caption_document *document, GString *out)
{
    switch (document->format) {
    case CAPTION_ARRAY: g_string_append(out, "[\n"); break;
    case CAPTION_CSV:
        g_string_append_printf(out, "source,seconds,caption,score%s\r\n", document->labels ? ",labels" : "");
        break;
    case CAPTION_VTT: g_string_append(out, "WEBVTT\n"); break;
    default: break;
    }
}

/* ---- Cues --------------------------------------------------------------------------------- */

/* hh:mm:ss.mmm, with SubRip's comma. */
static void append_time(GString *out, gint64 time, char point)
{
    gint64 ms = time / MS;

    g_string_append_printf(out, "%02" G_GINT64_FORMAT ":%02d:%02d%c%03d", ms / 3600000, (int)(ms / 60000 % 60),
                           (int)(ms / 1000 % 60), point, (int)(ms % 1000));
}

/* WebVTT has character references. SubRip has none, and its players take what stands in < > and { } for markup. */
static void append_words(GString *out, const char *words, enum caption_format format)
{
    for (; *words; words++) {
        switch (*words) {
        case '&': g_string_append(out, format == CAPTION_VTT ? "&amp;" : "&"); break;
        case '<': g_string_append(out, format == CAPTION_VTT ? "&lt;" : "\342\200\271"); break;
        case '>': g_string_append(out, format == CAPTION_VTT ? "&gt;" : "\342\200\272"); break;
        case '{':
        case '}':
            if (format == CAPTION_SRT) {
                g_string_append_c(out, *words == '{' ? '(' : ')');
                break;
            }
            /* fall through */
        default: g_string_append_c(out, *words);
        }
    }
}

/* Writes the cue that waits, if it lasts for a millisecond. */
static void end_cue(struct caption_document *document, GString *out, gint64 end)
{
    char point = document->format == CAPTION_VTT ? '.' : ',';

    if (document->held && document->held_start / MS < end / MS) {
        document->cues++;
        if (document->format == CAPTION_SRT)
            g_string_append_printf(out, "%s%u\n", document->cues > 1 ? "\n" : "", document->cues);
        else
            g_string_append_c(out, '\n');
        append_time(out, document->held_start, point);
        g_string_append(out, " --> ");
        append_time(out, end, point);
        g_string_append_c(out, '\n');
        append_words(out, document->held, document->format);
        g_string_append_c(out, '\n');
    }
    g_clear_pointer(&document->held, g_free);
}

static void add_cue(struct caption_document *document, GString *out, const struct caption_result *result)
{
    char *words = gst_palme_sanitize(result->caption, strlen(result->caption));

    document->last = result->time;
    if (g_strcmp0(words, document->held) == 0) {
        g_free(words);
        return;
    }
    end_cue(document, out, result->time);
    if (*words) {
        document->held = g_steal_pointer(&words);
        document->held_start = result->time;
    }
    g_free(words);
}

/* ---- Any document ------------------------------------------------------------------------- */

void caption_document_add(struct caption_document *document, GString *out, const struct caption_result *result)
{
    document->filled = TRUE;
    if (caption_format_is_subtitle(document->format)) {
        add_cue(document, out, result);
        return;
    }
    caption_append_result(out, document->format, document->labels, result);
    if (document->format == CAPTION_ARRAY)
        g_string_insert_c(out, (gssize)out->len - 1, ',');
}

void caption_document_end_input(struct caption_document *document, GString *out, gint64 end)
{
    if (!caption_format_is_subtitle(document->format))
        return;
    /* Of a stream that does not say how long its frames last the last one is shown for a second. */
    end_cue(document, out, end > document->last ? end : document->last + 1000 * MS);
}

void caption_document_end(struct caption_document *document, GString *out, gsize *replaced)
{
    *replaced = 0;
    if (document->format != CAPTION_ARRAY)
        return;
    *replaced = document->filled ? strlen(",\n") : 0;
    g_string_append(out, document->filled ? "\n]\n" : "]\n");
}

void caption_document_clear(struct caption_document *document)
{
    g_clear_pointer(&document->held, g_free);
}
