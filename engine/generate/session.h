/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * session.h - what a session remembers, in parts with one writer each. Everybody may read them.
 *
 *     part              written by   what it holds
 *     view              look.c       the picture, and what encoder and decoder made of it
 *     seen              labels.c     the picture's labels, and what words cost because of them
 *     prompt            prefill.c    the tokens that the caption goes on from
 *     hypotheses        generate.c   the sentences that may become the caption, and their caches
 *     hypotheses.draft  draft.c      the caption before this one
 *     hypotheses.beams  beam.c       the search
 *     window            window.c     which rows of the decoder have hidden values and logits
 *     all else          session.c    model, options, memory
 *
 * The contents of the buffers come from the decoder: prefill.c, batch.c and score.c run it. `work` holds
 * buffers without a memory: what is in them lasts no longer than the call.
 */
#ifndef PALME_SESSION_H
#define PALME_SESSION_H

#include "generate/hold.h"
#include "text/detokenize.h"
#include "nn/model.h"

enum {
    PALME_DEFAULT_LENGTH = 32,
    PALME_PREFILL_ROWS = 64, /* most rows of one pass, so that scratch does not grow with prompts */
    PALME_LOGITS_ROWS = 8,   /* rows of a session with logits at a time: enough to read the weights seldom */
    PALME_JOINT_ROWS = 16    /* rows that get logits in one pass: those of any session fit */
};

enum palme_session_state {
    PALME_STATE_NO_PICTURE,
    PALME_STATE_PICTURE,    /* no prompt yet */
    PALME_STATE_GENERATING, /* the next token can be chosen, or a token waits for the decoder */
    PALME_STATE_DECIDED,    /* beam search is over, its sentence is given out piece by piece */
    PALME_STATE_ENDED
};

/* The picture. */
struct palme_view {
    uint8_t *square;              /* [S][S][3] */
    float *pixels;                /* [S][S][3] */
    float *context;               /* [image tokens][E] the encoder's output */
    float *mapped;                /* [image tokens][D] those of a prefix decoder */
    struct palme_picture picture; /* keys and values of cross-attention */
};

/* The labels of the picture. Without labels all is 0 and NULL. */
struct palme_seen {
    int known;             /* there are probabilities */
    float *pooled;         /* [PALME_LABEL_INPUTS] */
    double *probabilities; /* [L] */
    int chosen[PALME_MAX_LABELS], chosen_count;
    int *ids; /* [id_count] what the decoder reads before its begin token, at most PALME_LABEL_TOKENS */
    int id_count;
    int holds; /* words may cost something */
    struct palme_hold hold;
    char *text; /* [PALME_MAX_PROMPT_BYTES + 1] scratch */
};

/* What the caption goes on from. */
struct palme_prompt_tokens {
    int *tokens; /* [capacity + 1] labels, begin token and prompt; palme_score puts its text behind them */
    int count;
};

/* The caption before this one as a guess at this one (draft.c). */
struct palme_draft {
    int *tokens; /* [capacity + 1] without the end token */
    int count;
    int finished; /* tokens of the caption that becomes the next draft; 0: none */
    int follows;  /* the caption so far is how the draft begins */
    int limit;    /* most tokens that are run before they are known to be right */
    int accepted; /* tokens of this caption that were run before they were chosen */
};

/* The sentences that may become the caption: one, greedy or sampled, or the beams of a search. */
struct palme_hypotheses {
    enum palme_session_state state;
    struct palme_cache *cache; /* [beams_capacity]; a single sentence has the first */
    int shared;                /* positions that all caches begin with: image tokens and prompt */
    unsigned filled;           /* bit per cache: it has the shared positions */
    int *text;                 /* [capacity + 1] the tokens of a single sentence */
    struct palme_beams beams;
    struct palme_draft draft;
    struct palme_random random;
    int generated; /* tokens of the caption so far */
    int most;      /* tokens that it may have */
    int pending;   /* a token that was chosen and not run yet, or -1 */
    int undecided; /* the last tokens of the open beams were not run yet */
    double score;  /* sum of log-probabilities */
    int emitted;   /* tokens of beams.best that were given out */
    struct palme_detokenizer detokenizer;
    char *piece;
};

/* Rows of the decoder that the next tokens are chosen from: one for each open beam; or that of the last
 * token, and behind it those of the draft's tokens. */
struct palme_window {
    float *hidden; /* [PALME_PREFILL_ROWS][D] after the final norm */
    float *logits; /* [logits_capacity][V] of rows first..first+logits_count-1 */
    int logits_capacity;
    int rows_run; /* rows of `hidden` */
    int row;      /* the one that the next choice is made from */
    int first, logits_count;
};

/* Buffers for the call that runs. */
struct palme_work {
    struct palme_arena scratch; /* of resizing, encoder and decoder, one after the other */
    struct palme_row *rows;     /* [the most rows of a pass] */
    float *hidden;              /* [PALME_PREFILL_ROWS][D] rows of several sessions, or of a text that is scored */
    float *logits;              /* [PALME_JOINT_ROWS][V] of them */
    float *probabilities;       /* [V] */
    int *kept;                  /* [V] */
    void *encode;               /* palme_tokenizer_scratch(PALME_MAX_PROMPT_BYTES) */
};

struct palme_session {
    const palme_model *model;
    struct palme_options options;
    struct palme_log log;
    struct palme_compute compute;
    int beams_capacity;         /* beams that there is memory for */
    int capacity;               /* positions of a cache */
    struct palme_rotary rotary; /* constant */

    struct palme_view view;
    struct palme_seen seen;
    struct palme_prompt_tokens prompt;
    struct palme_hypotheses hypotheses;
    struct palme_window window;
    struct palme_work work;
    void *memory;
};

/* ---- Sessions (session.c) ----------------------------------------------------------------- */

/* A call from outside begins: it is not cancelled yet, and the model's threads are those of this
 * process. */
void palme_session_enter(palme_session *s);
/* The beams that these options ask for; 1 is a single sentence, greedy or sampled. */
int palme_session_width(const palme_model *model, const struct palme_options *options);

/* ---- Prefill (prefill.c) ------------------------------------------------------------------ */

/* Encodes a text for the decoder, at most `capacity` tokens. `what` is what messages call it, "prompt" or
 * "text". Returns the number of tokens or PALME_ERROR_{TEXT, CONTEXT}. */
int palme_prefill_encode(palme_session *s, int *tokens, int capacity, const char *text, const char *what);
/* Labels, begin token and prompt into s->prompt. `left` is the number of positions left. The same errors. A prompt has
 * room beside the most labels that there may be, so that whether it fits does not depend on the picture. */
int palme_prefill_prompt(palme_session *s, const char *text, int left);

/* ---- Labels (labels.c) -------------------------------------------------------------------- */

void palme_seen_lay_out(struct palme_seen *seen, struct palme_arena *arena, const struct palme_model *model);
/* No labels: of a model without them, or with the option. */
void palme_seen_forget(struct palme_seen *seen);
/* The labels of the picture whose features were pooled. */
void palme_seen_look(palme_session *s);

/* ---- Generating (generate.c) -------------------------------------------------------------- */

enum { PALME_STEP = 2 }; /* not a status: the session waits for the decoder */

/* There is no picture any more. */
void palme_generate_forget(palme_session *s);
/* A picture of so many image tokens is being looked at: the caches are empty. */
void palme_generate_clear(palme_session *s, int tokens);
/* It was seen. */
void palme_generate_picture(palme_session *s);
/* The first cache ends at position `length` again. */
void palme_generate_rewind(palme_session *s, int length);
/* The prompt was run, which ends at position `shared`; the caption has at most `most` tokens. */
void palme_generate_prompted(palme_session *s, int shared, int most);

/* Opens a call of palme_next: its result, or PALME_STEP. */
int palme_generate_begin(palme_session *s, const char **piece);
/* The rows that the decoder has to run before the next token can be chosen, at most PALME_PREFILL_ROWS; 0 if
 * there are such already. rows may be NULL. */
int palme_generate_rows(const palme_session *s, struct palme_row *rows);
/* They were run, and their hidden values are in the window. */
void palme_generate_rows_done(palme_session *s, int count);
/* Chooses from the logits of the window and gives out a piece: the result of palme_next. */
int palme_generate_token(palme_session *s, const char **piece);

/* ---- The draft (draft.c) ------------------------------------------------------------------ */

/* A caption begins: the one before it, if it was finished, is the draft. Its tokens are *text, which becomes
 * a buffer for new ones. `use`: whether the draft is tried. */
void palme_draft_begin(struct palme_draft *draft, int **text, int use);
/* How many tokens of the draft, from token `at` of the caption on, are worth running now, at most `most`; 0
 * for none. */
int palme_draft_propose(const struct palme_draft *draft, int at, int most);
/* `token` was chosen as token `at` of the caption, and `behind` rows were run behind the one that it was
 * chosen from. Returns non-zero if the first of them is its row; otherwise none of them is of use. */
int palme_draft_verify(struct palme_draft *draft, int at, int token, int behind);
/* The caption is complete and has so many tokens without its end token. */
void palme_draft_finish(struct palme_draft *draft, int count);

/* ---- The window (window.c) ---------------------------------------------------------------- */

/* hidden[count] are new; the next choice is made from the first of them. */
void palme_window_rows(struct palme_window *window, int count);
/* How many rows, from `row` on, should get logits before the next choice; 0 if `row` has them. */
int palme_window_wanted(const struct palme_window *window);
/* logits[count] are those of the rows from `row` on. */
void palme_window_logits(struct palme_window *window, int count);
/* The next choice is made from the row behind. */
void palme_window_next(struct palme_window *window);
/* Drops the rows behind `row`. Returns how many they were. */
int palme_window_cut(struct palme_window *window);

#endif
