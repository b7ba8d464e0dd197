/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fuzz_model.c - a model file from a stranger: container, configuration, tokenizer and weights, and a caption if it
 * opens. Then once more with a read that fails. Nothing is read past the end, a failure leaves nothing, and a file that
 * opens captions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "support/faulty_source.h"

static int open_source(palme_model **model, struct faulty *faulty)
{
    const struct palme_setup setup = { .threads = 1 };
    const struct palme_source source = faulty_source(faulty);
    int status = palme_model_open_source(model, &source, "a model", &setup);

    FUZZ_HOLDS(faulty->outside == 0);
    FUZZ_HOLDS((status == PALME_OK) == (*model != NULL));
    FUZZ_HOLDS(status != PALME_ERROR_ARGUMENT && status != PALME_ERROR_CANCELLED);
    return status;
}

static void caption(const palme_model *model)
{
    static const uint8_t pixels[2 * 2 * 3] = { 200, 100, 50, 0, 255, 10 };
    const struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = 2, .height = 2, .planes = { pixels }, .strides = { 6 }
    };
    const struct palme_options options = { .max_length = 2 };
    palme_session *session;
    struct palme_info info;
    const char *piece;
    int status;

    palme_model_info(model, &info);
    FUZZ_HOLDS(info.name && info.card && info.image_size > 0 && info.vocabulary > 0);
    if (info.image_size > 64)
        return; /* correct, and slow */
    status = palme_session_open(&session, model, &options);
    FUZZ_HOLDS(status == PALME_OK || status == PALME_ERROR_MEMORY);
    if (status != PALME_OK)
        return;
    FUZZ_HOLDS(palme_look(session, &image) == PALME_OK);
    /* The prompt of the file may be longer than its own context. */
    for (int i = 0; i < 3 && (status = palme_next(session, &piece)) == PALME_OK; i++)
        FUZZ_HOLDS(piece != NULL);
    palme_session_close(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faulty whole = { .bytes = data, .size = size, .fails = -1 };
    struct faulty broken = { .bytes = data, .size = size, .result = size % 2 ? EIO : -1 };
    palme_model *model = NULL;
    int status = open_source(&model, &whole);

    if (model)
        caption(model);
    palme_model_close(&model);
    if (whole.reads > 0) {
        broken.fails = (int)(size % (size_t)whole.reads);
        status = open_source(&model, &broken);
        FUZZ_HOLDS(status == PALME_ERROR_READ);
    }
    return 0;
}
