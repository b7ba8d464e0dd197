/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_session.c - sessions through the public interface: what a caption promises whatever the model is.
 *
 *     check_session [f32|bf16|int8]
 */
#include <fenv.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>

#include "support/allocations.h"
#include "support/arenahost.h"
#include "support/check.h"
#include "nn/model.h"
#include "support/model_builder.h"

/* ---- Helpers ------------------------------------------------------------------------------ */

static const char *precision; /* that models are opened in */

static palme_model *open_config(const char *config, uint64_t seed, int threads)
{
    struct builder *b = builder_new(config, seed);
    palme_model *model = builder_open(b, threads, precision);

    builder_free(b);
    return model;
}

static uint8_t noise[64 * 64 * 3];

static struct palme_image picture(int size)
{
    return (struct palme_image){
        .format = PALME_FORMAT_RGB, .width = size, .height = size, .planes = { noise }, .strides = { 3 * size }
    };
}

struct told {
    int status, length, ids[256];
    double score;
    char text[4096];
};

/* A whole caption; prompt NULL asks for the default. */
static struct told tell(palme_session *s, const char *prompt)
{
    struct told told = { .status = PALME_OK };
    struct palme_image image = picture(16);
    const char *piece;
    size_t used = 0;

    told.status = palme_look(s, &image);
    if (told.status == PALME_OK && prompt)
        told.status = palme_prompt(s, prompt);
    while (told.status == PALME_OK && (told.status = palme_next(s, &piece)) == PALME_OK)
        used += (size_t)snprintf(told.text + used, sizeof told.text - used, "%s", piece);
    told.length = palme_caption_length(s);
    told.score = palme_caption_score(s);
    if (told.status == PALME_END) {
        int count;
        const int *ids = palme_caption_tokens(s, &count);

        memcpy(told.ids, ids, (size_t)(count < 256 ? count : 256) * sizeof *ids);
    }
    return told;
}

static struct told tell_with(const palme_model *model, const struct palme_options *options, const char *prompt)
{
    palme_session *s = NULL;

    CHECK_INT(palme_session_open(&s, model, options), PALME_OK);
    struct told told = tell(s, prompt);
    palme_session_close(&s);
    CHECK(s == NULL);
    return told;
}

static int same_told(const struct told *a, const struct told *b)
{
    return a->status == b->status && a->length == b->length && a->score == b->score &&
           memcmp(a->ids, b->ids, (size_t)a->length * sizeof *a->ids) == 0 && strcmp(a->text, b->text) == 0;
}

/* Models that differ in everything that a session has to treat differently. */
static const char *const kinds[] = {
    "{}",
    "{\"cross_attend\": false}",
    "{\"cross_attend\": false, \"encoder_dim\": 10, \"rotary_xpos\": false, \"use_abs_pos_emb\": true}",
    "{\"qk_norm\": true, \"decoder_heads\": 3, \"alibi_num_heads\": 3, \"decoder_depth\": 2}",
    "{\"rotary_xpos\": false, \"use_abs_pos_emb\": true, \"alibi_pos_bias\": false}",
    "{\"encoder_dim\": 20, \"encoder_heads\": 2, \"encoder_depth\": 2}",
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- Tests -------------------------------------------------------------------------------- */

static void test_arguments(void)
{
    palme_model *model = open_config(kinds[0], 1, 1);
    palme_session *s = NULL;
    const char *piece = NULL;
    struct palme_image image = picture(16);
    const struct palme_options bad[] = {
        { .max_length = -1 },
        { .beams = -1 },
        { .beams = 17 },
        { .temperature = -1 },
        { .temperature = NAN },
        { .temperature = INFINITY },
        { .top_k = -1 },
        { .top_p = -0.5 },
        { .top_p = NAN },
        { .length_penalty = -1 },
        { .length_penalty = INFINITY },
        { .no_repeat_ngram = -2 },
        { .min_length = -1 },
    };

    CHECK_INT(palme_session_open(NULL, model, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_session_open(&s, NULL, NULL), PALME_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(palme_session_open(&s, model, &bad[i]), PALME_ERROR_ARGUMENT);
        CHECK(s == NULL);
    }
    CHECK_INT(palme_session_open(&s, model, NULL), PALME_OK);
    CHECK_INT(palme_next(s, &piece), PALME_ERROR_ARGUMENT); /* nothing seen */
    CHECK_STR(piece, "");
    CHECK_INT(palme_prompt(s, ""), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next(NULL, &piece), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next(s, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_look(s, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_look(NULL, &image), PALME_ERROR_ARGUMENT);
    image.width = 0;
    CHECK_INT(palme_look(s, &image), PALME_ERROR_ARGUMENT);
    image = picture(16);
    CHECK_INT(palme_look(s, &image), PALME_OK);
    CHECK_INT(palme_prompt(s, "a\xff"), PALME_ERROR_TEXT);
    char *huge = malloc(5000);
    memset(huge, 'a', 4999);
    huge[4999] = 0;
    CHECK_INT(palme_prompt(s, huge), PALME_ERROR_TEXT);
    huge[4000] = 0;
    CHECK_INT(palme_prompt(s, huge), PALME_ERROR_CONTEXT);
    free(huge);
    CHECK_INT(palme_prompt(s, "a"), PALME_OK); /* a refused prompt changes nothing */
    CHECK_INT(palme_prompt(s, "a"), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next(s, &piece), PALME_OK);
    image.width = -1; /* a picture that fails takes the old one with it */
    CHECK_INT(palme_look(s, &image), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next(s, &piece), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_session_set_options(s, &(struct palme_options){ .beams = 2 }), PALME_ERROR_ARGUMENT);
    palme_session_close(&s);
    palme_session_close(&s);
    palme_session_close(NULL);
    palme_model_close(&model);
    palme_model_close(&model);
    palme_model_close(NULL);
}

static void test_planar(void)
{
    palme_model *model = open_config("{\"image_size\": 16, \"patch_size\": 4}", 2, 1);
    palme_session *s = NULL;
    float pixels[3 * 16 * 16];
    const int good[][2] = { { 16, 16 }, { 8, 16 }, { 4, 4 }, { 4, 64 }, { 32, 8 } };
    const int bad[][2] = { { 16, 20 }, { 6, 4 }, { 0, 4 }, { -4, 4 }, { 4, 68 }, { 1 << 30, 4 } };

    for (int i = 0; i < 3 * 16 * 16; i++)
        pixels[i] = (float)(i % 251) / 250;
    CHECK_INT(palme_session_open(&s, model, NULL), PALME_OK);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_INT(palme_look_planar(s, pixels, good[i][0], good[i][1]), PALME_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(palme_look_planar(s, pixels, bad[i][0], bad[i][1]), PALME_ERROR_ARGUMENT);
    pixels[100] = NAN;
    CHECK_INT(palme_look_planar(s, pixels, 16, 16), PALME_ERROR_ARGUMENT);
    pixels[100] = -INFINITY;
    CHECK_INT(palme_look_planar(s, pixels, 16, 16), PALME_ERROR_ARGUMENT);
    memset(pixels, 0, sizeof pixels);
    CHECK_INT(palme_look_planar(s, pixels, 16, 16), PALME_OK);
    palme_session_close(&s);
    palme_model_close(&model);
}

/* A session's captions do not depend on what it did before, on threads, or on its neighbours. */
static void test_repeatable(void)
{
    static const struct palme_options ways[] = {
        { .max_length = 12, .beams = 1 },
        { .max_length = 12, .temperature = 0.8, .top_k = 20, .top_p = 0.95, .seed = 7 },
        { .max_length = 12, .beams = 3, .length_penalty = 0.7 },
        { .max_length = 12, .beams = 16, .no_repeat_ngram = 2, .min_length = 5 },
    };

    for (size_t k = 0; k < KINDS; k++) {
        palme_model *one = open_config(kinds[k], 3 + k, 1), *three = open_config(kinds[k], 3 + k, 3);

        CHECK_INT(one->threads, 1);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            struct told first = tell_with(one, &ways[w], "a"), again;
            palme_session *s = NULL;

            CHECK_INT(first.status, PALME_END);
            CHECK(first.length >= 1 && first.length <= 12);
            CHECK(first.score < 0);
            again = tell_with(three, &ways[w], "a");
            CHECK_MESSAGE(same_told(&first, &again), "kind %zu way %zu: threads change the caption", k, w);
            palme_session_open(&s, one, &(struct palme_options){ .beams = 16 });
            for (size_t v = 0; v < sizeof ways / sizeof *ways; v++) {
                palme_session_set_options(s, &ways[v]);
                tell(s, v % 2 ? "abc" : "");
            }
            palme_session_set_options(s, &ways[w]);
            again = tell(s, "a");
            CHECK_MESSAGE(same_told(&first, &again), "kind %zu way %zu: the past changes the caption", k, w);
            palme_session_close(&s);
        }
        palme_model_close(&one);
        palme_model_close(&three);
    }
}

/* Rows of one call give bit for bit what they give alone: a text in one piece, token by token, and as
 * neighbours of other sentences. */
static void test_rows(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        palme_model *model = open_config(kinds[k], 40 + k, 2);
        const struct palme_config *p = &model->config;
        struct palme_compute c = { .kernels = &model->kernels, .pool = model->pool };
        size_t inner = (size_t)p->decoder.heads * 64, v = (size_t)p->vocabulary, depth = (size_t)p->decoder.depth;
        enum { N = 8, CACHES = 4 };
        float *tables = calloc(4 * 64 * 16, sizeof *tables);
        struct palme_rotary rotary = { tables, tables + 1024, tables + 2048, tables + 3072,
                                       p->context < 64 ? p->context : 64 };
        float *kv = calloc(CACHES * 2 * depth * 24 * inner, sizeof *kv);
        float *picture_kv = calloc(2 * depth * 4 * inner, sizeof *picture_kv);
        struct palme_picture seen = { .tokens = 4, .kv = picture_kv, .capacity = 4 };
        struct palme_arena scratch = scratch_for_model(model, 64);
        float *whole = calloc(N * v, sizeof *whole), *step = calloc(N * v, sizeof *step);
        float *mixed = calloc(CACHES * v, sizeof *mixed);
        struct palme_cache cache[CACHES];
        struct palme_row rows[N];

        palme_rotary_fill(&rotary, &model->weights.decoder, p->xpos_center);
        for (size_t i = 0; i < 2 * depth * 4 * inner; i++)
            picture_kv[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
        for (int i = 0; i < CACHES; i++)
            cache[i] = (struct palme_cache){ .kv = kv + (size_t)i * 2 * depth * 24 * inner, .capacity = 24 };
        for (int i = 0; i < N; i++)
            rows[i] = (struct palme_row){ .cache = &cache[0], .picture = &seen, .rotary = &rotary, .token = 1 + 5 * i };
        palme_decode(model, &c, whole, rows, N, 0, &scratch);
        CHECK_INT(cache[0].length, N);
        for (int i = 0; i < N; i++) {
            rows[i].cache = &cache[1];
            palme_decode(model, &c, step + (size_t)i * v, &rows[i], 1, 0, &scratch);
        }
        CHECK_MESSAGE(memcmp(whole, step, N * v * sizeof *whole) == 0, "kind %zu: prefill and steps differ", k);
        /* The last token again, beside three other sentences of other lengths. */
        cache[1].length = N - 1;
        rows[N - 1].cache = &cache[2];
        palme_decode(model, &c, NULL, &rows[N - 1], 1, 1, &scratch);
        struct palme_row four[CACHES] = {
            { .cache = &cache[2], .picture = &seen, .rotary = &rotary, .token = 3 },
            { .cache = &cache[3], .picture = &seen, .rotary = &rotary, .token = 4 },
            { .cache = &cache[1], .picture = &seen, .rotary = &rotary, .token = 1 + 5 * (N - 1) },
            { .cache = &cache[0], .picture = &seen, .rotary = &rotary, .token = 9 },
        };
        palme_decode(model, &c, mixed, four, CACHES, 0, &scratch);
        CHECK_MESSAGE(memcmp(mixed + 2 * v, step + (N - 1) * v, v * sizeof *mixed) == 0,
                      "kind %zu: neighbours change a row", k);
        free(tables), free(kv), free(picture_kv), free(scratch.base), free(whole), free(step), free(mixed);
        palme_model_close(&model);
    }
}

/* The search against a plain one that keeps whole texts and recomputes everything. */
struct sentence {
    double score;
    int length, ids[16];
};

static int by_score(const void *a, const void *b)
{
    const struct sentence *x = a, *y = b;

    return x->score > y->score ? -1 : x->score < y->score;
}

static void row_after(const palme_model *model, palme_session *s, const int *ids, int n, double *logs);

static struct sentence search(const palme_model *model, palme_session *s, int beams, double alpha, int most,
                              int *finished)
{
    static struct sentence open[16], all[16 * 64];
    int v = model->config.vocabulary, count = 1;
    struct sentence best = { .length = 0 };
    double best_value = -INFINITY, logs[64];

    open[0] = (struct sentence){ .score = 0 };
    *finished = 0;
    for (int n = 1; n <= most; n++) {
        int candidates = 0, next = 0;

        for (int b = 0; b < count; b++) {
            row_after(model, s, open[b].ids, open[b].length, logs);
            for (int t = 0; t < v; t++) {
                if (n == 1 && t == model->config.eos_token)
                    continue;
                all[candidates] = open[b];
                all[candidates].score += logs[t];
                all[candidates].ids[all[candidates].length++] = t;
                candidates++;
            }
        }
        qsort(all, (size_t)candidates, sizeof *all, by_score);
        if (candidates > 2 * beams)
            candidates = 2 * beams;
        for (int i = 0; i < candidates; i++) {
            if (all[i].ids[all[i].length - 1] == model->config.eos_token) {
                if (all[i].score / pow(n, alpha) > best_value) {
                    best_value = all[i].score / pow(n, alpha);
                    best = all[i];
                    *finished = 1;
                }
            } else if (next < beams) {
                open[next++] = all[i];
            }
        }
        count = next;
        if (*finished && best_value >= open[0].score / pow(most, alpha))
            break;
    }
    return *finished ? best : open[0];
}

/* log-softmax after begin token and ids, computed anew through the public interface: a forced text is a
 * prompt, and the tokens of these models are single letters. */
static void row_after(const palme_model *model, palme_session *s, const int *ids, int n, double *logs)
{
    struct palme_image image = picture(16);
    const struct palme_config *p = &model->config;
    struct palme_compute c = { .kernels = &model->kernels };
    size_t inner = (size_t)p->decoder.heads * 64, depth = (size_t)p->decoder.depth;
    int patches = palme_config_patches(p), v = p->vocabulary;
    float *memory = calloc(4 * 24 * 16 + 2 * depth * 24 * inner + 2 * depth * (size_t)patches * inner +
                               (size_t)patches * (size_t)(p->encoder.dim + p->decoder.dim) + (size_t)v,
                           4);
    struct palme_rotary rotary = { memory, memory + 384, memory + 768, memory + 1152, 24 };
    struct palme_cache cache = { .kv = memory + 1536, .capacity = 24 };
    float *picture_kv = cache.kv + 2 * depth * 24 * inner, *context = picture_kv + 2 * depth * (size_t)patches * inner;
    struct palme_picture seen = { .kv = picture_kv, .capacity = patches };
    float *mapped = context + (size_t)patches * p->encoder.dim, *logits = mapped + (size_t)patches * p->decoder.dim;
    struct palme_arena scratch = scratch_for_model(model, 64);
    float *pixels = calloc((size_t)p->image_size * (size_t)p->image_size * 3, sizeof *pixels);
    struct palme_row rows[64];
    int count = 0;

    (void)s;
    CHECK_INT(p->image_size, image.width);
    for (int i = 0; i < p->image_size * p->image_size * 3; i++)
        pixels[i] = (float)noise[i] / 255;
    palme_rotary_fill(&rotary, &model->weights.decoder, p->xpos_center);
    palme_encode(model, &c, context, NULL, pixels, p->image_size, p->image_size, &scratch);
    palme_decoder_see(model, &c, &seen, mapped, context, patches, &scratch);
    if (!p->cross_attend) {
        cache.visible = patches;
        for (; count < patches; count++)
            rows[count] = (struct palme_row){ .cache = &cache,
                                              .picture = &seen,
                                              .rotary = &rotary,
                                              .embedding = mapped + (size_t)count * p->decoder.dim };
    }
    for (int i = -1; i < n; i++)
        rows[count++] = (struct palme_row){
            .cache = &cache, .picture = &seen, .rotary = &rotary, .token = i < 0 ? p->bos_token : ids[i]
        };
    palme_decode(model, &c, logits, rows, count, count - 1, &scratch);
    double all = model->kernels.log_sum_exp(logits, v);
    for (int t = 0; t < v; t++)
        logs[t] = logits[t] - all;
    free(memory), free(scratch.base), free(pixels);
}

static void test_beams(void)
{
    int ended = 0;

    for (size_t k = 0; k < KINDS; k++) {
        char config[512];

        snprintf(config, sizeof config, "{\"image_size\": 16, \"patch_size\": 8%s%s", kinds[k][1] == '}' ? "" : ", ",
                 kinds[k] + 1);
        struct builder *b = builder_new(config, 60 + k);
        /* A likelier end than in random weights, so that searches end by themselves and not at the limit. */
        builder_poison(b, "decoder.net.to_logits.bias", 2, 1.5f);
        palme_model *model = builder_open(b, 1, precision);
        builder_free(b);
        for (int beams = 2; beams <= 5; beams++) {
            struct palme_options options = { .beams = beams, .max_length = 7, .length_penalty = 0.7 };
            struct told told = tell_with(model, &options, "");
            int finished;
            struct sentence wanted = search(model, NULL, beams, 0.7, 7, &finished);

            ended += finished;
            CHECK_INT(told.status, PALME_END);
            CHECK_INT(told.length, wanted.length);
            CHECK_MESSAGE(memcmp(told.ids, wanted.ids, (size_t)wanted.length * sizeof(int)) == 0,
                          "kind %zu, %d beams: other tokens", k, beams);
            /* The same logarithms of the same logits, but told.score is a float's worth: each of them, up to 10 or
             * so, has a rounding of 2^-24 here or there. */
            CHECK_CLOSE(told.score, wanted.score / wanted.length, 10 * 2 * 0x1p-24);
        }
        palme_model_close(&model);
    }
    printf("%d of %d searches ended by themselves\n", ended, (int)KINDS * 4);
    CHECK(ended > KINDS && ended < KINDS * 4); /* both ends are tried */
}

/* A greedy caption's score, length limits, and the filters that forbid tokens. */
static void test_limits(void)
{
    struct builder *b = builder_new("{}", 9);
    struct built_tensor *bias = builder_find(b, "decoder.net.to_logits.bias");

    builder_poison(b, "decoder.net.to_logits.bias", 2, -100); /* <eos> never comes by itself */
    palme_model *model = builder_open(b, 1, precision);
    (void)bias;
    int context = model->config.context;
    for (int most = 1; most <= 3; most++) {
        struct told told = tell_with(model, &(struct palme_options){ .max_length = most }, "");

        CHECK_INT(told.length, most);
        CHECK_INT(told.status, PALME_END);
    }
    CHECK_INT(tell_with(model, &(struct palme_options){ .max_length = 1000 }, "").length, context);
    CHECK_INT(tell_with(model, &(struct palme_options){ .max_length = 1000, .beams = 2 }, "").length, context);
    for (int ngram = 1; ngram <= 3; ngram++) {
        for (int beams = 1; beams <= 3; beams += 2) {
            struct palme_options options = { .max_length = 1000, .no_repeat_ngram = ngram, .beams = beams };
            struct told told = tell_with(model, &options, "");
            int repeats = 0;

            for (int i = 0; i + ngram <= told.length; i++)
                for (int j = 0; j < i; j++)
                    repeats += memcmp(told.ids + i, told.ids + j, (size_t)ngram * sizeof(int)) == 0;
            CHECK_INT(repeats, 0);
            CHECK_INT(told.length, context);
        }
    }
    palme_model_close(&model);

    builder_poison(b, "decoder.net.to_logits.bias", 2, 100); /* <eos> always comes */
    model = builder_open(b, 1, precision);
    CHECK_INT(tell_with(model, NULL, "").length, 1);
    CHECK_STR(tell_with(model, NULL, "").text, "");
    for (int least = 2; least <= 6; least += 2) {
        CHECK_INT(tell_with(model, &(struct palme_options){ .min_length = least }, "").length, least);
        CHECK_INT(tell_with(model, &(struct palme_options){ .min_length = least, .beams = 3 }, "").length, least);
    }
    palme_model_close(&model);
    builder_free(b);
}

/* The drawn tokens follow the filtered distribution: 4000 draws of the first token. */
static void test_sampling(void)
{
    palme_model *model = open_config("{\"image_size\": 16, \"patch_size\": 8}", 21, 1);
    struct palme_options options = { .max_length = 1, .temperature = 0.7, .top_k = 12, .top_p = 0.9 };
    int v = model->config.vocabulary, counts[64] = { 0 }, kept[64], n = 4000, different = 0;
    double logs[64], chi = 0;
    float logits[64], probabilities[64];
    palme_session *s = NULL;

    CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
    for (int i = 0; i < n; i++) {
        options.seed = (uint64_t)i;
        palme_session_set_options(s, &options);
        struct told told = tell(s, "");
        counts[told.ids[0]]++;
    }
    row_after(model, s, NULL, 0, logs);
    for (int t = 0; t < v; t++)
        logits[t] = (float)logs[t];
    int count = palme_filter(probabilities, kept, logits, v, 0.7, 12, 0.9);
    CHECK(count > 1 && count <= 12);
    for (int t = 0; t < v; t++) {
        if (probabilities[t] == 0)
            CHECK_INT(counts[t], 0);
        else
            chi += (counts[t] - n * probabilities[t]) * (counts[t] - n * probabilities[t]) / (n * probabilities[t]);
        different += counts[t] > 0;
    }
    /* The mean of chi squared is count - 1 and its deviation sqrt(2 (count - 1)); the seeds are fixed, so this
     * cannot fail by chance later. */
    CHECK_MESSAGE(chi < count - 1 + 5 * sqrt(2.0 * (count - 1)), "chi squared %.1f of %d", chi, count);
    CHECK(different > 1);
    palme_session_close(&s);
    palme_model_close(&model);
}

static int stop_after(void *user)
{
    int *left = user;

    return (*left)-- <= 0;
}

static int never(void *user)
{
    ++*(long *)user;
    return 0;
}

/* The cancel callback ends every call, a caption can be made afterwards, and a long layer asks it often. */
static void test_stop(void)
{
    palme_model *model = open_config("{\"encoder_depth\": 3, \"decoder_depth\": 3}", 5, 2);
    int left = 0, stopped = 0;
    struct palme_options options = { .max_length = 6, .cancel = stop_after, .cancel_user = &left };
    palme_session *s = NULL;
    struct palme_image image = picture(16);
    const char *piece;

    CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
    for (int after = 0; after < 400; after++) {
        left = after;
        int status = palme_look(s, &image);

        if (status == PALME_OK)
            status = palme_prompt(s, "ab");
        while (status == PALME_OK)
            status = palme_next(s, &piece);
        CHECK(status == PALME_ERROR_CANCELLED || status == PALME_END);
        stopped += status == PALME_ERROR_CANCELLED;
    }
    CHECK(stopped > 20 && stopped < 400);
    left = 1 << 30;
    struct told told = tell(s, "ab"), fresh = tell_with(model, &(struct palme_options){ .max_length = 6 }, "ab");
    CHECK(same_told(&told, &fresh));

    /* A stop in the middle of a sentence loses nothing: the same call goes on. */
    CHECK_INT(palme_look(s, &image), PALME_OK);
    CHECK_INT(palme_prompt(s, "ab"), PALME_OK);
    for (int i = 0, status = PALME_OK; status != PALME_END; i++) {
        left = i * 5 % 64; /* a step asks a dozen times, so some calls get through */
        status = palme_next(s, &piece);
        CHECK(status == PALME_OK || status == PALME_END || status == PALME_ERROR_CANCELLED);
        CHECK(i < 2000);
        if (i >= 2000)
            break;
    }
    int count;
    const int *ids = palme_caption_tokens(s, &count);
    CHECK_INT(count, fresh.length);
    CHECK(memcmp(ids, fresh.ids, (size_t)fresh.length * sizeof *ids) == 0);
    CHECK_CLOSE(palme_caption_score(s), fresh.score, 0);

    /* A prompt that was stopped is asked again as if nothing had been. */
    left = 1 << 30;
    CHECK_INT(palme_look(s, &image), PALME_OK);
    left = 20;
    CHECK_INT(palme_prompt(s, "ab"), PALME_ERROR_CANCELLED);
    left = 1 << 30;
    CHECK_INT(palme_prompt(s, "ab"), PALME_OK);
    while (palme_next(s, &piece) == PALME_OK)
        continue;
    ids = palme_caption_tokens(s, &count);
    CHECK(count == fresh.length && memcmp(ids, fresh.ids, (size_t)count * sizeof *ids) == 0);
    palme_session_close(&s);
    palme_model_close(&model);

    model = open_config("{\"image_size\": 192, \"patch_size\": 4, \"encoder_dim\": 64, \"encoder_depth\": 1}", 6, 1);
    long asked = 0;
    options = (struct palme_options){ .cancel = never, .cancel_user = &asked };
    CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
    CHECK_INT(palme_look(s, &image), PALME_OK);
    /* 2304 tokens, one layer: the attention alone is 4 * 2304^2 * 64 = 1.36 GFLOP, in one go; where it is rounded, of
     * half the cost. */
    const int rounds = palme_linear_rounds(&model->kernels, &model->weights.encoder.layers[0].attention.out);
    double flops = 2.0 * 2304 * (48 * 64 + 12 * 64 * 64) + (rounds ? 2.0 : 4.0) * 2304 * 2304 * 64;
    CHECK_MESSAGE(asked >= flops / PALME_CANCEL_FLOPS, "asked %ld times in %.0f MFLOP", asked, flops / 1e6);
    palme_session_close(&s);
    palme_model_close(&model);
}

/* After its first caption a session never allocates. */
/* A caption that is ended after n steps is the one that may have n tokens. */
static void test_finish(void)
{
    palme_model *model = open_config("{\"decoder_depth\": 2}", 7, 1);
    struct palme_image image = picture(16);
    const char *piece;
    int open = 0;

    CHECK_INT(palme_finish(NULL), PALME_ERROR_ARGUMENT);
    for (int beams = 1; beams <= 4; beams += 3) {
        struct palme_options options = { .max_length = 12, .beams = beams };
        palme_session *s = NULL;

        CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
        CHECK_INT(palme_finish(s), PALME_ERROR_ARGUMENT);
        for (int steps = 1; steps <= 12; steps++) {
            struct told shorter =
                tell_with(model, &(struct palme_options){ .max_length = steps, .beams = beams }, "ab");
            struct told told = { .status = PALME_OK };
            double mean;

            CHECK_INT(palme_look(s, &image), PALME_OK);
            CHECK_INT(palme_finish(s), PALME_ERROR_ARGUMENT);
            CHECK_INT(palme_prompt(s, "ab"), PALME_OK);
            size_t used = 0;
            for (int i = 0; i < steps && told.status == PALME_OK; i++)
                if ((told.status = palme_next(s, &piece)) == PALME_OK)
                    used += (size_t)snprintf(told.text + used, sizeof told.text - used, "%s", piece);
            open += told.status == PALME_OK && used == 0; /* beams that had not decided */
            CHECK_INT(palme_finish(s), PALME_OK);
            while ((told.status = palme_next(s, &piece)) == PALME_OK)
                used += (size_t)snprintf(told.text + used, sizeof told.text - used, "%s", piece);
            CHECK_INT(told.status, PALME_END);
            CHECK_INT(palme_finish(s), PALME_OK);
            CHECK_INT(palme_next(s, &piece), PALME_END);
            CHECK_STR(told.text, shorter.text);
            CHECK_INT(palme_caption_length(s), shorter.length);
            CHECK_CLOSE(palme_caption_score(s), shorter.score, 0);
            CHECK_INT(palme_score(s, "abc", &mean), PALME_OK);
        }
        palme_session_close(&s);
    }
    CHECK(open > 3);
    palme_model_close(&model);
}

static void test_allocations(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        palme_model *model = open_config(kinds[k], 80 + k, 2);

        for (int beams = 1; beams <= 3; beams += 2) {
            palme_session *s = NULL;
            struct palme_options options = { .beams = beams, .max_length = 10, .no_repeat_ngram = 2 };

            CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
            tell(s, "ab");
            long before = allocations;
            CHECK(before > 0); /* the counter counts */
            for (int i = 0; i < 3; i++) {
                options.temperature = i == 1 ? 0.9 : 0;
                options.top_p = 0.9;
                palme_session_set_options(s, &options);
                tell(s, i ? "abba" : NULL);
            }
            CHECK_INT(allocations - before, 0);
            palme_session_close(&s);
        }
        palme_model_close(&model);
    }
}

/* 4096 image tokens: the memory of attention does not grow with their square (which would be 64 MiB a head). */
static void test_many_tokens(void)
{
    palme_model *model = open_config("{\"image_size\": 256, \"patch_size\": 4, \"encoder_depth\": 1}", 7, 2);
    struct rusage before, after;
    struct told told;

    getrusage(RUSAGE_SELF, &before);
    told = tell_with(model, &(struct palme_options){ .max_length = 3 }, "");
    getrusage(RUSAGE_SELF, &after);
    CHECK_INT(told.status, PALME_END);
    /* 4096 rows of at most some hundred floats, and the pictures */
    CHECK_MESSAGE(after.ru_maxrss - before.ru_maxrss < 48 * 1024, "%ld KiB more", after.ru_maxrss - before.ru_maxrss);
    palme_model_close(&model);

    model = open_config("{\"image_size\": 128, \"patch_size\": 4, \"encoder_depth\": 1, \"cross_attend\": false, "
                        "\"max_seq_len\": 1100}",
                        8, 2);
    told = tell_with(model, &(struct palme_options){ .max_length = 3 }, "");
    CHECK_INT(told.status, PALME_END);
    CHECK(told.length >= 1);
    palme_model_close(&model);
}

/* Damaged weights: captions are text or empty, and they end. */
static void test_damaged(void)
{
    static const float values[] = { NAN, INFINITY, -INFINITY, 1e30f, 1e-40f };
    struct builder *b = builder_new("{\"max_seq_len\": 12}", 11);
    size_t count = b->count;

    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            unsigned char *bytes = malloc(b->tensors[t].size);

            memcpy(bytes, b->tensors[t].bytes, b->tensors[t].size);
            for (size_t e = 0; e < b->tensors[t].count; e += 1 + e % 3)
                builder_poison(b, b->tensors[t].name, e, values[i]);
            palme_model *model = builder_open(b, 1, precision);
            for (int beams = 1; beams <= 2; beams++) {
                struct palme_options options = { .max_length = 40, .beams = beams };
                struct told told = tell_with(model, &options, "a");

                CHECK_INT(told.status, PALME_END);
                CHECK(told.length <= 12 && !isnan(told.score));
                options.temperature = 1;
                CHECK_INT(tell_with(model, &options, "a").status, PALME_END);
            }
            palme_model_close(&model);
            memcpy(b->tensors[t].bytes, bytes, b->tensors[t].size);
            free(bytes);
        }
    }
    builder_free(b);
}

/* Sessions of one model in several threads at once say what they say alone. */
struct worker {
    const palme_model *model;
    struct told told;
    int rounds, same;
};

static void *work(void *user)
{
    struct worker *w = user;
    palme_session *s = NULL;

    w->same = palme_session_open(&s, w->model, &(struct palme_options){ .max_length = 8, .beams = 3 }) == PALME_OK;
    for (int i = 0; i < w->rounds && w->same; i++) {
        struct told told = tell(s, "a");

        w->same = same_told(&told, &w->told);
    }
    palme_session_close(&s);
    return NULL;
}

static void test_threads(void)
{
    palme_model *model = open_config("{\"encoder_depth\": 2, \"encoder_dim\": 64, \"image_size\": 64}", 13, 3);
    struct worker workers[4];
    pthread_t threads[4];
    struct told told = tell_with(model, &(struct palme_options){ .max_length = 8, .beams = 3 }, "a");

    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){ .model = model, .told = told, .rounds = 20 };
        CHECK_INT(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK_MESSAGE(workers[i].same, "thread %d says something else", i);
    }
    palme_model_close(&model);
}

static void test_words(void)
{
    for (int status = PALME_ERROR_TEXT; status <= PALME_END; status++)
        CHECK(strlen(palme_strerror(status)) > 3 && strcmp(palme_strerror(status), palme_strerror(99)) != 0);
    CHECK(strchr(palme_version(), '.') != NULL);
}

int main(int count, char **arguments)
{
    uint32_t x = 12345;

    precision = count > 1 ? arguments[1] : "f32";
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    test_words();
    test_arguments();
    test_planar();
    test_repeatable();
    test_rows();
    test_beams();
    test_limits();
    test_sampling();
    test_stop();
    test_finish();
    test_allocations();
    test_many_tokens();
    test_damaged();
    test_threads();
    return check_done();
}
