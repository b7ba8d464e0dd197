# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes engine/unicode.c: the ranges of \\p{L}, \\p{N} and \\s.

    python models/make_unicode.py [--check]

The classes are those of the regular expressions in the `tokenizers` library, asked one by one, because
the engine must split words where that library does, whatever version of Unicode it was built with.
--check writes nothing and fails if the file differs from what would be written.
"""
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, pre_tokenizers

TARGET = pathlib.Path(__file__).resolve().parent.parent / "engine" / "unicode.c"
CLASSES = [("LETTER", r"\p{L}", "L"), ("NUMBER", r"\p{N}", "N"), ("SPACE", r"\s", None)]

HEAD = """/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * unicode.c - classes of characters. Written by models/make_unicode.py from the regular expressions
 * of tokenizers %s; change the script, not this file.
 */
#include "unicode.h"

#include <stddef.h>

struct range {
    uint32_t first;
    uint16_t more; /* code points after the first */
    uint16_t class;
};

enum { L = PALME_CHAR_LETTER, N = PALME_CHAR_NUMBER, S = PALME_CHAR_SPACE };

/* In order, without overlap; what is in no range is PALME_CHAR_OTHER. */
static const struct range ranges[] = {
"""

TAIL = """};

enum palme_char_class palme_char_class(uint32_t code_point)
{
    size_t low = 0, high = sizeof ranges / sizeof ranges[0];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct range *r = &ranges[middle];
        if (code_point < r->first)
            high = middle;
        else if (code_point - r->first > r->more)
            low = middle + 1;
        else
            return (enum palme_char_class)r->class;
    }
    return PALME_CHAR_OTHER;
}
"""


def members(pattern):
    """The set of code points that the library's regular expression matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for i in range(0, len(points), 4096):
        part = points[i:i + 4096]
        rest = set()
        for piece, _ in split.pre_tokenize_str("".join(map(chr, part))):
            rest.update(map(ord, piece))
        found.update(set(part) - rest)
    return found


def main():
    letter_of, newer = {}, 0
    for name, pattern, category in CLASSES:
        for point in members(pattern):
            if point in letter_of:
                sys.exit(f"U+{point:04X} is in two classes")
            letter_of[point] = name[0]
            known = unicodedata.category(chr(point))
            if category and known[0] != category:
                if known != "Cn":
                    sys.exit(f"U+{point:04X} is {known} in Python, {name} in tokenizers")
                newer += 1
    ranges = []
    for point in sorted(letter_of):
        c = letter_of[point]
        last = ranges[-1] if ranges else None
        if last and last[2] == c and last[0] + last[1] + 1 == point and last[1] < 65535:
            last[1] += 1
        else:
            ranges.append([point, 0, c])
    lines, line = [], "   "
    for first, more, c in ranges:
        item = f" {{0x{first:X}, {more}, {c}}},"
        if len(line) + len(item) > 100:
            lines.append(line)
            line = "   "
        line += item
    text = HEAD % tokenizers.__version__ + "\n".join(lines + [line]) + "\n" + TAIL
    print(f"{len(ranges)} ranges, {len(letter_of)} code points, {newer} of them newer than "
          f"Unicode {unicodedata.unidata_version}")
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") != text:
            sys.exit(f"{TARGET.name} differs")
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
