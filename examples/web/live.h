/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * live.h - the live connections: a WebSocket a viewer, with pictures, captions and state. The protocol is in live.c.
 */
#ifndef WEB_LIVE_H
#define WEB_LIVE_H

#include "web.h"

struct web_live *web_live_new(struct web *web);
void web_live_free(struct web_live *live);
void web_live_add(struct web_live *live, SoupWebsocketConnection *connection);
guint web_live_viewers(const struct web_live *live);

/* Something is new: sends what viewers have room for, soon, in the main thread. Called in any thread. */
void web_live_changed(gpointer live);

#endif
