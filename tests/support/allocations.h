/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * allocations.h - counts what the engine's objects allocate: the linker sends their calls to allocations.c
 * (-Wl,--wrap=malloc and so on), and those of libraries go where they always went.
 */
#ifndef PALME_ALLOCATIONS_H
#define PALME_ALLOCATIONS_H

extern long allocations; /* so far, of all threads */

#endif
