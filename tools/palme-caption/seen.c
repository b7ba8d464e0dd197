/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * seen.c - a set of strings by their digests: open addressing, at most three quarters full.
 */
#include "seen.h"

#include <string.h>

/* The first 16 bytes of the SHA-256, never all zero. */
static void digest_of(guint64 digest[2], const char *text, gsize size)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    guint8 bytes[32];
    gsize length = sizeof bytes;

    g_checksum_update(sum, (const guchar *)text, (gssize)size);
    g_checksum_get_digest(sum, bytes, &length);
    g_checksum_free(sum);
    memcpy(digest, bytes, 16);
    if (digest[0] == 0 && digest[1] == 0)
        digest[1] = 1;
}

/* Where a digest is, or the free slot where it would be. */
static guint64 *slot_of(const struct caption_seen *seen, const guint64 digest[2])
{
    gsize at = (gsize)digest[0] & (seen->capacity - 1);

    while ((seen->slots[at][0] || seen->slots[at][1]) &&
           (seen->slots[at][0] != digest[0] || seen->slots[at][1] != digest[1]))
        at = (at + 1) & (seen->capacity - 1);
    return seen->slots[at];
}

static void grow(struct caption_seen *seen)
{
    struct caption_seen larger = { .capacity = seen->capacity ? seen->capacity * 2 : 64, .count = seen->count };

    larger.slots = g_malloc0_n(larger.capacity, sizeof *larger.slots);
    for (gsize i = 0; i < seen->capacity; i++)
        if (seen->slots[i][0] || seen->slots[i][1])
            memcpy(slot_of(&larger, seen->slots[i]), seen->slots[i], sizeof *larger.slots);
    g_free(seen->slots);
    *seen = larger;
}

gboolean caption_seen_add(struct caption_seen *seen, const char *text, gsize size)
{
    guint64 digest[2], *slot;

    digest_of(digest, text, size);
    if ((seen->count + 1) * 4 > seen->capacity * 3)
        grow(seen);
    slot = slot_of(seen, digest);
    if (slot[0] || slot[1])
        return FALSE;
    memcpy(slot, digest, sizeof digest);
    seen->count++;
    return TRUE;
}

gboolean caption_seen_has(const struct caption_seen *seen, const char *text, gsize size)
{
    guint64 digest[2], *slot;

    if (!seen->capacity)
        return FALSE;
    digest_of(digest, text, size);
    slot = slot_of(seen, digest);
    return slot[0] || slot[1];
}

void caption_seen_clear(struct caption_seen *seen)
{
    g_free(seen->slots);
    *seen = (struct caption_seen){ 0 };
}
