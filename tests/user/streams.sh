#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# streams.sh - mistakes on the command lines of examples/streams, and sources that fail: what is said, and what is kept.
#
#     streams.sh PROGRAM...      meson sets the environment: the plugin with the stand-in engine
set -u
support=$(cd "$(dirname "$0")/../support" && pwd)
for tool in gst-launch-1.0 timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
for program in "$@"; do
    eval "$(basename "$program" | tr - _)=\$(realpath \"\$program\")"
done
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2
. "$support/checks.sh"
shown="out err"
refused() { # PATTERN OF THE REASON, then the command
    pattern=$1
    shift
    timeout -k 5 120 "$@" >out 2>err
    status=$?
    check "$* fails" $status = 1 -o $status = 2
    check "$* says why" "$(grep -c -- "$pattern" err)" = 1
}
: >none
printf 'standin\ntext=the picture is {luma}\n' >model

for program in ${rtsp_server:-} ${webrtc:-} ${mqtt:-}; do
    refused 'port has to be from . to 65535, not 99999' "$program" --port 99999
    refused 'port has to be from . to 65535, not -1' "$program" --port=-1
    refused 'one source is what it takes, not second' "$program" --port 1 videotestsrc second
    refused 'missing: there is no such file' "$program" missing
done
if [ -n "${mqtt:-}" ]; then
    refused 'ca missing.pem: No such file' "$mqtt" --ca missing.pem
fi

if [ -n "${rtsp_server:-}" ]; then
    "$rtsp_server" --codec vp8 --port 0 --caption "model=$work/model" 'videotestsrc ! identity error-after=3' >out 2>err &
    server=$!
    wait_until grep -q ^rtsp:// out
    timeout -k 5 120 gst-launch-1.0 -q rtspsrc location="$(grep ^rtsp:// out)" protocols=tcp ! fakesink >client 2>&1
    wait_until grep -q 'rtsp-server: .*Failed after iterations' err
    check "a source that fails is told" $? = 0
    check "the server goes on" "$(kill -0 $server && echo on)" = on
    kill $server
    wait $server
    check "and ends well" $? = 0
    server=
fi

if [ -n "${audio_description:-}" ] && command -v espeak-ng >/dev/null; then
    gst-launch-1.0 -q videotestsrc num-buffers=20 ! video/x-raw,width=64,height=64,framerate=10/1 ! vp8enc deadline=1 ! \
        matroskamux ! filesink location=film.mkv
    cp film.mkv copy.mkv
    ln film.mkv link.mkv
    for output in film.mkv link.mkv ./film.mkv; do
        refused 'is the film itself' "$audio_description" --caption "model=$work/model" film.mkv $output
    done
    check "the film is what it was" "$(cmp film.mkv copy.mkv && echo same)" = same
    echo older >older.mkv
    refused 'no voice\|voice nosuch' "$audio_description" --caption "model=$work/model" --voice nosuch film.mkv older.mkv
    check "what stood there stays" "$(cat older.mkv)" = older
    for n in 0 -5 1000; do
        refused 'words-per-minute has to be from 80 to 450' "$audio_description" --words-per-minute=$n film.mkv o.mkv
    done
    gst-launch-1.0 -q videotestsrc num-buffers=1 ! pngenc ! filesink location=photo.png
    refused 'photo.png has no video' "$audio_description" photo.png o.mkv
    refused 'none: ' "$audio_description" none o.mkv
    refused 'not a folder\|nowhere/o.mkv' "$audio_description" --caption "model=$work/model" film.mkv nowhere/o.mkv
    check "nothing is left of failed runs" "$(ls | grep -c 'part$')" = 0
    printf 'standin\ntext=\n' >silence
    timeout 120 "$audio_description" --caption "model=$work/silence" film.mkv described.mkv >out 2>err
    check "a model that says nothing" $? = 0
    check "is told" "$(grep -c 'never sure enough' err)" = 1
fi
echo "$passed checks passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 1 ]
