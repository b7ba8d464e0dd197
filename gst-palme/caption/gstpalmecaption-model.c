/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-model.c - which model the element has: opened before PLAYING, and swapped while frames
 * flow.
 *
 * A swap loads the file on a thread of GStreamer's pool, so neither the application nor the video waits
 * for it. Captions are made with the old model until the new one is there; a job brings the model that it
 * was prepared for, so nothing has to be stopped. A file that cannot be loaded changes nothing.
 */
#include "gstpalmecaption-private.h"

#define GST_CAT_DEFAULT gst_palme_caption_debug

GstPalmeModel *
gst_palme_caption_ref_model (GstPalmeCaption * self)
{
  GstPalmeModel *model = NULL;

  GST_OBJECT_LOCK (self);
  if (self->model != NULL)
    model = gst_palme_model_ref (self->model);
  GST_OBJECT_UNLOCK (self);
  return model;
}

void
gst_palme_caption_set_model (GstPalmeCaption * self, GstPalmeModel * model)
{
  GstPalmeModel *old;

  GST_OBJECT_LOCK (self);
  old = self->model;
  self->model = model;
  GST_OBJECT_UNLOCK (self);
  gst_palme_model_cache_close (&old);
}

/* What a model is opened with. */
typedef struct
{
  gchar *path;
  guint threads;
  const gchar *precision;
  guint serial;                 /* of the request */
} Request;

/* Object lock held. Takes the path. */
static Request *
new_request (GstPalmeCaption * self, gchar * path)
{
  Request *request = g_new0 (Request, 1);

  request->path = path;
  request->threads = self->settings.threads;
  request->precision = gst_palme_precision_name (self->settings.precision);
  request->serial = ++self->model_serial;
  return request;
}

static void
free_request (gpointer data)
{
  Request *request = data;

  g_free (request->path);
  g_free (request);
}

gboolean
gst_palme_caption_open_model (GstPalmeCaption * self)
{
  GstPalmeModel *model;
  Request *request;

  /* Two models need not be in memory at once. */
  gst_palme_caption_set_model (self, NULL);
  GST_OBJECT_LOCK (self);
  request = new_request (self, g_strdup (self->settings.model));
  self->reload = FALSE;
  GST_OBJECT_UNLOCK (self);

  model = gst_palme_model_open (GST_ELEMENT (self), GST_CAT_DEFAULT,
      request->path, request->threads, request->precision, GST_MESSAGE_ERROR);
  free_request (request);
  gst_palme_caption_set_model (self, model);
  return model != NULL;
}

/* ---- The swap -------------------------------------------------------------------------------- */

/* TRUE if there is memory for a session of the model: otherwise every caption would fail. */
static gboolean
can_caption (GstPalmeCaption * self, GstPalmeModel * model)
{
  struct palme_options options;
  palme_session *session;
  gint status;

  GST_OBJECT_LOCK (self);
  gst_palme_caption_options (self, model, &options);
  GST_OBJECT_UNLOCK (self);
  status = palme_session_open (&session, gst_palme_model_get_engine (model),
      &options);
  palme_session_close (&session);
  if (status < 0)
    GST_ELEMENT_WARNING (self, RESOURCE, FAILED,
        ("The model \"%s\" cannot be used: %s. The model in use stays.",
            gst_palme_model_get_name (model), palme_strerror (status)), (NULL));
  return status >= 0;
}

/* Puts the model in the old one's place, unless another one was asked for since, or the element stopped.
 * Returns the one that is not used any more. */
static GstPalmeModel *
swap (GstPalmeCaption * self, GstPalmeModel * model, Request * request)
{
  GstPalmeModel *unused = model;

  GST_OBJECT_LOCK (self);
  if (self->loading && request->serial == self->model_serial) {
    unused = self->model;
    self->model = model;
    g_free (self->settings.model);
    self->settings.model = g_steal_pointer (&request->path);
    self->loading = FALSE;
    g_clear_pointer (&self->wanted_model, g_free);
  }
  GST_OBJECT_UNLOCK (self);
  return unused;
}

/* The request has failed. */
static void
give_up (GstPalmeCaption * self, const Request * request)
{
  GST_OBJECT_LOCK (self);
  if (request->serial == self->model_serial) {
    self->loading = FALSE;
    g_clear_pointer (&self->wanted_model, g_free);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
load (GstElement * element, gpointer data)
{
  GstPalmeCaption *self = GST_PALME_CAPTION (element);
  GstPalmeModel *model, *unused;
  Request *request = data;

  model = gst_palme_model_open (element, GST_CAT_DEFAULT, request->path,
      request->threads, request->precision, GST_MESSAGE_WARNING);
  if (model != NULL && !can_caption (self, model))
    gst_palme_model_cache_close (&model);
  if (model == NULL) {
    give_up (self, request);
    return;
  }
  unused = swap (self, model, request);
  if (unused != model) {
    g_atomic_int_set (&self->renew, TRUE);
    g_object_notify (G_OBJECT (self), "model");
    g_object_notify_by_pspec (G_OBJECT (self),
        gst_palme_caption_pspec (PROP_MODEL_INFO));
  }
  gst_palme_model_cache_close (&unused);
}

void
gst_palme_caption_swap_model (GstPalmeCaption * self, const gchar * path)
{
  Request *request;

  GST_OBJECT_LOCK (self);
  g_free (self->wanted_model);
  self->wanted_model = g_strdup (path);
  self->loading = TRUE;
  request = new_request (self, g_strdup (path));
  GST_OBJECT_UNLOCK (self);
  gst_element_call_async (GST_ELEMENT (self), load, request, free_request);
}

void
gst_palme_caption_reload_model (GstPalmeCaption * self)
{
  gchar *path = NULL;
  gboolean now;

  GST_OBJECT_LOCK (self);
  now = gst_palme_caption_is_past_ready (self);
  if (now)
    path = g_strdup (self->loading ? self->wanted_model : self->settings.model);
  else
    self->reload = TRUE;
  GST_OBJECT_UNLOCK (self);
  if (now)
    gst_palme_caption_swap_model (self, path);
  g_free (path);
}

/* A model that is still being loaded is loaded at the next start instead. */
void
gst_palme_caption_end_swaps (GstPalmeCaption * self)
{
  GST_OBJECT_LOCK (self);
  if (self->loading) {
    g_free (self->settings.model);
    self->settings.model = g_steal_pointer (&self->wanted_model);
    self->reload = TRUE;
    self->loading = FALSE;
  }
  self->model_serial++;
  GST_OBJECT_UNLOCK (self);
}
