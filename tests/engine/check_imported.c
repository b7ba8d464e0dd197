/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_imported.c - imported models against what transformers makes of the same folder: pictures, encoder, logits and
 * captions.
 *
 *     check_imported MODEL.safetensors EXPECTED_FOLDER
 *
 * The folder has expected.safetensors and expected.json of tests/fixtures/make_hf_fixtures.py. Options of `generate`
 * are set in the configuration of the open model, as a file with these defaults would have them.
 */
#include <jansson.h>
#include <math.h>

#include "io/safetensors.h"
#include "nn/model.h"
#include "support/arenahost.h"
#include "support/check.h"
#include "text/tokenizer.h"

static void print_log(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    if (level != PALME_LOG_INFO)
        fprintf(stderr, "%s\n", message);
}

static const struct palme_log logger = { .function = print_log };

/* The data of a recorded tensor, which must be there; to be freed. */
static void *recorded(struct palme_safetensors *file, const char *name, const char *photo,
                      const struct palme_tensor **out)
{
    char full[64];

    snprintf(full, sizeof full, "%s.%s", name, photo);
    *out = palme_safetensors_find(file, full);
    CHECK_MESSAGE(*out != NULL, "%s is missing", full);
    void *data = *out ? malloc((*out)->bytes) : NULL;

    if (data)
        CHECK_INT(palme_tensor_read_raw(file, data, *out, 0, (*out)->count, &logger), PALME_OK);
    return data;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = !(fabs((double)a[i] - b[i]) <= largest) ? fabs((double)a[i] - b[i]) : largest;
    return largest;
}

/* The square of a photo is that of the folder's processor, byte for byte. */
static void check_square(const palme_model *model, const struct palme_image *image, const uint8_t *wanted,
                         const char *photo)
{
    size_t count = (size_t)model->config.image_size * (size_t)model->config.image_size * 3, equal = 0;
    uint8_t *found = malloc(count);
    palme_preprocessor *preprocessor;
    int most = 0;

    CHECK_INT(palme_preprocessor_open_model(&preprocessor, model), PALME_OK);
    CHECK_INT(palme_preprocess(preprocessor, found, image), PALME_OK);
    for (size_t i = 0; i < count; i++) {
        most = abs(found[i] - wanted[i]) > most ? abs(found[i] - wanted[i]) : most;
        equal += found[i] == wanted[i];
    }
    CHECK_MESSAGE(equal == count, "%s: the square is off by %d, and %zu of %zu values are equal", photo, most, equal,
                  count);
    palme_preprocessor_close(&preprocessor);
    free(found);
}

/* The encoder's output for the recorded square and the logits of the recorded ids, all in one pass. */
static void check_stages(const palme_model *model, const uint8_t *square, const float *encoder, const int *ids, int n,
                         const float *logits, const char *photo)
{
    const struct palme_config *p = &model->config;
    struct palme_compute c = { .kernels = &model->kernels, .pool = model->pool };
    size_t side = (size_t)p->image_size, tokens = (size_t)palme_config_image_tokens(p), dim = (size_t)p->decoder.dim;
    size_t layer = 2 * (size_t)p->decoder.depth * (size_t)palme_stack_inner(&p->decoder);
    size_t v = (size_t)p->vocabulary;
    int most = (int)tokens + n;
    float *pixels = malloc(side * side * 3 * 4), *context = calloc(tokens * (size_t)p->encoder.dim, 4);
    float *mapped = calloc(tokens * dim, 4), *found = calloc((size_t)n * v, 4);
    struct palme_picture picture = { .kv = calloc(tokens * layer, 4), .capacity = (int)tokens };
    struct palme_cache cache = { .kv = calloc((size_t)most * layer, 4), .capacity = most };
    struct palme_row *rows = calloc((size_t)most, sizeof *rows);
    struct palme_arena scratch = scratch_for_model(model, most);

    for (size_t i = 0; i < side * side * 3; i++)
        pixels[i] = (float)square[i] / 255;
    CHECK_INT(palme_encode(model, &c, context, NULL, pixels, (int)side, (int)side, &scratch), (long long)tokens);
    double off = largest_difference(context, encoder, tokens * (size_t)p->encoder.dim);
    printf("%s: encoder %.2g", photo, off);
    CHECK_MESSAGE(off <= 1e-4, "%s: the encoder is off by %g", photo, off);
    palme_decoder_see(model, &c, &picture, mapped, context, (int)tokens, &scratch);
    if (!p->cross_attend) {
        for (size_t i = 0; i < tokens; i++)
            rows[i] = (struct palme_row){ .cache = &cache, .picture = &picture, .embedding = mapped + i * dim };
        cache.visible = (int)tokens;
        palme_decode(model, &c, NULL, rows, (int)tokens, (int)tokens, &scratch);
    }
    for (int i = 0; i < n; i++)
        rows[i] = (struct palme_row){ .cache = &cache, .picture = &picture, .token = ids[i] };
    palme_decode(model, &c, found, rows, n, 0, &scratch);
    off = largest_difference(found, logits, (size_t)n * v);
    printf(", logits %.2g\n", off);
    CHECK_MESSAGE(off <= 2e-4, "%s: logits are off by %g", photo, off);
    free(pixels), free(context), free(mapped), free(found), free(picture.kv), free(cache.kv), free(rows);
    free(scratch.base);
}

static int integer(const json_t *object, const char *key, int absent)
{
    const json_t *value = json_object_get(object, key);

    return value ? (int)json_integer_value(value) : absent;
}

/* The defaults of a file that says what these options of `generate` say, and the rest as it is. */
static void set_options(struct palme_config *config, const json_t *options)
{
    const json_t *early = json_object_get(options, "early_stopping"),
                 *penalty = json_object_get(options, "length_penalty");

    config->default_beams = integer(options, "num_beams", config->default_beams);
    config->max_length = integer(options, "max_length", config->max_length);
    config->max_new_tokens = integer(options, "max_new_tokens", 0);
    config->min_length = integer(options, "min_length", config->min_length);
    config->min_new_tokens = integer(options, "min_new_tokens", config->min_new_tokens);
    config->no_repeat_ngram = integer(options, "no_repeat_ngram_size", config->no_repeat_ngram);
    if (penalty)
        config->length_penalty = json_number_value(penalty);
    config->early_stopping = json_is_true(early)     ? PALME_STOP_FIRST
                             : json_is_string(early) ? PALME_STOP_NEVER
                                                     : PALME_STOP_HEURISTIC;
}

/* The byte 0, which a random model may say, is U+FFFD in a string of C. */
static const char *without_nul(char out[4096], const json_t *text)
{
    const char *from = json_string_value(text);
    size_t used = 0;

    for (size_t i = 0; i < json_string_length(text) && used < 4092; i++) {
        const char *piece = from[i] ? (char[]){ from[i], 0 } : "\xEF\xBF\xBD";

        memcpy(out + used, piece, strlen(piece));
        used += strlen(piece);
    }
    out[used] = 0;
    return out;
}

static void check_caption(palme_model *model, const struct palme_image *image, const json_t *wanted)
{
    const json_t *ids = json_object_get(wanted, "ids");
    char text[4096] = "", shown_text[4096], shown[2][400] = { "", "" };
    palme_session *session = NULL;
    const char *piece;
    int count = 0, status, same;

    const struct palme_config own = model->config;
    if (json_object_get(wanted, "num_beams")) /* else the file's own defaults */
        set_options(&model->config, wanted);
    CHECK_INT(palme_session_open(&session, model, NULL), PALME_OK);
    status = palme_look(session, image);
    if (status == PALME_OK)
        status = palme_prompt(session, json_string_value(json_object_get(wanted, "prompt")));
    while (status == PALME_OK && (status = palme_next(session, &piece)) == PALME_OK)
        if (strlen(text) + strlen(piece) < sizeof text)
            strcat(text, piece);
    CHECK_INT(status, PALME_END);
    const int *found = palme_caption_tokens(session, &count);

    same = count == (int)json_array_size(ids);
    for (int i = 0; i < count && same; i++)
        same = found[i] == (int)json_integer_value(json_array_get(ids, (size_t)i));
    for (int i = 0; i < count && strlen(shown[0]) < 380; i++)
        sprintf(shown[0] + strlen(shown[0]), "%d ", found[i]);
    for (size_t i = 0; i < json_array_size(ids) && strlen(shown[1]) < 380; i++)
        sprintf(shown[1] + strlen(shown[1]), "%d ", (int)json_integer_value(json_array_get(ids, i)));
    char *options = json_dumps(wanted, JSON_COMPACT);
    CHECK_MESSAGE(same, "%.150s: %s, wanted %s", options, shown[0], shown[1]);
    if (same)
        CHECK_STR(text, without_nul(shown_text, json_object_get(wanted, "text")));
    free(options);
    palme_session_close(&session);
    model->config = own;
}

int main(int count, char **arguments)
{
    static const char *const photos[] = { "wide", "tall", "small" };
    const struct palme_setup setup = { .precision = "f32", .verify = 1, .threads = 2, .log = print_log };
    struct palme_safetensors *file = NULL;
    palme_model *model = NULL;
    char path[1024];

    if (count != 3)
        return 2;
    snprintf(path, sizeof path, "%s/expected.safetensors", arguments[2]);
    CHECK_INT(palme_model_open(&model, arguments[1], &setup), PALME_OK);
    CHECK_INT(palme_safetensors_open(&file, path, 0, &logger), PALME_OK);
    snprintf(path, sizeof path, "%s/expected.json", arguments[2]);
    json_t *captions = json_load_file(path, JSON_ALLOW_NUL, NULL);
    CHECK(json_array_size(captions) > 0);
    for (size_t i = 0; model && file && i < sizeof photos / sizeof *photos; i++) {
        const struct palme_tensor *t, *own;
        uint8_t *pixels = recorded(file, "pixels", photos[i], &own), *square = recorded(file, "square", photos[i], &t);
        float *encoder = recorded(file, "encoder", photos[i], &t), *logits = recorded(file, "logits", photos[i], &t);
        int *ids = recorded(file, "ids", photos[i], &t);

        if (!pixels || !square || !encoder || !logits || !ids)
            break;
        struct palme_image image = { .format = PALME_FORMAT_RGB,
                                     .width = (int)own->shape[1],
                                     .height = (int)own->shape[0],
                                     .planes = { pixels },
                                     .strides = { (ptrdiff_t)own->shape[1] * 3 } };
        /* A value of the square that is off by one may decide between tokens whose logits are close. */
        int side = model->config.image_size;
        struct palme_image made = {
            .format = PALME_FORMAT_RGB, .width = side, .height = side, .planes = { square }, .strides = { side * 3 }
        };
        check_square(model, &image, square, photos[i]);
        check_stages(model, square, encoder, ids, (int)t->count, logits, photos[i]);
        for (size_t k = 0; k < json_array_size(captions); k++) {
            const json_t *one = json_array_get(captions, k);

            if (strcmp(json_string_value(json_object_get(one, "photo")), photos[i]) == 0)
                check_caption(model, &made, one);
        }
        free(pixels), free(square), free(encoder), free(logits), free(ids);
    }
    json_decref(captions);
    palme_safetensors_close(&file);
    palme_model_close(&model);
    return check_done();
}
