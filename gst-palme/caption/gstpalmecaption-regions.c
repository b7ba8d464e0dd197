/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-regions.c - regions of interest, followed from frame to frame.
 *
 * A detector puts its regions on each frame anew. An application wants to hear of a person once, not with every
 * frame, and the caption has to stay with that person. Trackers number what they follow; detectors
 * alone leave the number at 0, and then regions are matched as simple trackers do it, by their overlap.
 */
#include "gstpalmecaption-regions.h"

#include <string.h>

#include "gstpalmecaption-rect.h"

#define LEAST_OVERLAP 0.3
#define ABSENCE GST_SECOND

void
gst_palme_caption_shown_clear (GstPalmeCaptionShown * shown)
{
  g_free (shown->text);
  g_free (shown->prompt);
  g_free (shown->words);
  g_clear_pointer (&shown->model, g_ref_string_release);
  g_clear_pointer (&shown->labels, gst_structure_free);
  memset (shown, 0, sizeof *shown);
}

void
gst_palme_caption_region_forget (GstPalmeCaptionRegion * region)
{
  gst_palme_caption_scenes_reset (&region->scenes);
  gst_palme_caption_steady_reset (&region->steady);
  gst_palme_caption_shown_clear (&region->shown);
}

static void
free_region (GstPalmeCaptionRegion * region)
{
  gst_palme_caption_region_forget (region);
  g_free (region);
}

void
gst_palme_caption_regions_clear (GstPalmeCaptionRegions * regions)
{
  while (regions->n_known > 0)
    free_region (regions->known[--regions->n_known]);
  regions->n_here = 0;
}

/* TRUE if the id tells this region from the others of the frame. */
static gboolean
has_own_id (const GstPalmeMetaRegion * areas, guint count, guint i)
{
  guint j;

  for (j = 0; j < count; j++)
    if (j != i && areas[j].id == areas[i].id
        && g_strcmp0 (areas[j].type, areas[i].type) == 0)
      return FALSE;
  return areas[i].id != 0;
}

/* ---- Matching -------------------------------------------------------------------------------- */

typedef struct
{
  const GstPalmeMetaRegion *areas;
  guint count;
  gboolean by_id[GST_PALME_CAPTION_REGIONS_MAX];
  GstPalmeCaptionRegion *match[GST_PALME_CAPTION_REGIONS_MAX];  /* of each area */
  gboolean used[GST_PALME_CAPTION_REGIONS_MAX]; /* of each known region */
} Matching;

static void
pair (Matching * m, GstPalmeCaptionRegions * regions, guint area, guint known)
{
  m->match[area] = regions->known[known];
  m->used[known] = TRUE;
}

static void
match_ids (Matching * m, GstPalmeCaptionRegions * regions)
{
  guint i, k;

  for (i = 0; i < m->count; i++) {
    m->by_id[i] = has_own_id (m->areas, m->count, i);
    for (k = 0; k < regions->n_known && m->by_id[i] && !m->match[i]; k++)
      if (!m->used[k] && regions->known[k]->area.id == m->areas[i].id
          && g_strcmp0 (regions->known[k]->area.type, m->areas[i].type) == 0)
        pair (m, regions, i, k);
  }
}

/* Pairs the two that overlap most. FALSE if no two are left that overlap enough. */
static gboolean
match_nearest (Matching * m, GstPalmeCaptionRegions * regions)
{
  gdouble best = LEAST_OVERLAP, overlap;
  gint area = -1, known = -1;
  guint i, k;

  for (i = 0; i < m->count; i++) {
    if (m->by_id[i] || m->match[i])
      continue;
    for (k = 0; k < regions->n_known; k++) {
      const GstPalmeMetaRegion *before = &regions->known[k]->area;

      if (m->used[k] || before->id != m->areas[i].id
          || g_strcmp0 (before->type, m->areas[i].type) != 0)
        continue;
      overlap =
          gst_palme_caption_rect_overlap (&before->rect, &m->areas[i].rect);
      if (overlap < best || (overlap == best && area >= 0))
        continue;
      best = overlap;
      area = (gint) i;
      known = (gint) k;
    }
  }
  if (area < 0)
    return FALSE;
  pair (m, regions, (guint) area, (guint) known);
  return TRUE;
}

/* Was the region on no frame for too long? After a jump back as well. */
static gboolean
is_gone (const GstPalmeCaptionRegion * region, GstClockTime now)
{
  return GST_CLOCK_TIME_IS_VALID (now)
      && GST_CLOCK_TIME_IS_VALID (region->seen) && (now < region->seen
      || now - region->seen >= ABSENCE);
}

static void
drop_gone (GstPalmeCaptionRegions * regions, GstClockTime now)
{
  guint k, kept = 0;

  for (k = 0; k < regions->n_known; k++) {
    if (is_gone (regions->known[k], now))
      free_region (regions->known[k]);
    else
      regions->known[kept++] = regions->known[k];
  }
  regions->n_known = kept;
}

/* Drops regions that are not on the frame if the new ones need their places. */
static void
make_room (const Matching * m, GstPalmeCaptionRegions * regions)
{
  guint i, k, kept = 0, fresh = 0, spare;

  for (i = 0; i < m->count; i++)
    fresh += m->match[i] == NULL;
  spare = GST_PALME_CAPTION_REGIONS_MAX - regions->n_known;
  for (k = 0; k < regions->n_known; k++) {
    if (!m->used[k] && spare < fresh) {
      free_region (regions->known[k]);
      spare++;
    } else {
      regions->known[kept++] = regions->known[k];
    }
  }
  regions->n_known = kept;
}

void
gst_palme_caption_regions_follow (GstPalmeCaptionRegions * regions,
    const GstPalmeMetaRegion * areas, guint count, GstClockTime now)
{
  Matching m = {.areas = areas,.count =
        MIN (count, GST_PALME_CAPTION_REGIONS_MAX)
  };
  guint i;

  drop_gone (regions, now);
  match_ids (&m, regions);
  while (match_nearest (&m, regions));
  make_room (&m, regions);
  for (i = 0; i < m.count; i++) {
    GstPalmeCaptionRegion *region = m.match[i];

    if (region == NULL) {
      region = g_new0 (GstPalmeCaptionRegion, 1);
      region->serial = ++regions->serial;
      regions->known[regions->n_known++] = region;
    }
    region->area = areas[i];
    region->seen = now;
    regions->here[i] = region;
  }
  regions->n_here = m.count;
}

/* ---- The regions of the newest frame --------------------------------------------------------- */

guint
gst_palme_caption_regions_choose (GstPalmeCaptionRegions * regions,
    GstPalmeCaptionRegion ** chosen, guint most)
{
  GstPalmeCaptionRegion *sorted[GST_PALME_CAPTION_REGIONS_MAX];
  guint i, j, count = MIN (most, regions->n_here);

  for (i = 0; i < regions->n_here; i++) {
    for (j = i; j > 0 && sorted[j - 1]->turn > regions->here[i]->turn; j--)
      sorted[j] = sorted[j - 1];
    sorted[j] = regions->here[i];
  }
  for (i = 0; i < count; i++) {
    chosen[i] = sorted[i];
    chosen[i]->turn = ++regions->turn;
  }
  return count;
}

GstPalmeCaptionRegion *
gst_palme_caption_regions_find (const GstPalmeCaptionRegions * regions,
    guint64 serial)
{
  guint k;

  for (k = 0; k < regions->n_known; k++)
    if (regions->known[k]->serial == serial)
      return regions->known[k];
  return NULL;
}

gchar *
gst_palme_caption_regions_text (const GstPalmeCaptionRegions * regions)
{
  GString *text = NULL;
  guint i;

  for (i = 0; i < regions->n_here; i++) {
    const gchar *words = regions->here[i]->shown.text;

    if (words == NULL)
      continue;
    if (text == NULL)
      text = g_string_new (NULL);
    if (words[0] != '\0')
      g_string_append_printf (text, "%s%s", text->len > 0 ? "\n" : "", words);
  }
  return text != NULL ? g_string_free (text, FALSE) : NULL;
}
