/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_live.c - what keeps captions steady, in the element: pictures that have not changed, cuts, words that
 * are held, and how properties change while frames flow.
 */
#include "support/captionhost.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

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

  fail_unless (g_strcmp0 (text, wanted) == 0,
      "frame %u says \"%s\", not \"%s\"", n, text ? text : "(nothing)",
      wanted ? wanted : "(nothing)");
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
          .rate = 1.0,.applied_rate = 1.0,.format = GST_FORMAT_TIME,.stop =
            GST_CLOCK_TIME_NONE,.duration = GST_CLOCK_TIME_NONE}
      ));
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

/* ---- Control while frames flow ---------------------------------------------------------------- */

/* Each property acts on the next caption. */
GST_START_TEST (test_control)
{
  GstHarness *h = caption_harness ("text={prompt} {max_length} {temperature} "
      "{top_k} {top_p} {seed} {beams}\nscore=-0.5", "mode=sync interval=0");
  const struct
  {
    const gchar *name, *value, *wanted;
  } steps[] = {
    {"prompt", "a", "a 0 0 0 100 0 0"},
    {"max-length", "5", "a 5 0 0 100 0 0"},
    {"temperature", "1.5", "a 5 150 0 100 0 0"},
    {"top-k", "3", "a 5 150 3 100 0 0"},
    {"top-p", "0.5", "a 5 150 3 50 0 0"},
    {"seed", "9", "a 5 150 3 50 9 0"},
    {"beams", "4", "a 5 150 3 50 9 4"},
    {"beams", "2", "a 5 150 3 50 9 2"},
    {"min-score", "-0.25", ""},
    {"min-score", "-0.75", "a 5 150 3 50 9 2"},
    {"interval", "200000000", "a 5 150 3 50 9 2"},
  };
  guint i;

  expect (h, 0, 100, "0 0 0 100 0 0");
  for (i = 0; i < G_N_ELEMENTS (steps); i++) {
    gst_util_set_object_arg (G_OBJECT (h->element), steps[i].name,
        steps[i].value);
    expect (h, i + 1, 100, steps[i].wanted);
  }
  /* Frames are 100 ms apart: that was not due, and the next one is. */
  g_object_set (h->element, "seed", (guint64) 8, NULL);
  expect (h, i + 1, 100, "a 5 150 3 50 8 2");
  g_object_set (h->element, "seed", (guint64) 7, NULL);
  expect (h, i + 2, 100, "a 5 150 3 50 8 2");
  expect (h, i + 3, 100, "a 5 150 3 50 7 2");
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* What one sets with the time of a controller can be controlled; the words cannot. */
GST_START_TEST (test_controllable)
{
  const gchar *names[] = { "interval", "temperature", "top-k", "top-p", "seed",
    "beams", "max-length", "min-score", "scene-threshold", "cut-threshold",
    "max-rate", "caption-hold", "switch-margin"
  };
  GstElement *element = caption_element (NULL, NULL);
  guint i;

  for (i = 0; i < G_N_ELEMENTS (names); i++)
    fail_unless (g_object_class_find_property (G_OBJECT_GET_CLASS (element),
            names[i])->flags & GST_PARAM_CONTROLLABLE, "%s", names[i]);
  caption_element_end (element);
}

GST_END_TEST;

GST_START_TEST (test_blocklist)
{
  GstHarness *h = caption_harness ("text=[{blocklist}] {n}", STEADY);
  gchar *list = g_strdup_printf ("@%s", caption_file ("words")), *text;
  gchar *large = g_strnfill (65, 'x'), *blanks = g_strnfill (1048577, ' ');

  expect (h, 0, 100, "[] 0");
  g_object_set (h->element, "blocklist", "dog, cat", NULL);
  expect (h, 1, 100, "[dog, cat] 1");
  expect (h, 2, 100, "[dog, cat] 1");
  /* What cannot be used leaves what was set. */
  g_object_set (h->element, "blocklist", large, NULL);
  g_object_set (h->element, "blocklist", "\xff", NULL);
  g_object_set (h->element, "blocklist", list, NULL);
  g_object_set (h->element, "blocklist", "@/dev/zero", NULL);
  fail_unless (mkfifo (list + 1, 0600) == 0);
  g_object_set (h->element, "blocklist", list, NULL);
  fail_unless (g_unlink (list + 1) == 0);
  fail_unless (g_file_set_contents (list + 1, blanks, 1048577, NULL));
  g_object_set (h->element, "blocklist", list, NULL);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      6);
  g_object_get (h->element, "blocklist", &text, NULL);
  fail_unless_equals_string (text, "dog, cat");
  g_free (text);
  expect (h, 3, 100, "[dog, cat] 1");

  fail_unless (g_file_set_contents (list + 1, "bird\nfish\n", -1, NULL));
  g_object_set (h->element, "blocklist", list, NULL);
  expect (h, 4, 100, "[bird fish ] 2");
  fail_unless (g_file_set_contents (list + 1, "bird", -1, NULL));
  g_object_set (h->element, "blocklist", list, NULL);
  expect (h, 5, 100, "[bird] 3");
  g_object_set (h->element, "blocklist", NULL, NULL);
  expect (h, 6, 100, "[] 4");
  g_free (blanks);
  g_free (large);
  g_free (list);
  caption_harness_end (h);
}

GST_END_TEST;

static void
on_notify (GObject * object, GParamSpec * pspec, gpointer data)
{
  (void) object, (void) pspec;
  g_atomic_int_inc ((gint *) data);
}

static void
wait_for (gint * count, gint least)
{
  gint i;

  for (i = 0; i < 10000 && g_atomic_int_get (count) < least; i++)
    g_usleep (1000);
  fail_unless (g_atomic_int_get (count) >= least);
}

static gchar *
model_name (GstElement * element)
{
  GstStructure *info;
  gchar *name;

  g_object_get (element, "model-info", &info, NULL);
  name = g_strdup (gst_structure_get_string (info, "name"));
  gst_structure_free (info);
  return name;
}

static void
expect_model (GstElement * element, const gchar * wanted)
{
  gchar *name = model_name (element);

  fail_unless_equals_string (name, wanted);
  g_free (name);
}

static void
wait_for_model (GstElement * element, const gchar * wanted)
{
  gboolean has = FALSE;
  gint i;

  for (i = 0; i < 10000 && !has; i++) {
    gchar *name = model_name (element);

    has = g_strcmp0 (name, wanted) == 0;
    g_free (name);
    if (!has)
      g_usleep (1000);
  }
  expect_model (element, wanted);
}

/* Waits until the element posts a warning; its text. */
static gchar *
wait_for_warning (GstElement * element)
{
  GstMessage *message = NULL;
  GError *error = NULL;
  gchar *text;
  gint i;

  for (i = 0; i < 10000 && message == NULL; i++) {
    message = caption_message (element, GST_MESSAGE_WARNING);
    g_usleep (1000);
  }
  fail_unless (message != NULL);
  gst_message_parse_warning (message, &error, NULL);
  text = g_strdup (error->message);
  g_error_free (error);
  gst_message_unref (message);
  return text;
}

/* A model of another size, in PLAYING, while the old one is kept busy. */
GST_START_TEST (test_swap_model)
{
  GstHarness *h = caption_harness ("name=old\ntext=old {width} {n}\n"
      "journal=@/journal\n", "mode=sync interval=0 scene-threshold=0.005");
  const gchar *path = caption_model ("name=new\ntext=new {width} {n}\n"
      "image_size=16\nopen_ms=50\njournal=@/journal\n");
  gint swaps = 0;
  gchar *name;

  g_signal_connect (h->element, "notify::model-info", G_CALLBACK (on_notify),
      &swaps);
  expect (h, 0, 100, "old 32 0");
  expect (h, 1, 100, "old 32 0");
  g_object_set (h->element, "model", path, NULL);
  wait_for (&swaps, 1);
  expect_model (h->element, "new");
  g_object_get (h->element, "model", &name, NULL);
  fail_unless_equals_string (name, path);
  g_free (name);
  /* The picture is the same, its words are not. */
  expect (h, 2, 100, "new 16 0");
  expect (h, 3, 100, "new 16 0");
  caption_wait_journal ("close", 1);

  /* The file is replaced. */
  fail_unless (g_file_set_contents (path, "standin\nname=newer\ntext=newer\n",
          -1, NULL));
  expect (h, 4, 100, "new 16 0");
  g_signal_emit_by_name (h->element, "reload-model");
  wait_for (&swaps, 2);
  expect (h, 5, 100, "newer");
  expect_model (h->element, "newer");
  fail_unless_equals_int (caption_messages (h->element,
          GST_MESSAGE_WARNING | GST_MESSAGE_ERROR), 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* What cannot be loaded leaves what is there. */
GST_START_TEST (test_swap_rubbish)
{
  const gchar *lines[] = { "open_status=-6", "open_status=-7",
    "open_status=-8", "session_status=-8"
  };
  GstHarness *h = caption_harness ("name=old", "mode=sync interval=0");
  const gchar *path;
  gchar *before, *after, *text;
  guint i, n = 0;

  g_object_get (h->element, "model", &before, NULL);
  for (i = 0; i <= G_N_ELEMENTS (lines) + 1; i++) {
    if (i < G_N_ELEMENTS (lines)) {
      path = caption_model (lines[i]);
    } else {
      path = caption_file ("rubbish");
      if (i > G_N_ELEMENTS (lines))
        fail_unless (g_file_set_contents (path, "rubbish", -1, NULL));
    }
    g_object_set (h->element, "model", path, NULL);
    text = wait_for_warning (h->element);
    fail_unless (g_str_has_suffix (text, " The model in use stays."), "%s",
        text);
    g_free (text);
    g_object_get (h->element, "model", &after, NULL);
    fail_unless_equals_string (after, before);
    g_free (after);
    expect_model (h->element, "old");
    text = g_strdup_printf ("caption %u", n);
    expect (h, n++, 100, text);
    g_free (text);
  }
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_ERROR), 0);
  g_free (before);
  caption_harness_end (h);
}

GST_END_TEST;

/* The last of several requests counts, and a stop leaves the file for the next start. */
GST_START_TEST (test_swap_in_a_hurry)
{
  GstElement *element = caption_element ("name=old", "mode=sync interval=0");
  const gchar *a = caption_model ("name=a\nopen_ms=100");
  const gchar *b = caption_model ("name=b\nopen_ms=300");

  gst_element_set_state (element, GST_STATE_PAUSED);
  g_object_set (element, "model", a, NULL);
  g_object_set (element, "model", b, NULL);
  wait_for_model (element, "b");

  g_object_set (element, "model", a, NULL);
  gst_element_set_state (element, GST_STATE_READY);
  gst_element_set_state (element, GST_STATE_PAUSED);
  expect_model (element, "a");
  caption_element_end (element);
}

GST_END_TEST;

/* ---- Prompts, and words as they come ------------------------------------------------------------- */

static void
expect_field (const GstStructure * structure, const gchar * field,
    const gchar * wanted)
{
  const gchar *value = gst_structure_get_string (structure, field);

  fail_unless (g_strcmp0 (value, wanted) == 0, "%s is \"%s\", not \"%s\"",
      field, value ? value : "(nothing)", wanted);
}

/* Caption and field of the metadata, message and property of one frame. */
static void
expect_prompted (GstHarness * h, guint n, const gchar * caption,
    const gchar * prompt)
{
  GstBuffer *buffer = pass (h, n, 100);
  const GstStructure *structure;
  GstMessage *message;
  gchar *text;

  structure = gst_custom_meta_get_structure (gst_buffer_get_custom_meta (buffer,
          "GstPalmeCaptionMeta"));
  expect_field (structure, "text", caption);
  expect_field (structure, "prompt", prompt);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless (message != NULL);
  expect_field (gst_message_get_structure (message), "text", caption);
  expect_field (gst_message_get_structure (message), "prompt", prompt);
  g_object_get (h->element, "caption", &text, NULL);
  fail_unless_equals_string (text, caption);
  g_free (text);
  gst_message_unref (message);
  gst_buffer_unref (buffer);
}

GST_START_TEST (test_include_prompt)
{
  GstHarness *h = caption_harness ("text= dog\nscores= dog:-0.5",
      "mode=sync interval=0 include-prompt=true");

  expect_prompted (h, 0, "dog", "");
  g_object_set (h->element, "prompt", "a brown", NULL);
  expect_prompted (h, 1, "a brown dog", "a brown");
  /* Blanks are those of the prompt and of the model, and one is shown. */
  g_object_set (h->element, "prompt", "a brown ", NULL);
  expect_prompted (h, 2, "a brown dog", "a brown");
  g_object_set (h->element, "prompt", "<b>\nhot", NULL);
  expect_prompted (h, 3, "<b> hot dog", "<b> hot");
  g_object_set (h->element, "include-prompt", FALSE, NULL);
  expect_prompted (h, 4, "dog", "<b> hot");
  caption_harness_end (h);
}

GST_END_TEST;

/* No blank is put where the model goes on within a word. */
GST_START_TEST (test_prompt_seam)
{
  GstHarness *h = caption_harness ("text=ow ball",
      "mode=sync interval=0 include-prompt=true prompt=\"a yell\"");

  expect_prompted (h, 0, "a yellow ball", "a yell");
  caption_harness_end (h);
}

GST_END_TEST;

/* What is compared are the words behind the prompt, as the model made them. */
GST_START_TEST (test_prompt_and_margin)
{
  GstHarness *h = caption_harness ("journal=@/journal\ntext= x{luma}",
      STEADY "include-prompt=true prompt=a switch-margin=0.125");

  expect (h, 0, 0, "a x0");
  expect (h, 1, 100, "a x0");
  expect (h, 2, 100, "a x100");
  expect (h, 3, 200, "a x100");
  fail_unless_equals_int (caption_journal ("score  x0"), 2);
  fail_unless_equals_int (caption_journal ("score  x100"), 1);
  caption_harness_end (h);
}

GST_END_TEST;

static void
on_partial (GstElement * element, const gchar * text, guint64 pts,
    guint64 running_time, gpointer data)
{
  (void) element;
  fail_unless (pts == 0 && running_time == 0);
  g_ptr_array_add (data, g_strdup (text));
}

/* Pushes frames until the element has told so many partial captions. */
static guint
push_until (GstHarness * h, guint n, const GPtrArray * told, guint least)
{
  guint i;

  for (i = 0; i < 10000 && told->len < least; i++) {
    gst_buffer_unref (pass (h, n++, 100));
    g_usleep (1000);
  }
  fail_unless_equals_int (told->len, least);
  return n;
}

/* Beam search tells nothing before its end, which is said once. */
GST_START_TEST (test_partial_of_beams)
{
  GstHarness *h = caption_harness ("text=one\n",
      "mode=async interval=0 partial=true beams=3");
  gchar *text;
  guint i;

  for (i = 0; i < 5; i++)
    gst_buffer_unref (pass (h, i, 100));
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "\"partial\"") && strstr (text, "3 beams"), "%s",
      text);
  g_free (text);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  caption_harness_end (h);
}

GST_END_TEST;

GST_START_TEST (test_partial)
{
  GstHarness *h = caption_harness ("hold_next=@/hold\ntext=one two three",
      "mode=async interval=3600000000000 partial=true include-prompt=true "
      "prompt=\"zero \"");
  GPtrArray *told = g_ptr_array_new_with_free_func (g_free);
  GstMessage *message;
  gboolean partial;
  guint n, i;

  g_signal_connect (h->element, "partial-caption", G_CALLBACK (on_partial),
      told);
  caption_hold ();
  n = push_until (h, 0, told, 1);
  fail_unless_equals_string (g_ptr_array_index (told, 0), "zero one");
  /* Only news are told. */
  for (i = 0; i < 20; i++)
    expect (h, n++, 100, NULL);
  fail_unless_equals_int (told->len, 1);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless (gst_structure_get_boolean (gst_message_get_structure (message),
          "partial", &partial) && partial);
  expect_field (gst_message_get_structure (message), "text", "zero one");
  gst_message_unref (message);
  caption_release ();
  caption_wait (h->element, "captions", 1);
  /* What has come is told as a whole only. */
  expect (h, n++, 100, "zero one two three");
  fail_unless_equals_int (told->len, 1);
  message = caption_message (h->element, GST_MESSAGE_ELEMENT);
  fail_unless (gst_structure_get_boolean (gst_message_get_structure (message),
          "partial", &partial) && !partial);
  gst_message_unref (message);
  g_ptr_array_unref (told);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Values that people type --------------------------------------------------------------------- */

GST_START_TEST (test_seconds)
{
  const gchar *names[] = { "interval", "cue-duration", "time-limit",
    "caption-hold"
  };
  GstElement *element = caption_element (NULL, NULL);
  guint64 time;
  gdouble seconds;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (names); i++) {
    gchar *name = g_strconcat (names[i], "-seconds", NULL);

    gst_util_set_object_arg (G_OBJECT (element), name, "0.25");
    g_object_get (element, names[i], &time, NULL);
    fail_unless_equals_uint64 (time, 250 * GST_MSECOND);
    g_object_set (element, names[i], 3 * GST_SECOND / 2, NULL);
    g_object_get (element, name, &seconds, NULL);
    fail_unless (seconds == 1.5);
    g_object_set (element, name, 1e9, NULL);
    g_object_get (element, names[i], &time, NULL);
    fail_unless_equals_uint64 (time, 1000000000 * GST_SECOND);
    g_free (name);
  }
  g_object_set (element, "caption-hold-seconds", -1.0, NULL);
  g_object_get (element, "caption-hold", &time, NULL);
  fail_unless_equals_uint64 (time, GST_CLOCK_TIME_NONE);
  g_object_get (element, "caption-hold-seconds", &seconds, NULL);
  fail_unless (seconds == -1.0);
  caption_element_end (element);
}

GST_END_TEST;

/* It does what the one in nanoseconds does. */
GST_START_TEST (test_seconds_in_use)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval-seconds=0.2");

  expect (h, 0, 100, "caption 0");
  expect (h, 1, 100, "caption 0");
  expect (h, 2, 100, "caption 1");
  g_object_set (h->element, "interval-seconds", 0.1, NULL);
  expect (h, 3, 100, "caption 2");
  caption_harness_end (h);
}

GST_END_TEST;

/* Whoever writes interval=2 means seconds. */
GST_START_TEST (test_too_short)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=2");
  gchar *text;

  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "\"interval\" is 2 nanoseconds") != NULL
      && strstr (text, "interval-seconds") != NULL, "%s", text);
  g_free (text);
  g_object_set (h->element, "interval", (guint64) 3, NULL);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  caption_harness_end (h);

  h = caption_harness (NULL, "mode=sync");
  g_object_set (h->element, "cue-duration", GST_MSECOND, "interval",
      (guint64) 0, NULL);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_WARNING),
      0);
  g_object_set (h->element, "cue-duration", GST_MSECOND - 1, NULL);
  text = caption_expect_issue (h->element, GST_MESSAGE_WARNING,
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless (strstr (text, "cue-duration-seconds") != NULL, "%s", text);
  g_free (text);
  caption_harness_end (h);
}

GST_END_TEST;

static void
ignore_caption (void)
{
}

/* Nothing shows captions, and nobody listens: said once. */
GST_START_TEST (test_not_shown)
{
  GstHarness *h = caption_harness (NULL, "mode=sync interval=0");
  GstMessage *message;
  GError *error;

  gst_buffer_unref (pass (h, 0, 100));
  gst_buffer_unref (pass (h, 1, 100));
  message = caption_message (h->element, GST_MESSAGE_INFO);
  fail_unless (message != NULL);
  gst_message_parse_info (message, &error, NULL);
  fail_unless (strstr (error->message, "textoverlay") != NULL);
  g_error_free (error);
  gst_message_unref (message);
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_INFO), 0);
  caption_harness_end (h);

  h = caption_harness (NULL, "mode=sync interval=0 auto-overlay=false");
  gst_buffer_unref (pass (h, 0, 100));
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_INFO), 0);
  caption_harness_end (h);

  h = caption_harness (NULL, "mode=sync interval=0");
  g_signal_connect (h->element, "new-caption", G_CALLBACK (ignore_caption),
      NULL);
  gst_buffer_unref (pass (h, 0, 100));
  fail_unless_equals_int (caption_messages (h->element, GST_MESSAGE_INFO), 0);
  caption_harness_end (h);
}

GST_END_TEST;

/* ---- Several elements ---------------------------------------------------------------------------- */

/* Frames of 10 a second until the second caption is due. */
static guint
second_turn (GstHarness * h)
{
  guint n = 0;

  while (n < 30 && caption_stat (h->element, "due") < 2) {
    gst_buffer_unref (pass (h, n, 100));
    caption_wait (h->element, "captions", 1);
    n++;
  }
  return n - 1;
}

/* Elements that start together have their first caption at once, and are apart then. */
GST_START_TEST (test_spread)
{
  GstHarness *a = caption_harness (NULL, "mode=async");
  GstHarness *b = caption_harness (NULL, "mode=async");
  GstHarness *c = caption_harness (NULL, "mode=sync");

  fail_unless_equals_int (second_turn (a), 10);
  /* 1 - 0.618 seconds */
  fail_unless_equals_int (second_turn (b), 4);
  /* sync mode keeps to its grid */
  fail_unless_equals_int (second_turn (c), 10);
  caption_harness_end (a);
  caption_harness_end (b);
  caption_harness_end (c);
}

GST_END_TEST;

/* The nice value of the thread whose name begins with this; fails if there is none. */
static gint
nice_of (const gchar * prefix)
{
  GDir *dir = g_dir_open ("/proc/self/task", 0, NULL);
  const gchar *entry;
  gint value = G_MAXINT;

  fail_unless (dir != NULL);
  while ((entry = g_dir_read_name (dir)) != NULL) {
    gchar *path = g_strconcat ("/proc/self/task/", entry, "/comm", NULL), *name;

    if (g_file_get_contents (path, &name, NULL, NULL)) {
      if (g_str_has_prefix (name, prefix))
        value = getpriority (PRIO_PROCESS, (id_t) g_ascii_strtoull (entry, NULL,
                10));
      g_free (name);
    }
    g_free (path);
  }
  g_dir_close (dir);
  fail_if (value == G_MAXINT, "no thread \"%s\"", prefix);
  return value;
}

/* Captions give way to the video that does not wait for them, and only to that. */
GST_START_TEST (test_nicer)
{
  const gchar *modes[] = { "mode=sync interval=0", "mode=async interval=0" };
  gint own = getpriority (PRIO_PROCESS, 0);
  guint i;

  for (i = 0; i < 2; i++) {
    GstHarness *h = caption_harness (NULL, modes[i]);

    gst_buffer_unref (caption_pass (h, 0));
    caption_wait (h->element, "captions", 1);
    fail_unless_equals_int (nice_of ("palme:"), MIN (own + (gint) i * 5, 19));
    caption_harness_end (h);
  }
}

GST_END_TEST;

/* A harness whose element has the model file of others. */
static GstHarness *
shared_harness (const gchar * model)
{
  GstElement *element = caption_element (NULL, "mode=async interval=0");
  GstHarness *h;

  g_object_set (element, "model", model, NULL);
  h = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_src_caps_str (h, CAPS_RGB);
  gst_object_unref (element);
  return h;
}

/* More elements than their model has sessions; the stand-in speaks of three processors. Those that wait for a
 * turn can be stopped while the engine hangs in the others, an error of one concerns nobody else, and
 * everybody gets captions. */
GST_START_TEST (test_many)
{
  const gchar *model = caption_model ("hold=@/hold\njournal=@/journal\n");
  GstHarness *h[8], *failing;
  const guint count = G_N_ELEMENTS (h);
  guint i;

  caption_hold ();
  for (i = 0; i < count; i++)
    h[i] = shared_harness (model);
  for (i = 0; i < count - 1; i++)
    gst_buffer_unref (caption_pass (h[i], 0));
  caption_wait_journal ("look", 4);
  gst_buffer_unref (caption_pass (h[count - 1], 0));
  g_usleep (50000);             /* so that it is likely to wait by now */
  fail_unless_equals_int (gst_element_set_state (h[count - 1]->element,
          GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int (caption_stat (h[0]->element, "captions"), 0);

  failing = caption_harness ("fail_look=1\n",
      "mode=sync interval=0 on-error=error");
  fail_unless_equals_int (gst_harness_push (failing, caption_frame (0, 0)),
      GST_FLOW_ERROR);
  caption_harness_end (failing);

  caption_release ();
  for (i = 0; i < count - 1; i++)
    caption_wait (h[i]->element, "captions", 1);
  for (i = 0; i < count - 1; i++) {
    gst_buffer_unref (caption_pass (h[i], 1));
    caption_wait (h[i]->element, "captions", 2);
  }
  for (i = 0; i < count; i++)
    caption_harness_end (h[i]);
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
  tcase_add_test (tcase, test_control);
  tcase_add_test (tcase, test_controllable);
  tcase_add_test (tcase, test_blocklist);
  tcase_add_test (tcase, test_swap_model);
  tcase_add_test (tcase, test_swap_rubbish);
  tcase_add_test (tcase, test_swap_in_a_hurry);
  tcase_add_test (tcase, test_include_prompt);
  tcase_add_test (tcase, test_prompt_seam);
  tcase_add_test (tcase, test_prompt_and_margin);
  tcase_add_test (tcase, test_partial);
  tcase_add_test (tcase, test_partial_of_beams);
  tcase_add_test (tcase, test_seconds);
  tcase_add_test (tcase, test_seconds_in_use);
  tcase_add_test (tcase, test_too_short);
  tcase_add_test (tcase, test_not_shown);
  tcase_add_test (tcase, test_spread);
  tcase_add_test (tcase, test_nicer);
  tcase_add_test (tcase, test_many);
  return suite;
}

GST_CHECK_MAIN (live);
