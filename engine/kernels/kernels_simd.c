/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels_simd.c - the loops of kernels.c in vector operations. The build compiles this file once per level with
 * that level's flags; everything but the level's init is static, since what is emitted here may not run on
 * every machine.
 *
 * Tails are masked loads and stores: no scalar remainder is left. A row of a linear layer is summed in one
 * order, with one fused multiply-add per weight, whatever the number of rows.
 */
#include "kernels/tiles.h"

#include <math.h>

/* ---- GELU ------------------------------------------------------------------------------- */

/* x Phi(x) = x (1 + erf(x / sqrt 2)) / 2 by the tail of the normal distribution, Phi(-z) = erfc(z / sqrt 2) / 2.
 * There is erfc(z) = e^(-z^2) t Q(t) with t = 1 / (1 + 0.3 z); the coefficients come from tests/fixtures/fit_erf.py,
 * which also says how far off they are. Beyond 9.4 the exponential is 0. */
static inline __attribute__((always_inline)) void vec_gelu(vf *x, const int count)
{
    static const float q[] = { -0.130650282f, 0.491199851f, -0.524303675f, 0.561992526f, -0.104937889f,
                               0.219528645f,  0.147092924f, 0.170901701f,  0.169176206f };
    vf t[VEC_INTERLEAVED], e[VEC_INTERLEAVED], tail[VEC_INTERLEAVED];

    VEC_UNROLL
    for (int i = 0; i < count; i++) {
        vf z = vf_min(vf_mul(vf_abs(x[i]), vf_set(0.70710678f)), vf_set(9.4f));

        t[i] = vf_div(vf_set(1), vf_fma(z, vf_set(0.3f), vf_set(1)));
        e[i] = vf_sub(vf_set(0), vf_mul(z, z));
    }
    vf_exps(e, count);
    vf_polynomials(tail, t, q, 9, count);
    VEC_UNROLL
    for (int i = 0; i < count; i++) {
        tail[i] = vf_mul(vf_mul(t[i], tail[i]), vf_mul(vf_set(0.5f), e[i]));
        x[i] = vf_mul(x[i], vf_less(x[i], vf_set(0), tail[i], vf_sub(vf_set(1), tail[i])));
    }
}

/* x / (1 + e^-s) of x[count], with s = c x or c (x + d x^3). */
static inline __attribute__((always_inline)) void vec_logistic(vf *x, const int count, const float c, const float d)
{
    vf e[VEC_INTERLEAVED];

    VEC_UNROLL
    for (int i = 0; i < count; i++) {
        vf s = vf_mul(x[i], vf_set(-c));

        e[i] = vf_min(d != 0 ? vf_mul(s, vf_fma(vf_mul(x[i], x[i]), vf_set(d), vf_set(1))) : s, vf_set(88));
    }
    vf_exps(e, count);
    VEC_UNROLL
    for (int i = 0; i < count; i++) /* below -64 there is 0 left: the exponential ends at e^88. NaN stays. */
        x[i] = vf_div(vf_max(vf_set(-64), x[i]), vf_add(vf_set(1), e[i]));
}

static inline __attribute__((always_inline)) void vec_gelu_tanh(vf *x, const int count)
{
    vec_logistic(x, count, 2 * 0.79788456f, 0.044715f);
}

static inline __attribute__((always_inline)) void vec_quick_gelu(vf *x, const int count)
{
    vec_logistic(x, count, 1.702f, 0);
}

/* ---- Vectors -------------------------------------------------------------------------------- */

/* Long sums are short ones in single precision that are added up in double: the mean of a layer norm shifts
 * thousands of values by its error, and a linear layer adds those up again. */
enum { BLOCK = 8 * VEC_LANES };

static void clear(vf lanes[LANE_VECTORS])
{
    for (int p = 0; p < LANE_VECTORS; p++)
        lanes[p] = vf_set(0);
}

static double sum_of(const float *x, int n)
{
    double sum = 0;

    for (int first = 0; first < n; first += BLOCK) {
        int end = n - first < BLOCK ? n : first + BLOCK;
        vf lanes[LANE_VECTORS];

        clear(lanes);
        for (int i = first; i < end; i += VEC_LANES) {
            VEC_UNROLL
            for (int p = 0, at = i; p < LANE_VECTORS && at < end; p++, at += VF)
                lanes[p] = vf_add(lanes[p], vf_load_n(x + at, vf_left(end, at)));
        }
        sum += vf_sum_lanes_double(lanes);
    }
    return sum;
}

/* The sum of (x - mean)^2. */
static double squares_of(const float *x, vf mean, int n)
{
    double sum = 0;

    for (int first = 0; first < n; first += BLOCK) {
        int end = n - first < BLOCK ? n : first + BLOCK;
        vf lanes[LANE_VECTORS];

        clear(lanes);
        for (int i = first; i < end; i += VEC_LANES) {
            VEC_UNROLL
            for (int p = 0, at = i; p < LANE_VECTORS && at < end; p++, at += VF) {
                vf d = vf_keep_n(vf_sub(vf_load_n(x + at, vf_left(end, at)), mean), vf_left(end, at), 0);

                lanes[p] = vf_fma(d, d, lanes[p]);
            }
        }
        sum += vf_sum_lanes_double(lanes);
    }
    return sum;
}

static void layernorm(float *y, const float *x, const float *w, const float *b, int n, double eps)
{
    vf mean = vf_set((float)(sum_of(x, n) / n));
    vf factor = vf_set((float)(1 / sqrt(squares_of(x, mean, n) / n + eps)));

    for (int i = 0; i < n; i += VF) {
        int k = vf_left(n, i);
        vf d = vf_mul(vf_sub(vf_load_n(x + i, k), mean), factor);

        vf_store_n(y + i, vf_fma(d, vf_load_n(w + i, k), vf_load_n(b + i, k)), k);
    }
}

/* x[n] = f(x[n]), by a function of some vectors. */
#define VALUES_FUNCTION(name, f)                                                                                       \
    static void name(float *x, int n)                                                                                  \
    {                                                                                                                  \
        vf a[VEC_INTERLEAVED];                                                                                         \
        int i = 0;                                                                                                     \
                                                                                                                       \
        for (; n - i >= VEC_INTERLEAVED * VF; i += VEC_INTERLEAVED * VF) {                                             \
            VEC_UNROLL                                                                                                 \
            for (int k = 0; k < VEC_INTERLEAVED; k++)                                                                  \
                a[k] = vf_load(x + i + k * VF);                                                                        \
            f(a, VEC_INTERLEAVED);                                                                                     \
            VEC_UNROLL                                                                                                 \
            for (int k = 0; k < VEC_INTERLEAVED; k++)                                                                  \
                vf_store(x + i + k * VF, a[k]);                                                                        \
        }                                                                                                              \
        for (; i < n; i += VF) {                                                                                       \
            a[0] = vf_load_n(x + i, vf_left(n, i));                                                                    \
            f(a, 1);                                                                                                   \
            vf_store_n(x + i, a[0], vf_left(n, i));                                                                    \
        }                                                                                                              \
    }
VALUES_FUNCTION(gelu, vec_gelu)
VALUES_FUNCTION(gelu_tanh, vec_gelu_tanh)
VALUES_FUNCTION(quick_gelu, vec_quick_gelu)

static void add(float *x, const float *y, int n)
{
    for (int i = 0; i < n; i += VF) {
        int k = vf_left(n, i);

        vf_store_n(x + i, vf_add(vf_load_n(x + i, k), vf_load_n(y + i, k)), k);
    }
}

static void relu6(float *x, int n)
{
    for (int i = 0; i < n; i += VF) {
        int k = vf_left(n, i);

        vf_store_n(x + i, vf_relu6(vf_load_n(x + i, k)), k);
    }
}

static void normalize(float *x, int n)
{
    double norm = sqrt(squares_of(x, vf_set(0), n));
    vf factor = vf_set((float)(1 / (norm < 1e-12 ? 1e-12 : norm)));
    for (int i = 0; i < n; i += VF)
        vf_store_n(x + i, vf_mul(vf_load_n(x + i, vf_left(n, i)), factor), vf_left(n, i));
}

static double log_sum_exp(const float *x, int n)
{
    vf best = vf_set(-INFINITY);
    double sum = 0;

    for (int i = 0; i < n; i += VF)
        best = vf_max(vf_keep_n(vf_load_n(x + i, vf_left(n, i)), vf_left(n, i), -INFINITY), best);
    float top = vf_largest(best);
    if (isinf(top))
        return top;
    for (int first = 0; first < n; first += BLOCK) {
        int end = n - first < BLOCK ? n : first + BLOCK;
        vf lanes[LANE_VECTORS], e[VEC_INTERLEAVED];
        int i = first;

        clear(lanes);

        for (; end - i >= VEC_INTERLEAVED * VF; i += VEC_INTERLEAVED * VF) {
            VEC_UNROLL
            for (int k = 0; k < VEC_INTERLEAVED; k++)
                e[k] = vf_sub(vf_load(x + i + k * VF), vf_set(top));
            vf_exps(e, VEC_INTERLEAVED);
            VEC_UNROLL
            for (int k = 0; k < VEC_INTERLEAVED; k++)
                lanes[k % LANE_VECTORS] = vf_add(lanes[k % LANE_VECTORS], e[k]);
        }
        for (int k = 0; i < end; k++, i += VF) {
            vf rest = vf_exp(vf_sub(vf_load_n(x + i, vf_left(end, i)), vf_set(top)));

            lanes[k % LANE_VECTORS] = vf_add(lanes[k % LANE_VECTORS], vf_keep_n(rest, vf_left(end, i), 0));
        }
        sum += vf_sum_lanes_double(lanes);
    }
    return top + log(sum);
}

static void softmax(float *x, int n, float scale)
{
    vf best = vf_set(-INFINITY), lanes[LANE_VECTORS];

    for (int i = 0; i < n; i += VF) {
        vf scaled = vf_mul(vf_load_n(x + i, vf_left(n, i)), vf_set(scale));

        vf_store_n(x + i, scaled, vf_left(n, i));
        best = vf_max(vf_keep_n(scaled, vf_left(n, i), -INFINITY), best);
    }
    float top = vf_largest(best);
    if (isinf(top)) {
        memset(x, 0, (size_t)n * sizeof *x);
        return;
    }
    clear(lanes);
    int i = 0;
    for (; n - i >= VEC_INTERLEAVED * VF; i += VEC_INTERLEAVED * VF) {
        vf e[VEC_INTERLEAVED];

        VEC_UNROLL
        for (int k = 0; k < VEC_INTERLEAVED; k++)
            e[k] = vf_sub(vf_load(x + i + k * VF), vf_set(top));
        vf_exps(e, VEC_INTERLEAVED);
        VEC_UNROLL
        for (int k = 0; k < VEC_INTERLEAVED; k++) {
            lanes[k % LANE_VECTORS] = vf_add(lanes[k % LANE_VECTORS], e[k]);
            vf_store(x + i + k * VF, e[k]);
        }
    }
    for (int k = 0; i < n; k++, i += VF) {
        vf rest = vf_exp(vf_sub(vf_load_n(x + i, vf_left(n, i)), vf_set(top)));

        lanes[k % LANE_VECTORS] = vf_add(lanes[k % LANE_VECTORS], vf_keep_n(rest, vf_left(n, i), 0));
        vf_store_n(x + i, rest, vf_left(n, i));
    }
    vf factor = vf_set(1 / vf_sum_lanes(lanes));

    for (i = 0; i < n; i += VF)
        vf_store_n(x + i, vf_mul(vf_load_n(x + i, vf_left(n, i)), factor), vf_left(n, i));
}

static int argmax(const float *x, int n)
{
    float best = -INFINITY;
    int at = -1;

    for (int first = 0; first < n; first += BLOCK) {
        int end = n - first < BLOCK ? n : first + BLOCK;
        vf most = vf_set(-INFINITY);

        for (int i = first; i < end; i += VF)
            most = vf_max(vf_keep_n(vf_load_n(x + i, vf_left(end, i)), vf_left(end, i), -INFINITY), most);
        float largest = vf_largest(most);
        if (largest > best) {
            best = largest;
            at = first;
        }
    }
    while (at >= 0 && x[at] != best)
        at++;
    return at;
}

static void rotate(float *x, const float *cosine, const float *sine, const float *gain)
{
    for (int k = 0; k < PALME_ROTARY; k += VF) {
        vf a = vf_load(x + k), b = vf_load(x + k + PALME_ROTARY);
        vf c = vf_load(cosine + k), s = vf_load(sine + k), g = vf_load(gain + k);

        vf_store(x + k, vf_mul(vf_sub(vf_mul(a, c), vf_mul(b, s)), g));
        vf_store(x + k + PALME_ROTARY, vf_mul(vf_fma(b, c, vf_mul(a, s)), g));
    }
}

/* ---- Linear layers -------------------------------------------------------------------------- */

/* With 16 registers a tile is 6 rows by 2 vectors or 4 by 3, with 32 it is 6 by 4: the sums, the weights of one
 * input and one value of x fill them. A single row takes 8 vectors, enough sums in flight to hide the latency of
 * the multiply-adds; or one, where that is the best way to read weights. */
enum {
    TILE_VECTORS = VEC_REGISTERS / 8, /* of a tile, a divisor or a multiple of PARTS */
    TILE_ROWS = 6,
    TALL_ROWS = 4, /* of a tile of one vector more */
    WIDE = VEC_STREAMS ? 1 : 8,
    RUN = 16, /* inputs, after which a tile asks for weights of AHEAD inputs of the next one */
    AHEAD = 2,
    LINE_FLOATS = 16
};

/* Adds the products of inputs begin..end-1. */
static inline __attribute__((always_inline)) void add_products(vf *sum, const float *x, const float *w, const int rows,
                                                               const int vectors, int begin, int end, size_t panel,
                                                               ptrdiff_t x_stride, const int few)
{
    VEC_UNROLL_2
    for (int k = begin; k < end; k++) {
        vf weight[WIDE > TILE_VECTORS ? WIDE : TILE_VECTORS]; /* held for all rows, beside one value of x at a time */

        for (int i = 0; i < vectors; i++)
            weight[i] = vf_load(w + (size_t)(i / PARTS) * panel + (size_t)k * PALME_PANEL + i % PARTS * VF);
        if (few)
            vec_prefetch(w + (size_t)k * PALME_PANEL, (vectors + PARTS - 1) / PARTS, panel * sizeof *w,
                         (size_t)(end - k));
        for (int r = 0; r < rows; r++) {
            vf value = vf_set(x[r * x_stride + k]);

            for (int i = 0; i < vectors; i++)
                sum[r * vectors + i] = vf_fma(value, weight[i], sum[r * vectors + i]);
        }
    }
}

/* `rows` and `vectors` are constants where this is called, so that the sums are registers. `ahead` is NULL or where
 * weights begin that are needed soon: a part of them is asked for here. */
static inline __attribute__((always_inline)) void tile(float *y, const float *x, const float *w, const float *b,
                                                       const int rows, const int vectors, int in, int out,
                                                       ptrdiff_t y_stride, ptrdiff_t x_stride,
                                                       enum palme_activation activation, const float *ahead)
{
    vf sum[TILE_ROWS * TILE_VECTORS]; /* [rows][vectors]; what is not used does not exist */
    size_t panel = (size_t)in * PALME_PANEL;

    for (int i = 0; i < rows * vectors; i++)
        sum[i] = b ? vf_load(b + i % vectors * VF) : vf_set(0);
    int begin = 0;

    if (rows == TILE_ROWS && ahead)
        for (; in - begin >= RUN; begin += RUN, ahead += AHEAD * vectors * VF) {
            for (int i = 0; i < AHEAD * vectors * VF; i += LINE_FLOATS)
                __builtin_prefetch(ahead + i, 0, 2);
            add_products(sum, x, w, rows, vectors, begin, begin + RUN, panel, x_stride, 0);
        }
    add_products(sum, x, w, rows, vectors, begin, in, panel, x_stride, rows > 1 && rows < TILE_ROWS);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors && i * VF < out; i++)
            store_activated(y + r * y_stride + i * VF, sum[r * vectors + i], vf_left(out, i * VF), activation);
}

/* All rows of some vectors. */
static inline __attribute__((always_inline)) void tiles(float *y, const float *x, const float *w, const float *b,
                                                        int rows, const int vectors, int in, int out,
                                                        ptrdiff_t y_stride, ptrdiff_t x_stride,
                                                        enum palme_activation activation, const float *ahead)
{
    const int step = vectors > TILE_VECTORS ? TALL_ROWS : TILE_ROWS, most = step - 1;

    for (; rows >= step; rows -= step, y += step * y_stride, x += step * x_stride) {
        tile(y, x, w, b, step, vectors, in, out, y_stride, x_stride, activation, ahead);
        ahead = ahead ? ahead + in / RUN * AHEAD * vectors * VF : NULL;
    }
    switch (rows) {
    case 5: tile(y, x, w, b, most < 5 ? most : 5, vectors, in, out, y_stride, x_stride, activation, NULL); break;
    case 4: tile(y, x, w, b, most < 4 ? most : 4, vectors, in, out, y_stride, x_stride, activation, NULL); break;
    case 3: tile(y, x, w, b, 3, vectors, in, out, y_stride, x_stride, activation, NULL); break;
    case 2: tile(y, x, w, b, 2, vectors, in, out, y_stride, x_stride, activation, NULL); break;
    case 1: tile(y, x, w, b, 1, vectors, in, out, y_stride, x_stride, activation, NULL); break;
    default: break;
    }
}

/* How many vectors a tile takes of `rest`: with 32 registers those that are there; with 16, where a tile is one
 * panel, half a panel goes with the one before it. */
static inline int tile_vectors(int rows, int rest)
{
    if (VEC_STREAMS && rows <= TILE_ROWS)
        return rest < 2 ? rest : 2;
    if (TILE_VECTORS > 2)
        return rest < TILE_VECTORS ? rest : TILE_VECTORS;
    return rest == 3 ? 3 : 2;
}

static void linear(float *y, const float *x, const float *w, const float *b, int rows, int in, int out,
                   ptrdiff_t y_stride, ptrdiff_t x_stride, enum palme_activation activation)
{
    int first = 0;

    if (rows == 1) {
        for (; out - first > WIDE * VF - PALME_PANEL; first += WIDE * VF)
            tile(y + first, x, w + (size_t)first * in, b ? b + first : NULL, 1, WIDE, in,
                 out - first < WIDE * VF ? out - first : WIDE * VF, y_stride, x_stride, activation, NULL);
    }
    while (first < out) {
        int rest = out - first, vectors = tile_vectors(rows, (rest + VF - 1) / VF);
        const float *panel = w + (size_t)first * in, *bias = b ? b + first : NULL;
        float *to = y + first;

        first += vectors * VF;
        rest = rest < vectors * VF ? rest : vectors * VF;
        if (vectors == TILE_VECTORS)
            tiles(to, x, panel, bias, rows, TILE_VECTORS, in, rest, y_stride, x_stride, activation,
                  panel + (size_t)(vectors / PARTS) * PALME_PANEL * in);
        else if (vectors == 3)
            tiles(to, x, panel, bias, rows, 3, in, rest, y_stride, x_stride, activation, NULL);
        else if (vectors == 2)
            tiles(to, x, panel, bias, rows, 2, in, rest, y_stride, x_stride, activation, NULL);
        else
            tiles(to, x, panel, bias, rows, 1, in, rest, y_stride, x_stride, activation, NULL);
    }
}

/* ---- The level ------------------------------------------------------------------------------ */

void VEC_NAME(palme_kernels_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_kernels_init)(struct palme_kernels *kernels)
{
    kernels->layernorm = layernorm;
    kernels->gelu = gelu;
    kernels->gelu_tanh = gelu_tanh;
    kernels->quick_gelu = quick_gelu;
    kernels->add = add;
    kernels->relu6 = relu6;
    kernels->normalize = normalize;
    kernels->log_sum_exp = log_sum_exp;
    kernels->softmax = softmax;
    kernels->argmax = argmax;
    kernels->rotate = rotate;
    kernels->linear = linear;
}
