/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_camera.c - the pipelines of the README behind a camera: fakecamerasrc, which has four buffers, no
 * frame rate and jitter. All frames arrive, all buffers come back, nothing stalls, captions appear.
 *
 * It uses the real element, engine and default model. Nothing here asks how fast they are.
 */
#include <gst/gst.h>

#include "support/check.h"

#define FRAMES 60
#define PATIENCE (60 * GST_SECOND) /* a stall is a failure, not a hang */

struct seen {
    gint frames, captioned; /* buffers at the sink, and those with a caption on them */
    gint messages;
    GString *markup; /* of all messages, each in "<>" */
};

static GstPadProbeReturn frame_arrives(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    struct seen *seen = user;
    GstCustomMeta *meta = gst_buffer_get_custom_meta(GST_PAD_PROBE_INFO_BUFFER(info), "GstPalmeCaptionMeta");

    (void)pad;
    g_atomic_int_inc(&seen->frames);
    if (meta) {
        const char *text = gst_structure_get_string(gst_custom_meta_get_structure(meta), "text");

        if (text && *text)
            g_atomic_int_inc(&seen->captioned);
    }
    return GST_PAD_PROBE_OK;
}

/* Until the end of the stream; 0 if it came, else the reason is on stderr. */
static int wait_for_end(GstElement *pipeline, struct seen *seen)
{
    GstBus *bus = gst_element_get_bus(pipeline);
    GError *error = NULL;
    int result = -1;

    while (result < 0) {
        GstMessage *message =
            gst_bus_timed_pop_filtered(bus, PATIENCE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT);
        const GstStructure *s = message ? gst_message_get_structure(message) : NULL;

        if (!message) {
            fprintf(stderr, "nothing happens any more\n");
            result = 1;
        } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS) {
            result = 0;
        } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
            gst_message_parse_error(message, &error, NULL);
            fprintf(stderr, "%s\n", error->message);
            g_clear_error(&error);
            result = 1;
        } else if (gst_structure_has_name(s, "palmecaption")) {
            seen->messages++;
            g_string_append_printf(seen->markup, "<%s>", gst_structure_get_string(s, "markup"));
        }
        if (message)
            gst_message_unref(message);
    }
    gst_object_unref(bus);
    return result;
}

/* Runs `description`, which has a camera `camera` and a sink `sink`, and, if `overlay`, a textoverlay
 * `overlay` whose text shall be a caption at the end; not the last one, which may come after the frames. */
static void run(const char *name, const char *description, gboolean overlay)
{
    struct seen seen = { .markup = g_string_new(NULL) };
    GstElement *pipeline, *camera, *sink, *text = NULL;
    GError *error = NULL;
    char *shown = NULL, *bracketed;
    int outstanding = -1, starved = -1;
    GstPad *pad;

    printf("%s\n", name);
    pipeline = gst_parse_launch(description, &error);
    CHECK_MESSAGE(!error, "%s: %s", name, error ? error->message : "");
    if (error) {
        g_clear_error(&error);
        g_string_free(seen.markup, TRUE);
        return;
    }
    camera = gst_bin_get_by_name(GST_BIN(pipeline), "camera");
    sink = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
    pad = gst_element_get_static_pad(sink, "sink");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, frame_arrives, &seen, NULL);

    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    CHECK_INT(wait_for_end(pipeline, &seen), 0);

    CHECK_INT(g_atomic_int_get(&seen.frames), FRAMES);
    CHECK(g_atomic_int_get(&seen.captioned) > 0);
    CHECK(seen.messages > 0);
    /* The stream has ended and the sink keeps no last frame: whatever is still out was kept by someone. */
    g_object_get(camera, "outstanding", &outstanding, "starved", &starved, NULL);
    CHECK_INT(outstanding, 0);
    if (overlay) {
        text = gst_bin_get_by_name(GST_BIN(pipeline), "overlay");
        g_object_get(text, "text", &shown, NULL);
        bracketed = g_strdup_printf("<%s>", shown);
        CHECK_MESSAGE(shown && *shown && strstr(seen.markup->str, bracketed),
                      "the overlay shows \"%s\"; captions were %s", shown, seen.markup->str);
        g_free(bracketed);
    }
    printf("  %d frames, %d with a caption, %d captions, starved %d times: %s\n", seen.frames, seen.captioned,
           seen.messages, starved, seen.markup->str);

    gst_element_set_state(pipeline, GST_STATE_NULL);
    g_free(shown);
    g_string_free(seen.markup, TRUE);
    gst_object_unref(pad);
    g_clear_pointer(&text, gst_object_unref);
    gst_object_unref(sink);
    gst_object_unref(camera);
    gst_object_unref(pipeline);
}

#define CAMERA "fakecamerasrc name=camera num-buffers=" G_STRINGIFY(FRAMES)
/* A test picture scores low. */
#define CAPTION "palmecaption name=c interval=100000000 when-unsure=caption"
#define SINK "fakesink name=sink sync=true enable-last-sample=false"

int main(int argc, char **argv)
{
    gst_init(&argc, &argv);
    run("bare", CAMERA " ! " CAPTION " ! textoverlay name=overlay ! " SINK, TRUE);
    run("with videoconvert", CAMERA " ! " CAPTION " ! textoverlay name=overlay ! videoconvert ! " SINK, TRUE);
    run("queue and tee",
        CAMERA " ! " CAPTION " ! tee name=t ! queue ! textoverlay name=overlay ! videoconvert ! " SINK
               "  t. ! queue ! fakesink enable-last-sample=false",
        TRUE);
    run("text pad",
        CAMERA " ! " CAPTION " ! textoverlay name=overlay ! videoconvert ! " SINK "  c.text ! overlay.text_sink",
        FALSE);
    gst_deinit();
    return check_done();
}
