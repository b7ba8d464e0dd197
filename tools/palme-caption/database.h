/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * database.h - the SQLite database of a search index: what is in it, and how it is opened.
 *
 *     folders(id, path)                            that were indexed, absolute
 *     files(id, source, folder, size, mtime, model, options)
 * source is absolute, text or, where it is no UTF-8, a blob; mtime in ns; model is the SHA-256 of the model file,
 *         options what else a caption depends on. A row is there if the file was captioned to its end.
 *     captions(id, file, time, end, caption, score, unsure, labels, probabilities)
 *         time and end in ns, NULL for a photo; equal captions in a row are one; labels and their probabilities stand a
 *         line each, most likely first, NULL for a model without.
 *     words                                        FTS5 over caption and labels of captions, English stems
 */
#ifndef CAPTIONDATABASE_H
#define CAPTIONDATABASE_H

#include <glib.h>
#include <sqlite3.h>

/* Opens the database, or, to write, makes it. NULL after a complaint. */
sqlite3 *caption_database_open(const char *path, gboolean write);

/* A new statement; NULL: sqlite3_errmsg says why. */
sqlite3_stmt *caption_database_prepare(sqlite3 *database, const char *sql);

/* Binds a name: text where it is UTF-8, else a blob. */
void caption_database_bind_name(sqlite3_stmt *statement, int place, const char *name);

/* A name of a column, to be freed. */
char *caption_database_name(sqlite3_stmt *statement, int column);

#endif
