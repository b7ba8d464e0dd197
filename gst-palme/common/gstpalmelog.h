/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmelog.h - brings the engine's log messages to the element that they concern.
 *
 * The engine takes a log function for each call that opens a model and for each session.
 */
#ifndef GST_PALME_LOG_H
#define GST_PALME_LOG_H

#include <gst/gst.h>

#include "palme.h"

G_BEGIN_DECLS

/* One thread at a time uses it. */
typedef struct
{
  GstObject *owner;             /* what GStreamer's log names; not referenced, may be NULL */
  GstDebugCategory *category;
  gchar last[1024];             /* the newest error, fit to be shown; "" if there was none */
} GstPalmeLog;

void gst_palme_log_init (GstPalmeLog * log, GstObject * owner,
    GstDebugCategory * category);

/* For palme_setup.log and palme_options.log; `user` is a GstPalmeLog. */
void gst_palme_log_engine (void *user, enum palme_log_level level,
    const char *message);

G_END_DECLS

#endif
