/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmelog.c - brings the engine's log messages to the element that they concern.
 *
 * They appear at INFO and below: file names do not belong in a log at its default level.
 */
#include "gstpalmelog.h"

#include <string.h>

#include "gstpalmesanitize.h"

void
gst_palme_log_init (GstPalmeLog * log, GstObject * owner,
    GstDebugCategory * category)
{
  log->owner = owner;
  log->category = category;
  log->last[0] = '\0';
}

/* The engine quotes names of tensors and keys: they come from the file and may hold anything. */
void
gst_palme_log_engine (void *user, enum palme_log_level level,
    const char *message)
{
  GstPalmeLog *log = user;
  gchar *line = gst_palme_sanitize (message, strlen (message));

  if (level == PALME_LOG_ERROR)
    g_strlcpy (log->last, line, sizeof log->last);
  GST_CAT_LEVEL_LOG (log->category,
      level == PALME_LOG_INFO ? GST_LEVEL_DEBUG : GST_LEVEL_INFO, log->owner,
      "engine: %s", line);
  g_free (line);
}
