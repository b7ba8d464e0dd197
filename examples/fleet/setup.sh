#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# setup.sh - all that the programs of this folder need, in one folder: a virtual environment with the pinned packages, the
# engine, its Python package, the GStreamer plugin and the default model.
#
#     sh examples/fleet/setup.sh [--tests]      --tests: what the tests need, too
#
# The folder is build/fleet; PALME_FLEET names another one. A second call does only what has changed. It needs the
# registries of Debian and of Python; what it sets up needs no network.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
here=$root/examples/fleet
venv=${PALME_FLEET:-$root/build/fleet}
engine=$root/build/fleet-engine
log=$root/build/fleet-setup.log
tests=
case ${1:-} in
'') ;;
--tests) tests="-r $here/requirements-tests.txt" ;;
*) echo "usage: setup.sh [--tests]" >&2; exit 2 ;;
esac

sh tests/packages.sh build fleet
mkdir -p build
: >"$log"
quietly() { # WHAT COMMAND... : its output is shown where it fails
    what=$1
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "setup.sh: $what failed; all it said is in $log" >&2
        exit 1
    fi
}

# Debian's own interpreter: GStreamer's bindings for Python are Debian's, which --system-site-packages lets in.
if [ ! -x "$venv/bin/python" ]; then
    echo "== A virtual environment in $venv"
    quietly "the virtual environment" /usr/bin/python3 -m venv --system-site-packages "$venv"
fi

# A stamp holds the sums of what was installed from.
packages=$(cat "$here"/requirements*.txt "$here/lock.txt" | sha256sum)${tests:+with tests}
case $(cat "$venv/.packages" 2>/dev/null) in
"$packages" | "${packages}with tests") ;;
*)
    echo "== Installing the packages of examples/fleet/requirements.txt (about 300 MB)"
    quietly "pip" "$venv/bin/python" -m pip install --disable-pip-version-check -r "$here/requirements.txt" $tests
    echo "$packages" >"$venv/.packages"
    ;;
esac

# Into the virtual environment itself: its lib has the engine and the plugin, its share the model.
echo "== Building the engine and the plugin"
if [ ! -f "$engine/build.ninja" ] || [ "$(cat "$engine/.prefix" 2>/dev/null)" != "$venv" ]; then
    rm -rf "$engine"
    quietly "meson setup" meson setup "$engine" --prefix="$venv" --libdir=lib -Dplugin=enabled -Dtools=disabled \
        -Dexamples=disabled -Dtests=disabled
    echo "$venv" >"$engine/.prefix"
fi
quietly "the build" meson compile -C "$engine"
quietly "the installation" meson install -C "$engine" --no-rebuild --only-changed

package=$(find examples/python engine/palme.h -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum | sha256sum)
if [ "$(cat "$venv/.palme" 2>/dev/null)" != "$package" ]; then
    echo "== Building the Python package of the engine"
    # It finds the engine beside it, wherever the folder is: site-packages/palme is three folders below lib.
    PATH=$venv/bin:$PATH PKG_CONFIG_PATH=$venv/lib/pkgconfig LDFLAGS='-Wl,-rpath,$ORIGIN/../../..' \
        quietly "pip" "$venv/bin/python" -m pip install --disable-pip-version-check --no-build-isolation --no-deps \
        --force-reinstall ./examples/python
    echo "$package" >"$venv/.palme"
fi
"$venv/bin/python" -c 'import palme, ray, gi' || {
    echo "setup.sh: $venv is not complete; remove it and run setup.sh again" >&2
    exit 1
}
echo "== Ready: $venv/bin/python"
