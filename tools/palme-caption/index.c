/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * index.c - captions go into a search index: those of new and changed files, and files that are gone are taken out.
 *
 * What is written of a file is written as a whole. Transactions have about a second's files, so a run that is killed
 * loses that second, and the next one goes on.
 */
#include "complain.h"
#include "database.h"
#include "gstpalmesanitize.h"
#include "index.h"
#include "sink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define COMMIT_TIME G_USEC_PER_SEC

enum { FIND, FORGET, INSERT_FILE, INSERT_CAPTION, ADD_FOLDER, LIST_FOLDER, FORGET_ID, STATEMENTS };

static const char *const sql[STATEMENTS] = {
    [FIND] = "SELECT 1 FROM files WHERE source = ? AND size = ? AND mtime = ? AND model = ? AND options = ?",
    [FORGET] = "DELETE FROM files WHERE source = ?",
    [INSERT_FILE] = "INSERT INTO files(source, folder, size, mtime, model, options)"
                    " VALUES (?, (SELECT id FROM folders WHERE path = ?), ?, ?, ?, ?)",
    [INSERT_CAPTION] = "INSERT INTO captions(file, time, end, caption, score, unsure, labels, probabilities)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_FOLDER] = "INSERT OR IGNORE INTO folders(path) VALUES (?)",
    [LIST_FOLDER] = "SELECT f.id, f.source FROM files f JOIN folders d ON d.id = f.folder WHERE d.path = ?",
    [FORGET_ID] = "DELETE FROM files WHERE id = ?",
};

struct index {
    struct caption_sink sink;
    const struct caption_settings *settings;
    char *model, *options;
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENTS];
    gboolean in_transaction, in_file;
    gint64 committed;            /* monotonic time */
    gint64 file;                 /* the row of the file that is written now */
    struct caption_result *held; /* a video's caption, whose end is not known yet; or NULL */
    gint64 last;                 /* when the last frame with it was */
    guint64 captioned, unchanged, removed;
};

static enum caption_sink_status broken(const struct index *index, char **why)
{
    *why = g_strdup_printf("cannot write %s: %s", index->settings->index, sqlite3_errmsg(index->database));
    return CAPTION_SINK_BROKEN;
}

/* Runs a statement that gives nothing, and makes it ready for the next time. */
static gboolean done(struct index *index, int which)
{
    sqlite3_stmt *statement = index->statements[which];
    gboolean ok = sqlite3_step(statement) == SQLITE_DONE;

    /* The message of a failure stays. */
    ok = sqlite3_reset(statement) == SQLITE_OK && ok;
    sqlite3_clear_bindings(statement);
    return ok;
}

static gboolean run(struct index *index, const char *text)
{
    return sqlite3_exec(index->database, text, NULL, NULL, NULL) == SQLITE_OK;
}

static gboolean begin(struct index *index)
{
    if (!index->in_transaction)
        index->in_transaction = run(index, "BEGIN IMMEDIATE");
    return index->in_transaction;
}

static gboolean commit(struct index *index)
{
    gboolean ok = !index->in_transaction || run(index, "COMMIT");

    if (ok)
        index->in_transaction = FALSE;
    index->committed = g_get_monotonic_time();
    return ok;
}

/* The absolute name of an input, to be freed. */
static char *absolute(const char *path)
{
    return g_canonicalize_filename(path, NULL);
}

static enum caption_sink_status wants(struct caption_sink *sink, const struct caption_entry *entry, gboolean *wanted,
                                      char **why)
{
    struct index *index = (struct index *)sink;
    sqlite3_stmt *find = index->statements[FIND];
    char *source;
    int status;

    if (!entry->path) {
        *why = g_strdup("is no file; an index has files only");
        return CAPTION_SINK_FAILED;
    }
    source = absolute(entry->path);
    caption_database_bind_name(find, 1, source);
    sqlite3_bind_int64(find, 2, entry->size);
    sqlite3_bind_int64(find, 3, entry->mtime);
    sqlite3_bind_text(find, 4, index->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(find, 5, index->options, -1, SQLITE_STATIC);
    status = sqlite3_step(find);
    sqlite3_reset(find);
    g_free(source);
    *wanted = status != SQLITE_ROW;
    index->unchanged += status == SQLITE_ROW;
    return status == SQLITE_ROW || status == SQLITE_DONE ? CAPTION_SINK_FINE : broken(index, why);
}

static gboolean add_folder(struct index *index, const struct caption_folder *folder)
{
    char *path = absolute(folder->path);

    caption_database_bind_name(index->statements[ADD_FOLDER], 1, path);
    g_free(path);
    return done(index, ADD_FOLDER);
}

static gboolean forget(struct index *index, const struct caption_entry *entry)
{
    char *source = absolute(entry->path);

    caption_database_bind_name(index->statements[FORGET], 1, source);
    g_free(source);
    return done(index, FORGET);
}

/* The row of a file, in the place of an older one. */
static gboolean open_file(struct index *index, const struct caption_entry *entry)
{
    sqlite3_stmt *insert = index->statements[INSERT_FILE];
    char *source = absolute(entry->path), *folder = entry->folder ? absolute(entry->folder->path) : NULL;
    gboolean ok = begin(index) && run(index, "SAVEPOINT file");

    index->in_file = ok;
    ok = ok && forget(index, entry) && (!entry->folder || add_folder(index, entry->folder));
    caption_database_bind_name(insert, 1, source);
    if (folder)
        caption_database_bind_name(insert, 2, folder);
    sqlite3_bind_int64(insert, 3, entry->size);
    sqlite3_bind_int64(insert, 4, entry->mtime);
    sqlite3_bind_text(insert, 5, index->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 6, index->options, -1, SQLITE_STATIC);
    ok = ok && done(index, INSERT_FILE);
    index->file = sqlite3_last_insert_rowid(index->database);
    g_free(source);
    g_free(folder);
    return ok;
}

/* Writes a caption; `end` is -1 for a photo. */
static gboolean insert(struct index *index, const struct caption_result *result, gint64 end)
{
    sqlite3_stmt *statement = index->statements[INSERT_CAPTION];
    char *line = gst_palme_sanitize(result->caption, strlen(result->caption));
    GString *labels = g_string_new(NULL), *probabilities = g_string_new(NULL);

    for (int i = 0; i < result->label_count; i++) {
        char *name = gst_palme_sanitize(result->labels[i].name, strlen(result->labels[i].name));
        char number[G_ASCII_DTOSTR_BUF_SIZE];

        g_string_append_printf(labels, "%s%s", i ? "\n" : "", name);
        g_string_append_printf(probabilities, "%s%s", i ? "\n" : "",
                               g_ascii_formatd(number, sizeof number, "%.6f", result->labels[i].probability));
        g_free(name);
    }
    sqlite3_bind_int64(statement, 1, index->file);
    if (result->time >= 0) {
        sqlite3_bind_int64(statement, 2, result->time);
        sqlite3_bind_int64(statement, 3, end);
    }
    sqlite3_bind_text(statement, 4, line, -1, SQLITE_TRANSIENT);
    sqlite3_bind_double(statement, 5, result->score);
    sqlite3_bind_int(statement, 6, result->unsure);
    if (result->labels) {
        sqlite3_bind_text(statement, 7, labels->str, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(statement, 8, probabilities->str, -1, SQLITE_TRANSIENT);
    }
    g_string_free(labels, TRUE);
    g_string_free(probabilities, TRUE);
    g_free(line);
    return done(index, INSERT_CAPTION);
}

static gboolean insert_held(struct index *index, gint64 end)
{
    gboolean ok = !index->held || insert(index, index->held, end);

    g_clear_pointer(&index->held, caption_result_free);
    return ok;
}

static enum caption_sink_status add(struct caption_sink *sink, const struct caption_entry *entry,
                                    const struct caption_result *result, char **why)
{
    struct index *index = (struct index *)sink;
    gboolean ok = index->in_file || open_file(index, entry);

    if (ok && result->time < 0) {
        ok = insert(index, result, -1);
    } else if (ok && (!index->held || strcmp(index->held->caption, result->caption) != 0)) {
        ok = insert_held(index, result->time);
        index->held = caption_result_copy(result);
    }
    index->last = result->time;
    return ok ? CAPTION_SINK_FINE : broken(index, why);
}

static gboolean undo_file(struct index *index)
{
    g_clear_pointer(&index->held, caption_result_free);
    if (!index->in_file)
        return TRUE;
    index->in_file = FALSE;
    return run(index, "ROLLBACK TO file") && run(index, "RELEASE file");
}

static enum caption_sink_status end(struct caption_sink *sink, const struct caption_entry *entry, gint64 end,
                                    gboolean ok, char **why)
{
    struct index *index = (struct index *)sink;
    gboolean fine;

    if (ok && index->in_file) {
        fine = insert_held(index, end > index->last ? end : index->last) && run(index, "RELEASE file");
        index->in_file = FALSE;
        index->captioned++;
    } else {
        /* What was said of the file before it changed is not true any more. */
        fine = undo_file(index) && (!entry->path || (begin(index) && forget(index, entry)));
    }
    if (fine && g_get_monotonic_time() - index->committed > COMMIT_TIME)
        fine = commit(index);
    return fine ? CAPTION_SINK_FINE : broken(index, why);
}

/* Takes out what is gone from a folder that was gone through. */
static enum caption_sink_status leave(struct caption_sink *sink, const struct caption_folder *folder, char **why)
{
    struct index *index = (struct index *)sink;
    GArray *gone = g_array_new(FALSE, FALSE, sizeof(gint64));
    sqlite3_stmt *list = index->statements[LIST_FOLDER];
    char *path = absolute(folder->path);
    gboolean ok = begin(index) && add_folder(index, folder);

    caption_database_bind_name(list, 1, path);
    while (ok && sqlite3_step(list) == SQLITE_ROW) {
        char *name = caption_database_name(list, 1);
        gint64 id = sqlite3_column_int64(list, 0);
        struct stat status;

        if (stat(name, &status) != 0 && (errno == ENOENT || errno == ENOTDIR))
            g_array_append_val(gone, id);
        g_free(name);
    }
    ok = sqlite3_reset(list) == SQLITE_OK && ok;
    for (guint i = 0; i < gone->len && ok; i++) {
        sqlite3_bind_int64(index->statements[FORGET_ID], 1, g_array_index(gone, gint64, i));
        ok = done(index, FORGET_ID);
        index->removed += ok;
    }
    g_array_unref(gone);
    g_free(path);
    return ok ? CAPTION_SINK_FINE : broken(index, why);
}

static enum caption_sink_status finish(struct caption_sink *sink, gboolean complete, char **why)
{
    struct index *index = (struct index *)sink;

    if (!undo_file(index) || !commit(index))
        return broken(index, why);
    if (complete)
        printf("%s: %" G_GUINT64_FORMAT " captioned, %" G_GUINT64_FORMAT " unchanged, %" G_GUINT64_FORMAT " removed\n",
               index->settings->index, index->captioned, index->unchanged, index->removed);
    else
        caption_complain(index->settings->index,
                         "has the %" G_GUINT64_FORMAT " files that were captioned so far; the same command goes on",
                         index->captioned);
    fflush(stdout);
    return CAPTION_SINK_FINE;
}

static void index_free(struct caption_sink *sink)
{
    struct index *index = (struct index *)sink;

    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(index->statements[i]);
    g_clear_pointer(&index->held, caption_result_free);
    sqlite3_close(index->database); /* which rolls an open transaction back */
    g_free(index->model);
    g_free(index->options);
    g_free(index);
}

struct caption_sink *caption_index_new(const struct caption_settings *s, const char *model)
{
    struct index *index = g_new0(struct index, 1);
    gboolean ok;

    index->sink = (struct caption_sink){
        .wants = wants, .add = add, .end = end, .leave = leave, .finish = finish, .free = index_free
    };
    index->settings = s;
    index->model = g_strdup(model);
    index->options = g_strdup_printf(
        "precision=%s beams=%d max-length=%d label-weight=%g when-unsure=%d every=%" G_GUINT64_FORMAT " prompt=%s",
        s->precision ? s->precision : "auto", s->beams, s->max_length, s->label_weight, (int)s->when_unsure, s->every,
        s->prompt ? s->prompt : "");
    index->committed = g_get_monotonic_time();
    index->database = caption_database_open(s->index, TRUE);
    ok = index->database != NULL;
    for (int i = 0; i < STATEMENTS && ok; i++) {
        index->statements[i] = caption_database_prepare(index->database, sql[i]);
        ok = index->statements[i] != NULL;
        if (!ok)
            caption_complain(s->index, "cannot be used: %s", sqlite3_errmsg(index->database));
    }
    if (ok)
        return &index->sink;
    index_free(&index->sink);
    return NULL;
}

/* ---- The folders of an index -------------------------------------------------------------------- */

char **caption_index_folders(const char *path)
{
    sqlite3 *database = caption_database_open(path, TRUE);
    GPtrArray *folders = g_ptr_array_new();
    sqlite3_stmt *list;

    if (!database) {
        g_ptr_array_unref(folders);
        return NULL;
    }
    list = caption_database_prepare(database, "SELECT path FROM folders ORDER BY id");
    while (list && sqlite3_step(list) == SQLITE_ROW)
        g_ptr_array_add(folders, caption_database_name(list, 0));
    if (!folders->len)
        g_ptr_array_add(folders, g_strdup("."));
    g_ptr_array_add(folders, NULL);
    sqlite3_finalize(list);
    sqlite3_close(database);
    return (char **)g_ptr_array_free(folders, FALSE);
}
