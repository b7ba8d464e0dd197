#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# inputs.sh - what palme-caption reads beside files, and what it writes: pipes, folders, URIs, cameras without time
# stamps, names that would break a line or a terminal, descriptors that are closed or full.
#
#     inputs.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
set -u
command=$(realpath "$1")
support=$(cd "$(dirname "$0")/../support" && pwd)
photos=$(cd "$(dirname "$0")/../../examples/photos" && pwd)
tests=$(cd "$(dirname "$0")/.." && pwd)
for tool in gst-launch-1.0 python3 timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$support/checks.sh"
names() { cut -f 1 out | tr '\n' ' '; }

cp "$photos/dog.jpg" dog.jpg
cp "$tests/data/photos/same.tga" "$tests/data/photos/same.png" .
run --format text dog.jpg
words=$(cat out)
gst-launch-1.0 -q videotestsrc num-buffers=45 ! video/x-raw,width=160,height=120,framerate=20/1 ! theoraenc ! \
    oggmux ! filesink location=v.ogv

# ---- Pipes
cat dog.jpg | run -
check "-" "$(cat out)" = "$(printf -- '-\t%s' "$words")"
run - <dog.jpg
check "- is a file" "$(cat out)" = "$(printf -- '-\t%s' "$words")"
cat dog.jpg | run /dev/stdin
check "/dev/stdin" "$(cat out)" = "$(printf '/dev/stdin\t%s' "$words")"
mkfifo fifo
cat dog.jpg >fifo &
run fifo
check "a FIFO" "$(cat out)" = "$(printf 'fifo\t%s' "$words")"
kill $! 2>/dev/null
wait
cat v.ogv | run -
check "a video in a pipe" "$(names)" = '-@0:00:00.000 -@0:00:01.000 -@0:00:02.000 '
{ head -c 10 dog.jpg; sleep 1; tail -c +11 dog.jpg; } | run -
check "a slow pipe" "$(cut -f 2 out)" = "$words"
cat same.tga | run -
check "a format without a signature" "$(names)" = '- '
run - </dev/null
check "an empty pipe" "$status $(cat err)" = '1 palme-caption: -: is empty'
run - <&-
check "a closed standard input" "$status $(grep -c '^palme-caption: -: ' err)" = '1 1'

# ---- Folders: in order of name, those below too, no loops, nothing hidden, what is no media is counted
mkdir -p folder/sub folder/empty
ln -s .. folder/sub/up
cp dog.jpg folder/b.jpg
cp dog.jpg folder/sub/a.jpg
cp v.ogv folder/z.ogv
cp dog.jpg folder/.hidden.jpg
cp same.tga folder/c.tga
ln -s ../dog.jpg folder/link.jpg
echo '/* no picture */' >folder/text.c
mkfifo folder/fifo
# Starts of an H.264 stream, and nothing of one.
python3 -c 'open("folder/like.bin", "wb").write(3 * (b"\0\0\1\x67\x42\0\x1e" + 10 * b"\xaa" + b"\0\0\1\x68\xce\x38\x80") +
    8 * (b"\0\0\1\x65" + 9 * b"\x55"))'
gst-launch-1.0 -q audiotestsrc num-buffers=20 ! vorbisenc ! oggmux ! filesink location=folder/sound.ogg
cp folder/sound.ogg .
run --every 9 folder
check "a folder" "$status $(names)" = \
    '0 folder/b.jpg folder/c.tga folder/link.jpg folder/sub/a.jpg folder/z.ogv@0:00:00.000 '
check "and what was left out" "$(cat err)" = 'palme-caption: folder: skipped 3 of 8 files, which are neither pictures nor videos'
head -c 300 same.png >folder/sub/cut.png
run --every 9 folder/ dog.jpg
check "one that fails" "$status $(wc -l <out)" = '1 6'
check "is named" "$(grep -c '^palme-caption: folder/sub/cut.png: ' err)" = 1
run sound.ogg
check "sound alone" "$status $(cat err)" = '1 palme-caption: sound.ogg: has sound, but no picture'
run http:// https:///x
check "URIs without a host" "$status $(cat err | tr '\n' ' ')" = \
    '1 palme-caption: http://: names no host palme-caption: https:///x: names no host palme-caption: 2 of 2 inputs failed '
run folder/empty dog.jpg
check "an empty folder" "$status $(names)$(cat err)" = \
    '1 dog.jpg palme-caption: folder/empty: has no picture or video in it'

mkdir -p locked upper/middle/inner && cp same.png locked/a.png && chmod 444 locked && chmod 0 upper/middle/inner
# Whoever may do everything may not without its capabilities.
may_not=$([ "$(id -u)" != 0 ] || echo setpriv --bounding-set=-all)
if [ "$(id -u)" != 0 ] || setpriv --bounding-set=-all true 2>/dev/null; then
    timeout 60 $may_not "$command" locked >out 2>err
    check "a folder whose files cannot be looked at" "$? $(grep -v '^WARNING: Glycin ' err)" = \
        '1 palme-caption: locked: locked/a.png: Permission denied'
    timeout 60 $may_not "$command" upper >out 2>err
    check "a folder far below that is locked" "$? $(grep -v '^WARNING: Glycin ' err)" = \
        '1 palme-caption: upper: upper/middle/inner: cannot be entered: Permission denied'
else
    echo "no setpriv here: a folder whose files cannot be looked at is left out"
fi
chmod 755 locked upper/middle/inner

# ---- URIs
run "file://$work/folder/sub" "file://localhost$work/locked/"
check "folders by URI" "$(names)" = "$work/folder/sub/a.jpg $work/locked/a.png "
run "file://elsewhere$work/same.png"
check "a file of another machine" "$status $(grep -c 'names a file here' err)" = '1 1'
gst-launch-1.0 -q filesrc location=dog.jpg ! jpegdec ! videoscale ! video/x-raw,width=160,height=120 ! jpegenc ! \
    filesink location=small.jpg
run --format text small.jpg "data:image/jpeg;base64,$(base64 -w 0 small.jpg)"
check "a URI longer than a name can be" "$(uniq out | wc -l) $(wc -l <out)" = '1 2' -a "$(wc -c <small.jpg)" -gt 3072
run "data:image/png;base64,$(head -c 6000 /dev/zero | base64 -w 0)"
check "is shortened where it fails" "$status $(wc -l <err)" = '1 1' -a "$(wc -c <err)" -lt 300
run file:///no/such/file.jpg
check "a file that is not there" "$(cat err)" = 'palme-caption: file:///no/such/file.jpg: No such file or directory'

# ---- A camera that sends pictures without time stamps: ten a second for three seconds, by arrival
if gst-inspect-1.0 --exists souphttpsrc && gst-inspect-1.0 --exists multipartdemux; then
    cat >camera.py <<'END'
import http.server, time
picture = open("dog.jpg", "rb").read()
class Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=xx")
        self.end_headers()
        for _ in range(60):
            self.wfile.write(b"--xx\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture + b"\r\n")
            time.sleep(0.1)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Camera)
print(server.server_port, flush=True)
server.handle_request()
END
    python3 camera.py >port &
    wait_until test -s port
    run --every 1 "http://127.0.0.1:$(cat port)/"
    kill $! 2>/dev/null
    wait
    # On a busy machine frames come later, but never before they are due.
    check "a camera without time stamps" $status = 0 -a "$(wc -l <out)" -ge 3
    check "is captioned once a second" "$(python3 -c 'import re
t = [int(m[1]) * 60 + float(m[2]) for m in re.finditer(r"@0:(\d\d):(\d\d\.\d{3})\t", open("out").read())]
print(t[0] == 0 and all(t[i] >= i for i in range(len(t))))')" = True
    # What no type finder knows is not a source that gives nothing.
    mkdir served
    { cat same.tga; head -c 300000 /dev/zero; } >served/long
    python3 -c 'import functools, http.server as h
server = h.HTTPServer(("127.0.0.1", 0), functools.partial(h.SimpleHTTPRequestHandler, directory="served"))
print(server.server_port, flush=True)
server.handle_request()' >port2 2>served.log &
    wait_until test -s port2
    run "http://127.0.0.1:$(cat port2)/long"
    kill $! 2>/dev/null
    wait
    check "an unknown format from afar" "$status $(grep -c 'is no picture or video of a format' err)" = '1 1'
    run "http://127.0.0.1:$(cat port2)/long"
    check "nobody there" "$status $(grep -c 'nobody answers' err)" = '1 1'
else
    echo "no souphttpsrc or multipartdemux here: the camera is left out"
fi
# ---- A transport stream's clock begins anywhere; its first picture is at zero
if gst-inspect-1.0 --exists mpegtsmux && gst-inspect-1.0 --exists tsdemux && gst-inspect-1.0 --exists x264enc &&
    gst-inspect-1.0 --exists avdec_h264; then
    gst-launch-1.0 -q videotestsrc num-buffers=40 ! video/x-raw,width=160,height=120,framerate=20/1 ! x264enc ! \
        mpegtsmux ! filesink location=v.ts
    run v.ts
    check "a transport stream begins at zero" "$(names)" = 'v.ts@0:00:00.000 v.ts@0:00:01.000 '
else
    echo "no mpegtsmux, tsdemux, x264enc or avdec_h264 here: the transport stream is left out"
fi

# ---- Videos that are too large: refused, and the next one is done; a parser of these runs in the demuxer's thread
if gst-inspect-1.0 --exists x264enc && gst-inspect-1.0 --exists avdec_h264 && gst-inspect-1.0 --exists h264parse; then
    for mux in matroskamux mp4mux; do
        gst-launch-1.0 -q videotestsrc num-buffers=20 ! video/x-raw,width=160,height=120,framerate=20/1 ! x264enc ! \
            h264parse ! $mux ! filesink location=large.$mux
        run --max-pixels 19199 large.$mux same.png
        check "$mux: too large" "$status $(names)$(grep -c "^palme-caption: large.$mux: has 160 x 120 pixels" err)" = '1 same.png 1'
        run --max-pixels 19200 large.$mux
        check "$mux: not too large" "$status $(names)" = "0 large.$mux@0:00:00.000 "
    done
else
    echo "no x264enc, avdec_h264 or h264parse here: videos that are too large are left out"
fi

# ---- Names: one line each, nothing that drives a terminal, no two alike; JSON has the name itself
mkdir names
python3 - <<'END'
import os
for name in (b"esc\033[31m", b"bidi\xe2\x80\xae", b"line\xe2\x80\xa8", b"nel\xc2\x85", b"vt\vff\f", b"byte\xff\xc3", b"tag\xf3\xa0\x81\x81",
             b"nl\ntab\tcr\r", b"csi\xc2\x9b31m", b"surrogate\xed\xa0\x80", b"back\\slash", b"back\\\\slash", b"back\\x5Cslash",
             "ä 日本 😀".encode(), b"v.ogv@0:00:01.000"):
    os.symlink("../same.png", b"names/" + name)
END
run names
check "odd names" "$status $(wc -l <out)" = '0 15'
check "are lines and unlike each other, and printable" "$(python3 - <<'END'
import re
text = open("out", "rb").read().decode()
names = [line.split("\t")[0] for line in text.splitlines()]
back = lambda m: {"t": b"\t", "n": b"\n", "r": b"\r", "\\": b"\\"}.get(m[1]) or (
    bytes([int(m[1][1:], 16)]) if m[1][0] == "x" else chr(int(m[1][2:-1], 16)).encode())
def decode(name):
    parts = re.split(r"(\\(?:x..|u\{\w+\}|.))", name)
    return b"".join(back(re.match(r"\\(.*)", p)) if p.startswith("\\") else p.encode() for p in parts)
import os
print(len(names), all(c == "\n" or c == "\t" or c.isprintable() for c in text),
      sorted(map(decode, names)) == sorted(b"names/" + n for n in os.listdir(b"names")),
      "names/v.ogv@0:00:01.000" in names)
END
)" = "15 True True False"
run --format json names
check "JSON has the names themselves" "$(python3 - <<'END'
import base64, json, os
text = open("out", encoding="utf-8").read()
items = [json.loads(line) for line in text.splitlines()]
names = [base64.b64decode(o["source_base64"]) if "source_base64" in o else o["source"].encode() for o in items]
print(sorted(names) == sorted(b"names/" + n for n in os.listdir(b"names")), text.replace("\n", "").isprintable())
END
)" = "True True"
run "$(printf 'no\033[31m\nsuch\342\200\256')"
check "and so do the complaints" "$(cat err)" = 'palme-caption: no\u{1B}[31m\nsuch\u{202E}: No such file or directory'

# ---- Descriptors
timeout 60 "$command" dog.jpg >&- 2>err
check "a closed standard output" "$? $(cat err)" = '2 palme-caption: the standard output is closed'
timeout 60 "$command" --help >&- 2>err
check "for --help too" $? = 2
timeout 60 "$command" dog.jpg >&- 2>&-
check "both closed" $? = 2
run dog.jpg <&-
check "a closed standard input matters to nobody" "$status $(cut -f 2 out)" = "0 $words"
timeout 60 "$command" dog.jpg none.jpg >out 2>&-
check "a closed standard error" "$? $(cut -f 2 out)" = "1 $words"
if [ -e /dev/full ]; then
    timeout 60 "$command" --help >/dev/full 2>err
    check "--help on a full disk" "$? $(grep -c 'cannot write' err)" = '2 1'
fi
run --model dog.jpg dog.jpg
check "a model that does not open is said once" "$status $(wc -l <err)" = '2 1'

echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 30 ]
