/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * palme-caption.c - the command palme-caption: photos and videos in, a line a picture out.
 *
 * It is the engine's public header and GStreamer's decoders, joined; the element palmecaption is not
 * used. Lines go to the standard output as they are ready, everything else to the standard error.
 */
#include "input.h"
#include "source.h"
#include "text.h"
#include "gstpalmesanitize.h"
#include "palme.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <gst/gst.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exit status. */
enum { EXIT_FINE = 0, EXIT_SOME_FAILED = 1, EXIT_CANNOT = 2 };

/* What is said where the labels or the score do not confirm a caption. */
enum when_unsure { SAY_LABELS, SAY_CAPTION, SAY_NOTHING };

struct settings {
    const char *model, *prompt, *level, *precision;
    int threads, beams, max_length, verify;
    double label_weight; /* as palme_options has it */
    enum when_unsure when_unsure;
    gboolean labels; /* a column of them */
    enum caption_format format;
    guint64 every, max_pixels;
};

/* What a frame's receiver needs. */
struct run {
    const struct settings *settings;
    struct palme_info info;
    palme_session *session;
    const char *item;
    int number, total;
    gboolean progress;
    GString *line, *text;
    char *why;            /* an engine that failed on a picture */
    gboolean giving_up;   /* nothing further can succeed */
    gboolean reader_left; /* nobody reads the output any more */
};

static const char help[] =
    "Usage: palme-caption [OPTION]... FILE|FOLDER|URI|-...\n"
    "Says what is seen in photos and videos, one line a picture. A folder stands for the photos\n"
    "and videos in it and in the folders below it, by name; - is the standard input.\n"
    "\n"
    "  --model FILE       the model file; else $PALME_MODEL, else the installed one\n"
    "  --threads N        compute threads; 0, the default: as many as there are processors\n"
    "  --cpu LEVEL        instruction set: c, neon, dotprod, avx2, avxvnni, avx512, vnni, bf16; default: the best\n"
    "  --precision P      what the weights are kept and computed in: f32, bf16, int8; auto, the\n"
    "                     default: the fastest in which the model's captions are as good\n"
    "  --beams N          sentences followed at a time, 1 to 16; 0, the default: the model's\n"
    "  --max-length N     most tokens of a caption, 1 to 1024; default: the model's, or 32\n"
    "  --prompt TEXT      words to go on from; the caption is what follows them\n"
    "  --format FORMAT    tsv (default): name, tab, caption; a frame of a video is called\n"
    "                     name@h:mm:ss.mmm. text: captions alone. json: an object a line\n"
    "                     with source, time (ns; null for a photo), caption, score and, of a\n"
    "                     model with labels, unsure and labels with their probabilities\n"
    "  --labels           in tsv, a third column with the labels of the picture, most likely first\n"
    "  --label-weight W   how strongly words are held to the labels; 0: not at all; default: the\n"
    "                     model's\n"
    "  --when-unsure WHAT what a model with labels says where they, or its score, do not confirm\n"
    "                     a caption: labels (default), as \"a photo of a clock\"; caption, all the\n"
    "                     same; silent, nothing\n"
    "  --every SECONDS    time between a video's captions, default 1; 0: every frame\n"
    "  --max-pixels N     refuse larger pictures; default 268435456, which takes 1 GiB, and\n"
    "                     about twice that while it is decoded and turned\n"
    "  --verify           check the model file's sha256 before use\n"
    "  -h, --help         print this and end\n"
    "  --version          print the version and end\n"
    "\n"
    "Any format that gdk-pixbuf or GStreamer decodes is read; of a photo with several pictures\n"
    "(GIF, TIFF, animated WebP...) the first. Pictures are turned upright where the file says\n"
    "which side is up; what is transparent is seen over white. In tsv a name's characters that\n"
    "are not printable stand as \\t, \\n, \\r, \\xHH (a byte) or \\u{HHHH}, a backslash as \\\\.\n"
    "Exit status: 0 if all went well, or the reader of the output went away; 1 if an input\n"
    "failed (the others are done); 2 if nothing could be done.\n";

/* A name for the standard error, to be freed: not so long that a data: URI fills the screen. */
static char *shown(const char *name, glong longest)
{
    GString *out = g_string_new(NULL);

    caption_append_name(out, name);
    if (g_utf8_strlen(out->str, -1) > longest) {
        g_string_truncate(out, (gsize)(g_utf8_offset_to_pointer(out->str, longest - 3) - out->str));
        g_string_append(out, "...");
    }
    return g_string_free(out, FALSE);
}

/* A line on the standard error about `what`, which may be NULL. Names may hold anything and so may the
 * text of a broken file; a terminal shall not. */
static void complain(const char *what, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void complain(const char *what, const char *format, ...)
{
    char *text, *name, *clean;
    va_list arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    name = shown(what ? what : "", what && g_str_has_prefix(what, "data:") ? 64 : 4 * PATH_MAX);
    clean = gst_palme_sanitize(text, strlen(text));
    fprintf(stderr, "palme-caption: %s%s%s\n", name, what ? ": " : "", clean);
    g_free(text);
    g_free(name);
    g_free(clean);
}

/* ---- Progress, on a terminal alone -------------------------------------------------------- */

static void progress_show(const struct run *run, gint64 time)
{
    char *name;

    if (!run->progress)
        return;
    name = shown(run->item, 48); /* a line that wraps cannot be wiped */
    fprintf(stderr, "\r\033[K%d of %d: %s", run->number, run->total, name);
    if (time >= 0)
        fprintf(stderr, " (%d s)", (int)(time / GST_SECOND));
    fflush(stderr);
    g_free(name);
}

static void progress_wipe(const struct run *run)
{
    if (run->progress)
        fputs("\r\033[K", stderr);
}

/* ---- One picture -------------------------------------------------------------------------- */

/* The whole sentence into run->text; a status. */
static int caption_picture(struct run *run, const struct caption_frame *frame)
{
    struct palme_image image = { .format = frame->alpha ? PALME_FORMAT_RGBA : PALME_FORMAT_RGB,
                                 .width = frame->width,
                                 .height = frame->height,
                                 .planes = { frame->pixels },
                                 .strides = { frame->stride } };
    const char *piece;
    int status = palme_look(run->session, &image);

    g_string_truncate(run->text, 0);
    if (status == PALME_OK && run->settings->prompt) {
        status = palme_prompt(run->session, run->settings->prompt);
        run->giving_up = status == PALME_ERROR_TEXT || status == PALME_ERROR_CONTEXT;
    }
    while (status == PALME_OK && (status = palme_next(run->session, &piece)) == PALME_OK)
        g_string_append(run->text, piece);
    return status;
}

/* What is said of the picture, by its labels; run->text is replaced where they do not confirm it. */
static void judge(struct run *run, struct caption_result *result)
{
    enum when_unsure when = run->settings->when_unsure;

    result->unsure = (run->info.has_min_score && result->score < run->info.min_score) ||
                     palme_confirms(run->session, run->text->str) == 0;
    if (!result->unsure || when == SAY_CAPTION)
        return;
    g_string_assign(run->text, when == SAY_LABELS ? palme_cautious(run->session) : "");
    if (run->text->len)
        palme_score(run->session, run->text->str, &result->score);
    result->caption = run->text->str;
}

/* The line of a picture whose caption is in run->text. */
static void describe(struct run *run, gint64 time)
{
    struct palme_label found[PALME_MAX_LABELS];
    struct caption_label labels[PALME_MAX_LABELS];
    struct caption_result result = {
        .source = run->item, .time = time, .caption = run->text->str, .score = palme_caption_score(run->session)
    };

    if (run->info.labels) {
        result.labels = labels;
        result.label_count = MAX(palme_labels(run->session, found, PALME_MAX_LABELS), 0);
        for (int i = 0; i < result.label_count; i++)
            labels[i] = (struct caption_label){ found[i].name, found[i].probability };
        judge(run, &result);
    }
    g_string_truncate(run->line, 0);
    caption_append_result(run->line, run->settings->format, run->settings->labels, &result);
}

static gboolean receive(void *user, const struct caption_frame *frame)
{
    struct run *run = user;
    int status;

    progress_show(run, frame->time);
    status = caption_picture(run, frame);
    if (status < 0) {
        if (run->giving_up)
            run->why = g_strdup_printf("--prompt: %s", palme_strerror(status));
        else
            run->why = g_strdup_printf("no caption for a picture of %d x %d: %s", frame->width, frame->height,
                                       palme_strerror(status));
        return FALSE;
    }
    describe(run, frame->time);
    progress_wipe(run);
    if (fwrite(run->line->str, 1, run->line->len, stdout) != run->line->len || fflush(stdout) != 0) {
        /* A reader that went away, as `head` does, has what it wanted. */
        run->reader_left = errno == EPIPE;
        run->giving_up = !run->reader_left;
        if (run->giving_up)
            complain(NULL, "cannot write: %s", g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

/* One file or URI; FALSE after a complaint. */
static gboolean caption_item(struct run *run, const char *item)
{
    struct caption_source options = {
        .every = run->settings->every, .max_pixels = run->settings->max_pixels, .fn = receive, .user = run
    };
    char *why = NULL;
    gboolean ok;

    run->item = item;
    run->number++;
    progress_show(run, -1);
    ok = caption_source_read(item, &options, &why) && !run->why;
    if (!ok) {
        progress_wipe(run);
        complain(item, "%s", run->why ? run->why : why);
    }
    g_free(why);
    g_clear_pointer(&run->why, g_free);
    return ok;
}

/* What is a picture or a video in a folder; FALSE after a complaint. */
static gboolean caption_folder(struct run *run, const char *folder)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
    char *why = NULL;
    gboolean ok = caption_input_list(files, folder, &why);
    guint skipped = 0;

    if (!ok)
        complain(folder, "%s", why);
    run->total += (int)files->len - 1;
    run->number--;
    run->progress = run->progress || (files->len > 1 && isatty(STDERR_FILENO));
    for (guint i = 0; i < files->len && !run->giving_up && !run->reader_left; i++) {
        if (caption_input_is_media(files->pdata[i])) {
            ok &= caption_item(run, files->pdata[i]);
        } else {
            skipped++;
            run->number++;
        }
    }
    progress_wipe(run);
    if (skipped == files->len && !why) {
        complain(folder, "has no picture or video in it");
        ok = FALSE;
    } else if (skipped > 0) {
        complain(folder, "skipped %u of %u files, which are neither pictures nor videos", skipped, files->len);
    }
    run->number++;
    g_free(why);
    g_ptr_array_unref(files);
    return ok;
}

/* All inputs, in order; the exit status. */
static int caption_all(const palme_model *model, palme_session *session, const struct settings *settings, char **items,
                       int count)
{
    struct run run = { .settings = settings,
                       .session = session,
                       .total = count,
                       .progress = count > 1 && isatty(STDERR_FILENO),
                       .line = g_string_new(NULL),
                       .text = g_string_new(NULL) };
    int status = EXIT_FINE;

    palme_model_info(model, &run.info);
    for (int i = 0; i < count && !run.giving_up && !run.reader_left; i++) {
        char *folder = caption_input_folder(items[i]);

        if (!(folder ? caption_folder(&run, folder) : caption_item(&run, items[i])))
            status = EXIT_SOME_FAILED;
        g_free(folder);
    }
    progress_wipe(&run);
    g_string_free(run.line, TRUE);
    g_string_free(run.text, TRUE);
    return run.giving_up ? EXIT_CANNOT : status;
}

/* ---- Start -------------------------------------------------------------------------------- */

/* `user` is an int: 1 once an error was said. */
static void engine_says(void *user, enum palme_log_level level, const char *message)
{
    if (level != PALME_LOG_INFO)
        complain(NULL, "%s", message);
    if (level == PALME_LOG_ERROR)
        *(int *)user = 1;
}

/* The model file to use, or NULL after saying where it was looked for. */
static const char *find_model(const struct settings *settings)
{
    const char *named = g_getenv("PALME_MODEL");

    if (settings->model)
        return settings->model;
    if (named && *named)
        return named;
    if (access(PALME_DEFAULT_MODEL, F_OK) == 0)
        return PALME_DEFAULT_MODEL;
    complain(NULL, "no model: --model is not given, PALME_MODEL is not set, and there is no %s", PALME_DEFAULT_MODEL);
    return NULL;
}

static int run_engine(const struct settings *settings, char **items, int count)
{
    int said = 0;
    struct palme_setup setup = { .threads = settings->threads,
                                 .verify = settings->verify,
                                 .level = settings->level,
                                 .precision = settings->precision,
                                 .log = engine_says,
                                 .log_user = &said };
    struct palme_options options = {
        .beams = settings->beams,
        .max_length = settings->max_length,
        .label_weight = settings->label_weight,
        .log = engine_says,
        .log_user = &said,
    };
    const char *path = find_model(settings);
    palme_model *model = NULL;
    palme_session *session = NULL;
    int status, result = EXIT_CANNOT;

    if (!path)
        return EXIT_CANNOT;
    status = palme_model_open(&model, path, &setup);
    if (status < 0) {
        if (!said)
            complain(path, "cannot use this model: %s", palme_strerror(status));
    } else if ((status = palme_session_open(&session, model, &options)) < 0) {
        complain(NULL, "cannot begin with these options: %s", palme_strerror(status));
    } else {
        result = caption_all(model, session, settings, items, count);
    }
    palme_session_close(&session);
    palme_model_close(&model);
    return result;
}

/* A whole number in a range, or -1 after a complaint. */
static int number_of(const char *option, const char *text, int least, int most)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most) {
        complain(NULL, "--%s takes a whole number from %d to %d, not '%s'", option, least, most, text);
        return -1;
    }
    return (int)value;
}

/* A precision's name, or NULL after a complaint. */
static const char *precision_of(const char *text)
{
    static const char *const names[] = { "auto", "f32", "bf16", "int8" };

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0)
            return names[i];
    complain(NULL, "--precision takes auto, f32, bf16 or int8, not '%s'", text);
    return NULL;
}

/* A weight of labels as the engine has it, where 0 is the model's own; FALSE after a complaint. */
static gboolean weight_of(double *weight, const char *text)
{
    char *end;
    double value = g_ascii_strtod(text, &end);

    if (end == text || *end || !(value >= 0 && value <= 1000)) {
        complain(NULL, "--label-weight takes a number from 0 to 1000, not '%s'", text);
        return FALSE;
    }
    *weight = value > 0 ? value : -1;
    return TRUE;
}

/* FALSE after a complaint. */
static gboolean when_unsure_of(enum when_unsure *when, const char *text)
{
    static const char *const names[] = { "labels", "caption", "silent" };

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *when = (enum when_unsure)i;
            return TRUE;
        }
    complain(NULL, "--when-unsure takes labels, caption or silent, not '%s'", text);
    return FALSE;
}

/* The status of a command that only says something. */
static int print_and_end(const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return EXIT_FINE;
    if (errno == EPIPE)
        return EXIT_FINE;
    complain(NULL, "cannot write: %s", g_strerror(errno));
    return EXIT_CANNOT;
}

/* The options into *s; an exit status, or -1 to go on with what stands behind them. */
static int parse(struct settings *s, int argc, char **argv)
{
    static const struct option options[] = { { "model", required_argument, NULL, 'm' },
                                             { "threads", required_argument, NULL, 't' },
                                             { "beams", required_argument, NULL, 'b' },
                                             { "max-length", required_argument, NULL, 'l' },
                                             { "prompt", required_argument, NULL, 'p' },
                                             { "format", required_argument, NULL, 'f' },
                                             { "every", required_argument, NULL, 'e' },
                                             { "verify", no_argument, NULL, 'v' },
                                             { "cpu", required_argument, NULL, 'c' },
                                             { "help", no_argument, NULL, 'h' },
                                             { "version", no_argument, NULL, 'V' },
                                             { "precision", required_argument, NULL, 'P' },
                                             { "max-pixels", required_argument, NULL, 'M' },
                                             { "labels", no_argument, NULL, 'L' },
                                             { "label-weight", required_argument, NULL, 'W' },
                                             { "when-unsure", required_argument, NULL, 'U' },
                                             { NULL, 0, NULL, 0 } };
    char version[64];
    double seconds;
    guint64 pixels;
    char *end;
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'm': s->model = optarg; break;
        case 'p': s->prompt = optarg; break;
        case 'v': s->verify = 1; break;
        case 'c': s->level = optarg; break;
        case 'P':
            if (!(s->precision = precision_of(optarg)))
                return EXIT_CANNOT;
            break;
        case 't':
            if ((s->threads = number_of("threads", optarg, 0, 256)) < 0)
                return EXIT_CANNOT;
            break;
        case 'b':
            if ((s->beams = number_of("beams", optarg, 0, 16)) < 0)
                return EXIT_CANNOT;
            break;
        case 'l':
            if ((s->max_length = number_of("max-length", optarg, 1, 1024)) < 0)
                return EXIT_CANNOT;
            break;
        case 'f':
            if (strcmp(optarg, "tsv") == 0) {
                s->format = CAPTION_TSV;
            } else if (strcmp(optarg, "text") == 0) {
                s->format = CAPTION_TEXT;
            } else if (strcmp(optarg, "json") == 0) {
                s->format = CAPTION_JSON;
            } else {
                complain(NULL, "--format takes text, tsv or json, not '%s'", optarg);
                return EXIT_CANNOT;
            }
            break;
        case 'e':
            seconds = g_ascii_strtod(optarg, &end);
            if (end == optarg || *end || !(seconds >= 0 && seconds <= 1e6)) {
                complain(NULL, "--every takes seconds from 0 to a million, not '%s'", optarg);
                return EXIT_CANNOT;
            }
            s->every = (guint64)llround(seconds * 1e9);
            break;
        case 'M':
            if (!g_ascii_string_to_unsigned(optarg, 10, 1, G_MAXINT64, &pixels, NULL)) {
                complain(NULL, "--max-pixels takes a whole number from 1, not '%s'", optarg);
                return EXIT_CANNOT;
            }
            s->max_pixels = pixels;
            break;
        case 'L': s->labels = TRUE; break;
        case 'W':
            if (!weight_of(&s->label_weight, optarg))
                return EXIT_CANNOT;
            break;
        case 'U':
            if (!when_unsure_of(&s->when_unsure, optarg))
                return EXIT_CANNOT;
            break;
        case 'h': return print_and_end(help);
        case 'V':
            g_snprintf(version, sizeof version, "palme-caption %s\n", palme_version());
            return print_and_end(version);
        default: fputs("Try palme-caption --help.\n", stderr); return EXIT_CANNOT;
        }
    }
    if (optind == argc) {
        complain(NULL, "no file or URI is given; try palme-caption --help");
        return EXIT_CANNOT;
    }
    return -1;
}

/* Takes the three standard descriptors where they are closed, or the next file that is opened would be
 * written to. FALSE: there is no standard output. Each is opened the wrong way round, so that using it
 * is an error as it would be if it were closed. */
static gboolean reserve_descriptors(void)
{
    gboolean output = fcntl(STDOUT_FILENO, F_GETFD) >= 0;

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_CANNOT);
    return output;
}

int main(int argc, char **argv)
{
    struct settings settings = { .every = GST_SECOND, .max_pixels = CAPTION_MAX_PIXELS };
    GError *error = NULL;
    int status;

    if (!reserve_descriptors()) {
        complain(NULL, "the standard output is closed");
        return EXIT_CANNOT;
    }
    setlocale(LC_CTYPE, "");  /* and no more: numbers keep their point */
    signal(SIGPIPE, SIG_IGN); /* a write that fails says so itself */
    status = parse(&settings, argc, argv);
    if (status >= 0)
        return status;
    if (!gst_init_check(NULL, NULL, &error)) {
        complain(NULL, "GStreamer does not start: %s", error->message);
        g_clear_error(&error);
        return EXIT_CANNOT;
    }
    status = run_engine(&settings, argv + optind, argc - optind);
    gst_deinit();
    return status;
}
