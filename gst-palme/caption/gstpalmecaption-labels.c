/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-labels.c - the labels of a captioned picture as applications get them, and what is said
 * where they do not confirm a caption.
 */
#include "gstpalmecaption-labels.h"

#include <string.h>

#include "gstpalmesanitize.h"

GType
gst_palme_when_unsure_get_type (void)
{
  static GType type = 0;
  static const GEnumValue values[] = {
    {GST_PALME_WHEN_UNSURE_CAPTION, "Say the caption anyway", "caption"},
    {GST_PALME_WHEN_UNSURE_LABELS,
        "Say the likeliest label, as in \"a photo of a clock\"", "labels"},
    {GST_PALME_WHEN_UNSURE_SILENT, "Say nothing", "silent"},
    {0, NULL, NULL}
  };

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmeWhenUnsure", values);

    g_once_init_leave (&type, t);
  }
  return type;
}

GstStructure *
gst_palme_caption_labels_describe (const palme_session * session)
{
  GstStructure *structure = gst_structure_new_empty ("palme-labels");
  struct palme_label labels[PALME_MAX_LABELS];
  gint count = palme_labels (session, labels, PALME_MAX_LABELS);
  GValue names = G_VALUE_INIT, probabilities = G_VALUE_INIT;

  gst_value_array_init (&names, MAX (count, 0));
  gst_value_array_init (&probabilities, MAX (count, 0));
  for (gint i = 0; i < count; i++) {
    GValue name = G_VALUE_INIT, probability = G_VALUE_INIT;

    g_value_init (&name, G_TYPE_STRING);
    g_value_take_string (&name, gst_palme_sanitize (labels[i].name,
            strlen (labels[i].name)));
    gst_value_array_append_and_take_value (&names, &name);
    g_value_init (&probability, G_TYPE_DOUBLE);
    g_value_set_double (&probability, labels[i].probability);
    gst_value_array_append_and_take_value (&probabilities, &probability);
  }
  gst_structure_take_value (structure, "labels", &names);
  gst_structure_take_value (structure, "label-probabilities", &probabilities);
  return structure;
}

gboolean
gst_palme_caption_labels_judge (palme_session * session,
    const gchar * sentence, gdouble min_score, GstPalmeWhenUnsure when_unsure,
    gchar ** text, gdouble * score)
{
  const gchar *cautious;

  if (*score >= min_score && palme_confirms (session, sentence) != 0)
    return FALSE;
  if (when_unsure == GST_PALME_WHEN_UNSURE_CAPTION)
    return TRUE;
  cautious = when_unsure == GST_PALME_WHEN_UNSURE_LABELS ?
      palme_cautious (session) : "";
  g_free (*text);
  *text = gst_palme_sanitize (cautious, strlen (cautious));
  /* A caption that the time limit cut off is not at its end, and then there is no other score. */
  if ((*text)[0] != '\0')
    palme_score (session, *text, score);
  return TRUE;
}
