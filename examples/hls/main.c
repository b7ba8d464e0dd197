/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * main.c - palme-hls: captions a video, and writes it as HLS with its captions as a WebVTT rendition.
 *
 *     palme-hls [OPTION...] FOLDER SOURCE     palme-hls --help has the options
 *
 *     SOURCE ! palmecaption ! encoder ! h264parse ! mp4mux (fragments) ! appsink      cut at each key frame
 *                       .text ! appsink
 *
 * mp4mux begins a fragment at each key frame, and key frames are asked for where segments shall begin. A segment is
 * written when its captions are there, too: the text pad says for each frame that there is a caption or a gap.
 */
#include "hls.h"

#include <glib-unix.h>
#include <gst/app/gstappsink.h>
#include <gst/pbutils/pbutils.h>
#include <gst/video/video.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

/* Longer than any segment: mp4mux cuts at key frames, not by this. */
#define FRAGMENT "3600000"

struct piece {
    GstClockTime begin, end; /* running times; end is NONE until the next one begins */
    GByteArray *bytes;       /* moof and mdat; NULL: they have not come yet */
};

struct recorder {
    struct hls *hls;
    GstElement *pipeline;
    GstClockTime segment;  /* how long it should be */
    GMutex lock;           /* of what follows */
    GQueue pieces;         /* of struct piece, which begin at key frames, the oldest one first */
    GByteArray *boxes;     /* what mp4mux has given, but for whole boxes */
    GByteArray *head;      /* ftyp and moov; then moof, until its mdat is there */
    GstClockTime first;    /* running time of the first frame */
    GstClockTime last_end; /* of the last frame */
    GstClockTime text;     /* all captions before this running time are there */
    gboolean has_init, text_ended;
    char *why; /* the first failure */
};

/* ---- Segments are written when they are complete -------------------------------------------------- */

static GstClockTime media_time(const struct recorder *recorder, GstClockTime running)
{
    return running > recorder->first ? running - recorder->first : 0;
}

static void fail(struct recorder *recorder, char *why)
{
    if (recorder->why) {
        g_free(why);
        return;
    }
    recorder->why = why;
    gst_element_post_message(recorder->pipeline, gst_message_new_application(GST_OBJECT(recorder->pipeline),
                                                                             gst_structure_new_empty("failed")));
}

/* The lock is held. */
static void write_complete(struct recorder *recorder)
{
    struct piece *piece;
    char *why = NULL;

    while (!recorder->why && (piece = g_queue_peek_head(&recorder->pieces)) && piece->bytes &&
           GST_CLOCK_TIME_IS_VALID(piece->end) && (recorder->text_ended || recorder->text >= piece->end)) {
        if (!hls_add_segment(recorder->hls, media_time(recorder, piece->begin), media_time(recorder, piece->end),
                             piece->bytes->data, piece->bytes->len, &why))
            fail(recorder, why);
        g_byte_array_unref(piece->bytes);
        g_free(g_queue_pop_head(&recorder->pieces));
    }
}

/* ---- Video -------------------------------------------------------------------------------------- */

static GstClockTime running_time(GstPad *pad, GstClockTime pts)
{
    GstEvent *event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
    const GstSegment *segment;
    GstClockTime time = pts;

    if (!event)
        return pts;
    gst_event_parse_segment(event, &segment);
    time = gst_segment_to_running_time(segment, GST_FORMAT_TIME, pts);
    gst_event_unref(event);
    return time;
}

/* The first frame, before anybody captions or encodes it: media times count from it. */
static GstPadProbeReturn first_passes(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    struct recorder *recorder = user;

    g_mutex_lock(&recorder->lock);
    recorder->first = running_time(pad, GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info)));
    g_mutex_unlock(&recorder->lock);
    return GST_PAD_PROBE_REMOVE;
}

/* An encoded frame goes into mp4mux. At a key frame a segment begins, and the next key frame is ordered. */
static GstPadProbeReturn frame_passes(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    struct recorder *recorder = user;
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(info);
    GstClockTime time = running_time(pad, GST_BUFFER_PTS(buffer));
    GstClockTime next = GST_CLOCK_TIME_NONE;
    struct piece *piece;

    g_mutex_lock(&recorder->lock);
    recorder->last_end = time + (GST_BUFFER_DURATION_IS_VALID(buffer) ? GST_BUFFER_DURATION(buffer) : 0);
    if (!GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT)) {
        piece = g_queue_peek_tail(&recorder->pieces);
        if (piece && !GST_CLOCK_TIME_IS_VALID(piece->end))
            piece->end = time;
        piece = g_new0(struct piece, 1);
        piece->begin = time;
        piece->end = GST_CLOCK_TIME_NONE;
        g_queue_push_tail(&recorder->pieces, piece);
        /* On a grid, so that a frame that comes a little late makes nothing else late. */
        next = recorder->first + ((time - recorder->first) / recorder->segment + 1) * recorder->segment;
    }
    g_mutex_unlock(&recorder->lock);
    if (GST_CLOCK_TIME_IS_VALID(next))
        gst_pad_push_event(pad, gst_video_event_new_upstream_force_key_unit(next, TRUE, 0));
    return GST_PAD_PROBE_OK;
}

static void caps_are_known(struct recorder *recorder, GstCaps *caps)
{
    char *codec = gst_codec_utils_caps_get_mime_codec(caps);
    int width = 0, height = 0;

    gst_structure_get_int(gst_caps_get_structure(caps, 0), "width", &width);
    gst_structure_get_int(gst_caps_get_structure(caps, 0), "height", &height);
    hls_set_video(recorder->hls, codec, width, height);
    g_free(codec);
}

static GstPadProbeReturn event_passes(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    struct recorder *recorder = user;
    GstEvent *event = GST_PAD_PROBE_INFO_EVENT(info);
    GstCaps *caps;

    (void)pad;
    g_mutex_lock(&recorder->lock);
    if (GST_EVENT_TYPE(event) == GST_EVENT_CAPS) {
        gst_event_parse_caps(event, &caps);
        caps_are_known(recorder, caps);
    } else if (GST_EVENT_TYPE(event) == GST_EVENT_EOS) {
        struct piece *piece = g_queue_peek_tail(&recorder->pieces);

        if (piece)
            piece->end = recorder->last_end;
    }
    g_mutex_unlock(&recorder->lock);
    return GST_PAD_PROBE_OK;
}

/* A whole box of mp4mux: what precedes the first moof is the beginning of all segments. The lock is held. */
static void box_arrives(struct recorder *recorder, const guint8 *box, gsize size)
{
    GList *item;
    char *why = NULL;

    if (memcmp(box + 4, "mfra", 4) == 0) /* an index, for files alone */
        return;
    if (memcmp(box + 4, "moof", 4) == 0 && !recorder->has_init) {
        if (!hls_write_init(recorder->hls, recorder->head->data, recorder->head->len, &why))
            fail(recorder, why);
        recorder->has_init = TRUE;
        g_byte_array_set_size(recorder->head, 0);
    }
    g_byte_array_append(recorder->head, box, (guint)size);
    if (memcmp(box + 4, "mdat", 4))
        return;
    for (item = recorder->pieces.head; item; item = item->next) {
        struct piece *piece = item->data;

        if (piece->bytes)
            continue;
        piece->bytes = recorder->head;
        recorder->head = g_byte_array_new();
        return;
    }
    fail(recorder, g_strdup("mp4mux has made a fragment that does not begin with a key frame"));
}

static GstFlowReturn bytes_arrive(GstAppSink *sink, gpointer user)
{
    struct recorder *recorder = user;
    GstSample *sample = gst_app_sink_pull_sample(sink);
    GByteArray *boxes = recorder->boxes;
    GstMapInfo map;
    gsize at = 0;

    if (!sample)
        return GST_FLOW_EOS;
    g_mutex_lock(&recorder->lock);
    if (gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ)) {
        g_byte_array_append(boxes, map.data, (guint)map.size);
        gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
    }
    while (boxes->len - at >= 8) {
        gsize size = GST_READ_UINT32_BE(boxes->data + at);

        if (size < 8) {
            fail(recorder, g_strdup("mp4mux has made a box that is too large"));
            break;
        }
        if (boxes->len - at < size)
            break;
        box_arrives(recorder, boxes->data + at, size);
        at += size;
    }
    g_byte_array_remove_range(boxes, 0, (guint)at);
    write_complete(recorder);
    g_mutex_unlock(&recorder->lock);
    gst_sample_unref(sample);
    return GST_FLOW_OK;
}

static void video_ends(GstAppSink *sink, gpointer user)
{
    struct recorder *recorder = user;

    (void)sink;
    g_mutex_lock(&recorder->lock);
    write_complete(recorder);
    g_mutex_unlock(&recorder->lock);
}

/* ---- Captions ------------------------------------------------------------------------------------- */

/* A caption or a gap: until its end, everything is known. */
static GstPadProbeReturn text_passes(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    struct recorder *recorder = user;
    GstClockTime begin = GST_CLOCK_TIME_NONE, duration = GST_CLOCK_TIME_NONE, end;
    GstBuffer *buffer = NULL;
    GstMapInfo map;

    if (GST_PAD_PROBE_INFO_TYPE(info) & GST_PAD_PROBE_TYPE_BUFFER) {
        buffer = GST_PAD_PROBE_INFO_BUFFER(info);
        begin = GST_BUFFER_PTS(buffer);
        duration = GST_BUFFER_DURATION(buffer);
    } else if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_GAP) {
        gst_event_parse_gap(GST_PAD_PROBE_INFO_EVENT(info), &begin, &duration);
    } else if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_EOS) {
        g_mutex_lock(&recorder->lock);
        recorder->text_ended = TRUE;
        write_complete(recorder);
        g_mutex_unlock(&recorder->lock);
    }
    if (!GST_CLOCK_TIME_IS_VALID(begin))
        return GST_PAD_PROBE_OK;
    begin = running_time(pad, begin);
    end = begin + (GST_CLOCK_TIME_IS_VALID(duration) ? duration : 0);
    g_mutex_lock(&recorder->lock);
    if (buffer && gst_buffer_map(buffer, &map, GST_MAP_READ)) {
        char *text = g_strndup((const char *)map.data, map.size);

        hls_add_cue(recorder->hls, media_time(recorder, begin), media_time(recorder, end), text);
        g_free(text);
        gst_buffer_unmap(buffer, &map);
    }
    recorder->text = MAX(recorder->text, end);
    write_complete(recorder);
    g_mutex_unlock(&recorder->lock);
    return GST_PAD_PROBE_OK;
}

/* ---- The program -------------------------------------------------------------------------------- */

struct options {
    char *model, **words;
    int segment, window, bitrate;
    double interval;
    gboolean live;
};

static gboolean read_options(struct options *options, int *argc, char ***argv)
{
    GOptionEntry entries[] = {
        { "live", 'l', 0, G_OPTION_ARG_NONE, &options->live,
          "A live stream: the playlists have the newest segments alone, and older files are removed", NULL },
        { "window", 'w', 0, G_OPTION_ARG_INT, &options->window, "Segments in the playlists of a live stream (6)", "N" },
        { "segment", 's', 0, G_OPTION_ARG_INT, &options->segment, "Length of a segment (4)", "SECONDS" },
        { "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &options->interval, "Seconds from caption to caption (1)",
          "SECONDS" },
        { "bitrate", 'b', 0, G_OPTION_ARG_INT, &options->bitrate, "Of the video, kbit a second (2000)", "N" },
        { "model", 'm', 0, G_OPTION_ARG_FILENAME, &options->model, "The model (the element's default)", "FILE" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->words, NULL, "FOLDER SOURCE" },
        { NULL, 0, 0, 0, NULL, NULL, NULL }
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    gboolean fine;

    g_option_context_set_summary(context,
                                 "Writes a captioned video into FOLDER as HLS: master.m3u8 and what it names.\n\n"
                                 "SOURCE is a file, or a part of a gst-launch line that gives video, as v4l2src.");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_add_group(context, gst_init_get_option_group());
    fine = g_option_context_parse(context, argc, argv, &error);
    g_option_context_free(context);
    if (!fine)
        fprintf(stderr, "palme-hls: %s\n", error->message);
    else if (!(fine = options->words && g_strv_length(options->words) == 2))
        fprintf(stderr, "palme-hls: a folder and a source are what it takes; try --help\n");
    else if (!(fine = options->segment >= 1 && options->segment <= 60))
        fprintf(stderr, "palme-hls: --segment has to be from 1 to 60\n");
    else if (!(fine = options->window >= 3 && options->window <= 10000))
        fprintf(stderr, "palme-hls: --window has to be from 3 to 10000\n");
    else if (!(fine = options->bitrate >= 16 && options->bitrate <= 100000))
        fprintf(stderr, "palme-hls: --bitrate has to be from 16 to 100000\n");
    else if (!(fine = options->interval >= 0 && options->interval <= 86400))
        fprintf(stderr, "palme-hls: --interval has to be from 0 to 86400\n");
    g_clear_error(&error);
    return fine;
}

/* The encoder's part of the line. Key frames come where they are asked for, and no frame refers to a later one. */
static char *describe_encoder(int bitrate)
{
    static const struct {
        const char *name, *line;
        int scale; /* of the property's unit to kbit a second */
    } encoders[] = {
        { "x264enc",
          "x264enc tune=zerolatency speed-preset=veryfast key-int-max=1000000 option-string=scenecut=0 bitrate=%d", 1 },
        { "openh264enc", "openh264enc gop-size=1000000 scene-change-detection=false bitrate=%d", 1000 },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(encoders); i++) {
        GstElementFactory *factory = gst_element_factory_find(encoders[i].name);

        if (!factory)
            continue;
        gst_object_unref(factory);
        return g_strdup_printf(encoders[i].line, bitrate * encoders[i].scale);
    }
    return NULL;
}

static void add_probe(GstElement *pipeline, const char *name, const char *pad_name, GstPadProbeType type,
                      GstPadProbeCallback callback, struct recorder *recorder)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(pipeline), name);
    GstPad *pad = gst_element_get_static_pad(element, pad_name);

    gst_pad_add_probe(pad, type, callback, recorder, NULL);
    gst_object_unref(pad);
    gst_object_unref(element);
}

static GstElement *new_pipeline(struct recorder *recorder, const struct options *options, char **why)
{
    const char *source = options->words[1];
    gboolean is_file = g_file_test(source, G_FILE_TEST_IS_REGULAR);
    char *encoder = describe_encoder(options->bitrate), *line;
    GstAppSinkCallbacks callbacks = { .new_sample = bytes_arrive, .eos = video_ends };
    GstElement *pipeline, *element;
    GError *error = NULL;

    if (!encoder) {
        *why =
            g_strdup("there is neither x264enc nor openh264enc; Debian has them in gstreamer1.0-plugins-ugly and -bad");
        return NULL;
    }
    line =
        g_strdup_printf("%s ! videoconvert ! videoflip video-direction=auto ! palmecaption name=caption ! "
                        "queue ! videoconvert ! video/x-raw,format=I420 ! %s ! "
                        "h264parse ! video/x-h264,stream-format=avc,alignment=au ! identity name=encoded ! "
                        "mp4mux fragment-duration=" FRAGMENT " ! appsink name=video sync=false "
                        "caption.text ! queue ! fakesink name=text sync=false async=false",
                        is_file ? "uridecodebin name=file expose-all-streams=false caps=video/x-raw" : source, encoder);
    g_free(encoder);
    pipeline = gst_parse_launch_full(line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
    g_free(line);
    if (!pipeline) {
        *why = g_strdup_printf(
            "%s: %s%s", source,
            is_file ? "" : "there is no such file, and as a part of a gst-launch line: ", error->message);
        g_error_free(error);
        return NULL;
    }
    if (is_file) {
        char *path = g_canonicalize_filename(source, NULL);
        char *uri = g_filename_to_uri(path, NULL, NULL);

        element = gst_bin_get_by_name(GST_BIN(pipeline), "file");
        g_object_set(element, "uri", uri, NULL);
        gst_object_unref(element);
        g_free(uri);
        g_free(path);
    }
    element = gst_bin_get_by_name(GST_BIN(pipeline), "caption");
    g_object_set(element, "interval-seconds", options->interval, NULL);
    if (options->model)
        g_object_set(element, "model", options->model, NULL);
    gst_object_unref(element);
    element = gst_bin_get_by_name(GST_BIN(pipeline), "video");
    gst_app_sink_set_callbacks(GST_APP_SINK(element), &callbacks, recorder, NULL);
    gst_object_unref(element);
    add_probe(pipeline, "caption", "sink", GST_PAD_PROBE_TYPE_BUFFER, first_passes, recorder);
    add_probe(pipeline, "encoded", "sink", GST_PAD_PROBE_TYPE_BUFFER, frame_passes, recorder);
    add_probe(pipeline, "encoded", "sink", GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, event_passes, recorder);
    add_probe(pipeline, "text", "sink", GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, text_passes,
              recorder);
    return pipeline;
}

/* Ctrl-C ends the stream properly: what is on its way is still written. */
static gboolean interrupt(gpointer pipeline)
{
    gst_element_send_event(pipeline, gst_event_new_eos());
    return G_SOURCE_CONTINUE;
}

struct run {
    GMainLoop *loop;
    char *why;
};

static gboolean message_arrives(GstBus *bus, GstMessage *message, gpointer user)
{
    struct run *run = user;
    GError *error = NULL;

    (void)bus;
    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
        gst_message_parse_error(message, &error, NULL);
        run->why = g_strdup(error->message);
        g_error_free(error);
        g_main_loop_quit(run->loop);
        return FALSE;
    case GST_MESSAGE_WARNING:
        gst_message_parse_warning(message, &error, NULL);
        fprintf(stderr, "palme-hls: %s\n", error->message);
        g_error_free(error);
        return TRUE;
    case GST_MESSAGE_APPLICATION:
    case GST_MESSAGE_EOS: g_main_loop_quit(run->loop); return FALSE;
    default: return TRUE;
    }
}

/* Plays to the end. NULL, or what went wrong. */
static char *record(struct recorder *recorder)
{
    struct run run = { g_main_loop_new(NULL, FALSE), NULL };
    GstBus *bus = gst_element_get_bus(recorder->pipeline);
    guint signals[2], i;

    gst_bus_add_watch(bus, message_arrives, &run);
    signals[0] = g_unix_signal_add(SIGINT, interrupt, recorder->pipeline);
    signals[1] = g_unix_signal_add(SIGTERM, interrupt, recorder->pipeline);
    gst_element_set_state(recorder->pipeline, GST_STATE_PLAYING);
    g_main_loop_run(run.loop);
    gst_element_set_state(recorder->pipeline, GST_STATE_NULL);
    for (i = 0; i < G_N_ELEMENTS(signals); i++)
        g_source_remove(signals[i]);
    gst_bus_remove_watch(bus);
    gst_object_unref(bus);
    g_main_loop_unref(run.loop);
    if (!run.why)
        run.why = g_steal_pointer(&recorder->why);
    /* What could be written is a stream of its own, also when the source was torn off. */
    if (!hls_end(recorder->hls, run.why ? &recorder->why : &run.why))
        g_clear_pointer(&recorder->why, g_free);
    return run.why;
}

int main(int argc, char **argv)
{
    struct options options = { .segment = 4, .window = 6, .bitrate = 2000, .interval = 1 };
    struct recorder recorder = { .first = GST_CLOCK_TIME_NONE };
    struct piece *piece;
    char *why = NULL;

    setlocale(LC_ALL, "");
    if (!read_options(&options, &argc, &argv))
        return 2;
    g_mutex_init(&recorder.lock);
    recorder.segment = (GstClockTime)options.segment * GST_SECOND;
    recorder.boxes = g_byte_array_new();
    recorder.head = g_byte_array_new();
    recorder.hls = hls_new(
        &(struct hls_options){ options.words[0], (guint)options.segment, options.live ? (guint)options.window : 0 },
        &why);
    if (recorder.hls)
        recorder.pipeline = new_pipeline(&recorder, &options, &why);
    if (recorder.pipeline) {
        why = record(&recorder);
        gst_object_unref(recorder.pipeline);
    }
    if (why)
        fprintf(stderr, "palme-hls: %s\n", why);
    while ((piece = g_queue_pop_head(&recorder.pieces))) {
        g_clear_pointer(&piece->bytes, g_byte_array_unref);
        g_free(piece);
    }
    hls_free(recorder.hls);
    g_byte_array_unref(recorder.boxes);
    g_byte_array_unref(recorder.head);
    g_mutex_clear(&recorder.lock);
    g_strfreev(options.words);
    g_free(options.model);
    if (!why)
        return 0;
    g_free(why);
    return 1;
}
