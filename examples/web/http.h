/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * http.h - who may connect, and what is handed to whom: the page's files, the API, live connections.
 */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H

#include "web.h"

struct web_http_options {
    const char *listen; /* an address, or "localhost" */
    guint port;         /* 0: a free one */
    char **names;       /* other names that this machine is called by; NULL: none */
    gboolean token;     /* ask for a token even of this machine's own programs */
    guint most_connections;
};

/* Listens. Sets web->soup and web->http. FALSE: *why is a sentence, free it. */
gboolean web_http_start(struct web *web, const struct web_http_options *options, char **why);
void web_http_stop(struct web *web);

/* What to type into a browser, with the token where one is needed; to be freed. */
char *web_http_address(const struct web *web);
guint web_http_connections(const struct web *web);

/* Answers with a body of `type`, which is taken; size -1: a string. */
void web_http_answer(SoupServerMessage *message, guint status, const char *type, char *body, gssize size);
/* Answers with {"error": text}. */
void web_http_refuse(SoupServerMessage *message, guint status, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* A number that nobody can foresee. */
guint32 web_random(void);

/* Ends a connection at once, whatever is still on its way. */
void web_http_cut(SoupWebsocketConnection *connection);

#endif
