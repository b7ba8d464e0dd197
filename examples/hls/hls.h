/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * hls.h - playlists and segments of video with captions in a folder, as RFC 8216 wants them. It knows no GStreamer but
 * GstClockTime.
 */
#ifndef HLS_H
#define HLS_H

#include <gst/gst.h>

struct hls;

struct hls_options {
    const char *folder;
    guint segment_seconds; /* a segment takes about so long */
    guint window;          /* segments in the playlists of a live stream; 0: all of them, which makes a recording */
};

/* Makes the folder if it is missing. NULL: *why is a sentence, free it. */
struct hls *hls_new(const struct hls_options *options, char **why);
void hls_free(struct hls *hls);

/* What is said of the video in the master playlist; before the first segment. */
void hls_set_video(struct hls *hls, const char *codec, int width, int height);
/* The boxes ftyp and moov. FALSE: *why, as above, also below. */
gboolean hls_write_init(struct hls *hls, const guint8 *bytes, gsize size, char **why);

/* Begin and end of all of these are media times: they count from the first frame, as the timeline of the segments does.
 * A caption; they come in order and do not overlap. */
void hls_add_cue(struct hls *hls, GstClockTime begin, GstClockTime end, const char *text);
/* A segment, which is complete; the captions up to its end have been added. Writes it, its captions and playlists. */
gboolean hls_add_segment(struct hls *hls, GstClockTime begin, GstClockTime end, const guint8 *bytes, gsize size,
                         char **why);
/* Nothing follows. */
gboolean hls_end(struct hls *hls, char **why);

#endif
