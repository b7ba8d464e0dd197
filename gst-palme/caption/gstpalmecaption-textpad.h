/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-textpad.h - the request pad `text` of palmecaption: its task, its queue, cues and
 * GAPs.
 *
 * The element passes on the events of the video, and each frame with the caption in effect on it. The
 * text pad decides which frame starts a cue and which is a GAP. A thread of its own pushes both, so
 * that a slow or blocked consumer of text never holds the video.
 *
 * It does not know the engine, pictures or metadata, and it does not sanitise: captions are valid
 * UTF-8 on one line.
 *
 * Threads: every function may be called from any thread, unless stated otherwise. No lock is held
 * while something is pushed, posted or added, so a caller must not hold a lock that its own pad
 * functions or bus handlers need.
 */
#ifndef GST_PALME_CAPTION_TEXTPAD_H
#define GST_PALME_CAPTION_TEXTPAD_H

#include <gst/gst.h>

#include "gstpalmecues.h"

G_BEGIN_DECLS

typedef struct _GstPalmeCaptionTextpad GstPalmeCaptionTextpad;

/* One per element, created in its init. The element is not referenced; its `sink` pad has to exist
 * when the first event comes. Never NULL. */
GstPalmeCaptionTextpad *gst_palme_caption_textpad_new (GstElement * element);

/* For the element's finalize, after the base class has released the request pad in dispose. Stops
 * the task if it runs. NULL is fine. */
void gst_palme_caption_textpad_free (GstPalmeCaptionTextpad * text);

/* The element's request_new_pad: creates the pad `text` and adds it to the element, which owns it.
 * NULL if it exists already. In PAUSED and PLAYING the pad is active and has stream-start, caps and
 * segment when this returns. The caller refuses other names than "text". */
GstPad *gst_palme_caption_textpad_request_pad (GstPalmeCaptionTextpad * text, GstPadTemplate * templ);

/* The element's release_pad, in every state, also while a push on the pad blocks: waiting items are
 * dropped, the pad is deactivated and removed from the element. It waits at most 50 ms for a
 * running push. Other pads are ignored. */
void gst_palme_caption_textpad_release_pad (GstPalmeCaptionTextpad * text, GstPad * pad);

/* TRUE if the pad exists and has a peer. */
gboolean gst_palme_caption_textpad_is_linked (GstPalmeCaptionTextpad * text);

/* READY->PAUSED before chaining up: forgets the last stream, resets the count of drops, starts the
 * task. */
void gst_palme_caption_textpad_start (GstPalmeCaptionTextpad * text);

/* PAUSED->READY before chaining up: unblocks a push on the pad, drops waiting items, ends the task.
 * Also to be called when READY->PAUSED fails. Calling it twice is fine. */
void gst_palme_caption_textpad_stop (GstPalmeCaptionTextpad * text);

/* Each event of the sink pad, in its order and from the thread that brings it, borrowed. The place
 * is before the event goes on to `src`, for EOS after the drain. What it does:
 *   STREAM_START  the text stream starts anew: own id, the group id copied, sparse
 *   SEGMENT       a segment of our own, behind the items that wait: running time from 0 on
 *   FLUSH_START   passes at once; the queue is dropped, the caption's slices too
 *   FLUSH_STOP    passes, the task runs again, sticky events are sent again
 *   EOS           behind the items that wait
 *   others        nothing (the caps of the pad are its own, tags of the video are not text's; a
 *                 GAP is a frame with the caption NULL to gst_palme_caption_textpad_frame) */
void gst_palme_caption_textpad_event (GstPalmeCaptionTextpad * text, GstEvent * event);

/* The maximum duration of a cue, for the next cue on; 0 is one cue per caption. The default is 1 s.
 * With 0 a cue is sent when it ends, and equal captions in a row are one cue, unless the text meets
 * another stream downstream (in a muxer, an overlay): that needs a cue when it starts. */
void gst_palme_caption_textpad_set_cue_duration (GstPalmeCaptionTextpad * text, GstClockTime duration);

/* TRUE in sync mode: no waiting cue is dropped for a newer one. FALSE, the default, in async mode:
 * of each caption only the newest slice waits. In both modes the oldest cue is dropped when more
 * than 4096 items wait. Call it before the first frame after gst_palme_caption_textpad_start. */
void gst_palme_caption_textpad_set_exact (GstPalmeCaptionTextpad * text, gboolean sync_mode);

/* Each video frame and each GAP of the video, in order, from the streaming thread before it is
 * pushed, whether the pad is linked or not; also frames that are never due (flagged GAP,
 * unmappable). The caption is borrowed. A frame whose start is NONE does nothing; a duration of 0
 * or NONE is taken as 1/30 s.
 *
 * A cue starts with a frame, lasts at most the cue duration, and ends where the next caption is
 * expected, at the segment's end at the latest. No cue starts before the one before has ended, so a
 * new caption waits for the end of the current cue. None is lost: captions that still wait at EOS
 * get their cues. */
void gst_palme_caption_textpad_frame (GstPalmeCaptionTextpad * text, const GstPalmeCuesFrame * frame);

/* The number of cues dropped since gst_palme_caption_textpad_start because the consumer of text is
 * slow. */
guint64 gst_palme_caption_textpad_get_drops (GstPalmeCaptionTextpad * text);

G_END_DECLS

#endif
