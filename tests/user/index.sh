#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# index.sh - the search index of palme-caption: what is captioned again and what is not, what is found, and that no words
# are an error of SQL.
#
#     index.sh PALME-CAPTION ENGINE APP     the last two are not used; meson sets the environment
set -u
command=$(realpath "$1")
support=$(cd "$(dirname "$0")/../support" && pwd)
photos=$(cd "$(dirname "$0")/../../examples/photos" && pwd)
for tool in gst-launch-1.0 python3 timeout mkfifo; do
    command -v $tool >/dev/null || { echo "no $tool here: skipped"; exit 77; }
done
work=$(realpath "$(mktemp -d)")
pid=
trap 'kill -9 $pid 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$support/checks.sh"
. "$support/clips.sh"

mkdir photos photos/below
cp "$photos/dog.jpg" "$photos/kitten.jpg" photos/
cp "$photos/horses.jpg" photos/below/
cp "$photos/dog.jpg" "$photos/horses.jpg" .
two_photos 4 3 photos/clip.mkv
run --index photos.db photos
if grep -q 'built without it' err; then
    check "without SQLite the option says so" $status = 2
    run --search dog photos.db
    check "and so does the other" "$status $(grep -c 'libsqlite3-dev' err)" = '2 1'
    echo "$passed checks, $failed failed; no SQLite here"
    [ "$failed" = 0 ] && exit 77
    exit 1
fi
check "a new index" "$status $(cat out)" = '0 photos.db: 4 captioned, 0 unchanged, 0 removed'
run --index photos.db
check "again, with the folders that it has" "$status $(cat out)" = '0 photos.db: 0 captioned, 4 unchanged, 0 removed'

# ---- What is found
run --format text dog.jpg
words=$(cat out)
run --search "dog on a beach" photos.db
check "--search as in the README" "$status $(grep -c "^$work/photos/dog.jpg	$words\$" out)" = '0 1'
check "nothing has all of it" "$(cat err)" = 'palme-caption: nothing has all of the words; these have some of them'
for query in 'dog grass' 'DOGS' '"the grass" dog' 'dog the of' 'dog!?'; do
    run --search "$query" photos.db
    check "found: $query" "$status $(grep -c dog.jpg out)$(cat err)" = '0 1'
done
run --search '"grass dog"' photos.db
check "a phrase in the wrong order" "$status $(wc -c <out)" = '1 0'
run --search zeppelin photos.db
check "nothing" "$status $(wc -c <out)$(wc -c <err)" = '1 00'
run --search grass --limit 1 photos.db
check "--limit" "$status $(wc -l <out)" = '0 1'
run --search cows --format json photos.db
check "json, with the time of a video" "$(python3 -c 'import json
found = {o["source"].split("/", 3)[-1].rsplit("/", 1)[-1]: o for o in map(json.loads, open("out"))}
print(found["clip.mkv"]["time"], found["horses.jpg"]["time"], found["horses.jpg"]["labels"][0]["probability"] > 0.1)')" = \
    '2000000000 None True'
run --search cows photos.db
check "a video's cue is found at its beginning" "$(grep -c '/clip.mkv@0:00:02.000	' out)" = 1
# Everything that FTS5 or SQL understands is a word or nothing.
for query in '"' "'" '*' 'dog*' 'dog OR' 'AND' 'NOT dog' 'NEAR(dog' '(dog' 'caption:dog' '^dog' '-dog' '{a b}:dog' 'dog"' \
    '"dog' "dog'; DROP TABLE files; --" '%' '\' 'dog + grass' "$(printf 'dog\377')" "$(printf 'a\n\tb')" '""' 'é 日本' ''; do
    run --search "$query" photos.db
    check "no error of SQL: $query" "$status" -le 2
    check "no words of SQL: $query" "$(grep -ciE 'syntax|fts5|sql|no such column|cannot be searched' err)" = 0
done
run --search '!?' photos.db
check "no word at all" "$status $(cat err)" = '2 palme-caption: --search has no word to look for'

# ---- What has changed, what is new, what is gone
cp horses.jpg photos/dog.jpg
cp "$photos/coffee.jpg" photos/below/
rm photos/kitten.jpg
run --index photos.db photos
check "changed, new and gone" "$status $(cat out)" = '0 photos.db: 2 captioned, 2 unchanged, 1 removed'
run --search cat photos.db
check "what is gone is not found" "$status $(wc -c <out)" = '1 0'
run --search running photos.db
check "what has changed is found no more by its old words" "$(grep -c dog.jpg out)" = 0
head -c 100 horses.jpg >photos/dog.jpg
run --index photos.db photos
check "a file that has become none" "$status $(grep -c '^palme-caption: .*photos/dog.jpg: ' err)" = '1 1'
run --search cows photos.db
check "is not found" "$(grep -c dog.jpg out)" = 0
rm photos/dog.jpg
run --prompt 'a photo of' --index photos.db
check "other options, other captions" "$(cat out)" = 'photos.db: 3 captioned, 0 unchanged, 0 removed'
python3 - <<'END'
import os
os.link("dog.jpg", b"photos/b\xff'\n.jpg")
END
run --index photos.db
run --index photos.db
check "odd names" "$status $(cat out)" = '0 photos.db: 0 captioned, 4 unchanged, 0 removed'
run --search dog photos.db
check "are printed as elsewhere" "$(grep -c "/photos/b\\\\xFF'\\\\n.jpg	" out)" = 1

# ---- A run that is killed in the middle: what it has is whole, and the next one goes on
mkfifo feed
"$command" --jobs 1 --stdin --index killed.db <feed >out 2>err &
pid=$!
exec 3>feed
printf '%s\n' dog.jpg photos/clip.mkv >&3
waited=0
indexed() { python3 -c 'import sqlite3, sys
print(sqlite3.connect("file:killed.db?mode=ro", uri=True, timeout=60).execute("SELECT count(*) FROM files").fetchone()[0])' 2>/dev/null; }
# A transaction ends with a file that is done a second behind the last one.
while [ "$(indexed)" != 1 ] && [ "$(indexed)" != 2 ] && [ $waited -lt 60 ]; do
    sleep 1.1
    echo horses.jpg >&3
    waited=$((waited + 1))
done
kill -9 $pid
exec 3>&-
wait $pid 2>/dev/null
check "killed, with something in it" "$? $(indexed)" != '137 0'
run --index killed.db dog.jpg photos/clip.mkv horses.jpg photos/below/coffee.jpg
check "gone on with" "$status $(indexed)" = '0 4'
check "nothing is doubled" "$(python3 -c 'import sqlite3
db = sqlite3.connect("killed.db")
print(db.execute("SELECT count(*), count(DISTINCT file) FROM captions").fetchone(), db.execute("PRAGMA integrity_check").fetchone()[0])
db.execute("INSERT INTO words(words) VALUES (?)", ("integrity-check",))')" = '(5, 4) ok'

# ---- Files that are no index
echo text >text.db
run --search dog text.db
check "a file that is no database" "$status $(wc -l <err)" = '2 1'
python3 -c 'import sqlite3; sqlite3.connect("other.db").execute("CREATE TABLE t(x)")'
for option in '--index other.db photos' '--search dog other.db'; do
    run $option
    check "a database of something else: $option" "$status $(grep -c 'is no database that palme-caption' err)" = '2 1'
done
run --search dog none.db
check "no database" "$status $(grep -c '^palme-caption: none.db: ' err)" = '2 1'
check "the reason" "$(grep -c 'No such file' err)" = 1
check "none was made" ! -e none.db
run --search dog .
check "a folder" "$status $(grep -c '^palme-caption: .: Is a directory' err)" = '2 1'
run --search dog
check "--search without one" "$status $(grep -c 'takes one DATABASE' err)" = '2 1'
run --index photos.db - <dog.jpg
check "a pipe is no file" "$status $(grep -c 'is no file; an index has files only' err)" = '1 1'
(ulimit -f 8; exec timeout 120 "$command" --index full.db photos) >out 2>err
check "a full disk" "$? $(wc -l <err)" = '2 1'

echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 70 ]
