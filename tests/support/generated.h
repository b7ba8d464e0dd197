/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * generated.h - model files whose weights come from a formula, so that large fixtures need no large files.
 */
#ifndef PALME_GENERATED_H
#define PALME_GENERATED_H

/* Reads FOLDER/generate.json, writes the model file that it describes to a new temporary file and puts its
 * name into `path` (of `size` bytes); the caller unlinks it. The formula stands in tests/fixtures/generate.py.
 * Returns 0, or -1 after a line on stderr. */
int generated_model(char *path, size_t size, const char *folder);

#endif
