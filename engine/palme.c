/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * palme.c - the model as the outside sees it: opening, closing, what it is.
 */
#include "nn/model.h"

#include "build_config.h"
#include "compute/floats.h"
#include "generate/words.h"
#include "io/safetensors.h"
#include "text/tokenizer.h"
#include "base/util.h"

#include <stdlib.h>
#include <string.h>

const char *palme_strerror(int status)
{
    switch (status) {
    case PALME_OK: return "no error";
    case PALME_END: return "the sentence has ended";
    case PALME_ERROR_ARGUMENT: return "an argument cannot be used";
    case PALME_ERROR_NOT_FOUND: return "there is no such file";
    case PALME_ERROR_OPEN: return "the file cannot be opened for reading";
    case PALME_ERROR_READ: return "the file could not be read to its end";
    case PALME_ERROR_KIND: return "the file is not a model file";
    case PALME_ERROR_FORMAT: return "the model file is damaged or contradicts itself";
    case PALME_ERROR_VERSION: return "the model file has a version that is not known";
    case PALME_ERROR_MEMORY: return "out of memory";
    case PALME_ERROR_CONTEXT: return "the text is longer than the model's context";
    case PALME_ERROR_CANCELLED: return "cancelled by the caller";
    case PALME_ERROR_TEXT: return "the text is not UTF-8 or too long";
    default: return "an unknown status";
    }
}

const char *palme_version(void)
{
    return PALME_VERSION;
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* A copy of a string of the file's metadata, "" where it is absent. Returns NULL without memory. */
static char *metadata_copy(const struct palme_safetensors *file, const char *key)
{
    size_t length = 0;
    const char *value = file ? palme_safetensors_metadata(file, key, &length) : NULL;
    char *copy = malloc(length + 1);

    if (copy) {
        memcpy(copy, value ? value : "", length);
        copy[length] = 0;
    }
    return copy;
}

static int no_memory(const struct palme_log *log)
{
    return palme_fail(log, PALME_ERROR_MEMORY, "out of memory");
}

/* Everything that is not weights: format, parameters, tokenizer, names. */
static int read_metadata(struct palme_model *model, const struct palme_safetensors *file, const struct palme_log *log)
{
    size_t length = 0;
    const char *value = palme_safetensors_metadata(file, "format", &length);
    struct palme_shown shown;
    int status;

    if (!value || strcmp(value, "palme") != 0)
        return palme_fail(log, PALME_ERROR_KIND,
                          "a safetensors file, but not a model file: its metadata key format is %s%s%s, "
                          "wanted \"palme\"; convert a checkpoint with the scripts in models/",
                          value ? "\"" : "", value ? palme_show(&shown, value, length) : "absent", value ? "\"" : "");
    value = palme_safetensors_metadata(file, "format_version", &length);
    model->format_version = value && strcmp(value, "1") == 0 ? 1 : value && strcmp(value, "2") == 0 ? 2 : 0;
    if (!model->format_version)
        return palme_fail(log, PALME_ERROR_VERSION,
                          "the metadata key format_version is %s%s%s, this library reads \"1\" and \"2\"",
                          value ? "\"" : "", value ? palme_show(&shown, value, length) : "absent", value ? "\"" : "");
    value = palme_safetensors_metadata(file, "config", &length);
    if (!value)
        return palme_fail(log, PALME_ERROR_FORMAT, "the metadata key config is absent");
    if ((status = palme_config_read(&model->config, model->format_version, value, length, log)) < 0)
        return status;
    value = palme_safetensors_metadata(file, "tokenizer", &length);
    if (!value)
        return palme_fail(log, PALME_ERROR_FORMAT, "the metadata key tokenizer is absent");
    if ((status = palme_tokenizer_open(&model->tokenizer, value, length, model->config.vocabulary, log)) < 0)
        return status;
    if (model->config.eos_token >= palme_tokenizer_count(model->tokenizer)) /* no caption could end */
        return palme_fail(log, PALME_ERROR_FORMAT, "tokenizer: the end token has the id %d, and there are %d tokens",
                          model->config.eos_token, palme_tokenizer_count(model->tokenizer));
    return model->config.labels ? palme_words_open(&model->words, model->config.labels, model->tokenizer, log)
                                : PALME_OK;
}

/* What to compute with: what is asked for, or the fastest by its kernels of those that the model allows. */
static int choose_precision(struct palme_model *model, const char *name, const struct palme_log *log)
{
    struct palme_shown shown;

    if (name && strcmp(name, "auto") != 0) {
        if (palme_precision_find(&model->precision, name) < 0)
            return palme_fail(log, PALME_ERROR_ARGUMENT,
                              "there is no precision \"%s\"; auto, f32, bf16, int8 and int4 are known",
                              palme_show(&shown, name, strlen(name)));
        return PALME_OK;
    }
    /* int4 has to be asked for. */
    const int pays[PALME_PRECISIONS] = { 1, model->kernels.bf16_pays, model->kernels.int8_pays, 0 };

    model->precision = PALME_F32;
    for (int i = 0; i < PALME_PRECISIONS; i++)
        if (pays[i] && model->config.precisions >> i & 1)
            model->precision = (enum palme_precision)i;
    return PALME_OK;
}

/* What is opened. */
struct origin {
    const char *name; /* a path where there is no source */
    const struct palme_source *source;
    const char *plain; /* the arguments of a plain checkpoint, or NULL */
    size_t plain_length;
};

/* Kernels, weights and names, from the file. */
static int read_model(struct palme_model *model, struct palme_safetensors **file, const struct origin *origin,
                      const struct palme_setup *setup, const struct palme_log *log)
{
    enum palme_cpu_level level;
    struct palme_shown shown;
    int status;

    if (palme_cpu_choose(&level, setup->level) < 0)
        return palme_fail(log, PALME_ERROR_ARGUMENT, "there are no kernels of the level \"%s\"",
                          palme_show(&shown, setup->level, strlen(setup->level)));
    palme_kernels_init(&model->kernels, level);
    status = origin->source ? palme_safetensors_open_source(file, origin->source, setup->verify, log)
                            : palme_safetensors_open(file, origin->name, setup->verify, log);
    if (status < 0)
        return status;
    status = origin->plain ? palme_config_read_plain(&model->config, origin->plain, origin->plain_length, log)
                           : read_metadata(model, *file, log);
    if (status < 0 || (status = choose_precision(model, setup->precision, log)) < 0)
        return status;
    int blas = model->precision == PALME_F32 && palme_blas_open(&model->blas, level, log);
    model->kernels.blas = blas ? &model->blas : NULL;
    status =
        palme_weights_load(&model->weights, &model->config, model->format_version, model->precision, blas, *file, log);
    if (status < 0)
        return status;
    model->name = metadata_copy(origin->plain ? NULL : *file, "name");
    model->language = metadata_copy(origin->plain ? NULL : *file, "language");
    model->card = metadata_copy(origin->plain ? NULL : *file, "model_card");
    return model->name && model->language && model->card ? PALME_OK : no_memory(log);
}

static int open_model(struct palme_model **out, const struct origin *origin, const struct palme_setup *setup)
{
    static const struct palme_setup none;
    struct palme_safetensors *file = NULL;
    struct palme_model *model;
    int status;

    *out = NULL;
    if (!setup)
        setup = &none;
    const struct palme_log log = { setup->log, setup->log_user, origin->name };
    if (!all_zero(setup->reserved, sizeof setup->reserved) ||
        (origin->source && !all_zero(origin->source->reserved, sizeof origin->source->reserved)))
        return palme_fail(&log, PALME_ERROR_ARGUMENT,
                          "reserved members are not zero: they were not initialised, or this library is older than the "
                          "program's header");
    if (!(model = calloc(1, sizeof *model)))
        return no_memory(&log);
    model->format_version = 1; /* of a plain checkpoint */
    status = (model->path = strdup(origin->name)) ? read_model(model, &file, origin, setup, &log) : no_memory(&log);
    palme_safetensors_close(&file);
    if (status == PALME_OK && (status = palme_pool_open(&model->pool, setup->threads, &model->threads)) < 0)
        no_memory(&log);
    if (status < 0) {
        palme_model_close(&model);
        return status;
    }
    if (setup->threads > model->threads)
        palme_log_message(&log, PALME_LOG_WARNING, "%d threads were asked for, the system allows %d", setup->threads,
                          model->threads);
    *out = model;
    return PALME_OK;
}

static int open_origin(palme_model **model, const struct origin *origin, const struct palme_setup *setup)
{
    const struct palme_log log = { setup ? setup->log : NULL, setup ? setup->log_user : NULL, origin->name };
    const char *wrong = NULL;
    struct palme_floats floats;

    if (model)
        *model = NULL;
    if (!model)
        wrong = "there is no place for the model: it is NULL";
    else if (!origin->name)
        wrong = origin->source ? "the name of the source is NULL" : "the path of the model is NULL";
    else if (origin->source && !origin->source->read_at)
        wrong = "the source has no read_at";
    else if (setup && setup->threads < 0)
        wrong = "threads are fewer than 0";
    if (wrong)
        return palme_fail(&log, PALME_ERROR_ARGUMENT, "%s", wrong);
    palme_floats_enter(&floats);
    int status = open_model(model, origin, setup);
    palme_floats_leave(&floats);
    return status;
}

int palme_model_open(palme_model **model, const char *path, const struct palme_setup *setup)
{
    return open_origin(model, &(struct origin){ .name = path }, setup);
}

int palme_model_open_source(palme_model **model, const struct palme_source *source, const char *name,
                            const struct palme_setup *setup)
{
    static const struct palme_source none;

    return open_origin(model, &(struct origin){ .name = name, .source = source ? source : &none }, setup);
}

int palme_model_open_plain(palme_model **model, const char *path, const char *config, size_t length,
                           const struct palme_setup *setup)
{
    return open_origin(model, &(struct origin){ .name = path, .plain = config, .plain_length = length }, setup);
}

void palme_model_close(palme_model **model)
{
    if (!model || !*model)
        return;
    struct palme_model *m = *model;

    palme_pool_close(&m->pool);
    palme_tokenizer_close(&m->tokenizer);
    palme_words_close(&m->words);
    palme_weights_clear(&m->weights);
    palme_config_clear(&m->config);
    free(m->name);
    free(m->language);
    free(m->card);
    free(m->path);
    free(m);
    *model = NULL;
}

void palme_model_info(const palme_model *model, struct palme_info *info)
{
    if (!model || !info)
        return;
    const struct palme_label_config *labels = model->config.labels;

    *info = (struct palme_info){
        .name = model->name,
        .language = model->language,
        .card = model->card,
        .default_prompt = model->config.default_prompt,
        .stem = palme_stem_name(model->config.stem),
        .level = model->kernels.level,
        .precision = palme_precision_name(model->precision),
        .image_size = model->config.image_size,
        .resize = (enum palme_resize)model->config.resize,
        .filter = (enum palme_filter)model->config.filter,
        .resize_side = model->config.resize_side,
        .patch_size = model->config.patch_size,
        .vocabulary = model->config.vocabulary,
        .max_context = model->config.context - palme_config_prefix(&model->config) - (labels ? PALME_LABEL_TOKENS : 0),
        .beams = model->config.default_beams,
        .threads = model->threads,
        .has_min_score = model->config.has_min_score,
        .min_score = model->config.min_score,
        .parameters = model->weights.parameters,
        .bytes = model->weights.bytes,
        .labels = labels ? labels->count : 0,
        .most_labels = labels ? labels->most : 0,
        .label_weight = labels ? labels->weight : 0,
    };
}

int palme_preprocessor_open_model(palme_preprocessor **preprocessor, const palme_model *model)
{
    if (!model) {
        if (preprocessor)
            *preprocessor = NULL;
        return PALME_ERROR_ARGUMENT;
    }
    struct palme_info info;

    palme_model_info(model, &info);
    return palme_preprocessor_open_info(preprocessor, &info, model->kernels.level);
}
