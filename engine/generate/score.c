/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * score.c - how likely a given text is for the picture: all of its tokens in one prefill, and no search.
 *
 * The rows run in the session's first cache, behind what its captions share, and are taken back. Hidden
 * values and logits go to the workspace, so a caption that was prompted and not begun finds its window as it
 * was.
 */
#include "generate/session.h"

#include "compute/floats.h"
#include "base/util.h"

#include <math.h>

/* The log-probability of text[length] behind the tokens before it, less what it costs, as generate.c and beam.c add
 * them up. */
static double log_probability(const palme_session *s, float *logits, const int *text, int length)
{
    double all = s->model->kernels.log_sum_exp(logits, s->model->config.vocabulary);

    if (s->seen.holds)
        palme_hold_apply(&s->seen.hold, logits, text, length, s->model->config.eos_token);
    double value = logits[text[length]] - all;

    return isnan(value) ? 0 : value; /* weights of a damaged model may be infinite */
}

/* Adds up what hidden rows say of the tokens in targets[count], which belong to the text behind the prompt. */
static int add_rows(palme_session *s, double *sum, const float *hidden, const int *targets, int count)
{
    size_t dim = (size_t)s->model->config.decoder.dim, vocabulary = (size_t)s->model->config.vocabulary;
    const int *text = s->prompt.tokens + s->prompt.count;
    float *logits = s->work.logits;

    for (int first = 0; first < count; first += PALME_JOINT_ROWS) {
        int n = min_int(count - first, PALME_JOINT_ROWS);

        palme_decode_logits(s->model, &s->compute, logits, hidden + (size_t)first * dim, n, &s->work.scratch);
        if (s->compute.cancelled)
            return PALME_ERROR_CANCELLED;
        for (int i = 0; i < n; i++)
            *sum += log_probability(s, logits + (size_t)i * vocabulary, text, (int)(targets + first + i - text));
    }
    return PALME_OK;
}

/* Runs tokens[count] behind what the cache has; the rows from `first` on each say how likely the token behind
 * it is. There is one token more in the buffer, the end token. */
static int run(palme_session *s, double *sum, const int *tokens, int count, int first)
{
    struct palme_work *work = &s->work;

    for (int at = 0; at < count; at += PALME_PREFILL_ROWS) {
        int n = min_int(count - at, PALME_PREFILL_ROWS), skip = min_int(max_int(first - at, 0), n), status;

        for (int i = 0; i < n; i++)
            work->rows[i] = (struct palme_row){ .cache = &s->hypotheses.cache[0],
                                                .picture = &s->view.picture,
                                                .rotary = &s->rotary,
                                                .token = tokens[at + i] };
        palme_decode_rows(s->model, &s->compute, skip < n ? work->hidden : NULL, work->rows, n, skip, &work->scratch);
        if (s->compute.cancelled)
            return PALME_ERROR_CANCELLED;
        if ((status = add_rows(s, sum, work->hidden, tokens + at + skip + 1, n - skip)) < 0)
            return status;
    }
    return PALME_OK;
}

static int score(palme_session *s, const char *text, double *mean)
{
    if (!s || !text || !mean || s->hypotheses.state == PALME_STATE_NO_PICTURE)
        return PALME_ERROR_ARGUMENT;
    struct palme_hypotheses *h = &s->hypotheses;
    const int prompted = h->state != PALME_STATE_PICTURE;
    int before = prompted ? h->shared : h->cache[0].length; /* positions that stay */
    int count, length, status;
    double sum = 0;

    if (h->state == PALME_STATE_DECIDED || (h->state == PALME_STATE_GENERATING && h->generated))
        return palme_fail(&s->log, PALME_ERROR_ARGUMENT, "a text cannot be scored while a caption is being generated");
    count = prompted ? s->prompt.count : palme_prefill_prompt(s, NULL, s->capacity - before);
    if (count < 0)
        return count;
    /* The last free position takes the last token of the text; the end token is not run. */
    int *tokens = s->prompt.tokens + count;
    length = palme_prefill_encode(s, tokens, s->capacity - before - (prompted ? 0 : count), text, "text");
    if (length < 0)
        return length;
    tokens[length] = s->model->config.eos_token;

    palme_session_enter(s);
    if (palme_compute_cancelled(&s->compute))
        return PALME_ERROR_CANCELLED;
    if (prompted) /* the rows of the draft behind the prompt are lost, and its last token is run once more */
        palme_window_cut(&s->window);
    palme_generate_rewind(s, prompted ? before - 1 : before);
    status =
        prompted ? run(s, &sum, tokens - 1, 1 + length, 0) : run(s, &sum, s->prompt.tokens, count + length, count - 1);
    palme_generate_rewind(s, before);
    if (status == PALME_OK)
        *mean = sum / (length + 1);
    return status;
}

int palme_score(palme_session *session, const char *text, double *mean)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = score(session, text, mean);
    palme_floats_leave(&floats);
    return status;
}
