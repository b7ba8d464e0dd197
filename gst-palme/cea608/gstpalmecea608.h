/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecea608.h - the type of the element palmecea608, for whoever registers it.
 */
#ifndef GST_PALME_CEA608_H
#define GST_PALME_CEA608_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_PALME_CEA608 (gst_palme_cea608_get_type ())
G_DECLARE_FINAL_TYPE (GstPalmeCea608, gst_palme_cea608, GST, PALME_CEA608,
    GstElement);

GST_ELEMENT_REGISTER_DECLARE (palmecea608);

G_END_DECLS

#endif
