/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemodel.h - finds and opens the model file for an element, posts what is wrong with it, and
 * describes the model to applications.
 */
#ifndef GST_PALME_MODEL_H
#define GST_PALME_MODEL_H

#include <gst/gst.h>

#include "gstpalmelog.h"
#include "gstpalmemodelcache.h"

G_BEGIN_DECLS

/* Opens the model file `path`. If `path` is NULL it is the file that PALME_MODEL names, else the
 * installed one. `threads` 0 means the usable processors less one; `precision` is one of the engine's
 * names. The caller closes the result with gst_palme_model_cache_close(). On failure NULL, and the
 * element has posted a message of the type, an error or a warning, that names the file and the remedy;
 * the warning adds that the model in use stays. Call it without locks; `category` is that of the
 * element's log. */
GstPalmeModel *gst_palme_model_open (GstElement * element,
    GstDebugCategory * category, const gchar * path, guint threads,
    const gchar * precision, GstMessageType type);

/* The value of the property model-info. The caller frees it. */
GstStructure *gst_palme_model_describe (const GstPalmeModel * model);

G_END_DECLS

#endif
