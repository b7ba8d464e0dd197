#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs check_golden (first argument) with kernels of the level in the second one (best: the machine's) over the
# fixtures below the third one, but for the one named by the fourth, and over the reference's recorded numbers where
# the folder shared/ stands beside the project.
set -u
golden=$1 level=$2 data=$3 left_out=$4
set -- "$golden"
[ "$level" = best ] || set -- "$golden" --level "$level"
root=$(cd "$(dirname "$0")/../.." && pwd)
shared=${PALME_SHARED:-$root/../shared}
if [ -d "$shared/golden" ]; then
    set -- "$@" --model "$shared/models/palme-flickr8k-seed.safetensors" "$shared"/golden/*
else
    echo "no $shared/golden: the reference's own recordings are not compared, only the fixtures"
fi
for fixture in "$data"/*; do
    [ "${fixture##*/}" = "$left_out" ] || set -- "$@" "$fixture"
done
exec "$@"
