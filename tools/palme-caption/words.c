/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * words.c - what GStreamer's messages mean to somebody who wanted a caption.
 *
 * Several elements complain about one fault: the one that found it says what it is, and those around it
 * that the "internal data stream" broke. The most specific message counts, not the first.
 */
#include "words.h"

#include <string.h>

/* How much a message says. */
enum { SAYS_NOTHING, SAYS_LITTLE, SAYS_UNKNOWN, SAYS_WHERE, SAYS_FORMAT, SAYS_PERHAPS, SAYS_MUCH };

/* Which Debian package has the decoder for a type. Most are in libav's. */
static const char *package_for(const char *type)
{
    static const char *const bad[] = { "image/jp2", "image/x-jpc",       "image/x-exr",          "image/webp",
                                       "image/svg", "application/x-hls", "application/dash+xml", "video/x-av1" };
    static const char *const good[] = { "image/png",
                                        "image/jpeg",
                                        "video/x-vp8",
                                        "video/x-vp9",
                                        "multipart/x-mixed-replace",
                                        "video/quicktime",
                                        "video/x-matroska",
                                        "video/webm",
                                        "video/x-flv",
                                        "video/x-msvideo",
                                        "http",
                                        "https" };

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        if (g_str_has_prefix(type, bad[i]))
            return "gstreamer1.0-plugins-bad";
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++)
        if (strcmp(type, good[i]) == 0)
            return "gstreamer1.0-plugins-good";
    if (g_str_has_prefix(type, "video/") || g_str_has_prefix(type, "image/"))
        return "gstreamer1.0-libav";
    return NULL;
}

/* The decoders of sound and text that were not asked for are reported as missing too. */
static void note_missing(struct caption_words *words, const GstStructure *details)
{
    const GValue *detail = gst_structure_get_value(details, "detail");
    const char *type = "";

    if (detail && GST_VALUE_HOLDS_CAPS(detail) && !gst_caps_is_empty(gst_value_get_caps(detail)))
        type = gst_structure_get_name(gst_caps_get_structure(gst_value_get_caps(detail), 0));
    else if (detail && G_VALUE_HOLDS_STRING(detail))
        type = g_value_get_string(detail);
    if (words->missing || g_str_has_prefix(type, "audio/") || g_str_has_prefix(type, "text/") ||
        g_str_has_prefix(type, "subpicture/") || g_str_has_prefix(type, "application/x-id3"))
        return;
    if (g_str_has_prefix(type, "application/") && !package_for(type)) {
        g_free(words->headline);
        words->headline = g_strdup_printf("is no picture or video, but %s", type);
        words->weight = SAYS_MUCH;
        return;
    }
    words->missing = g_strdup(gst_structure_get_string(details, "name"));
    words->package = g_strdup(package_for(type));
}

/* What an element adds for developers: "file.c(12): function (): /path/of:element:" and, on lines of
 * their own, what it knows. The latter, or NULL. */
static const char *substance(const char *debug)
{
    const char *line = debug ? strchr(debug, '\n') : NULL;

    while (line && *line == '\n')
        line++;
    return line && *line ? line : NULL;
}

/* Whether a message comes from what fetches bytes from somewhere else. */
static gboolean is_from_afar(GstMessage *message)
{
    GstObject *source = GST_MESSAGE_SRC(message);
    GstElementFactory *factory;

    if (!GST_IS_ELEMENT(source) || !GST_OBJECT_FLAG_IS_SET(source, GST_ELEMENT_FLAG_SOURCE) || GST_IS_BIN(source))
        return FALSE;
    factory = gst_element_get_factory(GST_ELEMENT(source));
    return factory && strcmp(GST_OBJECT_NAME(factory), "filesrc") != 0 &&
           strcmp(GST_OBJECT_NAME(factory), "appsrc") != 0;
}

void caption_words_note(struct caption_words *words, GstMessage *message)
{
    const GstStructure *details = gst_message_get_structure(message);
    gboolean is_error = GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR;
    GError *error = NULL;
    const char *more, *text;
    char *debug = NULL;
    int weight;

    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT) {
        if (gst_structure_has_name(details, "missing-plugin"))
            note_missing(words, details);
        return;
    }
    if (is_error)
        gst_message_parse_error(message, &error, &debug);
    else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_WARNING)
        gst_message_parse_warning(message, &error, &debug);
    else
        return;
    words->failed |= is_error;
    more = substance(debug);
    text = error->message;
    if (g_error_matches(error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN)) {
        weight = SAYS_NOTHING; /* `missing` says it */
    } else if (g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED) && more &&
               strstr(more, "streaming stopped, reason")) {
        weight = is_from_afar(message) ? SAYS_WHERE : SAYS_LITTLE;
        text = weight == SAYS_WHERE ? "the source gives nothing: nobody answers there, or the connection "
                                      "broke or paused for too long"
                                    : "cannot be decoded";
    } else if (g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED) && more &&
               g_str_has_prefix(text, "Internal data")) {
        weight = is_error ? SAYS_MUCH : SAYS_PERHAPS; /* by the element that knows why */
        text = "cannot be decoded";
    } else if (g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_TYPE_NOT_FOUND) ||
               (more && strstr(more, "Can't typefind"))) {
        /* With nothing to add, there were bytes enough to tell; then the source was stopped by it. */
        weight = more ? SAYS_UNKNOWN : SAYS_FORMAT;
        text = "is no picture or video of a format that GStreamer or gdk-pixbuf knows";
        more = NULL;
    } else {
        weight = is_error ? SAYS_MUCH : SAYS_PERHAPS;
    }
    if (weight > words->weight) {
        g_free(words->headline);
        words->weight = weight;
        words->headline = !more || strstr(text, more) ? g_strdup(text) : g_strdup_printf("%s (%s)", text, more);
    }
    g_clear_error(&error);
    g_free(debug);
}

gboolean caption_words_is_unknown(const struct caption_words *words)
{
    return words->weight == SAYS_UNKNOWN || words->weight == SAYS_FORMAT ||
           (words->missing && words->weight < SAYS_MUCH);
}

char *caption_words_sentence(const struct caption_words *words)
{
    if (words->missing && words->weight < SAYS_MUCH)
        return g_strdup_printf("GStreamer lacks a plugin: %s%s%s", words->missing,
                               words->package ? "; in Debian it may be in the package " : "",
                               words->package ? words->package : "");
    return g_strdup(words->headline ? words->headline : "has no picture in it");
}

void caption_words_clear(struct caption_words *words)
{
    g_free(words->missing);
    g_free(words->package);
    g_free(words->headline);
    memset(words, 0, sizeof *words);
}
