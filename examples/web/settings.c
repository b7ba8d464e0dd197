/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * settings.c - one table of settings, which the API, the page and the element go by.
 */
#include "settings.h"

#include <math.h>
#include <string.h>

static GType type_string(void)
{
    return G_TYPE_STRING;
}

static GType type_double(void)
{
    return G_TYPE_DOUBLE;
}

static GType type_uint(void)
{
    return G_TYPE_UINT;
}

/* A blocklist is not here: "@FILE" would read a file. `usual` is what the default means; `help` is for viewers. */
static const struct {
    const char *key, *property, *label;
    GType (*type)(void);
    double least, most; /* of numbers */
    const char *usual, *help;
} table[WEB_SETTINGS] = {
    { "prompt", "prompt", "Prompt", type_string, 0, 0, "the model's own",
      "Words that captions go on from: a photo of" },
    { "interval", "interval-seconds", "Interval", type_double, 0, 86400, "1",
      "Seconds between captions; 0: as many as there can be" },
    { "min_score", "min-score", "Minimum score", type_double, -100, 0, "the model's own",
      "Captions that score below it are not shown, or replaced by a cautious one" },
    { "scene_threshold", "scene-threshold", "Scene threshold", type_double, 0, 1, "0.005",
      "The share of the picture that has to change before there is a new caption" },
    { "cut_threshold", "cut-threshold", "Cut threshold", type_double, 0, 1, "0.5",
      "The share that changes at once where the scene is cut" },
    { "switch_margin", "switch-margin", "Switch margin", type_double, 0, 10, "0.1",
      "How much better a caption has to score to replace the one before" },
    { "caption_hold", "caption-hold-seconds", "Caption hold", type_double, 0, 3600, "1.5",
      "Seconds that a caption stays at least" },
    { "max_length", "max-length", "Longest caption", type_uint, 1, 128, "32",
      "In tokens, which are words or parts of words" },
};

static GObjectClass *element_class(void)
{
    static GObjectClass *loaded; /* a class stays where it is once it is loaded */
    GstElementFactory *factory;

    if (loaded)
        return loaded;
    factory = gst_element_factory_find("palmecaption");
    if (!factory)
        return NULL;
    GstPluginFeature *feature = gst_plugin_feature_load(GST_PLUGIN_FEATURE(factory));
    gst_object_unref(factory);
    if (!feature)
        return NULL;
    loaded = g_type_class_ref(gst_element_factory_get_element_type(GST_ELEMENT_FACTORY(feature)));
    gst_object_unref(feature);
    return loaded;
}

static GParamSpec *pspec_of(guint i)
{
    return g_object_class_find_property(element_class(), table[i].property);
}

gboolean web_settings_init(struct web_settings *settings)
{
    guint i;

    memset(settings, 0, sizeof *settings);
    if (!element_class())
        return FALSE;
    for (i = 0; i < WEB_SETTINGS; i++) {
        g_value_init(&settings->values[i], table[i].type());
        g_param_value_set_default(pspec_of(i), &settings->values[i]);
    }
    return TRUE;
}

void web_settings_copy(struct web_settings *to, const struct web_settings *from)
{
    guint i;

    memset(to, 0, sizeof *to);
    for (i = 0; i < WEB_SETTINGS; i++) {
        g_value_init(&to->values[i], G_VALUE_TYPE(&from->values[i]));
        g_value_copy(&from->values[i], &to->values[i]);
    }
}

void web_settings_clear(struct web_settings *settings)
{
    guint i;

    for (i = 0; i < WEB_SETTINGS; i++)
        g_value_unset(&settings->values[i]);
}

static gboolean set_text(GValue *value, const char *key, JsonNode *node, char **why)
{
    const char *text;

    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING) {
        *why = g_strdup_printf("%s: has to be a string or null", key);
        return FALSE;
    }
    text = json_node_get_string(node);
    if (strlen(text) > WEB_PROMPT_BYTES || !g_utf8_validate(text, -1, NULL)) {
        *why = g_strdup_printf("%s: at most %d bytes of UTF-8 are allowed", key, WEB_PROMPT_BYTES);
        return FALSE;
    }
    g_value_set_string(value, text);
    return TRUE;
}

static gboolean set_number(GValue *value, guint i, JsonNode *node, char **why)
{
    GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_NONE;
    gboolean whole = G_VALUE_HOLDS_UINT(value);
    double number;

    if (type != G_TYPE_DOUBLE && type != G_TYPE_INT64) {
        *why = g_strdup_printf("%s: has to be a number or null", table[i].key);
        return FALSE;
    }
    number = json_node_get_double(node);
    if (!(number >= table[i].least && number <= table[i].most) || (whole && floor(number) != number)) {
        *why = g_strdup_printf("%s: has to be %s from %g to %g", table[i].key, whole ? "a whole number" : "a number",
                               table[i].least, table[i].most);
        return FALSE;
    }
    if (whole)
        g_value_set_uint(value, (guint)number);
    else
        g_value_set_double(value, number);
    return TRUE;
}

gboolean web_settings_set(struct web_settings *settings, const char *key, JsonNode *node, char **why)
{
    guint i;

    for (i = 0; i < WEB_SETTINGS && strcmp(table[i].key, key); i++)
        ;
    if (i == WEB_SETTINGS) {
        *why = g_strdup_printf("\"%s\" is no setting", key);
        return FALSE;
    }
    if (JSON_NODE_HOLDS_NULL(node)) {
        g_param_value_set_default(pspec_of(i), &settings->values[i]);
        return TRUE;
    }
    if (G_VALUE_HOLDS_STRING(&settings->values[i]))
        return set_text(&settings->values[i], key, node, why);
    return set_number(&settings->values[i], i, node, why);
}

void web_settings_apply(const struct web_settings *settings, GstElement *element)
{
    guint i;

    for (i = 0; i < WEB_SETTINGS; i++) {
        GValue now = G_VALUE_INIT;

        g_value_init(&now, G_VALUE_TYPE(&settings->values[i]));
        g_object_get_property(G_OBJECT(element), table[i].property, &now);
        if (gst_value_compare(&now, &settings->values[i]) != GST_VALUE_EQUAL)
            g_object_set_property(G_OBJECT(element), table[i].property, &settings->values[i]);
        g_value_unset(&now);
    }
}

void web_settings_describe(JsonBuilder *builder, const struct web_settings *settings)
{
    guint i;

    json_builder_begin_object(builder);
    for (i = 0; i < WEB_SETTINGS; i++) {
        const GValue *value = &settings->values[i];

        json_builder_set_member_name(builder, table[i].key);
        if (g_param_value_defaults(pspec_of(i), value))
            json_builder_add_null_value(builder);
        else if (G_VALUE_HOLDS_STRING(value))
            json_builder_add_string_value(builder, g_value_get_string(value));
        else if (G_VALUE_HOLDS_UINT(value))
            json_builder_add_int_value(builder, g_value_get_uint(value));
        else
            json_builder_add_double_value(builder, g_value_get_double(value));
    }
    json_builder_end_object(builder);
}

void web_settings_describe_kinds(JsonBuilder *builder)
{
    guint i;

    json_builder_begin_array(builder);
    for (i = 0; i < WEB_SETTINGS; i++) {
        GType type = table[i].type();

        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "key");
        json_builder_add_string_value(builder, table[i].key);
        json_builder_set_member_name(builder, "label");
        json_builder_add_string_value(builder, table[i].label);
        json_builder_set_member_name(builder, "help");
        json_builder_add_string_value(builder, table[i].help);
        json_builder_set_member_name(builder, "usual");
        json_builder_add_string_value(builder, table[i].usual);
        json_builder_set_member_name(builder, "kind");
        json_builder_add_string_value(builder, type == G_TYPE_STRING ? "text"
                                               : type == G_TYPE_UINT ? "whole"
                                                                     : "number");
        if (type != G_TYPE_STRING) {
            json_builder_set_member_name(builder, "least");
            json_builder_add_double_value(builder, table[i].least);
            json_builder_set_member_name(builder, "most");
            json_builder_add_double_value(builder, table[i].most);
        }
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
}
