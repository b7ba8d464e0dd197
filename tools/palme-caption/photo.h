/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * photo.h - the bytes of a photo in, its upright picture out, by gdk-pixbuf.
 */
#ifndef CAPTIONPHOTO_H
#define CAPTIONPHOTO_H

#include <glib.h>

enum caption_photo_status {
    CAPTION_PHOTO_READ,
    CAPTION_PHOTO_UNKNOWN, /* no loader for this format is installed */
    CAPTION_PHOTO_BROKEN,
    CAPTION_PHOTO_TOO_LARGE /* more than max_pixels; it was not decoded */
};

struct caption_photo {
    const guint8 *pixels; /* [height][stride], packed RGB or RGBA */
    int width, height;
    int stride;     /* bytes from a row to the next */
    gboolean alpha; /* RGBA, not multiplied */
    void *pixbuf;   /* what the pixels belong to */
    gboolean large; /* other threads wait with large pictures until it is freed */
};

/* Call it once, before other threads are started. */
void caption_photo_init(void);

/* Decodes the file of `size` bytes at `data`: its first picture where it has several (of an icon the one
 * that gdk-pixbuf thinks best), turned upright. At the peak it takes
 * 4 bytes a pixel, 8 for a picture that has to be turned, and what the format's library needs itself.
 * Any thread may call it; of pictures of over 32 million pixels one is decoded at a time.
 * CAPTION_PHOTO_READ: *photo is to be freed, by the same thread. Otherwise *why is a sentence, to be freed with
 * g_free. */
enum caption_photo_status caption_photo_decode(struct caption_photo *photo, const guint8 *data, gsize size,
                                               guint64 max_pixels, char **why);

void caption_photo_free(struct caption_photo *photo);

/* Whether an installed loader takes a file that begins with these bytes. */
gboolean caption_photo_recognised(const guint8 *head, gsize size);

/* Whether a picture has more than max_pixels. */
gboolean caption_photo_exceeds(guint64 width, guint64 height, guint64 max_pixels);

/* What is said of a picture of more than max_pixels, in video or photo; free it with g_free. */
char *caption_photo_too_large(guint64 width, guint64 height, guint64 max_pixels);

#endif
