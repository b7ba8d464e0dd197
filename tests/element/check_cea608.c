/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_cea608.c - the element palmecea608: characters and lines, the pairs, when each is sent, and
 * the element's pads. A small decoder here reads the pairs back; tests/user/closed_captions.sh has
 * another program read a recorded file.
 */
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <string.h>

#include "gstpalmecea608-encode.h"
#include "gstpalmecea608-sender.h"

#define NEVER GST_PALME_CEA608_NEVER

/* ---- A decoder of pop-on captions on CC1 or CC2 ------------------------------------------------ */

typedef struct
{
  gunichar cells[GST_PALME_CEA608_ROWS + 1][GST_PALME_CEA608_COLUMNS];
} Memory;

typedef struct
{
  Memory memory[2];
  guint shown;                  /* which memory is on the screen */
  guint row, column;
  guint16 last;                 /* a code that may be repeated */
  guint channel;
} Decoder;

/* A pair without its parity, which is checked. */
static guint16
without_parity (guint16 pair)
{
  guint bits = 0, i;

  for (i = 0; i < 8; i++)
    bits += (pair >> i) & 1;
  fail_unless (bits % 2 == 1, "%04x: even parity", pair);
  for (bits = 0, i = 8; i < 16; i++)
    bits += (pair >> i) & 1;
  fail_unless (bits % 2 == 1, "%04x: even parity", pair);
  return pair & 0x7f7f;
}

static void
decoder_put (Decoder * decoder, gunichar c)
{
  Memory *loaded = &decoder->memory[1 - decoder->shown];

  fail_unless (decoder->row >= 1);
  fail_unless (decoder->column < GST_PALME_CEA608_COLUMNS, "line too long");
  loaded->cells[decoder->row][decoder->column++] = c;
}

static void
decoder_address (Decoder * decoder, guint8 first, guint8 second)
{
  static const guint8 rows[16] =
      { 11, 0, 1, 2, 3, 4, 12, 13, 14, 15, 5, 6, 7, 8, 9, 10 };

  decoder->row = rows[(first & 7) * 2 + ((second >> 5) & 1)];
  decoder->column = (second & 0x10) ? ((second & 0x0e) >> 1) * 4 : 0;
}

static void
decoder_control (Decoder * decoder, guint8 code)
{
  switch (code) {
    case 0x20:
    case 0x22:
      break;
    case 0x2c:
      memset (&decoder->memory[decoder->shown], 0, sizeof (Memory));
      break;
    case 0x2e:
      memset (&decoder->memory[1 - decoder->shown], 0, sizeof (Memory));
      break;
    case 0x2f:
      decoder->shown = 1 - decoder->shown;
      break;
    default:
      fail ("unknown control code %02x", code);
  }
}

static void
decoder_read (Decoder * decoder, guint16 pair)
{
  guint16 plain = without_parity (pair);
  guint8 first = plain >> 8, second = plain & 0x7f;
  gboolean code = first >= 0x10 && first < 0x20;

  if (code && plain == decoder->last) {
    decoder->last = 0;
    return;
  }
  decoder->last = code ? plain : 0;
  if (code) {
    decoder->channel = (first & 8) ? 2 : 1;
    first &= ~8;
  }
  if (!code) {
    if (first)
      decoder_put (decoder, first);
    if (second)
      decoder_put (decoder, second);
  } else if (second >= 0x40) {
    decoder_address (decoder, first, second);
  } else if (first == 0x14) {
    decoder_control (decoder, second);
  } else if (first == 0x17) {
    decoder->column += second - 0x20;
  } else if (first == 0x11) {
    decoder_put (decoder, 0x1100 + second);
  } else {
    fail_unless (decoder->column > 0);
    decoder->column--;
    decoder_put (decoder, (gunichar) (first << 8 | second));
  }
}

/* What is on the screen, lines parted by "/"; free it. Only one-byte characters can be compared. */
static gchar *
decoder_text (const Decoder * decoder)
{
  GString *out = g_string_new (NULL);
  guint row, column;

  for (row = 1; row <= GST_PALME_CEA608_ROWS; row++) {
    const gunichar *cells = decoder->memory[decoder->shown].cells[row];
    gsize before = out->len;

    for (column = 0; column < GST_PALME_CEA608_COLUMNS; column++)
      if (cells[column])
        g_string_append_c (out, cells[column] < 0x80 ? (gchar) cells[column] :
            '#');
    if (out->len > before)
      g_string_append_c (out, '/');
  }
  g_string_truncate (out, out->len ? out->len - 1 : 0);
  return g_string_free (out, FALSE);
}

/* ---- Characters and lines ---------------------------------------------------------------------- */

GST_START_TEST (test_wrap)
{
  static const struct
  {
    const gchar *text, *lines;
  } cases[] = {
    /* *INDENT-OFF* */
    {"", ""},
    {" \n\t", ""},
    {"two dogs", "two dogs"},
    {"  two\n dogs ", "two dogs"},
    {"a man in an orange shirt is riding an elephant",
        "a man in an orange shirt is/riding an elephant"},
    /* 32 columns exactly, and one more. */
    {"abcdefghijklmnop abcdefghijklmno x",
        "abcdefghijklmnop abcdefghijklmno/x"},
    {"abcdefghijklmnop abcdefghijklmnop x",
        "abcdefghijklmnop/abcdefghijklmnop x"},
    {"abcdefghijklmnopqrstuvwxyzabcdefghijklmno xy",
        "abcdefghijklmnopqrstuvwxyzabcdef/ghijklmno xy"},
    {"x abcdefghijklmnopqrstuvwxyzabcdefghijklmno",
        "x/abcdefghijklmnopqrstuvwxyzabcdef/ghijklmno"},
    /* What is there stays. */
    {"Élan café naïve ñ ½ ♪ © {x} ~",
          "Élan café naïve ñ ½ ♪ © {x} ~"},
    {"cafe\xcc\x81", "café"},
    /* What is not there becomes what is near. */
    {"Dvořák Łódź", "Dvorák ?ódz"},
    {"a – b… ‚c’ `d´", "a - b... 'c' 'd'"},
    {"ﬁve ５ x×y ⅓", "five 5 xxy 1/3"},
    {"an 🐘 and 象の話 here", "an ? and ? here"},
    {"👩\xe2\x80\x8d👩\xe2\x80\x8d👧 a❤\xef\xb8\x8f", "? a?"},
    {"a\x07\xe2\x80\x8b" "b", "ab"},
    {"\xff\xfe", "?"},
    /* *INDENT-ON* */
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    gchar **lines = gst_palme_cea608_wrap (cases[i].text);
    gchar *joined = g_strjoinv ("/", lines);

    assert_equals_string (joined, cases[i].lines);
    g_free (joined);
    g_strfreev (lines);
  }
}

GST_END_TEST;

/* All letters of Europe and a part of all others: lines are never too long, and each character has a code. */
GST_START_TEST (test_every_character)
{
  gunichar c;

  for (c = 1; c < 0x30000; c += c < 0x2800 ? 1 : 31) {
    gchar text[16], **lines, **line;
    gint size;

    if (!g_unichar_validate (c))
      continue;
    size = g_unichar_to_utf8 (c, text);
    g_strlcpy (text + size, " a", sizeof (text) - (gsize) size);
    lines = gst_palme_cea608_wrap (text);
    fail_unless (lines[0], "U+%04X", c);
    for (line = lines; *line; line++) {
      GArray *pairs = g_array_new (FALSE, FALSE, sizeof (guint16));
      Decoder decoder = {.row = 15 };
      guint i;

      gst_palme_cea608_append_line (pairs, 1, *line);
      for (i = 0; i < pairs->len; i++)
        decoder_read (&decoder, g_array_index (pairs, guint16, i));
      fail_unless (decoder.column == (guint) g_utf8_strlen (*line, -1),
          "U+%04X: %u columns for '%s'", c, decoder.column, *line);
      g_array_unref (pairs);
    }
    g_strfreev (lines);
  }
}

GST_END_TEST;

static void
check_pairs (GArray * pairs, const guint16 * expected, guint count)
{
  guint i;

  assert_equals_int (pairs->len, count);
  for (i = 0; i < count; i++)
    fail_unless (g_array_index (pairs, guint16, i) == expected[i],
        "pair %u is %04x, not %04x", i, g_array_index (pairs, guint16, i),
        expected[i]);
}

/* Against the tables of CTA-608-E, by hand. */
GST_START_TEST (test_pairs)
{
  static const guint16 expected[] = {
    0x9420, 0x9420,             /* resume caption loading */
    0x9476, 0x9476,             /* row 15, column 12 */
    0x97a2, 0x97a2,             /* two tabs */
    0xf4f7, 0xef80,             /* "tw" "o" */
  };
  static const guint16 second[] = { 0x1c2f, 0x1c2f, 0x98d0, 0x98d0 };
  GArray *pairs = g_array_new (FALSE, FALSE, sizeof (guint16));

  gst_palme_cea608_append_control (pairs, 1,
      GST_PALME_CEA608_RESUME_CAPTION_LOADING);
  gst_palme_cea608_append_position (pairs, 1, 15, 14);
  gst_palme_cea608_append_line (pairs, 1, "two");
  check_pairs (pairs, expected, G_N_ELEMENTS (expected));
  g_array_set_size (pairs, 0);
  gst_palme_cea608_append_control (pairs, 2, GST_PALME_CEA608_END_OF_CAPTION);
  gst_palme_cea608_append_position (pairs, 2, 11, 0);
  check_pairs (pairs, second, G_N_ELEMENTS (second));
  fail_unless (gst_palme_cea608_is_control (0x9420));
  fail_unless (gst_palme_cea608_is_control (0x98d0));
  fail_if (gst_palme_cea608_is_control (0xf4f7));
  fail_if (gst_palme_cea608_is_control (0x9137));       /* a note */
  fail_if (gst_palme_cea608_is_control (0x9220));       /* an extended one */
  g_array_unref (pairs);
}

GST_END_TEST;

/* ---- The sender --------------------------------------------------------------------------------- */

typedef struct
{
  GstPalmeCea608Sender sender;
  Decoder decoder;
  guint64 frame;
  GString *seen;                /* "FRAME text" for each change of the screen */
  gchar *text;
} Run;

static void
run_begin (Run * run, gboolean roll_up, guint rows)
{
  memset (run, 0, sizeof (*run));
  run->sender.channel = 1;
  run->sender.rows = rows;
  run->sender.roll_up = roll_up;
  gst_palme_cea608_sender_reset (&run->sender, FALSE);
  run->seen = g_string_new (NULL);
  run->text = g_strdup ("");
}

static void
run_until (Run * run, guint64 end)
{
  for (; run->frame < end; run->frame++) {
    gchar *text;

    if (gst_palme_cea608_sender_due (&run->sender, run->frame) != run->frame)
      continue;
    decoder_read (&run->decoder, gst_palme_cea608_sender_next (&run->sender,
            run->frame));
    text = decoder_text (&run->decoder);
    if (strcmp (text, run->text) != 0)
      g_string_append_printf (run->seen, "%s%" G_GUINT64_FORMAT " %s",
          run->seen->len ? "; " : "", run->frame, text);
    g_free (run->text);
    run->text = text;
  }
}

static void
run_end (Run * run)
{
  gst_palme_cea608_sender_reset (&run->sender, FALSE);
  g_string_free (run->seen, TRUE);
  g_free (run->text);
}

/* Captions that are known in time appear and leave with their frame. */
GST_START_TEST (test_times)
{
  Run run;

  run_begin (&run, FALSE, 3);
  gst_palme_cea608_sender_add (&run.sender, "two dogs", 100, 200);
  gst_palme_cea608_sender_add (&run.sender, "a cat", 200, 250);
  gst_palme_cea608_sender_add (&run.sender, "a bird", 300, 350);
  run_until (&run, 400);
  assert_equals_string (run.seen->str,
      "100 two dogs; 200 a cat; 250 ; 300 a bird; 350 ");
  fail_unless (gst_palme_cea608_sender_due (&run.sender, 400) == NEVER);
  run_end (&run);

  /* The end of one falls into the loading of the next. */
  run_begin (&run, FALSE, 3);
  gst_palme_cea608_sender_add (&run.sender, "two dogs", 100, 190);
  gst_palme_cea608_sender_add (&run.sender,
      "a man in an orange shirt is riding an elephant", 200, NEVER);
  run_until (&run, 400);
  gst_palme_cea608_sender_end (&run.sender, 450);
  run_until (&run, 500);
  fail_unless (g_str_has_prefix (run.seen->str, "100 two dogs; 19"));
  fail_unless (strstr (run.seen->str,
          "; 200 a man in an orange shirt is/riding an elephant; 450 "));
  run_end (&run);
}

GST_END_TEST;

/* Captions that are known late are whole when they are seen, and keep their time. */
GST_START_TEST (test_late)
{
  Run run;

  run_begin (&run, FALSE, 3);
  run.frame = 100;
  gst_palme_cea608_sender_add (&run.sender, "two dogs", 100, 200);
  run_until (&run, 300);
  /* RCL, ENM, address: 6 pairs; 4 of text. */
  assert_equals_string (run.seen->str, "110 two dogs; 210 ");
  run_end (&run);
}

GST_END_TEST;

GST_START_TEST (test_equal_and_empty)
{
  Run run;
  guint64 at;
  guint pairs = 0;

  run_begin (&run, FALSE, 3);
  for (at = 100; at < 200; at += 10)
    gst_palme_cea608_sender_add (&run.sender, "two dogs", at, at + 10);
  for (at = 0; at < 300; at++)
    if (gst_palme_cea608_sender_due (&run.sender, at) == at) {
      gst_palme_cea608_sender_next (&run.sender, at);
      pairs++;
    }
  /* Loaded, shown and cleared once. */
  assert_equals_int (pairs, 10 + 2 + 2);
  run_end (&run);

  run_begin (&run, FALSE, 3);
  gst_palme_cea608_sender_add (&run.sender, "two dogs", 100, NEVER);
  run_until (&run, 150);
  gst_palme_cea608_sender_add (&run.sender, "two dogs", 150, NEVER);
  run_until (&run, 160);
  gst_palme_cea608_sender_add (&run.sender, "", 170, 180);
  run_until (&run, 200);
  assert_equals_string (run.seen->str, "100 two dogs; 170 ");
  run_end (&run);
}

GST_END_TEST;

/* Faster than the channel: some are left out, the last one is not, and none is seen in part. */
GST_START_TEST (test_too_fast)
{
  Run run;
  guint i;

  run_begin (&run, FALSE, 3);
  run.frame = 100;
  for (i = 0; i < 20; i++) {
    gchar *text = g_strdup_printf ("caption number %u of a long row", i);

    gst_palme_cea608_sender_add (&run.sender, text, 100 + 5 * i, 105 + 5 * i);
    run_until (&run, 100 + 5 * i + 1);
    g_free (text);
  }
  run_until (&run, 400);
  fail_unless (run.sender.dropped > 10 && run.sender.dropped < 20);
  fail_unless (strstr (run.seen->str, " caption number 19 of a long row;"));
  run_end (&run);
}

GST_END_TEST;

/* A text of more lines than the screen has is seen page by page. */
GST_START_TEST (test_pages)
{
  const gchar *text = "one two three four five six seven eight nine ten "
      "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen";
  Run run;

  run_begin (&run, FALSE, 2);
  gst_palme_cea608_sender_add (&run.sender, text, 100, 400);
  run_until (&run, 500);
  assert_equals_string (run.seen->str,
      "100 one two three four five six/seven eight nine ten eleven; "
      "250 twelve thirteen fourteen fifteen/sixteen seventeen eighteen; 400 ");
  run_end (&run);
}

GST_END_TEST;

/* Whatever comes when, the screen shows whole captions, none before its time, each at most once. */
GST_START_TEST (test_random)
{
  GRand *random = g_rand_new_with_seed (608);
  guint round;

  for (round = 0; round < 60; round++) {
    guint64 first = 0, firsts[40];
    gchar *texts[40], **changes, **change;
    guint count = 40, i, seen = 0;
    Run run;

    run_begin (&run, FALSE, 4);
    for (i = 0; i < count; i++) {
      gsize length = (gsize) g_rand_int_range (random, 1, 60);

      texts[i] = g_strdup_printf ("%u %.*s", i, (int) length,
          "abc de fghijkl mnop q rstuvwx yz abc def ghij klmno pqrstuv w xyz");
      g_strchomp (texts[i]);
      firsts[i] = first;
      gst_palme_cea608_sender_add (&run.sender, texts[i], first,
          first + (guint) g_rand_int_range (random, 1, 80));
      first += (guint) g_rand_int_range (random, 1, 90);
      run_until (&run, first > 30 ? first - 30 : 0);
    }
    run_until (&run, first + 400);
    fail_unless (gst_palme_cea608_sender_due (&run.sender, run.frame) == NEVER);
    changes = g_strsplit (run.seen->str, "; ", -1);
    for (change = changes; *change; change++) {
      gchar *text = strchr (*change, ' ') + 1;

      if (!*text)
        continue;
      i = (guint) g_ascii_strtoull (text, NULL, 10);
      fail_unless (i < count && i >= seen, "round %u: %s", round, *change);
      fail_unless (g_ascii_strtoull (*change, NULL, 10) >= firsts[i]);
      assert_equals_string (g_strdelimit (text, "/", ' '), texts[i]);
      seen = i + 1;
    }
    g_strfreev (changes);
    for (i = 0; i < count; i++)
      g_free (texts[i]);
    run_end (&run);
  }
  g_rand_free (random);
}

GST_END_TEST;

GST_START_TEST (test_roll_up)
{
  static const guint16 begin[] = {
    0x94a7, 0x94a7,             /* roll-up, 4 rows */
    0x94ad, 0x94ad,             /* carriage return */
  };
  GstPalmeCea608Sender sender = {.channel = 1,.rows = 4,.roll_up = TRUE };
  GArray *pairs = g_array_new (FALSE, FALSE, sizeof (guint16));
  guint64 frame;

  gst_palme_cea608_sender_reset (&sender, FALSE);
  gst_palme_cea608_sender_add (&sender,
      "a man in an orange shirt is riding an elephant", 50, 200);
  for (frame = 0; frame < 300; frame++)
    if (gst_palme_cea608_sender_due (&sender, frame) == frame) {
      guint16 pair = gst_palme_cea608_sender_next (&sender, frame);

      without_parity (pair);
      fail_unless (frame >= 50);
      g_array_append_val (pairs, pair);
    }
  /* Two lines of 27 and 18 characters, and the screen is cleared. */
  assert_equals_int (pairs->len, 2 + 4 + 14 + 4 + 9 + 2);
  fail_unless (memcmp (pairs->data, begin, sizeof (begin)) == 0);
  /* Row 15, column 0. */
  assert_equals_int (g_array_index (pairs, guint16, 4) & 0x7f7f, 0x1470);
  assert_equals_int (g_array_index (pairs, guint16, pairs->len - 1), 0x942c);
  gst_palme_cea608_sender_reset (&sender, FALSE);
  g_array_unref (pairs);
}

GST_END_TEST;

/* ---- The element -------------------------------------------------------------------------------- */

static GstHarness *
harness_new (const gchar * line)
{
  GstHarness *h = gst_harness_new_parse (line);

  gst_harness_set_sink_caps_str (h,
      "closedcaption/x-cea-608, format=raw, framerate=25/1");
  gst_harness_set_src_caps_str (h, "text/x-raw, format=utf8");
  return h;
}

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

/* Pulls all that is there; when `text` was first seen, or NONE. Times are one frame after another. */
static GstClockTime
first_seen (GstHarness * h, Decoder * decoder, const gchar * text)
{
  GstClockTime when = GST_CLOCK_TIME_NONE, end = 0;
  GstBuffer *buffer;

  while ((buffer = gst_harness_try_pull (h))) {
    guint8 bytes[2];
    gchar *now;

    fail_unless_equals_int ((gint) gst_buffer_get_size (buffer), 2);
    gst_buffer_extract (buffer, 0, bytes, 2);
    fail_unless (GST_BUFFER_PTS (buffer) >= end);
    fail_unless (GST_BUFFER_PTS (buffer) % (40 * GST_MSECOND) == 0);
    fail_unless_equals_uint64 (GST_BUFFER_DURATION (buffer), 40 * GST_MSECOND);
    end = GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer);
    decoder_read (decoder, (guint16) (bytes[0] << 8 | bytes[1]));
    now = decoder_text (decoder);
    if (!GST_CLOCK_TIME_IS_VALID (when) && strcmp (now, text) == 0)
      when = GST_BUFFER_PTS (buffer);
    g_free (now);
    gst_buffer_unref (buffer);
  }
  return when;
}

GST_START_TEST (test_element)
{
  GstHarness *h = harness_new ("palmecea608");
  Decoder decoder = { 0 };

  /* The first text is known before anything was sent. The second appears when it is loaded: two codes,
   * an address with a tab, each twice, and three pairs of text. */
  push_text (h, "two dogs", 2 * GST_SECOND, GST_SECOND);
  gst_harness_push_event (h, gst_event_new_gap (3 * GST_SECOND, GST_SECOND));
  fail_unless_equals_uint64 (first_seen (h, &decoder, "two dogs"),
      2 * GST_SECOND);
  push_text (h, "a cat", 4 * GST_SECOND, GST_SECOND);
  gst_harness_push_event (h, gst_event_new_eos ());
  fail_unless_equals_uint64 (first_seen (h, &decoder, "a cat"),
      4 * GST_SECOND + 11 * 40 * GST_MSECOND);
  gst_harness_teardown (h);
}

GST_END_TEST;

GST_START_TEST (test_latency)
{
  GstHarness *h = harness_new ("palmecea608 latency=2000000000");
  Decoder decoder = { 0 };
  guint i;

  gst_harness_set_upstream_latency (h, 10 * GST_MSECOND);
  fail_unless_equals_uint64 (gst_harness_query_latency (h), 2010 * GST_MSECOND);
  /* Live: time goes on in steps, and a text is known only when it begins. */
  for (i = 0; i < 40; i++)
    gst_harness_push_event (h, gst_event_new_gap (i * 100 * GST_MSECOND,
            100 * GST_MSECOND));
  push_text (h, "two dogs", 4 * GST_SECOND, GST_SECOND);
  for (i = 50; i < 90; i++)
    gst_harness_push_event (h, gst_event_new_gap (i * 100 * GST_MSECOND,
            100 * GST_MSECOND));
  fail_unless_equals_uint64 (first_seen (h, &decoder, "two dogs"),
      4 * GST_SECOND);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* GAPs and buffers together cover all the time. */
GST_START_TEST (test_gaps)
{
  GstHarness *h = harness_new ("palmecea608");
  GstClockTime covered = 0;
  GstBuffer *buffer;
  GstEvent *event;

  push_text (h, "two dogs", 2 * GST_SECOND, GST_SECOND);
  gst_harness_push_event (h, gst_event_new_gap (3 * GST_SECOND,
          7 * GST_SECOND));
  while ((buffer = gst_harness_try_pull (h))) {
    covered += GST_BUFFER_DURATION (buffer);
    gst_buffer_unref (buffer);
  }
  while ((event = gst_harness_try_pull_event (h))) {
    GstClockTime begin, duration;

    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP) {
      gst_event_parse_gap (event, &begin, &duration);
      covered += duration;
    }
    gst_event_unref (event);
  }
  fail_unless_equals_uint64 (covered, 10 * GST_SECOND);
  gst_harness_teardown (h);
}

GST_END_TEST;

GST_START_TEST (test_flush)
{
  GstHarness *h = harness_new ("palmecea608");
  Decoder decoder = { 0 };
  GstSegment segment;

  push_text (h, "two dogs", 2 * GST_SECOND, 20 * GST_SECOND);
  gst_harness_push_event (h, gst_event_new_gap (2 * GST_SECOND, GST_SECOND));
  fail_unless (GST_CLOCK_TIME_IS_VALID (first_seen (h, &decoder, "two dogs")));
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = 60 * GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  /* The old caption leaves the screen at once. */
  gst_harness_push_event (h, gst_event_new_gap (60 * GST_SECOND, GST_SECOND));
  fail_unless_equals_uint64 (first_seen (h, &decoder, ""), 60 * GST_SECOND);
  push_text (h, "a cat", 62 * GST_SECOND, GST_SECOND);
  gst_harness_push_event (h, gst_event_new_eos ());
  fail_unless_equals_uint64 (first_seen (h, &decoder, "a cat"),
      62 * GST_SECOND);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* A buffer without time is left out, one without duration lasts to the next, text need not end in NUL
 * and may hold anything. */
GST_START_TEST (test_odd_buffers)
{
  GstHarness *h = harness_new ("palmecea608");
  Decoder decoder = { 0 };

  push_text (h, "never", GST_CLOCK_TIME_NONE, GST_SECOND);
  push_text (h, "\xff\xfe\x80", GST_SECOND, GST_CLOCK_TIME_NONE);
  push_text (h, "", 3 * GST_SECOND, GST_SECOND);
  push_text (h, "two dogs", 5 * GST_SECOND, GST_CLOCK_TIME_NONE);
  push_text (h, "a cat", 8 * GST_SECOND, GST_CLOCK_TIME_NONE);
  gst_harness_push_event (h, gst_event_new_eos ());
  fail_unless_equals_uint64 (first_seen (h, &decoder, "a cat"), 8 * GST_SECOND);
  gst_harness_teardown (h);
}

GST_END_TEST;

static Suite *
cea608_suite (void)
{
  Suite *suite = suite_create ("palmecea608");
  TCase *tcase = tcase_create ("general");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_wrap);
  tcase_add_test (tcase, test_every_character);
  tcase_add_test (tcase, test_pairs);
  tcase_add_test (tcase, test_times);
  tcase_add_test (tcase, test_late);
  tcase_add_test (tcase, test_equal_and_empty);
  tcase_add_test (tcase, test_too_fast);
  tcase_add_test (tcase, test_pages);
  tcase_add_test (tcase, test_random);
  tcase_add_test (tcase, test_roll_up);
  tcase_add_test (tcase, test_element);
  tcase_add_test (tcase, test_latency);
  tcase_add_test (tcase, test_gaps);
  tcase_add_test (tcase, test_flush);
  tcase_add_test (tcase, test_odd_buffers);
  return suite;
}

GST_CHECK_MAIN (cea608);
