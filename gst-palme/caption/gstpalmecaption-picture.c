/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-picture.c - makes the small RGB picture that the engine sees.
 *
 * The engine itself resizes the formats that cameras and decoders usually give, in a fraction of the
 * time. All others go through GstVideoConverter, colour and size in one pass. Its method is linear
 * with the default number of taps, which antialiases like the triangle filter that the model was
 * trained with and that the engine has; the option max-taps would switch that off. The whole frame is
 * squashed to the square as in training: pixel aspect ratio, rotation tags and crop metadata are
 * ignored.
 *
 * Frames with alpha are seen over white. The engine does that itself. The converter scales colours and
 * alpha separately, which mixes in the colour of invisible pixels. So a frame that needs the converter
 * and is not opaque is first converted to RGBA at its own size, and the engine resizes that.
 */
#include "gstpalmecaption-picture.h"

#include <string.h>

#include "gstpalmecaption-planes.h"

/* The longest side for the converter: its tables and lines grow with it. */
#define MAX_SIDE 65536

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
  g_clear_pointer (&picture->converter, gst_video_converter_free);
  g_clear_pointer (&picture->flattener, gst_video_converter_free);
  palme_preprocessor_close (&picture->preprocessor);
  picture->direct = FALSE;
  picture->known = FALSE;
  picture->failed = FALSE;
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

  gst_palme_caption_picture_clear (picture);
  /* The parser logs an error if caps have no width or height, which is legal for memory that only
   * hardware understands. */
  if (!gst_video_info_from_caps (&picture->in, caps))
    return;
  format = picture->in.finfo;
  picture->known = format != NULL && format->unpack_func != NULL
      && GST_VIDEO_INFO_FORMAT (&picture->in) != GST_VIDEO_FORMAT_ENCODED;

  if (GST_VIDEO_INFO_INTERLACE_MODE (&picture->in) ==
      GST_VIDEO_INTERLACE_MODE_ALTERNATE) {
    /* Each buffer is one field. It is read as a picture of half the height. */
    GstVideoInfo field;

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
}

/* A converter to this format and size; *out describes the result. NULL if there is none. */
static GstVideoConverter *
converter_to (GstVideoInfo * out, const GstVideoInfo * in,
    GstVideoFormat format, gint width, gint height)
{
  if (!gst_video_info_set_format (out, format, width, height))
    return NULL;
  /* The converter requires the same frame rate on both sides. */
  out->fps_n = in->fps_n;
  out->fps_d = in->fps_d;
  return gst_video_converter_new (in, out, gst_structure_new ("options",
          GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
          GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
          NULL));
}

static gboolean
make_converter (GstPalmeCaptionPicture * picture, gint size)
{
  if (picture->converter != NULL && picture->size == size)
    return TRUE;
  g_clear_pointer (&picture->converter, gst_video_converter_free);
  if (picture->failed)
    return FALSE;
  picture->size = size;
  picture->converter = converter_to (&picture->out, &picture->in,
      GST_VIDEO_FORMAT_RGB, size, size);
  picture->failed = picture->converter == NULL;
  /* Rows without padding, as the engine expects them. */
  picture->out.stride[0] = (gint) gst_palme_caption_picture_stride (size);
  picture->out.size = gst_palme_caption_picture_bytes (size);
  return !picture->failed;
}

static gboolean
make_flattener (GstPalmeCaptionPicture * picture)
{
  if (picture->flattener == NULL && !picture->failed) {
    picture->flattener = converter_to (&picture->flat, &picture->in,
        GST_VIDEO_FORMAT_RGBA, GST_VIDEO_INFO_WIDTH (&picture->in),
        GST_VIDEO_INFO_HEIGHT (&picture->in));
    picture->failed = picture->flattener == NULL;
  }
  return picture->flattener != NULL;
}

/* Resizes with the engine. FALSE if it does not read this picture after all. */
static gboolean
resize (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    const struct palme_image *image)
{
  if (picture->rule.image_size != size)
    palme_preprocessor_close (&picture->preprocessor);
  picture->rule.image_size = size;
  picture->rule.resize_side = MAX (picture->rule.resize_side, size);
  if (picture->preprocessor == NULL
      && palme_preprocessor_open_info (&picture->preprocessor, &picture->rule,
          NULL) < 0)
    return FALSE;
  return palme_preprocess (picture->preprocessor, rgb, image) == PALME_OK;
}

static gboolean
resize_frame (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    const GstVideoFrame * frame)
{
  guint i;

  if (!picture->direct)
    return FALSE;
  for (i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    /* U and V by component: YV12 has them in the other order. */
    guint plane = picture->image.format == PALME_FORMAT_I420 ?
        GST_VIDEO_FRAME_COMP_PLANE (frame, i) : i;

    picture->image.planes[i] = GST_VIDEO_FRAME_PLANE_DATA (frame, plane);
    picture->image.strides[i] = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);
  }
  return resize (picture, rgb, size, &picture->image);
}

/* ---- GStreamer's way, for all other formats -------------------------------------------------- */

/* The converter computes in ints, and some of its tables grow with the sides of a frame. */
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
  return width <= MAX_SIDE && height <= MAX_SIDE
      && width * height <= GST_PALME_CAPTION_PICTURE_MAX_CONVERTED;
}

/* Converts into the caller's memory. */
static gboolean
run (GstVideoConverter * converter, GstVideoFrame * frame, guint8 * pixels,
    const GstVideoInfo * out)
{
  GstBuffer *wrapped = gst_buffer_new_wrapped_full (0, pixels,
      GST_VIDEO_INFO_SIZE (out), 0, GST_VIDEO_INFO_SIZE (out), NULL, NULL);
  GstVideoFrame to;
  gboolean ok = gst_video_frame_map (&to, out, wrapped, GST_MAP_WRITE);

  if (ok) {
    gst_video_converter_frame (converter, frame, &to);
    gst_video_frame_unmap (&to);
  }
  gst_buffer_unref (wrapped);
  return ok;
}

static guint
unpacked_bits (const GstVideoFrame * frame)
{
  return GST_VIDEO_FORMAT_INFO_BITS (gst_video_format_get_info (frame->
          info.finfo->unpack_format));
}

/* The alpha of a row of pixels as the format unpacks them, in 8 bits: *least and *most. */
static void
alphas_of (gconstpointer row, guint bits, gint width, guint8 * least,
    guint8 * most)
{
  const guint8 *bytes = row;
  const guint16 *words = row;
  gint i;

  *least = 255;
  *most = 0;
  for (i = 0; i < width; i++) {
    guint8 alpha = bits == 16 ? words[4 * i] >> 8 : bytes[4 * i];

    *least = MIN (*least, alpha);
    *most = MAX (*most, alpha);
  }
}

/* The value that full alpha is unpacked to, in 8 bits: some formats do not expand their 2 bits. */
static guint8
full_alpha (const GstVideoFrame * frame)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  guint8 ones[256 * 4], row[64];
  gpointer data[GST_VIDEO_MAX_PLANES] = { ones, ones, ones, ones };
  gint strides[GST_VIDEO_MAX_PLANES] = { 0 };
  guint8 least, most;

  if (!GST_VIDEO_FORMAT_INFO_HAS_ALPHA (format))
    return 255;
  memset (ones, 255, sizeof ones);
  format->unpack_func (format, GST_VIDEO_PACK_FLAG_NONE, row, data, strides, 0,
      0, 1);
  alphas_of (row, unpacked_bits (frame), 1, &least, &most);
  return most;
}

/* TRUE if every pixel is opaque. FALSE also if there is no memory to find out. */
static gboolean
is_opaque (const GstVideoFrame * frame)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  guint bits = unpacked_bits (frame);
  gint width = GST_VIDEO_FRAME_WIDTH (frame), y;
  guint8 least = 255, most, full;
  guint8 *row;

  if (!GST_VIDEO_FORMAT_INFO_HAS_ALPHA (format))
    return TRUE;
  full = full_alpha (frame);
  /* Some unpack functions write whole vectors of pixels. */
  row = g_try_malloc (((gsize) width + 16) * 8);
  for (y = 0; row != NULL && y < GST_VIDEO_FRAME_HEIGHT (frame); y++) {
    format->unpack_func (format, GST_VIDEO_PACK_FLAG_NONE, row, frame->data,
        frame->info.stride, 0, y, width);
    alphas_of (row, bits, width, &least, &most);
    if (least < full)
      break;
  }
  g_free (row);
  return row != NULL && least >= full;
}

/* Converts the frame to RGBA at its own size, and resizes that with the engine. */
static gboolean
flatten (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    GstVideoFrame * frame, const gchar ** reason)
{
  struct palme_image image = {
    .format = PALME_FORMAT_RGBA,
    .width = GST_VIDEO_FRAME_WIDTH (frame),
    .height = GST_VIDEO_FRAME_HEIGHT (frame),
    .premultiplied = picture->image.premultiplied
  };
  guint8 *pixels, full;
  gsize bytes, i;
  gboolean ok;

  full = full_alpha (frame);
  if (!make_flattener (picture)) {
    *reason = "there is no conversion from this format to RGBA";
    return FALSE;
  }
  bytes = GST_VIDEO_INFO_SIZE (&picture->flat);
  pixels = g_try_malloc (bytes);
  if (pixels == NULL) {
    *reason = "out of memory for a copy without alpha";
    return FALSE;
  }
  ok = run (picture->flattener, frame, pixels, &picture->flat);
  for (i = 3; i < bytes && full < 255; i += 4)
    pixels[i] = MIN (pixels[i] * 255 / full, 255);
  image.planes[0] = pixels;
  image.strides[0] = GST_VIDEO_INFO_PLANE_STRIDE (&picture->flat, 0);
  ok = ok && resize (picture, rgb, size, &image);
  g_free (pixels);
  if (!ok)
    *reason = "its alpha cannot be removed";
  return ok;
}

/* If the converter scales one side up and the other down, and in the order that it chooses for
 * these sizes, it leaves the right edge unwritten in formats of more than 8 bits, and gives wrong
 * colours in those with one chroma sample for four rows: seen on GStreamer 1.22.0. */
static gboolean
is_garbled (const GstVideoFrame * frame, gint size)
{
  gint64 width = GST_VIDEO_FRAME_WIDTH (frame);
  gint64 height = GST_VIDEO_FRAME_HEIGHT (frame);

  return (unpacked_bits (frame) == 16
      || GST_VIDEO_FORMAT_INFO_H_SUB (frame->info.finfo, 1) > 1)
      && ((width > size && width * height < (gint64) size * size)
      || (width < size && height > size));
}

static gboolean
convert (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    GstVideoFrame * frame, const gchar ** reason)
{
  /* GStreamer squashes, by a filter of its own. */
  if (picture->rule.resize != PALME_RESIZE_SQUASH
      || picture->rule.filter != PALME_FILTER_TRIANGLE
      || picture->rule.resize_side > size || is_garbled (frame, size)
      || !is_opaque (frame))
    return flatten (picture, rgb, size, frame, reason);
  if (!make_converter (picture, size)) {
    *reason = "there is no conversion from this format to RGB";
    return FALSE;
  }
  if (!run (picture->converter, frame, rgb, &picture->out)) {
    *reason = "out of memory for the small picture";
    return FALSE;
  }
  return TRUE;
}

/* The converter's ORC loops need positive strides. */
static gboolean
convert_upright (GstPalmeCaptionPicture * picture, guint8 * rgb, gint size,
    GstVideoFrame * frame, const gchar ** reason)
{
  GstVideoFrame copy;
  gboolean ok;

  if (!may_convert (frame)) {
    *reason =
        "it is too large: in this format, frames may have at most 2^28 pixels "
        "and sides of at most 65536 pixels";
    return FALSE;
  }
  if (gst_palme_caption_planes_upright (frame))
    return convert (picture, rgb, size, frame, reason);
  if (!gst_palme_caption_planes_copy (&copy, &picture->in, frame)) {
    *reason = "out of memory for a copy of it";
    return FALSE;
  }
  ok = convert (picture, rgb, size, &copy, reason);
  gst_video_frame_unmap (&copy);
  return ok;
}

gboolean
gst_palme_caption_picture_set_rule (GstPalmeCaptionPicture * picture,
    const struct palme_info *info)
{
  struct palme_info *rule = &picture->rule;

  if (rule->image_size == info->image_size && rule->resize == info->resize
      && rule->filter == info->filter
      && rule->resize_side == info->resize_side)
    return FALSE;
  palme_preprocessor_close (&picture->preprocessor);
  rule->image_size = info->image_size;
  rule->resize = info->resize;
  rule->filter = info->filter;
  rule->resize_side = info->resize_side;
  return TRUE;
}

gboolean
gst_palme_caption_picture_take (GstPalmeCaptionPicture * picture, guint8 * rgb,
    gint size, GstBuffer * buffer, const gchar ** reason)
{
  GstVideoFrame frame;
  gboolean ok;

  if (!picture->known) {
    *reason = "its format has no pixels in system memory; videoconvert, or an "
        "element that downloads to system memory, before palmecaption may help";
    return FALSE;
  }
  if (!gst_palme_caption_planes_map (&frame, &picture->in, buffer, reason))
    return FALSE;
  ok = resize_frame (picture, rgb, size, &frame)
      || convert_upright (picture, rgb, size, &frame, reason);
  gst_video_frame_unmap (&frame);
  return ok;
}
