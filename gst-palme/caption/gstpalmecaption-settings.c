/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-settings.c - the properties of palmecaption.
 *
 * It stores and validates values; what a value does is decided where it is used. Numbers that are out
 * of range or NaN never come here, since GObject checks them against the param specs below.
 */
#include "gstpalmecaption-private.h"

#include <math.h>
#include <string.h>

#define MAX_PROMPT 4096

#define DEFAULT_INTERVAL GST_SECOND
#define DEFAULT_MAX_LENGTH 32
#define DEFAULT_MIN_SCORE 1.0   /* the model's own */
#define DEFAULT_CUE_DURATION GST_SECOND
#define DEFAULT_DRAIN_TIMEOUT (2 * GST_SECOND)

/* Chosen by measurement: tests/bench/bench_steady.py. */
#define ASYNC_SCENE_THRESHOLD 0.005
#define ASYNC_CUT_THRESHOLD 0.5
#define ASYNC_CAPTION_HOLD (3 * GST_SECOND / 2)
#define ASYNC_SWITCH_MARGIN 0.1
#define DEFAULT_MAX_RATE 4.0

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

void
gst_palme_caption_settings_init (GstPalmeCaptionSettings * settings)
{
  memset (settings, 0, sizeof *settings);
  settings->mode = GST_PALME_MODE_AUTO;
  settings->auto_overlay = TRUE;
  settings->interval = DEFAULT_INTERVAL;
  settings->max_length = DEFAULT_MAX_LENGTH;
  settings->top_p = 1.0;
  settings->min_score = DEFAULT_MIN_SCORE;
  settings->labels = TRUE;
  settings->label_weight = -1.0;
  settings->when_unsure = GST_PALME_WHEN_UNSURE_LABELS;
  settings->cue_duration = DEFAULT_CUE_DURATION;
  settings->drain_timeout = DEFAULT_DRAIN_TIMEOUT;
  settings->post_messages = TRUE;
  settings->scene_threshold = settings->cut_threshold = -1.0;
  settings->max_rate = DEFAULT_MAX_RATE;
  settings->caption_hold = GST_CLOCK_TIME_NONE;
  settings->switch_margin = -1.0;
}

void
gst_palme_caption_settings_clear (GstPalmeCaptionSettings * settings)
{
  g_clear_pointer (&settings->model, g_free);
  g_clear_pointer (&settings->prompt, g_free);
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
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MODEL,
      g_param_spec_string ("model", "Model",
          "Model file (NULL = the file that PALME_MODEL names in the "
          "environment, else the installed model)", NULL, READY));
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
   * the model file does not list it. #GstPalmeCaption:model-info shows the one in use.
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
   * empty string none. The prompt is not part of the caption.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_PROMPT,
      g_param_spec_string ("prompt", "Prompt",
          "Text that captions continue (NULL = the model's own prompt, "
          "empty = no prompt)", NULL, PLAYING));
  /**
   * GstPalmeCaption:max-length:
   *
   * The maximum number of tokens in a caption.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MAX_LENGTH,
      g_param_spec_uint ("max-length", "Maximum length",
          "Maximum number of tokens in a caption", 1, 1024, DEFAULT_MAX_LENGTH,
          PLAYING));
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
          0, G_MAXUINT, 0, PLAYING));
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
          "to this (1 = from all, 0 = from one)", 0.0, 1.0, 1.0, PLAYING));
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
          "captions", 0, G_MAXUINT64, 0, PLAYING));
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
          0, 8, 0, PLAYING));
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
          -INFINITY, 1.0, DEFAULT_MIN_SCORE, PLAYING));
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

static void
install_results (GObjectClass * klass)
{
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  /**
   * GstPalmeCaption:caption:
   *
   * The current caption. It is NULL before the first caption and after a flush. The streaming thread
   * notifies it when it changes.
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
   * are captioned by their arrival.
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
gst_palme_caption_settings_install (GObjectClass * klass)
{
  install_load (klass);
  install_stream (klass);
  install_caption (klass);
  install_search (klass);
  install_labels (klass);
  install_steady (klass);
  install_results (klass);

  gst_type_mark_as_plugin_api (gst_palme_mode_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_precision_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_on_error_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_when_unsure_get_type (), 0);
}

void
gst_palme_caption_settings_steadying (const GstPalmeCaptionSettings * settings,
    gboolean sync, GstPalmeCaptionSteadying * steadying)
{
  memset (steadying, 0, sizeof *steadying);
  if (!sync) {
    steadying->scene_threshold = ASYNC_SCENE_THRESHOLD;
    steadying->cut_threshold = ASYNC_CUT_THRESHOLD;
    steadying->hold = ASYNC_CAPTION_HOLD;
    steadying->margin = ASYNC_SWITCH_MARGIN;
  }
  if (settings->scene_threshold >= 0.0)
    steadying->scene_threshold = settings->scene_threshold;
  if (settings->cut_threshold >= 0.0)
    steadying->cut_threshold = settings->cut_threshold;
  if (GST_CLOCK_TIME_IS_VALID (settings->caption_hold))
    steadying->hold = settings->caption_hold;
  if (settings->switch_margin >= 0.0)
    steadying->margin = settings->switch_margin;
  steadying->max_rate = settings->max_rate;
}

gboolean
gst_palme_caption_settings_is_of_captions (guint id)
{
  switch (id) {
    case PROP_PROMPT:
    case PROP_MAX_LENGTH:
    case PROP_TIME_LIMIT:
    case PROP_TEMPERATURE:
    case PROP_TOP_K:
    case PROP_TOP_P:
    case PROP_SEED:
    case PROP_BEAMS:
    case PROP_MIN_SCORE:
    case PROP_LABEL_WEIGHT:
    case PROP_WHEN_UNSURE:
      return TRUE;
    default:
      return FALSE;
  }
}

/* TRUE for a property that can be set in NULL and READY only. */
static gboolean
is_fixed (guint id)
{
  return id <= PROP_AUTO_OVERLAY;
}

static const gchar *
set_model (GstPalmeCaptionSettings * settings, const GValue * value)
{
  g_free (settings->model);
  settings->model = g_value_dup_string (value);
  /* gst-launch cannot set NULL: an empty string stands for it. */
  if (settings->model != NULL && settings->model[0] == '\0')
    g_clear_pointer (&settings->model, g_free);
  return NULL;
}

static const gchar *
set_prompt (GstPalmeCaptionSettings * settings, const GValue * value)
{
  const gchar *text = g_value_get_string (value);

  if (text != NULL) {
    if (strlen (text) > MAX_PROMPT)
      return "it is longer than 4096 bytes";
    if (!g_utf8_validate (text, -1, NULL))
      return "it is not valid UTF-8";
  }
  g_free (settings->prompt);
  settings->prompt = g_strdup (text);
  return NULL;
}

const gchar *
gst_palme_caption_settings_set (GstPalmeCaptionSettings * settings, guint id,
    const GValue * value, gboolean locked)
{
  if (locked && is_fixed (id))
    return "it can be changed in the states NULL and READY only";

  switch (id) {
    case PROP_MODEL:
      return set_model (settings, value);
    case PROP_THREADS:
      settings->threads = g_value_get_uint (value);
      break;
    case PROP_PRECISION:
      settings->precision = g_value_get_enum (value);
      break;
    case PROP_MODE:
      settings->mode = g_value_get_enum (value);
      break;
    case PROP_AUTO_OVERLAY:
      settings->auto_overlay = g_value_get_boolean (value);
      break;
    case PROP_INTERVAL:
      settings->interval = g_value_get_uint64 (value);
      break;
    case PROP_PROMPT:
      return set_prompt (settings, value);
    case PROP_MAX_LENGTH:
      settings->max_length = g_value_get_uint (value);
      break;
    case PROP_TIME_LIMIT:
      settings->time_limit = g_value_get_uint64 (value);
      break;
    case PROP_TEMPERATURE:
      settings->temperature = g_value_get_double (value);
      break;
    case PROP_TOP_K:
      settings->top_k = g_value_get_uint (value);
      break;
    case PROP_TOP_P:
      settings->top_p = g_value_get_double (value);
      break;
    case PROP_SEED:
      settings->seed = g_value_get_uint64 (value);
      break;
    case PROP_BEAMS:
      settings->beams = g_value_get_uint (value);
      break;
    case PROP_MIN_SCORE:
      settings->min_score = g_value_get_double (value);
      break;
    case PROP_LABELS:
      settings->labels = g_value_get_boolean (value);
      break;
    case PROP_LABEL_WEIGHT:
      settings->label_weight = g_value_get_double (value);
      break;
    case PROP_WHEN_UNSURE:
      settings->when_unsure = g_value_get_enum (value);
      break;
    case PROP_ONLY_ON_CHANGE:
      settings->only_on_change = g_value_get_boolean (value);
      break;
    case PROP_SCENE_THRESHOLD:
      settings->scene_threshold = g_value_get_double (value);
      break;
    case PROP_CUT_THRESHOLD:
      settings->cut_threshold = g_value_get_double (value);
      break;
    case PROP_MAX_RATE:
      settings->max_rate = g_value_get_double (value);
      break;
    case PROP_CAPTION_HOLD:
      settings->caption_hold = g_value_get_uint64 (value);
      break;
    case PROP_SWITCH_MARGIN:
      settings->switch_margin = g_value_get_double (value);
      break;
    case PROP_CUE_DURATION:
      settings->cue_duration = g_value_get_uint64 (value);
      break;
    case PROP_DRAIN_TIMEOUT:
      settings->drain_timeout = g_value_get_uint64 (value);
      break;
    case PROP_POST_MESSAGES:
      settings->post_messages = g_value_get_boolean (value);
      break;
    case PROP_ON_ERROR:
      settings->on_error = g_value_get_enum (value);
      break;
    default:
      g_assert_not_reached ();
  }
  return NULL;
}

gboolean
gst_palme_caption_settings_get (const GstPalmeCaptionSettings * settings,
    guint id, GValue * value)
{
  switch (id) {
    case PROP_MODEL:
      g_value_set_string (value, settings->model);
      break;
    case PROP_THREADS:
      g_value_set_uint (value, settings->threads);
      break;
    case PROP_PRECISION:
      g_value_set_enum (value, settings->precision);
      break;
    case PROP_MODE:
      g_value_set_enum (value, settings->mode);
      break;
    case PROP_AUTO_OVERLAY:
      g_value_set_boolean (value, settings->auto_overlay);
      break;
    case PROP_INTERVAL:
      g_value_set_uint64 (value, settings->interval);
      break;
    case PROP_PROMPT:
      g_value_set_string (value, settings->prompt);
      break;
    case PROP_MAX_LENGTH:
      g_value_set_uint (value, settings->max_length);
      break;
    case PROP_TIME_LIMIT:
      g_value_set_uint64 (value, settings->time_limit);
      break;
    case PROP_TEMPERATURE:
      g_value_set_double (value, settings->temperature);
      break;
    case PROP_TOP_K:
      g_value_set_uint (value, settings->top_k);
      break;
    case PROP_TOP_P:
      g_value_set_double (value, settings->top_p);
      break;
    case PROP_SEED:
      g_value_set_uint64 (value, settings->seed);
      break;
    case PROP_BEAMS:
      g_value_set_uint (value, settings->beams);
      break;
    case PROP_MIN_SCORE:
      g_value_set_double (value, settings->min_score);
      break;
    case PROP_LABELS:
      g_value_set_boolean (value, settings->labels);
      break;
    case PROP_LABEL_WEIGHT:
      g_value_set_double (value, settings->label_weight);
      break;
    case PROP_WHEN_UNSURE:
      g_value_set_enum (value, settings->when_unsure);
      break;
    case PROP_ONLY_ON_CHANGE:
      g_value_set_boolean (value, settings->only_on_change);
      break;
    case PROP_SCENE_THRESHOLD:
      g_value_set_double (value, settings->scene_threshold);
      break;
    case PROP_CUT_THRESHOLD:
      g_value_set_double (value, settings->cut_threshold);
      break;
    case PROP_MAX_RATE:
      g_value_set_double (value, settings->max_rate);
      break;
    case PROP_CAPTION_HOLD:
      g_value_set_uint64 (value, settings->caption_hold);
      break;
    case PROP_SWITCH_MARGIN:
      g_value_set_double (value, settings->switch_margin);
      break;
    case PROP_CUE_DURATION:
      g_value_set_uint64 (value, settings->cue_duration);
      break;
    case PROP_DRAIN_TIMEOUT:
      g_value_set_uint64 (value, settings->drain_timeout);
      break;
    case PROP_POST_MESSAGES:
      g_value_set_boolean (value, settings->post_messages);
      break;
    case PROP_ON_ERROR:
      g_value_set_enum (value, settings->on_error);
      break;
    default:
      return FALSE;
  }
  return TRUE;
}
