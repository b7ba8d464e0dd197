/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * session.h - what a session remembers. session.c gives it memory and options, caption.c makes the captions.
 */
#ifndef PALME_SESSION_H
#define PALME_SESSION_H

#include "model.h"
#include "tokenizer.h"

enum {
    PALME_DEFAULT_LENGTH = 32,
    PALME_MOST_BEAMS = 16,
    PALME_PROMPT_BYTES = 4096,
    PALME_PREFILL_ROWS = 64 /* of a portion of a prompt, so that scratch does not grow with prompts */
};

enum palme_session_state {
    PALME_BLIND, /* no picture */
    PALME_SEEN,  /* a picture, no prompt yet */
    PALME_TALK,  /* the logits of the next token stand ready, or a token waits to be fed */
    PALME_TELL,  /* the sentence is decided (beams) and given out piece by piece */
    PALME_ENDED
};

struct palme_session {
    const palme_model *model;
    struct palme_options options;
    struct palme_compute compute;
    enum palme_session_state state;
    int width_capacity; /* beams that there is memory for */
    int capacity;       /* positions of a cache */

    uint8_t *square;       /* [S][S][3] */
    void *image_scratch;
    float *pixels;         /* [S][S][3] */
    float *context;        /* [P][E] */
    float *mapped;         /* [P][D]: the image tokens of a prefix decoder */
    float *scratch;        /* encoder's and decoder's */
    struct palme_picture picture;
    struct palme_rotary rotary;
    struct palme_cache *cache; /* [width_capacity] */
    struct palme_row *rows;    /* [the most rows of a call] */
    float *logits;             /* [width_capacity][V] */
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
    int undecided;  /* logits of the open beams are due */
    int shared;     /* positions that all caches begin with: image tokens and prompt */
    unsigned filled; /* bit per cache: it has the shared positions */
    int told;       /* tokens of beams.best that were given out */
    double score;   /* sum of log-probabilities */
    void *memory;
};

/* The beams that these options ask for; 1 is a single sentence, greedy or sampled. */
int palme_session_width(const palme_model *model, const struct palme_options *options);

#endif
