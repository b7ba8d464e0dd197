/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemeta.h - the captions on the buffer: a GstCustomMeta named GstPalmeCaptionMeta for each, which
 * applications read with GStreamer's core alone (gst_buffer_get_custom_meta()). It knows no engine.
 *
 * From GStreamer 1.24 on custom metadata is serialised by GStreamer itself, gst_meta_serialize(): all fields
 * are of types that can be.
 */
#ifndef GST_PALME_META_H
#define GST_PALME_META_H

#include <gst/gst.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

#define GST_PALME_META_NAME "GstPalmeCaptionMeta"

/* What of the frame is captioned. */
typedef struct
{
  gboolean whole;               /* all of it; the rest does not count */
  GstVideoRectangle rect;       /* pixels, inside of the frame */
  gboolean of_interest;         /* a GstVideoRegionOfInterestMeta names it, by what follows */
  gint id;
  const gchar *type;            /* a static string, such as that of a quark */
} GstPalmeMetaRegion;

/* Puts the fields `region-x`, `region-y`, `region-width` and `region-height` into `to`, of a region of interest also
 * `region-id` and `region-type`; of the whole frame none. Those that are there already are replaced or removed. */
void gst_palme_meta_describe_region (GstStructure * to, const GstPalmeMetaRegion * region);

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
  const GstPalmeMetaRegion *region;     /* NULL: the whole frame */
} GstPalmeMetaValues;

/* Registers the metadata with GStreamer; calls after the first do nothing. Any thread. */
void gst_palme_meta_register (void);

/* Copies the fields `labels` and `label-probabilities` into `to`, or removes them there if `labels` is NULL. */
void gst_palme_meta_copy_labels (GstStructure * to, const GstStructure * labels);

/* Takes the captions off a writable buffer. */
void gst_palme_meta_clear (GstBuffer * buffer);

/* Puts a caption on a writable buffer, beside those that are on it. */
void gst_palme_meta_add (GstBuffer * buffer, const GstPalmeMetaValues * values);

/* The captions on the buffer, a line each; those without words have none. NULL when the buffer has no such
 * metadata. The caller's. */
gchar *gst_palme_meta_dup_text (GstBuffer * buffer);

G_END_DECLS

#endif
