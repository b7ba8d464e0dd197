/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attend_simd.c - attention in vector operations: a softmax over tiles of keys that keeps no more than one tile of
 * scores. The build compiles this file once per level; everything but the level's init is static.
 *
 * Keys are taken a tile at a time and rows some at a time: a tile of keys and values is read into the nearest
 * cache once for all of these rows, and what a row has summed so far waits in memory meanwhile. Six rows, a group, go
 * through a tile interleaved and share its loads; for them the keys are turned over, so that the lanes of a vector are
 * keys. All groups first see the keys of a tile and then its values: keys and values together would not stay in the
 * nearest cache. A row is summed in one order, alone or in a group.
 *
 * A head may be of any width. The loops are compiled for 64, a constant, and once more for all others. In memory of
 * our own a head is padded with zeros, which add nothing; that of the caller is read to a head's last value and not
 * past it.
 */
#include "kernels/attend_keys.h"

/* What one row has of the keys so far: sum and total are those of exp(score - top). */
struct attended {
    int position, end; /* among the keys; it sees those before `end` */
    float top;
    float shrink; /* of the sum, which the tile that was weighed last asks for; total has it already */
    int weighed;  /* whether there is anything in that tile */
    const float *query;
    vf total[LANE_VECTORS], sum[]; /* [padded / VF] */
};

static inline size_t attended_bytes(int width)
{
    return sizeof(struct attended) + (size_t)padded(width) * sizeof(float);
}

static inline struct attended *row_at(struct attended *row, int r, int width)
{
    return (struct attended *)(void *)((char *)row + (size_t)r * attended_bytes(width));
}

/* What takes the time is functions of its own: among others in one function gcc 12 keeps sums in memory, though
 * registers are free. */
static __attribute__((noinline)) void products_of_group_64(float *y, vf *best, const float *queries,
                                                           const struct tile_of_keys *tile, int count, float scale)
{
    products_with_tile(y, best, queries, GROUP, tile, count, scale, PALME_HEAD);
}

/* Products of a row times `scale` become scores. Returns the highest ones. */
static inline __attribute__((always_inline)) vf
score(float *weights, const struct attended *row, const struct palme_attend *shape, float scale, int first, int count)
{
    static const float count_up[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    vf best = vf_set(-INFINITY), slope = vf_set(-shape->slope);

    for (int j = 0; j < count; j += VF) {
        vf s = vf_mul(vf_load(weights + j), vf_set(scale));

        if (shape->slope != 0) {
            vf distance = vf_sub(vf_set((float)(row->position - first - j)), vf_load(count_up));

            s = vf_fma(vf_abs(distance), slope, s);
        }
        if (count - j < VF)
            s = vf_keep_n(s, count - j, -INFINITY);
        best = vf_max(s, best);
        vf_store(weights + j, s);
    }
    return best;
}

/* Scores become weights, exp(score - top), which are added to the row's total. */
static inline __attribute__((always_inline)) void weigh_scores(float *weights, struct attended *row, int count)
{
    const vf top = vf_set(row->top), shrink = vf_set(row->shrink);
    vf total[LANE_VECTORS], weight[VEC_INTERLEAVED];
    int j = 0;

    VEC_UNROLL
    for (int p = 0; p < LANE_VECTORS; p++)
        total[p] = vf_mul(row->total[p], shrink);
    for (; count - j > (VEC_INTERLEAVED - 1) * VF; j += VEC_INTERLEAVED * VF) {
        VEC_UNROLL
        for (int i = 0; i < VEC_INTERLEAVED; i++)
            weight[i] = vf_sub(vf_load(weights + j + i * VF), top);
        vf_exps(weight, VEC_INTERLEAVED);
        VEC_UNROLL
        for (int i = 0; i < VEC_INTERLEAVED; i++) {
            total[i % LANE_VECTORS] = vf_add(total[i % LANE_VECTORS], weight[i]);
            vf_store(weights + j + i * VF, weight[i]);
        }
    }
    for (; j < count; j += LANE_VECTORS * VF) {
        VEC_UNROLL
        for (int i = 0; i < LANE_VECTORS; i++) {
            if (j + i * VF >= count)
                break;
            weight[0] = vf_exp(vf_sub(vf_load(weights + j + i * VF), top));
            total[i] = vf_add(total[i], weight[0]);
            vf_store(weights + j + i * VF, weight[0]);
        }
    }
    VEC_UNROLL
    for (int p = 0; p < LANE_VECTORS; p++)
        row->total[p] = total[p];
}

/* weights[rows][KEY_TILE], scores of which best[rows] are the highest, become the weights of `count` keys, and what the
 * rows have is brought to their scale: the total here, the sums by add_part. Nothing of a row can be weighed if there
 * was only -infinity so far, or a sum overflowed. Rows go through each step together, and no branch depends on which
 * score is the highest: the processor works on several of them at a time. */
static inline __attribute__((always_inline)) void weigh(float *weights, const vf *best, struct attended *row,
                                                        const int rows, int count, const int width)
{
    float falls[QUERY < VF ? VF : QUERY] = { 0 };

    for (int r = 0; r < rows; r++) {
        struct attended *at = row_at(row, r, width);
        float found = vf_largest(best[r]), high = found > at->top ? found : at->top;

        at->weighed = !isinf(high);
        falls[r] = at->weighed ? at->top - high : 0;
        at->top = at->weighed ? high : at->top;
    }
    for (int r = 0; r < rows; r += VF)
        vf_store(falls + r, vf_exp(vf_load(falls + r)));
    for (int r = 0; r < rows; r++) {
        struct attended *at = row_at(row, r, width);

        at->shrink = falls[r];
        if (at->weighed)
            weigh_scores(weights + r * KEY_TILE, at, count);
    }
}

static __attribute__((noinline)) void weigh_group_64(float *weights, const vf *best, struct attended *row, int count)
{
    weigh(weights, best, row, GROUP, count, PALME_HEAD);
}

/* What a group, or a row, sees of a tile becomes its weights[rows][KEY_TILE]. */
static inline __attribute__((always_inline)) void weigh_tile(float *weights, struct attended *row, const float *queries,
                                                             const int rows, const struct tile_of_keys *tile,
                                                             const struct palme_attend *shape, int first, int count,
                                                             const int width)
{
    vf best[GROUP];

    if (width == PALME_HEAD && rows == GROUP)
        products_of_group_64(weights, best, queries, tile, count, shape->scale);
    else
        products_with_tile(weights, best, queries, rows, tile, count, shape->scale, width);
    if (shape->slope != 0 || count % BLOCK != 0)
        for (int r = 0; r < rows; r++)
            best[r] = score(weights + r * KEY_TILE, row_at(row, r, width), shape, 1, first, count);
    if (width == PALME_HEAD && rows == GROUP)
        weigh_group_64(weights, best, row, count);
    else
        weigh(weights, best, row, rows, count, width);
}

/* Adds count weighted values to the sums of rows, which are brought to the scale of the weights, to `take` vectors of
 * them from `part` on, of which the last may have fewer values that exist: width - part * VF in all. */
static inline __attribute__((always_inline)) void add_part(struct attended *row, const int rows, int part,
                                                           const int take, const float *weights, const float *v,
                                                           ptrdiff_t stride, int count, const int width,
                                                           const int whole)
{
    const float *value = v;
    int left = width - (part + take - 1) * VF; /* values of the last vector */
    vf sum[SUMS];

    for (int i = 0; i < rows * take; i++)
        sum[i] =
            vf_mul(row_at(row, i / take, width)->sum[part + i % take], vf_set(row_at(row, i / take, width)->shrink));
    for (int j = 0; j < count; j++, value += stride) {
        vf a[HEAD];

        for (int i = 0; i < take; i++)
            a[i] = whole || i < take - 1 ? vf_load(value + i * VF) : load_left(value + i * VF, left);
        for (int r = 0; r < rows; r++) {
            vf weight = vf_set(weights[r * KEY_TILE + j]);

            for (int i = 0; i < take; i++)
                sum[r * take + i] = vf_fma(weight, a[i], sum[r * take + i]);
        }
    }
    for (int i = 0; i < rows * take; i++)
        row_at(row, i / take, width)->sum[part + i % take] = sum[i];
}

static __attribute__((noinline)) void add_part_64(struct attended *row, int part, const float *weights, const float *v,
                                                  int count)
{
    add_part(row, GROUP, part, STEP_WIDTH, weights, v, BLOCK, count, PALME_HEAD, 1);
}

/* All of them: interleaved rows from a tile, which is padded. */
static inline __attribute__((always_inline)) void add_values_interleaved(struct attended *row, const int rows,
                                                                         const float *weights,
                                                                         const struct tile_of_keys *tile, int count,
                                                                         const int width)
{
    int part = 0, vectors = padded(width) / VF;

    for (; vectors - part >= STEP_WIDTH; part += STEP_WIDTH)
        if (width == PALME_HEAD && rows == GROUP)
            add_part_64(row, part, weights, tile->values + part * KEY_TILE * VF, count);
        else
            add_part(row, rows, part, STEP_WIDTH, weights, tile->values + part * KEY_TILE * VF, BLOCK, count, width, 1);
    if (width != PALME_HEAD && part < vectors)
        add_part(row, rows, part, 1, weights, tile->values + part * KEY_TILE * VF, BLOCK, count, width, 1);
}

/* And one row, from where the values are. */
static inline __attribute__((always_inline)) void add_values(struct attended *row, const float *weights, const float *v,
                                                             ptrdiff_t stride, int count, const int width)
{
    int part = 0, vectors = (width + VF - 1) / VF;
    const int whole = width == PALME_HEAD;

    for (; vectors - part >= HEAD; part += HEAD)
        add_part(row, 1, part, HEAD, weights, v + part * VF, stride, count, width, whole);
    if (width == PALME_HEAD)
        return;
    for (; vectors - part >= HEAD / 2; part += HEAD / 2)
        add_part(row, 1, part, HEAD / 2, weights, v + part * VF, stride, count, width, whole);
    for (; part < vectors; part++)
        add_part(row, 1, part, 1, weights, v + part * VF, stride, count, width, whole);
}

/* Takes keys first..first+count-1, all of which the row sees, into account: from where they are, in whole eights. */
static inline __attribute__((always_inline)) void attend_row(struct attended *row, const float *k, const float *v,
                                                             const struct palme_attend *shape, int first, int count,
                                                             const int width)
{
    _Alignas(64) float weights[KEY_TILE];

    products(weights, row->query, k, shape->k_stride, count, width);
    vf best = score(weights, row, shape, shape->scale, first, count);
    weigh(weights, &best, row, 1, count, width);
    if (row->weighed)
        add_values(row, weights, v, shape->v_stride, count, width);
}

/* The same of a row from a tile. */
static inline __attribute__((always_inline)) void attend_row_of_tile(struct attended *row, const float *queries,
                                                                     const struct tile_of_keys *tile,
                                                                     const struct palme_attend *shape, int first,
                                                                     int count, const int width)
{
    _Alignas(64) float weights[KEY_TILE];

    weigh_tile(weights, row, queries, 1, tile, shape, first, count, width);
    if (row->weighed)
        add_values_interleaved(row, 1, weights, tile, count, width);
}

/* And the values of a tile that a group has weighed. */
static inline __attribute__((always_inline)) void add_values_of_group(struct attended *row, const float *weights,
                                                                      const struct tile_of_keys *tile, int count,
                                                                      const int width)
{
    int weighed = 0;

    for (int r = 0; r < GROUP; r++)
        weighed += row_at(row, r, width)->weighed;
    if (weighed == GROUP)
        add_values_interleaved(row, GROUP, weights, tile, count, width);
    else
        for (int r = 0; r < GROUP; r++)
            if (row_at(row, r, width)->weighed)
                add_values_interleaved(row_at(row, r, width), 1, weights + r * KEY_TILE, tile, count, width);
}

/* The keys of a tile that a row sees; none: below 1. */
static int seen(const struct attended *row, int tile)
{
    return row->end - tile < KEY_TILE ? row->end - tile : KEY_TILE;
}

/* The keys of a tile that all rows of a group see, or 0 if it is not worth going as one: they see different ones, or
 * too few rows exist. `turned` keys are there already. */
static int seen_by_group(struct attended *row, int rows, int tile, int turned, int width)
{
    int count = seen(row, tile);

    if (rows < GROUP && (rows < GROUP_LEAST || turned < count))
        return 0;
    for (int r = 1; r < GROUP; r++)
        if (seen(row_at(row, r, width), tile) != count)
            return 0;
    return count;
}

/* What is in a workspace. */
struct attending {
    struct attended *row; /* [GROUPS][GROUP], of those that there are */
    float *queries;       /* [GROUPS][padded][QUERY] */
    float *weights;       /* [GROUPS][GROUP][KEY_TILE] */
    struct tile_of_keys tile;
};

/* Asks for some rows of the next tile's keys or values, while there is enough else to do: part `at` of `parts`. The
 * rows of a head stand apart, and the processor does not foresee them. */
static inline void ask_ahead(const float *x, ptrdiff_t stride, int count, int width, int at, int parts)
{
    enum { LINE = 16 }; /* floats */

    for (int j = at * count / parts; j < (at + 1) * count / parts; j++)
        for (int d = 0; d < width; d += LINE)
            __builtin_prefetch(x + j * stride + d, 0, 2);
}

/* Takes a tile into account for all rows. */
static inline __attribute__((always_inline)) void attend_tile(struct attending *a, int rows, const float *k,
                                                              const float *v, const struct palme_attend *shape,
                                                              int tile, const int width)
{
    int together[GROUPS] = { 0 }, groups = (rows + GROUP - 1) / GROUP;
    int ahead = shape->keys - tile - KEY_TILE;

    ahead = ahead < 0 || groups < GROUPS / 2 ? 0 : ahead < KEY_TILE ? ahead : KEY_TILE;
    a->tile.count = 0;
    for (int first = 0; first < rows; first += GROUP) {
        struct attended *row = row_at(a->row, first, width);
        const float *queries = a->queries + first / GROUP * padded(width) * QUERY;
        int here = rows - first < GROUP ? rows - first : GROUP;
        int count = seen_by_group(row, here, tile, a->tile.count, width);

        if (count > 0) {
            if (a->tile.count < count)
                tile_fill(&a->tile, k, v, shape, count, width);
            together[first / GROUP] = count;
            ask_ahead(k + KEY_TILE * shape->k_stride, shape->k_stride, ahead, width, first / GROUP, groups);
            weigh_tile(a->weights + first * KEY_TILE, row, queries, GROUP, &a->tile, shape, tile, count, width);
            continue;
        }
        for (int r = 0; r < here; r++, row = row_at(row, 1, width)) {
            count = seen(row, tile);
            if (count <= 0)
                continue;
            if (width % EIGHT == 0) {
                attend_row(row, k, v, shape, tile, count, width);
                continue;
            }
            if (a->tile.count < count)
                tile_fill(&a->tile, k, v, shape, count, width);
            attend_row_of_tile(row, queries + r, &a->tile, shape, tile, count, width);
        }
    }
    for (int g = 0; g < groups; g++) {
        ask_ahead(v + KEY_TILE * shape->v_stride, shape->v_stride, ahead, width, g, groups);
        if (together[g])
            add_values_of_group(row_at(a->row, g * GROUP, width), a->weights + g * GROUP * KEY_TILE, &a->tile,
                                together[g], width);
    }
}

static __attribute__((noinline)) void attend_tile_64(struct attending *a, int rows, const float *k, const float *v,
                                                     const struct palme_attend *shape, int tile)
{
    attend_tile(a, rows, k, v, shape, tile, PALME_HEAD);
}

static __attribute__((noinline)) void attend_tile_any(struct attending *a, int rows, const float *k, const float *v,
                                                      const struct palme_attend *shape, int tile)
{
    attend_tile(a, rows, k, v, shape, tile, shape->width);
}

/* What is too large for the stack. */
_Static_assert(PALME_ATTEND_ROWS *(sizeof(struct attended) + (PALME_HEAD + KEY_TILE) * sizeof(float)) +
                       (GROUPS * QUERY + 2 * KEY_TILE) * PALME_HEAD * sizeof(float) <=
                   PALME_ATTEND_WORKSPACE(PALME_HEAD),
               "the workspace of attention is too small");

/* The queries of a group, turned over; queries[padded][QUERY]. Of rows that there are not they are the last one's. */
static void turn_queries(float *queries, const float *q, ptrdiff_t stride, int rows, int width)
{
    for (int r = 0; r < QUERY; r += VF) {
        const float *query[VF];

        for (int i = 0; i < VF; i++)
            query[i] = q + (r + i < rows ? r + i : rows - 1) * stride;
        for (int d = 0; d < padded(width); d += VF) {
            vf column[VF];

            turn(column, query, d, width);
            for (int i = 0; i < VF; i++)
                vf_store_n(queries + (d + i) * QUERY + r, column[i], QUERY < VF ? QUERY : VF);
        }
    }
}

static void row_begin(struct attended *row, const float *q, const struct palme_attend *shape, int position)
{
    int width = shape->width, last = position < shape->visible ? shape->visible : position + 1;

    row->query = q;
    row->position = position;
    row->end = last < shape->keys ? last : shape->keys;
    row->top = -INFINITY;
    for (int p = 0; p < LANE_VECTORS; p++)
        row->total[p] = vf_set(0);
    for (int d = 0; d < padded(width) / VF; d++)
        row->sum[d] = vf_set(0);
}

static void row_end(float *out, const struct attended *row, int width)
{
    float all = vf_sum_lanes(row->total);
    vf factor = vf_set(all > 0 ? 1 / all : 0);

    for (int d = 0; d < width; d += VF)
        vf_store_n(out + d, vf_mul(row->sum[d / VF], factor), vf_left(width, d));
}

/* Rows first..first+rows-1 over all of their keys. */
static void attend_rows(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape,
                        int first, int rows)
{
    const int width = shape->width, groups = (rows + GROUP - 1) / GROUP;
    struct attending a = { .weights = shape->workspace };
    int end = 0;

    a.tile.turned = a.weights + groups * GROUP * KEY_TILE;
    a.tile.values = a.tile.turned + padded(width) * KEY_TILE;
    a.queries = a.tile.values + (padded(width) + BLOCK - 1) / BLOCK * BLOCK * KEY_TILE;
    a.row = (struct attended *)(void *)(a.queries + groups * padded(width) * QUERY);
    for (int r = 0; r < groups * GROUP; r++) { /* a group's rows that there are not go along with the last one */
        int at = first + (r < rows ? r : rows - 1);
        struct attended *row = row_at(a.row, r, width);

        row_begin(row, q + at * shape->q_stride, shape, shape->first + at);
        end = row->end > end ? row->end : end;
    }
    if (rows >= GROUP || width % EIGHT != 0)
        for (int g = 0; g < groups; g++)
            turn_queries(a.queries + g * padded(width) * QUERY, q + (first + g * GROUP) * shape->q_stride,
                         shape->q_stride, rows - g * GROUP, width);
    for (int tile = 0; tile < end; tile += KEY_TILE) {
        const float *key = k + tile * shape->k_stride, *value = v + tile * shape->v_stride;

        if (width == PALME_HEAD)
            attend_tile_64(&a, rows, key, value, shape, tile);
        else
            attend_tile_any(&a, rows, key, value, shape, tile);
    }
    for (int r = 0; r < rows; r++)
        row_end(out + (first + r) * shape->out_stride, row_at(a.row, r, width), width);
}

static void attend(float *out, const float *q, const float *k, const float *v, const struct palme_attend *shape)
{
    for (int first = 0; first < shape->rows; first += PALME_ATTEND_ROWS)
        attend_rows(out, q, k, v, shape, first,
                    shape->rows - first < PALME_ATTEND_ROWS ? shape->rows - first : PALME_ATTEND_ROWS);
}

void VEC_NAME(palme_attend_init)(struct palme_kernels *kernels);

void VEC_NAME(palme_attend_init)(struct palme_kernels *kernels)
{
    kernels->attend = attend;
}
