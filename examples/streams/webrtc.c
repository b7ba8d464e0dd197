/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * webrtc.c - captioned video in a browser within a fraction of a second. The video goes by WebRTC, the captions
 * beside it through a data channel, each with the RTP time of its picture, so that the page shows both together.
 *
 *     webrtc [--listen ADDRESS] [--port PORT] [--caption PROPERTIES] [SOURCE]
 *
 * GET / is the page. POST /offer takes a browser's offer (SDP) and answers it; there is nothing else to signal. No
 * other server is asked for anything, so browser and server have to reach each other directly.
 */
#include <gst/app/gstappsink.h>
#include <gst/video/video.h>
#include <glib-unix.h>
#include <json-glib/json-glib.h>
#include <libsoup/soup.h>
#include <stdio.h>
#include <string.h>

#include "say.h"
#include "source.h"
#include "viewer.h"

enum {
    MOST_VIEWERS = 32,
    LONGEST_OFFER = 64 * 1024,
    PATIENCE = 20 /* seconds for an answer, and between signs of life */
};

typedef struct {
    GstElement *pipeline;
    GstElement *sink;
    SoupServer *server;
    GMainLoop *loop;
    gboolean away;    /* the source failed, and has not been tried again */
    GMutex lock;      /* of the list, whose viewers the streaming thread pushes to */
    GList *seats;     /* of seat */
    char *last;       /* the last caption, for who comes later */
    const char *host; /* the address that it listens at */
    int status;
} app;

/* One browser, from its offer on. All but `watcher` belongs to the main thread. */
typedef struct {
    app *a;
    viewer *watcher; /* under the app's lock */
    SoupServerMessage *message;
    guint timeout, number;
    gpointer name; /* event, for the viewer's calls */
} seat;

/* ---- Seats. Calls of a viewer come on its threads; what they ask for is done on the main one, if the seat is still
 * there. */

typedef struct {
    app *a;
    guint number;
    char *answer;
} event;

static seat *seat_find(app *a, guint number)
{
    for (GList *link = a->seats; link; link = link->next)
        if (((seat *)link->data)->number == number)
            return link->data;
    return NULL;
}

/* `answer` is taken; NULL is a failure. */
static void seat_answer(seat *s, char *text)
{
    if (s->message) {
        if (text) {
            soup_server_message_set_status(s->message, SOUP_STATUS_OK, NULL);
            soup_server_message_set_response(s->message, "application/sdp", SOUP_MEMORY_COPY, text, strlen(text));
        } else
            soup_server_message_set_status(s->message, SOUP_STATUS_BAD_REQUEST, "The offer could not be answered");
        soup_server_message_unpause(s->message);
        g_clear_object(&s->message);
    }
    g_free(text);
    if (s->timeout)
        g_source_remove(s->timeout);
    s->timeout = 0;
}

static void seat_free(seat *s)
{
    app *a = s->a;
    viewer *watcher;

    g_mutex_lock(&a->lock);
    a->seats = g_list_remove(a->seats, s);
    watcher = s->watcher;
    s->watcher = NULL;
    g_mutex_unlock(&a->lock);
    if (watcher)
        viewer_free(watcher);
    seat_answer(s, NULL);
    say("a viewer has gone; %u are left", g_list_length(a->seats));
    g_free(s->name);
    g_free(s);
}

static void event_send(gpointer user, GSourceFunc function, char *answer)
{
    event *e = g_new0(event, 1);

    *e = *(event *)user;
    e->answer = answer;
    g_idle_add_full(G_PRIORITY_DEFAULT, function, e, g_free);
}

static gboolean take_answer(gpointer user)
{
    event *e = user;
    seat *s = seat_find(e->a, e->number);

    if (s) {
        gboolean refused = e->answer == NULL;
        seat_answer(s, e->answer);
        if (refused)
            seat_free(s);
    } else
        g_free(e->answer);
    return G_SOURCE_REMOVE;
}

static gboolean take_leave(gpointer user)
{
    event *e = user;
    seat *s = seat_find(e->a, e->number);

    if (s)
        seat_free(s);
    return G_SOURCE_REMOVE;
}

static gboolean greet(gpointer user)
{
    event *e = user;
    seat *s = seat_find(e->a, e->number);

    if (s && s->watcher && e->a->last)
        viewer_send(s->watcher, e->a->last);
    return G_SOURCE_REMOVE;
}

static void viewer_answered(char *answer, gpointer user)
{
    event_send(user, take_answer, answer);
}

static void viewer_gone(gpointer user)
{
    event_send(user, take_leave, NULL);
}

static void viewer_ready(gpointer user)
{
    event_send(user, greet, NULL);
}

static gboolean patience_ends(gpointer user)
{
    seat *s = user;

    s->timeout = 0;
    seat_free(s);
    return G_SOURCE_REMOVE;
}

/* The page sends a sign of life every few seconds. */
static gboolean remove_silent(gpointer user)
{
    app *a = user;

    for (GList *link = a->seats, *next; link; link = next) {
        seat *s = link->data;
        next = link->next;
        if (s->watcher && viewer_silence(s->watcher) > PATIENCE)
            seat_free(s);
    }
    return G_SOURCE_CONTINUE;
}

/* ---- The video */

static void ask_for_key_frame(app *a)
{
    gst_element_send_event(a->sink, gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 0));
}

/* On the streaming thread. */
static GstFlowReturn frame_comes(GstAppSink *sink, gpointer user)
{
    app *a = user;
    GstSample *sample = gst_app_sink_pull_sample(sink);
    gboolean waits = FALSE;

    if (!sample)
        return GST_FLOW_EOS;
    g_mutex_lock(&a->lock);
    for (GList *link = a->seats; link; link = link->next)
        if (((seat *)link->data)->watcher)
            waits |=
                viewer_push(((seat *)link->data)->watcher, gst_sample_get_buffer(sample), gst_sample_get_caps(sample));
    g_mutex_unlock(&a->lock);
    if (waits)
        ask_for_key_frame(a);
    gst_sample_unref(sample);
    return GST_FLOW_OK;
}

static void caption_comes(app *a, const GstStructure *s)
{
    const char *text = gst_structure_get_string(s, "text");
    guint64 time = GST_CLOCK_TIME_NONE;
    gboolean partial = FALSE;

    gst_structure_get_uint64(s, "running-time", &time);
    gst_structure_get_boolean(s, "partial", &partial);
    if (!text || partial || !GST_CLOCK_TIME_IS_VALID(time))
        return;
    JsonBuilder *builder = json_builder_new();
    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "text");
    json_builder_add_string_value(builder, text);
    json_builder_set_member_name(builder, "time");
    json_builder_add_double_value(builder, (double)time / GST_SECOND);
    /* RTP counts 90,000 a second, modulo 2^32. */
    json_builder_set_member_name(builder, "rtp");
    json_builder_add_int_value(builder, (gint64)(gst_util_uint64_scale(time, 90000, GST_SECOND) & G_MAXUINT32));
    json_builder_end_object(builder);
    JsonNode *root = json_builder_get_root(builder);
    g_free(a->last);
    a->last = json_to_string(root, FALSE);
    json_node_unref(root);
    g_object_unref(builder);
    for (GList *link = a->seats; link; link = link->next)
        if (((seat *)link->data)->watcher)
            viewer_send(((seat *)link->data)->watcher, a->last);
}

static gboolean try_again(gpointer user)
{
    app *a = user;

    a->away = FALSE;
    gst_element_set_state(a->pipeline, GST_STATE_PLAYING);
    return G_SOURCE_REMOVE;
}

/* The times of the video begin anew with it, so browsers connect again, which the page does by itself. */
static void source_failed(app *a, const char *why)
{
    gst_element_set_state(a->pipeline, GST_STATE_NULL);
    if (a->away) /* one failure may be told by several elements */
        return;
    a->away = TRUE;
    say("the source failed: %s It is tried again in %d seconds.", why, SOURCE_RETRY);
    while (a->seats)
        seat_free(a->seats->data);
    g_clear_pointer(&a->last, g_free);
    g_timeout_add_seconds(SOURCE_RETRY, try_again, a);
}

static gboolean message_arrives(GstBus *bus, GstMessage *message, gpointer user)
{
    app *a = user;
    const GstStructure *s = gst_message_get_structure(message);
    GError *error = NULL;

    (void)bus;
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT && gst_structure_has_name(s, "palmecaption"))
        caption_comes(a, s);
    else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        gst_message_parse_error(message, &error, NULL);
        source_failed(a, error->message);
        g_error_free(error);
    } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS) {
        say("the source has ended");
        g_main_loop_quit(a->loop);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean make_pipeline(app *a, const char *source_name, const char *properties, GError **error)
{
    char *source = source_describe(source_name, error), *line;
    const GstAppSinkCallbacks calls = { .new_sample = frame_comes };

    if (!source)
        return FALSE;
    line = g_strdup_printf("%s ! videoconvert ! palmecaption %s ! queue ! videoconvert ! video/x-raw,format=I420 ! "
                           "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=100 error-resilient=default "
                           "target-bitrate=1500000 ! appsink name=sink",
                           source, properties ? properties : "");
    a->pipeline = gst_parse_launch_full(line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
    g_free(line);
    g_free(source);
    if (!a->pipeline)
        return FALSE;
    a->sink = gst_bin_get_by_name(GST_BIN(a->pipeline), "sink");
    gst_app_sink_set_callbacks(GST_APP_SINK(a->sink), (GstAppSinkCallbacks *)&calls, a, NULL);
    GstBus *bus = gst_element_get_bus(a->pipeline);
    gst_bus_add_watch(bus, message_arrives, a);
    gst_object_unref(bus);
    return TRUE;
}

/* ---- HTTP */

static void refuse(SoupServerMessage *message, guint status, const char *why)
{
    soup_server_message_set_status(message, status, why);
    soup_server_message_set_response(message, "text/plain", SOUP_MEMORY_COPY, why, strlen(why));
}

/* A page of somebody else's could ask our visitor's browser to ask us; and a name of somebody else's could stand for
 * our address. Both show in the headers. */
static gboolean is_stranger(const app *a, SoupServerMessage *message)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
    const char *host = soup_message_headers_get_one(headers, "Host"),
               *origin = soup_message_headers_get_one(headers, "Origin");
    char *own = host ? g_strconcat("http://", host, NULL) : NULL;
    gboolean local = g_str_equal(a->host, "127.0.0.1");
    gboolean stranger = !host || (origin && g_ascii_strcasecmp(origin, own) != 0) ||
                        (local && !g_str_has_prefix(host, "127.0.0.1") && !g_str_has_prefix(host, "localhost"));

    g_free(own);
    return stranger;
}

static void page_asked(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
                       gpointer user)
{
    static const char *const files[][3] = {
        { "/", "/palme/webrtc/webrtc.html", "text/html; charset=utf-8" },
        { "/webrtc.js", "/palme/webrtc/webrtc.js", "text/javascript; charset=utf-8" },
        { "/webrtc.css", "/palme/webrtc/webrtc.css", "text/css; charset=utf-8" },
    };
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);

    (void)server;
    (void)query;
    if (is_stranger(user, message)) {
        refuse(message, SOUP_STATUS_FORBIDDEN, "This server answers its own page alone.");
        return;
    }
    if (soup_server_message_get_method(message) != SOUP_METHOD_GET) {
        refuse(message, SOUP_STATUS_METHOD_NOT_ALLOWED, "The page is read by GET.");
        return;
    }
    for (guint i = 0; i < G_N_ELEMENTS(files); i++)
        if (g_str_equal(path, files[i][0])) {
            GBytes *data = g_resources_lookup_data(files[i][1], G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
            gsize length = 0;
            const char *text = g_bytes_get_data(data, &length);
            soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
            soup_server_message_set_response(message, files[i][2], SOUP_MEMORY_COPY, text, length);
            soup_message_headers_replace(
                headers, "Content-Security-Policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                "img-src data:; media-src 'self' blob: mediastream:; frame-ancestors 'none'; base-uri 'none'");
            soup_message_headers_replace(headers, "X-Content-Type-Options", "nosniff");
            g_bytes_unref(data);
            return;
        }
    refuse(message, SOUP_STATUS_NOT_FOUND, "There is no such page.");
}

static void offer_asked(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
                        gpointer user)
{
    app *a = user;
    SoupMessageBody *body = soup_server_message_get_request_body(message);
    static guint count;

    (void)server;
    (void)query;
    if (!g_str_equal(path, "/offer"))
        refuse(message, SOUP_STATUS_NOT_FOUND, "There is no such page.");
    else if (is_stranger(a, message))
        refuse(message, SOUP_STATUS_FORBIDDEN, "This server answers its own page alone.");
    else if (soup_server_message_get_method(message) != SOUP_METHOD_POST)
        refuse(message, SOUP_STATUS_METHOD_NOT_ALLOWED, "An offer is sent by POST.");
    else if (body->length <= 0 || body->length > LONGEST_OFFER)
        refuse(message, SOUP_STATUS_REQUEST_ENTITY_TOO_LARGE, "An offer has 1 to 65536 bytes.");
    else if (a->away)
        refuse(message, SOUP_STATUS_SERVICE_UNAVAILABLE, "The source has failed; it is tried again soon.");
    else if (g_list_length(a->seats) >= MOST_VIEWERS)
        refuse(message, SOUP_STATUS_SERVICE_UNAVAILABLE, "Too many are watching; please try again later.");
    else {
        GError *error = NULL;
        char *offer = g_strndup(body->data, (gsize)body->length);
        seat *s = g_new0(seat, 1);
        event *name = g_new0(event, 1);
        s->a = name->a = a;
        s->number = name->number = ++count;
        s->name = name;
        const struct viewer_calls calls = { viewer_answered, viewer_gone, viewer_ready, name };
        viewer *watcher = viewer_new(offer, a->pipeline, &calls, &error);
        g_free(offer);
        if (!watcher) {
            refuse(message, SOUP_STATUS_BAD_REQUEST, error->message);
            g_error_free(error);
            g_free(name);
            g_free(s);
            return;
        }
        s->message = g_object_ref(message);
        s->timeout = g_timeout_add_seconds(PATIENCE, patience_ends, s);
        soup_server_message_pause(message);
        g_mutex_lock(&a->lock);
        s->watcher = watcher;
        a->seats = g_list_prepend(a->seats, s);
        g_mutex_unlock(&a->lock);
        say("a viewer has come; %u are watching", g_list_length(a->seats));
        ask_for_key_frame(a);
    }
}

static gboolean listen_at(app *a, const char *address, int port, GError **error)
{
    GSocketAddress *where = g_inet_socket_address_new_from_string(address, (guint)port);
    gboolean well;

    if (!where) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--listen takes an address like 127.0.0.1, not %s",
                    address);
        return FALSE;
    }
    a->server = soup_server_new(NULL, NULL);
    soup_server_add_handler(a->server, NULL, page_asked, a, NULL);
    soup_server_add_handler(a->server, "/offer", offer_asked, a, NULL);
    well = soup_server_listen(a->server, where, 0, error);
    if (well) {
        GSList *uris = soup_server_get_uris(a->server);
        say("http://%s:%d/", address, g_uri_get_port(uris->data));
        g_slist_free_full(uris, (GDestroyNotify)g_uri_unref);
    }
    g_object_unref(where);
    return well;
}

static gboolean interrupted(gpointer user)
{
    g_main_loop_quit(((app *)user)->loop);
    return G_SOURCE_CONTINUE;
}

static void run(app *a)
{
    a->loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGINT, interrupted, a);
    g_unix_signal_add(SIGTERM, interrupted, a);
    g_timeout_add_seconds(2, remove_silent, a);
    gst_element_set_state(a->pipeline, GST_STATE_PLAYING);
    g_main_loop_run(a->loop);
    while (a->seats)
        seat_free(a->seats->data);
    gst_element_set_state(a->pipeline, GST_STATE_NULL);
    g_main_loop_unref(a->loop);
}

int main(int argc, char **argv)
{
    char *address = NULL, *properties = NULL, **names = NULL;
    int port = 8080;
    const GOptionEntry entries[] = {
        { "listen", 0, 0, G_OPTION_ARG_STRING, &address, "the address to listen at (127.0.0.1); 0.0.0.0 is all",
          "ADDRESS" },
        { "port", 0, 0, G_OPTION_ARG_INT, &port, "the port (8080); 0 takes a free one", "PORT" },
        { "caption", 0, 0, G_OPTION_ARG_STRING, &properties, "properties of palmecaption, as for gst-launch-1.0",
          "PROPERTIES" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &names, SOURCE_HELP, "SOURCE" },
        { 0 },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    app a = { 0 };

    gst_init(&argc, &argv);
    g_mutex_init(&a.lock);
    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error) && source_check(names, port, 0, &error)) {
        a.host = address ? address : "127.0.0.1";
        if (make_pipeline(&a, names ? names[0] : NULL, properties, &error) && listen_at(&a, a.host, port, &error))
            run(&a);
    }
    if (error) {
        fprintf(stderr, "webrtc: %s\n", error->message);
        g_error_free(error);
        a.status = 1;
    }
    if (a.pipeline) {
        GstBus *bus = gst_element_get_bus(a.pipeline);
        gst_bus_remove_watch(bus);
        gst_object_unref(bus);
    }
    g_clear_object(&a.server);
    g_clear_object(&a.sink);
    g_clear_object(&a.pipeline);
    g_option_context_free(context);
    g_strfreev(names);
    g_free(address);
    g_free(properties);
    g_free(a.last);
    g_mutex_clear(&a.lock);
    return a.status;
}
