/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * prefill.c - before the first word: a session sees a picture and reads its prompt.
 */
#include "session.h"

#include "floats.h"
#include "image.h"

#include <math.h>
#include <string.h>

/* ---- Seeing ------------------------------------------------------------------------------- */

static int begin(palme_session *s)
{
    s->compute.pool = palme_pool_here(s->model->pool);
    s->compute.cancelled = 0;
    s->state = PALME_STATE_NO_PICTURE;
    return palme_compute_cancelled(&s->compute) ? PALME_ERROR_CANCELLED : PALME_OK;
}

/* Encodes pixels[height][width][3] and prepares the decoder for a sentence about them. */
static int see(palme_session *s, int height, int width)
{
    const struct palme_config *config = &s->model->config;
    int tokens = palme_encode(s->model, &s->compute, s->context, s->pixels, height, width, &s->scratch);

    if (tokens < 0)
        return tokens;
    palme_decoder_see(s->model, &s->compute, &s->picture, config->cross_attend ? NULL : s->mapped,
                      s->context, tokens, &s->scratch);
    for (int b = 0; b < s->width_capacity; b++) {
        s->cache[b].length = 0;
        s->cache[b].visible = config->cross_attend ? 0 : tokens;
    }
    if (!config->cross_attend && !s->compute.cancelled) {
        for (int i = 0; i < tokens; i++)
            s->rows[i] = (struct palme_row){ .cache = &s->cache[0], .picture = &s->picture,
                                             .rotary = &s->rotary,
                                             .embedding = s->mapped + (size_t)i * config->decoder.dim };
        palme_decode(s->model, &s->compute, NULL, s->rows, tokens, tokens, &s->scratch);
    }
    if (s->compute.cancelled)
        return PALME_ERROR_CANCELLED;

    s->generated = 0;
    s->score = 0;
    s->pending = -1;
    palme_draft_begin(s);
    s->random.state = s->options.seed;
    s->utf8 = (struct palme_utf8){ .count = 0 };
    s->state = PALME_STATE_PICTURE;
    return PALME_OK;
}

static int look(palme_session *session, const struct palme_image *image)
{
    const char *problem;
    int status;

    if (!session || !image)
        return PALME_ERROR_ARGUMENT;
    int side = session->model->config.image_size;
    size_t count = (size_t)side * (size_t)side * 3;

    if ((problem = palme_image_problem(image)) != NULL) {
        session->state = PALME_STATE_NO_PICTURE;
        return palme_fail(&session->model->report, PALME_ERROR_ARGUMENT, "the picture cannot be read: %s",
                          problem);
    }
    if ((status = begin(session)) < 0)
        return status;
    status = palme_image_resize(&session->compute, session->square, image, side, &session->scratch);
    if (status < 0)
        return status;
    for (size_t i = 0; i < count; i++)
        session->pixels[i] = (float)session->square[i] / 255;
    return see(session, side, side);
}

int palme_look(palme_session *session, const struct palme_image *image)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = look(session, image);
    palme_floats_leave(&floats);
    return status;
}

static int look_planar(palme_session *session, const float *pixels, int height, int width)
{
    int status;

    if (!session || !pixels)
        return PALME_ERROR_ARGUMENT;
    const struct palme_report *report = &session->model->report;
    int patch = session->model->config.patch_size, most = palme_config_patches(&session->model->config);

    session->state = PALME_STATE_NO_PICTURE;
    if (height <= 0 || width <= 0 || height % patch || width % patch)
        return palme_fail(report, PALME_ERROR_ARGUMENT,
                          "a picture of %d x %d pixels is not made of patches of %d x %d", width, height,
                          patch, patch);
    if ((int64_t)(height / patch) * (width / patch) > most)
        return palme_fail(report, PALME_ERROR_ARGUMENT,
                          "a picture of %d x %d pixels has more than the model's %d patches", width, height,
                          most);
    size_t area = (size_t)height * (size_t)width;
    for (size_t i = 0; i < 3 * area; i++)
        if (!isfinite(pixels[i]))
            return palme_fail(report, PALME_ERROR_ARGUMENT,
                              "the picture cannot be read: value %zu is NaN or infinite", i);
    if ((status = begin(session)) < 0)
        return status;
    for (size_t i = 0; i < area; i++)
        for (size_t channel = 0; channel < 3; channel++)
            session->pixels[3 * i + channel] = pixels[channel * area + i];
    return see(session, height, width);
}

int palme_look_planar(palme_session *session, const float *pixels, int height, int width)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = look_planar(session, pixels, height, width);
    palme_floats_leave(&floats);
    return status;
}

/* ---- Prompt ------------------------------------------------------------------------------- */

/* Runs text[0..count-1] and `more` tokens of the draft through the decoder; the rows of the last token of the
 * text and of the draft stand in s->hidden. */
static int prefill(palme_session *s, int count, int more)
{
    int all = count + more;

    for (int first = 0; first < all; first += PALME_PREFILL_ROWS) {
        int n = all - first < PALME_PREFILL_ROWS ? all - first : PALME_PREFILL_ROWS;
        int skip = count - 1 - first < 0 ? 0 : count - 1 - first < n ? count - 1 - first : n;
        float *to = skip < n ? s->hidden + (size_t)(first + skip - (count - 1)) *
                                               (size_t)s->model->config.decoder.dim
                             : NULL;

        for (int i = 0, at = first; i < n; i++, at++)
            s->rows[i] = (struct palme_row){
                .cache = &s->cache[0], .picture = &s->picture, .rotary = &s->rotary,
                .token = at < count ? s->text[at] : s->draft.tokens[at - count],
            };
        palme_decode_rows(s->model, &s->compute, to, s->rows, n, skip, &s->scratch);
        if (s->compute.cancelled)
            return PALME_ERROR_CANCELLED;
    }
    s->fed = 1 + more;
    s->row = s->first = s->standing = 0;
    return PALME_OK;
}

static int prompt(palme_session *session, const char *text)
{
    int count, status, room, wanted;

    if (!session || session->state != PALME_STATE_PICTURE)
        return PALME_ERROR_ARGUMENT;
    const struct palme_report *report = &session->model->report;
    if (!text)
        text = session->model->config.default_prompt;
    size_t length = strnlen(text, PALME_MAX_PROMPT_BYTES + 1);

    if (length > PALME_MAX_PROMPT_BYTES)
        return palme_fail(report, PALME_ERROR_TEXT, "the prompt is longer than %d bytes", PALME_MAX_PROMPT_BYTES);
    room = session->capacity - session->cache[0].length;
    session->text[0] = session->model->config.bos_token;
    count = palme_tokenizer_encode(session->model->tokenizer, session->text + 1, room - 1, text, length,
                                   session->encode_scratch);
    if (count == PALME_ERROR_CONTEXT)
        return palme_fail(report, count, "the prompt leaves no room for a caption: the context is %d tokens",
                          session->model->config.context);
    if (count < 0)
        return palme_fail(report, count, "the prompt is not valid UTF-8");
    count++;

    session->compute.pool = palme_pool_here(session->model->pool);
    session->compute.cancelled = 0;
    /* The last token is never fed, so one more fits than the context has positions left. */
    wanted = session->options.max_length ? session->options.max_length : PALME_DEFAULT_LENGTH;
    session->most = room - count + 1 < wanted ? room - count + 1 : wanted;
    int before = session->cache[0].length;
    if ((status = prefill(session, count, palme_draft_propose(session, 0))) < 0) {
        session->cache[0].length = before; /* asked again, it starts anew */
        return status;
    }
    session->shared = before + count;
    session->filled = 1;
    session->undecided = 0;
    session->told = 0;
    if (palme_session_width(session->model, &session->options) > 1)
        palme_beams_begin(&session->beams);
    session->state = PALME_STATE_GENERATING;
    return PALME_OK;
}

int palme_prompt(palme_session *session, const char *text)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = prompt(session, text);
    palme_floats_leave(&floats);
    return status;
}

/* ---- What was told ------------------------------------------------------------------------- */

const int *palme_caption_tokens(const palme_session *session, int *count)
{
    *count = session->generated;
    if (palme_session_width(session->model, &session->options) == 1)
        return session->text;
    return session->beams.best_length ? session->beams.best : session->beams.beam[0].tokens;
}

int palme_caption_accepted(const palme_session *session)
{
    return session ? session->draft.reused : 0;
}

int palme_caption_length(const palme_session *session)
{
    return session ? session->generated : 0;
}

double palme_caption_score(const palme_session *session)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    double score = session && session->generated ? session->score / session->generated : 0;
    palme_floats_leave(&floats);
    return score;
}
