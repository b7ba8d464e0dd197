/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.c - bytes from a path, a descriptor or memory.
 */
#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "files may be larger than 2 GiB");

const char *palme_source_failure(int result)
{
    return result < 0 ? "the file has become shorter" : strerror(result);
}

/* ---- Descriptors -------------------------------------------------------------------------- */

/* `user` is the descriptor itself. */
static int descriptor_of(const void *user)
{
    return (int)(intptr_t)user;
}

static int read_descriptor(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    char *to = buffer;

    while (bytes > 0) {
        ssize_t n = pread(descriptor_of(user), to, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return -1;
        to += n;
        offset += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

int palme_source_descriptor(struct palme_source *source, int descriptor, const struct palme_log *log)
{
    struct stat status;
    const char *kind;

    if (fstat(descriptor, &status) < 0)
        return palme_fail(log, PALME_ERROR_OPEN, "cannot be examined: %s", strerror(errno));
    if (!S_ISREG(status.st_mode)) {
        kind = S_ISDIR(status.st_mode)                              ? "a directory"
               : S_ISFIFO(status.st_mode)                           ? "a fifo"
               : S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) ? "a device"
                                                                    : "no regular file";
        return palme_fail(log, PALME_ERROR_OPEN, "is %s; a regular file is wanted", kind);
    }
    *source = (struct palme_source){ .size = (uint64_t)status.st_size,
                                     .read_at = read_descriptor,
                                     .user = (void *)(intptr_t)descriptor };
    return PALME_OK;
}

/* A fifo without a writer does not block, and a device is refused after the open, which O_NONBLOCK and O_NOCTTY keep
 * from waiting and from taking a terminal. */
int palme_source_open(struct palme_source *source, const char *path, const struct palme_log *log)
{
    int descriptor, flags, status;

    do
        descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0) {
        int error = errno;

        if ((error == ENOENT || error == ENOTDIR) && strstr(path, "://"))
            return palme_fail(log, PALME_ERROR_NOT_FOUND,
                              "there is no such file; this is a URI, and a file name is wanted");
        if (error == ENOENT || error == ENOTDIR)
            return palme_fail(log, PALME_ERROR_NOT_FOUND, "there is no such file");
        if (error == ENXIO)
            return palme_fail(log, PALME_ERROR_OPEN, "is a socket or a device, not a regular file");
        return palme_fail(log, PALME_ERROR_OPEN, "cannot be opened: %s", strerror(error));
    }
    status = palme_source_descriptor(source, descriptor, log);
    if (status < 0) {
        close(descriptor);
        return status;
    }
    flags = fcntl(descriptor, F_GETFL);
    if (flags >= 0)
        fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);
    return PALME_OK;
}

void palme_source_close(struct palme_source *source)
{
    close(descriptor_of(source->user));
}

/* ---- Memory ------------------------------------------------------------------------------- */

static int read_memory(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    memcpy(buffer, (const char *)user + offset, bytes);
    return 0;
}

struct palme_source palme_source_memory(const void *data, size_t size)
{
    return (struct palme_source){ .size = size, .read_at = read_memory, .user = (void *)(uintptr_t)data };
}
