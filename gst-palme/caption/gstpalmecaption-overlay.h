/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-overlay.h - shows captions in a textoverlay downstream: `palmecaption ! textoverlay`
 * needs no property and no second link.
 *
 * It looks for textoverlay elements behind the element's src pad and, with a probe on their video pad,
 * sets their `text` to the caption in the metadata of each buffer. It never links or adds elements,
 * and leaves alone every overlay that is in use: one whose text pad is linked, whose text is set, or
 * that a nearer palmecaption already serves.
 *
 * The property auto-overlay is the element's: if it is FALSE the element does not attach.
 */
#ifndef GST_PALME_CAPTION_OVERLAY_H
#define GST_PALME_CAPTION_OVERLAY_H

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct _GstPalmeCaptionOverlay GstPalmeCaptionOverlay;

/* One for each element, made in its init. Neither is referenced, both must outlive the result.
 * Never NULL. */
GstPalmeCaptionOverlay *gst_palme_caption_overlay_new (GstElement * element, GstPad * srcpad);

/* READY->PAUSED before chaining up: finds overlays and installs the probes. The elements
 * downstream are then in PAUSED and linked. A second call without detach does nothing. */
void gst_palme_caption_overlay_attach (GstPalmeCaptionOverlay * overlay);

/* PAUSED->READY after chaining up, also after a READY->PAUSED that failed: removes the probes and
 * empties a text that is still ours. Without attach it does nothing. */
void gst_palme_caption_overlay_detach (GstPalmeCaptionOverlay * overlay);

/* TRUE if there is an overlay to show captions in. Between attach and detach. */
gboolean gst_palme_caption_overlay_is_used (GstPalmeCaptionOverlay * overlay);

/* For the element's finalize; detaches first. NULL is fine. */
void gst_palme_caption_overlay_free (GstPalmeCaptionOverlay * overlay);

G_END_DECLS

#endif
