# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion of palme-caption in fish. tests/user/manual.sh compares the options with --help.
complete -c palme-caption -l model -rF -d 'the model file'
complete -c palme-caption -l threads -x -d 'compute threads'
complete -c palme-caption -l cpu -xa 'c neon dotprod avx2 avxvnni avx512 vnni bf16' -d 'instruction set'
complete -c palme-caption -l precision -xa 'auto f32 bf16 int8' -d 'what the weights are computed in'
complete -c palme-caption -l verify -d 'check the sha256 of the model file'
complete -c palme-caption -l beams -x -d 'sentences followed at a time'
complete -c palme-caption -l max-length -x -d 'most tokens of a caption'
complete -c palme-caption -l prompt -x -d 'words to go on from'
complete -c palme-caption -l label-weight -x -d 'how strongly words are held to the labels'
complete -c palme-caption -l when-unsure -xa 'labels caption silent' -d 'what is said of a doubtful caption'
complete -c palme-caption -l every -x -d 'seconds between two captions of a video'
complete -c palme-caption -l max-pixels -x -d 'refuse larger pictures'
complete -c palme-caption -l format -xa 'tsv text json' -d 'format of the output'
complete -c palme-caption -l labels -d 'a column with the labels'
complete -c palme-caption -s h -l help -d 'print a summary of the options'
complete -c palme-caption -l version -d 'print the version'
