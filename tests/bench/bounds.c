/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bounds.c - bounds by the roofline, and times.
 */
#include "bench/bounds.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROOF_TRIES = 8 };

void roof_look_up(struct roof *roof, double bytes, int threads, const char **level)
{
    const double whole = roofline_int8(threads, ROOF_TRIES);
    const double found[PALME_PRECISIONS] = { roofline_multiply(threads, ROOF_TRIES, level),
                                             roofline_bf16(threads, ROOF_TRIES), whole, whole };
    const double wider = roofline_int16(threads, ROOF_TRIES);
    double read = roofline_read((size_t)bytes, threads, ROOF_TRIES);

    for (int p = 0; p < PALME_PRECISIONS; p++)
        roof->ops[p] = found[p] > roof->ops[p] ? found[p] : roof->ops[p];
    roof->int16 = wider > roof->int16 ? wider : roof->int16;
    roof->bytes = read > roof->bytes ? read : roof->bytes;
}

void roof_print(const struct roof *roof, double bytes, const char *level)
{
    printf("%.1f GFLOP/s of multiply-adds (%s), %.1f in bf16, %.1f GOP/s in int8, %.1f GB/s from %.1f MB, "
           "%.1f GOP/s in int16\n",
           roof->ops[PALME_F32] / 1e9, level, roof->ops[PALME_BF16] / 1e9, roof->ops[PALME_INT8] / 1e9,
           roof->bytes / 1e9, bytes / 1e6, roof->int16 / 1e9);
}

double layer_bound(const struct roof *roof, double rows, const struct palme_linear *l)
{
    static const double bytes[PALME_PRECISIONS] = { 4, 2, 1,
                                                    PALME_INT4_UNIT_BYTES / (double)(PALME_INT4_UNIT * PALME_PANEL) };
    double weights = (double)l->in * l->out, read = weights * bytes[l->precision] / roof->bytes;
    double compute = 2 * rows * weights / roof->ops[l->precision];

    if (!l->w)
        return 0;
    return compute > read ? compute : read;
}

double attention_bound(const struct roof *roof, double rows, double keys, int inner, int rounded)
{
    return 4 * rows * keys * inner / (rounded ? roof->int16 : roof->ops[PALME_F32]);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct timing timing_of(void (*run)(void *user), void *user, int reps)
{
    double *seconds = calloc((size_t)reps, sizeof *seconds);
    struct timing timing = { 0, 0 };

    if (!seconds)
        return timing;
    run(user); /* warms up */
    for (int r = 0; r < reps; r++) {
        double since = roofline_now();

        run(user);
        seconds[r] = (roofline_now() - since) / 1e9;
    }
    qsort(seconds, (size_t)reps, sizeof *seconds, compare_doubles);
    timing.least = seconds[0];
    timing.median = (seconds[(reps - 1) / 2] + seconds[reps / 2]) / 2;
    free(seconds);
    return timing;
}

void print_machine(void)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256], name[256] = "an unnamed processor";

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name%*[^:]: %255[^\n]", name) == 1)
            break;
    if (file)
        fclose(file);
    printf("%s, %ld processors\n", name, sysconf(_SC_NPROCESSORS_ONLN));
}
