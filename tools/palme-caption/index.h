/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * index.h - a search index: its folders, and what is found in it. sink.h has what writes it.
 *
 * Without SQLite these say that it is missing.
 */
#ifndef CAPTIONINDEX_H
#define CAPTIONINDEX_H

#include "options.h"

/* The folders that an index was made of, or "." for a new one: to be freed by g_strfreev. NULL after a complaint. */
char **caption_index_folders(const char *path);

/* Prints what the database settings->items[0] has of settings->query; the exit status. */
int caption_search(const struct caption_settings *settings);

#endif
