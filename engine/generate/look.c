/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * look.c - a session sees a picture: resizing, the encoder, and what the decoder reads of the encoder's
 * output.
 */
#include "generate/session.h"

#include "compute/floats.h"
#include "image/preprocess.h"

#include <math.h>

/* Encodes view.pixels[height][width][3] and prepares the decoder for sentences about them. */
static int see(palme_session *s, int height, int width)
{
    const struct palme_config *config = &s->model->config;
    struct palme_view *view = &s->view;
    struct palme_work *work = &s->work;
    const int labels = config->labels && !s->options.no_labels;
    int tokens = palme_encode(s->model, &s->compute, view->context, labels ? s->seen.pooled : NULL, view->pixels,
                              height, width, &work->scratch);

    if (tokens < 0)
        return tokens;
    palme_seen_forget(&s->seen);
    if (labels)
        palme_seen_look(s);
    palme_decoder_see(s->model, &s->compute, &view->picture, config->cross_attend ? NULL : view->mapped, view->context,
                      tokens, &work->scratch);
    palme_generate_clear(s, tokens);
    if (!config->cross_attend && !s->compute.cancelled) {
        for (int i = 0; i < tokens; i++)
            work->rows[i] = (struct palme_row){ .cache = &s->hypotheses.cache[0],
                                                .picture = &view->picture,
                                                .rotary = &s->rotary,
                                                .embedding = view->mapped + (size_t)i * config->decoder.dim };
        palme_decode(s->model, &s->compute, NULL, work->rows, tokens, tokens, &work->scratch);
    }
    if (s->compute.cancelled)
        return PALME_ERROR_CANCELLED;
    palme_generate_picture(s);
    return PALME_OK;
}

static int look(palme_session *s, const struct palme_image *image)
{
    const char *problem;
    int status;

    if (!s || !image)
        return PALME_ERROR_ARGUMENT;
    int side = s->model->config.image_size;
    size_t count = (size_t)side * (size_t)side * 3;

    palme_generate_forget(s);
    if ((problem = palme_image_problem(image)) != NULL)
        return palme_fail(&s->log, PALME_ERROR_ARGUMENT, "the picture cannot be read: %s", problem);
    palme_session_enter(s);
    if (palme_compute_cancelled(&s->compute))
        return PALME_ERROR_CANCELLED;
    struct palme_scaling scaling = palme_config_scaling(&s->model->config);
    status = palme_preprocess_run(&s->compute, s->view.square, image, &scaling, &s->work.scratch);
    if (status < 0)
        return status;
    for (size_t i = 0; i < count; i++)
        s->view.pixels[i] = (float)s->view.square[i] / 255;
    return see(s, side, side);
}

int palme_look(palme_session *session, const struct palme_image *image)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = look(session, image);
    palme_floats_leave(&floats);
    return status;
}

static int look_planar(palme_session *s, const float *pixels, int height, int width)
{
    if (!s || !pixels)
        return PALME_ERROR_ARGUMENT;
    int patch = s->model->config.patch_size, most = palme_config_patches(&s->model->config);

    palme_generate_forget(s);
    if (height <= 0 || width <= 0 || height % patch || width % patch)
        return palme_fail(&s->log, PALME_ERROR_ARGUMENT,
                          "a picture of %d x %d pixels is not made of patches of %d x %d", width, height, patch, patch);
    if ((int64_t)(height / patch) * (width / patch) > most)
        return palme_fail(&s->log, PALME_ERROR_ARGUMENT,
                          "a picture of %d x %d pixels has more than the model's %d patches", width, height, most);
    size_t area = (size_t)height * (size_t)width;
    for (size_t i = 0; i < 3 * area; i++)
        if (!isfinite(pixels[i]))
            return palme_fail(&s->log, PALME_ERROR_ARGUMENT, "the picture cannot be read: value %zu is NaN or infinite",
                              i);
    palme_session_enter(s);
    if (palme_compute_cancelled(&s->compute))
        return PALME_ERROR_CANCELLED;
    for (size_t i = 0; i < area; i++)
        for (size_t channel = 0; channel < 3; channel++)
            s->view.pixels[3 * i + channel] = pixels[channel * area + i];
    return see(s, height, width);
}

int palme_look_planar(palme_session *session, const float *pixels, int height, int width)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = look_planar(session, pixels, height, width);
    palme_floats_leave(&floats);
    return status;
}
