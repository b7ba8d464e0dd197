/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmesanitize.c - makes text of any origin fit to be shown.
 *
 * A caption comes from a model file and a picture, and both can be hostile: a blank line and "-->"
 * forge a second cue in subtitle files, escape sequences steer terminals, direction marks hide what
 * is written. Every output of the element takes its text from here. Escaping is not done here,
 * because what has to be escaped differs from output to output.
 */
#include "gstpalmesanitize.h"

#include <string.h>

static gboolean
is_space (gunichar c)
{
  /* Newline, tab, line and paragraph separators and U+0085, which is a line break of old, become
   * spaces, so that two words do not grow together. */
  return c == ' ' || (c >= 0x09 && c <= 0x0d) || c == 0x85 || c == 0x2028
      || c == 0x2029;
}

static gboolean
is_removed (gunichar c)
{
  return c < 0x20 || (c >= 0x7f && c <= 0x9f)   /* C0, DEL, C1 */
      || c == 0xfeff             /* byte order mark */
      || (c >= 0x202a && c <= 0x202e)   /* direction: embeddings, overrides */
      || (c >= 0x2066 && c <= 0x2069)    /* direction: isolates */
      || (c >= 0x200b && c <= 0x200f)    /* zero width, direction marks */
      || c == 0x2060 || c == 0x180e || c == 0x061c;      /* word joiner, Mongolian, Arabic mark */
}

/* A run of hyphens before '>' becomes one hyphen. What was removed between two hyphens is gone by
 * now, so no "-->" can appear later. */
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

gchar *
gst_palme_sanitize (const gchar * text, gsize size)
{
  GString *out;
  gchar *valid, *clean;
  const gchar *p, *end;
  gboolean space = FALSE;

  /* A NUL inside is a control character like any other: it becomes invalid input to a C string, so
   * it is removed before the validation. */
  out = g_string_sized_new (size + 1);
  for (p = text; p < text + size; p++) {
    if (*p != '\0')
      g_string_append_c (out, *p);
  }
  valid = g_utf8_make_valid (out->str, out->len);
  g_string_truncate (out, 0);

  end = valid + strlen (valid);
  for (p = valid; p < end; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (is_space (c)) {
      space = out->len > 0;
    } else if (!is_removed (c)) {
      if (space)
        g_string_append_c (out, ' ');
      space = FALSE;
      append (out, c);
    }
  }
  g_free (valid);

  if (g_utf8_strlen (out->str, out->len) > GST_PALME_TEXT_MAX) {
    gchar *cut = g_utf8_offset_to_pointer (out->str, GST_PALME_TEXT_MAX);

    g_string_truncate (out, cut - out->str);
  }
  while (out->len > 0 && out->str[out->len - 1] == ' ')
    g_string_truncate (out, out->len - 1);

  /* The string is handed out at its own size: one caption is kept for long. */
  clean = g_strndup (out->str, out->len);
  g_string_free (out, TRUE);
  return clean;
}
