/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalme.c - registers the elements. Loading the plugin opens no model and starts no thread.
 */
#include <gst/gst.h>

#include "gstpalmecaption.h"
#include "gstpalmecea608.h"
#include "gstpalmettml.h"

static gboolean
plugin_init (GstPlugin * plugin)
{
  gboolean ok = GST_ELEMENT_REGISTER (palmecaption, plugin);

  ok = GST_ELEMENT_REGISTER (palmecea608, plugin) && ok;
  return GST_ELEMENT_REGISTER (palmettml, plugin) && ok;
}

/* *INDENT-OFF* */
GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, palme,
    "Describes video in words with a transformer on the CPU",
    plugin_init, VERSION, "LGPL", PACKAGE, GST_PALME_ORIGIN)
/* *INDENT-ON* */
