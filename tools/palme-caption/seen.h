/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * seen.h - a set of strings that keeps 16 bytes of each: enough to know one again, not what it was.
 *
 * A million names take 32 MB or less. Two names are taken for one with a probability of 2^-128 times their pairs.
 */
#ifndef CAPTIONSEEN_H
#define CAPTIONSEEN_H

#include <glib.h>

struct caption_seen {
    guint64 (*slots)[2]; /* [capacity], a power of two; zeros are a free slot */
    gsize capacity, count;
};

/* Zero is an empty set. Returns whether the string of `size` bytes was new. */
gboolean caption_seen_add(struct caption_seen *seen, const char *text, gsize size);
gboolean caption_seen_has(const struct caption_seen *seen, const char *text, gsize size);
void caption_seen_clear(struct caption_seen *seen);

#endif
