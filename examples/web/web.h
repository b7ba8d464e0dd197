/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * web.h - what the parts of the server share. All of it but the sources and the history belongs to the main thread.
 */
#ifndef WEB_H
#define WEB_H

#include <libsoup/soup.h>

#include "source.h"

enum { WEB_SOURCES = 64, WEB_MODELS = 200 };

struct web {
    struct web_source *sources[WEB_SOURCES];
    guint count;
    struct web_history *history;
    const char *models; /* the folder with models to choose from; NULL: there is no choice */
    gint64 began;       /* microseconds since 1970 */
    guint most_viewers, downloads;
    SoupServer *soup;
    struct web_http *http;
    struct web_live *live;
};

#endif
