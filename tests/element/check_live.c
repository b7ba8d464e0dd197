/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_live.c - what keeps captions steady, in the element: pictures that have not changed, cuts, words that
 * are held, and how properties change while frames flow.
 */
#include "support/captionhost.h"

#include <string.h>

/* Steadying as it is by default, in sync mode so that each frame shows its own caption. */
#define STEADY "mode=sync interval=0 scene-threshold=0.005 "
#define BY_MODE "scene-threshold=-1 cut-threshold=-1 switch-margin=-1 caption-hold=18446744073709551615 "

static GstBuffer *
pass (GstHarness * h, guint n, guint8 grey)
{
  GstBuffer *buffer;

  fail_unless_equals_int (gst_harness_push (h, caption_frame (n, grey)),
      GST_FLOW_OK);
  buffer = gst_harness_try_pull (h);
  fail_unless (buffer != NULL);
  return buffer;
}

static void
expect (GstHarness * h, guint n, guint8 grey, const gchar * wanted)
{
  GstBuffer *buffer = pass (h, n, grey);
  gchar *text = caption_of (buffer);

  fail_unless (g_strcmp0 (text, wanted) == 0, "frame %u says \"%s\", not \"%s\"",
      n, text ? text : "(nothing)", wanted ? wanted : "(nothing)");
  g_free (text);
  gst_buffer_unref (buffer);
}

static void
expect_stat (GstHarness * h, const gchar * field, guint64 wanted)
{
  guint64 value = caption_stat (h->element, field);

  fail_unless (value == wanted, "%s is %u, not %u", field, (guint) value,
      (guint) wanted);
}

GST_START_TEST (test_same_picture)
{
  GstHarness *h = caption_harness (NULL, STEADY);
  GstStructure *stats;
  gdouble saved;
  guint n;

  for (n = 0; n < 10; n++)
    expect (h, n, 100, "caption 0");
  expect_stat (h, "due", 10);
  expect_stat (h, "captions", 1);
  expect_stat (h, "kept", 9);
  g_object_get (h->element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_double (stats, "work-saved", &saved));
  fail_unless (saved == 0.9);
  gst_structure_free (stats);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      1);

  /* Compared with the captioned picture: 77 levels are light, twice that is not. */
  expect (h, n++, 150, "caption 0");
  expect (h, n++, 170, "caption 0");
  expect (h, n++, 200, "caption 1");
  expect (h, n++, 150, "caption 1");

  /* Switched off and on while frames flow. */
  g_object_set (h->element, "scene-threshold", 0.0, NULL);
  expect (h, n++, 150, "caption 2");
  expect (h, n++, 150, "caption 3");
  g_object_set (h->element, "scene-threshold", 0.005, NULL);
  expect (h, n++, 150, "caption 4");
  expect (h, n++, 150, "caption 4");
  caption_harness_end (h);
}

GST_END_TEST;

/* What opens the gate once, whatever the picture shows. */
GST_START_TEST (test_same_picture_again)
{
  GstHarness *h = caption_harness ("text={n} {prompt}{seed}", STEADY);
  guint n = 0;

  expect (h, n++, 100, "0 0");
  expect (h, n++, 100, "0 0");
  g_object_set (h->element, "prompt", "a", NULL);
  expect (h, n++, 100, "1 a0");
  expect (h, n++, 100, "1 a0");
  g_object_set (h->element, "prompt", "a", "seed", (guint64) 0, NULL);
  expect (h, n++, 100, "1 a0");
  g_object_set (h->element, "seed", (guint64) 7, NULL);
  expect (h, n++, 100, "2 a7");
  expect (h, n++, 100, "2 a7");
  g_signal_emit_by_name (h->element, "caption-now");
  expect (h, n++, 100, "3 a7");
  expect (h, n++, 100, "3 a7");
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_harness_push_event (h, gst_event_new_segment (&(GstSegment) {
          .rate = 1.0,.applied_rate = 1.0,.format = GST_FORMAT_TIME,
          .stop = GST_CLOCK_TIME_NONE,.duration = GST_CLOCK_TIME_NONE}));
  expect (h, n++, 100, "4 a7");
  expect (h, n++, 100, "4 a7");
  caption_harness_end (h);
}

GST_END_TEST;

/* A failed caption is tried again with the same picture. */
GST_START_TEST (test_same_picture_after_failure)
{
  GstHarness *h = caption_harness ("fail_look=2", STEADY);

  expect (h, 0, 100, "caption 0");
  expect (h, 1, 200, NULL);
  expect (h, 2, 200, "caption 1");
  expect (h, 3, 200, "caption 1");
  expect_stat (h, "errors", 1);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_cut)
{
  GstHarness *h = caption_harness (NULL,
      "mode=sync interval=3600000000000 cut-threshold=0.5 max-rate=4");

  expect (h, 0, 0, "caption 0");
  expect (h, 1, 70, "caption 0");
  expect (h, 9, 255, "caption 1");      /* within the interval */
  expect (h, 10, 255, "caption 1");
  /* At most one in 250 ms. */
  expect (h, 11, 0, "caption 1");
  expect (h, 12, 0, "caption 2");
  expect_stat (h, "scene-cuts", 2);
  g_object_set (h->element, "max-rate", 0.0, NULL);
  expect (h, 13, 255, "caption 3");
  expect (h, 14, 0, "caption 4");
  g_object_set (h->element, "cut-threshold", 0.0, NULL);
  expect (h, 50, 255, "caption 4");
  expect_stat (h, "scene-cuts", 4);
  caption_harness_end (h);
}

GST_END_TEST;

/* A flash is two cuts, and the scene is the old one. */
GST_START_TEST (test_flash)
{
  GstHarness *h = caption_harness (NULL,
      "mode=sync interval=3600000000000 scene-threshold=0.005 "
      "cut-threshold=0.5 max-rate=2");
  guint n;

  expect (h, 0, 0, "caption 0");
  expect (h, 1, 255, "caption 0");
  for (n = 2; n < 20; n++)
    expect (h, n, 0, "caption 0");
  expect_stat (h, "scene-cuts", 2);
  expect_stat (h, "kept", 1);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_margin)
{
  /* The captions of 0 and 100 are about as good as each other, that of 200 is better than either. */
  GstHarness *h = caption_harness ("journal=@/journal\n" "text={luma}\n"
      "scores=0:-0.5|100:-0.45|200:-0.3", STEADY "switch-margin=0.125");
  GstBuffer *buffer;
  gdouble score;

  expect (h, 0, 0, "0");
  fail_unless_equals_int (caption_journal ("score"), 0);
  buffer = pass (h, 1, 100);
  /* Its score is that of the old words on the new picture. */
  fail_unless (gst_structure_get_double (gst_custom_meta_get_structure
          (gst_buffer_get_custom_meta (buffer, "GstPalmeCaptionMeta")), "score",
          &score));
  fail_unless (score == -0.5);
  gst_buffer_unref (buffer);
  fail_unless_equals_int (caption_journal ("score 0"), 1);
  expect_stat (h, "held", 1);
  /* The same picture, but its words have not come twice. */
  expect (h, 2, 100, "100");
  expect (h, 3, 100, "100");
  expect_stat (h, "captions", 3);
  expect (h, 4, 200, "200");
  expect (h, 5, 100, "200");
  expect (h, 6, 0, "200");
  expect (h, 7, 100, "200");
  expect_stat (h, "held", 4);
  g_object_set (h->element, "switch-margin", 0.0, NULL);
  expect (h, 8, 0, "0");
  /* Messages tell of each caption that was made, with the words that are shown. */
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ELEMENT),
      caption_stat (h->element, "captions"));
  caption_harness_end (h);
}

GST_END_TEST;

/* A text that cannot be scored has to come twice. */
GST_START_TEST (test_margin_unscored)
{
  GstHarness *h = caption_harness ("text={luma}\nscore_status=-9",
      STEADY "switch-margin=0.125");

  expect (h, 0, 0, "0");
  expect (h, 1, 100, "0");
  expect (h, 2, 100, "100");
  expect_stat (h, "errors", 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* Silence below the least score flickers as little as words do. */
GST_START_TEST (test_margin_and_silence)
{
  GstHarness *h = caption_harness ("text={luma}\n"
      "scores=0:-0.5|100:-1.05|200:-0.95", STEADY
      "switch-margin=0.125 min-score=-1");

  expect (h, 0, 0, "0");
  expect (h, 1, 100, "0");
  expect (h, 2, 100, "");
  expect (h, 3, 200, "");
  expect (h, 4, 200, "200");
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_hold)
{
  GstHarness *h = caption_harness ("text={luma}",
      STEADY "cut-threshold=0 caption-hold=300000000");

  expect (h, 0, 0, "0");
  expect (h, 1, 100, "0");
  expect (h, 2, 200, "0");
  expect (h, 3, 200, "200");
  expect (h, 4, 100, "200");
  g_object_set (h->element, "cut-threshold", 0.5, NULL);
  expect (h, 5, 100, "200");
  expect (h, 6, 255, "255");
  caption_harness_end (h);
}

GST_END_TEST;

/* After a cut words of the old scene are taken away in time, and new ones shown when they come. */
GST_START_TEST (test_old_words)
{
  GstHarness *h = caption_harness ("hold=@/hold\ntext={luma}",
      "mode=async interval=0 cut-threshold=0.5 caption-hold=300000000");
  guint n;

  expect (h, 0, 0, NULL);
  caption_wait (h->element, "captions", 1);
  caption_hold ();
  expect (h, 10, 0, "0");
  expect (h, 11, 255, "0");
  expect (h, 12, 255, "0");
  expect (h, 13, 255, "0");
  expect (h, 14, 255, "");
  expect (h, 15, 255, "");
  caption_release ();
  /* The frame that was handed over before the cut was given up, the next one came with or after it. */
  for (n = 16; n < 10000 && caption_stat (h->element, "captions") < 2; n++) {
    gst_buffer_unref (pass (h, n, 255));
    g_usleep (1000);
  }
  expect (h, n, 255, "255");
  caption_harness_end (h);
}

GST_END_TEST;

/* A cut gives up the caption of the old scene, but not each one: a strobe light would end them all. */
GST_START_TEST (test_cut_aborts)
{
  GstHarness *h = caption_harness ("hold=@/hold\njournal=@/journal\n"
      "text={luma}", "mode=async interval=3600000000000 cut-threshold=0.5 "
      "max-rate=0");
  guint n = 1;

  caption_hold ();
  expect (h, 0, 0, NULL);
  caption_wait_journal ("look", 1);
  expect (h, n++, 255, NULL);
  caption_wait_journal ("stopped", 1);
  expect_stat (h, "stale", 1);
  /* The worker may need a moment until it is idle. */
  while (caption_journal ("look") < 2 && n < 10000) {
    gst_buffer_unref (pass (h, n++, 255));
    g_usleep (1000);
  }
  expect (h, n++, 0, NULL);
  caption_release ();
  caption_wait (h->element, "captions", 1);
  expect_stat (h, "stale", 1);
  expect (h, n++, 0, "255");
  caption_wait (h->element, "captions", 2);
  expect (h, n++, 0, "0");
  caption_harness_end (h);
}

GST_END_TEST;

/* By default the async mode is steady, and the sync mode exact. */
GST_START_TEST (test_defaults)
{
  GstHarness *h = caption_harness ("text={n}", BY_MODE "mode=async interval=0");
  guint n;

  expect (h, 0, 100, NULL);
  caption_wait (h->element, "captions", 1);
  for (n = 1; n < 20; n++)
    expect (h, n, 100, "0");
  expect_stat (h, "captions", 1);
  caption_harness_end (h);

  h = caption_harness ("text={n}", BY_MODE "mode=sync interval=0");
  for (n = 0; n < 20; n++) {
    gchar *wanted = g_strdup_printf ("%u", n);

    expect (h, n, n < 10 ? 100 : 255, wanted);
    g_free (wanted);
  }
  expect_stat (h, "kept", 0);
  expect_stat (h, "held", 0);
  expect_stat (h, "scene-cuts", 0);
  caption_harness_end (h);
}

GST_END_TEST;

static Suite *
live_suite (void)
{
  Suite *suite = suite_create ("live");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_same_picture);
  tcase_add_test (tcase, test_same_picture_again);
  tcase_add_test (tcase, test_same_picture_after_failure);
  tcase_add_test (tcase, test_cut);
  tcase_add_test (tcase, test_flash);
  tcase_add_test (tcase, test_margin);
  tcase_add_test (tcase, test_margin_unscored);
  tcase_add_test (tcase, test_margin_and_silence);
  tcase_add_test (tcase, test_hold);
  tcase_add_test (tcase, test_old_words);
  tcase_add_test (tcase, test_cut_aborts);
  tcase_add_test (tcase, test_defaults);
  return suite;
}

GST_CHECK_MAIN (live);
