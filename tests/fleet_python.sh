#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# fleet_python.sh - runs a test of examples/fleet in Python, where the virtual environment of its setup.sh is.
#
#     fleet_python.sh TEST.py     PALME_FLEET_TESTS=1 asks for it; PALME_FLEET is the environment, build/fleet by default
set -u
[ "${PALME_FLEET_TESTS:-}" = 1 ] || { echo "PALME_FLEET_TESTS is not 1: skipped"; exit 77; }
venv=${PALME_FLEET:-$(cd "$(dirname "$0")/.." && pwd)/build/fleet}
if ! said=$("$venv/bin/python" -c 'import jsonschema, palme, pytest, ray' 2>&1); then
    echo "skipped: $(echo "$said" | tail -n 1); sh examples/fleet/setup.sh --tests makes what is needed"
    exit 77
fi
# No internet: Ray would count its users.
RAY_USAGE_STATS_ENABLED=0
PYTHONDONTWRITEBYTECODE=1
export RAY_USAGE_STATS_ENABLED PYTHONDONTWRITEBYTECODE
exec "$venv/bin/python" -m pytest -q -rs -p no:cacheprovider "$@"
