#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# format2.sh - models/modelfile.py puts fixtures and the default model into version 2 of the format and back, and the engine
# computes the same with all three, bit for bit; and with pairs of files that say the same in two ways.
#
#     format2.sh PRINT_DIGESTS DEFAULT_MODEL     PALME_PYTHON is the interpreter
set -u
digests=$1 default=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PALME_PYTHON:-python3}
if ! said=$("$python" -c 'import numpy' 2>&1); then
    echo "skipped: $python: $(echo "$said" | tail -n 1)"
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root
export PYTHONDONTWRITEBYTECODE PYTHONPATH
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
bad=0
convert() { # IN OUT VERSION
    "$python" -c 'import sys
from models import modelfile
modelfile.convert(sys.argv[1], sys.argv[2], int(sys.argv[3]))' "$@"
}
# The lines without the file's name, of the machine's best level.
lines() { "$digests" --level best "$1" | sed "s|^$1 ||"; }
for model in "$root"/tests/data/golden/*/model.safetensors "$default"; do
    case $model in */plain/*) continue ;; esac # a checkpoint, no model file
    if ! convert "$model" "$work/two" 2 ||
        ! convert "$work/two" "$work/one" 1; then
        echo "$model: not converted"
        bad=1
        continue
    fi
    lines "$model" >"$work/wanted"
    grep -q 'format_version":"2\|format_version": "2' "$work/two" || { echo "$model: not in version 2" && bad=1; }
    for version in two one; do
        lines "$work/$version" >"$work/found"
        if [ ! -s "$work/wanted" ] || ! cmp -s "$work/wanted" "$work/found"; then
            echo "$model: other numbers as version $version"
            bad=1
        fi
    done
done

# The same model said in two ways: tied and not, without bias and with zeros...
for fixture in abs_pos alibi3 prefix_abs; do
    mkdir "$work/$fixture"
    "$python" "$root/tests/engine/format2_variants.py" "$root/tests/data/golden/$fixture/model.safetensors" "$work/$fixture" || bad=1
    for one in "$work/$fixture"/*-one; do
        other=${one%-one}-other
        lines "$one" >"$work/wanted"
        lines "$other" >"$work/found"
        if [ ! -s "$work/wanted" ] || ! cmp -s "$work/wanted" "$work/found"; then
            echo "$fixture: $(basename "$other") computes something else"
            bad=1
        fi
    done
done
[ $bad = 0 ] && echo "all agree"
exit $bad
