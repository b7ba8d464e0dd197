#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# tsan.sh - runs what talks to threads under the thread sanitizer, in a build of its own.
#
#     tests/support/tsan.sh [--quick] [BUILD]      default: build/tsan
#
# First it shows that the sanitizer sees what it is to see: two threads that count under each of GLib's locks are
# silent, without a lock they are reported. GLib and GStreamer are not instrumented: tsan_glib.c tells the sanitizer
# about their locks, and what they do to memory by themselves is not looked at, only what our code does. --quick leaves
# out the engine, whose tests take minutes. The last line counts.
set -eu
cd "$(dirname "$0")/../.."
quick=
[ "${1:-}" != --quick ] || { quick=yes; shift; }
build=${1:-build/tsan}

element='sessions models worker live stress caption states unsure text'
engine='batch session serve'
[ -z "$quick" ] || engine=

# The sanitizer of gcc 12 and clang 14 needs addresses that are little randomised.
fixed=
! setarch "$(uname -m)" -R true 2>/dev/null || fixed="setarch $(uname -m) -R"

[ -f "$build/build.ninja" ] || meson setup "$build" -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized \
    -Dexamples=disabled >/dev/null || { echo "tsan.sh: $build cannot be configured" >&2; exit 1; }
programs="tests/tsan_control tests/standin/libgstpalme.so"
for name in $element $engine; do
    programs="$programs tests/check_$name"
done
# bench_engine is what check_serve talks to.
[ -z "$engine" ] || programs="$programs tests/bench_engine"
ninja -C "$build" $programs >"$build/tsan-build.log" || { tail -n 30 "$build/tsan-build.log"; exit 1; }

export TSAN_OPTIONS="exitcode=66 ignore_noninstrumented_modules=1 suppressions=$PWD/tests/support/tsan.supp"
# GLib's own allocator hands memory from thread to thread with locks that nobody tells of.
export G_SLICE=always-malloc GST_REGISTRY_FORK=no CK_TIMEOUT_MULTIPLIER=10
passed=0
failed=0
count() {
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL: $1: status $2, not $3"; fi
}

for kind in mutex recursive readers condition once join none; do
    status=0
    $fixed "$build/tests/tsan_control" $kind >"$build/tsan-control.log" 2>&1 || status=$?
    count "the control '$kind'" $status $([ $kind = none ] && echo 66 || echo 0)
done
if [ $failed != 0 ]; then
    echo "The sanitizer does not see what it is to see here; nothing else is run. $build/tsan-control.log"
else
    for name in $element $engine; do
        status=0
        $fixed meson test -C "$build" --no-rebuild --timeout-multiplier 10 "$name" >"$build/tsan-$name.log" 2>&1 || status=$?
        count "$name" $status 0
        [ $status = 0 ] || grep -E -A 12 'WARNING: ThreadSanitizer' "$build/meson-logs/testlog.txt" | head -n 60
    done
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
