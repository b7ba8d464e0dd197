/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pipelines.h - what the tests that run whole pipelines share: a stand-in model, running to EOS
 * under a time-out, a look at the result. The plugin is the one with the stand-in engine.
 */
#ifndef PALME_PIPELINES_H
#define PALME_PIPELINES_H

#include <gst/check/gstcheck.h>

/* A folder for the files of a test program, made on first use and removed by files_remove. */
const gchar *file_name (const gchar * name);
void files_remove (void);

/* Parses a gst-launch line in which each MODEL stands for a stand-in model of these lines. */
GstElement *pipeline_new (const gchar * model_lines, const gchar * line);

/* The video that comes to this element's `sink` gets this segment (copied), and begins at its start. */
void pipeline_move (GstElement * pipeline, const gchar * element, const GstSegment * segment);

/* To PLAYING, until EOS; an error or no EOS within `seconds` fails the test with the line. */
void pipeline_run (GstElement * pipeline, const gchar * line, guint seconds);

/* To NULL and away. */
void pipeline_free (GstElement * pipeline);

/* TRUE if all elements of a NULL-terminated list are installed; else prints which is missing. */
gboolean have_elements (const gchar * first, ...) G_GNUC_NULL_TERMINATED;

#endif
