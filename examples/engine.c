/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * engine.c - the engine alone: a PPM in, a sentence out. Needs palme.h and the C library.
 *
 *     engine MODEL PICTURE.ppm        (convert photo.jpg photo.ppm, or pngtopnm, makes one)
 */
#include <palme.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void log_line(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    if (level != PALME_LOG_INFO)
        fprintf(stderr, "engine: %s\n", message);
}

/* A number of the PPM's header; white space and comments before it, one byte after it. -1: none. */
static int header_number(FILE *file)
{
    int c = getc(file), value = -1;
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#') {
        if (c == '#')
            while (c != '\n' && c != EOF)
                c = getc(file);
        c = getc(file);
    }
    for (; c >= '0' && c <= '9' && value < 100000; c = getc(file))
        value = (value < 0 ? 0 : value * 10) + c - '0';
    return value;
}

/* Reads a binary PPM of 8 bits; the caller frees the pixels. NULL: it is not one. */
static unsigned char *read_ppm(const char *path, int *width, int *height)
{
    FILE *file = fopen(path, "rb");
    unsigned char *pixels = NULL;
    if (file && getc(file) == 'P' && getc(file) == '6' && (*width = header_number(file)) > 0 &&
        (*height = header_number(file)) > 0 && *width <= 32768 && *height <= 32768 && header_number(file) == 255) {
        size_t size = 3 * (size_t)*width * (size_t)*height;
        pixels = malloc(size);
        if (pixels && fread(pixels, 1, size, file) != size)
            *width = *height = 0; /* cut short: an empty picture, which palme_look refuses */
    }
    if (file)
        fclose(file);
    return pixels;
}

int main(int argc, char **argv)
{
    struct palme_setup setup = { .log = log_line };
    struct palme_options options = { .log = log_line };
    struct palme_image image = { .format = PALME_FORMAT_RGB };
    unsigned char *pixels = argc == 3 ? read_ppm(argv[2], &image.width, &image.height) : NULL;
    palme_model *model = NULL;
    palme_session *session = NULL;
    const char *piece;
    int status = PALME_ERROR_READ, begun = 0;

    image.planes[0] = pixels;
    image.strides[0] = 3 * (ptrdiff_t)image.width;
    if (pixels && (status = palme_model_open(&model, argv[1], &setup)) == PALME_OK &&
        (status = palme_session_open(&session, model, &options)) == PALME_OK &&
        (status = palme_look(session, &image)) == PALME_OK)
        for (; (status = palme_next(session, &piece)) == PALME_OK; begun |= *piece != 0)
            fputs(begun ? piece : piece + strspn(piece, " "), stdout);
    if (status == PALME_END)
        puts("");
    else
        fprintf(stderr, "usage: engine MODEL PICTURE.ppm: %s\n", palme_strerror(status));
    palme_session_close(&session);
    palme_model_close(&model);
    free(pixels);
    return status == PALME_END ? 0 : 1;
}
