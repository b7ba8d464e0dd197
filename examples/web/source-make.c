/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source-make.c - a source is made of the words of a command line, described, and ended.
 */
#include "source-private.h"

#include <math.h>
#include <string.h>

/* ---- What the page shows ------------------------------------------------------------------------ */

const char *web_source_name(const struct web_source *source)
{
    return source->name;
}

guint web_source_version(struct web_source *source)
{
    guint version;

    g_mutex_lock(&source->lock);
    version = source->version;
    g_mutex_unlock(&source->lock);
    return version;
}

guint64 web_source_serial(struct web_source *source)
{
    guint64 serial;

    g_mutex_lock(&source->lock);
    serial = source->picture.serial;
    g_mutex_unlock(&source->lock);
    return serial;
}

void web_source_picture(struct web_picture *picture, struct web_source *source)
{
    g_mutex_lock(&source->lock);
    *picture = source->picture;
    if (picture->jpeg)
        g_bytes_ref(picture->jpeg);
    picture->caption = g_strdup(picture->caption ? picture->caption : "");
    g_mutex_unlock(&source->lock);
}

void web_picture_clear(struct web_picture *picture)
{
    g_clear_pointer(&picture->jpeg, g_bytes_unref);
    g_clear_pointer(&picture->caption, g_free);
}

/* Numbers and words of a structure, whatever it has. */
static void add_structure(JsonBuilder *builder, const char *member, GstElement *element, const char *property)
{
    GstStructure *s = NULL;
    int i, n;

    if (element)
        g_object_get(element, property, &s, NULL);
    json_builder_set_member_name(builder, member);
    json_builder_begin_object(builder);
    n = s ? gst_structure_n_fields(s) : 0;
    for (i = 0; i < n; i++) {
        const char *name = gst_structure_nth_field_name(s, (guint)i);
        const GValue *value = gst_structure_get_value(s, name);
        GValue number = G_VALUE_INIT;

        g_value_init(&number, G_TYPE_DOUBLE);
        if (G_VALUE_HOLDS_STRING(value)) {
            json_builder_set_member_name(builder, name);
            json_builder_add_string_value(builder, g_value_get_string(value));
        } else if (g_value_transform(value, &number) && isfinite(g_value_get_double(&number))) {
            json_builder_set_member_name(builder, name);
            json_builder_add_double_value(builder, g_value_get_double(&number));
        }
        g_value_unset(&number);
    }
    json_builder_end_object(builder);
    if (s)
        gst_structure_free(s);
}

void web_source_describe(JsonBuilder *builder, struct web_source *source)
{
    static const char *const states[] = { "starting", "playing", "paused", "lost", "ended" };
    GstElement *caption;

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "number");
    json_builder_add_int_value(builder, source->options.number);
    json_builder_set_member_name(builder, "name");
    json_builder_add_string_value(builder, source->name);
    g_mutex_lock(&source->lock);
    caption = source->caption ? gst_object_ref(source->caption) : NULL;
    json_builder_set_member_name(builder, "state");
    json_builder_add_string_value(builder, states[source->state]);
    json_builder_set_member_name(builder, "message");
    json_builder_add_string_value(builder, source->message ? source->message : "");
    json_builder_set_member_name(builder, "paused");
    json_builder_add_boolean_value(builder, source->pause);
    json_builder_set_member_name(builder, "attempts");
    json_builder_add_int_value(builder, source->attempts);
    json_builder_set_member_name(builder, "width");
    json_builder_add_int_value(builder, source->picture.width);
    json_builder_set_member_name(builder, "height");
    json_builder_add_int_value(builder, source->picture.height);
    json_builder_set_member_name(builder, "model");
    json_builder_add_string_value(builder, source->model_name ? source->model_name : "");
    json_builder_set_member_name(builder, "settings");
    web_settings_describe(builder, &source->settings);
    g_mutex_unlock(&source->lock);
    add_structure(builder, "model-info", caption, "model-info");
    add_structure(builder, "stats", caption, "stats");
    json_builder_end_object(builder);
    if (caption)
        gst_object_unref(caption);
}

/* ---- Making and ending it ----------------------------------------------------------------------- */

/* The name in front of "NAME=SPEC", or NULL. *spec goes on behind it. */
static char *cut_name(const char **spec)
{
    size_t n = strspn(*spec, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-");
    char *name;

    if (n == 0 || n > 60 || (*spec)[n] != '=' || g_file_test(*spec, G_FILE_TEST_EXISTS))
        return NULL;
    name = g_strndup(*spec, n);
    *spec += n + 1;
    return name;
}

/* An address: called by its host and path, never by its password. */
static gboolean read_address(struct web_source *source, const char *spec, char **why)
{
    GError *error = NULL;
    GUri *uri = g_uri_parse(spec, G_URI_FLAGS_PARSE_RELAXED | G_URI_FLAGS_ENCODED, &error);

    if (!uri) {
        *why = g_strdup(error->message);
        g_error_free(error);
        return FALSE;
    }
    source->kind = WEB_ADDRESS;
    source->what = g_strdup(spec);
    if (g_uri_get_userinfo(uri))
        source->secret = g_strdup_printf("%s@", g_uri_get_userinfo(uri));
    if (!source->name)
        source->name = g_strconcat(g_uri_get_host(uri) ? g_uri_get_host(uri) : "", g_uri_get_path(uri), NULL);
    g_uri_unref(uri);
    return TRUE;
}

static gboolean read_file(struct web_source *source, const char *spec, char **why)
{
    char *path = g_canonicalize_filename(spec, NULL);

    if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
        *why = g_strdup_printf("%s", g_file_test(path, G_FILE_TEST_EXISTS) ? "it is no file" : "there is no such file");
        g_free(path);
        return FALSE;
    }
    source->kind = WEB_FILE;
    source->what = g_filename_to_uri(path, NULL, NULL);
    if (!source->name)
        source->name = g_filename_display_basename(path);
    g_free(path);
    return TRUE;
}

static gboolean read_spec(struct web_source *source, const char *spec, char **why)
{
    static const struct {
        const char *word, *called;
        enum web_kind kind;
    } kinds[] = { { "camera", "Camera", WEB_CAMERA }, { "test", "Test picture", WEB_TEST } };
    const char *whole = spec;
    gboolean fine = TRUE;
    guint i;

    source->name = cut_name(&spec);
    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        size_t n = strlen(kinds[i].word);

        if (strncmp(spec, kinds[i].word, n) || (spec[n] != '\0' && spec[n] != ':'))
            continue;
        source->kind = kinds[i].kind;
        source->what = spec[n] && spec[n + 1] ? g_strdup(spec + n + 1) : NULL;
        if (!source->name)
            source->name =
                source->what ? g_strdup_printf("%s %s", kinds[i].called, source->what) : g_strdup(kinds[i].called);
        return TRUE;
    }
    if (g_str_has_prefix(spec, "pipeline:")) {
        source->kind = WEB_PIPELINE;
        source->what = g_strdup(spec + strlen("pipeline:"));
        if (!source->name)
            source->name = g_strdup("Pipeline");
    } else if (strstr(spec, "://") && !g_str_has_prefix(spec, "file:")) {
        fine = read_address(source, spec, why);
    } else {
        char *path = g_str_has_prefix(spec, "file:") ? g_filename_from_uri(spec, NULL, NULL) : g_strdup(spec);

        fine = read_file(source, path ? path : spec, why);
        g_free(path);
    }
    if (!fine) {
        char *sentence = g_strdup_printf("%s: %s", whole, *why);

        g_free(*why);
        *why = sentence;
    }
    return fine;
}

static void source_destroy(struct web_source *source)
{
    web_settings_clear(&source->settings);
    web_settings_clear(&source->options.settings);
    web_picture_clear(&source->picture);
    g_free(source->name);
    g_free(source->what);
    g_free(source->secret);
    g_free(source->first_model);
    g_free(source->message);
    g_free(source->model);
    g_free(source->model_name);
    g_mutex_clear(&source->lock);
    g_cond_clear(&source->woken);
    g_free(source);
}

struct web_source *web_source_new(const struct web_source_options *options, char **why)
{
    struct web_source *source = g_new0(struct web_source, 1);
    GstElement *caption, *pipeline;

    g_mutex_init(&source->lock);
    g_cond_init(&source->woken);
    source->options = *options;
    web_settings_copy(&source->options.settings, &options->settings);
    web_settings_copy(&source->settings, &options->settings);
    source->first_model = g_strdup(options->model);
    if (!read_spec(source, options->spec, why)) {
        source_destroy(source);
        return NULL;
    }
    char *valid = g_utf8_make_valid(source->name, -1);
    g_free(source->name);
    source->name = valid;
    /* What cannot be built now can never be: elements are missing, or a description is wrong. */
    pipeline = web_pipeline_new(&caption, source, why);
    if (!pipeline) {
        source_destroy(source);
        return NULL;
    }
    gst_object_unref(caption);
    gst_object_unref(pipeline);
    return source;
}

void web_source_start(struct web_source *source)
{
    source->thread = g_thread_new("source", web_source_run, source);
}

void web_source_stop(struct web_source *source)
{
    g_mutex_lock(&source->lock);
    source->stop = TRUE;
    web_source_wake(source);
    g_mutex_unlock(&source->lock);
}

gboolean web_source_free(struct web_source *source, guint seconds)
{
    gint64 until = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;

    if (source->thread) {
        web_source_stop(source);
        g_mutex_lock(&source->lock);
        while (!source->done)
            if (!g_cond_wait_until(&source->woken, &source->lock, until))
                break;
        gboolean done = source->done;
        g_mutex_unlock(&source->lock);
        if (!done)
            return FALSE;
        g_thread_join(source->thread);
    }
    source_destroy(source);
    return TRUE;
}
