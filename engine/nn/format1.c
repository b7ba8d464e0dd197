/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * format1.c - files of version 1: the constructor's 17 parameters and this project's keys, flat in one object, and
 * tensors under the names of the modules in models/palme.py. They fill the structs of version 2, and what came in
 * between is here alone.
 */
#include "nn/format1.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/fields.h"
#include "nn/labels.h"
#include "image/preprocess.h"
#include "io/safetensors.h"

/* ---- Keys --------------------------------------------------------------------------------- */

struct draft {
    struct palme_config config;
    int stem, resize, alibi_num_heads, use_abs_pos_emb, alibi_pos_bias, attn_flash, train_length;
};

#define PLACE(name) offsetof(struct draft, name)
#define CONFIG(name) offsetof(struct draft, config.name)

/* What a plain checkpoint leaves out has the value of `plain`, which is the constructor's default. */
static const struct palme_field parameters[] = {
    { "image_size", CONFIG(image_size), PALME_FIELD_INTEGER, 1, 1, 4096, NULL },
    { "patch_size", CONFIG(patch_size), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "encoder_dim", CONFIG(encoder.dim), PALME_FIELD_INTEGER, 1, 1, 16384, NULL },
    { "encoder_depth", CONFIG(encoder.depth), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "encoder_heads", CONFIG(encoder.heads), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "num_tokens", CONFIG(vocabulary), PALME_FIELD_INTEGER, 1, 1, 1 << 20, NULL },
    { "max_seq_len", CONFIG(context), PALME_FIELD_INTEGER, 1, 1, PALME_MOST_POSITIONS, NULL },
    { "decoder_dim", CONFIG(decoder.dim), PALME_FIELD_INTEGER, 1, 1, 16384, NULL },
    { "decoder_depth", CONFIG(decoder.depth), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "decoder_heads", CONFIG(decoder.heads), PALME_FIELD_INTEGER, 1, 1, 512, NULL },
    { "alibi_num_heads", PLACE(alibi_num_heads), PALME_FIELD_INTEGER_OR_NULL, 1, 1, 512, NULL },
    { "use_abs_pos_emb", PLACE(use_abs_pos_emb), PALME_FIELD_BOOLEAN, 1, 0, 1, NULL },
    { "cross_attend", CONFIG(cross_attend), PALME_FIELD_BOOLEAN, 1, 0, 1, NULL },
    { "alibi_pos_bias", PLACE(alibi_pos_bias), PALME_FIELD_BOOLEAN, 1, 0, 1, NULL },
    { "rotary_xpos", CONFIG(rotary_xpos), PALME_FIELD_BOOLEAN, 1, 0, 1, NULL },
    { "attn_flash", PLACE(attn_flash), PALME_FIELD_BOOLEAN, 1, 0, 1, NULL },
    { "qk_norm", CONFIG(decoder.qk_norm), PALME_FIELD_BOOLEAN, 1, 0, 1, NULL },
};

/* A caption's length to the power of length_penalty must stay finite. */
static const char *const resizes[] = { "squash", NULL };

static const struct palme_field own[] = {
    { "stem", PLACE(stem), PALME_FIELD_CHOICE, 0, 0, 0, palme_stem_names },
    { "train_length", PLACE(train_length), PALME_FIELD_INTEGER, 0, 1, 2 * PALME_MOST_POSITIONS, NULL },
    { "xpos_center", CONFIG(xpos_center), PALME_FIELD_INTEGER, 0, 0, 2 * PALME_MOST_POSITIONS, NULL },
    { "image_resize", PLACE(resize), PALME_FIELD_CHOICE, 0, 0, 0, resizes },
    { "default_beams", CONFIG(default_beams), PALME_FIELD_INTEGER, 0, 1, 16, NULL },
    { "length_penalty", CONFIG(length_penalty), PALME_FIELD_NUMBER, 0, 0, 32, NULL },
    { "no_repeat_ngram", CONFIG(no_repeat_ngram), PALME_FIELD_INTEGER, 0, 0, PALME_MOST_POSITIONS, NULL },
    { "min_length", CONFIG(min_length), PALME_FIELD_INTEGER, 0, 0, PALME_MOST_POSITIONS, NULL },
    { "min_score", CONFIG(min_score), PALME_FIELD_NUMBER, 0, -1e30, 1e30, NULL },
};

enum { PARAMETERS = sizeof parameters / sizeof parameters[0], OWN = sizeof own / sizeof own[0] };

static const struct palme_config_names names = {
    .image_size = "image_size",
    .patch_size = "patch_size",
    .stem = "stem",
    .context = "max_seq_len",
    .depth = "decoder_depth",
    .heads = "decoder_heads",
    .alibi_heads = "alibi_num_heads",
    .rotary = "rotary_xpos",
    .xpos_center = "xpos_center",
    .prefix = "without cross_attend",
};

/* This project's keys. */
static int read_own(struct draft *draft, const struct palme_keys *keys)
{
    struct palme_config *config = &draft->config;
    int status = palme_keys_read(draft, keys, own, OWN);

    if (status == PALME_OK)
        status = palme_keys_token(&config->bos_token, keys, "bos_token", 1, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_token(&config->eos_token, keys, "eos_token", 1, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_token(&config->pad_token, keys, "pad_token", 0, config->vocabulary);
    if (status == PALME_OK)
        status = palme_keys_precisions(&config->precisions, keys, "precisions");
    config->has_min_score = palme_json_get(keys->object, "min_score") != NULL;
    return status;
}

/* From version 1's terms to those of the config. */
static void finish(struct draft *draft)
{
    struct palme_config *config = &draft->config;

    config->stem = (enum palme_stem_kind)draft->stem;
    config->resize = draft->resize;
    config->resize_side = config->image_size;
    config->encoder.mlp_dim = 4 * config->encoder.dim;
    config->decoder.mlp_dim = 4 * config->decoder.dim;
    config->encoder.positions = 1;
    config->decoder.positions = draft->use_abs_pos_emb && !config->rotary_xpos;
    config->alibi_heads = !draft->alibi_pos_bias   ? 0
                          : draft->alibi_num_heads ? draft->alibi_num_heads
                                                   : config->decoder.heads;
    if (draft->train_length < 0)
        draft->train_length = config->context;
    if (config->xpos_center < 0) /* half of what one training sequence feeds to the decoder */
        config->xpos_center = (palme_config_prefix(config) + draft->train_length - 1) / 2;
}

static void warn_unknown(const struct palme_keys *keys)
{
    static const char *const more[] = {
        "bos_token", "eos_token", "pad_token", "precisions", "default_prompt", "labels"
    };
    enum { MORE = sizeof more / sizeof more[0] };
    const char *others[OWN + MORE + 1] = { NULL };

    for (int i = 0; i < OWN && !keys->lenient; i++)
        others[i] = own[i].key;
    for (int i = 0; i < MORE && !keys->lenient; i++)
        others[OWN + i] = more[i];
    palme_keys_warn_unknown(keys, parameters, PARAMETERS, others);
}

int palme_format1_read(struct palme_config *config, const struct palme_json *json, int plain,
                       const struct palme_log *log)
{
    struct palme_keys keys = { .object = json, .path = "", .lenient = plain, .log = log };
    struct draft draft = {
        .config = *config, .alibi_num_heads = 4, .alibi_pos_bias = 1, .attn_flash = 1, .train_length = -1
    };
    struct palme_config *c = &draft.config;

    c->image_size = 256;
    c->patch_size = 32;
    c->encoder.dim = c->decoder.dim = 512;
    c->encoder.depth = c->decoder.depth = 6;
    c->encoder.heads = c->decoder.heads = 8;
    c->vocabulary = 20000;
    c->context = 1024;
    c->rotary_xpos = 1;
    c->xpos_center = -1;
    int status = palme_keys_read(&draft, &keys, parameters, PARAMETERS);

    if (plain) /* the reference trains without normalisation whatever the argument says */
        c->decoder.qk_norm = 0;
    else if (status == PALME_OK)
        status = read_own(&draft, &keys);
    if (status == PALME_OK)
        finish(&draft);
    if (status == PALME_OK)
        status = palme_config_validate(c, &names, log);
    if (status == PALME_OK)
        status = palme_keys_prompt(&c->default_prompt, &(struct palme_keys){ plain ? NULL : json, "", 0, log },
                                   "default_prompt");
    if (status == PALME_OK && !plain)
        status = palme_label_config_read(&c->labels, c, json, names.stem, names.context, log);
    if (status == PALME_OK)
        warn_unknown(&keys);
    *config = draft.config;
    return status;
}

/* ---- Tensors ------------------------------------------------------------------------------ */

/* The first words of a name, here and in version 1. */
static const struct words {
    const char *plain, *old;
} beginnings[] = {
    { "stem.conv", "encoder.stem.conv" },
    { "stem.head", "encoder.stem.head" },
    { "encoder.patch.input_norm", "encoder.patch_to_embedding.0" },
    { "encoder.patch.output_norm", "encoder.patch_to_embedding.2" },
    { "encoder.patch", "encoder.patch_to_embedding.1" },
    { "encoder.positions.weight", "encoder.pos_embedding" },
    { "encoder.final_norm", "encoder.attn_layers.final_norm" },
    { "projection", "encoder_to_decoder" },
    { "decoder.embedding", "decoder.net.token_emb.emb" },
    { "decoder.positions", "decoder.net.pos_emb.emb" },
    { "decoder.final_norm", "decoder.net.attn_layers.final_norm" },
    { "decoder.logits", "decoder.net.to_logits" },
    { "decoder.rotary", "decoder.net.attn_layers.rotary_pos_emb" },
};

/* What follows the number of a layer and the name of its block. */
static const struct words members[] = {
    { "norm", "0.0" },     { "q", "1.to_q" },    { "k", "1.to_k" },    { "v", "1.to_v" },
    { "out", "1.to_out" }, { "up", "1.ff.0.0" }, { "down", "1.ff.2" },
};

/* The entry whose words `name` begins with; *rest is what follows them. */
static const struct words *words_of(const struct words *table, size_t count, const char *name, const char **rest)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(table[i].plain);

        if (strncmp(name, table[i].plain, length) == 0 && (name[length] == '.' || !name[length])) {
            *rest = name + length;
            return &table[i];
        }
    }
    return NULL;
}

/* A name with the number of a layer: `what` is encoder, decoder or stem. */
static struct palme_name layer_name(const char *name, int blocks)
{
    const struct words *member;
    const char *rest;
    char what[8] = "", block[8] = "";
    int index = 0, used = 0, order;

    if (sscanf(name, "%7[a-z].%d.%n", what, &index, &used) == 2 && strcmp(what, "stem") == 0)
        return palme_name("encoder.stem.blocks.%d.%s", index, name + used);
    sscanf(name, "%7[a-z].%d.%7[a-z].%n", what, &index, block, &used);
    if (!(member = words_of(members, sizeof members / sizeof members[0], name + used, &rest)))
        return palme_name("%s", name);
    if (strcmp(what, "encoder") == 0)
        blocks = 2;
    order = strcmp(block, "mlp") == 0 ? blocks - 1 : strcmp(block, "cross") == 0;
    return palme_name("%s%s.attn_layers.layers.%d.%s%s", what, strcmp(what, "decoder") == 0 ? ".net" : "",
                      blocks * index + order, member->old, rest);
}

struct palme_name palme_format1_name(const struct palme_config *config, const char *name)
{
    const char *rest;
    const struct words *beginning = words_of(beginnings, sizeof beginnings / sizeof beginnings[0], name, &rest);

    if (beginning)
        return palme_name("%s%s", beginning->old, rest);
    return layer_name(name, config->cross_attend ? 3 : 2);
}

int palme_format1_find(struct palme_tensor **tensor, struct palme_safetensors *file, const char *name,
                       const struct palme_log *log)
{
    static const char long_form[] = "decoder.net.", short_form[] = "decoder.";
    struct palme_tensor *other;
    struct palme_name other_name;

    *tensor = palme_safetensors_find(file, name);
    if (strncmp(name, long_form, sizeof long_form - 1) != 0)
        return PALME_OK;
    other_name = palme_name("%s%s", short_form, name + sizeof long_form - 1);
    other = palme_safetensors_find(file, other_name.text);
    if (*tensor && other)
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s is there twice, as %s too", name, other_name.text);
    if (!*tensor)
        *tensor = other;
    return PALME_OK;
}

int palme_format1_has_leading(const char *name)
{
    return strcmp(name, "encoder.positions.weight") == 0;
}

float palme_format1_factor(const struct palme_config *config, const char *name)
{
    return strcmp(name, "decoder.positions.weight") == 0 ? (float)(1 / sqrt(config->decoder.dim)) : 1;
}
