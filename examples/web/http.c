/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * http.c - listens, and refuses what no honest page asks for.
 *
 * Other pages in the same browser are the danger on a machine of one's own, so a request has to be for a name of this
 * machine (against DNS rebinding), and neither come from another page (Origin, Sec-Fetch-Site) nor look like a form.
 * Other machines, and with --token other users, have to know the token. libsoup limits the size of headers, but neither
 * the number of connections nor their time; so connections are accepted and watched here.
 */
#include "http.h"
#include "api.h"
#include "json.h"
#include "live.h"

#include <string.h>
#include <sys/random.h>

/* A request has to be complete, and a connection without one is closed, after so long. */
#define REQUEST_TIME (30 * G_USEC_PER_SEC)
/* Whoever has not taken an answer after so long does not get the rest. */
#define ANSWER_TIME (120 * G_USEC_PER_SEC)
/* So long a write may stand still, in seconds. */
#define STALL_TIME 60
/* Larger bodies are read to their end, up to the second size, and refused. */
#define BODY_BYTES (16 * 1024)
#define DRAINED_BYTES (1024 * 1024)

struct web_http {
    struct web *web;
    GSocketService *service;
    char *host; /* as in an address, with brackets around IPv6 */
    guint port;
    gboolean local;
    char **names;
    char *token;  /* NULL: none is needed */
    char *cookie; /* its name; cookies do not know ports */
    GHashTable *peers;
    guint most_connections, tick;
};

/* A connection. The address that libsoup is given is the key by which its messages find it. */
struct peer {
    struct web_http *http;
    GSocketConnection *connection; /* not a reference: this goes when that goes */
    GSocketAddress *address;
    gint64 deadline; /* monotonic time; 0: there is none */
    gboolean live;   /* a WebSocket: live.c looks after it */
};

static const struct {
    const char *path, *name, *type;
} files[] = {
    { "/", "index.html", "text/html; charset=utf-8" },
    { "/app.css", "app.css", "text/css; charset=utf-8" },
    { "/app.js", "app.js", "text/javascript; charset=utf-8" },
    { "/history.js", "history.js", "text/javascript; charset=utf-8" },
    { "/icon.svg", "icon.svg", "image/svg+xml" },
};

/* ---- Answers ------------------------------------------------------------------------------------ */

void web_http_answer(SoupServerMessage *message, guint status, const char *type, char *body, gssize size)
{
    soup_server_message_set_status(message, status, NULL);
    soup_server_message_set_response(message, type, SOUP_MEMORY_TAKE, body, size < 0 ? strlen(body) : (gsize)size);
}

void web_http_refuse(SoupServerMessage *message, guint status, const char *format, ...)
{
    JsonBuilder *builder = json_builder_new();
    va_list args;
    char *text;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "error");
    json_builder_add_string_value(builder, text);
    json_builder_end_object(builder);
    web_http_answer(message, status, "application/json", web_json(builder), -1);
    g_free(text);
}

static void add_headers(SoupServerMessage *message)
{
    static const char *const headers[][2] = {
        { "Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
                                     "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                                     "require-trusted-types-for 'script'" },
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "Cross-Origin-Resource-Policy", "same-origin" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
        { "Cache-Control", "no-store" },
    };
    SoupMessageHeaders *response = soup_server_message_get_response_headers(message);
    guint i;

    for (i = 0; i < G_N_ELEMENTS(headers); i++)
        soup_message_headers_replace(response, headers[i][0], headers[i][1]);
}

/* ---- Who may ask -------------------------------------------------------------------------------- */

/* "host" of "host:port" and of "[host]:port", to be freed. */
static char *host_of(const char *authority)
{
    const char *end = authority[0] == '[' ? strchr(authority, ']') : strrchr(authority, ':');

    if (authority[0] == '[')
        return end ? g_strndup(authority + 1, end - authority - 1) : g_strdup("");
    return end ? g_strndup(authority, end - authority) : g_strdup(authority);
}

static gboolean is_loopback(const char *host)
{
    GInetAddress *address = g_inet_address_new_from_string(host);
    gboolean loopback = address ? g_inet_address_get_is_loopback(address) : g_ascii_strcasecmp(host, "localhost") == 0;

    g_clear_object(&address);
    return loopback;
}

/* A page of a stranger can have its own name point here, but no address: so addresses are as good as names of ours. */
static gboolean is_ours(const struct web_http *http, const char *authority)
{
    char *host = host_of(authority);
    char *mdns = g_strconcat(g_get_host_name(), ".local", NULL);
    gboolean ours = is_loopback(host);
    guint i;

    if (!http->local)
        ours |= g_hostname_is_ip_address(host) || g_ascii_strcasecmp(host, g_get_host_name()) == 0 ||
                g_ascii_strcasecmp(host, mdns) == 0;
    for (i = 0; http->names && http->names[i]; i++)
        ours |= g_ascii_strcasecmp(host, http->names[i]) == 0;
    g_free(mdns);
    g_free(host);
    return ours;
}

/* In a time that does not tell how much of it is right. */
static gboolean is_token(const struct web_http *http, const char *given)
{
    size_t i, n = strlen(http->token);
    guint differs = strlen(given) != n;

    for (i = 0; !differs && i < n; i++)
        differs |= (guint)(given[i] ^ http->token[i]) << 1;
    for (; i < n; i++)
        differs |= (guint)(http->token[i] ^ http->token[0]) & 1;
    return differs == 0;
}

static gboolean knows_token(const struct web_http *http, SoupMessageHeaders *headers)
{
    const char *bearer = soup_message_headers_get_one(headers, "Authorization");
    const char *cookies = soup_message_headers_get_list(headers, "Cookie");
    gboolean knows = FALSE;
    char **parts;
    guint i;

    if (!http->token)
        return TRUE;
    if (bearer && g_ascii_strncasecmp(bearer, "Bearer ", 7) == 0)
        return is_token(http, bearer + 7);
    parts = g_strsplit_set(cookies ? cookies : "", ";,", 64);
    for (i = 0; parts[i]; i++) {
        size_t n = strlen(http->cookie);

        g_strstrip(parts[i]);
        if (strncmp(parts[i], http->cookie, n) == 0 && parts[i][n] == '=')
            knows |= is_token(http, parts[i] + n + 1);
    }
    g_strfreev(parts);
    return knows;
}

/* The address with the token becomes a cookie, and goes out of the address bar. */
static gboolean takes_token(const struct web_http *http, SoupServerMessage *message, const char *path,
                            GHashTable *query)
{
    const char *given = query ? g_hash_table_lookup(query, "token") : NULL;
    char *cookie;

    if (!http->token || !given || strcmp(path, "/") || !is_token(http, given))
        return FALSE;
    cookie = g_strdup_printf("%s=%s; Path=/; HttpOnly; SameSite=Strict", http->cookie, http->token);
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Set-Cookie", cookie);
    soup_server_message_set_redirect(message, SOUP_STATUS_SEE_OTHER, "/");
    g_free(cookie);
    return TRUE;
}

/* Whether the request comes from a page of ours, or from no page. */
static gboolean comes_from_us(SoupMessageHeaders *headers, const char *authority, gboolean changes)
{
    const char *origin = soup_message_headers_get_one(headers, "Origin");
    const char *site = soup_message_headers_get_one(headers, "Sec-Fetch-Site");
    const char *mode = soup_message_headers_get_one(headers, "Sec-Fetch-Mode");
    const char *scheme_end = origin ? strstr(origin, "://") : NULL;

    if (origin && (!scheme_end || g_ascii_strcasecmp(scheme_end + 3, authority)))
        return FALSE;
    if (!site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0)
        return TRUE;
    return !changes && mode && strcmp(mode, "navigate") == 0; /* somebody follows a link to the page */
}

static struct peer *peer_of(SoupServerMessage *message)
{
    return g_object_get_data(G_OBJECT(soup_server_message_get_remote_address(message)), "peer");
}

static void set_deadline(SoupServerMessage *message, gint64 after)
{
    struct peer *peer = peer_of(message);

    if (!peer->live)
        peer->deadline = after ? g_get_monotonic_time() + after : 0;
}

static void cut(struct peer *peer)
{
    g_socket_shutdown(g_socket_connection_get_socket(peer->connection), TRUE, TRUE, NULL);
}

static void refuse_body(SoupServerMessage *message, goffset length)
{
    soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection", "close");
    web_http_refuse(message, SOUP_STATUS_REQUEST_ENTITY_TOO_LARGE, "a request has at most %d bytes", BODY_BYTES);
    if (length > DRAINED_BYTES)
        cut(peer_of(message));
}

/* Before the body of a request is read. What gets a status here goes no further. */
static void check_request(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query,
                          gpointer user)
{
    struct web_http *http = user;
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
    const char *authority = soup_message_headers_get_one(headers, "Host");
    const char *method = soup_server_message_get_method(message);
    const char *type = soup_message_headers_get_content_type(headers, NULL);
    gboolean changes = method == SOUP_METHOD_POST;

    (void)soup;
    add_headers(message);
    if (method != SOUP_METHOD_GET && method != SOUP_METHOD_HEAD && !changes)
        web_http_refuse(message, SOUP_STATUS_METHOD_NOT_ALLOWED, "GET and POST are what there is");
    else if (!authority || !is_ours(http, authority))
        web_http_refuse(message, SOUP_STATUS_FORBIDDEN,
                        "this server is not called so; start it with --name to allow another name");
    else if (!comes_from_us(headers, authority, changes || strcmp(path, "/")))
        web_http_refuse(message, SOUP_STATUS_FORBIDDEN, "requests from other pages are refused");
    else if (takes_token(http, message, path, query))
        ;
    else if (!knows_token(http, headers))
        web_http_answer(
            message, SOUP_STATUS_UNAUTHORIZED, "text/plain; charset=utf-8",
            g_strdup("Please open the address that palme-web printed when it started: it ends with a token.\n"), -1);
    else if (changes && g_strcmp0(type, "application/json"))
        web_http_refuse(message, SOUP_STATUS_UNSUPPORTED_MEDIA_TYPE, "a request to change something has to be JSON");
    else if (changes && soup_message_headers_get_encoding(headers) != SOUP_ENCODING_CONTENT_LENGTH)
        web_http_refuse(message, SOUP_STATUS_LENGTH_REQUIRED, "Content-Length is missing");
    if (soup_message_headers_get_encoding(headers) == SOUP_ENCODING_CHUNKED)
        refuse_body(message, G_MAXINT64);
    else if (soup_message_headers_get_content_length(headers) > BODY_BYTES)
        refuse_body(message, soup_message_headers_get_content_length(headers));
}

/* ---- What is there ------------------------------------------------------------------------------ */

static gboolean answer_file(SoupServerMessage *message, const char *path)
{
    guint i;

    for (i = 0; i < G_N_ELEMENTS(files); i++) {
        char *name;
        GBytes *bytes;

        if (strcmp(path, files[i].path))
            continue;
        name = g_strconcat("/palme/web/", files[i].name, NULL);
        bytes = g_resources_lookup_data(name, G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
        g_free(name);
        soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
        soup_server_message_set_response(message, files[i].type, SOUP_MEMORY_COPY, g_bytes_get_data(bytes, NULL),
                                         g_bytes_get_size(bytes));
        g_bytes_unref(bytes);
        return TRUE;
    }
    return FALSE;
}

static void answer(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query, gpointer user)
{
    struct web_http *http = user;
    gboolean reads = soup_server_message_get_method(message) != SOUP_METHOD_POST;

    (void)soup;
    if ((reads && answer_file(message, path)) || web_api_answer(http->web, message, path, query))
        return;
    web_http_refuse(message, SOUP_STATUS_NOT_FOUND, "there is nothing here");
}

static void begin_live(SoupServer *soup, SoupServerMessage *message, const char *path,
                       SoupWebsocketConnection *connection, gpointer user)
{
    struct web_http *http = user;

    (void)soup;
    (void)path;
    set_deadline(message, 0);
    peer_of(message)->live = TRUE;
    web_live_add(http->web->live, connection);
}

/* ---- Connections -------------------------------------------------------------------------------- */

static void peer_free(struct peer *peer)
{
    g_object_set_data(G_OBJECT(peer->address), "peer", NULL);
    g_object_unref(peer->address);
    g_free(peer);
}

static void peer_goes(gpointer user, GObject *connection)
{
    struct peer *peer = user;

    (void)connection;
    g_hash_table_remove(peer->http->peers, peer);
    peer_free(peer);
}

static gboolean arrives(GSocketService *service, GSocketConnection *connection, GObject *object, gpointer user)
{
    struct web_http *http = user;
    GSocketAddress *local = g_socket_connection_get_local_address(connection, NULL);
    GSocketAddress *remote = g_socket_connection_get_remote_address(connection, NULL);
    struct peer *peer;

    (void)service;
    (void)object;
    if (local && remote && g_hash_table_size(http->peers) < http->most_connections) {
        peer = g_new0(struct peer, 1);
        peer->http = http;
        peer->connection = connection;
        peer->address = g_object_ref(remote);
        peer->deadline = g_get_monotonic_time() + REQUEST_TIME;
        g_hash_table_add(http->peers, peer);
        g_object_weak_ref(G_OBJECT(connection), peer_goes, peer);
        g_object_set_data(G_OBJECT(remote), "peer", peer);
        g_socket_set_timeout(g_socket_connection_get_socket(connection), STALL_TIME);
        soup_server_accept_iostream(http->web->soup, G_IO_STREAM(connection), local, remote, NULL);
    }
    g_clear_object(&local);
    g_clear_object(&remote);
    return TRUE;
}

void web_http_cut(SoupWebsocketConnection *connection)
{
    GIOStream *stream = soup_websocket_connection_get_io_stream(connection);
    GIOStream *base = stream;

    /* libsoup wraps what it was given. */
    while (base && !G_IS_SOCKET_CONNECTION(base)) {
        GIOStream *inner = NULL;

        if (g_object_class_find_property(G_OBJECT_GET_CLASS(base), "base-iostream"))
            g_object_get(base, "base-iostream", &inner, NULL);
        if (base != stream)
            g_object_unref(base);
        base = inner;
    }
    if (!base)
        return;
    g_socket_shutdown(g_socket_connection_get_socket(G_SOCKET_CONNECTION(base)), TRUE, TRUE, NULL);
    if (base != stream)
        g_object_unref(base);
}

static void request_starts(SoupServer *soup, SoupServerMessage *message, gpointer user)
{
    (void)soup;
    (void)user;
    set_deadline(message, REQUEST_TIME);
}

static void request_is_read(SoupServer *soup, SoupServerMessage *message, gpointer user)
{
    (void)soup;
    (void)user;
    set_deadline(message, ANSWER_TIME);
}

static gboolean watch_connections(gpointer user)
{
    struct web_http *http = user;
    gint64 now = g_get_monotonic_time();
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, http->peers);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        struct peer *peer = key;

        if (peer->deadline && now > peer->deadline)
            cut(peer);
    }
    return G_SOURCE_CONTINUE;
}

/* ---- Start and end ------------------------------------------------------------------------------ */

guint32 web_random(void)
{
    guint32 number;

    while (getrandom(&number, sizeof number, 0) != sizeof number)
        ;
    return number;
}

static char *new_token(void)
{
    return g_strdup_printf("%08x%08x%08x%08x", web_random(), web_random(), web_random(), web_random());
}

static gboolean listen_at(struct web_http *http, const char *host, guint port, char **why)
{
    GInetAddress *address = g_inet_address_new_from_string(host);
    GSocketAddress *wanted, *got = NULL;
    GError *error = NULL;

    if (!address) {
        *why = g_strdup_printf("--listen %s: has to be an IP address of this machine, 0.0.0.0, :: or localhost", host);
        return FALSE;
    }
    http->local = g_inet_address_get_is_loopback(address);
    http->host = g_strdup_printf(g_inet_address_get_family(address) == G_SOCKET_FAMILY_IPV6 ? "[%s]" : "%s", host);
    if (g_inet_address_get_is_any(address)) {
        g_free(http->host);
        http->host = g_strdup(g_get_host_name());
    }
    wanted = g_inet_socket_address_new(address, (guint16)port);
    g_object_unref(address);
    http->service = g_socket_service_new();
    if (g_socket_listener_add_address(G_SOCKET_LISTENER(http->service), wanted, G_SOCKET_TYPE_STREAM,
                                      G_SOCKET_PROTOCOL_TCP, NULL, &got, &error)) {
        http->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(got));
        g_object_unref(got);
    } else {
        *why = g_strdup_printf("--listen %s --port %u: %s", host, port, error->message);
        g_error_free(error);
    }
    g_object_unref(wanted);
    return http->port != 0;
}

gboolean web_http_start(struct web *web, const struct web_http_options *options, char **why)
{
    struct web_http *http = g_new0(struct web_http, 1);
    const char *host = g_ascii_strcasecmp(options->listen, "localhost") ? options->listen : "127.0.0.1";

    web->http = http;
    http->web = web;
    http->names = g_strdupv(options->names);
    http->most_connections = options->most_connections;
    http->peers = g_hash_table_new(NULL, NULL);
    if (!listen_at(http, host, options->port, why)) {
        web_http_stop(web);
        return FALSE;
    }
    if (!http->local || options->token)
        http->token = new_token();
    http->cookie = g_strdup_printf("palme-%u", http->port);
    web->soup = soup_server_new("server-header", "palme-web", NULL);
    /* JPEGs do not get smaller, and what is inflated takes memory. */
    soup_server_remove_websocket_extension(web->soup, SOUP_TYPE_WEBSOCKET_EXTENSION_DEFLATE);
    soup_server_add_early_handler(web->soup, "/", check_request, http, NULL);
    soup_server_add_handler(web->soup, "/", answer, http, NULL);
    soup_server_add_early_handler(web->soup, "/live", check_request, http, NULL);
    soup_server_add_websocket_handler(web->soup, "/live", NULL, NULL, begin_live, http, NULL);
    g_signal_connect(web->soup, "request-started", G_CALLBACK(request_starts), NULL);
    g_signal_connect(web->soup, "request-read", G_CALLBACK(request_is_read), NULL);
    g_signal_connect(http->service, "incoming", G_CALLBACK(arrives), http);
    http->tick = g_timeout_add_seconds(1, watch_connections, http);
    return TRUE;
}

void web_http_stop(struct web *web)
{
    struct web_http *http = web->http;
    GHashTableIter iter;
    gpointer peer;

    if (!http)
        return;
    if (http->service) {
        g_socket_service_stop(http->service);
        g_socket_listener_close(G_SOCKET_LISTENER(http->service));
        g_clear_object(&http->service);
    }
    if (http->tick)
        g_source_remove(http->tick);
    if (web->soup)
        soup_server_disconnect(web->soup);
    g_clear_object(&web->soup);
    g_hash_table_iter_init(&iter, http->peers);
    while (g_hash_table_iter_next(&iter, &peer, NULL)) {
        g_object_weak_unref(G_OBJECT(((struct peer *)peer)->connection), peer_goes, peer);
        peer_free(peer);
    }
    g_hash_table_unref(http->peers);
    g_strfreev(http->names);
    g_free(http->host);
    g_free(http->token);
    g_free(http->cookie);
    g_clear_pointer(&web->http, g_free);
}

char *web_http_address(const struct web *web)
{
    const struct web_http *http = web->http;

    if (http->token)
        return g_strdup_printf("http://%s:%u/?token=%s", http->host, http->port, http->token);
    return g_strdup_printf("http://%s:%u/", http->host, http->port);
}

guint web_http_connections(const struct web *web)
{
    return g_hash_table_size(web->http->peers);
}
