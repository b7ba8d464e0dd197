/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-scene.h - is this the same scene? Compares small pictures: the same, changed, or cut.
 * It belongs to the streaming thread and knows no buffers, no model and no words.
 */
#ifndef GST_PALME_CAPTION_SCENE_H
#define GST_PALME_CAPTION_SCENE_H

#include <glib.h>

G_BEGIN_DECLS

#define GST_PALME_CAPTION_SCENE_CELLS 64        /* a side, in means of brightness */
#define GST_PALME_CAPTION_SCENE_BLOCKS 16       /* a side, in blocks that are compared */

/* What is kept of a picture. Zeroed memory is no picture. */
typedef struct
{
  gboolean valid;
  guint8 luma[GST_PALME_CAPTION_SCENE_CELLS][GST_PALME_CAPTION_SCENE_CELLS];
  guint8 colour[GST_PALME_CAPTION_SCENE_BLOCKS][GST_PALME_CAPTION_SCENE_BLOCKS][3];
} GstPalmeCaptionScene;

/* Takes the picture rgb[size][size][3]. */
void gst_palme_caption_scene_take (GstPalmeCaptionScene * scene,
    const guint8 * rgb, gint size);

/* The share of the area that differs, 0..1; 1 if one of the two is no picture. */
gdouble gst_palme_caption_scene_change (const GstPalmeCaptionScene * a,
    const GstPalmeCaptionScene * b);

/* The pictures of a stream. Zeroed memory is the start. */
typedef struct
{
  GstPalmeCaptionScene glimpsed;        /* the last one, coarsely */
  GstPalmeCaptionScene seen;    /* the last one that was looked at */
  GstPalmeCaptionScene handed;  /* of the caption in the making */
  GstPalmeCaptionScene captioned;       /* of the last caption */
  gboolean cut;                 /* between the last hand-over and the last look */
} GstPalmeCaptionScenes;

/* Forgets all pictures. */
void gst_palme_caption_scenes_reset (GstPalmeCaptionScenes * scenes);

/* Looks at a picture. TRUE if the scene was cut between the last look and this one: at least this share
 * of the area differs. With a threshold of 0 nothing is a cut. */
gboolean gst_palme_caption_scenes_look (GstPalmeCaptionScenes * scenes,
    const guint8 * rgb, gint size, gdouble cut_threshold);

/* The same with a coarse picture, which is cheaper to come by. Nothing is said to be a cut that a look has to
 * confirm: TRUE means that the picture is to be looked at. So it is if no picture was looked at yet, since the next
 * look needs one to compare with. Glimpses are compared with glimpses only. */
gboolean gst_palme_caption_scenes_glimpse (GstPalmeCaptionScenes * scenes,
    const guint8 * rgb, gint size, gdouble cut_threshold);

/* TRUE if the picture that was looked at shows what the last captioned one shows: less than this share
 * of the area differs. With a threshold of 0 nothing is the same. */
gboolean gst_palme_caption_scenes_is_same (const GstPalmeCaptionScenes * scenes,
    gdouble scene_threshold);

/* The picture that was looked at is handed over, or stays without a new caption. */
void gst_palme_caption_scenes_hand_over (GstPalmeCaptionScenes * scenes);

/* The caption of the picture that was handed over has come. */
void gst_palme_caption_scenes_captioned (GstPalmeCaptionScenes * scenes);

G_END_DECLS

#endif
