/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pipeline.c - one pipeline of a source.
 *
 *     SOURCE ! [identity sync] ! videoconvert ! videoflip ! palmecaption ! queue ! videorate ! videoscale ! tee
 *         tee ! jpegenc ! appsink            the pictures of the page
 *         tee ! smaller ! jpegenc ! appsink  the pictures of the history
 *
 * The queue drops what the JPEG encoder has no time for, so nothing here holds the captions up, and no viewer does:
 * the newest picture waits in the source, and whoever is slow gets a later one.
 */
#include "source-private.h"

#include <gst/app/gstappsink.h>
#include <string.h>

#define BRANCHES                                                                                                       \
    "queue leaky=downstream max-size-buffers=2 max-size-bytes=0 max-size-time=0 ! "                                    \
    "videorate drop-only=true max-rate=%u ! videoconvert ! videoscale ! "                                              \
    "video/x-raw,format=I420,width=[16,%u],height=[16,%u],pixel-aspect-ratio=1/1 ! tee name=t "                        \
    "t. ! queue leaky=downstream max-size-buffers=2 ! jpegenc quality=75 ! appsink name=large "                        \
    "t. ! queue name=apart leaky=downstream max-size-buffers=2 ! videorate drop-only=true max-rate=4 ! videoscale ! "  \
    "video/x-raw,width=[16,320],height=[16,240],pixel-aspect-ratio=1/1 ! jpegenc quality=70 ! appsink name=small"

/* ---- Streaming threads ------------------------------------------------------------------------- */

static GBytes *bytes_of(GstSample *sample)
{
    GstBuffer *buffer = gst_sample_get_buffer(sample);
    gpointer data = NULL;
    gsize size = 0;

    if (!buffer)
        return NULL;
    gst_buffer_extract_dup(buffer, 0, (gsize)-1, &data, &size);
    return g_bytes_new_take(data, size);
}

static const char *caption_of(GstSample *sample)
{
    GstCustomMeta *meta = gst_buffer_get_custom_meta(gst_sample_get_buffer(sample), "GstPalmeCaptionMeta");
    const char *text = meta ? gst_structure_get_string(gst_custom_meta_get_structure(meta), "text") : NULL;

    return text ? text : "";
}

static GstFlowReturn large_arrives(GstAppSink *sink, gpointer user)
{
    struct web_source *source = user;
    GstSample *sample = gst_app_sink_pull_sample(sink);
    GBytes *jpeg = sample ? bytes_of(sample) : NULL;

    if (jpeg) {
        const GstStructure *format = gst_caps_get_structure(gst_sample_get_caps(sample), 0);

        g_mutex_lock(&source->lock);
        guint64 serial = source->picture.serial + 1;
        web_picture_clear(&source->picture);
        source->picture.serial = serial;
        source->picture.jpeg = jpeg;
        source->picture.caption = g_strdup(caption_of(sample));
        gst_structure_get_int(format, "width", &source->picture.width);
        gst_structure_get_int(format, "height", &source->picture.height);
        source->last_picture = g_get_monotonic_time();
        g_mutex_unlock(&source->lock);
        source->options.changed(source->options.user);
    }
    if (sample)
        gst_sample_unref(sample);
    return GST_FLOW_OK;
}

static GstFlowReturn small_arrives(GstAppSink *sink, gpointer user)
{
    struct web_source *source = user;
    GstSample *sample = gst_app_sink_pull_sample(sink);
    GBytes *jpeg = sample ? bytes_of(sample) : NULL;

    if (jpeg) {
        g_mutex_lock(&source->lock);
        struct web_recent *recent = &source->recent[source->next_recent++ % WEB_RECENT];

        g_clear_pointer(&recent->jpeg, g_bytes_unref);
        recent->jpeg = jpeg;
        recent->pts = GST_BUFFER_PTS(gst_sample_get_buffer(sample));
        g_mutex_unlock(&source->lock);
    }
    if (sample)
        gst_sample_unref(sample);
    return GST_FLOW_OK;
}

GBytes *web_pipeline_recent(struct web_source *source, GstClockTime pts)
{
    const struct web_recent *best = NULL;
    guint i;

    for (i = 0; i < WEB_RECENT; i++) {
        const struct web_recent *recent = &source->recent[i];

        if (!recent->jpeg || !GST_CLOCK_TIME_IS_VALID(recent->pts))
            continue;
        if (!best || ABS(GST_CLOCK_DIFF(pts, recent->pts)) < ABS(GST_CLOCK_DIFF(pts, best->pts)))
            best = recent;
    }
    return best ? g_bytes_ref(best->jpeg) : NULL;
}

/* ---- Building ------------------------------------------------------------------------------------ */

/* What is asked of the element that reads an address, whichever it is. */
static void reader_is_made(GstElement *decodebin, GstElement *reader, gpointer user)
{
    GObjectClass *class = G_OBJECT_GET_CLASS(reader);
    const char *type = G_OBJECT_TYPE_NAME(reader);

    (void)decodebin;
    (void)user;
    if (strcmp(type, "GstRTSPSrc") == 0)
        g_object_set(reader, "latency", 200, "drop-on-latency", TRUE, NULL);
    /* Cameras that send JPEGs over HTTP send no times: those of arrival do. */
    if (strcmp(type, "GstSoupHTTPSrc") == 0)
        g_object_set(reader, "is-live", TRUE, "do-timestamp", TRUE, NULL);
    if (g_object_class_find_property(class, "timeout") && strcmp(type, "GstSoupHTTPSrc") == 0)
        g_object_set(reader, "timeout", 10, NULL);
}

static void set_sink(GstElement *pipeline, const char *name, GstFlowReturn (*arrives)(GstAppSink *, gpointer),
                     struct web_source *source)
{
    GstAppSinkCallbacks callbacks = { .new_sample = arrives };
    GstElement *sink = gst_bin_get_by_name(GST_BIN(pipeline), name);

    g_object_set(sink, "max-buffers", 1, "drop", TRUE, "sync", FALSE, NULL);
    gst_app_sink_set_callbacks(GST_APP_SINK(sink), &callbacks, source, NULL);
    gst_object_unref(sink);
}

/* The part of the pipeline's description that gives frames. Names and addresses are set as properties, so that
 * nothing in them is read as a description. */
static char *describe_source(const struct web_source *source)
{
    switch (source->kind) {
    case WEB_FILE:
        return g_strdup("uridecodebin name=source expose-all-streams=false caps=video/x-raw ! identity sync=true");
    case WEB_ADDRESS: return g_strdup("uridecodebin name=source expose-all-streams=false caps=video/x-raw");
    case WEB_CAMERA: return g_strdup("v4l2src name=source ! decodebin");
    case WEB_TEST:
        return g_strdup("videotestsrc name=source is-live=true ! video/x-raw,width=640,height=360,framerate=15/1");
    case WEB_PIPELINE: break;
    }
    return g_strdup(source->what);
}

/* The small pictures are scaled from the large ones: what they would prefer is no reason to make those small, too. */
static GstPadProbeReturn size_is_asked(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    GstQuery *query = GST_PAD_PROBE_INFO_QUERY(info);
    GstCaps *filter, *any;

    (void)pad;
    (void)user;
    if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS)
        return GST_PAD_PROBE_OK;
    gst_query_parse_caps(query, &filter);
    any = filter ? gst_caps_ref(filter) : gst_caps_new_empty_simple("video/x-raw");
    gst_query_set_caps_result(query, any);
    gst_caps_unref(any);
    return GST_PAD_PROBE_HANDLED;
}

static void set_apart(GstElement *pipeline)
{
    GstElement *queue = gst_bin_get_by_name(GST_BIN(pipeline), "apart");
    GstPad *pad = gst_element_get_static_pad(queue, "sink");

    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, size_is_asked, NULL, NULL);
    gst_object_unref(pad);
    gst_object_unref(queue);
}

GstElement *web_pipeline_new(GstElement **caption, struct web_source *source, char **why)
{
    const struct web_source_options *options = &source->options;
    char *frames = describe_source(source);
    char *branches = g_strdup_printf(BRANCHES, options->rate, options->width, options->height);
    char *line = g_strdup_printf("%s ! videoconvert ! videoflip video-direction=auto ! "
                                 "palmecaption name=caption mode=async ! %s",
                                 frames, branches);
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch_full(line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
    GstElement *reader;

    g_free(frames);
    g_free(branches);
    g_free(line);
    if (!pipeline) {
        *why = g_strdup(error->message);
        g_error_free(error);
        return NULL;
    }
    reader = gst_bin_get_by_name(GST_BIN(pipeline), "source");
    if (source->kind == WEB_FILE || source->kind == WEB_ADDRESS) {
        g_object_set(reader, "uri", source->what, NULL);
        g_signal_connect(reader, "source-setup", G_CALLBACK(reader_is_made), NULL);
    } else if (source->kind == WEB_CAMERA && source->what) {
        g_object_set(reader, "device", source->what, NULL);
    } else if (source->kind == WEB_TEST && source->what) {
        gst_util_set_object_arg(G_OBJECT(reader), "pattern", source->what);
    }
    g_clear_object(&reader);
    set_apart(pipeline);
    set_sink(pipeline, "large", large_arrives, source);
    set_sink(pipeline, "small", small_arrives, source);
    *caption = gst_bin_get_by_name(GST_BIN(pipeline), "caption");
    return pipeline;
}
