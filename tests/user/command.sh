#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# command.sh - palme-caption as a user meets it: formats, names, times, broken inputs, exit status.
#
#     command.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
set -u
command=$(realpath "$1")
support=$(cd "$(dirname "$0")/../support" && pwd)
photos=$(cd "$(dirname "$0")/../../examples/photos" && pwd)
for tool in gst-launch-1.0 python3 timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$support/checks.sh"
tab=$(printf '\t')

# ---- Photos: each format, names of all kinds
cp "$photos/dog.jpg" dog.jpg
run dog.jpg
check "a photo is captioned" $status = 0
check "tsv is one line" "$(wc -l <out)" = 1
check "tsv begins with the name" "$(cut -f 1 out)" = dog.jpg
check "tsv has a caption" -n "$(cut -f 2 out)"
check "nothing on stderr" ! -s err
words=$(cut -f 2 out)
run --format text dog.jpg
check "text is the caption alone" "$(cat out)" = "$words"
run --format json ./dog.jpg
check "json" "$(python3 -c 'import json,sys; o=json.load(sys.stdin); print(o["source"], o["time"], o["caption"], o["score"] < 0)' <out)" = "./dog.jpg None $words True"

odd="a b%20#?&;'\".jpg"
cp dog.jpg "$odd"
raw=$(printf 'caf\351.jpg')
cp dog.jpg "$raw"
cp dog.jpg "x${tab}y.jpg"
cp dog.jpg ./-dash.jpg
cp dog.jpg "http:x.jpg"
mkdir dir
run "$odd" "$raw" "x${tab}y.jpg" "http:x.jpg" "$PWD/dog.jpg" dir/../dog.jpg "file://$PWD/dog.jpg" -- -dash.jpg
check "names of all kinds" $status = 0
printf '%s\t%s\n' "$odd" "$words" 'caf\xE9.jpg' "$words" 'x\ty.jpg' "$words" http:x.jpg "$words" "$PWD/dog.jpg" "$words" \
    dir/../dog.jpg "$words" "file://$PWD/dog.jpg" "$words" -dash.jpg "$words" >want
check "and each as given" "$(cat out)" = "$(cat want)"
run --format json "$odd" "$raw" "x${tab}y.jpg"
check "json escapes them" "$(python3 -c 'import json,sys
print([json.loads(l)["source"] for l in open("out", encoding="utf-8")] == [sys.argv[1], "caf\ufffd.jpg", "x\ty.jpg"])' "$odd")" = True

# ---- Other kinds of photos, made from the same one
picture() { gst-launch-1.0 -q filesrc location=dog.jpg ! jpegdec ! videoconvert ! "$@"; }
picture pngenc ! filesink location=a.png
picture video/x-raw,format=GRAY8 ! pngenc ! filesink location=grey.png
picture videoscale ! video/x-raw,width=1,height=1 ! pngenc ! filesink location=tiny.png
set -- a.png grey.png tiny.png
! gst-inspect-1.0 --exists webpenc || { picture webpenc ! filesink location=a.webp; set -- "$@" a.webp; }
if gst-inspect-1.0 --exists gdkpixbufdec; then
    # A GIF of 2 x 1 pixels, still and moving.
    head='GIF89a\002\000\001\000\200\000\000\377\000\000\000\000\377'
    frame='\054\000\000\000\000\002\000\001\000\000\002\002\104\012\000'
    printf "$head$frame;" >still.gif
    printf "$head!\371\004\000\062\000\000\000$frame!\371\004\000\062\000\000\000$frame;" >moving.gif
    set -- "$@" still.gif moving.gif
fi
run "$@"
check "kinds of photos" $status = 0
check "named as given, no time" "$(cut -f 1 out)" = "$(printf '%s\n' "$@")"

# ---- Which side is up: a wide picture, told to be turned, gives what the upright one gives
if gst-inspect-1.0 --exists jpegparse; then
    gst-launch-1.0 -q filesrc location=dog.jpg ! jpegdec ! videoflip video-direction=90l ! jpegenc quality=100 ! \
        filesink location=turned.jpg
    python3 - <<'END'
data = open("turned.jpg", "rb").read()
tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
open("exif.jpg", "wb").write(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
END
    run --format json dog.jpg exif.jpg turned.jpg
    check "an Exif orientation is obeyed" "$(python3 -c 'import json
upright, told, turned = (json.loads(line) for line in open("out"))
print(told["labels"][0]["name"] == upright["labels"][0]["name"], abs(told["score"] - upright["score"]) * 4 < abs(turned["score"] - upright["score"]))')" = "True True"
fi

# ---- Videos
gst-launch-1.0 -q videotestsrc num-buffers=65 ! video/x-raw,width=160,height=120,framerate=20/1 ! theoraenc ! \
    oggmux ! filesink location=v.ogv
run v.ogv
check "a video" $status = 0
check "one a second" "$(cut -f 1 out | tr '\n' ' ')" = \
    "v.ogv@0:00:00.000 v.ogv@0:00:01.000 v.ogv@0:00:02.000 v.ogv@0:00:03.000 "
run --every 1.5 --format json v.ogv
check "--every, in nanoseconds" "$(python3 -c 'import json; print([json.loads(l)["time"] for l in open("out")])')" = \
    "[0, 1500000000, 3000000000]"
run --every 0 v.ogv
check "--every 0 is each frame" "$(wc -l <out)" = 65
check "to the millisecond" "$(sed -n 2p out | cut -f 1)" = v.ogv@0:00:00.050
# Three frames a second do not meet the half seconds; what is due keeps to the grid and does not drift.
gst-launch-1.0 -q videotestsrc num-buffers=10 ! video/x-raw,width=160,height=120,framerate=3/1 ! theoraenc ! \
    oggmux ! filesink location=thirds.ogv
run --every 0.5 thirds.ogv
check "a grid that frames miss" "$(cut -f 1 out | cut -d @ -f 2 | tr '\n' ' ')" = \
    "0:00:00.000 0:00:00.666 0:00:01.000 0:00:01.666 0:00:02.000 0:00:02.666 0:00:03.000 "
gst-launch-1.0 -q videotestsrc num-buffers=3725 ! video/x-raw,width=16,height=16,framerate=1/1 ! theoraenc ! \
    oggmux ! filesink location=long.ogv
run --every 3723 long.ogv
check "hours, minutes, seconds" "$(cut -f 1 out | cut -d @ -f 2 | tr '\n' ' ')" = "0:00:00.000 1:02:03.000 "
gst-launch-1.0 -q videotestsrc num-buffers=1 ! video/x-raw,width=160,height=120,framerate=20/1 ! theoraenc ! \
    oggmux ! filesink location=one.ogv
run one.ogv
check "a video of one frame has a time" "$(cut -f 1 out)" = one.ogv@0:00:00.000

# ---- What fails, fails alone, and says which and why
head -c 20000 dog.jpg >cut.jpg
: >empty.jpg
echo hello >text.txt
gst-launch-1.0 -q audiotestsrc num-buffers=20 ! audioconvert ! vorbisenc ! oggmux ! filesink location=sound.ogg
python3 -c 'import random; open("noise.jpg", "wb").write(random.Random(1).randbytes(9000))'
for bad in none.jpg dir empty.jpg text.txt sound.ogg noise.jpg nothing:here cut.png; do
    [ $bad != cut.png ] || head -c 5000 a.png >cut.png
    run dog.jpg $bad v.ogv
    check "$bad fails" $status = 1
    check "$bad: the others are done" "$(wc -l <out)" = 5
    check "$bad: one line" "$(wc -l <err)" = 1
    check "$bad: which and why" -n "$(sed -nE "s/^palme-caption: $bad: (...)/\1/p" err)"
done

# ---- Labels
labelled=$photos/../../models/palme-default.safetensors
run --model "$labelled" --format json dog.jpg
check "json has the labels, most likely first" "$(python3 -c 'import json,sys; o=json.load(sys.stdin)
p=[l["probability"] for l in o["labels"]]
print(o["unsure"], o["labels"][0]["name"], p == sorted(p, reverse=True) and 0 < p[-1] <= p[0] <= 1)' <out)" = "False dog True"
run --model "$labelled" --labels dog.jpg
check "--labels is a third column" "$(cut -f 3 out | cut -c 1-6)" = "dog 0."
check "--labels leaves the others" "$(cut -f 1 out)" = dog.jpg
# A picture of one colour shows nothing that a label could confirm.
run --model "$labelled" --when-unsure silent --format json tiny.png
check "--when-unsure silent" "$(python3 -c 'import json,sys; o=json.load(sys.stdin); print(o["unsure"], repr(o["caption"]))' <out)" = "True ''"
run --model "$labelled" --when-unsure caption --format text tiny.png
check "--when-unsure caption" -n "$(cat out)"
run --model "$labelled" --label-weight 0 --format text dog.jpg
check "--label-weight 0" $status = 0

# ---- Options
for option in --help -h --version; do
    run $option
    check "$option" $status = 0
    check "$option prints" -s out
done
for bad in '--beams 17' '--beams x' '--max-length 0' '--threads -1' '--every -1' '--every x' '--format xml' \
    '--label-weight -1' '--label-weight x' '--label-weight 1e9' '--when-unsure x' '--max-pixels 0' '--max-pixels x' '--nothing' '--model none' '--cpu 486' '--precision f16' '--precision'; do
    run $bad dog.jpg
    check "$bad is refused" $status = 2
    check "$bad: with words" -s err
    check "$bad: no output" ! -s out
done
run
check "no file is refused" $status = 2
run --beams 3 --threads 1 --max-length 5 --model "$PALME_MODEL" --format text dog.jpg
check "all options at once" $status = 0
check "--max-length is short" "$(wc -w <out)" -le 5
run --cpu c --format text dog.jpg
check "--cpu" "$(cat out)" = "$words"
for precision in auto f32; do
    run --precision $precision --format text dog.jpg
    check "--precision $precision" "$(cat out)" = "$words"
done
for precision in bf16 int8 int4; do # other roundings, perhaps other words
    run --precision $precision --format text dog.jpg
    check "--precision $precision" $status = 0 -a -s out
done
run --precision f16 dog.jpg
check "--precision says what there is" -n "$(grep 'auto, f32, bf16, int8 or int4' err)"
run --verify dog.jpg
check "--verify asks for a checksum" $status = 2 -a "$(grep -c sha256 err)" = 1 -o $status = 0
run --prompt 'two dogs' --format text dog.jpg
check "--prompt" $status = 0
check "--prompt changes the caption" "$(cat out)" != "$words"
check "the thing that --prompt names is the caption's" "$(grep -c 'a photo of' out)" = 0
run --prompt "$(printf 'x\377')" dog.jpg dog.jpg
check "a prompt that is no UTF-8" $status = 2
check "is said once" "$(grep -c -e --prompt err)" = 1
(unset PALME_MODEL; timeout 60 "$command" dog.jpg >out 2>err)
status=$?
check "without a model: found installed, or the places are named" \
    $status = 0 -o "$(grep -c PALME_MODEL err)" = 1

# ---- Output that cannot be written
if [ -e /dev/full ]; then
    timeout 60 "$command" dog.jpg dog.jpg >/dev/full 2>err
    check "a full disk" $? = 2
    check "is said once" "$(grep -c 'cannot write' err)" = 1
fi
{ timeout 60 "$command" --every 0 v.ogv 2>err; echo $? >status; } | head -n 1 >out
check "a reader that goes away has what it wanted" "$(cat status)" = 0
check "needs no words" ! -s err

echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 80 ]
