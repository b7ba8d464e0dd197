/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * batch.c - runs the decoder for one session or for several of one model: rows that wait go through it in one
 * pass, and what they give goes back to their sessions. A row does not depend on its neighbours, so a batch
 * changes no bit.
 *
 * The first session is the leader and lends its workspace: that of every session of a model is large enough
 * for PALME_PREFILL_ROWS rows. No session ever waits for more, so its rows are never split.
 */
#include "generate/session.h"

#include "compute/floats.h"

#include <string.h>

/* The sessions that share a pass, and how many rows of it each has. */
struct batch {
    palme_session *leader;
    palme_session *member[PALME_MAX_BATCH];
    int rows[PALME_MAX_BATCH];
    int count, all;
    struct palme_compute compute;
};

/* A pass goes on as long as one member wants the result. */
static int all_cancelled(void *user)
{
    struct batch *b = user;
    int waiting = 0;

    for (int i = 0; i < b->count; i++)
        waiting |= !palme_compute_cancelled(&b->member[i]->compute);
    return !waiting;
}

static void begin(struct batch *b, palme_session *leader)
{
    *b = (struct batch){ .leader = leader };
    b->compute = (struct palme_compute){
        .kernels = leader->compute.kernels, .pool = leader->compute.pool, .cancel = all_cancelled, .cancel_user = b
    };
}

static void join(struct batch *b, palme_session *s, int rows)
{
    b->member[b->count] = s;
    b->rows[b->count++] = rows;
    b->all += rows;
}

/* The waiting rows of all members, from tokens to hidden values. A member that was cancelled keeps the rows
 * of a pass that the others completed; its next call goes on behind them. */
static void pass_rows(struct batch *b)
{
    struct palme_work *work = &b->leader->work;
    size_t dim = (size_t)b->leader->model->config.decoder.dim;
    /* The leader itself may have hidden rows that it still needs. */
    float *hidden = b->count == 1 ? b->member[0]->window.hidden : work->hidden;

    for (int i = 0, at = 0; i < b->count; at += b->rows[i++])
        palme_generate_rows(b->member[i], work->rows + at);
    palme_decode_rows(b->leader->model, &b->compute, hidden, work->rows, b->all, 0, &work->scratch);
    if (b->compute.cancelled)
        return;
    for (int i = 0; i < b->count; hidden += (size_t)b->rows[i++] * dim) {
        palme_session *s = b->member[i];

        if (b->count > 1)
            memcpy(s->window.hidden, hidden, (size_t)b->rows[i] * dim * sizeof *hidden);
        palme_generate_rows_done(s, b->rows[i]);
    }
}

/* From hidden values to logits. */
static void pass_logits(struct batch *b)
{
    const struct palme_config *config = &b->leader->model->config;
    struct palme_work *work = &b->leader->work;
    size_t dim = (size_t)config->decoder.dim, vocabulary = (size_t)config->vocabulary;
    const struct palme_window *first = &b->member[0]->window;
    const float *hidden = first->hidden + (size_t)first->row * dim;
    float *logits = first->logits;

    if (b->count > 1) {
        float *to = work->hidden;

        for (int i = 0; i < b->count; to += (size_t)b->rows[i++] * dim) {
            const struct palme_window *window = &b->member[i]->window;

            memcpy(to, window->hidden + (size_t)window->row * dim, (size_t)b->rows[i] * dim * sizeof *to);
        }
        hidden = work->hidden;
        logits = work->logits;
    }
    palme_decode_logits(b->leader->model, &b->compute, logits, hidden, b->all, &work->scratch);
    if (b->compute.cancelled)
        return;
    for (int i = 0; i < b->count; logits += (size_t)b->rows[i++] * vocabulary) {
        struct palme_window *window = &b->member[i]->window;

        if (b->count > 1)
            memcpy(window->logits, logits, (size_t)b->rows[i] * vocabulary * sizeof *logits);
        palme_window_logits(window, b->rows[i]);
    }
}

/* Lets all sessions that wait and are not cancelled share passes of at most `most` rows. */
static void share(palme_session *const *sessions, int count, int *statuses, int logits)
{
    int most = logits ? PALME_JOINT_ROWS : PALME_PREFILL_ROWS;
    void (*pass)(struct batch * b) = logits ? pass_logits : pass_rows;
    struct batch b;

    begin(&b, sessions[0]);
    for (int i = 0; i < count; i++) {
        int rows = statuses[i] != PALME_STEP ? 0
                   : logits                  ? palme_window_wanted(&sessions[i]->window)
                                             : palme_generate_rows(sessions[i], NULL);

        if (b.count && b.all + rows > most) {
            pass(&b);
            begin(&b, sessions[0]);
        }
        if (rows)
            join(&b, sessions[i], rows);
    }
    if (b.count)
        pass(&b);
    for (int i = 0; i < count; i++)
        if (statuses[i] == PALME_STEP && sessions[i]->compute.cancelled)
            statuses[i] = PALME_ERROR_CANCELLED;
}

static int usable(palme_session *const *sessions, int count)
{
    for (int i = 0; i < count; i++) {
        if (!sessions[i] || sessions[i]->model != sessions[0]->model)
            return 0;
        for (int j = 0; j < i; j++)
            if (sessions[j] == sessions[i])
                return 0;
    }
    return 1;
}

static int next_batch(palme_session *const *sessions, int count, const char **pieces, int *statuses)
{
    if (!sessions || !pieces || !statuses || count < 1 || count > PALME_MAX_BATCH || !usable(sessions, count))
        return PALME_ERROR_ARGUMENT;
    for (int i = 0; i < count; i++)
        statuses[i] = palme_generate_begin(sessions[i], &pieces[i]);
    share(sessions, count, statuses, 0);
    share(sessions, count, statuses, 1);
    for (int i = 0; i < count; i++)
        if (statuses[i] == PALME_STEP)
            statuses[i] = palme_generate_token(sessions[i], &pieces[i]);
    return PALME_OK;
}

int palme_next_batch(palme_session *const *sessions, int count, const char **pieces, int *statuses)
{
    struct palme_floats floats;

    palme_floats_enter(&floats);
    int status = next_batch(sessions, count, pieces, statuses);
    palme_floats_leave(&floats);
    return status;
}

int palme_next(palme_session *session, const char **piece)
{
    int status, result = palme_next_batch(&session, 1, piece, &status);

    return result < 0 ? result : status;
}
