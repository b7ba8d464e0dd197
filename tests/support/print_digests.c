/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * print_digests.c - what a build computes, to the last bit: a line for each model, level, precision and picture with
 * digests of the encoder's output and of the logits, and the tokens themselves. compare_builds compares the lines of
 * two builds.
 *
 *     print_digests [--level NAME] [--precision NAME] MODEL... [--pictures FILE.ppm...]
 *
 * MODEL is a model file or a folder of tests/data/golden. Without --level and --precision all that this machine has are
 * taken; the level "best" is the machine's. Without pictures three are computed here; with them the models look at
 * those.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/enginehost.h"
#include "support/generated.h"

enum { STEPS = 20, BEAMS = 3, PICTURES = 1024 };

struct frame {
    const char *name;
    uint8_t *pixels; /* [height][width][3] */
    int width, height;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "print_digests: %s: %s\n", what, why);
    exit(1);
}

static void *must(void *memory)
{
    if (!memory)
        fail("memory", "none left");
    return memory;
}

/* FNV-1a. */
static uint64_t digest(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* ---- Pictures ----------------------------------------------------------------------------- */

static struct frame read_ppm(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct frame f = { .name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path };

    if (!file || fscanf(file, "P6 %d %d 255", &f.width, &f.height) != 2 || fgetc(file) == EOF || f.width < 1 ||
        f.width > 32768 || f.height < 1 || f.height > 32768)
        fail(path, "no PPM of 8 bits");
    size_t size = (size_t)f.width * (size_t)f.height * 3;
    f.pixels = must(malloc(size));
    if (fread(f.pixels, 1, size, file) != size)
        fail(path, "is cut short");
    fclose(file);
    return f;
}

/* Noise, a slope and a flat picture, of three shapes. */
static int computed_pictures(struct frame *frames)
{
    static const struct frame shapes[] = { { "noise", NULL, 61, 47 },
                                           { "slope", NULL, 320, 180 },
                                           { "flat", NULL, 33, 90 } };
    uint32_t random = 12345;

    for (int s = 0; s < 3; s++) {
        frames[s] = shapes[s];
        size_t size = (size_t)frames[s].width * (size_t)frames[s].height * 3;

        frames[s].pixels = must(malloc(size));
        for (size_t i = 0; i < size; i++) {
            random = random * 1664525u + 1013904223u;
            frames[s].pixels[i] = (uint8_t)(s == 0 ? random >> 24 : s == 1 ? i * 255 / size : 77);
        }
    }
    return 3;
}

/* ---- One model in one level and precision ------------------------------------------------- */

static void print_tokens(const char *what, palme_session *session, const struct palme_image *image)
{
    const char *piece;
    int status = palme_look(session, image), count;

    if (status == PALME_OK)
        status = palme_prompt(session, "");
    while (status == PALME_OK)
        status = palme_next(session, &piece);
    const int *tokens = palme_caption_tokens(session, &count);
    double score = palme_caption_score(session);
    printf(" %s %d %016llx", what, status, (unsigned long long)digest(&score, sizeof score));
    for (int i = 0; i < count; i++)
        printf(" %d", tokens[i]);
}

/* Logits of a fixed text about the picture: all rows of the prompt at once, then a step for each further token. */
static void print_numbers(struct host *h, struct sentence *s, palme_preprocessor *preprocessor,
                          const struct palme_image *image)
{
    const struct palme_model *model = h->model;
    struct palme_info info;
    palme_model_info(model, &info);
    size_t side = (size_t)info.image_size, v = (size_t)info.vocabulary;
    size_t area = side * side;
    uint8_t *square = must(malloc(3 * area));
    float *planar = must(malloc(3 * area * sizeof *planar)), *logits = must(malloc(4 * v * sizeof *logits));
    int steps = host_context(h) < STEPS ? host_context(h) : STEPS, first = steps < 4 ? steps : 4, ids[STEPS];
    uint64_t h_logits = 0;

    palme_preprocess(preprocessor, square, image);
    for (size_t i = 0; i < 3 * area; i++)
        planar[i % 3 * area + i / 3] = (float)square[i] / 255;
    host_encode(h, planar);
    host_see(h, s);
    host_begin(h, s);
    for (int i = 0; i < steps; i++)
        ids[i] = (int)((unsigned)(i * i * 37 + 11 * i + 1) % (unsigned)v);
    host_feed(h, logits, s, ids, first, 0);
    h_logits = digest(logits, (size_t)first * v * sizeof *logits);
    for (int i = first; i < steps; i++) {
        host_feed(h, logits, s, ids + i, 1, 0);
        h_logits = h_logits * UINT64_C(0x100000001b3) ^ digest(logits, v * sizeof *logits);
    }
    printf(" square %016llx context %d %016llx logits %016llx", (unsigned long long)digest(square, 3 * area), h->tokens,
           (unsigned long long)digest(h->context, host_context_bytes(h)), (unsigned long long)h_logits);
    free(square);
    free(planar);
    free(logits);
}

static char *read_text(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = must(malloc(65536));

    if (!file)
        fail(path, "cannot be read");
    *length = fread(text, 1, 65536, file);
    fclose(file);
    return text;
}

/* The model of a file, of a fixture's folder, or of a plain checkpoint in one, which has no tokenizer and no
 * captions. */
static palme_model *open_model(const char *path, const struct palme_setup *setup, int *plain)
{
    char file[4096], config[4096];
    struct stat st;
    palme_model *model = NULL;
    int status;

    snprintf(file, sizeof file, "%s/model.safetensors", path);
    snprintf(config, sizeof config, "%s/config.json", path);
    *plain = 0;
    if (stat(path, &st) < 0)
        fail(path, "is not there");
    if (!S_ISDIR(st.st_mode)) {
        status = palme_model_open(&model, path, setup);
    } else if (stat(config, &st) == 0) {
        size_t length;
        char *text = read_text(config, &length);

        *plain = 1;
        status = palme_model_open_plain(&model, file, text, length, setup);
        free(text);
    } else if (stat(file, &st) == 0) {
        status = palme_model_open(&model, file, setup);
    } else {
        if (generated_model(file, sizeof file, path) < 0)
            exit(1);
        status = palme_model_open(&model, file, setup);
        unlink(file);
    }
    if (status < 0)
        fail(path, palme_strerror(status));
    return model;
}

static void run(const char *path, const char *level, const struct host_precision *precision, const struct frame *frames,
                int count)
{
    const struct palme_setup setup = { .level = level, .precision = precision->name, .threads = 1 };
    const struct palme_options options = { .beams = 1, .max_length = STEPS },
                               search = { .beams = BEAMS, .max_length = STEPS };
    palme_session *greedy = NULL, *beams = NULL;
    palme_preprocessor *preprocessor = NULL;
    struct palme_info info;
    struct sentence s;
    struct host h;
    int plain;
    palme_model *model = open_model(path, &setup, &plain);

    palme_model_info(model, &info);
    if (host_take(&h, model, precision) < 0 || sentence_open(&s, &h, host_context(&h)) < 0 ||
        palme_preprocessor_open(&preprocessor, info.image_size, PALME_RESIZE_SQUASH, level) < 0)
        fail(path, "not enough memory");
    if (!plain && (palme_session_open(&greedy, model, &options) < 0 || palme_session_open(&beams, model, &search) < 0))
        fail(path, "no session");
    for (int i = 0; i < count; i++) {
        const struct palme_image image = { .format = PALME_FORMAT_RGB,
                                           .width = frames[i].width,
                                           .height = frames[i].height,
                                           .planes = { frames[i].pixels },
                                           .strides = { 3 * frames[i].width } };

        printf("%s %s %s %s", path, level, precision->name, frames[i].name);
        print_numbers(&h, &s, preprocessor, &image);
        if (!plain) {
            print_tokens("greedy", greedy, &image);
            print_tokens("beams", beams, &image);
        }
        printf("\n");
        fflush(stdout);
    }
    palme_session_close(&greedy);
    palme_session_close(&beams);
    palme_preprocessor_close(&preprocessor);
    sentence_close(&s);
    host_close(&h);
}

int main(int argc, char **argv)
{
    static struct frame frames[PICTURES];
    static const char *const precisions[] = { "f32", "bf16", "int8" };
    const char *level = NULL, *precision = NULL, *models[PICTURES];
    int count = 0, model_count = 0, pictures = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--level") == 0 && i + 1 < argc)
            level = argv[++i];
        else if (strcmp(argv[i], "--precision") == 0 && i + 1 < argc)
            precision = argv[++i];
        else if (strcmp(argv[i], "--pictures") == 0)
            pictures = 1;
        else if (pictures && count < PICTURES)
            frames[count++] = read_ppm(argv[i]);
        else if (!pictures && model_count < PICTURES)
            models[model_count++] = argv[i];
    }
    if (!model_count)
        fail("usage", "print_digests [--level NAME] [--precision NAME] MODEL... [--pictures FILE.ppm...]");
    if (!pictures)
        count = computed_pictures(frames);
    if (level && strcmp(level, "best") == 0)
        level = palme_cpu_name(palme_cpu_detect());
    for (int l = 0; l < PALME_CPU_LEVELS; l++) {
        struct palme_kernels kernels;

        palme_kernels_init(&kernels, (enum palme_cpu_level)l);
        if (!palme_cpu_has((enum palme_cpu_level)l) || (level && strcmp(level, kernels.level) != 0))
            continue;
        for (int m = 0; m < model_count; m++)
            for (int p = 0; p < 3; p++)
                if (!precision || strcmp(precision, precisions[p]) == 0)
                    run(models[m], kernels.level, host_precision_find(precisions[p]), frames, count);
    }
    for (int i = 0; i < count; i++)
        free(frames[i].pixels);
    return 0;
}
