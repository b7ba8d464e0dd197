/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * driver.c - runs a fuzz target without libFuzzer: over each file of a corpus, and over copies of it that are changed
 * by a generator with a fixed seed, so that a run can be repeated. It is no search: -Dfuzz=true with clang is.
 *
 *     fuzz_model [--mutations N] [--seed N] [--failed FILE] FILE...
 *
 * The input that ends the program is in FILE then, ./failed-input if not said.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { MOST = 1 << 22 };

static uint64_t state = 1;
static const char *failed = "failed-input";
static uint8_t input[MOST];
static size_t length;

static uint32_t next_random(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static void leave_input(int signal_number)
{
    FILE *file = fopen(failed, "wb");

    if (file && fwrite(input, 1, length, file) == length && fclose(file) == 0)
        fprintf(stderr, "the input is in %s\n", failed);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* One change: a bit, a byte, a few bytes of a number, a piece that is cut out or moved, an end that is missing. Half of
 * them are near the begin, where headers are. */
static void change(void)
{
    size_t at = length ? next_random() % (next_random() % 2 ? length : length < 512 ? length : 512) : 0;
    size_t count = 1 + next_random() % 16;

    if (length < 2)
        return;
    if (at + count > length)
        count = length - at;
    switch (next_random() % 6) {
    case 0: input[at] ^= (uint8_t)(1u << next_random() % 8); break;
    case 1: input[at] = (uint8_t)next_random(); break;
    case 2: memset(input + at, next_random() % 2 ? 0xff : 0, count); break;
    case 3: input[at] = "0123456789-\"{}[],:.eE\\"[next_random() % 22]; break;
    case 4:
        memmove(input + at, input + at + count, length - at - count);
        length -= count;
        break;
    default: length = next_random() % 4 ? length : at; break;
    }
}

static int run_file(const char *name, long mutations)
{
    static uint8_t original[MOST];
    FILE *file = fopen(name, "rb");
    size_t size = file ? fread(original, 1, MOST, file) : 0;

    if (!file) {
        perror(name);
        return 0;
    }
    fclose(file);
    for (long i = 0; i <= mutations; i++) {
        memcpy(input, original, size);
        length = size;
        for (uint32_t n = i ? 1 + next_random() % 3 : 0; n > 0; n--)
            change();
        LLVMFuzzerTestOneInput(input, length);
    }
    return 1;
}

int main(int count, char **arguments)
{
    long mutations = 0, files = 0;
    int i = 1;

    for (; i + 1 < count && strncmp(arguments[i], "--", 2) == 0; i += 2) {
        if (strcmp(arguments[i], "--mutations") == 0)
            mutations = strtol(arguments[i + 1], NULL, 10);
        else if (strcmp(arguments[i], "--seed") == 0)
            state = strtoull(arguments[i + 1], NULL, 10);
        else
            failed = arguments[i + 1];
    }
    signal(SIGABRT, leave_input);
    signal(SIGSEGV, leave_input);
    signal(SIGFPE, leave_input);
    for (; i < count; i++) {
        if (!run_file(arguments[i], mutations))
            return 1;
        files++;
    }
    printf("%ld files, each with %ld mutations\n", files, mutations);
    return files == 0;
}
