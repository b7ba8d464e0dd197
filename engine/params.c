/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * params.c - the model's parameters: read from JSON, judged, bounded. What passes here makes every
 * later product of sizes fit; whether the weights agree is the business of weights.c.
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "model.h"

enum {
    MAX_CONFIG = 65536, /* bytes of JSON */
    MAX_PROMPT = 4096,  /* bytes, as in palme_prompt */
    MAX_PATCHES = 65536,
    MAX_POSITION = 65536, /* rows of context */
    MAX_DISTANCE =
        16384, /* of a position from the xpos centre: the gain 0.2857^(-d/512) stays below 3e17 */
    SHOWN_UNKNOWN = 5 /* unknown keys that are named before they are only counted */
};

/* Values that a session may come to hold in one buffer: keys and values of a context, rows of the
 * encoder. */
static const double max_values = 2147483648.0;

/* ---- The constructor's parameters --------------------------------------------------------- */

enum kind { INTEGER, INTEGER_OR_NULL, BOOLEAN };

/* The keys of the config: their limits, and what a plain checkpoint means by leaving one out. */
static const struct parameter {
    const char *key;
    size_t place; /* in struct palme_params */
    enum kind kind;
    int least, most, standard;
} parameters[] = {
#define PLACE(name) #name, offsetof(struct palme_params, name)
    { PLACE(image_size), INTEGER, 1, 4096, 256 },
    { PLACE(patch_size), INTEGER, 1, 512, 32 },
    { PLACE(encoder_dim), INTEGER, 1, 16384, 512 },
    { PLACE(encoder_depth), INTEGER, 1, 512, 6 },
    { PLACE(encoder_heads), INTEGER, 1, 512, 8 },
    { PLACE(num_tokens), INTEGER, 1, 1 << 20, 20000 },
    { PLACE(max_seq_len), INTEGER, 1, MAX_POSITION, 1024 },
    { PLACE(decoder_dim), INTEGER, 1, 16384, 512 },
    { PLACE(decoder_depth), INTEGER, 1, 512, 6 },
    { PLACE(decoder_heads), INTEGER, 1, 512, 8 },
    { PLACE(alibi_num_heads), INTEGER_OR_NULL, 1, 512, 4 },
    { PLACE(use_abs_pos_emb), BOOLEAN, 0, 1, 0 },
    { PLACE(cross_attend), BOOLEAN, 0, 1, 1 },
    { PLACE(alibi_pos_bias), BOOLEAN, 0, 1, 1 },
    { PLACE(rotary_xpos), BOOLEAN, 0, 1, 1 },
    { PLACE(attn_flash), BOOLEAN, 0, 1, 1 },
    { PLACE(qk_norm), BOOLEAN, 0, 1, 1 },
#undef PLACE
};
enum { PARAMETERS = sizeof parameters / sizeof parameters[0] };

static int *place_of(struct palme_params *params, const struct parameter *parameter)
{
    return (int *)((char *)params + parameter->place);
}

static const char *json_kind(const struct palme_json *value)
{
    switch (value->kind) {
    case PALME_JSON_OBJECT: return "an object";
    case PALME_JSON_ARRAY: return "an array";
    case PALME_JSON_STRING: return "a string";
    case PALME_JSON_INTEGER: return "an integer";
    case PALME_JSON_REAL: return "a real number";
    case PALME_JSON_NULL: return "null";
    default: return "a boolean";
    }
}

static int wrong_kind(const char *key, const struct palme_json *value, const char *wanted,
                      const struct palme_report *report)
{
    return palme_fail(report, PALME_ERROR_FORMAT, "config: %s must be %s, and is %s", key, wanted,
                      json_kind(value));
}

/* Takes an integer between two limits. */
static int take_integer(int *out, const char *key, const struct palme_json *value, int least, int most,
                        const struct palme_report *report)
{
    int64_t found = palme_json_integer(value);

    if (!palme_json_is(value, PALME_JSON_INTEGER))
        return wrong_kind(key, value, "an integer", report);
    if (found < least || found > most)
        return palme_fail(report, PALME_ERROR_FORMAT, "config: %s is %lld; %d to %d are allowed",
                          key, (long long)found, least, most);
    *out = (int)found;
    return PALME_OK;
}

/* The 17. A missing one is an error, or takes its documented default. alibi_num_heads stays 0 for
 * null. */
static int read_parameters(struct palme_params *params, const struct palme_json *config, int all_required,
                           const struct palme_report *report)
{
    for (size_t i = 0; i < PARAMETERS; i++) {
        const struct parameter *parameter = &parameters[i];
        const struct palme_json *value = palme_json_get(config, parameter->key);
        int *out = place_of(params, parameter), status = PALME_OK;

        *out = parameter->standard;
        if (!value && all_required)
            return palme_fail(report, PALME_ERROR_FORMAT, "config: %s is missing", parameter->key);
        if (!value)
            continue;
        if (parameter->kind == BOOLEAN && !palme_json_is_boolean(value))
            return wrong_kind(parameter->key, value, "true or false", report);
        if (parameter->kind == BOOLEAN)
            *out = palme_json_is(value, PALME_JSON_TRUE);
        else if (parameter->kind == INTEGER_OR_NULL && palme_json_is(value, PALME_JSON_NULL))
            *out = 0;
        else
            status =
                take_integer(out, parameter->key, value, parameter->least, parameter->most, report);
        if (status < 0)
            return status;
    }
    return PALME_OK;
}

/* ---- This project's keys ------------------------------------------------------------------ */

static const char *const stems[] = { "none", "efficientnet_lite0", "efficientnet_lite1",
                                     "efficientnet_lite2" };

const char *palme_stem_name(enum palme_stem_kind kind)
{
    return stems[kind];
}

static const char *const own_keys[] = { "stem",           "train_length",    "xpos_center",
                                        "bos_token",      "eos_token",       "pad_token",
                                        "image_resize",   "default_prompt",  "default_beams",
                                        "length_penalty", "no_repeat_ngram", "min_length",
                                        "min_score",      "precisions" };

/* An optional integer: *out keeps its default where the key is absent. */
static int read_integer(int *out, const struct palme_json *config, const char *key, int least, int most,
                        const struct palme_report *report)
{
    const struct palme_json *value = palme_json_get(config, key);

    return value ? take_integer(out, key, value, least, most, report) : PALME_OK;
}

/* An optional number between two limits; *is_there may be NULL. */
static int read_number(double *out, int *is_there, const struct palme_json *config, const char *key,
                       double least, double most, const struct palme_report *report)
{
    const struct palme_json *value = palme_json_get(config, key);
    double found = palme_json_number(value);

    if (!value)
        return PALME_OK;
    if (!palme_json_is_number(value))
        return wrong_kind(key, value, "a number", report);
    if (!isfinite(found) || found < least || found > most)
        return palme_fail(report, PALME_ERROR_FORMAT, "config: %s is %g; %g to %g are allowed", key,
                          found, least, most);
    *out = found;
    if (is_there)
        *is_there = 1;
    return PALME_OK;
}

static int read_stem(struct palme_params *params, const struct palme_json *config,
                     const struct palme_report *report)
{
    const struct palme_json *value = palme_json_get(config, "stem");
    struct palme_shown shown;

    if (!value)
        return PALME_OK;
    if (!palme_json_is(value, PALME_JSON_STRING))
        return wrong_kind("stem", value, "a string", report);
    for (int kind = PALME_STEM_NONE; kind <= PALME_STEM_LITE2; kind++)
        if (strcmp(palme_json_text(value), stems[kind]) == 0) {
            params->stem = (enum palme_stem_kind)kind;
            return PALME_OK;
        }
    return palme_fail(report, PALME_ERROR_FORMAT,
                      "config: stem is \"%s\"; none and efficientnet_lite0, 1 and 2 are known",
                      palme_show(&shown, palme_json_text(value), palme_json_size(value)));
}

static int read_resize(const struct palme_json *config, const struct palme_report *report)
{
    const struct palme_json *value = palme_json_get(config, "image_resize");
    struct palme_shown shown;

    if (value && !palme_json_is(value, PALME_JSON_STRING))
        return wrong_kind("image_resize", value, "a string", report);
    if (value && strcmp(palme_json_text(value), "squash") != 0)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: image_resize is \"%s\"; only \"squash\" is known",
                          palme_show(&shown, palme_json_text(value), palme_json_size(value)));
    return PALME_OK;
}

/* The text is checked as a prompt when the tokenizer is there. */
static int read_prompt(struct palme_params *params, const struct palme_json *config,
                       const struct palme_report *report)
{
    const struct palme_json *value = palme_json_get(config, "default_prompt");

    if (value && !palme_json_is(value, PALME_JSON_STRING))
        return wrong_kind("default_prompt", value, "a string", report);
    if (palme_json_size(value) > MAX_PROMPT)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: default_prompt has %zu bytes; %d are allowed",
                          palme_json_size(value), MAX_PROMPT);
    params->default_prompt = strdup(value ? palme_json_text(value) : "");
    if (!params->default_prompt)
        return palme_fail(report, PALME_ERROR_MEMORY, "out of memory");
    return PALME_OK;
}

static int read_precisions(struct palme_params *params, const struct palme_json *config, const struct palme_report *report)
{
    const struct palme_json *list = palme_json_get(config, "precisions"), *value;
    struct palme_shown shown;
    unsigned seen = 0;

    if (!list)
        return PALME_OK;
    if (!palme_json_is(list, PALME_JSON_ARRAY))
        return wrong_kind("precisions", list, "an array of strings", report);
    if (palme_json_size(list) == 0)
        return palme_fail(report, PALME_ERROR_FORMAT, "config: precisions is empty");
    for (value = palme_json_first(list); value; value = value->next) {
        enum palme_precision found;

        if (!palme_json_is(value, PALME_JSON_STRING))
            return wrong_kind("an entry of precisions", value, "a string", report);
        if (palme_precision_find(&found, palme_json_text(value)) < 0)
            return palme_fail(
                report, PALME_ERROR_FORMAT,
                "config: precisions has \"%s\"; f32, bf16 and int8 are known",
                palme_show(&shown, palme_json_text(value), palme_json_size(value)));
        if (seen & 1u << found)
            return palme_fail(report, PALME_ERROR_FORMAT, "config: precisions has %s twice",
                              palme_precision_name(found));
        seen |= 1u << found;
    }
    params->precisions = seen;
    return PALME_OK;
}

static int read_tokens(struct palme_params *params, const struct palme_json *config,
                       const struct palme_report *report)
{
    static const char *const required[] = { "bos_token", "eos_token" };
    int last = params->num_tokens - 1, status;

    for (int i = 0; i < 2; i++)
        if (!palme_json_get(config, required[i]))
            return palme_fail(report, PALME_ERROR_FORMAT, "config: %s is missing", required[i]);
    status = read_integer(&params->bos_token, config, "bos_token", 0, last, report);
    if (status == PALME_OK)
        status = read_integer(&params->eos_token, config, "eos_token", 0, last, report);
    if (status == PALME_OK)
        status = read_integer(&params->pad_token, config, "pad_token", 0, last, report);
    return status;
}

/* All the keys but the 17. The default of train_length is needed for that of xpos_center (finish).
 */
static int read_own(struct palme_params *params, const struct palme_json *config,
                    const struct palme_report *report)
{
    int status = read_stem(params, config, report);

    if (status == PALME_OK)
        status = read_integer(&params->train_length, config, "train_length", 1, 2 * MAX_POSITION,
                              report);
    if (status == PALME_OK)
        status =
            read_integer(&params->xpos_center, config, "xpos_center", 0, 2 * MAX_POSITION, report);
    if (status == PALME_OK)
        status = read_tokens(params, config, report);
    if (status == PALME_OK)
        status = read_resize(config, report);
    if (status == PALME_OK)
        status = read_integer(&params->default_beams, config, "default_beams", 1, 16, report);
    /* A caption's length to this power must stay finite. */
    if (status == PALME_OK)
        status =
            read_number(&params->length_penalty, NULL, config, "length_penalty", 0, 32, report);
    if (status == PALME_OK)
        status = read_integer(&params->no_repeat_ngram, config, "no_repeat_ngram", 0, MAX_POSITION,
                              report);
    if (status == PALME_OK)
        status = read_integer(&params->min_length, config, "min_length", 0, MAX_POSITION, report);
    if (status == PALME_OK)
        status = read_number(&params->min_score, &params->has_min_score, config, "min_score", -1e30,
                             1e30, report);
    if (status == PALME_OK)
        status = read_precisions(params, config, report);
    if (status == PALME_OK)
        status = read_prompt(params, config, report);
    return status;
}

/* An unknown key may come from a newer writer. Some are named, the others counted. */
static void warn_unknown(const struct palme_json *config, int own_too, const struct palme_report *report)
{
    struct palme_shown shown;
    size_t unknown = 0;

    for (const struct palme_json *value = palme_json_first(config); value; value = value->next) {
        const char *key = value->key;
        int known = 0;

        for (size_t i = 0; i < PARAMETERS && !known; i++)
            known = strcmp(key, parameters[i].key) == 0;
        for (size_t i = 0; own_too && i < sizeof own_keys / sizeof own_keys[0] && !known; i++)
            known = strcmp(key, own_keys[i]) == 0;
        if (!known && unknown++ < SHOWN_UNKNOWN)
            palme_say(report, PALME_LOG_WARNING, "config: unknown key %s is ignored",
                      palme_show(&shown, key, strlen(key)));
    }
    if (unknown > SHOWN_UNKNOWN)
        palme_say(report, PALME_LOG_WARNING, "config: %zu more unknown keys are ignored",
                  unknown - SHOWN_UNKNOWN);
}

/* ---- What the parameters say together ----------------------------------------------------- */

int palme_params_patches(const struct palme_params *params)
{
    int side = params->image_size / params->patch_size;

    return side * side;
}

int palme_params_patch_values(const struct palme_params *params)
{
    return params->stem == PALME_STEM_NONE ? 3 * params->patch_size * params->patch_size
                                           : PALME_STEM_FEATURES;
}

/* Rotation scales by s^((i - c) / 512), and an extreme centre would make infinities of it. */
static int judge_center(const struct palme_params *params, const struct palme_report *report)
{
    if (params->rotary_xpos && (params->xpos_center > MAX_DISTANCE ||
                                params->max_seq_len - params->xpos_center > MAX_DISTANCE))
        return palme_fail(
            report, PALME_ERROR_FORMAT,
            "config: with rotary_xpos no position of max_seq_len %d may be further than %d from "
            "xpos_center %d",
            params->max_seq_len, MAX_DISTANCE, params->xpos_center);
    return PALME_OK;
}

/* The largest buffers of a session follow from these products; file size bounds none of them. */
static int judge_sizes(const struct palme_params *params, const struct palme_report *report)
{
    double patches = palme_params_patches(params),
           kv = 2.0 * params->decoder_depth * 64 * params->decoder_heads;
    double wide = 64.0 * params->encoder_heads;

    if (wide < 4.0 * params->encoder_dim)
        wide = 4.0 * params->encoder_dim;
    if (kv * params->max_seq_len > max_values)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: max_seq_len %d with decoder_depth %d and decoder_heads %d needs "
                          "more memory than "
                          "is allowed",
                          params->max_seq_len, params->decoder_depth, params->decoder_heads);
    if ((params->cross_attend && kv * patches > max_values) || wide * patches > max_values)
        return palme_fail(
            report, PALME_ERROR_FORMAT,
            "config: image_size %d in patches of %d needs more memory than is allowed",
            params->image_size, params->patch_size);
    return PALME_OK;
}

/* Fills in the defaults that depend on other parameters, and judges parameters against each other.
 */
static int finish(struct palme_params *params, const struct palme_report *report)
{
    int patches, status;

    if (params->image_size % params->patch_size != 0)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: image_size %d is not a multiple of patch_size %d",
                          params->image_size, params->patch_size);
    /* At most 4096 a side, so that the square fits. */
    patches = palme_params_patches(params);
    if (patches > MAX_PATCHES)
        return palme_fail(
            report, PALME_ERROR_FORMAT,
            "config: image_size %d in patches of %d makes %d patches; at most %d are allowed",
            params->image_size, params->patch_size, patches, MAX_PATCHES);
    if (params->stem != PALME_STEM_NONE && params->patch_size != 32)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: stem %s wants patch_size 32, and it is %d", stems[params->stem],
                          params->patch_size);
    if (params->alibi_num_heads == 0)
        params->alibi_num_heads = params->decoder_heads;
    if (params->alibi_pos_bias && params->alibi_num_heads > params->decoder_heads)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: alibi_num_heads %d is more than decoder_heads %d",
                          params->alibi_num_heads, params->decoder_heads);
    if (!params->cross_attend && patches >= params->max_seq_len)
        return palme_fail(report, PALME_ERROR_FORMAT,
                          "config: without cross_attend the %d image tokens and the text share "
                          "max_seq_len, which "
                          "is %d",
                          patches, params->max_seq_len);
    if (params->train_length < 0)
        params->train_length = params->max_seq_len;
    if (params->xpos_center < 0)
        params->xpos_center = ((params->cross_attend ? 0 : patches) + params->train_length - 1) / 2;
    status = judge_center(params, report);
    return status == PALME_OK ? judge_sizes(params, report) : status;
}

static int load(struct palme_json **config, struct palme_params *params, const char *json, size_t length,
                const struct palme_report *report)
{
    *config = NULL;
    memset(params, 0, sizeof *params);
    params->train_length = params->xpos_center = -1;
    params->eos_token = params->pad_token = -1;
    params->default_beams = params->min_length = 1;
    params->length_penalty = 0.7;
    params->precisions = 1u << PALME_F32;
    if (length > MAX_CONFIG)
        return palme_fail(report, PALME_ERROR_FORMAT, "config: has %zu bytes; %d are allowed",
                          length, MAX_CONFIG);
    return palme_json_load(config, json, length, "config", report);
}

/* ---- For everyone ------------------------------------------------------------------------- */

int palme_params_read(struct palme_params *params, const char *json, size_t length,
                      const struct palme_report *report)
{
    struct palme_json *config;
    int status = load(&config, params, json, length, report);

    if (status == PALME_OK)
        status = read_parameters(params, config, 1, report);
    if (status == PALME_OK)
        status = read_own(params, config, report);
    if (status == PALME_OK)
        status = finish(params, report);
    if (status == PALME_OK)
        warn_unknown(config, 1, report);
    else
        palme_params_clear(params);
    palme_json_close(&config);
    return status;
}

int palme_params_read_plain(struct palme_params *params, const char *json, size_t length,
                            const struct palme_report *report)
{
    struct palme_json *config;
    int status = load(&config, params, json, length, report);

    if (status == PALME_OK)
        status = read_parameters(params, config, 0, report);
    /* The reference trains without normalisation whatever the argument says. */
    params->qk_norm = 0;
    if (status == PALME_OK)
        status = finish(params, report);
    if (status == PALME_OK && !(params->default_prompt = strdup("")))
        status = palme_fail(report, PALME_ERROR_MEMORY, "out of memory");
    if (status == PALME_OK)
        warn_unknown(config, 0, report);
    else
        palme_params_clear(params);
    palme_json_close(&config);
    return status;
}

void palme_params_clear(struct palme_params *params)
{
    free(params->default_prompt);
    memset(params, 0, sizeof *params);
}
