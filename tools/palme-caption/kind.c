/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kind.c - what the bytes of a picture file say before anything decodes it: its format, its size
 * and which side is up. It reads headers only and trusts none of their lengths.
 */
#include "kind.h"

#include <string.h>

static const struct {
    struct caption_kind kind;
    guint8 at, length;
    const char *bytes;
} signatures[] = {
    { { "JPEG", NULL }, 0, 3, "\377\330\377" },
    { { "PNG", NULL }, 0, 8, "\211PNG\r\n\032\n" },
    { { "GIF", NULL }, 0, 4, "GIF8" },
    { { "TIFF", NULL }, 0, 4, "II*\0" },
    { { "TIFF", NULL }, 0, 4, "MM\0*" },
    { { "BigTIFF", NULL }, 0, 4, "II+\0" },
    { { "BigTIFF", NULL }, 0, 4, "MM\0+" },
    { { "WebP", "webp-pixbuf-loader" }, 8, 4, "WEBP" },
    { { "animated cursor", NULL }, 8, 4, "ACON" },
    { { "JPEG XL", "libjxl-gdk-pixbuf" }, 0, 2, "\377\012" },
    { { "JPEG XL", "libjxl-gdk-pixbuf" }, 0, 12, "\0\0\0\014JXL \r\n\207\n" },
    { { "JPEG 2000", "gstreamer1.0-plugins-bad" }, 0, 8, "\0\0\0\014jP  " },
    { { "JPEG 2000", "gstreamer1.0-plugins-bad" }, 0, 4, "\377\117\377\121" },
    { { "OpenEXR", "gstreamer1.0-plugins-bad" }, 0, 4, "\166\057\061\001" },
    { { "Macintosh icon", NULL }, 0, 4, "icns" },
    { { "XPM", NULL }, 0, 9, "/* XPM */" },
    { { "Photoshop", NULL }, 0, 4, "8BPS" },
    { { "QOI", NULL }, 0, 4, "qoif" },
    { { "DirectDraw surface", NULL }, 0, 4, "DDS " },
    { { "JPEG XR", NULL }, 0, 3, "II\274" },
};
static const struct caption_kind heic = { "HEIC", "heif-gdk-pixbuf" };
static const struct caption_kind avif = { "AVIF", "libavif-gdk-pixbuf" };
static const struct caption_kind svg = { "SVG", "librsvg2-common" };
static const struct caption_kind icon = { "icon or cursor", NULL };
static const struct caption_kind bmp = { "BMP", NULL };
static const struct caption_kind pnm = { "PNM", NULL };

static guint32 little32(const guint8 *p)
{
    return p[0] | (guint32)p[1] << 8 | (guint32)p[2] << 16 | (guint32)p[3] << 24;
}

static guint32 big32(const guint8 *p)
{
    return p[3] | (guint32)p[2] << 8 | (guint32)p[1] << 16 | (guint32)p[0] << 24;
}

static guint32 number(const guint8 *p, int bytes, gboolean big)
{
    guint32 value = 0;

    for (int i = 0; i < bytes; i++)
        value |= (guint32)p[i] << 8 * (big ? bytes - 1 - i : i);
    return value;
}

/* ISO base media files are videos unless a brand says picture. The first brand of a sequence or of a
 * general picture file is neutral; those behind it name the codec. */
static const struct caption_kind *kind_of_brands(const guint8 *head, gsize size)
{
    static const char pictures[][5] = { "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1" };
    const struct caption_kind *kind = NULL;
    gsize end = MIN(size, big32(head));

    if (end < 12)
        return NULL;
    if (memcmp(head + 8, "avif", 4) == 0 || memcmp(head + 8, "avis", 4) == 0)
        return &avif;
    for (gsize i = 0; i < G_N_ELEMENTS(pictures); i++)
        if (memcmp(head + 8, pictures[i], 4) == 0)
            kind = &heic;
    for (gsize at = 16; kind && at + 4 <= end; at += 4)
        if (memcmp(head + at, "avif", 4) == 0)
            kind = &avif;
    return kind;
}

/* An SVG has text in front of its first element: a declaration, a doctype, remarks. */
static gboolean is_svg(const guint8 *head, gsize size)
{
    const char *text = (const char *)head;

    while (size > 0 && (g_ascii_isspace(*text) || strchr("\357\273\277", *text)) && *text)
        text++, size--;
    return size > 4 && *text == '<' && g_strstr_len(text, (gssize)size, "<svg") != NULL;
}

/* An icon or cursor file says how many pictures it has, where a TGA of the same first bytes has a zero. */
static gboolean is_icon(const guint8 *data, gsize size)
{
    return size >= 22 && (memcmp(data, "\0\0\1\0", 4) == 0 || memcmp(data, "\0\0\2\0", 4) == 0) &&
           number(data + 4, 2, FALSE) > 0;
}

const struct caption_kind *caption_kind_of(const guint8 *head, gsize size)
{
    for (gsize i = 0; i < G_N_ELEMENTS(signatures); i++)
        if (size >= (gsize)signatures[i].at + signatures[i].length &&
            memcmp(head + signatures[i].at, signatures[i].bytes, signatures[i].length) == 0 &&
            (signatures[i].at == 0 || memcmp(head, "RIFF", 4) == 0))
            return &signatures[i].kind;
    if (size >= 12 && memcmp(head + 4, "ftyp", 4) == 0)
        return kind_of_brands(head, size);
    if (size >= 18 && memcmp(head, "BM", 2) == 0 && little32(head + 14) >= 12 && little32(head + 14) <= 124)
        return &bmp;
    if (is_icon(head, size))
        return &icon;
    if (size >= 3 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6' && (g_ascii_isspace(head[2]) || head[2] == '#'))
        return &pnm;
    return is_svg(head, size) ? &svg : NULL;
}

/* A number in the first directory of a TIFF file, or 0. */
static guint32 tiff_number(const guint8 *data, gsize size, guint32 tag)
{
    gboolean big;
    gsize at, count;

    if (size < 8 || (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0))
        return 0;
    big = data[0] == 'M';
    at = number(data + 4, 4, big);
    if (at > size - 2)
        return 0;
    count = number(data + at, 2, big);
    for (at += 2; count-- && at + 12 <= size; at += 12)
        if (number(data + at, 2, big) == tag) {
            gboolean is_short = number(data + at + 2, 2, big) == 3;

            return number(data + at + 8, is_short ? 2 : 4, big);
        }
    return 0;
}

/* The orientation in a block of Exif: a TIFF file, with or without the six bytes that JPEG puts before it. */
static int exif_orientation(const guint8 *exif, gsize size)
{
    gsize skip = size >= 6 && memcmp(exif, "Exif\0\0", 6) == 0 ? 6 : 0;
    guint32 value = tiff_number(exif + skip, size - skip, 0x112);

    return value >= 1 && value <= 8 ? (int)value : 1;
}

/* The Exif orientation among the segments in front of a JPEG's picture. */
static int jpeg_orientation(const guint8 *data, gsize size)
{
    gsize at = 2;

    while (at < size && size - at >= 10 && data[at] == 0xFF && data[at + 1] != 0xDA) {
        gsize length = number(data + at + 2, 2, TRUE);

        if (data[at + 1] == 0xE1 && memcmp(data + at + 4, "Exif\0\0", 6) == 0)
            return exif_orientation(data + at + 4, MIN(MAX(length, 2) - 2, size - at - 4));
        at += data[at + 1] == 0xFF ? 1 : 2 + length; /* a fill byte or a segment */
    }
    return 1;
}

int caption_kind_orientation(const guint8 *data, gsize size)
{
    if (size >= 3 && memcmp(data, "\377\330\377", 3) == 0)
        return jpeg_orientation(data, size);
    if (tiff_number(data, size, 0x100) > 0)
        return exif_orientation(data, size);
    return caption_kind_chunk_orientation(data, size);
}

int caption_kind_chunk_orientation(const guint8 *data, gsize size)
{
    gboolean png = size >= 8 && memcmp(data, "\211PNG\r\n\032\n", 8) == 0;
    gsize at = png ? 8 : 12;

    if (!png && (size < 12 || memcmp(data, "RIFF", 4) != 0 || memcmp(data + 8, "WEBP", 4) != 0))
        return 1;
    while (at < size && size - at >= 8) {
        const guint8 *chunk = data + at;
        gsize length = png ? big32(chunk) : little32(chunk + 4);
        gsize room = size - at - 8;

        if (memcmp(png ? chunk + 4 : chunk, png ? "eXIf" : "EXIF", 4) == 0)
            return exif_orientation(chunk + 8, MIN(length, room));
        /* PNG has a checksum behind a chunk, RIFF rounds up to an even length. */
        length += png ? 4 : length & 1;
        if (length > room)
            break;
        at += 8 + length;
    }
    return 1;
}

gboolean caption_kind_is_cut(const guint8 *data, gsize size)
{
    if (size < 8 || memcmp(data, "\211PNG\r\n\032\n", 8) != 0)
        return FALSE;
    for (gsize at = 8; size - at >= 8;) {
        gsize length = big32(data + at);

        if (memcmp(data + at + 4, "IEND", 4) == 0)
            return FALSE;
        if (size - at - 8 < length + 4)
            break;
        at += length + 12;
    }
    return TRUE;
}

/* Past the sub-blocks of a GIF that begin at `at`: each has its length in front, and one of 0 ends them.
 * Beyond `size`: there is no end. */
static gsize skip_blocks(const guint8 *data, gsize size, gsize at)
{
    while (at < size && data[at] != 0)
        at += 1u + data[at];
    return at + 1;
}

static gsize colour_table(guint8 flags)
{
    return flags & 0x80 ? 3u << ((flags & 7) + 1) : 0;
}

gboolean caption_kind_begins_whole(const guint8 *data, gsize size)
{
    gsize at;

    if (size < 13 || memcmp(data, "GIF8", 4) != 0)
        return FALSE;
    at = 13 + colour_table(data[10]);
    while (at + 10 < size && data[at] == 0x21) /* an extension */
        at = skip_blocks(data, size, at + 2);
    if (at + 10 >= size || data[at] != 0x2C) /* an image */
        return FALSE;
    return skip_blocks(data, size, at + 11 + colour_table(data[at + 9])) <= size;
}

gboolean caption_kind_icon(const guint8 *data, gsize size, gsize *offset, gsize *length)
{
    guint32 largest = 0;

    if (!is_icon(data, size))
        return FALSE;
    for (gsize i = 0, n = number(data + 4, 2, FALSE); i < n && 22 + i * 16 <= size; i++) {
        const guint8 *entry = data + 6 + i * 16;
        guint32 pixels = (entry[0] ? entry[0] : 256u) * (entry[1] ? entry[1] : 256u); /* 0 is 256 */

        if (pixels > largest) {
            largest = pixels;
            *length = little32(entry + 8);
            *offset = little32(entry + 12);
        }
    }
    return largest > 0 && *offset <= size && *length <= size - *offset && *length >= 8 &&
           memcmp(data + *offset, "\211PNG\r\n\032\n", 8) == 0;
}

static gboolean jpeg_size(const guint8 *data, gsize size, guint64 *width, guint64 *height)
{
    gsize at = 2;

    while (at + 9 < size) {
        guint8 marker = data[at + 1];

        if (data[at] != 0xFF)
            return FALSE;
        if (marker == 0xFF) { /* a fill byte */
            at++;
        } else if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
            *height = number(data + at + 5, 2, TRUE);
            *width = number(data + at + 7, 2, TRUE);
            return TRUE;
        } else if (marker == 0xDA || marker == 0xD9) {
            return FALSE;
        } else {
            at += 2 + number(data + at + 2, 2, TRUE);
        }
    }
    return FALSE;
}

static gboolean webp_size(const guint8 *data, gsize size, guint64 *width, guint64 *height)
{
    if (size < 30)
        return FALSE;
    if (memcmp(data + 12, "VP8X", 4) == 0) {
        *width = number(data + 24, 3, FALSE) + 1;
        *height = number(data + 27, 3, FALSE) + 1;
        return TRUE;
    }
    return FALSE; /* the other kinds have at most 16383 pixels a side */
}

/* The largest size among the pictures of a HEIC or AVIF: the whole one, its tiles, its thumbnail. */
static gboolean heif_size(const guint8 *data, gsize size, guint64 *width, guint64 *height)
{
    for (gsize at = 0; at < size && size - at >= 8;) {
        gsize length = big32(data + at), end;

        if (length < 8) /* the last box, or one of more than 4 GiB */
            length = size - at;
        end = at + MIN(length, size - at);
        if (memcmp(data + at + 4, "meta", 4) == 0)
            for (gsize i = at + 8; i + 16 <= end; i++)
                if (memcmp(data + i, "ispe", 4) == 0) {
                    *width = MAX(*width, big32(data + i + 8));
                    *height = MAX(*height, big32(data + i + 12));
                }
        at = end;
    }
    return *width > 0;
}

gboolean caption_kind_size(const guint8 *data, gsize size, guint64 *width, guint64 *height)
{
    if (size >= 24 && memcmp(data, "\211PNG\r\n\032\n", 8) == 0) {
        *width = big32(data + 16);
        *height = big32(data + 20);
        return TRUE;
    }
    *width = *height = 0;
    if (size >= 12 && memcmp(data + 4, "ftyp", 4) == 0)
        return heif_size(data, size, width, height);
    if ((*width = tiff_number(data, size, 0x100)) > 0) {
        *height = tiff_number(data, size, 0x101);
        return TRUE;
    }
    if (size >= 10 && memcmp(data, "GIF8", 4) == 0) {
        *width = number(data + 6, 2, FALSE);
        *height = number(data + 8, 2, FALSE);
        return TRUE;
    }
    if (size >= 26 && memcmp(data, "BM", 2) == 0 && little32(data + 14) >= 40) {
        *width = (guint64)ABS((gint64)(gint32)little32(data + 18));
        *height = (guint64)ABS((gint64)(gint32)little32(data + 22));
        return TRUE;
    }
    if (size >= 4 && memcmp(data, "\377\330\377", 3) == 0)
        return jpeg_size(data, size, width, height);
    if (size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0)
        return webp_size(data, size, width, height);
    return FALSE;
}
