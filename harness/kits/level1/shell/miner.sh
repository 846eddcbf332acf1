#!/bin/sh
# Mines one gitcoin with a shell and git: `miner.sh CLONE_URL USERNAME`.
set -eu

url=$1
user=$2

git clone --quiet "$url" chain
cd chain
difficulty=$(cat difficulty.txt)

# One coin more for the user.
awk -v user="$user" '
    index($0, user ": ") == 1 { $0 = user ": " substr($0, length(user) + 3) + 1; found = 1 }
    { print }
    END { if (!found) print user ": 1" }' LEDGER.txt >ledger.new
mv ledger.new LEDGER.txt
git add LEDGER.txt
tree=$(git write-tree)
parent=$(git rev-parse HEAD)
person="$user <$user@localhost> $(date +%s) +0000"

# Prints a commit that differs from the others in its last line.
candidate() {
    printf 'tree %s\nparent %s\nauthor %s\ncommitter %s\n\nGive me a coin: %s\n' \
        "$tree" "$parent" "$person" "$person" "$1"
}

# Whether the first text comes before the second.
less() {
    [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | LC_ALL=C sort | head -n 1)" = "$1" ]
}

nonce=0
until id=$(candidate "$nonce" | git hash-object -t commit --stdin) && less "$id" "$difficulty"; do
    nonce=$((nonce + 1))
done

candidate "$nonce" | git hash-object -t commit -w --stdin >/dev/null
git push --quiet origin "$id:refs/heads/master"
echo "landed $id"
