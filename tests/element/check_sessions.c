/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_sessions.c - the sessions that the users of a model share, over the stand-in engine: how many there are,
 * who gets which, whose turn it is.
 */
#include "support/captionhost.h"
#include "gstpalmesessions.h"

#define MOST 2

static palme_model *model;
static GstPalmeSessions *sessions;
static const struct palme_options none;
static gint users[8];

static void
setup (void)
{
  caption_setup ();
  fail_unless_equals_int (palme_model_open (&model,
          caption_model ("beams=3\njournal=@/journal\n"), NULL), PALME_OK);
  sessions = gst_palme_sessions_new (model, MOST);
}

static void
teardown (void)
{
  gst_palme_sessions_free (sessions);
  palme_model_close (&model);
  caption_teardown ();
}

static void
join (guint from, guint to)
{
  for (; from <= to; from++)
    fail_unless_equals_int (gst_palme_sessions_join (sessions, &users[from],
            &none), PALME_OK);
}

static void
leave (guint from, guint to)
{
  for (; from <= to; from++)
    gst_palme_sessions_leave (sessions, &users[from]);
}

static GstPalmeTurn *
must_take (guint user, gint beams, palme_session ** session)
{
  struct palme_options options = {.beams = beams };
  GstPalmeTurn *turn;

  fail_unless_equals_int (gst_palme_sessions_take (sessions, &users[user], 0,
          &options, &turn, session), PALME_OK);
  fail_unless (turn != NULL && *session != NULL);
  return turn;
}

/* One for each user up to the limit, and none for nobody. */
GST_START_TEST (test_count)
{
  palme_session *session;
  GstPalmeTurn *turn;

  join (0, 0);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), 1);
  join (1, 4);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), MOST);
  fail_unless_equals_int (caption_journal ("session 3"), MOST);
  leave (2, 4);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), MOST);
  /* One that is in use goes when it is given back. */
  turn = must_take (0, 0, &session);
  leave (1, 1);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), 1);
  leave (0, 0);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), 1);
  gst_palme_sessions_give (sessions, turn);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), 0);
}

GST_END_TEST;

/* Everybody gets the one that they had last, if it is free; else the one that was used longest ago. */
GST_START_TEST (test_own)
{
  palme_session *of[2], *again;
  GstPalmeTurn *turn[2];
  guint i;

  join (0, 2);
  for (i = 0; i < 2; i++)
    turn[i] = must_take (i, 0, &of[i]);
  fail_unless (of[0] != of[1]);
  for (i = 0; i < 2; i++)
    gst_palme_sessions_give (sessions, turn[i]);
  for (i = 4; i-- > 0;) {
    gst_palme_sessions_give (sessions, must_take (i % 2, 0, &again));
    fail_unless (again == of[i % 2], "user %u has another one", i % 2);
  }
  /* Used last: that of 0. */
  gst_palme_sessions_give (sessions, must_take (2, 0, &again));
  fail_unless (again == of[1]);
  leave (0, 2);
}

GST_END_TEST;

/* It is opened anew for more beams, and does not become narrower. */
GST_START_TEST (test_wider)
{
  palme_session *session;

  join (0, 0);
  fail_unless_equals_int (caption_journal ("session"), 1);
  gst_palme_sessions_give (sessions, must_take (0, 5, &session));
  fail_unless_equals_int (caption_journal ("session 5"), 1);
  gst_palme_sessions_give (sessions, must_take (0, 1, &session));
  gst_palme_sessions_give (sessions, must_take (0, 5, &session));
  fail_unless_equals_int (caption_journal ("session"), 2);
  fail_unless_equals_int (gst_palme_sessions_count (sessions), 1);
  leave (0, 0);
}

GST_END_TEST;

typedef struct
{
  guint user;
  gint64 since;
  gint asked, stop, status;
  GThread *thread;
} Taker;

static GMutex order_lock;
static GString *order;

static gint
is_stopped (void *user)
{
  Taker *taker = user;

  g_atomic_int_inc (&taker->asked);
  return g_atomic_int_get (&taker->stop);
}

static gpointer
take (gpointer data)
{
  Taker *taker = data;
  const struct palme_options options = {.cancel = is_stopped,.cancel_user =
        taker
  };
  palme_session *session;
  GstPalmeTurn *turn;

  taker->status = gst_palme_sessions_take (sessions, &users[taker->user],
      taker->since, &options, &turn, &session);
  if (taker->status == PALME_OK) {
    g_mutex_lock (&order_lock);
    g_string_append_printf (order, "%d", (gint) taker->since);
    g_mutex_unlock (&order_lock);
    gst_palme_sessions_give (sessions, turn);
  } else {
    fail_unless (turn == NULL && session == NULL);
  }
  return NULL;
}

/* Returns once the thread waits, or has its turn. */
static void
taker_begin (Taker * taker, guint user, gint64 since)
{
  *taker = (Taker) {
  .user = user,.since = since};
  taker->thread = g_thread_new ("take", take, taker);
  while (g_atomic_int_get (&taker->asked) == 0)
    g_usleep (1000);
  gst_palme_sessions_wake (sessions);   /* it has the lock only after the other waits */
}

/* The oldest picture comes first, whoever came first. */
GST_START_TEST (test_fair)
{
  const gint64 since[] = { 3, 1, 4, 2, 5 };
  palme_session *session;
  GstPalmeTurn *turn[2];
  Taker taker[5];
  guint i;

  join (0, 6);
  order = g_string_new (NULL);
  for (i = 0; i < 2; i++)
    turn[i] = must_take (i, 0, &session);
  for (i = 0; i < 5; i++)
    taker_begin (&taker[i], i + 2, since[i]);
  /* With one session only, one after the other. */
  gst_palme_sessions_give (sessions, turn[0]);
  for (i = 0; i < 5; i++) {
    g_thread_join (taker[i].thread);
    fail_unless_equals_int (taker[i].status, PALME_OK);
  }
  fail_unless_equals_string (order->str, "12345");
  gst_palme_sessions_give (sessions, turn[1]);
  g_string_free (order, TRUE);
  leave (0, 6);
}

GST_END_TEST;

/* Who is not wanted any more stops waiting, and nobody else is concerned. */
GST_START_TEST (test_cancel)
{
  palme_session *session;
  GstPalmeTurn *turn[2];
  Taker taker[2];
  guint i;

  join (0, 3);
  order = g_string_new (NULL);
  for (i = 0; i < 2; i++)
    turn[i] = must_take (i, 0, &session);
  for (i = 0; i < 2; i++)
    taker_begin (&taker[i], i + 2, i);
  g_atomic_int_set (&taker[0].stop, TRUE);
  gst_palme_sessions_wake (sessions);
  g_thread_join (taker[0].thread);
  fail_unless_equals_int (taker[0].status, PALME_ERROR_CANCELLED);
  fail_unless_equals_string (order->str, "");
  gst_palme_sessions_give (sessions, turn[1]);
  g_thread_join (taker[1].thread);
  fail_unless_equals_int (taker[1].status, PALME_OK);
  gst_palme_sessions_give (sessions, turn[0]);
  g_string_free (order, TRUE);
  leave (0, 3);
}

GST_END_TEST;

/* A session that cannot be opened makes nobody a user, and takes nobody's place. */
GST_START_TEST (test_failure)
{
  palme_model *failing;
  GstPalmeSessions *others;

  fail_unless_equals_int (palme_model_open (&failing,
          caption_model ("session_status=-8\n"), NULL), PALME_OK);
  others = gst_palme_sessions_new (failing, MOST);
  fail_unless_equals_int (gst_palme_sessions_join (others, &users[0], &none),
      PALME_ERROR_MEMORY);
  fail_unless_equals_int (gst_palme_sessions_count (others), 0);
  gst_palme_sessions_free (others);
  palme_model_close (&failing);
}

GST_END_TEST;

static Suite *
sessions_suite (void)
{
  Suite *suite = suite_create ("sessions");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_count);
  tcase_add_test (tcase, test_own);
  tcase_add_test (tcase, test_wider);
  tcase_add_test (tcase, test_fair);
  tcase_add_test (tcase, test_cancel);
  tcase_add_test (tcase, test_failure);
  return suite;
}

GST_CHECK_MAIN (sessions);
