/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model.h - what a model is: parameters, weights with their shapes, and the state of a session.
 *
 * Letters as in the model's description: S image_size, p patch_size, P patches, E and D the widths of
 * encoder and decoder, Ie = 64 * encoder_heads, Id = 64 * decoder_heads, V the vocabulary.
 */
#ifndef PALME_MODEL_H
#define PALME_MODEL_H

#include "layers.h"
#include "palme.h"
#include "report.h"

struct palme_safetensors;
struct palme_tokenizer;

/* ---- Parameters (params.c) ---------------------------------------------------------------- */

enum palme_stem_kind { PALME_STEM_NONE, PALME_STEM_LITE0, PALME_STEM_LITE1, PALME_STEM_LITE2 };

struct palme_params {
    /* the constructor's 17 */
    int image_size, patch_size;
    int encoder_dim, encoder_depth, encoder_heads;
    int num_tokens, max_seq_len;
    int decoder_dim, decoder_depth, decoder_heads;
    int alibi_num_heads; /* null in the file: decoder_heads */
    int use_abs_pos_emb, cross_attend, alibi_pos_bias, rotary_xpos, attn_flash, qk_norm;
    /* this project's */
    enum palme_stem_kind stem;
    int train_length, xpos_center;
    int bos_token, eos_token, pad_token; /* pad_token: -1 if absent */
    int default_beams, no_repeat_ngram, min_length;
    double length_penalty;
    int has_min_score;
    double min_score;
    unsigned precisions;  /* a bit for each enum palme_precision in which captions are as good; never 0 */
    char *default_prompt; /* owned, never NULL after palme_params_read */
};

/* Reads and judges the config JSON of a model file. On failure nothing is owned. */
int palme_params_read(struct palme_params *params, const char *json, size_t length,
                      const struct palme_report *report);
/* The same for the arguments of a plain reference checkpoint: only the 17 are there, qk_norm is taken as
 * false, and there is no begin or end token (bos_token 0, eos_token -1). For tests and tools. */
int palme_params_read_plain(struct palme_params *params, const char *json, size_t length,
                            const struct palme_report *report);
void palme_params_clear(struct palme_params *params);

/* P, and the rows of the encoder's position table. */
int palme_params_patches(const struct palme_params *params);
/* Values of a patch vector: 3 p^2, or 1280 behind a stem. */
int palme_params_patch_values(const struct palme_params *params);
const char *palme_stem_name(enum palme_stem_kind kind);

/* ---- Weights (weights.c) ------------------------------------------------------------------ */

struct palme_norm {
    const float *w, *b; /* [dim] */
};

struct palme_attention_block {
    struct palme_norm norm;
    struct palme_linear q, k, v; /* [I, dim] */
    struct palme_linear out;     /* [dim, I] */
};

struct palme_mlp_block {
    struct palme_norm norm;
    struct palme_linear up;   /* [4 dim, dim] */
    struct palme_linear down; /* [dim, 4 dim] */
};

struct palme_encoder_layer {
    struct palme_attention_block attention;
    struct palme_mlp_block mlp;
};

struct palme_decoder_layer {
    struct palme_attention_block self;
    struct palme_attention_block cross; /* only with cross_attend; its k and v read the image */
    struct palme_mlp_block mlp;
};

/* One inverted-residual block of the stem (StemBlock in models/palme.py). */
struct palme_stem_block {
    int in, middle, out, size, stride, skip; /* channels; kernel size; 1 or 2; non-zero: adds its input */
    struct palme_linear expand;              /* [middle, in]; w NULL where middle == in */
    const float *depthwise, *depthwise_bias; /* [size][size][middle], NULL in bytes; [middle] */
    /* In int8 what ReLU6 leaves is bytes; the taps as depthwise_bytes wants them, and their scales. NULL elsewhere. */
    const int8_t *taps;
    const float *taps_scale;
    struct palme_linear project;             /* [out, middle] */
};

enum {
    PALME_STEM_BLOCKS = 21,
    PALME_STEM_FEATURES = 1280,
    PALME_STEM_FIRST = 32,
    /* A layer of fewer weights whose inputs are floats stays in f32 whatever the model's precision: it is one of the
     * first, whose maps are the largest, and to bring its inputs to another takes longer than that saves. */
    PALME_STEM_FEW = 4096
};

struct palme_stem {
    int blocks;
    const float *conv, *conv_bias; /* [3][3][3][32] (ky, kx, channel, out), [32] */
    struct palme_stem_block block[PALME_STEM_BLOCKS];
    struct palme_linear head; /* [1280, 320 or 352] */
};

struct palme_weights {
    struct palme_stem stem;
    struct palme_norm patch_norm;          /* [3 p^2] or [1280] */
    struct palme_linear patch;             /* [E, 3 p^2] or [E, 1280] */
    struct palme_norm embedding_norm;      /* [E] */
    const float *encoder_positions;        /* [P][E] */
    struct palme_encoder_layer *encoder;   /* [encoder_depth] */
    struct palme_norm encoder_norm;        /* [E] */
    struct palme_linear encoder_to_decoder; /* [D, E]; w NULL if E == D */
    struct palme_table token_embedding;    /* [V][D] */
    const float *decoder_positions;        /* [max_seq_len][D], or NULL */
    struct palme_decoder_layer *decoder;   /* [decoder_depth] */
    struct palme_norm decoder_norm;        /* [D] */
    struct palme_linear logits;            /* [V, D], [V] */
    float inv_freq[PALME_ROTARY];          /* rotary: from the file or computed */
    float xpos_scale[PALME_ROTARY];
    float *slopes;                         /* [decoder_heads], zeros without ALiBi */
    void *memory;                          /* everything above, one block */
    uint64_t bytes;                        /* of it */
    uint64_t parameters;                   /* weights in the file, without buffers and scales */
};

/* Takes what the parameters demand out of the file and packs it in a precision, the layers that see many
 * rows for BLAS if `blas` is not 0 and that is f32; what is in the file in I8 already keeps its numbers in int8. Warns about unknown tensors and about NaN and infinity. On failure nothing
 * is owned. */
int palme_weights_load(struct palme_weights *weights, const struct palme_params *params,
                       enum palme_precision precision, int blas, struct palme_safetensors *file, const struct palme_report *report);
void palme_weights_clear(struct palme_weights *weights);

/* ---- Model -------------------------------------------------------------------------------- */

struct palme_model {
    struct palme_params params;
    struct palme_weights weights;
    struct palme_tokenizer *tokenizer; /* NULL for a plain checkpoint */
    struct palme_kernels kernels;
    struct palme_blas blas; /* where kernels.blas points, if it is loaded */
    struct palme_pool *pool;
    int threads; /* that compute, the caller's included */
    enum palme_precision precision;
    char *name, *language, *card; /* owned, never NULL */
    struct palme_report report;   /* subject: the path, owned */
};

/* Opens a plain reference checkpoint: `config` is the JSON of its constructor's arguments. For tests. NULL: the file is a
 * model file. */
int palme_model_open_plain(palme_model **model, const char *path, const char *config, size_t length,
                           const struct palme_setup *setup);

/* The ids of the caption so far, the end token included; the session's until its next call. */
const int *palme_caption_tokens(const struct palme_session *session, int *count);

/* ---- Encoder (encoder.c, stem.c) ---------------------------------------------------------- */

/* Floats of scratch that the encoder needs for a picture of `height` x `width`. */
size_t palme_encoder_scratch(const struct palme_model *model, int height, int width);
size_t palme_stem_scratch(const struct palme_model *model, int height, int width);
size_t palme_stem_room(const struct palme_model *model, int height, int width);
size_t palme_encoder_room(const struct palme_model *model, int height, int width); /* bytes of compute->room */

/* out[tokens][E] = the encoder after its final norm, tokens = (height/p) * (width/p) <= P.
 * pixels[height][width][3], values 0..1. Returns the number of tokens, or PALME_ERROR_STOPPED. */
int palme_encode(const struct palme_model *model, struct palme_compute *compute, float *out,
                 const float *pixels, int height, int width, float *scratch);

/* features[height/32 * width/32][1280] from pixels[height][width][3], values 0..1. */
void palme_stem_run(const struct palme_model *model, struct palme_compute *compute, float *features,
                    const float *pixels, int height, int width, float *scratch);

/* ---- Decoder (decoder.c) ------------------------------------------------------------------ */

/* What the decoder knows of a picture: cross-attention keys and values of every layer, [layer][k, v]
 * [tokens][Id]. Unused by a prefix decoder. */
struct palme_picture {
    int tokens;
    float *kv; /* [decoder_depth][2][capacity][Id] */
    int capacity;
};

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
void palme_rotary_fill(struct palme_rotary *rotary, const struct palme_weights *weights, int center);

/* One row of input. Rows of one call may belong to different sentences; rows of the same one stand
 * together in rising positions, and the first of them is at its cache's length. */
struct palme_row {
    struct palme_cache *cache;
    const struct palme_picture *picture;
    const struct palme_rotary *rotary;
    const float *embedding; /* [D], or NULL: the token's */
    int token;
};

size_t palme_decoder_scratch(const struct palme_model *model, int rows); /* floats */
size_t palme_decoder_room(const struct palme_model *model, int rows);    /* bytes of compute->room, logits included */

/* Cross-attention keys and values of a picture, once for all layers, or (prefix decoder) nothing;
 * context[tokens][E] is the encoder's output. scratch: palme_decoder_scratch(tokens). `mapped` [tokens][D]
 * receives the context in the decoder's width and may be NULL where that is not wanted and E == D. */
void palme_decoder_see(const struct palme_model *model, struct palme_compute *compute,
                       struct palme_picture *picture, float *mapped, const float *context, int tokens,
                       float *scratch);

/* Runs rows through the decoder, appending to their caches. logits[rows - first][V] is written for rows
 * first..rows-1 (first == rows: none). Positions are those of the caches. A row's result does not depend
 * on the other rows of the call. */
void palme_decode(const struct palme_model *model, struct palme_compute *compute, float *logits,
                  const struct palme_row *rows, int count, int first, float *scratch);

/* The same in two steps, for callers that want the logits of many rows a few at a time:
 * hidden[count - first][D] are rows first..count-1 after the final norm, logits[rows][V] their logits. The
 * first step appends to the caches. Stopped, either leaves everything as it was. */
void palme_decode_rows(const struct palme_model *model, struct palme_compute *compute, float *hidden,
                       const struct palme_row *rows, int count, int first, float *scratch);
void palme_decode_logits(const struct palme_model *model, struct palme_compute *compute, float *logits,
                         const float *hidden, int rows);

/* ---- Choosing tokens (sample.c, beam.c) --------------------------------------------------- */

struct palme_random {
    uint64_t state;
};

/* Probabilities after temperature (> 0), top-k (0: off) and top-p (>= 1: off), renormalised; what is not
 * kept is 0. kept: [V] scratch of ids, best first; returns how many are kept (0 if no logit is finite). */
int palme_filter(float *probabilities, int *kept, const float *logits, int n, double temperature,
                 int top_k, double top_p);

/* Draws an id from kept[count] with these probabilities. */
int palme_draw(const float *probabilities, const int *kept, int count, struct palme_random *random);

/* Excludes (sets to -infinity) each token that would complete an n-gram that text[length] already has. */
void palme_forbid_repeats(float *logits, int vocabulary, const int *text, int length, int ngram);


/* ---- Beam search (beam.c) ----------------------------------------------------------------- */

struct palme_beam {
    int slot;     /* which of the session's caches holds its keys and values */
    double score; /* sum of log-probabilities */
    int *tokens;  /* [capacity] */
};

/* A search over sentences (Palme.beam in models/palme.py). Beams are kept in the order in which they were found,
 * best first. */
struct palme_beams {
    int width, capacity; /* most beams; most tokens of a sentence */
    int open, length;    /* open beams; tokens that each of them has */
    struct palme_beam *beam, *next; /* [width] */
    int *best;           /* [capacity] best finished sentence, the end token included */
    int best_length;     /* 0: none yet */
    double best_value, best_score;
    struct palme_candidate *candidates; /* [2 * width] */
};

struct palme_candidate {
    double score;
    int beam, token;
};

struct palme_search {
    int width;             /* beams of this caption */
    int max_length;        /* M */
    int eos, min_length, ngram;
    double length_penalty; /* alpha */
};

/* One open beam without a token. */
void palme_beams_begin(struct palme_beams *beams);

/* Advances by one token. logits[open][V] belong to the open beams and are overwritten. After it each open
 * beam has one token more; `parent[width]` receives the number that it had before the step. Returns
 * non-zero when the search is over; the result then stands in best, best_length and best_score. */
int palme_beams_step(struct palme_beams *beams, const struct palme_kernels *kernels, int *parent,
                     float *logits, int vocabulary, const struct palme_search *search);

#endif
