/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * scratch.c - the memory in which all stages of a model work, one after the other.
 */
#include "nn/model.h"
#include "image/preprocess.h"

struct palme_arena palme_scratch_take(struct palme_arena *arena, const struct palme_model *model, int rows)
{
    const struct palme_config *config = &model->config;
    int p = config->patch_size, patches = palme_config_patches(config);
    struct palme_arena scratch = { 0 };

    struct palme_scaling scaling = palme_config_scaling(config);

    palme_preprocess_reserve(&scratch, &scaling);
    palme_encoder_reserve(&scratch, model, config->image_size, config->image_size);
    /* How the stem cuts its maps depends on the shape of the picture, and no shape is the worst for all of them. */
    for (int down = 1; config->stem != PALME_STEM_NONE && down <= patches; down++)
        for (int across = 1; across <= patches / down; across++)
            palme_encoder_reserve(&scratch, model, down * p, across * p);
    palme_labels_reserve(&scratch, model);
    palme_decoder_reserve(&scratch, model, rows, palme_config_image_tokens(config));
    if (scratch.overflow)
        arena->overflow = 1;
    return palme_arena_over(palme_arena_take(arena, scratch.most, 1), scratch.most);
}
