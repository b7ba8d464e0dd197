/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_overlay.c - the courtesy to a textoverlay downstream: which overlays are served, with
 * which text on which frame, and what is left alone. gstpalmecaption-overlay.c is driven by a bare element
 * that puts a caption on each frame; what the overlay then draws is check_burnin.c's.
 */
#include <gst/base/gstbasetransform.h>
#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstpalmemeta.h"
#include "gstpalmecaption-overlay.h"

/* --- an element that captions: the second of the PTS, or `fixed` ---------------------------- */

typedef struct
{
  GstBaseTransform parent;
  GstPalmeCaptionOverlay *overlay;
  const gchar *fixed;
  gboolean silent;              /* no metadata at all */
  gboolean shy;                 /* auto-overlay=false */
} Captioner;

typedef struct
{
  GstBaseTransformClass parent;
} CaptionerClass;

static GType captioner_get_type (void);
G_DEFINE_TYPE (Captioner, captioner, GST_TYPE_BASE_TRANSFORM)
     static GstFlowReturn
         captioner_transform_ip (GstBaseTransform * trans, GstBuffer * buffer)
{
  Captioner *captioner = (Captioner *) trans;
  gchar *text = g_strdup_printf ("%" G_GUINT64_FORMAT,
      GST_BUFFER_PTS (buffer) / GST_SECOND);
  GstPalmeMetaValues values = { 0 };

  values.text = captioner->fixed ? captioner->fixed : text;
  values.model = values.source = "test";
  if (!captioner->silent) {
    gst_palme_meta_clear (buffer);
    gst_palme_meta_add (buffer, &values);
  }
  g_free (text);
  return GST_FLOW_OK;
}

static GstStateChangeReturn
captioner_change_state (GstElement * element, GstStateChange transition)
{
  Captioner *captioner = (Captioner *) element;
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !captioner->shy)
    gst_palme_caption_overlay_attach (captioner->overlay);
  result =
      GST_ELEMENT_CLASS (captioner_parent_class)->change_state (element,
      transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    gst_palme_caption_overlay_detach (captioner->overlay);
  return result;
}

static void
captioner_finalize (GObject * object)
{
  gst_palme_caption_overlay_free (((Captioner *) object)->overlay);
  G_OBJECT_CLASS (captioner_parent_class)->finalize (object);
}

static void
captioner_class_init (CaptionerClass * class)
{
  static GstStaticPadTemplate sink =
      GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK,
      GST_PAD_ALWAYS, GST_STATIC_CAPS ("video/x-raw"));
  static GstStaticPadTemplate src = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC,
      GST_PAD_ALWAYS, GST_STATIC_CAPS ("video/x-raw"));
  GstElementClass *element = GST_ELEMENT_CLASS (class);

  G_OBJECT_CLASS (class)->finalize = captioner_finalize;
  element->change_state = captioner_change_state;
  GST_BASE_TRANSFORM_CLASS (class)->transform_ip = captioner_transform_ip;
  gst_element_class_add_static_pad_template (element, &sink);
  gst_element_class_add_static_pad_template (element, &src);
  gst_element_class_set_static_metadata (element, "captioner", "Test", "test",
      "test");
}

static void
captioner_init (Captioner * captioner)
{
  gst_base_transform_set_in_place (GST_BASE_TRANSFORM (captioner), TRUE);
  captioner->overlay = gst_palme_caption_overlay_new (GST_ELEMENT (captioner),
      GST_BASE_TRANSFORM_SRC_PAD (captioner));
}

/* --- running pipelines ---------------------------------------------------------------------- */

/* 40 frames of 10 fps. */
#define SOURCE "videotestsrc num-buffers=40 ! video/x-raw,format=I420,width=64,height=32,framerate=10/1 "
#define EXACT "0000000000111111111122222222223333333333"
#define BLANK "----------------------------------------"

static gint drawn;              /* frames that left an overlay */

/* For each frame that leaves the overlay: the first character of its text when it was drawn. */
static GstPadProbeReturn
record_text (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  GstElement *overlay = gst_pad_get_parent_element (pad);
  gchar *text = NULL;

  (void) info;
  g_object_get (overlay, "text", &text, NULL);
  g_string_append_c (data, text && *text ? *text : '-');
  g_atomic_int_inc (&drawn);
  g_free (text);
  gst_object_unref (overlay);
  return GST_PAD_PROBE_OK;
}

static GString *
watch (GstElement * pipeline, const gchar * name)
{
  GstElement *overlay = gst_bin_get_by_name (GST_BIN (pipeline), name);
  GstPad *pad = gst_element_get_static_pad (overlay, "src");
  GString *string = g_string_new (NULL);

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, record_text, string, NULL);
  gst_object_unref (pad);
  gst_object_unref (overlay);
  return string;
}

static GstElement *
parse (const gchar * description)
{
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (description, &error);

  fail_unless (pipeline != NULL
      && error == NULL, "%s", error ? error->message : "?");
  return pipeline;
}

static void
wait_eos (GstElement * pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (bus, 15 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);

  fail_unless (message != NULL, "the pipeline hangs");
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_object_unref (bus);
}

static void
is_text (GstElement * pipeline, const gchar * name, const gchar * wanted)
{
  GstElement *overlay = gst_bin_get_by_name (GST_BIN (pipeline), name);
  gchar *text = NULL;

  g_object_get (overlay, "text", &text, NULL);
  fail_unless_equals_string (text ? text : "", wanted);
  g_free (text);
  gst_object_unref (overlay);
}

/* Runs to EOS twice, through READY, and compares what overlay `o` showed each time; afterwards
 * its text is `after`. */
static void
shows (const gchar * description, const gchar * wanted, const gchar * after)
{
  GstElement *pipeline = parse (description);
  GString *shown = watch (pipeline, "o");
  guint i;

  for (i = 0; i < 2; i++) {
    g_string_truncate (shown, 0);
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    wait_eos (pipeline);
    fail_unless (strcmp (shown->str, wanted) == 0, "%s\nshows  %s\nwanted %s",
        description, shown->str, wanted);
    gst_element_set_state (pipeline, GST_STATE_READY);
    is_text (pipeline, "o", after);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_string_free (shown, TRUE);
}

GST_START_TEST (test_exact)
{
  shows (SOURCE "! captioner ! textoverlay name=o ! fakesink", EXACT, "");
  shows (SOURCE "! captioner ! queue ! textoverlay name=o ! fakesink", EXACT,
      "");
  shows (SOURCE
      "! captioner ! videoconvert ! video/x-raw,format=RGBx ! queue ! videoscale"
      " ! textoverlay name=o ! fakesink", EXACT, "");
  shows (SOURCE
      "! captioner ! timeoverlay ! clockoverlay ! textoverlay name=o ! fakesink",
      EXACT, "");
  shows (SOURCE
      "! captioner ! bin.( queue ! bin.( queue ! textoverlay name=o ) ) ! fakesink",
      EXACT, "");
  shows ("bin.( " SOURCE
      "! captioner ) ! queue ! textoverlay name=o ! fakesink", EXACT, "");
  shows (SOURCE
      "! captioner ! tee name=t ! queue ! fakesink  t. ! queue ! textoverlay name=o ! fakesink",
      EXACT, "");
  /* A dropped frame takes its caption along. */
  shows (SOURCE
      "! captioner ! videorate drop-only=true ! video/x-raw,framerate=5/1"
      " ! textoverlay name=o ! fakesink", "00000111112222233333", "");
}

GST_END_TEST
GST_START_TEST (test_left_alone)
{
  gchar *mine = g_strnfill (40, 'm');

  shows (SOURCE "! captioner ! textoverlay name=o text=mine ! fakesink", mine,
      "mine");
  g_free (mine);
  /* Behind a text of the user's the next overlay serves. */
  shows (SOURCE
      "! captioner ! textoverlay text=mine ! textoverlay name=o ! fakesink",
      EXACT, "");
  /* Somebody else's text goes into text_sink; the branch goes on behind it. */
  shows (SOURCE "! captioner ! textoverlay name=o wait-text=false ! fakesink"
      "  appsrc name=a caps=text/x-raw,format=utf8 ! o.text_sink", BLANK, "");
  shows (SOURCE
      "! captioner ! textoverlay name=x wait-text=false ! textoverlay name=o ! fakesink"
      "  appsrc name=a caps=text/x-raw,format=utf8 ! x.text_sink", EXACT, "");
}

GST_END_TEST
GST_START_TEST (test_two_branches)
{
  GstElement *pipeline = parse (SOURCE "! captioner ! tee name=t"
      "  t. ! queue ! textoverlay name=a ! fakesink  t. ! queue ! textoverlay name=b ! textoverlay name=c"
      " ! fakesink");
  GString *a = watch (pipeline, "a"), *b = watch (pipeline, "b"), *c =
      watch (pipeline, "c");

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  wait_eos (pipeline);
  fail_unless_equals_string (a->str, EXACT);
  fail_unless_equals_string (b->str, EXACT);
  fail_unless_equals_string (c->str, BLANK);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_string_free (a, TRUE);
  g_string_free (b, TRUE);
  g_string_free (c, TRUE);
}

GST_END_TEST static void
set_fixed (GstElement * pipeline, const gchar * name, const gchar * text)
{
  Captioner *captioner =
      (Captioner *) gst_bin_get_by_name (GST_BIN (pipeline), name);

  captioner->fixed = text;
  gst_object_unref (captioner);
}

/* Of two captioners the nearer one serves. */
GST_START_TEST (test_nearest)
{
  gchar *far = g_strnfill (40, 'f'), *near = g_strnfill (40, 'n');
  GstElement *pipeline =
      parse (SOURCE
      "! captioner name=far ! textoverlay name=a ! captioner name=near"
      " ! textoverlay name=b ! textoverlay name=c ! fakesink");
  GString *a = watch (pipeline, "a"), *b = watch (pipeline, "b"), *c =
      watch (pipeline, "c");

  set_fixed (pipeline, "far", "far");
  set_fixed (pipeline, "near", "near");
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  wait_eos (pipeline);
  fail_unless_equals_string (a->str, far);
  fail_unless_equals_string (b->str, near);
  fail_unless_equals_string (c->str, BLANK);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_string_free (a, TRUE);
  g_string_free (b, TRUE);
  g_string_free (c, TRUE);

  /* Also where the nearer one does not want to: its captions are the ones on the buffers. */
  pipeline =
      parse (SOURCE
      "! captioner name=far ! captioner name=near ! textoverlay name=a ! fakesink");
  {
    Captioner *captioner =
        (Captioner *) gst_bin_get_by_name (GST_BIN (pipeline), "near");

    captioner->shy = TRUE;
    gst_object_unref (captioner);
  }
  a = watch (pipeline, "a");
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  wait_eos (pipeline);
  fail_unless_equals_string (a->str, BLANK);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_string_free (a, TRUE);

  /* The two lead to one overlay from different inputs: it is claimed once. */
  pipeline =
      parse (SOURCE
      "! captioner name=far ! input-selector name=s ! textoverlay name=o ! fakesink "
      SOURCE "! captioner name=near ! s.");
  set_fixed (pipeline, "far", "same");
  set_fixed (pipeline, "near", "same");
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_element_get_state (pipeline, NULL, NULL, 5 * GST_SECOND);
  is_text (pipeline, "o", "same");
  gst_element_set_state (pipeline, GST_STATE_READY);
  is_text (pipeline, "o", "");
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_free (far);
  g_free (near);
}

GST_END_TEST
/* 32 elements deep, and no further; branches that join are walked once. */
GST_START_TEST (test_depth_and_joins)
{
  GString *string = g_string_new (SOURCE "! captioner");
  guint i;

  for (i = 0; i < 31; i++)
    g_string_append (string, " ! identity");
  g_string_append (string, " ! textoverlay name=o ! fakesink");
  shows (string->str, EXACT, "");

  g_string_assign (string, SOURCE "! captioner");
  for (i = 0; i < 32; i++)
    g_string_append (string, " ! identity");
  g_string_append (string, " ! textoverlay name=o ! fakesink");
  shows (string->str, BLANK, "");

  /* Ten forks of six branches that join: 6^10 paths but twenty elements. */
  g_string_assign (string, SOURCE "! captioner name=c");
  for (i = 0; i < 10; i++)
    g_string_append_printf (string,
        " ! tee name=t%u ! input-selector name=j%u t%u. ! j%u. t%u. ! j%u."
        " t%u. ! j%u. t%u. ! j%u. t%u. ! j%u. j%u. ", i, i, i, i, i, i, i, i, i,
        i, i, i, i);
  g_string_append (string, " ! textoverlay name=o ! fakesink");
  {
    GstElement *pipeline = parse (string->str);
    GstElement *captioner = gst_bin_get_by_name (GST_BIN (pipeline), "c");
    GstElement *overlay = gst_bin_get_by_name (GST_BIN (pipeline), "o");

    /* No data flows: this is about the walk. */
    gst_palme_caption_overlay_attach (((Captioner *) captioner)->overlay);
    fail_unless (g_object_get_data (G_OBJECT (overlay),
            "gst-palme-claim") != NULL);
    gst_palme_caption_overlay_detach (((Captioner *) captioner)->overlay);
    fail_unless (g_object_get_data (G_OBJECT (overlay),
            "gst-palme-claim") == NULL);
    gst_object_unref (captioner);
    gst_object_unref (overlay);
    gst_object_unref (pipeline);
  }
  g_string_free (string, TRUE);
}

GST_END_TEST
/* --- frame by frame ------------------------------------------------------------------------- */
    typedef struct
{
  GstElement *pipeline, *src, *overlay;
  Captioner *captioner;
  GString *shown;
  guint frames;
} Step;

static void
step_open (Step * step, const gchar * middle)
{
  gchar *description = g_strdup_printf ("appsrc name=src format=time"
      " caps=video/x-raw,format=I420,width=64,height=32,framerate=10/1"
      " ! captioner name=captioner %s ! textoverlay name=o ! fakesink sync=false async=false",
      middle);

  memset (step, 0, sizeof *step);
  g_atomic_int_set (&drawn, 0);
  step->pipeline = parse (description);
  g_free (description);
  step->src = gst_bin_get_by_name (GST_BIN (step->pipeline), "src");
  step->overlay = gst_bin_get_by_name (GST_BIN (step->pipeline), "o");
  step->captioner =
      (Captioner *) gst_bin_get_by_name (GST_BIN (step->pipeline), "captioner");
  step->shown = watch (step->pipeline, "o");
  gst_element_set_state (step->pipeline, GST_STATE_PLAYING);
}

/* Pushes a frame with this caption (NULL: without metadata) and waits until it has been drawn. */
static void
step_frame (Step * step, const gchar * caption)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 64 * 32 * 3 / 2, NULL);
  GstFlowReturn flow;
  guint i;

  gst_buffer_memset (buffer, 0, 0, -1);
  GST_BUFFER_PTS (buffer) = step->frames++ * 100 * GST_MSECOND;
  GST_BUFFER_DURATION (buffer) = 100 * GST_MSECOND;
  step->captioner->fixed = caption;
  step->captioner->silent = caption == NULL;
  g_signal_emit_by_name (step->src, "push-buffer", buffer, &flow);
  gst_buffer_unref (buffer);
  fail_unless_equals_int (flow, GST_FLOW_OK);
  for (i = 0; i < 5000 && g_atomic_int_get (&drawn) < (gint) step->frames; i++)
    g_usleep (1000);
  fail_unless_equals_int (step->shown->len, step->frames);
}

static void
step_close (Step * step)
{
  gst_element_set_state (step->pipeline, GST_STATE_NULL);
  gst_object_unref (step->src);
  gst_object_unref (step->overlay);
  gst_object_unref (step->captioner);
  gst_object_unref (step->pipeline);
  g_string_free (step->shown, TRUE);
}

/* A text that the user sets in between stays, also after the end. */
GST_START_TEST (test_user_takes_over)
{
  Step step;

  step_open (&step, "");
  step_frame (&step, "one");
  is_text (step.pipeline, "o", "one");
  g_object_set (step.overlay, "text", "mine", NULL);
  step_frame (&step, "one");
  step_frame (&step, "two");
  step_frame (&step, "three");
  is_text (step.pipeline, "o", "mine");
  /* For good: also when the text becomes empty again. */
  g_object_set (step.overlay, "text", "", NULL);
  step_frame (&step, "four");
  is_text (step.pipeline, "o", "");
  fail_unless_equals_string (step.shown->str, "ommm-");
  /* ... or is, by chance, the one that was last shown. */
  g_object_set (step.overlay, "text", "one", NULL);
  step_frame (&step, "five");
  is_text (step.pipeline, "o", "one");
  g_object_set (step.overlay, "text", "mine", NULL);
  gst_element_set_state (step.pipeline, GST_STATE_READY);
  is_text (step.pipeline, "o", "mine");
  step_close (&step);
}

GST_END_TEST
/* text_sink gets linked: the text becomes empty and stays so. */
GST_START_TEST (test_text_sink_linked_later)
{
  Step step;
  GstPad *sink, *src = gst_pad_new ("other", GST_PAD_SRC);

  step_open (&step, "");
  step_frame (&step, "one");
  sink = gst_element_get_static_pad (step.overlay, "text_sink");
  fail_unless_equals_int (gst_pad_link (src, sink), GST_PAD_LINK_OK);
  g_object_set (step.overlay, "wait-text", FALSE, NULL);
  step_frame (&step, "one");
  step_frame (&step, "two");
  gst_pad_unlink (src, sink);
  step_frame (&step, "three");
  fail_unless_equals_string (step.shown->str, "o---");
  gst_object_unref (sink);
  gst_object_unref (src);
  step_close (&step);
}

GST_END_TEST
/* Markup characters; a caption that ends; a frame without metadata. Criticals are fatal here. */
GST_START_TEST (test_captions)
{
  Step step;

  step_open (&step, "! queue");
  step_frame (&step, NULL);
  is_text (step.pipeline, "o", "");
  step_frame (&step, "a & b <b");
  is_text (step.pipeline, "o", "a &amp; b &lt;b");
  step_frame (&step, "<span foreground=\"red\">'x'</span>");
  is_text (step.pipeline, "o",
      "&lt;span foreground=&quot;red&quot;&gt;&apos;x&apos;&lt;/span&gt;");
  step_frame (&step, "");
  is_text (step.pipeline, "o", "");
  step_frame (&step, "b");
  step_frame (&step, NULL);
  is_text (step.pipeline, "o", "");
  step_close (&step);
}

GST_END_TEST
/* After a flush nothing of before is on the screen, even if no frame follows. */
GST_START_TEST (test_flush)
{
  Step step;
  GstPad *pad;

  step_open (&step, "");
  step_frame (&step, "before");
  pad = gst_element_get_static_pad (step.src, "src");
  gst_pad_push_event (pad, gst_event_new_flush_start ());
  is_text (step.pipeline, "o", "before");
  gst_pad_push_event (pad, gst_event_new_flush_stop (TRUE));
  is_text (step.pipeline, "o", "");
  gst_object_unref (pad);
  step_close (&step);
}

GST_END_TEST
/* The captioner alone goes down and up while the rest plays on; detached means untouched. */
GST_START_TEST (test_detach_alone)
{
  Step step;
  GstMessage *message;
  GstBus *bus;
  guint i;

  step_open (&step, "");
  step_frame (&step, "one");
  bus = gst_element_get_bus (step.pipeline);
  for (i = 0; i < 3; i++) {
    gst_element_set_state (GST_ELEMENT (step.captioner), GST_STATE_READY);
    is_text (step.pipeline, "o", "");
    while ((message = gst_bus_pop (bus)))
      gst_message_unref (message);      /* they hold references, too */
    ASSERT_OBJECT_REFCOUNT (step.overlay, "overlay", 2);        /* the pipeline's and ours */
    gst_element_sync_state_with_parent (GST_ELEMENT (step.captioner));
  }
  gst_palme_caption_overlay_attach (step.captioner->overlay);
  gst_palme_caption_overlay_detach (step.captioner->overlay);
  g_object_set (step.overlay, "text", "mine", NULL);
  gst_palme_caption_overlay_detach (step.captioner->overlay);
  is_text (step.pipeline, "o", "mine");
  gst_object_unref (bus);
  step_close (&step);
}

GST_END_TEST
/* Detached while frames pass behind a queue: the text is empty afterwards, whoever came first. */
GST_START_TEST (test_detach_race)
{
  guint i;

  for (i = 0; i < 30; i++) {
    GstElement *pipeline =
        parse ("videotestsrc ! video/x-raw,width=32,height=32,framerate=1000/1"
        " ! captioner name=c ! queue max-size-buffers=2 ! textoverlay name=o ! fakesink sync=false");
    GstElement *captioner = gst_bin_get_by_name (GST_BIN (pipeline), "c");

    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    gst_element_get_state (pipeline, NULL, NULL, 5 * GST_SECOND);
    g_usleep (i * 500);
    gst_palme_caption_overlay_detach (((Captioner *) captioner)->overlay);
    gst_element_set_state (pipeline, GST_STATE_READY);
    is_text (pipeline, "o", "");
    gst_element_set_state (pipeline, GST_STATE_NULL);
    gst_object_unref (captioner);
    gst_object_unref (pipeline);
  }
}

GST_END_TEST static Suite *
overlay_suite (void)
{
  Suite *suite = suite_create ("overlay");
  TCase *tcase = tcase_create ("overlay");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_exact);
  tcase_add_test (tcase, test_left_alone);
  tcase_add_test (tcase, test_two_branches);
  tcase_add_test (tcase, test_nearest);
  tcase_add_test (tcase, test_depth_and_joins);
  tcase_add_test (tcase, test_user_takes_over);
  tcase_add_test (tcase, test_text_sink_linked_later);
  tcase_add_test (tcase, test_captions);
  tcase_add_test (tcase, test_flush);
  tcase_add_test (tcase, test_detach_alone);
  tcase_add_test (tcase, test_detach_race);
  return suite;
}

/* Not GST_CHECK_MAIN: without textoverlay there is nothing to test. */
int
main (int argc, char **argv)
{
  static const gchar *const needed[] =
      { "textoverlay", "videotestsrc", "videorate", "appsrc" };
  guint i;

  gst_check_init (&argc, &argv);
  gst_palme_meta_register ();
  gst_element_register (NULL, "captioner", GST_RANK_NONE,
      captioner_get_type ());
  for (i = 0; i < G_N_ELEMENTS (needed); i++) {
    GstElementFactory *factory = gst_element_factory_find (needed[i]);

    if (!factory) {
      g_print ("skipped: the element %s is not installed\n", needed[i]);
      return 77;
    }
    gst_object_unref (factory);
  }
  return gst_check_run_suite (overlay_suite (), "overlay", __FILE__);
}
