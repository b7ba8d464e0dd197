#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# consumer.sh - the three ways of examples/consumer to the engine: make with pkg-config, CMake, and meson with an engine that
# is installed or a subproject. The subproject is configured; built only with PALME_PACKAGE_TESTS=1, as it takes a minute.
#
#     consumer.sh BUILD      meson sets the environment
set -u
build=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(cd "$here/.." && pwd)
command -v pkg-config >/dev/null || { echo "no pkg-config here: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$here/support/checks.sh"
. "$here/support/installed.sh"
cc=${CC:-cc}

stage "$build"
libdir=$(staged libpalme.so)
cp -r "$root/examples/consumer" .
export PKG_CONFIG_PATH="$libdir/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$stage"
# The installed library is at its place for those who run against it; the stage is no place for the loader.
describe() { LD_LIBRARY_PATH=$libdir timeout -k 5 120 "$@" "$PALME_MODEL" >out 2>err; }

$cc -o made consumer/describe.c $(pkg-config --cflags --libs palme)
describe ./made
check "make: it speaks" "$? $(wc -l <out)" = '0 1'
check "make: and says with what" "$(grep -cE '^palme [0-9.]+, level [a-z0-9]+, precision (f32|bf16|int8)$' err)" = 1
words=$(cat out)
version=$(pkg-config --modversion palme)

# ---- CMake
if command -v cmake >/dev/null && command -v make >/dev/null; then
    configure() { cmake -S "$1" -B "$2" -DCMAKE_PREFIX_PATH="$stage$prefix" >"$2.log" 2>&1; }
    configure consumer cmake && cmake --build cmake >>cmake.log 2>&1
    check "CMake: it is built" $? = 0
    [ -x cmake/describe ] || cat cmake.log
    describe cmake/describe
    check "CMake: it says the same" "$? $(cat out)" = "0 $words"
    check "CMake: it is linked with the library" \
        "$(readelf -d cmake/describe | grep -c 'NEEDED.*\[libpalme\.so\.[0-9]*\]')" = 1
    # The versions that may be asked for, and those that may not.
    for asked in "$version" "$version EXACT" 0.1 "0.1...9" "0.1...<$version" 99 "0.1 EXACT" "0.0.1...0.1"; do
        mkdir -p versions
        printf 'cmake_minimum_required(VERSION 3.19)\nproject(versions C)\nfind_package(Palme %s CONFIG REQUIRED)\n' \
            "$asked" >versions/CMakeLists.txt
        rm -rf versions-build
        case $asked in
        99 | "0.1 EXACT" | *"...<"* | *"...0.1") expected=1 ;;
        *) expected=0 ;;
        esac
        configure versions versions-build
        check "CMake: version $asked" "$?" = $expected
    done
    # What is missing is named.
    mv "$libdir/libpalme.so.1.0.0" "$work/kept"
    rm -rf cmake
    configure consumer cmake
    check "CMake: no library" "$? $(tr -d '\n' <cmake.log | tr -s ' ' | grep -c 'libpalme.so.1.0.0 is missing')" = '1 1'
    mv "$work/kept" "$libdir/libpalme.so.1.0.0"
else
    echo "no cmake or no make here: find_package is not tried"
fi

# ---- meson, with the installed engine
meson setup meson consumer >meson.log 2>&1 && meson compile -C meson >>meson.log 2>&1
check "meson: it is built" $? = 0
[ -x meson/describe ] || cat meson.log
check "meson: with the installed one" "$(grep -cE "Dependency palme( for host machine)? found: YES" meson.log)" = 1
describe meson/describe
check "meson: it says the same" "$? $(cat out)" = "0 $words"

# ---- meson, with the subproject of the wrap file, which git brings; without git it is put there. Neither GStreamer nor a
# model is needed, so they are left out.
unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
export PKG_CONFIG_LIBDIR="$work/none"
mkdir upstream
(cd "$root" && cp -r meson.build meson_options.txt engine "$work/upstream/")
sed -i "s|^url = .*|url = file://$work/upstream|" consumer/subprojects/gst-palme.wrap
if command -v git >/dev/null; then
    tag=$(sed -n 's/^revision = //p' consumer/subprojects/gst-palme.wrap)
    (cd upstream && git init -q && git add -A && git -c user.name=a -c user.email=a@example.org commit -q -m all && git tag "$tag")
    check "meson: a repository" $? = 0
else
    mv upstream consumer/subprojects/gst-palme
fi
meson setup wrapped consumer >wrapped.log 2>&1
check "meson: the subproject is configured" $? = 0
check "meson: it gives the dependency" "$(grep -cE "Dependency palme( for host machine)? found: YES.*overridden" wrapped.log)" = 1
check "meson: nothing but the engine is built" "$(meson introspect --targets wrapped | python3 -c '
import json, sys
print(sum("/engine/" not in t["defined_in"] for t in json.load(sys.stdin)))')" = 1
check "meson: no model is installed" "$(meson introspect --installed wrapped | grep -c safetensors)" = 0
if [ "${PALME_PACKAGE_TESTS:-}" = 1 ]; then
    meson compile -C wrapped >>wrapped.log 2>&1
    check "meson: the subproject is built" $? = 0
    [ -x wrapped/describe ] || tail -n 30 wrapped.log
    timeout -k 5 120 wrapped/describe "$PALME_MODEL" >out 2>err
    check "meson: it says the same" "$? $(cat out)" = "0 $words"
fi
echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 9 ]
