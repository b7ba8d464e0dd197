/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bpe.c - byte-level byte pair encoding. The regular expression that splits words is written out by
 * hand; merging is a linked list of symbols and a heap of the pairs that may be merged.
 */
#include "text/bpe.h"

#include <limits.h>
#include <string.h>

#include "base/unicode.h"

enum { NONE = -1 };

/* Where ids go. */
struct ids {
    int *ids; /* [capacity] */
    int capacity;
    int count;
};

/* ---- Words ------------------------------------------------------------------------- */

/* The class of the character at *i, which moves past it. The text is known to be valid UTF-8. */
static enum palme_char_class next_class(const unsigned char *text, size_t *i)
{
    uint32_t c = text[*i];
    int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    (*i)++;
    if (more)
        c &= 0x3Fu >> more;
    for (; more > 0; more--)
        c = c << 6 | (text[(*i)++] & 0x3Fu);
    return palme_char_class(c);
}

/* Length of an English contraction that begins with the apostrophe at `text`, or 0. */
static size_t contraction(const unsigned char *text, size_t length)
{
    if (length >= 2 && strchr("stmd", text[1]) && text[1])
        return 2;
    if (length >= 3 &&
        (memcmp(text + 1, "re", 2) == 0 || memcmp(text + 1, "ve", 2) == 0 || memcmp(text + 1, "ll", 2) == 0))
        return 3;
    return 0;
}

/* Length of the first word of a text that is not empty. This is the pattern of GPT-2,
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * read from left to right: a run of one class with at most one space (U+0020) before it, or a run
 * of spaces, which leaves its last one to the word that follows. */
static size_t word_length(const unsigned char *text, size_t length)
{
    size_t end = 0, last;
    enum palme_char_class class;

    if (text[0] == '\'' && (end = contraction(text, length)) > 0)
        return end;
    class = next_class(text, &end);
    if (text[0] == ' ' && end < length) {
        size_t after = end;
        enum palme_char_class next = next_class(text, &after);
        if (next != PALME_CHAR_SPACE) {
            class = next;
            end = after;
        }
    }
    for (last = 0; end < length;) {
        size_t after = end;
        if (next_class(text, &after) != class)
            break;
        last = end;
        end = after;
    }
    if (class == PALME_CHAR_SPACE && end < length && last > 0)
        return last;
    return end;
}

/* ---- Merges ------------------------------------------------------------------------ */

int palme_merge_compare(const void *a, const void *b)
{
    const struct palme_merge *x = a, *y = b;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    if (x->right != y->right)
        return x->right < y->right ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

int palme_word_compare(const void *a, const void *b)
{
    const struct palme_word *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* Those words that begin with the bytes read so far are neighbours, the one that ends there first. */
const struct palme_word *palme_word_longest(const struct palme_word *words, size_t count, const char *text,
                                            size_t length)
{
    const struct palme_word *found = NULL;
    size_t low = 0, high = count;
    for (size_t depth = 0; low < high; depth++) {
        size_t from = low, to = high;
        if (words[low].length == depth)
            found = &words[low++], from = low;
        if (depth == length)
            break;
        while (from < to) { /* the first whose next byte is not below the text's */
            size_t middle = from + (to - from) / 2;
            if ((unsigned char)words[middle].bytes[depth] < (unsigned char)text[depth])
                from = middle + 1;
            else
                to = middle;
        }
        low = from;
        to = high;
        while (from < to) { /* the first whose next byte is above it */
            size_t middle = from + (to - from) / 2;
            if ((unsigned char)words[middle].bytes[depth] <= (unsigned char)text[depth])
                from = middle + 1;
            else
                to = middle;
        }
        high = from;
    }
    return found;
}

static const struct palme_merge *find_merge(const struct palme_bpe *t, int left, int right)
{
    size_t low = 0, high = t->merge_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct palme_merge *m = &t->merges[middle];
        if (m->left == (uint32_t)left && m->right == (uint32_t)right)
            return m;
        if (m->left < (uint32_t)left || (m->left == (uint32_t)left && m->right < (uint32_t)right))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int find_word(const struct palme_bpe *t, const char *bytes, size_t length)
{
    struct palme_word wanted = { bytes, length, 0, 0 };
    size_t low = 0, high = t->word_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = palme_word_compare(&wanted, &t->words[middle]);
        if (order == 0)
            return t->words[middle].id;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NONE;
}

/* One symbol of a word. Its pair is it and the next one. */
struct symbol {
    int32_t id;
    int32_t previous, next;          /* indices, or NONE */
    const struct palme_merge *merge; /* of its pair, or NULL */
};

/* The heap holds (rank, index) of pairs, the smallest first: the lowest rank, then the leftmost. An
 * entry whose symbol has another merge by now is stale. */
struct heap {
    uint64_t *entries;
    size_t count;
};

static void heap_push(struct heap *heap, uint64_t entry)
{
    size_t i = heap->count++;
    for (; i > 0 && heap->entries[(i - 1) / 2] > entry; i = (i - 1) / 2)
        heap->entries[i] = heap->entries[(i - 1) / 2];
    heap->entries[i] = entry;
}

static uint64_t heap_pop(struct heap *heap)
{
    uint64_t top = heap->entries[0], entry = heap->entries[--heap->count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < heap->count) {
        if (child + 1 < heap->count && heap->entries[child + 1] < heap->entries[child])
            child++;
        if (entry <= heap->entries[child])
            break;
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    heap->entries[i] = entry;
    return top;
}

/* Looks the pair of symbol i up again, since one of the two has changed. */
static void pair_again(const struct palme_bpe *t, struct heap *heap, struct symbol *symbols, int32_t i)
{
    struct symbol *s = &symbols[i];
    s->merge = s->next == NONE ? NULL : find_merge(t, s->id, symbols[s->next].id);
    if (s->merge)
        heap_push(heap, (uint64_t)s->merge->rank << 32 | (uint32_t)i);
}

/* Where things lie in the scratch: symbols[n], then 3n entries of the heap (n - 1 at first, at most
 * two more for each of n - 1 merges), then the text with its prefix space; n is its length. */
static size_t symbols_bytes(size_t n)
{
    return n * sizeof(struct symbol);
}

static size_t heap_bytes(size_t n)
{
    return 3 * n * sizeof(uint64_t);
}

size_t palme_bpe_scratch(size_t bytes)
{
    size_t n = bytes + 1;
    return symbols_bytes(n) + heap_bytes(n) + n;
}

static int append(struct ids *out, int id)
{
    if (out->count >= out->capacity)
        return PALME_ERROR_CONTEXT;
    out->ids[out->count++] = id;
    return PALME_OK;
}

static int encode_word(const struct palme_bpe *t, struct ids *out, const char *word, size_t length,
                       struct symbol *symbols, uint64_t *entries)
{
    struct heap heap = { entries, 0 };
    int32_t count = 0, i;
    int id = t->word_count ? find_word(t, word, length) : NONE;

    if (id != NONE)
        return append(out, id);
    /* A byte without a token vanishes and its neighbours meet, as in the library. */
    for (size_t k = 0; k < length; k++) {
        id = t->byte_ids[(unsigned char)word[k]];
        if (id == NONE)
            continue;
        symbols[count] = (struct symbol){ id, count - 1, count + 1, NULL };
        count++;
    }
    if (count == 0)
        return PALME_OK;
    symbols[count - 1].next = NONE;
    for (i = 0; i < count; i++)
        pair_again(t, &heap, symbols, i);
    while (heap.count > 0) {
        uint64_t entry = heap_pop(&heap);
        struct symbol *s = &symbols[i = (int32_t)(entry & 0xFFFFFFFFu)], *gone;
        if (!s->merge || s->merge->rank != entry >> 32)
            continue;
        gone = &symbols[s->next];
        s->id = (int32_t)s->merge->result;
        s->next = gone->next;
        gone->merge = NULL;
        if (s->next != NONE)
            symbols[s->next].previous = i;
        pair_again(t, &heap, symbols, i);
        if (s->previous != NONE)
            pair_again(t, &heap, symbols, s->previous);
    }
    for (i = 0; i != NONE; i = symbols[i].next)
        if (append(out, symbols[i].id) < 0)
            return PALME_ERROR_CONTEXT;
    return PALME_OK;
}

/* Encodes text without added tokens. */
static int encode_plain(const struct palme_bpe *t, struct ids *out, const char *text, size_t length, void *scratch)
{
    struct symbol *symbols = scratch;
    uint64_t *entries = (uint64_t *)((char *)scratch + symbols_bytes(length + 1));
    char *copy = (char *)entries + heap_bytes(length + 1);

    if (length == 0)
        return PALME_OK;
    if (t->add_prefix_space && text[0] != ' ') {
        copy[0] = ' ';
        memcpy(copy + 1, text, length++);
        text = copy;
    }
    while (length > 0) {
        size_t n = t->use_regex ? word_length((const unsigned char *)text, length) : length;
        int status = encode_word(t, out, text, n, symbols, entries);
        if (status < 0)
            return status;
        text += n;
        length -= n;
    }
    return PALME_OK;
}

/* ---- Added tokens ------------------------------------------------------------------ */

/* Encodes a stretch of text from a round of added tokens on. */
static int encode_round(const struct palme_bpe *t, struct ids *out, int round, const char *text, size_t length,
                        void *scratch)
{
    size_t start = 0, i = 0;
    int status;

    while (round < PALME_ROUNDS && t->added_count[round] == 0)
        round++;
    if (round == PALME_ROUNDS)
        return encode_plain(t, out, text, length, scratch);
    while (i < length) {
        const struct palme_word *word =
            palme_word_longest(t->added[round], t->added_count[round], text + i, length - i);
        if (word && !word->special) {
            status = encode_round(t, out, round + 1, text + start, i - start, scratch);
            if (status < 0)
                return status;
            if (out->count >= out->capacity)
                return PALME_ERROR_CONTEXT;
            out->ids[out->count++] = word->id;
            start = i + word->length;
        }
        i += word ? word->length : 1;
    }
    return encode_round(t, out, round + 1, text + start, length - start, scratch);
}

int palme_bpe_encode(const struct palme_bpe *bpe, int *ids, int capacity, const char *text, size_t length,
                     void *scratch)
{
    struct ids out = { ids, capacity, 0 };
    int status = encode_round(bpe, &out, 0, text, length, scratch);

    return status < 0 ? status : out.count;
}
