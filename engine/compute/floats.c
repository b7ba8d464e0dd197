/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * floats.c - the floating-point environment that the engine computes in.
 */
#include "compute/floats.h"

void palme_floats_enter(struct palme_floats *floats)
{
    fegetenv(&floats->host);
    fesetenv(FE_DFL_ENV);
}

void palme_floats_leave(const struct palme_floats *floats)
{
    fesetenv(&floats->host);
}
