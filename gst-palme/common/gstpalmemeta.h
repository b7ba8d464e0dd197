/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemeta.h - the caption on the buffer: a GstCustomMeta named GstPalmeCaptionMeta, which
 * applications read with GStreamer's core alone (gst_buffer_get_custom_meta()). It knows no engine.
 */
#ifndef GST_PALME_META_H
#define GST_PALME_META_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_PALME_META_NAME "GstPalmeCaptionMeta"

/* The fields of the metadata. The strings are borrowed for the call. */
typedef struct
{
  const gchar *text;            /* sanitised caption, "" for none */
  GstClockTime timestamp;       /* PTS of the captioned frame, or its DTS, or NONE */
  gboolean fresh;               /* the first frame that carries this caption */
  GstClockTime latency;         /* from hand-over to result */
  gboolean has_score;
  gdouble score;                /* mean log-probability of the tokens */
  const gchar *prompt;          /* that the caption goes on from, "" or NULL for none */
  const gchar *model;           /* name from the model's metadata, never a path */
  const gchar *source;          /* name of the element */
  const GstStructure *labels;   /* its fields `labels` and `label-probabilities`; NULL: none are told */
} GstPalmeMetaValues;

/* Registers the metadata with GStreamer; calls after the first do nothing. Any thread. */
void gst_palme_meta_register (void);

/* Copies the fields `labels` and `label-probabilities` into `to`, or removes them there if `labels` is NULL. */
void gst_palme_meta_copy_labels (GstStructure * to, const GstStructure * labels);

/* Puts the caption on a writable buffer. A caption that is on it already is replaced. With GStreamer 1.24 the
 * labels are also classes of its GstAnalyticsRelationMeta, on the first frame that carries the caption. */
void gst_palme_meta_set (GstBuffer * buffer, const GstPalmeMetaValues * values);

/* The caption on the buffer ("" means "no caption"), or NULL when the buffer has no such metadata.
 * The string belongs to the buffer. */
const gchar *gst_palme_meta_get_text (GstBuffer * buffer);

G_END_DECLS

#endif
