/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * plain.h - what the references in plain C share.
 */
#ifndef PALME_PLAIN_H
#define PALME_PLAIN_H

#include "kernels/kernels.h"

static inline float relu6(float x)
{
    return x < 0 ? 0 : x > 6 ? 6 : x;
}

/* What a layer gives goes to y. */
static inline void store_activated(float *y, float x, enum palme_activation activation)
{
    if (activation == PALME_ACTIVATION_RELU6)
        x = relu6(x);
    *y = activation == PALME_ACTIVATION_ADD ? *y + x : x;
}

#endif
