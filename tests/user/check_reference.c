/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_reference.c - docs/reference.md says what the elements have, no more and no less: properties with type,
 * default, range and when they may be set, signals with their arguments, pads with their caps, and the fields of
 * message, metadata and the structures that are properties.
 *
 *     check_reference docs/reference.md
 *
 * The page has a table below each heading, with a name between backquotes in the first column. What a failure prints is
 * the row as it should begin. The last column is for people and is not compared, but for the words "built with" and
 * "only with": what such a row tells may be absent.
 */
#include <gst/gst.h>
#include <string.h>

#include "support/check.h"

static GPtrArray *lines; /* of the page */

/* The row without its last column, which tells what it means: "`name` | type | ...". */
static char *row_of(const char *line, gboolean *optional)
{
    const char *end = strlen(line) > 4 ? g_strrstr_len(line, (gssize)strlen(line) - 2, " | ") : NULL;

    *optional = end && (strstr(end, "built with") || strstr(end, "only with"));
    return end ? g_strndup(line + 2, (gsize)(end - line - 2)) : g_strdup(line);
}

/* Compares the table below the heading with the rows that should be there; takes them. */
static void compare(const char *heading, GHashTable *wanted)
{
    GHashTableIter iter;
    gboolean inside = FALSE, found = FALSE;
    gpointer row;

    for (guint i = 0; i < lines->len; i++) {
        const char *line = lines->pdata[i];

        if (line[0] == '#') {
            inside = strcmp(line + strspn(line, "# "), heading) == 0;
            found |= inside;
        } else if (inside && g_str_has_prefix(line, "| `")) {
            gboolean optional;
            char *said = row_of(line, &optional);
            gboolean known = g_hash_table_remove(wanted, said);

            CHECK_MESSAGE(known || optional, "%s: the page says what is not so: | %s |", heading, said);
            g_free(said);
        }
    }
    CHECK_MESSAGE(found, "the page has no heading \"%s\"", heading);
    g_hash_table_iter_init(&iter, wanted);
    while (g_hash_table_iter_next(&iter, &row, NULL))
        CHECK_MESSAGE(FALSE, "%s: the page lacks: | %s | ... |", heading, (const char *)row);
    g_hash_table_destroy(wanted);
}

static GHashTable *rows_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

/* ---- Properties -------------------------------------------------------------------------------- */

static const char *type_name(GType type)
{
    if (G_TYPE_IS_ENUM(type))
        return "enum";
    if (type == G_TYPE_STRING)
        return "string";
    if (type == GST_TYPE_STRUCTURE)
        return "structure";
    if (type == GST_TYPE_ARRAY)
        return "array";
    if (type == G_TYPE_BOOLEAN)
        return "boolean";
    if (type == G_TYPE_UINT64)
        return "uint64";
    return g_str_has_prefix(g_type_name(type), "g") ? g_type_name(type) + 1 : g_type_name(type);
}

/* Takes a number and returns it, the two largest ones as people write them. */
static char *readable(char *number)
{
    static const char *const names[][2] = { { "18446744073709551615", "2^64-1" }, { "4294967295", "2^32-1" } };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(number, names[i][0]) == 0) {
            g_free(number);
            return g_strdup(names[i][1]);
        }
    }
    return number;
}

static char *shown(const GValue *value)
{
    GType type = G_VALUE_TYPE(value);

    if (G_TYPE_IS_ENUM(type)) {
        GEnumClass *class = g_type_class_ref(type);
        char *nick = g_strdup(g_enum_get_value(class, g_value_get_enum(value))->value_nick);

        g_type_class_unref(class);
        return nick;
    }
    if (type == G_TYPE_DOUBLE)
        return g_strdup_printf("%g", g_value_get_double(value));
    if (G_VALUE_HOLDS_BOXED(value) || (G_VALUE_HOLDS_STRING(value) && !g_value_get_string(value)))
        return g_strdup("NULL");
    return readable(g_strdup_value_contents(value));
}

static char *span(char *least, char *most)
{
    char *text = g_strconcat(least, " to ", most, NULL);

    g_free(least);
    g_free(most);
    return text;
}

/* "least to most", the values of an enum, or "-". */
static char *range_of(GParamSpec *spec)
{
    if (G_IS_PARAM_SPEC_UINT(spec))
        return span(g_strdup_printf("%u", G_PARAM_SPEC_UINT(spec)->minimum),
                    readable(g_strdup_printf("%u", G_PARAM_SPEC_UINT(spec)->maximum)));
    if (G_IS_PARAM_SPEC_UINT64(spec))
        return span(g_strdup_printf("%" G_GUINT64_FORMAT, G_PARAM_SPEC_UINT64(spec)->minimum),
                    readable(g_strdup_printf("%" G_GUINT64_FORMAT, G_PARAM_SPEC_UINT64(spec)->maximum)));
    if (G_IS_PARAM_SPEC_DOUBLE(spec))
        return span(g_strdup_printf("%g", G_PARAM_SPEC_DOUBLE(spec)->minimum),
                    g_strdup_printf("%g", G_PARAM_SPEC_DOUBLE(spec)->maximum));
    if (G_IS_PARAM_SPEC_ENUM(spec)) {
        GEnumClass *class = G_PARAM_SPEC_ENUM(spec)->enum_class;
        GString *nicks = g_string_new(NULL);

        for (guint i = 0; i < class->n_values; i++)
            g_string_append_printf(nicks, "%s%s", i ? ", " : "", class->values[i].value_nick);
        return g_string_free(nicks, FALSE);
    }
    return g_strdup("-");
}

static const char *when_set(GParamSpec *spec)
{
    if (!(spec->flags & G_PARAM_WRITABLE))
        return "read only";
    if (spec->flags & GST_PARAM_CONTROLLABLE)
        return "any time, controllable";
    return spec->flags & GST_PARAM_MUTABLE_PLAYING ? "any time" : "before PAUSED";
}

static void check_properties(GstElement *element, const char *name)
{
    char *heading = g_strdup_printf("Properties of %s", name);
    GHashTable *wanted = rows_new();
    guint count;
    GParamSpec **specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(element), &count);

    for (guint i = 0; i < count; i++) {
        char *value = shown(g_param_spec_get_default_value(specs[i]));
        char *range = range_of(specs[i]);

        if (specs[i]->owner_type == G_OBJECT_TYPE(element))
            g_hash_table_add(wanted,
                             g_strdup_printf("`%s` | %s | %s | %s | %s", specs[i]->name,
                                             type_name(specs[i]->value_type), value, range, when_set(specs[i])));
        g_free(range);
        g_free(value);
    }
    g_free(specs);
    compare(heading, wanted);
    g_free(heading);
}

/* ---- Signals and pads --------------------------------------------------------------------------- */

static void check_signals(GstElement *element)
{
    GHashTable *wanted = rows_new();
    guint count;
    guint *ids = g_signal_list_ids(G_OBJECT_TYPE(element), &count);

    for (guint i = 0; i < count; i++) {
        GString *row = g_string_new(NULL);
        GSignalQuery query;

        g_signal_query(ids[i], &query);
        g_string_printf(row, "`%s` | %s |", query.signal_name,
                        query.signal_flags & G_SIGNAL_ACTION ? "action" : "tells");
        for (guint k = 0; k < query.n_params; k++)
            g_string_append_printf(row, "%s %s", k ? "," : "", type_name(query.param_types[k]));
        g_string_append(row, query.n_params ? "" : " -");
        g_hash_table_add(wanted, g_string_free(row, FALSE));
    }
    g_free(ids);
    compare("Signals", wanted);
}

static void check_pads(void)
{
    static const char *const names[] = { "palmecaption", "palmecea608", "palmettml" };
    static const char *const presences[] = { "always", "sometimes", "request" };
    GHashTable *wanted = rows_new();

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        GstElementFactory *factory = gst_element_factory_find(names[i]);

        for (const GList *item = gst_element_factory_get_static_pad_templates(factory); item; item = item->next) {
            const GstStaticPadTemplate *template = item->data;
            GstCaps *caps = gst_static_caps_get((GstStaticCaps *)&template->static_caps);
            const char *media = gst_structure_get_name(gst_caps_get_structure(caps, 0));

            g_hash_table_add(wanted, g_strdup_printf("`%s` | %s | %s | `%s`", template->name_template, names[i],
                                                     presences[template->presence], media));
            gst_caps_unref(caps);
        }
        gst_object_unref(factory);
    }
    compare("Pads", wanted);
}

/* ---- Structures ---------------------------------------------------------------------------------- */

static void check_structure(const char *heading, const GstStructure *structure)
{
    GHashTable *wanted = rows_new();

    CHECK_MESSAGE(structure != NULL, "%s: there is none", heading);
    for (int i = 0; structure && i < gst_structure_n_fields(structure); i++) {
        const char *name = gst_structure_nth_field_name(structure, (guint)i);

        g_hash_table_add(wanted,
                         g_strdup_printf("`%s` | %s", name, type_name(gst_structure_get_field_type(structure, name))));
    }
    compare(heading, wanted);
}

static GstPadProbeReturn frame_passes(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    GstCustomMeta *meta = gst_buffer_get_custom_meta(GST_PAD_PROBE_INFO_BUFFER(info), "GstPalmeCaptionMeta");
    GstStructure **fields = user;

    (void)pad;
    if (meta && !*fields)
        *fields = gst_structure_copy(gst_custom_meta_get_structure(meta));
    return GST_PAD_PROBE_OK;
}

/* What two frames through the element leave behind. */
static void check_stream(void)
{
    static const char *const properties[] = { "stats", "model-info", "last-labels" };
    GstElement *pipeline = gst_parse_launch("videotestsrc num-buffers=2 ! palmecaption name=c ! fakesink name=s", NULL);
    GstElement *element = gst_bin_get_by_name(GST_BIN(pipeline), "c");
    GstElement *sink = gst_bin_get_by_name(GST_BIN(pipeline), "s");
    GstPad *pad = gst_element_get_static_pad(sink, "sink");
    GstBus *bus = gst_element_get_bus(pipeline);
    GstStructure *fields = NULL;
    GstMessage *message;

    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, frame_passes, &fields, NULL);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    message = gst_bus_timed_pop_filtered(bus, 120 * GST_SECOND, GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR);
    CHECK_MESSAGE(message && GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT, "no caption message");
    check_structure("The message palmecaption", message ? gst_message_get_structure(message) : NULL);
    g_clear_pointer(&message, gst_message_unref);
    message = gst_bus_timed_pop_filtered(bus, 120 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    CHECK_MESSAGE(message && GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS, "the stream does not end");
    g_clear_pointer(&message, gst_message_unref);
    check_structure("The metadata GstPalmeCaptionMeta", fields);
    g_clear_pointer(&fields, gst_structure_free);
    for (guint i = 0; i < G_N_ELEMENTS(properties); i++) {
        char *heading = g_strdup_printf("The property %s", properties[i]);

        g_object_get(element, properties[i], &fields, NULL);
        check_structure(heading, fields);
        g_clear_pointer(&fields, gst_structure_free);
        g_free(heading);
    }
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(bus);
    gst_object_unref(pad);
    gst_object_unref(sink);
    gst_object_unref(element);
    gst_object_unref(pipeline);
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "palmecaption", "palmecea608", "palmettml" };
    char *text, **split;

    gst_init(&argc, &argv);
    if (argc != 2 || !g_file_get_contents(argv[1], &text, NULL, NULL)) {
        g_printerr("usage: check_reference docs/reference.md\n");
        return 1;
    }
    split = g_strsplit(text, "\n", -1);
    lines = g_ptr_array_new();
    for (guint i = 0; split[i]; i++)
        g_ptr_array_add(lines, split[i]);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        GstElement *element = gst_element_factory_make(names[i], NULL);

        CHECK_MESSAGE(element != NULL, "no element %s", names[i]);
        if (!element)
            return check_done();
        check_properties(element, names[i]);
        if (i == 0)
            check_signals(element);
        gst_object_unref(element);
    }
    check_pads();
    check_stream();
    g_ptr_array_free(lines, TRUE);
    g_strfreev(split);
    g_free(text);
    return check_done();
}
