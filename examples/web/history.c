/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * history.c - a ring of captions. Ids have no gaps, so an id is a place in the ring.
 */
#include "history.h"

#include <string.h>

enum { SOURCES = 64 };

struct web_history {
    GMutex lock;
    struct web_entry *ring; /* [capacity] */
    guint capacity, count;
    guint64 next_id;       /* the newest entry has the id next_id - 1 */
    guint64 first_picture; /* entries with smaller ids have no picture any more */
    gsize picture_bytes, most_picture_bytes;
    guint64 shown[SOURCES]; /* the id of what a source shows, 0: nothing */
};

struct web_history *web_history_new(guint entries, gsize picture_bytes)
{
    struct web_history *history = g_new0(struct web_history, 1);

    g_mutex_init(&history->lock);
    history->capacity = MAX(entries, 1);
    history->ring = g_new0(struct web_entry, history->capacity);
    history->next_id = history->first_picture = 1;
    history->most_picture_bytes = picture_bytes;
    return history;
}

/* The entry with this id, or NULL. */
static struct web_entry *entry_at(struct web_history *history, guint64 id)
{
    if (id == 0 || id >= history->next_id || history->next_id - id > history->count)
        return NULL;
    return &history->ring[id % history->capacity];
}

static void drop_picture(struct web_history *history, struct web_entry *entry)
{
    if (!entry->picture)
        return;
    history->picture_bytes -= g_bytes_get_size(entry->picture);
    g_clear_pointer(&entry->picture, g_bytes_unref);
}

static void entry_clear(gpointer data)
{
    struct web_entry *entry = data;

    g_clear_pointer(&entry->picture, g_bytes_unref);
    g_clear_pointer(&entry->text, g_ref_string_release);
}

void web_history_free(struct web_history *history)
{
    guint i;

    if (!history)
        return;
    for (i = 0; i < history->capacity; i++)
        entry_clear(&history->ring[i]);
    g_free(history->ring);
    g_mutex_clear(&history->lock);
    g_free(history);
}

static void end_shown(struct web_history *history, guint source, gint64 time)
{
    struct web_entry *entry = entry_at(history, history->shown[source]);

    if (entry)
        entry->end = MAX(time, entry->begin);
    history->shown[source] = 0;
}

void web_history_end(struct web_history *history, guint source, gint64 time)
{
    g_return_if_fail(source < SOURCES);
    g_mutex_lock(&history->lock);
    end_shown(history, source, time);
    g_mutex_unlock(&history->lock);
}

/* At most WEB_TEXT_BYTES of whole characters. */
static char *cut_text(const char *text)
{
    const char *end = text + strlen(text);

    while (end - text > WEB_TEXT_BYTES)
        end = g_utf8_find_prev_char(text, end);
    return g_ref_string_new_len(text, end - text);
}

void web_history_add(struct web_history *history, const struct web_entry *added)
{
    struct web_entry *entry, *last;
    char *text;

    g_return_if_fail(added->source < SOURCES);
    text = cut_text(added->text);
    g_mutex_lock(&history->lock);
    last = entry_at(history, history->shown[added->source]);
    if (last && strcmp(last->text, text) == 0) {
        g_mutex_unlock(&history->lock);
        g_ref_string_release(text);
        return;
    }
    end_shown(history, added->source, added->begin);
    if (text[0] == '\0') {
        g_mutex_unlock(&history->lock);
        g_ref_string_release(text);
        return;
    }
    entry = &history->ring[history->next_id % history->capacity];
    drop_picture(history, entry);
    entry_clear(entry);
    *entry = *added;
    entry->id = history->next_id++;
    entry->end = 0;
    entry->text = text;
    history->count = MIN(history->count + 1, history->capacity);
    history->shown[added->source] = entry->id;
    if (entry->picture) {
        g_bytes_ref(entry->picture);
        history->picture_bytes += g_bytes_get_size(entry->picture);
    }
    for (; history->picture_bytes > history->most_picture_bytes; history->first_picture++) {
        entry = entry_at(history, history->first_picture);
        if (entry)
            drop_picture(history, entry);
    }
    g_mutex_unlock(&history->lock);
}

guint64 web_history_newest(struct web_history *history)
{
    guint64 id;

    g_mutex_lock(&history->lock);
    id = history->next_id - 1;
    g_mutex_unlock(&history->lock);
    return id;
}

GBytes *web_history_picture(struct web_history *history, guint64 id)
{
    struct web_entry *entry;
    GBytes *picture = NULL;

    g_mutex_lock(&history->lock);
    entry = entry_at(history, id);
    if (entry && entry->picture)
        picture = g_bytes_ref(entry->picture);
    g_mutex_unlock(&history->lock);
    return picture;
}

static gboolean overlaps(const struct web_entry *entry, gint64 from, gint64 to)
{
    if (to && entry->begin >= to)
        return FALSE;
    return !from || !entry->end || entry->end > from || entry->begin >= from;
}

/* `words` is folded, and NULL-terminated. */
static gboolean has_words(const struct web_entry *entry, char **words)
{
    char *text;
    guint i;

    if (!words || !words[0])
        return TRUE;
    text = g_utf8_casefold(entry->text, -1);
    for (i = 0; words[i]; i++)
        if (words[i][0] && !strstr(text, words[i]))
            break;
    g_free(text);
    return words[i] == NULL;
}

GArray *web_history_select(struct web_history *history, const struct web_query *query)
{
    GArray *found = g_array_new(FALSE, TRUE, sizeof(struct web_entry));
    char *folded = query->words ? g_utf8_casefold(query->words, -1) : NULL;
    char **words = folded ? g_strsplit_set(folded, " \t\r\n", -1) : NULL;
    guint64 id, oldest, newest;

    g_array_set_clear_func(found, entry_clear);
    g_mutex_lock(&history->lock);
    oldest = MAX(history->next_id - history->count, query->after + 1);
    newest = history->next_id - 1;
    if (query->before)
        newest = MIN(newest, query->before - 1);
    for (id = query->oldest_first ? oldest : newest; id >= oldest && id <= newest && found->len < query->limit;
         id += query->oldest_first ? 1 : -1) {
        struct web_entry entry = *entry_at(history, id);

        if ((query->source >= 0 && entry.source != (guint)query->source) || !overlaps(&entry, query->from, query->to) ||
            !has_words(&entry, words))
            continue;
        g_ref_string_acquire(entry.text);
        if (entry.picture)
            g_bytes_ref(entry.picture);
        g_array_append_val(found, entry);
    }
    g_mutex_unlock(&history->lock);
    g_strfreev(words);
    g_free(folded);
    return found;
}

/* The part that a time falls into. */
static guint bin_of(gint64 time, gint64 from, gint64 to, guint bins)
{
    double at = (double)(time - from) / (double)(to - from) * bins;

    return at <= 0 ? 0 : at >= bins ? bins - 1 : (guint)at;
}

void web_history_timeline(guint *counts, guint64 *ids, guint bins, struct web_history *history, int source, gint64 from,
                          gint64 to)
{
    gint64 now = g_get_real_time();
    guint64 id;

    memset(counts, 0, bins * sizeof *counts);
    memset(ids, 0, bins * sizeof *ids);
    g_mutex_lock(&history->lock);
    for (id = history->next_id - history->count; id < history->next_id; id++) {
        const struct web_entry *entry = entry_at(history, id);
        guint bin, last;

        if ((source >= 0 && entry->source != (guint)source) || !overlaps(entry, from, to))
            continue;
        bin = bin_of(entry->begin, from, to, bins);
        last = bin_of(entry->end ? entry->end : now, from, to, bins);
        if (entry->begin >= from)
            counts[bin]++;
        for (; bin <= last; bin++)
            if (!ids[bin])
                ids[bin] = id;
    }
    g_mutex_unlock(&history->lock);
}

void web_history_size(struct web_history *history, guint *entries, gsize *picture_bytes)
{
    g_mutex_lock(&history->lock);
    *entries = history->count;
    *picture_bytes = history->picture_bytes;
    g_mutex_unlock(&history->lock);
}
