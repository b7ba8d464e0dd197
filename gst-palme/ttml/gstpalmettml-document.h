/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstpalmettml-document.h - cues collected, and EBU-TT-D documents (EBU Tech 3380) made of them. No
 * pads, no threads.
 */
#ifndef GST_PALME_TTML_DOCUMENT_H
#define GST_PALME_TTML_DOCUMENT_H

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct
{
  GQueue cues;                  /* private: in order, without overlap */
  guint number;                 /* of the next paragraph, so that no id comes twice in a stream */
} GstPalmeTtmlCues;

/* Forgets all cues. On zeroed memory it is the constructor; it leaves nothing to free. */
void gst_palme_ttml_cues_reset (GstPalmeTtmlCues * cues);

/* Adds a cue, in media time; `end` may be NONE: until the next one. Text may be anything; its line breaks
 * are kept. A cue ends at the latest when the next one begins; one that goes on with the same text
 * is one cue; an empty text ends the one before. */
void gst_palme_ttml_cues_add (GstPalmeTtmlCues * cues, const gchar * text, GstClockTime begin,
    GstClockTime end);

/* Makes a document of what is seen between `begin` and `end` and forgets what ended by then. Cues are
 * cut at both. `language` is a tag such as "en" or "". Returns UTF-8 of a whole XML document, to be freed. */
gchar *gst_palme_ttml_cues_document (GstPalmeTtmlCues * cues, const gchar * language,
    GstClockTime begin, GstClockTime end);

G_END_DECLS

#endif
