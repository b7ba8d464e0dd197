/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-properties.c - the properties of palmecaption as gst-inspect-1.0 shows them: names, types,
 * ranges, defaults and what they mean. gstpalmecaption-settings.c has the values.
 *
 * The file is long because each property is told twice, for gst-inspect-1.0 and for the documentation.
 */
#include "gstpalmecaption-private.h"

#include <math.h>

#define FLAGS (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)
#define READY (FLAGS | GST_PARAM_MUTABLE_READY)
#define PLAYING (FLAGS | GST_PARAM_MUTABLE_PLAYING)
#define CONTROLLABLE (PLAYING | GST_PARAM_CONTROLLABLE)

static GParamSpec *pspecs[PROP_LAST];

GParamSpec *
gst_palme_caption_pspec (guint id)
{
  return pspecs[id];
}

static GType
gst_palme_mode_get_type (void)
{
  static GType type = 0;
  static const GEnumValue values[] = {
    {GST_PALME_MODE_AUTO, "async if upstream is live, else sync", "auto"},
    {GST_PALME_MODE_ASYNC,
          "Video never waits; a caption appears on the first frame after it is ready",
        "async"},
    {GST_PALME_MODE_SYNC, "Each frame that is due waits for its own caption",
        "sync"},
    {0, NULL, NULL}
  };

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmeMode", values);

    g_once_init_leave (&type, t);
  }
  return type;
}

static const GEnumValue precisions[] = {
  {GST_PALME_PRECISION_AUTO,
        "The fastest in which captions are as good as in f32, according to the model file",
      "auto"},
  {GST_PALME_PRECISION_F32, "32 bit floating point weights", "f32"},
  {GST_PALME_PRECISION_BF16, "16 bit floating point (bfloat16) weights",
      "bf16"},
  {GST_PALME_PRECISION_INT8, "8 bit integer weights", "int8"},
  {GST_PALME_PRECISION_INT4,
      "8 bit integer weights, 4 bit in the decoder; never by auto", "int4"},
  {0, NULL, NULL}
};

const gchar *
gst_palme_precision_name (GstPalmePrecision precision)
{
  return precisions[precision].value_nick;
}

static GType
gst_palme_precision_get_type (void)
{
  static GType type = 0;

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmePrecision", precisions);

    g_once_init_leave (&type, t);
  }
  return type;
}

static GType
gst_palme_on_error_get_type (void)
{
  static GType type = 0;
  static const GEnumValue values[] = {
    {GST_PALME_ON_ERROR_WARN, "Post a warning and go on", "warn"},
    {GST_PALME_ON_ERROR_ERROR, "Post an error and stop the stream", "error"},
    {0, NULL, NULL}
  };

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmeOnError", values);

    g_once_init_leave (&type, t);
  }
  return type;
}

static GType
gst_palme_regions_get_type (void)
{
  static GType type = 0;
  static const GEnumValue values[] = {
    {GST_PALME_REGIONS_NONE, "Caption the frame, or the part in \"region\"",
        "none"},
    {GST_PALME_REGIONS_ROI,
          "Caption each GstVideoRegionOfInterestMeta on its own",
        "roi"},
    {0, NULL, NULL}
  };

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmeRegions", values);

    g_once_init_leave (&type, t);
  }
  return type;
}

static void
install_load (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:model:
   *
   * The model file, in the encoding of the file system. NULL takes the file that the environment
   * variable PALME_MODEL names, or the installed default model if it names none.
   *
   * In PAUSED and PLAYING the file is loaded beside the video, and makes the captions once it is there;
   * then this property and #GstPalmeCaption:model-info are notified. If it cannot be loaded, the model in
   * use stays, and so does the value, and a warning is posted.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MODEL,
      g_param_spec_string ("model", "Model",
          "Model file (NULL = the file that PALME_MODEL names in the "
          "environment, else the installed model)", NULL, PLAYING));
  /**
   * GstPalmeCaption:threads:
   *
   * The number of compute threads. 0 takes one less than the processors that the process may use, so
   * that one is left for the video, but at least 1. Elements that share a model share its threads.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_THREADS,
      g_param_spec_uint ("threads", "Threads",
          "Number of compute threads (0 = one less than the usable "
          "processors, which leaves one for the video)", 0, 256, 0, READY));
  /**
   * GstPalmeCaption:precision:
   *
   * The number format in which weights are kept and computed with. Fewer bits are faster and take
   * less memory. The model file lists the formats in which its captions are as good as in f32; auto
   * takes the one of them that is fastest on this machine, or f32. Any other value is used even if
   * the model file does not list it; int4 is only ever used that way. #GstPalmeCaption:model-info shows the one in use.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_PRECISION,
      g_param_spec_enum ("precision", "Precision",
          "Number format of the weights (auto = the fastest that keeps "
          "the captions as good, as the model file says)",
          gst_palme_precision_get_type (), GST_PALME_PRECISION_AUTO, READY));
  /**
   * GstPalmeCaption:mode:
   *
   * In async mode the video never waits: a caption appears on the first frame after it is ready. In
   * sync mode each frame that is due waits for its own caption, which is exact and repeatable. auto
   * is async if upstream is live, else sync.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MODE,
      g_param_spec_enum ("mode", "Mode",
          "Whether frames wait for their captions (auto = only if "
          "upstream is not live)",
          gst_palme_mode_get_type (), GST_PALME_MODE_AUTO, READY));
  /**
   * GstPalmeCaption:auto-overlay:
   *
   * Show captions in a textoverlay downstream whose text pad is not linked and whose text is empty.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_AUTO_OVERLAY,
      g_param_spec_boolean ("auto-overlay", "Auto overlay",
          "Show captions in a textoverlay downstream whose text pad is "
          "not linked and whose text is empty", TRUE, READY));
}

static void
install_caption (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:prompt:
   *
   * Text that captions continue, at most 4 KiB of UTF-8. NULL takes the prompt of the model file, an
   * empty string none. A blank at its end is a part of it: most models write the blank themselves.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_PROMPT,
      g_param_spec_string ("prompt", "Prompt",
          "Text that captions continue (NULL = the model's own prompt, "
          "empty = no prompt)", NULL, PLAYING));
  /**
   * GstPalmeCaption:include-prompt:
   *
   * Captions begin with the prompt, in metadata, message, signal, #GstPalmeCaption:caption and on the text
   * pad. Otherwise they are what the model says behind it. Metadata and messages have the prompt as a
   * field of its own as well.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_INCLUDE_PROMPT,
      g_param_spec_boolean ("include-prompt", "Include prompt",
          "Begin captions with the prompt", TRUE, PLAYING));
  /**
   * GstPalmeCaption:max-length:
   *
   * The maximum number of tokens in a caption. 0, the default since 0.2, takes the model's own, or 32
   * where its file has none.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MAX_LENGTH,
      g_param_spec_uint ("max-length", "Maximum length",
          "Maximum number of tokens in a caption (0 = the model's, or 32)", 0,
          1024, DEFAULT_MAX_LENGTH, CONTROLLABLE));
  /**
   * GstPalmeCaption:time-limit:
   *
   * The time limit per caption. A caption that takes longer is cut off.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TIME_LIMIT,
      g_param_spec_uint64 ("time-limit", "Time limit",
          "Time limit per caption in nanoseconds; a longer one is cut off"
          " (0 = no limit)", 0, G_MAXUINT64, 0, PLAYING));
}

static void
install_search (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:temperature:
   *
   * The sampling temperature. 0 always takes the most likely token (greedy search, or beam search);
   * above 0 tokens are sampled.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TEMPERATURE,
      g_param_spec_double ("temperature", "Temperature",
          "Sampling temperature (0 = no sampling: the most likely "
          "caption)", 0.0, 5.0, 0.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:top-k:
   *
   * Sample from the k most likely tokens.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TOP_K,
      g_param_spec_uint ("top-k", "Top k",
          "Sample from the k most likely tokens (0 = from all)",
          0, G_MAXUINT, 0, CONTROLLABLE));
  /**
   * GstPalmeCaption:top-p:
   *
   * Sample from the smallest set of tokens whose probabilities add up to this value. 0 leaves the
   * most likely token alone.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TOP_P,
      g_param_spec_double ("top-p", "Top p",
          "Sample from the most likely tokens whose probabilities add up "
          "to this (1 = from all, 0 = from one)", 0.0, 1.0, 1.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:seed:
   *
   * The seed for sampling. Each caption starts anew with it, so that equal frames give equal
   * captions.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_SEED,
      g_param_spec_uint64 ("seed", "Seed",
          "Seed for sampling; equal frames with equal seeds give equal "
          "captions", 0, G_MAXUINT64, 0, CONTROLLABLE));
  /**
   * GstPalmeCaption:beams:
   *
   * The beam width of the search. 1 searches greedily, 0 takes the beam width of the model file.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_BEAMS,
      g_param_spec_uint ("beams", "Beams",
          "Beam width (1 = greedy search, 0 = the model's own width)",
          0, 8, 0, CONTROLLABLE));
}

static void
install_choice (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:blocklist:
   *
   * Words that are never said, separated by commas; a value that begins with @ names a file with a word on
   * each line, which is read when the property is set. Whole words are compared, whatever tokens the model
   * makes them of, and without regard to case from a to z. The model says the next best instead.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_BLOCKLIST,
      g_param_spec_string ("blocklist", "Blocklist",
          "Words that are never said, separated by commas (@FILE = the lines "
          "of a file, NULL = none)", NULL, PLAYING));
  /**
   * GstPalmeCaption:min-score:
   *
   * Captions with a lower score are empty. The score is the mean log-probability of the caption's
   * tokens, so it is at most 0. A value above 0, the default, takes the limit that the model file
   * recommends, or none if it recommends none; -inf is no limit.
   *
   * An empty caption is still a caption: metadata, message, signal and #GstPalmeCaption:caption have
   * the text "", the first two with the score, and the text pad sends GAP events until the next
   * caption.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_MIN_SCORE,
      g_param_spec_double ("min-score", "Minimum score",
          "Captions with a lower mean log-probability per token are empty"
          " (above 0 = the limit of the model file, -inf = no limit)",
          -INFINITY, 1.0, DEFAULT_MIN_SCORE, CONTROLLABLE));
}

static void
install_labels (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:labels:
   *
   * Tell the labels of models that have them, in metadata, message and #GstPalmeCaption:last-labels.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_LABELS,
      g_param_spec_boolean ("labels", "Labels",
          "Tell which labels fit the picture, and how likely they are, in "
          "metadata and message (models with labels)", TRUE, PLAYING));
  /**
   * GstPalmeCaption:label-weight:
   *
   * How much a word costs that the picture's labels do not support, in nats for each nat that its label is
   * too unlikely. 0 lets the model say what it likes. The default, -1, takes the weight of the model file.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_LABEL_WEIGHT,
      g_param_spec_double ("label-weight", "Label weight",
          "How strongly words are held to the labels of the picture (0 = not "
          "at all, -1 = as the model file says; models with labels)",
          -1.0, 1000.0, -1.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:when-unsure:
   *
   * What is said instead of a caption that scores below #GstPalmeCaption:min-score, or that names nothing
   * that the labels confirm: the caption all the same, the likeliest label, as in "a photo of a clock", if
   * it is likely enough, or nothing. A model without labels says nothing below #GstPalmeCaption:min-score.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_WHEN_UNSURE,
      g_param_spec_enum ("when-unsure", "When unsure",
          "What is said where a caption scores below min-score or the labels "
          "do not confirm it (models with labels)",
          gst_palme_when_unsure_get_type (), GST_PALME_WHEN_UNSURE_LABELS,
          PLAYING));
}

static void
install_regions (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:region:
   *
   * The part of the picture that is captioned: "x,y,width,height". Each of the four is a number of pixels,
   * as 320; a fraction of the frame's width or height with a decimal point, from 0.0 to 1.0; or per cent, as
   * 25%. So "0.5,0,0.5,1.0", "50%,0,50%,100%", and "320,0,320,480" in frames of 640x480, are the right half. What
   * lies outside of the frame is cut off; if nothing is left frames pass without a caption, with a warning.
   * Where pixels share chroma, the part begins at a whole sample of it: at most three pixels further to the
   * left, or further up. NULL, or an empty string, is the whole frame.
   *
   * With #GstPalmeCaption:regions set to roi, regions are cut off at the borders of this part.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_REGION,
      g_param_spec_string ("region", "Region",
          "Part of the picture to caption: x,y,width,height in pixels (320), "
          "fractions (0.5) or per cent (50%); NULL = all of it", NULL,
          PLAYING));
  /**
   * GstPalmeCaption:regions:
   *
   * Which pictures of a frame are captioned: the frame, or each GstVideoRegionOfInterestMeta that a detector
   * has put on it. Regions are captioned when the frame is due; a frame that is due and has none leaves its turn
   * to the next one that has some. Each region has a caption of its own, kept steady on its own; cuts are not
   * looked for. What is on no frame for a second is forgotten.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_REGIONS,
      g_param_spec_enum ("regions", "Regions",
          "Which pictures of a frame to caption",
          gst_palme_regions_get_type (), GST_PALME_REGIONS_NONE, PLAYING));
  /**
   * GstPalmeCaption:max-regions:
   *
   * The maximum number of regions of one frame that are captioned, with #GstPalmeCaption:regions set to roi.
   * Those that have waited longest come first, so that all have their turn.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_MAX_REGIONS,
      g_param_spec_uint ("max-regions", "Maximum regions",
          "Maximum number of regions of a frame to caption; those that have "
          "waited longest come first", 1, GST_PALME_CAPTION_MAX_REGIONS,
          DEFAULT_MAX_REGIONS, CONTROLLABLE));
#ifdef GST_PALME_HAVE_ANALYTICS
  /**
   * GstPalmeCaption:analytics-meta:
   *
   * Put labels and captions into the metadata that analytics elements share (GstAnalyticsRelationMeta), on the
   * first buffer that carries a caption: the labels as GstAnalyticsClsMtd, and from GStreamer 1.30 on the
   * caption as GstAnalyticsTextMtd, with the mean probability of its tokens as confidence. Of a region both
   * are related to a GstAnalyticsODMtd with its rectangle. The property exists where the plugin was compiled
   * with gstreamer-analytics-1.0, 1.24 or later.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_ANALYTICS_META,
      g_param_spec_boolean ("analytics-meta", "Analytics metadata",
          "Put labels and captions into the metadata that analytics elements "
          "share, on the first buffer that carries a caption", TRUE, PLAYING));
#endif
}

static void
install_stream (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:interval:
   *
   * The time between captioned frames: of their timestamps at any rate, or of their arrival if they
   * have no timestamps. With 0 every frame is due; in async mode that means as often as the engine
   * can.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_INTERVAL,
      g_param_spec_uint64 ("interval", "Interval",
          "Time between captioned frames in nanoseconds (0 = every frame)",
          0, G_MAXUINT64, DEFAULT_INTERVAL, CONTROLLABLE));
  /**
   * GstPalmeCaption:only-on-change:
   *
   * Post a message and emit #GstPalmeCaption::new-caption only when the caption differs from the
   * last one. Metadata and text buffers go on.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_ONLY_ON_CHANGE,
      g_param_spec_boolean ("only-on-change", "Only on change",
          "Post a message and emit the signal only when the caption "
          "changes", FALSE, PLAYING));
  /**
   * GstPalmeCaption:cue-duration:
   *
   * The maximum duration of a buffer on the text pad, in running time. 0 sends one buffer per
   * caption, which suits subtitle files: it is sent when it ends, and equal captions in a row are
   * one buffer. If the text meets another stream downstream, in a muxer or an overlay, it is sent
   * when it starts, as these need it, and lasts until the next caption is expected. qtmux and mp4mux
   * hang with buffers of more than a second.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_CUE_DURATION,
      g_param_spec_uint64 ("cue-duration", "Cue duration",
          "Maximum duration of a text buffer in nanoseconds (0 = one "
          "buffer per caption, for subtitle files; qtmux and mp4mux need "
          "at most one second)",
          0, G_MAXUINT64, DEFAULT_CUE_DURATION, PLAYING));
  /**
   * GstPalmeCaption:drain-timeout:
   *
   * The maximum time to wait for the last caption at the end of the stream, in async mode.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_DRAIN_TIMEOUT,
      g_param_spec_uint64 ("drain-timeout", "Drain timeout",
          "Maximum time to wait for the last caption at EOS, in "
          "nanoseconds (0 = do not wait)",
          0, G_MAXUINT64, DEFAULT_DRAIN_TIMEOUT, PLAYING));
}

static void
install_reports (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:post-messages:
   *
   * Post an element message named palmecaption for each caption.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_POST_MESSAGES,
      g_param_spec_boolean ("post-messages", "Post messages",
          "Post an element message for each caption", TRUE, PLAYING));
  /**
   * GstPalmeCaption:partial:
   *
   * In async mode, post messages with the field "partial" set, and emit
   * #GstPalmeCaption::partial-caption, while a caption grows; with each frame that passes and finds new
   * words. What grows is the caption as the model makes it: what is shown in the end may be the old one, or
   * none. Beam search decides at the end, so it takes #GstPalmeCaption:beams 1, or sampling.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_PARTIAL,
      g_param_spec_boolean ("partial", "Partial",
          "Post messages and emit a signal while a caption grows, in async "
          "mode and without beam search (beams=1)", FALSE, PLAYING));
  /**
   * GstPalmeCaption:on-error:
   *
   * What to post when a frame cannot be captioned: a warning, or an error that stops the stream.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_ON_ERROR,
      g_param_spec_enum ("on-error", "On error",
          "What to post when a frame cannot be captioned",
          gst_palme_on_error_get_type (), GST_PALME_ON_ERROR_WARN, PLAYING));
}

static void
install_steady (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:scene-threshold:
   *
   * A frame that is due keeps the caption, without work for the engine, if less than this share of the
   * picture has changed since the last captioned frame. Noise, flickering light, slow changes of light
   * and compression do not count as change; slow movement adds up. 0 captions every due frame. The
   * default, -1, is 0.005 in async mode and 0 in sync mode. A change of the prompt or of another
   * property that captions depend on, and #GstPalmeCaption::caption-now, caption the same picture once
   * more.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_SCENE_THRESHOLD,
      g_param_spec_double ("scene-threshold", "Scene threshold",
          "Share of the picture that has to change before a new caption is "
          "made (0 = caption every due frame, -1 = 0.005 in async mode, 0 in "
          "sync mode)", -1.0, 1.0, -1.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:cut-threshold:
   *
   * The scene is cut where at least this share of the picture changes from one frame to the next. After
   * a cut the next frame is due at once, whatever #GstPalmeCaption:interval is, a caption of the old
   * scene in the making is given up, and the new caption replaces the old one in any case. Of large
   * pictures not every frame is looked at, but some each second. 0 looks for no cuts. The default, -1,
   * is 0.5 in async mode and 0 in sync mode.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_CUT_THRESHOLD,
      g_param_spec_double ("cut-threshold", "Cut threshold",
          "Share of the picture that changes at once where the scene is cut; "
          "then a frame is due at once (0 = look for no cuts, -1 = 0.5 in "
          "async mode, 0 in sync mode)", -1.0, 1.0, -1.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:max-rate:
   *
   * The maximum number of captions per second where cuts follow each other faster. It does not limit
   * #GstPalmeCaption:interval. 0 is no limit.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_MAX_RATE,
      g_param_spec_double ("max-rate", "Maximum rate",
          "Maximum captions per second where cuts make frames due (0 = no "
          "limit)", 0.0, 1000.0, DEFAULT_MAX_RATE, CONTROLLABLE));
  /**
   * GstPalmeCaption:caption-hold:
   *
   * The time for which a caption stays at least, unless the scene is cut. After a cut the old caption is
   * taken away when no new one has come in this time; with 0 it stays until the new one comes. The
   * default, 18446744073709551615, is 1.5 seconds in async mode and 0 in sync mode.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_CAPTION_HOLD,
      g_param_spec_uint64 ("caption-hold", "Caption hold",
          "Time in nanoseconds that a caption stays at least, and at most "
          "after a cut (0 = no such time, 18446744073709551615 = 1.5 s in "
          "async mode, 0 in sync mode)",
          0, G_MAXUINT64, GST_CLOCK_TIME_NONE, CONTROLLABLE));
  /**
   * GstPalmeCaption:switch-margin:
   *
   * A new caption replaces the shown one if it scores better on its picture than the shown one does
   * there, by this many nats per token; or if it comes twice in a row; or after a cut. Comparing takes
   * one pass of the decoder where the two differ. With 0 each new caption replaces the last one. The
   * default, -1, is 0.1 in async mode and 0 in sync mode.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_SWITCH_MARGIN,
      g_param_spec_double ("switch-margin", "Switch margin",
          "How much better a new caption has to score than the shown one to "
          "replace it, in nats per token, unless it comes twice in a row "
          "(0 = always replace, -1 = 0.1 in async mode, 0 in sync mode)",
          -1.0, 10.0, -1.0, CONTROLLABLE));
}

/* For people who type. A value that is set by one name is read by the other. */
static void
install_seconds (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:interval-seconds:
   *
   * #GstPalmeCaption:interval in seconds.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_INTERVAL_SECONDS,
      g_param_spec_double ("interval-seconds", "Interval in seconds",
          "Time between captioned frames in seconds "
          "(0 = every frame)", 0.0, MAX_SECONDS, 1.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:cue-duration-seconds:
   *
   * #GstPalmeCaption:cue-duration in seconds.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_CUE_DURATION_SECONDS,
      g_param_spec_double ("cue-duration-seconds", "Cue duration in seconds",
          "Maximum duration of a text buffer in seconds "
          "(0 = one buffer per caption)", 0.0, MAX_SECONDS, 1.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:time-limit-seconds:
   *
   * #GstPalmeCaption:time-limit in seconds.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_TIME_LIMIT_SECONDS,
      g_param_spec_double ("time-limit-seconds", "Time limit in seconds",
          "Time limit per caption in seconds "
          "(0 = no limit)", 0.0, MAX_SECONDS, 0.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:caption-hold-seconds:
   *
   * #GstPalmeCaption:caption-hold in seconds.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_CAPTION_HOLD_SECONDS,
      g_param_spec_double ("caption-hold-seconds", "Caption hold in seconds",
          "Time in seconds that a caption stays at least "
          "(0 = no such time, -1 = 1.5 in async mode, 0 in sync mode)",
          -1.0, MAX_SECONDS, -1.0, CONTROLLABLE));
}

static void
install_results (GObjectClass * klass)
{
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  /**
   * GstPalmeCaption:caption:
   *
   * The current caption. It is NULL before the first caption and after a flush. Of regions of interest it has a
   * line for each that is on the frame and has words. The streaming thread notifies it when it changes.
   *
   * Since: 0.1
   */
  pspecs[PROP_CAPTION] = g_param_spec_string ("caption", "Caption",
      "Current caption (NULL before the first one and after a flush)", NULL,
      flags);
  /**
   * GstPalmeCaption:last-latency:
   *
   * The time from the hand-over of the last captioned frame to its caption.
   *
   * Since: 0.1
   */
  pspecs[PROP_LAST_LATENCY] = g_param_spec_uint64 ("last-latency",
      "Last latency", "Time that the last caption took, in nanoseconds", 0,
      G_MAXUINT64, 0, flags);
  /**
   * GstPalmeCaption:last-labels:
   *
   * The labels of the last captioned picture: a structure with the fields `labels`, an array of strings, and
   * `label-probabilities`, an array of doubles. NULL if the model has no labels, or with labels=false.
   *
   * Since: 0.2
   */
  pspecs[PROP_LAST_LABELS] = g_param_spec_boxed ("last-labels", "Last labels",
      "Labels of the last captioned picture and their probabilities (NULL if "
      "the model has none)", GST_TYPE_STRUCTURE, flags);
  /**
   * GstPalmeCaption:max-observed-delay:
   *
   * The largest delay of a caption behind its frame, in running time.
   *
   * Since: 0.1
   */
  pspecs[PROP_MAX_OBSERVED_DELAY] =
      g_param_spec_uint64 ("max-observed-delay", "Maximum observed delay",
      "Largest delay of a caption behind its frame, in nanoseconds of"
      " running time", 0, G_MAXUINT64, 0, flags);
  /**
   * GstPalmeCaption:stats:
   *
   * Counters, and times in nanoseconds, since READY. `due` counts each turn of the interval once,
   * even if it was passed on from frame to frame while the engine was busy; `skipped-busy` counts
   * the turns that the next one overtook. `skipped-no-pts` is always 0: frames without timestamps
   * are captioned by their arrival. `captions`, `kept`, `held`, `stale` and `errors` count pictures, of which a
   * frame with regions has several; `work-saved` is the share of pictures that were kept.
   *
   * Of the stages of a caption there are a mean, of all captions (`resize-mean`), and the time that 99 in 100 of the
   * newest 256 do not exceed (`resize-p99`): `resize`, in which its picture is drawn; `queue`, in which it waits for
   * the engine; `encode` and `decode`, in which the engine looks and generates; `latency` is the sum of the last
   * three, from hand-over to result.
   *
   * Since: 0.1
   */
  pspecs[PROP_STATS] = g_param_spec_boxed ("stats", "Statistics",
      "Counters, and times in nanoseconds, since READY", GST_TYPE_STRUCTURE,
      flags);
  /**
   * GstPalmeCaption:model-info:
   *
   * Name, language, size, precision and recommended limits of the open model, and how many elements
   * share it; NULL if no model is open.
   *
   * Since: 0.1
   */
  pspecs[PROP_MODEL_INFO] = g_param_spec_boxed ("model-info",
      "Model information",
      "Name, size and precision of the open model, and how many "
      "elements share it", GST_TYPE_STRUCTURE, flags);

  for (guint id = PROP_CAPTION; id < PROP_LAST; id++)
    g_object_class_install_property (klass, id, pspecs[id]);
}

void
gst_palme_caption_properties_install (GObjectClass * klass)
{
  install_load (klass);
  install_labels (klass);
  install_regions (klass);
  install_stream (klass);
  install_reports (klass);
  install_caption (klass);
  install_search (klass);
  install_choice (klass);
  install_steady (klass);
  install_seconds (klass);
  install_results (klass);

  gst_type_mark_as_plugin_api (gst_palme_regions_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_when_unsure_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_mode_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_precision_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_on_error_get_type (), 0);
}
