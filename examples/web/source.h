/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.h - a camera, a file or an address: plays it, captions it, makes JPEGs of it, and comes back when it was gone.
 *
 * Each source has a thread of its own that builds, watches and ends its pipeline, so that one which hangs stops no
 * other, and never the server. All functions may be called from any thread and return at once.
 */
#ifndef WEB_SOURCE_H
#define WEB_SOURCE_H

#include <json-glib/json-glib.h>

#include "history.h"
#include "settings.h"

struct web_source;

struct web_source_options {
    const char *spec;    /* of the command line, see web_source_new */
    guint number;        /* among the sources, from 0 */
    guint rate;          /* pictures a second at most */
    guint width, height; /* of the pictures, at most */
    gboolean once;       /* a file is not played again and again */
    const char *model;   /* a file name; NULL: the element's default */
    struct web_settings settings;
    struct web_history *history;
    /* A new picture or another state; called in any thread. */
    void (*changed)(gpointer user);
    gpointer user;
};

/* The newest picture. */
struct web_picture {
    guint64 serial; /* counts from 1; 0: there is none yet */
    GBytes *jpeg;
    char *caption; /* what this frame carries, "" if nothing */
    int width, height;
};

/* What `spec` may be: a file, an address (rtsp://, http://), "camera" or "camera:/dev/video1", "test" or "test:ball",
 * "pipeline:" and a part of a gst-launch line that ends with video; each of them behind "NAME=", which is how the page
 * calls it. NULL: *why is a sentence, free it. */
struct web_source *web_source_new(const struct web_source_options *options, char **why);
void web_source_start(struct web_source *source);
/* Tells it to end, without waiting. */
void web_source_stop(struct web_source *source);
/* Stops it, and waits for that up to `seconds`. FALSE: it hangs still; then what it has is not freed. */
gboolean web_source_free(struct web_source *source, guint seconds);

const char *web_source_name(const struct web_source *source);
/* An object: name, state, message, settings, statistics. */
void web_source_describe(JsonBuilder *builder, struct web_source *source);
/* Grows with each change of what web_source_describe writes, statistics aside. */
guint web_source_version(struct web_source *source);

guint64 web_source_serial(struct web_source *source);
/* The newest picture; web_picture_clear frees it. */
void web_source_picture(struct web_picture *picture, struct web_source *source);
void web_picture_clear(struct web_picture *picture);

void web_source_pause(struct web_source *source, gboolean paused);
void web_source_caption_now(struct web_source *source);
void web_source_get_settings(struct web_settings *settings, struct web_source *source);
void web_source_set_settings(struct web_source *source, const struct web_settings *settings);
/* `path` is the file, `name` how the page calls it. */
void web_source_set_model(struct web_source *source, const char *path, const char *name);

#endif
