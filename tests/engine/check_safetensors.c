/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_safetensors.c - the strict reader alone: what it opens and what it refuses, the data that
 * it hands out, the digest, and how messages are made fit to be shown. Models are the business of
 * check_weights.c.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/check.h"
#include "support/model_builder.h"
#include "base/log.h"
#include "io/safetensors.h"
#include "io/sha256.h"

static struct heard heard;

static int open_file(struct palme_safetensors **file, const char *path, int verify)
{
    struct palme_log log = { heard_log, &heard, path };

    memset(&heard, 0, sizeof heard);
    return palme_safetensors_open(file, path, verify, &log);
}

/* Opens a file that must be refused with a status, one message that names the file, and a word in
 * it. */
static void refuse(const char *path, int status, const char *word, const char *what)
{
    struct palme_safetensors *file;
    int found = open_file(&file, path, 0);

    CHECK_MESSAGE(found == status, "%s: status %d, wanted %d (%s)", what, found, status, heard.error);
    CHECK_MESSAGE(file == NULL, "%s: the file is not NULL", what);
    CHECK_MESSAGE(heard.errors == 1, "%s: %d messages", what, heard.errors);
    CHECK_MESSAGE(strncmp(heard.error, path, strlen(path)) == 0, "%s: the file is not named: %s", what, heard.error);
    CHECK_MESSAGE(strstr(heard.error, word) != NULL, "%s: no \"%s\" in: %s", what, word, heard.error);
    palme_safetensors_close(&file);
}

/* A file of a header and `data` zero bytes; `claimed` is what stands as the header's length. */
static const char *write_header(const char *header, size_t length, uint64_t claimed, size_t data)
{
    const char *path = temporary("header.safetensors");
    unsigned char *bytes = calloc(1, 8 + length + data);

    memcpy(bytes, &claimed, 8);
    memcpy(bytes + 8, header, length);
    write_bytes(path, bytes, 8 + length + data);
    free(bytes);
    return path;
}

static void refuse_header(const char *header, size_t data, const char *word)
{
    refuse(write_header(header, strlen(header), strlen(header), data),
           strstr(word, "cut short") ? PALME_ERROR_READ : PALME_ERROR_FORMAT, word, header);
}

static void accept_header(const char *header, size_t data)
{
    struct palme_safetensors *file;
    int status = open_file(&file, write_header(header, strlen(header), strlen(header), data), 0);

    CHECK_MESSAGE(status == PALME_OK, "%s: status %d (%s)", header, status, heard.error);
    palme_safetensors_close(&file);
}

/* ---- Other kinds of files ----------------------------------------------------------------- */

static void check_no_file(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = temporary("thing");
    int fd;

    refuse(temporary("absent"), PALME_ERROR_NOT_FOUND, "no such file", "absent");
    refuse("file:///tmp/absent.safetensors", PALME_ERROR_NOT_FOUND, "URI", "URI");
    CHECK(mkdir(path, 0700) == 0);
    refuse(path, PALME_ERROR_OPEN, "directory", "directory");
    rmdir(path);
    CHECK(mkfifo(path, 0600) == 0);
    refuse(path, PALME_ERROR_OPEN, "fifo", "fifo"); /* a reader that blocks runs into the test's time-out */
    unlink(path);
    refuse("/dev/null", PALME_ERROR_OPEN, "device", "device");
    if (strlen(path) < sizeof address.sun_path)
        strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (strlen(path) < sizeof address.sun_path && bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
        refuse(path, PALME_ERROR_OPEN, "socket", "socket");
    close(fd);
    unlink(path);
    write_bytes(path, "x", 1);
    chmod(path, 0);
    if (access(path, R_OK) != 0) /* not so for root */
        refuse(path, PALME_ERROR_OPEN, "cannot be opened", "unreadable");
    unlink(path);
    CHECK(symlink("absent", path) == 0); /* beside it */
    refuse(path, PALME_ERROR_NOT_FOUND, "no such file", "dangling link");
}

static void check_other_kinds(void)
{
    static const struct {
        const char *what, *bytes;
        size_t length;
        const char *word;
        int convertible;
    } kinds[] = {
        { "pickle 2", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 15, "pickle", 1 },
        { "pickle 4", "\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c", 12, "pickle", 1 },
        { "zip", "PK\3\4\0\0\10\10\0\0data.pkl", 18, "zip", 1 },
        { "GGUF", "GGUF\3\0\0\0\x23\1\0\0\0\0\0\0", 16, "GGUF", 1 },
        { "ONNX",
          "\x08\x08\x12\x07pytorch\x1a\x05"
          "2.1.0",
          18, "ONNX", 1 },
        { "ONNX with graph first", "\x08\x03:\x80\x01\x0a", 6, "ONNX", 1 },
        { "TensorFlow Lite", "\x1c\0\0\0TFL3\0\0", 10, "TensorFlow", 1 },
        { "HDF5", "\x89HDF\r\n\x1a\n\0\0", 10, "HDF5", 1 },
        { "text", "# a model\nof words\n", 19, "text", 0 },
        { "JSON as text", "{\"a\": 1}\n", 9, "text", 0 },
        { "web page", "<!DOCTYPE html><html>", 21, "web page", 0 },
        { "Git LFS", "version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS", 0 },
        { "program", "\177ELF\2\1\1\0\0\0\0\0", 12, "program", 0 },
        { "picture", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, "PNG", 0 },
        { "noise", "\xf3\x91\x02\0\xaa\x13\x37\xc4\x99\x99\x99", 11, "not a model file", 0 },
        { "empty", "", 0, "empty", 0 },
    };
    const char *path = temporary("kind");

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        write_bytes(path, kinds[i].bytes, kinds[i].length);
        refuse(path, PALME_ERROR_KIND, kinds[i].word, kinds[i].what);
        CHECK_MESSAGE(!strstr(heard.error, "models/") == !kinds[i].convertible, "%s: advice in: %s", kinds[i].what,
                      heard.error);
    }
}

/* ---- The header --------------------------------------------------------------------------- */

/* A lie about the header's length must not cost memory: the files are sparse and up to 40 MiB long,
 * so that whoever believes it reads them. */
static void check_length_lies(void)
{
    static const struct {
        uint64_t claimed;
        off_t size;
        int status;
    } lies[] = {
        { 0, 4096, PALME_ERROR_FORMAT },
        { 1, 4096, PALME_ERROR_FORMAT },
        { 4096, 4096, PALME_ERROR_READ },
        { 4089, 4096, PALME_ERROR_READ },
        { (16 << 20) + 1, 40 << 20, PALME_ERROR_FORMAT },
        { 32 << 20, 40 << 20, PALME_ERROR_FORMAT },
        { 1ull << 40, 40 << 20, PALME_ERROR_FORMAT },
        { 1ull << 63, 40 << 20, PALME_ERROR_FORMAT },
        { UINT64_MAX - 7, 40 << 20, PALME_ERROR_FORMAT },
        { UINT64_MAX, 40 << 20, PALME_ERROR_FORMAT },
    };
    struct rusage before, after;

    /* Warm up what prints and allocates. */
    refuse_header("{\"a\":1}", 0, "header entry");
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        const char *path = write_header("{}", 2, lies[i].claimed, 0);
        char what[64];

        CHECK(truncate(path, lies[i].size) == 0);
        snprintf(what, sizeof what, "header of %llu bytes", (unsigned long long)lies[i].claimed);
        refuse(path, lies[i].status, "header", what);
    }
    getrusage(RUSAGE_SELF, &after);
    CHECK_MESSAGE(after.ru_maxrss - before.ru_maxrss < 2048, "peak memory rose by %ld KiB",
                  after.ru_maxrss - before.ru_maxrss);
}

static void check_short_files(void)
{
    unsigned char bytes[8] = { 4, 0, 0, 0, 0, 0, 0, 0 };
    const char *path = temporary("short");

    for (size_t length = 1; length < 8; length++) {
        write_bytes(path, bytes, length);
        refuse(path, PALME_ERROR_KIND, "not a model file", "short");
    }
    write_bytes(path, bytes, 8);
    refuse(path, PALME_ERROR_READ, "cut short", "the length alone");
}

static void check_json(void)
{
    static char deep[40100];
    size_t used;

    refuse_header("{\"a\"", 0, "not valid JSON");
    refuse_header("{}}", 0, "not valid JSON");
    refuse_header("{\"\xff\":1}", 0, "not valid JSON");
    refuse_header("{\"a\xc0\xaf\":1}", 0, "not valid JSON");
    refuse_header("{\"a\\u0000\":1}", 0, "not valid JSON");
    refuse_header("{\"a\":1,\"a\":1}", 0, "duplicate");
    refuse_header("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}", 0, "duplicate");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate");
    refuse_header("{\"__metadata__\":[]}", 0, "__metadata__");
    refuse_header("{\"__metadata__\":{\"k\":1}}", 0, "k");
    used = (size_t)snprintf(deep, sizeof deep, "{\"a\":");
    memset(deep + used, '[', 10000);
    memset(deep + used + 10000, ']', 10000);
    strcpy(deep + used + 20000, "}");
    refuse_header(deep, 0, "nested");
    used = 0;
    for (int i = 0; i < 5000; i++)
        used += (size_t)snprintf(deep + used, sizeof deep - used, "{\"a\":");
    refuse_header(deep, 0, "nested");
    used = (size_t)snprintf(deep, sizeof deep, "{\"a\":[");
    for (int i = 0; i < 10000; i++)
        used += (size_t)snprintf(deep + used, sizeof deep - used, "%s{}", i ? "," : "");
    strcpy(deep + used, "]}");
    refuse_header(deep, 0, "more objects and arrays");
    accept_header("{}", 0);
    accept_header("{}   \n", 0); /* writers pad with spaces */
    accept_header("{\"__metadata__\":{\"k\":\"[[[[[[[[[[[[[[[[[[[[\"}}", 0);
}

/* One entry for a tensor named t, of which each part can be bent. */
static void check_entries(void)
{
    static const struct {
        const char *entry;
        size_t data;
        const char *word;
    } bad[] = {
        { "1", 0, "tensor t" },
        { "[]", 0, "tensor t" },
        { "{\"dtype\":\"F32\",\"shape\":[1]}", 4, "data_offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}", 4, "nothing else" },
        { "{\"dtype\":\"F32\",\"shapes\":[1],\"data_offsets\":[0,4]}", 4, "shape" },
        { "{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}", 4, "dtype" },
        { "{\"dtype\":\"F128\",\"shape\":[1],\"data_offsets\":[0,16]}", 16, "F128" },
        { "{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}", 1, "whole bytes" },
        { "{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,2]}", 2, "takes 1 bytes" },
        { "{\"dtype\":\"F4\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}", 0, "too large" },
        { "{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, "f32" },
        { "{\"dtype\":\"\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, "unknown dtype" },
        { "{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}", 4, "shape" },
        { "{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]}", 0, "takes 4 bytes" },
        { "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,4]}", 4, "takes 0 bytes" },
        { "{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2,0],\"data_offsets\":[0,0]}", 0, "too large" },
        { "{\"dtype\":\"F32\",\"shape\":[1,-1],\"data_offsets\":[0,4]}", 4, "dimension 1" },
        { "{\"dtype\":\"F32\",\"shape\":[-1,-1],\"data_offsets\":[0,4]}", 4, "dimension 0" },
        { "{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}", 4, "dimension 0" },
        { "{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}", 4, "dimension 0" },
        { "{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,4]}", 4, "dimension 0" },
        { "{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}", 0, "too large" },
        { "{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}", 0, "too large" },
        { "{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}", 0, "too large" },
        { "{\"dtype\":\"I8\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,0]}", 0, "too large" },
        { "{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]}", 4, "JSON" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}", 4, "data_offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}", 4, "data_offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}", 4, "data_offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}", 4, "data_offsets" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}", 4, "negative" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}", 4, "backwards" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-9223372036854775808,"
          "9223372036854775807]}",
          4, "negative" },
        { "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}", 4, "takes 8 bytes" },
        { "{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, "takes 2 bytes" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", 3, "cut short: tensor t" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", 0, "cut short: tensor t" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", 5, "1 bytes follow" },
        { "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}", 8, "gap" },
        { "{\"dtype\":\"I8\",\"shape\":[9223372036854775807],\"data_offsets\":[0,"
          "9223372036854775807]}",
          4, "cut short" },
    };
    static const char *const types[] = { "F32", "F16", "BF16", "I8", "U8", "I32", "I64" };
    static const int sizes[] = { 4, 2, 2, 1, 1, 4, 8 };
    char header[512];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(header, sizeof header, "{\"t\":%s}", bad[i].entry);
        refuse_header(header, bad[i].data, bad[i].word);
    }
    for (int i = 0; i < 7; i++) {
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[2,1,3],\"data_offsets\":[0,%d]}}",
                 types[i], 6 * sizes[i]);
        accept_header(header, 6 * (size_t)sizes[i]);
        CHECK_STR(palme_dtype_name((enum palme_dtype)i), types[i]);
        CHECK_INT(palme_dtype_size((enum palme_dtype)i), sizes[i]);
    }
}

/* What the format allows and no model uses: its other types, scalars, tensors without elements, high ranks. */
static void check_unusual_entries(void)
{
    static const struct {
        const char *dtype, *shape;
        int bytes;
    } legal[] = {
        { "BOOL", "[6]", 6 },        { "I16", "[2,3]", 12 },
        { "U16", "[3]", 6 },         { "U32", "[3]", 12 },
        { "U64", "[3]", 24 },        { "F64", "[3]", 24 },
        { "C64", "[3]", 24 },        { "F8_E4M3", "[3]", 3 },
        { "F8_E5M2", "[3]", 3 },     { "F8_E8M0", "[3]", 3 },
        { "F8_E4M3FNUZ", "[3]", 3 }, { "F8_E5M2FNUZ", "[3]", 3 },
        { "F4", "[2,3]", 3 },        { "F6_E2M3", "[4]", 3 },
        { "F6_E3M2", "[8]", 6 },     { "I64", "[]", 8 },
        { "F32", "[0]", 0 },         { "F4", "[0]", 0 },
        { "F16", "[4,0,2]", 0 },     { "I8", "[1,1,1,1,1,1,1,1,3,1]", 3 },
    };
    char header[512];

    for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++) {
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%d]}}",
                 legal[i].dtype, legal[i].shape, legal[i].bytes);
        accept_header(header, (size_t)legal[i].bytes);
    }
    /* Without elements it may lie before, between and behind others, and in any order of names. */
    accept_header("{\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                  "\"y\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[4,4]},"
                  "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
                  "\"x\":{\"dtype\":\"F32\",\"shape\":[9,0],\"data_offsets\":[8,8]}}",
                  8);
    refuse_header("{\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                  4, "overlaps");
    refuse_header("{\"z\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[6,6]},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                  4, "gap");
}

static void check_layout(void)
{
    static const char form[] = "{\"b\":{\"dtype\":\"I8\",\"shape\":[%d],\"data_offsets\":[%d,%d]},"
                               "\"a\":{\"dtype\":\"I8\",\"shape\":[%d],\"data_offsets\":[%d,%d]}}";
    static const struct {
        int begin, end, begin2, end2;
        const char *word; /* NULL: valid */
    } rows[] = {
        { 0, 4, 4, 8, NULL },
        { 4, 8, 0, 4, NULL },
        { 0, 4, 0, 8, "overlaps" },
        { 0, 8, 0, 8, "overlaps" },
        { 0, 5, 4, 8, "overlaps" },
        { 0, 8, 2, 6, "overlaps" },
        { 0, 3, 4, 8, "gap" },
        { 1, 4, 4, 8, "gap" },
        { 0, 4, 4, 7, "1 bytes follow" },
        { 0, 4, 4, 9, "cut short: tensor a" },
    };
    char header[512];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(header, sizeof header, form, rows[i].end - rows[i].begin, rows[i].begin, rows[i].end,
                 rows[i].end2 - rows[i].begin2, rows[i].begin2, rows[i].end2);
        if (rows[i].word)
            refuse_header(header, 8, rows[i].word);
        else
            accept_header(header, 8);
    }
}

/* ---- Data --------------------------------------------------------------------------------- */

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* What the 16 bits of F16 and BF16 mean, from the definition of the formats. */
static double meaning(unsigned word, int exponent_bits)
{
    int fraction_bits = 15 - exponent_bits, most = (1 << exponent_bits) - 1;
    int exponent = (int)(word >> fraction_bits) & most, fraction = (int)word & ((1 << fraction_bits) - 1);
    int bias = most / 2;
    double value = exponent == most ? (fraction ? NAN : INFINITY)
                   : exponent == 0  ? ldexp(fraction, 1 - bias - fraction_bits)
                                    : ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);

    return word & 0x8000 ? -value : value;
}

/* Every value of the 8 and 16 bit types, whole and in parts, at an address that is not aligned. */
static void check_reading(void)
{
    static const char header[] = "{\"__metadata__\":{\"k\":\"v\",\"long\":\"\\u00e9\"},"
                                 "\"f16\":{\"dtype\":\"F16\",\"shape\":[256,256],\"data_offsets\":[1,131073]},"
                                 "\"odd\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"bf16\":{\"dtype\":\"BF16\",\"shape\":[65536],\"data_offsets\":[131073,262145]},"
                                 "\"i8\":{\"dtype\":\"I8\",\"shape\":[256],\"data_offsets\":[262145,262401]},"
                                 "\"f32\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[262401,262421]},"
                                 "\"i64\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[262421,262437]}}";
    static const float f32[5] = { -0.0f, 1e-42f, INFINITY, 3.14159274f, -1e38f };
    static const int64_t i64[2] = { -5, 1ll << 40 };
    const char *path = temporary("data.safetensors");
    size_t length = sizeof header - 1, count;
    unsigned char *bytes = calloc(1, 8 + length + 262437), *data = bytes + 8 + length;
    float *read = malloc(65536 * sizeof *read), part[3];
    struct palme_log log = { heard_log, &heard, "data" };
    struct palme_safetensors *file = NULL;
    const struct palme_tensor *t;
    int wrong = 0, status;
    int64_t whole[2];
    uint64_t n = length;

    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, length);
    for (unsigned i = 0; i < 65536; i++) {
        data[1 + 2 * i] = data[131073 + 2 * i] = (unsigned char)i;
        data[2 + 2 * i] = data[131074 + 2 * i] = (unsigned char)(i >> 8);
    }
    for (int i = 0; i < 256; i++)
        data[262145 + i] = (unsigned char)i;
    memcpy(data + 262401, f32, sizeof f32);
    memcpy(data + 262421, i64, sizeof i64);
    write_bytes(path, bytes, 8 + length + 262437);
    status = open_file(&file, path, 0);
    CHECK_INT(status, PALME_OK);
    if (status < 0)
        goto done;

    CHECK_STR(palme_safetensors_metadata(file, "k", NULL), "v");
    CHECK_STR(palme_safetensors_metadata(file, "long", &count), "\303\251");
    CHECK_INT(count, 2);
    CHECK(palme_safetensors_metadata(file, "absent", &count) == NULL);
    t = palme_safetensors_list(file, &count);
    CHECK_INT(count, 6);
    CHECK_STR(t[0].name, "odd");
    CHECK_STR(t[1].name, "f16");
    CHECK_STR(t[5].name, "i64");
    CHECK(palme_safetensors_find(file, "absent") == NULL);
    CHECK(palme_safetensors_find(file, "") == NULL);

    for (int k = 0; k < 2; k++) {
        t = palme_safetensors_find(file, k ? "bf16" : "f16");
        CHECK(t != NULL && t->count == 65536 && t->rank == (k ? 1 : 2));
        CHECK_INT(palme_tensor_read(file, read, t, 0, 65536, &log), PALME_OK);
        for (unsigned i = 0; i < 65536; i++) {
            double wanted = meaning(i, k ? 8 : 5);

            wrong += isnan(wanted) ? !isnan(read[i]) : bits_of(read[i]) != bits_of((float)wanted);
        }
        CHECK_INT(wrong, 0);
        CHECK_INT(palme_tensor_read(file, part, t, 40001, 3, &log), PALME_OK);
        CHECK(memcmp(part, read + 40001, sizeof part) == 0);
    }
    t = palme_safetensors_find(file, "i8");
    CHECK_INT(palme_tensor_read(file, read, t, 0, 256, &log), PALME_OK);
    for (int i = 0; i < 256; i++)
        wrong += read[i] != (float)(i < 128 ? i : i - 256);
    CHECK_INT(wrong, 0);
    t = palme_safetensors_find(file, "f32");
    CHECK_INT(palme_tensor_read(file, read, t, 0, 5, &log), PALME_OK);
    CHECK(memcmp(read, f32, sizeof f32) == 0);
    t = palme_safetensors_find(file, "i64");
    CHECK_INT(palme_tensor_read_raw(file, whole, t, 0, 2, &log), PALME_OK);
    CHECK(memcmp(whole, i64, sizeof i64) == 0);

    /* What is not there is refused before it is read. */
    CHECK_INT(palme_tensor_read(file, read, t, 0, 2, &log), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_tensor_read_raw(file, whole, t, 1, 2, &log), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_tensor_read_raw(file, whole, t, -1, 1, &log), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_tensor_read_raw(file, whole, t, INT64_MAX, 1, &log), PALME_ERROR_ARGUMENT);

    /* A file that shrinks while it is open: one error that names the tensor and the place. */
    CHECK(truncate(path, (off_t)(8 + length + 100000)) == 0);
    t = palme_safetensors_find(file, "f16");
    memset(&heard, 0, sizeof heard);
    CHECK_INT(palme_tensor_read(file, read, t, 0, 65536, &log), PALME_ERROR_READ);
    CHECK_INT(heard.errors, 1);
    CHECK(strstr(heard.error, "tensor f16") && strstr(heard.error, "element"));
done:
    palme_safetensors_close(&file);
    palme_safetensors_close(&file);
    palme_safetensors_close(NULL);
    free(bytes);
    free(read);
}

static void check_digest(void)
{
    /* The examples of FIPS 180-4 and a million times 'a' in odd portions. */
    static const struct {
        const char *text, *digest;
    } known[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    static const char form[] = "{\"__metadata__\":{\"sha256\":\"%s\"},"
                               "\"t\":{\"dtype\":\"I8\",\"shape\":[64],\"data_offsets\":[0,64]}}";
    struct palme_safetensors *file;
    struct palme_sha256 sum;
    char hex[65], header[512];
    unsigned char zero[64] = { 0 }, letters[77];
    size_t fed = 0;

    for (int i = 0; i < 3; i++) {
        palme_sha256_start(&sum);
        palme_sha256_feed(&sum, known[i].text, strlen(known[i].text));
        palme_sha256_finish(&sum, hex);
        CHECK_STR(hex, known[i].digest);
    }
    memset(letters, 'a', sizeof letters);
    palme_sha256_start(&sum);
    for (size_t i = 0; fed < 1000000; i++) {
        size_t part = i % 77 < 1000000 - fed ? i % 77 : 1000000 - fed;

        palme_sha256_feed(&sum, letters, part);
        fed += part;
    }
    palme_sha256_finish(&sum, hex);
    CHECK_STR(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");

    palme_sha256_start(&sum);
    palme_sha256_feed(&sum, zero, 64);
    palme_sha256_finish(&sum, hex);
    snprintf(header, sizeof header, form, hex);
    CHECK_INT(open_file(&file, write_header(header, strlen(header), strlen(header), 64), 1), PALME_OK);
    palme_safetensors_close(&file);
    hex[7] = hex[7] == '0' ? '1' : '0';
    snprintf(header, sizeof header, form, hex);
    CHECK_INT(open_file(&file, write_header(header, strlen(header), strlen(header), 64), 1), PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "sha256") && strstr(heard.error, hex));
    CHECK_INT(open_file(&file, write_header(header, strlen(header), strlen(header), 64), 0), PALME_OK);
    palme_safetensors_close(&file);
    CHECK_INT(open_file(&file, write_header("{}", 2, 2, 0), 1), PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "no sha256") != NULL);
}

/* ---- Messages ----------------------------------------------------------------------------- */

static int is_showable(const char *text)
{
    json_t *string = json_string(text); /* NULL unless the text is UTF-8 */

    json_decref(string);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return 0;
    return string != NULL;
}

static void check_messages(void)
{
    static const struct {
        const char *name, *shown;
        size_t length;
    } names[] = {
        { "plain", "plain", 5 },
        { "caf\303\251 \360\237\230\200", "caf\303\251 \360\237\230\200", 10 },
        { "a\nb\tc\033[2Jd\177", "a?b?c?[2Jd?", 11 },
        { "nul\0end", "nul?end", 7 },
        { "\377\300\257\355\240\200\364\220\200\200", "??????????", 10 },
        { "cut \342\202", "cut ??", 6 },
        { "long \340\202\251 \360\202\202\254", "long ??? ????", 13 },
        { "c1 \302\205 \342\200\256bidi\342\201\246 \342\200\250", "c1 ?? ???bidi??? ???", 20 },
    };
    struct palme_log log = { heard_log, &heard, "a\nfile \377" };
    struct palme_shown shown;
    static char text[100001];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK_STR(palme_show(&shown, names[i].name, names[i].length), names[i].shown);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    CHECK_INT(strlen(palme_show(&shown, text, 100000)), 120);
    for (int i = 0; i < 50000; i++)
        memcpy(text + 2 * i, "\303\251", 2);
    text[1] = 'x', text[0] = 'x';
    text[2] = 'x', memmove(text + 3, text + 4, 99996); /* so that the limit falls into a character */
    palme_show(&shown, text, 99000);
    CHECK(is_showable(shown.text) && strlen(shown.text) == 119);

    memset(&heard, 0, sizeof heard);
    CHECK_INT(palme_fail(&log, PALME_ERROR_READ, "%d and %s", 5, "a\rb"), PALME_ERROR_READ);
    CHECK_STR(heard.error, "a?file ?: 5 and a?b");
    palme_log_message(&log, PALME_LOG_WARNING, "%s", text);
    CHECK_INT(heard.warnings, 1);
    heard.warning[strlen(heard.warning) - 1] = '\0';
    CHECK(is_showable(heard.warning) && strlen(heard.warning) < 600);
    log.subject = text;
    CHECK_INT(palme_fail(&log, PALME_ERROR_KIND, "%s", text), PALME_ERROR_KIND);
    CHECK(is_showable(heard.error) && strlen(heard.error) < 1600);
    log.subject = NULL;
    CHECK_INT(palme_fail(&log, PALME_ERROR_KIND, "alone"), PALME_ERROR_KIND);
    CHECK_STR(heard.error, "alone");
    log.function = NULL;
    CHECK_INT(palme_fail(&log, PALME_ERROR_KIND, "unheard"), PALME_ERROR_KIND);
    CHECK_INT(palme_fail(NULL, PALME_ERROR_KIND, "unheard"), PALME_ERROR_KIND);
}

/* 100 000 tensors: all are found, and the header is accepted. Looking each one up in a list would
 * take ten thousand million comparisons, and with them the test's time-out. */
static void check_many(void)
{
    enum { MANY = 100000 };
    static char header[MANY * 80];
    char name[32];
    struct palme_safetensors *file;
    size_t used = 1, count;
    int wrong = 0, status;

    header[0] = '{';
    for (int i = 0; i < MANY; i++)
        used += (size_t)snprintf(header + used, sizeof header - used,
                                 "%s\"tensor.%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                                 i ? "," : "", i, i, i + 1);
    header[used++] = '}';
    status = open_file(&file, write_header(header, used, used, MANY), 0);
    CHECK_INT(status, PALME_OK);
    if (status == PALME_OK) {
        palme_safetensors_list(file, &count);
        CHECK_INT(count, MANY);
        for (int i = 0; i < MANY; i++) {
            const struct palme_tensor *t;

            snprintf(name, sizeof name, "tensor.%d", i);
            t = palme_safetensors_find(file, name);
            wrong += !t || t->offset != 8 + used + (size_t)i;
        }
        CHECK_INT(wrong, 0);
    }
    palme_safetensors_close(&file);
}

int main(void)
{
    check_length_lies(); /* first: it measures the peak of the process's memory */
    check_no_file();
    check_other_kinds();
    check_short_files();
    check_json();
    check_entries();
    check_unusual_entries();
    check_layout();
    check_reading();
    check_digest();
    check_messages();
    check_many();
    return check_done();
}
