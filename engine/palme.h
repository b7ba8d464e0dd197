/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * palme.h - pictures in, words out: the whole public interface of the PalmE engine.
 *
 *     palme_model *model;
 *     palme_session *session;
 *     const char *piece;
 *     if (palme_model_open(&model, "captioner.safetensors", NULL) < 0) return 1;
 *     if (palme_session_open(&session, model, NULL) < 0) return 1;
 *     struct palme_image image = { .format = PALME_FORMAT_RGB, .width = 640, .height = 480,
 *                                  .planes = { pixels }, .strides = { 640 * 3 } };
 *     if (palme_look(session, &image) < 0) return 1;
 *     while (palme_next(session, &piece) == PALME_OK) fputs(piece, stdout);
 *     palme_session_close(&session);
 *     palme_model_close(&model);
 *
 * A model is read-only once it is open and may be shared by any number of sessions and threads. A
 * session is one line of thought and belongs to one thread at a time. The library never prints,
 * exits, reads the environment or keeps global state; what fails returns a status below zero.
 *
 * It computes in the default floating-point environment and gives the caller's back, flags included, so no rounding
 * mode and no trap of the host changes anything; log and stop functions are called in the default one.
 *
 * A child of fork() has the models and sessions of its parent and may use and close them, but for sessions that were
 * in a call when it was forked, which it may only close. The first call in the child starts threads of its own (with
 * threads=openmp the calling thread computes alone). From a log or stop function of its parent a child must not return.
 */
#ifndef PALME_H
#define PALME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && __GNUC__ >= 4
#define PALME_API __attribute__((visibility("default")))
#else
#define PALME_API
#endif

/* What a call returns: PALME_OK, PALME_END, or an error below zero. */
enum palme_status {
    PALME_OK = 0,
    PALME_END = 1,              /* the sentence has ended; not an error */
    PALME_ERROR_ARGUMENT = -1,  /* a NULL, a size or a number that cannot be meant */
    PALME_ERROR_NOT_FOUND = -2, /* there is no such file */
    PALME_ERROR_OPEN = -3,      /* the file exists but is no regular, readable file */
    PALME_ERROR_READ = -4,      /* reading failed, or the file is shorter than it says */
    PALME_ERROR_KIND = -5,      /* a file of another kind: pickle, ONNX, GGUF, zip, text... */
    PALME_ERROR_FORMAT = -6,    /* a model file that is damaged or contradicts itself */
    PALME_ERROR_VERSION = -7,   /* a model file of a version this library does not know */
    PALME_ERROR_MEMORY = -8,    /* out of memory */
    PALME_ERROR_CONTEXT = -9,   /* the context is full: the text is longer than max_seq_len */
    PALME_ERROR_CANCELLED = -10,  /* the cancel callback was answered with yes */
    PALME_ERROR_TEXT = -11      /* a prompt that is not UTF-8, too long, or cannot be encoded */
};

enum palme_log_level { PALME_LOG_ERROR, PALME_LOG_WARNING, PALME_LOG_INFO };

/* Receives one sentence without a newline, valid for the call only. It names the file, the tensor or
 * the key. It is called on the thread that called the library and must not call it back. */
typedef void (*palme_log_fn)(void *user, enum palme_log_level level, const char *message);

/* The cancel callback: non-zero ends the running call with PALME_ERROR_CANCELLED. It is asked on the
 * calling thread about every 20 MFLOP of work, inside long layers too; it must be quick and take no
 * lock. */
typedef int (*palme_cancel_fn)(void *user);

typedef struct palme_model palme_model;
typedef struct palme_session palme_session;

/* ---- Models ------------------------------------------------------------------------------- */

/* How a model is opened. All zero is the default. */
struct palme_setup {
    int threads;      /* compute threads; 0: palme_processors() */
    int verify;       /* non-zero: check the file's sha256, an error if it has none */
    /* Instruction set to use: "c", "neon", "dotprod", "avx2", "avxvnni", "avx512", "vnni", "bf16", or where the
     * machine lacks it the nearest below; NULL: the machine's best. */
    const char *level;
    /* What to compute with: "f32", "bf16", "int8", whatever the model's author thinks of it; "auto" or NULL: the
     * fastest at this level of those in which the captions are as good, as the model file says, or "f32". At "c" that
     * is "f32", and int8 is not among them at "neon", where no instruction multiplies bytes. */
    const char *precision;
    palme_log_fn log; /* may be NULL; kept until palme_model_close */
    void *log_user;
};

/* What a model is. The strings belong to the model. */
struct palme_info {
    const char *name;           /* short name from the file, or "" */
    const char *language;       /* language tag from the file, or "" */
    const char *card;           /* model card, Markdown, or "" */
    const char *default_prompt; /* used when no prompt is given; "" for none */
    const char *stem;           /* "none", "efficientnet_lite0", ... */
    const char *level;          /* instruction set of the kernels in use, as in palme_setup */
    const char *precision;      /* weights as they are computed with: "f32", "bf16", "int8" */
    int image_size;             /* side of the model's square picture, pixels */
    int patch_size;             /* a picture's sides are multiples of it; see palme_look_planar */
    int vocabulary;             /* number of tokens */
    int max_context;            /* longest text in tokens: begin token, prompt and caption */
    int beams;                  /* beams when palme_options asks for the model's own setting */
    int threads;                /* compute threads in use */
    int has_min_score;          /* non-zero: min_score is set */
    double min_score;           /* captions that score below it are better not shown */
    uint64_t parameters;        /* number of weights in the file */
    uint64_t bytes;             /* memory that the weights take */
};

/* Reads and checks a model file, packs its weights and closes it; nothing stays mapped, so the file
 * may be replaced or removed afterwards. `path` is a file name in the file system's own encoding.
 * `setup` may be NULL. On failure *model is NULL and the log has said why.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, NOT_FOUND, OPEN, READ, KIND, FORMAT, VERSION, MEMORY}. */
PALME_API int palme_model_open(palme_model **model, const char *path,
                               const struct palme_setup *setup);

/* Where the bytes of a model file come from that has no name: an archive, a resource, a descriptor. */
struct palme_source {
    size_t struct_size; /* sizeof(struct palme_source) */
    uint64_t size;      /* bytes of the file */
    /* Fills buffer[bytes] with the bytes from `offset` on; offset + bytes <= size. Returns 0, -1 where there are not as many,
     * or an errno above 0. It is called during palme_model_open_source only, on the calling thread. */
    int (*read_at)(void *user, uint64_t offset, void *buffer, size_t bytes);
    void *user;
};

/* palme_model_open of bytes that `source` gives, which is copied; `name` stands in messages where a file's name would. */
PALME_API int palme_model_open_source(palme_model **model, const struct palme_source *source, const char *name,
                                      const struct palme_setup *setup);

/* Frees the model and sets *model to NULL. Close its sessions first. NULL and *model == NULL are
 * fine. */
PALME_API void palme_model_close(palme_model **model);

/* Fills *info; its strings are valid until the model is closed. */
PALME_API void palme_model_info(const palme_model *model, struct palme_info *info);

/* ---- Pictures ----------------------------------------------------------------------------- */

/* The order of bytes is the order in memory. A YUV picture of an odd width or height has one more colour
 * sample than half of it; the last one belongs to a single pixel. The colour of a pixel is that of the block
 * its sample stands for (2 x 2 pixels, 2 x 1 in YUY2), whatever siting the source had: the difference is at
 * most half a pixel of the source, which a picture that is made smaller does not show. */
enum palme_format {
    PALME_FORMAT_RGB = 0, /* 3 bytes a pixel */
    PALME_FORMAT_RGBX,    /* 4 bytes a pixel; what stands at X is ignored */
    PALME_FORMAT_BGRX,
    PALME_FORMAT_XRGB,
    PALME_FORMAT_XBGR,
    PALME_FORMAT_BGR,
    PALME_FORMAT_GRAY8,
    PALME_FORMAT_I420, /* 3 planes: Y, U and V, these at half the width and height */
    PALME_FORMAT_NV12, /* 2 planes: Y, and pairs U V at half the width and height */
    PALME_FORMAT_YUY2, /* 1 plane: Y U Y V for two pixels, also where the second does not exist */
    PALME_FORMAT_RGBA, /* 4 bytes a pixel; seen as it looks over white, see palme_image.premultiplied */
    PALME_FORMAT_BGRA,
    PALME_FORMAT_ARGB,
    PALME_FORMAT_ABGR
};

enum palme_matrix { PALME_MATRIX_BT601 = 0, PALME_MATRIX_BT709, PALME_MATRIX_BT2020 };
enum palme_range { PALME_RANGE_LIMITED = 0, PALME_RANGE_FULL };

/* A picture. The pixels stay the caller's and are read during the call only. */
struct palme_image {
    enum palme_format format;
    int width, height;           /* pixels, 1..32768 */
    const uint8_t *planes[4];    /* first row of each plane */
    ptrdiff_t strides[4];        /* bytes from a row to the next; negative for upside down */
    enum palme_matrix matrix;    /* YUV only */
    enum palme_range range;      /* YUV only */
    int premultiplied;           /* formats with alpha only; non-zero: the colours are multiplied by it */
};

/* ---- Squares ------------------------------------------------------------------------------ */

/* Makes the model's square of a picture away from any session: for whoever cannot keep the picture until a
 * session looks at it, as with frames of video. A preprocessor needs no model, belongs to one thread at a time and
 * takes all the memory it will ever use when it is opened: between 1 and 2 MB more or less, of which a picture
 * touches what its width needs. */
typedef struct palme_preprocessor palme_preprocessor;

/* `size` is palme_info.image_size, 1..4096; `level` is that of palme_setup, NULL: the machine's best.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, MEMORY}; then *preprocessor is NULL. */
PALME_API int palme_preprocessor_open(palme_preprocessor **preprocessor, int size, const char *level);

/* Frees the preprocessor and sets *preprocessor to NULL. NULL and *preprocessor == NULL are fine. */
PALME_API void palme_preprocessor_close(palme_preprocessor **preprocessor);

/* out[size][size][3], RGB: what palme_look makes of the picture. As a picture of PALME_FORMAT_RGB it is seen
 * by palme_look exactly as the picture itself would be. `out` and the pixels stay the caller's.
 * Returns PALME_OK or PALME_ERROR_ARGUMENT, where the picture cannot be read; then `out` is untouched. */
PALME_API int palme_preprocess(palme_preprocessor *preprocessor, uint8_t *out, const struct palme_image *image);

/* ---- Sessions ----------------------------------------------------------------------------- */

/* How captions are made. All zero is the default: greedy (or the model's beams), at most 32 tokens.
 * Sums are in double, and ties go to the lower token id. */
struct palme_options {
    int max_length;         /* most generated tokens, the end token included; 0: 32 */
    int beams;              /* 0: the model's default; 1: one sentence, greedy or sampled; 2..16: beam
                               search, which samples nothing */
    double temperature;     /* 0: greedy; otherwise logits are divided by it and a token is drawn;
                               a temperature above 0 makes one sentence whatever `beams` says */
    int top_k;              /* draw from the k largest logits; 0: all */
    double top_p;           /* draw from the smallest set of this mass; 0 or >= 1: all */
    uint64_t seed;          /* of the drawing; starts anew with each picture */
    double length_penalty;  /* beam search divides a score by length^penalty; 0: the model's */
    int no_repeat_ngram;    /* no k-gram occurs twice; 0: the model's, -1: off */
    int min_length;         /* no end before so many tokens; 0: the model's */
    int no_draft;           /* 0: a greedy caption tries whether the words of the one before it, of whatever
                               picture and prompt, hold again, several in one pass of the decoder; the
                               caption, its pieces and its score are the same bit for bit, a still scene
                               is told sooner. Non-zero: one token after the other. Beams and drawn
                               captions never try. */
    palme_cancel_fn cancel;     /* may be NULL */
    void *cancel_user;
};

/* Opens a session and takes all the memory it will ever use. `options` may be NULL.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, MEMORY}; then *session is NULL. */
PALME_API int palme_session_open(palme_session **session, const palme_model *model,
                                 const struct palme_options *options);

/* Frees the session and sets *session to NULL. NULL and *session == NULL are fine. */
PALME_API void palme_session_close(palme_session **session);

/* Other options from the next palme_look on. More beams than the session was opened with are
 * PALME_ERROR_ARGUMENT (open another one); everything else may change freely. */
PALME_API int palme_session_set_options(palme_session *session,
                                        const struct palme_options *options);

/* Forgets what was and sees the picture: resizes it to the model's image_size (the whole picture is
 * squashed to the square by an antialiased triangle filter) and runs the encoder.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, STOPPED}. After an error there is no picture. */
PALME_API int palme_look(palme_session *session, const struct palme_image *image);

/* The same for pixels that are floats already: [3, height, width], channels first, 0..1, not resized.
 * Both sides are multiples of the model's patch_size, with at most (image_size / patch_size)^2 patches
 * in all; smaller and non-square pictures are legal. Any infinite or NaN pixel is
 * PALME_ERROR_ARGUMENT. */
PALME_API int palme_look_planar(palme_session *session, const float *pixels, int height, int width);

/* Words to go on from, UTF-8, at most 4096 bytes, between palme_look and the first palme_next. ""
 * means none; without this call the model's default prompt is used; NULL asks for that too. The
 * prompt is not part of the caption.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, TEXT, CONTEXT, STOPPED}. */
PALME_API int palme_prompt(palme_session *session, const char *text);

/* The next piece of the caption: whole UTF-8 characters, NUL-terminated, the session's until its next
 * call; "" while a character is incomplete or the beams are undecided. Returns PALME_OK with a piece,
 * PALME_END when the caption is complete (*piece is ""), or PALME_ERROR_{ARGUMENT, STOPPED}; ARGUMENT
 * if there is no picture. Text comes as the model made it: sanitise it before display. */
PALME_API int palme_next(palme_session *session, const char **piece);

/* palme_next for several sessions of one model at once: `count` sessions, 1..16, none of them twice. Their
 * decoder rows go through the model together, which reads the weights once instead of once for each. Every
 * session gets bit for bit what palme_next would give it alone: pieces[i] and statuses[i] are its piece and
 * what palme_next would return, whatever the others do; sessions that differ in options, that have ended or
 * that have no picture may be among them. Where the first call of a session reads a default prompt, the
 * others wait for it; call palme_prompt before to avoid that.
 *
 * All sessions belong to the calling thread during the call. The cancel callback of each is asked; a yes ends
 * that session's part alone, with PALME_ERROR_CANCELLED and nothing lost, when the pass that it shares with
 * others is over. The pass itself ends early only when all who share it have said yes. A session that has
 * said yes is not asked again in this call.
 *
 * Returns PALME_OK, whatever the sessions' own statuses are, or PALME_ERROR_ARGUMENT, and then nothing was
 * done or written: a NULL, a count out of range, a session twice, or sessions of different models. */
PALME_API int palme_next_batch(palme_session *const *sessions, int count, const char **pieces,
                                  int *statuses);

/* Tokens generated so far for this caption, the end token included. */
PALME_API int palme_caption_length(const palme_session *session);

/* How many of those tokens the draft (see palme_options.no_draft) knew, so that they cost no pass of the
 * decoder of their own; the end token and the token at max_length are never among them. 0 without a draft. */
PALME_API int palme_caption_accepted(const palme_session *session);

/* Mean log-probability of those tokens under the model's raw distribution; 0 before the first. With
 * beams it is that of the chosen sentence, known after PALME_END. */
PALME_API double palme_caption_score(const palme_session *session);

/* How many processors this process may use at the moment, at least 1: those of its affinity mask, and no more than the
 * CPU quotas of its control groups pay for, rounded up. It is what palme_setup.threads = 0 takes. */
PALME_API int palme_processors(void);

/* ---- The rest ----------------------------------------------------------------------------- */

/* A fixed English sentence fragment for a status, never NULL. */
PALME_API const char *palme_strerror(int status);

/* "major.minor.patch" of the library. */
PALME_API const char *palme_version(void);

#ifdef __cplusplus
}
#endif

#endif
