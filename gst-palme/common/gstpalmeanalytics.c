/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmeanalytics.c - captions in the metadata that analytics elements share.
 */
#include "gstpalmeanalytics.h"

#ifdef GST_PALME_HAVE_ANALYTICS
#include <math.h>

#include <gst/analytics/analytics.h>

static gboolean
add_classes (GstAnalyticsRelationMeta * relations, const GstStructure * labels,
    guint * id)
{
  const GValue *names = gst_structure_get_value (labels, "labels");
  const GValue *probabilities =
      gst_structure_get_value (labels, "label-probabilities");
  guint count = gst_value_array_get_size (names);
  GQuark *classes = g_new (GQuark, count);
  gfloat *levels = g_new (gfloat, count);
  GstAnalyticsClsMtd mtd;
  gboolean added;

  for (guint i = 0; i < count; i++) {
    classes[i] = g_quark_from_string (g_value_get_string
        (gst_value_array_get_value (names, i)));
    levels[i] = (gfloat) g_value_get_double (gst_value_array_get_value
        (probabilities, i));
  }
  added = count > 0 && gst_analytics_relation_meta_add_cls_mtd (relations,
      count, levels, classes, &mtd);
  if (added)
    *id = mtd.id;
  g_free (classes);
  g_free (levels);
  return added;
}

#ifdef GST_PALME_HAVE_ANALYTICS_TEXT
static gboolean
add_text (GstAnalyticsRelationMeta * relations,
    const GstPalmeMetaValues * values, guint * id)
{
  gdouble confidence = values->has_score ? exp (values->score) : 1.0;
  GstAnalyticsTextMtd mtd;

  if (values->text[0] == '\0'
      || !gst_analytics_relation_meta_add_text_mtd (relations, values->text,
          (gfloat) CLAMP (confidence, 0.0, 1.0), &mtd))
    return FALSE;
  *id = mtd.id;
  return TRUE;
}
#endif

/* The object that the region is: a detector's, or a new one. */
static gboolean
find_object (GstAnalyticsRelationMeta * relations,
    const GstPalmeMetaRegion * region, guint * id)
{
  const GstVideoRectangle *rect = &region->rect;
  GstAnalyticsMtd mtd;
  GstAnalyticsODMtd object;
  gpointer state = NULL;
  gint x, y, width, height;
  gfloat confidence;

  while (gst_analytics_relation_meta_iterate (relations, &state,
          gst_analytics_od_mtd_get_mtd_type (), &mtd)) {
    if (gst_analytics_od_mtd_get_location ((GstAnalyticsODMtd *) & mtd, &x, &y,
            &width, &height, &confidence)
        && x == rect->x && y == rect->y && width == rect->w
        && height == rect->h) {
      *id = mtd.id;
      return TRUE;
    }
  }
  if (!gst_analytics_relation_meta_add_od_mtd (relations,
          region->of_interest ? g_quark_from_string (region->type) : 0,
          rect->x, rect->y, rect->w, rect->h, 1.0f, &object))
    return FALSE;
  *id = object.id;
  return TRUE;
}

void
gst_palme_analytics_add (GstBuffer * buffer, const GstPalmeMetaValues * values)
{
  GstAnalyticsRelationMeta *relations =
      gst_buffer_get_analytics_relation_meta (buffer);
  guint ids[2], object, count = 0, i;

  if (relations == NULL)
    relations = gst_buffer_add_analytics_relation_meta (buffer);
  if (relations == NULL)
    return;
  if (values->labels != NULL
      && add_classes (relations, values->labels, &ids[count]))
    count++;
#ifdef GST_PALME_HAVE_ANALYTICS_TEXT
  if (add_text (relations, values, &ids[count]))
    count++;
#endif
  if (count == 0 || values->region == NULL || values->region->whole
      || !find_object (relations, values->region, &object))
    return;
  for (i = 0; i < count; i++)
    gst_analytics_relation_meta_set_relation (relations,
        GST_ANALYTICS_REL_TYPE_RELATE_TO, object, ids[i]);
}
#else
/* ISO C forbids an empty file. */
typedef int gst_palme_analytics_is_left_out;
#endif
