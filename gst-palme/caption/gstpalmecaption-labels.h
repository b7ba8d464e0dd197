/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-labels.h - the labels of a captioned picture as applications get them, and what is said
 * where they do not confirm a caption. It asks a session; it knows neither the element nor the worker.
 */
#ifndef GST_PALME_CAPTION_LABELS_H
#define GST_PALME_CAPTION_LABELS_H

#include <gst/gst.h>

#include "palme.h"

G_BEGIN_DECLS

typedef enum
{
  GST_PALME_WHEN_UNSURE_CAPTION,
  GST_PALME_WHEN_UNSURE_LABELS,
  GST_PALME_WHEN_UNSURE_SILENT
} GstPalmeWhenUnsure;

GType gst_palme_when_unsure_get_type (void);

/* The fields `labels` and `label-probabilities` of the session's picture, arrays of strings and of doubles,
 * most likely first. The caller's. */
GstStructure *gst_palme_caption_labels_describe (const palme_session * session);

/* What is said of the session's picture, whose caption is *text with *score: the caption, or, if it scores
 * below `min_score` or the labels do not confirm the sentence, prompt and words, what `when_unsure` asks for.
 * A text of labels gets its own score. *text is replaced. TRUE if the caption is unsure. */
gboolean gst_palme_caption_labels_judge (palme_session * session,
    const gchar * sentence, gdouble min_score, GstPalmeWhenUnsure when_unsure,
    gchar ** text, gdouble * score);

G_END_DECLS

#endif
