/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * words.c - the words that speak of a model's labels, as tokens and as text.
 */
#include "generate/words.h"

#include "base/arena.h"
#include "base/util.h"

#include <stdlib.h>
#include <string.h>

/* ---- Order -------------------------------------------------------------------------------- */

static int compare_ids(const int *a, const int *b, int count)
{
    for (int i = 0; i < count; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int compare_words(const void *a, const void *b)
{
    const struct palme_word *one = *(const struct palme_word *const *)a, *other = *(const struct palme_word *const *)b;

    return one->count != other->count ? one->count - other->count : compare_ids(one->ids, other->ids, one->count);
}

static int compare_integers(const void *a, const void *b)
{
    int one = *(const int *)a, other = *(const int *)b;

    return (one > other) - (one < other);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp((*(const struct palme_label_word *const *)a)->text,
                  (*(const struct palme_label_word *const *)b)->text);
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* What opening works with. */
struct opening {
    struct palme_words *words;
    const struct palme_tokenizer *tokenizer;
    const struct palme_log *log;
    struct palme_arena arena; /* of everything that the words own */
    void *encode;             /* the tokenizer's scratch */
    int ids[PALME_MOST_WORD_BYTES + 2];
};

/* Whether ids say a text, with or without the space that the tokenizer puts in front. What it has no token for, it
 * leaves out. */
static int say(const struct palme_tokenizer *tokenizer, const int *ids, int count, const char *text)
{
    size_t length, left = strlen(text);

    for (int i = 0; i < count; i++) {
        int space;
        const char *bytes = palme_tokenizer_bytes(tokenizer, ids[i], i == 0, &space, &length);

        if (i == 0 && length && *bytes == ' ') {
            bytes++;
            length--;
        }
        if (space && i > 0) {
            if (!left || *text != ' ')
                return 0;
            text++;
            left--;
        }
        if (length > left || memcmp(bytes, text, length) != 0)
            return 0;
        text += length;
        left -= length;
    }
    return !left;
}

/* Encodes a word into o->ids. Returns the number of ids or an error. */
static int encode(struct opening *o, const char *text)
{
    int count = palme_tokenizer_encode(o->tokenizer, o->ids, PALME_MOST_WORD_BYTES + 2, text, strlen(text), o->encode);
    struct palme_shown shown;

    if (count > 0 && say(o->tokenizer, o->ids, count, text))
        return count;
    return palme_fail(o->log, PALME_ERROR_FORMAT,
                      "config: labels.words has \"%s\", which the tokenizer has no "
                      "tokens for",
                      palme_show(&shown, text, strlen(text)));
}

/* Everything that the words own, with `ids` ids and `pairs` pairs of a word and a label. */
static void lay_out(struct opening *o, size_t ids, size_t pairs)
{
    const struct palme_label_config *config = o->words->config;
    size_t count = (size_t)config->word_count;
    struct palme_words *w = o->words;

    palme_arena_take(&o->arena, 1, sizeof *w); /* where o->words itself stands */
    w->word = palme_arena_take(&o->arena, count, sizeof *w->word);
    w->enders = palme_arena_take(&o->arena, count, sizeof *w->enders);
    w->longer = palme_arena_take(&o->arena, count, sizeof *w->longer);
    w->by_text = palme_arena_take(&o->arena, count, sizeof *w->by_text);
    w->first = palme_arena_take(&o->arena, (size_t)config->count + 1, sizeof *w->first);
    w->of_label = palme_arena_take(&o->arena, pairs, sizeof *w->of_label);
    int *all = palme_arena_take(&o->arena, ids, sizeof *all);
    if (count && w->word)
        w->word[0].ids = all;
}

/* Takes the memory, with the words in front, once it is known how many ids there are. */
static int take(struct opening *o, const struct palme_label_config *config)
{
    struct palme_words measured = { .config = config };
    size_t ids = 0, pairs = 0;

    for (int i = 0; i < config->word_count; i++) {
        int count = encode(o, config->words[i].text);

        if (count < 0)
            return count;
        ids += (size_t)count;
        pairs += (size_t)config->words[i].count;
    }
    o->words = &measured;
    lay_out(o, ids, pairs);
    size_t bytes = o->arena.most;
    struct palme_words *words = o->arena.overflow ? NULL : aligned_alloc(PALME_ARENA_ALIGNMENT, bytes);

    if (!(o->words = words))
        return palme_fail(o->log, PALME_ERROR_MEMORY, "out of memory for the words of its labels");
    *words = measured;
    o->arena = palme_arena_over(words, bytes);
    lay_out(o, ids, pairs);
    return PALME_OK;
}

/* Ids, enders and the words of several ids. */
static void fill_ids(struct opening *o)
{
    struct palme_words *w = o->words;
    int *next = w->config->word_count ? w->word[0].ids : NULL, distinct = 0;

    for (int i = 0; i < w->config->word_count; i++) {
        struct palme_word *word = &w->word[i];

        *word = (struct palme_word){ .ids = next, .count = encode(o, w->config->words[i].text), .number = i };
        memcpy(next, o->ids, (size_t)word->count * sizeof *next);
        next += word->count;
        w->longest = max_int(w->longest, word->count);
        w->enders[i] = next[-1];
        w->longer[i] = word;
    }
    qsort(w->enders, (size_t)w->config->word_count, sizeof *w->enders, compare_integers);
    for (int i = 0; i < w->config->word_count; i++)
        if (!i || w->enders[i] != w->enders[distinct - 1])
            w->enders[distinct++] = w->enders[i];
    w->ender_count = distinct;
    qsort(w->longer, (size_t)w->config->word_count, sizeof *w->longer, compare_words);
    int single = 0;

    while (single < w->config->word_count && w->longer[single]->count == 1)
        single++;
    w->longer += single;
    w->longer_count = w->config->word_count - single;
    for (int i = 0; i < w->config->word_count; i++) {
        int last = w->word[i].ids[w->word[i].count - 1];
        const int *place = bsearch(&last, w->enders, (size_t)distinct, sizeof last, compare_integers);

        w->word[i].ender = (int)(place - w->enders);
    }
}

/* Words by text and by label. */
static void fill_tables(struct palme_words *w)
{
    const struct palme_label_config *config = w->config;

    memset(w->first, 0, ((size_t)config->count + 1) * sizeof *w->first);
    for (int i = 0; i < config->word_count; i++) {
        int spaces = 0;

        for (const char *c = config->words[i].text; *c; c++)
            spaces += *c == ' ';
        w->longest_phrase = max_int(w->longest_phrase, spaces + 1);
        w->by_text[i] = &config->words[i];
        for (int j = 0; j < config->words[i].count; j++)
            w->first[config->words[i].labels[j]]++;
    }
    qsort(w->by_text, (size_t)config->word_count, sizeof *w->by_text, compare_texts);
    for (int l = 0; l < config->count; l++) /* where the words of l end; the loop below goes back to where they begin */
        w->first[l + 1] += w->first[l];
    for (int i = config->word_count; i-- > 0;)
        for (int j = 0; j < config->words[i].count; j++)
            w->of_label[--w->first[config->words[i].labels[j]]] = i;
}

int palme_words_open(struct palme_words **words, const struct palme_label_config *config,
                     const struct palme_tokenizer *tokenizer, const struct palme_log *log)
{
    struct opening o = { .tokenizer = tokenizer, .log = log };
    int status;

    *words = NULL;
    if (!(o.encode = malloc(palme_tokenizer_scratch(tokenizer, PALME_MOST_WORD_BYTES))))
        return palme_fail(log, PALME_ERROR_MEMORY, "out of memory for the words of its labels");
    if ((status = take(&o, config)) == PALME_OK) {
        fill_ids(&o);
        fill_tables(o.words);
        *words = o.words;
    }
    free(o.encode);
    return status;
}

void palme_words_close(struct palme_words **words)
{
    free(*words);
    *words = NULL;
}

/* ---- Finding ------------------------------------------------------------------------------ */

const struct palme_word *const *palme_words_behind(const struct palme_words *words, int count, const int *text,
                                                   int length, int *found)
{
    const int *tail = text + length - (count - 1);
    int low = 0, high = words->longer_count;

    *found = 0;
    if (count < 2 || count - 1 > length)
        return NULL;
    while (low < high) { /* the first word that is not before */
        int middle = low + (high - low) / 2;
        const struct palme_word *word = words->longer[middle];

        if (word->count < count || (word->count == count && compare_ids(word->ids, tail, count - 1) < 0))
            low = middle + 1;
        else
            high = middle;
    }
    while (low + *found < words->longer_count && words->longer[low + *found]->count == count &&
           compare_ids(words->longer[low + *found]->ids, tail, count - 1) == 0)
        ++*found;
    return words->longer + low;
}

/* The words of a text in lower case with one space between them. Returns their length. */
static size_t plain_words(char *out, const char *text)
{
    size_t length = 0;
    int open = 0; /* a space is due before the next word */

    for (; *text; text++) {
        char c = (char)(*text >= 'A' && *text <= 'Z' ? *text + ('a' - 'A') : *text);

        if (!palme_is_word_character(c)) {
            open = length > 0;
            continue;
        }
        if (open)
            out[length++] = ' ';
        open = 0;
        out[length++] = c;
    }
    out[length] = '\0';
    return length;
}

static const struct palme_label_word *find_text(const struct palme_words *words, const char *text)
{
    const struct palme_label_word wanted = { .text = text }, *key = &wanted;
    const struct palme_label_word *const *found =
        bsearch(&key, words->by_text, (size_t)words->config->word_count, sizeof *words->by_text, compare_texts);

    return found ? *found : NULL;
}

/* The probability of the likeliest thing that a word may speak of, -1 if it speaks of none. */
static double thing_of(const struct palme_label_config *config, const struct palme_label_word *word,
                       const double *probabilities)
{
    double most = -1;

    for (int i = 0; i < word->count; i++)
        if (*config->phrases[word->labels[i]] && probabilities[word->labels[i]] > most)
            most = probabilities[word->labels[i]];
    return most;
}

int palme_words_confirm(const struct palme_words *words, const double *probabilities, const char *text, char *scratch)
{
    const struct palme_label_config *config = words->config;
    size_t length = plain_words(scratch, text);
    double most = 0;
    int denied = 0;

    for (char *at = scratch, *next; *at; at = next) {
        const struct palme_label_word *word = NULL, *longer;
        char *end = at;

        next = NULL;
        for (int n = 0; n < words->longest_phrase && end < scratch + length; n++) {
            end += n > 0; /* behind the space */
            end += strcspn(end, " ");
            char behind = *end;
            *end = '\0';
            if ((longer = find_text(words, at)) != NULL)
                word = longer;
            *end = behind;
            if (!next || longer)
                next = end + (*end == ' ');
        }
        double thing = word ? thing_of(config, word, probabilities) : -1;
        most = thing > most ? thing : most;
        denied |= thing >= 0 && thing < config->deny;
    }
    return most >= config->confirm && !denied;
}
