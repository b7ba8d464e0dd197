/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fields.c - keys of a JSON object into members of a struct, by tables.
 */
#include "nn/fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PROMPT = 4096, /* bytes, as in palme_prompt */
    SHOWN_UNKNOWN = 5  /* unknown keys that are named before they are only counted */
};

static const char *json_kind(const struct palme_json *value)
{
    switch (value->kind) {
    case PALME_JSON_OBJECT: return "an object";
    case PALME_JSON_ARRAY: return "an array";
    case PALME_JSON_STRING: return "a string";
    case PALME_JSON_INTEGER: return "an integer";
    case PALME_JSON_REAL: return "a real number";
    case PALME_JSON_NULL: return "null";
    default: return "a boolean";
    }
}

int palme_keys_wrong_kind(const struct palme_keys *keys, const char *key, const struct palme_json *value,
                          const char *wanted)
{
    return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s must be %s, and is %s", keys->path, key, wanted,
                      json_kind(value));
}

static int take_integer(int *out, const struct palme_keys *keys, const char *key, const struct palme_json *value,
                        int least, int most)
{
    int64_t found = palme_json_integer(value);

    if (!palme_json_is(value, PALME_JSON_INTEGER))
        return palme_keys_wrong_kind(keys, key, value, "an integer");
    if (found < least || found > most)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is %lld; %d to %d are allowed", keys->path, key,
                          (long long)found, least, most);
    *out = (int)found;
    return PALME_OK;
}

static int take_number(double *out, const struct palme_keys *keys, const char *key, const struct palme_json *value,
                       double least, double most)
{
    double found = palme_json_number(value);

    if (!palme_json_is_number(value))
        return palme_keys_wrong_kind(keys, key, value, "a number");
    if (!isfinite(found) || found < least || found > most)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is %g; %g to %g are allowed", keys->path, key,
                          found, least, most);
    *out = found;
    return PALME_OK;
}

static int take_choice(int *out, const struct palme_keys *keys, const struct palme_field *field,
                       const struct palme_json *value)
{
    const char *const *choices = field->choices;
    struct palme_shown shown;
    char known[160] = "";
    size_t used = 0;

    if (!palme_json_is(value, PALME_JSON_STRING))
        return palme_keys_wrong_kind(keys, field->key, value, "a string");
    for (int i = 0; choices[i]; i++) {
        if (strcmp(palme_json_text(value), choices[i]) == 0) {
            *out = i;
            return PALME_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 i == 0           ? ""
                                 : choices[i + 1] ? ", "
                                                  : " and ",
                                 choices[i]);
    }
    return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is \"%s\"; this version knows %s%s", keys->path,
                      field->key, palme_show(&shown, palme_json_text(value), palme_json_size(value)),
                      choices[1] ? "" : "only ", known);
}

static int take_text(const char **out, const struct palme_keys *keys, const struct palme_field *field,
                     const struct palme_json *value)
{
    size_t size = palme_json_size(value);

    if (!palme_json_is(value, PALME_JSON_STRING))
        return palme_keys_wrong_kind(keys, field->key, value, "a string");
    if (size < (size_t)field->least || size > (size_t)field->most)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has %zu bytes; %.0f to %.0f are allowed",
                          keys->path, field->key, size, field->least, field->most);
    for (const char *c = palme_json_text(value); *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has a control character", keys->path,
                              field->key);
    *out = palme_json_text(value);
    return PALME_OK;
}

static int take_field(void *out, const struct palme_keys *keys, const struct palme_field *field,
                      const struct palme_json *value)
{
    char *member = (char *)out + field->place;
    int *whole = (int *)(void *)member;

    switch (field->kind) {
    case PALME_FIELD_BOOLEAN:
        if (!palme_json_is_boolean(value))
            return palme_keys_wrong_kind(keys, field->key, value, "true or false");
        *whole = palme_json_is(value, PALME_JSON_TRUE);
        return PALME_OK;
    case PALME_FIELD_CHOICE: return take_choice(whole, keys, field, value);
    case PALME_FIELD_TEXT: return take_text((const char **)(void *)member, keys, field, value);
    case PALME_FIELD_NUMBER:
        return take_number((double *)(void *)member, keys, field->key, value, field->least, field->most);
    case PALME_FIELD_INTEGER_OR_NULL:
        if (palme_json_is(value, PALME_JSON_NULL)) {
            *whole = 0;
            return PALME_OK;
        }
        break;
    default: break;
    }
    return take_integer(whole, keys, field->key, value, (int)field->least, (int)field->most);
}

int palme_keys_read(void *out, const struct palme_keys *keys, const struct palme_field *fields, int count)
{
    for (int i = 0; i < count; i++) {
        const struct palme_json *value = palme_json_get(keys->object, fields[i].key);
        int status = PALME_OK;

        if (!value && fields[i].required && !keys->lenient)
            status = palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is missing", keys->path, fields[i].key);
        else if (value)
            status = take_field(out, keys, &fields[i], value);
        if (status < 0)
            return status;
    }
    return PALME_OK;
}

int palme_keys_value(void *out, const struct palme_keys *keys, const struct palme_field *entry,
                     const struct palme_json *value)
{
    return take_field(out, keys, entry, value);
}

int palme_keys_list(const struct palme_json **list, const struct palme_keys *keys, const struct palme_field *entry)
{
    const struct palme_json *found = palme_json_get(keys->object, entry->key), *value;
    union {
        int whole;
        double real;
        const char *text;
    } unused;
    int status = PALME_OK, i = 0;

    *list = found;
    if (!found && entry->required)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is missing", keys->path, entry->key);
    if (found && !palme_json_is(found, PALME_JSON_ARRAY))
        return palme_keys_wrong_kind(keys, entry->key, found, "an array");
    for (value = palme_json_first(found); value && status == PALME_OK; value = value->next) {
        struct palme_field one = *entry;
        char name[64];

        snprintf(name, sizeof name, "%s[%d]", entry->key, i++);
        one.key = name;
        one.place = 0;
        status = take_field(&unused, keys, &one, value);
    }
    return status;
}

int palme_keys_token(int *out, const struct palme_keys *keys, const char *key, int required, int vocabulary)
{
    const struct palme_json *value = palme_json_get(keys->object, key);

    if (!value && required)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is missing", keys->path, key);
    return value ? take_integer(out, keys, key, value, 0, vocabulary - 1) : PALME_OK;
}

int palme_keys_precisions(unsigned *out, const struct palme_keys *keys, const char *key)
{
    const struct palme_json *list = palme_json_get(keys->object, key), *value;
    struct palme_shown shown;
    unsigned seen = 0;

    if (!list)
        return PALME_OK;
    if (!palme_json_is(list, PALME_JSON_ARRAY))
        return palme_keys_wrong_kind(keys, key, list, "an array of strings");
    if (palme_json_size(list) == 0)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s is empty", keys->path, key);
    for (value = palme_json_first(list); value; value = value->next) {
        enum palme_precision found;

        if (!palme_json_is(value, PALME_JSON_STRING))
            return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: an entry of %s%s must be a string, and is %s",
                              keys->path, key, json_kind(value));
        if (palme_precision_find(&found, palme_json_text(value)) < 0 ||
            found > PALME_INT8) /* int4 has to be asked for */
            return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has \"%s\"; f32, bf16 and int8 are known",
                              keys->path, key, palme_show(&shown, palme_json_text(value), palme_json_size(value)));
        if (seen & 1u << found)
            return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has %s twice", keys->path, key,
                              palme_precision_name(found));
        seen |= 1u << found;
    }
    *out = seen;
    return PALME_OK;
}

int palme_keys_prompt(char **out, const struct palme_keys *keys, const char *key)
{
    const struct palme_json *value = palme_json_get(keys->object, key);

    if (value && !palme_json_is(value, PALME_JSON_STRING))
        return palme_keys_wrong_kind(keys, key, value, "a string");
    if (palme_json_size(value) > MAX_PROMPT)
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has %zu bytes; %d are allowed", keys->path, key,
                          palme_json_size(value), MAX_PROMPT);
    *out = strdup(value ? palme_json_text(value) : "");
    if (!*out)
        return palme_fail(keys->log, PALME_ERROR_MEMORY, "out of memory");
    return PALME_OK;
}

void palme_keys_warn_unknown(const struct palme_keys *keys, const struct palme_field *fields, int count,
                             const char *const *names)
{
    struct palme_shown shown;
    size_t unknown = 0;

    for (const struct palme_json *value = palme_json_first(keys->object); value; value = value->next) {
        int known = 0;

        for (int i = 0; i < count && !known; i++)
            known = strcmp(value->key, fields[i].key) == 0;
        for (int i = 0; names && names[i] && !known; i++)
            known = strcmp(value->key, names[i]) == 0;
        if (!known && unknown++ < SHOWN_UNKNOWN)
            palme_log_message(keys->log, PALME_LOG_WARNING, "config: unknown key %s%s is ignored", keys->path,
                              palme_show(&shown, value->key, strlen(value->key)));
    }
    if (unknown > SHOWN_UNKNOWN)
        palme_log_message(keys->log, PALME_LOG_WARNING, "config: %zu more unknown keys are ignored",
                          unknown - SHOWN_UNKNOWN);
}
