/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * viewer.h - one browser that watches: a pipeline of its own with a webrtcbin, so that a browser which stalls or
 * vanishes stops nobody else, and a data channel for the captions.
 */
#ifndef PALME_EXAMPLES_VIEWER_H
#define PALME_EXAMPLES_VIEWER_H

#include <gst/gst.h>

typedef struct viewer viewer;

/* Called on a thread of WebRTC's. */
struct viewer_calls {
    /* The answer to the offer, or NULL if there is none; `answer` is the callee's. Once. */
    void (*answered)(char *answer, gpointer user);
    /* The browser has gone, or cannot be reached. At least once. */
    void (*gone)(gpointer user);
    /* The data channel is open. */
    void (*ready)(gpointer user);
    gpointer user;
};

/* Answers an offer (SDP). `base` is the pipeline of the video; its clock and times are the viewer's, too. NULL, with
 * `error` set, if the offer cannot be read or has no VP8. */
viewer *viewer_new(const char *offer, GstElement *base, const struct viewer_calls *calls, GError **error);
/* Ends the connection. No call comes from then on. */
void viewer_free(viewer *v);

/* A buffer of VP8 with the times of `base`. Drops what a slow browser does not fetch, and begins at a key frame. TRUE
 * if it waits for one. Does not block. */
gboolean viewer_push(viewer *v, GstBuffer *buffer, GstCaps *caps);

/* For how long nothing has come through the data channel, in seconds; before it is open, since the beginning. A
 * browser that was killed says nothing, and WebRTC does not notice. */
double viewer_silence(viewer *v);

/* Sends a text through the data channel, if it is open and not full. */
void viewer_send(viewer *v, const char *text);

#endif
