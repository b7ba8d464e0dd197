/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bench_serve.c - the benchmark as a servant, so that other programs can time the engine turn by turn with
 * engines of their own. Each line on stdin is answered by one line on stdout:
 *
 *     load MODEL THREADS                  ok NS
 *     encode REPS OUT IMAGE               ok NS...           OUT: [patches, encoder_dim]
 *     caption REPS N PROMPT IMAGE...      ok NS... | ID...   N greedy tokens after the token PROMPT; `| ID...` each
 *     step REPS IMAGE ID...               ok NS...           the decoder step of the last ID, the others cached
 *     logits OUT IMAGE ID...              ok NS              OUT: [number of IDs, num_tokens]
 *     quit
 *
 * Words are split at blanks. NS are nanoseconds of each of REPS repetitions; what is read, written and allocated
 * is not in them, but `load` includes reading the file. An image is the model's square picture in raw
 * little-endian float32, channels first; OUT is a file for raw little-endian float32, or "-" for none. The end
 * token ends no caption. "err TEXT" says no, and whatever was there before is still there.
 */
#include "bench/bench_serve.h"

#include "bench/roofline.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_REPS = 1000000, MOST_THREADS = 64 };

struct servant {
    const struct host_precision *precision;
    const char *level;
    struct host host; /* without a model before the first load */
    char error[1024];
    FILE *answer;
};

static int refuse(struct servant *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps the text for "err TEXT"; returns -1. */
static int refuse(struct servant *s, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(s->error, sizeof s->error, format, arguments);
    va_end(arguments);
    return -1;
}

static void hear(void *user, enum palme_log_level level, const char *message)
{
    if (level == PALME_LOG_ERROR)
        refuse(user, "%s", message);
}

/* ---- Words -------------------------------------------------------------------------------- */

static int number(struct servant *s, int *value, const char *word, const char *what, int least, int most)
{
    char *end;

    errno = 0;
    long found = strtol(word, &end, 10);
    if (word[strspn(word, "0123456789-")] || end == word || *end)
        return refuse(s, "%s is \"%s\", which is no whole number", what, word);
    if (errno || found < least || found > most)
        return refuse(s, "%s is %s, wanted %d to %d", what, word, least, most);
    *value = (int)found;
    return 0;
}

/* image[3][S][S] from a file. */
static int read_image(struct servant *s, float *image, const char *path)
{
    size_t side = (size_t)s->host.model->config.image_size, count = 3 * side * side, bytes = count * sizeof *image;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hold us up */
    struct stat st;
    size_t got = 0;
    ssize_t more = 1;

    if (fd < 0)
        return refuse(s, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return refuse(s, "%s: no regular file", path);
    }
    if (st.st_size < 0 || (size_t)st.st_size != bytes) {
        close(fd);
        return refuse(s, "%s: %lld bytes, an image of %zu x %zu has %zu", path, (long long)st.st_size, side, side,
                      bytes);
    }
    while (got < bytes && (more = read(fd, (char *)image + got, bytes - got)) > 0)
        got += (size_t)more;
    close(fd);
    if (got < bytes)
        return refuse(s, "%s: cannot be read to its end", path);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(image[i]))
            return refuse(s, "%s: value %zu is not finite", path, i);
    return 0;
}

/* `count` images from files, or NULL. */
static float *read_images(struct servant *s, char **paths, int count)
{
    size_t side = (size_t)s->host.model->config.image_size;
    float *images = calloc((size_t)count * 3 * side * side, sizeof *images);

    if (!images) {
        refuse(s, "no memory for %d images", count);
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        if (read_image(s, images + (size_t)i * 3 * side * side, paths[i]) < 0) {
            free(images);
            return NULL;
        }
    }
    return images;
}

static int *read_ids(struct servant *s, char **words, int count)
{
    int context = host_context(&s->host), vocabulary = s->host.model->config.vocabulary;

    if (count > context) {
        refuse(s, "%d tokens, the model has workspace for %d", count, context);
        return NULL;
    }
    int *ids = calloc((size_t)count, sizeof *ids);
    for (int i = 0; ids && i < count; i++) {
        if (number(s, &ids[i], words[i], "a token", 0, vocabulary - 1) < 0) {
            free(ids);
            return NULL;
        }
    }
    if (!ids)
        refuse(s, "no memory for %d tokens", count);
    return ids;
}

static int write_floats(struct servant *s, const char *path, const float *values, size_t count)
{
    if (strcmp(path, "-") == 0)
        return 0;
    FILE *file = fopen(path, "wb");
    if (!file)
        return refuse(s, "%s: %s", path, strerror(errno));
    int failed = fwrite(values, sizeof *values, count, file) != count;

    if (fclose(file) != 0 || failed)
        return refuse(s, "%s: cannot be written", path);
    return 0;
}

static void answer_time(struct servant *s, double since)
{
    fprintf(s->answer, " %.0f", roofline_now() - since);
}

/* ---- Commands ----------------------------------------------------------------------------- */

static int serve_load(struct servant *s, char **words, int count)
{
    struct host host;
    int threads;

    if (count != 2)
        return refuse(s, "load MODEL THREADS");
    if (number(s, &threads, words[1], "THREADS", 0, MOST_THREADS) < 0)
        return -1;
    if (!s->precision->built)
        return refuse(s, "the engine does not compute in %s", s->precision->name);
    s->error[0] = 0;
    double since = roofline_now();
    int status = host_open(&host, words[0], threads, s->level, s->precision, hear, s);

    if (status < 0)
        return s->error[0] ? -1 : refuse(s, "%s: %s", words[0], palme_strerror(status));
    answer_time(s, since);
    host_close(&s->host);
    s->host = host;
    return 0;
}

static int serve_encode(struct servant *s, char **words, int count)
{
    int reps;

    if (count != 3)
        return refuse(s, "encode REPS OUT IMAGE");
    if (number(s, &reps, words[0], "REPS", 1, MOST_REPS) < 0)
        return -1;
    float *image = read_images(s, words + 2, 1);
    if (!image)
        return -1;
    for (int r = 0; r < reps; r++) {
        double since = roofline_now();

        host_encode(&s->host, image);
        answer_time(s, since);
    }
    free(image);
    return write_floats(s, words[1], s->host.context,
                        (size_t)s->host.tokens * (size_t)s->host.model->config.encoder.dim);
}

/* What caption allocates. */
struct captions {
    int count, n;
    float *images, *logits;
    int *ids, *first; /* [count][n] of this repetition and of the first */
    struct sentence *sentences;
};

static void captions_close(struct captions *c)
{
    for (int i = 0; c->sentences && i < c->count; i++)
        sentence_close(&c->sentences[i]);
    free(c->sentences);
    free(c->images);
    free(c->logits);
    free(c->ids);
    free(c->first);
}

static int captions_open(struct servant *s, struct captions *c, char **paths)
{
    size_t count = (size_t)c->count, size = count * (size_t)c->n;
    int missing = 0;

    c->sentences = calloc(count, sizeof *c->sentences);
    c->logits = calloc(count * (size_t)s->host.model->config.vocabulary, sizeof *c->logits);
    c->ids = calloc(size, sizeof *c->ids);
    c->first = calloc(size, sizeof *c->first);
    for (int i = 0; c->sentences && i < c->count; i++)
        missing |= sentence_open(&c->sentences[i], &s->host, c->n);
    if (missing || !c->sentences || !c->logits || !c->ids || !c->first)
        return refuse(s, "no memory for %d captions of %d tokens", c->count, c->n);
    c->images = read_images(s, paths, c->count);
    return c->images ? 0 : -1;
}

static int serve_caption(struct servant *s, char **words, int count)
{
    struct captions c = { .count = count - 3 };
    int reps, prompt, status;

    if (count < 4)
        return refuse(s, "caption REPS N PROMPT IMAGE...");
    if (c.count > HOST_ROWS)
        return refuse(s, "%d images, at most %d go together", c.count, HOST_ROWS);
    if (number(s, &reps, words[0], "REPS", 1, MOST_REPS) < 0 ||
        number(s, &c.n, words[1], "N", 1, host_context(&s->host)) < 0 ||
        number(s, &prompt, words[2], "PROMPT", 0, s->host.model->config.vocabulary - 1) < 0)
        return -1;
    status = captions_open(s, &c, words + 3);
    for (int r = 0; status == 0 && r < reps; r++) {
        double since = roofline_now();

        host_caption(&s->host, c.ids, c.logits, c.sentences, c.images, c.count, prompt, c.n);
        answer_time(s, since);
        if (r == 0)
            memcpy(c.first, c.ids, (size_t)c.count * (size_t)c.n * sizeof *c.ids);
        else if (memcmp(c.first, c.ids, (size_t)c.count * (size_t)c.n * sizeof *c.ids) != 0)
            status = refuse(s, "repetition %d says something else than the first", r + 1);
    }
    for (int i = 0; status == 0 && i < c.count; i++) {
        fputs(" |", s->answer);
        for (int t = 0; t < c.n; t++)
            fprintf(s->answer, " %d", c.ids[i * c.n + t]);
    }
    captions_close(&c);
    return status;
}

/* A picture that was seen, and tokens to be read after it. */
struct reading {
    struct sentence sentence;
    float *logits; /* [rows][V] */
    int *ids, count;
};

static void reading_close(struct reading *r)
{
    sentence_close(&r->sentence);
    free(r->logits);
    free(r->ids);
}

/* Reads and sees the picture; `rows` is the number of rows of logits. */
static int reading_open(struct servant *s, struct reading *r, char *path, char **ids, int count, int rows)
{
    memset(r, 0, sizeof *r);
    r->count = count;
    if (!(r->ids = read_ids(s, ids, count)))
        return -1;
    r->logits = calloc((size_t)rows * (size_t)s->host.model->config.vocabulary, sizeof *r->logits);
    if (!r->logits || sentence_open(&r->sentence, &s->host, count) < 0) {
        reading_close(r);
        return refuse(s, "no memory for %d tokens", count);
    }
    float *image = read_images(s, &path, 1);
    if (!image) {
        reading_close(r);
        return -1;
    }
    host_encode(&s->host, image);
    host_see(&s->host, &r->sentence);
    host_begin(&s->host, &r->sentence);
    free(image);
    return 0;
}

static int serve_step(struct servant *s, char **words, int count)
{
    struct reading r;
    int reps;

    if (count < 3)
        return refuse(s, "step REPS IMAGE ID...");
    if (number(s, &reps, words[0], "REPS", 1, MOST_REPS) < 0 ||
        reading_open(s, &r, words[1], words + 2, count - 2, 1) < 0)
        return -1;
    host_feed(&s->host, NULL, &r.sentence, r.ids, r.count - 1, r.count - 1);
    int length = r.sentence.cache.length;
    for (int i = 0; i < reps; i++) {
        int id = r.ids[r.count - 1];

        r.sentence.cache.length = length;
        double since = roofline_now();
        host_step(&s->host, r.logits, &r.sentence, &id, 1);
        answer_time(s, since);
    }
    reading_close(&r);
    return 0;
}

static int serve_logits(struct servant *s, char **words, int count)
{
    struct reading r;

    if (count < 3)
        return refuse(s, "logits OUT IMAGE ID...");
    if (reading_open(s, &r, words[1], words + 2, count - 2, count - 2) < 0)
        return -1;
    double since = roofline_now();
    host_feed(&s->host, r.logits, &r.sentence, r.ids, r.count, 0);
    answer_time(s, since);
    int status = write_floats(s, words[0], r.logits, (size_t)r.count * (size_t)s->host.model->config.vocabulary);
    reading_close(&r);
    return status;
}

static const struct {
    const char *name;
    int needs_model;
    int (*serve)(struct servant *s, char **words, int count);
} commands[] = {
    { "load", 0, serve_load }, { "encode", 1, serve_encode }, { "caption", 1, serve_caption },
    { "step", 1, serve_step }, { "logits", 1, serve_logits },
};

/* ---- Lines -------------------------------------------------------------------------------- */

static int serve_words(struct servant *s, char **words, int count)
{
    if (count == 0)
        return refuse(s, "an empty line");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(words[0], commands[i].name) != 0)
            continue;
        if (commands[i].needs_model && !s->host.model)
            return refuse(s, "no model is loaded");
        return commands[i].serve(s, words + 1, count - 1);
    }
    return refuse(s, "\"%s\" is no command: load encode caption step logits quit", words[0]);
}

/* One line on stdout, whatever the text is made of. */
static void print_error(const char *text)
{
    fputs("err ", stdout);
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
    putchar('\n');
}

/* Returns non-zero where the line says quit. */
static int serve_line(struct servant *s, char *line, size_t length)
{
    char **words = calloc(length / 2 + 2, sizeof *words), *rest, *word, *text = NULL;
    size_t size;
    int count = 0, quit = 0, status;

    if (!words || !(s->answer = open_memstream(&text, &size))) {
        status = refuse(s, "no memory for the line");
    } else if (strlen(line) != length) {
        status = refuse(s, "a line with a zero byte");
    } else {
        for (word = strtok_r(line, " \t\r\n", &rest); word; word = strtok_r(NULL, " \t\r\n", &rest))
            words[count++] = word;
        quit = count == 1 && strcmp(words[0], "quit") == 0;
        status = quit ? 0 : serve_words(s, words, count);
    }
    if (s->answer && (fclose(s->answer) != 0 || !text) && status == 0)
        status = refuse(s, "no memory for the answer");
    s->answer = NULL;
    if (status < 0)
        print_error(s->error);
    else if (!quit)
        printf("ok%s\n", text);
    fflush(stdout);
    free(text);
    free(words);
    return quit;
}

int bench_serve(const struct host_precision *precision, const char *level)
{
    struct servant s = { .precision = precision, .level = level };
    char *line = NULL;
    size_t size = 0;
    ssize_t length;

    while ((length = getline(&line, &size, stdin)) >= 0)
        if (serve_line(&s, line, (size_t)length))
            break;
    free(line);
    host_close(&s.host);
    return ferror(stdout) ? 1 : 0;
}
