/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * jobs.c - a run: several threads read and caption, and their captions are written in the order of the inputs.
 *
 * A thread takes an input, and a place at the end of a queue with it. What it says of the pictures waits in that place
 * until all places before it are done; whoever finds the first place with something to write writes it. Who is too far
 * ahead waits, so that the memory of a run does not grow with it.
 */
#include "jobs.h"
#include "complain.h"
#include "input.h"
#include "progress.h"
#include "stop.h"

#include <string.h>

/* Inputs that may be taken before the first of them is done, for each thread. */
#define AHEAD 16
/* Captions that may wait for their turn; a photo has one, whatever waits. */
#define MOST_WAITING 10000

/* A place in the queue. */
struct place {
    struct caption_entry entry;
    GQueue results;          /* struct caption_result * */
    gint64 end;              /* of a video, ns */
    char *why;               /* it could not be read; NULL: all went well so far */
    gboolean done;           /* nothing more comes */
    gboolean known;          /* the sink does not want it */
    gboolean cut;            /* a signal ended it */
    gboolean dropped;        /* the sink cannot write it */
    gboolean hopeless;       /* no other input can succeed either */
    gboolean decoded;        /* it had a frame */
    gboolean skipped, photo; /* it is no media; it is a photo and photos are not wanted */
};

struct run {
    struct caption_engine *engine;
    struct caption_walk *walk;
    struct caption_sink *sink;
    int jobs;

    GMutex taking; /* the walk, which may wait */

    GMutex lock; /* all of the rest, and the sink */
    GCond moved; /* the queue is shorter, or the run ends */
    GQueue queue;
    guint waiting; /* results in the queue */
    guint64 failed, inputs;
    gboolean some_failed; /* an input, or a folder without one */
    gboolean ended;       /* nothing further is to be done: */
    gboolean giving_up;   /* because nothing can succeed */
    struct caption_progress progress;
};

/* ---- Writing, under the lock ---------------------------------------------------------------- */

/* Nothing further is to be done; a thread may wait for an input that never comes. */
static void end_run(struct run *run)
{
    run->ended = TRUE;
    caption_stop();
}

/* Whether the sink has done it; a failure is said. Frees *reason. */
static gboolean wrote(struct run *run, struct place *place, enum caption_sink_status status, char **reason)
{
    char *why = g_steal_pointer(reason);

    switch (status) {
    case CAPTION_SINK_FINE: return TRUE;
    case CAPTION_SINK_FAILED:
        if (!place->why)
            place->why = g_steal_pointer(&why);
        place->dropped = TRUE;
        break;
    case CAPTION_SINK_BROKEN:
        caption_progress_wipe(&run->progress);
        caption_complain(NULL, "%s", why);
        run->giving_up = TRUE;
        end_run(run);
        break;
    case CAPTION_SINK_NO_READER: end_run(run); break;
    }
    g_free(why);
    return FALSE;
}

static void deliver_results(struct run *run, struct place *place)
{
    struct caption_result *result;

    while (!run->ended && (result = g_queue_pop_head(&place->results))) {
        char *why = NULL;

        run->waiting--;
        if (run->progress.shared)
            caption_progress_wipe(&run->progress);
        if (!place->dropped)
            wrote(run, place, run->sink->add(run->sink, &place->entry, result, &why), &why);
        caption_progress_show(&run->progress, place->entry.name, result->time);
        caption_result_free(result);
    }
}

/* What was in a folder. */
static void end_folder(struct run *run, struct place *place)
{
    const struct caption_folder *folder = place->entry.folder;
    char *why = NULL;

    caption_progress_wipe(&run->progress);
    if (folder->skipped == folder->files && !folder->failed) {
        caption_complain(folder->name, "has no picture or video in it");
        run->some_failed = TRUE;
    } else if (folder->skipped > 0) {
        caption_complain(folder->name,
                         "skipped %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                         " files, which are neither pictures nor videos",
                         folder->skipped, folder->files);
    }
    if (folder->photos > 0)
        caption_complain(folder->name, "left out %" G_GUINT64_FORMAT " photos: subtitles are for videos",
                         folder->photos);
    if (run->sink->leave && !folder->failed && !wrote(run, place, run->sink->leave(run->sink, folder, &why), &why))
        run->some_failed = TRUE;
}

static void end_input(struct run *run, struct place *place)
{
    struct caption_folder *folder = place->entry.folder;
    char *why = NULL;

    run->inputs++;
    run->progress.done++;
    if (place->skipped || place->photo) {
        if (folder && place->skipped)
            folder->skipped++;
        else if (folder)
            folder->photos++;
        wrote(run, place, run->sink->end(run->sink, &place->entry, -1, FALSE, &why), &why);
        return;
    }
    run->progress.worked += !place->known;
    if (!place->known)
        wrote(run, place, run->sink->end(run->sink, &place->entry, place->end, !place->why, &why), &why);
    if (!place->why)
        return;
    caption_progress_wipe(&run->progress);
    caption_complain(place->entry.name, "%s", place->why);
    run->failed++;
    run->some_failed = TRUE;
    if (place->hopeless) {
        run->giving_up = TRUE;
        end_run(run);
    }
}

static void place_free(struct place *place)
{
    struct caption_result *result;

    while ((result = g_queue_pop_head(&place->results)))
        caption_result_free(result);
    caption_entry_clear(&place->entry);
    g_free(place->why);
    g_free(place);
}

/* Writes what is at its turn. */
static void drain(struct run *run)
{
    struct place *place;

    while (!run->ended && (place = g_queue_peek_head(&run->queue))) {
        deliver_results(run, place);
        if (!place->done || place->cut || run->ended)
            break;
        if (place->entry.kind == CAPTION_ENTRY_FOLDER_END) {
            end_folder(run, place);
        } else if (place->entry.kind == CAPTION_ENTRY_COMPLAINT) {
            caption_progress_wipe(&run->progress);
            caption_complain(place->entry.name, "%s", place->entry.why);
            run->some_failed = TRUE;
        } else {
            end_input(run, place);
        }
        place_free(g_queue_pop_head(&run->queue));
        place = g_queue_peek_head(&run->queue);
        if (place && !place->done)
            caption_progress_show(&run->progress, place->entry.name, -1);
    }
    g_cond_broadcast(&run->moved);
}

/* Waits until something moves, or for so long that a signal is not missed. */
static void wait_a_while(struct run *run)
{
    g_cond_wait_until(&run->moved, &run->lock, g_get_monotonic_time() + G_TIME_SPAN_SECOND / 10);
}

/* ---- The threads ----------------------------------------------------------------------------- */

struct worker {
    struct run *run;
    struct caption_speaker speaker;
    struct place *place;
    char *why; /* why a picture has no caption */
    GThread *thread;
};

/* The next input that is to be worked on, with a place in the queue; NULL: there is none. */
static struct place *take(struct run *run)
{
    struct place *place = NULL;

    g_mutex_lock(&run->taking);
    g_mutex_lock(&run->lock);
    for (;;) {
        enum caption_sink_status status;
        gboolean wanted = TRUE;
        char *why = NULL;

        while (!run->ended && !caption_stopped() && run->queue.length >= (guint)(AHEAD * run->jobs))
            wait_a_while(run);
        if (run->ended || caption_stopped())
            break;
        place = g_new0(struct place, 1);
        place->end = -1;
        g_mutex_unlock(&run->lock);
        caption_walk_next(run->walk, &place->entry);
        g_mutex_lock(&run->lock);
        if (place->entry.kind == CAPTION_ENTRY_END || run->ended) {
            g_clear_pointer(&place, place_free);
            break;
        }
        g_queue_push_tail(&run->queue, place);
        place->done = place->entry.kind != CAPTION_ENTRY_INPUT;
        if (!place->done) {
            status = run->sink->wants(run->sink, &place->entry, &wanted, &why);
            /* What the sink cannot take is an input that failed. */
            place->known = place->done = !wrote(run, place, status, &why) || !wanted;
        }
        if (!place->done)
            break;
        place = NULL;
        drain(run);
    }
    g_mutex_unlock(&run->lock);
    g_mutex_unlock(&run->taking);
    return place;
}

static gboolean receive(void *user, const struct caption_frame *frame)
{
    struct worker *worker = user;
    struct run *run = worker->run;
    struct place *place = worker->place;
    struct caption_result result;
    gboolean hopeless, go_on;

    place->decoded = TRUE;
    if (frame->time < 0 && run->sink->videos_only) {
        worker->why = g_strdup("is a photo; subtitles are for videos");
        return FALSE;
    }
    if (!caption_speaker_say(&worker->speaker, &result, place->entry.name, frame, &worker->why, &hopeless)) {
        place->hopeless = hopeless;
        place->cut = !worker->why;
        return FALSE;
    }
    g_mutex_lock(&run->lock);
    g_queue_push_tail(&place->results, caption_result_copy(&result));
    run->waiting++;
    drain(run);
    while (frame->time >= 0 && run->waiting >= MOST_WAITING && g_queue_peek_head(&run->queue) != place && !run->ended &&
           !caption_stopped())
        wait_a_while(run);
    go_on = !run->ended && !place->dropped;
    g_mutex_unlock(&run->lock);
    return go_on;
}

/* Reads and captions the input of a place. */
static void work(struct worker *worker, struct place *place)
{
    gboolean sound_alone = FALSE;
    struct caption_source options = { .every = worker->run->engine->settings->every,
                                      .max_pixels = worker->run->engine->settings->max_pixels,
                                      .fn = receive,
                                      .user = worker,
                                      .end = &place->end,
                                      .sound_alone = &sound_alone };
    enum caption_media media = CAPTION_MEDIA_VIDEO;
    char *why = NULL;

    if (place->entry.found) {
        media = caption_input_media(place->entry.path);
        place->skipped = media == CAPTION_MEDIA_NONE;
        place->photo = media == CAPTION_MEDIA_PHOTO && worker->run->sink->videos_only;
        if (place->skipped || place->photo)
            return;
    }
    worker->place = place;
    if (!caption_source_read(place->entry.name, &options, &why) || worker->why) {
        g_mutex_lock(&worker->run->lock);
        if (!worker->why && caption_stopped())
            place->cut = TRUE;
        else if (place->entry.found && !place->decoded && (sound_alone || media == CAPTION_MEDIA_BARE_VIDEO))
            place->skipped = TRUE; /* it was no video */
        else if (!place->why)
            place->why = g_strdup(worker->why ? worker->why : why);
        g_mutex_unlock(&worker->run->lock);
    }
    g_free(why);
    g_clear_pointer(&worker->why, g_free);
}

static gpointer work_on(gpointer user)
{
    struct worker *worker = user;
    struct run *run = worker->run;
    struct place *place;

    while ((place = take(run))) {
        g_mutex_lock(&run->lock);
        if (g_queue_peek_head(&run->queue) == place)
            caption_progress_show(&run->progress, place->entry.name, -1);
        g_mutex_unlock(&run->lock);
        work(worker, place);
        g_mutex_lock(&run->lock);
        place->done = TRUE;
        drain(run);
        g_mutex_unlock(&run->lock);
    }
    return NULL;
}

/* ---- The run --------------------------------------------------------------------------------- */

int caption_jobs_count(const struct caption_settings *settings)
{
    gboolean many = settings->item_count > 1 || settings->list || settings->watched;

    if (settings->jobs)
        return settings->jobs;
    for (int i = 0; i < settings->item_count && !many; i++) {
        char *folder = caption_input_folder(settings->items[i]);

        many = folder != NULL;
        g_free(folder);
    }
    return many ? MIN(palme_processors(), CAPTION_MOST_JOBS) : 1;
}

/* What is said at the end; the exit status. */
static int conclude(struct run *run)
{
    gboolean complete = !run->ended && (!caption_stopped() || run->engine->settings->watched);
    struct place place = { .known = FALSE };
    char *why = NULL;

    caption_progress_wipe(&run->progress);
    if (!wrote(run, &place, run->sink->finish(run->sink, complete, &why), &why))
        run->some_failed = TRUE;
    if (run->failed > 1)
        caption_complain(NULL, "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " inputs failed", run->failed,
                         run->inputs);
    g_free(place.why);
    return run->giving_up ? CAPTION_EXIT_CANNOT : run->some_failed ? CAPTION_EXIT_SOME_FAILED : CAPTION_EXIT_FINE;
}

int caption_jobs_run(struct caption_engine *engine, struct caption_walk *walk, struct caption_sink *sink, int jobs)
{
    struct run run = { .engine = engine, .walk = walk, .sink = sink, .jobs = jobs };
    struct worker *workers = g_new0(struct worker, jobs);
    struct place *place;
    gboolean ok = TRUE;
    int status;

    g_queue_init(&run.queue);
    caption_progress_begin(&run.progress, 0);
    if (run.progress.on)
        caption_progress_begin(&run.progress, caption_walk_count(engine->settings));
    for (int i = 0; i < jobs && ok; i++) {
        workers[i].run = &run;
        ok = caption_speaker_open(&workers[i].speaker, engine);
    }
    run.giving_up = run.ended = !ok;
    /* The calling thread is one of them. */
    for (int i = 1; i < jobs && ok; i++)
        workers[i].thread = g_thread_new("caption", work_on, &workers[i]);
    if (ok)
        work_on(&workers[0]);
    for (int i = 1; i < jobs; i++)
        if (workers[i].thread)
            g_thread_join(workers[i].thread);
    status = conclude(&run);
    while ((place = g_queue_pop_head(&run.queue)))
        place_free(place);
    for (int i = 0; i < jobs; i++)
        caption_speaker_close(&workers[i].speaker);
    g_free(workers);
    return status;
}
