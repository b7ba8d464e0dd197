#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# memory.sh - what one element with the default model in int8 takes, above the same pipeline without it.
#
#     memory.sh [MB]      what it may take, 60 if nothing is said; meson sets the environment
#
# Memory is what the process has in RAM while it runs, after more captions than it takes until nothing is new.
set -u
most=${1:-60}
command -v gst-launch-1.0 >/dev/null || { echo "no gst-launch-1.0 here: skipped"; exit 77; }
[ -r /proc/self/status ] || { echo "no /proc here: skipped"; exit 77; }
gst-inspect-1.0 palmecaption >/dev/null || { echo "palmecaption is not found"; exit 1; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The pipeline with "$@" in it: kB in RAM after so many frames, which fakesink counts on its way.
memory() {
    gst-launch-1.0 -v videotestsrc ! video/x-raw,width=1280,height=720 ! "$@" ! \
        fakesink silent=false sync=false >"$log" 2>&1 &
    pid=$!
    waited=0
    while [ "$(grep -c 'chain.*fakesink' "$log")" -lt 60 ]; do
        kill -0 $pid 2>/dev/null && [ $waited -lt 1200 ] || { kill $pid 2>/dev/null; tail -n 5 "$log" >&2; return 1; }
        sleep 0.1
        waited=$((waited + 1))
    done
    awk '/^VmRSS:/ { print $2 }' /proc/$pid/status
    kill $pid
    wait $pid 2>/dev/null
    return 0
}

without=$(memory identity) && with=$(memory palmecaption mode=sync interval=0 precision=int8) || {
    echo "a pipeline did not run"
    exit 1
}
taken=$(((with - without) / 1024))
echo "without: $((without / 1024)) MB, with: $((with / 1024)) MB; the element takes $taken MB and may take $most MB"
[ $taken -le "$most" ]
