/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmesanitize.c - makes text of any origin fit to be shown.
 *
 * A caption comes from a model file and a picture, and both can be hostile: a blank line and "-->"
 * forge a second cue in subtitle files, escape sequences control terminals, direction marks hide text.
 * All outputs of the element take their text from here. Escaping is not done here, because it differs
 * from output to output.
 */
#include "gstpalmesanitize.h"

#define ZWNJ 0x200c
#define ZWJ 0x200d
#define TEXT_STYLE 0xfe0e       /* variation selector 15 */
#define EMOJI_STYLE 0xfe0f      /* variation selector 16 */
#define KEYCAP 0x20e3

typedef struct
{
  gunichar first, last;
} Range;

static gboolean
is_in (const Range * ranges, guint n, gunichar c)
{
  guint i;

  for (i = 0; i < n; i++)
    if (c >= ranges[i].first && c <= ranges[i].last)
      return TRUE;
  return FALSE;
}

/* Newlines, tabs, line and paragraph separators, spaces of all widths, U+0085, an old line break,
 * and the blank of Braille become spaces, so that words stay apart. */
static gboolean
is_space (gunichar c)
{
  GUnicodeType type;

  if (c < 0x80)
    return c == ' ' || (c >= 0x09 && c <= 0x0d);
  type = g_unichar_type (c);
  /* U+2800 is Braille without a dot. */
  return c == 0x85 || c == 0x2800 || type == G_UNICODE_SPACE_SEPARATOR
      || type == G_UNICODE_LINE_SEPARATOR
      || type == G_UNICODE_PARAGRAPH_SEPARATOR;
}

/* Invisible characters: controls, format characters, private use, noncharacters, and everything
 * that Unicode calls default ignorable. GLib knows the format characters of the Unicode version
 * that it was built with (2.74: 15.0); those that GLib 2.56 may not know, and the ranges that
 * Unicode reserves for more of them, are in the table. Unassigned code points stay: letters of
 * later versions are among them. */
static gboolean
is_removed (gunichar c)
{
  static const Range ranges[] = {
    {0x00ad, 0x00ad},           /* soft hyphen */
    {0x034f, 0x034f},           /* combining grapheme joiner */
    {0x061c, 0x061c},           /* Arabic letter mark */
    {0x0890, 0x0891},
    {0x115f, 0x1160},           /* fillers of Hangul */
    {0x17b4, 0x17b5},           /* vowels of Khmer that have no shape */
    {0x180b, 0x180f},           /* variation selectors and vowel separator of Mongolian */
    {0x200b, 0x200f},           /* zero width, direction marks */
    {0x202a, 0x202e},           /* direction: embeddings, overrides */
    {0x2060, 0x206f},           /* word joiner, invisible operators, isolates */
    {0x3164, 0x3164},           /* filler of Hangul */
    {0xfdd0, 0xfdef},           /* noncharacters */
    {0xfe00, 0xfe0f},           /* variation selectors */
    {0xfeff, 0xfeff},           /* byte order mark */
    {0xffa0, 0xffa0},           /* filler of Hangul */
    {0xfff0, 0xfffb},           /* reserved, interlinear annotation */
    {0x13430, 0x1343f},         /* how Egyptian hieroglyphs are put together */
    {0x1bca0, 0x1bca3},         /* of shorthand */
    {0x1d173, 0x1d17a},         /* of music */
    {0xe0000, 0xe0fff},         /* tags, variation selectors, reserved */
  };

  if (c < 0x80)
    return c < 0x20 || c == 0x7f;
  switch (g_unichar_type (c)) {
    case G_UNICODE_CONTROL:
    case G_UNICODE_FORMAT:
    case G_UNICODE_PRIVATE_USE:
    case G_UNICODE_SURROGATE:
      return TRUE;
    default:
      return (c & 0xfffe) == 0xfffe || is_in (ranges, G_N_ELEMENTS (ranges), c);
  }
}

/* Letters and signs of scripts whose neighbours join, from Arabic to those of India and beyond. */
static gboolean
is_joining (gunichar c)
{
  static const Range ranges[] = {
    {0x0600, 0x08ff},           /* Arabic, Syriac, N'Ko, Mandaic */
    {0x0900, 0x0dff},           /* Devanagari to Sinhala */
    {0x0f00, 0x109f},           /* Tibetan, Myanmar */
    {0x1780, 0x18af},           /* Khmer, Mongolian */
    {0x1900, 0x1cff},           /* Limbu to Vedic signs */
    {0xa800, 0xabff},           /* Syloti Nagri to Meetei Mayek */
    {0xfb50, 0xfdcf}, {0xfdf0, 0xfdff}, {0xfe70, 0xfefc},       /* forms of Arabic */
    {0x10a00, 0x10fff},         /* Kharoshthi to Sogdian */
    {0x11000, 0x11fff},         /* Brahmi and its descendants */
    {0x1e900, 0x1e95f},         /* Adlam */
  };

  return (g_unichar_isalpha (c) || g_unichar_ismark (c))
      && is_in (ranges, G_N_ELEMENTS (ranges), c);
}

/* Symbols that are drawn as pictographs, or in both styles. */
static gboolean
is_pictograph (gunichar c)
{
  static const Range ranges[] = {
    {0x00a9, 0x00a9}, {0x00ae, 0x00ae}, {0x203c, 0x203c}, {0x2049, 0x2049},
    {0x2122, 0x2122}, {0x2139, 0x2139}, {0x2194, 0x21aa}, {0x231a, 0x23ff},
    {0x24c2, 0x24c2}, {0x25aa, 0x25fe}, {0x2600, 0x27bf}, {0x2934, 0x2935},
    {0x2b05, 0x2b55}, {0x3030, 0x3030}, {0x303d, 0x303d}, {0x3297, 0x3297},
    {0x3299, 0x3299}, {0x1f000, 0x1faff},
  };

  return is_in (ranges, G_N_ELEMENTS (ranges), c);
}

static gboolean
is_of_keycap (gunichar c)
{
  return (c >= '0' && c <= '9') || c == '#' || c == '*';
}

/* TRUE if an invisible character matters between these two: joiners in scripts that join and in
 * combined pictographs, variation selectors after a symbol that has two styles. `after` is 0 at the
 * end. */
static gboolean
is_needed (gunichar before, gunichar c, gunichar after)
{
  switch (c) {
    case ZWNJ:
      return is_joining (before) && is_joining (after);
    case ZWJ:
      return (is_joining (before) && is_joining (after))
          || ((is_pictograph (before) || before == EMOJI_STYLE)
          && is_pictograph (after));
    case TEXT_STYLE:
      return is_pictograph (before);
    case EMOJI_STYLE:
      return is_pictograph (before)
          || (is_of_keycap (before) && after == KEYCAP);
    default:
      return FALSE;
  }
}

/* A run of hyphens before '>' becomes one hyphen. Characters between two hyphens were removed
 * before, so no "-->" can appear later. */
static void
append (GString * out, gunichar c)
{
  if (c == '>') {
    while (out->len >= 2 && out->str[out->len - 1] == '-'
        && out->str[out->len - 2] == '-')
      g_string_truncate (out, out->len - 1);
  }
  g_string_append_unichar (out, c);
}

static gboolean
may_be_needed (gunichar c)
{
  return c == ZWNJ || c == ZWJ || c == TEXT_STYLE || c == EMOJI_STYLE;
}

/* The text so far. */
typedef struct
{
  GString *out;
  gunichar before;              /* the last character, 0 for none */
  gunichar waiting;             /* an invisible character that may matter, 0 for none */
} Line;

/* Keeps or drops the waiting character, now that the one after it is known. */
static void
settle (Line * line, gunichar after)
{
  if (line->waiting != 0 && is_needed (line->before, line->waiting, after)) {
    g_string_append_unichar (line->out, line->waiting);
    line->before = line->waiting;
  }
  line->waiting = 0;
}

/* The text to be shown, of valid UTF-8. */
static void
clean_up (GString * out, const gchar * valid)
{
  Line line = { out, 0, 0 };
  gboolean space = FALSE;
  const gchar *p;

  for (p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (is_space (c)) {
      settle (&line, ' ');
      line.before = ' ';
      space = out->len > 0;
    } else if (may_be_needed (c)) {
      settle (&line, c);
      line.waiting = c;
    } else if (!is_removed (c)) {
      settle (&line, c);
      if (space)
        g_string_append_c (out, ' ');
      append (out, c);
      line.before = c;
      space = FALSE;
    }
  }
  settle (&line, 0);
}

/* Cuts to `most` characters, and drops invisible characters that do not matter at the end. */
static void
cut (GString * out, glong most)
{
  gunichar last, before;

  if (g_utf8_strlen (out->str, (gssize) out->len) > most)
    g_string_truncate (out, (gsize) (g_utf8_offset_to_pointer (out->str,
                most) - out->str));
  while (out->len > 0) {
    const gchar *p = g_utf8_prev_char (out->str + out->len);

    last = g_utf8_get_char (p);
    before = p > out->str ? g_utf8_get_char (g_utf8_prev_char (p)) : 0;
    if (last != ' ' && (!may_be_needed (last) || is_needed (before, last, 0)))
      break;
    g_string_truncate (out, (gsize) (p - out->str));
  }
}

gchar *
gst_palme_sanitize (const gchar * text, gsize size)
{
  GString *out;
  gchar *valid, *clean;
  const gchar *p;

  /* NUL is a control character like others, but ends a C string: it is removed before the
   * validation. */
  out = g_string_sized_new (size + 1);
  for (p = text; p < text + size; p++) {
    if (*p != '\0')
      g_string_append_c (out, *p);
  }
  valid = g_utf8_make_valid (out->str, (gssize) out->len);
  g_string_truncate (out, 0);
  clean_up (out, valid);
  g_free (valid);
  cut (out, GST_PALME_TEXT_MAX);

  /* The string gets its own size, since a caption is kept for long. */
  clean = g_strndup (out->str, out->len);
  g_string_free (out, TRUE);
  return clean;
}
