/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * jobs.h - a run: several threads read and caption an input each, and their captions are written in the order of the
 * inputs.
 */
#ifndef CAPTIONJOBS_H
#define CAPTIONJOBS_H

#include "engine.h"
#include "sink.h"

/* How many inputs at a time, by the settings and the processors. */
int caption_jobs_count(const struct caption_settings *settings);

/* Goes through all inputs; the exit status. The sink is finished, not freed. */
int caption_jobs_run(struct caption_engine *engine, struct caption_walk *walk, struct caption_sink *sink, int jobs);

#endif
