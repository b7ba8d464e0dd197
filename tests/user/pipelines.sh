#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# pipelines.sh - runs each pipeline that examples/pipelines.md and docs/latency.md mark as tested, and looks for captions.
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
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
gst-launch-1.0 -q videotestsrc num-buffers=90 pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 ! \
    vp8enc deadline=1 ! webmmux ! filesink location="$work/clip.webm" || exit 1
mkdir "$work/bin"
ln -s "$(realpath "$palme_caption")" "$work/bin/palme-caption"
PATH=$work/bin:$PATH

# One file a block: the lines between "```sh tested" and "```". Those "until stopped" have no end of their own.
awk -v out="$work/block" '/^```sh tested/ { n++; inside = 1; ends = !/ until stopped$/; next } /^```$/ { inside = 0 }
    inside { file = sprintf("%s%02d", out, n); print > file; if (!ends) print > (file ".endless") }' \
    "$pages/pipelines.md" "$pages/../docs/latency.md"

# What a block needs that is not installed everywhere; empty if it is all here.
missing() {
    for element in camerabin dvbsubenc flvmux h264parse playbin rtmp2sink textrender x264enc; do
        ! grep -qw $element "$block" || gst-inspect-1.0 --exists $element || echo $element
    done
    ! grep -q '^ges-launch-1.0' "$block" || command -v ges-launch-1.0 >/dev/null || echo ges-launch-1.0
    ! grep -q 'rtmp://' "$block" || command -v ffmpeg >/dev/null || echo ffmpeg
}

# An RTMP server: ffmpeg, which writes what it receives into DIR/received.flv. $server is its process, $address its own.
start_server() {
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    address=rtmp://127.0.0.1:$port/live/key
    ffmpeg -nostdin -v error -y -listen 1 -i "$address" -c copy "$dir/received.flv" 2>"$dir/server" &
    server=$!
    tries=0
    until grep -qi "0100007F:$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp; do
        sleep 0.1
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo "the RTMP server does not listen"; return 1; }
    done
}

# Ends by itself once the stream has ended.
stop_server() {
    (sleep 30; exec kill $server) 2>/dev/null &
    wait $server
    kill $! 2>/dev/null
    server=
}

# Runs what has no end until it has said three captions, then stops it as Ctrl-C does.
run_until_captions() {
    sed -i '1s/^/exec /' "$block.sh"
    # In the foreground, so that timeout does not pass a signal on twice: the second one would kill.
    (cd "$dir" && exec timeout --foreground -k 5 120 sh "$block.sh") >"$dir/log" 2>&1 &
    player=$!
    while kill -0 $player 2>/dev/null && [ "$(captions | wc -l)" -lt 3 ]; do sleep 0.2; done
    kill -INT $player 2>/dev/null # timeout passes it on
    wait $player
}

# The light pixels of a file's picture where the caption is, behind the words; the ball of the clip is higher up.
light_pixels() {
    ffmpeg -nostdin -v error -y -ss 0.2 -i "$1" -frames:v 1 -vf crop=iw:ih/5:0:ih*4/5,format=gray -f rawvideo - |
        od -An -v -tu1 -w1 | awk '$1 > 128 { n++ } END { print n + 0 }'
}

passed=0
failed=0
left_out=0
fail() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    sed 's/^/    /' "$block"
    tail -n 15 "$dir/log" | cut -c 1-300 | sed 's/^/    | /'
}
# The words of the caption messages, one a line. ges-launch-1.0 prints no messages.
captions() { sed -nE 's/.*\(element\): palmecaption, text=\(string\)"?([^",;]*).*/\1/p' "$dir/log" | tr -d '\\'; }

for block in "$work"/block??; do
    dir=$block.d
    mkdir "$dir"
    absent=$(missing)
    if [ -n "$absent" ]; then
        left_out=$((left_out + 1))
        echo "left out: $(head -n 1 "$block" | cut -c 1-80): no" $absent
        continue
    fi
    address=
    if grep -q 'rtmp://' "$block"; then start_server || { fail "no server"; continue; }; fi
    cp "$work/clip.webm" "$dir/"
    cp "$pages/photos/dog.jpg" "$dir/photo.jpg"
    # The clip and the camera are test pictures: the model doubts what it makes of them.
    sed -E -e 's/gst-launch-1\.0( -m)?/gst-launch-1.0 -m/' -e 's/palmecaption/palmecaption when-unsure=caption/' \
        -e 's/playbin uri/playbin video-sink="fakesink sync=true" audio-sink=fakesink uri/' \
        -e 's/video-source=v4l2src/video-source=fakecamerasrc/' -e "s|rtmp://SERVER/live/KEY|$address|" \
        -e 's/v4l2src ! image\/jpeg/fakecamerasrc num-buffers=120 ! jpegenc ! image\/jpeg/' \
        -e 's/v4l2src/fakecamerasrc num-buffers=120/' \
        -e 's/autovideosink/fakesink sync=true/' "$block" >"$block.sh"
    if [ -e "$block.endless" ]; then
        run_until_captions
    else
        (cd "$dir" && timeout -k 5 120 sh "$block.sh") >"$dir/log" 2>&1
    fi
    status=$?
    [ -z "$address" ] || stop_server
    if [ $status != 0 ]; then
        fail "exit status $status (124: it hung)"
        continue
    fi
    if grep -q palme-caption "$block"; then
        [ "$(grep -vc "^WARNING: Glycin " "$dir/log")" = 7 ] || { fail "a photo and six seconds make seven lines"; continue; }
    elif ! grep -q '^ges-launch' "$block"; then
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
    for file in "$dir"/edited.webm "$dir"/burnt.webm; do
        [ -e "$file" ] && command -v ffmpeg >/dev/null || continue
        [ "$(light_pixels "$file")" -gt 50 ] || wrong="$wrong $(basename "$file") has no words in the picture;"
    done
    [ -z "$address" ] || [ -s "$dir/received.flv" ] || wrong="$wrong the server received nothing;"
    for file in "$dir"/received.flv "$dir"/dvb.ts; do
        [ -e "$file" ] && command -v ffprobe >/dev/null || continue
        packets=$(ffprobe -v error -show_entries packet=stream_index,size -of csv=p=0 "$file" 2>&1)
        [ "$(echo "$packets" | grep -c '^0,')" -ge 90 ] || wrong="$wrong $(basename "$file") has few frames;"
        # A subtitle without a picture takes some 30 bytes.
        case $file in *.ts)
            [ "$(echo "$packets" | awk -F, '$1 == 1 && $2 > 500' | wc -l)" = 6 ] || wrong="$wrong dvb.ts lacks subtitles;" ;;
        esac
    done
    [ -z "$wrong" ] || { fail "$wrong"; continue; }
    passed=$((passed + 1))
    echo "ok: $(head -n 1 "$block" | cut -c 1-100)"
done
echo "$passed pipelines ran, $failed failed, $left_out left out"
[ "$failed" = 0 ] && [ "$passed" -ge 12 ]
