#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# examples.sh - the example programs do what their first lines say, and agree with each other.
#
#     examples.sh PALME-CAPTION ENGINE APP     meson sets the environment
set -u
palme_caption=$1 engine=$2 app=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
check() { # WORDS... : a test(1) expression, after a name
    name=$1
    shift
    if test "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $name: test $*"
    fi
}

# The same pixels as PPM and as PNG, which palme-caption reads without loss.
python3 - "$work" <<'END'
import struct, sys, zlib
w, h = 97, 61
pixels = [bytes((x * 255 // w, y * 255 // h, (x * y) % 256)) for y in range(h) for x in range(w)]
data = b"".join(pixels)
open(sys.argv[1] + "/p.ppm", "wb").write(b"P6\n# a comment\n%d %d\n255\n" % (w, h) + data)
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
rows = b"".join(b"\0" + data[3 * w * y:3 * w * (y + 1)] for y in range(h))
open(sys.argv[1] + "/p.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
open(sys.argv[1] + "/cut.ppm", "wb").write(b"P6 %d %d 255\n" % (w, h) + data[:1000])
END
said=$("$engine" "$PALME_MODEL" "$work/p.ppm")
check "engine says something" -n "$said"
check "engine and palme-caption agree" "$said" = "$("$palme_caption" --when-unsure caption --format text "$work/p.png")"
"$engine" "$PALME_MODEL" "$work/cut.ppm" 2>"$work/err"
check "a PPM that is cut short fails" $? = 1
"$engine" "$PALME_MODEL" "$work/p.png" 2>"$work/err"
check "a PNG is no PPM" $? = 1
"$engine" 2>"$work/err"
check "usage" $? = 1
"$engine" "$work/p.ppm" "$work/p.ppm" 2>"$work/err"
check "a PPM is no model" $? = 1
check "and the reason is said" -s "$work/err"

"$app" >"$work/app" 2>&1
check "app ends well" $? = 0
check "app shows messages" "$(grep -c '^bus at ' "$work/app")" -ge 3
check "app shows what buffers carry" "$(grep -c '^frame [0-9]* carries: .' "$work/app")" -ge 3
check "app counts frames" "$(tail -n 1 "$work/app")" = "40 frames passed"
check "both ways tell the same" \
    "$(sed -nE 's/^bus at [0-9.]+ s: //p' "$work/app" | sort)" = "$(sed -nE 's/^frame [0-9]+ carries: //p' "$work/app" | sort)"
"$app" "$work/none" >"$work/app" 2>&1
check "app fails without its file" $? = 1

[ "$(wc -l <"$(dirname "$0")/../../examples/engine.c")" -lt 80 ]
check "engine.c is short" $? = 0
echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 14 ]
