/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * progress.h - the line on a terminal that says how far a run is. Where the standard error is no terminal it says
 * nothing. The caller sees to it that one thread at a time calls.
 */
#ifndef CAPTIONPROGRESS_H
#define CAPTIONPROGRESS_H

#include <glib.h>

struct caption_progress {
    gboolean on;
    gboolean shared;      /* the standard output is a terminal, too: wipe the line before it is written to */
    guint64 total;        /* inputs; 0: unknown */
    guint64 done, worked; /* inputs gone through; those of them that took work */
    gint64 began, shown;  /* monotonic time, us */
};

void caption_progress_begin(struct caption_progress *progress, guint64 total);

/* Shows that an input is at work; `time` ns of a video, or -1. */
void caption_progress_show(struct caption_progress *progress, const char *name, gint64 time);

/* Takes the line away, before anything else is written. */
void caption_progress_wipe(struct caption_progress *progress);

#endif
