/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_serve.c - the benchmark as a servant, asked over pipes: what it computes is compared with the recorded
 * numbers of the fixtures, and what it must refuse is refused without losing the model. It does not look at
 * speed.
 *
 *     check_serve BENCH_ENGINE GOLDEN_FOLDER
 */
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"
#include "support/enginehost.h"
#include "io/safetensors.h"

enum { LINE = 65536, MOST = 512, TEXT = 14 /* tokens that are recorded as greedy_tokens */ };

/* ---- The other end ------------------------------------------------------------------------ */

struct servant {
    pid_t pid;
    FILE *to, *from;
};

static void fatal(const char *what)
{
    perror(what);
    exit(1);
}

static struct servant hire(const char *program, const char *precision)
{
    int to[2], from[2];
    struct servant s;

    if (pipe(to) < 0 || pipe(from) < 0 || (s.pid = fork()) < 0)
        fatal("fork");
    if (s.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        for (int i = 0; i < 2; i++) {
            close(to[i]);
            close(from[i]);
        }
        execl(program, program, "--serve", "--precision", precision, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    s.to = fdopen(to[1], "w");
    s.from = fdopen(from[0], "r");
    return s;
}

/* Closes its stdin; the exit status, or -1 if it did not exit by itself. It must have nothing left to say. */
static int dismiss(struct servant *s)
{
    int status;

    fclose(s->to);
    CHECK(fgetc(s->from) == EOF);
    fclose(s->from);
    if (waitpid(s->pid, &status, 0) != s->pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static const char *ask(struct servant *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line there, one line back, without its newline; "" if there is none. Valid until the next call. */
static const char *ask(struct servant *s, const char *format, ...)
{
    static char line[LINE];
    va_list arguments;

    va_start(arguments, format);
    vfprintf(s->to, format, arguments);
    va_end(arguments);
    fputc('\n', s->to);
    fflush(s->to);
    if (!fgets(line, sizeof line, s->from))
        return "";
    line[strcspn(line, "\n")] = 0;
    return line;
}

/* What "ok NS... | ID... | ID..." says. */
struct answer {
    int times;             /* NS, all of which are above zero; -1: it says no, or something else */
    int groups, ids[MOST]; /* groups of TEXT ids */
};

static struct answer understand(const char *line)
{
    struct answer a = { 0, 0, { 0 } };
    int in_group = 0;

    if (strncmp(line, "ok", 2) != 0 || (line[2] != ' ' && line[2] != 0)) {
        fprintf(stderr, "the answer is \"%s\"\n", line);
        return (struct answer){ -1, 0, { 0 } };
    }
    for (line += 2; *line;) {
        char *end;

        if (strncmp(line, " | ", 3) == 0) {
            if (a.groups && in_group != TEXT)
                return (struct answer){ -1, 0, { 0 } };
            a.groups++;
            in_group = 0;
            line += 2;
        }
        long long value = *line == ' ' && line[1] >= '0' && line[1] <= '9' ? strtoll(line + 1, &end, 10) : -1;
        if (value < 0 || (!a.groups && value == 0) || (a.groups - 1) * TEXT + in_group >= MOST)
            return (struct answer){ -1, 0, { 0 } };
        if (a.groups)
            a.ids[(a.groups - 1) * TEXT + in_group++] = (int)value;
        else
            a.times++;
        line = end;
    }
    if (a.groups && in_group != TEXT)
        a.times = -1;
    return a;
}

/* ---- Files, all in a folder of their own that is the working one --------------------------- */

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(name, "wb");

    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        fatal(name);
}

/* The largest difference between a file of floats and what is wanted; infinite for another number of them. */
static double difference(const char *name, const float *wanted, size_t count)
{
    FILE *file = fopen(name, "rb");
    float *found = calloc(count + 1, sizeof *found);
    double largest = 0;

    if (!file || !found || fread(found, sizeof *found, count + 1, file) != count)
        largest = INFINITY;
    if (file)
        fclose(file);
    for (size_t i = 0; i < count && largest < INFINITY; i++) {
        double d = fabs((double)found[i] - wanted[i]);

        if (!(d <= largest))
            largest = isnan(d) ? INFINITY : d;
    }
    free(found);
    unlink(name);
    return largest;
}

static void *tensor(struct palme_safetensors *file, const char *name, size_t *count)
{
    const struct palme_tensor *t = palme_safetensors_find(file, name);
    void *values = t ? malloc(t->bytes) : NULL;

    if (!values || palme_tensor_read_raw(file, values, t, 0, t->count, NULL) < 0)
        fatal(name);
    *count = (size_t)t->count;
    return values;
}

/* ---- What it computes --------------------------------------------------------------------- */

static int different_captions; /* fixtures whose two pictures are described differently */

static void check_fixture(struct servant *s, const char *golden, const char *name, int threads)
{
    char path[PATH_MAX], text[1024] = "";
    struct palme_safetensors *file = NULL;
    size_t pixels, encoded, logits, tokens, greedy;

    printf("%s, %d threads\n", name, threads);
    snprintf(path, sizeof path, "%s/%s/expected.safetensors", golden, name);
    if (palme_safetensors_open(&file, path, 0, NULL) < 0)
        fatal(path);
    float *image = tensor(file, "image", &pixels), *wanted_encoder = tensor(file, "encoder_output", &encoded);
    float *wanted_logits = tensor(file, "logits", &logits), *other = malloc(pixels * sizeof *other);
    int64_t *ids = tensor(file, "tokens", &tokens), *wanted = tensor(file, "greedy_tokens", &greedy);

    for (size_t i = 0; i < pixels; i++)
        other[i] = 1 - image[pixels - 1 - i] * image[i];
    write_file("image", image, pixels * sizeof *image);
    write_file("other", other, pixels * sizeof *other);
    for (size_t i = 0, at = 0; i < tokens; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, " %d", (int)ids[i]);

    CHECK_INT(greedy, TEXT);
    CHECK_INT(understand(ask(s, "load %s/%s/model.safetensors %d", golden, name, threads)).times, 1);
    CHECK_INT(understand(ask(s, "encode 2 out image")).times, 2);
    /* The tolerances of check_golden for these folders. */
    CHECK_CLOSE(difference("out", wanted_encoder, encoded), 0, 2e-5);
    CHECK_INT(understand(ask(s, "logits out image%s", text)).times, 1);
    CHECK_CLOSE(difference("out", wanted_logits, logits), 0, 6e-5);
    CHECK_INT(understand(ask(s, "step 3 image%s", text)).times, 3);
    CHECK_INT(understand(ask(s, "step 1 image %d", (int)ids[0])).times, 1);

    struct answer alone = understand(ask(s, "caption 2 %d %d image", TEXT, (int)ids[0]));
    CHECK_INT(alone.times, 2);
    CHECK_INT(alone.groups, 1);
    for (int t = 0; t < TEXT; t++)
        CHECK_INT(alone.ids[t], wanted[t]);
    struct answer another = understand(ask(s, "caption 1 %d %d other", TEXT, (int)ids[0]));
    different_captions += memcmp(alone.ids, another.ids, TEXT * sizeof(int)) != 0;
    struct answer both = understand(ask(s, "caption 1 %d %d image other image", TEXT, (int)ids[0]));
    CHECK_INT(both.times, 1);
    CHECK_INT(both.groups, 3);
    for (int t = 0; t < TEXT; t++) {
        CHECK_INT(both.ids[t], alone.ids[t]);
        CHECK_INT(both.ids[TEXT + t], another.ids[t]);
        CHECK_INT(both.ids[2 * TEXT + t], alone.ids[t]);
    }
    palme_safetensors_close(&file);
    free(image);
    free(other);
    free(wanted_encoder);
    free(wanted_logits);
    free(ids);
    free(wanted);
}

/* ---- What it refuses ---------------------------------------------------------------------- */

/* It must say no, name the reason and still know its model, which is abs_pos. */
#define REFUSES(reason, ...)                                                                                           \
    do {                                                                                                               \
        const char *said_ = ask(s, __VA_ARGS__);                                                                       \
        CHECK_MESSAGE(strncmp(said_, "err ", 4) == 0 && strstr(said_, reason),                                         \
                      "the answer is \"%s\", wanted err with \"%s\"", said_, reason);                                  \
        CHECK_INT(understand(ask(s, "encode 1 - image")).times, 1);                                                    \
    } while (0)

static void check_refusals(struct servant *s, const char *golden)
{
    char many[8192] = "";

    printf("refusals\n");
    CHECK_INT(understand(ask(s, "load %s/abs_pos/model.safetensors 1", golden)).times, 1);
    CHECK_INT(understand(ask(s, "  encode\t1   -  image ")).times, 1); /* blanks are blanks */
    REFUSES("empty", "%s", "");
    REFUSES("empty", "   ");
    REFUSES("no command", "dance");
    REFUSES("no command", "quit now");
    REFUSES("no command", "LOAD x 1");

    REFUSES("load MODEL THREADS", "load");
    REFUSES("load MODEL THREADS", "load x");
    REFUSES("load MODEL THREADS", "load x 1 2");
    REFUSES("no such file", "load nothing 1");
    REFUSES("not a model file", "load image 1");
    REFUSES("regular", "load . 1");
    REFUSES("THREADS", "load %s/abs_pos/model.safetensors -1", golden);
    REFUSES("THREADS", "load %s/abs_pos/model.safetensors 100", golden);
    REFUSES("THREADS", "load %s/abs_pos/model.safetensors two", golden);

    REFUSES("encode REPS OUT IMAGE", "encode 1 -");
    REFUSES("encode REPS OUT IMAGE", "encode 1 - image image");
    REFUSES("REPS", "encode 0 - image");
    REFUSES("REPS", "encode -3 - image");
    REFUSES("REPS", "encode 1.5 - image");
    REFUSES("REPS", "encode 99999999999999999999 - image");
    REFUSES("nothing", "encode 1 - nothing");
    REFUSES("regular", "encode 1 - .");
    REFUSES("regular", "encode 1 - /dev/zero");
    REFUSES("bytes", "encode 1 - short");
    REFUSES("bytes", "encode 1 - long");
    REFUSES("bytes", "encode 1 - %s/abs_pos/model.safetensors", golden);
    REFUSES("finite", "encode 1 - nan");
    REFUSES("nowhere", "encode 1 nowhere/out image");

    REFUSES("caption REPS N PROMPT", "caption 1 2 1");
    REFUSES("REPS", "caption 0 2 1 image");
    REFUSES("N is 0", "caption 1 0 1 image");
    REFUSES("N is 41", "caption 1 41 1 image"); /* max_seq_len is 40 */
    REFUSES("PROMPT", "caption 1 2 97 image");  /* 97 tokens */
    REFUSES("PROMPT", "caption 1 2 -1 image");
    REFUSES("nothing", "caption 1 2 1 image nothing");
    for (size_t i = 0, at = 0; i < 65; i++)
        at += (size_t)snprintf(many + at, sizeof many - at, " image");
    REFUSES("together", "caption 1 2 1%s", many);

    REFUSES("step REPS IMAGE", "step 1 image");
    REFUSES("REPS", "step x image 1");
    REFUSES("a token", "step 1 image 1 97");
    REFUSES("a token", "step 1 image 1 -1");
    REFUSES("logits OUT IMAGE", "logits - image");
    REFUSES("a token", "logits - image 1 x");
    REFUSES("nothing", "logits - nothing 1");
    for (size_t i = 0, at = 0; i < 41; i++)
        at += (size_t)snprintf(many + at, sizeof many - at, " %zu", i);
    REFUSES("workspace for 40", "logits - image%s", many);
    REFUSES("workspace for 40", "step 1 image%s", many);
    CHECK(strncmp(ask(s, "caption 1 40 1 image"), "ok ", 3) == 0);

    fwrite("encode 1 -\0 x", 1, 13, s->to);
    CHECK(strncmp(ask(s, "%s", ""), "err ", 4) == 0);

    /* A prefix decoder's picture takes 16 of its 40 positions. */
    CHECK_INT(understand(ask(s, "load %s/prefix/model.safetensors 1", golden)).times, 1);
    CHECK(strncmp(ask(s, "caption 1 24 1 image"), "ok ", 3) == 0);
    REFUSES("N is 25", "caption 1 25 1 image");
}

static void check_precisions(const char *program, const char *golden)
{
    static const char *const names[] = { "auto", "f32", "bf16", "int8", "int4" };
    struct servant s;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int built = host_precision_find(names[i])->built;

        printf("precision %s\n", names[i]);
        s = hire(program, names[i]);
        const char *said = ask(&s, "load %s/abs_pos/model.safetensors 1", golden);

        CHECK_MESSAGE(built ? understand(said).times == 1 : strncmp(said, "err ", 4) == 0 && strstr(said, names[i]),
                      "%s: the answer is \"%s\"", names[i], said);
        CHECK_INT(dismiss(&s), 0); /* the end of stdin ends it, too */
    }
    s = hire(program, "f31");
    CHECK_INT(dismiss(&s), 2);
}

int main(int argc, char **argv)
{
    static const char *const fixtures[] = { "abs_pos", "prefix", "prefix_abs", "qk_norm", "alibi3", "one_head" };
    static const char *const files[] = { "image", "other", "out", "short", "long", "nan" };
    float nan_image[3 * 16 * 16 + 1] = { 0 };
    char folder[] = "/tmp/palme-serve-XXXXXX";
    char *program = argc == 3 ? realpath(argv[1], NULL) : NULL, *golden = argc == 3 ? realpath(argv[2], NULL) : NULL;

    if (!program || !golden)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    alarm(240); /* a servant that says nothing ends the test */
    if (!mkdtemp(folder) || chdir(folder) < 0)
        fatal(folder);
    struct servant s = hire(program, "auto");

    CHECK(strncmp(ask(&s, "encode 1 - x"), "err no model", 12) == 0);
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++)
        check_fixture(&s, golden, fixtures[i], 1 + (int)(i % 2));
    CHECK(different_captions > 0);

    write_file("short", nan_image, sizeof nan_image - 2 * sizeof(float));
    write_file("long", nan_image, sizeof nan_image);
    nan_image[700] = NAN;
    write_file("nan", nan_image, sizeof nan_image - sizeof(float));
    check_refusals(&s, golden);
    fputs("quit\nencode 1 - x\n", s.to); /* nothing is answered after it */
    CHECK_INT(dismiss(&s), 0);
    check_precisions(program, golden);

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    rmdir(folder);
    free(program);
    free(golden);
    return check_done();
}
