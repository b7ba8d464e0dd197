/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * captionhost.h - what the tests of palmecaption share: stand-in model files, frames, a harness
 * with a bus. The stand-in's file format is told at the head of standin_engine.c.
 */
#ifndef CAPTION_HOST_H
#define CAPTION_HOST_H

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>

#define CAPS_RGB "video/x-raw,format=RGB,width=8,height=8,framerate=10/1"
#define FRAME_TIME (GST_SECOND / 10)

/* A folder for the files of one test, and its removal with all that is in it. */
void caption_setup (void);
void caption_teardown (void);

/* Name of a file in that folder; the string lives until teardown. */
const gchar *caption_file (const gchar * name);

/* Writes a stand-in model of these lines, returns its file name (until teardown). "@" in the lines
 * stands for the folder. */
const gchar *caption_model (const gchar * lines);

/* The hold file of `hold=@/hold`: looks wait while it exists. */
void caption_hold (void);
void caption_release (void);

/* Lines of the journal `journal=@/journal` that begin with this. */
guint caption_journal (const gchar * prefix);

/* A palmecaption with a model of these lines (NULL: none) and a bus of its own; properties in
 * gst-launch syntax, or NULL. Captions are not kept steady, and do not have their
 * prompt, unless the properties say so. */
GstElement *caption_element (const gchar * lines, const gchar * properties);

/* That element in a harness with CAPS_RGB, playing. */
GstHarness *caption_harness (const gchar * lines, const gchar * properties);

/* Stops the element and drops its bus and the last reference to it. */
void caption_element_end (GstElement * element);

/* The same for one in a harness, and the harness. */
void caption_harness_end (GstHarness * h);

/* A frame of 8x8 RGB, one grey; PTS of frame n at 10 frames a second. */
GstBuffer *caption_frame (guint n, guint8 grey);

/* Pushes frame n, expects it to come out, returns it. */
GstBuffer *caption_pass (GstHarness * h, guint n);

/* The caption on a buffer as a new string; NULL for none. */
gchar *caption_of (GstBuffer * buffer);

/* Pushes frame n, compares its caption, NULL for none. */
#define caption_expect(h, n, wanted) G_STMT_START { \
  GstBuffer *b_ = caption_pass (h, n); \
  gchar *text_ = caption_of (b_); \
  fail_unless (g_strcmp0 (text_, wanted) == 0, "frame %u says \"%s\", not \"%s\"", \
      (guint) (n), text_ ? text_ : "(nothing)", (wanted) ? (wanted) : "(nothing)"); \
  g_free (text_); gst_buffer_unref (b_); } G_STMT_END

/* A field of the property stats. */
guint64 caption_stat (GstElement * element, const gchar * field);

/* Waits until that field has at least this value; the test fails after 10 s. */
void caption_wait (GstElement * element, const gchar * field, guint64 value);

/* Waits until the file has so many journal lines with this prefix. */
void caption_wait_journal (const gchar * prefix, guint lines);

/* The next message of the type on the bus, or NULL if there is none now; of element messages only
 * those named palmecaption. */
GstMessage *caption_message (GstElement * element, GstMessageType type);

/* How many of the type wait on the bus; they are removed. */
guint caption_messages (GstElement * element, GstMessageType type);

/* Expects a warning or error of this domain and code; its text, to be freed. */
gchar *caption_expect_issue (GstElement * element, GstMessageType type,
    GQuark domain, gint code);

#endif
