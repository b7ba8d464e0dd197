#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bindings.sh - the programs of docs/bindings.md, taken from the page, run and say the captions that
# examples/app.c says, in each way that they show.
#
#     bindings.sh PALME-CAPTION ENGINE APP      the first two are not used; meson sets the environment
#
# A language that is not installed is left out, with a line. CARGO_REGISTRY is the folder of crates, Debian's by
# default. Exit status 77: no language is here.
set -u
app=$3
page=$(cd "$(dirname "$0")/../../docs" && pwd)/bindings.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 ran=0

# The block of the page in this language; there is one of each.
block() { awk -v mark="\`\`\`$1" '$0 == mark { inside = 1; next } /^```$/ { inside = 0 } inside' "$page"; }
ways() { sed -nE "s/^$1: //p" "$work/out" | sort; }

"$app" >"$work/app" 2>&1 || { cat "$work/app"; echo "app failed"; exit 1; }
sed -nE 's/^bus at [0-9.]+ s: //p' "$work/app" | sort >"$work/said"
[ "$(wc -l <"$work/said")" = 4 ] || { cat "$work/app"; echo "app says four captions"; exit 1; }

# check LANGUAGE WAYS COMMAND...: each of the ways says the four captions.
check() {
    language=$1 wanted=$2
    shift 2
    ran=$((ran + 1))
    if ! (cd "$work" && timeout -k 5 600 "$@" >out 2>err); then
        failed=$((failed + 1))
        echo "FAILED: $language: the program ends with an error"
        tail -n 20 "$work/out" "$work/err" | sed 's/^/    | /'
        return
    fi
    for way in $wanted; do
        ways "$way" >"$work/$way"
        # A property is notified when it changes.
        [ "$way" != property ] || { sort -u "$work/property" -o "$work/property"; sort -u "$work/said" >"$work/cases"; }
        [ "$way" = property ] || cp "$work/said" "$work/cases"
        if cmp -s "$work/$way" "$work/cases"; then passed=$((passed + 1)); else
            failed=$((failed + 1))
            echo "FAILED: $language: by $way it says other captions than app"
            diff "$work/cases" "$work/$way" | sed 's/^/    | /'
        fi
    done
}

python=
for name in python3 /usr/bin/python3; do
    $name -c 'import gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst' 2>/dev/null && python=$name
done
if [ -n "$python" ]; then
    block python >"$work/captions.py"
    check Python "message meta cue" "$python" captions.py
else
    echo "left out: Python with gi and Gst (python3-gi, gir1.2-gstreamer-1.0)"
fi

if gjs -c 'imports.gi.versions.Gst = "1.0"; imports.gi.Gst;' 2>/dev/null; then
    block js >"$work/captions.js"
    check gjs "message property cue" gjs captions.js
else
    echo "left out: gjs with Gst (gjs, gir1.2-gstreamer-1.0)"
fi

if go version >/dev/null 2>&1 && pkg-config --exists gstreamer-app-1.0; then
    block go >"$work/captions.go"
    # Go keeps what it compiled below HOME, which makes the next run quick.
    [ -n "${HOME:-}" ] || export "GOCACHE=$work/go-cache"
    export GOPROXY=off GO111MODULE=off "GOPATH=$work/go"
    check Go "message meta cue" go run captions.go
else
    echo "left out: Go (golang-go, libgstreamer-plugins-base1.0-dev)"
fi

crates=${CARGO_REGISTRY:-/usr/share/cargo/registry}
if cargo --version >/dev/null 2>&1 && ls -d "$crates"/gstreamer-0.* >/dev/null 2>&1; then
    mkdir -p "$work/src"
    { printf '[package]\nname = "captions"\nversion = "0.1.0"\nedition = "2021"\n\n'; block toml; } >"$work/Cargo.toml"
    block rust >"$work/src/main.rs"
    export "CARGO_HOME=$work/cargo" "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$work/target}"
    check Rust "message meta cue" cargo run --quiet --offline --config 'source.crates-io.replace-with="debian"' \
        --config "source.debian.directory=\"$crates\""
else
    echo "left out: Rust with the crate gstreamer (cargo, librust-gstreamer-dev)"
fi

echo "$ran programs, $passed checks, $failed failed"
[ "$ran" != 0 ] || exit 77
[ "$failed" = 0 ]
