/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source-private.h - what source.c, the thread and its state, and pipeline.c, the pipeline of one attempt, share.
 */
#ifndef WEB_SOURCE_PRIVATE_H
#define WEB_SOURCE_PRIVATE_H

#include "source.h"

enum web_state { WEB_STARTING, WEB_PLAYING, WEB_PAUSED, WEB_LOST, WEB_ENDED };
enum web_kind { WEB_FILE, WEB_ADDRESS, WEB_CAMERA, WEB_TEST, WEB_PIPELINE };
/* Pictures for the history that may still get a caption. */
enum { WEB_RECENT = 16 };

struct web_recent {
    GstClockTime pts;
    GBytes *jpeg;
};

struct web_source {
    /* set once, before the thread begins */
    struct web_source_options options;
    enum web_kind kind;
    char *name, *what; /* what: a URI, a device, a pattern or a part of a pipeline */
    char *secret;      /* "user:password@" of the address, which no message repeats; or NULL */
    char *first_model; /* options.model */
    GThread *thread;
    gint64 message_until; /* the thread's alone: when a warning is old, monotonic time */

    GMutex lock; /* of all below */
    GCond woken;
    enum web_state state; /* written by the thread alone, which may read it without the lock */
    char *message;
    guint version;
    gboolean stop, pause, caption_now, settings_new, model_new, done;
    struct web_settings settings;
    char *model, *model_name; /* what viewers chose; NULL: first_model */
    GstBus *bus;              /* of the pipeline that runs, else NULL */
    GstElement *caption;      /* of the same pipeline, else NULL */
    struct web_picture picture;
    gint64 last_picture; /* monotonic time */
    gint64 attempts;     /* beside the first one */
    struct web_recent recent[WEB_RECENT];
    guint next_recent;
};

/* A new pipeline, whose element palmecaption is *caption, a new reference. NULL: *why says why, free it. */
GstElement *web_pipeline_new(GstElement **caption, struct web_source *source, char **why);

/* The small picture whose time is next to `pts`, to be unreffed; NULL if there is none. The lock is held. */
GBytes *web_pipeline_recent(struct web_source *source, GstClockTime pts);

/* The thread. */
gpointer web_source_run(gpointer source);
/* Makes the thread look at what it is asked for. The lock is held. */
void web_source_wake(struct web_source *source);

#endif
