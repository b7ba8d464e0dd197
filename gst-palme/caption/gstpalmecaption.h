/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption.h - the element palmecaption, as its own files see it: gstpalmecaption.c is the
 * object (properties, states, events, queries), gstpalmecaption-frame.c is what happens to each frame.
 */
#ifndef GST_PALME_CAPTION_H
#define GST_PALME_CAPTION_H

#include <gst/base/gstbasetransform.h>
#include <gst/gst.h>

#include "gstpalmemodel.h"
#include "gstpalmecaption-overlay.h"
#include "gstpalmecaption-picture.h"
#include "gstpalmecaption-schedule.h"
#include "gstpalmecaption-settings.h"
#include "gstpalmecaption-textpad.h"
#include "gstpalmecaption-time.h"
#include "gstpalmecaption-worker.h"

G_BEGIN_DECLS

#define GST_TYPE_PALME_CAPTION (gst_palme_caption_get_type ())
G_DECLARE_FINAL_TYPE (GstPalmeCaption, gst_palme_caption, GST, PALME_CAPTION,
    GstBaseTransform)

struct _GstPalmeCaption
{
  GstBaseTransform parent;

  GstPalmeWorker *worker;
  GstPalmeText *text;
  GstPalmeOverlay *overlay;

  /* The thread that changes the state: open from READY on. */
  GstPalmeModel model;
  gboolean started;             /* between READY->PAUSED and PAUSED->READY */

  /* Under the object lock. The streaming thread alone writes what follows `reload`, so it reads its
   * own values without the lock. */
  GstPalmeSettings settings;
  GstStructure *model_info;
  gboolean reload;              /* model, threads or precision changed since the model was opened */
  gchar *caption;               /* in effect now; "" says nothing, NULL is no caption */
  GstClockTime last_latency;
  GstClockTime max_delay;
  GstClockTime live_latency;    /* what sync mode adds to a LATENCY query; 0 if it does not */
  gboolean sync;                /* the mode, once it is decided */

  /* atomic */
  gint caption_now;             /* the next frame is due */

  /* The streaming thread. */
  gboolean decided;             /* the mode is */
  gboolean live;
  GstPalmePicture picture;
  GstPalmeSchedule schedule;    /* of frames with a timestamp, in media time */
  GstPalmeSchedule arrivals;    /* of frames without one, in running time */
  GstPalmeArrivals clock;       /* what those have for a time */
  GstSegment segment;           /* as it came, without position */
  guint64 frames;
  guint no_pictures;            /* frames in a row that are flagged as none */
  GstPalmeSpan frame_shown;     /* the last frame; its start is NONE if there is none */
  GstClockTime handed;          /* running time of the frame that was handed over last */
  GstClockTime caption_pts, caption_latency;
  gdouble caption_score;
  gboolean meta_fresh, text_fresh;      /* no buffer, no cue has carried the caption yet */
  gboolean warned_unmappable;   /* for these caps */
  GstClockTime warned_delay;    /* the delay that the last warning named; 0: none */
};

enum
{
  GST_PALME_PROP_CAPTION = GST_PALME_SETTING_LAST,
  GST_PALME_PROP_LAST_LATENCY,
  GST_PALME_PROP_MAX_OBSERVED_DELAY,
  GST_PALME_PROP_STATS,
  GST_PALME_PROP_MODEL_INFO,
  GST_PALME_PROP_LAST
};

/* The pspec of one of these, for notify. */
GParamSpec *gst_palme_caption_pspec (guint id);

/* Emits new-caption. No lock is held. */
void gst_palme_caption_emit (GstPalmeCaption * self, const gchar * text,
    GstClockTime pts, GstClockTime running_time, GstClockTime latency);

/* The engine's options as the properties say now; the object lock must be held. */
void gst_palme_caption_options (GstPalmeCaption * self,
    struct palme_options *options);

GST_ELEMENT_REGISTER_DECLARE (palmecaption);

G_END_DECLS

#endif
