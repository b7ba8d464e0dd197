/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-settings.c - the values of the properties of palmecaption.
 *
 * It stores and validates values; what a value does is decided where it is used. Numbers that are out
 * of range or NaN never come here, since GObject checks them against the param specs in
 * gstpalmecaption-properties.c.
 */
#include "gstpalmecaption-private.h"

#include <glib/gstdio.h>
#include <string.h>

#define MAX_PROMPT 4096
#define MAX_BLOCKLIST (1 << 20)

/* Chosen by measurement: tests/bench/bench_steady.py. */
#define ASYNC_SCENE_THRESHOLD 0.005
#define ASYNC_CUT_THRESHOLD 0.5
#define ASYNC_CAPTION_HOLD (3 * GST_SECOND / 2)
#define ASYNC_SWITCH_MARGIN 0.1

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
  settings->max_regions = DEFAULT_MAX_REGIONS;
  settings->analytics_meta = TRUE;
  settings->cue_duration = DEFAULT_CUE_DURATION;
  settings->drain_timeout = DEFAULT_DRAIN_TIMEOUT;
  settings->post_messages = TRUE;
  settings->include_prompt = TRUE;
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
  g_clear_pointer (&settings->region, g_free);
  g_clear_pointer (&settings->blocklist, g_free);
  g_clear_pointer (&settings->blocked, g_free);
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

guint
gst_palme_caption_settings_in_ns (guint id)
{
  switch (id) {
    case PROP_INTERVAL_SECONDS:
      return PROP_INTERVAL;
    case PROP_CUE_DURATION_SECONDS:
      return PROP_CUE_DURATION;
    case PROP_TIME_LIMIT_SECONDS:
      return PROP_TIME_LIMIT;
    case PROP_CAPTION_HOLD_SECONDS:
      return PROP_CAPTION_HOLD;
    default:
      return id;
  }
}

/* Below 0: by the mode. */
static GstClockTime
from_seconds (gdouble seconds)
{
  return seconds < 0.0 ? GST_CLOCK_TIME_NONE :
      (GstClockTime) (seconds * GST_SECOND + 0.5);
}

static gdouble
to_seconds (GstClockTime time)
{
  if (!GST_CLOCK_TIME_IS_VALID (time))
    return -1.0;
  return MIN ((gdouble) time / GST_SECOND, MAX_SECONDS);
}

const gchar *
gst_palme_caption_settings_too_short (const GstPalmeCaptionSettings * settings,
    GstClockTime * time)
{
  const struct
  {
    const gchar *name;
    GstClockTime time;
  } times[] = {
    {"interval", settings->interval},
    {"cue-duration", settings->cue_duration},
    {"time-limit", settings->time_limit},
    {"caption-hold", settings->caption_hold},
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (times); i++) {
    *time = times[i].time;
    if (*time > 0 && *time < GST_MSECOND)
      return times[i].name;
  }
  return NULL;
}

gboolean
gst_palme_caption_settings_is_of_captions (guint id)
{
  switch (id) {
    case PROP_PROMPT:
    case PROP_INCLUDE_PROMPT:
    case PROP_MAX_LENGTH:
    case PROP_TIME_LIMIT:
    case PROP_TEMPERATURE:
    case PROP_TOP_K:
    case PROP_TOP_P:
    case PROP_SEED:
    case PROP_BEAMS:
    case PROP_BLOCKLIST:
    case PROP_MIN_SCORE:
    case PROP_LABEL_WEIGHT:
    case PROP_WHEN_UNSURE:
    case PROP_REGION:
      return TRUE;
    default:
      return FALSE;
  }
}

/* TRUE for a property that can be set in NULL and READY only. */
static gboolean
is_fixed (guint id)
{
  return id != PROP_MODEL && id <= PROP_AUTO_OVERLAY;
}

const gchar *
gst_palme_caption_settings_model_name (const GValue * value)
{
  const gchar *name = g_value_get_string (value);

  /* gst-launch cannot set NULL: an empty string stands for it. */
  return name != NULL && name[0] != '\0' ? name : NULL;
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

/* The whole file, or why it is not read: a pipe or a device could keep the caller waiting for ever. */
static const gchar *
read_words (const gchar * path, gchar ** words)
{
  GStatBuf status;

  if (g_stat (path, &status) != 0)
    return "the file cannot be read";
  if (!S_ISREG (status.st_mode))
    return "it is not a regular file";
  if (status.st_size > MAX_BLOCKLIST)
    return "the file is larger than 1 MiB";
  return g_file_get_contents (path, words, NULL,
      NULL) ? NULL : "the file cannot be read";
}

const gchar *
gst_palme_caption_settings_read_blocklist (const GValue * value, gchar ** words)
{
  const gchar *list = g_value_get_string (value), *refused;
  gchar **entries;
  gboolean fits = TRUE;
  guint i;

  *words = NULL;
  if (list == NULL || list[0] == '\0')
    return NULL;
  if (list[0] == '@') {
    if ((refused = read_words (list + 1, words)) != NULL)
      return refused;
  } else {
    *words = g_strdup (list);
  }
  entries = g_strsplit_set (*words, ",\r\n", -1);
  for (i = 0; entries[i] != NULL; i++)
    fits &= strlen (g_strstrip (entries[i])) <= PALME_MAX_BLOCKED_BYTES;
  g_strfreev (entries);
  if (fits && g_utf8_validate (*words, -1, NULL))
    return NULL;
  g_clear_pointer (words, g_free);
  return fits ? "it is not valid UTF-8" : "a word is longer than 64 bytes";
}

static const gchar *
set_region (GstPalmeCaptionSettings * settings, const GValue * value)
{
  const gchar *text = g_value_get_string (value);
  const gchar *refused = gst_palme_caption_part_parse (&settings->part, text);

  if (refused != NULL)
    return refused;
  g_free (settings->region);
  settings->region = g_strdup (text);
  return NULL;
}

/* What captions are searched and chosen by. FALSE for other properties. */
static gboolean
set_search (GstPalmeCaptionSettings * settings, guint id, const GValue * value)
{
  switch (id) {
    case PROP_INCLUDE_PROMPT:
      settings->include_prompt = g_value_get_boolean (value);
      break;
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
    case PROP_BLOCKLIST:       /* its words are stored by the caller */
      g_free (settings->blocklist);
      settings->blocklist = g_value_dup_string (value);
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
    case PROP_REGIONS:
      settings->regions = g_value_get_enum (value);
      break;
    case PROP_MAX_REGIONS:
      settings->max_regions = g_value_get_uint (value);
      break;
    case PROP_ANALYTICS_META:
      settings->analytics_meta = g_value_get_boolean (value);
      break;
    default:
      return FALSE;
  }
  return TRUE;
}

const gchar *
gst_palme_caption_settings_set (GstPalmeCaptionSettings * settings, guint id,
    const GValue * value, gboolean locked)
{
  if (locked && is_fixed (id))
    return "it can be changed in the states NULL and READY only";

  switch (id) {
    case PROP_MODEL:
      g_free (settings->model);
      settings->model = g_strdup (gst_palme_caption_settings_model_name
          (value));
      break;
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
    case PROP_INTERVAL_SECONDS:
      settings->interval = from_seconds (g_value_get_double (value));
      break;
    case PROP_CUE_DURATION_SECONDS:
      settings->cue_duration = from_seconds (g_value_get_double (value));
      break;
    case PROP_TIME_LIMIT_SECONDS:
      settings->time_limit = from_seconds (g_value_get_double (value));
      break;
    case PROP_CAPTION_HOLD_SECONDS:
      settings->caption_hold = from_seconds (g_value_get_double (value));
      break;
    case PROP_PROMPT:
      return set_prompt (settings, value);
    case PROP_REGION:
      return set_region (settings, value);
    case PROP_PARTIAL:
      settings->partial = g_value_get_boolean (value);
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
      if (!set_search (settings, id, value))
        g_assert_not_reached ();
  }
  return NULL;
}

static gboolean
get_search (const GstPalmeCaptionSettings * settings, guint id, GValue * value)
{
  switch (id) {
    case PROP_INCLUDE_PROMPT:
      g_value_set_boolean (value, settings->include_prompt);
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
    case PROP_BLOCKLIST:
      g_value_set_string (value, settings->blocklist);
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
    case PROP_REGION:
      g_value_set_string (value, settings->region);
      break;
    case PROP_REGIONS:
      g_value_set_enum (value, settings->regions);
      break;
    case PROP_MAX_REGIONS:
      g_value_set_uint (value, settings->max_regions);
      break;
    case PROP_ANALYTICS_META:
      g_value_set_boolean (value, settings->analytics_meta);
      break;
    default:
      return FALSE;
  }
  return TRUE;
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
    case PROP_INTERVAL_SECONDS:
      g_value_set_double (value, to_seconds (settings->interval));
      break;
    case PROP_CUE_DURATION_SECONDS:
      g_value_set_double (value, to_seconds (settings->cue_duration));
      break;
    case PROP_TIME_LIMIT_SECONDS:
      g_value_set_double (value, to_seconds (settings->time_limit));
      break;
    case PROP_CAPTION_HOLD_SECONDS:
      g_value_set_double (value, to_seconds (settings->caption_hold));
      break;
    case PROP_PROMPT:
      g_value_set_string (value, settings->prompt);
      break;
    case PROP_PARTIAL:
      g_value_set_boolean (value, settings->partial);
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
      return get_search (settings, id, value);
  }
  return TRUE;
}
