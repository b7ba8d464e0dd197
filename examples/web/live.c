/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * live.c - sends each viewer what it has room for, and nothing twice.
 *
 * The server sends two kinds of messages. Text: {"n": NUMBER, "captions": [...], "state": {...}}, new captions and,
 * when something has changed, what /api/state says. Binary: four bytes, the length of a header; the header, {"n":
 * NUMBER, "source": ..., "caption": ...}; a JPEG. Captions come with the frames that carry them, so they are never
 * ahead of the picture, however slow the way is.
 *
 * A viewer answers each message with {"n": NUMBER}, in order. At most ROOM are on their way to it, of these PICTURES
 * with pictures. There is no queue behind that: what is sent next is looked up when there is room, the newest picture
 * of a source and the captions that the viewer does not have yet. So a slow viewer gets fewer pictures, takes a fixed
 * amount of memory, and is nobody's concern but its own. NUMBER is random, so that nobody can acknowledge what it has
 * not read. {"watch": [0, 2]} says which sources it wants pictures of; at first, all.
 */
#include "live.h"
#include "api.h"
#include "http.h"
#include "json.h"

#include <string.h>

enum { ROOM = 4, PICTURES = 2 };
/* Who acknowledges nothing for so long is cut off. */
#define PATIENCE (30 * G_USEC_PER_SEC)
/* The statistics are sent so often. */
#define TICK_SECONDS 2
/* The captions of a message, at most, and of the first one: the page asks the API for older ones. */
#define CAPTIONS 50

struct viewer {
    struct web_live *live;
    SoupWebsocketConnection *connection;
    guint32 waiting[ROOM];     /* the numbers on their way, the oldest one first */
    gboolean is_picture[ROOM]; /* of the same */
    guint count, pictures;
    gint64 heard;    /* when something was acknowledged, or the first one sent; monotonic time */
    guint64 watched; /* a bit for each source */
    guint64 serials[WEB_SOURCES];
    guint next; /* the source whose turn it is */
    guint64 caption;
    guint version;
};

struct web_live {
    struct web *web;
    GPtrArray *viewers;
    gint pending; /* 1: pump() is going to run; by atomic operations */
    guint version, tick;
    guint seen[WEB_SOURCES]; /* versions of the sources */
    char *state;             /* JSON of `version`; NULL: not made yet */
};

/* Keeps in mind that this message is on its way. */
static void note_sent(struct viewer *viewer, guint32 number, gboolean is_picture)
{
    if (viewer->count == 0)
        viewer->heard = g_get_monotonic_time();
    viewer->is_picture[viewer->count] = is_picture;
    viewer->waiting[viewer->count++] = number;
    viewer->pictures += is_picture;
}

static void send_update(struct viewer *viewer)
{
    struct web_live *live = viewer->live;
    guint32 number = web_random();
    struct web_query query = { .source = -1, .after = viewer->caption, .oldest_first = TRUE, .limit = CAPTIONS };
    GArray *entries = web_history_select(live->web->history, &query);
    char *captions, *text;

    if (entries->len)
        viewer->caption = g_array_index(entries, struct web_entry, entries->len - 1).id;
    captions = web_api_entries(entries);
    g_array_unref(entries);
    if (viewer->version != live->version) {
        if (!live->state)
            live->state = web_api_state(live->web);
        viewer->version = live->version;
        text = g_strdup_printf("{\"n\":%u,\"captions\":%s,\"state\":%s}", number, captions, live->state);
    } else {
        text = g_strdup_printf("{\"n\":%u,\"captions\":%s}", number, captions);
    }
    soup_websocket_connection_send_text(viewer->connection, text);
    note_sent(viewer, number, FALSE);
    g_free(captions);
    g_free(text);
}

static void send_picture(struct viewer *viewer, guint source, const struct web_picture *picture)
{
    guint32 number = web_random();
    JsonBuilder *builder = json_builder_new();
    GByteArray *message = g_byte_array_new();
    guint32 length;
    char *header;

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "n");
    json_builder_add_int_value(builder, number);
    json_builder_set_member_name(builder, "source");
    json_builder_add_int_value(builder, source);
    json_builder_set_member_name(builder, "caption");
    json_builder_add_string_value(builder, picture->caption);
    json_builder_end_object(builder);
    header = web_json(builder);
    length = GUINT32_TO_BE((guint32)strlen(header));
    g_byte_array_append(message, (guint8 *)&length, sizeof length);
    g_byte_array_append(message, (guint8 *)header, (guint)strlen(header));
    g_byte_array_append(message, g_bytes_get_data(picture->jpeg, NULL), (guint)g_bytes_get_size(picture->jpeg));
    soup_websocket_connection_send_binary(viewer->connection, message->data, message->len);
    note_sent(viewer, number, TRUE);
    g_byte_array_unref(message);
    g_free(header);
}

/* Sends one picture, of the next source that has a new one. FALSE: there is none. */
static gboolean send_next_picture(struct viewer *viewer)
{
    struct web *web = viewer->live->web;
    guint i;

    for (i = 0; i < web->count; i++) {
        guint source = (viewer->next + i) % web->count;
        struct web_picture picture;

        if (!(viewer->watched >> source & 1) || web_source_serial(web->sources[source]) == viewer->serials[source])
            continue;
        web_source_picture(&picture, web->sources[source]);
        if (picture.jpeg) {
            send_picture(viewer, source, &picture);
            viewer->serials[source] = picture.serial;
            viewer->next = (source + 1) % web->count;
            web_picture_clear(&picture);
            return TRUE;
        }
        web_picture_clear(&picture);
    }
    return FALSE;
}

static void serve(struct viewer *viewer)
{
    if (soup_websocket_connection_get_state(viewer->connection) != SOUP_WEBSOCKET_STATE_OPEN)
        return;
    if (viewer->count < ROOM &&
        (viewer->version != viewer->live->version || web_history_newest(viewer->live->web->history) > viewer->caption))
        send_update(viewer);
    while (viewer->count < ROOM && viewer->pictures < PICTURES && send_next_picture(viewer))
        ;
}

static gboolean pump(gpointer user)
{
    struct web_live *live = user;
    guint i;

    g_atomic_int_set(&live->pending, 0);
    for (i = 0; i < live->web->count; i++) {
        guint version = web_source_version(live->web->sources[i]);

        if (version == live->seen[i])
            continue;
        live->seen[i] = version;
        live->version++;
        g_clear_pointer(&live->state, g_free);
    }
    for (i = 0; i < live->viewers->len; i++)
        serve(g_ptr_array_index(live->viewers, i));
    return G_SOURCE_REMOVE;
}

void web_live_changed(gpointer user)
{
    struct web_live *live = user;

    if (g_atomic_int_compare_and_exchange(&live->pending, 0, 1))
        g_idle_add(pump, live);
}

static gboolean tick(gpointer user)
{
    struct web_live *live = user;
    gint64 now = g_get_monotonic_time();
    guint i;

    live->version++;
    g_clear_pointer(&live->state, g_free);
    for (i = 0; i < live->viewers->len; i++) {
        struct viewer *viewer = g_ptr_array_index(live->viewers, i);

        if (viewer->count && now - viewer->heard > PATIENCE)
            web_http_cut(viewer->connection);
    }
    web_live_changed(live);
    return G_SOURCE_CONTINUE;
}

/* ---- Viewers ------------------------------------------------------------------------------------ */

/* FALSE: this is not what it has to acknowledge now. */
static gboolean take_number(struct viewer *viewer, gint64 number)
{
    if (viewer->count == 0 || number != viewer->waiting[0])
        return FALSE;
    viewer->pictures -= viewer->is_picture[0];
    viewer->count--;
    memmove(viewer->waiting, viewer->waiting + 1, viewer->count * sizeof *viewer->waiting);
    memmove(viewer->is_picture, viewer->is_picture + 1, viewer->count * sizeof *viewer->is_picture);
    viewer->heard = g_get_monotonic_time();
    return TRUE;
}

static gboolean take_watch(struct viewer *viewer, JsonNode *node)
{
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    guint64 watched = 0;
    guint i, n = array ? json_array_get_length(array) : 0;

    if (!array || n > WEB_SOURCES)
        return FALSE;
    for (i = 0; i < n; i++) {
        JsonNode *element = json_array_get_element(array, i);
        gint64 source = JSON_NODE_HOLDS_VALUE(element) ? json_node_get_int(element) : -1;

        if (source < 0 || source >= viewer->live->web->count)
            return FALSE;
        watched |= G_GUINT64_CONSTANT(1) << source;
    }
    viewer->watched = watched;
    return TRUE;
}

static void hear(SoupWebsocketConnection *connection, gint type, GBytes *bytes, gpointer user)
{
    struct viewer *viewer = user;
    JsonNode *root = type == SOUP_WEBSOCKET_DATA_TEXT ? web_json_read(bytes) : NULL;
    JsonObject *object = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    gboolean fine = FALSE;

    if (object && json_object_has_member(object, "n")) {
        JsonNode *number = json_object_get_member(object, "n");

        fine = JSON_NODE_HOLDS_VALUE(number) && take_number(viewer, json_node_get_int(number));
    } else if (object && json_object_has_member(object, "watch")) {
        fine = take_watch(viewer, json_object_get_member(object, "watch"));
    }
    if (root)
        json_node_unref(root);
    if (soup_websocket_connection_get_state(connection) != SOUP_WEBSOCKET_STATE_OPEN)
        return;
    if (fine)
        serve(viewer);
    else
        soup_websocket_connection_close(connection, SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, "not the protocol");
}

static void viewer_free(gpointer data)
{
    struct viewer *viewer = data;

    g_signal_handlers_disconnect_by_data(viewer->connection, viewer);
    g_object_unref(viewer->connection);
    g_free(viewer);
}

static void leave(SoupWebsocketConnection *connection, gpointer user)
{
    struct viewer *viewer = user;

    (void)connection;
    g_ptr_array_remove(viewer->live->viewers, viewer);
}

void web_live_add(struct web_live *live, SoupWebsocketConnection *connection)
{
    struct web_query newest = { .source = -1, .limit = CAPTIONS };
    struct viewer *viewer;
    GArray *entries;

    soup_websocket_connection_set_max_incoming_payload_size(connection, 1024);
    if (live->viewers->len >= live->web->most_viewers) {
        soup_websocket_connection_close(connection, SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, "too many viewers");
        return;
    }
    viewer = g_new0(struct viewer, 1);
    viewer->live = live;
    viewer->connection = g_object_ref(connection);
    viewer->watched = ~G_GUINT64_CONSTANT(0);
    viewer->version = live->version - 1;
    /* Its first captions are the newest ones. */
    entries = web_history_select(live->web->history, &newest);
    if (entries->len)
        viewer->caption = g_array_index(entries, struct web_entry, entries->len - 1).id - 1;
    g_array_unref(entries);
    soup_websocket_connection_set_keepalive_interval(connection, 20);
    g_signal_connect(connection, "message", G_CALLBACK(hear), viewer);
    g_signal_connect(connection, "closed", G_CALLBACK(leave), viewer);
    g_ptr_array_add(live->viewers, viewer);
    serve(viewer);
}

guint web_live_viewers(const struct web_live *live)
{
    return live->viewers->len;
}

struct web_live *web_live_new(struct web *web)
{
    struct web_live *live = g_new0(struct web_live, 1);

    live->web = web;
    live->version = 1;
    live->viewers = g_ptr_array_new_with_free_func(viewer_free);
    live->tick = g_timeout_add_seconds(TICK_SECONDS, tick, live);
    return live;
}

void web_live_free(struct web_live *live)
{
    g_source_remove(live->tick);
    while (g_source_remove_by_user_data(live))
        ;
    g_ptr_array_unref(live->viewers);
    g_free(live->state);
    g_free(live);
}
