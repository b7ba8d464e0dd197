/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption.h - the type of the element palmecaption, for gstpalme.c, which registers it.
 */
#ifndef GST_PALME_CAPTION_H
#define GST_PALME_CAPTION_H

#include <gst/base/gstbasetransform.h>
#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_PALME_CAPTION (gst_palme_caption_get_type ())
G_DECLARE_FINAL_TYPE (GstPalmeCaption, gst_palme_caption, GST, PALME_CAPTION,
    GstBaseTransform);

GST_ELEMENT_REGISTER_DECLARE (palmecaption);

G_END_DECLS

#endif
