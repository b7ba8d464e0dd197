/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sink.h - where captions go: a list of lines, files beside the inputs, or a search index.
 *
 * All calls are made in the order of the inputs, one at a time.
 */
#ifndef CAPTIONSINK_H
#define CAPTIONSINK_H

#include "walk.h"

enum caption_sink_status {
    CAPTION_SINK_FINE,
    CAPTION_SINK_FAILED,   /* of this input nothing can be written; *why */
    CAPTION_SINK_BROKEN,   /* nothing further can be written; *why */
    CAPTION_SINK_NO_READER /* nobody reads any more; it needs no words */
};

struct caption_sink {
    gboolean videos_only; /* photos have nothing to be written */

    /* Whether an input is to be captioned. It is asked when the input is taken, in the order of the inputs, but before
     * those in front of it are done. */
    enum caption_sink_status (*wants)(struct caption_sink *sink, const struct caption_entry *entry, gboolean *wanted,
                                      char **why);
    /* What is said of a picture of the input. */
    enum caption_sink_status (*add)(struct caption_sink *sink, const struct caption_entry *entry,
                                    const struct caption_result *result, char **why);
    /* The end of an input that was wanted; its last frame ends at `end` ns, -1 if that is unknown. Not `ok`: it could
     * not be read to its end, or at all. */
    enum caption_sink_status (*end)(struct caption_sink *sink, const struct caption_entry *entry, gint64 end,
                                    gboolean ok, char **why);
    /* The end of a folder that was listed without an error; may be NULL. */
    enum caption_sink_status (*leave)(struct caption_sink *sink, const struct caption_folder *folder, char **why);
    /* The end of the run; `complete`: all inputs were gone through. It is called after an error too. */
    enum caption_sink_status (*finish)(struct caption_sink *sink, gboolean complete, char **why);
    void (*free)(struct caption_sink *sink);
};

/* Each opens a sink; NULL after a complaint. `settings` must outlive it. */
struct caption_sink *caption_list_new(const struct caption_settings *settings);
struct caption_sink *caption_beside_new(const struct caption_settings *settings);
/* `model` is the SHA-256 of the model file. Without SQLite the complaint says so. */
struct caption_sink *caption_index_new(const struct caption_settings *settings, const char *model);

#endif
