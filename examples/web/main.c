/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * main.c - palme-web: a page that shows cameras and files with their captions, as they come.
 *
 *     palme-web [OPTION...] SOURCE...          palme-web --help has the options, README.md all the rest
 */
#include "http.h"
#include "live.h"

#include <glib-unix.h>
#include <locale.h>
#include <stdio.h>
#include <unistd.h>

/* How long a source may take to end. */
#define END_SECONDS 5

struct options {
    char *listen, *model, *models, **names, **sources;
    int port, history, pictures, rate, width, viewers;
    gboolean token, once;
    double interval;
};

static gboolean quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

static gboolean between(const char *name, int value, int least, int most)
{
    if (value >= least && value <= most)
        return TRUE;
    fprintf(stderr, "palme-web: --%s has to be from %d to %d\n", name, least, most);
    return FALSE;
}

static gboolean read_options(struct options *options, int *argc, char ***argv)
{
    GOptionEntry entries[] = {
        { "listen", 'l', 0, G_OPTION_ARG_STRING, &options->listen,
          "Where to listen: an address of this machine, 0.0.0.0 or :: for all (localhost). Other machines need the "
          "token "
          "that is printed with the address",
          "ADDRESS" },
        { "port", 'p', 0, G_OPTION_ARG_INT, &options->port, "The port; 0 is a free one (8080)", "PORT" },
        { "name", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->names,
          "Another name by which browsers call this machine, as behind a proxy; may be repeated", "NAME" },
        { "token", 0, 0, G_OPTION_ARG_NONE, &options->token, "Ask for a token on this machine, too: it has other users",
          NULL },
        { "model", 'm', 0, G_OPTION_ARG_FILENAME, &options->model, "The model (the element's default)", "FILE" },
        { "models", 0, 0, G_OPTION_ARG_FILENAME, &options->models,
          "A folder; viewers may choose between the .safetensors files in it", "FOLDER" },
        { "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &options->interval, "Seconds from caption to caption (1)",
          "SECONDS" },
        { "once", 0, 0, G_OPTION_ARG_NONE, &options->once, "Play files once, not again and again", NULL },
        { "rate", 0, 0, G_OPTION_ARG_INT, &options->rate, "Pictures a second, at most (12)", "N" },
        { "width", 0, 0, G_OPTION_ARG_INT, &options->width, "Width and height of the pictures, at most (960)",
          "PIXELS" },
        { "history", 0, 0, G_OPTION_ARG_INT, &options->history, "Captions that are kept (20000)", "N" },
        { "pictures", 0, 0, G_OPTION_ARG_INT, &options->pictures, "Memory for their pictures (64)", "MB" },
        { "viewers", 0, 0, G_OPTION_ARG_INT, &options->viewers, "Viewers at a time (100)", "N" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->sources, NULL, "SOURCE..." },
        { NULL, 0, 0, 0, NULL, NULL, NULL }
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    gboolean fine;

    g_option_context_set_summary(
        context, "Serves a page that shows video with its captions.\n\nA SOURCE is a file; an address, "
                 "as rtsp://host/path; camera or camera:/dev/video1;\ntest, a test picture; or pipeline:... "
                 "with a part of a gst-launch line.\nNAME=SOURCE gives it a name.");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_add_group(context, gst_init_get_option_group());
    fine = g_option_context_parse(context, argc, argv, &error);
    g_option_context_free(context);
    if (!fine) {
        fprintf(stderr, "palme-web: %s\n", error->message);
        g_error_free(error);
        return FALSE;
    }
    if (!options->sources || g_strv_length(options->sources) > WEB_SOURCES) {
        fprintf(stderr, options->sources ? "palme-web: at most %d sources\n" : "palme-web: which source? Try --help\n",
                WEB_SOURCES);
        return FALSE;
    }
    if (options->models && !g_file_test(options->models, G_FILE_TEST_IS_DIR)) {
        fprintf(stderr, "palme-web: --models %s: is no folder\n", options->models);
        return FALSE;
    }
    if (!(options->interval >= 0 && options->interval <= 86400)) {
        fprintf(stderr, "palme-web: --interval has to be from 0 to 86400\n");
        return FALSE;
    }
    return between("port", options->port, 0, 65535) && between("history", options->history, 1, 1000000) &&
           between("pictures", options->pictures, 0, 16384) && between("rate", options->rate, 1, 60) &&
           between("width", options->width, 64, 4096) && between("viewers", options->viewers, 1, 400);
}

static gboolean make_sources(struct web *web, const struct options *options)
{
    struct web_source_options source = { .rate = (guint)options->rate,
                                         .width = (guint)options->width,
                                         .height = (guint)options->width,
                                         .once = options->once,
                                         .model = options->model,
                                         .history = web->history,
                                         .changed = web_live_changed,
                                         .user = web->live };
    JsonNode *interval = json_node_alloc();
    gboolean fine = web_settings_init(&source.settings);
    char *why = NULL;

    if (!fine) {
        fprintf(stderr,
                "palme-web: GStreamer does not find the element palmecaption; GST_PLUGIN_PATH may name its folder\n");
        json_node_free(interval);
        return FALSE;
    }
    json_node_init_double(interval, options->interval);
    fine = web_settings_set(&source.settings, "interval", interval, &why);
    json_node_free(interval);
    for (; fine && options->sources[web->count]; web->count++) {
        source.spec = options->sources[web->count];
        source.number = web->count;
        web->sources[web->count] = web_source_new(&source, &why);
        if (!web->sources[web->count]) {
            fine = FALSE;
            break;
        }
    }
    if (!fine)
        fprintf(stderr, "palme-web: %s\n", why);
    g_free(why);
    web_settings_clear(&source.settings);
    return fine;
}

static int run(struct web *web, const struct options *options)
{
    struct web_http_options http = { .listen = options->listen ? options->listen : "localhost",
                                     .port = (guint)options->port,
                                     .names = options->names,
                                     .token = options->token,
                                     .most_connections = 2 * (guint)options->viewers + 56 };
    GMainLoop *loop;
    char *why = NULL, *address;
    guint i, term, interrupt;

    if (!web_http_start(web, &http, &why)) {
        fprintf(stderr, "palme-web: %s\n", why);
        g_free(why);
        return 1;
    }
    loop = g_main_loop_new(NULL, FALSE);
    interrupt = g_unix_signal_add(SIGINT, quit, loop);
    term = g_unix_signal_add(SIGTERM, quit, loop);
    for (i = 0; i < web->count; i++)
        web_source_start(web->sources[i]);
    address = web_http_address(web);
    printf("%s\n", address);
    fflush(stdout);
    g_free(address);
    g_main_loop_run(loop);
    g_source_remove(interrupt);
    g_source_remove(term);
    g_main_loop_unref(loop);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {
        .port = 8080, .history = 20000, .pictures = 64, .rate = 12, .width = 960, .viewers = 100, .interval = 1
    };
    struct web web = { .began = g_get_real_time() };
    gboolean ended = TRUE;
    int status = 1;
    guint i;

    setlocale(LC_ALL, "");
    if (!read_options(&options, &argc, &argv))
        return 2;
    web.models = options.models;
    web.most_viewers = (guint)options.viewers;
    web.history = web_history_new((guint)options.history, (gsize)options.pictures << 20);
    web.live = web_live_new(&web);
    if (make_sources(&web, &options))
        status = run(&web, &options);
    for (i = 0; i < web.count; i++)
        web_source_stop(web.sources[i]);
    for (i = 0; i < web.count; i++)
        ended &= web_source_free(web.sources[i], END_SECONDS);
    /* A thread that hangs in a driver may still use what is below: the process ends without freeing it. */
    if (!ended)
        _exit(status);
    web_http_stop(&web);
    web_live_free(web.live);
    web_history_free(web.history);
    g_strfreev(options.sources);
    g_strfreev(options.names);
    g_free(options.listen);
    g_free(options.model);
    g_free(options.models);
    return status;
}
