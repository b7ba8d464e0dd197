# SPDX-License-Identifier: LGPL-2.1-or-later
#
# checks.sh - for the tests of palme-caption, which source it: $command is the program.
passed=0 failed=0
check() { # NAME, then a test(1) expression
    name=$1
    shift
    if test "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $name: test $*"
        [ ! -s err ] || sed 's/^/    | /' err
    fi
}
# The command with a time limit; out, err and $status are what came of it.
run() {
    timeout -k 5 120 "$command" "$@" >out 2>err
    status=$?
    # The newest gdk-pixbuf remarks that a chroot has no sandbox for it.
    sed -i '/^WARNING: Glycin /d' err
}
