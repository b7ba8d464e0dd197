/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-rect.h - rectangles of a frame: the value of the property `region`, and what of a rectangle
 * lies inside of a frame. Pure functions of numbers.
 */
#ifndef GST_PALME_CAPTION_RECT_H
#define GST_PALME_CAPTION_RECT_H

#include <gst/gst.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

/* The value of `region`: x, y, width, height. Zeroed memory is the whole frame. */
typedef struct
{
  gboolean set;
  gdouble value[4];             /* pixels, or a share of the frame's width or height */
  gboolean relative[4];
} GstPalmeCaptionPart;

/* Reads "x,y,width,height". Each is a whole number of pixels, a fraction of at most 1 with a decimal point, or per
 * cent. NULL and "" are the whole frame. Returns NULL, or a constant sentence fragment that says what is wrong;
 * *part is then unchanged. */
const gchar *gst_palme_caption_part_parse (GstPalmeCaptionPart * part,
    const gchar * text);

gboolean gst_palme_caption_part_is_equal (const GstPalmeCaptionPart * a,
    const GstPalmeCaptionPart * b);

/* The part of a frame of this size, without what lies outside; *rect is in pixels. FALSE if nothing is left. Parts
 * whose edges are equal fractions meet without a gap. */
gboolean gst_palme_caption_part_resolve (const GstPalmeCaptionPart * part,
    gint width, gint height, GstVideoRectangle * rect);

/* The part of x, y, width, height, which may be any numbers, that lies in `bounds`. FALSE if there is none. */
gboolean gst_palme_caption_rect_clip (GstVideoRectangle * rect, guint x,
    guint y, guint width, guint height, const GstVideoRectangle * bounds);

/* Intersection over union, 0..1. */
gdouble gst_palme_caption_rect_overlap (const GstVideoRectangle * a,
    const GstVideoRectangle * b);

G_END_DECLS

#endif
