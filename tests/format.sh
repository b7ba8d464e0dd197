#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# format.sh - is the C formatted as .clang-format says? Names the files that are not; `sh tests/format.sh -i` formats them.
#
# Versions of clang-format differ in details, so the version counts: 14, Debian 12's. CLANG_FORMAT names the program.
# gst-palme/ and the tests that go with it follow GStreamer's style, which gst-indent writes and this tool cannot.
set -u
cd "$(dirname "$0")/.." || exit 2
format=${CLANG_FORMAT:-clang-format}
case $("$format" --version 2>/dev/null) in
*' version 14.'*) ;;
*) echo "format.sh: skipped, $format is not clang-format 14"; exit 77 ;;
esac
# Tables that a script writes keep its layout.
files=$(git ls-files 'engine/*.[ch]' 'tools/*.[ch]' 'examples/*.[ch]' 'tests/*.[ch]' |
    grep -vE '^tests/(element/|support/(captionhost|texthost|pipelines))|^engine/base/unicode\.c$')
[ "${1:-}" = -i ] && exec "$format" -i $files
"$format" --dry-run -Werror $files 2>&1 | sed -nE 's/^([^:]+):[0-9]+:.*/\1: is not formatted/p' | sort -u >"${TMPDIR:-/tmp}/format.$$"
bad=$(cat "${TMPDIR:-/tmp}/format.$$")
rm -f "${TMPDIR:-/tmp}/format.$$"
long=$(awk 'length($0) > 120 { print FILENAME ":" FNR ": longer than 120 columns" }' $files)
[ -z "$bad$long" ] && exit 0
printf '%s\n' "$bad" "$long" | sed '/^$/d'
exit 1
