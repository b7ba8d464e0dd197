/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_unsure.c - labels: what palmecaption tells of them, and what it says of a picture whose caption they
 * do not confirm.
 */
#include <string.h>

#include "support/captionhost.h"

#define DOGS "labels=dog:a dog:0.75|sitting::0.625|cat:a cat:0.25\n"

/* Compares the fields of the labels. */
static void
expect_dogs (const GstStructure * s)
{
  static const gchar *const names[] = { "dog", "sitting", "cat" };
  static const gdouble levels[] = { 0.75, 0.625, 0.25 };
  const GValue *labels = gst_structure_get_value (s, "labels");
  const GValue *probabilities =
      gst_structure_get_value (s, "label-probabilities");
  gchar *text = gst_structure_to_string (s);
  guint i;

  fail_unless (labels != NULL
      && probabilities != NULL, "no labels in %s", text);
  g_free (text);
  fail_unless_equals_int (gst_value_array_get_size (labels), 3);
  fail_unless_equals_int (gst_value_array_get_size (probabilities), 3);
  for (i = 0; i < 3; i++) {
    fail_unless_equals_string (g_value_get_string (gst_value_array_get_value
            (labels, i)), names[i]);
    fail_unless_equals_float (g_value_get_double (gst_value_array_get_value
            (probabilities, i)), levels[i]);
  }
}

static gboolean
has_labels (const GstStructure * s)
{
  return gst_structure_has_field (s, "labels")
      || gst_structure_has_field (s, "label-probabilities");
}

static const GstStructure *
meta_of (GstBuffer * buffer)
{
  GstCustomMeta *meta =
      gst_buffer_get_custom_meta (buffer, "GstPalmeCaptionMeta");

  fail_unless (meta != NULL);
  return gst_custom_meta_get_structure (meta);
}

/* What a handler of the signal finds. */
static void
on_caption (GstElement * element, const gchar * text, guint64 pts,
    guint64 running_time, guint64 latency, gint * heard)
{
  GstStructure *last;

  (void) text, (void) pts, (void) running_time, (void) latency;
  g_object_get (element, "last-labels", &last, NULL);
  fail_unless (last != NULL);
  expect_dogs (last);
  gst_structure_free (last);
  ++*heard;
}

/* Metadata, message and property have them; with labels=false nothing has. */
GST_START_TEST (test_told)
{
  GstHarness *h = caption_harness ("text=a dog\n" DOGS,
      "mode=sync interval=200000000");
  GstStructure *last, *info;
  GstMessage *message;
  GstBuffer *buffer;
  gint heard = 0, labels;
  gulong id = g_signal_connect (h->element, "new-caption",
      G_CALLBACK (on_caption), &heard);

  g_object_get (h->element, "last-labels", &last, NULL);
  fail_unless (last == NULL);
  g_object_get (h->element, "model-info", &info, NULL);
  fail_unless (gst_structure_get_int (info, "labels", &labels));
  fail_unless_equals_int (labels, 3);
  gst_structure_free (info);

  /* The second frame carries the same caption. */
  for (guint n = 0; n < 2; n++) {
    buffer = caption_pass (h, n);
    expect_dogs (meta_of (buffer));
    gst_buffer_unref (buffer);
  }
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  expect_dogs (gst_message_get_structure (message));
  gst_message_unref (message);
  fail_unless_equals_int (heard, 1);
  g_signal_handler_disconnect (h->element, id);

  g_object_set (h->element, "labels", FALSE, NULL);
  buffer = caption_pass (h, 2);
  fail_if (has_labels (meta_of (buffer)));
  gst_buffer_unref (buffer);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_if (has_labels (gst_message_get_structure (message)));
  gst_message_unref (message);
  g_object_get (h->element, "last-labels", &last, NULL);
  fail_unless (last == NULL);
  caption_harness_end (h);
}

GST_END_TEST;

/* A label's name is shown as a caption is: nothing in it drives a terminal. */
GST_START_TEST (test_sanitised)
{
  GstHarness *h = caption_harness ("text=a dog\nlabels=d\\x1bog:a dog:0.75\n",
      "mode=sync interval=0");
  GstBuffer *buffer = caption_pass (h, 0);
  const GValue *labels = gst_structure_get_value (meta_of (buffer), "labels");

  fail_unless (strchr (g_value_get_string (gst_value_array_get_value (labels,
                  0)), '\033') == NULL);
  gst_buffer_unref (buffer);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_without_labels)
{
  GstHarness *h = caption_harness ("text=a dog\nscore=-1.5\nmin_score=-1\n",
      "mode=sync interval=0 when-unsure=caption");
  GstBuffer *buffer = caption_pass (h, 0);
  gchar *text = caption_of (buffer);

  /* It has nothing else to say, whatever the property is. */
  fail_unless_equals_string (text, "");
  fail_if (has_labels (meta_of (buffer)));
  g_free (text);
  gst_buffer_unref (buffer);
  g_object_set (h->element, "min-score", -2.0, NULL);
  caption_expect (h, 1, "a dog");
  caption_harness_end (h);
}

GST_END_TEST;

/* What is said in place of these lines' caption, by each value of the property. */
static void
expect_instead (const gchar * lines, const gchar * caption,
    const gchar * labels)
{
  GstHarness *h = caption_harness (lines, "mode=sync interval=0");

  caption_expect (h, 0, labels);        /* the default */
  gst_util_set_object_arg (G_OBJECT (h->element), "when-unsure", "caption");
  caption_expect (h, 1, caption);
  gst_util_set_object_arg (G_OBJECT (h->element), "when-unsure", "silent");
  caption_expect (h, 2, strcmp (caption, labels) == 0 ? caption : "");
  gst_util_set_object_arg (G_OBJECT (h->element), "when-unsure", "labels");
  caption_expect (h, 3, labels);
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
}

GST_START_TEST (test_when_unsure)
{
  expect_instead ("text=the dog runs\n" DOGS, "the dog runs", "the dog runs");
  /* Not confirmed. */
  expect_instead ("text=a cat\n" DOGS, "a cat", "a photo of a dog");
  /* Confirmed, and the score is too low. */
  expect_instead ("text=the dog runs\nscore=-1.5\nmin_score=-1\n" DOGS,
      "the dog runs", "a photo of a dog");
  /* Nothing is likely enough. */
  expect_instead ("text=a cat\nlabels=cat:a cat:0.25\n", "a cat", "");
}

GST_END_TEST;

/* The sentence is judged, prompt and words, also where the words alone are shown. */
GST_START_TEST (test_prompt)
{
  GstHarness *h = caption_harness ("text= runs\n" DOGS,
      "mode=sync interval=0 prompt=\"the dog\"");

  caption_expect (h, 0, "runs");
  g_object_set (h->element, "prompt", "the cat", NULL);
  caption_expect (h, 1, "a photo of a dog");
  g_object_set (h->element, "prompt", "the dog", "include-prompt", TRUE, NULL);
  caption_expect (h, 2, "the dog runs");
  caption_harness_end (h);
}

GST_END_TEST;

/* The score is that of what is said: the sentence of labels has its own. */
GST_START_TEST (test_score)
{
  GstHarness *h = caption_harness ("text=a cat\nscore=-1\n"
      "scores=a photo of a dog:-0.25\n" DOGS, "mode=sync interval=0");
  GstBuffer *buffer = caption_pass (h, 0);
  gdouble score;

  fail_unless (gst_structure_get_double (meta_of (buffer), "score", &score));
  fail_unless_equals_float (score, -0.25);
  gst_buffer_unref (buffer);
  gst_util_set_object_arg (G_OBJECT (h->element), "when-unsure", "caption");
  buffer = caption_pass (h, 1);
  fail_unless (gst_structure_get_double (meta_of (buffer), "score", &score));
  fail_unless_equals_float (score, -1);
  gst_buffer_unref (buffer);
  caption_harness_end (h);
}

GST_END_TEST;

/* -1 is the engine's 0, and 0 is what it has below 0. */
GST_START_TEST (test_label_weight)
{
  GstHarness *h = caption_harness ("text={label_weight} dog\n" DOGS,
      "mode=sync interval=0");

  caption_expect (h, 0, "0 dog");
  g_object_set (h->element, "label-weight", 0.0, NULL);
  caption_expect (h, 1, "-100 dog");
  g_object_set (h->element, "label-weight", 2.5, NULL);
  caption_expect (h, 2, "250 dog");
  caption_harness_end (h);
}

GST_END_TEST;

static Suite *
unsure_suite (void)
{
  Suite *suite = suite_create ("labels of palmecaption");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_told);
  tcase_add_test (tcase, test_sanitised);
  tcase_add_test (tcase, test_without_labels);
  tcase_add_test (tcase, test_when_unsure);
  tcase_add_test (tcase, test_prompt);
  tcase_add_test (tcase, test_score);
  tcase_add_test (tcase, test_label_weight);
  return suite;
}

GST_CHECK_MAIN (unsure);
