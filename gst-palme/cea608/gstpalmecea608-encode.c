/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecea608-encode.c - text to the byte pairs of CEA-608.
 */
#include "gstpalmecea608-encode.h"

#include <string.h>

/* A control code that all decoders ignore today. */
#define ALARM_OFF 0x22

/* Three sets of characters beside ASCII: the one that replaces some of ASCII, the special characters,
 * and the extended ones. A decoder that does not know an extended character shows the one of `plain`,
 * which is sent before it; all others take it back. */
static const struct
{
  guint8 first;                 /* byte; 0: the character is one byte */
  guint8 second;                /* byte of the first character */
  const gchar *characters;
  const gchar *plain;
} sets[] = {
  /* *INDENT-OFF* */
  { 0, 0x2a, "á", NULL },
  { 0, 0x5c, "é", NULL },
  { 0, 0x5e, "íóú", NULL },
  { 0, 0x7b, "ç÷Ññ█", NULL },
  { 0x11, 0x30, "®°½¿™¢£♪à", NULL },
  { 0x11, 0x3a, "èâêîôû", NULL }, /* 0x39 is a transparent space */
  { 0x12, 0x20, "ÁÉÓÚÜü‘¡*'—©℠•“”ÀÂÇÈÊËëÎÏïÔÙùÛ«»",
                "AEOUUu'!.'-cs.\"\"AACEEEeIIiOUuU\"\"" },
  { 0x13, 0x20, "ÃãÍÌìÒòÕõ{}\\^_|~ÄäÖöß¥¤¦ÅåØø┌┐└┘",
                "AaIIiOoOo()/'-/-AaOosYC/AaOo++++" },
  /* *INDENT-ON* */
};

/* Punctuation that is not there, and what stands for it. */
static const struct
{
  const gchar *characters;
  const gchar *text;
} similar[] = {
  /* *INDENT-OFF* */
  { "‐‑‒–―−", "-" },
  { "…", "..." },
  { "’‚‛′‹›`´", "'" },
  { "„‟″", "\"" },
  { "·∙▪", "•" },
  { "♫♬", "♪" },
  { "×", "x" },
  { "⁄", "/" },
  /* *INDENT-ON* */
};

/* Where a character is: its bytes, and the plain character before it, 0 for none. */
typedef struct
{
  guint8 first, second, plain;
} Code;

static gboolean
find_code (gunichar c, Code * code)
{
  guint i;

  *code = (Code) {
  0, 0, 0};
  for (i = 0; i < G_N_ELEMENTS (sets); i++) {
    const gchar *at = g_utf8_strchr (sets[i].characters, -1, c);
    glong place;

    /* The apostrophe is in ASCII, too, in one byte. */
    if (!at || c == '\'')
      continue;
    place = g_utf8_pointer_to_offset (sets[i].characters, at);
    code->first = sets[i].first;
    code->second = (guint8) (sets[i].second + place);
    code->plain = sets[i].plain ? (guint8) sets[i].plain[place] : 0;
    return TRUE;
  }
  if (c < 0x20 || c > 0x7e || c == '`')
    return FALSE;
  code->second = (guint8) c;
  return TRUE;
}

/* ---- Characters ------------------------------------------------------------------------------ */

static gboolean
append_similar (GString * out, gunichar c)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (similar); i++)
    if (g_utf8_strchr (similar[i].characters, -1, c)) {
      g_string_append (out, similar[i].text);
      return TRUE;
    }
  return FALSE;
}

/* What is left of a character without its accents, if CEA-608 has that. */
static gboolean
append_decomposed (GString * out, gunichar c)
{
  gunichar parts[G_UNICHAR_MAX_DECOMPOSITION_LENGTH];
  gsize count = g_unichar_fully_decompose (c, TRUE, parts,
      G_N_ELEMENTS (parts)), i;
  gsize before = out->len;
  Code code;

  for (i = 0; i < count; i++) {
    if (g_unichar_ismark (parts[i]))
      continue;
    if (parts[i] == 0x2044)     /* the stroke of a fraction */
      parts[i] = '/';
    if (!find_code (parts[i], &code)) {
      g_string_truncate (out, before);
      return FALSE;
    }
    g_string_append_unichar (out, parts[i]);
  }
  return out->len > before;
}

/* The text in characters of CEA-608, words parted by one space. */
static gchar *
to_characters (const gchar * text)
{
  gchar *valid = g_utf8_make_valid (text, -1);
  gchar *composed = g_utf8_normalize (valid, -1, G_NORMALIZE_DEFAULT_COMPOSE);
  GString *out = g_string_new (NULL);
  gboolean unknown = FALSE;
  const gchar *at;
  Code code;

  for (at = composed; *at; at = g_utf8_next_char (at)) {
    gunichar c = g_utf8_get_char (at);
    gboolean known = TRUE;

    if (g_unichar_isspace (c) || c == 0xa0) {
      if (out->len > 0 && out->str[out->len - 1] != ' ')
        g_string_append_c (out, ' ');
    } else if (g_unichar_iszerowidth (c) || g_unichar_iscntrl (c)
        || g_unichar_ismark (c)) {
      continue;                 /* it belongs to what stands before it */
    } else if (find_code (c, &code)) {
      g_string_append_unichar (out, c);
    } else if (!append_similar (out, c) && !append_decomposed (out, c)) {
      known = FALSE;
      if (!unknown)
        g_string_append_c (out, '?');
    }
    unknown = !known;
  }
  g_free (valid);
  g_free (composed);
  return g_string_free (out, FALSE);
}

gchar **
gst_palme_cea608_wrap (const gchar * text)
{
  gchar *characters = to_characters (text);
  gchar **words = g_strsplit (characters, " ", -1), **word;
  GPtrArray *lines = g_ptr_array_new ();
  GString *line = g_string_new (NULL);

  for (word = words; *word; word++) {
    const gchar *rest = *word;
    glong left = g_utf8_strlen (rest, -1);

    while (left > 0) {
      glong used = g_utf8_strlen (line->str, -1);
      glong space = used > 0 ? 1 : 0;
      glong take = MIN (left, GST_PALME_CEA608_COLUMNS);
      const gchar *end;

      if (used + space + take > GST_PALME_CEA608_COLUMNS) {
        g_ptr_array_add (lines, g_strdup (line->str));
        g_string_truncate (line, 0);
        continue;
      }
      if (space)
        g_string_append_c (line, ' ');
      end = g_utf8_offset_to_pointer (rest, take);
      g_string_append_len (line, rest, end - rest);
      rest = end;
      left -= take;
    }
  }
  if (line->len > 0)
    g_ptr_array_add (lines, g_strdup (line->str));
  g_ptr_array_add (lines, NULL);
  g_string_free (line, TRUE);
  g_strfreev (words);
  g_free (characters);
  return (gchar **) g_ptr_array_free (lines, FALSE);
}

/* ---- Pairs ------------------------------------------------------------------------------------ */

static guint16
with_parity (guint8 byte)
{
  guint8 bits = byte ^ (byte >> 4);

  bits ^= bits >> 2;
  bits ^= bits >> 1;
  return (bits & 1) ? byte : byte | 0x80;
}

static void
append_pair (GArray * pairs, guint8 first, guint8 second)
{
  guint16 pair = (guint16) ((with_parity (first) << 8) | with_parity (second));

  g_array_append_val (pairs, pair);
}

/* First bytes of control codes and of two-byte characters have a bit for the second channel. */
static guint8
in_channel (guint channel, guint8 first)
{
  return channel == 2 ? first | 0x08 : first;
}

static void
append_twice (GArray * pairs, guint8 first, guint8 second)
{
  append_pair (pairs, first, second);
  append_pair (pairs, first, second);
}

void
gst_palme_cea608_append_control (GArray * pairs, guint channel,
    GstPalmeCea608Control code)
{
  append_twice (pairs, in_channel (channel, 0x14), (guint8) code);
}

void
gst_palme_cea608_append_position (GArray * pairs, guint channel, guint row,
    guint column)
{
  /* Preamble address codes: the first byte of each row, and which half of the second's values. */
  static const struct
  {
    guint8 first, second;
  } rows[GST_PALME_CEA608_ROWS] = {
    {0x11, 0x40}, {0x11, 0x60}, {0x12, 0x40}, {0x12, 0x60}, {0x15, 0x40},
    {0x15, 0x60}, {0x16, 0x40}, {0x16, 0x60}, {0x17, 0x40}, {0x17, 0x60},
    {0x10, 0x40}, {0x13, 0x40}, {0x13, 0x60}, {0x14, 0x40}, {0x14, 0x60},
  };
  guint tabs = column % 4;

  g_return_if_fail (row >= 1 && row <= GST_PALME_CEA608_ROWS);
  g_return_if_fail (column < GST_PALME_CEA608_COLUMNS);
  /* White, without underline, indented by columns of four; tabs do the rest. */
  append_twice (pairs, in_channel (channel, rows[row - 1].first),
      (guint8) (rows[row - 1].second | 0x10 | (column / 4) << 1));
  if (tabs > 0)
    append_twice (pairs, in_channel (channel, 0x17), (guint8) (0x20 + tabs));
}

/* A character of two bytes. Decoders take a pair that comes twice in a row for the repetition of one
 * pair, so a code without a meaning parts equal ones. (Padding would too, but muxers leave it out.) */
static void
append_special (GArray * pairs, guint8 first, guint8 second, guint8 control)
{
  guint16 pair = (guint16) ((with_parity (first) << 8) | with_parity (second));

  if (pairs->len > 0 && g_array_index (pairs, guint16, pairs->len - 1) == pair) {
    append_twice (pairs, control, ALARM_OFF);
  }
  g_array_append_val (pairs, pair);
}

/* Characters of one byte share pairs; those of two have a pair of their own. */
void
gst_palme_cea608_append_line (GArray * pairs, guint channel, const gchar * line)
{
  guint8 waiting = 0;
  const gchar *at;
  Code code;

  for (at = line; *at; at = g_utf8_next_char (at)) {
    guint8 byte;

    if (!find_code (g_utf8_get_char (at), &code))
      continue;
    byte = code.first ? code.plain : code.second;
    if (byte && waiting) {
      append_pair (pairs, waiting, byte);
      waiting = 0;
    } else if (byte) {
      waiting = byte;
    }
    if (!code.first)
      continue;
    if (waiting)
      append_pair (pairs, waiting, 0);
    waiting = 0;
    append_special (pairs, in_channel (channel, code.first), code.second,
        in_channel (channel, 0x14));
  }
  if (waiting)
    append_pair (pairs, waiting, 0);
}

gboolean
gst_palme_cea608_is_control (guint16 pair)
{
  guint8 first = (pair >> 8) & 0x77, second = pair & 0x7f;      /* of any channel */

  return first >= 0x10 && first <= 0x17 && (second >= 0x40
      || (second >= 0x20 && second <= 0x2f && first != 0x12 && first != 0x13));
}
