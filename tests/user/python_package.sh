#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# python_package.sh - the Python package of examples/python, built by meson-python with the staged engine, and its tests.
#
#     python_package.sh BUILD      meson sets the environment
#
# It runs where PALME_PACKAGE_TESTS=1, as it needs a virtual environment with cffi and meson-python of PyPI.
set -u
build=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
[ "${PALME_PACKAGE_TESTS:-}" = 1 ] || { echo "PALME_PACKAGE_TESTS is not 1: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$here/support/checks.sh"
. "$here/support/installed.sh"
python3 -m venv venv >venv.log 2>&1 && venv/bin/pip install -q cffi 'meson-python>=0.15' meson ninja >>venv.log 2>&1 ||
    { tail -n 3 venv.log; echo "no virtual environment with cffi and meson-python here: skipped"; exit 77; }

stage "$build"
libdir=$(staged libpalme.so)
sed -i "s|^prefix=.*|prefix=$stage$prefix|" "$libdir/pkgconfig/palme.pc"
cp -r "$here/../examples/python" project
PATH=$work/venv/bin:$PATH PKG_CONFIG_PATH=$libdir/pkgconfig \
    venv/bin/pip install -q --no-build-isolation --no-deps ./project >pip.log 2>&1
check "pip install" $? = 0
[ "$failed" = 0 ] || tail -n 30 pip.log
cd project/tests || exit 1
LD_LIBRARY_PATH=$libdir timeout -k 5 300 ../../venv/bin/python -m unittest -v test_palme >out 2>err
check "its tests" $? = 0
check "all of them" "$(grep -c ' ok$' err)" -ge 11
[ "$failed" = 0 ] || cat out err
echo "$passed checks, $failed failed"
[ "$failed" = 0 ]
