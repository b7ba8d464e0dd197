/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * engine.h - the model of a run and its sessions: a frame in, what is said of it out. Nobody else knows palme.h.
 */
#ifndef CAPTIONENGINE_H
#define CAPTIONENGINE_H

#include "options.h"
#include "palme.h"
#include "source.h"

struct caption_engine {
    const struct caption_settings *settings;
    const char *path; /* of the model file */
    palme_model *model;
    struct palme_info info;
    int said; /* 1 once an error was said */
};

/* The model file to use, or NULL after saying where it was looked for. */
const char *caption_engine_find_model(const struct caption_settings *settings);

/* Opens the model for so many compute threads (0: by the processors). FALSE after a complaint. */
gboolean caption_engine_open(struct caption_engine *engine, const struct caption_settings *settings, int threads);
void caption_engine_close(struct caption_engine *engine);

/* One session; for one thread at a time. */
struct caption_speaker {
    struct caption_engine *engine;
    palme_session *session;
    GString *text;
    struct palme_label found[PALME_MAX_LABELS];
    struct caption_label labels[PALME_MAX_LABELS];
};

/* FALSE after a complaint. */
gboolean caption_speaker_open(struct caption_speaker *speaker, struct caption_engine *engine);
void caption_speaker_close(struct caption_speaker *speaker);

/* Describes a frame of `source`; *result is valid until the next call. FALSE: *why is a sentence, to be freed, and
 * *hopeless says whether no other picture can have a caption either; where a signal ended it, *why is NULL. */
gboolean caption_speaker_say(struct caption_speaker *speaker, struct caption_result *result, const char *source,
                             const struct caption_frame *frame, char **why, gboolean *hopeless);

#endif
