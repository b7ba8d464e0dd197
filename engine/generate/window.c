/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * window.c - which rows of the decoder a session has at hand. A pass may give more rows than the next choice
 * needs (those of the draft), and logits are computed for a few rows at a time.
 */
#include "generate/session.h"

#include "base/util.h"

void palme_window_rows(struct palme_window *window, int count)
{
    window->rows_run = count;
    window->row = window->first = window->logits_count = 0;
}

int palme_window_wanted(const struct palme_window *window)
{
    if (window->row < window->first + window->logits_count)
        return 0;
    return min_int(window->rows_run - window->row, window->logits_capacity);
}

void palme_window_logits(struct palme_window *window, int count)
{
    window->first = window->row;
    window->logits_count = count;
}

void palme_window_next(struct palme_window *window)
{
    window->row++;
}

int palme_window_cut(struct palme_window *window)
{
    int behind = window->rows_run - 1 - window->row;

    window->rows_run -= behind;
    return behind;
}
