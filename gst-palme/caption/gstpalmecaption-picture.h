/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-picture.h - makes the small RGB picture that the engine sees from a video frame of
 * any raw format. It belongs to the streaming thread. It uses the engine to resize, but no model.
 */
#ifndef GST_PALME_CAPTION_PICTURE_H
#define GST_PALME_CAPTION_PICTURE_H

#include <gst/gst.h>
#include <gst/video/video.h>

#include "gstpalmecaption-rows.h"
#include "palme.h"

G_BEGIN_DECLS

/* The maximum number of pixels of a frame that has to be converted, since the engine does not read its
 * format. No side of any frame may be above PALME_MAX_SIDE. */
#define GST_PALME_CAPTION_PICTURE_MAX_CONVERTED (1 << 28)

typedef struct
{
  gboolean known;               /* the caps describe raw video */
  GstVideoInfo in;
  gboolean fields;              /* a buffer is a field: it has every other line of the frame */
  gint frame_height;            /* of both fields */
  gint align_x, align_y;        /* pixels that share a chroma sample, in the formats of `in` */
  gboolean direct;              /* the engine reads these frames */
  struct palme_image image;     /* a frame that is read or converted, but for its planes or rows */
  palme_preprocessor *preprocessor; /* made with the first due frame, and so are the rows */
  struct palme_info rule;       /* what it was made for: its sizes, rule and filter */
  palme_preprocessor *glimpser; /* made with the first glimpse */
  GstPalmeCaptionRows rows;     /* of formats that the engine does not read */
  gint rows_size;
} GstPalmeCaptionPicture;

/* The small picture: RGB of `size` x `size` pixels. Zeroed memory is an empty one. */
typedef struct
{
  gint size;
  guint8 *rgb;
} GstPalmeCaptionPixels;

/* Allocates a picture of this size; the content is lost if the size changes. FALSE if out of
 * memory; then it is empty. */
gboolean gst_palme_caption_pixels_resize (GstPalmeCaptionPixels * pixels,
    gint size);
void gst_palme_caption_pixels_clear (GstPalmeCaptionPixels * pixels);

/* The size in bytes of a row, and of a whole picture, of `size` x `size` pixels RGB. */
gsize gst_palme_caption_picture_stride (gint size);
gsize gst_palme_caption_picture_bytes (gint size);

/* New caps. Caps that do not describe pixels are accepted too: their frames cannot be read. */
void gst_palme_caption_picture_set_caps (GstPalmeCaptionPicture * picture, GstCaps * caps);

/* How the engine's model wants its pictures: resize, filter and resize_side of `info`. Until the first call they are
 * squashed by the triangle filter. TRUE if that is another way than before. */
gboolean gst_palme_caption_picture_set_rule (GstPalmeCaptionPicture * picture,
    const struct palme_info * info);

/* Forgets caps, preprocessor and rows. */
void gst_palme_caption_picture_clear (GstPalmeCaptionPicture * picture);

/* The size of frames, in pixels, as the caps tell it: of both fields together. */
void gst_palme_caption_picture_get_size (const GstPalmeCaptionPicture * picture,
    gint * width, gint * height);

/* Maps a frame, for any number of drawings. Unmap it with gst_video_frame_unmap(). FALSE if the frame
 * cannot be read; then *reason is a constant sentence fragment. */
gboolean gst_palme_caption_picture_map (GstPalmeCaptionPicture * picture, GstVideoFrame * frame,
    GstBuffer * buffer, const gchar ** reason);

/* Draws a rectangle of the mapped frame into `rgb`, which has gst_palme_caption_picture_bytes (size); NULL is all of
 * it. The rectangle lies inside of the frame; it grows to whole samples of chroma on the left and at the top. FALSE
 * as above. */
gboolean gst_palme_caption_picture_draw (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    GstVideoFrame * frame, const GstVideoRectangle * rect, const gchar ** reason);

/* Maps the frame, draws one rectangle of it, and unmaps it. */
gboolean gst_palme_caption_picture_take (GstPalmeCaptionPicture * picture, guint8 * rgb,
    gint size, GstBuffer * buffer, const GstVideoRectangle * rect, const gchar ** reason);

/* Draws a few rows of a rectangle of the mapped frame, as gst_palme_caption_picture_draw() does, squashed to
 * GST_PALME_CAPTION_PICTURE_GLIMPSE pixels a side: enough to see a cut, for a fraction of the work. FALSE if that
 * saves nothing, as it is with frames that the engine does not read. */
#define GST_PALME_CAPTION_PICTURE_GLIMPSE 64
gboolean gst_palme_caption_picture_glimpse (GstPalmeCaptionPicture * picture, guint8 * rgb,
    const GstVideoFrame * frame, const GstVideoRectangle * rect);

G_END_DECLS

#endif
