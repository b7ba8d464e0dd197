/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_json.c - the reader of JSON: what it takes and refuses, value by value; then many mutated texts beside
 * jansson, which must agree on each of them.
 */
#include <locale.h>

#include <jansson.h>

#include "support/check.h"
#include "io/json.h"
#include "support/model_builder.h"

static struct heard heard;
static const struct palme_log logger = { heard_log, &heard, "text" };

static int load(struct palme_json **root, const char *text, size_t length)
{
    /* A copy that ends where the text does, so that the sanitizer sees what is read behind it. */
    char *copy = malloc(length ? length : 1);
    int status;

    memset(&heard, 0, sizeof heard);
    memcpy(copy, text, length);
    status = palme_json_load(root, copy, length, "test", &logger);
    free(copy);
    return status;
}

/* ---- One by one --------------------------------------------------------------------------- */

static void refuse(const char *text, const char *word)
{
    struct palme_json *root;

    CHECK_MESSAGE(load(&root, text, strlen(text)) == PALME_ERROR_FORMAT && !root, "%s is not refused", text);
    CHECK_MESSAGE(heard.errors == 1 && strstr(heard.error, word), "%s: no \"%s\" in: %s", text, word, heard.error);
    palme_json_close(&root);
}

static void check_refused(void)
{
    static const struct {
        const char *text, *word;
    } bad[] = {
        { "", "a value is wanted" },
        { "  ", "byte 2: a value" },
        { "[1]", "not a JSON object" },
        { "\"a\"", "not a JSON object" },
        { "nul", "a value" },
        { "{", "a string is wanted" },
        { "{,}", "a string is wanted" },
        { "{\"a\"}", "byte 4: a colon" },
        { "{\"a\":}", "a value" },
        { "{\"a\":1,}", "byte 7: a string" },
        { "{\"a\":1 \"b\":2}", "a comma" },
        { "{\"a\":1]", "a comma" },
        { "{\"a\":[1}", "a comma" },
        { "{\"a\":[1,]}", "a value" },
        { "{\"a\":1}}", "byte 7: something follows" },
        { "{\"a\":1} 2", "something follows" },
        { "\357\273\277{}", "a value" },
        { "{a:1}", "a string" },
        { "{'a':1}", "a string" },
        { "{\"a\":tru}", "a value" },
        { "{\"a\":NaN}", "a value" },
        { "{\"a\":-Infinity}", "a digit" },
        { "{\"a\":01}", "a comma" },
        { "{\"a\":+1}", "a value" },
        { "{\"a\":-}", "a digit" },
        { "{\"a\":.5}", "a value" },
        { "{\"a\":1.}", "a digit" },
        { "{\"a\":1e}", "a digit" },
        { "{\"a\":1e+}", "a digit" },
        { "{\"a\":0x10}", "a comma" },
        { "{\"a\":9223372036854775808}", "64 bits" },
        { "{\"a\":-9223372036854775809}", "64 bits" },
        { "{\"a\":1e309}", "too large" },
        { "{\"a\":0.0000000000000000000000000000000000000000000000000000000000000000000000000000000"
          "00000000000000000000001}",
          "100 characters" },
        { "{\"a\":\"", "no end" },
        { "{\"a\":\"\\\"}", "no end" },
        { "{\"a\":\"x\ty\"}", "control character" },
        { "{\"a\":\"\\x\"}", "escape" },
        { "{\"a\":\"\\u12g4\"}", "hexadecimal" },
        { "{\"a\":\"\\u12", "hexadecimal" },
        { "{\"a\":\"\\u0000\"}", "\\u0000" },
        { "{\"a\":\"\\ud800\"}", "surrogate" },
        { "{\"a\":\"\\ud800\\u0041\"}", "surrogate" },
        { "{\"a\":\"\\ud800x\"}", "surrogate" },
        { "{\"a\":\"\\udc00\"}", "surrogate" },
        { "{\"a\":\"\303\"}", "UTF-8" },
        { "{\"a\":\"\355\240\200\"}", "UTF-8" },
        { "{\"a\":\"\300\200\"}", "UTF-8" },
        { "{\"a\":1,\"b\":2,\"a\":3}", "duplicate key a" },
        { "{\"a\":{\"\\u0062\":1,\"b\":2}}", "duplicate key b" },
    };
    struct palme_json *root;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i].text, bad[i].word);
    CHECK_INT(load(&root, "{\"a\":\"\0\"}", 9), PALME_ERROR_FORMAT);
    CHECK_INT(load(&root, "{}\0", 3), PALME_ERROR_FORMAT);
}

static void check_values(void)
{
    static const char text[] =
        " {\t\"int\":-0, \"least\":-9223372036854775808,\"most\":9223372036854775807,\n"
        "\"real\":[0.7,-2.5e-3,1E2,1e-400,9223372036854775807.0],\"words\":[null,true,false],\r"
        "\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u00e9\\u20AC\\ud83d\\ude00 caf\303\251\",\"\":{},\"none\":[] } ";
    struct palme_json *root;
    const struct palme_json *value;
    char *before = strdup(setlocale(LC_ALL, NULL));

    /* A locale with decimal commas changes nothing, where there is one. */
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        printf("no locale with decimal commas here\n");
    CHECK_INT(load(&root, text, sizeof text - 1), PALME_OK);
    setlocale(LC_ALL, before);
    free(before);
    CHECK_INT(palme_json_size(root), 8);
    CHECK(palme_json_is(palme_json_get(root, "int"), PALME_JSON_INTEGER));
    CHECK_INT(palme_json_integer(palme_json_get(root, "least")), INT64_MIN);
    CHECK_INT(palme_json_integer(palme_json_get(root, "most")), INT64_MAX);
    value = palme_json_get(root, "real");
    CHECK_INT(palme_json_size(value), 5);
    CHECK(palme_json_number(palme_json_at(value, 0)) == 0.7);
    CHECK(palme_json_number(palme_json_at(value, 1)) == -2.5e-3);
    CHECK(palme_json_number(palme_json_at(value, 2)) == 100);
    CHECK(palme_json_number(palme_json_at(value, 3)) == 0);
    CHECK(palme_json_is(palme_json_at(value, 4), PALME_JSON_REAL));
    CHECK(palme_json_at(value, 5) == NULL);
    value = palme_json_get(root, "words");
    CHECK(palme_json_is(palme_json_at(value, 0), PALME_JSON_NULL));
    CHECK(palme_json_is(palme_json_at(value, 1), PALME_JSON_TRUE));
    CHECK(palme_json_is_boolean(palme_json_at(value, 2)));
    CHECK_STR(palme_json_text(palme_json_get(root, "text")),
              "\"\\/\b\f\n\r\t \303\251\342\202\254\360\237\230\200 caf\303\251");
    CHECK_INT(palme_json_size(palme_json_get(root, "text")), strlen(palme_json_text(palme_json_get(root, "text"))));
    CHECK(palme_json_is(palme_json_get(root, ""), PALME_JSON_OBJECT));
    CHECK(palme_json_first(palme_json_get(root, "none")) == NULL);
    /* What is not there, or of another kind. */
    CHECK(palme_json_get(root, "reals") == NULL && palme_json_get(NULL, "a") == NULL &&
          palme_json_get(value, "a") == NULL);
    CHECK(palme_json_text(value) == NULL && palme_json_integer(value) == 0 && palme_json_at(root, 0) == NULL);
    /* In the order of the text. */
    CHECK_STR(palme_json_first(root)->key, "int");
    CHECK_STR(palme_json_first(root)->next->key, "least");
    palme_json_close(&root);
    CHECK(root == NULL);
}

static void check_limits(void)
{
    enum { LONG = 100000 };
    static char text[LONG * 8];
    struct palme_json *root;
    size_t used;

    strcpy(text, "{\"a\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}"); /* 16 deep */
    CHECK_INT(load(&root, text, strlen(text)), PALME_OK);
    palme_json_close(&root);
    refuse("{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "nested more than 16 deep");
    used = (size_t)snprintf(text, sizeof text, "{\"a\":[");
    for (int i = 0; i < LONG; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s1", i ? "," : "");
    strcpy(text + used, "]}");
    refuse(text, "more values");
    /* Merges, the tightest texts that there are. */
    used = (size_t)snprintf(text, sizeof text, "{\"a\":[");
    for (int i = 0; i < LONG / 2; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s[\"a\",\"b\"]", i ? "," : "");
    strcpy(text + used, "]}");
    CHECK_INT(load(&root, text, strlen(text)), PALME_OK);
    CHECK_INT(palme_json_size(palme_json_get(root, "a")), LONG / 2);
    palme_json_close(&root);
    /* Every key of many is found. */
    used = 0;
    for (int i = 0; i < LONG / 2; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s\"%d\":%d", i ? "," : "{", i * 7919 % (LONG / 2), i);
    strcpy(text + used, "}");
    CHECK_INT(load(&root, text, strlen(text)), PALME_OK);
    int wrong = 0;
    for (int i = 0; i < LONG / 2; i++) {
        char key[16];

        snprintf(key, sizeof key, "%d", i * 7919 % (LONG / 2));
        wrong += palme_json_integer(palme_json_get(root, key)) != i;
    }
    CHECK_INT(wrong, 0);
    palme_json_close(&root);
}

/* ---- Beside jansson ----------------------------------------------------------------------- */

static int same(const struct palme_json *ours, json_t *theirs)
{
    const struct palme_json *value = palme_json_first(ours);
    const char *key;
    json_t *member;
    size_t i;

    switch (ours->kind) {
    case PALME_JSON_NULL: return json_is_null(theirs);
    case PALME_JSON_FALSE: return json_is_false(theirs);
    case PALME_JSON_TRUE: return json_is_true(theirs);
    case PALME_JSON_INTEGER: return json_is_integer(theirs) && json_integer_value(theirs) == ours->is.integer;
    case PALME_JSON_REAL: return json_is_real(theirs) && json_real_value(theirs) == ours->is.real;
    case PALME_JSON_STRING:
        return json_is_string(theirs) && json_string_length(theirs) == ours->size &&
               strcmp(json_string_value(theirs), ours->is.text) == 0;
    case PALME_JSON_ARRAY:
        if (!json_is_array(theirs) || json_array_size(theirs) != ours->size)
            return 0;
        json_array_foreach(theirs, i, member)
        {
            if (!same(value, member))
                return 0;
            value = value->next;
        }
        return value == NULL;
    case PALME_JSON_OBJECT:
        if (!json_is_object(theirs) || json_object_size(theirs) != ours->size)
            return 0;
        json_object_foreach(theirs, key, member)
        {
            if (strcmp(value->key, key) != 0 || palme_json_get(ours, key) != value || !same(value, member))
                return 0;
            value = value->next;
        }
        return value == NULL;
    }
    return 0;
}

static uint64_t state = 25;

static unsigned draw(unsigned below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(state >> 33) % below;
}

/* A text changed in one to four places: a byte, a piece left out, doubled or replaced by something that means much. */
static size_t mutate(char *out, size_t most, const char *text, size_t length)
{
    static const char *const pieces[] = { "{",
                                          "}",
                                          "[",
                                          "]",
                                          ",",
                                          ":",
                                          "\"",
                                          "\\",
                                          "\\u",
                                          "\\ud83d\\ude00",
                                          "\\ud800",
                                          "0",
                                          "-",
                                          "1e5",
                                          ".5",
                                          "null",
                                          "true",
                                          "\303\251",
                                          "\360\237\230\200",
                                          " ",
                                          "9223372036854775807",
                                          "\"a\":1,",
                                          "\"a\"",
                                          "\n",
                                          "e",
                                          "\\u0000",
                                          "\377" };

    memcpy(out, text, length);
    for (unsigned n = 1 + draw(4); n > 0; n--) {
        size_t at = draw((unsigned)length + 1), end = at + draw(8);
        const char *piece = pieces[draw(sizeof pieces / sizeof pieces[0])];
        size_t size = draw(4) ? strlen(piece) : 0;

        end = end > length || draw(2) ? (draw(2) && at < length ? at + 1 : at) : end;
        if (length - (end - at) + size > most)
            continue;
        memmove(out + at + size, out + end, length - end);
        memcpy(out + at, piece, size);
        length = length - (end - at) + size;
        if (length && !draw(3))
            out[draw((unsigned)length)] = draw(2) ? (char)draw(256) : " {}[]:,\"\\09-"[draw(12)];
    }
    return length;
}

static void check_mutations(void)
{
    static const char *const seeds[] = {
        "{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"__metadata__\":{\"k\":\"v\\n\"}}",
        "{\"a\":[1,-2,3.5,1e-3,true,false,null,\"x\\u00e9\\ud83d\\ude00\"],\"b\":{\"c\":{},\"d\":[]}}",
        "{\"version\":\"1.0\",\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\",[\"a\",\"b\"]]}}",
        "{ \"\" : \"\" , \"\303\251\" : [ [ [ ] ] ] }",
    };
    char text[512];
    int good = 0, wrong = 0;

    for (int i = 0; i < 400000; i++) {
        const char *seed = seeds[draw(sizeof seeds / sizeof seeds[0])];
        size_t length = mutate(text, sizeof text, seed, strlen(seed));
        json_t *theirs = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
        struct palme_json *ours;
        int status = load(&ours, text, length);
        int agree = status == PALME_OK ? theirs && same(ours, theirs) : !json_is_object(theirs);

        good += status == PALME_OK;
        wrong += !agree;
        CHECK_MESSAGE(agree || wrong > 10, "%.*s: status %d, %s", (int)length, text, status, heard.error);
        palme_json_close(&ours);
        json_decref(theirs);
    }
    CHECK_INT(wrong, 0);
    /* Both kinds were there. */
    CHECK_MESSAGE(good > 20000 && good < 380000, "%d of 400000 texts were good", good);
}

int main(void)
{
    check_refused();
    check_values();
    check_limits();
    check_mutations();
    return check_done();
}
