/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_cameras.c - many live streams in one process: how evenly their frames arrive, how often each is captioned,
 * and what that costs. bench_live.py runs it in turn with palmecaption and, as the control, with identity.
 *
 *     bench_cameras [--streams N] [--seconds S] [--warmup S] [--width W] [--height H] [--rate R]
 *                   ELEMENT [NAME=VALUE...]
 *
 * Each stream is a pipeline of its own: videotestsrc ! ELEMENT ! fakesink, live and synchronised. The last line is
 * JSON: gaps between frames of all streams (ms), captions per stream in the measured time, the longest time that a
 * stream was without a new one (s), how old captions were when they were complete (ms, from the first frame on; the
 * p99 is that of the worst stream), CPU time (s per s), the process's PSS (KiB).
 */
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct stream {
    GstElement *pipeline, *element;
    gint64 *times; /* us, of frames; the sink's thread writes */
    int frames, most;
    gint64 caption; /* us, of the last one; the thread that posts writes */
    gint64 longest; /* us */
    int captions;
};

static struct {
    int streams, seconds, warmup, width, height, rate;
} wanted = { 16, 20, 3, 640, 360, 30 };

static gint measuring; /* atomic */
static gint64 started;

static void note_frame(GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
    struct stream *stream = data;

    (void)sink, (void)buffer, (void)pad;
    if (g_atomic_int_get(&measuring) && stream->frames < stream->most)
        stream->times[stream->frames++] = g_get_monotonic_time();
}

static GstBusSyncReply note_message(GstBus *bus, GstMessage *message, gpointer data)
{
    const GstStructure *structure = gst_message_get_structure(message);
    struct stream *stream = data;

    (void)bus;
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR || GST_MESSAGE_TYPE(message) == GST_MESSAGE_WARNING) {
        GError *error;

        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
            gst_message_parse_error(message, &error, NULL);
        else
            gst_message_parse_warning(message, &error, NULL);
        fprintf(stderr, "bench_cameras: %s\n", error->message);
        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
            exit(1);
        g_error_free(error);
    } else if (structure && gst_structure_has_name(structure, "palmecaption") && g_atomic_int_get(&measuring)) {
        gint64 now = g_get_monotonic_time();

        stream->longest = MAX(stream->longest, now - MAX(stream->caption, started));
        stream->caption = now;
        stream->captions++;
    }
    gst_message_unref(message);
    return GST_BUS_DROP;
}

static void start(struct stream *stream, const char *element, char **properties)
{
    GError *error = NULL;
    GstBus *bus;
    GstElement *sink;
    char *line;

    stream->most = (wanted.seconds + 10) * wanted.rate * 2;
    stream->times = g_new0(gint64, stream->most);
    line = g_strdup_printf("videotestsrc is-live=true ! video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1 ! "
                           "%s name=e ! fakesink name=s sync=true signal-handoffs=true",
                           wanted.width, wanted.height, wanted.rate, element);
    stream->pipeline = gst_parse_launch(line, &error);
    g_free(line);
    if (!stream->pipeline || error) {
        fprintf(stderr, "bench_cameras: %s\n", error->message);
        exit(1);
    }
    stream->element = gst_bin_get_by_name(GST_BIN(stream->pipeline), "e");
    for (; *properties; properties++) {
        char **pair = g_strsplit(*properties, "=", 2);

        gst_util_set_object_arg(G_OBJECT(stream->element), pair[0], pair[1]);
        g_strfreev(pair);
    }
    sink = gst_bin_get_by_name(GST_BIN(stream->pipeline), "s");
    g_signal_connect(sink, "handoff", G_CALLBACK(note_frame), stream);
    gst_object_unref(sink);
    bus = gst_element_get_bus(stream->pipeline);
    gst_bus_set_sync_handler(bus, note_message, stream, NULL);
    gst_object_unref(bus);
    gst_element_set_state(stream->pipeline, GST_STATE_PLAYING);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static long pss(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long kib = -1;

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %ld", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

/* The statistics of the element; the control has none. */
static void read_ages(const struct stream *streams, double *mean, double *p99)
{
    int i;

    *mean = *p99 = 0.0;
    for (i = 0; i < wanted.streams; i++) {
        guint64 one_mean = 0, one_p99 = 0;
        GstStructure *stats;

        if (!g_object_class_find_property(G_OBJECT_GET_CLASS(streams[i].element), "model-info"))
            return;
        g_object_get(streams[i].element, "stats", &stats, NULL);
        gst_structure_get(stats, "latency-mean", G_TYPE_UINT64, &one_mean, "latency-p99", G_TYPE_UINT64, &one_p99,
                          NULL);
        gst_structure_free(stats);
        *mean += one_mean / 1e6 / wanted.streams;
        *p99 = MAX(*p99, one_p99 / 1e6);
    }
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The gaps of all streams, in milliseconds, sorted. */
static double *gaps_of(const struct stream *streams, int *count)
{
    double *gaps = NULL;
    int i, n;

    *count = 0;
    for (i = 0; i < wanted.streams; i++)
        *count += MAX(streams[i].frames - 1, 0);
    gaps = g_new0(double, *count + 1);
    *count = 0;
    for (i = 0; i < wanted.streams; i++)
        for (n = 1; n < streams[i].frames; n++)
            gaps[(*count)++] = (streams[i].times[n] - streams[i].times[n - 1]) / 1e3;
    qsort(gaps, *count, sizeof *gaps, compare);
    return gaps;
}

static void report(struct stream *streams, double seconds, double cpu, long kib, gint64 end)
{
    int i, count, least = G_MAXINT, captions = G_MAXINT, all = 0;
    double mean = 0.0, longest = 0.0, age, age_p99;
    double *gaps = gaps_of(streams, &count);

    if (count == 0) {
        fprintf(stderr, "bench_cameras: no frames\n");
        exit(1);
    }
    for (i = 0; i < count; i++)
        mean += gaps[i] / count;
    for (i = 0; i < wanted.streams; i++) {
        least = MIN(least, streams[i].frames);
        captions = MIN(captions, streams[i].captions);
        all += streams[i].captions;
        longest =
            MAX(longest, MAX(streams[i].longest, end - (streams[i].captions ? streams[i].caption : started)) / 1e6);
    }
    read_ages(streams, &age, &age_p99);
    printf("{\"streams\": %d, \"seconds\": %.2f, \"mean\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f, "
           "\"fps\": %.2f, \"captions\": %.2f, \"least_captions\": %d, \"longest\": %.2f, \"age\": %.1f, "
           "\"age_p99\": %.1f, \"cpu\": %.3f, \"pss\": %ld}\n",
           wanted.streams, seconds, mean, gaps[(int)(count * 0.99)], gaps[(int)(count * 0.999)], gaps[count - 1],
           least / seconds, (double)all / wanted.streams, captions, longest, age, age_p99, cpu / seconds, kib);
    g_free(gaps);
}

static int *option(const char *name)
{
    static const struct {
        const char *name;
        int *value;
    } options[] = { { "--streams", &wanted.streams }, { "--seconds", &wanted.seconds }, { "--warmup", &wanted.warmup },
                    { "--width", &wanted.width },     { "--height", &wanted.height },   { "--rate", &wanted.rate } };

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        if (strcmp(name, options[i].name) == 0)
            return options[i].value;
    return NULL;
}

int main(int argc, char **argv)
{
    struct stream *streams;
    gint64 end;
    double cpu;
    long kib;
    int i, first = 1, *value;

    while (first + 1 < argc && (value = option(argv[first])) && (*value = atoi(argv[first + 1])) > 0)
        first += 2;
    if (first >= argc || argv[first][0] == '-') {
        fprintf(stderr, "usage: bench_cameras [--streams N] [--seconds S] [--warmup S] [--width W] [--height H] "
                        "[--rate R] ELEMENT [NAME=VALUE...]\n");
        return 2;
    }
    gst_init(NULL, NULL);
    streams = g_new0(struct stream, wanted.streams);
    for (i = 0; i < wanted.streams; i++)
        start(&streams[i], argv[first], argv + first + 1);
    g_usleep(wanted.warmup * G_USEC_PER_SEC);
    cpu = cpu_seconds();
    started = g_get_monotonic_time();
    g_atomic_int_set(&measuring, TRUE);
    g_usleep(wanted.seconds * G_USEC_PER_SEC);
    g_atomic_int_set(&measuring, FALSE);
    end = g_get_monotonic_time();
    cpu = cpu_seconds() - cpu;
    kib = pss();
    report(streams, (end - started) / 1e6, cpu, kib, end);
    for (i = 0; i < wanted.streams; i++)
        gst_element_set_state(streams[i].pipeline, GST_STATE_NULL);
    for (i = 0; i < wanted.streams; i++) {
        gst_object_unref(streams[i].element);
        gst_object_unref(streams[i].pipeline);
        g_free(streams[i].times);
    }
    g_free(streams);
    return 0;
}
