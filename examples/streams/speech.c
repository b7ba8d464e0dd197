/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "speech.h"

#include <gio/gio.h>
#include <string.h>

struct speech {
    GBytes *wave;
    const gint16 *samples;
    gsize count;
};

/* Where the samples of a RIFF file begin, or NULL. The lengths in it are wrong when it comes through a pipe. */
static const guint8 *find_samples(const guint8 *data, gsize length)
{
    gsize at = 12;

    if (length < at || memcmp(data, "RIFF", 4) || memcmp(data + 8, "WAVE", 4))
        return NULL;
    while (at + 8 <= length) {
        guint32 size = GUINT32_FROM_LE(*(const guint32 *)(const void *)(data + at + 4));
        if (!memcmp(data + at, "data", 4))
            return data + at + 8;
        if (!memcmp(data + at, "fmt ", 4)) {
            /* The format is PCM of one channel, SPEECH_RATE, 16 bits. */
            guint8 wanted[] = { 1, 0, 1, 0, SPEECH_RATE & 255, SPEECH_RATE >> 8, 0, 0 };
            if (size < 16 || at + 24 > length || memcmp(data + at + 8, wanted, sizeof(wanted)) || data[at + 22] != 16)
                return NULL;
        }
        at += 8 + (gsize)size;
    }
    return NULL;
}

speech *speech_new(const char *text, const char *voice, int words_per_minute, GError **error)
{
    char *speed = g_strdup_printf("%d", words_per_minute);
    GSubprocess *process = g_subprocess_new(G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                                G_SUBPROCESS_FLAGS_STDERR_SILENCE,
                                            error, "espeak-ng", "-v", voice, "-s", speed, "--stdin", "--stdout", NULL);
    GBytes *in = g_bytes_new(text, strlen(text)), *out = NULL;
    speech *s = NULL;

    if (process && g_subprocess_communicate(process, in, NULL, &out, NULL, error)) {
        gsize length = 0;
        const guint8 *data = g_bytes_get_data(out, &length), *samples = find_samples(data, length);
        if (samples && g_subprocess_get_successful(process)) {
            s = g_new0(speech, 1);
            s->wave = g_bytes_ref(out);
            s->samples = (const gint16 *)(const void *)samples;
            s->count = (length - (gsize)(samples - data)) / sizeof(*s->samples);
        } else
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "espeak-ng gave no speech with the voice %s", voice);
    }
    g_bytes_unref(in);
    g_clear_pointer(&out, g_bytes_unref);
    g_clear_object(&process);
    g_free(speed);
    return s;
}

void speech_free(speech *s)
{
    g_bytes_unref(s->wave);
    g_free(s);
}

GstClockTime speech_duration(const speech *s)
{
    return gst_util_uint64_scale(s->count, GST_SECOND, SPEECH_RATE);
}

void speech_read(const speech *s, GstClockTimeDiff offset, gint16 *samples, guint count)
{
    gint64 first = offset * SPEECH_RATE / (gint64)GST_SECOND;

    for (guint i = 0; i < count; i++)
        if (first + i >= 0 && first + i < (gint64)s->count)
            samples[i] = GINT16_FROM_LE(s->samples[first + i]);
}
