/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-textpad.c - the request pad `text`.
 *
 * In this order: the queue, the task, frames, the pad's own functions, events of the video, the pad's
 * life. gstpalmecues.c decides which frame starts a cue. The file is long because queue, task and pad
 * share one lock; split, each part would have to explain the lock of the other.
 *
 * It has a thread of its own instead of the pad's GstTask, because deactivating a pad waits for the
 * pad's task, which may hang in a push into an element that is not deactivated. A release in PLAYING
 * would then hang too. The thread holds references to everything it uses, so it can be detached until
 * its push returns.
 */
#include "gstpalmecaption-textpad.h"

#include "gstpalmecaption-joins.h"
#include "gstpalmecaption-queue.h"

GST_DEBUG_CATEGORY_STATIC (palme_text_debug);
#define GST_CAT_DEFAULT palme_text_debug

/* How long a stop, a flush or a release waits for a push that runs. */
#define IDLE_WAIT (50 * G_TIME_SPAN_MILLISECOND)

/* One run of the task. A run that hangs in a push is detached: it is no longer text->task, touches
 * nothing but its own members when the push returns, and ends. */
typedef struct
{
  GstPalmeCaptionTextpad *text; /* a reference */
  GstPad *pad;                  /* a reference, the thread gives it back */
  GThread *thread;              /* a reference, for join_task() */
  gboolean busy;                /* a push is running */
  gboolean done;                /* the thread is about to end */
  gint refs;
} Task;

struct _GstPalmeCaptionTextpad
{
  gint refs;
  GstElement *owner;            /* for calls that come from the element itself */
  GWeakRef element;             /* the same, for the thread and the pad's functions */
  GMutex lock;                  /* guards all below; not held in calls that may come back */
  GCond wake;                   /* the queue or the task changed */
  GCond idle;                   /* a push returned */

  GstPad *pad;                  /* a reference; NULL if none was requested */
  Task *task;                   /* a reference; NULL while stopped */
  gboolean started;             /* between start and stop */
  gboolean flushing;
  GstFlowReturn flow;           /* why pushing ended; OK while it goes on */
  guint epoch;                  /* increased when results of running pushes become invalid */
  GstPalmeCaptionQueue queue;

  GstEvent *upstream_start;     /* the video's stream-start */
  GstEvent *stream_start;       /* made from it when first needed */
  GstEvent *caps;               /* made with it */
  GstEvent *segment_event;      /* running time from 0 on */
  GstEvent *eos_event;

  gboolean renewed;             /* a stream started after segment_event was sent */
  gboolean exact;               /* sync mode */
  gboolean looked;              /* `joins` is known for this peer */
  gboolean joins;               /* the text meets another stream downstream */
  GstPalmeCues cues;
};

static GstPalmeCaptionTextpad *
text_ref (GstPalmeCaptionTextpad * text)
{
  g_atomic_int_inc (&text->refs);
  return text;
}

static void
text_unref (gpointer data)
{
  GstPalmeCaptionTextpad *text = data;

  if (!g_atomic_int_dec_and_test (&text->refs))
    return;
  g_weak_ref_clear (&text->element);
  g_mutex_clear (&text->lock);
  g_cond_clear (&text->wake);
  g_cond_clear (&text->idle);
  g_free (text);
}

static void
text_unref_closure (gpointer data, GClosure * closure)
{
  (void) closure;
  text_unref (data);
}

static void
task_unref (Task * task)
{
  if (!g_atomic_int_dec_and_test (&task->refs))
    return;
  text_unref (task->text);
  g_free (task);
}

/* --- the queue; all with the lock held ----------------------------------------------------- */

static gboolean
is_active (GstPalmeCaptionTextpad * text)
{
  return text->task && text->flow == GST_FLOW_OK && !text->flushing;
}

/* Queues an item, takes it. It is dropped if nothing is being pushed. */
static void
enqueue (GstPalmeCaptionTextpad * text, gpointer item)
{
  if (!is_active (text)) {
    gst_mini_object_unref (item);
    return;
  }
  if (GST_IS_BUFFER (item) && !text->exact)
    gst_palme_caption_queue_drop_slices (&text->queue, item);
  gst_palme_caption_queue_push (&text->queue, item);
  g_cond_signal (&text->wake);
}

static void
enqueue_event (GstPalmeCaptionTextpad * text, GstEvent * event)
{
  if (event)
    enqueue (text, gst_event_ref (event));
}

/* Queues the cues that are still held, before something else begins or at the end. */
static void
enqueue_rest (GstPalmeCaptionTextpad * text, gboolean end_of_stream)
{
  GList *cues = gst_palme_cues_finish (&text->cues, end_of_stream), *link;

  for (link = cues; link; link = link->next)
    enqueue (text, link->data);
  g_list_free (cues);
}

static void
forget_stream_start (GstPalmeCaptionTextpad * text)
{
  gst_clear_event (&text->stream_start);
  gst_clear_event (&text->caps);
}

/* Starts pushing (again), sticky events first. The pad does not send events again that the peer
 * already has. */
static void
restart (GstPalmeCaptionTextpad * text)
{
  gst_palme_caption_queue_clear (&text->queue);
  gst_palme_cues_reset (&text->cues);
  text->flow = GST_FLOW_OK;
  text->epoch++;
  if (text->stream_start) {
    enqueue_event (text, text->stream_start);
    enqueue_event (text, text->caps);
    enqueue_event (text, text->segment_event);
    enqueue_event (text, text->eos_event);
  }
}

/* --- the task ------------------------------------------------------------------------------ */

static GstFlowReturn
push_item (GstPad * pad, gpointer item)
{
  gboolean gap;

  if (GST_IS_BUFFER (item))
    return gst_pad_push (pad, item);
  gap = GST_EVENT_TYPE (item) == GST_EVENT_GAP;
  if (gst_pad_push_event (pad, item) || !gap)
    return GST_FLOW_OK;
  return gst_pad_is_linked (pad) ? GST_FLOW_OK : GST_FLOW_NOT_LINKED;
}

static void
post_flow_error (GstPalmeCaptionTextpad * text, GstPad * pad,
    GstFlowReturn flow)
{
  GstElement *element = g_weak_ref_get (&text->element);

  GST_WARNING_OBJECT (pad, "text flow is %s", gst_flow_get_name (flow));
  if (!element)
    return;
  GST_ELEMENT_FLOW_ERROR (element, flow);
  gst_object_unref (element);
}

static gpointer
run (gpointer data)
{
  Task *task = data;
  GstPalmeCaptionTextpad *text = task->text;

  g_mutex_lock (&text->lock);
  while (text->task == task) {
    gpointer item =
        text->flow ==
        GST_FLOW_OK ? g_queue_pop_head (&text->queue.items) : NULL;
    guint epoch = text->epoch;
    gboolean failed = FALSE;
    GstFlowReturn flow;

    if (!item) {
      g_cond_wait (&text->wake, &text->lock);
      continue;
    }
    task->busy = TRUE;
    g_mutex_unlock (&text->lock);
    flow = push_item (task->pad, item);
    g_mutex_lock (&text->lock);
    /* After a flush, a new peer or a stop the result is meaningless. */
    if (flow < GST_FLOW_OK && text->task == task && epoch == text->epoch) {
      GST_INFO_OBJECT (task->pad, "stopped pushing: %s",
          gst_flow_get_name (flow));
      text->flow = flow;
      gst_palme_caption_queue_clear (&text->queue);
      failed = flow < GST_FLOW_EOS;
    }
    if (failed) {
      g_mutex_unlock (&text->lock);
      post_flow_error (text, task->pad, flow);
      g_mutex_lock (&text->lock);
    }
    task->busy = FALSE;
    g_cond_broadcast (&text->idle);
  }
  g_mutex_unlock (&text->lock);
  gst_object_unref (task->pad);
  g_mutex_lock (&text->lock);
  task->done = TRUE;
  g_cond_broadcast (&text->idle);
  g_mutex_unlock (&text->lock);
  task_unref (task);
  return NULL;
}

/* Lock held. Waits until the running push has returned, or the thread is done, but not for long: it
 * may hang in an element that is not being stopped, or be the calling thread itself (a probe that
 * releases the pad). */
static void
wait_for (GstPalmeCaptionTextpad * text, Task * task, gboolean * condition,
    gboolean value)
{
  gint64 end = g_get_monotonic_time () + IDLE_WAIT;

  if (task->thread == g_thread_self ())
    return;
  while (*condition != value
      && g_cond_wait_until (&text->idle, &text->lock, end));
}

/* No lock held. Takes a detached task: joins its thread, or leaves it behind if it hangs. */
static void
join_task (GstPalmeCaptionTextpad * text, Task * task)
{
  gboolean done;

  if (!task)
    return;
  g_mutex_lock (&text->lock);
  wait_for (text, task, &task->done, TRUE);
  done = task->done;
  g_mutex_unlock (&text->lock);
  if (done)
    g_thread_join (task->thread);
  else
    g_thread_unref (task->thread);
  task_unref (task);
}

/* Lock held. FALSE if no thread could be started. */
static gboolean
start_task (GstPalmeCaptionTextpad * text)
{
  Task *task;

  if (!text->started || !text->pad || text->task)
    return TRUE;
  task = g_new0 (Task, 1);
  task->refs = 2;               /* the thread's and text->task */
  task->text = text_ref (text);
  task->pad = gst_object_ref (text->pad);
  text->task = task;
  restart (text);
  task->thread = g_thread_try_new ("palme-text", run, task, NULL);
  if (task->thread)
    return TRUE;
  text->task = NULL;
  gst_palme_caption_queue_clear (&text->queue);
  gst_object_unref (task->pad);
  task->refs = 1;
  task_unref (task);
  return FALSE;
}

/* Lock held. Ends the run; returns the task for join_task(). */
static Task *
detach_task (GstPalmeCaptionTextpad * text)
{
  Task *task = text->task;

  text->task = NULL;
  gst_palme_caption_queue_clear (&text->queue);
  gst_palme_cues_reset (&text->cues);
  g_cond_broadcast (&text->wake);
  return task;
}

static void
post_no_thread (GstPalmeCaptionTextpad * text)
{
  GST_ELEMENT_ERROR (text->owner, RESOURCE, FAILED,
      ("The text pad could not start a thread. Close other programs, or raise the limit on threads."),
      (NULL));
}

/* --- frames and stream-start ---------------------------------------------------------------- */

/* The stream-start is derived from the video's on the sink pad, which is there only after the
 * element has handled it. So it is made when first needed. No lock held. */
static void
ensure_stream_start (GstPalmeCaptionTextpad * text)
{
  GstEvent *upstream = NULL, *event, *caps_event;
  GstPad *pad = NULL;
  GstCaps *caps;
  gchar *id;
  guint group;

  g_mutex_lock (&text->lock);
  if (text->pad && text->upstream_start && !text->stream_start) {
    upstream = gst_event_ref (text->upstream_start);
    pad = gst_object_ref (text->pad);
  }
  g_mutex_unlock (&text->lock);
  if (!upstream)
    return;

  id = gst_pad_create_stream_id (pad, text->owner, "text");
  event = gst_event_new_stream_start (id);
  g_free (id);
  gst_event_set_stream_flags (event, GST_STREAM_FLAG_SPARSE);
  gst_event_set_seqnum (event, gst_event_get_seqnum (upstream));
  if (gst_event_parse_group_id (upstream, &group))
    gst_event_set_group_id (event, group);
  caps =
      gst_caps_new_simple ("text/x-raw", "format", G_TYPE_STRING, "utf8", NULL);
  caps_event = gst_event_new_caps (caps);
  gst_caps_unref (caps);

  g_mutex_lock (&text->lock);
  if (text->pad == pad && text->upstream_start == upstream
      && !text->stream_start) {
    text->stream_start = g_steal_pointer (&event);
    text->caps = g_steal_pointer (&caps_event);
    enqueue_event (text, text->stream_start);
    enqueue_event (text, text->caps);
  }
  g_mutex_unlock (&text->lock);
  gst_clear_event (&event);
  gst_clear_event (&caps_event);
  gst_event_unref (upstream);
  gst_object_unref (pad);
}

/* Finds out whether the text meets another stream downstream, if that matters (with one cue per
 * caption): only if it does not can cues be held until they end. No lock held. */
static void
look_downstream (GstPalmeCaptionTextpad * text)
{
  GstPad *pad = NULL;
  gboolean joins;

  g_mutex_lock (&text->lock);
  if (text->cues.longest == 0 && !text->looked && text->pad)
    pad = gst_object_ref (text->pad);
  g_mutex_unlock (&text->lock);
  if (!pad)
    return;
  joins = gst_palme_caption_joins_another (pad);
  g_mutex_lock (&text->lock);
  if (text->pad == pad) {
    text->looked = TRUE;
    text->joins = joins;
  }
  g_mutex_unlock (&text->lock);
  gst_object_unref (pad);
}

void
gst_palme_caption_textpad_frame (GstPalmeCaptionTextpad * text,
    const GstPalmeCuesFrame * given)
{
  GstMiniObject *items[GST_PALME_CUES_MAX];
  GstPalmeCuesFrame frame = *given;
  guint i, count;

  if (!GST_CLOCK_TIME_IS_VALID (frame.start))
    return;
  if (!GST_CLOCK_TIME_IS_VALID (frame.duration) || frame.duration == 0)
    frame.duration = GST_SECOND / 30;
  ensure_stream_start (text);
  look_downstream (text);
  g_mutex_lock (&text->lock);
  if (is_active (text) && text->segment_event) {
    text->cues.hold = text->cues.longest == 0 && !text->joins;
    count = gst_palme_cues_frame (&text->cues, items, &frame);
    for (i = 0; i < count; i++)
      enqueue (text, items[i]);
  }
  g_mutex_unlock (&text->lock);
}

/* --- the pad's own functions --------------------------------------------------------------- */

/* The element's src pad through the pad's private data: a pad requested in PLAYING is active
 * before it has a parent. NULL when the element is going away. */
static GstPad *
get_video_pad (GstPad * pad)
{
  GstPalmeCaptionTextpad *text = gst_pad_get_element_private (pad);
  GstElement *element = g_weak_ref_get (&text->element);
  GstPad *video = NULL;

  if (element) {
    video = gst_element_get_static_pad (element, "src");
    gst_object_unref (element);
  }
  return video;
}

/* Upstream events take the way of the video's. QoS of the text would slow down a video decoder, and
 * there is nothing to reconfigure. */
static gboolean
text_pad_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  GstPad *video = NULL;
  gboolean ok = TRUE;

  (void) parent;
  if (GST_EVENT_TYPE (event) != GST_EVENT_QOS
      && GST_EVENT_TYPE (event) != GST_EVENT_RECONFIGURE) {
    video = get_video_pad (pad);
    ok = FALSE;
  }
  if (!video) {
    gst_event_unref (event);
    return ok;
  }
  ok = gst_pad_send_event (video, event);
  gst_object_unref (video);
  return ok;
}

static gboolean
text_pad_query (GstPad * pad, GstObject * parent, GstQuery * query)
{
  GstPad *video;
  gboolean ok = FALSE;

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_LATENCY:    /* as for the video, so that a muxer waits for both alike */
    case GST_QUERY_POSITION:
    case GST_QUERY_DURATION:
    case GST_QUERY_SEEKING:
    case GST_QUERY_SEGMENT:
      video = get_video_pad (pad);
      if (video) {
        ok = gst_pad_query (video, query);
        gst_object_unref (video);
      }
      return ok;
    default:
      return gst_pad_query_default (pad, parent, query);
  }
}

/* A new peer gets the sticky events and, with the next frame, a cue. */
static void
text_pad_linked (GstPad * pad, GstPad * peer, gpointer data)
{
  GstPalmeCaptionTextpad *text = data;

  (void) peer;
  g_mutex_lock (&text->lock);
  text->looked = FALSE;
  if (text->pad == pad && text->task && !text->flushing) {
    restart (text);
    g_cond_signal (&text->wake);
  }
  g_mutex_unlock (&text->lock);
}

/* --- events of the video ------------------------------------------------------------------- */

static void
on_stream_start (GstPalmeCaptionTextpad * text, GstEvent * event)
{
  g_mutex_lock (&text->lock);
  enqueue_rest (text, FALSE);
  gst_event_replace (&text->upstream_start, event);
  forget_stream_start (text);
  /* Running time continues if a stream follows another without EOS between. */
  if (text->eos_event || text->flow != GST_FLOW_OK)
    gst_palme_cues_reset (&text->cues);
  else
    gst_palme_cues_forget_captions (&text->cues);
  gst_clear_event (&text->eos_event);
  text->renewed = TRUE;
  text->epoch++;                /* a running push of the old stream ends nothing */
  if (text->flow != GST_FLOW_OK) {
    gst_palme_caption_queue_clear (&text->queue);
    text->flow = GST_FLOW_OK;
  }
  g_mutex_unlock (&text->lock);
}

/* The text is in running time, whatever the video's segment is. So its times are those at which the
 * video is shown, also in files that store no segment. */
static void
on_segment (GstPalmeCaptionTextpad * text, GstEvent * event)
{
  guint32 seqnum = gst_event_get_seqnum (event);
  GstSegment segment;

  g_mutex_lock (&text->lock);
  if (!text->segment_event || text->renewed
      || gst_event_get_seqnum (text->segment_event) != seqnum) {
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_clear_event (&text->segment_event);
    text->segment_event = gst_event_new_segment (&segment);
    gst_event_set_seqnum (text->segment_event, seqnum);
    text->renewed = FALSE;
    enqueue_event (text, text->segment_event);
  }
  g_mutex_unlock (&text->lock);
}

static void
on_eos (GstPalmeCaptionTextpad * text, GstEvent * event)
{
  g_mutex_lock (&text->lock);
  enqueue_rest (text, TRUE);
  gst_event_replace (&text->eos_event, event);
  enqueue_event (text, event);
  g_mutex_unlock (&text->lock);
}

static void
on_flush (GstPalmeCaptionTextpad * text, GstEvent * event)
{
  gboolean start = GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START;
  GstPad *pad;

  g_mutex_lock (&text->lock);
  text->flushing = TRUE;
  text->epoch++;
  gst_palme_caption_queue_clear (&text->queue);
  gst_palme_cues_reset (&text->cues);
  pad = text->pad && text->started ? gst_object_ref (text->pad) : NULL;
  g_mutex_unlock (&text->lock);

  if (pad) {
    gst_pad_push_event (pad, gst_event_ref (event));
    gst_object_unref (pad);
  }

  g_mutex_lock (&text->lock);
  if (start) {
    Task *task = text->task;

    if (task) {
      g_atomic_int_inc (&task->refs);
      wait_for (text, task, &task->busy, FALSE);
    }
    g_mutex_unlock (&text->lock);
    if (task)
      task_unref (task);
    return;
  }
  text->flushing = FALSE;
  forget_stream_start (text);   /* a new event is sent again */
  gst_clear_event (&text->eos_event);
  gst_clear_event (&text->segment_event);
  restart (text);
  g_mutex_unlock (&text->lock);
  ensure_stream_start (text);
}

void
gst_palme_caption_textpad_event (GstPalmeCaptionTextpad * text,
    GstEvent * event)
{
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      on_stream_start (text, event);
      break;
    case GST_EVENT_SEGMENT:
      ensure_stream_start (text);
      on_segment (text, event);
      break;
    case GST_EVENT_EOS:
      ensure_stream_start (text);
      on_eos (text, event);
      break;
    case GST_EVENT_FLUSH_START:
    case GST_EVENT_FLUSH_STOP:
      on_flush (text, event);
      break;
    default:
      break;
  }
}

/* --- life ---------------------------------------------------------------------------------- */

GstPalmeCaptionTextpad *
gst_palme_caption_textpad_new (GstElement * element)
{
  static gsize once = 0;
  GstPalmeCaptionTextpad *text = g_new0 (GstPalmeCaptionTextpad, 1);

  if (g_once_init_enter (&once)) {
    GST_DEBUG_CATEGORY_INIT (palme_text_debug, "palmetext", 0,
        "text pad of palmecaption");
    g_once_init_leave (&once, 1);
  }
  text->refs = 1;
  text->owner = element;
  g_weak_ref_init (&text->element, element);
  g_mutex_init (&text->lock);
  g_cond_init (&text->wake);
  g_cond_init (&text->idle);
  text->cues.longest = GST_SECOND;
  gst_palme_cues_reset (&text->cues);
  return text;
}

static void
forget_stream (GstPalmeCaptionTextpad * text)
{
  gst_clear_event (&text->upstream_start);
  forget_stream_start (text);
  gst_clear_event (&text->eos_event);
  gst_clear_event (&text->segment_event);
  text->flushing = FALSE;
  text->looked = text->renewed = FALSE;
  text->flow = GST_FLOW_OK;
  text->epoch++;
}

void
gst_palme_caption_textpad_free (GstPalmeCaptionTextpad * text)
{
  GstPad *pad;

  if (!text)
    return;
  gst_palme_caption_textpad_stop (text);
  g_mutex_lock (&text->lock);
  pad = g_steal_pointer (&text->pad);
  g_mutex_unlock (&text->lock);
  if (pad)
    gst_object_unref (pad);
  text_unref (text);
}

GstPad *
gst_palme_caption_textpad_request_pad (GstPalmeCaptionTextpad * text,
    GstPadTemplate * templ)
{
  GstPad *pad = gst_pad_new_from_template (templ, "text");
  GstEvent *stickies[3] = { NULL, NULL, NULL };
  gboolean taken, started, started_task;
  guint i;

  gst_object_ref_sink (pad);
  gst_pad_set_element_private (pad, text);
  gst_pad_set_event_function_full (pad, text_pad_event, text_ref (text),
      text_unref);
  gst_pad_set_query_function (pad, text_pad_query);
  gst_pad_use_fixed_caps (pad);
  g_signal_connect_data (pad, "linked", G_CALLBACK (text_pad_linked),
      text_ref (text), text_unref_closure, 0);
  g_mutex_lock (&text->lock);
  taken = text->pad != NULL;
  if (!taken)
    text->pad = gst_object_ref (pad);
  started = text->started;
  g_mutex_unlock (&text->lock);
  if (taken) {
    gst_object_unref (pad);
    return NULL;
  }

  if (started) {
    gst_pad_set_active (pad, TRUE);
    ensure_stream_start (text);
    g_mutex_lock (&text->lock);
    if (text->stream_start) {
      stickies[0] = gst_event_ref (text->stream_start);
      stickies[1] = gst_event_ref (text->caps);
      if (text->segment_event)
        stickies[2] = gst_event_ref (text->segment_event);
    }
    g_mutex_unlock (&text->lock);
    for (i = 0; i < G_N_ELEMENTS (stickies); i++) {
      if (stickies[i])
        gst_pad_store_sticky_event (pad, stickies[i]);
      gst_clear_event (&stickies[i]);
    }
  }
  gst_element_add_pad (text->owner, pad);

  g_mutex_lock (&text->lock);
  started_task = start_task (text);
  g_mutex_unlock (&text->lock);
  if (!started_task)
    post_no_thread (text);
  gst_object_unref (pad);
  return pad;
}

void
gst_palme_caption_textpad_release_pad (GstPalmeCaptionTextpad * text,
    GstPad * pad)
{
  Task *task;

  g_mutex_lock (&text->lock);
  if (text->pad != pad) {
    g_mutex_unlock (&text->lock);
    return;
  }
  text->pad = NULL;             /* the reference is released below */
  forget_stream_start (text);
  task = detach_task (text);
  g_mutex_unlock (&text->lock);

  gst_pad_set_active (pad, FALSE);
  join_task (text, task);
  gst_element_remove_pad (text->owner, pad);
  gst_object_unref (pad);
}

gboolean
gst_palme_caption_textpad_is_linked (GstPalmeCaptionTextpad * text)
{
  GstPad *pad;
  gboolean linked;

  g_mutex_lock (&text->lock);
  pad = text->pad ? gst_object_ref (text->pad) : NULL;
  g_mutex_unlock (&text->lock);
  if (!pad)
    return FALSE;
  linked = gst_pad_is_linked (pad);
  gst_object_unref (pad);
  return linked;
}

void
gst_palme_caption_textpad_start (GstPalmeCaptionTextpad * text)
{
  gboolean started_task;

  g_mutex_lock (&text->lock);
  forget_stream (text);
  text->queue.drops = 0;
  text->started = TRUE;
  started_task = start_task (text);
  g_mutex_unlock (&text->lock);
  if (!started_task)
    post_no_thread (text);
}

void
gst_palme_caption_textpad_stop (GstPalmeCaptionTextpad * text)
{
  Task *task;
  GstPad *pad;

  g_mutex_lock (&text->lock);
  text->started = FALSE;
  task = detach_task (text);
  forget_stream (text);
  pad = task && text->pad ? gst_object_ref (text->pad) : NULL;
  g_mutex_unlock (&text->lock);

  if (pad) {
    gst_pad_set_active (pad, FALSE);
    gst_object_unref (pad);
  }
  join_task (text, task);
}

void
gst_palme_caption_textpad_set_cue_duration (GstPalmeCaptionTextpad * text,
    GstClockTime duration)
{
  g_mutex_lock (&text->lock);
  text->cues.longest = MIN (duration, G_MAXINT64);
  g_mutex_unlock (&text->lock);
}

void
gst_palme_caption_textpad_set_exact (GstPalmeCaptionTextpad * text,
    gboolean sync_mode)
{
  g_mutex_lock (&text->lock);
  text->exact = sync_mode;
  g_mutex_unlock (&text->lock);
}

guint64
gst_palme_caption_textpad_get_drops (GstPalmeCaptionTextpad * text)
{
  guint64 drops;

  g_mutex_lock (&text->lock);
  drops = text->queue.drops;
  g_mutex_unlock (&text->lock);
  return drops;
}
