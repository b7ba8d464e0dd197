/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_sanitize.c - the two parts of the element that need no pipeline: text that is fit to be
 * shown, and the grid that says which frame is due.
 */
#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstpalmesanitize.h"
#include "gstpalmecaption-schedule.h"
#include "gstpalmecaption-spread.h"

static void
expect (const gchar * text, gssize size, const gchar * wanted)
{
  gchar *clean =
      gst_palme_sanitize (text, size < 0 ? strlen (text) : (gsize) size);

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
    /* What is needed stays: Persian, Malayalam, Sinhala, a family, a heart, a keycap. */
    {"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"},
    {"\u0d28\u0d4d\u200d\u0d2e", "\u0d28\u0d4d\u200d\u0d2e"},
    {"\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0dc1\u0dca\u200d\u0dbb\u0dd3"},
    {"\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467"},
    {"\u2764\ufe0f\u200d\U0001f525 \u2764\ufe0e \u2764\ufe0f",
        "\u2764\ufe0f\u200d\U0001f525 \u2764\ufe0e \u2764\ufe0f"},
    {"\U0001f44b\U0001f3fd\u200d\u2640\ufe0f",
        "\U0001f44b\U0001f3fd\u200d\u2640\ufe0f"},
    {"1\ufe0f\u20e3", "1\ufe0f\u20e3"},
    {"\U0001f1ee\U0001f1f8", "\U0001f1ee\U0001f1f8"},   /* a flag of two letters */
    /* And nothing more of it than has a place, or anywhere else. */
    {"\u0645\u200c\u200c\u200c\u200d\u200c\u062e", "\u0645\u200c\u062e"},
    {"\u0645\u200c \u200c\u062e\u200c", "\u0645 \u062e"},
    {"\u200d\u0645\u200d" "a\u200d\u0645", "\u0645" "a\u0645"},
    {"\u2764\ufe0f\ufe0f\ufe0e\ufe0f!", "\u2764\ufe0f!"},
    {"a\ufe0f 1\ufe0f" "2 \ufe0f\u2764 \u200d\U0001f525\u200d",
        "a 12 \u2764 \U0001f525"},
    {"\U0001f525\u00ad\u200d\u2060\U0001f525", "\U0001f525\u200d\U0001f525"},
    {"-\u200d-\ufe0f>", "->"},
    {"\U0001f3f4\U000e0067\U000e0062\U000e007f!", "\U0001f3f4!"},       /* tags */
    {"a\u3000\u00a0" "b\u202f\u1680\u2003", "a b"},     /* spaces */
    {"a\u2800" "b", "a b"},     /* Braille without a dot */
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

/* Characters that nobody sees, of every kind. */
static gboolean
is_unseen (gunichar c)
{
  static const gunichar ranges[][2] = { {0xad, 0xad}, {0x34f, 0x34f},
  {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd}, {0x70f, 0x70f},
  {0x890, 0x891}, {0x8e2, 0x8e2}, {0x115f, 0x1160}, {0x17b4, 0x17b5},
  {0x180b, 0x180f}, {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x206f},
  {0x3164, 0x3164}, {0xd800, 0xf8ff}, {0xfdd0, 0xfdef}, {0xfe00, 0xfe0f},
  {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x110bd, 0x110bd},
  {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
  {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff}
  };
  GUnicodeType type = g_unichar_type (c);
  guint i;

  for (i = 0; i < G_N_ELEMENTS (ranges); i++)
    if (c >= ranges[i][0] && c <= ranges[i][1])
      return TRUE;
  return (c & 0xfffe) == 0xfffe || type == G_UNICODE_CONTROL
      || type == G_UNICODE_FORMAT || type == G_UNICODE_PRIVATE_USE
      || type == G_UNICODE_SURROGATE;
}

/* Each code point between two letters: it is gone, a space, or there once. Of the planes in which nothing
 * is assigned, or everything is of one kind, some are enough. */
GST_START_TEST (test_every_character)
{
  gunichar c;

  for (c = 1; c <= 0x10ffff; c += c < 0x20000 || c >> 12 == 0xe0
      || (c & 0xffff) >= 0xfff0 ? 1 : 13) {
    GUnicodeType type = g_unichar_type (c);
    gboolean space = type == G_UNICODE_SPACE_SEPARATOR || c == 0x2028
        || c == 0x2029 || (c >= 0x09 && c <= 0x0d) || c == 0x85 || c == 0x2800;
    gchar text[16] = "a";
    gint size = 1 + g_unichar_to_utf8 (c, text + 1);
    gchar *clean;

    if (c >= 0xd800 && c <= 0xdfff)     /* not valid, and tested as such */
      continue;
    text[size++] = 'b';
    clean = gst_palme_sanitize (text, (gsize) size);
    fail_unless (g_strcmp0 (clean, space ? "a b" : is_unseen (c) ? "ab" :
            text) == 0, "U+%04X: %s", c, clean);
    g_free (clean);
  }
}

GST_END_TEST;

/* What holds for every result, on random bytes that favour the dangerous ones. */
GST_START_TEST (test_random)
{
  static const gchar *pieces[] = { "a", " ", "-", "-", ">", "\n", "\t", "\xff",
    "\xe2\x80\xa8", "\xe2\x80\xae", "\xe2\x80\x8b", "\xc2\x85", "\xc3", "\xe2",
    "\x1b", "<", "\xef\xbb\xbf", "\xf0\x9f\x90\x95", "\xe2\x81\xa9",
    "\u200c", "\u200d", "\u200d", "\ufe0f", "\ufe0e", "\u0645", "\u0d4d",
    "\u2764", "1", "\u20e3", "\u00ad", "\u3000", "\U000e0041"
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

      /* Joiners and selectors of style stand between or behind something, one at a time. */
      if (c == 0x200c || c == 0x200d || c == 0xfe0e || c == 0xfe0f) {
        gunichar next = g_utf8_get_char (g_utf8_next_char (p));

        fail_if (p == clean || (next == 0 && c < 0xfe00));
        fail_if (next == 0x200c || (next & ~1u) == 0xfe0e || next == c);
      } else {
        fail_if (is_unseen (c), "U+%04X", c);
      }
    }
    fail_unless (g_utf8_strlen (clean, -1) <= (glong) text->len);
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
  GstPalmeCaptionSchedule schedule = { 0 };
  GString *y = g_string_new (NULL);
  guint i;

  for (i = 0; i < n; i++) {
    gboolean is =
        gst_palme_caption_schedule_is_due (&schedule, times[i], interval);

    if (is)
      gst_palme_caption_schedule_take (&schedule, times[i], interval);
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
  GstPalmeCaptionSchedule schedule = { 0 };

  fail_unless (gst_palme_caption_schedule_next (&schedule,
          10) == GST_CLOCK_TIME_NONE);
  fail_unless (gst_palme_caption_schedule_is_due (&schedule, 100, 10));
  fail_unless (gst_palme_caption_schedule_is_due (&schedule, 101, 10));
  gst_palme_caption_schedule_take (&schedule, 101, 10);
  fail_unless_equals_uint64 (gst_palme_caption_schedule_next (&schedule, 10),
      111);
  fail_if (gst_palme_caption_schedule_is_due (&schedule, 105, 10));
  fail_unless (gst_palme_caption_schedule_is_due (&schedule, 105, 4));
  fail_if (gst_palme_caption_schedule_is_due (&schedule, 111, 20));
  /* Taken before it is due: the grid starts anew there. */
  gst_palme_caption_schedule_take (&schedule, 105, 10);
  fail_unless_equals_uint64 (gst_palme_caption_schedule_next (&schedule, 10),
      115);
  gst_palme_caption_schedule_reset (&schedule);
  fail_unless (gst_palme_caption_schedule_is_due (&schedule, 106, 10));
}

GST_END_TEST;

/* The second turn comes early, those behind it are an interval apart. */
GST_START_TEST (test_lead)
{
  GstPalmeCaptionSchedule schedule = { 0 };

  gst_palme_caption_schedule_take (&schedule, 100, 10);
  gst_palme_caption_schedule_lead (&schedule, 0.75);
  fail_unless_equals_uint64 (gst_palme_caption_schedule_next (&schedule, 10),
      103);
  fail_if (gst_palme_caption_schedule_is_due (&schedule, 102, 10));
  fail_unless (gst_palme_caption_schedule_is_due (&schedule, 103, 10));
  gst_palme_caption_schedule_take (&schedule, 103, 10);
  fail_unless_equals_uint64 (gst_palme_caption_schedule_next (&schedule, 10),
      113);
  gst_palme_caption_schedule_take (&schedule, 113, 10);
  fail_unless_equals_uint64 (gst_palme_caption_schedule_next (&schedule, 10),
      123);
}

GST_END_TEST;

static int
compare_parts (const void *a, const void *b)
{
  gdouble x = *(const gdouble *) a, y = *(const gdouble *) b;

  return (x > y) - (x < y);
}

/* However many there are, no gap is much larger than if they were spread evenly: by the three-gap theorem it is at
 * most 1 + golden ratio = 2.62 times as large. */
GST_START_TEST (test_spread)
{
  gdouble parts[65];
  guint places[64], n, i;

  for (n = 0; n < 64; n++) {
    gdouble largest = 0.0;

    places[n] = gst_palme_caption_spread_enter ();
    fail_unless_equals_int (places[n], n + 1);
    for (i = 0; i <= n; i++)
      parts[i] = gst_palme_caption_spread_part (places[i]);
    qsort (parts, n + 1, sizeof *parts, compare_parts);
    fail_unless (parts[0] == 0.0 && parts[n] < 1.0);
    parts[n + 1] = 1.0;
    for (i = 0; i <= n; i++)
      largest = MAX (largest, parts[i + 1] - parts[i]);
    fail_unless (largest * (n + 1) < 2.62, "%u elements: %g", n + 1, largest);
  }
  /* A free place is taken again. */
  gst_palme_caption_spread_leave (places[7]);
  gst_palme_caption_spread_leave (places[3]);
  fail_unless_equals_int (gst_palme_caption_spread_enter (), 4);
  fail_unless_equals_int (gst_palme_caption_spread_enter (), 8);
  fail_unless_equals_int (gst_palme_caption_spread_enter (), 65);
  for (i = 1; i <= 65; i++)
    gst_palme_caption_spread_leave (i);
  gst_palme_caption_spread_leave (0);
  fail_unless_equals_int (gst_palme_caption_spread_enter (), 1);
  gst_palme_caption_spread_leave (1);
}

GST_END_TEST;

static Suite *
sanitize_suite (void)
{
  Suite *suite = suite_create ("sanitize");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_table);
  tcase_add_test (tcase, test_every_character);
  tcase_add_test (tcase, test_length);
  tcase_add_test (tcase, test_random);
  tcase_add_test (tcase, test_grid);
  tcase_add_test (tcase, test_lead);
  tcase_add_test (tcase, test_spread);
  tcase_add_test (tcase, test_grid_not_taken);
  return suite;
}

GST_CHECK_MAIN (sanitize);
