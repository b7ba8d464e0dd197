/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * captionsource.h - a file or URI in, RGB frames out: the reading half of palme-caption.
 *
 * It decodes whatever GStreamer decodes and converts the frames that are asked for, and only those. It
 * knows nothing of captions.
 */
#ifndef CAPTIONSOURCE_H
#define CAPTIONSOURCE_H

#include <glib.h>

struct caption_frame {
    const guint8 *pixels; /* [height][stride], packed RGB; valid during the call */
    int width, height;
    int stride;           /* bytes from a row to the next */
    gint64 time;          /* ns from the beginning of the video; -1: a photo, which has no time */
};

/* What receives a frame. FALSE ends the reading; the caller knows why. */
typedef gboolean (*caption_frame_fn)(void *user, const struct caption_frame *frame);

/* Reads `item`, a file name in the file system's encoding or else a URI, and hands over a photo's one
 * frame, or a video's first frame and then one every `every` nanoseconds (0: each of them). It blocks
 * until the end. TRUE: all went well, or `fn` ended it. FALSE: *why is a sentence, free it with g_free;
 * frames may have been handed over before. */
gboolean caption_source_read(const char *item, guint64 every, caption_frame_fn fn, void *user,
                             char **why);

#endif
