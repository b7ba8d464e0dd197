/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_weights.c - what the loader takes out of a model file and how it packs it, against the
 * builder's own list of tensors; and what it refuses.
 */
#include "support/check.h"
#include "nn/model.h"
#include "support/model_builder.h"
#include "io/safetensors.h"

static struct heard heard;
static enum palme_precision precision; /* that models are loaded in */

struct loaded {
    struct palme_config config;
    struct palme_weights weights;
};

/* Loads the builder's model. Names of messages begin with "model". */
static int load(struct loaded *m, struct builder *b)
{
    struct palme_log log = { heard_log, &heard, "model" };
    const char *path = temporary("model.safetensors"), *config;
    struct palme_safetensors *file;
    size_t length;
    int status;

    memset(&heard, 0, sizeof heard);
    memset(m, 0, sizeof *m);
    builder_write(b, path);
    status = palme_safetensors_open(&file, path, 0, &log);
    if (status < 0)
        return status;
    config = palme_safetensors_metadata(file, "config", &length);
    status = palme_config_read(&m->config, 1, config, length, &log);
    if (status == PALME_OK)
        status = palme_weights_load(&m->weights, &m->config, 1, precision, 1, file, &log);
    palme_safetensors_close(&file);
    if (status < 0)
        CHECK_MESSAGE(m->weights.memory == NULL, "memory is kept after a failure");
    return status;
}

static void unload(struct loaded *m)
{
    palme_weights_clear(&m->weights);
    palme_config_clear(&m->config);
}

/* ---- Comparison --------------------------------------------------------------------------- */

static int compared;

static int is_aligned(const void *values)
{
    return (uintptr_t)values % 64 == 0;
}

/* The scales of an I8 tensor, or NULL. */
static const float *scales_of(struct builder *b, const struct built_tensor *t)
{
    char name[256];

    if (strcmp(t->dtype, "I8") != 0)
        return NULL;
    snprintf(name, sizeof name, "%s.scale", t->name);
    return builder_find(b, name)->values;
}

/* What a reader must make of a tensor's element. */
static float value_of(const struct built_tensor *t, const float *scales, size_t index)
{
    return scales ? t->values[index] * scales[index / (t->count / (size_t)t->shape[0])] : t->values[index];
}

static int same(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* A tensor whose values are multiplied with a factor. */
static void compare_scaled(struct builder *b, const float *found, const char *name, int padding, float factor)
{
    const struct built_tensor *t = builder_find(b, name);
    const float *scales = scales_of(b, t);
    size_t wrong = 0;

    CHECK_MESSAGE(found != NULL && is_aligned(found), "%s: not there or not aligned", name);
    if (!found)
        return;
    compared++;
    for (size_t i = 0; i < t->count; i++)
        wrong += !same(found[i], value_of(t, scales, i) * factor);
    for (size_t i = t->count; padding && i % 16; i++)
        wrong += found[i] != 0;
    CHECK_MESSAGE(wrong == 0, "%s: %zu values differ", name, wrong);
}

static void compare_values(struct builder *b, const float *found, const char *name, int padding)
{
    compare_scaled(b, found, name, padding, 1);
}

static void compare_norm(struct builder *b, const struct palme_norm *norm, const char *name)
{
    char full[256];

    snprintf(full, sizeof full, "%s.weight", name);
    compare_values(b, norm->w, full, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    compare_values(b, norm->b, full, 0);
}

/* A weight of a layer or a table is in the model's precision, but for one whose sums of so many products would not fit
 * into 32 bits, and for the stem's layers of few weights. The stem's filters, which are neither, stay in f32. */
static enum palme_precision wanted_precision(const struct built_tensor *t)
{
    if (t->rank == 4 && t->shape[0] * t->shape[1] < 4096)
        return PALME_F32;
    return precision == PALME_INT8 && t->shape[1] > 65536 ? PALME_BF16 : precision;
}

static struct {
    float row[1 << 19];
    float scale; /* int8: row[i] are whole numbers, to be multiplied with it */
} stored;

/* A row as it must be stored, by the definition of the precision; I8 in the file stays as it is in int8. */
static const float *wanted_row(const struct built_tensor *t, const float *scales, size_t row)
{
    size_t n = t->count / (size_t)t->shape[0];
    float most = 0;

    for (size_t i = 0; i < n && row < (size_t)t->shape[0]; i++) {
        stored.row[i] = value_of(t, scales, row * n + i);
        most = fabsf(stored.row[i]) > most ? fabsf(stored.row[i]) : most;
    }
    stored.scale = scales ? scales[row < (size_t)t->shape[0] ? row : 0] : most / 127;
    for (size_t i = 0; i < n && row < (size_t)t->shape[0]; i++) {
        if (wanted_precision(t) == PALME_BF16)
            stored.row[i] = palme_bf16_widen(palme_bf16_round(stored.row[i]));
        else if (wanted_precision(t) == PALME_INT8)
            stored.row[i] = scales ? t->values[row * n + i] : most > 0 ? nearbyintf(stored.row[i] * (127 / most)) : 0;
    }
    return stored.row;
}

static void compare_table(struct builder *b, const struct palme_table *table, const char *name)
{
    const struct built_tensor *t = builder_find(b, name);
    const float *scales = scales_of(b, t);
    size_t n = (size_t)t->shape[1], wrong = 0;
    float *row = malloc(n * sizeof *row);

    CHECK_INT(table->precision, precision);
    compared++;
    for (size_t r = 0; r < (size_t)t->shape[0]; r++) {
        const float *values = wanted_row(t, scales, r);

        palme_table_row(row, table, r, (int)n);
        for (size_t i = 0; i < n; i++)
            wrong += !same(row[i], precision == PALME_INT8 ? values[i] * stored.scale : values[i]);
    }
    free(row);
    CHECK_MESSAGE(wrong == 0, "%s: %zu values differ", name, wrong);
}

/* Undoes the packing by the definition of the layouts. */
static void compare_linear(struct builder *b, const struct palme_linear *l, const char *name, int bias, int many)
{
    const struct built_tensor *t;
    const float *scales;
    size_t wrong = 0, rows, columns;
    char full[256];

    snprintf(full, sizeof full, "%s.weight", name);
    t = builder_find(b, full);
    scales = scales_of(b, t);
    rows = (size_t)t->shape[0];
    columns = (size_t)t->shape[1];
    CHECK_MESSAGE(l->w != NULL && is_aligned(l->w), "%s: not there or not aligned", full);
    CHECK_INT(l->out, rows);
    CHECK_INT(l->in, columns);
    if (!l->w || (size_t)l->out != rows || (size_t)l->in != columns)
        return;
    CHECK_INT(l->precision, wanted_precision(t));
    CHECK_INT(l->layout, palme_linear_layout(many && l->precision == PALME_F32));
    compared++;
    for (size_t o = 0; o < (rows + 15) / 16 * 16; o++) {
        const float *row = wanted_row(t, scales, o);

        if (l->precision == PALME_INT8)
            wrong += !same(l->scale[o], o < rows ? stored.scale : 0);
        for (size_t i = 0; i < (columns + 3) / 4 * 4; i++) {
            float value = o < rows && i < columns ? row[i] : 0;

            if (l->precision == PALME_INT8)
                wrong +=
                    ((const int8_t *)l->w)[((o / 16 * ((columns + 3) / 4) + i / 4) * 16 + o % 16) * 4 + i % 4] != value;
            else if (l->precision == PALME_BF16 && i < (columns + 1) / 2 * 2)
                wrong += !same(
                    palme_bf16_widen(
                        ((const uint16_t *)l->w)[((o / 16 * ((columns + 1) / 2) + i / 2) * 16 + o % 16) * 2 + i % 2]),
                    value);
            else if (i < columns && l->precision == PALME_F32 && l->layout == PALME_LAYOUT_PANELS)
                wrong += !same(((const float *)l->w)[(o / 16 * columns + i) * 16 + o % 16], value);
            else if (i < columns && l->precision == PALME_F32 && o < rows)
                wrong += !same(((const float *)l->w)[o * columns + i], value);
        }
    }
    CHECK_MESSAGE(wrong == 0, "%s: %zu values differ", full, wrong);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias)
        compare_values(b, l->b, full, 1);
    else
        CHECK_MESSAGE(l->b == NULL, "%s is there", full);
}

static void compare_attention(struct builder *b, const struct palme_attention_block *block, const char *stack,
                              int index, int many, int kv_many)
{
    char name[128];

    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.0.0", stack, index);
    compare_norm(b, &block->norm, name);
    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.1.to_q", stack, index);
    compare_linear(b, &block->q, name, 0, many);
    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.1.to_k", stack, index);
    compare_linear(b, &block->k, name, 0, kv_many);
    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.1.to_v", stack, index);
    compare_linear(b, &block->v, name, 0, kv_many);
    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.1.to_out", stack, index);
    compare_linear(b, &block->out, name, 0, many);
}

static void compare_mlp(struct builder *b, const struct palme_mlp_block *block, const char *stack, int index, int many)
{
    char name[128];

    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.0.0", stack, index);
    compare_norm(b, &block->norm, name);
    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.1.ff.0.0", stack, index);
    compare_linear(b, &block->up, name, 1, many);
    snprintf(name, sizeof name, "%s.attn_layers.layers.%d.1.ff.2", stack, index);
    compare_linear(b, &block->down, name, 1, many);
}

/* A convolution kernel [out][in][k][k] as [k][k][in][out]. */
static void compare_kernel(struct builder *b, const float *found, const char *name)
{
    const struct built_tensor *t = builder_find(b, name);
    const float *scales = scales_of(b, t);
    size_t out = (size_t)t->shape[0], in = (size_t)t->shape[1], k = (size_t)t->shape[2], wrong = 0;

    CHECK_MESSAGE(found != NULL && is_aligned(found), "%s: not there or not aligned", name);
    if (!found)
        return;
    compared++;
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t y = 0; y < k; y++)
                for (size_t x = 0; x < k; x++)
                    wrong +=
                        found[((y * k + x) * in + i) * out + o] != value_of(t, scales, ((o * in + i) * k + y) * k + x);
    CHECK_MESSAGE(wrong == 0, "%s: %zu values differ", name, wrong);
}

static void compare_stem(struct builder *b, const struct palme_stem *stem)
{
    char name[128];

    compare_kernel(b, stem->conv, "encoder.stem.conv.weight");
    compare_values(b, stem->conv_bias, "encoder.stem.conv.bias", 1);
    for (int i = 0; i < stem->blocks; i++) {
        const struct palme_stem_block *block = &stem->block[i];

        snprintf(name, sizeof name, "encoder.stem.blocks.%d.expand", i);
        if (i)
            compare_linear(b, &block->expand, name, 1, 0);
        else
            CHECK(block->expand.w == NULL);
        snprintf(name, sizeof name, "encoder.stem.blocks.%d.depthwise.weight", i);
        compare_kernel(b, block->depthwise, name);
        snprintf(name, sizeof name, "encoder.stem.blocks.%d.depthwise.bias", i);
        compare_values(b, block->depthwise_bias, name, 1);
        snprintf(name, sizeof name, "encoder.stem.blocks.%d.project", i);
        compare_linear(b, &block->project, name, 1, 0);
    }
    compare_linear(b, &stem->head, "encoder.stem.head", 1, 1);
}

/* Everything, by the names of the long form. Counts what it compared, so that nothing is forgotten:
 * each of the builder's tensors is one comparison, scales and buffers aside. */
static void compare(struct builder *b, const struct loaded *m)
{
    const struct palme_config *p = &m->config;
    const struct palme_encoder *e = &m->weights.encoder;
    const struct palme_decoder *d = &m->weights.decoder;
    int blocks = p->cross_attend ? 3 : 2, demanded = 0;
    uint64_t parameters = 0;

    compared = 0;
    if (p->stem != PALME_STEM_NONE)
        compare_stem(b, &e->stem);
    compare_norm(b, &e->patch_input_norm, "encoder.patch_to_embedding.0");
    compare_linear(b, &e->patch, "encoder.patch_to_embedding.1", 1, 1);
    compare_norm(b, &e->patch_output_norm, "encoder.patch_to_embedding.2");
    compare_values(b, e->positions, "encoder.pos_embedding", 0);
    for (int i = 0; i < p->encoder.depth; i++) {
        compare_attention(b, &e->layers[i].attention, "encoder", 2 * i, 1, 1);
        compare_mlp(b, &e->layers[i].mlp, "encoder", 2 * i + 1, 1);
    }
    compare_norm(b, &e->final_norm, "encoder.attn_layers.final_norm");
    if (p->encoder.dim != p->decoder.dim)
        compare_linear(b, &d->projection, "encoder_to_decoder", 0, 1);
    else
        CHECK(d->projection.w == NULL);
    compare_table(b, &d->embedding, "decoder.net.token_emb.emb.weight");
    if (p->decoder.positions)
        compare_scaled(b, d->positions, "decoder.net.pos_emb.emb.weight", 0, (float)(1 / sqrt(p->decoder.dim)));
    else
        CHECK(d->positions == NULL);
    for (int i = 0; i < p->decoder.depth; i++) {
        compare_attention(b, &d->layers[i].self, "decoder.net", blocks * i, 0, 0);
        if (p->cross_attend)
            compare_attention(b, &d->layers[i].cross, "decoder.net", blocks * i + 1, 0, 1);
        else
            CHECK(d->layers[i].cross.q.w == NULL && d->layers[i].cross.norm.w == NULL);
        compare_mlp(b, &d->layers[i].mlp, "decoder.net", blocks * i + blocks - 1, 0);
    }
    compare_norm(b, &d->final_norm, "decoder.net.attn_layers.final_norm");
    compare_linear(b, &d->logits, "decoder.net.to_logits", 1, 0);
    for (size_t i = 0; i < b->count; i++) {
        const char *end = strrchr(b->tensors[i].name, '.');

        if (strcmp(end, ".scale") != 0 && strcmp(end, ".inv_freq") != 0) {
            demanded++;
            parameters += b->tensors[i].count;
        }
    }
    CHECK_INT(compared, demanded);
    CHECK_INT(m->weights.parameters, parameters);
    CHECK_INT(heard.warnings, 0);
}

/* ---- Whole models ------------------------------------------------------------------------- */

static const struct {
    const char *what, *config;
} shapes[] = {
    { "smallest", "{}" },
    { "one of everything", "{\"image_size\":1,\"patch_size\":1,\"encoder_dim\":1,\"decoder_dim\":1,"
                           "\"num_tokens\":4,\"max_seq_len\":1}" },
    { "two layers", "{\"encoder_depth\":2,\"decoder_depth\":3,\"encoder_heads\":2,\"decoder_heads\":3}" },
    { "other widths", "{\"encoder_dim\":5,\"decoder_dim\":17,\"num_tokens\":97}" },
    { "prefix", "{\"cross_attend\":false,\"decoder_depth\":2,\"encoder_dim\":7}" },
    { "positions", "{\"rotary_xpos\":false,\"use_abs_pos_emb\":true}" },
    { "positions that rotary replaces", "{\"use_abs_pos_emb\":true}" },
    { "several portions", "{\"num_tokens\":4200,\"decoder_dim\":130,\"patch_size\":64,\"image_size\":128}" },
    { "more rows than a portion", "{\"num_tokens\":5000,\"decoder_dim\":3}" },
    { "one row longer than a portion", "{\"image_size\":300,\"patch_size\":300,\"encoder_dim\":3}" },
};

static void check_shapes(void)
{
    static const char *const types[] = { "F32", "F16", "BF16", "I8" };

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int k = 0; k < 12; k++) {
            struct builder *b = builder_new(shapes[i].config, 7 * i + (size_t)k);
            struct loaded m;
            int status;

            builder_convert_all(b, types[k % 4]);
            precision = (enum palme_precision)(k / 4);
            status = load(&m, b);
            CHECK_MESSAGE(status == PALME_OK, "%s in %s as %s: %s", shapes[i].what, types[k % 4],
                          palme_precision_name(precision), heard.error);
            if (status == PALME_OK)
                compare(b, &m);
            unload(&m);
            builder_free(b);
        }
    precision = PALME_F32;
}

static void check_stems(void)
{
    static const struct {
        const char *config;
        int blocks, last_in, last_out;
        long long parameters;
    } stems[] = {
        { "{\"stem\":\"efficientnet_lite0\",\"image_size\":64,\"patch_size\":32}", 16, 192, 320, 3350000 },
        { "{\"stem\":\"efficientnet_lite1\",\"image_size\":64,\"patch_size\":32}", 21, 192, 320, 4108848 },
        { "{\"stem\":\"efficientnet_lite2\",\"image_size\":64,\"patch_size\":32}", 21, 208, 352, 4782024 },
    };
    static const int strides[2][5] = { { 0, 1, 3, 5, 11 }, { 0, 1, 4, 7, 15 } }; /* first blocks with stride 2 */

    for (int i = 0; i < 3; i++) {
        struct builder *b = builder_new(stems[i].config, (uint64_t)i);
        struct loaded m;
        long long stem = 0;
        int status, in = 32;

        for (size_t k = 0; k < b->count; k++)
            if (strncmp(b->tensors[k].name, "encoder.stem.", 13) == 0)
                stem += (long long)b->tensors[k].count;
        CHECK_INT(stem, stems[i].parameters);
        builder_convert_all(b, i == 0 ? "F32" : i == 1 ? "BF16" : "I8");
        status = load(&m, b);
        CHECK_MESSAGE(status == PALME_OK, "%s: %s", stems[i].config, heard.error);
        if (status == PALME_OK) {
            compare(b, &m);
            CHECK_INT(m.weights.encoder.stem.blocks, stems[i].blocks);
            for (int k = 0; k < stems[i].blocks; k++) {
                const struct palme_stem_block *block = &m.weights.encoder.stem.block[k];
                int stride = 1;

                for (int s = 1; s < 5; s++)
                    if (k == strides[i > 0][s])
                        stride = 2;
                CHECK_INT(block->in, in);
                CHECK_INT(block->middle, k ? 6 * in : in);
                CHECK_INT(block->stride, stride);
                CHECK_INT(block->skip != 0, stride == 1 && block->in == block->out);
                CHECK(block->size == 3 || block->size == 5);
                in = block->out;
            }
            CHECK_INT(m.weights.encoder.stem.block[stems[i].blocks - 1].in, stems[i].last_in);
            CHECK_INT(in, stems[i].last_out);
            CHECK_INT(m.weights.encoder.stem.head.in, in);
            CHECK_INT(m.weights.encoder.stem.block[stems[i].blocks - 1].skip, 0);
        }
        unload(&m);
        builder_free(b);
    }
}

/* ---- Names -------------------------------------------------------------------------------- */

static void refuse(struct builder *b, int status, const char *word, const char *other_word, const char *what)
{
    struct loaded m;
    int found = load(&m, b);

    CHECK_MESSAGE(found == status, "%s: status %d, wanted %d: %s", what, found, status, heard.error);
    CHECK_MESSAGE(heard.errors == 1, "%s: %d messages", what, heard.errors);
    CHECK_MESSAGE(strncmp(heard.error, "model: ", 7) == 0 && strstr(heard.error, word) &&
                      strstr(heard.error, other_word),
                  "%s: no \"%s\" and \"%s\" in: %s", what, word, other_word, heard.error);
    unload(&m);
    builder_free(b);
}

static void check_names(void)
{
    struct builder *b = builder_new("{\"decoder_dim\":9}", 3);
    struct loaded m;

    /* The short form, and a mixture. */
    CHECK(builder_rename(b, "decoder.net.", "decoder.") > 10);
    builder_convert_all(b, "I8");
    CHECK_INT(load(&m, b), PALME_OK);
    builder_rename(b, "decoder.", "decoder.net.");
    compare(b, &m);
    unload(&m);
    builder_rename(b, "decoder.net.to_logits.", "decoder.to_logits.");
    CHECK_INT(load(&m, b), PALME_OK);
    builder_rename(b, "decoder.to_logits.", "decoder.net.to_logits.");
    compare(b, &m);
    unload(&m);
    builder_free(b);

    b = builder_new("{}", 3);
    builder_add(b, "decoder.to_logits.bias", "F32", 1, (long long[]){ 40 }, NULL);
    refuse(b, PALME_ERROR_FORMAT, "decoder.net.to_logits.bias", "decoder.to_logits.bias", "a tensor twice");
    b = builder_new("{}", 3);
    builder_add(b, "decoder.net.attn_layers.rotary_pos_emb.scale", "F32", 1, (long long[]){ 16 }, NULL);
    builder_add(b, "decoder.attn_layers.rotary_pos_emb.scale", "F32", 1, (long long[]){ 16 }, NULL);
    refuse(b, PALME_ERROR_FORMAT, "rotary_pos_emb.scale", "twice", "a buffer twice");
}

/* Every tensor in turn is missing, misspelled, of another shape, rank or type. */
static void check_each_tensor(const char *config)
{
    struct builder *b = builder_new(config, 5);
    size_t count = b->count;

    builder_free(b);
    for (size_t i = 0; i < count; i++) {
        static const char *const types[] = { "U8", "I32", "I64", "I8" };
        char name[256], wrong[300], wanted[64], found[64];
        struct built_tensor *t;
        long long shape[8];
        int rank, is_weight;

        b = builder_new(config, 5);
        t = &b->tensors[i];
        snprintf(name, sizeof name, "%s", t->name);
        rank = t->rank;
        memcpy(shape, t->shape, sizeof shape);
        is_weight = (rank == 2 || rank == 4) && !strstr(name, "pos_emb");
        builder_remove(b, name);
        refuse(b, PALME_ERROR_FORMAT, name, "missing", "a missing tensor");

        b = builder_new(config, 5);
        snprintf(wrong, sizeof wrong, "%s_", name);
        builder_rename(b, name, wrong);
        refuse(b, PALME_ERROR_FORMAT, name, "missing", "a misspelled tensor");

        for (int k = 0; k < rank; k++) {
            b = builder_new(config, 5);
            snprintf(wanted, sizeof wanted, "%lld", shape[k]);
            shape[k]++;
            snprintf(found, sizeof found, "%lld", shape[k]);
            builder_reshape(b, name, rank, shape);
            refuse(b, PALME_ERROR_FORMAT, name, found, "a longer dimension");
            CHECK(strstr(heard.error, wanted) && strstr(heard.error, "wanted shape"));
            shape[k] -= 2;
            if (shape[k] > 0) {
                b = builder_new(config, 5);
                builder_reshape(b, name, rank, shape);
                refuse(b, PALME_ERROR_FORMAT, name, wanted, "a shorter dimension");
            }
            shape[k]++;
        }
        b = builder_new(config, 5);
        shape[rank] = 1;
        builder_reshape(b, name, rank + 1, shape);
        refuse(b, PALME_ERROR_FORMAT, name, ", 1]", "one dimension more");
        if (rank > 1) {
            b = builder_new(config, 5);
            shape[rank - 2] *= shape[rank - 1];
            builder_reshape(b, name, rank - 1, shape);
            refuse(b, PALME_ERROR_FORMAT, name, "wanted shape", "one dimension less");
        }
        for (int k = 0; k < (is_weight ? 3 : 4); k++) {
            b = builder_new(config, 5);
            builder_convert(b, name, types[k]);
            refuse(b, PALME_ERROR_FORMAT, name, types[k], "another type");
            CHECK(strstr(heard.error, "wanted F32") != NULL);
        }
    }
}

static void check_scales(void)
{
    static const char name[] = "decoder.net.token_emb.emb.weight", scale[] = "decoder.net.token_emb.emb.weight.scale";
    static const float bad[] = { 0, -0.0f, -1, NAN, INFINITY, -INFINITY };
    struct builder *b;

    for (int i = 0; i < 6; i++) {
        b = builder_new("{}", 1);
        builder_convert(b, name, "I8");
        builder_poison(b, scale, 39, bad[i]);
        refuse(b, PALME_ERROR_FORMAT, scale, "scale 39", "a broken scale");
    }
    b = builder_new("{\"stem\":\"efficientnet_lite0\",\"image_size\":32,\"patch_size\":32}", 1);
    builder_convert(b, "encoder.stem.blocks.3.depthwise.weight", "I8");
    builder_poison(b, "encoder.stem.blocks.3.depthwise.weight.scale", 5, 0);
    refuse(b, PALME_ERROR_FORMAT, "encoder.stem.blocks.3.depthwise.weight.scale", "scale 5", "a stem's broken scale");
    b = builder_new("{}", 1);
    builder_convert(b, name, "I8");
    builder_remove(b, scale);
    refuse(b, PALME_ERROR_FORMAT, name, "missing", "no scale");
    b = builder_new("{}", 1);
    builder_convert(b, name, "I8");
    builder_reshape(b, scale, 1, (long long[]){ 39 });
    refuse(b, PALME_ERROR_FORMAT, scale, "[39]", "too few scales");
    b = builder_new("{}", 1);
    builder_convert(b, name, "I8");
    builder_reshape(b, scale, 2, (long long[]){ 40, 1 });
    refuse(b, PALME_ERROR_FORMAT, scale, "[40, 1]", "scales of another rank");
    b = builder_new("{}", 1);
    builder_convert(b, name, "I8");
    builder_convert(b, scale, "F16");
    refuse(b, PALME_ERROR_FORMAT, scale, "F16", "scales of another type");
}

/* Config and weights that contradict each other: both values are in the message. */
static void check_contradictions(void)
{
    static const struct {
        const char *key, *value, *word, *other;
    } rows[] = {
        { "encoder_dim", "8", "encoder.patch_to_embedding.1.weight", "[6, 12]" },
        { "decoder_dim", "7", "encoder_to_decoder.weight", "missing" },
        { "encoder_heads", "2", "to_q", "[128, 6]" },
        { "decoder_heads", "2", "to_q", "[128, 6]" },
        { "encoder_depth", "2", "encoder.attn_layers.layers.2", "missing" },
        { "decoder_depth", "2", "decoder.net.attn_layers.layers.3", "missing" },
        { "decoder_depth", "512", "decoder.net.attn_layers.layers.3", "missing" },
        { "num_tokens", "41", "token_emb", "[41, 6]" },
        { "num_tokens", "39", "token_emb", "[40, 6]" },
        { "num_tokens", "1048576", "token_emb", "[40, 6]" },
        { "image_size", "8", "encoder.pos_embedding", "[1, 4, 6]" },
        { "patch_size", "4", "encoder.patch_to_embedding.0.weight", "[48]" },
        { "cross_attend", "false", "decoder.net.attn_layers.layers.1.1.ff", "missing" },
        { "rotary_xpos", "false", "", "" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct builder *b = builder_new("{}", 1);
        struct loaded m;

        builder_config(b, rows[i].key, rows[i].value);
        if (rows[i].word[0]) {
            refuse(b, PALME_ERROR_FORMAT, rows[i].word, rows[i].other, rows[i].key);
            continue;
        }
        CHECK_INT(load(&m, b), PALME_OK); /* no tensor depends on it */
        unload(&m);
        builder_free(b);
    }
    {
        struct builder *b = builder_new("{}", 1);

        builder_config(b, "rotary_xpos", "false");
        builder_config(b, "use_abs_pos_emb", "true");
        refuse(b, PALME_ERROR_FORMAT, "decoder.net.pos_emb.emb.weight", "[24, 6]", "positions that are not there");
        b = builder_new("{\"image_size\":64,\"patch_size\":32}", 1);
        builder_config(b, "stem", "\"efficientnet_lite1\"");
        refuse(b, PALME_ERROR_FORMAT, "encoder.stem.conv.weight", "[32, 3, 3, 3]", "a stem that is not there");
    }
}

/* ---- Buffers, slopes, warnings ------------------------------------------------------------ */

static void check_buffers(void)
{
    static const char inv_freq[] = "decoder.net.attn_layers.rotary_pos_emb.inv_freq";
    static const char scale[] = "decoder.net.attn_layers.rotary_pos_emb.scale";
    static const float bad[] = { NAN, INFINITY, 0, -1 };
    float values[16], halves[16];
    struct builder *b = builder_new("{}", 1);
    struct loaded m, plain;

    /* Computed: to a rounding of a float, 2^-24 of itself, or two: torch's power is rounded before it divides 1. */
    CHECK_INT(load(&plain, b), PALME_OK);
    for (int k = 0; k < 16; k++) {
        CHECK_CLOSE(plain.weights.decoder.inv_freq[k] * pow(10000, k / 16.0), 1, 2 * 0x1p-24);
        CHECK_CLOSE(plain.weights.decoder.xpos_scale[k], (2 * k + 12.8) / 44.8, 0x1p-24);
        values[k] = 0.5f + (float)k / 64;
        halves[k] = 0.25f + (float)k / 64;
    }
    builder_add(b, inv_freq, "F32", 1, (long long[]){ 16 }, values);
    builder_add(b, scale, "F32", 1, (long long[]){ 16 }, halves);
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 0);
    CHECK(memcmp(m.weights.decoder.inv_freq, values, sizeof values) == 0);
    CHECK(memcmp(m.weights.decoder.xpos_scale, halves, sizeof halves) == 0);
    CHECK_INT(m.weights.parameters, plain.weights.parameters);
    unload(&m);

    /* Of another type, or one of them only: computed without a word. */
    builder_rename(b, "decoder.net.", "decoder.");
    builder_convert(b, "decoder.attn_layers.rotary_pos_emb.inv_freq", "BF16");
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 0);
    CHECK(memcmp(m.weights.decoder.inv_freq, plain.weights.decoder.inv_freq, sizeof values) == 0);
    CHECK(memcmp(m.weights.decoder.xpos_scale, halves, sizeof halves) == 0);
    unload(&m);
    builder_free(b);

    /* Broken values: the right ones are known, so that they are a warning. */
    for (int i = 0; i < 4; i++) {
        b = builder_new("{}", 1);
        builder_add(b, scale, "F32", 1, (long long[]){ 16 }, halves);
        builder_poison(b, scale, 15, bad[i]);
        CHECK_INT(load(&m, b), PALME_OK);
        CHECK_INT(heard.warnings, 1);
        CHECK(strstr(heard.warning, scale) != NULL);
        CHECK(memcmp(m.weights.decoder.xpos_scale, plain.weights.decoder.xpos_scale, sizeof values) == 0);
        unload(&m);
        builder_free(b);
    }
    b = builder_new("{}", 1);
    builder_add(b, inv_freq, "F32", 1, (long long[]){ 32 }, NULL);
    refuse(b, PALME_ERROR_FORMAT, inv_freq, "[32]", "a buffer of another length");
    b = builder_new("{\"rotary_xpos\":false}", 1);
    builder_add(b, inv_freq, "F32", 1, (long long[]){ 16 }, NULL);
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 1);
    CHECK(strstr(heard.warning, "unknown") != NULL);
    unload(&m);
    unload(&plain);
    builder_free(b);
}

static void check_slopes(void)
{
    static const struct {
        const char *config;
        float slopes[7]; /* of the model's description */
    } rows[] = {
        { "{\"decoder_heads\":7,\"alibi_num_heads\":1}", { 0.00390625f } },
        { "{\"decoder_heads\":7,\"alibi_num_heads\":2}", { 0.0625f, 0.00390625f } },
        { "{\"decoder_heads\":7,\"alibi_num_heads\":3}", { 0.0625f, 0.00390625f, 0.25f } },
        { "{\"decoder_heads\":7,\"alibi_num_heads\":4}", { 0.25f, 0.0625f, 0.015625f, 0.00390625f } },
        { "{\"decoder_heads\":7,\"alibi_num_heads\":6}", { 0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f } },
        { "{\"decoder_heads\":7,\"alibi_num_heads\":null}",
          { 0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f, 0.03125f } },
        { "{\"decoder_heads\":7,\"alibi_num_heads\":4,\"alibi_pos_bias\":false}", { 0 } },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct builder *b = builder_new(rows[i].config, 1);
        struct loaded m;

        CHECK_INT(load(&m, b), PALME_OK);
        for (int h = 0; h < 7; h++)
            CHECK_CLOSE(m.weights.decoder.slopes[h], rows[i].slopes[h], 0);
        unload(&m);
        builder_free(b);
    }
}

static void check_warnings(void)
{
    struct builder *b = builder_new("{}", 1);
    struct loaded m;
    char name[64];

    builder_poison(b, "encoder.attn_layers.layers.0.1.to_k.weight", 5, NAN);
    builder_poison(b, "encoder.attn_layers.layers.0.1.to_k.weight", 383, -INFINITY);
    builder_poison(b, "decoder.net.to_logits.bias", 39, INFINITY);
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 1);
    CHECK(strstr(heard.warning, "3 of its weights are NaN or infinite") &&
          strstr(heard.warning, "encoder.attn_layers.layers.0.1.to_k.weight"));
    unload(&m);
    builder_free(b);

    /* A float that a scale makes infinite. */
    b = builder_new("{}", 1);
    builder_convert(b, "decoder.net.to_logits.weight", "I8");
    builder_poison(b, "decoder.net.to_logits.weight.scale", 7, 3e38f);
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 1);
    CHECK(strstr(heard.warning, "decoder.net.to_logits.weight") != NULL);
    unload(&m);
    builder_free(b);

    /* A companion without its I8 tensor is just an unknown tensor. */
    b = builder_new("{}", 1);
    builder_add(b, "decoder.net.to_logits.weight.scale", "F32", 1, (long long[]){ 40 }, NULL);
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 1);
    CHECK(strstr(heard.warning, "decoder.net.to_logits.weight.scale is unknown") != NULL);
    unload(&m);

    /* 100 000 unknown ones: some are named, all are counted. */
    for (int i = 0; i < 99999; i++) {
        snprintf(name, sizeof name, "unknown\n.%d", i);
        builder_add(b, name, "U8", 1, (long long[]){ 1 }, NULL);
    }
    CHECK_INT(load(&m, b), PALME_OK);
    CHECK_INT(heard.warnings, 6);
    CHECK(strstr(heard.warning, "99995 more unknown tensors") != NULL);
    CHECK(strstr(heard.warning, "unknown?.0 ") != NULL);
    unload(&m);
    builder_free(b);
}

int main(void)
{
    check_shapes();
    check_stems();
    check_names();
    check_each_tensor("{\"encoder_dim\":3,\"decoder_dim\":5,\"rotary_xpos\":false,\"use_abs_pos_emb\":true,"
                      "\"num_tokens\":4}");
    check_scales();
    check_contradictions();
    check_buffers();
    check_slopes();
    check_warnings();
    return check_done();
}
