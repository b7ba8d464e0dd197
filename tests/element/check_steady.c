/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_steady.c - which captions replace the shown one: a table of streams of captions.
 */
#include <gst/check/gstcheck.h>

#include "gstpalmecaption-steady.h"

#define NONE GST_CLOCK_TIME_NONE

typedef struct
{
  const gchar *text;            /* NULL: the end */
  gdouble score, shown_score;   /* the latter 1: not compared */
  gboolean replace;
  gint64 now;                   /* seconds; -1: NONE */
  const gchar *wanted;          /* what is shown then */
  gboolean waiting;
} Step;

typedef struct
{
  const gchar *what;
  gdouble margin;
  guint hold;                   /* seconds */
  Step steps[8];
} Stream;

static const Stream streams[] = {
  {"off: each caption replaces the last", 0.0, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
              {"b", -0.9, 1, FALSE, 1, "b", FALSE},
          {"", -1.0, 1, FALSE, 2, "", FALSE}}},
  {"margin: better by more than that", 0.25, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
              {"b", -0.5, -0.75, FALSE, 1, "a", TRUE},
          {"c", -0.5, -0.7500001, FALSE, 2, "c", FALSE}}},
  {"margin: in turn they never come twice", 0.25, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
              {"b", -0.5, -0.6, FALSE, 1, "a", TRUE},
              {"a", -0.5, 1, FALSE, 2, "a", FALSE},
              {"b", -0.5, -0.6, FALSE, 3, "a", TRUE},
              {"c", -0.5, -0.6, FALSE, 4, "a", TRUE},
          {"b", -0.5, -0.6, FALSE, 5, "a", TRUE}}},
  {"margin: twice in a row", 0.25, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
              {"b", -0.5, -0.5, FALSE, 1, "a", TRUE},
          {"b", -0.5, -0.4, FALSE, 2, "b", FALSE}}},
  {"margin: nothing to compare with", 0.25, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
              {"b", -0.1, 1, FALSE, 1, "a", TRUE},
          {"b", -0.1, 1, FALSE, 2, "b", FALSE}}},
  {"margin: after a cut in any case", 0.25, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
          {"b", -0.9, -0.1, TRUE, 1, "b", FALSE}}},
  {"margin: silence is a text like others", 0.25, 0, {
              {"a", -0.5, 1, FALSE, 0, "a", FALSE},
              {"", -1.0, -0.9, FALSE, 1, "a", TRUE},
              {"a", -0.9, 1, FALSE, 2, "a", FALSE},
              {"", -1.0, -1.5, FALSE, 3, "", FALSE},
              {"a", -0.9, -1.0, FALSE, 4, "", TRUE},
          {"a", -0.9, -1.0, FALSE, 5, "a", FALSE}}},
  {"hold: for so long", 0.0, 2, {
              {"a", -0.5, 1, FALSE, 10, "a", FALSE},
              {"b", -0.5, 1, FALSE, 11, "a", TRUE},
              {"b", -0.5, 1, FALSE, 12, "b", FALSE},
              {"c", -0.5, 1, FALSE, 13, "b", TRUE},
              {"d", -0.5, 1, TRUE, 13, "d", FALSE},
              {"e", -0.5, 1, FALSE, 14, "d", TRUE},
          {"e", -0.5, 1, FALSE, 15, "e", FALSE}}},
  {"hold: a better one waits as well", 0.25, 2, {
              {"a", -0.9, 1, FALSE, 10, "a", FALSE},
              {"b", -0.1, -0.9, FALSE, 11, "a", TRUE},
          {"c", -0.1, -0.9, FALSE, 12, "c", FALSE}}},
  {"hold: a jump back ends it, and so does a time that is unknown", 0.0, 2, {
              {"a", -0.5, 1, FALSE, 100, "a", FALSE},
              {"b", -0.5, 1, FALSE, 1, "b", FALSE},
              {"c", -0.5, 1, FALSE, -1, "c", FALSE},
              {"d", -0.5, 1, FALSE, 2, "d", FALSE},
          {"e", -0.5, 1, FALSE, 3, "d", TRUE}}},
};

GST_START_TEST (test_streams)
{
  const Stream *stream = &streams[__i__];
  GstPalmeCaptionSteady steady = { NULL, 0 };
  const gchar *shown = NULL;
  const Step *step;

  for (step = stream->steps; step->text; step++) {
    GstPalmeCaptionNews news = {
      .text = step->text,.score = step->score,.shown = shown,
      .compared = step->shown_score < 1,.shown_score = step->shown_score,
      .replace = step->replace,.now = step->now < 0 ? NONE :
          (GstClockTime) step->now * GST_SECOND,
      .margin = stream->margin,.hold = stream->hold * GST_SECOND
    };

    if (gst_palme_caption_steady_take (&steady, &news))
      shown = step->text;
    fail_unless_equals_string (shown, step->wanted);
    fail_unless (gst_palme_caption_steady_is_waiting (&steady) == step->waiting,
        "%s: step %d", stream->what, (gint) (step - stream->steps));
  }
  gst_palme_caption_steady_reset (&steady);
  fail_if (gst_palme_caption_steady_is_waiting (&steady));
}

GST_END_TEST;

static Suite *
steady_suite (void)
{
  Suite *suite = suite_create ("steady");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_streams, 0, G_N_ELEMENTS (streams));
  return suite;
}

GST_CHECK_MAIN (steady);
