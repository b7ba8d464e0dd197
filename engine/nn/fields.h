/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fields.h - keys of a JSON object into members of a struct, by tables; for config.c and format1.c.
 */
#ifndef PALME_FIELDS_H
#define PALME_FIELDS_H

#include <stddef.h>

#include "nn/config.h"
#include "io/json.h"

enum palme_field_kind {
    PALME_FIELD_INTEGER,         /* int */
    PALME_FIELD_INTEGER_OR_NULL, /* int, 0 for null */
    PALME_FIELD_BOOLEAN,         /* int */
    PALME_FIELD_NUMBER,          /* double */
    PALME_FIELD_CHOICE,          /* int: the place of the string among the choices */
    PALME_FIELD_TEXT             /* const char *, the document's: `least` to `most` bytes, no control characters */
};

struct palme_field {
    const char *key;
    size_t place; /* of the member in the struct */
    enum palme_field_kind kind;
    int required;               /* else the member keeps its value where the key is absent */
    double least, most;         /* of integers and numbers */
    const char *const *choices; /* NULL at the end */
};

/* An object of the config and what its keys are called in messages: "" or "decoder.". */
struct palme_keys {
    const struct palme_json *object; /* NULL counts as empty */
    const char *path;
    int lenient; /* no key is required */
    const struct palme_log *log;
};

/* A failure that says that `key` must be `wanted`. */
int palme_keys_wrong_kind(const struct palme_keys *keys, const char *key, const struct palme_json *value,
                          const char *wanted);

int palme_keys_read(void *out, const struct palme_keys *keys, const struct palme_field *fields, int count);

/* The array of a key, each value of which is what `entry` describes: integers, numbers or texts. *list is NULL where
 * the key is absent. */
int palme_keys_list(const struct palme_json **list, const struct palme_keys *keys, const struct palme_field *entry);
/* One value under the name that messages call it, `entry->key`. */
int palme_keys_value(void *out, const struct palme_keys *keys, const struct palme_field *entry,
                     const struct palme_json *value);

/* Single keys, which keep *out where they are absent. A token is below the vocabulary. */
int palme_keys_token(int *out, const struct palme_keys *keys, const char *key, int required, int vocabulary);
int palme_keys_precisions(unsigned *out, const struct palme_keys *keys, const char *key);
/* *out is owned; "" where the key is absent. */
int palme_keys_prompt(char **out, const struct palme_keys *keys, const char *key);

/* Warns of keys that are in neither the table nor `names` (NULL at the end): some by name, then a count. */
void palme_keys_warn_unknown(const struct palme_keys *keys, const struct palme_field *fields, int count,
                             const char *const *names);

/* What the values of a config are called in the messages of its version. */
struct palme_config_names {
    const char *image_size, *patch_size, *stem, *context, *depth, *heads, *alibi_heads, *rotary, *xpos_center, *prefix;
};

enum { PALME_MOST_POSITIONS = 65536 }; /* rows of context */

/* The choices of a stem, in the order of enum palme_stem_kind. */
extern const char *const palme_stem_names[];

/* The defaults of optional keys, and of a stack's those that version 1 has always. */
void palme_config_defaults(struct palme_config *config);
/* Judges the values against each other and bounds every size that follows from them. */
int palme_config_validate(const struct palme_config *config, const struct palme_config_names *names,
                          const struct palme_log *log);

#endif
