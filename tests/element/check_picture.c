/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_picture.c - the element's small picture of formats that the engine reads and of those that
 * GstVideoConverter has to convert first.
 *
 *     check_picture [--bench]
 *
 * With --bench it prints the time of both kinds, beside that of GstVideoConverter for colour and size in one
 * pass, taken in turns in one run.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gst/check/gstcheck.h>

#include "gstpalmecaption-picture.h"

enum
{
  /* The largest difference that conversion makes, with the rounding at the end. Bytes of RGB are copied. */
  MOST_RGB = 0,
  /* Dithering to 8 bits adds less than one step to a pixel, or takes it; of luma 1.2 times that is seen, of
   * chroma 2.1 times. */
  MOST_WIDE_RGB = 2,
  MOST_WIDE_YUV = 4,
  /* Shared chroma stays as it is: both round at the end. */
  MOST_SHARED = 1,
  /* The converter's matrix for bytes cuts down three products (3), has their factors in 1/256 (3 times 128 / 256),
   * multiplies by 257 / 256 (1.2) and has whole numbers as its offsets (1); the engine's is exact. Both round at
   * the end (1): 7.7. */
  MOST_YUV = 7,
  BENCH_ROUNDS = 25
};

/* A buffer of these caps with slow waves in every byte of every colour, and opaque. */
static GstBuffer *
waves (GstCaps * caps)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  GstBuffer *buffer;
  guint c;
  gint x, y;

  g_assert_true (gst_video_info_from_caps (&info, caps));
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  gst_buffer_memset (buffer, 0, 77, GST_VIDEO_INFO_SIZE (&info));
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE));
  for (c = 0; c < GST_VIDEO_FRAME_N_COMPONENTS (&frame); c++) {
    guint8 *data = GST_VIDEO_FRAME_COMP_DATA (&frame, c);
    gint width = GST_VIDEO_FRAME_COMP_WIDTH (&frame, c);
    gint height = GST_VIDEO_FRAME_COMP_HEIGHT (&frame, c);
    /* Colours of YUV that RGB does not have would be cut off at different points. */
    gdouble swing = !GST_VIDEO_INFO_IS_YUV (&info) ? 120 : c == 0 ? 25 : 44;

    for (y = 0; y < height; y++)
      for (x = 0; x < width; x++)
        data[y * GST_VIDEO_FRAME_COMP_STRIDE (&frame, c)
            + x * GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, c)] =
            c ==
            GST_VIDEO_COMP_A ? 255 : (guint8) (128 + swing * sin ((c +
                    2) * 3.0 * x / width + c)
            * cos ((4 - (gint) c) * 2.0 * y / height));
  }
  gst_video_frame_unmap (&frame);
  return buffer;
}

static GstCaps *
caps_of (const gchar * format, gint width, gint height, const gchar * more)
{
  gchar *text = g_strdup_printf ("video/x-raw,format=%s,width=%d,height=%d,"
      "framerate=30/1%s%s", format, width, height, *more ? "," : "", more);
  GstCaps *caps = gst_caps_from_string (text);

  g_assert_nonnull (caps);
  g_free (text);
  return caps;
}

/* The picture of one frame as the engine reads it, if it does, and by way of the converter. */
static void
compare (const gchar * format, gint width, gint height, const gchar * more,
    gint size, gboolean engine)
{
  GstPalmeCaptionPicture picture = { 0 };
  GstCaps *caps = caps_of (format, width, height, more);
  GstBuffer *buffer = waves (caps);
  gsize bytes = gst_palme_caption_picture_bytes (size), i;
  guint8 *ours = g_malloc (bytes), *theirs = g_malloc (bytes);
  const gchar *reason = "";
  gint worst = 0;

  gst_palme_caption_picture_set_caps (&picture, caps);
  fail_unless_equals_int (picture.direct, engine);
  memset (ours, 1, bytes);
  memset (theirs, 2, bytes);
  fail_unless (gst_palme_caption_picture_take (&picture, ours, size, buffer,
          NULL, &reason), "%s: %s", format, reason);
  fail_unless (engine == (picture.rows.places == 0));
  picture.direct = FALSE;
  fail_unless (gst_palme_caption_picture_take (&picture, theirs, size, buffer,
          NULL, &reason), "%s: %s", format, reason);
  fail_unless (picture.rows.places > 0);
  for (i = 0; i < bytes; i++)
    worst = MAX (worst, abs (ours[i] - theirs[i]));
  GST_INFO ("%s %dx%d %s -> %d: %d", format, width, height, more, size, worst);
  fail_unless (worst <= (GST_VIDEO_INFO_IS_YUV (&picture.in) ? MOST_YUV :
          MOST_RGB), "%s %dx%d %s -> %d: the two differ by %d", format,
      width, height, more, size, worst);
  gst_palme_caption_picture_clear (&picture);
  gst_buffer_unref (buffer);
  gst_caps_unref (caps);
  g_free (theirs);
  g_free (ours);
}

static const gchar *const yuv[] = { "I420", "YV12", "NV12", "YUY2" };

static const gchar *const rgb[] = { "RGB", "BGR", "RGBx", "RGBA", "BGRx",
  "BGRA", "xRGB", "ARGB", "xBGR", "ABGR", "GRAY8"
};

/* A small picture stays as it is until another size is asked for. */
GST_START_TEST (test_pixels)
{
  GstPalmeCaptionPixels pixels = { 0 };
  guint8 *before;

  fail_unless (gst_palme_caption_pixels_resize (&pixels, 4));
  fail_unless_equals_int (pixels.size, 4);
  before = pixels.rgb;
  memset (before, 7, gst_palme_caption_picture_bytes (4));
  fail_unless (gst_palme_caption_pixels_resize (&pixels, 4));
  fail_unless (pixels.rgb == before && before[4 * 4 * 3 - 1] == 7);
  fail_unless (gst_palme_caption_pixels_resize (&pixels, 64));
  fail_unless_equals_int (pixels.size, 64);
  memset (pixels.rgb, 7, gst_palme_caption_picture_bytes (64));
  gst_palme_caption_pixels_clear (&pixels);
  fail_unless (pixels.rgb == NULL && pixels.size == 0);
}

GST_END_TEST;

GST_START_TEST (test_formats)
{
  static const gint sizes[][3] = { {640, 360, 256}, {300, 220, 50},
  {641, 361, 64}, {1920, 1080, 256}
  };
  static const gchar *const colours[] = { "colorimetry=bt601",
    "colorimetry=bt709", "colorimetry=bt2020", "colorimetry=1:4:0:0",
    "colorimetry=1:3:5:1", ""
  };
  guint f, s, c;

  for (f = 0; f < G_N_ELEMENTS (yuv); f++)
    for (c = 0; c < G_N_ELEMENTS (colours); c++)
      for (s = 0; s < G_N_ELEMENTS (sizes); s++)
        compare (yuv[f], sizes[s][0], sizes[s][1], colours[c], sizes[s][2],
            TRUE);
  for (f = 0; f < G_N_ELEMENTS (rgb); f++)
    for (s = 0; s < G_N_ELEMENTS (sizes); s++)
      compare (rgb[f], sizes[s][0], sizes[s][1], "", sizes[s][2], TRUE);
}

GST_END_TEST;

/* What the engine does not read is converted. */
GST_START_TEST (test_others)
{
  compare ("Y444", 320, 240, "", 64, FALSE);
  compare ("I420_10LE", 320, 240, "", 64, FALSE);
  compare ("UYVY", 320, 240, "", 64, FALSE);
  compare ("NV21", 320, 240, "", 64, FALSE);
  compare ("RGB16", 320, 240, "", 64, FALSE);
  compare ("RGB", 320, 240, "colorimetry=2:1:5:1", 64, FALSE);
  compare ("I420", 320, 240, "colorimetry=2:5:5:1", 64, FALSE);
}

GST_END_TEST;

/* A frame of two fields is read like any other, row by row, also where the converter reads it. Of a
 * height that fields share evenly, frames of all modes have the same bytes. */
GST_START_TEST (test_interlaced)
{
  static const gchar *const modes[] = { "progressive", "interleaved", "mixed",
    "fields"
  };
  static const gchar *const formats[] = { "I420", "Y444", "UYVY", "NV21",
    "I420_10LE", "A420", "v210"
  };
  guint8 out[4][32 * 32 * 3];
  guint f, i;

  for (f = 0; f < G_N_ELEMENTS (formats); f++)
    for (i = 0; i < G_N_ELEMENTS (modes); i++) {
      gchar *more = g_strdup_printf ("interlace-mode=%s", modes[i]);
      GstPalmeCaptionPicture picture = { 0 };
      GstCaps *caps = caps_of (formats[f], 120, 92, more);
      GstBuffer *buffer = waves (caps);
      const gchar *reason = "";

      gst_palme_caption_picture_set_caps (&picture, caps);
      fail_unless (gst_palme_caption_picture_take (&picture, out[i], 32, buffer,
              NULL, &reason), "%s, %s: %s", formats[f], modes[i], reason);
      fail_unless ((picture.rows.places == 0) == (f == 0));
      fail_unless (memcmp (out[0], out[i], sizeof out[0]) == 0, "%s, %s",
          formats[f], modes[i]);
      gst_palme_caption_picture_clear (&picture);
      gst_buffer_unref (buffer);
      gst_caps_unref (caps);
      g_free (more);
    }
}

GST_END_TEST;

/* ---- Packed by GStreamer --------------------------------------------------------------------- */

/* What the format unpacks to. */
static const GstVideoFormatInfo *
unpacked (const GstVideoInfo * info)
{
  return gst_video_format_get_info (info->finfo->unpack_format);
}

static gboolean
is_yuv (const GstVideoInfo * info)
{
  return GST_VIDEO_FORMAT_INFO_IS_YUV (unpacked (info));
}

/* A buffer of these caps; its rows are of values[width][4], as the format unpacks to: alpha and three
 * colours. The next row is `next` bytes on. */
static GstBuffer *
packed (GstCaps * caps, const guint8 * values, gsize next)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  GstBuffer *buffer;
  guint16 *wide;
  guint bits;
  gint x, y;

  g_assert_true (gst_video_info_from_caps (&info, caps));
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  gst_buffer_memset (buffer, 0, 0, GST_VIDEO_INFO_SIZE (&info));
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE));
  bits = GST_VIDEO_FORMAT_INFO_BITS (unpacked (&info));
  wide = g_new (guint16, info.width * 4);
  for (y = 0; y < info.height; y++, values += next) {
    for (x = 0; x < info.width * 4; x++)
      wide[x] = (guint16) (values[x] * 257);
    info.finfo->pack_func (info.finfo, GST_VIDEO_PACK_FLAG_NONE,
        bits == 16 ? (gpointer) wide : (gpointer) values, 0, frame.data,
        frame.info.stride, GST_VIDEO_CHROMA_SITE_UNKNOWN, y, info.width);
  }
  g_free (wide);
  gst_video_frame_unmap (&frame);
  return buffer;
}

/* Red and blue in every format that has colours: 5 and 6 bits are 8 steps away at most, luma and colour of
 * 8 bits 4. */
GST_START_TEST (test_red_and_blue)
{
  static const guint8 in_rgb[2][3] = { {255, 0, 0}, {0, 0, 255} };
  static const guint8 in_yuv[2][3] = { {82, 90, 240}, {41, 240, 110} };
  const gchar *reason = "";
  guint n, f, tried = 0, colour;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);
  guint8 values[48 * 4], out[16 * 16 * 3];
  gint i;

  for (f = 0; f < n; f++)
    for (colour = 0; colour < 2; colour++) {
      const GstVideoFormatInfo *info = gst_video_format_get_info (formats[f]);
      const gchar *name = GST_VIDEO_FORMAT_INFO_NAME (info);
      GstPalmeCaptionPicture picture = { 0 };
      GstVideoInfo in;
      GstBuffer *buffer;
      GstCaps *caps;

      if (GST_VIDEO_FORMAT_INFO_IS_GRAY (info) || info->pack_func == NULL
          || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (info))
        continue;
      tried++;
      caps = caps_of (name, 48, 32, "");
      g_assert_true (gst_video_info_from_caps (&in, caps));
      for (i = 0; i < 48 * 4; i++)
        values[i] = i % 4 == 0 ? 255 : (is_yuv (&in) ? in_yuv :
            in_rgb)[colour][i % 4 - 1];
      buffer = packed (caps, values, 0);
      gst_palme_caption_picture_set_caps (&picture, caps);
      fail_unless (gst_palme_caption_picture_take (&picture, out, 16, buffer,
              NULL, &reason), "%s: %s", name, reason);
      for (i = 0; i < (gint) sizeof out; i++)
        fail_unless (abs (out[i] - in_rgb[colour][i % 3]) <= 8,
            "%s, colour %u: " "%d at %d", name, colour, out[i], i);
      gst_palme_caption_picture_clear (&picture);
      gst_buffer_unref (buffer);
      gst_caps_unref (caps);
    }
  fail_unless (tried >= 2 * 90, "only %u were tried", tried);
}

GST_END_TEST;

/* ---- One rule for all formats ------------------------------------------------------------------ */

/* The RGB of a frame as one reads it with a pocket calculator: each pixel with the chroma of its block. */
static guint8 *
decoded (const GstVideoInfo * info, GstBuffer * buffer)
{
  const GstVideoFormatInfo *format = unpacked (info);
  gint width = info->width, x, y, c, offset[GST_VIDEO_MAX_COMPONENTS],
      scale[GST_VIDEO_MAX_COMPONENTS];
  guint8 *colours = g_malloc ((gsize) width * info->height * 3), *out = colours;
  guint8 *row = g_malloc (((gsize) width + 16) * 8);
  gdouble red = 0, blue = 0;
  GstVideoFrame frame;

  gst_video_color_range_offsets (info->colorimetry.range, format, offset,
      scale);
  if (GST_VIDEO_FORMAT_INFO_IS_YUV (format))
    gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &red, &blue);
  g_assert_true (gst_video_frame_map (&frame, info, buffer, GST_MAP_READ));
  for (y = 0; y < info->height; y++) {
    info->finfo->unpack_func (info->finfo, GST_VIDEO_PACK_FLAG_NONE, row,
        frame.data, frame.info.stride, 0, y, width);
    for (x = 0; x < width; x++, out += 3) {
      gdouble v[3];

      for (c = 0; c < 3; c++)
        v[c] = ((GST_VIDEO_FORMAT_INFO_BITS (format) ==
                16 ? ((guint16 *) row)[4 * x + 1 + c] : row[4 * x + 1 + c])
            - offset[c]) / (gdouble) scale[c];
      if (GST_VIDEO_FORMAT_INFO_IS_YUV (format)) {
        gdouble luma = v[0], u = v[1], w = v[2];

        v[0] = luma + 2 * (1 - red) * w;
        v[2] = luma + 2 * (1 - blue) * u;
        v[1] = (luma - red * v[0] - blue * v[2]) / (1 - red - blue);
      }
      for (c = 0; c < 3; c++)
        out[c] = (guint8) (CLAMP (v[c], 0, 1) * 255 + 0.5);
    }
  }
  gst_video_frame_unmap (&frame);
  g_free (row);
  return colours;
}

/* FALSE if GStreamer leaves pixels of a row unwritten, as for MT2110T and MT2110R (1.26) behind the last whole 16. */
static gboolean
unpacks_all (const GstVideoInfo * info, GstBuffer * buffer)
{
  gsize bytes = ((gsize) info->width + 16) * 8;
  guint8 *one = g_malloc (bytes), *other = g_malloc (bytes);
  GstVideoFrame frame;
  gboolean same;

  memset (one, 0x55, bytes);
  memset (other, 0xaa, bytes);
  g_assert_true (gst_video_frame_map (&frame, info, buffer, GST_MAP_READ));
  info->finfo->unpack_func (info->finfo, GST_VIDEO_PACK_FLAG_NONE, one,
      frame.data, frame.info.stride, 0, 0, info->width);
  info->finfo->unpack_func (info->finfo, GST_VIDEO_PACK_FLAG_NONE, other,
      frame.data, frame.info.stride, 0, 0, info->width);
  gst_video_frame_unmap (&frame);
  same = memcmp (one, other, (gsize) info->width
      * (GST_VIDEO_FORMAT_INFO_BITS (unpacked (info)) == 16 ? 8 : 4)) == 0;
  g_free (other);
  g_free (one);
  return same;
}

/* Noise, of colours that RGB has also where luma and chroma are of neighbours. */
static GstBuffer *
noise (GstCaps * caps, const GstVideoInfo * info)
{
  gsize count = (gsize) info->width * info->height * 4, i;
  guint8 *values = g_malloc (count);
  GstBuffer *buffer;
  guint32 random = 1;

  for (i = 0; i < count; i++) {
    random = random * 1664525 + 1013904223;
    values[i] =
        (guint8) (i % 4 ==
        0 ? 255 : !is_yuv (info) ? 64 + (random >> 25) : i % 4 ==
        1 ? 96 + (random >> 26) : 104 + (random >> 16) % 48);
  }
  buffer = packed (caps, values, (gsize) info->width * 4);
  g_free (values);
  return buffer;
}

/* The picture of a frame in any format is that of the same frame in RGB, but for the rounding of its
 * conversion: resized by the same rule, whatever the sizes are. (Widths that GStreamer's own layout of
 * UYVP or NV12_10LE32 has no room for are left out: 33, 35.) */
GST_START_TEST (test_one_rule)
{
  static const gint sizes[][3] = { {97, 55, 50}, {31, 130, 32}, {40, 333, 64},
  {200, 20, 64}, {1, 1, 8}, {37, 17, 40}, {64, 64, 64}, {322, 481, 8}
  };
  const gchar *reason = "";
  guint n, f, s, tried = 0;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  for (f = 0; f < n; f++) {
    const GstVideoFormatInfo *format = gst_video_format_get_info (formats[f]);
    const gchar *name = GST_VIDEO_FORMAT_INFO_NAME (format);

    if (format->pack_func == NULL || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format))
      continue;
    tried++;
    for (s = 0; s < G_N_ELEMENTS (sizes); s++) {
      gint width = sizes[s][0], height = sizes[s][1], size = sizes[s][2];
      GstPalmeCaptionPicture picture = { 0 };
      GstCaps *caps = caps_of (name, width, height, "");
      gsize bytes = gst_palme_caption_picture_bytes (size), i;
      guint8 *out = g_malloc (bytes), *wanted = g_malloc (bytes), *colours;
      struct palme_image image = {.format = PALME_FORMAT_RGB,.width = width,
        .height = height,.strides = {3 * width}
      };
      palme_preprocessor *preprocessor;
      gint worst = 0, most;
      gboolean wide;
      GstBuffer *buffer;
      GstVideoInfo in;

      g_assert_true (gst_video_info_from_caps (&in, caps));
      buffer = noise (caps, &in);
      gst_palme_caption_picture_set_caps (&picture, caps);
      fail_unless (gst_palme_caption_picture_take (&picture, out, size,
              buffer, NULL, &reason), "%s: %s", name, reason);
      image.planes[0] = colours = decoded (&in, buffer);
      g_assert_true (palme_preprocessor_open (&preprocessor, size,
              PALME_RESIZE_SQUASH, NULL) == PALME_OK);
      g_assert_true (palme_preprocess (preprocessor, wanted, &image) ==
          PALME_OK);
      wide = GST_VIDEO_FORMAT_INFO_BITS (unpacked (&in)) == 16;
      most = !is_yuv (&in) ? (wide ? MOST_WIDE_RGB : MOST_RGB) :
          wide ? MOST_WIDE_YUV : GST_VIDEO_FORMAT_INFO_HAS_ALPHA (format)
          || GST_VIDEO_FORMAT_INFO_W_SUB (format, 1) == 0 ? MOST_YUV :
          MOST_SHARED;
      for (i = 0; i < bytes; i++)
        worst = MAX (worst, abs (out[i] - wanted[i]));
      fail_unless (worst <= most
          || !unpacks_all (&in, buffer), "%s %dx%d -> %d: off by %d", name,
          width, height, size, worst);
      palme_preprocessor_close (&preprocessor);
      gst_palme_caption_picture_clear (&picture);
      gst_buffer_unref (buffer);
      gst_caps_unref (caps);
      g_free (colours);
      g_free (wanted);
      g_free (out);
    }
  }
  fail_unless (tried >= 90, "only %u were tried", tried);
}

GST_END_TEST;

/* ---- Alpha ----------------------------------------------------------------------------------- */

/* One value of what a format unpacks to, at column x: alpha or a grey as its luma or as red, green
 * and blue. */
typedef guint8 (*Column) (gint x, gboolean alpha);

static GstBuffer *
columns (GstCaps * caps, Column column)
{
  GstVideoInfo info;
  GstBuffer *buffer;
  guint8 *values;
  gint x;

  g_assert_true (gst_video_info_from_caps (&info, caps));
  values = g_malloc ((gsize) info.width * 4);
  for (x = 0; x < info.width; x++) {
    gint grey = column (x, FALSE);
    gboolean luma = is_yuv (&info);

    values[4 * x] = column (x, TRUE);
    values[4 * x + 1] = (guint8) (luma ? 16 + (grey * 219 + 127) / 255 : grey);
    values[4 * x + 2] = values[4 * x + 3] = (guint8) (luma ? 128 : grey);
  }
  buffer = packed (caps, values, 0);
  g_free (values);
  return buffer;
}

/* Bars of 8 columns. Their alphas are those that 2 bits can say. */
static guint8
bars (gint x, gboolean alpha)
{
  return (guint8) (alpha ? x / 8 % 4 * 85 : x / 32 % 2 ? 40 : 200);
}

/* Two pictures that look alike: what differs cannot be seen. */
static guint8
hidden_black (gint x, gboolean alpha)
{
  return x % 7 < 3 ? 0 : alpha ? 255 : 100;
}

static guint8
hidden_white (gint x, gboolean alpha)
{
  return x % 7 < 3 ? (alpha ? 0 : 255) : alpha ? 255 : 100;
}

static void
draw (const gchar * format, gint width, Column column, gint size, guint8 * out)
{
  GstCaps *caps = caps_of (format, width, 64, "");
  GstBuffer *buffer = columns (caps, column);
  GstPalmeCaptionPicture picture = { 0 };
  const gchar *reason = "";

  gst_palme_caption_picture_set_caps (&picture, caps);
  fail_unless (gst_palme_caption_picture_take (&picture, out, size, buffer,
          NULL, &reason), "%s: %s", format, reason);
  gst_palme_caption_picture_clear (&picture);
  gst_buffer_unref (buffer);
  gst_caps_unref (caps);
}

/* Every format with alpha: over white, and nothing that alpha hides is seen. A step of limited luma is
 * 1.2 of RGB, and so is the rounding to it; the matrix cuts down one more, and white is 255 or 254. */
GST_START_TEST (test_alpha)
{
  enum
  { SIDE = 64, CLOSE = 4 };
  guint8 out[SIDE * SIDE * 3], other[sizeof out];
  guint n, f, tried = 0, i;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  for (f = 0; f < n; f++) {
    const GstVideoFormatInfo *info = gst_video_format_get_info (formats[f]);
    const gchar *name = GST_VIDEO_FORMAT_INFO_NAME (info);

    /* A palette cannot be packed. */
    if (!GST_VIDEO_FORMAT_INFO_HAS_ALPHA (info)
        || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (info))
      continue;
    tried++;
    draw (name, SIDE, bars, SIDE, out);
    for (i = 0; i < sizeof out; i++) {
      gint x = (gint) (i / 3 % SIDE), alpha = bars (x, TRUE);
      gint wanted = (alpha * bars (x, FALSE) + (255 - alpha) * 255) / 255;

      fail_unless (abs (out[i] - wanted) <= CLOSE, "%s: %d, not %d, in "
          "column %d", name, out[i], wanted, x);
    }
    /* In width to half, so that what is seen and what is not meet in a pixel. */
    draw (name, 2 * SIDE, hidden_black, SIDE, out);
    draw (name, 2 * SIDE, hidden_white, SIDE, other);
    fail_unless (memcmp (out, other, sizeof out) == 0, name);
  }
  fail_unless (tried >= 28, "only %u have alpha", tried);
}

GST_END_TEST;

/* A palette with alpha: index 0 is red at a third, all others are opaque blue. */
GST_START_TEST (test_palette)
{
  GstCaps *caps = caps_of ("RGB8P", 32, 32, "");
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 32 * 32 + 1024, NULL);
  GstPalmeCaptionPicture picture = { 0 };
  const gchar *reason = "";
  guint8 out[32 * 32 * 3];
  GstMapInfo map;
  guint i;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (i = 0; i < 32 * 32; i++)
    map.data[i] = i % 32 < 16 ? 0 : (guint8) i;
  for (i = 0; i < 256; i++) {
    const guint32 colour = i == 0 ? 0x55ff0000 : 0xff0000ff;

    memcpy (map.data + 32 * 32 + 4 * i, &colour, 4);
  }
  gst_buffer_unmap (buffer, &map);
  gst_palme_caption_picture_set_caps (&picture, caps);
  fail_unless (gst_palme_caption_picture_take (&picture, out, 32, buffer,
          NULL, &reason));
  fail_unless (out[0] == 255 && out[1] == 170
      && out[2] == 170, "%d %d %d", out[0], out[1], out[2]);
  fail_unless (out[93] == 0 && out[94] == 0
      && out[95] == 255, "%d %d %d", out[93], out[94], out[95]);
  for (i = 1; i < 32; i++)
    fail_unless (memcmp (out, out + 96 * i, 96) == 0, "row %u", i);
  gst_palme_caption_picture_clear (&picture);
  gst_buffer_unref (buffer);
  gst_caps_unref (caps);
}

GST_END_TEST;

/* ---- Parts of a frame -------------------------------------------------------------------------- */

enum
{
  CELL = 32,                    /* a side of a coloured cell */
  CELLS = 3                     /* a side of the frame */
};

/* A frame of the format with cells of different colours, or with the colour of one cell alone. NULL if GStreamer does
 * not write the format. */
static GstBuffer *
cells_of (GstCaps * caps, gint only)
{
  static const guint8 colours[CELLS * CELLS][3] = { {255, 0, 0}, {0, 255, 0},
  {0, 0, 255}, {255, 255, 0}, {0, 255, 255}, {255, 0, 255}, {0, 0, 0},
  {255, 255, 255}, {128, 64, 32}
  };
  GstCaps *rgb_caps = caps_of ("RGB", CELL * CELLS, CELL * CELLS, "");
  GstBuffer *rgb_buffer = gst_buffer_new_allocate (NULL,
      CELL * CELLS * CELL * CELLS * 3, NULL), *buffer;
  GstVideoInfo from, to;
  GstVideoFrame in, out;
  GstVideoConverter *converter;
  GstMapInfo map;
  gint x, y;

  gst_buffer_map (rgb_buffer, &map, GST_MAP_WRITE);
  for (y = 0; y < CELL * CELLS; y++)
    for (x = 0; x < CELL * CELLS; x++)
      memcpy (map.data + 3 * (y * CELL * CELLS + x),
          colours[only >= 0 ? only : y / CELL * CELLS + x / CELL], 3);
  gst_buffer_unmap (rgb_buffer, &map);
  gst_video_info_from_caps (&from, rgb_caps);
  gst_caps_unref (rgb_caps);
  fail_unless (gst_video_info_from_caps (&to, caps));
  converter = gst_video_converter_new (&from, &to,
      gst_structure_new ("o", GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
          GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE,
          GST_VIDEO_CONVERTER_OPT_CHROMA_MODE, GST_TYPE_VIDEO_CHROMA_MODE,
          GST_VIDEO_CHROMA_MODE_NONE, NULL));
  if (converter == NULL) {
    gst_buffer_unref (rgb_buffer);
    return NULL;
  }
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&to), NULL);
  gst_buffer_memset (buffer, 0, 0, GST_VIDEO_INFO_SIZE (&to));
  gst_video_frame_map (&in, &from, rgb_buffer, GST_MAP_READ);
  gst_video_frame_map (&out, &to, buffer, GST_MAP_WRITE);
  gst_video_converter_frame (converter, &in, &out);
  gst_video_frame_unmap (&in);
  gst_video_frame_unmap (&out);
  gst_video_converter_free (converter);
  gst_buffer_unref (rgb_buffer);
  return buffer;
}

/* Each cell of a frame, seen as a part at odd places, is what a frame of its colour is. */
static gboolean
check_cells (GstVideoFormat format)
{
  const gchar *name = gst_video_format_to_string (format), *reason = "";
  GstCaps *caps = caps_of (name, CELL * CELLS, CELL * CELLS, "");
  GstPalmeCaptionPicture picture = { 0 };
  GstBuffer *cells = cells_of (caps, -1), *one;
  guint8 found[16 * 16 * 3], wanted[16 * 16 * 3];
  gboolean known;
  gint i, odd;

  gst_palme_caption_picture_set_caps (&picture, caps);
  known = cells != NULL && picture.known;
  for (i = 0; known && i < CELLS * CELLS; i++) {
    one = cells_of (caps, i);
    fail_unless (gst_palme_caption_picture_take (&picture, wanted, 16, one,
            NULL, &reason), "%s: %s", name, reason);
    for (odd = 0; odd < 8; odd++) {
      GstVideoRectangle part = { i % CELLS * CELL + 8 + odd,
        i / CELLS * CELL + 8 + (odd + 3) % 8, 1 + odd, 8 - odd
      };

      fail_unless (gst_palme_caption_picture_take (&picture, found, 16, cells,
              &part, &reason), "%s: %s", name, reason);
      fail_unless (memcmp (found, wanted, sizeof found) == 0,
          "%s: %d, %d is %d %d %d, not %d %d %d", name, part.x, part.y,
          found[0], found[1], found[2], wanted[0], wanted[1], wanted[2]);
    }
    gst_buffer_unref (one);
  }
  gst_palme_caption_picture_clear (&picture);
  gst_clear_buffer (&cells);
  gst_caps_unref (caps);
  return known;
}

GST_START_TEST (test_parts)
{
  guint known = 0;
  gint format;

  /* A palette of RGB8P is not the converter's to choose. */
  for (format = GST_VIDEO_FORMAT_I420;
      gst_video_format_to_string (format) != NULL
      && format <= GST_VIDEO_FORMAT_AV12; format++)
    if (format != GST_VIDEO_FORMAT_RGB8P)
      known += check_cells (format);
  fail_unless (known >= 90, "%u formats", known);
}

GST_END_TEST;

#define GLIMPSE GST_PALME_CAPTION_PICTURE_GLIMPSE

static void
glimpse (GstPalmeCaptionPicture * picture, guint8 * out, GstBuffer * buffer,
    const GstVideoRectangle * part)
{
  const gchar *reason = "";
  GstVideoFrame frame;

  fail_unless (gst_palme_caption_picture_map (picture, &frame, buffer,
          &reason), "%s", reason);
  fail_unless (gst_palme_caption_picture_glimpse (picture, out, &frame, part));
  gst_video_frame_unmap (&frame);
}

/* A part is what a frame of its own would be that has these pixels and no others. */
GST_START_TEST (test_part_alone)
{
  static const GstVideoRectangle parts[] = { {0, 0, 97, 155}, {1, 1, 1, 1},
  {31, 17, 33, 21}, {96, 54, 1, 1}, {0, 54, 97, 1}, {40, 3, 57, 150}
  };
  GstCaps *caps = caps_of ("RGB", 97, 155, ""), *small;
  GstBuffer *buffer = waves (caps), *alone;
  GstPalmeCaptionPicture picture = { 0 }, fresh = { 0 };
  guint8 found[24 * 24 * 3], wanted[24 * 24 * 3];
  guint8 glimpses[2][GLIMPSE * GLIMPSE * 3];
  const gchar *reason = "";
  GstMapInfo from, to;
  guint i;
  gint y;

  gst_palme_caption_picture_set_caps (&picture, caps);
  gst_buffer_map (buffer, &from, GST_MAP_READ);
  for (i = 0; i < G_N_ELEMENTS (parts); i++) {
    const GstVideoRectangle *part = &parts[i];
    gsize stride = GST_ROUND_UP_4 (3 * (gsize) part->w);

    small = caps_of ("RGB", part->w, part->h, "");
    alone = gst_buffer_new_allocate (NULL, stride * (gsize) part->h, NULL);
    gst_buffer_map (alone, &to, GST_MAP_WRITE);
    for (y = 0; y < part->h; y++)
      memcpy (to.data + (gsize) y * stride,
          from.data + (gsize) (part->y + y) * GST_ROUND_UP_4 (97 * 3)
          + 3 * (gsize) part->x, 3 * (gsize) part->w);
    gst_buffer_unmap (alone, &to);
    gst_palme_caption_picture_set_caps (&fresh, small);
    fail_unless (gst_palme_caption_picture_take (&picture, found, 24, buffer,
            part, &reason));
    fail_unless (gst_palme_caption_picture_take (&fresh, wanted, 24, alone,
            NULL, &reason));
    fail_unless (memcmp (found, wanted, sizeof found) == 0, "part %u", i);
    glimpse (&picture, glimpses[0], buffer, part);
    glimpse (&fresh, glimpses[1], alone, NULL);
    fail_unless (memcmp (glimpses[0], glimpses[1], sizeof glimpses[0]) == 0,
        "part %u", i);
    gst_buffer_unref (alone);
    gst_caps_unref (small);
  }
  gst_buffer_unmap (buffer, &from);
  gst_buffer_unref (buffer);
  gst_caps_unref (caps);
  gst_palme_caption_picture_clear (&picture);
  gst_palme_caption_picture_clear (&fresh);
}

GST_END_TEST;

/* Another side of the square, and other caps, from one frame to the next. */
GST_START_TEST (test_changes)
{
  static const gchar *const formats[] = { "I420", "UYVY", "RGB", "YV12" };
  GstPalmeCaptionPicture picture = { 0 }, fresh = { 0 };
  const gchar *reason = "";
  guint8 out[40 * 40 * 3], wanted[40 * 40 * 3];
  guint i;
  gint size;

  for (i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstCaps *caps = caps_of (formats[i], 97 + (gint) i, 55, "");
    GstBuffer *buffer = waves (caps);

    gst_palme_caption_picture_set_caps (&picture, caps);
    for (size = 40; size >= 14; size -= 13) {
      gst_palme_caption_picture_set_caps (&fresh, caps);
      fail_unless (gst_palme_caption_picture_take (&picture, out, size, buffer,
              NULL, &reason));
      fail_unless (gst_palme_caption_picture_take (&fresh, wanted, size, buffer,
              NULL, &reason));
      fail_unless (memcmp (out, wanted,
              gst_palme_caption_picture_bytes (size)) == 0, "%s, %d",
          formats[i], size);
    }
    gst_buffer_unref (buffer);
    gst_caps_unref (caps);
  }
  gst_palme_caption_picture_clear (&picture);
  gst_palme_caption_picture_clear (&fresh);
}

GST_END_TEST;

/* The time of the element, or of GStreamer's converter for colour and size in one pass if it is not NULL. */
static gdouble
milliseconds (GstPalmeCaptionPicture * picture, guint8 * out,
    GstBuffer * buffer, GstVideoConverter * converter, GstVideoFrame * to)
{
  const gchar *reason = NULL;
  gint64 start = g_get_monotonic_time ();
  GstVideoFrame from;

  if (converter != NULL) {
    g_assert_true (gst_video_frame_map (&from, &picture->in, buffer,
            GST_MAP_READ));
    gst_video_converter_frame (converter, &from, to);
    gst_video_frame_unmap (&from);
  } else {
    g_assert_true (gst_palme_caption_picture_take (picture, out, 256, buffer,
            NULL, &reason));
  }
  return (gdouble) (g_get_monotonic_time () - start) / 1000;
}

static int
by_value (gconstpointer a, gconstpointer b)
{
  gdouble x = *(const gdouble *) a, y = *(const gdouble *) b;

  return (x > y) - (x < y);
}

static void
bench_format (const gchar * format, gint width, gint height)
{
  GstCaps *caps = caps_of (format, width, height, "");
  GstBuffer *buffer = waves (caps), *small;
  GstPalmeCaptionPicture picture = { 0 };
  GstVideoConverter *converter;
  GstVideoInfo info;
  GstVideoFrame to;
  guint8 *out = g_malloc (gst_palme_caption_picture_bytes (256));
  gdouble ours[BENCH_ROUNDS], theirs[BENCH_ROUNDS];
  guint i;

  gst_palme_caption_picture_set_caps (&picture, caps);
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, 256, 256);
  info.fps_n = picture.in.fps_n;
  info.fps_d = picture.in.fps_d;
  small = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  g_assert_true (gst_video_frame_map (&to, &info, small, GST_MAP_WRITE));
  converter = gst_video_converter_new (&picture.in, &info,
      gst_structure_new ("options", GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
          GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
          NULL));
  g_assert_nonnull (converter);
  milliseconds (&picture, out, buffer, NULL, NULL);
  milliseconds (&picture, out, buffer, converter, &to);
  for (i = 0; i < BENCH_ROUNDS; i++) {
    ours[i] = milliseconds (&picture, out, buffer, NULL, NULL);
    theirs[i] = milliseconds (&picture, out, buffer, converter, &to);
  }
  qsort (ours, BENCH_ROUNDS, sizeof *ours, by_value);
  qsort (theirs, BENCH_ROUNDS, sizeof *theirs, by_value);
  g_print ("%-10s %-9s %7.2f (%6.2f)  GstVideoConverter %7.2f (%6.2f)  "
      "%5.1f times\n", format, picture.direct ? "read" : "converted",
      ours[BENCH_ROUNDS / 2], ours[0], theirs[BENCH_ROUNDS / 2], theirs[0],
      theirs[BENCH_ROUNDS / 2] / ours[BENCH_ROUNDS / 2]);
  gst_video_converter_free (converter);
  gst_video_frame_unmap (&to);
  gst_buffer_unref (small);
  gst_palme_caption_picture_clear (&picture);
  gst_buffer_unref (buffer);
  gst_caps_unref (caps);
  g_free (out);
}

static void
bench (void)
{
  static const gchar *const formats[] = { "I420", "NV12", "YUY2", "RGB", "BGRx",
    "GRAY8", "UYVY", "NV21", "Y444", "I420_10LE", "P010_10LE", "A420", "v210",
    "Y444_10LE", "AYUV", "ARGB64"
  };
  static const gint sizes[][2] = { {1920, 1080}, {3840, 2160} };
  guint f, s;

  for (s = 0; s < G_N_ELEMENTS (sizes); s++) {
    g_print ("%dx%d to 256x256, ms: median and (least) of %d\n", sizes[s][0],
        sizes[s][1], BENCH_ROUNDS);
    for (f = 0; f < G_N_ELEMENTS (formats); f++)
      bench_format (formats[f], sizes[s][0], sizes[s][1]);
  }
}

/* A model that wants the middle of a picture, by the cubic filter: frames of any format become what the engine makes of
 * the same pixels in RGB. */
GST_START_TEST (test_rule)
{
  static const gchar *const formats[] = { "RGB", "BGRx", "GBR" };
  const struct palme_info info = {
    .image_size = 16,.resize = PALME_RESIZE_CROP,
    .filter = PALME_FILTER_BICUBIC,.resize_side = 20
  };
  guint8 found[G_N_ELEMENTS (formats)][16 * 16 * 3], wanted[16 * 16 * 3];
  palme_preprocessor *preprocessor = NULL;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstPalmeCaptionPicture picture = { 0 };
    GstCaps *caps = caps_of (formats[i], 64, 30, "");
    GstBuffer *buffer = waves (caps);
    const gchar *reason = "";

    gst_palme_caption_picture_set_caps (&picture, caps);
    gst_palme_caption_picture_set_rule (&picture, &info);
    fail_unless (gst_palme_caption_picture_take (&picture, found[i], 16, buffer,
            NULL, &reason), "%s: %s", formats[i], reason);
    if (i == 0) {
      GstMapInfo map;
      struct palme_image image = {.format = PALME_FORMAT_RGB,.width = 64,
        .height = 30
      };

      fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
      image.planes[0] = map.data;
      image.strides[0] = 64 * 3;
      fail_unless_equals_int (palme_preprocessor_open_info (&preprocessor,
              &info, NULL), PALME_OK);
      fail_unless_equals_int (palme_preprocess (preprocessor, wanted, &image),
          PALME_OK);
      palme_preprocessor_close (&preprocessor);
      gst_buffer_unmap (buffer, &map);
    }
    gst_palme_caption_picture_clear (&picture);
    gst_buffer_unref (buffer);
    gst_caps_unref (caps);
  }
  fail_unless (memcmp (found[0], wanted, sizeof wanted) == 0);
  fail_unless (memcmp (found[1], wanted, sizeof wanted) == 0);
  fail_unless (memcmp (found[2], wanted, sizeof wanted) == 0);
}

GST_END_TEST;


static Suite *
picture_suite (void)
{
  Suite *suite = suite_create ("picture");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_pixels);
  tcase_add_test (tcase, test_formats);
  tcase_add_test (tcase, test_others);
  tcase_add_test (tcase, test_interlaced);
  tcase_add_test (tcase, test_red_and_blue);
  tcase_add_test (tcase, test_one_rule);
  tcase_add_test (tcase, test_alpha);
  tcase_add_test (tcase, test_palette);
  tcase_add_test (tcase, test_parts);
  tcase_add_test (tcase, test_part_alone);
  tcase_add_test (tcase, test_changes);
  tcase_add_test (tcase, test_rule);
  return suite;
}


int
main (int argc, char **argv)
{
  if (argc > 1 && strcmp (argv[1], "--bench") == 0) {
    gst_init (NULL, NULL);
    bench ();
    return 0;
  }
  gst_check_init (&argc, &argv);
  return gst_check_run_suite (picture_suite (), "check_picture", __FILE__);
}
