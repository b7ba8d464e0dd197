/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sample.c - from logits to a token: the largest one, or one drawn after temperature, top-k and top-p.
 *
 * Sums are in double: in single precision a running sum over a large vocabulary passes 1 too early. NaN
 * logits count as absent everywhere, so a damaged model still ends its sentences.
 */
#include "nn/model.h"

#include <math.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood 2014): 64 bits of state, every seed is good. */
static double random_next(struct palme_random *random) /* 0 <= x < 1 */
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static int better(const float *logits, int a, int b)
{
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* Moves ids[at] down until the heap over ids[0..n-1], best on top, is whole again. */
static void sift(int *ids, int n, int at, const float *logits)
{
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && better(logits, ids[child + 1], ids[child]))
            child++;
        if (!better(logits, ids[child], ids[at]))
            return;
        int id = ids[at];
        ids[at] = ids[child];
        ids[child] = id;
    }
}

int palme_filter(float *probabilities, int *kept, const float *logits, int n, double temperature, int top_k,
                 double top_p)
{
    int count = 0;

    for (int i = 0; i < n; i++) {
        probabilities[i] = 0;
        if (logits[i] > -INFINITY)
            kept[count++] = i;
    }
    if (!count)
        return 0;
    for (int at = count / 2; at-- > 0;)
        sift(kept, count, at, logits);

    double high = logits[kept[0]], all = 0, mass = 0;

    if (isinf(high)) { /* only infinite entries have any mass, and all the same */
        int most = 0;

        for (int i = 0; i < count; i++)
            if (logits[kept[i]] == INFINITY)
                kept[most++] = kept[i];
        for (int i = 0; i < most; i++)
            probabilities[kept[i]] = 1.0f / (float)most;
        return most;
    }

    /* The best ids go from the top of the heap to behind its shrinking end, which puts the best last. */
    int most = top_k > 0 && top_k < count ? top_k : count, keep = 0;

    for (int taken = 1; taken <= most; taken++) {
        int id = kept[0];

        kept[0] = kept[count - taken];
        kept[count - taken] = id;
        sift(kept, count - taken, 0, logits);
        all += exp((logits[id] - high) / temperature);
    }
    for (int i = 0; i < count / 2; i++) {
        int id = kept[i];

        kept[i] = kept[count - 1 - i];
        kept[count - 1 - i] = id;
    }
    while (keep < most && (top_p >= 1 || !keep || mass <= top_p * all))
        mass += exp((logits[kept[keep++]] - high) / temperature);
    for (int i = 0; i < keep; i++)
        probabilities[kept[i]] = (float)(exp((logits[kept[i]] - high) / temperature) / mass);
    return keep;
}

int palme_draw(const float *probabilities, const int *kept, int count, struct palme_random *random)
{
    double left = random_next(random);

    for (int i = 0; i + 1 < count; i++) {
        left -= probabilities[kept[i]];
        if (left < 0)
            return kept[i];
    }
    return kept[count - 1]; /* also what rounding leaves over */
}

void palme_forbid_repeats(float *logits, int vocabulary, const int *front, int front_length, const int *text,
                          int length, int ngram)
{
    int all = front_length + length;

    if (ngram <= 0)
        return;
    for (int i = 0; i + ngram <= all; i++) {
        int same = 1, token = 0;

        for (int k = 0; k < ngram && same; k++) {
            int tail = all - (ngram - 1) + k;

            token = i + k < front_length ? front[i + k] : text[i + k - front_length];
            if (k < ngram - 1)
                same = token == (tail < front_length ? front[tail] : text[tail - front_length]);
        }
        if (same && token >= 0 && token < vocabulary)
            logits[token] = -INFINITY;
    }
}
