/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * labels.c - the head behind the stem that gives each label a probability (Labels in models/palme.py).
 */
#include "nn/labels.h"

#include <math.h>
#include <string.h>

#include "base/util.h"
#include "nn/loader.h"
#include "nn/model.h"

void palme_labels_load(struct palme_loader *l, struct palme_labels *labels)
{
    const struct palme_label_config *config = l->config->labels;

    if (config && config->class_count)
        palme_load_linear(l, &labels->classes, "labels.classes", config->class_count, PALME_STEM_FEATURES,
                          PALME_LOAD_BIAS, PALME_ACTIVATION_NONE);
    if (config && config->thing_count)
        palme_load_linear(l, &labels->things, "labels.things", config->thing_count, PALME_LABEL_INPUTS, PALME_LOAD_BIAS,
                          PALME_ACTIVATION_NONE);
}

/* ---- Memory ------------------------------------------------------------------------------- */

struct work {
    void *workspace; /* inputs of the linear layers in their precision */
    float *logits;   /* [max(C, T)] */
};

static void lay_out(struct work *work, struct palme_arena *arena, const struct palme_model *model)
{
    const struct palme_labels *labels = &model->weights.labels;
    const struct palme_label_config *config = model->config.labels;

    work->workspace = palme_arena_take(arena,
                                       max_size(palme_linear_workspace(&model->kernels, &labels->classes, 1),
                                                palme_linear_workspace(&model->kernels, &labels->things, 1)),
                                       1);
    work->logits = palme_arena_take(arena, (size_t)max_int(config->class_count, config->thing_count), sizeof(float));
}

void palme_labels_reserve(struct palme_arena *arena, const struct palme_model *model)
{
    size_t mark = arena->used;
    struct work work;

    if (!model->config.labels)
        return;
    lay_out(&work, arena, model);
    palme_arena_rewind(arena, mark);
}

/* ---- Running ------------------------------------------------------------------------------ */

void palme_labels_pool(float *pooled, const float *maps, int cells)
{
    float *mean = pooled, *most = pooled + PALME_STEM_FEATURES;

    memcpy(mean, maps, PALME_STEM_FEATURES * sizeof *maps);
    memcpy(most, maps, PALME_STEM_FEATURES * sizeof *maps);
    for (int cell = 1; cell < cells; cell++) {
        const float *row = maps + (size_t)cell * PALME_STEM_FEATURES;

        for (int i = 0; i < PALME_STEM_FEATURES; i++) {
            mean[i] += row[i];
            most[i] = row[i] > most[i] ? row[i] : most[i];
        }
    }
    for (int i = 0; i < PALME_STEM_FEATURES; i++)
        mean[i] /= (float)cells;
}

void palme_labels_run(const struct palme_model *model, struct palme_compute *c, double *probabilities,
                      const float *pooled, struct palme_arena *scratch)
{
    const struct palme_labels *labels = &model->weights.labels;
    const struct palme_label_config *config = model->config.labels;
    size_t mark = scratch->used;
    struct work work;

    lay_out(&work, scratch, model);
    c->workspace = work.workspace;
    for (int l = 0; l < config->count; l++)
        probabilities[l] = 0;
    if (config->class_count) {
        palme_linear(c, work.logits, pooled, &labels->classes, 1);
        double all = c->kernels->log_sum_exp(work.logits, config->class_count);

        for (int i = 0; i < config->class_count; i++)
            if (config->classes[i] >= 0)
                probabilities[config->classes[i]] += exp(work.logits[i] - all);
    }
    if (config->thing_count) {
        palme_linear(c, work.logits, pooled, &labels->things, 1);
        for (int i = 0; i < config->thing_count; i++) {
            double p = 1 / (1 + exp(-(double)work.logits[i])), *known = &probabilities[config->things[i]];

            *known = p > *known ? p : *known;
        }
    }
    palme_arena_rewind(scratch, mark);
}
