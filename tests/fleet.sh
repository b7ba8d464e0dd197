#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# fleet.sh - examples/fleet on nodes that are network namespaces of this machine, while things break. At its end it prints
# a table: fault | lost | doubled | seconds to recover.
#
#     PALME_FLEET_TESTS=1 sh tests/fleet.sh [archive] [cameras]      by default both; it takes some ten minutes, and root
#
# `sh examples/fleet/setup.sh --tests` makes the environment with Ray, build/fleet; PALME_FLEET is another one. What is
# counted, and from when to when it is timed, is at the head of fleet/test_archive.py and fleet/test_cameras.py.
set -u
[ "${PALME_FLEET_TESTS:-}" = 1 ] || { echo "PALME_FLEET_TESTS is not 1: skipped"; exit 77; }
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PALME_FLEET:-$root/build/fleet}/bin/python
[ $# -gt 0 ] || set -- archive cameras
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
if ! said=$("$python" -c 'import pytest, ray' 2>&1); then
    echo "skipped: $(echo "$said" | tail -n 1); sh examples/fleet/setup.sh --tests makes what is needed"
    exit 77
fi
if ! said=$(cd "$root/tests/fleet" && "$python" -c 'import nodes; why = nodes.why_not(); why and exit(why)' 2>&1); then
    echo "skipped: $said"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
PALME_FLEET_TABLE=$work/table RAY_USAGE_STATS_ENABLED=0
export PALME_FLEET_TABLE RAY_USAGE_STATS_ENABLED
: >"$PALME_FLEET_TABLE"
failed=0
run() { # NAME: what is told of a failure is long, as the run's own words are in it
    if ! "$python" -m pytest -q -rs -p no:cacheprovider "$root/tests/fleet/test_$1.py" >"$work/said" 2>&1; then
        failed=1
        tail -n 200 "$work/said"
    fi
    echo "$1: $(tail -n 1 "$work/said")"
    sed -n '/^SKIPPED/p' "$work/said"
}
run nodes
for name in "$@"; do
    run "$name"
    [ "$name" != archive ] || run archive_throughput
done
echo
printf 'fault | lost | doubled | seconds to recover\n--- | --- | --- | ---\n'
cat "$PALME_FLEET_TABLE"
[ $failed = 0 ] && [ -s "$PALME_FLEET_TABLE" ]
