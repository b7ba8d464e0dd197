/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-steady.h - does a new caption replace the one that is shown? It belongs to the
 * streaming thread and knows no pictures.
 */
#ifndef GST_PALME_CAPTION_STEADY_H
#define GST_PALME_CAPTION_STEADY_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Zeroed memory is the start. */
typedef struct
{
  gchar *candidate;             /* the last caption, if it was held back */
  GstClockTime until;           /* the shown caption is held until then; 0: not */
} GstPalmeCaptionSteady;

/* A caption that has come. Texts are what would be shown: "" for one below the least score. */
typedef struct
{
  const gchar *text;
  gdouble score;                /* mean log-probability of a token, or the least score for "" */
  const gchar *shown;           /* the caption in effect; NULL: none */
  gboolean compared;            /* shown_score is that of `shown` on the new picture */
  gdouble shown_score;
  gboolean replace;             /* whatever it scores: after a cut, with another prompt */
  GstClockTime now;             /* running time, NONE if there is none */
  gdouble margin;               /* nats per token; 0: each caption replaces the last one */
  GstClockTime hold;            /* how long a caption is shown at least; 0: no time */
} GstPalmeCaptionNews;

/* TRUE if the new caption is shown, which may be the same text. Otherwise the shown one stays, and the
 * next picture must be captioned even if it is the same: the new text may come a second time. */
gboolean gst_palme_caption_steady_take (GstPalmeCaptionSteady * steady,
    const GstPalmeCaptionNews * news);

/* TRUE if a caption was held back since the last one was shown. */
gboolean gst_palme_caption_steady_is_waiting (const GstPalmeCaptionSteady *
    steady);

/* Nothing is shown any more. Leaves nothing to free. */
void gst_palme_caption_steady_reset (GstPalmeCaptionSteady * steady);

G_END_DECLS

#endif
