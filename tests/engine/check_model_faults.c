/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_model_faults.c - a model, a session and a caption while the system fails: each allocation and each start of
 * a thread once, each read once, reads that are interrupted or come in small pieces. The linker sends the
 * engine's calls here (--wrap).
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "support/allocations.h"
#include "support/check.h"
#include "support/model_builder.h"
#include "palme.h"

static struct heard heard;
static const char *path;
static int threads = 1;

/* ---- Reads -------------------------------------------------------------------------------- */

enum fault { NONE, INTERRUPTED, PIECES, BROKEN, ENDED };
static enum fault fault;
static long reads, at; /* the read that is broken or the end of the file */

ssize_t __real_pread(int fd, void *out, size_t length, off_t offset);
ssize_t __wrap_pread(int fd, void *out, size_t length, off_t offset);
ssize_t __wrap_pread64(int fd, void *out, size_t length, off_t offset);

ssize_t __wrap_pread(int fd, void *out, size_t length, off_t offset)
{
    reads++;
    if (fault == INTERRUPTED && reads % 2) {
        errno = EINTR;
        return -1;
    }
    if (fault == PIECES && length > 7)
        length = 1 + (size_t)reads % 7;
    if (fault == BROKEN && reads == at) {
        errno = EIO;
        return -1;
    }
    if (fault == ENDED && reads >= at)
        return 0;
    return __real_pread(fd, out, length, offset);
}

/* Where files are large by choice, pread has this name. */
ssize_t __wrap_pread64(int fd, void *out, size_t length, off_t offset)
{
    return __wrap_pread(fd, out, length, offset);
}

/* ------------------------------------------------------------------------------------------- */

static int open_model(palme_model **model, int verify)
{
    struct palme_setup setup = { .threads = threads, .verify = verify, .log = heard_log, .log_user = &heard };

    memset(&heard, 0, sizeof heard);
    *model = (palme_model *)&heard;
    allocations = reads = 0;
    return palme_model_open(model, path, &setup);
}

static void check_reads(int verify)
{
    palme_model *model;
    long wanted;
    int status;

    fault = NONE;
    CHECK_INT(open_model(&model, verify), PALME_OK);
    CHECK(reads > 30);
    wanted = reads;
    palme_model_close(&model);
    fault = INTERRUPTED;
    CHECK_INT(open_model(&model, verify), PALME_OK);
    palme_model_close(&model);
    fault = PIECES;
    CHECK_INT(open_model(&model, verify), PALME_OK);
    CHECK(reads > 10 * wanted);
    palme_model_close(&model);
    for (fault = BROKEN; fault <= ENDED; fault++)
        for (at = 1; at <= wanted; at++) {
            status = open_model(&model, verify);
            CHECK_MESSAGE(status == PALME_ERROR_READ && model == NULL && heard.errors == 1,
                          "read %ld of %ld: status %d, %d messages: %s", at, wanted, status, heard.errors, heard.error);
            CHECK_MESSAGE(strstr(heard.error, fault == BROKEN ? strerror(EIO) : "shorter") != NULL, "read %ld: %s", at,
                          heard.error);
        }
    fault = NONE;
}

/* Opens the model and a session and makes a caption, with its length and score; "" if that was not reached. */
static int caption(char *out, size_t size, const char *precision)
{
    static const unsigned char pixels[9 * 7 * 3] = { 1, 200, 3, 90 };
    const struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = 9, .height = 7, .planes = { pixels }, .strides = { 27 }
    };
    const struct palme_options options = { .beams = 3, .max_length = 6, .log = heard_log, .log_user = &heard };
    const struct palme_setup setup = {
        .threads = threads, .precision = precision, .log = heard_log, .log_user = &heard
    };
    palme_session *session = (palme_session *)&heard;
    palme_model *model = (palme_model *)&heard;
    const char *piece;
    int status;

    memset(&heard, 0, sizeof heard);
    out[0] = '\0';
    allocations = 0;
    if ((status = palme_model_open(&model, path, &setup)) < 0)
        CHECK(model == NULL);
    else if ((status = palme_session_open(&session, model, &options)) < 0)
        CHECK(session == NULL);
    if (status == PALME_OK) {
        status = palme_look(session, &image);
        while (status == PALME_OK && (status = palme_next(session, &piece)) == PALME_OK)
            strncat(out, piece, size - strlen(out) - 1);
        status = status == PALME_END ? PALME_OK : status;
        snprintf(out + strlen(out), size - strlen(out), " %d %.17g", palme_caption_length(session),
                 palme_caption_score(session));
        palme_session_close(&session);
    }
    palme_model_close(&model);
    return status;
}

/* Each allocation fails once. Where no thread can be started the others do its work, and where only a convenience
 * is missing nothing is said; everything else is a lack of memory, and is called one. */
static void check_allocations(const char *precision)
{
    char wanted[256], found[256];
    long n, all, good = 0;

    failing_allocation = 0;
    CHECK_INT(caption(wanted, sizeof wanted, precision), PALME_OK);
    CHECK(wanted[0] != '\0');
    all = allocations;
    for (n = 1; n <= all; n++) {
        failing_allocation = n;
        int status = caption(found, sizeof found, precision);

        good += status == PALME_OK;
        CHECK_MESSAGE(status == PALME_OK
                          ? heard.errors == 0 && strcmp(wanted, found) == 0
                          : status == PALME_ERROR_MEMORY && heard.errors == 1 && strstr(heard.error, "out of memory"),
                      "%s, allocation %ld: status %d, %d messages: %s; %s", precision, n, status, heard.errors,
                      heard.error, found);
    }
    failing_allocation = 0;
    printf("%s, %d threads: %ld allocations, each failed once, %ld did without\n", precision, threads, all, good);
    CHECK(all > 20 && good <= threads - 1);
}

/* The same of a model with labels, whose words are tables of their own. */
static void check_labels(void)
{
    struct builder *b = builder_new("{\"image_size\":32,\"patch_size\":32,\"stem\":\"efficientnet_lite0\","
                                    "\"max_seq_len\":40,\"labels\":{\"names\":[\"a\",\"b\"],\"phrases\":[\"an a\",\"\"],"
                                    "\"thresholds\":[0,0],\"classes\":[0,1],\"words\":[[\"a\",[0]],[\"a b\",[1]]]}}",
                                    7);

    builder_add(b, "labels.classes.weight", "F32", 2, (const long long[]){ 2, 1280 }, NULL);
    builder_add(b, "labels.classes.bias", "F32", 1, (const long long[]){ 2 }, NULL);
    builder_convert_all(b, "I8");
    builder_write(b, path);
    builder_free(b);
    threads = 1;
    check_allocations("int8");
}

int main(void)
{
    struct builder *b = builder_new("{\"image_size\":2,\"patch_size\":1,\"encoder_dim\":2,\"decoder_dim\":3,"
                                    "\"num_tokens\":4,\"max_seq_len\":8}",
                                    11);
    palme_model *model;
    char digest[65] = "0000000000000000000000000000000000000000000000000000000000000000", *found;

    builder_convert_all(b, "I8");
    path = temporary("model.safetensors");

    /* The message about a wrong digest says the right one. */
    builder_metadata(b, "sha256", digest);
    builder_write(b, path);
    CHECK_INT(open_model(&model, 0), PALME_OK);
    palme_model_close(&model);
    CHECK_INT(open_model(&model, 1), PALME_ERROR_FORMAT);
    found = strstr(heard.error, "sha256 is ");
    CHECK(found != NULL);
    if (found)
        memcpy(digest, found + 10, 64);
    builder_metadata(b, "sha256", digest);
    builder_write(b, path);
    builder_free(b);

    check_reads(0);
    check_reads(1);
    for (threads = 1; threads <= 3; threads += 2) {
        check_allocations("f32");
        check_allocations("int8");
    }
    check_labels();
    return check_done();
}
