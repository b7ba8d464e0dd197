/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-regions.h - what is captioned: the frame or a part of it, or regions of interest, which are
 * followed from frame to frame. Each region has its own caption in effect, and its own memory of what it
 * looked like. It belongs to the streaming thread and knows neither pixels nor the engine.
 */
#ifndef GST_PALME_CAPTION_REGIONS_H
#define GST_PALME_CAPTION_REGIONS_H

#include <gst/gst.h>

#include "gstpalmecaption-scene.h"
#include "gstpalmecaption-steady.h"
#include "gstpalmemeta.h"

G_BEGIN_DECLS

/* So many regions of interest of a frame are seen; the others are not. */
#define GST_PALME_CAPTION_REGIONS_MAX 128

/* A caption in effect. Zeroed memory is none. */
typedef struct
{
  gchar *text;                  /* "" is an empty caption, NULL none */
  GstClockTime pts, latency;
  gdouble score;
  gboolean unsure;              /* it stands in for a doubtful one */
  gchar *prompt, *words;        /* what it consists of, or NULL */
  gchar *model;                 /* the name of the model that made it, a GRefString, or NULL */
  GstStructure *labels;         /* as they are told; NULL: they are not */
  gboolean fresh;               /* no buffer has carried it yet */
} GstPalmeCaptionShown;

/* Leaves zeroed memory. */
void gst_palme_caption_shown_clear (GstPalmeCaptionShown * shown);

/* Zeroed memory is a region without a caption. */
typedef struct
{
  guint64 serial;               /* by which a result finds it; 0: the frame, or a part of it */
  GstPalmeMetaRegion area;      /* on the last frame that has it */
  GstClockTime seen;            /* running time of that frame, or NONE */
  guint64 turn;                 /* when it was taken last; 0: never */
  guint edition;                /* the settings that its picture was handed over with */
  GstPalmeCaptionScenes scenes;
  GstPalmeCaptionSteady steady;
  GstPalmeCaptionShown shown;
} GstPalmeCaptionRegion;

/* Forgets its caption and its pictures; it stays the same region. */
void gst_palme_caption_region_forget (GstPalmeCaptionRegion * region);

/* The regions of interest of a stream. Zeroed memory is the start. */
typedef struct
{
  guint64 serial, turn;         /* the last that were given */
  guint n_known, n_here;
  GstPalmeCaptionRegion *known[GST_PALME_CAPTION_REGIONS_MAX];
  GstPalmeCaptionRegion *here[GST_PALME_CAPTION_REGIONS_MAX];   /* on the newest frame, in its order */
} GstPalmeCaptionRegions;

/* The regions of the next frame, at most GST_PALME_CAPTION_REGIONS_MAX. A region is the same as on the frame before
 * if it has the same type and the same id; where ids do not tell regions apart, since they are 0 or equal, if it
 * overlaps: intersection over union of at least 0.3, the greatest first. What is on no frame for a second
 * is forgotten. `now` is the running time, or NONE. */
void gst_palme_caption_regions_follow (GstPalmeCaptionRegions * regions,
    const GstPalmeMetaRegion * areas, guint count, GstClockTime now);

/* Chooses at most `most` of the regions on the newest frame: those that have waited longest, first. They count as
 * taken. Returns how many are in `chosen`. */
guint gst_palme_caption_regions_choose (GstPalmeCaptionRegions * regions,
    GstPalmeCaptionRegion ** chosen, guint most);

/* The region with this serial; NULL if it was forgotten. */
GstPalmeCaptionRegion *gst_palme_caption_regions_find (const
    GstPalmeCaptionRegions * regions, guint64 serial);

/* The captions of the regions on the newest frame, a line each, in the order of the frame; those without words have
 * none. NULL if no region has a caption. The caller's. */
gchar *gst_palme_caption_regions_text (const GstPalmeCaptionRegions * regions);

/* Forgets all regions. Leaves nothing to free. */
void gst_palme_caption_regions_clear (GstPalmeCaptionRegions * regions);

G_END_DECLS

#endif
