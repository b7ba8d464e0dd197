#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# after_install.sh - says after `meson install` how GStreamer finds the plugin. meson starts it and sets the environment.
#
#     after_install.sh PLUGIN-FOLDER GSTREAMER'S-PLUGIN-FOLDER
set -eu
[ -z "${MESON_INSTALL_QUIET:-}" ] || exit 0
# meson 1.0, which Debian 12 has, swallows what a script says. Its own output is still there.
parent=/proc/$PPID/fd/1
if [ -p /proc/self/fd/1 ] && { [ -c $parent ] || [ -p $parent ]; } && [ -w $parent ]; then
    exec >$parent
fi
# A word that a shell takes as it is; others stand in quotes.
quoted() {
    case $1 in
    *[!A-Za-z0-9_./:+@%,=-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
    esac
}
# /usr/lib and /lib may be one folder.
same() { [ "$1" = "$2" ] || { [ -d "$1" ] && [ "$1" -ef "$2" ]; }; }
advice() { # FOLDER
    echo "    export GST_PLUGIN_PATH=$(quoted "$1")\${GST_PLUGIN_PATH:+:\$GST_PLUGIN_PATH}"
}

if [ -n "${DESTDIR:-}" ]; then
    staged=${DESTDIR%/}$1
    echo "gst-palme: the plugin is staged in $staged. To try it there:"
    advice "$staged"
    if same "$1" "$2"; then
        echo "gst-palme: once it is in $1, GStreamer finds it by itself."
        exit
    fi
    echo "gst-palme: once it is in $1, GStreamer finds it after"
elif same "$1" "$2"; then
    echo "gst-palme: the plugin is in $1, where GStreamer finds it by itself: gst-inspect-1.0 palmecaption"
    exit
else
    echo "gst-palme: the plugin is in $1. GStreamer finds it after"
fi
advice "$1"
echo "gst-palme: or as a copy in ~/.local/share/gstreamer-1.0/plugins, or installed with -Dplugin-dir=gstreamer."
