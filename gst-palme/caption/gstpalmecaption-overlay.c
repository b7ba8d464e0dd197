/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-overlay.c - shows captions in a textoverlay downstream.
 *
 * A probe reads the caption from the buffer that the overlay is about to draw on. So the caption
 * travels with its frame, and queues, converters and tees in between do not shift it.
 *
 * There is no lock here. The streaming thread of the overlay and the thread that detaches share a flag
 * and the text that was set last; that text is data of the overlay object, which GLib guards.
 */
#include "gstpalmecaption-overlay.h"

#include "gstpalmemeta.h"

GST_DEBUG_CATEGORY_STATIC (palme_overlay_debug);
#define GST_CAT_DEFAULT palme_overlay_debug

#define MAX_DEPTH 32
/* Data of a textoverlay: the GstPalmeCaptionOverlay that serves it, and the text that was set last. */
#define CLAIM_KEY "gst-palme-claim"
#define SHOWN_KEY "gst-palme-shown"

/* An overlay that we serve. */
typedef struct
{
  gint refs;
  gint over;                    /* atomic: detached, or stood down for good */
  GstElement *target;           /* a reference; the textoverlay */
  GstPad *video;                /* a reference; its video_sink */
  GstPad *text;                 /* a reference; its text_sink */
  gulong probe;
} Claim;

struct _GstPalmeCaptionOverlay
{
  GstElement *element;
  GstPad *srcpad;
  GList *claims;                /* used by state changes only */
  gboolean attached;
};

static void
claim_unref (gpointer data)
{
  Claim *claim = data;

  if (!g_atomic_int_dec_and_test (&claim->refs))
    return;
  gst_object_unref (claim->text);
  gst_object_unref (claim->video);
  gst_object_unref (claim->target);
  g_free (claim);
}

static gpointer
copy_text (gpointer text, gpointer unused)
{
  (void) unused;
  return g_strdup (text);
}

/* TRUE if the overlay's text is what we set last; "" before that. */
static gboolean
text_is_ours (GstElement * target)
{
  gchar *shown =
      g_object_dup_data (G_OBJECT (target), SHOWN_KEY, copy_text, NULL);
  gchar *text = NULL;
  gboolean same;

  g_object_get (target, "text", &text, NULL);
  same = g_strcmp0 (text ? text : "", shown ? shown : "") == 0;
  g_free (text);
  g_free (shown);
  return same;
}

static void
set_text (GstElement * target, const gchar * markup)
{
  g_object_set_data_full (G_OBJECT (target), SHOWN_KEY, g_strdup (markup),
      g_free);
  g_object_set (target, "text", markup, NULL);
}

/* --- the probe on video_sink --------------------------------------------------------------- */

/* Shows a caption unless it is shown already. The overlay's `text` is Pango markup: an unescaped
 * "a & b <b" would draw nothing and raise a critical. */
static void
show (Claim * claim, const gchar * caption)
{
  gchar *markup = g_markup_escape_text (caption, -1);
  gchar *shown =
      g_object_dup_data (G_OBJECT (claim->target), SHOWN_KEY, copy_text, NULL);

  if (g_strcmp0 (markup, shown ? shown : "") != 0) {
    if (text_is_ours (claim->target)) {
      set_text (claim->target, markup);
      /* A detach that came between has compared with the text before. */
      if (g_atomic_int_get (&claim->over) && text_is_ours (claim->target))
        set_text (claim->target, "");
    } else {
      GST_INFO_OBJECT (claim->target,
          "the text was changed by someone else, no more captions");
      g_atomic_int_set (&claim->over, TRUE);
    }
  }
  g_free (shown);
  g_free (markup);
}

static GstPadProbeReturn
video_probe (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  Claim *claim = data;

  (void) pad;
  if (g_atomic_int_get (&claim->over))
    return GST_PAD_PROBE_OK;
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    gchar *caption;

    if (gst_pad_is_linked (claim->text)) {
      GST_INFO_OBJECT (claim->target, "text_sink was linked, no more captions");
      g_atomic_int_set (&claim->over, TRUE);
      if (text_is_ours (claim->target))
        set_text (claim->target, "");
      return GST_PAD_PROBE_OK;
    }
    caption = gst_palme_meta_dup_text (GST_PAD_PROBE_INFO_BUFFER (info));
    show (claim, caption ? caption : "");
    g_free (caption);
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) ==
      GST_EVENT_FLUSH_STOP) {
    /* Otherwise the caption from before a seek stays on the screen until the next one. */
    show (claim, "");
  }
  return GST_PAD_PROBE_OK;
}

/* --- the search ---------------------------------------------------------------------------- */

/* Claims the overlay with this video_sink, unless it is in use. FALSE: search on. */
static gboolean
claim_overlay (GstPalmeCaptionOverlay * overlay, GstElement * target,
    GstPad * video)
{
  GstPad *text = gst_element_get_static_pad (target, "text_sink");
  gchar *present = NULL;
  gboolean wanted;
  Claim *claim;

  g_object_get (target, "text", &present, NULL);
  wanted = text && !gst_pad_is_linked (text)
      && (g_object_get_data (G_OBJECT (target), CLAIM_KEY) || !present
      || !*present);
  g_free (present);
  if (!wanted) {
    gst_clear_object (&text);
    return FALSE;
  }
  if (!g_object_replace_data (G_OBJECT (target), CLAIM_KEY, NULL, overlay, NULL,
          NULL)) {
    GST_DEBUG_OBJECT (overlay->element, "%s is served already",
        GST_OBJECT_NAME (target));
    gst_object_unref (text);
    return TRUE;
  }
  GST_INFO_OBJECT (overlay->element, "captions go to the property text of %s",
      GST_OBJECT_NAME (target));
  claim = g_new0 (Claim, 1);
  claim->refs = 2;              /* the list's and the probe's */
  claim->target = gst_object_ref (target);
  claim->video = gst_object_ref (video);
  claim->text = text;
  g_object_set_data_full (G_OBJECT (target), SHOWN_KEY, g_strdup (""), g_free);
  claim->probe = gst_pad_add_probe (video,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_FLUSH, video_probe,
      claim, claim_unref);
  overlay->claims = g_list_prepend (overlay->claims, claim);
  return TRUE;
}

static GList *
collect (GstIterator * it)
{
  GValue value = G_VALUE_INIT;
  GList *pads = NULL;
  gboolean more = it != NULL;

  while (more) {
    switch (gst_iterator_next (it, &value)) {
      case GST_ITERATOR_OK:
        pads = g_list_prepend (pads, g_value_dup_object (&value));
        g_value_reset (&value);
        break;
      case GST_ITERATOR_RESYNC:
        g_list_free_full (pads, gst_object_unref);
        pads = NULL;
        gst_iterator_resync (it);
        break;
      default:
        more = FALSE;
        break;
    }
  }
  g_value_unset (&value);
  if (it)
    gst_iterator_free (it);
  return g_list_reverse (pads);
}

/* The src pads that a sink pad leads to inside of its element, ghost pads included. A selector
 * names none before it has chosen an input; then all src pads count. */
static GList *
inner_links (GstPad * sink)
{
  GList *pads = collect (gst_pad_iterate_internal_links (sink));
  GstElement *element = pads ? NULL : gst_pad_get_parent_element (sink);

  if (element) {
    pads = collect (gst_element_iterate_src_pads (element));
    gst_object_unref (element);
  }
  return pads;
}

/* Follows a src pad downstream. `seen` holds the sink pads that were visited, so that branches
 * that join again, and loops, are walked once. */
static void
walk (GstPalmeCaptionOverlay * overlay, GstPad * src, GHashTable * seen,
    guint depth)
{
  GstPad *sink = gst_pad_get_peer (src);
  GstObject *parent;
  GType type = g_type_from_name ("GstTextOverlay");
  gboolean stop = FALSE;
  GList *pads, *l;

  if (!sink)
    return;
  if (!g_hash_table_add (seen, gst_object_ref (sink))) {
    gst_object_unref (sink);
    return;
  }
  parent = gst_object_get_parent (GST_OBJECT (sink));
  if (parent && GST_IS_ELEMENT (parent) && !GST_IS_GHOST_PAD (sink)) {
    if (++depth > MAX_DEPTH
        || G_OBJECT_TYPE (parent) == G_OBJECT_TYPE (overlay->element))
      stop = TRUE;              /* overlays behind another palmecaption are that one's */
    else if (type && g_type_is_a (G_OBJECT_TYPE (parent), type))
      stop = g_strcmp0 (GST_OBJECT_NAME (sink), "video_sink") != 0
          || claim_overlay (overlay, GST_ELEMENT (parent), sink);
  }
  gst_clear_object (&parent);
  pads = stop ? NULL : inner_links (sink);
  for (l = pads; l; l = l->next)
    walk (overlay, l->data, seen, depth);
  g_list_free_full (pads, gst_object_unref);
  gst_object_unref (sink);
}

/* --- life ---------------------------------------------------------------------------------- */

GstPalmeCaptionOverlay *
gst_palme_caption_overlay_new (GstElement * element, GstPad * srcpad)
{
  static gsize once = 0;
  GstPalmeCaptionOverlay *overlay = g_new0 (GstPalmeCaptionOverlay, 1);

  if (g_once_init_enter (&once)) {
    GST_DEBUG_CATEGORY_INIT (palme_overlay_debug, "palmeoverlay", 0,
        "auto-overlay of palmecaption");
    g_once_init_leave (&once, 1);
  }
  overlay->element = element;
  overlay->srcpad = srcpad;
  return overlay;
}

void
gst_palme_caption_overlay_attach (GstPalmeCaptionOverlay * overlay)
{
  GHashTable *seen;

  if (overlay->attached)
    return;
  overlay->attached = TRUE;
  seen = g_hash_table_new_full (NULL, NULL, gst_object_unref, NULL);
  walk (overlay, overlay->srcpad, seen, 0);
  g_hash_table_unref (seen);
}

void
gst_palme_caption_overlay_detach (GstPalmeCaptionOverlay * overlay)
{
  GList *l;

  for (l = overlay->claims; l; l = l->next) {
    Claim *claim = l->data;
    gboolean stood_down = g_atomic_int_get (&claim->over);

    g_atomic_int_set (&claim->over, TRUE);
    gst_pad_remove_probe (claim->video, claim->probe);
    if (!stood_down && text_is_ours (claim->target))
      set_text (claim->target, "");
    g_object_replace_data (G_OBJECT (claim->target), CLAIM_KEY, overlay, NULL,
        NULL, NULL);
    claim_unref (claim);
  }
  g_list_free (overlay->claims);
  overlay->claims = NULL;
  overlay->attached = FALSE;
}

gboolean
gst_palme_caption_overlay_is_used (GstPalmeCaptionOverlay * overlay)
{
  return overlay->claims != NULL;
}

void
gst_palme_caption_overlay_free (GstPalmeCaptionOverlay * overlay)
{
  if (!overlay)
    return;
  gst_palme_caption_overlay_detach (overlay);
  g_free (overlay);
}
