/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemeta.c - the caption in a buffer's metadata. The element decides which caption a buffer
 * carries.
 */
#include "gstpalmemeta.h"

#ifdef GST_PALME_HAVE_ANALYTICS
#include <gst/analytics/analytics.h>
#endif

#define GST_PALME_META_VERSION 1

void
gst_palme_meta_register (void)
{
  static gsize once = 0;
  /* Metadata without tags and without a transform function survives every copy and conversion. */
  static const gchar *tags[] = { NULL };

  if (g_once_init_enter (&once)) {
    /* Another copy of this plugin in the process may have registered the same name. */
    if (gst_meta_get_info (GST_PALME_META_NAME) == NULL)
      gst_meta_register_custom (GST_PALME_META_NAME, tags, NULL, NULL, NULL);
    g_once_init_leave (&once, 1);
  }
}

void
gst_palme_meta_copy_labels (GstStructure * to, const GstStructure * labels)
{
  static const gchar *const fields[] = { "labels", "label-probabilities" };

  for (guint i = 0; i < G_N_ELEMENTS (fields); i++) {
    if (labels != NULL)
      gst_structure_set_value (to, fields[i],
          gst_structure_get_value (labels, fields[i]));
    else
      gst_structure_remove_field (to, fields[i]);
  }
}

#ifdef GST_PALME_HAVE_ANALYTICS
static void
add_classes (GstBuffer * buffer, const GstStructure * labels)
{
  const GValue *names = gst_structure_get_value (labels, "labels");
  const GValue *probabilities =
      gst_structure_get_value (labels, "label-probabilities");
  guint count = gst_value_array_get_size (names);
  GQuark *classes = g_new (GQuark, count);
  gfloat *levels = g_new (gfloat, count);
  GstAnalyticsRelationMeta *relations;
  GstAnalyticsClsMtd mtd;

  for (guint i = 0; i < count; i++) {
    classes[i] = g_quark_from_string (g_value_get_string
        (gst_value_array_get_value (names, i)));
    levels[i] = (gfloat) g_value_get_double (gst_value_array_get_value
        (probabilities, i));
  }
  relations = gst_buffer_get_analytics_relation_meta (buffer);
  if (relations == NULL)
    relations = gst_buffer_add_analytics_relation_meta (buffer);
  if (count > 0 && relations != NULL)
    gst_analytics_relation_meta_add_cls_mtd (relations, count, levels, classes,
        &mtd);
  g_free (classes);
  g_free (levels);
}
#endif

void
gst_palme_meta_set (GstBuffer * buffer, const GstPalmeMetaValues * values)
{
  GstCustomMeta *meta;
  GstStructure *structure;

  g_return_if_fail (gst_buffer_is_writable (buffer));
  g_return_if_fail (values->text != NULL);

  meta = gst_buffer_get_custom_meta (buffer, GST_PALME_META_NAME);
  if (meta == NULL)
    meta = gst_buffer_add_custom_meta (buffer, GST_PALME_META_NAME);
  g_return_if_fail (meta != NULL);

  structure = gst_custom_meta_get_structure (meta);
  gst_structure_set (structure,
      "text", G_TYPE_STRING, values->text,
      "timestamp", G_TYPE_UINT64, values->timestamp,
      "fresh", G_TYPE_BOOLEAN, values->fresh,
      "latency", G_TYPE_UINT64, values->latency,
      "prompt", G_TYPE_STRING, values->prompt ? values->prompt : "",
      "model", G_TYPE_STRING, values->model ? values->model : "",
      "source", G_TYPE_STRING, values->source ? values->source : "",
      "version", G_TYPE_INT, GST_PALME_META_VERSION, NULL);
  if (values->has_score)
    gst_structure_set (structure, "score", G_TYPE_DOUBLE, values->score, NULL);
  else
    gst_structure_remove_field (structure, "score");
  gst_palme_meta_copy_labels (structure, values->labels);
#ifdef GST_PALME_HAVE_ANALYTICS
  if (values->fresh && values->labels != NULL)
    add_classes (buffer, values->labels);
#endif
}

const gchar *
gst_palme_meta_get_text (GstBuffer * buffer)
{
  GstCustomMeta *meta =
      gst_buffer_get_custom_meta (buffer, GST_PALME_META_NAME);

  if (meta == NULL)
    return NULL;
  return gst_structure_get_string (gst_custom_meta_get_structure (meta),
      "text");
}
