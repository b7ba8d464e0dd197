/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model_builder.c - the list of a model's tensors, written a second time, and the safetensors
 * writer.
 */
#include "support/model_builder.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *must(void *pointer, const char *what)
{
    if (!pointer) {
        fprintf(stderr, "model_builder: %s\n", what);
        exit(1);
    }
    return pointer;
}

/* ---- Values ------------------------------------------------------------------------------- */

static double random_next(struct builder *b)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint16_t half_of(float value)
{
    int exponent;
    double x = fabs((double)value), fraction;
    uint16_t sign = signbit(value) ? 0x8000 : 0;

    if (isnan(value))
        return sign | 0x7e00;
    if (x >= 65520)
        return sign | 0x7c00;
    if (x < 0x1p-14)
        return sign | (uint16_t)nearbyint(x * 0x1p24);
    fraction = frexp(x, &exponent); /* 0.5 .. 1; a fraction that rounds up to 2048 carries by itself */
    return sign | (uint16_t)(((exponent + 13) << 10) + (int)nearbyint(fraction * 2048));
}

static float of_half(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double x = exponent == 31  ? (fraction ? NAN : INFINITY)
               : exponent == 0 ? ldexp(fraction, -24)
                               : ldexp(1024 + fraction, exponent - 25);

    return (float)(half & 0x8000 ? -x : x);
}

static uint16_t bfloat_of(float value)
{
    uint32_t bits = bits_of(value);

    if (isnan(value))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static size_t size_of(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 || strcmp(dtype, "I32") == 0    ? 4
           : strcmp(dtype, "F16") == 0 || strcmp(dtype, "BF16") == 0 ? 2
           : strcmp(dtype, "I64") == 0                               ? 8
                                                                     : 1;
}

/* Makes `bytes` from `values` and rounds the values to what the bytes say. */
static void encode(struct built_tensor *t)
{
    size_t size = size_of(t->dtype);

    t->size = t->count * size;
    t->bytes = must(realloc(t->bytes, t->size + 1), "no memory");
    memset(t->bytes, 0, t->size);
    for (size_t i = 0; i < t->count; i++) {
        unsigned char *at = t->bytes + i * size;
        uint16_t word;

        if (strcmp(t->dtype, "F32") == 0) {
            memcpy(at, &t->values[i], 4);
        } else if (strcmp(t->dtype, "F16") == 0) {
            word = half_of(t->values[i]);
            memcpy(at, &word, 2);
            t->values[i] = of_half(word);
        } else if (strcmp(t->dtype, "BF16") == 0) {
            uint32_t bits;

            word = bfloat_of(t->values[i]);
            memcpy(at, &word, 2);
            bits = (uint32_t)word << 16;
            memcpy(&t->values[i], &bits, 4);
        } else if (size == 1) {
            t->values[i] = nearbyintf(t->values[i]);
            at[0] = (unsigned char)(int)t->values[i];
        } else {
            long long whole = (long long)nearbyintf(t->values[i]);

            memcpy(at, &whole, size);
        }
    }
}

/* ---- Tensors ------------------------------------------------------------------------------ */

static struct built_tensor *lookup(struct builder *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->tensors[i].name, name) == 0)
            return &b->tensors[i];
    return NULL;
}

struct built_tensor *builder_find(struct builder *b, const char *name)
{
    return must(lookup(b, name), name);
}

static void set_shape(struct builder *b, struct built_tensor *t, int rank, const long long *shape, const float *values)
{
    size_t length = strlen(t->name);
    /* Gains stand around 1, everything else around 0. */
    float middle = rank == 1 && length > 7 && strcmp(t->name + length - 7, ".weight") == 0 ? 1 : 0;

    t->rank = rank;
    t->count = 1;
    for (int i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        t->count *= (size_t)shape[i];
    }
    t->values = must(realloc(t->values, (t->count + 1) * sizeof *t->values), "no memory");
    for (size_t i = 0; i < t->count; i++)
        t->values[i] = values ? values[i] : middle + (float)(random_next(b) - 0.5);
    encode(t);
}

struct built_tensor *builder_add(struct builder *b, const char *name, const char *dtype, int rank,
                                 const long long *shape, const float *values)
{
    struct built_tensor *t;

    if ((b->count & (b->count + 1)) == 0) /* workspace for 1, 3, 7, ... */
        b->tensors = must(realloc(b->tensors, (2 * b->count + 1) * sizeof *t), "no memory");
    t = &b->tensors[b->count++];
    memset(t, 0, sizeof *t);
    t->name = must(strdup(name), "no memory");
    snprintf(t->dtype, sizeof t->dtype, "%s", dtype);
    set_shape(b, t, rank, shape, values);
    return t;
}

static void clear_tensor(struct built_tensor *t)
{
    free(t->name);
    free(t->values);
    free(t->bytes);
}

void builder_remove(struct builder *b, const char *name)
{
    struct built_tensor *t = builder_find(b, name);

    clear_tensor(t);
    b->count--;
    memmove(t, t + 1, (size_t)(b->tensors + b->count - t) * sizeof *t);
}

int builder_rename(struct builder *b, const char *from, const char *to)
{
    int renamed = 0;

    for (size_t i = 0; i < b->count; i++) {
        char *old = b->tensors[i].name, *name;
        size_t size = strlen(old) + strlen(to) + 1;

        if (strncmp(old, from, strlen(from)) != 0)
            continue;
        name = must(malloc(size), "no memory");
        snprintf(name, size, "%s%s", to, old + strlen(from));
        b->tensors[i].name = name;
        free(old);
        renamed++;
    }
    return renamed;
}

void builder_reshape(struct builder *b, const char *name, int rank, const long long *shape)
{
    set_shape(b, builder_find(b, name), rank, shape, NULL);
}

void builder_poison(struct builder *b, const char *name, size_t index, float value)
{
    struct built_tensor *t = builder_find(b, name);

    t->values[index] = value;
    encode(t);
}

void builder_convert(struct builder *b, const char *name, const char *dtype)
{
    struct built_tensor *t = builder_find(b, name);

    snprintf(t->dtype, sizeof t->dtype, "%s", dtype);
    if (strcmp(dtype, "I8") == 0) {
        size_t rows = (size_t)t->shape[0], columns = t->count / rows;
        float *scales = must(malloc(rows * sizeof *scales), "no memory");
        char scale_name[256];

        for (size_t row = 0; row < rows; row++) {
            float most = 0;

            for (size_t i = 0; i < columns; i++)
                most = fmaxf(most, fabsf(t->values[row * columns + i]));
            scales[row] = most > 0 ? most / 127 : 1;
            for (size_t i = 0; i < columns; i++)
                t->values[row * columns + i] /= scales[row];
        }
        encode(t);
        snprintf(scale_name, sizeof scale_name, "%s.scale", t->name);
        builder_add(b, scale_name, "F32", 1, (long long[]){ (long long)rows }, scales);
        free(scales);
        return;
    }
    encode(t);
}

void builder_convert_all(struct builder *b, const char *dtype)
{
    size_t count = b->count;

    for (size_t i = 0; i < count; i++) {
        const struct built_tensor *t = &b->tensors[i];
        int is_weight = (t->rank == 2 || t->rank == 4) && !strstr(t->name, "pos_emb");

        builder_convert(b, t->name, strcmp(dtype, "I8") == 0 && !is_weight ? "F16" : dtype);
    }
}

/* ---- The list of a model's tensors -------------------------------------------------------- */

static int integer(const struct builder *b, const char *key)
{
    const json_t *value = json_object_get(b->config, key);

    return json_is_boolean(value) ? json_is_true(value) : (int)json_integer_value(value);
}

static void tensor(struct builder *b, int rank, const long long *shape, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void tensor(struct builder *b, int rank, const long long *shape, const char *format, ...)
{
    char name[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    builder_add(b, name, "F32", rank, shape, NULL);
}

#define SHAPE(...)                                                                                                     \
    (int)(sizeof((long long[]){ __VA_ARGS__ }) / sizeof(long long)), (long long[])                                     \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void norm(struct builder *b, const char *name, int n)
{
    tensor(b, SHAPE(n), "%s.weight", name);
    tensor(b, SHAPE(n), "%s.bias", name);
}

static void attention(struct builder *b, const char *stack, int index, int dim, int inner)
{
    char name[128];

    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.0.0", stack, index);
    norm(b, name, dim);
    for (int i = 0; i < 3; i++)
        tensor(b, SHAPE(inner, dim), "%s.attn_layers.layers.%d.1.to_%c.weight", stack, index, "qkv"[i]);
    tensor(b, SHAPE(dim, inner), "%s.attn_layers.layers.%d.1.to_out.weight", stack, index);
}

static void feed_forward(struct builder *b, const char *stack, int index, int dim)
{
    char name[128];

    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.0.0", stack, index);
    norm(b, name, dim);
    tensor(b, SHAPE(4 * dim, dim), "%s.attn_layers.layers.%d.1.ff.0.0.weight", stack, index);
    tensor(b, SHAPE(4 * dim), "%s.attn_layers.layers.%d.1.ff.0.0.bias", stack, index);
    tensor(b, SHAPE(dim, 4 * dim), "%s.attn_layers.layers.%d.1.ff.2.weight", stack, index);
    tensor(b, SHAPE(dim), "%s.attn_layers.layers.%d.1.ff.2.bias", stack, index);
}

/* Block by block as the table of the stem has it: stages of `count` blocks, of which the first one
 * changes the number of channels. */
static void stem_tensors(struct builder *b, const char *stem)
{
    int lite = stem[strlen(stem) - 1] - '0', in = 32, index = 0;
    const int channels[2][7] = { { 16, 24, 40, 80, 112, 192, 320 }, { 16, 24, 48, 88, 120, 208, 352 } };
    const int counts[2][7] = { { 1, 2, 2, 3, 3, 4, 1 }, { 1, 3, 3, 4, 4, 5, 1 } };
    const int kernels[7] = { 3, 3, 5, 3, 5, 5, 3 };

    tensor(b, SHAPE(32, 3, 3, 3), "encoder.stem.conv.weight");
    tensor(b, SHAPE(32), "encoder.stem.conv.bias");
    for (int stage = 0; stage < 7; stage++)
        for (int i = 0; i < counts[lite > 0][stage]; i++, index++) {
            int out = channels[lite == 2][stage], middle = index ? 6 * in : in, k = kernels[stage];

            if (index) {
                tensor(b, SHAPE(middle, in, 1, 1), "encoder.stem.blocks.%d.expand.weight", index);
                tensor(b, SHAPE(middle), "encoder.stem.blocks.%d.expand.bias", index);
            }
            tensor(b, SHAPE(middle, 1, k, k), "encoder.stem.blocks.%d.depthwise.weight", index);
            tensor(b, SHAPE(middle), "encoder.stem.blocks.%d.depthwise.bias", index);
            tensor(b, SHAPE(out, middle, 1, 1), "encoder.stem.blocks.%d.project.weight", index);
            tensor(b, SHAPE(out), "encoder.stem.blocks.%d.project.bias", index);
            in = out;
        }
    tensor(b, SHAPE(1280, in, 1, 1), "encoder.stem.head.weight");
    tensor(b, SHAPE(1280), "encoder.stem.head.bias");
}

static void all_tensors(struct builder *b)
{
    int p = integer(b, "patch_size"), side = integer(b, "image_size") / p, width = integer(b, "encoder_dim");
    int dim = integer(b, "decoder_dim"), tokens = integer(b, "num_tokens"), cross = integer(b, "cross_attend");
    const char *stem = json_string_value(json_object_get(b->config, "stem"));
    int values = strcmp(stem, "none") == 0 ? 3 * p * p : 1280, blocks = cross ? 3 : 2;

    tensor(b, SHAPE(1, side * side, width), "encoder.pos_embedding");
    norm(b, "encoder.patch_to_embedding.0", values);
    tensor(b, SHAPE(width, values), "encoder.patch_to_embedding.1.weight");
    tensor(b, SHAPE(width), "encoder.patch_to_embedding.1.bias");
    norm(b, "encoder.patch_to_embedding.2", width);
    for (int i = 0; i < integer(b, "encoder_depth"); i++) {
        attention(b, "encoder", 2 * i, width, 64 * integer(b, "encoder_heads"));
        feed_forward(b, "encoder", 2 * i + 1, width);
    }
    norm(b, "encoder.attn_layers.final_norm", width);
    if (strcmp(stem, "none") != 0)
        stem_tensors(b, stem);
    if (width != dim)
        tensor(b, SHAPE(dim, width), "encoder_to_decoder.weight");
    tensor(b, SHAPE(tokens, dim), "decoder.net.token_emb.emb.weight");
    if (integer(b, "use_abs_pos_emb") && !integer(b, "rotary_xpos"))
        tensor(b, SHAPE(integer(b, "max_seq_len"), dim), "decoder.net.pos_emb.emb.weight");
    for (int i = 0; i < integer(b, "decoder_depth"); i++) {
        attention(b, "decoder.net", blocks * i, dim, 64 * integer(b, "decoder_heads"));
        if (cross)
            attention(b, "decoder.net", blocks * i + 1, dim, 64 * integer(b, "decoder_heads"));
        feed_forward(b, "decoder.net", blocks * i + blocks - 1, dim);
    }
    norm(b, "decoder.net.attn_layers.final_norm", dim);
    tensor(b, SHAPE(tokens, dim), "decoder.net.to_logits.weight");
    tensor(b, SHAPE(tokens), "decoder.net.to_logits.bias");
}

/* ---- Models ------------------------------------------------------------------------------- */

char *builder_tokenizer(int tokens)
{
    static const char *const special[] = { "<pad>", "<bos>", "<eos>" };
    json_t *vocab = json_object(), *added = json_array(), *root;
    char *text;

    for (int i = 0; i < tokens; i++) {
        char token[16];
        int k = i - 4;

        if (i < 3)
            json_array_append_new(added,
                                  json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", i, "content", special[i],
                                            "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
        if (i < 3)
            snprintf(token, sizeof token, "%s", special[i]);
        else if (i == 3)
            snprintf(token, sizeof token, "\304\240"); /* how byte level writes a space */
        else if (k < 93)                               /* from the letters on, round to the signs before them */
            snprintf(token, sizeof token, "%c", '!' + (k + 'a' - '!') % 94);
        else
            snprintf(token, sizeof token, "%c%c%d", 'a' + k % 26, 'a' + k / 26 % 26, k / 676);
        json_object_set_new(vocab, token, json_integer(i));
    }
    root = json_pack("{s:s,s:n,s:n,s:o,s:n,s:{s:s,s:b,s:b,s:b},s:n,s:{s:s,s:b,s:b,s:b},"
                     "s:{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:[]}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer", "pre_tokenizer",
                     "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1, "post_processor",
                     "decoder", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1, "model",
                     "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges");
    text = json_dumps(must(root, "tokenizer"), JSON_COMPACT);
    json_decref(root);
    return must(text, "no memory");
}

struct builder *builder_new(const char *config, uint64_t seed)
{
    static const char standard[] =
        "{\"image_size\": 4, \"patch_size\": 2, \"encoder_dim\": 6, \"encoder_depth\": 1, "
        "\"encoder_heads\": 1,"
        " \"num_tokens\": 40, \"max_seq_len\": 24, \"decoder_dim\": 6, \"decoder_depth\": 1,"
        " \"decoder_heads\": 1, \"alibi_num_heads\": 1, \"use_abs_pos_emb\": false, "
        "\"cross_attend\": true,"
        " \"alibi_pos_bias\": true, \"rotary_xpos\": true, \"attn_flash\": true, \"qk_norm\": true,"
        " \"stem\": \"none\", \"bos_token\": 1, \"eos_token\": 2, \"pad_token\": 0}";
    struct builder *b = must(calloc(1, sizeof *b), "no memory");
    json_t *changes = must(json_loads(config, 0, NULL), config);
    char *tokenizer;

    b->random = seed;
    b->config = must(json_loads(standard, 0, NULL), "standard config");
    json_object_update(b->config, changes);
    json_decref(changes);
    b->metadata = json_object();
    tokenizer = builder_tokenizer(integer(b, "num_tokens"));
    builder_metadata(b, "format", "palme");
    builder_metadata(b, "format_version", "1");
    builder_metadata(b, "tokenizer", tokenizer);
    builder_metadata(b, "model_card", "A model of random numbers, for tests.");
    free(tokenizer);
    all_tensors(b);
    return b;
}

void builder_free(struct builder *b)
{
    for (size_t i = 0; i < b->count; i++)
        clear_tensor(&b->tensors[i]);
    free(b->tensors);
    json_decref(b->config);
    json_decref(b->metadata);
    free(b);
}

void builder_config(struct builder *b, const char *key, const char *value)
{
    if (value)
        json_object_set_new(b->config, key, must(json_loads(value, JSON_DECODE_ANY, NULL), value));
    else
        json_object_del(b->config, key);
}

void builder_metadata(struct builder *b, const char *key, const char *value)
{
    if (value)
        json_object_set_new(b->metadata, key, must(json_string(value), value));
    else
        json_object_del(b->metadata, key);
}

/* ---- Files -------------------------------------------------------------------------------- */

unsigned char *builder_bytes(struct builder *b, size_t *length, size_t *header)
{
    json_t *root = json_object(), *metadata = json_copy(b->metadata);
    size_t at = 0, text_length;
    unsigned char *file;
    uint64_t n;
    char *text;

    if (!json_object_get(metadata, "config")) {
        char *config = json_dumps(b->config, JSON_COMPACT);

        json_object_set_new(metadata, "config", json_string(must(config, "no memory")));
        free(config);
    }
    json_object_set_new(root, "__metadata__", metadata);
    for (size_t i = 0; i < b->count; i++) {
        const struct built_tensor *t = &b->tensors[i];
        json_t *shape = json_array();

        for (int k = 0; k < t->rank; k++)
            json_array_append_new(shape, json_integer(t->shape[k]));
        json_object_set_new(root, t->name,
                            json_pack("{s:s,s:o,s:[I,I]}", "dtype", t->dtype, "shape", shape, "data_offsets",
                                      (json_int_t)at, (json_int_t)(at + t->size)));
        at += t->size;
    }
    text = must(json_dumps(root, JSON_COMPACT), "no memory");
    json_decref(root);
    text_length = strlen(text);
    n = text_length;
    *length = 8 + text_length + at;
    if (header)
        *header = text_length;
    file = must(malloc(*length), "no memory");
    memcpy(file, &n, 8);
    memcpy(file + 8, text, text_length);
    free(text);
    at = 8 + text_length;
    for (size_t i = 0; i < b->count; i++) {
        memcpy(file + at, b->tensors[i].bytes, b->tensors[i].size);
        at += b->tensors[i].size;
    }
    return file;
}

void write_bytes(const char *path, const void *bytes, size_t length)
{
    FILE *file = must(fopen(path, "wb"), path);

    if (fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        must(NULL, path);
}

void builder_write(struct builder *b, const char *path)
{
    size_t length;
    unsigned char *bytes = builder_bytes(b, &length, NULL);

    write_bytes(path, bytes, length);
    free(bytes);
}

static char folder[512], paths[64][600];
static int path_count;

static void remove_all(void)
{
    for (int i = 0; i < path_count; i++)
        if (unlink(paths[i]) != 0)
            rmdir(paths[i]);
    rmdir(folder);
}

const char *temporary(const char *name)
{
    const char *base = getenv("TMPDIR");

    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/palme-test-XXXXXX", base && *base ? base : "/tmp");
        must(mkdtemp(folder), folder);
        atexit(remove_all);
    }
    for (int i = 0; i < path_count; i++)
        if (strcmp(paths[i] + strlen(folder) + 1, name) == 0)
            return paths[i];
    must(path_count < 64 ? folder : NULL, "too many temporary files");
    snprintf(paths[path_count], sizeof paths[0], "%s/%s", folder, name);
    return paths[path_count++];
}

void heard_log(void *user, enum palme_log_level level, const char *message)
{
    struct heard *heard = user;
    size_t used = strlen(heard->warning);

    if (level == PALME_LOG_ERROR) {
        heard->errors++;
        snprintf(heard->error, sizeof heard->error, "%s", message);
    } else if (level == PALME_LOG_WARNING) {
        heard->warnings++;
        snprintf(heard->warning + used, sizeof heard->warning - used, "%s\n", message);
    } else {
        heard->remarks++;
    }
}

palme_model *builder_open(struct builder *b, int threads, const char *precision)
{
    static struct heard heard; /* the model may still speak to it later */
    const char *path = temporary("model.safetensors");
    struct palme_setup setup = { .threads = threads, .precision = precision, .log = heard_log, .log_user = &heard };
    palme_model *model = NULL;

    heard = (struct heard){ 0 };
    builder_write(b, path);
    if (palme_model_open(&model, path, &setup) < 0)
        must(NULL, heard.error);
    unlink(path);
    return model;
}
