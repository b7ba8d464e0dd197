#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# closed_captions.sh - CEA-608 in H.264 in MPEG-TS, read back by FFmpeg, word by word and in time.
#
#     closed_captions.sh      meson sets the environment
set -u
photos=$(cd "$(dirname "$0")/../../examples/photos" && pwd)
for tool in gst-launch-1.0 ffmpeg timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
for element in subparse cccombiner ccconverter x264enc h264parse mpegtsmux jpegdec imagefreeze; do
    gst-inspect-1.0 --exists $element || { echo "no GStreamer element $element here: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
cat >text.srt <<'END'
1
00:00:03,000 --> 00:00:06,000
a man in an orange shirt is riding an elephant through the water of a river

2
00:00:06,000 --> 00:00:09,500
Élan “naïve” café ♪♪ {x} ~ 🐘 象象

3
00:00:12,000 --> 00:00:14,000
two dogs

END
passed=0
failed=0
check() { # NAME WANTED GOT
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
        printf 'wanted:\n%s\ngot:\n%s\n' "$2" "$3"
    fi
}
record='cccombiner name=cc ! x264enc speed-preset=ultrafast key-int-max=30 ! h264parse ! mpegtsmux ! filesink location=out.ts'
# Into a stream: the decoded captions, a line each: begin in ms, end in ms, words.
decoded() {
    ffmpeg -v error -y -f lavfi -i 'movie=out.ts[out+subcc]' -map 0:s out.srt </dev/null || return 1
    awk 'function ms(t) { split(t, p, /[:,]/); return ((p[1] * 60 + p[2]) * 60 + p[3]) * 1000 + p[4] }
        { sub(/\r$/, "") }
        / --> / { if (line) print line; line = ms($1) " " ms($3); next }
        /^[0-9]+$/ || /^$/ { next }
        { gsub(/<[^>]*>|\{\\an[0-9]\}/, ""); gsub(/\\h/, " "); line = line " " $0 }
        END { if (line) print line }' out.srt | tr -s ' ' | sed 's/ $//'
}
run() { # RATE OPTIONS...
    rate=$1
    # Above 30 frames a second every second one carries a pair of the first field.
    case $rate in 60/1) pairs=30/1 ;; *) pairs=$rate ;; esac
    shift
    rm -f out.ts
    timeout -k 5 120 gst-launch-1.0 -q videotestsrc num-buffers=$((15 * ${rate%/*} / ${rate#*/})) ! \
        video/x-raw,width=160,height=120,framerate=$rate ! $record \
        filesrc location=text.srt ! subparse ! text/x-raw,format=utf8 ! queue ! palmecea608 "$@" ! \
        closedcaption/x-cea-608,framerate=$pairs ! ccconverter ! closedcaption/x-cea-708,format=cc_data ! cc.caption \
        >log 2>&1 || { cat log; echo "failed"; }
}
# Begin and end of each within a frame, at several rates.
for rate in 24000/1001 25/1 30000/1001 60/1; do
    run $rate
    frame=$((1000 * ${rate#*/} / ${rate%/*} + 1))
    decoded | awk -v frame=$frame '
        function near(a, b) { return a - b <= frame && b - a <= frame }
        NR == 1 { ok = near($1, 3000) && near($2, 6000) }
        NR == 2 { ok = near($1, 6000) && near($2, 9500) }
        NR == 3 { ok = near($1, 12000) && near($2, 14000) }
        { print (ok ? "in time" : $1 " " $2), substr($0, index($0, $3)) }' >got
    check "pop-on at $rate" "in time a man in an orange shirt is riding an elephant through the water of a river
in time Élan “naïve” café ♪♪ {x} ~ ? ?
in time two dogs" "$(cat got)"
done
# Roll-up: each line comes in below the others; the last of each caption is whole in the end.
run 30/1 mode=roll-up rows=2
check "roll-up" "a man in an orange shirt is
a man in an orange shirt is riding an elephant through the
riding an elephant through the water of a river
water of a river Élan “naïve” café ♪♪ {x} ~ ? ?
two dogs" "$(decoded | cut -d ' ' -f 3-)"

# From the captioner itself: what its messages say is what the file shows.
rm -f out.ts
timeout -k 5 120 gst-launch-1.0 -m filesrc location="$photos/dog.jpg" ! jpegdec ! videoconvert ! imagefreeze num-buffers=360 ! \
    video/x-raw,framerate=30/1 ! palmecaption name=p mode=sync when-unsure=caption ! videoscale ! video/x-raw,width=160,height=120 ! \
    queue max-size-time=4000000000 max-size-buffers=0 max-size-bytes=0 ! \
    $record p.text ! queue ! palmecea608 latency=2000000000 ! closedcaption/x-cea-608,framerate=30/1 ! ccconverter ! \
    closedcaption/x-cea-708,format=cc_data ! cc.caption >log 2>&1 || { tail -n 20 log; echo "failed"; }
words=$(sed -nE 's/.*\(element\): palmecaption, .*text=\(string\)"?([^",;]*).*/\1/p' log | tr -d '\\' | head -n 1)
check "the captioner's words" "$words" "$(decoded | cut -d ' ' -f 3- | head -n 1)"
[ -n "$words" ] || { failed=$((failed + 1)); echo "FAILED: no message with words"; }
check "one caption of a still picture" 1 "$(decoded | wc -l)"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
