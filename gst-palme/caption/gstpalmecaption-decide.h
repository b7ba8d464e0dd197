/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-decide.h - whether a new caption is shown, and whether it is announced: a pure
 * function of the caption, the one in effect and the settings.
 */
#ifndef GST_PALME_CAPTION_DECIDE_H
#define GST_PALME_CAPTION_DECIDE_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  gdouble min_score;            /* captions with a lower score are empty; -INFINITY: no limit */
  gboolean judged;              /* min_score does not count: the caption is what is to be said */
  gboolean only_on_change;      /* an unchanged caption is not announced */
} GstPalmeCaptionPolicy;

typedef struct
{
  const gchar *text;            /* what to show: the caption, or "" */
  gboolean changed;             /* it differs from the caption in effect */
  gboolean announce;            /* by message and signal */
} GstPalmeCaptionDecision;

/* `current` is the caption in effect, NULL for none. `text` and its mean log-probability `score` come
 * from the engine. The text of the result is `text` or a constant. */
GstPalmeCaptionDecision gst_palme_caption_decide (const GstPalmeCaptionPolicy *
    policy, const gchar * current, const gchar * text, gdouble score);

G_END_DECLS

#endif
