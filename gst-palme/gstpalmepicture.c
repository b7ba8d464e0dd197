/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmepicture.c - makes the small RGB picture that the engine sees.
 *
 * GstVideoConverter does colour and size in one pass. The method is linear with the default number
 * of taps, which antialiases like the triangle filter that the model was trained with; an option
 * max-taps would switch that off. The whole frame is squashed to the square as in training: pixel
 * aspect ratio, rotation tags and crop metadata are ignored.
 */
#include "gstpalmepicture.h"

#include <string.h>

gsize
gst_palme_picture_stride (gint size)
{
  return GST_ROUND_UP_4 ((gsize) size * 3);
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
  picture->known = FALSE;
  picture->failed = FALSE;
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

gboolean
gst_palme_picture_take (GstPalmePicture * picture, guint8 * rgb, gint size,
    GstBuffer * buffer, const gchar ** reason)
{
  GstVideoFrame from, to;
  GstBuffer *wrapped;
  gboolean ok = FALSE;

  if (!picture->known) {
    *reason = "this format has no pixels in system memory";
    return FALSE;
  }
  if (!make_converter (picture, size)) {
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

  wrapped = gst_buffer_new_wrapped_full (0, rgb, gst_palme_picture_bytes (size),
      0, gst_palme_picture_bytes (size), NULL, NULL);
  if (GST_VIDEO_FRAME_FORMAT (&from) != GST_VIDEO_INFO_FORMAT (&picture->in)
      || GST_VIDEO_FRAME_WIDTH (&from) != GST_VIDEO_INFO_WIDTH (&picture->in)
      || GST_VIDEO_FRAME_HEIGHT (&from) != GST_VIDEO_INFO_HEIGHT (&picture->in)) {
    /* The frame's own metadata wins when it is mapped; a converter made for the caps would read
     * past the end of a smaller frame. */
    *reason = "its metadata and its caps name different sizes";
  } else if (!gst_video_frame_map (&to, &picture->out, wrapped, GST_MAP_WRITE)) {
    *reason = "there is no memory for the small picture";
  } else {
    gst_video_converter_frame (picture->converter, &from, &to);
    gst_video_frame_unmap (&to);
    ok = TRUE;
  }
  gst_buffer_unref (wrapped);
  gst_video_frame_unmap (&from);
  gst_buffer_unref (buffer);
  return ok;
}
