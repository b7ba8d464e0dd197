/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.h - the one door by which JSON out of a model file comes in: bounded nesting, no key twice.
 */
#ifndef PALME_JSON_H
#define PALME_JSON_H

#include <jansson.h>

#include "palme.h"
#include "report.h"

/* Parses `length` bytes (no NUL needed) whose outermost value is an object. `what` names them in
 * messages ("header", "config", "tokenizer"). Nesting beyond 16, a key given twice, bytes after the
 * object and text that is not UTF-8 are errors. On success *root is the caller's, to json_decref;
 * on failure it is NULL. Returns PALME_OK or PALME_ERROR_{FORMAT, MEMORY}, with a message. */
int palme_json_load(json_t **root, const char *text, size_t length, const char *what,
                    const struct palme_report *report);

#endif
