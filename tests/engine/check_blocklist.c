/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_blocklist.c - words that are never said: what counts as a word, whatever its tokens are, and captions of every
 * kind of search without the words that they had.
 *
 *     check_blocklist MODEL
 */
#include "nn/model.h"
#include "support/check.h"
#include "text/tokenizer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, SIDE = 64 };

static uint8_t pixels[SIDE * SIDE * 3];

/* Whether any token of the text is forbidden. */
static int is_forbidden(const palme_model *model, const char *list, const char *text)
{
    void *scratch = malloc(palme_tokenizer_scratch(model->tokenizer, strlen(text)));
    int ids[MOST], count = palme_tokenizer_encode(model->tokenizer, ids, MOST, text, strlen(text), scratch);
    int forbidden = 0;

    free(scratch);
    CHECK(count > 0);
    for (int i = 0; i < count; i++)
        forbidden |= palme_blocklist_forbids(list, model->tokenizer, ids, i, ids[i]);
    return forbidden;
}

static void test_words(const palme_model *model)
{
    static const struct {
        const char *list, *text;
        int wanted;
    } cases[] = {
        { NULL, "a dog", 0 },
        { "", "a dog", 0 },
        { " ,\n,", "a dog", 0 },
        { "dog", "a dog", 1 },
        { "dog", "dog", 1 },
        { "dog", "a dog runs", 1 },
        { "dog", "a dog.", 1 },
        { "dog", "a DOG", 1 },
        { "Dog", "a dog", 1 },
        { "cat,dog", "a dog", 1 },
        { "cat\ndog\n", "a dog", 1 },
        { " cat , dog ", "a dog", 1 },
        { "cat", "a dog", 0 },
        { "do", "a dog", 0 },
        { "og", "a dog", 0 },
        { "a dog", "a dog", 1 },
        { "black dog", "a black dog", 1 },
        { "lack dog", "a black dog", 0 },
        { "black cat", "a black dog", 0 },
        { "xylophonist", "the xylophonist plays", 1 }, /* of many tokens */
        { "dog", "the dogs", 0 },
        { "caf\xc3\xa9", "a caf\xc3\xa9", 1 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_MESSAGE(is_forbidden(model, cases[i].list, cases[i].text) == cases[i].wanted,
                      "\"%s\" with \"%s\" blocked", cases[i].text, cases[i].list ? cases[i].list : "(nothing)");
}

/* A caption and its score under these options. */
static double caption(char *text, size_t room, const palme_model *model, const struct palme_options *options)
{
    struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = SIDE, .height = SIDE, .planes = { pixels }, .strides = { SIDE * 3 }
    };
    palme_session *s;
    const char *piece;
    double score;
    int status;

    text[0] = '\0';
    CHECK_INT(palme_session_open(&s, model, options), PALME_OK);
    CHECK_INT(palme_look(s, &image), PALME_OK);
    while ((status = palme_next(s, &piece)) == PALME_OK)
        snprintf(text + strlen(text), room - strlen(text), "%s", piece);
    CHECK_INT(status, PALME_END);
    score = palme_caption_score(s);
    palme_session_close(&s);
    return score;
}

static int has_word(const char *text, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length]))
            return 1;
    return 0;
}

/* Blocks the longest word of each caption in turn, and those before it too. */
static void test_captions(const palme_model *model, struct palme_options options)
{
    char text[1024], other[1024], list[1024] = "zzz", word[PALME_MAX_BLOCKED_BYTES + 1];
    double score = caption(text, sizeof text, model, &options);

    options.blocklist = list;
    CHECK(caption(other, sizeof other, model, &options) == score);
    CHECK_STR(other, text);
    for (int round = 0; round < 6; round++) {
        word[0] = '\0';
        for (const char *at = text; *at;) {
            size_t length = 0;

            while (isalnum((unsigned char)at[length]))
                length++;
            if (length > strlen(word) && length < sizeof word)
                snprintf(word, sizeof word, "%.*s", (int)length, at);
            at += length ? length : 1;
        }
        if (!word[0])
            return;
        snprintf(list + strlen(list), sizeof list - strlen(list), ",%s", word);
        CHECK(isfinite(caption(text, sizeof text, model, &options)));
        for (char *at = list, *end; *at; at = *end ? end + 1 : end) {
            end = at + strcspn(at, ",");
            snprintf(word, sizeof word, "%.*s", (int)(end - at), at);
            CHECK_MESSAGE(!has_word(text, word), "\"%s\" has \"%s\"", text, word);
        }
    }
}

static void test_errors(const palme_model *model)
{
    char list[PALME_MAX_BLOCKED_BYTES + 8] = "a,";
    struct palme_options options = { .beams = 1, .blocklist = list };
    palme_session *s;

    memset(list + 2, 'x', PALME_MAX_BLOCKED_BYTES);
    CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
    list[2 + PALME_MAX_BLOCKED_BYTES] = 'x';
    CHECK_INT(palme_session_set_options(s, &options), PALME_ERROR_ARGUMENT);
    palme_session_close(&s);
}

int main(int count, char **arguments)
{
    palme_model *model;
    uint32_t x = 5;

    if (count != 2)
        return 2;
    for (size_t i = 0; i < sizeof pixels; i++) {
        x = x * 1664525 + 1013904223;
        pixels[i] = (uint8_t)((x >> 24) / 2 + i / 3 % SIDE);
    }
    CHECK_INT(palme_model_open(&model, arguments[1], NULL), PALME_OK);
    test_words(model);
    test_captions(model, (struct palme_options){ .beams = 1 });
    test_captions(model, (struct palme_options){ .beams = 3 });
    for (uint64_t seed = 0; seed < 5; seed++)
        test_captions(model, (struct palme_options){ .beams = 1, .temperature = 1, .seed = seed });
    test_errors(model);
    palme_model_close(&model);
    return check_done();
}
