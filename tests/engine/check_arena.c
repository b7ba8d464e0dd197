/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_arena.c - the arena, and that a model's scratch is enough for pictures of every shape that the model takes.
 */
#include "support/arenahost.h"
#include "support/check.h"
#include "support/model_builder.h"

#include <stdint.h>

static void check_parts(void)
{
    struct palme_arena arena = { 0 };

    CHECK(!palme_arena_take(&arena, 3, 5) && !arena.overflow);
    CHECK_INT(arena.used, 64);
    CHECK(!palme_arena_take(&arena, 0, 8));
    CHECK_INT(arena.used, 64);
    palme_arena_take(&arena, 65, 1);
    CHECK_INT(arena.used, 192);
    palme_arena_rewind(&arena, 64);
    palme_arena_take(&arena, 1, 1);
    CHECK_INT(arena.used, 128);
    CHECK_INT(arena.most, 192);
    palme_arena_forward(&arena, 192);
    palme_arena_forward(&arena, 64);
    CHECK_INT(arena.used, 192);

    unsigned char *memory = aligned_alloc(64, arena.most);
    arena = palme_arena_over(memory, arena.most);
    CHECK(palme_arena_take(&arena, 3, 5) == memory);
    struct palme_arena rest = arena; /* the same memory, another cursor */
    CHECK(palme_arena_take(&arena, 2, 64) == memory + 64 && !arena.overflow);
    CHECK(palme_arena_take(&rest, 1, 1) == memory + 64);
    CHECK(!palme_arena_take(&arena, 1, 1) && arena.overflow);
    CHECK_INT(arena.used, 192);
    free(memory);
}

/* Sizes that no size_t holds are refused while measuring, and nothing is counted for them. */
static void check_overflow(void)
{
    static const size_t sizes[][2] = {
        { SIZE_MAX, 2 }, { SIZE_MAX / 2, 3 }, { 1, SIZE_MAX }, { 1, SIZE_MAX - 62 }, { 1, SIZE_MAX - 127 }
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct palme_arena arena = { 0 };

        palme_arena_take(&arena, 100, 1);
        CHECK(!palme_arena_take(&arena, sizes[i][0], sizes[i][1]));
        CHECK_MESSAGE(arena.overflow && arena.used == 128, "%zu * %zu: used is %zu", sizes[i][0], sizes[i][1],
                      arena.used);
    }
}

/* The stem cuts its maps by their shape: a picture of one row of patches takes other buffers than a square one. */
static void check_shapes(void)
{
    static const char *const precisions[] = { "f32", "bf16", "int8" };
    struct builder *b = builder_new("{\"stem\":\"efficientnet_lite0\",\"image_size\":256,\"patch_size\":32}", 3);

    for (int p = 0; p < 3; p++) {
        for (int threads = 1; threads <= 5; threads += 2) {
            palme_model *model = builder_open(b, threads, precisions[p]);
            struct palme_arena whole = { 0 };
            size_t most = 0;

            palme_scratch_take(&whole, model, 64);
            for (int down = 1; down <= 64; down++) {
                struct palme_arena arena = { 0 };

                palme_encoder_reserve(&arena, model, down * 32, 64 / down * 32);
                CHECK_INT(arena.used, 0);
                most = arena.most > most ? arena.most : most;
            }
            CHECK_MESSAGE(whole.most >= most, "%s, %d threads: %zu bytes of scratch, a picture takes %zu",
                          precisions[p], threads, whole.most, most);
            palme_model_close(&model);
        }
    }
    builder_free(b);
}

int main(void)
{
    check_parts();
    check_overflow();
    check_shapes();
    return check_done();
}
