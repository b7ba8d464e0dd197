/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_batch.c - what captions share: words with the caption before (the draft), passes of the decoder with
 * other sessions (palme_next_batch). Whatever is shared, each caption must be bit for bit what it is alone.
 *
 *     check_batch [f32|bf16|int8]
 */
#include <limits.h>
#include <malloc.h>
#include <stdint.h>

#include "support/allocations.h"
#include "support/check.h"
#include "nn/model.h"
#include "support/model_builder.h"

/* ---- Models, pictures, ways, prompts --------------------------------------------------------- */

/* Models that differ in everything that a session has to treat differently. */
static const char *const kinds[] = {
    "{}",
    "{\"cross_attend\": false}",
    "{\"cross_attend\": false, \"encoder_dim\": 10, \"rotary_xpos\": false, \"use_abs_pos_emb\": true}",
    "{\"qk_norm\": true, \"decoder_heads\": 3, \"alibi_num_heads\": 3, \"decoder_depth\": 2}",
    "{\"rotary_xpos\": false, \"use_abs_pos_emb\": true, \"alibi_pos_bias\": false}",
    "{\"encoder_dim\": 20, \"encoder_heads\": 2, \"encoder_depth\": 2, \"max_seq_len\": 220}",
};
/* Half of them greedy. Long captions and long prompts only fit into the last model. */
static const struct palme_options ways[] = {
    { .max_length = 12, .beams = 1 },
    { .max_length = 12, .beams = 3, .length_penalty = 0.7 },
    { .max_length = 200, .beams = 1, .no_repeat_ngram = 3 },
    { .max_length = 12, .temperature = 0.8, .top_k = 20, .top_p = 0.95, .seed = 7 },
    { .max_length = 100, .beams = 1 },
    { .max_length = 9, .beams = 16, .no_repeat_ngram = 2, .min_length = 5 },
    { .max_length = 20, .beams = 1, .no_repeat_ngram = 2, .min_length = 8 },
    { .max_length = 20, .beams = 1, .no_repeat_ngram = 1, .min_length = 3 },
    { .max_length = 1, .beams = 1 },
    { .max_length = 2, .beams = 1, .min_length = 2 },
};
static const char *const prompts[] = {
    NULL, "", "ab", "abba", "abcabcabdabeabcfabcgabcabcabcabhabcabijcabcabcababcabklmcabcabcabcabnaopbqrstcab",
};
enum {
    KINDS = sizeof kinds / sizeof *kinds,
    WAYS = sizeof ways / sizeof *ways,
    PROMPTS = sizeof prompts / sizeof *prompts,
    PICTURES = 4,
    SIDE = 16
};

static const char *precision; /* that models are opened in */

static palme_model *open_kind(size_t k, int threads)
{
    struct builder *b = builder_new(kinds[k], 300 + k);
    palme_model *model = builder_open(b, threads, precision);

    builder_free(b);
    return model;
}

static uint32_t dice = 1;

static int roll(int sides)
{
    dice = dice * 1664525 + 1013904223;
    return (int)((uint64_t)(dice >> 8) * (uint32_t)sides >> 24);
}

static uint8_t noise[PICTURES][SIDE * SIDE * 3];

/* The second differs little from the first. */
static void make_pictures(void)
{
    for (int p = 0; p < PICTURES; p++)
        for (size_t i = 0; i < sizeof *noise; i++)
            noise[p][i] = p == 1 ? (uint8_t)(noise[0][i] ^ 2) : (uint8_t)roll(256);
}

static struct palme_image picture(int p)
{
    return (struct palme_image){
        .format = PALME_FORMAT_RGB, .width = SIDE, .height = SIDE, .planes = { noise[p] }, .strides = { 3 * SIDE }
    };
}

/* ---- A caption, and all that is told about it ------------------------------------------------ */

struct told {
    int status, length, reused, ids[256];
    double score;
    size_t used;
    char text[4096]; /* the pieces, a bar behind each */
};

static void add_piece(struct told *told, const char *piece)
{
    told->used += (size_t)snprintf(told->text + told->used, sizeof told->text - told->used, "%s|", piece);
}

static void note(struct told *told, int status, const palme_session *s)
{
    int count = 0;
    const int *ids = palme_caption_tokens(s, &count);

    told->status = status;
    told->length = palme_caption_length(s);
    told->reused = palme_caption_accepted(s);
    told->score = palme_caption_score(s);
    CHECK(count == told->length && count <= 256);
    if (status == PALME_END)
        memcpy(told->ids, ids, (size_t)count * sizeof *ids);
}

static int same_told(const struct told *a, const struct told *b)
{
    return a->status == b->status && a->length == b->length && memcmp(&a->score, &b->score, sizeof a->score) == 0 &&
           memcmp(a->ids, b->ids, (size_t)a->length * sizeof *a->ids) == 0 && strcmp(a->text, b->text) == 0;
}

/* A whole caption; each call that is stopped is made again, with `left` questions to go set by the dice while
 * `stops` lasts. */
static struct told tell(palme_session *s, int p, const char *prompt, int *left, int stops)
{
    struct told told = { .status = PALME_OK };
    struct palme_image image = picture(p);
    const char *piece = "";
    int status;

    for (int phase = 0; phase < 3;) {
        *left = stops-- > 0 ? roll(40) : 1 << 30;
        if (phase == 0)
            status = palme_look(s, &image);
        else if (phase == 1)
            status = prompt ? palme_prompt(s, prompt) : PALME_OK;
        else if ((status = palme_next(s, &piece)) == PALME_OK)
            add_piece(&told, piece);
        if (status == PALME_ERROR_CANCELLED)
            continue;
        if (status < 0)
            break;
        phase += phase < 2 || status == PALME_END;
    }
    note(&told, status, s);
    return told;
}

static long asked; /* cancel callbacks */

static int stop_after(void *user)
{
    int *left = user;

    asked++;
    return (*left)-- <= 0;
}

/* The same in a session that has no past and no draft. Long prompts leave no room in small models. */
static struct told tell_alone(const palme_model *model, const struct palme_options *way, int p, const char *prompt)
{
    struct palme_options options = *way;
    palme_session *s = NULL;
    int left;

    options.no_draft = 1;
    options.cancel = NULL;
    CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
    struct told told = tell(s, p, prompt, &left, 0);
    CHECK_INT(told.reused, 0);
    palme_session_close(&s);
    return told;
}

/* ---- The draft -------------------------------------------------------------------------------- */

/* A caption that is told again is foretold whole and asks the decoder once. */
static void test_still(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        palme_model *model = open_kind(k, 1);

        for (size_t w = 0; w < WAYS; w++) {
            struct palme_options options = ways[w];
            int left, greedy = options.beams == 1, fed;
            long first_asked = 0;
            palme_session *s = NULL;
            struct told first, again;

            options.cancel = stop_after;
            options.cancel_user = &left;
            CHECK_INT(palme_session_open(&s, model, &options), PALME_OK);
            for (int i = 0; i < 3; i++) {
                asked = 0;
                again = tell(s, 0, "a", &left, 0);
                if (!i) {
                    first = again;
                    first_asked = asked;
                }
                CHECK_INT(first.reused, 0);
                CHECK_MESSAGE(same_told(&first, &again), "kind %zu way %zu: told again, another caption", k, w);
                /* All tokens are fed but the last, be it the end token or the one at max_length. */
                fed = again.length - 1;
                /* What of an offer's last portion is chosen from its last row was not foretold by it. */
                if (i && greedy && fed < 63)
                    CHECK_INT(again.reused, fed);
                else if (i && greedy)
                    CHECK_MESSAGE(again.reused >= fed - 1 - fed / 64, "%d of %d", again.reused, fed);
                else
                    CHECK_INT(again.reused, 0);
            }
            /* Each pass over a layer asks. What does not shrink are the calls and the encoder. */
            if (greedy && fed > 8)
                CHECK_MESSAGE(3 * asked < 2 * first_asked, "kind %zu way %zu: %ld questions, %ld at first", k, w, asked,
                              first_asked);
            palme_session_close(&s);
        }
        palme_model_close(&model);
    }
}

/* A caption without a word is no draft. */
static void becomes_draft(struct told *last, const struct told *told, const palme_model *model)
{
    if (told->length > 1 || (told->length == 1 && told->ids[0] != model->config.eos_token))
        *last = *told;
}

/* One session through anything: pictures, prompts and options change, calls are stopped and made again,
 * captions are broken off. */
static void test_draft_schedules(void)
{
    int whole = 0, part = 0, none = 0;

    for (size_t k = 0; k < KINDS; k++) {
        palme_model *model = open_kind(k, 1 + (int)k % 2);
        palme_session *s = NULL;
        int left = 1 << 30, p = 0, w = 0;
        const char *prompt = NULL, *piece;
        struct told last = { .length = 0 }; /* greedy caption: the draft of the next */

        CHECK_INT(palme_session_open(&s, model, &(struct palme_options){ .beams = 16 }), PALME_OK);
        for (int round = 0; round < 200; round++) {
            if (!roll(3))
                p = roll(PICTURES);
            if (!roll(4))
                prompt = prompts[roll(PROMPTS)];
            if (!roll(4))
                w = roll(WAYS);
            struct palme_options options = ways[w];
            options.no_draft = !roll(16);
            options.cancel = stop_after;
            options.cancel_user = &left;
            CHECK_INT(palme_session_set_options(s, &options), PALME_OK);
            if (!roll(6)) { /* broken off */
                struct palme_image image = picture(roll(PICTURES));

                left = roll(200);
                for (int i = roll(6), status = palme_look(s, &image); i >= 0 && status == PALME_OK; i--)
                    status = palme_next(s, &piece);
                struct told broken = { .status = PALME_OK };
                if (options.beams == 1 && palme_next(s, &piece) == PALME_END) {
                    note(&broken, PALME_END, s);
                    becomes_draft(&last, &broken, model);
                }
            }
            struct told told = tell(s, p, prompt, &left, roll(2) ? roll(60) : 0);
            struct told alone = tell_alone(model, &options, p, prompt);
            CHECK_MESSAGE(same_told(&told, &alone), "kind %zu round %d: %s (%.9g), alone %s (%.9g)", k, round,
                          told.text, told.score, alone.text, alone.score);
            int common = 0;
            while (common < told.length && common < last.length && told.ids[common] == last.ids[common])
                common++;
            CHECK_MESSAGE(told.reused <= (options.no_draft ? 0 : common), "kind %zu round %d: %d tokens reused of %d",
                          k, round, told.reused, common);
            if (options.beams == 1 && told.status == PALME_END)
                becomes_draft(&last, &told, model);
            if (options.beams == 1 && told.status == PALME_END && told.length > 1)
                ++*(told.reused == 0 ? &none : told.reused == told.length - 1 ? &whole : &part);
            else if (told.status == PALME_END)
                CHECK_INT(told.reused, 0);
        }
        palme_session_close(&s);
        palme_model_close(&model);
    }
    printf("drafts: %d captions foretold, %d in part, %d not at all\n", whole, part, none);
    CHECK(whole > 50 && part > 50 && none > 50);
}

/* After its first caption a session never allocates, drafts or not. */
static void test_allocations(void)
{
    palme_model *model = open_kind(5, 2);
    palme_session *s = NULL;
    int left;

    CHECK_INT(palme_session_open(&s, model, &ways[4]), PALME_OK);
    tell(s, 0, "ab", &left, 0);
    long before = allocations;
    CHECK(before > 0); /* the counter counts */
    for (int i = 0; i < 6; i++) {
        palme_session_set_options(s, &ways[i % 2 ? 4 : 2]);
        tell(s, i / 3, prompts[i % PROMPTS], &left, 0);
    }
    CHECK_INT(allocations - before, 0);
    palme_session_close(&s);
    palme_model_close(&model);
}

/* ---- Sessions together ------------------------------------------------------------------------ */

static void test_arguments(void)
{
    palme_model *model = open_kind(0, 1), *other = open_kind(0, 1);
    palme_session *s[17] = { NULL }, *stranger = NULL;
    const char *pieces[17] = { NULL };
    int statuses[17] = { 0 }, left;
    struct palme_image image = picture(0);

    for (int i = 0; i < 17; i++) {
        CHECK_INT(palme_session_open(&s[i], model, NULL), PALME_OK);
        CHECK_INT(palme_look(s[i], &image), PALME_OK);
        statuses[i] = 99;
    }
    CHECK_INT(palme_session_open(&stranger, other, NULL), PALME_OK);
    CHECK_INT(palme_look(stranger, &image), PALME_OK);
    CHECK_INT(palme_next_batch(NULL, 1, pieces, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch(s, 1, NULL, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch(s, 1, pieces, NULL), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch(s, 0, pieces, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch(s, -1, pieces, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch(s, 17, pieces, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch((palme_session *[]){ s[0], NULL }, 2, pieces, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch((palme_session *[]){ s[0], s[1], s[0] }, 3, pieces, statuses), PALME_ERROR_ARGUMENT);
    CHECK_INT(palme_next_batch((palme_session *[]){ s[0], s[1], stranger }, 3, pieces, statuses), PALME_ERROR_ARGUMENT);
    for (int i = 0; i < 17; i++) {
        CHECK(pieces[i] == NULL && statuses[i] == 99);
        CHECK_INT(palme_caption_length(s[i]), 0);
    }
    CHECK_INT(palme_next_batch(s, 16, pieces, statuses), PALME_OK);
    struct told alone = tell_alone(model, &(struct palme_options){ 0 }, 0, NULL);
    for (int i = 0; i < 16; i++) {
        CHECK_INT(statuses[i], PALME_OK);
        CHECK(pieces[i] && strncmp(pieces[i], alone.text, strlen(pieces[i])) == 0);
        CHECK_INT(palme_caption_length(s[i]), 1);
    }
    struct told told = tell(s[3], 0, NULL, &left, 0); /* goes on by itself */
    CHECK(same_told(&told, &alone));
    for (int i = 0; i < 17; i++)
        palme_session_close(&s[i]);
    palme_session_close(&stranger);
    palme_model_close(&model);
    palme_model_close(&other);
}

/* A session of a schedule and what it was asked. */
struct stream {
    palme_session *s;
    int left, p, w;
    const char *prompt;
    struct palme_options options;
    struct told told;
    enum { IDLE, LIVE, OVER } state;
};

static void next_picture(struct stream *stream)
{
    struct palme_image image;

    stream->left = 1 << 30;
    if (!roll(3))
        stream->p = roll(PICTURES);
    if (!roll(3))
        stream->w = roll(WAYS);
    if (!roll(3))
        stream->prompt = prompts[roll(PROMPTS - (roll(4) != 0))];
    stream->options = ways[stream->w];
    stream->options.no_draft = !roll(4);
    stream->options.cancel = stop_after;
    stream->options.cancel_user = &stream->left;
    stream->told = (struct told){ .status = PALME_OK };
    stream->state = LIVE;
    CHECK_INT(palme_session_set_options(stream->s, &stream->options), PALME_OK);
    image = picture(stream->p);
    CHECK_INT(palme_look(stream->s, &image), PALME_OK);
    if (stream->prompt && palme_prompt(stream->s, stream->prompt) < 0)
        stream->prompt = NULL; /* no workspace; the session then takes the default one */
}

/* Takes what a call returned; a caption that has ended is compared with itself alone. */
static void heard_of(struct stream *stream, const palme_model *model, int status, const char *piece, int *stopped,
                     int *captions)
{
    if (stream->state == IDLE) {
        CHECK_INT(status, PALME_ERROR_ARGUMENT);
        CHECK_STR(piece, "");
    } else if (stream->state == OVER) {
        CHECK_INT(status, PALME_END);
        CHECK_STR(piece, "");
    } else if (stream->left < 0) { /* it was asked, said yes, and was not asked again */
        CHECK_INT(status, PALME_ERROR_CANCELLED);
        CHECK_STR(piece, "");
        CHECK_INT(stream->left, -1);
        ++*stopped;
    } else if (status == PALME_OK) {
        add_piece(&stream->told, piece);
    } else {
        CHECK_INT(status, PALME_END);
        CHECK_STR(piece, "");
        note(&stream->told, status, stream->s);
        struct told alone = tell_alone(model, &stream->options, stream->p, stream->prompt);
        CHECK_MESSAGE(same_told(&stream->told, &alone), "way %d: %s (%.9g), alone %s (%.9g)", stream->w,
                      stream->told.text, stream->told.score, alone.text, alone.score);
        stream->state = OVER;
        ++*captions;
    }
}

/* Any sessions in any order, some stopped, some over, some without a picture, now and then one by itself. */
static void test_schedules(void)
{
    int stopped = 0, captions = 0;

    for (int round = 0; round < 1000; round++) {
        static palme_model *model;
        int count = 1 + (roll(4) ? roll(6) : roll(16)), order[16], statuses[16];
        struct stream streams[16] = { { .left = 0 } };
        palme_session *sessions[16];
        const char *pieces[16];

        if (round % 20 == 0) /* each kind in turn */
            model = open_kind((size_t)round / 20 % KINDS, 1 + round / 20 % 2);
        for (int i = 0; i < count; i++) {
            streams[i].w = roll(WAYS);
            CHECK_INT(palme_session_open(&streams[i].s, model, &(struct palme_options){ .beams = 16 }), PALME_OK);
        }
        for (int turn = 0; turn < 60; turn++) {
            int chosen = 1 + roll(count);

            for (int i = 0; i < count; i++) {
                if (streams[i].state != LIVE && !roll(3))
                    next_picture(&streams[i]);
                order[i] = i;
            }
            for (int i = 0; i < chosen; i++) {
                int other = i + roll(count - i), swap = order[i];

                order[i] = order[other];
                order[other] = swap;
                sessions[i] = streams[order[i]].s;
                streams[order[i]].left = roll(8) ? 1 << 30 : roll(30);
            }
            if (chosen == 1)
                statuses[0] = palme_next(sessions[0], &pieces[0]);
            else
                CHECK_INT(palme_next_batch(sessions, chosen, pieces, statuses), PALME_OK);
            for (int i = 0; i < chosen; i++)
                heard_of(&streams[order[i]], model, statuses[i], pieces[i], &stopped, &captions);
        }
        for (int i = 0; i < count; i++)
            palme_session_close(&streams[i].s);
        if (round % 20 == 19)
            palme_model_close(&model);
    }
    printf("together: %d captions, %d stops\n", captions, stopped);
    CHECK(captions > 4000 && stopped > 1000);
}

/* Passes are shared in truth: the kernel is called about as often for four sessions as for one. */
static long products;
static const struct palme_kernels *true_kernels;

static void counted_linear(float *y, const float *x, const float *w, const float *b, int rows, int in, int out,
                           ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    products++;
    true_kernels->linear(y, x, w, b, rows, in, out, y_stride, x_stride, activation);
}

static void counted_bf16(float *y, const void *x, const uint16_t *w, const float *b, int rows, int in, int out,
                         ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    products++;
    true_kernels->linear_bf16(y, x, w, b, rows, in, out, y_stride, x_stride, activation);
}

static void counted_int8(float *y, const int8_t *x, const struct palme_quantization *quantization, const int8_t *w,
                         const float *scale, const float *b, int rows, int in, int out, ptrdiff_t y_stride,
                         enum palme_activation activation)
{
    products++;
    true_kernels->linear_int8(y, x, quantization, w, scale, b, rows, in, out, y_stride, activation);
}

static void test_passes(void)
{
    palme_model *model = open_kind(3, 1);
    struct palme_kernels kernels = model->kernels;
    struct stream streams[4] = { { .left = 0 } };
    palme_session *sessions[4];
    const char *pieces[4];
    int statuses[4];
    long one, four, none;

    true_kernels = &kernels;
    model->kernels.linear = counted_linear;
    model->kernels.linear_bf16 = counted_bf16;
    model->kernels.linear_int8 = counted_int8;
    for (int i = 0; i < 4; i++) {
        struct palme_options options = { .no_draft = 1, .cancel = stop_after, .cancel_user = &streams[i].left };
        struct palme_image image = picture(i);

        streams[i].left = 1 << 30;
        CHECK_INT(palme_session_open(&sessions[i], model, &options), PALME_OK);
        CHECK_INT(palme_look(sessions[i], &image), PALME_OK);
        CHECK_INT(palme_next(sessions[i], &pieces[i]), PALME_OK);
    }
    products = 0;
    CHECK_INT(palme_next(sessions[0], &pieces[0]), PALME_OK);
    one = products;
    products = 0;
    CHECK_INT(palme_next_batch(sessions, 4, pieces, statuses), PALME_OK);
    four = products;
    CHECK_INT(four, one);
    /* When all have said yes the pass ends; one that goes on keeps it alive. */
    products = 0;
    for (int i = 0; i < 4; i++)
        streams[i].left = 1 + i % 2;
    CHECK_INT(palme_next_batch(sessions, 4, pieces, statuses), PALME_OK);
    none = products;
    for (int i = 0; i < 4; i++)
        CHECK_INT(statuses[i], PALME_ERROR_CANCELLED);
    CHECK_MESSAGE(none < one / 2, "%ld products of %ld though all had stopped", none, one);
    products = 0;
    for (int i = 0; i < 4; i++)
        streams[i].left = i == 2 ? 1 << 30 : 1;
    CHECK_INT(palme_next_batch(sessions, 4, pieces, statuses), PALME_OK);
    for (int i = 0; i < 4; i++)
        CHECK_INT(statuses[i], i == 2 ? PALME_OK : PALME_ERROR_CANCELLED);
    CHECK_INT(products, one);
    for (int i = 0; i < 4; i++)
        palme_session_close(&sessions[i]);
    palme_model_close(&model);
}

static void test_joint_allocations(void)
{
    palme_model *model = open_kind(5, 2);
    palme_session *sessions[4];
    const char *pieces[4];
    int statuses[4];

    for (int i = 0; i < 4; i++)
        CHECK_INT(palme_session_open(&sessions[i], model, &ways[i]), PALME_OK);
    long before = allocations;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            struct palme_image image = picture(i);

            CHECK_INT(palme_look(sessions[i], &image), PALME_OK);
        }
        for (int turn = 0; turn < 20; turn++)
            CHECK_INT(palme_next_batch(sessions, 4, pieces, statuses), PALME_OK);
    }
    CHECK_INT(allocations - before, 0);
    for (int i = 0; i < 4; i++)
        palme_session_close(&sessions[i]);
    palme_model_close(&model);
}

int main(int count, char **arguments)
{
    precision = count > 1 ? arguments[1] : "f32";
#ifdef __GLIBC__
    /* Thousands of sessions: what they give back is used again, and not mapped anew. That is half of the time. */
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
    make_pictures();
    test_still();
    test_draft_schedules();
    test_arguments();
    test_schedules();
    test_passes();
    test_joint_allocations();
    test_allocations();
    return check_done();
}
