/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * steady_captions.c - for bench_steady.py: captions raw RGB frames from the standard input with palmecaption in sync
 * mode, and prints the caption of each frame on a line, then the statistics as JSON.
 *
 *     steady_captions WIDTH HEIGHT RATE FRAMES [NAME=VALUE...]
 */
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static GstPadProbeReturn print_caption(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    GstCustomMeta *meta = gst_buffer_get_custom_meta(GST_PAD_PROBE_INFO_BUFFER(info), "GstPalmeCaptionMeta");

    (void)pad, (void)data;
    puts(meta ? gst_structure_get_string(gst_custom_meta_get_structure(meta), "text") : "");
    return GST_PAD_PROBE_OK;
}

static void print_stats(GstElement *caption)
{
    GstStructure *stats;
    guint64 held, kept, captions, cuts;
    gdouble saved;

    g_object_get(caption, "stats", &stats, NULL);
    gst_structure_get(stats, "held", G_TYPE_UINT64, &held, "kept", G_TYPE_UINT64, &kept, "captions", G_TYPE_UINT64,
                      &captions, "scene-cuts", G_TYPE_UINT64, &cuts, "work-saved", G_TYPE_DOUBLE, &saved, NULL);
    printf("{\"held\": %u, \"kept\": %u, \"captions\": %u, \"scene-cuts\": %u, \"work-saved\": %.4f}\n", (guint)held,
           (guint)kept, (guint)captions, (guint)cuts, saved);
    gst_structure_free(stats);
}

int main(int argc, char **argv)
{
    GError *error = NULL;
    GstElement *pipeline, *caption;
    GstMessage *message;
    GstBus *bus;
    GstPad *pad;
    char *line;
    int i, ok;

    if (argc < 5)
        return 2;
    gst_init(NULL, NULL);
    line = g_strdup_printf("fdsrc fd=0 num-buffers=%s blocksize=%d ! rawvideoparse format=rgb width=%s height=%s "
                           "framerate=%s/1 ! palmecaption name=c mode=sync ! fakesink",
                           argv[4], atoi(argv[1]) * atoi(argv[2]) * 3, argv[1], argv[2], argv[3]);
    pipeline = gst_parse_launch(line, &error);
    g_free(line);
    if (!pipeline || error) {
        fprintf(stderr, "steady_captions: %s\n", error->message);
        return 1;
    }
    caption = gst_bin_get_by_name(GST_BIN(pipeline), "c");
    for (i = 5; i < argc; i++) {
        char **pair = g_strsplit(argv[i], "=", 2);

        gst_util_set_object_arg(G_OBJECT(caption), pair[0], pair[1]);
        g_strfreev(pair);
    }
    pad = gst_element_get_static_pad(caption, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, print_caption, NULL, NULL);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    bus = gst_element_get_bus(pipeline);
    message = gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    ok = GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS;
    if (!ok) {
        gst_message_parse_error(message, &error, NULL);
        fprintf(stderr, "steady_captions: %s\n", error->message);
    }
    print_stats(caption);
    gst_message_unref(message);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pad);
    gst_object_unref(caption);
    gst_object_unref(bus);
    gst_object_unref(pipeline);
    return ok ? 0 : 1;
}
