/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmelog.c - brings the engine's log messages to the element that they concern.
 *
 * They appear at INFO and below: file names do not belong in a log at its default level.
 */
#include "gstpalmelog.h"

#include <string.h>

#include "gstpalmesanitize.h"

static _Thread_local GstPalmeLog *listener;

void
gst_palme_log_init (GstPalmeLog * log, GstObject * owner,
    GstDebugCategory * category)
{
  log->owner = owner;
  log->category = category;
  log->last[0] = '\0';
}

void
gst_palme_log_listen (GstPalmeLog * log)
{
  listener = log;
}

/* The engine quotes names of tensors and keys: they come from the file and may hold anything. */
void
gst_palme_log_engine (void *user, enum palme_log_level level,
    const char *message)
{
  GstPalmeLog *log = listener;
  gchar *line;

  (void) user;
  if (log == NULL)
    return;
  line = gst_palme_sanitize (message, strlen (message));
  if (level == PALME_LOG_ERROR)
    g_strlcpy (log->last, line, sizeof log->last);
  GST_CAT_LEVEL_LOG (log->category,
      level == PALME_LOG_INFO ? GST_LEVEL_DEBUG : GST_LEVEL_INFO, log->owner,
      "engine: %s", line);
  g_free (line);
}
