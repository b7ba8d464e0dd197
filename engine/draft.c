/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * draft.c - the sentence before this one as a guess at this one. On a still scene both are the same, and then
 * one pass of the decoder over all of its tokens does what would take a pass for each: reading the weights is
 * most of a pass.
 *
 * The guess never decides. Tokens of the draft are only fed early; each token of the caption is chosen from
 * the logits that stand behind the chosen tokens before it, and rows give the same bits with and without
 * neighbours. At the first token that differs, the rows behind it are forgotten and the cache is cut back.
 *
 * Rows that are taken back were computed for nothing, so a draft is trusted as far as the last one held: a
 * scene that changes all the time costs a few rows in one pass of each caption.
 */
#include "session.h"

enum { LEAST_TRUST = 4 }; /* so many rows cost about as much as one */

static int at_most(int value, int most)
{
    return value < most ? value : most;
}

static int greedy(const palme_session *s)
{
    return !(s->options.temperature > 0) && palme_session_width(s->model, &s->options) == 1;
}

void palme_draft_begin(palme_session *s)
{
    struct palme_draft *draft = &s->draft;

    if (draft->finished) {
        int *tokens = draft->tokens;

        draft->tokens = s->text;
        s->text = tokens;
        draft->count = draft->finished;
        draft->finished = 0;
    }
    draft->follows = greedy(s) && !s->options.no_draft;
    draft->reused = 0;
}

int palme_draft_propose(const palme_session *s, int at)
{
    const struct palme_draft *draft = &s->draft;
    /* The caption's last token is never fed; the row in front of the draft needs a place as well. */
    int most = at_most(at_most(draft->trust, PALME_PREFILL_ROWS - 1), s->most - 1 - at);

    if (!draft->follows || at >= draft->count || most <= 0)
        return 0;
    return at_most(draft->count - at, most);
}

int palme_draft_verify(palme_session *s)
{
    struct palme_draft *draft = &s->draft;
    int at = s->generated - 1, behind = s->fed - 1 - s->row;

    if (draft->follows && at < draft->count && s->text[at] == draft->tokens[at]) {
        if (!behind) /* the offer was right to its end and may grow */
            draft->trust = at_most(2 * draft->trust, PALME_PREFILL_ROWS);
        else {
            s->row++;
            draft->reused++;
            return 1;
        }
        return 0;
    }
    if (behind) {
        draft->trust = draft->reused > LEAST_TRUST ? draft->reused : LEAST_TRUST;
        s->cache[0].length -= behind;
        s->fed = s->row + 1;
    }
    draft->follows = 0;
    return 0;
}

void palme_draft_finish(palme_session *s)
{
    int count = s->generated;

    if (!greedy(s) || !count)
        return;
    if (s->text[count - 1] == s->model->config.eos_token)
        count--;
    s->draft.finished = count;
}
