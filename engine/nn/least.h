/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * least.h - layers whose weights stay in a more exact precision than the rest of a model: `least_precision` of a model
 * file (models/FORMAT.md, 3.5).
 */
#ifndef PALME_LEAST_H
#define PALME_LEAST_H

#include "base/log.h"
#include "io/json.h"
#include "nn/config.h"

/* The object of the configuration: names of layers and their precisions. *least stays NULL where the key is absent;
 * else it is owned. Names of layers that the model does not have are PALME_ERROR_FORMAT. */
int palme_least_read(struct palme_least **least, const struct palme_config *config, const struct palme_json *root,
                     const struct palme_log *log);
void palme_least_free(struct palme_least *least);

/* The precision of a layer in a model of `wanted`: that, or a more exact one. `name` is that of its tensor, with or
 * without .weight. */
enum palme_precision palme_least_of(const struct palme_least *least, const char *name, enum palme_precision wanted);

#endif
