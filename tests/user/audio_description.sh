#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# audio_description.sh - speech is heard in the pauses of the sound, and the sound is as it was elsewhere.
#
#     audio_description.sh AUDIO-DESCRIPTION     meson sets the environment: the plugin with the stand-in engine
set -u
support=$(cd "$(dirname "$0")/../support" && pwd)
program=$(realpath "$1")
for tool in gst-launch-1.0 espeak-ng ffmpeg timeout python3; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
for element in vp8enc matroskamux level audiomixer opusenc vp8dec wavparse; do
    gst-inspect-1.0 --exists $element || { echo "no GStreamer element $element here: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
. "$support/checks.sh"
shown="out err"
timeout=$(command -v timeout)
run() {
    "$timeout" -k 5 120 "$program" "$@" >out 2>err
    status=$?
}
printf 'standin\ntext=the picture is {luma}\n' >model

# Five seconds each of black, white and grey; a tone for 4 seconds, 9.5 of silence with a click in it, a tone.
python3 - <<'END'
import array, math, wave
rate = 48000
tone = array.array("h", (int(8000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(15 * rate)))
for i in range(4 * rate, int(13.5 * rate)):
    tone[i] = 0
for i in range(int(7.0 * rate), int(7.1 * rate)):
    tone[i] = 8000 if i % 100 < 50 else -8000
with wave.open("sound.wav", "wb") as w:
    w.setnchannels(1), w.setsampwidth(2), w.setframerate(rate)
    w.writeframes(tone.tobytes())
with open("frames.gray", "wb") as f:
    for i in range(150):
        f.write(bytes([(0, 255, 128)[i // 50]]) * 4096)
END
video='filesrc location=frames.gray ! rawvideoparse format=gray8 width=64 height=64 framerate=10/1 ! videoconvert ! vp8enc deadline=1 ! queue ! m.'
gst-launch-1.0 -q matroskamux name=m ! filesink location=film.mkv $video filesrc location=sound.wav ! wavparse ! queue ! m. || exit 1
gst-launch-1.0 -q matroskamux name=m ! filesink location=silent.mkv $video || exit 1

run --caption "model=$work/model" film.mkv described.mkv
check "it ends well" $status = 0
check "three captions" "$(wc -l <out)" = 3
check "the first is spoken after the tone" "$(sed -nE 's/^4\.[0-9] s\tthe picture is 0$/yes/p' out)" = yes
check "the second behind the click" "$(sed -nE 's/^7\.[0-9] s\tthe picture is 255$/yes/p' out)" = yes
check "the third before the tone" "$(sed -nE 's/^10\.[0-9] s\tthe picture is 1[23][0-9]$/yes/p' out)" = yes
check "the video is copied" "$(ffmpeg -v error -i film.mkv -map 0:v -c copy -f hash - </dev/null)" = \
    "$(ffmpeg -v error -i described.mkv -map 0:v -c copy -f hash - </dev/null)"
ffmpeg -v error -y -i described.mkv -map 0:a -ac 1 -ar 48000 -f s16le described.raw </dev/null
python3 - out <<'END'
import array, math, re, sys
rate = 48000
samples = array.array("h", open("described.raw", "rb").read())
power = lambda a, b: math.sqrt(sum(s * s for s in samples[int(a * rate):int(b * rate)]) / ((b - a) * rate))
spoken = [float(line.split()[0]) for line in open(sys.argv[1]) if line[0].isdigit()]
tone = 8000 / math.sqrt(2)
# Opus keeps a tone to a few per cent.
for a, b in ((0.2, 3.8), (13.7, 14.8)):
    assert 0.9 * tone < power(a, b) < 1.1 * tone, (a, b, power(a, b))
for begin in spoken:
    assert power(begin, begin + 1.0) > 200, ("nothing is heard", begin, power(begin, begin + 1.0))
    assert power(begin - 0.15, begin - 0.05) < 50, ("speech without a breath", begin, power(begin - 0.15, begin - 0.05))
assert abs(len(samples) / rate - 15) < 0.2, len(samples) / rate
END
check "the samples are as they should be" $? = 0

run --caption "model=$work/model" silent.mkv described.mkv
check "a film without sound gets some" $status = 0
check "all is spoken at once" "$(cut -f 1 out | tr '\n' ' ')" = "0.0 s 5.0 s 10.0 s "
run --caption "model=$work/model" --words-per-minute 80 film.mkv described.mkv
check "what is too long for the pauses is left out" "$(grep -c 'no room' out)" -ge 1
run sound.wav described.mkv
check "a film without video" $status = 1
check "the reason" "$(grep -c 'sound.wav has no video' err)" = 1
run none.mkv described.mkv
check "no film" $status = 1
PATH=/nonexistent run --caption "model=$work/model" silent.mkv described.mkv
check "without espeak-ng it fails" $status = 1
check "and says so" "$(grep -c 'espeak-ng' err)" = 1
run film.mkv
check "no output" $status = 2
echo "$passed checks passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 16 ]
