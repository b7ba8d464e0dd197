/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * processors.h - how many processors this process may use. palme_processors() in palme.h is the answer for everyone.
 */
#ifndef PALME_PROCESSORS_H
#define PALME_PROCESSORS_H

/* What the control groups of this process allow, in processors, rounded up; 0: they set no limit, or say nothing.
 * `root` stands before /proc and before the mount points; it is "" for the machine itself and a folder in tests. */
int palme_processors_quota(const char *root);

#endif
