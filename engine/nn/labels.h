/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * labels.h - everyday words for what is in a picture: what the configuration says of them (label_config.c), and the
 * head behind the stem that gives each a probability (labels.c). models/FORMAT.md, section 7, has the meaning.
 *
 * L labels, C classes that exclude one another, T things that do not.
 */
#ifndef PALME_LABELS_H
#define PALME_LABELS_H

#include "nn/config.h"

struct palme_arena;
struct palme_compute;
struct palme_json;
struct palme_loader;
struct palme_model;

enum {
    PALME_LABEL_TOKENS = 30,     /* most ids of labels that the decoder reads */
    PALME_MOST_LABEL_BYTES = 64, /* of a name; with PALME_MAX_LABELS, they are fewer than a prompt may have */
    PALME_MOST_JOINER_BYTES = 16,
    PALME_MOST_WORD_BYTES = 128,
    PALME_LABEL_INPUTS = 2 * PALME_STEM_FEATURES /* the mean of each of the stem's maps, then the maximum of each */
};

/* ---- Configuration (label_config.c) ------------------------------------------------------- */

/* What words are made of when a text is compared with `words`: lower case, digits, apostrophes and all beyond ASCII.
 */
static inline int palme_is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'' || (unsigned char)c >= 0x80;
}

/* A word or phrase and the labels that it may speak of. */
struct palme_label_word {
    const char *text;
    const int *labels; /* [count] */
    int count;         /* at least 1 */
};

struct palme_label_config {
    int count;                      /* L */
    const char **names, **phrases;  /* [L]; a phrase is "" where the label makes no sentence */
    const char **sentences;         /* [L] a cautious sentence of this label alone; "" without a phrase */
    double *thresholds;             /* [L] a label is chosen from this probability on */
    int class_count, thing_count;   /* C, T; 0: there is no such head */
    int *classes, *things;          /* the label of each; that of a class may be -1, none */
    int most;                       /* labels that are chosen at most */
    const char *joiner;             /* between their names */
    struct palme_label_word *words; /* [word_count] */
    int word_count;
    double weight, floor, require, sure; /* what words cost: section 7.4 */
    double confirm, deny, least;         /* when a caption is unsure, and what is said instead */
};

/* Reads the key `labels` of a model's configuration, whose other values are in `config`. `stem` and `context` are what
 * messages call these two. *labels is the caller's, NULL where the key is absent and after an error. */
int palme_label_config_read(struct palme_label_config **labels, const struct palme_config *config,
                            const struct palme_json *json, const char *stem, const char *context,
                            const struct palme_log *log);
void palme_label_config_free(struct palme_label_config *labels);

/* ---- The head (labels.c) ------------------------------------------------------------------ */

struct palme_labels {
    struct palme_linear classes; /* [C, 1280]; w NULL if C is 0 */
    struct palme_linear things;  /* [T, 2560]; w NULL if T is 0 */
};

void palme_labels_load(struct palme_loader *l, struct palme_labels *labels);

/* What palme_labels_run takes of the scratch. `arena` is where it was before, and `most` has grown. */
void palme_labels_reserve(struct palme_arena *arena, const struct palme_model *model);

/* pooled[PALME_LABEL_INPUTS] of maps[cells][PALME_STEM_FEATURES]. */
void palme_labels_pool(float *pooled, const float *maps, int cells);

/* probabilities[L] from what was pooled. Where the computation was cancelled they have no meaning. */
void palme_labels_run(const struct palme_model *model, struct palme_compute *c, double *probabilities,
                      const float *pooled, struct palme_arena *scratch);

#endif
