/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * captionsource.c - decodes a photo or a video with GStreamer, as fast as it goes, and hands over the
 * frames that are due.
 *
 *     uridecodebin ! [probe drops what is not due] ! videoconvert ! videoflip ! RGB ! appsink
 *
 * There is no videoscale: the engine has its own resize and wants the frame as it is. The probe stands
 * before the conversion, so that thirty frames a second are decoded but one is converted.
 */
#include "captionsource.h"

#include <errno.h>
#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A decoder that gives nothing for so long will not give anything any more. */
#define STALL_TIME (30 * G_USEC_PER_SEC)
/* How often a waiting reader looks at the bus. */
#define POLL_TIME (50 * GST_MSECOND)

struct source {
    GstElement *pipeline, *convert;
    GstAppSink *sink;
    guint64 every;
    char *missing; /* the plugin that GStreamer would need, or NULL */

    /* the streaming thread's alone */
    GstClockTime next_due; /* stream time; NONE before the first frame */
    GstClockTime after;    /* where a frame without a time stamp would begin */

    /* written by the streaming threads, read by the caller's: by atomic operations */
    gint frames; /* decoded so far, due or not */
    gint image;  /* 1: the file is of a type image/..., not a video */
    gint linked; /* 1: there is a picture to read */
    gint no_more_pads;
};

/* ---- Streaming threads -------------------------------------------------------------------- */

static GstClockTime frame_duration(GstPad *pad, GstBuffer *buffer)
{
    GstClockTime duration = GST_BUFFER_DURATION(buffer);
    GstCaps *caps = gst_pad_get_current_caps(pad);
    GstVideoInfo info;

    if (!GST_CLOCK_TIME_IS_VALID(duration)) {
        duration = 0;
        if (caps && gst_video_info_from_caps(&info, caps) && GST_VIDEO_INFO_FPS_N(&info) > 0)
            duration = gst_util_uint64_scale(GST_SECOND, (guint64)GST_VIDEO_INFO_FPS_D(&info),
                                             (guint64)GST_VIDEO_INFO_FPS_N(&info));
    }
    if (caps)
        gst_caps_unref(caps);
    return duration;
}

/* Passes the frames that are due. The first one is; the next ones are those that reach a point of a
 * grid of `every`, which begins at the first frame. */
static GstPadProbeReturn drop_not_due(GstPad *pad, GstPadProbeInfo *probe, gpointer user)
{
    struct source *s = user;
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(probe);
    GstClockTime duration = frame_duration(pad, buffer), time;
    GstEvent *event;
    GstSegment segment;

    g_atomic_int_inc(&s->frames);
    if (!GST_BUFFER_PTS_IS_VALID(buffer)) {
        buffer = gst_buffer_make_writable(buffer);
        GST_BUFFER_PTS(buffer) = s->after;
        GST_PAD_PROBE_INFO_DATA(probe) = buffer;
    }
    s->after = GST_BUFFER_PTS(buffer) + duration;

    if (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DECODE_ONLY) ||
        GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_GAP))
        return GST_PAD_PROBE_DROP;
    event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
    if (!event)
        return GST_PAD_PROBE_DROP;
    gst_event_copy_segment(event, &segment);
    gst_event_unref(event);
    time = gst_segment_to_stream_time(&segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    if (!GST_CLOCK_TIME_IS_VALID(time))
        return GST_PAD_PROBE_DROP; /* outside of what the file says is to be shown */

    if (GST_CLOCK_TIME_IS_VALID(s->next_due) && time < s->next_due)
        return GST_PAD_PROBE_DROP;
    if (!GST_CLOCK_TIME_IS_VALID(s->next_due) || s->every == 0)
        s->next_due = time + s->every;
    else
        s->next_due += ((time - s->next_due) / s->every + 1) * s->every;
    return GST_PAD_PROBE_OK;
}

static void pad_added(GstElement *decoder, GstPad *pad, gpointer user)
{
    struct source *s = user;
    GstPad *sink = gst_element_get_static_pad(s->convert, "sink");

    (void)decoder;
    /* The first picture stream is the one that counts. */
    if (!gst_pad_is_linked(sink)) {
        gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, drop_not_due, s, NULL);
        if (GST_PAD_LINK_SUCCESSFUL(gst_pad_link(pad, sink)))
            g_atomic_int_set(&s->linked, 1);
    }
    gst_object_unref(sink);
}

static void no_more_pads(GstElement *decoder, gpointer user)
{
    struct source *s = user;

    (void)decoder;
    g_atomic_int_set(&s->no_more_pads, 1);
}

static void have_type(GstElement *typefind, guint probability, GstCaps *caps, gpointer user)
{
    struct source *s = user;

    (void)typefind;
    (void)probability;
    if (g_str_has_prefix(gst_structure_get_name(gst_caps_get_structure(caps, 0)), "image/"))
        g_atomic_int_set(&s->image, 1);
    else
        g_atomic_int_set(&s->image, 0);
}

/* The type of the file is known to the typefind element inside of uridecodebin. The first one tells it;
 * those that come later look into what a container holds. */
static void element_added(GstBin *bin, GstBin *sub_bin, GstElement *element, gpointer user)
{
    GstElementFactory *factory = gst_element_get_factory(element);

    (void)sub_bin;
    if (factory && strcmp(GST_OBJECT_NAME(factory), "typefind") == 0) {
        g_signal_connect(element, "have-type", G_CALLBACK(have_type), user);
        g_signal_handlers_disconnect_by_func(bin, (gpointer)element_added, user);
    }
}

/* ---- The caller's thread ------------------------------------------------------------------ */

/* A URI for `item`, or NULL and the reason. What exists as a file is a file, even if it is called
 * "a:b". The name is resolved by the system, so that ".." behind a symbolic link means what it means to
 * everybody else. */
static char *uri_of(const char *item, char **why)
{
    struct stat status;
    char *path, *uri = NULL;

    if (stat(item, &status) != 0) {
        int error = errno;

        if (error == ENOENT && gst_uri_is_valid(item))
            return g_strdup(item);
        *why = g_strdup(g_strerror(error));
        return NULL;
    }
    if (S_ISDIR(status.st_mode))
        *why = g_strdup("is a directory");
    else if (!S_ISREG(status.st_mode))
        *why = g_strdup("is no regular file");
    else if (access(item, R_OK) != 0)
        *why = g_strdup(g_strerror(errno));
    else if (status.st_size == 0)
        *why = g_strdup("is empty");
    if (*why)
        return NULL;

    path = realpath(item, NULL);
    if (path)
        uri = g_filename_to_uri(path, NULL, NULL);
    if (!uri)
        *why = g_strdup("cannot be expressed as a URI");
    free(path);
    return uri;
}

/* Makes an element of the pipeline; NULL and a reason that names the package's element. */
static GstElement *make(struct source *s, const char *name, char **why)
{
    GstElement *element = gst_element_factory_make(name, NULL);

    if (!element)
        *why = g_strdup_printf("the GStreamer element %s is not installed", name);
    else
        gst_bin_add(GST_BIN(s->pipeline), element);
    return element;
}

/* Whether a file begins with these bytes. */
static gboolean begins_with(const char *path, const char *bytes)
{
    FILE *file = fopen(path, "rb");
    char start[4] = "";
    gboolean is = file && fread(start, 1, sizeof start, file) == sizeof start &&
                  memcmp(start, bytes, strlen(bytes)) == 0;

    if (file)
        fclose(file);
    return is;
}

/* The choice among the decoders that GStreamer has. The GIF demuxer of gst-libav never ends, and its
 * decoders of BMP and TIFF take no file as it is (both seen with 1.22); gdkpixbufdec stands in. jpegparse
 * is the one who reads which side is up. */
static void choose_decoders(void)
{
    static const struct {
        const char *name;
        guint rank;
    } choice[] = { { "avdemux_gif", GST_RANK_NONE },
                   { "gdkpixbufdec", GST_RANK_SECONDARY },
                   { "jpegparse", GST_RANK_PRIMARY } };

    for (gsize i = 0; i < G_N_ELEMENTS(choice); i++) {
        GstPluginFeature *feature =
            gst_registry_lookup_feature(gst_registry_get(), choice[i].name);

        if (feature) {
            gst_plugin_feature_set_rank(feature, choice[i].rank);
            gst_object_unref(feature);
        }
    }
}

/* gdkpixbufdec reads a GIF, moving or not, as its first picture, but does not announce that it can, so
 * that no decodebin takes it. */
static gboolean build_gif(struct source *s, const char *path, char **why)
{
    GstElement *file, *decoder;

    if (!(file = make(s, "filesrc", why)) || !(decoder = make(s, "gdkpixbufdec", why)))
        return FALSE;
    g_object_set(file, "location", path, NULL);
    s->image = s->linked = s->frames = 1;
    if (!gst_element_link_many(file, decoder, s->convert, NULL)) {
        *why = g_strdup("the elements filesrc, gdkpixbufdec and videoconvert do not link");
        return FALSE;
    }
    return TRUE;
}

static gboolean is_there(const char *name)
{
    GstElementFactory *factory = gst_element_factory_find(name);

    if (factory)
        gst_object_unref(factory);
    return factory != NULL;
}

/* A JPEG photo by gdkpixbufdec gives the colours as libjpeg means them, where jpegdec keeps those of one
 * pixel in four. It does not announce JPEG either, but looks at the bytes whatever their caps are, so
 * jpegparse, which reads which side is up, can stand before it with another name on its caps. */
static gboolean build_jpeg(struct source *s, const char *path, char **why)
{
    GstElement *file, *parser, *caps, *decoder;

    if (!(file = make(s, "filesrc", why)) || !(parser = make(s, "jpegparse", why)) ||
        !(caps = make(s, "capssetter", why)) || !(decoder = make(s, "gdkpixbufdec", why)))
        return FALSE;
    g_object_set(file, "location", path, NULL);
    gst_util_set_object_arg(G_OBJECT(caps), "caps", "image/png");
    g_object_set(caps, "join", FALSE, "replace", TRUE, NULL);
    s->image = s->linked = s->frames = 1;
    if (!gst_element_link_many(file, parser, caps, decoder, s->convert, NULL)) {
        *why = g_strdup("the elements jpegparse, capssetter, gdkpixbufdec and videoconvert do not link");
        return FALSE;
    }
    return TRUE;
}

static gboolean build_any(struct source *s, const char *uri, char **why)
{
    GstElement *decoder = make(s, "uridecodebin", why);
    GstCaps *caps;

    if (!decoder)
        return FALSE;
    /* Sound is not even decoded. Decoders in hardware would leave their frames where they cannot be
     * read without further elements, and those that are not due cost the more. */
    caps = gst_caps_from_string("video/x-raw(ANY)");
    g_object_set(decoder, "uri", uri, "caps", caps, "expose-all-streams", FALSE,
                 "force-sw-decoders", TRUE, NULL);
    gst_caps_unref(caps);
    g_signal_connect(decoder, "pad-added", G_CALLBACK(pad_added), s);
    g_signal_connect(decoder, "no-more-pads", G_CALLBACK(no_more_pads), s);
    return TRUE;
}

static gboolean build(struct source *s, const char *uri, char **why)
{
    char *path = g_filename_from_uri(uri, NULL, NULL);
    GstElement *flip, *sink;
    gboolean ok = FALSE;
    GstCaps *caps;

    choose_decoders();
    s->pipeline = gst_pipeline_new(NULL);
    g_signal_connect(s->pipeline, "deep-element-added", G_CALLBACK(element_added), s);
    if ((s->convert = make(s, "videoconvert", why)) && (flip = make(s, "videoflip", why)) &&
        (sink = make(s, "appsink", why))) {
        /* Cameras and telephones write which side is up; the model has seen upright pictures only. */
        gst_util_set_object_arg(G_OBJECT(flip), "video-direction", "auto");

        caps = gst_caps_new_simple("video/x-raw", "format", G_TYPE_STRING, "RGB", NULL);
        g_object_set(sink, "caps", caps, "sync", FALSE, "max-buffers", 1u, "drop", FALSE,
                     "enable-last-sample", FALSE, NULL);
        gst_caps_unref(caps);
        s->sink = GST_APP_SINK(sink);

        if (!gst_element_link_many(s->convert, flip, sink, NULL))
            *why = g_strdup("the elements videoconvert, videoflip and appsink do not link");
        else if (path && begins_with(path, "GIF8"))
            ok = build_gif(s, path, why);
        else if (path && begins_with(path, "\377\330\377") && is_there("jpegparse") && is_there("capssetter") &&
                 is_there("gdkpixbufdec"))
            ok = build_jpeg(s, path, why);
        else
            ok = build_any(s, uri, why);
    }
    g_free(path);
    return ok;
}

/* Hands a sample over. FALSE: the receiver wants no more, or the sample cannot be read (then *why). */
static gboolean hand_over(GstSample *sample, gboolean photo, caption_frame_fn fn, void *user,
                          char **why)
{
    GstBuffer *buffer = gst_sample_get_buffer(sample);
    GstVideoFrame frame;
    GstVideoInfo info;
    struct caption_frame out;
    gboolean go_on;

    if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
        !gst_video_frame_map(&frame, &info, buffer, GST_MAP_READ)) {
        *why = g_strdup("a decoded frame cannot be read");
        return FALSE;
    }
    out.pixels = GST_VIDEO_FRAME_PLANE_DATA(&frame, 0);
    out.width = GST_VIDEO_FRAME_WIDTH(&frame);
    out.height = GST_VIDEO_FRAME_HEIGHT(&frame);
    out.stride = GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);
    out.time = photo ? -1
                     : (gint64)gst_segment_to_stream_time(gst_sample_get_segment(sample),
                                                          GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    go_on = fn(user, &out);
    gst_video_frame_unmap(&frame);
    return go_on;
}

/* Remembers what GStreamer misses for the pictures. The decoders of sound and text that were not asked
 * for are reported as missing too. */
static void note_missing(struct source *s, const GstStructure *details)
{
    const GValue *detail = gst_structure_get_value(details, "detail");
    const char *type = "";

    if (detail && GST_VALUE_HOLDS_CAPS(detail) && !gst_caps_is_empty(gst_value_get_caps(detail)))
        type = gst_structure_get_name(gst_caps_get_structure(gst_value_get_caps(detail), 0));
    if (!s->missing && !g_str_has_prefix(type, "audio/") && !g_str_has_prefix(type, "text/"))
        s->missing = g_strdup(gst_structure_get_string(details, "name"));
}

/* Reads what is on the bus; TRUE if there was an error, with *why. */
static gboolean failed(struct source *s, GstBus *bus, char **why)
{
    GstMessage *message;
    GError *error = NULL;

    while (!*why && (message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT))) {
        const GstStructure *details = gst_message_get_structure(message);

        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT) {
            if (gst_structure_has_name(details, "missing-plugin"))
                note_missing(s, details);
        } else {
            gst_message_parse_error(message, &error, NULL);
            if (!g_error_matches(error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN))
                *why = g_strdup(error->message);
            else if (s->missing)
                *why = g_strdup_printf("GStreamer lacks a plugin: %s", s->missing);
            else
                *why = g_strdup("has no picture in it");
            g_clear_error(&error);
        }
        gst_message_unref(message);
    }
    return *why != NULL;
}

/* Pulls frame after frame until the end. A file of an image type might be a photo or might move, which
 * is known only when a second frame or the end has come: until then its first frame waits. */
static gboolean pump(struct source *s, GstBus *bus, caption_frame_fn fn, void *user, char **why)
{
    GstSample *first = NULL, *sample;
    gint64 active = g_get_monotonic_time();
    gint frames = 0, handed = 0;
    gboolean go_on = TRUE, end = FALSE;

    while (go_on && !end) {
        sample = gst_app_sink_try_pull_sample(s->sink, POLL_TIME);
        end = !sample && gst_app_sink_is_eos(s->sink);
        if (sample || frames != g_atomic_int_get(&s->frames)) {
            frames = g_atomic_int_get(&s->frames);
            active = g_get_monotonic_time();
        }
        if (sample && !handed && !first && g_atomic_int_get(&s->image)) {
            first = sample;
            sample = NULL;
        }
        if (first && (sample || end || frames > 1)) {
            go_on = hand_over(first, !sample && frames == 1, fn, user, why);
            handed = 1;
            g_clear_pointer(&first, gst_sample_unref);
        }
        if (sample && go_on) {
            go_on = hand_over(sample, FALSE, fn, user, why);
            handed = 1;
        }
        if (sample) {
            gst_sample_unref(sample);
            active = g_get_monotonic_time();
        } else if (!end && go_on) {
            if (failed(s, bus, why))
                break;
            if (g_atomic_int_get(&s->no_more_pads) && !g_atomic_int_get(&s->linked))
                *why = g_strdup("has no picture in it");
            else if (g_get_monotonic_time() - active > STALL_TIME)
                *why = g_strdup_printf("gave nothing for %d seconds",
                                       (int)(STALL_TIME / G_USEC_PER_SEC));
            if (*why)
                break;
        }
    }
    /* An error that came with the end explains it. */
    if (end && !*why && !failed(s, bus, why) && !handed)
        *why = g_strdup("has no picture in it");
    if (first)
        gst_sample_unref(first);
    return *why == NULL;
}

gboolean caption_source_read(const char *item, guint64 every, caption_frame_fn fn, void *user,
                             char **why)
{
    struct source s = { .every = every, .next_due = GST_CLOCK_TIME_NONE };
    gboolean ok = FALSE;
    GstBus *bus;
    char *uri;

    *why = NULL;
    uri = uri_of(item, why);
    if (!uri)
        return FALSE;
    if (build(&s, uri, why)) {
        bus = gst_element_get_bus(s.pipeline);
        gst_element_set_state(s.pipeline, GST_STATE_PLAYING); /* a failure is on the bus as well */
        ok = pump(&s, bus, fn, user, why);
        gst_object_unref(bus);
    }
    gst_element_set_state(s.pipeline, GST_STATE_NULL);
    gst_object_unref(s.pipeline);
    g_free(s.missing);
    g_free(uri);
    return ok;
}
