/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-planes.h - maps the planes of a frame for reading, if all of their bytes are there.
 */
#ifndef GST_PALME_CAPTION_PLANES_H
#define GST_PALME_CAPTION_PLANES_H

#include <gst/gst.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

/* Maps a frame of these caps. On success every byte of every plane, with the size in `info` and the
 * buffer's strides and offsets, lies in mapped memory, and `frame` has the size of `info` and is
 * progressive. The buffer and its memories stay as they are. Unmap it with gst_video_frame_unmap().
 * FALSE if bytes are missing or cannot be mapped; then *reason is a constant sentence fragment. */
gboolean gst_palme_caption_planes_map (GstVideoFrame * frame, const GstVideoInfo * info,
    GstBuffer * buffer, const gchar ** reason);

/* FALSE if a plane is stored bottom-up. */
gboolean gst_palme_caption_planes_upright (const GstVideoFrame * frame);

/* Maps a copy of a mapped frame in the layout of `info`. Unmap it as well. FALSE if out of memory. */
gboolean gst_palme_caption_planes_copy (GstVideoFrame * copy, const GstVideoInfo * info,
    const GstVideoFrame * frame);

G_END_DECLS

#endif
