#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# layout.sh - who may include whom, and whose names are seen. Silent when clean; names the culprit.
#
#     sh tests/layout.sh [OBJECT...]     libpalme-engine.a, libpalme.so and libgstpalme.so, those that exist
#
# CC is the C compiler and CXX the C++ compiler (left out where there is none).
set -u
for object in "$@"; do
    shift
    set -- "$@" "$(realpath "$object")"
done
cd "$(dirname "$0")/.."
LC_ALL=C
export LC_ALL
complaints=$(mktemp)
trap 'rm -f "$complaints"' EXIT
complain() { echo "$*" | tee -a "$complaints"; }

# The headers that a file takes in, without quotes or angles.
ours() { sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]*)".*/\1/p' "$1"; }
theirs() { sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<([^>]*)>.*/\1/p' "$1"; }

# ---- Who may include whom. engine/: the folders, with their own always included; arrows point down only. -----------
# palme.h and build_config.h may be included everywhere in engine/.
engine_may() {
    case $1 in
    base | kernels) ;;
    io) echo base ;;
    compute) echo base kernels ;;
    image) echo base kernels compute ;;
    text) echo base io ;;
    nn) echo base io kernels compute image ;;
    generate) echo base kernels compute image text nn ;;
    .) echo base io kernels compute image text nn generate ;;
    *) return 1 ;;
    esac
}
# The plugin: caption/ is one element and may take in common/, which never looks back. Parts that know neither the
# engine nor GStreamer's elements stay so.
plugin_may() {
    case $1 in
    gstpalme.c) echo gstpalmecaption.h gstpalmecea608.h gstpalmettml.h ;;
    cea608/*) echo gstpalmecea608-encode.h gstpalmecea608-sender.h gstpalmetextinput.h ;;
    ttml/*) echo gstpalmettml-document.h gstpalmesanitize.h gstpalmetextinput.h ;;
    common/gstpalmesanitize.[ch] | common/gstpalmecues.[ch] | common/gstpalmemeta.[ch]) ;;
    common/gstpalmebatcher.[ch]) echo palme.h ;;
    common/*) echo palme.h "$common_headers" ;;
    caption/gstpalmecaption-decide.[ch] | caption/gstpalmecaption-schedule.[ch]) ;;
    caption/gstpalmecaption-planes.[ch] | caption/gstpalmecaption-time.[ch]) ;;
    caption/gstpalmecaption-stats.[ch] | caption/gstpalmecaption-joins.[ch] | caption/gstpalmecaption-queue.[ch]) ;;
    caption/gstpalmecaption-labels.[ch]) echo palme.h gstpalmesanitize.h ;;
    caption/gstpalmecaption-rows.[ch]) echo palme.h ;;
    caption/gstpalmecaption-picture.[ch]) echo palme.h gstpalmecaption-planes.h gstpalmecaption-rows.h ;;
    caption/gstpalmecaption-textpad.[ch]) echo gstpalmecues.h gstpalmecaption-joins.h gstpalmecaption-queue.h ;;
    caption/gstpalmecaption-overlay.[ch]) echo gstpalmemeta.h ;;
    caption/gstpalmecaption-worker.[ch]) echo palme.h "$common_headers" "$caption_headers" ;;
    caption/*) echo "$common_headers" "$caption_headers" ;;
    *) return 1 ;;
    esac
}
common_headers=$(ls gst-palme/common | grep '\.h$')
caption_headers=$(ls gst-palme/caption | grep '\.h$')

check_file() { # FILE FOLDER ALLOWED... ; the own header is always allowed
    file=$1 own=$(basename "$1" | sed 's/\.[ch]$/.h/')
    shift
    for header in $(ours "$file"); do
        case " $* $own " in
        *" $header "*) ;;
        *) complain "$file: may not include \"$header\"" ;;
        esac
    done
}

for file in engine/*.[ch] engine/*/*.[ch]; do
    folder=$(dirname "${file#engine/}")
    may=$(engine_may "$folder") || complain "$file: engine/$folder is not in the table of tests/layout.sh"
    for header in $(ours "$file"); do
        case $header in
        palme.h | build_config.h) continue ;;
        esac
        case " $may $folder " in
        *" ${header%/*} "*) ;;
        *) complain "$file: may not include \"$header\"" ;;
        esac
    done
    for header in $(theirs "$file"); do
        case $header in
        dlfcn.h | omp.h | pthread.h) [ "$file" = engine/compute/compute.c ] ;;
        immintrin.h | *mmintrin.h | arm_neon.h) case $file in engine/kernels/vec_*.h) ;; *) false ;; esac ;;
        glib* | gst/* | *.hpp | *palme* | jansson.h) false ;;
        esac || complain "$file: may not include <$header>"
    done
done

for file in gst-palme/*.[ch] gst-palme/*/*.[ch]; do
    if may=$(plugin_may "${file#gst-palme/}"); then
        check_file "$file" $may
    else
        complain "$file: is not in the table of tests/layout.sh"
    fi
    for header in $(theirs "$file"); do
        case $header in
        jansson.h | cblas.h | omp.h | palme*) complain "$file: may not include <$header>" ;;
        esac
    done
done

tool_headers=$(ls tools/palme-caption | grep '\.h$')
for file in tools/*/*.[ch] examples/*.[ch] examples/*/*.[ch]; do
    case $file in
    tools/palme-caption/*) check_file "$file" palme.h gstpalmesanitize.h $tool_headers ;;
    examples/*/*) check_file "$file" $(ls "${file%/*}" | grep '\.h$') ;;
    *) check_file "$file" ;;
    esac
    for header in $(theirs "$file"); do
        case $file:$header in
        examples/engine.c:palme.h | examples/consumer/describe.c:palme.h) ;;
        *:palme.h) false ;;
        examples/engine.c:g[ls][it][bt]* | examples/consumer/*:g[ls][it][bt]*) false ;;
        *:jansson.h | *:cblas.h | *:omp.h) false ;;
        esac || complain "$file: may not include <$header>"
    done
done

# ---- The top level, and what the Debian packages repeat ---------------------------------------------------
# What is not in git, build folders among it, is nobody's business.
if git rev-parse --git-dir >/dev/null 2>&1; then
    for name in $(git ls-files | sed 's|/.*||' | sort -u); do
        case $name in
        debian | docs | engine | examples | gst-palme | models | tests | tools) ;;
        .ci | .clang-format | .editorconfig | .gitignore | *.md | LICENSE | meson.build | meson_options.txt | pyproject.toml) ;;
        *) complain "$name: does not belong to the top level" ;;
        esac
    done
fi
version=$(sed -nE "s/^ *version: '([0-9.]+)',.*/\1/p" meson.build | head -n 1)
packaged=$(sed -nE '1s/^gst-palme \(([0-9.]+).*/\1/p' debian/changelog)
[ "$version" = "$packaged" ] ||
    complain "debian/changelog: version $packaged, but meson.build has $version (dch -v $version)"

# ---- The public header stands alone, in both languages ---------------------------------------------------
probe() { # WORDS... : a compiler and its options
    said=$(printf '#include "palme.h"\nint palme_probe;\n' |
        "$@" -Werror -Wall -Wextra -pedantic -Iengine -fsyntax-only - 2>&1) ||
        complain "engine/palme.h: does not compile alone with $*:
$said"
}
probe ${CC:-cc} -x c -std=c99
if command -v "${CXX:-c++}" >/dev/null; then
    probe "${CXX:-c++}" -x c++ -std=c++11
elif ${CC:-cc} -x c++ -fsyntax-only /dev/null 2>/dev/null; then
    probe ${CC:-cc} -x c++ -std=c++11
fi

# ---- Whose names are seen --------------------------------------------------------------------------------
# What sanitizers and coverage add begins with two underscores.
only() { # FILE PATTERN SYMBOLS
    [ -n "$3" ] || complain "$1: nm shows no symbol"
    for symbol in $3; do
        case $symbol in
        __odr_asan* | __asan* | __ubsan* | __gcov* | __llvm* | __sancov*) continue ;;
        esac
        echo "$symbol" | grep -qE "$2" || complain "$1: exports $symbol"
    done
}
# What a plugin scan would load: OpenBLAS and its company have constructors, and are loaded where they compute.
links_little() {
    for library in $(readelf -d "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p'); do
        case $library in
        *blas* | *gfortran* | *quadmath* | *jansson*) complain "$1: is linked with $library" ;;
        esac
    done
}
for object in "$@"; do
    case $object in
    *.a)
        only "$object" '^palme_' "$(nm -g --defined-only "$object" 2>/dev/null | awk 'NF == 3 { print $3 }')"
        # The library does not print, exit or read the environment, and leaves the process's settings alone.
        for symbol in $(nm -u "$object" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u); do
            case $symbol in
            printf | fprintf | vprintf | vfprintf | __*printf_chk | puts | putchar | fputs | fputc | \
                fwrite | perror | stdout | stderr | exit | _exit | quick_exit | abort | getenv | \
                secure_getenv | setenv | putenv | setlocale | signal | sigaction | \
                openblas_set_num_threads | rand | srand | strtok)
                case $symbol in
                __sn*printf_chk | __vsn*printf_chk) ;;
                *) complain "$object: uses $symbol" ;;
                esac
                ;;
            esac
        done
        ;;
    *libgstpalme*)
        links_little "$object"
        only "$object" '^gst_plugin_palme_' "$(nm -D --defined-only "$object" | awk '{ print $3 }')"
        ;;
    *libpalme.so*)
        links_little "$object"
        exported=$(nm -D --defined-only "$object" | awk '{ print $3 }')
        only "$object" '^palme_' "$exported"
        for symbol in $exported; do
            case $symbol in __*) continue ;; esac
            grep -q "$symbol(" engine/palme.h || complain "$object: exports $symbol, which palme.h does not declare"
            grep -q "^ $symbol@" debian/libpalme1.symbols ||
                complain "debian/libpalme1.symbols: $symbol is missing; add \" $symbol@Base $version\""
        done
        ;;
    esac
done

[ ! -s "$complaints" ]
