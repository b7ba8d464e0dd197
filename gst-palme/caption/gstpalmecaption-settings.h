/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-settings.h - the properties of palmecaption that a user sets: their table, their values
 * and what is refused. It knows no engine and no pad.
 */
#ifndef GST_PALME_SETTINGS_H
#define GST_PALME_SETTINGS_H

#include <gst/gst.h>

G_BEGIN_DECLS

typedef enum
{
  GST_PALME_MODE_AUTO,
  GST_PALME_MODE_ASYNC,
  GST_PALME_MODE_SYNC
} GstPalmeMode;

typedef enum
{
  GST_PALME_PRECISION_AUTO,
  GST_PALME_PRECISION_F32,
  GST_PALME_PRECISION_BF16,
  GST_PALME_PRECISION_INT8
} GstPalmePrecision;

typedef enum
{
  GST_PALME_ON_ERROR_WARN,
  GST_PALME_ON_ERROR_ERROR
} GstPalmeOnError;

GType gst_palme_mode_get_type (void);
GType gst_palme_precision_get_type (void);

/* As the engine calls it; a fixed string. */
const gchar *gst_palme_precision_name (GstPalmePrecision precision);
GType gst_palme_on_error_get_type (void);

/* Property numbers begin at 1; those of the element itself follow GST_PALME_SETTING_LAST. */
typedef enum
{
  GST_PALME_SETTING_MODEL = 1,
  GST_PALME_SETTING_THREADS,
  GST_PALME_SETTING_PRECISION,
  GST_PALME_SETTING_MODE,
  GST_PALME_SETTING_AUTO_OVERLAY,
  GST_PALME_SETTING_INTERVAL,
  GST_PALME_SETTING_PROMPT,
  GST_PALME_SETTING_MAX_LENGTH,
  GST_PALME_SETTING_TIME_LIMIT,
  GST_PALME_SETTING_TEMPERATURE,
  GST_PALME_SETTING_TOP_K,
  GST_PALME_SETTING_TOP_P,
  GST_PALME_SETTING_SEED,
  GST_PALME_SETTING_BEAMS,
  GST_PALME_SETTING_ONLY_ON_CHANGE,
  GST_PALME_SETTING_CUE_DURATION,
  GST_PALME_SETTING_DRAIN_TIMEOUT,
  GST_PALME_SETTING_POST_MESSAGES,
  GST_PALME_SETTING_ON_ERROR,
  GST_PALME_SETTING_LAST
} GstPalmeSetting;

/* The values. The element's object lock protects them. */
typedef struct
{
  gchar *model;
  guint threads;
  GstPalmePrecision precision;
  GstPalmeMode mode;
  gboolean auto_overlay;
  GstClockTime interval;
  gchar *prompt;
  guint max_length;
  GstClockTime time_limit;
  gdouble temperature;
  guint top_k;
  gdouble top_p;
  guint64 seed;
  guint beams;
  gboolean only_on_change;
  GstClockTime cue_duration;
  GstClockTime drain_timeout;
  gboolean post_messages;
  GstPalmeOnError on_error;
} GstPalmeSettings;

void gst_palme_settings_init (GstPalmeSettings * settings);
void gst_palme_settings_clear (GstPalmeSettings * settings);

/* Installs the properties on the class of the element. */
void gst_palme_settings_install (GObjectClass * klass);

/* TRUE for a property that can be set in NULL and READY only. */
gboolean gst_palme_settings_is_fixed (guint id);

/* Stores the value. Returns NULL, or a constant sentence that says why the value is refused; then
 * the old one stays. Call it with the object lock held; `locked` says that the element is past
 * READY. */
const gchar *gst_palme_settings_set (GstPalmeSettings * settings, guint id,
    const GValue * value, gboolean locked);

/* Copies a value out; FALSE for a property that is none of these. Object lock held. */
gboolean gst_palme_settings_get (const GstPalmeSettings * settings, guint id,
    GValue * value);

G_END_DECLS

#endif
