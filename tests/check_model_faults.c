/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_model_faults.c - opening a model while the system fails: each allocation of the engine
 * once, each read once, reads that are interrupted or come in small pieces. The linker sends the
 * engine's calls here (--wrap). The allocations of jansson are left out: 2.14 writes behind a
 * string that it could not enlarge.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "check.h"
#include "model_builder.h"
#include "palme.h"

static struct heard heard;
static const char *path;

/* ---- Allocations -------------------------------------------------------------------------- */

static long allocations, failing; /* the one that fails; 0: none */

static int fails(void)
{
    return ++allocations == failing;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

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
    struct palme_setup setup = {
        .threads = 1, .verify = verify, .log = heard_log, .log_user = &heard
    };

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
                          "read %ld of %ld: status %d, %d messages: %s", at, wanted, status,
                          heard.errors, heard.error);
            CHECK_MESSAGE(strstr(heard.error, fault == BROKEN ? strerror(EIO) : "shorter") != NULL,
                          "read %ld: %s", at, heard.error);
        }
    fault = NONE;
}

static void check_allocations(void)
{
    palme_model *model;
    long n, limit = 100000;
    int status = PALME_ERROR_MEMORY;

    for (n = 1; n < limit && status < 0; n++) {
        failing = n;
        status = open_model(&model, 0);
        if (status == PALME_OK)
            break;
        CHECK_MESSAGE(status == PALME_ERROR_MEMORY && model == NULL && heard.errors == 1,
                      "allocation %ld: status %d, %d messages: %s", n, status, heard.errors,
                      heard.error);
    }
    failing = 0;
    /* It opens once there are fewer allocations than that. */
    CHECK_MESSAGE(status == PALME_OK && allocations < n, "status %d after %ld", status, n);
    palme_model_close(&model);
    printf("%ld allocations, each failed once\n", n - 1);
    CHECK(n > 20);
}

int main(void)
{
    struct builder *b =
        builder_new("{\"image_size\":2,\"patch_size\":1,\"encoder_dim\":2,\"decoder_dim\":3,"
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
    check_allocations();
    return check_done();
}
