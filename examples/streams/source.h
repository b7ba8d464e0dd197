/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * source.h - what a name on the command line means as a source of video, for the examples of this folder.
 */
#ifndef PALME_EXAMPLES_SOURCE_H
#define PALME_EXAMPLES_SOURCE_H

#include <gst/gst.h>

/* Seconds until a source that failed is tried again. */
enum { SOURCE_RETRY = 5 };

/* The help text of the examples for their last argument. */
#define SOURCE_HELP "a camera (/dev/video0), a file, an address, or a pipeline; without it, a test picture"

/* A source of raw video in the syntax of gst-launch, to be followed by " ! videoconvert ! ...". `name` is a device, a
 * file, a URI, or a pipeline whose first word is an element; NULL is a test picture. To be freed with g_free. NULL,
 * with `error` set, if it is nothing of these. */
char *source_describe(const char *name, GError **error);

/* FALSE, with `error` set, if there is more than one name, or `port` is not from `least` to 65535. */
gboolean source_check(char **names, int port, int least, GError **error);

#endif
