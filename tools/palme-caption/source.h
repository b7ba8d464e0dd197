/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.h - a file, pipe or URI in, RGB(A) frames out: the reading half of palme-caption.
 *
 * Photos are read by gdk-pixbuf, everything else by GStreamer's decoders, and each stands in where the
 * other cannot. It knows nothing of captions.
 */
#ifndef CAPTIONSOURCE_H
#define CAPTIONSOURCE_H

#include <glib.h>

struct caption_frame {
    const guint8 *pixels; /* [height][stride], packed RGB or RGBA; valid during the call */
    int width, height;
    int stride;     /* bytes from a row to the next */
    gboolean alpha; /* RGBA, not multiplied */
    gint64 time;    /* ns from the beginning of the video; -1: a photo, which has no time */
};

/* What receives a frame. FALSE ends the reading; the caller knows why. */
typedef gboolean (*caption_frame_fn)(void *user, const struct caption_frame *frame);

/* What is wanted of an input. */
struct caption_source {
    guint64 every;      /* ns from a video's frame to the next that is handed over; 0: each of them */
    guint64 max_pixels; /* larger pictures are refused before they are decoded */
    caption_frame_fn fn;
    void *user;
    gint64 *end;           /* receives when the last frame of a video ends, ns; -1: unknown, or a photo. May be NULL */
    gboolean *sound_alone; /* becomes TRUE where a file has sound and no picture, which is a failure. May be NULL */
};

/* 2^28: what the largest cameras (200 megapixels) and GStreamer's widest panoramas (32767 x 8192) have.
 * As RGBA it is 1 GiB. */
#define CAPTION_MAX_PIXELS (G_GUINT64_CONSTANT(1) << 28)

/* Reads `item`, a file name in the file system's encoding, "-" for the standard input, or else a URI, and
 * hands over a photo's one frame (its first picture, where it has several), or a video's first frame and
 * then those that are due. Frames without time stamps are due by their arrival. It blocks until the end, or until
 * the run is stopped (stop.h). Any thread may call it. TRUE: all went well, or `fn` ended it. FALSE: *why is a
 * sentence, free it with g_free; frames may have been handed over before. */
gboolean caption_source_read(const char *item, const struct caption_source *options, char **why);

#endif
