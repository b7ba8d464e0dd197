/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * least.c - layers that need more care. Layers that read the same input, which is brought to one precision for all of
 * them, have one name: qkv, or kv of cross-attention.
 */
#include "nn/least.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/fields.h"

enum { LONGEST = 40, MOST = 16384 };

struct entry {
    char name[LONGEST];
    enum palme_precision precision;
};

struct palme_least {
    struct entry *entries; /* [count], sorted by name */
    size_t count;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

/* Whether the model has a layer of this name. */
static int is_known(const struct palme_config *config, const char *name)
{
    static const char *const encoder[] = { "attn.qkv", "attn.out", "mlp.up", "mlp.down", NULL };
    static const char *const decoder[] = { "self.qkv", "self.out", "mlp.up", "mlp.down", NULL };
    static const char *const cross[] = { "cross.q", "cross.kv", "cross.out", NULL };
    int of_encoder = strncmp(name, "encoder.", 8) == 0, depth = 0;
    const char *digits = name + 8, *end = digits;

    if (strcmp(name, "encoder.patch") == 0 || strcmp(name, "decoder.embedding") == 0 ||
        strcmp(name, "decoder.logits") == 0)
        return 1;
    if (strcmp(name, "projection") == 0)
        return palme_config_projects(config);
    if (strcmp(name, "decoder.head") == 0)
        return config->bert_head;
    if (!of_encoder && strncmp(name, "decoder.", 8) != 0)
        return 0;
    for (; *end >= '0' && *end <= '9' && end - digits < 4; end++)
        depth = 10 * depth + (*end - '0');
    if (end == digits || (*digits == '0' && end - digits > 1) || *end != '.' ||
        depth >= (of_encoder ? config->encoder.depth : config->decoder.depth))
        return 0;
    return is_one_of(end + 1, of_encoder ? encoder : decoder) ||
           (!of_encoder && config->cross_attend && is_one_of(end + 1, cross));
}

static int read_entry(struct entry *entry, const struct palme_config *config, const struct palme_json *value,
                      const struct palme_log *log)
{
    struct palme_shown shown;
    const char *text = palme_json_text(value);
    size_t length = strlen(value->key);

    if (length >= sizeof entry->name || !is_known(config, value->key))
        return palme_fail(log, PALME_ERROR_FORMAT, "config: least_precision.%s is no layer of this model",
                          palme_show(&shown, value->key, length));
    memcpy(entry->name, value->key, length + 1);
    if (!palme_json_is(value, PALME_JSON_STRING) || palme_precision_find(&entry->precision, text) < 0 ||
        entry->precision > PALME_INT8)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: least_precision.%s must be \"f32\", \"bf16\" or \"int8\"",
                          entry->name);
    return PALME_OK;
}

int palme_least_read(struct palme_least **least, const struct palme_config *config, const struct palme_json *root,
                     const struct palme_log *log)
{
    const struct palme_json *object = palme_json_get(root, "least_precision");
    struct palme_keys keys = { .object = root, .path = "", .log = log };
    int status = PALME_OK;

    *least = NULL;
    if (!object)
        return PALME_OK;
    if (!palme_json_is(object, PALME_JSON_OBJECT))
        return palme_keys_wrong_kind(&keys, "least_precision", object, "an object");
    if (palme_json_size(object) > MOST)
        return palme_fail(log, PALME_ERROR_FORMAT, "config: least_precision has %zu layers; %d are allowed",
                          palme_json_size(object), MOST);
    struct palme_least *made = calloc(1, sizeof *made);
    if (made)
        made->entries = calloc(palme_json_size(object) + 1, sizeof *made->entries);
    if (!made || !made->entries)
        status = palme_fail(log, PALME_ERROR_MEMORY, "out of memory");
    for (const struct palme_json *value = palme_json_first(object); value && status == PALME_OK; value = value->next)
        status = read_entry(&made->entries[made->count++], config, value, log);
    if (status < 0) {
        palme_least_free(made);
        return status;
    }
    qsort(made->entries, made->count, sizeof *made->entries, compare);
    *least = made;
    return PALME_OK;
}

void palme_least_free(struct palme_least *least)
{
    if (least)
        free(least->entries);
    free(least);
}

/* What section 3.5 calls the layer that has this tensor. */
static void layer_of(struct entry *key, const char *name)
{
    static const char *const from[] = { ".q", ".k", ".v", NULL };

    snprintf(key->name, sizeof key->name, "%s", name);
    size_t length = strlen(key->name), weight = strlen(".weight");
    if (length > weight && strcmp(key->name + length - weight, ".weight") == 0)
        key->name[length -= weight] = 0;
    if (length < 3 || length + 3 > sizeof key->name || !is_one_of(key->name + length - 2, from))
        return;
    int of_cross = strstr(key->name, ".cross.") != NULL;
    if (!of_cross)
        strcpy(key->name + length - 1, "qkv");
    else if (key->name[length - 1] != 'q')
        strcpy(key->name + length - 1, "kv");
}

enum palme_precision palme_least_of(const struct palme_least *least, const char *name, enum palme_precision wanted)
{
    struct entry key;
    const struct entry *found;

    if (!least)
        return wanted;
    layer_of(&key, name);
    found = bsearch(&key, least->entries, least->count, sizeof *least->entries, compare);
    return found && found->precision < wanted ? found->precision : wanted;
}
