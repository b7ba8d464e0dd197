/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * format1.h - what is different in files of version 1: flat keys, names of tensors, two of their shapes and scales.
 */
#ifndef PALME_FORMAT1_H
#define PALME_FORMAT1_H

#include "nn/config.h"
#include "io/json.h"
#include "nn/loader.h"

/* Reads and validates a flat config; `plain` as in palme_config_read_plain. The config may own something on failure
 * too. */
int palme_format1_read(struct palme_config *config, const struct palme_json *json, int plain,
                       const struct palme_log *log);

/* What version 1 calls the tensor that version 2 calls `name`. */
struct palme_name palme_format1_name(const struct palme_config *config, const char *name);

/* Finds a tensor by its name in version 1; one of the decoder may have either of two names. Without any, *tensor is
 * NULL, which is not an error; having both is one. */
int palme_format1_find(struct palme_tensor **tensor, struct palme_safetensors *file, const char *name,
                       const struct palme_log *log);

/* Whether version 1 stores the tensor with another dimension of 1 in front, and what its values are multiplied with. */
int palme_format1_has_leading(const char *name);
float palme_format1_factor(const struct palme_config *config, const char *name);

#endif
