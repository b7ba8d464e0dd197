/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalme.c - registers the element. Loading the plugin opens no model and starts no thread.
 */
#include <gst/gst.h>

#include "gstpalmecaption.h"

static gboolean
plugin_init (GstPlugin * plugin)
{
  return GST_ELEMENT_REGISTER (palmecaption, plugin);
}

/* *INDENT-OFF* */
GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, palme,
    "Describes video in words with a transformer on the CPU",
    plugin_init, VERSION, "LGPL", PACKAGE, GST_PALME_ORIGIN)
/* *INDENT-ON* */
