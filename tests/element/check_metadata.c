/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_metadata.c - the captions on buffers: several of them, serialised and read back, from hostile bytes too, and in
 * the metadata that analytics elements share. What GStreamer 1.22 does not have is skipped with a line.
 */
#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstpalmeanalytics.h"
#include "gstpalmemeta.h"

static GstStructure *
labels_of (void)
{
  return gst_structure_from_string ("palme-labels, labels=<\"dog\", "
      "\"a \\\"cat\\\", or two;\">, label-probabilities=<0.75, 0.25>;", NULL);
}

static GstPalmeMetaValues
values_of (const GstStructure * labels, const GstPalmeMetaRegion * region)
{
  return (GstPalmeMetaValues) {
  .text = "a \"dog\"; runs, \\ <b> \xe2\x9c\x93",.timestamp =
        12345678901234567,.fresh = TRUE,.latency = 7,.has_score =
        TRUE,.score = -0.5,.prompt = "a ",.model = "m",.source = "s",.labels =
        labels,.region = region};
}

static const GstPalmeMetaRegion part = {.rect = {1, 2, 30, 40},.of_interest =
    TRUE,.id = -7,.type = "person"
};

static GstStructure *
nth (GstBuffer * buffer, guint n)
{
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta (buffer, &state)) != NULL)
    if (meta->info == gst_meta_get_info (GST_PALME_META_NAME) && n-- == 0)
      return gst_custom_meta_get_structure ((GstCustomMeta *) meta);
  return NULL;
}

GST_START_TEST (test_several)
{
  GstBuffer *buffer = gst_buffer_new (), *copy;
  GstStructure *labels = labels_of ();
  GstPalmeMetaValues values = values_of (labels, NULL);
  gchar *text;

  fail_unless (gst_palme_meta_dup_text (buffer) == NULL);
  values.text = "one";
  gst_palme_meta_add (buffer, &values);
  values.text = "";
  gst_palme_meta_add (buffer, &values);
  values.text = "two";
  values.labels = NULL;
  values.region = &part;
  gst_palme_meta_add (buffer, &values);
  copy = gst_buffer_copy (buffer);
  text = gst_palme_meta_dup_text (copy);
  fail_unless_equals_string (text, "one\ntwo");
  g_free (text);
  fail_unless (gst_structure_has_field (nth (copy, 0), "labels"));
  fail_if (gst_structure_has_field (nth (copy, 2), "labels"));
  fail_if (gst_structure_has_field (nth (copy, 0), "region-x"));
  fail_unless (gst_structure_has_field (nth (copy, 2), "region-x"));
  gst_palme_meta_clear (copy);
  fail_unless (gst_palme_meta_dup_text (copy) == NULL);
  gst_structure_free (labels);
  gst_buffer_unref (copy);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

#if GST_CHECK_VERSION (1, 24, 0)
static GByteArray *
serialise (GstBuffer * buffer)
{
  GByteArray *bytes = g_byte_array_new ();
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta (buffer, &state)) != NULL)
    if (meta->info == gst_meta_get_info (GST_PALME_META_NAME))
      fail_unless (gst_meta_serialize_simple (meta, bytes));
  return bytes;
}

/* TRUE if metadata was read. */
static gboolean
deserialise (GstBuffer * buffer, const guint8 * bytes, gsize size)
{
  guint32 used = 0;

  return gst_meta_deserialize (buffer, bytes, size, &used) != NULL;
}

GST_START_TEST (test_serialise)
{
  GstBuffer *buffer = gst_buffer_new (), *other = gst_buffer_new ();
  GstStructure *labels = labels_of ();
  GstPalmeMetaValues values = values_of (labels, &part);
  GByteArray *bytes;

  gst_palme_meta_add (buffer, &values);
  bytes = serialise (buffer);
  fail_unless (deserialise (other, bytes->data, bytes->len));
  fail_unless (nth (other, 0) != NULL);
  fail_unless (gst_structure_is_equal (nth (buffer, 0), nth (other, 0)));
  g_byte_array_unref (bytes);
  gst_buffer_unref (other);
  gst_buffer_unref (buffer);
  gst_structure_free (labels);
}

GST_END_TEST;

/* Whatever was changed or cut off of the payload: metadata or none, and reading it does no harm. The header before
 * it is GStreamer's: the size of all, the length of the name, the name, a zero, the version. */
GST_START_TEST (test_hostile)
{
  const gsize header = 2 * 4 + strlen (GST_PALME_META_NAME) + 2;
  GstBuffer *buffer = gst_buffer_new ();
  GstStructure *labels = labels_of ();
  GstPalmeMetaValues values = values_of (labels, &part);
  GRand *random = g_rand_new_with_seed (1);
  guint i, k, read = 0;
  GByteArray *bytes;

  /* GStreamer says so where a payload has something behind the structure, with the payload, which is no
   * UTF-8. */
  gst_check_add_log_filter ("GStreamer", G_LOG_LEVEL_WARNING,
      g_regex_new ("gst_structure_from_string did not consume", G_REGEX_RAW,
          0, NULL), NULL, NULL, NULL);
  gst_palme_meta_add (buffer, &values);
  bytes = serialise (buffer);
  fail_unless (bytes->len > header);
  for (i = 0; i < 4000; i++) {
    gint last = (gint) bytes->len;
    gsize size = i % 4 ? bytes->len :
        (gsize) g_rand_int_range (random, (gint) header, last);
    /* Of exactly this size, so that a sanitizer sees what is read behind it. */
    guint8 *exact = g_memdup2 (bytes->data, size);
    GstBuffer *other = gst_buffer_new ();

    GST_WRITE_UINT32_LE (exact, (guint32) size);
    for (k = 0; k < i % 5 && size > header; k++)
      exact[g_rand_int_range (random, (gint) header, (gint) size)] =
          (guint8) g_rand_int_range (random, 0, 256);
    read += deserialise (other, exact, size);
    g_free (gst_palme_meta_dup_text (other));
    g_free (exact);
    gst_buffer_unref (other);
  }
  fail_unless (read > 0 && read < 4000, "%u", read);
  gst_check_clear_log_filter ();
  g_rand_free (random);
  g_byte_array_unref (bytes);
  gst_buffer_unref (buffer);
  gst_structure_free (labels);
}

GST_END_TEST;
#endif

/* ---- Analytics ---------------------------------------------------------------------------------- */

#ifdef GST_PALME_HAVE_ANALYTICS
#include <gst/analytics/analytics.h>

GST_START_TEST (test_analytics)
{
  GstStructure *labels = labels_of ();
  GstPalmeMetaValues values = values_of (labels, &part);
  GstBuffer *buffer = gst_buffer_new ();
  GstAnalyticsRelationMeta *relations;
  GstAnalyticsClsMtd classes;
  GstAnalyticsODMtd object, detected;
  GstAnalyticsMtd related;
  gpointer state = NULL;
  gint x, y, w, h;
  gfloat confidence;
  guint objects = 0;

  /* A detector has been there, and its object is the region. */
  relations = gst_buffer_add_analytics_relation_meta (buffer);
  fail_unless (gst_analytics_relation_meta_add_od_mtd (relations,
          g_quark_from_string ("person"), 1, 2, 30, 40, 0.5f, &detected));
  gst_palme_analytics_add (buffer, &values);
  fail_unless (gst_analytics_relation_meta_get_direct_related (relations,
          detected.id, GST_ANALYTICS_REL_TYPE_RELATE_TO,
          gst_analytics_cls_mtd_get_mtd_type (), NULL, &classes));
  fail_unless_equals_int (gst_analytics_cls_mtd_get_length (&classes), 2);
  fail_unless_equals_string (g_quark_to_string (gst_analytics_cls_mtd_get_quark
          (&classes, 0)), "dog");
  fail_unless_equals_float (gst_analytics_cls_mtd_get_level (&classes, 1),
      0.25);
#ifdef GST_PALME_HAVE_ANALYTICS_TEXT
  fail_unless (gst_analytics_relation_meta_get_direct_related (relations,
          detected.id, GST_ANALYTICS_REL_TYPE_RELATE_TO,
          gst_analytics_text_mtd_get_mtd_type (), NULL, &related));
  fail_unless_equals_string (gst_analytics_text_mtd_get_text (&related),
      values.text);
  fail_unless (gst_analytics_text_mtd_get_confidence (&related) > 0.6f
      && gst_analytics_text_mtd_get_confidence (&related) < 0.61f);
#else
  g_print
      ("this GStreamer has no texts in its analytics metadata: not tested\n");
  (void) related;
#endif
  while (gst_analytics_relation_meta_iterate (relations, &state,
          gst_analytics_od_mtd_get_mtd_type (), &object))
    objects++;
  fail_unless_equals_int (objects, 1);

  /* Another region is another object, and the whole frame none. */
  values.region = &(GstPalmeMetaRegion) {
    .rect = {
      5, 6, 7, 8
    }
  };
  gst_palme_analytics_add (buffer, &values);
  values.region = NULL;
  gst_palme_analytics_add (buffer, &values);
  for (state = NULL, objects = 0;
      gst_analytics_relation_meta_iterate (relations, &state,
          gst_analytics_od_mtd_get_mtd_type (), &object); objects++)
    fail_unless (gst_analytics_od_mtd_get_location (&object, &x, &y, &w, &h,
            &confidence));
  fail_unless_equals_int (objects, 2);
  fail_unless (x == 5 && y == 6 && w == 7 && h == 8);
  gst_buffer_unref (buffer);
  gst_structure_free (labels);
}

GST_END_TEST;
#endif

static Suite *
metadata_suite (void)
{
  Suite *suite = suite_create ("metadata");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  gst_palme_meta_register ();
  tcase_add_test (tcase, test_several);
#if GST_CHECK_VERSION (1, 24, 0)
  tcase_add_test (tcase, test_serialise);
  tcase_add_test (tcase, test_hostile);
#else
  g_print ("GStreamer before 1.24 does not serialise metadata: not tested\n");
#endif
#ifdef GST_PALME_HAVE_ANALYTICS
  tcase_add_test (tcase, test_analytics);
#else
  g_print ("compiled without gstreamer-analytics-1.0: not tested\n");
#endif
  return suite;
}

GST_CHECK_MAIN (metadata);
