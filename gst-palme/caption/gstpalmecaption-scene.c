/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-scene.c - is this the same scene?
 *
 * Differences of brightness do not tell: a flickering lamp changes every pixel and a person far away
 * only a few. So the picture is divided into blocks, and of each the structure is compared, as in SSIM
 * (Wang et al., 2004): the term (2 cov + C) / (var a + var b + C), which knows neither the mean nor
 * small changes of contrast. A block has changed where that term is below 1/2. It follows that
 *   - light may become weaker or stronger by a factor of up to 3.7 (2 + sqrt 3),
 *   - independent noise of up to 5.5 levels (sqrt (C / 2)) in a cell, the mean of many pixels of the
 *     frame, never changes a block; C is about twice that, so that flat blocks are at rest.
 * Flat areas have no structure. There, and everywhere, a block has changed if its mean colour moved by
 * 0.3 of the range.
 *
 * The result is the share of blocks that have changed: 1 of 256 is a person far away, and most of them
 * are a cut.
 */
#include "gstpalmecaption-scene.h"

#include <string.h>

#define CELLS GST_PALME_CAPTION_SCENE_CELLS
#define BLOCKS GST_PALME_CAPTION_SCENE_BLOCKS
#define SIDE (CELLS / BLOCKS)   /* of a block, in cells */
#define N (SIDE * SIDE)

#define FLAT 60                 /* C, in squared levels of brightness */
#define MAX_SHIFT 77            /* of the mean colour, in levels: 0.3 of the range */

/* The pixels first <= x < last of a side that make up part i of n; at least one. */
static void
part (gint i, gint n, gint size, gint * first, gint * last)
{
  *first = (gint) ((gint64) i * size / n);
  *last = MAX ((gint) ((gint64) (i + 1) * size / n), *first + 1);
}

static void
add_cell (guint64 sum[3], const guint8 * rgb, gint size, gint i, gint j)
{
  gint left, right, top, bottom, x, y;

  part (i, CELLS, size, &top, &bottom);
  part (j, CELLS, size, &left, &right);
  for (y = top; y < bottom; y++) {
    const guint8 *pixel = rgb + ((gsize) y * size + left) * 3;

    for (x = left; x < right; x++, pixel += 3) {
      sum[0] += pixel[0];
      sum[1] += pixel[1];
      sum[2] += pixel[2];
    }
  }
  sum[0] /= (right - left) * (bottom - top);
  sum[1] /= (right - left) * (bottom - top);
  sum[2] /= (right - left) * (bottom - top);
}

void
gst_palme_caption_scene_take (GstPalmeCaptionScene * scene, const guint8 * rgb,
    gint size)
{
  guint colour[BLOCKS][BLOCKS][3];
  gint i, j, c;

  memset (colour, 0, sizeof colour);
  for (i = 0; i < CELLS; i++) {
    for (j = 0; j < CELLS; j++) {
      guint64 mean[3] = { 0, 0, 0 };

      add_cell (mean, rgb, size, i, j);
      /* BT.601's weights, in 256ths */
      scene->luma[i][j] = (77 * mean[0] + 150 * mean[1] + 29 * mean[2]) / 256;
      for (c = 0; c < 3; c++)
        colour[i / SIDE][j / SIDE][c] += mean[c];
    }
  }
  for (i = 0; i < BLOCKS; i++)
    for (j = 0; j < BLOCKS; j++)
      for (c = 0; c < 3; c++)
        scene->colour[i][j][c] = colour[i][j][c] / N;
  scene->valid = TRUE;
}

static gboolean
has_shifted (const guint8 a[3], const guint8 b[3])
{
  gint c;

  for (c = 0; c < 3; c++)
    if (ABS (a[c] - b[c]) > MAX_SHIFT)
      return TRUE;
  return FALSE;
}

/* With N^2 times the variances and the covariance, all numbers are whole. */
static gboolean
has_changed (const GstPalmeCaptionScene * a, const GstPalmeCaptionScene * b,
    gint i, gint j)
{
  gint sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0, x, y;
  gint va, vb, cov;

  if (has_shifted (a->colour[i][j], b->colour[i][j]))
    return TRUE;
  for (y = i * SIDE; y < (i + 1) * SIDE; y++) {
    for (x = j * SIDE; x < (j + 1) * SIDE; x++) {
      gint p = a->luma[y][x], q = b->luma[y][x];

      sa += p;
      sb += q;
      saa += p * p;
      sbb += q * q;
      sab += p * q;
    }
  }
  va = N * saa - sa * sa;
  vb = N * sbb - sb * sb;
  cov = N * sab - sa * sb;
  return 2 * (2 * cov + N * N * FLAT) < va + vb + N * N * FLAT;
}

gdouble
gst_palme_caption_scene_change (const GstPalmeCaptionScene * a,
    const GstPalmeCaptionScene * b)
{
  gint changed = 0, i, j;

  if (!a->valid || !b->valid)
    return 1.0;
  for (i = 0; i < BLOCKS; i++)
    for (j = 0; j < BLOCKS; j++)
      changed += has_changed (a, b, i, j);
  return (gdouble) changed / (BLOCKS * BLOCKS);
}

/* ---- The pictures of a stream ---------------------------------------------------------------- */

void
gst_palme_caption_scenes_reset (GstPalmeCaptionScenes * scenes)
{
  scenes->glimpsed.valid = scenes->seen.valid = FALSE;
  scenes->handed.valid = scenes->captioned.valid = FALSE;
  scenes->cut = FALSE;
}

/* TRUE if the new picture, which takes the place of the old one, differs so much from it. */
static gboolean
replace (GstPalmeCaptionScene * scene, const guint8 * rgb, gint size,
    gdouble cut_threshold)
{
  GstPalmeCaptionScene before = *scene;

  gst_palme_caption_scene_take (scene, rgb, size);
  return before.valid && cut_threshold > 0.0
      && gst_palme_caption_scene_change (&before, scene) >= cut_threshold;
}

gboolean
gst_palme_caption_scenes_look (GstPalmeCaptionScenes * scenes,
    const guint8 * rgb, gint size, gdouble cut_threshold)
{
  gboolean cut = replace (&scenes->seen, rgb, size, cut_threshold);

  scenes->cut |= cut;
  return cut;
}

gboolean
gst_palme_caption_scenes_glimpse (GstPalmeCaptionScenes * scenes,
    const guint8 * rgb, gint size, gdouble cut_threshold)
{
  return replace (&scenes->glimpsed, rgb, size, cut_threshold)
      || !scenes->seen.valid;
}

gboolean
gst_palme_caption_scenes_is_same (const GstPalmeCaptionScenes * scenes,
    gdouble scene_threshold)
{
  return scene_threshold > 0.0
      && gst_palme_caption_scene_change (&scenes->captioned,
      &scenes->seen) < scene_threshold;
}

void
gst_palme_caption_scenes_hand_over (GstPalmeCaptionScenes * scenes)
{
  scenes->handed = scenes->seen;
  scenes->cut = FALSE;
}

void
gst_palme_caption_scenes_captioned (GstPalmeCaptionScenes * scenes)
{
  if (scenes->handed.valid)
    scenes->captioned = scenes->handed;
  scenes->handed.valid = FALSE;
}
