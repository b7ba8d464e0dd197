/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outbox.h"

#include <string.h>

/* So many are on their way at a time: mosquitto keeps those, and sends them again when the connection is back. */
enum { IN_FLIGHT = 10 };

struct outbox {
    struct mosquitto *client;
    GQueue letters;
    GAsyncQueue *confirmed; /* numbers of messages, from mosquitto's thread */
    guint limit, in_flight, dropped;
    gboolean online;
};

typedef struct {
    char *topic, *payload;
    int number; /* mosquitto's, 0 while it is not on its way */
} letter;

static void letter_free(gpointer data)
{
    letter *l = data;

    g_free(l->topic);
    g_free(l->payload);
    g_free(l);
}

outbox *outbox_new(struct mosquitto *client, guint limit)
{
    outbox *box = g_new0(outbox, 1);

    box->client = client;
    box->limit = MAX(limit, 1);
    box->confirmed = g_async_queue_new();
    g_queue_init(&box->letters);
    return box;
}

void outbox_free(outbox *box)
{
    while (g_idle_remove_by_data(box)) {
    }
    g_queue_clear_full(&box->letters, letter_free);
    g_async_queue_unref(box->confirmed);
    g_free(box);
}

static void send_some(outbox *box)
{
    for (GList *link = box->letters.head; link && box->online && box->in_flight < IN_FLIGHT; link = link->next) {
        letter *l = link->data;
        if (l->number)
            continue;
        switch (mosquitto_publish(box->client, &l->number, l->topic, (int)strlen(l->payload), l->payload, 1, true)) {
        case MOSQ_ERR_NOMEM:
        case MOSQ_ERR_INVAL:
        case MOSQ_ERR_PAYLOAD_SIZE:
        case MOSQ_ERR_MALFORMED_UTF8: l->number = 0; return;
        /* If the connection has just gone mosquitto has it all the same, and sends it later. */
        default: box->in_flight++;
        }
    }
}

static gboolean take_confirmed(gpointer user)
{
    outbox *box = user;
    gpointer number;

    while ((number = g_async_queue_try_pop(box->confirmed)))
        for (GList *link = box->letters.head; link; link = link->next)
            if (((letter *)link->data)->number == GPOINTER_TO_INT(number)) {
                letter_free(link->data);
                g_queue_delete_link(&box->letters, link);
                box->in_flight--;
                break;
            }
    send_some(box);
    return G_SOURCE_REMOVE;
}

/* mosquitto's numbers are never 0. */
void outbox_confirm(outbox *box, int number)
{
    g_async_queue_push(box->confirmed, GINT_TO_POINTER(number));
    g_idle_add(take_confirmed, box);
}

void outbox_put(outbox *box, const char *topic, const char *payload)
{
    letter *l = g_new0(letter, 1);

    l->topic = g_strdup(topic);
    l->payload = g_strdup(payload);
    g_queue_push_tail(&box->letters, l);
    /* The oldest that is not on its way goes. */
    if (box->letters.length > box->limit)
        for (GList *link = box->letters.head; link; link = link->next)
            if (!((letter *)link->data)->number) {
                letter_free(link->data);
                g_queue_delete_link(&box->letters, link);
                box->dropped++;
                break;
            }
    send_some(box);
}

void outbox_set_online(outbox *box, gboolean online)
{
    box->online = online;
    send_some(box);
}

guint outbox_waiting(const outbox *box)
{
    return box->letters.length;
}

guint outbox_dropped(const outbox *box)
{
    return box->dropped;
}
