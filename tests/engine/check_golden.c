/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_golden.c - every stage of the engine against recorded numbers of the reference.
 *
 *     check_golden [--model FILE] [--level NAME] PATH...
 *
 * A folder holds expected.safetensors and one of: model.safetensors, a model file of its own or a plain
 * checkpoint beside a config.json with the constructor's arguments; generate.json, whose weights come from a
 * formula; nothing, and then --model names the model file. variants.safetensors beside it is compared as well.
 * A file named sampling.safetensors is compared with the filters. Other paths that are no folders are ignored.
 *
 * --level names the instruction set of the kernels; without it they are the machine's best.
 *
 * Each compared tensor gets a line with the largest absolute difference and the tolerance; the exit status is
 * 0 only if none is missed. Tolerances are those of the fixtures' description; they are never widened here.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/arenahost.h"
#include "nn/model.h"
#include "io/safetensors.h"
#include "support/generated.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int lines, missed;
static const char *kernels; /* the level that was asked for, or NULL */

static void compare_line(const char *folder, const char *name, double difference, double tolerance)
{
    int ok = difference <= tolerance; /* false for NaN */

    printf("%s %s/%s: largest difference %.3g, tolerance %.3g\n", ok ? "ok  " : "MISS", folder, name, difference,
           tolerance);
    lines++;
    missed += !ok;
}

static void problem(const char *folder, const char *what)
{
    printf("MISS %s: %s\n", folder, what);
    lines++;
    missed++;
}

static void print_log(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    if (level != PALME_LOG_INFO)
        fprintf(stderr, "%s\n", message);
}

static const struct palme_log logger = { .function = print_log };

static double largest_difference(const float *a, const float *b, size_t n)
{
    double largest = 0;

    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);

        if (!(d <= largest))
            largest = d;
    }
    return largest;
}

/* ---- Recorded tensors --------------------------------------------------------------------- */

struct record {
    struct palme_safetensors *file;
    const char *folder;
};

static const struct palme_tensor *find(const struct record *r, const char *name)
{
    struct palme_tensor *tensor = palme_safetensors_find(r->file, name);

    if (tensor)
        tensor->used = 1;
    return tensor;
}

static float *floats(const struct record *r, const char *name, int64_t *count)
{
    const struct palme_tensor *tensor = find(r, name);
    float *out = NULL;

    if (tensor && tensor->dtype == PALME_DTYPE_F32 && (out = malloc((size_t)tensor->count * sizeof *out)) != NULL) {
        palme_tensor_read_raw(r->file, out, tensor, 0, tensor->count, &logger);
        if (count)
            *count = tensor->count;
    }
    return out;
}

/* I64 or I32 as int. */
static int *integers(const struct record *r, const char *name, int *count)
{
    const struct palme_tensor *tensor = find(r, name);

    if (!tensor || (tensor->dtype != PALME_DTYPE_I64 && tensor->dtype != PALME_DTYPE_I32))
        return NULL;
    int *out = malloc((size_t)tensor->count * sizeof *out);
    void *raw = malloc(tensor->bytes);
    palme_tensor_read_raw(r->file, raw, tensor, 0, tensor->count, &logger);
    for (int64_t i = 0; i < tensor->count; i++)
        out[i] = tensor->dtype == PALME_DTYPE_I64 ? (int)((int64_t *)raw)[i] : ((int32_t *)raw)[i];
    free(raw);
    *count = (int)tensor->count;
    return out;
}

/* ---- The engine, driven from inside ------------------------------------------------------- */

struct engine {
    palme_model *model;
    struct palme_compute compute;
    struct palme_rotary rotary;
    struct palme_cache cache;
    struct palme_picture picture;
    float *pixels, *context, *mapped;
    struct palme_arena scratch;
    int tokens;    /* image tokens in `context` */
    int plain;     /* a checkpoint of the reference: a missing cross-attention means no image at all */
    int rows_most; /* rows of the decoder's scratch */
    double encoder_tolerance, logits_tolerance;
};

static float *allocate(size_t count)
{
    float *memory = calloc(count ? count : 1, sizeof *memory);

    if (!memory)
        abort();
    return memory;
}

static void engine_begin(struct engine *e)
{
    const struct palme_config *p = &e->model->config;
    size_t inner = (size_t)palme_stack_inner(&p->decoder), tokens = (size_t)palme_config_image_tokens(p);
    size_t positions = (size_t)p->context, side = (size_t)p->image_size;

    e->compute = (struct palme_compute){ .kernels = &e->model->kernels, .pool = e->model->pool };
    e->rows_most = tokens > 64 ? (int)tokens : 64;
    e->rotary =
        (struct palme_rotary){ allocate(positions * PALME_ROTARY), allocate(positions * PALME_ROTARY),
                               allocate(positions * PALME_ROTARY), allocate(positions * PALME_ROTARY), (int)positions };
    e->cache = (struct palme_cache){ .kv = allocate(2 * (size_t)p->decoder.depth * positions * inner),
                                     .capacity = (int)positions };
    e->picture = picture_for_model(e->model, (int)tokens);
    e->pixels = allocate(side * side * 3);
    e->context = allocate(tokens * (size_t)p->encoder.dim);
    e->mapped = allocate(tokens * (size_t)p->decoder.dim);
    e->scratch = scratch_for_model(e->model, e->rows_most);
}

static void engine_end(struct engine *e)
{
    void *all[] = { e->rotary.cos, e->rotary.sin, e->rotary.gain, e->rotary.anti, e->cache.kv,
                    e->picture.kv, e->pixels,     e->context,     e->mapped,      (void *)e->scratch.base };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    palme_model_close(&e->model);
}

/* Whether the model takes pictures of these sides: whole patches, and no more than its memory here was made for. */
static int engine_sees(const struct engine *e, int64_t height, int64_t width)
{
    const struct palme_config *p = &e->model->config;

    return height > 0 && width > 0 && height % p->patch_size == 0 && width % p->patch_size == 0 &&
           height <= (int64_t)p->image_size * p->image_size / width;
}

/* Runs the encoder on image[3][height][width] and shows the decoder the result. */
static void engine_see(struct engine *e, const float *image, int height, int width)
{
    size_t area = (size_t)height * (size_t)width;

    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < 3; c++)
            e->pixels[3 * i + c] = image[c * area + i];
    e->tokens = palme_encode(e->model, &e->compute, e->context, NULL, e->pixels, height, width, &e->scratch);
    palme_decoder_see(e->model, &e->compute, &e->picture, e->mapped, e->context, e->tokens, &e->scratch);
}

/* Forgets the text; a prefix decoder reads its image tokens. */
static void engine_restart(struct engine *e, int center)
{
    const struct palme_config *p = &e->model->config;

    palme_rotary_fill(&e->rotary, &e->model->weights.decoder, center);
    e->cache.length = e->cache.visible = 0;
    if (p->cross_attend || e->plain)
        return;
    struct palme_row *rows = calloc((size_t)e->tokens, sizeof *rows);
    for (int i = 0; i < e->tokens; i++)
        rows[i] = (struct palme_row){ .cache = &e->cache,
                                      .picture = &e->picture,
                                      .rotary = &e->rotary,
                                      .embedding = e->mapped + (size_t)i * p->decoder.dim };
    e->cache.visible = e->tokens;
    palme_decode(e->model, &e->compute, NULL, rows, e->tokens, e->tokens, &e->scratch);
    free(rows);
}

/* Feeds n tokens behind what the cache has, as many at a time as the decoder's scratch has rows. logits[count][V]
 * receives those of the tokens `wanted`, which ascend. */
static void engine_feed(struct engine *e, float *logits, const int *tokens, int n, const int *wanted, int count)
{
    size_t v = (size_t)e->model->config.vocabulary;
    struct palme_row *rows = calloc((size_t)e->rows_most, sizeof *rows);
    float *some = allocate((size_t)e->rows_most * v);

    for (int first = 0, at = 0; first < n; first += e->rows_most) {
        int end = n - first < e->rows_most ? n : first + e->rows_most;
        int from = at < count && wanted[at] < end ? wanted[at] : end;

        for (int i = first; i < end; i++)
            rows[i - first] = (struct palme_row){
                .cache = &e->cache, .picture = &e->picture, .rotary = &e->rotary, .token = tokens[i]
            };
        palme_decode(e->model, &e->compute, some, rows, end - first, from - first, &e->scratch);
        for (; at < count && wanted[at] < end; at++)
            memcpy(logits + (size_t)at * v, some + (size_t)(wanted[at] - from) * v, v * sizeof *logits);
    }
    free(rows);
    free(some);
}

/* Whether n tokens are in the vocabulary and fit the model's context, behind the image tokens that a prefix decoder
 * keeps there. What a recording says is looked at before the engine, which trusts its callers, sees it. */
static int engine_takes(const struct engine *e, const int *tokens, int n)
{
    const struct palme_config *p = &e->model->config;

    for (int i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= p->vocabulary)
            return 0;
    return n > 0 && n <= e->cache.capacity - (p->cross_attend || e->plain ? 0 : e->tokens);
}

/* logits[count][V] of the given rows of a text of n tokens. */
static float *engine_logits(struct engine *e, const int *tokens, int n, int center, const int *wanted, int count)
{
    float *logits = allocate((size_t)count * (size_t)e->model->config.vocabulary);

    engine_restart(e, center);
    engine_feed(e, logits, tokens, n, wanted, count);
    return logits;
}

/* ---- Comparisons -------------------------------------------------------------------------- */

/* "logits" and "_0" become "logits_0". */
static const char *named(char out[96], const char *name, const char *suffix)
{
    snprintf(out, 96, "%s%s", name, suffix);
    return out;
}

/* pixels[height][width][3] of this suffix, or NULL. */
static uint8_t *pixels_of(const struct record *r, const char *suffix)
{
    char name[96];
    const struct palme_tensor *tensor = find(r, named(name, "pixels", suffix));
    uint8_t *pixels = NULL;

    if (tensor && tensor->dtype == PALME_DTYPE_U8 && (pixels = malloc(tensor->bytes)) != NULL)
        palme_tensor_read_raw(r->file, pixels, tensor, 0, tensor->count, &logger);
    return pixels;
}

/* The picture of this suffix: image, or pixels / 255. NULL if there is none. */
static float *picture_of(const struct engine *e, const struct record *r, const char *suffix, int *height, int *width)
{
    char name[96];
    const struct palme_tensor *tensor = find(r, named(name, "image", suffix));
    float *image;
    uint8_t *pixels;

    if (tensor && (tensor->rank != 4 || !engine_sees(e, tensor->shape[2], tensor->shape[3]))) {
        problem(name, "the picture is none for this model");
        return NULL;
    }
    if ((image = floats(r, name, NULL)) != NULL) {
        *height = (int)tensor->shape[2];
        *width = (int)tensor->shape[3];
        return image;
    }
    if (!(pixels = pixels_of(r, suffix)))
        return NULL;
    tensor = find(r, named(name, "pixels", suffix));
    if (tensor->rank != 3 || tensor->shape[2] != 3 || !engine_sees(e, tensor->shape[0], tensor->shape[1])) {
        problem(name, "the picture is none for this model");
        free(pixels);
        return NULL;
    }
    *height = (int)tensor->shape[0];
    *width = (int)tensor->shape[1];
    size_t area = (size_t)*height * (size_t)*width;
    image = allocate(3 * area);
    for (size_t i = 0; i < 3 * area; i++)
        image[i % 3 * area + i / 3] = (float)pixels[i] / 255;
    free(pixels);
    return image;
}

static void compare_encoder(struct engine *e, const struct record *r, const char *name)
{
    int64_t count = 0;
    float *wanted = floats(r, name, &count);

    if (!wanted)
        return;
    if (count != (int64_t)e->tokens * e->model->config.encoder.dim)
        problem(name, "another number of values");
    else
        compare_line(r->folder, name, largest_difference(e->context, wanted, (size_t)count), e->encoder_tolerance);
    free(wanted);
}

static int ascend_below(const int *x, int n, int end)
{
    for (int i = 0; i < n; i++)
        if (x[i] < (i ? x[i - 1] : 0) || x[i] >= end)
            return 0;
    return n > 0;
}

/* Logits of the tokens with a centre, at the rows and columns that were recorded. */
static void compare_logits(struct engine *e, const struct record *r, const char *name, const int *tokens, int n,
                           int center, const char *rows_name)
{
    int64_t count = 0;
    int row_count = 0, column_count = 0, vocabulary = e->model->config.vocabulary;
    float *wanted = floats(r, name, &count);
    int *rows = rows_name ? integers(r, rows_name, &row_count) : NULL;
    int *columns = integers(r, "logits_columns", &column_count);

    if (!wanted)
        goto end;
    if (!rows) {
        rows = malloc((size_t)n * sizeof *rows);
        for (row_count = 0; row_count < n; row_count++)
            rows[row_count] = row_count;
    }
    if (!columns) {
        columns = malloc((size_t)vocabulary * sizeof *columns);
        for (column_count = 0; column_count < vocabulary; column_count++)
            columns[column_count] = column_count;
    }
    if (count != (int64_t)row_count * column_count) {
        problem(name, "another number of values");
        goto end;
    }
    if (!engine_takes(e, tokens, n) || !ascend_below(rows, row_count, n) ||
        !ascend_below(columns, column_count, vocabulary)) {
        problem(name, "tokens, rows or columns are not the model's");
        goto end;
    }
    float *found = engine_logits(e, tokens, n, center, rows, row_count);
    double largest = 0;
    int same = 1;
    for (int i = 0; i < row_count; i++) {
        int best = 0, best_wanted = 0;
        const float *line = found + (size_t)i * vocabulary, *wanted_line = wanted + (size_t)i * column_count;

        for (int j = 0; j < column_count; j++) {
            double d = fabs((double)line[columns[j]] - wanted_line[j]);

            if (!(d <= largest))
                largest = d;
            if (line[columns[j]] > line[columns[best]])
                best = j;
            if (wanted_line[j] > wanted_line[best_wanted])
                best_wanted = j;
        }
        same &= best == best_wanted || wanted_line[best_wanted] - wanted_line[best] <= 2 * e->logits_tolerance;
    }
    compare_line(r->folder, name, largest, e->logits_tolerance);
    if (!same)
        problem(name, "the largest logit of a row is another one");
    free(found);
end:
    free(wanted);
    free(rows);
    free(columns);
}

static double cross_entropy(struct engine *e, const int *tokens, int n, double *sum)
{
    int vocabulary = e->model->config.vocabulary, *rows = calloc((size_t)n, sizeof *rows), count = 0;

    for (int i = 0; i < n - 1; i++)
        rows[i] = i;
    float *logits = engine_logits(e, tokens, n - 1, (n - 1) / 2, rows, n - 1);
    for (int i = 0; i < n - 1; i++) {
        const float *line = logits + (size_t)i * vocabulary;

        if (tokens[i + 1] == -100)
            continue;
        *sum += e->model->kernels.log_sum_exp(line, vocabulary) - line[tokens[i + 1]];
        count++;
    }
    free(rows);
    free(logits);
    return count;
}

/* Whether these tokens have a loss: the last one is only a target, and -100 is a target that does not count. */
static int loss_takes(const struct engine *e, const int *tokens, int n)
{
    return n > 1 && engine_takes(e, tokens, n - 1) && (tokens[n - 1] == -100 || engine_takes(e, tokens + n - 1, 1));
}

static void compare_loss(struct engine *e, const struct record *r, const char *name, const int *tokens, int n)
{
    float *wanted = floats(r, name, NULL);
    double sum = 0;

    if (!wanted)
        return;
    if (!loss_takes(e, tokens, n)) {
        problem(name, "tokens are not the model's");
        free(wanted);
        return;
    }
    double count = cross_entropy(e, tokens, n, &sum);
    /* The mean of n > 10 differences of two values, each of which is off by a quarter of the logits' tolerance: 3e-5
     * / 4 * sqrt(2 / 10), five times over. */
    compare_line(r->folder, name, fabs(sum / count - wanted[0]), 1e-5);
    free(wanted);
}

static void compare_tokens(const char *folder, const char *name, const int *found, const int *wanted, int n)
{
    int different = 0;

    for (int i = 0; i < n; i++)
        different += found[i] != wanted[i];
    compare_line(folder, name, different, 0);
}

/* A greedy run with its logits and margins. center < 0: the reference's loop, which recomputes everything at
 * each step with the centre n / 2; as n / 2 is equal for an even n and the next, one cached step serves there. */
static void compare_greedy(struct engine *e, const struct record *r, const char *name, const int *prompt,
                           int prompt_count, int center)
{
    int steps = 0, vocabulary = e->model->config.vocabulary, n = prompt_count;
    int *wanted = integers(r, name, &steps);
    char other[96];

    if (!wanted)
        return;
    int64_t logit_count = 0, margin_count = 0;
    float *logits = floats(r, named(other, name, "_logits"), &logit_count);
    float *margins = floats(r, named(other, name, "_margin"), &margin_count);
    int *text = malloc((size_t)(prompt_count + steps) * sizeof *text), *found = text + prompt_count;
    float *row = allocate((size_t)vocabulary);
    double largest = 0, largest_margin = 0;

    memcpy(text, prompt, (size_t)prompt_count * sizeof *text);
    memcpy(found, wanted, (size_t)steps * sizeof *text);
    if (!engine_takes(e, text, prompt_count + steps) || (logits && logit_count != (int64_t)steps * vocabulary) ||
        (margins && margin_count != steps)) {
        problem(name, "prompt and tokens are not the model's, or another number of values");
        steps = 0;
    }
    for (int step = 0; step < steps; step++, n++) {
        if (step == 0 || (center < 0 && n % 2 == 0)) {
            engine_restart(e, center < 0 ? n / 2 : center);
            engine_feed(e, row, text, n, (int[]){ n - 1 }, 1);
        } else {
            engine_feed(e, row, text + n - 1, 1, (int[]){ 0 }, 1);
        }
        int best = e->model->kernels.argmax(row, vocabulary);
        float second = -INFINITY;
        for (int i = 0; i < vocabulary; i++)
            if (i != best && row[i] > second)
                second = row[i];
        if (logits) {
            double d = largest_difference(row, logits + (size_t)step * vocabulary, (size_t)vocabulary);
            if (!(d <= largest))
                largest = d;
        }
        if (margins && !(fabs(row[best] - second - margins[step]) <= largest_margin))
            largest_margin = fabs(row[best] - second - margins[step]);
        text[n] = best;
    }
    if (logits)
        compare_line(r->folder, named(other, name, "_logits"), largest, e->logits_tolerance);
    if (margins) /* a difference of two logits */
        compare_line(r->folder, named(other, name, "_margin"), largest_margin, 2 * e->logits_tolerance);
    compare_tokens(r->folder, name, found, wanted, steps);
    free(wanted);
    free(logits);
    free(margins);
    free(text);
    free(row);
}

/* A caption by the public interface, from the frame or else from the floats, against recorded ids without the end
 * token. With `on`, the recorded run went on behind the end token, so only what stands before it counts. */
static void compare_caption(struct engine *e, const struct record *r, const char *name, const struct palme_image *frame,
                            const float *image, int height, int width, struct palme_options options, int on)
{
    int count = 0, found_count = 0, status;
    int *wanted = integers(r, name, &count);
    palme_session *session = NULL;
    const char *piece;
    char label[128];

    if (!wanted)
        return;
    if (on) {
        options.max_length = count;
        for (int i = 0; i < count; i++) {
            if (wanted[i] == e->model->config.eos_token) {
                count = i;
                options.max_length = i + 1;
            }
        }
    }
    snprintf(label, sizeof label, "%s by palme_next", name);
    status = palme_session_open(&session, e->model, &options);
    if (status == PALME_OK)
        status = frame ? palme_look(session, frame) : palme_look_planar(session, image, height, width);
    if (status == PALME_OK)
        status = palme_prompt(session, "");
    while (status == PALME_OK)
        status = palme_next(session, &piece);
    if (status != PALME_END) {
        problem(name, palme_strerror(status));
    } else {
        const int *found = palme_caption_tokens(session, &found_count);

        if (found_count && found[found_count - 1] == e->model->config.eos_token)
            found_count--;
        if (found_count != count)
            compare_line(r->folder, label, abs(found_count - count), 0);
        else
            compare_tokens(r->folder, label, found, wanted, count);
    }
    palme_session_close(&session);
    free(wanted);
}

/* Everything that belongs to one picture of expected.safetensors. */
static void compare_picture(struct engine *e, const struct record *r, const char *suffix)
{
    const int own = !e->plain;
    int height, width, n = 0, prompt_count = 0, count = 0;
    char name[96], other[96];
    float *image = picture_of(e, r, suffix, &height, &width);

    if (!image)
        return;
    engine_see(e, image, height, width);
    compare_encoder(e, r, named(name, "encoder_output", suffix));

    int *tokens = integers(r, named(name, "tokens", suffix), &n);
    if (tokens) {
        int center = own ? e->model->config.xpos_center : n / 2;

        compare_logits(e, r, named(name, "logits", suffix), tokens, n, center,
                       find(r, "logits_rows") ? "logits_rows" : NULL);
        if (find(r, "palme_logits"))
            compare_logits(e, r, "palme_logits", tokens, n - 1, (n - 1) / 2, NULL);
        compare_loss(e, r, "palme_loss", tokens, n);
    }
    uint8_t *pixels = pixels_of(r, suffix);
    const struct palme_image frame = {
        .format = PALME_FORMAT_RGB, .width = width, .height = height, .planes = { pixels }, .strides = { 3 * width }
    };
    int *prompt = integers(r, "prompt", &prompt_count);
    if (prompt) {
        compare_greedy(e, r, "greedy_reference", prompt, prompt_count, -1);
        for (int c = 0; c <= e->model->config.context; c++) {
            snprintf(other, sizeof other, "greedy_fixed_centre_%d", c);
            if (find(r, other))
                compare_greedy(e, r, other, prompt, prompt_count, c);
        }
    }
    if (own) {
        const struct palme_tensor *greedy = find(r, named(name, "greedy_tokens", suffix));
        const int *limit = integers(r, "beam_max_length", &count);
        struct palme_options options = { .beams = 1, .min_length = 1, .no_repeat_ngram = -1 };

        compare_greedy(e, r, name, (int[]){ e->model->config.bos_token }, 1, e->model->config.xpos_center);
        if (greedy) {
            compare_caption(e, r, name, pixels ? &frame : NULL, image, height, width, options, 1);
        }
        options.beams = 3;
        options.length_penalty = 0.7;
        options.max_length = limit ? limit[0] : 30;
        compare_caption(e, r, named(name, "beam_tokens", suffix), pixels ? &frame : NULL, image, height, width, options,
                        0);
        free((void *)limit);
    }
    free(pixels);
    free(tokens);
    free(prompt);
    free(image);
}

/* Texts of several lengths about the one picture: tokens_N, logits_rows_N, logits_N. */
static void compare_lengths(struct engine *e, const struct record *r)
{
    char tokens_name[96], rows_name[96], name[96];

    for (int n = 1; n <= e->model->config.context; n++) {
        int count = 0, *tokens;

        snprintf(rows_name, sizeof rows_name, "logits_rows_%d", n);
        if (!find(r, rows_name))
            continue;
        snprintf(tokens_name, sizeof tokens_name, "tokens_%d", n);
        snprintf(name, sizeof name, "logits_%d", n);
        if ((tokens = integers(r, tokens_name, &count)) != NULL)
            compare_logits(e, r, name, tokens, count, e->model->config.xpos_center, rows_name);
        free(tokens);
    }
}

/* variants.safetensors: other pictures, ranges, batches and lengths. */
static void compare_variants(struct engine *e, const struct record *r)
{
    size_t count;
    struct palme_tensor *list = palme_safetensors_list(r->file, &count);
    int height, width, n = 0;
    float *image;

    for (size_t i = 0; i < count; i++) {
        const char *prefix = "encoder_output_", *name = list[i].name;

        if (strncmp(name, prefix, strlen(prefix)) != 0 || strcmp(name, "encoder_output_zero_image") == 0)
            continue;
        char suffix[64];
        snprintf(suffix, sizeof suffix, "_%s", name + strlen(prefix));
        if ((image = picture_of(e, r, suffix, &height, &width)) != NULL) {
            engine_see(e, image, height, width);
            compare_encoder(e, r, name);
        }
        free(image);
    }
    if (find(r, "encoder_output_zero_image")) {
        height = width = e->model->config.image_size;
        image = allocate((size_t)height * (size_t)width * 3);
        engine_see(e, image, height, width);
        compare_encoder(e, r, "encoder_output_zero_image");
        free(image);
    }

    const struct palme_tensor *shape = find(r, "batch2_image");
    image = floats(r, "batch2_image", NULL);
    int *tokens = integers(r, "batch2_tokens", &n), *ignore = integers(r, "tokens_ignore", &(int){ 0 });
    float *wanted = floats(r, "batch2_palme_logits", NULL), *loss = floats(r, "batch2_palme_loss", NULL);
    if (image && tokens && wanted && loss && ignore &&
        (!loss_takes(e, tokens, n / 2) || !loss_takes(e, tokens + n / 2, n / 2) || shape->rank != 4 ||
         !engine_sees(e, shape->shape[2], shape->shape[3]))) {
        problem("batch2_tokens", "tokens or pictures are not the model's");
    } else if (image && tokens && wanted && loss && ignore) {
        int vocabulary = e->model->config.vocabulary, *rows;
        double largest = 0, sum = 0, targets = 0;

        n /= 2;
        rows = malloc((size_t)n * sizeof *rows);
        for (int i = 0; i < n; i++)
            rows[i] = i;
        for (int b = 0; b < 2; b++) {
            size_t each = (size_t)(shape->count / 2), size = (size_t)(n - 1) * (size_t)vocabulary;

            engine_see(e, image + (size_t)b * each, (int)shape->shape[2], (int)shape->shape[3]);
            float *found = engine_logits(e, tokens + b * n, n - 1, (n - 1) / 2, rows, n - 1);
            double d = largest_difference(found, wanted + (size_t)b * size, size);
            if (!(d <= largest))
                largest = d;
            free(found);
            targets += cross_entropy(e, tokens + b * n, n, &sum);
        }
        compare_line(r->folder, "batch2_palme_logits", largest, e->logits_tolerance);
        compare_line(r->folder, "batch2_palme_loss", fabs(sum / targets - loss[0]), 1e-5);

        engine_see(e, image, (int)shape->shape[2], (int)shape->shape[3]);
        compare_loss(e, r, "loss_ignore_index", ignore, n);
        compare_logits(e, r, "len1_logits", tokens, 1, 0, NULL);
        free(rows);
    }
    free(image);
    free(tokens);
    free(ignore);
    free(wanted);
    free(loss);
}

static void list_uncompared(const struct record *r)
{
    size_t count;
    struct palme_tensor *list = palme_safetensors_list(r->file, &count);

    for (size_t i = 0; i < count; i++)
        if (!list[i].used)
            printf("note %s/%s: not known, not compared\n", r->folder, list[i].name);
}

/* ---- Sampling ----------------------------------------------------------------------------- */

/* FILTER_V_thresT_keep and FILTER_V_thresT_TX_probs against logits_V. */
static void compare_sampling(const char *path)
{
    struct record r = { .folder = path };
    size_t count;

    if (palme_safetensors_open(&r.file, path, 0, &logger) < 0) {
        problem(path, "cannot be read");
        return;
    }
    struct palme_tensor *list = palme_safetensors_list(r.file, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = list[i].name;
        int v, is_p = strncmp(name, "top_p", 5) == 0;
        double threshold, temperature = 1;
        char logits_name[32], what[16];

        if (sscanf(name + 5, "_%d_thres%lf_T%lf_%15s", &v, &threshold, &temperature, what) != 4) {
            temperature = 1;
            if (strncmp(name, "top_", 4) != 0 || sscanf(name + 5, "_%d_thres%lf_%15s", &v, &threshold, what) != 3)
                continue;
        }
        snprintf(logits_name, sizeof logits_name, "logits_%d", v);
        float *logits = floats(&r, logits_name, NULL), *found = allocate((size_t)v);
        int *kept = malloc((size_t)v * sizeof *kept);
        int n = palme_filter(found, kept, logits, v, temperature, is_p ? 0 : (int)ceil((1 - threshold) * v),
                             is_p ? 1 - threshold : 1);

        if (strcmp(what, "keep") == 0) {
            int size = 0, *wanted = integers(&r, name, &size), *mask = calloc((size_t)v, sizeof *mask);

            for (int k = 0; k < n; k++)
                mask[kept[k]] = 1;
            compare_tokens(path, name, mask, wanted, v);
            free(wanted);
            free(mask);
        } else {
            float *wanted = floats(&r, name, NULL);

            /* Of the same logits: divided by a temperature, up to 2^3 and so 8 roundings of 2^-24, which the
             * exponential makes relative ones of a probability; the exponential, the sum and the quotient have one
             * each, and both sides do: 2 * 11 * 2^-24 of what is 1 at most, and most of it less than that. */
            compare_line(path, name, largest_difference(found, wanted, (size_t)v), 1e-6);
            free(wanted);
        }
        free(logits);
        free(found);
        free(kept);
    }
    list_uncompared(&r);
    palme_safetensors_close(&r.file);
}

/* ---- Folders ------------------------------------------------------------------------------ */

static char *read_text(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(1 << 20);

    *length = file && text ? fread(text, 1, 1 << 20, file) : 0;
    if (file)
        fclose(file);
    return text;
}

/* Whether a safetensors file says that it is a model file. */
static int is_model_file(const char *path)
{
    struct palme_safetensors *file = NULL;
    size_t length;
    int is = 0;

    if (palme_safetensors_open(&file, path, 0, NULL) == PALME_OK) {
        const char *format = palme_safetensors_metadata(file, "format", &length);
        is = format && strcmp(format, "palme") == 0;
    }
    palme_safetensors_close(&file);
    return is;
}

static int exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static int open_for(struct engine *e, const char *folder, const char *model_option, const char *path)
{
    const struct palme_setup setup = { .log = print_log, .level = kernels };
    char other[4096], generated[4096];
    size_t length;
    int status;

    snprintf(other, sizeof other, "%s/generate.json", folder);
    if (!exists(path) && exists(other)) {
        if (generated_model(generated, sizeof generated, folder) < 0)
            return PALME_ERROR_FORMAT;
        status = palme_model_open(&e->model, generated, &setup);
        unlink(generated);
        return status;
    }
    if (!exists(path))
        return model_option ? palme_model_open(&e->model, model_option, &setup) : PALME_ERROR_NOT_FOUND;
    if (is_model_file(path))
        return palme_model_open(&e->model, path, &setup);
    snprintf(other, sizeof other, "%s/config.json", folder);
    char *config = read_text(other, &length);
    status = palme_model_open_plain(&e->model, path, config, length, &setup);
    e->plain = 1;
    free(config);
    return status;
}

static void compare_folder(const char *folder, const char *model_option)
{
    struct engine e = { .model = NULL };
    struct record r = { .folder = folder };
    char path[4096], suffix[16];

    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (!exists(path) && !model_option) {
        char generate[4096];

        snprintf(generate, sizeof generate, "%s/generate.json", folder);
        if (!exists(generate)) {
            printf("note %s: no weights of its own and no --model; not compared\n", folder);
            return;
        }
    }
    int status = open_for(&e, folder, model_option, path);
    if (status < 0) {
        problem(folder, palme_strerror(status));
        return;
    }
    const struct palme_config *p = &e.model->config;
    int stem = p->stem != PALME_STEM_NONE, large = p->decoder.dim >= 512;
    /* The tolerances of the recordings' descriptions. In single precision a sum of n terms of size 1 / sqrt(n) is off
     * by some sqrt(n) 2^-24 / 2 deviations, 1e-6 for the 1024 terms of a layer in between; a layer has four such
     * sums, whose errors add up like squares, and the largest of some ten thousand values is off by four deviations:
     * 2e-5 behind six layers. Logits stand behind as many layers more, whose sums are not normalised at the end; a
     * stem puts 50 layers before. The numbers themselves were in double. A wrong formula misses by 3e-4 and more. */
    e.encoder_tolerance = stem ? 1e-4 : 2e-5;
    e.logits_tolerance = stem ? 2e-4 : large ? 1e-4 : e.plain ? 3e-5 : 6e-5;
    engine_begin(&e);

    snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    if (palme_safetensors_open(&r.file, path, 0, &logger) < 0) {
        problem(folder, "expected.safetensors cannot be read");
    } else {
        int before = lines;

        compare_picture(&e, &r, "");
        compare_lengths(&e, &r);
        for (int i = 0; i < 1000; i++) {
            char name[32];

            snprintf(suffix, sizeof suffix, "_%d", i);
            snprintf(name, sizeof name, "encoder_output_%d", i);
            if (find(&r, name))
                compare_picture(&e, &r, suffix);
        }
        if (lines == before)
            problem(folder, "nothing to compare");
        list_uncompared(&r);
    }
    palme_safetensors_close(&r.file);
    snprintf(path, sizeof path, "%s/variants.safetensors", folder);
    if (exists(path) && palme_safetensors_open(&r.file, path, 0, &logger) == PALME_OK) {
        compare_variants(&e, &r);
        list_uncompared(&r);
    }
    palme_safetensors_close(&r.file);
    engine_end(&e);
}

int main(int argc, char **argv)
{
    const char *model = NULL;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *base = strrchr(argv[i], '/');
        struct stat st;

        if (strcmp(argv[i], "--model") == 0 && i + 1 < argc) {
            model = argv[++i];
        } else if (strcmp(argv[i], "--level") == 0 && i + 1 < argc) {
            kernels = argv[++i];
        } else if (stat(argv[i], &st) < 0) {
            printf("note %s: %s; ignored\n", argv[i], strerror(errno));
        } else if (S_ISDIR(st.st_mode)) {
            char path[4096];

            snprintf(path, sizeof path, "%s/expected.safetensors", argv[i]);
            if (exists(path))
                compare_folder(argv[i], model);
        } else if (strcmp(base ? base + 1 : argv[i], "sampling.safetensors") == 0) {
            compare_sampling(argv[i]);
        }
    }
    printf("%d compared, %d missed\n", lines, missed);
    return lines == 0 ? 77 : missed ? 1 : 0;
}
