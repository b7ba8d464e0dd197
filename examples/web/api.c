/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * api.c - reads requests, checks all that is in them, and answers.
 */
#include "api.h"
#include "http.h"
#include "json.h"
#include "live.h"

#include <math.h>
#include <string.h>

/* Entries of an answer, and parts of a timeline, at most. */
enum { PAGE = 200, BINS = 1440 };
/* Downloads at a time: each is as large as the history's text. */
enum { DOWNLOADS = 4 };
#define LATEST (G_GINT64_CONSTANT(253402300799) * 1000) /* the year 9999, in ms */

/* ---- JSON of ours --------------------------------------------------------------------------------- */

static void add_entry(JsonBuilder *builder, const struct web_entry *entry)
{
    json_builder_begin_object(builder);
    web_json_int(builder, "id", (gint64)entry->id);
    web_json_int(builder, "source", entry->source);
    web_json_int(builder, "begin", entry->begin / 1000);
    json_builder_set_member_name(builder, "end");
    if (entry->end)
        json_builder_add_int_value(builder, entry->end / 1000);
    else
        json_builder_add_null_value(builder);
    web_json_text(builder, "text", entry->text);
    web_json_number(builder, "score", entry->score);
    web_json_number(builder, "latency", (double)entry->latency_ns / 1e9);
    json_builder_set_member_name(builder, "picture");
    json_builder_add_boolean_value(builder, entry->picture != NULL);
    json_builder_end_object(builder);
}

char *web_api_entries(GArray *entries)
{
    JsonBuilder *builder = json_builder_new();
    guint i;

    json_builder_begin_array(builder);
    for (i = 0; i < entries->len; i++)
        add_entry(builder, &g_array_index(entries, struct web_entry, i));
    json_builder_end_array(builder);
    return web_json(builder);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *web_models(const struct web *web)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = web->models ? g_dir_open(web->models, 0, NULL) : NULL;
    const char *name;

    while (dir && names->len < WEB_MODELS && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(web->models, name, NULL);

        if (name[0] != '.' && g_str_has_suffix(name, ".safetensors") && g_utf8_validate(name, -1, NULL) &&
            g_file_test(path, G_FILE_TEST_IS_REGULAR))
            g_ptr_array_add(names, g_strdup(name));
        g_free(path);
    }
    if (dir)
        g_dir_close(dir);
    g_ptr_array_sort(names, compare_names);
    return names;
}

char *web_api_state(struct web *web)
{
    JsonBuilder *builder = json_builder_new();
    GPtrArray *models = web_models(web);
    gsize picture_bytes;
    guint i, entries;

    web_history_size(web->history, &entries, &picture_bytes);
    json_builder_begin_object(builder);
    web_json_int(builder, "time", g_get_real_time() / 1000);
    web_json_int(builder, "began", web->began / 1000);
    web_json_int(builder, "viewers", web_live_viewers(web->live));
    web_json_int(builder, "connections", web_http_connections(web));
    web_json_int(builder, "entries", entries);
    web_json_int(builder, "picture-bytes", (gint64)picture_bytes);
    json_builder_set_member_name(builder, "models");
    json_builder_begin_array(builder);
    for (i = 0; i < models->len; i++)
        json_builder_add_string_value(builder, g_ptr_array_index(models, i));
    json_builder_end_array(builder);
    g_ptr_array_unref(models);
    json_builder_set_member_name(builder, "kinds");
    web_settings_describe_kinds(builder);
    json_builder_set_member_name(builder, "sources");
    json_builder_begin_array(builder);
    for (i = 0; i < web->count; i++)
        web_source_describe(builder, web->sources[i]);
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    return web_json(builder);
}

/* ---- Parameters ----------------------------------------------------------------------------------- */

/* The whole number of a parameter between limits, `missing` where it is not there. FALSE: refused, and answered. */
static gboolean read_number(gint64 *number, SoupServerMessage *message, GHashTable *query, const char *name,
                            gint64 least, gint64 most, gint64 missing)
{
    const char *text = query ? g_hash_table_lookup(query, name) : NULL;
    GError *error = NULL;

    *number = missing;
    if (!text || !text[0])
        return TRUE;
    if (g_ascii_string_to_signed(text, 10, least, most, number, &error))
        return TRUE;
    g_error_free(error);
    web_http_refuse(message, SOUP_STATUS_BAD_REQUEST,
                    "%s: has to be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, name, least, most);
    return FALSE;
}

static gboolean read_query(struct web_query *asked, const struct web *web, SoupServerMessage *message,
                           GHashTable *query)
{
    gint64 source, from, to, before, after, limit;
    const char *words = query ? g_hash_table_lookup(query, "q") : NULL;

    if (!read_number(&source, message, query, "source", 0, web->count - 1, -1) ||
        !read_number(&from, message, query, "from", 0, LATEST, 0) ||
        !read_number(&to, message, query, "to", 0, LATEST, 0) ||
        !read_number(&before, message, query, "before", 1, G_MAXINT64, 0) ||
        !read_number(&after, message, query, "after", 0, G_MAXINT64 - 1, 0) ||
        !read_number(&limit, message, query, "limit", 1, PAGE, 50))
        return FALSE;
    if (words && (strlen(words) > 200 || !g_utf8_validate(words, -1, NULL))) {
        web_http_refuse(message, SOUP_STATUS_BAD_REQUEST, "q: at most 200 bytes of UTF-8 are allowed");
        return FALSE;
    }
    *asked = (struct web_query){ (int)source,    words,           from * 1000, to * 1000,
                                 (guint64)after, (guint64)before, FALSE,       (guint)limit };
    return TRUE;
}

/* ---- Reading -------------------------------------------------------------------------------------- */

static void answer_json(SoupServerMessage *message, char *json)
{
    web_http_answer(message, SOUP_STATUS_OK, "application/json", json, -1);
}

static void answer_history(struct web *web, SoupServerMessage *message, GHashTable *query)
{
    struct web_query asked;
    GArray *entries;

    if (!read_query(&asked, web, message, query))
        return;
    entries = web_history_select(web->history, &asked);
    answer_json(message, web_api_entries(entries));
    g_array_unref(entries);
}

static void download_ends(SoupServerMessage *message, gpointer user)
{
    struct web *web = user;

    (void)message;
    web->downloads--;
}

/* All of it, as a file. */
static void answer_download(struct web *web, SoupServerMessage *message, GHashTable *query, gboolean vtt)
{
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
    struct web_query asked;
    GArray *entries;

    if (!read_query(&asked, web, message, query))
        return;
    if (web->downloads == DOWNLOADS) {
        web_http_refuse(message, SOUP_STATUS_SERVICE_UNAVAILABLE, "there are %d downloads already", DOWNLOADS);
        return;
    }
    web->downloads++;
    g_signal_connect(message, "finished", G_CALLBACK(download_ends), web);
    if (vtt && asked.source < 0)
        asked.source = 0;
    asked.limit = G_MAXUINT;
    asked.oldest_first = TRUE;
    entries = web_history_select(web->history, &asked);
    soup_message_headers_replace(headers, "Content-Disposition",
                                 vtt ? "attachment; filename=\"captions.vtt\""
                                     : "attachment; filename=\"captions.json\"");
    if (vtt)
        web_http_answer(message, SOUP_STATUS_OK, "text/vtt; charset=utf-8",
                        web_vtt(entries, web_source_name(web->sources[asked.source]), web->began), -1);
    else
        answer_json(message, web_api_entries(entries));
    g_array_unref(entries);
}

static void answer_timeline(struct web *web, SoupServerMessage *message, GHashTable *query)
{
    gint64 source, from, to, bins, i;
    guint counts[BINS];
    guint64 ids[BINS];
    JsonBuilder *builder;

    if (!read_number(&source, message, query, "source", 0, web->count - 1, -1) ||
        !read_number(&from, message, query, "from", 0, LATEST - 1, 0) ||
        !read_number(&to, message, query, "to", from + 1, LATEST, LATEST) ||
        !read_number(&bins, message, query, "bins", 1, BINS, 96))
        return;
    web_history_timeline(counts, ids, (guint)bins, web->history, (int)source, from * 1000, to * 1000);
    builder = json_builder_new();
    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "counts");
    json_builder_begin_array(builder);
    for (i = 0; i < bins; i++)
        json_builder_add_int_value(builder, counts[i]);
    json_builder_end_array(builder);
    json_builder_set_member_name(builder, "ids");
    json_builder_begin_array(builder);
    for (i = 0; i < bins; i++)
        json_builder_add_int_value(builder, (gint64)ids[i]);
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    answer_json(message, web_json(builder));
}

static void answer_jpeg(SoupServerMessage *message, GBytes *jpeg)
{
    if (!jpeg) {
        web_http_refuse(message, SOUP_STATUS_NOT_FOUND, "there is no picture");
        return;
    }
    soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
    soup_server_message_set_response(message, "image/jpeg", SOUP_MEMORY_COPY, g_bytes_get_data(jpeg, NULL),
                                     g_bytes_get_size(jpeg));
}

static void answer_picture(struct web *web, SoupServerMessage *message, const char *id)
{
    guint64 number;
    GBytes *jpeg = NULL;

    if (g_ascii_string_to_unsigned(id, 10, 1, G_MAXUINT64, &number, NULL))
        jpeg = web_history_picture(web->history, number);
    answer_jpeg(message, jpeg);
    if (!jpeg)
        return;
    /* An id means the same picture for as long as the server runs; the page adds when that began. */
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Cache-Control",
                                 "private, max-age=86400, immutable");
    g_bytes_unref(jpeg);
}

/* ---- Changing ------------------------------------------------------------------------------------- */

struct change {
    struct web_settings settings;
    gboolean sets;
    int paused; /* -1: as it is */
    gboolean caption_now;
    const char *model; /* NULL: as it is */
};

/* A name from the list that we gave, and nothing else, becomes the name of a file. */
static gboolean is_model(const struct web *web, const char *name)
{
    GPtrArray *models = web_models(web);
    gboolean found = g_ptr_array_find_with_equal_func(models, name, g_str_equal, NULL);

    g_ptr_array_unref(models);
    return found;
}

static gboolean read_change(struct change *change, const struct web *web, JsonObject *object, char **why)
{
    JsonObjectIter iter;
    const char *key;
    JsonNode *node;

    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &key, &node)) {
        GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_NONE;

        if (strcmp(key, "paused") == 0 || strcmp(key, "caption_now") == 0) {
            if (type != G_TYPE_BOOLEAN) {
                *why = g_strdup_printf("%s: has to be true or false", key);
                return FALSE;
            }
            if (key[0] == 'p')
                change->paused = json_node_get_boolean(node);
            else
                change->caption_now = json_node_get_boolean(node);
        } else if (strcmp(key, "model") == 0) {
            if (type != G_TYPE_STRING || !is_model(web, json_node_get_string(node))) {
                *why = g_strdup("model: has to be one of the names in \"models\"");
                return FALSE;
            }
            change->model = json_node_get_string(node);
        } else if (web_settings_set(&change->settings, key, node, why)) {
            change->sets = TRUE;
        } else {
            return FALSE;
        }
    }
    return TRUE;
}

/* All of a request is done or nothing. */
static void change_source(struct web *web, SoupServerMessage *message, struct web_source *source)
{
    SoupMessageBody *body = soup_server_message_get_request_body(message);
    GBytes *bytes = soup_message_body_flatten(body);
    JsonNode *root = web_json_read(bytes);
    struct change change = { .paused = -1 };
    char *why = NULL;

    g_bytes_unref(bytes);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        web_http_refuse(message, SOUP_STATUS_BAD_REQUEST, "the request is no JSON object");
        if (root)
            json_node_unref(root);
        return;
    }
    web_source_get_settings(&change.settings, source);
    if (!read_change(&change, web, json_node_get_object(root), &why)) {
        web_http_refuse(message, SOUP_STATUS_BAD_REQUEST, "%s", why);
        g_free(why);
    } else {
        if (change.sets)
            web_source_set_settings(source, &change.settings);
        if (change.model) {
            char *path = g_build_filename(web->models, change.model, NULL);

            web_source_set_model(source, path, change.model);
            g_free(path);
        }
        if (change.paused >= 0)
            web_source_pause(source, change.paused);
        if (change.caption_now)
            web_source_caption_now(source);
        answer_json(message, g_strdup("{}"));
    }
    web_settings_clear(&change.settings);
    json_node_unref(root);
    web_live_changed(web->live);
}

/* "/api/sources/N" and "/api/sources/N/picture" */
static gboolean answer_source(struct web *web, SoupServerMessage *message, const char *rest, gboolean posts)
{
    char *end;
    guint64 number = g_ascii_strtoull(rest, &end, 10);

    if (!g_ascii_isdigit(rest[0]) || number >= web->count)
        return FALSE;
    if (posts && end[0] == '\0') {
        change_source(web, message, web->sources[number]);
        return TRUE;
    }
    if (!posts && strcmp(end, "/picture") == 0) {
        struct web_picture picture;

        web_source_picture(&picture, web->sources[number]);
        answer_jpeg(message, picture.jpeg);
        web_picture_clear(&picture);
        return TRUE;
    }
    return FALSE;
}

gboolean web_api_answer(struct web *web, SoupServerMessage *message, const char *path, GHashTable *query)
{
    gboolean posts = soup_server_message_get_method(message) == SOUP_METHOD_POST;

    if (g_str_has_prefix(path, "/api/sources/"))
        return answer_source(web, message, path + strlen("/api/sources/"), posts);
    if (posts)
        return FALSE;
    if (strcmp(path, "/api/state") == 0)
        answer_json(message, web_api_state(web));
    else if (strcmp(path, "/api/history") == 0)
        answer_history(web, message, query);
    else if (strcmp(path, "/api/timeline") == 0)
        answer_timeline(web, message, query);
    else if (strcmp(path, "/api/captions.vtt") == 0)
        answer_download(web, message, query, TRUE);
    else if (strcmp(path, "/api/captions.json") == 0)
        answer_download(web, message, query, FALSE);
    else if (g_str_has_prefix(path, "/api/pictures/"))
        answer_picture(web, message, path + strlen("/api/pictures/"));
    else
        return FALSE;
    return TRUE;
}
