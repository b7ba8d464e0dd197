/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-settings.c - the properties of palmecaption that a user sets.
 *
 * It holds values and judges them; what a value does is decided where it is used. Numbers out of
 * range, and those that are none, never come here, since GObject judges them by the table below.
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

GType
gst_palme_mode_get_type (void)
{
  static GType type = 0;
  static const GEnumValue values[] = {
    {GST_PALME_MODE_AUTO, "sync, or async if upstream is live", "auto"},
    {GST_PALME_MODE_ASYNC,
        "Video never waits; a caption appears when it is ready", "async"},
    {GST_PALME_MODE_SYNC, "Each due frame waits for its own caption", "sync"},
    {0, NULL, NULL}
  };

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmeMode", values);

    g_once_init_leave (&type, t);
  }
  return type;
}

static const GEnumValue precisions[] = {
  {GST_PALME_PRECISION_AUTO, "The fastest in which the captions are as good, "
        "as the model file says", "auto"},
  {GST_PALME_PRECISION_F32, "32 bit floating point", "f32"},
  {GST_PALME_PRECISION_BF16, "16 bit floating point weights", "bf16"},
  {GST_PALME_PRECISION_INT8, "8 bit integers", "int8"},
  {0, NULL, NULL}
};

const gchar *
gst_palme_precision_name (GstPalmePrecision precision)
{
  return precisions[precision].value_nick;
}

GType
gst_palme_precision_get_type (void)
{
  static GType type = 0;

  if (g_once_init_enter (&type)) {
    GType t = g_enum_register_static ("GstPalmePrecision", precisions);

    g_once_init_leave (&type, t);
  }
  return type;
}

GType
gst_palme_on_error_get_type (void)
{
  static GType type = 0;
  static const GEnumValue values[] = {
    {GST_PALME_ON_ERROR_WARN, "Post a warning; the video goes on", "warn"},
    {GST_PALME_ON_ERROR_ERROR, "Post an error; the stream stops", "error"},
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
  settings->cue_duration = DEFAULT_CUE_DURATION;
  settings->drain_timeout = DEFAULT_DRAIN_TIMEOUT;
  settings->post_messages = TRUE;
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
   * The model file, in the file system's own encoding. Without it the environment variable
   * PALME_MODEL names the file, and without that the installed default model is used.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MODEL,
      g_param_spec_string ("model", "Model",
          "Model file (NULL = PALME_MODEL of the environment, then the installed model)",
          NULL, READY));
  /**
   * GstPalmeCaption:threads:
   *
   * Compute threads. 0 takes one less than the processors that the process may use, so that one is
   * left for the video, and at least 1.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_THREADS,
      g_param_spec_uint ("threads", "Threads",
          "Compute threads (0 = usable processors less one, at least 1)",
          0, 256, 0, READY));
  /**
   * GstPalmeCaption:precision:
   *
   * What the weights are kept and computed in. Fewer bits are faster and take less memory; a model file
   * names those in which its captions are as good as in f32, and auto takes the one of them that is the
   * fastest with the instructions of this machine, or f32.
   * Any other value is taken whatever the file says. The property model-info has what is in use.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_PRECISION,
      g_param_spec_enum ("precision", "Precision",
          "What the weights are kept and computed in",
          gst_palme_precision_get_type (), GST_PALME_PRECISION_AUTO, READY));
  /**
   * GstPalmeCaption:mode:
   *
   * async: video never waits, a caption appears on the first frame after it is ready. sync: each due
   * frame waits for its own caption, exact and repeatable. auto: async if upstream is live, else sync.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MODE,
      g_param_spec_enum ("mode", "Mode",
          "Whether due frames wait for their own caption",
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
          "Show captions in a textoverlay downstream that nobody else uses",
          TRUE, READY));
}

static void
install_decoding (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:prompt:
   *
   * Words that the caption continues from, at most 4 KiB of UTF-8. NULL is the model's own prompt,
   * the empty string is none. The prompt is not part of the caption.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_PROMPT,
      g_param_spec_string ("prompt", "Prompt",
          "Words to continue from (NULL = the model's own, empty = none)",
          NULL, PLAYING));
  /**
   * GstPalmeCaption:max-length:
   *
   * Most tokens of a caption.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MAX_LENGTH,
      g_param_spec_uint ("max-length", "Maximum length",
          "Most new tokens of a caption", 1, 1024, DEFAULT_MAX_LENGTH,
          PLAYING));
  /**
   * GstPalmeCaption:time-limit:
   *
   * A caption that takes longer ends as it is.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TIME_LIMIT,
      g_param_spec_uint64 ("time-limit", "Time limit",
          "A caption that takes longer ends as it is, in ns (0 = no limit)",
          0, G_MAXUINT64, 0, PLAYING));
  /**
   * GstPalmeCaption:temperature:
   *
   * 0 takes the likeliest word each time (greedy); above it words are drawn.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TEMPERATURE,
      g_param_spec_double ("temperature", "Temperature",
          "How freely words are drawn (0 = always the likeliest)",
          0.0, 5.0, 0.0, CONTROLLABLE));
  /**
   * GstPalmeCaption:top-k:
   *
   * Words are drawn from the k likeliest.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TOP_K,
      g_param_spec_uint ("top-k", "Top k",
          "Draw from the k likeliest tokens (0 = all)",
          0, G_MAXUINT, 0, PLAYING));
  /**
   * GstPalmeCaption:top-p:
   *
   * Words are drawn from the smallest set that has this probability.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TOP_P,
      g_param_spec_double ("top-p", "Top p",
          "Draw from the likeliest tokens that have this probability together",
          0.0, 1.0, 1.0, PLAYING));
  /**
   * GstPalmeCaption:seed:
   *
   * Seed of the drawing. It starts anew with each picture, so equal frames give equal text.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_SEED,
      g_param_spec_uint64 ("seed", "Seed", "Seed of the drawing",
          0, G_MAXUINT64, 0, PLAYING));
  /**
   * GstPalmeCaption:beams:
   *
   * Sentences that are followed at once; the best one becomes the caption.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_BEAMS,
      g_param_spec_uint ("beams", "Beams",
          "Sentences that are followed at once (0 = the model's own setting)",
          0, 8, 0, PLAYING));
  /**
   * GstPalmeCaption:min-score:
   *
   * A caption with a lower score is empty. The score is the mean log-probability of the caption's tokens
   * under the model, so it is at most 0; 0 lets hardly anything pass, and -inf everything. A value above
   * 0, the default, takes the limit that the model file recommends, or none if it has none.
   *
   * An empty caption is still a caption: metadata, message, signal and #GstPalmeCaption:caption carry ""
   * as text, the first two with the score, and the text pad sends GAPs until the next caption.
   *
   * Since: 0.2
   */
  g_object_class_install_property (klass, PROP_MIN_SCORE,
      g_param_spec_double ("min-score", "Minimum score",
          "Captions with a lower mean log-probability per token are empty "
          "(-inf = none, above 0 = the limit in the model file)",
          -INFINITY, 1.0, DEFAULT_MIN_SCORE, PLAYING));
}

static void
install_stream (GObjectClass * klass)
{
  /**
   * GstPalmeCaption:interval:
   *
   * Time between captioned frames, of the timestamps whatever the rate, or of their arrival where frames
   * have no timestamps. With 0 each frame is due; in async mode that means as often as the engine can.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_INTERVAL,
      g_param_spec_uint64 ("interval", "Interval",
          "Time between captioned frames in ns (0 = every frame)",
          0, G_MAXUINT64, DEFAULT_INTERVAL, CONTROLLABLE));
  /**
   * GstPalmeCaption:only-on-change:
   *
   * Neither message nor signal for a caption that equals the last one. Metadata and cues go on.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_ONLY_ON_CHANGE,
      g_param_spec_boolean ("only-on-change", "Only on change",
          "No message and no signal for an unchanged caption", FALSE, PLAYING));
  /**
   * GstPalmeCaption:cue-duration:
   *
   * The longest cue on the text pad, in running time. 0 makes one cue per caption, which suits subtitle
   * files: a cue is sent when it ends, and equal captions in a row are one. Where the text meets another
   * stream downstream, in a muxer or an overlay, it is sent when it starts, as they need it, up to where
   * the next caption is expected; qtmux and mp4mux hang with cues of more than a second.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_CUE_DURATION,
      g_param_spec_uint64 ("cue-duration", "Cue duration",
          "Longest cue on the text pad in ns (0 = one cue per caption: good for "
          "subtitle files, but qtmux and mp4mux hang with it)",
          0, G_MAXUINT64, DEFAULT_CUE_DURATION, PLAYING));
  /**
   * GstPalmeCaption:drain-timeout:
   *
   * The longest wait for the last caption at the end of the stream, in async mode.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_DRAIN_TIMEOUT,
      g_param_spec_uint64 ("drain-timeout", "Drain timeout",
          "Longest wait for the last caption at EOS in ns",
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
   * What is posted when a frame cannot be captioned.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_ON_ERROR,
      g_param_spec_enum ("on-error", "On error",
          "What a failed caption posts", gst_palme_on_error_get_type (),
          GST_PALME_ON_ERROR_WARN, PLAYING));
}

static void
install_results (GObjectClass * klass)
{
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  /**
   * GstPalmeCaption:caption:
   *
   * The caption in effect; NULL before the first one and after a flush. It is notified when it
   * changes, from the streaming thread.
   *
   * Since: 0.1
   */
  pspecs[PROP_CAPTION] = g_param_spec_string ("caption", "Caption",
      "The caption in effect", NULL, flags);
  /**
   * GstPalmeCaption:last-latency:
   *
   * Time from the hand-over of the last captioned frame to its caption, in ns.
   *
   * Since: 0.1
   */
  pspecs[PROP_LAST_LATENCY] = g_param_spec_uint64 ("last-latency",
      "Last latency", "Time that the last caption took, in ns", 0,
      G_MAXUINT64, 0, flags);
  /**
   * GstPalmeCaption:max-observed-delay:
   *
   * The largest delay of a caption against its frame, in running time.
   *
   * Since: 0.1
   */
  pspecs[PROP_MAX_OBSERVED_DELAY] =
      g_param_spec_uint64 ("max-observed-delay", "Maximum observed delay",
      "Largest delay of a caption against its frame, in ns", 0, G_MAXUINT64,
      0, flags);
  /**
   * GstPalmeCaption:stats:
   *
   * Counters and times since READY. `due` counts the turns of the interval, each once, however many
   * frames it was handed on to while the engine was busy; `skipped-busy` those of them that the next turn
   * overtook. `skipped-no-pts` is 0: frames without timestamps are captioned by their arrival.
   *
   * Since: 0.1
   */
  pspecs[PROP_STATS] = g_param_spec_boxed ("stats", "Statistics",
      "Counters, and times in ns", GST_TYPE_STRUCTURE, flags);
  /**
   * GstPalmeCaption:model-info:
   *
   * Name, size and precision of the model, and how many elements share it; NULL when none is
   * open.
   *
   * Since: 0.1
   */
  pspecs[PROP_MODEL_INFO] = g_param_spec_boxed ("model-info",
      "Model information", "What the open model is", GST_TYPE_STRUCTURE, flags);

  for (guint id = PROP_CAPTION; id < PROP_LAST; id++)
    g_object_class_install_property (klass, id, pspecs[id]);
}

void
gst_palme_caption_settings_install (GObjectClass * klass)
{
  install_load (klass);
  install_stream (klass);
  install_decoding (klass);
  install_results (klass);

  gst_type_mark_as_plugin_api (gst_palme_mode_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_precision_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_palme_on_error_get_type (), 0);
}

gboolean
gst_palme_caption_settings_is_fixed (guint id)
{
  return id <= PROP_AUTO_OVERLAY;
}

static const gchar *
set_model (GstPalmeCaptionSettings * settings, const GValue * value)
{
  g_free (settings->model);
  settings->model = g_value_dup_string (value);
  /* In gst-launch an empty string is the way to say "none". */
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
  if (locked && gst_palme_caption_settings_is_fixed (id))
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
    case PROP_ONLY_ON_CHANGE:
      settings->only_on_change = g_value_get_boolean (value);
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
    case PROP_ONLY_ON_CHANGE:
      g_value_set_boolean (value, settings->only_on_change);
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
