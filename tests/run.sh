#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh - installs what is missing, builds, and runs all tests. The last line counts them.
#
#     sh tests/run.sh [MESON OPTION]...       for example -Db_sanitize=address,undefined
#
# BUILD names another build folder than ./build, SUITE the suites that are run; CC is the compiler, as ever.
# Tests in Python need torch and are skipped unless PALME_PYTHON_TESTS=1 or CI=true: then a virtual
# environment is made in the build folder from models/requirements.txt. Those of examples/fleet are skipped unless
# PALME_FLEET_TESTS=1: then its setup.sh makes another one.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}

sh tests/packages.sh build test

if [ "${PALME_PYTHON_TESTS:-}" = 1 ] || [ "${CI:-}" = true ] && [ -z "${PALME_PYTHON:-}" ]; then
    venv=${PALME_VENV:-$PWD/build/venv}
    if ! cmp -s models/requirements.txt "$venv/.done"; then
        sh tests/packages.sh python
        mkdir -p build
        echo "== Installing torch and what else models/requirements.txt names into $venv"
        if python3 -m venv "$venv" >build/venv.log 2>&1 &&
            "$venv/bin/pip" install -q -r models/requirements.txt >>build/venv.log 2>&1; then
            cp models/requirements.txt "$venv/.done"
        else
            tail -n 5 build/venv.log
            echo "run.sh: no virtual environment; the tests in Python are skipped"
        fi
    fi
    if [ -e "$venv/.done" ]; then
        PALME_PYTHON=$venv/bin/python
        export PALME_PYTHON
    fi
fi

if [ "${PALME_FLEET_TESTS:-}" = 1 ] && ! sh examples/fleet/setup.sh --tests; then
    echo "run.sh: examples/fleet could not be set up; its tests are skipped"
fi

failed_early() {
    echo "$1"
    echo "0 passed, 1 failed"
    exit 1
}

if [ -f "$build/build.ninja" ]; then
    meson configure "$build" -Dtests=enabled "$@"
else
    # build/ may exist without being a build folder: the virtual environment lives there too.
    meson setup "$build" -Dtests=enabled "$@" || failed_early "run.sh: meson setup failed"
fi
meson compile -C "$build" || failed_early "run.sh: the build failed"

status=0
rm -f "$build/meson-logs/testlog.json"
suites=
for suite in ${SUITE:-}; do suites="$suites --suite $suite"; done
meson test -C "$build" --no-rebuild --print-errorlogs $suites || status=$?

# meson's own summary has several lines; this one is made from the same results.
python3 - "$build/meson-logs/testlog.json" <<'END' || status=1
import json
import sys

results = []
try:
    with open(sys.argv[1]) as log:
        results = [json.loads(line)["result"] for line in log if line.strip()]
except OSError:
    pass
passed = sum(r in ("OK", "EXPECTEDFAIL") for r in results)
skipped = results.count("SKIP")
failed = len(results) - passed - skipped
if not results:
    print("no test has run")
    failed = 1
line = f"{passed} passed, {failed} failed"
print(line + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed else 0)
END
exit $status
