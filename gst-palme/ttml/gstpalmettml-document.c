/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmettml-document.c - cues collected, and EBU-TT-D documents made of them.
 */
#include "gstpalmettml-document.h"

#include "gstpalmesanitize.h"

#include <string.h>

typedef struct
{
  GstClockTime begin, end;
  gchar *markup;                /* the escaped text, lines parted by <br/> */
} Cue;

/* White text on a black box, at the bottom of the picture; the viewer's player may choose otherwise. */
static const gchar head[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<tt xmlns=\"http://www.w3.org/ns/ttml\""
    " xmlns:ttp=\"http://www.w3.org/ns/ttml#parameter\""
    " xmlns:tts=\"http://www.w3.org/ns/ttml#styling\""
    " xmlns:ebuttm=\"urn:ebu:tt:metadata\""
    " xmlns:ebutts=\"urn:ebu:tt:style\""
    " ttp:timeBase=\"media\" ttp:cellResolution=\"50 30\" xml:lang=\"%s\">\n"
    "<head>\n"
    "<metadata><ebuttm:documentMetadata>"
    "<ebuttm:conformsToStandard>urn:ebu:tt:distribution:2014-01</ebuttm:conformsToStandard>"
    "</ebuttm:documentMetadata></metadata>\n"
    "<styling>\n"
    "<style xml:id=\"paragraph\" tts:fontFamily=\"proportionalSansSerif\" tts:fontSize=\"160%%\""
    " tts:lineHeight=\"125%%\" tts:textAlign=\"center\" ebutts:linePadding=\"0.5c\"/>\n"
    "<style xml:id=\"text\" tts:color=\"#ffffff\" tts:backgroundColor=\"#000000c2\"/>\n"
    "</styling>\n"
    "<layout>\n"
    "<region xml:id=\"bottom\" tts:origin=\"10%% 60%%\" tts:extent=\"80%% 32%%\""
    " tts:displayAlign=\"after\"/>\n" "</layout>\n" "</head>\n";

static void
cue_free (gpointer data)
{
  Cue *cue = data;

  g_free (cue->markup);
  g_free (cue);
}

void
gst_palme_ttml_cues_reset (GstPalmeTtmlCues * cues)
{
  g_queue_clear_full (&cues->cues, cue_free);
  cues->number = 1;
}

/* Each line fit to be shown, without empty ones; "" if none is left. */
static gchar *
to_markup (const gchar * text)
{
  gchar **lines = g_strsplit_set (text, "\r\n", -1), **line;
  GString *out = g_string_new (NULL);

  for (line = lines; *line; line++) {
    gchar *clean = gst_palme_sanitize (*line, strlen (*line));
    gchar *escaped = g_markup_escape_text (clean, -1);

    if (*escaped)
      g_string_append_printf (out, "%s%s", out->len ? "<br/>" : "", escaped);
    g_free (escaped);
    g_free (clean);
  }
  g_strfreev (lines);
  return g_string_free (out, FALSE);
}

void
gst_palme_ttml_cues_add (GstPalmeTtmlCues * cues, const gchar * text,
    GstClockTime begin, GstClockTime end)
{
  Cue *last = g_queue_peek_tail (&cues->cues), *cue;
  gchar *markup = to_markup (text);

  if (GST_CLOCK_TIME_IS_VALID (end) && end <= begin)
    end = begin + 1;
  if (last && (!GST_CLOCK_TIME_IS_VALID (last->end) || last->end >= begin)) {
    if (strcmp (last->markup, markup) == 0) {
      last->end = end;
      g_free (markup);
      return;
    }
    last->end = MAX (begin, last->begin);
  }
  if (!*markup) {
    g_free (markup);
    return;
  }
  cue = g_new (Cue, 1);
  *cue = (Cue) {
  begin, end, markup};
  g_queue_push_tail (&cues->cues, cue);
}

/* A time of EBU-TT-D, to the millisecond; cues of which one begins where the other ends still do. */
static void
append_time (GString * out, const gchar * name, GstClockTime time)
{
  guint64 ms = gst_util_uint64_scale_round (time, 1, GST_MSECOND);

  g_string_append_printf (out, " %s=\"%02" G_GUINT64_FORMAT ":%02u:%02u.%03u\"",
      name, ms / 3600000, (guint) (ms / 60000 % 60), (guint) (ms / 1000 % 60),
      (guint) (ms % 1000));
}

gchar *
gst_palme_ttml_cues_document (GstPalmeTtmlCues * cues, const gchar * language,
    GstClockTime begin, GstClockTime end)
{
  GString *out = g_string_new (NULL);
  gboolean any = FALSE;
  GList *link, *next;

  g_string_append_printf (out, head, language);
  for (link = cues->cues.head; link; link = next) {
    Cue *cue = link->data;
    GstClockTime from = MAX (cue->begin, begin), to = MIN (cue->end, end);

    next = link->next;
    if (from < to) {
      g_string_append_printf (out, "%s<p xml:id=\"cue%u\" region=\"bottom\" "
          "style=\"paragraph\"", any ? "" : "<body><div>\n", cues->number++);
      append_time (out, "begin", from);
      append_time (out, "end", to);
      g_string_append_printf (out, "><span style=\"text\">%s</span></p>\n",
          cue->markup);
      any = TRUE;
    }
    if (cue->end <= end) {
      cue_free (cue);
      g_queue_delete_link (&cues->cues, link);
    }
  }
  g_string_append (out, any ? "</div></body>\n</tt>\n" : "</tt>\n");
  return g_string_free (out, FALSE);
}
