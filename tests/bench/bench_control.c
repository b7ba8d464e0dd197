/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_control.c - how long after a property was set, a signal was emitted or the scene was cut the first frame
 * leaves the element that shows the effect. bench_live.py runs it.
 *
 *     bench_control REPETITIONS OTHER_MODEL [NAME=VALUE...]
 *
 * A live stream of 640x360 at 30 frames a second. Prints JSON: lists of milliseconds by what was done. `set` is how
 * long setting the prompt keeps the caller.
 */
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer than any effect takes. */
#define LIMIT (60 * G_USEC_PER_SEC)

static struct {
    GMutex lock;
    GCond changed;
    guint64 fresh; /* frames that were the first with their caption */
    char *prompt;  /* of the caption in effect */
    guint swaps;   /* of models */
} seen;

static GstElement *pipeline, *caption, *source;

static GstPadProbeReturn note_frame(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    GstCustomMeta *meta = gst_buffer_get_custom_meta(GST_PAD_PROBE_INFO_BUFFER(info), "GstPalmeCaptionMeta");
    GstStructure *structure;
    gboolean fresh = FALSE;

    (void)pad, (void)data;
    if (!meta)
        return GST_PAD_PROBE_OK;
    structure = gst_custom_meta_get_structure(meta);
    gst_structure_get_boolean(structure, "fresh", &fresh);
    if (!fresh)
        return GST_PAD_PROBE_OK;
    g_mutex_lock(&seen.lock);
    seen.fresh++;
    g_free(seen.prompt);
    seen.prompt = g_strdup(gst_structure_get_string(structure, "prompt"));
    g_cond_broadcast(&seen.changed);
    g_mutex_unlock(&seen.lock);
    return GST_PAD_PROBE_OK;
}

static void note_swap(GObject *object, GParamSpec *pspec, gpointer data)
{
    (void)object, (void)pspec, (void)data;
    g_mutex_lock(&seen.lock);
    seen.swaps++;
    g_cond_broadcast(&seen.changed);
    g_mutex_unlock(&seen.lock);
}

/* Waits for one more of *counter than `before`, and for this prompt unless it is NULL. */
static void wait_for(const char *what, const guint64 *fresh, const guint *swaps, guint64 before, const char *prompt)
{
    gint64 end = g_get_monotonic_time() + LIMIT;

    g_mutex_lock(&seen.lock);
    while ((fresh && *fresh <= before) || (swaps && *swaps <= before) ||
           (prompt && g_strcmp0(prompt, seen.prompt) != 0)) {
        if (!g_cond_wait_until(&seen.changed, &seen.lock, end)) {
            fprintf(stderr, "bench_control: no effect of %s\n", what);
            exit(1);
        }
    }
    g_mutex_unlock(&seen.lock);
}

static guint64 fresh_now(void)
{
    guint64 now;

    g_mutex_lock(&seen.lock);
    now = seen.fresh;
    g_mutex_unlock(&seen.lock);
    return now;
}

/* Not in step with frames, and after the last caption. */
static void pause_a_while(void)
{
    g_usleep(500000 + g_random_int_range(0, 100000));
}

static gint64 begin;

static void start_watch(void)
{
    begin = g_get_monotonic_time();
}

static void stop_watch(GString *list)
{
    g_string_append_printf(list, "%s%.2f", list->len ? ", " : "", (g_get_monotonic_time() - begin) / 1e3);
}

#define HOUR (3600 * GST_SECOND)

static void measure_now(GString *list)
{
    guint64 before = fresh_now();

    start_watch();
    g_signal_emit_by_name(caption, "caption-now");
    wait_for("caption-now", &seen.fresh, NULL, before, NULL);
    stop_watch(list);
}

static void measure_prompt(GString *list, GString *set, int i, gboolean now)
{
    const char *prompt = i % 2 ? "a photo of" : "two";

    start_watch();
    g_object_set(caption, "prompt", prompt, NULL);
    if (set)
        stop_watch(set);
    if (now)
        g_signal_emit_by_name(caption, "caption-now");
    wait_for("prompt", NULL, NULL, 0, prompt);
    stop_watch(list);
}

static void measure_interval(GString *list)
{
    guint64 before = fresh_now();

    start_watch();
    g_object_set(caption, "scene-threshold", 0.0, "interval", GST_SECOND / 10, NULL);
    wait_for("interval", &seen.fresh, NULL, before, NULL);
    stop_watch(list);
    g_object_set(caption, "interval", HOUR, "scene-threshold", -1.0, NULL);
}

static void measure_cut(GString *list, int i)
{
    guint64 before = fresh_now();

    start_watch();
    gst_util_set_object_arg(G_OBJECT(source), "pattern", i % 2 ? "smpte" : "checkers-8");
    wait_for("a cut", &seen.fresh, NULL, before, NULL);
    stop_watch(list);
}

static void measure_model(GString *list, const char *model)
{
    guint before;

    g_mutex_lock(&seen.lock);
    before = seen.swaps;
    g_mutex_unlock(&seen.lock);
    start_watch();
    g_object_set(caption, "model", model, NULL);
    wait_for("model", NULL, &seen.swaps, before, NULL);
    stop_watch(list);
}

static void build(char **properties)
{
    GError *error = NULL;
    GstPad *pad;

    pipeline = gst_parse_launch("videotestsrc name=v is-live=true pattern=smpte ! "
                                "video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! palmecaption name=e ! "
                                "fakesink sync=true",
                                &error);
    if (!pipeline || error) {
        fprintf(stderr, "bench_control: %s\n", error->message);
        exit(1);
    }
    caption = gst_bin_get_by_name(GST_BIN(pipeline), "e");
    source = gst_bin_get_by_name(GST_BIN(pipeline), "v");
    for (; *properties; properties++) {
        char **pair = g_strsplit(*properties, "=", 2);

        gst_util_set_object_arg(G_OBJECT(caption), pair[0], pair[1]);
        g_strfreev(pair);
    }
    g_object_set(caption, "interval", HOUR, NULL);
    g_signal_connect(caption, "notify::model-info", G_CALLBACK(note_swap), NULL);
    pad = gst_element_get_static_pad(caption, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, note_frame, NULL, NULL);
    gst_object_unref(pad);
    if (gst_element_set_state(pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
        exit(1);
    wait_for("the start", &seen.fresh, NULL, 0, NULL);
}

static void measure_all(int repetitions, const char *other, GString *lists[])
{
    char *model;

    g_object_get(caption, "model", &model, NULL);
    for (int i = 0; i < repetitions; i++) {
        pause_a_while();
        measure_now(lists[0]);
        pause_a_while();
        measure_prompt(lists[1], lists[6], i, TRUE);
        pause_a_while();
        measure_interval(lists[3]);
        pause_a_while();
        measure_cut(lists[4], i);
        pause_a_while();
        measure_model(lists[5], i % 2 ? model : other);
    }
    g_object_set(caption, "interval", GST_SECOND, NULL);
    for (int i = repetitions; i < 2 * repetitions; i++) {
        pause_a_while();
        measure_prompt(lists[2], NULL, i, FALSE);
    }
    g_free(model);
}

int main(int argc, char **argv)
{
    static const char *names[] = { "caption-now", "prompt-now", "prompt-1s", "interval", "cut", "model", "set" };
    GString *lists[G_N_ELEMENTS(names)];
    int repetitions = argc > 2 ? atoi(argv[1]) : 0;

    if (repetitions < 1) {
        fprintf(stderr, "usage: bench_control REPETITIONS OTHER_MODEL [NAME=VALUE...]\n");
        return 2;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        lists[i] = g_string_new(NULL);
    gst_init(NULL, NULL);
    build(argv + 3);
    measure_all(repetitions, argv[2], lists);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        printf("%s\"%s\": [%s]", i ? ", " : "{", names[i], lists[i]->str);
        g_string_free(lists[i], TRUE);
    }
    printf("}\n");
    gst_object_unref(caption);
    gst_object_unref(source);
    gst_object_unref(pipeline);
    return 0;
}
