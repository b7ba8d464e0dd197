#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# emulate.sh - runs test programs on an emulated x86 processor that this machine is not, AVX-512 and all: a small Linux
# in Bochs, which has the programs and their libraries and nothing else. It takes minutes, so no test calls it.
#
#     sh tests/support/emulate.sh CPU PROGRAM...        each without arguments; says what they print, and fails if one fails
#
# CPU is a model that `bochs -help cpu` knows. Up to VNNI: corei7_icelake_u, which Debian 12's Bochs 2.7 has; with
# AVX-512 BF16 and AVX-VNNI: sapphire_rapids, which takes Bochs 3.0. BOCHS is the emulator, KERNEL a Linux image.
# Debian: apt-get install bochs bochsbios vgabios isolinux syslinux-common xorriso cpio busybox-static
set -eu
[ $# -ge 2 ] || { sed -n '3,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cpu=$1
shift
bochs=${BOCHS:-bochs}
for tool in "$bochs" xorriso cpio busybox ldd; do
    command -v "$tool" >/dev/null || { echo "emulate.sh: there is no $tool here"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- A kernel: any image of Debian's
kernel=${KERNEL:-}
if [ -z "$kernel" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1)
    (cd "$work" && apt-get download "$package" >/dev/null 2>&1 && dpkg -x linux-image-*.deb .) ||
        { echo "emulate.sh: no kernel can be had; KERNEL may name an image"; exit 77; }
    kernel=$(echo "$work"/boot/vmlinuz-*)
fi

# ---- A root with the programs, what they are linked with and a busybox
root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/dev" "$root/tests" "$root/tmp" "$work/disc/isolinux"
cp "$(command -v busybox)" "$root/bin/busybox"
for program in "$@"; do
    cp "$program" "$root/tests/"
    for library in $(ldd "$program" | grep -oE '/[^ ]+'); do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for program in /tests/*; do
    /bin/busybox echo "== $program"
    "$program"
    /bin/busybox echo "== ended with $?"
done
/bin/busybox echo "== all ended"
/bin/busybox sleep 3 # the serial line is slow
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1 >"$work/disc/root.gz")

# ---- A disc that boots it. Bochs says that it has fast short string moves but no fast string moves, with which the
# kernel's memmove runs wild, says of protection keys and of compact XSAVE areas what does not fit together, with which
# the kernel does without any vectors, and consents to shadow stacks that its own system management mode then refuses.
cp "$kernel" "$work/disc/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disc/isolinux/"
cat >"$work/disc/isolinux/isolinux.cfg" <<'BOOT'
default linux
prompt 0
label linux
kernel /vmlinuz
append initrd=/root.gz console=ttyS0 nokaslr tsc=reliable mitigations=off clearcpuid=fsrm,pku,xsavec,xsaves ibt=off acpi=off quiet
BOOT
xorriso -as mkisofs -quiet -o "$work/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table "$work/disc" >/dev/null 2>&1

# ---- The machine. Its screen goes where nobody looks; what it says comes through the serial line.
cat >"$work/bochsrc" <<BOCHSRC
config_interface: textconfig
display_library: ${BOCHS_DISPLAY:-nogui}
memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=$cpu, ips=50000000, reset_on_triple_fault=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
log: $work/log
panic: action=fatal
error: action=ignore
info: action=ignore
clock: sync=none
sound: driver=dummy
BOCHSRC
# A Bochs with a debugger waits for a word to go on. Without ACPI the machine cannot switch itself off.
emulate() {
    rm -f "$work/serial"
    echo c >"$work/word"
    "$bochs" -q -f "$work/bochsrc" <"$work/word" >"$work/said" 2>&1 &
    pid=$!
    waited=0
    while kill -0 $pid 2>/dev/null && [ $waited -lt "${LIMIT:-7200}" ] && ! grep -q '^== all ended' "$work/serial" 2>/dev/null; do
        sleep 2
        waited=$((waited + 2))
    done
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
}
emulate
if grep -q "'nogui' not available" "$work/said"; then # Debian 12's
    sed -i 's/^display_library: .*/display_library: rfb, options="timeout=0"/' "$work/bochsrc"
    emulate
fi

tr -d '\r' <"$work/serial" 2>/dev/null | sed -n '/^== /,$p' | sed '/^== all ended/q'
if ! grep -q '^== all ended' "$work/serial" 2>/dev/null; then
    tail -n 5 "$work/serial" "$work/said" 2>/dev/null
    echo "emulate.sh: the emulated machine did not come to its end"
    exit 1
fi
! tr -d '\r' <"$work/serial" | grep '^== ended with' | grep -qv 'with \(0\|77\)$'
