/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * enginehost.c - the engine driven from inside.
 */
#include "support/enginehost.h"

#include "support/arenahost.h"

#include "base/util.h"

#include <stdlib.h>
#include <string.h>

static const struct host_precision precisions[] = {
    { "f32", 4, 1 },
    { "bf16", 2, 1 },
    { "int8", 1, 1 },
    { "int4", PALME_INT4_UNIT_BYTES / (double)(PALME_INT4_UNIT *PALME_PANEL), 1 },
};

const struct host_precision *host_precision_find(const char *name)
{
    if (strcmp(name, "auto") == 0)
        return &precisions[0];
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
        if (strcmp(name, precisions[i].name) == 0)
            return &precisions[i];
    return NULL;
}

int host_prefix(const struct host *h)
{
    return h->model->config.cross_attend ? 0 : palme_config_image_tokens(&h->model->config);
}

int host_context(const struct host *h)
{
    return h->model->config.context - host_prefix(h);
}

int host_open(struct host *h, const char *path, int threads, const char *level, const struct host_precision *precision,
              palme_log_fn log, void *user)
{
    const struct palme_setup setup = {
        .threads = threads, .level = level, .precision = precision->name, .log = log, .log_user = user
    };

    palme_model *model;
    int status = palme_model_open(&model, path, &setup);

    memset(h, 0, sizeof *h);
    return status < 0 ? status : host_take(h, model, precision);
}

int host_take(struct host *h, palme_model *model, const struct host_precision *precision)
{
    memset(h, 0, sizeof *h);
    h->precision = precision;
    h->model = model;

    const struct palme_config *p = &h->model->config;
    size_t tokens = (size_t)palme_config_image_tokens(p), side = (size_t)p->image_size;
    size_t positions = (size_t)p->context, rows = max_size(tokens, HOST_ROWS);
    float *angles = calloc(4 * positions * PALME_ROTARY, sizeof *angles);
    struct palme_arena arena = { 0 };

    h->compute = (struct palme_compute){ .kernels = &h->model->kernels, .pool = h->model->pool };
    palme_scratch_take(&arena, h->model, (int)rows);
    h->rotary.cos = angles;
    h->rows = calloc(rows, sizeof *h->rows);
    h->pixels = calloc(side * side * 3, sizeof *h->pixels);
    h->context = calloc(tokens * (size_t)p->encoder.dim, sizeof *h->context);
    h->mapped = calloc(tokens * (size_t)p->decoder.dim, sizeof *h->mapped);
    h->scratch = palme_arena_over(aligned_alloc(PALME_ARENA_ALIGNMENT, arena.most), arena.most);
    if (!angles || !h->rows || !h->pixels || !h->context || !h->mapped || !h->scratch.base) {
        host_close(h);
        return PALME_ERROR_MEMORY;
    }
    h->rotary.sin = angles + positions * PALME_ROTARY;
    h->rotary.gain = angles + 2 * positions * PALME_ROTARY;
    h->rotary.anti = angles + 3 * positions * PALME_ROTARY;
    h->rotary.positions = p->rotary_xpos ? (int)positions : 0;
    palme_rotary_fill(&h->rotary, &h->model->weights.decoder, p->xpos_center);
    return PALME_OK;
}

void host_close(struct host *h)
{
    free(h->rotary.cos);
    free(h->rows);
    free(h->pixels);
    free(h->context);
    free(h->mapped);
    free(h->scratch.base);
    palme_model_close(&h->model);
    memset(h, 0, sizeof *h);
}

int sentence_open(struct sentence *s, const struct host *h, int text)
{
    const struct palme_config *p = &h->model->config;
    size_t width = 2 * (size_t)p->decoder.depth * (size_t)palme_stack_inner(&p->decoder);

    memset(s, 0, sizeof *s);
    s->cache.capacity = host_prefix(h) + text;
    s->cache.kv = calloc((size_t)s->cache.capacity * width, sizeof(float));
    s->picture = picture_for_model(h->model, palme_config_image_tokens(p));
    if (s->cache.kv && s->picture.kv)
        return 0;
    sentence_close(s);
    return -1;
}

void sentence_close(struct sentence *s)
{
    free(s->cache.kv);
    free(s->picture.kv);
    memset(s, 0, sizeof *s);
}

void host_encode(struct host *h, const float *image)
{
    int side = h->model->config.image_size;
    size_t area = (size_t)side * (size_t)side;

    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < 3; c++)
            h->pixels[3 * i + c] = image[c * area + i];
    h->tokens = palme_encode(h->model, &h->compute, h->context, NULL, h->pixels, side, side, &h->scratch);
}

size_t host_context_bytes(const struct host *h)
{
    return (size_t)h->tokens * (size_t)h->model->config.encoder.dim * sizeof *h->context;
}

void host_see(struct host *h, struct sentence *s)
{
    palme_decoder_see(h->model, &h->compute, &s->picture, h->mapped, h->context, h->tokens, &h->scratch);
}

static struct palme_row row_of(const struct host *h, struct sentence *s, int token)
{
    return (struct palme_row){ .cache = &s->cache, .picture = &s->picture, .rotary = &h->rotary, .token = token };
}

void host_begin(struct host *h, struct sentence *s)
{
    int prefix = host_prefix(h);

    s->cache.length = 0;
    s->cache.visible = prefix;
    for (int i = 0; i < prefix; i++) {
        h->rows[i] = row_of(h, s, 0);
        h->rows[i].embedding = h->mapped + (size_t)i * (size_t)h->model->config.decoder.dim;
    }
    if (prefix)
        palme_decode(h->model, &h->compute, NULL, h->rows, prefix, prefix, &h->scratch);
}

void host_feed(struct host *h, float *logits, struct sentence *s, const int *ids, int n, int first)
{
    for (int at = 0, rows; at < n; at += rows) {
        rows = n - at < HOST_ROWS ? n - at : HOST_ROWS;
        int from = first <= at ? 0 : first < at + rows ? first - at : rows; /* the first row with logits */

        for (int i = 0; i < rows; i++)
            h->rows[i] = row_of(h, s, ids[at + i]);
        palme_decode(h->model, &h->compute, logits, h->rows, rows, from, &h->scratch);
        if (logits)
            logits += (size_t)(rows - from) * (size_t)h->model->config.vocabulary;
    }
}

void host_step(struct host *h, float *logits, struct sentence *s, int *ids, int count)
{
    int vocabulary = h->model->config.vocabulary;

    for (int i = 0; i < count; i++)
        h->rows[i] = row_of(h, &s[i], ids[i]);
    palme_decode(h->model, &h->compute, logits, h->rows, count, 0, &h->scratch);
    for (int i = 0; i < count; i++) {
        int best = h->model->kernels.argmax(logits + (size_t)i * (size_t)vocabulary, vocabulary);

        ids[i] = best < 0 ? 0 : best; /* no logit is a number: the answer is worthless, the index must not be */
    }
}

void host_caption(struct host *h, int *ids, float *logits, struct sentence *s, const float *images, int count,
                  int prompt, int n)
{
    size_t side = (size_t)h->model->config.image_size;
    int last[HOST_ROWS];

    for (int i = 0; i < count; i++) {
        host_encode(h, images + (size_t)i * 3 * side * side);
        host_see(h, &s[i]);
        host_begin(h, &s[i]);
        last[i] = prompt;
    }
    for (int t = 0; t < n; t++) {
        host_step(h, logits, s, last, count);
        for (int i = 0; i < count; i++)
            ids[i * n + t] = last[i];
    }
}
