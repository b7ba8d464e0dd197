/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_stem.c - the stem cut into bands and chunks against the stem map by map.
 *
 * How the work is cut changes no number, so the same kernels called plainly, one whole map after the other, must give
 * the same bits: at each level of this machine, in each precision, for any number of threads and for pictures of which
 * some blocks are cut into bands and some into chunks. Scratch and workspace are as large as the engine says and end
 * at a page that cannot be touched. What the kernels themselves compute is for check_kernels and check_precision to
 * judge.
 */
#include "support/check.h"
#include "support/kernelhost.h"
#include "nn/model.h"
#include "support/model_builder.h"
#include "base/util.h"

static int same_before(int m, int size, int stride)
{
    int total = ((m + stride - 1) / stride - 1) * stride + size - m;

    return total > 0 ? total / 2 : 0;
}

/* The rows of a map [height][row] under a filter of `size` rows whose first is `top`; NULL outside. */
static void rows_under(const float *rows[5], const float *x, int height, size_t row, int top, int size)
{
    for (int ky = 0; ky < size; ky++)
        rows[ky] = top + ky < 0 || top + ky >= height ? NULL : x + (size_t)(top + ky) * row;
}

static float *first_convolution(const palme_model *model, const float *pixels, int height, int width)
{
    int out_height = (height + 1) / 2, out_width = (width + 1) / 2;
    size_t count = (size_t)height * (size_t)width * 3, row = (size_t)out_width * PALME_STEM_FIRST;
    float *mapped = malloc(count * sizeof *mapped), *y = malloc((size_t)out_height * row * sizeof *y);

    for (size_t i = 0; i < count; i++)
        mapped[i] = (255 * pixels[i] - 127) / 128;
    for (int i = 0; i < out_height; i++) {
        const float *rows[5];

        rows_under(rows, mapped, height, (size_t)width * 3, 2 * i - same_before(height, 3, 2), 3);
        model->kernels.conv_rgb(y + (size_t)i * row, rows, model->weights.encoder.stem.conv,
                                model->weights.encoder.stem.conv_bias, out_width, width, same_before(width, 3, 2),
                                PALME_STEM_FIRST);
    }
    free(mapped);
    return y;
}

static float *linear(struct palme_compute *c, const float *x, const struct palme_linear *l, int rows)
{
    float *y = malloc((size_t)rows * (size_t)l->out * sizeof *y);

    palme_linear(c, y, x, l, rows);
    return y;
}

/* What the depthwise filter of a block in bytes gives: [out_height][out_width][middle]. */
static uint8_t *narrow_bytes(const palme_model *model, struct palme_compute *c, const struct palme_stem_block *block,
                             const float *x, int height, int width, const struct palme_depthwise *shape)
{
    int out_height = (height + block->stride - 1) / block->stride,
        top = same_before(height, block->size, block->stride);
    size_t group = (size_t)width * (size_t)block->middle * 4, out_row = (size_t)shape->width * (size_t)block->middle;
    struct palme_rows rows = palme_quantize_rows(c, c->workspace, x, &block->expand, height * width, NULL);
    uint8_t *wide = malloc((size_t)(height + 11) / 4 * group), *narrow = malloc((size_t)out_height * out_row);

    memset(wide, 0xff, (size_t)(height + 11) / 4 * group); /* a group before the map and one behind it */
    for (int row = 0; row < height; row += 4)
        palme_linear_part_to_bytes(&model->kernels, wide + (size_t)(row / 4 + 1) * group, &rows, row * width,
                                   height - row < 4 ? height - row : 4, width, width, &block->expand, 0, block->middle,
                                   block->middle);
    for (int i = 0; i < out_height; i++) {
        int first = i * block->stride - top + 4;
        struct palme_depthwise_window under = {
            { wide + (size_t)(first / 4) * group, wide + (size_t)(first / 4 + 1) * group }, first % 4, 0
        };

        for (int ky = 0; ky < block->size; ky++)
            under.inside |= (unsigned)(first - 4 + ky >= 0 && first - 4 + ky < height) << ky;
        model->kernels.depthwise_bytes(narrow + (size_t)i * out_row, &under, block->taps, block->taps_scale,
                                       block->depthwise_bias, shape);
    }
    free(wide);
    return narrow;
}

/* One block; x is freed. */
static float *whole_block(const palme_model *model, struct palme_compute *c, const struct palme_stem_block *block,
                          float *x, int *height, int *width)
{
    int out_height = (*height + block->stride - 1) / block->stride,
        out_width = (*width + block->stride - 1) / block->stride;
    size_t row = (size_t)*width * (size_t)block->middle, out_row = (size_t)out_width * (size_t)block->middle;
    float *wide = block->taps ? NULL : block->expand.w ? linear(c, x, &block->expand, *height * *width) : x;
    float *narrow = malloc((size_t)out_height * out_row * sizeof *narrow), *y;
    struct palme_depthwise shape = { .width = out_width,
                                     .in_width = *width,
                                     .left = same_before(*width, block->size, block->stride),
                                     .channels = block->middle,
                                     .size = block->size,
                                     .stride = block->stride,
                                     .y_stride = block->middle,
                                     .x_stride = block->middle,
                                     .w_stride = block->middle };

    for (int i = 0; wide && i < out_height; i++) {
        const float *rows[5];

        rows_under(rows, wide, *height, row, i * block->stride - same_before(*height, block->size, block->stride),
                   block->size);
        model->kernels.depthwise(narrow + (size_t)i * out_row, rows, block->depthwise, block->depthwise_bias, &shape);
    }
    if (block->taps) {
        uint8_t *bytes = narrow_bytes(model, c, block, x, *height, *width, &shape);
        struct palme_rows result = { (const char *)bytes, (size_t)block->middle, NULL };

        y = malloc((size_t)out_height * (size_t)out_width * (size_t)block->out * sizeof *y);
        palme_linear_rows(c, y, &result, &block->project, out_height * out_width);
        free(bytes);
    } else {
        y = linear(c, narrow, &block->project, out_height * out_width);
    }
    if (block->skip)
        palme_add(c, y, x, out_height * out_width, block->out);
    if (wide != x)
        free(wide);
    free(narrow);
    free(x);
    *height = out_height;
    *width = out_width;
    return y;
}

/* The stem map by map: features[height / 32 * width / 32][1280], to be freed. */
static float *whole_stem(const palme_model *model, const float *pixels, int height, int width)
{
    const struct palme_stem *stem = &model->weights.encoder.stem;
    int h = (height + 1) / 2, w = (width + 1) / 2;
    size_t largest = 64;
    struct palme_compute c = { .kernels = &model->kernels };
    float *x = first_convolution(model, pixels, height, width);

    for (int i = 0; i < stem->blocks; i++) {
        largest = max_size(largest, palme_linear_workspace(&model->kernels, &stem->block[i].expand, h * w));
        largest = max_size(largest, palme_linear_workspace(&model->kernels, &stem->block[i].project, h * w));
    }
    c.workspace = aligned_alloc(64, max_size(largest, palme_linear_workspace(&model->kernels, &stem->head, h * w)));
    for (int i = 0; i < stem->blocks; i++)
        x = whole_block(model, &c, &stem->block[i], x, &h, &w);
    float *features = linear(&c, x, &stem->head, h * w);
    free(x);
    free(c.workspace);
    return features;
}

/* The taps of a model in int8 are those of the same model in f32, to half a step of their channel's scale, and to the
 * roundings of the scale, of its inverse and of the products with them: 4 times 2^-24 of up to 127 steps. */
static void check_taps(const palme_model *int8, const palme_model *f32)
{
    for (int i = 1; i < int8->weights.encoder.stem.blocks; i++) {
        const struct palme_stem_block *a = &int8->weights.encoder.stem.block[i],
                                      *b = &f32->weights.encoder.stem.block[i];
        int wrong = 0;

        for (int at = 0; at < a->size * a->size * a->middle; at++) {
            int c = at % a->middle, kx = at / a->middle % a->size, ky = at / a->middle / a->size;
            const int8_t *group = a->taps + ((ky / 4 * a->size + kx) * a->middle + c) * 4;

            wrong += !(fabs((double)group[ky % 4] * a->taps_scale[c] - b->depthwise[at]) <=
                       (0.5 + 4 * 127 * 0x1p-24) * a->taps_scale[c]);
            for (int rest = ky % 4 + 1; ky == a->size - 1 && rest < 4; rest++)
                wrong += group[rest] != 0;
        }
        CHECK_MESSAGE(!wrong, "block %d: %d taps are others than in f32", i, wrong);
    }
}

static palme_model *open_stem(const char *path, const char *level, const char *precision, int threads)
{
    struct heard heard = { 0 };
    struct palme_setup setup = {
        .threads = threads, .level = level, .precision = precision, .log = heard_log, .log_user = &heard
    };
    palme_model *model = NULL;

    CHECK_MESSAGE(palme_model_open(&model, path, &setup) == PALME_OK, "not opened: %s", heard.error);
    if (!model)
        exit(check_done());
    return model;
}

/* A picture by a model, against the features that it must have. */
static void check_picture(const palme_model *model, const float *pixels, int height, int width, const float *wanted)
{
    size_t count = (size_t)(height / 32) * (size_t)(width / 32) * PALME_STEM_FEATURES;
    struct palme_arena arena = { 0 };
    struct palme_compute c = { .kernels = &model->kernels, .pool = model->pool };

    palme_stem_reserve(&arena, model, height, width);
    struct buffer scratch = buffer_of_bytes(arena.most), features = buffer_of_bytes(count * sizeof(float));

    memset(scratch.data, 0xff, scratch.bytes); /* NaN: what is read before it is written shows */
    arena = palme_arena_over(scratch.data, scratch.bytes);
    palme_stem_run(model, &c, features.data, pixels, height, width, &arena);
    CHECK(!arena.overflow && arena.used == 0);
    CHECK_MESSAGE(memcmp(features.data, wanted, count * sizeof *wanted) == 0,
                  "%s %s, %d threads, %d x %d: other features", model->kernels.level,
                  palme_precision_name(model->precision), model->threads, width, height);
    CHECK_MESSAGE(buffer_guarded(&scratch) && buffer_guarded(&features),
                  "%s %s, %d threads, %d x %d: wrote before its memory", model->kernels.level,
                  palme_precision_name(model->precision), model->threads, width, height);
    buffer_free(&scratch), buffer_free(&features);
}

/* A picture with its features, of which some are between the bounds of ReLU6 or the comparison would say little. */
static void check_size(palme_model *const models[], int count, int height, int width)
{
    size_t values = (size_t)height * (size_t)width * 3, inside = 0;
    float *pixels = malloc(values * sizeof *pixels), *wanted;

    for (size_t i = 0; i < values; i++)
        pixels[i] = (float)fabs(random_unit());
    wanted = whole_stem(models[0], pixels, height, width);
    for (int i = 0; i < PALME_STEM_FEATURES; i++)
        inside += wanted[i] > 0 && wanted[i] < 6;
    CHECK_MESSAGE(inside > PALME_STEM_FEATURES / 100, "only %zu features of %d are inside", inside,
                  PALME_STEM_FEATURES);
    for (int m = 0; m < count; m++)
        check_picture(models[m], pixels, height, width, wanted);
    free(pixels);
    free(wanted);
}

int main(void)
{
    static const char *const precisions[] = { "f32", "bf16", "int8" };
    static const int sizes[][2] = { { 32, 32 }, { 96, 64 }, { 32, 224 }, { 160, 192 }, { 256, 256 } };
    static const int threads[] = { 1, 2, 5 };
    const char *path = temporary("model.safetensors");
    struct builder *b = builder_new("{\"stem\":\"efficientnet_lite2\",\"image_size\":32,\"patch_size\":32}", 1);

    random_state = 1;
    for (size_t i = 0; i < b->count; i++) { /* filters of many taps, tamed so that not all of it saturates */
        struct built_tensor *t = &b->tensors[i];

        if (strncmp(t->name, "encoder.stem.", 13) == 0 && t->rank == 4) {
            long long taps = t->shape[1] * t->shape[2] * t->shape[3];
            float *values = malloc(t->count * sizeof *values);

            for (size_t k = 0; k < t->count; k++)
                values[k] = (float)(random_unit() * sqrt(6.0 / (double)taps));
            memcpy(t->bytes, values, t->count * sizeof *values);
            memcpy(t->values, values, t->count * sizeof *values);
            free(values);
        }
    }
    builder_write(b, path);
    palme_model *int8 = open_stem(path, "c", "int8", 1), *f32 = open_stem(path, "c", "f32", 1);
    check_taps(int8, f32);
    palme_model_close(&int8);
    palme_model_close(&f32);
    for (int l = PALME_CPU_C; l < PALME_CPU_LEVELS; l++) {
        for (int p = 0; p <= PALME_INT8 && palme_cpu_has((enum palme_cpu_level)l); p++) {
            const char *level = palme_cpu_name((enum palme_cpu_level)l);
            int count = l == PALME_CPU_C ? 1 : 3, some = l == PALME_CPU_C ? 3 : (int)(sizeof sizes / sizeof *sizes);
            palme_model *models[3] = { NULL };

            /* Plain C is slow, and cut in the same way; with its f32 goes BLAS, whose sums depend on the portions. */
            int only = p == PALME_F32 && palme_blas() ? 0 : 2;
            for (int m = 0; m < count; m++)
                models[m] = open_stem(path, level, precisions[p], threads[count == 1 ? only : m]);
            for (int s = 0; s < some; s++)
                check_size(models, count, sizes[s][0], sizes[s][1]);
            for (int m = 0; m < count; m++)
                palme_model_close(&models[m]);
        }
    }
    unlink(path);
    builder_free(b);
    return check_done();
}
