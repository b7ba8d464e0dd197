# SPDX-License-Identifier: LGPL-2.1-or-later
#
# checks.sh - for tests in sh, which source it. $command is the program that run starts; a check that fails shows the files
# that $shown names.
passed=0 failed=0 shown=err
check() { # NAME, then a test(1) expression
    name=$1
    shift
    if test "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $name: test $*"
        for one in $shown; do [ ! -s "$one" ] || sed 's/^/    | /' "$one"; done
    fi
}
wait_until() { # COMMAND...: tries it until it succeeds, a minute or more
    for _ in $(seq 600); do
        "$@" && return
        sleep 0.1
    done
    return 1
}
# The command with a time limit; out, err and $status are what came of it.
run() {
    timeout -k 5 120 "$command" "$@" >out 2>err
    status=$?
    # The newest gdk-pixbuf remarks that a chroot has no sandbox for it.
    sed -i '/^WARNING: Glycin /d' err
}
