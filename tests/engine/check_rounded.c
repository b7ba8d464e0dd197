/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_rounded.c - the engine in bf16 and int8 against itself in f32 with the same rounded weights.
 *
 *     check_rounded
 *
 * A file whose weights are BF16 or I8 already gives the same weights in f32 and in that precision, so what differs is
 * what the precision does to activations. In bf16 that is nothing where a level widens weights, but for the many
 * keys and values of a picture, which are rounded: the bits are the same, those of logits only without it.
 * Where it rounds activations to bf16, whose 8 bits make a unit roundoff of 2^-8, a value is off by up to 2^-8 of
 * itself; attention is rounded there too, and to less. In int8 a value of a row is off by up to half of the row's
 * scale; what that makes of a layer's sums is a sum, and of the whole model it is estimated from the number of layers.
 *
 * All levels with vectors give the same bits, in f32, in int8, and in bf16 where activations are not rounded. Plain
 * C, whose norms, GELU and attention are in double, does not.
 */
#include "support/check.h"
#include "support/enginehost.h"
#include "support/model_builder.h"

static const char *const shapes[] = {
    "{\"image_size\":64,\"patch_size\":16,\"encoder_dim\":96,\"decoder_dim\":96,\"encoder_depth\":2,\"decoder_depth\":"
    "2,"
    "\"encoder_heads\":2,\"decoder_heads\":2,\"num_tokens\":257}",
    "{\"image_size\":32,\"patch_size\":8,\"encoder_dim\":50,\"decoder_dim\":66,\"encoder_depth\":1,\"decoder_depth\":3,"
    "\"cross_attend\":false,\"num_tokens\":97,\"max_seq_len\":40}",
    /* so many keys and values of the picture that they are rounded to bf16 */
    "{\"image_size\":64,\"patch_size\":4,\"encoder_dim\":32,\"decoder_dim\":80,\"encoder_depth\":1,\"decoder_depth\":2,"
    "\"encoder_heads\":1,\"decoder_heads\":4,\"num_tokens\":97}",
};
enum { IDS = 9 };

static double random_value(void)
{
    static uint64_t state = 1;

    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(state >> 11) * 0x1p-52 - 1;
}

/* ---- One layer ------------------------------------------------------------------------------ */

struct layer {
    struct palme_linear l;
    float *w; /* [out][in] as the layer has them */
};

static struct layer layer_of(enum palme_precision precision, int in, int out, enum palme_activation activation)
{
    struct layer layer = {
        .l = { .precision = precision, .layout = PALME_LAYOUT_PANELS, .in = in, .out = out, .activation = activation }
    };
    float *scale = aligned_alloc(64, (palme_linear_outputs(&layer.l) * 4 + 63) / 64 * 64), factor;
    float *b = aligned_alloc(64, (palme_linear_outputs(&layer.l) * 4 + 63) / 64 * 64);
    void *packed = aligned_alloc(64, (palme_linear_size(&layer.l) + 63) / 64 * 64);

    layer.w = malloc((size_t)in * (size_t)out * sizeof(float));
    for (int i = 0; i < in * out; i++)
        layer.w[i] = (float)random_value();
    for (size_t o = 0; o < palme_linear_outputs(&layer.l); o++)
        b[o] = o < (size_t)out ? (float)random_value() : 0;
    palme_linear_pack(&layer.l, packed, scale, layer.w, 0, out / 2);
    palme_linear_pack(&layer.l, packed, scale, layer.w + (size_t)(out / 2) * (size_t)in, out / 2, out - out / 2);
    for (int o = 0; o < out; o++) {
        float *row = layer.w + (size_t)o * (size_t)in, row_scale = palme_quantization_scale(&factor, row, in);

        for (int k = 0; k < in; k++)
            row[k] =
                precision == PALME_INT4
                    ? palme_int4_weight((uint8_t *)packed + (size_t)(o / 16) * PALME_INT4_PANEL_BYTES(in), o % 16, k)
                : precision == PALME_INT8 ? (float)palme_quantize_value(row[k], factor) * row_scale
                : precision == PALME_BF16 ? palme_bf16_widen(palme_bf16_round(row[k]))
                                          : row[k];
    }
    layer.l.w = packed;
    layer.l.scale = scale;
    layer.l.b = b;
    return layer;
}

static void layer_free(struct layer *layer)
{
    free((void *)layer->l.w), free((void *)layer->l.scale), free((void *)layer->l.b), free(layer->w);
}

/* Two layers of one input, one of them added to something, with one thread and with two. */
static void check_layers(const char *level_name)
{
    static const int ins[] = { 1, 5, 64, 130, 512 }, rows_of[] = { 1, 2, 7, 64, 130 };
    enum palme_cpu_level level;
    struct palme_kernels kernels;
    struct palme_pool *pool;
    int usable;

    palme_cpu_choose(&level, level_name);
    palme_kernels_init(&kernels, level);
    CHECK_INT(palme_pool_open(&pool, 2, &usable), PALME_OK);
    for (int trial = 0; trial < 5 * 5 * PALME_PRECISIONS; trial++) {
        enum palme_precision precision = (enum palme_precision)(trial % PALME_PRECISIONS);
        int in = ins[trial / PALME_PRECISIONS % 5], rows = rows_of[trial / PALME_PRECISIONS / 5];
        struct layer a = layer_of(precision, in, 50, PALME_ACTIVATION_GELU);
        struct layer b = layer_of(precision, in, 400, PALME_ACTIVATION_NONE);
        size_t size = (size_t)rows * 450, wrong = 0;
        float *x = malloc((size_t)(rows * in) * sizeof *x), *y = calloc(2 * size, sizeof *y),
              *into = calloc(2 * size, sizeof *into);

        for (int i = 0; i < rows * in; i++)
            x[i] = (float)random_value();
        for (int threads = 1; threads <= 2; threads++) {
            struct palme_compute c = { .kernels = &kernels, .pool = threads == 2 ? pool : NULL };
            float *to = y + (size_t)(threads - 1) * size, *sum = into + (size_t)(threads - 1) * size;

            c.workspace = aligned_alloc(64, 64 + palme_linear_workspace(&kernels, &a.l, rows));
            for (size_t i = 0; i < size; i++)
                sum[i] = 1;
            palme_linear_multi(&c, (struct palme_linear_op[]){ { to, &a.l, NULL }, { to + rows * 50, &b.l, sum } }, 2,
                               x, rows);
            free(c.workspace);
        }
        CHECK_MESSAGE(memcmp(y, y + size, size * 4) == 0 && memcmp(into, into + size, size * 4) == 0,
                      "%s %s, %d x %d: two threads differ from one", kernels.level, palme_precision_name(precision),
                      rows, in);
        for (int r = 0; r < rows; r++) {
            float most = 0;

            for (int k = 0; k < in; k++)
                most = fmaxf(most, fabsf(x[r * in + k]));
            for (int o = 0; o < 450; o++) {
                const struct layer *l = o < 50 ? &a : &b;
                int at = o < 50 ? o : o - 50;
                double wanted = l->l.b[at], size_of = fabs(wanted), weights = 0;
                float found = o < 50 ? y[r * 50 + at] : into[r * 400 + at] - 1;

                for (int k = 0; k < in; k++) {
                    double w = l->w[(size_t)at * (size_t)in + (size_t)k];

                    wanted += w * x[r * in + k];
                    size_of += fabs(w * x[r * in + k]);
                    weights += fabs(w);
                }
                if (o < 50)
                    wanted = 0.5 * wanted * (1 + erf(wanted * 0.70710678118654752440));
                /* A value is off by half of the scale in int8, and by two roundings of up to 127, of the factor and of
                 * what it gives, each 2^-24 of that; by the unit roundoff of bf16 where activations are rounded too.
                 * A sum in single precision has a rounding of 2^-24 for each of its terms and for what is done to it:
                 * scale and its factor, bias, those of GELU (4 EPS of 1 or of itself in check_kernels), the sum
                 * `into` and what takes it back here. GELU's slope is below 1.13. */
                double limit = 1.13 * ((precision >= PALME_INT8 ? most * (1 / 254.0 + 2 * 0x1p-24) * weights : 0) +
                                       (precision == PALME_BF16 && kernels.to_bf16 ? size_of * 0x1p-8 : 0)) +
                               1.13 * (size_of + 2) * (in + 8) * 0x1p-24;
                wrong += !(fabs(found - wanted) <= limit);
            }
        }
        CHECK_MESSAGE(wrong == 0, "%s %s, %d x %d: %zu values are too far off", kernels.level,
                      palme_precision_name(precision), rows, in, wrong);
        /* A table that is tied to a layer has its weights. */
        for (int o = 0; precision != PALME_INT4 && o < 400; o += 7) {
            const struct palme_table tied = { .precision = precision, .tied = &b.l };
            float *row = malloc((size_t)in * sizeof *row);

            palme_table_row(row, &tied, (size_t)o, in);
            CHECK_MESSAGE(memcmp(row, b.w + (size_t)(o * in), (size_t)in * 4) == 0, "%s: row %d of %d is another",
                          palme_precision_name(precision), o, in);
            free(row);
        }
        layer_free(&a), layer_free(&b), free(x), free(y), free(into);
    }
    palme_pool_close(&pool);
}

/* ---- The whole model ------------------------------------------------------------------------ */

struct numbers {
    float *context, *logits; /* [patches][E], [IDS][V] */
    size_t contexts, all;
    int narrows, blas; /* activations in bf16 are rounded; products of many rows in f32 are done by BLAS */
    int packed;        /* keys and values of the picture are in bf16 */
};

static struct numbers run(const char *path, const char *level, const char *precision)
{
    static const int ids[IDS] = { 1, 5, 9, 3, 7, 11, 2, 4, 8 };
    struct numbers n;
    struct sentence s;
    struct host h;

    if (host_open(&h, path, 2, level, host_precision_find(precision), NULL, NULL) < 0 || sentence_open(&s, &h, IDS) < 0)
        exit(1);
    const struct palme_config *p = &h.model->config;
    float *image = malloc(3 * (size_t)p->image_size * (size_t)p->image_size * sizeof *image);

    for (int i = 0; i < 3 * p->image_size * p->image_size; i++)
        image[i] = (float)((i * 7919) % 256) / 255;
    n.contexts = (size_t)palme_config_patches(p) * (size_t)p->encoder.dim;
    n.all = (size_t)IDS * (size_t)p->vocabulary;
    n.context = malloc(n.contexts * sizeof *n.context);
    n.logits = malloc(n.all * sizeof *n.logits);
    n.narrows = h.model->kernels.to_bf16 != NULL;
    if (h.model->precision == PALME_INT4) { /* what few rows see, and nothing else */
        const struct palme_decoder *decoder = &h.model->weights.decoder;
        const struct palme_decoder_layer *layer = &decoder->layers[p->decoder.depth - 1];

        CHECK(layer->self.q.precision == PALME_INT4 && layer->self.k.precision == PALME_INT4);
        CHECK(layer->self.v.precision == PALME_INT4 && layer->self.out.precision == PALME_INT4);
        CHECK(layer->mlp.up.precision == PALME_INT4 && layer->mlp.down.precision == PALME_INT4);
        if (p->cross_attend) {
            CHECK(layer->cross.q.precision == PALME_INT4 && layer->cross.out.precision == PALME_INT4);
            CHECK(layer->cross.k.precision == PALME_INT8 && layer->cross.v.precision == PALME_INT8);
        }
        CHECK(decoder->logits.precision == PALME_INT8 && decoder->embedding.precision == PALME_INT8);
        CHECK(h.model->weights.encoder.layers[0].mlp.up.precision == PALME_INT8);
    }
    n.packed = p->cross_attend && palme_picture_is_packed(h.model, 0);
    n.blas = h.model->weights.encoder.patch.layout == PALME_LAYOUT_ROWS;
    host_encode(&h, image);
    memcpy(n.context, h.context, n.contexts * sizeof *n.context);
    host_see(&h, &s);
    host_begin(&h, &s);
    host_feed(&h, n.logits, &s, ids, IDS, 0);
    free(image);
    sentence_close(&s);
    host_close(&h);
    return n;
}

/* The root of the mean square of a - b, in deviations of b. */
static double distance(const float *a, const float *b, size_t n)
{
    double square = 0, sum = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        sum += b[i];
        all += (double)b[i] * b[i];
    }
    return sqrt(square / (double)n) / sqrt(all / (double)n - sum / (double)n * (sum / (double)n));
}

static void numbers_free(struct numbers *n)
{
    free(n->context), free(n->logits);
}

static int same_numbers(const struct numbers *a, const struct numbers *b)
{
    return memcmp(a->context, b->context, a->contexts * 4) == 0 && memcmp(a->logits, b->logits, a->all * 4) == 0;
}

/* The numbers of a shape by the first level with vectors that result them, in each precision. */
struct vectors {
    struct numbers first[PALME_PRECISIONS];
    int known[PALME_PRECISIONS];
};

/* Compares numbers with those of the other levels with vectors, or keeps them to be compared with. */
static void check_same(struct vectors *v, const struct numbers *n, enum palme_precision precision, const char *level)
{
    if (v->known[precision])
        CHECK_MESSAGE(same_numbers(n, &v->first[precision]), "%s, %s: other bits than at the first level with vectors",
                      level, palme_precision_name(precision));
    else
        v->first[precision] = *n;
}

/* Done with the numbers of a level; those of the first one with vectors stay. */
static void keep_or_free(struct vectors *v, struct numbers *n, enum palme_precision precision, int plain,
                         const char *level)
{
    if (!plain)
        check_same(v, n, precision, level);
    if (plain || v->known[precision])
        numbers_free(n);
    else
        v->known[precision] = 1;
}

static void check_model(const char *shape, const char *level, struct vectors *vectors)
{
    const int plain = strcmp(level, "c") == 0;
    const char *path = temporary("model.safetensors");
    struct builder *b = builder_new(shape, 11);
    int depth = (int)json_integer_value(json_object_get(b->config, "encoder_depth")) +
                (int)json_integer_value(json_object_get(b->config, "decoder_depth"));
    /* A row's largest value is up to some six deviations, so that rounding it to 254 steps adds errors of
     * 6 / 127 / sqrt(12) deviations; each layer has six such inputs at most, whose errors add up like squares. */
    double tolerance = 6 / 127.0 / sqrt(12) * sqrt(6.0 * depth + 2);
    /* A weight in 4 bits is off by a uniform part of a step, and the largest of 32 weights, some three deviations, has
     * eight steps; in all layers of the decoder. */
    double tolerance_4 = tolerance + 3 / 8.0 / sqrt(12) * sqrt(6.0 * depth);
    int kept[2] = { 0 };

    builder_convert_all(b, "BF16");
    builder_write(b, path);
    struct numbers f32 = run(path, level, "f32"), low = run(path, level, "bf16");
    double far = distance(low.logits, f32.logits, f32.all);
    if (!low.narrows && !f32.blas)
        CHECK_MESSAGE(low.packed ? memcmp(low.context, f32.context, low.contexts * 4) == 0 : same_numbers(&low, &f32),
                      "%s: bf16 differs from f32 with the same weights: logits by %g deviations", level, far);
    /* The same inputs are off by the unit roundoff of bf16, or of cross-attention those keys and values that are; or by
     * that of sums in another order, where up to 384 = 2^8.6 roundings of 2^-24 add up like squares. */
    CHECK_MESSAGE(far <= sqrt(6.0 * depth + 2) * (low.narrows || low.packed ? 0x1p-8 : 0x1p-19),
                  "%s: bf16: logits are off by %g deviations", level, far);
    CHECK_MESSAGE(!low.packed || far > 0, "%s: bf16: keys and values are not rounded", level);
    if (!plain) {
        check_same(vectors, &f32, PALME_F32, level);
        if (!low.narrows)
            check_same(vectors, &low, PALME_BF16, level);
        kept[0] = !vectors->known[PALME_F32], kept[1] = !low.narrows && !vectors->known[PALME_BF16];
        vectors->known[PALME_F32] |= kept[0], vectors->known[PALME_BF16] |= kept[1];
    }
    if (!kept[0])
        numbers_free(&f32);
    if (!kept[1])
        numbers_free(&low);

    builder_convert_all(b, "F32");
    builder_convert_all(b, "I8");
    builder_write(b, path);
    f32 = run(path, level, "f32");
    low = run(path, level, "int8");
    double near = distance(low.context, f32.context, f32.contexts);
    far = distance(low.logits, f32.logits, f32.all);
    printf("%s, int8: encoder off by %.4f deviations, logits by %.4f, tolerance %.4f\n", level, near, far, tolerance);
    CHECK_MESSAGE(near <= tolerance && far <= tolerance, "int8: encoder off by %g deviations, logits by %g", near, far);
    CHECK_MESSAGE(near > 0 && far > 0, "int8 is not computed");
    keep_or_free(vectors, &low, PALME_INT8, plain, level);
    low = run(path, level, "int4");
    far = distance(low.logits, f32.logits, f32.all);
    CHECK_MESSAGE(distance(low.context, f32.context, f32.contexts) == near, "%s, int4: the encoder is not that of int8",
                  level);
    CHECK_MESSAGE(far <= tolerance_4 && far > 0, "%s, int4: logits are off by %g deviations", level, far);
    keep_or_free(vectors, &low, PALME_INT4, plain, level);
    numbers_free(&f32);
    builder_free(b);
}

int main(void)
{
    static struct vectors vectors[sizeof shapes / sizeof *shapes];

    for (int l = PALME_CPU_C; l < PALME_CPU_LEVELS; l++) {
        const char *level = palme_cpu_name((enum palme_cpu_level)l);

        if (!palme_cpu_has((enum palme_cpu_level)l))
            continue;
        check_layers(level);
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            check_model(shapes[k], level, &vectors[k]);
    }
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (int p = 0; p < PALME_PRECISIONS; p++)
            numbers_free(&vectors[k].first[p]);
    return check_done();
}
