/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-private.h - the instance of palmecaption, and what the files that work on it call
 * of each other: gstpalmecaption.c (class, states, events, queries), -settings.c (the properties that
 * a user sets) and -frame.c (what happens to each frame).
 *
 * Worker, text pad, overlay, picture and schedule have state of their own and do not know the
 * element. Each has a small header, so that a test can link it alone.
 */
#ifndef GST_PALME_CAPTION_PRIVATE_H
#define GST_PALME_CAPTION_PRIVATE_H

#include <gst/base/gstbasetransform.h>
#include <gst/gst.h>

#include "gstpalmecaption-overlay.h"
#include "gstpalmecaption-picture.h"
#include "gstpalmecaption-scene.h"
#include "gstpalmecaption-schedule.h"
#include "gstpalmecaption-steady.h"
#include "gstpalmecaption-textpad.h"
#include "gstpalmecaption-time.h"
#include "gstpalmecaption-worker.h"
#include "gstpalmecaption.h"
#include "gstpalmemodel.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN (gst_palme_caption_debug);

/* ---- Properties ------------------------------------------------------------------------------ */

typedef enum
{
  GST_PALME_MODE_AUTO,
  GST_PALME_MODE_ASYNC,
  GST_PALME_MODE_SYNC
} GstPalmeMode;

typedef enum
{
  GST_PALME_PRECISION_AUTO,
  GST_PALME_PRECISION_F32,
  GST_PALME_PRECISION_BF16,
  GST_PALME_PRECISION_INT8
} GstPalmePrecision;

typedef enum
{
  GST_PALME_ON_ERROR_WARN,
  GST_PALME_ON_ERROR_ERROR
} GstPalmeOnError;

/* The engine's name of it, a constant string. */
const gchar *gst_palme_precision_name (GstPalmePrecision precision);

/* Properties up to PROP_AUTO_OVERLAY can be set in NULL and READY only; from PROP_CAPTION on they
 * are read-only. */
enum
{
  PROP_0,
  PROP_MODEL,
  PROP_THREADS,
  PROP_PRECISION,
  PROP_MODE,
  PROP_AUTO_OVERLAY,
  PROP_INTERVAL,
  PROP_PROMPT,
  PROP_MAX_LENGTH,
  PROP_TIME_LIMIT,
  PROP_TEMPERATURE,
  PROP_TOP_K,
  PROP_TOP_P,
  PROP_SEED,
  PROP_BEAMS,
  PROP_MIN_SCORE,
  PROP_LABELS,
  PROP_LABEL_WEIGHT,
  PROP_WHEN_UNSURE,
  PROP_ONLY_ON_CHANGE,
  PROP_SCENE_THRESHOLD,
  PROP_CUT_THRESHOLD,
  PROP_MAX_RATE,
  PROP_CAPTION_HOLD,
  PROP_SWITCH_MARGIN,
  PROP_CUE_DURATION,
  PROP_DRAIN_TIMEOUT,
  PROP_POST_MESSAGES,
  PROP_ON_ERROR,
  PROP_CAPTION,
  PROP_LAST_LATENCY,
  PROP_LAST_LABELS,
  PROP_MAX_OBSERVED_DELAY,
  PROP_STATS,
  PROP_MODEL_INFO,
  PROP_LAST
};

/* The values. The element's object lock protects them. */
typedef struct
{
  gchar *model;
  guint threads;
  GstPalmePrecision precision;
  GstPalmeMode mode;
  gboolean auto_overlay;
  GstClockTime interval;
  gchar *prompt;
  guint max_length;
  GstClockTime time_limit;
  gdouble temperature;
  guint top_k;
  gdouble top_p;
  guint64 seed;
  guint beams;
  gdouble min_score;            /* above 0: the model's own */
  gboolean labels;              /* they are told */
  gdouble label_weight;         /* below 0: the model's own */
  GstPalmeWhenUnsure when_unsure;
  gboolean only_on_change;
  gdouble scene_threshold, cut_threshold;       /* below 0: by the mode */
  gdouble max_rate;
  GstClockTime caption_hold;    /* NONE: by the mode */
  gdouble switch_margin;        /* below 0: by the mode */
  GstClockTime cue_duration;
  GstClockTime drain_timeout;
  gboolean post_messages;
  GstPalmeOnError on_error;
} GstPalmeCaptionSettings;

/* How captions are kept steady, by the settings and the mode; what is off is 0. */
typedef struct
{
  gdouble scene_threshold, cut_threshold;
  gdouble max_rate;             /* captions a second; 0: any number */
  GstClockTime hold;
  gdouble margin;
} GstPalmeCaptionSteadying;

void gst_palme_caption_settings_init (GstPalmeCaptionSettings * settings);
void gst_palme_caption_settings_clear (GstPalmeCaptionSettings * settings);

/* Installs the properties on the class of the element. */
void gst_palme_caption_settings_install (GObjectClass * klass);

/* Stores the value. Returns NULL, or a constant sentence with the reason why the value is refused;
 * then the old one stays. Object lock held; `locked` means that the element is past READY. */
const gchar *gst_palme_caption_settings_set (GstPalmeCaptionSettings *
    settings, guint id, const GValue * value, gboolean locked);

/* Copies a value out; FALSE if this is not a property of these. Object lock held. */
gboolean gst_palme_caption_settings_get (const GstPalmeCaptionSettings *
    settings, guint id, GValue * value);

/* Object lock held. */
void gst_palme_caption_settings_steadying (const GstPalmeCaptionSettings *
    settings, gboolean sync, GstPalmeCaptionSteadying * steadying);

/* TRUE if captions of the same picture may differ when this property does. */
gboolean gst_palme_caption_settings_is_of_captions (guint id);

/* ---- The instance ---------------------------------------------------------------------------- */

struct _GstPalmeCaption
{
  GstBaseTransform parent;

  GstPalmeCaptionWorker *worker;
  GstPalmeCaptionTextpad *text;
  GstPalmeCaptionOverlay *overlay;

  gboolean started;             /* between READY->PAUSED and PAUSED->READY; state changes only */

  /* Under the object lock. The streaming thread alone writes what follows `reload`, so it reads its
   * own values without the lock. */
  GstPalmeCaptionSettings settings;
  GstPalmeModel *model;         /* open from READY on, else NULL; jobs hold references of their own */
  gboolean reload;              /* model, threads or precision changed since the model was opened */
  gchar *caption;               /* in effect now; "" is an empty caption, NULL none */
  GstStructure *labels;         /* of the last captioned picture, as they are told; NULL: they are not */
  GstClockTime last_latency;
  GstClockTime max_delay;
  GstClockTime live_latency;    /* what sync mode adds to a LATENCY query; 0 if it does not */
  gboolean sync;                /* the mode, once it is decided */

  /* atomic */
  gint caption_now;             /* the next frame is due */
  gint renew;                   /* captions would differ on the same picture: settings have changed */

  /* The streaming thread. */
  gboolean decided;             /* the mode is decided */
  gboolean live;
  GstPalmeCaptionPicture picture;
  GstPalmeCaptionPixels drawn;  /* for the next small picture */
  GstPalmeCaptionPixels captioned;      /* that of the last frame handed over: the worker may read it */
  GstPalmeCaptionSchedule schedule; /* of frames with a timestamp, in media time */
  GstPalmeCaptionSchedule arrivals; /* of frames without one, in running time */
  GstPalmeCaptionArrivals clock; /* their running times */
  GstSegment segment;           /* as it came, without position */
  GstPalmeCaptionScenes scenes;
  GstPalmeCaptionSteady steady;
  GstClockTime drawing;         /* how long the picture that is drawn took */
  GstClockTime looked;          /* media time of the last look for a cut; NONE: never */
  GstClockTime taken;           /* ... of the last hand-over */
  GstClockTime cut_at;          /* running time of a cut that has no caption yet, or NONE */
  gboolean cut_aborted;         /* a cut ended a caption, and none has come since */
  guint64 frames;
  guint no_pictures;            /* frames in a row that are flagged as not a picture */
  GstPalmeCaptionSpan frame_shown; /* the last frame; its start is NONE if there is none */
  GstClockTime handed;          /* running time of the frame that was handed over last */
  GstClockTime caption_pts, caption_latency;
  gdouble caption_score;
  gchar *caption_model;         /* the name of the model that made it, a GRefString, or NULL */
  gboolean meta_fresh, text_fresh;      /* no buffer, no cue has carried it yet */
  gboolean warned_unmappable;   /* for these caps */
  GstClockTime warned_delay;    /* the delay that the last warning named; 0: none */
};

/* The param spec of a read-only property, for notify. */
GParamSpec *gst_palme_caption_pspec (guint id);

/* Emits new-caption. No lock is held. */
void gst_palme_caption_emit (GstPalmeCaption * self, const gchar * text,
    GstClockTime pts, GstClockTime running_time, GstClockTime latency);

/* The engine's options as the properties are now. The object lock is held and the model is open. */
void gst_palme_caption_options (GstPalmeCaption * self,
    struct palme_options *options);

/* ---- Frames: on the streaming thread, with no lock held -------------------------------------- */

/* Where a frame is in the stream. */
typedef struct
{
  GstClockTime pts;             /* NONE for a frame without timestamps */
  GstClockTime duration, stream_time;
  GstClockTime running_time;    /* of a frame without timestamps: its arrival */
  GstPalmeCaptionSpan shown;    /* when, for the text pad */
  guint64 number;
} GstPalmeCaptionPlace;

/* Publishes a result on the frame at this place: stores the caption for the buffers and cues that
 * follow, posts, emits, notifies, and warns of captions that are late or failed. Clears the result.
 * FALSE if a failure stops the stream; the error is posted. */
gboolean gst_palme_caption_publish (GstPalmeCaption * self,
    GstPalmeCaptionResult * result, const GstPalmeCaptionPlace * place);

/* Forgets the caption in effect: after a flush, and in sync mode on a frame that could not be
 * captioned, where the old caption would be taken for its own. */
void gst_palme_caption_publish_none (GstPalmeCaption * self);

/* Takes words away that are of the scene before a cut: the caption in effect is empty. */
void gst_palme_caption_publish_empty (GstPalmeCaption * self,
    const GstPalmeCaptionPlace * place);

/* Each video frame; the buffer is writable and its pixels stay as they are. FLUSHING when a wait
 * was ended by a flush or a stop, ERROR when a failed caption is to stop the stream. */
GstFlowReturn gst_palme_caption_frame_process (GstPalmeCaption * self,
    GstBuffer * buffer);

/* A GAP event: publishes a caption that is ready, and sends the GAP to the text pad. */
void gst_palme_caption_frame_gap (GstPalmeCaption * self, GstEvent * event);

/* EOS: waits for the running caption and publishes it. */
void gst_palme_caption_frame_drain (GstPalmeCaption * self);

/* Forgets the caption in effect, and makes the next frame due. */
void gst_palme_caption_frame_forget (GstPalmeCaption * self);

G_END_DECLS

#endif
