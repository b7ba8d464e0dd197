/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_decide.c - what becomes of a caption: shown or empty, changed or not, announced or not.
 */
#include <gst/check/gstcheck.h>
#include <math.h>

#include "gstpalmecaption-decide.h"

GST_START_TEST (test_table)
{
  const struct
  {
    gdouble min_score;
    gboolean only_on_change;
    const gchar *current, *text;
    gdouble score;
    const gchar *wanted;
    gboolean changed, announce;
  } cases[] = {
    /* The first one is a change, an equal one none; both are announced unless told otherwise. */
    {-INFINITY, FALSE, NULL, "a dog", -0.5, "a dog", TRUE, TRUE},
    {-INFINITY, FALSE, "a dog", "a dog", -0.5, "a dog", FALSE, TRUE},
    {-INFINITY, TRUE, "a dog", "a dog", -0.5, "a dog", FALSE, FALSE},
    {-INFINITY, TRUE, "a dog", "a cat", -0.5, "a cat", TRUE, TRUE},
    {-INFINITY, TRUE, NULL, "", -0.5, "", TRUE, TRUE},
    /* Below the limit, on it, above it. */
    {-1.0, FALSE, "a dog", "a cat", nextafter (-1.0, -2.0), "", TRUE, TRUE},
    {-1.0, FALSE, "a dog", "a cat", -1.0, "a cat", TRUE, TRUE},
    {-1.0, FALSE, "a dog", "a cat", nextafter (-1.0, 0.0), "a cat", TRUE, TRUE},
    /* What counts as a change is what is shown, not what the engine made. */
    {-1.0, TRUE, "a dog", "a dog", -2.0, "", TRUE, TRUE},
    {-1.0, TRUE, "", "a cat", -2.0, "", FALSE, FALSE},
    {-1.0, FALSE, "", "a cat", -2.0, "", FALSE, TRUE},
    /* No limit, and one that nothing passes. */
    {-INFINITY, FALSE, NULL, "a cat", -G_MAXDOUBLE, "a cat", TRUE, TRUE},
    {-INFINITY, FALSE, NULL, "a cat", -INFINITY, "a cat", TRUE, TRUE},
    {0.0, FALSE, "a dog", "a cat", -0.001, "", TRUE, TRUE},
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstPalmeCaptionPolicy policy = {.min_score = cases[i].min_score,
      .only_on_change = cases[i].only_on_change
    };
    GstPalmeCaptionDecision decision = gst_palme_caption_decide (&policy,
        cases[i].current, cases[i].text, cases[i].score);

    fail_unless (g_strcmp0 (decision.text, cases[i].wanted) == 0,
        "case %u shows \"%s\"", i, decision.text);
    fail_unless (decision.changed == cases[i].changed, "case %u", i);
    fail_unless (decision.announce == cases[i].announce, "case %u", i);
  }
}

GST_END_TEST;

/* A caption that was judged already is shown whatever its score is. */
GST_START_TEST (test_judged)
{
  GstPalmeCaptionPolicy policy = {.min_score = -1.0,.judged = TRUE };
  GstPalmeCaptionDecision decision =
      gst_palme_caption_decide (&policy, NULL, "a photo of a dog", -2.0);

  fail_unless_equals_string (decision.text, "a photo of a dog");
  decision = gst_palme_caption_decide (&policy, "a dog", "", -0.5);
  fail_unless_equals_string (decision.text, "");
  fail_unless (decision.changed && decision.announce);
}

GST_END_TEST;

static Suite *
decide_suite (void)
{
  Suite *suite = suite_create ("decide");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_table);
  tcase_add_test (tcase, test_judged);
  return suite;
}

GST_CHECK_MAIN (decide);
