/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_config.c - a model's configuration in both versions of the format: defaults, limits, wrong types,
 * contradictions.
 */
#include "support/check.h"
#include "nn/model.h"
#include "support/model_builder.h"

static struct heard heard;
static const struct palme_log logger = { heard_log, &heard, "model file" };

static int read_version1(struct palme_config *config, const char *json, int plain)
{
    memset(&heard, 0, sizeof heard);
    memset(config, 0x55, sizeof *config);
    return plain ? palme_config_read_plain(config, json, strlen(json), &logger)
                 : palme_config_read(config, 1, json, strlen(json), &logger);
}

/* The default configuration of the model's description with a change: keys of `change` replace
 * others, and a key whose value is the string "absent" goes away. To be freed. */
static char *config_with(const char *change)
{
    json_t *config = json_loads("{\"image_size\":256,\"patch_size\":32,\"encoder_dim\":512,"
                                "\"encoder_depth\":6,\"encoder_heads\":8,"
                                "\"num_tokens\":20000,\"max_seq_len\":1024,\"decoder_dim\":512,"
                                "\"decoder_depth\":6,\"decoder_heads\":8,"
                                "\"alibi_num_heads\":4,\"use_abs_pos_emb\":false,\"cross_attend\":"
                                "true,\"alibi_pos_bias\":true,"
                                "\"rotary_xpos\":true,\"attn_flash\":true,\"qk_norm\":true,\"bos_"
                                "token\":1,\"eos_token\":2}",
                                0, NULL);
    json_error_t error;
    json_t *changes = json_loads(change, 0, &error), *value;
    const char *key;
    char *text;

    CHECK_MESSAGE(changes != NULL, "%s: %s", change, error.text);
    json_object_update(config, changes);
    json_object_foreach(changes, key, value) if (json_is_string(value) && strcmp(json_string_value(value), "absent") ==
                                                                              0) json_object_del(config, key);
    text = json_dumps(config, 0);
    json_decref(changes);
    json_decref(config);
    return text;
}

static void refuse(const char *change, const char *word, const char *other_word)
{
    char *json = config_with(change);
    struct palme_config config;
    int status = read_version1(&config, json, 0);

    CHECK_MESSAGE(status == PALME_ERROR_FORMAT, "%s: status %d", change, status);
    CHECK_MESSAGE(heard.errors == 1 && heard.warnings == 0, "%s: %d errors, %d warnings", change, heard.errors,
                  heard.warnings);
    CHECK_MESSAGE(strncmp(heard.error, "model file: ", 12) == 0 && strstr(heard.error, word) &&
                      strstr(heard.error, other_word),
                  "%s: no \"%s\" and \"%s\" in: %s", change, word, other_word, heard.error);
    CHECK_MESSAGE(config.default_prompt == NULL, "%s: something is owned", change);
    free(json);
}

static void accept(struct palme_config *config, const char *change)
{
    char *json = config_with(change);
    int status = read_version1(config, json, 0);

    CHECK_MESSAGE(status == PALME_OK, "%s: status %d: %s", change, status, heard.error);
    free(json);
}

static void check_defaults(void)
{
    struct palme_config p;

    accept(&p, "{}");
    CHECK_INT(heard.warnings, 0);
    CHECK_INT(p.image_size, 256);
    CHECK_INT(p.patch_size, 32);
    CHECK_INT(p.encoder.dim, 512);
    CHECK_INT(p.vocabulary, 20000);
    CHECK_INT(p.alibi_heads, 4);
    CHECK_INT(p.cross_attend, 1);
    CHECK_INT(p.decoder.positions, 0);
    CHECK_INT(p.decoder.qk_norm, 1);
    CHECK_INT(p.stem, PALME_STEM_NONE);
    CHECK_INT(p.xpos_center, 511);
    CHECK_INT(p.bos_token, 1);
    CHECK_INT(p.eos_token, 2);
    CHECK_INT(p.pad_token, -1);
    CHECK_STR(p.default_prompt, "");
    CHECK_INT(p.default_beams, 1);
    CHECK_CLOSE(p.length_penalty, 0.7, 0);
    CHECK_INT(p.no_repeat_ngram, 0);
    CHECK_INT(p.min_length, 1);
    CHECK_INT(p.has_min_score, 0);
    CHECK_INT(palme_config_patches(&p), 64);
    CHECK_INT(palme_config_patch_values(&p), 3072);
    CHECK_INT(p.precisions, 1 << PALME_F32);
    palme_config_clear(&p);
    CHECK(p.default_prompt == NULL);
    palme_config_clear(&p);

    accept(&p, "{\"alibi_num_heads\":null,\"train_length\":26,\"pad_token\":0,\"default_prompt\":"
               "\"a photo of\","
               "\"default_beams\":16,\"length_penalty\":1,\"no_repeat_ngram\":3,\"min_length\":4,"
               "\"min_score\":-1.5,"
               "\"precisions\":[\"f32\",\"bf16\",\"int8\"],\"image_resize\":\"squash\",\"stem\":"
               "\"efficientnet_lite2\"}");
    CHECK_INT(heard.warnings, 0);
    CHECK_INT(p.alibi_heads, 8);
    CHECK_INT(p.xpos_center, 12);
    CHECK_INT(p.pad_token, 0);
    CHECK_STR(p.default_prompt, "a photo of");
    CHECK_INT(p.default_beams, 16);
    CHECK_CLOSE(p.length_penalty, 1, 0);
    CHECK_INT(p.no_repeat_ngram, 3);
    CHECK_INT(p.min_length, 4);
    CHECK_INT(p.has_min_score, 1);
    CHECK_CLOSE(p.min_score, -1.5, 0);
    CHECK_INT(p.precisions, 1 << PALME_F32 | 1 << PALME_BF16 | 1 << PALME_INT8);
    CHECK_INT(p.stem, PALME_STEM_LITE2);
    CHECK_STR(palme_stem_name(p.stem), "efficientnet_lite2");
    CHECK_INT(palme_config_patch_values(&p), 1280);
    palme_config_clear(&p);

    accept(&p, "{\"precisions\":[\"int8\"]}");
    CHECK_INT(p.precisions, 1 << PALME_INT8);
    palme_config_clear(&p);

    /* The prefix decoder counts the image tokens: (64 + 26 - 1) / 2. */
    accept(&p, "{\"cross_attend\":false,\"train_length\":26}");
    CHECK_INT(p.xpos_center, 44);
    palme_config_clear(&p);
    accept(&p, "{\"cross_attend\":false,\"train_length\":26,\"xpos_center\":0}");
    CHECK_INT(p.xpos_center, 0);
    palme_config_clear(&p);
}

/* Each integer below and above its limits, as another type, and absent. */
static void check_integers(void)
{
    static const struct {
        const char *key;
        int least, required;
    } keys[] = {
        { "image_size", 1, 1 },    { "patch_size", 1, 1 },    { "encoder_dim", 1, 1 },     { "encoder_depth", 1, 1 },
        { "encoder_heads", 1, 1 }, { "num_tokens", 1, 1 },    { "max_seq_len", 1, 1 },     { "decoder_dim", 1, 1 },
        { "decoder_depth", 1, 1 }, { "decoder_heads", 1, 1 }, { "alibi_num_heads", 1, 1 }, { "bos_token", 0, 1 },
        { "eos_token", 0, 1 },     { "pad_token", 0, 0 },     { "train_length", 1, 0 },    { "xpos_center", 0, 0 },
        { "default_beams", 1, 0 }, { "min_length", 0, 0 },    { "no_repeat_ngram", 0, 0 },
    };
    static const char *const huge[] = { "10000000", "2147483647", "2147483648", "4294967297", "9223372036854775807" };
    static const char *const wrong[] = { "\"8\"", "8.0", "true", "[8]", "{}" };
    char change[128];

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        for (int k = 0; k < 2; k++) {
            snprintf(change, sizeof change, "{\"%s\":%d}", keys[i].key, k ? keys[i].least - 1 : -2147483647);
            refuse(change, keys[i].key, "allowed");
        }
        for (int k = 0; k < 5; k++) {
            snprintf(change, sizeof change, "{\"%s\":%s}", keys[i].key, huge[k]);
            refuse(change, keys[i].key, "allowed");
            snprintf(change, sizeof change, "{\"%s\":%s}", keys[i].key, wrong[k]);
            refuse(change, keys[i].key, "an integer");
        }
        if (strcmp(keys[i].key, "alibi_num_heads") != 0) {
            snprintf(change, sizeof change, "{\"%s\":null}", keys[i].key);
            refuse(change, keys[i].key, "null");
        }
        snprintf(change, sizeof change, "{\"%s\":\"absent\"}", keys[i].key);
        if (keys[i].required)
            refuse(change, keys[i].key, "missing");
    }
}

static void check_booleans(void)
{
    static const char *const keys[] = { "use_abs_pos_emb", "cross_attend", "alibi_pos_bias",
                                        "rotary_xpos",     "attn_flash",   "qk_norm" };
    static const char *const wrong[] = { "1", "0", "\"true\"", "null", "[]" };
    char change[128];

    for (size_t i = 0; i < 6; i++) {
        for (int k = 0; k < 5; k++) {
            snprintf(change, sizeof change, "{\"%s\":%s}", keys[i], wrong[k]);
            refuse(change, keys[i], "true or false");
        }
        snprintf(change, sizeof change, "{\"%s\":\"absent\"}", keys[i]);
        refuse(change, keys[i], "missing");
    }
}

static void check_others(void)
{
    static const struct {
        const char *change, *word, *other;
    } bad[] = {
        { "{\"patch_size\":33}", "image_size 256", "patch_size 33" },
        { "{\"patch_size\":512}", "image_size 256", "patch_size 512" },
        { "{\"image_size\":4096,\"patch_size\":8}", "patches", "65536" },
        { "{\"image_size\":4096,\"patch_size\":1}", "patches", "65536" },
        { "{\"alibi_num_heads\":9}", "alibi_num_heads 9", "decoder_heads 8" },
        { "{\"decoder_heads\":3}", "alibi_num_heads 4", "decoder_heads 3" },
        { "{\"stem\":\"resnet\"}", "stem", "resnet" },
        { "{\"stem\":null}", "stem", "string" },
        { "{\"stem\":0}", "stem", "string" },
        { "{\"stem\":\"efficientnet_lite0\",\"patch_size\":16}", "efficientnet_lite0", "patch_size 32" },
        { "{\"image_resize\":\"crop\"}", "image_resize", "crop" },
        { "{\"image_resize\":1}", "image_resize", "string" },
        { "{\"bos_token\":20000}", "bos_token", "20000" },
        { "{\"eos_token\":20000}", "eos_token", "20000" },
        { "{\"pad_token\":20000}", "pad_token", "20000" },
        { "{\"num_tokens\":2}", "eos_token", "2" },
        { "{\"default_prompt\":7}", "default_prompt", "string" },
        { "{\"default_beams\":17}", "default_beams", "17" },
        { "{\"length_penalty\":-0.1}", "length_penalty", "-0.1" },
        { "{\"length_penalty\":1e300}", "length_penalty", "allowed" },
        { "{\"length_penalty\":\"1\"}", "length_penalty", "number" },
        { "{\"length_penalty\":null}", "length_penalty", "number" },
        { "{\"min_score\":\"x\"}", "min_score", "number" },
        { "{\"min_score\":-1e300}", "min_score", "allowed" },
        { "{\"precisions\":\"f32\"}", "precisions", "array" },
        { "{\"precisions\":[]}", "precisions", "empty" },
        { "{\"precisions\":[1]}", "precisions", "string" },
        { "{\"precisions\":[\"f16\"]}", "precisions", "f16" },
        { "{\"precisions\":[\"f32\",\"f32\"]}", "precisions", "twice" },
        /* The prefix decoder's image tokens need room, and a text after them. */
        { "{\"cross_attend\":false,\"max_seq_len\":64,\"xpos_center\":0}", "64 image tokens", "max_seq_len" },
        { "{\"cross_attend\":false,\"max_seq_len\":24,\"xpos_center\":0}", "64 image tokens", "24" },
        /* Gains of the rotation that overflow. */
        { "{\"xpos_center\":60000}", "xpos_center", "60000" },
        { "{\"max_seq_len\":65536,\"xpos_center\":0}", "xpos_center 0", "max_seq_len 65536" },
        /* Sizes that each are allowed and together are not. */
        { "{\"max_seq_len\":20000,\"xpos_center\":10000,\"decoder_depth\":512,\"decoder_heads\":"
          "512}",
          "max_seq_len", "memory" },
        { "{\"image_size\":4096,\"patch_size\":16,\"encoder_heads\":513}", "encoder_heads", "513" },
        { "{\"image_size\":4096,\"patch_size\":16,\"encoder_dim\":16384}", "image_size", "memory" },
        { "{\"image_size\":4096,\"patch_size\":16,\"decoder_depth\":512,\"decoder_heads\":64,\"max_"
          "seq_len\":1}",
          "image_size", "memory" },
    };
    struct palme_config p;
    static char long_prompt[5000];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i].change, bad[i].word, bad[i].other);
    strcpy(long_prompt, "{\"default_prompt\":\"");
    memset(long_prompt + 19, 'a', 4097);
    strcpy(long_prompt + 19 + 4097, "\"}");
    refuse(long_prompt, "default_prompt", "4097");

    /* Valid ones next to those. */
    accept(&p, "{\"alibi_num_heads\":9,\"alibi_pos_bias\":false}");
    palme_config_clear(&p);
    accept(&p, "{\"decoder_heads\":1,\"alibi_num_heads\":1}");
    palme_config_clear(&p);
    accept(&p, "{\"cross_attend\":false,\"max_seq_len\":65}");
    palme_config_clear(&p);
    accept(&p, "{\"rotary_xpos\":false,\"max_seq_len\":65536,\"xpos_center\":0}");
    palme_config_clear(&p);
    accept(&p, "{\"image_size\":512,\"patch_size\":8}"); /* 4096 image tokens */
    CHECK_INT(palme_config_patches(&p), 4096);
    palme_config_clear(&p);
    accept(&p, "{\"bos_token\":19999,\"eos_token\":19999}");
    palme_config_clear(&p);
}

static void check_json(void)
{
    static const struct {
        const char *json, *word;
    } bad[] = {
        { "", "config" },
        { "[]", "object" },
        { "7", "JSON" },
        { "{\"image_size\":1,\"image_size\":1}", "duplicate" },
        { "{\"a\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}", "nested" },
        { "{\"image_size\":1e999}", "config" },
        { "{} {}", "config" },
    };
    struct palme_config p;
    static char large[70000];
    char *json;
    size_t used;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_INT(read_version1(&p, bad[i].json, 0), PALME_ERROR_FORMAT);
        CHECK_MESSAGE(strstr(heard.error, bad[i].word) != NULL, "%s: %s", bad[i].json, heard.error);
        CHECK_INT(read_version1(&p, bad[i].json, 1), PALME_ERROR_FORMAT);
    }
    memset(large, ' ', 70000);
    CHECK_INT(palme_config_read(&p, 1, large, 70000, &logger), PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "70000") != NULL);

    /* Unknown keys: some are named, all are counted, and their number does not matter. */
    accept(&p, "{\"future\":[1,2],\"colour\\n\":\"red\"}");
    CHECK_INT(heard.warnings, 2);
    CHECK(strstr(heard.warning, "unknown key future") && strstr(heard.warning, "unknown key colour? "));
    palme_config_clear(&p);
    used = (size_t)snprintf(large, sizeof large, "{");
    for (int i = 0; i < 3000; i++)
        used += (size_t)snprintf(large + used, sizeof large - used, "%s\"key%d\":%d", i ? "," : "", i, i);
    strcpy(large + used, "}");
    json = config_with(large);
    CHECK_INT(read_version1(&p, json, 0), PALME_OK);
    CHECK_INT(heard.warnings, 6);
    CHECK(strstr(heard.warning, "2995 more") != NULL);
    palme_config_clear(&p);
    free(json);
}

static void check_plain(void)
{
    struct palme_config p;

    CHECK_INT(read_version1(&p, "{}", 1), PALME_OK);
    CHECK_INT(p.image_size, 256);
    CHECK_INT(p.patch_size, 32);
    CHECK_INT(p.encoder.dim, 512);
    CHECK_INT(p.encoder.depth, 6);
    CHECK_INT(p.encoder.heads, 8);
    CHECK_INT(p.vocabulary, 20000);
    CHECK_INT(p.context, 1024);
    CHECK_INT(p.decoder.dim, 512);
    CHECK_INT(p.decoder.depth, 6);
    CHECK_INT(p.decoder.heads, 8);
    CHECK_INT(p.alibi_heads, 4);
    CHECK_INT(p.decoder.positions, 0);
    CHECK_INT(p.cross_attend, 1);
    CHECK_INT(p.rotary_xpos, 1);
    CHECK_INT(p.decoder.qk_norm, 0);
    CHECK_INT(p.bos_token, 0);
    CHECK_INT(p.eos_token, -1);
    CHECK_INT(p.pad_token, -1);
    CHECK_STR(p.default_prompt, "");
    palme_config_clear(&p);
    CHECK_INT(read_version1(&p, "{\"qk_norm\":true,\"stem\":\"none\",\"decoder_heads\":2,\"alibi_num_heads\":null}", 1),
              PALME_OK);
    CHECK_INT(p.decoder.qk_norm, 0);
    CHECK_INT(p.alibi_heads, 2);
    CHECK_INT(heard.warnings, 1);
    CHECK(strstr(heard.warning, "unknown key stem") != NULL);
    palme_config_clear(&p);
    CHECK_INT(read_version1(&p, "{\"decoder_heads\":2}", 1), PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "alibi_num_heads 4") != NULL);
    CHECK_INT(read_version1(&p, "{\"num_tokens\":0}", 1), PALME_ERROR_FORMAT);
}

/* ---- Version 2 ---------------------------------------------------------------------------- */

static const char smallest[] = "{\"image\":{\"size\":64,\"patch\":16},\"encoder\":{\"dim\":32,\"depth\":2,\"heads\":3},"
                               "\"decoder\":{\"vocabulary\":50,\"context\":24,\"dim\":48,\"depth\":4,\"heads\":5},"
                               "\"generation\":{\"bos\":1,\"eos\":2}}";

/* `smallest` with a key of one of its objects set to a JSON value, or of itself where object is ""; NULL takes it
 * away. */
static int read_changed(struct palme_config *config, const char *object, const char *key, const char *value)
{
    json_t *json = json_loads(smallest, 0, NULL), *part = *object ? json_object_get(json, object) : json;

    if (!part) {
        part = json_object();
        json_object_set_new(json, object, part);
    }
    if (value)
        json_object_set_new(part, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else if (key)
        json_object_del(part, key);
    char *text = json_dumps(json, 0);

    memset(&heard, 0, sizeof heard);
    memset(config, 0x55, sizeof *config);
    int status = palme_config_read(config, 2, text, strlen(text), &logger);
    free(text);
    json_decref(json);
    return status;
}

static void check_version2_defaults(void)
{
    struct palme_config c;

    CHECK_INT(read_changed(&c, "", NULL, NULL), PALME_OK);
    CHECK_INT(heard.warnings, 0);
    CHECK_INT(c.image_size, 64);
    CHECK_INT(palme_config_patches(&c), 16);
    CHECK_INT(c.stem, PALME_STEM_NONE);
    CHECK_INT(c.encoder.dim, 32);
    CHECK_INT(c.encoder.depth, 2);
    CHECK_INT(c.encoder.heads, 3);
    CHECK_INT(c.encoder.head_dim, 64);
    CHECK_INT(c.encoder.mlp_dim, 128);
    CHECK_INT(c.encoder.norm_order, PALME_NORM_PRE);
    CHECK_CLOSE(c.encoder.norm_eps, 1e-5, 0);
    CHECK_INT(c.encoder.activation, PALME_ACTIVATION_GELU);
    CHECK_INT(c.encoder.qkv_bias || c.encoder.out_bias || !c.encoder.mlp_bias, 0);
    CHECK_CLOSE(c.encoder.attention_scale, 0.125, 0);
    CHECK_INT(c.encoder.positions || c.encoder.first_norm || !c.encoder.final_norm || c.encoder.qk_norm, 0);
    CHECK_INT(c.patch_input_norm || c.patch_output_norm || !c.patch_bias, 0);
    CHECK_INT(c.decoder.dim, 48);
    CHECK_INT(palme_stack_inner(&c.decoder), 320);
    CHECK_INT(c.vocabulary, 50);
    CHECK_INT(c.context, 24);
    CHECK_INT(c.cross_attend, 1);
    CHECK_INT(c.rotary_xpos || c.alibi_heads || c.tied_logits || !c.logits_bias || c.projection_bias, 0);
    CHECK_INT(c.bos_token, 1);
    CHECK_INT(c.eos_token, 2);
    CHECK_INT(c.pad_token, -1);
    CHECK_INT(c.default_beams, 1);
    CHECK_CLOSE(c.length_penalty, 0.7, 0);
    CHECK_INT(c.has_min_score, 0);
    CHECK_STR(c.default_prompt, "");
    CHECK_INT(c.precisions, 1 << PALME_F32);
    palme_config_clear(&c);
}

static void check_version2_values(void)
{
    static const struct {
        const char *object, *key, *value, *word, *other; /* words of the message; NULL: it is accepted */
    } table[] = {
        { "image", "size", NULL, "image.size", "missing" },
        { "image", "size", "65", "image.size 65", "image.patch 16" },
        { "image", "resize", "\"crop\"", NULL, NULL },
        { "image", "resize", "\"pad\"", "image.resize is \"pad\"", "squash and crop" },
        { "image", "filter", "\"bicubic\"", NULL, NULL },
        { "image", "filter", "\"lanczos\"", "image.filter is \"lanczos\"", "triangle, bilinear and bicubic" },
        { "image", "shortest_side", "73", NULL, NULL },
        { "image", "shortest_side", "63", "image.shortest_side 63", "image.size 64" },
        { "encoder", "dim", "0", "encoder.dim", "16384" },
        { "encoder", "dim", "\"32\"", "encoder.dim", "an integer" },
        { "encoder", "depth", NULL, "encoder.depth", "missing" },
        { "encoder", "stem", "\"resnet\"", "encoder.stem", "efficientnet_lite2" },
        { "encoder", "stem", "\"efficientnet_lite1\"", "encoder.stem efficientnet_lite1", "image.patch 32" },
        { "encoder", "norm", "\"rms\"", "encoder.norm is \"rms\"", "layer" },
        { "encoder", "norm_order", "\"post\"", NULL, NULL },
        { "encoder", "norm_order", "\"both\"", "encoder.norm_order", "pre and post" },
        { "encoder", "norm_eps", "1e-12", NULL, NULL },
        { "encoder", "norm_eps", "-1", "encoder.norm_eps", "allowed" },
        { "encoder", "activation", "\"quick_gelu\"", NULL, NULL },
        { "encoder", "activation", "\"swiglu\"", "encoder.activation is \"swiglu\"", "gelu_tanh" },
        { "encoder", "kv_heads", "3", NULL, NULL },
        { "encoder", "kv_heads", "1", "encoder.kv_heads is 1", "heads, 3" },
        { "encoder", "head_dim", "257", "encoder.head_dim", "256" },
        { "encoder", "class_tokens", "0", NULL, NULL },
        { "encoder", "class_tokens", "2", NULL, NULL },
        { "encoder", "class_tokens", "3", "encoder.class_tokens is 3", "0 to 2" },
        { "encoder", "qkv_bias", "1", "encoder.qkv_bias", "true or false" },
        { "encoder", "attention_scale", "0.25", NULL, NULL },
        { "decoder", "vocabulary", "2", "generation.eos", "2" },
        { "decoder", "image", "\"prefix\"", NULL, NULL },
        { "decoder", "image", "\"none\"", "decoder.image", "cross_attention" },
        { "decoder", "rotary", "\"xpos\"", "decoder.xpos_center", "missing" },
        { "decoder", "rotary", "\"rope\"", "decoder.rotary is \"rope\"", "xpos" },
        { "decoder", "alibi_heads", "6", "decoder.alibi_heads 6", "decoder.heads 5" },
        { "decoder", "tied_logits", "true", NULL, NULL },
        { "decoder", "embed_prefix", "false", NULL, NULL },
        { "decoder", "logits_head", "\"bert\"", NULL, NULL },
        { "decoder", "logits_head", "\"gpt\"", "decoder.logits_head is \"gpt\"", "linear and bert" },
        { "decoder", "context", "65537", "decoder.context", "65536" },
        { "projection", "bias", "true", NULL, NULL },
        { "projection", "kind", "\"linear\"", NULL, NULL },
        { "projection", "kind", "\"none\"", NULL, NULL },
        { "projection", "kind", "\"pixel_shuffle\"", "projection.kind is \"pixel_shuffle\"", "auto, linear and none" },
        { "projection", "norm", "true", NULL, NULL },
        { "projection", "bias", "null", "projection.bias", "null" },
        { "generation", "bos", NULL, "generation.bos", "missing" },
        { "generation", "search", "\"transformers\"", NULL, NULL },
        { "generation", "search", "\"fairseq\"", "generation.search", "palme and transformers" },
        { "generation", "early_stopping", "\"never\"", NULL, NULL },
        { "generation", "early_stopping", "true", "generation.early_stopping", "a string" },
        { "generation", "max_length", "0", "generation.max_length", "allowed" },
        { "generation", "max_new_tokens", "20", NULL, NULL },
        { "generation", "beams", "17", "generation.beams", "16" },
        { "generation", "prompt", "7", "generation.prompt", "string" },
        { "generation", "min_score", "-2", NULL, NULL },
        { "", "encoder", "[]", "encoder", "an object" },
        { "", "decoder", NULL, "decoder.dim", "missing" },
        { "", "precisions", "[\"f8\"]", "precisions", "f8" },
        { "generation", "forced_bos", "49", NULL, NULL },
        { "generation", "forced_bos", "50", "generation.forced_bos", "49" },
        { "generation", "forced_eos", "-1", "generation.forced_eos", "49" },
        { "", "least_precision", "{\"encoder.1.attn.qkv\": \"bf16\", \"decoder.logits\": \"f32\"}", NULL, NULL },
        { "", "least_precision", "{\"decoder.0.cross.kv\": \"f32\", \"projection\": \"int8\"}", NULL, NULL },
        { "", "least_precision", "{}", NULL, NULL },
        { "", "least_precision", "[]", "least_precision", "an object" },
        { "", "least_precision", "{\"encoder.2.attn.qkv\": \"bf16\"}", "least_precision.encoder.2.attn.qkv",
          "no layer" },
        { "", "least_precision", "{\"encoder.01.mlp.up\": \"bf16\"}", "least_precision.encoder.01.mlp.up", "no layer" },
        { "", "least_precision", "{\"encoder.1.attn.q\": \"bf16\"}", "least_precision.encoder.1.attn.q", "no layer" },
        { "", "least_precision", "{\"decoder.head\": \"bf16\"}", "least_precision.decoder.head", "no layer" },
        { "", "least_precision", "{\"encoder.patch\": \"f16\"}", "least_precision.encoder.patch", "bf16" },
        { "", "least_precision", "{\"encoder.patch\": 1}", "least_precision.encoder.patch", "bf16" },
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct palme_config c;
        int status = read_changed(&c, table[i].object, table[i].key, table[i].value);

        CHECK_MESSAGE(status == (table[i].word ? PALME_ERROR_FORMAT : PALME_OK) && heard.warnings == 0,
                      "%s.%s %s: %d, %s", table[i].object, table[i].key, table[i].value, status, heard.error);
        if (table[i].word)
            CHECK_MESSAGE(strstr(heard.error, table[i].word) && strstr(heard.error, table[i].other) &&
                              !c.default_prompt && !c.least,
                          "%s.%s %s: %s", table[i].object, table[i].key, table[i].value, heard.error);
        palme_config_clear(&c);
    }
}

static void check_version2_together(void)
{
    struct palme_config c;

    /* A mark that is known, and one in each object that is not. */
    CHECK_INT(read_changed(&c, "", "training", "{\"length\":3}"), PALME_OK);
    CHECK_INT(heard.warnings, 0);
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "decoder", "beyond", "1"), PALME_OK);
    CHECK(heard.warnings == 1 && strstr(heard.warning, "decoder.beyond"));
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "", "beyond", "1"), PALME_OK);
    CHECK(heard.warnings == 1 && strstr(heard.warning, "unknown key beyond"));
    palme_config_clear(&c);
    /* Image tokens of another width cannot stand before the text. */
    CHECK_INT(read_changed(&c, "", "projection", "{\"kind\":\"none\"}"), PALME_OK);
    CHECK(!palme_config_projects(&c) && palme_config_image_dim(&c) == 32);
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "", "decoder",
                           "{\"vocabulary\":50,\"context\":24,\"dim\":48,\"depth\":1,\"heads\":1,"
                           "\"image\":\"prefix\"}"),
              PALME_OK);
    CHECK_INT(palme_config_prefix(&c), 16);
    CHECK_INT(palme_config_positions(&c), 24);
    palme_config_clear(&c);
    /* Heads that are too narrow to be rotated. */
    CHECK_INT(read_changed(&c, "", "decoder",
                           "{\"vocabulary\":50,\"context\":24,\"dim\":8,\"depth\":1,\"heads\":1,\"head_dim\":16,"
                           "\"rotary\":\"xpos\",\"xpos_center\":3}"),
              PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "at least 32 values") != NULL);
}

int main(void)
{
    check_version2_defaults();
    check_version2_values();
    check_version2_together();
    check_defaults();
    check_integers();
    check_booleans();
    check_others();
    check_json();
    check_plain();
    return check_done();
}
