/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.c - a source's thread: builds the pipeline, watches it, ends it, waits, and begins again.
 */
#include "source-private.h"

#include <math.h>
#include <string.h>

/* A source that gives no picture for so long is gone, whatever it says. */
#define SILENCE (10 * G_USEC_PER_SEC)
/* The waits between attempts double from the first to the last. */
#define FIRST_WAIT 1
#define LAST_WAIT 16
#define MESSAGE_BYTES 300
/* How long a warning is shown. */
#define WARNING_TIME (15 * G_USEC_PER_SEC)

/* ---- State -------------------------------------------------------------------------------------- */

/* Without what only the operator may know, and not endless. */
static char *fit_message(const struct web_source *source, const char *text)
{
    char **parts = source->secret ? g_strsplit(text, source->secret, -1) : NULL;
    char *without = parts ? g_strjoinv("", parts) : g_strdup(text);
    char *valid = g_utf8_make_valid(without, MIN((gssize)strlen(without), MESSAGE_BYTES));

    g_strfreev(parts);
    g_free(without);
    return valid;
}

/* `message` is taken. Says on the terminal what the page says. */
static void set_state(struct web_source *source, enum web_state state, char *message)
{
    gboolean differs;

    g_mutex_lock(&source->lock);
    differs = state != source->state || g_strcmp0(message, source->message);
    if (differs) {
        source->state = state;
        g_free(source->message);
        source->message = message;
        source->version++;
        if (message && message[0])
            g_printerr("palme-web: %s: %s\n", source->name, message);
    } else {
        g_free(message);
    }
    g_mutex_unlock(&source->lock);
    if (differs)
        source->options.changed(source->options.user);
}

void web_source_wake(struct web_source *source)
{
    g_cond_broadcast(&source->woken);
    if (source->bus)
        gst_bus_post(source->bus, gst_message_new_application(NULL, gst_structure_new_empty("palme-web")));
}

void web_source_pause(struct web_source *source, gboolean paused)
{
    g_mutex_lock(&source->lock);
    source->pause = paused;
    web_source_wake(source);
    g_mutex_unlock(&source->lock);
}

void web_source_caption_now(struct web_source *source)
{
    g_mutex_lock(&source->lock);
    source->caption_now = TRUE;
    web_source_wake(source);
    g_mutex_unlock(&source->lock);
}

void web_source_get_settings(struct web_settings *settings, struct web_source *source)
{
    g_mutex_lock(&source->lock);
    web_settings_copy(settings, &source->settings);
    g_mutex_unlock(&source->lock);
}

void web_source_set_settings(struct web_source *source, const struct web_settings *settings)
{
    g_mutex_lock(&source->lock);
    web_settings_clear(&source->settings);
    web_settings_copy(&source->settings, settings);
    source->settings_new = TRUE;
    source->version++;
    web_source_wake(source);
    g_mutex_unlock(&source->lock);
}

void web_source_set_model(struct web_source *source, const char *path, const char *name)
{
    g_mutex_lock(&source->lock);
    g_free(source->model);
    g_free(source->model_name);
    source->model = g_strdup(path);
    source->model_name = g_strdup(name);
    source->model_new = TRUE;
    source->version++;
    web_source_wake(source);
    g_mutex_unlock(&source->lock);
}

/* ---- The thread --------------------------------------------------------------------------------- */

/* Hands over to the element what viewers asked for meanwhile. Returns whether the source is to play. */
static gboolean obey(struct web_source *source, GstElement *caption)
{
    struct web_settings settings;
    gboolean settings_new, caption_now, pause;
    char *model;

    g_mutex_lock(&source->lock);
    settings_new = source->settings_new;
    if (settings_new)
        web_settings_copy(&settings, &source->settings);
    model = source->model_new ? g_strdup(source->model ? source->model : source->first_model) : NULL;
    caption_now = source->caption_now;
    pause = source->pause;
    source->settings_new = source->model_new = source->caption_now = FALSE;
    g_mutex_unlock(&source->lock);

    if (settings_new) {
        web_settings_apply(&settings, caption);
        web_settings_clear(&settings);
    }
    if (model) {
        g_object_set(caption, "model", model, NULL);
        g_free(model);
    }
    if (caption_now)
        g_signal_emit_by_name(caption, "caption-now");
    return !pause;
}

/* When the frame with this running time was there. */
static gint64 wall_time(GstElement *pipeline, GstClockTime running)
{
    gint64 now = g_get_real_time();
    GstClock *clock = gst_element_get_clock(pipeline);
    GstClockTime base = gst_element_get_base_time(pipeline);

    if (clock && GST_CLOCK_TIME_IS_VALID(running) && GST_CLOCK_TIME_IS_VALID(base)) {
        gint64 ago = GST_CLOCK_DIFF(running, gst_clock_get_time(clock) - base) / GST_USECOND;

        now -= CLAMP(ago, 0, 60 * G_USEC_PER_SEC);
    }
    if (clock)
        gst_object_unref(clock);
    return now;
}

static void note_caption(struct web_source *source, GstElement *pipeline, const GstStructure *s)
{
    struct web_entry entry = { .source = source->options.number, .score = NAN };
    GstClockTime pts = GST_CLOCK_TIME_NONE, running = GST_CLOCK_TIME_NONE;
    gboolean partial = FALSE;
    const char *text = gst_structure_get_string(s, "text");

    if (!text || (gst_structure_get_boolean(s, "partial", &partial) && partial))
        return;
    gst_structure_get_uint64(s, "timestamp", &pts);
    gst_structure_get_uint64(s, "running-time", &running);
    gst_structure_get_uint64(s, "latency", &entry.latency_ns);
    gst_structure_get_double(s, "score", &entry.score);
    entry.begin = wall_time(pipeline, running);
    entry.text = (char *)text;
    g_mutex_lock(&source->lock);
    entry.picture = web_pipeline_recent(source, pts);
    g_mutex_unlock(&source->lock);
    web_history_add(source->options.history, &entry);
    g_clear_pointer(&entry.picture, g_bytes_unref);
    source->options.changed(source->options.user);
}

/* What the message of an error or a warning says, for a person. */
static char *words_of(const struct web_source *source, GstMessage *message, gboolean is_error)
{
    GError *error = NULL;
    char *words;

    if (is_error)
        gst_message_parse_error(message, &error, NULL);
    else
        gst_message_parse_warning(message, &error, NULL);
    words = fit_message(source, error->message);
    g_error_free(error);
    return words;
}

static gint64 last_picture(struct web_source *source)
{
    gint64 last;

    g_mutex_lock(&source->lock);
    last = source->last_picture;
    g_mutex_unlock(&source->lock);
    return last;
}

static gboolean has_stopped(struct web_source *source)
{
    gboolean stop;

    g_mutex_lock(&source->lock);
    stop = source->stop;
    g_mutex_unlock(&source->lock);
    return stop;
}

/* From the beginning again. The pipeline is not built anew for it: the element keeps its model and its counters. */
static gboolean rewind_file(struct web_source *source, GstElement *pipeline)
{
    guint i;

    g_mutex_lock(&source->lock);
    for (i = 0; i < WEB_RECENT; i++)
        g_clear_pointer(&source->recent[i].jpeg, g_bytes_unref);
    g_mutex_unlock(&source->lock);
    web_history_end(source->options.history, source->options.number, g_get_real_time());
    return gst_element_seek_simple(pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_KEY_UNIT, 0);
}

/* A model that cannot be opened is not tried again at the next attempt: back to the operator's. */
static void forget_model(struct web_source *source)
{
    g_mutex_lock(&source->lock);
    g_clear_pointer(&source->model, g_free);
    g_clear_pointer(&source->model_name, g_free);
    source->version++;
    g_mutex_unlock(&source->lock);
}

enum outcome { GOES_ON, HAS_ENDED, IS_GONE };

/* One message. *why is set when the source is gone. */
static enum outcome hear(struct web_source *source, GstElement *pipeline, GstElement *caption, GstMessage *message,
                         char **why)
{
    gboolean loads = GST_MESSAGE_SRC(message) == GST_OBJECT(caption);

    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ELEMENT:
        /* What was still on its way when the source was paused would have no end. */
        if (loads && source->state != WEB_PAUSED && gst_message_has_name(message, "palmecaption"))
            note_caption(source, pipeline, gst_message_get_structure(message));
        return GOES_ON;
    case GST_MESSAGE_WARNING:
        if (loads) {
            set_state(source, source->state, words_of(source, message, FALSE));
            source->message_until = g_get_monotonic_time() + WARNING_TIME;
        }
        return GOES_ON;
    case GST_MESSAGE_ERROR:
        *why = words_of(source, message, TRUE);
        if (loads)
            forget_model(source);
        return IS_GONE;
    case GST_MESSAGE_LATENCY: gst_bin_recalculate_latency(GST_BIN(pipeline)); return GOES_ON;
    case GST_MESSAGE_EOS:
        if (source->kind == WEB_FILE && (source->options.once || !rewind_file(source, pipeline)))
            return HAS_ENDED;
        if (source->kind == WEB_FILE)
            return GOES_ON;
        *why = g_strdup("The stream has ended");
        return IS_GONE;
    default: return GOES_ON;
    }
}

/* To PLAYING or to PAUSED. FALSE: it failed, *why says why. */
static gboolean change_state(struct web_source *source, GstElement *pipeline, GstElement *caption, gboolean go,
                             GstBus *bus, char **why)
{
    GstMessage *message;

    if (!go) {
        web_history_end(source->options.history, source->options.number, g_get_real_time());
        set_state(source, WEB_PAUSED, NULL);
    } else if (source->state != WEB_LOST) {
        set_state(source, WEB_STARTING, NULL);
    }
    if (gst_element_set_state(pipeline, go ? GST_STATE_PLAYING : GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE)
        return TRUE;
    message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    if (message && GST_MESSAGE_SRC(message) == GST_OBJECT(caption))
        forget_model(source);
    *why = message ? words_of(source, message, TRUE) : g_strdup("It cannot be opened");
    if (message)
        gst_message_unref(message);
    return FALSE;
}

/* Plays until something happens. */
static enum outcome play(struct web_source *source, GstElement *pipeline, GstElement *caption, GstBus *bus, char **why)
{
    gint64 begun = g_get_monotonic_time();
    gboolean playing = FALSE, paused = FALSE;
    enum outcome outcome = GOES_ON;

    while (outcome == GOES_ON && !has_stopped(source)) {
        gboolean go = obey(source, caption);
        gint64 last;

        if (go ? !playing : !paused) {
            begun = g_get_monotonic_time();
            if (!change_state(source, pipeline, caption, go, bus, why))
                return IS_GONE;
            playing = go;
            paused = !go;
        }
        GstMessage *message = gst_bus_timed_pop(bus, 500 * GST_MSECOND);
        if (message) {
            outcome = hear(source, pipeline, caption, message, why);
            gst_message_unref(message);
        }
        if (outcome != GOES_ON || !playing)
            continue;
        last = last_picture(source);
        if (last > begun && (source->state != WEB_PLAYING || g_get_monotonic_time() > source->message_until))
            set_state(source, WEB_PLAYING, NULL);
        if (g_get_monotonic_time() - MAX(last, begun) > SILENCE) {
            *why = g_strdup_printf("No picture for %d seconds", (int)(SILENCE / G_USEC_PER_SEC));
            outcome = IS_GONE;
        }
    }
    return outcome;
}

/* One attempt, from nothing to nothing. */
static enum outcome attempt(struct web_source *source, char **why)
{
    enum outcome outcome;
    GstElement *caption, *pipeline = web_pipeline_new(&caption, source, why);
    GstBus *bus;
    guint i;

    if (!pipeline)
        return IS_GONE;
    bus = gst_element_get_bus(pipeline);
    g_mutex_lock(&source->lock);
    source->settings_new = TRUE;
    source->model_new = source->model || source->first_model;
    source->bus = gst_object_ref(bus);
    source->caption = gst_object_ref(caption);
    g_mutex_unlock(&source->lock);

    outcome = play(source, pipeline, caption, bus, why);

    g_mutex_lock(&source->lock);
    g_clear_object(&source->bus);
    g_clear_object(&source->caption);
    g_mutex_unlock(&source->lock);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    web_history_end(source->options.history, source->options.number, g_get_real_time());
    g_mutex_lock(&source->lock);
    for (i = 0; i < WEB_RECENT; i++)
        g_clear_pointer(&source->recent[i].jpeg, g_bytes_unref);
    g_mutex_unlock(&source->lock);
    gst_object_unref(bus);
    gst_object_unref(caption);
    gst_object_unref(pipeline);
    return outcome;
}

/* Waits for the next attempt; while it is paused or has ended, until something changes. */
static void wait_a_while(struct web_source *source, guint seconds, gboolean ended)
{
    gint64 until = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;

    g_mutex_lock(&source->lock);
    while (!source->stop && (source->pause || ended || g_get_monotonic_time() < until)) {
        if (source->pause || ended)
            g_cond_wait(&source->woken, &source->lock);
        else
            g_cond_wait_until(&source->woken, &source->lock, until);
    }
    source->attempts++;
    g_mutex_unlock(&source->lock);
}

gpointer web_source_run(gpointer user)
{
    struct web_source *source = user;
    guint wait = FIRST_WAIT;

    while (!has_stopped(source)) {
        char *why = NULL;
        gint64 begun = g_get_monotonic_time();
        enum outcome outcome = attempt(source, &why);

        if (!has_stopped(source)) {
            /* One that has played for a while begins with the shortest wait again. */
            if (last_picture(source) > begun + SILENCE)
                wait = FIRST_WAIT;
            if (outcome == HAS_ENDED)
                set_state(source, WEB_ENDED, g_strdup("It has ended."));
            else
                set_state(
                    source, WEB_LOST,
                    g_strdup_printf("%s%s Next attempt in %u s.", why, g_str_has_suffix(why, ".") ? "" : ".", wait));
            wait_a_while(source, wait, outcome == HAS_ENDED);
            wait = MIN(2 * wait, LAST_WAIT);
        }
        g_free(why);
    }
    g_mutex_lock(&source->lock);
    source->done = TRUE;
    g_cond_broadcast(&source->woken);
    g_mutex_unlock(&source->lock);
    return NULL;
}
