#!/usr/bin/env python3
"""Mines one gitcoin: `miner.py CLONE_URL USERNAME`."""

import hashlib
import itertools
import subprocess
import sys
import time


def git(*arguments, data=None):
    """What a git command in the clone says; trouble ends the program."""
    command = ["git", "-C", "chain", *arguments]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout.decode()


def raise_entry(ledger, user):
    """The ledger's text with one coin more for the user."""
    lines = ledger.splitlines()
    for index, line in enumerate(lines):
        name, _, balance = line.rpartition(": ")
        if name == user:
            lines[index] = f"{user}: {int(balance) + 1}"
            break
    else:
        lines.append(f"{user}: 1")
    return "\n".join(lines) + "\n"


def prepare(user):
    """The commit's text up to the nonce."""
    with open("chain/LEDGER.txt") as file:
        ledger = file.read()
    with open("chain/LEDGER.txt", "w") as file:
        file.write(raise_entry(ledger, user))
    git("add", "LEDGER.txt")
    tree = git("write-tree").strip()
    head = git("rev-parse", "HEAD").strip()
    person = f"{user} <{user}@localhost> {int(time.time())} +0000"
    return f"tree {tree}\nparent {head}\nauthor {person}\ncommitter {person}\n\nGive me a coin: "


def search(text, difficulty):
    """A commit whose id comes before the difficulty, both as hex digits."""
    for nonce in itertools.count():
        commit = f"{text}{nonce}\n".encode()
        if hashlib.sha1(b"commit %d\0" % len(commit) + commit).hexdigest() < difficulty:
            return commit


def main():
    url, user = sys.argv[1:3]
    subprocess.run(["git", "clone", "--quiet", url, "chain"], check=True)
    with open("chain/difficulty.txt") as file:
        difficulty = file.read().rstrip("\n")
    commit = search(prepare(user), difficulty)
    found = git("hash-object", "-t", "commit", "-w", "--stdin", data=commit).strip()
    git("push", "--quiet", "origin", f"{found}:refs/heads/master")
    print(f"landed {found}")


main()
