/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * floats.h - the floating-point environment that the engine computes in: rounding to nearest, subnormals as they are,
 * no traps. A host may have set another, and finds it as it left it, its flags included. Whatever is called from
 * outside, and whatever runs in a thread, stands between these two; they may be nested.
 */
#ifndef PALME_FLOATS_H
#define PALME_FLOATS_H

#include <fenv.h>

struct palme_floats {
    fenv_t host;
};

/* Both are calls, so that the compiler moves no arithmetic across them. */
void palme_floats_enter(struct palme_floats *floats);
void palme_floats_leave(const struct palme_floats *floats);

#endif
