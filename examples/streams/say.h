/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * say.h - a line on the standard output, at once, so that it can be read through a pipe.
 */
#ifndef PALME_EXAMPLES_SAY_H
#define PALME_EXAMPLES_SAY_H

#include <glib.h>

/* Formats as printf does, and ends the line. From any thread. */
void say(const char *format, ...) G_GNUC_PRINTF(1, 2);

#endif
