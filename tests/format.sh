#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# format.sh - is the C formatted? Names the files that are not; `sh tests/format.sh -i` formats them.
#
# gst-palme/ and the tests that go with it follow GStreamer's style, as its gst-indent writes it with GNU indent; the
# rest follows .clang-format. Versions of both programs differ in details, so the versions count: those of Debian 12.
# CLANG_FORMAT and INDENT name the programs; files whose program is absent are left out, and that is said.
set -u
cd "$(dirname "$0")/.." || exit 2
clang_format=${CLANG_FORMAT:-clang-format}
indent=${INDENT:-indent}
# The options of GStreamer's gst-indent.
style='--braces-on-if-line --case-brace-indentation0 --case-indentation2 --braces-after-struct-decl-line --line-length80
  --no-tabs --cuddle-else --dont-line-up-parentheses --continuation-indentation4 --honour-newlines --tab-size8
  --indent-level2 --leave-preprocessor-space'
write=
[ "${1:-}" = -i ] && write=1
out=$(mktemp) bad=$(mktemp)
trap 'rm -f "$out" "$bad"' EXIT

# As GStreamer does it: headers are laid out by hand.
gst='^gst-palme/.*\.c$|^tests/(element/|support/(captionhost|texthost|pipelines)).*\.c$'
by_hand='^gst-palme/.*\.h$|^tests/support/(captionhost|texthost|pipelines)\.h$'
files=$(git ls-files '*.[ch]')
# Tables that a script writes keep its layout.
clang_files=$(echo "$files" | grep -vE "$gst|$by_hand|^engine/base/unicode\.c$")

left_out=
case $("$clang_format" --version 2>/dev/null) in
*' version 14.'*)
    if [ -n "$write" ]; then
        "$clang_format" -i $clang_files
    else
        "$clang_format" --dry-run -Werror $clang_files 2>&1 | sed -nE 's/^([^:]+):[0-9]+:.*/\1: is not formatted/p' |
            sort -u >>"$bad"
    fi
    ;;
*) left_out="$clang_format is not clang-format 14" ;;
esac
case $("$indent" --version 2>/dev/null) in
'GNU indent 2.2.12')
    for file in $(echo "$files" | grep -E "$gst"); do
        "$indent" $style "$file" -o "$out" 2>/dev/null || echo "$file: indent does not understand it" >>"$bad"
        cmp -s "$out" "$file" && continue
        if [ -n "$write" ]; then cat "$out" >"$file"; else echo "$file: is not formatted" >>"$bad"; fi
    done
    ;;
*) left_out="${left_out:+$left_out, and }$indent is not GNU indent 2.2.12" ;;
esac
[ -z "$write" ] || exit 0

awk 'length($0) > 120 { print FILENAME ":" FNR ": longer than 120 columns" }' $(echo "$files" |
    grep -v '^engine/base/unicode\.c$') >>"$bad"
if [ -s "$bad" ]; then
    cat "$bad"
    exit 1
fi
[ -z "$left_out" ] && exit 0
echo "format.sh: not all of it was checked: $left_out"
exit 77
