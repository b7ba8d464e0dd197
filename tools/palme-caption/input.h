/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * input.h - what a name on the command line stands for: a file, a pipe, a URI, a folder.
 */
#ifndef CAPTIONINPUT_H
#define CAPTIONINPUT_H

#include <glib.h>

struct caption_input {
    char *uri;         /* of a file or of what is no file; NULL for a pipe */
    int fd;            /* a file or a pipe, open for reading; -1 for another URI */
    GByteArray *bytes; /* read from fd so far, from the beginning */
    gboolean complete; /* there are no more bytes */
    gboolean is_pipe;  /* reading may wait */
};

/* Opens `item`: a file name in the file system's encoding, "-" for the standard input, or else a URI.
 * What exists as a file is a file, even if it is called "a:b". Of files and pipes the first CAPTION_HEAD
 * bytes are read. FALSE: *why is a sentence, free it with g_free. */
gboolean caption_input_open(struct caption_input *input, const char *item, char **why);

/* Reads the rest into input->bytes, at most `limit` bytes in all. FALSE: *why, as above. */
gboolean caption_input_read_all(struct caption_input *input, guint64 limit, char **why);

void caption_input_close(struct caption_input *input);

/* The path of the folder that `item` names, as a path or as a file URI, to be freed; NULL: it names none. */
char *caption_input_folder(const char *item);

/* The path of the regular file that `item` names, as a path or as a file URI, to be freed; NULL: it names none. */
char *caption_input_path(const char *item);

/* A bare stream has no header: that it is one is a guess by some patterns of bits, which other files have, too. */
enum caption_media { CAPTION_MEDIA_NONE, CAPTION_MEDIA_PHOTO, CAPTION_MEDIA_VIDEO, CAPTION_MEDIA_BARE_VIDEO };

/* What a regular file is, by what it contains. One that cannot be read is taken for a video, so that somebody says why
 * it cannot be. */
enum caption_media caption_input_media(const char *file);

#endif
