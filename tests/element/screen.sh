#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# screen.sh - the pipeline of the README on a screen: under Xvfb, with a screenshot. The lower part of
# the window has the light pixels of a caption with palmecaption ! textoverlay, has none with
# auto-overlay=false, and keeps a text that the user set.
#
# usage: screen.sh [FOLDER]      FOLDER keeps the screenshots
# The plugin comes from GST_PLUGIN_PATH_1_0, its model from PALME_MODEL. Exit status 77: skipped.
set -u

for tool in Xvfb import convert gst-launch-1.0 gst-inspect-1.0; do
    command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
for element in textoverlay ximagesink videotestsrc; do
    gst-inspect-1.0 --exists $element || { echo "skipped: the element $element is not installed"; exit 77; }
done
# Not --exists: that asks for version 1.0 at least.
gst-inspect-1.0 palmecaption >/dev/null || { echo "palmecaption is not found"; exit 1; }

folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
server= player= kept=${1:-}
finish() {
    [ -n "$player" ] && kill "$player" 2>/dev/null
    [ -n "$server" ] && kill "$server" 2>/dev/null
    wait
    [ -n "$kept" ] || rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Xvfb looks for a free display itself and writes its number.
mkfifo "$folder/display"
Xvfb -displayfd 3 -screen 0 640x360x24 -nolisten tcp 3>"$folder/display" 2>"$folder/xvfb.log" &
server=$!
read -r number <"$folder/display" || { echo "skipped: Xvfb does not start"; exit 77; }
rm -f "$folder/display"
DISPLAY=:$number
export DISPLAY

# shot NAME MIDDLE: plays a blue picture through MIDDLE, waits until the window shows something, and
# a second more for the caption; prints the number of light pixels in its lower half.
shot() {
    gst-launch-1.0 -q videotestsrc pattern=blue is-live=true ! \
        video/x-raw,format=BGRx,width=640,height=360,framerate=10/1 ! $2 ! ximagesink \
        >"$folder/$1.log" 2>&1 &
    player=$!
    tries=0
    while :; do
        sleep 0.5
        kill -0 $player 2>/dev/null || { cat "$folder/$1.log" >&2; echo "the pipeline ended" >&2; return 1; }
        import -window root "$folder/$1.png" 2>/dev/null || continue
        [ "$(count "$1" 640x360+0+0 B)" -gt 10000 ] && break
        tries=$((tries + 1))
        [ $tries -lt 40 ] || { echo "nothing on the screen" >&2; return 1; }
    done
    tries=0
    while :; do
        sleep 0.5
        import -window root "$folder/$1.png" || return 1
        light=$(count "$1" 640x180+0+180 R)
        tries=$((tries + 1))
        [ "$light" -gt 50 ] && [ $tries -ge 2 ] && break
        [ $tries -ge ${3:-10} ] && break
    done
    kill $player 2>/dev/null
    wait $player 2>/dev/null
    player=
    echo "$light"
}

# count NAME GEOMETRY CHANNEL: pixels in which this colour is more than half of full. The picture is blue
# and the screen around it black, so red is in the text alone.
count() {
    convert "$folder/$1.png" -crop "$2" +repage -channel "$3" -separate -threshold 50% \
        -format '%[fx:round(mean*w*h)]' info:
}

status=0
# expect NAME WHAT MIDDLE [TRIES]
expect() {
    light=$(shot "$1" "$3" "${4:-20}") || { echo "$1: no screenshot"; status=1; return; }
    case $2 in
        text) [ "$light" -gt 50 ] && verdict=ok || verdict=FAILED ;;
        none) [ "$light" -eq 0 ] && verdict=ok || verdict=FAILED ;;
    esac
    echo "$1: $light light pixels in the lower half, wanted $2: $verdict"
    [ $verdict = ok ] || status=1
}

expect plain text "palmecaption ! textoverlay"
expect queue text "palmecaption ! queue ! tee name=t ! queue ! textoverlay"
expect off none "palmecaption auto-overlay=false ! textoverlay" 4
expect user text "palmecaption ! textoverlay text=mine"
expect alone text "textoverlay text=mine"

# The user's own text looks the same with and without us.
if [ $status = 0 ]; then
    differing=$(compare -metric AE "$folder/user.png" "$folder/alone.png" null: 2>&1)
    differing=${differing%% *} # newer ImageMagick adds the share in parentheses
    echo "the user's text differs in $differing pixels from the one without palmecaption"
    [ "$differing" = 0 ] || status=1
    differing=$(compare -metric AE "$folder/plain.png" "$folder/user.png" null: 2>&1)
    [ "$differing" != 0 ] || { echo "the caption looks like the user's text"; status=1; }
fi
exit $status
