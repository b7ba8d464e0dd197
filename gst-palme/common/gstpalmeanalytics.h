/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmeanalytics.h - captions in the metadata that analytics elements share (GstAnalyticsRelationMeta), where
 * GStreamer has it: GST_PALME_HAVE_ANALYTICS, from 1.24 on. GST_PALME_HAVE_ANALYTICS_TEXT, from 1.30 on, is
 * that it has texts.
 */
#ifndef GST_PALME_ANALYTICS_H
#define GST_PALME_ANALYTICS_H

#include "gstpalmemeta.h"

G_BEGIN_DECLS

#ifdef GST_PALME_HAVE_ANALYTICS
/* Adds to a writable buffer: the labels as a classification, and, where GStreamer has it, the caption as a text,
 * with the mean probability of its tokens as confidence. Of a region both are related to an object
 * detection with its rectangle: the one that is there, or a new one. */
void gst_palme_analytics_add (GstBuffer * buffer, const GstPalmeMetaValues * values);
#endif

G_END_DECLS

#endif
