/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * labels.c - what a session makes of a picture's labels: which are chosen, the ids that the decoder reads before its
 * begin token, what words cost, and what callers may ask.
 */
#include "generate/session.h"

#include "compute/floats.h"
#include "base/util.h"

#include <string.h>

enum { JOINED_BYTES = PALME_MAX_LABELS * (PALME_MOST_LABEL_BYTES + PALME_MOST_JOINER_BYTES) };

void palme_seen_lay_out(struct palme_seen *seen, struct palme_arena *arena, const struct palme_model *model)
{
    const struct palme_label_config *config = model->config.labels;

    if (!config)
        return;
    seen->pooled = palme_arena_take(arena, PALME_LABEL_INPUTS, sizeof(float));
    seen->probabilities = palme_arena_take(arena, (size_t)config->count, sizeof(double));
    seen->ids = palme_arena_take(arena, JOINED_BYTES + 1, sizeof(int)); /* a token has at least a byte */
    seen->text = palme_arena_take(arena, PALME_MAX_PROMPT_BYTES + 1, 1);
    palme_hold_lay_out(&seen->hold, arena, model->words);
}

/* The labels that reach their thresholds, most likely first, the lower index first among equals. */
static int choose(int *chosen, const struct palme_label_config *config, const double *probabilities)
{
    int count = 0;

    for (int l = 0; l < config->count; l++) {
        int at = count;

        if (!(probabilities[l] >= config->thresholds[l]))
            continue;
        if (count < config->most)
            count++;
        else if (!(probabilities[l] > probabilities[chosen[--at]]))
            continue;
        for (; at > 0 && probabilities[l] > probabilities[chosen[at - 1]]; at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = l;
    }
    return count;
}

/* The ids of the chosen labels' names. */
static int encode(palme_session *s)
{
    const struct palme_label_config *config = s->model->config.labels;
    struct palme_seen *seen = &s->seen;
    size_t length = 0;

    for (int i = 0; i < seen->chosen_count; i++) {
        const char *parts[] = { i ? config->joiner : "", config->names[seen->chosen[i]] };

        for (int part = 0; part < 2; part++) {
            memcpy(seen->text + length, parts[part], strlen(parts[part]));
            length += strlen(parts[part]);
        }
    }
    if (!length)
        return 0;
    int count =
        palme_tokenizer_encode(s->model->tokenizer, seen->ids, JOINED_BYTES + 1, seen->text, length, s->work.encode);

    return min_int(max_int(count, 0), PALME_LABEL_TOKENS);
}

void palme_seen_forget(struct palme_seen *seen)
{
    seen->known = seen->chosen_count = seen->id_count = seen->holds = 0;
}

void palme_seen_look(palme_session *s)
{
    const struct palme_label_config *config = s->model->config.labels;
    const struct palme_options *o = &s->options;
    struct palme_seen *seen = &s->seen;

    palme_labels_run(s->model, &s->compute, seen->probabilities, seen->pooled, &s->work.scratch);
    if (s->compute.cancelled)
        return;
    seen->known = 1;
    seen->chosen_count = choose(seen->chosen, config, seen->probabilities);
    seen->id_count = encode(s);
    if (!(o->label_weight < 0))
        seen->holds = palme_hold_begin(&seen->hold, seen->probabilities,
                                       o->label_weight > 0 ? o->label_weight : config->weight, config->require);
}

/* ---- What callers ask --------------------------------------------------------------------- */

static int has_picture(const palme_session *s)
{
    return s && s->hypotheses.state != PALME_STATE_NO_PICTURE;
}

int palme_labels(const palme_session *session, struct palme_label *labels, int capacity)
{
    if (!has_picture(session) || capacity < 0 || (capacity && !labels))
        return PALME_ERROR_ARGUMENT;
    const struct palme_label_config *config = session->model->config.labels;
    const struct palme_seen *seen = &session->seen;

    for (int i = 0; i < min_int(seen->chosen_count, capacity); i++)
        labels[i] = (struct palme_label){
            .name = config->names[seen->chosen[i]],
            .phrase = config->phrases[seen->chosen[i]],
            .probability = seen->probabilities[seen->chosen[i]],
        };
    return seen->chosen_count;
}

int palme_confirms(palme_session *session, const char *text)
{
    struct palme_floats floats;

    if (!has_picture(session) || !text)
        return PALME_ERROR_ARGUMENT;
    struct palme_seen *seen = &session->seen;

    if (!seen->known)
        return 1;
    if (strnlen(text, PALME_MAX_PROMPT_BYTES + 1) > PALME_MAX_PROMPT_BYTES)
        return PALME_ERROR_TEXT;
    palme_floats_enter(&floats);
    int confirms = palme_words_confirm(session->model->words, seen->probabilities, text, seen->text);
    palme_floats_leave(&floats);
    return confirms;
}

const char *palme_cautious(const palme_session *session)
{
    const struct palme_label_config *config = session ? session->model->config.labels : NULL;
    int likeliest = -1;

    if (!has_picture(session) || !session->seen.known)
        return "";
    const double *p = session->seen.probabilities;

    for (int l = 0; l < config->count; l++)
        if (*config->phrases[l] && p[l] >= config->least && (likeliest < 0 || p[l] > p[likeliest]))
            likeliest = l;
    return likeliest < 0 ? "" : config->sentences[likeliest];
}
