/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-rows.h - frames of formats that the engine does not read, as rows of one that it
 * reads.
 */
#ifndef GST_PALME_CAPTION_ROWS_H
#define GST_PALME_CAPTION_ROWS_H

#include <gst/gst.h>
#include <gst/video/video.h>

#include "palme.h"

G_BEGIN_DECLS

/* Zeroed memory is an empty one. */
typedef struct
{
  GstVideoInfo in;
  gint lines;                   /* of a band */
  guint places;                 /* bands that are kept */
  GstVideoConverter *converters[2];     /* of whole bands, and of the one that is left */
  GstVideoInfo bands[2];        /* what they write */
  gint *held;                   /* [places] the band in each place, or -1 */
  guint8 *pixels;               /* [places][lines][stride of the bands] */
  const GstVideoFrame *frame;   /* during a call of palme_preprocess() */
  gint x, y;                    /* ... the first pixel that is read */
  guint8 full_alpha;
} GstPalmeCaptionRows;

/* Makes what is needed to read frames `in` as `out`, which has one plane, for a picture of `size` x `size`. The
 * memory grows with their width, and with the height only as far as it exceeds `size`. FALSE if there is no
 * conversion or no memory; then *reason is a constant sentence fragment, and `rows` is empty. */
gboolean gst_palme_caption_rows_open (GstPalmeCaptionRows * rows,
    const GstVideoInfo * in, const GstVideoInfo * out, gint size,
    const gchar ** reason);
void gst_palme_caption_rows_close (GstPalmeCaptionRows * rows);

/* Lets `image`, which describes `out`, read a rectangle of a mapped frame `in`, stored top-down, for as long as it is
 * used. The rectangle begins at a whole sample of chroma. Its rows are converted in the frame's width. */
void gst_palme_caption_rows_read (GstPalmeCaptionRows * rows,
    struct palme_image *image, const GstVideoFrame * frame, const GstVideoRectangle * rect);

G_END_DECLS

#endif
