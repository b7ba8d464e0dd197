/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tokenizer.c - which kind of tokenizer a model has. Another kind gets a file of its own beside bpe.c and wordpiece.c
 * and a case in each switch here; nothing else knows kinds.
 */
#include "text/tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "text/bpe.h"
#include "text/wordpiece.h"
#include "io/json.h"
#include "base/unicode.h"

enum kind { KIND_BPE, KIND_WORDPIECE };

static const char *const kinds[] = { "BPE", "WordPiece", NULL };

struct palme_tokenizer {
    enum kind kind;
    struct palme_bpe *bpe;
    struct palme_wordpiece *wordpiece;
};

static int choose_kind(enum kind *kind, const struct palme_json *root, const struct palme_log *log)
{
    const char *type = palme_json_text(palme_json_get(palme_json_get(root, "model"), "type"));

    for (int i = 0; kinds[i] && type; i++)
        if (strcmp(type, kinds[i]) == 0) {
            *kind = (enum kind)i;
            return PALME_OK;
        }
    return palme_fail(log, PALME_ERROR_FORMAT, "tokenizer: model.type is not supported: it must be BPE or WordPiece");
}

static int load(struct palme_tokenizer *t, const struct palme_json *root, int vocabulary, const struct palme_log *log)
{
    int status = choose_kind(&t->kind, root, log);

    if (status < 0)
        return status;
    switch (t->kind) {
    case KIND_BPE: return palme_bpe_load(&t->bpe, root, vocabulary, log);
    case KIND_WORDPIECE: return palme_wordpiece_load(&t->wordpiece, root, vocabulary, log);
    }
    return PALME_ERROR_FORMAT;
}

int palme_tokenizer_open(struct palme_tokenizer **tokenizer, const char *json, size_t length, int vocabulary,
                         const struct palme_log *log)
{
    struct palme_tokenizer *t = calloc(1, sizeof *t);
    struct palme_json *root = NULL;
    int status;

    *tokenizer = NULL;
    if (!t)
        return palme_fail(log, PALME_ERROR_MEMORY, "tokenizer: out of memory");
    if (vocabulary < 1)
        status = palme_fail(log, PALME_ERROR_FORMAT, "tokenizer: vocabulary has no token");
    else if ((status = palme_json_load(&root, json, length, "tokenizer", log)) == PALME_OK)
        status = load(t, root, vocabulary, log);
    palme_json_close(&root);
    if (status < 0)
        palme_tokenizer_close(&t);
    *tokenizer = t;
    return status;
}

void palme_tokenizer_close(struct palme_tokenizer **tokenizer)
{
    if (!tokenizer || !*tokenizer)
        return;
    palme_bpe_close(&(*tokenizer)->bpe);
    palme_wordpiece_close(&(*tokenizer)->wordpiece);
    free(*tokenizer);
    *tokenizer = NULL;
}

int palme_tokenizer_count(const struct palme_tokenizer *tokenizer)
{
    switch (tokenizer->kind) {
    case KIND_BPE: return tokenizer->bpe->count;
    case KIND_WORDPIECE: return tokenizer->wordpiece->count;
    }
    return 0;
}

size_t palme_tokenizer_scratch(const struct palme_tokenizer *tokenizer, size_t bytes)
{
    switch (tokenizer->kind) {
    case KIND_BPE: return palme_bpe_scratch(bytes);
    case KIND_WORDPIECE: return palme_wordpiece_scratch(bytes);
    }
    return 0;
}

int palme_tokenizer_encode(const struct palme_tokenizer *tokenizer, int *ids, int capacity, const char *text,
                           size_t length, void *scratch)
{
    if (length >= INT_MAX || !palme_utf8_valid(text, length))
        return PALME_ERROR_TEXT;
    switch (tokenizer->kind) {
    case KIND_BPE: return palme_bpe_encode(tokenizer->bpe, ids, capacity, text, length, scratch);
    case KIND_WORDPIECE: return palme_wordpiece_encode(tokenizer->wordpiece, ids, capacity, text, length, scratch);
    }
    return PALME_ERROR_TEXT;
}

const char *palme_tokenizer_bytes(const struct palme_tokenizer *tokenizer, int id, int first, int *space,
                                  size_t *length)
{
    *space = 0;
    *length = 0;
    if (id >= palme_tokenizer_count(tokenizer))
        return "";
    switch (tokenizer->kind) {
    case KIND_BPE: *length = tokenizer->bpe->tokens[id].length; return tokenizer->bpe->tokens[id].bytes;
    case KIND_WORDPIECE: return palme_wordpiece_bytes(tokenizer->wordpiece, id, first, space, length);
    }
    return "";
}

size_t palme_tokenizer_longest(const struct palme_tokenizer *tokenizer)
{
    switch (tokenizer->kind) {
    case KIND_BPE: return tokenizer->bpe->longest;
    case KIND_WORDPIECE: return tokenizer->wordpiece->longest;
    }
    return 0;
}
