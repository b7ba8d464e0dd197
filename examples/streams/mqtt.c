/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mqtt.c - publishes captions to an MQTT broker, as Home Assistant finds them by itself: the last caption, its
 * picture, and for each word of --notify whether the caption contains it.
 *
 *     mqtt [--broker HOST] [--port PORT] [--user NAME --password-file FILE] [--ca FILE] [--id ID] [--name NAME]
 *          [--notify WORD,WORD...] [--keep N] [--caption PROPERTIES] [SOURCE]
 *
 * palme/ID/caption           JSON: text, time (UTC, of the picture), score and labels, if there are any
 * palme/ID/picture           the picture as JPEG
 * palme/ID/contains/WORD     ON or OFF
 * palme/ID/availability      online or offline; the broker says offline if this program dies
 * homeassistant/.../config   what Home Assistant has to know of all this
 *
 * While the broker is away at most N captions are kept, and sent when it is back. A camera that vanishes is tried
 * again.
 */
#include <gst/gst.h>
#include <gst/video/video.h>
#include <errno.h>
#include <glib-unix.h>
#include <json-glib/json-glib.h>
#include <mosquitto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "outbox.h"
#include "say.h"
#include "source.h"

enum { FAREWELL = 10 /* seconds for what waits at the end */ };

typedef struct {
    struct mosquitto *client;
    outbox *box;
    GstElement *pipeline;
    GMainLoop *loop;
    const char *id, *name, *broker;
    int port;
    char **words; /* of --notify */
    gboolean *contains;
    gboolean online, camera, ending;
    gboolean waits; /* for the first connection */
} app;

/* ---- Names and states */

/* A name for topics, as Home Assistant takes them: letters and digits of ASCII, two hexadecimal digits for each byte of
 * other letters, so that words of any language differ, and _ for all else. */
static char *slug(const char *text)
{
    GString *name = g_string_new(NULL);

    for (const guchar *c = (const guchar *)text; *c; c++)
        if (*c >= 128)
            g_string_append_printf(name, "%02x", *c);
        else
            g_string_append_c(name, g_ascii_isalnum(*c) ? g_ascii_tolower((char)*c) : '_');
    return g_string_free(name, FALSE);
}

static char *topic(const app *a, const char *tail)
{
    return g_strdup_printf("palme/%s/%s", a->id, tail);
}

/* What the broker keeps as the last state. While it is away nothing is sent: all states are told when it is back. */
static void publish_state(const app *a, const char *name, const void *payload, gsize length)
{
    if (a->online)
        mosquitto_publish(a->client, NULL, name, (int)length, payload, 1, true);
}

static void publish_text(const app *a, const char *tail, const char *text)
{
    char *name = topic(a, tail);

    publish_state(a, name, text, strlen(text));
    g_free(name);
}

/* An object of strings: names and values by turns, NULL ends it. */
static JsonObject *strings(const char *name, ...) G_GNUC_NULL_TERMINATED;
static JsonObject *strings(const char *name, ...)
{
    JsonObject *object = json_object_new();
    va_list values;

    va_start(values, name);
    for (; name; name = va_arg(values, const char *))
        json_object_set_string_member(object, name, va_arg(values, const char *));
    va_end(values);
    return object;
}

/* To be freed with g_free. Takes the object. */
static char *json_text(JsonObject *object)
{
    JsonNode *node = json_node_init_object(json_node_alloc(), object);
    char *text = json_to_string(node, FALSE);

    json_node_unref(node);
    json_object_unref(object);
    return text;
}

/* One entity of Home Assistant. Takes `config`. */
static void publish_entity(const app *a, const char *kind, const char *object, JsonObject *config)
{
    char *id = g_strdup_printf("palme_%s_%s", a->id, object);
    char *name = g_strdup_printf("homeassistant/%s/palme_%s/%s/config", kind, a->id, object);
    char *availability = topic(a, "availability"), *text;
    JsonObject *device = strings("name", a->name, "manufacturer", "gst-palme", NULL);
    JsonArray *identifiers = json_array_new();

    json_array_add_string_element(identifiers, a->id);
    json_object_set_array_member(device, "identifiers", identifiers);
    json_object_set_string_member(config, "unique_id", id);
    json_object_set_string_member(config, "availability_topic", availability);
    json_object_set_object_member(config, "device", device);
    text = json_text(config);
    publish_state(a, name, text, strlen(text));
    g_free(text);
    g_free(id);
    g_free(name);
    g_free(availability);
}

static void publish_word(const app *a, guint i)
{
    char *word = slug(a->words[i]), *tail = g_strconcat("contains/", word, NULL);

    publish_text(a, tail, a->contains[i] ? "ON" : "OFF");
    g_free(tail);
    g_free(word);
}

static void publish_all(const app *a)
{
    char *caption = topic(a, "caption"), *picture = topic(a, "picture");

    publish_entity(a, "sensor", "caption",
                   strings("name", "Caption", "state_topic", caption, "value_template", "{{ value_json.text[:255] }}",
                           "json_attributes_topic", caption, "icon", "mdi:closed-caption", NULL));
    publish_entity(a, "camera", "picture", strings("name", "Picture", "topic", picture, NULL));
    for (guint i = 0; a->words && a->words[i]; i++) {
        char *word = slug(a->words[i]), *tail = g_strconcat("contains/", word, NULL), *state = topic(a, tail);
        publish_entity(a, "binary_sensor", word, strings("name", a->words[i], "state_topic", state, NULL));
        publish_word(a, i);
        g_free(state);
        g_free(tail);
        g_free(word);
    }
    publish_text(a, "availability", a->camera ? "online" : "offline");
    g_free(caption);
    g_free(picture);
}

static void set_camera(app *a, gboolean there)
{
    if (a->camera == there)
        return;
    a->camera = there;
    publish_text(a, "availability", there ? "online" : "offline");
}

/* ---- Captions */

/* TRUE if a text has these words in a row, as whole words, in upper or lower case. */
static gboolean has_words(const char *text, const char *words)
{
    char *escaped = g_regex_escape_string(words, -1);
    char *pattern = g_strdup_printf("(?<!\\w)%s(?!\\w)", escaped);
    gboolean found = g_regex_match_simple(pattern, text, G_REGEX_CASELESS, 0);

    g_free(pattern);
    g_free(escaped);
    return found;
}

/* When the picture was taken, as ISO 8601. */
static char *time_of(const app *a, guint64 running_time)
{
    GstClock *clock = gst_pipeline_get_clock(GST_PIPELINE(a->pipeline));
    gint64 now = g_get_real_time();
    GDateTime *date, *utc;
    char *text;

    if (clock && running_time != G_MAXUINT64) {
        GstClockTimeDiff age =
            GST_CLOCK_DIFF(running_time + gst_element_get_base_time(a->pipeline), gst_clock_get_time(clock));
        now -= age / 1000;
    }
    g_clear_object(&clock);
    date = g_date_time_new_from_unix_utc(now / G_USEC_PER_SEC);
    utc = g_date_time_add(date, now % G_USEC_PER_SEC);
    text = g_date_time_format(utc, "%Y-%m-%dT%H:%M:%S.%fZ");
    g_date_time_unref(date);
    g_date_time_unref(utc);
    return text;
}

static void picture_converted(GstSample *sample, GError *error, gpointer user)
{
    app *a = user;
    GstMapInfo map;

    if (error) {
        say("the picture cannot be made: %s", error->message);
        g_error_free(error);
        return;
    }
    char *name = topic(a, "picture");
    if (gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ)) {
        publish_state(a, name, map.data, map.size);
        gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
    }
    g_free(name);
    gst_sample_unref(sample);
}

/* Of the frame that is shown; the captioned one is older by the time that the caption took. */
static void publish_picture(app *a)
{
    GstElement *sink = gst_bin_get_by_name(GST_BIN(a->pipeline), "sink");
    GstCaps *caps = gst_caps_new_empty_simple("image/jpeg");
    GstSample *sample = NULL;

    g_object_get(sink, "last-sample", &sample, NULL);
    if (sample) {
        gst_video_convert_sample_async(sample, caps, 5 * GST_SECOND, picture_converted, a, NULL);
        gst_sample_unref(sample);
    }
    gst_caps_unref(caps);
    gst_object_unref(sink);
}

/* NULL if the model has none. */
static JsonArray *labels_of(const GstStructure *s)
{
    const GValue *list = gst_structure_get_value(s, "labels");
    JsonArray *labels = list && GST_VALUE_HOLDS_ARRAY(list) ? json_array_new() : NULL;

    for (guint i = 0; labels && i < gst_value_array_get_size(list); i++)
        json_array_add_string_element(labels, g_value_get_string(gst_value_array_get_value(list, i)));
    return labels;
}

static void caption_comes(app *a, const GstStructure *s)
{
    const char *text = gst_structure_get_string(s, "text");
    guint64 running_time = G_MAXUINT64;
    gboolean partial = FALSE;
    double score;

    if (!text || (gst_structure_get_boolean(s, "partial", &partial) && partial))
        return;
    set_camera(a, TRUE);
    gst_structure_get_uint64(s, "running-time", &running_time);
    char *time = time_of(a, running_time), *name = topic(a, "caption");
    JsonObject *message = strings("text", text, "time", time, NULL);
    JsonArray *labels = labels_of(s);
    if (gst_structure_get_double(s, "score", &score))
        json_object_set_double_member(message, "score", score);
    if (labels)
        json_object_set_array_member(message, "labels", labels);
    char *payload = json_text(message);
    guint dropped = outbox_dropped(a->box);
    outbox_put(a->box, name, payload);
    if (outbox_dropped(a->box) > dropped && dropped == 0)
        say("the broker is away for so long that the oldest captions are dropped (--keep)");
    publish_picture(a);
    for (guint i = 0; a->words && a->words[i]; i++) {
        gboolean contains = has_words(text, a->words[i]);
        if (contains == a->contains[i])
            continue;
        a->contains[i] = contains;
        publish_word(a, i);
    }
    g_free(payload);
    g_free(time);
    g_free(name);
}

/* ---- The pipeline */

static gboolean finish(gpointer user)
{
    app *a = user;

    g_main_loop_quit(a->loop);
    return G_SOURCE_REMOVE;
}

static gboolean finish_if_sent(gpointer user)
{
    app *a = user;

    if (outbox_waiting(a->box))
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(a->loop);
    return G_SOURCE_REMOVE;
}

/* What waits is sent first, if the broker takes it. */
static void end(app *a)
{
    if (a->ending)
        return;
    a->ending = TRUE;
    g_timeout_add(20, finish_if_sent, a);
    g_timeout_add_seconds(FAREWELL, finish, a);
}

static gboolean try_again(gpointer user)
{
    app *a = user;

    if (!a->ending)
        gst_element_set_state(a->pipeline, GST_STATE_PLAYING);
    return G_SOURCE_REMOVE;
}

static gboolean message_arrives(GstBus *bus, GstMessage *message, gpointer user)
{
    app *a = user;
    const GstStructure *s = gst_message_get_structure(message);
    GError *error = NULL;

    (void)bus;
    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ELEMENT:
        if (gst_structure_has_name(s, "palmecaption"))
            caption_comes(a, s);
        break;
    case GST_MESSAGE_ERROR:
        gst_message_parse_error(message, &error, NULL);
        gst_element_set_state(a->pipeline, GST_STATE_NULL);
        if (!a->ending) {
            set_camera(a, FALSE);
            say("the source failed: %s It is tried again in %d seconds.", error->message, SOURCE_RETRY);
            g_timeout_add_seconds(SOURCE_RETRY, try_again, a);
        }
        g_error_free(error);
        break;
    case GST_MESSAGE_EOS:
        set_camera(a, FALSE);
        end(a);
        break;
    default: break;
    }
    return G_SOURCE_CONTINUE;
}

/* ---- The broker */

static gboolean online(gpointer user)
{
    app *a = user;

    say("connected to the broker; %u captions wait", outbox_waiting(a->box));
    a->online = TRUE;
    publish_all(a);
    outbox_set_online(a->box, TRUE);
    return G_SOURCE_REMOVE;
}

static gboolean offline(gpointer user)
{
    app *a = user;

    if (!a->ending)
        say("the broker has gone; captions wait for it");
    a->online = FALSE;
    outbox_set_online(a->box, FALSE);
    return G_SOURCE_REMOVE;
}

/* On mosquitto's thread, as the next two. */
static void connected(struct mosquitto *client, void *user, int code)
{
    (void)client;
    if (code)
        say("the broker refuses the connection: %s", mosquitto_connack_string(code));
    else
        g_idle_add(online, user);
}

static void disconnected(struct mosquitto *client, void *user, int code)
{
    (void)client;
    (void)code;
    g_idle_add(offline, user);
}

static void published(struct mosquitto *client, void *user, int number)
{
    (void)client;
    outbox_confirm(((app *)user)->box, number);
}

static gboolean interrupted(gpointer user)
{
    app *a = user;

    gst_element_set_state(a->pipeline, GST_STATE_NULL);
    set_camera(a, FALSE);
    end(a);
    return G_SOURCE_CONTINUE;
}

typedef struct {
    char *broker, *user, *password_file, *ca, *id, *name, *notify, *caption, **names;
    int port, keep;
} options;

/* mosquitto connects again by itself when it has been connected once; until then it gives up. */
static gboolean first_connection(gpointer user)
{
    app *a = user;
    int code = mosquitto_connect_async(a->client, a->broker, a->port, 30);

    if (code != MOSQ_ERR_SUCCESS) {
        if (!a->waits)
            say("the broker %s:%d is not there (%s); captions wait for it", a->broker, a->port,
                code == MOSQ_ERR_ERRNO ? g_strerror(errno) : mosquitto_strerror(code));
        a->waits = TRUE;
        return G_SOURCE_CONTINUE;
    }
    mosquitto_loop_start(a->client);
    return G_SOURCE_REMOVE;
}

/* FALSE, with `error` set, if an option cannot be right. A broker that is not there yet is no error. */
static gboolean connect_broker(app *a, const options *o, GError **error)
{
    char *password = NULL, *will = topic(a, "availability");
    int code = MOSQ_ERR_SUCCESS;

    if (o->password_file && !g_file_get_contents(o->password_file, &password, NULL, error)) {
        g_free(will);
        return FALSE;
    }
    if (o->ca && access(o->ca, R_OK) != 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "--ca %s: %s", o->ca, g_strerror(errno));
        g_free(password);
        g_free(will);
        return FALSE;
    }
    if (o->user)
        code = mosquitto_username_pw_set(a->client, o->user, password ? g_strchomp(password) : NULL);
    if (code == MOSQ_ERR_SUCCESS && o->ca)
        code = mosquitto_tls_set(a->client, o->ca, NULL, NULL, NULL, NULL);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_will_set(a->client, will, 7, "offline", 1, true);
    mosquitto_reconnect_delay_set(a->client, 1, 30, true);
    mosquitto_connect_callback_set(a->client, connected);
    mosquitto_disconnect_callback_set(a->client, disconnected);
    mosquitto_publish_callback_set(a->client, published);
    if (code == MOSQ_ERR_SUCCESS) {
        if (first_connection(a) == G_SOURCE_CONTINUE)
            g_timeout_add_seconds(1, first_connection, a);
    } else {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "the broker %s: %s", a->broker,
                    mosquitto_strerror(code));
    }
    g_free(password);
    g_free(will);
    return code == MOSQ_ERR_SUCCESS;
}

/* The words of --notify, without empty ones: they would be in every caption. */
static char **words_of(const char *list)
{
    char **all = g_strsplit(list ? list : "", ",", -1);
    guint count = 0;

    for (guint i = 0; all[i]; i++)
        if (*g_strstrip(all[i]))
            all[count++] = all[i];
        else
            g_free(all[i]);
    all[count] = NULL;
    return all;
}

/* GLib's own strings of the command line fail for all but ASCII in a locale without UTF-8, as that of most services. */
static gboolean is_text(const char *option, const char *value, GError **error)
{
    if (!value || g_utf8_validate(value, -1, NULL))
        return TRUE;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s takes UTF-8", option);
    return FALSE;
}

static GstElement *pipeline_new(const options *o, GError **error)
{
    char *source = source_describe(o->names ? o->names[0] : NULL, error), *line;
    GstElement *pipeline;

    if (!source)
        return NULL;
    line = g_strdup_printf(
        "%s ! videoconvert ! palmecaption name=c %s ! fakesink name=sink sync=true enable-last-sample=true", source,
        o->caption ? o->caption : "");
    pipeline = gst_parse_launch_full(line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
    g_free(line);
    g_free(source);
    return pipeline;
}

static gboolean run(app *a, const options *o, GError **error)
{
    a->pipeline = pipeline_new(o, error);
    if (!a->pipeline || !connect_broker(a, o, error))
        return FALSE;
    GstBus *bus = gst_element_get_bus(a->pipeline);
    gst_bus_add_watch(bus, message_arrives, a);
    a->loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGINT, interrupted, a);
    g_unix_signal_add(SIGTERM, interrupted, a);
    gst_element_set_state(a->pipeline, GST_STATE_PLAYING);
    g_main_loop_run(a->loop);
    gst_element_set_state(a->pipeline, GST_STATE_NULL);
    gst_bus_remove_watch(bus);
    gst_object_unref(bus);
    if (outbox_waiting(a->box))
        say("%u captions were not sent, since the broker is away", outbox_waiting(a->box));
    mosquitto_disconnect(a->client);
    mosquitto_loop_stop(a->client, true);
    g_main_loop_unref(a->loop);
    return TRUE;
}

int main(int argc, char **argv)
{
    options o = { .port = 1883, .keep = 1000 };
    const GOptionEntry entries[] = {
        { "broker", 0, 0, G_OPTION_ARG_STRING, &o.broker, "where the broker is (localhost)", "HOST" },
        { "port", 0, 0, G_OPTION_ARG_INT, &o.port, "its port (1883)", "PORT" },
        { "user", 0, 0, G_OPTION_ARG_STRING, &o.user, "the user's name at the broker", "NAME" },
        { "password-file", 0, 0, G_OPTION_ARG_FILENAME, &o.password_file, "a file with the user's password", "FILE" },
        { "ca", 0, 0, G_OPTION_ARG_FILENAME, &o.ca, "certificates of authorities, for a connection by TLS", "FILE" },
        { "id", 0, 0, G_OPTION_ARG_STRING, &o.id, "letters and digits for the topics (camera)", "ID" },
        { "name", 0, 0, G_OPTION_ARG_FILENAME, &o.name, "what people call the camera (its id)", "NAME" },
        { "notify", 0, 0, G_OPTION_ARG_FILENAME, &o.notify, "words to watch for, with commas between them", "WORDS" },
        { "keep", 0, 0, G_OPTION_ARG_INT, &o.keep, "captions to keep while the broker is away (1000)", "N" },
        { "caption", 0, 0, G_OPTION_ARG_STRING, &o.caption, "properties of palmecaption, as for gst-launch-1.0",
          "PROPERTIES" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o.names, SOURCE_HELP, "SOURCE" },
        { 0 },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    app a = { 0 };

    gst_init(&argc, &argv);
    mosquitto_lib_init();
    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error) && source_check(o.names, o.port, 1, &error) &&
        is_text("--name", o.name, &error) && is_text("--notify", o.notify, &error)) {
        char *id = slug(o.id ? o.id : "camera");
        a.id = id;
        a.name = o.name ? o.name : id;
        a.broker = o.broker ? o.broker : "localhost";
        a.port = o.port;
        a.words = words_of(o.notify);
        a.contains = g_new0(gboolean, a.words ? g_strv_length(a.words) : 0);
        a.client = mosquitto_new(NULL, true, &a);
        a.box = outbox_new(a.client, (guint)MAX(o.keep, 1));
        run(&a, &o, &error);
        g_clear_object(&a.pipeline);
        outbox_free(a.box);
        mosquitto_destroy(a.client);
        g_strfreev(a.words);
        g_free(a.contains);
        g_free(id);
    }
    if (error)
        fprintf(stderr, "mqtt: %s\n", error->message);
    g_option_context_free(context);
    mosquitto_lib_cleanup();
    return error ? 1 : 0;
}
