/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * safetensors.c - the strict reader. It checks every byte of the header before it uses one, reads by explicit offsets,
 * and maps nothing, so that a file that is cut meanwhile is an error and not a crash. It knows files and tensors and no
 * model: encoder.c and decoder.c say which tensors there must be.
 * It is long because each way in which a header can be wrong has its own check and message.
 */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/sha256.h"

enum {
    MAX_HEADER = 16 << 20,
    PORTION = 8192, /* bytes that are read at once for the digest; small, for they are on the stack */
    BLOCK = 1024,   /* bytes that are converted at once, likewise */
    MAGIC_BYTES = 512
};

struct palme_safetensors {
    struct palme_source source;
    int owned;           /* the source was opened here */
    uint64_t size, data; /* of the file; where the data begins */
    struct palme_json *header;
    const struct palme_json *metadata; /* of it: an object of strings, or NULL */
    struct palme_tensor *tensors;      /* in the order of their data */
    struct palme_tensor **sorted;      /* by name */
    size_t count;
};

/* All that the format knows, with the bits of an element. */
static const struct {
    const char *name;
    int bits;
} dtypes[] = {
    [PALME_DTYPE_F32] = { "F32", 32 },
    [PALME_DTYPE_F16] = { "F16", 16 },
    [PALME_DTYPE_BF16] = { "BF16", 16 },
    [PALME_DTYPE_I8] = { "I8", 8 },
    [PALME_DTYPE_U8] = { "U8", 8 },
    [PALME_DTYPE_I32] = { "I32", 32 },
    [PALME_DTYPE_I64] = { "I64", 64 },
    { "BOOL", 8 },
    { "F4", 4 },
    { "F6_E2M3", 6 },
    { "F6_E3M2", 6 },
    { "F8_E5M2", 8 },
    { "F8_E4M3", 8 },
    { "F8_E8M0", 8 },
    { "F8_E4M3FNUZ", 8 },
    { "F8_E5M2FNUZ", 8 },
    { "I16", 16 },
    { "U16", 16 },
    { "U32", 32 },
    { "C64", 64 },
    { "F64", 64 },
    { "U64", 64 },
};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

const char *palme_dtype_name(enum palme_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t palme_dtype_size(enum palme_dtype dtype)
{
    return (size_t)dtypes[dtype].bits / 8;
}

static int read_at(const struct palme_safetensors *file, void *out, size_t length, uint64_t offset)
{
    return file->source.read_at(file->source.user, offset, out, length);
}

/* ---- What other kinds of file look like --------------------------------------------------- */

static const char convertible[] = "; convert it to a model file with the scripts in models/";

static const struct {
    size_t at, length;
    const char *magic, *kind;
    int is_checkpoint;
} kinds[] = {
    { 0, 4, "PK\3\4", "a zip archive, as PyTorch's .pt files are", 1 },
    { 0, 4, "PK\5\6", "an empty zip archive", 0 },
    { 0, 4, "GGUF", "a GGUF file", 1 },
    { 0, 4, "tjgg", "a GGML file", 1 },
    { 0, 4, "lmgg", "a GGML file", 1 },
    { 0, 4, "fmgg", "a GGML file", 1 },
    { 4, 4, "TFL3", "a TensorFlow Lite file", 1 },
    { 0, 8, "\211HDF\r\n\032\n", "an HDF5 file", 1 },
    { 0, 6, "\223NUMPY", "a NumPy file", 1 },
    { 257, 5, "ustar", "a tar archive", 0 },
    { 0, 3, "\037\213\010", "a gzip file", 0 },
    { 0, 6, "\3757zXZ", "an xz file", 0 },
    { 0, 4, "\050\265\057\375", "a zstd file", 0 },
    { 0, 4, "\177ELF", "a program", 0 },
    { 0, 4, "\211PNG", "a PNG picture", 0 },
    { 0, 3, "\377\330\377", "a JPEG picture", 0 },
    { 4, 4, "ftyp", "an MP4 video", 0 },
    { 0, 4, "\032\105\337\243", "a Matroska or WebM video", 0 },
    { 0, 4, "RIFF", "a RIFF file", 0 },
    { 0, 27, "version https://git-lfs.git", "the stand-in that Git LFS leaves for a file it has not fetched", 0 },
    { 0, 5, "<html", "a web page", 0 },
    { 0, 5, "<!DOC", "a web page", 0 },
    { 0, 5, "<!doc", "a web page", 0 },
};

static int is_text(const unsigned char *s, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((s[i] < 0x20 && s[i] != '\t' && s[i] != '\n' && s[i] != '\r' && s[i] != '\f') || s[i] == 0x7f)
            return 0;
    return length > 0;
}

/* An ONNX file is a protobuf: field 1, the version of the format, a small number; then one of the
 * fields 2..8 of its outermost message, which are strings, messages or the model's version. */
static int is_onnx(const unsigned char *s, size_t length)
{
    static const unsigned char next[] = { 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42 };

    return length > 3 && s[0] == 0x08 && s[1] >= 1 && s[1] < 64 && memchr(next, s[2], sizeof next);
}

/* What the first bytes of a file say it is, or NULL. */
static const char *other_kind(const unsigned char *s, size_t length, int *is_checkpoint)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].at + kinds[i].length <= length && memcmp(s + kinds[i].at, kinds[i].magic, kinds[i].length) == 0) {
            *is_checkpoint = kinds[i].is_checkpoint;
            return kinds[i].kind;
        }
    *is_checkpoint = 1;
    if (length > 2 && s[0] == 0x80 && s[1] >= 2 && s[1] <= 5)
        return "a Python pickle, as PyTorch's older .pt and .bin files are";
    if (is_onnx(s, length))
        return "an ONNX file";
    *is_checkpoint = 0;
    return is_text(s, length) ? "text" : NULL;
}

/* Reads the length of the header, which is then known to be sane: 2 <= length <= MAX_HEADER, all of
 * it inside the file, beginning with a brace. */
static int read_length(struct palme_safetensors *file, uint64_t *length, const struct palme_log *log)
{
    unsigned char s[MAGIC_BYTES];
    size_t known = file->size < sizeof s ? (size_t)file->size : sizeof s;
    unsigned long long size = file->size, n = 0;
    const char *kind;
    int error, begins, is_checkpoint;

    if (size == 0)
        return palme_fail(log, PALME_ERROR_KIND, "is empty, not a model file");
    error = read_at(file, s, known, 0);
    if (error)
        return palme_fail(log, PALME_ERROR_READ, "cannot be read: %s", palme_source_failure(error));
    for (int i = 7; i >= 0 && known >= 8; i--)
        n = n << 8 | s[i];
    begins = known >= 8 && (known == 8 || s[8] == '{');
    *length = n;
    if (begins && known > 8 && n >= 2 && n <= MAX_HEADER && n <= size - 8)
        return PALME_OK;
    kind = other_kind(s, known, &is_checkpoint);
    if (kind)
        return palme_fail(log, PALME_ERROR_KIND, "is not a model file: it looks like %s%s", kind,
                          is_checkpoint ? convertible : "");
    if (size < 8)
        return palme_fail(log, PALME_ERROR_KIND, "is not a model file: it has only %llu bytes", size);
    if (!begins)
        return palme_fail(log, PALME_ERROR_KIND, "is not a model file: no safetensors header begins at byte 8");
    if (n < 2 || n > MAX_HEADER)
        return palme_fail(log, PALME_ERROR_FORMAT, "is damaged: its header would have %llu bytes; 2 to %d are allowed",
                          n, MAX_HEADER);
    return palme_fail(log, PALME_ERROR_READ, "is cut short: its header has %llu bytes, and only %llu follow the length",
                      n, size - 8);
}

/* ---- The header --------------------------------------------------------------------------- */

static int validate_metadata(const struct palme_json *metadata, const struct palme_log *log)
{
    struct palme_shown shown;

    if (!palme_json_is(metadata, PALME_JSON_OBJECT))
        return palme_fail(log, PALME_ERROR_FORMAT, "header: __metadata__ is not an object");
    for (const struct palme_json *value = palme_json_first(metadata); value; value = value->next)
        if (!palme_json_is(value, PALME_JSON_STRING))
            return palme_fail(log, PALME_ERROR_FORMAT, "header: __metadata__ key %s is not a string",
                              palme_show(&shown, value->key, strlen(value->key)));
    return PALME_OK;
}

/* Validates one tensor by itself. Its offsets are still relative to the data. */
static int validate_tensor(struct palme_tensor *tensor, const struct palme_json *entry, const struct palme_log *log)
{
    const struct palme_json *dtype = palme_json_get(entry, "dtype"), *shape = palme_json_get(entry, "shape");
    const struct palme_json *offsets = palme_json_get(entry, "data_offsets");
    struct palme_shown name, found;
    int64_t begin, end, bytes, rest;
    size_t type;

    palme_show(&name, tensor->name, strlen(tensor->name));
    if (!palme_json_is(entry, PALME_JSON_OBJECT) || palme_json_size(entry) != 3 || !dtype || !shape || !offsets)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "tensor %s: its header entry must have dtype, shape and data_offsets, nothing else",
                          name.text);
    if (!palme_json_is(dtype, PALME_JSON_STRING))
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: dtype is not a string", name.text);
    for (type = 0; type < DTYPES; type++)
        if (strcmp(palme_json_text(dtype), dtypes[type].name) == 0)
            break;
    if (type == DTYPES)
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: unknown dtype %s", name.text,
                          palme_show(&found, palme_json_text(dtype), palme_json_size(dtype)));
    tensor->dtype = (enum palme_dtype)type;

    if (!palme_json_is(shape, PALME_JSON_ARRAY))
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: shape is not a list of dimensions", name.text);
    tensor->count = 1;
    for (const struct palme_json *dimension = palme_json_first(shape); dimension; dimension = dimension->next) {
        int64_t size = palme_json_integer(dimension);

        if (!palme_json_is(dimension, PALME_JSON_INTEGER) || size < 0)
            return palme_fail(log, PALME_ERROR_FORMAT,
                              "tensor %s: dimension %d of its shape is not an integer of 0 or more", name.text,
                              tensor->rank);
        if (__builtin_mul_overflow(tensor->count, size, &tensor->count))
            return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: its shape is too large", name.text);
        if (tensor->rank < PALME_MAX_RANK)
            tensor->shape[tensor->rank] = size;
        tensor->rank++;
    }
    /* Eighths of bytes, or bytes where an element has at least one. */
    int narrow = dtypes[type].bits < 8;
    if (__builtin_mul_overflow(tensor->count, (int64_t)(narrow ? dtypes[type].bits : dtypes[type].bits / 8), &bytes))
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: its shape is too large", name.text);
    rest = narrow ? bytes % 8 : 0;
    bytes = narrow ? bytes / 8 : bytes;
    if (rest)
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: its shape in %s does not fill whole bytes", name.text,
                          dtypes[type].name);

    if (!palme_json_is(offsets, PALME_JSON_ARRAY) || palme_json_size(offsets) != 2 ||
        !palme_json_is(palme_json_at(offsets, 0), PALME_JSON_INTEGER) ||
        !palme_json_is(palme_json_at(offsets, 1), PALME_JSON_INTEGER))
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: data_offsets must be two integers", name.text);
    begin = palme_json_integer(palme_json_at(offsets, 0));
    end = palme_json_integer(palme_json_at(offsets, 1));
    if (begin < 0 || end < begin)
        return palme_fail(log, PALME_ERROR_FORMAT, "tensor %s: data_offsets [%lld, %lld) are negative or run backwards",
                          name.text, (long long)begin, (long long)end);
    if (end - begin != bytes)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "tensor %s: its shape in %s takes %lld bytes, but data_offsets span %lld", name.text,
                          dtypes[type].name, (long long)bytes, (long long)(end - begin));
    tensor->offset = (uint64_t)begin;
    tensor->bytes = (uint64_t)bytes;
    return PALME_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct palme_tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) /* one without data lies before one with */
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const struct palme_tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* Validates the tensors together: sorted, they must cover the data without gap or overlap.
 */
static int validate_layout(struct palme_safetensors *file, const struct palme_log *log)
{
    unsigned long long at = 0, total = file->size - file->data;
    struct palme_shown name, before;

    for (size_t i = 0; i < file->count; i++) {
        struct palme_tensor *tensor = &file->tensors[i];
        unsigned long long begin = tensor->offset, end = tensor->offset + tensor->bytes;

        palme_show(&name, tensor->name, strlen(tensor->name));
        if (begin < at)
            return palme_fail(log, PALME_ERROR_FORMAT,
                              "tensor %s: its data from byte %llu overlaps tensor %s, which ends at %llu", name.text,
                              begin, palme_show(&before, tensor[-1].name, strlen(tensor[-1].name)), at);
        if (begin > at)
            return palme_fail(log, PALME_ERROR_FORMAT,
                              "tensor %s: its data begins at byte %llu and leaves a gap after %llu", name.text, begin,
                              at);
        if (end > total)
            return palme_fail(log, PALME_ERROR_READ,
                              "is cut short: tensor %s is bytes %llu to %llu of the data, which has %llu", name.text,
                              begin, end, total);
        tensor->offset += file->data;
        at = end;
    }
    if (at != total)
        return palme_fail(log, PALME_ERROR_FORMAT,
                          "%llu bytes follow the last tensor, which ends at byte %llu of the data", total - at, at);
    return PALME_OK;
}

/* Takes the tensors out of the parsed header, which keeps their names. */
static int take_tensors(struct palme_safetensors *file, const struct palme_log *log)
{
    size_t most = palme_json_size(file->header);

    file->tensors = calloc(most + 1, sizeof *file->tensors);
    file->sorted = calloc(most + 1, sizeof *file->sorted);
    if (!file->tensors || !file->sorted)
        return palme_fail(log, PALME_ERROR_MEMORY, "out of memory for the header of %zu tensors", most);
    for (const struct palme_json *value = palme_json_first(file->header); value; value = value->next) {
        struct palme_tensor *tensor = &file->tensors[file->count];
        int status;

        if (strcmp(value->key, "__metadata__") == 0)
            continue;
        tensor->name = value->key;
        status = validate_tensor(tensor, value, log);
        if (status < 0)
            return status;
        file->count++;
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
    for (size_t i = 0; i < file->count; i++)
        file->sorted[i] = &file->tensors[i];
    qsort(file->sorted, file->count, sizeof *file->sorted, by_name);
    return validate_layout(file, log);
}

static int read_header(struct palme_safetensors *file, uint64_t length, const struct palme_log *log)
{
    char *text = malloc((size_t)length);
    int status, error;

    if (!text)
        return palme_fail(log, PALME_ERROR_MEMORY, "out of memory for a header of %llu bytes",
                          (unsigned long long)length);
    error = read_at(file, text, (size_t)length, 8);
    if (error)
        status = palme_fail(log, PALME_ERROR_READ, "its header cannot be read: %s", palme_source_failure(error));
    else
        status = palme_json_load(&file->header, text, (size_t)length, "header", log);
    free(text);
    if (status < 0)
        return status;
    file->data = 8 + length;
    file->metadata = palme_json_get(file->header, "__metadata__");
    if (file->metadata)
        status = validate_metadata(file->metadata, log);
    if (status == PALME_OK)
        status = take_tensors(file, log);
    return status;
}

/* ---- The digest --------------------------------------------------------------------------- */

static int verify_digest(const struct palme_safetensors *file, const struct palme_log *log)
{
    const char *wanted = palme_safetensors_metadata(file, "sha256", NULL);
    struct palme_sha256 sum;
    unsigned char bytes[PORTION];
    struct palme_shown shown;
    char found[65];

    if (!wanted)
        return palme_fail(log, PALME_ERROR_FORMAT, "cannot be verified: its metadata has no sha256");
    palme_sha256_start(&sum);
    for (uint64_t at = file->data; at < file->size;) {
        size_t part = file->size - at < sizeof bytes ? (size_t)(file->size - at) : sizeof bytes;
        int error = read_at(file, bytes, part, at);

        if (error)
            return palme_fail(log, PALME_ERROR_READ, "cannot be read at byte %llu: %s", (unsigned long long)at,
                              palme_source_failure(error));
        palme_sha256_feed(&sum, bytes, part);
        at += part;
    }
    palme_sha256_finish(&sum, found);
    if (strcmp(wanted, found) != 0)
        return palme_fail(log, PALME_ERROR_FORMAT, "is damaged: its sha256 is %s, and the metadata says %s", found,
                          palme_show(&shown, wanted, strlen(wanted)));
    return PALME_OK;
}

/* ---- For everyone ------------------------------------------------------------------------- */

static int open_source(struct palme_safetensors *file, int verify, const struct palme_log *log)
{
    uint64_t length = 0;
    int status;

    file->size = file->source.size;
    status = read_length(file, &length, log);
    if (status == PALME_OK)
        status = read_header(file, length, log);
    if (status == PALME_OK && verify)
        status = verify_digest(file, log);
    return status;
}

int palme_safetensors_open_source(struct palme_safetensors **file, const struct palme_source *source, int verify,
                                  const struct palme_log *log)
{
    *file = calloc(1, sizeof **file);
    if (!*file)
        return palme_fail(log, PALME_ERROR_MEMORY, "out of memory");
    (*file)->source = *source;
    int status = open_source(*file, verify, log);
    if (status < 0)
        palme_safetensors_close(file);
    return status;
}

int palme_safetensors_open(struct palme_safetensors **file, const char *path, int verify, const struct palme_log *log)
{
    *file = calloc(1, sizeof **file);
    if (!*file)
        return palme_fail(log, PALME_ERROR_MEMORY, "out of memory");
    int status = palme_source_open(&(*file)->source, path, log);
    (*file)->owned = status == PALME_OK;
    if (status == PALME_OK)
        status = open_source(*file, verify, log);
    if (status < 0)
        palme_safetensors_close(file);
    return status;
}

void palme_safetensors_close(struct palme_safetensors **file)
{
    if (!file || !*file)
        return;
    if ((*file)->owned)
        palme_source_close(&(*file)->source);
    palme_json_close(&(*file)->header);
    free((*file)->tensors);
    free((*file)->sorted);
    free(*file);
    *file = NULL;
}

const char *palme_safetensors_metadata(const struct palme_safetensors *file, const char *key, size_t *length)
{
    const struct palme_json *value = palme_json_get(file->metadata, key);

    if (length)
        *length = palme_json_size(value);
    return palme_json_text(value);
}

struct palme_tensor *palme_safetensors_find(struct palme_safetensors *file, const char *name)
{
    struct palme_tensor wanted = { .name = name }, *key = &wanted, **found;

    found = bsearch(&key, file->sorted, file->count, sizeof *file->sorted, by_name);
    return found ? *found : NULL;
}

struct palme_tensor *palme_safetensors_list(struct palme_safetensors *file, size_t *count)
{
    *count = file->count;
    return file->tensors;
}

/* ---- Data --------------------------------------------------------------------------------- */

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;

    if (exponent == 31) /* infinity and NaN */
        return float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in a float */
        float value = (float)fraction * 0x1p-24f;

        return sign ? -value : value;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static void convert(float *out, const unsigned char *bytes, enum palme_dtype dtype, size_t count)
{
    if (dtype == PALME_DTYPE_F16) {
        for (size_t i = 0; i < count; i++)
            out[i] = float_of_half((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
    } else if (dtype == PALME_DTYPE_BF16) {
        for (size_t i = 0; i < count; i++) {
            uint16_t half; /* of a machine that is little-endian, as the file is */

            memcpy(&half, bytes + 2 * i, sizeof half);
            out[i] = float_of_bits((uint32_t)half << 16);
        }
    } else {
        for (size_t i = 0; i < count; i++)
            out[i] = (int8_t)bytes[i];
    }
}

static int check_range(const struct palme_tensor *tensor, int64_t first, int64_t count, const struct palme_log *log)
{
    struct palme_shown name;

    if (first < 0 || count < 0 || first > tensor->count || count > tensor->count - first)
        return palme_fail(log, PALME_ERROR_ARGUMENT, "tensor %s: %lld elements from %lld are not all there",
                          palme_show(&name, tensor->name, strlen(tensor->name)), (long long)count, (long long)first);
    return PALME_OK;
}

int palme_tensor_read_raw(struct palme_safetensors *file, void *out, const struct palme_tensor *tensor, int64_t first,
                          int64_t count, const struct palme_log *log)
{
    size_t size = palme_dtype_size(tensor->dtype);
    int error, status = check_range(tensor, first, count, log);
    struct palme_shown name;

    if (status < 0)
        return status;
    palme_show(&name, tensor->name, strlen(tensor->name));
    error = read_at(file, out, (size_t)count * size, tensor->offset + (uint64_t)first * size);
    if (error)
        return palme_fail(log, PALME_ERROR_READ, "tensor %s: cannot be read at element %lld: %s", name.text,
                          (long long)first, palme_source_failure(error));
    return PALME_OK;
}

int palme_tensor_read(struct palme_safetensors *file, float *out, const struct palme_tensor *tensor, int64_t first,
                      int64_t count, const struct palme_log *log)
{
    size_t size = palme_dtype_size(tensor->dtype);
    unsigned char block[BLOCK], *bytes;
    struct palme_shown name;
    int status;

    if (tensor->dtype == PALME_DTYPE_F32)
        return palme_tensor_read_raw(file, out, tensor, first, count, log);
    if (tensor->dtype > PALME_DTYPE_I8)
        return palme_fail(log, PALME_ERROR_ARGUMENT, "tensor %s: %s is not read as float",
                          palme_show(&name, tensor->name, strlen(tensor->name)), dtypes[tensor->dtype].name);
    if ((status = check_range(tensor, first, count, log)) < 0)
        return status;
    /* The narrower elements are read into the end of the floats' own memory. A float that is written covers only
     * elements that were read before it. */
    bytes = (unsigned char *)out + (size_t)count * (sizeof *out - size);
    status = palme_tensor_read_raw(file, bytes, tensor, first, count, log);
    for (int64_t part; count > 0 && status == PALME_OK; count -= part) {
        part = count < (int64_t)(BLOCK / size) ? count : (int64_t)(BLOCK / size);
        memcpy(block, bytes, (size_t)part * size);
        convert(out, block, tensor->dtype, (size_t)part);
        bytes += (size_t)part * size;
        out += part;
    }
    return status;
}
