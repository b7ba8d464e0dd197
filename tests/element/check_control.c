/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_control.c - GStreamer's controllers move properties while frames flow, and what the log and the statistics say
 * of each caption.
 */
#include "support/captionhost.h"

#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>
#include <gst/video/video.h>
#include <string.h>

/* Moves a property from one value at 0 s to another at 2 s and later, in a straight line or in one step. */
static void
control (GstElement * element, const gchar * name, gdouble first, gdouble last,
    GstInterpolationMode mode)
{
  GstControlSource *source = gst_interpolation_control_source_new ();
  GstTimedValueControlSource *timed = GST_TIMED_VALUE_CONTROL_SOURCE (source);

  g_object_set (source, "mode", mode, NULL);
  fail_unless (gst_timed_value_control_source_set (timed, 0, first));
  fail_unless (gst_timed_value_control_source_set (timed, 2 * GST_SECOND,
          last));
  fail_unless (gst_object_add_control_binding (GST_OBJECT (element),
          gst_direct_control_binding_new_absolute (GST_OBJECT (element), name,
              source)), "%s", name);
  gst_object_unref (source);
}

static void
expect (GstHarness * h, guint n, guint8 grey, const gchar * wanted)
{
  GstBuffer *buffer;
  gchar *text;

  fail_unless_equals_int (gst_harness_push (h, caption_frame (n, grey)),
      GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  text = caption_of (buffer);
  fail_unless_equals_string (text, wanted);
  g_free (text);
  gst_buffer_unref (buffer);
}

/* Each frame is captioned with the values of its own time. */
GST_START_TEST (test_values)
{
  static const struct
  {
    const gchar *name;
    gdouble first, last;
    const gchar *at_0, *at_1, *at_2;    /* s */
  } all[] = {
    {"temperature", 0.0, 2.0, "0 0 0 100 0 0", "0 100 0 100 0 0",
        "0 200 0 100 0 0"},
    {"top-p", 1.0, 0.5, "0 0 0 100 0 0", "0 0 0 75 0 0", "0 0 0 50 0 0"},
    {"top-k", 10, 20, "0 0 10 100 0 0", "0 0 15 100 0 0", "0 0 20 100 0 0"},
    {"max-length", 10, 20, "10 0 0 100 0 0", "15 0 0 100 0 0",
        "20 0 0 100 0 0"},
    {"seed", 10, 20, "0 0 0 100 10 0", "0 0 0 100 15 0", "0 0 0 100 20 0"},
    {"beams", 2, 4, "0 0 0 100 0 2", "0 0 0 100 0 3", "0 0 0 100 0 4"},
    {"min-score", -2.0, 0.0, "0 0 0 100 0 0", "0 0 0 100 0 0", ""},
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (all); i++) {
    GstHarness *h = caption_harness ("text={max_length} {temperature} {top_k} "
        "{top_p} {seed} {beams}\nscore=-0.5", "mode=sync interval=0");

    control (h->element, all[i].name, all[i].first, all[i].last,
        GST_INTERPOLATION_MODE_LINEAR);
    expect (h, 0, 100, all[i].at_0);
    expect (h, 10, 100, all[i].at_1);
    expect (h, 20, 100, all[i].at_2);
    expect (h, 30, 100, all[i].at_2);
    caption_harness_end (h);
  }
}

GST_END_TEST;

static guint
captions_of (const gchar * name, gdouble first, gdouble last,
    const gchar * properties, guint frames, guint8 step)
{
  GstHarness *h = caption_harness ("text={n}", properties);
  guint n, captions;

  if (name)
    control (h->element, name, first, last, GST_INTERPOLATION_MODE_NONE);
  for (n = 0; n < frames; n++) {
    fail_unless_equals_int (gst_harness_push (h, caption_frame (n,
                (guint8) (100 + n % 2 * step))), GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
  }
  captions = (guint) caption_stat (h->element, "captions");
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
  return captions;
}

/* 40 frames of 10 a second, with another value from the 20th on. */
GST_START_TEST (test_rates)
{
  /* One a second, then one in 0.2 s. */
  fail_unless_equals_int (captions_of ("interval-seconds", 1.0, 0.2,
          "mode=sync", 40, 0), 2 + 10);
  fail_unless_equals_int (captions_of ("interval", 1e9, 2e8, "mode=sync", 40,
          0), 2 + 10);
  /* A still picture has one caption as long as the threshold is above 0, and each frame has one then. */
  fail_unless_equals_int (captions_of ("scene-threshold", 0.005, 0.0,
          "mode=sync interval=0", 40, 0), 1 + 20);
  /* Cuts with each frame: none is looked for, then each makes its frame due. */
  fail_unless_equals_int (captions_of ("cut-threshold", 0.0, 0.5,
          "mode=sync interval=3600000000000 max-rate=0", 40, 155), 1 + 19);
  /* Cuts with each frame, at most one caption a second, then any number. */
  fail_unless_equals_int (captions_of ("max-rate", 1.0, 0.0,
          "mode=sync interval=3600000000000 cut-threshold=0.5", 40, 155),
      2 + 20);
}

GST_END_TEST;

/* How long words stay, and how much better new ones must be: each frame has other words, and half of them are held
 * back in the first two seconds. */
GST_START_TEST (test_steadying)
{
  static const struct
  {
    const gchar *name;
    gdouble first, last;
  } all[] = {
    {"caption-hold", 1e10, 0}, {"caption-hold-seconds", 10.0, 0.0},
    {"switch-margin", 5.0, 0.0},
  };
  guint i, n;

  for (i = 0; i < G_N_ELEMENTS (all); i++) {
    GstHarness *h = caption_harness ("text={n}", "mode=sync interval=0");

    control (h->element, all[i].name, all[i].first, all[i].last,
        GST_INTERPOLATION_MODE_NONE);
    for (n = 0; n < 40; n++) {
      gchar *wanted = g_strdup_printf ("%u", n < 20 ? 0 : n);

      expect (h, n, 100, wanted);
      g_free (wanted);
    }
    fail_unless_equals_uint64 (caption_stat (h->element, "held"), 19);
    caption_harness_end (h);
  }
}

GST_END_TEST;

/* Two regions of each frame, of which one, then both are captioned. */
GST_START_TEST (test_max_regions)
{
  GstHarness *h = caption_harness ("text={n}",
      "mode=sync interval=0 regions=roi");
  guint n;

  control (h->element, "max-regions", 1, 2, GST_INTERPOLATION_MODE_NONE);
  for (n = 0; n < 40; n++) {
    GstBuffer *buffer = caption_frame (n, 100);

    gst_buffer_add_video_region_of_interest_meta (buffer, "a", 0, 0, 4, 4);
    gst_buffer_add_video_region_of_interest_meta (buffer, "a", 4, 4, 4, 4);
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
  }
  fail_unless_equals_uint64 (caption_stat (h->element, "captions"), 20 + 40);
  caption_harness_end (h);
}

GST_END_TEST;

/* All that is controllable takes a binding; words, files and choices are not. */
GST_START_TEST (test_which)
{
  GstElement *element = caption_element (NULL, NULL);
  GParamSpec **pspecs;
  guint i, n, count = 0;

  pspecs = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n);
  for (i = 0; i < n; i++) {
    GParamSpec *p = pspecs[i];
    gboolean number = G_IS_PARAM_SPEC_UINT (p) || G_IS_PARAM_SPEC_UINT64 (p)
        || G_IS_PARAM_SPEC_DOUBLE (p);

    if (p->owner_type != G_OBJECT_TYPE (element)
        || !(p->flags & GST_PARAM_CONTROLLABLE))
      continue;
    fail_unless (number, "%s", p->name);
    fail_unless (p->flags & GST_PARAM_MUTABLE_PLAYING, "%s", p->name);
    control (element, p->name, 0, 0, GST_INTERPOLATION_MODE_NONE);
    count++;
  }
  g_free (pspecs);
  fail_unless (count >= 18, "%u", count);
  caption_element_end (element);
}

GST_END_TEST;

/* ---- The log ------------------------------------------------------------------------------------ */

static gint lines;

static void
count_line (GstDebugCategory * category, GstDebugLevel level,
    const gchar * file, const gchar * function, gint line, GObject * object,
    GstDebugMessage * message, gpointer said)
{
  const gchar *text = gst_debug_message_get (message);

  (void) file, (void) function, (void) line, (void) object;
  if (strcmp (gst_debug_category_get_name (category), "palmecaption") != 0
      || level != GST_LEVEL_DEBUG || !g_str_has_prefix (text, "caption of "))
    return;
  g_atomic_int_inc (&lines);
  g_string_assign (said, text);
}

/* One line for each caption, with its figures. */
GST_START_TEST (test_log)
{
  static const gchar *const figures[] = { "0:00:00.400000000", "8x8 at 0, 0",
    "score -0.500", "tokens 2", "resize ", "queue ", "encode ", "decode ",
    "latency ", "delay 0.000 ms", "\"2\""
  };
  GstHarness *h = caption_harness ("text={n}", "mode=sync interval=200000000");
  GString *said = g_string_new (NULL);
  guint i;

  g_atomic_int_set (&lines, 0);
  gst_debug_set_threshold_for_name ("palmecaption", GST_LEVEL_DEBUG);
  gst_debug_add_log_function (count_line, said, NULL);
  for (i = 0; i < 6; i++)
    gst_buffer_unref (caption_pass (h, i));
  gst_debug_remove_log_function (count_line);
  gst_debug_unset_threshold_for_name ("palmecaption");
  fail_unless_equals_int (g_atomic_int_get (&lines), 3);
  for (i = 0; i < G_N_ELEMENTS (figures); i++)
    fail_unless (strstr (said->str, figures[i]) != NULL, "no \"%s\" in %s",
        figures[i], said->str);
  g_string_free (said, TRUE);
  caption_harness_end (h);
}

GST_END_TEST;

/* Each stage has a mean and a percentile, and what they say of one caption adds up. */
GST_START_TEST (test_stages)
{
  static const gchar *const stages[] = { "resize", "queue", "encode", "decode",
    "latency"
  };
  GstHarness *h = caption_harness ("look_ms=3\nnext_ms=2", "mode=sync");
  guint64 means[5], p99s[5];
  guint i;

  gst_buffer_unref (caption_pass (h, 0));
  for (i = 0; i < 5; i++) {
    gchar *mean = g_strconcat (stages[i], "-mean", NULL);
    gchar *p99 = g_strconcat (stages[i], "-p99", NULL);

    means[i] = caption_stat (h->element, mean);
    p99s[i] = caption_stat (h->element, p99);
    fail_unless (means[i] == p99s[i], "%s", stages[i]);
    g_free (mean);
    g_free (p99);
  }
  /* Clocks are cut to microseconds. */
  fail_unless (means[2] >= 2 * GST_MSECOND && means[3] >= 2 * GST_MSECOND);
  fail_unless (means[1] + means[2] + means[3] <= means[4] + 3 * GST_USECOND);
  fail_unless_equals_uint64 (caption_stat (h->element, "latency-last"),
      means[4]);
  caption_harness_end (h);
}

GST_END_TEST;

static Suite *
control_suite (void)
{
  Suite *suite = suite_create ("control");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_values);
  tcase_add_test (tcase, test_rates);
  tcase_add_test (tcase, test_steadying);
  tcase_add_test (tcase, test_max_regions);
  tcase_add_test (tcase, test_which);
  tcase_add_test (tcase, test_log);
  tcase_add_test (tcase, test_stages);
  return suite;
}

GST_CHECK_MAIN (control);
