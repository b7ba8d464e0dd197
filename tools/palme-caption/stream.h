/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stream.h - RGB frames of whatever GStreamer decodes: videos, cameras, and the photos that
 * gdk-pixbuf does not read.
 */
#ifndef CAPTIONSTREAM_H
#define CAPTIONSTREAM_H

#include "source.h"

/* Where the bytes come from. */
struct caption_stream {
    const char *uri;         /* or NULL: */
    const GByteArray *bytes; /* these, and then */
    int fd;                  /* what is still to be read here; -1: nothing */
    gboolean photo;          /* the first frame is all there is to it, and it has no time */
    int orientation;         /* Exif's, 1 to 8; 0: what the elements say */
    gboolean take_photo;     /* a photo behind the URI is wanted as it is, for gdk-pixbuf */
};

enum caption_stream_status {
    CAPTION_STREAM_READ,
    CAPTION_STREAM_UNKNOWN, /* nothing installed decodes this format */
    CAPTION_STREAM_FAILED
};

/* Hands over the frames that are due, as caption_source_read says. With take_photo, *photo becomes the
 * bytes of a photo that lies behind the URI, to be freed, and no frame is handed over; it is NULL for a
 * video. Unless it was read *why is a sentence, free it with g_free. */
enum caption_stream_status caption_stream_read(const struct caption_stream *stream,
                                               const struct caption_source *options, GByteArray **photo, char **why);

#endif
