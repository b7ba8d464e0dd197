#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# troubleshooting.sh - the commands of docs/troubleshooting.md that are marked "shows" print what the page says.
#
#     troubleshooting.sh PALME-CAPTION ENGINE APP     the arguments are not used; meson sets the environment
set -u
page=$(cd "$(dirname "$0")/../../docs" && pwd)/troubleshooting.md
for tool in gst-launch-1.0 timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
for element in jpegdec pngenc rtspsrc textoverlay v4l2src; do
    gst-inspect-1.0 --exists $element || { echo "no GStreamer element $element here: skipped"; exit 77; }
done
gst-inspect-1.0 palmecaption >/dev/null || { echo "palmecaption is not found"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# A block is two files: what it should show, and the command.
awk '/^```sh shows / { n++; inside = 1; sub(/^```sh shows /, ""); print > sprintf("%02d.shows", n); next }
    /^```$/ { inside = 0 } inside { print > sprintf("%02d.sh", n) }' "$page"

passed=0 failed=0
for block in [0-9][0-9].sh; do
    words=$(cat "${block%.sh}.shows")
    GST_DEBUG_NO_COLOR=1 timeout -k 5 120 sh "$block" >log 2>&1
    status=$?
    if [ $status != 124 ] && [ $status != 137 ] && grep -qF -e "$words" log; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: exit status $status, wanted the words: $words"
        sed 's/^/    /' "$block"
        tail -n 10 log | cut -c 1-300 | sed 's/^/    | /'
    fi
done
echo "$passed commands show what the page says, $failed do not"
[ "$failed" = 0 ] && [ "$passed" -ge 12 ]
