/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * told.h - what a model says about a picture, as one line that two runs can be compared by: the text, the number of
 * tokens and the score to its last bit. For tests of where the engine runs: on small stacks, after a fork, in odd
 * floating-point environments.
 */
#ifndef PALME_TOLD_H
#define PALME_TOLD_H

#include "palme.h"

enum { TOLD_BYTES = 512 };

struct told {
    int status; /* PALME_OK or what failed */
    char line[TOLD_BYTES];
};

/* The names of palme_setup.level, ended by NULL; of those that this machine lacks, told_has_level says so. */
extern const char *const told_levels[];
int told_has_level(const char *level);

/* By a session that is there: a picture of noise, and a prompt if that is not NULL. */
struct told told_by(palme_session *session, const char *prompt);
/* Opens the model and a session, and closes both. */
struct told told_from(const char *path, const struct palme_setup *setup, const struct palme_options *options,
                      const char *prompt);
/* Whether both were told, and the same. */
int told_alike(const struct told *a, const struct told *b);

#endif
