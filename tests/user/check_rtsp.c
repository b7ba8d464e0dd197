/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_rtsp.c - the example of an RTSP server, with GStreamer's client and one that stops reading.
 *
 *     check_rtsp RTSP-SERVER FOLDER       FOLDER is made, for a model of the stand-in engine and the pictures
 *
 * The picture is black and white by turns, two seconds each, and the captions say which. The client gets both tracks,
 * and each caption has to be what its picture was when it was made.
 */
#include <gio/gio.h>
#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int checks, failures;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        checks++;                                                                                                      \
        if (!(condition)) {                                                                                            \
            failures++;                                                                                                \
            printf("%s:%d: FAILED: ", __FILE__, __LINE__);                                                             \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

enum { CUES = 40, WAIT = 60 /* seconds, against hanging */ };

enum { SIDE = 16, RATE = 20, PHASE = 2 * RATE /* frames of a colour */, MINUTES = 5 };

/* How old the picture of a cue is: an interval and a slice; and on a machine that is busy for a while. */
#define IN_TIME (550 * GST_MSECOND)
#define LATEST (1900 * GST_MSECOND)

static const char properties[] = "mode=async interval-seconds=0.25 cue-duration-seconds=0.25 scene-threshold=0 "
                                 "switch-margin=0 caption-hold-seconds=0 model=";

typedef struct {
    GstClockTime pts;
    gboolean white;
} Seen;

/* The model, and the frames of five minutes, in a folder. To be freed: a source that plays them as fast as a camera. */
static char *source_new(const char *folder)
{
    char *model = g_build_filename(folder, "model.standin", NULL);
    char *frames = g_build_filename(folder, "frames.gray", NULL);
    char *pixels = g_malloc((gsize)MINUTES * 60 * RATE * SIDE * SIDE);

    g_mkdir_with_parents(folder, 0700);
    g_file_set_contents(model, "standin\ntext=luma {luma}\n", -1, NULL);
    for (int i = 0; i < MINUTES * 60 * RATE; i++)
        memset(pixels + i * SIDE * SIDE, i / PHASE % 2 ? 255 : 0, SIDE * SIDE);
    g_file_set_contents(frames, pixels, (gssize)MINUTES * 60 * RATE * SIDE * SIDE, NULL);
    char *source =
        g_strdup_printf("filesrc location=\"%s\" ! rawvideoparse format=gray8 width=%d height=%d framerate=%d/1 ! "
                        "clocksync",
                        frames, SIDE, SIDE, RATE);
    g_free(pixels);
    g_free(frames);
    g_free(model);
    return source;
}

/* What the server prints first, or NULL. */
static char *address_of(int fd)
{
    GString *line = g_string_new(NULL);
    char c;

    while (read(fd, &c, 1) == 1 && c != '\n')
        g_string_append_c(line, c);
    return g_string_free(line, FALSE);
}

/* NULL when nothing came in time. */
static GstSample *pull(GstElement *pipeline, const char *name)
{
    GstElement *sink = gst_bin_get_by_name(GST_BIN(pipeline), name);
    GstSample *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), WAIT * GST_SECOND);

    gst_object_unref(sink);
    return sample;
}

static Seen seen(GstSample *sample, gboolean text)
{
    GstBuffer *buffer = gst_sample_get_buffer(sample);
    Seen s = { GST_BUFFER_PTS(buffer), FALSE };
    GstMapInfo map;

    if (gst_buffer_map(buffer, &map, GST_MAP_READ)) {
        s.white = text ? map.size >= 8 && memcmp(map.data, "luma 2", 6) == 0 : map.data[0] > 128;
        gst_buffer_unmap(buffer, &map);
    }
    gst_sample_unref(sample);
    return s;
}

/* TRUE if a frame of this colour was shown with the cue, or up to `before` earlier, when its picture was taken. */
static gboolean was_shown(GArray *frames, Seen cue, GstClockTime before)
{
    for (guint i = 0; i < frames->len; i++) {
        Seen frame = g_array_index(frames, Seen, i);
        if (frame.pts <= cue.pts + 50 * GST_MSECOND && frame.pts + before >= cue.pts && frame.white == cue.white)
            return TRUE;
    }
    return FALSE;
}

static void client_reads(const char *address)
{
    char *line =
        g_strdup_printf("rtspsrc location=%s protocols=tcp latency=200 name=s "
                        "s. ! application/x-rtp,media=application ! rtpgstdepay ! appsink name=text sync=false "
                        "s. ! application/x-rtp,media=video ! rtpvp8depay ! vp8dec ! videoconvert ! "
                        "video/x-raw,format=I420 ! appsink name=video sync=false",
                        address);
    GstElement *pipeline = gst_parse_launch(line, NULL);
    GArray *frames = g_array_new(FALSE, FALSE, sizeof(Seen));
    GArray *cues = g_array_new(FALSE, FALSE, sizeof(Seen));
    GstSample *sample = NULL;

    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    while (cues->len < CUES && (sample = pull(pipeline, "text"))) {
        Seen cue = seen(sample, TRUE);
        g_array_append_val(cues, cue);
    }
    CHECK(cues->len == CUES, "the client got %u captions of %d", cues->len, CUES);
    GstClockTime last = cues->len ? g_array_index(cues, Seen, cues->len - 1).pts : 0;
    while ((sample = pull(pipeline, "video"))) {
        Seen frame = seen(sample, FALSE);
        g_array_append_val(frames, frame);
        if (frame.pts >= last)
            break;
    }
    CHECK(frames->len > 20, "the client got %u frames", frames->len);
    /* The video begins with a key frame, so the first captions may have no picture here. */
    GstClockTime first = frames->len ? g_array_index(frames, Seen, 0).pts : 0;
    int compared = 0, right = 0, shown = 0, white = 0;
    for (guint i = 0; i < cues->len; i++) {
        Seen cue = g_array_index(cues, Seen, i);
        if (cue.pts < first + LATEST)
            continue;
        compared++;
        right += was_shown(frames, cue, IN_TIME);
        shown += was_shown(frames, cue, LATEST);
        white += cue.white;
    }
    CHECK(compared >= CUES / 2, "%d captions have their pictures", compared);
    CHECK(shown == compared, "%d of %d captions are of what was shown at last", shown, compared);
    CHECK(4 * right >= 3 * compared, "%d of %d captions are what was shown", right, compared);
    CHECK(white > 0 && white < compared, "%d of %d captions say white", white, compared);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pipeline);
    g_array_unref(frames);
    g_array_unref(cues);
    g_free(line);
}

/* Plays both tracks over the connection, and reads nothing after the answers. NULL if the server refuses. */
static GSocketConnection *client_stalls(const char *address)
{
    GSocketClient *client = g_socket_client_new();
    char **parts = g_strsplit_set(address, ":/", -1); /* rtsp, "", "", host, port, path */
    GSocketConnection *connection =
        g_strv_length(parts) == 6
            ? g_socket_client_connect_to_host(client, parts[3], (guint16)atoi(parts[4]), NULL, NULL)
            : NULL;
    char *session = NULL;

    for (int step = 0; connection && step < 4; step++) {
        static const char *const verbs[] = { "DESCRIBE", "SETUP", "SETUP", "PLAY" };
        static const char *const tails[] = { "", "/stream=0", "/stream=1", "" };
        char *request =
            g_strdup_printf("%s %s%s RTSP/1.0\r\nCSeq: %d\r\n%s%s%s", verbs[step], address, tails[step], step + 1,
                            session ? "Session: " : "", session ? session : "", session ? "\r\n" : "");
        char *transport =
            step == 1 || step == 2
                ? g_strdup_printf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2 * step - 2, 2 * step - 1)
                : g_strdup("");
        char *all = g_strconcat(request, transport, "\r\n", NULL);
        char answer[8192] = "";
        GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
        GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
        gsize length = 0;
        g_output_stream_write_all(out, all, strlen(all), NULL, NULL, NULL);
        while (length < sizeof(answer) - 1 && !strstr(answer, "\r\n\r\n") &&
               g_input_stream_read(in, answer + length, 1, NULL, NULL) == 1)
            answer[++length] = '\0';
        CHECK(g_str_has_prefix(answer, "RTSP/1.0 200"), "%s is answered by %.60s", verbs[step], answer);
        const char *header = strstr(answer, "Content-Length: ");
        for (int rest = header ? atoi(header + 16) : 0; rest > 0; rest--)
            g_input_stream_read(in, answer, 1, NULL, NULL);
        header = strstr(answer, "Session: ");
        if (header && !session)
            session = g_strndup(header + 9, strcspn(header + 9, ";\r"));
        g_free(request);
        g_free(transport);
        g_free(all);
    }
    g_free(session);
    g_strfreev(parts);
    g_object_unref(client);
    return connection;
}

int main(int argc, char **argv)
{
    char *caption = g_strdup_printf("%s%s/model.standin", properties, argv[2]), *source = source_new(argv[2]);
    char port[] = "--port=0", codec[] = "--codec=vp8", option[] = "--caption";
    char *command[] = { argv[1], port, codec, option, caption, source, NULL };
    GPid pid = 0;
    int out = -1, status = 0;
    GError *error = NULL;

    gst_init(&argc, &argv);
    signal(SIGPIPE, SIG_IGN);
    for (const char *const *name =
             (const char *const[]){ "rtspsrc", "rtpgstdepay", "rtpvp8depay", "vp8enc", "vp8dec", NULL };
         *name; name++)
        if (!gst_registry_check_feature_version(gst_registry_get(), *name, 1, 0, 0)) {
            printf("no GStreamer element %s here: skipped\n", *name);
            return 77;
        }
    if (!g_spawn_async_with_pipes(NULL, command, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL, &out, NULL,
                                  &error)) {
        printf("%s\n", error->message);
        return 1;
    }
    char *address = address_of(out);
    CHECK(g_str_has_prefix(address, "rtsp://127.0.0.1:"), "the server says %s", address);
    if (!failures) {
        GSocketConnection *stalled = client_stalls(address);
        CHECK(stalled != NULL, "a second client is served");
        client_reads(address);
        client_reads(address); /* who comes later */
        g_clear_object(&stalled);
    }
    CHECK(waitpid(pid, &status, WNOHANG) == 0, "the server still runs");
    kill(pid, SIGTERM);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, "the server ends well");
    g_spawn_close_pid(pid);
    close(out);
    g_free(caption);
    g_free(source);
    g_free(address);
    printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}
