#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# element.sh inspect|leaks|log - the element seen from outside, with the stand-in: what gst-inspect-1.0
# says, what is left alive at the end, what the log tells. The environment comes from meson.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
checks=0

fail() {
    echo "$1" >&2
    [ ! -f "$dir/out" ] || cat "$dir/out" >&2
    exit 1
}

case "$1" in
inspect)
    # The first run fills the registry and may speak of other plugins.
    gst-inspect-1.0 palmecaption > /dev/null 2>&1 || fail 'there is no element palmecaption'
    G_DEBUG=fatal-warnings gst-inspect-1.0 palmecaption > "$dir/out" 2> "$dir/err" ||
        fail 'gst-inspect-1.0 fails'
    [ ! -s "$dir/err" ] || { cat "$dir/err" >&2; fail 'gst-inspect-1.0 warns'; }
    for word in Filter/Analyzer/Video 'none (0)' 'SINK template' 'SRC template' "'text'" 'On request' \
        'text/x-raw' LGPL new-caption caption-now max-observed-delay model-info bf16 int8 min-score \
        blocklist reload-model partial include-prompt scene-threshold cut-threshold max-rate caption-hold switch-margin \
        region-caption max-regions GstVideoRegionOfInterestMeta; do
        grep -q -- "$word" "$dir/out" || fail "gst-inspect-1.0 does not show: $word"
        checks=$((checks + 1))
    done
    ! grep -q share-model "$dir/out" || fail 'gst-inspect-1.0 shows what does not work yet: share-model'
    checks=$((checks + 1))
    ;;
leaks)
    printf 'standin\nlook_ms=20\n' > "$dir/model"
    printf 'standin\nfail_look=1\n' > "$dir/failing"
    run() {
        GST_TRACERS='leaks(check-refs=true)' GST_DEBUG='GST_TRACER:7' GST_DEBUG_NO_COLOR=1 \
            timeout 60 gst-launch-1.0 "$@" > "$dir/out" 2>&1 || fail "fails: $*"
        # The tracer tells the form of its records first: without that line it did not run.
        grep -q 'object-alive, type-name=(string)%s' "$dir/out" || fail 'the leaks tracer does not run'
        ! grep 'object-alive, type-name=(string)[^%]' "$dir/out" > "$dir/found" ||
            { cat "$dir/found" >&2; rm "$dir/out"; fail "leaks: $*"; }
        checks=$((checks + 1))
    }
    caps=video/x-raw,width=64,height=48,framerate=30/1
    run videotestsrc num-buffers=60 ! $caps ! palmecaption model="$dir/model" ! fakesink
    run videotestsrc num-buffers=60 ! $caps ! palmecaption mode=async interval=0 \
        model="$dir/model" ! fakesink
    run videotestsrc num-buffers=60 ! $caps ! palmecaption interval=0 model="$dir/failing" ! fakesink
    run videotestsrc num-buffers=60 ! $caps ! palmecaption interval=0 region=50%,0,50%,100% \
        model="$dir/model" ! fakesink
    run videotestsrc num-buffers=60 ! $caps ! tee name=t ! queue ! palmecaption name=c \
        model="$dir/model" ! fakesink t. ! queue ! fakesink c.text ! fakesink async=false
    run videotestsrc num-buffers=60 ! $caps ! palmecaption name=c model="$dir/model" \
        c.text ! fakesink async=false
    ;;
log)
    # Neither a prompt nor a file name is logged at WARNING or above; the error message has the name.
    printf 'standin\nmessage=%s is odd\nfail_look=2\n' "$dir/model" > "$dir/model"
    GST_DEBUG='*:2' GST_DEBUG_FILE="$dir/log" timeout 60 gst-launch-1.0 -q videotestsrc num-buffers=5 ! \
        palmecaption interval=0 prompt='secret words' model="$dir/model" ! fakesink > "$dir/out" 2>&1 ||
        fail 'the pipeline fails'
    ! GST_DEBUG='*:2' GST_DEBUG_FILE="$dir/log2" timeout 60 gst-launch-1.0 -q videotestsrc ! \
        palmecaption model="$dir/missing" ! fakesink > "$dir/out" 2>&1 || fail 'a missing model loads'
    grep -q "$dir/missing" "$dir/out" || fail 'the error does not name the file'
    ! cat "$dir/log" "$dir/log2" | grep -e "$dir/model" -e "$dir/missing" -e 'secret' > "$dir/found" ||
        { cat "$dir/found" >&2; fail 'the log tells'; }
    checks=2
    # At INFO the engine's sentence is there: the search above could have found it.
    GST_DEBUG='palmecaption:4' GST_DEBUG_FILE="$dir/log3" timeout 60 gst-launch-1.0 -q \
        videotestsrc num-buffers=1 ! palmecaption model="$dir/model" ! fakesink > "$dir/out" 2>&1
    grep -q "$dir/model is odd" "$dir/log3" || fail 'the log at INFO lacks what the engine says'
    checks=3
    ;;
*)
    fail "unknown part $1"
    ;;
esac
echo "$checks checks"
