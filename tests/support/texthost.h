/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * texthost.h - for check_text.c: a bare element with a text pad, and a
 * consumer that records what arrives and can block or refuse. No engine and no video is needed:
 * the tests call gstpalmecaption-textpad.h as the element would.
 */
#ifndef PALME_TEXTHOST_H
#define PALME_TEXTHOST_H

#include <gst/check/gstcheck.h>

#include "gstpalmecaption-textpad.h"

typedef struct
{
  GstElement parent;
  GstPad *sink, *src;
  GstPalmeCaptionTextpad *text;
} TextHost;

GType text_host_get_type (void);

/* A host in a pipeline with a bus, in this state. */
TextHost *host_new (GstState state);
/* The pipeline to NULL and away. */
void host_free (TextHost * host);
void host_set_state (TextHost * host, GstState state);
/* Waits for an error message; the flow of GST_ELEMENT_FLOW_ERROR, or GST_FLOW_OK after `ms`. */
GstFlowReturn host_wait_error (TextHost * host, guint ms);

/* Stream-start (group 7) and, unless NULL, a segment, as the sink pad's handler passes them. */
void host_stream_start (TextHost * host, const gchar * id);
void host_segment (TextHost * host, const GstSegment * segment);
void host_default_segment (TextHost * host);
void host_event (TextHost * host, GstEvent * event);

/* The consumer: an active sink pad without an element. */
typedef struct
{
  GMutex lock;
  GCond cond;
  GstPad *pad;
  GQueue items;                 /* GstBuffer, GstEvent: references */
  GstFlowReturn flow;           /* what the chain function returns */
  gboolean blocked;             /* the chain function waits while TRUE */
  gboolean inside;              /* ... and does so now */
  gint calls;                   /* of the chain function */
  TextHost *poke;               /* asked for its drops from inside the chain: no lock may be held */
} Consumer;

Consumer *consumer_new (void);
void consumer_free (Consumer * consumer);
void consumer_link (Consumer * consumer, GstPad * src);
void consumer_block (Consumer * consumer, gboolean blocked);
/* Until a push is inside the blocked chain function. */
void consumer_wait_inside (Consumer * consumer);
/* Until the chain function has been called so often. */
void consumer_wait_calls (Consumer * consumer, gint calls);
/* The next item; fails the test after five seconds. The caller owns it. */
gpointer consumer_pop (Consumer * consumer);
/* Waits until nothing new has come for `ms`; the number of items that wait. */
guint consumer_settle (Consumer * consumer, guint ms);
void consumer_clear (Consumer * consumer);
/* Takes the next item and describes it: "stream-start", "caps", "segment", "eos", "flush-start",
 * "flush-stop", "gap 0.1 0.1", "cue 0.0 1.0 text" with times in seconds (9 digits, trailing zeros
 * cut). Freed by the caller. */
gchar *consumer_describe (Consumer * consumer);
/* The next item is this. */
#define expect(consumer, wanted)                                      \
  G_STMT_START {                                                      \
    gchar *found_ = consumer_describe (consumer);                     \
    fail_unless_equals_string (found_, wanted);                       \
    g_free (found_);                                                  \
  } G_STMT_END

#endif
