/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-rows.c - frames of formats that the engine does not read, as rows of one that it
 * reads.
 *
 * GstVideoConverter converts, but does not resize: that is the engine's, by one rule for all formats. A
 * whole frame in RGBA would be 33 MB for 3840x2160, written and read again for each caption. So the frame
 * is converted in bands of a few lines, each of which the converter takes for a frame of its own, when the
 * engine asks for one of its rows. Bands are kept as long as the engine comes back to them.
 *
 * The converter does not interpolate chroma: each pixel has the chroma of its block, as in the formats that
 * the engine reads, and a band needs no lines but its own.
 */
#include "gstpalmecaption-rows.h"

#include <string.h>

/* Lines of a band: a multiple of those that share a chroma sample, and of the converter's pattern of
 * dithering, so that bands give what the whole frame would. */
#define BAND 16

/* The most bytes that are kept, if two bands are not more. With fewer bands than the engine comes back to,
 * some are converted twice. */
#define MAX_HELD (16 << 20)

static guint
unpacked_bits (const GstVideoFormatInfo * format)
{
  return
      GST_VIDEO_FORMAT_INFO_BITS (gst_video_format_get_info
      (format->unpack_format));
}

/* The value that full alpha is unpacked to, in 8 bits: some formats do not expand their 2 bits. */
static guint8
full_alpha_of (const GstVideoFormatInfo * format)
{
  guint8 ones[256 * 4], row[64];
  gpointer data[GST_VIDEO_MAX_PLANES] = { ones, ones, ones, ones };
  gint strides[GST_VIDEO_MAX_PLANES] = { 0 };

  if (!GST_VIDEO_FORMAT_INFO_HAS_ALPHA (format))
    return 255;
  memset (ones, 255, sizeof ones);
  format->unpack_func (format, GST_VIDEO_PACK_FLAG_NONE, row, data, strides, 0,
      0, 1);
  return row[unpacked_bits (format) == 16 ? 1 : 0];
}

/* Tiles are not stored by lines, so a tiled frame is one band. */
static gint
lines_of_a_band (const GstVideoInfo * in)
{
  return GST_VIDEO_FORMAT_INFO_IS_TILED (in->finfo) ?
      GST_VIDEO_INFO_HEIGHT (in) : MIN (BAND, GST_VIDEO_INFO_HEIGHT (in));
}

/* Tiles are converted whole, since GStreamer 1.26 unpacks those of MT2110T and MT2110R only so. */
static gint
converted_width (const GstVideoInfo * in)
{
  gint width = GST_VIDEO_INFO_WIDTH (in), tile;

  if (!GST_VIDEO_FORMAT_INFO_IS_TILED (in->finfo))
    return width;
  tile = (gint) in->finfo->tile_info[0].width;
  if (tile < 1)
    return width;               /* GStreamer 1.22 does not say it for the formats that it has */
  return (width + tile - 1) / tile * tile;
}

/* As many bands as the rows that a row of the square and the one before it read. */
static guint
places_for (const GstPalmeCaptionRows * rows, gint size)
{
  gint height = GST_VIDEO_INFO_HEIGHT (&rows->in);
  gsize band = GST_VIDEO_INFO_SIZE (&rows->bands[0]);
  gint seen = MIN (height, MAX (2 * (height / size + 2), PALME_ROWS_HELD));
  guint all = (height + rows->lines - 1) / rows->lines;
  guint wanted = (seen + rows->lines - 1) / rows->lines + 1;

  return MIN (all, MAX (2, MIN (wanted, MAX_HELD / band)));
}

/* A converter for bands of so many lines. */
static gboolean
make_converter (GstPalmeCaptionRows * rows, guint which,
    const GstVideoInfo * to, gint lines)
{
  GstVideoInfo in = rows->in, *out = &rows->bands[which];

  in.width = converted_width (&rows->in);
  in.height = lines;
  if (!gst_video_info_set_format (out, GST_VIDEO_INFO_FORMAT (to), in.width,
          lines))
    return FALSE;
  out->colorimetry = to->colorimetry;
  /* The converter requires the same frame rate on both sides. */
  out->fps_n = in.fps_n;
  out->fps_d = in.fps_d;
  rows->converters[which] = gst_video_converter_new (&in, out,
      gst_structure_new ("options", GST_VIDEO_CONVERTER_OPT_CHROMA_MODE,
          GST_TYPE_VIDEO_CHROMA_MODE, GST_VIDEO_CHROMA_MODE_NONE, NULL));
  return rows->converters[which] != NULL;
}

gboolean
gst_palme_caption_rows_open (GstPalmeCaptionRows * rows,
    const GstVideoInfo * in, const GstVideoInfo * out, gint size,
    const gchar ** reason)
{
  gint left;

  gst_palme_caption_rows_close (rows);
  rows->in = *in;
  rows->lines = lines_of_a_band (in);
  rows->full_alpha = full_alpha_of (in->finfo);
  left = GST_VIDEO_INFO_HEIGHT (in) % rows->lines;
  if (!make_converter (rows, 0, out, rows->lines) || (left > 0
          && !make_converter (rows, 1, out, left))) {
    *reason = "there is no conversion from this format to RGB";
    gst_palme_caption_rows_close (rows);
    return FALSE;
  }
  rows->places = places_for (rows, size);
  rows->held = g_try_new (gint, rows->places);
  rows->pixels =
      g_try_malloc_n (rows->places, GST_VIDEO_INFO_SIZE (&rows->bands[0]));
  if (rows->held == NULL || rows->pixels == NULL) {
    *reason = "out of memory for its conversion to RGB";
    gst_palme_caption_rows_close (rows);
    return FALSE;
  }
  return TRUE;
}

void
gst_palme_caption_rows_close (GstPalmeCaptionRows * rows)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (rows->converters); i++)
    g_clear_pointer (&rows->converters[i], gst_video_converter_free);
  g_clear_pointer (&rows->held, g_free);
  g_clear_pointer (&rows->pixels, g_free);
  rows->places = 0;
}

/* The lines from `y` on as a frame of their own. */
static void
cut_out (GstVideoFrame * band, const GstVideoFrame * frame, gint y, gint lines)
{
  const GstVideoFormatInfo *format = frame->info.finfo;
  guint c;

  *band = *frame;
  band->info.width = converted_width (&frame->info);
  band->info.height = lines;
  for (c = 0; c < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format) && y > 0; c++) {
    guint plane = GST_VIDEO_FORMAT_INFO_PLANE (format, c);

    if (plane == 1 && GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format))
      continue;                 /* the same for all lines */
    band->data[plane] = (guint8 *) frame->data[plane]
        + (gssize) GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane)
        * (y >> GST_VIDEO_FORMAT_INFO_H_SUB (format, c));
  }
}

/* What the format cannot express as full alpha becomes full. */
static void
expand_alpha (guint8 * pixels, gsize count, guint8 full)
{
  gsize i;

  for (i = 3; i < 4 * count; i += 4)
    pixels[i] = MIN (pixels[i] * 255 / full, 255);
}

static void
convert (GstPalmeCaptionRows * rows, gint band, guint8 * pixels)
{
  gint y = band * rows->lines;
  gint lines = MIN (rows->lines, GST_VIDEO_INFO_HEIGHT (&rows->in) - y);
  guint which = lines == rows->lines ? 0 : 1;
  GstVideoFrame from, to;

  memset (&to, 0, sizeof to);
  cut_out (&from, rows->frame, y, lines);
  to.info = rows->bands[which];
  to.data[0] = pixels;
  gst_video_converter_frame (rows->converters[which], &from, &to);
  if (GST_VIDEO_INFO_HAS_ALPHA (&to.info) && rows->full_alpha > 0
      && rows->full_alpha < 255)
    expand_alpha (pixels, (gsize) lines * GST_VIDEO_INFO_WIDTH (&to.info),
        rows->full_alpha);
}

static const guint8 *
give_row (gpointer user, gint y)
{
  GstPalmeCaptionRows *rows = user;
  gsize stride = GST_VIDEO_INFO_PLANE_STRIDE (&rows->bands[0], 0);
  gint line = rows->y + y, band = line / rows->lines;
  gint place = band % (gint) rows->places;
  guint8 *pixels = rows->pixels + (gsize) place * rows->lines * stride;

  if (rows->held[place] != band)
    convert (rows, band, pixels);
  rows->held[place] = band;
  return pixels + (gsize) (line % rows->lines) * stride
      + (gsize) rows->x * GST_VIDEO_INFO_COMP_PSTRIDE (&rows->bands[0], 0);
}

void
gst_palme_caption_rows_read (GstPalmeCaptionRows * rows,
    struct palme_image *image, const GstVideoFrame * frame,
    const GstVideoRectangle * rect)
{
  guint i;

  rows->frame = frame;
  rows->x = rect->x;
  rows->y = rect->y;
  image->width = rect->w;
  image->height = rect->h;
  for (i = 0; i < rows->places; i++)
    rows->held[i] = -1;
  image->row = give_row;
  image->row_user = rows;
}
