/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemodel.c - finds and opens the model file for an element.
 *
 * It runs in the thread of the application, before PLAYING, and posts every error itself, since
 * only here is known where the file name came from. What the engine says goes to the log at INFO:
 * file names do not belong in a log at its default level. The error message names the file,
 * because the user set it.
 */
#include "gstpalmemodel.h"

#include <string.h>

#include "gstpalmesanitize.h"

GST_DEBUG_CATEGORY_EXTERN (gst_palme_caption_debug);
#define GST_CAT_DEFAULT gst_palme_caption_debug

#define ENVIRONMENT "PALME_MODEL"

static gchar *
shown (const gchar * text)
{
  return gst_palme_sanitize (text, strlen (text));
}

/* The engine quotes names of a file's tensors and keys: they are the file's, and may hold anything. */
static void
take_log (void *user, enum palme_log_level level, const char *message)
{
  GstPalmeLog *log = user;
  gchar *line = shown (message);

  if (level == PALME_LOG_ERROR)
    g_strlcpy (log->last, line, sizeof log->last);
  if (level == PALME_LOG_INFO)
    GST_DEBUG_OBJECT (log->owner, "engine: %s", line);
  else
    GST_INFO_OBJECT (log->owner, "engine: %s", line);
  g_free (line);
}

void
gst_palme_log_listen (GstPalmeLog * log)
{
  gst_palme_shared_listen (log != NULL ? take_log : NULL, log);
}

static void
post_nothing_found (GstElement * element, const gchar * environment)
{
  gchar *path = shown (environment != NULL ? environment : "");

  if (environment != NULL)
    GST_ELEMENT_ERROR (element, RESOURCE, SETTINGS,
        ("No model found. Looked at: the property \"model\" (not set), the environment variable "
            ENVIRONMENT " (\"%s\": there is no such file). Set \"model\" or "
            ENVIRONMENT " to a model file, or unset " ENVIRONMENT
            " to use the installed model.", path), (NULL));
  else
    GST_ELEMENT_ERROR (element, RESOURCE, SETTINGS,
        ("No model found. Looked at: the property \"model\" (not set), the environment variable "
            ENVIRONMENT
            " (not set), the installed model \"%s\" (there is no such file). "
            "Set \"model\" or " ENVIRONMENT " to a model file, or install one.",
            GST_PALME_DEFAULT_MODEL), (NULL));
  g_free (path);
}

static void
post_open_error (GstElement * element, const gchar * name, gint status,
    const gchar * said)
{
  gchar *path = shown (name);
  GString *text = g_string_new (NULL);
  GstResourceError resource = GST_RESOURCE_ERROR_FAILED;
  const gchar *remedy;

  /* The engine's sentence is the better one, and names the file as a rule. */
  if (said[0] != '\0' && strstr (said, path) != NULL)
    g_string_append_printf (text, "The model cannot be loaded: %s", said);
  else
    g_string_append_printf (text, "The model \"%s\" cannot be loaded: %s", path,
        said[0] != '\0' ? said : palme_strerror (status));
  if (text->str[text->len - 1] != '.')
    g_string_append_c (text, '.');

  switch (status) {
    case PALME_ERROR_NOT_FOUND:
      resource = GST_RESOURCE_ERROR_NOT_FOUND;
      remedy = g_str_has_prefix (name, "file:") ?
          "The property \"model\" takes a file name, not a URI." :
          "Set the property \"model\" to the name of a model file.";
      break;
    case PALME_ERROR_OPEN:
      resource = GST_RESOURCE_ERROR_OPEN_READ;
      remedy = "The property \"model\" needs a regular file that may be read.";
      break;
    case PALME_ERROR_READ:
      resource = GST_RESOURCE_ERROR_READ;
      remedy = "The file may be cut short; copy it again.";
      break;
    case PALME_ERROR_KIND:
      remedy =
          "Set the property \"model\" to a model file; models/README.md tells how one is made.";
      break;
    case PALME_ERROR_VERSION:
      remedy = "A newer version of this plugin may read it.";
      break;
    case PALME_ERROR_FORMAT:
      remedy = "The file is damaged or was not made for this plugin; "
          "models/README.md tells how one is made.";
      break;
    case PALME_ERROR_ARGUMENT:
      resource = GST_RESOURCE_ERROR_SETTINGS;
      remedy = "Set the property \"precision\" to auto.";
      break;
    case PALME_ERROR_MEMORY:
      remedy = "Close other programs or use a smaller model.";
      break;
    default:
      remedy = "Try another model file.";
      break;
  }

  if (status == PALME_ERROR_KIND || status == PALME_ERROR_VERSION
      || status == PALME_ERROR_FORMAT)
    GST_ELEMENT_ERROR (element, STREAM, WRONG_TYPE, ("%s %s", text->str,
            remedy), ("status %d: %s", status, palme_strerror (status)));
  else
    gst_element_message_full (element, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
        resource, g_strdup_printf ("%s %s", text->str, remedy),
        g_strdup_printf ("status %d: %s", status, palme_strerror (status)),
        __FILE__, GST_FUNCTION, __LINE__);
  g_string_free (text, TRUE);
  g_free (path);
}

gboolean
gst_palme_model_open (GstPalmeModel * model, GstElement * element,
    const gchar * path, guint threads, const gchar * precision)
{
  struct palme_setup setup = { 0 };
  const gchar *environment = NULL;
  gchar *name;
  gint status;

  gst_palme_model_close (model);

  if (path == NULL) {
    environment = g_getenv (ENVIRONMENT);
    if (environment != NULL && environment[0] == '\0')
      environment = NULL;
  }
  name = g_strdup (path ? path : environment ? environment :
      GST_PALME_DEFAULT_MODEL);

  model->log.owner = GST_OBJECT (element);
  model->log.last[0] = '\0';
  setup.threads = threads ? (gint) threads : MAX (palme_processors () - 1, 1);
  setup.precision = precision;

  GST_DEBUG_OBJECT (element, "opening %s with %d threads, precision %s", name,
      setup.threads, precision);
  gst_palme_log_listen (&model->log);
  status = gst_palme_shared_open (&model->shared, name, &setup);
  gst_palme_log_listen (NULL);
  if (status < 0) {
    if (path == NULL && status == PALME_ERROR_NOT_FOUND)
      post_nothing_found (element, environment);
    else
      post_open_error (element, name, status, model->log.last);
  } else {
    palme_model_info (gst_palme_shared_model (model->shared), &model->info);
    model->name = shown (model->info.name);
    GST_INFO_OBJECT (element, "model \"%s\": %" G_GUINT64_FORMAT
        " parameters, %s, kernels %s, %d threads, elements that share it: %u",
        model->name, model->info.parameters, model->info.precision,
        model->info.level, model->info.threads,
        gst_palme_shared_users (model->shared));
  }
  g_free (name);
  return status >= 0;
}

void
gst_palme_model_close (GstPalmeModel * model)
{
  gst_palme_shared_close (&model->shared);
  g_clear_pointer (&model->name, g_free);
  memset (&model->info, 0, sizeof model->info);
}

GstStructure *
gst_palme_model_describe (const GstPalmeModel * model)
{
  const struct palme_info *info = &model->info;
  GstStructure *structure;
  gchar *language, *prompt;

  if (model->shared == NULL)
    return NULL;
  language = shown (info->language);
  prompt = shown (info->default_prompt);
  structure = gst_structure_new ("palme-model",
      "name", G_TYPE_STRING, model->name,
      "language", G_TYPE_STRING, language,
      "parameters", G_TYPE_UINT64, info->parameters,
      "bytes", G_TYPE_UINT64, info->bytes,
      "precision", G_TYPE_STRING, info->precision,
      "level", G_TYPE_STRING, info->level,
      "threads", G_TYPE_INT, info->threads,
      "elements", G_TYPE_UINT, gst_palme_shared_users (model->shared),
      "image-size", G_TYPE_INT, info->image_size,
      "max-context", G_TYPE_INT, info->max_context,
      "default-prompt", G_TYPE_STRING, prompt, NULL);
  g_free (prompt);
  g_free (language);
  return structure;
}
