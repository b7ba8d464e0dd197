# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion of palme-caption in bash. The options are those that --help lists; values are below.
_palme_caption() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} index values
    COMPREPLY=()
    # --format=json is three words to bash: the option, the sign and the value.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    # Behind -- there are files alone.
    for ((index = 1; index < COMP_CWORD; index++)); do
        [[ ${COMP_WORDS[index]} == -- ]] && before=-- && break
    done
    case $before in
    --format) values='tsv text json jsonl csv vtt srt' ;;
    --precision) values='auto f32 bf16 int8 int4' ;;
    --write) values='vtt srt json jsonl csv tsv text' ;;
    --cpu) values='c neon dotprod avx2 avxvnni avx512 vnni bf16' ;;
    --when-unsure) values='labels caption silent' ;;
    --threads | --beams | --max-length | --prompt | --label-weight | --every | --max-pixels | --jobs | -j | --limit | --search) return ;;
    --model | --) ;;
    *)
        [[ $word != -* ]] || values=$("${COMP_WORDS[0]/#\~\//$HOME/}" --help 2>/dev/null |
            sed -nE 's/^ +(-[a-z0], )?(--[a-z-]+).*/\2/p')
        ;;
    esac
    if [[ -n ${values-} ]]; then
        COMPREPLY=($(compgen -W "$values" -- "$word"))
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _palme_caption palme-caption
