/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * engine.c - the model of a run and its sessions.
 */
#include "engine.h"
#include "complain.h"
#include "stop.h"

#include <unistd.h>

/* `user` is an engine's `said`. */
static void engine_says(void *user, enum palme_log_level level, const char *message)
{
    if (level != PALME_LOG_INFO)
        caption_complain(NULL, "%s", message);
    if (level == PALME_LOG_ERROR)
        g_atomic_int_set((int *)user, 1);
}

static int is_cancelled(void *user)
{
    (void)user;
    return caption_stopped();
}

const char *caption_engine_find_model(const struct caption_settings *settings)
{
    const char *named = g_getenv("PALME_MODEL");

    if (settings->model)
        return settings->model;
    if (named && *named)
        return named;
    if (access(PALME_DEFAULT_MODEL, F_OK) == 0)
        return PALME_DEFAULT_MODEL;
    caption_complain(NULL, "no model: --model is not given, PALME_MODEL is not set, and there is no %s",
                     PALME_DEFAULT_MODEL);
    return NULL;
}

gboolean caption_engine_open(struct caption_engine *engine, const struct caption_settings *settings, int threads)
{
    struct palme_setup setup = { .threads = threads,
                                 .verify = settings->verify,
                                 .level = settings->level,
                                 .precision = settings->precision,
                                 .log = engine_says,
                                 .log_user = &engine->said };
    int status;

    *engine = (struct caption_engine){ .settings = settings, .path = caption_engine_find_model(settings) };
    if (!engine->path)
        return FALSE;
    status = palme_model_open(&engine->model, engine->path, &setup);
    if (status < 0) {
        if (!engine->said)
            caption_complain(engine->path, "cannot use this model: %s", palme_strerror(status));
        return FALSE;
    }
    palme_model_info(engine->model, &engine->info);
    return TRUE;
}

void caption_engine_close(struct caption_engine *engine)
{
    palme_model_close(&engine->model);
}

gboolean caption_speaker_open(struct caption_speaker *speaker, struct caption_engine *engine)
{
    struct palme_options options = { .beams = engine->settings->beams,
                                     .max_length = engine->settings->max_length,
                                     .label_weight = engine->settings->label_weight,
                                     .cancel = is_cancelled,
                                     .log = engine_says,
                                     .log_user = &engine->said };
    int status;

    *speaker = (struct caption_speaker){ .engine = engine };
    status = palme_session_open(&speaker->session, engine->model, &options);
    if (status < 0) {
        caption_complain(NULL, "cannot begin with these options: %s", palme_strerror(status));
        return FALSE;
    }
    speaker->text = g_string_new(NULL);
    return TRUE;
}

void caption_speaker_close(struct caption_speaker *speaker)
{
    palme_session_close(&speaker->session);
    if (speaker->text)
        g_string_free(speaker->text, TRUE);
    speaker->text = NULL;
}

/* The whole sentence into speaker->text; a status. */
static int caption_picture(struct caption_speaker *speaker, const struct caption_frame *frame, gboolean *hopeless)
{
    struct palme_image image = { .format = frame->alpha ? PALME_FORMAT_RGBA : PALME_FORMAT_RGB,
                                 .width = frame->width,
                                 .height = frame->height,
                                 .planes = { frame->pixels },
                                 .strides = { frame->stride } };
    const char *prompt = speaker->engine->settings->prompt, *piece;
    int status = palme_look(speaker->session, &image);

    g_string_truncate(speaker->text, 0);
    if (status == PALME_OK && prompt) {
        status = palme_prompt(speaker->session, prompt);
        *hopeless = status == PALME_ERROR_TEXT || status == PALME_ERROR_CONTEXT;
    }
    while (status == PALME_OK && (status = palme_next(speaker->session, &piece)) == PALME_OK)
        g_string_append(speaker->text, piece);
    return status;
}

/* Whether the picture's labels confirm the sentence, which begins with the prompt. */
static gboolean is_confirmed(struct caption_speaker *speaker)
{
    const char *prompt = speaker->engine->settings->prompt;
    char *sentence = g_strconcat(prompt ? prompt : speaker->engine->info.default_prompt, speaker->text->str, NULL);
    gboolean confirmed = palme_confirms(speaker->session, sentence) != 0;

    g_free(sentence);
    return confirmed;
}

/* What is said of the picture, by its labels; the text is replaced where they do not confirm it. */
static void judge(struct caption_speaker *speaker, struct caption_result *result)
{
    enum caption_when_unsure when = speaker->engine->settings->when_unsure;
    const struct palme_info *info = &speaker->engine->info;
    GString *text = speaker->text;

    result->unsure = (info->has_min_score && result->score < info->min_score) || !is_confirmed(speaker);
    if (!result->unsure || when == CAPTION_SAY_CAPTION)
        return;
    g_string_assign(text, when == CAPTION_SAY_LABELS ? palme_cautious(speaker->session) : "");
    if (text->len)
        palme_score(speaker->session, text->str, &result->score);
    result->caption = text->str;
}

gboolean caption_speaker_say(struct caption_speaker *speaker, struct caption_result *result, const char *source,
                             const struct caption_frame *frame, char **why, gboolean *hopeless)
{
    int status;

    *why = NULL;
    *hopeless = FALSE;
    status = caption_picture(speaker, frame, hopeless);
    if (status < 0) {
        if (*hopeless)
            *why = g_strdup_printf("--prompt: %s", palme_strerror(status));
        else if (status != PALME_ERROR_CANCELLED)
            *why = g_strdup_printf("no caption for a picture of %d x %d: %s", frame->width, frame->height,
                                   palme_strerror(status));
        return FALSE;
    }
    *result = (struct caption_result){ .source = source,
                                       .time = frame->time,
                                       .caption = speaker->text->str,
                                       .score = palme_caption_score(speaker->session) };
    if (speaker->engine->info.labels) {
        result->labels = speaker->labels;
        result->label_count = MAX(palme_labels(speaker->session, speaker->found, PALME_MAX_LABELS), 0);
        for (int i = 0; i < result->label_count; i++)
            speaker->labels[i] = (struct caption_label){ speaker->found[i].name, speaker->found[i].probability };
        judge(speaker, result);
    }
    return TRUE;
}
