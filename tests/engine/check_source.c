/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_source.c - a model out of a path, a descriptor, memory and a caller's source is the same; each read may fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "support/check.h"
#include "support/faulty_source.h"
#include "nn/model.h"
#include "support/model_builder.h"
#include "io/safetensors.h"

static struct heard heard;

static int open_faulty(palme_model **model, struct faulty *f)
{
    const struct palme_setup setup = { .threads = 1, .log = heard_log, .log_user = &heard };
    const struct palme_source source = faulty_source(f);

    memset(&heard, 0, sizeof heard);
    *model = (palme_model *)&heard;
    return palme_model_open_source(model, &source, "an archive's model", &setup);
}

/* The same weights in the same places: what is packed has no pointers but at its begin. */
static void compare_weights(const palme_model *a, const palme_model *b, const char *what)
{
    const struct palme_linear *x = &a->weights.decoder.logits, *y = &b->weights.decoder.logits;

    CHECK_MESSAGE(
        a->weights.bytes == b->weights.bytes && a->weights.parameters == b->weights.parameters &&
            memcmp(x->w, y->w, palme_linear_size(x)) == 0 &&
            memcmp(a->weights.encoder.positions, b->weights.encoder.positions,
                   (size_t)palme_config_patches(&a->config) * (size_t)a->config.encoder.dim * sizeof(float)) == 0,
        "%s: another model", what);
}

static void check_ways(const char *path, const unsigned char *bytes, size_t length)
{
    const struct palme_setup setup = { .threads = 1 };
    struct faulty f = { bytes, length, 0, -1, 0, 0 };
    palme_model *by_path = NULL, *by_source = NULL, *again = NULL;
    struct palme_source source = palme_source_memory(bytes, length);
    int descriptor = open(path, O_RDONLY);

    CHECK_INT(palme_model_open(&by_path, path, &setup), PALME_OK);
    CHECK_INT(open_faulty(&by_source, &f), PALME_OK);
    CHECK_INT(f.outside, 0);
    compare_weights(by_path, by_source, "a caller's source");
    palme_model_close(&by_source);
    CHECK_INT(palme_model_open_source(&again, &source, "memory", &setup), PALME_OK);
    compare_weights(by_path, again, "memory");
    palme_model_close(&again);

    lseek(descriptor, 5, SEEK_SET);
    CHECK_INT(palme_source_descriptor(&source, descriptor, NULL), PALME_OK);
    CHECK_INT(source.size, length);
    CHECK_INT(palme_model_open_source(&again, &source, "a descriptor", &setup), PALME_OK);
    compare_weights(by_path, again, "a descriptor");
    CHECK_INT(lseek(descriptor, 0, SEEK_CUR), 5);
    CHECK_INT(close(descriptor), 0); /* it stayed open */
    palme_model_close(&again);
    palme_model_close(&by_path);
}

/* Each read of all fails once, with an errno and with too few bytes. */
static void check_faults(const unsigned char *bytes, size_t length)
{
    static const int results[] = { EIO, -1 };

    for (int r = 0; r < 2; r++) {
        int status = PALME_ERROR_READ, fails = 0;

        for (; status != PALME_OK && fails < 10000; fails++) {
            struct faulty f = { bytes, length, 0, fails, results[r], 0 };
            palme_model *model;

            status = open_faulty(&model, &f);
            CHECK_INT(f.outside, 0);
            if (status == PALME_OK) {
                CHECK(f.reads <= fails);
                palme_model_close(&model);
                break;
            }
            CHECK_MESSAGE(status == PALME_ERROR_READ && model == NULL && heard.errors == 1 &&
                              strstr(heard.error, "an archive's model") &&
                              strstr(heard.error, results[r] < 0 ? "shorter" : strerror(EIO)),
                          "read %d, result %d: status %d, %s", fails, results[r], status, heard.error);
        }
        CHECK_MESSAGE(fails > 3, "only %d reads", fails);
    }
}

static void check_arguments(void)
{
    struct palme_source source = palme_source_memory("", 0), small = source, none = source;
    palme_model *model = (palme_model *)&heard;

    small.reserved[3] = 1;
    none.read_at = NULL;
    CHECK_INT(palme_model_open_source(&model, NULL, "x", NULL), PALME_ERROR_ARGUMENT);
    CHECK(model == NULL);
    CHECK_INT(palme_model_open_source(NULL, &source, "x", NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_model_open_source(&model, &source, NULL, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_model_open_source(&model, &small, "x", NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_model_open_source(&model, &none, "x", NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_model_open_source(&model, &source, "x", NULL), PALME_ERROR_KIND); /* empty */
    CHECK_INT(palme_source_descriptor(&source, -1, NULL), PALME_ERROR_OPEN);
    int folder = open("/", O_RDONLY | O_DIRECTORY);
    CHECK_INT(palme_source_descriptor(&source, folder, NULL), PALME_ERROR_OPEN);
    close(folder);
}

int main(void)
{
    const char *path = temporary("model.safetensors");
    struct builder *b = builder_new("{}", 7);
    size_t length;
    unsigned char *bytes = builder_bytes(b, &length, NULL);

    builder_write(b, path);
    check_ways(path, bytes, length);
    check_faults(bytes, length);
    check_arguments();
    free(bytes);
    builder_free(b);
    return check_done();
}
