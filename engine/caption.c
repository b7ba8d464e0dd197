/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * caption.c - from a picture to a caption: see, read the prompt, tell piece by piece.
 */
#include "session.h"

#include "image.h"

#include <math.h>
#include <string.h>

/* ---- Seeing ------------------------------------------------------------------------------- */

static int begin(palme_session *s)
{
    s->compute.stopped = 0;
    s->state = PALME_BLIND;
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
    palme_draft_begin(s);
    s->random.state = s->options.seed;
    s->utf8 = (struct palme_utf8){ .count = 0 };
    s->state = PALME_SEEN;
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
        session->state = PALME_BLIND;
        return palme_fail(&session->model->report, PALME_ERROR_ARGUMENT, "the picture cannot be read: %s",
                          problem);
    }
    if ((status = begin(session)) < 0)
        return status;
    status = palme_image_resize(&session->compute, session->square, image, side, session->image_scratch);
    if (status < 0)
        return status;
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

    session->state = PALME_BLIND;
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

/* Runs text[0..count-1] and `more` tokens of the draft through the decoder; the rows of the last token of the
 * text and of the draft stand in s->hidden. */
static int prefill(palme_session *s, int count, int more)
{
    int all = count + more;

    for (int first = 0; first < all; first += PALME_PREFILL_ROWS) {
        int n = all - first < PALME_PREFILL_ROWS ? all - first : PALME_PREFILL_ROWS;
        int skip = count - 1 - first < 0 ? 0 : count - 1 - first < n ? count - 1 - first : n;
        float *to = skip < n ? s->hidden + (size_t)(first + skip - (count - 1)) *
                                               (size_t)s->model->params.decoder_dim
                             : NULL;

        for (int i = 0, at = first; i < n; i++, at++)
            s->rows[i] = (struct palme_row){
                .cache = &s->cache[0], .picture = &s->picture, .rotary = &s->rotary,
                .token = at < count ? s->text[at] : s->draft.tokens[at - count],
            };
        palme_decode_rows(s->model, &s->compute, to, s->rows, n, skip, s->scratch);
        if (s->compute.stopped)
            return PALME_ERROR_STOPPED;
    }
    s->fed = 1 + more;
    s->row = s->first = s->standing = 0;
    return PALME_OK;
}

int palme_prompt(palme_session *session, const char *text)
{
    int count, status, room, wanted;

    if (!session || session->state != PALME_SEEN)
        return PALME_ERROR_ARGUMENT;
    const struct palme_report *report = &session->model->report;
    if (!text)
        text = session->model->params.default_prompt;
    size_t length = strnlen(text, PALME_PROMPT_BYTES + 1);

    if (length > PALME_PROMPT_BYTES)
        return palme_fail(report, PALME_ERROR_TEXT, "the prompt is longer than %d bytes", PALME_PROMPT_BYTES);
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
    /* The last token is never fed, so one more fits than the context has positions left. */
    wanted = session->options.max_length ? session->options.max_length : PALME_DEFAULT_LENGTH;
    session->most = room - count + 1 < wanted ? room - count + 1 : wanted;
    int before = session->cache[0].length;
    if ((status = prefill(session, count, palme_draft_offer(session, 0))) < 0) {
        session->cache[0].length = before; /* asked again, it starts anew */
        return status;
    }
    session->shared = before + count;
    session->filled = 1;
    session->undecided = 0;
    session->told = 0;
    if (palme_session_width(session->model, &session->options) > 1)
        palme_beams_begin(&session->beams);
    session->state = PALME_TALK;
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
    s->state = PALME_ENDED;
    palme_draft_finish(s);
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
        .width = palme_session_width(s->model, o),
        .max_length = s->most,
        .eos = params->eos_token,
        .min_length = o->min_length ? o->min_length : params->min_length,
        .ngram = o->no_repeat_ngram < 0 ? 0 : o->no_repeat_ngram ? o->no_repeat_ngram
                                                                   : params->no_repeat_ngram,
        .length_penalty = o->length_penalty > 0 ? o->length_penalty : params->length_penalty,
    };
}

/* Chooses the next token of a single sentence from logits[V]; -1 where none is a number. */
static int choose(palme_session *s, float *logits)
{
    const struct palme_options *o = &s->options;
    const struct palme_search search = search_of(s);
    int n = s->model->params.num_tokens, token;
    double all = s->model->kernels.log_sum_exp(logits, n);

    memcpy(s->probabilities, logits, (size_t)n * sizeof *logits); /* the raw ones give the score */
    palme_forbid_repeats(logits, n, s->text, s->generated, search.ngram);
    if (s->generated + 1 < search.min_length)
        logits[search.eos] = -INFINITY;
    token = palme_argmax(logits, n);
    float raw = token < 0 ? 0 : s->probabilities[token];
    if (token >= 0 && o->temperature > 0) {
        int kept = palme_filter(s->probabilities, s->kept, logits, n, o->temperature, o->top_k,
                                o->top_p > 0 ? o->top_p : 1);

        token = palme_draw(s->probabilities, s->kept, kept, &s->random);
        raw = logits[token];
    }
    if (token >= 0 && !isnan(raw - all)) /* weights of a damaged model may be infinite */
        s->score += raw - all;
    return token;
}

/* The rows that the decoder has to run before the next token can be chosen; none if s->row stands ready. */
static int due_rows(const palme_session *s, struct palme_row *rows)
{
    const struct palme_row row = { .picture = &s->picture, .rotary = &s->rotary };
    int count = 0;

    if (s->undecided) {
        for (; count < s->beams.open; count++) {
            rows[count] = row;
            rows[count].cache = &s->cache[s->beams.beam[count].slot];
            rows[count].token = s->beams.beam[count].tokens[s->beams.length - 1];
        }
    } else if (s->pending >= 0) {
        for (int more = palme_draft_offer(s, s->generated); count <= more; count++) {
            rows[count] = row;
            rows[count].cache = &s->cache[0];
            rows[count].token = count ? s->draft.tokens[s->generated + count - 1] : s->pending;
        }
    }
    return count;
}

static void rows_done(palme_session *s, int count)
{
    s->fed = count;
    s->row = s->first = s->standing = 0;
    s->pending = -1;
    s->undecided = 0;
}

/* How many rows of s->hidden, from s->row on, shall get logits before the next token can be chosen; 0 if those
 * of s->row stand ready. */
static int due_logits(const palme_session *s)
{
    int left = s->fed - s->row;

    if (s->row < s->first + s->standing)
        return 0;
    return left < s->logits_capacity ? left : s->logits_capacity;
}

static void logits_done(palme_session *s, int count)
{
    s->first = s->row;
    s->standing = count;
}

static int next_single(palme_session *s, const char **piece)
{
    int vocabulary = s->model->params.num_tokens;
    int token = choose(s, s->logits + (size_t)(s->row - s->first) * (size_t)vocabulary);

    if (token < 0)
        return finish(s, piece);
    s->text[s->generated++] = token;
    if (!palme_draft_judge(s))
        s->pending = token;
    if (token == s->model->params.eos_token)
        return finish(s, piece);
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
    int parent[PALME_MOST_BEAMS], slots[PALME_MOST_BEAMS];
    int vocabulary = s->model->params.num_tokens;

    s->undecided = 1;
    if (palme_beams_step(&s->beams, &s->model->kernels, parent, s->logits, vocabulary, &search)) {
        s->generated = s->beams.best_length;
        s->score = s->beams.best_score;
        s->state = PALME_TELL;
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

/* Runs what the next token waits for. */
static int step(palme_session *s)
{
    int count = due_rows(s, s->rows);

    if (count) {
        palme_decode_rows(s->model, &s->compute, s->hidden, s->rows, count, 0, s->scratch);
        if (s->compute.stopped)
            return PALME_ERROR_STOPPED;
        rows_done(s, count);
    }
    count = due_logits(s);
    if (count) {
        size_t dim = (size_t)s->model->params.decoder_dim;

        palme_decode_logits(s->model, &s->compute, s->logits, s->hidden + (size_t)s->row * dim, count);
        if (s->compute.stopped)
            return PALME_ERROR_STOPPED;
        logits_done(s, count);
    }
    return PALME_OK;
}

int palme_next(palme_session *session, const char **piece)
{
    int status;

    if (!session || !piece)
        return PALME_ERROR_ARGUMENT;
    *piece = "";
    if (session->state == PALME_BLIND)
        return PALME_ERROR_ARGUMENT;
    if (session->state == PALME_SEEN && (status = palme_prompt(session, NULL)) < 0)
        return status;
    session->compute.stopped = 0;
    if (session->state == PALME_ENDED)
        return PALME_END;
    if (palme_compute_stopped(&session->compute))
        return PALME_ERROR_STOPPED;
    if (session->state == PALME_TELL)
        return next_told(session, piece);
    if (session->pending >= 0 &&
        (session->cache[0].length >= session->capacity || session->generated >= session->most))
        return finish(session, piece);
    if ((status = step(session)) < 0)
        return status;
    if (palme_session_width(session->model, &session->options) > 1)
        return step_beams(session);
    return next_single(session, piece);
}

const int *palme_caption_tokens(const palme_session *session, int *count)
{
    *count = session->generated;
    if (palme_session_width(session->model, &session->options) == 1)
        return session->text;
    return session->beams.best_length ? session->beams.best : session->beams.beam[0].tokens;
}

int palme_caption_reused(const palme_session *session)
{
    return session ? session->draft.reused : 0;
}

int palme_caption_length(const palme_session *session)
{
    return session ? session->generated : 0;
}

double palme_caption_score(const palme_session *session)
{
    return session && session->generated ? session->score / session->generated : 0;
}
