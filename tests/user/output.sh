#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# output.sh - what palme-caption writes into files: formats, subtitles, files beside the inputs, lists of names, several
# jobs, a full disk, progress. resume.sh has the runs that are stopped.
#
#     output.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
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
. "$support/clips.sh"

mkdir folder
for photo in dog horses kitten coffee; do cp "$photos/$photo.jpg" folder/; done
cp "$photos/dog.jpg" "$photos/horses.jpg" .

# ---- Several jobs: the same lines in the same order
for jobs in 1 7; do
    run --jobs $jobs folder dog.jpg none.jpg horses.jpg
    check "--jobs $jobs" "$status $(cut -f 1 out | tr '\n' ' ')" = \
        '1 folder/coffee.jpg folder/dog.jpg folder/horses.jpg folder/kitten.jpg dog.jpg horses.jpg '
    [ $jobs = 1 ] && head -n 4 out >all
    check "--jobs $jobs: the same captions" "$(head -n 4 out)" = "$(cat all)"
done

# ---- A file of each format, which appears whole and is not replaced without a word
for ending in tsv txt json jsonl csv; do
    run --labels --output list.$ending folder
    check "--output list.$ending" "$status $(wc -c <out)$(ls list.$ending.part 2>/dev/null)" = '0 0'
    cp list.$ending kept
    run --output list.$ending dog.jpg
    check "list.$ending is not replaced" "$status $(grep -c 'list.*exists; --force' err)" = '2 1'
    check "list.$ending stays" "$(cat list.$ending)" = "$(cat kept)"
done
check "tsv" "$(cut -f 1,2 list.tsv)" = "$(cat all)"
check "txt" "$(cat list.txt)" = "$(cut -f 2 all)"
check "json, jsonl and csv are read by others" "$(python3 - <<'END'
import csv, json
want = [line.rstrip("\n").split("\t") for line in open("all", encoding="utf-8")]
array = json.load(open("list.json", encoding="utf-8"))
lines = [json.loads(line) for line in open("list.jsonl", encoding="utf-8")]
table = list(csv.DictReader(open("list.csv", encoding="utf-8", newline="")))
print([[o["source"], o["caption"]] for o in array] == want, lines == array,
      [[o["source"], o["caption"]] for o in table] == want, [o["seconds"] for o in table] == [""] * 4,
      [o["labels"].split(" ")[0] for o in table] == [o["labels"][0]["name"].split(" ")[0] for o in array])
END
)" = 'True True True True True'
run --force --output list.json dog.jpg
check "--force replaces" "$status $(python3 -c 'import json; print(len(json.load(open("list.json"))))')" = '0 1'
run --output list.xml dog.jpg
check "an ending that is no format" "$status $(grep -c 'the ending says no format' err)" = '2 1'
run --format csv --output list.dat dog.jpg
check "--format goes before the ending" "$status $(head -c 6 list.dat)" = '0 source'
run --output folder dog.jpg
check "a folder is no file" "$status $(grep -c 'is a folder; --write' err)" = '2 1'
run --output new/list.tsv dog.jpg
check "a folder that is not there" "$status $(grep -c 'new/list.tsv.part: cannot be written: No such file' err)" = '2 1'

# ---- CSV: no name is a formula of a spreadsheet, or two lines
mkdir names
python3 - <<'END'
import os
for name in (b"=1+1.jpg", b"+a.jpg", b"-b.jpg", b"@c.jpg", b'a,"b".jpg', b"new\nline,.jpg", b"\xff.jpg"):
    os.link("dog.jpg", b"names/" + name)
END
(cd names && timeout 120 "$command" --format csv -- =1+1.jpg +a.jpg -b.jpg @c.jpg 'a,"b".jpg' \
    "$(printf 'new\nline,.jpg')" "$(printf '\377.jpg')" >../out 2>../err)
check "csv of odd names" "$(python3 -c 'import csv
rows = list(csv.reader(open("out", encoding="utf-8", newline="")))[1:]
print([row[0] for row in rows], {len(row) for row in rows})')" = \
    "['./=1+1.jpg', './+a.jpg', './-b.jpg', './@c.jpg', 'a,\"b\".jpg', 'new\\\\nline,.jpg', '\\\\xFF.jpg'] {4}"
check "a line each, ended as RFC 4180 says" "$(wc -l <out) $(grep -c "$(printf '\r')\$" out)" = '8 8'

# ---- Subtitles: times to the frame, equal captions in a row are one cue
two_photos 4 3 clip.mkv
run --every 0 --format tsv clip.mkv
check "a clip of two photos has two captions" "$status $(cut -f 2 out | uniq | wc -l) $(wc -l <out)" = '0 2 7'
first=$(head -n 1 out | cut -f 2) second=$(tail -n 1 out | cut -f 2)
run --every 0 --format vtt clip.mkv
printf 'WEBVTT\n\n00:00:00.000 --> 00:00:01.333\n%s\n\n00:00:01.333 --> 00:00:02.333\n%s\n' "$first" "$second" >want
check "WebVTT" "$status $(cat out)" = "0 $(cat want)"
run --every 0 --output clip.sub.srt clip.mkv
printf '1\n00:00:00,000 --> 00:00:01,333\n%s\n\n2\n00:00:01,333 --> 00:00:02,333\n%s\n' "$first" "$second" >want
check "SubRip" "$status $(cat clip.sub.srt)" = "0 $(cat want)"
run --format vtt dog.jpg
check "a photo has no subtitles" "$status $(cat err)" = '1 palme-caption: dog.jpg: is a photo; subtitles are for videos'
for inputs in 'clip.mkv clip.mkv' folder; do
    run --format vtt $inputs
    check "subtitles are of one video: $inputs" "$status $(grep -c -e '--write vtt writes a file for each' err)" = '2 1'
done
if command -v ffmpeg >/dev/null; then
    run --every 0 --output clip.sub.vtt clip.mkv
    for file in clip.sub.vtt clip.sub.srt; do
        ffmpeg -v error -nostdin -i $file -f srt - >read 2>err
        check "FFmpeg reads $file" "$(sed '/^$/d' read)" = "$(sed '/^$/d' clip.sub.srt)"
    done
else
    echo "no ffmpeg here: nobody else reads the subtitles"
fi

# ---- Files beside the inputs
mkdir tree tree/inner
cp clip.mkv tree/a.mkv
cp clip.mkv tree/inner/b.mkv
cp dog.jpg tree/inner/b.jpg
run --write vtt,srt tree
check "--write vtt,srt" "$status $(cd tree && find . -name '*.vtt' -o -name '*.srt' | sort | tr '\n' ' ')" = \
    '0 ./a.srt ./a.vtt ./inner/b.srt ./inner/b.vtt '
check "nothing on stdout, and what was left out" "$(wc -c <out) $(cat err)" = \
    '0 palme-caption: tree: left out 1 photos: subtitles are for videos'
check "no trace of the writing" "$(find tree -name '.*' -type f | wc -l)" = 0
echo mine >tree/a.vtt
run --write vtt tree/a.mkv
check "a file is not replaced" \
    "$status $(grep -c '^palme-caption: tree/a.mkv: tree/a.vtt exists; --force' err) $(cat tree/a.vtt)" = '1 1 mine'
rm tree/inner/b.vtt
run --resume --write vtt tree
check "--resume makes what is missing" "$(cat tree/a.vtt) $(head -n 1 tree/inner/b.vtt)" = 'mine WEBVTT'
run --force --write vtt tree/a.mkv
check "--force replaces it" "$status $(head -n 1 tree/a.vtt)" = '0 WEBVTT'
run --write json,vtt --output made tree
check "--output is the folder" "$(cd made && find . -type f | sort | tr '\n' ' ')" = \
    './a.mkv.json ./a.vtt ./inner/b.jpg.json ./inner/b.mkv.json ./inner/b.vtt '
check "json of a photo and of a video" "$(python3 -c 'import json
print(*(len(json.load(open("made/inner/" + name + ".json"))) for name in ("b.jpg", "b.mkv")))')" = '1 3'
find made -type f -exec ls -i {} + >inodes
run --resume --write json,vtt --output made tree
check "nothing is done again" "$(find made -type f -exec ls -i {} +)" = "$(cat inodes)"
cp clip.mkv tree/a.webm
run --write vtt tree/a.mkv tree/a.webm
check "two videos that differ in their endings alone" "$status $(ls tree | tr '\n' ' ')" = \
    '0 a.mkv a.mkv.vtt a.srt a.vtt a.webm a.webm.vtt inner '
run --write json - <dog.jpg
check "a pipe has no beside" "$status $(grep -c 'is no file that others could stand beside' err)" = '1 1'

# ---- Lists of names
printf 'dog.jpg\n\nnone.jpg\nhorses.jpg' >list
run --stdin --format tsv <list
check "--stdin" "$status $(cut -f 1 out | tr '\n' ' ')" = '1 dog.jpg horses.jpg '
printf 'dog.jpg\0new\nline.jpg\0folder\0' >list
cp dog.jpg "$(printf 'new\nline.jpg')"
run -0 --stdin folder/kitten.jpg <list
check "--null, behind the command line; folders are entered" "$(cut -f 1 out | tr '\n' ' ')" = \
    'folder/kitten.jpg dog.jpg new\nline.jpg folder/coffee.jpg folder/dog.jpg folder/horses.jpg folder/kitten.jpg '
run --stdin - <list
check "- is taken" "$status $(grep -c 'has the names already' err)" = '2 1'
# 100,000 names that are not there: as much memory as 1,000 take. The address sanitizer keeps what was freed.
if ! ldd "$command" 2>/dev/null | grep -q libasan; then
check "memory does not go with the list" "$(python3 - "$command" <<'END'
import resource, subprocess, sys
peaks = []
for count in (1000, 100000):
    names = b"".join(b"a/name/that/is/not/there/%d.jpg\n" % i for i in range(count))
    subprocess.run([sys.argv[1], "--stdin", "--jobs", "2"], input=names, stderr=subprocess.DEVNULL)
    peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(peaks[1] - peaks[0])
END
)" -lt 8192
fi

# ---- --recursive
run --no-recursive --write jsonl tree
check "--no-recursive" "$(find tree -name '*.jsonl' | sort | tr '\n' ' ')" = 'tree/a.mkv.jsonl tree/a.webm.jsonl '

# ---- A full disk: said once, status 2; what was written can be gone on with
(ulimit -f 1; exec timeout 120 "$command" --every 0 --output full.jsonl clip.mkv dog.jpg) >out 2>err
check "a file that may not grow" "$? $(grep -c 'cannot write .*full.jsonl.part: File too large' err)" = '2 1'
run --every 0 --resume --output full.jsonl clip.mkv dog.jpg
check "and then may" "$status $(wc -l <full.jsonl)" = '0 8'
mkdir small
if unshare -rm mount -t tmpfs none small 2>/dev/null; then
    unshare -rm sh -c 'mount -t tmpfs -o size=16k none small
        head -c 12288 /dev/zero >small/filler
        timeout 120 "$0" --write json,csv --every 0 --output small clip.mkv dog.jpg; s=$?
        ls -A small; exit $s' "$command" >out 2>err
    check "a full disk" "$? $(grep -c 'cannot write small/.*: No space left' err) $(tr '\n' ' ' <out)" = '2 1 filler '
else
    echo "no file system may be mounted here: a full disk is left out"
fi

# ---- Progress, on a terminal alone
check "progress with the time left" "$(python3 - "$command" <<'END'
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen([sys.argv[1], "--jobs", "1", "--output", "progress.tsv", "folder"], stderr=slave)
os.close(slave)
said = b""
try:
    while piece := os.read(master, 4096):
        said += piece
except OSError:
    pass
print(child.wait(), b"1 of 4: folder/coffee.jpg" in said, b"3 of 4: folder/horses.jpg" in said, b" left" in said,
      said.endswith(b"\r\033[K"))
END
)" = '0 True True True True'
run folder
check "no progress without a terminal" "$(wc -c <err)" = 0

echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 50 ]
