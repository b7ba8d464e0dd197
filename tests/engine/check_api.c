/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_api.c - what palme.h promises beside captions: reserved members, a log for each session,
 * preprocessors of a model, vocabularies that are padded.
 */
#include "support/check.h"
#include "nn/model.h"
#include "support/model_builder.h"

static uint8_t noise[16 * 16 * 3];

static struct palme_image picture(void)
{
    return (struct palme_image){
        .format = PALME_FORMAT_RGB, .width = 16, .height = 16, .planes = { noise }, .strides = { 48 }
    };
}

/* What was wrong with the arguments of palme_model_open is said, too. */
static void test_open_arguments(void)
{
    struct heard heard = { 0 };
    struct palme_setup setup = { .log = heard_log, .log_user = &heard };
    const struct palme_source source = { 0 };
    palme_model *model = (palme_model *)&heard;

    CHECK_INT(palme_model_open(&model, NULL, &setup), PALME_ERROR_ARGUMENT);
    CHECK(model == NULL && heard.errors == 1 && strstr(heard.error, "path"));
    CHECK_INT(palme_model_open(NULL, "x", &setup), PALME_ERROR_ARGUMENT);
    CHECK(heard.errors == 2 && strstr(heard.error, "place"));
    CHECK_INT(palme_model_open_source(&model, &source, NULL, &setup), PALME_ERROR_ARGUMENT);
    CHECK(heard.errors == 3 && strstr(heard.error, "name"));
    CHECK_INT(palme_model_open_source(&model, &source, "x", &setup), PALME_ERROR_ARGUMENT);
    CHECK(heard.errors == 4 && strstr(heard.error, "read_at"));
    setup.threads = -1;
    CHECK_INT(palme_model_open(&model, "x", &setup), PALME_ERROR_ARGUMENT);
    CHECK(heard.errors == 5 && strstr(heard.error, "threads"));
}

/* ---- Reserved members --------------------------------------------------------------------- */

/* A library that is older than a program must not silently ignore what the program asks for. */
static void test_reserved(void)
{
    const char *path = temporary("model.safetensors");
    struct builder *b = builder_new("{}", 1);
    palme_model *model = NULL, *other = NULL;
    palme_session *s = NULL;
    palme_preprocessor *preprocessor = NULL;
    struct palme_image image = picture();
    struct heard heard = { 0 };
    struct palme_info info;
    uint8_t out[4 * 4 * 3];

    builder_write(b, path);
    CHECK_INT(palme_model_open(&model, path, NULL), PALME_OK);
    for (size_t i = 0; i < sizeof((struct palme_setup *)0)->reserved / sizeof(uint64_t); i++) {
        struct palme_setup setup = { .log = heard_log, .log_user = &heard };

        setup.reserved[i] = 1;
        CHECK_INT(palme_model_open(&other, path, &setup), PALME_ERROR_ARGUMENT);
        CHECK(other == NULL && strstr(heard.error, "reserved"));
        memset(&heard, 0, sizeof heard);
    }
    for (size_t i = 0; i < sizeof((struct palme_options *)0)->reserved / sizeof(uint64_t); i++) {
        struct palme_options options = { .log = heard_log, .log_user = &heard };

        options.reserved[i] = (uint64_t)1 << 63;
        CHECK_INT(palme_session_open(&s, model, &options), PALME_ERROR_ARGUMENT);
        CHECK(s == NULL && strstr(heard.error, "reserved"));
        memset(&heard, 0, sizeof heard);
    }
    CHECK_INT(palme_session_open(&s, model, &(struct palme_options){ .log = heard_log, .log_user = &heard }), PALME_OK);
    CHECK_INT(palme_preprocessor_open_model(&preprocessor, model), PALME_OK);
    for (size_t i = 0; i < sizeof image.reserved / sizeof(uint64_t); i++) {
        image.reserved[i] = 1;
        CHECK_INT(palme_look(s, &image), PALME_ERROR_ARGUMENT);
        CHECK(strstr(heard.error, "reserved") != NULL);
        CHECK_INT(palme_preprocess(preprocessor, out, &image), PALME_ERROR_ARGUMENT);
        image.reserved[i] = 0;
    }
    CHECK_INT(palme_look(s, &image), PALME_OK);
    memset(&info, 0xff, sizeof info);
    palme_model_info(model, &info);
    for (size_t i = 0; i < sizeof info.reserved / sizeof(uint64_t); i++)
        CHECK(info.reserved[i] == 0);
    palme_preprocessor_close(&preprocessor);
    palme_session_close(&s);
    palme_model_close(&model);
    builder_free(b);
}

/* ---- Logs --------------------------------------------------------------------------------- */

/* What one session says another does not hear, and a model that is open says nothing any more. */
static void test_logs(void)
{
    struct builder *b = builder_new("{}", 2);
    struct heard opening = { 0 }, first = { 0 }, second = { 0 };
    const char *path = temporary("model.safetensors");
    struct palme_options options = { .log = heard_log, .log_user = &first };
    palme_session *one = NULL, *other = NULL, *silent = NULL;
    struct palme_image bad = { .format = PALME_FORMAT_RGB };
    palme_model *model = NULL;

    builder_write(b, path);
    CHECK_INT(palme_model_open(&model, path, &(struct palme_setup){ .log = heard_log, .log_user = &opening }),
              PALME_OK);
    memset(&opening, 0, sizeof opening);
    CHECK_INT(palme_session_open(&one, model, &options), PALME_OK);
    options.log_user = &second;
    CHECK_INT(palme_session_open(&other, model, &options), PALME_OK);
    CHECK_INT(palme_session_open(&silent, model, NULL), PALME_OK);
    CHECK_INT(palme_look(one, &bad), PALME_ERROR_ARGUMENT);
    CHECK(first.errors == 1 && second.errors == 0 && strstr(first.error, path) == first.error);
    CHECK_INT(palme_look(other, &bad), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_look(silent, &bad), PALME_ERROR_ARGUMENT);
    CHECK(first.errors == 1 && second.errors == 1);
    /* Options that are refused are so in the log that they bring, and change nothing. */
    options.log_user = &first;
    options.beams = PALME_MAX_BEAMS + 1;
    CHECK_INT(palme_session_set_options(other, &options), PALME_ERROR_ARGUMENT);
    CHECK(first.errors == 2 && second.errors == 1);
    CHECK_INT(palme_look(other, &bad), PALME_ERROR_ARGUMENT);
    CHECK(first.errors == 2 && second.errors == 2);
    CHECK_INT(palme_session_set_options(other, NULL), PALME_OK);
    CHECK_INT(palme_look(other, &bad), PALME_ERROR_ARGUMENT);
    CHECK(first.errors == 2 && second.errors == 2 && opening.errors == 0);
    palme_session_close(&one);
    palme_session_close(&other);
    palme_session_close(&silent);
    palme_model_close(&model);
    builder_free(b);
}

/* ---- Preprocessors ------------------------------------------------------------------------ */

static void test_preprocessor(void)
{
    palme_preprocessor *of_model = NULL, *by_hand = NULL;
    struct builder *b = builder_new("{\"image_size\": 8}", 3);
    palme_model *model = builder_open(b, 1, "f32");
    struct palme_image image = picture();
    uint8_t one[8 * 8 * 3], other[8 * 8 * 3];
    struct palme_info info;

    palme_model_info(model, &info);
    CHECK_INT(info.resize, PALME_RESIZE_SQUASH);
    CHECK_INT(palme_preprocessor_open_model(NULL, model), PALME_ERROR_ARGUMENT);
    of_model = (palme_preprocessor *)&image;
    CHECK_INT(palme_preprocessor_open_model(&of_model, NULL), PALME_ERROR_ARGUMENT);
    CHECK(of_model == NULL);
    CHECK_INT(palme_preprocessor_open(&by_hand, 8, (enum palme_resize)1, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_preprocessor_open(&by_hand, info.image_size, info.resize, info.level), PALME_OK);
    CHECK_INT(palme_preprocessor_open_model(&of_model, model), PALME_OK);
    palme_model_close(&model); /* it is not needed any more */
    CHECK_INT(palme_preprocess(of_model, one, &image), PALME_OK);
    CHECK_INT(palme_preprocess(by_hand, other, &image), PALME_OK);
    CHECK(memcmp(one, other, sizeof one) == 0);
    palme_preprocessor_close(&of_model);
    palme_preprocessor_close(&by_hand);
    builder_free(b);
}

/* ---- Padding of the vocabulary ------------------------------------------------------------ */

enum { TOKENS = 30 }; /* of 40 */

static int highest_of_caption(palme_session *s)
{
    struct palme_image image = picture();
    int status = palme_look(s, &image), count, highest = -1;
    const char *piece;

    while (status == PALME_OK)
        status = palme_next(s, &piece);
    CHECK_INT(status, PALME_END);
    const int *ids = palme_caption_tokens(s, &count);
    for (int i = 0; i < count; i++)
        highest = ids[i] > highest ? ids[i] : highest;
    return highest;
}

static void test_padding(void)
{
    static const struct palme_options ways[] = {
        { .beams = 1, .max_length = 12, .no_repeat_ngram = 1 },
        { .beams = 4, .max_length = 12, .no_repeat_ngram = 1 },
        { .temperature = 1.5, .max_length = 12 },
    };

    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        int beyond = 0;

        for (int seed = 0; seed < 12; seed++) {
            for (int padded = 0; padded < 2; padded++) {
                struct builder *b = builder_new("{}", 700 + (unsigned)seed);
                char *tokenizer = builder_tokenizer(padded ? TOKENS : 40);
                palme_session *s = NULL;
                double mean = 0;

                builder_metadata(b, "tokenizer", tokenizer);
                palme_model *model = builder_open(b, 1, "f32");
                CHECK_INT(palme_session_open(&s, model, &ways[w]), PALME_OK);
                int highest = highest_of_caption(s);

                if (padded)
                    CHECK_MESSAGE(highest < TOKENS, "way %zu, seed %d: token %d of the padding was chosen", w, seed,
                                  highest);
                else
                    beyond += highest >= TOKENS;
                CHECK_INT(palme_score(s, "ab", &mean), PALME_OK);
                CHECK(mean < 0);
                palme_session_close(&s);
                palme_model_close(&model);
                free(tokenizer);
                builder_free(b);
            }
        }
        CHECK(beyond > 0); /* without padding these ids are chosen */
    }
}

/* A caption could never end. */
static void test_end_in_padding(void)
{
    struct builder *b = builder_new("{\"eos_token\": 35}", 1);
    char *tokenizer = builder_tokenizer(TOKENS);
    const char *path = temporary("padded.safetensors");
    struct heard heard = { 0 };
    palme_model *model = NULL;

    builder_metadata(b, "tokenizer", tokenizer);
    builder_write(b, path);
    CHECK_INT(palme_model_open(&model, path, &(struct palme_setup){ .log = heard_log, .log_user = &heard }),
              PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "end token") != NULL);
    palme_model_close(&model);
    free(tokenizer);
    builder_free(b);
}

int main(void)
{
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 2654435761u >> 13);
    test_open_arguments();
    test_reserved();
    test_logs();
    test_preprocessor();
    test_padding();
    test_end_in_padding();
    return check_done();
}
