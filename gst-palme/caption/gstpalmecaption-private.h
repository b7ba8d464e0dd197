/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-private.h - the instance of palmecaption, and what the files that work on it call
 * of each other: gstpalmecaption.c (class, states, events, queries), -signals.c, -properties.c and
 * -settings.c (the properties that a user sets, and their values), -model.c (which model it has),
 * -frame.c, -take.c and -publish.c (what happens to each frame, its pictures, and each caption).
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
#include "gstpalmecaption-rect.h"
#include "gstpalmecaption-regions.h"
#include "gstpalmecaption-schedule.h"
#include "gstpalmecaption-spread.h"
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
  GST_PALME_PRECISION_INT8,
  GST_PALME_PRECISION_INT4
} GstPalmePrecision;

typedef enum
{
  GST_PALME_ON_ERROR_WARN,
  GST_PALME_ON_ERROR_ERROR
} GstPalmeOnError;

typedef enum
{
  GST_PALME_REGIONS_NONE,
  GST_PALME_REGIONS_ROI
} GstPalmeRegions;

/* The engine's name of it, a constant string. */
const gchar *gst_palme_precision_name (GstPalmePrecision precision);

/* Properties up to PROP_AUTO_OVERLAY, but for the model, can be set in NULL and READY only; from
 * PROP_CAPTION on they are read-only. */
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
  PROP_INCLUDE_PROMPT,
  PROP_MAX_LENGTH,
  PROP_TIME_LIMIT,
  PROP_TEMPERATURE,
  PROP_TOP_K,
  PROP_TOP_P,
  PROP_SEED,
  PROP_BEAMS,
  PROP_MIN_SCORE,
  PROP_BLOCKLIST,
  PROP_LABELS,
  PROP_LABEL_WEIGHT,
  PROP_WHEN_UNSURE,
  PROP_REGION,
  PROP_REGIONS,
  PROP_MAX_REGIONS,
  PROP_ANALYTICS_META,          /* installed where GStreamer has it */
  PROP_ONLY_ON_CHANGE,
  PROP_SCENE_THRESHOLD,
  PROP_CUT_THRESHOLD,
  PROP_MAX_RATE,
  PROP_CAPTION_HOLD,
  PROP_SWITCH_MARGIN,
  PROP_CUE_DURATION,
  PROP_DRAIN_TIMEOUT,
  PROP_POST_MESSAGES,
  PROP_PARTIAL,
  PROP_ON_ERROR,
  PROP_INTERVAL_SECONDS,        /* the same values as those in nanoseconds */
  PROP_CUE_DURATION_SECONDS,
  PROP_TIME_LIMIT_SECONDS,
  PROP_CAPTION_HOLD_SECONDS,
  PROP_CAPTION,
  PROP_LAST_LATENCY,
  PROP_LAST_LABELS,
  PROP_MAX_OBSERVED_DELAY,
  PROP_STATS,
  PROP_MODEL_INFO,
  PROP_LAST
};

#define DEFAULT_INTERVAL GST_SECOND
#define DEFAULT_MAX_LENGTH 0
#define DEFAULT_MIN_SCORE 1.0   /* the model's own */
#define DEFAULT_CUE_DURATION GST_SECOND
#define DEFAULT_DRAIN_TIMEOUT (2 * GST_SECOND)
#define DEFAULT_MAX_RATE 4.0
#define DEFAULT_MAX_REGIONS 4
#define GST_PALME_CAPTION_MAX_REGIONS 64

/* Of times in seconds; longer ones are as good as endless: 30 years. */
#define MAX_SECONDS 1e9

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
  gboolean include_prompt;
  guint max_length;
  GstClockTime time_limit;
  gdouble temperature;
  guint top_k;
  gdouble top_p;
  guint64 seed;
  guint beams;
  gdouble min_score;            /* above 0: the model's own */
  gchar *blocklist;             /* as it was set */
  gchar *blocked;               /* the words, or NULL */
  gboolean labels;              /* they are told */
  gdouble label_weight;         /* below 0: the model's own */
  GstPalmeWhenUnsure when_unsure;
  gchar *region;                /* as it was set */
  GstPalmeCaptionPart part;     /* what it says */
  GstPalmeRegions regions;
  guint max_regions;
  gboolean analytics_meta;
  gboolean only_on_change;
  gdouble scene_threshold, cut_threshold;       /* below 0: by the mode */
  gdouble max_rate;
  GstClockTime caption_hold;    /* NONE: by the mode */
  gdouble switch_margin;        /* below 0: by the mode */
  GstClockTime cue_duration;
  GstClockTime drain_timeout;
  gboolean post_messages;
  gboolean partial;
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
void gst_palme_caption_properties_install (GObjectClass * klass);

/* Reads the words of a value for `blocklist`, which may name a file, into *words, the caller's. Returns NULL,
 * or why the value is refused; *words is NULL then. No lock held. */
const gchar *gst_palme_caption_settings_read_blocklist (const GValue * value,
    gchar ** words);

/* Stores the value. Returns NULL, or a constant sentence with the reason why the value is refused;
 * then the old one stays. Object lock held; `locked` means that the element is past READY. */
const gchar *gst_palme_caption_settings_set (GstPalmeCaptionSettings *
    settings, guint id, const GValue * value, gboolean locked);

/* The file name in a value for `model`: NULL for an empty one, which stands for NULL in gst-launch. */
const gchar *gst_palme_caption_settings_model_name (const GValue * value);

/* Copies a value out; FALSE if this is not a property of these. Object lock held. */
gboolean gst_palme_caption_settings_get (const GstPalmeCaptionSettings *
    settings, guint id, GValue * value);

/* The property in nanoseconds of one in seconds, else the property itself. */
guint gst_palme_caption_settings_in_ns (guint id);

/* The name of a time that is shorter than a millisecond and not 0, as it comes about when seconds are
 * meant; NULL: none. Object lock held. */
const gchar *gst_palme_caption_settings_too_short (const
    GstPalmeCaptionSettings * settings, GstClockTime * time);

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

  gint warned_short;            /* atomic: of a time that was meant in seconds */
  GQueue refusals;              /* object lock: texts of warnings that nobody would hear yet */
  gboolean started;             /* between READY->PAUSED and PAUSED->READY; state changes only */

  /* Under the object lock. The streaming thread alone writes what follows `reload`, so it reads its
   * own values without the lock. */
  GstPalmeCaptionSettings settings;
  GstPalmeModel *model;         /* open from READY on, else NULL; jobs hold references of their own */
  gchar *wanted_model;          /* the file that is being loaded in PLAYING */
  gboolean loading;
  guint model_serial;           /* of the last request to load a model */
  gboolean reload;              /* model, threads or precision changed since the model was opened */
  gchar *caption;               /* in effect now, a line for each region; "" is an empty caption, NULL none */
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
  /* Those that were handed over last: the worker may read them. */
  GstPalmeCaptionPixels handed_pixels[GST_PALME_CAPTION_MAX_REGIONS];
  GstPalmeCaptionSchedule schedule; /* of frames with a timestamp, in media time */
  GstPalmeCaptionSchedule arrivals; /* of frames without one, in running time */
  guint place;                  /* among the elements of the process, in async mode; else 0 */
  GstPalmeCaptionArrivals clock; /* their running times */
  GstSegment segment;           /* as it came, without position */
  gboolean roi;                 /* regions of interest are captioned, not the frame */
  GstPalmeCaptionPart part;     /* of the frame */
  gboolean outside;             /* no part of the newest frame */
  GstPalmeCaptionRegion whole;  /* the frame, or the part of it */
  GstPalmeCaptionRegions regions;       /* of interest */
  guint edition;                /* of the settings that captions depend on */
  guint without_regions;        /* frames without a region of interest so far; G_MAXUINT: enough of them, or some had */
  GstClockTime looked;          /* media time of the last look for a cut; NONE: never */
  GstClockTime taken;           /* ... of the last hand-over */
  GstClockTime cut_at;          /* running time of a cut that has no caption yet, or NONE */
  gboolean cut_aborted;         /* a cut ended a caption, and none has come since */
  guint64 frames;
  guint no_pictures;            /* frames in a row that are flagged as not a picture */
  GstPalmeCaptionSpan frame_shown; /* the last frame; its start is NONE if there is none */
  GstClockTime handed;          /* running time of the frame that was handed over last */
  gboolean text_fresh;          /* no cue has carried the caption yet */
  gboolean told_not_shown;
  gboolean warned_unmappable, warned_outside;   /* for these caps */
  gboolean warned_no_timestamps, warned_partial;
  GstClockTime warned_delay;    /* the delay that the last warning named; 0: none */
};

/* The param spec of a read-only property, for notify. */
GParamSpec *gst_palme_caption_pspec (guint id);

/* Installs the signals on the class of the element, whose class handlers they name. */
void gst_palme_caption_signals_install (GType type);

/* TRUE if somebody listens to new-caption or region-caption, or for changes of the property caption. */
gboolean gst_palme_caption_is_listened_to (GstPalmeCaption * self);

/* Emits new-caption and, of a part of the frame, region-caption before it. No lock is held. */
void gst_palme_caption_emit (GstPalmeCaption * self, const gchar * text,
    const GstPalmeMetaRegion * area, GstClockTime pts,
    GstClockTime running_time, GstClockTime latency);

/* Emits partial-caption. No lock is held. */
void gst_palme_caption_emit_partial (GstPalmeCaption * self,
    const gchar * text, GstClockTime pts, GstClockTime running_time);

/* The engine's options as the properties are now. The object lock is held and the model is open. */
void gst_palme_caption_options (GstPalmeCaption * self,
    const GstPalmeModel * model, struct palme_options *options);

/* TRUE if the element is past READY, or on its way. The object lock is held. */
gboolean gst_palme_caption_is_past_ready (GstPalmeCaption * self);

/* ---- The model: no lock is held -------------------------------------------------------------- */

/* A new reference, or NULL. */
GstPalmeModel *gst_palme_caption_ref_model (GstPalmeCaption * self);

/* Captions that are being made go on with the model that they began with. Takes the model. */
void gst_palme_caption_set_model (GstPalmeCaption * self,
    GstPalmeModel * model);

/* Opens the file that the properties name, in place of the open one. FALSE if that fails; the error is
 * posted, and no model is open. */
gboolean gst_palme_caption_open_model (GstPalmeCaption * self);

/* Loads the file beside the video and swaps the models then, or posts a warning. Past READY only. */
void gst_palme_caption_swap_model (GstPalmeCaption * self, const gchar * path);

/* The same for the file that is in use. */
void gst_palme_caption_reload_model (GstPalmeCaption * self);

/* Before the element stops: nothing is swapped any more. */
void gst_palme_caption_end_swaps (GstPalmeCaption * self);

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

/* Posts and emits the caption that is being made, if its job asks for that and it has grown. */
void gst_palme_caption_publish_partial (GstPalmeCaption * self);

/* The regions on the newest frame have changed, and so may have the words that stand for it. */
void gst_palme_caption_publish_regions (GstPalmeCaption * self);

/* Forgets the captions in effect, and all regions: after a flush, and in sync mode on a frame that could not be
 * captioned, where the old caption would be taken for its own. */
void gst_palme_caption_publish_none (GstPalmeCaption * self);

/* Takes words away that are of the scene before a cut: the caption in effect is empty. */
void gst_palme_caption_publish_empty (GstPalmeCaption * self,
    const GstPalmeCaptionPlace * place);

/* Hands the pictures of the frame over if it is due and the worker is idle; in sync mode waits for their captions and
 * publishes them. FLUSHING and ERROR as below. */
GstFlowReturn gst_palme_caption_take_if_due (GstPalmeCaption * self,
    GstBuffer * buffer, const GstPalmeCaptionPlace * place);

/* When words that are of the scene before a cut are taken away; NONE: there are none, or they stay. */
GstClockTime gst_palme_caption_old_words_end (GstPalmeCaption * self);

/* Takes words away that are of the scene before a cut, if no new ones have come in time. */
void gst_palme_caption_drop_old_words (GstPalmeCaption * self,
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
