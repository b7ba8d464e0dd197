/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * progress.c - the line on a terminal that says how far a run is.
 */
#include "progress.h"
#include "complain.h"

#include <stdio.h>
#include <unistd.h>

#define SECOND G_USEC_PER_SEC

void caption_progress_begin(struct caption_progress *progress, guint64 total)
{
    *progress = (struct caption_progress){ .on = isatty(STDERR_FILENO) && total != 1,
                                           .shared = isatty(STDOUT_FILENO),
                                           .total = total,
                                           .began = g_get_monotonic_time() };
}

/* ", 1 h 05 min left": by the time that the inputs so far took which took any. Those behind may be done already. */
static void show_time_left(const struct caption_progress *progress)
{
    gint64 left;

    if (progress->worked == 0 || progress->total <= progress->done)
        return;
    left = (gint64)((double)(g_get_monotonic_time() - progress->began) / (double)progress->worked *
                    (double)(progress->total - progress->done)) /
           SECOND;
    if (left >= 3600)
        fprintf(stderr, ", %d h %02d min left", (int)(left / 3600), (int)(left / 60 % 60));
    else if (left >= 60)
        fprintf(stderr, ", %d min %02d s left", (int)(left / 60), (int)(left % 60));
    else
        fprintf(stderr, ", %d s left", (int)left);
}

void caption_progress_show(struct caption_progress *progress, const char *name, gint64 time)
{
    gint64 now = g_get_monotonic_time();
    char *shown;

    /* A new name is always shown: it may stay for long. */
    if (!progress->on || (time >= 0 && progress->shown && now - progress->shown < SECOND / 10))
        return;
    progress->shown = now;
    shown = caption_shown(name, 36); /* a line that wraps cannot be wiped */
    fprintf(stderr, "\r\033[K%" G_GUINT64_FORMAT, progress->done + 1);
    if (progress->total)
        fprintf(stderr, " of %" G_GUINT64_FORMAT, MAX(progress->total, progress->done + 1));
    fprintf(stderr, ": %s", shown);
    if (time >= 0)
        fprintf(stderr, " (%d s)", (int)(time / 1000000000));
    show_time_left(progress);
    fflush(stderr);
    g_free(shown);
}

void caption_progress_wipe(struct caption_progress *progress)
{
    if (progress->on && progress->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->shown = 0;
    }
}
