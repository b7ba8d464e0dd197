/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecea608.c - the element palmecea608.
 */
/**
 * SECTION:element-palmecea608
 * @title: palmecea608
 * @short_description: Encodes subtitles as CEA-608 closed captions
 *
 * palmecea608 makes CEA-608 closed captions of subtitle buffers, such as those of the pad `text` of
 * palmecaption. cccombiner attaches them to the frames of a video, from which encoders such as x264enc
 * write them into the stream.
 *
 * A frame of video carries two characters. A pop-on caption is loaded out of sight and then shown as a
 * whole, so it needs about a second before its time. The property #palmecea608:latency gives it that
 * time; without it captions appear as late as they take to load. Roll-up captions are written while
 * they are seen.
 *
 * ## Example
 * |[
 * gst-launch-1.0 filesrc location=clip.webm ! decodebin ! videoconvert ! palmecaption name=p \
 *   mode=sync ! queue max-size-time=4000000000 max-size-buffers=0 max-size-bytes=0 ! cccombiner name=cc ! \
 *   x264enc ! mpegtsmux ! filesink location=captioned.ts p.text ! queue ! \
 *   palmecea608 latency=2000000000 ! closedcaption/x-cea-608,framerate=25/1 ! ccconverter ! \
 *   closedcaption/x-cea-708,format=cc_data ! cc.caption
 * ]|
 * The frame rate is that of the video, or half of it above 30; without it, it is 30000/1001. The queue
 * holds the frames for which captions are held back.
 */
#include "gstpalmecea608.h"

#include "gstpalmecea608-encode.h"
#include "gstpalmecea608-sender.h"
#include "gstpalmetextinput.h"

#include <string.h>

GST_DEBUG_CATEGORY_STATIC (palme_cea608_debug);
#define GST_CAT_DEFAULT palme_cea608_debug

typedef enum
{
  MODE_POP_ON,
  MODE_ROLL_UP,
} Mode;

#define DEFAULT_MODE MODE_POP_ON
#define DEFAULT_CHANNEL 1
#define DEFAULT_ROWS 3
#define DEFAULT_LATENCY 0
#define DEFAULT_FPS_N 30000
#define DEFAULT_FPS_D 1001

enum
{
  PROP_MODE = 1,
  PROP_CHANNEL,
  PROP_ROWS,
  PROP_LATENCY,
  PROP_DROPPED,
  PROP_LAST
};

static GParamSpec *properties[PROP_LAST];

struct _GstPalmeCea608
{
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  /* Guarded by the object lock. */
  Mode mode;
  guint channel, rows;
  GstClockTime latency;
  guint64 dropped;

  /* The streaming thread's. */
  GstSegment segment;
  GstEvent *segment_event;      /* waits for the caps */
  gint fps_n, fps_d;            /* 0 before the caps */
  guint64 frame;                /* the next one; frame 0 is at time 0 of the segment */
  GstClockTime position;        /* captions from before it do not come any more */
  gboolean warned;              /* about dropped captions, once a stream */
  GstPalmeCea608Sender sender;
};

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS ("text/x-raw, format = (string) utf8"));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS ("closedcaption/x-cea-608, format = (string) raw, "
        "framerate = (fraction) [ 1/1, 30/1 ]"));

G_DEFINE_TYPE (GstPalmeCea608, gst_palme_cea608, GST_TYPE_ELEMENT);
/* *INDENT-OFF* */
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (palmecea608, "palmecea608", GST_RANK_NONE, GST_TYPE_PALME_CEA608,
    GST_DEBUG_CATEGORY_INIT (palme_cea608_debug, "palmecea608", 0, "closed captions from text"));
/* *INDENT-ON* */

#define GST_TYPE_PALME_CEA608_MODE (mode_get_type ())
static GType
mode_get_type (void)
{
  static const GEnumValue values[] = {
    {MODE_POP_ON, "Captions appear as a whole", "pop-on"},
    {MODE_ROLL_UP, "Captions are written at the bottom and move up", "roll-up"},
    {0, NULL, NULL}
  };
  static gsize type;

  if (g_once_init_enter (&type))
    g_once_init_leave (&type,
        g_enum_register_static ("GstPalmeCea608Mode", values));
  return type;
}

/* ---- Time ------------------------------------------------------------------------------------- */

static GstClockTime
time_of (const GstPalmeCea608 * self, guint64 frame)
{
  return gst_util_uint64_scale (frame, GST_SECOND * self->fps_d, self->fps_n);
}

static guint64
frame_at (const GstPalmeCea608 * self, GstClockTime time)
{
  return gst_util_uint64_scale_round (time, self->fps_n,
      GST_SECOND * self->fps_d);
}

/* ---- Output ----------------------------------------------------------------------------------- */

static GstFlowReturn
push_pair (GstPalmeCea608 * self, guint16 pair)
{
  guint8 bytes[2] = { (guint8) (pair >> 8), (guint8) pair };
  GstBuffer *buffer = gst_buffer_new_memdup (bytes, sizeof (bytes));

  GST_BUFFER_PTS (buffer) = time_of (self, self->frame);
  GST_BUFFER_DURATION (buffer) =
      time_of (self, self->frame + 1) - GST_BUFFER_PTS (buffer);
  self->frame++;
  return gst_pad_push (self->srcpad, buffer);
}

static void
push_gap (GstPalmeCea608 * self, guint64 frame)
{
  GstClockTime begin = time_of (self, self->frame);

  gst_pad_push_event (self->srcpad,
      gst_event_new_gap (begin, time_of (self, frame) - begin));
  self->frame = frame;
}

static void
count_dropped (GstPalmeCea608 * self)
{
  gboolean news;

  GST_OBJECT_LOCK (self);
  news = self->dropped != self->sender.dropped;
  self->dropped = self->sender.dropped;
  GST_OBJECT_UNLOCK (self);
  if (!news)
    return;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_DROPPED]);
  if (self->warned)
    return;
  self->warned = TRUE;
  GST_ELEMENT_WARNING (self, STREAM, ENCODE,
      ("Captions come faster than CEA-608 carries them."),
      ("two characters a frame at %d/%d frames a second; the property "
          "dropped counts those that are left out", self->fps_n, self->fps_d));
}

/* Sends what is due before the frame `end`. */
static GstFlowReturn
send_until (GstPalmeCea608 * self, guint64 end)
{
  GstFlowReturn flow = GST_FLOW_OK;

  while (flow == GST_FLOW_OK && self->frame < end) {
    guint64 due = gst_palme_cea608_sender_due (&self->sender, self->frame);

    if (due > self->frame)
      push_gap (self, MIN (due, end));
    else
      flow = push_pair (self, gst_palme_cea608_sender_next (&self->sender,
              self->frame));
  }
  count_dropped (self);
  return flow;
}

/* No caption comes from before `position` any more. */
static GstFlowReturn
advance (GstPalmeCea608 * self, GstClockTime position)
{
  GstClockTime latency;

  GST_OBJECT_LOCK (self);
  latency = self->latency;
  GST_OBJECT_UNLOCK (self);
  if (GST_CLOCK_TIME_IS_VALID (position)
      && (!GST_CLOCK_TIME_IS_VALID (self->position)
          || position > self->position))
    self->position = position;
  if (!GST_CLOCK_TIME_IS_VALID (self->position) || self->position <= latency)
    return GST_FLOW_OK;
  return send_until (self, frame_at (self, self->position - latency));
}

/* Sends all captions that are left, at their time. */
static GstFlowReturn
drain (GstPalmeCea608 * self)
{
  GstFlowReturn flow = GST_FLOW_OK;
  guint64 end = self->frame, due;

  if (self->fps_n == 0 || self->segment.format != GST_FORMAT_TIME)
    return GST_FLOW_OK;
  if (GST_CLOCK_TIME_IS_VALID (self->position))
    end = MAX (end, frame_at (self, self->position));
  gst_palme_cea608_sender_end (&self->sender, end);
  while (flow == GST_FLOW_OK && (due =
          gst_palme_cea608_sender_due (&self->sender,
              self->frame)) != GST_PALME_CEA608_NEVER)
    flow = send_until (self, due + 1);
  return flow;
}

/* ---- Input ------------------------------------------------------------------------------------ */

/* The rate of frames is what downstream wants, and nearest to NTSC's where it does not care. */
static gboolean
negotiate (GstPalmeCea608 * self)
{
  GstCaps *caps = gst_pad_get_allowed_caps (self->srcpad);
  GstEvent *segment = self->segment_event;
  GstStructure *structure;
  gboolean ok;

  if (!caps)
    caps = gst_pad_get_pad_template_caps (self->srcpad);
  if (gst_caps_is_empty (caps)) {
    gst_caps_unref (caps);
    return FALSE;
  }
  caps = gst_caps_truncate (gst_caps_make_writable (caps));
  structure = gst_caps_get_structure (caps, 0);
  gst_structure_fixate_field_nearest_fraction (structure, "framerate",
      DEFAULT_FPS_N, DEFAULT_FPS_D);
  caps = gst_caps_fixate (caps);
  structure = gst_caps_get_structure (caps, 0);
  ok = gst_structure_get_fraction (structure, "framerate", &self->fps_n,
      &self->fps_d)
      && gst_pad_set_caps (self->srcpad, caps);
  GST_DEBUG_OBJECT (self, "caps %" GST_PTR_FORMAT, caps);
  gst_caps_unref (caps);
  self->segment_event = NULL;
  if (segment)
    gst_pad_push_event (self->srcpad, segment);
  self->frame = 0;
  if (ok && self->segment.format == GST_FORMAT_TIME)
    self->frame = frame_at (self, self->segment.start);
  return ok;
}

static void
take_segment (GstPalmeCea608 * self, GstEvent * event)
{
  drain (self);
  gst_palme_cea608_sender_reset (&self->sender, self->sender.shown);
  gst_event_copy_segment (event, &self->segment);
  self->position = GST_CLOCK_TIME_NONE;
  if (self->fps_n > 0) {
    self->frame = frame_at (self, self->segment.start);
    gst_pad_push_event (self->srcpad, event);
  } else {
    gst_event_replace (&self->segment_event, event);
    gst_event_unref (event);
  }
}

static void
take_gap (GstPalmeCea608 * self, GstEvent * event)
{
  GstClockTime end = gst_palme_text_input_gap_end (event);

  if (self->fps_n > 0 && self->segment.format == GST_FORMAT_TIME
      && GST_CLOCK_TIME_IS_VALID (end))
    advance (self, end);
}

static void
forget (GstPalmeCea608 * self)
{
  gst_palme_cea608_sender_reset (&self->sender, TRUE);
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  gst_event_replace (&self->segment_event, NULL);
  self->position = GST_CLOCK_TIME_NONE;
}

static gboolean
sink_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (parent);

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:
      gst_event_unref (event);
      /* The same captions, whatever else the text's caps say. */
      return self->fps_n > 0 || negotiate (self);
    case GST_EVENT_SEGMENT:
    {
      const GstSegment *segment;

      gst_event_parse_segment (event, &segment);
      if (segment->format != GST_FORMAT_TIME || segment->rate < 0) {
        GST_ELEMENT_ERROR (self, STREAM, FORMAT,
            ("Captions need a segment in time that plays forward."),
            ("%" GST_SEGMENT_FORMAT, segment));
        gst_event_unref (event);
        return FALSE;
      }
      take_segment (self, event);
      return TRUE;
    }
    case GST_EVENT_GAP:
      take_gap (self, event);
      return TRUE;
    case GST_EVENT_EOS:
      drain (self);
      break;
    case GST_EVENT_FLUSH_STOP:
      forget (self);
      break;
    default:
      break;
  }
  return gst_pad_event_default (pad, parent, event);
}

static GstFlowReturn
chain (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (parent);
  guint64 begin = GST_BUFFER_PTS (buffer), end = begin, first, last;
  gchar *text;

  (void) pad;
  if (self->fps_n == 0 || self->segment.format != GST_FORMAT_TIME) {
    gst_buffer_unref (buffer);
    return GST_FLOW_NOT_NEGOTIATED;
  }
  if (!GST_BUFFER_PTS_IS_VALID (buffer)
      || (text = gst_palme_text_input_read (buffer)) == NULL) {
    GST_WARNING_OBJECT (self, "a buffer that has no time or cannot be read "
        "is left out: %" GST_PTR_FORMAT, buffer);
    gst_buffer_unref (buffer);
    return GST_FLOW_OK;
  }
  end = GST_BUFFER_DURATION_IS_VALID (buffer) ?
      begin + GST_BUFFER_DURATION (buffer) : GST_CLOCK_TIME_NONE;
  gst_buffer_unref (buffer);
  if (gst_segment_clip (&self->segment, GST_FORMAT_TIME, begin, end, &begin,
          &end)) {
    first = frame_at (self, begin);
    last = GST_CLOCK_TIME_IS_VALID (end) ? frame_at (self, end) :
        GST_PALME_CEA608_NEVER;
    GST_OBJECT_LOCK (self);
    self->sender.channel = self->channel;
    self->sender.rows = self->rows;
    self->sender.roll_up = self->mode == MODE_ROLL_UP;
    GST_OBJECT_UNLOCK (self);
    gst_palme_cea608_sender_add (&self->sender, text, first, last);
  }
  g_free (text);
  return advance (self, begin);
}

static gboolean
src_query (GstPad * pad, GstObject * parent, GstQuery * query)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (parent);
  GstClockTime least, most;
  gboolean live;

  if (!gst_pad_query_default (pad, parent, query))
    return FALSE;
  if (GST_QUERY_TYPE (query) == GST_QUERY_LATENCY) {
    gst_query_parse_latency (query, &live, &least, &most);
    GST_OBJECT_LOCK (self);
    least += self->latency;
    if (GST_CLOCK_TIME_IS_VALID (most))
      most += self->latency;
    GST_OBJECT_UNLOCK (self);
    gst_query_set_latency (query, live, least, most);
  }
  return TRUE;
}

/* ---- The element ------------------------------------------------------------------------------ */

static void
set_property (GObject * object, guint id, const GValue * value,
    GParamSpec * pspec)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_MODE:
      self->mode = g_value_get_enum (value);
      break;
    case PROP_CHANNEL:
      self->channel = g_value_get_uint (value);
      break;
    case PROP_ROWS:
      self->rows = g_value_get_uint (value);
      break;
    case PROP_LATENCY:
      self->latency = g_value_get_uint64 (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
  if (id == PROP_LATENCY)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_latency (GST_OBJECT (self)));
}

static void
get_property (GObject * object, guint id, GValue * value, GParamSpec * pspec)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_MODE:
      g_value_set_enum (value, self->mode);
      break;
    case PROP_CHANNEL:
      g_value_set_uint (value, self->channel);
      break;
    case PROP_ROWS:
      g_value_set_uint (value, self->rows);
      break;
    case PROP_LATENCY:
      g_value_set_uint64 (value, self->latency);
      break;
    case PROP_DROPPED:
      g_value_set_uint64 (value, self->dropped);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
}

static GstStateChangeReturn
change_state (GstElement * element, GstStateChange transition)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (element);
  GstStateChangeReturn result;

  result =
      GST_ELEMENT_CLASS (gst_palme_cea608_parent_class)->change_state (element,
      transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    forget (self);
    self->fps_n = self->fps_d = 0;
    self->frame = 0;
    self->warned = FALSE;
    self->sender.dropped = 0;
    GST_OBJECT_LOCK (self);
    self->dropped = 0;
    GST_OBJECT_UNLOCK (self);
  }
  return result;
}

static void
finalize (GObject * object)
{
  GstPalmeCea608 *self = GST_PALME_CEA608 (object);

  forget (self);
  G_OBJECT_CLASS (gst_palme_cea608_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass * class)
{
  const GParamFlags set = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  properties[PROP_MODE] = g_param_spec_enum ("mode", "Mode",
      "How captions come onto the screen", GST_TYPE_PALME_CEA608_MODE,
      DEFAULT_MODE, set | GST_PARAM_MUTABLE_READY);
  properties[PROP_CHANNEL] = g_param_spec_uint ("channel", "Channel",
      "Caption channel of the first field: 1 is CC1, 2 is CC2", 1, 2,
      DEFAULT_CHANNEL, set | GST_PARAM_MUTABLE_READY);
  properties[PROP_ROWS] = g_param_spec_uint ("rows", "Rows",
      "Most lines on the screen, of 32 characters each; longer pop-on "
      "captions are split in time, roll-up has 2 at least", 1,
      GST_PALME_CEA608_LINES, DEFAULT_ROWS, set | GST_PARAM_MUTABLE_READY);
  properties[PROP_LATENCY] = g_param_spec_uint64 ("latency", "Latency",
      "How long captions are held back, in nanoseconds, so that a pop-on "
      "caption is loaded before its time; 2 seconds are enough for the "
      "longest. 0: a caption appears when it is loaded", 0,
      60 * GST_SECOND, DEFAULT_LATENCY, set | GST_PARAM_MUTABLE_PLAYING);
  properties[PROP_DROPPED] = g_param_spec_uint64 ("dropped", "Dropped",
      "Captions left out because the next one was due before they could "
      "be sent", 0, G_MAXUINT64, 0, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (class, PROP_LAST, properties);
}

static void
gst_palme_cea608_class_init (GstPalmeCea608Class * class)
{
  GObjectClass *object_class = G_OBJECT_CLASS (class);
  GstElementClass *element_class = GST_ELEMENT_CLASS (class);

  object_class->set_property = set_property;
  object_class->get_property = get_property;
  object_class->finalize = finalize;
  element_class->change_state = change_state;
  install_properties (object_class);
  gst_type_mark_as_plugin_api (GST_TYPE_PALME_CEA608_MODE, 0);
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class,
      "CEA-608 caption encoder", "Encoder/ClosedCaption",
      "Encodes text as CEA-608 closed captions", "The gst-palme authors");
  gst_element_class_add_metadata (element_class, GST_ELEMENT_METADATA_DOC_URI,
      GST_PALME_DOC_URI);
}

static void
gst_palme_cea608_init (GstPalmeCea608 * self)
{
  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, chain);
  gst_pad_set_event_function (self->sinkpad, sink_event);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_set_query_function (self->srcpad, src_query);
  gst_pad_use_fixed_caps (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
  self->mode = DEFAULT_MODE;
  self->channel = DEFAULT_CHANNEL;
  self->rows = DEFAULT_ROWS;
  self->latency = DEFAULT_LATENCY;
  forget (self);
  gst_palme_cea608_sender_reset (&self->sender, FALSE);
}
