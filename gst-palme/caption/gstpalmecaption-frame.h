/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-frame.h - what palmecaption does with each frame: is it due, hand it over, pick a
 * caption up, say it. Everything here runs on the streaming thread, with no lock held.
 */
#ifndef GST_PALME_FRAME_H
#define GST_PALME_FRAME_H

#include "gstpalmecaption.h"

G_BEGIN_DECLS

/* Each video frame; the buffer is writable and its pixels stay as they are. FLUSHING when a wait
 * was ended by a flush or a stop, ERROR when a failed caption is to stop the stream. */
GstFlowReturn gst_palme_frame_process (GstPalmeCaption * self,
    GstBuffer * buffer);

/* A GAP event: picks up a ready caption and tells the text pad. */
void gst_palme_frame_gap (GstPalmeCaption * self, GstEvent * event);

/* EOS: waits for the running caption and says it. */
void gst_palme_frame_drain (GstPalmeCaption * self);

/* There is no caption any more, and the next frame is due. */
void gst_palme_frame_forget (GstPalmeCaption * self);

G_END_DECLS

#endif
