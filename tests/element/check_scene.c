/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_scene.c - which pictures show the same: noise, light and compression do not count, what enters
 * the picture does. Sizes and strengths follow from the head of gstpalmecaption-scene.c.
 */
#include <gst/check/gstcheck.h>
#include <math.h>
#include <string.h>

#include "gstpalmecaption-scene.h"

#define SIZE 256
#define BLOCK (SIZE / GST_PALME_CAPTION_SCENE_BLOCKS)   /* a side, in pixels */
#define ONE (1.0 / (GST_PALME_CAPTION_SCENE_BLOCKS * GST_PALME_CAPTION_SCENE_BLOCKS))

typedef guint8 Picture[SIZE][SIZE][3];

static Picture a, b;
static GstPalmeCaptionScene scene_a, scene_b;

/* A picture with structure everywhere: blots of about 20 pixels, brightness 64 to 192. */
static void
draw_blots (Picture picture, guint seed)
{
  gint x, y, c;

  for (y = 0; y < SIZE; y++)
    for (x = 0; x < SIZE; x++)
      for (c = 0; c < 3; c++)
        picture[y][x][c] = (guint8) (128 + 32 * sin (x * 0.31 + seed)
            + 32 * sin (y * 0.29 + seed * 1.7));
}

static void
fill (Picture picture, guint8 r, guint8 g, guint8 blue)
{
  gint x, y;

  for (y = 0; y < SIZE; y++) {
    for (x = 0; x < SIZE; x++) {
      picture[y][x][0] = r;
      picture[y][x][1] = g;
      picture[y][x][2] = blue;
    }
  }
}

static gdouble
change (void)
{
  gdouble forth, back;

  gst_palme_caption_scene_take (&scene_a, &a[0][0][0], SIZE);
  gst_palme_caption_scene_take (&scene_b, &b[0][0][0], SIZE);
  forth = gst_palme_caption_scene_change (&scene_a, &scene_b);
  back = gst_palme_caption_scene_change (&scene_b, &scene_a);
  fail_unless (forth == back, "%g, and %g the other way round", forth, back);
  return forth;
}

/* b = a * gain + offset, with noise of this deviation, and shifted to the right. */
static void
disturb (gdouble gain, gdouble offset, gdouble noise, gint shift)
{
  static gdouble normal[4099];  /* a prime number, so that no pattern shows */
  GRand *random = g_rand_new_with_seed (7);
  gint x, y, c, i;

  for (x = 0; x < (gint) G_N_ELEMENTS (normal); x++)
    for (i = 0, normal[x] = -6.0; i < 12; i++)  /* of variance 1 */
      normal[x] += g_rand_double (random);
  for (y = 0; y < SIZE; y++) {
    for (x = 0; x < SIZE; x++) {
      for (c = 0; c < 3; c++) {
        gdouble value = a[y][MAX (x - shift, 0)][c] * gain + offset;

        value +=
            noise * normal[((y * SIZE + x) * 3 + c) % G_N_ELEMENTS (normal)];
        b[y][x][c] = (guint8) CLAMP (value, 0.0, 255.0);
      }
    }
  }
  g_rand_free (random);
}

GST_START_TEST (test_same)
{
  const struct
  {
    const gchar *what;
    gdouble gain, offset, noise;
    gint shift;
  } cases[] = {
    {"nothing", 1.0, 0.0, 0.0, 0},
    {"noise", 1.0, 0.0, 8.0, 0},
    /* A cell is the mean of 16 pixels, so 22 levels of noise are 5.5, less what the channels average out. */
    {"much noise", 1.0, 0.0, 20.0, 0},
    {"a darker lamp", 0.7, 0.0, 8.0, 0},
    {"a brighter lamp", 1.3, 0.0, 8.0, 0},
    {"another exposure", 0.8, 30.0, 8.0, 0},
    {"a camera that shakes", 1.0, 0.0, 0.0, 1},
  };
  guint i, seed;

  for (seed = 0; seed < 5; seed++) {
    for (i = 0; i < G_N_ELEMENTS (cases); i++) {
      draw_blots (a, seed);
      disturb (cases[i].gain, cases[i].offset, cases[i].noise, cases[i].shift);
      fail_unless (change () == 0.0, "%s is a change of %g", cases[i].what,
          change ());
    }
    /* A flat wall has nothing but noise. */
    fill (a, 120, 120, 120);
    disturb (1.0, 0.0, 20.0, 0);
    fail_unless (change () == 0.0, "noise on a wall is a change of %g",
        change ());
  }
}

GST_END_TEST;

/* 8-by-8 blocks of one colour each, as a coarse keyframe has them. */
GST_START_TEST (test_compression)
{
  gint x, y, c, i, j;

  draw_blots (a, 3);
  for (y = 0; y < SIZE; y += 4)
    for (x = 0; x < SIZE; x += 4)
      for (c = 0; c < 3; c++) {
        gint sum = 0;

        for (i = 0; i < 4; i++)
          for (j = 0; j < 4; j++)
            sum += a[y + i][x + j][c];
        for (i = 0; i < 4; i++)
          for (j = 0; j < 4; j++)
            b[y + i][x + j][c] = sum / 16 / 6 * 6;
      }
  fail_unless (change () == 0.0, "%g", change ());
}

GST_END_TEST;

/* Something with structure of its own enters: each block that it covers counts. */
GST_START_TEST (test_enters)
{
  gint side, x, y, c;

  for (side = 1; side <= 8; side *= 2) {
    gdouble wanted = side * side * ONE;

    draw_blots (a, 1);
    memcpy (b, a, sizeof b);
    for (y = 0; y < side * BLOCK; y++)
      for (x = 0; x < side * BLOCK; x++)
        for (c = 0; c < 3; c++)
          b[4 * BLOCK + y][5 * BLOCK + x][c] = (x / 8 + y / 8) % 2 ? 200 : 40;
    fail_unless (change () == wanted, "%g, not %g", change (), wanted);
  }
}

GST_END_TEST;

GST_START_TEST (test_flat)
{
  /* On a flat wall a flat thing is seen by its edge or its colour. */
  fill (a, 100, 100, 100);
  fill (b, 100, 100, 100);
  fail_unless (change () == 0.0);
  fill (b, 177, 100, 100);
  fail_unless (change () == 0.0, "77 levels are light");
  fill (b, 178, 100, 100);
  fail_unless (change () == 1.0, "78 levels are another colour");
  /* Colours of the same brightness, 76. */
  fill (a, 255, 0, 0);
  fill (b, 0, 130, 0);
  fail_unless (change () == 1.0);
}

GST_END_TEST;

GST_START_TEST (test_light_bounds)
{
  /* 2 + sqrt (3) is 3.73; with C the bound lies a little higher. */
  gint x, y, c;

  for (y = 0; y < SIZE; y++)
    for (x = 0; x < SIZE; x++)
      for (c = 0; c < 3; c++)
        a[y][x][c] = (x / 8 + y / 8) % 2 ? 66 : 30;
  disturb (3.0, -60.0, 0.0, 0);
  fail_unless (change () == 0.0, "%g", change ());
  disturb (5.5, -130.0, 0.0, 0);
  fail_unless (change () > 0.9, "%g", change ());
}

GST_END_TEST;

GST_START_TEST (test_cut)
{
  draw_blots (a, 1);
  fill (b, 0, 0, 0);
  fail_unless (change () > 0.9, "black is a change of %g", change ());
  disturb (-1.0, 255.0, 0.0, 0);
  fail_unless (change () > 0.9, "a negative is a change of %g", change ());
}

GST_END_TEST;

/* Pictures of any size, down to one pixel. */
GST_START_TEST (test_sizes)
{
  static guint8 rgb[300 * 300 * 3];
  gint size;

  for (size = 1; size <= 300; size = size * 3 / 2 + 1) {
    memset (rgb, 50, sizeof rgb);
    gst_palme_caption_scene_take (&scene_a, rgb, size);
    gst_palme_caption_scene_take (&scene_b, rgb, size);
    fail_unless (gst_palme_caption_scene_change (&scene_a, &scene_b) == 0.0);
    memset (rgb, 250, (gsize) size * size * 3);
    gst_palme_caption_scene_take (&scene_b, rgb, size);
    fail_unless (gst_palme_caption_scene_change (&scene_a, &scene_b) == 1.0,
        "size %d", size);
  }
}

GST_END_TEST;

static gboolean
look (GstPalmeCaptionScenes * scenes, guint8 grey, gdouble threshold)
{
  guint8 rgb[8 * 8 * 3];

  memset (rgb, grey, sizeof rgb);
  return gst_palme_caption_scenes_look (scenes, rgb, 8, threshold);
}

/* What is compared with what. */
GST_START_TEST (test_stream)
{
  static GstPalmeCaptionScenes scenes;

  gst_palme_caption_scenes_reset (&scenes);
  fail_if (look (&scenes, 0, 0.5), "the first one is no cut");
  fail_if (gst_palme_caption_scenes_is_same (&scenes, 0.1));
  gst_palme_caption_scenes_hand_over (&scenes);
  fail_if (gst_palme_caption_scenes_is_same (&scenes, 0.1),
      "its caption has not come");
  gst_palme_caption_scenes_captioned (&scenes);
  fail_unless (gst_palme_caption_scenes_is_same (&scenes, 0.1));
  fail_if (gst_palme_caption_scenes_is_same (&scenes, 0.0), "switched off");

  /* Slow changes are no cuts, and add up. */
  fail_if (look (&scenes, 60, 0.5));
  fail_unless (gst_palme_caption_scenes_is_same (&scenes, 0.1));
  fail_if (look (&scenes, 120, 0.5));
  fail_if (gst_palme_caption_scenes_is_same (&scenes, 0.1));
  fail_if (scenes.cut);

  /* A cut stays one until a frame is handed over. */
  fail_unless (look (&scenes, 255, 0.5));
  fail_if (look (&scenes, 255, 0.5));
  fail_unless (scenes.cut);
  gst_palme_caption_scenes_hand_over (&scenes);
  fail_if (scenes.cut);

  /* A caption that never comes leaves the last one's picture. */
  fail_if (gst_palme_caption_scenes_is_same (&scenes, 0.1));
  fail_unless (look (&scenes, 0, 0.5));
  fail_unless (gst_palme_caption_scenes_is_same (&scenes, 0.1));

  fail_if (look (&scenes, 255, 0.0), "switched off");
  gst_palme_caption_scenes_reset (&scenes);
  fail_if (look (&scenes, 0, 0.5), "nothing is before it");
}

GST_END_TEST;

static gboolean
glimpse (GstPalmeCaptionScenes * scenes, guint8 grey, gdouble threshold)
{
  guint8 rgb[8 * 8 * 3];

  memset (rgb, grey, sizeof rgb);
  return gst_palme_caption_scenes_glimpse (scenes, rgb, 8, threshold);
}

/* A glimpse says whether to look, and the look whether it is a cut. */
GST_START_TEST (test_glimpse)
{
  static GstPalmeCaptionScenes scenes;

  gst_palme_caption_scenes_reset (&scenes);
  fail_unless (glimpse (&scenes, 0, 0.5), "nothing was looked at");
  fail_if (look (&scenes, 0, 0.5));
  fail_if (glimpse (&scenes, 0, 0.5));
  fail_unless (glimpse (&scenes, 255, 0.5));
  fail_if (scenes.cut);
  fail_unless (look (&scenes, 255, 0.5));
  fail_if (glimpse (&scenes, 255, 0.5));
  fail_if (glimpse (&scenes, 0, 0.0), "switched off");
  fail_unless (glimpse (&scenes, 255, 0.5), "what was seen meanwhile counts");

  /* Other pictures from here on. */
  gst_palme_caption_scenes_reset (&scenes);
  fail_unless (glimpse (&scenes, 0, 0.5));
  fail_if (look (&scenes, 0, 0.5));
  fail_if (glimpse (&scenes, 0, 0.5));
}

GST_END_TEST;

static Suite *
scene_suite (void)
{
  Suite *suite = suite_create ("scene");
  TCase *tcase = tcase_create ("all");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_same);
  tcase_add_test (tcase, test_compression);
  tcase_add_test (tcase, test_enters);
  tcase_add_test (tcase, test_flat);
  tcase_add_test (tcase, test_light_bounds);
  tcase_add_test (tcase, test_cut);
  tcase_add_test (tcase, test_sizes);
  tcase_add_test (tcase, test_stream);
  tcase_add_test (tcase, test_glimpse);
  return suite;
}

GST_CHECK_MAIN (scene);
