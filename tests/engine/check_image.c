/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_image.c - the resize against the filter's definition in double precision, and against
 * Pillow.
 *
 *     check_image DATA_FOLDER
 *
 * Every plane of a picture lies between pages that cannot be read, and each of its rows between bytes
 * that do not belong to it. All is done with each level of kernels that this machine has. DATA_FOLDER has
 * the file of tests/fixtures/make_image_cases.py.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "support/arenahost.h"
#include "support/check.h"
#include "image/image.h"
#include "io/safetensors.h"

/* Where the red, green, blue and alpha bytes of a pixel are, alpha from 1 on; or, where `bytes` is 0, YUV. */
static const struct {
    enum palme_format format;
    const char *name;
    int bytes, red, green, blue, alpha;
} formats[] = {
    { PALME_FORMAT_RGB, "RGB", 3, 0, 1, 2, 0 },     { PALME_FORMAT_RGBX, "RGBX", 4, 0, 1, 2, 0 },
    { PALME_FORMAT_BGRX, "BGRX", 4, 2, 1, 0, 0 },   { PALME_FORMAT_XRGB, "XRGB", 4, 1, 2, 3, 0 },
    { PALME_FORMAT_XBGR, "XBGR", 4, 3, 2, 1, 0 },   { PALME_FORMAT_BGR, "BGR", 3, 2, 1, 0, 0 },
    { PALME_FORMAT_RGBA, "RGBA", 4, 0, 1, 2, 4 },   { PALME_FORMAT_BGRA, "BGRA", 4, 2, 1, 0, 4 },
    { PALME_FORMAT_ARGB, "ARGB", 4, 1, 2, 3, 1 },   { PALME_FORMAT_ABGR, "ABGR", 4, 3, 2, 1, 1 },
    { PALME_FORMAT_GRAY8, "GRAY8", 1, 0, 0, 0, 0 }, { PALME_FORMAT_I420, "I420", 0, 0, 0, 0, 0 },
    { PALME_FORMAT_NV12, "NV12", 0, 0, 0, 0, 0 },   { PALME_FORMAT_YUY2, "YUY2", 0, 0, 0, 0, 0 },
};
enum { FORMATS = sizeof formats / sizeof formats[0], MATRICES = 3, RANGES = 2 };

static struct palme_kernels kernels, plain; /* those that are tried, and plain C */
static struct palme_compute compute = { .kernels = &kernels }, plainly = { .kernels = &plain };

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
static double *reference(const double *pixels, int width, int height, int size)
{
    double *out = calloc((size_t)size * size * 3, sizeof *out);
    double *half = calloc((size_t)height * size * 3, sizeof *half);
    double *w = malloc((size_t)(width > height ? width : height) * sizeof *w);
    for (int i = 0; i < size; i++) {
        weights_of(w, i, width, size);
        for (int k = 0; k < width; k++)
            for (int y = 0; w[k] > 0 && y < height; y++) {
                const double *pixel = pixels + ((size_t)y * width + k) * 3;
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
    for (int i = 0; i < size * size * 3; i++)
        out[i] = out[i] < 0 ? 0 : out[i] > 255 ? 255 : out[i];
    free(w);
    free(half);
    return out;
}

/* The planes of a picture without any space between rows. */
struct planes {
    int f, count; /* the format's place in the table, the number of planes */
    int width, height;
    enum palme_matrix matrix;
    enum palme_range range;
    size_t row[3], rows[3]; /* bytes of a row, rows */
    unsigned char *bytes[3];
};

static struct planes random_planes(int f, int width, int height, int matrix, int range)
{
    const size_t w = (size_t)width, h = (size_t)height, half = (w + 1) / 2, low = (h + 1) / 2;
    struct planes p = { .f = f,
                        .count = 1,
                        .width = width,
                        .height = height,
                        .matrix = (enum palme_matrix)matrix,
                        .range = (enum palme_range)range,
                        .row = { w * (size_t)formats[f].bytes },
                        .rows = { h, low, low } };
    switch (formats[f].format) {
    case PALME_FORMAT_I420:
        p.count = 3;
        p.row[0] = w;
        p.row[1] = p.row[2] = half;
        break;
    case PALME_FORMAT_NV12:
        p.count = 2;
        p.row[0] = w;
        p.row[1] = 2 * half;
        break;
    case PALME_FORMAT_YUY2: p.row[0] = 4 * half; break;
    default: break;
    }
    for (int i = 0; i < p.count; i++) {
        p.bytes[i] = malloc(p.row[i] * p.rows[i]);
        for (size_t k = 0; k < p.row[i] * p.rows[i]; k++)
            p.bytes[i][k] = (unsigned char)random_byte();
    }
    return p;
}

static void free_planes(struct planes *p)
{
    for (int i = 0; i < p->count; i++)
        free(p->bytes[i]);
}

/* A colour with alpha over white, as a byte: that is what a viewer shows. No half occurs, 255 being odd. */
static double over_white(double colour, double alpha)
{
    return floor((alpha * colour + (255 - alpha) * 255) / 255 + 0.5);
}

/* Pixel (x, y) in RGB, which may be out of 0..255. */
static void decode(double rgb[3], const struct planes *p, int x, int y)
{
    static const double of_red[] = { 0.299, 0.2126, 0.2627 }, of_blue[] = { 0.114, 0.0722, 0.0593 };
    const double kr = of_red[p->matrix], kb = of_blue[p->matrix];
    const size_t low = (size_t)(y / 2), half = (size_t)(x / 2);
    const unsigned char *row = p->bytes[0] + (size_t)y * p->row[0];
    double luma, cb, cr;
    switch (formats[p->f].format) {
    case PALME_FORMAT_I420:
        luma = row[x];
        cb = p->bytes[1][low * p->row[1] + half];
        cr = p->bytes[2][low * p->row[2] + half];
        break;
    case PALME_FORMAT_NV12:
        luma = row[x];
        cb = p->bytes[1][low * p->row[1] + 2 * half];
        cr = p->bytes[1][low * p->row[1] + 2 * half + 1];
        break;
    case PALME_FORMAT_YUY2:
        luma = row[2 * x];
        cb = row[4 * half + 1];
        cr = row[4 * half + 3];
        break;
    default:
        row += x * formats[p->f].bytes;
        rgb[0] = row[formats[p->f].red];
        rgb[1] = row[formats[p->f].green];
        rgb[2] = row[formats[p->f].blue];
        for (int c = 0; c < 3 && formats[p->f].alpha; c++)
            rgb[c] = over_white(rgb[c], row[formats[p->f].alpha - 1]);
        return;
    }
    if (p->range == PALME_RANGE_LIMITED) {
        luma = (luma - 16) * 255 / 219;
        cb = (cb - 128) * 255 / 224;
        cr = (cr - 128) * 255 / 224;
    } else {
        cb -= 128;
        cr -= 128;
    }
    /* From the definitions Y = kr R + (1 - kr - kb) G + kb B, Cb = (B - Y) / 2 (1 - kb), and so for Cr. */
    rgb[0] = luma + 2 * (1 - kr) * cr;
    rgb[2] = luma + 2 * (1 - kb) * cb;
    rgb[1] = (luma - kr * rgb[0] - kb * rgb[2]) / (1 - kr - kb);
}

static double *exact_square(const struct planes *p, int size)
{
    double *pixels = malloc((size_t)p->width * p->height * 3 * sizeof *pixels), *out;
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            decode(pixels + ((size_t)y * p->width + x) * 3, p, x, y);
    out = reference(pixels, p->width, p->height, size);
    free(pixels);
    return out;
}

/* Half a step for the byte, and the roundings of the sums in float, each at most 2^-24 of 255, since the weights of a
 * place add up to 1: one for each row; of columns one for each eighth and three that bring the eight sums together;
 * in both directions one for the weights, which are rounded themselves; and one for the products of such errors. The
 * matrix of YUV multiplies what was lost by at most 3.5 (Y and one colour) and adds its own: of its four terms, up to
 * 600 together, each coefficient is rounded, and so is each of three fused sums. */
static double close_enough(int f, int width, int height, int size)
{
    double rows = 2.0 * height / size + 2, columns = 2.0 * width / size + 2;
    double roundings = rows + 1 + columns / 8 + 3 + 1 + 1;
    return 0.5 + (formats[f].bytes ? roundings * 255 : 3.5 * roundings * 255 + (4 + 3) * 600) / (1 << 24);
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

static size_t scratch_bytes_of(int size)
{
    struct palme_arena arena = { 0 };

    palme_image_reserve(&arena, SQUASH(size));
    return arena.most;
}

/* What plain C makes of the planes; to be freed. */
static unsigned char *plain_square(const struct planes *p, int size)
{
    struct palme_image image = {
        .format = formats[p->f].format,
        .width = p->width,
        .height = p->height,
        .planes = { p->bytes[0], p->bytes[1], p->bytes[2] },
        .strides = { (ptrdiff_t)p->row[0], (ptrdiff_t)p->row[1], (ptrdiff_t)p->row[2] },
        .matrix = p->matrix,
        .range = p->range,
    };
    unsigned char *out = malloc((size_t)size * size * 3);
    struct palme_arena scratch = scratch_for_image(size);

    CHECK_INT(palme_image_resize(&plainly, out, &image, SQUASH(size), &scratch), PALME_OK);
    free(scratch.base);
    return out;
}

/* A picture whose rows are made when they are asked for, and hold no longer than palme.h demands. */
struct lent {
    const struct planes *planes;
    unsigned char *rows; /* [PALME_ROWS_HELD][planes->row[0]] */
    int asked, before;
    int steps_back; /* rows asked for that do not follow the one before */
};

static const uint8_t *lend(void *user, int y)
{
    struct lent *lent = user;
    const size_t bytes = lent->planes->row[0];
    unsigned char *row = lent->rows + (size_t)(lent->asked++ % PALME_ROWS_HELD) * bytes;

    if (y < 0 || y >= lent->planes->height) {
        CHECK_MESSAGE(0, "row %d of %d was asked for", y, lent->planes->height);
        y = 0;
    }
    lent->steps_back += y <= lent->before;
    lent->before = y;
    memcpy(row, lent->planes->bytes[0] + (size_t)y * bytes, bytes);
    return row;
}

/* A picture of one plane that comes row by row is the picture that stands in memory. */
static void check_rows(const struct planes *p, const unsigned char *bytes, int size)
{
    const size_t n = (size_t)size * size * 3;
    struct lent lent = { .planes = p, .before = -1 };
    struct palme_image image = { .format = formats[p->f].format,
                                 .width = p->width,
                                 .height = p->height,
                                 .matrix = p->matrix,
                                 .range = p->range,
                                 .row = lend,
                                 .row_user = &lent };
    unsigned char *out = malloc(n);
    struct palme_arena scratch = scratch_for_image(size);

    lent.rows = malloc(p->row[0] * PALME_ROWS_HELD);
    CHECK(palme_image_problem(&image) == NULL);
    CHECK_INT(palme_image_resize(&compute, out, &image, SQUASH(size), &scratch), PALME_OK);
    CHECK_MESSAGE(memcmp(out, bytes, n) == 0, "%s: %s %dx%d -> %d: other bytes by rows", kernels.level,
                  formats[p->f].name, p->width, p->height, size);
    CHECK_MESSAGE(lent.steps_back < size, "%s %dx%d -> %d: %d steps back", formats[p->f].name, p->width, p->height,
                  size, lent.steps_back);
    free(scratch.base);
    free(lent.rows);
    free(out);
}

/* Lays the planes out with `pad` bytes between rows, runs the resize, and compares: with the exact square, and with the
 * bytes that plain C makes. */
static void check_layout(const struct planes *p, const double *exact, const unsigned char *bytes, int size, int pad,
                         int how)
{
    const size_t n = (size_t)size * size * 3, scratch_bytes = scratch_bytes_of(size);
    const double close = close_enough(p->f, p->width, p->height, size);
    struct palme_image image = {
        .format = formats[p->f].format, .width = p->width, .height = p->height, .matrix = p->matrix, .range = p->range
    };
    struct guarded g[3];
    unsigned char *out = malloc(n + 32), *memory = aligned_alloc(64, scratch_bytes + 128);
    struct palme_arena scratch = palme_arena_over(memory + 64, scratch_bytes);
    double worst = 0;
    int outside = 0;

    for (int i = 0; i < p->count; i++) {
        size_t stride = p->row[i] + (size_t)pad, used = stride * (p->rows[i] - 1) + p->row[i];
        unsigned char *first;
        g[i] = guard(used);
        first = g[i].map + g[i].page + (how & AT_END ? g[i].usable - used : 0);
        for (size_t k = 0; k < g[i].usable; k++)
            g[i].map[g[i].page + k] = (unsigned char)(k * 37 + 11);
        for (size_t y = 0; y < p->rows[i]; y++)
            memcpy(first + stride * (how & UPSIDE_DOWN ? p->rows[i] - 1 - y : y), p->bytes[i] + y * p->row[i],
                   p->row[i]);
        image.planes[i] = how & UPSIDE_DOWN ? first + stride * (p->rows[i] - 1) : first;
        image.strides[i] = how & UPSIDE_DOWN ? -(ptrdiff_t)stride : (ptrdiff_t)stride;
    }
    memset(out, 0xA5, n + 32);
    memset(memory, 0xA5, 64);
    memset(memory + 64 + scratch_bytes, 0xA5, 64);
    CHECK_MESSAGE(palme_image_problem(&image) == NULL, "%s %dx%d: %s", formats[p->f].name, p->width, p->height,
                  palme_image_problem(&image));
    CHECK_INT(palme_image_resize(&compute, out + 16, &image, SQUASH(size), &scratch), PALME_OK);
    for (int i = 0; i < 16; i++)
        outside += (out[i] != 0xA5) + (out[n + 16 + i] != 0xA5);
    for (size_t i = 0; i < 64; i++)
        outside += (memory[i] != 0xA5) + (memory[64 + scratch_bytes + i] != 0xA5);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(out[16 + i] - exact[i]));
    CHECK_MESSAGE(memcmp(out + 16, bytes, n) == 0,
                  "%s: %s %dx%d -> %d, matrix %d, range %d: other bytes than in plain C", kernels.level,
                  formats[p->f].name, p->width, p->height, size, p->matrix, p->range);
    CHECK_MESSAGE(worst <= close && outside == 0,
                  "%s: %s %dx%d -> %d, matrix %d, range %d, pad %d, how %d: off by %g of 255, %d bytes "
                  "outside changed",
                  kernels.level, formats[p->f].name, p->width, p->height, size, p->matrix, p->range, pad, how, worst,
                  outside);
    free(memory);
    free(out);
    for (int i = 0; i < p->count; i++)
        munmap(g[i].map, g[i].whole);
}

static unsigned char *random_picture(int width, int height)
{
    size_t n = (size_t)width * height * 3;
    unsigned char *pixels = malloc(n);
    for (size_t i = 0; i < n; i++)
        pixels[i] = (unsigned char)random_byte();
    return pixels;
}

/* One size in the formats from..to-1; the matrices and ranges take turns. */
static void check_size(int width, int height, int size, int from, int to)
{
    static int turn;
    for (int f = from; f < to; f++, turn++) {
        struct planes p = random_planes(f, width, height, turn % MATRICES, turn / MATRICES % RANGES);
        double *exact = exact_square(&p, size);
        unsigned char *bytes = plain_square(&p, size);
        for (int how = 0; how < 4; how++)
            check_layout(&p, exact, bytes, size, how ? how * 2 + f % 2 : 0, how);
        if (p.count == 1)
            check_rows(&p, bytes, size);
        free(exact);
        free(bytes);
        free_planes(&p);
    }
}

static void check_sizes(void)
{
    static const int sizes[] = { 1, 2, 3, 4, 5, 8, 9, 16, 19 };
    static const int large[][3] = {
        { 32768, 1, 3 },   { 1, 32768, 3 },   { 32768, 2, 7 },   { 2, 32768, 7 },   { 32767, 3, 1 },
        { 3, 32767, 1 },   { 257, 255, 256 }, { 255, 257, 256 }, { 256, 256, 256 }, { 512, 512, 256 },
        { 640, 480, 256 }, { 1, 1, 256 },     { 1000, 7, 33 },   { 7, 1000, 33 },   { 1920, 1080, 224 },
    };
    for (int width = 1; width <= 9; width++)
        for (int height = 1; height <= 9; height++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                check_size(width, height, sizes[i], 0, FORMATS);
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        int f = (int)i % FORMATS, yuv = FORMATS - 3 + (int)i % 3;
        check_size(large[i][0], large[i][1], large[i][2], f, f + 1);
        check_size(large[i][0], large[i][1], large[i][2], yuv, yuv + 1);
    }
    /* Every length around the width of vectors, in each format. */
    for (int width = 10; width <= 100; width++)
        check_size(width, 2, 7, 0, FORMATS);
    /* Each ratio of heights moves the windows of neighbouring rows over each other differently. */
    for (int size = 1; size <= 24; size++)
        for (int height = 1; height <= 100; height++)
            check_size(2, height, size, height % 2 ? 1 : FORMATS - 3, height % 2 ? 2 : FORMATS - 2);
}

/* Colours that are known in all three ways of writing them, as recommendations BT.601, BT.709 and BT.2020
 * have them. A byte of YUV is half a step away from the colour at most, which is up to 3.5 / 2 steps in RGB. */
static void check_known_colours(void)
{
    static const struct {
        enum palme_matrix matrix;
        enum palme_range range;
        unsigned char yuv[3], rgb[3];
    } known[] = {
        { PALME_MATRIX_BT601, PALME_RANGE_LIMITED, { 81, 90, 240 }, { 255, 0, 0 } },
        { PALME_MATRIX_BT601, PALME_RANGE_LIMITED, { 145, 54, 34 }, { 0, 255, 0 } },
        { PALME_MATRIX_BT601, PALME_RANGE_LIMITED, { 41, 240, 110 }, { 0, 0, 255 } },
        { PALME_MATRIX_BT709, PALME_RANGE_LIMITED, { 63, 102, 240 }, { 255, 0, 0 } },
        { PALME_MATRIX_BT709, PALME_RANGE_LIMITED, { 173, 42, 26 }, { 0, 255, 0 } },
        { PALME_MATRIX_BT709, PALME_RANGE_LIMITED, { 32, 240, 118 }, { 0, 0, 255 } },
        { PALME_MATRIX_BT2020, PALME_RANGE_LIMITED, { 74, 97, 240 }, { 255, 0, 0 } },
        { PALME_MATRIX_BT2020, PALME_RANGE_LIMITED, { 29, 240, 119 }, { 0, 0, 255 } },
        { PALME_MATRIX_BT601, PALME_RANGE_FULL, { 76, 85, 255 }, { 255, 0, 0 } },
        { PALME_MATRIX_BT601, PALME_RANGE_FULL, { 29, 255, 107 }, { 0, 0, 255 } },
        { PALME_MATRIX_BT709, PALME_RANGE_LIMITED, { 235, 128, 128 }, { 255, 255, 255 } },
        { PALME_MATRIX_BT2020, PALME_RANGE_LIMITED, { 16, 128, 128 }, { 0, 0, 0 } },
        { PALME_MATRIX_BT709, PALME_RANGE_FULL, { 255, 128, 128 }, { 255, 255, 255 } },
        { PALME_MATRIX_BT709, PALME_RANGE_FULL, { 0, 128, 128 }, { 0, 0, 0 } },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        for (int f = FORMATS - 3; f < FORMATS; f++) {
            enum { SIDE = 6, WIDTH = 11, HEIGHT = 7 };
            struct planes p = random_planes(f, WIDTH, HEIGHT, known[i].matrix, known[i].range);
            struct palme_image image = { formats[f].format,
                                         WIDTH,
                                         HEIGHT,
                                         { p.bytes[0], p.bytes[1], p.bytes[2] },
                                         { (ptrdiff_t)p.row[0], (ptrdiff_t)p.row[1], (ptrdiff_t)p.row[2] },
                                         known[i].matrix,
                                         known[i].range,
                                         0,
                                         NULL,
                                         NULL,
                                         { 0 } };
            unsigned char out[SIDE * SIDE * 3];
            struct palme_arena scratch = scratch_for_image(SIDE);
            int worst = 0;
            for (int k = 0; k < p.count; k++)
                for (size_t at = 0; at < p.row[k] * p.rows[k]; at++)
                    p.bytes[k][at] = known[i].yuv[p.count == 3   ? (size_t)k
                                                  : p.count == 2 ? (k ? 1 + at % 2 : 0)
                                                  : at % 2       ? 1 + at / 2 % 2
                                                                 : 0];
            CHECK_INT(palme_image_resize(&compute, out, &image, SQUASH(SIDE), &scratch), PALME_OK);
            for (int at = 0; at < SIDE * SIDE * 3; at++)
                worst = abs(out[at] - known[i].rgb[at % 3]) > worst ? abs(out[at] - known[i].rgb[at % 3]) : worst;
            CHECK_MESSAGE(worst <= 2, "%s: colour %zu as %s: off by %d", kernels.level, i, formats[f].name, worst);
            free(scratch.base);
            free_planes(&p);
        }
}

/* A picture of one colour is that colour in every size, and channels are where the format says. */
static void check_colours(void)
{
    static const unsigned char colours[][3] = { { 255, 0, 0 },     { 0, 0, 255 }, { 0, 255, 0 },
                                                { 255, 255, 255 }, { 0, 0, 0 },   { 1, 128, 254 } };
    static const int sizes[][2] = { { 2, 2 }, { 5, 3 }, { 4000, 9 }, { 64, 48 } };
    for (size_t c = 0; c < sizeof colours / sizeof colours[0]; c++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int f = 0; formats[f].bytes; f++) {
                const int size = 20, width = sizes[s][0], height = sizes[s][1];
                unsigned char *bytes = malloc((size_t)width * height * 4), out[20 * 20 * 3];
                struct palme_arena scratch = scratch_for_image(size);
                struct palme_image image = { formats[f].format,
                                             width,
                                             height,
                                             { bytes },
                                             { (ptrdiff_t)width * formats[f].bytes },
                                             0,
                                             0,
                                             0,
                                             NULL,
                                             NULL,
                                             { 0 } };
                int wrong = 0;
                memset(bytes, 77, (size_t)width * height * 4);
                for (int i = 0; i < width * height; i++) {
                    unsigned char *pixel = bytes + (size_t)i * formats[f].bytes;
                    pixel[formats[f].blue] = colours[c][2];
                    pixel[formats[f].green] = colours[c][1];
                    pixel[formats[f].red] = colours[c][0];
                    if (formats[f].alpha)
                        pixel[formats[f].alpha - 1] = 255;
                }
                palme_image_resize(&compute, out, &image, SQUASH(size), &scratch);
                for (int i = 0; i < size * size * 3; i++)
                    wrong += out[i] != colours[c][formats[f].bytes == 1 ? 0 : i % 3];
                CHECK_MESSAGE(wrong == 0, "%s %dx%d, colour %zu: %d bytes are wrong", formats[f].name, width, height, c,
                              wrong);
                free(scratch.base);
                free(bytes);
            }
}

/* Bytes with all alphas: a picture over white is the opaque picture of the colours that one then sees, byte for byte at
 * every level, where the alpha is 255 everywhere it is the picture of the format without alpha, and a premultiplied
 * picture is that of its colours and 255 - alpha. Wide enough for several chunks, with ones that are opaque. */
static void check_alpha(void)
{
    static const int sides[][2] = { { 1, 1 }, { 1700, 40 }, { 513, 3 }, { 40, 90 } };
    enum { SIZE = 24, ALPHA = FORMATS - 8 }; /* the first format with alpha */

    for (size_t s = 0; s < sizeof sides / sizeof *sides * 4; s++) {
        const int f = ALPHA + (int)s % 4, width = sides[s / 4][0], height = sides[s / 4][1], a = formats[f].alpha - 1;
        const enum palme_format without[] = { PALME_FORMAT_RGBX, PALME_FORMAT_BGRX, PALME_FORMAT_XRGB,
                                              PALME_FORMAT_XBGR };
        struct planes p = random_planes(f, width, height, 0, 0);
        unsigned char *flat = malloc(p.row[0] * p.rows[0]), out[SIZE * SIZE * 3], wanted[sizeof out];
        struct palme_arena scratch = scratch_for_image(SIZE);

        for (int how = 0; how < 3; how++) { /* straight, premultiplied, opaque */
            struct palme_image image = {
                formats[f].format, width, height, { p.bytes[0] }, { (ptrdiff_t)p.row[0] }, 0, 0,
                how == 1,          NULL,  NULL,   { 0 }
            };
            struct palme_image seen = { without[s % 4], width, height, { flat }, { (ptrdiff_t)p.row[0] }, 0, 0, 0,
                                        NULL,           NULL,  { 0 } };

            for (int i = 0; i < width * height; i++)
                for (int c = 0; c < 4; c++) {
                    unsigned char *pixel = p.bytes[0] + 4 * i;

                    if (how == 2 || i % width >= 1000)
                        pixel[a] = 255;
                    flat[4 * i + c] = how == 1 ? (unsigned char)fmin(255, pixel[c] + 255 - pixel[a])
                                               : (unsigned char)over_white(pixel[c], pixel[a]);
                }
            CHECK_INT(palme_image_resize(&compute, out, &image, SQUASH(SIZE), &scratch), PALME_OK);
            CHECK_INT(palme_image_resize(&compute, wanted, &seen, SQUASH(SIZE), &scratch), PALME_OK);
            CHECK_MESSAGE(memcmp(out, wanted, sizeof out) == 0, "%s %s %dx%d, alpha %d: not as over white",
                          kernels.level, formats[f].name, width, height, how);
        }
        free(scratch.base);
        free(flat);
        free_planes(&p);
    }
}

/* A picture that has the size already is copied. */
static void check_identity(void)
{
    for (int size = 1; size <= 64; size++) {
        unsigned char *pixels = random_picture(size, size), *out = malloc((size_t)size * size * 3);
        struct palme_arena scratch = scratch_for_image(size);
        struct palme_image image = {
            PALME_FORMAT_RGB, size, size, { pixels }, { size * 3 }, 0, 0, 0, NULL, NULL, { 0 }
        };
        palme_image_resize(&compute, out, &image, SQUASH(size), &scratch);
        CHECK_MESSAGE(memcmp(out, pixels, (size_t)size * size * 3) == 0, "%dx%d is not copied", size, size);
        free(scratch.base);
        free(out);
        free(pixels);
    }
}

/* ---- What cannot be read -------------------------------------------------------------------- */

static const uint8_t *no_row(void *user, int y)
{
    (void)y;
    return user;
}

static void check_problems(void)
{
    static const uint8_t bytes[64];
    const ptrdiff_t most = PTRDIFF_MAX;
    const struct {
        struct palme_image image;
        const char *wanted; /* NULL: no problem */
    } table[] = {
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { -6 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_RGB, 2, 1, { bytes }, { 0 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 5 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { -5 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 0 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { most }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { -most - 1 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_RGBX, 2, 2, { bytes }, { 7 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_GRAY8, 2, 2, { bytes }, { 2 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_RGB, 0, 2, { bytes }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } }, "width" },
        { { PALME_FORMAT_RGB, 2, 0, { bytes }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } }, "height" },
        { { PALME_FORMAT_RGB, -2, 2, { bytes }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } }, "width" },
        { { PALME_FORMAT_RGB, 2, -2147483647 - 1, { bytes }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } }, "height" },
        { { PALME_FORMAT_RGB, 32768, 1, { bytes }, { 98304 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_RGB, 32769, 1, { bytes }, { 98307 }, 0, 0, 0, NULL, NULL, { 0 } }, "32768" },
        { { PALME_FORMAT_RGB, 1, 2147483647, { bytes }, { 98307 }, 0, 0, 0, NULL, NULL, { 0 } }, "32768" },
        { { PALME_FORMAT_RGB, 2, 2, { NULL }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } }, "plane" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 2, 2 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { -3, -2, -2 }, 2, 1, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_I420, 3, 2, { bytes, bytes, bytes }, { 3, 0, 0 }, 0, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 2, 2, 2 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 1, 2 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 2, 1 }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 2, most }, 0, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, NULL, bytes }, { 3, 2, 2 }, 0, 0, 0, NULL, NULL, { 0 } }, "second" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes }, { 3, 2, 2 }, 0, 0, 0, NULL, NULL, { 0 } }, "third" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 2, 2 }, 3, 0, 0, NULL, NULL, { 0 } }, "matrix" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 2, 2 }, 0, 2, 0, NULL, NULL, { 0 } }, "range" },
        { { PALME_FORMAT_NV12, 3, 3, { bytes, bytes }, { 3, 4 }, 1, 0, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_NV12, 3, 3, { bytes, bytes }, { 3, 3 }, 1, 0, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_NV12, 3, 3, { bytes }, { 3, 4 }, 1, 0, 0, NULL, NULL, { 0 } }, "second" },
        { { PALME_FORMAT_YUY2, 3, 2, { bytes }, { 8 }, 1, 1, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_YUY2, 3, 2, { bytes }, { 7 }, 1, 1, 0, NULL, NULL, { 0 } }, "stride" },
        { { PALME_FORMAT_RGB, 2, 2, { bytes }, { 6 }, 77, 77, 0, NULL, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_RGB, 2, 2, { NULL }, { 0 }, 0, 0, 0, no_row, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_YUY2, 2, 2, { NULL }, { 0 }, 2, 1, 0, no_row, NULL, { 0 } }, NULL },
        { { PALME_FORMAT_YUY2, 2, 2, { NULL }, { 0 }, 3, 1, 0, no_row, NULL, { 0 } }, "matrix" },
        { { PALME_FORMAT_NV12, 3, 3, { bytes, bytes }, { 3, 4 }, 1, 0, 0, no_row, NULL, { 0 } }, "rows" },
        { { PALME_FORMAT_I420, 3, 3, { bytes, bytes, bytes }, { 3, 2, 2 }, 0, 0, 0, no_row, NULL, { 0 } }, "rows" },
        { { (enum palme_format)14, 2, 2, { bytes }, { 8 }, 0, 0, 0, NULL, NULL, { 0 } }, "format" },
        { { (enum palme_format)1000000, 2, 2, { bytes }, { 8 }, 0, 0, 0, NULL, NULL, { 0 } }, "format" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *found = palme_image_problem(&table[i].image), *wanted = table[i].wanted;
        CHECK_MESSAGE(wanted ? found && strstr(found, wanted) : !found, "picture %zu: \"%s\"", i,
                      found ? found : "no problem");
    }
    CHECK(palme_image_problem(NULL) != NULL);
}

/* ---- The cancel callback ---------------------------------------------------------------------- */

static int stop_after; /* questions that are answered with no */

static int stop(void *user)
{
    return ++*(int *)user > stop_after;
}

/* A picture of 24 million pixels is work enough to be asked several times; a small one is not. */
static void check_stop(void)
{
    enum { SIDE = 8, LARGE = 4900 };
    unsigned char *bytes = calloc(LARGE, LARGE), out[SIDE * SIDE * 3];
    struct palme_arena scratch = scratch_for_image(SIDE);
    struct palme_image image = { PALME_FORMAT_GRAY8, LARGE, LARGE, { bytes }, { LARGE }, 0, 0, 0, NULL, NULL, { 0 } };
    int asked = 0;
    struct palme_compute stopping = { .kernels = &kernels, .cancel = stop, .cancel_user = &asked };

    stop_after = 1;
    CHECK_INT(palme_image_resize(&stopping, out, &image, SQUASH(SIDE), &scratch), PALME_ERROR_CANCELLED);
    CHECK_INT(asked, 2);
    stop_after = 1000;
    asked = stopping.cancelled = 0;
    CHECK_INT(palme_image_resize(&stopping, out, &image, SQUASH(SIDE), &scratch), PALME_OK);
    CHECK(asked > 2);
    asked = 0;
    image.width = image.height = 100;
    CHECK_INT(palme_image_resize(&stopping, out, &image, SQUASH(SIDE), &scratch), PALME_OK);
    CHECK_INT(asked, 0);
    free(scratch.base);
    free(bytes);
}

/* ---- Squarers ------------------------------------------------------------------------------- */

static void check_preprocessor(const char *level)
{
    static const uint8_t bytes[64];
    palme_preprocessor *preprocessor = NULL;
    struct palme_image none = { PALME_FORMAT_RGB, 2, 2, { NULL }, { 6 }, 0, 0, 0, NULL, NULL, { 0 } };

    for (int size = 1; size <= 40; size += 13)
        for (int f = 0; f < FORMATS; f++) {
            struct planes p = random_planes(f, 77, 35, f % MATRICES, f % RANGES);
            struct palme_image image = { formats[f].format,
                                         77,
                                         35,
                                         { p.bytes[0], p.bytes[1], p.bytes[2] },
                                         { (ptrdiff_t)p.row[0], (ptrdiff_t)p.row[1], (ptrdiff_t)p.row[2] },
                                         p.matrix,
                                         p.range,
                                         0,
                                         NULL,
                                         NULL,
                                         { 0 } };
            size_t n = (size_t)size * size * 3;
            unsigned char *out = malloc(n), *wanted = malloc(n);
            struct palme_arena scratch = scratch_for_image(size);

            CHECK_INT(palme_preprocessor_open(&preprocessor, size, PALME_RESIZE_SQUASH, level), PALME_OK);
            CHECK_INT(palme_preprocess(preprocessor, out, &image), PALME_OK);
            CHECK_INT(palme_image_resize(&compute, wanted, &image, SQUASH(size), &scratch), PALME_OK);
            CHECK_MESSAGE(memcmp(out, wanted, n) == 0, "%s %s, size %d: a preprocessor sees something else", level,
                          formats[f].name, size);
            memcpy(wanted, out, n);
            CHECK_INT(palme_preprocess(preprocessor, out, &none), PALME_ERROR_ARGUMENT);
            CHECK_INT(palme_preprocess(preprocessor, out, NULL), PALME_ERROR_ARGUMENT);
            CHECK(memcmp(out, wanted, n) == 0);
            CHECK_INT(palme_preprocess(preprocessor, NULL, &image), PALME_ERROR_ARGUMENT);
            palme_preprocessor_close(&preprocessor);
            CHECK(preprocessor == NULL);
            free(scratch.base);
            free(wanted);
            free(out);
            free_planes(&p);
        }
    none.planes[0] = bytes;
    CHECK_INT(palme_preprocess(NULL, (uint8_t[12]){ 0 }, &none), PALME_ERROR_ARGUMENT);
    preprocessor = (palme_preprocessor *)(void *)&none;
    CHECK_INT(palme_preprocessor_open(&preprocessor, 0, PALME_RESIZE_SQUASH, NULL), PALME_ERROR_ARGUMENT);
    CHECK(preprocessor == NULL);
    CHECK_INT(palme_preprocessor_open(&preprocessor, 4097, PALME_RESIZE_SQUASH, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_preprocessor_open(&preprocessor, 16, PALME_RESIZE_SQUASH, "none"), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_preprocessor_open(NULL, 16, PALME_RESIZE_SQUASH, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_preprocessor_open(&preprocessor, 4096, PALME_RESIZE_SQUASH, NULL), PALME_OK);
    palme_preprocessor_close(&preprocessor);
    palme_preprocessor_close(&preprocessor);
    palme_preprocessor_close(NULL);
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
        struct palme_arena scratch;
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
        scratch = scratch_for_image(size);
        CHECK_INT(palme_tensor_read_raw(file, pixels, tensor, 0, tensor->count, NULL), PALME_OK);
        CHECK_INT(palme_tensor_read_raw(file, wanted, &list[i], 0, list[i].count, NULL), PALME_OK);
        image.height = (int)tensor->shape[0];
        image.width = (int)tensor->shape[1];
        image.planes[0] = pixels;
        image.strides[0] = image.width * 3;
        palme_image_resize(&compute, out, &image, SQUASH(size), &scratch);
        for (int64_t k = 0; k < list[i].count; k++)
            worst = abs(out[k] - wanted[k]) > worst ? abs(out[k] - wanted[k]) : worst;
        CHECK_MESSAGE(worst <= 1, "%s: %d steps from Pillow", list[i].name, worst);
        compared++;
        free(scratch.base);
        free(out);
        free(wanted);
        free(pixels);
    }
    CHECK(compared > 25);
    printf("%zu pictures compared with Pillow's\n", compared);
    palme_safetensors_close(&file);
}

/* ---- The filters of Pillow, of other formats than RGB --------------------------------------- */

/* Planes of a picture that changes slowly: nothing that a filter makes of it leaves 0..255. */
static void smooth(struct planes *p)
{
    for (int i = 0; i < p->count; i++)
        for (size_t y = 0; y < p->rows[i]; y++)
            for (size_t x = 0; x < p->row[i]; x++) {
                size_t bytes = formats[p->f].bytes ? (size_t)formats[p->f].bytes : p->row[i] > (size_t)p->width ? 4 : 1;
                double place = (double)(x / bytes) / (double)p->width + (double)y / (double)p->height;

                p->bytes[i][y * p->row[i] + x] = (unsigned char)(128 + 40 * sin(3 * place + (double)(x % bytes) + i));
            }
}

/* What the definition says of each pixel, as RGB in bytes; to be freed. */
static unsigned char *as_rgb(const struct planes *p)
{
    unsigned char *out = malloc((size_t)p->width * p->height * 3);

    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            double rgb[3];

            decode(rgb, p, x, y);
            for (int c = 0; c < 3; c++)
                out[((size_t)y * p->width + x) * 3 + c] = (unsigned char)fmin(255, fmax(0, floor(rgb[c] + 0.5)));
        }
    return out;
}

/* A picture of any format gives what the same picture in RGB gives, by every rule and filter. YUV is filtered before it
 * becomes RGB: its luma and chroma are rounded between the two passes (half a step each, which bicubic weights make
 * 1.25 of and the matrix 1.17 and 2.2), what the RGB is made of is rounded before and between (half a step each and
 * again 1.25), and both at the end: below 5 steps at worst. */
static void check_filters(void)
{
    static const int sizes[][4] = { { 97, 64, 20, 24 }, { 46, 110, 31, 31 }, { 13, 9, 24, 30 }, { 64, 64, 16, 20 } };

    for (int f = 0; f < FORMATS; f++)
        for (int k = 0; k < 16; k++) {
            const int *s = sizes[k / 4];
            const struct palme_scaling scaling = { s[2], k & 1 ? PALME_RESIZE_CROP : PALME_RESIZE_SQUASH,
                                                   k & 2 ? PALME_FILTER_BICUBIC : PALME_FILTER_BILINEAR, s[3] };
            struct planes p = random_planes(f, s[0], s[1], k % MATRICES, k / 4 % RANGES);
            size_t n = (size_t)s[2] * (size_t)s[2] * 3;
            unsigned char *out = malloc(n), *wanted = malloc(n), *rgb;
            int worst = 0, most = formats[f].alpha ? 1 : formats[f].bytes ? 0 : 4;
            struct palme_arena scratch = { 0 };

            smooth(&p);
            rgb = as_rgb(&p);
            palme_image_reserve(&scratch, &scaling);
            scratch = palme_arena_over(aligned_alloc(64, (scratch.most + 63) / 64 * 64), scratch.most);
            struct palme_image image = {
                .format = formats[f].format,
                .width = s[0],
                .height = s[1],
                .planes = { p.bytes[0], p.bytes[1], p.bytes[2] },
                .strides = { (ptrdiff_t)p.row[0], (ptrdiff_t)p.row[1], (ptrdiff_t)p.row[2] },
                .matrix = p.matrix,
                .range = p.range,
            };
            struct palme_image plain_rgb = { .format = PALME_FORMAT_RGB,
                                             .width = s[0],
                                             .height = s[1],
                                             .planes = { rgb },
                                             .strides = { (ptrdiff_t)s[0] * 3 } };
            CHECK_INT(palme_image_resize(&compute, out, &image, &scaling, &scratch), PALME_OK);
            CHECK_INT(palme_image_resize(&plainly, wanted, &plain_rgb, &scaling, &scratch), PALME_OK);
            for (size_t i = 0; i < n; i++)
                worst = abs(out[i] - wanted[i]) > worst ? abs(out[i] - wanted[i]) : worst;
            CHECK_MESSAGE(worst <= most, "%s: %s %dx%d -> %d of %d, rule %d, filter %d: %d steps from RGB",
                          kernels.level, formats[f].name, s[0], s[1], s[2], s[3], scaling.rule, scaling.filter, worst);
            if (p.count == 1) { /* and the same bytes where its rows come one by one */
                struct lent lent = { .planes = &p, .rows = malloc(PALME_ROWS_HELD * p.row[0]), .before = -1 };

                memcpy(wanted, out, n);
                image.row = lend;
                image.row_user = &lent;
                CHECK_INT(palme_image_resize(&compute, out, &image, &scaling, &scratch), PALME_OK);
                CHECK_MESSAGE(memcmp(out, wanted, n) == 0,
                              "%s: %s %dx%d -> %d of %d, rule %d, filter %d: other bytes "
                              "by rows",
                              kernels.level, formats[f].name, s[0], s[1], s[2], s[3], scaling.rule, scaling.filter);
                free(lent.rows);
            }
            free(scratch.base);
            free(rgb);
            free(wanted);
            free(out);
            free_planes(&p);
        }
}

/* Whether two levels compute pictures by the same functions. */
static int same_pictures(const struct palme_kernels *a, const struct palme_kernels *b)
{
    return a->filter_vertical == b->filter_vertical && a->filter_horizontal == b->filter_horizontal &&
           a->deinterleave == b->deinterleave && a->colour == b->colour && a->opaque == b->opaque &&
           a->over_white == b->over_white;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: check_image DATA_FOLDER\n", stderr);
        return 1;
    }
    struct palme_kernels before = { 0 };

    check_problems();
    palme_kernels_init(&plain, PALME_CPU_C);
    for (int level = PALME_CPU_C; level < PALME_CPU_LEVELS; level++) {
        if (!palme_cpu_has((enum palme_cpu_level)level))
            continue;
        palme_kernels_init(&kernels, (enum palme_cpu_level)level);
        if (same_pictures(&kernels, &before))
            continue; /* a level that has nothing new for pictures */
        before = kernels;
        printf("level %s\n", kernels.level);
        check_sizes();
        check_colours();
        check_known_colours();
        check_identity();
        check_alpha();
        check_stop();
        check_preprocessor(kernels.level);
        check_filters();
        check_pillow(argv[1]);
    }
    return check_done();
}
