/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * api.h - what programs and the page ask for and change, in JSON. README.md has the list.
 */
#ifndef WEB_API_H
#define WEB_API_H

#include "web.h"

/* Answers, or returns FALSE: there is nothing of this name. */
gboolean web_api_answer(struct web *web, SoupServerMessage *message, const char *path, GHashTable *query);

/* JSON, to be freed: an array of entries, each an object; the state of all sources. */
char *web_api_entries(GArray *entries);
char *web_api_state(struct web *web);

/* Captions as WebVTT, to be freed. Times count from `zero`. */
char *web_vtt(GArray *entries, const char *name, gint64 zero);

/* The models in the folder: an array of names, to be freed with g_ptr_array_unref. */
GPtrArray *web_models(const struct web *web);

#endif
