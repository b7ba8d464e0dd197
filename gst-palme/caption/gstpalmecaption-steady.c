/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-steady.c - does a new caption replace the one that is shown?
 *
 * A captioner that looks at one picture after the other says the same thing in ever new words. Of two
 * texts that describe a picture about equally well the one that stands there already is the better one
 * for whoever reads. So a new caption has to score better than the shown one on its own picture, by a
 * margin, or to come twice in a row.
 */
#include "gstpalmecaption-steady.h"

void
gst_palme_caption_steady_reset (GstPalmeCaptionSteady * steady)
{
  g_clear_pointer (&steady->candidate, g_free);
  steady->until = 0;
}

gboolean
gst_palme_caption_steady_is_waiting (const GstPalmeCaptionSteady * steady)
{
  return steady->candidate != NULL;
}

/* Is the shown caption to be replaced by one that differs? */
static gboolean
is_to_replace (const GstPalmeCaptionSteady * steady,
    const GstPalmeCaptionNews * news)
{
  if (news->shown == NULL || news->replace)
    return TRUE;
  /* After a jump back the end of the hold is far away and means nothing. */
  if (steady->until > 0 && GST_CLOCK_TIME_IS_VALID (news->now)
      && news->now < steady->until && steady->until - news->now <= news->hold)
    return FALSE;
  if (news->margin <= 0.0 || g_strcmp0 (steady->candidate, news->text) == 0)
    return TRUE;
  return news->compared && news->score > news->shown_score + news->margin;
}

gboolean
gst_palme_caption_steady_take (GstPalmeCaptionSteady * steady,
    const GstPalmeCaptionNews * news)
{
  if (g_strcmp0 (news->shown, news->text) == 0) {
    g_clear_pointer (&steady->candidate, g_free);
    return TRUE;
  }
  if (!is_to_replace (steady, news)) {
    g_free (steady->candidate);
    steady->candidate = g_strdup (news->text);
    return FALSE;
  }
  gst_palme_caption_steady_reset (steady);
  if (GST_CLOCK_TIME_IS_VALID (news->now)
      && news->hold < GST_CLOCK_TIME_NONE - news->now)
    steady->until = news->now + news->hold;
  return TRUE;
}
