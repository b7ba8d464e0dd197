/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.h - where the bytes of a model file come from: a path, a descriptor, memory, or the caller's own struct
 * palme_source.
 */
#ifndef PALME_SOURCE_H
#define PALME_SOURCE_H

#include "palme.h"
#include "base/log.h"

/* The regular file of a name, whose size is taken once. Returns PALME_OK or PALME_ERROR_{NOT_FOUND, OPEN}, and then
 * nothing is owned. */
int palme_source_open(struct palme_source *source, const char *path, const struct palme_log *log);
void palme_source_close(struct palme_source *source);

/* The same of a descriptor, which stays the caller's; its position does not matter and does not change. */
int palme_source_descriptor(struct palme_source *source, int descriptor, const struct palme_log *log);

/* Memory, which stays the caller's. */
struct palme_source palme_source_memory(const void *data, size_t size);

/* What a result of read_at means, as a sentence fragment; 0 is none. */
const char *palme_source_failure(int result);

#endif
