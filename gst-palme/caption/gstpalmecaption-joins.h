/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-joins.h - whether a stream meets another one downstream.
 */
#ifndef GST_PALME_CAPTION_JOINS_H
#define GST_PALME_CAPTION_JOINS_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* TRUE if an element downstream of this pad has more than one sink pad: a muxer, an overlay. Such
 * an element waits for all of its streams, so a cue has to be there when it starts. It looks into
 * bins and every branch of a tee. No lock may be held. */
gboolean gst_palme_caption_joins_another (GstPad * src);

G_END_DECLS

#endif
