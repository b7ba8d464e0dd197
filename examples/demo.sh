#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# demo.sh - installs what is missing, builds, and captions a slideshow of the bundled photos.
#
#     sh examples/demo.sh
#
# The results are in build/demo: the slideshow with its captions burnt in, and the same captions as WebVTT.
# With a display it shows them in a window, unless CI is set.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
out=$root/build/demo
seconds=3 # a photo
rate=10   # frames a second
photos='dog photographer polar-bear kitten horses moose astronaut coffee'

sh tests/packages.sh build demo

echo "== Building in $root/build"
[ -f build/build.ninja ] || meson setup build >/dev/null
mkdir -p "$out"
if ! ninja -C build gst-palme/libgstpalme.so tools/palme-caption/palme-caption >"$out/build.log" 2>&1; then
    tail -n 30 "$out/build.log"
    echo "demo.sh: the build failed; all of it is in $out/build.log"
    exit 1
fi
export GST_PLUGIN_PATH="$root/build/gst-palme"
export GST_REGISTRY="$out/registry"
export PALME_MODEL="$root/models/palme-default.safetensors"
launch() { # a pipeline; its words are on the terminal only if it fails
    gst-launch-1.0 -m "$@" >"$out/log" 2>&1 || {
        grep -E 'ERROR|WARNING|error' "$out/log" | tail -n 10
        echo "demo.sh: gst-launch-1.0 failed; all it said is in $out/log"
        exit 1
    }
}

echo "== Making a slideshow: $photos"
set --
for photo in $photos; do
    set -- "$@" filesrc location="$root/examples/photos/$photo.jpg" ! jpegdec ! videoconvert ! videoscale ! \
        video/x-raw,format=I420,colorimetry=bt601,width=640,height=480,pixel-aspect-ratio=1/1 ! \
        imagefreeze num-buffers=$((seconds * rate)) ! video/x-raw,framerate=$rate/1 ! show.
done
launch concat name=show ! vp8enc deadline=1 target-bitrate=2000000 ! webmmux ! \
    filesink location="$out/slideshow.webm" "$@"

# One caption a photo. textoverlay finds it on the frames by itself; the text pad gives it to the subtitles.
echo "== Captioning it with the model $PALME_MODEL"
launch filesrc location="$out/slideshow.webm" ! matroskademux ! vp8dec ! videoconvert ! \
    palmecaption name=c mode=sync interval=${seconds}000000000 cue-duration=0 ! \
    textoverlay font-desc='Sans 18' shaded-background=true ! videoconvert ! \
    vp8enc deadline=1 target-bitrate=2000000 ! webmmux ! filesink location="$out/captioned.webm" \
    c.text ! webvttenc ! filesink location="$out/captions.vtt"
launch filesrc location="$out/captioned.webm" ! matroskademux ! vp8dec ! videoconvert ! \
    jpegenc snapshot=true ! filesink location="$out/captioned.jpg"

echo
awk '/^NOTE/ { next } / --> / { time = $1; next } time && NF { print "  " time "  " $0; time = "" }' "$out/captions.vtt"
cat <<END

== The results
  $out/captioned.webm   the slideshow with its captions burnt in
  $out/captions.vtt     the same captions as subtitles
  $out/captioned.jpg    its first frame
The model is small. What it is sure of names something wrong in one of twenty photos; look for yourself.

== To try next: your own photos and videos, and a camera
  PALME_MODEL=$PALME_MODEL $root/build/tools/palme-caption/palme-caption FILE...
  PALME_MODEL=$PALME_MODEL GST_PLUGIN_PATH=$GST_PLUGIN_PATH gst-launch-1.0 v4l2src ! palmecaption ! textoverlay ! videoconvert ! autovideosink
END

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && [ -z "${CI:-}" ]; then
    echo "(a window shows it now)"
    timeout 60 gst-launch-1.0 -q filesrc location="$out/captioned.webm" ! matroskademux ! vp8dec ! \
        videoconvert ! autovideosink >/dev/null 2>&1 || echo "(no window could be opened)"
fi
