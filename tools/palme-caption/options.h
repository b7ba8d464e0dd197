/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * options.h - the command line of palme-caption.
 */
#ifndef CAPTIONOPTIONS_H
#define CAPTIONOPTIONS_H

#include "text.h"

/* The exit status. */
enum { CAPTION_EXIT_FINE = 0, CAPTION_EXIT_SOME_FAILED = 1, CAPTION_EXIT_CANNOT = 2 };

/* What is said where the labels or the score do not confirm a caption. */
enum caption_when_unsure { CAPTION_SAY_LABELS, CAPTION_SAY_CAPTION, CAPTION_SAY_NOTHING };

#define CAPTION_FORMATS 7 /* of enum caption_format */
#define CAPTION_MOST_JOBS 64

struct caption_settings {
    /* the engine */
    const char *model, *prompt, *level, *precision;
    int threads, beams, max_length, verify;
    double label_weight; /* as palme_options has it */
    enum caption_when_unsure when_unsure;
    int jobs; /* inputs at a time; 0: by the processors */

    /* what is read */
    gboolean no_recursion; /* folders in folders are left out */
    gboolean list;         /* names from the standard input */
    char separator;        /* behind each of them */
    const char *watched;   /* a folder, or NULL */
    guint64 every, max_pixels;

    /* what is written */
    enum caption_format format;
    gboolean format_given;
    gboolean labels;                             /* a column of them */
    const char *output;                          /* a file, or with `beside` a folder; NULL: the standard output */
    enum caption_format beside[CAPTION_FORMATS]; /* a file for each input */
    int beside_count;
    gboolean force, resume;

    /* the search index */
    const char *index, *query; /* NULL: not asked for */
    int limit;                 /* results; 0: all */

    /* what stands behind the options */
    char **items;
    int item_count;
};

/* Reads the command line into *settings, whose strings are those of argv. Returns an exit status where everything
 * is said, or -1 to go on. */
int caption_options_read(struct caption_settings *settings, int argc, char **argv);

#endif
