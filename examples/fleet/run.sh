#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh - captions the bundled photos on this machine, with all of a fleet's machinery, and shows the table of captions.
#
#     sh examples/fleet/run.sh [FOLDER [OUTPUT]]      by default examples/photos, and build/fleet-captions
#
# setup.sh comes first. A second call finds all captions there and makes none.
set -eu
cd "$(dirname "$0")/../.."
python=${PALME_FLEET:-build/fleet}/bin/python
[ -x "$python" ] || { echo "run.sh: $python is not there; run sh examples/fleet/setup.sh first" >&2; exit 1; }
export RAY_USAGE_STATS_ENABLED=0
out=${2:-build/fleet-captions}
"$python" examples/fleet/archive.py "${1:-examples/photos}" "$out"
"$python" examples/fleet/show.py "$out"
