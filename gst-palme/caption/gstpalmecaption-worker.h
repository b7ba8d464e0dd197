/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-worker.h - the thread that makes captions: one slot for a job, and the newest
 * result. Nothing queues behind the slot. It touches no pad, posts nothing and emits nothing.
 *
 * Threads: one thread at a time (the streaming thread) calls begin, submit, cancel and take. abort,
 * set_flushing, halt and the statistics may be called from any thread at any time. start and stop
 * belong to the thread that changes the state of the element.
 */
#ifndef GST_PALME_CAPTION_WORKER_H
#define GST_PALME_CAPTION_WORKER_H

#include <gst/gst.h>

#include "gstpalmecaption-labels.h"
#include "gstpalmecaption-stats.h"
#include "gstpalmelog.h"
#include "gstpalmemodelcache.h"

G_BEGIN_DECLS

typedef struct _GstPalmeCaptionWorker GstPalmeCaptionWorker;

/* Which frame a caption is of. */
typedef struct
{
  GstClockTime pts, duration, stream_time, running_time;
  guint64 number;
} GstPalmeCaptionFrame;

/* What is to be captioned, and how. */
typedef struct
{
  GstPalmeCaptionFrame frame;
  GstPalmeModel *model;         /* a reference */
  /* RGB of the model's image_size. It is the caller's, who leaves it as it is until the worker can be
   * begun again or is stopped. */
  const guint8 *picture;
  struct palme_options options; /* its cancel callback and blocklist are the job's */
  gchar *prompt;                /* NULL: the model's own */
  GstClockTime time_limit;      /* 0: none */
  gdouble min_score;            /* passed on to the result */
  gchar *blocklist;             /* words that are not said, as for palme_options; may be NULL */
  gboolean include_prompt;      /* in the text of the result */
  gboolean partial;             /* peek() has the text while it grows */
  gboolean background;          /* nobody waits for the caption: video goes first, from this job on */
  GstPalmeWhenUnsure when_unsure;       /* of models with labels */
  gchar *shown;                 /* the words of a result before, whose score on this picture is asked for as
                                 * well; may be NULL */
  gboolean replace;             /* passed on: the caption replaces the shown one in any case */
} GstPalmeCaptionJob;

typedef struct
{
  GstPalmeCaptionFrame frame;
  gint status;                  /* PALME_OK, or why there is no caption */
  gchar *text;                  /* sanitised; NULL on failure */
  gchar *prompt;                /* that it goes on from, sanitised; "" for none, NULL on failure */
  gchar *words;                 /* without the prompt, as the engine made them; NULL on failure */
  gchar *reason;                /* of a failure; else NULL */
  gchar *model;                 /* its name, a GRefString */
  gdouble score, min_score;
  GstStructure *labels;         /* of the picture; NULL for a model without labels */
  gboolean judged;              /* `text` is what is to be said, whatever min_score is */
  gboolean unsure;              /* `text` stands in for a caption that is doubtful, and so do `words` */
  gboolean compared;            /* shown_score is known */
  gdouble shown_score;          /* that of the job's `shown` */
  gboolean replace;
  GstPalmeCaptionTimes times;
} GstPalmeCaptionResult;

void gst_palme_caption_result_clear (GstPalmeCaptionResult * result);

/* The log names `owner`, which is not referenced. Never NULL. */
GstPalmeCaptionWorker *gst_palme_caption_worker_new (GstObject * owner);
void gst_palme_caption_worker_free (GstPalmeCaptionWorker * worker);

/* Becomes a user of the model's sessions, starts the thread and resets the statistics. `name` names the thread.
 * Returns NULL, or a sentence that says what is missing; the caller frees it. */
gchar *gst_palme_caption_worker_start (GstPalmeCaptionWorker * worker,
    GstPalmeModel * model, const struct palme_options *options,
    const gchar * name);

/* Cancels the running caption and wakes all waiters; later begin() and take() fail. */
void gst_palme_caption_worker_halt (GstPalmeCaptionWorker * worker);

/* Halts, joins the thread and leaves the model. A worker that was not started is fine. */
void gst_palme_caption_worker_stop (GstPalmeCaptionWorker * worker);

/* Increases the serial: the running caption stops, a waiting result is dropped, waiting threads
 * wake. */
void gst_palme_caption_worker_abort (GstPalmeCaptionWorker * worker);

/* While flushing is set begin() fails. Setting it also aborts. FLUSH_START sets it in any thread,
 * FLUSH_STOP clears it: so a frame that was on its way when the flush began is not captioned,
 * however late it arrives. */
void gst_palme_caption_worker_set_flushing (GstPalmeCaptionWorker * worker,
    gboolean flushing);

/* TRUE if the worker is idle, so that a job can be submitted. With `wait` it waits until the worker is
 * idle; FALSE then means abort, flush or halt. */
gboolean gst_palme_caption_worker_begin (GstPalmeCaptionWorker * worker,
    gboolean wait);

/* Hands over the job of the last begin; its model and texts become the worker's. `resize` is the time (ns)
 * that the picture took. FALSE if an abort, flush or halt came since begin; then the job is dropped. */
gboolean gst_palme_caption_worker_submit (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionJob * job, GstClockTime resize);

/* Drops a job that was prepared and is not submitted. */
void gst_palme_caption_worker_cancel (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionJob * job);

/* Moves a ready result into *result, which the caller clears. With a `timeout` (ns) other than 0 it
 * waits for one in the making; GST_CLOCK_TIME_NONE waits without limit. FALSE if there is no
 * result, or if abort, flush or halt ended the wait. */
gboolean gst_palme_caption_worker_take (GstPalmeCaptionWorker * worker,
    GstClockTime timeout, GstPalmeCaptionResult * result);

/* The text of the running caption so far, sanitised and the caller's, and its frame; NULL if it has not
 * grown since the last call, or its job does not ask for it. Wakes and waits for nobody. */
gchar *gst_palme_caption_worker_peek (GstPalmeCaptionWorker * worker,
    GstPalmeCaptionFrame * frame);

/* TRUE if a caption is being made, or waiting to be taken. */
gboolean gst_palme_caption_worker_is_busy (GstPalmeCaptionWorker * worker);

/* Adds 1. */
void gst_palme_caption_worker_count (GstPalmeCaptionWorker * worker, GstPalmeCaptionCount count);

/* A copy of the statistics, the caller's. */
GstStructure *gst_palme_caption_worker_describe (GstPalmeCaptionWorker * worker);

G_END_DECLS

#endif
