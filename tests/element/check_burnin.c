/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_burnin.c - the caption on the picture, frame by frame. Whole pipelines with textoverlay run
 * over 40 frames of 10 fps, and each frame that comes out is compared with rendered references: so
 * a caption that is one frame late is seen. The engine is the stand-in, its caption counts.
 */
#include <string.h>

#include <gst/video/video.h>

#include "support/pipelines.h"

#define SIZE "width=160,height=120"
#define SOURCE(format) "videotestsrc pattern=black num-buffers=40 ! video/x-raw,format=" format "," \
    SIZE ",framerate=10/1 "
#define CAPTION "! palmecaption name=c model=MODEL mode=sync "
#define SINK "! fakesink name=s signal-handoffs=true "
#define EXACT "0000000000111111111122222222223333333333"
#define BLANK "----------------------------------------"
#define COUNTER "text={n}"

static void
keep (GstElement * sink, GstBuffer * buffer, GstPad * pad, gpointer frames)
{
  (void) sink;
  (void) pad;
  g_ptr_array_add (frames, gst_buffer_ref (buffer));
}

/* Unless NULL, the segment of all videos: pipeline_move() at palmecaption. */
static const GstSegment *moved;

/* Runs a pipeline and returns the frames that reach the sink `s`. */
static GPtrArray *
run (const gchar * model, const gchar * line)
{
  GPtrArray *frames =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  GstElement *pipeline = pipeline_new (model, line);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");

  g_signal_connect (sink, "handoff", G_CALLBACK (keep), frames);
  gst_object_unref (sink);
  if (moved)
    pipeline_move (pipeline, "c", moved);
  pipeline_run (pipeline, line, 20);
  pipeline_free (pipeline);
  return frames;
}

/* What a frame looks like with the text 0, 1, ... 9, with none, and with `extra` (markup): twelve
 * frames of a format. */
static GPtrArray *
references (const gchar * format, const gchar * extra)
{
  GPtrArray *all =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  guint i;

  for (i = 0; i < 12; i++) {
    gchar *text =
        i < 10 ? g_strdup_printf ("%u", i) : g_strdup (i == 10 ? "" : extra);
    gchar *line =
        g_strdup_printf
        ("videotestsrc pattern=black num-buffers=1 ! video/x-raw,format=%s,"
        SIZE ",framerate=10/1 ! textoverlay name=o " SINK, format);
    GstElement *pipeline = pipeline_new ("", line);
    GstElement *overlay = gst_bin_get_by_name (GST_BIN (pipeline), "o");
    GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");

    g_object_set (overlay, "text", text, NULL);
    g_signal_connect (sink, "handoff", G_CALLBACK (keep), all);
    pipeline_run (pipeline, line, 20);
    gst_object_unref (overlay);
    gst_object_unref (sink);
    pipeline_free (pipeline);
    g_free (text);
    g_free (line);
    fail_unless_equals_int (all->len, i + 1);
  }
  return all;
}

static guint64
difference (GstBuffer * a, GstBuffer * b)
{
  GstMapInfo x, y;
  guint64 sum = 0;
  gsize i;

  fail_unless (gst_buffer_map (a, &x, GST_MAP_READ)
      && gst_buffer_map (b, &y, GST_MAP_READ));
  fail_unless_equals_int (x.size, y.size);
  for (i = 0; i < x.size; i++)
    sum += ABS ((gint) x.data[i] - (gint) y.data[i]);
  gst_buffer_unmap (a, &x);
  gst_buffer_unmap (b, &y);
  return sum;
}

/* One character a frame: the digit, '-' for nothing, 'x' for the extra text, '?' when no reference
 * is clearly the nearest. */
static gchar *
classify (GPtrArray * frames, GPtrArray * refs)
{
  GString *string = g_string_new (NULL);
  guint i, r;

  for (i = 0; i < frames->len; i++) {
    guint64 best = G_MAXUINT64, next = G_MAXUINT64, d;
    guint which = 0;

    for (r = 0; r < refs->len; r++) {
      d = difference (g_ptr_array_index (frames, i), g_ptr_array_index (refs,
              r));
      if (d < best) {
        next = best;
        best = d;
        which = r;
      } else if (d < next) {
        next = d;
      }
    }
    g_string_append_c (string, best > next / 4 ? '?' : "0123456789-x"[which]);
  }
  return g_string_free (string, FALSE);
}

static void
shows_format (const gchar * model, const gchar * line, const gchar * format,
    const gchar * extra, const gchar * wanted)
{
  GPtrArray *refs = references (format, extra);
  GPtrArray *frames = run (model, line);
  gchar *found = classify (frames, refs);

  fail_unless (strcmp (found, wanted) == 0, "%s\nshows  %s\nwanted %s", line,
      found, wanted);
  g_free (found);
  g_ptr_array_unref (frames);
  g_ptr_array_unref (refs);
}

static void
shows (const gchar * line, const gchar * wanted)
{
  shows_format (COUNTER, line, "I420", "mine", wanted);
}

/* --- the strings ----------------------------------------------------------------------------- */

GST_START_TEST (test_plain)
{
  shows (SOURCE ("I420") CAPTION "! textoverlay " SINK, EXACT);
}

GST_END_TEST
/* What stands between does not shift a caption. */
GST_START_TEST (test_between)
{
  shows (SOURCE ("I420") CAPTION "! queue ! textoverlay ! queue " SINK, EXACT);
  shows (SOURCE ("RGB") CAPTION
      "! videoconvert ! video/x-raw,format=I420 ! textoverlay " SINK, EXACT);
  shows (SOURCE ("I420") CAPTION
      "! tee name=t ! queue ! fakesink  t. ! queue ! textoverlay " SINK, EXACT);
  shows (SOURCE ("I420") CAPTION "! bin.( queue ! bin.( textoverlay ) ) " SINK,
      EXACT);
  shows ("bin.( " SOURCE ("I420") CAPTION ") ! queue ! textoverlay " SINK,
      EXACT);
  shows (SOURCE ("I420") CAPTION
      "! queue ! tee name=t ! queue ! videoconvert ! queue ! textoverlay " SINK
      " t. ! queue ! textoverlay ! fakesink", EXACT);
}

GST_END_TEST
/* Through the text pad: the operator `:` links all pads, and links by name. */
GST_START_TEST (test_text_pad)
{
  static const gchar *const cues[] =
      { "", "cue-duration=500000000", "cue-duration=300000000",
    "cue-duration=100000000", "cue-duration=0"
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cues); i++) {
    gchar *line =
        g_strdup_printf (SOURCE ("I420") CAPTION "%s : textoverlay " SINK,
        cues[i]);

    shows (line, EXACT);
    g_free (line);
    line =
        g_strdup_printf (SOURCE ("I420") CAPTION "%s ! textoverlay name=o " SINK
        " c.text ! o.text_sink", cues[i]);
    shows (line, EXACT);
    g_free (line);
  }
  shows (SOURCE ("I420") CAPTION "! queue ! textoverlay name=o " SINK
      " c.text ! queue ! o.text_sink", EXACT);
  /* The overlay whose text_sink is linked is not the auto-overlay's; the next one is. */
  shows (SOURCE ("I420") CAPTION
      "auto-overlay=true ! textoverlay name=o ! textoverlay silent=true " SINK
      " c.text ! o.text_sink", EXACT);
}

GST_END_TEST
/* Whether the GStreamer that runs, not the one that was compiled with, is of this version or later. */
static gboolean
is_newer (guint major, guint minor)
{
  guint has_major, has_minor, micro, nano;

  gst_version (&has_major, &has_minor, &micro, &nano);
  return has_major > major || (has_major == major && has_minor >= minor);
}

/* Frames that are lost, or doubled, between the caption and the overlay. */
GST_START_TEST (test_drops)
{
  shows (SOURCE ("I420") CAPTION
      "! videorate drop-only=true ! video/x-raw,framerate=5/1 ! textoverlay "
      SINK, "00000111112222233333");
  /* The last frame comes once; GStreamer 1.28 doubles it as well. */
  shows (SOURCE ("I420") CAPTION
      "! videorate ! video/x-raw,framerate=20/1 ! textoverlay " SINK,
      is_newer (1,
          28) ? "00000000000000000000" "11111111111111111111"
      "22222222222222222222" "33333333333333333333" : "00000000000000000000"
      "11111111111111111111" "22222222222222222222" "3333333333333333333");
  shows (SOURCE ("I420") CAPTION
      "! videorate name=r drop-only=true ! video/x-raw,framerate=5/1"
      " ! textoverlay name=o " SINK " c.text ! o.text_sink",
      "00000111112222233333");
  shows (SOURCE ("I420") CAPTION
      "! videorate drop-only=true ! video/x-raw,framerate=5/1 ! queue"
      " ! textoverlay name=o " SINK " c.text ! queue ! o.text_sink",
      "00000111112222233333");
}

GST_END_TEST
GST_START_TEST (test_left_alone)
{
  gchar *mine = g_strnfill (40, 'x');

  shows (SOURCE ("I420") CAPTION "! textoverlay text=mine " SINK, mine);
  shows (SOURCE ("I420") CAPTION "auto-overlay=false ! textoverlay " SINK,
      BLANK);
  shows (SOURCE ("I420") CAPTION "auto-overlay=false ! textoverlay text=mine "
      SINK, mine);
  g_free (mine);
}

GST_END_TEST
/* Every other interval, and no caption at all. */
GST_START_TEST (test_intervals)
{
  shows (SOURCE ("I420") CAPTION "interval=2000000000 ! textoverlay " SINK,
      "0000000000000000000011111111111111111111");
  shows (SOURCE ("I420") CAPTION "interval=2000000000 : textoverlay " SINK,
      "0000000000000000000011111111111111111111");
  shows (SOURCE ("I420") CAPTION "interval=450000000 ! textoverlay " SINK,
      "0000011112222233334444455556666677778888");
  shows (SOURCE ("I420") CAPTION "interval=450000000 : textoverlay " SINK,
      "0000011112222233334444455556666677778888");
  shows_format ("text=", SOURCE ("I420") CAPTION "! textoverlay " SINK, "I420",
      "mine", BLANK);
  shows_format ("text=", SOURCE ("I420") CAPTION ": textoverlay " SINK, "I420",
      "mine", BLANK);
}

GST_END_TEST
/* Characters of markup are drawn as they are. Criticals are fatal in this program. */
GST_START_TEST (test_markup)
{
  gchar *all = g_strnfill (40, 'x');

  shows_format ("text=a & b <b", SOURCE ("I420") CAPTION "! textoverlay " SINK,
      "I420", "a &amp; b &lt;b", all);
  shows_format ("text=a & b <b", SOURCE ("I420") CAPTION ": textoverlay " SINK,
      "I420", "a &amp; b &lt;b", all);
  shows_format ("text=<span size=\"1\">&amp;</span>",
      SOURCE ("I420") CAPTION "! textoverlay " SINK, "I420",
      "&lt;span size=\"1\"&gt;&amp;amp;&lt;/span&gt;", all);
  g_free (all);
}

GST_END_TEST
/* TRUE if the pipeline reaches EOS. */
static gboolean
works (const gchar * line)
{
  GstElement *pipeline = gst_parse_launch (line, NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  gboolean ok;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message =
      gst_bus_timed_pop_filtered (bus, 20 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  ok = message && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
  if (message)
    gst_message_unref (message);
  gst_object_unref (bus);
  pipeline_free (pipeline);
  return ok;
}

/* Every format that can be made passes with the caption on it, and those that textoverlay draws
 * on natively show it directly. */
GST_START_TEST (test_formats)
{
  static const gchar *const native[] =
      { "YV12", "YUY2", "UYVY", "NV12", "NV21", "AYUV", "Y444", "Y42B",
    "Y41B", "RGB", "BGR", "RGBx", "BGRx", "xRGB", "xBGR", "RGBA", "BGRA",
    "ARGB", "ABGR", "GRAY8", "v308"
  };
  const GstVideoFormat *all;
  guint i, count, made = 0;

  for (i = 0; i < G_N_ELEMENTS (native); i++) {
    gchar *line =
        g_strdup_printf
        ("videotestsrc pattern=black num-buffers=40 ! video/x-raw,format=%s,"
        SIZE ",framerate=10/1 " CAPTION "! textoverlay " SINK, native[i]);

    shows_format (COUNTER, line, native[i], "mine", EXACT);
    g_free (line);
  }
  all = gst_video_formats_raw (&count);
  for (i = 0; i < count; i++) {
    const gchar *name = gst_video_format_to_string (all[i]);
    gchar *make =
        g_strdup_printf
        ("videotestsrc pattern=black num-buffers=%u ! videoconvert"
        " ! video/x-raw,format=%s,width=160,height=120,framerate=10/1 ", 40,
        name);
    gchar *line = g_strconcat (make, "! fakesink", NULL);

    if (works (line)) {
      made++;
      g_free (line);
      line =
          g_strconcat (make,
          CAPTION "! queue ! videoconvert ! video/x-raw,format=I420"
          " ! textoverlay " SINK, NULL);
      shows (line, EXACT);
    }
    g_free (line);
    g_free (make);
  }
  g_print ("%u formats directly, %u through videoconvert\n",
      (guint) G_N_ELEMENTS (native), made);
  fail_unless (made > 60);
}

GST_END_TEST
/* --- subtitle files, the video unlinked ------------------------------------------------------ */
static gchar *
written (const gchar * line)
{
  const gchar *path = file_name ("out");
  gchar *full = g_strdup_printf ("%s ! filesink location=\"%s\"", line, path);
  GstElement *pipeline = pipeline_new (COUNTER, full);
  gchar *content = NULL;

  if (moved)
    pipeline_move (pipeline, "c", moved);
  pipeline_run (pipeline, full, 20);
  pipeline_free (pipeline);
  fail_unless (g_file_get_contents (path, &content, NULL, NULL));
  g_free (full);
  return content;
}

GST_START_TEST (test_subtitle_files)
{
  gchar *content = written (SOURCE ("I420") CAPTION " c.text ! webvttenc");

  fail_unless_equals_string (content, "WEBVTT\n\n"
      "00:00:00.000 --> 00:00:01.000\n0\n\n00:00:01.000 --> 00:00:02.000\n1\n\n"
      "00:00:02.000 --> 00:00:03.000\n2\n\n00:00:03.000 --> 00:00:04.000\n3\n\n");
  g_free (content);
  content =
      written (SOURCE ("I420") CAPTION
      "interval=2000000000 cue-duration=0  c.text ! srtenc");
  fail_unless_equals_string (content,
      "1\n00:00:00,000 --> 00:00:02,000\n0\n\n"
      "2\n00:00:02,000 --> 00:00:04,000\n1\n\n");
  g_free (content);
  /* Both at once, and the video too. */
  content =
      written (SOURCE ("I420") CAPTION
      "! fakesink  c.text ! tee name=t ! queue ! srtenc ! fakesink"
      "  t. ! queue ! webvttenc");
  fail_unless (strstr (content, "00:00:03.000 --> 00:00:04.000\n3\n") != NULL);
  g_free (content);
}

GST_END_TEST
/* Whatever the segment of the video: the right caption on each frame by the text pad, and the times of
 * a player in the files. */
GST_START_TEST (test_segments)
{
  static const struct
  {
    gdouble rate;
    guint start, base;          /* seconds */
    const gchar *file;
  } cases[] = {
    {1.0, 10, 0,
        "00:00:00.000 --> 00:00:02.000\n0\n\n00:00:02.000 --> 00:00:04.000\n1\n\n"},
    {1.0, 0, 5,
        "00:00:05.000 --> 00:00:07.000\n0\n\n00:00:07.000 --> 00:00:09.000\n1\n\n"},
    {2.0, 7, 3,
        "00:00:03.000 --> 00:00:04.000\n0\n\n00:00:04.000 --> 00:00:05.000\n1\n\n"},
    {0.5, 7, 0,
        "00:00:00.000 --> 00:00:04.000\n0\n\n00:00:04.000 --> 00:00:08.000\n1\n\n"},
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstSegment segment;
    gchar *content;

    gst_segment_init (&segment, GST_FORMAT_TIME);
    segment.rate = cases[i].rate;
    segment.start = segment.position = cases[i].start * GST_SECOND;
    segment.base = cases[i].base * GST_SECOND;
    moved = &segment;
    shows (SOURCE ("I420") CAPTION ": textoverlay " SINK, EXACT);
    shows (SOURCE ("I420") CAPTION "cue-duration=0 : textoverlay " SINK, EXACT);
    shows (SOURCE ("I420") CAPTION "! queue ! textoverlay name=o " SINK
        " c.text ! queue ! o.text_sink", EXACT);
    shows (SOURCE ("I420") CAPTION "! textoverlay " SINK, EXACT);
    content =
        written (SOURCE ("I420") CAPTION
        "interval=2000000000 cue-duration=0  c.text ! webvttenc");
    fail_unless (g_str_has_prefix (content, "WEBVTT\n\n"));
    fail_unless_equals_string (content + 8, cases[i].file);
    g_free (content);
    moved = NULL;
  }
}

GST_END_TEST
/* In PAUSED, seek, play to the end: the text of before is gone, and what comes is right. */
GST_START_TEST (test_seek)
{
  GPtrArray *refs = references ("I420", "mine");
  GPtrArray *frames =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  const gchar *line = SOURCE ("I420") CAPTION ": textoverlay " SINK;
  GstElement *pipeline = pipeline_new (COUNTER, line);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  gchar *found;

  gst_element_set_state (pipeline, GST_STATE_PAUSED);
  fail_unless_equals_int (gst_element_get_state (pipeline, NULL, NULL,
          20 * GST_SECOND), GST_STATE_CHANGE_SUCCESS);
  fail_unless (gst_element_seek_simple (pipeline, GST_FORMAT_TIME,
          GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE, 2500 * GST_MSECOND));
  g_signal_connect (sink, "handoff", G_CALLBACK (keep), frames);
  pipeline_run (pipeline, line, 20);
  found = classify (frames, refs);
  /* 0 was said before the seek; num-buffers counts anew after it. textoverlay sends the seek up both of
   * its pads, so the source may seek twice, and 1 may be said between. */
  fail_unless (g_str_has_prefix (found, "111111111122222222223333333333")
      || g_str_has_prefix (found, "222222222233333333334444444444"),
      "shows %s", found);
  g_free (found);
  gst_object_unref (sink);
  pipeline_free (pipeline);
  g_ptr_array_unref (frames);
  g_ptr_array_unref (refs);
}

GST_END_TEST static Suite *
burnin_suite (void)
{
  Suite *suite = suite_create ("burnin");
  TCase *tcase = tcase_create ("burnin");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, NULL, files_remove);
  tcase_add_test (tcase, test_plain);
  tcase_add_test (tcase, test_between);
  tcase_add_test (tcase, test_text_pad);
  tcase_add_test (tcase, test_drops);
  tcase_add_test (tcase, test_left_alone);
  tcase_add_test (tcase, test_intervals);
  tcase_add_test (tcase, test_markup);
  tcase_add_test (tcase, test_formats);
  tcase_add_test (tcase, test_subtitle_files);
  tcase_add_test (tcase, test_segments);
  tcase_add_test (tcase, test_seek);
  return suite;
}

int
main (int argc, char **argv)
{
  gst_check_init (&argc, &argv);
  if (!have_elements ("textoverlay", "videotestsrc", "videoconvert",
          "videorate", "webvttenc", "srtenc", NULL)) {
    g_print ("skipped\n");
    return 77;
  }
  return gst_check_run_suite (burnin_suite (), "burnin", __FILE__);
}
