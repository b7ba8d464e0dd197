/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * palme-caption.c - the command palme-caption: photos and videos in, a line a picture out.
 *
 * It is the engine's public header and GStreamer's decoders, joined; the element palmecaption is not
 * used. Lines go to the standard output as they are ready, everything else to the standard error.
 */
#include "complain.h"
#include "index.h"
#include "jobs.h"
#include "photo.h"
#include "stop.h"

#include <errno.h>
#include <fcntl.h>
#include <gst/gst.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The SHA-256 of a file in hexadecimal digits, to be freed; NULL after a complaint. */
static char *digest_of(const char *path)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    FILE *file = fopen(path, "re");
    static guchar piece[1 << 16];
    char *digest = NULL;
    gsize got;

    while (file && (got = fread(piece, 1, sizeof piece, file)) > 0)
        g_checksum_update(sum, piece, (gssize)got);
    if (!file || ferror(file))
        caption_complain(path, "cannot be read: %s", g_strerror(errno));
    else
        digest = g_strdup(g_checksum_get_string(sum));
    if (file)
        fclose(file);
    g_checksum_free(sum);
    return digest;
}

/* Where the captions go; NULL after a complaint. */
static struct caption_sink *open_sink(const struct caption_settings *settings)
{
    struct caption_sink *sink = NULL;
    const char *model;
    char *digest;

    if (settings->beside_count)
        return caption_beside_new(settings);
    if (!settings->index)
        return caption_list_new(settings);
    model = caption_engine_find_model(settings);
    digest = model ? digest_of(model) : NULL;
    if (digest)
        sink = caption_index_new(settings, digest);
    g_free(digest);
    return sink;
}

static int caption_all(const struct caption_settings *settings)
{
    int jobs = caption_jobs_count(settings), status = CAPTION_EXIT_CANNOT;
    /* Each job computes alone where there are as many as processors: nobody waits for anybody. */
    int threads = settings->threads || jobs == 1 ? settings->threads : MAX(1, palme_processors() / jobs);
    struct caption_engine engine = { .model = NULL };
    struct caption_sink *sink = open_sink(settings);
    struct caption_walk *walk = NULL;

    if (sink && (walk = caption_walk_new(settings)) && caption_engine_open(&engine, settings, threads))
        status = caption_jobs_run(&engine, walk, sink, jobs);
    caption_engine_close(&engine);
    if (walk)
        caption_walk_free(walk);
    if (sink)
        sink->free(sink);
    return status;
}

/* Takes the three standard descriptors where they are closed, or the next file that is opened would be
 * written to. FALSE: there is no standard output. Each is opened the wrong way round, so that using it
 * is an error as it would be if it were closed. */
static gboolean reserve_descriptors(void)
{
    gboolean output = fcntl(STDOUT_FILENO, F_GETFD) >= 0;

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(CAPTION_EXIT_CANNOT);
    return output;
}

/* A write that fails says so itself, and so does a lease that is wanted back. */
static void ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGIO, SIG_IGN);
}

int main(int argc, char **argv)
{
    struct caption_settings settings;
    char **folders = NULL;
    GError *error = NULL;
    int status;

    if (!reserve_descriptors()) {
        caption_complain(NULL, "the standard output is closed");
        return CAPTION_EXIT_CANNOT;
    }
    setlocale(LC_CTYPE, ""); /* and no more: numbers keep their point */
    ignore_signals();
    status = caption_options_read(&settings, argc, argv);
    if (status >= 0)
        return status;
    if (settings.query)
        return caption_search(&settings);
    if (!gst_init_check(NULL, NULL, &error)) {
        caption_complain(NULL, "GStreamer does not start: %s", error->message);
        g_clear_error(&error);
        return CAPTION_EXIT_CANNOT;
    }
    caption_photo_init();
    caption_stop_watch();
    if (settings.index && !settings.item_count && !settings.list && !settings.watched) {
        folders = caption_index_folders(settings.index);
        if (!folders)
            return CAPTION_EXIT_CANNOT;
        settings.items = folders;
        settings.item_count = (int)g_strv_length(folders);
    }
    status = caption_all(&settings);
    g_strfreev(folders);
    gst_deinit();
    if (!settings.watched)
        caption_stop_end();
    return status;
}
