/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * walk.h - the inputs of a run, one after the other: those of the command line, then those of a list, then those of a
 * watched folder. Folders are entered.
 *
 * It holds the names of the folders that it is in, and no others, so memory goes with the largest folder.
 */
#ifndef CAPTIONWALK_H
#define CAPTIONWALK_H

#include "options.h"

/* What was in a folder of the command line or of the list. */
struct caption_folder {
    char *name;                     /* as it was given */
    char *path;                     /* of the file system */
    guint64 files, skipped, photos; /* regular files; those that are no media; photos that are not wanted */
    gboolean failed;                /* a part of it could not be read */
};

enum caption_entry_kind {
    CAPTION_ENTRY_INPUT,      /* `name` is to be captioned */
    CAPTION_ENTRY_COMPLAINT,  /* `why` is wrong with `name` */
    CAPTION_ENTRY_FOLDER_END, /* all of `folder` was handed out */
    CAPTION_ENTRY_END         /* no more, or the run shall end */
};

struct caption_entry {
    enum caption_entry_kind kind;
    char *name;
    char *why;
    char *path;  /* of a file: where it is; NULL: a pipe or a URI */
    gsize inner; /* where in `path` the part begins that is below the folder; else the file's own name */
    struct caption_folder *folder; /* that it was found in, the walk's; or NULL */
    gboolean found;                /* in a folder: what is no media is left out */
    gboolean news;                 /* it has just come into a watched folder */
    gint64 size, mtime;            /* of a file, bytes and ns; -1 for others */
};

struct caption_walk;

/* `settings` must outlive it. NULL after a complaint. */
struct caption_walk *caption_walk_new(const struct caption_settings *settings);
void caption_walk_free(struct caption_walk *walk);

/* The next one; clear it with caption_entry_clear. It may wait, for a list or a watched folder. */
void caption_walk_next(struct caption_walk *walk, struct caption_entry *entry);
void caption_entry_clear(struct caption_entry *entry);

/* How many files there will be, by counting names; 0: that cannot be known. */
guint64 caption_walk_count(const struct caption_settings *settings);

#endif
