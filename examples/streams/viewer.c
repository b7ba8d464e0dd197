/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "viewer.h"

#include <gst/app/gstappsrc.h>
#define GST_USE_UNSTABLE_API
#include <gst/sdp/sdp.h>
#include <gst/webrtc/webrtc.h>
#include <string.h>

/* So much may wait in a data channel before captions are dropped. */
#define CHANNEL_ROOM (64 * 1024)

struct viewer {
    struct viewer_calls calls;
    GstElement *pipeline, *source, *rtc;
    GMutex lock;
    GstWebRTCDataChannel *channel; /* under the lock */
    gboolean answered;             /* under the lock */
    GstClockTime heard;            /* when something came last; under the lock */
    gboolean started;              /* a key frame has come; of the thread that pushes */
};

/* The payload type that an offer gives VP8, or -1. */
static int payload_of(const GstSDPMessage *sdp)
{
    for (guint i = 0; i < gst_sdp_message_medias_len(sdp); i++) {
        const GstSDPMedia *media = gst_sdp_message_get_media(sdp, i);
        if (g_strcmp0(gst_sdp_media_get_media(media), "video") != 0)
            continue;
        for (guint k = 0; k < gst_sdp_media_attributes_len(media); k++) {
            const GstSDPAttribute *a = gst_sdp_media_get_attribute(media, k);
            char **words = g_strcmp0(a->key, "rtpmap") == 0 ? g_strsplit(a->value, " ", 2) : NULL;
            gboolean found = words && g_strv_length(words) == 2 && g_ascii_strcasecmp(words[1], "VP8/90000") == 0;
            int payload = found ? (int)g_ascii_strtoll(words[0], NULL, 10) : -1;
            g_strfreev(words);
            if (found && payload >= 0 && payload < 128)
                return payload;
        }
    }
    return -1;
}

/* ---- The answer */

static void answer(viewer *v, char *text)
{
    gboolean first;

    g_mutex_lock(&v->lock);
    first = !v->answered;
    v->answered = TRUE;
    g_mutex_unlock(&v->lock);
    if (first)
        v->calls.answered(text, v->calls.user);
    else
        g_free(text);
}

/* All addresses go into the answer, so that nothing has to be told later. */
static void gathering_changed(GstElement *rtc, GParamSpec *spec, gpointer user)
{
    GstWebRTCICEGatheringState state;
    GstWebRTCSessionDescription *description = NULL;

    (void)spec;
    g_object_get(rtc, "ice-gathering-state", &state, NULL);
    if (state != GST_WEBRTC_ICE_GATHERING_STATE_COMPLETE)
        return;
    g_object_get(rtc, "local-description", &description, NULL);
    if (description) {
        answer(user, gst_sdp_message_as_text(description->sdp));
        gst_webrtc_session_description_free(description);
    }
}

static void answer_created(GstPromise *promise, gpointer user)
{
    viewer *v = user;
    GstWebRTCSessionDescription *description = NULL;
    const GstStructure *reply =
        gst_promise_wait(promise) == GST_PROMISE_RESULT_REPLIED ? gst_promise_get_reply(promise) : NULL;

    if (reply && gst_structure_get(reply, "answer", GST_TYPE_WEBRTC_SESSION_DESCRIPTION, &description, NULL)) {
        g_signal_emit_by_name(v->rtc, "set-local-description", description, NULL);
        gst_webrtc_session_description_free(description);
    } else
        answer(v, NULL);
    gst_promise_unref(promise);
}

static void offer_set(GstPromise *promise, gpointer user)
{
    viewer *v = user;

    gst_promise_unref(promise);
    g_signal_emit_by_name(v->rtc, "create-answer", NULL, gst_promise_new_with_change_func(answer_created, v, NULL));
}

/* ---- The connection */

static void connection_changed(GstElement *rtc, GParamSpec *spec, gpointer user)
{
    viewer *v = user;
    GstWebRTCPeerConnectionState state;

    (void)spec;
    g_object_get(rtc, "connection-state", &state, NULL);
    if (state == GST_WEBRTC_PEER_CONNECTION_STATE_FAILED || state == GST_WEBRTC_PEER_CONNECTION_STATE_CLOSED ||
        state == GST_WEBRTC_PEER_CONNECTION_STATE_DISCONNECTED)
        v->calls.gone(v->calls.user);
}

static void channel_opened(GstWebRTCDataChannel *channel, gpointer user)
{
    viewer *v = user;

    (void)channel;
    v->calls.ready(v->calls.user);
}

static void message_came(GstWebRTCDataChannel *channel, const char *text, gpointer user)
{
    viewer *v = user;

    (void)channel;
    (void)text;
    g_mutex_lock(&v->lock);
    v->heard = gst_util_get_timestamp();
    g_mutex_unlock(&v->lock);
}

static void channel_closed(GstWebRTCDataChannel *channel, gpointer user)
{
    viewer *v = user;

    (void)channel;
    v->calls.gone(v->calls.user);
}

static void channel_came(GstElement *rtc, GstWebRTCDataChannel *channel, gpointer user)
{
    viewer *v = user;
    GstWebRTCDataChannelState state;

    (void)rtc;
    g_mutex_lock(&v->lock);
    g_clear_object(&v->channel);
    v->channel = g_object_ref(channel);
    g_mutex_unlock(&v->lock);
    g_signal_connect(channel, "on-open", G_CALLBACK(channel_opened), v);
    g_signal_connect(channel, "on-close", G_CALLBACK(channel_closed), v);
    g_signal_connect(channel, "on-message-string", G_CALLBACK(message_came), v);
    g_object_get(channel, "ready-state", &state, NULL);
    if (state == GST_WEBRTC_DATA_CHANNEL_STATE_OPEN)
        channel_opened(channel, v);
}

/* An error of the viewer's pipeline ends the viewer. */
static GstBusSyncReply message_arrives(GstBus *bus, GstMessage *message, gpointer user)
{
    viewer *v = user;

    (void)bus;
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        answer(v, NULL);
        v->calls.gone(v->calls.user);
    }
    gst_message_unref(message);
    return GST_BUS_DROP;
}

static gboolean make_pipeline(viewer *v, int payload, GstElement *base, GError **error)
{
    /* RTP's time is the running time, without an offset: a caption names its picture by it. */
    char *line = g_strdup_printf("appsrc name=source format=time is-live=true leaky-type=downstream max-buffers=60 "
                                 "max-bytes=0 max-time=0 ! rtpvp8pay pt=%d timestamp-offset=0 picture-id-mode=15-bit ! "
                                 "application/x-rtp,media=video,encoding-name=VP8,payload=%d ! "
                                 "webrtcbin name=rtc bundle-policy=max-bundle",
                                 payload, payload);
    GstClock *clock;
    GstBus *bus;

    v->pipeline = gst_parse_launch_full(line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
    g_free(line);
    if (!v->pipeline)
        return FALSE;
    v->source = gst_bin_get_by_name(GST_BIN(v->pipeline), "source");
    v->rtc = gst_bin_get_by_name(GST_BIN(v->pipeline), "rtc");
    clock = gst_pipeline_get_clock(GST_PIPELINE(base));
    gst_pipeline_use_clock(GST_PIPELINE(v->pipeline), clock);
    g_clear_object(&clock);
    gst_element_set_start_time(v->pipeline, GST_CLOCK_TIME_NONE);
    gst_element_set_base_time(v->pipeline, gst_element_get_base_time(base));
    bus = gst_element_get_bus(v->pipeline);
    gst_bus_set_sync_handler(bus, message_arrives, v, NULL);
    gst_object_unref(bus);
    g_signal_connect(v->rtc, "notify::ice-gathering-state", G_CALLBACK(gathering_changed), v);
    g_signal_connect(v->rtc, "notify::connection-state", G_CALLBACK(connection_changed), v);
    g_signal_connect(v->rtc, "on-data-channel", G_CALLBACK(channel_came), v);
    return TRUE;
}

viewer *viewer_new(const char *offer, GstElement *base, const struct viewer_calls *calls, GError **error)
{
    GstSDPMessage *sdp = NULL;
    viewer *v = g_new0(viewer, 1);
    int payload = gst_sdp_message_new_from_text(offer, &sdp) == GST_SDP_OK ? payload_of(sdp) : -1;

    v->calls = *calls;
    v->heard = gst_util_get_timestamp();
    g_mutex_init(&v->lock);
    if (payload < 0)
        g_set_error(error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The offer has no video in VP8.");
    if (payload < 0 || !make_pipeline(v, payload, base, error)) {
        if (sdp)
            gst_sdp_message_free(sdp);
        viewer_free(v);
        return NULL;
    }
    GstWebRTCSessionDescription *description = gst_webrtc_session_description_new(GST_WEBRTC_SDP_TYPE_OFFER, sdp);
    gst_element_set_state(v->pipeline, GST_STATE_PLAYING);
    g_signal_emit_by_name(v->rtc, "set-remote-description", description,
                          gst_promise_new_with_change_func(offer_set, v, NULL));
    gst_webrtc_session_description_free(description);
    return v;
}

void viewer_free(viewer *v)
{
    if (v->channel)
        g_signal_handlers_disconnect_by_data(v->channel, v);
    if (v->rtc)
        g_signal_handlers_disconnect_by_data(v->rtc, v);
    if (v->pipeline) {
        GstBus *bus = gst_element_get_bus(v->pipeline);
        gst_bus_set_sync_handler(bus, NULL, NULL, NULL);
        gst_object_unref(bus);
        gst_element_set_state(v->pipeline, GST_STATE_NULL);
    }
    g_clear_object(&v->channel);
    g_clear_object(&v->rtc);
    g_clear_object(&v->source);
    g_clear_object(&v->pipeline);
    g_mutex_clear(&v->lock);
    g_free(v);
}

gboolean viewer_push(viewer *v, GstBuffer *buffer, GstCaps *caps)
{
    if (!v->started && GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT))
        return TRUE;
    v->started = TRUE;
    gst_app_src_set_caps(GST_APP_SRC(v->source), caps);
    gst_app_src_push_buffer(GST_APP_SRC(v->source), gst_buffer_ref(buffer));
    return FALSE;
}

double viewer_silence(viewer *v)
{
    GstClockTime heard;

    g_mutex_lock(&v->lock);
    heard = v->heard;
    g_mutex_unlock(&v->lock);
    return (double)(gst_util_get_timestamp() - heard) / GST_SECOND;
}

void viewer_send(viewer *v, const char *text)
{
    GstWebRTCDataChannel *channel;
    GstWebRTCDataChannelState state = GST_WEBRTC_DATA_CHANNEL_STATE_CONNECTING;
    guint64 waiting = 0;

    g_mutex_lock(&v->lock);
    channel = v->channel ? g_object_ref(v->channel) : NULL;
    g_mutex_unlock(&v->lock);
    if (!channel)
        return;
    g_object_get(channel, "ready-state", &state, "buffered-amount", &waiting, NULL);
    if (state == GST_WEBRTC_DATA_CHANNEL_STATE_OPEN && waiting < CHANNEL_ROOM)
        g_signal_emit_by_name(channel, "send-string", text);
    g_object_unref(channel);
}
