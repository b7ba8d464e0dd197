/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmepicture.c - makes the small RGB picture that the engine sees.
 *
 * The formats that cameras and decoders really give go to the engine, which makes the square from
 * their planes in a fraction of the time. All others go through GstVideoConverter, colour and size
 * in one pass. Its method is linear with the default number of taps, which antialiases like the
 * triangle filter that the model was trained with and that the engine has; an option max-taps would
 * switch that off. The whole frame is squashed to the square as in training: pixel aspect ratio,
 * rotation tags and crop metadata are ignored.
 */
#include "gstpalmepicture.h"

#include <string.h>

gsize
gst_palme_picture_stride (gint size)
{
  return (gsize) size * 3;
}

gsize
gst_palme_picture_bytes (gint size)
{
  return gst_palme_picture_stride (size) * (gsize) size;
}

void
gst_palme_picture_clear (GstPalmePicture * picture)
{
  g_clear_pointer (&picture->converter, gst_video_converter_free);
  palme_squarer_close (&picture->squarer);
  picture->direct = FALSE;
  picture->known = FALSE;
  picture->failed = FALSE;
}

/* Describes to the engine what frames of this kind are. FALSE if it does not read them: other
 * formats, RGB of limited range, rare matrices. Rows of both fields are read as they stand in the
 * frame: what moves is blurred in height, as by any filter that does not tell them apart. */
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
  GstVideoInterlaceMode mode = GST_VIDEO_INFO_INTERLACE_MODE (info);
  guint i;

  memset (image, 0, sizeof *image);
  for (i = 0; i < G_N_ELEMENTS (formats); i++)
    if (formats[i].video == GST_VIDEO_INFO_FORMAT (info))
      break;
  if (i == G_N_ELEMENTS (formats)
      || (mode != GST_VIDEO_INTERLACE_MODE_PROGRESSIVE
          && mode != GST_VIDEO_INTERLACE_MODE_INTERLEAVED
          && mode != GST_VIDEO_INTERLACE_MODE_MIXED))
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
gst_palme_picture_set_caps (GstPalmePicture * picture, GstCaps * caps)
{
  const GstVideoFormatInfo *format;

  gst_palme_picture_clear (picture);
  /* The parser says so in the log when caps have no width or height, which is legal for memory that
   * only hardware understands. */
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
  picture->direct = picture->known
      && describe (&picture->image, &picture->in);
}

static gboolean
make_converter (GstPalmePicture * picture, gint size)
{
  if (picture->converter != NULL && picture->size == size)
    return TRUE;
  g_clear_pointer (&picture->converter, gst_video_converter_free);
  if (picture->failed)
    return FALSE;
  picture->size = size;

  if (gst_video_info_set_format (&picture->out, GST_VIDEO_FORMAT_RGB, size,
          size)) {
    /* Rows without gaps, as the engine has them. */
    picture->out.stride[0] = (gint) gst_palme_picture_stride (size);
    picture->out.size = gst_palme_picture_bytes (size);
    /* The converter insists that these are equal on both sides. */
    picture->out.fps_n = picture->in.fps_n;
    picture->out.fps_d = picture->in.fps_d;
    picture->out.interlace_mode = picture->in.interlace_mode;
    picture->converter =
        gst_video_converter_new (&picture->in, &picture->out,
        gst_structure_new ("options",
            GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
            GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
            NULL));
  }
  picture->failed = picture->converter == NULL;
  return !picture->failed;
}

/* The engine's way. FALSE if it does not read this frame after all. */
static gboolean
square (GstPalmePicture * picture, guint8 * rgb, gint size,
    const GstVideoFrame * frame)
{
  guint i;

  if (!picture->direct)
    return FALSE;
  if (picture->squarer_size != size)
    palme_squarer_close (&picture->squarer);
  if (picture->squarer == NULL
      && palme_squarer_open (&picture->squarer, size, NULL) < 0)
    return FALSE;
  for (i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    /* U and V by their names: YV12 has them the other way round. */
    guint plane = picture->image.format == PALME_FORMAT_I420 ?
        GST_VIDEO_FRAME_COMP_PLANE (frame, i) : i;

    picture->image.planes[i] = GST_VIDEO_FRAME_PLANE_DATA (frame, plane);
    picture->image.strides[i] = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);
  }
  picture->squarer_size = size;
  return palme_square (picture->squarer, rgb, &picture->image) == PALME_OK;
}

/* GStreamer's way, for all other formats. */
static gboolean
convert (GstPalmePicture * picture, guint8 * rgb, gint size,
    GstVideoFrame * frame, const gchar ** reason)
{
  GstVideoFrame to;
  GstBuffer *wrapped;
  gboolean ok = FALSE;

  if (!make_converter (picture, size)) {
    *reason = "there is no conversion from this format to RGB";
    return FALSE;
  }
  wrapped = gst_buffer_new_wrapped_full (0, rgb, gst_palme_picture_bytes (size),
      0, gst_palme_picture_bytes (size), NULL, NULL);
  if (!gst_video_frame_map (&to, &picture->out, wrapped, GST_MAP_WRITE)) {
    *reason = "there is no memory for the small picture";
  } else {
    gst_video_converter_frame (picture->converter, frame, &to);
    gst_video_frame_unmap (&to);
    ok = TRUE;
  }
  gst_buffer_unref (wrapped);
  return ok;
}

gboolean
gst_palme_picture_take (GstPalmePicture * picture, guint8 * rgb, gint size,
    GstBuffer * buffer, const gchar ** reason)
{
  GstVideoFrame from;
  gboolean ok = FALSE;

  if (!picture->known) {
    *reason = "this format has no pixels in system memory";
    return FALSE;
  }
  if (!picture->direct && !make_converter (picture, size)) {
    *reason = "there is no conversion from this format to RGB";
    return FALSE;
  }
  /* A second reference makes the buffer read-only: mapping would else replace several memories by a
   * merged one, and the buffer would leave with other memories than it came with. */
  gst_buffer_ref (buffer);
  if (!gst_video_frame_map (&from, &picture->in, buffer, GST_MAP_READ)) {
    gst_buffer_unref (buffer);
    *reason = "it cannot be mapped, or is smaller than its caps say";
    return FALSE;
  }

  if (GST_VIDEO_FRAME_FORMAT (&from) != GST_VIDEO_INFO_FORMAT (&picture->in)
      || GST_VIDEO_FRAME_WIDTH (&from) != GST_VIDEO_INFO_WIDTH (&picture->in)
      || GST_VIDEO_FRAME_HEIGHT (&from) != GST_VIDEO_INFO_HEIGHT (&picture->in)) {
    /* The frame's own metadata wins when it is mapped; a converter made for the caps would read
     * past the end of a smaller frame. */
    *reason = "its metadata and its caps name different sizes";
  } else {
    ok = square (picture, rgb, size, &from)
        || convert (picture, rgb, size, &from, reason);
  }
  gst_video_frame_unmap (&from);
  gst_buffer_unref (buffer);
  return ok;
}
