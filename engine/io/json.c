/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.c - a strict reader of JSON (RFC 8259) for the texts in a model file.
 *
 * Why one of our own: jansson 2.14 writes behind a string that it could not enlarge when its malloc fails, calls
 * memory that is missing a mistake in the text, recurses into what it reads, and takes 80 times the size of a
 * text of brackets. Here a text is read twice by the same code: the first pass checks it and adds up what it
 * takes, then one block of memory is asked for, and the second pass fills it. So there is one allocation
 * that can fail, and it fails before anything was built.
 *
 * Nothing recurses; the containers that are open stand in a small table. Objects are sorted by key, not hashed,
 * so that no choice of keys makes looking up slow.
 */
#include "io/json.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/unicode.h"

enum {
    MAX_BYTES = 16 << 20, /* of a text: the longest header */
    MAX_DEPTH = 16,
    MAX_NUMBER = 100,        /* characters */
    FREE_VALUES = 64,        /* that any text may have, however short */
    BYTES_EACH = 3,          /* of text for each value; the tightest real ones are merges, ["a","b"], */
    BYTES_EACH_CONTAINER = 8 /* the same for each object or array */
};

struct reader {
    const char *text;
    size_t length, at;
    const char *problem;                       /* at byte `at`; NULL: memory */
    const char *twice;                         /* the key that is, or NULL */
    size_t values, containers, members, bytes; /* so far */
    /* What is filled by the second pass; in the first one every value is `measured`. */
    struct palme_json *value, measured;
    const struct palme_json **member;
    char *byte;
};

/* A container whose end has not been reached. */
struct open {
    enum palme_json_kind kind;
    struct palme_json *value, *last; /* itself, its last value or NULL */
    uint32_t size;
};

static int fail(struct reader *r, const char *problem)
{
    r->problem = problem;
    return 0;
}

/* The next byte, or -1 at the end. */
static int peek(const struct reader *r)
{
    return r->at < r->length ? (unsigned char)r->text[r->at] : -1;
}

static int skip_space(struct reader *r)
{
    int c;

    while ((c = peek(r)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        r->at++;
    return c;
}

static int take(struct reader *r, char wanted)
{
    if (peek(r) != wanted)
        return 0;
    r->at++;
    return 1;
}

/* ---- Strings ------------------------------------------------------------------------------ */

static void put(struct reader *r, unsigned byte)
{
    if (r->byte)
        r->byte[r->bytes] = (char)byte;
    r->bytes++;
}

static void put_character(struct reader *r, unsigned c)
{
    if (c < 0x80) {
        put(r, c);
        return;
    }
    if (c < 0x800) {
        put(r, 0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            put(r, 0xe0 | c >> 12);
        } else {
            put(r, 0xf0 | c >> 18);
            put(r, 0x80 | (c >> 12 & 0x3f));
        }
        put(r, 0x80 | (c >> 6 & 0x3f));
    }
    put(r, 0x80 | (c & 0x3f));
}

/* Four hexadecimal digits behind "\u", or -1. */
static int read_unit(struct reader *r)
{
    int unit = 0;

    for (int i = 0; i < 4; i++, r->at++) {
        int c = peek(r);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - 'A' + 10;

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* What follows "\u": a character of the first plane, or a surrogate and the other one behind another "\u". */
static int read_escaped_character(struct reader *r)
{
    int unit = read_unit(r), low = 0;

    if (unit < 0)
        return fail(r, "\\u wants four hexadecimal digits");
    if (unit == 0)
        return fail(r, "a string has \\u0000 in it");
    if (unit >= 0xd800 && unit < 0xdc00) {
        if (take(r, '\\') && take(r, 'u'))
            low = read_unit(r);
        if (low < 0xdc00 || low > 0xdfff)
            return fail(r, "a high surrogate stands without a low one");
        put_character(r, 0x10000 + ((unsigned)(unit - 0xd800) << 10) + (unsigned)(low - 0xdc00));
        return 1;
    }
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(r, "a low surrogate stands without a high one");
    put_character(r, (unsigned)unit);
    return 1;
}

static int read_escape(struct reader *r)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    const char *escape = c > 0 ? strchr(escapes, c) : NULL;

    if (!escape && c != 'u')
        return fail(r, "an escape that is not known");
    r->at++;
    if (!escape)
        return read_escaped_character(r);
    put(r, (unsigned char)meanings[escape - escapes]);
    return 1;
}

/* A string from its first quotation mark on. That the text is UTF-8 is known. Returns 0 on failure; its text and
 * length are only there in the second pass. */
static int read_string(struct reader *r, const char **text, uint32_t *length)
{
    size_t begin = r->bytes;

    if (!take(r, '"'))
        return fail(r, "a string is wanted");
    for (;;) {
        int c = peek(r);

        if (c < 0)
            return fail(r, "a string has no end");
        if (c < 0x20)
            return fail(r, "a string has a control character in it");
        r->at++;
        if (c == '"')
            break;
        if (c != '\\')
            put(r, (unsigned)c);
        else if (!read_escape(r))
            return 0;
    }
    *length = (uint32_t)(r->bytes - begin);
    put(r, 0);
    *text = r->byte ? r->byte + begin : "";
    return 1;
}

/* ---- Numbers and words -------------------------------------------------------------------- */

static int read_digits(struct reader *r)
{
    size_t begin = r->at;

    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at > begin || fail(r, "a digit is wanted");
}

static int convert_integer(struct reader *r, int64_t *out, const char *text, size_t length)
{
    int negative = text[0] == '-';

    *out = 0;
    for (size_t i = (size_t)negative; i < length; i++) {
        int digit = text[i] - '0';

        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, negative ? -digit : digit, out))
            return fail(r, "an integer is beyond 64 bits");
    }
    return 1;
}

/* The decimal point of a number in JSON is not that of the process's locale. */
static int convert_real(struct reader *r, double *out, const char *text, size_t length)
{
    char copy[MAX_NUMBER + 1];
    locale_t plain;

    memcpy(copy, text, length);
    copy[length] = '\0';
    if (!(plain = newlocale(LC_ALL_MASK, "C", (locale_t)0)))
        return fail(r, NULL);
    *out = strtod_l(copy, NULL, plain);
    freelocale(plain);
    return isfinite(*out) || fail(r, "a number is too large");
}

static int read_number(struct reader *r, struct palme_json *value)
{
    size_t begin = r->at;
    int is_real = 0;

    take(r, '-');
    if (!take(r, '0') && !read_digits(r))
        return 0;
    if (take(r, '.')) {
        is_real = 1;
        if (!read_digits(r))
            return 0;
    }
    if (take(r, 'e') || take(r, 'E')) {
        is_real = 1;
        if (!take(r, '+'))
            take(r, '-');
        if (!read_digits(r))
            return 0;
    }
    if (r->at - begin > MAX_NUMBER)
        return fail(r, "a number has more than 100 characters");
    value->kind = is_real ? PALME_JSON_REAL : PALME_JSON_INTEGER;
    return is_real ? convert_real(r, &value->is.real, r->text + begin, r->at - begin)
                   : convert_integer(r, &value->is.integer, r->text + begin, r->at - begin);
}

static int read_word(struct reader *r, struct palme_json *value)
{
    static const struct {
        const char *word;
        enum palme_json_kind kind;
    } words[] = { { "null", PALME_JSON_NULL }, { "true", PALME_JSON_TRUE }, { "false", PALME_JSON_FALSE } };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i].word);

        if (r->length - r->at >= length && memcmp(r->text + r->at, words[i].word, length) == 0) {
            r->at += length;
            value->kind = words[i].kind;
            return 1;
        }
    }
    return fail(r, "a value is wanted");
}

/* ---- Objects ------------------------------------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    const struct palme_json *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

/* The end of a container: an object's values are sorted, and then the same keys stand side by side. */
static int close_container(struct reader *r, const struct open *open)
{
    struct palme_json *value = open->value;
    const struct palme_json **sorted = r->member + r->members, *member;
    size_t i = 0;

    if (open->kind == PALME_JSON_OBJECT)
        r->members += open->size;
    if (!r->value)
        return 1;
    value->size = open->size;
    if (open->kind != PALME_JSON_OBJECT)
        return 1;
    value->sorted = sorted;
    for (member = value->is.first; member; member = member->next)
        sorted[i++] = member;
    qsort(sorted, i, sizeof *sorted, by_key);
    for (size_t k = 1; k < i; k++)
        if (strcmp(sorted[k - 1]->key, sorted[k]->key) == 0)
            return r->twice = sorted[k]->key, 0;
    return 1;
}

const struct palme_json *palme_json_get(const struct palme_json *object, const char *key)
{
    size_t low = 0, high = palme_json_is(object, PALME_JSON_OBJECT) ? object->size : 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(key, object->sorted[middle]->key);

        if (order == 0)
            return object->sorted[middle];
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- The document ------------------------------------------------------------------------- */

/* Whether so many values can be meant. The texts of a model file have names between their brackets. */
static int count_value(struct reader *r, int is_container)
{
    r->values++;
    r->containers += (size_t)is_container;
    if (r->containers > FREE_VALUES && r->containers > r->length / BYTES_EACH_CONTAINER)
        return fail(r, "there are more objects and arrays than a model file can need");
    if (r->values > FREE_VALUES && r->values > r->length / BYTES_EACH)
        return fail(r, "there are more values than a model file can need");
    return 1;
}

/* The next value: all of it, or the bracket that opens it. Its key comes first if it is in an object. NULL on
 * failure. */
static struct palme_json *read_value(struct reader *r, struct open *in)
{
    struct palme_json *value = r->value ? &r->value[r->values] : &r->measured;
    uint32_t length;
    int c, good;

    *value = (struct palme_json){ .kind = PALME_JSON_NULL };
    skip_space(r);
    if (in && in->kind == PALME_JSON_OBJECT) {
        if (!read_string(r, &value->key, &length))
            return NULL;
        skip_space(r);
        if (!take(r, ':'))
            return fail(r, "a colon is wanted"), NULL;
    }
    c = skip_space(r);
    if (!count_value(r, c == '{' || c == '['))
        return NULL;
    if (c == '{' || c == '[') {
        value->kind = c == '{' ? PALME_JSON_OBJECT : PALME_JSON_ARRAY;
        good = take(r, (char)c);
    } else if (c == '"') {
        value->kind = PALME_JSON_STRING;
        good = read_string(r, &value->is.text, &value->size);
    } else {
        good = c == '-' || (c >= '0' && c <= '9') ? read_number(r, value) : read_word(r, value);
    }
    if (!good)
        return NULL;
    if (in && in->last)
        in->last->next = value;
    else if (in)
        in->value->is.first = value;
    if (in) {
        in->last = value;
        in->size++;
    }
    return value;
}

/* One pass over the text. Returns 0 on failure. */
static int read_document(struct reader *r)
{
    struct open open[MAX_DEPTH];
    int depth = 0, opened;

    do {
        struct palme_json *value = read_value(r, depth ? &open[depth - 1] : NULL);

        if (!value)
            return 0;
        if ((opened = value->kind == PALME_JSON_OBJECT || value->kind == PALME_JSON_ARRAY)) {
            if (depth == MAX_DEPTH)
                return fail(r, "it is nested more than 16 deep");
            open[depth++] = (struct open){ .kind = value->kind, .value = value };
        }
        for (; depth; depth--, opened = 0) {
            skip_space(r);
            if (!take(r, open[depth - 1].kind == PALME_JSON_OBJECT ? '}' : ']'))
                break;
            if (!close_container(r, &open[depth - 1]))
                return 0;
        }
        if (depth && !opened && !take(r, ','))
            return fail(r, "a comma or the closing bracket is wanted");
    } while (depth);
    skip_space(r);
    return r->at == r->length || fail(r, "something follows the value");
}

static int not_json(const struct reader *r, const char *what, const struct palme_log *log)
{
    struct palme_shown shown;

    if (r->twice)
        return palme_fail(log, PALME_ERROR_FORMAT, "%s: not valid JSON: duplicate key %s", what,
                          palme_show(&shown, r->twice, strlen(r->twice)));
    if (!r->problem)
        return palme_fail(log, PALME_ERROR_MEMORY, "%s: out of memory", what);
    return palme_fail(log, PALME_ERROR_FORMAT, "%s: not valid JSON at byte %zu: %s", what, r->at, r->problem);
}

int palme_json_load(struct palme_json **root, const char *text, size_t length, const char *what,
                    const struct palme_log *log)
{
    struct reader r = { .text = text, .length = length };
    size_t values_size, members_size;

    *root = NULL;
    if (length > MAX_BYTES)
        return palme_fail(log, PALME_ERROR_FORMAT, "%s: JSON of more than 16 MiB", what);
    if (!palme_utf8_valid(text, length))
        return palme_fail(log, PALME_ERROR_FORMAT, "%s: not valid JSON: it is not UTF-8", what);
    if (!read_document(&r))
        return not_json(&r, what, log);

    /* No product overflows: each value and each byte stands for at least one byte of the text. */
    values_size = r.values * sizeof *r.value;
    members_size = r.members * sizeof *r.member;
    if (!(*root = malloc(values_size + members_size + r.bytes)))
        return palme_fail(log, PALME_ERROR_MEMORY, "%s: out of memory", what);
    r.value = *root;
    r.member = (const struct palme_json **)(void *)((char *)*root + values_size);
    r.byte = (char *)*root + values_size + members_size;
    r.at = r.values = r.containers = r.members = r.bytes = 0;
    if (!read_document(&r)) {
        int status = not_json(&r, what, log);

        palme_json_close(root);
        return status;
    }
    if ((*root)->kind != PALME_JSON_OBJECT) {
        palme_json_close(root);
        return palme_fail(log, PALME_ERROR_FORMAT, "%s: not a JSON object", what);
    }
    return PALME_OK;
}

void palme_json_close(struct palme_json **root)
{
    free(*root);
    *root = NULL;
}
