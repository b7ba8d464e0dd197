/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_regions.c - several pictures of one frame: a part of it, and regions of interest that are followed. First the
 * parts that know no element, then the element over the stand-in engine.
 */
#include "support/captionhost.h"

#include <string.h>

#include "gstpalmecaption-rect.h"
#include "gstpalmecaption-regions.h"

/* Frames of 64x48: the left half is red, the right one blue. */
#define SIDE_CAPS "video/x-raw,format=RGB,width=64,height=48,framerate=10/1"
#define META "GstPalmeCaptionMeta"

/* ---- Rectangles -------------------------------------------------------------------------------- */

GST_START_TEST (test_part)
{
  static const struct
  {
    const gchar *text;
    gint width, height;
    GstVideoRectangle wanted;   /* of no width: nothing is left */
  } good[] = {
    {NULL, 64, 48, {0, 0, 64, 48}},
    {"", 63, 47, {0, 0, 63, 47}},
    {"0,0,64,48", 64, 48, {0, 0, 64, 48}},
    {" 1 , 2,\t3 ,4", 64, 48, {1, 2, 3, 4}},
    {"0.5,0.0,0.5,1.0", 64, 48, {32, 0, 32, 48}},
    {"50%,0,50%,100%", 63, 47, {32, 0, 31, 47}},
    {"0,0,50%,100%", 63, 47, {0, 0, 32, 47}},
    {"32,25%,.25,12", 64, 48, {32, 12, 16, 12}},
    {"12.5%,0,2,2", 64, 48, {8, 0, 2, 2}},
    {"0,0,2,2", 64, 48, {0, 0, 2, 2}},  /* pixels: they have no point */
    {"0,0,1.0,1.0", 64, 48, {0, 0, 64, 48}},
    {"60,40,100,100", 64, 48, {60, 40, 4, 8}},
    {"0.9,0.9,0.9,0.9", 10, 10, {9, 9, 1, 1}},
    {"0,0,0.001,0.001", 10, 10, {0, 0, 1, 1}},  /* at least a pixel */
    {"64,0,2,2", 64, 48, {0, 0, 0, 0}},
    {"0,48,2,2", 64, 48, {0, 0, 0, 0}},
    {"100%,0,2,2", 64, 48, {0, 0, 0, 0}},
  };
  static const gchar *const bad[] =
      { "1,2,3", "1,2,3,4,5", "a,0,9,9", "-1,0,9,9",
    "0.5,0,0.5,1", "0,0,1,0.5",
    "0,0,0,9", "0,0,9,0.0", "0,0,101%,9", "0,0,1.5,9", "nan,0,9,9", "inf,0,9,9",
    "0x1,0,9,9", "1e3,0,9,9", "0,0,1%%,9", ",,,", "0,0,1.1.1,9", "0,0,.,9",
    "0,0,%,9", "0,0,99999999,9", "0,0,1 2,9", "+1,0,9,9", "full"
  };
  GstPalmeCaptionPart part, before;
  GstVideoRectangle rect;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (good); i++) {
    gboolean left;

    fail_unless (gst_palme_caption_part_parse (&part, good[i].text) == NULL,
        "%s", good[i].text);
    left = gst_palme_caption_part_resolve (&part, good[i].width,
        good[i].height, &rect);
    fail_unless (left == (good[i].wanted.w > 0), "%s", good[i].text);
    fail_unless (!left || memcmp (&rect, &good[i].wanted, sizeof rect) == 0,
        "%s: %d %d %d %d", good[i].text, rect.x, rect.y, rect.w, rect.h);
  }
  before = part;
  for (i = 0; i < G_N_ELEMENTS (bad); i++) {
    fail_if (gst_palme_caption_part_parse (&part, bad[i]) == NULL, "%s",
        bad[i]);
    fail_unless (gst_palme_caption_part_is_equal (&part, &before));
  }
  gst_palme_caption_part_parse (&part, "1,0,9,9");
  gst_palme_caption_part_parse (&before, "1.0,0,9,9");
  fail_if (gst_palme_caption_part_is_equal (&part, &before));
}

GST_END_TEST;

GST_START_TEST (test_clip)
{
  const GstVideoRectangle bounds = { 10, 20, 100, 50 };
  GstVideoRectangle rect;

  fail_unless (gst_palme_caption_rect_clip (&rect, 0, 0, 11, 21, &bounds));
  fail_unless (rect.x == 10 && rect.y == 20 && rect.w == 1 && rect.h == 1);
  fail_unless (gst_palme_caption_rect_clip (&rect, 50, 0, G_MAXUINT, G_MAXUINT,
          &bounds));
  fail_unless (rect.x == 50 && rect.y == 20 && rect.w == 60 && rect.h == 50);
  fail_if (gst_palme_caption_rect_clip (&rect, G_MAXUINT, 0, G_MAXUINT, 100,
          &bounds));
  fail_if (gst_palme_caption_rect_clip (&rect, 0, 0, 10, 100, &bounds));
  fail_if (gst_palme_caption_rect_clip (&rect, 50, 30, 0, 9, &bounds));
  fail_unless_equals_float (gst_palme_caption_rect_overlap (&bounds, &bounds),
      1.0);
  rect = (GstVideoRectangle) {
  60, 20, 100, 50};
  fail_unless_equals_float (gst_palme_caption_rect_overlap (&bounds, &rect),
      1.0 / 3);
  rect.x = 110;
  fail_unless_equals_float (gst_palme_caption_rect_overlap (&bounds, &rect), 0);
}

GST_END_TEST;

/* ---- Following --------------------------------------------------------------------------------- */

static GstPalmeMetaRegion
area (gint x, gint width, gint id, const gchar * type)
{
  return (GstPalmeMetaRegion) {
    .rect = {
      x, 0, width, 10
  },.of_interest = TRUE,.id = id,.type = type};
}

#define FOLLOW(now, ...) G_STMT_START { \
  const GstPalmeMetaRegion areas_[] = { __VA_ARGS__ }; \
  gst_palme_caption_regions_follow (&regions, areas_, G_N_ELEMENTS (areas_), now); } G_STMT_END

#define HERE(i) ((gint) regions.here[i]->serial)

GST_START_TEST (test_follow)
{
  GstPalmeCaptionRegions regions = { 0 };

  /* By id, wherever they go, and in the order of the frame. */
  FOLLOW (0, area (0, 10, 7, "person"), area (50, 10, 8, "person"));
  FOLLOW (1, area (0, 10, 8, "person"), area (90, 10, 7, "person"));
  fail_unless (HERE (0) == 2 && HERE (1) == 1);
  /* The same id of another type is another one. */
  FOLLOW (2, area (0, 10, 8, "person"), area (0, 10, 8, "car"));
  fail_unless (HERE (0) == 2 && HERE (1) == 3);
  /* Absent for less than a second it is still known, but not there. */
  fail_unless (gst_palme_caption_regions_find (&regions, 1) != NULL);
  FOLLOW (GST_SECOND, area (200, 10, 7, "person"));
  fail_unless (regions.n_here == 1 && HERE (0) == 1);
  FOLLOW (GST_SECOND + 2, area (300, 10, 8, "person"));
  fail_unless (regions.n_known == 2 && HERE (0) == 4);
  gst_palme_caption_regions_clear (&regions);

  /* Without ids by overlap; the best pair first, in whatever order they come. */
  regions.serial = 0;
  FOLLOW (0, area (0, 20, 0, NULL), area (15, 20, 0, NULL));
  FOLLOW (1, area (14, 20, 0, NULL), area (2, 20, 0, NULL));
  fail_unless (HERE (0) == 2 && HERE (1) == 1);
  /* 5 of 35 pixels in common are too few. */
  FOLLOW (2, area (29, 20, 0, NULL), area (2, 20, 0, NULL));
  fail_unless (HERE (0) == 3 && HERE (1) == 1);
  /* Equal ids tell nothing apart. */
  FOLLOW (3, area (60, 20, 5, NULL), area (100, 20, 5, NULL));
  FOLLOW (4, area (100, 20, 5, NULL), area (62, 20, 5, NULL));
  fail_unless (HERE (0) == 5 && HERE (1) == 4);
  gst_palme_caption_regions_clear (&regions);
}

GST_END_TEST;

/* As many as there are places, and others in the next frame. */
GST_START_TEST (test_follow_many)
{
  static GstPalmeMetaRegion areas[2 * GST_PALME_CAPTION_REGIONS_MAX];
  GstPalmeCaptionRegions regions = { 0 };
  guint i, frame;

  for (frame = 0; frame < 3; frame++) {
    for (i = 0; i < G_N_ELEMENTS (areas); i++)
      areas[i] = area (20 * i, 10, (gint) (1000 * frame + i + 1), "a");
    gst_palme_caption_regions_follow (&regions, areas, G_N_ELEMENTS (areas),
        GST_CLOCK_TIME_NONE);
    fail_unless_equals_int (regions.n_here, GST_PALME_CAPTION_REGIONS_MAX);
    fail_unless (regions.n_known <= GST_PALME_CAPTION_REGIONS_MAX);
  }
  gst_palme_caption_regions_clear (&regions);
}

GST_END_TEST;

/* Each has its turn, and who comes new is first. */
GST_START_TEST (test_choose)
{
  GstPalmeCaptionRegion *chosen[4];
  GstPalmeCaptionRegions regions = { 0 };
  guint turns[6] = { 0 }, i, n;

  FOLLOW (0, area (0, 9, 1, "a"), area (10, 9, 2, "a"), area (20, 9, 3, "a"),
      area (30, 9, 4, "a"), area (40, 9, 5, "a"));
  for (i = 0; i < 10; i++) {
    n = gst_palme_caption_regions_choose (&regions, chosen, 2);
    fail_unless_equals_int (n, 2);
    while (n > 0)
      turns[chosen[--n]->area.id]++;
  }
  for (i = 1; i <= 5; i++)
    fail_unless_equals_int (turns[i], 4);
  FOLLOW (1, area (0, 9, 1, "a"), area (50, 9, 6, "a"));
  fail_unless_equals_int (gst_palme_caption_regions_choose (&regions, chosen,
          4), 2);
  fail_unless_equals_int (chosen[0]->area.id, 6);
  gst_palme_caption_regions_clear (&regions);
}

GST_END_TEST;

/* ---- The element ------------------------------------------------------------------------------- */

static GstBuffer *
frame_of (guint n, guint8 red)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 64 * 48 * 3, NULL);
  GstMapInfo map;
  gint x, y;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (y = 0; y < 48; y++)
    for (x = 0; x < 64; x++) {
      guint8 *pixel = map.data + (y * 64 + x) * 3;

      pixel[0] = x < 32 ? red : 0;
      pixel[1] = 0;
      pixel[2] = x < 32 ? 0 : 255;
    }
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = n * FRAME_TIME;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  return buffer;
}

static void
add_roi (GstBuffer * buffer, guint x, guint y, guint width, guint height,
    gint id, const gchar * type)
{
  gst_buffer_add_video_region_of_interest_meta (buffer, type, x, y, width,
      height)->id = id;
}

static GstHarness *
harness (const gchar * lines, const gchar * properties)
{
  GstHarness *h = caption_harness (lines, properties);

  gst_harness_set_src_caps_str (h, SIDE_CAPS);
  return h;
}

static GstBuffer *
pass (GstHarness * h, GstBuffer * buffer)
{
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_try_pull (h);
  fail_unless (buffer != NULL);
  return buffer;
}

/* What a structure says of a region: "text [x,y,w,h id type]". */
static void
say (GString * said, const GstStructure * s)
{
  gint x, y, w, h, id;

  g_string_append (said, gst_structure_get_string (s, "text"));
  if (gst_structure_get (s, "region-x", G_TYPE_INT, &x, "region-y", G_TYPE_INT,
          &y, "region-width", G_TYPE_INT, &w, "region-height", G_TYPE_INT, &h,
          NULL))
    g_string_append_printf (said, " [%d,%d,%d,%d", x, y, w, h);
  if (gst_structure_get_int (s, "region-id", &id))
    g_string_append_printf (said, " %d %s", id,
        gst_structure_get_string (s, "region-type"));
  g_string_append (said, gst_structure_has_field (s, "region-x") ? "]; " :
      "; ");
}

/* All captions on the buffer, which is used up. */
#define expect(h, buffer, wanted) G_STMT_START { \
  GstBuffer *b_ = pass (h, buffer); \
  GString *said_ = g_string_new (NULL); \
  gpointer state_ = NULL; \
  GstMeta *meta_; \
  while ((meta_ = gst_buffer_iterate_meta (b_, &state_)) != NULL) \
    if (meta_->info == gst_meta_get_info (META)) \
      say (said_, gst_custom_meta_get_structure ((GstCustomMeta *) meta_)); \
  fail_unless_equals_string (said_->str, wanted); \
  g_string_free (said_, TRUE); \
  gst_buffer_unref (b_); } G_STMT_END

static void
expect_messages (GstHarness * h, const gchar * wanted)
{
  GString *said = g_string_new (NULL);
  GstMessage *message;

  while ((message = caption_message (h->element, GST_MESSAGE_ELEMENT)) != NULL) {
    say (said, gst_message_get_structure (message));
    gst_message_unref (message);
  }
  fail_unless_equals_string (said->str, wanted);
  g_string_free (said, TRUE);
}

static void
expect_caption (GstHarness * h, const gchar * wanted)
{
  gchar *text;

  g_object_get (h->element, "caption", &text, NULL);
  fail_unless_equals_string (text, wanted);
  g_free (text);
}

static void
expect_warning (GstHarness * h, GQuark domain, gint code, const gchar * word)
{
  gchar *text = caption_expect_issue (h->element, GST_MESSAGE_WARNING, domain,
      code);

  fail_unless (strstr (text, word) != NULL, "%s", text);
  g_free (text);
}

GST_START_TEST (test_region)
{
  GstHarness *h = harness ("text={r} {b}", "mode=sync interval=0");

  expect (h, frame_of (0, 255), "128 128; ");
  g_object_set (h->element, "region", "0,0,50%,100%", NULL);
  expect (h, frame_of (1, 255), "255 0 [0,0,32,48]; ");
  g_object_set (h->element, "region", "32,1,900,7", NULL);
  expect (h, frame_of (2, 255), "0 255 [32,1,32,7]; ");
  g_object_set (h->element, "region", "0.25,0.5,0.5,0.25", NULL);
  expect (h, frame_of (3, 255), "128 128 [16,24,32,12]; ");
  expect_messages (h, "128 128; 255 0 [0,0,32,48]; 0 255 [32,1,32,7]; "
      "128 128 [16,24,32,12]; ");

  /* Refused: the old one stays. */
  g_object_set (h->element, "region", "1,2", NULL);
  expect_warning (h, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
      "\"region\"");
  expect (h, frame_of (4, 255), "128 128 [16,24,32,12]; ");

  /* Outside: no caption, and one warning until it is set again or the caps change. */
  g_object_set (h->element, "region", "64,0,10,10", NULL);
  expect (h, frame_of (5, 255), "");
  expect (h, frame_of (6, 255), "");
  expect_warning (h, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "\"region\"");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  fail_unless_equals_uint64 (caption_stat (h->element, "skipped-unmappable"),
      2);
  expect_caption (h, NULL);
  g_object_set (h->element, "region", "0,48,10,10", NULL);
  expect (h, frame_of (7, 255), "");
  expect_warning (h, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "\"region\"");

  /* gst-launch cannot set NULL. */
  g_object_set (h->element, "region", "", NULL);
  expect (h, frame_of (8, 255), "128 128; ");
  /* Set outside between two frames that are due: the old words are about no part of the next one. */
  g_object_set (h->element, "region", "0,0,32,48", NULL);
  expect (h, frame_of (9, 255), "255 0 [0,0,32,48]; ");
  g_object_set (h->element, "interval", GST_CLOCK_TIME_NONE, "region",
      "64,0,10,10", NULL);
  expect (h, frame_of (10, 255), "");
  caption_messages (h->element, GST_MESSAGE_WARNING);
  g_object_set (h->element, "interval", (guint64) 0, "region", "", NULL);
  /* In larger frames a fraction is more pixels. */
  g_object_set (h->element, "region", "0.5,0.5,0.5,0.5", NULL);
  gst_harness_set_src_caps_str (h, CAPS_RGB);
  fail_unless_equals_int (gst_harness_push (h, caption_frame (11, 7)),
      GST_FLOW_OK);
  gst_buffer_unref (gst_harness_pull (h));
  caption_messages (h->element, GST_MESSAGE_WARNING);
  g_object_set (h->element, "post-messages", TRUE, NULL);
  expect_caption (h, "7 7");
  caption_harness_end (h);
}

GST_END_TEST;

/* Words that were found before the caps changed are not about a frame that the region is outside of. */
GST_START_TEST (test_outside_new_caps)
{
  GstHarness *h = harness ("text={r}", "mode=async interval=0 "
      "drain-timeout=0 scene-threshold=0 region=40,0,20,20");
  GstBuffer *buffer;
  guint i, with = 0;

  for (i = 0; i < 2000 && with == 0; i++) {
    gst_harness_push (h, frame_of (i, 200));
    buffer = gst_harness_pull (h);
    with += gst_buffer_get_custom_meta (buffer, "GstPalmeCaptionMeta") != NULL;
    gst_buffer_unref (buffer);
    g_usleep (5000);
  }
  fail_unless (with > 0);
  gst_harness_set_src_caps_str (h,
      "video/x-raw, format=RGB, width=32, height=24, framerate=10/1");
  for (i = 0; i < 3; i++) {
    buffer = gst_buffer_new_allocate (NULL, 32 * 24 * 3, NULL);
    gst_buffer_memset (buffer, 0, 200, 32 * 24 * 3);
    GST_BUFFER_PTS (buffer) = (3000 + i) * GST_SECOND / 10;
    gst_harness_push (h, buffer);
    buffer = gst_harness_pull (h);
    fail_unless (gst_buffer_get_custom_meta (buffer,
            "GstPalmeCaptionMeta") == NULL);
    gst_buffer_unref (buffer);
  }
  expect_caption (h, NULL);
  caption_harness_end (h);
}

GST_END_TEST;

/* Looking at another part is no cut, and no change of the scene keeps the old words. */
GST_START_TEST (test_region_and_scene)
{
  GstHarness *h = harness ("text={r}", "mode=sync interval=0 "
      "scene-threshold=0.005 cut-threshold=0.9 switch-margin=0.1 "
      "region=0,0,32,48");

  expect (h, frame_of (0, 200), "200 [0,0,32,48]; ");
  expect (h, frame_of (1, 200), "200 [0,0,32,48]; ");
  g_object_set (h->element, "region", "32,0,32,48", NULL);
  expect (h, frame_of (2, 200), "0 [32,0,32,48]; ");
  fail_unless_equals_uint64 (caption_stat (h->element, "scene-cuts"), 0);
  fail_unless_equals_uint64 (caption_stat (h->element, "kept"), 1);
  /* What happens outside of the part does not count. */
  expect (h, frame_of (3, 0), "0 [32,0,32,48]; ");
  fail_unless_equals_uint64 (caption_stat (h->element, "kept"), 2);
  fail_unless_equals_uint64 (caption_stat (h->element, "scene-cuts"), 0);
  /* All of the part is another, which is half of the frame. */
  g_object_set (h->element, "region", "0,0,32,48", NULL);
  expect (h, frame_of (4, 0), "0 [0,0,32,48]; ");
  expect (h, frame_of (5, 200), "200 [0,0,32,48]; ");
  fail_unless_equals_uint64 (caption_stat (h->element, "scene-cuts"), 1);
  caption_harness_end (h);
}

GST_END_TEST;

typedef struct
{
  GString *said;
  guint whole;
} Signals;

static void
on_region (GstElement * element, const gchar * text,
    const GstStructure * region, guint64 pts, guint64 running_time,
    guint64 latency, Signals * signals)
{
  GstStructure *copy = gst_structure_copy (region);

  (void) element;
  fail_unless (pts == running_time && latency > 0);
  gst_structure_set (copy, "text", G_TYPE_STRING, text, NULL);
  say (signals->said, copy);
  gst_structure_free (copy);
}

static void
on_caption (GstElement * element, const gchar * text, guint64 pts,
    guint64 running_time, guint64 latency, Signals * signals)
{
  (void) element, (void) text, (void) pts, (void) running_time, (void) latency;
  signals->whole++;
}

/* Two regions of a frame: on buffers, in messages and by signal, and followed on frames that are not due. */
GST_START_TEST (test_roi)
{
  GstHarness *h = harness ("text={n} {r} {b}",
      "mode=sync interval=300000000 regions=roi");
  Signals signals = { g_string_new (NULL), 0 };
  GstBuffer *b;

  g_signal_connect (h->element, "region-caption", G_CALLBACK (on_region),
      &signals);
  g_signal_connect (h->element, "new-caption", G_CALLBACK (on_caption),
      &signals);
  /* Nothing to caption yet: the turn is left to the next frame. */
  expect (h, frame_of (0, 255), "");
  expect_caption (h, NULL);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 0);

  b = frame_of (1, 255);
  add_roi (b, 0, 0, 20, 20, 5, "person");
  add_roi (b, 40, 10, 100, 20, 9, "car");
  expect (h, b, "0 255 0 [0,0,20,20 5 person]; 1 0 255 [40,10,24,20 9 car]; ");
  expect_caption (h, "0 255 0\n1 0 255");
  expect_messages (h,
      "0 255 0 [0,0,20,20 5 person]; 1 0 255 [40,10,24,20 9 car]; ");
  fail_unless_equals_string (signals.said->str,
      "0 255 0 [0,0,20,20 5 person]; 1 0 255 [40,10,24,20 9 car]; ");
  fail_unless_equals_int (signals.whole, 2);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 1);
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 2);

  /* Not due: captions follow their regions. */
  b = frame_of (2, 255);
  add_roi (b, 42, 11, 10, 10, 9, "car");
  add_roi (b, 3, 4, 20, 20, 5, "person");
  add_roi (b, 3, 4, 20, 20, 6, "person");
  expect (h, b, "1 0 255 [42,11,10,10 9 car]; 0 255 0 [3,4,20,20 5 person]; ");
  expect_caption (h, "1 0 255\n0 255 0");
  b = frame_of (3, 255);
  add_roi (b, 3, 4, 20, 20, 5, "person");
  expect (h, b, "0 255 0 [3,4,20,20 5 person]; ");
  expect_caption (h, "0 255 0");
  /* Due again. */
  b = frame_of (4, 99);
  add_roi (b, 3, 4, 20, 20, 5, "person");
  expect (h, b, "2 99 0 [3,4,20,20 5 person]; ");
  expect (h, frame_of (5, 99), "");
  expect_caption (h, NULL);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 2);
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
  g_string_free (signals.said, TRUE);
}

GST_END_TEST;

/* More regions than are captioned of a frame: all have their turn. */
GST_START_TEST (test_max_regions)
{
  GstHarness *h = harness ("text={n}", "mode=sync interval=0 regions=roi "
      "max-regions=2");
  static const gchar *const wanted[] = {
    "0 [0,0,9,9 1 a]; 1 [9,0,9,9 2 a]; ",
    "0 [0,0,9,9 1 a]; 1 [9,0,9,9 2 a]; 2 [18,0,9,9 3 a]; 3 [27,0,9,9 4 a]; ",
    "5 [0,0,9,9 1 a]; 1 [9,0,9,9 2 a]; 2 [18,0,9,9 3 a]; 3 [27,0,9,9 4 a]; "
        "4 [36,0,9,9 5 a]; ",
    /* Five from here on: 2, 3, 4, 5, 1 is the order of waiting. */
    "10 [0,0,9,9 1 a]; 6 [9,0,9,9 2 a]; 7 [18,0,9,9 3 a]; 8 [27,0,9,9 4 a]; "
        "9 [36,0,9,9 5 a]; ",
  };
  guint n, i;

  for (n = 0; n < G_N_ELEMENTS (wanted); n++) {
    GstBuffer *b = frame_of (n, 255);

    for (i = 0; i < 5; i++)
      add_roi (b, 9 * i, 0, 9, 9, (gint) i + 1, "a");
    if (n == 3)
      g_object_set (h->element, "max-regions", 5, NULL);
    expect (h, b, wanted[n]);
  }
  caption_harness_end (h);
}

GST_END_TEST;

/* Outside of the frame, empty, and cut off by the property region. */
GST_START_TEST (test_roi_outside)
{
  GstHarness *h = harness ("text={n}", "mode=sync interval=0 regions=roi "
      "region=0,0,32,100%");
  GstBuffer *b = frame_of (0, 255);

  add_roi (b, 64, 0, 5, 5, 1, "a");
  add_roi (b, 5, 5, 0, 7, 2, "a");
  add_roi (b, G_MAXUINT, G_MAXUINT, G_MAXUINT, G_MAXUINT, 3, "a");
  add_roi (b, 30, 40, G_MAXUINT, G_MAXUINT, 4, "a");
  expect (h, b, "0 [30,40,2,8 4 a]; ");
  expect_warning (h, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
      "region of interest");
  b = frame_of (1, 255);
  add_roi (b, 64, 0, 5, 5, 1, "a");
  expect (h, b, "");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  caption_harness_end (h);
}

GST_END_TEST;

/* Each region is kept steady on its own. */
GST_START_TEST (test_roi_steady)
{
  GstHarness *h = harness ("text={n}", "mode=sync interval=0 regions=roi "
      "scene-threshold=0.005");
  static const gchar *const wanted[] = {
    "0 [0,0,30,30 1 a]; 1 [33,0,30,30 2 a]; ",
    "0 [0,0,30,30 1 a]; 1 [33,0,30,30 2 a]; ",
    "2 [0,0,30,30 1 a]; 1 [33,0,30,30 2 a]; ",
  };
  guint n;

  for (n = 0; n < 3; n++) {
    GstBuffer *b = frame_of (n, n < 2 ? 20 : 220);

    add_roi (b, 0, 0, 30, 30, 1, "a");
    add_roi (b, 33, 0, 30, 30, 2, "a");
    expect (h, b, wanted[n]);
  }
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 3);
  fail_unless_equals_uint64 (caption_stat (h->element, "kept"), 3);
  fail_unless_equals_uint64 (caption_stat (h->element, "due"), 3);
  caption_harness_end (h);

  /* A new caption has to be better than that of the same region. */
  h = harness ("text={r} {b}\nscores=255 0:-0.5|0 255:-0.5|99 0:-0.45",
      "mode=sync interval=0 regions=roi switch-margin=0.1");
  for (n = 0; n < 2; n++) {
    GstBuffer *b = frame_of (n, n ? 99 : 255);

    add_roi (b, 0, 0, 30, 30, 1, "a");
    add_roi (b, 33, 0, 30, 30, 2, "a");
    expect (h, b, "255 0 [0,0,30,30 1 a]; 0 255 [33,0,30,30 2 a]; ");
  }
  fail_unless_equals_uint64 (caption_stat (h->element, "held"), 1);
  caption_harness_end (h);
}

GST_END_TEST;

/* Async: all of a frame's captions come, whatever is on the frames meanwhile, and what is gone is told of. */
GST_START_TEST (test_roi_async)
{
  GstHarness *h = harness ("text={n} {b}\nhold=@/hold\njournal=@/journal",
      "mode=async interval=0 regions=roi");
  GstBuffer *b = frame_of (0, 255);
  guint n;

  caption_hold ();
  add_roi (b, 0, 0, 20, 20, 5, "a");
  add_roi (b, 40, 0, 20, 20, 6, "b");
  expect (h, b, "");
  caption_wait_journal ("look", 1);
  for (n = 1; n < 40; n++)
    expect (h, frame_of (n, 255), "");
  caption_release ();
  caption_wait (h->element, "captions", 2);
  b = frame_of (n++, 255);
  add_roi (b, 41, 0, 20, 20, 6, "b");
  /* It was away for four seconds, so it is another one now. */
  expect (h, b, "");
  expect_messages (h, "0 0 [0,0,20,20 5 a]; 1 255 [40,0,20,20 6 b]; ");
  caption_wait (h->element, "captions", 3);
  b = frame_of (n++, 255);
  add_roi (b, 42, 0, 20, 20, 6, "b");
  expect (h, b, "2 255 [42,0,20,20 6 b]; ");
  /* EOS waits for all of them. */
  caption_wait (h->element, "captions", 4);
  b = frame_of (n++, 255);
  add_roi (b, 0, 0, 20, 20, 5, "a");
  add_roi (b, 40, 0, 20, 20, 6, "b");
  gst_buffer_unref (pass (h, b));
  caption_messages (h->element, GST_MESSAGE_ELEMENT);
  gst_harness_push_event (h, gst_event_new_eos ());
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 6);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      2);
  caption_harness_end (h);
}

GST_END_TEST;

/* From the frame to its regions and back while frames flow, a flush, a failure, other caps. */
GST_START_TEST (test_roi_changes)
{
  GstHarness *h = harness ("text={n}\nfail_look=4", "mode=sync interval=0");
  GstBuffer *b;

  expect (h, frame_of (0, 255), "0; ");
  g_object_set (h->element, "region", NULL, NULL);
  gst_util_set_object_arg (G_OBJECT (h->element), "regions", "roi");
  expect (h, frame_of (1, 255), "");
  expect_caption (h, NULL);
  b = frame_of (2, 255);
  add_roi (b, 0, 0, 9, 9, 0, "");
  add_roi (b, 20, 0, 9, 9, 0, "");
  expect (h, b, "1 [0,0,9,9 0 ]; 2 [20,0,9,9 0 ]; ");
  /* The fourth look fails: that region alone has no caption. */
  b = frame_of (3, 255);
  add_roi (b, 0, 0, 9, 9, 0, "");
  add_roi (b, 20, 0, 9, 9, 0, "");
  expect (h, b, "3 [20,0,9,9 0 ]; ");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      1);
  gst_harness_set_src_caps_str (h, CAPS_RGB);
  b = caption_frame (4, 7);
  add_roi (b, 1, 1, 5, 5, 0, "");
  expect (h, b, "4 [1,1,5,5 0 ]; ");
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  expect_caption (h, NULL);
  gst_util_set_object_arg (G_OBJECT (h->element), "regions", "none");
  caption_harness_end (h);
}

GST_END_TEST;

/* A region that shares chroma with its neighbours, in frames of odd sizes and in fields. */
GST_START_TEST (test_roi_formats)
{
  static const gchar *const caps[] = {
    "video/x-raw,format=I420,width=65,height=47,framerate=10/1",
    "video/x-raw,format=YUY2,width=65,height=47,framerate=10/1",
    "video/x-raw,format=I420,width=64,height=48,framerate=10/1,"
        "interlace-mode=interleaved,field-order=top-field-first",
    "video/x-raw(format:Interlaced),format=I420,width=64,height=48,"
        "framerate=10/1,interlace-mode=alternate",
    "video/x-raw,format=v210,width=65,height=47,framerate=10/1",
    "video/x-raw,format=I420_10LE,width=65,height=47,framerate=10/1",
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (caps); i++) {
    GstHarness *h = caption_harness ("text={n}",
        "mode=sync interval=0 regions=roi max-regions=64");
    GstCaps *parsed = gst_caps_from_string (caps[i]);
    GstVideoInfo info;
    GstBuffer *b;
    GstMeta *meta;
    gpointer state = NULL;
    guint n;

    fail_unless (gst_video_info_from_caps (&info, parsed));
    gst_harness_set_src_caps (h, parsed);
    b = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
    gst_buffer_memset (b, 0, 100, GST_VIDEO_INFO_SIZE (&info));
    GST_BUFFER_PTS (b) = 0;
    for (n = 0; n < 30; n++)
      add_roi (b, 2 * n + n % 2, n, 1 + n % 3, 1 + n % 5, (gint) n + 1, "a");
    add_roi (b, 64, 46, 9, 9, 31, "a");
    add_roi (b, 63, 46, 1, 1, 32, "a");
    b = pass (h, b);
    for (n = 0; (meta = gst_buffer_iterate_meta (b, &state)) != NULL;)
      n += meta->info == gst_meta_get_info (META);
    fail_unless_equals_int (n, GST_VIDEO_INFO_WIDTH (&info) == 65 ? 32 : 31);
    gst_buffer_unref (b);
    caption_harness_end (h);
  }
}

GST_END_TEST;

/* ---- What is told where captions do not come ------------------------------------------------- */

/* A detector that sees nothing is no fault, so it is an information, once. */
GST_START_TEST (test_no_roi)
{
  GstHarness *h = harness (NULL, "mode=sync interval=0 regions=roi");
  GstMessage *message;
  GError *error;
  gchar *debug;
  guint n;

  for (n = 0; n < 700; n++)
    gst_buffer_unref (pass (h, frame_of (n, 0)));
  message = caption_message (h->element, GST_MESSAGE_INFO);
  fail_unless (message != NULL);
  gst_message_parse_info (message, &error, &debug);
  fail_unless (strstr (error->message, "regions=roi") != NULL);
  /* gst-launch-1.0 prints nothing else. */
  fail_unless (strstr (debug, error->message) != NULL, "%s", debug);
  g_error_free (error);
  g_free (debug);
  gst_message_unref (message);
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_INFO | GST_MESSAGE_WARNING), 0);
  caption_harness_end (h);
}

GST_END_TEST;

static void
ignore_notify (void)
{
}

/* Nobody can hear of captions, whatever the application does. */
GST_START_TEST (test_never_told)
{
  const gchar *properties = "mode=sync interval=0 post-messages=false";
  GstHarness *h = harness (NULL, properties);

  gst_buffer_unref (pass (h, frame_of (0, 0)));
  gst_buffer_unref (pass (h, frame_of (1, 0)));
  expect_warning (h, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
      "post-messages");
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  caption_harness_end (h);

  h = harness (NULL, properties);
  g_signal_connect (h->element, "notify::caption", G_CALLBACK (ignore_notify),
      NULL);
  gst_buffer_unref (pass (h, frame_of (0, 0)));
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_INFO), 0);
  caption_harness_end (h);
}

GST_END_TEST;

static Suite *
regions_suite (void)
{
  Suite *suite = suite_create ("regions");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_part);
  tcase_add_test (tcase, test_clip);
  tcase_add_test (tcase, test_follow);
  tcase_add_test (tcase, test_follow_many);
  tcase_add_test (tcase, test_choose);
  tcase_add_test (tcase, test_region);
  tcase_add_test (tcase, test_outside_new_caps);
  tcase_add_test (tcase, test_region_and_scene);
  tcase_add_test (tcase, test_roi);
  tcase_add_test (tcase, test_max_regions);
  tcase_add_test (tcase, test_roi_outside);
  tcase_add_test (tcase, test_roi_steady);
  tcase_add_test (tcase, test_roi_async);
  tcase_add_test (tcase, test_roi_changes);
  tcase_add_test (tcase, test_roi_formats);
  tcase_add_test (tcase, test_no_roi);
  tcase_add_test (tcase, test_never_told);
  return suite;
}

GST_CHECK_MAIN (regions);
