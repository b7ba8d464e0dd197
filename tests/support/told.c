/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * told.c - what a model says about a picture.
 */
#include "support/told.h"

#include <stdio.h>
#include <string.h>

#include "kernels/cpu.h"

const char *const told_levels[] = { "c", "neon", "dotprod", "avx2", "avxvnni", "avx512", "vnni", "bf16", NULL };

int told_has_level(const char *level)
{
    enum palme_cpu_level found;

    return palme_cpu_choose(&found, level) == 0 && strcmp(palme_cpu_name(found), level) == 0;
}

struct told told_by(palme_session *session, const char *prompt)
{
    enum { WIDTH = 97, HEIGHT = 61 };
    static unsigned char pixels[HEIGHT * WIDTH * 3];
    const struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = WIDTH, .height = HEIGHT, .planes = { pixels }, .strides = { WIDTH * 3 }
    };
    struct told told = { .status = PALME_OK };
    unsigned random = 1;
    size_t used = 0;
    const char *piece;

    for (size_t i = 0; i < sizeof pixels; i++) {
        random = random * 1664525u + 1013904223u;
        pixels[i] = (unsigned char)((random >> 24) / 2 + i / 3 % WIDTH); /* not noise alone */
    }
    told.status = palme_look(session, &image);
    if (told.status == PALME_OK && prompt)
        told.status = palme_prompt(session, prompt);
    while (told.status == PALME_OK && (told.status = palme_next(session, &piece)) == PALME_OK)
        used += (size_t)snprintf(told.line + used, sizeof told.line - used, "%s", piece);
    if (told.status != PALME_END)
        return told;
    told.status = PALME_OK;
    snprintf(told.line + used, sizeof told.line - used, " (%d, %a)", palme_caption_length(session),
             palme_caption_score(session));
    return told;
}

struct told told_from(const char *path, const struct palme_setup *setup, const struct palme_options *options,
                      const char *prompt)
{
    struct told told = { .status = PALME_OK };
    palme_model *model = NULL;
    palme_session *session = NULL;

    if ((told.status = palme_model_open(&model, path, setup)) == PALME_OK &&
        (told.status = palme_session_open(&session, model, options)) == PALME_OK)
        told = told_by(session, prompt);
    palme_session_close(&session);
    palme_model_close(&model);
    return told;
}

int told_alike(const struct told *a, const struct told *b)
{
    return a->status == PALME_OK && b->status == PALME_OK && strcmp(a->line, b->line) == 0;
}
