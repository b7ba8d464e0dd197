#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python.sh - runs a test in Python where torch and pytest are, and says so where they are not.
#
#     python.sh TEST.py     PALME_PYTHON is the interpreter; tests/run.sh makes one
set -u
python=${PALME_PYTHON:-python3}
if ! said=$("$python" -c 'import numpy, pytest, torch' 2>&1); then
    echo "skipped: $python: $(echo "$said" | tail -n 1)"
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
status=0
"$python" -m pytest -q -rs -p no:cacheprovider "$1" || status=$?
[ $status != 5 ] || exit 77 # all of it was skipped
exit $status
