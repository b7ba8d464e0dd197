/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * options.c - the command line of palme-caption: each subject has its function, and the last one says what does not go
 * together.
 */
#include "options.h"
#include "complain.h"
#include "document.h"
#include "palme.h"
#include "source.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "Usage: palme-caption [OPTION]... FILE|FOLDER|URI|-...\n"
    "       palme-caption --index DATABASE [OPTION]... [FILE|FOLDER]...\n"
    "       palme-caption --search WORDS DATABASE\n"
    "Says what is seen in photos and videos, one line a picture. A folder stands for the photos\n"
    "and videos in it and in the folders below it, by name; - is the standard input.\n"
    "\n"
    "What is read:\n"
    "  --no-recursive     leave out the folders below a folder; --recursive is the default\n"
    "  --stdin            read names from the standard input too, one a line\n"
    "  -0, --null         with --stdin: names end with a NUL byte\n"
    "  --watch FOLDER     what is in the folder, then what is written or moved into it, as soon as\n"
    "                     it is complete; SIGINT or SIGTERM ends it\n"
    "  --every SECONDS    time between a video's captions, default 1; 0: every frame\n"
    "  --max-pixels N     refuse larger pictures; default 268435456, which takes 1 GiB, and\n"
    "                     about twice that while it is decoded and turned\n"
    "\n"
    "What is written:\n"
    "  --format FORMAT    tsv (default): name, tab, caption; a frame of a video is called\n"
    "                     name@h:mm:ss.mmm. text: captions alone. json: an object a line\n"
    "                     with source, time (ns; null for a photo), caption, score and, of a\n"
    "                     model with labels, unsure and labels with their probabilities; in a\n"
    "                     file an array of these objects. jsonl: an object a line in any case.\n"
    "                     csv: RFC 4180, with a header. vtt, srt: subtitles of one video\n"
    "  -o, --output PATH  write to a file, whose ending chooses the format (.tsv, .txt, .json,\n"
    "                     .jsonl, .csv, .vtt, .srt) unless --format does; it appears when it is\n"
    "                     complete. With --write: the folder for its files\n"
    "  --write FORMATS    a file beside each input for each of the formats, separated by commas:\n"
    "                     clip.vtt, clip.srt, dog.jpg.json\n"
    "  --force            replace files that exist\n"
    "  --resume           go on with a run that was stopped: what is in the output is not done\n"
    "                     again\n"
    "  --labels           in tsv and csv, a last column with the labels of the picture, most\n"
    "                     likely first\n"
    "  --when-unsure WHAT what a model with labels says where they, or its score, do not confirm\n"
    "                     a caption: labels (default), as \"a photo of a clock\"; caption, all the\n"
    "                     same; silent, nothing\n"
    "\n"
    "A search index:\n"
    "  --index DATABASE   caption what is new or has changed into an SQLite database, and take out\n"
    "                     what is gone; without names: its folders, or the current one\n"
    "  --search WORDS     print what the database has of these words, best first, in a --format;\n"
    "                     words in double quotes stand together\n"
    "  --limit N          results of --search, default 20; 0: all\n"
    "\n"
    "How it computes:\n"
    "  -j, --jobs N       inputs at a time, 1 to 64; 0, the default: as many as there are\n"
    "                     processors, for folders and lists. The order of the lines stays\n"
    "  --model FILE       the model file; else $PALME_MODEL, else the installed one\n"
    "  --threads N        compute threads; 0, the default: the processors, shared by the jobs\n"
    "  --cpu LEVEL        instruction set: c, neon, dotprod, avx2, avxvnni, avx512, vnni, bf16; default: the best\n"
    "  --precision P      what the weights are kept and computed in: f32, bf16, int8, int4 (4 bits\n"
    "                     in the decoder); auto, the default: the fastest but int4 in which the\n"
    "                     model's captions are as good\n"
    "  --beams N          sentences followed at a time, 1 to 16; 0, the default: the model's\n"
    "  --max-length N     most tokens of a caption, 1 to 1024; default: the model's, or 32\n"
    "  --prompt TEXT      words to go on from; the caption is what follows them\n"
    "  --label-weight W   how strongly words are held to the labels; 0: not at all; default: the\n"
    "                     model's\n"
    "  --verify           check the model file's sha256 before use\n"
    "  -h, --help         print this and end\n"
    "  --version          print the version and end\n"
    "\n"
    "Any format that gdk-pixbuf or GStreamer decodes is read; of a photo with several pictures\n"
    "(GIF, TIFF, animated WebP...) the first. Pictures are turned upright where the file says\n"
    "which side is up; what is transparent is seen over white. In tsv and csv a name's characters\n"
    "that are not printable stand as \\t, \\n, \\r, \\xHH (a byte) or \\u{HHHH}, a backslash as \\\\.\n"
    "Exit status: 0 if all went well, or the reader of the output went away; 1 if an input\n"
    "failed (the others are done), or nothing was found; 2 if nothing could be done, or not\n"
    "written. A run that a signal stopped ends by that signal.\n";

/* What getopt_long returns for options without a letter. */
enum {
    MODEL = 256,
    THREADS,
    BEAMS,
    MAX_LENGTH,
    PROMPT,
    FORMAT,
    EVERY,
    VERIFY,
    CPU,
    VERSION,
    PRECISION,
    MAX_PIXELS,
    LABELS,
    LABEL_WEIGHT,
    WHEN_UNSURE,
    RECURSIVE,
    NO_RECURSIVE,
    STDIN,
    WATCH,
    WRITE,
    FORCE,
    RESUME,
    INDEX,
    SEARCH,
    LIMIT
};

static const struct option options[] = { { "model", required_argument, NULL, MODEL },
                                         { "threads", required_argument, NULL, THREADS },
                                         { "beams", required_argument, NULL, BEAMS },
                                         { "max-length", required_argument, NULL, MAX_LENGTH },
                                         { "prompt", required_argument, NULL, PROMPT },
                                         { "format", required_argument, NULL, FORMAT },
                                         { "every", required_argument, NULL, EVERY },
                                         { "verify", no_argument, NULL, VERIFY },
                                         { "cpu", required_argument, NULL, CPU },
                                         { "help", no_argument, NULL, 'h' },
                                         { "version", no_argument, NULL, VERSION },
                                         { "precision", required_argument, NULL, PRECISION },
                                         { "max-pixels", required_argument, NULL, MAX_PIXELS },
                                         { "labels", no_argument, NULL, LABELS },
                                         { "label-weight", required_argument, NULL, LABEL_WEIGHT },
                                         { "when-unsure", required_argument, NULL, WHEN_UNSURE },
                                         { "recursive", no_argument, NULL, RECURSIVE },
                                         { "no-recursive", no_argument, NULL, NO_RECURSIVE },
                                         { "stdin", no_argument, NULL, STDIN },
                                         { "null", no_argument, NULL, '0' },
                                         { "watch", required_argument, NULL, WATCH },
                                         { "output", required_argument, NULL, 'o' },
                                         { "write", required_argument, NULL, WRITE },
                                         { "force", no_argument, NULL, FORCE },
                                         { "resume", no_argument, NULL, RESUME },
                                         { "jobs", required_argument, NULL, 'j' },
                                         { "index", required_argument, NULL, INDEX },
                                         { "search", required_argument, NULL, SEARCH },
                                         { "limit", required_argument, NULL, LIMIT },
                                         { NULL, 0, NULL, 0 } };

/* ---- Values; each function returns FALSE after a complaint ---------------------------------- */

static gboolean number_of(int *number, const char *option, const char *text, int least, int most)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most) {
        caption_complain(NULL, "--%s takes a whole number from %d to %d, not '%s'", option, least, most, text);
        return FALSE;
    }
    *number = (int)value;
    return TRUE;
}

/* The place of a word among some. */
static gboolean word_of(int *place, const char *text, const char *const *words, const char *complaint)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(text, words[i]) == 0) {
            *place = i;
            return TRUE;
        }
    caption_complain(NULL, "%s, not '%s'", complaint, text);
    return FALSE;
}

/* A weight of labels as the engine has it, where 0 is the model's own. */
static gboolean weight_of(double *weight, const char *text)
{
    char *end;
    double value = g_ascii_strtod(text, &end);

    if (end == text || *end || !(value >= 0 && value <= 1000)) {
        caption_complain(NULL, "--label-weight takes a number from 0 to 1000, not '%s'", text);
        return FALSE;
    }
    *weight = value > 0 ? value : -1;
    return TRUE;
}

static gboolean every_of(guint64 *every, const char *text)
{
    char *end;
    double seconds = g_ascii_strtod(text, &end);

    if (end == text || *end || !(seconds >= 0 && seconds <= 1e6)) {
        caption_complain(NULL, "--every takes seconds from 0 to a million, not '%s'", text);
        return FALSE;
    }
    *every = (guint64)llround(seconds * 1e9);
    return TRUE;
}

static gboolean pixels_of(guint64 *pixels, const char *text)
{
    if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, pixels, NULL))
        return TRUE;
    caption_complain(NULL, "--max-pixels takes a whole number from 1, not '%s'", text);
    return FALSE;
}

static gboolean format_of(enum caption_format *format, const char *option, const char *text)
{
    if (strcmp(text, "txt") != 0 && strcmp(text, "ndjson") != 0 && caption_format_of(format, text))
        return TRUE;
    caption_complain(NULL, "--%s takes text, tsv, json, jsonl, csv, vtt or srt, not '%s'", option, text);
    return FALSE;
}

/* The formats of --write. */
static gboolean formats_of(struct caption_settings *s, const char *text)
{
    char **names = g_strsplit(text, ",", -1);
    gboolean ok = TRUE;

    for (char **name = names; ok && (*name || name == names); name++) {
        enum caption_format format = CAPTION_TSV;
        gboolean again = FALSE;

        ok = format_of(&format, "write", *name ? *name : "");
        for (int i = 0; i < s->beside_count; i++)
            again = again || s->beside[i] == format;
        if (ok && !again)
            s->beside[s->beside_count++] = format;
    }
    g_strfreev(names);
    return ok;
}

/* ---- Options by subject; NOT_MINE, TRUE, or FALSE after a complaint -------------------------- */

enum { NOT_MINE = 2 };

static int read_engine_option(struct caption_settings *s, int option, char *text)
{
    static const char *const precisions[] = { "auto", "f32", "bf16", "int8", "int4", NULL };
    static const char *const unsure[] = { "labels", "caption", "silent", NULL };
    int place;

    switch (option) {
    case MODEL: s->model = text; return TRUE;
    case PROMPT: s->prompt = text; return TRUE;
    case VERIFY: s->verify = 1; return TRUE;
    case CPU: s->level = text; return TRUE;
    case PRECISION:
        if (!word_of(&place, text, precisions, "--precision takes auto, f32, bf16, int8 or int4"))
            return FALSE;
        s->precision = precisions[place];
        return TRUE;
    case WHEN_UNSURE:
        if (!word_of(&place, text, unsure, "--when-unsure takes labels, caption or silent"))
            return FALSE;
        s->when_unsure = (enum caption_when_unsure)place;
        return TRUE;
    case THREADS: return number_of(&s->threads, "threads", text, 0, 256);
    case BEAMS: return number_of(&s->beams, "beams", text, 0, PALME_MAX_BEAMS);
    case MAX_LENGTH: return number_of(&s->max_length, "max-length", text, 1, 1024);
    case LABEL_WEIGHT: return weight_of(&s->label_weight, text);
    case 'j': return number_of(&s->jobs, "jobs", text, 0, CAPTION_MOST_JOBS);
    default: return NOT_MINE;
    }
}

static int read_input_option(struct caption_settings *s, int option, char *text)
{
    switch (option) {
    case RECURSIVE: s->no_recursion = FALSE; return TRUE;
    case NO_RECURSIVE: s->no_recursion = TRUE; return TRUE;
    case STDIN: s->list = TRUE; return TRUE;
    case '0': s->separator = '\0'; return TRUE;
    case WATCH:
        if (s->watched) {
            caption_complain(NULL, "--watch takes one folder; those below it are watched, too");
            return FALSE;
        }
        s->watched = text;
        return TRUE;
    case EVERY: return every_of(&s->every, text);
    case MAX_PIXELS: return pixels_of(&s->max_pixels, text);
    default: return NOT_MINE;
    }
}

static int read_output_option(struct caption_settings *s, int option, char *text)
{
    switch (option) {
    case FORMAT: s->format_given = TRUE; return format_of(&s->format, "format", text);
    case 'o': s->output = text; return TRUE;
    case WRITE: return formats_of(s, text);
    case FORCE: s->force = TRUE; return TRUE;
    case RESUME: s->resume = TRUE; return TRUE;
    case LABELS: s->labels = TRUE; return TRUE;
    case INDEX: s->index = text; return TRUE;
    case SEARCH: s->query = text; return TRUE;
    case LIMIT: return number_of(&s->limit, "limit", text, 0, G_MAXINT);
    default: return NOT_MINE;
    }
}

/* ---- What goes together ---------------------------------------------------------------------- */

static gboolean is_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The format of the one output, by --format or the file's ending; FALSE after a complaint. */
static gboolean settle_format(struct caption_settings *s)
{
    const char *ending = s->output ? strrchr(s->output, '.') : NULL;

    if (s->output && strcmp(s->output, "-") == 0)
        s->output = NULL;
    if (!s->output) {
        /* On the standard output "json" has always been an object a line. */
        if (s->format == CAPTION_ARRAY)
            s->format = CAPTION_JSON;
    } else if (is_folder(s->output)) {
        caption_complain(s->output, "is a folder; --write FORMATS writes a file for each input into it");
        return FALSE;
    } else if (!s->format_given && (!ending || strchr(ending, '/') || !caption_format_of(&s->format, ending + 1))) {
        caption_complain(s->output,
                         "the ending says no format: .tsv, .txt, .json, .jsonl, .csv, .vtt or .srt; or --format");
        return FALSE;
    }
    if (caption_format_is_subtitle(s->format) && !s->query &&
        (s->list || s->watched || s->item_count != 1 || is_folder(s->items[0]))) {
        caption_complain(NULL, "%s has the subtitles of one video; --write %s writes a file for each",
                         s->output ? s->output : "--format", s->format == CAPTION_VTT ? "vtt" : "srt");
        return FALSE;
    }
    return TRUE;
}

/* The first option that does not go with another, as a sentence; NULL: all is well. */
static const char *conflict_of(const struct caption_settings *s)
{
    gboolean captions = !s->query;

    if (s->query && s->index)
        return "--search and --index do not go together: --search WORDS DATABASE";
    if (s->query && (s->item_count != 1 || s->list || s->watched))
        return "--search WORDS takes one DATABASE, which --index has made";
    if (s->query && (s->beside_count || s->resume || s->output || s->force))
        return "--search prints to the standard output: without --output, --write, --force and --resume";
    if (s->query && (s->format == CAPTION_VTT || s->format == CAPTION_SRT))
        return "--search prints text, tsv, json, jsonl or csv";
    if (s->index && (s->beside_count || s->output || s->format_given))
        return "--index writes the database alone: without --output, --write and --format";
    if (s->beside_count && s->format_given)
        return "--write names the formats: without --format";
    if (s->force && s->resume)
        return "--force begins anew and --resume does not: one of them";
    if (captions && s->force && !s->output && !s->beside_count)
        return "--force is for --output and --write";
    if (captions && s->resume && !s->output && !s->beside_count && !s->index)
        return "--resume looks into the output for what is done: it needs --output or --write";
    if (s->resume && !s->beside_count && (s->format == CAPTION_TEXT || caption_format_is_subtitle(s->format)))
        return "--resume needs a format with the names of the inputs: tsv, json, jsonl or csv";
    if (s->separator == '\0' && !s->list)
        return "--null is for --stdin";
    if (s->watched && s->output && !s->beside_count && s->format == CAPTION_ARRAY)
        return "--watch has no end and an array of JSON has one: --format jsonl";
    if (captions && s->item_count == 0 && !s->list && !s->watched && !s->index)
        return "no file or URI is given; try palme-caption --help";
    return NULL;
}

static gboolean settle(struct caption_settings *s)
{
    const char *conflict;

    if (!s->beside_count && !s->index && s->item_count + s->list + (s->watched != NULL) > 0 && !settle_format(s))
        return FALSE;
    if ((conflict = conflict_of(s))) {
        caption_complain(NULL, "%s", conflict);
        return FALSE;
    }
    for (int i = 0; i < s->item_count && s->list; i++)
        if (strcmp(s->items[i], "-") == 0) {
            caption_complain("-", "the standard input has the names already, by --stdin");
            return FALSE;
        }
    return TRUE;
}

/* The status of a command that only says something. */
static int print_and_end(const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return CAPTION_EXIT_FINE;
    if (errno == EPIPE)
        return CAPTION_EXIT_FINE;
    caption_complain(NULL, "cannot write: %s", g_strerror(errno));
    return CAPTION_EXIT_CANNOT;
}

int caption_options_read(struct caption_settings *settings, int argc, char **argv)
{
    char version[64];
    int option, ok = TRUE;

    *settings = (struct caption_settings){
        .every = G_GUINT64_CONSTANT(1000000000), .max_pixels = CAPTION_MAX_PIXELS, .separator = '\n', .limit = 20
    };
    while ((option = getopt_long(argc, argv, "h0j:o:", options, NULL)) != -1) {
        if (option == 'h')
            return print_and_end(help);
        if (option == VERSION) {
            g_snprintf(version, sizeof version, "palme-caption %s\n", palme_version());
            return print_and_end(version);
        }
        ok = read_engine_option(settings, option, optarg);
        if (ok == NOT_MINE)
            ok = read_input_option(settings, option, optarg);
        if (ok == NOT_MINE)
            ok = read_output_option(settings, option, optarg);
        if (ok == NOT_MINE)
            fputs("Try palme-caption --help.\n", stderr);
        if (ok != TRUE)
            return CAPTION_EXIT_CANNOT;
    }
    settings->items = argv + optind;
    settings->item_count = argc - optind;
    return settle(settings) ? -1 : CAPTION_EXIT_CANNOT;
}
