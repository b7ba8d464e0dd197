/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-planes.c - maps the planes of a frame for reading, if all of their bytes are there.
 *
 * The caps define the size of a frame, its GstVideoMeta where its planes begin, its memories which
 * bytes exist. All three may come from buggy or hostile elements, and gst_video_frame_map() compares
 * them only in part: it raises a critical if caps and metadata disagree, and of a plane that has
 * metadata it maps the memory in which the plane begins, however small that is. So this file, and no
 * other, compares the bytes that will be read with the bytes that are mapped.
 */
#include "gstpalmecaption-planes.h"

#include <string.h>

/* Bytes that may be read behind a plane of packed bits: GStreamer unpacks some of them (NV12_10LE32 and
 * its like) in groups that go past the last pixel. */
#define SLACK 64

/* The part of a plane that is read. */
typedef struct
{
  gsize row;                    /* bytes of a row */
  gint rows;
} Extent;

/* The bytes from this plane to the next, or to the end of the frame. */
static gsize
default_size (const GstVideoInfo * info, guint plane)
{
  gsize end = plane + 1 < GST_VIDEO_INFO_N_PLANES (info) ?
      GST_VIDEO_INFO_PLANE_OFFSET (info,
      plane + 1) : GST_VIDEO_INFO_SIZE (info);

  return end - GST_VIDEO_INFO_PLANE_OFFSET (info, plane);
}

/* TRUE if pixels do not take whole bytes each: then it is not known which ones are read together. */
static gboolean
is_packed (const GstVideoFormatInfo * format, guint component)
{
  return GST_VIDEO_FORMAT_INFO_IS_COMPLEX (format)
      || GST_VIDEO_FORMAT_INFO_PSTRIDE (format, component) == 0;
}

static Extent
extent_of (const GstVideoInfo * info, guint plane)
{
  const GstVideoFormatInfo *format = info->finfo;
  Extent extent = { 0, 0 };
  guint c;

  if (GST_VIDEO_FORMAT_INFO_IS_TILED (format)) {
    extent.row = default_size (info, plane);
    extent.rows = 1;
    return extent;
  }
  if (GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format) && plane == 1) {
    extent.row = 256 * 4;
    extent.rows = 1;
    return extent;
  }
  for (c = 0; c < GST_VIDEO_FORMAT_INFO_N_COMPONENTS (format); c++) {
    gsize row;

    if (GST_VIDEO_FORMAT_INFO_PLANE (format, c) != plane)
      continue;
    row = is_packed (format, c) ? (gsize) GST_VIDEO_INFO_PLANE_STRIDE (info,
        plane) : (gsize) GST_VIDEO_INFO_COMP_WIDTH (info, c)
        * GST_VIDEO_FORMAT_INFO_PSTRIDE (format, c);
    extent.row = MAX (extent.row, row);
    extent.rows = MAX (extent.rows, GST_VIDEO_INFO_COMP_HEIGHT (info, c));
  }
  return extent;
}

static gsize
slack_of (const GstVideoInfo * info)
{
  return is_packed (info->finfo, 0) ? SLACK : 0;
}

static gboolean
has_plane (const GstVideoFrame * frame, const GstVideoInfo * info, guint plane)
{
  const GstMapInfo *map = &frame->map[frame->meta != NULL ? plane : 0];
  gint64 stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);
  Extent extent = extent_of (info, plane);
  gsize at = (gsize) ((guintptr) GST_VIDEO_FRAME_PLANE_DATA (frame, plane)
      - (guintptr) map->data);
  gint64 before, after, slack = (gint64) slack_of (info);

  /* The stride of a tiled format holds the numbers of tiles. */
  if (GST_VIDEO_FORMAT_INFO_IS_TILED (info->finfo)
      && stride != GST_VIDEO_INFO_PLANE_STRIDE (info, plane))
    return FALSE;
  if (extent.rows < 1 || extent.row > G_MAXINT64 / 2 || map->data == NULL
      || at > map->size)
    return FALSE;
  /* No overflow: a stride and the number of rows are ints. */
  before = stride < 0 ? -stride * (extent.rows - 1) : 0;
  after = (stride > 0 ? stride * (extent.rows - 1) : 0) + (gint64) extent.row
      + slack;
  return (guint64) before <= at && (guint64) after <= map->size - at;
}

/* gst_video_frame_map() raises a critical in these cases. Frames may be larger than their caps:
 * those of decoders end with whole blocks. */
static gboolean
agrees (const GstVideoMeta * meta, const GstVideoInfo * info,
    const gchar ** reason)
{
  if (meta->format != GST_VIDEO_INFO_FORMAT (info)
      || meta->n_planes != GST_VIDEO_INFO_N_PLANES (info)) {
    *reason = "its metadata and its caps name different formats";
    return FALSE;
  }
  if (meta->width < (guint) GST_VIDEO_INFO_WIDTH (info)
      || meta->height < (guint) GST_VIDEO_INFO_HEIGHT (info)) {
    *reason = "its metadata and its caps name different sizes";
    return FALSE;
  }
  return TRUE;
}

static gboolean
map_all (GstVideoFrame * frame, const GstVideoInfo * info, GstBuffer * buffer,
    const gchar ** reason)
{
  guint plane;

  if (!gst_video_frame_map (frame, info, buffer, GST_MAP_READ)) {
    *reason = "it cannot be mapped, or is smaller than its caps require; "
        "videoconvert, or an element that downloads to system memory, before "
        "palmecaption may help";
    return FALSE;
  }
  for (plane = 0; plane < GST_VIDEO_INFO_N_PLANES (info); plane++) {
    if (!has_plane (frame, info, plane)) {
      gst_video_frame_unmap (frame);
      *reason = "it is smaller than its caps and its metadata require";
      return FALSE;
    }
  }
  /* Both fields are read as they stand in the frame. GStreamer's converter would tell them apart, and
   * writes past its lines where a field has too few of them. */
  frame->info.width = info->width;
  frame->info.height = info->height;
  frame->info.interlace_mode = GST_VIDEO_INTERLACE_MODE_PROGRESSIVE;
  frame->flags = GST_VIDEO_FRAME_FLAG_NONE;
  return TRUE;
}

/* TRUE if a copy in one memory may have the missing bytes: a plane may continue in the next memory,
 * and the slack need not exist at the end of a frame. */
static gboolean
may_copy (const GstVideoInfo * info, GstBuffer * buffer)
{
  if (gst_buffer_get_video_meta (buffer) != NULL)
    return gst_buffer_n_memory (buffer) > 1 || slack_of (info) > 0;
  return slack_of (info) > 0
      && gst_buffer_get_size (buffer) >= GST_VIDEO_INFO_SIZE (info);
}

/* All of the buffer in one memory, with the slack behind it. NULL if that cannot be made. */
static GstBuffer *
copy_of (GstBuffer * buffer, gsize slack)
{
  gsize size = gst_buffer_get_size (buffer);
  guint8 *bytes = size > 0 ? g_try_malloc (size + slack) : NULL;
  GstBuffer *copy;

  if (bytes == NULL)
    return NULL;
  memset (bytes + size, 0, slack);
  copy = gst_buffer_new_wrapped (bytes, size + slack);
  if (gst_buffer_extract (buffer, 0, bytes, size) != size
      || !gst_buffer_copy_into (copy, buffer, GST_BUFFER_COPY_META, 0, -1))
    g_clear_pointer (&copy, gst_buffer_unref);
  return copy;
}

gboolean
gst_palme_caption_planes_map (GstVideoFrame * frame, const GstVideoInfo * info,
    GstBuffer * buffer, const gchar ** reason)
{
  const GstVideoMeta *meta = gst_buffer_get_video_meta (buffer);
  GstBuffer *copy;
  gboolean ok;

  if (meta != NULL && !agrees (meta, info, reason))
    return FALSE;
  /* A second reference makes the buffer read-only: mapping would else replace several memories by a
   * merged one, and the buffer would leave with other memories than it came with. */
  gst_buffer_ref (buffer);
  ok = map_all (frame, info, buffer, reason);
  gst_buffer_unref (buffer);
  if (ok || !may_copy (info, buffer))
    return ok;

  copy = copy_of (buffer, slack_of (info));
  if (copy == NULL) {
    *reason = "out of memory for a copy of it";
    return FALSE;
  }
  ok = map_all (frame, info, copy, reason);
  gst_buffer_unref (copy);
  return ok;
}

gboolean
gst_palme_caption_planes_upright (const GstVideoFrame * frame)
{
  guint plane;

  for (plane = 0; plane < GST_VIDEO_FRAME_N_PLANES (frame); plane++)
    if (GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane) < 0)
      return FALSE;
  return TRUE;
}

gboolean
gst_palme_caption_planes_copy (GstVideoFrame * copy, const GstVideoInfo * info,
    const GstVideoFrame * frame)
{
  gsize size = GST_VIDEO_INFO_SIZE (info) + slack_of (info);
  guint8 *bytes = g_try_malloc0 (size);
  GstBuffer *buffer;
  gboolean ok;
  guint plane;
  gint y;

  if (bytes == NULL)
    return FALSE;
  for (plane = 0; plane < GST_VIDEO_INFO_N_PLANES (info); plane++) {
    Extent extent = extent_of (info, plane);

    for (y = 0; y < extent.rows; y++)
      memcpy (bytes + GST_VIDEO_INFO_PLANE_OFFSET (info, plane)
          + (gsize) GST_VIDEO_INFO_PLANE_STRIDE (info, plane) * (gsize) y,
          (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, plane)
          + (gssize) GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane) * y,
          MIN (extent.row, (gsize) GST_VIDEO_INFO_PLANE_STRIDE (info, plane)));
  }
  buffer = gst_buffer_new_wrapped (bytes, size);
  ok = gst_video_frame_map (copy, info, buffer, GST_MAP_READ);
  gst_buffer_unref (buffer);
  return ok;
}
