/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * draft.c - the caption before this one as a guess at this one. On a still scene both are the same, and then
 * one pass of the decoder over all of its tokens does what would take a pass for each: reading the weights is
 * most of a pass.
 *
 * The guess never decides. Tokens of the draft are only run early; each token of the caption is chosen from
 * the logits behind the chosen tokens before it, and rows give the same bits with and without neighbours. At
 * the first token that differs, the rows behind it are dropped and the cache is cut back.
 *
 * Rows that are dropped were computed for nothing, so a draft is run only as far as the last one held: a
 * scene that changes all the time costs a few rows in one pass of each caption.
 */
#include "generate/session.h"

#include "base/util.h"

enum { LEAST_LIMIT = 4 }; /* so many rows cost about as much as one */

void palme_draft_begin(struct palme_draft *draft, int **text, int use)
{
    if (draft->finished) {
        int *tokens = draft->tokens;

        draft->tokens = *text;
        *text = tokens;
        draft->count = draft->finished;
        draft->finished = 0;
    }
    draft->follows = use;
    draft->accepted = 0;
}

int palme_draft_propose(const struct palme_draft *draft, int at, int most)
{
    /* The row in front of the draft needs a place as well. */
    most = min_int(most, min_int(draft->limit, PALME_PREFILL_ROWS - 1));
    if (!draft->follows || at >= draft->count || most <= 0)
        return 0;
    return min_int(draft->count - at, most);
}

int palme_draft_verify(struct palme_draft *draft, int at, int token, int behind)
{
    if (draft->follows && at < draft->count && token == draft->tokens[at]) {
        if (behind) {
            draft->accepted++;
            return 1;
        }
        /* What was run of it was right to its end, so more of it may be run. */
        draft->limit = min_int(2 * draft->limit, PALME_PREFILL_ROWS);
        return 0;
    }
    if (behind)
        draft->limit = max_int(draft->accepted, LEAST_LIMIT);
    draft->follows = 0;
    return 0;
}

void palme_draft_finish(struct palme_draft *draft, int count)
{
    draft->finished = count;
}
