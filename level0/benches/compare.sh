#!/usr/bin/env bash
# Spelling checkers on the same texts, in one run: time, and on which words they differ.
#
#   level0/benches/compare.sh target/release/level0 [EVERY]
#
# The texts are those that Debian's packages put under /usr/share/doc (every EVERYth file, default 8).
# Needs hunspell, hunspell-en-gb, aspell, aspell-en; codespell and typos take part where they are
# installed. Those two know misspellings, not words: they find less by design, and are timed only.
set -euo pipefail
export LC_ALL=C.UTF-8
program=$(realpath "$1")
every=${2:-8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/texts"
cd "$work"

find /usr/share/doc -type f \( -name 'README*' -o -name 'NEWS*' -o -name '*.txt' -o -name '*.txt.gz' \
    -o -name '*.md' -o -name '*.md.gz' -o -name 'changelog.gz' \) | sort |
    awk -v every="$every" 'NR % every == 0' >names
while read -r name; do
    { if [[ $name == *.gz ]]; then zcat "$name"; else cat "$name"; fi; } |
        iconv -c -f utf-8 -t utf-8 | tr -d '\000' >"texts/$(echo "$name" | tr / _).txt"
done <names
cat texts/*.txt >all
printf '%d texts, %d bytes\n' "$(wc -l <names)" "$(wc -c <all)"

# Best of three, in seconds: as the shell sees it, and of the processor's time.
timed() {
    local label=$1 TIMEFORMAT='%R %U'
    shift
    for _ in 1 2 3; do { time "$@" >out 2>/dev/null || true; } 2>>times; done
    sort -n times | head -1 | awk -v label="$label" '{ printf "%-44s %8.2f s, processor %8.2f s\n", label, $1, $2 }'
    rm times
}
lists() { "$program" --prose "$@" --list all; }
timed 'level0 --prose, built-in list' lists --threads 1
timed 'level0 --prose --lang en_GB' lists --lang en_GB --threads 1
timed 'level0 --prose --lang en_GB, all threads' lists --lang en_GB
timed 'hunspell -l -d en_GB' hunspell -l -i utf-8 -d en_GB all
timed 'aspell list -l en_GB' sh -c 'aspell list -l en_GB <all'
if command -v codespell >/dev/null; then timed 'codespell' codespell texts; fi
if command -v typos >/dev/null; then timed 'typos' typos texts; fi

distinct() { sort -u; }
lists --lang en_GB | cut -f2 | distinct >ours
hunspell -l -i utf-8 -d en_GB all | distinct >theirs
aspell list -l en_GB <all | distinct >aspells
printf '\ndistinct unknown words: level0 %d, hunspell %d, aspell %d\n' \
    "$(wc -l <ours)" "$(wc -l <theirs)" "$(wc -l <aspells)"
printf 'level0 and hunspell agree on %d\n' "$(comm -12 ours theirs | wc -l)"

comm -13 ours theirs >left
printf '\nonly hunspell reports %d:\n' "$(wc -l <left)"
# Moves the words of `left` that are in a list out of it, and counts them.
kind() {
    local label=$1
    distinct >these
    printf '%8d  %s\n' "$(comm -12 left these | wc -l)" "$label"
    comm -23 left these >rest
    mv rest left
}
grep '[0-9]' left | kind 'with digits: numbers with units, digests, parts of names'
tr '_' '\n' <ours | kind 'parts of a name with underscores, which we report whole'
{ grep -E "['’]s?\$" left || true; } | kind "with 's or an apostrophe behind, which we take off"
# Fields that hold a mark inside, as addresses, paths and names of files do, word by word.
tr -s '[:space:]' '\n' <all | grep -E '[./@\\:~][[:alnum:]]|/$' | sed 's/[^[:alnum:]]/\n/g' >marked
kind 'in addresses, paths and names of files' <marked
grep -oE '[[:alnum:]]+(-[[:alnum:]]+)+' all >joined
"$program" --prose --lang en_GB --list joined | cut -f2 >unknown
grep -vxFf unknown joined | tr '-' '\n' |
    kind 'parts of a word with hyphens, which the dictionary has, or whose parts are numbers'
# Capitals that spellbook takes for a plural (HFS, of HF), as its model nuspell does.
grep -E '^[[:upper:]]+S$' left | kind 'plurals in capitals, which we know'
printf '%8d  others: %s\n' "$(wc -l <left)" "$(head -60 left | paste -sd' ')"

comm -23 ours theirs >left
printf '\nonly level0 reports %d:\n' "$(wc -l <left)"
{ grep _ left || true; } | kind 'names with underscores, whole'
{ tr -d "'’" <theirs; sed "s/['’]s\$//" theirs; } | kind "hunspell reports with 's or an apostrophe"
kind 'in what hunspell takes for an address or a path' <marked
printf '%8d  others: %s\n' "$(wc -l <left)" "$(head -20 left | paste -sd' ')"
