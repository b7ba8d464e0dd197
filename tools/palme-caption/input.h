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

/* Appends the regular files in a folder and in the folders below it to `files`, as new strings, in the
 * order of their names' bytes. Names that begin with a dot and links to folders are left out. FALSE:
 * *why says what could not be read; what could be read was appended. */
gboolean caption_input_list(GPtrArray *files, const char *folder, char **why);

/* Whether a regular file is a picture or a video, by what it contains. One that cannot be read is
 * taken for one, so that somebody says why it cannot be. */
gboolean caption_input_is_media(const char *file);

#endif
