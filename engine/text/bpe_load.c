/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bpe_load.c - reads byte-level BPE from a Hugging Face tokenizers JSON and refuses what bpe.c does not
 * implement.
 */
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "io/json.h"

/* What palme_bpe_load works with. */
struct reading {
    struct palme_bpe *t;
    const struct palme_log *log;
    const struct palme_json *vocab, *merges, *added;
    size_t used;        /* bytes of the arena */
    size_t longest_key; /* of vocab */
};

/* ---- Messages ---------------------------------------------------------------------- */

static int refuse(const struct reading *r, const char *key, const char *what)
{
    return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: %s %s", key, what);
}

static int no_memory(const struct reading *r)
{
    return palme_fail(r->log, PALME_ERROR_MEMORY, "tokenizer: out of memory");
}

/* Refuses an object with a key that is not in the list, which ends with NULL. */
static int check_keys(const struct reading *r, const char *where, const struct palme_json *object,
                      const char *const *keys)
{
    struct palme_shown shown;

    for (const struct palme_json *value = palme_json_first(object); value; value = value->next) {
        const char *const *k = keys, *key = value->key;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k)
            return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: key %s%s is not supported", where,
                              palme_show(&shown, key, strlen(key)));
    }
    return PALME_OK;
}

/* ---- What must be as we implement it ----------------------------------------------- */

enum want {
    WANT_NULL,           /* null or absent */
    WANT_FALSE,          /* false, null or absent */
    WANT_BOOLEAN,        /* true, false or absent */
    WANT_NULL_OR_EMPTY,  /* null, "" or absent */
    WANT_NULL_OR_ZERO,   /* null, 0 or absent */
    WANT_NULL_OR_STRING, /* null, a string or absent */
    WANT_VERSION,        /* "1.0" or absent */
    WANT_ARRAY,
    WANT_OBJECT,
    WANT_BYTE_LEVEL, /* an object whose type is ByteLevel */
    WANT_NO_POST     /* null or absent, or a post-processor that adds nothing to plain text */
};

struct rule {
    const char *where; /* "", "model." or "pre_tokenizer." */
    const char *key;
    enum want want;
};

static const struct rule rules[] = {
    { "", "version", WANT_VERSION },
    { "", "truncation", WANT_NULL },
    { "", "padding", WANT_NULL },
    { "", "normalizer", WANT_NULL },
    { "", "pre_tokenizer", WANT_BYTE_LEVEL },
    { "", "post_processor", WANT_NO_POST },
    { "", "decoder", WANT_BYTE_LEVEL },
    { "pre_tokenizer.", "add_prefix_space", WANT_BOOLEAN },
    { "pre_tokenizer.", "trim_offsets", WANT_BOOLEAN },
    { "pre_tokenizer.", "use_regex", WANT_BOOLEAN },
    { "model.", "dropout", WANT_NULL_OR_ZERO },
    { "model.", "unk_token", WANT_NULL_OR_STRING },
    { "model.", "continuing_subword_prefix", WANT_NULL_OR_EMPTY },
    { "model.", "end_of_word_suffix", WANT_NULL_OR_EMPTY },
    { "model.", "fuse_unk", WANT_BOOLEAN },
    { "model.", "byte_fallback", WANT_FALSE },
    { "model.", "ignore_merges", WANT_BOOLEAN },
    { "model.", "vocab", WANT_OBJECT },
    { "model.", "merges", WANT_ARRAY },
};

static const char *type_of(const struct palme_json *value)
{
    const char *type = palme_json_text(palme_json_get(value, "type"));
    return type ? type : "";
}

/* NULL if the value may be as it is, else what is wrong. */
static const char *problem_with(enum want want, const struct palme_json *v)
{
    int absent = !v || palme_json_is(v, PALME_JSON_NULL);
    switch (want) {
    case WANT_NULL: return absent ? NULL : "is not supported: it must be null";
    case WANT_FALSE: return absent || palme_json_is(v, PALME_JSON_FALSE) ? NULL : "is not supported: it must be false";
    case WANT_BOOLEAN: return !v || palme_json_is_boolean(v) ? NULL : "must be true or false";
    case WANT_NULL_OR_EMPTY:
        return absent || (palme_json_is(v, PALME_JSON_STRING) && palme_json_size(v) == 0)
                   ? NULL
                   : "is not supported: it must be null";
    case WANT_NULL_OR_ZERO:
        return absent || (palme_json_is_number(v) && palme_json_number(v) == 0) ? NULL
                                                                                : "is not supported: it must be null";
    case WANT_NULL_OR_STRING: return absent || palme_json_is(v, PALME_JSON_STRING) ? NULL : "must be a string or null";
    case WANT_VERSION:
        return !v || (palme_json_is(v, PALME_JSON_STRING) && strcmp(palme_json_text(v), "1.0") == 0) ? NULL
                                                                                                     : "is not \"1.0\"";
    case WANT_ARRAY: return palme_json_is(v, PALME_JSON_ARRAY) ? NULL : "must be an array";
    case WANT_OBJECT: return palme_json_is(v, PALME_JSON_OBJECT) ? NULL : "must be an object";
    case WANT_BYTE_LEVEL:
        return strcmp(type_of(v), "ByteLevel") == 0 ? NULL : "is not supported: its type must be ByteLevel";
    case WANT_NO_POST:
        return absent || strcmp(type_of(v), "ByteLevel") == 0 || strcmp(type_of(v), "TemplateProcessing") == 0
                   ? NULL
                   : "is not supported: it must be null, ByteLevel or TemplateProcessing";
    }
    return "is not supported";
}

static int check_options(struct reading *r, const struct palme_json *root)
{
    static const char *const root_keys[] = { "version",       "truncation",     "padding", "added_tokens", "normalizer",
                                             "pre_tokenizer", "post_processor", "decoder", "model",        NULL };
    static const char *const pre_keys[] = { "type", "add_prefix_space", "trim_offsets", "use_regex", NULL };
    static const char *const model_keys[] = { "type",
                                              "dropout",
                                              "unk_token",
                                              "continuing_subword_prefix",
                                              "end_of_word_suffix",
                                              "fuse_unk",
                                              "byte_fallback",
                                              "ignore_merges",
                                              "vocab",
                                              "merges",
                                              NULL };
    const struct palme_json *pre = palme_json_get(root, "pre_tokenizer");
    const struct palme_json *model = palme_json_get(root, "model");
    const struct palme_json *flag;
    int status;

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const struct rule *rule = &rules[i];
        const struct palme_json *object = rule->where[0] == 'm' ? model : rule->where[0] == 'p' ? pre : root;
        const char *wrong = problem_with(rule->want, palme_json_get(object, rule->key));
        if (wrong)
            return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: %s%s %s", rule->where, rule->key, wrong);
    }
    if ((status = check_keys(r, "", root, root_keys)) < 0 ||
        (status = check_keys(r, "pre_tokenizer.", pre, pre_keys)) < 0 ||
        (status = check_keys(r, "model.", model, model_keys)) < 0)
        return status;
    r->vocab = palme_json_get(model, "vocab");
    r->merges = palme_json_get(model, "merges");
    r->added = palme_json_get(root, "added_tokens");
    if (r->added && !palme_json_is(r->added, PALME_JSON_ARRAY))
        return refuse(r, "added_tokens", "must be an array");
    flag = palme_json_get(pre, "add_prefix_space");
    if (!flag)
        return refuse(r, "pre_tokenizer.add_prefix_space", "is missing");
    r->t->add_prefix_space = palme_json_is(flag, PALME_JSON_TRUE);
    flag = palme_json_get(pre, "use_regex");
    r->t->use_regex = !flag || palme_json_is(flag, PALME_JSON_TRUE);
    return PALME_OK;
}

/* ---- Tokens ------------------------------------------------------------------------ */

/* The byte that a character of the byte alphabet stands for, or -1: printable Latin-1 for itself,
 * U+0100 and up for the other 68 bytes in order. */
static int alphabet_byte(unsigned c)
{
    if ((c > 32 && c < 127) || (c > 160 && c < 256 && c != 173))
        return (int)c;
    if (c < 256 || c > 256 + 67)
        return -1;
    c -= 256;
    return c <= 32 ? (int)c : c <= 66 ? (int)(c - 33 + 127) : 173;
}

/* Writes what a token stands for, at most as many bytes as the token has; sets *exact if each of
 * its characters is of the alphabet. A token with any other character stands for its own UTF-8, as
 * in the library. Returns the number of bytes. */
static size_t token_bytes(char *out, unsigned char *exact, const char *token, size_t length)
{
    size_t count = 0;
    *exact = 1;
    for (size_t i = 0; i < length; i++) {
        unsigned c = (unsigned char)token[i];
        int byte;
        /* The alphabet ends at U+0143, among the characters of two bytes. Only valid UTF-8 comes
         * through json.h. */
        if (c >= 0xE0)
            c = 0xFFFF;
        else if (c >= 0x80)
            c = (c & 0x1Fu) << 6 | ((unsigned char)token[++i] & 0x3Fu);
        byte = alphabet_byte(c);
        if (byte < 0) {
            *exact = 0;
            memcpy(out, token, length);
            return length;
        }
        out[count++] = (char)byte;
    }
    return count;
}

/* Takes the slot of an id. `where` is "model.vocab" or "added_tokens". */
static int take_id(const struct reading *r, const char *where, const char *content, int64_t id)
{
    struct palme_shown shown;
    const char *name = palme_show(&shown, content, strlen(content));
    if (id < 0 || id >= r->t->count)
        return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: %s: \"%s\" has the id %lld, not one of 0..%d", where,
                          name, (long long)id, r->t->count - 1);
    if (r->t->tokens[id].known)
        return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: %s: \"%s\" has the id %lld, which is taken", where,
                          name, (long long)id);
    r->t->tokens[id].known = 1;
    return PALME_OK;
}

static void set_bytes(struct reading *r, struct palme_token *token, const char *content)
{
    token->bytes = r->t->arena + r->used;
    token->length = token_bytes(r->t->arena + r->used, &token->exact, content, strlen(content));
    r->used += token->length;
}

static int read_vocab(struct reading *r)
{
    for (const struct palme_json *value = palme_json_first(r->vocab); value; value = value->next) {
        const char *content = value->key;
        struct palme_token *token;
        struct palme_shown shown;
        int status;
        if (!palme_json_is(value, PALME_JSON_INTEGER))
            return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: model.vocab: the id of \"%s\" must be an integer",
                              palme_show(&shown, content, strlen(content)));
        if ((status = take_id(r, "model.vocab", content, palme_json_integer(value))) < 0)
            return status;
        token = &r->t->tokens[palme_json_integer(value)];
        set_bytes(r, token, content);
        if (token->exact && token->length == 1)
            r->t->byte_ids[(unsigned char)token->bytes[0]] = (int)palme_json_integer(value);
        if (strlen(content) > r->longest_key)
            r->longest_key = strlen(content);
    }
    return PALME_OK;
}

/* One entry of added_tokens. Special tokens are never found in text, so how they would be matched
 * does not matter; of the others those options are refused that are not implemented. */
static int read_added_token(struct reading *r, const struct palme_json *entry)
{
    static const char *const keys[] = { "id",     "content",    "single_word", "lstrip",
                                        "rstrip", "normalized", "special",     NULL };
    const struct palme_json *content = palme_json_get(entry, "content"), *id = palme_json_get(entry, "id");
    const struct palme_json *known;
    struct palme_bpe *t = r->t;
    struct palme_word *word;
    struct palme_shown shown;
    struct palme_token *token;
    int status, round, special;

    if (!palme_json_is(entry, PALME_JSON_OBJECT) || !palme_json_is(content, PALME_JSON_STRING) ||
        !palme_json_is(id, PALME_JSON_INTEGER))
        return refuse(r, "added_tokens", "must be objects with an id and a content");
    if ((status = check_keys(r, "added_tokens.", entry, keys)) < 0)
        return status;
    palme_show(&shown, palme_json_text(content), palme_json_size(content));
    if (palme_json_size(content) == 0)
        return refuse(r, "added_tokens", "has a token without content");
    special = palme_json_is(palme_json_get(entry, "special"), PALME_JSON_TRUE);
    for (const char *const *key = keys + 2; *key; key++) {
        const struct palme_json *flag = palme_json_get(entry, *key);
        if (!palme_json_is_boolean(flag))
            return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: added_tokens: %s of \"%s\" must be true or false",
                              *key, shown.text);
        if (key < keys + 5 && palme_json_is(flag, PALME_JSON_TRUE) && !special)
            return palme_fail(r->log, PALME_ERROR_FORMAT,
                              "tokenizer: added_tokens: %s of \"%s\" is not supported, it must be "
                              "false",
                              *key, shown.text);
    }
    known = palme_json_get(r->vocab, palme_json_text(content));
    if (known && palme_json_integer(known) != palme_json_integer(id))
        return palme_fail(r->log, PALME_ERROR_FORMAT,
                          "tokenizer: added_tokens: \"%s\" has the id %lld, in model.vocab it "
                          "has %lld",
                          shown.text, (long long)palme_json_integer(id), (long long)palme_json_integer(known));
    if (!known) {
        status = take_id(r, "added_tokens", palme_json_text(content), palme_json_integer(id));
        if (status < 0)
            return status;
        token = &t->tokens[palme_json_integer(id)];
        set_bytes(r, token, palme_json_text(content));
        token->exact = 0;
    }
    token = &t->tokens[palme_json_integer(id)];
    token->special = (unsigned char)special;
    round = palme_json_is(palme_json_get(entry, "normalized"), PALME_JSON_TRUE);
    word = &t->added[round][t->added_count[round]++];
    word->length = palme_json_size(content);
    word->bytes = memcpy(t->arena + r->used, palme_json_text(content), word->length);
    word->id = (int)palme_json_integer(id);
    word->special = special;
    r->used += word->length;
    return PALME_OK;
}

/* Sorts each round's tokens and refuses one that is there twice. A round in which nothing can match
 * is emptied; special tokens are kept beside others, because they hide what overlaps with them. */
static int sort_added(struct reading *r)
{
    struct palme_bpe *t = r->t;
    for (int round = 0; round < PALME_ROUNDS; round++) {
        struct palme_word *words = t->added[round];
        size_t count = t->added_count[round], plain = 0;
        qsort(words, count, sizeof *words, palme_word_compare);
        for (size_t i = 0; i < count; i++) {
            struct palme_shown shown;
            if (i > 0 && palme_word_compare(&words[i - 1], &words[i]) == 0)
                return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: added_tokens: \"%s\" is there twice",
                                  palme_show(&shown, words[i].bytes, words[i].length));
            plain += !words[i].special;
        }
        if (plain == 0)
            t->added_count[round] = 0;
    }
    return PALME_OK;
}

static int read_tokens(struct reading *r)
{
    struct palme_bpe *t = r->t;
    size_t in_vocab = palme_json_size(r->vocab), in_added = palme_json_size(r->added), bytes = 1;
    const struct palme_json *value;
    int status;

    if (in_vocab > (size_t)t->count)
        return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: model.vocab has %zu tokens, but the model only %d",
                          in_vocab, t->count);
    /* A model's vocabulary may be padded; there are no more tokens than the file names. */
    if (in_vocab + in_added < (size_t)t->count)
        t->count = (int)(in_vocab + in_added);
    for (value = palme_json_first(r->vocab); value; value = value->next)
        bytes += strlen(value->key);
    for (value = palme_json_first(r->added); value; value = value->next)
        bytes += 2 * palme_json_size(palme_json_get(value, "content"));
    t->tokens = calloc((size_t)t->count, sizeof *t->tokens);
    t->arena = malloc(bytes);
    for (int round = 0; round < PALME_ROUNDS; round++)
        t->added[round] = calloc(in_added + 1, sizeof *t->added[round]);
    if (!t->tokens || !t->arena || !t->added[0] || !t->added[1])
        return no_memory(r);
    if ((status = read_vocab(r)) < 0)
        return status;
    for (value = palme_json_first(r->added); value; value = value->next)
        if ((status = read_added_token(r, value)) < 0)
            return status;
    while (t->count > 0 && !t->tokens[t->count - 1].known)
        t->count--;
    for (int id = 0; id < t->count; id++) {
        struct palme_token *token = &t->tokens[id];
        if (!token->known)
            return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: no token has the id %d, but one has the id %d",
                              id, t->count - 1);
        if (token->special)
            token->length = 0;
        if (token->length > t->longest)
            t->longest = token->length;
    }
    return sort_added(r);
}

/* ---- Merges ------------------------------------------------------------------------ */

/* The id of a token of model.vocab, or -1. */
static int vocab_id(const struct reading *r, const char *content)
{
    const struct palme_json *value = palme_json_get(r->vocab, content);
    return value ? (int)palme_json_integer(value) : -1;
}

/* Reads merge `index` into *merge. `buffer` holds two tokens and a NUL. */
static int read_merge(const struct reading *r, struct palme_merge *merge, char *buffer, size_t index,
                      const struct palme_json *entry)
{
    const char *left = palme_json_text(palme_json_at(entry, 0));
    const char *right = palme_json_text(palme_json_at(entry, 1));
    struct palme_shown shown;
    size_t length;
    int ids[3] = { -1, -1, -1 };

    if (palme_json_is(entry, PALME_JSON_STRING)) {
        const char *space = strchr(palme_json_text(entry), ' ');
        left = right = NULL;
        if (space && !strchr(space + 1, ' ')) {
            left = palme_json_text(entry);
            right = space + 1;
        }
    } else if (palme_json_size(entry) != 2) {
        left = NULL;
    }
    if (!left || !right)
        return palme_fail(r->log, PALME_ERROR_FORMAT,
                          "tokenizer: model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]", index);
    length = palme_json_is(entry, PALME_JSON_STRING) ? (size_t)(right - left) - 1 : strlen(left);
    if (length <= r->longest_key && strlen(right) <= r->longest_key) {
        memcpy(buffer, left, length);
        buffer[length] = '\0';
        ids[0] = vocab_id(r, buffer);
        ids[1] = vocab_id(r, right);
        strcpy(buffer + length, right);
        ids[2] = vocab_id(r, buffer);
    }
    for (int i = 0; i < 3; i++) {
        static const char *const parts[] = { "left part", "right part", "result" };
        if (ids[i] < 0)
            return palme_fail(r->log, PALME_ERROR_FORMAT,
                              "tokenizer: model.merges[%zu]: its %s is no token of model.vocab", index, parts[i]);
    }
    if (r->t->tokens[ids[2]].special)
        return palme_fail(r->log, PALME_ERROR_FORMAT,
                          "tokenizer: model.merges[%zu] makes the special token \"%s\" out of "
                          "plain text",
                          index, palme_show(&shown, buffer, strlen(buffer)));
    *merge = (struct palme_merge){ (uint32_t)ids[0], (uint32_t)ids[1], (uint32_t)index, (uint32_t)ids[2] };
    return PALME_OK;
}

static int read_merges(struct reading *r)
{
    struct palme_bpe *t = r->t;
    size_t count = 0, kept = 0, index = 0;
    char *buffer = malloc(2 * r->longest_key + 1);
    int status = PALME_OK;

    t->merges = calloc(palme_json_size(r->merges) + 1, sizeof *t->merges);
    if (!buffer || !t->merges)
        status = no_memory(r);
    for (const struct palme_json *entry = palme_json_first(r->merges); entry && status == PALME_OK;
         entry = entry->next, index++) {
        /* The library takes a line of this kind for a comment. */
        if (palme_json_is(entry, PALME_JSON_STRING) && strncmp(palme_json_text(entry), "#version", 8) == 0)
            continue;
        status = read_merge(r, &t->merges[count++], buffer, index, entry);
    }
    free(buffer);
    if (status < 0)
        return status;
    qsort(t->merges, count, sizeof *t->merges, palme_merge_compare);
    /* Of a pair that is there twice the last one counts, as in the library. */
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && t->merges[i].left == t->merges[i + 1].left && t->merges[i].right == t->merges[i + 1].right)
            continue;
        t->merges[kept++] = t->merges[i];
    }
    t->merge_count = kept;
    return PALME_OK;
}

/* ---- Open and close ---------------------------------------------------------------- */

/* With ignore_merges a word that is a token is that token. Special ones, which have no bytes, are
 * left out, although the library has them in: they must not arise from plain text. */
static int sort_words(struct reading *r)
{
    struct palme_bpe *t = r->t;
    t->words = calloc((size_t)t->count, sizeof *t->words);
    if (!t->words)
        return no_memory(r);
    for (int id = 0; id < t->count; id++) {
        const struct palme_token *token = &t->tokens[id];
        if (token->exact && token->length > 0)
            t->words[t->word_count++] = (struct palme_word){ token->bytes, token->length, id, 0 };
    }
    qsort(t->words, t->word_count, sizeof *t->words, palme_word_compare);
    return PALME_OK;
}

/* What can only be judged with all tokens read. */
static int check_bytes(const struct reading *r, const struct palme_json *model)
{
    const struct palme_bpe *t = r->t;
    const struct palme_json *unknown = palme_json_get(model, "unk_token");
    for (int byte = 0; byte < 256; byte++) {
        int id = t->byte_ids[byte];
        if (id >= 0 && t->tokens[id].special)
            return palme_fail(r->log, PALME_ERROR_FORMAT,
                              "tokenizer: the special token with the id %d is a single character "
                              "of plain text",
                              id);
        /* Where every byte has its token nothing is ever unknown. */
        if (id < 0 && palme_json_is(unknown, PALME_JSON_STRING))
            return refuse(r, "model.unk_token", "is not supported: it must be null, since not every byte has a token");
    }
    return PALME_OK;
}

int palme_bpe_load(struct palme_bpe **bpe, const struct palme_json *root, int vocabulary, const struct palme_log *log)
{
    const struct palme_json *model = palme_json_get(root, "model");
    struct reading r = { .log = log };
    int status;

    *bpe = NULL;
    if (!(r.t = calloc(1, sizeof *r.t)))
        return no_memory(&r);
    r.t->count = vocabulary;
    for (int i = 0; i < 256; i++)
        r.t->byte_ids[i] = -1;
    status = check_options(&r, root);
    if (status == PALME_OK)
        status = read_tokens(&r);
    if (status == PALME_OK)
        status = check_bytes(&r, model);
    if (status == PALME_OK)
        status = read_merges(&r);
    if (status == PALME_OK && palme_json_is(palme_json_get(model, "ignore_merges"), PALME_JSON_TRUE))
        status = sort_words(&r);
    if (status < 0)
        palme_bpe_close(&r.t);
    *bpe = r.t;
    return status;
}

void palme_bpe_close(struct palme_bpe **bpe)
{
    struct palme_bpe *t = bpe ? *bpe : NULL;
    if (!t)
        return;
    for (int round = 0; round < PALME_ROUNDS; round++)
        free(t->added[round]);
    free(t->words);
    free(t->merges);
    free(t->arena);
    free(t->tokens);
    free(t);
    *bpe = NULL;
}
