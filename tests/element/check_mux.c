/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_mux.c - captions and video in one file: {matroskamux, mp4mux, fragmented mp4mux, qtmux} x
 * cue durations x intervals x {file, live}. Each run lasts longer than the second that the queue
 * of the video holds, else a muxer that waits for text for ever goes unseen. The file is read
 * back, and its subtitles are compared with the cues that left the text pad.
 *
 * The live runs take the time that they last; they run side by side. By default four of them run,
 * with PALME_SLOW=1 all 24.
 */
#include <stdio.h>
#include <string.h>

#include "support/pipelines.h"

#define MS GST_MSECOND
#define FPS 10

typedef struct
{
  GstClockTime pts, duration;
  gchar *text;
} Cue;

static void
cue_free (gpointer data)
{
  g_free (((Cue *) data)->text);
  g_free (data);
}

/* One run of the matrix. */
typedef struct
{
  const gchar *mux;             /* with its properties */
  GstClockTime cue, interval;
  gboolean live;
  guint frames;
  const gchar *model;           /* NULL: a caption at once */
  GstClockTime late;            /* how long the model takes for one */
  GstClockTime begin;           /* where the segment of the video begins */

  gchar *name;
  const gchar *path;
  GstElement *pipeline;
  GPtrArray *sent;              /* Cue: what left the text pad */
  guint gaps;
  GstClockTime end;             /* of the last GAP */
} Run;

static const gchar *encoder;

static GPtrArray *
cues_new (void)
{
  return g_ptr_array_new_with_free_func (cue_free);
}

static void
note (GPtrArray * cues, GstBuffer * buffer)
{
  Cue *cue = g_new0 (Cue, 1);
  GstMapInfo map;

  cue->pts = GST_BUFFER_PTS (buffer);
  cue->duration = GST_BUFFER_DURATION (buffer);
  fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
  cue->text = g_strndup ((gchar *) map.data, map.size);
  gst_buffer_unmap (buffer, &map);
  g_ptr_array_add (cues, cue);
}

static GstPadProbeReturn
text_probe (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  Run *run = data;

  (void) pad;
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    note (run->sent, GST_PAD_PROBE_INFO_BUFFER (info));
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_GAP) {
    GstClockTime pts, duration;

    gst_event_parse_gap (GST_PAD_PROBE_INFO_EVENT (info), &pts, &duration);
    run->gaps++;
    run->end = pts + duration;
  }
  return GST_PAD_PROBE_OK;
}

static void
start (Run * run, guint number)
{
  gchar *file = g_strdup_printf ("mux-%u", number);
  gchar *line;
  GstElement *caption;
  GstSegment segment;
  GstPad *pad;

  run->path = file_name (file);
  run->name = g_strdup_printf ("%s, cue %u ms, interval %u ms, %s", run->mux,
      (guint) (run->cue / MS), (guint) (run->interval / MS),
      run->live ? "live" : "file");
  line =
      g_strdup_printf ("%s name=m ! filesink location=\"%s\""
      "  videotestsrc num-buffers=%u is-live=%d ! video/x-raw,width=160,height=120,framerate=%d/1"
      " ! palmecaption name=c model=MODEL interval=%" G_GUINT64_FORMAT
      " cue-duration=%" G_GUINT64_FORMAT
      " ! videoconvert ! %s ! queue ! m.video_0  c.text ! queue ! m.subtitle_0",
      run->mux, run->path, run->frames, run->live, FPS, run->interval, run->cue,
      encoder);
  run->pipeline =
      pipeline_new (run->model ? run->model : "text=caption {n}", line);
  run->sent = cues_new ();
  if (run->begin > 0) {
    gst_segment_init (&segment, GST_FORMAT_TIME);
    segment.start = segment.position = run->begin;
    pipeline_move (run->pipeline, "c", &segment);
  }
  caption = gst_bin_get_by_name (GST_BIN (run->pipeline), "c");
  pad = gst_element_get_static_pad (caption, "text");
  gst_pad_add_probe (pad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      text_probe, run, NULL);
  gst_object_unref (pad);
  gst_object_unref (caption);
  gst_element_set_state (run->pipeline, GST_STATE_PLAYING);
  g_free (line);
  g_free (file);
}

static void
finish (Run * run)
{
  /* The pipeline plays already: this waits for its end. */
  pipeline_run (run->pipeline, run->name, 40);
  pipeline_free (run->pipeline);
}

/* --- reading back --------------------------------------------------------------------------- */

typedef struct
{
  GPtrArray *cues;
  guint video;
} Parsed;

static void
got_text (GstElement * sink, GstBuffer * buffer, GstPad * pad, gpointer data)
{
  (void) sink;
  (void) pad;
  /* qtdemux fills the holes between cues with empty ones. */
  if (gst_buffer_get_size (buffer) > 0
      && !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP))
    note (((Parsed *) data)->cues, buffer);
}

static void
got_video (GstElement * sink, GstBuffer * buffer, GstPad * pad, gpointer data)
{
  (void) sink;
  (void) buffer;
  (void) pad;
  ((Parsed *) data)->video++;
}

static void
parse (Run * run, Parsed * parsed)
{
  const gchar *demux =
      g_str_has_prefix (run->mux, "matroska") ? "matroskademux" : "qtdemux";
  gchar *line =
      g_strdup_printf ("filesrc location=\"%s\" ! %s name=d"
      "  d.video_0 ! queue ! fakesink name=v signal-handoffs=true sync=false"
      "  d.subtitle_0 ! queue ! fakesink name=t signal-handoffs=true sync=false async=false",
      run->path, demux);
  GstElement *pipeline = pipeline_new ("", line);
  GstElement *video = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  GstElement *text = gst_bin_get_by_name (GST_BIN (pipeline), "t");

  parsed->cues = cues_new ();
  parsed->video = 0;
  g_signal_connect (video, "handoff", G_CALLBACK (got_video), parsed);
  g_signal_connect (text, "handoff", G_CALLBACK (got_text), parsed);
  pipeline_run (pipeline, line, 20);
  gst_object_unref (video);
  gst_object_unref (text);
  pipeline_free (pipeline);
  g_free (line);
}

/* --- comparing ------------------------------------------------------------------------------- */

static guint
caption_number (const Cue * cue)
{
  guint number;

  fail_unless (sscanf (cue->text, "caption %u", &number) == 1, "\"%s\"",
      cue->text);
  return number;
}

/* What left the pad: no overlap, the right length, and one item for each frame. */
static void
check_sent (Run * run)
{
  guint i, wanted = run->frames / FPS * GST_SECOND / run->cue, one_frame = 0;

  for (i = 0; i < run->sent->len; i++) {
    Cue *cue = g_ptr_array_index (run->sent, i);
    Cue *before = i ? g_ptr_array_index (run->sent, i - 1) : NULL;

    fail_unless (cue->duration <= run->cue, "%s", run->name);
    one_frame += cue->duration <= GST_SECOND / FPS;
    fail_unless (!before
        || cue->pts >= before->pts + before->duration, "%s", run->name);
    /* No caption is lost. */
    if (run->live && before)
      fail_unless (caption_number (cue) - caption_number (before) <= 1,
          "%s: \"%s\" follows \"%s\"", run->name, cue->text, before->text);
    if (!run->live) {
      fail_unless_equals_uint64 (cue->pts, i * run->cue);
      fail_unless_equals_uint64 (cue->duration, run->cue);
      fail_unless_equals_int (caption_number (cue), cue->pts / run->interval);
    }
  }
  if (run->live)
    fail_unless (run->sent->len + 2 + run->late / run->cue >= wanted,
        "%s: %u cues", run->name, run->sent->len);
  else
    fail_unless (run->sent->len == wanted, "%s: %u cues", run->name,
        run->sent->len);
  /* GAPs that wait merge, so there may be fewer than frames, but none is missing between two cues that
   * are longer than a frame. A caption that was waited for at EOS brings a GAP and a cue of its own. */
  fail_unless (run->gaps + one_frame >= run->sent->len - 1
      && run->gaps + run->sent->len <= run->frames + 2,
      "%s: %u gaps and %u cues, %u of one frame", run->name, run->gaps,
      run->sent->len, one_frame);
}

/* What is in the file: the same texts, the same times. Muxers round to their time scale and move
 * the start of a live recording to 0, so the first cue sets the origin. */
static void
check_file (Run * run)
{
  Parsed parsed;
  Cue *first_sent, *first_read, *last =
      g_ptr_array_index (run->sent, run->sent->len - 1);
  guint i, lost;

  parse (run, &parsed);
  /* A cue that comes at EOS, for after the video, is lost when the muxer sees the video's EOS first:
   * matroskamux does not wait for text then. */
  lost = last->pts >= run->end && parsed.cues->len + 1 == run->sent->len;
  fail_unless (parsed.video == run->frames, "%s: %u frames of %u", run->name,
      parsed.video, run->frames);
  fail_unless (parsed.cues->len + lost == run->sent->len, "%s: %u cues of %u",
      run->name, parsed.cues->len, run->sent->len);
  first_sent = g_ptr_array_index (run->sent, 0);
  first_read = g_ptr_array_index (parsed.cues, 0);
  for (i = 0; i < parsed.cues->len; i++) {
    Cue *sent = g_ptr_array_index (run->sent, i), *read =
        g_ptr_array_index (parsed.cues, i);
    GstClockTimeDiff moved = GST_CLOCK_DIFF (first_sent->pts, sent->pts)
        - GST_CLOCK_DIFF (first_read->pts, read->pts);

    fail_unless_equals_string (read->text, sent->text);
    fail_unless (ABS (moved) <= 2 * (GstClockTimeDiff) MS,
        "%s: cue %u is off by %" GST_STIME_FORMAT, run->name, i,
        GST_STIME_ARGS (moved));
    fail_unless (ABS (GST_CLOCK_DIFF (sent->duration,
                read->duration)) <= 2 * (GstClockTimeDiff) MS,
        "%s: cue %u lasts %" GST_TIME_FORMAT, run->name, i,
        GST_TIME_ARGS (read->duration));
  }
  if (!run->live)
    fail_unless_equals_uint64 (first_read->pts, 0);
  g_ptr_array_unref (parsed.cues);
}

/* --- the matrix ------------------------------------------------------------------------------ */

static const gchar *const muxes[] =
    { "matroskamux", "mp4mux", "mp4mux fragment-duration=500", "qtmux" };
static const GstClockTime cue_durations[] = { 500 * MS, 1000 * MS };
static const GstClockTime intervals[] = { 1000 * MS, 2000 * MS, 4000 * MS };

static void
runs (Run * all, guint n)
{
  guint i;

  for (i = 0; i < n; i++)
    start (&all[i], i);
  for (i = 0; i < n; i++)
    finish (&all[i]);
  for (i = 0; i < n; i++) {
    check_sent (&all[i]);
    check_file (&all[i]);
    g_free (all[i].name);
    g_ptr_array_unref (all[i].sent);
  }
}

/* All of one muxer, one by one: a file is read as fast as it goes. */
GST_START_TEST (test_file)
{
  guint c, i;

  for (c = 0; c < G_N_ELEMENTS (cue_durations); c++)
    for (i = 0; i < G_N_ELEMENTS (intervals); i++) {
      Run run =
          { muxes[__i__], cue_durations[c], intervals[i], FALSE, 8 * FPS, NULL,
        0, 0,
        NULL, NULL, NULL, NULL, 0, 0
      };


      runs (&run, 1);
    }
}

GST_END_TEST
/* As after an edit list: the video begins inside of its media, text and video at 0. */
GST_START_TEST (test_moved)
{
  Run run = { muxes[__i__], GST_SECOND, GST_SECOND, FALSE, 8 * FPS, NULL, 0,
    3500 * MS, NULL, NULL, NULL,
    NULL, 0, 0
  };

  runs (&run, 1);
}

GST_END_TEST
/* A video about which nothing is said is muxed as well: GAPs alone keep the muxer going. */
GST_START_TEST (test_silence)
{
  Run run =
      { muxes[__i__], GST_SECOND, GST_SECOND, FALSE, 8 * FPS, "text=", 0, 0,
    NULL, NULL, NULL, NULL, 0, 0
  };

  start (&run, 0);
  finish (&run);
  fail_unless_equals_int (run.sent->len, 0);
  fail_unless (run.gaps > 0 && run.gaps <= run.frames);
  g_free (run.name);
  g_ptr_array_unref (run.sent);
}

GST_END_TEST
/* Live, and the first caption takes longer than the queue of the video holds. */
GST_START_TEST (test_late)
{
  Run all[G_N_ELEMENTS (muxes)];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (muxes); i++) {
    Run run = { muxes[i], GST_SECOND, GST_SECOND, TRUE, 6 * FPS,
      "text=caption {n}\nlook_ms=2200",
      2200 * MS, 0, NULL, NULL, NULL, NULL, 0, 0
    };

    all[i] = run;
  }
  runs (all, G_N_ELEMENTS (muxes));
}

GST_END_TEST
/* Live, and captions come four times as often as cues of the whole length would end. */
GST_START_TEST (test_often)
{
  Run all[G_N_ELEMENTS (muxes)];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (muxes); i++) {
    Run run =
        { muxes[i], GST_SECOND, 250 * MS, TRUE, 6 * FPS, NULL, 0, 0, NULL, NULL,
      NULL, NULL, 0, 0
    };

    all[i] = run;
  }
  runs (all, G_N_ELEMENTS (muxes));
}

GST_END_TEST
/* Live: the six of one muxer side by side, or one for each muxer. */
GST_START_TEST (test_live)
{
  gboolean slow = g_strcmp0 (g_getenv ("PALME_SLOW"), "1") == 0;
  Run all[6];
  guint i, n = 0;

  if (!slow && __i__ > 0)
    return;
  for (i = 0; i < (slow ? 6 : G_N_ELEMENTS (muxes)); i++) {
    Run run = { muxes[slow ? __i__ : (gint) i],
      cue_durations[slow ? i % 2 : (i + 1) % 2],
      intervals[slow ? i / 2 : i % 3], TRUE, 6 * FPS, NULL, 0, 0, NULL, NULL,
      NULL, NULL, 0, 0
    };

    all[n++] = run;
  }
  runs (all, n);
}

GST_END_TEST static Suite *
mux_suite (void)
{
  Suite *suite = suite_create ("mux");
  TCase *tcase = tcase_create ("mux");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, NULL, files_remove);
  tcase_add_loop_test (tcase, test_file, 0, G_N_ELEMENTS (muxes));
  tcase_add_loop_test (tcase, test_moved, 0, G_N_ELEMENTS (muxes));
  tcase_add_loop_test (tcase, test_silence, 0, G_N_ELEMENTS (muxes));
  tcase_add_test (tcase, test_late);
  tcase_add_test (tcase, test_often);
  tcase_add_loop_test (tcase, test_live, 0, G_N_ELEMENTS (muxes));
  return suite;
}

int
main (int argc, char **argv)
{
  gst_check_init (&argc, &argv);
  if (have_elements ("x264enc", "h264parse", NULL))
    encoder = "x264enc tune=zerolatency ! h264parse";
  else if (have_elements ("openh264enc", "h264parse", NULL))
    encoder = "openh264enc ! h264parse";
  if (!encoder
      || !have_elements ("matroskamux", "matroskademux", "mp4mux", "qtmux",
          "qtdemux", NULL)) {
    g_print ("skipped\n");
    return 77;
  }
  g_print ("encoder: %s\n", encoder);
  return gst_check_run_suite (mux_suite (), "mux", __FILE__);
}
