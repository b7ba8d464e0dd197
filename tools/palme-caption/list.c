/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * list.c - the captions of a run in one document: on the standard output, or in a file.
 *
 * A file appears under its name when it is complete. Until then its lines are in NAME.part, whole ones, so that a run
 * that was stopped, in whatever way, can go on with it. What is done is read from these lines. A watched folder has no
 * end: its lines go to the file itself.
 */
#include "complain.h"
#include "document.h"
#include "seen.h"
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct list {
    struct caption_sink sink;
    const struct caption_settings *settings;
    struct caption_document document;
    FILE *out;
    char *path, *part; /* NULL for the standard output; equal where the file is written in place */
    gboolean begun;    /* its beginning is written */
    struct caption_seen done;
    GString *text, *key;
};

static enum caption_sink_status broken(const struct list *list, char **why)
{
    if (!list->path && errno == EPIPE)
        return CAPTION_SINK_NO_READER;
    *why = list->path ? g_strdup_printf("cannot write %s: %s", list->part, g_strerror(errno))
                      : g_strdup_printf("cannot write: %s", g_strerror(errno));
    return CAPTION_SINK_BROKEN;
}

/* Writes the text, all of it now: whoever reads along wants the line, and a run that is killed has it. */
static enum caption_sink_status flush_text(struct list *list, char **why)
{
    gsize size = list->text->len;
    gboolean ok = fwrite(list->text->str, 1, size, list->out) == size && fflush(list->out) == 0;

    g_string_truncate(list->text, 0);
    return ok ? CAPTION_SINK_FINE : broken(list, why);
}

static void begin(struct list *list)
{
    if (!list->begun)
        caption_document_begin(&list->document, list->text);
    list->begun = TRUE;
}

static enum caption_sink_status wants(struct caption_sink *sink, const struct caption_entry *entry, gboolean *wanted,
                                      char **why)
{
    struct list *list = (struct list *)sink;

    (void)why;
    /* What has been written anew is not what was captioned then. */
    if (entry->news)
        return CAPTION_SINK_FINE;
    for (int video = 0; video <= 1 && *wanted && list->done.count; video++) {
        g_string_truncate(list->key, 0);
        caption_append_key(list->key, list->document.format, entry->name, video);
        *wanted = !caption_seen_has(&list->done, list->key->str, list->key->len);
    }
    return CAPTION_SINK_FINE;
}

static enum caption_sink_status add(struct caption_sink *sink, const struct caption_entry *entry,
                                    const struct caption_result *result, char **why)
{
    struct list *list = (struct list *)sink;

    (void)entry;
    begin(list);
    caption_document_add(&list->document, list->text, result);
    return flush_text(list, why);
}

static enum caption_sink_status end(struct caption_sink *sink, const struct caption_entry *entry, gint64 end,
                                    gboolean ok, char **why)
{
    struct list *list = (struct list *)sink;

    (void)entry;
    (void)ok;
    if (!list->begun)
        return CAPTION_SINK_FINE;
    caption_document_end_input(&list->document, list->text, end);
    return flush_text(list, why);
}

/* ---- Going on with a file ---------------------------------------------------------------------- */

/* The lines of a file that is there. */
struct scan {
    struct list *list;
    FILE *file;
    GString *key;        /* of the lines that come last; "" before the first */
    gboolean key_frame;  /* they are a video's */
    goffset group, kept; /* where these begin; where what is kept ends */
    guint64 number;      /* of the line */
};

/* The name of the group of lines is done. */
static void end_group(struct scan *scan)
{
    if (scan->key->len)
        caption_seen_add(&scan->list->done, scan->key->str, scan->key->len);
}

/* Takes a whole line; FALSE: it is none of this format. */
static gboolean scan_line(struct scan *scan, const char *line, gsize size)
{
    enum caption_format format = scan->list->document.format;
    gsize length;
    gboolean frame;

    if (scan->number == 1 && (format == CAPTION_ARRAY || format == CAPTION_CSV)) {
        GString *header = g_string_new(NULL);
        gboolean same;

        caption_document_begin(&scan->list->document, header);
        same = header->len == size && memcmp(header->str, line, size) == 0;
        g_string_free(header, TRUE);
        scan->list->begun = same;
        return same;
    }
    length = caption_key_length(format, line, size - 1, &frame);
    if (!length)
        return FALSE;
    if (length != scan->key->len || memcmp(scan->key->str, line, length) != 0 || frame != scan->key_frame || !frame) {
        end_group(scan);
        scan->group = scan->kept;
        g_string_truncate(scan->key, 0);
        g_string_append_len(scan->key, line, (gssize)length);
        scan->key_frame = frame;
    }
    scan->list->begun = TRUE;
    return TRUE;
}

/* An array is written with a comma behind each object. The end of a complete one has none. */
static gboolean separate_objects(struct list *list, goffset *kept)
{
    char last[2];

    if (list->document.format != CAPTION_ARRAY || !list->document.filled ||
        pread(fileno(list->out), last, 2, *kept - 2) != 2 || last[0] == ',')
        return TRUE;
    if (pwrite(fileno(list->out), ",\n", 2, *kept - 1) != 2)
        return FALSE;
    *kept += 1;
    return TRUE;
}

/* Reads which inputs are in the file, and cuts it behind what can stay: a line that was half written is taken away, and
 * the lines of the video that was at work when the run was stopped. FALSE after a complaint. */
static gboolean scan_file(struct list *list, gboolean complete)
{
    struct scan scan = { .list = list, .file = fopen(list->part, "re"), .key = g_string_new(NULL) };
    gboolean ok = scan.file != NULL, cut = FALSE;
    char *line = NULL;
    size_t space = 0;
    ssize_t size = 0;

    while (ok && !cut && (size = getline(&line, &space, scan.file)) > 0) {
        scan.number++;
        cut = line[size - 1] != '\n' || (list->document.format == CAPTION_ARRAY && strcmp(line, "]\n") == 0);
        if (cut)
            break;
        ok = scan_line(&scan, line, (gsize)size);
        if (!ok)
            caption_complain(list->part, "line %" G_GUINT64_FORMAT " is none that --resume could go on behind",
                             scan.number);
        scan.kept += size;
    }
    if (scan.key_frame && !complete)
        scan.kept = scan.group;
    else
        end_group(&scan);
    list->document.filled = scan.kept > (list->document.format == CAPTION_ARRAY ? (goffset)strlen("[\n") : 0);
    if (!scan.file ||
        (ok && (ferror(scan.file) || !separate_objects(list, &scan.kept) ||
                ftruncate(fileno(list->out), scan.kept) != 0 || fseeko(list->out, scan.kept, SEEK_SET) != 0))) {
        caption_complain(list->part, "cannot be gone on with: %s", g_strerror(errno));
        ok = FALSE;
    }
    if (scan.kept == 0)
        list->begun = FALSE;
    if (scan.file)
        fclose(scan.file);
    free(line);
    g_string_free(scan.key, TRUE);
    return ok;
}

/* Copies a file that is complete to where it is gone on with; FALSE after a complaint. */
static gboolean copy_file(struct list *list)
{
    FILE *from = fopen(list->path, "re");
    char piece[65536];
    gboolean ok = from != NULL;
    size_t got;

    while (ok && (got = fread(piece, 1, sizeof piece, from)) > 0)
        ok = fwrite(piece, 1, got, list->out) == got;
    ok = ok && !ferror(from) && fflush(list->out) == 0;
    if (!ok)
        caption_complain(list->path, "cannot be copied to %s: %s", list->part, g_strerror(errno));
    if (from)
        fclose(from);
    return ok;
}

/* ---- Opening and closing ------------------------------------------------------------------------ */

static gboolean exists(const char *path, goffset *size)
{
    struct stat status;

    *size = 0;
    if (stat(path, &status) != 0)
        return FALSE;
    *size = status.st_size;
    return TRUE;
}

/* What may not be overwritten without a word; FALSE after a complaint. */
static gboolean may_write(const struct list *list)
{
    const struct caption_settings *s = list->settings;
    goffset size;

    if (s->force || s->resume)
        return TRUE;
    if (exists(list->path, &size)) {
        caption_complain(list->path, "exists; --force replaces it, --resume adds what is not in it");
        return FALSE;
    }
    if (exists(list->part, &size) && size > 0) {
        caption_complain(list->part, "is of a run that was stopped; --resume goes on with it, --force begins anew");
        return FALSE;
    }
    return TRUE;
}

/* Opens the file of a name; FALSE after a complaint. */
static gboolean open_file(struct list *list)
{
    const struct caption_settings *s = list->settings;
    struct stat status;
    gboolean complete = FALSE;
    goffset size;
    int fd;

    /* A device or a pipe is written to as it is. */
    if (stat(list->path, &status) == 0 && !S_ISREG(status.st_mode)) {
        list->part = g_strdup(list->path);
        if (!(list->out = fopen(list->path, "we")))
            caption_complain(list->path, "cannot be written: %s", g_strerror(errno));
        return list->out != NULL;
    }
    list->part = s->watched ? g_strdup(list->path) : g_strconcat(list->path, ".part", NULL);
    if (!may_write(list))
        return FALSE;
    fd = open(list->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0 || !(list->out = fdopen(fd, "r+"))) {
        caption_complain(list->part, "cannot be written: %s", g_strerror(errno));
        return FALSE;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        caption_complain(list->part, "another palme-caption is writing it");
        return FALSE;
    }
    if (!s->resume)
        return ftruncate(fd, 0) == 0 ||
               (caption_complain(list->part, "cannot be emptied: %s", g_strerror(errno)), FALSE);
    exists(list->part, &size);
    if (size == 0 && strcmp(list->part, list->path) != 0 && exists(list->path, &size)) {
        if (!copy_file(list))
            return FALSE;
        complete = TRUE;
    }
    return scan_file(list, complete);
}

/* Gives the file its name. */
static enum caption_sink_status complete_file(struct list *list, char **why)
{
    gsize replaced;

    if (list->document.format != CAPTION_TSV && list->document.format != CAPTION_TEXT &&
        list->document.format != CAPTION_JSON)
        begin(list);
    caption_document_end(&list->document, list->text, &replaced);
    if (replaced && fseeko(list->out, -(off_t)replaced, SEEK_CUR) != 0)
        return broken(list, why);
    if (flush_text(list, why) != CAPTION_SINK_FINE)
        return CAPTION_SINK_BROKEN;
    if (strcmp(list->part, list->path) == 0)
        return CAPTION_SINK_FINE;
    /* The name shall not come before what it names, after a loss of power either. */
    if (fdatasync(fileno(list->out)) != 0 || rename(list->part, list->path) != 0)
        return broken(list, why);
    return CAPTION_SINK_FINE;
}

static enum caption_sink_status finish(struct caption_sink *sink, gboolean complete, char **why)
{
    struct list *list = (struct list *)sink;
    goffset size;

    if (!list->path)
        return CAPTION_SINK_FINE;
    if (complete)
        return complete_file(list, why);
    if (strcmp(list->part, list->path) == 0)
        return CAPTION_SINK_FINE;
    if (exists(list->part, &size) && size == 0)
        unlink(list->part);
    else if (list->settings->format == CAPTION_TEXT || caption_format_is_subtitle(list->settings->format))
        caption_complain(list->part, "has what was written so far");
    else
        caption_complain(list->part, "has what was written so far; --resume goes on with it");
    return CAPTION_SINK_FINE;
}

static void list_free(struct caption_sink *sink)
{
    struct list *list = (struct list *)sink;

    if (list->out && list->out != stdout)
        fclose(list->out);
    caption_document_clear(&list->document);
    caption_seen_clear(&list->done);
    g_string_free(list->text, TRUE);
    g_string_free(list->key, TRUE);
    free(list->path);
    g_free(list->part);
    g_free(list);
}

struct caption_sink *caption_list_new(const struct caption_settings *settings)
{
    struct list *list = g_new0(struct list, 1);

    list->sink = (struct caption_sink){ .videos_only = caption_format_is_subtitle(settings->format),
                                        .wants = wants,
                                        .add = add,
                                        .end = end,
                                        .finish = finish,
                                        .free = list_free };
    list->settings = settings;
    list->document.format = settings->format;
    list->document.labels = settings->labels;
    list->text = g_string_new(NULL);
    list->key = g_string_new(NULL);
    list->out = stdout;
    if (settings->output) {
        list->out = NULL;
        /* What a link leads to is replaced, not the link. */
        list->path = realpath(settings->output, NULL);
        if (!list->path)
            list->path = strdup(settings->output);
        if (!open_file(list)) {
            list_free(&list->sink);
            return NULL;
        }
    }
    return &list->sink;
}
