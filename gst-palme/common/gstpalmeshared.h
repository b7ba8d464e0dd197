/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmeshared.h - a model that elements share: opened once for all who want the same file in
 * the same way, and asked for the words of all their captions together.
 *
 * All functions may be called from any thread.
 */
#ifndef GST_PALME_SHARED_H
#define GST_PALME_SHARED_H

#include <glib.h>

#include "palme.h"

G_BEGIN_DECLS

typedef struct _GstPalmeShared GstPalmeShared;

/* From now on what the engine says in this thread goes there; NULL: nowhere. A model has one log
 * function but many owners, and the engine speaks in the thread that called it. While captions are
 * told together that is the thread of one of them. */
void gst_palme_shared_listen (palme_log_fn log, void *user);

/* Opens the model file `path`, or joins those who have it open with equal setups; who comes while
 * it is being loaded waits for that. A file is known by its device, inode, size and time of
 * modification, so a file that was replaced is another one, and its elders keep what they have.
 * The log function of `setup` is not used. On success the caller owns a share of *shared. Returns
 * what palme_model_open() does; then *shared is NULL. */
gint gst_palme_shared_open (GstPalmeShared ** shared, const gchar * path,
    const struct palme_setup *setup);

/* Gives the share back; the last one closes the model. All sessions of the caller are closed
 * before. NULL and *shared == NULL are fine. */
void gst_palme_shared_close (GstPalmeShared ** shared);

palme_model *gst_palme_shared_model (const GstPalmeShared * shared);

/* How many shares there are. */
guint gst_palme_shared_users (GstPalmeShared * shared);

/* Tells the whole caption of the picture and prompt that `session` has: palme_next() until the end,
 * until `deadline` (monotonic, us), or until the session's stop question ends it. Appends to `raw`
 * up to about `most` bytes. Captions that are told at the same time share the passes of the
 * decoder, each with the same words as alone; nobody waits for a caption that has not begun.
 * Returns PALME_OK or the engine's error. */
gint gst_palme_shared_tell (GstPalmeShared * shared, palme_session * session,
    GString * raw, gsize most, gint64 deadline);

G_END_DECLS

#endif
