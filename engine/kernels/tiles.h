/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tiles.h - how products are cut into tiles of sums that stay in registers, above all those whose weights are not in
 * single precision. For files that are compiled once per level.
 */
#ifndef PALME_TILES_H
#define PALME_TILES_H

#include "kernels/vec.h"

#include "kernels/kernels.h"

/* n lanes of what a layer gives go to y. */
static inline void store_activated(float *y, vf x, int n, enum palme_activation activation)
{
    if (activation == PALME_ACTIVATION_RELU6)
        x = vf_relu6(x);
    else if (activation == PALME_ACTIVATION_ADD)
        x = vf_add(x, vf_load_n(y, n));
    vf_store_n(y, x, n);
}

enum {
    PARTS = PALME_PANEL / VF, /* vectors of sums of a panel */
    MOST_ROWS = 6,            /* of a tile */
    MOST_PANELS = 8 / PARTS > 4 ? 8 / PARTS : 4
};

/* The rows that are left below a tile of `most`: TILE(number), the number a constant. */
#define REST_OF_ROWS(rows, most, TILE)                                                                                 \
    switch (rows) {                                                                                                    \
    case 5:                                                                                                            \
        if ((most) > 5)                                                                                                \
            TILE(5);                                                                                                   \
        break;                                                                                                         \
    case 4:                                                                                                            \
        if ((most) > 4)                                                                                                \
            TILE(4);                                                                                                   \
        break;                                                                                                         \
    case 3:                                                                                                            \
        if ((most) > 3)                                                                                                \
            TILE(3);                                                                                                   \
        break;                                                                                                         \
    case 2:                                                                                                            \
        if ((most) > 2)                                                                                                \
            TILE(2);                                                                                                   \
        break;                                                                                                         \
    case 1: TILE(1); break;                                                                                            \
    default: break;                                                                                                    \
    }

/* A single row takes `wide` panels at a time, and not neighbours: the whole panels are cut into as many parts, and the
 * first panels of each part go together, then the next ones. What is read is then as many long streams, which the
 * processor foresees. Returns how many panels are in a part, 0 if there are several rows. (Measured on Zen 3 with the
 * weights of a step in int8, four panels at a time: 1.08 times the bytes a second of neighbours.) */
static inline int panel_stride(int rows, int out, int wide)
{
    return rows == 1 ? out / PALME_PANEL / wide : 0;
}

/* All outputs from `first` on, `panels` at a time and what is left one by one. `outs` is how many of these outputs
 * exist. */
#define EACH_PANEL(panels, TILES, TILE)                                                                                \
    for (; (panels) > 1 && out - first > ((panels)-1) * PALME_PANEL; first += (panels)*PALME_PANEL) {                  \
        int outs = out - first < (panels)*PALME_PANEL ? out - first : (panels)*PALME_PANEL;                            \
        TILES;                                                                                                         \
    }                                                                                                                  \
    for (; first < out; first += PALME_PANEL) {                                                                        \
        int outs = out - first < PALME_PANEL ? out - first : PALME_PANEL;                                              \
        TILE;                                                                                                          \
    }

#endif
