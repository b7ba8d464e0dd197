/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decoder.h - the text decoder: its weights, its caches, and rows of tokens into rows of logits.
 */
#ifndef PALME_DECODER_H
#define PALME_DECODER_H

#include "nn/block.h"
#include "nn/picture.h"

struct palme_model;

struct palme_decoder_layer {
    struct palme_attention_block self;
    struct palme_attention_block cross; /* only with cross_attend; its k and v read the image */
    struct palme_mlp_block mlp;
};

struct palme_decoder {
    struct palme_linear projection;     /* [D, E]; w NULL without one */
    struct palme_norm projection_norm;  /* [D] behind it */
    struct palme_table embedding;       /* [V][D] */
    const float *positions;             /* [positions][D], or NULL */
    struct palme_norm first_norm;       /* [D] */
    struct palme_decoder_layer *layers; /* [depth] */
    struct palme_norm final_norm;       /* [D] */
    struct palme_linear head;           /* [D, D] before the logits; w NULL without it */
    struct palme_norm head_norm;        /* [D] */
    struct palme_linear logits;         /* [V, D], [V] */
    float inv_freq[PALME_ROTARY];       /* rotary: from the file or computed */
    float xpos_scale[PALME_ROTARY];
    float *slopes; /* [heads], zeros without ALiBi */
};

void palme_decoder_load(struct palme_loader *l, struct palme_decoder *decoder);

/* Keys and values of one sentence in self-attention, after rotation and scaling. */
struct palme_cache {
    float *kv;    /* [decoder_depth][2][capacity][Id] */
    int capacity; /* positions: image tokens of a prefix decoder, then text */
    int length;   /* positions that are filled */
    int visible;  /* positions that every row sees: the image tokens of a prefix decoder */
};

/* The angles and gains of every position for one centre (Decoder.rotary in models/palme.py). */
struct palme_rotary {
    float *cos, *sin;   /* [positions][16] */
    float *gain, *anti; /* [positions][16]: g for queries, 1/g for keys and values */
    int positions;
};
void palme_rotary_fill(struct palme_rotary *rotary, const struct palme_decoder *decoder, int center);

/* One row of input. Rows of one call may belong to different sentences; rows of the same one stand
 * together in rising positions, and the first of them is at its cache's length. */
struct palme_row {
    struct palme_cache *cache;
    const struct palme_picture *picture;
    const struct palme_rotary *rotary;
    const float *embedding; /* [D], or NULL: the token's */
    int token;
};

/* What passes of up to `rows` rows take of the scratch, and a picture of up to `tokens` tokens. `arena` is where it was
 * before, and `most` has grown. */
void palme_decoder_reserve(struct palme_arena *arena, const struct palme_model *model, int rows, int tokens);

/* Cross-attention keys and values of a picture, once for all layers, or (prefix decoder) nothing;
 * context[tokens][E] is the encoder's output. `mapped` [tokens][D] receives the context behind the projection; NULL:
 * that is not wanted. */
void palme_decoder_see(const struct palme_model *model, struct palme_compute *compute, struct palme_picture *picture,
                       float *mapped, const float *context, int tokens, struct palme_arena *scratch);

/* Runs rows through the decoder, appending to their caches. logits[rows - first][V] is written for rows
 * first..rows-1 (first == rows: none). Positions are those of the caches. A row's result does not depend
 * on the other rows of the call. */
void palme_decode(const struct palme_model *model, struct palme_compute *compute, float *logits,
                  const struct palme_row *rows, int count, int first, struct palme_arena *scratch);

/* The same in two steps, for callers that want the logits of many rows a few at a time:
 * hidden[count - first][D] are rows first..count-1 after the final norm, logits[rows][V] their logits. The
 * first step appends to the caches. Stopped, either leaves everything as it was. */
void palme_decode_rows(const struct palme_model *model, struct palme_compute *compute, float *hidden,
                       const struct palme_row *rows, int count, int first, struct palme_arena *scratch);
void palme_decode_logits(const struct palme_model *model, struct palme_compute *compute, float *logits,
                         const float *hidden, int rows, struct palme_arena *scratch);

#endif
