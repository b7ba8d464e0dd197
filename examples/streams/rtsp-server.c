/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * rtsp-server.c - captioned video over RTSP. The stream has two tracks: the video, and the captions as text with times,
 * which clients made with GStreamer take (rtpgstdepay). Other players see the captions with --burn-in.
 *
 *     rtsp-server [--listen ADDRESS] [--port PORT] [--codec h264|vp8] [--caption PROPERTIES] [--burn-in] [SOURCE]
 *
 * All clients watch one pipeline, which runs while there is one. It prints each caption. A client that stops reading
 * loses what it does not fetch; the others go on.
 */
#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>
#include <glib-unix.h>
#include <stdio.h>

#include "source.h"

static const char mount_point[] = "/captions";

/* On the thread that made the caption. */
static void caption_comes(GstElement *element, const char *text, guint64 pts, guint64 running_time, guint64 stream_time,
                          gpointer user)
{
    (void)element;
    (void)pts;
    (void)stream_time;
    (void)user;
    printf("%.3f\t%s\n", (double)running_time / GST_SECOND, text);
    fflush(stdout);
}

/* On any thread of the pipeline. The server ends the clients that watch it; the next one starts it anew. */
static void pipeline_failed(GstBus *bus, GstMessage *message, gpointer user)
{
    GError *error = NULL;

    (void)bus;
    (void)user;
    gst_message_parse_error(message, &error, NULL);
    fprintf(stderr, "rtsp-server: %s: %s It is tried again for the next client.\n", GST_MESSAGE_SRC_NAME(message),
            error->message);
    g_error_free(error);
}

static void media_configured(GstRTSPMediaFactory *factory, GstRTSPMedia *media, gpointer user)
{
    GstElement *pipeline = gst_rtsp_media_get_element(media);
    GstElement *captioner = gst_bin_get_by_name(GST_BIN(pipeline), "c");

    (void)factory;
    (void)user;
    g_signal_connect(captioner, "new-caption", G_CALLBACK(caption_comes), NULL);
    gst_object_unref(captioner);
    /* What the library itself has of an error is a debug line. */
    GstObject *whole = gst_object_get_parent(GST_OBJECT(pipeline));
    GstBus *bus = whole ? gst_element_get_bus(GST_ELEMENT(whole)) : NULL;
    if (bus) {
        gst_bus_enable_sync_message_emission(bus);
        g_signal_connect(bus, "sync-message::error", G_CALLBACK(pipeline_failed), NULL);
        gst_object_unref(bus);
    }
    g_clear_object(&whole);
    gst_object_unref(pipeline);
}

static void client_closed(GstRTSPClient *client, gpointer user)
{
    (void)client;
    (void)user;
    printf("# a client has gone\n");
    fflush(stdout);
}

static void client_connected(GstRTSPServer *server, GstRTSPClient *client, gpointer user)
{
    GstRTSPConnection *connection = gst_rtsp_client_get_connection(client);

    (void)server;
    (void)user;
    printf("# a client from %s\n", gst_rtsp_connection_get_ip(connection));
    fflush(stdout);
    g_signal_connect(client, "closed", G_CALLBACK(client_closed), NULL);
}

/* Sessions of clients that have vanished end, and their pipeline with them. */
static gboolean sessions_expire(gpointer user)
{
    GstRTSPSessionPool *pool = gst_rtsp_server_get_session_pool(user);

    gst_rtsp_session_pool_cleanup(pool);
    g_object_unref(pool);
    return G_SOURCE_CONTINUE;
}

/* What the server plays. The text comes once a second, also where it stays the same, so that a client that comes late
 * has it soon; config-interval repeats its caps. NULL, with `error` set, for an unknown codec. */
static char *describe(const char *source, const char *codec, const char *caption, gboolean burn_in, GError **error)
{
    static const char *const encoders[][2] = {
        { "h264", "x264enc tune=zerolatency speed-preset=veryfast key-int-max=30 ! rtph264pay config-interval=1" },
        { "vp8", "vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(encoders); i++)
        if (g_str_equal(codec, encoders[i][0]))
            return g_strdup_printf("( %s ! videoconvert ! palmecaption name=c %s ! %s queue ! videoconvert ! "
                                   "video/x-raw,format=I420 ! %s name=pay0 pt=96 "
                                   "c.text ! queue ! rtpgstpay config-interval=1 name=pay1 pt=97 )",
                                   source, caption, burn_in ? "textoverlay shaded-background=true !" : "",
                                   encoders[i][1]);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--codec is h264 or vp8, not %s", codec);
    return NULL;
}

static const char *default_codec(void)
{
    GstElementFactory *factory = gst_element_factory_find("x264enc");

    if (!factory)
        return "vp8";
    gst_object_unref(factory);
    return "h264";
}

/* NULL, with a line on stderr, if the pipeline cannot be made: it is better to know before a client comes. */
static GstRTSPServer *serve(const char *launch, const char *address, int port)
{
    GError *error = NULL;
    GstElement *trial = gst_parse_launch_full(launch, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
    if (!trial) {
        fprintf(stderr, "rtsp-server: %s\n", error->message);
        g_error_free(error);
        return NULL;
    }
    gst_object_unref(gst_object_ref_sink(trial));

    GstRTSPServer *server = gst_rtsp_server_new();
    char *service = g_strdup_printf("%d", port);
    gst_rtsp_server_set_address(server, address);
    gst_rtsp_server_set_service(server, service);
    g_free(service);

    GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new();
    gst_rtsp_media_factory_set_launch(factory, launch);
    gst_rtsp_media_factory_set_shared(factory, TRUE);
    g_signal_connect(factory, "media-configure", G_CALLBACK(media_configured), NULL);
    GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points(server);
    gst_rtsp_mount_points_add_factory(mounts, mount_point, factory);
    g_object_unref(mounts);

    g_signal_connect(server, "client-connected", G_CALLBACK(client_connected), NULL);
    if (!gst_rtsp_server_attach(server, NULL)) {
        fprintf(stderr, "rtsp-server: port %d of %s cannot be opened; another program may have it (--port)\n", port,
                address);
        g_object_unref(server);
        return NULL;
    }
    printf("rtsp://%s:%d%s\n", address, gst_rtsp_server_get_bound_port(server), mount_point);
    fflush(stdout);
    return server;
}

static gboolean interrupted(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
    char *address = NULL, *codec = NULL, *caption = NULL, *launch = NULL, **names = NULL;
    int port = 8554;
    gboolean burn_in = FALSE;
    const GOptionEntry entries[] = {
        { "listen", 0, 0, G_OPTION_ARG_STRING, &address, "the address to listen at (127.0.0.1); 0.0.0.0 is all",
          "ADDRESS" },
        { "port", 0, 0, G_OPTION_ARG_INT, &port, "the port (8554); 0 takes a free one", "PORT" },
        { "codec", 0, 0, G_OPTION_ARG_STRING, &codec, "h264 (if x264enc is installed, the default) or vp8", "CODEC" },
        { "caption", 0, 0, G_OPTION_ARG_STRING, &caption, "properties of palmecaption, as for gst-launch-1.0",
          "PROPERTIES" },
        { "burn-in", 0, 0, G_OPTION_ARG_NONE, &burn_in, "draw the captions into the video, too", NULL },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &names, SOURCE_HELP, "SOURCE" },
        { 0 },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    GstRTSPServer *server = NULL;

    gst_init(&argc, &argv);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !source_check(names, port, 0, &error)) {
        fprintf(stderr, "rtsp-server: %s\n", error->message);
        g_error_free(error);
        g_option_context_free(context);
        return 2;
    }
    g_option_context_free(context);

    char *source = source_describe(names ? names[0] : NULL, &error);
    if (source)
        launch = describe(source, codec ? codec : default_codec(), caption ? caption : "", burn_in, &error);
    if (launch) {
        server = serve(launch, address ? address : "127.0.0.1", port);
    } else {
        fprintf(stderr, "rtsp-server: %s\n", error->message);
        g_error_free(error);
    }
    if (server) {
        GMainLoop *loop = g_main_loop_new(NULL, FALSE);
        g_unix_signal_add(SIGINT, interrupted, loop);
        g_unix_signal_add(SIGTERM, interrupted, loop);
        g_timeout_add_seconds(2, sessions_expire, server);
        g_main_loop_run(loop);
        g_main_loop_unref(loop);
        g_object_unref(server);
    }
    g_free(source);
    g_free(launch);
    g_free(codec);
    g_free(address);
    g_free(caption);
    g_strfreev(names);
    return server ? 0 : 1;
}
