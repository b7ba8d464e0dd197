/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.h - JSON from and to strings.
 */
#ifndef WEB_JSON_H
#define WEB_JSON_H

#include <json-glib/json-glib.h>

/* What was built, as a string to be freed. Takes the builder. */
char *web_json(JsonBuilder *builder);

/* NULL: it is no JSON in UTF-8, or has a hundred brackets. Else to be unreffed. */
JsonNode *web_json_read(GBytes *bytes);

/* {"name": ...} */
void web_json_text(JsonBuilder *builder, const char *name, const char *text);
void web_json_number(JsonBuilder *builder, const char *name, double number);
void web_json_int(JsonBuilder *builder, const char *name, gint64 number);

#endif
