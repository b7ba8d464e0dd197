/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * enginehost.h - the engine driven from inside, stage by stage, as the benchmark wants it: the encoder alone,
 * one step alone, several sentences in one pass. It takes its memory beforehand, so that what is timed allocates
 * nothing.
 */
#ifndef PALME_ENGINEHOST_H
#define PALME_ENGINEHOST_H

#include "nn/model.h"

enum { HOST_ROWS = 64 }; /* most rows of text of one pass, and most sentences that go together */

/* A precision: what its weights take. */
struct host_precision {
    const char *name;
    double weight_bytes;
    int built; /* the engine computes in it */
};

/* The precision of this name; "auto" is the one that the engine would take. NULL: there is none. */
const struct host_precision *host_precision_find(const char *name);

struct host {
    palme_model *model;
    const struct host_precision *precision;
    struct palme_compute compute;
    struct palme_rotary rotary;
    struct palme_row *rows;
    float *pixels;           /* [S][S][3] */
    float *context, *mapped; /* [P][E], [P][D] */
    struct palme_arena scratch;
    int tokens; /* of the picture in `context` */
};

/* Opens a model file; `precision` is a built one; `log` hears why it failed. Returns PALME_OK or a status below
 * zero, and then nothing is owned. */
int host_open(struct host *h, const char *path, int threads, const char *level, const struct host_precision *precision,
              palme_log_fn log, void *user);
/* The same with a model that is open already and from now on the host's, also on failure. */
int host_take(struct host *h, palme_model *model, const struct host_precision *precision);
void host_close(struct host *h);

/* Tokens of text that one sentence can hold: a prefix decoder's picture takes its share of the context. */
int host_context(const struct host *h);
/* Positions that a prefix decoder's picture takes; 0 with cross-attention. */
int host_prefix(const struct host *h);

/* One line of text about one picture. */
struct sentence {
    struct palme_cache cache;
    struct palme_picture picture;
};

/* Room for `text` tokens. Returns 0, or -1 without memory. Cleared is what sentence_close may be given. */
int sentence_open(struct sentence *s, const struct host *h, int text);
void sentence_close(struct sentence *s);

/* The encoder over image[3][S][S]; the result stands in h->context. */
void host_encode(struct host *h, const float *image);
/* Bytes of h->context that are filled. */
size_t host_context_bytes(const struct host *h);
/* Cross-attention keys and values of what was encoded last. */
void host_see(struct host *h, struct sentence *s);
/* Forgets the text; a prefix decoder reads its picture (that of the last host_see). */
void host_begin(struct host *h, struct sentence *s);

/* Feeds n tokens, in passes of at most HOST_ROWS; logits[n - first][V] of tokens first..n-1. */
void host_feed(struct host *h, float *logits, struct sentence *s, const int *ids, int n, int first);
/* One step of `count` sentences in one pass, ids[count] in and their greatest logits' ids out. logits[count][V] */
void host_step(struct host *h, float *logits, struct sentence *s, int *ids, int count);

/* `count` captions, decoded together: images[count][3][S][S], n tokens each behind `prompt`; the end token ends
 * nothing. ids[count][n]; logits[count][V] is scratch. The sentences have workspace for n tokens. */
void host_caption(struct host *h, int *ids, float *logits, struct sentence *s, const float *images, int count,
                  int prompt, int n);

#endif
