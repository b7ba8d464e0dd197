/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_shared.c - models that elements share, over the stand-in engine: who joins whom, who waits
 * for whom, and captions that are told together.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "captionhost.h"
#include "gstpalmeshared.h"

/* A caption of so many pieces that only the cancel callback ends it. */
#define ENDLESS "piece=1\nnext_ms=1\njournal=@/journal\ntext="

static GstPalmeShared *
must_open (const gchar * path, const struct palme_setup *setup)
{
  GstPalmeShared *shared;

  fail_unless_equals_int (gst_palme_shared_open (&shared, path, setup),
      PALME_OK);
  fail_unless (shared != NULL && gst_palme_shared_model (shared) != NULL);
  return shared;
}

GST_START_TEST (test_join)
{
  const gchar *path = caption_model ("journal=@/journal\n");
  struct palme_setup setup = {.threads = 2,.precision = "f32" };
  GstPalmeShared *a = must_open (path, &setup), *b = must_open (path, &setup);
  GstPalmeShared *none = NULL;

  fail_unless (a == b);
  fail_unless_equals_int (gst_palme_shared_users (a), 2);
  fail_unless_equals_int (caption_journal ("open"), 1);
  gst_palme_shared_close (&a);
  fail_unless (a == NULL);
  fail_unless_equals_int (gst_palme_shared_users (b), 1);
  fail_unless_equals_int (caption_journal ("close"), 0);
  gst_palme_shared_close (&b);
  fail_unless_equals_int (caption_journal ("close"), 1);
  /* Nothing is kept for who comes later. */
  a = must_open (path, &setup);
  fail_unless_equals_int (caption_journal ("open"), 2);
  gst_palme_shared_close (&a);
  gst_palme_shared_close (&none);
  gst_palme_shared_close (NULL);
}

GST_END_TEST;

GST_START_TEST (test_apart)
{
  const gchar *path = caption_model ("name=old\n");
  const struct palme_setup setups[] = {
    {.threads = 1},
    {.threads = 2},
    {.threads = 1,.precision = "f32"},
    {.threads = 1,.precision = "int8"},
    {.threads = 1,.level = "c"},
    {.threads = 1,.verify = 1},
  };
  GstPalmeShared *shared[G_N_ELEMENTS (setups)], *newer, *link;
  struct palme_info info;
  gchar *moved, *other;
  guint i, j;

  for (i = 0; i < G_N_ELEMENTS (setups); i++) {
    shared[i] = must_open (path, &setups[i]);
    for (j = 0; j < i; j++)
      fail_unless (shared[i] != shared[j], "%u joined %u", i, j);
  }

  /* Another name of the same file is the same; a file in the place of the old one is not. */
  other = g_strconcat (path, ".link", NULL);
  fail_unless (symlink (path, other) == 0);
  link = must_open (other, &setups[0]);
  fail_unless (link == shared[0]);
  gst_palme_shared_close (&link);
  g_unlink (other);
  moved = g_strdup (caption_model ("name=new\n"));
  fail_unless (g_rename (moved, path) == 0);
  newer = must_open (path, &setups[0]);
  fail_unless (newer != shared[0]);
  palme_model_info (gst_palme_shared_model (newer), &info);
  fail_unless_equals_string (info.name, "new");
  palme_model_info (gst_palme_shared_model (shared[0]), &info);
  fail_unless_equals_string (info.name, "old");

  gst_palme_shared_close (&newer);
  for (i = 0; i < G_N_ELEMENTS (setups); i++)
    gst_palme_shared_close (&shared[i]);
  g_free (moved);
  g_free (other);
}

GST_END_TEST;

/* ---- Those who come at once ------------------------------------------------------------------ */

typedef struct
{
  const gchar *path;
  gint status;
  GstPalmeShared *shared;
  gchar said[256];
} Comer;

static void
hear (void *user, enum palme_log_level level, const char *message)
{
  (void) level;
  g_strlcpy (user, message, sizeof ((Comer *) NULL)->said);
}

static gpointer
come (gpointer data)
{
  Comer *comer = data;
  const struct palme_setup setup = {.log = hear,.log_user = comer->said };

  comer->status = gst_palme_shared_open (&comer->shared, comer->path, &setup);
  return NULL;
}

static void
come_at_once (Comer * comers, guint count, const gchar * path)
{
  GThread *threads[8];
  guint i;

  memset (comers, 0, count * sizeof *comers);
  for (i = 0; i < count; i++) {
    comers[i].path = path;
    threads[i] = g_thread_new ("come", come, &comers[i]);
  }
  for (i = 0; i < count; i++)
    g_thread_join (threads[i]);
}

GST_START_TEST (test_one_load)
{
  Comer comers[8];
  guint i;

  come_at_once (comers, 8, caption_model ("open_ms=50\njournal=@/journal\n"));
  fail_unless_equals_int (caption_journal ("open"), 1);
  fail_unless_equals_int (gst_palme_shared_users (comers[0].shared), 8);
  for (i = 0; i < 8; i++) {
    fail_unless_equals_int (comers[i].status, PALME_OK);
    fail_unless (comers[i].shared == comers[0].shared);
  }
  for (i = 0; i < 8; i++)
    gst_palme_shared_close (&comers[i].shared);
  fail_unless_equals_int (caption_journal ("close"), 1);
}

GST_END_TEST;

/* Everybody learns why from the engine itself, and a failure is not remembered. */
GST_START_TEST (test_failures)
{
  const struct palme_setup setup = { 0 };
  const gchar *path =
      caption_model ("open_ms=20\nopen_status=-6\nmessage=torn\n");
  GstPalmeShared *shared;
  Comer comers[4];
  guint i;

  come_at_once (comers, 4, path);
  for (i = 0; i < 4; i++) {
    fail_unless_equals_int (comers[i].status, PALME_ERROR_FORMAT);
    fail_unless (comers[i].shared == NULL);
    fail_unless_equals_string (comers[i].said, "torn");
  }
  fail_unless (g_file_set_contents (path, "standin\n", -1, NULL));
  shared = must_open (path, &setup);
  gst_palme_shared_close (&shared);
  come_at_once (comers, 1, "/nowhere/at/all");
  fail_unless_equals_int (comers[0].status, PALME_ERROR_NOT_FOUND);
  fail_unless (strstr (comers[0].said, "/nowhere/at/all") != NULL);
}

GST_END_TEST;

/* ---- Captions that are told together --------------------------------------------------------- */

typedef struct
{
  GstPalmeShared *shared;
  palme_session *session;
  GThread *thread;
  GString *raw;
  gsize most;
  gint64 deadline;
  gint stop, status;
} Teller;

static int
asks (void *user)
{
  return g_atomic_int_get (&((Teller *) user)->stop);
}

static gpointer
tell (gpointer data)
{
  Teller *teller = data;

  teller->status = gst_palme_shared_tell (teller->shared, teller->session,
      teller->raw, teller->most, teller->deadline);
  return NULL;
}

static void
teller_begin (Teller * teller, GstPalmeShared * shared, gsize most,
    gint64 deadline)
{
  static const guint8 pixels[3];
  const struct palme_image image = {.width = 1,.height = 1,.planes = {pixels},
    .strides = {3}
  };
  const struct palme_options options = {.cancel = asks,.cancel_user = teller };

  memset (teller, 0, sizeof *teller);
  teller->shared = shared;
  teller->most = most;
  teller->deadline = deadline;
  teller->raw = g_string_new (NULL);
  fail_unless (palme_session_open (&teller->session,
          gst_palme_shared_model (shared), &options) == PALME_OK);
  fail_unless (palme_look (teller->session, &image) == PALME_OK);
  teller->thread = g_thread_new ("tell", tell, teller);
}

/* Waits until the caption is over. */
static gint
teller_join (Teller * teller)
{
  if (teller->thread != NULL)
    g_thread_join (teller->thread);
  teller->thread = NULL;
  return teller->status;
}

static gint
teller_end (Teller * teller)
{
  teller_join (teller);
  palme_session_close (&teller->session);
  g_string_free (teller->raw, TRUE);
  return teller->status;
}

static GstPalmeShared *
endless (void)
{
  const struct palme_setup setup = { 0 };
  gchar *words = g_strnfill (8000, 'a');
  gchar *lines = g_strconcat (ENDLESS, words, "\n", NULL);
  GstPalmeShared *shared = must_open (caption_model (lines), &setup);

  g_free (words);
  g_free (lines);
  return shared;
}

/* Who comes later is taken along, and when the leader leaves another one leads. */
GST_START_TEST (test_together)
{
  GstPalmeShared *shared = endless ();
  Teller teller[3];
  guint before, i;

  for (i = 0; i < 3; i++)
    teller_begin (&teller[i], shared, 2, G_MAXINT64);
  caption_wait_journal ("together 3", 3);
  before = caption_journal ("together 2");
  g_atomic_int_set (&teller[0].stop, TRUE);
  /* Joined while the two others go on: nobody waits for them. */
  fail_unless_equals_int (teller_join (&teller[0]), PALME_ERROR_CANCELLED);
  /* It had three pieces or more, and room for two. */
  fail_unless_equals_string (teller[0].raw->str, "aa");
  caption_wait_journal ("together 2", before + 3);
  for (i = 1; i < 3; i++)
    g_atomic_int_set (&teller[i].stop, TRUE);
  for (i = 0; i < 3; i++)
    fail_unless_equals_int (teller_end (&teller[i]), PALME_ERROR_CANCELLED);
  gst_palme_shared_close (&shared);
}

GST_END_TEST;

/* More than fit into a pass take turns; each gets its own words to the end. */
GST_START_TEST (test_many)
{
  const struct palme_setup setup = { 0 };
  GstPalmeShared *shared =
      must_open (caption_model
      ("text=frame {n} has many more words than one\nnext_ms=2\n"), &setup);
  Teller teller[40];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (teller); i++)
    teller_begin (&teller[i], shared, 1000, G_MAXINT64);
  for (i = 0; i < G_N_ELEMENTS (teller); i++) {
    gchar *wanted = g_strdup_printf ("frame %u has many more words than one", i);

    teller_join (&teller[i]);
    fail_unless_equals_string (teller[i].raw->str, wanted);
    g_free (wanted);
    fail_unless_equals_int (teller_end (&teller[i]), PALME_OK);
  }
  gst_palme_shared_close (&shared);
}

GST_END_TEST;

/* A caption ends at its deadline with what there is, an error reaches who made it, and neither
 * concerns the others. */
GST_START_TEST (test_ends)
{
  GstPalmeShared *shared = endless ();
  struct palme_setup setup = { 0 };
  GstPalmeShared *failing =
      must_open (caption_model ("fail_next=1\nfail_status=-9\n"), &setup);
  Teller patient, hasty, failed;

  teller_begin (&patient, shared, 1000, G_MAXINT64);
  teller_begin (&hasty, shared, 1000, g_get_monotonic_time ());
  fail_unless_equals_int (teller_join (&hasty), PALME_OK);
  fail_unless_equals_string (hasty.raw->str, "a");
  teller_end (&hasty);
  teller_begin (&failed, failing, 1000, G_MAXINT64);
  fail_unless_equals_int (teller_end (&failed), PALME_ERROR_CONTEXT);
  g_atomic_int_set (&patient.stop, TRUE);
  fail_unless_equals_int (teller_end (&patient), PALME_ERROR_CANCELLED);
  gst_palme_shared_close (&failing);
  gst_palme_shared_close (&shared);
}

GST_END_TEST;

static Suite *
shared_suite (void)
{
  Suite *suite = suite_create ("shared");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_join);
  tcase_add_test (tcase, test_apart);
  tcase_add_test (tcase, test_one_load);
  tcase_add_test (tcase, test_failures);
  tcase_add_test (tcase, test_together);
  tcase_add_test (tcase, test_many);
  tcase_add_test (tcase, test_ends);
  return suite;
}

GST_CHECK_MAIN (shared);
