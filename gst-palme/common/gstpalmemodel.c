/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemodel.c - finds and opens the model file for an element.
 *
 * It runs in the thread of the application, before PLAYING, and posts every error itself, since
 * only here is known where the file name came from. The error message names the file, because the
 * user set it.
 */
#include "gstpalmemodel.h"

#include <string.h>

#include "gstpalmesanitize.h"

#define ENVIRONMENT "PALME_MODEL"
#define STAYS " The model in use stays."

static gchar *
shown (const gchar * text)
{
  return gst_palme_sanitize (text, strlen (text));
}

static void
post_nothing_found (GstElement * element, GstMessageType type,
    const gchar * environment)
{
  gchar *path = shown (environment != NULL ? environment : ""), *text;
  const gchar *stays = type == GST_MESSAGE_WARNING ? STAYS : "";

  if (environment != NULL)
    text = g_strdup_printf ("No model found. Looked at: the property \"model\" "
        "(not set), the environment variable " ENVIRONMENT " (\"%s\": there is "
        "no such file). Set \"model\" or " ENVIRONMENT " to a model file, or "
        "unset " ENVIRONMENT " to use the installed model.%s", path, stays);
  else
    text = g_strdup_printf ("No model found. Looked at: the property \"model\" "
        "(not set), the environment variable " ENVIRONMENT " (not set), the "
        "installed model \"%s\" (there is no such file). Set \"model\" or "
        ENVIRONMENT " to a model file, or install one.%s",
        GST_PALME_DEFAULT_MODEL, stays);
  gst_element_message_full (element, type, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, text, NULL, __FILE__, GST_FUNCTION,
      __LINE__);
  g_free (path);
}

static void
post_open_error (GstElement * element, GstMessageType type,
    const gchar * name, gint status, const gchar * said)
{
  gchar *path = shown (name);
  GString *text = g_string_new (NULL);
  GQuark domain = GST_RESOURCE_ERROR;
  gint code = GST_RESOURCE_ERROR_FAILED;
  const gchar *remedy;

  /* The engine's message is more precise, and usually names the file. */
  if (said[0] != '\0' && strstr (said, path) != NULL)
    g_string_append_printf (text, "The model cannot be loaded: %s", said);
  else
    g_string_append_printf (text, "The model \"%s\" cannot be loaded: %s", path,
        said[0] != '\0' ? said : palme_strerror (status));
  if (text->str[text->len - 1] != '.')
    g_string_append_c (text, '.');

  switch (status) {
    case PALME_ERROR_NOT_FOUND:
      code = GST_RESOURCE_ERROR_NOT_FOUND;
      remedy = g_str_has_prefix (name, "file:") ?
          "The property \"model\" takes a file name, not a URI." :
          "Set the property \"model\" to the name of a model file.";
      break;
    case PALME_ERROR_OPEN:
      code = GST_RESOURCE_ERROR_OPEN_READ;
      remedy = "The property \"model\" needs a regular file that may be read.";
      break;
    case PALME_ERROR_READ:
      code = GST_RESOURCE_ERROR_READ;
      remedy = "The file may be cut short; copy it again.";
      break;
    case PALME_ERROR_KIND:
      remedy =
          "Set the property \"model\" to a model file; models/README.md describes how to make one.";
      break;
    case PALME_ERROR_VERSION:
      remedy = "A newer version of this plugin may read it.";
      break;
    case PALME_ERROR_FORMAT:
      remedy = "The file is damaged or was not made for this plugin; "
          "models/README.md describes how to make one.";
      break;
    case PALME_ERROR_ARGUMENT:
      code = GST_RESOURCE_ERROR_SETTINGS;
      remedy = "Set the property \"precision\" to auto.";
      break;
    case PALME_ERROR_MEMORY:
      remedy = "Close other programs or use a smaller model.";
      break;
    default:
      remedy = "Try another model file.";
      break;
  }

  g_string_append_printf (text, " %s", remedy);
  if (type == GST_MESSAGE_WARNING)
    g_string_append (text, STAYS);
  if (status == PALME_ERROR_KIND || status == PALME_ERROR_VERSION
      || status == PALME_ERROR_FORMAT) {
    domain = GST_STREAM_ERROR;
    code = GST_STREAM_ERROR_WRONG_TYPE;
  }
  gst_element_message_full (element, type, domain, code,
      g_string_free (text, FALSE), g_strdup_printf ("status %d: %s", status,
          palme_strerror (status)), __FILE__, GST_FUNCTION, __LINE__);
  g_free (path);
}

GstPalmeModel *
gst_palme_model_open (GstElement * element, GstDebugCategory * category,
    const gchar * path, guint threads, const gchar * precision,
    GstMessageType type)
{
  struct palme_setup setup = { 0 };
  const gchar *environment = NULL, *name;
  GstPalmeModel *model;
  GstPalmeLog log;
  gint status;

  if (path == NULL) {
    environment = g_getenv (ENVIRONMENT);
    if (environment != NULL && environment[0] == '\0')
      environment = NULL;
  }
  name = path ? path : environment ? environment : GST_PALME_DEFAULT_MODEL;
  setup.threads = threads ? (gint) threads : MAX (palme_processors () - 1, 1);
  setup.precision = precision;

  GST_CAT_DEBUG_OBJECT (category, element,
      "opening %s with %d threads, precision %s", name, setup.threads,
      precision);
  gst_palme_log_init (&log, GST_OBJECT (element), category);
  setup.log = gst_palme_log_engine;
  setup.log_user = &log;
  status = gst_palme_model_cache_open (&model, name, &setup);
  if (status >= 0) {
    const struct palme_info *info = gst_palme_model_get_info (model);

    GST_CAT_INFO_OBJECT (category, element,
        "model \"%s\": %" G_GUINT64_FORMAT
        " parameters, %s, kernels %s, %d threads, used by %u elements",
        gst_palme_model_get_name (model), info->parameters, info->precision,
        info->level, info->threads, gst_palme_model_get_users (model));
  } else if (path == NULL && status == PALME_ERROR_NOT_FOUND) {
    post_nothing_found (element, type, environment);
  } else {
    post_open_error (element, type, name, status, log.last);
  }
  return model;
}

GstStructure *
gst_palme_model_describe (const GstPalmeModel * model)
{
  const struct palme_info *info = gst_palme_model_get_info (model);
  GstStructure *structure;
  gchar *language, *prompt;

  language = shown (info->language);
  prompt = shown (info->default_prompt);
  structure = gst_structure_new ("palme-model",
      "name", G_TYPE_STRING, gst_palme_model_get_name (model),
      "language", G_TYPE_STRING, language,
      "parameters", G_TYPE_UINT64, info->parameters,
      "bytes", G_TYPE_UINT64, info->bytes,
      "precision", G_TYPE_STRING, info->precision,
      "level", G_TYPE_STRING, info->level,
      "threads", G_TYPE_INT, info->threads,
      "elements", G_TYPE_UINT, gst_palme_model_get_users (model),
      "image-size", G_TYPE_INT, info->image_size,
      "max-context", G_TYPE_INT, info->max_context,
      "default-prompt", G_TYPE_STRING, prompt,
      "labels", G_TYPE_INT, info->labels, NULL);
  if (info->has_min_score)
    gst_structure_set (structure, "min-score", G_TYPE_DOUBLE, info->min_score,
        NULL);
  g_free (prompt);
  g_free (language);
  return structure;
}
