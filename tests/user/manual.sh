#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# manual.sh - palme-caption's manual page and completions speak of the options that the command has.
#
#     manual.sh PALME-CAPTION
set -u
command=$(realpath "$1")
tools=$(cd "$(dirname "$0")/../../tools/palme-caption" && pwd)
support=$(cd "$(dirname "$0")/../support" && pwd)
command -v bash >/dev/null || { echo "no bash here: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
. "$support/checks.sh"
LC_ALL=C
export LC_ALL

# What a sanitized build preloads is for the command alone: groff has faults of its own.
foreign() { env -u LD_PRELOAD "$@"; }

# ---- Each option of --help is in the page and in the completions, and no other
run --help
check "--help" "$status" = 0
# The options at the beginnings of lines: "  -h, --help   ...".
sed -nE 's/^ {1,4}(-[a-z0], )?--([a-z-]+).*/\2/p' out | sort >help
check "--help lists options" "$(wc -l <help)" -ge 16
sed -n '/^\.SH OPTIONS/,/^\.SH EXIT/p' "$tools/palme-caption.1" | grep -A 1 '^\.TP' |
    sed -nE 's/\\//g; s/^\.(B|BI|BR) (-[a-z0] ", " )?--([a-z-]+).*/\3/p' | sort >page
grep -oE -- '--[a-z-]+' "$tools/completions/_palme-caption" | sed 's/^--//' | sort -u >zsh
sed -nE 's/^complete .* -l ([a-z-]+) .*/\1/p' "$tools/completions/palme-caption.fish" | sort >fish
for kind in page zsh fish; do
    check "options of --help that are missing ($kind)" -z "$(comm -23 help $kind)"
    check "options that --help does not list ($kind)" -z "$(comm -13 help $kind)"
done
# A short option and its long one stand together.
run --help
sed -nE 's/^ {1,4}-([a-z0]), --.*/\1/p' out >shorts
for short in $(cat shorts); do
    check "-$short in the page" "$(grep -c "^\.BR \\\\-$short " "$tools/palme-caption.1")" = 1
done

# ---- The values that completions offer are those that the command names when it refuses one
offered() { # OPTION: bash's words
    sed -nE "s/^ *--$1\) values='([^']*)'.*/\1/p" "$tools/completions/palme-caption.bash" | tr ' ' '\n' | sort
}
for option in format precision when-unsure; do
    run --$option nonsense x.jpg
    check "--$option refuses nonsense" "$status" = 2
    sed -E 's/.* takes (.*), not .*/\1/; s/ or /, /; s/, */\n/g' err | sort >named
    check "values of --$option" "$(offered $option)" = "$(cat named)"
    words=$(offered $option | tr '\n' ' ')
    for file in _palme-caption palme-caption.fish; do
        line=$(grep -E -- "(--|-l )$option( |\[)" "$tools/completions/$file")
        check "$file: values of --$option" "$(echo "$line" | sed -nE "s/.*\(([^)]*)\).*/\1/p; s/.* -xa '([^']*)'.*/\1/p" |
            tr ' ' '\n' | sort | tr '\n' ' ')" = "$words"
    done
    for word in $words; do
        check "the page says $word of --$option" "$(sed -n "/^\.BI .*$(echo $option | sed 's/-/\\\\-/g') /,/^\.SS/p" \
            "$tools/palme-caption.1" | grep -cE "^\.(B|BR) $word( |$)")" -ge 1
    done
done

# ---- bash: what is offered for what has been typed
cat >typed.bash <<'END'
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_palme_caption
printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '
END
typed() { foreign bash typed.bash "$tools/completions/palme-caption.bash" "$command" "$@"; }
mkdir folder
touch 'a photo.jpg' other.png -- --odd.jpg
check "options that begin so" "$(typed --ma)" = '--max-length --max-pixels '
check "all options" "$(typed -- | wc -w)" = "$(wc -l <help)"
check "values" "$(typed --format '')" = "$(offered format | tr '\n' ' ')"
check "values that begin so" "$(typed --precision b)" = 'bf16 '
check "values behind a sign" "$(typed --precision = b)" = 'bf16 '
check "values right behind a sign" "$(typed --when-unsure = | wc -w)" = 3
check "files" "$(typed a)" = 'a photo.jpg '
check "folders" "$(typed fo)" = 'folder '
check "files behind --" "$(typed -- --o)" = '--odd.jpg '
check "a model" "$(typed --model ot)" = 'other.png '
check "a number" "$(typed --threads '')" = ' '

# ---- The other shells and the readers of manual pages, where they are installed
if command -v fish >/dev/null; then
    check "fish" "$(HOME=$work foreign fish -N -c "source $tools/completions/palme-caption.fish
        complete -C 'palme-caption --when-unsure s' | cut -f 1")" = silent
fi
if command -v zsh >/dev/null; then
    # The file is the body of a function, which calls _arguments with a word for each option, short or long.
    check "zsh" "$(foreign zsh -f -c "_arguments() { print -l -- \$@; }; source $tools/completions/_palme-caption" |
        grep -c '^(*[^:]*--*[a-z0-]*\[')" = $(($(wc -l <help) + $(wc -w <shorts)))
fi
if command -v mandoc >/dev/null; then
    check "mandoc" -z "$(foreign mandoc -Tlint -Wwarning "$tools/palme-caption.1")"
fi
if command -v groff >/dev/null; then
    check "groff" -z "$(foreign groff -man -ww -z "$tools/palme-caption.1" 2>&1)"
fi
echo "$passed checks, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -ge 40 ]
