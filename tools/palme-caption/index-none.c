/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * index-none.c - in the place of index.c, database.c and search.c where SQLite was absent when this was built.
 */
#include "complain.h"
#include "index.h"
#include "sink.h"

static void say_missing(const char *option)
{
    caption_complain(NULL, "%s needs SQLite, and this palme-caption was built without it (Debian: libsqlite3-dev)",
                     option);
}

struct caption_sink *caption_index_new(const struct caption_settings *settings, const char *model)
{
    (void)settings;
    (void)model;
    say_missing("--index");
    return NULL;
}

char **caption_index_folders(const char *path)
{
    (void)path;
    say_missing("--index");
    return NULL;
}

int caption_search(const struct caption_settings *settings)
{
    (void)settings;
    say_missing("--search");
    return CAPTION_EXIT_CANNOT;
}
