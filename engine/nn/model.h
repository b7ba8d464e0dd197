/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model.h - what a model is: its configuration and its weights; and how tokens are chosen.
 *
 * Letters as in the model's description: S image_size, p patch_size, P patches, E and D the widths of
 * encoder and decoder, Ie and Id those of all heads of each, V the vocabulary.
 */
#ifndef PALME_MODEL_H
#define PALME_MODEL_H

#include "base/arena.h"
#include "nn/config.h"
#include "nn/decoder.h"
#include "nn/encoder.h"
#include "nn/labels.h"
#include "palme.h"
#include "base/log.h"

struct palme_safetensors;
struct palme_tokenizer;
struct palme_words;
struct palme_hold;

/* ---- Weights (weights.c) ------------------------------------------------------------------ */

struct palme_weights {
    struct palme_encoder encoder;
    struct palme_decoder decoder;
    struct palme_labels labels; /* zeros in a model without labels */
    void *memory;               /* everything above, one block */
    uint64_t bytes;             /* of it */
    uint64_t parameters;        /* weights in the file, without buffers and scales */
};

/* Takes what the config requires out of a file of this format version and packs it in a precision, the layers that
 * see many rows for BLAS if `blas` is not 0 and that is f32; what is in the file in I8 already keeps its numbers in
 * int8. Warns about unknown tensors and about NaN and infinity. On failure nothing is owned. */
int palme_weights_load(struct palme_weights *weights, const struct palme_config *config, int version,
                       enum palme_precision precision, int blas, struct palme_safetensors *file,
                       const struct palme_log *log);
void palme_weights_clear(struct palme_weights *weights);

/* ---- Model -------------------------------------------------------------------------------- */

struct palme_model {
    int format_version; /* of the file */
    struct palme_config config;
    struct palme_weights weights;
    struct palme_tokenizer *tokenizer; /* NULL for a plain checkpoint */
    struct palme_words *words;         /* those of its labels; NULL without labels */
    struct palme_kernels kernels;
    struct palme_blas blas; /* where kernels.blas points, if it is loaded */
    struct palme_pool *pool;
    int threads; /* that compute, the caller's included */
    enum palme_precision precision;
    char *name, *language, *card; /* owned, never NULL */
    char *path;                   /* or another name of where it came from, for messages; owned */
};

/* Opens a plain reference checkpoint: `config` is the JSON of its constructor's arguments. For tests. NULL: the file
 * is a model file. */
int palme_model_open_plain(palme_model **model, const char *path, const char *config, size_t length,
                           const struct palme_setup *setup);

/* The ids of the caption so far, the end token included; the session's until its next call. */
const int *palme_caption_tokens(const struct palme_session *session, int *count);

/* ---- Scratch (scratch.c) ------------------------------------------------------------------ */

/* Every stage lays its buffers out in an arena, in the same way when it is measured and when it runs: what it reserves,
 * for pictures or rows of at most that size, is what it takes later from a scratch arena and gives back at its end.
 * This measures all stages together, the resize too: pictures of any shape that the model takes, and passes of up to
 * `rows` rows. The scratch that is returned is taken from `arena`. */
struct palme_arena palme_scratch_take(struct palme_arena *arena, const struct palme_model *model, int rows);

/* ---- Choosing tokens (sample.c, beam.c) --------------------------------------------------- */

struct palme_random {
    uint64_t state;
};

/* Probabilities after temperature (> 0), top-k (0: off) and top-p (>= 1: off), renormalised; what is not
 * kept is 0. kept: [V] scratch of ids, best first; returns how many are kept (0 if no logit is finite). */
int palme_filter(float *probabilities, int *kept, const float *logits, int n, double temperature, int top_k,
                 double top_p);

/* Draws an id from kept[count] with these probabilities. */
int palme_draw(const float *probabilities, const int *kept, int count, struct palme_random *random);

/* Excludes (sets to -infinity) each token that would complete an n-gram that a text already has: front[front_length],
 * then text[length]. */
void palme_forbid_repeats(float *logits, int vocabulary, const int *front, int front_length, const int *text,
                          int length, int ngram);

/* ---- Words that are never said (blocklist.c) ------------------------------------------------- */

/* Whether all entries of a list are short enough. NULL is a list without entries. */
int palme_blocklist_is_usable(const char *list);
/* Whether a text that has tokens[length] would have a word of the list with this token behind it. */
int palme_blocklist_forbids(const char *list, const struct palme_tokenizer *tokenizer, const int *tokens, int length,
                            int token);

/* ---- Beam search (beam.c) ----------------------------------------------------------------- */

struct palme_beam {
    int slot;     /* which of the session's caches holds its keys and values */
    double score; /* sum of log-probabilities, less what words cost */
    int *tokens;  /* [capacity] */
};

/* A search over sentences. Beams are kept in the order in which they were found, best first. */
struct palme_beams {
    int width, capacity;            /* most beams; most tokens of a sentence */
    int open, length;               /* open beams; tokens that each of them has */
    struct palme_beam *beam, *next; /* [width] */
    int *best;                      /* [capacity] best finished sentence, the end token included */
    int best_length;                /* 0: none yet */
    double best_value, best_score;
    double finished[PALME_MAX_BEAMS]; /* values of the best finished sentences, best first; of transformers' rules */
    int finished_count;
    struct palme_candidate *candidates; /* [2 * width] */
};

struct palme_candidate {
    double score;
    int beam, token;
};

struct palme_search {
    int width;      /* beams of this caption */
    int max_length; /* M */
    int tokens;     /* ids that may be chosen: those below it; the vocabulary may be padded */
    int eos, min_length, ngram;
    double length_penalty; /* alpha */
    const char *blocklist; /* or NULL */
    const struct palme_tokenizer *tokenizer;
    int rules;          /* enum palme_search_rules: those of Palme.beam in models/palme.py, or of transformers */
    int early_stopping; /* enum palme_early_stopping, of transformers' rules */
    const int *front;   /* [front_length] tokens whose n-grams count as well */
    int front_length;
    const struct palme_hold *hold; /* what tokens cost (generate/hold.h), or NULL */
    int first, last;               /* tokens that are forced at the first and at the longest place, or -1 */
};

/* The token that a text of tokens[length] has to go on with, whatever the logits say, or -1. */
int palme_search_forced(const struct palme_search *search, const int *tokens, int length);

/* One open beam without a token. */
void palme_beams_begin(struct palme_beams *beams);

/* Advances by one token. logits[open][V] belong to the open beams and are overwritten. After it each open
 * beam has one token more; `parent[width]` receives the number that it had before the step. Returns
 * non-zero when the search is over; the result then stands in best, best_length and best_score. */
int palme_beams_step(struct palme_beams *beams, const struct palme_kernels *kernels, int *parent, float *logits,
                     int vocabulary, const struct palme_search *search);

/* The result of a search that ends now: the best finished sentence, or else the best open one. */
void palme_beams_finish(struct palme_beams *beams);

#endif
