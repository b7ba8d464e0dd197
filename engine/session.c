/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * session.c - one line of thought: a picture is seen, a prompt is read, pieces of a caption come out.
 *
 * All memory is one block, taken when the session is opened; look, prompt and next allocate nothing. The
 * caches are sized for the longest context, but pages that no caption has reached are never touched, so the
 * system does not give them.
 */
#include "model.h"

#include "image.h"
#include "tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_LENGTH = 32,
    MOST_BEAMS = 16,
    PROMPT_BYTES = 4096,
    PREFILL_ROWS = 64 /* prompts go through the decoder in portions, so scratch does not grow with them */
};

enum state {
    STATE_BLIND, /* no picture */
    STATE_SEEN,  /* a picture, no prompt yet */
    STATE_TALK,  /* the logits of the next token stand ready, or a token waits to be fed */
    STATE_TELL,  /* the sentence is decided (beams) and given out piece by piece */
    STATE_ENDED
};

struct palme_session {
    const palme_model *model;
    struct palme_options options;
    struct palme_compute compute;
    enum state state;
    int width_capacity; /* beams that there is memory for */
    int capacity;       /* positions of a cache */

    uint8_t *square;       /* [S][S][3] */
    void *image_scratch;
    float *pixels;         /* [S][S][3] */
    float *context;        /* [P][E] */
    float *mapped;         /* [P][D]: the image tokens of a prefix decoder */
    float *scratch;        /* encoder's and decoder's */
    struct palme_picture picture;
    struct palme_rotary rotary;
    struct palme_cache *cache; /* [width_capacity] */
    struct palme_row *rows;    /* [the most rows of a call] */
    float *logits;             /* [width_capacity][V] */
    float *probabilities;      /* [V] */
    int *kept;                 /* [V] */
    int *text;                 /* [capacity + 1] begin token and prompt, later the generated tokens */
    void *encode_scratch;
    struct palme_beams beams;
    struct palme_random random;
    struct palme_utf8 utf8;
    char *piece;

    int generated;  /* tokens of the caption so far */
    int most;       /* tokens that it may have */
    int pending;    /* a token that was chosen but not fed yet, or -1 */
    int undecided;  /* logits of the open beams are due */
    int shared;     /* positions that all caches begin with: image tokens and prompt */
    unsigned filled; /* bit per cache: it has the shared positions */
    int told;       /* tokens of beams.best that were given out */
    double score;   /* sum of log-probabilities */
    void *memory;
};

/* ---- Memory ------------------------------------------------------------------------------- */

/* Hands out parts of one block: first to add up the sizes (base NULL), then for good. */
struct arena {
    unsigned char *base;
    size_t used;
    int overflow;
};

static void *take(struct arena *arena, size_t count, size_t size)
{
    size_t bytes, end;

    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, 63, &bytes) ||
        __builtin_add_overflow(arena->used, bytes & ~(size_t)63, &end)) {
        arena->overflow = 1;
        return NULL;
    }
    void *part = arena->base ? arena->base + arena->used : NULL;
    arena->used = end;
    return part;
}

static int prefix_tokens(const struct palme_params *params)
{
    return params->cross_attend ? 0 : palme_params_patches(params);
}

static void lay_out(struct palme_session *s, struct arena *arena)
{
    const struct palme_params *params = &s->model->params;
    size_t side = (size_t)params->image_size, patches = (size_t)palme_params_patches(params);
    size_t inner = (size_t)params->decoder_heads * PALME_HEAD, depth = (size_t)params->decoder_depth;
    size_t capacity = (size_t)s->capacity, width = (size_t)s->width_capacity;
    size_t vocabulary = (size_t)params->num_tokens, prefix = (size_t)prefix_tokens(params);
    size_t rows = prefix > PREFILL_ROWS ? prefix : PREFILL_ROWS;
    size_t scratch = palme_encoder_scratch(s->model, params->image_size, params->image_size);
    size_t see = patches * (size_t)params->decoder_dim;
    size_t decode = palme_decoder_scratch(s->model, (int)rows);

    scratch = scratch > decode ? scratch : decode;
    scratch = scratch > see ? scratch : see;
    s->square = take(arena, side * side, 3);
    s->image_scratch = take(arena, palme_image_scratch(params->image_size), 1);
    s->pixels = take(arena, side * side * 3, sizeof(float));
    s->context = take(arena, patches * (size_t)params->encoder_dim, sizeof(float));
    s->mapped = take(arena, prefix * (size_t)params->decoder_dim, sizeof(float));
    s->scratch = take(arena, scratch, sizeof(float));
    s->picture.capacity = (int)patches;
    s->picture.kv = take(arena, params->cross_attend ? 2 * depth * patches : 0, inner * sizeof(float));
    s->rotary.positions = params->rotary_xpos ? s->capacity : 0;
    s->rotary.cos = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.sin = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.gain = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->rotary.anti = take(arena, capacity * PALME_ROTARY, sizeof(float));
    s->cache = take(arena, width, sizeof *s->cache);
    for (size_t b = 0; b < width; b++) {
        float *kv = take(arena, 2 * depth * capacity, inner * sizeof(float));

        if (arena->base)
            s->cache[b] = (struct palme_cache){ .kv = kv, .capacity = s->capacity };
    }
    s->rows = take(arena, rows > width ? rows : width, sizeof *s->rows);
    s->logits = take(arena, width * vocabulary, sizeof(float));
    s->probabilities = take(arena, vocabulary, sizeof(float));
    s->kept = take(arena, vocabulary, sizeof(int));
    s->text = take(arena, capacity + 1, sizeof(int));
    s->encode_scratch = take(arena, palme_tokenizer_scratch(s->model->tokenizer, PROMPT_BYTES), 1);
    s->piece = take(arena, 3 * (palme_tokenizer_longest(s->model->tokenizer) + 4) + 16, 1);
    if (width > 1) {
        s->beams.width = s->width_capacity;
        s->beams.capacity = s->capacity + 1;
        s->beams.beam = take(arena, width, sizeof *s->beams.beam);
        s->beams.next = take(arena, width, sizeof *s->beams.next);
        s->beams.best = take(arena, capacity + 2, sizeof(int));
        s->beams.candidates = take(arena, 2 * width, sizeof *s->beams.candidates);
        for (size_t b = 0; b < width; b++) {
            int *tokens = take(arena, capacity + 1, sizeof(int));
            int *next = take(arena, capacity + 1, sizeof(int));

            if (arena->base) {
                s->beams.beam[b].tokens = tokens;
                s->beams.next[b].tokens = next;
            }
        }
    }
}

/* ---- Options ------------------------------------------------------------------------------ */

static int usable_options(const palme_model *model, const struct palme_options *o)
{
    const char *wrong = NULL;

    if (o->max_length < 0)
        wrong = "max_length is below 0";
    else if (o->beams < 0 || o->beams > MOST_BEAMS)
        wrong = "beams is not in 0..16";
    else if (!(o->temperature >= 0) || isinf(o->temperature))
        wrong = "temperature is not 0 or a finite positive number";
    else if (o->top_k < 0)
        wrong = "top_k is below 0";
    else if (!(o->top_p >= 0))
        wrong = "top_p is below 0 or not a number";
    else if (!(o->length_penalty >= 0) || isinf(o->length_penalty))
        wrong = "length_penalty is not 0 or a finite positive number";
    else if (o->no_repeat_ngram < -1)
        wrong = "no_repeat_ngram is below -1";
    else if (o->min_length < 0)
        wrong = "min_length is below 0";
    if (wrong)
        return palme_fail(&model->report, PALME_ERROR_ARGUMENT, "the option %s", wrong);
    return PALME_OK;
}

static int wanted_beams(const palme_model *model, const struct palme_options *o)
{
    if (o->temperature > 0)
        return 1;
    return o->beams ? o->beams : model->params.default_beams;
}

int palme_session_set_options(palme_session *session, const struct palme_options *options)
{
    static const struct palme_options none;

    if (!session)
        return PALME_ERROR_ARGUMENT;
    if (!options)
        options = &none;
    int status = usable_options(session->model, options);
    if (status < 0)
        return status;
    if (wanted_beams(session->model, options) > session->width_capacity)
        return palme_fail(&session->model->report, PALME_ERROR_ARGUMENT,
                          "%d beams are asked of a session that was opened for %d",
                          wanted_beams(session->model, options), session->width_capacity);
    session->options = *options;
    session->compute.stop = options->stop;
    session->compute.stop_user = options->stop_user;
    session->state = STATE_BLIND; /* a caption is made under one set of options */
    return PALME_OK;
}

/* ---- Opening and closing ------------------------------------------------------------------ */

int palme_session_open(palme_session **session, const palme_model *model,
                       const struct palme_options *options)
{
    static const struct palme_options none;
    struct arena arena = { NULL, 0, 0 };
    int status;

    if (!session)
        return PALME_ERROR_ARGUMENT;
    *session = NULL;
    if (!model || !model->tokenizer)
        return PALME_ERROR_ARGUMENT;
    if (!options)
        options = &none;
    if ((status = usable_options(model, options)) < 0)
        return status;

    palme_session *s = calloc(1, sizeof *s);
    if (!s)
        return palme_fail(&model->report, PALME_ERROR_MEMORY, "no memory for a session");
    s->model = model;
    s->compute = (struct palme_compute){ .kernels = &model->kernels, .pool = model->pool };
    s->width_capacity = wanted_beams(model, options);
    if (options->beams > s->width_capacity)
        s->width_capacity = options->beams;
    s->capacity = model->params.max_seq_len;
    lay_out(s, &arena);
    if (!arena.overflow)
        s->memory = aligned_alloc(64, arena.used);
    if (!s->memory) {
        status = palme_fail(&model->report, PALME_ERROR_MEMORY, "no memory for a session: %zu MiB",
                            arena.used >> 20);
        palme_session_close(&s);
        return status;
    }
    arena.base = s->memory;
    arena.used = 0;
    lay_out(s, &arena);
    palme_rotary_fill(&s->rotary, &model->weights, model->params.xpos_center);
    if ((status = palme_session_set_options(s, options)) < 0) {
        palme_session_close(&s);
        return status;
    }
    *session = s;
    return PALME_OK;
}

void palme_session_close(palme_session **session)
{
    if (!session || !*session)
        return;
    free((*session)->memory);
    free(*session);
    *session = NULL;
}

/* ---- Seeing ------------------------------------------------------------------------------- */

static int begin(palme_session *s)
{
    s->compute.stopped = 0;
    s->state = STATE_BLIND;
    return palme_compute_stopped(&s->compute) ? PALME_ERROR_STOPPED : PALME_OK;
}

/* Encodes pixels[height][width][3] and prepares the decoder for a sentence about them. */
static int see(palme_session *s, int height, int width)
{
    const struct palme_params *params = &s->model->params;
    int tokens = palme_encode(s->model, &s->compute, s->context, s->pixels, height, width, s->scratch);

    if (tokens < 0)
        return tokens;
    palme_decoder_see(s->model, &s->compute, &s->picture, params->cross_attend ? NULL : s->mapped,
                      s->context, tokens, s->scratch);
    for (int b = 0; b < s->width_capacity; b++) {
        s->cache[b].length = 0;
        s->cache[b].visible = params->cross_attend ? 0 : tokens;
    }
    if (!params->cross_attend && !s->compute.stopped) {
        for (int i = 0; i < tokens; i++)
            s->rows[i] = (struct palme_row){ .cache = &s->cache[0], .picture = &s->picture,
                                             .rotary = &s->rotary,
                                             .embedding = s->mapped + (size_t)i * params->decoder_dim };
        palme_decode(s->model, &s->compute, NULL, s->rows, tokens, tokens, s->scratch);
    }
    if (s->compute.stopped)
        return PALME_ERROR_STOPPED;

    s->generated = 0;
    s->score = 0;
    s->pending = -1;
    s->random.state = s->options.seed;
    s->utf8 = (struct palme_utf8){ .count = 0 };
    s->state = STATE_SEEN;
    return PALME_OK;
}

int palme_look(palme_session *session, const struct palme_image *image)
{
    const char *problem;
    int status;

    if (!session || !image)
        return PALME_ERROR_ARGUMENT;
    int side = session->model->params.image_size;
    size_t count = (size_t)side * (size_t)side * 3;

    if ((problem = palme_image_problem(image)) != NULL) {
        session->state = STATE_BLIND;
        return palme_fail(&session->model->report, PALME_ERROR_ARGUMENT, "the picture cannot be read: %s",
                          problem);
    }
    if ((status = begin(session)) < 0)
        return status;
    palme_image_resize(session->square, image, side, session->image_scratch);
    for (size_t i = 0; i < count; i++)
        session->pixels[i] = (float)session->square[i] / 255;
    return see(session, side, side);
}

int palme_look_planar(palme_session *session, const float *pixels, int height, int width)
{
    int status;

    if (!session || !pixels)
        return PALME_ERROR_ARGUMENT;
    const struct palme_report *report = &session->model->report;
    int patch = session->model->params.patch_size, most = palme_params_patches(&session->model->params);

    session->state = STATE_BLIND;
    if (height <= 0 || width <= 0 || height % patch || width % patch)
        return palme_fail(report, PALME_ERROR_ARGUMENT,
                          "a picture of %d x %d pixels is not made of patches of %d x %d", width, height,
                          patch, patch);
    if ((int64_t)(height / patch) * (width / patch) > most)
        return palme_fail(report, PALME_ERROR_ARGUMENT,
                          "a picture of %d x %d pixels has more than the model's %d patches", width, height,
                          most);
    size_t area = (size_t)height * (size_t)width;
    for (size_t i = 0; i < 3 * area; i++)
        if (!isfinite(pixels[i]))
            return palme_fail(report, PALME_ERROR_ARGUMENT,
                              "the picture cannot be read: value %zu is NaN or infinite", i);
    if ((status = begin(session)) < 0)
        return status;
    for (size_t i = 0; i < area; i++)
        for (size_t channel = 0; channel < 3; channel++)
            session->pixels[3 * i + channel] = pixels[channel * area + i];
    return see(session, height, width);
}

/* ---- Prompt ------------------------------------------------------------------------------- */

/* Runs text[0..count-1] through the decoder; logits of the last one stand in s->logits. */
static int prefill(palme_session *s, int count)
{
    for (int first = 0; first < count; first += PREFILL_ROWS) {
        int n = count - first < PREFILL_ROWS ? count - first : PREFILL_ROWS;

        for (int i = 0; i < n; i++)
            s->rows[i] = (struct palme_row){ .cache = &s->cache[0], .picture = &s->picture,
                                             .rotary = &s->rotary, .token = s->text[first + i] };
        palme_decode(s->model, &s->compute, s->logits, s->rows, n, first + n == count ? n - 1 : n,
                     s->scratch);
        if (s->compute.stopped)
            return PALME_ERROR_STOPPED;
    }
    return PALME_OK;
}

int palme_prompt(palme_session *session, const char *text)
{
    int count, status, room, wanted;

    if (!session || session->state != STATE_SEEN)
        return PALME_ERROR_ARGUMENT;
    const struct palme_report *report = &session->model->report;
    if (!text)
        text = session->model->params.default_prompt;
    size_t length = strnlen(text, PROMPT_BYTES + 1);

    if (length > PROMPT_BYTES)
        return palme_fail(report, PALME_ERROR_TEXT, "the prompt is longer than %d bytes", PROMPT_BYTES);
    room = session->capacity - session->cache[0].length;
    session->text[0] = session->model->params.bos_token;
    count = palme_tokenizer_encode(session->model->tokenizer, session->text + 1, room - 1, text, length,
                                   session->encode_scratch);
    if (count == PALME_ERROR_CONTEXT)
        return palme_fail(report, count, "the prompt leaves no room for a caption: the context is %d tokens",
                          session->model->params.max_seq_len);
    if (count < 0)
        return palme_fail(report, count, "the prompt is not valid UTF-8");
    count++;

    session->compute.stopped = 0;
    int before = session->cache[0].length;
    if ((status = prefill(session, count)) < 0) {
        session->cache[0].length = before; /* asked again, it starts anew */
        return status;
    }
    /* The last token is never fed, so one more fits than the context has positions left. */
    wanted = session->options.max_length ? session->options.max_length : DEFAULT_LENGTH;
    session->most = room - count + 1 < wanted ? room - count + 1 : wanted;
    session->shared = session->cache[0].length;
    session->filled = 1;
    session->undecided = 0;
    session->told = 0;
    if (wanted_beams(session->model, &session->options) > 1)
        palme_beams_begin(&session->beams);
    session->state = STATE_TALK;
    return PALME_OK;
}

/* ---- Telling ------------------------------------------------------------------------------ */

/* The text of a token behind what is held of a character; "" for tokens that are no text. */
static void tell(palme_session *s, const char **piece, int token)
{
    size_t length = 0;
    const char *bytes = "";

    if (token != s->model->params.pad_token && token != s->model->params.bos_token)
        bytes = palme_tokenizer_bytes(s->model->tokenizer, token, &length);
    palme_utf8_feed(&s->utf8, s->piece, bytes, length);
    *piece = s->piece;
}

/* The end: what is held of a character comes as a last piece. */
static int finish(palme_session *s, const char **piece)
{
    s->state = STATE_ENDED;
    if (!palme_utf8_finish(&s->utf8, s->piece))
        return PALME_END;
    *piece = s->piece;
    return PALME_OK;
}

static struct palme_search search_of(const palme_session *s)
{
    const struct palme_options *o = &s->options;
    const struct palme_params *params = &s->model->params;

    return (struct palme_search){
        .width = wanted_beams(s->model, o),
        .max_length = s->most,
        .eos = params->eos_token,
        .min_length = o->min_length ? o->min_length : params->min_length,
        .ngram = o->no_repeat_ngram < 0 ? 0 : o->no_repeat_ngram ? o->no_repeat_ngram
                                                                   : params->no_repeat_ngram,
        .length_penalty = o->length_penalty > 0 ? o->length_penalty : params->length_penalty,
    };
}

/* Chooses the next token of a single sentence from s->logits; -1 where no logit is a number. */
static int choose(palme_session *s)
{
    const struct palme_options *o = &s->options;
    const struct palme_search search = search_of(s);
    int n = s->model->params.num_tokens, token;
    double all = s->model->kernels.log_sum_exp(s->logits, n);

    memcpy(s->probabilities, s->logits, (size_t)n * sizeof *s->logits); /* the raw ones give the score */
    palme_forbid_repeats(s->logits, n, s->text, s->generated, search.ngram);
    if (s->generated + 1 < search.min_length)
        s->logits[search.eos] = -INFINITY;
    token = palme_argmax(s->logits, n);
    float raw = token < 0 ? 0 : s->probabilities[token];
    if (token >= 0 && o->temperature > 0) {
        int kept = palme_filter(s->probabilities, s->kept, s->logits, n, o->temperature, o->top_k,
                                o->top_p > 0 ? o->top_p : 1);

        token = palme_draw(s->probabilities, s->kept, kept, &s->random);
        raw = s->logits[token];
    }
    if (token >= 0 && !isnan(raw - all)) /* weights of a damaged model may be infinite */
        s->score += raw - all;
    return token;
}

static int next_single(palme_session *s, const char **piece)
{
    if (s->pending >= 0) {
        if (s->cache[0].length >= s->capacity || s->generated >= s->most)
            return finish(s, piece);
        s->rows[0] = (struct palme_row){ .cache = &s->cache[0], .picture = &s->picture,
                                         .rotary = &s->rotary, .token = s->pending };
        palme_decode(s->model, &s->compute, s->logits, s->rows, 1, 0, s->scratch);
        if (s->compute.stopped)
            return PALME_ERROR_STOPPED;
        s->pending = -1;
    }
    int token = choose(s);
    if (token < 0)
        return finish(s, piece);
    s->text[s->generated++] = token;
    if (token == s->model->params.eos_token)
        return finish(s, piece);
    s->pending = token;
    tell(s, piece, token);
    return PALME_OK;
}

/* Gives each open beam a cache of its own with its parent's contents. The first child of a parent keeps the
 * parent's cache; only further children cost a copy, into the cache of a beam that died. */
static void move_caches(palme_session *s, const int *parent_slot)
{
    const struct palme_params *params = &s->model->params;
    size_t inner = (size_t)params->decoder_heads * PALME_HEAD;
    unsigned taken = 0;

    for (int b = 0; b < s->beams.open; b++) {
        unsigned bit = 1u << parent_slot[b];

        s->beams.beam[b].slot = taken & bit ? -1 : parent_slot[b];
        taken |= bit;
    }
    for (int b = 0; b < s->beams.open; b++) {
        int slot = 0;

        if (s->beams.beam[b].slot >= 0)
            continue;
        while (taken & (1u << slot))
            slot++;
        taken |= 1u << slot;
        s->beams.beam[b].slot = slot;

        const struct palme_cache *from = &s->cache[parent_slot[b]];
        struct palme_cache *to = &s->cache[slot];
        /* Image tokens and prompt are the same in all caches and are copied once. */
        size_t first = s->filled & (1u << slot) ? (size_t)s->shared : 0;

        for (int part = 0; part < 2 * params->decoder_depth; part++) {
            size_t at = ((size_t)part * s->capacity + first) * inner;

            memcpy(to->kv + at, from->kv + at, ((size_t)from->length - first) * inner * sizeof *to->kv);
        }
        to->length = from->length;
        s->filled |= 1u << slot;
    }
}

static int step_beams(palme_session *s)
{
    const struct palme_search search = search_of(s);
    int parent[MOST_BEAMS], slots[MOST_BEAMS];
    int vocabulary = s->model->params.num_tokens;

    if (s->undecided) {
        for (int b = 0; b < s->beams.open; b++)
            s->rows[b] = (struct palme_row){ .cache = &s->cache[s->beams.beam[b].slot],
                                             .picture = &s->picture, .rotary = &s->rotary,
                                             .token = s->beams.beam[b].tokens[s->beams.length - 1] };
        palme_decode(s->model, &s->compute, s->logits, s->rows, s->beams.open, 0, s->scratch);
        if (s->compute.stopped)
            return PALME_ERROR_STOPPED;
    }
    s->undecided = 1;
    if (palme_beams_step(&s->beams, &s->model->kernels, parent, s->logits, vocabulary, &search)) {
        s->generated = s->beams.best_length;
        s->score = s->beams.best_score;
        s->state = STATE_TELL;
        return PALME_OK;
    }
    s->generated = s->beams.length;
    for (int b = 0; b < s->beams.open; b++)
        slots[b] = s->beams.beam[b].slot;
    move_caches(s, slots);
    return PALME_OK;
}

static int next_told(palme_session *s, const char **piece)
{
    while (s->told < s->beams.best_length) {
        int token = s->beams.best[s->told++];

        if (token == s->model->params.eos_token)
            break;
        tell(s, piece, token);
        return PALME_OK;
    }
    return finish(s, piece);
}

int palme_next(palme_session *session, const char **piece)
{
    int status;

    if (!session || !piece)
        return PALME_ERROR_ARGUMENT;
    *piece = "";
    if (session->state == STATE_BLIND)
        return PALME_ERROR_ARGUMENT;
    if (session->state == STATE_SEEN && (status = palme_prompt(session, NULL)) < 0)
        return status;
    session->compute.stopped = 0;
    if (session->state == STATE_ENDED)
        return PALME_END;
    if (palme_compute_stopped(&session->compute))
        return PALME_ERROR_STOPPED;
    if (session->state == STATE_TELL)
        return next_told(session, piece);
    if (wanted_beams(session->model, &session->options) > 1)
        return step_beams(session);
    return next_single(session, piece);
}

const int *palme_caption_tokens(const palme_session *session, int *count)
{
    *count = session->generated;
    if (wanted_beams(session->model, &session->options) == 1)
        return session->text;
    return session->beams.best_length ? session->beams.best : session->beams.beam[0].tokens;
}

int palme_caption_length(const palme_session *session)
{
    return session ? session->generated : 0;
}

double palme_caption_score(const palme_session *session)
{
    return session && session->generated ? session->score / session->generated : 0;
}
