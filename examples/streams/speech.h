/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * speech.h - a text spoken by the program espeak-ng.
 */
#ifndef PALME_EXAMPLES_SPEECH_H
#define PALME_EXAMPLES_SPEECH_H

#include <gst/gst.h>

/* Samples a second, of one channel, 16 bits. */
#define SPEECH_RATE 22050

typedef struct speech speech;

/* NULL, with `error` set, if espeak-ng is not installed or fails. A voice that it does not know is another to it. */
speech *speech_new(const char *text, const char *voice, int words_per_minute, GError **error);
void speech_free(speech *s);
GstClockTime speech_duration(const speech *s);

/* Writes what is spoken from `offset` on into samples[count]; leaves them alone before the speech and behind it. */
void speech_read(const speech *s, GstClockTimeDiff offset, gint16 *samples, guint count);

#endif
