/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * history.h - the captions that were, with their times and small pictures, in memory that has a limit.
 *
 * All functions may be called from any thread. Times are microseconds since 1970, as g_get_real_time() has them.
 */
#ifndef WEB_HISTORY_H
#define WEB_HISTORY_H

#include <glib.h>

struct web_history;

/* A caption that stayed for a while. Captions of one source that are equal in a row are one entry. */
struct web_entry {
    guint64 id;         /* counts from 1 */
    guint source;       /* the number of the source */
    gint64 begin, end;  /* end is 0 while it is shown */
    char *text;         /* a GRefString */
    double score;       /* mean log-probability of the tokens; NAN: none */
    guint64 latency_ns; /* how long the caption took */
    GBytes *picture;    /* JPEG; NULL: there was none, or it made room for later ones */
};

struct web_query {
    int source;        /* -1: all */
    const char *words; /* all of these are in the text, in any case; NULL: any text */
    gint64 from, to;   /* was shown in from <= time < to; 0: no limit */
    guint64 after;     /* entries with a greater id */
    guint64 before;    /* entries with a smaller id; 0: no limit */
    gboolean oldest_first;
    guint limit; /* at most so many */
};

/* At most `entries` entries, and pictures of at most `picture_bytes` in all. The oldest ones go first. */
struct web_history *web_history_new(guint entries, gsize picture_bytes);
void web_history_free(struct web_history *history);

/* Adds a caption of a source, which ends its last one; or goes on with that one if it has the same text. An empty
 * text ends the last one and adds nothing. The text is copied and cut at WEB_TEXT_BYTES; `picture` gets a reference. */
void web_history_add(struct web_history *history, const struct web_entry *entry);

/* The source shows nothing any more. */
void web_history_end(struct web_history *history, guint source, gint64 time);

/* The id of the newest entry, 0 if there is none. */
guint64 web_history_newest(struct web_history *history);

/* Entries as `query` asks: an array of struct web_entry, free it with g_array_unref. */
GArray *web_history_select(struct web_history *history, const struct web_query *query);

/* The picture of an entry, to be unreffed; NULL if there is none. */
GBytes *web_history_picture(struct web_history *history, guint64 id);

/* Cuts the time from `from` to `to` into `bins` parts. counts[i]: captions that began in part i. ids[i]: the first one
 * that was shown in it, 0 if there was none. source is -1 for all. */
void web_history_timeline(guint *counts, guint64 *ids, guint bins, struct web_history *history, int source, gint64 from,
                          gint64 to);

/* How many entries there are, and the bytes of their pictures. */
void web_history_size(struct web_history *history, guint *entries, gsize *picture_bytes);

enum { WEB_TEXT_BYTES = 2000 };

#endif
