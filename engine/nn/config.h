/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * config.h - what a model is made of: two stacks, how they see a picture, how captions are generated. Files of
 * version 1 and 2 fill the same structs (format1.c, config.c); models/FORMAT.md says what each key means.
 */
#ifndef PALME_CONFIG_H
#define PALME_CONFIG_H

#include "nn/layers.h"
#include "image/image.h"
#include "palme.h"
#include "base/log.h"

enum palme_stem_kind { PALME_STEM_NONE, PALME_STEM_LITE0, PALME_STEM_LITE1, PALME_STEM_LITE2 };
enum palme_norm_order { PALME_NORM_PRE, PALME_NORM_POST };

/* The linear layer between the stacks: where their widths differ, always, or never. */
enum palme_projection { PALME_PROJECTION_AUTO, PALME_PROJECTION_LINEAR, PALME_PROJECTION_NONE };

enum {
    PALME_STEM_FEATURES = 1280 /* values that a stem makes of a patch */
};

/* How a beam search ends, and what lengths and n-grams count (generation.search in models/FORMAT.md). */
enum palme_search_rules { PALME_SEARCH_PALME, PALME_SEARCH_TRANSFORMERS };
enum palme_early_stopping { PALME_STOP_HEURISTIC, PALME_STOP_FIRST, PALME_STOP_NEVER };

/* A stack of transformer layers, the same for encoder and decoder. */
struct palme_stack {
    int dim, depth;
    int heads, head_dim; /* heads * head_dim need not be dim */
    int mlp_dim;
    enum palme_norm_order norm_order;
    double norm_eps;
    enum palme_activation activation; /* of the feed-forward block */
    int qkv_bias, out_bias, mlp_bias;
    int qk_norm;            /* of self-attention, whose factor of q.k is then 10 */
    double attention_scale; /* of all other attention */
    int positions;          /* a table of them is learned */
    int position_offset;    /* rows before that of the first token */
    int first_norm, final_norm;
};

/* Columns of queries, keys and values. */
static inline int palme_stack_inner(const struct palme_stack *stack)
{
    return stack->heads * stack->head_dim;
}

struct palme_label_config;
struct palme_least;

struct palme_config {
    int image_size, patch_size;
    int resize, filter; /* enum palme_resize, enum palme_filter */
    int resize_side;    /* that is scaled to; the middle image_size of it are the square */
    enum palme_stem_kind stem;
    int class_tokens; /* learned tokens in front of the patches */
    int patch_input_norm, patch_bias, patch_output_norm;
    struct palme_stack encoder;
    int projection; /* enum palme_projection */
    int projection_bias, projection_norm;
    struct palme_stack decoder;
    int vocabulary, context;
    int cross_attend; /* else the image tokens stand before the text */
    int embed_prefix; /* those have positions and the first norm, as text has */
    int rotary_xpos, xpos_center;
    int alibi_heads; /* the first ones; 0: none */
    int tied_logits, logits_bias;
    int bert_head; /* a dense layer, the activation and a norm before the logits */

    int bos_token, eos_token, pad_token; /* pad_token: -1 if absent */
    int default_beams, no_repeat_ngram, min_length;
    double length_penalty;
    int search_rules, early_stopping;               /* the enums above */
    int max_length, max_new_tokens, min_new_tokens; /* 0: absent */
    int forced_bos, forced_eos;                     /* tokens that a caption begins with and is cut by; -1: absent */
    int has_min_score;
    double min_score;
    unsigned precisions;               /* a bit for each enum palme_precision in which captions are as good; never 0 */
    struct palme_least *least;         /* owned, NULL without it: layers that need more care (least.h) */
    char *default_prompt;              /* owned, never NULL once it is read */
    struct palme_label_config *labels; /* owned, NULL for a model without labels (labels.h) */
};

/* Reads and validates the config JSON of a model file of version 1 or 2. On failure nothing is owned. */
int palme_config_read(struct palme_config *config, int version, const char *json, size_t length,
                      const struct palme_log *log);
/* The arguments of a plain reference checkpoint: the 17 of version 1 alone, qk_norm is taken as false, and there is
 * no begin or end token (bos_token 0, eos_token -1). For tests and tools. */
int palme_config_read_plain(struct palme_config *config, const char *json, size_t length, const struct palme_log *log);
void palme_config_clear(struct palme_config *config);

/* How pictures become the square. */
struct palme_scaling palme_config_scaling(const struct palme_config *config);
/* P: patches of the square picture. */
int palme_config_patches(const struct palme_config *config);
/* What the encoder makes of the square picture: P and the class tokens. */
int palme_config_image_tokens(const struct palme_config *config);
/* Whether there is a projection, and the width of the image tokens behind it. */
int palme_config_projects(const struct palme_config *config);
int palme_config_image_dim(const struct palme_config *config);
/* Rows of the decoder's table of positions, behind its offset. */
int palme_config_positions(const struct palme_config *config);
/* Image tokens that stand before the text: all of a prefix decoder, else 0. */
int palme_config_prefix(const struct palme_config *config);
/* Values of a patch vector: 3 p^2, or 1280 behind a stem. */
int palme_config_patch_values(const struct palme_config *config);
const char *palme_stem_name(enum palme_stem_kind kind);

#endif
