/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.c - JSON by jansson, which recurses into nested values and takes some 80 times the size of a text that
 * is nothing but brackets: a scan bounds depth and number of the values first.
 */
#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DEPTH = 16,
    BYTES_EACH = 8,  /* of text for each object or array; the tightest real ones are merges, ["a","b"], */
    FREE_CONTAINERS = 64
};

/* What is wrong with the brackets outside of strings, or NULL. It judges nothing else: text that is no JSON
 * may pass, and the parser refuses it at the place where it goes wrong. */
static const char *bracket_problem(const char *text, size_t length)
{
    size_t containers = 0;
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
            containers++;
            if (++depth > MAX_DEPTH)
                return "JSON is nested more than 16 deep";
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    if (containers > FREE_CONTAINERS && containers > length / BYTES_EACH)
        return "JSON has more objects and arrays than a model file can need";
    return NULL;
}

/* jansson 2.14 writes out of bounds where the buffer of a long string cannot grow, so memory for the worst
 * is asked for, and given back, before it starts. */
static int memory_is_there(size_t length)
{
    void *probe = length < SIZE_MAX / 32 ? malloc(32 * length + 65536) : NULL;
    int is = probe != NULL;

    free(probe);
    return is;
}

int palme_json_load(json_t **root, const char *text, size_t length, const char *what,
                    const struct palme_report *report)
{
    json_error_t error;
    struct palme_shown shown;

    *root = NULL;
    const char *problem = bracket_problem(text, length);
    if (problem)
        return palme_fail(report, PALME_ERROR_FORMAT, "%s: %s", what, problem);
    if (!memory_is_there(length))
        return palme_fail(report, PALME_ERROR_MEMORY, "%s: not enough memory", what);
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
