/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * complain.h - what palme-caption says on the standard error, a line each.
 */
#ifndef CAPTIONCOMPLAIN_H
#define CAPTIONCOMPLAIN_H

#include <glib.h>

/* A line on the standard error about `what`, which may be NULL: a file, an option. Names may hold anything and so may
 * the text of a broken file; what reaches the terminal is printable. Any thread may call it. */
void caption_complain(const char *what, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A name for the standard error, at most `longest` characters, to be freed. */
char *caption_shown(const char *name, glong longest);

#endif
