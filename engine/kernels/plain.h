/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * plain.h - what the references of products in plain C share.
 */
#ifndef PALME_PLAIN_H
#define PALME_PLAIN_H

#include "kernels/kernels.h"

/* What a layer gives goes to y. */
static inline void store_activated(float *y, float x, enum palme_activation activation)
{
    if (activation == PALME_ACTIVATION_RELU6)
        x = x < 0 ? 0 : x > 6 ? 6 : x;
    *y = activation == PALME_ACTIVATION_ADD ? *y + x : x;
}

#endif
