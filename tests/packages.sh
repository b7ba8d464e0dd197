#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# packages.sh - installs the Debian packages that are missing, with apt, through sudo when it is not root.
#
#     sh tests/packages.sh build demo test python web hls fleet     any of these groups
set -eu

build='gcc libc6-dev meson ninja-build pkg-config
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgdk-pixbuf-2.0-dev
  libsqlite3-dev'
# textoverlay and the X sinks are in gstreamer1.0-x; v4l2src, autovideosink, jpegdec, vp8enc and matroskamux
# in -good; webvttenc, webpdec and jpegparse in -bad.
demo='gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-x fonts-dejavu-core'
# The screen test looks at a screenshot. x264enc, in -ugly, writes closed captions, and ffmpeg reads them. The second line is
# for the programs of docs/bindings.md, the others for the examples that send captions elsewhere. Go, Rust and Chromium are
# large, and what needs them is tested where they are.
test="$demo libjansson-dev libopenblas0-openmp xvfb imagemagick gstreamer1.0-plugins-ugly ffmpeg
  ges1.0-tools gir1.2-gstreamer-1.0 gjs python3-gi
  libsoup-3.0-dev libjson-glib-dev libgstrtspserver-1.0-dev libmosquitto-dev mosquitto mosquitto-clients espeak-ng
  gstreamer1.0-nice"
python='python3-venv'
# The live page; its pictures need jpegenc, in -good.
web='libsoup-3.0-dev libjson-glib-dev libglib2.0-dev-bin gstreamer1.0-libav gstreamer1.0-plugins-good'
# H.264, and the decoders of common files.
hls='gstreamer1.0-plugins-ugly gstreamer1.0-libav'
# Many machines: the Python package of the engine is compiled, and cameras come by RTSP and in H.264.
fleet='python3-venv python3-dev python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav'

wanted=
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    demo) wanted="$wanted $demo" ;;
    test) wanted="$wanted $test" ;;
    python) wanted="$wanted $python" ;;
    web) wanted="$wanted $web" ;;
    hls) wanted="$wanted $hls" ;;
    fleet) wanted="$wanted $fleet" ;;
    *) echo "packages.sh: unknown group $group" >&2; exit 2 ;;
    esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: no apt on this system; what is needed is called in Debian:" $wanted
    exit 0
fi
missing=
for package in $wanted; do
    case " $missing " in *" $package "*) continue ;; esac
    case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
    *' ok installed') ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages.sh: please install as root:$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "== Installing with ${sudo:+sudo }apt-get:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -y "$@" >"$log" 2>&1; }
if ! apt update || ! apt install --no-install-recommends $missing; then
    tail -n 20 "$log" >&2
    echo "packages.sh: apt-get failed" >&2
    exit 1
fi
