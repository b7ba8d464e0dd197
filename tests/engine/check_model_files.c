/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_model_files.c - any file gives an error or a correct model: a tiny valid file cut at every
 * byte, with every byte of its header bent, with every number of its header replaced; and wrong
 * metadata. Whatever opens also captions a picture, and the caption ends.
 *
 *     check_model_files [STEP]    tries every STEP-th place only, for slow tools
 */
#include <fcntl.h>
#include <fenv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "kernels/cpu.h"
#include "support/model_builder.h"
#include "palme.h"

/* As small as can be, so that every byte can be tried. */
static const char tiny[] = "{\"image_size\":2,\"patch_size\":1,\"encoder_dim\":2,\"decoder_dim\":2,\"num_tokens\":4,"
                           "\"max_seq_len\":8}";

static struct heard heard;
static size_t step = 1;
static const char *path;

static int open_model(palme_model **model)
{
    struct palme_setup setup = { .threads = 1, .log = heard_log, .log_user = &heard };

    memset(&heard, 0, sizeof heard);
    return palme_model_open(model, path, &setup);
}

/* Captions a small picture. Whatever the model is, pieces are UTF-8 and the caption ends. */
static void caption(palme_model *model, char *text, size_t size, double *score)
{
    static const uint8_t pixels[3 * 3 * 3] = { 250, 10, 10, 0, 200, 30, 90 };
    struct palme_image image = {
        .format = PALME_FORMAT_RGB, .width = 3, .height = 3, .planes = { pixels }, .strides = { 9 }
    };
    struct palme_options options = { .max_length = 4 };
    palme_session *session = NULL;
    const char *piece = "";
    int status, pieces = 0;

    text[0] = '\0';
    status = palme_session_open(&session, model, &options);
    CHECK_INT(status, PALME_OK);
    if (status < 0)
        return;
    CHECK_INT(palme_look(session, &image), PALME_OK);
    while ((status = palme_next(session, &piece)) == PALME_OK && pieces++ < 8) {
        json_t *string = json_string(piece); /* NULL unless it is UTF-8 */

        CHECK(string != NULL);
        json_decref(string);
        snprintf(text + strlen(text), size - strlen(text), "%s", piece);
    }
    /* A model with room for no token at all may say that its context is full. */
    CHECK_MESSAGE(status == PALME_END || status == PALME_ERROR_CONTEXT, "the caption ends with %d after %d pieces",
                  status, pieces);
    *score = palme_caption_score(session);
    palme_session_close(&session);
}

/* Opens the file: it is refused with one message that names the file, or it works. Returns the
 * status. */
static int try_file(const char *what, size_t place)
{
    palme_model *model = (palme_model *)&heard;
    int status = open_model(&model);
    char text[256];
    double score;

    if (status == PALME_OK) {
        caption(model, text, sizeof text, &score);
        palme_model_close(&model);
        CHECK_MESSAGE(heard.errors == 0, "%s %zu: opened with an error: %s", what, place, heard.error);
    } else {
        CHECK_MESSAGE(model == NULL && status < 0, "%s %zu: status %d, model %p", what, place, status, (void *)model);
        CHECK_MESSAGE(heard.errors == 1 && strncmp(heard.error, path, strlen(path)) == 0,
                      "%s %zu: status %d, %d messages: %s", what, place, status, heard.errors, heard.error);
    }
    return status;
}

static struct builder *tiny_builder(void)
{
    struct builder *b = builder_new(tiny, 11);

    builder_convert_all(b, "I8");
    return b;
}

/* ---- Damage ------------------------------------------------------------------------------- */

static void check_every_prefix(void)
{
    struct builder *b = tiny_builder();
    size_t length, header;
    unsigned char *bytes = builder_bytes(b, &length, &header);

    write_bytes(path, bytes, length);
    CHECK_INT(try_file("whole file", length), PALME_OK);
    for (size_t cut = length; cut-- > 0;) {
        int status;

        if (cut % step)
            continue;
        CHECK(truncate(path, (off_t)cut) == 0);
        status = try_file("cut at", cut);
        CHECK_MESSAGE(status == (cut < 8 ? PALME_ERROR_KIND : PALME_ERROR_READ), "cut at %zu: status %d: %s", cut,
                      status, heard.error);
        if (cut >= 8 + header)
            CHECK_MESSAGE(strstr(heard.error, "tensor ") != NULL, "cut at %zu: no tensor is named: %s", cut,
                          heard.error);
    }
    free(bytes);
    builder_free(b);
}

/* Every byte of length, header and data with bits flipped, and as signs that mean something to
 * JSON. */
static void check_every_byte(void)
{
    static const int instead[] = { -0x80, -0x01, '"' }; /* below 0: bits to flip */
    struct builder *b = tiny_builder();
    size_t length, header, refused = 0, opened = 0;
    unsigned char *bytes = builder_bytes(b, &length, &header);
    int fd;

    write_bytes(path, bytes, length);
    fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    for (size_t i = 0; i < length; i += step) {
        for (size_t k = 0; k < (i < 8 + header ? 3 : 1); k++) {
            unsigned char bent = (unsigned char)(instead[k] < 0 ? bytes[i] ^ -instead[k] : instead[k]);

            CHECK(pwrite(fd, &bent, 1, (off_t)i) == 1);
            if (try_file("bent at", i) == PALME_OK)
                opened++;
            else
                refused++;
        }
        CHECK(pwrite(fd, bytes + i, 1, (off_t)i) == 1);
    }
    close(fd);
    printf("bent bytes: %zu refused, %zu opened\n", refused, opened);
    CHECK(refused > opened && opened > 0);
    free(bytes);
    builder_free(b);
}

/* Each number of the header, the config and the tokenizer becomes an extreme one. The file keeps
 * its data. */
static void check_every_number(void)
{
    static const char *const extremes[] = {
        "0", "-1", "2147483648", "4294967296", "9223372036854775807", "18446744073709551616", "1e999", "", "null"
    };
    struct builder *b = tiny_builder();
    size_t length, header, numbers = 0;
    unsigned char *bytes = builder_bytes(b, &length, &header), *bent = malloc(length + 64);

    for (size_t i = 8; i < 8 + header;) {
        size_t end = i, k;

        while (end < 8 + header && bytes[end] >= '0' && bytes[end] <= '9')
            end++;
        if (end == i) {
            i++;
            continue;
        }
        if (numbers++ % step == 0)
            for (k = 0; k < sizeof extremes / sizeof extremes[0]; k++) {
                size_t new_length = strlen(extremes[k]);
                uint64_t new_header = header - (end - i) + new_length;

                memcpy(bent, &new_header, 8);
                memcpy(bent + 8, bytes + 8, i - 8);
                memcpy(bent + i, extremes[k], new_length);
                memcpy(bent + i + new_length, bytes + end, length - end);
                write_bytes(path, bent, length - (end - i) + new_length);
                try_file("number at", i);
            }
        i = end;
    }
    CHECK(numbers > 200);
    free(bent);
    free(bytes);
    builder_free(b);
}

/* ---- Metadata ----------------------------------------------------------------------------- */

static void check_metadata(void)
{
    static const struct {
        const char *key, *value;
        int status;
        const char *word;
    } rows[] = {
        { "format", NULL, PALME_ERROR_KIND, "models/" },
        { "format", "pt", PALME_ERROR_KIND, "pt" },
        { "format", "Palme", PALME_ERROR_KIND, "Palme" },
        { "format_version", NULL, PALME_ERROR_VERSION, "format_version" },
        { "format_version", "3", PALME_ERROR_VERSION, "3" },
        { "format_version", "2", PALME_ERROR_FORMAT, "image.size is missing" },
        { "format_version", "1 ", PALME_ERROR_VERSION, "1 " },
        { "tokenizer", NULL, PALME_ERROR_FORMAT, "tokenizer" },
        { "tokenizer", "", PALME_ERROR_FORMAT, "tokenizer" },
        { "tokenizer", "{}", PALME_ERROR_FORMAT, "" },
        { "config", "", PALME_ERROR_FORMAT, "config" },
        { "config", "{\"image_size\":4,\"image_size\":4}", PALME_ERROR_FORMAT, "config" },
        { "name", NULL, PALME_OK, "" },
    };
    struct builder *b;
    char *tokenizer;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status;

        b = builder_new("{}", 1);
        if (rows[i].value)
            builder_metadata(b, rows[i].key, rows[i].value);
        else if (json_object_get(b->metadata, rows[i].key))
            json_object_del(b->metadata, rows[i].key);
        builder_write(b, path);
        status = try_file(rows[i].key, i);
        CHECK_MESSAGE(status == rows[i].status, "%s %zu: status %d: %s", rows[i].key, i, status, heard.error);
        CHECK_MESSAGE(strstr(heard.error, rows[i].word) != NULL, "no \"%s\" in: %s", rows[i].word, heard.error);
        builder_free(b);
    }

    /* Tokenizers that are smaller and larger than the logits: the smaller one leaves padding. */
    for (int tokens = 39; tokens <= 41; tokens++) {
        int status;

        b = builder_new("{}", 1);
        tokenizer = builder_tokenizer(tokens);
        builder_metadata(b, "tokenizer", tokenizer);
        builder_write(b, path);
        status = try_file("vocabulary", (size_t)tokens);
        CHECK_INT(status, tokens <= 40 ? PALME_OK : PALME_ERROR_FORMAT);
        free(tokenizer);
        builder_free(b);
    }

    /* A plain checkpoint of PyTorch has no metadata of ours. */
    b = builder_new("{}", 1);
    json_object_clear(b->metadata);
    builder_metadata(b, "config", "");
    builder_write(b, path);
    CHECK_INT(try_file("plain checkpoint", 0), PALME_ERROR_KIND);
    builder_free(b);
}

/* ---- The file as a thing ------------------------------------------------------------------ */

static int descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void check_paths(void)
{
    const char *kept = path, *odd = temporary("caf\351 \n.safetensors"), *link = temporary("link");
    struct builder *b = builder_new("{}", 1);
    palme_model *model = NULL;
    char text[256], again[256];
    double score = 0, score_again = 0;
    int before = descriptors();

    /* A name that is not UTF-8; the message is. */
    builder_write(b, odd);
    path = odd;
    CHECK_INT(open_model(&model), PALME_OK);
    caption(model, text, sizeof text, &score);

    /* The file is changed, cut and removed while the model is open: nothing changes. */
    CHECK_INT(descriptors(), before);
    write_bytes(odd, "PK\3\4 something else", 18);
    caption(model, again, sizeof again, &score_again);
    CHECK_STR(again, text);
    CHECK(score == score_again);
    palme_model_close(&model);
    CHECK_INT(open_model(&model), PALME_ERROR_KIND);
    CHECK(strstr(heard.error, "caf? ?.safetensors: ") != NULL);
    CHECK(truncate(odd, 0) == 0);

    builder_write(b, kept);
    path = link;
    CHECK(symlink(kept, link) == 0);
    CHECK_INT(open_model(&model), PALME_OK);
    palme_model_close(&model);
    CHECK_INT(descriptors(), before);
    path = kept;
    builder_free(b);
}

/* A file of 10 GB without any content, whose header is valid and whose config wants another shape.
 */
static void check_sparse(void)
{
    struct builder *b = builder_new("{}", 1);
    size_t length, header;
    unsigned char *bytes = builder_bytes(b, &length, &header);
    char *wider = malloc(length + 64), *entry;
    struct rusage before, after;
    uint64_t n;
    int written;

    /* The last tensor is the bias of the logits, 40 floats; it becomes 2621440000. */
    memcpy(wider, bytes, length);
    wider[8 + header] = '\0';
    entry = strstr(wider + 8, "\"decoder.net.to_logits.bias\"");
    CHECK(entry != NULL);
    if (entry) {
        unsigned long long begin = length - 8 - header - 160, end = begin + 2621440000ull * 4;

        written = sprintf(entry,
                          "\"decoder.net.to_logits.bias\":{\"dtype\":\"F32\",\"shape\":[2621440000],"
                          "\"data_offsets\":[%llu,%llu]}}",
                          begin, end);
        n = (uint64_t)(entry + written - (wider + 8));
        memcpy(wider, &n, 8);
        write_bytes(path, wider, 8 + n);
        CHECK(truncate(path, (off_t)(8 + n + end)) == 0);
        getrusage(RUSAGE_SELF, &before);
        CHECK_INT(try_file("sparse", 0), PALME_ERROR_FORMAT);
        getrusage(RUSAGE_SELF, &after);
        CHECK_MESSAGE(strstr(heard.error, "to_logits.bias") && strstr(heard.error, "2621440000"), "%s", heard.error);
        CHECK(after.ru_maxrss - before.ru_maxrss < 2048 && after.ru_inblock - before.ru_inblock < 2048);
    }
    free(wider);
    free(bytes);
    builder_free(b);
}

static const char *level; /* of the kernels; NULL: the machine's best */

/* The precision that a model is opened in when `asked` is asked for, or the error. */
static void precision_is(const char *asked, const char *wanted, const char *what)
{
    struct palme_setup setup = {
        .threads = 1, .level = level, .precision = asked, .log = heard_log, .log_user = &heard
    };
    palme_model *model;
    struct palme_info info;

    memset(&heard, 0, sizeof heard);
    int status = palme_model_open(&model, path, &setup);

    CHECK_INT(status, wanted ? PALME_OK : PALME_ERROR_ARGUMENT);
    if (status < 0) {
        CHECK_MESSAGE(what && strstr(heard.error, what), "precision %s: the error is %s", asked, heard.error);
        return;
    }
    palme_model_info(model, &info);
    CHECK_MESSAGE(wanted && strcmp(info.precision, wanted) == 0, "precision %s of a model at level %s: %s, wanted %s",
                  asked ? asked : "NULL", info.level, info.precision, wanted);
    palme_model_close(&model);
}

/* What `auto` takes of each list of precisions, at each level of this machine: none that is slower there than f32. */
static void check_automatic(struct builder *b)
{
    static const struct {
        const char *list, *plain, *without_bytes,
            *wanted; /* at c; at neon, which has no products of bytes; elsewhere */
    } cases[] = {
        { "[\"f32\"]", "f32", "f32", "f32" },
        { "[\"f32\",\"bf16\"]", "f32", "bf16", "bf16" },
        { "[\"f32\",\"int8\"]", "f32", "f32", "int8" },
        { "[\"int8\"]", "f32", "f32", "int8" },
        { "[\"f32\",\"bf16\",\"int8\"]", "f32", "bf16", "int8" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        builder_config(b, "precisions", cases[i].list);
        builder_write(b, path);
        for (int l = PALME_CPU_C; l < PALME_CPU_LEVELS; l++) {
            const char *wanted = l == PALME_CPU_C      ? cases[i].plain
                                 : l == PALME_CPU_NEON ? cases[i].without_bytes
                                                       : cases[i].wanted;

            if (!palme_cpu_has((enum palme_cpu_level)l))
                continue;
            level = palme_cpu_name((enum palme_cpu_level)l);
            precision_is("auto", wanted, NULL);
            precision_is(NULL, wanted, NULL);
            precision_is("int8", "int8", NULL); /* what is asked for is taken */
        }
        level = NULL;
    }
}

static void check_precisions(void)
{
    struct builder *b = builder_new(tiny, 4);

    builder_write(b, path);
    precision_is(NULL, "f32", NULL);
    precision_is("auto", "f32", NULL);
    precision_is("f32", "f32", NULL);
    precision_is("int3", NULL, "int3");
    precision_is("", NULL, "auto, f32, bf16, int8 and int4");
    precision_is("bf16", "bf16", NULL);
    precision_is("int8", "int8", NULL);
    precision_is("int4", "int4", NULL);
    builder_config(b, "precisions", "[\"f32\",\"int8\"]");
    builder_write(b, path);
    precision_is("f32", "f32", NULL);
    check_automatic(b);
    builder_free(b);
}

/* A model with tensors that no model needs, legal in ways that only the format knows: it is the same model, and they
 * get the warning that others get. */
static void check_unusual_tensors(void)
{
    static const char *const extra[] = {
        "\"dtype\":\"F32\",\"shape\":[0]",
        "\"dtype\":\"I64\",\"shape\":[]",
        "\"dtype\":\"BOOL\",\"shape\":[2,4]",
        "\"dtype\":\"F8_E4M3\",\"shape\":[8]",
        "\"dtype\":\"F4\",\"shape\":[16]",
        "\"dtype\":\"C64\",\"shape\":[1]",
        "\"dtype\":\"U16\",\"shape\":[1,1,1,1,1,1,1,1,1,4]",
    };
    struct builder *b = builder_new("{}", 14);
    size_t length, header;
    unsigned char *bytes = builder_bytes(b, &length, &header);

    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++) {
        size_t data = length - 8 - header, end = i == 0 ? data : data + 8;
        unsigned char *changed = calloc(1, length + 208);
        struct heard said = { 0 };
        struct palme_setup setup = { .threads = 1, .log = heard_log, .log_user = &said };
        char entry[200];
        palme_model *model;
        size_t n =
            (size_t)snprintf(entry, sizeof entry, "{\"extra\":{%s,\"data_offsets\":[%zu,%zu]},", extra[i], data, end);
        uint64_t size = header - 1 + n;

        memcpy(changed, &size, 8);
        memcpy(changed + 8, entry, n);
        memcpy(changed + 8 + n, bytes + 9, length - 9); /* all behind the header's first brace */
        write_bytes(path, changed, length - 1 + n + end - data);
        CHECK_MESSAGE(palme_model_open(&model, path, &setup) == PALME_OK, "%s: %s", extra[i], said.error);
        CHECK_MESSAGE(said.warnings == 1 && strstr(said.warning, "extra is unknown"), "%s: %s", extra[i], said.warning);
        palme_model_close(&model);
        free(changed);
    }
    free(bytes);
    builder_free(b);
}

int main(int count, char **arguments)
{
    int rounding = fegetround();

    if (count > 1 && atoi(arguments[1]) > 0)
        step = (size_t)atoi(arguments[1]);
    path = temporary("model.safetensors");
    check_metadata();
    check_paths();
    check_precisions();
    check_sparse();
    check_unusual_tensors();
    check_every_prefix();
    check_every_byte();
    check_every_number();
    CHECK_INT(fegetround(), rounding);
    return check_done();
}
