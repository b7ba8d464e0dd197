#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# photos.sh - palme-caption on photos as people have them: formats, several pictures in a file, orientation,
# transparency, files that are cut or too large, and what is said of those that cannot be read.
#
#     photos.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
#
# tests/fixtures/make_photos.py made the pictures. A format whose loader is not installed has to be named with its package.
set -u
command=$(realpath "$1")
support=$(cd "$(dirname "$0")/../support" && pwd)
data=$(cd "$(dirname "$0")/../data/photos" && pwd)
photos=$(cd "$(dirname "$0")/../../examples/photos" && pwd)
for tool in python3 timeout; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$data"/* "$work" && cd "$work" || exit 1
. "$support/checks.sh"
# The score of the one photo in a file, or what is wrong with it.
score() {
    run --format json "$1"
    if [ $status = 0 ]; then
        python3 -c 'import json; o, = map(json.loads, open("out")); print(o["score"] if o["time"] is None else "has a time")'
    else
        cat err
    fi
}
# Whether a photo was refused because the package of its loader is not there, which the message names.
lacks_loader() { grep -q ': is a picture of format .*; in Debian it takes the package [a-z0-9-]*$' err; }

# ---- Formats, first pictures, orientation, transparency: the same pixels have the same score
same=$(score same.png)
white=$(score white.png)
check "two pictures differ" "$same" != "$white"
for file in same* up-* seen*; do
    case $file in seen*) want=$white ;; *) want=$same ;; esac
    got=$(score $file)
    if lacks_loader; then echo "$file: no loader here, not compared"; else check $file "$got" = "$want"; fi
done
# What loses a little is nearer to its picture than to the other by far.
for file in near*; do
    got=$(score $file)
    if lacks_loader; then echo "$file: no loader here, not compared"; else
        check $file "$(python3 -c 'import sys; near, same, white = map(float, sys.argv[1:])
print(abs(near - same) * 4 < abs(near - white))' "$got" "$same" "$white" 2>&1)" = True
    fi
done
run same.png near.heic same.bmp
check "one line a photo" "$(wc -l <out)" = $((3 - $(wc -l <err)))

# ---- What decoders forgive: a JPEG that ends too early or too late, a GIF whose second picture is cut
cp "$photos/dog.jpg" dog.jpg
dog=$(score dog.jpg)
head -c -2 dog.jpg >early.jpg
check "a JPEG without its end mark" "$(score early.jpg)" = "$dog"
{ cat dog.jpg; echo garbage; } >late.jpg
check "a JPEG with more behind it" "$(score late.jpg)" = "$dog"
{ cat same.png; echo garbage; } >late.png
check "a PNG with more behind it" "$(score late.png)" = "$same"
head -c 20000 dog.jpg >cut.jpg
run cut.jpg
check "a JPEG cut short" $status = 0
head -c -40 same-first.gif >cut.gif
check "a GIF whose second picture is cut" "$(score cut.gif)" = "$same"
head -c 700 same.gif >cut.gif
GST_DEBUG=GST_ELEMENT_FACTORY:4 GST_DEBUG_NO_COLOR=1 GST_DEBUG_FILE=asked.log run cut.gif
check "a GIF whose first picture is cut" $status = 1
# libav's demuxer for GIF would read it without an end.
check "is not given to GStreamer" "$(grep -c 'creating element "uridecodebin' asked.log)" = 0

# ---- The user's ranks are respected: with GStreamer's own decoder, and without
for rank in pngdec:MAX pngdec:NONE jpegdec:NONE,avdec_mjpeg:MAX; do
    GST_PLUGIN_FEATURE_RANK=$rank run --format json same.png up-6.png up-2.png seen-over-red.png
    check "GST_PLUGIN_FEATURE_RANK=$rank" "$(python3 -c 'import json
print(*[json.loads(line)["score"] for line in open("out")])')" = "$same $same $same $white"
done

# ---- Too large: refused by the size in the header, in little memory; the batch goes on
python3 - <<'END'
import struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(width, height):
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join([packer.compress(row) for _ in range(height)] + [packer.flush()])
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)) +
            chunk(b"IDAT", rows) + chunk(b"IEND", b""))
open("bomb.png", "wb").write(png(30000, 30000))
open("long.png", "wb").write(png(100000, 2))
jpeg = bytearray(open("dog.jpg", "rb").read())
at = next(i for i in range(len(jpeg)) if jpeg[i] == 0xFF and jpeg[i + 1] in (0xC0, 0xC2))
jpeg[at + 5:at + 9] = struct.pack(">HH", 60000, 60000)
open("bomb.jpg", "wb").write(jpeg)
gif = bytearray(open("same.gif", "rb").read())
gif[6:10] = struct.pack("<HH", 60000, 60000)
open("bomb.gif", "wb").write(gif)
bmp = bytearray(open("same.bmp", "rb").read())
bmp[18:26] = struct.pack("<ii", 30000, -30000)
open("bomb.bmp", "wb").write(bmp)
tga = bytearray(open("same.tga", "rb").read())
tga[12:16] = struct.pack("<HH", 30000, 30000)
open("bomb.tga", "wb").write(tga)
open("bomb.ppm", "wb").write(b"P6\n30000 30000\n255\n" + bytes(100))
open("bomb.svg", "w").write('<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"></svg>')
for name in ("heic", "avif"):
    file = bytearray(open("near." + name, "rb").read())
    at = file.find(b"ispe")
    file[at + 8:at + 16] = struct.pack(">II", 30000, 30000)
    open("bomb." + name, "wb").write(file)
tiff = bytearray(open("same.tif", "rb").read())
at = struct.unpack("<I", tiff[4:8])[0] + 2
for entry in range(at, len(tiff) - 12, 12):
    if struct.unpack("<H", tiff[entry:entry + 2])[0] in (256, 257):
        tiff[entry + 2:entry + 12] = struct.pack("<HII", 4, 1, 30000)
open("bomb.tif", "wb").write(tiff)
END
for bomb in bomb.*; do
    run $bomb same.png
    if [ $bomb = bomb.svg ] && lacks_loader; then echo "$bomb: no loader here"; continue; fi
    check "$bomb is refused" $status = 1
    check "$bomb: the others are done" "$(cut -f 1 out)" = same.png
    check "$bomb: by its size, and how to raise the limit" \
        "$(grep -cE "^palme-caption: $bomb: has [36]0000 x [36]0000 pixels, .*--max-pixels" err)" = 1
done
GST_PLUGIN_FEATURE_RANK=pngdec:MAX run bomb.png same.png
check "GStreamer's decoder does not get it either" "$(cut -f 1 out) $(grep -c max-pixels err)" = "same.png 1"
python3 - "$command" >peak <<'END'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "bomb.png"], stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
END
# 30000 x 30000 pixels are at least 900 MB; a sanitizer takes a few hundred of its own.
check "and takes no memory" "$(cat peak)" -lt 800000
run --max-pixels 767 same.png
check "--max-pixels" "$status $(grep -c 'has 32 x 24 pixels, more than 767 in all' err)" = "1 1"
run --max-pixels 768 same.png
check "as many are allowed" $status = 0
run long.png
check "wider than GStreamer's pictures and the engine's" $status = 0

# ---- What cannot be read: one line, with what it is and what helps
printf '\377\012 no JPEG XL' >a.jxl
printf '8BPS\0\1 no Photoshop file' >a.psd
: >empty.jpg
echo hello >text.jpg
{ printf 'FLV\1\1\0\0\0\11'; head -c 100 /dev/zero; } >a.flv
head -c 200 near.heic >cut.heic
head -c 300 same.png >cut.png
for case in 'a.jxl|format JPEG XL.*libjxl-gdk-pixbuf' 'a.psd|format Photoshop' 'empty.jpg|is empty' 'a.flv|.' \
    'text.jpg|no picture or video' 'cut.heic|format HEIC' 'cut.png|format PNG: the file ends' \
    'none.jpg|No such file' 'nothing:here|NOTHING' 'http://127.0.0.1:9/a.jpg|.'; do
    file=${case%|*}
    run "$file"
    check "$file fails" $status = 1
    check "$file: one line" "$(wc -l <err)" = 1
    check "$file: ${case#*|}" "$(grep -c "^palme-caption: $file: .*${case#*|}" err)" = 1
    check "$file: it is not waited for" "$(grep -c 'gave nothing for' err)" = 0
    check "$file: not GStreamer's general words" "$(grep -c 'Internal data stream' err)" = 0
done
echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 100 ]
