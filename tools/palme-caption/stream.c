/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stream.c - decodes with GStreamer, as fast as it goes, and hands over the frames that are due.
 *
 *     uridecodebin ! [probe drops what is not due] ! videoconvert ! videoflip ! RGB(A) ! appsink
 *
 * There is no videoscale: the engine has its own resize and wants the frame as it is. The probe stands
 * before the conversion, so that thirty frames a second are decoded but one is converted. Probes on all
 * elements before it stop a picture that is too large when its size is known, before it is decoded.
 */
#include "stream.h"
#include "photo.h"
#include "stop.h"
#include "words.h"

#include <errno.h>
#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* A decoder that gives nothing for so long will not give anything any more. */
#define STALL_TIME (30 * G_USEC_PER_SEC)
/* How long a decoder is held whose pad does not refuse its frames when the pipeline ends. */
#define LAST_WAIT (500 * GST_MSECOND)
/* How often a waiting reader looks at the bus. */
#define POLL_TIME (50 * GST_MSECOND)
/* The most that GStreamer's elements can express: a side, and the bytes of a frame (as RGBA). */
#define MAX_SIDE 32767
#define MAX_PIXELS ((G_GUINT64_CONSTANT(1) << 29) - 1)
/* Bytes of a pipe at a time. */
#define PIECE (64 * 1024)

struct source {
    const struct caption_stream *stream;
    const struct caption_source *options;
    GstElement *pipeline, *convert;
    GstAppSink *sink;
    struct caption_words words;

    /* the streaming thread's alone */
    GstClockTime next_due;  /* stream time; NONE before the first frame */
    GstClockTime after;     /* where a frame without a time stamp would begin; NONE before the first frame */
    gint64 arrival;         /* of the first frame, monotonic time */
    gsize fed;              /* of stream->bytes */
    gboolean first_is_zero; /* times count from the first frame */
    GstClockTime end;       /* stream time; of the last frame that has one; read by the caller's after the end */

    /* written by the streaming thread before a frame reaches the sink, read by the caller's after that */
    GstClockTime origin; /* stream time that is called zero */

    /* written by the streaming threads, read by the caller's: by atomic operations */
    gint frames;          /* decoded so far, due or not */
    gint image;           /* 1: the file is of a type image/..., not a video */
    gint sound, pictures; /* 1: there is some */
    gint linked;          /* 1: there is a picture to read */
    gint no_more_pads;
    gint too_large; /* 1: width and height, written before, are too large */
    gint width, height;
    gint stop;         /* written by the caller's: the streaming threads are to end */
    GstAppSink *photo; /* the photo as it is, instead of frames; NULL: there is none */
};

/* ---- Streaming threads: which frames --------------------------------------------------------- */

/* How long a frame lasts, or 0. */
static GstClockTime frame_duration(GstPad *pad, GstBuffer *buffer)
{
    GstClockTime duration = GST_BUFFER_DURATION(buffer);
    GstCaps *caps = gst_pad_get_current_caps(pad);
    GstVideoInfo info;

    if (!GST_CLOCK_TIME_IS_VALID(duration)) {
        duration = 0;
        if (caps && gst_video_info_from_caps(&info, caps) && GST_VIDEO_INFO_FPS_N(&info) > 0)
            duration = gst_util_uint64_scale(GST_SECOND, (guint64)GST_VIDEO_INFO_FPS_D(&info),
                                             (guint64)GST_VIDEO_INFO_FPS_N(&info));
    }
    if (caps)
        gst_caps_unref(caps);
    return duration;
}

/* When a frame without a time stamp is: behind the one before where a file knows how long frames last,
 * else when it arrives. */
static GstClockTime missing_time(struct source *s, const GstSegment *segment, GstClockTime duration)
{
    gint64 now = g_get_monotonic_time();

    if (!GST_CLOCK_TIME_IS_VALID(s->after)) {
        s->arrival = now;
        return segment->start;
    }
    if (duration > 0 && s->stream->fd >= 0)
        return s->after;
    return MAX(s->after, segment->start + (GstClockTime)(now - s->arrival) * GST_USECOND);
}

/* Passes the frames that are due. The first one is; the next ones are those that reach a point of a
 * grid of `every`, which begins at the first frame. */
static GstPadProbeReturn drop_not_due(GstPad *pad, GstPadProbeInfo *probe, gpointer user)
{
    struct source *s = user;
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(probe);
    GstClockTime duration = frame_duration(pad, buffer), time;
    GstEvent *event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
    guint64 every = s->options->every;
    gboolean known = GST_BUFFER_PTS_IS_VALID(buffer);
    GstSegment segment;

    if (!event)
        return GST_PAD_PROBE_DROP;
    gst_event_copy_segment(event, &segment);
    gst_event_unref(event);
    g_atomic_int_inc(&s->frames);
    if (!known) {
        buffer = gst_buffer_make_writable(buffer);
        GST_BUFFER_PTS(buffer) = missing_time(s, &segment, duration);
        GST_PAD_PROBE_INFO_DATA(probe) = buffer;
    }
    if (!GST_CLOCK_TIME_IS_VALID(s->after) && known)
        s->arrival = g_get_monotonic_time();
    s->after = GST_BUFFER_PTS(buffer) + (known || s->stream->fd >= 0 ? duration : 0);

    if (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DECODE_ONLY) ||
        GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_GAP))
        return GST_PAD_PROBE_DROP;
    time = gst_segment_to_stream_time(&segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    if (!GST_CLOCK_TIME_IS_VALID(time))
        return GST_PAD_PROBE_DROP; /* outside of what the file says is to be shown */
    s->end = time + duration;

    if (GST_CLOCK_TIME_IS_VALID(s->next_due) && time < s->next_due)
        return GST_PAD_PROBE_DROP;
    if (!GST_CLOCK_TIME_IS_VALID(s->next_due) && s->first_is_zero)
        s->origin = time;
    if (!GST_CLOCK_TIME_IS_VALID(s->next_due) || every == 0)
        s->next_due = time + every;
    else
        s->next_due += ((time - s->next_due) / every + 1) * every;
    return GST_PAD_PROBE_OK;
}

/* Holds the streaming thread until the pipeline ends and the pad refuses what comes. Whoever ends the
 * pipeline may wait for this thread before it comes to this pad: decodebin takes a demuxer down before the
 * parser behind it, which runs in the demuxer's thread. So the wait is not for ever, and a parser's, which
 * takes no memory for frames, is over at once. */
static void hold(const struct source *s, const GstPad *pad, gboolean decoder)
{
    const GstClockTime nap = POLL_TIME / 10;
    GstClockTime left = decoder ? LAST_WAIT : 0;

    while (!GST_PAD_IS_FLUSHING(pad)) {
        if (g_atomic_int_get(&s->stop)) {
            if (left < nap)
                return;
            left -= nap;
        }
        g_usleep((gulong)(nap / GST_USECOND));
    }
}

/* Where a size in the caps is too large it holds the streaming thread and drops the caps. A decoder sends
 * caps before it takes memory for a frame. (A probe that blocks would count as a blocked pad from the
 * beginning, and decodebin blocks and releases these pads itself.) */
static GstPadProbeReturn check_size(GstPad *pad, GstPadProbeInfo *probe, gpointer user)
{
    struct source *s = user;
    const GstStructure *structure;
    GstCaps *caps;
    gint width = 0, height = 0;

    if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(probe)) != GST_EVENT_CAPS)
        return GST_PAD_PROBE_OK;
    gst_event_parse_caps(GST_PAD_PROBE_INFO_EVENT(probe), &caps);
    structure = gst_caps_get_structure(caps, 0);
    if (!gst_structure_get_int(structure, "width", &width) || !gst_structure_get_int(structure, "height", &height) ||
        width < 1 || height < 1)
        return GST_PAD_PROBE_OK;
    if (width <= MAX_SIDE && height <= MAX_SIDE &&
        !caption_photo_exceeds((guint64)width, (guint64)height, MIN(s->options->max_pixels, MAX_PIXELS)))
        return GST_PAD_PROBE_OK;
    s->width = width;
    s->height = height;
    g_atomic_int_set(&s->too_large, 1);
    hold(s, pad, gst_structure_has_name(structure, "video/x-raw"));
    return GST_PAD_PROBE_DROP;
}

static void watch_pad(GstElement *element, GstPad *pad, gpointer user)
{
    (void)element;
    if (GST_PAD_IS_SRC(pad))
        gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, check_size, user, NULL);
}

static gboolean watch_each(GstElement *element, GstPad *pad, gpointer user)
{
    watch_pad(element, pad, user);
    return TRUE;
}

/* ---- Streaming threads: the graph ------------------------------------------------------------ */

static GstAppSink *add_sink(struct source *s)
{
    GstElement *sink = gst_element_factory_make("appsink", NULL);

    if (!sink)
        return NULL;
    /* Without a preroll: only one of two sinks gets anything. */
    g_object_set(sink, "sync", FALSE, "async", FALSE, "max-buffers", 1u, "drop", FALSE, "enable-last-sample", FALSE,
                 NULL);
    gst_bin_add(GST_BIN(s->pipeline), sink);
    return GST_APP_SINK(sink);
}

static void pad_added(GstElement *decoder, GstPad *pad, gpointer user)
{
    struct source *s = user;
    GstPad *sink = gst_element_get_static_pad(s->convert, "sink");
    GstCaps *caps = gst_pad_query_caps(pad, NULL);
    gboolean decoded = g_str_has_prefix(gst_structure_get_name(gst_caps_get_structure(caps, 0)), "video/x-raw");

    (void)decoder;
    /* The first picture stream is the one that counts. */
    if (!decoded && !g_atomic_pointer_get(&s->photo)) {
        GstAppSink *photo = add_sink(s);

        if (photo) {
            GstPad *entry = gst_element_get_static_pad(GST_ELEMENT(photo), "sink");

            gst_element_sync_state_with_parent(GST_ELEMENT(photo));
            gst_pad_link(pad, entry);
            gst_object_unref(entry);
            g_atomic_pointer_set(&s->photo, photo);
        }
    } else if (decoded && !gst_pad_is_linked(sink)) {
        gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, drop_not_due, s, NULL);
        if (GST_PAD_LINK_SUCCESSFUL(gst_pad_link(pad, sink)))
            g_atomic_int_set(&s->linked, 1);
    }
    gst_caps_unref(caps);
    gst_object_unref(sink);
}

static void no_more_pads(GstElement *decoder, gpointer user)
{
    struct source *s = user;

    (void)decoder;
    g_atomic_int_set(&s->no_more_pads, 1);
}

static gboolean is_photo(const GstCaps *caps)
{
    const GstStructure *structure = gst_caps_get_structure(caps, 0);

    return g_str_has_prefix(gst_structure_get_name(structure), "image/") ||
           g_strcmp0(gst_structure_get_string(structure, "variant"), "heif") == 0;
}

static gboolean is_container(GstCaps *caps)
{
    GList *demuxers = gst_element_factory_list_get_elements(GST_ELEMENT_FACTORY_TYPE_DEMUXER, GST_RANK_MARGINAL);
    GList *fitting = gst_element_factory_list_filter(demuxers, caps, GST_PAD_SINK, FALSE);
    gboolean is = fitting != NULL;

    gst_plugin_feature_list_free(fitting);
    gst_plugin_feature_list_free(demuxers);
    return is;
}

/* FALSE: uridecodebin shall not decode this. A photo inside of a container is a frame of a video. */
static gboolean autoplug_continue(GstElement *decoder, GstPad *pad, GstCaps *caps, gpointer user)
{
    struct source *s = user;
    const char *type = gst_structure_get_name(gst_caps_get_structure(caps, 0));

    (void)decoder;
    (void)pad;
    if (g_str_has_prefix(type, "audio/"))
        g_atomic_int_set(&s->sound, 1);
    else if ((g_str_has_prefix(type, "video/") || g_str_has_prefix(type, "image/")) && !is_container(caps))
        g_atomic_int_set(&s->pictures, 1);
    return !(s->stream->take_photo && g_atomic_int_get(&s->image) && is_photo(caps));
}

static void have_type(GstElement *typefind, guint probability, GstCaps *caps, gpointer user)
{
    struct source *s = user;
    const GstStructure *structure = gst_caps_get_structure(caps, 0);
    gboolean system = FALSE;

    (void)typefind;
    (void)probability;
    g_atomic_int_set(&s->image, is_photo(caps));
    /* The clock of a transport or program stream may begin anywhere, and its pictures a while later. */
    gst_structure_get_boolean(structure, "systemstream", &system);
    s->first_is_zero = gst_structure_has_name(structure, "video/mpegts") ||
                       (gst_structure_has_name(structure, "video/mpeg") && system);
}

static gboolean is_type(GstElement *element, const char *name)
{
    GstElementFactory *factory = gst_element_get_factory(element);

    return factory && strcmp(GST_OBJECT_NAME(factory), name) == 0;
}

static void element_added(GstBin *bin, GstBin *sub_bin, GstElement *element, gpointer user)
{
    (void)bin;
    (void)sub_bin;
    if (GST_IS_BIN(element))
        return;
    /* Else decodebin waits for other streams until its queues are full, some seconds of a camera. */
    if (is_type(element, "multipartdemux"))
        g_object_set(element, "single-stream", TRUE, NULL);
    gst_element_foreach_src_pad(element, watch_each, user);
    g_signal_connect(element, "pad-added", G_CALLBACK(watch_pad), user);
}

/* The type of the file is known to the typefind element inside of uridecodebin. The first one tells it;
 * those that come later look into what a container holds. */
static void typefind_added(GstBin *bin, GstBin *sub_bin, GstElement *element, gpointer user)
{
    (void)sub_bin;
    if (is_type(element, "typefind")) {
        g_signal_connect(element, "have-type", G_CALLBACK(have_type), user);
        g_signal_handlers_disconnect_by_func(bin, (gpointer)typefind_added, user);
    }
}

/* Waits for bytes of a pipe; FALSE: the pipeline ends. */
static gboolean wait_for_bytes(struct source *s)
{
    struct pollfd wait = { .fd = s->stream->fd, .events = POLLIN };

    while (!g_atomic_int_get(&s->stop) && !caption_stopped())
        if (poll(&wait, 1, (int)(POLL_TIME / GST_MSECOND)) != 0)
            return TRUE;
    return FALSE;
}

/* Gives appsrc what was read already, then what the pipe has. */
static void feed(GstAppSrc *source, guint length, gpointer user)
{
    struct source *s = user;
    const GByteArray *bytes = s->stream->bytes;
    guint8 *piece;
    ssize_t got = 0;

    (void)length;
    if (s->fed < bytes->len) {
        gsize size = MIN(PIECE, bytes->len - s->fed);

        gst_app_src_push_buffer(source, gst_buffer_new_memdup(bytes->data + s->fed, size));
        s->fed += size;
        return;
    }
    piece = g_malloc(PIECE);
    if (s->stream->fd >= 0) {
        do {
            if (!wait_for_bytes(s)) {
                g_free(piece);
                return;
            }
            got = read(s->stream->fd, piece, PIECE);
        } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    }
    if (got > 0) {
        gst_app_src_push_buffer(source, gst_buffer_new_wrapped(piece, (gsize)got));
    } else {
        g_free(piece);
        gst_app_src_end_of_stream(source);
    }
}

static void source_setup(GstElement *decoder, GstElement *source, gpointer user)
{
    GstAppSrcCallbacks callbacks = { .need_data = feed };

    (void)decoder;
    if (GST_IS_APP_SRC(source))
        gst_app_src_set_callbacks(GST_APP_SRC(source), &callbacks, user, NULL);
}

/* ---- The caller's thread ------------------------------------------------------------------ */

/* Makes an element of the pipeline; NULL and a reason that names the package's element. */
static GstElement *make(struct source *s, const char *name, char **why)
{
    GstElement *element = gst_element_factory_make(name, NULL);

    if (!element)
        *why = g_strdup_printf("the GStreamer element %s is not installed", name);
    else
        gst_bin_add(GST_BIN(s->pipeline), element);
    return element;
}

static void watch_decoder(struct source *s, GstElement *decoder)
{
    GstCaps *caps = gst_caps_from_string("video/x-raw(ANY)");

    /* Sound is not even decoded. Decoders in hardware would leave their frames where they cannot be
     * read without further elements, and those that are not due cost the more. */
    g_object_set(decoder, "uri", s->stream->uri ? s->stream->uri : "appsrc://", "caps", caps, "expose-all-streams",
                 FALSE, "force-sw-decoders", TRUE, NULL);
    gst_caps_unref(caps);
    g_signal_connect(decoder, "pad-added", G_CALLBACK(pad_added), s);
    g_signal_connect(decoder, "no-more-pads", G_CALLBACK(no_more_pads), s);
    g_signal_connect(decoder, "autoplug-continue", G_CALLBACK(autoplug_continue), s);
    g_signal_connect(decoder, "source-setup", G_CALLBACK(source_setup), s);
}

static gboolean build(struct source *s, char **why)
{
    static const char *const directions[] = {
        "auto", "identity", "horiz", "180", "vert", "ul-lr", "90r", "ur-ll", "90l"
    };
    GstElement *flip, *decoder;
    GstCaps *caps;

    s->pipeline = gst_pipeline_new(NULL);
    g_signal_connect(s->pipeline, "deep-element-added", G_CALLBACK(typefind_added), s);
    if (!(s->convert = make(s, "videoconvert", why)) || !(flip = make(s, "videoflip", why)))
        return FALSE;
    if (!(s->sink = add_sink(s))) {
        *why = g_strdup("the GStreamer element appsink is not installed");
        return FALSE;
    }
    /* Cameras and telephones write which side is up; the model has seen upright pictures only. Not every
     * decoder of photos says it. */
    gst_util_set_object_arg(G_OBJECT(flip), "video-direction", directions[s->stream->orientation]);
    /* Alpha is kept where there is some. */
    caps = gst_caps_from_string("video/x-raw, format={ RGB, RGBA }");
    gst_app_sink_set_caps(s->sink, caps);
    gst_caps_unref(caps);
    if (!gst_element_link_many(s->convert, flip, GST_ELEMENT(s->sink), NULL)) {
        *why = g_strdup("the elements videoconvert, videoflip and appsink do not link");
        return FALSE;
    }
    /* The elements behind uridecodebin see no size that those in it have not sent. */
    g_signal_connect(s->pipeline, "deep-element-added", G_CALLBACK(element_added), s);
    if (!(decoder = make(s, "uridecodebin", why)))
        return FALSE;
    watch_decoder(s, decoder);
    return TRUE;
}

/* Hands a sample over. FALSE: the receiver wants no more, or the sample cannot be read (then *why). */
static gboolean hand_over(struct source *s, GstSample *sample, gboolean photo, char **why)
{
    GstBuffer *buffer = gst_sample_get_buffer(sample);
    GstVideoFrame frame;
    GstVideoInfo info;
    struct caption_frame out;
    gboolean go_on;

    if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
        !gst_video_frame_map(&frame, &info, buffer, GST_MAP_READ)) {
        *why = g_strdup("a decoded frame cannot be read");
        return FALSE;
    }
    out.pixels = GST_VIDEO_FRAME_PLANE_DATA(&frame, 0);
    out.width = GST_VIDEO_FRAME_WIDTH(&frame);
    out.height = GST_VIDEO_FRAME_HEIGHT(&frame);
    out.stride = GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);
    out.alpha = GST_VIDEO_INFO_HAS_ALPHA(&info);
    out.time = -1;
    if (!photo)
        out.time = (gint64)(gst_segment_to_stream_time(gst_sample_get_segment(sample), GST_FORMAT_TIME,
                                                       GST_BUFFER_PTS(buffer)) -
                            s->origin);
    go_on = s->options->fn(s->options->user, &out);
    gst_video_frame_unmap(&frame);
    return go_on;
}

/* Reads what is on the bus; TRUE if there was an error. */
static gboolean failed(struct source *s, GstBus *bus)
{
    GstMessage *message;

    while ((message = gst_bus_pop(bus))) {
        caption_words_note(&s->words, message);
        gst_message_unref(message);
    }
    return s->words.failed;
}

/* Why there is nothing more to wait for, or NULL. `active` is when there was something last. */
static char *why_it_ends(struct source *s, GstBus *bus, gint64 active)
{
    if (caption_stopped())
        return g_strdup("was stopped by a signal");
    if (g_atomic_int_get(&s->too_large)) {
        if (s->width > MAX_SIDE || s->height > MAX_SIDE)
            return g_strdup_printf("has frames of %d x %d pixels; GStreamer converts at most %d a side", s->width,
                                   s->height, MAX_SIDE);
        return caption_photo_too_large((guint64)s->width, (guint64)s->height, MIN(s->options->max_pixels, MAX_PIXELS));
    }
    if (failed(s, bus))
        return caption_words_sentence(&s->words);
    if (g_atomic_int_get(&s->no_more_pads) && !g_atomic_int_get(&s->linked) && !g_atomic_pointer_get(&s->photo))
        return caption_words_sentence(&s->words);
    if (g_get_monotonic_time() - active > STALL_TIME)
        return g_strdup_printf("gave nothing for %d seconds; is the source still there?",
                               (int)(STALL_TIME / G_USEC_PER_SEC));
    return NULL;
}

static void append_sample(GByteArray *bytes, GstSample *sample)
{
    GstMapInfo map;

    if (gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ)) {
        g_byte_array_append(bytes, map.data, (guint)map.size);
        gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
    }
}

/* Pulls frame after frame until the end, or a photo's bytes. Of a photo the first frame is all. */
static gboolean pump(struct source *s, GstBus *bus, GByteArray **photo, char **why)
{
    gint64 active = g_get_monotonic_time();
    gboolean handed = FALSE;
    gint frames = 0;

    for (;;) {
        GstAppSink *raw = g_atomic_pointer_get(&s->photo), *sink = raw ? raw : s->sink;
        GstSample *sample = gst_app_sink_try_pull_sample(sink, POLL_TIME);
        gboolean is_one = s->stream->photo || g_atomic_int_get(&s->image), go_on = TRUE;

        if (!sample && gst_app_sink_is_eos(sink))
            break;
        if (sample && raw) {
            *photo = *photo ? *photo : g_byte_array_new();
            append_sample(*photo, sample);
        } else if (sample) {
            go_on = hand_over(s, sample, is_one, why) && !is_one;
            handed = TRUE;
        }
        if (sample || frames != g_atomic_int_get(&s->frames)) {
            frames = g_atomic_int_get(&s->frames);
            active = g_get_monotonic_time();
        }
        if (sample)
            gst_sample_unref(sample);
        else
            *why = why_it_ends(s, bus, active);
        if (!go_on || *why)
            return *why == NULL;
    }
    /* An error that came with the end explains it. */
    if (failed(s, bus) || (!handed && !(photo && *photo)))
        *why = caption_words_sentence(&s->words);
    return *why == NULL;
}

enum caption_stream_status caption_stream_read(const struct caption_stream *stream,
                                               const struct caption_source *options, GByteArray **photo, char **why)
{
    struct source s = {
        .stream = stream, .options = options, .next_due = GST_CLOCK_TIME_NONE, .after = GST_CLOCK_TIME_NONE
    };
    enum caption_stream_status status = CAPTION_STREAM_FAILED;
    GstBus *bus;

    *why = NULL;
    if (build(&s, why)) {
        bus = gst_element_get_bus(s.pipeline);
        gst_element_set_state(s.pipeline, GST_STATE_PLAYING); /* a failure is on the bus as well */
        if (pump(&s, bus, photo, why)) {
            status = CAPTION_STREAM_READ;
        } else if (stream->fd >= 0 && g_atomic_int_get(&s.sound) && !g_atomic_int_get(&s.pictures)) {
            g_free(*why);
            *why = g_strdup("has sound, but no picture");
            if (options->sound_alone)
                *options->sound_alone = TRUE;
        } else if (caption_words_is_unknown(&s.words) && !g_atomic_int_get(&s.too_large)) {
            status = CAPTION_STREAM_UNKNOWN;
        }
        gst_object_unref(bus);
    }
    g_atomic_int_set(&s.stop, 1);
    /* The change to PLAYING may still run on a thread of GStreamer's. It waits for the frame that waits for a place in
     * the sink, and this thread would wait for it. */
    if (s.sink)
        gst_app_sink_set_drop(s.sink, TRUE);
    gst_element_set_state(s.pipeline, GST_STATE_NULL);
    gst_object_unref(s.pipeline);
    if (options->end && !stream->photo && s.end > s.origin)
        *options->end = (gint64)(s.end - s.origin);
    caption_words_clear(&s.words);
    return status;
}
