/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * outbox.h - messages to an MQTT broker that are kept until it has them. The broker may be away: then the outbox holds
 * a bounded number, and the oldest goes first. Functions are for the thread of the main loop, but for outbox_confirm.
 */
#ifndef PALME_EXAMPLES_OUTBOX_H
#define PALME_EXAMPLES_OUTBOX_H

#include <glib.h>
#include <mosquitto.h>

typedef struct outbox outbox;

/* Borrows `client`. Holds at most `limit` messages. */
outbox *outbox_new(struct mosquitto *client, guint limit);
void outbox_free(outbox *box);

/* Sends a retained message with quality of service 1, now if `online`, else later. Copies topic and payload. */
void outbox_put(outbox *box, const char *topic, const char *payload);

/* Messages wait while this is FALSE, as at the beginning. */
void outbox_set_online(outbox *box, gboolean online);

/* For mosquitto's publish callback, on its thread: the broker has this message. */
void outbox_confirm(outbox *box, int number);

/* How many the broker has not confirmed, and how many were dropped for want of room. */
guint outbox_waiting(const outbox *box);
guint outbox_dropped(const outbox *box);

#endif
