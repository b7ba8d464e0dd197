/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmetextinput.h - what elements that take text read of its buffers and events.
 */
#ifndef GST_PALME_TEXT_INPUT_H
#define GST_PALME_TEXT_INPUT_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* The text of a buffer up to its first NUL, to be freed; "" if it is empty, NULL if it cannot be read. It may be
 * anything, also invalid UTF-8. */
gchar *gst_palme_text_input_read (GstBuffer * buffer);

/* Where a GAP event ends, NONE if it has no time. Takes the event. */
GstClockTime gst_palme_text_input_gap_end (GstEvent * event);

G_END_DECLS

#endif
