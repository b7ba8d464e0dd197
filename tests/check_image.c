/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_image.c - the resize against the filter's definition in double precision, and against
 * Pillow.
 *
 *     check_image DATA_FOLDER
 *
 * Every picture lies between pages that cannot be read, and each of its rows between bytes that do
 * not belong to it. DATA_FOLDER has the file of models/make_image_cases.py.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "image.h"
#include "safetensors.h"

/* The engine's sums are in double but for one float for each row of the picture and its weights:
 * three roundings of at most 2^-24 relative, of values up to 255. */
#define CLOSE (0.5 + 4 * 255.0 / (1 << 24))

static const struct {
    enum palme_format format;
    const char *name;
    int bytes, red, green, blue;
} formats[] = {
    { PALME_FORMAT_RGB, "RGB", 3, 0, 1, 2 },   { PALME_FORMAT_RGBX, "RGBX", 4, 0, 1, 2 },
    { PALME_FORMAT_BGRX, "BGRX", 4, 2, 1, 0 }, { PALME_FORMAT_XRGB, "XRGB", 4, 1, 2, 3 },
    { PALME_FORMAT_XBGR, "XBGR", 4, 3, 2, 1 }, { PALME_FORMAT_BGR, "BGR", 3, 2, 1, 0 },
    { PALME_FORMAT_GRAY8, "GRAY8", 1, 0, 0, 0 },
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

static unsigned random_byte(void)
{
    static unsigned long long state = 20240229;
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(state >> 40) & 0xFF;
}

/* ---- The definition ------------------------------------------------------------------------- */

/* Weights of all pixels of one side at place i, divided by their sum. */
static void weights_of(double *w, int i, int length, int size)
{
    double scale = (double)length / size, support = scale > 1 ? scale : 1, sum = 0;
    for (int k = 0; k < length; k++) {
        w[k] = fmax(0, 1 - fabs((k + 0.5) - (i + 0.5) * scale) / support);
        sum += w[k];
    }
    for (int k = 0; k < length; k++)
        w[k] /= sum;
}

/* out[size][size][3], not rounded, of pixels[height][width][3]. */
static double *reference(const unsigned char *pixels, int width, int height, int size)
{
    double *out = calloc((size_t)size * size * 3, sizeof *out);
    double *half = calloc((size_t)height * size * 3, sizeof *half);
    double *w = malloc((size_t)(width > height ? width : height) * sizeof *w);
    for (int i = 0; i < size; i++) {
        weights_of(w, i, width, size);
        for (int k = 0; k < width; k++)
            for (int y = 0; w[k] > 0 && y < height; y++) {
                const unsigned char *pixel = pixels + ((size_t)y * width + k) * 3;
                for (int c = 0; c < 3; c++)
                    half[((size_t)y * size + i) * 3 + c] += w[k] * pixel[c];
            }
    }
    for (int i = 0; i < size; i++) {
        weights_of(w, i, height, size);
        for (int k = 0; k < height; k++)
            for (int x = 0; w[k] > 0 && x < size * 3; x++)
                out[(size_t)i * size * 3 + x] += w[k] * half[(size_t)k * size * 3 + x];
    }
    free(w);
    free(half);
    return out;
}

/* ---- Pictures between guard pages ----------------------------------------------------------- */

struct guarded {
    unsigned char *map;
    size_t whole, page, usable;
};

static struct guarded guard(size_t bytes)
{
    struct guarded g;
    g.page = (size_t)sysconf(_SC_PAGESIZE);
    g.usable = (bytes + g.page - 1) / g.page * g.page;
    g.whole = g.usable + 2 * g.page;
    g.map = mmap(NULL, g.whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map, g.page, PROT_NONE) != 0 ||
        mprotect(g.map + g.page + g.usable, g.page, PROT_NONE) != 0) {
        perror("mmap");
        exit(1);
    }
    return g;
}

enum { AT_END = 1, UPSIDE_DOWN = 2 };

/* Lays pixels[height][width][3] out in a format with `pad` bytes between rows, runs the resize, and
 * compares. GRAY8 takes the red ones. `exact` is the reference for these pixels, grey or not. */
static void check_layout(const unsigned char *pixels, const double *exact, int width, int height,
                         int size, int f, int pad, int how)
{
    const size_t row = (size_t)width * formats[f].bytes, stride = row + (size_t)pad;
    const size_t bytes = stride * (size_t)(height - 1) + row, n = (size_t)size * size * 3;
    const size_t scratch_bytes = palme_image_scratch(size);
    struct guarded g = guard(bytes);
    unsigned char *first = g.map + g.page + (how & AT_END ? g.usable - bytes : 0);
    unsigned char *out = malloc(n + 32), *scratch = malloc(scratch_bytes + 32);
    struct palme_image image = { .format = formats[f].format, .width = width, .height = height };
    double worst = 0;
    int outside = 0;

    for (size_t i = 0; i < g.usable; i++)
        g.map[g.page + i] = (unsigned char)random_byte();
    for (int y = 0; y < height; y++) {
        unsigned char *to = first + stride * (size_t)(how & UPSIDE_DOWN ? height - 1 - y : y);
        for (int x = 0; x < width; x++, to += formats[f].bytes) {
            const unsigned char *from = pixels + ((size_t)y * width + x) * 3;
            to[formats[f].blue] = from[2];
            to[formats[f].green] = from[1];
            to[formats[f].red] = from[0];
        }
    }
    image.planes[0] = how & UPSIDE_DOWN ? first + stride * (size_t)(height - 1) : first;
    image.strides[0] = how & UPSIDE_DOWN ? -(ptrdiff_t)stride : (ptrdiff_t)stride;
    memset(out, 0xA5, n + 32);
    memset(scratch, 0xA5, scratch_bytes + 32);
    CHECK_MESSAGE(palme_image_problem(&image) == NULL, "%s %dx%d: %s", formats[f].name, width,
                  height, palme_image_problem(&image));
    palme_image_resize(out + 16, &image, size, scratch);
    for (int i = 0; i < 16; i++)
        outside += (out[i] != 0xA5) + (out[n + 16 + i] != 0xA5) +
                   (scratch[scratch_bytes + i] != 0xA5) +
                   (scratch[scratch_bytes + 16 + i] != 0xA5);
    for (size_t i = 0; i < n; i++) {
        double wanted = exact[formats[f].bytes == 1 ? i / 3 * 3 : i];
        worst = fmax(worst, fabs(out[16 + i] - wanted));
    }
    CHECK_MESSAGE(worst <= CLOSE && outside == 0,
                  "%s %dx%d -> %d, pad %d, how %d: off by %g of 255, %d bytes outside changed",
                  formats[f].name, width, height, size, pad, how, worst, outside);
    free(scratch);
    free(out);
    munmap(g.map, g.whole);
}

static unsigned char *random_picture(int width, int height)
{
    size_t n = (size_t)width * height * 3;
    unsigned char *pixels = malloc(n);
    for (size_t i = 0; i < n; i++)
        pixels[i] = (unsigned char)random_byte();
    return pixels;
}

/* One size in the formats from..to-1. */
static void check_size(int width, int height, int size, int from, int to)
{
    unsigned char *pixels = random_picture(width, height);
    double *exact = reference(pixels, width, height, size);
    for (int f = from; f < to; f++)
        for (int how = 0; how < 4; how++)
            check_layout(pixels, exact, width, height, size, f, how ? how * 2 + f % 2 : 0, how);
    free(exact);
    free(pixels);
}

static void check_sizes(void)
{
    static const int sizes[] = { 1, 2, 3, 4, 5, 8, 9, 16, 19 };
    static const int large[][3] = {
        { 32768, 1, 3 }, { 1, 32768, 3 }, { 32768, 2, 7 }, { 2, 32768, 7 }, { 32767, 3, 1 },
        { 257, 255, 256 }, { 255, 257, 256 }, { 256, 256, 256 }, { 512, 512, 256 },
        { 640, 480, 256 }, { 1, 1, 256 }, { 1000, 7, 33 }, { 7, 1000, 33 }, { 1920, 1080, 224 },
    };
    for (int width = 1; width <= 9; width++)
        for (int height = 1; height <= 9; height++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                check_size(width, height, sizes[i], 0, FORMATS);
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        check_size(large[i][0], large[i][1], large[i][2], (int)i % FORMATS, (int)i % FORMATS + 1);
    /* Each ratio of heights moves the windows of neighbouring rows over each other differently. */
    for (int size = 1; size <= 24; size++)
        for (int height = 1; height <= 100; height++)
            check_size(2, height, size, 1, 2);
}

/* A picture of one colour is that colour in every size, and channels are where the format says. */
static void check_colours(void)
{
    static const unsigned char colours[][3] = { { 255, 0, 0 }, { 0, 0, 255 }, { 0, 255, 0 },
                                                { 255, 255, 255 }, { 0, 0, 0 }, { 1, 128, 254 } };
    static const int sizes[][2] = { { 2, 2 }, { 5, 3 }, { 4000, 9 }, { 64, 48 } };
    for (size_t c = 0; c < sizeof colours / sizeof colours[0]; c++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int f = 0; f < FORMATS; f++) {
                const int size = 20, width = sizes[s][0], height = sizes[s][1];
                unsigned char *bytes = malloc((size_t)width * height * 4), out[20 * 20 * 3];
                void *scratch = malloc(palme_image_scratch(size));
                struct palme_image image = { formats[f].format, width, height, { bytes },
                                             { (ptrdiff_t)width * formats[f].bytes }, 0, 0 };
                int wrong = 0;
                memset(bytes, 77, (size_t)width * height * 4);
                for (int i = 0; i < width * height; i++) {
                    unsigned char *pixel = bytes + (size_t)i * formats[f].bytes;
                    pixel[formats[f].blue] = colours[c][2];
                    pixel[formats[f].green] = colours[c][1];
                    pixel[formats[f].red] = colours[c][0];
                }
                palme_image_resize(out, &image, size, scratch);
                for (int i = 0; i < size * size * 3; i++)
                    wrong += out[i] != colours[c][formats[f].bytes == 1 ? 0 : i % 3];
                CHECK_MESSAGE(wrong == 0, "%s %dx%d, colour %zu: %d bytes are wrong",
                              formats[f].name, width, height, c, wrong);
                free(scratch);
                free(bytes);
            }
}

/* A picture that has the size already is copied. */
static void check_identity(void)
{
    for (int size = 1; size <= 64; size++) {
        unsigned char *pixels = random_picture(size, size), *out = malloc((size_t)size * size * 3);
        void *scratch = malloc(palme_image_scratch(size));
        struct palme_image image = { PALME_FORMAT_RGB, size, size, { pixels }, { size * 3 }, 0, 0 };
        palme_image_resize(out, &image, size, scratch);
        CHECK_MESSAGE(memcmp(out, pixels, (size_t)size * size * 3) == 0, "%dx%d is not copied",
                      size, size);
        free(scratch);
        free(out);
        free(pixels);
    }
}

/* ---- What cannot be read -------------------------------------------------------------------- */

static void check_problems(void)
{
    static const uint8_t bytes[64];
    const ptrdiff_t most = PTRDIFF_MAX;
    const struct {
        struct palme_image image;
        const char *wanted; /* NULL: no problem */
    } table[] = {
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 6 }, 0, 0 }, NULL },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { -6 }, 0, 0 }, NULL },
        { { PALME_FORMAT_RGB, 2, 1, { bytes }, { 0 }, 0, 0 }, NULL },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 5 }, 0, 0 }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { -5 }, 0, 0 }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 0 }, 0, 0 }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { most }, 0, 0 }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { -most - 1 }, 0, 0 }, "stride" },
        { { PALME_FORMAT_RGBX, 2, 2, { bytes }, { 7 }, 0, 0 }, "stride" },
        { { PALME_FORMAT_GRAY8, 2, 2, { bytes }, { 2 }, 0, 0 }, NULL },
        { { PALME_FORMAT_RGB, 0, 2, { bytes }, { 6 }, 0, 0 }, "width" },
        { { PALME_FORMAT_RGB, 2, 0, { bytes }, { 6 }, 0, 0 }, "height" },
        { { PALME_FORMAT_RGB, -2, 2, { bytes }, { 6 }, 0, 0 }, "width" },
        { { PALME_FORMAT_RGB, 2, -2147483647 - 1, { bytes }, { 6 }, 0, 0 }, "height" },
        { { PALME_FORMAT_RGB, 32768, 1, { bytes }, { 98304 }, 0, 0 }, NULL },
        { { PALME_FORMAT_RGB, 32769, 1, { bytes }, { 98307 }, 0, 0 }, "32768" },
        { { PALME_FORMAT_RGB, 1, 2147483647, { bytes }, { 98307 }, 0, 0 }, "32768" },
        { { PALME_FORMAT_RGB, 2, 2, { NULL }, { 6 }, 0, 0 }, "plane" },
        { { PALME_FORMAT_I420, 2, 2, { bytes, bytes, bytes }, { 2, 1, 1 }, 0, 0 }, "I420" },
        { { PALME_FORMAT_NV12, 2, 2, { bytes, bytes }, { 2, 2 }, 0, 0 }, "NV12" },
        { { PALME_FORMAT_YUY2, 2, 2, { bytes }, { 4 }, 0, 0 }, "YUY2" },
        { { (enum palme_format)10, 2, 2, { bytes }, { 8 }, 0, 0 }, "format" },
        { { (enum palme_format)1000000, 2, 2, { bytes }, { 8 }, 0, 0 }, "format" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *found = palme_image_problem(&table[i].image), *wanted = table[i].wanted;
        CHECK_MESSAGE(wanted ? found && strstr(found, wanted) : !found, "picture %zu: \"%s\"", i,
                      found ? found : "no problem");
    }
    CHECK(palme_image_problem(NULL) != NULL);
}

/* ---- Pillow --------------------------------------------------------------------------------- */

static void check_pillow(const char *folder)
{
    struct palme_safetensors *file = NULL;
    struct palme_tensor *list;
    char path[1024];
    size_t count = 0, compared = 0;

    snprintf(path, sizeof path, "%s/resize.safetensors", folder);
    CHECK_INT(palme_safetensors_open(&file, path, 0, NULL), PALME_OK);
    list = file ? palme_safetensors_list(file, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        const char *dot = strchr(list[i].name, '.');
        struct palme_image image = { .format = PALME_FORMAT_RGB };
        struct palme_tensor *tensor;
        unsigned char *pixels, *wanted, *out;
        void *scratch;
        char name[64];
        int size, worst = 0;
        if (!dot)
            continue;
        size = atoi(dot + 1);
        snprintf(name, sizeof name, "%.*s", (int)(dot - list[i].name), list[i].name);
        tensor = palme_safetensors_find(file, name);
        CHECK(tensor != NULL && list[i].count == (int64_t)size * size * 3);
        if (!tensor)
            continue;
        pixels = malloc((size_t)tensor->count);
        wanted = malloc((size_t)list[i].count);
        out = malloc((size_t)list[i].count);
        scratch = malloc(palme_image_scratch(size));
        CHECK_INT(palme_tensor_read_raw(file, pixels, tensor, 0, tensor->count, NULL), PALME_OK);
        CHECK_INT(palme_tensor_read_raw(file, wanted, &list[i], 0, list[i].count, NULL), PALME_OK);
        image.height = (int)tensor->shape[0];
        image.width = (int)tensor->shape[1];
        image.planes[0] = pixels;
        image.strides[0] = image.width * 3;
        palme_image_resize(out, &image, size, scratch);
        for (int64_t k = 0; k < list[i].count; k++)
            worst = abs(out[k] - wanted[k]) > worst ? abs(out[k] - wanted[k]) : worst;
        CHECK_MESSAGE(worst <= 1, "%s: %d steps from Pillow", list[i].name, worst);
        compared++;
        free(scratch);
        free(out);
        free(wanted);
        free(pixels);
    }
    CHECK(compared > 25);
    printf("%zu pictures compared with Pillow's\n", compared);
    palme_safetensors_close(&file);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: check_image DATA_FOLDER\n", stderr);
        return 1;
    }
    check_problems();
    check_sizes();
    check_colours();
    check_identity();
    check_pillow(argv[1]);
    return check_done();
}
