/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_sanitize.c - the two parts of the element that need no pipeline: text that is fit to be
 * shown, and the grid that says which frame is due.
 */
#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstpalmesanitize.h"
#include "gstpalmeschedule.h"

static void
expect (const gchar * text, gssize size, const gchar * wanted)
{
  gchar *clean = gst_palme_sanitize (text, size < 0 ? strlen (text) : (gsize) size);

  fail_unless_equals_string (clean, wanted);
  g_free (clean);
}

GST_START_TEST (test_table)
{
  const struct
  {
    const gchar *text, *wanted;
  } cases[] = {
    {"", ""},
    {"a dog", "a dog"},
    {"  a \t\n\r\v\f dog  ", "a dog"},
    {"a\xc2\x85" "b", "a b"},   /* NEL */
    {"a\xe2\x80\xa8" "b\xe2\x80\xa9" "c", "a b c"},     /* line, paragraph */
    {"\xef\xbb\xbf" "a", "a"},  /* BOM */
    {"a\x1b[31mb\x07\x7f", "a[31mb"},
    {"a\xc2\x9b" "31mb", "a31mb"},      /* C1 control sequence introducer */
    {"a\xe2\x80\xae" "b\xe2\x80\xac" "c", "abc"},       /* override and its end */
    {"a\xe2\x81\xa6" "b\xe2\x81\xa9" "c", "abc"},       /* isolate and its end */
    {"a\xe2\x80\x8b" "b\xe2\x80\x8d" "c\xe2\x81\xa0" "d", "abcd"},      /* zero width */
    {"a --> b", "a -> b"},
    {"a ------> b", "a -> b"},
    {"a -> b - > c", "a -> b - > c"},
    {"a -\xe2\x80\x8b->b", "a ->b"},
    {"a -\x01-\x02>b", "a ->b"},
    {"--", "--"},
    {"\n\n1\n00:00:00,000 --> 00:00:01,000\nforged",
        "1 00:00:00,000 -> 00:00:01,000 forged"},
    {"<b>&amp;\"'", "<b>&amp;\"'"},     /* markup is for the outputs to escape */
    {"caf\xc3\xa9 \xf0\x9f\x90\x95 \xe7\x8b\x97",
        "caf\xc3\xa9 \xf0\x9f\x90\x95 \xe7\x8b\x97"},
    {"a\xff" "b", "a\xef\xbf\xbd" "b"},
    {"a\xc3", "a\xef\xbf\xbd"},
    {"a\xed\xa0\x80" "b",
        "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "b"},   /* a surrogate */
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++)
    expect (cases[i].text, -1, cases[i].wanted);
  expect ("a\0b", 3, "ab");
}

GST_END_TEST;

GST_START_TEST (test_length)
{
  gchar *text = g_malloc (100000), *clean;

  memset (text, 'x', 100000);
  clean = gst_palme_sanitize (text, 100000);
  fail_unless_equals_int (strlen (clean), 512);
  g_free (clean);

  /* A space where the cut is leaves nothing at the end; characters count, not bytes. */
  text[511] = ' ';
  clean = gst_palme_sanitize (text, 100000);
  fail_unless_equals_int (strlen (clean), 511);
  g_free (clean);
  g_free (text);

  text = g_strnfill (600 * 2, ' ');
  for (guint i = 0; i < 600; i++)
    memcpy (text + 2 * i, "\xc3\xa9", 2);
  clean = gst_palme_sanitize (text, 1200);
  fail_unless_equals_int (strlen (clean), 1024);
  g_free (clean);
  g_free (text);
}

GST_END_TEST;

/* What holds for every result, on random bytes that favour the dangerous ones. */
GST_START_TEST (test_random)
{
  static const gchar *pieces[] = { "a", " ", "-", "-", ">", "\n", "\t", "\xff",
    "\xe2\x80\xa8", "\xe2\x80\xae", "\xe2\x80\x8b", "\xc2\x85", "\xc3", "\xe2",
    "\x1b", "<", "\xef\xbb\xbf", "\xf0\x9f\x90\x95", "\xe2\x81\xa9"
  };
  GRand *random = g_rand_new_with_seed (20240229);
  guint i, j;

  for (i = 0; i < 5000; i++) {
    GString *text = g_string_new (NULL);
    gint n = g_rand_int_range (random, 0, i % 100 == 0 ? 1500 : 40);
    gchar *clean, *again, *p;

    for (j = 0; j < (guint) n; j++)
      g_string_append (text,
          pieces[g_rand_int_range (random, 0, G_N_ELEMENTS (pieces))]);
    clean = gst_palme_sanitize (text->str, text->len);
    fail_unless (g_utf8_validate (clean, -1, NULL));
    fail_unless (g_utf8_strlen (clean, -1) <= 512);
    fail_unless (strstr (clean, "-->") == NULL);
    fail_unless (strstr (clean, "  ") == NULL);
    fail_if (g_str_has_prefix (clean, " ") || g_str_has_suffix (clean, " "));
    for (p = clean; *p; p = g_utf8_next_char (p)) {
      gunichar c = g_utf8_get_char (p);

      fail_if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfeff);
      fail_if ((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e)
          || (c >= 0x2060 && c <= 0x2069));
    }
    again = gst_palme_sanitize (clean, strlen (clean));
    fail_unless_equals_string (again, clean);
    g_free (again);
    g_free (clean);
    g_string_free (text, TRUE);
  }
  g_rand_free (random);
}

GST_END_TEST;

/* ---- The grid -------------------------------------------------------------------------------- */

/* Feeds times, in units; returns one character for each, '1' where a frame was due and taken. */
static gchar *
due (const GstClockTime * times, guint n, GstClockTime interval)
{
  GstPalmeSchedule schedule = { 0 };
  GString *y = g_string_new (NULL);
  guint i;

  for (i = 0; i < n; i++) {
    gboolean is = gst_palme_schedule_is_due (&schedule, times[i], interval);

    if (is)
      gst_palme_schedule_take (&schedule, times[i], interval);
    g_string_append_c (y, is ? '1' : '0');
  }
  return g_string_free (y, FALSE);
}

#define expect_due(interval, wanted, ...) G_STMT_START { \
  const GstClockTime t_[] = { __VA_ARGS__ }; \
  gchar *y_ = due (t_, G_N_ELEMENTS (t_), interval); \
  fail_unless_equals_string (y_, wanted); \
  g_free (y_); } G_STMT_END

GST_START_TEST (test_grid)
{
  const GstClockTime max = G_MAXUINT64 - 1, year = 365 * 86400 * GST_SECOND;

  expect_due (10, "100100", 0, 4, 8, 12, 16, 19);
  /* The grid does not drift: 12 was taken for 10, so 20 is due. */
  expect_due (10, "100101", 0, 4, 8, 12, 16, 20);
  expect_due (0, "11111", 0, 1, 1, 0, 5);
  /* The first frame is due wherever the stream begins. */
  expect_due (10, "100", 7777, 7778, 7786);
  /* A jump forward is one caption, not a burst. */
  expect_due (10, "10100", 0, 5, year, year + 1, year + 9);
  expect_due (10, "1011", 0, 5, year, year + 10);
  /* Small steps back and repeats are jitter. */
  expect_due (10, "1000000", 10, 9, 10, 10, 8, 12, 11);
  expect_due (10, "100", 10, 0, 5);
  /* A larger jump back starts anew. */
  expect_due (10, "11001", year, 0, 1, 9, 10);
  expect_due (10, "1101", 100, 89, 90, 99);
  /* Backwards all the time. */
  expect_due (10, "10000010000010", 100, 98, 96, 94, 92, 90, 88, 86, 84, 82,
      80, 78, 76, 74);
  /* Near the largest value. */
  expect_due (10, "1001", max - 10, max - 5, max - 1, max);
  expect_due (10, "100", max - 5, max - 1, max);
  expect_due (G_MAXUINT64, "10000", 0, 1, year, max, 5);
  expect_due (max, "10001", 0, 1, year, max - 1, max);
}

GST_END_TEST;

/* A frame that is due and cannot be taken leaves the next one due; a new interval counts at once. */
GST_START_TEST (test_grid_not_taken)
{
  GstPalmeSchedule schedule = { 0 };

  fail_unless (gst_palme_schedule_next (&schedule, 10) == GST_CLOCK_TIME_NONE);
  fail_unless (gst_palme_schedule_is_due (&schedule, 100, 10));
  fail_unless (gst_palme_schedule_is_due (&schedule, 101, 10));
  gst_palme_schedule_take (&schedule, 101, 10);
  fail_unless_equals_uint64 (gst_palme_schedule_next (&schedule, 10), 111);
  fail_if (gst_palme_schedule_is_due (&schedule, 105, 10));
  fail_unless (gst_palme_schedule_is_due (&schedule, 105, 4));
  fail_if (gst_palme_schedule_is_due (&schedule, 111, 20));
  /* Taken before it is due: the grid starts anew there. */
  gst_palme_schedule_take (&schedule, 105, 10);
  fail_unless_equals_uint64 (gst_palme_schedule_next (&schedule, 10), 115);
  gst_palme_schedule_reset (&schedule);
  fail_unless (gst_palme_schedule_is_due (&schedule, 106, 10));
}

GST_END_TEST;

static Suite *
sanitize_suite (void)
{
  Suite *suite = suite_create ("sanitize");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_table);
  tcase_add_test (tcase, test_length);
  tcase_add_test (tcase, test_random);
  tcase_add_test (tcase, test_grid);
  tcase_add_test (tcase, test_grid_not_taken);
  return suite;
}

GST_CHECK_MAIN (sanitize);
