/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * beside.c - files for each input: clip.vtt and dog.jpg.json beside clip.mp4 and dog.jpg, or in a folder.
 *
 * A file is written under a hidden name and renamed when its input is done, so that there is never a part of one, and
 * the files that are there are the inputs that are done.
 */
#include "complain.h"
#include "document.h"
#include "input.h"
#include "sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of the input that is written now. */
struct file {
    struct caption_document document;
    char *path, *part;
    FILE *out; /* NULL: none is open */
};

struct beside {
    struct caption_sink sink;
    const struct caption_settings *settings;
    struct file files[CAPTION_FORMATS];
    gboolean open;
    GString *text;
};

static const char *const endings[CAPTION_FORMATS] = {
    [CAPTION_TSV] = "tsv", [CAPTION_TEXT] = "txt", [CAPTION_JSON] = "jsonl", [CAPTION_ARRAY] = "json",
    [CAPTION_CSV] = "csv", [CAPTION_VTT] = "vtt",  [CAPTION_SRT] = "srt"
};

/* ---- Names ------------------------------------------------------------------------------------ */

/* How long a file's name is without its ending. */
static gsize stem_length(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && dot != name ? (gsize)(dot - name) : strlen(name);
}

/* Whether a folder has another video whose name differs in its ending alone. */
static gboolean has_twin(const char *path)
{
    char *folder = g_path_get_dirname(path), *name = g_path_get_basename(path);
    DIR *directory = opendir(folder);
    gsize length = stem_length(name);
    struct dirent *entry;
    gboolean has = FALSE;

    while (!has && directory && (entry = readdir(directory))) {
        char *other, *regular;

        if (strcmp(entry->d_name, name) == 0 || strncmp(entry->d_name, name, length) != 0 ||
            stem_length(entry->d_name) != length)
            continue;
        other = g_build_filename(folder, entry->d_name, NULL);
        regular = caption_input_path(other);
        has = regular && caption_input_media(other) >= CAPTION_MEDIA_VIDEO;
        g_free(regular);
        g_free(other);
    }
    if (directory)
        closedir(directory);
    g_free(folder);
    g_free(name);
    return has;
}

/* Where the file of a format goes. Subtitles are called what players look for; others keep the input's ending, since
 * a.jpg and a.png are two. NULL: the input is no file. */
static char *path_for(const struct beside *beside, const struct caption_entry *entry, enum caption_format format)
{
    const char *output = beside->settings->output;
    GString *path;

    if (!entry->path)
        return NULL;
    path = g_string_new(NULL);
    if (output)
        g_string_append_printf(path, "%s/%s", output, entry->path + entry->inner);
    else
        g_string_append(path, entry->path);
    if (caption_format_is_subtitle(format) && !has_twin(entry->path)) {
        gsize begin = (gsize)(strrchr(path->str, '/') ? strrchr(path->str, '/') + 1 - path->str : 0);

        g_string_truncate(path, begin + stem_length(path->str + begin));
    }
    g_string_append_printf(path, ".%s", endings[format]);
    return g_string_free(path, FALSE);
}

static enum caption_sink_status wants(struct caption_sink *sink, const struct caption_entry *entry, gboolean *wanted,
                                      char **why)
{
    struct beside *beside = (struct beside *)sink;
    int there = 0, subtitles = 0;

    for (int i = 0; i < beside->settings->beside_count; i++) {
        char *path = path_for(beside, entry, beside->settings->beside[i]);
        struct stat status;

        if (!path) {
            *why = g_strdup("is no file that others could stand beside; --output FILE");
            return CAPTION_SINK_FAILED;
        }
        if (lstat(path, &status) != 0) {
            /* A photo has no subtitles. */
            subtitles += caption_format_is_subtitle(beside->settings->beside[i]);
        } else if (!beside->settings->force && !beside->settings->resume) {
            char *shown = caption_shown(path, 4096);

            *why = g_strdup_printf("%s exists; --force replaces it, --resume leaves such inputs out", shown);
            g_free(shown);
            g_free(path);
            return CAPTION_SINK_FAILED;
        } else {
            there++;
        }
        g_free(path);
    }
    if (beside->settings->resume && there > 0 && subtitles > 0 && there + subtitles == beside->settings->beside_count)
        subtitles = caption_input_media(entry->path) == CAPTION_MEDIA_PHOTO ? subtitles : 0;
    else
        subtitles = 0;
    *wanted = beside->settings->force || there + subtitles < beside->settings->beside_count;
    return CAPTION_SINK_FINE;
}

/* ---- Files ------------------------------------------------------------------------------------ */

/* What is said of a file that cannot be written. A full disk is full for all of them. */
static enum caption_sink_status failed(const char *path, char **why)
{
    gboolean full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EROFS || errno == EIO;
    char *shown;
    int error = errno;

    shown = caption_shown(path, 4096);
    *why = g_strdup_printf("cannot write %s: %s", shown, g_strerror(error));
    g_free(shown);
    return full ? CAPTION_SINK_BROKEN : CAPTION_SINK_FAILED;
}

static void drop(struct beside *beside)
{
    for (int i = 0; i < CAPTION_FORMATS; i++) {
        struct file *file = &beside->files[i];

        if (file->out) {
            fclose(file->out);
            unlink(file->part);
        }
        caption_document_clear(&file->document);
        g_free(file->path);
        g_free(file->part);
        *file = (struct file){ .out = NULL };
    }
    beside->open = FALSE;
}

/* The hidden name beside a file's own. It is the same each time, so that a run that was killed leaves nothing that
 * the next one does not replace. */
static char *part_of(const char *path)
{
    char *folder = g_path_get_dirname(path), *name = g_path_get_basename(path), *hidden, *part;

    hidden = g_strdup_printf(".%s.part", name);
    part = g_build_filename(folder, hidden, NULL);
    /* With --output it may be new; where it is not, nothing happens. */
    g_mkdir_with_parents(folder, 0777);
    g_free(folder);
    g_free(name);
    g_free(hidden);
    return part;
}

static enum caption_sink_status open_files(struct beside *beside, const struct caption_entry *entry, gboolean photo,
                                           char **why)
{
    beside->open = TRUE;
    for (int i = 0; i < beside->settings->beside_count; i++) {
        struct file *file = &beside->files[i];
        int fd;

        file->document.format = beside->settings->beside[i];
        file->document.labels = beside->settings->labels;
        if (photo && caption_format_is_subtitle(file->document.format))
            continue;
        file->path = path_for(beside, entry, file->document.format);
        file->part = part_of(file->path);
        fd = open(file->part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
        file->out = fd >= 0 ? fdopen(fd, "w") : NULL;
        if (!file->out)
            return failed(file->part, why);
        g_string_truncate(beside->text, 0);
        caption_document_begin(&file->document, beside->text);
        fwrite(beside->text->str, 1, beside->text->len, file->out);
    }
    return CAPTION_SINK_FINE;
}

static enum caption_sink_status add(struct caption_sink *sink, const struct caption_entry *entry,
                                    const struct caption_result *result, char **why)
{
    struct beside *beside = (struct beside *)sink;
    enum caption_sink_status status = CAPTION_SINK_FINE;

    if (!beside->open)
        status = open_files(beside, entry, result->time < 0, why);
    for (int i = 0; i < beside->settings->beside_count && status == CAPTION_SINK_FINE; i++) {
        struct file *file = &beside->files[i];

        if (!file->out)
            continue;
        g_string_truncate(beside->text, 0);
        caption_document_add(&file->document, beside->text, result);
        if (fwrite(beside->text->str, 1, beside->text->len, file->out) != beside->text->len)
            status = failed(file->part, why);
    }
    if (status != CAPTION_SINK_FINE)
        drop(beside);
    return status;
}

/* Writes what a file ends with. */
static enum caption_sink_status end_file(struct beside *beside, struct file *file, gint64 end, char **why)
{
    gsize replaced;
    gboolean ok;

    g_string_truncate(beside->text, 0);
    caption_document_end_input(&file->document, beside->text, end);
    caption_document_end(&file->document, beside->text, &replaced);
    ok = !replaced || fseeko(file->out, -(off_t)replaced, SEEK_CUR) == 0;
    ok =
        ok && fwrite(beside->text->str, 1, beside->text->len, file->out) == beside->text->len && fflush(file->out) == 0;
    return ok ? CAPTION_SINK_FINE : failed(file->part, why);
}

/* Gives a file its name. */
static enum caption_sink_status name_file(struct beside *beside, struct file *file, char **why)
{
    /* Somebody else may have made it meanwhile. Not every file system can tell. */
    unsigned flags = beside->settings->force ? 0 : RENAME_NOREPLACE;

    if (renameat2(AT_FDCWD, file->part, AT_FDCWD, file->path, flags) != 0 &&
        (errno == EEXIST || rename(file->part, file->path) != 0)) {
        if (errno != EEXIST || !beside->settings->resume)
            return failed(file->path, why);
        unlink(file->part);
    }
    fclose(file->out);
    file->out = NULL;
    return CAPTION_SINK_FINE;
}

static enum caption_sink_status end(struct caption_sink *sink, const struct caption_entry *entry, gint64 end,
                                    gboolean ok, char **why)
{
    struct beside *beside = (struct beside *)sink;
    enum caption_sink_status status = CAPTION_SINK_FINE;

    (void)entry;
    /* All are written before the first one has its name: on a full disk there is none of them. */
    for (int i = 0; i < beside->settings->beside_count && ok && status == CAPTION_SINK_FINE; i++)
        if (beside->files[i].out)
            status = end_file(beside, &beside->files[i], end, why);
    for (int i = 0; i < beside->settings->beside_count && ok && status == CAPTION_SINK_FINE; i++)
        if (beside->files[i].out)
            status = name_file(beside, &beside->files[i], why);
    drop(beside);
    return status;
}

static enum caption_sink_status finish(struct caption_sink *sink, gboolean complete, char **why)
{
    (void)complete;
    (void)why;
    drop((struct beside *)sink);
    return CAPTION_SINK_FINE;
}

static void beside_free(struct caption_sink *sink)
{
    struct beside *beside = (struct beside *)sink;

    drop(beside);
    g_string_free(beside->text, TRUE);
    g_free(beside);
}

struct caption_sink *caption_beside_new(const struct caption_settings *settings)
{
    struct beside *beside = g_new0(struct beside, 1);

    beside->sink = (struct caption_sink){
        .videos_only = TRUE, .wants = wants, .add = add, .end = end, .finish = finish, .free = beside_free
    };
    beside->settings = settings;
    for (int i = 0; i < settings->beside_count; i++)
        beside->sink.videos_only &= caption_format_is_subtitle(settings->beside[i]);
    beside->text = g_string_new(NULL);
    return &beside->sink;
}
