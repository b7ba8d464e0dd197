/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * batch.c - runs the decoder for one session or for several of one model: rows that wait go through it in
 * one pass, and what they give goes back to whom it belongs. A row does not depend on its neighbours, so nobody
 * notices company.
 *
 * The first session lends its scratch: that of every session of a model is large enough for
 * PALME_PREFILL_ROWS rows. One session never waits for more, so its rows are never split.
 */
#include "session.h"

#include "floats.h"

#include <string.h>

/* Those who share a pass, and how many rows of it each has. */
struct company {
    palme_session *host; /* lends scratch */
    palme_session *member[PALME_MAX_BATCH];
    int rows[PALME_MAX_BATCH];
    int count, all;
    struct palme_compute compute;
};

/* Goes on as long as one of them wants the result. */
static int nobody_waits(void *user)
{
    struct company *c = user;
    int waiting = 0;

    for (int i = 0; i < c->count; i++)
        waiting |= !palme_compute_cancelled(&c->member[i]->compute);
    return !waiting;
}

static void gather(struct company *c, palme_session *host)
{
    *c = (struct company){ .host = host };
    c->compute = (struct palme_compute){ .kernels = host->compute.kernels, .pool = host->compute.pool,
                                         .cancel = nobody_waits, .cancel_user = c };
}

static void join(struct company *c, palme_session *s, int rows)
{
    c->member[c->count] = s;
    c->rows[c->count++] = rows;
    c->all += rows;
}

/* The waiting rows of all of them, from tokens to hidden rows. Who has said yes keeps what a pass gave that was
 * ended for the others, and goes on from there when asked again. */
static void pass_rows(struct company *c)
{
    palme_session *host = c->host;
    size_t dim = (size_t)host->model->config.decoder.dim;
    struct palme_row *row = host->rows;
    /* The host itself may have hidden rows that it still needs. */
    float *hidden = c->count == 1 ? c->member[0]->hidden : host->joint_hidden;

    for (int i = 0, at = 0; i < c->count; at += c->rows[i++])
        palme_generate_rows(c->member[i], row + at);
    palme_decode_rows(host->model, &c->compute, hidden, row, c->all, 0, &host->scratch);
    if (c->compute.cancelled)
        return;
    for (int i = 0; i < c->count; hidden += (size_t)c->rows[i++] * dim) {
        palme_session *s = c->member[i];

        if (c->count > 1)
            memcpy(s->hidden, hidden, (size_t)c->rows[i] * dim * sizeof *hidden);
        palme_generate_rows_done(s, c->rows[i]);
    }
}

/* From hidden rows to logits. */
static void pass_logits(struct company *c)
{
    palme_session *host = c->host;
    size_t dim = (size_t)host->model->config.decoder.dim, vocabulary = (size_t)host->model->config.vocabulary;
    palme_session *first = c->member[0];
    const float *hidden = first->hidden + (size_t)first->row * dim;
    float *logits = first->logits;

    if (c->count > 1) {
        float *to = host->joint_hidden;

        for (int i = 0; i < c->count; to += (size_t)c->rows[i++] * dim)
            memcpy(to, c->member[i]->hidden + (size_t)c->member[i]->row * dim,
                   (size_t)c->rows[i] * dim * sizeof *to);
        hidden = host->joint_hidden;
        logits = host->joint_logits;
    }
    palme_decode_logits(host->model, &c->compute, logits, hidden, c->all, &host->scratch);
    if (c->compute.cancelled)
        return;
    for (int i = 0; i < c->count; logits += (size_t)c->rows[i++] * vocabulary) {
        palme_session *s = c->member[i];

        if (c->count > 1)
            memcpy(s->logits, logits, (size_t)c->rows[i] * vocabulary * sizeof *logits);
        palme_generate_logits_done(s, c->rows[i]);
    }
}

/* Lets all sessions that wait, and have not stopped, share passes of at most `most` rows. */
static void share(palme_session *const *sessions, int count, int *statuses, int logits)
{
    int most = logits ? PALME_JOINT_ROWS : PALME_PREFILL_ROWS;
    void (*pass)(struct company *c) = logits ? pass_logits : pass_rows;
    struct company c;

    gather(&c, sessions[0]);
    for (int i = 0; i < count; i++) {
        int rows = statuses[i] != PALME_STEP ? 0
                   : logits                  ? palme_generate_logits(sessions[i])
                                             : palme_generate_rows(sessions[i], NULL);

        if (c.count && c.all + rows > most) {
            pass(&c);
            gather(&c, sessions[0]);
        }
        if (rows)
            join(&c, sessions[i], rows);
    }
    if (c.count)
        pass(&c);
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

static int next_together(palme_session *const *sessions, int count, const char **pieces, int *statuses)
{
    if (!sessions || !pieces || !statuses || count < 1 || count > PALME_MAX_BATCH ||
        !usable(sessions, count))
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
    int status = next_together(sessions, count, pieces, statuses);
    palme_floats_leave(&floats);
    return status;
}

int palme_next(palme_session *session, const char **piece)
{
    int status, result = palme_next_batch(&session, 1, piece, &status);

    return result < 0 ? result : status;
}
