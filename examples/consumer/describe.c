/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * describe.c - the engine from a project of one's own, in few lines: what a model says of a grey picture.
 *
 *     describe MODEL
 *
 * Beside it are meson.build and CMakeLists.txt, one of which is enough; see README.md.
 */
#include <palme.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 64 };

int main(int argc, char **argv)
{
    static uint8_t pixels[SIDE * SIDE];
    struct palme_image image = {
        .format = PALME_FORMAT_GRAY8, .width = SIDE, .height = SIDE, .planes = { pixels }, .strides = { SIDE }
    };
    struct palme_info info;
    palme_model *model = NULL;
    palme_session *session = NULL;
    const char *piece;
    int status = PALME_ERROR_ARGUMENT;

    memset(pixels, 128, sizeof pixels);
    if (argc == 2 && (status = palme_model_open(&model, argv[1], NULL)) == PALME_OK) {
        palme_model_info(model, &info);
        fprintf(stderr, "palme %s, level %s, precision %s\n", palme_version(), info.level, info.precision);
        status = palme_session_open(&session, model, NULL);
    }
    if (status == PALME_OK)
        status = palme_look(session, &image);
    while (status == PALME_OK && (status = palme_next(session, &piece)) == PALME_OK)
        fputs(piece, stdout);
    if (status == PALME_END)
        putchar('\n');
    else
        fprintf(stderr, "describe: %s\n", argc == 2 ? palme_strerror(status) : "needs a model file");
    palme_session_close(&session);
    palme_model_close(&model);
    return status == PALME_END ? 0 : 1;
}
