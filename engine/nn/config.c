/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * config.c - a model's configuration: read from the JSON of version 2, validated, bounded. What passes here makes
 * every later product of sizes fit; whether the weights agree is found out while they are loaded.
 */
#include "nn/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/fields.h"
#include "nn/format1.h"
#include "nn/labels.h"
#include "nn/least.h"
#include "io/json.h"
#include "image/preprocess.h"
#include "base/util.h"

enum {
    MAX_CONFIG = 1 << 20, /* bytes of JSON; most of them are the words of labels */
    MAX_PATCHES = 65536,
    MAX_DISTANCE = 16384, /* of a position from the xpos centre: the gain 0.2857^(-d/512) stays below 3e17 */
    ROTATED = 2 * PALME_ROTARY
};

/* Values that a session may come to hold in one buffer: keys and values of a context, rows of the encoder. */
static const double max_values = 2147483648.0;

/* ---- Version 2 ---------------------------------------------------------------------------- */

const char *const palme_stem_names[] = { "none", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2",
                                         NULL };

static const char *const norms[] = { "layer", NULL }, *const orders[] = { "pre", "post", NULL };
static const char *const positions[] = { "none", "learned", NULL };
static const char *const activations[] = { "gelu_erf", "gelu_tanh", "quick_gelu", NULL };
static const char *const pictures[] = { "prefix", "cross_attention", NULL };
static const char *const rotaries[] = { "none", "xpos", NULL };
static const char *const heads_of_logits[] = { "linear", "bert", NULL };
static const char *const search_rules[] = { "palme", "transformers", NULL };
static const char *const early_stopping[] = { "heuristic", "first", "never", NULL };
static const char *const projections[] = { "auto", "linear", "none", NULL };

/* Members of the JSON that are no members of the config. */
struct draft {
    struct palme_config config;
    struct {
        struct palme_stack stack;
        int activation, norm, kv_heads;
    } part; /* encoder or decoder */
    int stem;
};

#define IMAGE(name) offsetof(struct draft, config.name)
#define PART(name) offsetof(struct draft, part.name)
#define STACK(name) offsetof(struct draft, part.stack.name)

static const struct palme_field image_fields[] = {
    { "size", IMAGE(image_size), PALME_FIELD_INTEGER, 1, 1, 4096, NULL },
    { "patch", IMAGE(patch_size), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "resize", IMAGE(resize), PALME_FIELD_CHOICE, 0, 0, 0, palme_resize_names },
    { "filter", IMAGE(filter), PALME_FIELD_CHOICE, 0, 0, 0, palme_filter_names },
    { "shortest_side", IMAGE(resize_side), PALME_FIELD_INTEGER, 0, 1, PALME_MAX_SQUARE, NULL },
};

static const struct palme_field stack_fields[] = {
    { "dim", STACK(dim), PALME_FIELD_INTEGER, 1, 1, 16384, NULL },
    { "depth", STACK(depth), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "heads", STACK(heads), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "kv_heads", PART(kv_heads), PALME_FIELD_INTEGER, 0, 1, 512, NULL },
    { "head_dim", STACK(head_dim), PALME_FIELD_INTEGER, 0, 1, PALME_MOST_HEAD_DIM, NULL },
    { "mlp_dim", STACK(mlp_dim), PALME_FIELD_INTEGER, 0, 1, 65536, NULL },
    { "norm", PART(norm), PALME_FIELD_CHOICE, 0, 0, 0, norms },
    { "norm_order", STACK(norm_order), PALME_FIELD_CHOICE, 0, 0, 0, orders },
    { "norm_eps", STACK(norm_eps), PALME_FIELD_NUMBER, 0, 0, 1, NULL },
    { "activation", PART(activation), PALME_FIELD_CHOICE, 0, 0, 0, activations },
    { "qkv_bias", STACK(qkv_bias), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "out_bias", STACK(out_bias), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "mlp_bias", STACK(mlp_bias), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "qk_norm", STACK(qk_norm), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "attention_scale", STACK(attention_scale), PALME_FIELD_NUMBER, 0, 0, 1000, NULL },
    { "positions", STACK(positions), PALME_FIELD_CHOICE, 0, 0, 0, positions },
    { "position_offset", STACK(position_offset), PALME_FIELD_INTEGER, 0, 0, 1024, NULL },
    { "first_norm", STACK(first_norm), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "final_norm", STACK(final_norm), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
};

static const struct palme_field encoder_fields[] = {
    { "stem", offsetof(struct draft, stem), PALME_FIELD_CHOICE, 0, 0, 0, palme_stem_names },
    { "patch_input_norm", IMAGE(patch_input_norm), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "patch_bias", IMAGE(patch_bias), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "patch_output_norm", IMAGE(patch_output_norm), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "class_tokens", IMAGE(class_tokens), PALME_FIELD_INTEGER, 0, 0, 2, NULL },
};

static const struct palme_field decoder_fields[] = {
    { "vocabulary", IMAGE(vocabulary), PALME_FIELD_INTEGER, 1, 1, 1 << 20, NULL },
    { "context", IMAGE(context), PALME_FIELD_INTEGER, 1, 1, PALME_MOST_POSITIONS, NULL },
    { "image", IMAGE(cross_attend), PALME_FIELD_CHOICE, 0, 0, 0, pictures },
    { "embed_prefix", IMAGE(embed_prefix), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "rotary", IMAGE(rotary_xpos), PALME_FIELD_CHOICE, 0, 0, 0, rotaries },
    { "xpos_center", IMAGE(xpos_center), PALME_FIELD_INTEGER, 0, 0, 2 * PALME_MOST_POSITIONS, NULL },
    { "alibi_heads", IMAGE(alibi_heads), PALME_FIELD_INTEGER, 0, 0, 512, NULL },
    { "tied_logits", IMAGE(tied_logits), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "logits_bias", IMAGE(logits_bias), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "logits_head", IMAGE(bert_head), PALME_FIELD_CHOICE, 0, 0, 0, heads_of_logits },
};

static const struct palme_field projection_fields[] = {
    { "kind", IMAGE(projection), PALME_FIELD_CHOICE, 0, 0, 0, projections },
    { "norm", IMAGE(projection_norm), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
    { "bias", IMAGE(projection_bias), PALME_FIELD_BOOLEAN, 0, 0, 0, NULL },
};

/* A caption's length to the power of length_penalty must stay finite. */
static const struct palme_field generation_fields[] = {
    { "beams", IMAGE(default_beams), PALME_FIELD_INTEGER, 0, 1, 16, NULL },
    { "length_penalty", IMAGE(length_penalty), PALME_FIELD_NUMBER, 0, 0, 32, NULL },
    { "no_repeat_ngram", IMAGE(no_repeat_ngram), PALME_FIELD_INTEGER, 0, 0, PALME_MOST_POSITIONS, NULL },
    { "min_length", IMAGE(min_length), PALME_FIELD_INTEGER, 0, 0, PALME_MOST_POSITIONS, NULL },
    { "max_length", IMAGE(max_length), PALME_FIELD_INTEGER, 0, 1, PALME_MOST_POSITIONS, NULL },
    { "max_new_tokens", IMAGE(max_new_tokens), PALME_FIELD_INTEGER, 0, 1, PALME_MOST_POSITIONS, NULL },
    { "min_new_tokens", IMAGE(min_new_tokens), PALME_FIELD_INTEGER, 0, 0, PALME_MOST_POSITIONS, NULL },
    { "search", IMAGE(search_rules), PALME_FIELD_CHOICE, 0, 0, 0, search_rules },
    { "early_stopping", IMAGE(early_stopping), PALME_FIELD_CHOICE, 0, 0, 0, early_stopping },
    { "min_score", IMAGE(min_score), PALME_FIELD_NUMBER, 0, -1e30, 1e30, NULL },
};

#define COUNT(table) ((int)(sizeof table / sizeof table[0]))

/* An object of the config; an absent one counts as empty. */
static int open_keys(struct palme_keys *keys, const struct palme_json *json, const char *name, const char *path,
                     const struct palme_log *log)
{
    struct palme_keys root = { .object = json, .path = "", .log = log };

    *keys = (struct palme_keys){ .object = palme_json_get(json, name), .path = path, .log = log };
    if (keys->object && !palme_json_is(keys->object, PALME_JSON_OBJECT))
        return palme_keys_wrong_kind(&root, name, keys->object, "an object");
    return PALME_OK;
}

/* One of the stacks into `out`, and what is special to it into the draft. */
static int read_stack(struct draft *draft, struct palme_stack *out, const struct palme_keys *keys,
                      const struct palme_field *own, int count)
{
    static const enum palme_activation of[] = { PALME_ACTIVATION_GELU, PALME_ACTIVATION_GELU_TANH,
                                                PALME_ACTIVATION_QUICK_GELU };
    struct palme_stack *stack = &draft->part.stack;
    int status;

    *stack = (struct palme_stack){ .head_dim = PALME_HEAD, .norm_eps = 1e-5, .mlp_bias = 1, .final_norm = 1 };
    draft->part.activation = draft->part.kv_heads = 0;
    if ((status = palme_keys_read(draft, keys, stack_fields, COUNT(stack_fields))) < 0 ||
        (status = palme_keys_read(draft, keys, own, count)) < 0)
        return status;
    if (draft->part.kv_heads && draft->part.kv_heads != stack->heads)
        return palme_fail(keys->log, PALME_ERROR_FORMAT,
                          "config: %skv_heads is %d; this version knows only as many as heads, %d", keys->path,
                          draft->part.kv_heads, stack->heads);
    stack->activation = of[draft->part.activation];
    if (!stack->mlp_dim)
        stack->mlp_dim = 4 * stack->dim;
    if (!palme_json_get(keys->object, "attention_scale"))
        stack->attention_scale = 1 / sqrt(stack->head_dim);
    *out = *stack;
    return PALME_OK;
}

static int read_generation(struct draft *draft, const struct palme_keys *keys)
{
    struct palme_config *config = &draft->config;
    int status = palme_keys_token(&config->bos_token, keys, "bos", 1, config->vocabulary);

    if (status == PALME_OK)
        status = palme_keys_token(&config->eos_token, keys, "eos", 1, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_token(&config->pad_token, keys, "pad", 0, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_token(&config->forced_bos, keys, "forced_bos", 0, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_token(&config->forced_eos, keys, "forced_eos", 0, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_read(draft, keys, generation_fields, COUNT(generation_fields));
    if (status == PALME_OK)
        status = palme_keys_prompt(&config->default_prompt, keys, "prompt");
    config->has_min_score = palme_json_get(keys->object, "min_score") != NULL;
    return status;
}

/* Warns of unknown keys, of all objects. */
static void warn_unknown(const struct palme_json *json, const struct palme_keys *image,
                         const struct palme_keys *encoder, const struct palme_keys *decoder,
                         const struct palme_keys *projection, const struct palme_keys *generation)
{
    static const char *const objects[] = { "image",      "encoder",  "decoder", "projection",      "generation",
                                           "precisions", "training", "labels",  "least_precision", NULL };
    static const char *const tokens[] = { "bos", "eos", "pad", "prompt", "forced_bos", "forced_eos", NULL };
    const char *stack[COUNT(stack_fields) + 1];

    for (int i = 0; i < COUNT(stack_fields); i++)
        stack[i] = stack_fields[i].key;
    stack[COUNT(stack_fields)] = NULL;
    palme_keys_warn_unknown(&(struct palme_keys){ .object = json, .path = "", .log = image->log }, NULL, 0, objects);
    palme_keys_warn_unknown(image, image_fields, COUNT(image_fields), NULL);
    palme_keys_warn_unknown(encoder, encoder_fields, COUNT(encoder_fields), stack);
    palme_keys_warn_unknown(decoder, decoder_fields, COUNT(decoder_fields), stack);
    palme_keys_warn_unknown(projection, projection_fields, COUNT(projection_fields), NULL);
    palme_keys_warn_unknown(generation, generation_fields, COUNT(generation_fields), tokens);
}

static const struct palme_config_names names2 = {
    .image_size = "image.size",
    .patch_size = "image.patch",
    .stem = "encoder.stem",
    .context = "decoder.context",
    .depth = "decoder.depth",
    .heads = "decoder.heads",
    .alibi_heads = "decoder.alibi_heads",
    .rotary = "decoder.rotary",
    .xpos_center = "decoder.xpos_center",
    .prefix = "with decoder.image \"prefix\"",
};

static int read_version2(struct palme_config *config, const struct palme_json *json, const struct palme_log *log)
{
    struct palme_keys root = { .object = json, .path = "", .log = log };
    struct palme_keys image, encoder, decoder, projection, generation;
    struct draft draft = { .config = *config };
    int status;

    draft.config.patch_input_norm = draft.config.patch_output_norm = 0;
    draft.config.xpos_center = -1;
    if ((status = open_keys(&image, json, "image", "image.", log)) < 0 ||
        (status = open_keys(&encoder, json, "encoder", "encoder.", log)) < 0 ||
        (status = open_keys(&decoder, json, "decoder", "decoder.", log)) < 0 ||
        (status = open_keys(&projection, json, "projection", "projection.", log)) < 0 ||
        (status = open_keys(&generation, json, "generation", "generation.", log)) < 0 ||
        (status = palme_keys_read(&draft, &image, image_fields, COUNT(image_fields))) < 0 ||
        (status = read_stack(&draft, &draft.config.encoder, &encoder, encoder_fields, COUNT(encoder_fields))) < 0 ||
        (status = read_stack(&draft, &draft.config.decoder, &decoder, decoder_fields, COUNT(decoder_fields))) < 0 ||
        (status = palme_keys_read(&draft, &projection, projection_fields, COUNT(projection_fields))) < 0 ||
        (status = palme_keys_precisions(&draft.config.precisions, &root, "precisions")) < 0 ||
        (status = read_generation(&draft, &generation)) < 0) {
        *config = draft.config; /* which may own something */
        return status;
    }
    if (!draft.config.resize_side)
        draft.config.resize_side = draft.config.image_size;
    draft.config.stem = (enum palme_stem_kind)draft.stem;
    *config = draft.config;
    if (config->rotary_xpos && config->xpos_center < 0)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: decoder.xpos_center is missing");
    if ((status = palme_config_validate(config, &names2, log)) == PALME_OK &&
        (status = palme_least_read(&config->least, config, json, log)) == PALME_OK &&
        (status = palme_label_config_read(&config->labels, config, json, names2.stem, names2.context, log)) == PALME_OK)
        warn_unknown(json, &image, &encoder, &decoder, &projection, &generation);
    return status;
}

/* ---- What the values say together --------------------------------------------------------- */

struct palme_scaling palme_config_scaling(const struct palme_config *config)
{
    return (struct palme_scaling){ config->image_size, (enum palme_resize)config->resize,
                                   (enum palme_filter)config->filter, config->resize_side };
}

int palme_config_patches(const struct palme_config *config)
{
    int side = config->image_size / config->patch_size;

    return side * side;
}

int palme_config_image_tokens(const struct palme_config *config)
{
    return config->class_tokens + palme_config_patches(config);
}

int palme_config_prefix(const struct palme_config *config)
{
    return config->cross_attend ? 0 : palme_config_image_tokens(config);
}

int palme_config_projects(const struct palme_config *config)
{
    return config->projection == PALME_PROJECTION_LINEAR ||
           (config->projection == PALME_PROJECTION_AUTO && config->encoder.dim != config->decoder.dim);
}

int palme_config_image_dim(const struct palme_config *config)
{
    return palme_config_projects(config) ? config->decoder.dim : config->encoder.dim;
}

int palme_config_positions(const struct palme_config *config)
{
    return config->embed_prefix ? config->context : config->context - palme_config_prefix(config);
}

int palme_config_patch_values(const struct palme_config *config)
{
    return config->stem == PALME_STEM_NONE ? 3 * config->patch_size * config->patch_size : PALME_STEM_FEATURES;
}

const char *palme_stem_name(enum palme_stem_kind kind)
{
    return palme_stem_names[kind];
}

/* Rotation scales by s^((i - c) / 512), and an extreme centre would make infinities of it. */
static int validate_rotary(const struct palme_config *config, const struct palme_config_names *names,
                           const struct palme_log *log)
{
    if (!config->rotary_xpos)
        return PALME_OK;
    if (config->xpos_center > MAX_DISTANCE || config->context - config->xpos_center > MAX_DISTANCE)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "config: with %s no position of %s %d may be further than %d from %s %d", names->rotary,
                          names->context, config->context, MAX_DISTANCE, names->xpos_center, config->xpos_center);
    if (config->decoder.head_dim < ROTATED)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: %s needs heads of at least %d values, and they have %d",
                          names->rotary, ROTATED, config->decoder.head_dim);
    return PALME_OK;
}

/* The largest buffers of a session follow from these products; file size bounds none of them. */
static int validate_sizes(const struct palme_config *config, const struct palme_config_names *names,
                          const struct palme_log *log)
{
    double tokens = palme_config_image_tokens(config),
           kv = 2.0 * config->decoder.depth * palme_stack_inner(&config->decoder);
    double wide = max_int(max_int(palme_stack_inner(&config->encoder), config->encoder.mlp_dim), config->encoder.dim);

    if (kv * config->context > max_values)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "config: %s %d with %s %d and %s %d needs more memory than is allowed", names->context,
                          config->context, names->depth, config->decoder.depth, names->heads, config->decoder.heads);
    if ((config->cross_attend && kv * tokens > max_values) || wide * tokens > max_values)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: %s %d in patches of %d needs more memory than is allowed",
                          names->image_size, config->image_size, config->patch_size);
    return PALME_OK;
}

int palme_config_validate(const struct palme_config *config, const struct palme_config_names *names,
                          const struct palme_log *log)
{
    int patches = palme_config_patches(config), prefix = palme_config_prefix(config),
        status; /* at most 4096 a side, so that the square fits */

    if (config->image_size % config->patch_size != 0)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: %s %d is not a multiple of %s %d", names->image_size,
                          config->image_size, names->patch_size, config->patch_size);
    if (config->resize_side < config->image_size)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: image.shortest_side %d is less than %s %d",
                          config->resize_side, names->image_size, config->image_size);
    if (patches > MAX_PATCHES)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "config: %s %d in patches of %d makes %d patches; at most %d are allowed", names->image_size,
                          config->image_size, config->patch_size, patches, MAX_PATCHES);
    if (config->stem != PALME_STEM_NONE && config->patch_size != 32)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: %s %s needs %s 32, and it is %d", names->stem,
                          palme_stem_name(config->stem), names->patch_size, config->patch_size);
    if (config->alibi_heads > config->decoder.heads)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: %s %d is more than %s %d", names->alibi_heads,
                          config->alibi_heads, names->heads, config->decoder.heads);
    if (prefix >= config->context)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: %s the %d image tokens and the text share %s, which is %d",
                          names->prefix, prefix, names->context, config->context);
    if (!config->cross_attend && palme_config_image_dim(config) != config->decoder.dim)
        return palme_fail(
            log, PALME_ERROR_FORMAT,
            "config: projection.kind is \"none\", and image tokens of %d values cannot stand before a text "
            "of %d",
            config->encoder.dim, config->decoder.dim);
    status = validate_rotary(config, names, log);
    return status == PALME_OK ? validate_sizes(config, names, log) : status;
}

/* ---- For everyone ------------------------------------------------------------------------- */

void palme_config_defaults(struct palme_config *config)
{
    const struct palme_stack stack = {
        .head_dim = PALME_HEAD,
        .norm_eps = 1e-5,
        .activation = PALME_ACTIVATION_GELU,
        .mlp_bias = 1,
        .attention_scale = 1 / sqrt(PALME_HEAD),
        .final_norm = 1,
    };

    *config = (struct palme_config){
        .patch_input_norm = 1,
        .patch_bias = 1,
        .patch_output_norm = 1,
        .encoder = stack,
        .decoder = stack,
        .cross_attend = 1,
        .embed_prefix = 1,
        .logits_bias = 1,
        .eos_token = -1,
        .pad_token = -1,
        .forced_bos = -1,
        .forced_eos = -1,
        .default_beams = 1,
        .min_length = 1,
        .length_penalty = 0.7,
        .precisions = 1u << PALME_F32,
    };
}

static int read_config(struct palme_config *config, int version, int plain, const char *text, size_t length,
                       const struct palme_log *log)
{
    struct palme_json *json = NULL;
    int status;

    palme_config_defaults(config);
    if (length > MAX_CONFIG)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: has %zu bytes; %d are allowed", length, MAX_CONFIG);
    status = palme_json_load(&json, text, length, "config", log);
    if (status == PALME_OK)
        status = version == 1 ? palme_format1_read(config, json, plain, log) : read_version2(config, json, log);
    if (status < 0)
        palme_config_clear(config);
    palme_json_close(&json);
    return status;
}

int palme_config_read(struct palme_config *config, int version, const char *json, size_t length,
                      const struct palme_log *log)
{
    return read_config(config, version, 0, json, length, log);
}

int palme_config_read_plain(struct palme_config *config, const char *json, size_t length, const struct palme_log *log)
{
    return read_config(config, 1, 1, json, length, log);
}

void palme_config_clear(struct palme_config *config)
{
    free(config->default_prompt);
    palme_label_config_free(config->labels);
    palme_least_free(config->least);
    memset(config, 0, sizeof *config);
}
