/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-decide.c - whether a new caption is shown, and whether it is announced.
 */
#include "gstpalmecaption-decide.h"

GstPalmeCaptionDecision
gst_palme_caption_decide (const GstPalmeCaptionPolicy * policy,
    const gchar * current, const gchar * text, gdouble score)
{
  GstPalmeCaptionDecision decision;

  /* No caption is better than a bad one, and the old one is of another frame. */
  decision.text = !policy->judged && score < policy->min_score ? "" : text;
  decision.changed = g_strcmp0 (current, decision.text) != 0;
  decision.announce = decision.changed || !policy->only_on_change;
  return decision;
}
