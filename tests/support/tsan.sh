#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# tsan.sh - runs what talks to threads under the thread sanitizer, in a build of its own.
#
#     tests/support/tsan.sh [--quick] [BUILD]      default: build/tsan
#
# First it shows that the sanitizer sees what it is to see: two threads that count under each of GLib's locks are
# silent, without a lock they are reported. GLib and GStreamer are not instrumented: tsan_glib.c tells the sanitizer
# about their locks, and what they do to memory by themselves is not looked at, only what our code does. --quick runs
# those tests alone in which most threads meet; those of the engine take minutes. The last line counts.
set -eu
cd "$(dirname "$0")/../.."
quick=
[ "${1:-}" != --quick ] || { quick=yes; shift; }
build=${1:-build/tsan}

element='sessions models worker live stress regions control caption states unsure text'
engine='batch session serve'
if [ -n "$quick" ]; then
    element='sessions models worker live stress regions control'
    engine=
fi

# The compiler may have come without the sanitizer.
if ! echo 'int main(void) { return 0; }' | ${CC:-cc} -fsanitize=thread -o /dev/null -x c - 2>/dev/null; then
    echo "tsan.sh: ${CC:-cc} has no thread sanitizer" >&2
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi

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

# Tests fork after GStreamer has threads. The log of a failure names the lines.
TSAN_OPTIONS="exitcode=66 ignore_noninstrumented_modules=1 die_after_fork=0"
export TSAN_OPTIONS="$TSAN_OPTIONS suppressions=$PWD/tests/support/tsan.supp"
# GLib's own allocator hands memory from thread to thread with locks that nobody tells of.
export G_SLICE=always-malloc GST_REGISTRY_FORK=no GST_REGISTRY_1_0="$PWD/$build/tsan.registry"
export GST_PLUGIN_SYSTEM_PATH_1_0= PALME_MODEL= CK_DEFAULT_TIMEOUT=200
GST_PLUGIN_PATH_1_0=$PWD/$build/tests/standin:$(pkg-config --variable=pluginsdir gstreamer-1.0)
export GST_PLUGIN_PATH_1_0
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
    # Loads all plugins into the registry, once.
    GST_CHECKS=none $fixed "$build/tests/check_sessions" >"$build/tsan-registry.log" 2>&1 || :
    for name in $element $engine; do
        arguments=
        [ $name != serve ] || arguments="$build/tests/bench_engine tests/data/golden"
        status=0
        $fixed "$build/tests/check_$name" $arguments >"$build/tsan-$name.log" 2>&1 || status=$?
        count "$name" $status 0
        [ $status = 0 ] || grep -A 12 'WARNING: ThreadSanitizer' "$build/tsan-$name.log" | head -n 60
    done
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
