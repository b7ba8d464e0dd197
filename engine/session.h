/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * session.h - what a session remembers. session.c gives it memory and options, prefill.c sees and reads
 * the prompt, generate.c chooses words, draft.c guesses them from the caption before, batch.c runs the decoder.
 */
#ifndef PALME_SESSION_H
#define PALME_SESSION_H

#include "model.h"
#include "tokenizer.h"

enum {
    PALME_DEFAULT_LENGTH = 32,
    PALME_MAX_BEAMS = 16,
    PALME_MAX_PROMPT_BYTES = 4096,
    PALME_PREFILL_ROWS = 64, /* of a portion of a prompt, so that scratch does not grow with prompts */
    PALME_LOGITS_ROWS = 8,   /* whose logits stand at a time: many enough to read the weights seldom */
    PALME_MAX_BATCH = 16, /* sessions */
    PALME_JOINT_ROWS = 16    /* that get logits in one pass: those of any session fit */
};

enum palme_session_state {
    PALME_STATE_NO_PICTURE, /* no picture */
    PALME_STATE_PICTURE,  /* a picture, no prompt yet */
    PALME_STATE_GENERATING,  /* the logits of the next token stand ready, or a token waits to be fed */
    PALME_STATE_DECIDED,  /* the sentence is decided (beams) and given out piece by piece */
    PALME_STATE_ENDED
};

/* The sentence before this one as a guess at this one (draft.c). */
struct palme_draft {
    int *tokens;  /* [capacity + 1] without the end token */
    int count;
    int finished; /* tokens of s->text that become the draft of the next sentence; 0: none */
    int follows;  /* the caption so far is how the draft begins */
    int trust;    /* most tokens that are fed before they are known to be right */
    int reused;   /* tokens of this caption that were fed before they were chosen */
};

struct palme_session {
    const palme_model *model;
    struct palme_options options;
    struct palme_compute compute;
    enum palme_session_state state;
    int width_capacity; /* beams that there is memory for */
    int capacity;       /* positions of a cache */

    uint8_t *square;       /* [S][S][3] */
    float *pixels;         /* [S][S][3] */
    float *context;        /* [P][E] */
    float *mapped;         /* [P][D]: the image tokens of a prefix decoder */
    struct palme_arena scratch; /* of resizing, encoder and decoder, one after the other */
    struct palme_picture picture;
    struct palme_rotary rotary;
    struct palme_cache *cache; /* [width_capacity] */
    struct palme_row *rows;    /* [the most rows of a call] */
    float *hidden;             /* [PALME_PREFILL_ROWS][D] decoder rows after the final norm */
    float *logits;             /* [logits_capacity][V] of some of these rows */
    int logits_capacity;
    float *joint_hidden;       /* [PALME_PREFILL_ROWS][D] rows of several sessions; untouched before */
    float *joint_logits;       /* [PALME_JOINT_ROWS][V] */
    float *probabilities;      /* [V] */
    int *kept;                 /* [V] */
    int *text;                 /* [capacity + 1] begin token and prompt, later the generated tokens */
    void *encode_scratch;
    struct palme_beams beams;
    struct palme_random random;
    struct palme_utf8 utf8;
    char *piece;

    int generated;  /* tokens of the caption so far */
    int most;       /* tokens that it may have */
    int pending;    /* a token that was chosen but not fed yet, or -1 */
    int undecided;  /* the open beams' last tokens were not fed yet */
    int fed;        /* rows of `hidden`: one for each beam, or the last token and the draft behind it */
    int row;        /* the one that the next choice is made from */
    int first, standing; /* rows first..first+standing-1 have logits, `row` among them or standing 0 */
    struct palme_draft draft;
    int shared;     /* positions that all caches begin with: image tokens and prompt */
    unsigned filled; /* bit per cache: it has the shared positions */
    int told;       /* tokens of beams.best that were given out */
    double score;   /* sum of log-probabilities */
    void *memory;
};

/* The beams that these options ask for; 1 is a single sentence, greedy or sampled. */
int palme_session_width(const palme_model *model, const struct palme_options *options);

/* ---- Generating (generate.c) --------------------------------------------------------------------- */

enum { PALME_STEP = 2 }; /* not a status: the session waits for the decoder */

/* Opens a call of palme_next: its result, or PALME_STEP. */
int palme_generate_begin(palme_session *s, const char **piece);
/* The rows that the decoder has to run before the next token can be chosen, at most PALME_PREFILL_ROWS, and
 * what they gave, in s->hidden; 0 if s->row stands ready. rows may be NULL. */
int palme_generate_rows(const palme_session *s, struct palme_row *rows);
void palme_generate_rows_done(palme_session *s, int count);
/* How many rows of s->hidden, from s->row on, shall get logits before the next token can be chosen, at most
 * PALME_JOINT_ROWS, and that they have them, in s->logits; 0 if those of s->row stand ready. */
int palme_generate_logits(const palme_session *s);
void palme_generate_logits_done(palme_session *s, int count);
/* Chooses from the logits and says it: the result of palme_next. */
int palme_generate_token(palme_session *s, const char **piece);

/* ---- The draft (draft.c) ------------------------------------------------------------------ */

/* A sentence begins: the one before it, if it was finished, is the draft. */
void palme_draft_begin(palme_session *s);
/* How many tokens of the draft, from token `at` of the caption on, are worth feeding now; 0 for none. Only
 * such are offered as would be fed without a draft, if they were chosen. */
int palme_draft_propose(const palme_session *s, int at);
/* The caption's last token was chosen from `row`. Returns non-zero if it was fed already; else what was fed
 * behind that row is taken back. */
int palme_draft_verify(palme_session *s);
/* The caption is complete. */
void palme_draft_finish(palme_session *s);

#endif
