/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * allocations.h - counts what the engine's objects allocate and the threads that they start, and lets one of them fail:
 * the linker sends their calls to allocations.c (-Wl,--wrap=malloc and so on, `counted` in meson.build), and those of
 * libraries go where they always went.
 */
#ifndef PALME_ALLOCATIONS_H
#define PALME_ALLOCATIONS_H

extern long allocations;          /* so far, of all threads */
extern long long allocated_bytes; /* so far; what is freed stays counted */
extern long failing_allocation;   /* the one that fails, counted like that from 1; 0: none */

#endif
