/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * wordpiece.c - WordPiece: each word is cut into the longest tokens that it begins with, or is unknown as a whole.
 */
#include "text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

/* ---- Text to ids --------------------------------------------------------------------------- */

size_t palme_wordpiece_scratch(size_t bytes)
{
    return palme_bert_normalized_size(bytes) + 1;
}

/* The tokens of a word into ids[capacity]. Returns how many, or PALME_ERROR_CONTEXT. */
static int encode_word(const struct palme_wordpiece *t, int *ids, int capacity, const char *word, size_t length,
                       int characters)
{
    int count = 0;

    for (size_t at = 0; at < length && characters <= t->most_characters;) {
        const struct palme_word *found =
            palme_word_longest(t->words[at > 0], t->word_count[at > 0], word + at, length - at);

        if (!found)
            break;
        at += found->length;
        if (count < capacity)
            ids[count] = found->id;
        count++;
        if (at == length)
            return count <= capacity ? count : PALME_ERROR_CONTEXT;
    }
    if (capacity < 1)
        return PALME_ERROR_CONTEXT;
    ids[0] = t->unknown;
    return 1;
}

/* The ids that were made so far. */
struct output {
    int *ids, count, capacity;
    char *normal; /* scratch for normalised text */
};

/* The words of normalised text. */
static int encode_words(const struct palme_wordpiece *t, struct output *out, const char *text, size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        int is_space, characters, more;

        n = palme_bert_word(text + at, length - at, &is_space, &characters);
        if (is_space)
            continue;
        more = encode_word(t, out->ids + out->count, out->capacity - out->count, text + at, n, characters);
        if (more < 0)
            return more;
        out->count += more;
    }
    return PALME_OK;
}

static int encode_round(const struct palme_wordpiece *t, struct output *out, int round, const char *text,
                        size_t length);

/* A stretch between the added tokens of a round: normalised behind the first, words behind the second. */
static int encode_between(const struct palme_wordpiece *t, struct output *out, int round, const char *text,
                          size_t length)
{
    if (round == 1)
        return encode_words(t, out, text, length);
    size_t n = palme_bert_normalize(&t->normalizer, out->normal, text, length);
    return encode_round(t, out, 1, out->normal, n);
}

/* Text from a round of added tokens on: the longest that begins first is found, and a special one is left as text. */
static int encode_round(const struct palme_wordpiece *t, struct output *out, int round, const char *text, size_t length)
{
    size_t start = 0;

    for (size_t i = 0; i < length && t->added_count[round];) {
        const struct palme_word *word =
            palme_word_longest(t->added[round], t->added_count[round], text + i, length - i);

        if (word && !word->special) {
            int status = encode_between(t, out, round, text + start, i - start);

            if (status < 0)
                return status;
            if (out->count >= out->capacity)
                return PALME_ERROR_CONTEXT;
            out->ids[out->count++] = word->id;
            start = i + word->length;
        }
        i += word ? word->length : 1;
    }
    return encode_between(t, out, round, text + start, length - start);
}

int palme_wordpiece_encode(const struct palme_wordpiece *t, int *ids, int capacity, const char *text, size_t length,
                           void *scratch)
{
    struct output out = { .ids = ids, .capacity = capacity, .normal = scratch };
    int status = encode_round(t, &out, 0, text, length);

    return status < 0 ? status : out.count;
}

/* ---- Ids to text --------------------------------------------------------------------------- */

/* Whether a token stands behind the word before it without a space. */
static int is_close(const char *bytes, size_t length)
{
    static const char *const beginnings[] = { ".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re", NULL };

    for (int i = 0; beginnings[i]; i++) {
        size_t n = strlen(beginnings[i]);

        if (length >= n && memcmp(bytes, beginnings[i], n) == 0)
            return 1;
    }
    return 0;
}

const char *palme_wordpiece_bytes(const struct palme_wordpiece *t, int id, int first, int *space, size_t *length)
{
    const struct palme_token *token = &t->tokens[id];
    size_t prefix = t->continues[id] && first ? t->prefix : 0;

    *space = 0;
    *length = 0;
    if (token->special)
        return "";
    *length = token->length + prefix;
    *space = !first && !t->continues[id] && !(t->cleanup && is_close(token->bytes, token->length));
    return token->bytes - prefix;
}

/* ---- Reading ------------------------------------------------------------------------------- */

struct reading {
    struct palme_wordpiece *t;
    const struct palme_log *log;
    const struct palme_json *vocab, *added;
    const char *prefix;
    size_t used, normal_used;
};

static int refuse(const struct reading *r, const char *key, const char *what)
{
    return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: %s %s", key, what);
}

static const char *type_of(const struct palme_json *value)
{
    const char *type = palme_json_text(palme_json_get(value, "type"));

    return type ? type : "";
}

static int is_absent(const struct palme_json *value)
{
    return !value || palme_json_is(value, PALME_JSON_NULL);
}

/* A boolean that may be absent or null. */
static int read_flag(const struct reading *r, int *out, const struct palme_json *object, const char *where,
                     const char *key)
{
    const struct palme_json *value = palme_json_get(object, key);

    if (is_absent(value))
        return PALME_OK;
    if (!palme_json_is_boolean(value))
        return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: %s%s must be true or false", where, key);
    *out = palme_json_is(value, PALME_JSON_TRUE);
    return PALME_OK;
}

static int read_normalizer(struct reading *r, const struct palme_json *normalizer)
{
    struct palme_bert_normalizer *n = &r->t->normalizer;
    int clean = 1, strip = -1, status;

    *n = (struct palme_bert_normalizer){ .ideographs = 1, .lowercase = 1 };
    if (strcmp(type_of(normalizer), "BertNormalizer") != 0)
        return refuse(r, "normalizer", "is not supported: its type must be BertNormalizer");
    if ((status = read_flag(r, &clean, normalizer, "normalizer.", "clean_text")) < 0 ||
        (status = read_flag(r, &n->ideographs, normalizer, "normalizer.", "handle_chinese_chars")) < 0 ||
        (status = read_flag(r, &strip, normalizer, "normalizer.", "strip_accents")) < 0 ||
        (status = read_flag(r, &n->lowercase, normalizer, "normalizer.", "lowercase")) < 0)
        return status;
    if (!clean)
        return refuse(r, "normalizer.clean_text", "is not supported: it must be true");
    n->strip_accents = strip >= 0 ? strip : n->lowercase;
    return PALME_OK;
}

static int read_model(struct reading *r, const struct palme_json *model)
{
    const struct palme_json *prefix = palme_json_get(model, "continuing_subword_prefix");
    const struct palme_json *most = palme_json_get(model, "max_input_chars_per_word");
    const struct palme_json *unknown = palme_json_get(model, "unk_token"), *id;

    r->vocab = palme_json_get(model, "vocab");
    if (!palme_json_is(r->vocab, PALME_JSON_OBJECT))
        return refuse(r, "model.vocab", "must be an object");
    if (!palme_json_is(prefix, PALME_JSON_STRING) || palme_json_size(prefix) == 0)
        return refuse(r, "model.continuing_subword_prefix", "must be a string that is not empty");
    r->prefix = palme_json_text(prefix);
    r->t->prefix = palme_json_size(prefix);
    r->t->most_characters = 100;
    if (!is_absent(most)) {
        if (!palme_json_is(most, PALME_JSON_INTEGER) || palme_json_integer(most) < 1 ||
            palme_json_integer(most) > 1 << 20)
            return refuse(r, "model.max_input_chars_per_word", "must be an integer of 1 to 1048576");
        r->t->most_characters = (int)palme_json_integer(most);
    }
    if (!palme_json_is(unknown, PALME_JSON_STRING))
        return refuse(r, "model.unk_token", "must be a string");
    id = palme_json_get(r->vocab, palme_json_text(unknown));
    if (!palme_json_is(id, PALME_JSON_INTEGER))
        return refuse(r, "model.unk_token", "is no token of model.vocab");
    r->t->unknown = (int)palme_json_integer(id); /* judged with the other ids */
    return PALME_OK;
}

static int read_options(struct reading *r, const struct palme_json *root)
{
    const struct palme_json *decoder = palme_json_get(root, "decoder"), *prefix = palme_json_get(decoder, "prefix");
    int status;

    if (!is_absent(palme_json_get(root, "truncation")) || !is_absent(palme_json_get(root, "padding")))
        return refuse(r, "truncation and padding", "are not supported: they must be null");
    if (strcmp(type_of(palme_json_get(root, "pre_tokenizer")), "BertPreTokenizer") != 0)
        return refuse(r, "pre_tokenizer", "is not supported: its type must be BertPreTokenizer");
    if (strcmp(type_of(decoder), "WordPiece") != 0)
        return refuse(r, "decoder", "is not supported: its type must be WordPiece");
    r->added = palme_json_get(root, "added_tokens");
    if (r->added && !palme_json_is(r->added, PALME_JSON_ARRAY))
        return refuse(r, "added_tokens", "must be an array");
    r->t->cleanup = 1;
    if ((status = read_flag(r, &r->t->cleanup, decoder, "decoder.", "cleanup")) < 0 ||
        (status = read_normalizer(r, palme_json_get(root, "normalizer"))) < 0 ||
        (status = read_model(r, palme_json_get(root, "model"))) < 0)
        return status;
    if (prefix && (!palme_json_is(prefix, PALME_JSON_STRING) || strcmp(palme_json_text(prefix), r->prefix) != 0))
        return refuse(r, "decoder.prefix", "is not model.continuing_subword_prefix");
    return PALME_OK;
}

/* What a token stands for in text; bytes[length] stay where they are. */
static void set_text(struct palme_wordpiece *t, int id, const char *bytes, size_t length, const char *prefix)
{
    struct palme_token *token = &t->tokens[id];

    t->continues[id] = length >= t->prefix && memcmp(bytes, prefix, t->prefix) == 0;
    token->bytes = bytes + (t->continues[id] ? t->prefix : 0);
    token->length = length - (t->continues[id] ? t->prefix : 0);
    if (length > t->longest)
        t->longest = length;
}

/* Takes the slot of an id for a token. */
static int take(struct reading *r, const char *where, const char *content, const struct palme_json *id)
{
    struct palme_wordpiece *t = r->t;
    struct palme_shown shown;
    int64_t at = palme_json_is(id, PALME_JSON_INTEGER) ? palme_json_integer(id) : -1;
    size_t length = strlen(content);

    if (at < 0 || at >= t->count || t->tokens[at].known)
        return palme_fail(r->log, PALME_ERROR_FORMAT,
                          "tokenizer: %s: the id of \"%s\" is not one of 0..%d, or is taken", where,
                          palme_show(&shown, content, length), t->count - 1);
    struct palme_token *token = &t->tokens[at];
    char *bytes = memcpy(t->arena + r->used, content, length);

    r->used += length;
    token->known = 1;
    set_text(t, (int)at, bytes, length, r->prefix);
    return PALME_OK;
}

/* A flag of an added token that the engine has in one way only. */
static int must_be_false(const struct reading *r, const struct palme_json *entry, const char *key, const char *content)
{
    if (!palme_json_is(palme_json_get(entry, key), PALME_JSON_TRUE))
        return PALME_OK;
    return palme_fail(r->log, PALME_ERROR_FORMAT,
                      "tokenizer: added_tokens: %s of \"%s\" is not supported, it must be false", key, content);
}

/* An added token is found before the text is cut into words: in the text as it is, or, if it is `normalized`, in the
 * normalised text, and as that would write it. */
static int find_in_text(struct reading *r, const struct palme_json *entry, int id, int special)
{
    struct palme_wordpiece *t = r->t;
    const struct palme_json *content = palme_json_get(entry, "content"), *flag = palme_json_get(entry, "normalized");
    int round = is_absent(flag) ? !special : palme_json_is(flag, PALME_JSON_TRUE);
    struct palme_word word = { t->tokens[id].bytes - (t->continues[id] ? t->prefix : 0), palme_json_size(content), id,
                               special };
    struct palme_shown shown;
    int status;

    palme_show(&shown, palme_json_text(content), palme_json_size(content));
    if (!special && ((status = must_be_false(r, entry, "single_word", shown.text)) < 0 ||
                     (status = must_be_false(r, entry, "lstrip", shown.text)) < 0 ||
                     (status = must_be_false(r, entry, "rstrip", shown.text)) < 0))
        return status;
    if (round) {
        char *normal = t->normal + r->normal_used;

        word.length = palme_bert_normalize(&t->normalizer, normal, word.bytes, word.length);
        word.bytes = normal;
        r->normal_used += word.length;
        /* So does the tokenizers library write it, too. */
        set_text(t, id, normal, word.length, r->prefix);
    }
    if (word.length)
        t->added[round][t->added_count[round]++] = word;
    return PALME_OK;
}

static int read_added(struct reading *r)
{
    for (const struct palme_json *entry = palme_json_first(r->added); entry; entry = entry->next) {
        const struct palme_json *content = palme_json_get(entry, "content"), *id = palme_json_get(entry, "id");
        const struct palme_json *known;
        struct palme_shown shown;
        int status;

        if (!palme_json_is(content, PALME_JSON_STRING) || !palme_json_is(id, PALME_JSON_INTEGER))
            return refuse(r, "added_tokens", "must be objects with an id and a content");
        palme_show(&shown, palme_json_text(content), palme_json_size(content));
        known = palme_json_get(r->vocab, palme_json_text(content));
        if (known && palme_json_integer(known) != palme_json_integer(id))
            return palme_fail(r->log, PALME_ERROR_FORMAT,
                              "tokenizer: added_tokens: \"%s\" has another id than in model.vocab", shown.text);
        if (!known && (status = take(r, "added_tokens", palme_json_text(content), id)) < 0)
            return status;
        int special = palme_json_is(palme_json_get(entry, "special"), PALME_JSON_TRUE);
        r->t->tokens[palme_json_integer(id)].special = special;
        if ((status = find_in_text(r, entry, (int)palme_json_integer(id), special)) < 0)
            return status;
    }
    return PALME_OK;
}

static int read_tokens(struct reading *r)
{
    struct palme_wordpiece *t = r->t;
    size_t in_vocab = palme_json_size(r->vocab), in_added = palme_json_size(r->added), bytes = 1, added = 0;
    int status;

    if (in_vocab > (size_t)t->count)
        return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: model.vocab has %zu tokens, but the model only %d",
                          in_vocab, t->count);
    if (in_vocab + in_added < (size_t)t->count) /* a model's vocabulary may be padded */
        t->count = (int)(in_vocab + in_added);
    for (const struct palme_json *value = palme_json_first(r->vocab); value; value = value->next)
        bytes += strlen(value->key);
    for (const struct palme_json *value = palme_json_first(r->added); value; value = value->next)
        added += palme_json_size(palme_json_get(value, "content"));
    bytes += added;
    t->tokens = calloc((size_t)t->count + 1, sizeof *t->tokens);
    t->continues = calloc((size_t)t->count + 1, sizeof *t->continues);
    t->arena = malloc(bytes);
    t->normal = malloc(palme_bert_normalized_size(added) + 1);
    for (int round = 0; round < 2; round++)
        t->added[round] = calloc(in_added + 1, sizeof *t->added[round]);
    t->words[0] = calloc(in_vocab + 1, sizeof *t->words[0]);
    t->words[1] = calloc(in_vocab + 1, sizeof *t->words[1]);
    if (!t->tokens || !t->continues || !t->arena || !t->words[0] || !t->words[1] || !t->normal || !t->added[0] ||
        !t->added[1])
        return palme_fail(r->log, PALME_ERROR_MEMORY, "tokenizer: out of memory");
    for (const struct palme_json *value = palme_json_first(r->vocab); value; value = value->next) {
        if ((status = take(r, "model.vocab", value->key, value)) < 0)
            return status;
        int id = (int)palme_json_integer(value), continues = t->continues[id];

        if (t->tokens[id].length == 0) /* the prefix alone goes on with no word */
            continue;
        t->words[continues][t->word_count[continues]++] =
            (struct palme_word){ t->tokens[id].bytes, t->tokens[id].length, id, 0 };
    }
    if ((status = read_added(r)) < 0)
        return status;
    while (t->count > 0 && !t->tokens[t->count - 1].known)
        t->count--;
    for (int id = 0; id < t->count; id++)
        if (!t->tokens[id].known)
            return palme_fail(r->log, PALME_ERROR_FORMAT, "tokenizer: no token has the id %d, but one has the id %d",
                              id, t->count - 1);
    for (int k = 0; k < 2; k++) {
        qsort(t->words[k], t->word_count[k], sizeof *t->words[k], palme_word_compare);
        qsort(t->added[k], t->added_count[k], sizeof *t->added[k], palme_word_compare);
    }
    return PALME_OK;
}

int palme_wordpiece_load(struct palme_wordpiece **wordpiece, const struct palme_json *root, int vocabulary,
                         const struct palme_log *log)
{
    struct reading r = { .log = log };
    int status;

    *wordpiece = NULL;
    if (!(r.t = calloc(1, sizeof *r.t)))
        return palme_fail(log, PALME_ERROR_MEMORY, "tokenizer: out of memory");
    r.t->count = vocabulary;
    status = read_options(&r, root);
    if (status == PALME_OK)
        status = read_tokens(&r);
    if (status < 0)
        palme_wordpiece_close(&r.t);
    *wordpiece = r.t;
    return status;
}

void palme_wordpiece_close(struct palme_wordpiece **wordpiece)
{
    struct palme_wordpiece *t = wordpiece ? *wordpiece : NULL;

    if (!t)
        return;
    for (int k = 0; k < 2; k++) {
        free(t->words[k]);
        free(t->added[k]);
    }
    free(t->normal);
    free(t->arena);
    free(t->continues);
    free(t->tokens);
    free(t);
    *wordpiece = NULL;
}
