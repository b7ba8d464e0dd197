/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-decide.c - what becomes of a caption that the engine made.
 */
#include "gstpalmecaption-decide.h"

GstPalmeCaptionDecision
gst_palme_caption_decide (const GstPalmeCaptionPolicy * policy,
    const gchar * current, const gchar * text, gdouble score)
{
  GstPalmeCaptionDecision decision;

  /* The scene has no caption that is good enough. An empty one replaces what was said before. */
  decision.text = score < policy->min_score ? "" : text;
  decision.changed = g_strcmp0 (current, decision.text) != 0;
  decision.announce = decision.changed || !policy->only_on_change;
  return decision;
}
