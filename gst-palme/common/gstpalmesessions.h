/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmesessions.h - the sessions of a model, which those who caption with it share.
 *
 * A session takes megabytes, and more of them than processors compute no more captions. So there is
 * one for each user up to a limit, and from then on users take turns, those with the oldest pictures
 * first. A user gets the session that it had last if that is free: its last caption is a draft there.
 *
 * All functions may be called from any thread.
 */
#ifndef GST_PALME_SESSIONS_H
#define GST_PALME_SESSIONS_H

#include <glib.h>

#include "palme.h"

G_BEGIN_DECLS

typedef struct _GstPalmeSessions GstPalmeSessions;

/* One of them, while it is taken. */
typedef struct _GstPalmeTurn GstPalmeTurn;

/* Sessions of this model, at most `most` (1 or more). Never NULL. */
GstPalmeSessions *gst_palme_sessions_new (const palme_model * model,
    guint most);

/* Before the model is closed; nobody is a user any more. NULL is fine. */
void gst_palme_sessions_free (GstPalmeSessions * sessions);

/* Makes `user`, any pointer of the caller's own, a user. Opens a session if there are to be more of
 * them now, with these options. It waits for nobody. Returns PALME_OK, or what palme_session_open()
 * does; then `user` is none. */
gint gst_palme_sessions_join (GstPalmeSessions * sessions, gconstpointer user,
    const struct palme_options *options);

/* The user has no turn and takes none. Closes what is not needed any more. */
void gst_palme_sessions_leave (GstPalmeSessions * sessions,
    gconstpointer user);

/* Waits for a session and gives it the options. `since` says whose turn it is: the time (monotonic, us)
 * of the user's picture. Returns PALME_OK, and *turn and *session until _give(); PALME_ERROR_CANCELLED
 * if the stop question of the options says so, for which waiting threads ask at each _wake(); or
 * what palme_session_open() and _set_options() return. */
gint gst_palme_sessions_take (GstPalmeSessions * sessions,
    gconstpointer user, gint64 since, const struct palme_options *options,
    GstPalmeTurn ** turn, palme_session ** session);
void gst_palme_sessions_give (GstPalmeSessions * sessions,
    GstPalmeTurn * turn);

/* Makes all that wait ask their stop questions. */
void gst_palme_sessions_wake (GstPalmeSessions * sessions);

/* How many sessions are open. */
guint gst_palme_sessions_count (GstPalmeSessions * sessions);

G_END_DECLS

#endif
