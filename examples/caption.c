/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * caption.c - the command palme-caption: photos and videos in, a line a picture out.
 *
 * It is the engine's public header and GStreamer's decoders, joined; the element palmecaption is not
 * used. Lines go to the standard output as they are ready, everything else to the standard error.
 */
#include "captionsource.h"
#include "captiontext.h"
#include "gstpalmesanitize.h"
#include "palme.h"

#include <errno.h>
#include <getopt.h>
#include <gst/gst.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The exit status. */
enum { EXIT_FINE = 0, EXIT_SOME_FAILED = 1, EXIT_CANNOT = 2 };

struct settings {
    const char *model, *prompt, *level, *precision;
    int threads, beams, max_length, verify;
    enum caption_format format;
    guint64 every;
};

/* What a frame's receiver needs. */
struct run {
    const struct settings *settings;
    palme_session *session;
    const char *item;
    int number, total;
    gboolean progress;
    GString *line, *text;
    char *why;        /* an engine that failed on a picture */
    gboolean giving_up; /* nothing further can succeed */
};

static const char help[] =
    "Usage: palme-caption [OPTION]... FILE|URI...\n"
    "Says what is seen in photos and videos, one line a picture.\n"
    "\n"
    "  --model FILE       the model file; else $PALME_MODEL, else the installed one\n"
    "  --threads N        compute threads; 0, the default: as many as there are processors\n"
    "  --cpu LEVEL        instruction set: c, neon, dotprod, avx2, avxvnni, avx512, vnni, bf16; default: the best\n"
    "  --precision P      what the weights are kept and computed in: f32, bf16, int8; auto, the\n"
    "                     default: the fastest in which the model's captions are as good\n"
    "  --beams N          sentences followed at a time, 1 to 16; 0, the default: the model's\n"
    "  --max-length N     most tokens of a caption, 1 to 1024; default 32\n"
    "  --prompt TEXT      words to go on from; the caption is what follows them\n"
    "  --format FORMAT    tsv (default): name, tab, caption; a frame of a video is called\n"
    "                     name@h:mm:ss.mmm. text: captions alone. json: an object a line\n"
    "                     with source, time (ns; null for a photo), caption and score\n"
    "  --every SECONDS    time between a video's captions, default 1; 0: every frame\n"
    "  --verify           check the model file's sha256 before use\n"
    "  --help, --version\n"
    "\n"
    "Any format that GStreamer decodes is read. Pictures are turned upright where the file\n"
    "says which side is up. Exit status: 0 if all went well, 1 if an input failed (the others\n"
    "are done), 2 if nothing could be done.\n";

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
    name = gst_palme_sanitize(what ? what : "", what ? strlen(what) : 0);
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
    name = gst_palme_sanitize(run->item, strlen(run->item));
    if (g_utf8_strlen(name, -1) > 48) /* a line that wraps cannot be wiped */
        *g_utf8_offset_to_pointer(name, 48) = '\0';
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
    struct palme_image image = { .format = PALME_FORMAT_RGB,
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
            run->why = g_strdup_printf("no caption for a picture of %d x %d: %s", frame->width,
                                       frame->height, palme_strerror(status));
        return FALSE;
    }
    g_string_truncate(run->line, 0);
    caption_append_result(run->line, run->settings->format, run->item, frame->time, run->text->str,
                          palme_caption_score(run->session));
    progress_wipe(run);
    if (fwrite(run->line->str, 1, run->line->len, stdout) != run->line->len ||
        fflush(stdout) != 0) {
        /* A reader that went away, as `head` does, is no fault that needs words. */
        if (errno != EPIPE)
            complain(NULL, "cannot write: %s", g_strerror(errno));
        run->giving_up = TRUE;
        return FALSE;
    }
    return TRUE;
}

/* All inputs, in order; the exit status. */
static int caption_all(palme_session *session, const struct settings *settings, char **items,
                       int count)
{
    struct run run = { .settings = settings,
                       .session = session,
                       .total = count,
                       .progress = count > 1 && isatty(STDERR_FILENO),
                       .line = g_string_new(NULL),
                       .text = g_string_new(NULL) };
    int status = EXIT_FINE;
    char *why;

    for (int i = 0; i < count && !run.giving_up; i++) {
        run.item = items[i];
        run.number = i + 1;
        progress_show(&run, -1);
        if (!caption_source_read(items[i], settings->every, receive, &run, &why) || run.why) {
            progress_wipe(&run);
            complain(items[i], "%s", run.why ? run.why : why);
            status = EXIT_SOME_FAILED;
        }
        g_free(why);
        g_clear_pointer(&run.why, g_free);
    }
    progress_wipe(&run);
    g_string_free(run.line, TRUE);
    g_string_free(run.text, TRUE);
    return run.giving_up ? EXIT_CANNOT : status;
}

/* ---- Start -------------------------------------------------------------------------------- */

static void engine_says(void *user, enum palme_log_level level, const char *message)
{
    (void)user;
    if (level != PALME_LOG_INFO)
        complain(NULL, "%s", message);
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
    complain(NULL, "no model: --model is not given, PALME_MODEL is not set, and there is no %s",
             PALME_DEFAULT_MODEL);
    return NULL;
}

static int run_engine(const struct settings *settings, char **items, int count)
{
    struct palme_setup setup = { .threads = settings->threads,
                                 .verify = settings->verify,
                                 .level = settings->level,
                                 .precision = settings->precision,
                                 .log = engine_says };
    struct palme_options options = { .beams = settings->beams, .max_length = settings->max_length };
    const char *path = find_model(settings);
    palme_model *model = NULL;
    palme_session *session = NULL;
    int status, result = EXIT_CANNOT;

    if (!path)
        return EXIT_CANNOT;
    status = palme_model_open(&model, path, &setup);
    if (status < 0) {
        complain(path, "cannot use this model: %s", palme_strerror(status));
    } else if ((status = palme_session_open(&session, model, &options)) < 0) {
        complain(NULL, "cannot begin with these options: %s", palme_strerror(status));
    } else {
        result = caption_all(session, settings, items, count);
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

/* The options into *s; an exit status, or -1 to go on with what stands behind them. */
static int parse(struct settings *s, int argc, char **argv)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },   { "threads", required_argument, NULL, 't' },
        { "beams", required_argument, NULL, 'b' },   { "max-length", required_argument, NULL, 'l' },
        { "prompt", required_argument, NULL, 'p' },  { "format", required_argument, NULL, 'f' },
        { "every", required_argument, NULL, 'e' },   { "verify", no_argument, NULL, 'v' },
        { "cpu", required_argument, NULL, 'c' },     { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { "precision", required_argument, NULL, 'P' },
        { NULL, 0, NULL, 0 }
    };
    double seconds;
    char *end;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'm': s->model = optarg; break;
        case 'p': s->prompt = optarg; break;
        case 'v': s->verify = 1; break;
        case 'c': s->level = optarg; break;
        case 'P':
            if (strcmp(optarg, "auto") != 0 && strcmp(optarg, "f32") != 0 && strcmp(optarg, "bf16") != 0 &&
                strcmp(optarg, "int8") != 0) {
                complain(NULL, "--precision takes auto, f32, bf16 or int8, not '%s'", optarg);
                return EXIT_CANNOT;
            }
            s->precision = optarg;
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
        case 'h':
            return fputs(help, stdout) < 0 || fflush(stdout) ? EXIT_CANNOT : EXIT_FINE;
        case 'V':
            return printf("palme-caption %s\n", palme_version()) < 0 || fflush(stdout)
                       ? EXIT_CANNOT
                       : EXIT_FINE;
        default:
            fputs("Try palme-caption --help.\n", stderr);
            return EXIT_CANNOT;
        }
    }
    if (optind == argc) {
        complain(NULL, "no file or URI is given; try palme-caption --help");
        return EXIT_CANNOT;
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct settings settings = { .every = GST_SECOND };
    GError *error = NULL;
    int status;

    setlocale(LC_CTYPE, ""); /* and no more: numbers keep their point */
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
