/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The request pad `text` of palmecaption: its task, its queue, cues and GAPs.
 *
 * The element tells this part what passes on the video side (events, frames with the caption that
 * is in effect on them). This part decides which frame starts a cue and which is a GAP, and a
 * thread of its own pushes both, so that a slow or blocked consumer of text never holds the video.
 *
 * This part knows nothing of the engine, of pictures and of metadata, and it sanitises nothing: a
 * caption is valid UTF-8 on one line when it comes here.
 *
 * Threads: every function may be called from any thread, unless it says otherwise. No lock is held
 * while something is pushed, posted or added, so a caller must hold none that its own pad functions
 * or its bus handlers need.
 */
#ifndef GST_PALME_CAPTION_TEXTPAD_H
#define GST_PALME_CAPTION_TEXTPAD_H

#include <gst/gst.h>

#include "gstpalmecues.h"

G_BEGIN_DECLS

typedef struct _GstPalmeCaptionTextpad GstPalmeCaptionTextpad;

/* One for each element, made in its init. The element is not referenced; its `sink` pad has to be
 * there when the first event comes. Never NULL. */
GstPalmeCaptionTextpad *gst_palme_caption_textpad_new (GstElement * element);

/* For the element's finalize, after the base class has released the request pad in dispose. Stops
 * what still runs. NULL is fine. */
void gst_palme_caption_textpad_free (GstPalmeCaptionTextpad * text);

/* The element's request_new_pad: makes the pad `text` and adds it to the element; the result is
 * the element's and not the caller's. NULL if there is one already. In PAUSED and PLAYING the pad
 * is active and carries stream-start, caps and segment when this returns. A requested name other
 * than "text" is for the caller to refuse. */
GstPad *gst_palme_caption_textpad_request_pad (GstPalmeCaptionTextpad * text, GstPadTemplate * templ);

/* The element's release_pad, in every state, also while a push on the pad blocks: waiting items
 * are dropped, the pad is deactivated and removed from the element. It waits a moment for a push
 * that runs, never for longer than 50 ms. Another pad than ours is ignored. */
void gst_palme_caption_textpad_release_pad (GstPalmeCaptionTextpad * text, GstPad * pad);

/* TRUE if the pad exists and has a peer. */
gboolean gst_palme_caption_textpad_is_linked (GstPalmeCaptionTextpad * text);

/* READY->PAUSED before chaining up: forgets the last stream, counts drops from 0, starts the
 * task. */
void gst_palme_caption_textpad_start (GstPalmeCaptionTextpad * text);

/* PAUSED->READY before chaining up: unblocks a push on our pad, drops what waits, ends the task.
 * Also to be called when a READY->PAUSED that was started fails. Twice is fine. */
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

/* The longest cue; 0 is one cue per caption. Counts from the next cue on. The default is 1 s. With
 * 0 a cue leaves when it ends, and equal captions in a row are one cue, unless the text meets
 * another stream downstream (a muxer, an overlay): those need a cue when it starts. */
void gst_palme_caption_textpad_set_cue_duration (GstPalmeCaptionTextpad * text, GstClockTime duration);

/* TRUE in sync mode: no waiting cue is dropped for a newer one. FALSE, the default, is async mode:
 * of each caption one slice waits, the newest. In both modes the oldest cue goes when more than
 * 4096 items wait. Call it before the first frame that follows gst_palme_caption_textpad_start. */
void gst_palme_caption_textpad_set_exact (GstPalmeCaptionTextpad * text, gboolean sync_mode);

/* Each video frame and each GAP of the video, in order, from the streaming thread and before it is
 * pushed, linked or not, also frames that are never due (flagged GAP, unmappable). The caption is
 * borrowed. A frame whose start is NONE does nothing here; a duration of 0 or NONE is 1/30 s.
 *
 * The rules of a cue: it starts with the frame, lasts at most the cue duration, ends where the next
 * caption is expected and at the segment's end at the latest, and no cue starts before an earlier
 * one has ended. So a new caption waits for the end of the cue that is shown. None is lost: what
 * still waits at EOS gets its cue. */
void gst_palme_caption_textpad_frame (GstPalmeCaptionTextpad * text, const GstPalmeCuesFrame * frame);

/* Cues dropped since gst_palme_caption_textpad_start because the consumer of text is slow. */
guint64 gst_palme_caption_textpad_get_drops (GstPalmeCaptionTextpad * text);

G_END_DECLS

#endif
