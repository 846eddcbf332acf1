#!/usr/bin/env bash
# Long documents, whole processes, in turn: seconds as the shell sees them, and of the processor's time.
#
#   level0/benches/long.sh FOLDER target/release/level0 [OTHER …]
#
# FOLDER is best one in memory; 1.3 GB of documents are made there if they are not there yet:
# `words`, 1 GiB of dictionary words, each as frequent as any other, a quarter of them with a comma; and
# `prose`, the texts under /usr/share/doc that compare.sh takes (every 16th), over and over, 300 MB. The
# first is marked to /dev/null, by each program; of the second the first program counts the words.
set -euo pipefail
export LC_ALL=C.UTF-8
folder=$1
shift
words=$(dirname "$0")/../data/web2

if ! [ -e "$folder/words" ]; then
    # 128 MiB eight times: more than any cache holds.
    awk 'BEGIN { srand(1) } { words[NR] = $0 } END { for (i = 1; i < 15e6; i++)
        printf "%s%s%s", words[1 + int(rand() * NR)], rand() < 0.25 ? "," : "", i % 12 ? " " : "\n" }' \
        "$words" | head -c 134217728 >"$folder/part" || true
    for _ in 1 2 3 4 5 6 7 8; do cat "$folder/part"; done >"$folder/words"
    rm "$folder/part"
fi
if ! [ -e "$folder/prose" ]; then
    find /usr/share/doc -type f \( -name 'README*' -o -name 'NEWS*' -o -name '*.txt' -o -name '*.txt.gz' \
        -o -name '*.md' -o -name '*.md.gz' -o -name 'changelog.gz' \) | sort | awk 'NR % 16 == 0' |
        while read -r name; do
            { if [[ $name == *.gz ]]; then zcat "$name"; else cat "$name"; fi; } |
                iconv -c -f utf-8 -t utf-8 | tr -d '\000'
        done >"$folder/part"
    while [ "$(stat -c %s "$folder/part")" -lt 300000000 ] && cat "$folder/part" >>"$folder/prose" &&
        [ "$(stat -c %s "$folder/prose")" -lt 297000000 ]; do :; done
    rm "$folder/part"
fi

timed() {
    local label=$1 TIMEFORMAT='%R s, processor %U s'
    shift
    printf '%s: ' "$label"
    time "$@" >/dev/null
}
for _ in 1 2 3; do
    for threads in 1 2; do
        for program in "$@"; do
            timed "words, $threads threads, $program" "$program" --threads "$threads" <"$folder/words"
        done
        timed "prose, $threads threads" "$1" --prose --count --threads "$threads" "$folder/prose"
    done
done
