/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_labels.c - labels: their probabilities, what the decoder reads of them and the captions that are held to them,
 * beside recorded numbers of models/palme.py and models/search.py; what callers ask; batches, drafts, scores and
 * sampling; and what a model without them, or with the options that turn them off, does.
 *
 *     check_labels FOLDER     the fixture `labels` of tests/data/golden
 */
#include <math.h>
#include <unistd.h>

#include "generate/session.h"
#include "io/safetensors.h"
#include "support/allocations.h"
#include "support/check.h"
#include "support/generated.h"
#include "support/model_builder.h"

static const char *const levels[] = { "c", "avx2", "avxvnni", "avx512", "vnni", "bf16", "neon", "dotprod" };
enum { LEVELS = sizeof levels / sizeof *levels, MOST = 64 };

static struct heard heard;
static const struct palme_log logger = { heard_log, &heard, "expected.safetensors" };
static struct palme_safetensors *expected;
static const char *model_path;

/* ---- Recorded numbers --------------------------------------------------------------------- */

/* A tensor as doubles, at most MOST of them; returns how many. */
static int recorded(double *out, const char *name)
{
    const struct palme_tensor *tensor = palme_safetensors_find(expected, name);
    union {
        float reals[MOST];
        int64_t integers[MOST];
    } raw;

    CHECK_MESSAGE(tensor && tensor->count <= MOST, "%s is not recorded", name);
    CHECK_INT(palme_tensor_read_raw(expected, &raw, tensor, 0, tensor->count, &logger), PALME_OK);
    for (int i = 0; i < tensor->count; i++)
        out[i] = tensor->dtype == PALME_DTYPE_F32 ? raw.reals[i] : (double)raw.integers[i];
    return (int)tensor->count;
}

static struct palme_image picture(void)
{
    static uint8_t pixels[64 * 64 * 3];
    const struct palme_tensor *tensor = palme_safetensors_find(expected, "pixels");

    CHECK_INT(tensor->count, sizeof pixels);
    CHECK_INT(palme_tensor_read_raw(expected, pixels, tensor, 0, tensor->count, &logger), PALME_OK);
    return (struct palme_image){
        .format = PALME_FORMAT_RGB, .width = 64, .height = 64, .planes = { pixels }, .strides = { 3 * 64 }
    };
}

static palme_model *open_model(const char *level, const char *precision)
{
    const struct palme_setup setup = {
        .threads = 1, .level = level, .precision = precision, .log = heard_log, .log_user = &heard
    };
    palme_model *model = NULL;

    CHECK_MESSAGE(palme_model_open(&model, model_path, &setup) == PALME_OK, "%s", heard.error);
    return model;
}

static palme_session *look(const palme_model *model, const struct palme_options *options)
{
    const struct palme_image image = picture();
    palme_session *session = NULL;

    CHECK_INT(palme_session_open(&session, model, options), PALME_OK);
    CHECK_INT(palme_look(session, &image), PALME_OK);
    return session;
}

/* Runs to the end; the text goes to `text` [256], which may be NULL. */
static void finish(palme_session *session, char *text)
{
    const char *piece;
    size_t length = 0;

    while (palme_next(session, &piece) == PALME_OK)
        if (text)
            length += (size_t)snprintf(text + length, 256 - length, "%s", piece);
}

static void check_tokens(const palme_session *session, const char *name, const char *level)
{
    double wanted[MOST];
    int count = recorded(wanted, name), found_count;
    const int *found = palme_caption_tokens(session, &found_count);

    CHECK_MESSAGE(found_count == count, "%s, %s: %d tokens, wanted %d", name, level, found_count, count);
    for (int i = 0; i < count && i < found_count; i++)
        CHECK_MESSAGE(found[i] == wanted[i], "%s, %s: token %d is %d, wanted %g", name, level, i, found[i], wanted[i]);
}

/* What the head and the search have to find, in single precision. */
static void check_level(const char *level)
{
    static const struct {
        const char *name;
        double weight;
        int no_labels;
    } ways[] = { { "held", 0, 0 }, { "read", -1, 0 }, { "bare", 0, 1 } };
    palme_model *model = open_model(level, "f32");
    palme_session *session = look(model, NULL);
    double wanted[MOST], mean;
    char name[64];
    int count = recorded(wanted, "probabilities");

    CHECK_INT(count, model->config.labels->count);
    /* A logit behind a stem may be off by 2e-4 (check_golden.c). A probability changes by p (1 - p) of what separates
     * its logit from the others, which is twice that: by 1e-4. */
    for (int l = 0; l < count; l++)
        CHECK_CLOSE(session->seen.probabilities[l], wanted[l], 1e-4);
    CHECK_INT(session->seen.chosen_count, recorded(wanted, "chosen"));
    for (int i = 0; i < session->seen.chosen_count; i++)
        CHECK_INT(session->seen.chosen[i], wanted[i]);
    CHECK_INT(session->seen.id_count, recorded(wanted, "labels_read"));
    for (int i = 0; i < session->seen.id_count; i++)
        CHECK_INT(session->seen.ids[i], wanted[i]);
    /* A log-probability is the difference of two that are off by 2e-4. A cost is the logarithm of a probability, whose
     * logit is off by as much, times 0.7. */
    recorded(wanted, "text_score");
    CHECK_INT(palme_score(session, "ba e i zz k de l", &mean), PALME_OK);
    CHECK_CLOSE(mean, wanted[0], 6e-4);
    palme_session_close(&session);

    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
        for (int beams = 1; beams <= 3; beams += 2) {
            struct palme_options options = {
                .beams = beams, .label_weight = ways[way].weight, .no_labels = ways[way].no_labels, .max_length = 12
            };

            session = look(model, &options);
            finish(session, NULL);
            snprintf(name, sizeof name, "%s_%s_tokens", ways[way].name, beams > 1 ? "beam" : "greedy");
            check_tokens(session, name, level);
            snprintf(name, sizeof name, "%s_%s_score", ways[way].name, beams > 1 ? "beam" : "greedy");
            recorded(wanted, name);
            CHECK_CLOSE(palme_caption_score(session), wanted[0], 6e-4);
            palme_session_close(&session);
        }
    palme_model_close(&model);
}

static void test_levels(void)
{
    int tried = 0;

    for (int i = 0; i < LEVELS; i++) {
        palme_model *model = open_model(levels[i], "f32");
        int has = strcmp(model->kernels.level, levels[i]) == 0;

        palme_model_close(&model);
        if (has)
            check_level(levels[i]);
        tried += has;
    }
    CHECK(tried > 0);
}

/* The head in int8 and bf16, beside the same weights in f32: each factor of a sum of products is rounded, so the sum is
 * off by at most what the roundings let through: in int8 half a step of the inputs, times the weights, and half a step
 * of each weight, times the inputs; a step is 1/127 of the largest. bf16 has 8 bits: 2^-8 of each product, twice. */
static void test_narrow_head(void)
{
    palme_model *full = open_model(NULL, "f32");
    static float pooled[PALME_LABEL_INPUTS];
    double wanted[MOST], found[MOST];
    const char *const precisions[] = { "int8", "bf16" };

    for (int i = 0; i < PALME_LABEL_INPUTS; i++)
        pooled[i] = (float)(i * 37 % 101) / 101 * (i < PALME_STEM_FEATURES ? 1 : 4);
    for (int p = 0; p < 2; p++) {
        palme_model *narrow = open_model(NULL, precisions[p]), *models[] = { full, narrow };
        /* |w| < 2 sqrt(3 / n), uniform: the sum of |w x| over 2560 inputs of 0.5 and 2 in the mean */
        double weight = 2 * sqrt(3.0 / PALME_LABEL_INPUTS), sum = weight / 2 * PALME_STEM_FEATURES * 2.5;
        double off = p ? 2 * sum / 256 : (0.5 / 127 * 4) * weight / 2 * PALME_LABEL_INPUTS + 0.5 / 127 * weight * sum;

        for (int m = 0; m < 2; m++) {
            palme_session *session = look(models[m], NULL);

            palme_session_enter(session);
            palme_labels_run(models[m], &session->compute, m ? found : wanted, pooled, &session->work.scratch);
            palme_session_close(&session);
        }
        for (int l = 0; l < full->config.labels->count; l++)
            CHECK_MESSAGE(fabs(found[l] - wanted[l]) <= off && found[l] >= 0 && found[l] <= 1 + 1e-9,
                          "%s: label %d has %g, wanted %g within %g", precisions[p], l, found[l], wanted[l], off);
        palme_model_close(&narrow);
    }
    palme_model_close(&full);
}

/* ---- All ways to a caption ---------------------------------------------------------------- */

/* The score of a caption is that of its text, whose tokens the tokenizer finds again; a batch and a draft change
 * nothing. All of it to the last bit. */
static void test_ways(void)
{
    palme_model *model = open_model(NULL, NULL);
    const struct palme_options options[4] = { { .beams = 1, .max_length = 12 },
                                              { .beams = 3, .max_length = 12 },
                                              { .beams = 1, .max_length = 12, .no_labels = 1 },
                                              { .temperature = 0.8, .seed = 5, .max_length = 12 } };
    palme_session *alone[4], *together[4];
    const char *pieces[4];
    int statuses[4], open = 1;

    for (int i = 0; i < 4; i++) {
        alone[i] = look(model, &options[i]);
        finish(alone[i], NULL);
        together[i] = look(model, &options[i]);
    }
    while (open) {
        CHECK_INT(palme_next_batch(together, 4, pieces, statuses), PALME_OK);
        open = 0;
        for (int i = 0; i < 4; i++)
            open |= statuses[i] == PALME_OK;
    }
    for (int i = 0; i < 4; i++) {
        const int *one, *other;
        int count, other_count;

        one = palme_caption_tokens(alone[i], &count);
        other = palme_caption_tokens(together[i], &other_count);
        CHECK_INT(count, other_count);
        CHECK(count > 3 && memcmp(one, other, (size_t)count * sizeof *one) == 0);
        CHECK_CLOSE(palme_caption_score(alone[i]), palme_caption_score(together[i]), 0);
    }
    /* The second caption of the same picture accepts the first as a draft. */
    const struct palme_image image = picture();
    double before = palme_caption_score(alone[0]);

    CHECK_INT(palme_look(alone[0], &image), PALME_OK);
    finish(alone[0], NULL);
    CHECK(palme_caption_accepted(alone[0]) > 3);
    CHECK_CLOSE(palme_caption_score(alone[0]), before, 0);
    for (int i = 0; i < 4; i++) {
        palme_session_close(&alone[i]);
        palme_session_close(&together[i]);
    }
    palme_model_close(&model);
}

/* More of an id is said, or less. */
static void bend(palme_model *model, int id, float by)
{
    ((float *)model->weights.decoder.logits.b)[id] += by;
}

/* palme_score adds what the search added: a caption that ends by itself and is made of words that begin with a space,
 * so that its text is split into the same tokens. */
static void test_score(void)
{
    palme_model *model = open_model(NULL, NULL);
    const struct palme_options options = { .beams = 1, .max_length = 12 };
    palme_session *session = look(model, &options);
    char text[256] = "";
    double mean;
    int count;

    bend(model, model->config.eos_token, 3);
    for (int id = 3; id < 30; id++) /* the space and letters without one */
        bend(model, id, -100);
    finish(session, text);
    const int *tokens = palme_caption_tokens(session, &count);

    CHECK(count > 3 && tokens[count - 1] == model->config.eos_token);
    CHECK_INT(palme_score(session, text, &mean), PALME_OK);
    CHECK_CLOSE(mean, palme_caption_score(session), 0);
    palme_session_close(&session);
    palme_model_close(&model);
}

/* ---- Off ---------------------------------------------------------------------------------- */

/* A model whose words cost nothing does what the option does, and one without labels what no_labels does, to the last
 * bit. The costs of the open model are changed in place. */
static void test_off(void)
{
    palme_model *model = open_model(NULL, NULL);
    const struct palme_options off = { .label_weight = -1, .max_length = 12 }, plain = { .max_length = 12 };
    const struct palme_options bare = { .no_labels = 1, .max_length = 12 };
    palme_session *session = look(model, &off);
    double score;
    char text[256], other[256];

    CHECK_INT(session->seen.holds, 0);
    finish(session, text);
    score = palme_caption_score(session);
    palme_session_close(&session);
    model->config.labels->weight = model->config.labels->require = 0;
    session = look(model, &plain);
    CHECK_INT(session->seen.holds, 0);
    finish(session, other);
    CHECK_STR(other, text);
    CHECK_CLOSE(palme_caption_score(session), score, 0);
    palme_session_close(&session);

    session = look(model, &bare);
    finish(session, text);
    score = palme_caption_score(session);
    CHECK_INT(palme_labels(session, NULL, 0), 0);
    CHECK_INT(palme_confirms(session, "nothing of all this"), 1);
    CHECK_STR(palme_cautious(session), "");
    palme_session_close(&session);
    struct palme_label_config *labels = model->config.labels;

    model->config.labels = NULL;
    session = look(model, &plain);
    finish(session, other);
    CHECK_STR(other, text);
    CHECK_CLOSE(palme_caption_score(session), score, 0);
    palme_session_close(&session);
    model->config.labels = labels;
    palme_model_close(&model);
}

/* ---- What callers ask --------------------------------------------------------------------- */

static void test_calls(void)
{
    palme_model *model = open_model(NULL, "f32");
    palme_session *session = NULL;
    struct palme_label labels[PALME_MAX_LABELS];
    struct palme_info info;
    double probabilities[MOST], chosen[MOST];
    const struct palme_label_config *config = model->config.labels;

    palme_model_info(model, &info);
    CHECK_INT(info.labels, 12);
    CHECK_INT(info.most_labels, 4);
    CHECK_CLOSE(info.label_weight, 0.7, 0);
    CHECK_INT(info.max_context, 64 - PALME_LABEL_TOKENS);
    CHECK_INT(palme_session_open(&session, model, NULL), PALME_OK);
    CHECK_INT(palme_labels(session, labels, PALME_MAX_LABELS), PALME_ERROR_ARGUMENT); /* no picture */
    CHECK_INT(palme_confirms(session, "ba"), PALME_ERROR_ARGUMENT);
    CHECK_STR(palme_cautious(session), "");
    CHECK_STR(palme_cautious(NULL), "");
    palme_session_close(&session);

    session = look(model, NULL);
    recorded(probabilities, "probabilities");
    int count = recorded(chosen, "chosen");

    CHECK_INT(palme_labels(session, labels, PALME_MAX_LABELS), count);
    for (int i = 0; i < count; i++) {
        CHECK_STR(labels[i].name, config->names[(int)chosen[i]]);
        CHECK_STR(labels[i].phrase, config->phrases[(int)chosen[i]]);
        CHECK_CLOSE(labels[i].probability, probabilities[(int)chosen[i]], 1e-4);
    }
    memset(labels, 0x55, sizeof labels);
    struct palme_label untouched = labels[1];

    CHECK_INT(palme_labels(session, labels, 1), count);
    CHECK(memcmp(&labels[1], &untouched, sizeof untouched) == 0);
    CHECK_INT(palme_labels(session, NULL, 0), count);
    CHECK_INT(palme_labels(session, NULL, 1), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_labels(session, labels, -1), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_labels(NULL, labels, 1), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_confirms(session, NULL), PALME_ERROR_ARGUMENT);
    char *text = malloc(PALME_MAX_PROMPT_BYTES + 2);

    memset(text, 'a', PALME_MAX_PROMPT_BYTES + 1);
    text[PALME_MAX_PROMPT_BYTES + 1] = '\0';
    CHECK_INT(palme_confirms(session, text), PALME_ERROR_TEXT);
    text[PALME_MAX_PROMPT_BYTES] = '\0';
    CHECK_INT(palme_confirms(session, text), 0);
    free(text);
    palme_session_close(&session);
    palme_model_close(&model);
}

/* Names things of labels with these probabilities. */
static void test_words(void)
{
    palme_model *model = open_model(NULL, "f32");
    palme_session *session = look(model, NULL);
    struct palme_label_config *config = model->config.labels;
    double *p = session->seen.probabilities;
    static const struct {
        const char *text;
        int confirms;
    } texts[] = {
        { "", 0 },
        { "ba", 1 }, /* label 2 has 0.7 */
        { "A photo of BA.", 1 },
        { "baba", 0 },       /* a word is more than its letters */
        { "ba q", 1 },       /* no phrase begins here */
        { "ba e i", 0 },     /* label 3: the longest phrase counts, not its words */
        { "ba, e (i)", 0 },  /* whatever stands between them */
        { "ba e  i ba", 1 }, /* behind the phrase goes on */
        { "\303\251 ba", 1 },
        { "\303\251ba", 0 },
    };

    for (int l = 0; l < config->count; l++)
        p[l] = 0.1;
    p[2] = 0.7;
    p[0] = 0.9; /* it has no phrase, so it is no thing */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        CHECK_MESSAGE(palme_confirms(session, texts[i].text) == texts[i].confirms, "\"%s\" is%s confirmed",
                      texts[i].text, texts[i].confirms ? " not" : "");
    /* One thing that is too unlikely is one too many; what is no thing does not count. */
    config->deny = 0.11;
    CHECK_INT(palme_confirms(session, "ba e i ba"), 0);
    CHECK_INT(palme_confirms(session, "ba q"), 1);
    config->deny = 0.1;
    CHECK_INT(palme_confirms(session, "ba e i ba"), 1);
    config->confirm = 0.71;
    CHECK_INT(palme_confirms(session, "ba"), 0);
    CHECK_STR(palme_cautious(session), "a photo of a ba");
    config->least = 0.71;
    CHECK_STR(palme_cautious(session), "");
    p[6] = p[5] = 0.8; /* the lower index among equals */
    CHECK_STR(palme_cautious(session), "a photo of a i");
    palme_session_close(&session);
    palme_model_close(&model);
}

/* Each cost by hand: the longest word that ends with the token, and at the end labels without a word. */
static void test_costs(void)
{
    palme_model *model = open_model(NULL, "f32");
    palme_session *session = look(model, NULL);
    const struct palme_label_config *config = model->config.labels;
    const struct palme_words *words = model->words;
    struct palme_hold *hold = &session->seen.hold;
    double p[12];
    float logits[97] = { 0 };
    int ids[3], e = -1, text[4];

    for (int i = 0; i < config->word_count; i++) {
        if (strcmp(config->words[i].text, "ba e i") == 0)
            memcpy(ids, words->word[i].ids, sizeof ids);
        if (strcmp(config->words[i].text, "e") == 0)
            e = words->word[i].ids[0];
    }
    CHECK_INT(ids[1], e);
    for (int l = 0; l < 12; l++)
        p[l] = 0.03; /* a tenth of the floor */
    p[3] = 0.9;
    CHECK_INT(palme_hold_begin(hold, p, 2, 0), 1);
    const double all = 2 * log(10);

    palme_hold_apply(hold, logits, text, 0, 2);
    CHECK_CLOSE(logits[e], -all, 1e-6);
    CHECK_CLOSE(logits[ids[2]], -all, 1e-6);
    CHECK_CLOSE(logits[2], 0, 0);
    memset(logits, 0, sizeof logits);
    memcpy(text, ids, sizeof ids);
    palme_hold_apply(hold, logits, text, 2, 2); /* behind "ba e" */
    CHECK_CLOSE(logits[ids[2]], 0, 0);
    memset(logits, 0, sizeof logits);
    text[0] = e;
    palme_hold_apply(hold, logits, text, 2, 2); /* behind "e e" */
    CHECK_CLOSE(logits[ids[2]], -all, 1e-6);

    CHECK_INT(palme_hold_begin(hold, p, 0, 1.5), 1);
    CHECK_INT(hold->wanted_count, 1); /* label 3 alone is sure */
    memset(logits, 0, sizeof logits);
    palme_hold_apply(hold, logits, text, 2, 2);
    CHECK_CLOSE(logits[2], -1.5, 0);
    CHECK_CLOSE(logits[e], 0, 0);
    memset(logits, 0, sizeof logits);
    memcpy(text, ids, sizeof ids);
    palme_hold_apply(hold, logits, text, 3, 2);
    CHECK_CLOSE(logits[2], 0, 0);
    CHECK_INT(palme_hold_begin(hold, p, 0, 0), 0);
    for (int l = 0; l < 12; l++)
        p[l] = NAN; /* a damaged model's: as unlikely as can be, and never sure */
    CHECK_INT(palme_hold_begin(hold, p, 1, 1), 1);
    CHECK_INT(hold->wanted_count, 0);
    CHECK_CLOSE(hold->costs[0], log(0.3 / 1e-4), 1e-5);
    palme_session_close(&session);
    palme_model_close(&model);
}

/* ---- Context ------------------------------------------------------------------------------ */

/* Whether a prompt fits does not depend on the picture: 64 positions, 30 of them for labels. */
static void test_context(void)
{
    palme_model *model = open_model(NULL, NULL);
    palme_session *session = look(model, NULL);
    char prompt[128] = "";
    const char *piece;

    bend(model, model->config.eos_token, -100);

    for (int i = 0; i < 33; i++)
        strcat(prompt, i ? " a" : "a");
    CHECK_INT(palme_prompt(session, prompt), PALME_OK); /* 30 + 1 + 33 */
    finish(session, NULL);
    CHECK_INT(palme_caption_length(session), 64 - (session->seen.id_count + 1 + 33) + 1);
    palme_session_close(&session);
    session = look(model, NULL);
    strcat(prompt, " a");
    memset(&heard, 0, sizeof heard);
    CHECK_INT(palme_prompt(session, prompt), PALME_ERROR_CONTEXT);
    CHECK_INT(palme_next(session, &piece), PALME_OK);
    palme_session_close(&session);

    /* Labels of more ids than are read. */
    struct palme_label_config *config = model->config.labels;
    const char *names[12];

    memcpy(names, config->names, sizeof names);
    for (int l = 0; l < config->count; l++) {
        config->names[l] = "a b c d e f g h i j k";
        config->thresholds[l] = 0;
    }
    session = look(model, NULL);
    CHECK_INT(session->seen.chosen_count, 4);
    CHECK_INT(session->seen.id_count, PALME_LABEL_TOKENS);
    finish(session, NULL);
    CHECK(palme_caption_length(session) > 0);
    palme_session_close(&session);
    memcpy(config->names, names, sizeof names);
    palme_model_close(&model);
}

static void test_options(void)
{
    palme_model *model = open_model(NULL, NULL);
    palme_session *session = NULL;

    CHECK_INT(palme_session_open(&session, model, &(struct palme_options){ .label_weight = NAN }),
              PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_session_open(&session, model, &(struct palme_options){ .label_weight = INFINITY }),
              PALME_ERROR_ARGUMENT);
    /* A heavy weight leaves nothing unlikely to be said, and the option counts, not the model. */
    const struct palme_options heavy = { .label_weight = 50, .max_length = 12, .beams = 1 };

    session = look(model, &heavy);
    finish(session, NULL);
    int count;
    const int *tokens = palme_caption_tokens(session, &count);

    for (int i = 0; i < count; i++) {
        float logits[97] = { 0 };

        palme_hold_apply(&session->seen.hold, logits, tokens, i, model->config.eos_token);
        CHECK_MESSAGE(logits[tokens[i]] > -1, "token %d cost %g", i, -logits[tokens[i]]);
    }
    palme_session_close(&session);
    palme_model_close(&model);
}

/* A picture, its labels and a caption that is held to them allocate nothing. */
static void test_allocations(void)
{
    palme_model *model = open_model(NULL, NULL);
    const struct palme_image image = picture();
    palme_session *session = look(model, NULL);
    struct palme_label labels[PALME_MAX_LABELS];
    long before = allocations;

    CHECK(before > 0);
    CHECK_INT(palme_look(session, &image), PALME_OK);
    finish(session, NULL);
    CHECK(palme_labels(session, labels, PALME_MAX_LABELS) > 0);
    CHECK(palme_confirms(session, "ba e i") >= 0);
    CHECK(*palme_cautious(session) != '\0');
    CHECK_INT(allocations - before, 0);
    palme_session_close(&session);
    palme_model_close(&model);
}

int main(int count, char **arguments)
{
    char path[512], folder[512];

    if (count < 2 || generated_model(path, sizeof path, arguments[1]) < 0)
        return 2;
    model_path = path;
    snprintf(folder, sizeof folder, "%s/expected.safetensors", arguments[1]);
    CHECK_INT(palme_safetensors_open(&expected, folder, 0, &logger), PALME_OK);
    test_levels();
    test_narrow_head();
    test_ways();
    test_score();
    test_off();
    test_calls();
    test_words();
    test_costs();
    test_context();
    test_options();
    test_allocations();
    palme_safetensors_close(&expected);
    unlink(path);
    return check_done();
}
