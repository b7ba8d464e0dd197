/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * weights.c - all weights of a model: the lists of encoder, decoder and labels, walked twice, and the memory between
 * the walks.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "nn/model.h"
#include "io/safetensors.h"
#include "base/util.h"

enum {
    LARGE_PAGE = 1 << 21,
    SHOWN_UNKNOWN = 5 /* unknown tensors that are named before they are only counted */
};

static void walk(struct palme_loader *l, struct palme_weights *weights)
{
    palme_encoder_load(l, &weights->encoder);
    palme_decoder_load(l, &weights->decoder);
    palme_labels_load(l, &weights->labels);
}

/* Every pass reads most of the weights once, in long runs: with large pages the processor looks up few addresses.
 * (Measured on Zen 3: a decoder step in int8 takes 0.85 times as long.) They are a wish, and small models do not
 * need them. */
static void *take_block(size_t bytes)
{
    size_t unit = bytes < 2 * LARGE_PAGE ? PALME_ARENA_ALIGNMENT : LARGE_PAGE;
    void *block = bytes <= SIZE_MAX - unit ? aligned_alloc(unit, round_up(bytes, unit)) : NULL;

    if (block && unit == LARGE_PAGE)
        madvise(block, bytes, MADV_HUGEPAGE);
    return block;
}

static void allocate(struct palme_loader *l, struct palme_weights *weights)
{
    size_t row = max_size(l->widest, PALME_LOADER_FLOATS), bytes = l->arena.most;

    if (row <= SIZE_MAX / sizeof *l->rows)
        l->rows = malloc(row * sizeof *l->rows);
    l->scales = malloc(PALME_LOADER_ROWS * sizeof *l->scales);
    if (l->rows && l->scales)
        weights->memory = take_block(bytes);
    if (!weights->memory)
        l->status = palme_fail(l->log, PALME_ERROR_MEMORY, "out of memory: its weights take %llu bytes",
                               (unsigned long long)bytes);
    weights->bytes = bytes;
    weights->parameters = l->parameters;
    l->arena = palme_arena_over(weights->memory, bytes);
}

static void warn(const struct palme_loader *l)
{
    size_t count, unknown = 0;
    const struct palme_tensor *tensors = palme_safetensors_list(l->file, &count);
    struct palme_shown shown;

    for (size_t i = 0; i < count; i++)
        if (!tensors[i].used && unknown++ < SHOWN_UNKNOWN)
            palme_log_message(l->log, PALME_LOG_WARNING, "tensor %s is unknown and ignored",
                              palme_show(&shown, tensors[i].name, strlen(tensors[i].name)));
    if (unknown > SHOWN_UNKNOWN)
        palme_log_message(l->log, PALME_LOG_WARNING, "%zu more unknown tensors are ignored", unknown - SHOWN_UNKNOWN);
    if (l->broken)
        palme_log_message(l->log, PALME_LOG_WARNING,
                          "%llu of its weights are NaN or infinite, the first of them in tensor %s",
                          (unsigned long long)l->broken, l->first_broken);
}

int palme_weights_load(struct palme_weights *weights, const struct palme_config *config, int version,
                       enum palme_precision precision, int blas, struct palme_safetensors *file,
                       const struct palme_log *log)
{
    struct palme_loader l = {
        .config = config, .version = version, .precision = precision, .blas = blas, .file = file, .log = log
    };

    memset(weights, 0, sizeof *weights);
    walk(&l, weights);
    if (l.status == PALME_OK)
        allocate(&l, weights);
    if (l.status == PALME_OK)
        walk(&l, weights);
    free(l.rows);
    free(l.scales);
    if (l.status == PALME_OK)
        warn(&l);
    else
        palme_weights_clear(weights);
    return l.status;
}

void palme_weights_clear(struct palme_weights *weights)
{
    free(weights->memory);
    memset(weights, 0, sizeof *weights);
}
