#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# resume.sh - runs of palme-caption that are stopped, by a signal that can be caught or by one that cannot, and gone on
# with; and folders that are watched.
#
#     resume.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
#
# A run that shall be stopped in its middle reads a FIFO there that gives no more, so no time matters.
set -u
command=$(realpath "$1")
support=$(cd "$(dirname "$0")/../support" && pwd)
photos=$(cd "$(dirname "$0")/../../examples/photos" && pwd)
for tool in gst-launch-1.0 python3 timeout mkfifo; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
work=$(mktemp -d)
pid= feeder=
trap 'kill -9 $pid $feeder 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$support/checks.sh"
. "$support/clips.sh"

# Waits until a file has so many lines, two minutes at most.
await_lines() { # FILE LINES
    waited=0
    while [ "$(cat "$1" 2>/dev/null | wc -l)" -lt "$2" ] && [ $waited -lt 1200 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    [ "$(cat "$1" 2>/dev/null | wc -l)" -ge "$2" ]
}
# Waits for $pid to end; kills it after two minutes.
await_end() {
    waited=0
    while kill -0 $pid 2>/dev/null && [ $waited -lt 1200 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    status=$?
}

cp "$photos/dog.jpg" "$photos/horses.jpg" "$photos/kitten.jpg" .
two_photos 7 1 clip.mkv
mkfifo fifo.mkv

# ---- A run that is killed and gone on with: nothing is lost, nothing doubled, no line is cut
for ending in tsv json csv; do
    run --every 0.3 --output whole.$ending dog.jpg clip.mkv horses.jpg
    sed 's/clip\.mkv/fifo.mkv/' whole.$ending >want
    for signal in KILL TERM; do
        (head -c 800000 clip.mkv; exec sleep 600) >fifo.mkv &
        feeder=$!
        "$command" --jobs 2 --every 0.3 --output part.$ending dog.jpg fifo.mkv horses.jpg >out 2>err &
        pid=$!
        await_lines part.$ending.part 4
        check "$ending: the run is in the video" $? = 0
        run --output part.$ending dog.jpg
        check "$ending: a run without --resume" "$status $(grep -c 'of a run that was stopped' err)" = '2 1'
        run --resume --output part.$ending dog.jpg
        check "$ending: a second run at a time" "$status $(grep -c 'another palme-caption is writing it' err)" = '2 1'
        kill -$signal $pid
        await_end
        kill $feeder 2>/dev/null
        wait $feeder 2>/dev/null
        check "$ending: $signal ends it" "$status" = $([ $signal = KILL ] && echo 137 || echo 143)
        check "$ending: there is no half file" ! -e part.$ending
        printf 'half a li' >>part.$ending.part
        cat clip.mkv >fifo.mkv &
        run --every 0.3 --resume --output part.$ending dog.jpg fifo.mkv horses.jpg
        wait
        check "$ending: $signal, and gone on with" "$status $(cat part.$ending)" = "0 $(cat want)"
        check "$ending: nothing else is left" ! -e part.$ending.part
        [ $signal = TERM ] || rm part.$ending
    done
    cp part.$ending before
    run --resume --output part.$ending dog.jpg fifo.mkv kitten.jpg horses.jpg
    check "$ending: --resume adds to a whole file what is not in it" "$status $(grep -c kitten part.$ending)" = '0 1'
    grep -v kitten part.$ending | sed 's/,$//' >without
    check "$ending: and leaves the rest" "$(cat without)" = "$(sed 's/,$//' before)"
done
check "the array is one" "$(python3 -c 'import json; print(len(json.load(open("part.json"))))')" = 11
echo 'no tab here' >bad.tsv.part
run --resume --output bad.tsv dog.jpg
check "a file of something else" "$status $(grep -c 'bad.tsv.part: line 1 is none' err) $(cat bad.tsv.part)" = \
    '2 1 no tab here'
run --resume dog.jpg
check "--resume needs an output" $status = 2

# ---- Files beside the inputs: a signal ends the wait for a list, and what an earlier run left is replaced
echo junk >.dog.jpg.json.part
mkfifo list
"$command" --stdin --write json <list >out 2>err &
pid=$!
exec 3>list
echo dog.jpg >&3
await_lines dog.jpg.json 3
check "a name of a list is done while the list waits" $? = 0
kill -TERM $pid
await_end
exec 3>&-
check "a signal ends that" "$status $(python3 -c 'import json; print(len(json.load(open("dog.jpg.json"))))')" = '143 1'
"$command" --stdin <list >/dev/full 2>err &
pid=$!
exec 3>list
echo dog.jpg >&3
await_end
exec 3>&-
check "a full disk ends the wait for a list" "$status $(grep -c 'cannot write' err)" = '2 1'
check "what an earlier run left" "$(ls -A | grep -c '\.json\.part$')" = 0

# ---- A second signal ends what the first one cannot: an output that nobody reads is full
mkfifo full
python3 -c 'import fcntl, os, time
fd = os.open("full", os.O_RDWR)
os.write(fd, bytes(fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)))
open("filled", "w").close()
time.sleep(600)' &
feeder=$!
wait_until test -e filled
"$command" dog.jpg >full 2>err &
pid=$!
wait_until grep -q pipe_w /proc/$pid/task/*/wchan
kill -TERM $pid
sleep 1
kill -TERM $pid
await_end
check "a second signal ends an output that is not read" $status = 143
kill $feeder
wait $feeder 2>/dev/null

# ---- A folder that leads to files of the kernel, whose reading would wait for ever
mkdir kernel
ln -s /proc/kmsg kernel/kmsg
ln -s /proc/self/environ kernel/environ
cp dog.jpg kernel/
"$command" kernel >out 2>err &
pid=$!
await_end
check "files of the kernel are left out" "$status $(wc -l <out)" = '0 1'

# ---- A watched folder: what is there first, then what is complete, whatever way it comes
mkdir watched
cp dog.jpg watched/first.jpg
cp horses.jpg kept.jpg
: >lines
"$command" --watch watched >lines 2>err &
pid=$!
await_lines lines 1
check "what is there" "$(cut -f 1 lines)" = watched/first.jpg
exec 3>watched/slow.jpg
head -c 20000 horses.jpg >&3
cp dog.jpg watched/copied.jpg
await_lines lines 2
check "what is copied there, and nothing that is not complete" "$(sed -n 2p lines | cut -f 1)" = watched/copied.jpg
tail -c +20001 horses.jpg >&3
exec 3>&-
await_lines lines 3
check "what is complete at last" "$(sed -n 3p lines)" = "$(printf 'watched/slow.jpg\t'; "$command" --format text horses.jpg)"
mv kept.jpg watched/moved.jpg
await_lines lines 4
mkdir -p moved/below && cp dog.jpg moved/below/photo.jpg && mv moved watched/
await_lines lines 5
mkdir watched/new
cp dog.jpg watched/new/photo.jpg
echo text >watched/text.txt
cp dog.jpg watched/new/.hidden.jpg
cp dog.jpg watched/last.jpg
await_lines lines 7
check "what is moved there, folders too" "$(sed -n '4,$p' lines | cut -f 1 | sort | tr '\n' ' ')" = \
    'watched/last.jpg watched/moved.jpg watched/moved/below/photo.jpg watched/new/photo.jpg '
kill -TERM $pid
await_end
check "a signal is its end" "$status $(wc -l <lines)" = '0 7'
"$command" --watch watched --output log.jsonl >out 2>err &
pid=$!
await_lines log.jsonl 7
kill -TERM $pid
await_end
cp kitten.jpg watched/while-away.jpg
"$command" --watch watched --resume --output log.jsonl >out 2>err &
pid=$!
await_lines log.jsonl 8
cp dog.jpg watched/while-away.jpg
await_lines log.jsonl 9
rm -r watched
await_end
check "--resume with a watched folder; one that goes away ends it" \
    "$status $(wc -l <log.jsonl) $(tail -n 2 log.jsonl | grep -c while-away) $(cat err)" = \
    '1 9 2 palme-caption: watched: No such file or directory'
run --watch dog.jpg
check "no folder" "$status $(cat err)" = '2 palme-caption: dog.jpg: cannot be watched: Not a directory'

echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 50 ]
