/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_ttml.c - the element palmettml: the documents, what is in them, and when they are made.
 * GStreamer's ttmlparse reads them back; xmllint checks them against the published schema where
 * PALME_EBU_TT_D_SCHEMA names its ebutt_d.xsd.
 */
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define MS GST_MSECOND

static void
push_text (GstHarness * h, const gchar * text, GstClockTime begin,
    GstClockTime duration)
{
  GstBuffer *buffer = *text ? gst_buffer_new_memdup (text, strlen (text)) :
      gst_buffer_new ();

  GST_BUFFER_PTS (buffer) = begin;
  GST_BUFFER_DURATION (buffer) = duration;
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
}

static GstHarness *
harness_new (const gchar * line)
{
  GstHarness *h = gst_harness_new_parse (line);

  gst_harness_set_src_caps_str (h, "text/x-raw, format=utf8");
  return h;
}

/* With a schema at hand, a document has to be valid. */
static void
validate (const gchar * document)
{
  const gchar *schema = g_getenv ("PALME_EBU_TT_D_SCHEMA");
  const gchar *arguments[] = { "xmllint", "--noout", "--nonet", "--schema",
    schema, NULL, NULL
  };
  gchar *name, *why = NULL;
  gint status;

  if (!schema || !*schema)
    return;
  close (g_file_open_tmp ("palme-XXXXXX.ttml", &name, NULL));
  fail_unless (g_file_set_contents (name, document, -1, NULL));
  arguments[5] = name;
  fail_unless (g_spawn_sync (NULL, (gchar **) arguments, NULL,
          G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, &why, &status, NULL));
  fail_unless (status == 0, "%s\n%s", why, document);
  g_unlink (name);
  g_free (name);
  g_free (why);
}

/* The next document: "BEGIN-END: text; ..." of its paragraphs, in seconds; NULL if there is none. */
static gchar *
next_document (GstHarness * h, GstClockTime begin, GstClockTime duration)
{
  GstBuffer *buffer = gst_harness_try_pull (h);
  GString *out = g_string_new (NULL);
  GMatchInfo *match;
  GRegex *regex;
  GstMapInfo map;
  gchar *document;

  if (!buffer)
    return g_string_free (out, TRUE);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (buffer), begin);
  fail_unless_equals_uint64 (GST_BUFFER_DURATION (buffer), duration);
  fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
  document = g_strndup ((const gchar *) map.data, map.size);
  gst_buffer_unmap (buffer, &map);
  gst_buffer_unref (buffer);
  validate (document);
  regex = g_regex_new ("<p [^>]* begin=\"0*([0-9:.]*)\" end=\"0*([0-9:.]*)\">"
      "<span[^>]*>(.*)</span></p>\n", 0, 0, NULL);
  g_regex_match (regex, document, 0, &match);
  while (g_match_info_matches (match)) {
    gchar *begins = g_match_info_fetch (match, 1);
    gchar *ends = g_match_info_fetch (match, 2);
    gchar *text = g_match_info_fetch (match, 3);

    g_string_append_printf (out, "%s%s-%s: %s", out->len ? "; " : "", begins,
        ends, text);
    g_free (begins);
    g_free (ends);
    g_free (text);
    g_match_info_next (match, NULL);
  }
  g_match_info_free (match);
  g_regex_unref (regex);
  g_free (document);
  return g_string_free (out, FALSE);
}

static void
check_document (GstHarness * h, GstClockTime begin, GstClockTime duration,
    const gchar * expected)
{
  gchar *document = next_document (h, begin, duration);

  assert_equals_string (document, expected);
  g_free (document);
}

/* One document at the end; equal texts in a row are one subtitle; markup and lines are kept apart. */
GST_START_TEST (test_one_document)
{
  GstHarness *h = harness_new ("palmettml");

  push_text (h, "two dogs", 1000 * MS, 1000 * MS);
  push_text (h, "two dogs", 2000 * MS, 1000 * MS);
  push_text (h, "a <b>cat</b> & \"more\"\nbelow\x01", 3000 * MS, 4000 * MS);
  push_text (h, "a bird", 5500 * MS, 500 * MS);
  push_text (h, "a bird", 7000 * MS, GST_CLOCK_TIME_NONE);
  push_text (h, "", 3600000 * MS, 1);
  gst_harness_push_event (h, gst_event_new_gap (3600000 * MS, 1000 * MS));
  fail_unless (gst_harness_try_pull (h) == NULL);
  gst_harness_push_event (h, gst_event_new_eos ());
  check_document (h, 0, 3601000 * MS,
      ":00:01.000-:00:03.000: two dogs; "
      ":00:03.000-:00:05.500: a &lt;b&gt;cat&lt;/b&gt; &amp; &quot;more&quot;<br/>below; "
      ":00:05.500-:00:06.000: a bird; " ":00:07.000-1:00:00.000: a bird");
  gst_harness_teardown (h);
}

GST_END_TEST;

/* A document a segment, cues cut at its ends, also where nothing is said. */
GST_START_TEST (test_segments)
{
  GstHarness *h = harness_new ("palmettml segment-duration=2000000000");

  gst_harness_push_event (h, gst_event_new_gap (0, 500 * MS));
  push_text (h, "two dogs", 1000 * MS, 4000 * MS);
  fail_unless (gst_harness_try_pull (h) == NULL);
  gst_harness_push_event (h, gst_event_new_gap (1000 * MS, 2500 * MS));
  check_document (h, 0, 2000 * MS, ":00:01.000-:00:02.000: two dogs");
  fail_unless (gst_harness_try_pull (h) == NULL);
  gst_harness_push_event (h, gst_event_new_gap (3500 * MS, 6000 * MS));
  check_document (h, 2000 * MS, 2000 * MS, ":00:02.000-:00:04.000: two dogs");
  check_document (h, 4000 * MS, 2000 * MS, ":00:04.000-:00:05.000: two dogs");
  check_document (h, 6000 * MS, 2000 * MS, "");
  /* A cue that is known only when the next one comes reaches to it. */
  push_text (h, "a cat", 9500 * MS, GST_CLOCK_TIME_NONE);
  push_text (h, "a bird", 10500 * MS, 500 * MS);
  check_document (h, 8000 * MS, 2000 * MS, ":00:09.500-:00:10.000: a cat");
  gst_harness_push_event (h, gst_event_new_gap (11000 * MS, 500 * MS));
  gst_harness_push_event (h, gst_event_new_eos ());
  check_document (h, 10000 * MS, 1500 * MS,
      ":00:10.000-:00:10.500: a cat; :00:10.500-:00:11.000: a bird");
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Times are the media's: stream time, whatever the segment's own are. */
GST_START_TEST (test_media_time)
{
  GstHarness *h = harness_new ("palmettml");
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = 100000 * MS;
  segment.time = 60000 * MS;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  push_text (h, "before", 90000 * MS, 1000 * MS);
  push_text (h, "two dogs", 101000 * MS, 1000 * MS);
  gst_harness_push_event (h, gst_event_new_eos ());
  check_document (h, 0, 62000 * MS, ":01:01.000-:01:02.000: two dogs");
  gst_harness_teardown (h);
}

GST_END_TEST;

GST_START_TEST (test_flush)
{
  GstHarness *h = harness_new ("palmettml");
  GstSegment segment;

  push_text (h, "two dogs", 1000 * MS, 1000 * MS);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  push_text (h, "a cat", 3000 * MS, 1000 * MS);
  gst_harness_push_event (h, gst_event_new_eos ());
  check_document (h, 0, 4000 * MS, ":00:03.000-:00:04.000: a cat");
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Nothing was said: a document without a body. Buffers that have no time are left out. */
GST_START_TEST (test_empty)
{
  GstHarness *h = harness_new ("palmettml language=x\\\"<");

  push_text (h, "never", GST_CLOCK_TIME_NONE, 1000 * MS);
  gst_harness_push_event (h, gst_event_new_eos ());
  fail_unless_equals_int ((gint) gst_harness_buffers_in_queue (h), 1);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* The language is that of the tags, or the property's. */
GST_START_TEST (test_language)
{
  static const gchar *const lines[] = { "palmettml", "palmettml language=de" };
  static const gchar *const expected[] =
      { "xml:lang=\"fr\"", "xml:lang=\"de\"" };
  guint i;

  for (i = 0; i < 2; i++) {
    GstHarness *h = harness_new (lines[i]);
    GstBuffer *buffer;
    GstMapInfo map;

    gst_harness_push_event (h,
        gst_event_new_tag (gst_tag_list_new (GST_TAG_LANGUAGE_CODE, "fr",
                NULL)));
    push_text (h, "deux chiens", 0, 1000 * MS);
    gst_harness_push_event (h, gst_event_new_eos ());
    buffer = gst_harness_pull (h);
    fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
    fail_unless (g_strstr_len ((const gchar *) map.data, (gssize) map.size,
            expected[i]));
    gst_buffer_unmap (buffer, &map);
    gst_buffer_unref (buffer);
    gst_harness_teardown (h);
  }
}

GST_END_TEST;

/* GStreamer's own reader finds the same cues. */
GST_START_TEST (test_read_back)
{
  static const struct
  {
    GstClockTime begin, duration;
    const gchar *text;
  } cues[] = {
    {1000 * MS, 2000 * MS, "two dogs"},
    {3000 * MS, 1234 * MS, "a cat & \"more\""},
    {8000 * MS, 500 * MS, "Élan 🐘"},
  };
  GstElementFactory *factory = gst_element_factory_find ("ttmlparse");
  GstHarness *h;
  guint i, found = 0;
  GstBuffer *buffer;

  if (!factory) {
    g_print ("no ttmlparse here: skipped\n");
    return;
  }
  gst_object_unref (factory);
  h = harness_new ("palmettml ! ttmlparse");
  for (i = 0; i < G_N_ELEMENTS (cues); i++)
    push_text (h, cues[i].text, cues[i].begin, cues[i].duration);
  gst_harness_push_event (h, gst_event_new_eos ());
  while ((buffer = gst_harness_try_pull (h))) {
    GString *text = g_string_new (NULL);

    for (i = 0; i < gst_buffer_n_memory (buffer); i++) {
      GstMapInfo map;

      fail_unless (gst_memory_map (gst_buffer_peek_memory (buffer, i), &map,
              GST_MAP_READ));
      g_string_append_len (text, (const gchar *) map.data,
          (gssize) strnlen ((const gchar *) map.data, map.size));
      gst_memory_unmap (gst_buffer_peek_memory (buffer, i), &map);
    }
    fail_unless (found < G_N_ELEMENTS (cues));
    assert_equals_string (g_strstrip (text->str), cues[found].text);
    fail_unless_equals_uint64 (GST_BUFFER_PTS (buffer), cues[found].begin);
    fail_unless_equals_uint64 (GST_BUFFER_DURATION (buffer),
        cues[found].duration);
    found++;
    g_string_free (text, TRUE);
    gst_buffer_unref (buffer);
  }
  fail_unless_equals_int (found, G_N_ELEMENTS (cues));
  gst_harness_teardown (h);
}

GST_END_TEST;

static Suite *
ttml_suite (void)
{
  Suite *suite = suite_create ("palmettml");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_one_document);
  tcase_add_test (tcase, test_segments);
  tcase_add_test (tcase, test_media_time);
  tcase_add_test (tcase, test_flush);
  tcase_add_test (tcase, test_empty);
  tcase_add_test (tcase, test_language);
  tcase_add_test (tcase, test_read_back);
  return suite;
}

GST_CHECK_MAIN (ttml);
