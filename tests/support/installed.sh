# SPDX-License-Identifier: LGPL-2.1-or-later
#
# installed.sh - for the tests of what is installed, which source it: stage BUILD installs the build into $stage, and $said is
# what it says. $work is their folder.
stage() {
    command -v meson >/dev/null || { echo "no meson here: skipped"; exit 77; }
    prefix=$(meson introspect --buildoptions "$1" | python3 -c '
import json, sys
print({o["name"]: o["value"] for o in json.load(sys.stdin)}["prefix"])')
    stage=$work/staged
    { DESTDIR=$stage meson install -C "$1" --no-rebuild 2>&1 || echo "meson install failed"; } | cat >"$work/said"
    ! grep -q '^meson install failed' "$work/said" || { cat "$work/said"; exit 1; }
    said=$work/said
}
# The folder of a file below the staged prefix.
staged() { dirname "$(find "$stage$prefix" -name "$1" | head -n 1)"; }
