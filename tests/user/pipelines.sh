#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# pipelines.sh - runs each pipeline that examples/pipelines.md marks as tested, and looks for captions.
#
#     pipelines.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
#
# fakecamerasrc stands for the camera and fakesink for the screen. Each block runs in a folder of its own with
# a clip of six seconds in it, longer than any muxer or queue hides a stall.
set -u
palme_caption=$1
pages=$(cd "$(dirname "$0")/../../examples" && pwd)
for tool in gst-launch-1.0 timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
for element in vp8enc webmmux matroskamux webvttenc srtenc jpegenc jpegdec textoverlay; do
    gst-inspect-1.0 --exists $element || { echo "no GStreamer element $element here: skipped"; exit 77; }
done
gst-inspect-1.0 palmecaption >/dev/null || { echo "palmecaption is not found"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gst-launch-1.0 -q videotestsrc num-buffers=90 pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 ! \
    vp8enc deadline=1 ! webmmux ! filesink location="$work/clip.webm" || exit 1
mkdir "$work/bin"
ln -s "$(realpath "$palme_caption")" "$work/bin/palme-caption"
PATH=$work/bin:$PATH

# One file a block: the lines between "```sh tested" and "```".
awk -v out="$work/block" '/^```sh tested$/ { n++; inside = 1; next } /^```$/ { inside = 0 }
    inside { print > sprintf("%s%02d", out, n) }' "$pages/pipelines.md"

passed=0
failed=0
fail() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    sed 's/^/    /' "$block"
    tail -n 15 "$dir/log" | cut -c 1-300 | sed 's/^/    | /'
}
# The words of the caption messages, one a line.
captions() { sed -nE 's/.*\(element\): palmecaption, text=\(string\)"?([^",;]*).*/\1/p' "$dir/log" | tr -d '\\'; }

for block in "$work"/block??; do
    dir=$block.d
    mkdir "$dir"
    cp "$work/clip.webm" "$dir/"
    cp "$pages/photos/dog.jpg" "$dir/photo.jpg"
    # The clip and the camera are test pictures: the model doubts what it makes of them.
    sed -E -e 's/gst-launch-1\.0( -m)?/gst-launch-1.0 -m/' -e 's/palmecaption/palmecaption when-unsure=caption/' \
        -e 's/v4l2src ! image\/jpeg/fakecamerasrc num-buffers=120 ! jpegenc ! image\/jpeg/' \
        -e 's/v4l2src/fakecamerasrc num-buffers=120/' \
        -e 's/autovideosink/fakesink sync=true/' "$block" >"$block.sh"
    (cd "$dir" && timeout -k 5 120 sh "$block.sh") >"$dir/log" 2>&1
    status=$?
    if [ $status != 0 ]; then
        fail "exit status $status (124: it hung)"
        continue
    fi
    if grep -q palme-caption "$block"; then
        [ "$(grep -vc "^WARNING: Glycin " "$dir/log")" = 7 ] || { fail "a photo and six seconds make seven lines"; continue; }
    else
        [ -n "$(captions)" ] || { fail "no caption message"; continue; }
    fi
    # What was written holds the words that were said.
    words=$(captions | head -n 1)
    wrong=
    for file in "$dir"/*.vtt "$dir"/*.srt "$dir"/*.ttml "$dir"/*.mkv; do
        [ -e "$file" ] || continue
        grep -aqF -e "$words" "$file" || wrong="$wrong $(basename "$file") lacks \"$words\";"
    done
    for file in "$dir"/burnt.webm "$dir"/plain.webm; do
        [ -e "$file" ] || continue
        frames=$(gst-launch-1.0 -v filesrc location="$file" ! matroskademux ! vp8dec ! fakesink silent=false |
            grep -c 'chain  ')
        [ "$frames" -ge 90 ] || wrong="$wrong $(basename "$file") has $frames frames;"
    done
    [ -z "$wrong" ] || { fail "$wrong"; continue; }
    passed=$((passed + 1))
    echo "ok: $(head -n 1 "$block" | cut -c 1-100)"
done
echo "$passed pipelines ran, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 12 ]
