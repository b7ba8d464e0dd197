/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmecaption-spread.c - spreads the elements of a process over the interval.
 *
 * Multiples of the golden ratio, without their whole part, fill an interval evenly for any number of them:
 * each new one falls into one of the largest gaps. So nobody has to move when an element starts or stops.
 */
#include "gstpalmecaption-spread.h"

#include <math.h>

#define GOLDEN 0.6180339887498949

static GMutex lock;
static GByteArray *taken;       /* 1 for each place that is */

guint
gst_palme_caption_spread_enter (void)
{
  const guint8 one = 1;
  guint place = 0;

  g_mutex_lock (&lock);
  if (taken == NULL)
    taken = g_byte_array_new ();
  while (place < taken->len && taken->data[place])
    place++;
  if (place == taken->len)
    g_byte_array_append (taken, &one, 1);
  taken->data[place] = 1;
  g_mutex_unlock (&lock);
  return place + 1;
}

void
gst_palme_caption_spread_leave (guint place)
{
  if (place == 0)
    return;
  g_mutex_lock (&lock);
  taken->data[place - 1] = 0;
  while (taken->len > 0 && !taken->data[taken->len - 1])
    g_byte_array_set_size (taken, taken->len - 1);
  if (taken->len == 0) {
    g_byte_array_unref (taken);
    taken = NULL;
  }
  g_mutex_unlock (&lock);
}

gdouble
gst_palme_caption_spread_part (guint place)
{
  gdouble multiple = place > 0 ? (place - 1) * GOLDEN : 0.0;

  return multiple - floor (multiple);
}
