/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-session.h - jobs and results, and how a session of the engine makes one of the other. The sessions
 * are the model's (gstpalmesessions.h). It is used by one thread at a time, the worker's, except for wake, and does
 * not know the element.
 */
#ifndef GST_PALME_CAPTION_SESSION_H
#define GST_PALME_CAPTION_SESSION_H

#include <gst/gst.h>

#include "gstpalmecaption-labels.h"
#include "gstpalmecaption-stats.h"
#include "gstpalmelog.h"
#include "gstpalmemeta.h"
#include "gstpalmemodelcache.h"

G_BEGIN_DECLS

/* Which frame a caption is of. */
typedef struct
{
  GstClockTime pts, duration, stream_time, running_time;
  guint64 number;
} GstPalmeCaptionFrame;

/* A picture of the frame: the whole of it, or a region. */
typedef struct
{
  guint64 region;               /* passed on to the result, and so is the next member */
  GstPalmeMetaRegion area;
  /* RGB of the model's image_size. It is the caller's, who leaves it as it is until the worker can be
   * begun again or is stopped. */
  const guint8 *pixels;
  GstClockTime resize;          /* how long it took to draw; passed on */
  gchar *shown;                 /* the words of a result before, whose score on this picture is asked for as
                                 * well; may be NULL */
  gboolean replace;             /* passed on: the caption replaces the shown one in any case */
} GstPalmeCaptionView;

/* What is to be captioned, and how. */
typedef struct
{
  GstPalmeCaptionFrame frame;
  GstPalmeCaptionView *views;   /* its pictures, each of which gives a result, in this order */
  guint n_views;
  GstPalmeModel *model;         /* a reference */
  struct palme_options options; /* its cancel callback and blocklist are the job's */
  gchar *prompt;                /* NULL: the model's own */
  GstClockTime time_limit;      /* of each caption; 0: none */
  gdouble min_score;            /* passed on to the results */
  gchar *blocklist;             /* words that are not said, as for palme_options; may be NULL */
  gboolean include_prompt;      /* in the text of the results */
  gboolean partial;             /* the text is told while it grows */
  gboolean background;          /* nobody waits for the captions: video goes first, from this job on */
  GstPalmeWhenUnsure when_unsure;       /* of models with labels */
  gint64 submitted;             /* monotonic, us; the worker's to set */
} GstPalmeCaptionJob;

/* Adds a picture. Its `shown` becomes the job's. */
void gst_palme_caption_job_add (GstPalmeCaptionJob * job,
    const GstPalmeCaptionView * view);

/* Frees the texts and pictures; the model stays. */
void gst_palme_caption_job_clear (GstPalmeCaptionJob * job);

typedef struct
{
  GstPalmeCaptionFrame frame;
  guint64 region;
  GstPalmeMetaRegion area;
  gint status;                  /* PALME_OK, or why there is no caption */
  gchar *text;                  /* sanitised; NULL on failure */
  gchar *prompt;                /* that it goes on from, sanitised; "" for none, NULL on failure */
  gchar *words;                 /* without the prompt, as the engine made them; NULL on failure */
  gchar *reason;                /* of a failure; else NULL */
  gchar *model;                 /* its name, a GRefString */
  gdouble score, min_score;
  guint tokens;
  GstStructure *labels;         /* of the picture; NULL for a model without labels */
  gboolean judged;              /* `text` is what is to be said, whatever min_score is */
  gboolean unsure;              /* `text` stands in for a caption that is doubtful, and so do `words` */
  gboolean compared;            /* shown_score is known */
  gdouble shown_score;          /* that of the view's `shown` */
  gboolean replace;
  GstPalmeCaptionTimes times;
} GstPalmeCaptionResult;

void gst_palme_caption_result_clear (GstPalmeCaptionResult * result);

/* The text of a running caption so far, sanitised. */
typedef void (*GstPalmeCaptionGrown) (gpointer user,
    const GstPalmeCaptionJob * job, const GstPalmeCaptionView * view,
    const gchar * text);

/* A user of the sessions of the model that the last job brought. */
typedef struct
{
  GstPalmeModel *model;         /* a reference; NULL: a user of none */
  GstPalmeTurn *turn;           /* while a caption is made */
  palme_session *session;       /* ... that of the turn */
  GMutex lock;                  /* of the next member */
  GstPalmeSessions *waited_for; /* the user may be waiting for a turn at these */
  gint (*cancel) (void *user);  /* the stop question, asked while the engine computes and at each wake; it takes
                                 * no lock */
  GstPalmeCaptionGrown grown;
  gpointer user;                /* of both */
  GstPalmeLog log;
} GstPalmeCaptionSession;

/* The log names `owner`, which is not referenced. */
void gst_palme_caption_session_init (GstPalmeCaptionSession * session,
    GstObject * owner, gint (*cancel) (void *user), GstPalmeCaptionGrown grown,
    gpointer user);

/* Also closes. */
void gst_palme_caption_session_clear (GstPalmeCaptionSession * session);

/* Becomes a user of the model's sessions. Returns NULL, or a sentence that says what is missing; the caller frees
 * it. */
gchar *gst_palme_caption_session_open (GstPalmeCaptionSession * session,
    GstPalmeModel * model, const struct palme_options *options);

/* Leaves the model. Between two runs it has no turn. */
void gst_palme_caption_session_close (GstPalmeCaptionSession * session);

/* Takes a turn at a session of the job's model and makes the caption of one of its pictures; *result, zeroed before, is
 * new but for times.latency. Of all that wait those with the smallest `since` (monotonic, us) come first. If the job's
 * model is another one than the last, it becomes a user of that. */
void gst_palme_caption_session_run (GstPalmeCaptionSession * session,
    const GstPalmeCaptionJob * job, const GstPalmeCaptionView * view,
    gint64 since, GstPalmeCaptionResult * result);

/* If a thread waits for a turn, it asks the stop question. From any thread. */
void gst_palme_caption_session_wake (GstPalmeCaptionSession * session);

G_END_DECLS

#endif
