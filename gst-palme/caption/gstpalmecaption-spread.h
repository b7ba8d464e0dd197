/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-spread.h - spreads the elements of a process over the interval: those that start together
 * would be due together, and make the video of all of them wait for the processor at the same moment.
 *
 * All functions may be called from any thread.
 */
#ifndef GST_PALME_CAPTION_SPREAD_H
#define GST_PALME_CAPTION_SPREAD_H

#include <glib.h>

G_BEGIN_DECLS

/* Takes a place, counted from 1; the lowest that is free. */
guint gst_palme_caption_spread_enter (void);

/* Gives it back. 0 is no place. */
void gst_palme_caption_spread_leave (guint place);

/* Which part of an interval the elements at this place are ahead of the first one, 0 <= part < 1. However many
 * there are, they are apart from each other. */
gdouble gst_palme_caption_spread_part (guint place);

G_END_DECLS

#endif
