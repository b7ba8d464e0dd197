/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.c - who reads an input: gdk-pixbuf what is a photo by its first bytes, GStreamer the
 * rest. Where the first of the two cannot, the other is asked.
 */
#include "source.h"
#include "input.h"
#include "kind.h"
#include "photo.h"
#include "stream.h"

#include <gst/base/gsttypefindhelper.h>
#include <gst/gst.h>
#include <string.h>

/* A photo's file is hardly larger than its pixels; metadata and thumbnails are let be. */
static guint64 most_bytes(guint64 max_pixels)
{
    return MIN(max_pixels, G_MAXUINT64 / 16) * 8 + (64 << 20);
}

static gboolean takes_pictures(GstElementFactory *factory)
{
    for (const GList *l = gst_element_factory_get_static_pad_templates(factory); l; l = l->next) {
        GstStaticPadTemplate *template = l->data;

        if (template->direction == GST_PAD_SINK && strstr(template->static_caps.string, "image/"))
            return TRUE;
    }
    return FALSE;
}

/* Whether the user has ranked GStreamer's decoders of pictures, and so wants them asked first. */
static gboolean pictures_are_ranked(void)
{
    const char *ranks = g_getenv("GST_PLUGIN_FEATURE_RANK");
    char **entries = g_strsplit(ranks ? ranks : "", ",", -1);
    gboolean ranked = FALSE;

    for (char **entry = entries; *entry && !ranked; entry++) {
        GstElementFactory *factory;
        char *colon = strchr(*entry, ':');

        if (colon)
            *colon = '\0';
        factory = gst_element_factory_find(g_strstrip(*entry));
        if (factory) {
            ranked = takes_pictures(factory);
            gst_object_unref(factory);
        }
    }
    g_strfreev(entries);
    return ranked;
}

/* A photo whose first bytes name no format (TGA): gdk-pixbuf takes it for one and GStreamer for nothing. */
static gboolean is_nameless_photo(const GByteArray *head)
{
    GstCaps *caps;

    if (!caption_photo_recognised(head->data, head->len))
        return FALSE;
    caps = gst_type_find_helper_for_data(NULL, head->data, head->len, NULL);
    if (caps)
        gst_caps_unref(caps);
    return caps == NULL;
}

/* What to say of a photo that neither of the two could read. */
static char *photo_words(const struct caption_kind *kind, enum caption_photo_status status, const char *loader,
                         const char *decoder)
{
    if (status == CAPTION_PHOTO_BROKEN)
        return g_strdup_printf("cannot be read as a picture%s%s: %s", kind ? " of format " : "", kind ? kind->name : "",
                               loader);
    if (!kind)
        return g_strdup(decoder);
    return g_strdup_printf("is a picture of format %s, which neither gdk-pixbuf nor GStreamer reads here%s%s",
                           kind->name, kind->package ? "; in Debian it takes the package " : "",
                           kind->package ? kind->package : "");
}

/* Decodes the photo in `bytes` and hands it over. `uri` is where the bytes are, or NULL. */
static gboolean read_photo(const GByteArray *bytes, const char *uri, const struct caption_source *options,
                           gboolean gstreamer_first, char **why)
{
    const struct caption_kind *kind = caption_kind_of(bytes->data, bytes->len);
    struct caption_stream stream = { .uri = uri,
                                     .bytes = bytes,
                                     .fd = -1,
                                     .photo = TRUE,
                                     .orientation = caption_kind_orientation(bytes->data, bytes->len) };
    enum caption_stream_status decoded = CAPTION_STREAM_UNKNOWN;
    enum caption_photo_status status;
    struct caption_photo photo;
    char *loader = NULL, *decoder = NULL;
    gboolean ok = FALSE;

    if (stream.orientation == 1)
        stream.orientation = 0; /* or said in another way */
    if (gstreamer_first && (decoded = caption_stream_read(&stream, options, NULL, &decoder)) == CAPTION_STREAM_READ)
        return TRUE;
    status = caption_photo_decode(&photo, bytes->data, bytes->len, options->max_pixels, &loader);
    if (status == CAPTION_PHOTO_READ) {
        struct caption_frame frame = { photo.pixels, photo.width, photo.height, photo.stride, photo.alpha, -1 };

        options->fn(options->user, &frame);
        caption_photo_free(&photo);
        ok = TRUE;
    } else if (status == CAPTION_PHOTO_TOO_LARGE) {
        *why = g_steal_pointer(&loader);
    } else {
        /* libav's demuxer seeks behind the end of a GIF that is cut short, for ever. What can be read of one,
         * gdk-pixbuf has read. */
        gboolean cut_gif = status == CAPTION_PHOTO_BROKEN && kind && strcmp(kind->name, "GIF") == 0;
        gboolean lacks_loader =
            status == CAPTION_PHOTO_UNKNOWN && kind && kind->package && strstr(kind->package, "pixbuf");
        /* GStreamer takes HEIC and AVIF for videos without a track, and may wait for one. */
        gboolean like_video = lacks_loader && bytes->len >= 8 && memcmp(bytes->data + 4, "ftyp", 4) == 0;

        if (!gstreamer_first && !cut_gif && !like_video)
            decoded = caption_stream_read(&stream, options, NULL, &decoder);
        ok = decoded == CAPTION_STREAM_READ;
        if (decoded == CAPTION_STREAM_FAILED && status == CAPTION_PHOTO_UNKNOWN && !lacks_loader)
            *why = g_steal_pointer(&decoder);
        else if (!ok)
            *why = photo_words(kind, status, loader, decoder);
    }
    g_free(loader);
    g_free(decoder);
    return ok;
}

gboolean caption_source_read(const char *item, const struct caption_source *options, char **why)
{
    gboolean gstreamer_first = pictures_are_ranked(), ok = FALSE;
    struct caption_input input;

    if (options->end)
        *options->end = -1;
    if (caption_input_open(&input, item, why)) {
        gboolean is_photo =
            input.fd >= 0 && (caption_kind_of(input.bytes->data, input.bytes->len) || is_nameless_photo(input.bytes));
        struct caption_stream stream = {
            .uri = input.uri, .bytes = input.bytes, .fd = input.fd, .take_photo = input.fd < 0 && !gstreamer_first
        };
        GByteArray *photo = NULL;

        if (!is_photo) {
            ok = caption_stream_read(&stream, options, &photo, why) == CAPTION_STREAM_READ;
            if (ok && photo)
                ok = read_photo(photo, NULL, options, FALSE, why);
        } else if (caption_input_read_all(&input, most_bytes(options->max_pixels), why)) {
            ok = read_photo(input.bytes, input.uri, options, gstreamer_first, why);
        }
        g_clear_pointer(&photo, g_byte_array_unref);
    }
    caption_input_close(&input);
    return ok;
}
