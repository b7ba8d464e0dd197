/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * app.c - a GStreamer application that reads captions in two of the five ways they leave the element: as
 * a message on the bus, and as metadata on each buffer. It includes no header of this project and links
 * none of its libraries; GStreamer's core is enough.
 *
 *     app            a test picture, four seconds
 *     app FILE       a video or a photo of yours, as fast as it goes
 */
#include <gst/gst.h>
#include <stdio.h>

/* The caption travels with its frame, so it is there wherever the buffer is, behind a queue, a tee or
 * a converter too. `fresh` marks the first frame that carries a caption. */
static GstPadProbeReturn frame_passes(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(info);
    GstCustomMeta *meta = gst_buffer_get_custom_meta(buffer, "GstPalmeCaptionMeta");
    guint64 *frames = user;
    gboolean fresh = FALSE;

    (void)pad;
    (*frames)++;
    if (!meta)
        return GST_PAD_PROBE_OK;
    GstStructure *s = gst_custom_meta_get_structure(meta);
    const char *text = gst_structure_get_string(s, "text");
    if (gst_structure_get_boolean(s, "fresh", &fresh) && fresh)
        printf("frame %" G_GUINT64_FORMAT " carries: %s\n", *frames, text ? text : "");
    return GST_PAD_PROBE_OK;
}

/* TRUE until the pipeline has ended or failed. */
static gboolean message_arrives(GstMessage *message, int *status)
{
    const GstStructure *s = gst_message_get_structure(message);
    guint64 time = GST_CLOCK_TIME_NONE;
    GError *error = NULL;

    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ELEMENT:
        if (gst_structure_has_name(s, "palmecaption")) {
            gst_structure_get_uint64(s, "stream-time", &time);
            printf("bus at %.3f s: %s\n", (double)time / GST_SECOND, gst_structure_get_string(s, "text"));
        }
        return TRUE;
    case GST_MESSAGE_ERROR:
        gst_message_parse_error(message, &error, NULL);
        fprintf(stderr, "app: %s\n", error->message);
        g_clear_error(&error);
        *status = 1;
        return FALSE;
    default: return GST_MESSAGE_TYPE(message) != GST_MESSAGE_EOS;
    }
}

int main(int argc, char **argv)
{
    /* The model doubts what it says of a test picture, and would keep it to itself. */
    static const char test_picture[] = "videotestsrc num-buffers=40 pattern=ball ! "
                                       "video/x-raw,framerate=10/1 ! palmecaption name=c when-unsure=caption ! "
                                       "fakesink name=sink";
    static const char your_file[] = "filesrc name=file ! decodebin ! palmecaption name=c ! "
                                    "fakesink name=sink";
    GstElement *pipeline, *element;
    GstMessage *message;
    GstBus *bus;
    GstPad *pad;
    GError *error = NULL;
    guint64 frames = 0;
    int status = 0;

    gst_init(&argc, &argv);
    pipeline = gst_parse_launch(argc > 1 ? your_file : test_picture, &error);
    if (error) {
        fprintf(stderr, "app: %s\n", error->message);
        g_clear_error(&error);
        if (pipeline)
            gst_object_unref(pipeline);
        return 1;
    }
    if (argc > 1) {
        element = gst_bin_get_by_name(GST_BIN(pipeline), "file");
        g_object_set(element, "location", argv[1], NULL);
        gst_object_unref(element);
    }
    element = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
    pad = gst_element_get_static_pad(element, "sink");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, frame_passes, &frames, NULL);
    gst_object_unref(pad);
    gst_object_unref(element);

    bus = gst_element_get_bus(pipeline);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    do {
        message = gst_bus_timed_pop(bus, GST_CLOCK_TIME_NONE);
    } while (message_arrives(message, &status) && (gst_message_unref(message), TRUE));
    gst_message_unref(message);

    printf("%" G_GUINT64_FORMAT " frames passed\n", frames);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(bus);
    gst_object_unref(pipeline);
    return status;
}
