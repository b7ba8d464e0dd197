/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * generated.c - model files whose weights come from a formula. Nothing here is fused or reordered: each value
 * is bit for bit what tests/fixtures/generate.py computes.
 */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/generated.h"

static void write_tensor(FILE *out, const char *name, int64_t count, float scale, float offset)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    float values[4096];
    int n = 0;

    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    for (int64_t i = 0; i < count; i++) {
        uint64_t z = h + (uint64_t)(i + 1) * UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        volatile float w = scale * ((float)(z >> 40) / 8388608.0f - 1);
        values[n++] = offset + w;
        if (n == 4096 || i + 1 == count) {
            fwrite(values, sizeof *values, (size_t)n, out);
            n = 0;
        }
    }
}

/* Any tokenizer with the right number of ids will do: what is compared are ids. */
static char *tokenizer_json(json_int_t vocabulary)
{
    json_t *ids = json_object();

    for (json_int_t i = 0; i < vocabulary; i++) {
        char name[32];

        snprintf(name, sizeof name, "t%lld", (long long)i);
        json_object_set_new(ids, name, json_integer(i));
    }
    json_t *all =
        json_pack("{s:s, s:[], s:n, s:{s:s, s:b}, s:n, s:{s:s}, s:{s:s, s:o, s:[]}}", "version", "1.0", "added_tokens",
                  "normalizer", "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "post_processor",
                  "decoder", "type", "ByteLevel", "model", "type", "BPE", "vocab", ids, "merges");
    char *text = json_dumps(all, JSON_COMPACT);

    json_decref(all);
    return text;
}

static int write_model(FILE *out, json_t *description)
{
    json_t *config = json_object_get(description, "config"), *entry;
    json_t *tensors = json_object_get(description, "tensors"), *header = json_object();
    char *config_text = json_dumps(config, JSON_COMPACT);
    const char *own = json_string_value(json_object_get(description, "tokenizer"));
    char *tokenizer = own ? strdup(own) : tokenizer_json(json_integer_value(json_object_get(config, "num_tokens")));
    int64_t end = 0;
    size_t i;

    json_object_set_new(header, "__metadata__",
                        json_pack("{s:s, s:s, s:s, s:s}", "format", "palme", "format_version", "1", "config",
                                  config_text, "tokenizer", tokenizer));
    for (int pass = 0; pass < 2; pass++) {
        json_array_foreach(tensors, i, entry)
        {
            json_t *shape = json_object_get(entry, "shape"), *dim;
            const char *name = json_string_value(json_object_get(entry, "name"));
            int64_t count = 1;
            size_t d;

            json_array_foreach(shape, d, dim) count *= json_integer_value(dim);
            if (pass == 0) {
                json_object_set_new(header, name,
                                    json_pack("{s:s, s:O, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
                                              (json_int_t)end, (json_int_t)(end + 4 * count)));
                end += 4 * count;
            } else {
                write_tensor(out, name, count, (float)json_number_value(json_object_get(entry, "scale")),
                             (float)json_number_value(json_object_get(entry, "offset")));
            }
        }
        if (pass == 0) {
            char *text = json_dumps(header, JSON_COMPACT);
            uint64_t length = strlen(text);

            fwrite(&length, sizeof length, 1, out);
            fwrite(text, 1, length, out);
            free(text);
        }
    }
    json_decref(header);
    free(config_text);
    free(tokenizer);
    return ferror(out);
}

int generated_model(char *path, size_t size, const char *folder)
{
    const char *tmp = getenv("TMPDIR");
    json_error_t error;

    snprintf(path, size, "%s/generate.json", folder);
    json_t *description = json_load_file(path, 0, &error);
    if (!description) {
        fprintf(stderr, "%s: %s\n", path, error.text);
        return -1;
    }
    snprintf(path, size, "%s/palme-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "wb");
    int failed = !out || write_model(out, description);

    if (out && fclose(out))
        failed = 1;
    json_decref(description);
    if (failed) {
        fprintf(stderr, "%s: cannot be written\n", path);
        unlink(path);
        return -1;
    }
    return 0;
}
