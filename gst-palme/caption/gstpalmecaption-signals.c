/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-signals.c - the signals of palmecaption: new-caption, region-caption and partial-caption,
 * which tell, and caption-now and reload-model, by which an application acts.
 */
#include "gstpalmecaption-private.h"

enum
{
  SIGNAL_NEW_CAPTION,
  SIGNAL_REGION_CAPTION,
  SIGNAL_PARTIAL_CAPTION,
  SIGNAL_CAPTION_NOW,
  SIGNAL_RELOAD_MODEL,
  SIGNAL_LAST
};

static guint signals[SIGNAL_LAST];

gboolean
gst_palme_caption_is_listened_to (GstPalmeCaption * self)
{
  static const guint told[] = { SIGNAL_NEW_CAPTION, SIGNAL_REGION_CAPTION };
  guint notify = g_signal_lookup ("notify", G_TYPE_OBJECT), i;

  for (i = 0; i < G_N_ELEMENTS (told); i++)
    if (g_signal_has_handler_pending (self, signals[told[i]], 0, TRUE))
      return TRUE;
  return g_signal_has_handler_pending (self, notify,
      g_quark_from_static_string ("caption"), TRUE);
}

void
gst_palme_caption_emit (GstPalmeCaption * self, const gchar * text,
    const GstPalmeMetaRegion * area, GstClockTime pts,
    GstClockTime running_time, GstClockTime latency)
{
  if (!area->whole) {
    GstStructure *region = gst_structure_new_empty ("palme-region");

    gst_palme_meta_describe_region (region, area);
    g_signal_emit (self, signals[SIGNAL_REGION_CAPTION], 0, text, region, pts,
        running_time, latency);
    gst_structure_free (region);
  }
  g_signal_emit (self, signals[SIGNAL_NEW_CAPTION], 0, text, pts, running_time,
      latency);
}

void
gst_palme_caption_emit_partial (GstPalmeCaption * self, const gchar * text,
    GstClockTime pts, GstClockTime running_time)
{
  g_signal_emit (self, signals[SIGNAL_PARTIAL_CAPTION], 0, text, pts,
      running_time);
}

static void
gst_palme_caption_now (GstPalmeCaption * self)
{
  g_atomic_int_set (&self->caption_now, TRUE);
}

void
gst_palme_caption_signals_install (GType type)
{
  /**
   * GstPalmeCaption::new-caption:
   * @element: the element
   * @text: the caption
   * @pts: PTS of the captioned frame, its DTS if it has none, GST_CLOCK_TIME_NONE if it has neither
   * @running_time: running time of the captioned frame; without timestamps that of its arrival
   * @latency: time that the caption took, in nanoseconds
   *
   * A caption is ready. The signal is emitted on the streaming thread.
   *
   * Since: 0.1
   */
  signals[SIGNAL_NEW_CAPTION] = g_signal_new ("new-caption", type,
      G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 4, G_TYPE_STRING,
      G_TYPE_UINT64, G_TYPE_UINT64, G_TYPE_UINT64);
  /**
   * GstPalmeCaption::region-caption:
   * @element: the element
   * @text: the caption
   * @region: a structure with the fields `region-x`, `region-y`, `region-width` and `region-height` in pixels of
   * the captioned frame, and of a region of interest `region-id` and `region-type`
   * @pts: PTS of the captioned frame, as for #GstPalmeCaption::new-caption
   * @running_time: its running time
   * @latency: time that the caption took, in nanoseconds
   *
   * The caption of a region is ready, with #GstPalmeCaption:region or #GstPalmeCaption:regions. The signal is
   * emitted on the streaming thread, before #GstPalmeCaption::new-caption, which comes as well.
   *
   * Since: 0.2
   */
  signals[SIGNAL_REGION_CAPTION] = g_signal_new ("region-caption", type,
      G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 5, G_TYPE_STRING,
      GST_TYPE_STRUCTURE, G_TYPE_UINT64, G_TYPE_UINT64, G_TYPE_UINT64);
  /**
   * GstPalmeCaption::partial-caption:
   * @element: the element
   * @text: the caption so far
   * @pts: PTS of the frame that is being captioned, as for #GstPalmeCaption::new-caption
   * @running_time: its running time
   *
   * A caption has grown, with #GstPalmeCaption:partial. The signal is emitted on the streaming thread, when
   * a frame passes.
   *
   * Since: 0.2
   */
  signals[SIGNAL_PARTIAL_CAPTION] = g_signal_new ("partial-caption", type,
      G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 3, G_TYPE_STRING,
      G_TYPE_UINT64, G_TYPE_UINT64);
  /**
   * GstPalmeCaption::caption-now:
   * @element: the element
   *
   * Captions the next frame, whatever #GstPalmeCaption:interval is.
   *
   * Since: 0.1
   */
  signals[SIGNAL_CAPTION_NOW] = g_signal_new_class_handler ("caption-now",
      type, G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (gst_palme_caption_now), NULL, NULL, NULL, G_TYPE_NONE, 0);
  /**
   * GstPalmeCaption::reload-model:
   * @element: the element
   *
   * Reads the file of #GstPalmeCaption:model again, which may have been replaced. In PLAYING it is loaded
   * beside the video; the new model makes the captions once it is there, and #GstPalmeCaption:model-info
   * is notified. If the file cannot be loaded, the model in use stays and a warning is posted.
   *
   * Since: 0.2
   */
  signals[SIGNAL_RELOAD_MODEL] = g_signal_new_class_handler ("reload-model",
      type, G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (gst_palme_caption_reload_model), NULL, NULL, NULL,
      G_TYPE_NONE, 0);
}
