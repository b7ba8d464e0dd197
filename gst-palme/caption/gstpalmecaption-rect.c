/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-rect.c - rectangles of a frame.
 */
#include "gstpalmecaption-rect.h"

#include <math.h>
#include <string.h>

/* More than any frame has on a side. */
#define MOST_PIXELS 1e6

/* One of the four values. Only digits, a point and a sign of per cent: what strtod() reads besides, as "nan" and
 * "0x10", is refused, and so are signs. */
static gboolean
parse_value (const gchar * text, gdouble * value, gboolean * relative)
{
  gsize length = strlen (text), digits = strspn (text, "0123456789.");
  gboolean percent = length == digits + 1 && text[digits] == '%';
  gboolean point = strchr (text, '.') != NULL;
  gchar *end;

  if (length == 0 || length > 32 || !(percent || length == digits))
    return FALSE;
  *value = g_ascii_strtod (text, &end);
  if (end != text + digits || end == text)
    return FALSE;
  *relative = percent || point;
  if (percent)
    *value /= 100.0;
  return *value <= (*relative ? 1.0 : MOST_PIXELS);
}

const gchar *
gst_palme_caption_part_parse (GstPalmeCaptionPart * part, const gchar * text)
{
  GstPalmeCaptionPart read = { 0 };
  gchar **values;
  gboolean ok;
  guint i;

  if (text == NULL || text[0] == '\0') {
    *part = read;
    return NULL;
  }
  values = g_strsplit (text, ",", 5);
  ok = g_strv_length (values) == 4;
  if (!ok) {
    g_strfreev (values);
    return "it is not four values, x,y,width,height";
  }
  for (i = 0; i < 4; i++)
    ok &= parse_value (g_strstrip (values[i]), &read.value[i],
        &read.relative[i]);
  g_strfreev (values);
  if (!ok)
    return
        "each value is a number of pixels such as 320, a fraction from 0.0 to 1.0, or per cent such as 25%";
  if (read.value[2] <= 0.0 || read.value[3] <= 0.0)
    return "its width and its height have to be above 0";
  /* Nobody captions a single pixel. */
  for (i = 2; i < 4; i++)
    if (!read.relative[i] && read.value[i] == 1.0)
      return "a width or height of 1 is one pixel; all of it is 1.0 or 100%";
  read.set = TRUE;
  *part = read;
  return NULL;
}

gboolean
gst_palme_caption_part_is_equal (const GstPalmeCaptionPart * a,
    const GstPalmeCaptionPart * b)
{
  guint i;

  if (!a->set || !b->set)
    return a->set == b->set;
  for (i = 0; i < 4; i++)
    if (a->relative[i] != b->relative[i] || a->value[i] != b->value[i])
      return FALSE;
  return TRUE;
}

/* One axis. The edges are rounded, not the length, so that neighbours meet. */
static gboolean
resolve_axis (const GstPalmeCaptionPart * part, guint axis, gint size,
    gint * start, gint * length)
{
  gdouble low = part->value[axis] * (part->relative[axis] ? size : 1);
  gdouble high = low + part->value[axis + 2] *
      (part->relative[axis + 2] ? size : 1);
  gint first = (gint) floor (low + 0.5);
  gint last = (gint) MIN (floor (high + 0.5), size);

  if (first >= size)
    return FALSE;
  *start = first;
  *length = MAX (last - first, 1);
  return TRUE;
}

gboolean
gst_palme_caption_part_resolve (const GstPalmeCaptionPart * part, gint width,
    gint height, GstVideoRectangle * rect)
{
  if (!part->set) {
    *rect = (GstVideoRectangle) {
    0, 0, width, height};
    return width > 0 && height > 0;
  }
  return resolve_axis (part, 0, width, &rect->x, &rect->w)
      && resolve_axis (part, 1, height, &rect->y, &rect->h);
}

static gboolean
clip_axis (guint start, guint length, gint low, gint size, gint * from,
    gint * count)
{
  gint64 first = MAX ((gint64) start, low);
  gint64 last = MIN ((gint64) start + length, (gint64) low + size);

  if (first >= last)
    return FALSE;
  *from = (gint) first;
  *count = (gint) (last - first);
  return TRUE;
}

gboolean
gst_palme_caption_rect_clip (GstVideoRectangle * rect, guint x, guint y,
    guint width, guint height, const GstVideoRectangle * bounds)
{
  return clip_axis (x, width, bounds->x, bounds->w, &rect->x, &rect->w)
      && clip_axis (y, height, bounds->y, bounds->h, &rect->y, &rect->h);
}

gdouble
gst_palme_caption_rect_overlap (const GstVideoRectangle * a,
    const GstVideoRectangle * b)
{
  gdouble width = MIN (a->x + a->w, b->x + b->w) - MAX (a->x, b->x);
  gdouble height = MIN (a->y + a->h, b->y + b->h) - MAX (a->y, b->y);
  gdouble both, all;

  if (width <= 0.0 || height <= 0.0)
    return 0.0;
  both = width * height;
  all = (gdouble) a->w * a->h + (gdouble) b->w * b->h - both;
  return both / all;
}
