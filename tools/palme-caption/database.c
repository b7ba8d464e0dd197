/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * database.c - the SQLite database of a search index.
 */
#include "database.h"
#include "complain.h"

#include <errno.h>
#include <string.h>

/* "PalC", which file(1) and we know such databases by, and the version of the tables below. */
#define APPLICATION 0x50616C43
#define VERSION 1
/* How long another process may hold the database. */
#define PATIENCE_MS 30000

static const char tables[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS folders(id INTEGER PRIMARY KEY, path NOT NULL UNIQUE);"
    "CREATE TABLE IF NOT EXISTS files(id INTEGER PRIMARY KEY, source NOT NULL UNIQUE, folder INTEGER,"
    " size INTEGER NOT NULL, mtime INTEGER NOT NULL, model TEXT NOT NULL, options TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS files_folder ON files(folder);"
    "CREATE TABLE IF NOT EXISTS captions(id INTEGER PRIMARY KEY, file INTEGER NOT NULL, time INTEGER, end INTEGER,"
    " caption TEXT NOT NULL, score REAL NOT NULL, unsure INTEGER NOT NULL, labels TEXT, probabilities TEXT);"
    "CREATE INDEX IF NOT EXISTS captions_file ON captions(file);"
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(caption, labels, content='captions', content_rowid='id',"
    " tokenize='porter unicode61 remove_diacritics 2');"
    "CREATE TRIGGER IF NOT EXISTS captions_inserted AFTER INSERT ON captions BEGIN"
    " INSERT INTO words(rowid, caption, labels) VALUES (new.id, new.caption, new.labels); END;"
    "CREATE TRIGGER IF NOT EXISTS captions_deleted AFTER DELETE ON captions BEGIN"
    " INSERT INTO words(words, rowid, caption, labels) VALUES ('delete', old.id, old.caption, old.labels); END;"
    "CREATE TRIGGER IF NOT EXISTS files_deleted AFTER DELETE ON files BEGIN"
    " DELETE FROM captions WHERE file = old.id; END;"
    "PRAGMA application_id = 0x50616C43;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* The first number that a statement gives; -1: none. */
static int number_of(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = caption_database_prepare(database, sql);
    int number = -1;

    if (statement && sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

/* Whether this is a database of ours, or an empty one; a complaint if not. */
static gboolean is_ours(sqlite3 *database, const char *path, gboolean write)
{
    int things = number_of(database, "SELECT count(*) FROM sqlite_master");
    int application = number_of(database, "PRAGMA application_id"),
        version = number_of(database, "PRAGMA user_version");

    if (things < 0)
        caption_complain(path, "cannot be read: %s", sqlite3_errmsg(database));
    else if (application != APPLICATION && (things > 0 || !write))
        caption_complain(path, "is no database that palme-caption --index has made");
    else if (application == APPLICATION && version != VERSION)
        caption_complain(path, "was made by another version of palme-caption; --index into a new file");
    else
        return TRUE;
    return FALSE;
}

sqlite3 *caption_database_open(const char *path, gboolean write)
{
    int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    sqlite3 *database = NULL;
    char *why = NULL;

    if (!g_utf8_validate(path, -1, NULL)) {
        caption_complain(path, "SQLite takes names in UTF-8 only");
        return NULL;
    }
    if (sqlite3_open_v2(path, &database, flags, NULL) != SQLITE_OK) {
        int code = database ? sqlite3_system_errno(database) : ENOMEM; /* 0: it is no matter of the system */
        caption_complain(path, "%s", code ? g_strerror(code) : sqlite3_errmsg(database));
        sqlite3_close(database);
        return NULL;
    }
    sqlite3_busy_timeout(database, PATIENCE_MS);
    if (!is_ours(database, path, write)) {
        sqlite3_close(database);
        return NULL;
    }
    if (write && sqlite3_exec(database, tables, NULL, NULL, &why) != SQLITE_OK) {
        caption_complain(path, "cannot be written: %s", why ? why : sqlite3_errmsg(database));
        sqlite3_free(why);
        sqlite3_close(database);
        return NULL;
    }
    return database;
}

sqlite3_stmt *caption_database_prepare(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    return statement;
}

void caption_database_bind_name(sqlite3_stmt *statement, int place, const char *name)
{
    if (g_utf8_validate(name, -1, NULL))
        sqlite3_bind_text(statement, place, name, -1, SQLITE_TRANSIENT);
    else
        sqlite3_bind_blob(statement, place, name, (int)strlen(name), SQLITE_TRANSIENT);
}

char *caption_database_name(sqlite3_stmt *statement, int column)
{
    const void *bytes = sqlite3_column_blob(statement, column);

    return g_strndup(bytes ? bytes : "", (gsize)sqlite3_column_bytes(statement, column));
}
