/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * captionhost.c - what the tests of palmecaption share.
 */
#include "support/captionhost.h"

#include <glib/gstdio.h>
#include <string.h>

static gchar *folder;
static GPtrArray *names;
static guint models;

void
caption_setup (void)
{
  folder = g_dir_make_tmp ("palme-test-XXXXXX", NULL);
  fail_unless (folder != NULL);
  names = g_ptr_array_new_with_free_func (g_free);
}

void
caption_teardown (void)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const gchar *name;

  while (dir && (name = g_dir_read_name (dir)) != NULL) {
    gchar *path = g_build_filename (folder, name, NULL);

    if (g_remove (path) != 0)
      g_rmdir (path);
    g_free (path);
  }
  if (dir)
    g_dir_close (dir);
  g_rmdir (folder);
  g_clear_pointer (&folder, g_free);
  g_clear_pointer (&names, g_ptr_array_unref);
}

const gchar *
caption_file (const gchar * name)
{
  gchar *path = g_build_filename (folder, name, NULL);

  g_ptr_array_add (names, path);
  return path;
}

const gchar *
caption_model (const gchar * lines)
{
  gchar *name = g_strdup_printf ("model-%u.standin", models++);
  const gchar *path = caption_file (name);
  gchar **parts = g_strsplit (lines ? lines : "", "@", -1);
  gchar *joined = g_strjoinv (folder, parts);
  gchar *text = g_strconcat ("standin\n", joined, NULL);

  fail_unless (g_file_set_contents (path, text, -1, NULL));
  g_free (text);
  g_free (joined);
  g_strfreev (parts);
  g_free (name);
  return path;
}

void
caption_hold (void)
{
  fail_unless (g_file_set_contents (caption_file ("hold"), "", 0, NULL));
}

void
caption_release (void)
{
  fail_unless (g_remove (caption_file ("hold")) == 0);
}

guint
caption_journal (const gchar * prefix)
{
  gchar *text = NULL, **lines, **line;
  guint n = 0;

  if (!g_file_get_contents (caption_file ("journal"), &text, NULL, NULL))
    return 0;
  lines = g_strsplit (text, "\n", -1);
  for (line = lines; *line; line++)
    n += g_str_has_prefix (*line, prefix);
  g_strfreev (lines);
  g_free (text);
  return n;
}

GstElement *
caption_element (const gchar * lines, const gchar * properties)
{
  GstElement *element;
  gchar *launch;
  GstBus *bus;

  /* The frames of most tests are all alike. What is given later counts. */
  launch = g_strdup_printf ("palmecaption scene-threshold=0 cut-threshold=0"
      " switch-margin=0 caption-hold=0 include-prompt=false %s",
      properties ? properties : "");
  element = gst_parse_launch (launch, NULL);
  g_free (launch);
  fail_unless (element != NULL);
  if (g_object_is_floating (element))
    gst_object_ref_sink (element);
  g_object_set (element, "model", caption_model (lines), NULL);
  bus = gst_bus_new ();
  gst_element_set_bus (element, bus);
  gst_object_unref (bus);
  return element;
}

GstHarness *
caption_harness (const gchar * lines, const gchar * properties)
{
  GstElement *element = caption_element (lines, properties);
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");

  gst_harness_set_src_caps_str (h, CAPS_RGB);
  gst_object_unref (element);
  return h;
}

void
caption_element_end (GstElement * element)
{
  GstBus *bus = gst_element_get_bus (element);
  guint i;

  gst_element_set_state (element, GST_STATE_NULL);
  /* Messages hold references to pads and to the element. */
  gst_bus_set_flushing (bus, TRUE);
  gst_object_unref (bus);
  gst_element_set_bus (element, NULL);
  /* So does a thread of gst_element_call_async(), until its function has returned. */
  for (i = 0; i < 60000 && GST_OBJECT_REFCOUNT_VALUE (element) > 1; i++)
    g_usleep (1000);
  ASSERT_OBJECT_REFCOUNT (element, "palmecaption", 1);
  gst_object_unref (element);
}

void
caption_harness_end (GstHarness * h)
{
  GstElement *element = gst_object_ref (h->element);

  gst_harness_teardown (h);
  caption_element_end (element);
}

GstBuffer *
caption_frame (guint n, guint8 grey)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 8 * 8 * 3, NULL);

  gst_buffer_memset (buffer, 0, grey, 8 * 8 * 3);
  GST_BUFFER_PTS (buffer) = n * FRAME_TIME;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  return buffer;
}

GstBuffer *
caption_pass (GstHarness * h, guint n)
{
  GstBuffer *buffer;

  fail_unless_equals_int (gst_harness_push (h, caption_frame (n, 128)),
      GST_FLOW_OK);
  buffer = gst_harness_try_pull (h);
  fail_unless (buffer != NULL);
  return buffer;
}

gchar *
caption_of (GstBuffer * buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer,
      "GstPalmeCaptionMeta");

  if (meta == NULL)
    return NULL;
  return g_strdup (gst_structure_get_string (gst_custom_meta_get_structure
          (meta), "text"));
}

guint64
caption_stat (GstElement * element, const gchar * field)
{
  GstStructure *stats = NULL;
  guint64 value = 0;

  g_object_get (element, "stats", &stats, NULL);
  fail_unless (stats != NULL);
  fail_unless (gst_structure_get_uint64 (stats, field, &value),
      "stats has no %s", field);
  gst_structure_free (stats);
  return value;
}

void
caption_wait (GstElement * element, const gchar * field, guint64 value)
{
  gint i;

  for (i = 0; i < 10000 && caption_stat (element, field) < value; i++)
    g_usleep (1000);
  fail_unless (caption_stat (element, field) >= value, "%s stays below %u",
      field, (guint) value);
}

void
caption_wait_journal (const gchar * prefix, guint lines)
{
  gint i;

  for (i = 0; i < 10000 && caption_journal (prefix) < lines; i++)
    g_usleep (1000);
  fail_unless (caption_journal (prefix) >= lines,
      "the journal has %u lines \"%s\", not %u", caption_journal (prefix),
      prefix, lines);
}

/* The first message of the type, or all of them counted; others stay, which gst_bus_pop_filtered()
 * would throw away. */
static guint
sift (GstElement * element, GstMessageType type, GstMessage ** first)
{
  GstBus *bus = gst_element_get_bus (element);
  GQueue kept = G_QUEUE_INIT;
  GstMessage *message;
  guint n = 0;

  while ((message = gst_bus_pop (bus)) != NULL) {
    if ((GST_MESSAGE_TYPE (message) & type) == 0 || (first && n > 0)) {
      g_queue_push_tail (&kept, message);
    } else if (type == GST_MESSAGE_ELEMENT
        && !gst_message_has_name (message, "palmecaption")) {
      gst_message_unref (message);
    } else {
      n++;
      if (first)
        *first = message;
      else
        gst_message_unref (message);
    }
  }
  while ((message = g_queue_pop_head (&kept)) != NULL)
    gst_bus_post (bus, message);
  gst_object_unref (bus);
  return n;
}

GstMessage *
caption_message (GstElement * element, GstMessageType type)
{
  GstMessage *message = NULL;

  sift (element, type, &message);
  return message;
}

guint
caption_messages (GstElement * element, GstMessageType type)
{
  return sift (element, type, NULL);
}

gchar *
caption_expect_issue (GstElement * element, GstMessageType type,
    GQuark domain, gint code)
{
  GstMessage *message = caption_message (element, type);
  GError *error = NULL;
  gchar *text;

  fail_unless (message != NULL, "nothing was posted");
  if (type == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &error, NULL);
  else
    gst_message_parse_warning (message, &error, NULL);
  fail_unless (error->domain == domain && error->code == code,
      "%s %d: %s", g_quark_to_string (error->domain), error->code,
      error->message);
  text = g_strdup (error->message);
  g_error_free (error);
  gst_message_unref (message);
  return text;
}
