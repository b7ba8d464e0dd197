/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemodel.h - finds and opens the model file for an element, and turns the engine's words
 * into the log of GStreamer and into error messages.
 */
#ifndef GST_PALME_MODEL_H
#define GST_PALME_MODEL_H

#include <gst/gst.h>

#include "gstpalmeshared.h"
#include "palme.h"

G_BEGIN_DECLS

/* The last sentence of the engine. The thread that calls the engine writes it and reads it: first
 * the one that opens the model, then the worker; never two at once. */
typedef struct
{
  GstObject *owner;             /* for the log; not referenced */
  gchar last[1024];             /* newest error, "" for none */
} GstPalmeLog;

typedef struct
{
  GstPalmeShared *shared;       /* NULL: not open */
  struct palme_info info;       /* its strings as they are in the file */
  gchar *name;                  /* that of the model, fit to be shown; NULL while not open */
  GstPalmeLog log;
} GstPalmeModel;

/* From now on what the engine says in this thread goes to this log; NULL: nowhere. */
void gst_palme_log_listen (GstPalmeLog * log);

/* Opens the model, or joins the elements that have it open already in the same way: the file `path`,
 * or if that is NULL the one that the environment names, or the installed one. `threads` 0 means the
 * usable processors less one; `precision` is one of the engine's names. On failure FALSE, and the
 * element has posted an error that names the file and the remedy. Call it without locks. */
gboolean gst_palme_model_open (GstPalmeModel * model, GstElement * element,
    const gchar * path, guint threads, const gchar * precision);

/* Closes it; a model that is not open is fine. */
void gst_palme_model_close (GstPalmeModel * model);

/* What the property model-info shows; NULL if no model is open. The caller frees it. */
GstStructure *gst_palme_model_describe (const GstPalmeModel * model);

G_END_DECLS

#endif
