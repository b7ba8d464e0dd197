/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * search.c - what a search index has of some words.
 */
#include "complain.h"
#include "database.h"
#include "document.h"
#include "index.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The most labels of a caption that are read. */
#define MOST_LABELS 64

/* Words that say nothing about a picture and would rank what has them. */
static gboolean is_filler(const char *word)
{
    static const char *const fillers[] = { "a",  "an", "and", "are", "at",   "by",  "for", "from", "in",   "into",
                                           "is", "it", "of",  "on",  "some", "the", "to",  "was",  "were", "with" };

    for (gsize i = 0; i < G_N_ELEMENTS(fillers); i++)
        if (strcmp(word, fillers[i]) == 0)
            return TRUE;
    return FALSE;
}

/* Takes the next of the words, or the words between two double quotes, as FTS5 takes a string: *term is to be freed.
 * Everything that FTS5 would understand as more than a word is inside quotes then. FALSE: there are no more. */
static gboolean next_term(const char **at, char **term, gboolean *filler)
{
    GString *out = g_string_new("\"");
    gboolean phrase = FALSE, any = FALSE;
    const char *p = *at;
    char *lower;

    while (*p && (g_unichar_isspace(g_utf8_get_char(p)) || *p == '"')) {
        phrase = *p == '"';
        p = g_utf8_next_char(p);
        if (phrase && *p && *p != '"' && strchr(p, '"'))
            break;
        phrase = FALSE;
    }
    for (; *p && (phrase ? *p != '"' : *p != '"' && !g_unichar_isspace(g_utf8_get_char(p))); p = g_utf8_next_char(p)) {
        any = any || g_unichar_isalnum(g_utf8_get_char(p));
        g_string_append_unichar(out, g_utf8_get_char(p));
    }
    if (phrase && *p == '"')
        p++;
    *filler = FALSE;
    if (!phrase) {
        lower = g_utf8_strdown(out->str + 1, -1);
        *filler = is_filler(lower);
        g_free(lower);
    }
    g_string_append_c(out, '"');
    *term = any ? out->str : g_strdup("");
    g_string_free(out, !any);
    if (p == *at)
        g_clear_pointer(term, g_free);
    *at = p;
    return *term != NULL;
}

/* The question that FTS5 understands: the terms, joined by AND or OR; fillers count only if there is nothing else.
 * NULL: there is no word in it. To be freed. */
static char *question_of(const char *query, const char *join)
{
    char *valid = g_utf8_make_valid(query, -1);
    GString *plain = g_string_new(NULL), *all = g_string_new(NULL);
    const char *at = valid;
    gboolean filler;
    char *term;

    while (next_term(&at, &term, &filler)) {
        if (*term) {
            g_string_append_printf(all, "%s%s", all->len ? join : "", term);
            if (!filler)
                g_string_append_printf(plain, "%s%s", plain->len ? join : "", term);
        }
        g_free(term);
    }
    g_free(valid);
    if (plain->len)
        g_string_assign(all, plain->str);
    g_string_free(plain, TRUE);
    return g_string_free(all, all->len == 0);
}

/* Reads the labels of a row into labels[], which point into *names; their number. */
static int read_labels(struct caption_label *labels, char ***names, const char *text, const char *numbers)
{
    char **probabilities = g_strsplit(numbers ? numbers : "", "\n", -1);
    int count = 0;

    *names = g_strsplit(text ? text : "", "\n", -1);
    for (; (*names)[count] && probabilities[count] && count < MOST_LABELS; count++)
        labels[count] = (struct caption_label){ (*names)[count], g_ascii_strtod(probabilities[count], NULL) };
    g_strfreev(probabilities);
    return count;
}

/* Prints a row; FALSE: it cannot be written. */
static gboolean print_row(struct caption_document *document, GString *out, sqlite3_stmt *row)
{
    struct caption_label labels[MOST_LABELS];
    const char *text = (const char *)sqlite3_column_text(row, 5), *numbers = (const char *)sqlite3_column_text(row, 6);
    char *source = caption_database_name(row, 0), **names;
    struct caption_result result = {
        .source = source,
        .time = sqlite3_column_type(row, 1) == SQLITE_NULL ? -1 : sqlite3_column_int64(row, 1),
        .caption = (const char *)sqlite3_column_text(row, 2),
        .score = sqlite3_column_double(row, 3),
        .unsure = sqlite3_column_int(row, 4),
        .labels = text ? labels : NULL,
        .label_count = read_labels(labels, &names, text, numbers),
    };
    gboolean ok;

    if (!document->filled)
        caption_document_begin(document, out);
    caption_document_add(document, out, &result);
    ok = fwrite(out->str, 1, out->len, stdout) == out->len;
    g_string_truncate(out, 0);
    g_strfreev(names);
    g_free(source);
    return ok;
}

/* Prints the answers to a question; how many there were, or -1 after a complaint. */
static int answer(sqlite3 *database, const struct caption_settings *settings, const char *question)
{
    struct caption_document document = { .format = settings->format, .labels = settings->labels };
    sqlite3_stmt *rows = caption_database_prepare(
        database, "SELECT f.source, c.time, c.caption, c.score, c.unsure, c.labels, c.probabilities FROM words"
                  " JOIN captions c ON c.id = words.rowid JOIN files f ON f.id = c.file"
                  " WHERE words MATCH ? ORDER BY bm25(words, 2.0, 1.0), c.id LIMIT ?");
    GString *out = g_string_new(NULL);
    int status = SQLITE_ERROR, count = 0;
    gboolean ok = TRUE;

    if (rows) {
        sqlite3_bind_text(rows, 1, question, -1, SQLITE_STATIC);
        sqlite3_bind_int(rows, 2, settings->limit ? settings->limit : -1);
        while (ok && (status = sqlite3_step(rows)) == SQLITE_ROW) {
            ok = print_row(&document, out, rows);
            count++;
        }
    }
    ok = ok && (!count || fflush(stdout) == 0);
    g_string_free(out, TRUE);
    if (!ok && errno != EPIPE) {
        caption_complain(NULL, "cannot write: %s", g_strerror(errno));
        count = -1;
    } else if (ok && status != SQLITE_DONE) {
        caption_complain(settings->items[0], "cannot be searched: %s", sqlite3_errmsg(database));
        count = -1;
    }
    sqlite3_finalize(rows);
    return count;
}

int caption_search(const struct caption_settings *settings)
{
    char *all = question_of(settings->query, " AND "), *any = question_of(settings->query, " OR ");
    sqlite3 *database = NULL;
    int found = -1;

    if (!all)
        caption_complain(NULL, "--search has no word to look for");
    else if ((database = caption_database_open(settings->items[0], FALSE)))
        found = answer(database, settings, all);
    if (found == 0 && strcmp(all, any) != 0) {
        found = answer(database, settings, any);
        if (found > 0)
            caption_complain(NULL, "nothing has all of the words; these have some of them");
    }
    sqlite3_close(database);
    g_free(all);
    g_free(any);
    return found < 0 ? CAPTION_EXIT_CANNOT : found > 0 ? CAPTION_EXIT_FINE : CAPTION_EXIT_SOME_FAILED;
}
