/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-picture.c - makes the small RGB picture that the engine sees.
 *
 * The engine resizes all frames, by the rule of the model. It reads the formats that cameras and decoders
 * usually give; GstVideoConverter turns all others into RGB, at their own size, a few rows at a time. A part
 * of a frame is read where it lies: the planes begin at its first pixel. What is drawn is squashed to the
 * square as in training: pixel aspect ratio, rotation tags and crop metadata are ignored. Frames with alpha
 * are seen over white.
 */
#include "gstpalmecaption-picture.h"

#include <string.h>

#include "gstpalmecaption-planes.h"

gsize
gst_palme_caption_picture_stride (gint size)
{
  return (gsize) size *3;
}

gsize
gst_palme_caption_picture_bytes (gint size)
{
  return gst_palme_caption_picture_stride (size) * (gsize) size;
}

void
gst_palme_caption_pixels_clear (GstPalmeCaptionPixels * pixels)
{
  g_clear_pointer (&pixels->rgb, g_free);
  pixels->size = 0;
}

gboolean
gst_palme_caption_pixels_resize (GstPalmeCaptionPixels * pixels, gint size)
{
  if (pixels->rgb != NULL && pixels->size == size)
    return TRUE;
  gst_palme_caption_pixels_clear (pixels);
  pixels->rgb = g_try_malloc0 (gst_palme_caption_picture_bytes (size));
  if (pixels->rgb == NULL)
    return FALSE;
  pixels->size = size;
  return TRUE;
}

void
gst_palme_caption_picture_clear (GstPalmeCaptionPicture * picture)
{
  gst_palme_caption_rows_close (&picture->rows);
  palme_preprocessor_close (&picture->preprocessor);
  palme_preprocessor_close (&picture->glimpser);
  picture->direct = FALSE;
  picture->known = FALSE;
  picture->fields = FALSE;
}

/* Describes frames of these caps to the engine. FALSE if it does not read them: other formats, RGB
 * of limited range, rare matrices. */
static gboolean
describe (struct palme_image *image, const GstVideoInfo * info)
{
  static const struct
  {
    GstVideoFormat video;
    enum palme_format engine;
  } formats[] = {
    {GST_VIDEO_FORMAT_I420, PALME_FORMAT_I420},
    {GST_VIDEO_FORMAT_YV12, PALME_FORMAT_I420},
    {GST_VIDEO_FORMAT_NV12, PALME_FORMAT_NV12},
    {GST_VIDEO_FORMAT_YUY2, PALME_FORMAT_YUY2},
    {GST_VIDEO_FORMAT_RGB, PALME_FORMAT_RGB},
    {GST_VIDEO_FORMAT_BGR, PALME_FORMAT_BGR},
    {GST_VIDEO_FORMAT_RGBx, PALME_FORMAT_RGBX},
    {GST_VIDEO_FORMAT_RGBA, PALME_FORMAT_RGBA},
    {GST_VIDEO_FORMAT_BGRx, PALME_FORMAT_BGRX},
    {GST_VIDEO_FORMAT_BGRA, PALME_FORMAT_BGRA},
    {GST_VIDEO_FORMAT_xRGB, PALME_FORMAT_XRGB},
    {GST_VIDEO_FORMAT_ARGB, PALME_FORMAT_ARGB},
    {GST_VIDEO_FORMAT_xBGR, PALME_FORMAT_XBGR},
    {GST_VIDEO_FORMAT_ABGR, PALME_FORMAT_ABGR},
    {GST_VIDEO_FORMAT_GRAY8, PALME_FORMAT_GRAY8},
  };
  guint i;

  memset (image, 0, sizeof *image);
  for (i = 0; i < G_N_ELEMENTS (formats); i++)
    if (formats[i].video == GST_VIDEO_INFO_FORMAT (info))
      break;
  if (i == G_N_ELEMENTS (formats))
    return FALSE;
  image->format = formats[i].engine;
  image->width = GST_VIDEO_INFO_WIDTH (info);
  image->height = GST_VIDEO_INFO_HEIGHT (info);
  image->premultiplied =
      (GST_VIDEO_INFO_FLAGS (info) & GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA) != 0;

  switch (info->colorimetry.range) {
    case GST_VIDEO_COLOR_RANGE_0_255:
      image->range = PALME_RANGE_FULL;
      break;
    case GST_VIDEO_COLOR_RANGE_16_235:
      image->range = PALME_RANGE_LIMITED;
      break;
    default:
      return FALSE;
  }
  if (!GST_VIDEO_INFO_IS_YUV (info))
    return image->range == PALME_RANGE_FULL;
  switch (info->colorimetry.matrix) {
    case GST_VIDEO_COLOR_MATRIX_BT601:
      image->matrix = PALME_MATRIX_BT601;
      return TRUE;
    case GST_VIDEO_COLOR_MATRIX_BT709:
      image->matrix = PALME_MATRIX_BT709;
      return TRUE;
    case GST_VIDEO_COLOR_MATRIX_BT2020:
      image->matrix = PALME_MATRIX_BT2020;
      return TRUE;
    default:
      return FALSE;
  }
}

void
gst_palme_caption_picture_set_caps (GstPalmeCaptionPicture * picture,
    GstCaps * caps)
{
  const GstVideoFormatInfo *format;
  guint c;

  gst_palme_caption_picture_clear (picture);
  /* The parser logs an error if caps have no width or height, which is legal for memory that only
   * hardware understands. */
  if (!gst_video_info_from_caps (&picture->in, caps))
    return;
  format = picture->in.finfo;
  picture->frame_height = GST_VIDEO_INFO_HEIGHT (&picture->in);
  picture->known = format != NULL && format->unpack_func != NULL
      && GST_VIDEO_INFO_FORMAT (&picture->in) != GST_VIDEO_FORMAT_ENCODED;

  if (GST_VIDEO_INFO_INTERLACE_MODE (&picture->in) ==
      GST_VIDEO_INTERLACE_MODE_ALTERNATE) {
    /* Each buffer is one field. It is read as a picture of half the height. */
    GstVideoInfo field;

    picture->fields = TRUE;
    if (gst_video_info_set_format (&field, GST_VIDEO_INFO_FORMAT (&picture->in),
            GST_VIDEO_INFO_WIDTH (&picture->in),
            GST_VIDEO_INFO_FIELD_HEIGHT (&picture->in))) {
      field.colorimetry = picture->in.colorimetry;
      field.chroma_site = picture->in.chroma_site;
      picture->in = field;
    } else {
      picture->known = FALSE;
    }
  }
  /* Both fields are read as one frame: motion is blurred vertically, as by any filter that does not
   * separate them. The offsets of the rows are known by now. */
  picture->in.interlace_mode = GST_VIDEO_INTERLACE_MODE_PROGRESSIVE;
  picture->direct = picture->known && describe (&picture->image, &picture->in);
  picture->align_x = picture->align_y = 1;
  if (!picture->known)
    return;
  for (c = 0; c < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format); c++) {
    picture->align_x =
        MAX (picture->align_x, 1 << GST_VIDEO_FORMAT_INFO_W_SUB (format, c));
    picture->align_y =
        MAX (picture->align_y, 1 << GST_VIDEO_FORMAT_INFO_H_SUB (format, c));
  }
}

void
gst_palme_caption_picture_get_size (const GstPalmeCaptionPicture * picture,
    gint * width, gint * height)
{
  *width = picture->known ? GST_VIDEO_INFO_WIDTH (&picture->in) : 0;
  *height = picture->known ? picture->frame_height : 0;
}

/* Resizes with the engine. FALSE if it does not read this picture after all. */
static gboolean
resize (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    const struct palme_image *image)
{
  if (picture->rule.image_size != size) {
    palme_preprocessor_close (&picture->preprocessor);
    picture->rule.image_size = picture->rule.resize_side = size;
  }
  if (picture->preprocessor == NULL
      && palme_preprocessor_open_info (&picture->preprocessor, &picture->rule,
          NULL) < 0)
    return FALSE;
  return palme_preprocess (picture->preprocessor, rgb, image) == PALME_OK;
}

/* The rectangle in rows of the buffer, from a whole sample of chroma on. */
static GstVideoRectangle
rows_of (const GstPalmeCaptionPicture * picture, const GstVideoRectangle * rect)
{
  GstVideoRectangle all = {
    0, 0, GST_VIDEO_INFO_WIDTH (&picture->in),
    GST_VIDEO_INFO_HEIGHT (&picture->in)
  };
  gint right, bottom;

  if (rect == NULL)
    return all;
  all = *rect;
  if (picture->fields) {
    all.y = rect->y / 2;
    all.h = (rect->y + rect->h + 1) / 2 - all.y;
  }
  right = all.x + all.w;
  bottom = all.y + all.h;
  all.x -= all.x % picture->align_x;
  all.y -= all.y % picture->align_y;
  all.w = right - all.x;
  all.h = bottom - all.y;
  return all;
}

/* The rectangle of a frame, which the engine reads where it lies. */
static struct palme_image
image_of (const GstPalmeCaptionPicture * picture, const GstVideoFrame * frame,
    const GstVideoRectangle * rect)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  struct palme_image image = picture->image;
  guint c;

  image.width = rect->w;
  image.height = rect->h;
  /* U and V by component: YV12 has them in the other order. */
  for (c = 0; c < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format); c++) {
    guint plane = GST_VIDEO_FORMAT_INFO_PLANE (format, c);
    guint i = image.format == PALME_FORMAT_I420 ? c : plane;
    gint stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);

    image.strides[i] = stride;
    image.planes[i] = (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, plane)
    + (gssize) stride *(rect->y >> GST_VIDEO_FORMAT_INFO_H_SUB (format, c))
    + (gssize) GST_VIDEO_FORMAT_INFO_PSTRIDE (format, c)
    * (rect->x >> GST_VIDEO_FORMAT_INFO_W_SUB (format, c));
  }
  return image;
}

static gboolean
resize_frame (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    const GstVideoFrame * frame, const GstVideoRectangle * rect)
{
  struct palme_image image;

  if (!picture->direct)
    return FALSE;
  image = image_of (picture, frame, rect);
  return resize (picture, rgb, size, &image);
}

/* ---- All other formats ----------------------------------------------------------------------- */

/* The converter computes in ints, and all of a frame has to be converted on the streaming thread. */
static gboolean
may_convert (const GstVideoFrame * frame)
{
  gint64 width = GST_VIDEO_FRAME_WIDTH (frame);
  gint64 height = GST_VIDEO_FRAME_HEIGHT (frame);
  guint i;

  for (i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    gint64 stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, i);

    /* The stride of a tiled format holds the numbers of tiles. */
    if (!GST_VIDEO_FORMAT_INFO_IS_TILED (frame->info.finfo)
        && (stride * height > G_MAXINT || stride * height < -G_MAXINT))
      return FALSE;
  }
  return width <= PALME_MAX_SIDE && height <= PALME_MAX_SIDE
      && width * height <= GST_PALME_CAPTION_PICTURE_MAX_CONVERTED;
}

/* What frames of these caps are converted to. Chroma that pixels share stays as it is, in YUY2, whose matrix is
 * the engine's; that is quick, and nothing is rounded twice. */
static gboolean
choose_format (GstVideoInfo * to, struct palme_image *image,
    const GstVideoInfo * in)
{
  GstVideoFormat similar = GST_VIDEO_FORMAT_UNKNOWN;
  gint width = GST_VIDEO_INFO_WIDTH (in), height = GST_VIDEO_INFO_HEIGHT (in);

  if (GST_VIDEO_INFO_IS_GRAY (in))
    similar = GST_VIDEO_FORMAT_GRAY8;
  else if (GST_VIDEO_INFO_IS_YUV (in) && !GST_VIDEO_INFO_HAS_ALPHA (in)
      && GST_VIDEO_FORMAT_INFO_W_SUB (in->finfo, 1) > 0)
    similar = GST_VIDEO_FORMAT_YUY2;
  if (similar != GST_VIDEO_FORMAT_UNKNOWN) {
    if (!gst_video_info_set_format (to, similar, width, height))
      return FALSE;
    to->colorimetry = in->colorimetry;
    if (describe (image, to))
      return TRUE;
  }
  if (!gst_video_info_set_format (to, GST_VIDEO_INFO_HAS_ALPHA (in) ?
          GST_VIDEO_FORMAT_RGBA : GST_VIDEO_FORMAT_RGBx, width, height)
      || !describe (image, to))
    return FALSE;
  image->premultiplied =
      (GST_VIDEO_INFO_FLAGS (in) & GST_VIDEO_FLAG_PREMULTIPLIED_ALPHA) != 0;
  return TRUE;
}

static gboolean
convert (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    const GstVideoFrame * frame, const GstVideoRectangle * rect,
    const gchar ** reason)
{
  struct palme_image image;

  if (picture->rows.places == 0 || picture->rows_size != size) {
    GstVideoInfo to;

    if (!choose_format (&to, &picture->image, &picture->in)) {
      *reason = "there is no conversion from this format to RGB";
      return FALSE;
    }
    if (!gst_palme_caption_rows_open (&picture->rows, &picture->in, &to, size,
            reason))
      return FALSE;
    picture->rows_size = size;
  }
  image = picture->image;
  gst_palme_caption_rows_read (&picture->rows, &image, frame, rect);
  if (resize (picture, rgb, size, &image))
    return TRUE;
  *reason = "out of memory for the small picture";
  return FALSE;
}

/* The converter's ORC loops need positive strides. */
static gboolean
convert_upright (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    GstVideoFrame * frame, const GstVideoRectangle * rect,
    const gchar ** reason)
{
  GstVideoFrame copy;
  gboolean ok;

  if (!may_convert (frame)) {
    *reason =
        "it is too large: in this format, frames may have at most 2^28 pixels "
        "and sides of at most 32768 pixels";
    return FALSE;
  }
  if (gst_palme_caption_planes_upright (frame))
    return convert (picture, rgb, size, frame, rect, reason);
  if (!gst_palme_caption_planes_copy (&copy, &picture->in, frame)) {
    *reason = "out of memory for a copy of it";
    return FALSE;
  }
  ok = convert (picture, rgb, size, &copy, rect, reason);
  gst_video_frame_unmap (&copy);
  return ok;
}

gboolean
gst_palme_caption_picture_set_rule (GstPalmeCaptionPicture * picture,
    const struct palme_info *info)
{
  struct palme_info *rule = &picture->rule;

  if (rule->image_size == info->image_size && rule->resize == info->resize
      && rule->filter == info->filter && rule->resize_side == info->resize_side)
    return FALSE;
  palme_preprocessor_close (&picture->preprocessor);
  rule->image_size = info->image_size;
  rule->resize = info->resize;
  rule->filter = info->filter;
  rule->resize_side = info->resize_side;
  return TRUE;
}

gboolean
gst_palme_caption_picture_map (GstPalmeCaptionPicture * picture,
    GstVideoFrame * frame, GstBuffer * buffer, const gchar ** reason)
{
  if (picture->known)
    return gst_palme_caption_planes_map (frame, &picture->in, buffer, reason);
  *reason = "its format has no pixels in system memory; videoconvert, or an "
      "element that downloads to system memory, before palmecaption may help";
  return FALSE;
}

gboolean
gst_palme_caption_picture_draw (GstPalmeCaptionPicture * picture, guint8 * rgb,
    gint size, GstVideoFrame * frame, const GstVideoRectangle * rect,
    const gchar ** reason)
{
  GstVideoRectangle rows = rows_of (picture, rect);

  return resize_frame (picture, rgb, size, frame, &rows)
      || convert_upright (picture, rgb, size, frame, &rows, reason);
}

gboolean
gst_palme_caption_picture_take (GstPalmeCaptionPicture * picture, guint8 * rgb,
    gint size, GstBuffer * buffer, const GstVideoRectangle * rect,
    const gchar ** reason)
{
  GstVideoFrame frame;
  gboolean ok;

  if (!gst_palme_caption_picture_map (picture, &frame, buffer, reason))
    return FALSE;
  ok = gst_palme_caption_picture_draw (picture, rgb, size, &frame, rect,
      reason);
  gst_video_frame_unmap (&frame);
  return ok;
}

static gboolean
open_glimpser (GstPalmeCaptionPicture * picture)
{
  const struct palme_info rule = {
    .image_size = GST_PALME_CAPTION_PICTURE_GLIMPSE,
    .resize_side = GST_PALME_CAPTION_PICTURE_GLIMPSE,
    .resize = PALME_RESIZE_SQUASH,
    .filter = PALME_FILTER_TRIANGLE,
  };

  return picture->glimpser != NULL
      || palme_preprocessor_open_info (&picture->glimpser, &rule, NULL) >= 0;
}

/* One row of a cell is read, with all its pixels. Where several of them share a row of chroma the rows that
 * are read do so as well, for they are as far apart in all planes. */
gboolean
gst_palme_caption_picture_glimpse (GstPalmeCaptionPicture * picture,
    guint8 * rgb, const GstVideoFrame * frame, const GstVideoRectangle * rect)
{
  GstVideoRectangle rows = rows_of (picture, rect);
  gint every = rows.h / GST_PALME_CAPTION_PICTURE_GLIMPSE;
  struct palme_image thin;
  guint i;

  if (!picture->direct || !open_glimpser (picture))
    return FALSE;
  thin = image_of (picture, frame, &rows);
  if (every > 1) {
    thin.height /= every;
    for (i = 0; i < G_N_ELEMENTS (thin.strides); i++)
      thin.strides[i] *= every;
  }
  return palme_preprocess (picture->glimpser, rgb, &thin) == PALME_OK;
}
