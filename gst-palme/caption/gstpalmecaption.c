/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption.c - the element as an object: class, states, events, queries. What happens
 * to a frame is in gstpalmecaption-frame.c, properties are in gstpalmecaption-settings.c, the engine's
 * thread is in gstpalmecaption-worker.c.
 */
/**
 * SECTION:element-palmecaption
 * @title: palmecaption
 * @short_description: describes video in words
 *
 * Captions video with a small transformer on the CPU. The video passes untouched. The caption leaves as
 * metadata named GstPalmeCaptionMeta on each buffer, as text on the request pad `text`, as an element
 * message named palmecaption, by the signal #GstPalmeCaption::new-caption and in the property
 * #GstPalmeCaption:caption. A textoverlay downstream that nobody else uses shows it by itself.
 *
 * Some models also tell which everyday words, the labels, fit the picture. Metadata and message have them,
 * most likely first, in the fields `labels` (an array of strings) and `label-probabilities` (an array of
 * doubles); the property #GstPalmeCaption:last-labels has the same for handlers of the signal. With
 * GStreamer 1.24 they are classes of the analytics metadata as well (#GstPalmeCaption:analytics-meta).
 *
 * ## Regions
 * #GstPalmeCaption:region captions a part of the picture. With #GstPalmeCaption:regions set to roi, each
 * GstVideoRegionOfInterestMeta on a frame is captioned as a picture of its own. A buffer then carries one
 * GstPalmeCaptionMeta for each of its regions that has a caption, with the fields `region-x`, `region-y`,
 * `region-width` and `region-height` (pixels of that buffer), `region-id` and `region-type`. Messages have the same
 * fields, in pixels of the captioned frame, and so has the signal #GstPalmeCaption::region-caption. A region is
 * followed from frame to frame and keeps its caption: by its type and its id, or by its overlap where ids are 0 or
 * equal. The text pad, a textoverlay and the property #GstPalmeCaption:caption have a line for each region
 * that is on the frame.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 v4l2src ! palmecaption ! textoverlay ! videoconvert ! autovideosink
 * ]| Captions on the picture of a camera.
 * |[
 * gst-launch-1.0 filesrc location=a.mp4 ! decodebin ! palmecaption name=c c.text ! webvttenc ! filesink location=a.vtt
 * ]| Captions of a file as WebVTT, without the video.
 * |[
 * gst-launch-1.0 -m videotestsrc num-buffers=90 ! palmecaption ! fakesink
 * ]| Captions as messages.
 * |[
 * gst-launch-1.0 -m videotestsrc num-buffers=90 ! palmecaption region=50%,0,50%,100% ! fakesink
 * ]| Captions of the right half.
 *
 * ## Time
 * A frame is due by its PTS, or by its DTS where it has no PTS. A frame without either, as a camera
 * that sends JPEG over HTTP gives it, is due by its arrival: the running time at which it comes. Its
 * message has no timestamp and no stream time, and that running time.
 *
 * The text pad is in running time, in a segment of its own that begins at 0 with the rate 1. So a
 * subtitle file has the times at which a player shows the pictures: from 0 on for an MP4 whose edit
 * list skips its first seconds, after a seek, and at any rate. Played backwards the video has captions
 * in its metadata and messages, and the text pad sends GAPs alone.
 *
 * Text buffers never overlap and no caption is lost. A text buffer lasts at most
 * #GstPalmeCaption:cue-duration and ends where the next caption is expected; a caption that comes
 * earlier waits for that end.
 *
 * ## Signals
 * The arguments of #GstPalmeCaption::new-caption are, in this order: the caption (string), the PTS of
 * the captioned frame, its running time, and the time that the caption took (all three guint64, in
 * nanoseconds; GST_CLOCK_TIME_NONE if the frame has no such time). It is emitted on the streaming
 * thread. The action signal #GstPalmeCaption::caption-now has no arguments: the next frame is
 * captioned, whatever #GstPalmeCaption:interval is. #GstPalmeCaption::reload-model has none either: the
 * model file is read again.
 *
 * Since: 0.1
 */
#include "gstpalmecaption-private.h"

#include <string.h>

#include <gst/video/video.h>

#include "gstpalmemeta.h"

GST_DEBUG_CATEGORY (gst_palme_caption_debug);
#define GST_CAT_DEFAULT gst_palme_caption_debug

/* Refused values that are kept in NULL: no more than a pipeline's description has. */
#define MAX_REFUSALS 16

/* The second structure has no format: memory that only hardware understands passes as well. */
#define VIDEO_CAPS GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL) "; video/x-raw(ANY)"

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (VIDEO_CAPS));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (VIDEO_CAPS));

static GstStaticPadTemplate text_template = GST_STATIC_PAD_TEMPLATE ("text",
    GST_PAD_SRC, GST_PAD_REQUEST,
    GST_STATIC_CAPS ("text/x-raw, format = (string) utf8"));

#define gst_palme_caption_parent_class parent_class
G_DEFINE_TYPE (GstPalmeCaption, gst_palme_caption, GST_TYPE_BASE_TRANSFORM);
GST_ELEMENT_REGISTER_DEFINE (palmecaption, "palmecaption", GST_RANK_NONE,
    GST_TYPE_PALME_CAPTION);

/* ---- Values ----------------------------------------------------------------------------- */

void
gst_palme_caption_options (GstPalmeCaption * self,
    const GstPalmeModel * model, struct palme_options *options)
{
  const GstPalmeCaptionSettings *settings = &self->settings;
  guint longest = MAX (gst_palme_model_get_info (model)->max_context - 1, 1);

  memset (options, 0, sizeof *options);
  /* A context that is full ends the caption anyway. 0 is the model's own length for the engine, too. */
  options->max_length = (gint) MIN (settings->max_length, longest);
  options->beams = (gint) settings->beams;
  options->temperature = settings->temperature;
  options->top_k = (gint) MIN (settings->top_k, G_MAXINT);
  /* For the engine 0 means all tokens, here it means one. */
  options->top_p = MAX (settings->top_p, G_MINDOUBLE);
  options->seed = settings->seed;
  /* For the engine 0 means the model's own and less means none, here it is the other way round. */
  options->label_weight = settings->label_weight < 0.0 ? 0.0 :
      settings->label_weight > 0.0 ? settings->label_weight : -1.0;
}

/* A controller sets its properties again with each frame. Object lock held. */
static gboolean
is_same_setting (GstPalmeCaption * self, guint id, const GValue * value)
{
  GValue old = G_VALUE_INIT;
  gboolean same;

  g_value_init (&old, G_VALUE_TYPE (value));
  same = gst_palme_caption_settings_get (&self->settings, id, &old)
      && gst_value_compare (&old, value) == GST_VALUE_EQUAL;
  g_value_unset (&old);
  return same;
}

gboolean
gst_palme_caption_is_past_ready (GstPalmeCaption * self)
{
  /* During READY->PAUSED the values are in use already. */
  return GST_STATE (self) > GST_STATE_READY
      || GST_STATE_NEXT (self) > GST_STATE_READY;
}

/* Once, while frames flow or before. A warning that is posted in NULL reaches nobody. */
static void
warn_if_short (GstPalmeCaption * self)
{
  GstClockTime time;
  const gchar *name;

  GST_OBJECT_LOCK (self);
  name = gst_palme_caption_settings_too_short (&self->settings, &time);
  GST_OBJECT_UNLOCK (self);
  if (name == NULL
      || !g_atomic_int_compare_and_exchange (&self->warned_short, FALSE, TRUE))
    return;
  GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS,
      ("The property \"%s\" is %" G_GUINT64_FORMAT " nanoseconds, less than a "
          "thousandth of a second. The property \"%s-seconds\" takes seconds.",
          name, time, name), (NULL));
}

/* In NULL nobody hears a warning: gst-launch-1.0 sets properties before the element has a bus, and an application
 * before it listens. The newest ones are kept until READY. */
static void
refuse (GstPalmeCaption * self, const gchar * name, const GValue * value,
    const gchar * reason)
{
  const gchar *given =
      G_VALUE_HOLDS_STRING (value) ? g_value_get_string (value) : NULL;
  /* Serialized, a comma has a backslash before it, which nobody has typed. */
  gchar *shown = given != NULL && g_utf8_validate (given, -1, NULL)
      && strpbrk (given, "\r\n\t") == NULL ?
      g_strdup_printf ("\"%s\"", given) : gst_value_serialize (value);
  gchar *text =
      g_strdup_printf
      ("The property \"%s\" was not set to %.200s, because %s.", name,
      shown ? shown : "the new value", reason);

  g_free (shown);
  GST_OBJECT_LOCK (self);
  if (GST_STATE (self) == GST_STATE_NULL
      && GST_STATE_NEXT (self) == GST_STATE_VOID_PENDING) {
    g_queue_push_tail (&self->refusals, text);
    if (self->refusals.length > MAX_REFUSALS)
      g_free (g_queue_pop_head (&self->refusals));
    text = NULL;
  }
  GST_OBJECT_UNLOCK (self);
  if (text != NULL)
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s", text), (NULL));
  g_free (text);
}

static void
post_refusals (GstPalmeCaption * self)
{
  gchar *text;

  do {
    GST_OBJECT_LOCK (self);
    text = g_queue_pop_head (&self->refusals);
    GST_OBJECT_UNLOCK (self);
    if (text != NULL)
      GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s", text), (NULL));
    g_free (text);
  } while (text != NULL);
}

static void
gst_palme_caption_set_property (GObject * object, guint id,
    const GValue * value, GParamSpec * pspec)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (object);
  gchar *words = NULL;
  GstClockTime cue_duration;
  const gchar *refused = NULL;
  gboolean locked, same;

  if (id >= PROP_CAPTION) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    return;
  }

  if (id == PROP_BLOCKLIST)
    refused = gst_palme_caption_settings_read_blocklist (value, &words);
  GST_OBJECT_LOCK (self);
  locked = gst_palme_caption_is_past_ready (self);
  if (locked && id == PROP_MODEL) {
    GST_OBJECT_UNLOCK (self);
    gst_palme_caption_swap_model (self,
        gst_palme_caption_settings_model_name (value));
    return;
  }
  same = is_same_setting (self, id, value);
  if (refused == NULL)
    refused =
        gst_palme_caption_settings_set (&self->settings, id, value, locked);
  if (refused == NULL && id == PROP_BLOCKLIST) {
    g_free (self->settings.blocked);
    self->settings.blocked = words;
    same = FALSE;               /* the file may have changed */
  }
  cue_duration = self->settings.cue_duration;
  if (refused == NULL && id <= PROP_PRECISION)
    self->reload = TRUE;
  GST_OBJECT_UNLOCK (self);

  if (refused != NULL) {
    refuse (self, pspec->name, value, refused);
    return;
  }
  id = gst_palme_caption_settings_in_ns (id);
  if (id == PROP_CUE_DURATION)
    gst_palme_caption_textpad_set_cue_duration (self->text, cue_duration);
  if (locked)
    warn_if_short (self);
  if (!same && gst_palme_caption_settings_is_of_captions (id))
    g_atomic_int_set (&self->renew, TRUE);
}

static GstStructure *
describe_stats (GstPalmeCaption * self)
{
  GstStructure *stats = gst_palme_caption_worker_describe (self->worker);
  guint64 bytes = 0;

  GST_OBJECT_LOCK (self);
  if (self->model != NULL)
    bytes = gst_palme_model_get_info (self->model)->bytes;
  GST_OBJECT_UNLOCK (self);
  gst_structure_set (stats, "text-drops", G_TYPE_UINT64,
      gst_palme_caption_textpad_get_drops (self->text), "model-bytes",
      G_TYPE_UINT64, bytes, NULL);
  return stats;
}

/* Described anew each time: other elements come to share the model, and leave it. */
static GstStructure *
describe_model (GstPalmeCaption * self)
{
  GstPalmeModel *model = gst_palme_caption_ref_model (self);
  GstStructure *structure = NULL;

  if (model != NULL) {
    structure = gst_palme_model_describe (model);
    gst_palme_model_unref (model);
  }
  return structure;
}

static void
gst_palme_caption_get_property (GObject * object, guint id, GValue * value,
    GParamSpec * pspec)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (object);

  if (id == PROP_STATS) {
    g_value_take_boxed (value, describe_stats (self));
    return;
  }
  if (id == PROP_MODEL_INFO) {
    g_value_take_boxed (value, describe_model (self));
    return;
  }

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_CAPTION:
      g_value_set_string (value, self->caption);
      break;
    case PROP_LAST_LATENCY:
      g_value_set_uint64 (value, self->last_latency);
      break;
    case PROP_LAST_LABELS:
      g_value_set_boxed (value, self->labels);
      break;
    case PROP_MAX_OBSERVED_DELAY:
      g_value_set_uint64 (value, self->max_delay);
      break;
    default:
      if (!gst_palme_caption_settings_get (&self->settings, id, value))
        G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
}

/* ---- The model and the worker ---------------------------------------------------------------- */

static void
free_pictures (GstPalmeCaption * self)
{
  guint i;

  gst_palme_caption_picture_clear (&self->picture);
  gst_palme_caption_pixels_clear (&self->drawn);
  for (i = 0; i < G_N_ELEMENTS (self->handed_pixels); i++)
    gst_palme_caption_pixels_clear (&self->handed_pixels[i]);
}

static void
post_cannot_start (GstPalmeCaption * self, const gchar * reason)
{
  GST_ELEMENT_ERROR (self, RESOURCE, FAILED,
      ("Captions cannot be made: %s. Close other programs, or lower "
          "\"threads\" or \"beams\".", reason), (NULL));
}

/* Room for the two small pictures of whole frames: a lack of memory is an error before PLAYING. Those of regions
 * take theirs when they come. */
static gboolean
allocate_pictures (GstPalmeCaption * self, gint size)
{
  gchar *reason;

  if (gst_palme_caption_pixels_resize (&self->drawn, size)
      && gst_palme_caption_pixels_resize (&self->handed_pixels[0], size))
    return TRUE;
  reason = g_strdup_printf ("out of memory for a picture of %" G_GSIZE_FORMAT
      " bytes", gst_palme_caption_picture_bytes (size));
  post_cannot_start (self, reason);
  g_free (reason);
  return FALSE;
}

static gboolean
start_worker (GstPalmeCaption * self)
{
  GstPalmeModel *model = gst_palme_caption_ref_model (self);
  struct palme_options options;
  gchar *name, *reason;
  gboolean ok;

  GST_OBJECT_LOCK (self);
  gst_palme_caption_options (self, model, &options);
  GST_OBJECT_UNLOCK (self);
  ok = allocate_pictures (self, gst_palme_model_get_info (model)->image_size);
  if (ok) {
    /* A longer name of a thread than 15 bytes is none to Linux. */
    name = g_strdup_printf ("palme:%.9s", GST_OBJECT_NAME (self));
    reason =
        gst_palme_caption_worker_start (self->worker, model, &options, name);
    g_free (name);
    ok = reason == NULL;
    if (!ok)
      post_cannot_start (self, reason);
    g_free (reason);
  }
  gst_palme_model_unref (model);
  return ok;
}

static gboolean
start (GstPalmeCaption * self)
{
  gboolean reload, overlay;

  GST_OBJECT_LOCK (self);
  reload = self->reload;
  GST_OBJECT_UNLOCK (self);
  if (reload && !gst_palme_caption_open_model (self))
    return FALSE;

  GST_OBJECT_LOCK (self);
  overlay = self->settings.auto_overlay;
  self->sync = FALSE;
  self->last_latency = self->max_delay = self->live_latency = 0;
  GST_OBJECT_UNLOCK (self);
  self->decided = self->live = FALSE;
  self->frames = 0;
  self->no_pictures = 0;
  self->warned_unmappable = self->warned_outside = FALSE;
  self->warned_no_timestamps = self->warned_partial = FALSE;
  self->without_regions = 0;
  self->warned_delay = 0;
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  g_atomic_int_set (&self->caption_now, FALSE);
  g_atomic_int_set (&self->renew, FALSE);
  gst_palme_caption_frame_forget (self);

  self->told_not_shown = FALSE;
  g_atomic_int_set (&self->warned_short, FALSE);
  warn_if_short (self);

  if (!start_worker (self)) {
    free_pictures (self);
    return FALSE;
  }
  gst_palme_caption_textpad_start (self->text);
  if (overlay)
    gst_palme_caption_overlay_attach (self->overlay);
  self->started = TRUE;
  return TRUE;
}

/* Ends every wait. It comes before chaining up, or deactivating the pads would wait for the engine. */
static void
interrupt (GstPalmeCaption * self)
{
  gst_palme_caption_end_swaps (self);
  gst_palme_caption_worker_halt (self->worker);
  gst_palme_caption_textpad_stop (self->text);
}

static void
stop (GstPalmeCaption * self)
{
  if (!self->started)
    return;
  self->started = FALSE;
  gst_palme_caption_spread_leave (self->place);
  self->place = 0;
  gst_palme_caption_worker_stop (self->worker);
  gst_palme_caption_overlay_detach (self->overlay);
  free_pictures (self);
}

static GstStateChangeReturn
gst_palme_caption_change_state (GstElement * element, GstStateChange transition)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (element);
  GstStateChangeReturn ret;

  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      post_refusals (self);
      if (!gst_palme_caption_open_model (self))
        return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      if (!start (self))
        return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      interrupt (self);
      break;
    default:
      break;
  }

  ret = GST_ELEMENT_CLASS (parent_class)->change_state (element, transition);

  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (ret == GST_STATE_CHANGE_FAILURE)
        gst_palme_caption_set_model (self, NULL);
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      if (ret == GST_STATE_CHANGE_FAILURE) {
        interrupt (self);
        stop (self);
      }
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      stop (self);
      break;
    case GST_STATE_CHANGE_READY_TO_NULL:
      gst_palme_caption_set_model (self, NULL);
      break;
    default:
      break;
  }
  return ret;
}

/* ---- Pads, caps, events, queries ------------------------------------------------------------- */

static GstPad *
gst_palme_caption_request_new_pad (GstElement * element,
    GstPadTemplate * templ, const gchar * name, const GstCaps * caps)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (element);

  (void) caps;
  if (name != NULL && strcmp (name, "text") != 0) {
    GST_WARNING_OBJECT (self, "the request pad is named \"text\"");
    return NULL;
  }
  return gst_palme_caption_textpad_request_pad (self->text, templ);
}

static void
gst_palme_caption_release_pad (GstElement * element, GstPad * pad)
{
  gst_palme_caption_textpad_release_pad (GST_PALME_CAPTION (element)->text,
      pad);
}

static gboolean
gst_palme_caption_set_caps (GstBaseTransform * trans, GstCaps * incaps,
    GstCaps * outcaps)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (trans);

  (void) outcaps;
  /* A caption that is being made has its own picture and goes on. */
  gst_palme_caption_picture_set_caps (&self->picture, incaps);
  self->warned_unmappable = self->warned_outside = FALSE;
  return TRUE;
}

static void
take_segment (GstPalmeCaption * self, GstEvent * event)
{
  GstSegment segment;

  gst_event_copy_segment (event, &segment);
  /* The position is the sender's bookkeeping and does not concern the frames. */
  segment.position = 0;
  if (self->segment.format != GST_FORMAT_UNDEFINED
      && !gst_segment_is_equal (&segment, &self->segment)) {
    gst_palme_caption_worker_abort (self->worker);
    gst_palme_caption_schedule_reset (&self->schedule);
    gst_palme_caption_schedule_reset (&self->arrivals);
    self->handed = GST_CLOCK_TIME_NONE;
  }
  self->segment = segment;
}

static gboolean
gst_palme_caption_sink_event (GstBaseTransform * trans, GstEvent * event)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (trans);

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_FLUSH_START:
      gst_palme_caption_worker_set_flushing (self->worker, TRUE);
      break;
    case GST_EVENT_FLUSH_STOP:
      gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
      gst_palme_caption_frame_forget (self);
      gst_palme_caption_worker_set_flushing (self->worker, FALSE);
      break;
    case GST_EVENT_SEGMENT:
      take_segment (self, event);
      break;
    case GST_EVENT_GAP:
      gst_palme_caption_frame_gap (self, event);
      break;
    case GST_EVENT_EOS:
      gst_palme_caption_frame_drain (self);
      break;
    default:
      break;
  }
  if (GST_EVENT_IS_SERIALIZED (event)
      || GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START)
    gst_palme_caption_textpad_event (self->text, event);

  return GST_BASE_TRANSFORM_CLASS (parent_class)->sink_event (trans, event);
}

static gboolean
gst_palme_caption_query (GstBaseTransform * trans, GstPadDirection direction,
    GstQuery * query)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (trans);
  GstClockTime min, max, own;
  gboolean live;

  if (!GST_BASE_TRANSFORM_CLASS (parent_class)->query (trans, direction, query))
    return FALSE;
  if (GST_QUERY_TYPE (query) == GST_QUERY_LATENCY && direction == GST_PAD_SRC) {
    gst_query_parse_latency (query, &live, &min, &max);
    GST_OBJECT_LOCK (self);
    own = self->live_latency;
    GST_OBJECT_UNLOCK (self);
    if (live && own > 0)
      gst_query_set_latency (query, live, min + own,
          GST_CLOCK_TIME_IS_VALID (max) ? max + own : max);
  }
  return TRUE;
}

static gboolean
gst_palme_caption_propose_allocation (GstBaseTransform * trans,
    GstQuery * decide_query, GstQuery * query)
{
  (void) decide_query;
  /* The same buffers go on downstream, so what is allocated there serves upstream. */
  return gst_pad_peer_query (GST_BASE_TRANSFORM_SRC_PAD (trans), query);
}

static GstFlowReturn
gst_palme_caption_prepare_output_buffer (GstBaseTransform * trans,
    GstBuffer * input, GstBuffer ** output)
{
  (void) trans;
  /* Only metadata is added: a shallow copy shares the memories of a buffer that others hold too. */
  *output = gst_buffer_is_writable (input) ? input : gst_buffer_copy (input);
  return *output ? GST_FLOW_OK : GST_FLOW_ERROR;
}

static GstFlowReturn
gst_palme_caption_transform_ip (GstBaseTransform * trans, GstBuffer * buffer)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (trans);
  GstFlowReturn flow = gst_palme_caption_frame_process (self, buffer);

  /* Only the text is used: pushing to an unlinked pad would stop the stream. */
  if (flow == GST_FLOW_OK
      && !gst_pad_is_linked (GST_BASE_TRANSFORM_SRC_PAD (trans))
      && gst_palme_caption_textpad_is_linked (self->text))
    return GST_BASE_TRANSFORM_FLOW_DROPPED;
  return flow;
}

/* ---- Class and instance ---------------------------------------------------------------------- */

static void
gst_palme_caption_init (GstPalmeCaption * self)
{
  GstBaseTransform *trans = GST_BASE_TRANSFORM (self);

  gst_palme_caption_settings_init (&self->settings);
  g_queue_init (&self->refusals);
  self->worker = gst_palme_caption_worker_new (GST_OBJECT (self));
  self->text = gst_palme_caption_textpad_new (GST_ELEMENT (self));
  self->overlay =
      gst_palme_caption_overlay_new (GST_ELEMENT (self),
      GST_BASE_TRANSFORM_SRC_PAD (trans));
  gst_palme_caption_textpad_set_cue_duration (self->text,
      self->settings.cue_duration);

  gst_base_transform_set_in_place (trans, TRUE);
  /* Otherwise the base class drops frames that a sink reports as late. */
  gst_base_transform_set_qos_enabled (trans, FALSE);
}

static void
gst_palme_caption_finalize (GObject * object)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (object);

  gst_palme_caption_worker_free (self->worker);
  gst_palme_caption_textpad_free (self->text);
  gst_palme_caption_overlay_free (self->overlay);
  free_pictures (self);
  gst_palme_caption_region_forget (&self->whole);
  gst_palme_caption_regions_clear (&self->regions);
  gst_palme_caption_set_model (self, NULL);
  gst_palme_caption_settings_clear (&self->settings);
  g_queue_clear_full (&self->refusals, g_free);
  g_free (self->wanted_model);
  g_free (self->caption);
  g_clear_pointer (&self->labels, gst_structure_free);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_palme_caption_class_init (GstPalmeCaptionClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseTransformClass *trans_class = GST_BASE_TRANSFORM_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_palme_caption_debug, "palmecaption", 0,
      "video captioner");
  gst_palme_meta_register ();

  object_class->set_property = gst_palme_caption_set_property;
  object_class->get_property = gst_palme_caption_get_property;
  object_class->finalize = gst_palme_caption_finalize;
  gst_palme_caption_properties_install (object_class);
  gst_palme_caption_signals_install (G_TYPE_FROM_CLASS (klass));

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_add_static_pad_template (element_class, &text_template);
  gst_element_class_set_static_metadata (element_class, "Video captioner",
      "Filter/Analyzer/Video",
      "Describes video in words with a transformer on the CPU",
      "The gst-palme authors");
  gst_element_class_add_metadata (element_class, GST_ELEMENT_METADATA_DOC_URI,
      GST_PALME_DOC_URI);
  element_class->change_state = gst_palme_caption_change_state;
  element_class->request_new_pad = gst_palme_caption_request_new_pad;
  element_class->release_pad = gst_palme_caption_release_pad;

  trans_class->set_caps = gst_palme_caption_set_caps;
  trans_class->sink_event = gst_palme_caption_sink_event;
  trans_class->query = gst_palme_caption_query;
  trans_class->propose_allocation = gst_palme_caption_propose_allocation;
  trans_class->prepare_output_buffer = gst_palme_caption_prepare_output_buffer;
  trans_class->transform_ip = gst_palme_caption_transform_ip;
}
