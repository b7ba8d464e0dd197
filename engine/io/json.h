/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.h - the one door by which JSON out of a model file comes in: strict (RFC 8259), bounded nesting, no key
 * twice. A document is read-only and stands in one block of memory.
 */
#ifndef PALME_JSON_H
#define PALME_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "palme.h"
#include "base/log.h"

enum palme_json_kind {
    PALME_JSON_NULL,
    PALME_JSON_FALSE,
    PALME_JSON_TRUE,
    PALME_JSON_INTEGER, /* written without fraction and exponent */
    PALME_JSON_REAL,
    PALME_JSON_STRING,
    PALME_JSON_ARRAY,
    PALME_JSON_OBJECT
};

/* A value. The document owns it and every text that it points at. */
struct palme_json {
    enum palme_json_kind kind;
    uint32_t size;                 /* bytes of a string, values in an array or an object */
    const char *key;               /* of a value in an object, else NULL */
    const struct palme_json *next; /* in its array or object, in the order of the text; NULL behind the last */
    union {
        int64_t integer;
        double real;
        const char *text;               /* NUL-terminated, and no NUL inside */
        const struct palme_json *first; /* of an array or an object; NULL if it is empty */
    } is;
    const struct palme_json **sorted; /* [size] of an object, by key */
};

/* Parses `length` bytes (no NUL needed) whose outermost value is an object. `what` names them in messages
 * ("header", "config", "tokenizer"). Nesting beyond 16, a key given twice, an escaped NUL, an integer beyond 64
 * bits, bytes after the object and text that is not UTF-8 are errors. On success *root is the caller's, to
 * palme_json_close; on failure it is NULL. Returns PALME_OK or PALME_ERROR_{FORMAT, MEMORY}, with a message. */
int palme_json_load(struct palme_json **root, const char *text, size_t length, const char *what,
                    const struct palme_log *log);
void palme_json_close(struct palme_json **root);

/* The value of a key, in logarithmic time; NULL if `object` is no object or has no such key. */
const struct palme_json *palme_json_get(const struct palme_json *object, const char *key);

/* What follows takes NULL for a value that is not there, and answers with 0 or NULL where the kind is another. */
static inline int palme_json_is(const struct palme_json *value, enum palme_json_kind kind)
{
    return value && value->kind == kind;
}

static inline int palme_json_is_boolean(const struct palme_json *value)
{
    return palme_json_is(value, PALME_JSON_TRUE) || palme_json_is(value, PALME_JSON_FALSE);
}

static inline int palme_json_is_number(const struct palme_json *value)
{
    return palme_json_is(value, PALME_JSON_INTEGER) || palme_json_is(value, PALME_JSON_REAL);
}

static inline const char *palme_json_text(const struct palme_json *string)
{
    return palme_json_is(string, PALME_JSON_STRING) ? string->is.text : NULL;
}

static inline int64_t palme_json_integer(const struct palme_json *integer)
{
    return palme_json_is(integer, PALME_JSON_INTEGER) ? integer->is.integer : 0;
}

static inline double palme_json_number(const struct palme_json *number)
{
    return palme_json_is(number, PALME_JSON_REAL) ? number->is.real : (double)palme_json_integer(number);
}

/* Bytes of a string, values in an array or an object. */
static inline size_t palme_json_size(const struct palme_json *value)
{
    return value ? value->size : 0;
}

/* The first value of an array or an object; the others follow by `next`. */
static inline const struct palme_json *palme_json_first(const struct palme_json *value)
{
    return palme_json_is(value, PALME_JSON_ARRAY) || palme_json_is(value, PALME_JSON_OBJECT) ? value->is.first : NULL;
}

/* A value of a short array: it counts from the first. */
static inline const struct palme_json *palme_json_at(const struct palme_json *array, size_t index)
{
    const struct palme_json *value = palme_json_is(array, PALME_JSON_ARRAY) ? array->is.first : NULL;

    for (; value && index > 0; index--)
        value = value->next;
    return value;
}

#endif
