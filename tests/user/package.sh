#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# package.sh - builds the Debian packages, looks at them, and installs, uses and removes them in a bare Debian.
#
#     PALME_PACKAGE_TESTS=1 sh tests/user/package.sh
#
# It takes some minutes, and downloads a Debian of about 400 MB; so it runs only where PALME_PACKAGE_TESTS=1 asks for it, as root,
# with mmdebstrap. PALME_PACKAGES names a folder with packages that are built already.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
skip() { echo "$1: skipped"; exit 77; }
[ "${PALME_PACKAGE_TESTS:-}" = 1 ] || skip "PALME_PACKAGE_TESTS is not 1"
for tool in dpkg-buildpackage dh; do
    command -v $tool >/dev/null || skip "no $tool here (Debian: dpkg-dev, debhelper)"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/tests/support/checks.sh"

# ---- The packages, built from what belongs to the project and nothing that lies beside it
debs=${PALME_PACKAGES:-$work}
if [ -z "${PALME_PACKAGES:-}" ]; then
    mkdir "$work/gst-palme"
    cd "$root" || exit 1
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files -z | xargs -0 cp --parents -t "$work/gst-palme"
    else
        tar -c --exclude ./build --exclude './build-*' --exclude __pycache__ . | tar -x -C "$work/gst-palme"
    fi
    cd "$work/gst-palme" || exit 1
    dpkg-checkbuilddeps -B 2>"$work/err" || skip "$(cat "$work/err")"
    # Their own tests are those that meson runs beside this one.
    DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" MESON_INSTALL_QUIET=1 dpkg-buildpackage -us -uc -b >"$work/build.log" 2>&1
    check "dpkg-buildpackage" $? = 0
    [ "$failed" = 0 ] || { tail -n 40 "$work/build.log"; exit 1; }
fi
cd "$work" || exit 1
packages='gstreamer1.0-palme libpalme-dev libpalme1 palme-model-default palme-tools'
check "the packages" "$(cd "$debs" && ls ./*.deb | sed 's|^\./||; s|_.*||' | grep -v -e '-dbgsym$' | LC_ALL=C sort | tr '\n' ' ')" = "$packages "

# ---- lintian, which knows more than this test. Left out: the project has no mail address of its own, so the maintainer's is
# at localhost; and nothing was ever uploaded to Debian, so no bug is closed by an upload.
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning \
        --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs --tag-display-limit 0 "$debs"/*.changes >out 2>err
    check "lintian" $? = 0
    check "lintian is silent" ! -s out
    cat out
else
    echo "no lintian here: not run"
fi

# ---- What is in them
for package in $packages; do
    mkdir -p files/$package
    dpkg-deb -x "$debs/$package"_*.deb files/$package
done
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
section() { dpkg-deb -f "$debs/$1"_*.deb Section; }
check "the section of the model" "$(section palme-model-default)" = non-free/graphics
check "weights are in that package alone" "$(find files -name '*.safetensors')" = \
    files/palme-model-default/usr/share/palme/palme-default.safetensors
check "their terms are in it" "$(grep -c 'non-commercial research and education' \
    files/palme-model-default/usr/share/doc/palme-model-default/copyright)" -ge 1
check "the plugin is where GStreamer looks" -f "files/gstreamer1.0-palme/usr/lib/$multiarch/gstreamer-1.0/libgstpalme.so"
check "the library is where the loader looks" -f "files/libpalme1/usr/lib/$multiarch/libpalme.so.1"
find files -type f | while read -r file; do
    [ "$(head -c 4 "$file" | tr -d '\177')" = ELF ] && echo "$file"
done >objects
check "three objects" "$(wc -l <objects)" = 3
while read -r file; do
    readelf -dW "$file" >dynamic
    check "${file##*/} has no RUNPATH" "$(grep -cE 'RPATH|RUNPATH' dynamic)" = 0
    check "${file##*/} is bound at its start" "$(grep -c BIND_NOW dynamic)" -ge 1
    check "${file##*/} has a read-only table" "$(readelf -lW "$file" | grep -c GNU_RELRO)" = 1
    check "${file##*/} is independent of its place" "$(readelf -hW "$file" | grep -c 'Type:.*DYN')" = 1
    check "${file##*/} links the library or is it" "$(grep -c 'libpalme\.so\.1' dynamic)" -ge 1
done <objects
# Each level of the kernels that this project's own build has is in the package, too, and the choice is made at run time: without
# any of the package's flags the code would be that of one level.
objdump -d --no-show-raw-insn "files/libpalme1/usr/lib/$multiarch/libpalme.so.1" >code
case $(dpkg-architecture -qDEB_HOST_ARCH) in
amd64)
    check "instructions of AVX2" "$(grep -c 'vfmadd.*%ymm' code)" -gt 100
    check "instructions of AVX-512" "$(grep -c 'vfmadd.*%zmm' code)" -gt 100
    check "instructions of VNNI" "$(grep -c 'vpdpbusd.*%zmm' code)" -gt 10
    ;;
esac

# ---- A bare Debian: installed, used, removed
apt=/etc/apt/sources.list.d/debian.sources
[ -f $apt ] || apt=/etc/apt/sources.list
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ "$(id -u)" != 0 ] || ! command -v mmdebstrap >/dev/null || [ -z "$suite" ] || [ ! -f $apt ]; then
    echo "no bare Debian here (it takes root and mmdebstrap): the packages are not installed"
    echo "$passed checks, $failed failed"
    [ "$failed" = 0 ] && exit 77
    exit 1
fi
mkdir -p bare/debian bare/examples/photos bare/examples/consumer
for package in $packages; do cp "$debs/$package"_*.deb bare/; done
cp -r "$root/debian/tests" bare/debian/
cp "$root/examples/photos/dog.jpg" bare/examples/photos/
cp "$root/examples/consumer/describe.c" bare/examples/consumer/
cat >bare/run <<'END'
set -eu
cd /project
apt() { DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends "$@"; }
apt install $(sed -n 's/^Depends: @, //p' debian/tests/control | sed 's/ |[^,]*//; s/,//g; s/pkgconf$/pkg-config/')
echo "The bare Debian is made."
apt install ./*.deb
echo "The packages are installed."
names='gstreamer1.0-palme libpalme1 libpalme-dev palme-tools palme-model-default'
dpkg -L $names | sort -u >/tmp/installed
grep -c . /tmp/installed
sh debian/tests/smoke
echo "The packages work."
apt purge $names
while read -r path; do
    if [ -e "$path" ] && [ ! -d "$path" ]; then echo "left over: $path"; fi
done </tmp/installed
find / -xdev -iname '*palme*' ! -path '/project/*' ! -path '/proc/*' ! -path '*/zoneinfo/*' ! -path '/var/cache/*' ! -path '/tmp/*' | sed 's/^/left over: /'
! dpkg -l | grep palme
ldconfig -p | grep palme || echo "The packages are removed."
END
trap 'rm -rf "$work"' EXIT
timeout -k 30 1500 mmdebstrap --quiet --mode=root --variant=apt --include=ca-certificates \
    --customize-hook='mkdir "$1/project" && cp -r '"$work"'/bare/. "$1/project/"' \
    --customize-hook='chroot "$1" sh /project/run >'"$work"'/bare.log 2>&1' \
    "$suite" /dev/null "$apt" >mmdebstrap.log 2>&1
status=$?
if ! grep -q 'The bare Debian is made' bare.log 2>/dev/null; then
    tail -n 3 mmdebstrap.log
    [ ! -e bare.log ] || tail -n 3 bare.log
    echo "no bare Debian can be made here: the packages are not installed"
    echo "$passed checks, $failed failed"
    [ "$failed" = 0 ] && exit 77
    exit 1
fi
check "the bare Debian ends well" $status = 0
check "the packages are installed" "$(grep -c '^The packages are installed' bare.log)" = 1
check "the packages work" "$(grep -c '^The packages work' bare.log)" = 1
check "nothing is left over" "$(grep '^left over' bare.log) $(grep -c '^The packages are removed' bare.log)" = ' 1'
[ "$failed" = 0 ] || tail -n 40 bare.log
echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 25 ]
