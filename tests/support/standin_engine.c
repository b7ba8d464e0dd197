/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * standin_engine.c - a stand-in for the engine behind the same header, palme.h, for tests of the
 * element. It computes nothing: its "model file" is a text that says how to behave. It is not
 * installed and shares no line with the engine.
 *
 * The file begins with the line "standin" and holds lines key=value; a line that begins with # is
 * skipped. Values know the escapes \n \t \\ and \xHH. Keys:
 *
 *   name=        name of the model (default "standin")
 *   image_size=  side of the picture in pixels (default 32)
 *   beams=       the model's own beams (default 1)
 *   text=        the caption (default "caption {n}"), with these replaced:
 *                {n} count of captions that this model has begun, from 0; {luma} {r} {g} {b} mean
 *                values of the picture; {prompt} {max_length} {temperature} {top_k} {top_p} {seed}
 *                {blocklist} {beams} {opened} (number of sessions opened so far) {width} {height}; {low} {high}
 *                smallest and largest value of the picture
 *   piece=       bytes in each answer of palme_next (default: one word with its space); characters may
 *                be cut in two
 *   precisions=  what it computes in, for whoever asks (default "f32 bf16 int8"); auto is the last one
 *   score=       what palme_caption_score answers (default -0.5)
 *   scores=      scores of texts, for palme_caption_score and palme_score: "a dog:-0.25|a cat:-1"; others
 *                have `score`
 *   labels=      of every picture: "dog:a dog:0.9|sitting::0.4"; at 0.5 a thing confirms texts that have its
 *                name, and the first such one is said cautiously; {label_weight} in hundredths is in `text`
 *   min_score=   the limit that the model recommends (default: it recommends none)
 *   open_ms=     how long palme_model_open takes
 *   look_ms=     how long palme_look takes; it asks the cancel callback every millisecond
 *   next_ms=     the same for each palme_next, once for those who ask together
 *   hold=        name of a file: palme_look does not return while this file exists, unless stopped
 *   hold_next=   name of a file: palme_next gives no piece but the first while this file exists
 *   hold_close=  name of a file: palme_model_close does not return while this file exists
 *   deaf=1       the cancel callback is never asked
 *   fail_look=   k: of each k looks the last one fails (1: all)
 *   fail_status= with this status (default -8)
 *   finish=      what a caption goes on with after palme_finish (default: nothing)
 *   fail_next=1  palme_next fails with fail_status in place of the first piece
 *   prompt_status=  what palme_prompt answers to a text (default 0)
 *   score_status=   what palme_score answers (default 0)
 *   open_status= palme_model_open fails with this status
 *   session_status= palme_session_open fails with this status
 *   message=     sentence for the log function: an error if something fails, else a warning
 *   journal=     name of a file to which each call appends a line: open, session BEAMS, look, stopped,
 *                together COUNT (if more than one), end TEXT, score TEXT, close
 *
 * A file that does not begin with "standin" is "another kind of file", as with the real engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "palme.h"

enum { MAX_VALUE = 8192, MAX_TEXT = 65536 };

struct palme_model {
    char name[MAX_VALUE], text[MAX_VALUE], hold[MAX_VALUE], hold_next[MAX_VALUE], hold_close[MAX_VALUE];
    char journal[MAX_VALUE], message[MAX_VALUE], finish[MAX_VALUE];
    char precisions[MAX_VALUE], precision[16], scores[MAX_VALUE], labels[MAX_VALUE], cautious[MAX_VALUE];
    int image_size, beams, piece, look_ms, next_ms, open_ms, deaf;
    int fail_look, fail_status, fail_next, prompt_status, score_status, open_status, session_status;
    double score, min_score;
    struct palme_label label[PALME_MAX_LABELS]; /* of every picture; the strings are parts of `labels` */
    int label_count;
    int has_min_score;
    int threads;
    palme_log_fn log; /* while it is being opened */
    void *log_user;
    atomic_int looks, captions, sessions;
};

struct palme_session {
    struct palme_model *model;
    struct palme_options options;
    char prompt[4097];
    char text[MAX_TEXT]; /* the whole caption; empty before the first palme_next */
    char piece[MAX_TEXT];
    size_t at;
    int number, has_picture, looked, begun, tokens, opened_beams;
    int width, height, low, high;
    double mean[3];
};

static void journal(const struct palme_model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void journal(const struct palme_model *model, const char *format, ...)
{
    char line[MAX_TEXT];
    va_list args;
    int n, fd;

    if (!model->journal[0])
        return;
    va_start(args, format);
    n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n > sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    fd = open(model->journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        /* One write for a line, so that lines of two threads do not mix. */
        if (write(fd, line, (size_t)n) < 0)
            (void)0;
        close(fd);
    }
}

static void say(palme_log_fn log, void *user, enum palme_log_level level, const char *text)
{
    if (log)
        log(user, level, text);
}

static void sleep_ms(int ms)
{
    struct timespec t = { ms / 1000, (ms % 1000) * 1000000L };

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

static long long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int stopped(const struct palme_session *session)
{
    if (session->model->deaf || !session->options.cancel)
        return 0;
    return session->options.cancel(session->options.cancel_user);
}

/* Works for so long, and as long as the hold file exists. Non-zero: stopped. */
static int work(const struct palme_session *session, int ms)
{
    long long end = now_ns() + ms * 1000000LL;

    while (now_ns() < end || (session->model->hold[0] && access(session->model->hold, F_OK) == 0)) {
        if (stopped(session)) {
            journal(session->model, "stopped");
            return 1;
        }
        sleep_ms(1);
    }
    if (stopped(session)) {
        journal(session->model, "stopped");
        return 1;
    }
    return 0;
}

/* ---- The model file ----------------------------------------------------------------------- */

static void unescape(char *y, const char *x, size_t size)
{
    size_t n = 0;

    while (*x && n + 1 < size) {
        unsigned value;

        if (x[0] == '\\' && x[1] == 'n') {
            y[n++] = '\n';
            x += 2;
        } else if (x[0] == '\\' && x[1] == 't') {
            y[n++] = '\t';
            x += 2;
        } else if (x[0] == '\\' && x[1] == '\\') {
            y[n++] = '\\';
            x += 2;
        } else if (x[0] == '\\' && x[1] == 'x' && sscanf(x + 2, "%2x", &value) == 1) {
            y[n++] = (char)value;
            x += 4;
        } else {
            y[n++] = *x++;
        }
    }
    y[n] = '\0';
}

static void read_line(struct palme_model *model, const char *line)
{
    const struct {
        const char *key;
        int *value;
    } numbers[] = {
        { "image_size", &model->image_size },
        { "beams", &model->beams },
        { "piece", &model->piece },
        { "look_ms", &model->look_ms },
        { "next_ms", &model->next_ms },
        { "open_ms", &model->open_ms },
        { "deaf", &model->deaf },
        { "fail_look", &model->fail_look },
        { "fail_status", &model->fail_status },
        { "fail_next", &model->fail_next },
        { "prompt_status", &model->prompt_status },
        { "score_status", &model->score_status },
        { "open_status", &model->open_status },
        { "session_status", &model->session_status },
    };
    const struct {
        const char *key;
        char *value;
    } strings[] = {
        { "name", model->name },           { "text", model->text },       { "hold", model->hold },
        { "hold_next", model->hold_next }, { "finish", model->finish },   { "hold_close", model->hold_close },
        { "journal", model->journal },     { "message", model->message }, { "precisions", model->precisions },
        { "scores", model->scores },       { "labels", model->labels },
    };
    const char *equals = strchr(line, '=');
    size_t length, i;

    if (line[0] == '#' || !equals)
        return;
    length = (size_t)(equals - line);
    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strlen(numbers[i].key) == length && memcmp(numbers[i].key, line, length) == 0)
            *numbers[i].value = atoi(equals + 1);
    for (i = 0; i < sizeof strings / sizeof strings[0]; i++)
        if (strlen(strings[i].key) == length && memcmp(strings[i].key, line, length) == 0)
            unescape(strings[i].value, equals + 1, MAX_VALUE);
    if (length == 5 && memcmp("score", line, length) == 0)
        model->score = strtod(equals + 1, NULL);
    if (length == 9 && memcmp("min_score", line, length) == 0) {
        model->min_score = strtod(equals + 1, NULL);
        model->has_min_score = 1;
    }
}

/* name:phrase:probability, divided by bars. */
static void read_labels(struct palme_model *model)
{
    char *rest, *entry = strtok_r(model->labels, "|", &rest);

    for (; entry && model->label_count < PALME_MAX_LABELS; entry = strtok_r(NULL, "|", &rest)) {
        struct palme_label *label = &model->label[model->label_count++];
        char *phrase = strchr(entry, ':'), *probability = strrchr(entry, ':');

        *phrase++ = *probability++ = '\0';
        label->name = entry;
        label->phrase = phrase < probability ? phrase : "";
        label->probability = strtod(probability, NULL);
        if (!model->cautious[0] && *label->phrase && label->probability >= 0.5)
            snprintf(model->cautious, sizeof model->cautious, "a photo of %.1000s", label->phrase);
    }
}

static int fail_open(struct palme_model *model, int status, const char *path, const char *reason)
{
    char text[2 * MAX_VALUE];

    snprintf(text, sizeof text, "%s: %s", path, reason);
    say(model->log, model->log_user, PALME_LOG_ERROR, model->message[0] ? model->message : text);
    free(model);
    return status;
}

/* Non-zero: it does not compute in that. */
static int choose_precision(struct palme_model *model, const char *asked)
{
    const char *last = strrchr(model->precisions, ' ');
    char list[MAX_VALUE + 2], word[32];

    if (!asked || strcmp(asked, "auto") == 0)
        asked = last ? last + 1 : model->precisions;
    snprintf(list, sizeof list, " %s ", model->precisions);
    snprintf(word, sizeof word, " %s ", asked);
    snprintf(model->precision, sizeof model->precision, "%s", asked);
    return strstr(list, word) == NULL;
}

int palme_model_open(palme_model **out, const char *path, const struct palme_setup *setup)
{
    struct palme_model *model;
    char line[MAX_VALUE];
    struct stat st;
    FILE *file;
    int fd;

    if (!out)
        return PALME_ERROR_ARGUMENT;
    *out = NULL;
    if (!path)
        return PALME_ERROR_ARGUMENT;
    model = calloc(1, sizeof *model);
    if (!model)
        return PALME_ERROR_MEMORY;
    strcpy(model->name, "standin");
    strcpy(model->text, "caption {n}");
    strcpy(model->precisions, "f32 bf16 int8");
    model->image_size = 32;
    model->beams = 1;
    model->fail_status = PALME_ERROR_MEMORY;
    model->score = -0.5;
    model->threads = setup && setup->threads ? setup->threads : 1;
    if (setup) {
        model->log = setup->log;
        model->log_user = setup->log_user;
    }

    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fail_open(model, errno == ENOENT ? PALME_ERROR_NOT_FOUND : PALME_ERROR_OPEN, path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail_open(model, PALME_ERROR_OPEN, path, "not a regular file");
    }
    file = fdopen(fd, "r");
    if (!file) {
        close(fd);
        return fail_open(model, PALME_ERROR_MEMORY, path, "no memory");
    }
    if (!fgets(line, sizeof line, file) || strcmp(line, "standin\n") != 0) {
        fclose(file);
        return fail_open(model, PALME_ERROR_KIND, path, "is another kind of file");
    }
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        read_line(model, line);
    }
    fclose(file);
    read_labels(model);
    if (choose_precision(model, setup ? setup->precision : NULL))
        return fail_open(model, PALME_ERROR_ARGUMENT, path, "cannot be computed in that precision");
    journal(model, "open");
    sleep_ms(model->open_ms);
    if (model->open_status < 0)
        return fail_open(model, model->open_status, path, palme_strerror(model->open_status));
    if (model->message[0])
        say(model->log, model->log_user, PALME_LOG_WARNING, model->message);
    *out = model;
    return PALME_OK;
}

void palme_model_close(palme_model **model)
{
    if (!model || !*model)
        return;
    while ((*model)->hold_close[0] && access((*model)->hold_close, F_OK) == 0)
        sleep_ms(1);
    journal(*model, "close");
    free(*model);
    *model = NULL;
}

void palme_model_info(const palme_model *model, struct palme_info *info)
{
    memset(info, 0, sizeof *info);
    info->name = model->name;
    info->language = "en";
    info->card = "";
    info->default_prompt = "";
    info->stem = "none";
    info->level = "c";
    info->precision = model->precision;
    info->image_size = info->resize_side = model->image_size;
    info->patch_size = 1;
    info->vocabulary = 256;
    info->max_context = 64;
    info->beams = model->beams;
    info->threads = model->threads;
    info->parameters = 1000;
    info->bytes = 4000;
    info->has_min_score = model->has_min_score;
    info->min_score = model->min_score;
    info->labels = info->most_labels = model->label_count;
}

/* ---- Sessions ----------------------------------------------------------------------------- */

static int beams_of(const struct palme_model *model, const struct palme_options *options)
{
    return options && options->beams ? options->beams : model->beams;
}

int palme_session_open(palme_session **out, const palme_model *model, const struct palme_options *options)
{
    struct palme_session *session;

    if (!out)
        return PALME_ERROR_ARGUMENT;
    *out = NULL;
    if (!model)
        return PALME_ERROR_ARGUMENT;
    if (model->session_status < 0) {
        if (options)
            say(options->log, options->log_user, PALME_LOG_ERROR, "the session wants 123 MiB");
        return model->session_status;
    }
    session = calloc(1, sizeof *session);
    if (!session)
        return PALME_ERROR_MEMORY;
    session->model = (struct palme_model *)model;
    if (options)
        session->options = *options;
    session->opened_beams = beams_of(model, options);
    atomic_fetch_add(&session->model->sessions, 1);
    journal(model, "session %d", session->opened_beams);
    *out = session;
    return PALME_OK;
}

void palme_session_close(palme_session **session)
{
    if (!session)
        return;
    free(*session);
    *session = NULL;
}

int palme_session_set_options(palme_session *session, const struct palme_options *options)
{
    if (!session || !options || beams_of(session->model, options) > session->opened_beams)
        return PALME_ERROR_ARGUMENT;
    session->options = *options;
    return PALME_OK;
}

int palme_look(palme_session *session, const struct palme_image *image)
{
    struct palme_model *model;
    int x, y, c, looks;

    if (!session || !image || image->format != PALME_FORMAT_RGB || !image->planes[0])
        return PALME_ERROR_ARGUMENT;
    model = session->model;
    session->has_picture = session->looked = session->begun = 0;
    session->at = 0;
    session->tokens = 0;
    session->prompt[0] = session->text[0] = '\0';
    session->width = image->width;
    session->height = image->height;
    session->low = 255;
    session->high = 0;
    for (c = 0; c < 3; c++) {
        double sum = 0;

        for (y = 0; y < image->height; y++)
            for (x = 0; x < image->width; x++) {
                int value = image->planes[0][y * image->strides[0] + 3 * x + c];

                sum += value;
                session->low = value < session->low ? value : session->low;
                session->high = value > session->high ? value : session->high;
            }
        session->mean[c] = sum / image->width / image->height;
    }
    looks = atomic_fetch_add(&model->looks, 1) + 1;
    journal(model, "look");
    if (work(session, model->look_ms))
        return PALME_ERROR_CANCELLED;
    if (model->fail_look > 0 && looks % model->fail_look == 0) {
        say(session->options.log, session->options.log_user, PALME_LOG_ERROR, "the look was told to fail");
        return model->fail_status;
    }
    session->number = atomic_fetch_add(&model->captions, 1);
    session->has_picture = session->looked = 1;
    return PALME_OK;
}

/* ---- Squares: plain means of the pixels under each place, as another hand would write them ---- */

struct palme_preprocessor {
    int size;
};

int palme_preprocessor_open(palme_preprocessor **preprocessor, int size, enum palme_resize rule, const char *level)
{
    (void)rule;
    (void)level;
    if (!preprocessor || size < 1)
        return PALME_ERROR_ARGUMENT;
    if (!(*preprocessor = calloc(1, sizeof **preprocessor)))
        return PALME_ERROR_MEMORY;
    (*preprocessor)->size = size;
    return PALME_OK;
}

int palme_preprocessor_open_info(palme_preprocessor **preprocessor, const struct palme_info *info, const char *level)
{
    return palme_preprocessor_open(preprocessor, info->image_size, info->resize, level);
}

void palme_preprocessor_close(palme_preprocessor **preprocessor)
{
    if (!preprocessor)
        return;
    free(*preprocessor);
    *preprocessor = NULL;
}

static double within_byte(double v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

/* Adds the colour of a pixel to sum[3]. */
static void add_pixel(double sum[3], const struct palme_image *image, int x, int y)
{
    static const unsigned char places[][4] = {
        [PALME_FORMAT_RGB] = { 3, 0, 1, 2 },   [PALME_FORMAT_RGBX] = { 4, 0, 1, 2 },
        [PALME_FORMAT_BGRX] = { 4, 2, 1, 0 },  [PALME_FORMAT_XRGB] = { 4, 1, 2, 3 },
        [PALME_FORMAT_XBGR] = { 4, 3, 2, 1 },  [PALME_FORMAT_BGR] = { 3, 2, 1, 0 },
        [PALME_FORMAT_GRAY8] = { 1, 0, 0, 0 }, [PALME_FORMAT_RGBA] = { 4, 0, 1, 2 },
        [PALME_FORMAT_BGRA] = { 4, 2, 1, 0 },  [PALME_FORMAT_ARGB] = { 4, 1, 2, 3 },
        [PALME_FORMAT_ABGR] = { 4, 3, 2, 1 },
    };
    static const double weights[][2] = { { 0.299, 0.114 }, { 0.2126, 0.0722 }, { 0.2627, 0.0593 } };
    const unsigned char *row[3];
    double l, u, v, r, b;
    int i;

    for (i = 0; i < 3; i++)
        row[i] = image->row         ? (i == 0 ? image->row(image->row_user, y) : NULL)
                 : image->planes[i] ? image->planes[i] + (i ? y / 2 : y) * image->strides[i]
                                    : NULL;
    if (image->format <= PALME_FORMAT_GRAY8 || image->format >= PALME_FORMAT_RGBA) {
        const unsigned char *place = places[image->format];
        int alpha =
            image->format < PALME_FORMAT_RGBA ? 255 : row[0][x * 4 + (image->format <= PALME_FORMAT_BGRA ? 3 : 0)];

        for (i = 0; i < 3; i++)
            sum[i] += (alpha * row[0][x * place[0] + place[i + 1]] + (255 - alpha) * 255) / 255.0;
        return;
    }
    if (image->format == PALME_FORMAT_YUY2) {
        l = row[0][2 * x];
        u = row[0][x / 2 * 4 + 1];
        v = row[0][x / 2 * 4 + 3];
    } else {
        int planar = image->format == PALME_FORMAT_I420;

        l = row[0][x];
        u = row[1][planar ? x / 2 : x / 2 * 2];
        v = planar ? row[2][x / 2] : row[1][x / 2 * 2 + 1];
    }
    u -= 128;
    v -= 128;
    if (image->range == PALME_RANGE_LIMITED) {
        l = (l - 16) * 255 / 219;
        u = u * 255 / 224;
        v = v * 255 / 224;
    }
    r = l + v * (2 - 2 * weights[image->matrix][0]);
    b = l + u * (2 - 2 * weights[image->matrix][1]);
    sum[0] += within_byte(r);
    sum[2] += within_byte(b);
    sum[1] += within_byte((l - weights[image->matrix][0] * r - weights[image->matrix][1] * b) /
                          (1 - weights[image->matrix][0] - weights[image->matrix][1]));
}

int palme_preprocess(palme_preprocessor *preprocessor, uint8_t *out, const struct palme_image *image)
{
    int i, j, c, x, y;

    if (!preprocessor || !out || !image || image->format > PALME_FORMAT_ABGR || (!image->planes[0] && !image->row))
        return PALME_ERROR_ARGUMENT;
    for (j = 0; j < preprocessor->size; j++)
        for (i = 0; i < preprocessor->size; i++) {
            int left = (int)((long long)i * image->width / preprocessor->size);
            int top = (int)((long long)j * image->height / preprocessor->size);
            int right = (int)((long long)(i + 1) * image->width / preprocessor->size);
            int bottom = (int)((long long)(j + 1) * image->height / preprocessor->size);
            double sum[3] = { 0, 0, 0 }, count = 0;

            right = right > left ? right : left + 1;
            bottom = bottom > top ? bottom : top + 1;
            for (y = top; y < bottom; y++)
                for (x = left; x < right; x++, count++)
                    add_pixel(sum, image, x, y);
            for (c = 0; c < 3; c++)
                *out++ = (unsigned char)(sum[c] / count + 0.5);
        }
    return PALME_OK;
}

int palme_look_planar(palme_session *session, const float *pixels, int height, int width)
{
    (void)session, (void)pixels, (void)height, (void)width;
    return PALME_ERROR_ARGUMENT;
}

int palme_prompt(palme_session *session, const char *text)
{
    if (!session || !session->has_picture || session->begun)
        return PALME_ERROR_ARGUMENT;
    if (text && session->model->prompt_status)
        return session->model->prompt_status;
    if (text && strlen(text) >= sizeof session->prompt)
        return PALME_ERROR_TEXT;
    strcpy(session->prompt, text ? text : "");
    return PALME_OK;
}

/* Writes one replaced word; returns how many bytes of the pattern it stands for, 0 if none. */
static size_t replace(const struct palme_session *session, const char *pattern, FILE *y)
{
    const struct palme_options *o = &session->options;
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        { "{n}", session->number },
        { "{r}", session->mean[0] },
        { "{g}", session->mean[1] },
        { "{b}", session->mean[2] },
        { "{luma}", (session->mean[0] + session->mean[1] + session->mean[2]) / 3 },
        { "{max_length}", o->max_length },
        { "{top_k}", o->top_k },
        { "{seed}", (double)o->seed },
        { "{beams}", o->beams },
        { "{opened}", atomic_load(&session->model->sessions) },
        { "{width}", session->width },
        { "{height}", session->height },
        { "{low}", session->low },
        { "{high}", session->high },
    };
    size_t i;

    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strncmp(pattern, numbers[i].key, strlen(numbers[i].key)) == 0) {
            fprintf(y, "%lld", (long long)(numbers[i].value + 0.5));
            return strlen(numbers[i].key);
        }
    }
    /* Hundredths, so that no decimal point of some locale is printed. */
    if (strncmp(pattern, "{temperature}", 13) == 0) {
        fprintf(y, "%d", (int)(o->temperature * 100 + 0.5));
        return 13;
    }
    if (strncmp(pattern, "{top_p}", 7) == 0) {
        fprintf(y, "%d", (int)(o->top_p * 100 + 0.5));
        return 7;
    }
    if (strncmp(pattern, "{blocklist}", 11) == 0) {
        fputs(o->blocklist ? o->blocklist : "", y);
        return 11;
    }
    if (strncmp(pattern, "{label_weight}", 14) == 0) {
        fprintf(y, "%d", (int)(o->label_weight * 100));
        return 14;
    }
    if (strncmp(pattern, "{prompt}", 8) == 0) {
        fputs(session->prompt, y);
        return 8;
    }
    return 0;
}

static void begin(struct palme_session *session)
{
    const char *x = session->model->text;
    FILE *y = fmemopen(session->text, sizeof session->text, "w");

    while (y && *x) {
        size_t n = replace(session, x, y);

        if (n == 0)
            fputc(*x++, y);
        x += n;
    }
    if (y)
        fclose(y);
    session->text[sizeof session->text - 1] = '\0';
    session->begun = 1;
}

/* The answer of a session that has worked long enough. */
static int answer(palme_session *session, const char **piece)
{
    struct palme_model *model = session->model;
    const char *rest;
    size_t n;

    if (model->fail_next)
        return model->fail_status;
    if (!session->begun)
        begin(session);
    rest = session->text + session->at;
    session->tokens++;
    if (!*rest) {
        journal(model, "end %s", session->text);
        session->has_picture = 0;
        return PALME_END;
    }
    n = strlen(rest);
    if (model->piece > 0) {
        n = (size_t)model->piece < n ? (size_t)model->piece : n;
    } else {
        const char *space = strchr(rest + 1, ' ');

        n = space ? (size_t)(space - rest) : n;
    }
    memcpy(session->piece, rest, n);
    session->piece[n] = '\0';
    session->at += n;
    *piece = session->piece;
    return PALME_OK;
}

/* Whether the first of those who ask has a piece, and gets no more for now. */
static int is_held(const palme_session *session)
{
    return session->tokens > 0 && session->model->hold_next[0] && access(session->model->hold_next, F_OK) == 0;
}

int palme_next_batch(palme_session *const *sessions, int count, const char **pieces, int *statuses)
{
    int i, pending = 0;

    if (!sessions || !pieces || !statuses || count < 1 || count > 16)
        return PALME_ERROR_ARGUMENT;
    for (i = 0; i < count; i++)
        if (!sessions[i] || sessions[i]->model != sessions[0]->model)
            return PALME_ERROR_ARGUMENT;
    if (count > 1)
        journal(sessions[0]->model, "together %d", count);
    for (i = 0; i < count; i++) {
        pieces[i] = "";
        statuses[i] = sessions[i]->has_picture ? PALME_OK : PALME_ERROR_ARGUMENT;
        pending += sessions[i]->has_picture;
    }
    /* One time for all of them, as long as one of them wants it. */
    for (long long end = now_ns() + sessions[0]->model->next_ms * 1000000LL; pending;) {
        for (i = 0; i < count; i++)
            if (statuses[i] == PALME_OK && stopped(sessions[i])) {
                journal(sessions[i]->model, "stopped");
                statuses[i] = PALME_ERROR_CANCELLED;
                pending--;
            }
        if (now_ns() >= end && !is_held(sessions[0]))
            break;
        sleep_ms(1);
    }
    for (i = 0; i < count; i++)
        if (statuses[i] == PALME_OK)
            statuses[i] = answer(sessions[i], &pieces[i]);
    return PALME_OK;
}

int palme_next(palme_session *session, const char **piece)
{
    int status, result = palme_next_batch(&session, 1, piece, &status);

    return result < 0 ? result : status;
}

int palme_finish(palme_session *session)
{
    if (!session || !session->looked)
        return PALME_ERROR_ARGUMENT;
    if (session->has_picture && session->begun)
        snprintf(session->text + session->at, sizeof session->text - session->at, "%s", session->model->finish);
    return PALME_OK;
}

int palme_caption_length(const palme_session *session)
{
    return session ? session->tokens : 0;
}

/* What `scores` says of a text. */
static double score_of(const struct palme_model *model, const char *text)
{
    const char *entry = model->scores;
    size_t length = strlen(text);

    while (entry && *entry) {
        if (strncmp(entry, text, length) == 0 && entry[length] == ':')
            return strtod(entry + length + 1, NULL);
        entry = strchr(entry, '|');
        entry += entry != NULL;
    }
    return model->score;
}

double palme_caption_score(const palme_session *session)
{
    return session ? score_of(session->model, session->text) : 0;
}

int palme_score(palme_session *session, const char *text, double *mean)
{
    if (!session || !text || !mean || !session->looked || (session->begun && session->has_picture))
        return PALME_ERROR_ARGUMENT;
    journal(session->model, "score %s", text);
    if (session->model->score_status < 0)
        return session->model->score_status;
    *mean = score_of(session->model, text);
    return PALME_OK;
}

/* ---- Labels: every picture has those of the file -------------------------------------------- */

int palme_labels(const palme_session *session, struct palme_label *labels, int capacity)
{
    int i;

    if (!session || !session->looked || (capacity && !labels))
        return PALME_ERROR_ARGUMENT;
    for (i = 0; i < session->model->label_count && i < capacity; i++)
        labels[i] = session->model->label[i];
    return session->model->label_count;
}

/* A text is confirmed that contains the name of a likely thing. */
int palme_confirms(palme_session *session, const char *text)
{
    int i;

    if (!session || !session->looked || !text)
        return PALME_ERROR_ARGUMENT;
    for (i = 0; i < session->model->label_count; i++)
        if (session->model->label[i].phrase[0] && session->model->label[i].probability >= 0.5 &&
            strstr(text, session->model->label[i].name))
            return 1;
    return session->model->label_count == 0;
}

const char *palme_cautious(const palme_session *session)
{
    return session && session->looked ? session->model->cautious : "";
}

/* ---- The rest ----------------------------------------------------------------------------- */

const char *palme_strerror(int status)
{
    switch (status) {
    case PALME_OK: return "fine";
    case PALME_END: return "the sentence has ended";
    case PALME_ERROR_ARGUMENT: return "an argument that cannot be meant";
    case PALME_ERROR_NOT_FOUND: return "no such file";
    case PALME_ERROR_OPEN: return "not a regular, readable file";
    case PALME_ERROR_READ: return "reading failed";
    case PALME_ERROR_KIND: return "not a model file";
    case PALME_ERROR_FORMAT: return "a damaged model file";
    case PALME_ERROR_VERSION: return "an unknown version";
    case PALME_ERROR_MEMORY: return "no memory";
    case PALME_ERROR_CONTEXT: return "the context is full";
    case PALME_ERROR_CANCELLED: return "stopped";
    case PALME_ERROR_TEXT: return "a prompt that cannot be used";
    default: return "unknown status";
    }
}

int palme_processors(void)
{
    return 3;
}

const char *palme_version(void)
{
    return "0.0.0";
}
