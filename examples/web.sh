#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# web.sh - installs what is missing, builds, and shows video with its captions on a page.
#
#     sh examples/web.sh                      a slideshow of the bundled photos, again and again
#     sh examples/web.sh [OPTION...] SOURCE...     a camera, files, addresses: see examples/web/README.md
#
# It prints the address of the page, and serves until Ctrl-C.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/build/web
photos='dog photographer polar-bear kitten horses moose astronaut coffee'
seconds=4 # a photo
rate=10   # frames a second

cd "$root"
sh tests/packages.sh build demo web

echo "== Building in $root/build" >&2
mkdir -p "$out"
configure() {
    if [ ! -f build/build.ninja ]; then
        meson setup build -Dweb=enabled
    elif ! grep -q palme-web build/build.ninja; then
        meson configure build -Dweb=enabled
    fi
}
configure >"$out/setup.log" 2>&1 &&
    ninja -C build gst-palme/libgstpalme.so examples/web/palme-web >"$out/build.log" 2>&1 || {
    cat "$out/setup.log" "$out/build.log" 2>/dev/null | tail -n 30
    echo "web.sh: the build failed; all of it is in $out"
    exit 1
}
cd "$OLDPWD"
export GST_PLUGIN_PATH="$root/build/gst-palme${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
export GST_REGISTRY="$out/registry"
export PALME_MODEL="${PALME_MODEL:-$root/models/palme-default.safetensors}"

# Is there a source among the words, or only options and their values?
source= value=
for word in "$@"; do
    case $value$word in
    value*) value= ;;
    -h | --help | --help-*) source=none ;;
    --once | --token | --*=*) ;;
    -*) value=value ;;
    *) source=$word ;;
    esac
done
if [ -z "$source" ]; then
    set -- "$@" "Slideshow=$out/slideshow.webm"
    if [ ! -f "$out/slideshow.webm" ]; then
        echo "== Making a slideshow: $photos" >&2
        inputs=
        for photo in $photos; do
            inputs="$inputs filesrc location=\"$root/examples/photos/$photo.jpg\" ! jpegdec ! videoconvert ! videoscale !
                video/x-raw,format=I420,colorimetry=bt601,width=640,height=480,pixel-aspect-ratio=1/1 !
                imagefreeze num-buffers=$((seconds * rate)) ! video/x-raw,framerate=$rate/1 ! show."
        done
        eval "gst-launch-1.0 -q concat name=show ! vp8enc deadline=1 target-bitrate=2000000 ! webmmux ! \
            filesink location=\"\$out/new.webm\" $(echo $inputs)" >"$out/slideshow.log" 2>&1 || {
            tail -n 10 "$out/slideshow.log"
            echo "web.sh: gst-launch-1.0 failed; all it said is in $out/slideshow.log"
            exit 1
        }
        mv "$out/new.webm" "$out/slideshow.webm"
    fi
fi
echo "== Serving; Ctrl-C ends it" >&2
exec "$root/build/examples/web/palme-web" --models "$root/models" "$@"
