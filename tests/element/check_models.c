/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_models.c - the model cache and the batcher, over the stand-in engine: who joins whom, who waits
 * for whom, when a model is closed, and captions that share passes.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "support/captionhost.h"
#include "gstpalmelog.h"
#include "gstpalmemodelcache.h"

/* A caption of so many pieces that only the stop question ends it. */
#define ENDLESS "piece=1\nnext_ms=20\njournal=@/journal\ntext="

static GstPalmeModel *
must_open (const gchar * path, const struct palme_setup *setup)
{
  GstPalmeModel *model;

  fail_unless_equals_int (gst_palme_model_cache_open (&model, path, setup),
      PALME_OK);
  fail_unless (model != NULL && gst_palme_model_get_engine (model) != NULL);
  return model;
}

GST_START_TEST (test_join)
{
  const gchar *path = caption_model ("journal=@/journal\n");
  struct palme_setup setup = {.threads = 2,.precision = "f32" };
  GstPalmeModel *a = must_open (path, &setup), *b = must_open (path, &setup);
  GstPalmeModel *none = NULL;

  fail_unless (a == b);
  fail_unless_equals_int (gst_palme_model_get_users (a), 2);
  fail_unless_equals_int (caption_journal ("open"), 1);
  gst_palme_model_cache_close (&a);
  fail_unless (a == NULL);
  fail_unless_equals_int (gst_palme_model_get_users (b), 1);
  fail_unless_equals_int (caption_journal ("close"), 0);
  gst_palme_model_cache_close (&b);
  fail_unless_equals_int (caption_journal ("close"), 1);
  /* Nothing is kept for who comes later. */
  a = must_open (path, &setup);
  fail_unless_equals_int (caption_journal ("open"), 2);
  gst_palme_model_cache_close (&a);
  gst_palme_model_cache_close (&none);
  gst_palme_model_cache_close (NULL);
}

GST_END_TEST;

/* A reference keeps the model without its users, but nobody joins it any more. */
GST_START_TEST (test_counted)
{
  const gchar *path = caption_model ("name=counted\njournal=@/journal\n");
  struct palme_setup setup = { 0 };
  GstPalmeModel *a = must_open (path, &setup), *b, *kept;

  kept = gst_palme_model_ref (a);
  fail_unless_equals_int (gst_palme_model_get_users (kept), 1);
  gst_palme_model_cache_close (&a);
  fail_unless_equals_int (gst_palme_model_get_users (kept), 0);
  fail_unless_equals_int (caption_journal ("close"), 0);
  fail_unless_equals_string (gst_palme_model_get_name (kept), "counted");
  fail_unless_equals_int (gst_palme_model_get_info (kept)->image_size, 32);
  b = must_open (path, &setup);
  fail_unless (b != kept);
  gst_palme_model_unref (kept);
  fail_unless_equals_int (caption_journal ("close"), 1);
  gst_palme_model_cache_close (&b);
  fail_unless_equals_int (caption_journal ("close"), 2);
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
  GstPalmeModel *model[G_N_ELEMENTS (setups)], *newer, *link;
  gchar *moved, *other;
  guint i, j;

  for (i = 0; i < G_N_ELEMENTS (setups); i++) {
    model[i] = must_open (path, &setups[i]);
    for (j = 0; j < i; j++)
      fail_unless (model[i] != model[j], "%u joined %u", i, j);
  }

  /* Another name of the same file is the same; a file in the place of the old one is not. */
  other = g_strconcat (path, ".link", NULL);
  fail_unless (symlink (path, other) == 0);
  link = must_open (other, &setups[0]);
  fail_unless (link == model[0]);
  gst_palme_model_cache_close (&link);
  g_unlink (other);
  moved = g_strdup (caption_model ("name=new\n"));
  fail_unless (g_rename (moved, path) == 0);
  newer = must_open (path, &setups[0]);
  fail_unless (newer != model[0]);
  fail_unless_equals_string (gst_palme_model_get_name (newer), "new");
  fail_unless_equals_string (gst_palme_model_get_name (model[0]), "old");

  gst_palme_model_cache_close (&newer);
  for (i = 0; i < G_N_ELEMENTS (setups); i++)
    gst_palme_model_cache_close (&model[i]);
  g_free (moved);
  g_free (other);
}

GST_END_TEST;

static GstDebugCategory *category;

/* ---- Those who come at once ------------------------------------------------------------------ */

typedef struct
{
  const gchar *path;
  gint status;
  GstPalmeModel *model;
  GstPalmeLog log;
} Comer;

static gpointer
come (gpointer data)
{
  Comer *comer = data;
  const struct palme_setup setup = {.log = gst_palme_log_engine,.log_user =
        &comer->log
  };

  gst_palme_log_init (&comer->log, NULL, category);
  comer->status =
      gst_palme_model_cache_open (&comer->model, comer->path, &setup);
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
  fail_unless_equals_int (gst_palme_model_get_users (comers[0].model), 8);
  for (i = 0; i < 8; i++) {
    fail_unless_equals_int (comers[i].status, PALME_OK);
    fail_unless (comers[i].model == comers[0].model);
  }
  for (i = 0; i < 8; i++)
    gst_palme_model_cache_close (&comers[i].model);
  fail_unless_equals_int (caption_journal ("close"), 1);
}

GST_END_TEST;

/* Everybody learns why from the engine itself, and a failure is not remembered. */
GST_START_TEST (test_failures)
{
  const struct palme_setup setup = { 0 };
  const gchar *path =
      caption_model ("open_ms=20\nopen_status=-6\nmessage=torn\n");
  GstPalmeModel *model;
  Comer comers[4];
  guint i;

  come_at_once (comers, 4, path);
  for (i = 0; i < 4; i++) {
    fail_unless_equals_int (comers[i].status, PALME_ERROR_FORMAT);
    fail_unless (comers[i].model == NULL);
    fail_unless_equals_string (comers[i].log.last, "torn");
  }
  fail_unless (g_file_set_contents (path, "standin\n", -1, NULL));
  model = must_open (path, &setup);
  gst_palme_model_cache_close (&model);
  come_at_once (comers, 1, "/nowhere/at/all");
  fail_unless_equals_int (comers[0].status, PALME_ERROR_NOT_FOUND);
  fail_unless (strstr (comers[0].log.last, "/nowhere/at/all") != NULL);
}

GST_END_TEST;

/* ---- Captions that are made together --------------------------------------------------------- */

typedef struct
{
  GstPalmeModel *model;
  palme_session *session;
  GThread *thread;
  GString *raw;
  gsize most;
  gint64 deadline;
  gint stop, status;
} Generator;

static int
asks (void *user)
{
  return g_atomic_int_get (&((Generator *) user)->stop);
}

static gpointer
generate (gpointer data)
{
  Generator *generator = data;

  generator->status = gst_palme_batcher_generate (gst_palme_model_get_batcher
      (generator->model), generator->session,
      generator->raw, generator->most, generator->deadline, NULL, NULL);
  return NULL;
}

static void
generator_begin (Generator * generator, GstPalmeModel * model, gsize most,
    gint64 deadline)
{
  static const guint8 pixels[3];
  const struct palme_image image = {.width = 1,.height = 1,.planes = {pixels},
  .strides = {3}
  };
  const struct palme_options options = {.cancel = asks,.cancel_user = generator
  };

  memset (generator, 0, sizeof *generator);
  generator->model = model;
  generator->most = most;
  generator->deadline = deadline;
  generator->raw = g_string_new (NULL);
  fail_unless (palme_session_open (&generator->session,
          gst_palme_model_get_engine (model), &options) == PALME_OK);
  fail_unless (palme_look (generator->session, &image) == PALME_OK);
  generator->thread = g_thread_new ("generate", generate, generator);
}

/* Waits until the caption is over. */
static gint
generator_join (Generator * generator)
{
  if (generator->thread != NULL)
    g_thread_join (generator->thread);
  generator->thread = NULL;
  return generator->status;
}

static gint
generator_end (Generator * generator)
{
  generator_join (generator);
  palme_session_close (&generator->session);
  g_string_free (generator->raw, TRUE);
  return generator->status;
}

static GstPalmeModel *
endless (void)
{
  const struct palme_setup setup = { 0 };
  gchar *words = g_strnfill (8000, 'a');
  gchar *lines = g_strconcat (ENDLESS, words, "\n", NULL);
  GstPalmeModel *model = must_open (caption_model (lines), &setup);

  g_free (words);
  g_free (lines);
  return model;
}

/* Who comes later is taken along, and when the leader leaves another one leads. */
GST_START_TEST (test_together)
{
  GstPalmeModel *model = endless ();
  Generator generator[3];
  guint before, i;

  for (i = 0; i < 3; i++)
    generator_begin (&generator[i], model, 2, G_MAXINT64);
  caption_wait_journal ("together 3", 3);
  before = caption_journal ("together 2");
  g_atomic_int_set (&generator[0].stop, TRUE);
  /* Joined while the two others go on: nobody waits for them. */
  fail_unless_equals_int (generator_join (&generator[0]),
      PALME_ERROR_CANCELLED);
  /* It had three pieces or more, and room for two. */
  fail_unless_equals_string (generator[0].raw->str, "aa");
  caption_wait_journal ("together 2", before + 3);
  for (i = 1; i < 3; i++)
    g_atomic_int_set (&generator[i].stop, TRUE);
  for (i = 0; i < 3; i++)
    fail_unless_equals_int (generator_end (&generator[i]),
        PALME_ERROR_CANCELLED);
  gst_palme_model_cache_close (&model);
}

GST_END_TEST;

/* More than fit into a pass take turns; each gets its own words to the end. */
GST_START_TEST (test_many)
{
  const struct palme_setup setup = { 0 };
  GstPalmeModel *model =
      must_open (caption_model
      ("text=frame {n} has many more words than one\nnext_ms=2\n"), &setup);
  Generator generator[40];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (generator); i++)
    generator_begin (&generator[i], model, 1000, G_MAXINT64);
  for (i = 0; i < G_N_ELEMENTS (generator); i++) {
    gchar *wanted =
        g_strdup_printf ("frame %u has many more words than one", i);

    generator_join (&generator[i]);
    fail_unless_equals_string (generator[i].raw->str, wanted);
    g_free (wanted);
    fail_unless_equals_int (generator_end (&generator[i]), PALME_OK);
  }
  gst_palme_model_cache_close (&model);
}

GST_END_TEST;

/* A caption ends at its deadline with what there is, an error reaches who made it, and neither
 * concerns the others. */
GST_START_TEST (test_ends)
{
  GstPalmeModel *model = endless ();
  struct palme_setup setup = { 0 };
  GstPalmeModel *failing =
      must_open (caption_model ("fail_next=1\nfail_status=-9\n"), &setup);
  Generator patient, hasty, failed;

  generator_begin (&patient, model, 1000, G_MAXINT64);
  generator_begin (&hasty, model, 1000, g_get_monotonic_time ());
  fail_unless_equals_int (generator_join (&hasty), PALME_OK);
  fail_unless_equals_string (hasty.raw->str, "a");
  generator_end (&hasty);
  generator_begin (&failed, failing, 1000, G_MAXINT64);
  fail_unless_equals_int (generator_end (&failed), PALME_ERROR_CONTEXT);
  g_atomic_int_set (&patient.stop, TRUE);
  fail_unless_equals_int (generator_end (&patient), PALME_ERROR_CANCELLED);
  gst_palme_model_cache_close (&failing);
  gst_palme_model_cache_close (&model);
}

GST_END_TEST;

static Suite *
models_suite (void)
{
  Suite *suite = suite_create ("models");
  TCase *tcase = tcase_create ("all");

  category = _gst_debug_category_new ("models", 0, "");
  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, caption_setup, caption_teardown);
  tcase_add_test (tcase, test_join);
  tcase_add_test (tcase, test_counted);
  tcase_add_test (tcase, test_apart);
  tcase_add_test (tcase, test_one_load);
  tcase_add_test (tcase, test_failures);
  tcase_add_test (tcase, test_together);
  tcase_add_test (tcase, test_many);
  tcase_add_test (tcase, test_ends);
  return suite;
}

GST_CHECK_MAIN (models);
