/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * photo.c - reads photos with gdk-pixbuf.
 *
 * The loader tells a picture's size before it decodes, so that a small file cannot ask for much memory,
 * and forgives what viewers forgive. Its loaders for HEIC, AVIF, WebP and others are packages of their own.
 */
#include "photo.h"
#include "kind.h"

#include <gdk-pixbuf/gdk-pixbuf.h>
#include <string.h>

/* gdk-pixbuf wants pieces: a cancelled loader reads no more than the one at hand. */
#define PIECE (64 * 1024)
/* The engine's most. */
#define MAX_SIDE 32768

/* Pixels of a picture that is decoded while no other of the kind is: cameras' are smaller. */
#define LARGE (G_GUINT64_CONSTANT(1) << 25)

/* Held for a large picture, so that several threads do not take the memory for several of them. */
static GMutex large_picture;

struct progress {
    guint64 max_pixels;
    guint64 width, height; /* 0: not known yet */
    gboolean refused, large;
    char *warning; /* the first, or NULL */
};

char *caption_photo_too_large(guint64 width, guint64 height, guint64 max_pixels)
{
    return g_strdup_printf("has %" G_GUINT64_FORMAT " x %" G_GUINT64_FORMAT " pixels, more than %" G_GUINT64_FORMAT
                           " in all; --max-pixels raises the limit",
                           width, height, max_pixels);
}

gboolean caption_photo_exceeds(guint64 width, guint64 height, guint64 max_pixels)
{
    return width > 0 && height > 0 && width > max_pixels / height;
}

static void size_prepared(GdkPixbufLoader *loader, int width, int height, gpointer user)
{
    struct progress *p = user;

    p->width = (guint64)MAX(width, 0);
    p->height = (guint64)MAX(height, 0);
    if (caption_photo_exceeds(p->width, p->height, p->max_pixels)) {
        p->refused = TRUE;
        gdk_pixbuf_loader_set_size(loader, 0, 0); /* which ends the decoding before it begins */
    } else if (p->width * p->height > LARGE && !p->large) {
        g_mutex_lock(&large_picture);
        p->large = TRUE;
    }
}

/* What each thread decodes. */
static GPrivate at_hand;

/* Some loaders say to the log alone what is wrong with a file. */
static void keep_warning(const char *domain, GLogLevelFlags level, const char *message, gpointer user)
{
    struct progress *p = g_private_get(&at_hand);

    if (!p)
        g_log_default_handler(domain, level, message, user);
    else if (!p->warning)
        p->warning = g_strstrip(g_strdup(message));
}

void caption_photo_init(void)
{
    g_log_set_default_handler(keep_warning, NULL);
}

/* The engine takes at most so many pixels a side; panoramas may have more. Takes the reference; NULL: out
 * of memory. */
static GdkPixbuf *fit(GdkPixbuf *pixbuf)
{
    int width = gdk_pixbuf_get_width(pixbuf), height = gdk_pixbuf_get_height(pixbuf), longer = MAX(width, height);
    GdkPixbuf *small;

    if (longer <= MAX_SIDE)
        return pixbuf;
    width = MAX((int)((gint64)width * MAX_SIDE / longer), 1);
    height = MAX((int)((gint64)height * MAX_SIDE / longer), 1);
    small = gdk_pixbuf_scale_simple(pixbuf, width, height, GDK_INTERP_BILINEAR);
    g_object_unref(pixbuf);
    return small;
}

/* Makes the photo of what a loader has decoded; takes the reference. */
static gboolean finish(struct caption_photo *photo, GdkPixbuf *pixbuf, int orientation, char **why)
{
    if (orientation > 1) {
        char text[2] = { (char)('0' + orientation), '\0' };

        gdk_pixbuf_set_option(pixbuf, "orientation", text);
    }
    photo->pixbuf = gdk_pixbuf_apply_embedded_orientation(pixbuf);
    g_object_unref(pixbuf);
    if (photo->pixbuf)
        photo->pixbuf = fit(photo->pixbuf);
    if (!photo->pixbuf) {
        *why = g_strdup("cannot be turned upright: out of memory");
        return FALSE;
    }
    photo->pixels = gdk_pixbuf_read_pixels(photo->pixbuf);
    photo->width = gdk_pixbuf_get_width(photo->pixbuf);
    photo->height = gdk_pixbuf_get_height(photo->pixbuf);
    photo->stride = gdk_pixbuf_get_rowstride(photo->pixbuf);
    photo->alpha = gdk_pixbuf_get_has_alpha(photo->pixbuf);
    return TRUE;
}

enum caption_photo_status caption_photo_decode(struct caption_photo *photo, const guint8 *data, gsize size,
                                               guint64 max_pixels, char **why)
{
    struct progress p = { .max_pixels = max_pixels };
    enum caption_photo_status status = CAPTION_PHOTO_BROKEN;
    GdkPixbufLoader *loader;
    GdkPixbuf *pixbuf;
    GError *error = NULL;
    gboolean ok = TRUE;
    gsize offset, length;
    gboolean cut;

    *why = NULL;
    if (caption_kind_icon(data, size, &offset, &length)) {
        data += offset;
        size = length;
    }
    /* Some loaders decode before they tell the size. */
    if (caption_kind_size(data, size, &p.width, &p.height) && caption_photo_exceeds(p.width, p.height, max_pixels)) {
        *why = caption_photo_too_large(p.width, p.height, max_pixels);
        return CAPTION_PHOTO_TOO_LARGE;
    }
    cut = caption_kind_is_cut(data, size);
    loader = gdk_pixbuf_loader_new();
    g_signal_connect(loader, "size-prepared", G_CALLBACK(size_prepared), &p);
    g_private_set(&at_hand, &p);
    for (gsize at = 0; ok && at < size && !p.refused; at += PIECE)
        ok = gdk_pixbuf_loader_write(loader, data + at, MIN(PIECE, size - at), &error);
    /* An end mark: without one the last rows of a JPEG are waited for. Behind another it is nothing. */
    if (ok && !p.refused && size >= 3 && memcmp(data, "\377\330\377", 3) == 0)
        ok = gdk_pixbuf_loader_write(loader, (const guchar *)"\377\331", 2, &error);
    if (!gdk_pixbuf_loader_close(loader, error ? NULL : &error))
        ok = FALSE;
    g_private_set(&at_hand, NULL);

    pixbuf = gdk_pixbuf_loader_get_pixbuf(loader);
    if (p.refused) {
        status = CAPTION_PHOTO_TOO_LARGE;
        *why = caption_photo_too_large(p.width, p.height, max_pixels);
    } else if (pixbuf && !cut && (ok || caption_kind_begins_whole(data, size))) {
        if (finish(photo, g_object_ref(pixbuf), caption_kind_chunk_orientation(data, size), why))
            status = CAPTION_PHOTO_READ;
        photo->large = p.large && status == CAPTION_PHOTO_READ;
    } else if (g_error_matches(error, GDK_PIXBUF_ERROR, GDK_PIXBUF_ERROR_UNKNOWN_TYPE)) {
        status = CAPTION_PHOTO_UNKNOWN;
        *why = g_strdup("no loader of gdk-pixbuf knows it");
    } else {
        *why = g_strdup(cut         ? "the file ends before the picture"
                        : error     ? error->message
                        : p.warning ? p.warning
                                    : "there is none in it");
    }
    g_free(p.warning);
    g_clear_error(&error);
    g_object_unref(loader);
    if (p.large && status != CAPTION_PHOTO_READ)
        g_mutex_unlock(&large_picture);
    return status;
}

void caption_photo_free(struct caption_photo *photo)
{
    g_clear_object((GObject **)&photo->pixbuf);
    photo->pixels = NULL;
    if (photo->large)
        g_mutex_unlock(&large_picture);
    photo->large = FALSE;
}

static void refuse(GdkPixbufLoader *loader, int width, int height, gpointer user)
{
    (void)width;
    (void)height;
    (void)user;
    gdk_pixbuf_loader_set_size(loader, 0, 0);
}

gboolean caption_photo_recognised(const guint8 *head, gsize size)
{
    GdkPixbufLoader *loader = gdk_pixbuf_loader_new();
    gboolean known;

    g_signal_connect(loader, "size-prepared", G_CALLBACK(refuse), NULL);
    gdk_pixbuf_loader_write(loader, head, size, NULL);
    gdk_pixbuf_loader_close(loader, NULL);
    known = gdk_pixbuf_loader_get_format(loader) != NULL;
    g_object_unref(loader);
    return known;
}
