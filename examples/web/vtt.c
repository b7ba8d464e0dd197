/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vtt.c - captions as WebVTT, to be downloaded.
 */
#include "api.h"

static void append_time(GString *vtt, gint64 microseconds)
{
    gint64 ms = MAX(microseconds, 0) / 1000;

    g_string_append_printf(vtt, "%02d:%02d:%02d.%03d", (int)(ms / 3600000), (int)(ms / 60000 % 60),
                           (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static char *iso_time(gint64 microseconds)
{
    GDateTime *time = g_date_time_new_from_unix_utc(microseconds / G_USEC_PER_SEC);
    char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ");

    g_date_time_unref(time);
    return text;
}

/* A cue's text is one line without empty lines, and escaped, so that none can look like the head of another cue. */
static void append_text(GString *vtt, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': g_string_append(vtt, "&amp;"); break;
        case '<': g_string_append(vtt, "&lt;"); break;
        case '>': g_string_append(vtt, "&gt;"); break;
        case '\r':
        case '\n': g_string_append_c(vtt, ' '); break;
        default: g_string_append_c(vtt, *text);
        }
    }
}

char *web_vtt(GArray *entries, const char *name, gint64 zero)
{
    GString *vtt = g_string_new("WEBVTT\n\nNOTE ");
    char *began = iso_time(zero);
    gint64 now = g_get_real_time();
    guint i;

    append_text(vtt, name);
    g_string_append_printf(vtt, ", 00:00:00.000 is %s\n", began);
    g_free(began);
    for (i = 0; i < entries->len; i++) {
        const struct web_entry *entry = &g_array_index(entries, struct web_entry, i);
        gint64 end = entry->end ? entry->end : now;

        /* A cue has to last for a while. */
        if (end / 1000 <= entry->begin / 1000)
            continue;
        g_string_append_c(vtt, '\n');
        append_time(vtt, entry->begin - zero);
        g_string_append(vtt, " --> ");
        append_time(vtt, end - zero);
        g_string_append_c(vtt, '\n');
        append_text(vtt, entry->text);
        g_string_append_c(vtt, '\n');
    }
    return g_string_free(vtt, FALSE);
}
