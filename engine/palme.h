/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * palme.h - describes pictures in words: the whole public interface of the PalmE engine.
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
 * Threads. An open model is read-only: any number of sessions and threads may share it. A session may be used
 * by one thread at a time. The library never prints, exits or reads the environment, and has no global state.
 *
 * Structs. A zeroed struct means the defaults, so initialise them all:
 * `struct palme_options options = { .beams = 4 };` in C, `= {}` in C++. Each ends with reserved words, which
 * must be zero. Later versions put new members there; nothing that exists changes its place or size. A function
 * returns PALME_ERROR_ARGUMENT if reserved words are not zero: either the struct was not initialised, or the
 * program was compiled for a newer library than it runs with.
 *
 * Floating point. The library computes in the default floating-point environment and restores the caller's,
 * flags included. Log and cancel callbacks are called in the default one.
 *
 * fork(). A child may use and close the models and sessions of its parent; a session that was in a call at
 * the time of the fork may only be closed. The first call in the child starts threads of its own (built with
 * threads=openmp, the calling thread computes alone). A child that was forked in a log or cancel callback
 * must not return from it.
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

/* Limits. */
#define PALME_MAX_BATCH 16          /* sessions in a call of palme_next_batch */
#define PALME_MAX_BEAMS 16          /* beams of a search */
#define PALME_MAX_PROMPT_BYTES 4096 /* bytes of a prompt, or of a text that is scored */
#define PALME_MAX_LABELS 32         /* labels of a picture */
#define PALME_MAX_BLOCKED_BYTES 64  /* bytes of an entry of palme_options.blocklist */
#define PALME_MAX_SIDE 32768        /* width and height of a picture, in pixels */
#define PALME_MAX_SQUARE 4096       /* width and height of a model's input, in pixels */
#define PALME_ROWS_HELD 16          /* rows that palme_image.row keeps */

/* What a call returns: PALME_OK, PALME_END, or an error below zero. */
enum palme_status {
    PALME_OK = 0,
    PALME_END = 1,               /* the caption is complete; not an error */
    PALME_ERROR_ARGUMENT = -1,   /* NULL, a number out of range, or a call that does not fit the state */
    PALME_ERROR_NOT_FOUND = -2,  /* there is no such file */
    PALME_ERROR_OPEN = -3,       /* the file exists, but is not a regular file that may be read */
    PALME_ERROR_READ = -4,       /* reading failed, or the file is shorter than its header says */
    PALME_ERROR_KIND = -5,       /* a file of another kind: pickle, ONNX, GGUF, zip, text... */
    PALME_ERROR_FORMAT = -6,     /* a model file that is damaged or inconsistent */
    PALME_ERROR_VERSION = -7,    /* a model file of a version that this library does not read */
    PALME_ERROR_MEMORY = -8,     /* out of memory */
    PALME_ERROR_CONTEXT = -9,    /* the text is longer than the model's context */
    PALME_ERROR_CANCELLED = -10, /* the cancel callback ended the call */
    PALME_ERROR_TEXT = -11       /* a text that is not UTF-8 or longer than PALME_MAX_PROMPT_BYTES */
};

enum palme_log_level { PALME_LOG_ERROR, PALME_LOG_WARNING, PALME_LOG_INFO };

/* Receives one sentence without a newline, which is valid during the call only. It names the file, and the
 * tensor or key where there is one. It is called on the thread that called the library and must not call the
 * library. */
typedef void (*palme_log_fn)(void *user, enum palme_log_level level, const char *message);

/* Returns non-zero to end the running call with PALME_ERROR_CANCELLED. It is called on the calling thread
 * about every 20 MFLOP of work, inside long layers too. It must be quick and take no lock. */
typedef int (*palme_cancel_fn)(void *user);

typedef struct palme_model palme_model;
typedef struct palme_session palme_session;

/* ---- Models ------------------------------------------------------------------------------- */

/* How a model is opened. */
struct palme_setup {
    int threads; /* threads that compute; 0: palme_processors(). Where there can only be fewer, a warning is logged */
    int verify;  /* non-zero: check the file's sha256; an error if the file has none */
    /* Instruction set: "c", "neon", "dotprod", "avx2", "avxvnni", "avx512", "vnni" or "bf16". Where the
     * machine lacks it, the nearest one below is used. NULL: the best that the machine has. */
    const char *level;
    /* Precision: "f32", "bf16", "int8" or "int4", even if the model file does not list it; "int4" is "int8" with the
     * decoder's weights in 4 bits, and "auto" never takes it. "auto" or NULL: of those
     * that the model file lists as good enough, the fastest at this level. It is never slower than "f32": at
     * level "c" it is "f32", and at "neon", which has no instruction that multiplies bytes, it is not
     * "int8". */
    const char *precision;
    palme_log_fn log; /* receives messages of this call; may be NULL */
    void *log_user;
    uint64_t reserved[8];
};

/* The rule by which a picture of any shape becomes a model's square input: it is scaled to palme_info.resize_side
 * pixels, and where that is more than palme_info.image_size, the middle is cut out. */
enum palme_resize {
    PALME_RESIZE_SQUASH = 0, /* both sides are scaled to resize_side, the picture's aspect is ignored */
    PALME_RESIZE_CROP        /* the shorter side is, and the aspect is kept */
};

/* By what filter. All are antialiased: they widen as the picture is made smaller. */
enum palme_filter {
    PALME_FILTER_TRIANGLE = 0, /* linear, rounded once at the end */
    PALME_FILTER_BILINEAR,     /* linear, as Pillow has it: rounded to 8 bits between its two passes too */
    PALME_FILTER_BICUBIC       /* cubic with a = -0.5, as Pillow has it */
};

/* What a model is. The strings belong to the model. */
struct palme_info {
    const char *name;           /* short name from the file, or "" */
    const char *language;       /* language tag from the file, or "" */
    const char *card;           /* model card, Markdown, or "" */
    const char *default_prompt; /* used when no prompt is given; "" for none */
    const char *stem;           /* "none", "efficientnet_lite0", ... */
    const char *level;          /* instruction set in use, as in palme_setup */
    const char *precision;      /* precision in use: "f32", "bf16", "int8" or "int4" */
    int image_size;             /* width and height of the model's input, pixels */
    int patch_size;             /* width and height of a patch, pixels; see palme_look_planar */
    enum palme_resize resize;   /* how palme_look makes the input from a picture */
    int vocabulary;             /* number of token ids */
    int max_context;            /* longest text in tokens: begin token, prompt and caption; beside its labels */
    int beams;                  /* beams where palme_options.beams is 0 */
    int threads;                /* threads that compute */
    int has_min_score;          /* non-zero: min_score is set */
    double min_score;           /* captions with a lower score are better not shown */
    uint64_t parameters;        /* number of weights in the file */
    uint64_t bytes;             /* memory that the weights take */
    enum palme_filter filter;   /* of `resize` */
    int resize_side;            /* pixels that `resize` scales to, at least image_size */
    int labels;                 /* labels that it knows; 0: it has none. See palme_labels */
    int most_labels;            /* labels that it chooses for a picture at most, 1..PALME_MAX_LABELS */
    double label_weight;        /* where palme_options.label_weight is 0 */
    uint64_t reserved[13];
};

/* Reads and checks a model file, packs its weights and closes it. Nothing stays mapped, so the file may be
 * replaced or removed afterwards. `path` is a file name in the file system's own encoding; `setup` may be
 * NULL. Returns PALME_OK or PALME_ERROR_{ARGUMENT, NOT_FOUND, OPEN, READ, KIND, FORMAT, VERSION, MEMORY}. On
 * failure *model is NULL and a message was logged. */
PALME_API int palme_model_open(palme_model **model, const char *path, const struct palme_setup *setup);

/* A model file that is not in the file system: in an archive, a resource, a descriptor. */
struct palme_source {
    uint64_t size; /* bytes of the file */
    /* Fills buffer[bytes] with the file's bytes from `offset` on; offset + bytes <= size. Returns 0, -1 if
     * the file ends before, or a positive errno. It is called on the calling thread, during
     * palme_model_open_source only. */
    int (*read_at)(void *user, uint64_t offset, void *buffer, size_t bytes);
    void *user;
    uint64_t reserved[4];
};

/* The same for a source. `name` stands in messages where a file's name would. */
PALME_API int palme_model_open_source(palme_model **model, const struct palme_source *source, const char *name,
                                      const struct palme_setup *setup);

/* Frees the model and sets *model to NULL. Close its sessions first. NULL and *model == NULL are fine. */
PALME_API void palme_model_close(palme_model **model);

/* Fills *info. Its strings are valid until the model is closed. */
PALME_API void palme_model_info(const palme_model *model, struct palme_info *info);

/* ---- Pictures ----------------------------------------------------------------------------- */

/* The order of bytes is the order in memory. A YUV picture with an odd width or height has its chroma size
 * rounded up. Every pixel of a chroma block (2 x 2 pixels, 2 x 1 in YUY2) gets the block's chroma, whatever
 * its siting was: the difference is at most half a source pixel and not visible in a picture that is made
 * smaller. */
enum palme_format {
    PALME_FORMAT_RGB = 0, /* 3 bytes per pixel */
    PALME_FORMAT_RGBX,    /* 4 bytes per pixel; the byte X is ignored */
    PALME_FORMAT_BGRX,
    PALME_FORMAT_XRGB,
    PALME_FORMAT_XBGR,
    PALME_FORMAT_BGR,
    PALME_FORMAT_GRAY8,
    PALME_FORMAT_I420, /* 3 planes: Y, then U and V at half the width and height */
    PALME_FORMAT_NV12, /* 2 planes: Y, then U V pairs at half the width and height */
    PALME_FORMAT_YUY2, /* 1 plane: Y U Y V for every two pixels, even if the second is outside the picture */
    PALME_FORMAT_RGBA, /* 4 bytes per pixel, composed over white; see palme_image.premultiplied */
    PALME_FORMAT_BGRA,
    PALME_FORMAT_ARGB,
    PALME_FORMAT_ABGR
};

enum palme_matrix { PALME_MATRIX_BT601 = 0, PALME_MATRIX_BT709, PALME_MATRIX_BT2020 };
enum palme_range { PALME_RANGE_LIMITED = 0, PALME_RANGE_FULL };

/* A picture. The pixels belong to the caller and are read during the call only. */
struct palme_image {
    enum palme_format format;
    int width, height;        /* pixels, 1..PALME_MAX_SIDE */
    const uint8_t *planes[4]; /* first row of each plane */
    ptrdiff_t strides[4];     /* bytes from one row to the next; negative for bottom-up pictures */
    enum palme_matrix matrix; /* YUV only */
    enum palme_range range;   /* YUV only */
    int premultiplied;        /* formats with alpha only; non-zero: colours are multiplied by alpha already */
    /* NULL, or gives row `y` where the pixels are not in memory as a whole: they are decoded or converted a few rows
     * at a time. For formats of one plane; `planes` and `strides` are ignored then. It is called on the calling
     * thread and cannot fail. Rows come in ascending order, except that each row of the result begins with rows
     * that the one before has read too. A row stays valid until PALME_ROWS_HELD more have been asked for. */
    const uint8_t *(*row)(void *user, int y);
    void *row_user;
    uint64_t reserved[2];
};

/* Resizes pictures to a model's input without a session, for callers that cannot hold on to a frame until a
 * session looks at it. A preprocessor may be used by one thread at a time. It takes all its memory when it is
 * opened: 1 to 2 MB, of which a picture touches what its width needs. */
typedef struct palme_preprocessor palme_preprocessor;

/* Opens one for a model: its input size, its rule, its instruction set. It does not need the model
 * afterwards. Returns PALME_OK or PALME_ERROR_{ARGUMENT, MEMORY}; then *preprocessor is NULL. */
PALME_API int palme_preprocessor_open_model(palme_preprocessor **preprocessor, const palme_model *model);

/* Opens one without a model, from image_size, resize, filter and resize_side of what palme_model_info said of
 * it; `level` is as in palme_setup. Returns PALME_OK or PALME_ERROR_{ARGUMENT, MEMORY}; then *preprocessor is
 * NULL. */
PALME_API int palme_preprocessor_open_info(palme_preprocessor **preprocessor, const struct palme_info *info,
                                           const char *level);

/* The same for models that squash pictures by the triangle filter: `size` is palme_info.image_size,
 * 1..PALME_MAX_SQUARE; another rule than PALME_RESIZE_SQUASH is PALME_ERROR_ARGUMENT. */
PALME_API int palme_preprocessor_open(palme_preprocessor **preprocessor, int size, enum palme_resize rule,
                                      const char *level);

/* Frees the preprocessor and sets *preprocessor to NULL. NULL and *preprocessor == NULL are fine. */
PALME_API void palme_preprocessor_close(palme_preprocessor **preprocessor);

/* Writes out[size][size][3], RGB. palme_look gives the same result for it, as a picture of PALME_FORMAT_RGB,
 * as for `image`. Returns PALME_OK, or PALME_ERROR_ARGUMENT if the picture is not valid; then `out` is
 * unchanged. */
PALME_API int palme_preprocess(palme_preprocessor *preprocessor, uint8_t *out, const struct palme_image *image);

/* ---- Sessions ----------------------------------------------------------------------------- */

/* How captions are generated. The default is greedy search, or beam search if the model file asks for beams,
 * and at most 32 tokens, or as many as the model file says. Scores are summed in double precision; ties go to
 * the lower token id. */
struct palme_options {
    int max_length;        /* most tokens to generate, the end token included; 0: the model's default, or 32 */
    int beams;             /* beam width, 1..PALME_MAX_BEAMS; 1: greedy or sampled; 0: the model's default */
    double temperature;    /* of sampling, which makes one sentence whatever `beams` is; 0: no sampling */
    int top_k;             /* sample from the k most likely tokens; 0: all */
    double top_p;          /* sample from the smallest set of this probability mass; 0 or >= 1: all */
    uint64_t seed;         /* of the sampling, which starts anew with each picture */
    double length_penalty; /* beam search divides scores by length^length_penalty; 0: the model's default */
    int no_repeat_ngram;   /* no n-gram of this length occurs twice; 0: the model's default; -1: off */
    int min_length;        /* no end token before so many tokens; 0: the model's default */
    /* 0: greedy search runs the tokens of the session's previous caption ahead in one pass of the decoder,
     * and keeps those that are chosen again. Captions, pieces and scores are the same bit for bit; still scenes
     * take less time. Non-zero: one pass for each token, as with beam search and sampling. */
    int no_draft;
    palme_cancel_fn cancel; /* may be NULL */
    void *cancel_user;
    palme_log_fn log; /* receives this session's messages; may be NULL */
    void *log_user;
    /* Of a model with labels: a word that the picture's labels do not support costs this for each nat (unit of
     * log-probability) that its label is less likely than the model's floor. 0: the model's default. Below 0: words
     * cost nothing, and no label has to be named either. It counts in every kind of search, before the temperature
     * where a caption is sampled, and in scores. */
    double label_weight;
    int no_labels; /* non-zero: a model with labels captions as if it had none */
    /* Words that are never said, separated by commas or newlines, each at most PALME_MAX_BLOCKED_BYTES; NULL:
     * none. They are compared with the text, whatever its tokens are, and a to z with A to Z. The string is read
     * while captions are generated under these options. A prompt may have such words. */
    const char *blocklist;
    uint64_t reserved[13];
};

/* Opens a session and takes all the memory that it will ever use. `options` may be NULL.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, MEMORY}; then *session is NULL. */
PALME_API int palme_session_open(palme_session **session, const palme_model *model,
                                 const struct palme_options *options);

/* Frees the session and sets *session to NULL. NULL and *session == NULL are fine. */
PALME_API void palme_session_close(palme_session **session);

/* Replaces the options and forgets the picture. More beams than the session was opened with are
 * PALME_ERROR_ARGUMENT; open another session for them. After an error the old options stay. */
PALME_API int palme_session_set_options(palme_session *session, const struct palme_options *options);

/* Begins a new caption: resizes the picture to the model's input (palme_info.resize) and runs the encoder.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, CANCELLED}. After an error the session has no picture. */
PALME_API int palme_look(palme_session *session, const struct palme_image *image);

/* The same for pixels as floats: pixels[3][height][width], RGB, 0..1, not resized. Both sides are multiples
 * of palme_info.patch_size, and there are at most (image_size / patch_size)^2 patches; smaller and non-square
 * pictures are fine. A pixel that is infinite or NaN is PALME_ERROR_ARGUMENT. */
PALME_API int palme_look_planar(palme_session *session, const float *pixels, int height, int width);

/* Sets the words that the caption goes on from: UTF-8, at most PALME_MAX_PROMPT_BYTES, "" for none, NULL for
 * the model's default prompt. Call it between palme_look and the first palme_next; without it the default
 * prompt is used. The prompt is not part of the caption. Returns PALME_OK or PALME_ERROR_{ARGUMENT, TEXT,
 * CONTEXT, CANCELLED}; after an error there is still no prompt. */
PALME_API int palme_prompt(palme_session *session, const char *text);

/* Generates the next piece of the caption: whole UTF-8 characters with a NUL behind them. *piece belongs to
 * the session and is valid until its next call. It is "" while a character is incomplete or beam search has
 * not decided. Returns PALME_OK with a piece, PALME_END when the caption is complete (*piece is ""), or
 * PALME_ERROR_{ARGUMENT, CANCELLED}; ARGUMENT if there is no picture. After CANCELLED the next call resumes.
 * The text is as the model made it: sanitise it before display. */
PALME_API int palme_next(palme_session *session, const char **piece);

/* palme_next for `count` different sessions of one model, 1..PALME_MAX_BATCH. Their decoder rows share
 * passes, which read the weights once instead of once per session. pieces[i] and statuses[i] are what
 * palme_next would give for sessions[i] alone, bit for bit; sessions may differ in their options, and may
 * have ended or have no picture. If a session still has to read its default prompt, the others wait for it;
 * call palme_prompt before to avoid that.
 *
 * All sessions belong to the calling thread during the call. A session whose cancel callback returns non-zero
 * gets PALME_ERROR_CANCELLED, is not asked again in this call, and loses nothing. A shared pass is cut short
 * only when all its sessions are cancelled; otherwise a cancelled session keeps the completed rows, and its
 * next call resumes behind them.
 *
 * Returns PALME_OK, whatever the statuses are, or PALME_ERROR_ARGUMENT for a NULL, a count out of range, a
 * session that occurs twice, or sessions of different models; then nothing was changed. */
PALME_API int palme_next_batch(palme_session *const *sessions, int count, const char **pieces, int *statuses);

/* Ends the caption where it is, for callers whose time is up. The calls of palme_next that follow give what there is
 * without running the decoder, then PALME_END: with beam search the best finished sentence or else the best open one,
 * otherwise the rest of a character. Returns PALME_OK, also when the caption is complete already, or
 * PALME_ERROR_ARGUMENT if there is none: before palme_prompt or the first palme_next. */
PALME_API int palme_finish(palme_session *session);

/* Number of tokens generated so far for this caption, the end token included. */
PALME_API int palme_caption_length(const palme_session *session);

/* How many of these tokens were accepted from the draft (see palme_options.no_draft) and so cost no pass of
 * their own. The end token and the token at max_length are never among them. 0 without a draft. */
PALME_API int palme_caption_accepted(const palme_session *session);

/* Mean log-probability of these tokens in the model's own distribution, before temperature and exclusions, less
 * what they cost by palme_options.label_weight; 0 if there are none. With beam search it is that of the chosen
 * sentence, known after PALME_END. */
PALME_API double palme_caption_score(const palme_session *session);

/* Scores a given text, UTF-8, at most PALME_MAX_PROMPT_BYTES, as the caption of the picture: *mean is the
 * mean log-probability of its tokens and of the end token, less what they cost. It takes one pass of the decoder
 * and no search.
 * For a caption that ended by itself it is palme_caption_score, bit for bit, if the tokenizer splits the text
 * into the tokens that were generated.
 *
 * Call it after palme_look, before the first palme_next or after PALME_END; in the middle of a caption it
 * returns PALME_ERROR_ARGUMENT. The text goes on from the prompt that was set, or else from the model's
 * default prompt. The session stays as it was: palme_prompt and palme_next go on with the same picture.
 * Returns PALME_OK or PALME_ERROR_{ARGUMENT, TEXT, CONTEXT, CANCELLED}; then *mean is unchanged. */
PALME_API int palme_score(palme_session *session, const char *text, double *mean);

/* ---- Labels ------------------------------------------------------------------------------- */

/* Some models also tell which of some everyday words, the labels, fit a picture (palme_info.labels). palme_look
 * finds them, the decoder reads the likely ones before its text, and words of a caption are held to them. The
 * functions below may be called from palme_look on: before, during and after a caption. Models without labels, and
 * sessions with palme_options.no_labels, have none for any picture. */

struct palme_label {
    const char *name;   /* "dog"; the model's */
    const char *phrase; /* as a sentence says it, "a dog"; "" for what is no thing, such as "sitting"; the model's */
    double probability; /* 0..1 */
    uint64_t reserved[1];
};

/* The labels that were chosen for the picture, most likely first: labels[0..] receives at most `capacity` of them;
 * PALME_MAX_LABELS are always enough. Returns how many there are, or PALME_ERROR_ARGUMENT for a NULL or without a
 * picture. */
PALME_API int palme_labels(const palme_session *session, struct palme_label *labels, int capacity);

/* Whether the picture's labels confirm a text, UTF-8, at most PALME_MAX_PROMPT_BYTES: it names at least one thing whose
 * label is likely enough by the model's own measure, and none whose label is too unlikely. A caption that they do not
 * confirm, or whose score is below palme_info.min_score, is better not shown. Give it the prompt and the caption as one
 * text: it may be the prompt that names the thing. Returns 1 or 0, always 1 without labels, or
 * PALME_ERROR_{ARGUMENT, TEXT}. */
PALME_API int palme_confirms(palme_session *session, const char *text);

/* A sentence that is made of the likeliest label alone, "a photo of a dog", to be shown instead of such a caption; ""
 * if no label is likely enough. It belongs to the model. Never NULL. */
PALME_API const char *palme_cautious(const palme_session *session);

/* ---- The rest ----------------------------------------------------------------------------- */

/* How many processors this process may use at the moment, at least 1: those of its affinity mask, but no more
 * than the CPU quotas of its control groups pay for, rounded up. */
PALME_API int palme_processors(void);

/* A fixed English phrase for a status, never NULL. */
PALME_API const char *palme_strerror(int status);

/* "major.minor.patch" of the library. */
PALME_API const char *palme_version(void);

#ifdef __cplusplus
}
#endif

#endif
