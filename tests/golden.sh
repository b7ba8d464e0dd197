#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs check_golden (first argument) over the fixtures below the second one, and over the reference's recorded
# numbers where the folder shared/ stands beside the project.
set -u
golden=$1 data=$2
root=$(cd "$(dirname "$0")/.." && pwd)
shared=${PALME_SHARED:-$root/../shared}
if [ -d "$shared/golden" ]; then
    exec "$golden" --model "$root/models/palme-default.safetensors" "$data"/* "$shared"/golden/*
fi
echo "no $shared/golden: the reference's own recordings are not compared, only the fixtures"
exec "$golden" "$data"/*
