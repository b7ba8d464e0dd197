/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "source.h"

/* ELEMENT PROPERTY="VALUE" TAIL, with the value quoted as gst-launch reads it. */
static char *with_value(const char *begin, const char *value, const char *tail)
{
    char **parts = g_strsplit(value, "\\", -1);
    char *backslashes = g_strjoinv("\\\\", parts);
    g_strfreev(parts);
    parts = g_strsplit(backslashes, "\"", -1);
    char *quoted = g_strjoinv("\\\"", parts);
    g_strfreev(parts);
    char *all = g_strconcat(begin, "\"", quoted, "\"", tail, NULL);
    g_free(backslashes);
    g_free(quoted);
    return all;
}

/* TRUE if the first word is the name of an installed element. */
static gboolean is_pipeline(const char *name)
{
    char **words = g_strsplit_set(name, " \t", 2);
    GstElementFactory *factory = words[0] ? gst_element_factory_find(words[0]) : NULL;

    g_strfreev(words);
    if (!factory)
        return FALSE;
    gst_object_unref(factory);
    return TRUE;
}

char *source_describe(const char *name, GError **error)
{
    if (!name)
        return g_strdup("videotestsrc is-live=true pattern=ball ! "
                        "video/x-raw,width=640,height=360,framerate=15/1");
    /* decodebin, since webcams give their large pictures as JPEG only. */
    if (g_str_has_prefix(name, "/dev/"))
        return with_value("v4l2src device=", name, " ! decodebin");
    if (g_file_test(name, G_FILE_TEST_EXISTS))
        return with_value("filesrc location=", name, " ! decodebin");
    if (gst_uri_is_valid(name))
        return with_value("uridecodebin uri=", name, "");
    if (is_pipeline(name))
        return g_strdup(name);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "%s: there is no such file, it is no address, and no pipeline that begins with an element", name);
    return NULL;
}

gboolean source_check(char **names, int port, int least, GError **error)
{
    if (names && names[0] && names[1])
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "one source is what it takes, not %s as well; a pipeline is one word, in quotes", names[1]);
    else if (port < least || port > G_MAXUINT16)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--port has to be from %d to 65535, not %d", least,
                    port);
    else
        return TRUE;
    return FALSE;
}
