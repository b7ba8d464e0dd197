/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmebatcher.h - generates the captions of several sessions of one model in common passes of the
 * decoder.
 */
#ifndef GST_PALME_BATCHER_H
#define GST_PALME_BATCHER_H

#include <glib.h>

#include "palme.h"

G_BEGIN_DECLS

typedef struct _GstPalmeBatcher GstPalmeBatcher;

/* One for each model. Never NULL. */
GstPalmeBatcher *gst_palme_batcher_new (void);

/* No call of generate may be running. NULL is fine. */
void gst_palme_batcher_free (GstPalmeBatcher * batcher);

/* Called with the text so far when it has grown, on any thread that generates, with no lock held. */
typedef void (*GstPalmeBatcherGrown) (gpointer user, const gchar * text);

/* Generates the whole caption of the picture and prompt that `session` has: palme_next() until the
 * end, until `deadline` (monotonic, us), or until the session's stop question ends it. Appends at most
 * about `max_bytes` to `raw`. Calls on other threads at the same time share the passes of the decoder;
 * each gets the text that it would get alone, and none waits for a caption that has not begun. `grown`
 * may be NULL; it must be quick, since all of them wait for it. Returns PALME_OK or the engine's error.
 * Any thread; it blocks until the caption is complete. */
gint gst_palme_batcher_generate (GstPalmeBatcher * batcher,
    palme_session * session, GString * raw, gsize max_bytes, gint64 deadline,
    GstPalmeBatcherGrown grown, gpointer user);

G_END_DECLS

#endif
