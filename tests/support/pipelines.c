/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pipelines.c - what pipelines.h promises.
 */
#include "support/pipelines.h"

#include <glib/gstdio.h>
#include <string.h>

static gchar *folder;
static GPtrArray *names;

const gchar *
file_name (const gchar * name)
{
  gchar *path;

  if (!folder) {
    folder = g_dir_make_tmp ("palme-test-XXXXXX", NULL);
    names = g_ptr_array_new_with_free_func (g_free);
    fail_unless (folder != NULL);
  }
  path = g_build_filename (folder, name, NULL);
  g_ptr_array_add (names, path);
  return path;
}

void
files_remove (void)
{
  guint i;

  if (!folder)
    return;
  for (i = 0; i < names->len; i++)
    g_unlink (g_ptr_array_index (names, i));
  g_rmdir (folder);
  g_ptr_array_unref (names);
  g_free (folder);
  folder = NULL;
}

GstElement *
pipeline_new (const gchar * model_lines, const gchar * line)
{
  static guint count;
  gchar *name = g_strdup_printf ("model-%u", count++);
  gchar *content = g_strdup_printf ("standin\n%s\n", model_lines);
  const gchar *path = file_name (name);
  gchar **parts = g_strsplit (line, "MODEL", -1);
  gchar *quoted = g_strdup_printf ("\"%s\"", path);
  gchar *full = g_strjoinv (quoted, parts);
  GError *error = NULL;
  GstElement *pipeline;

  fail_unless (g_file_set_contents (path, content, -1, NULL));
  pipeline = gst_parse_launch (full, &error);
  fail_unless (pipeline
      && !error, "%s: %s", full, error ? error->message : "?");
  g_free (name);
  g_free (content);
  g_free (quoted);
  g_free (full);
  g_strfreev (parts);
  return pipeline;
}

static GstPadProbeReturn
move (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  const GstSegment *segment = data;

  (void) pad;
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    GstBuffer *buffer =
        gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));

    GST_BUFFER_PTS (buffer) += segment->start;
    GST_PAD_PROBE_INFO_DATA (info) = buffer;
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) ==
      GST_EVENT_SEGMENT) {
    gst_event_unref (GST_PAD_PROBE_INFO_EVENT (info));
    GST_PAD_PROBE_INFO_DATA (info) = gst_event_new_segment (segment);
  }
  return GST_PAD_PROBE_OK;
}

void
pipeline_move (GstElement * pipeline, const gchar * element,
    const GstSegment * segment)
{
  GstElement *moved = gst_bin_get_by_name (GST_BIN (pipeline), element);
  GstPad *sink = gst_element_get_static_pad (moved, "sink");

  gst_pad_add_probe (sink,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, move,
      gst_segment_copy (segment), (GDestroyNotify) gst_segment_free);
  gst_object_unref (sink);
  gst_object_unref (moved);
}

void
pipeline_run (GstElement * pipeline, const gchar * line, guint seconds)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, seconds * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless (message != NULL, "hangs: %s", line);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    GError *error = NULL;
    gchar *debug = NULL;

    gst_message_parse_error (message, &error, &debug);
    fail ("%s: %s (%s)", line, error->message, debug);
  }
  gst_message_unref (message);
  gst_object_unref (bus);
}

void
pipeline_free (GstElement * pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

gboolean
have_elements (const gchar * first, ...)
{
  va_list args;
  const gchar *name;
  gboolean all = TRUE;

  va_start (args, first);
  for (name = first; name; name = va_arg (args, const gchar *))
  {
    GstElementFactory *factory = gst_element_factory_find (name);

    if (factory)
      gst_object_unref (factory);
    else
      g_print ("the element %s is not installed\n", name);
    all = all && factory;
  }
  va_end (args);
  return all;
}
