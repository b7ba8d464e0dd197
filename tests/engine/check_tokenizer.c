/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_tokenizer.c - the tokenizer against what the tokenizers library recorded, against JSON that
 * it must refuse, and against damaged JSON and random text.
 *
 *     check_tokenizer DATA_FOLDER [MODEL...]
 *
 * DATA_FOLDER has the files of tests/fixtures/make_tokenizer_cases.py. The first MODEL that exists is the
 * default model, whose tokenizer default.json is about. PALME_SEED in the environment repeats a
 * random run. The file is long for its tables of JSON; all of them bend the same recorded tokenizer.
 */
#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <unistd.h>

#include "support/check.h"
#include "io/safetensors.h"
#include "text/bert_normalize.h"
#include "text/detokenize.h"
#include "base/unicode.h"

enum { MOST_IDS = 16384, MOST_TEXT = 16384 };

static char last_message[1024];

static void keep_message(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    (void)level;
    snprintf(last_message, sizeof last_message, "%s", message);
}

static const struct palme_log logger = { keep_message, NULL, "model" };

/* The vocabulary's size as the library counts it. */
static int vocabulary_of(const json_t *tokenizer)
{
    const json_t *vocab = json_object_get(json_object_get(tokenizer, "model"), "vocab");
    const json_t *added = json_object_get(tokenizer, "added_tokens");
    int count = (int)json_object_size(vocab);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *content = json_object_get(json_array_get(added, i), "content");
        const char *name = json_string_value(content);
        count += !json_object_get(vocab, name ? name : "");
    }
    return count;
}

/* Encodes with scratch and ids of exactly the size asked for, so that a sanitizer sees each step
 * beyond them. Returns the count or a status; ids has room for as many. */
static int encode(const struct palme_tokenizer *t, int *ids, int capacity, const char *text, size_t length)
{
    void *scratch = t ? malloc(palme_tokenizer_scratch(t, length)) : NULL;
    int *exact = malloc((size_t)(capacity > 0 ? capacity : 1) * sizeof *exact), count;
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    count = !t ? -1000 : palme_tokenizer_encode(t, exact, capacity, copy, length, scratch);
    if (count > 0)
        memcpy(ids, exact, (size_t)count * sizeof *ids);
    free(copy);
    free(exact);
    free(scratch);
    return count;
}

enum { DECODED = 4 * MOST_TEXT };

/* Puts a piece of text behind the `used` bytes of out[DECODED]; what does not fit any more fails the test. */
static size_t put(char *out, size_t used, const char *piece)
{
    size_t length = strlen(piece);

    CHECK(length < DECODED - used);
    if (length >= DECODED - used)
        return used;
    memcpy(out + used, piece, length + 1);
    return used + length;
}

/* Decodes token by token, as a caption comes: out[DECODED]. */
static void decode(const struct palme_tokenizer *t, char *out, const int *ids, int count)
{
    struct palme_detokenizer state;
    char *piece = malloc(palme_detokenizer_room(t));
    size_t used = 0;

    *out = '\0';
    palme_detokenizer_begin(&state, t);
    for (int i = 0; i < count; i++) {
        palme_detokenizer_token(&state, piece, ids[i]);
        used = put(out, used, piece);
    }
    palme_detokenizer_finish(&state, piece);
    put(out, used, piece);
    free(piece);
}

/* As many ids of a recording as there is room for: ids[MOST_IDS]. */
static int read_ids(int *ids, const json_t *array)
{
    int count = (int)json_array_size(array);

    CHECK(count <= MOST_IDS);
    count = count < MOST_IDS ? count : MOST_IDS;
    for (int i = 0; i < count; i++)
        ids[i] = (int)json_integer_value(json_array_get(array, (size_t)i));
    return count;
}

static void show_ids(char *out, size_t size, const int *ids, int count)
{
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < count && used + 16 < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%d ", ids[i]);
}

/* ---- What the library recorded -------------------------------------------------------------- */

static void compare_cases(const char *name, const struct palme_tokenizer *t, const json_t *file)
{
    static int found[MOST_IDS], wanted[MOST_IDS];
    static char decoded[DECODED], shown[2][400];
    const json_t *cases = json_object_get(file, "cases");
    const json_t *decodes = json_object_get(file, "decodes");

    CHECK(json_array_size(cases) > 200);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i), *text = json_object_get(one, "text");
        int count = read_ids(wanted, json_object_get(one, "ids"));
        int n = encode(t, found, count, json_string_value(text), json_string_length(text));
        show_ids(shown[0], sizeof shown[0], found, n);
        show_ids(shown[1], sizeof shown[1], wanted, count);
        CHECK_MESSAGE(n == count && memcmp(found, wanted, (size_t)n * sizeof *found) == 0,
                      "%s: \"%s\" gives %d: %s, wanted %d: %s", name, json_string_value(text), n, shown[0], count,
                      shown[1]);
        if (count > 0)
            CHECK_INT(encode(t, found, count - 1, json_string_value(text), json_string_length(text)),
                      PALME_ERROR_CONTEXT);
        decode(t, decoded, wanted, count);
        CHECK_STR(decoded, json_string_value(json_object_get(one, "decoded")));
    }
    CHECK(json_array_size(decodes) > 40);
    for (size_t i = 0; i < json_array_size(decodes); i++) {
        const json_t *one = json_array_get(decodes, i);
        int count = read_ids(wanted, json_object_get(one, "ids"));
        decode(t, decoded, wanted, count);
        CHECK_STR(decoded, json_string_value(json_object_get(one, "decoded")));
    }
    printf("%s: %zu texts, %zu rows of ids\n", name, json_array_size(cases), json_array_size(decodes));
}

static void compare_default(const json_t *file, char **models)
{
    struct palme_safetensors *model = NULL;
    struct palme_tokenizer *t = NULL;
    const char *text;
    size_t length;

    while (*models && access(*models, R_OK) != 0)
        models++;
    if (!*models) {
        puts("default: the default model is not here, not compared");
        return;
    }
    CHECK_INT(palme_safetensors_open(&model, *models, 0, &logger), PALME_OK);
    text = model ? palme_safetensors_metadata(model, "tokenizer", &length) : NULL;
    CHECK(text != NULL);
    if (text)
        CHECK_INT(palme_tokenizer_open(&t, text, length, (int)json_integer_value(json_object_get(file, "vocabulary")),
                                       &logger),
                  PALME_OK);
    if (t)
        compare_cases("default", t, file);
    palme_tokenizer_close(&t);
    palme_safetensors_close(&model);
}

/* Every code point's class, against a hash of what the library's regular expressions say. */
static void check_classes(const json_t *file)
{
    unsigned long long hash = 0xCBF29CE484222325ULL;
    int counts[4] = { 0 };
    char shown[20];
    for (uint32_t c = 0; c < 0x110000; c++) {
        enum palme_char_class class = palme_char_class(c);
        counts[class]++;
        hash = (hash ^ class) * 0x100000001B3ULL;
    }
    CHECK_INT(counts[PALME_CHAR_LETTER], json_integer_value(json_object_get(file, "LETTER")));
    CHECK_INT(counts[PALME_CHAR_NUMBER], json_integer_value(json_object_get(file, "NUMBER")));
    CHECK_INT(counts[PALME_CHAR_SPACE], json_integer_value(json_object_get(file, "SPACE")));
    snprintf(shown, sizeof shown, "%016llx", hash);
    CHECK_STR(shown, json_string_value(json_object_get(file, "hash")));
    CHECK_INT(palme_char_class(0x110000), PALME_CHAR_OTHER);
    CHECK_INT(palme_char_class(0xFFFFFFFF), PALME_CHAR_OTHER);
}

/* What BERT's normalizer makes of every character, against a hash of what the library's does. */
static void check_normalizer(const json_t *file)
{
    const struct palme_bert_normalizer normalizer = { .ideographs = 1, .strip_accents = 1, .lowercase = 1 };
    unsigned long long hash = 0xCBF29CE484222325ULL;
    char shown[20];

    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4], out[3 * sizeof text + 1];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        uint32_t rest = c;

        if (c >= 0xD800 && c < 0xE000)
            continue;
        for (size_t k = n; k-- > 1; rest >>= 6)
            text[k] = (char)(0x80 | (rest & 0x3F));
        text[0] = (char)(n == 1 ? c : (0xF00u >> n & 0xF0u) | rest);
        size_t length = palme_bert_normalize(&normalizer, out, text, n);

        CHECK(length <= palme_bert_normalized_size(n));
        out[length] = '\n';
        for (size_t k = 0; k <= length; k++)
            hash = (hash ^ (unsigned char)out[k]) * 0x100000001B3ULL;
    }
    snprintf(shown, sizeof shown, "%016llx", hash);
    CHECK_STR(shown, json_string_value(json_object_get(file, "bert")));
}

/* Returns the tokenizer of pairs.json, which the other tests start from. */
static json_t *check_files(const char *folder, char **models)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    json_t *base = NULL;
    int files = 0;

    while (dir && (entry = readdir(dir))) {
        char path[1024];
        json_t *file, *tokenizer;
        struct palme_tokenizer *t = NULL;
        char *text;
        if (!strstr(entry->d_name, ".json"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        file = json_load_file(path, JSON_ALLOW_NUL, NULL);
        CHECK_MESSAGE(file != NULL, "%s is no JSON", path);
        tokenizer = json_object_get(file, "tokenizer");
        files++;
        if (!tokenizer || json_is_null(tokenizer)) {
            if (strcmp(entry->d_name, "unicode.json") == 0)
                check_classes(file), check_normalizer(file);
            else
                compare_default(file, models);
            json_decref(file);
            continue;
        }
        text = json_dumps(tokenizer, JSON_COMPACT);
        CHECK_INT(json_integer_value(json_object_get(file, "vocabulary")), vocabulary_of(tokenizer));
        last_message[0] = '\0';
        CHECK_INT(palme_tokenizer_open(&t, text, strlen(text), vocabulary_of(tokenizer), &logger), PALME_OK);
        CHECK_STR(last_message, "");
        if (t)
            compare_cases(entry->d_name, t, file);
        palme_tokenizer_close(&t);
        CHECK(t == NULL);
        free(text);
        if (strcmp(entry->d_name, "pairs.json") == 0)
            base = json_incref(tokenizer);
        json_decref(file);
    }
    if (dir)
        closedir(dir);
    CHECK_INT(files, 13);
    return base;
}

/* ---- What must be refused, and what must not ------------------------------------------------ */

#define ADDED(id, content, flags) "{\"id\":" id ",\"content\":\"" content "\"," flags "}"
#define FLAGS "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
#define PLAIN FLAGS "\"special\":false"
#define LONG_NAME "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
#define SPECIAL FLAGS "\"special\":true"

/* A change to the base tokenizer: the value of a key (by path; NULL takes the key away) and what
 * the message then has in it; NULL means that the tokenizer is still good. `more` is of new ids. */
static const struct change {
    const char *object, *key, *value;
    int more;
    const char *message;
} changes[] = {
    { "", "version", "\"1.0\"", 0, NULL },
    { "", "version", NULL, 0, NULL },
    { "", "version", "\"2.0\"", 0, "version" },
    { "", "truncation", "{\"max_length\": 4}", 0, "truncation" },
    { "", "padding", "{}", 0, "padding" },
    { "", "normalizer", "{\"type\": \"Lowercase\"}", 0, "normalizer" },
    { "", "normalizer", NULL, 0, NULL },
    { "", "pre_tokenizer", "null", 0, "pre_tokenizer" },
    { "", "pre_tokenizer", "{\"type\": \"Whitespace\"}", 0, "pre_tokenizer" },
    { "", "pre_tokenizer", "{\"type\": \"ByteLevel\"}", 0, "pre_tokenizer.add_prefix_space" },
    { "", "decoder", "null", 0, "decoder" },
    { "", "decoder", "{\"type\": \"WordPiece\"}", 0, "decoder" },
    { "", "decoder", "3", 0, "decoder" },
    { "", "post_processor", "{\"type\": \"TemplateProcessing\"}", 0, NULL },
    { "", "post_processor", "{\"type\": \"ByteLevel\"}", 0, NULL },
    { "", "post_processor", "{\"type\": \"BertProcessing\"}", 0, "post_processor" },
    { "", "extra", "1", 0, "extra" },
    { "", "model", "null", 0, "model.type" },
    { "", "model", NULL, 0, "model.type" },
    { "", "added_tokens", "{}", 0, "added_tokens" },
    { "", "added_tokens", NULL, 0, NULL },
    { "", "added_tokens", "[]", 0, NULL },
    { "", "added_tokens", "[3]", 0, "added_tokens" },
    { "", "added_tokens", "[" ADDED("\"3\"", "x", PLAIN) "]", 0, "added_tokens" },
    { "", "added_tokens", "[" ADDED("500", "new", SPECIAL) "]", 1, NULL },
    { "", "added_tokens", "[" ADDED("500", "new", PLAIN) "]", 1, NULL },
    { "", "added_tokens", "[" ADDED("499", "new", PLAIN) "]", 1, "taken" },
    { "", "added_tokens", "[" ADDED("501", "new", PLAIN) "]", 1, "501" },
    { "", "added_tokens", "[" ADDED("-1", "new", PLAIN) "]", 1, "-1" },
    { "", "added_tokens", "[" ADDED("18446744073709551616", "new", PLAIN) "]", 1, "JSON" },
    { "", "added_tokens", "[" ADDED("500", "", PLAIN) "]", 1, "without content" },
    { "", "added_tokens", "[" ADDED("5", "<eos>", SPECIAL) "]", 0, "<eos>" },
    { "", "added_tokens", "[" ADDED("2", "<eos>", SPECIAL) "," ADDED("2", "<eos>", SPECIAL) "]", 0, "twice" },
    { "", "added_tokens", "[" ADDED("500", "new", SPECIAL ",\"odd\":1") "]", 1, "odd" },
    { "", "added_tokens", "[" ADDED("500", "new", "\"special\":false") "]", 1, "single_word" },
    { "", "added_tokens",
      "[" ADDED("500", "new",
                "\"single_word\":true,\"lstrip\":false,"
                "\"rstrip\":false,\"normalized\":false,\"special\":false") "]",
      1, "single_word" },
    { "", "added_tokens",
      "[" ADDED("500", "new",
                "\"single_word\":false,\"lstrip\":true,"
                "\"rstrip\":false,\"normalized\":false,\"special\":false") "]",
      1, "lstrip" },
    { "", "added_tokens",
      "[" ADDED("500", "new",
                "\"single_word\":false,\"lstrip\":false,"
                "\"rstrip\":true,\"normalized\":false,\"special\":false") "]",
      1, "rstrip" },
    { "", "added_tokens",
      "[" ADDED("500", "new",
                "\"single_word\":true,\"lstrip\":true,\"rstrip\":"
                "true,\"normalized\":true,\"special\":true") "]",
      1, NULL },
    { "", "added_tokens", "[" ADDED("3", "!", SPECIAL) "]", 0, "single character" },
    { "pre_tokenizer", "use_regex", NULL, 0, NULL },
    { "pre_tokenizer", "use_regex", "0", 0, "pre_tokenizer.use_regex" },
    { "pre_tokenizer", "add_prefix_space", "null", 0, "pre_tokenizer.add_prefix_space" },
    { "pre_tokenizer", "behavior", "1", 0, "pre_tokenizer.behavior" },
    { "model", "type", "\"Unigram\"", 0, "model.type" },
    { "model", "type", NULL, 0, "model.type" },
    { "model", "dropout", "0.1", 0, "model.dropout" },
    { "model", "dropout", "0.0", 0, NULL },
    { "model", "dropout", "\"0\"", 0, "model.dropout" },
    { "model", "unk_token", "\"<pad>\"", 0, NULL },
    { "model", "unk_token", "1", 0, "model.unk_token" },
    { "model", "continuing_subword_prefix", "\"##\"", 0, "model.continuing_subword_prefix" },
    { "model", "continuing_subword_prefix", "\"\"", 0, NULL },
    { "model", "end_of_word_suffix", "\"</w>\"", 0, "model.end_of_word_suffix" },
    { "model", "fuse_unk", "true", 0, NULL },
    { "model", "fuse_unk", "1", 0, "model.fuse_unk" },
    { "model", "byte_fallback", "true", 0, "model.byte_fallback" },
    { "model", "ignore_merges", "true", 0, NULL },
    { "model", "ignore_merges", "null", 0, "model.ignore_merges" },
    { "model", "speed", "1", 0, "model.speed" },
    { "model", "vocab", NULL, 0, "model.vocab" },
    { "model", "vocab", "[]", 0, "model.vocab" },
    { "model", "vocab", "{}", 0, "model.vocab" },
    { "model", "merges", NULL, 0, "model.merges" },
    { "model", "merges", "{}", 0, "model.merges" },
    { "model", "merges", "[]", 0, NULL },
    { "model", "merges", "[\"#version: 0.2\"]", 0, NULL },
    { "model", "merges", "[\"a b\", [\"a\"]]", 0, "model.merges[0]" },
    { "model", "merges", "[[\"t\", \"h\"], [\"t\"]]", 0, "model.merges[1]" },
    { "model", "merges", "[[\"t\", \"h\", \"e\"]]", 0, "model.merges[0]" },
    { "model", "merges", "[[\"t\", 1]]", 0, "model.merges[0]" },
    { "model", "merges", "[7]", 0, "model.merges[0]" },
    { "model", "merges", "[null]", 0, "model.merges[0]" },
    { "model", "merges", "[\"th\"]", 0, "model.merges[0]" },
    { "model", "merges", "[\"t h e\"]", 0, "model.merges[0]" },
    { "model", "merges", "[\"t  h\"]", 0, "model.merges[0]" },
    { "model", "merges", "[\"qqq h\"]", 0, "left part" },
    { "model", "merges", "[\"t qqq\"]", 0, "right part" },
    { "model", "merges", "[\"q q\"]", 0, "result" },
    { "model", "merges", "[[\"\", \"t\"]]", 0, "left part" },
    { "model", "merges", "[[\"" LONG_NAME "\", \"t\"]]", 0, "left part" },
    { "model", "merges", "[\"t " LONG_NAME "\"]", 0, "left part" },
    { "model.vocab", "a", "1.0", 0, "\"a\"" },
    { "model.vocab", "a", "\"1\"", 0, "\"a\"" },
    { "model.vocab", "a", "-1", 0, "-1" },
    { "model.vocab", "a", "500", 0, "500" },
    { "model.vocab", "a", "9223372036854775807", 0, "9223372036854775807" },
    { "model.vocab", "a", "5", 0, "taken" },
    { "model.vocab", "a", NULL, 0, "no token has the id" },
    { "model.vocab", "", "500", 1, NULL },
    { "model.vocab", "\xE7\x8A\xAC", "500", 1, NULL },
    { "model.vocab", "new", "500", 0, "501 tokens" },
    { "model.vocab", "new", "501", 1, "501" },
    { "model.vocab", "e\nv\x1bil", "3", 1, "e?v?il" },
};

static json_t *object_at(json_t *root, const char *path)
{
    if (strcmp(path, "model.vocab") == 0)
        return json_object_get(json_object_get(root, "model"), "vocab");
    return *path ? json_object_get(root, path) : root;
}

static void check_text(const char *what, const char *text, size_t length, int vocabulary, const char *message)
{
    struct palme_tokenizer *t = (struct palme_tokenizer *)&t;
    char *copy = malloc(length ? length : 1);
    int status;
    memcpy(copy, text, length);
    last_message[0] = '\0';
    status = palme_tokenizer_open(&t, copy, length, vocabulary, &logger);
    free(copy);
    CHECK_MESSAGE(status == (message ? PALME_ERROR_FORMAT : PALME_OK) && (t == NULL) == (status < 0),
                  "%s: status %d, \"%s\"", what, status, last_message);
    CHECK_MESSAGE(message ? strstr(last_message, message) != NULL && strncmp(last_message, "model: tokenizer", 16) == 0
                          : !last_message[0],
                  "%s: the message is \"%s\", wanted \"%s\"", what, last_message, message ? message : "");
    palme_tokenizer_close(&t);
}

static void check_changes(const json_t *base)
{
    int vocabulary = vocabulary_of(base);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct change *c = &changes[i];
        json_t *root = json_deep_copy(base), *object = object_at(root, c->object);
        char what[200], *text;
        snprintf(what, sizeof what, "%s.%s = %.60s", c->object, c->key, c->value ? c->value : "absent");
        if (c->value && strstr(c->value, "18446744073709551616")) {
            /* No json_t holds this number: put it into the text. */
            char *from = json_dumps(root, JSON_COMPACT), *at = strstr(from, "\"id\":0");
            text = malloc(strlen(from) + 40);
            sprintf(text, "%.*s\"id\":18446744073709551616%s", (int)(at - from), from, at + 6);
            free(from);
        } else {
            if (c->value)
                json_object_set_new(object, c->key, json_loads(c->value, JSON_DECODE_ANY, NULL));
            else
                json_object_del(object, c->key);
            text = json_dumps(root, JSON_COMPACT);
        }
        check_text(what, text, strlen(text), vocabulary + c->more, c->message);
        free(text);
        json_decref(root);
    }
    printf("%zu changes\n", sizeof changes / sizeof changes[0]);
}

/* Special tokens that plain text could reach by merges; where not every byte has a token. */
static void check_special(const json_t *base)
{
    static const char *const added = "[" ADDED("500", "th", SPECIAL) "]";
    json_t *root = json_deep_copy(base), *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    struct palme_tokenizer *t = NULL;
    char *text;
    int id = (int)json_integer_value(json_object_get(vocab, "th")), ids[16];

    json_object_set_new(root, "added_tokens", json_loads(added, 0, NULL));
    json_object_set_new(json_array_get(json_object_get(root, "added_tokens"), 0), "id", json_integer(id));
    text = json_dumps(root, JSON_COMPACT);
    check_text("a merge makes a special token", text, strlen(text), 500, "special token \"th\"");
    free(text);
    /* Without merges, and with ignore_merges, "th" must not become the special token "th". */
    json_object_set_new(model, "merges", json_array());
    json_object_set_new(model, "ignore_merges", json_true());
    text = json_dumps(root, JSON_COMPACT);
    CHECK_INT(palme_tokenizer_open(&t, text, strlen(text), 500, &logger), PALME_OK);
    CHECK_INT(encode(t, ids, 16, "th", 2), 2);
    CHECK_INT(ids[0], json_integer_value(json_object_get(vocab, "t")));
    palme_tokenizer_close(&t);
    free(text);

    json_object_set_new(model, "unk_token", json_string("<pad>"));
    json_object_set_new(vocab, "words", json_object_get(vocab, "a"));
    json_incref(json_object_get(vocab, "a"));
    json_object_del(vocab, "a");
    text = json_dumps(root, JSON_COMPACT);
    check_text("unk_token without all bytes", text, strlen(text), 500, "model.unk_token");
    free(text);
    json_decref(root);
}

/* Of a merge that is there twice the last one counts: i and n go together after n and d. */
static void check_repeated_merge(const json_t *base)
{
    json_t *root = json_deep_copy(base), *model = json_object_get(root, "model");
    const json_t *vocab = json_object_get(model, "vocab");
    struct palme_tokenizer *t = NULL;
    int ids[3] = { -1, -1, -1 };
    char *text;

    json_object_set_new(model, "merges", json_loads("[\"i n\", \"n d\", \"i n\"]", 0, NULL));
    text = json_dumps(root, JSON_COMPACT);
    CHECK_INT(palme_tokenizer_open(&t, text, strlen(text), vocabulary_of(base), &logger), PALME_OK);
    CHECK_INT(encode(t, ids, 3, "ind", 3), 2);
    CHECK_INT(ids[0], json_integer_value(json_object_get(vocab, "i")));
    CHECK_INT(ids[1], json_integer_value(json_object_get(vocab, "nd")));
    palme_tokenizer_close(&t);
    free(text);
    json_decref(root);
}

/* What is wrong with the text of the JSON, not with its meaning. */
static void check_json(const json_t *base)
{
    char *text = json_dumps(base, JSON_COMPACT), *big;
    size_t length = strlen(text), n;
    int vocabulary = vocabulary_of(base);
    static const char nul[] = "{\"model\":\0}";

    check_text("as it is", text, length, vocabulary, NULL);
    check_text("no token", text, length, 0, "vocabulary");
    check_text("fewer tokens", text, length, vocabulary - 1, "tokens");
    check_text("a padded vocabulary", text, length, vocabulary + 1, NULL);
    check_text("a vocabulary that is mostly padding", text, length, INT_MAX, NULL);
    check_text("empty", "", 0, vocabulary, "JSON");
    check_text("NUL", nul, sizeof nul - 1, vocabulary, "JSON");
    check_text("array", "[1]", 3, vocabulary, "object");
    check_text("number", "1", 1, vocabulary, "JSON");
    check_text("key twice", "{\"version\":\"1.0\",\"version\":\"1.0\"}", 33, vocabulary, "JSON");
    check_text("not UTF-8", "{\"\xC3\":1}", 7, vocabulary, "JSON");
    for (n = 0; n < length; n += n < 200 || n > length - 200 ? 1 : 97)
        check_text("cut short", text, n, vocabulary, "");
    big = malloc(length + 2);
    memcpy(big, text, length);
    big[length] = '}';
    check_text("bytes after it", big, length + 1, vocabulary, "JSON");
    free(big);
    free(text);
    /* Nesting of 10 000 levels, which a recursive parser would follow. */
    big = malloc(20000);
    memset(big, '[', 20000);
    check_text("nested arrays", big, 10000, vocabulary, "nested");
    for (n = 0; n < 20000; n += 5)
        memcpy(big + n, "{\"a\":", 5);
    check_text("nested objects", big, 20000, vocabulary, "nested");
    free(big);
}

/* Tokens of odd content: 1 MB long, NUL, bytes that are no UTF-8, none. */
static void check_odd_tokens(const json_t *base)
{
    enum { LONG = 1 << 20 };
    json_t *root = json_deep_copy(base);
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    int vocabulary = vocabulary_of(base);
    struct palme_tokenizer *t = NULL;
    char *name = malloc(LONG + 1), *text, *long_out = malloc(3 * (LONG + 4) + 1);
    struct palme_detokenizer state = { 0 };
    const char *bytes;
    size_t length;

    memset(name, 'x', LONG);
    name[LONG] = '\0';
    json_object_set_new(vocab, name, json_integer(vocabulary));
    json_object_set_new(vocab, "a\xC4\x80z", json_integer(vocabulary + 1));       /* a, NUL, z */
    json_object_set_new(vocab, "\xC3\x83\xC3\x83", json_integer(vocabulary + 2)); /* C3 C3 */
    json_object_set_new(vocab, "", json_integer(vocabulary + 3));
    json_object_set_new(vocab, "\xC5\x84", json_integer(vocabulary + 4)); /* outside the alphabet */
    text = json_dumps(root, JSON_COMPACT);
    CHECK_INT(palme_tokenizer_open(&t, text, strlen(text), vocabulary + 5, &logger), PALME_OK);
    if (t) {
        int ids[4], special = 2, space;
        CHECK_INT(palme_tokenizer_longest(t), LONG);
        bytes = palme_tokenizer_bytes(t, vocabulary, 1, &space, &length);
        CHECK_INT(length, LONG);
        CHECK_INT(palme_detokenizer_bytes(&state, long_out, bytes, length), LONG);
        CHECK(memcmp(long_out, name, LONG) == 0);
        decode(t, long_out, (ids[0] = vocabulary + 1, ids), 1);
        CHECK_STR(long_out, "a\xEF\xBF\xBDz");
        decode(t, long_out, (ids[0] = vocabulary + 2, ids), 1);
        CHECK_STR(long_out, "\xEF\xBF\xBD\xEF\xBF\xBD");
        decode(t, long_out, (ids[0] = vocabulary + 3, ids), 1);
        CHECK_STR(long_out, "");
        decode(t, long_out, (ids[0] = vocabulary + 4, ids), 1);
        CHECK_STR(long_out, "\xC5\x84");
        decode(t, long_out, &special, 1);
        CHECK_STR(long_out, "");
        CHECK_INT(encode(t, ids, 4, "a\0z", 3), 3);
        CHECK_INT(encode(t, ids, 4, "\xC5\x84", 2), 2);
    }
    palme_tokenizer_close(&t);
    palme_tokenizer_close(&t);
    palme_tokenizer_close(NULL);
    free(long_out);
    free(text);
    free(name);
    json_decref(root);
}

/* ---- Texts that nobody recorded ------------------------------------------------------------- */

static unsigned long long seed;

static unsigned random_below(unsigned n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)((seed >> 33) % n);
}

/* Random characters, many of them where words begin and end. */
static size_t random_text(char *out, size_t most)
{
    static const char common[] = " 'sthe\tdog1<>\n";
    size_t used = 0, wanted = random_below((unsigned)most - 4);
    while (used < wanted) {
        unsigned c = random_below(0x110000) >> random_below(20);
        if (random_below(2))
            c = (unsigned char)common[random_below(sizeof common - 1)];
        if (c == 0 || (c >= 0xD800 && c < 0xE000))
            continue;
        if (c < 0x80) {
            out[used++] = (char)c;
        } else {
            int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
            out[used++] = (char)((0xFF00 >> (more + 1) & 0xFF) | c >> 6 * more);
            for (int i = more - 1; i >= 0; i--)
                out[used++] = (char)(0x80 | (c >> 6 * i & 0x3F));
        }
    }
    out[used] = '\0';
    return used;
}

/* Whatever plain text goes in comes out again, and no special token arises. */
static void check_random_texts(const struct palme_tokenizer *t, int rounds)
{
    static char text[4200], decoded[DECODED];
    static int ids[MOST_IDS];
    int wrong = 0;
    for (int i = 0; i < rounds; i++) {
        size_t length = random_text(text, i % 50 ? 60 : 4100);
        int count = encode(t, ids, MOST_IDS, text, length);
        decode(t, decoded, ids, count);
        wrong += count < 0 || strcmp(decoded, text) != 0;
        for (int k = 0; k < count; k++)
            wrong += ids[k] < 3;
        /* Random bytes are mostly no UTF-8; a check apart says whether they are. */
        length = random_below(12);
        for (size_t k = 0; k < length; k++)
            text[k] = (char)(random_below(2) ? random_below(256) : 'a');
        count = encode(t, ids, MOST_IDS, text, length);
        wrong += palme_utf8_valid(text, length) ? count < 0 : count != PALME_ERROR_TEXT;
    }
    CHECK_INT(wrong, 0);
}

/* The longest prompt, of one letter or two, as one word and as many: the ids must add up to the
 * text. */
static void check_long_words(const struct palme_tokenizer *t)
{
    static const char *const units[] = { "a", "th", "the ", " ", "\xC3\xA9", "'s", "\xF0\x9F\x90\x95" };
    static char text[4097], decoded[DECODED];
    static int ids[MOST_IDS];
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t length = 0;
        int count;
        while (length + strlen(units[u]) <= 4096) {
            strcpy(text + length, units[u]);
            length += strlen(units[u]);
        }
        count = encode(t, ids, MOST_IDS, text, length);
        CHECK(count > 0 && count <= 4096);
        decode(t, decoded, ids, count);
        CHECK_STR(decoded, text);
    }
    CHECK_INT(encode(t, ids, 0, "", 0), 0);
    CHECK_INT(encode(t, ids, 0, "a", 1), PALME_ERROR_CONTEXT);
    CHECK_INT(encode(t, ids, 9, "\xFF", 1), PALME_ERROR_TEXT);
}

/* Damaged JSON is refused with a message, or it is a tokenizer that works. */
static void check_damage(const char *text, size_t length, int vocabulary, int rounds)
{
    char *copy = malloc(length + 64), line[64];
    int opened = 0, silent = 0;
    for (int i = 0; i < rounds; i++) {
        struct palme_tokenizer *t = NULL;
        size_t n = length;
        int ids[256], count, changes_left = 1 + (int)random_below(3);
        memcpy(copy, text, length);
        while (changes_left-- > 0) {
            static const char bytes[] = "0123456789\"{}[],:\\aet \xC4\x01-";
            size_t at = random_below((unsigned)n);
            switch (random_below(3)) {
            case 0: copy[at] = bytes[random_below(sizeof bytes - 1)]; break;
            case 1: /* a stretch is lost */
                if (n > 40 && at < n - 40) {
                    size_t gone = 1 + random_below(30);
                    memmove(copy + at, copy + at + gone, n - at - gone);
                    n -= gone;
                }
                break;
            default: /* a stretch is written elsewhere */
                if (n > 80 && at < n - 40)
                    memmove(copy + at, copy + random_below((unsigned)n - 40), 1 + random_below(30));
            }
        }
        last_message[0] = '\0';
        if (palme_tokenizer_open(&t, copy, n, vocabulary, &logger) == PALME_OK) {
            size_t bytes = random_text(line, 60);
            count = encode(t, ids, 256, line, bytes);
            for (int k = 0; k < count; k++)
                if (ids[k] < 0 || ids[k] >= vocabulary)
                    CHECK_INT(ids[k], 0);
            opened++;
        } else if (!last_message[0]) {
            silent++;
        }
        palme_tokenizer_close(&t);
    }
    CHECK_INT(silent, 0);
    printf("%d damaged texts, %d of them still good\n", rounds, opened);
    free(copy);
}

int main(int argc, char **argv)
{
    const char *given = getenv("PALME_SEED");
    struct palme_tokenizer *t = NULL;
    json_t *base;
    char *text;

    if (argc < 2) {
        fputs("usage: check_tokenizer DATA_FOLDER [MODEL...]\n", stderr);
        return 1;
    }
    seed = given ? strtoull(given, NULL, 0) : 20240229;
    printf("PALME_SEED=%llu\n", seed);
    base = check_files(argv[1], argv + 2);
    CHECK_MESSAGE(base != NULL, "%s has no pairs.json", argv[1]);
    if (!base)
        return check_done();
    check_changes(base);
    check_special(base);
    check_repeated_merge(base);
    check_json(base);
    check_odd_tokens(base);
    text = json_dumps(base, JSON_COMPACT);
    CHECK_INT(palme_tokenizer_open(&t, text, strlen(text), vocabulary_of(base), &logger), PALME_OK);
    check_random_texts(t, 2000);
    check_long_words(t);
    palme_tokenizer_close(&t);
    check_damage(text, strlen(text), vocabulary_of(base), 3000);
    free(text);
    json_decref(base);
    return check_done();
}
