/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * label_config.c - what a model's configuration says of its labels: judged first, then copied into one block, since
 * the document that it comes from is closed again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "nn/fields.h"
#include "nn/labels.h"

enum {
    MAX_PHRASE = 128,   /* bytes */
    MAX_CAUTIOUS = 256, /* bytes */
    MAX_LABELS = 65536,
    LEAST_CONTEXT = PALME_LABEL_TOKENS + 2 /* the labels, the begin token, and one to generate */
};

/* The lists of a configuration, judged. */
struct lists {
    const struct palme_json *names, *phrases, *thresholds, *classes, *things, *words;
    const char *joiner, *cautious;
};

#define LABELS(name) offsetof(struct palme_label_config, name)

static const struct palme_field own[] = {
    { "most", LABELS(most), PALME_FIELD_INTEGER, 0, 1, PALME_MAX_LABELS, NULL },
};
static const struct palme_field texts[] = {
    { "joiner", offsetof(struct lists, joiner), PALME_FIELD_TEXT, 0, 0, PALME_MOST_JOINER_BYTES, NULL },
    { "cautious", offsetof(struct lists, cautious), PALME_FIELD_TEXT, 0, 0, MAX_CAUTIOUS, NULL },
};
static const struct palme_field hold[] = {
    { "weight", LABELS(weight), PALME_FIELD_NUMBER, 0, 0, 1000, NULL },
    { "floor", LABELS(floor), PALME_FIELD_NUMBER, 0, 1e-4, 1, NULL },
    { "require", LABELS(require), PALME_FIELD_NUMBER, 0, 0, 1000, NULL },
    { "sure", LABELS(sure), PALME_FIELD_NUMBER, 0, 0, 1, NULL },
};
static const struct palme_field unsure[] = {
    { "confirm", LABELS(confirm), PALME_FIELD_NUMBER, 0, 0, 1, NULL },
    { "deny", LABELS(deny), PALME_FIELD_NUMBER, 0, 0, 1, NULL },
    { "least", LABELS(least), PALME_FIELD_NUMBER, 0, 0, 1, NULL },
};

#define COUNT(table) ((int)(sizeof table / sizeof table[0]))

/* ---- Judging ------------------------------------------------------------------------------ */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* That no text of a list occurs twice; the texts are those of its values or of the first value of each. */
static int judge_unique(const struct palme_keys *keys, const char *key, const struct palme_json *list)
{
    size_t count = palme_json_size(list), i = 0;
    const char **sorted = malloc(max_size(count, 1) * sizeof *sorted);
    struct palme_shown shown;
    int status = PALME_OK;

    if (!sorted)
        return palme_fail(keys->log, PALME_ERROR_MEMORY, "out of memory");
    for (const struct palme_json *value = palme_json_first(list); value; value = value->next)
        sorted[i++] = palme_json_text(palme_json_is(value, PALME_JSON_ARRAY) ? palme_json_first(value) : value);
    qsort(sorted, count, sizeof *sorted, compare_texts);
    for (i = 1; i < count && status == PALME_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has \"%s\" twice", keys->path, key,
                                palme_show(&shown, sorted[i], strlen(sorted[i])));
    free(sorted);
    return status;
}

/* That a list has one value for each label. */
static int judge_length(const struct palme_keys *keys, const char *key, const struct palme_json *list, size_t count)
{
    if (!list || palme_json_size(list) == count)
        return PALME_OK;
    return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %s%s has %zu entries, and %snames has %zu", keys->path,
                      key, palme_json_size(list), keys->path, count);
}

/* A word of `words` is compared with the words of captions. */
static int judge_word(const struct palme_keys *keys, const char *name, const char *text)
{
    struct palme_shown shown;
    int fine = 1;

    for (const char *c = text; *c; c++) /* a space stands between two words */
        fine &= palme_is_word_character(*c) || (*c == ' ' && c > text && c[-1] != ' ' && c[1]);
    if (!fine)
        return palme_fail(keys->log, PALME_ERROR_FORMAT,
                          "config: %s%s is \"%s\"; wanted are words in lower case with one space between them",
                          keys->path, name, palme_show(&shown, text, strlen(text)));
    return PALME_OK;
}

static int judge_words(const struct palme_keys *keys, const struct palme_json *list, int labels)
{
    const struct palme_field text = { "", 0, PALME_FIELD_TEXT, 1, 1, PALME_MOST_WORD_BYTES, NULL };
    const struct palme_field place = { "", 0, PALME_FIELD_INTEGER, 1, 0, labels - 1, NULL };
    int status = PALME_OK, number = 0, unused;
    struct palme_field one;
    const char *word;
    char name[32];

    if (list && !palme_json_is(list, PALME_JSON_ARRAY))
        return palme_keys_wrong_kind(keys, "words", list, "an array");
    for (const struct palme_json *value = palme_json_first(list); value && status == PALME_OK; value = value->next) {
        const struct palme_json *first = palme_json_at(value, 0), *places = palme_json_at(value, 1);

        snprintf(name, sizeof name, "words[%d]", number++);
        if (!palme_json_is(value, PALME_JSON_ARRAY) || palme_json_size(value) != 2 ||
            !palme_json_is(places, PALME_JSON_ARRAY) || !palme_json_size(places))
            return palme_fail(keys->log, PALME_ERROR_FORMAT,
                              "config: %s%s must be a word and an array of at least one label", keys->path, name);
        one = text;
        one.key = name;
        if ((status = palme_keys_value(&word, keys, &one, first)) == PALME_OK)
            status = judge_word(keys, name, word);
        one = place;
        one.key = name;
        for (places = palme_json_first(places); places && status == PALME_OK; places = places->next)
            status = palme_keys_value(&unused, keys, &one, places);
    }
    return status == PALME_OK ? judge_unique(keys, "words", list) : status;
}

static int judge_lists(struct lists *lists, const struct palme_keys *keys)
{
    const struct palme_field names = { "names", 0, PALME_FIELD_TEXT, 1, 1, PALME_MOST_LABEL_BYTES, NULL };
    const struct palme_field phrases = { "phrases", 0, PALME_FIELD_TEXT, 0, 0, MAX_PHRASE, NULL };
    const struct palme_field thresholds = { "thresholds", 0, PALME_FIELD_NUMBER, 1, 0, 1, NULL };
    int status = palme_keys_list(&lists->names, keys, &names);
    size_t count = palme_json_size(lists->names);

    if (status == PALME_OK && (!count || count > MAX_LABELS))
        return palme_fail(keys->log, PALME_ERROR_FORMAT, "config: %snames has %zu entries; 1 to %d are allowed",
                          keys->path, count, MAX_LABELS);
    const struct palme_field classes = { "classes", 0, PALME_FIELD_INTEGER, 0, -1, (double)count - 1, NULL };
    const struct palme_field things = { "things", 0, PALME_FIELD_INTEGER, 0, 0, (double)count - 1, NULL };

    if (status < 0 || (status = judge_unique(keys, "names", lists->names)) < 0 ||
        (status = palme_keys_list(&lists->phrases, keys, &phrases)) < 0 ||
        (status = judge_length(keys, "phrases", lists->phrases, count)) < 0 ||
        (status = palme_keys_list(&lists->thresholds, keys, &thresholds)) < 0 ||
        (status = judge_length(keys, "thresholds", lists->thresholds, count)) < 0 ||
        (status = palme_keys_list(&lists->classes, keys, &classes)) < 0 ||
        (status = palme_keys_list(&lists->things, keys, &things)) < 0)
        return status;
    if (!palme_json_size(lists->classes) && !palme_json_size(lists->things))
        return palme_fail(keys->log, PALME_ERROR_FORMAT,
                          "config: %sclasses and %sthings are both empty, and one of them gives the probabilities",
                          keys->path, keys->path);
    lists->words = palme_json_get(keys->object, "words");
    return judge_words(keys, lists->words, (int)count);
}

/* ---- Copying ------------------------------------------------------------------------------ */

/* One block: the struct, its arrays, then the texts. */
struct block {
    struct palme_label_config *labels;
    char *text;    /* where the next text goes */
    int *integers; /* where the next list goes */
};

static const char *copy_text(struct block *b, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(b->text, text, size);

    b->text += size;
    return copy;
}

static int *copy_integers(struct block *b, const struct palme_json *list, int *count)
{
    int *copy = b->integers;

    for (const struct palme_json *value = palme_json_first(list); value; value = value->next)
        *b->integers++ = (int)palme_json_integer(value);
    *count = (int)(b->integers - copy);
    return copy;
}

/* Bytes of a list's texts, each with its end. */
static size_t texts_of(const struct palme_json *list)
{
    size_t bytes = 0;

    for (const struct palme_json *value = palme_json_first(list); value; value = value->next)
        bytes += palme_json_size(palme_json_is(value, PALME_JSON_ARRAY) ? palme_json_first(value) : value) + 1;
    return bytes;
}

/* Takes the block, with the struct and its arrays laid out in it. */
static int take_block(struct block *b, const struct lists *lists, const struct palme_log *log)
{
    size_t count = palme_json_size(lists->names), words = palme_json_size(lists->words);
    size_t integers = palme_json_size(lists->classes) + palme_json_size(lists->things);
    size_t text = texts_of(lists->names) + 2 * (texts_of(lists->phrases) + count) + texts_of(lists->words) +
                  count * (strlen(lists->cautious) + 1) + strlen(lists->joiner) + 1;
    struct {
        struct palme_label_config labels;
        double numbers[];
    } * block;

    for (const struct palme_json *word = palme_json_first(lists->words); word; word = word->next)
        integers += palme_json_size(palme_json_at(word, 1));
    block = malloc(sizeof *block + count * sizeof(double) + 3 * count * sizeof(char *) +
                   words * sizeof(struct palme_label_word) + integers * sizeof(int) + text);
    if (!block)
        return palme_fail(log, PALME_ERROR_MEMORY, "out of memory");
    b->labels = &block->labels;
    *b->labels = (struct palme_label_config){ .count = (int)count, .word_count = (int)words };
    b->labels->thresholds = block->numbers;
    b->labels->names = (const char **)(void *)(block->numbers + count);
    b->labels->phrases = b->labels->names + count;
    b->labels->sentences = b->labels->phrases + count;
    b->labels->words = (struct palme_label_word *)(void *)(b->labels->sentences + count);
    b->integers = (int *)(void *)(b->labels->words + words);
    b->text = (char *)(b->integers + integers);
    return PALME_OK;
}

static void copy_lists(struct block *b, const struct lists *lists)
{
    struct palme_label_config *labels = b->labels;
    const struct palme_json *name = palme_json_first(lists->names), *phrase = palme_json_first(lists->phrases);
    const struct palme_json *threshold = palme_json_first(lists->thresholds), *word = palme_json_first(lists->words);

    for (int i = 0; i < labels->count; i++) {
        labels->names[i] = copy_text(b, palme_json_text(name));
        labels->phrases[i] = copy_text(b, phrase ? palme_json_text(phrase) : "");
        labels->sentences[i] = *labels->phrases[i] ? b->text : labels->phrases[i];
        if (*labels->phrases[i]) {
            copy_text(b, lists->cautious);
            b->text--; /* its end is where the phrase begins */
            copy_text(b, labels->phrases[i]);
        }
        labels->thresholds[i] = palme_json_number(threshold);
        name = name->next;
        phrase = phrase ? phrase->next : NULL;
        threshold = threshold->next;
    }
    labels->joiner = copy_text(b, lists->joiner);
    labels->classes = copy_integers(b, lists->classes, &labels->class_count);
    labels->things = copy_integers(b, lists->things, &labels->thing_count);
    for (int i = 0; i < labels->word_count; i++, word = word->next) {
        labels->words[i].text = copy_text(b, palme_json_text(palme_json_at(word, 0)));
        labels->words[i].labels = copy_integers(b, palme_json_at(word, 1), &labels->words[i].count);
    }
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* A nested object and its numbers. */
static int read_numbers(struct palme_label_config *labels, const struct palme_keys *keys, const char *key,
                        const char *path, const struct palme_field *fields, int count)
{
    const struct palme_json *object = palme_json_get(keys->object, key);
    const struct palme_keys inner = { .object = object, .path = path, .log = keys->log };
    int status;

    if (object && !palme_json_is(object, PALME_JSON_OBJECT))
        return palme_keys_wrong_kind(keys, key, object, "an object");
    if ((status = palme_keys_read(labels, &inner, fields, count)) == PALME_OK)
        palme_keys_warn_unknown(&inner, fields, count, NULL);
    return status;
}

static int read_labels(struct block *b, const struct palme_keys *keys)
{
    static const char *const others[] = { "names", "phrases", "classes",  "things", "thresholds", "joiner",
                                          "words", "hold",    "cautious", "unsure", NULL };
    struct lists lists = { .joiner = " ", .cautious = "a photo of " };
    struct palme_label_config *labels;
    int status;

    if ((status = judge_lists(&lists, keys)) < 0 || (status = palme_keys_read(&lists, keys, texts, COUNT(texts))) < 0 ||
        (status = take_block(b, &lists, keys->log)) < 0)
        return status;
    copy_lists(b, &lists);
    labels = b->labels;
    labels->most = 8;
    labels->floor = 0.05;
    labels->sure = 0.6;
    labels->confirm = labels->least = 0.5;
    if ((status = palme_keys_read(labels, keys, own, COUNT(own))) < 0 ||
        (status = read_numbers(labels, keys, "hold", "labels.hold.", hold, COUNT(hold))) < 0 ||
        (status = read_numbers(labels, keys, "unsure", "labels.unsure.", unsure, COUNT(unsure))) < 0)
        return status;
    palme_keys_warn_unknown(keys, own, COUNT(own), others);
    return PALME_OK;
}

int palme_label_config_read(struct palme_label_config **labels, const struct palme_config *config,
                            const struct palme_json *json, const char *stem, const char *context,
                            const struct palme_log *log)
{
    const struct palme_json *object = palme_json_get(json, "labels");
    const struct palme_keys keys = { .object = object, .path = "labels.", .log = log };
    struct block block = { 0 };
    int status;

    *labels = NULL;
    if (!object)
        return PALME_OK;
    if (!palme_json_is(object, PALME_JSON_OBJECT))
        return palme_keys_wrong_kind(&(struct palme_keys){ .object = json, .path = "", .log = log }, "labels", object,
                                     "an object");
    if (config->stem == PALME_STEM_NONE)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: labels need a stem, and %s is none", stem);
    if (config->context - palme_config_prefix(config) < LEAST_CONTEXT)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "config: labels need %d positions of %s for the text, and there are %d", LEAST_CONTEXT,
                          context, config->context - palme_config_prefix(config));
    if ((status = read_labels(&block, &keys)) < 0)
        palme_label_config_free(block.labels);
    else
        *labels = block.labels;
    return status;
}

void palme_label_config_free(struct palme_label_config *labels)
{
    free(labels);
}
