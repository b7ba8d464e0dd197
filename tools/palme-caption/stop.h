/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * stop.h - SIGINT, SIGTERM and SIGHUP: the run ends between two pictures. A second one ends the process at once.
 *
 * A signal is for the process, and so is this state.
 */
#ifndef CAPTIONSTOP_H
#define CAPTIONSTOP_H

#include <glib.h>

/* Begins to watch for the signals, on a thread of its own. Call it before other threads are started: those that
 * exist do not leave the signals to it. Signals that the parent has ignored stay so. */
void caption_stop_watch(void);

/* Whether the run shall end. */
gboolean caption_stopped(void);

/* Ends the run without a signal: nothing further can be done. Who waits for an input, waits no more. */
void caption_stop(void);

/* Waits until `fd` can be read, as a regular file always can, but for some of the kernel. FALSE: the run shall end. */
gboolean caption_stop_wait(int fd);

/* Ends the process by the signal that ended the run, so that a shell knows; returns if there was none. */
void caption_stop_end(void);

#endif
