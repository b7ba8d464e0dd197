/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * hls.c - writes segments and playlists. A playlist takes the place of the last one at once (rename), so that nobody
 * reads half of it. In a live stream a segment's files stay for as long as somebody may still fetch them who has read
 * the last playlist that names them.
 */
#include "hls.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

struct cue {
    GstClockTime begin, end;
    char *text;
};

struct segment {
    guint number;
    double seconds;
};

struct hls {
    char *folder, *codec;
    guint window, target; /* target: the largest duration that a playlist may name, in seconds */
    int width, height;
    GArray *segments; /* those in the playlists */
    GArray *cues;     /* that end after the last segment */
    guint next;       /* number of the next segment */
    guint64 bandwidth;
    gboolean ended;
};

static void cue_clear(gpointer data)
{
    g_free(((struct cue *)data)->text);
}

struct hls *hls_new(const struct hls_options *options, char **why)
{
    struct hls *hls;

    if (g_mkdir_with_parents(options->folder, 0777) < 0) {
        *why = g_strdup_printf("%s: %s", options->folder, g_strerror(errno));
        return NULL;
    }
    hls = g_new0(struct hls, 1);
    hls->folder = g_strdup(options->folder);
    hls->window = options->window;
    /* The duration named in a live playlist must not change, and a late frame may make a segment longer. */
    hls->target = options->window ? options->segment_seconds + 1 : 1;
    hls->segments = g_array_new(FALSE, FALSE, sizeof(struct segment));
    hls->cues = g_array_new(FALSE, FALSE, sizeof(struct cue));
    g_array_set_clear_func(hls->cues, cue_clear);
    return hls;
}

void hls_free(struct hls *hls)
{
    if (!hls)
        return;
    g_array_unref(hls->segments);
    g_array_unref(hls->cues);
    g_free(hls->folder);
    g_free(hls->codec);
    g_free(hls);
}

void hls_set_video(struct hls *hls, const char *codec, int width, int height)
{
    g_free(hls->codec);
    hls->codec = g_strdup(codec);
    hls->width = width;
    hls->height = height;
}

/* ---- Files -------------------------------------------------------------------------------------- */

/* Writes a file that takes the place of an older one at once. */
static gboolean write_file(const struct hls *hls, const char *name, const void *bytes, gsize size, char **why)
{
    char *path = g_build_filename(hls->folder, name, NULL);
    GError *error = NULL;
    gboolean fine = g_file_set_contents_full(path, bytes, (gssize)size, G_FILE_SET_CONTENTS_CONSISTENT, 0666, &error);

    if (!fine) {
        *why = g_strdup(error->message);
        g_error_free(error);
    }
    g_free(path);
    return fine;
}

static gboolean write_text(const struct hls *hls, const char *name, GString *text, char **why)
{
    gboolean fine = write_file(hls, name, text->str, text->len, why);

    g_string_free(text, TRUE);
    return fine;
}

static void remove_segment(const struct hls *hls, guint number)
{
    char *names[] = { g_strdup_printf("video-%u.m4s", number), g_strdup_printf("captions-%u.vtt", number) };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        char *path = g_build_filename(hls->folder, names[i], NULL);

        g_unlink(path);
        g_free(path);
        g_free(names[i]);
    }
}

/* ---- Playlists ---------------------------------------------------------------------------------- */

/* Numbers are written with a point, whatever the language. */
static void append_seconds(GString *text, double seconds)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    g_string_append_printf(text, "#EXTINF:%s,\n", g_ascii_formatd(number, sizeof number, "%.6f", seconds));
}

static gboolean write_playlist(const struct hls *hls, const char *name, const char *map, const char *prefix,
                               const char *suffix, char **why)
{
    GString *text = g_string_new("#EXTM3U\n#EXT-X-VERSION:7\n");
    guint i, first = hls->segments->len ? g_array_index(hls->segments, struct segment, 0).number : 0;

    g_string_append_printf(text, "#EXT-X-TARGETDURATION:%u\n#EXT-X-MEDIA-SEQUENCE:%u\n", hls->target, first);
    if (!hls->window)
        g_string_append_printf(text, "#EXT-X-PLAYLIST-TYPE:%s\n", hls->ended ? "VOD" : "EVENT");
    if (map)
        g_string_append_printf(text, "#EXT-X-MAP:URI=\"%s\"\n", map);
    for (i = 0; i < hls->segments->len; i++) {
        const struct segment *segment = &g_array_index(hls->segments, struct segment, i);

        append_seconds(text, segment->seconds);
        g_string_append_printf(text, "%s%u%s\n", prefix, segment->number, suffix);
    }
    if (hls->ended)
        g_string_append(text, "#EXT-X-ENDLIST\n");
    return write_text(hls, name, text, why);
}

static gboolean write_master(const struct hls *hls, char **why)
{
    GString *text = g_string_new("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");

    g_string_append(text,
                    "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"captions\",NAME=\"Captions\",LANGUAGE=\"en\",DEFAULT=YES,"
                    "AUTOSELECT=YES,URI=\"captions.m3u8\"\n");
    g_string_append_printf(text, "#EXT-X-STREAM-INF:BANDWIDTH=%" G_GUINT64_FORMAT ",RESOLUTION=%dx%d", hls->bandwidth,
                           hls->width, hls->height);
    if (hls->codec)
        g_string_append_printf(text, ",CODECS=\"%s\"", hls->codec);
    g_string_append(text, ",SUBTITLES=\"captions\"\nvideo.m3u8\n");
    return write_text(hls, "master.m3u8", text, why);
}

static gboolean write_playlists(const struct hls *hls, char **why)
{
    return write_playlist(hls, "video.m3u8", "init.mp4", "video-", ".m4s", why) &&
           write_playlist(hls, "captions.m3u8", NULL, "captions-", ".vtt", why);
}

/* ---- Captions ------------------------------------------------------------------------------------- */

void hls_add_cue(struct hls *hls, GstClockTime begin, GstClockTime end, const char *text)
{
    struct cue cue = { begin, end, NULL };

    if (end <= begin || !text[0])
        return;
    if (hls->cues->len) {
        struct cue *last = &g_array_index(hls->cues, struct cue, hls->cues->len - 1);

        /* The element cuts a long caption into slices. Between them is up to a millisecond where the times of the
         * frames are in milliseconds. */
        if (begin <= last->end + GST_MSECOND && strcmp(last->text, text) == 0) {
            last->end = end;
            return;
        }
    }
    cue.text = g_strdup(text);
    g_array_append_val(hls->cues, cue);
}

static guint64 in_ms(GstClockTime time)
{
    return gst_util_uint64_scale_round(time, 1, GST_MSECOND);
}

static void append_time(GString *text, guint64 ms)
{
    g_string_append_printf(text, "%02u:%02u:%02u.%03u", (guint)(ms / 3600000), (guint)(ms / 60000 % 60),
                           (guint)(ms / 1000 % 60), (guint)(ms % 1000));
}

/* The captions shown from `begin` to `end`. One that goes on in the next segment is cut, and goes on there: each
 * segment can be played alone. Times are media times, which is what X-TIMESTAMP-MAP says. */
static gboolean write_captions(struct hls *hls, guint number, GstClockTime begin, GstClockTime end, char **why)
{
    GString *text = g_string_new("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n");
    char *name = g_strdup_printf("captions-%u.vtt", number);
    gboolean fine;
    guint i;

    for (i = 0; i < hls->cues->len; i++) {
        const struct cue *cue = &g_array_index(hls->cues, struct cue, i);
        guint64 from = in_ms(MAX(cue->begin, begin)), to = in_ms(MIN(cue->end, end));
        char *escaped;

        if (from >= to)
            continue;
        escaped = g_markup_escape_text(cue->text, -1);
        g_string_append_c(text, '\n');
        append_time(text, from);
        g_string_append(text, " --> ");
        append_time(text, to);
        g_string_append_printf(text, "\n%s\n", escaped);
        g_free(escaped);
    }
    while (hls->cues->len && g_array_index(hls->cues, struct cue, 0).end <= end)
        g_array_remove_index(hls->cues, 0);
    fine = write_text(hls, name, text, why);
    g_free(name);
    return fine;
}

/* ---- Segments ----------------------------------------------------------------------------------- */

gboolean hls_write_init(struct hls *hls, const guint8 *bytes, gsize size, char **why)
{
    return write_file(hls, "init.mp4", bytes, size, why);
}

gboolean hls_add_segment(struct hls *hls, GstClockTime begin, GstClockTime end, const guint8 *bytes, gsize size,
                         char **why)
{
    struct segment segment = { hls->next, (double)(end - begin) / GST_SECOND };
    char *name = g_strdup_printf("video-%u.m4s", segment.number);
    guint64 bandwidth = (guint64)ceil((double)size * 8 / MAX(segment.seconds, 0.001));
    gboolean fine = write_file(hls, name, bytes, size, why) && write_captions(hls, segment.number, begin, end, why);

    g_free(name);
    if (!fine)
        return FALSE;
    hls->next++;
    g_array_append_val(hls->segments, segment);
    if (!hls->window)
        hls->target = MAX(hls->target, (guint)round(segment.seconds));
    if (hls->window && hls->segments->len > hls->window)
        g_array_remove_index(hls->segments, 0);
    /* Whoever has the playlist before this one may fetch what it names, for as long as that playlist is. */
    if (hls->window && hls->next > 2 * hls->window + 1)
        remove_segment(hls, hls->next - 2 * hls->window - 2);
    if (!write_playlists(hls, why))
        return FALSE;
    if (bandwidth <= hls->bandwidth)
        return TRUE;
    hls->bandwidth = bandwidth;
    return write_master(hls, why);
}

gboolean hls_end(struct hls *hls, char **why)
{
    hls->ended = TRUE;
    return write_playlists(hls, why);
}
