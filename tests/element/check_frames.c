/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_frames.c - frames of every kind: formats, sizes, strides, memories that cannot be read,
 * caps that change, flags, missing and odd times. It is long because there are many kinds; no test
 * knows another.
 */
#include <stdio.h>
#include <string.h>

#include <gst/video/video.h>

#include "support/captionhost.h"

static void
set_caps (GstHarness * h, const gchar * format, ...)
{
  va_list args;
  gchar *caps;

  va_start (args, format);
  caps = g_strdup_vprintf (format, args);
  va_end (args);
  gst_harness_set_src_caps_str (h, caps);
  g_free (caps);
}

/* Pushes a buffer of these caps that is one colour; returns the caption, NULL for none. */
static gchar *
push_colour (GstHarness * h, const GstVideoInfo * info, guint n, guint8 grey)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (info),
      NULL);
  gchar *text;

  gst_buffer_memset (buffer, 0, grey, GST_VIDEO_INFO_SIZE (info));
  GST_BUFFER_PTS (buffer) = n * FRAME_TIME;
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  text = caption_of (buffer);
  gst_buffer_unref (buffer);
  return text;
}

/* Every format in sizes 1 to 9: a caption, or the frame passes. */
GST_START_TEST (test_formats)
{
  static const gint sizes[][2] = { {1, 1}, {1, 9}, {9, 1}, {2, 2}, {3, 5},
  {8, 8}, {7, 9}
  };
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  guint i, j, n, frame = 0, captioned = 0, tried = 0;
  const GstVideoFormat *formats = gst_video_formats_raw (&n);

  for (j = 0; j < n; j++) {
    GstVideoFormat format = formats[j];
    const GstVideoFormatInfo *f = gst_video_format_get_info (format);

    for (i = 0; i < G_N_ELEMENTS (sizes); i++) {
      GstVideoInfo info;
      gchar *text;

      if (!gst_video_info_set_format (&info, format, sizes[i][0], sizes[i][1]))
        continue;
      set_caps (h, "video/x-raw,format=%s,width=%d,height=%d,framerate=10/1",
          GST_VIDEO_FORMAT_INFO_NAME (f), sizes[i][0], sizes[i][1]);
      text = push_colour (h, &info, frame++, 0x40);
      tried++;
      captioned += text != NULL;
      fail_unless (text != NULL, "%s %dx%d has no caption",
          GST_VIDEO_FORMAT_INFO_NAME (f), sizes[i][0], sizes[i][1]);
      g_free (text);
    }
  }
  fail_unless (tried > 90 * G_N_ELEMENTS (sizes), "only %u were tried", tried);
  fail_unless_equals_int (captioned, tried);
  caption_harness_end (h);
}

GST_END_TEST;

/* The same red, in limited and full range, in RGB orders and with two matrices. */
GST_START_TEST (test_colours)
{
  static const struct
  {
    const gchar *caps;
    guint8 planes[3];           /* value of the bytes of each plane; packed: of each byte */
    guint n;
  } cases[] = {
    {"format=RGB", {255, 0, 0}, 3},
    {"format=BGR", {0, 0, 255}, 3},
    {"format=xRGB", {9, 255, 0}, 4},    /* the fourth byte is 0 */
    {"format=I420,colorimetry=bt601", {82, 90, 240}, 0},
    {"format=I420,colorimetry=bt709", {63, 102, 240}, 0},
    {"format=I420,colorimetry=1:4:0:0", {76, 85, 255}, 0},      /* full range */
    {"format=YV12,colorimetry=bt601", {82, 240, 90}, 0},
  };
  GstHarness *h = caption_harness ("text={r} {g} {b}\n",
      "mode=sync interval=0");
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    gint r, g, b, plane, x;
    GstVideoFrame frame;
    GstVideoInfo info;
    GstBuffer *buffer;
    GstCaps *caps;
    gchar *text;

    set_caps (h, "video/x-raw,width=16,height=16,framerate=10/1,%s",
        cases[i].caps);
    caps = gst_pad_get_current_caps (h->srcpad);
    fail_unless (gst_video_info_from_caps (&info, caps));
    gst_caps_unref (caps);
    buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
    fail_unless (gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE));
    for (plane = 0; plane < (gint) GST_VIDEO_FRAME_N_PLANES (&frame); plane++) {
      guint8 *data = GST_VIDEO_FRAME_PLANE_DATA (&frame, plane);
      gint bytes = GST_VIDEO_FRAME_PLANE_STRIDE (&frame, plane)
          * GST_VIDEO_FRAME_COMP_HEIGHT (&frame, plane);

      for (x = 0; x < bytes; x++)
        data[x] = cases[i].n == 0 ? cases[i].planes[plane]
            : x % cases[i].n < 3 ? cases[i].planes[x % cases[i].n] : 0;
    }
    gst_video_frame_unmap (&frame);
    GST_BUFFER_PTS (buffer) = i * FRAME_TIME;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    text = caption_of (buffer);
    gst_buffer_unref (buffer);
    fail_unless_equals_int (sscanf (text, "%d %d %d", &r, &g, &b), 3);
    /* 8 bit YUV carries red to within a few steps. */
    fail_unless (r >= 250 && g <= 5 && b <= 5, "%s: %s", cases[i].caps, text);
    g_free (text);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* Details that the small picture cannot hold become their mean: without a filter against aliasing a
 * board of black and white pixels gives black and white patches. */
GST_START_TEST (test_antialias)
{
  static const gint sizes[][2] = { {160, 120}, {640, 480}, {101, 333} };
  GstHarness *h = caption_harness ("text={low} {high}\n",
      "mode=sync interval=0");
  guint i;

  for (i = 0; i < G_N_ELEMENTS (sizes); i++) {
    gint width = sizes[i][0], height = sizes[i][1], x, y, low, high;
    gint stride = GST_ROUND_UP_4 (width);
    GstBuffer *buffer = gst_buffer_new_allocate (NULL, stride * height, NULL);
    GstMapInfo map;
    gchar *text;

    set_caps (h, "video/x-raw,format=GRAY8,width=%d,height=%d,framerate=5/1",
        width, height);
    gst_buffer_map (buffer, &map, GST_MAP_WRITE);
    for (y = 0; y < height; y++) {
      for (x = 0; x < stride; x++)
        map.data[y * stride + x] = (x + y) % 2 ? 255 : 0;
    }
    gst_buffer_unmap (buffer, &map);
    GST_BUFFER_PTS (buffer) = i * FRAME_TIME;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    text = caption_of (buffer);
    gst_buffer_unref (buffer);
    fail_unless_equals_int (sscanf (text, "%d %d", &low, &high), 2);
    /* The board is 128 away from its mean; a triangle of three pixels and more leaves less than a
     * tenth. */
    fail_unless (low >= 115 && high <= 140, "%dx%d: %s", width, height, text);
    g_free (text);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* Interlaced in each way, odd aspect and rate: the caps do not matter to the picture. */
GST_START_TEST (test_odd_caps)
{
  static const gchar *caps[] = {
    "framerate=25/1,interlace-mode=interleaved",
    "framerate=25/1,interlace-mode=mixed",
    "framerate=0/1",
    "framerate=0/1,max-framerate=30/1",
    "framerate=2147483647/1",
    "framerate=25/1,pixel-aspect-ratio=1/1000",
    "framerate=25/1,pixel-aspect-ratio=1000/1",
    "framerate=25/1,multiview-mode=side-by-side",
  };
  GstHarness *h = caption_harness ("text={luma}\n", "mode=sync interval=0");
  GstVideoInfo info;
  gchar *text;
  guint i;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_GRAY8, 16, 16);
  for (i = 0; i < G_N_ELEMENTS (caps); i++) {
    set_caps (h, "video/x-raw,format=GRAY8,width=16,height=16,%s", caps[i]);
    text = push_colour (h, &info, i, 100);
    fail_unless (g_strcmp0 (text, "100") == 0, "%s: %s", caps[i], text);
    g_free (text);
  }
  /* Fields that come one by one. */
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_GRAY8, 16, 8);
  set_caps (h, "video/x-raw(format:Interlaced),format=GRAY8,width=16,height=16,"
      "framerate=25/1,interlace-mode=alternate");
  text = push_colour (h, &info, i, 100);
  fail_unless_equals_string (text, "100");
  g_free (text);
  caption_harness_end (h);
}

GST_END_TEST;

/* Padded rows and a picture upside down give the picture of the packed one. */
GST_START_TEST (test_strides)
{
  GstHarness *h = caption_harness ("text={r} {luma}\nimage_size=8\n",
      "mode=sync interval=0");
  gint way, x, y;

  for (way = 0; way < 3; way++) {
    gint stride = way == 0 ? 24 : 40;
    GstBuffer *buffer = gst_buffer_new_allocate (NULL, stride * 8 + 16, NULL);
    gsize offset[4] = { way == 2 ? 16 + 7 * stride : way == 1 ? 16 : 0 };
    gint strides[4] = { way == 2 ? -stride : stride };
    GstMapInfo map;
    gchar *text;

    gst_buffer_map (buffer, &map, GST_MAP_WRITE);
    memset (map.data, 255, map.size);   /* what must not be seen */
    for (y = 0; y < 8; y++) {
      for (x = 0; x < 24; x++)
        map.data[(gssize) offset[0] + y * strides[0] + x] =
            x % 3 == 0 ? 10 * y : 100;
    }
    gst_buffer_unmap (buffer, &map);
    if (way > 0)
      gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE,
          GST_VIDEO_FORMAT_RGB, 8, 8, 1, offset, strides);
    GST_BUFFER_PTS (buffer) = way * FRAME_TIME;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    text = caption_of (buffer);
    fail_unless_equals_string (text, "35 78");
    g_free (text);
    gst_buffer_unref (buffer);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* A buffer that is smaller than its caps say passes; one warning for these caps. */
GST_START_TEST (test_small)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GstBuffer *buffer;
  gchar *text;
  guint i;

  caption_expect (h, 0, "caption 0");
  for (i = 1; i < 4; i++) {
    buffer = i == 1 ? gst_buffer_new () : gst_buffer_new_allocate (NULL, 191,
        NULL);
    GST_BUFFER_PTS (buffer) = i * FRAME_TIME;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    /* In sync mode the caption of another frame would be a lie. */
    text = caption_of (buffer);
    fail_unless (text == NULL);
    gst_buffer_unref (buffer);
  }
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT);
  fail_unless (strstr (text, "videoconvert") != NULL);
  g_free (text);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  fail_unless_equals_uint64 (caption_stat (h->element, "skipped-unmappable"),
      3);
  caption_expect (h, 4, "caption 1");

  /* Other caps, another warning. */
  set_caps (h, "video/x-raw,format=RGB,width=80,height=8,framerate=10/1");
  caption_expect (h, 5, NULL);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      1);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Memory that cannot be mapped ------------------------------------------------------------ */

typedef GstAllocator FarAllocator;
typedef GstAllocatorClass FarAllocatorClass;

static GType far_allocator_get_type (void);
G_DEFINE_TYPE (FarAllocator, far_allocator, GST_TYPE_ALLOCATOR);

static gpointer
far_map (GstMemory * memory, gsize size, GstMapFlags flags)
{
  (void) memory, (void) size, (void) flags;
  return NULL;
}

static void
far_unmap (GstMemory * memory)
{
  (void) memory;
}

static GstMemory *
far_alloc (GstAllocator * allocator, gsize size, GstAllocationParams * params)
{
  GstMemory *memory = g_new0 (GstMemory, 1);

  (void) params;
  gst_memory_init (memory, 0, allocator, NULL, size, 0, 0, size);
  return memory;
}

static void
far_free (GstAllocator * allocator, GstMemory * memory)
{
  (void) allocator;
  g_free (memory);
}

static void
far_allocator_class_init (FarAllocatorClass * klass)
{
  klass->alloc = far_alloc;
  klass->free = far_free;
}

static void
far_allocator_init (FarAllocator * allocator)
{
  allocator->mem_type = "far";
  allocator->mem_map = far_map;
  allocator->mem_unmap = far_unmap;
  GST_OBJECT_FLAG_SET (allocator, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
}

GST_START_TEST (test_far_memory)
{
  static const gchar *caps[] = {
    "video/x-raw(memory:Far),format=RGB,width=8,height=8,framerate=10/1",
    "video/x-raw(memory:Far),width=8,height=8,framerate=10/1",
    "video/x-raw(memory:Far)",
  };
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GstAllocator *allocator = g_object_new (far_allocator_get_type (), NULL);
  GstBuffer *buffer;
  GstMemory *memory;
  guint i;

  gst_object_ref_sink (allocator);
  for (i = 0; i < G_N_ELEMENTS (caps); i++) {
    gst_harness_set_src_caps_str (h, caps[i]);
    memory = gst_allocator_alloc (allocator, 192, NULL);
    buffer = gst_buffer_new ();
    gst_buffer_append_memory (buffer, memory);
    GST_BUFFER_PTS (buffer) = i * FRAME_TIME;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    fail_unless (gst_buffer_peek_memory (buffer, 0) == memory);
    fail_unless (caption_of (buffer) == NULL);
    gst_buffer_unref (buffer);
    fail_unless_equals_int (caption_messages (h->element,
            GST_MESSAGE_WARNING), 1);
  }
  gst_harness_set_src_caps_str (h, CAPS_RGB);
  caption_expect (h, i, "caption 0");
  caption_harness_end (h);
  gst_object_unref (allocator);
}

GST_END_TEST;

/* Several memories in one buffer, read-only memory, an odd address. */
GST_START_TEST (test_memories)
{
  GstHarness *h = caption_harness ("text={luma}\n", "mode=sync interval=0");
  static guint8 pixels[193];
  GstBuffer *buffer;
  gchar *text;
  gint i;

  memset (pixels, 50, sizeof pixels);
  for (i = 0; i < 3; i++) {
    gsize offset[4] = { 0 };
    gint stride[4] = { 24 };

    buffer = gst_buffer_new ();
    if (i == 2)
      gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE,
          GST_VIDEO_FORMAT_RGB, 8, 8, 1, offset, stride);
    if (i != 1) {
      gst_buffer_append_memory (buffer,
          gst_memory_new_wrapped (GST_MEMORY_FLAG_READONLY, pixels, 100, 0, 100,
              NULL, NULL));
      gst_buffer_append_memory (buffer,
          gst_memory_new_wrapped (GST_MEMORY_FLAG_READONLY, pixels, 92, 0, 92,
              NULL, NULL));
    } else {
      gst_buffer_append_memory (buffer,
          gst_memory_new_wrapped (GST_MEMORY_FLAG_READONLY, pixels + 1, 192, 0,
              192, NULL, NULL));
    }
    GST_BUFFER_PTS (buffer) = i * FRAME_TIME;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    text = caption_of (buffer);
    fail_unless_equals_string (text, "50");
    g_free (text);
    fail_unless_equals_int (gst_buffer_n_memory (buffer), i == 1 ? 1 : 2);
    gst_buffer_unref (buffer);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Caps that change
 * --------------------------------------------------------------------------- */

/* A caption that is being made keeps its own picture. */
GST_START_TEST (test_caps_change)
{
  GstHarness *h;
  GstVideoInfo info;
  gchar *text;
  guint i;

  caption_hold ();
  h = caption_harness ("hold=@/hold\njournal=@/journal\ntext={luma}\n",
      "mode=async interval=0");
  caption_expect (h, 0, NULL);
  caption_wait_journal ("look", 1);
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_GRAY8, 64, 48);
  for (i = 1; i < 20; i++) {
    if (i % 2) {
      set_caps (h, "video/x-raw,format=GRAY8,width=64,height=48,framerate=5/1");
      text = push_colour (h, &info, i, 10);
      fail_unless (text == NULL);
    } else {
      gst_harness_set_src_caps_str (h, CAPS_RGB);
      caption_expect (h, i, NULL);
    }
  }
  caption_release ();
  caption_wait (h->element, "captions", 1);
  text = push_colour (h, &info, i, 10);
  fail_unless_equals_string (text, "128");
  g_free (text);
  caption_harness_end (h);

  /* In sync mode each frame is read as its own caps say. */
  h = caption_harness ("text={luma}\n", "mode=sync interval=0");
  for (i = 0; i < 20; i++) {
    gst_video_info_set_format (&info, GST_VIDEO_FORMAT_GRAY8, 3 + i, 48 - i);
    set_caps (h, "video/x-raw,format=GRAY8,width=%u,height=%u,framerate=5/1",
        3 + i, 48 - i);
    text = push_colour (h, &info, i, 100 + i);
    fail_unless_equals_int (atoi (text), 100 + i);
    g_free (text);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Flags and times
 * ---------------------------------------------------------------------------- */

GST_START_TEST (test_flags)
{
  static const guint flags[] = { GST_BUFFER_FLAG_GAP,
    GST_BUFFER_FLAG_CORRUPTED, GST_BUFFER_FLAG_DECODE_ONLY
  };
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GstBuffer *buffer;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (flags); i++) {
    buffer = caption_frame (i, 1);
    GST_BUFFER_FLAG_SET (buffer, flags[i]);
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    fail_unless (GST_BUFFER_FLAG_IS_SET (buffer, flags[i]));
    fail_unless (caption_of (buffer) == NULL);
    gst_buffer_unref (buffer);
  }
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 0);
  buffer = caption_frame (i, 1);
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DROPPABLE
      | GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_DELTA_UNIT);
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  gst_buffer_unref (gst_harness_pull (h));
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 1);
  caption_harness_end (h);
}

GST_END_TEST;

/* interval counts time, whatever the rate is. */
GST_START_TEST (test_variable_rate)
{
  static const guint ms[] = { 0, 7, 400, 990, 1001, 1002, 1999, 2000, 2500,
    9000, 9001, 9999, 10000
  };
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstBuffer *buffer;
  guint i;

  set_caps (h, "video/x-raw,format=RGB,width=8,height=8,framerate=0/1");
  for (i = 0; i < G_N_ELEMENTS (ms); i++) {
    static const gint wanted[] = { 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5 };

    buffer = caption_frame (0, 1);
    GST_BUFFER_PTS (buffer) = ms[i] * GST_MSECOND;
    GST_BUFFER_DURATION (buffer) = GST_CLOCK_TIME_NONE;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
    fail_unless_equals_uint64 (caption_stat (h->element, "captions"),
        wanted[i]);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* Times near the largest value, negative rate, bases: nothing overflows or waits. */
GST_START_TEST (test_wild_times)
{
  static const GstClockTime times[] = { G_MAXUINT64 - 1, 0, 1,
    G_MAXINT64, G_MAXUINT64 - 2, 365 * 86400 * GST_SECOND, 0
  };
  GstHarness *h = caption_harness (NULL, "mode=sync");
  GstSegment segment;
  GstBuffer *buffer;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (times); i++) {
    buffer = caption_frame (0, 1);
    GST_BUFFER_PTS (buffer) = times[i];
    GST_BUFFER_DURATION (buffer) = i % 2 ? G_MAXUINT64 - 1 : 0;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
  }
  /* 0 and 1 are one caption. */
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"),
      G_N_ELEMENTS (times) - 1);

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = -1.0;
  segment.stop = 10 * GST_SECOND;
  segment.position = segment.stop;
  fail_unless (gst_harness_push_event (h, gst_event_new_segment (&segment)));
  for (i = 0; i < 30; i++)
    gst_buffer_unref (caption_pass (h, 99 - i));
  /* One for the new segment, then one every second. */
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"),
      G_N_ELEMENTS (times) + 2);
  caption_harness_end (h);
}

GST_END_TEST;

/* Before caps or segment a buffer is refused; nothing comes after EOS. */
GST_START_TEST (test_too_early)
{
  GstElement *element = caption_element (NULL, "mode=sync");
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  GstSegment segment;

  gst_object_unref (element);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_stream_start ("a"));
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  fail_unless_equals_int (gst_pad_push (h->srcpad, caption_frame (0, 1)),
      GST_FLOW_NOT_NEGOTIATED);
  caption_harness_end (h);

  h = caption_harness (NULL, "mode=sync");
  caption_expect (h, 0, "caption 0");
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  fail_unless_equals_int (gst_harness_push (h, caption_frame (1, 1)),
      GST_FLOW_EOS);
  caption_harness_end (h);
}

GST_END_TEST;

/* A picture that is larger than most: memory stays that of the picture. */
GST_START_TEST (test_large)
{
  GstHarness *h = caption_harness ("text={luma}\n", "mode=sync interval=0");
  GstVideoInfo info;
  gchar *text;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_GRAY8, 16384, 1024);
  set_caps (h,
      "video/x-raw,format=GRAY8,width=16384,height=1024,framerate=5/1");
  text = push_colour (h, &info, 0, 200);
  fail_unless_equals_string (text, "200");
  g_free (text);

  /* What would have to be converted has a limit, which is said once. */
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_Y444, 65537, 1);
  set_caps (h, "video/x-raw,format=Y444,width=65537,height=1,framerate=5/1");
  fail_unless (push_colour (h, &info, 1, 200) == NULL);
  fail_unless (push_colour (h, &info, 2, 200) == NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT);
  fail_unless (strstr (text, "too large") != NULL, text);
  g_free (text);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);

  /* Caps that no buffer can fill are refused or pass uncaptioned. */
  set_caps (h,
      "video/x-raw,format=RGB,width=2147483647,height=2147483647,framerate=5/1");
  gst_harness_push (h, caption_frame (1, 1));
  caption_harness_end (h);
}

GST_END_TEST;

static Suite *
frames_suite (void)
{
  Suite *suite = suite_create ("frames");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_formats);
  tcase_add_test (tcase, test_colours);
  tcase_add_test (tcase, test_antialias);
  tcase_add_test (tcase, test_odd_caps);
  tcase_add_test (tcase, test_strides);
  tcase_add_test (tcase, test_small);
  tcase_add_test (tcase, test_far_memory);
  tcase_add_test (tcase, test_memories);
  tcase_add_test (tcase, test_caps_change);
  tcase_add_test (tcase, test_flags);
  tcase_add_test (tcase, test_variable_rate);
  tcase_add_test (tcase, test_wild_times);
  tcase_add_test (tcase, test_too_early);
  tcase_add_test (tcase, test_large);
  return suite;
}

GST_CHECK_MAIN (frames);
