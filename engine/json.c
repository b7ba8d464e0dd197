/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.c - JSON by jansson, which recurses into nested values: a scan bounds their depth first.
 */
#include "json.h"

#include <string.h>

enum { MAX_DEPTH = 16 };

/* Whether brackets outside of strings nest at most MAX_DEPTH deep. It judges nothing else: text
 * that is no JSON may pass, and the parser refuses it at the place where it goes wrong. */
static int is_shallow(const char *text, size_t length)
{
    int depth = 0, in_string = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH)
                return 0;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return 1;
}

int palme_json_load(json_t **root, const char *text, size_t length, const char *what,
                    const struct palme_report *report)
{
    json_error_t error;
    struct palme_shown shown;

    *root = NULL;
    if (!is_shallow(text, length))
        return palme_fail(report, PALME_ERROR_FORMAT, "%s: JSON is nested more than %d deep", what,
                          MAX_DEPTH);
    memset(&error, 0, sizeof error);
    *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!*root) {
        /* Where jansson cannot allocate it may say so, or nothing. */
        if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0')
            return palme_fail(report, PALME_ERROR_MEMORY, "%s: not enough memory", what);
        return palme_fail(report, PALME_ERROR_FORMAT, "%s: not valid JSON at byte %d: %s", what,
                          error.position, palme_show(&shown, error.text, strlen(error.text)));
    }
    if (!json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        return palme_fail(report, PALME_ERROR_FORMAT, "%s: not a JSON object", what);
    }
    return PALME_OK;
}
