/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.c - JSON from and to strings, by json-glib.
 */
#include "json.h"

#include <math.h>

enum { MOST_BRACKETS = 100 };

char *web_json(JsonBuilder *builder)
{
    JsonNode *root = json_builder_get_root(builder);
    char *text = json_to_string(root, FALSE);

    json_node_unref(root);
    g_object_unref(builder);
    return text;
}

/* The parser calls itself at each bracket, so text with more of them than ours ever has does not get to it. Those in
 * strings and comments count, too: to tell them apart would be to parse. */
static gboolean has_few_brackets(const char *text, gsize size)
{
    guint brackets = 0;
    gsize i;

    for (i = 0; i < size; i++)
        brackets += text[i] == '[' || text[i] == '{';
    return brackets <= MOST_BRACKETS;
}

JsonNode *web_json_read(GBytes *bytes)
{
    gsize size = 0;
    const char *text = bytes ? g_bytes_get_data(bytes, &size) : NULL;
    JsonParser *parser;
    JsonNode *root = NULL;

    if (!text || size == 0 || !g_utf8_validate(text, (gssize)size, NULL) || !has_few_brackets(text, size))
        return NULL;
    parser = json_parser_new_immutable();
    if (json_parser_load_from_data(parser, text, (gssize)size, NULL))
        root = json_parser_steal_root(parser);
    g_object_unref(parser);
    return root;
}

void web_json_text(JsonBuilder *builder, const char *name, const char *text)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_string_value(builder, text);
}

void web_json_number(JsonBuilder *builder, const char *name, double number)
{
    json_builder_set_member_name(builder, name);
    if (isfinite(number))
        json_builder_add_double_value(builder, number);
    else
        json_builder_add_null_value(builder);
}

void web_json_int(JsonBuilder *builder, const char *name, gint64 number)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_int_value(builder, number);
}
