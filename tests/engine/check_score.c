/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_score.c - palme_score: beside the decoder driven row by row, beside the scores of captions, and what
 * a session is afterwards. All comparisons are exact: a row has the same bits in every pass, and both sides
 * add in the same order.
 *
 *     check_score MODEL
 */
#include "support/check.h"
#include "support/enginehost.h"
#include "support/model_builder.h"
#include "text/tokenizer.h"

static const char *const kinds[] = {
    "{}",
    "{\"cross_attend\": false}",
    "{\"qk_norm\": true, \"decoder_heads\": 3, \"alibi_num_heads\": 3, \"decoder_depth\": 2}",
    "{\"rotary_xpos\": false, \"use_abs_pos_emb\": true, \"max_seq_len\": 220}",
};
enum { KINDS = sizeof kinds / sizeof *kinds, SIDE = 16, MOST = 256 };

static uint8_t noise[SIDE * SIDE * 3];

static struct palme_image picture(void)
{
    return (struct palme_image){
        .format = PALME_FORMAT_RGB, .width = SIDE, .height = SIDE, .planes = { noise }, .strides = { SIDE * 3 }
    };
}

static palme_session *session_of(const palme_model *model, const struct palme_options *options)
{
    palme_session *s = NULL;
    struct palme_image image = picture();

    CHECK_INT(palme_session_open(&s, model, options), PALME_OK);
    CHECK_INT(palme_look(s, &image), PALME_OK);
    return s;
}

/* ---- Beside the decoder ------------------------------------------------------------------- */

static int encode(const palme_model *model, int *ids, const char *text)
{
    void *scratch = malloc(palme_tokenizer_scratch(model->tokenizer, strlen(text)));
    int count = palme_tokenizer_encode(model->tokenizer, ids, MOST, text, strlen(text), scratch);

    free(scratch);
    CHECK(count >= 0);
    return count;
}

/* One row after the other. */
static double by_rows(struct host *h, const char *prompt, const char *text)
{
    const struct palme_model *model = h->model;
    int ids[2 * MOST + 2] = { model->config.bos_token }, before, count, side = model->config.image_size;
    palme_preprocessor *preprocessor = NULL;
    uint8_t *square = malloc((size_t)side * (size_t)side * 3);
    float *planar = malloc((size_t)side * (size_t)side * 3 * sizeof *planar);
    float *logits = malloc((size_t)model->config.vocabulary * sizeof *logits);
    struct palme_image image = picture();
    struct sentence s;
    double sum = 0;

    CHECK_INT(palme_preprocessor_open_model(&preprocessor, model), PALME_OK);
    CHECK_INT(palme_preprocess(preprocessor, square, &image), PALME_OK);
    for (int i = 0; i < side * side * 3; i++)
        planar[i % 3 * side * side + i / 3] = (float)square[i] / 255;
    before = 1 + encode(model, ids + 1, prompt);
    count = before + encode(model, ids + before, text);
    ids[count] = model->config.eos_token;
    CHECK(count <= host_context(h)); /* else the test writes out of bounds */
    CHECK_INT(sentence_open(&s, h, host_context(h)), 0);
    host_encode(h, planar);
    host_see(h, &s);
    host_begin(h, &s);
    for (int i = 0; i < count; i++) {
        host_feed(h, logits, &s, ids + i, 1, 0);
        if (i >= before - 1)
            sum += logits[ids[i + 1]] - model->kernels.log_sum_exp(logits, model->config.vocabulary);
    }
    sentence_close(&s);
    palme_preprocessor_close(&preprocessor);
    free(square);
    free(planar);
    free(logits);
    return sum / (count - before + 1);
}

static void test_rows(void)
{
    /* The last one takes more than one pass, and more than one window of logits. */
    static const char *const prompts[] = { "", "ab", "abba" }, *const texts[] = { "", "a", "abcab", "abcabcabdabe" };
    static const char *const long_text =
        "abcabcabdabeabcfabcgabcabcabcabhabcabijcabcabcababcabklmcabcabcabcabnaopbqrstcab"
        "zyxwvutsrqponmlkjihgfedcbazyxwvutsrqponmlkjihg";

    for (size_t k = 0; k < KINDS; k++) {
        static const char *const precisions[] = { "f32", "bf16", "int8" };
        struct builder *b = builder_new(kinds[k], 500 + k);
        struct host h;

        builder_config(b, "default_prompt", "\"ba\"");
        CHECK_INT(host_take(&h, builder_open(b, 2, precisions[k % 3]), host_precision_find(precisions[k % 3])),
                  PALME_OK);
        palme_session *s = session_of(h.model, NULL);
        for (int p = -1; p < 3; p++) {
            for (int t = 0; t < 5; t++) {
                const char *text = t < 4 ? texts[t] : long_text, *prompt = p < 0 ? "ba" : prompts[p];
                double mean = 1, wanted;
                struct palme_image image = picture();

                if (t == 4 && h.model->config.context < 150)
                    continue;
                wanted = by_rows(&h, prompt, text);
                CHECK_INT(palme_look(s, &image), PALME_OK);
                if (p >= 0)
                    CHECK_INT(palme_prompt(s, prompt), PALME_OK);
                for (int again = 0; again < 2; again++) {
                    CHECK_INT(palme_score(s, text, &mean), PALME_OK);
                    CHECK(mean < 0 && wanted < 0);
                    CHECK_CLOSE(mean, wanted, 0);
                }
            }
        }
        palme_session_close(&s);
        host_close(&h);
        builder_free(b);
    }
}

/* ---- Beside captions ---------------------------------------------------------------------- */

struct caption {
    int status, length, ids[MOST];
    double score;
    char text[4096];
};

static struct caption finish(palme_session *s)
{
    struct caption c = { 0 };
    const char *piece;
    size_t used = 0;
    int count;

    while ((c.status = palme_next(s, &piece)) == PALME_OK)
        used += (size_t)snprintf(c.text + used, sizeof c.text - used, "%s", piece);
    const int *ids = palme_caption_tokens(s, &count);
    c.length = palme_caption_length(s);
    c.score = palme_caption_score(s);
    memcpy(c.ids, ids, (size_t)(count < MOST ? count : MOST) * sizeof *ids);
    return c;
}

static int same(const struct caption *a, const struct caption *b)
{
    return a->status == b->status && a->length == b->length && memcmp(&a->score, &b->score, sizeof a->score) == 0 &&
           memcmp(a->ids, b->ids, (size_t)a->length * sizeof *a->ids) == 0 && strcmp(a->text, b->text) == 0;
}

/* What greedy and beam search say of pictures has the score that they give it. */
static void test_captions(const char *path)
{
    static const struct palme_options ways[] = { { .beams = 1 }, { .beams = 4 }, { .beams = 1, .no_draft = 1 } };
    static const char *const prompts[] = { NULL, "", "a dog" };
    palme_model *model = NULL;
    int compared = 0;

    CHECK_INT(palme_model_open(&model, path, &(struct palme_setup){ .threads = 2 }), PALME_OK);
    for (size_t w = 0; w < 3 && model; w++) {
        palme_session *s = NULL;

        CHECK_INT(palme_session_open(&s, model, &ways[w]), PALME_OK);
        for (int i = 0; i < 6; i++) {
            struct palme_image image = picture();
            double mean = 0, early = 0;
            int ids[MOST], count;

            image.planes[0] = noise + 3 * SIDE * (i / 2);
            image.height = SIDE - i / 2;
            CHECK_INT(palme_look(s, &image), PALME_OK);
            if (prompts[i % 3])
                CHECK_INT(palme_prompt(s, prompts[i % 3]), PALME_OK);
            struct caption c = finish(s);

            CHECK_INT(c.status, PALME_END);
            count = encode(model, ids, c.text);
            if (c.ids[c.length - 1] != model->config.eos_token || count != c.length - 1 ||
                memcmp(ids, c.ids, (size_t)count * sizeof *ids) != 0)
                continue; /* the limit ended it, or its text splits into other tokens */
            compared++;
            CHECK_INT(palme_score(s, c.text, &mean), PALME_OK);
            CHECK_CLOSE(mean, c.score, 0);
            CHECK_INT(palme_caption_length(s), c.length); /* of the caption still */
            CHECK_CLOSE(palme_caption_score(s), c.score, 0);
            CHECK_INT(palme_look(s, &image), PALME_OK);
            if (prompts[i % 3])
                CHECK_INT(palme_prompt(s, prompts[i % 3]), PALME_OK);
            CHECK_INT(palme_score(s, c.text, &early), PALME_OK);
            CHECK_CLOSE(early, c.score, 0);
        }
        palme_session_close(&s);
    }
    CHECK_MESSAGE(compared >= 9, "only %d captions could be compared", compared);
    palme_model_close(&model);
}

/* ---- The session afterwards --------------------------------------------------------------- */

static void test_unchanged(void)
{
    static const struct palme_options ways[] = {
        { .beams = 1, .max_length = 12 },
        { .beams = 3, .max_length = 12 },
        { .temperature = 0.9, .max_length = 12, .seed = 3 },
    };

    for (size_t k = 0; k < KINDS; k++) {
        struct builder *b = builder_new(kinds[k], 520 + k);
        palme_model *model = builder_open(b, 1, "f32");

        for (size_t w = 0; w < 3; w++) {
            for (int prompted = 0; prompted < 2; prompted++) {
                palme_session *one = session_of(model, &ways[w]), *other = session_of(model, &ways[w]);
                struct palme_image image = picture();
                double mean;

                for (int i = 0; i < 3; i++) {
                    /* From the second caption on there is a draft, which foretells its beginning only. */
                    struct palme_options options = ways[w];

                    options.max_length = 4 + 4 * i;
                    for (int n = 0; n < 2; n++) {
                        CHECK_INT(palme_session_set_options(n ? one : other, &options), PALME_OK);
                        CHECK_INT(palme_look(n ? one : other, &image), PALME_OK);
                    }
                    if (!prompted)
                        CHECK_INT(palme_score(other, "abcabca", &mean), PALME_OK);
                    CHECK_INT(palme_prompt(one, "ab"), PALME_OK);
                    CHECK_INT(palme_prompt(other, "ab"), PALME_OK);
                    if (prompted)
                        CHECK_INT(palme_score(other, "abcabca", &mean), PALME_OK);
                    struct caption wanted = finish(one), found = finish(other);

                    CHECK(wanted.length > 1);
                    CHECK_MESSAGE(same(&wanted, &found), "kind %zu, way %zu, prompted %d, caption %d is another one", k,
                                  w, prompted, i);
                    CHECK_INT(palme_score(other, "abc", &mean), PALME_OK); /* nor does this change the next one */
                }
                palme_session_close(&one);
                palme_session_close(&other);
            }
        }
        palme_model_close(&model);
        builder_free(b);
    }
}

static int cancel_after(void *user)
{
    int *left = user;

    return (*left)-- <= 0;
}

static void test_errors(void)
{
    struct builder *b = builder_new("{\"max_seq_len\": 24, \"decoder_depth\": 3}", 530);
    palme_model *model = builder_open(b, 1, "f32");
    int left = 1 << 30, cancelled = 0;
    palme_session *s = NULL;
    struct palme_image image = picture();
    const struct palme_options options = { .max_length = 5, .cancel = cancel_after, .cancel_user = &left };
    double mean = 7, wanted;
    char text[PALME_MAX_PROMPT_BYTES + 2];
    const char *piece;

    CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
    CHECK_INT(palme_score(s, "a", &mean), PALME_ERROR_ARGUMENT); /* no picture */
    CHECK_INT(palme_look(s, &image), PALME_OK);
    CHECK_INT(palme_score(NULL, "a", &mean), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_score(s, NULL, &mean), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_score(s, "a", NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_score(s, "a\xff", &mean), PALME_ERROR_TEXT);
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    CHECK_INT(palme_score(s, text, &mean), PALME_ERROR_TEXT);
    text[sizeof text - 2] = '\0';
    CHECK_INT(palme_score(s, text, &mean), PALME_ERROR_CONTEXT);
    CHECK(mean == 7);
    /* Begin token and text may fill the context; the end token needs no place. */
    for (int letters = 1; letters < 24; letters++) {
        int ids[MOST];

        text[letters] = '\0';
        int tokens = encode(model, ids, text);
        CHECK(tokens >= letters);
        CHECK_INT(palme_score(s, text, &wanted), 1 + tokens <= model->config.context ? PALME_OK : PALME_ERROR_CONTEXT);
        text[letters] = 'a';
    }

    CHECK_INT(palme_score(s, "abcabc", &wanted), PALME_OK);
    mean = 7;
    for (int after = 0; after < 200; after++) {
        left = after;
        int status = palme_score(s, "abcabc", &mean);

        CHECK(status == PALME_OK || status == PALME_ERROR_CANCELLED);
        CHECK(status == PALME_OK ? mean == wanted : mean == 7);
        cancelled += status == PALME_ERROR_CANCELLED;
        mean = 7;
    }
    CHECK(cancelled > 3 && cancelled < 200);
    left = 1 << 30;
    CHECK_INT(palme_score(s, "abcabc", &mean), PALME_OK);
    CHECK_CLOSE(mean, wanted, 0);

    CHECK_INT(palme_prompt(s, ""), PALME_OK);
    CHECK_INT(palme_next(s, &piece), PALME_OK);
    CHECK_INT(palme_score(s, "a", &mean), PALME_ERROR_ARGUMENT); /* in the middle of a caption */
    CHECK(finish(s).status == PALME_END);
    CHECK_INT(palme_score(s, "abcabc", &mean), PALME_OK);
    palme_session_close(&s);
    palme_model_close(&model);
    builder_free(b);
}

int main(int count, char **arguments)
{
    uint32_t x = 99;

    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)((x >> 24) / 2 + i / 5 % 120);
    }
    test_rows();
    test_unchanged();
    test_errors();
    if (count > 1)
        test_captions(arguments[1]);
    return check_done();
}
