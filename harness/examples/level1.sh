#!/bin/sh
# Level 1 with nothing but a shell and git: `level1.sh CLONE_URL PUBLIC_USERNAME`.
#
# It asks git for every single hash, some hundred a second, so it needs a very easy difficulty:
#
#     harness level1 --solution harness/examples/level1.sh --difficulty 08
set -eu

url=$1
user=$2
folder=${url##*/}
folder=${folder##*:}

git clone --quiet "$url" "$folder"
cd "$folder"

# Makes the tree in which the user has a coin more.
prepare() {
    git fetch --quiet origin
    git reset --quiet --hard origin/master
    awk -v user="$user" '
        index($0, user ": ") == 1 { $0 = user ": " substr($0, length(user) + 3) + 1; found = 1 }
        { print }
        END { if (!found) print user ": 1" }' LEDGER.txt >ledger.new
    mv ledger.new LEDGER.txt
    git add LEDGER.txt
    tree=$(git write-tree)
    parent=$(git rev-parse HEAD)
    difficulty=$(cat difficulty.txt)
    now=$(date +%s)
}

# Prints the commit object with the given nonce.
candidate() {
    printf 'tree %s\nparent %s\nauthor %s <shell@localhost> %s +0000\n' \
        "$tree" "$parent" "$user" "$now"
    printf 'committer %s <shell@localhost> %s +0000\n\nGive me a coin: %s\n' "$user" "$now" "$1"
}

# Succeeds if its first argument comes before its second.
less() {
    [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | LC_ALL=C sort | head -n 1)" = "$1" ]
}

nonce=0
while :; do
    prepare
    # Look again for a moved head now and then.
    limit=$((nonce + 200))
    while [ "$nonce" -lt "$limit" ]; do
        nonce=$((nonce + 1))
        id=$(candidate "$nonce" | git hash-object -t commit --stdin)
        less "$id" "$difficulty" || continue
        candidate "$nonce" | git hash-object -t commit -w --stdin >/dev/null
        git reset --quiet --hard "$id"
        if git push --quiet origin HEAD:master; then
            echo "landed $id"
            exit 0
        fi
        break
    done
done
