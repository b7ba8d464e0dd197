#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# hls.sh - installs what is missing, builds, and serves a captioned video as HLS, with a page that plays it.
#
#     sh examples/hls.sh FILE                    a recording
#     sh examples/hls.sh --live 'v4l2src'        a live stream; the options are those of palme-hls --help
#
# It prints the address of the page, for browsers on this machine, and serves until Ctrl-C. Any web server can do that:
# the files are in build/hls.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/build/hls
[ $# -gt 0 ] || { sed -n '4,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }

here=$PWD
cd "$root"
sh tests/packages.sh build demo hls
echo "== Building in $root/build" >&2
mkdir -p "$out"
[ -f build/build.ninja ] || meson setup build >"$out/setup.log" 2>&1
ninja -C build gst-palme/libgstpalme.so examples/hls/palme-hls >"$out/build.log" 2>&1 || {
    tail -n 30 "$out/build.log"
    echo "hls.sh: the build failed; all of it is in $out/build.log"
    exit 1
}
cd "$here"
export GST_PLUGIN_PATH="$root/build/gst-palme${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
export GST_REGISTRY="$out/registry"
export PALME_MODEL="${PALME_MODEL:-$root/models/palme-default.safetensors}"

# The source is the last word; the folder comes before it.
rm -rf "$out/stream"
mkdir -p "$out/stream"
cp "$root/examples/hls/player.html" "$root/examples/hls/player.js" "$out/stream"
words=$#
for word in "$@"; do
    words=$((words - 1))
    [ "$words" -gt 0 ] || set -- "$@" "$out/stream"
    set -- "$@" "$word"
    shift
done
"$root/build/examples/hls/palme-hls" "$@" &
recorder=$!
trap 'kill $recorder 2>/dev/null; wait $recorder 2>/dev/null; exit' INT TERM EXIT
while [ ! -e "$out/stream/master.m3u8" ] && kill -0 $recorder 2>/dev/null; do
    sleep 0.2
done
[ -e "$out/stream/master.m3u8" ] || exit 1
python3 -u - "$out/stream" <<'PYTHON'
import functools, http.server, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
print(f"http://127.0.0.1:{server.server_port}/player.html")
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
PYTHON
