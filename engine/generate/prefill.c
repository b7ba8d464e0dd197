/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * prefill.c - a session reads its prompt: all of its tokens go through the decoder in as few passes as there
 * can be.
 */
#include "generate/session.h"

#include "compute/floats.h"
#include "base/util.h"

#include <string.h>

int palme_prefill_encode(palme_session *s, int *tokens, int capacity, const char *text, const char *what)
{
    size_t length = strnlen(text, PALME_MAX_PROMPT_BYTES + 1);

    if (length > PALME_MAX_PROMPT_BYTES)
        return palme_fail(&s->log, PALME_ERROR_TEXT, "the %s is longer than %d bytes", what, PALME_MAX_PROMPT_BYTES);
    int count = palme_tokenizer_encode(s->model->tokenizer, tokens, capacity, text, length, s->work.encode);

    if (count == PALME_ERROR_CONTEXT)
        return palme_fail(&s->log, count, "the %s does not fit into the context of %d tokens", what,
                          s->model->config.context);
    if (count < 0)
        return palme_fail(&s->log, count, "the %s is not valid UTF-8", what);
    return count;
}

int palme_prefill_prompt(palme_session *s, const char *text, int left)
{
    if (!text)
        text = s->model->config.default_prompt;
    int labels = s->seen.id_count, most = s->model->config.labels ? PALME_LABEL_TOKENS : 0;
    int count = palme_prefill_encode(s, s->prompt.tokens + labels + 1, left - most - 1, text, "prompt");

    if (count < 0)
        return count;
    for (int i = 0; i < labels; i++)
        s->prompt.tokens[i] = s->seen.ids[i];
    s->prompt.tokens[labels] = s->model->config.bos_token;
    s->prompt.count = labels + 1 + count;
    return s->prompt.count;
}

/* Runs the prompt and `more` tokens of the draft through the decoder; the hidden rows of the last token of
 * the prompt and of the draft are in the window. */
static int run(palme_session *s, int more)
{
    const int *draft = s->hypotheses.draft.tokens;
    int count = s->prompt.count, all = count + more;

    for (int first = 0; first < all; first += PALME_PREFILL_ROWS) {
        int n = min_int(all - first, PALME_PREFILL_ROWS), skip = min_int(max_int(count - 1 - first, 0), n);
        float *to = skip < n
                        ? s->window.hidden + (size_t)(first + skip - (count - 1)) * (size_t)s->model->config.decoder.dim
                        : NULL;

        for (int i = 0, at = first; i < n; i++, at++)
            s->work.rows[i] = (struct palme_row){
                .cache = &s->hypotheses.cache[0],
                .picture = &s->view.picture,
                .rotary = &s->rotary,
                .token = at < count ? s->prompt.tokens[at] : draft[at - count],
            };
        palme_decode_rows(s->model, &s->compute, to, s->work.rows, n, skip, &s->work.scratch);
        if (s->compute.cancelled)
            return PALME_ERROR_CANCELLED;
    }
    palme_window_rows(&s->window, 1 + more);
    return PALME_OK;
}

/* The most tokens of a caption behind a prompt of so many. */
static int longest(const palme_session *s, int count)
{
    const struct palme_config *config = &s->model->config;

    if (s->options.max_length)
        return s->options.max_length;
    if (config->max_new_tokens)
        return config->max_new_tokens;
    if (!config->max_length)
        return PALME_DEFAULT_LENGTH;
    return config->search_rules == PALME_SEARCH_TRANSFORMERS ? max_int(config->max_length - count, 1)
                                                             : config->max_length;
}

static int prompt(palme_session *s, const char *text)
{
    if (!s || s->hypotheses.state != PALME_STATE_PICTURE)
        return PALME_ERROR_ARGUMENT;
    int before = s->hypotheses.cache[0].length, left = s->capacity - before;
    int count = palme_prefill_prompt(s, text, left), status;

    if (count < 0)
        return count;
    palme_session_enter(s);
    /* The last token is never run, so one more fits than the context has positions left. */
    int most = min_int(left - count + 1, longest(s, count));

    if ((status = run(s, palme_draft_propose(&s->hypotheses.draft, 0, most - 1))) < 0) {
        palme_generate_rewind(s, before); /* called again, it starts anew */
        return status;
    }
    palme_generate_prompted(s, before + count, most);
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
