/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_batch.c - what the draft saves on a still scene, and what it costs where the scene changes; what
 * sessions save that go through the decoder together.
 *
 *     bench_batch MODEL [THREADS [REPETITIONS]]
 *
 * All ways of one line are timed in turns in one run; medians are printed. Looking at the picture is not timed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "palme.h"

enum { SIDE = 256, SCENES = 8, MOST_REPETITIONS = 1000 };

static unsigned char pixels[SCENES][SIDE * SIDE * 3];

/* Bands and spots that differ from scene to scene. */
static void paint(void)
{
    for (int s = 0; s < SCENES; s++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                for (int c = 0; c < 3; c++)
                    pixels[s][(y * SIDE + x) * 3 + c] =
                        (unsigned char)((x * (s + 1) / 2 + y * (c + s * s)) ^ ((x / 32 + y / 32 * s) * 40));
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, by_time);
    return times[count / 2];
}

static void need(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_batch: %s\n", what);
    exit(1);
}

static void look(palme_session *s, int scene)
{
    struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = SIDE, .height = SIDE, .planes = { pixels[scene] }, .strides = { 3 * SIDE }
    };

    need(palme_look(s, &image) == PALME_OK, "the picture was refused");
}

static double tell(palme_session *s)
{
    const char *piece;
    double start = now();

    while (palme_next(s, &piece) == PALME_OK)
        continue;
    return now() - start;
}

static palme_session *open_session(const palme_model *model, int no_draft)
{
    struct palme_options options = { .beams = 1, .no_draft = no_draft };
    palme_session *s = NULL;

    need(palme_session_open(&s, model, &options) == PALME_OK, "no session");
    return s;
}

/* `scenes`: how many pictures take turns. */
static void bench_draft(const palme_model *model, int scenes, int repetitions)
{
    static double times[2][MOST_REPETITIONS];
    palme_session *s[2] = { open_session(model, 1), open_session(model, 0) };
    long tokens = 0, reused = 0;

    for (int r = -scenes; r < repetitions; r++) {
        for (int way = 0; way < 2; way++) {
            look(s[way], (r + scenes) % scenes);
            double time = tell(s[way]);
            if (r >= 0)
                times[way][r] = time;
        }
        if (r >= 0) {
            tokens += palme_caption_length(s[1]);
            reused += palme_caption_accepted(s[1]);
        }
    }
    double without = median(times[0], repetitions), with = median(times[1], repetitions);
    printf("%d scene%s in turn: %.3f ms without a draft, %.3f ms with it, %.2f times; "
           "%ld of %ld tokens foretold\n",
           scenes, scenes > 1 ? "s" : "", without, with, without / with, reused, tokens);
    palme_session_close(&s[0]);
    palme_session_close(&s[1]);
}

/* Captions of `count` sessions, each about another scene, one after the other and together. */
static void bench_batch(const palme_model *model, int count, int beams, int repetitions)
{
    static double times[2][MOST_REPETITIONS];
    palme_session *s[SCENES];
    const char *pieces[SCENES];
    int statuses[SCENES];
    struct palme_options options = { .beams = beams, .no_draft = 1 };

    for (int i = 0; i < count; i++) {
        s[i] = NULL;
        need(palme_session_open(&s[i], model, &options) == PALME_OK, "no session");
    }
    for (int r = -2; r < repetitions; r++) {
        for (int way = 0; way < 2; way++) {
            double time = 0;

            for (int i = 0; i < count; i++) {
                look(s[i], i);
                need(palme_prompt(s[i], "") == PALME_OK, "no prompt"); /* not a part of what is shared */
            }
            if (way) {
                double start = now();

                for (int left = count; left > 0;) {
                    palme_session *open[SCENES];
                    int n = 0;

                    for (int i = 0; i < left; i++)
                        open[n++] = s[i];
                    need(palme_next_batch(open, n, pieces, statuses) == PALME_OK, "not together");
                    for (int i = n; i-- > 0;) /* who is done goes to the end of the line */
                        if (statuses[i] != PALME_OK) {
                            palme_session *done = s[i];

                            s[i] = s[--left];
                            s[left] = done;
                        }
                }
                time = now() - start;
            } else {
                for (int i = 0; i < count; i++)
                    time += tell(s[i]);
            }
            if (r >= 0)
                times[way][r] = time;
        }
    }
    double alone = median(times[0], repetitions), together = median(times[1], repetitions);
    printf("%d session%s of %d beam%s: %.3f ms one after the other, %.3f ms together, %.2f times\n", count,
           count > 1 ? "s" : "", beams, beams > 1 ? "s" : "", alone, together, alone / together);
    for (int i = 0; i < count; i++)
        palme_session_close(&s[i]);
}

int main(int argc, char **argv)
{
    struct palme_setup setup = { .threads = argc > 2 ? atoi(argv[2]) : 1 };
    int repetitions = argc > 3 ? atoi(argv[3]) : 60;
    palme_model *model = NULL;
    struct palme_info info;

    need(argc > 1 && repetitions > 0 && repetitions <= MOST_REPETITIONS,
         "usage: bench_batch MODEL [THREADS [REPETITIONS]]");
    need(palme_model_open(&model, argv[1], &setup) == PALME_OK, "the model cannot be opened");
    palme_model_info(model, &info);
    printf("%s, %s %s, %d thread%s\n", info.name, info.level, info.precision, info.threads,
           info.threads > 1 ? "s" : "");
    paint();
    bench_draft(model, 1, repetitions);
    bench_draft(model, SCENES, repetitions);
    for (int count = 1; count <= SCENES; count *= 2)
        bench_batch(model, count, 1, repetitions);
    bench_batch(model, 4, 4, repetitions);
    palme_model_close(&model);
    return 0;
}
