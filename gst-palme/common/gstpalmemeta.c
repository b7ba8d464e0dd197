/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemeta.c - the caption in a buffer's metadata. The element decides which caption a buffer
 * carries.
 */
#include "gstpalmemeta.h"

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

void
gst_palme_meta_describe_region (GstStructure * to,
    const GstPalmeMetaRegion * region)
{
  if (region != NULL && !region->whole)
    gst_structure_set (to,
        "region-x", G_TYPE_INT, region->rect.x,
        "region-y", G_TYPE_INT, region->rect.y,
        "region-width", G_TYPE_INT, region->rect.w,
        "region-height", G_TYPE_INT, region->rect.h, NULL);
  else
    gst_structure_remove_fields (to, "region-x", "region-y", "region-width",
        "region-height", NULL);
  if (region != NULL && !region->whole && region->of_interest)
    gst_structure_set (to,
        "region-id", G_TYPE_INT, region->id,
        "region-type", G_TYPE_STRING, region->type ? region->type : "", NULL);
  else
    gst_structure_remove_fields (to, "region-id", "region-type", NULL);
}

void
gst_palme_meta_clear (GstBuffer * buffer)
{
  GstCustomMeta *meta;

  while ((meta =
          gst_buffer_get_custom_meta (buffer, GST_PALME_META_NAME)) != NULL)
    gst_buffer_remove_meta (buffer, &meta->meta);
}

void
gst_palme_meta_add (GstBuffer * buffer, const GstPalmeMetaValues * values)
{
  GstCustomMeta *meta;
  GstStructure *structure;

  g_return_if_fail (gst_buffer_is_writable (buffer));
  g_return_if_fail (values->text != NULL);

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
  gst_palme_meta_copy_labels (structure, values->labels);
  gst_palme_meta_describe_region (structure, values->region);
}

gchar *
gst_palme_meta_dup_text (GstBuffer * buffer)
{
  const GstMetaInfo *info = gst_meta_get_info (GST_PALME_META_NAME);
  GString *text = NULL;
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta (buffer, &state)) != NULL) {
    const gchar *words;

    if (meta->info != info)
      continue;
    /* It may have come from another process, without the field. */
    words = gst_structure_get_string (gst_custom_meta_get_structure (
            (GstCustomMeta *) meta), "text");
    if (text == NULL)
      text = g_string_new (NULL);
    if (words != NULL && words[0] != '\0')
      g_string_append_printf (text, "%s%s", text->len > 0 ? "\n" : "", words);
  }
  return text != NULL ? g_string_free (text, FALSE) : NULL;
}
