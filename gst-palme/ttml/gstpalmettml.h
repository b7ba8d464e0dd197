/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmettml.h - the type of the element palmettml, for whoever registers it.
 */
#ifndef GST_PALME_TTML_H
#define GST_PALME_TTML_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_PALME_TTML (gst_palme_ttml_get_type ())
G_DECLARE_FINAL_TYPE (GstPalmeTtml, gst_palme_ttml, GST, PALME_TTML, GstElement);

GST_ELEMENT_REGISTER_DECLARE (palmettml);

G_END_DECLS

#endif
