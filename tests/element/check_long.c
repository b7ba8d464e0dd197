/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_long.c - pictures of 1024 pixels in patches of 16, which are 4096 tokens: memory grows as their number does,
 * not as its square, and a frame passes through the element, with the engine itself.
 */
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>

#include "support/allocations.h"
#include "support/model_builder.h"

/* Few layers: it is the length that counts. */
static const gchar *
model_of (gint side)
{
  static const gchar *path[2];
  const gchar **made = &path[side > 512];
  gchar *config;
  struct builder *b;

  if (*made)
    return *made;
  config = g_strdup_printf ("{\"image_size\":%d,\"patch_size\":16,"
      "\"encoder_dim\":64,\"encoder_heads\":1,\"decoder_dim\":64,"
      "\"decoder_heads\":1}", side);
  b = builder_new (config, 3);
  *made = temporary (side > 512 ? "long.safetensors" : "short.safetensors");
  builder_write (b, *made);
  builder_free (b);
  g_free (config);
  return *made;
}

/* What a session takes that has captioned a picture, in bytes. */
static long long
memory_of (gint side)
{
  guint8 *pixels = g_malloc0 (3 * (gsize) side * (gsize) side);
  struct palme_image image = {.format = PALME_FORMAT_RGB,.width = side,
    .height = side,.planes = {pixels},.strides = {3 * (ptrdiff_t) side}
  };
  struct palme_options options = {.max_length = 2 };
  struct palme_setup setup = {.threads = 1 };
  const char *piece;
  palme_session *session;
  palme_model *model;
  long long before, taken;
  long count;

  fail_unless_equals_int (palme_model_open (&model, model_of (side), &setup),
      PALME_OK);
  before = allocated_bytes;
  fail_unless_equals_int (palme_session_open (&session, model, &options),
      PALME_OK);
  taken = allocated_bytes - before;
  count = allocations;
  fail_unless_equals_int (palme_look (session, &image), PALME_OK);
  while (palme_next (session, &piece) == PALME_OK);
  fail_unless (allocations == count, "a caption allocates");
  palme_session_close (&session);
  palme_model_close (&model);
  g_free (pixels);
  return taken;
}

/* 1024 tokens and 4096. Attention that is kept as a whole would take 64 MB for a head of the larger one. */
GST_START_TEST (test_memory)
{
  long long small = memory_of (512), large = memory_of (1024);

  GST_INFO ("1024 tokens: %lld bytes, 4096 tokens: %lld bytes", small, large);
  fail_unless (large < 4 * small + (1 << 20), "%lld bytes for 1024 tokens, "
      "%lld for 4096", small, large);
  fail_unless (large > small);
}

GST_END_TEST;

GST_START_TEST (test_element)
{
  GstElement *element = gst_element_factory_make ("palmecaption", NULL);
  GstHarness *h;
  GstBuffer *buffer;
  GstStructure *stats;
  guint64 captions;

  fail_unless (element != NULL);
  g_object_set (element, "model", model_of (1024), "max-length", 2, NULL);
  gst_util_set_object_arg (G_OBJECT (element), "mode", "sync");
  h = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_src_caps_str (h,
      "video/x-raw,format=I420,width=1920,height=1080,framerate=25/1");
  buffer = gst_buffer_new_allocate (NULL, 1920 * 1080 * 3 / 2, NULL);
  gst_buffer_memset (buffer, 0, 90, 1920 * 1080 * 3 / 2);
  GST_BUFFER_PTS (buffer) = 0;
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  fail_unless (gst_buffer_get_custom_meta (buffer,
          "GstPalmeCaptionMeta") != NULL);
  gst_buffer_unref (buffer);
  g_object_get (element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint64 (stats, "captions", &captions));
  fail_unless_equals_uint64 (captions, 1);
  gst_structure_free (stats);
  gst_object_unref (element);
  gst_harness_teardown (h);
}

GST_END_TEST;

static Suite *
long_suite (void)
{
  Suite *suite = suite_create ("long");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  /* Plain C and a sanitizer together are slow. */
  tcase_set_timeout (tcase, 300);
  tcase_add_test (tcase, test_memory);
  tcase_add_test (tcase, test_element);
  return suite;
}

GST_CHECK_MAIN (long);
