/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * input.c - files, pipes, URIs and folders, before anything is decoded.
 */
#include "input.h"
#include "kind.h"
#include "photo.h"
#include "stop.h"

#include <errno.h>
#include <fcntl.h>
#include <gst/base/gsttypefindhelper.h>
#include <gst/gst.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What GStreamer's type finders want to see of a file. */
#define TYPE_HEAD (128 * 1024)
#define PIECE (256 * 1024)

/* A regular file always is, but for some of the kernel's, such as /proc/kmsg. */
static gboolean is_ready(int fd)
{
    struct pollfd one = { .fd = fd, .events = POLLIN };

    return poll(&one, 1, 0) != 0;
}

/* Appends up to `size` bytes of input->fd; FALSE: errno says why. */
static gboolean append(struct caption_input *input, gsize size)
{
    gsize begin = input->bytes->len, filled = 0;
    ssize_t got = 1;

    g_byte_array_set_size(input->bytes, (guint)(begin + size));
    while (filled < size && got != 0) {
        if ((input->is_pipe || !is_ready(input->fd)) && !caption_stop_wait(input->fd)) {
            errno = EINTR;
            got = -1;
            break;
        }
        got = read(input->fd, input->bytes->data + begin + filled, size - filled);
        if (got < 0 && errno != EINTR)
            break;
        filled += got > 0 ? (gsize)got : 0;
    }
    g_byte_array_set_size(input->bytes, (guint)(begin + filled));
    input->complete = got == 0;
    return got >= 0;
}

/* The URI of a file that is open. Its name is resolved by the system, so that ".." behind a symbolic
 * link means what it means to everybody else; what has no name any more has one in /proc. */
static char *uri_of_file(const char *path, int fd)
{
    char *real = realpath(path, NULL), *uri = NULL;
    struct stat named, opened;

    if (!real || stat(real, &named) != 0 || fstat(fd, &opened) != 0 || named.st_ino != opened.st_ino ||
        named.st_dev != opened.st_dev)
        uri = g_strdup_printf("file:///proc/self/fd/%d", fd);
    else
        uri = g_filename_to_uri(real, NULL, NULL);
    free(real);
    return uri;
}

static gboolean open_file(struct caption_input *input, const char *path, char **why)
{
    struct stat status;

    if (strcmp(path, "-") == 0) {
        input->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        path = "/dev/stdin";
    } else {
        /* A FIFO without a writer is waited for later, where a signal can end it. */
        input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (input->fd >= 0)
            fcntl(input->fd, F_SETFL, O_RDONLY);
    }
    if (input->fd < 0 || fstat(input->fd, &status) != 0) {
        *why = g_strdup(g_strerror(errno));
        return FALSE;
    }
    if (S_ISDIR(status.st_mode)) {
        *why = g_strdup("is a folder");
        return FALSE;
    }
    input->is_pipe = !S_ISREG(status.st_mode);
    if (!input->is_pipe) {
        input->uri = uri_of_file(path, input->fd);
        lseek(input->fd, 0, SEEK_SET); /* somebody may have read from the standard input */
    }
    if (!append(input, CAPTION_HEAD))
        *why = g_strdup_printf("cannot be read: %s", g_strerror(errno));
    else if (input->bytes->len == 0)
        *why = g_strdup("is empty");
    return *why == NULL;
}

/* The name of the file that a file URI means, to be freed; NULL: it names none on this machine. */
static char *path_of_uri(const char *uri)
{
    char *host = NULL, *path = g_filename_from_uri(uri, &host, NULL);

    if (host && g_ascii_strcasecmp(host, "localhost") != 0)
        g_clear_pointer(&path, g_free);
    g_free(host);
    return path;
}

/* souphttpsrc would complain to developers. */
static gboolean lacks_host(const char *uri)
{
    GstUri *parts =
        gst_uri_has_protocol(uri, "http") || gst_uri_has_protocol(uri, "https") ? gst_uri_from_string(uri) : NULL;
    const char *host = parts ? gst_uri_get_host(parts) : NULL;
    gboolean lacks = parts && (!host || !*host);

    if (parts)
        gst_uri_unref(parts);
    return lacks;
}

gboolean caption_input_open(struct caption_input *input, const char *item, char **why)
{
    struct stat status;
    char *path = NULL;
    gboolean ok;

    *why = NULL;
    *input = (struct caption_input){ .fd = -1, .bytes = g_byte_array_new() };
    if (strcmp(item, "-") != 0 && stat(item, &status) != 0) {
        int error = errno;

        /* A URI may be longer than any name of a file. */
        if ((error != ENOENT && error != ENAMETOOLONG && error != ENOTDIR) || !gst_uri_is_valid(item)) {
            *why = g_strdup(g_strerror(error));
            return FALSE;
        }
        if (lacks_host(item)) {
            *why = g_strdup("names no host");
            return FALSE;
        }
        if (!gst_uri_has_protocol(item, "file")) {
            input->uri = g_strdup(item);
            return TRUE;
        }
        path = path_of_uri(item);
        if (!path) {
            *why = g_strdup("is no file URI that names a file here");
            return FALSE;
        }
    }
    ok = open_file(input, path ? path : item, why);
    g_free(path);
    return ok;
}

gboolean caption_input_read_all(struct caption_input *input, guint64 limit, char **why)
{
    *why = NULL;
    limit = MIN(limit, (guint64)G_MAXUINT - PIECE);
    while (!input->complete) {
        if (!append(input, PIECE)) {
            *why = g_strdup_printf("cannot be read: %s", g_strerror(errno));
            return FALSE;
        }
        if (input->bytes->len > limit) {
            *why = g_strdup_printf("is larger than %" G_GUINT64_FORMAT " MB, which a photo of --max-pixels"
                                   " does not need",
                                   limit >> 20);
            return FALSE;
        }
    }
    return TRUE;
}

void caption_input_close(struct caption_input *input)
{
    g_clear_pointer(&input->uri, g_free);
    g_clear_pointer(&input->bytes, g_byte_array_unref);
    if (input->fd >= 0)
        close(input->fd);
    input->fd = -1;
}

/* ---- Folders ------------------------------------------------------------------------------ */

static gboolean is_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

char *caption_input_folder(const char *item)
{
    struct stat status;
    char *path;

    if (is_folder(item))
        return g_strdup(item);
    if (lstat(item, &status) == 0 || !gst_uri_is_valid(item) || !gst_uri_has_protocol(item, "file"))
        return NULL;
    path = path_of_uri(item);
    if (path && !is_folder(path))
        g_clear_pointer(&path, g_free);
    return path;
}

char *caption_input_path(const char *item)
{
    struct stat status;
    char *path;

    if (strcmp(item, "-") == 0)
        return NULL;
    if (stat(item, &status) == 0)
        return S_ISREG(status.st_mode) ? g_strdup(item) : NULL;
    if (lstat(item, &status) == 0 || !gst_uri_is_valid(item) || !gst_uri_has_protocol(item, "file"))
        return NULL;
    path = path_of_uri(item);
    if (path && (stat(path, &status) != 0 || !S_ISREG(status.st_mode)))
        g_clear_pointer(&path, g_free);
    return path;
}

/* ---- What a file is ----------------------------------------------------------------------- */

static gboolean is_bare(const GstStructure *type)
{
    static const char *const codecs[] = { "video/x-h263", "video/x-h264", "video/x-h265", NULL };
    gboolean system = FALSE;

    if (gst_structure_has_name(type, "video/mpeg"))
        return !gst_structure_get_boolean(type, "systemstream", &system) || !system;
    return g_strv_contains(codecs, gst_structure_get_name(type));
}

/* A video, a bare one, or none. */
static enum caption_media media_of_type(const guint8 *data, gsize size)
{
    static const char *const others[] = { "application/mxf", "application/vnd.rn-realmedia", NULL };
    enum caption_media media = CAPTION_MEDIA_NONE;
    GstTypeFindProbability probability = 0;
    GstCaps *caps = gst_type_find_helper_for_data(NULL, data, size, &probability);

    if (caps && probability >= GST_TYPE_FIND_POSSIBLE) {
        const GstStructure *type = gst_caps_get_structure(caps, 0);
        const char *name = gst_structure_get_name(type);

        if (is_bare(type))
            media = CAPTION_MEDIA_BARE_VIDEO;
        else if (g_str_has_prefix(name, "image/") || g_str_has_prefix(name, "video/") || g_strv_contains(others, name))
            media = CAPTION_MEDIA_VIDEO;
    }
    if (caps)
        gst_caps_unref(caps);
    return media;
}

enum caption_media caption_input_media(const char *file)
{
    enum caption_media media = CAPTION_MEDIA_VIDEO;
    struct caption_input input;
    char *why, *lower = NULL;

    if (caption_input_open(&input, file, &why)) {
        lower = g_ascii_strdown(file, -1);
        if (caption_kind_of(input.bytes->data, input.bytes->len) ||
            (g_str_has_suffix(lower, ".tga") && caption_photo_recognised(input.bytes->data, input.bytes->len)))
            media = CAPTION_MEDIA_PHOTO;
        else if (append(&input, TYPE_HEAD))
            media = media_of_type(input.bytes->data, input.bytes->len);
    } else if (strcmp(why, "is empty") == 0) {
        media = CAPTION_MEDIA_NONE; /* nobody looks for a picture in an empty file */
    }
    g_free(why);
    g_free(lower);
    caption_input_close(&input);
    return media;
}
