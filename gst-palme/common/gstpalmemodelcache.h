/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmemodelcache.h - models in memory: counted, immutable, and opened once for all elements of the
 * process that want the same file in the same way.
 *
 * All functions may be called from any thread.
 */
#ifndef GST_PALME_MODEL_CACHE_H
#define GST_PALME_MODEL_CACHE_H

#include <glib.h>

#include "gstpalmebatcher.h"
#include "gstpalmesessions.h"
#include "palme.h"

G_BEGIN_DECLS

/* An element is a user of its model from open to close. Whatever works with the model meanwhile holds
 * a reference, so an element can change its model while a caption is made with the old one. */
typedef struct _GstPalmeModel GstPalmeModel;

/* Opens the model file `path`, or joins those who have it open with an equal setup; while one thread
 * loads the file the others wait for it. A file is known by its device, inode, size and time of
 * modification, so a file that was replaced is another one, and its users keep what they have. The
 * log of `setup` hears of the loading only if this call does it. On success the caller is a user of
 * *model and has a reference. Returns what palme_model_open() does; on failure *model is NULL. */
gint gst_palme_model_cache_open (GstPalmeModel ** model, const gchar * path,
    const struct palme_setup *setup);

/* Ends the use, drops the reference and sets *model to NULL. NULL and *model == NULL are fine. */
void gst_palme_model_cache_close (GstPalmeModel ** model);

/* The last reference closes the model, which can take milliseconds: the streaming thread leaves that
 * to another. Sessions of the model are closed before. */
GstPalmeModel *gst_palme_model_ref (GstPalmeModel * model);
void gst_palme_model_unref (GstPalmeModel * model);

/* The parts of a model; they belong to it. The strings of the information are as they are in the
 * file. The name is sanitised, and a string for g_ref_string_acquire(). */
const palme_model *gst_palme_model_get_engine (const GstPalmeModel * model);
const struct palme_info *gst_palme_model_get_info (const GstPalmeModel *
    model);
gchar *gst_palme_model_get_name (const GstPalmeModel * model);
GstPalmeBatcher *gst_palme_model_get_batcher (const GstPalmeModel * model);
GstPalmeSessions *gst_palme_model_get_sessions (const GstPalmeModel * model);

/* The number of users. */
guint gst_palme_model_get_users (const GstPalmeModel * model);

G_END_DECLS

#endif
