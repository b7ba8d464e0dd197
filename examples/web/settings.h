/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * settings.h - what viewers may set of palmecaption: which properties, between which limits. Everything else,
 * and every name of a file, is the operator's.
 */
#ifndef WEB_SETTINGS_H
#define WEB_SETTINGS_H

#include <gst/gst.h>
#include <json-glib/json-glib.h>

enum { WEB_SETTINGS = 8, WEB_PROMPT_BYTES = 1000 };

struct web_settings {
    GValue values[WEB_SETTINGS]; /* in the order of the table in settings.c */
};

/* The element's own defaults. FALSE: there is no element palmecaption. */
gboolean web_settings_init(struct web_settings *settings);
void web_settings_copy(struct web_settings *to, const struct web_settings *from);
void web_settings_clear(struct web_settings *settings);

/* Sets what `key` names to the value of `node`, null meaning the default. FALSE: nothing is changed, and *why is a
 * sentence that names the key; free it. */
gboolean web_settings_set(struct web_settings *settings, const char *key, JsonNode *node, char **why);

void web_settings_apply(const struct web_settings *settings, GstElement *element);

/* An object with a member for each setting; null where it is the default. */
void web_settings_describe(JsonBuilder *builder, const struct web_settings *settings);
/* An array that tells a page which inputs to make: key, label, kind, limits, help. */
void web_settings_describe_kinds(JsonBuilder *builder);

#endif
