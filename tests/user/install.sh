#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# install.sh - what `meson install` says, and that the installed plugin loads from where users put it.
#
#     install.sh BUILD      meson sets the environment
set -u
build=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
hint=$here/../gst-palme/after_install.sh
command -v gst-inspect-1.0 >/dev/null || { echo "no gst-inspect-1.0 here: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$here/support/checks.sh"
. "$here/support/installed.sh"

stage "$build"
folder=$(staged libgstpalme.so)
check "the plugin is installed" -f "$folder/libgstpalme.so"

# What the element is found by, in a shell whose GStreamer knows nothing else of this project.
inspect() { # VARIABLE=VALUE...
    mkdir -p "$work/home" # GStreamer remembers there what it found
    rm -rf "$work/home/.cache"
    env -u GST_PLUGIN_PATH_1_0 -u GST_PLUGIN_SYSTEM_PATH_1_0 -u GST_PLUGIN_PATH -u GST_PLUGIN_SYSTEM_PATH \
        -u GST_REGISTRY_1_0 -u XDG_DATA_HOME -u XDG_CACHE_HOME -u LD_LIBRARY_PATH HOME="$work/home" "$@" \
        timeout -k 5 120 gst-inspect-1.0 palmecaption >"$work/out" 2>"$work/err"
}

# ---- The hint is what a user types
check "the hint of a staged installation" "$(grep -c "^gst-palme: the plugin is staged in $folder\. " "$said")" = 1
line=$(sed -n "s/^    export //p" "$said" | head -n 1)
check "the line to type" "$line" = "GST_PLUGIN_PATH=$folder\${GST_PLUGIN_PATH:+:\$GST_PLUGIN_PATH}"
inspect "${line%%\$*}"
check "the element is found by it" $? = 0
check "in that folder" "$(sed -nE 's/^ *Filename +//p' out)" = "$folder/libgstpalme.so"

# ---- A user's own plugin folder, with the plugin alone in it
mkdir -p home/.local/share/gstreamer-1.0/plugins
inspect
check "nothing is found before" $? != 0
cp "$folder/libgstpalme.so" home/.local/share/gstreamer-1.0/plugins/
mv "$stage" "$work/away"
inspect
check "the element is found in the user's folder" $? = 0
check "in that folder" "$(sed -nE 's/^ *Filename +//p' out)" = "$work/home/.local/share/gstreamer-1.0/plugins/libgstpalme.so"
mv "$work/away" "$stage"
rm -r home/.local

# ---- The hint of other installations
says() { # DESTDIR FOLDER GSTREAMER'S-FOLDER
    (unset MESON_INSTALL_QUIET; DESTDIR=$1 sh "$hint" "$2" "$3") >out 2>err
}
says '' /opt/palme/lib/gstreamer-1.0 /usr/lib/gstreamer-1.0
check "an own prefix" "$(sed -n 2p out)" = \
    "    export GST_PLUGIN_PATH=/opt/palme/lib/gstreamer-1.0\${GST_PLUGIN_PATH:+:\$GST_PLUGIN_PATH}"
check "and other ways" "$(grep -c 'Dplugin-dir=gstreamer' out)" = 1
says '' /usr/lib/gstreamer-1.0 /usr/lib/gstreamer-1.0
check "GStreamer's own folder" "$(grep -c 'by itself' out) $(grep -c export out)" = '1 0'
mkdir lib
ln -s lib lib64
says '' "$work/lib" "$work/lib64"
check "a folder by two names" "$(grep -c 'by itself' out) $(grep -c export out)" = '1 0'
says /stage/ /usr/lib/gstreamer-1.0 /usr/lib/gstreamer-1.0
check "a package" "$(grep -c 'export GST_PLUGIN_PATH=/stage/usr/lib' out) $(grep -c 'by itself' out)" = '1 1'
says '' "$work/it's here/lib" /usr/lib/gstreamer-1.0
line=$(sed -n 's/^    export //p' out)
check "a folder with a quote and a blank" "$(unset GST_PLUGIN_PATH; eval "$line"; echo "$GST_PLUGIN_PATH")" = "$work/it's here/lib"
check "added to what is there" "$(GST_PLUGIN_PATH=/mine; eval "$line"; echo "$GST_PLUGIN_PATH")" = "$work/it's here/lib:/mine"
MESON_INSTALL_QUIET=1 sh "$hint" /opt/lib /usr/lib >out
check "--quiet" ! -s out

# ---- Pages and completions are where shells and man look for them
for file in man/man1/palme-caption.1 bash-completion/completions/palme-caption zsh/site-functions/_palme-caption \
    fish/vendor_completions.d/palme-caption.fish; do
    check "$file" -f "$stage$prefix/share/$file"
done
check "the page names the version and the model" "$(grep -cE "@(VERSION|MODEL)@" "$stage$prefix/share/man/man1/palme-caption.1")" = 0
echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 20 ]
