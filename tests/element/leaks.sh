#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# leaks.sh PROGRAM... - runs test programs of GStreamer's check library in one process each, under
# the leaks tracer, and fails if an object is alive at the end.
set -u

status=0
for program; do
    log=$(mktemp)
    CK_FORK=no CK_DEFAULT_TIMEOUT=0 GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 GST_DEBUG_NO_COLOR=1 \
        "$program" >"$log" 2>&1
    result=$?
    name=$(basename "$program")
    if [ $result = 77 ]; then
        echo "$name: skipped"
    elif [ $result != 0 ]; then
        grep -av GST_TRACER "$log" | tail -n 20
        echo "$name: failed with status $result"
        status=1
    elif ! grep -aq 'object-alive.class' "$log"; then
        echo "$name: the tracer did not run"
        status=1
    elif grep -a 'object-alive,.*address' "$log" | grep -av 'new format string'; then
        echo "$name: these objects are alive"
        status=1
    else
        echo "$name: nothing is alive at the end"
    fi
    rm -f "$log"
done
exit $status
