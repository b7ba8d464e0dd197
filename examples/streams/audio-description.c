/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * audio-description.c - speaks the captions of a film into the pauses of its sound, for those who do not see it.
 *
 *     audio-description [--voice VOICE] [--words-per-minute N] [--quiet DB] [--caption PROPERTIES] FILM OUTPUT.mkv
 *
 * It goes through the film twice. First it captions the pictures and measures how loud the sound is; espeak-ng then
 * speaks each caption, and one that fits into a pause soon enough gets its place there. Last it mixes the speech into
 * the sound, which is encoded anew (Opus); the video is copied as it is. What is spoken is printed. OUTPUT.mkv appears
 * when it is complete; until then it is OUTPUT.mkv.part.
 */
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/pbutils/pbutils.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>

#include "speech.h"

#define SECOND_PART (GST_SECOND / 10) /* the sound's loudness is measured for each of these */
#define LATE (5 * GST_SECOND)         /* so long after its picture a caption may be spoken */
#define BREATH (GST_SECOND / 4)       /* between the sound and the speech, and between two captions */

typedef struct {
    GstClockTime time;
    char *text;
    speech *spoken; /* NULL where there was no room */
    GstClockTime begin;
} caption;

typedef struct {
    GstElement *pipeline;
    GPtrArray *captions; /* of caption, in order of time */
    GArray *loud;        /* of gboolean, for each part of a second */
    GstClockTime end;    /* of the film, as far as it is known */
    double quiet;        /* dB; what is below is a pause */
    gboolean has_sound;
} film;

static void caption_free(gpointer data)
{
    caption *c = data;

    if (c->spoken)
        speech_free(c->spoken);
    g_free(c->text);
    g_free(c);
}

/* ---- First: what there is to say, and when there is silence */

static void note_caption(film *f, const GstStructure *s)
{
    const char *text = gst_structure_get_string(s, "text");
    guint64 time = GST_CLOCK_TIME_NONE;
    caption *last = f->captions->len ? g_ptr_array_index(f->captions, f->captions->len - 1) : NULL;

    gst_structure_get_uint64(s, "stream-time", &time);
    if (!GST_CLOCK_TIME_IS_VALID(time) || !text)
        return;
    f->end = MAX(f->end, time);
    if (last && g_str_equal(last->text, text))
        return;
    caption *c = g_new0(caption, 1);
    c->time = time;
    c->text = g_strdup(text);
    g_ptr_array_add(f->captions, c);
}

/* A message of the element level: the mean power of each channel, in dB. */
static void note_level(film *f, const GstStructure *s)
{
    const GValue *rms = gst_structure_get_value(s, "rms");
    GValueArray *channels = rms ? g_value_get_boxed(rms) : NULL;
    guint64 time = GST_CLOCK_TIME_NONE, duration = 0;
    gboolean loud = FALSE;

    gst_structure_get_uint64(s, "stream-time", &time);
    gst_structure_get_uint64(s, "duration", &duration);
    if (!GST_CLOCK_TIME_IS_VALID(time) || !channels)
        return;
    G_GNUC_BEGIN_IGNORE_DEPRECATIONS
    for (guint i = 0; i < channels->n_values; i++)
        loud |= g_value_get_double(g_value_array_get_nth(channels, i)) > f->quiet;
    G_GNUC_END_IGNORE_DEPRECATIONS
    f->end = MAX(f->end, time + duration);
    for (guint i = time / SECOND_PART; loud && i * SECOND_PART < time + duration; i++) {
        if (i >= f->loud->len)
            g_array_set_size(f->loud, i + 1);
        g_array_index(f->loud, gboolean, i) = TRUE;
    }
}

/* Until the end or an error, which is said. FALSE if there was one. */
static gboolean play(film *f)
{
    GstBus *bus = gst_element_get_bus(f->pipeline);
    gboolean done = FALSE, well = FALSE;

    gst_element_set_state(f->pipeline, GST_STATE_PLAYING);
    while (!done) {
        GstMessage *message = gst_bus_timed_pop(bus, GST_CLOCK_TIME_NONE);
        const GstStructure *s = gst_message_get_structure(message);
        GError *error = NULL;
        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT && gst_structure_has_name(s, "palmecaption"))
            note_caption(f, s);
        else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT && gst_structure_has_name(s, "level"))
            note_level(f, s);
        else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
            gst_message_parse_error(message, &error, NULL);
            fprintf(stderr, "audio-description: %s\n", error->message);
            g_error_free(error);
            done = TRUE;
        } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS)
            done = well = TRUE;
        gst_message_unref(message);
    }
    gst_element_set_state(f->pipeline, GST_STATE_NULL);
    gst_object_unref(bus);
    g_clear_object(&f->pipeline);
    return well;
}

/* Links a pad of the film to an element that waits for it, once. */
static void link_to(film *f, GstPad *pad, const char *name)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(f->pipeline), name);
    GstPad *sink = element ? gst_element_get_static_pad(element, "sink") : NULL;

    if (sink && !gst_pad_is_linked(sink))
        gst_pad_link(pad, sink);
    g_clear_object(&sink);
    g_clear_object(&element);
}

/* The first video and the first sound of the film go to the elements `video` and `sound`. */
static void pad_added(GstElement *element, GstPad *pad, gpointer user)
{
    GstCaps *caps = gst_pad_get_current_caps(pad);
    const char *kind;

    (void)element;
    if (!caps)
        caps = gst_pad_query_caps(pad, NULL);
    kind = gst_structure_get_name(gst_caps_get_structure(caps, 0));
    if (g_str_has_prefix(kind, "video/") || g_str_has_prefix(kind, "image/"))
        link_to(user, pad, "video");
    else if (g_str_has_prefix(kind, "audio/"))
        link_to(user, pad, "sound");
    gst_caps_unref(caps);
}

static gboolean make_pipeline(film *f, const char *line, const char *name)
{
    GError *error = NULL;
    GstElement *element;

    f->pipeline = gst_parse_launch_full(line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
    if (!f->pipeline) {
        fprintf(stderr, "audio-description: %s\n", error->message);
        g_error_free(error);
        return FALSE;
    }
    element = gst_bin_get_by_name(GST_BIN(f->pipeline), "file");
    g_object_set(element, "location", name, NULL);
    gst_object_unref(element);
    element = gst_bin_get_by_name(GST_BIN(f->pipeline), "parts");
    g_signal_connect(element, "pad-added", G_CALLBACK(pad_added), f);
    gst_object_unref(element);
    return TRUE;
}

/* What the film consists of. FALSE, with a line on stderr, if it cannot be described. */
static gboolean discover(film *f, const char *name)
{
    GError *error = NULL;
    char *uri = gst_filename_to_uri(name, &error);
    GstDiscoverer *discoverer = uri ? gst_discoverer_new(60 * GST_SECOND, &error) : NULL;
    GstDiscovererInfo *info = discoverer ? gst_discoverer_discover_uri(discoverer, uri, &error) : NULL;
    gboolean has_video = FALSE;

    if (info && !error) {
        GList *video = gst_discoverer_info_get_video_streams(info),
              *sound = gst_discoverer_info_get_audio_streams(info);
        for (GList *one = video; one; one = one->next) /* not a photo, nor the cover of an album */
            has_video |= !gst_discoverer_video_info_is_image(one->data);
        f->has_sound = sound != NULL;
        if (!has_video)
            fprintf(stderr, "audio-description: %s has no video to describe\n", name);
        gst_discoverer_stream_info_list_free(video);
        gst_discoverer_stream_info_list_free(sound);
    } else if (error)
        fprintf(stderr, "audio-description: %s: %s\n", name, error->message);
    g_clear_error(&error);
    g_clear_object(&info);
    g_clear_object(&discoverer);
    g_free(uri);
    return has_video;
}

static gboolean watch(film *f, const char *name, const char *properties)
{
    char *line = g_strdup_printf(
        "filesrc name=file ! decodebin name=parts "
        "queue name=video ! videoconvert ! palmecaption mode=sync %s ! fakesink sync=false %s",
        properties,
        f->has_sound ? "queue name=sound ! audioconvert ! level interval=100000000 ! fakesink sync=false" : "");
    gboolean well = make_pipeline(f, line, name) && play(f);

    g_free(line);
    return well;
}

/* ---- Then: what is spoken, and when */

/* The first time from `begin` on at which there is silence for so long, or NONE before the film ends. */
static GstClockTime pause_after(const film *f, GstClockTime begin, GstClockTime length)
{
    GstClockTime first = begin > BREATH ? begin - BREATH : 0;

    for (guint i = first / SECOND_PART; i * SECOND_PART < begin + length + BREATH; i++)
        if (i < f->loud->len && g_array_index(f->loud, gboolean, i)) {
            begin = (i + 1) * SECOND_PART + BREATH;
            if (begin + length > f->end)
                return GST_CLOCK_TIME_NONE;
        }
    return begin + length <= f->end ? begin : GST_CLOCK_TIME_NONE;
}

/* A caption is spoken in the first pause that is long enough, while its picture is still shown and not long ago. */
static gboolean speak(film *f, const char *voice, int words_per_minute)
{
    GstClockTime free = 0;
    GError *error = NULL;
    guint texts = 0;

    for (guint i = 0; i < f->captions->len; i++) {
        caption *c = g_ptr_array_index(f->captions, i);
        GstClockTime latest = c->time + LATE;
        if (i + 1 < f->captions->len)
            latest = MIN(latest, ((caption *)g_ptr_array_index(f->captions, i + 1))->time);
        if (!*c->text)
            continue;
        texts++;
        c->spoken = speech_new(c->text, voice, words_per_minute, &error);
        if (!c->spoken) {
            fprintf(stderr, "audio-description: %s\n", error->message);
            g_error_free(error);
            return FALSE;
        }
        c->begin = pause_after(f, MAX(c->time, free), speech_duration(c->spoken));
        if (GST_CLOCK_TIME_IS_VALID(c->begin) && c->begin <= latest) {
            free = c->begin + speech_duration(c->spoken) + BREATH;
            printf("%.1f s\t%s\n", (double)c->begin / GST_SECOND, c->text);
        } else {
            speech_free(c->spoken);
            c->spoken = NULL;
            printf("no room\t%s\n", c->text);
        }
    }
    if (!texts)
        fprintf(stderr,
                "audio-description: the model was never sure enough to say anything; the sound stays as it is\n");
    return TRUE;
}

/* ---- Last: both together */

typedef struct {
    film *film;
    GstClockTime position;
    guint next; /* the first caption that has not been spoken to its end */
} track;

/* The next tenth of a second of the track that speaks. */
static void push_part(GstElement *source, guint bytes, gpointer user)
{
    track *t = user;
    const guint count = SPEECH_RATE / 10;
    gint16 *samples = g_new0(gint16, count);

    (void)bytes;
    if (t->position >= t->film->end) {
        g_free(samples);
        gst_app_src_end_of_stream(GST_APP_SRC(source));
        return;
    }
    for (guint i = t->next; i < t->film->captions->len; i++) {
        caption *c = g_ptr_array_index(t->film->captions, i);
        if (!c->spoken || c->begin + speech_duration(c->spoken) <= t->position) {
            t->next += i == t->next;
            continue;
        }
        if (c->begin >= t->position + SECOND_PART)
            break;
        speech_read(c->spoken, GST_CLOCK_DIFF(c->begin, t->position), samples, count);
    }
    GstBuffer *buffer = gst_buffer_new_wrapped(samples, count * sizeof(*samples));
    GST_BUFFER_PTS(buffer) = t->position;
    GST_BUFFER_DURATION(buffer) = SECOND_PART;
    t->position += SECOND_PART;
    gst_app_src_push_buffer(GST_APP_SRC(source), buffer);
}

/* Writes the file `part`. */
static gboolean mix(film *f, const char *name, const char *part)
{
    static const char both[] = "audio/x-raw,format=F32LE,rate=48000,channels=2,layout=interleaved";
    char *line = g_strdup_printf(
        "filesrc name=file ! parsebin name=parts  matroskamux name=mux ! filesink name=output "
        "queue name=video max-size-buffers=0 max-size-bytes=0 max-size-time=10000000000 ! mux.video_0 "
        "appsrc name=speech format=time caps=audio/x-raw,format=S16LE,rate=%d,channels=1,layout=interleaved ! "
        "audioconvert ! audioresample ! %s ! mix. "
        "%s%s%s audiomixer name=mix ! audioconvert ! opusenc ! queue ! mux.audio_0",
        SPEECH_RATE, both, f->has_sound ? "decodebin name=sound ! queue ! audioconvert ! audioresample ! " : "",
        f->has_sound ? both : "", f->has_sound ? " ! mix." : "");
    gboolean well = make_pipeline(f, line, name);
    track t = { f, 0, 0 };

    if (well) {
        GstElement *element = gst_bin_get_by_name(GST_BIN(f->pipeline), "output");
        g_object_set(element, "location", part, NULL);
        gst_object_unref(element);
        element = gst_bin_get_by_name(GST_BIN(f->pipeline), "speech");
        g_signal_connect(element, "need-data", G_CALLBACK(push_part), &t);
        gst_object_unref(element);
        well = play(f);
    }
    g_free(line);
    return well;
}

/* FALSE, with a line on stderr, if the output is the film itself, which would be lost. */
static gboolean differ(const char *film_name, const char *output)
{
    GStatBuf a, b;
    gboolean same =
        g_stat(film_name, &a) == 0 && g_stat(output, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;

    if (same)
        fprintf(stderr, "audio-description: %s is the film itself; the output needs another name\n", output);
    return !same;
}

/* What stood at `output` stays unless all goes well. */
static gboolean mix_into(film *f, const char *name, const char *output)
{
    char *part = g_strconcat(output, ".part", NULL);
    gboolean well = mix(f, name, part);

    if (well && g_rename(part, output) != 0) {
        fprintf(stderr, "audio-description: %s: %s\n", output, g_strerror(errno));
        well = FALSE;
    }
    if (!well)
        g_unlink(part);
    g_free(part);
    return well;
}

int main(int argc, char **argv)
{
    char *voice = NULL, *properties = NULL, **names = NULL;
    int words_per_minute = 175;
    film f = { .quiet = -40 };
    const GOptionEntry entries[] = {
        { "voice", 0, 0, G_OPTION_ARG_STRING, &voice, "a voice of espeak-ng (en)", "VOICE" },
        { "words-per-minute", 0, 0, G_OPTION_ARG_INT, &words_per_minute, "how fast it speaks (175)", "N" },
        { "quiet", 0, 0, G_OPTION_ARG_DOUBLE, &f.quiet, "what is less loud counts as a pause (-40)", "DB" },
        { "caption", 0, 0, G_OPTION_ARG_STRING, &properties, "properties of palmecaption, as for gst-launch-1.0",
          "PROPERTIES" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &names, NULL, "FILM OUTPUT.mkv" },
        { 0 },
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;
    int status = 2;

    gst_init(&argc, &argv);
    g_option_context_add_main_entries(context, entries, NULL);
    f.captions = g_ptr_array_new_with_free_func(caption_free);
    f.loud = g_array_new(FALSE, TRUE, sizeof(gboolean));
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "audio-description: %s\n", error->message);
        g_error_free(error);
    } else if (!names || g_strv_length(names) != 2)
        fprintf(stderr, "audio-description: one film and one name for the output are needed; --help says more\n");
    else if (words_per_minute < 80 || words_per_minute > 450)
        fprintf(stderr, "audio-description: --words-per-minute has to be from 80 to 450, as espeak-ng takes it\n");
    else
        status = differ(names[0], names[1]) && discover(&f, names[0]) &&
                         watch(&f, names[0], properties ? properties : "") &&
                         speak(&f, voice ? voice : "en", words_per_minute) && mix_into(&f, names[0], names[1])
                     ? 0
                     : 1;
    g_option_context_free(context);
    g_ptr_array_unref(f.captions);
    g_array_unref(f.loud);
    g_strfreev(names);
    g_free(voice);
    g_free(properties);
    return status;
}
