/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * watch.h - what comes into a folder: files that were written and closed, files and folders that were moved in.
 *
 * By inotify: it alone tells that a file was closed by who wrote it, for folders below as well.
 */
#ifndef CAPTIONWATCH_H
#define CAPTIONWATCH_H

#include <glib.h>

struct caption_watch;

enum caption_watch_event {
    CAPTION_WATCH_FILE,   /* *name is a file, complete */
    CAPTION_WATCH_FOLDER, /* *name is a folder whose files are to be listed: at the beginning, or because it is new */
    CAPTION_WATCH_GONE,   /* the folder itself is gone */
    CAPTION_WATCH_END     /* the run shall end */
};

/* The first event of it is the folder itself. NULL: *why is a sentence, free it with g_free. */
struct caption_watch *caption_watch_new(const char *folder, gboolean recursive, char **why);
void caption_watch_free(struct caption_watch *watch);

/* Takes what has happened so far from the system, which keeps only so much of it. */
void caption_watch_collect(struct caption_watch *watch);

/* Waits for the next event; *name is to be freed. */
enum caption_watch_event caption_watch_next(struct caption_watch *watch, char **name);

/* Whether somebody has the file open to write it, so that an event will tell when it is complete. FALSE as well where
 * the system does not tell: of another user's file. */
gboolean caption_watch_is_open(const char *name);

#endif
