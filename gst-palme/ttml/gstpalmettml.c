/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmettml.c - the element palmettml.
 */
/**
 * SECTION:element-palmettml
 * @title: palmettml
 * @short_description: Writes subtitles as EBU-TT-D documents
 *
 * palmettml makes EBU-TT-D, the TTML of European broadcasters, of subtitle buffers, such as those of the
 * pad `text` of palmecaption: one document at the end of the stream, or one for each segment of
 * #palmettml:segment-duration, which is what DASH packagers take. Times are those of the media; equal
 * texts in a row are one subtitle.
 *
 * ## Example
 * |[
 * gst-launch-1.0 filesrc location=clip.webm ! decodebin ! videoconvert ! palmecaption name=p ! \
 *   fakesink p.text ! queue ! palmettml ! filesink location=clip.ttml
 * ]|
 */
#include "gstpalmettml.h"

#include "gstpalmetextinput.h"
#include "gstpalmettml-document.h"

#include <string.h>

GST_DEBUG_CATEGORY_STATIC (palme_ttml_debug);
#define GST_CAT_DEFAULT palme_ttml_debug

enum
{
  PROP_SEGMENT_DURATION = 1,
  PROP_LANGUAGE,
  PROP_LAST
};

/* Shorter segments than that make more documents than anyone reads. */
#define SEGMENT_MIN (100 * GST_MSECOND)

struct _GstPalmeTtml
{
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  /* Guarded by the object lock. */
  GstClockTime segment_duration;
  gchar *language;              /* NULL: the stream's own */

  /* The streaming thread's. */
  GstSegment segment;
  gchar *stream_language;       /* of the tags; NULL for none */
  gboolean configured;          /* caps and segment were sent */
  GstClockTime position;        /* media time up to which all cues are known; NONE at first */
  GstClockTime written;         /* media time up to which documents were sent; NONE at first */
  GstPalmeTtmlCues cues;
};

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS ("text/x-raw, format = (string) utf8"));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/ttml+xml"));

G_DEFINE_TYPE (GstPalmeTtml, gst_palme_ttml, GST_TYPE_ELEMENT);
/* *INDENT-OFF* */
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (palmettml, "palmettml", GST_RANK_NONE, GST_TYPE_PALME_TTML,
    GST_DEBUG_CATEGORY_INIT (palme_ttml_debug, "palmettml", 0, "EBU-TT-D from text"));
/* *INDENT-ON* */

/* ---- Output ----------------------------------------------------------------------------------- */

/* Documents have a segment of their own, in media time from 0 on. The first one may come at the end of the
 * stream; a sink that waits for data before it starts to play has a GAP until then. */
static void
configure (GstPalmeTtml * self)
{
  GstSegment segment;
  GstCaps *caps;

  if (self->configured)
    return;
  caps = gst_static_pad_template_get_caps (&src_template);
  gst_pad_set_caps (self->srcpad, caps);
  gst_caps_unref (caps);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_pad_push_event (self->srcpad, gst_event_new_segment (&segment));
  gst_pad_push_event (self->srcpad, gst_event_new_gap (0, GST_CLOCK_TIME_NONE));
  self->configured = TRUE;
}

static GstFlowReturn
push_document (GstPalmeTtml * self, GstClockTime begin, GstClockTime end)
{
  gchar *language, *document;
  GstBuffer *buffer;

  GST_OBJECT_LOCK (self);
  language = g_strdup (self->language ? self->language :
      self->stream_language ? self->stream_language : "");
  GST_OBJECT_UNLOCK (self);
  document = gst_palme_ttml_cues_document (&self->cues, language, begin, end);
  g_free (language);
  buffer = gst_buffer_new_wrapped (document, strlen (document));
  GST_BUFFER_PTS (buffer) = begin;
  GST_BUFFER_DURATION (buffer) = end - begin;
  configure (self);
  return gst_pad_push (self->srcpad, buffer);
}

static GstClockTime
segment_duration_of (GstPalmeTtml * self)
{
  GstClockTime duration;

  GST_OBJECT_LOCK (self);
  duration = self->segment_duration;
  GST_OBJECT_UNLOCK (self);
  return duration;
}

/* No cue begins before `position` any more: sends the documents of the segments that are complete. */
static GstFlowReturn
advance (GstPalmeTtml * self, GstClockTime position)
{
  GstClockTime duration = segment_duration_of (self);
  GstFlowReturn flow = GST_FLOW_OK;

  if (!GST_CLOCK_TIME_IS_VALID (position))
    return GST_FLOW_OK;
  configure (self);
  if (!GST_CLOCK_TIME_IS_VALID (self->position) || position > self->position)
    self->position = position;
  if (duration == 0)
    return GST_FLOW_OK;
  if (!GST_CLOCK_TIME_IS_VALID (self->written))
    self->written = position - position % duration;
  while (flow == GST_FLOW_OK && position >= self->written
      && position - self->written >= duration) {
    flow = push_document (self, self->written, self->written + duration);
    self->written += duration;
  }
  return flow;
}

/* The document of all that is left, which ends with the last cue or what is known of the stream. */
static GstFlowReturn
drain (GstPalmeTtml * self)
{
  GstClockTime begin = GST_CLOCK_TIME_IS_VALID (self->written) ? self->written
      : 0;
  GstClockTime duration = segment_duration_of (self);
  GstClockTime end = self->position;

  if (!GST_CLOCK_TIME_IS_VALID (end))
    end = begin;
  if (duration > 0 && end <= begin)
    return GST_FLOW_OK;
  self->written = end;
  return push_document (self, begin, end);
}

/* ---- Input ------------------------------------------------------------------------------------ */

static GstClockTime
media_time (const GstPalmeTtml * self, GstClockTime time)
{
  return gst_segment_to_stream_time (&self->segment, GST_FORMAT_TIME, time);
}

static void
forget (GstPalmeTtml * self)
{
  gst_palme_ttml_cues_reset (&self->cues);
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  self->position = GST_CLOCK_TIME_NONE;
  self->written = GST_CLOCK_TIME_NONE;
  self->configured = FALSE;
}

static gboolean
take_segment (GstPalmeTtml * self, GstEvent * event)
{
  const GstSegment *segment;
  gboolean ok;

  gst_event_parse_segment (event, &segment);
  ok = segment->format == GST_FORMAT_TIME && segment->rate > 0;
  if (ok)
    gst_segment_copy_into (segment, &self->segment);
  else
    GST_ELEMENT_ERROR (self, STREAM, FORMAT,
        ("Subtitles need a segment in time that plays forward."),
        ("%" GST_SEGMENT_FORMAT, segment));
  gst_event_unref (event);
  return ok;
}

static void
take_tags (GstPalmeTtml * self, GstEvent * event)
{
  GstTagList *tags;
  gchar *language;

  gst_event_parse_tag (event, &tags);
  if (gst_tag_list_get_string (tags, GST_TAG_LANGUAGE_CODE, &language)) {
    g_free (self->stream_language);
    self->stream_language = g_markup_escape_text (language, -1);
    g_free (language);
  }
}

static gboolean
sink_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  GstPalmeTtml *self = GST_PALME_TTML (parent);

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:
      gst_event_unref (event);
      return TRUE;
    case GST_EVENT_SEGMENT:
      return take_segment (self, event);
    case GST_EVENT_GAP:
      advance (self, media_time (self, gst_palme_text_input_gap_end (event)));
      return TRUE;
    case GST_EVENT_TAG:
      take_tags (self, event);
      configure (self);
      break;
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
  GstPalmeTtml *self = GST_PALME_TTML (parent);
  guint64 begin = GST_BUFFER_PTS (buffer), end = GST_CLOCK_TIME_NONE;
  GstFlowReturn flow;
  gchar *text;

  (void) pad;
  if (GST_BUFFER_PTS_IS_VALID (buffer) && GST_BUFFER_DURATION_IS_VALID (buffer))
    end = begin + GST_BUFFER_DURATION (buffer);
  if (!GST_BUFFER_PTS_IS_VALID (buffer)
      || !gst_segment_clip (&self->segment, GST_FORMAT_TIME, begin, end,
          &begin, &end)
      || (text = gst_palme_text_input_read (buffer)) == NULL) {
    GST_WARNING_OBJECT (self, "a buffer that has no time in the segment or "
        "cannot be read is left out: %" GST_PTR_FORMAT, buffer);
    gst_buffer_unref (buffer);
    return GST_FLOW_OK;
  }
  gst_buffer_unref (buffer);
  begin = media_time (self, begin);
  end = GST_CLOCK_TIME_IS_VALID (end) ? media_time (self, end) : end;
  /* Segments that end before this cue are complete without it. */
  flow = advance (self, begin);
  gst_palme_ttml_cues_add (&self->cues, text, begin, end);
  g_free (text);
  /* A document of the whole stream lasts to the end of its last cue. */
  if (segment_duration_of (self) == 0 && GST_CLOCK_TIME_IS_VALID (end))
    self->position = MAX (self->position, end);
  return flow;
}

/* ---- The element ------------------------------------------------------------------------------ */

static void
set_property (GObject * object, guint id, const GValue * value,
    GParamSpec * pspec)
{
  GstPalmeTtml *self = GST_PALME_TTML (object);
  GstClockTime duration;

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_SEGMENT_DURATION:
      duration = g_value_get_uint64 (value);
      self->segment_duration = duration ? MAX (duration, SEGMENT_MIN) : 0;
      break;
    case PROP_LANGUAGE:
      g_free (self->language);
      self->language = g_value_get_string (value) ?
          g_markup_escape_text (g_value_get_string (value), -1) : NULL;
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
      break;
  }
  GST_OBJECT_UNLOCK (self);
}

static void
get_property (GObject * object, guint id, GValue * value, GParamSpec * pspec)
{
  GstPalmeTtml *self = GST_PALME_TTML (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_SEGMENT_DURATION:
      g_value_set_uint64 (value, self->segment_duration);
      break;
    case PROP_LANGUAGE:
      g_value_set_string (value, self->language);
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
  GstPalmeTtml *self = GST_PALME_TTML (element);
  GstStateChangeReturn result;

  result =
      GST_ELEMENT_CLASS (gst_palme_ttml_parent_class)->change_state (element,
      transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    forget (self);
    g_clear_pointer (&self->stream_language, g_free);
  }
  return result;
}

static void
finalize (GObject * object)
{
  GstPalmeTtml *self = GST_PALME_TTML (object);

  forget (self);
  g_free (self->language);
  g_free (self->stream_language);
  G_OBJECT_CLASS (gst_palme_ttml_parent_class)->finalize (object);
}

static void
gst_palme_ttml_class_init (GstPalmeTtmlClass * class)
{
  GObjectClass *object_class = G_OBJECT_CLASS (class);
  GstElementClass *element_class = GST_ELEMENT_CLASS (class);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
      GST_PARAM_MUTABLE_READY;

  object_class->set_property = set_property;
  object_class->get_property = get_property;
  object_class->finalize = finalize;
  element_class->change_state = change_state;
  g_object_class_install_property (object_class, PROP_SEGMENT_DURATION,
      g_param_spec_uint64 ("segment-duration", "Segment duration",
          "Media time that a document covers, in nanoseconds, at least 100 "
          "ms. 0: one document for the whole stream, at its end", 0,
          3600 * GST_SECOND, 0, flags));
  g_object_class_install_property (object_class, PROP_LANGUAGE,
      g_param_spec_string ("language", "Language",
          "Language tag of the documents, such as en; by default that of the "
          "stream's tags", NULL, flags));
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "EBU-TT-D writer",
      "Encoder/Subtitle", "Writes subtitles as EBU-TT-D documents",
      "The gst-palme authors");
  gst_element_class_add_metadata (element_class, GST_ELEMENT_METADATA_DOC_URI,
      GST_PALME_DOC_URI);
}

static void
gst_palme_ttml_init (GstPalmeTtml * self)
{
  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, chain);
  gst_pad_set_event_function (self->sinkpad, sink_event);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_use_fixed_caps (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
  forget (self);
}
