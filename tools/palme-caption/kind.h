/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kind.h - what the bytes of a picture file say before anything decodes it.
 */
#ifndef CAPTIONKIND_H
#define CAPTIONKIND_H

#include <glib.h>

/* So many bytes of a file's beginning are enough for caption_kind_of. */
#define CAPTION_HEAD 4096

/* A format of pictures. */
struct caption_kind {
    const char *name;    /* as people call it */
    const char *package; /* the Debian package that reads it, NULL where nothing has to be added */
};

/* The format whose signature `head` begins with, or NULL: a video, or nothing known. Formats without a
 * signature (TGA) are not recognised. */
const struct caption_kind *caption_kind_of(const guint8 *head, gsize size);

/* The Exif orientation, 1 to 8, of a JPEG, PNG, WebP or TIFF of `size` bytes; 1 where it carries none. The
 * libraries for HEIC, AVIF and JPEG XL turn the picture themselves. */
int caption_kind_orientation(const guint8 *data, gsize size);

/* The same for PNG and WebP alone, whose orientation gdk-pixbuf does not look for. */
int caption_kind_chunk_orientation(const guint8 *data, gsize size);

/* Whether a PNG ends before its end: gdk-pixbuf would make do with the upper part. FALSE for other formats.
 */
gboolean caption_kind_is_cut(const guint8 *data, gsize size);

/* Whether the first picture of a GIF is all there, whatever is wrong with those behind it. FALSE for other
 * formats. */
gboolean caption_kind_begins_whole(const guint8 *data, gsize size);

/* Where in an icon or cursor file its largest picture is a whole PNG, which gdk-pixbuf does not look for
 * there. FALSE if it has none, or is another kind of file. */
gboolean caption_kind_icon(const guint8 *data, gsize size, gsize *offset, gsize *length);

/* The size in pixels that the header of a PNG, JPEG, GIF, BMP, TIFF, WebP, HEIC or AVIF names. FALSE: another
 * format, or the header does not say. */
gboolean caption_kind_size(const guint8 *data, gsize size, guint64 *width, guint64 *height);

#endif
