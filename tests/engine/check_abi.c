/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_abi.c - prints what programs have compiled in of palme.h: sizes and places of members, values of
 * enumerations and limits. abi.sh compares it with tests/data/abi. Members in reserve are not printed, since
 * new ones take their place; the program fails where a struct has a gap, which a member that is missing here
 * would leave.
 */
#include <stdio.h>
#include <string.h>

#include "palme.h"

static size_t end;
static int failed;

static void begin(const char *name, size_t size)
{
    printf("struct %s size %zu\n", name, size);
    end = 0;
}

static void member(const char *of, const char *name, size_t offset, size_t size)
{
    /* Padding in front of a member is smaller than the member, as far as none is larger than 8 bytes. */
    if (offset < end || offset - end >= (size < 8 ? size : 8)) {
        fprintf(stderr, "check_abi.c: struct %s has an unknown member before %s\n", of, name);
        failed = 1;
    }
    end = offset + size;
    if (strcmp(name, "reserved") != 0)
        printf("struct %s member %s at %zu size %zu\n", of, name, offset, size);
}

static void finish(const char *of, size_t size)
{
    if (end != size) {
        fprintf(stderr, "check_abi.c: struct %s has an unknown member at its end\n", of);
        failed = 1;
    }
}

#define STRUCT(s) begin(#s, sizeof(struct s))
#define MEMBER(s, m) member(#s, #m, offsetof(struct s, m), sizeof((struct s *)0)->m)
#define FINISH(s) finish(#s, sizeof(struct s))
#define VALUE(v) printf("value %s %d\n", #v, (int)(v))

static void structs(void)
{
    STRUCT(palme_setup);
    MEMBER(palme_setup, threads);
    MEMBER(palme_setup, verify);
    MEMBER(palme_setup, level);
    MEMBER(palme_setup, precision);
    MEMBER(palme_setup, log);
    MEMBER(palme_setup, log_user);
    MEMBER(palme_setup, reserved);
    FINISH(palme_setup);

    STRUCT(palme_info);
    MEMBER(palme_info, name);
    MEMBER(palme_info, language);
    MEMBER(palme_info, card);
    MEMBER(palme_info, default_prompt);
    MEMBER(palme_info, stem);
    MEMBER(palme_info, level);
    MEMBER(palme_info, precision);
    MEMBER(palme_info, image_size);
    MEMBER(palme_info, patch_size);
    MEMBER(palme_info, resize);
    MEMBER(palme_info, vocabulary);
    MEMBER(palme_info, max_context);
    MEMBER(palme_info, beams);
    MEMBER(palme_info, threads);
    MEMBER(palme_info, has_min_score);
    MEMBER(palme_info, min_score);
    MEMBER(palme_info, parameters);
    MEMBER(palme_info, bytes);
    MEMBER(palme_info, filter);
    MEMBER(palme_info, resize_side);
    MEMBER(palme_info, labels);
    MEMBER(palme_info, most_labels);
    MEMBER(palme_info, label_weight);
    MEMBER(palme_info, reserved);
    FINISH(palme_info);

    STRUCT(palme_source);
    MEMBER(palme_source, size);
    MEMBER(palme_source, read_at);
    MEMBER(palme_source, user);
    MEMBER(palme_source, reserved);
    FINISH(palme_source);

    STRUCT(palme_image);
    MEMBER(palme_image, format);
    MEMBER(palme_image, width);
    MEMBER(palme_image, height);
    MEMBER(palme_image, planes);
    MEMBER(palme_image, strides);
    MEMBER(palme_image, matrix);
    MEMBER(palme_image, range);
    MEMBER(palme_image, premultiplied);
    MEMBER(palme_image, row);
    MEMBER(palme_image, row_user);
    MEMBER(palme_image, reserved);
    FINISH(palme_image);

    STRUCT(palme_options);
    MEMBER(palme_options, max_length);
    MEMBER(palme_options, beams);
    MEMBER(palme_options, temperature);
    MEMBER(palme_options, top_k);
    MEMBER(palme_options, top_p);
    MEMBER(palme_options, seed);
    MEMBER(palme_options, length_penalty);
    MEMBER(palme_options, no_repeat_ngram);
    MEMBER(palme_options, min_length);
    MEMBER(palme_options, no_draft);
    MEMBER(palme_options, cancel);
    MEMBER(palme_options, cancel_user);
    MEMBER(palme_options, log);
    MEMBER(palme_options, log_user);
    MEMBER(palme_options, label_weight);
    MEMBER(palme_options, no_labels);
    MEMBER(palme_options, blocklist);
    MEMBER(palme_options, reserved);
    FINISH(palme_options);

    STRUCT(palme_label);
    MEMBER(palme_label, name);
    MEMBER(palme_label, phrase);
    MEMBER(palme_label, probability);
    MEMBER(palme_label, reserved);
    FINISH(palme_label);
}

static void values(void)
{
    VALUE(PALME_MAX_BATCH);
    VALUE(PALME_MAX_BEAMS);
    VALUE(PALME_MAX_PROMPT_BYTES);
    VALUE(PALME_MAX_LABELS);
    VALUE(PALME_MAX_BLOCKED_BYTES);
    VALUE(PALME_MAX_SIDE);
    VALUE(PALME_MAX_SQUARE);
    VALUE(PALME_ROWS_HELD);
    VALUE(PALME_OK);
    VALUE(PALME_END);
    VALUE(PALME_ERROR_ARGUMENT);
    VALUE(PALME_ERROR_NOT_FOUND);
    VALUE(PALME_ERROR_OPEN);
    VALUE(PALME_ERROR_READ);
    VALUE(PALME_ERROR_KIND);
    VALUE(PALME_ERROR_FORMAT);
    VALUE(PALME_ERROR_VERSION);
    VALUE(PALME_ERROR_MEMORY);
    VALUE(PALME_ERROR_CONTEXT);
    VALUE(PALME_ERROR_CANCELLED);
    VALUE(PALME_ERROR_TEXT);
    VALUE(PALME_LOG_ERROR);
    VALUE(PALME_LOG_WARNING);
    VALUE(PALME_LOG_INFO);
    VALUE(PALME_RESIZE_SQUASH);
    VALUE(PALME_RESIZE_CROP);
    VALUE(PALME_FILTER_TRIANGLE);
    VALUE(PALME_FILTER_BILINEAR);
    VALUE(PALME_FILTER_BICUBIC);
    VALUE(PALME_FORMAT_RGB);
    VALUE(PALME_FORMAT_RGBX);
    VALUE(PALME_FORMAT_BGRX);
    VALUE(PALME_FORMAT_XRGB);
    VALUE(PALME_FORMAT_XBGR);
    VALUE(PALME_FORMAT_BGR);
    VALUE(PALME_FORMAT_GRAY8);
    VALUE(PALME_FORMAT_I420);
    VALUE(PALME_FORMAT_NV12);
    VALUE(PALME_FORMAT_YUY2);
    VALUE(PALME_FORMAT_RGBA);
    VALUE(PALME_FORMAT_BGRA);
    VALUE(PALME_FORMAT_ARGB);
    VALUE(PALME_FORMAT_ABGR);
    VALUE(PALME_MATRIX_BT601);
    VALUE(PALME_MATRIX_BT709);
    VALUE(PALME_MATRIX_BT2020);
    VALUE(PALME_RANGE_LIMITED);
    VALUE(PALME_RANGE_FULL);
}

int main(void)
{
    structs();
    values();
    return failed;
}
