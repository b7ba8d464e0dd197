#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# imported.sh - models/convert/import_hf.py makes model files of the folders below tests/data/hf, and check_imported
# compares them with what transformers recorded.
#
#     imported.sh CHECK_IMPORTED     PALME_PYTHON is the interpreter
set -u
check=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PALME_PYTHON:-python3}
if ! said=$("$python" -c 'import numpy' 2>&1); then
    echo "skipped: $python: $(echo "$said" | tail -n 1)"
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root PALME_CAPTION=
export PYTHONDONTWRITEBYTECODE PYTHONPATH PALME_CAPTION
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
bad=0
for folder in "$root"/tests/data/hf/*/; do
    name=$(basename "$folder")
    echo "$name"
    "$python" -m models.convert.import_hf "$folder" "$work/$name" --no-trial && "$check" "$work/$name" "$folder" || bad=1
done
exit $bad
