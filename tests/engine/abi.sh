#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# abi.sh - the library's interface only grows: whatever a program compiled for an older library of this soversion
# relies on is still there, at its place.
#
#     sh tests/engine/abi.sh CHECK_ABI LIBPALME.so [CC]
#
# tests/data/abi/SONAME.txt has a line for each function with its declaration, for each member of a struct, and for each
# constant. A line that is missing now is a broken interface: it takes a new soversion. A line that is new belongs into that file:
#     sh tests/engine/abi.sh --print CHECK_ABI LIBPALME.so > tests/data/abi/SONAME.txt
set -u
LC_ALL=C
export LC_ALL
print=
[ "$1" = --print ] && print=1 && shift
check=$(realpath "$1") library=$(realpath "$2") cc=${3:-cc}
header=$(cd "$(dirname "$0")/../.." && find engine -name palme.h | head -n 1)
cd "$(dirname "$0")/../.." || exit 2
if [ "$(getconf LONG_BIT)" != 64 ]; then
    echo "abi: skipped, the recorded sizes are those of 64 bits"
    exit 77
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# Declarations without comments, one a line; what belongs to the C library comes before the first line of ours.
printf '#include <stddef.h>\n#include <stdint.h>\n#define PALME_API palme_api\n' >"$work/probe.c"
sed '/^#if defined(__GNUC__)/,/^#endif/d; s/^#include.*//' "$header" >>"$work/probe.c"
$cc -E -P "$work/probe.c" | tr '\n' ' ' | sed 's/;/;\n/g; s/  */ /g' >"$work/flat" || exit 2
"$check" >"$work/values" || exit 1
{
    cat "$work/values"
    sed -n 's/^ *palme_api /function /p' "$work/flat"
    sed -n 's/^ *typedef \(.*palme_[a-z]*_fn.*\)/type \1/p' "$work/flat"
    nm -D --defined-only "$library" | awk '$3 ~ /^palme_/ { print "symbol " $3 }'
} | sort >"$work/now"
[ -n "$print" ] && cat "$work/now" && exit 0

bad=0
# Each function and each constant of the header is in the list, so that none is forgotten in check_abi.c.
for name in $(sed 's|/\*.*||' "$header" | grep -oE '\bPALME_[A-Z0-9_]+' | sort -u); do
    case $name in PALME_H | PALME_API | *_) continue ;; esac
    grep -q "value $name " "$work/now" || { echo "tests/engine/check_abi.c does not print $name" && bad=1; }
done
for name in $(sed -n 's/^struct \(palme_[a-z]*\) {.*/\1/p' "$header"); do
    grep -q "struct $name size" "$work/now" || { echo "tests/engine/check_abi.c does not print struct $name" && bad=1; }
done
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
record=tests/data/abi/$soname.txt
[ -e "$record" ] || { echo "$record is missing" && exit 1; }
sort "$record" >"$work/then"
comm -23 "$work/then" "$work/now" >"$work/gone"
comm -13 "$work/then" "$work/now" >"$work/new"
if [ -s "$work/gone" ]; then
    echo "broken: programs that were compiled for $soname rely on"
    sed 's/^/    /' "$work/gone"
    bad=1
fi
if [ -s "$work/new" ]; then
    echo "new and not yet in $record:"
    sed 's/^/    /' "$work/new"
    bad=1
fi
exit $bad
