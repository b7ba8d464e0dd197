/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmelog.h - brings the engine's log messages to the element that they concern.
 *
 * A model has one log function but several elements, and the engine logs on the thread that called
 * it. So each thread says which element's log it works for.
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

/* From now on the engine's messages on this thread go to `log`; NULL drops them. */
void gst_palme_log_listen (GstPalmeLog * log);

/* For palme_setup.log; `user` is not used. */
void gst_palme_log_engine (void *user, enum palme_log_level level,
    const char *message);

G_END_DECLS

#endif
