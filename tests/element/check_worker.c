/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_worker.c - the worker thread by itself, over the stand-in engine: what a pipeline meets
 * only by chance, such as a flush that comes between two steps of the streaming thread, is done
 * here in order.
 */
#include <string.h>

#include "support/captionhost.h"
#include "gstpalmecaption-stats.h"
#include "gstpalmecaption-worker.h"
#include "gstpalmemodel.h"

GST_DEBUG_CATEGORY (gst_palme_caption_debug);

static GstPalmeModel *model;
static guint8 picture[32 * 32 * 3];
static GstPalmeCaptionWorker *worker;

static void
start (const gchar * lines)
{
  struct palme_options options = { 0 };
  struct palme_setup setup = { 0 };

  GST_DEBUG_CATEGORY_INIT (gst_palme_caption_debug, "palmecaption", 0, "");
  fail_unless (gst_palme_model_cache_open (&model, caption_model (lines),
          &setup) == PALME_OK);
  worker = gst_palme_caption_worker_new (NULL);
  fail_if (gst_palme_caption_worker_begin (worker, TRUE),
      "a worker that was not started takes nothing");
  fail_unless (gst_palme_caption_worker_start (worker, model, &options,
          "test") == NULL);
}

static void
end (void)
{
  gst_palme_caption_worker_free (worker);
  gst_palme_model_cache_close (&model);
}

static void
add_picture (GstPalmeCaptionJob * job, guint64 region)
{
  GstPalmeCaptionView view = {.region = region,.pixels = picture,.resize = 5,
    .shown = g_strdup ("words that are shown")
  };

  gst_palme_caption_job_add (job, &view);
}

/* A job with so many pictures, of the regions from 0 on. */
static void
submit_some (GstClockTime pts, guint pictures)
{
  GstPalmeCaptionJob job = {.frame = {.pts = pts},.prompt = g_strdup ("words"),
  .model = gst_palme_model_ref (model)
  };
  guint i;

  for (i = 0; i < pictures; i++)
    add_picture (&job, i);
  gst_palme_caption_worker_submit (worker, &job);
  fail_unless (job.prompt == NULL && job.model == NULL && job.views == NULL);
}

static void
submit (GstClockTime pts)
{
  submit_some (pts, 1);
}

static guint64
stat (const gchar * field)
{
  GstStructure *stats = gst_palme_caption_worker_describe (worker);
  guint64 value;

  fail_unless (gst_structure_get_uint64 (stats, field, &value));
  gst_structure_free (stats);
  return value;
}

GST_START_TEST (test_slot)
{
  GstPalmeCaptionResult result;

  caption_hold ();
  start ("hold=@/hold\ntext={n} {prompt}\n");
  fail_if (gst_palme_caption_worker_take (worker, 0, &result));
  fail_if (gst_palme_caption_worker_is_busy (worker));
  fail_unless (gst_palme_caption_worker_begin (worker, FALSE));
  submit (7);
  fail_unless (gst_palme_caption_worker_is_busy (worker));
  /* One slot: nothing queues behind it. */
  fail_if (gst_palme_caption_worker_begin (worker, FALSE));
  fail_if (gst_palme_caption_worker_take (worker, 0, &result));
  fail_if (gst_palme_caption_worker_take (worker, GST_MSECOND, &result));
  caption_release ();
  fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));
  fail_unless_equals_string (result.text, "0 words");
  fail_unless_equals_uint64 (result.frame.pts, 7);
  fail_unless (result.reason == NULL);
  fail_unless (result.times.latency >= result.times.queue
      + result.times.encode + result.times.decode);
  gst_palme_caption_result_clear (&result);
  fail_if (gst_palme_caption_worker_is_busy (worker));
  fail_if (gst_palme_caption_worker_take (worker, 0, &result));
  fail_unless_equals_uint64 (stat ("captions"), 1);
  fail_unless_equals_uint64 (stat ("resize-mean"), 5);
  end ();
}

GST_END_TEST;

/* The pictures of a frame give a result each, in order, which can be taken as they come; the next frame waits for all
 * of them. */
GST_START_TEST (test_pictures)
{
  GstPalmeCaptionResult result;
  guint i;

  start ("text={n}\nhold_next=@/hold\njournal=@/journal\n");
  fail_unless (gst_palme_caption_worker_begin (worker, FALSE));
  submit_some (7, 3);
  for (i = 0; i < 3; i++) {
    gchar *wanted = g_strdup_printf ("%u", i);

    fail_if (gst_palme_caption_worker_begin (worker, FALSE));
    fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
            &result));
    fail_unless_equals_string (result.text, wanted);
    fail_unless_equals_uint64 (result.region, i);
    fail_unless_equals_uint64 (result.frame.pts, 7);
    fail_unless (result.compared);
    gst_palme_caption_result_clear (&result);
    g_free (wanted);
  }
  fail_if (gst_palme_caption_worker_is_busy (worker));
  fail_unless_equals_uint64 (stat ("captions"), 3);
  end ();
}

GST_END_TEST;

/* An abort ends all pictures: those that wait to be taken, the one in the making, and those behind it. */
GST_START_TEST (test_abort_pictures)
{
  GstPalmeCaptionResult result;

  caption_hold ();
  start ("fail_look=1\nhold=@/hold\njournal=@/journal\n");
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit_some (1, 5);
  caption_wait_journal ("look", 1);
  gst_palme_caption_worker_abort (worker);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  fail_if (gst_palme_caption_worker_take (worker, 0, &result));
  fail_unless_equals_uint64 (stat ("stale"), 5);
  fail_unless_equals_int (caption_journal ("look"), 1);
  caption_release ();

  /* Each picture fails on its own. */
  submit_some (2, 2);
  fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));
  fail_unless (result.status < 0 && result.reason != NULL);
  gst_palme_caption_result_clear (&result);
  caption_wait_journal ("look", 3);
  /* One more waits, or is about to. */
  gst_palme_caption_worker_abort (worker);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  fail_unless_equals_uint64 (stat ("stale"), 6);
  end ();
}

GST_END_TEST;

/* Time for the worker's thread to wait for a turn, which cannot be seen from here. Where it does not suffice, a fault
 * may stay unseen, and nothing fails. */
static void
let_it_wait (void)
{
  g_usleep (50000);
}

/* Another user of the model's sessions. */
typedef struct
{
  GThread *thread;
  GstPalmeSessions *sessions;
  gint64 since;
  gint asked;
  guint looks;                  /* of the model, when its turn came */
} Other;

static gint
is_asked (void *user)
{
  g_atomic_int_inc (&((Other *) user)->asked);
  return FALSE;
}

static gpointer
take_turn (gpointer data)
{
  Other *other = data;
  const struct palme_options options = {.cancel = is_asked,.cancel_user = other
  };
  palme_session *session;
  GstPalmeTurn *turn;

  fail_unless_equals_int (gst_palme_sessions_take (other->sessions, other,
          other->since, &options, &turn, &session), PALME_OK);
  other->looks = caption_journal ("look");
  let_it_wait ();
  gst_palme_sessions_give (other->sessions, turn);
  return NULL;
}

/* Returns once the thread waits. */
static void
wait_for_turn (Other * other, GstPalmeSessions * sessions)
{
  *other = (Other) {
  .sessions = sessions,.since = g_get_monotonic_time ()};
  other->thread = g_thread_new ("turn", take_turn, other);
  while (g_atomic_int_get (&other->asked) == 0)
    g_usleep (1000);
  gst_palme_sessions_wake (sessions);   /* it has the lock only after the other waits */
}

/* Joins so often that another user has no session of its own, and takes all turns. Returns how often. */
static guint
take_all (GstPalmeSessions * sessions, GPtrArray * turns)
{
  const struct palme_options none = { 0 };
  guint i, users = 0, open;
  palme_session *session;
  GstPalmeTurn *turn;

  do {
    open = gst_palme_sessions_count (sessions);
    fail_unless_equals_int (gst_palme_sessions_join (sessions, turns, &none),
        PALME_OK);
    users++;
  } while (gst_palme_sessions_count (sessions) > open);
  for (i = 0; i < open; i++) {
    fail_unless_equals_int (gst_palme_sessions_take (sessions, turns, 0, &none,
            &turn, &session), PALME_OK);
    g_ptr_array_add (turns, turn);
  }
  return users;
}

static void
give_all (GstPalmeSessions * sessions, GPtrArray * turns, guint users)
{
  while (turns->len > 0)
    gst_palme_sessions_give (sessions, g_ptr_array_remove_index (turns, 0));
  for (; users > 0; users--)
    gst_palme_sessions_leave (sessions, turns);
  g_ptr_array_free (turns, TRUE);
}

/* A job with several pictures takes a turn for each of them: who waits meanwhile comes in between. */
GST_START_TEST (test_turns)
{
  GPtrArray *turns = g_ptr_array_new ();
  GstPalmeCaptionResult result;
  GstPalmeSessions *sessions;
  Other other[2];
  guint i, users;

  caption_hold ();
  start ("hold=@/hold\njournal=@/journal\n");
  sessions = gst_palme_model_get_sessions (model);
  users = take_all (sessions, turns);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit_some (1, 3);
  gst_palme_sessions_give (sessions, g_ptr_array_remove_index (turns, 0));
  caption_wait_journal ("look", 1);
  for (i = 0; i < 2; i++)
    wait_for_turn (&other[i], sessions);
  caption_release ();
  for (i = 0; i < 2; i++) {
    g_thread_join (other[i].thread);
    fail_unless_equals_int (other[i].looks, 1);
  }
  for (i = 0; i < 3; i++) {
    fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
            &result));
    fail_unless_equals_uint64 (result.region, i);
    fail_unless (result.times.latency >= result.times.queue
        + result.times.encode + result.times.decode);
    gst_palme_caption_result_clear (&result);
  }
  give_all (sessions, turns, users);
  end ();
}

GST_END_TEST;

/* Nobody waits for a turn whose captions are not wanted any more. */
GST_START_TEST (test_turns_end)
{
  GPtrArray *turns = g_ptr_array_new ();
  GstPalmeSessions *sessions;
  guint users;

  start ("journal=@/journal\n");
  sessions = gst_palme_model_get_sessions (model);
  users = take_all (sessions, turns);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit_some (1, 3);
  let_it_wait ();
  gst_palme_caption_worker_abort (worker);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  fail_unless_equals_uint64 (stat ("stale"), 3);
  submit_some (2, 3);
  let_it_wait ();
  gst_palme_caption_worker_stop (worker);
  fail_unless_equals_int (caption_journal ("look"), 0);
  give_all (sessions, turns, users);
  end ();
}

GST_END_TEST;

/* Between begin and submit, and between submit and take. */
GST_START_TEST (test_abort_between)
{
  GstPalmeCaptionResult result;

  start (NULL);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  gst_palme_caption_worker_abort (worker);
  submit (1);
  fail_if (gst_palme_caption_worker_is_busy (worker));
  fail_unless_equals_uint64 (stat ("stale"), 1);
  fail_if (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));

  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit (2);
  gst_palme_caption_worker_abort (worker);
  fail_if (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  fail_unless_equals_uint64 (stat ("stale"), 2);
  submit (3);
  fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));
  fail_unless_equals_uint64 (result.frame.pts, 3);
  gst_palme_caption_result_clear (&result);
  end ();
}

GST_END_TEST;

/* A frame that reaches the worker after the flush began is not captioned, however late it comes. */
GST_START_TEST (test_flushing)
{
  GstPalmeCaptionResult result;

  start (NULL);
  gst_palme_caption_worker_set_flushing (worker, TRUE);
  fail_if (gst_palme_caption_worker_begin (worker, FALSE));
  fail_if (gst_palme_caption_worker_begin (worker, TRUE));
  gst_palme_caption_worker_set_flushing (worker, FALSE);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit (1);
  while (stat ("captions") == 0)
    g_usleep (1000);
  /* A result that is ready is worthless as well. */
  gst_palme_caption_worker_set_flushing (worker, TRUE);
  fail_if (gst_palme_caption_worker_take (worker, 0, &result));
  gst_palme_caption_worker_set_flushing (worker, FALSE);
  fail_if (gst_palme_caption_worker_take (worker, 0, &result));
  fail_unless_equals_uint64 (stat ("stale"), 1);
  end ();
}

GST_END_TEST;

static gpointer
take (gpointer data)
{
  GstPalmeCaptionResult result;

  return GINT_TO_POINTER (gst_palme_caption_worker_take (data,
          GST_CLOCK_TIME_NONE, &result));
}

static gint over;

static gpointer
begin (gpointer data)
{
  gboolean begun = gst_palme_caption_worker_begin (data, TRUE);

  g_atomic_int_set (&over, TRUE);
  return GINT_TO_POINTER (begun);
}

/* Who waits is woken by abort, flush and halt; an engine that does not listen holds only its own
 * thread. */
GST_START_TEST (test_wake)
{
  GThread *thread;
  gint way;

  for (way = 0; way < 3; way++) {
    caption_hold ();
    start ("hold=@/hold\ndeaf=1\njournal=@/journal\n");
    fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
    submit (1);
    caption_wait_journal ("look", way + 1);
    thread = g_thread_new ("take", take, worker);
    g_usleep (5000);
    if (way == 0)
      gst_palme_caption_worker_abort (worker);
    else if (way == 1)
      gst_palme_caption_worker_set_flushing (worker, TRUE);
    else
      gst_palme_caption_worker_halt (worker);
    fail_unless (g_thread_join (thread) == NULL);

    /* Nor does anybody wait who comes after that. */
    fail_unless (take (worker) == NULL);

    /* The engine still works on the old picture, so nothing can be begun; the wait for that ends
     * too. */
    if (way == 0) {
      g_atomic_int_set (&over, FALSE);
      thread = g_thread_new ("begin", begin, worker);
      /* Once is enough, but only when the thread waits already, which nobody can see from here. */
      while (!g_atomic_int_get (&over)) {
        g_usleep (5000);
        gst_palme_caption_worker_abort (worker);
      }
      fail_unless (g_thread_join (thread) == NULL);
    }
    caption_release ();
    if (way < 2) {
      gst_palme_caption_worker_set_flushing (worker, FALSE);
      fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
      fail_unless_equals_uint64 (stat ("captions"), 0);
      fail_unless_equals_uint64 (stat ("stale"), 1);
    }
    end ();
  }
}

GST_END_TEST;

/* A job brings its model: the session follows, and the strings are those of that model. The old model is
 * closed, on no other thread than the worker's, when the session of the new one is open. */
GST_START_TEST (test_model_change)
{
  struct palme_setup setup = { 0 };
  GstPalmeCaptionResult result;

  start ("name=old\ntext=old {opened}\njournal=@/journal\n");
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit (1);
  fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));
  fail_unless_equals_string (result.text, "old 1");
  fail_unless_equals_string (result.model, "old");
  gst_palme_caption_result_clear (&result);

  gst_palme_model_cache_close (&model);
  fail_unless_equals_int (caption_journal ("close"), 0);
  fail_unless (gst_palme_model_cache_open (&model,
          caption_model ("name=new\ntext=new {opened}\nscore=-2\n"),
          &setup) == PALME_OK);
  fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
  submit (2);
  fail_unless (gst_palme_caption_worker_take (worker, GST_CLOCK_TIME_NONE,
          &result));
  fail_unless_equals_string (result.text, "new 1");
  fail_unless_equals_string (result.model, "new");
  fail_unless_equals_float (result.score, -2);
  gst_palme_caption_result_clear (&result);
  fail_unless_equals_int (caption_journal ("close"), 1);
  end ();
}

GST_END_TEST;

/* The last reference may be in a job that is not run. Closing the model never holds the thread that
 * hands over: the close of this one does not return before the hold file is gone. */
GST_START_TEST (test_model_discarded)
{
  GstPalmeCaptionJob job = { 0 };
  struct palme_setup setup = { 0 };
  GstPalmeModel *other;
  guint way;

  for (way = 0; way < 3; way++) {
    start (NULL);
    fail_unless (gst_palme_model_cache_open (&other,
            caption_model ("hold_close=@/hold\njournal=@/journal\n"),
            &setup) == PALME_OK);
    fail_unless (gst_palme_caption_worker_begin (worker, TRUE));
    job.model = gst_palme_model_ref (other);
    add_picture (&job, 0);
    gst_palme_model_cache_close (&other);
    caption_hold ();
    if (way == 0) {
      gst_palme_caption_worker_cancel (worker, &job);
    } else if (way == 1) {
      gst_palme_caption_worker_abort (worker);
      fail_if (gst_palme_caption_worker_submit (worker, &job));
    } else {
      gst_palme_caption_worker_set_flushing (worker, TRUE);
      fail_if (gst_palme_caption_worker_submit (worker, &job));
    }
    fail_unless (job.model == NULL);
    fail_unless_equals_int (caption_journal ("close"), way);
    caption_release ();
    caption_wait_journal ("close", way + 1);
    end ();
  }
}

GST_END_TEST;

GST_START_TEST (test_counters)
{
  GstPalmeCaptionStats stats;
  GstPalmeCaptionTimes times = { 4, 1, 2, 3, 0 };
  GstStructure *y;
  guint64 value;
  gdouble rate;
  guint i;

  gst_palme_caption_stats_reset (&stats, 100 * G_USEC_PER_SEC);
  for (i = 1; i <= 1000; i++) {
    times.latency = i;
    gst_palme_caption_stats_caption (&stats, &times, 3,
        (100 + i / 10) * (gint64) G_USEC_PER_SEC);
  }
  y = gst_palme_caption_stats_describe (&stats, 200 * (gint64) G_USEC_PER_SEC);
  gst_structure_get_uint64 (y, "captions", &value);
  fail_unless_equals_uint64 (value, 1000);
  gst_structure_get_uint64 (y, "tokens", &value);
  fail_unless_equals_uint64 (value, 3000);
  gst_structure_get_uint64 (y, "latency-mean", &value);
  fail_unless_equals_uint64 (value, 500);
  gst_structure_get_uint64 (y, "latency-max", &value);
  fail_unless_equals_uint64 (value, 1000);
  /* Of the newest 256, 745 to 1000, 99 in 100 are at most the 254th. */
  gst_structure_get_uint64 (y, "latency-p99", &value);
  fail_unless_equals_uint64 (value, 998);
  gst_structure_get_uint64 (y, "decode-mean", &value);
  fail_unless_equals_uint64 (value, 3);
  gst_structure_get_uint64 (y, "resize-p99", &value);
  fail_unless_equals_uint64 (value, 4);
  gst_structure_get_uint64 (y, "queue-p99", &value);
  fail_unless_equals_uint64 (value, 1);
  /* Ten a second from second 171 on, one in second 200. */
  gst_structure_get_double (y, "captions-per-second", &rate);
  fail_unless_equals_float (rate, (29 * 10 + 1) / 30.0);
  gst_structure_free (y);
  /* Long after that nothing is left of the rate. */
  y = gst_palme_caption_stats_describe (&stats, 900 * (gint64) G_USEC_PER_SEC);
  gst_structure_get_double (y, "captions-per-second", &rate);
  fail_unless_equals_float (rate, 0);
  gst_structure_free (y);
}

GST_END_TEST;

/* What is said of a model comes from its file, and so does what is said of a file that is none: both may
 * hold anything. */
GST_START_TEST (test_hostile_names)
{
  GstElement *element = caption_element (NULL, NULL);
  GstPalmeModel *hostile;
  GstStructure *info;
  gchar *text;

  hostile = gst_palme_model_open (element, gst_palme_caption_debug,
      caption_model ("name=ti\x1b[31mny\u202e\u00ad\U000e0041\n"), 1, "auto",
      GST_MESSAGE_ERROR);
  fail_unless (hostile != NULL);
  fail_unless_equals_string (gst_palme_model_get_name (hostile), "ti[31mny");
  info = gst_palme_model_describe (hostile);
  fail_unless_equals_string (gst_structure_get_string (info, "name"),
      "ti[31mny");
  gst_structure_free (info);
  gst_palme_model_cache_close (&hostile);

  fail_if (gst_palme_model_open (element, gst_palme_caption_debug,
          "/nowhere/a\x1b]0;b\u2066", 1, "auto", GST_MESSAGE_ERROR) != NULL);
  text =
      caption_expect_issue (element, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NOT_FOUND);
  fail_unless (strstr (text, "/nowhere/a]0;b") != NULL, text);
  fail_if (strchr (text, '\x1b') != NULL || strstr (text, "\u2066") != NULL);
  g_free (text);
  caption_element_end (element);
}

GST_END_TEST;

static Suite *
worker_suite (void)
{
  Suite *suite = suite_create ("worker");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_slot);
  tcase_add_test (tcase, test_pictures);
  tcase_add_test (tcase, test_abort_pictures);
  tcase_add_test (tcase, test_turns);
  tcase_add_test (tcase, test_turns_end);
  tcase_add_test (tcase, test_abort_between);
  tcase_add_test (tcase, test_flushing);
  tcase_add_test (tcase, test_wake);
  tcase_add_test (tcase, test_model_change);
  tcase_add_test (tcase, test_model_discarded);
  tcase_add_test (tcase, test_counters);
  tcase_add_test (tcase, test_hostile_names);
  return suite;
}

GST_CHECK_MAIN (worker);
