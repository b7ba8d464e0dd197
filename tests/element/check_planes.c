/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_planes.c - what is read of a frame is there: every format that the running GStreamer has, in
 * small sizes and all ways of interlacing, in several memories, with metadata that pads, turns upside
 * down or lies.
 *
 * The pictures are made by the engine and GStreamer's converter themselves. The bytes of a frame end at
 * a page that cannot be touched and begin behind another one, so that reading past them ends the test;
 * gst_check fails on criticals.
 */
#include <sys/mman.h>
#include <unistd.h>
#include <string.h>

#include <gst/check/gstcheck.h>

#include "gstpalmecaption-picture.h"
#include "gstpalmecaption-planes.h"

enum
{
  SIZE = 12,                    /* side of the small picture */
  MOST = 17,                    /* of the frame */
  /* Of one memory: the largest frame is one of tiles of 64 x 32 pixels, padded. */
  ROOM = 1 << 18
};

/* Memory between pages that cannot be touched, for as many memories as a frame may have. */
static guint8 *
room (guint i)
{
  static guint8 *rooms[8];
  gsize page = (gsize) sysconf (_SC_PAGESIZE);

  if (rooms[i] == NULL) {
    guint8 *map = mmap (NULL, ROOM + 2 * page, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true (map != MAP_FAILED && mprotect (map, page, PROT_NONE) == 0
        && mprotect (map + page + ROOM, page, PROT_NONE) == 0);
    rooms[i] = map + page;
  }
  return rooms[i];
}

/* A memory of these bytes that ends where nothing may be read. */
static GstMemory *
memory_of (guint i, const guint8 * bytes, gsize size)
{
  guint8 *at = room (i) + ROOM - size;

  g_assert_true (size <= ROOM);
  memcpy (at, bytes, size);
  return gst_memory_new_wrapped (0, at, size, 0, size, NULL, NULL);
}

static GstBuffer *
buffer_of (const guint8 * bytes, gsize size)
{
  GstBuffer *buffer = gst_buffer_new ();

  gst_buffer_append_memory (buffer, memory_of (0, bytes, size));
  return buffer;
}

static const gchar *const modes[] = { "progressive", "interleaved", "mixed",
  "fields", "alternate"
};

static GstCaps *
caps_of (GstVideoFormat format, gint width, gint height, const gchar * mode)
{
  gchar *text = g_strdup_printf ("video/x-raw%s,format=%s,width=%d,height=%d,"
      "framerate=30/1,interlace-mode=%s", strcmp (mode, "alternate") == 0 ?
      "(format:Interlaced)" : "", gst_video_format_to_string (format), width,
      height, mode);
  GstCaps *caps = gst_caps_from_string (text);

  g_assert_nonnull (caps);
  g_free (text);
  return caps;
}

/* Takes the picture of a buffer and drops the buffer. */
static gboolean
take (GstPalmeCaptionPicture * picture, guint8 * rgb, GstBuffer * buffer)
{
  guint memories = gst_buffer_n_memory (buffer);
  const gchar *reason = NULL;
  gboolean ok;

  memset (rgb, 7, SIZE * SIZE * 3);
  ok = gst_palme_caption_picture_take (picture, rgb, SIZE, buffer, NULL,
      &reason);
  fail_unless (ok || reason != NULL);
  fail_unless_equals_int (gst_buffer_n_memory (buffer), memories);
  gst_buffer_unref (buffer);
  return ok;
}

/* The largest difference within a colour. */
static gint
spread (const guint8 * rgb)
{
  gint low[3] = { 255, 255, 255 }, high[3] = { 0, 0, 0 }, i;

  for (i = 0; i < SIZE * SIZE * 3; i++) {
    low[i % 3] = MIN (low[i % 3], rgb[i]);
    high[i % 3] = MAX (high[i % 3], rgb[i]);
  }
  return MAX (high[0] - low[0], MAX (high[1] - low[1], high[2] - low[2]));
}

/* A picture of one colour is one colour afterwards. The converter dithers what has more than 8 bits by one
 * step. */
static void
check_small (GstVideoFormat format, gint width, gint height,
    const gchar * mode, guint8 * bytes)
{
  GstCaps *caps = caps_of (format, width, height, mode);
  guint8 rgb[SIZE * SIZE * 3];
  GstPalmeCaptionPicture picture = { 0 };
  gsize size;

  gst_palme_caption_picture_set_caps (&picture, caps);
  size = GST_VIDEO_INFO_SIZE (&picture.in);
  memset (bytes, width % 2 ? 0 : 255, size);
  fail_unless (take (&picture, rgb, buffer_of (bytes, size)), "%s %dx%d, %s",
      gst_video_format_to_string (format), width, height, mode);
  fail_unless (spread (rgb) <= 1, "%s %dx%d, %s: %d",
      gst_video_format_to_string (format), width, height, mode, spread (rgb));
  gst_palme_caption_picture_clear (&picture);
  gst_caps_unref (caps);
}

/* Every format, width and height up to 17, and way of interlacing. */
GST_START_TEST (test_small)
{
  guint n, f, m;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);
  guint8 *bytes = g_malloc (ROOM);
  gint width, height;

  for (f = 0; f < n; f++)
    for (m = 0; m < G_N_ELEMENTS (modes); m++)
      for (height = 1; height <= MOST; height++)
        for (width = 1; width <= MOST; width++)
          check_small (formats[f], width, height, modes[m], bytes);
  g_free (bytes);
}

GST_END_TEST;

/* A frame of random bytes. */
typedef struct
{
  GstPalmeCaptionPicture picture;
  gsize size;
  guint8 *bytes;
  guint8 rgb[SIZE * SIZE * 3];
} Frame;

static void
frame_init (Frame * frame, GstVideoFormat format, gint width, gint height,
    const gchar * mode, GRand * random)
{
  GstCaps *caps = caps_of (format, width, height, mode);
  gsize i;

  memset (frame, 0, sizeof *frame);
  gst_palme_caption_picture_set_caps (&frame->picture, caps);
  frame->size = GST_VIDEO_INFO_SIZE (&frame->picture.in);
  frame->bytes = g_malloc (frame->size);
  for (i = 0; i < frame->size; i++)
    frame->bytes[i] = (guint8) g_rand_int (random);
  fail_unless (take (&frame->picture, frame->rgb, buffer_of (frame->bytes,
              frame->size)));
  gst_caps_unref (caps);
}

static void
frame_clear (Frame * frame)
{
  gst_palme_caption_picture_clear (&frame->picture);
  g_free (frame->bytes);
}

static void
add_meta (GstBuffer * buffer, GstVideoInfo * info)
{
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_INFO_FORMAT (info), GST_VIDEO_INFO_WIDTH (info),
      GST_VIDEO_INFO_HEIGHT (info), GST_VIDEO_INFO_N_PLANES (info),
      info->offset, info->stride);
}

static const gint sizes[][2] = { {1, 1}, {2, 3}, {17, 9}, {40, 22}, {97, 35} };

/* A buffer in several memories, cut anywhere, some of them empty, gives the picture of one memory. */
GST_START_TEST (test_memories)
{
  GRand *random = g_rand_new_with_seed (20240229);
  guint n, f, s, way;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);
  guint8 rgb[SIZE * SIZE * 3];

  for (f = 0; f < n; f++)
    for (s = 0; s < G_N_ELEMENTS (sizes); s++) {
      Frame frame;

      frame_init (&frame, formats[f], sizes[s][0], sizes[s][1], "progressive",
          random);
      for (way = 0; way < 8; way++) {
        GstBuffer *buffer = gst_buffer_new ();
        gsize at = 0;
        guint i;

        for (i = 0; at < frame.size && i < 8; i++) {
          gsize left = frame.size - at, part = i == 7 ? left : i % 3 == way % 3
              ? 0 : (gsize) g_rand_int_range (random, 1, (gint32) left + 1);

          gst_buffer_append_memory (buffer, memory_of (i, frame.bytes + at,
                  part));
          at += part;
        }
        if (way % 2)
          add_meta (buffer, &frame.picture.in);
        fail_unless (take (&frame.picture, rgb, buffer), "%s, way %u",
            gst_video_format_to_string (formats[f]), way);
        fail_unless (memcmp (rgb, frame.rgb, sizeof rgb) == 0, "%s, way %u",
            gst_video_format_to_string (formats[f]), way);
      }
      frame_clear (&frame);
    }
  g_rand_free (random);
}

GST_END_TEST;

/* The smallest buffer that is taken is read to its last byte and not past it. */
GST_START_TEST (test_shortest)
{
  GRand *random = g_rand_new_with_seed (20240301);
  guint n, f, s;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);
  guint8 rgb[SIZE * SIZE * 3];

  for (f = 0; f < n; f++)
    for (s = 0; s < G_N_ELEMENTS (sizes); s++) {
      gsize low = 0, high;
      Frame frame;

      frame_init (&frame, formats[f], sizes[s][0], sizes[s][1],
          modes[s % G_N_ELEMENTS (modes)], random);
      high = frame.size;
      while (high - low > 1) {
        gsize middle = low + (high - low) / 2;
        GstBuffer *buffer = buffer_of (frame.bytes, middle);
        const gchar *reason = NULL;
        GstVideoFrame mapped;

        add_meta (buffer, &frame.picture.in);
        if (gst_palme_caption_planes_map (&mapped, &frame.picture.in, buffer,
                &reason)) {
          gst_video_frame_unmap (&mapped);
          high = middle;
        } else {
          low = middle;
        }
        gst_buffer_unref (buffer);
      }
      /* More than padding is never spared. */
      fail_unless (high * 8 > frame.size, "%s %dx%d: %" G_GSIZE_FORMAT,
          gst_video_format_to_string (formats[f]), sizes[s][0], sizes[s][1],
          high);
      {
        GstBuffer *buffer = buffer_of (frame.bytes, high);

        add_meta (buffer, &frame.picture.in);
        fail_unless (take (&frame.picture, rgb, buffer));
      }
      fail_unless (memcmp (rgb, frame.rgb, sizeof rgb) == 0, "%s %dx%d",
          gst_video_format_to_string (formats[f]), sizes[s][0], sizes[s][1]);
      /* Without metadata all that the caps ask for has to be there. */
      fail_if (take (&frame.picture, rgb, buffer_of (frame.bytes,
                  frame.size - 1)));
      frame_clear (&frame);
    }
  g_rand_free (random);
}

GST_END_TEST;

static gint
any_number (GRand * random)
{
  static const gint numbers[] = { 0, 1, -1, 3, 4, 16, -4, 97, 1000, 4096,
    -4096, 65536, 1 << 20, -(1 << 20), G_MAXINT, G_MININT, G_MAXINT / 2
  };
  gint i = g_rand_int_range (random, 0, 2 * (gint) G_N_ELEMENTS (numbers));

  return i < (gint) G_N_ELEMENTS (numbers) ? numbers[i] :
      g_rand_int_range (random, -300, 300);
}

/* Metadata that says anything: a picture or none, and nothing is read that is not there. */
GST_START_TEST (test_lies)
{
  GRand *random = g_rand_new_with_seed (20240302);
  guint n, f, i, way, taken = 0, refused = 0;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);
  guint8 rgb[SIZE * SIZE * 3];

  for (f = 0; f < n; f++) {
    Frame frame;

    frame_init (&frame, formats[f], 33, 18, modes[f % G_N_ELEMENTS (modes)],
        random);
    for (way = 0; way < 150; way++) {
      GstBuffer *buffer = gst_buffer_new ();
      gsize cut = (gsize) g_rand_int_range (random, 0,
          (gint32) frame.size + 1);
      GstVideoMeta *meta;
      gboolean ok;

      gst_buffer_append_memory (buffer, memory_of (0, frame.bytes, cut));
      if (way % 3)
        gst_buffer_append_memory (buffer, memory_of (1, frame.bytes + cut,
                frame.size - cut));
      add_meta (buffer, &frame.picture.in);
      meta = gst_buffer_get_video_meta (buffer);
      for (i = 0; i < GST_VIDEO_MAX_PLANES; i++) {
        if (g_rand_int_range (random, 0, 3) == 0)
          meta->stride[i] = any_number (random);
        if (g_rand_int_range (random, 0, 3) == 0)
          meta->offset[i] = (gsize) (gssize) any_number (random);
      }
      if (way % 10 == 0)
        meta->n_planes = (guint) any_number (random);
      if (way % 10 == 1)
        meta->width = (guint) any_number (random);
      if (way % 10 == 2)
        meta->height = (guint) any_number (random);
      if (way % 10 == 3)
        meta->format = (GstVideoFormat) any_number (random);
      ok = take (&frame.picture, rgb, buffer);
      taken += ok;
      refused += !ok;
    }
    frame_clear (&frame);
  }
  fail_unless (taken > n && refused > n, "%u taken, %u refused", taken,
      refused);
  g_rand_free (random);
}

GST_END_TEST;

/* Planes in another order, with gaps, from rows that are padded and upside down, in a frame that is
 * larger than the caps: the same picture. */
GST_START_TEST (test_honest)
{
  GRand *random = g_rand_new_with_seed (20240303);
  guint n, f, p, way;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);
  guint8 *bytes = g_malloc (ROOM), rgb[SIZE * SIZE * 3];

  for (f = 0; f < n; f++) {
    GstVideoInfo *in;
    Frame frame;

    frame_init (&frame, formats[f], 46, 20, "progressive", random);
    in = &frame.picture.in;
    /* Tiles are read in their own order only, and a palette has no rows. */
    for (way = 0; way < 4 && !GST_VIDEO_FORMAT_INFO_IS_TILED (in->finfo)
        && !GST_VIDEO_FORMAT_INFO_HAS_PALETTE (in->finfo); way++) {
      gint planes = (gint) GST_VIDEO_INFO_N_PLANES (in), rows, y;
      gboolean turned = way == 1 || way == 3;
      GstVideoInfo out = *in;
      gsize used = 16;
      GstBuffer *buffer;
      GstVideoMeta *meta;

      memset (bytes, 99, ROOM);
      for (p = 0; p < (guint) planes; p++) {
        guint plane = way >= 2 ? (guint) planes - 1 - p : p, c = 0;
        gint stride = in->stride[plane] + 24;

        while (GST_VIDEO_FORMAT_INFO_PLANE (in->finfo, c) != plane)
          c++;
        rows = GST_VIDEO_INFO_COMP_HEIGHT (in, c);
        for (y = 0; y < rows; y++)
          memcpy (bytes + used + stride * (turned ? rows - 1 - y : y),
              frame.bytes + in->offset[plane] + in->stride[plane] * y,
              (gsize) in->stride[plane]);
        out.offset[plane] = used + (gsize) (turned ? stride * (rows - 1) : 0);
        out.stride[plane] = turned ? -stride : stride;
        used += (gsize) (stride * rows + 40);
      }
      buffer = buffer_of (bytes, used);
      add_meta (buffer, &out);
      meta = gst_buffer_get_video_meta (buffer);
      meta->width += way == 3 ? 18 : 0;
      meta->height += way == 3 ? 12 : 0;
      meta->flags = way == 3 ? GST_VIDEO_FRAME_FLAG_INTERLACED :
          GST_VIDEO_FRAME_FLAG_NONE;
      fail_unless (take (&frame.picture, rgb, buffer), "%s, way %u",
          gst_video_format_to_string (formats[f]), way);
      fail_unless (memcmp (rgb, frame.rgb, sizeof rgb) == 0, "%s, way %u",
          gst_video_format_to_string (formats[f]), way);
    }
    frame_clear (&frame);
  }
  g_rand_free (random);
  g_free (bytes);
}

GST_END_TEST;

/* A frame of these caps in pages that nobody has touched: it takes no memory. */
static GstBuffer *
vast (GstCaps * caps)
{
  GstVideoInfo info;
  gsize size;
  gpointer map;

  fail_unless (gst_video_info_from_caps (&info, caps));
  size = GST_VIDEO_INFO_SIZE (&info);
  map = mmap (NULL, size, PROT_READ,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  g_assert_true (map != MAP_FAILED);
  return gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY, map, size, 0,
      size, NULL, NULL);
}

/* All frames have the engine's limit, and those that have to be converted a lower one, which is found before
 * anything is made for them. */
GST_START_TEST (test_vast)
{
  static const struct
  {
    GstVideoFormat format;
    gint width, height;
    gboolean taken;
  } cases[] = {
    {GST_VIDEO_FORMAT_GRAY8, 30000, 30000, TRUE},
    {GST_VIDEO_FORMAT_RGBA, 20000, 15000, TRUE},
    {GST_VIDEO_FORMAT_GRAY16_LE, 30000, 30000, FALSE},
    {GST_VIDEO_FORMAT_Y444, 16384, 16385, FALSE},
    {GST_VIDEO_FORMAT_ARGB64, 16384, 16384, FALSE},     /* strides times rows are over 2^31 */
    {GST_VIDEO_FORMAT_NV12_4L4, 1920, 1080, TRUE},      /* its stride is none */
    {GST_VIDEO_FORMAT_Y444, 32768, 3, TRUE},
    {GST_VIDEO_FORMAT_Y444, 3, 32768, TRUE},
    {GST_VIDEO_FORMAT_Y444, 32769, 3, FALSE},
    {GST_VIDEO_FORMAT_Y444, 3, 32769, FALSE},
    {GST_VIDEO_FORMAT_GRAY8, 32769, 3, FALSE},
  };
  guint8 rgb[SIZE * SIZE * 3];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstCaps *caps = caps_of (cases[i].format, cases[i].width, cases[i].height,
        "progressive");
    GstPalmeCaptionPicture picture = { 0 };
    GstBuffer *buffer = vast (caps);
    GstMapInfo map;

    gst_palme_caption_picture_set_caps (&picture, caps);
    fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
    fail_unless (take (&picture, rgb, gst_buffer_ref (buffer)) ==
        cases[i].taken, "%s %dx%d",
        gst_video_format_to_string (cases[i].format), cases[i].width,
        cases[i].height);
    fail_unless (cases[i].taken || picture.rows.places == 0);
    gst_palme_caption_picture_clear (&picture);
    munmap (map.data, map.size);
    gst_buffer_unmap (buffer, &map);
    gst_buffer_unref (buffer);
    gst_caps_unref (caps);
  }
}

GST_END_TEST;

/* Caps near the largest numbers, where sizes in bytes overflow, with buffers that are small. */
GST_START_TEST (test_overflow)
{
  static const gint sides[] = { 1, 2, 16384, 32768, 46341, 65536, 1 << 20,
    1 << 28, 1 << 30, G_MAXINT
  };
  guint8 bytes[64] = { 0 }, rgb[SIZE * SIZE * 3];
  guint n, f, w, h;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  for (f = 0; f < n; f++)
    for (w = 0; w < G_N_ELEMENTS (sides); w++)
      for (h = w < 2 ? 2 : 0; h < G_N_ELEMENTS (sides); h++) {
        GstCaps *caps = caps_of (formats[f], sides[w], sides[h],
            modes[(w + h) % G_N_ELEMENTS (modes)]);
        GstPalmeCaptionPicture picture = { 0 };

        gst_palme_caption_picture_set_caps (&picture, caps);
        fail_if (take (&picture, rgb, buffer_of (bytes, sizeof bytes)),
            "%s %dx%d", gst_video_format_to_string (formats[f]), sides[w],
            sides[h]);
        gst_palme_caption_picture_clear (&picture);
        gst_caps_unref (caps);
      }
}

GST_END_TEST;

static Suite *
planes_suite (void)
{
  Suite *suite = suite_create ("planes");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_set_timeout (tcase, 240);
  tcase_add_test (tcase, test_small);
  tcase_add_test (tcase, test_memories);
  tcase_add_test (tcase, test_shortest);
  tcase_add_test (tcase, test_lies);
  tcase_add_test (tcase, test_honest);
  tcase_add_test (tcase, test_vast);
  tcase_add_test (tcase, test_overflow);
  return suite;
}

GST_CHECK_MAIN (planes);
